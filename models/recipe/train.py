"""Step 4: train.  Stage 1 teaches the audio tokens to lie near the words for what is heard, without the language model;
stage 2 asks questions through the language model.

    python train.py --work WORK --model SmolLM2-135M-Instruct.Q4_1.gguf [--minutes-1 8] [--minutes-2 50]

Writes WORK/stage1.pt and WORK/trained.pt.  The stop is by the clock; --steps-1 and --steps-2 make a run repeatable.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import time
from pathlib import Path

import batches
import numpy as np
import packages
import plain
import qa
import torch
import torch.nn.functional as F
from align import Aligner
from batches import Features, Sampler
from language import LanguageModel
from projector import Projector
from schedule import Clock, advance, optimizer
from torch import Tensor
from whisper import Encoder

from mata_cpp import _core

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
BEFORE = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
AFTER, END, NEXT = "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", "\n<|im_start|>user\n"
HIDDEN, RANK, ALPHA = 768, 8, 16.0
RATES_1 = 1.5e-3, 2.5e-4
"""Stage 1: projector, encoder blocks."""
RATES_2, RATES_ON = (5e-4, 1e-4, 1e-3), (2e-4, 4e-5, 1e-3)
"""Stage 2, and what goes on from it (--resume): projector, encoder blocks, adapters."""


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
        weight = torch.zeros(batch, length)  # a long answer counts more than a short one, but not by its length
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
                        weight[row, at + j - 1] = sum(learnt) ** -0.5
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
        losses = F.cross_entropy(self.model.logits(hidden[chosen]), target[chosen], reduction="none")
        return (losses * weight[chosen]).sum() / weight.sum()


def stage2(
    encoder: Encoder,
    projector: Projector,
    model: LanguageModel,
    asker: Asker,
    data: Features,
    clock: Clock,
    save: Path,
    rates: tuple[float, float, float],
) -> None:
    """Writes what is learnt to save.  rates: of projector, encoder blocks and adapters."""
    rng = asker.rng
    sampler = Sampler(data, rng)
    adapters = [p for p in model.parameters() if p.requires_grad]
    last = [*projector.blocks.parameters(), *projector.norm.parameters()]
    rest = [p for p in projector.parameters() if all(p is not q for q in last)]
    parameters = [*adapters, *last, *rest]
    opt = optimizer([(rest, rates[0], 0.05), (last, rates[1], 0.05), (adapters, rates[2], 0.0)])
    losses: collections.deque[float] = collections.deque(maxlen=100)
    clips = asked = 0
    clock.begun = time.monotonic()
    while clock.share() < 1:
        if clock.step % 12 == 11:
            branches = [[asker.branch([rng.choice(asker.plain)], clip=False) for _ in range(2)] for _ in range(4)]
            advance(opt, clock, 0.5 * asker.loss(None, None, branches), parameters)
            continue
        index = sampler.batch(8)
        with torch.autocast("cpu", torch.bfloat16):
            audio, real = projector(*encoder.before(*data.batch(index, rng)), drop=0.1)
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
    parser.add_argument("--minutes-1", type=float, default=25)
    parser.add_argument("--minutes-2", type=float, default=40)
    parser.add_argument("--steps-1", type=int, default=0)
    parser.add_argument("--steps-2", type=int, default=0)
    parser.add_argument("--skip-1", action="store_true", help="begin stage 2 from WORK/stage1.pt")
    parser.add_argument("--resume", action="store_true", help="begin stage 2 from WORK/trained.pt")
    parser.add_argument("--sounds", type=float, help="weight of the clips with one sound in stage 2 (batches.WEIGHTS)")
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
        clock, rng = Clock(arguments.minutes_1, arguments.steps_1), random.Random(arguments.seed + 1)
        aligner = Aligner(encoder, projector, model, engine)
        aligner.train(data, Features(work / "features-dev"), clock, rng, RATES_1)
        store(work / "stage1.pt", projector, model)
    asker = Asker(model, engine, random.Random(arguments.seed + 2), work / "plain.json")
    clock = Clock(arguments.minutes_2, arguments.steps_2)
    if arguments.sounds is not None:
        batches.WEIGHTS["sound"] = arguments.sounds
    rates = RATES_ON if arguments.resume else RATES_2
    stage2(encoder, projector, model, asker, data, clock, work / "trained.pt", rates)


if __name__ == "__main__":
    main()
