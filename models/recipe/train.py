"""Step 4: train.  Stage 1 teaches the audio tokens to lie near the words for what is heard, without the language model;
stage 2 asks questions through the language model.

    python train.py --work WORK --model SmolLM2-135M-Instruct.Q4_1.gguf [--minutes-1 8] [--minutes-2 50]

Writes WORK/stage1.pt and WORK/trained.pt.  The stop is by the clock; --steps-1 and --steps-2 make a run repeatable.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import packages
import plain
import qa
import torch
import torch.nn.functional as F
from labels import KIND, KINDS, LABELS
from language import LanguageModel
from projector import STACK, Projector
from torch import Tensor
from whisper import Encoder

from mata_cpp import _core

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
BEFORE = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
AFTER, END, NEXT = "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", "\n<|im_start|>user\n"
HIDDEN, RANK, ALPHA = 768, 8, 16.0
WEIGHTS = {
    "sound": 0.68,
    "digit": 0.07,
    "foreign": 0.03,
    "text": 0.05,
    "count": 0.06,
    "first": 0.05,
    "pitch": 0.02,
    "loudness": 0.02,
    "tempo": 0.02,
}


class Features:
    """The variants' frames and what they are."""

    def __init__(self, path: Path) -> None:
        self.frames = np.load(path.with_suffix(".npy"), mmap_mode="r")
        self.about: list[dict] = json.loads(path.with_suffix(".json").read_text())
        self.starts = np.concatenate([[0], np.cumsum([what["frames"] for what in self.about])])

    @torch.no_grad()
    def behind(self, projector: Projector, cache: Path) -> Features:
        """These features as the untrained last block makes them, computed once and kept in the file cache."""
        made = copy.copy(self)
        if cache.exists():
            made.frames = np.load(cache, mmap_mode="r")
            if made.frames.shape == self.frames.shape:
                return made
        made.frames = np.empty_like(self.frames)
        order = sorted(range(len(self)), key=lambda i: self.about[i]["frames"])
        for at in range(0, len(order), 16):
            index = order[at : at + 16]
            frames, lengths = self.batch(index)
            with torch.autocast("cpu", torch.bfloat16):
                heard = projector.heard(frames, lengths)
            for row, i in enumerate(index):
                made.frames[self.starts[i] : self.starts[i + 1]] = heard[row, : lengths[row]].half().numpy()
        np.save(cache, made.frames)
        return made

    def __len__(self) -> int:
        return len(self.about)

    def batch(self, index: list[int], shift: bool = False, rng: random.Random | None = None) -> tuple[Tensor, Tensor]:
        """Frames [B, T, 384] and lengths; shift: some first frames are left out, so that the stacks start elsewhere."""
        parts = []
        for i in index:
            part = self.frames[self.starts[i] : self.starts[i + 1]]
            if shift and rng is not None and len(part) > 30:
                part = part[rng.randrange(STACK) :]
            parts.append(torch.tensor(np.asarray(part, dtype=np.float32)))
        lengths = torch.tensor([len(part) for part in parts])
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True), lengths


def group_of(what: dict) -> str:
    if "language" in what and "digit" not in what:
        return "text" if what["text"] else "foreign"
    return next(key for key in ("sound", "digit", "count", "first", "pitch", "loudness", "tempo") if key in what)


class Sampler:
    """Draws variants by task, then (sounds) evenly over labels."""

    def __init__(self, data: Features, rng: random.Random) -> None:
        self.rng = rng
        self.groups: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(list))
        for i, what in enumerate(data.about):
            group = group_of(what)
            self.groups[group][what["sound"] if group == "sound" else ""].append(i)
        self.names = [name for name in WEIGHTS if name in self.groups]
        self.frames = [what["frames"] for what in data.about]

    def one(self, names: list[str] | None = None) -> int:
        names = [name for name in names or self.names if name in self.groups]
        group = self.groups[self.rng.choices(names, [WEIGHTS[name] for name in names])[0]]
        labels = list(group)
        weights = [math.sqrt(min(len(group[label]), 400)) for label in labels]
        return self.rng.choice(group[self.rng.choices(labels, weights)[0]])

    def batch(self, n: int, names: list[str] | None = None) -> list[int]:
        """n variants of about the same length: the neighbours of one among n * 8."""
        drawn = sorted((self.one(names) for _ in range(8 * n)), key=lambda i: self.frames[i])
        start = self.rng.randrange(len(drawn) - n + 1)
        return drawn[start : start + n]


@dataclass
class Clock:
    """Learning rate by what is spent of the steps or the minutes: a short rise, then half a cosine."""

    minutes: float
    steps: int
    begun: float = 0.0
    step: int = 0

    def share(self) -> float:
        if self.steps:
            return self.step / self.steps
        return (time.monotonic() - self.begun) / 60 / self.minutes

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 60)
        return warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.share()))))


def optimizer(groups: list[tuple[list[torch.nn.Parameter], float, float]]) -> torch.optim.AdamW:
    settings = [{"params": list(p), "lr": lr, "base": lr, "weight_decay": decay} for p, lr, decay in groups]
    return torch.optim.AdamW(settings, betas=(0.9, 0.98))


def advance(opt: torch.optim.AdamW, clock: Clock, loss: Tensor, parameters: list[torch.nn.Parameter]) -> None:
    for group in opt.param_groups:
        group["lr"] = group["base"] * clock.rate()
    opt.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    opt.step()
    clock.step += 1


class Words:
    """Directions of label words in the space of the text embeddings, centred, length 1."""

    def __init__(self, model: LanguageModel, engine: _core.Engine) -> None:
        table = model.table.float()
        self.centre = table.mean(0)
        self.engine, self.table = engine, table

    def of(self, names: list[str]) -> Tensor:
        rows = [self.table[self.engine.tokenize(" " + name)].mean(0) - self.centre for name in names]
        return F.normalize(torch.stack(rows), dim=-1)


def stage1(projector: Projector, model: LanguageModel, engine: _core.Engine, data: Features, clock: Clock) -> None:
    """data: the encoder's output (Features.behind)."""
    rng = random.Random(1)
    sampler, words = Sampler(data, rng), Words(model, engine)
    label_names = list(LABELS)
    targets = {"sound": words.of(label_names), "kind": words.of(list(KINDS))}
    targets["digit"], targets["language"] = words.of(list(qa.DIGITS)), words.of(list(qa.LANGUAGES))
    pieces = sorted({t for what in data.about if what.get("text") for t in engine.tokenize(" " + what["text"])})
    place = {token: i + 1 for i, token in enumerate(pieces)}
    spoken = F.normalize(words.table[pieces] - words.centre, dim=-1) if pieces else None
    blank, scale = torch.nn.Parameter(torch.tensor(2.0)), torch.nn.Parameter(torch.tensor(3.0))
    last = {id(p) for p in (*projector.block.parameters(), *projector.norm.parameters())}
    parameters = [*(p for p in projector.parameters() if id(p) not in last), blank, scale]
    opt = optimizer([(parameters, 1.5e-3, 0.05)])
    names = ["sound", "digit", "foreign", "text"]
    seen: dict[str, list[float]] = collections.defaultdict(list)
    clock.begun = time.monotonic()
    while clock.share() < 1:
        index = sampler.batch(32, names)
        with torch.autocast("cpu", torch.bfloat16):
            frames, lengths = data.batch(index, True, rng)
            frames = frames + 0.05 * frames.std() * torch.randn_like(frames)
            tokens, real = projector.project(frames, lengths, drop=0.1)
        tokens = F.normalize(tokens.float() - words.centre, dim=-1)
        weight = real.float() / real.sum(1, keepdim=True)
        losses = []
        for name, part in (("sound", 1.0), ("kind", 0.5), ("digit", 1.0), ("language", 0.5)):
            rows, wanted = [], []
            for row, i in enumerate(index):
                what = data.about[i]
                value = {"sound": what.get("sound"), "digit": what.get("digit"), "language": what.get("language")}.get(
                    name
                )
                if name == "kind":
                    value = KIND[what["sound"]] if "sound" in what else "speech" if "language" in what else None
                elif name == "sound" and "language" in what:
                    value = "speech"
                if value is None:
                    continue
                rows.append(row)
                known = {
                    "sound": label_names,
                    "kind": list(KINDS),
                    "digit": list(qa.DIGITS),
                    "language": list(qa.LANGUAGES),
                }
                wanted.append(known[name].index(value))
            if rows:
                near = (tokens[rows] @ targets[name].T) * scale.exp()
                # what most tokens say, and what one token says clearly
                pooled = (near * weight[rows][..., None]).sum(1) * 0.7 + 0.3 * near.masked_fill(
                    ~real[rows][..., None], -1e4
                ).amax(1)
                loss = F.cross_entropy(pooled, torch.tensor(wanted), label_smoothing=0.05)
                seen[name].append(float(loss.detach()))
                losses.append(part * loss * len(rows) / len(index))
        texts = [(row, data.about[i]["text"]) for row, i in enumerate(index) if data.about[i].get("text")]
        if texts and spoken is not None:
            rows = [row for row, _ in texts]
            near = torch.cat([blank.expand(len(rows), tokens.shape[1], 1), tokens[rows] @ spoken.T * scale.exp()], -1)
            wanted = [[place[t] for t in engine.tokenize(" " + text)] for _, text in texts]
            loss = F.ctc_loss(
                near.log_softmax(-1).transpose(0, 1),
                torch.tensor([t for row in wanted for t in row]),
                real[rows].sum(1),
                torch.tensor([len(row) for row in wanted]),
                zero_infinity=True,
            )
            seen["words"].append(float(loss.detach()))
            losses.append(0.3 * loss * len(rows) / len(index))
        if losses:
            advance(opt, clock, torch.stack(losses).sum(), parameters)
        if clock.step % 100 == 0:
            mean = {name: round(float(np.mean(values[-200:])), 3) for name, values in seen.items()}
            print(f"stage 1 step {clock.step} {time.monotonic() - clock.begun:.0f} s {mean}", flush=True)


class Asker:
    """Sequences: system and user opening, the clip, then questions that do not see one another."""

    def __init__(self, model: LanguageModel, engine: _core.Engine, rng: random.Random, cache: Path) -> None:
        self.model, self.rng = model, rng
        self.tokenize = engine.tokenize
        self.before = torch.tensor(engine.tokenize(BEFORE))
        if not cache.exists():
            cache.write_text(json.dumps(plain.answers(engine, BEFORE, AFTER)))
        self.plain: list[qa.QA] = [(question, answer) for question, answer in json.loads(cache.read_text())]
        print(len(self.plain), "plain questions", flush=True)

    def branch(self, pairs: list[qa.QA], clip: bool = True) -> tuple[list[int], list[bool]]:
        """Tokens of one conversation behind the clip, and which of them are learnt."""
        tokens: list[int] = []
        learnt: list[bool] = []
        for turn, (question, answer) in enumerate(pairs):
            opening = ("\n" if clip else "") if turn == 0 else NEXT
            asked = self.tokenize(opening + question + AFTER)
            said = self.tokenize(answer + END)
            tokens += asked + said
            learnt += [False] * len(asked) + [True] * len(said)
        return tokens, learnt

    def loss(
        self, audio: Tensor | None, real: Tensor | None, branches: list[list[tuple[list[int], list[bool]]]]
    ) -> Tensor:
        """Cross-entropy of the answers.  audio [B, N, width], real [B, N]; branches: conversations of each clip."""
        head, batch = len(self.before), len(branches)
        slots = 0 if audio is None else audio.shape[1]
        length = head + slots + max(sum(len(tokens) for tokens, _ in row) for row in branches)
        ids = torch.zeros(batch, length, dtype=torch.long)
        positions = torch.zeros(batch, length)
        part = torch.full((batch, length), -1)
        target = torch.full((batch, length), -100)
        ids[:, :head] = self.before
        positions[:, :head] = torch.arange(head)
        part[:, :head] = 0
        for row, conversations in enumerate(branches):
            heard = 0 if real is None else int(real[row].sum())
            positions[row, head : head + heard] = torch.arange(head, head + heard)
            part[row, head : head + heard] = 0
            at = head + slots
            for number, (tokens, learnt) in enumerate(conversations):
                n = len(tokens)
                ids[row, at : at + n] = torch.tensor(tokens)
                positions[row, at : at + n] = torch.arange(head + heard, head + heard + n)
                part[row, at : at + n] = number + 1
                for j in range(1, n):
                    if learnt[j]:
                        target[row, at + j - 1] = tokens[j]
                at += n
        rows, columns = part[:, :, None], part[:, None, :]
        order = torch.arange(length)
        mask = (order[None, :, None] >= order[None, None, :]) & (columns >= 0) & ((columns == 0) | (columns == rows))
        mask = mask | torch.eye(length, dtype=torch.bool)
        x = self.model.embed(ids)
        if audio is not None:
            x = torch.cat([x[:, :head], audio.to(x.dtype), x[:, head + slots :]], 1)
        hidden = self.model(x, positions, mask[:, None])
        chosen = target >= 0
        return F.cross_entropy(self.model.logits(hidden[chosen]), target[chosen])


def stage2(projector: Projector, model: LanguageModel, asker: Asker, data: Features, clock: Clock, save: Path) -> None:
    rng = asker.rng
    sampler = Sampler(data, rng)
    adapters = [p for p in model.parameters() if p.requires_grad]
    last = [*projector.block.parameters(), *projector.norm.parameters()]
    rest = [p for p in projector.parameters() if all(p is not q for q in last)]
    parameters = [*adapters, *last, *rest]
    opt = optimizer([(rest, 6e-4, 0.05), (last, 1e-4, 0.01), (adapters, 1e-3, 0.0)])
    losses: collections.deque[float] = collections.deque(maxlen=100)
    clips = asked = 0
    clock.begun = time.monotonic()
    while clock.share() < 1:
        if clock.step % 12 == 11:
            branches = [[asker.branch([rng.choice(asker.plain)], clip=False) for _ in range(2)] for _ in range(4)]
            advance(opt, clock, 0.5 * asker.loss(None, None, branches), parameters)
            continue
        index = sampler.batch(8)
        frames, lengths = data.batch(index, True, rng)
        with torch.autocast("cpu", torch.bfloat16):
            frames = frames + 0.05 * frames.std() * torch.randn_like(frames)
            audio, real = projector(frames, lengths, drop=0.1)
        branches = []
        for i in index:
            pairs = qa.questions(data.about[i], 4, rng)
            conversations = [[pair] for pair in pairs]
            if len(pairs) == 4 and rng.random() < 0.15:
                conversations = [[pairs[0]], [pairs[1]], pairs[2:]]
            branches.append([asker.branch(conversation) for conversation in conversations])
            asked += len(pairs)
        clips += len(index)
        loss = asker.loss(audio.float(), real, branches)
        losses.append(float(loss.detach()))
        advance(opt, clock, loss, parameters)
        if clock.step % 50 == 0:
            spent = time.monotonic() - clock.begun
            print(
                f"stage 2 step {clock.step} {spent:.0f} s clips {clips} questions {asked} loss {np.mean(losses):.4f}",
                flush=True,
            )
        if clock.step % 50 == 0:
            store(save, projector, model)
    store(save, projector, model)


def store(path: Path, projector: Projector, model: LanguageModel) -> None:
    adapters = {name: value.detach().clone() for name, value in model.named_parameters()}
    torch.save(
        {"projector": projector.state_dict(), "adapters": adapters, "hidden": HIDDEN, "rank": RANK, "alpha": ALPHA},
        path,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--minutes-1", type=float, default=8)
    parser.add_argument("--minutes-2", type=float, default=50)
    parser.add_argument("--steps-1", type=int, default=0)
    parser.add_argument("--steps-2", type=int, default=0)
    parser.add_argument("--skip-1", action="store_true", help="begin stage 2 from WORK/stage1.pt")
    parser.add_argument("--resume", action="store_true", help="begin stage 2 from WORK/trained.pt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    work: Path = arguments.work
    model = LanguageModel(arguments.model, RANK, ALPHA, torch.bfloat16)
    engine = _core.Engine(str(arguments.model), n_ctx=512, n_threads=1)
    encoder = Encoder(packages.whisper_file(work / "wheels"))
    spread = float(model.table.float().std())
    projector = Projector(encoder, HIDDEN, model.width, spread)
    data = Features(work / "features-train")
    print(len(data), "variants;", sum(p.numel() for p in projector.parameters()), "projector parameters", flush=True)
    if arguments.skip_1 or arguments.resume:
        trained = torch.load(work / ("trained.pt" if arguments.resume else "stage1.pt"))
        projector.load_state_dict(trained["projector"])
        model.load_state_dict(trained["adapters"])
    else:
        heard = data.behind(projector, work / "features-heard.npy")
        print("encoded", flush=True)
        stage1(projector, model, engine, heard, Clock(arguments.minutes_1, arguments.steps_1))
        store(work / "stage1.pt", projector, model)
    asker = Asker(model, engine, random.Random(arguments.seed + 2), work / "plain.json")
    stage2(projector, model, asker, data, Clock(arguments.minutes_2, arguments.steps_2), work / "trained.pt")


if __name__ == "__main__":
    main()
