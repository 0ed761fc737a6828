"""Questions and answers about a clip, in many wordings, drawn from what is known of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from labels import KIND, KIND_WORDS, WORDS, close, other_kinds

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LANGUAGES = ("English", "Spanish", "French", "Italian", "Russian")
QA = tuple[str, str]
Drawn = Callable[[random.Random], "tuple[str, list[str]] | None"]
"""Draws a name that is right for a clip and some that are wrong."""

SOUND = [
    "What sound is this?",
    "What do you hear?",
    "What is this sound?",
    "What can you hear in this clip?",
    "Which sound is this?",
    "Name this sound.",
    "Name the sound.",
    "What makes this sound?",
    "What is making this noise?",
    "What is that noise?",
    "Identify the sound.",
    "Identify this sound in a few words.",
    "Tell me what this is.",
    "What am I hearing?",
    "Describe the sound.",
    "What is in this recording?",
    "What is heard in the audio?",
    "What happens in this clip?",
    "What is the source of this sound?",
    "Listen. What is it?",
    "What was that?",
    "Can you tell me what this sound is?",
    "Do you recognize this sound?",
    "Classify this sound.",
]
INSTRUMENT = [
    "Which instrument is playing?",
    "What instrument is this?",
    "Which instrument do you hear?",
    "Name the instrument.",
    "What instrument is being played?",
    "Which musical instrument is this?",
    "Identify the instrument.",
    "What is being played here?",
    "What is the instrument in this clip?",
    "Tell me the instrument.",
    "What is playing?",
    "Can you name the instrument?",
    "Which instrument plays these notes?",
    "What do you hear, which instrument?",
    "What kind of instrument is this?",
    "What instrument plays in this recording?",
    "Which instrument makes this sound?",
    "Name the musical instrument you hear.",
    "What instrument can be heard?",
    "Say which instrument it is.",
]
KIND_Q = [
    "What kind of sound is this?",
    "What kind of sound do you hear?",
    "What type of sound is it?",
    "Which kind of sound is this?",
    "Which category fits this sound?",
    "What sort of sound is this?",
    "Is this an animal, a machine, or something else?",
    "What general kind of sound is in the clip?",
    "Name the kind of sound.",
    "What class of sound is this?",
    "Which group does this sound belong to?",
    "Roughly, what kind of thing makes this sound?",
    "What category is this?",
    "To which category does this sound belong?",
    "What sort of thing is it?",
    "What kind of recording is this?",
    "In general terms, what is this sound?",
    "Give the category of the sound.",
    "Say what kind of sound it is.",
    "What type of noise is this?",
]
DIGIT = [
    "Which number is spoken?",
    "Which digit is spoken?",
    "What number do you hear?",
    "What number is said?",
    "Which digit do you hear?",
    "What digit is this?",
    "Which number does the speaker say?",
    "Name the number.",
    "What number does the person say?",
    "Which number was that?",
    "Tell me the digit.",
    "What is the spoken number?",
    "What is the number?",
    "Which numeral is spoken?",
    "What digit did they say?",
    "Say the number you hear.",
    "What number is being spoken?",
    "Identify the digit.",
    "Which digit is in the recording?",
    "What number is in this clip?",
]
TRANSCRIBE = [
    "What is said?",
    "What does the speaker say?",
    "Transcribe the speech.",
    "Write down what is said.",
    "What are the words?",
    "Transcribe this.",
    "What words do you hear?",
    "Please transcribe the audio.",
    "What does the person say?",
    "Repeat what is said.",
    "What is being said here?",
    "Give the transcript.",
    "Type out the words.",
    "What did they say?",
    "Write the sentence you hear.",
    "Transcribe the clip.",
    "What is the sentence?",
    "Put the speech into text.",
    "What is spoken?",
    "Note what the voice says.",
]
LANGUAGE = [
    "Which language is spoken?",
    "What language is this?",
    "In which language is this?",
    "Name the language.",
    "What language does the speaker use?",
    "Which language do you hear?",
    "What language is being spoken?",
    "Identify the language.",
    "Tell me the language.",
    "In what language do they speak?",
    "Which language is it?",
    "What is the language of this prompt?",
    "What language is the recording in?",
    "Which tongue is this?",
    "The speaker uses which language?",
    "What is the spoken language?",
    "Can you name the language?",
    "What language does this voice speak?",
    "In which language is the message?",
    "Say which language it is.",
]
COUNT = [
    "How many times does it sound?",
    "How many sounds are there?",
    "How many events do you hear?",
    "Count the sounds.",
    "How often do you hear it?",
    "How many times do you hear the sound?",
    "Count the events.",
    "How many are there?",
    "How many separate sounds are in the clip?",
    "What is the number of sounds?",
    "How many times?",
    "How many hits do you hear?",
    "Count how often it happens.",
    "How many do you count?",
    "How often does the sound occur?",
    "How many repetitions are there?",
    "Tell me how many sounds you hear.",
    "How many times does the sound occur?",
    "What is the count?",
    "How many were there?",
]
FIRST = [
    "Which came first?",
    "Which sound comes first?",
    "What is heard first?",
    "What do you hear first?",
    "Which one is first?",
    "What was the first sound?",
    "Which sound starts the clip?",
    "What comes at the start?",
    "Name the first sound.",
    "The clip begins with which sound?",
]
SECOND = [
    "Which came second?",
    "Which sound comes last?",
    "What is heard second?",
    "What do you hear last?",
    "Which one is second?",
    "What was the second sound?",
    "Which sound ends the clip?",
    "What comes at the end?",
    "Name the second sound.",
    "The clip ends with which sound?",
]
PITCH = [
    "Does the pitch go up or down?",
    "Is the second tone higher or lower?",
    "Up or down?",
    "Does the tone rise or fall?",
    "Which way does the pitch go?",
    "Is the pitch going up or down?",
    "Does the sound go up or down in pitch?",
    "Do the notes go up or down?",
    "Is the pitch rising or falling?",
    "Which direction does the pitch take?",
]
LOUDNESS = [
    "Does it get louder or softer?",
    "Is it getting louder or softer?",
    "Louder or softer?",
    "Does the volume go up or down?",
    "Does the sound become louder or quieter?",
    "Is the second one louder or softer?",
    "How does the loudness change?",
    "Does the level rise or fall?",
    "Is the end louder or softer than the beginning?",
    "Does it grow or fade?",
]
CHANGES = {"pitch": ("up", "down"), "loudness": ("louder", "softer"), "tempo": ("faster", "slower")}
"""The answers about what changes in a clip."""
TEMPO = [
    "Does it get faster or slower?",
    "Is it getting faster or slower?",
    "Faster or slower?",
    "Does it speed up or slow down?",
    "How does the speed change?",
    "Does the rhythm become faster or slower?",
    "Is the end faster or slower than the beginning?",
    "Is it speeding up or slowing down?",
    "Does the tempo go up or down?",
    "Do the sounds come faster or slower?",
]
CHOOSE = [
    " Choose one: {}.",
    " Choose one: {}.",
    " Choose from: {}.",
    " Options: {}.",
    " Is it {}?",
    " Pick one: {}.",
    " One of: {}.",
    " The choices are {}.",
    " Answer with one of these: {}.",
    "\n{}",
    "\nOptions: {}",
]
THERE = [
    "Is there {} in this clip?",
    "Is there {}?",
    "Do you hear {}?",
    "Can you hear {}?",
    "Does this clip contain {}?",
    "Is this {}?",
    "Is {} in the recording?",
    "Would you say this is {}?",
    "Is that {}?",
    "Does it sound like {}?",
]
BIAS = [
    "The {} in this clip is loud. What sound is this?",
    "The clip is called {}. What do you hear?",
    "Someone said that this is {}. What sound is it?",
    "I think that this is {}. What is it?",
    "The {} is easy to hear. What sound is this?",
    "Is this {}? Name the sound.",
    "This should be {}. What sound do you hear?",
    "The title says {}, but what is the sound?",
]


VAGUE = frozenset(
    ("silence", "noise", "environmental noise", "inside, small room", "inside, large room or hall")
    + ("inside, public space", "outside, urban or manmade", "outside, rural or natural", "field recording")
    + ("sound effect", "reverberation", "echo", "distortion", "throbbing", "vibration", "television", "radio")
    + ("pulse", "heart murmur", "sidetone", "mains hum", "hum", "cacophony", "single-lens reflex camera")
    + ("loudspeaker", "white noise", "pink noise", "static", "specific impact sounds", "generic impact sounds")
    + ("rattle", "whimper", "jingle", "run", "roll", "hands", "fill (with liquid)", "tapping", "tap", "human sounds")
    + ("light engine (high frequency)", "medium engine (mid frequency)", "heavy engine (low frequency)", "stir")
)
"""Classes of AudioSet that nobody would answer, or whose names mean two things."""


def plain_names(name: str) -> tuple[str, ...]:
    """What a class of AudioSet may be called: "Baby cry, infant cry" -> ("baby cry", "infant cry")."""
    name = name.lower()
    if name in VAGUE:
        return ()
    parts = re.sub(r" *\(.*?\)", "", name).replace(", and ", ", ").split(", ")
    return tuple(part.strip() for part in parts if part.strip() not in ("", "etc."))


def options(right: str, others: Sequence[str], rng: random.Random) -> str:
    names = [right, *others]
    rng.shuffle(names)
    style = rng.random()
    if style < 0.55:
        return ", ".join(names)
    if style < 0.75:
        return ", ".join(names[:-1]) + " or " + names[-1]
    if style < 0.85:
        return "; ".join(names)
    return "\n".join(f"- {name}" for name in names) if style < 0.93 else " / ".join(names)


def choose(question: str, right: str, others: Sequence[str], rng: random.Random) -> QA:
    listed = options(right, others, rng)
    pattern = rng.choice(CHOOSE)
    if listed.startswith("- ") and not pattern.startswith("\n"):
        listed = "\n" + listed
    return question + pattern.format(listed), right


def word(label: str, rng: random.Random) -> str:
    """The label itself, or one of its other wordings."""
    return label if rng.random() < 0.6 else rng.choice(WORDS[label])


def distractors(label: str, n: int, rng: random.Random, often: Mapping[str, float]) -> list[str]:
    """Labels that cannot be right as well, as often as they are right elsewhere, so that a name alone tells nothing;
    often of the same kind, so that the kind alone does not tell.
    """
    banned = close(label) | {label}
    pool = {name: weight for name, weight in often.items() if name not in banned}
    same = {name: weight for name, weight in pool.items() if KIND[name] == KIND[label]}
    found: list[str] = []
    while len(found) < n:
        names = same if same and rng.random() < 0.4 else pool
        (name,) = rng.choices(list(names), list(names.values()))
        if name not in found:
            found.append(name)
    return found


MASS = frozenset(
    ("jazz", "water", "percussion", "mice", "livestock", "pets", "wildlife", "crying", "sobbing", "surf")
    + ("music", "speech", "rain", "applause", "cattle", "laughter", "traffic", "machinery", "wind", "thunder", "fire")
    + ("money", "paper", "birdsong", "rainfall", "road")
)


def article(name: str) -> str:
    """The name as "Is there ...?" has it."""
    first = name.split()[0]
    last = name.split()[-1]
    if first in ("a", "an", "the", "someone", "people") or {first, last} & MASS or name.endswith(("ing", "s")):
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name


def _there(name: str, rng: random.Random) -> str:
    return rng.choice(THERE).format(article(name))


def sound(label: str, rng: random.Random, often: Mapping[str, float], found: Drawn | None = None) -> QA:
    if found is not None and rng.random() < 0.15:
        return found_by(found, rng.choice(SOUND), label, rng, often)
    draw = rng.random()
    instrument = KIND[label] == "musical instrument"
    ask = rng.choice(INSTRUMENT if instrument and rng.random() < 0.6 else SOUND)
    if draw < 0.26:
        return ask, label
    if draw < 0.50:
        return named(ask, label, rng, often)
    if draw < 0.60:
        return rng.choice(KIND_Q), KIND[label]
    if draw < 0.75:
        kinds = other_kinds(label)
        return choose(
            rng.choice(KIND_Q if rng.random() < 0.7 else SOUND),
            *_kind_options(KIND[label], rng.sample(kinds, min(len(kinds), rng.choice((3, 3, 3, 4, 5)))), rng),
            rng,
        )
    if draw < 0.88:
        return presence([label], distractors(label, 1, rng, often)[0], rng)
    said = label if rng.random() < 0.25 else distractors(label, 1, rng, often)[0]
    hint = rng.choice(BIAS).format(word(said, rng))
    return (hint, label) if rng.random() < 0.4 else named(hint, label, rng, often, said)


def named(ask: str, label: str, rng: random.Random, often: Mapping[str, float], said: str = "") -> QA:
    """Options; said: what the question says that it is, which is one of them."""
    others = distractors(label, rng.choice((2, 3, 3, 3, 3, 4, 5)), rng, often)
    if said and said not in (label, *others):
        others[0] = said
    return choose(ask, word(label, rng), [word(name, rng) for name in others], rng)


def found_by(draw: Drawn, ask: str, label: str, rng: random.Random, often: Mapping[str, float]) -> QA:
    """About what YAMNet finds; where it finds nothing, about the label."""
    drawn = draw(rng)
    if drawn is None:
        return named(ask, label, rng, often)
    right, wrong = drawn
    if not wrong or rng.random() < 0.25:
        there = not wrong or rng.random() < 0.5
        return rng.choice(THERE).format(article(right if there else wrong[0])), "Yes." if there else "No."
    return choose(ask, right, [name for name in wrong if name != right][: rng.choice((2, 3, 3, 4))], rng)


def presence(labels: Sequence[str], absent: str, rng: random.Random) -> QA:
    """Is there ...?  labels: what there is."""
    if rng.random() < 0.5:
        return _there(_thing(rng.choice(labels), rng), rng), "Yes."
    return _there(_thing(absent, rng), rng), "No."


def _thing(label: str, rng: random.Random) -> str:
    """What a question of presence calls it: mostly the thing ("dog"), sometimes the label."""
    return rng.choice(WORDS[label])


def _kind_options(kind: str, others: Sequence[str], rng: random.Random) -> tuple[str, list[str]]:
    style = rng.choice((0, 0, 0, 0, 1, 2, 3, 4))
    return KIND_WORDS[kind][style], [KIND_WORDS[name][style] for name in others]


def digit(name: str, rng: random.Random) -> QA:
    draw = rng.random()
    if draw < 0.5:
        return rng.choice(DIGIT), name
    if draw < 0.85:
        return choose(rng.choice(DIGIT), name, rng.sample([d for d in DIGITS if d != name], 3), rng)
    said = name if rng.random() < 0.5 else rng.choice([d for d in DIGITS if d != name])
    return f"Is the number {said}?", "Yes." if said == name else "No."


def language(name: str, rng: random.Random) -> QA:
    if rng.random() < 0.5:
        return rng.choice(LANGUAGE), name
    return choose(
        rng.choice(LANGUAGE), name, rng.sample([x for x in LANGUAGES if x != name], rng.choice((2, 3, 4))), rng
    )


def count(n: int, rng: random.Random) -> QA:
    if rng.random() < 0.75:
        return rng.choice(COUNT), DIGITS[n]
    return choose(rng.choice(COUNT), DIGITS[n], rng.sample([DIGITS[i] for i in range(1, 6) if i != n], 3), rng)


def order(first: str, second: str, rng: random.Random) -> QA:
    ask, right, wrong = (FIRST, first, second) if rng.random() < 0.6 else (SECOND, second, first)
    if rng.random() < 0.6:
        return choose(rng.choice(ask), right, [wrong], rng)
    if rng.random() < 0.6:
        return rng.choice(ask), right
    if rng.random() < 0.5:
        return f"Does the {first} come before the {second}?", "Yes."
    return f"Does the {second} come before the {first}?", "No."


def change(name: str, direction: str, rng: random.Random) -> QA:
    questions, words = {"pitch": PITCH, "loudness": LOUDNESS, "tempo": TEMPO}[name], CHANGES[name]
    right = words[0] if direction == "up" else words[1]
    if rng.random() < 0.3:
        return choose(rng.choice(questions), right, [words[1] if right == words[0] else words[0]], rng)
    return rng.choice(questions), right


def questions(
    what: dict, n: int, rng: random.Random, often: Mapping[str, float], found: Drawn | None = None
) -> list[QA]:
    """n questions about a clip, no two of the same text; of a phrase the first is what is said, and no other.
    often: how often each label is right; found: draws names.
    """
    makers: list[Callable[[], QA]] = []
    asked: dict[str, str] = {}
    if "sound" in what:
        makers = [lambda: sound(what["sound"], rng, often, found)]
    elif "digit" in what:
        makers = [lambda: digit(what["digit"], rng)] * 5 + [lambda: sound("speech", rng, often)]
    elif "language" in what:
        if what["text"]:
            asked[rng.choice(TRANSCRIBE)] = what["text"]
        makers += [lambda: language(what["language"], rng), lambda: sound("speech", rng, often)]
    elif "count" in what:
        makers = [lambda: count(what["count"], rng)]
        if what["of"] in KIND:
            makers = makers * 4 + [lambda: sound(what["of"], rng, often)]
    elif "first" in what:
        pair = what["first"], what["second"]
        absent = {name: weight for name, weight in often.items() if not (close(name) | {name}) & set(pair)}
        makers = [lambda: order(*pair, rng)] * 6 + [
            lambda: presence(pair, distractors(pair[0], 1, rng, absent)[0], rng)
        ]
    else:
        name = next(key for key in ("pitch", "loudness", "tempo") if key in what)
        makers = [lambda: change(name, what[name], rng)]
    for _ in range(4 * n):
        if len(asked) == n:
            break
        question, answer = rng.choice(makers)()
        asked.setdefault(question, answer)
    return list(asked.items())
