"""Descriptor 2 while libraries write to it."""

import os

import pytest

from mata_cpp.audio import stderr


def test_lines_are_caught_and_the_descriptor_comes_back(capfd):
    os.write(2, b"before\n")
    with stderr.caught() as lines:
        os.write(2, b"within\nagain\n")
    with pytest.raises(KeyError), stderr.caught() as others:
        os.write(2, b"third")
        raise KeyError
    os.write(2, b"after\n")
    assert (lines, others) == (["within", "again"], ["third"])
    assert capfd.readouterr().err == "before\nafter\n"


def test_without_standard_error_nothing_is_touched(monkeypatch):
    monkeypatch.setattr("sys.__stderr__", None)
    monkeypatch.setattr(stderr, "_redirected", lambda _: pytest.fail("redirected"))
    with stderr.caught() as lines:
        pass
    assert lines == []


def test_a_broken_grammar_says_why(make_chat, clip, fake, capfd):
    class Sampler(fake.Sampler):
        def __init__(self, *arguments, grammar="", **options):
            if grammar:
                os.write(2, b"\nparse: error parsing grammar: expecting ')' at \n\nroot")
            super().__init__(*arguments, grammar=grammar, **options)

    fake.Sampler = Sampler
    with pytest.raises(ValueError, match=r"does not parse: expecting '\)' at$"):
        make_chat().ask(clip, "Q?", grammar="broken")
    assert capfd.readouterr().err == ""
