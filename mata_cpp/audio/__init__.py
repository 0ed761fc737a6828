"""Sound: decoding it, and encoding it for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clip import Audio
from .sources import AUDIO_SUFFIXES, looks_like_audio_path

if TYPE_CHECKING:
    from .decode import decode_audio

__all__ = ["AUDIO_SUFFIXES", "Audio", "decode_audio", "looks_like_audio_path"]


def __getattr__(name: str) -> Any:
    """decode_audio, when it is asked for: the decoders are slow to import."""
    if name != "decode_audio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .decode import decode_audio

    return decode_audio
