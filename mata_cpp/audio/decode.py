"""From whatever holds sound to mono float32 samples.

Channels are mixed down first and the mono signal is resampled afterwards (soxr, HQ), so that no axis
can be mistaken for another.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from ..warn import warn
from . import containers, interrupts, stderr

MIN_SECONDS = 0.01
MAX_SECONDS = 4 * 3600
MIN_RATE, MAX_RATE = 1000, 768000
MAX_BYTES = 8 << 30
MAX_CHANNELS = 64
FULL_SCALE_LIMIT = 32.0
"""Float samples above this are integers that nobody divided, not loud sound."""

BLOCK_FRAMES = 1 << 18
AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("wav", "wave", "flac", "mp3", "mp2", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf"),
        *("w64", "rf64", "voc", "m4a", "m4b", "aac", "mp4", "wma", "webm", "mka", "amr", "3gp", "ac3"),
    )
)
"""File name endings that mean sound, also where this package cannot decode it."""


@dataclass(frozen=True)
class Decoded:
    """samples: mono float32 [frames] at sample_rate (Hz); channels: how many there were."""

    samples: NDArray[np.float32]
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def decode_audio(source: Any, sample_rate: int) -> NDArray[np.float32]:
    """Decode source (see Audio), mix it down and resample: mono float32 [frames] at sample_rate Hz."""
    decoded = read_audio(source)
    return resample(decoded.samples, decoded.sample_rate, sample_rate)


def resample(samples: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Mono float32 [frames] at rate_in -> the same at rate_out (Hz), by soxr's HQ recipe."""
    _check_rate(rate_out, "the target sample rate")
    if rate_in == rate_out:
        return samples
    import soxr

    return np.ascontiguousarray(soxr.resample(samples, rate_in, rate_out, quality="HQ"), dtype=np.float32)


def read_audio(source: Any, name: str | None = None) -> Decoded:
    """Decode source (see Audio) at its own sample rate.  Raises AudioError."""
    name = describe_source(source) if name is None else name
    if isinstance(source, tuple | list):
        return _from_array(source, name)
    if isinstance(source, str | Path):
        return _from_path(Path(source), name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_file(io.BytesIO(bytes(source)), name)
    if hasattr(source, "read"):
        return _from_file(_seekable(source, name), name)
    if isinstance(source, np.ndarray):
        raise AudioError("an array needs its sample rate: pass (samples, sample_rate)")
    raise AudioError(
        f"audio cannot be a {type(source).__name__}: pass a path, bytes, a binary file object or (samples, sample_rate)"
    )


def describe_source(source: Any) -> str:
    """How messages call this source."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"<{len(source)} bytes>"
    if isinstance(source, tuple | list):
        return "<samples>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else f"<{type(source).__name__}>"


def looks_like_audio_path(text: str) -> bool:
    """Whether text is a file name with the ending of an audio file."""
    return Path(text).suffix.lower() in AUDIO_SUFFIXES and "\n" not in text


# Files -----------------------------------------------------------------------------------------


def _from_path(path: Path, name: str) -> Decoded:
    if not name:
        raise AudioError("the name of the audio file is empty")
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a directory: name an audio file in it")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise AudioError(f"{name} is a device, not an audio file")
        with open(path, "rb") as file:
            return _from_file(_seekable(file, name), name)
    except FileNotFoundError:
        raise AudioError(f"no such file: {name}") from None
    except PermissionError:
        raise AudioError(f"no permission to read {name}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise AudioError(f"cannot read {name!r}: {_reason(error)}") from None


def _seekable(file: Any, name: str) -> BinaryIO:
    """file itself where it can seek, else all of its bytes."""
    try:
        if file.seekable():
            position = file.tell()
            if not isinstance(file.read(0), bytes):
                raise AudioError(f"{name} is opened as text: open it in binary mode ('rb')")
            if position == 0:
                return cast(BinaryIO, file)
        data = file.read(MAX_BYTES + 1)
    except AudioError:
        raise
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise AudioError(f"cannot read {name}: {_reason(error)}") from None
    if not isinstance(data, bytes | bytearray):
        raise AudioError(f"{name} is opened as text: open it in binary mode ('rb')")
    if len(data) > MAX_BYTES:
        raise AudioError(f"{name} has more than {MAX_BYTES >> 30} GiB: cut it into pieces")
    return io.BytesIO(bytes(data))


def _from_file(file: BinaryIO, name: str) -> Decoded:
    import soundfile

    class Stream(soundfile.SoundFile):  # type: ignore[misc,unused-ignore]
        """Reads to the end of the data, whatever the header says, and never seeks between blocks."""

        def seekable(self) -> bool:
            return False

    file, promised = containers.prepare(file, name)
    notes: list[str] = []
    try:
        with contextlib.ExitStack() as stack:
            if containers.is_mpeg(file):  # libmpg123 complains on descriptor 2
                notes = stack.enter_context(stderr.caught())
            with interrupts.held():
                sound = stack.enter_context(Stream(containers.SteadyFile(file)))
            rate, channels, log = sound.samplerate, sound.channels, sound.extra_info
            _check_rate(rate, f"the sample rate of {name}")
            if sound.format == "FLAC" and sound.frames < 1 << 36:
                promised = sound.frames
            blocks, silent = _mono_blocks(sound, name, rate, promised if sound.format == "FLAC" else None)
    except soundfile.SoundFileError as error:
        raise _undecodable(error, name) from None
    total = sum(map(len, blocks))
    if promised is not None and total < promised:
        raise containers.truncated(name, f"{promised / rate:.2f} s promised, {total / rate:.2f} s could be read")
    if containers.log_says_truncated(log):
        raise containers.truncated(name, f"its header promises more than the {total / rate:.2f} s that are there")
    if any("error:" in line for line in notes):
        warn(f"{name} is damaged and may be heard with gaps")
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return _checked(samples, rate, channels, name, silent)


def _mono_blocks(sound: Any, name: str, rate: int, promised: int | None) -> tuple[list[NDArray[np.float32]], bool]:
    """Mono float32 blocks of an open file, and whether every channel was silent.

    promised: so many frames are sound; what follows them (a tag) need not be.
    """
    blocks: list[NDArray[np.float32]] = []
    total, silent = 0, True
    while len(block := _block(sound, None if promised is None else promised - total)):
        total += len(block)
        if total > MAX_SECONDS * rate:
            raise AudioError(f"{name} is longer than {MAX_SECONDS // 3600} hours: cut it into pieces")
        silent = silent and not block.any()
        blocks.append(mix_down(block))
    return blocks, silent


def _block(sound: Any, promised: int | None) -> NDArray[np.float32]:
    """The next float32 [frames, channels]; promised: how many more there must be."""
    ended = promised is not None and promised <= 0
    count = BLOCK_FRAMES if promised is None or ended else min(BLOCK_FRAMES, promised)
    try:
        with interrupts.held():
            block: NDArray[np.float32] = sound.read(count, dtype="float32", always_2d=True)
    except RuntimeError:  # soundfile.SoundFileError
        if not ended:
            raise
        return np.zeros((0, sound.channels), np.float32)
    return block


def _undecodable(error: Exception, name: str) -> AudioError:
    """libsndfile's reasons in words that help."""
    reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
    lower = reason.lower()
    if "not recognised" in lower or "unknown format" in lower or "regular file" in lower:
        return AudioError(f"{name} is not audio in a format that libsndfile knows; {containers.ffmpeg_hint(name)}")
    if "lost sync" in lower or "malformed" in lower:
        return AudioError(f"{name} is damaged or cut short ({reason}); copy or download it again")
    return AudioError(f"cannot decode {name}: {reason}")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


# Arrays ----------------------------------------------------------------------------------------


def _from_array(source: tuple[Any, Any] | list[Any], name: str) -> Decoded:
    if len(source) and _is_clip(source[0]):
        raise AudioError("several clips are passed as a list, not as a tuple: [clip, clip]")
    if len(source) != 2 or isinstance(source[1], bool | str | bytes) or np.ndim(source[1]) != 0:
        raise AudioError("samples are passed with their rate, as (samples, sample_rate)")
    try:
        array, rate = np.asarray(source[0]), float(source[1])
    except (TypeError, ValueError):
        raise AudioError("samples are passed with their rate, as (samples, sample_rate)") from None
    if not np.isfinite(rate) or rate != int(rate):
        raise AudioError(f"the sample rate must be a whole number of Hz, not {source[1]!r}")
    _check_rate(int(rate), "the sample rate")
    if array.dtype == object or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise AudioError(f"samples must be floats or integers, not {array.dtype}")
    if array.ndim not in (1, 2):
        raise AudioError(f"samples must be [frames] or [frames, channels], not of shape {array.shape}")
    channels = 1 if array.ndim == 1 else array.shape[1]
    if array.ndim == 2 and array.shape[0] < array.shape[1] and array.size:
        raise AudioError(
            f"samples of shape {array.shape} look like (channels, frames): pass (frames, channels), e.g. samples.T"
        )
    if channels > MAX_CHANNELS:
        raise AudioError(f"{channels} channels are too many (at most {MAX_CHANNELS})")
    if len(array) > MAX_SECONDS * rate:
        raise AudioError(f"{name} is longer than {MAX_SECONDS // 3600} hours: cut it into pieces")
    scaled = scale_samples(array)
    mono = mix_down(scaled if scaled.ndim == 2 else scaled[:, None]) if scaled.size else np.zeros(0, np.float32)
    return _checked(mono, int(rate), max(1, channels), name, not scaled.any())


def _is_clip(value: Any) -> bool:
    """Whether value is a clip by itself: a path, a file's bytes or an Audio, which is known by its content_id."""
    return isinstance(value, str | Path | bytes) or hasattr(value, "content_id")


def scale_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Integer samples to [-1, 1) by their type's range; floats as they are.  Same shape, float32."""
    if np.issubdtype(array.dtype, np.unsignedinteger):
        half = float(2 ** (8 * array.dtype.itemsize - 1))
        return ((array.astype(np.float64) - half) / half).astype(np.float32)
    if np.issubdtype(array.dtype, np.integer):
        return (array.astype(np.float64) / 2.0 ** (8 * array.dtype.itemsize - 1)).astype(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def mix_down(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """[frames, channels] -> their mean, [frames]."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        mean: NDArray[np.float64] = block.mean(axis=1, dtype=np.float64)
        return mean.astype(np.float32)


# Checks ----------------------------------------------------------------------------------------


def _check_rate(rate: int, what: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{what} is {rate} Hz: it must lie between {MIN_RATE} and {MAX_RATE}")


def _checked(samples: NDArray[np.float32], rate: int, channels: int, name: str, silent: bool) -> Decoded:
    """The refusals that hold for every source."""
    if not len(samples):
        raise AudioError(f"{name} holds no samples")
    if not np.isfinite(samples).all():
        where = int(np.argmin(np.isfinite(samples)))
        raise AudioError(f"{name} holds NaN or infinite samples (first at {where / rate:.3f} s)")
    if len(samples) < MIN_SECONDS * rate:
        raise AudioError(f"{name} is too short: {len(samples)} sample(s), {1000 * len(samples) / rate:.2f} ms")
    peak = float(np.abs(samples).max())
    if peak == 0:
        why = "every sample is 0" if silent else "its channels cancel each other out when mixed to mono"
        raise AudioError(f"{name} is silent: {why}")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{name} has float samples up to {peak:g}: scale them to [-1, 1], e.g. samples / 32768")
    return Decoded(samples, rate, channels)
