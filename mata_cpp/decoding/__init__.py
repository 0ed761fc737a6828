"""From logits to an answer."""

MAX_TOKENS = 256
"""Of an answer, unless told otherwise."""
