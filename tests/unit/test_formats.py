"""Sound files of all kinds: heard whole, with a word about what is damaged, or refused for the true reason."""

import struct
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from mata_cpp import Audio, AudioError

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks import sound_files
from benchmarks.sound_files import bursts, by_soundfile, chunk, mp3, wav
from benchmarks.sound_kinds import Kind, kinds

KINDS = list(kinds())


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_heard_whole_or_refused(kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some sound"  # no ending: files are known by what is in them
    path.write_bytes(kind.make())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        if kind.seconds is None:
            with pytest.raises(AudioError) as refusal:
                Audio(path)
            message = str(refusal.value)
            assert kind.why in message and str(path) in message and "\n" not in message
        else:
            audio = Audio(path)
            assert audio.seconds == pytest.approx(kind.seconds, abs=kind.slack)
            assert np.isfinite(audio.samples()).all() and len(audio.samples()) > 0
    said = [str(warning.message) for warning in seen]
    assert bool(said) == bool(kind.warns), said
    assert all(kind.warns in line and line.startswith(str(path)) and "\n" not in line for line in said)
    assert capfd.readouterr().err == ""


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 60 and len({kind.name for kind in KINDS}) == len(KINDS)


def onsets(samples: np.ndarray, rate: int) -> int:
    """How many bursts begin."""
    window = rate // 50
    loud = np.abs(samples[: len(samples) // window * window].reshape(-1, window)).max(axis=1) > 0.4
    return int((np.diff(loud.astype(int)) == 1).sum() + loud[0])


@pytest.mark.parametrize("name", [kind.name for kind in KINDS if kind.seconds is not None and not kind.warns])
def test_all_of_the_sound_is_there(name: str) -> None:
    """Seconds alone could be silence: the bursts are counted, four of them a second."""
    kind = next(kind for kind in KINDS if kind.name == name)
    audio = Audio(kind.make())
    samples = audio.samples() / np.abs(audio.samples()).max()
    assert kind.seconds is not None
    assert onsets(samples, audio.sample_rate) == pytest.approx(4 * kind.seconds, abs=2)


@pytest.mark.parametrize("codec", ["aac", "libopus", "flac", "mp3"])
def test_the_sound_of_a_video_is_the_sound(codec: str) -> None:
    data = sound_files.by_ffmpeg(bursts(3.0, 48000), 48000, "matroska", codec, video=True)
    heard, made = Audio(data).samples(16000), Audio((bursts(3.0, 48000), 48000)).samples(16000)
    level = [np.abs(x[: 16000 * 2].reshape(-1, 800)).max(axis=1) for x in (heard, made)]
    assert np.corrcoef(*level)[0, 1] > 0.9


def test_samples_are_exact() -> None:
    """What is stored sample by sample comes out as it was written."""
    sound = (bursts(1.0, channels=2) * 32767).round() / 32767
    integers = (sound * 32767).round()
    for data in (wav(sound), by_soundfile(integers / 32768, form="FLAC"), by_soundfile(integers / 32768, form="AIFF")):
        np.testing.assert_allclose(Audio(data, channel="left").samples(), integers[:, 0] / 32768, atol=1e-7)
    for form, subtype in (("WAV", "FLOAT"), ("AU", "FLOAT"), ("CAF", "FLOAT"), ("AIFF", "DOUBLE"), ("RF64", "FLOAT")):
        heard = Audio(by_soundfile(sound, form=form, subtype=subtype)).samples()
        np.testing.assert_allclose(heard, sound.mean(axis=1), atol=1e-7)
    for subtype, step in (("PCM_24", 2.0**-23), ("PCM_32", 2.0**-31), ("PCM_U8", 2.0**-7)):
        heard = Audio(by_soundfile(sound[:, 0], subtype=subtype)).samples()
        np.testing.assert_allclose(heard, sound[:, 0], atol=step + 1e-7)


# Sizes that lie ---------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [0.5, 1.0, 2.5, 4.8])
def test_what_comes_after_the_announced_end(told: float) -> None:
    size = 2 * int(told * 16000)
    with pytest.warns(RuntimeWarning, match=rf"tells of {told:.2f} s; the {5 - told:.2f} s after them are heard too"):
        assert Audio(wav(bursts(5.0), data_size=size)).seconds == 5.0


@pytest.mark.parametrize(
    "after",
    [
        chunk(b"LIST", b"INFOISFT" + b"x" * 5000),
        chunk(b"id3 ", b"y" * 20001) + chunk(b"bext", b"z" * 600),
        chunk(b"LIST", b"z" * 9001, pad=False),
        b"\0" * 30_000,
        b"ID3\x04\0\0\0\0\x7f\x7f" + bytes(range(256)) * 64,
        sound_files.ID3V1 * 30,
    ],
    ids=["LIST", "several", "odd", "padding", "ID3v2", "ID3v1"],
)
def test_what_is_no_sound_after_the_sound(after: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Audio(wav(bursts(2.0), after=after)).seconds == 2.0


@pytest.mark.parametrize(
    "before", [chunk(b"JUNK", b"x" * 27, pad=False), chunk(b"abcd", b"q" * 3), chunk(b"bext", b"x" * 601)]
)
def test_chunks_before_the_sound(before: bytes) -> None:
    assert Audio(wav(bursts(2.0), before=before)).seconds == 2.0


def test_a_wav_file_beyond_4_gib(tmp_path: Path) -> None:
    """Its 32-bit sizes wrap.  The file is sparse: all zeros but its beginning and its end."""
    rate, channels = 768000, 64
    path = tmp_path / "large.wav"
    per_second = rate * channels * 2
    size = (1 << 32) + per_second
    fmt = struct.pack("<HHIIHH", 1, channels, rate, per_second, 2 * channels, 16)
    head = wav(np.zeros(0, np.float32), fmt=fmt, data_size=size % (1 << 32), riff_size=0)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size - 4 * channels)
        file.seek(0, 2)
        file.write(np.full(2 * channels, 3000, "<i2").tobytes())
    from mata_cpp.audio import headers

    with path.open("rb") as file:
        stream = headers.wav_streams(file, 0, path.stat().st_size, "it")[0]
    assert stream.seconds == pytest.approx(size / per_second) and stream.notes == []
    assert stream.parts[0][:4] == b"RF64"


# Tags and foreign bytes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign", [b"\0" * 700, b"StreamTitle='x';" * 3, bytes(range(1, 200))], ids=["zeros", "title", "bytes"]
)
@pytest.mark.parametrize("where", [3, 40, 90])
def test_foreign_bytes_between_mp3_frames(foreign: bytes, where: int) -> None:
    frames = sound_files.frames_of(mp3())[1:]
    data = b"".join(frames[:where]) + foreign + b"".join(frames[where:])
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert Audio(data).seconds == pytest.approx(5.0, abs=0.15)


@pytest.mark.parametrize("number", [5, 30, 60])
def test_a_frame_header_that_is_gone(number: int) -> None:
    frames = sound_files.frames_of(mp3())[1:]
    frames[number] = bytes(4) + frames[number][4:]
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert Audio(b"".join(frames)).seconds == pytest.approx(5.0, abs=0.2)


def test_packets_of_which_none_can_be_decoded() -> None:
    """Each is two bytes, and fails by itself."""
    data = bytearray(sound_files.caf(-1))
    at = data.index(b"lpcm") + 8
    struct.pack_into(">IIII", data, at, 2, 255, 0x7F000000, 16)
    started = time.monotonic()
    with pytest.raises(AudioError, match="damaged: no part of it can be decoded"):
        Audio(bytes(data) + bytes(data[-4000:]) * 100)
    assert time.monotonic() - started < 5


# Channels ------------------------------------------------------------------------------------------


def pair(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int]:
    return np.stack([left, right], axis=1).astype(np.float32), 16000


def test_channels_by_name() -> None:
    low, high = bursts(1.0, hertz=300), bursts(1.0, hertz=900)
    for channel, wanted in (
        ("left", low),
        ("right", high),
        (1, low),
        (2, high),
        ("mix", (low + high) / 2),
        (None, (low + high) / 2),
    ):
        np.testing.assert_allclose(Audio(pair(low, high), channel=channel).samples(), wanted, atol=1e-6)
        np.testing.assert_allclose(
            Audio(by_soundfile(pair(low, high)[0], subtype="FLOAT"), channel=channel).samples(), wanted, atol=1e-6
        )
    with pytest.raises(AudioError, match="has 2 channels: there is no channel 3"):
        Audio(pair(low, high), channel=3)
    for channel in ("middle", 0, -1, 1.5, True):
        with pytest.raises(AudioError, match="channel must be"):
            Audio(pair(low, high), channel=channel)


@pytest.mark.parametrize("ratio", [1.0, 0.98, 0.92])
def test_channels_that_cancel_out(ratio: float) -> None:
    sound = bursts(2.0)
    with pytest.warns(RuntimeWarning, match="cancels out when its channels are mixed; the left channel is heard alone"):
        audio = Audio(pair(sound, -ratio * sound))
    np.testing.assert_allclose(audio.samples(), sound, atol=1e-6)


@pytest.mark.parametrize("right", [0.0, 0.3, 1.0, -0.5], ids=["one silent", "weaker", "equal", "half cancelled"])
def test_channels_that_do_not(right: float) -> None:
    sound = bursts(2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio = Audio(pair(sound, right * sound))
    np.testing.assert_allclose(audio.samples(), sound * (1 + right) / 2, atol=1e-6)


def test_one_channel_of_many_is_heard() -> None:
    sound = np.zeros((32000, 60), np.float32)
    sound[:, 41] = bursts(2.0)
    with pytest.warns(RuntimeWarning, match="the 42 channel is heard alone"):
        assert np.abs(Audio((sound, 16000)).samples()).max() == pytest.approx(0.35, abs=0.1)


@pytest.mark.parametrize("channels", [65, 1000, 65535])
def test_too_many_channels_in_a_file(channels: int) -> None:
    data = bytearray(wav(bursts(1.0)))
    data[22:24] = channels.to_bytes(2, "little")
    with pytest.raises(AudioError, match=f"has {channels:,} channels: at most 64"):
        Audio(bytes(data))


# Silence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decibels", [-20, -40, -60])
def test_quiet_is_not_silent(decibels: int) -> None:
    sound = bursts(2.0) / 0.36 * 10 ** (decibels / 20)
    assert Audio((sound.astype(np.float32), 16000)).seconds == 2.0


def test_a_short_sound_in_long_silence_is_heard() -> None:
    sound = np.zeros(600 * 16000, np.float32)
    sound[-8000:] = bursts(0.5) * 0.01
    assert Audio((sound, 16000)).seconds == 600.0


@pytest.mark.parametrize(
    "sound",
    [
        np.full(16000, 0.5, np.float32),
        np.full(16000, -1e-3, np.float32),
        np.random.default_rng(0).integers(-1, 2, 16000) / 32768,
        1e-5 * np.random.default_rng(0).standard_normal(16000),
        0.3 + 1e-5 * np.random.default_rng(0).standard_normal(16000),
        np.full(400, 0.1),
    ],
    ids=["constant", "small constant", "dither", "noise", "noise on a constant", "short constant"],
)
def test_silence(sound: np.ndarray) -> None:
    with pytest.raises(AudioError, match="is silent: (its signal never changes|it never gets louder than -[0-9]+ dB)"):
        Audio((sound, 16000))


# Length --------------------------------------------------------------------------------------------


def test_long_clips_are_kept_at_16_khz(monkeypatch: pytest.MonkeyPatch) -> None:
    import soxr

    from mata_cpp.audio import mono

    monkeypatch.setattr(mono, "KEPT_WHOLE", 100_000)
    sound = bursts(20.0, 48000)
    for source in ((sound, 48000), by_soundfile(sound, 48000, subtype="FLOAT")):
        audio = Audio(source)
        assert (audio.seconds, audio.sample_rate) == (20.0, 48000)
        np.testing.assert_allclose(audio.samples(16000), soxr.resample(sound, 48000, 16000, quality="HQ"), atol=1e-4)
        assert len(audio.samples(8000)) == 160_000
        np.testing.assert_allclose(audio.samples(), sound, atol=1e-6)
        np.testing.assert_allclose(audio.samples(24000), soxr.resample(sound, 48000, 24000, quality="HQ"), atol=1e-4)
    assert Audio((sound, 48000)).content_id == Audio(by_soundfile(sound, 48000, subtype="FLOAT")).content_id


def test_a_flac_file_that_claims_hours() -> None:
    data = bytearray(by_soundfile(bursts(1.0), form="FLAC"))
    data[21] = data[21] & 0xF0
    data[22:26] = (3 * 3600 * 16000).to_bytes(4, "big")
    with pytest.raises(AudioError, match=r"silent or damaged: [0-9,]+ bytes cannot hold the 10,800 s that it promises"):
        Audio(bytes(data))
