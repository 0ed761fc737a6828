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
