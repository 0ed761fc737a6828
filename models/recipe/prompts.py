"""What the recorded English prompts say where whisper-tiny.en slips or is unsure, told by the names of their files."""

from __future__ import annotations

import re

CORRECTED = {
    "agent-loggedoff": "agent logged off",
    "astcc-followed-by-the-pound-key": "followed by the pound key",
    "call-fwd-unconditional": "call forward unconditional",
    "conf-errormenu": "invalid choice",
    "confbridge-locked": "the conference is now locked",
    "confbridge-removed": "you have been removed from the conference",
    "dictate/paused": "paused",
    "digits/h-billion": "billionth",
    "digits/h-million": "millionth",
    "digits/mon-5": "june",
    "digits/oclock": "o'clock",
    "is-set-to": "is set to",
    "letters/y": "y",
    "phonetic/9_p": "niner",
    "phonetic/x_p": "x ray",
    "privacy-to-blacklist-last-caller": "the last caller was",
    "queue-callswaiting": "waiting to speak with a representative",
    "queue-holdtime": "the estimated hold time is currently",
    "queue-quantity2": "callers waiting to speak with a representative",
    "queue-thereare": "you are currently caller number",
    "queue-youarenext": "your call is now first in line and will be answered by the next available representative",
    "sorry-youre-having-problems": "sorry you're having problems",
    "to-rerecord-it": "to re record it",
    "vm-Cust1": "folder five",
    "vm-Cust2": "folder six",
    "vm-Cust3": "folder seven",
    "vm-Cust4": "folder eight",
    "vm-INBOX": "new",
    "vm-dialout": "please wait while i connect your call",
    "vm-forwardoptions": "press one to prepend the message or two to forward the message without prepending",
    "vm-incorrect": "login incorrect",
    "vm-incorrect-mailbox": "login incorrect mailbox",
    "vm-marked-urgent": "message marked urgent",
    "vm-onefor": "press one for",
    "vm-reachoper": "press zero to reach an operator",
    "vm-rec-unv": "after the tone say your unavailable message and then press the pound key",
    "vm-record-prepend": "at the tone please record an introduction to the forwarded message when done press the pound "
    "sign",
    "vm-savedto": "saved to",
    "vm-savefolder": "which folder should i save the message to",
    "vm-tocancelmsg": "press star to cancel this message",
    "vm-undelete": "press seven to undelete this message",
    "vm-undeleted": "message undeleted",
}
WORD_SECONDS = 1.25
"""The longest that a word of a clip that is named by its words may take."""
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
NUMBERS = dict(zip(map(str, (*range(20), *range(20, 100, 10))), _NUMBERS.split(), strict=True))
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
IRREGULAR["twelve"] = "twelfth"
_ALPHABET = """
alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra
tango uniform victor whiskey xray yankee zulu
"""
ALPHABET = _ALPHABET.split()
PREFIX = re.compile(r"^(vm|queue|spy)-")


def name(source: str) -> str:
    """ "digits/13" of ".../en_US_f_Allison/digits/13.wav"."""
    return re.sub(r"^.*/en_US_f_Allison/|\.wav$", "", source)


def ordinal(number: str) -> str:
    if number in IRREGULAR:
        return IRREGULAR[number]
    return number[:-1] + "ieth" if number.endswith("y") else number + "th"


def named(source: str, known: set[str]) -> str | None:
    """The word or words that a clip is named by; known: all words that there are."""
    folder, _, stem = name(source).rpartition("/")
    if folder == "phonetic":
        return ALPHABET[ord(stem[0]) - ord("a")] if re.fullmatch("[a-z]_p", stem) else None
    if folder == "digits":
        of = stem.removeprefix("h-")
        word = NUMBERS.get(of, of)
        if stem != of and re.fullmatch("[a-z]+", word):
            return ordinal(word)
        return word if of in NUMBERS or word in known else None
    if folder == "letters" and re.fullmatch("[a-z]", stem):
        return stem
    words = PREFIX.sub("", stem).lower().split("-")
    return " ".join(words) if all(word in known for word in words) else None
