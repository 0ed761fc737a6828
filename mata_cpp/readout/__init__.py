"""Where a model listened: reading its attention, and what was read."""
