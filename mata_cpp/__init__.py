"""Ask questions about sound: audio-language models on llama.cpp, with MATA inside the attention.

>>> from mata_cpp import AudioModel
>>> model = AudioModel()
>>> print(model.ask("clip.wav", "What sound is this?"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import source_tree

if TYPE_CHECKING:
    from ._core import Cancel
    from .audio import Audio, decode_audio
    from .audio.encoder import EncodedClip
    from .chat import AudioChat
    from .decoding.contrast.rules import Contrast
    from .decoding.plain import RepetitionWarning
    from .decoding.sampling import Sampling
    from .errors import AudioError, CancelledError, ContextFullError, MataError, ModelError
    from .finding import Found, Stretch
    from .mata import Mata
    from .model import AudioModel
    from .options import AskOptions, AudioLike, ChooseOptions
    from .prompts.builder import Message
    from .readout.record import Attention, ClipAttention, Reading
    from .records import Answer, Choice, ClipInfo, Piece, Timings, TokenLogprob, Usage, WindowAnswer
    from .records import ClipInfo as Clip
    from .session import KEEP, Session

__version__ = "0.1.0"

source_tree.complete(__path__)

_WHERE = {
    "_core": ("Cancel",),
    "audio": ("Audio", "decode_audio"),
    "audio.encoder": ("EncodedClip",),
    "chat": ("AudioChat",),
    "errors": ("AudioError", "CancelledError", "ContextFullError", "MataError", "ModelError"),
    "decoding.contrast.rules": ("Contrast",),
    "decoding.plain": ("RepetitionWarning",),
    "decoding.sampling": ("Sampling",),
    "finding": ("Found", "Stretch"),
    "mata": ("Mata",),
    "model": ("AudioModel",),
    "options": ("AskOptions", "AudioLike", "ChooseOptions"),
    "prompts.builder": ("Message",),
    "readout.record": ("Attention", "ClipAttention", "Reading"),
    "records": ("Answer", "Choice", "ClipInfo", "Piece", "Timings", "TokenLogprob", "Usage", "WindowAnswer"),
    "session": ("KEEP", "Session"),
}
_PLACE_OF = {name: (module, name) for module, names in _WHERE.items() for name in names}
_PLACE_OF["Clip"] = _PLACE_OF["ClipInfo"]  # its former name

__all__ = [
    "KEEP",
    "Answer",
    "AskOptions",
    "Attention",
    "Audio",
    "AudioChat",
    "AudioError",
    "AudioLike",
    "AudioModel",
    "Cancel",
    "CancelledError",
    "Choice",
    "ChooseOptions",
    "Clip",
    "ClipAttention",
    "ClipInfo",
    "ContextFullError",
    "Contrast",
    "EncodedClip",
    "Found",
    "Mata",
    "MataError",
    "Message",
    "ModelError",
    "Piece",
    "Reading",
    "RepetitionWarning",
    "Sampling",
    "Session",
    "Stretch",
    "Timings",
    "TokenLogprob",
    "Usage",
    "WindowAnswer",
    "__version__",
    "decode_audio",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for and no more: ``import mata_cpp`` stays quick."""
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, written = _PLACE_OF[name]
    value = getattr(importlib.import_module(f".{module}", __name__), written)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
