"""Decoding by contrast: each token is chosen from what two prompts say together.

One prompt is the question's own.  The other differs in one thing: silence for the clip, the clip with noise, no clip,
the question without a text that misleads.  rules.py: what is asked for.  One file for each rule: its source, its
formula, and its other prompt.  pair.py: two sequences in one batch.
"""
