"""The official scorers' rule, on their own judgements and reports."""

import json

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
