"""Sound: decoding it, and encoding it for a model."""

from .clip import Audio
from .decode import decode_audio
from .sources import AUDIO_SUFFIXES, looks_like_audio_path

__all__ = ["AUDIO_SUFFIXES", "Audio", "decode_audio", "looks_like_audio_path"]
