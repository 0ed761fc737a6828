"""Clips: every kind of source, every kind of damage."""

import io
import os
import socket
import struct
import threading

import numpy as np
import pytest
import soundfile
import soxr

from mata_cpp import Audio, AudioError, decode_audio
from mata_cpp.audio import looks_like_audio_path
from mata_cpp.audio.arrays import scaled
from mata_cpp.audio.mono import mix_down

FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
]
LONG = 6


def noise(seconds=1.0, rate=16000, channels=1):
    shape = int(seconds * rate) if channels == 1 else (int(seconds * rate), channels)
    return (np.random.default_rng(0).standard_normal(shape) * 0.1).astype(np.float32)


def refused(source, *words):
    """The message of the AudioError for source: one line that has the words."""
    with pytest.raises(AudioError) as caught:
        Audio(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# What can be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_every_format_keeps_its_length(make_tone, make_file, format, subtype):
    audio = Audio(make_file(make_tone(2.0, 48000), 48000, format, subtype))
    assert audio.seconds == pytest.approx(2.0, abs=0.005)
    assert (audio.sample_rate, audio.channels) == (48000, 1)
    assert np.abs(audio.samples(16000)).max() == pytest.approx(0.3, abs=0.03)


def test_path_bytes_file_and_stream_are_the_same_sound(make_tone, make_file, tmp_path):
    data = make_file(make_tone(0.5, 22050, channels=2), 22050)
    path = tmp_path / "a b.wav"
    path.write_bytes(data)

    class Pipe(io.RawIOBase):
        """Bytes that cannot seek."""

        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def seekable(self):
            return False

        def read(self, size=-1):
            return self.inner.read(size)

    with open(path, "rb") as file:
        sources = [
            Audio(source) for source in (path, str(path), data, bytearray(data), io.BytesIO(data), file, Pipe(data))
        ]
    assert len({audio.content_id for audio in sources}) == 1
    assert sources[0].name == str(path)


def test_fifo(make_tone, make_file, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = make_file(make_tone(0.2))
    writer = threading.Thread(target=lambda: fifo.write_bytes(data))
    writer.start()
    assert Audio(fifo).seconds == pytest.approx(0.2)
    writer.join()


def test_file_object_is_read_from_where_it_stands(make_tone, make_file):
    data = make_file(make_tone(0.2))
    file = io.BytesIO(b"skipped" + data)
    file.seek(7)
    assert Audio(file).seconds == pytest.approx(0.2)


def test_content_id_is_of_the_sound(make_tone, make_file, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(make_file(make_tone(0.2)))
    first = Audio(path).content_id
    path.write_bytes(make_file(make_tone(0.2, hertz=300)))
    assert Audio(path).content_id != first
    assert Audio((make_tone(0.2), 16000)).content_id != Audio((make_tone(0.2), 8000)).content_id


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mixes_down_first_then_resamples(make_tone, rate, channels):
    samples = make_tone(1.0, rate, channels=channels)
    got = decode_audio((samples, rate), 16000)
    mono = samples if channels == 1 else samples.mean(axis=1)
    expected = mono if rate == 16000 else soxr.resample(mono, rate, 16000, quality="HQ")
    assert got.dtype == np.float32 and got.shape == (16000,)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    crossings = int((np.diff(np.signbit(got[800:-800])) != 0).sum())
    assert crossings == pytest.approx(2 * 440 * 0.9, abs=2)


def test_stereo_from_a_file_is_the_mean(make_tone, make_file):
    samples = make_tone(0.5, channels=2)
    got = decode_audio(make_file(samples, subtype="FLOAT"), 16000)
    np.testing.assert_allclose(got, samples.mean(axis=1), atol=1e-6)


def test_integer_samples_are_scaled_by_their_type():
    ramp = np.array([-1.0, -0.5, 0.0, 0.5])
    for dtype in (np.int8, np.int16, np.int32):
        got = scaled((ramp * 2.0 ** (8 * np.dtype(dtype).itemsize - 1)).astype(dtype))
        np.testing.assert_allclose(got, ramp, atol=1e-7)
        assert got.dtype == np.float32
    np.testing.assert_allclose(scaled(np.array([0, 64, 128, 192], np.uint8)), ramp)
    np.testing.assert_allclose(scaled(np.array([0, 16384, 32768, 49152], np.uint16)), ramp)
    np.testing.assert_allclose(scaled(ramp), ramp)
    assert mix_down(np.array([[1, 0], [0, 1]], np.float32)).tolist() == [0.5, 0.5]


def test_16_bit_samples_in_a_wider_type(make_tone):
    """Python lists of integers become int64."""
    samples = (make_tone() * 32767).astype(np.int16)
    wanted = Audio((samples, 16000)).samples()
    for wider in (samples.tolist(), samples.astype(np.int32), samples.astype(np.int64), samples[:, None].tolist()):
        np.testing.assert_array_equal(Audio((wider, 16000)).samples(), wanted)
    for kind, factor in ((np.int64, 1 << 20), (np.int64, 1 << 48), (np.uint32, 1 << 10), (np.uint64, 1 << 40)):
        refused((np.abs(samples).astype(kind) * kind(factor), 16000), "full scale is not known")


def test_what_other_libraries_give(make_tone, make_file, tmp_path):
    samples = make_tone()
    data = make_file(samples, subtype="FLOAT")
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    class Named:
        def __fspath__(self):
            return str(path)

    wanted = Audio((samples, 16000)).content_id
    forms = [
        (16000, samples),
        (np.int32(16000), samples),
        [samples, 16000],
        {"array": samples, "sampling_rate": 16000, "path": None},
        {"bytes": data, "path": "clip.wav"},
        {"bytes": None, "path": str(path)},
        Named(),
        memoryview(data),
    ]
    for form in forms:
        assert Audio(form).content_id == wanted
    refused({"text": "x"}, 'must have "array" and "sampling_rate"', "'text'")
    refused({}, "this one has nothing")


class Trickle(io.RawIOBase):
    """A raw stream, which gives less than it is asked for, as pipes and sockets do."""

    def __init__(self, data, pieces):
        super().__init__()
        self.inner, self.pieces = io.BytesIO(data), pieces

    def readable(self):
        return True

    def read(self, size=-1):
        return self.inner.read(min(size, self.pieces) if size >= 0 else self.pieces)


@pytest.mark.parametrize("pieces", [1000, 4096, 65536])
@pytest.mark.parametrize("form", ["WAV", "MP3", "FLAC", "OGG"])
def test_streams_that_give_little_at_a_time(make_tone, make_file, form, pieces):
    data = make_file(make_tone(3.0), format=form)
    assert Audio(Trickle(data, pieces)).content_id == Audio(data).content_id


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_is_read_to_its_end(make_tone, make_file, buffering):
    data = make_file(make_tone(10.0))
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb", buffering=buffering) as file:
        assert Audio(file).seconds == pytest.approx(10.0)
    thread.join()


def test_a_socket_is_read_to_its_end(make_tone, make_file):
    data = make_file(make_tone(10.0))
    ours, theirs = socket.socketpair()

    def write():
        with theirs:
            for first in range(0, len(data), 5000):
                theirs.sendall(data[first : first + 5000])

    thread = threading.Thread(target=write)
    thread.start()
    with ours, ours.makefile("rb", buffering=0) as file:
        assert Audio(file).seconds == pytest.approx(10.0)
    thread.join()


def test_objects_that_read_and_do_nothing_else(make_tone, make_file):
    class Plain:
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def read(self, size=-1):
            return self.inner.read(size)

    assert Audio(Plain(make_file(make_tone()))).seconds == 1.0


def test_a_file_object_at_its_end(make_tone, make_file, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(make_file(make_tone()))
    with path.open("rb") as file:
        file.read()
        refused(file, "is read to its end already: seek(0) first")


def test_names_are_shortened_in_messages():
    refused("data:audio/flac;base64," + "A" * 100_000, "is a data: URL")
    assert len(refused("a" * 200 + "/" + "b" * 100_000)) < 400
    assert len(Audio("examples/dog.flac").name if os.path.exists("examples/dog.flac") else "") < 100


def test_zeros_without_end_are_not_read_to_their_end():
    with open("/dev/zero", "rb", buffering=0) as file:

        class Stream:
            def read(self, size=-1):
                return file.read(size)

        refused(Stream(), "begins with zeros only")


def test_wav_written_into_a_pipe(make_tone, make_file):
    """ffmpeg leaves 0xFFFFFFFF as size, sox 0x7FFFF000 and more, others 0."""
    data = make_file(make_tone(0.5))
    at = data.index(b"data") + 4
    for riff, size in ((0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (0, 0), (36, 0), (0xFFFFFFFF, 0)):
        piped = bytearray(data)
        struct.pack_into("<I", piped, 4, riff)
        struct.pack_into("<I", piped, at, size)
        assert Audio(bytes(piped)).seconds == pytest.approx(0.5), hex(size)


def test_flac_without_a_length(make_file):
    data = bytearray(make_file(noise(2.0), format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert Audio(bytes(data)).seconds == pytest.approx(2.0)


def test_variable_rate_mp3_without_its_header_is_read_to_the_end(make_tone):
    """libsndfile guesses the length from the first frame and drops the rest."""
    quiet, loud = 1e-4 * noise(20.0), noise(5.0)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.concatenate([quiet, loud]), 16000, format="MP3", bitrate_mode="VARIABLE")
    data = buffer.getvalue().replace(b"Xing", b"\0\0\0\0", 1)
    assert soundfile.info(io.BytesIO(data)).duration < 10
    assert Audio(data).seconds == pytest.approx(25.0, abs=0.2)
    tagged = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + data + b"TAG" + bytes(125)
    assert Audio(tagged).seconds == pytest.approx(25.0, abs=0.2)


def test_repr_and_facts(make_tone):
    audio = Audio((make_tone(1.0, 8000, channels=2), 8000))
    assert repr(audio) == "Audio('<samples>', 1.00 s, 8000 Hz, 2 channels)"
    assert len(audio.samples()) == 8000 and len(audio.samples(16000)) == 16000


# What cannot -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.9, 0.5])
@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_of_truncated_files_the_rest_is_heard(make_file, tmp_path, format, subtype, keep):
    data = make_file(noise(LONG, 48000), 48000, format, subtype)
    path = tmp_path / f"cut.{format.lower()}"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.warns(RuntimeWarning, match="cut short") as seen:
        audio = Audio(path)
    assert len(seen) == 1 and str(seen[0].message).startswith(f"{path} ") and seen[0].filename == __file__
    assert LONG * keep - 1.2 < audio.seconds <= LONG * keep + 0.1


def test_headers_alone(make_file):
    for format, subtype in FORMATS:
        data = make_file(noise(LONG), format=format, subtype=subtype)
        for count in (4, 12, 40, 100):
            refused(data[:count])


def test_wav_with_a_slightly_wrong_size_is_read(make_tone, make_file):
    data = bytearray(make_file(make_tone(0.5)))
    at = data.index(b"data") + 4
    struct.pack_into("<I", data, at, 16000 + 44)
    assert Audio(bytes(data)).seconds == pytest.approx(0.5)


def test_odd_bytes():
    refused(b"", "empty (0 bytes)")
    refused(b"hello, world\n" * 1000, "is text, not audio")
    refused(bytes(100000), "only zeros")
    refused(b"\x89PNG\r\n\x1a\n" + bytes(1000), "a PNG picture")
    refused(b"GGUF" + bytes(100), "a GGUF model file")
    refused(b"\0\0\0\x20ftypM4A " + bytes(5000))
    refused(b"\x1aE\xdf\xa3" + bytes(5000))
    refused(b"\xff\xf1\x50\x80" + bytes(5000))
    refused(b"ID3\x04\0\0\0\0\0\0" + bytes(5000))
    refused(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(5000), "ID3")
    refused(b"RIFF\x10\0\0\0WAVE")
    refused(b"RIFF\x10\0\0\0AVI LIST")


def test_random_bytes_are_never_audio(capfd):
    for seed in range(40):
        refused(np.random.default_rng(seed).bytes(20000))
        refused(b"\xff\xfb" + np.random.default_rng(seed).bytes(20000))
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damage_in_the_middle_never_crashes(make_file):
    rng = np.random.default_rng(0)
    for format, subtype in FORMATS:
        data = bytearray(make_file(noise(2.0), format=format, subtype=subtype))
        for _ in range(5):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 20):
                broken[at] = int(rng.integers(256))
            try:
                audio = Audio(bytes(broken))
            except AudioError as error:
                assert "\n" not in str(error)
            else:
                assert np.isfinite(audio.samples(16000)).all()


def test_paths(tmp_path):
    refused(tmp_path / "none.wav", "no such file", "none.wav")
    refused(tmp_path, "is a directory")
    refused("/dev/null", "device")
    refused("a\0b.wav", "cannot read")
    refused("x" * 5000, "cannot read")
    refused("", "is empty")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_no_permission(clip):
    clip.chmod(0)
    refused(clip, "no permission")


def test_objects_that_are_no_sound(make_tone):
    refused(None, "NoneType")
    refused(3, "int")
    refused(make_tone(), "sample rate")
    refused(io.StringIO("text"), "binary mode")
    refused((make_tone(),), "(samples, sample_rate)")
    refused((make_tone(), "16000"), "(samples, sample_rate)")
    refused((make_tone(), None), "(samples, sample_rate)")
    refused((16000, 16000), "(samples, sample_rate)")
    refused((["a", "b"], 16000), "floats or integers")
    refused((np.zeros(100, complex), 16000), "floats or integers")
    refused((np.zeros(100, bool), 16000), "floats or integers")
    closed = io.BytesIO(b"x")
    closed.close()
    refused(closed, "cannot read")


def test_array_shapes(make_tone):
    stereo = make_tone(1.0, channels=2)
    refused((stereo.T, 16000), "(channels, frames)", "samples.T")
    refused((make_tone(1.0, 48000, channels=2).T, 48000), "(2, 48000)")
    refused((np.zeros((2, 3, 4), np.float32), 16000), "(2, 3, 4)")
    refused((np.float32(0.5), 16000), "(samples, sample_rate)")
    refused((np.ones((3000, 100), np.float32), 16000), "100 channels")


def test_array_contents(make_tone):
    samples = make_tone()
    for value in (np.nan, np.inf, -np.inf):
        bad = samples.copy()
        bad[8000] = value
        refused((bad, 16000), "NaN or infinite", "0.500 s")
    refused((np.zeros(0, np.float32), 16000), "no samples")
    refused((np.zeros((0, 2), np.int16), 16000), "no samples")
    refused((np.zeros(16000, np.float32), 16000), "silent: every sample is 0")
    refused((np.zeros((16000, 2), np.int16), 16000), "silent: every sample is 0")
    refused((np.ones(1, np.float32), 16000), "too short: 0.06 ms")
    refused((samples[:100], 16000), "too short", "6.25 ms")
    refused((samples * 32768, 16000), "float samples up to 9830", "scale them")
    refused((samples.astype(np.float64) * 1e300, 16000), "infinite")


def test_files_with_such_contents(make_tone, make_file):
    bad = make_tone()
    bad[5] = np.nan
    refused(make_file(bad, subtype="FLOAT"), "NaN")
    refused(make_file(np.zeros(0, np.float32)), "no samples")
    refused(make_file(np.zeros(16000, np.float32)), "silent")
    refused(make_file(np.ones(1, np.float32)), "too short: 0.06 ms")


@pytest.mark.parametrize("rate", [0, -16000, 1, 999, 10**7, 16000.5, float("nan"), float("inf")])
def test_absurd_rates(make_tone, rate):
    refused((make_tone(), rate), "sample rate")


def test_absurd_rate_in_a_file(make_tone, make_file):
    data = bytearray(make_file(make_tone()))
    struct.pack_into("<I", data, 24, 5)
    refused(bytes(data), "5 Hz")


def test_absurd_length(make_tone):
    huge = np.broadcast_to(np.float32(0.1), (5 * 3600 * 1000,))
    refused((huge, 1000), "longer than 4 hours")


def test_file_names():
    assert looks_like_audio_path("a/b.WAV") and looks_like_audio_path("x.m4a")
    assert not looks_like_audio_path("What is this?") and not looks_like_audio_path("Is it a .wav file or not?")


def test_mp3_cut_short_in_its_first_frame(make_tone, make_file):
    data = make_file(make_tone(), format="MP3")
    for length in range(4, 60):
        with pytest.raises(AudioError):
            Audio(data[:length])


def test_flac_with_a_tag_behind_it(make_tone, make_file):
    data = make_file(make_tone(20.0), format="FLAC")
    for tail in (b"TAG" + bytes(125), b"x" * 300):
        assert Audio(data + tail).seconds == pytest.approx(20.0)


def test_a_tuple_of_clips(make_tone, clip):
    audio = Audio((make_tone(), 16000))
    for pair in ((audio, audio), (str(clip), str(clip))):
        refused(pair, "passed as a list")


# Whatever is passed ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [">i2", ">i4", ">u2", ">f4", "<i4", ">f8"])
def test_samples_of_either_byte_order(make_tone, kind):
    native = np.dtype(kind).newbyteorder("=")
    scale = {"i": 2 ** (8 * native.itemsize - 1) - 1, "u": 2 ** (8 * native.itemsize - 1), "f": 1}[native.kind]
    samples = (make_tone() * scale + (scale if native.kind == "u" else 0)).astype(native)
    np.testing.assert_array_equal(Audio((samples.astype(kind), 16000)).samples(), Audio((samples, 16000)).samples())


def test_samples_are_not_to_be_written_to(make_tone):
    for audio in (Audio((make_tone(), 16000)), Audio((make_tone(1.0, 48000), 48000))):
        for rate in (None, 16000):
            with pytest.raises(ValueError, match="read-only"):
                audio.samples(rate)[:10] = 0


class Failing(io.BytesIO):
    """Fails after some bytes, as a network drive may."""

    def __init__(self, data, after, error):
        super().__init__(data)
        self.after, self.error = after, error

    def read(self, size=-1):
        if self.tell() >= self.after:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), EOFError("ended early"), RuntimeError("gone")])
@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_errors_of_the_file(make_file, capfd, format, subtype, error):
    data = make_file(noise(20.0, 48000), 48000, format, subtype)
    for after in (0, 50, len(data) // 2):
        refused(Failing(data, after, error), "cannot read", str(getattr(error, "strerror", None) or error).lower())
    assert capfd.readouterr().err == ""


def test_objects_that_fail_or_mislead(make_tone):
    class Tensor:
        ndim = 1

        def __array__(self, *args, **kwargs):
            raise RuntimeError("it requires grad: call detach()")

    refused((Tensor(), 16000), "call detach()")
    refused((np.ma.masked_array(make_tone(), make_tone() > 0.1), 16000), "masked array")
    refused((np.arange(16000).astype("timedelta64[s]"), 16000), "floats or integers")
    for channel in (np.array([1, 2]), [1], {"a": 1}):
        with pytest.raises(AudioError, match="channel must be"):
            Audio((make_tone(), 16000), channel=channel)
    assert Audio((make_tone(channels=2), 16000), channel=np.int64(2)).channels == 2
    for channel in (2, "right"):
        with pytest.raises(AudioError, match="there is no channel"):
            Audio((make_tone(), 16000), channel=channel)


def test_a_part_that_cancels_out_is_told_of():
    sound = noise(10.0)
    other = np.where(np.arange(len(sound)) < len(sound) // 2, sound, -sound)
    with pytest.warns(RuntimeWarning, match=r"cancels out for [45]\.\d s when its channels are mixed: hear one"):
        Audio((np.stack([sound, other], axis=1), 16000))
