"""The microphone for real: PulseAudio's null sink, where it is installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mata_cpp import Audio

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


# A real capture path -----------------------------------------------------------------------------


@pytest.fixture
def room(tmp_path, monkeypatch):
    """PulseAudio with a sink that nobody hears; what is played there is what the microphone gets."""
    if importlib.util.find_spec("sounddevice") is None or not all(map(shutil.which, ("pulseaudio", "pactl", "paplay"))):
        pytest.skip("needs sounddevice and PulseAudio")
    for name in ("XDG_RUNTIME_DIR", "HOME"):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(name, str(folder))
    (tmp_path / "HOME" / ".asoundrc").write_text("pcm.!default {\n type pulse\n}\nctl.!default {\n type pulse\n}\n")
    modules = ["-L", "module-native-protocol-unix", "-L", "module-null-sink sink_name=room"]
    server = subprocess.Popen(["pulseaudio", "-n", "--exit-idle-time=-1", *modules], stderr=subprocess.DEVNULL)
    for _ in range(50):
        if subprocess.run(["pactl", "set-default-source", "room.monitor"], capture_output=True).returncode == 0:
            break
        time.sleep(0.1)
    else:
        server.kill()
        pytest.skip("PulseAudio does not start here")
    yield
    server.terminate()
    server.wait(10)


def test_what_is_played_is_recorded(room, tmp_path):
    sound, rate = soundfile.read(EXAMPLES / "dog.flac", dtype="float32")
    path = tmp_path / "played.wav"
    soundfile.write(path, np.tile(sound, 3), rate)
    player = subprocess.Popen(["paplay", "--device=room", str(path)])
    try:
        script = (
            "from mata_cpp.audio.microphone import record\n"
            "clip = record(6)\n"
            "import soundfile; soundfile.write('heard.wav', clip.samples(), clip.sample_rate)"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=os.environ, capture_output=True, text=True
        )
    finally:
        player.kill()
    if "No Default" in run.stderr or "no microphone was found" in run.stderr:
        pytest.skip("ALSA has no PulseAudio plugin here")
    assert run.returncode == 0, run.stderr
    heard, rate = soundfile.read(tmp_path / "heard.wav", dtype="float32")
    assert len(heard) == 6 * rate
    spectra = [np.abs(np.fft.rfft(x[: 5 * 16000])) for x in (heard, Audio(EXAMPLES / "dog.flac").samples(16000))]
    bands = [np.log(x.reshape(-1)[:40000].reshape(40, -1).mean(axis=1) + 1e-6) for x in spectra]
    assert np.corrcoef(*bands)[0, 1] > 0.9
