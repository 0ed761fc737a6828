"""Multiple choice: how options are put to the model, and how they are scored."""

import numpy as np
import pytest

from mata_cpp.decoding.scoring import ChoiceForm, contrasted

OPTIONS = ["cat", "dog"]


def asked(make_model, clip, script=lambda prompt: "dog", **options):
    """(the choice, the prompts that the model has seen, each once)."""
    prompts = []
    model = make_model({"script": lambda prompt, mata: prompts.append(prompt) or script(prompt)})
    choice = model.choose(clip, "Which?", OPTIONS, **options)
    return choice, list(dict.fromkeys(filter(None, prompts)))


# How options are put to the model ------------------------------------------------------------------


def test_options_are_listed():
    assert ChoiceForm().question("Which?", OPTIONS) == "Which? Choose one: cat, dog."
    assert ChoiceForm().answers(OPTIONS) == OPTIONS


def test_options_unlisted():
    assert ChoiceForm(listed=False).question("Which?", OPTIONS) == "Which?"


def test_letters():
    form = ChoiceForm(letters=True)
    assert form.question("Which?", OPTIONS) == "Which?\nA. cat\nB. dog\nAnswer with the letter of the right option."
    assert form.answers(OPTIONS) == ["A", "B"]


def test_more_options_than_letters():
    with pytest.raises(ValueError, match="there are letters for 26 options, not for 27"):
        ChoiceForm(letters=True).question("Which?", [str(i) for i in range(27)])


@pytest.mark.parametrize("name", ["contrast", "listed", "letters"])
@pytest.mark.parametrize("value", [1, "yes", None])
def test_bad_forms(make_model, clip, name, value):
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        make_model().choose(clip, "Which?", OPTIONS, **{name: value})


@pytest.mark.parametrize(
    ("options", "question"),
    [
        ({}, "Which? Choose one: cat, dog."),
        ({"listed": False}, "Which?"),
        ({"letters": True}, "Which?\nA. cat\nB. dog\nAnswer with the letter of the right option."),
    ],
)
def test_the_question_as_the_model_gets_it(make_model, clip, options, question):
    _, prompts = asked(make_model, clip, **options)
    assert any(prompt.endswith(f"[audio 5]\n{question}<|im_end|>\n") for prompt in prompts)


def test_letters_stand_for_the_options(make_model, clip):
    choice, _ = asked(make_model, clip, lambda prompt: "A", letters=True)
    assert (choice.text, choice.index, choice.options, choice.tokens) == ("cat", 0, OPTIONS, [2, 2])


# How they are scored -------------------------------------------------------------------------------


def test_contrasted():
    assert contrasted([-1.0, -2.0], [-3.0, -5.0]) == [1.0, 1.0]
    assert contrasted([-1.0, -2.0], None) == [-1.0, -2.0]


def test_the_score_by_contrast(make_model, clip):
    """What the model says of silence too speaks for nothing."""
    choice, _ = asked(make_model, clip)
    assert choice.scored_by == "contrast with silence"
    assert choice.scores == pytest.approx(
        [2 * heard - unheard for heard, unheard in zip(choice.logprobs, choice.silence_logprobs, strict=True)]
    )


def test_silence_is_as_long_as_the_clip(make_model, clip, make_tone):
    model = make_model()
    model.choose([clip, (make_tone(2.0), 16000)], "Which?", OPTIONS)
    lengths = [sum(item is None for item in session.items) for session in model.engine.sessions]
    assert max(lengths) == 15 and model.engine.encoded == 4


def test_an_option_that_silence_also_gives_loses():
    """The sound moves the model from its answer to anything half way to another."""
    sound, quiet = [-1.0, -1.2], [-0.1, -3.0]
    assert int(np.argmax(contrasted(sound, quiet))) == 1
    assert int(np.argmax(contrasted(sound, None))) == 0


def test_silence_is_scored_once(make_model, clip, make_tone):
    model = make_model()
    runs = []
    for hertz in (300, 400, 500):
        model.choose((make_tone(hertz=hertz), 16000), "Which?", OPTIONS)
        runs.append(model.engine.encoded)
    assert runs == [2, 3, 4]


def test_silence_is_scored_anew_for_another_question(make_model, clip):
    model = make_model()
    seen = []
    for question, options in (("Which?", OPTIONS), ("What?", OPTIONS), ("Which?", ["cat", "cow"])):
        model.choose(clip, question, options)
        seen.append(len(model._loaded.silences))
    assert seen == [1, 2, 3]


def test_without_contrast_silence_is_not_heard(make_model, clip):
    choice, prompts = asked(make_model, clip, contrast=False)
    assert choice.scored_by == "likelihood" and choice.silence_logprobs is None
    assert choice.scores == choice.logprobs and len(prompts) == 1


def test_shares(make_model, clip):
    choice, _ = asked(make_model, clip)
    weights = np.exp(np.array(choice.scores) - max(choice.scores))
    assert choice.probabilities == pytest.approx(weights / weights.sum())
    assert choice.confidence == choice.probabilities[choice.index] == max(choice.probabilities)


def test_a_choice_is_not_added_to_the_conversation(make_model, clip):
    chat = make_model().chat()
    chat.ask(clip, "What?")
    chat.choose(None, "Which?", OPTIONS)
    assert len(chat.messages) == 2
    assert chat.ask("And?").text == "rain"


def test_a_choice_in_a_conversation_hears_its_silence_too(make_model, clip):
    """All clips of the conversation are replaced, and its texts are kept."""
    prompts = []
    model = make_model({"script": lambda prompt, mata: prompts.append(prompt) or "rain"})
    chat = model.chat()
    chat.ask(clip, "What?")
    prompts.clear()
    chat.choose(None, "Which?", OPTIONS)
    assert {prompt.count("What?") for prompt in prompts if "Which?" in prompt} == {1} and model.engine.encoded == 2


def test_forks_are_closed(make_model, clip):
    model = make_model()
    model.choose(clip, "Which?", [f"o{i}" for i in range(9)])
    assert sum(not session.closed for session in model.engine.sessions) == len(model._loaded.pool._idle) <= 2
