"""Ask questions about sound: audio-language models on llama.cpp, with MATA inside the attention.

>>> from mata_cpp import AudioChat
>>> chat = AudioChat()
>>> print(chat.ask("clip.wav", "What sound is this?"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answer import Answer, Choice, Clip, Piece, Timings, Usage
    from .attention import Attention, ClipAttention, Reading
    from .audio import Audio, decode_audio
    from .chat import AudioChat
    from .errors import AudioError, CancelledError, ContextFullError, MataError, ModelError
    from .mata import Mata
    from .session import KEEP, Session

__version__ = "0.1.0"

_WHERE = {
    "answer": ("Answer", "Choice", "Clip", "Piece", "Timings", "Usage"),
    "attention": ("Attention", "ClipAttention", "Reading"),
    "audio": ("Audio", "decode_audio"),
    "chat": ("AudioChat",),
    "errors": ("AudioError", "CancelledError", "ContextFullError", "MataError", "ModelError"),
    "mata": ("Mata",),
    "session": ("KEEP", "Session"),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "KEEP",
    "Answer",
    "Attention",
    "Audio",
    "AudioChat",
    "AudioError",
    "CancelledError",
    "Choice",
    "Clip",
    "ClipAttention",
    "ContextFullError",
    "Mata",
    "MataError",
    "ModelError",
    "Piece",
    "Reading",
    "Session",
    "Timings",
    "Usage",
    "__version__",
    "decode_audio",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for and no more: ``import mata_cpp`` stays quick."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
