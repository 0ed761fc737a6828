"""Step 8: the table of the model card, measured on the shipped runtime (quantized files, llama.cpp through mata_cpp).

    python evaluate.py --work WORK [--most 100] [--only NAME...]

It measures the catalogue's model as users have it: files, prompt, defaults.  Every line: what is asked of which clips,
how many questions, MATA off and on, with 95 % Wilson intervals.  Rows with "development" are of recordings on which
the training was steered; the part `strengths` tries MATA's strengths and layers on them: the default is chosen there.
"""

from __future__ import annotations

import argparse
import collections
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import features
import numpy as np
import plain
import qa
import sources
from clips import RATE, Clip, everything
from edit_distance import edit_distance
from labels import KIND, KIND_WORDS, other_kinds
from train import AFTER, BEFORE

from mata_cpp import Audio, AudioChat, Mata, _core
from mata_cpp.files.resolve import resolve

Sample = tuple[np.ndarray, dict]


@dataclass
class Question:
    """right: the answer; options: offered by likelihood, or none for an open question."""

    audio: Audio
    text: str
    right: str
    options: tuple[str, ...] = ()
    group: str = ""


def wilson(hits: float, n: int) -> tuple[float, float]:
    if not n:
        return 0.0, 1.0
    z, share = 1.96, hits / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def bare(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()


def word_errors(said: str, right: str) -> tuple[int, int]:
    """Edits from right to said in words, and the words of right."""
    reference = bare(right).split()
    return edit_distance(bare(said).split(), reference), len(reference)


INSTRUMENTS = [name for name, kind in KIND.items() if kind == "musical instrument"]
STRENGTHS: dict[str, Mata | None] = {
    "off": None,
    **{f"{alpha:g}": Mata(alpha=alpha) for alpha in (0.03, 0.1, 0.2, 0.4)},
    **{f"0.1, layers {part}": Mata(alpha=0.1, layers=part) for part in ("0:10", "5:16", "20:30")},
}


class Bench:
    def __init__(self, chat: AudioChat, settings: dict[str, Mata | None]) -> None:
        self.chat, self.settings = chat, tuple(settings.values())
        names = " | ".join("MATA " + name for name in settings)
        print(f"\n| held-out set | n | {names} |\n|{'---|' * (len(settings) + 2)}")

    def answer(self, question: Question) -> str:
        if question.options:  # adds nothing to the conversation: the next setting finds the clip in the KV cache
            choice = self.chat.choose(
                question.audio,
                question.text,
                question.options,
                contrast=False,  # the card's numbers are by likelihood, and the question names the options itself
                listed=False,
            )
            return choice.text
        self.chat.reset()
        said = self.chat.ask(question.audio, question.text, max_tokens=40).text
        self.chat.reset()
        return said

    def line(self, name: str, questions: Sequence[Question]) -> None:
        """Prints one row: name | n | a share for each setting, balanced over the questions' groups."""
        total = collections.Counter(question.group for question in questions)
        hits = [collections.Counter() for _ in self.settings]
        for question in questions:
            for setting, counted in zip(self.settings, hits, strict=True):
                self.chat.mata = setting
                counted[question.group] += bare(self.answer(question)) == bare(question.right)
        n, cells = len(questions), []
        for counted in hits:
            share = sum(counted[group] / total[group] for group in total) / max(1, len(total))
            low, high = wilson(share * n, n)
            cells.append(f"{share:.3f} ({low:.2f}-{high:.2f})")
        print(f"| {name} | {n} | {' | '.join(cells)} |", flush=True)

    def words(self, name: str, questions: Sequence[Question]) -> None:
        cells = []
        for setting in self.settings:
            self.chat.mata = setting
            pairs = [word_errors(self.answer(question), question.right) for question in questions]
            cells.append(f"{sum(e for e, _ in pairs) / max(1, sum(n for _, n in pairs)):.3f} WER")
        print(f"| {name} | {len(questions)} | {' | '.join(cells)} |", flush=True)


def listed(text: str, options: Sequence[str]) -> str:
    return f"{text} Choose one: {', '.join(options)}."


def named(
    samples: Sequence[Sample], text: str, rng: random.Random, among: Iterable[str] = ()
) -> tuple[list[Question], list[Question]]:
    """Open questions and ones with four options, for the names of sounds."""
    opened, chosen = [], []
    for x, what in samples:
        audio, label = Audio((x, RATE)), what["sound"]
        opened.append(Question(audio, text, label))
        options = [label, *_others(label, rng, among)]
        rng.shuffle(options)
        chosen.append(Question(audio, listed(text, options), label, tuple(options)))
    return opened, chosen


def unlisted(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    """Four options that are only compared by likelihood."""
    made = []
    for x, what in samples:
        options = (what["sound"], *_others(what["sound"], rng))
        made.append(Question(Audio((x, RATE)), "What sound is this?", what["sound"], options))
    return made


def reworded(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    """Four options, each called by the last of its other names."""
    made = []
    for x, what in samples:
        options = [qa.WORDS[name][-1] for name in (what["sound"], *_others(what["sound"], rng))]
        right = options[0]
        rng.shuffle(options)
        made.append(Question(Audio((x, RATE)), listed("What do you hear?", options), right, tuple(options)))
    return made


def _others(label: str, rng: random.Random, among: Iterable[str] = ()) -> list[str]:
    """Three labels (of those that something was trained on, or of some) that cannot be right as well."""
    banned = qa.close(label) | {label}
    return rng.sample([name for name in among or sorted(KNOWN) if name not in banned], 3)


KNOWN: set[str] = set()
"""Labels with training clips: a name that was never an answer would be an easy one to leave out."""


def kinds(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    made = []
    for x, what in samples:
        kind = KIND[what["sound"]]
        options = [kind, *rng.sample(other_kinds(what["sound"]), 3)]
        rng.shuffle(options)
        words = tuple(KIND_WORDS[name][0] for name in options)
        made.append(Question(Audio((x, RATE)), listed("What kind of sound is this?", words), kind, words))
    return made


def presence(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    """Each clip is asked twice: for what is there, and for what is there in another clip of the set."""
    made = []
    names = [what["sound"] for _, what in samples]
    for x, what in samples:
        banned = qa.close(what["sound"]) | {what["sound"]}
        absent = rng.choice([name for name in names if name not in banned])
        audio = Audio((x, RATE))
        for label, right in ((what["sound"], "Yes."), (absent, "No.")):
            text = f"Is there {qa.article(qa.WORDS[label][1])} in this clip?"
            made.append(Question(audio, text, right, ("Yes.", "No."), right))
    return made


def bias(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    """The question names a wrong sound, in a sentence that was not trained on."""
    made = []
    for x, what in samples:
        label = what["sound"]
        options = [label, *_others(label, rng)]
        lie = options[1]
        rng.shuffle(options)
        text = listed(f"This is a recording of {qa.article(qa.WORDS[lie][1])}. Which sound do you hear?", options)
        made.append(Question(Audio((x, RATE)), text, label, tuple(options)))
    return made


def exchanged(samples: Sequence[Sample], rng: random.Random) -> list[Question]:
    """Four options and another clip's audio, which none of the options fits."""
    _, chosen = named(samples, "What sound is this?", rng)
    for question in chosen:
        near = frozenset().union(*(qa.close(option) | {option} for option in question.options))
        question.audio = Audio((rng.choice([x for x, what in samples if what["sound"] not in near]), RATE))
    return chosen


def spread(samples: list[Sample], most: int, rng: random.Random) -> list[Sample]:
    """At most so many, label by label in turn."""
    groups = collections.defaultdict(list)
    for sample in samples:
        groups[sample[1].get("sound") or sample[1].get("digit") or ""].append(sample)
    for group in groups.values():
        rng.shuffle(group)
    found: list[Sample] = []
    while len(found) < most and any(groups.values()):
        for group in groups.values():
            if group and len(found) < most:
                found.append(group.pop())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    begun, rng = time.monotonic(), random.Random(5)
    items = everything(arguments.work)
    KNOWN.update(clip.what["sound"] for _, clip in items if clip.use == "train" and "sound" in clip.what)
    texts = {clip.what.get("text") for _, clip in items if clip.use == "train"}
    files = resolve(arguments.model)
    chat = AudioChat(arguments.model, n_threads=arguments.threads)
    print(f"{arguments.model}, {chat.mmproj_path.name}, {chat.describe_mata()}")
    bench = Bench(chat, {"off": None, "on": Mata(alpha=arguments.alpha)})

    def held(use: str, wanted: Callable[[Clip], bool], times: float = 1.0) -> list[Sample]:
        made = []
        for store, clip in items:
            if clip.use == use and wanted(clip) and clip.source not in sources.DOUBLES:
                made.append((features.heard(store.audio(clip)), clip.what))
        return spread(made, round(times * arguments.most), random.Random(5))

    def unseen(clip: Clip) -> bool:
        short = clip.length <= features.LONGEST * RATE
        return short and bool(clip.what.get("text")) and clip.what["text"] not in texts

    esc = held("test", lambda clip: clip.source.startswith("esc10"))
    font = held("test", lambda clip: clip.source.startswith("timgm6mb") and clip.what["sound"] != "music")
    dev = held("dev", lambda clip: "sound" in clip.what, 1.6)
    digits = held("test", lambda clip: "digit" in clip.what, 10)  # short, so that there is time for all takes
    prompts = held("test", lambda clip: unseen(clip) and clip.source.startswith("asterisk"))
    phrases = held("test", lambda clip: unseen(clip) and clip.source == "speech:en-gb+m3")
    foreign = held("test", lambda clip: "language" in clip.what and clip.source.startswith("asterisk"))

    def sounds() -> None:
        for name, samples, text, among in (
            ("ESC-10 fold 5", esc, "What sound is this?", ()),
            ("instruments, unseen soundfont", font, "Which instrument is playing?", INSTRUMENTS),
            ("development sources", dev, "What sound is this?", ()),
        ):
            opened, chosen = named(samples, text, rng, among)
            bench.line(f"{name}, open, exact", opened)
            bench.line(f"{name}, 4 options", chosen)
            if samples is not font:
                bench.line(f"{name}, kind, 4 options", kinds(samples, rng))
        bench.line("development sources, 4 options that the question does not list", unlisted(dev, rng))
        bench.line("development sources, 4 options in other words", reworded(dev, rng))
        strange = [(x, what) for x, what in dev if what["sound"] not in KNOWN]
        bench.line("of these, names without a training clip, 4 options", named(strange, "What sound is this?", rng)[1])

    def controls() -> None:
        for name, samples in (("ESC-10 fold 5", esc), ("development sources", dev)):
            bench.line(f"is there ...? {name} (balanced)", presence(samples, rng))
            bench.line(f"text says another sound, {name}, 4 options", bias(samples, rng))
            again = random.Random(11)  # small shares need many questions
            made = [question for part in (rng, again, again, again) for question in exchanged(samples, part)]
            bench.line(f"control: another clip's audio, {name}, 4 options", made)

    def spoken() -> None:
        made = [Question(Audio((x, RATE)), "Which number is spoken?", what["digit"]) for x, what in digits]
        bench.line("digits, unseen speaker, open, exact", made)
        for name, samples in (
            ("recorded phrases, unseen texts", prompts),
            ("synthetic phrases, unseen texts, another timbre of espeak-ng", phrases),
        ):
            made = [Question(Audio((x, RATE)), "What is said?", what["text"]) for x, what in samples[:60]]
            bench.words(name, made)
        made = []
        for x, what in foreign[:120]:
            text = listed("Which language is spoken?", qa.LANGUAGES)
            made.append(Question(Audio((x, RATE)), text, what["language"], qa.LANGUAGES))
        bench.line("language of recorded prompts, unseen texts, the same five speakers, 5 options", made)

    def scenes() -> None:
        plan = features.Plan(items, ("dev", "test"))
        plan.scenes({"count": 100, "order": 80, "pitch": 60, "loudness": 40, "tempo": 40})
        made = [job(np.random.default_rng((9, i))) for i, job in enumerate(plan.jobs)]
        groups: dict[str, list[Question]] = collections.defaultdict(list)
        for x, what in made:
            audio = Audio((x, RATE))
            if "count" in what:
                groups["count 1-5, open"].append(
                    Question(audio, "How many sounds are there?", qa.DIGITS[what["count"]])
                )
            elif "first" in what:
                pair = (what["first"], what["second"])
                if rng.random() < 0.5:
                    pair = pair[::-1]
                text = listed("Which came first?", pair)
                groups["which came first, 2 options"].append(Question(audio, text, what["first"], pair))
            else:
                name, text, words = {
                    "pitch": ("pitch up or down", "Does the pitch go up or down?", ("up", "down")),
                    "loudness": ("louder or softer", "Does it get louder or softer?", ("louder", "softer")),
                    "tempo": ("faster or slower", "Does it get faster or slower?", ("faster", "slower")),
                }[next(key for key in ("pitch", "loudness", "tempo") if key in what)]
                right = words[0] if "up" in what.values() else words[1]
                groups[name].append(Question(audio, text, right, words))
        for name, asked in groups.items():
            bench.line(name, asked)

    def text() -> None:
        counts = []
        for adapters in ([], [(str(files.lora), 1.0)]):
            engine = _core.Engine(str(files.model), lora=adapters, n_ctx=512, n_threads=arguments.threads)
            counts.append(sum(plain.right(engine, BEFORE, AFTER)))
        print(f"\ntext alone, right of {len(plain.HELD)}: {counts[0]} without the adapter, {counts[1]} with it")

    def strengths() -> None:
        tried, some = Bench(chat, STRENGTHS), dev[: arguments.most]
        _, chosen = named(some, "What sound is this?", rng)
        tried.line("development sources, 4 options", chosen)
        tried.line("development sources, kind, 4 options", kinds(some, rng))
        tried.line("is there ...? development sources (balanced)", presence(some, rng))
        tried.line("text says another sound, development sources, 4 options", bias(some, rng))

    parts = {
        "sounds": sounds,
        "controls": controls,
        "spoken": spoken,
        "scenes": scenes,
        "strengths": strengths,
        "text": text,
    }
    for name, part in parts.items():
        if not arguments.only or name in arguments.only:
            rng.seed(name)  # the same questions whichever parts run
            part()
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
