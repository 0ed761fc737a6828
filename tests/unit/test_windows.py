"""Long clips, window by window."""

import json

import numpy as np
import pytest

from mata_cpp import Audio, WindowAnswer
from mata_cpp.audio.windows import clock, overlapping, windows

RATE = 16000
QUESTION = "What sound is this?"


def talk(*parts):
    """Noise and pauses in turn, seconds each."""
    rng = np.random.default_rng(0)
    pieces = [
        (0.2 if number % 2 == 0 else 1e-4) * rng.standard_normal(round(seconds * RATE))
        for number, seconds in enumerate(parts)
    ]
    return Audio((np.concatenate(pieces).astype(np.float32), RATE), name="talk")


def edges(clip, every):
    return [(round(window.start, 2), round(window.end, 2)) for window in windows(clip, every, RATE)]


def test_without_a_pause_windows_are_cut_at_their_length():
    assert edges(talk(25), 10) == [(0, 10), (10, 20), (20, 25)]


def test_windows_are_cut_in_the_middle_of_a_pause():
    found = edges(talk(8, 1, 9, 0.6, 6.4), 10)
    assert found[0][1] == pytest.approx(8.5, abs=0.1) and found[1][1] == pytest.approx(18.25, abs=0.1)
    assert found[-1][1] == 25


def test_the_longest_pause_wins():
    assert edges(talk(7.2, 0.3, 0.5, 1.0, 6), 10)[0][1] == pytest.approx(8.5, abs=0.1)


def test_a_pause_too_early_is_no_place_to_cut():
    assert edges(talk(3, 1, 11), 10)[0] == (0, 10)


def test_a_short_end_goes_with_the_window_before():
    assert edges(talk(20.3), 10) == [(0, 10), (10, 20.3)]


def test_windows_join_without_gaps():
    clip = talk(5, 0.4, 7, 1, 9, 2, 3.3)
    found = list(windows(clip, 6, RATE))
    assert found[0].start == 0 and found[-1].end == clip.seconds
    assert all(one.end == other.start for one, other in zip(found, found[1:], strict=False))
    whole = np.concatenate([window.audio.samples() for window in found])
    np.testing.assert_array_equal(whole, clip.samples())
    assert all(window.end - window.start <= 6.5 for window in found)


def test_silent_windows_have_no_sound():
    found = list(windows(talk(10, 0), 10, RATE))
    assert found[0].audio is not None
    quiet = np.concatenate([talk(5).samples(), np.zeros(12 * RATE, np.float32), talk(5).samples()])
    assert None in [window.audio for window in windows(Audio((quiet, RATE)), 5, RATE)]


@pytest.mark.parametrize("every", [0, 0.5, -1, float("inf"), float("nan")])
def test_windows_that_are_none(every):
    with pytest.raises(ValueError, match="every must be at least 1 s"):
        list(windows(talk(5), every, RATE))


def test_overlapping_windows_reach_the_end():
    found = [(w.start, w.end) for w in overlapping(talk(10.5), 4, 2, RATE)]
    assert found == [(0, 4), (2, 6), (4, 8), (6, 10), (6.5, 10.5)]
    assert [(w.start, w.end) for w in overlapping(talk(3), 4, 2, RATE)] == [(0, 3)]


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.9, 90, 3600, 5025)] == [
        "00:00",
        "00:59",
        "01:30",
        "1:00:00",
        "1:23:45",
    ]


# Questions --------------------------------------------------------------------------------------


def test_each_window_is_asked(make_model):
    model = make_model()
    clip = talk(8.5, 1, 9)
    answers = list(model.ask_windows(clip, QUESTION, every=5))
    assert [type(answer) for answer in answers] == [WindowAnswer] * len(answers)
    assert [str(answer) for answer in answers] == ["rain"] * len(answers)
    assert answers[0].start == 0 and answers[-1].end == 18.5
    assert [len(answer.answer.audio) for answer in answers] == [1] * len(answers)
    record = answers[0].to_dict()
    assert json.dumps(record) and (record["start"], record["answer"]) == (0.0, "rain")


def test_silence_is_said_and_not_asked(make_model):
    sound = np.concatenate([talk(5).samples(), np.zeros(10 * RATE, np.float32), talk(5).samples()])
    model = make_model()
    answers = list(model.ask_windows((sound, RATE), QUESTION, every=5))
    assert [str(answer) for answer in answers] == ["rain", "(silence)", "(silence)", "rain"]
    assert answers[1].to_dict() == {"start": 5.0, "end": 10.0, "answer": None}


def test_what_ask_windows_refuses(make_model):
    model = make_model()
    with pytest.raises(ValueError, match="hears one clip, not 2"):
        model.ask_windows([talk(2), talk(2)], QUESTION)
    with pytest.raises(TypeError, match="max_tokenz"):
        model.ask_windows(talk(2), QUESTION, max_tokenz=3)
    with pytest.raises(ValueError, match="every must be a number"):
        model.ask_windows(talk(2), QUESTION, every="30")


def test_windows_can_be_cancelled(make_model, fake):
    cancel = fake.Cancel()
    answers = make_model().ask_windows(talk(30), QUESTION, every=3, cancel=cancel)
    next(answers)
    cancel.cancel()
    assert [answer.answer.finish_reason for answer in answers][-1] == "cancelled"
