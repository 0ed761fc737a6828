"""From records to scores and tables, against numbers worked out by hand."""

import itertools
import json
import random

import pytest

from mata_cpp.evaluate import scores
from mata_cpp.evaluate.record import Record
from mata_cpp.evaluate.report import Report

CHOICES = ("dog", "cat", "bell")


def record(item, setting="off", chosen=0, *, right=0, **given):
    values = {
        "sound": "clip",
        "form": "listed",
        "rotation": 0,
        "key": "",
        "groups": {"kind": "xy"[int(item) % 2]},
        "prompt": "?",
        "raw": None if chosen is None else CHOICES[chosen],
        **given,
    }
    return Record(
        item=item, setting=setting, choices=CHOICES, answer=CHOICES[right], right=right, chosen=chosen, **values
    )


def rows(setting, chosen, **given):
    """One record an item; None names no choice, "-" failed."""
    made = []
    for number, index in enumerate(chosen):
        if index == "-":
            made.append(record(str(number), setting, None, error="broken", **given))
        elif index is None:
            made.append(record(str(number), setting, None, raw="dog or cat", **given))
        else:
            made.append(record(str(number), setting, index, **given))
    return made


FACTS = {"dataset": "made", "model": "tiny", "method": "choose", "model_sha256": "00"}
OFF = rows("off", [0, 0, 1, 1, None, "-"])
ON = rows("alpha=0.1", [0, 1, 0, 0, 0, "-"])
NONE = rows("off", [0, 1, 1, 1, 1, 1], sound="none")


def test_a_score():
    found = scores.score([*OFF, record("9", chosen=None, raw="  ")])
    assert (found.n, found.right, found.unparsed, found.unanswered) == (7, 2, 1, 2)
    assert found.accuracy == 2 / 7 and found.official == 2 / 5  # the official rule leaves out what has no answer
    low, high = found.interval
    assert 0.08 < low < 2 / 7 < high < 0.65
    nothing = scores.score([record("1", chosen=None, error="broken")])
    assert (nothing.accuracy, nothing.official) == (0.0, None) and scores.score([]).accuracy == 0.0


def test_a_comparison():
    found = scores.compare(OFF, ON)
    assert (found.n, found.lost, found.won) == (6, 1, 3)
    assert found.difference == pytest.approx(2 / 6)
    # by mid-p: twice the ways of losing none or one of four, less those of losing one, of 16
    assert found.p == pytest.approx(6 / 16)
    assert found.low <= found.difference <= found.high
    back = scores.compare(ON, OFF)
    assert (back.lost, back.won, back.p) == (3, 1, found.p) and back.difference == -found.difference


def test_only_what_both_have_is_compared():
    found = scores.compare(OFF[:3], ON[2:])
    assert (found.n, found.won, found.lost) == (1, 1, 0)
    assert scores.compare(OFF[:2], ON[4:]).n == 0


def test_positions_of_an_item_are_one_item_for_the_interval():
    """Eight items that are each four times alike: as wide as that of eight items, not of thirty-two."""
    chosen = [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0, 1]
    single = scores.compare(*(rows(name, row) for name, row in zip("ab", chosen, strict=True)))
    many = scores.compare(
        *(
            list(itertools.chain.from_iterable(rows(name, row, rotation=rotation) for rotation in range(4)))
            for name, row in zip("ab", chosen, strict=True)
        )
    )
    assert many.n == 4 * single.n and (many.low, many.high) == (single.low, single.high)
    assert many.difference == pytest.approx(single.difference)


def test_groups():
    found = scores.by_group(OFF, "kind")
    assert list(found) == ["x", "y"] and (found["x"].n, found["x"].right) == (3, 1)
    assert sum(one.n for one in found.values()) == len(OFF)
    assert list(scores.by_group(OFF, "nothing")) == [""]
    assert scores.columns(OFF) == ["kind"] and scores.columns(OFF[:1]) == []


TEXT = """\
made: tiny, choose

prompt: listed
              n  right    95 %          unparsed  unanswered  official  against the first row
off           6   33.3    9.7 to  70.0         1           1      40.0
alpha=0.1     6   66.7   30.0 to  90.3         0           1      80.0  +33.3 (-33.3 to +83.3), 3 won, 1 lost, p 0.375
no audio      6   16.7    3.0 to  56.4         0           0      16.7  -16.7 (-50.0 to +0.0), 0 won, 1 lost, p 0.500

off, listed, by kind
      n  right    95 %          unparsed  unanswered  official
x     3   33.3    6.1 to  79.2         1           0      33.3
y     3   33.3    6.1 to  79.2         0           1      50.0

alpha=0.1, listed, by kind
      n  right    95 %          unparsed  unanswered  official
x     3  100.0   43.9 to 100.0         0           0     100.0
y     3   33.3    6.1 to  79.2         0           1      50.0

no audio, listed, by kind
      n  right    95 %          unparsed  unanswered  official
x     3   33.3    6.1 to  79.2         0           0      33.3
y     3    0.0    0.0 to  56.1         0           0       0.0
"""


def test_the_text():
    assert Report(FACTS, [*OFF, *ON, *NONE]).text(["kind"]) == TEXT


def test_the_json():
    found = Report(FACTS, [*OFF, *ON, *NONE]).to_dict()
    assert json.loads(json.dumps(found)) == found and found["run"] == FACTS
    first, second, last = found["rows"]
    assert {name: first[name] for name in list(first)[:8]} == {
        "sound": "clip",
        "form": "listed",
        "setting": "off",
        "n": 6,
        "right": 2,
        "accuracy": 0.333333,
        "interval": [0.096771, 0.700007],
        "unparsed": 1,
    }
    assert first["unanswered"] == 1 and first["official_accuracy"] == 0.4 and first["compared"] is None
    compared = second["compared"]
    assert (compared["with"], compared["won"], compared["lost"], compared["p"]) == ("off", 3, 1, 0.375)
    assert compared["difference"] == 0.333333 and second["by"]["kind"]["x"]["right"] == 3
    assert (last["sound"], last["compared"]["lost"]) == ("none", 1)


def test_another_base():
    report = Report(FACTS, [*OFF, *ON], "alpha=0.1")
    assert report.comparison(("clip", "listed", "alpha=0.1")) is None
    assert report.comparison(("clip", "listed", "off")).won == 1
    heading = report.text().splitlines()[3]
    assert heading.endswith("official  against alpha=0.1")


def test_the_order_of_answers_changes_nothing():
    """Threads log in any order; the settings of a question come together."""
    questions = []
    for form, sound in itertools.product(("unlisted", "listed", "letters"), ("clip", "none")):
        for number in range(8):
            settings = ("off", "alpha=0.2", "alpha=0.1") if sound == "clip" else ("off",)
            groups = {"b": str(number % 2), **({"a": str(number % 3)} if number > 3 else {})}
            questions.append(
                [
                    record(str(number), name, (number + len(form) + place) % 3, form=form, sound=sound, groups=groups)
                    for place, name in enumerate(settings)
                ]
            )
    wanted = None
    for seed in range(6):
        random.Random(seed).shuffle(questions)
        report = Report(FACTS, list(itertools.chain.from_iterable(questions)))
        found = report.text(["a", "b"]), json.dumps(report.to_dict())
        assert found == (wanted or found)
        wanted = found
    assert [line for line in wanted[0].splitlines() if line.startswith("prompt: ")] == [
        "prompt: listed",
        "prompt: unlisted",
        "prompt: letters",
    ]


def test_nothing_at_all():
    assert Report(FACTS, []).text() == "made: tiny, choose\n"
    assert Report({}, []).to_dict() == {"run": {}, "rows": []}


def test_a_record_as_a_line():
    full = record("1", chosen=2, scores=(-1.0, -2.5, 0.0), effect=(0.1, 0.2), timings={"seconds": 0.5}, confidence=0.9)
    for one in (full, record("1", chosen=None, error="é\n\u2028")):
        line = one.to_json()
        assert "\n" not in line and Record.from_dict(json.loads(line)) == one
    assert '"error"' not in full.to_json()
    values = json.loads(full.to_json())
    assert Record.from_dict({**values, "later": 1}) == full  # what a later version writes is passed over
    for bad in ({}, {**values, "choices": 7}):
        with pytest.raises(ValueError, match="not a record"):
            Record.from_dict(bad)
