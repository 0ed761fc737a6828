"""From the name or the path of a model to an engine."""

DEFAULT_MODEL = "tiny"
