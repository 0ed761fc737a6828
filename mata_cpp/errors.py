"""The package's exceptions.

Every message is one line that says what was wrong, with which file or number, and what to do.  The
compiled extension raises these same classes: it looks them up here by name.
"""


class MataError(Exception):
    """Base of everything this package raises on purpose."""


class ModelError(MataError):
    """A model file, a projector, an adapter or a chat template is missing, broken or does not fit."""


class AudioError(MataError):
    """A clip cannot be read, or holds nothing that a model could hear."""


class ContextFullError(MataError):
    """The prompt or the conversation does not fit the context; nothing was changed."""


class CancelledError(MataError):
    """The computation was stopped by ``cancel()``."""
