"""Which choice a text names."""

import pytest

from mata_cpp.evaluate.parse import parse

PETS = ["dog", "cat", "car engine", "hot dog stand"]
COUNTS = ["one", "two", "three", "10"]
YES_NO = ["Yes", "No"]


@pytest.mark.parametrize(
    ("text", "choices", "index"),
    [
        ("dog", PETS, 0),
        ("Dog.", PETS, 0),
        ('"cat"', PETS, 1),
        ("It is a cat.", PETS, 1),
        ("(B)", PETS, 1),
        ("B", PETS, 1),
        ("b.", PETS, 1),
        ("B) cat", PETS, 1),
        ("(A) dog", PETS, 0),
        ("Option C", PETS, 2),
        ("The answer is B.", PETS, 1),
        ("The correct answer is: (D) hot dog stand", PETS, 3),
        ("a hot dog stand", PETS, 3),  # the longer choice, not the one within it
        ("<answer>cat</answer>", PETS, 1),
        ("I hear a dog. <answer> cat </answer>", PETS, 1),
        ("<RESPONSE>B</RESPONSE>", PETS, 1),
        ("<answer>cat", PETS, 1),
        ("<think>dog or cat?</think> cat", PETS, 1),
        ("<think>it is a dog, surely", PETS, None),
        ("HEARD: barking\nANALYSIS: a dog barks, a cat does not\nANSWER: dog", PETS, 0),
        ("dog. Actually cat", PETS, 1),
        ("It is a dog, not a cat.", PETS, 0),
        ("This isn't a dog, it is a cat", PETS, 1),
        ("dog and cat", PETS, None),
        ("neither", PETS, None),
        ("", PETS, None),
        ("E", PETS, None),
        ("I cannot hear anything.", PETS, None),
        ("2", COUNTS, 1),
        ("There are 3 knocks.", COUNTS, 2),
        ("ten", COUNTS, 3),
        ("yes", YES_NO, 0),
        ("No, there is none.", YES_NO, 1),
        ("True", YES_NO, 0),
        ("I know.", YES_NO, None),  # no word within a word
        ("ein Hund", ["ein Hund", "eine Katze"], 0),
        ("猫", ["犬", "猫"], 1),
        ("same", ["same", "other", "same"], 0),
        ("C#", ["C", "C#", "D"], 1),
        ("4.80 - 7.20", ["0.00 - 4.80", "4.80 - 7.20"], 1),
        ("Final answer: three", COUNTS, 2),
    ],
)
def test_named(text, choices, index):
    assert parse(text, choices) == index


@pytest.mark.parametrize(
    ("text", "choices", "index"),
    [
        # a letter, and then an explanation that has the words of another choice
        ("B\n\nExplanation: a dog would bark.", PETS, 1),
        ("B, as the dog would bark.", PETS, 1),
        ("The answer is B because a dog would bark.", PETS, 1),
        ("B. cat\n\nExplanation: a dog would bark.", PETS, 1),
        ("A: the cat", PETS, 1),  # the words that the letter stands in front of count
        ("A, B and C", PETS, None),
        ("A or B", PETS, None),
        ("B, not A", PETS, 1),
        ("The answer is not (A).", PETS, None),
        ("I, for one, hear a cat", PETS, 1),
        # how letters are set off
        ("**Answer**: B", PETS, 1),
        ("**Answer:** __B__", PETS, 1),
        ("The answer is 'B'.", PETS, 1),
        ("$\\boxed{B}$", PETS, 1),
        ("\\boxed{cat}", PETS, 1),
        ("option (b)", PETS, 1),
        ("Option B is right.", PETS, 1),
        ("It must be option B", PETS, 1),
        ("It is not option B", PETS, None),
        # reasoning whose beginning is part of the prompt; an answer that is empty, and one of two
        ("A dog? No.</think>cat", PETS, 1),
        ("<think>dog</think>\n\n<think>car engine</think>cat", PETS, 1),
        ("<answer></answer> cat", PETS, None),
        ("<answer>dog</answer> no: <answer>cat</answer>", PETS, 1),
        # corrections and denials
        ("dog, wait, no, cat", PETS, 1),
        ("A dog. Wait, it is a cat.", PETS, 1),
        ("On second thought it is the cat", PETS, 1),
        ("The answer is cat. I am sure it is not the dog.", PETS, 1),
        ("a cat rather than a dog", PETS, 1),
        ("neither dog nor cat", PETS, None),
        ("Yes. Actually, no.", YES_NO, 1),
        ("It is not true.", ["True", "False"], None),
        # numbers
        ("twenty-two", ["two", "three"], None),
        ("twenty-two", ["two", "twenty-two"], 1),
        ("1,000", ["1", "1,000"], 1),
        ("-5", ["5", "-5"], 1),
        ("It is -5", ["5", "-5"], None),
        ("80%", ["8", "80%"], 1),
        # choices that are the same, and letters that are choices
        ("D", ["x", "y", "x", "y"], 1),
        ("(C) x", ["x", "y", "x", "y"], 0),
        ("D", ["G", "A#", "D", "E"], 2),
        ("E, as it is in G", ["G", "A#", "D", "E"], None),
        # languages without spaces between words
        ("答案是猫", ["狗", "猫"], 1),
        ("答案是B", ["狗", "猫"], 1),
        ("这是猫的声音。", ["狗", "猫"], 1),
        ("不是狗，是猫", ["狗", "猫"], 1),
        ("고양이입니다", ["개", "고양이"], 1),
        ("Ответ: кошка", ["собака", "кошка"], 1),
        ("É um cão", ["um gato", "um cão"], 1),
    ],
)
def test_named_in_harder_words(text, choices, index):
    assert parse(text, choices) == index


@pytest.mark.parametrize("text", ["D", "(D)", "Answer: D.", "option d", "<answer>D</answer>"])
def test_a_letter_where_the_prompt_has_letters(text):
    """Where choices are letters too: notes, for example."""
    notes = ["G", "A#", "D", "E"]
    assert parse(text, notes) == 2 and parse(text, notes, lettered=True) == 3
    assert parse("G", notes, lettered=True) == 0  # there is no seventh choice


FRAMES = [
    "{}",
    "{}.",
    '"{}"',
    "**{}**",
    "It is {}.",
    "The answer is {}.",
    "({}) {}",
    "{}. {}",
    "<answer>{}) {}</answer>",
]
CHOICES = [
    ["4.80 - 7.20", "0.00 - 4.80", "7.20 - 9.00"],
    ["Yes", "No", "Not sure"],
    ["0", "1", "2", "10"],
    ["C#", "C", "F", "F#"],
    ["hot dog stand", "dog", "dog stand", "stand"],
    ["Dr. Smith's wife", "Dr. Smith", "Smith"],
    ["one", "twenty-one", "eleven", "101"],
    ["Increase", "Decrease", "increase, then decrease"],
    ["It is raining", "It is not raining"],
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: choices[0])
def test_every_choice_is_found_in_every_frame(frame, choices):
    for index, choice in enumerate(choices):
        words = (choice,) if frame.count("{}") == 1 else ("ABCD"[index], choice)
        assert parse(frame.format(*words), choices) == index, frame.format(*words)


def test_anything_is_parsed():
    """No text raises, and what is given is a choice or None."""
    import random

    draw = random.Random(7)
    pieces = ["dog", "cat", "A", "(B)", "b.", "not", "the answer is", "<think>", "</think>", "<answer>", "\n", ",", "*"]
    pieces += ["two", "2", "猫", "wait,", "", "{", "}", "\\", "'", "\x00", "option", "E", "no,", "-"]
    choices = ["dog", "cat", "dog", "2", "猫", "hot dog", "...", "A"]
    for _ in range(3000):
        text = draw.choice(["", " "]).join(draw.choice(pieces) for _ in range(draw.randrange(9)))
        found = parse(text, choices, lettered=draw.random() < 0.5)
        assert found is None or choices.index(choices[found]) == found
