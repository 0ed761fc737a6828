"""Sound that is in memory already: arrays, and the forms in which other libraries hand them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .headers import MAX_CHANNELS, check_rate
from .mono import MAX_SECONDS

PAIR = "samples are passed with their rate, as (samples, sample_rate)"


def pair_of(source: Sequence[Any]) -> tuple[Any, Any]:
    """(samples, rate) of a pair in either order: SciPy and Gradio give (rate, samples)."""
    if len(source) and _is_clip(source[0]):
        raise AudioError("several clips are passed as a list, not as a tuple: [clip, clip]")
    if len(source) != 2:
        raise AudioError(PAIR)
    first, second = source
    if _is_number(second) and not _is_number(first):
        return first, second
    if _is_number(first) and not _is_number(second) and not isinstance(second, str | bytes):
        return second, first
    raise AudioError(PAIR)


def pair_of_mapping(source: Mapping[str, Any]) -> tuple[Any, Any] | Any:
    """(samples, rate) of {"array", "sampling_rate"}, or what {"bytes", "path"} holds (Hugging Face datasets)."""
    if "array" in source and "sampling_rate" in source:
        return source["array"], source["sampling_rate"]
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key]
    keys = ", ".join(map(repr, list(source)[:5]))
    raise AudioError(
        f'a dict must have "array" and "sampling_rate", or "bytes", or "path"; this one has {keys or "nothing"}'
    )


def samples_of(samples: Any, rate: Any) -> tuple[NDArray[np.float32], int]:
    """([frames, channels] with full scale at 1, rate in Hz).  Raises AudioError."""
    if isinstance(samples, np.ma.MaskedArray):
        raise AudioError("samples are a masked array: pass samples.filled(0)")
    try:
        array, hertz = np.asarray(samples), float(rate)
    except (TypeError, ValueError):
        raise AudioError(PAIR) from None
    except Exception as error:  # of an object's own __array__
        raise AudioError(f"samples cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not np.isfinite(hertz) or hertz != int(hertz):
        raise AudioError(f"the sample rate must be a whole number of Hz, not {rate!r}")
    check_rate(int(hertz), "the sample rate")
    if array.dtype.kind not in "iuf":
        raise AudioError(f"samples must be floats or integers, not {array.dtype}")
    if array.ndim not in (1, 2):
        raise AudioError(f"samples must be [frames] or [frames, channels], not of shape {array.shape}")
    if array.ndim == 2 and array.shape[0] < array.shape[1] and array.size:
        raise AudioError(
            f"samples of shape {array.shape} look like (channels, frames): pass (frames, channels), e.g. samples.T"
        )
    channels = 1 if array.ndim == 1 else array.shape[1]
    if channels > MAX_CHANNELS:
        raise AudioError(f"{channels} channels are too many (at most {MAX_CHANNELS})")
    if len(array) > MAX_SECONDS * hertz:
        raise AudioError(f"the samples are longer than {MAX_SECONDS // 3600} hours: cut them into pieces")
    return scaled(array[:, None] if array.ndim == 1 else array), int(hertz)


def scaled(array: NDArray[Any]) -> NDArray[np.float32]:
    """Integers to [-1, 1) by their type's range, floats as they are.

    16-bit samples in a wider type, as Python lists of integers become, are told by their size.  Raises AudioError.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind = array.dtype
    if np.issubdtype(kind, np.floating):
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if kind in (np.uint8, np.uint16):
        half = 2.0 ** (8 * kind.itemsize - 1)
        return ((array.astype(np.float64) - half) / half).astype(np.float32)
    bits = 8 * kind.itemsize
    if bits > 16:
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        if low >= -32768 and high <= 32767:
            bits = 16  # as 32-bit samples they would be below -96 dB: silence
        elif kind != np.int32:
            raise AudioError(
                f"samples are {kind} from {low} to {high}, and their full scale is not known: "
                "pass int16 or int32, or floats from -1 to 1"
            )
    return (array * np.float64(2.0 ** (1 - bits))).astype(np.float32)


def _is_clip(value: Any) -> bool:
    """Whether value is a clip by itself: a path, a file's bytes or an Audio, which is known by its content_id."""
    return isinstance(value, str | Path | bytes) or hasattr(value, "content_id")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | str | bytes) or value is None:
        return False
    try:
        return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"
    except (TypeError, ValueError):
        return False
