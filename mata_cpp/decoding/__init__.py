"""From logits to an answer."""
