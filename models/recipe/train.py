"""Step 5: train.  Stage 1 teaches the audio tokens to lie near the words for what is heard, without the language model;
stages 2 and 3 ask questions through the language model.

    python train.py --work WORK [--steps-1 3700] [--steps-2 280] [--steps-3 2000]

Writes WORK/stage1.pt and WORK/trained.pt.  Without --steps-1, -2 and -3, which make a run repeatable,
it stops by the clock.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import align
import numpy as np
import packages
import plain
import qa
import torch
import torch.nn.functional as F
import yamnet
from align import Aligner, Words
from batches import Features, Sampler
from found import Names
from language import LanguageModel, Layout
from projector import Projector
from schedule import Clock, advance, optimizer
from torch import Tensor
from whisper import Encoder

from mata_cpp import _core
from mata_cpp.files.resolve import resolve

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
BEFORE = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
AFTER, END, NEXT = "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", "\n<|im_start|>user\n"
HIDDEN, RANK, ALPHA = 512, 32, 32.0
HEADS = "scale", "blank", "piece_scale"
"""What of stage 1's helpers later stages go on training."""
SHARES = {
    "sound": 0.40,
    "digit": 0.05,
    "foreign": 0.04,
    "text": 0.26,
    "count": 0.09,
    "first": 0.07,
    "pitch": 0.03,
    "loudness": 0.03,
    "tempo": 0.03,
}
"""Of the clips in stage 2."""
LAST = {
    "sound": 0.21,
    "digit": 0.055,
    "foreign": 0.015,
    "text": 0.61,
    "count": 0.05,
    "first": 0.03,
    "pitch": 0.01,
    "loudness": 0.01,
    "tempo": 0.01,
}
"""The same in stage 3: reading what is said takes longer to learn than the names of sounds."""
BESIDE = 0.2
"""What stage 1's loss counts beside the answers in stages 2 and 3."""
Rates = tuple[float, float, float]
RATES_1 = 1.5e-3, 2.5e-4
"""Stage 1: projector, encoder blocks."""
RATES_2 = 3e-4, 6e-5, 1e-3
"""Stage 2: projector, encoder blocks, adapters."""
RATES_3 = 4e-4, 1e-4, 8e-4
"""The same in stage 3."""


Branch = tuple[list[int], list[bool]]


@dataclass
class Laid:
    """Packed sequences: token ids (0 where audio goes), positions, where audio goes, what each token is followed by
    (-100 where that is not learnt), what that counts, all [T]; and how the sequences lie in them.
    """

    ids: Tensor
    positions: Tensor
    slots: Tensor
    target: Tensor
    weight: Tensor
    layout: Layout


class Asker:
    """Sequences: system and user opening, the clip, then questions that do not see one another."""

    def __init__(self, model: LanguageModel, engine: _core.Engine, rng: random.Random, cache: Path) -> None:
        self.model, self.rng = model, rng
        self.tokenize = engine.tokenize
        self.before = engine.tokenize(BEFORE)
        if not cache.exists():
            cache.write_text(json.dumps(plain.answers(engine, BEFORE, AFTER, END)))
        self.plain: list[tuple[str, str]] = [(asked, said) for asked, said in json.loads(cache.read_text())]
        print(len(self.plain), "plain questions", flush=True)

    def branch(self, pairs: list[qa.QA], clip: bool = True) -> Branch:
        """Tokens of one conversation, behind the clip or without one, and which of them are learnt."""
        tokens: list[int] = []
        learnt: list[bool] = []
        for turn, (question, answer) in enumerate(pairs):
            opening = ("\n" if clip else "") if turn == 0 else NEXT
            asked = self.tokenize(opening + question + AFTER)
            said = self.tokenize(answer + END if clip else answer)
            tokens += asked + said
            learnt += [False] * len(asked) + [True] * len(said)
        return tokens, learnt

    def laid(self, heard: list[int], rows: list[list[Branch]]) -> Laid:
        """heard: audio tokens of each row's clip; rows: the conversations of each."""
        head = len(self.before)
        ids, positions = list(self.before), list(range(head))
        slots: list[int] = []
        target, weight = [-100] * head, [0.0] * head
        place: list[list[int]] = []
        part: list[list[int]] = []
        for n, conversations in zip(heard, rows, strict=True):
            slots += range(len(ids), len(ids) + n)
            where = [*range(head), *range(len(ids), len(ids) + n + sum(len(tokens) for tokens, _ in conversations))]
            parts = [0] * (head + n)
            ids += [0] * n
            positions += range(head, head + n)
            target += [-100] * n
            weight += [0.0] * n
            for number, (tokens, learnt) in enumerate(conversations, 1):
                ids += tokens
                positions += range(head + n, head + n + len(tokens))
                parts += [number] * len(tokens)
                target += [*(t if known else -100 for t, known in zip(tokens[1:], learnt[1:], strict=True)), -100]
                # a long answer counts more than a short one, but not by its length
                weight += [sum(learnt) ** -0.5] * len(tokens)
            place.append(where)
            part.append(parts)
        length = max(map(len, place))
        real = torch.tensor([[1] * len(where) + [0] * (length - len(where)) for where in place], dtype=torch.bool)
        parts_ = torch.tensor([parts + [-1] * (length - len(parts)) for parts in part])
        own = real.clone()
        own[1:, :head] = False
        place_ = torch.tensor([where + [0] * (length - len(where)) for where in place])
        back = torch.empty(len(ids), dtype=torch.long)
        back[place_[own]] = own.flatten().nonzero()[:, 0]
        mine, yours, order = parts_[:, :, None], parts_[:, None, :], torch.arange(length)
        mask = (order[:, None] >= order) & (yours >= 0) & ((yours == 0) | (yours == mine))
        layout = Layout(head, place_, back, own, mask | torch.eye(length, dtype=torch.bool))
        return Laid(
            torch.tensor(ids),
            torch.tensor(positions),
            torch.tensor(slots, dtype=torch.long),
            torch.tensor(target),
            torch.tensor(weight),
            layout,
        )

    def loss(self, audio: Tensor, real: Tensor, rows: list[list[Branch]]) -> Tensor:
        """Cross-entropy of the answers.  audio [B, N, width], real [B, N]; rows: conversations of each clip."""
        laid = self.laid(real.sum(1).tolist(), rows)
        x = self.model.embed(laid.ids).index_copy(0, laid.slots, audio[real].to(self.model.table.dtype))
        hidden = self.model(x, laid.positions, laid.layout)
        chosen = laid.target >= 0
        losses = F.cross_entropy(self.model.logits(hidden[chosen]), laid.target[chosen], reduction="none")
        weight = laid.weight[chosen]
        return (losses * weight).sum() / weight.sum()

    def kept(self, n: int) -> Tensor:
        """How far the adapters move what the language model says without a clip: Kullback-Leibler, nats a token."""
        rows = [[self.branch([self.rng.choice(self.plain)], clip=False)] for _ in range(n)]
        laid = self.laid([0] * n, rows)
        x, chosen = self.model.embed(laid.ids), laid.target >= 0
        with torch.no_grad(), self.model.bare():
            aim = self.model.logits(self.model(x, laid.positions, laid.layout)[chosen]).log_softmax(-1)
        said = self.model.logits(self.model(x, laid.positions, laid.layout)[chosen]).log_softmax(-1)
        return F.kl_div(said, aim, reduction="batchmean", log_target=True)


def stage2(
    aligner: Aligner,
    model: LanguageModel,
    asker: Asker,
    classes: yamnet.Yamnet,
    clock: Clock,
    save: Path,
    rates: Rates,
    shares: dict[str, float],
) -> None:
    """Writes what is learnt to save.  rates: of projector, encoder blocks and adapters; shares: of the clips."""
    rng, data = asker.rng, aligner.data
    sampler, more = Sampler(data, rng, shares), Sampler(data, rng, align.SHARES)
    often = sampler.often()
    adapters = [p for p in model.parameters() if p.requires_grad]
    rest, last = aligner.projector.groups()
    rest += [getattr(aligner.heads, name) for name in HEADS]
    parameters = [*adapters, *last, *rest]
    opt = optimizer([(rest, rates[0], 0.05), (last, rates[1], 0.05), (adapters, rates[2], 0.0)])
    losses: dict[str, collections.deque[float]] = collections.defaultdict(lambda: collections.deque(maxlen=400))
    seen: dict[str, list[float]] = collections.defaultdict(list)

    def scores(i: int) -> list[float]:
        return classes.scores(data.rows(i)).amax(0).tolist()

    some = rng.sample(range(len(data)), min(2000, len(data)))
    names = Names(classes.names, np.mean([scores(i) for i in some], axis=0).tolist())
    clips = asked = 0
    clock.begun = time.monotonic()
    while clock.share() < 1:
        index = sampler.batch(32)
        heard = aligner.hear(data.batch(index, rng), drop=0.15)
        model.merge()
        rows = []
        for i in index:
            label = data.about[i].get("sound")
            found = names.about(scores(i), label) if label else None
            said = bool(data.about[i].get("text"))
            pairs = qa.questions(data.about[i], 1 if said and rng.random() < 0.9 else 2, rng, often, found)
            conversations = [[pair] for pair in pairs]
            if len(pairs) == 2 and not said and rng.random() < 0.1:
                conversations = [pairs]
            rows.append([asker.branch(conversation) for conversation in conversations])
            asked += len(pairs)
        clips += len(index)
        loss = asker.loss(heard.raw, heard.real, rows)
        losses["answers"].append(float(loss.detach()))
        loss = loss + BESIDE * aligner.loss(index, heard, rng, seen, helped=False)
        index = more.batch(20)
        heard = aligner.hear(data.batch(index, rng), drop=0.15)
        loss = loss + BESIDE * aligner.loss(index, heard, rng, seen, helped=False)
        if clock.step % 5 == 4:
            kept = asker.kept(6)
            losses["text"].append(float(kept.detach()))
            loss = loss + 1.5 * kept
        advance(opt, clock, loss, parameters)
        if clock.step % 50 == 0:
            spent = time.monotonic() - clock.begun
            means = {name: round(float(np.mean(values)), 4) for name, values in losses.items()}
            near = {name: round(float(np.mean(values[-100:])), 3) for name, values in seen.items()}
            print(f"asking, step {clock.step} {spent:.0f} s clips {clips} questions {asked} {means} {near}", flush=True)
        if clock.step % 250 == 0:
            store(save, aligner, model)
    store(save, aligner, model)


def store(path: Path, aligner: Aligner, model: LanguageModel) -> None:
    def held(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.detach().cpu() for name, value in values.items()}

    heads = {name: getattr(aligner.heads, name) for name in HEADS}
    what = {
        "projector": held(aligner.projector.state_dict()),
        "adapters": held(dict(model.named_parameters())),
        **held(heads),
        "hidden": HIDDEN,
        "rank": RANK,
        "alpha": ALPHA,
    }
    torch.save(what, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf (the catalogue's)")
    parser.add_argument("--minutes-1", type=float, default=45)
    parser.add_argument("--minutes-2", type=float, default=15)
    parser.add_argument("--minutes-3", type=float, default=110)
    parser.add_argument("--steps-1", type=int, default=0)
    parser.add_argument("--steps-2", type=int, default=0)
    parser.add_argument("--steps-3", type=int, default=0)
    parser.add_argument("--begin", type=Path, help="weights of an earlier run to begin stage 1 from (a trained.pt)")
    parser.add_argument("--skip-2", action="store_true", help="begin stage 3 from WORK/trained.pt")
    parser.add_argument("--skip-1", action="store_true", help="begin stage 2 from WORK/stage1.pt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.begin and (arguments.skip_1 or arguments.skip_2):
        parser.error("--begin is where stage 1 begins: not with --skip-1 or --skip-2")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    torch.set_default_device(arguments.device)
    work: Path = arguments.work
    path = arguments.model or resolve("tiny").model
    model = LanguageModel(path, RANK, ALPHA, torch.bfloat16)
    engine = _core.Engine(str(path), n_ctx=512, n_threads=1)
    encoder = Encoder(packages.whisper_file(work / "wheels"))
    spread = float(model.table.float().std())
    classes = yamnet.Yamnet(work / "wheels")
    words = Words(model, engine)
    names = words.of([", ".join(qa.plain_names(name)) or name.lower() for name in classes.names])
    size = float(words.table.square().sum(1).mean().sqrt())
    projector = Projector(encoder, HIDDEN, spread, classes.classes, names * size)
    data = Features(work / "features-train")
    print(len(data), "variants;", sum(p.numel() for p in projector.parameters()), "projector parameters", flush=True)
    aligner = Aligner(encoder, projector, model, engine, data)
    skip, begin = arguments.skip_1 or arguments.skip_2, arguments.begin
    if skip:
        begin = work / ("trained.pt" if arguments.skip_2 else "stage1.pt")
    if begin is not None:
        trained = torch.load(begin, map_location="cpu")
        projector.load_state_dict(trained["projector"])
        model.load_state_dict(trained["adapters"], strict=False)
        for name in HEADS:
            getattr(aligner.heads, name).data.copy_(trained[name])
    if not skip:
        clock, rng = Clock(arguments.minutes_1, arguments.steps_1), random.Random(arguments.seed + 1)
        aligner.train(Features(work / "features-dev"), clock, rng, RATES_1)
        store(work / "stage1.pt", aligner, model)
    rng = random.Random(arguments.seed + (3 if arguments.skip_2 else 2))
    asker = Asker(model, engine, rng, work / "plain.json")
    parts = [
        (Clock(arguments.minutes_2, arguments.steps_2), RATES_2, SHARES),
        (Clock(arguments.minutes_3, arguments.steps_3), RATES_3, LAST),
    ]
    for clock, rates, shares in parts[arguments.skip_2 :]:
        stage2(aligner, model, asker, classes, clock, work / "trained.pt", rates, shares)


if __name__ == "__main__":
    main()
