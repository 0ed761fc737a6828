"""From a stream of a file to blocks of samples, by FFmpeg's libraries (PyAV) or by libsndfile.

FFmpeg reads nearly everything, and goes on after damage.  libsndfile reads the formats that FFmpeg does not know, RIFX,
whose byte order FFmpeg ignores, and CAF: there FFmpeg drops the last packet of ALAC, and takes plain samples one by
one.  docs/formats.md has the tries.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import interrupts, sniff, stderr
from .headers import MAX_CHANNELS, SLACK_S, STREAMED_SIZE, Stream, check_channels
from .view import ReadError, View

if TYPE_CHECKING:
    import av.audio

log = logging.getLogger(__name__)

BLOCK_VALUES = 1 << 18
"""Samples of all channels in a block."""

FORMATS = (
    *(
        "aac",
        "ac3",
        "aiff",
        "amr",
        "ape",
        "asf",
        "au",
        "avi",
        "avr",
        "caf",
        "dsf",
        "dts",
        "dtshd",
        "eac3",
        "epaf",
        "flac",
    ),
    *(
        "flv",
        "iff",
        "ircam",
        "loas",
        "matroska",
        "mlp",
        "mov",
        "mp3",
        "mpc",
        "mpc8",
        "mpeg",
        "mpegts",
        "nistsphere",
        "ogg",
    ),
    *("oma", "pvf", "qcp", "rm", "shn", "tak", "truehd", "tta", "voc", "w64", "wav", "wv", "xwma"),
)
"""FFmpeg's demuxers that may be used: none that opens other files or addresses, as playlists do."""

FIXED_LENGTH = frozenset(
    ("ape", "asf", "avr", "caf", "flac", "iff", "ircam", "nistsphere", "pvf", "tta", "voc", "w64", "wv")
)
"""Formats of FFmpeg whose header tells the length of the only stream."""

MOST_FAILED_FIRST, MOST_FAILED = 5_000, 20_000
"""Packets in a row that may fail before anything is heard, and after.  A failure takes 0.1 ms, a packet 2 bytes."""

Block = tuple[NDArray[np.float32], int]
"""Samples [frames, channels], and their rate in Hz."""


_Piece = tuple[NDArray[Any], int]
"""The same as FFmpeg gives them."""


class Tracks:
    """Which track of a file is heard: another one once those that were preferred turned out to be silent."""

    def __init__(self) -> None:
        self._silent: set[int] = set()
        self._heard: int | None = None
        self._count = 1

    def choose(self, container: Any) -> Any:
        tracks = [track for track in container.streams.audio if track.index not in self._silent]
        track = _longest(container, tracks)
        self._count = len(container.streams.audio)
        self._heard = None if track is None else track.index
        return track

    def another(self) -> bool:
        """What was heard is silent: whether there is another one."""
        if self._heard is None:
            return False
        self._silent.add(self._heard)
        return len(self._silent) < self._count


class CannotOpen(Exception):
    """The library does not know the format."""


def decode(file: BinaryIO, stream: Stream, kind: str, name: str, tracks: Tracks) -> Iterator[Block]:
    """The sound of a stream; notes of what is damaged or missing are added to it.

    Raises AudioError where nothing can be heard.
    """
    view = View(file, stream.parts)
    readers: list[Callable[[View, Stream, str, str], Iterator[Block]]] = [
        functools.partial(_by_ffmpeg, tracks),
        _by_libsndfile,
    ]
    if kind == "caf" or view.read(4) == b"RIFX":
        readers.reverse()
    reasons = []
    for reader in readers:
        view.seek(0)
        try:
            yield from reader(view, stream, kind, name)
        except CannotOpen as error:
            reasons.append(str(error))
        else:
            reasons = []
        if view.error is not None:
            raise ReadError(view.error)
        if not reasons:
            return
    raise AudioError(next(filter(None, reasons)))


# FFmpeg ------------------------------------------------------------------------------------------------


def _by_ffmpeg(tracks: Tracks, view: View, stream: Stream, kind: str, name: str) -> Iterator[Block]:
    import av

    errors = (av.FFmpegError, ValueError, OverflowError)
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        with interrupts.held():
            container = av.open(view, options=options, metadata_errors="replace", buffer_size=1 << 18)
    except errors as error:
        log.debug("%s: FFmpeg: %s", name, error)
        raise CannotOpen from None
    with container:
        try:
            track = tracks.choose(container)
        except (*errors, IndexError) as error:  # PyAV's table of streams does not know those that come later
            raise AudioError(f"{name} is damaged: {error}") from None
        context = None if track is None else track.codec_context
        if track is None:
            raise AudioError(f"{name} holds no sound ({container.format.long_name})")
        if context is None:
            raise AudioError(f"{name} is in a codec that nothing here can decode ({_codec_of(track)})")
        if _is_encrypted(track):
            raise AudioError(f"{name} is protected (DRM): only its seller's programs can play it")
        check_channels(track.layout.nb_channels, name)
        if len(container.streams.audio) > 1:
            number = [one.index for one in container.streams.audio].index(track.index) + 1
            stream.notes.append(f"has {len(container.streams.audio)} tracks of sound; only number {number} is heard")
        if stream.seconds is None:
            stream.seconds = _promised(container, track)
        heard = _Heard(stream, kind)
        pieces = ((_samples(frame), frame.sample_rate) for frame in _frames(container, track, heard, name))
        following: _Piece | None = None
        while True:
            with interrupts.held():
                block, following = _gather(pieces, following)
            if block is None:
                break
            yield block
        heard.close()
        if heard.broken and not heard.frames:
            raise AudioError(f"{name} is damaged: no part of it can be decoded ({context.name})")


def _gather(pieces: Iterator[_Piece], first: _Piece | None) -> tuple[Block | None, _Piece | None]:
    """Pieces of one kind as a block, beginning with first; and the piece that is unlike them, if one comes."""
    gathered = [] if first is None else [first]
    count = sum(samples.size for samples, _ in gathered)
    following = None
    while count < BLOCK_VALUES:
        piece = next(pieces, None)
        if piece is None:
            break
        if gathered and _form(piece) != _form(gathered[0]):
            following = piece
            break
        gathered.append(piece)
        count += piece[0].size
    if not gathered:
        return None, None
    return (_scaled(np.concatenate([samples for samples, _ in gathered])), gathered[0][1]), following


def _form(piece: _Piece) -> tuple[int, int, Any]:
    samples, rate = piece
    return rate, samples.shape[1], samples.dtype


class _Heard:
    """What came of the packets of a track, in notes."""

    def __init__(self, stream: Stream, kind: str) -> None:
        self._stream, self._mpeg = stream, kind == "mpeg"
        self.frames = 0
        self.seconds = 0.0
        self.broken = 0
        self._first_broken = 0.0
        self._junk = 0
        self._first_junk = 0.0

    def packet(self, packet: Any) -> None:
        """Look at what is about to be decoded.  FFmpeg's parser gives foreign bytes along with the frame after them."""
        if not self._mpeg or not packet.size:
            return
        frame = sniff.mpeg_frame(bytes(memoryview(packet)[:4]))
        if frame is not None and frame[0] == packet.size:
            return
        foreign = sniff.before_frame(bytes(packet))
        if foreign and not foreign.startswith(sniff.TAGS):
            self._first_junk = self._first_junk if self._junk else self.seconds
            self._junk += len(foreign)

    def lost(self, packet: Any = None) -> None:
        """A part could not be decoded; a tag between MPEG frames is none."""
        if self._mpeg and packet is not None and bytes(packet).startswith(sniff.TAGS):
            return
        self._first_broken = self._first_broken if self.broken else self.seconds
        self.broken += 1

    def frame(self, frame: Any) -> None:
        self.frames += frame.samples
        self.seconds += frame.samples / frame.sample_rate

    def close(self) -> None:
        notes, promised = self._stream.notes, self._stream.seconds
        if promised is not None and self.seconds + max(SLACK_S, 0.002 * promised) < promised:
            where = f"; the first gap is at {self._first_broken:.2f} s" if self.broken else ""
            notes.append(f"is cut short or damaged: {self.seconds:.2f} s of {promised:.2f} s could be decoded{where}")
        elif self.broken and not (notes and self.broken == 1):  # the end of what is known to be cut short
            notes.append(
                f"is damaged: {self.broken} part(s) could not be decoded, the first at {self._first_broken:.2f} s"
            )
        elif self._junk:
            notes.append(f"is damaged: {self._junk:,} foreign bytes, the first at {self._first_junk:.2f} s")


def _frames(container: Any, track: Any, heard: _Heard, name: str) -> Iterator[av.audio.AudioFrame]:
    import av

    packets = container.demux(track)
    failed = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, IndexError) as error:
            log.debug("%s: FFmpeg, at %.2f s: %s", name, heard.seconds, error)
            heard.lost()
            return
        heard.packet(packet)
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError as error:
            log.debug("%s: FFmpeg, at %.2f s: %s", name, heard.seconds, error)
            if packet.size:
                heard.lost(packet)
            failed += 1
            if failed > (MOST_FAILED if heard.frames else MOST_FAILED_FIRST):
                return
            continue
        failed = 0
        for frame in frames:
            if frame.samples and frame.sample_rate > 0 and 0 < frame.layout.nb_channels <= MAX_CHANNELS:
                heard.frame(frame)
                yield frame


_DTYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}


def _samples(frame: Any) -> NDArray[Any]:
    """A frame as it is: [frames, channels].  Some files have one sample in each, so it must not take long."""
    name, channels = frame.format.name, frame.layout.nb_channels
    if name.endswith("p"):
        kind, count = _DTYPES[name[:-1]], frame.samples
        planes = frame.planes[:channels]  # of damaged frames PyAV gives more, which lie nowhere
        samples = np.empty((count, len(planes)), kind)
        for number, plane in enumerate(planes):
            samples[:, number] = np.frombuffer(plane, kind, count)
        return samples
    return np.frombuffer(frame.planes[0], _DTYPES[name], frame.samples * channels).reshape(-1, channels).copy()


def _scaled(block: NDArray[Any]) -> NDArray[np.float32]:
    """Samples of FFmpeg as float32, full scale at 1."""
    if block.dtype == np.uint8:
        return np.asarray((block.astype(np.float32) - 128) / 128, np.float32)
    if np.issubdtype(block.dtype, np.integer):  # a power of two: nothing is rounded but the integer
        scaled = block.astype(np.float32)
        scaled *= np.float32(2.0 ** (1 - 8 * block.dtype.itemsize))
        return scaled
    with np.errstate(over="ignore"):
        return block.astype(np.float32)


def _promised(container: Any, track: Any) -> float | None:
    """Seconds that the header tells, where it is no estimate."""
    form = container.format.name
    if track.duration and track.time_base and (form in FIXED_LENGTH or form.startswith("mov,")):
        return float(track.duration * track.time_base)
    if form.startswith("matroska") and container.duration and len(container.streams) == 1:
        return float(container.duration / 1e6)
    return None


def _longest(container: Any, tracks: Sequence[Any]) -> Any:
    """Of these tracks of sound the one that FFmpeg prefers, or one that is longer by a second."""
    import av

    best = container.streams.best("audio")
    if tracks and best not in tracks:
        best = tracks[0]
    if len(tracks) < 2:
        return best
    seconds = {track.index: float((track.duration or 0) * track.time_base) for track in tracks if track.time_base}
    if not all(seconds.values()):  # of Matroska, whose header does not say
        with contextlib.suppress(av.FFmpegError):
            for packet in container.demux(*tracks):
                if packet.pts is not None and packet.time_base:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    seconds[packet.stream.index] = max(seconds.get(packet.stream.index, 0.0), end)
            container.seek(0)
    for track in tracks:
        if seconds.get(track.index, 0.0) > seconds.get(best.index, 0.0) + 1:
            best = track
    return best


def _codec_of(track: Any) -> str:
    tag = _tag(track)
    return tag if tag.isprintable() and tag else "FFmpeg does not know it"


def _is_encrypted(track: Any) -> bool:
    return _tag(track) in ("drms", "enca", "aavd", "drmi")


def _tag(track: Any) -> str:
    """The codec's four letters in the file; "" where they are none."""
    try:
        return str(track.codec_tag or "").strip("\0 ")
    except (AttributeError, ValueError):
        return ""


# libsndfile ----------------------------------------------------------------------------------------------


def _by_libsndfile(view: View, stream: Stream, kind: str, name: str) -> Iterator[Block]:
    import soundfile

    with contextlib.ExitStack() as stack:
        stack.enter_context(stderr.caught())  # libsndfile's ALAC decoder writes there
        try:
            with interrupts.held():
                sound = stack.enter_context(_one_way()(view))
        except soundfile.SoundFileError as error:
            raise CannotOpen(_reason(error, name)) from None
        check_channels(sound.channels, name)
        if _log_tells_of_loss(sound.extra_info):
            stream.notes.append("is cut short: its header promises more than is there")
        rate, heard = sound.samplerate, 0
        frames = max(1, BLOCK_VALUES // sound.channels)
        while True:
            try:
                with interrupts.held():
                    block = sound.read(frames, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                if not heard:
                    raise AudioError(_reason(error, name)) from None
                stream.notes.append(f"is damaged: nothing could be decoded after {heard / rate:.2f} s")
                return
            if not len(block):
                return
            heard += len(block)
            yield block, rate


def check_length(file: BinaryIO, stream: Stream) -> None:
    """Note where libsndfile finds less than the header promises, for formats whose headers nothing else here reads."""
    import soundfile

    with (
        contextlib.suppress(soundfile.SoundFileError, OSError),
        stderr.caught(),
        interrupts.held(),
        _one_way()(View(file, stream.parts)) as sound,
    ):
        if _log_tells_of_loss(sound.extra_info):
            stream.notes.append("is cut short: its header promises more than is there")


def _log_tells_of_loss(log: str) -> bool:
    """Whether libsndfile's parse log tells of missing data."""
    for line in log.splitlines():
        if "truncated file" in line or ("Calculated frame count" in line and "does not match" in line):
            return True
        key, _, rest = line.partition(":")
        if "(should be" in rest and key.strip() in ("SSND", "Data Size", "riff", "BODY", "DATA", "data"):
            promised, _, present = rest.partition("(should be")
            with contextlib.suppress(ValueError):
                if int(present.strip(" )")) + 64 < int(promised) < STREAMED_SIZE:
                    return True
    return False


@functools.cache
def _one_way() -> type[Any]:
    """A class of open files that are read to the end of the data, whatever the header says, without a seek."""
    import soundfile

    class OneWay(soundfile.SoundFile):  # type: ignore[misc,unused-ignore]
        def seekable(self) -> bool:
            return False

    return OneWay


def _reason(error: Exception, name: str) -> str:
    """libsndfile's reasons in words that help."""
    reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
    lower = reason.lower()
    if "not recognised" in lower or "unknown format" in lower or "regular file" in lower:
        return f"{name} is no sound file, or one in a format that is not known here"
    if "lost sync" in lower or "malformed" in lower:
        return f"{name} is damaged or cut short ({reason}); copy or download it again"
    return f"cannot decode {name}: {reason}"
