"""The official scorers' rule, on their own judgements and reports."""

import json
import re

import pytest

from mata_cpp.evaluate import datasets, official
from mata_cpp.evaluate.items import Item
from mata_cpp.evaluate.parse import parse


@pytest.fixture
def benchmarks(sound_data):
    folder = sound_data / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks' questions are not here")
    return folder


def cases(benchmarks):
    return json.loads((benchmarks / "scoring-cases.json").read_text())


QUESTIONS = {"mmau": "mmau-test-mini.json", "mmar": "mmar-meta.jsonl"}


def test_every_judgement(benchmarks):
    found = cases(benchmarks)
    assert len(found) == 500
    for case in found:
        assert official.matches(case["choices"], case["answer"], case["prediction"]) == case["match"], case


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_report(benchmarks, name):
    items = datasets.load(name, benchmarks / QUESTIONS[name], None, need_audio=False)
    entries = json.loads((benchmarks / f"{name}-predictions.json").read_text())
    said = {entry["id"]: entry[official.PREDICTION[name]] for entry in entries}
    assert official.report(name, items, said) == (benchmarks / f"{name}-report.txt").read_text()


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_a_predictions_file_has_what_the_scorer_reads(benchmarks, name, tmp_path):
    items = datasets.load(name, benchmarks / QUESTIONS[name], None, need_audio=False)
    said = {item.id: item.answer for item in items[:-1]}
    file = tmp_path / "predictions.json"
    assert official.write_predictions(file, name, items, said) == len(items) - 1
    text = (benchmarks / QUESTIONS[name]).read_text()
    published = json.loads(text) if name == "mmau" else [json.loads(line) for line in text.splitlines()]
    for written, entry in zip(json.loads(file.read_text()), published, strict=False):
        assert written["id"] == entry["id"] and written["choices"] == entry["choices"]
        assert written["answer"] == entry["answer"] and written["question"] == entry["question"]
        assert official.matches(written["choices"], written["answer"], written[official.PREDICTION[name]])


def scored_by_hand(entry, prediction):
    """The rule as the scorers' facts tell it: all words of the answer, and none that is only in a wrong choice."""

    def words(text):
        return {word for word in re.split(r"\W+", text.lower()) if word}

    said, right = words(prediction), words(entry["answer"])
    forbidden = set().union(*(words(choice) for choice in entry["choices"])) - right
    return bool(said) and not right - said and not said & forbidden


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_a_predictions_file_read_back_by_another_scorer(benchmarks, name, tmp_path):
    """Some right, some wrong, some in words of their own, some without an answer."""
    items = datasets.load(name, benchmarks / QUESTIONS[name], None, need_audio=False)
    key = {"mmau": "model_output", "mmar": "answer_prediction"}[name]
    said = {}
    for number, item in enumerate(items):
        kinds = (item.answer, item.choices[number % len(item.choices)], f"It is {item.answer}!", "", None)
        said[item.id] = kinds[number % 5]
    file = tmp_path / "predictions.json"
    assert official.write_predictions(file, name, items, said) == 800
    entries = json.loads(file.read_text())
    found = [scored_by_hand(entry, entry[key]) for entry in entries]
    total = f"Total Accuracy: {100 * sum(found) / 800:.2f}% over 800 samples"
    assert total in official.report(name, items, said)
    part = next(iter(official.SECTIONS[name][0].values))
    column = official.SECTIONS[name][0].field
    rows = [right for entry, right in zip(entries, found, strict=True) if entry[column] == part]
    assert f"{part} : {100 * sum(rows) / len(rows):.2f}% over {len(rows)} samples" in official.report(name, items, said)


def test_a_set_with_letters_is_scored_in_its_own_form(tmp_path):
    """The hub's MMAU has them on choices and answer; the bare text lacks a word of the answer, which is the letter."""
    row = {"id": "1", "question": "Who?", "choices": ["(A) Man", "(B) Woman"], "answer": "(B) Woman", "audio": "a.wav"}
    data = tmp_path / "m.json"
    data.write_text(json.dumps([row, {**row, "id": "2"}, {**row, "id": "3"}]))
    items = datasets.load("mmau", data, None, need_audio=False)
    said = {"1": "Woman", "2": "Man", "3": "It is a woman."}
    official.write_predictions(tmp_path / "p.json", "mmau", items, said)
    written = [entry["model_output"] for entry in json.loads((tmp_path / "p.json").read_text())]
    assert written == ["(B) Woman", "(A) Man", "It is a woman."]
    assert "Total Accuracy: 33.33% over 3 samples" in official.report("mmau", items, said)


def test_what_the_rule_is():
    choices = ["a dog", "a cat", "dogs and cats"]
    assert official.matches(choices, "a dog", "It is A DOG.")
    assert not official.matches(choices, "a dog", "dog")  # a word of the answer is missing
    assert not official.matches(choices, "a dog", "a dog and a cat")
    assert not official.matches(choices, "a dog", "")
    assert official.matches(["one", "one"], "one", "One!")  # a choice that is the answer again forbids nothing


def test_entries_without_a_prediction_shrink_the_denominator():
    items = [Item(str(n), (), "?", ("a", "b"), "a", {"task": "sound", "difficulty": "easy"}) for n in range(4)]
    text = official.report("mmau", items, {"0": "a", "1": "", "2": None})
    assert "Total Accuracy: 50.00% over 2 samples" in text and "sound : 50.00% over 2 samples" in text


STRICT = {
    "letter": lambda case: case["prediction"].strip("(). ") in list("ABCDEFG"),
    "correction": lambda case: "Actually" in case["prediction"],
    "denial": lambda case: ", not " in case["prediction"],
    "frame": lambda case: case["prediction"].startswith("The answer is"),
    "lettered": lambda case: case["prediction"].startswith("("),
}
"""Where the official rule is known to find an answer wrong, or right, for its form."""


def test_where_the_parser_differs_it_is_for_a_known_reason(benchmarks):
    differ = {}
    for case in cases(benchmarks):
        chosen = parse(case["prediction"], case["choices"])
        if (chosen is not None and case["choices"][chosen] == case["answer"]) == case["match"]:
            continue
        kinds = [kind for kind, applies in STRICT.items() if applies(case)]
        assert kinds and not case["match"], case  # the parser never refuses what the scorer takes
        differ[kinds[0]] = differ.get(kinds[0], 0) + 1
    assert sum(differ.values()) == 104
