"""Each data set in the forms in which it is published, made here."""

import csv
import json

import numpy as np
import pytest

from mata_cpp import Audio, MataError
from mata_cpp.evaluate import datasets
from mata_cpp.evaluate.items import Item

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def sounds(tmp_path, make_tone, make_file):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).write_bytes(make_file(make_tone(0.3)))
    return folder


def parquet(path, rows):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def as_json(path, value):
    path.write_text(json.dumps(value))
    return path


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


MMAU = {
    "id": "x1",
    "audio_id": "./test-mini-audios/a.wav",
    "question": "Who speaks?",
    "choices": ["Man", "Woman"],
    "answer": "Man",
    "task": "sound",
    "category": ["Reasoning", "Perception"],
    "sub-category": "Counting",
    "difficulty": "easy",
}


def test_mmau_as_in_its_repository(tmp_path, sounds):
    (item,) = datasets.load("mmau", as_json(tmp_path / "m.json", [MMAU]), sounds)
    assert (item.choices, item.answer, item.audio) == (("Man", "Woman"), "Man", (sounds / "a.wav",))
    assert item.groups["category"] == "Perception, Reasoning" and item.groups["task"] == "sound"
    assert item.official.fields == {"audio_id": "./test-mini-audios/a.wav"}


def test_mmau_as_on_the_hub(tmp_path, make_tone, make_file):
    facts = {"id": "x1", "task": "music", "difficulty": "hard", "sub-category": "Counting"}
    row = {
        "instruction": "Who sings?",
        "choices": ["(A) Man", "(B) Woman"],
        "answer": "(B) Woman",
        "context": {"bytes": make_file(make_tone(0.3)), "path": "x1.wav"},
        "other_attributes": json.dumps(facts),
    }
    (item,) = datasets.load("mmau", parquet(tmp_path / "m.parquet", [row]), None)
    assert (item.id, item.choices, item.answer, item.groups["task"]) == ("x1", ("Man", "Woman"), "Woman", "music")
    assert item.official.choices == ("(A) Man", "(B) Woman") and item.official.answer == "(B) Woman"
    assert Audio(item.audio[0]).seconds == pytest.approx(0.3)


def test_letters_that_belong_to_a_choice_stay(tmp_path, sounds):
    entry = {**MMAU, "choices": ["C: a note", "A. Vivaldi"], "answer": "A. Vivaldi"}
    (item,) = datasets.load("mmau", as_json(tmp_path / "m.json", [entry]), sounds)
    assert item.choices == ("C: a note", "A. Vivaldi") and item.answer == "A. Vivaldi"


def test_mmar_goes_by_the_audios_path(tmp_path, sounds):
    entry = {
        "id": "another name",
        "audio_path": "./audio/b.wav",
        "question": "?",
        "choices": ["x", "y"],
        "answer": "y",
        "modality": "speech",
    }
    (item,) = datasets.load("mmar", lines(tmp_path / "m.jsonl", [entry]), sounds)
    assert item.audio == (sounds / "b.wav",) and item.groups == {"modality": "speech"}


def test_mmau_pro_has_several_clips_and_open_questions(tmp_path, sounds):
    rows = [
        {"id": "1", "audio_path": ["a.wav", "b.wav"], "question": "?", "choices": ["x", "y"], "answer": "x"},
        {"id": "2", "audio_path": ["a.wav"], "question": "Describe.", "choices": [], "answer": "much"},
    ]
    (item,) = datasets.load("mmau-pro", parquet(tmp_path / "p.parquet", rows), sounds)
    assert item.audio == (sounds / "a.wav", sounds / "b.wav")


def test_mmau_pro_has_answers_that_are_none_of_the_choices(tmp_path, sounds):
    row = {"audio_path": ["a.wav"], "question": "?", "choices": ["A dog.", "a cat"]}
    rows = [{**row, "id": str(n), "answer": answer} for n, answer in enumerate(("a dog", "a cow", "a cat", "a hen"))]
    rows.append({**row, "id": "one choice", "choices": ["a cat"], "answer": "a cat"})
    path = parquet(tmp_path / "p.parquet", rows)
    with pytest.warns(RuntimeWarning, match=r"p\.parquet: left out 2 questions whose answer is none"):
        found = datasets.load("mmau-pro", path, sounds)
    assert [(item.id, item.answer) for item in found] == [("0", "A dog."), ("2", "a cat")]
    assert found[0].official.answer == "a dog"


def test_an_answer_that_is_like_two_choices_names_none(tmp_path, sounds):
    row = {"id": "1", "audio_path": "a.wav", "question": "?", "choices": ["dog!", "dog?"], "answer": "dog"}
    with pytest.warns(RuntimeWarning, match="left out 1 "):
        assert datasets.load("mmau-pro", parquet(tmp_path / "p.parquet", [row]), sounds) == []


MMSU = {
    "id": "1",
    "audio_path": "a.wav",
    "question": "Which?",
    **{f"choice_{letter}": letter * 2 for letter in "abcd"},
    "answer_gt": "cc",
    "task_name": "stress",
}
VOICEBENCH = {"audio": {"path": "a.wav"}, "prompt": "2 + 2?\nA. three\nB. four", "reference": "B", "domain": "maths"}


def test_the_two_sets_called_mmsu(tmp_path, sounds):
    (one,) = datasets.load("mmsu", lines(tmp_path / "1.jsonl", [MMSU]), sounds)
    assert (one.choices, one.answer) == (("aa", "bb", "cc", "dd"), "cc")
    (other,) = datasets.load("voicebench-mmsu", lines(tmp_path / "2.jsonl", [VOICEBENCH]), sounds)
    assert (other.choices, other.answer, other.groups) == (("three", "four"), "four", {"domain": "maths"})
    with pytest.raises(MataError, match="its name here is voicebench-mmsu"):
        datasets.load("mmsu", tmp_path / "2.jsonl", sounds)
    with pytest.raises(MataError, match="its name here is mmsu"):
        datasets.load("voicebench-mmsu", tmp_path / "1.jsonl", sounds)


def test_sakura_is_two_questions(tmp_path, sounds):
    row = {
        "file": "a.wav",
        "attribute_label": "dog",
        "single_instruction": "Which animal? (a) dog (b) cow (c) owl",
        "single_answer": "(a) dog",
        "multi_instruction": "Where does it live? (a) a house (b) the sea",
        "multi_answer": "(a) a house",
    }
    one, two = datasets.load("sakura", lines(tmp_path / "s.jsonl", [row]), sounds)
    assert (one.id, one.question, one.choices, one.answer) == (
        "a-single",
        "Which animal?",
        ("dog", "cow", "owl"),
        "dog",
    )
    assert (two.choices, two.groups["hops"]) == (("a house", "the sea"), "multi")


def test_hallucination(tmp_path, sounds):
    row = {"entry_id": 7, "audio_index": "a.wav", "prompt_text": "Is there a dog?", "label": "no", "sampling": "random"}
    (item,) = datasets.load("audiocaps-hallucination", lines(tmp_path / "h.jsonl", [row]), sounds)
    assert (item.id, item.choices, item.answer) == ("7", ("Yes", "No"), "No")


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_a_sound_that_is_named_without_ending(tmp_path, make_tone, make_file, ending):
    (tmp_path / f"Y7.x{ending}").write_bytes(make_file(make_tone(0.2)))
    row = {"entry_id": 7, "audio_index": "Y7.x", "prompt_text": "Is there a dog?", "label": "yes"}
    path = parquet(tmp_path / "h.parquet", [row])
    (item,) = datasets.load("audiocaps-hallucination", path, tmp_path)
    assert item.audio == (tmp_path / f"Y7.x{ending}",)
    with pytest.raises(MataError, match="entry 1: there is no Y8 in "):
        datasets.load("audiocaps-hallucination", parquet(path, [{**row, "audio_index": "Y8"}]), tmp_path)


def test_a_sound_with_an_ending_is_not_taken_for_another(tmp_path, sounds):
    (sounds / "d.wav.wav").write_bytes((sounds / "a.wav").read_bytes())
    with pytest.raises(MataError, match=r"there is no d\.wav in "):
        datasets.load("mmau", as_json(tmp_path / "m.json", [{**MMAU, "audio_id": "d.wav"}]), sounds)


def test_sounds_within_a_parquet_file_of_many_rows(tmp_path):
    rows = [{"audio": {"bytes": b"%d" % n, "path": None}, "question": "?", "answer": "x"} for n in range(150)]
    found = datasets.load("table", parquet(tmp_path / "t.parquet", rows), None)
    assert [item.audio[0] for item in found] == [b"%d" % n for n in range(150)]


def test_only_the_first(tmp_path, sounds):
    """What comes after them may lack its sound."""
    rows = [{**MMAU, "id": str(n), "audio_id": name} for n, name in enumerate(("a.wav", "b.wav", "none.wav"))]
    path = as_json(tmp_path / "m.json", rows)
    assert [item.id for item in datasets.load("mmau", path, sounds, limit=2)] == ["0", "1"]
    with pytest.raises(MataError, match=r"entry 3: there is no none\.wav"):
        datasets.load("mmau", path, sounds)


ROWS = [
    {"wav": "a.wav", "question": "Which?", "choices": "cat|dog", "label": "dog", "scene": "yard"},
    {"wav": "b.wav", "question": "Which?", "choices": "cat|dog", "label": "B", "scene": "park"},
]
COLUMNS = {"audio": "wav", "answer": "label"}


def write_csv(path, delimiter=","):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolons", "jsonl", "json", "parquet"])
def test_a_table(tmp_path, sounds, kind):
    path = {
        "csv": lambda: write_csv(tmp_path / "t.csv"),
        "tsv": lambda: write_csv(tmp_path / "t.tsv", "\t"),
        "semicolons": lambda: write_csv(tmp_path / "t2.csv", ";"),
        "jsonl": lambda: lines(tmp_path / "t.jsonl", ROWS),
        "json": lambda: as_json(tmp_path / "t.json", ROWS),
        "parquet": lambda: parquet(tmp_path / "t.parquet", ROWS),
    }[kind]()
    found = datasets.load("table", path, sounds, columns=COLUMNS)
    assert [item.answer for item in found] == ["dog", "dog"] and [item.id for item in found] == ["1", "2"]
    assert [item.groups for item in found] == [{"scene": "yard"}, {"scene": "park"}]


def test_a_column_that_some_rows_lack(tmp_path, sounds):
    rows = [{"audio": "a.wav", "question": "?", "answer": "x"}]
    rows.append({**rows[0], "place": "yard"})
    found = datasets.load("table", lines(tmp_path / "t.jsonl", rows), sounds, columns={"group": "place"})
    assert [item.groups for item in found] == [{}, {"place": "yard"}]


def test_columns_of_a_table(tmp_path, sounds):
    path = write_csv(tmp_path / "t.csv")
    with pytest.raises(MataError, match="entry 1: there is no column audio; there are wav, question"):
        datasets.load("table", path, sounds)
    for columns in ({"choices": "chioces"}, {"id": "chioces"}, {"group": "scene,chioces"}):
        problem = r"t\.csv: there is no column chioces; there are wav, question, choices, label, scene"
        with pytest.raises(MataError, match=problem):
            datasets.load("table", path, sounds, columns={**COLUMNS, **columns}, limit=1)
    with pytest.raises(MataError, match="not colour"):
        datasets.load("table", path, sounds, columns={"colour": "x"})
    with pytest.raises(ValueError, match="for a table only"):
        datasets.load("mmau", path, sounds, columns=COLUMNS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answer": "Child"}, r"entry 1: the answer 'Child' is none of the choices"),
        ({"audio_id": "./no.wav"}, r"entry 1: there is no no.wav in "),
        ({"question": " "}, "entry 1: question is ' '"),
        ({"question": None}, "entry 1: question is missing"),
        ({"choices": 7}, "entry 1: choices is no list of texts: 7"),
        ({"audio_id": {"bytes": None, "path": None}}, "entry 1: no sound is named"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, sounds, change, problem):
    with pytest.raises(MataError, match=problem) as raised:
        datasets.load("mmau", as_json(tmp_path / "m.json", [{**MMAU, **change}]), sounds)
    assert "m.json" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[1]", '["a"]', "\udcff".encode("utf-8", "surrogateescape"), "[" * 5000])
def test_what_is_no_data(tmp_path, sounds, text):
    path = tmp_path / "m.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MataError, match=r"m\.json") as raised:
        datasets.load("mmau", path, sounds)
    assert "\n" not in str(raised.value)


def test_twice_the_same_id(tmp_path, sounds):
    with pytest.raises(MataError, match="two entries with the id 'x1'"):
        datasets.load("mmau", as_json(tmp_path / "m.json", [MMAU, MMAU]), sounds)


def test_names():
    with pytest.raises(ValueError, match="there are mmau, mmar, mmau-pro, mmsu, voicebench-mmsu"):
        datasets.load("nmau", "x", None)


def test_odd_payloads_are_heard(tmp_path, make_tone, make_file):
    """An MP3 that is called .wav, and six channels."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "a.wav").write_bytes(make_file(make_tone(1.0), format="MP3"))
    (folder / "b.wav").write_bytes(make_file(make_tone(1.0, channels=6)))
    rows = [{"audio": name, "question": "?", "answer": "x"} for name in ("a.wav", "b.wav")]
    for item in datasets.load("table", lines(tmp_path / "t.jsonl", rows), folder):
        clip = Audio(item.audio[0])
        assert clip.seconds == pytest.approx(1.0, abs=0.06)
        assert np.abs(clip.samples()).max() > 0.05


def test_the_key_is_of_the_content(tmp_path, make_tone, make_file):
    sound = make_file(make_tone(0.2))
    path = tmp_path / "a.wav"
    path.write_bytes(sound)
    one, other = (Item("1", (audio,), "?", ("a", "b"), "a") for audio in (path, sound))
    assert one.key == other.key
    assert Item("2", (sound,), "?!", ("a", "b"), "a").key != one.key


def test_a_choice_without_text_is_left_out(tmp_path, sounds):
    entry = {"id": "1", "audio_path": "a.wav", "question": "?", "choices": ["x", "", "y", " "], "answer": "y"}
    (item,) = datasets.load("mmar", lines(tmp_path / "m.jsonl", [entry]), sounds)
    assert item.choices == ("x", "y") and item.official.choices == ("x", "", "y", " ")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"x1": MMAU, "x2": {**MMAU, "id": "x2"}}),
        json.dumps({"x1": MMAU, "x2": {**MMAU, "id": "x2"}}, indent=2),
        "\ufeff" + json.dumps([MMAU, {**MMAU, "id": "x2"}], indent=2),
        json.dumps(MMAU) + "\r\n\r\n" + json.dumps({**MMAU, "id": "x2"}),
    ],
    ids=["object", "object over lines", "list", "lines"],
)
def test_entries_in_any_json(tmp_path, sounds, text):
    path = tmp_path / "m.json"
    path.write_text(text, "utf-8", newline="")
    assert [item.id for item in datasets.load("mmau", path, sounds)] == ["x1", "x2"]


def test_one_entry_over_several_lines(tmp_path, sounds):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(MMAU, indent=2))
    assert [item.id for item in datasets.load("mmau", path, sounds)] == ["x1"]


def test_signs_that_end_a_line_elsewhere(tmp_path, sounds):
    entry = {**MMAU, "question": "One\u2028two\x85three\x0cfour?"}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(entry, ensure_ascii=False) + "\n", "utf-8")
    assert datasets.load("mmau", path, sounds)[0].question == entry["question"]


def test_a_bad_line_is_named(tmp_path, sounds):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(MMAU) + "\n" + json.dumps(MMAU)[:-4] + "\n")
    with pytest.raises(MataError, match=r"m\.jsonl cannot be read as questions: line 2: "):
        datasets.load("mmau", path, sounds)


def test_rows_of_another_length(tmp_path, sounds):
    path = tmp_path / "t.csv"
    for row in ("a.wav,Which?,cat,more\n", "a.wav,Which?\n"):
        path.write_text("audio,question,answer\n" + row)
        with pytest.raises(MataError, match="row 1 has another number of columns than the first"):
            datasets.load("table", path, sounds)
    path.write_text('audio,question,answer\na.wav,"Which,cat\n')
    with pytest.raises(MataError, match="cannot be read as questions"):
        datasets.load("table", path, sounds)


def test_a_parquet_file_that_is_none(tmp_path, sounds):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(MataError, match=r"p\.parquet") as raised:
        datasets.load("mmau", path, sounds)
    assert "\n" not in str(raised.value)


def test_letters_of_answers(tmp_path, sounds):
    for answer in ("B", "b", "(B)", "b)", "Woman", "woman ", "(B) Woman"):
        entry = {**MMAU, "choices": ["(A) Man", "(B) Woman"], "answer": answer}
        (item,) = datasets.load("mmau", as_json(tmp_path / "m.json", [entry]), sounds)
        assert (item.choices, item.answer) == (("Man", "Woman"), "Woman")


def test_clips_in_parquet_and_several_of_them(tmp_path, make_tone, make_file):
    parts = [make_file(make_tone(0.2)), make_file(make_tone(0.4, channels=6))]
    row = {
        "id": "1",
        "audio": [{"bytes": part, "path": None} for part in parts],
        "question": "?",
        "choices": ["x", "y"],
        "answer": "y",
    }
    (item,) = datasets.load("mmau-pro", parquet(tmp_path / "p.parquet", [row]), None)
    assert item.audio == tuple(parts) and [Audio(part).seconds for part in item.audio] == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("prompt", ["2 + 2?", "A. three\nB. three", "A. three\nC. four", "B. four"])
def test_a_spoken_question_whose_options_are_not_told(tmp_path, sounds, prompt):
    row = {**VOICEBENCH, "prompt": prompt}
    (item,) = datasets.load("voicebench-mmsu", lines(tmp_path / "v.jsonl", [row]), sounds)
    assert (item.choices, item.answer) == (("A", "B", "C", "D"), "B")


def test_sounds_are_found_by_the_end_of_their_path(tmp_path, sounds):
    (sounds / "deep").mkdir()
    (sounds / "deep" / "d.wav").write_bytes(b"x")
    wanted = {
        "a.wav": "a.wav",
        "./other/a.wav": "a.wav",
        "x/y/deep/d.wav": "deep/d.wav",
        str(sounds / "b.wav"): "b.wav",
    }
    for name, found in wanted.items():
        (item,) = datasets.load("mmau", as_json(tmp_path / "m.json", [{**MMAU, "audio_id": name}]), sounds)
        assert item.audio == (sounds / found,)
    (item,) = datasets.load(
        "mmau", as_json(sounds / "m.json", [{**MMAU, "audio_id": "gone.wav"}]), None, need_audio=False
    )
    assert item.audio == (sounds / "gone.wav",)
