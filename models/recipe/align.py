"""Stage 1: audio tokens are drawn towards the text embeddings of what is heard, without the language model."""

from __future__ import annotations

import collections
import random
import time

import numpy as np
import qa
import torch
import torch.nn.functional as F
from batches import Features, Sampler
from labels import KIND, KINDS, LABELS, close, other_kinds
from language import LanguageModel
from projector import Projector
from schedule import Clock, advance, optimizer
from torch import Tensor, nn
from whisper import WIDTH, Encoder

from mata_cpp import _core

TASKS = ("sound", "digit", "foreign", "text", "first", "count")
NAMES = {"sound": list(LABELS), "kind": list(KINDS), "digit": list(qa.DIGITS), "language": list(qa.LANGUAGES)}
SHARES = {"sound": 1.0, "kind": 0.5, "digit": 1.0, "language": 0.5}
"""What each loss counts."""


class Words:
    """Directions of words in the space of the text embeddings, centred, length 1."""

    def __init__(self, model: LanguageModel, engine: _core.Engine) -> None:
        self.table = model.table.float()
        self.centre = self.table.mean(0)
        self.engine = engine

    def of(self, names: list[str]) -> Tensor:
        rows = [self.table[self.engine.tokenize(" " + name)].mean(0) - self.centre for name in names]
        return F.normalize(torch.stack(rows), dim=-1)


def truth(what: dict, name: str) -> str | None:
    """What a clip is by one of NAMES, or None."""
    if name == "kind":
        return KIND[what["sound"]] if "sound" in what else "speech" if "language" in what else None
    if name == "sound" and "language" in what:
        return "speech"
    return what.get(name)


class Heads(nn.Module):
    """Helpers of stage 1, thrown away after it: classifiers on the mean of the encoder's output and of the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.early = nn.ModuleDict({name: nn.Linear(WIDTH, len(known)) for name, known in NAMES.items()})
        self.late = nn.ModuleDict({name: nn.Linear(width, len(known)) for name, known in NAMES.items()})
        self.blank, self.scale = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(2.5))


def pooled(near: Tensor, real: Tensor) -> Tensor:
    """[B, N, K] -> [B, K]: what most tokens say, and what one token says clearly."""
    weight = real.float() / real.sum(1, keepdim=True)
    return (near * weight[..., None]).sum(1) * 0.7 + 0.3 * near.masked_fill(~real[..., None], -1e4).amax(1)


class Aligner:
    def __init__(self, encoder: Encoder, projector: Projector, model: LanguageModel, engine: _core.Engine) -> None:
        self.encoder, self.projector, self.engine = encoder, projector, engine
        self.words = Words(model, engine)
        self.targets = {name: self.words.of(known) for name, known in NAMES.items()}
        self.heads = Heads(model.width)
        self.size = float(self.words.table.square().mean().sqrt())

    def hear(self, mels: Tensor, lengths: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Mean of the encoder's output [B, 384], tokens [B, N, 576] and which are real [B, N]."""
        with torch.autocast("cpu", torch.bfloat16):
            frames, lengths = self.encoder.before(mels, lengths)
            heard = self.projector.heard(frames, lengths)
            tokens, real = self.projector.project(heard, lengths, drop)
        return heard.float().sum(1) / lengths[:, None], tokens.float(), real

    def loss(self, data: Features, index: list[int], rng: random.Random, seen: dict[str, list[float]]) -> Tensor:
        mean, raw, real = self.hear(*data.batch(index, rng), drop=0.1)
        tokens = F.normalize(raw - self.words.centre, dim=-1)
        weight = real.float() / real.sum(1, keepdim=True)
        middle = (raw * weight[..., None]).sum(1)
        scale, total = self.heads.scale.exp(), []
        for name, known in NAMES.items():
            rows, wanted = [], []
            for row, i in enumerate(index):
                value = truth(data.about[i], name)
                if value is not None:
                    rows.append(row)
                    wanted.append(known.index(value))
            if not rows:
                continue
            aim, share = torch.tensor(wanted), SHARES[name] * len(rows) / len(index)
            near = pooled(tokens[rows] @ self.targets[name].T * scale, real[rows])
            early, late = (
                head[name](F.dropout(x[rows], 0.3)) for head, x in ((self.heads.early, mean), (self.heads.late, middle))
            )
            losses = [F.cross_entropy(logits, aim, label_smoothing=0.1) for logits in (near, early, late)]
            seen[name].append(float(losses[0].detach()))
            total.append(share * (losses[0] + 0.4 * losses[1] + 0.4 * losses[2]))
        size = raw[real].square().mean(-1).clamp_min(1e-8).sqrt() / self.size
        total.append(0.02 * size.log().square().mean())  # as long as the embeddings of text
        total += self._halves(data, index, tokens, real, scale, seen)
        total += self._spelt(data, index, tokens, real, scale, seen)
        return torch.stack(total).sum()

    def _halves(
        self, data: Features, index: list[int], tokens: Tensor, real: Tensor, scale: Tensor, seen: dict
    ) -> list:
        """One sound after another: the first and the last third of the tokens lie near different words."""
        rows = [row for row, i in enumerate(index) if "first" in data.about[i]]
        if not rows:
            return []
        losses = []
        for part, key in ((0, "first"), (1, "second")):
            here = torch.zeros_like(real[rows])
            for k, row in enumerate(rows):
                n = int(real[row].sum())
                third = max(1, n // 3)
                here[k, slice(0, third) if part == 0 else slice(n - third, n)] = True
            near = pooled(tokens[rows] @ self.targets["sound"].T * scale, here)
            aim = torch.tensor([NAMES["sound"].index(data.about[index[row]][key]) for row in rows])
            losses.append(F.cross_entropy(near, aim, label_smoothing=0.1))
        seen["order"].append(float(losses[0].detach()))
        return [0.5 * loss * len(rows) / len(index) for loss in losses]

    def _spelt(self, data: Features, index: list[int], tokens: Tensor, real: Tensor, scale: Tensor, seen: dict) -> list:
        """Phrases: CTC over the text's tokens, each a direction of its own."""
        texts = [(row, data.about[i]["text"]) for row, i in enumerate(index) if data.about[i].get("text")]
        if not texts:
            return []
        wanted = [self.engine.tokenize(" " + text) for _, text in texts]
        rows = [row for row, _ in texts]
        logits = torch.cat(
            [self.heads.blank.expand(len(rows), tokens.shape[1], 1), tokens[rows] @ self._vocabulary(data).T * scale],
            -1,
        )
        loss = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            torch.tensor([self._place[t] for row in wanted for t in row]),
            real[rows].sum(1),
            torch.tensor([len(row) for row in wanted]),
            zero_infinity=True,
        )
        seen["words"].append(float(loss.detach()))
        return [0.6 * loss * len(rows) / len(index)]

    def _vocabulary(self, data: Features) -> Tensor:
        if not hasattr(self, "_spoken"):
            pieces = sorted({t for w in data.about if w.get("text") for t in self.engine.tokenize(" " + w["text"])})
            self._place = {token: i + 1 for i, token in enumerate(pieces)}
            self._spoken = F.normalize(self.words.table[pieces] - self.words.centre, dim=-1)
        return self._spoken

    @torch.no_grad()
    def steer(self, data: Features) -> dict[str, float]:
        """Shares right on clips from sources never trained on: name and kind among four, by nearest words."""
        self.projector.eval()
        rng, hits = random.Random(3), collections.defaultdict(list)
        order = sorted(range(len(data)), key=lambda i: data.about[i]["frames"])
        for at in range(0, len(order), 16):
            index = order[at : at + 16]
            _, tokens, real = self.hear(*data.batch(index))
            tokens = F.normalize(tokens - self.words.centre, dim=-1)
            near = {name: pooled(tokens @ aim.T, real) for name, aim in self.targets.items()}
            for row, i in enumerate(index):
                what = data.about[i]
                group = what.get("group", "dev")
                if "sound" in what:
                    label, kind = what["sound"], KIND[what["sound"]]
                    others = [name for name in LABELS if name != label and name not in close(label)]
                    kinds = other_kinds(label)
                    for name, right, pool in (("sound", label, others), ("kind", kind, kinds)):
                        score = dict(zip(NAMES[name], near[name][row].tolist(), strict=True))
                        for _ in range(5):
                            offered = [right, *rng.sample(pool, 3)]
                            hits[f"{group} {name} of 4"].append(max(offered, key=score.__getitem__) == right)
                    best = NAMES["sound"][int(near["sound"][row].argmax())]
                    hits[f"{group} open"].append(best == label)
                elif "digit" in what:
                    hits[f"{group} digit"].append(NAMES["digit"][int(near["digit"][row].argmax())] == what["digit"])
        self.projector.train()
        return {name: round(float(np.mean(values)), 3) for name, values in sorted(hits.items())}

    def train(
        self, data: Features, held: Features, clock: Clock, rng: random.Random, rates: tuple[float, float]
    ) -> None:
        sampler = Sampler(data, rng)
        last = [*self.projector.blocks.parameters(), *self.projector.norm.parameters()]
        rest = [p for p in self.projector.parameters() if all(p is not q for q in last)]
        opt = optimizer([([*rest, *self.heads.parameters()], rates[0], 0.05), (last, rates[1], 0.05)])
        seen: dict[str, list[float]] = collections.defaultdict(list)
        clock.begun = time.monotonic()
        while clock.share() < 1:
            loss = self.loss(data, sampler.batch(24, list(TASKS)), rng, seen)
            advance(opt, clock, loss, [*last, *rest, *self.heads.parameters()])
            if clock.step % 100 == 0:
                mean = {name: round(float(np.mean(values[-100:])), 3) for name, values in seen.items()}
                print(f"stage 1 step {clock.step} {time.monotonic() - clock.begun:.0f} s {mean}", flush=True)
            if clock.step % 200 == 0:
                print("  ", self.steer(held), flush=True)
        print("  ", self.steer(held), flush=True)
