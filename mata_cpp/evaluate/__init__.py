"""Benchmarks of models that hear: data sets, settings, runs that can be interrupted, scores with intervals.

>>> from mata_cpp import AudioModel
>>> from mata_cpp.evaluate import datasets
>>> from mata_cpp.evaluate.jobs import jobs
>>> from mata_cpp.evaluate.local import LocalModel
>>> from mata_cpp.evaluate.log import Log
>>> from mata_cpp.evaluate.run import run
"""
