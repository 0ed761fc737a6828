"""Benchmarks of models that hear: data sets, settings, runs that can be interrupted, scores with intervals.

>>> from mata_cpp import AudioModel
>>> from mata_cpp.evaluate import LocalModel, Log, Plan, datasets, jobs, run
"""
