"""The rules of contrast: their formulas against values worked out by hand, and what may be asked for."""

import math

import numpy as np
import pytest

from mata_cpp import Audio, Contrast, Message
from mata_cpp.decoding.contrast import formula, guidance, noise, silence, smooth, text, yesno
from mata_cpp.decoding.contrast.pair import _fitting
from mata_cpp.decoding.contrast.registry import RULES
from mata_cpp.decoding.contrast.rule import Hearing, Step
from mata_cpp.decoding.contrast.rules import STRENGTHS, contrast_of, parse
from mata_cpp.decoding.repetition import Repetition

HEARING = Hearing(16000, lambda clip: clip.seconds)


def logits(*values):
    return np.array(values, np.float32)


# Formulas ----------------------------------------------------------------------------------------


def test_contrast():
    assert formula.contrasted(logits(2, 1, 0), logits(1, 2, 0), 0.5).tolist() == [2.5, 0.5, 0]
    assert formula.contrasted(logits(2, 1, 0), logits(1, 2, 0), 0).tolist() == [2, 1, 0]


def test_cut():
    """exp(-2) is above a tenth, exp(-3) is not."""
    heard = logits(3, 1, 0)
    assert formula.without_unlikely(logits(5, 6, 7), heard, 0.1).tolist() == [5, 6, 5 - 3 - 10000]
    assert formula.without_unlikely(logits(5, 6, 7), heard, 0).tolist() == [5, 6, 7]


def test_noise_cuts_by_the_clip_and_not_by_the_contrast():
    """The last token gains most by the contrast, and is too unlikely after the clip."""
    found = noise.combined(logits(3, 2, 0), logits(3, 0, -9), Contrast("noise"), Step())
    assert found[:2].tolist() == [3, 4] and found[2] < -9000


def test_what_is_left_out_keeps_its_order():
    """A grammar may allow nothing else."""
    found = formula.without_unlikely(logits(5, 70, 60, -9), logits(9, 1, 2, -40), 0.1)
    assert np.argsort(-found).tolist() == [0, 2, 1, 3] and found[2] < -9000


def test_guidance_is_the_contrast_of_gamma_less_one():
    log_p, log_p_without = logits(-0.5, -1.5, -2), logits(-1, -1, -1.2)
    guided = guidance.guided(log_p, log_p_without, 1.1)
    assert guided == pytest.approx([-0.45, -1.55, -2.08], abs=1e-6)
    assert formula.contrasted(log_p, log_p_without, 0.1) == pytest.approx(guided, abs=1e-6)
    found = guidance.combined(log_p + 7, log_p_without - 2, Contrast("guidance"), Step())  # logits, of any height
    assert found - found[0] == pytest.approx(guided - guided[0], abs=1e-5)


def test_guidance_leaves_out_the_unlikely():
    assert guidance.combined(logits(3, 0), logits(0, 0), Contrast("guidance"), Step())[1] < -9000


def test_uncertainty():
    assert smooth.uncertainty(logits(50, 0, 0, 0, 0, 0)) == pytest.approx(0, abs=1e-9)
    assert smooth.uncertainty(logits(1, 1, 1, 1, 1, -30)) == pytest.approx(1)
    assert smooth.uncertainty(logits(9, 9, -90, -90, -90)) == pytest.approx(math.log(2) / math.log(5))


def test_gate():
    even = logits(1, 1, 1, 1, 1)
    assert smooth.gate(0.2, even) == pytest.approx(0.4)
    assert smooth.gate(0.9, even) == 1
    assert smooth.gate(0.0, even) == 0
    assert smooth.gate(0.2, logits(9, 9, -90, -90, -90)) == pytest.approx(0.4 * math.sqrt(math.log(2) / math.log(5)))


def test_only_what_the_clip_speaks_for_is_pushed():
    assert smooth.pushed(logits(2, 1, 0), logits(1, 2, 0), 0.5).tolist() == [2.5, 1, 0]


def test_only_candidates_are_pushed():
    """16 of the one side and 8 of the other; the one in the middle is among neither."""
    heard, smoothed = np.arange(40, dtype=np.float32), np.arange(40, dtype=np.float32) - 4
    found = smooth.pushed(heard, smoothed, 1.0) - heard
    assert found.tolist() == [0] * 24 + [4] * 16
    smoothed[:8] = 90
    assert smooth.pushed(heard, smoothed, 1.0)[:8].tolist() == heard[:8].tolist()


def test_smoothing_takes_away_what_is_quick_and_keeps_the_power():
    rate = 16000
    time = np.arange(rate) / rate
    slow, quick = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (20, 2000))
    mixed = slow + quick
    found = smooth.smoothed(mixed, rate)
    assert len(found) == rate and found.dtype == np.float32
    assert np.mean(found**2) == pytest.approx(np.mean(mixed**2), rel=1e-4)
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum[2000] < 1e-3 * spectrum[20]


@pytest.mark.parametrize("n", [1, 2, 10])
def test_smoothing_of_next_to_nothing(n):
    assert len(smooth.smoothed(np.ones(n, np.float32), 16000)) == n


def test_noise_has_the_power_that_is_asked_for():
    samples = (0.1 * np.sin(np.arange(48000))).astype(np.float32)
    found = noise.noised(samples, 6.0, 1) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(found**2)) == pytest.approx(6, abs=0.1)
    assert np.array_equal(noise.noised(samples, 6.0, 1), noise.noised(samples, 6.0, 1))
    assert not np.array_equal(noise.noised(samples, 6.0, 1), noise.noised(samples, 6.0, 2))
    assert np.abs(noise.noised(samples, -60.0, 1)).max() <= 1


def test_a_yes_that_silence_says_too_is_doubted():
    """Token 0 is yes, 1 is no: 3 - 1 after the clip, 3 - 1.1 after silence, which differ by less than 0.2."""
    step = Step(first=True, yes=(0,), no=(1,))
    heard, silent = logits(3, 1, 0), logits(3, 1.1, 0)
    found = yesno.combined(heard, silent, Contrast("yesno"), step)
    assert found == pytest.approx([3 - 2.5, 0.9, 0], abs=1e-6)
    later = yesno.combined(heard, silent, Contrast("yesno"), Step(first=False, yes=(0,), no=(1,)))
    assert later == pytest.approx([3, 0.9, 0], abs=1e-6)


def test_a_yes_that_the_sound_speaks_for_is_not():
    step = Step(first=True, yes=(0, 2), no=(1,))
    found = yesno.combined(logits(3, 1, 0), logits(1, 1.5, 0), Contrast("yesno"), step)
    assert found == pytest.approx([5, 0.5, 0], abs=1e-6)


def test_interpolation():
    """Best and second of the other side are 0.25 apart: half of the margin, so half the way."""
    joint, audio = np.array([-1.0, -2.0]), np.array([-1.5, -1.25])
    assert text.interpolated(joint, audio, 1.0) == pytest.approx([-1.25, -1.625])
    assert text.interpolated(joint, audio, 0.5) == pytest.approx([-1.125, -1.8125])
    assert text.interpolated(joint, audio, 4.0) == pytest.approx(audio)  # never past it
    assert text.interpolated(joint, audio, 0.0) == pytest.approx(joint)


def test_no_interpolation_where_both_agree():
    joint, audio = np.array([-1.0, -2.0]), np.array([-0.5, -3.0])
    assert text.interpolated(joint, audio, 1.0) == pytest.approx(joint)


def test_options_are_interpolated_as_wholes():
    assert text.scores([-1, -2], [-9, -3], Contrast("text", text="x")) == [-9, -3]


@pytest.mark.parametrize("name", [name for name in STRENGTHS if name not in ("text", "yesno")])
def test_no_strength_is_no_contrast(name):
    heard, other = logits(3, 2.5, 1), logits(-4, 9, 0)
    found = RULES[name].combined(heard, other, Contrast(name, 0, cut=0), Step(reliance=1.0))
    assert found.tolist() == heard.tolist()


# The other prompt --------------------------------------------------------------------------------


@pytest.fixture
def messages(make_tone):
    clip = Audio((make_tone(0.5), 16000), name="tone")
    return [
        Message("system", "Be brief."),
        Message("user", "What?", (clip,)),
        Message("assistant", "A dog."),
        Message("user", "The dog is loud. How many?"),
    ]


@pytest.mark.parametrize("name", ["silence", "noise", "smooth", "yesno"])
def test_clips_are_replaced_by_others_as_long(messages, name):
    found = RULES[name].other(messages, Contrast(name), HEARING)
    assert [(m.role, m.text) for m in found] == [(m.role, m.text) for m in messages]
    clip, before = found[1].clips[0], messages[1].clips[0]
    assert clip.seconds == before.seconds and clip.content_id != before.content_id
    again = RULES[name].other(messages, Contrast(name), HEARING)
    assert again[1].clips[0].content_id == clip.content_id


def test_only_what_is_heard_is_replaced(messages):
    """A model that listens to the first 0.2 s only."""
    for name in ("silence", "noise", "smooth"):
        found = RULES[name].other(messages, Contrast(name), Hearing(16000, lambda clip: 0.2))
        assert found[1].clips[0].seconds == pytest.approx(0.2)


def test_guidance_has_no_clip(messages):
    assert not any(m.clips for m in guidance.other(messages, Contrast("guidance"), HEARING))


def test_the_text_is_left_out_of_the_last_question(messages):
    found = text.other(messages, Contrast("text", text="The dog is loud."), HEARING)
    assert found[:-1] == messages[:-1] and found[-1].text == "How many?"


@pytest.mark.parametrize(
    ("question", "words", "rest"),
    [
        ("A dog barks. What is it?", "A dog barks.", "What is it?"),
        ("What is it? A dog barks.", "A dog barks.", "What is it? "),
        ("What is it, a dog, or a cat? A dog?", "a dog,", "What is it, or a cat? A dog?"),
    ],
)
def test_what_is_left(question, words, rest):
    assert text.without(question, words).strip() == rest.strip()


def test_nothing_is_left():
    with pytest.raises(ValueError, match="nothing is left"):
        text.without("A dog barks.", "A dog barks.")
    with pytest.raises(ValueError, match="must stand in the question"):
        text.without("What is it?", "a dog")


# What may be asked for ---------------------------------------------------------------------------


def test_parse():
    assert parse("silence") == Contrast("silence", 1.0)
    assert parse(" noise:0.5 ") == Contrast("noise", 0.5, cut=0.1, snr=0.0)
    assert str(parse("guidance")) == "guidance:0.1"
    assert contrast_of(None) is None and contrast_of("smooth") == Contrast("smooth", 0.9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("loud", "contrast must be one of silence, noise, smooth, yesno, guidance, text, not 'loud'"),
        ("silence:", "the strength of contrast silence must be a number, as in silence:1, not ''"),
        ("silence:x", "the strength of contrast silence must be a number, as in silence:1, not 'x'"),
        ("silence:nan", "strength must be finite, not nan"),
        ("silence:-1", "strength must lie between 0 and 100, not -1"),
        ("text:1", 'contrast text needs the words that mislead: Contrast("text", text="...")'),
    ],
)
def test_bad_texts(words, message):
    with pytest.raises(ValueError) as error:
        parse(words)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "given",
    [
        {"name": "silence", "cut": 1},
        {"name": "silence", "snr": 3},
        {"name": "silence", "text": "x"},
        {"name": "text", "text": "  "},
        {"name": "noise", "seed": -1},
        {"name": "noise", "snr": "loud"},
        {"name": "silence", "strength": True},
    ],
)
def test_bad_records(given):
    with pytest.raises(ValueError) as error:
        Contrast(**given)
    assert "\n" not in str(error.value)


def test_to_dict():
    assert Contrast("silence").to_dict() == {"name": "silence", "strength": 1.0, "cut": 0.0}
    assert Contrast("noise", snr=-10, seed=3).to_dict() == {
        "name": "noise", "strength": 1.0, "cut": 0.1, "snr": -10.0, "seed": 3,
    }  # fmt: skip
    assert Contrast("text", text="loud").to_dict()["text"] == "loud"


def test_contrasts_are_values():
    assert hash(Contrast("silence")) == hash(parse("silence:1")) and Contrast("silence") == Contrast("silence", 1, 0)


# Beside ------------------------------------------------------------------------------------------


def test_batches_hold_both_sides():
    rows = [[1] * 100, [2] * 100, [3] * 100]
    assert _fitting(rows) == rows[:2]
    assert _fitting([[1] * 900]) == [[1] * 900]


@pytest.mark.parametrize("limit", [0, 8, 32])
def test_repetition_is_that_of_the_engine(limit):
    """As the stand-in has it, which was written from csrc/engine/repetition.h."""
    import fake_core

    draw = np.random.default_rng(limit)
    for n_phrase in (1, 3, 70):
        phrase = draw.integers(0, 9, n_phrase).tolist()
        ours, theirs = Repetition(limit), fake_core.Repetition(limit)
        for token in [1, 2, 3, *phrase * 40]:
            ended = ours.add(token)
            assert (ended, ours.times, ours.period) == (theirs.add(token), theirs.times, theirs.period)
            if ended:
                break


def test_silence_is_faint():
    clip = silence.silence(0.5, 16000)
    assert 0 < np.abs(clip.samples(16000)).max() < 1e-3 and clip.seconds == 0.5
