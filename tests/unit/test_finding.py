"""When something is heard in a long clip."""

import json

import numpy as np
import pytest

from mata_cpp import Audio, Found, Stretch
from mata_cpp.audio.windows import Window, overlapping
from mata_cpp.finding import over_time

RATE = 16000


def found(probabilities, seconds=None, threshold=0.9):
    values = np.array(probabilities, np.float32)
    return Found("a dog", 2.5 * len(values) if seconds is None else seconds, 2.5, threshold, values)


def test_moments_side_by_side_are_one_stretch():
    assert found([0.1, 0.95, 0.99, 0.2, 0.92]).stretches == [
        Stretch(2.5, 7.5, pytest.approx(0.99)),
        Stretch(10.0, 12.5, pytest.approx(0.92)),
    ]
    assert found([0.1, 0.5]).stretches == []


def test_the_last_stretch_ends_with_the_clip():
    assert found([0.1, 0.95], seconds=4.2).stretches == [Stretch(2.5, 4.2, pytest.approx(0.95))]


def test_each_moment_is_the_mean_of_its_windows():
    clip = Audio((0.1 * np.random.default_rng(0).standard_normal(15 * RATE), RATE))
    cut = list(overlapping(clip, 5, 2.5, RATE))
    assert len(cut) == 5
    got = over_time(cut, [-8, 6, 8, -8, -8], 2.5)
    wanted = 1 / (1 + np.exp(-np.array([-8, -1, 7, 0, -8, -8])))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_silence_says_no_and_one_window_does_not_outweigh_all():
    cut = [Window(0, 5, None), Window(2.5, 7.5, None)]
    np.testing.assert_allclose(over_time(cut, [None, 1000], 2.5), [2e-9, 0.5, 1.0], atol=1e-8)


def test_lines_and_json():
    result = found([0.1, 0.95, 0.99])
    assert str(result) == "[00:02-00:08] a dog 0.99"
    record = json.loads(json.dumps(result.to_dict()))
    assert record["find"] == "a dog" and record["stretches"] == [{"start": 2.5, "end": 7.5, "probability": 0.99}]
    assert record["probabilities"] == [0.1, 0.95, 0.99]


def test_a_model_that_always_says_yes(make_model, fake):
    """The stand-in's script says what follows the prompt: yes wherever there is sound."""
    sound = np.concatenate([0.1 * np.random.default_rng(0).standard_normal(10 * RATE), np.zeros(10 * RATE)])
    model = make_model({"script": lambda p, m: "Yes"})
    result = model.find((sound, RATE), "a dog")
    assert result.what == "a dog" and result.seconds == 20.0 and len(result.probabilities) == 8
    assert (result.probabilities[:3] > 0.9).all() and (result.probabilities[5:] < 0.1).all()


def test_what_find_refuses(make_model, make_tone):
    model = make_model()
    clip = (make_tone(6.0), RATE)
    for what in ("", "  ", 5):
        with pytest.raises(ValueError, match="what must be"):
            model.find(clip, what)
    for threshold in (0, 1, -1, 2):
        with pytest.raises(ValueError, match="threshold must lie between 0 and 1"):
            model.find(clip, "a dog", threshold=threshold)
    with pytest.raises(ValueError, match="find hears one clip, not 2"):
        model.find([Audio(clip), Audio(clip)], "a dog")
