"""Stage 1: audio tokens are drawn towards the text embeddings of what is heard, without the language model."""

from __future__ import annotations

import collections
import itertools
import random
import time
from dataclasses import dataclass

import numpy as np
import qa
import torch
import torch.nn.functional as F
from batches import Batch, Features, Sampler
from edit_distance import edit_distance
from labels import KIND, KINDS, LABELS, WORDS, close, other_kinds
from language import LanguageModel
from projector import STACK, Projector
from schedule import Clock, advance, optimizer
from torch import Tensor, nn
from whisper import WIDTH, Encoder

from mata_cpp import _core

SHARES = {
    "sound": 0.25,
    "digit": 0.05,
    "foreign": 0.03,
    "text": 0.53,
    "count": 0.05,
    "first": 0.03,
    "pitch": 0.02,
    "loudness": 0.02,
    "tempo": 0.02,
}
"""Of the clips."""
COUNTS = qa.DIGITS[1:6]
NAMES: dict[str, tuple[str, ...]] = {
    "sound": LABELS,
    "kind": KINDS,
    "digit": qa.DIGITS,
    "language": qa.LANGUAGES,
    "count": COUNTS,
    **qa.CHANGES,
}
WEIGHTS = {"sound": 1.0, "kind": 0.7, "digit": 1.0, "language": 0.5}
"""What each loss counts; 1.5 where it is not named."""
WORD_WEIGHT = 1.5
"""The same for the words of phrases."""
WHOLE_CLIP = frozenset(("count", *qa.CHANGES))
"""Told by the clip as a whole: no single token has to say it."""
QUIET = 4.0
"""Frames so many decades below the loudest are silence."""


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
    if name == "count":
        return qa.DIGITS[what["count"]] if "count" in what else None
    if name in qa.CHANGES:
        return qa.CHANGES[name][0 if what[name] == "up" else 1] if name in what else None
    return what.get(name)


class Heads(nn.Module):
    """What only training needs.  Classifiers of stage 1 on the mean of the encoder's output (early) and of the tokens
    (late); scales of the nearness to words and to pieces of words; how near silence is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.early = nn.ModuleDict({name: nn.Linear(WIDTH, len(known)) for name, known in NAMES.items()})
        self.late = nn.ModuleDict({name: nn.Linear(width, len(known)) for name, known in NAMES.items()})
        self.blank, self.scale = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(2.5))
        self.piece_scale = nn.Parameter(torch.tensor(3.0))


def pooled(near: Tensor, real: Tensor, whole: bool = False) -> Tensor:
    """[B, N, K] -> [B, K]: what most tokens say, and (unless whole) what one token says clearly."""
    weight = real.float() / real.sum(1, keepdim=True)
    mean = (near * weight[..., None]).sum(1)
    return mean if whole else mean * 0.7 + 0.3 * near.masked_fill(~real[..., None], -1e4).amax(1)


@dataclass
class Heard:
    """mean: of the encoder's output [B, 384]; raw: tokens [B, N, 576]; real: which of them are no padding [B, N]; cuts:
    as in Batch.
    """

    mean: Tensor
    raw: Tensor
    real: Tensor
    cuts: list[int]


class Aligner:
    """data: what is trained on; its labels are the ones that the tokens are drawn to."""

    def __init__(
        self,
        encoder: Encoder,
        projector: Projector,
        model: LanguageModel,
        engine: _core.Engine,
        data: Features,
    ) -> None:
        self.encoder, self.projector, self.engine, self.data = encoder, projector, engine, data
        self.words = Words(model, engine)
        self.targets = {name: self.words.of(list(known)) for name, known in NAMES.items()}
        self.wordings = torch.stack([self.words.of(list(WORDS[label])) for label in LABELS])
        there = {what["sound"] for what in data.about if "sound" in what}
        self.unknown = torch.tensor([label not in there for label in LABELS])
        self.heads = Heads(model.width)
        self.size = float(self.words.table.square().mean().sqrt())
        known = (word for what in data.about if what.get("text") for word in what["text"].split())
        self.pieces_of = {word: engine.tokenize(" " + word) for word in sorted(set(known))}
        self.pieces = sorted({token for tokens in self.pieces_of.values() for token in tokens})
        self.piece_index = {token: i + 1 for i, token in enumerate(self.pieces)}
        self.piece_directions = F.normalize(self.words.table[self.pieces] - self.words.centre, dim=-1)

    def hear(self, batch: Batch, drop: float = 0.0) -> Heard:
        with torch.autocast(batch.mels.device.type, torch.bfloat16):
            frames, lengths = self.encoder.before(batch.mels, batch.lengths)
            heard = self.projector.heard(frames, lengths)
            tokens, real = self.projector.project(heard, lengths, batch.rows, batch.nearest, drop)
        return Heard(heard.float().sum(1) / lengths[:, None], tokens.float(), real, batch.cuts)

    def _some_words(self, rng: random.Random) -> Tensor:
        """A direction for each label: of the label itself, sometimes of another wording, drawn anew for each batch."""
        chosen = [rng.randrange(1, len(words)) if rng.random() < 0.35 else 0 for words in WORDS.values()]
        return self.wordings[torch.arange(len(LABELS)), torch.tensor(chosen)]

    def loss(
        self, index: list[int], heard: Heard, rng: random.Random, seen: dict[str, list[float]], helped: bool = True
    ) -> Tensor:
        """helped: with the classifiers."""
        raw, real = heard.raw, heard.real
        tokens = F.normalize(raw - self.words.centre, dim=-1)
        weight = real.float() / real.sum(1, keepdim=True)
        middle = (raw * weight[..., None]).sum(1) / self.size
        scale, total = self.heads.scale.exp(), []
        for name, known in NAMES.items():
            rows, wanted = [], []
            for row, i in enumerate(index):
                value = truth(self.data.about[i], name)
                if value is not None:
                    rows.append(row)
                    wanted.append(known.index(value))
            if not rows:
                continue
            aim, share = torch.tensor(wanted), WEIGHTS.get(name, 1.5) * len(rows) / len(index)
            directions = self._some_words(rng) if name == "sound" else self.targets[name]
            near = pooled(tokens[rows] @ directions.T * scale, real[rows], name in WHOLE_CLIP)
            losses = [self._entropy(name, near, aim)]
            if helped:
                pairs = (self.heads.early, heard.mean), (self.heads.late, middle)
                losses += [0.4 * self._entropy(name, head[name](F.dropout(x[rows], 0.3)), aim) for head, x in pairs]
            seen[name].append(float(losses[0].detach()))
            total.append(share * torch.stack(losses).sum())
        size = raw[real].square().mean(-1).clamp_min(1e-8).sqrt() / self.size
        total.append(0.3 * size.log().square().mean())  # as long as the embeddings of text
        seen["size"].append(float(size.detach().mean()))
        total += self._halves(index, tokens, real, scale, seen)
        total += self._word_loss(index, heard, tokens, seen)
        return torch.stack(total).sum()

    def _entropy(self, name: str, logits: Tensor, aim: Tensor) -> Tensor:
        if name != "sound":
            return F.cross_entropy(logits, aim, label_smoothing=0.1)
        logits = logits.masked_fill(self.unknown, -1e4).log_softmax(-1)
        known = logits.masked_fill(self.unknown, 0).sum(-1) / (~self.unknown).sum()
        return -(0.9 * logits.gather(1, aim[:, None])[:, 0] + 0.1 * known).mean()

    def _halves(
        self, index: list[int], tokens: Tensor, real: Tensor, scale: Tensor, seen: dict[str, list[float]]
    ) -> list[Tensor]:
        """One sound after another: the first and the last third of the tokens lie near different words."""
        rows = [row for row, i in enumerate(index) if "first" in self.data.about[i]]
        if not rows:
            return []
        losses = []
        for part, key in enumerate(("first", "second")):
            here = thirds(real[rows])[part]
            near = pooled(tokens[rows] @ self.targets["sound"].T * scale, here)
            aim = torch.tensor([LABELS.index(self.data.about[index[row]][key]) for row in rows])
            losses.append(self._entropy("sound", near, aim))
        seen["order"].append(float(losses[0].detach()))
        return [0.7 * loss * len(rows) / len(index) for loss in losses]

    def _piece_logits(self, tokens: Tensor) -> Tensor:
        """Directions of tokens [..., 576] -> [..., 1 + pieces]: silence, and which piece of a word is near."""
        near = tokens @ self.piece_directions.T * self.heads.piece_scale.exp()
        return torch.cat([self.heads.blank.expand(*near.shape[:-1], 1), near], -1)

    def _word_loss(self, index: list[int], heard: Heard, tokens: Tensor, seen: dict[str, list[float]]) -> list[Tensor]:
        """Phrases: each token lies near the pieces of words that are spoken in its 0.2 s, for the share of each."""
        rows = [row for row, i in enumerate(index) if self.data.about[i].get("word_starts")]
        if not rows:
            return []
        aims = torch.zeros(len(rows), tokens.shape[1], len(self.pieces) + 1)
        for number, row in enumerate(rows):
            said = self._frame_labels(index[row], heard.cuts[row])
            place = torch.arange(len(said)) // (2 * STACK)
            aims[number].index_put_((place, said), torch.tensor(1.0), accumulate=True)
        here = heard.real[rows] & (aims.sum(-1) > 0)
        losses = -(
            aims[here] / aims[here].sum(-1, keepdim=True) * self._piece_logits(tokens[rows][here]).log_softmax(-1)
        )
        loss = losses.sum(-1).mean()
        seen["words"].append(float(loss.detach()))
        return [WORD_WEIGHT * loss * len(rows) / len(index)]

    def _frame_labels(self, i: int, cut: int) -> Tensor:
        """The piece of a word in each mel frame of a clip that lost its first frames (cut < 0: got silence)."""
        what = self.data.about[i]
        pieces = [[self.piece_index[token] for token in self.pieces_of[word]] for word in what["text"].split()]
        said = spoken_pieces(self.data.level(i), what["word_starts"], pieces)
        return said[cut:] if cut > 0 else F.pad(said, (-cut, 0))

    @torch.no_grad()
    def steer(self, data: Features) -> dict[str, float]:
        """Shares right on the development clips, by nearest words: name and kind among four, the name among all, the
        digit, how many, which of two came first, what changes.  For phrases the error rate in pieces of words, where
        each token says one at most: two in 0.2 s, and one twice in a row, are errors.
        """
        self.projector.eval()
        rng, hits = random.Random(3), collections.defaultdict(list)
        order = sorted(range(len(data)), key=lambda i: data.about[i]["frames"])
        for at in range(0, len(order), 16):
            index = order[at : at + 16]
            heard = self.hear(data.batch(index))
            tokens = F.normalize(heard.raw - self.words.centre, dim=-1)
            near = {name: pooled(tokens @ aim.T, heard.real, name in WHOLE_CLIP) for name, aim in self.targets.items()}
            early, late = (pooled(tokens @ self.targets["sound"].T, part) for part in thirds(heard.real))
            for row, i in enumerate(index):
                what = data.about[i]
                if "sound" in what:
                    label, kind = what["sound"], KIND[what["sound"]]
                    others = [name for name in LABELS if name != label and name not in close(label)]
                    kinds = other_kinds(label)
                    for name, right, pool in (("sound", label, others), ("kind", kind, kinds)):
                        score = dict(zip(NAMES[name], near[name][row].tolist(), strict=True))
                        for _ in range(5):
                            offered = [right, *rng.sample(pool, 3)]
                            hits[f"{name} of 4"].append(max(offered, key=score.__getitem__) == right)
                    best = LABELS[int(near["sound"][row].argmax())]
                    hits["open"].append(best == label)
                elif "first" in what:
                    one, two = (LABELS.index(what[key]) for key in ("first", "second"))
                    gain = (early - late)[row]
                    hits["order"].append(float(gain[one]) > float(gain[two]))
                elif what.get("text"):
                    best = self._piece_logits(tokens[row][heard.real[row]]).argmax(-1).tolist()
                    said = [piece for piece, _ in itertools.groupby(best) if piece]
                    right = [self.engine.tokenize(" " + word) for word in what["text"].split()]
                    reference = [self.piece_index.get(token, -1) for word in right for token in word]
                    hits["piece error rate"].append(edit_distance(said, reference) / len(reference))
                else:
                    for name in ("digit", "count", *qa.CHANGES):
                        value = truth(what, name)
                        if value is not None:
                            hits[name].append(NAMES[name][int(near[name][row].argmax())] == value)
        self.projector.train()
        return {name: round(float(np.mean(values)), 3) for name, values in sorted(hits.items())}

    def train(self, held: Features, clock: Clock, rng: random.Random, rates: tuple[float, float]) -> None:
        """rates: of projector and helpers, and of the encoder's blocks."""
        sampler = Sampler(self.data, rng, SHARES)
        rest, last = self.projector.groups()
        opt = optimizer([([*rest, *self.heads.parameters()], rates[0], 0.05), (last, rates[1], 0.05)])
        seen: dict[str, list[float]] = collections.defaultdict(list)
        clock.begun = time.monotonic()
        while clock.share() < 1:
            index = sampler.batch(24)
            heard = self.hear(self.data.batch(index, rng), drop=0.15)
            advance(opt, clock, self.loss(index, heard, rng, seen), [*last, *rest, *self.heads.parameters()])
            if clock.step % 100 == 0:
                mean = {name: round(float(np.mean(values[-100:])), 3) for name, values in seen.items()}
                print(f"stage 1 step {clock.step} {time.monotonic() - clock.begun:.0f} s {mean}", flush=True)
            if clock.step % 300 == 0:
                print("  ", self.steer(held), flush=True)
        print("  ", self.steer(held), flush=True)


def thirds(real: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the real tokens [B, N] are the first third, and which the last."""
    n, place = real.sum(1, keepdim=True), torch.arange(real.shape[1])[None]
    third = (n // 3).clamp_min(1)
    return real & (place < third), real & (place >= n - third)


def spoken_pieces(level: Tensor, starts: list[int], pieces: list[list[int]]) -> Tensor:
    """What is spoken in each frame of level [80, L]: 0 in silence, else one of the word's pieces (1 and up), which
    share the word's time.
    """
    loudest = level.amax(0)
    loud = loudest > loudest.max() - QUIET
    said = torch.zeros(level.shape[1], dtype=torch.long)
    for word, begin, end in zip(pieces, starts, [*starts[1:], level.shape[1]], strict=True):
        here = begin + loud[begin:end].nonzero()[:, 0]
        said[here] = torch.tensor(word)[torch.arange(len(here)) * len(word) // max(1, len(here))]
    return said
