"""The label tables and question makers of models/recipe, which need nothing but Python and numpy."""

import gzip
import itertools
import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).resolve().parents[2] / "models" / "recipe"


@pytest.fixture(scope="module")
def recipe():
    sys.path.insert(0, str(RECIPE))
    try:
        import labels
        import qa
        import sources

        yield labels, qa, sources
    finally:
        sys.path.remove(str(RECIPE))
        for path in RECIPE.glob("*.py"):
            sys.modules.pop(path.stem, None)


def test_every_label_has_a_kind_and_no_word_means_two_things(recipe):
    labels, _, _ = recipe
    assert set(labels.KIND.values()) == set(labels.KINDS) == set(labels.KIND_WORDS)
    for label in labels.LABELS:
        close = labels.close(label)
        for other in labels.LABELS:
            shared = set(labels.WORDS[label]) & set(labels.WORDS[other])
            assert not shared or other == label or other in close, (label, other, shared)
            assert (other in close) == (label in labels.close(other))


def test_the_right_answer_is_offered_once_and_nothing_else_is_right(recipe):
    labels, qa, _ = recipe
    rng, evenly = random.Random(0), dict.fromkeys(labels.LABELS, 1.0)
    for label in labels.LABELS:
        for _ in range(20):
            others = qa.distractors(label, 3, rng, evenly)
            assert len(set(others)) == 3 and not set(others) & (labels.close(label) | {label})
        for question, answer in qa.questions({"sound": label}, 6, rng, evenly):
            known = {*labels.WORDS[label], "Yes.", "No.", *labels.KIND_WORDS[labels.KIND[label]]}
            assert answer in known, (question, answer)


def test_a_name_alone_does_not_tell_yes_from_no(recipe):
    """Present and absent names come equally often, whatever the clips of a label are many or few."""
    labels, qa, _ = recipe
    rng = random.Random(1)
    often = {label: 1.0 + 9.0 * (i % 2) for i, label in enumerate(labels.LABELS)}
    counts = {"Yes.": [0, 0], "No.": [0, 0]}
    for label in rng.choices(list(often), list(often.values()), k=4000):
        absent = qa.distractors(label, 1, rng, often)[0]
        _, answer = qa.presence([label], absent, rng)
        counts[answer][often[label if answer == "Yes." else absent] > 5] += 1
    yes, no = counts["Yes."], counts["No."]
    assert 0.45 < sum(yes) / 4000 < 0.55
    assert abs(yes[1] / sum(yes) - no[1] / sum(no)) < 0.05


def test_every_task_is_asked_about_and_answered(recipe):
    labels, qa, _ = recipe
    rng, evenly = random.Random(2), dict.fromkeys(labels.LABELS, 1.0)
    for what, answers in (
        (
            {"digit": "three", "language": "English"},
            {"three", "Yes.", "No.", *labels.WORDS["speech"], *labels.KIND_WORDS["speech"]},
        ),
        ({"count": 4, "of": "beep"}, {"four"}),
        ({"first": "dog barking", "second": "rain"}, {"dog barking", "rain", "Yes.", "No."}),
        ({"pitch": "down"}, {"down"}),
        ({"loudness": "up"}, {"louder"}),
        ({"tempo": "down"}, {"slower"}),
    ):
        found = [answer for _ in range(30) for _, answer in qa.questions(what, 4, rng, evenly)]
        assert found and set(found) <= answers, (what, set(found) - answers)


def test_only_free_licences_are_trained_on(recipe):
    _, _, sources = recipe
    for package in sources.PACKAGES:
        copyleft_code = package.licence.startswith(("GPL", "LGPL", "GFDL", "MPL"))
        assert package.use == ("dev" if copyleft_code else "train"), package.name


def test_rules_name_files(recipe):
    labels, _, sources = recipe
    table = next(package.rules for package in sources.PACKAGES if package.name == "scratch")
    assert labels.label_of("usr/share/scratch/Media/Sounds/Animal/Dog1.wav", table) == "dog barking"
    assert labels.label_of("usr/share/scratch/Media/Sounds/Effects/Pop.wav", table) is None
    with pytest.raises(KeyError):
        labels.rules(("x", "no such label"))


def clonk_group(*entries):
    """An OpenClonk group of (name, is a group, content), without the gzip around it."""
    header = bytearray(204)
    header[:7], header[36:40] = b"RedWolf", struct.pack("<i", len(entries))
    for i in range(0, 204, 3):
        header[i], header[i + 2] = header[i + 2], header[i]
    table, contents = b"", b""
    for name, is_group, content in entries:
        table += struct.pack("<260s6i32x", name.encode(), 0, is_group, len(content), 0, len(contents), 0)
        contents += content
    return bytes(byte ^ 237 for byte in header) + table + contents


def test_groups_inside_groups_are_read(recipe, tmp_path):
    import packages

    inner = clonk_group(("Rain.ogg", 0, b"rain"), ("note.txt", 0, b"text"))
    whole = gzip.compress(clonk_group(("Step.wav", 0, b"step"), ("Water.ocg", 1, inner)))
    (tmp_path / "Sound.ocg").write_bytes(b"\x1e\x8c" + whole[2:])
    found = dict(packages.files(tmp_path, "*.oc[fg]"))
    assert found == {"Sound.ocg/Step.wav": b"step", "Sound.ocg/Water.ocg/Rain.ogg": b"rain"}
    with pytest.raises(ValueError, match="no OpenClonk group"):
        list(packages.clonk_group(gzip.compress(bytes(300)), "x.ocg"))


def test_a_sound_without_an_ending_is_known_by_its_beginning(recipe, tmp_path):
    import packages

    (tmp_path / "rain").write_bytes(b"RIFF....")
    (tmp_path / "copyright").write_bytes(b"text")
    (tmp_path / "notes.txt").write_bytes(b"RIFF....")
    assert dict(packages.files(tmp_path)) == {"rain": b"RIFF...."}


def test_what_the_event_network_finds_is_asked_for_by_plain_names(recipe):
    _, qa, _ = recipe
    assert qa.plain_names("Baby cry, infant cry") == ("baby cry", "infant cry")
    assert qa.plain_names("Motor vehicle (road)") == ("motor vehicle",)
    assert qa.plain_names("Bee, wasp, etc.") == ("bee", "wasp")
    assert qa.plain_names("Inside, small room") == ()
    rng, often = random.Random(0), {"rain": 1.0, "piano": 1.0, "cow mooing": 1.0, "siren": 1.0, "helicopter": 1.0}
    answers = {"Yes.": 0, "No.": 0}
    for _ in range(400):
        question, answer = qa.found_by(lambda _: ("bleat", ["tire squeal", "harp"]), "What is it?", "rain", rng, often)
        if answer in answers:
            assert ("bleat" in question) == (answer == "Yes."), question
            answers[answer] += 1
        else:
            assert answer == "bleat" and "bleat" in question and "tire squeal" in question
    assert min(answers.values()) > 25
    question, answer = qa.found_by(lambda _: None, "What is it?", "rain", rng, often)
    assert answer in {"rain", "raining", "rainfall"} and answer in question


def test_spoken_texts_are_made_of_known_words(recipe):
    import phrases

    rng, texts = random.Random(3), ["press one to go on", "go on to the main menu", "press the pound key"]
    pairs = {pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)}
    made = phrases.recombined(texts, rng, 60)
    assert len(made) == 60 and not set(texts) >= set(made)
    assert all(pair in pairs for text in made for pair in zip(text.split(), text.split()[1:], strict=False))
    words = [f"word{i}" for i in range(1000)]
    drawn = [text.split() for text in phrases.drawn(words, rng, 2000)]
    assert all(1 <= len(text) <= 8 and set(text) <= {*words, *phrases.SPOKEN} for text in drawn)
    ranks = [int(word[4:]) for text in drawn for word in text if word in words]
    assert sum(rank < 100 for rank in ranks) > 3 * sum(rank >= 900 for rank in ranks) and len(set(ranks)) > 900
    assert 0.05 < 1 - len(ranks) / sum(map(len, drawn)) < 0.12
    changed = [text.split() for text in phrases.replaced(texts, words, rng, 400)]
    known = {word for text in texts for word in text.split()}
    assert all(2 <= len(text) <= 9 for text in changed)
    share = sum(word in known for text in changed for word in text) / sum(map(len, changed))
    assert 0.55 < share < 0.75
    few = [text.split() for text in phrases.few(texts, words, rng, 600)]
    assert all(1 <= len(text) <= 3 and set(text) <= {*words, *known, *phrases.SPOKEN} for text in few)
    assert all(any(word in pool for text in few for word in text) for pool in (words, known, phrases.SPOKEN))
    common = phrases.common(texts, [f"word{i}" for i in range(4000)])
    weights = [phrases.weight(text, common) for text in ("go on monday", "word1499 on", "word1500 on", "word1500")]
    assert weights[0] == weights[1] == 1 > weights[2] > weights[3] > 0
    sentences = phrases.sentences(rng, 100)
    assert len(sentences) == 100 and len(set(sentences)) > 80


def test_examples_are_quoted_phrases_of_known_words(recipe, tmp_path):
    import phrases

    (tmp_path / "wamerican").mkdir()
    (tmp_path / "wamerican" / "american-english").write_text("the\ncat\nsat\nwas\nsaw\nhere\nParis\n")
    (tmp_path / "wordnet-base").mkdir()
    for part, lines in {
        "noun": '  1 "the cat sat" is in the licence\n01 n | an animal; "The cat, it sat here"; "the cat saw Paris"\n',
        "verb": '02 v | to sit; "I sat"; "the dog sat"; "here"\n',
        "adj": '03 a | of it; "the cat was here"; "' + "the cat " * 5 + '"\n',
        "adv": '04 r 0000 | ("no gloss") "The cat, it sat here"\n',
    }.items():
        (tmp_path / "wordnet-base" / f"data.{part}").write_text(lines)
    found = phrases.examples(tmp_path)
    assert sorted(found) == ["i sat", "the cat it sat here", "the cat was here"]
    assert found == phrases.examples(tmp_path)


def test_the_cheapest_way_is_as_cheap_as_the_best_of_all(recipe):
    import viterbi

    rng = np.random.default_rng(0)
    for jump in (0.0, 0.2, 5.0):
        cost, units = rng.random((5, 3)), rng.integers(0, 6, (5, 3))

        def total(way, cost=cost, units=units, jump=jump):
            chosen = units[range(5), way]
            return cost[range(5), way].sum() + jump * int((chosen[1:] != chosen[:-1] + 1).sum())

        best = min(itertools.product(range(3), repeat=5), key=total)
        assert tuple(viterbi.cheapest(cost, units, jump)) == best


def test_silence_around_a_phrase(recipe):
    import silence

    rng, rows = np.random.default_rng(0), np.ones((4, 1024), np.float32)
    for frames in (2, 96, 144, 150, 600, 602):
        for _ in range(20):
            before, after = silence.silences(frames, rng)
            total = before + frames + after
            assert total % silence.QUANTUM == 0 and before < 60 and after < 216
            assert frames <= 600 or (before == 0 and after < silence.QUANTUM)
            made = silence.events_between(rows, np.zeros(1024, np.float32), before, frames, after, rng)
            assert len(made) == len(range(0, max(1, total - 96 + 48), 48))
            for number, row in enumerate(made):
                speaks = 48 * number < before + frames and 48 * number + 96 > before
                assert row.min() == row.max() == float(speaks)


def test_a_prompt_is_told_by_the_name_of_its_file(recipe):
    import prompts

    known = {"extension", "less", "than", "star"}
    for path, text in (
        ("digits/0", "zero"),
        ("digits/40", "forty"),
        ("digits/h-1", "first"),
        ("digits/h-12", "twelfth"),
        ("digits/h-20", "twentieth"),
        ("digits/h-hundred", "hundredth"),
        ("digits/star", "star"),
        ("digits/h-star-2", None),
        ("letters/q", "q"),
        ("phonetic/x_p", "xray"),
        ("phonetic/niner", None),
        ("vm-extension", "extension"),
        ("queue-less-than", "less than"),
        ("spy-dahdi", None),
    ):
        assert prompts.named(f"package:usr/share/asterisk/sounds/en_US_f_Allison/{path}.wav", known) == text, path


def test_a_question_that_names_a_wrong_sound_offers_it(recipe):
    labels, qa, _ = recipe
    rng, evenly = random.Random(2), dict.fromkeys(labels.LABELS, 1.0)
    for _ in range(50):
        question, _ = qa.named("It is a dog. What is it?", "rain", rng, evenly, "dog barking")
        assert any(word in question for word in labels.WORDS["dog barking"])


def test_edits_are_counted(recipe):
    from edit_distance import edit_distance

    for hypothesis, reference, edits in (
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        (["one", "two", "four"], ["one", "two", "three", "four"], 1),
    ):
        assert edit_distance(hypothesis, reference) == edits
