"""A model on this machine as what answers: what it is asked, and what becomes of its answers."""

import json

import pytest

from mata_cpp import CancelledError, Mata
from mata_cpp.evaluate.items import Item
from mata_cpp.evaluate.jobs import jobs
from mata_cpp.evaluate.local import LocalModel, prompt_of
from mata_cpp.evaluate.log import Log
from mata_cpp.evaluate.run import run
from mata_cpp.evaluate.settings import parse_setting
from mata_cpp.evaluate.work import Plan

OFF, ON, STRONG = (parse_setting(text) for text in ("off", "alpha=0.1", "alpha=2 layers=: mode=abs"))


@pytest.fixture
def sound(make_tone, make_file):
    return lambda hertz=440: make_file(make_tone(0.4, hertz=hertz))


def local(model, method="choose", **options):
    return LocalModel(model, method, hashes={"model_sha256": "0"}, **options)


def one(item, **options):
    (job,) = jobs([item], forms=options.pop("forms", ("listed",)), **options)
    return job


def test_choices_that_are_the_same_are_one_choice(make_model, sound):
    """MMAU's questions have some; each is scored once, and the first of them is chosen."""
    item = Item("1", (sound(),), "How many?", ("four", "nine", "rain", "rain"), "rain")
    answerer = local(make_model())
    job = one(item)
    (found,) = answerer.answer(job, [OFF])
    assert (found.raw, found.chosen) == ("rain", 2) and found.chosen == job.right
    assert len(found.scores) == 4 and found.scores[2] == found.scores[3] == max(found.scores)
    assert answerer.prompt(job) == "How many? Choose one: four, nine, rain."
    for form in ("unlisted", "letters"):
        assert len(answerer.answer(one(item, forms=(form,)), [OFF])[0].scores) == 4
    assert local(make_model(), "generate").answer(one(item, forms=("plain",)), [OFF])[0].raw == "rain"


def test_likelihood_is_choose_without_silence(make_model, sound, fake):
    item = Item("1", (sound(),), "What?", ("dog", "rain"), "rain")
    model = make_model()
    for method, contrast in (("choose", True), ("likelihood", False)):
        (found,) = local(model, method).answer(one(item), [ON])
        alone = model.choose(item.audio[0], "What?", ["dog", "rain"], mata=Mata(0.1), contrast=contrast)
        assert found.scores == tuple(round(score, 4) for score in alone.scores)
        assert found.effect is not None and found.confidence == round(alone.confidence, 4)


def test_settings_come_back_in_their_order(make_model, sound):
    """Those with a contrast are asked one by one, the others together."""
    item = Item("1", (sound(),), "What?", ("dog", "rain"), "rain", {"context": "A dog is loud."})
    settings = [parse_setting("contrast=silence"), ON, parse_setting("alpha=0.1 contrast=noise:0.5"), OFF]
    for method, form in (("choose", "listed"), ("generate", "plain")):
        found = local(make_model(), method).answer(one(item, forms=(form,)), settings)
        assert [outcome.effect is not None for outcome in found] == [False, True, True, False]
        assert len({outcome.timings["seconds"] for outcome in found}) == 1


def test_what_is_heard(make_model, fake, sound):
    """The item's own clips, nothing, near silence as long, or those of another item."""
    seen = []
    fake.OPTIONS["script"] = lambda prompt, mata: seen.append(prompt) or "rain"
    made = [Item(str(n), (sound(200 + n), sound(900))[: 1 + n % 2], "What?", ("dog", "rain"), "rain") for n in range(4)]
    model, heard = make_model(), {}
    answerer = local(model, "generate", max_tokens=4)
    for job in jobs(made, sounds=("clip", "none", "silence", "other"), forms=("plain",)):
        seen.clear()
        answerer.answer(job, [OFF])
        heard[job.item.id, job.sound] = seen[-1].count("[audio ")
    assert [heard["1", sound] for sound in ("clip", "none", "silence", "other")] == [2, 0, 2, 2]
    assert [heard["0", sound] for sound in ("clip", "none", "silence", "other")] == [1, 0, 1, 1]


def test_without_sound_every_setting_is_the_same(make_model, sound):
    item = Item("1", (sound(),), "What?", ("dog", "rain"), "rain")
    for method, form in (("choose", "listed"), ("generate", "plain")):
        found = local(make_model(), method).answer(one(item, sounds=("none",), forms=(form,)), [OFF, ON])
        assert found[0].raw == found[1].raw == "rain" and found[0].effect is None


def test_prompts(sound):
    item = Item("1", (sound(),), "What?", ("dog", "cat"), "cat")
    turned = list(jobs([item], forms=("letters",), positions=0))
    assert prompt_of("choose", turned[1]) == "What?\nA. dog\nB. cat\nAnswer with the letter of the right option."
    assert prompt_of("generate", turned[0]).splitlines()[1:3] == ["A. cat", "B. dog"]
    open_question = Item("1", (sound(),), "What?", (), "a cat")
    assert prompt_of("generate", one(open_question, forms=("mmau",))) == "What?"


def test_cancel_ends_what_runs_and_what_comes(make_model, fake, sound):
    answerer = local(make_model(), "generate")
    fake.OPTIONS["slow"] = None
    answerer.cancel()
    item = Item("1", (sound(),), "What?", ("dog", "rain"), "rain")
    for method, form in (("choose", "listed"), ("generate", "plain")):
        answerer = local(make_model(), method)
        answerer.cancel()
        try:
            found = answerer.answer(one(item, forms=(form,)), [OFF, ON])
        except CancelledError:
            continue
        assert {outcome.finish_reason for outcome in found} == {"cancelled"}


def test_a_cancelled_answer_is_not_logged(make_model, tmp_path, sound):
    items = [Item(str(n), (sound(200 + n),), "What?", ("dog", "rain"), "rain") for n in range(6)]
    answerer = local(make_model(), "generate", parallel=2)

    def report(progress):
        if progress.done >= 2:
            answerer.cancel()

    path = tmp_path / "log.jsonl"
    with Log(path, answerer.facts) as log, pytest.raises(CancelledError):
        run(jobs(items, forms=("plain",)), [OFF], answerer, log, report=report)
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert 2 <= len(lines) < 6 and all(line["raw"] == "rain" for line in lines)


def test_a_question_that_cannot_be_asked_is_logged_with_the_reason(make_model, tmp_path, sound):
    items = [
        Item("fine", (sound(),), "What?", ("dog", "rain"), "rain"),
        Item("gone", (tmp_path / "gone.wav",), "What?", ("dog", "rain"), "rain"),
        Item("noise", (b"no sound",), "What?", ("dog", "rain"), "rain"),
        Item("one", (sound(),), "What?", ("rain",), "rain"),
        Item("open", (sound(),), "What?", (), "rain"),
    ]
    answerer = local(make_model(), parallel=1)
    with Log(tmp_path / "log.jsonl", answerer.facts) as log:
        progress = run(jobs(items, forms=("listed",)), [OFF, ON], answerer, log)
    errors = {record.item: record.error for record in log.records.values()}
    assert progress.failed == 8 and errors.pop("fine") is None
    assert all(error and "\n" not in error for error in errors.values()) and "gone.wav" in errors["gone"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"method": "guess"}, "the method must be one of choose, likelihood, generate"),
        ({"forms": ("mmau",)}, "a prompt form of choose is one of listed, unlisted, letters"),
        ({"method": "generate", "forms": ("listed",)}, "a prompt form of generate is one of plain, mmau"),
        ({"sounds": ("clip", "noise")}, "a baseline is one of none, silence, other"),
    ],
)
def test_plans_that_do_not_fit(given, problem):
    with pytest.raises(ValueError, match=problem):
        Plan(**given)
    assert Plan().forms == ("listed",) and Plan("generate").forms == ("plain",)
