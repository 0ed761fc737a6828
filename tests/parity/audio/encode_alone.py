"""Encode clips in a process of their own, for projectors whose encoder may end it: encode_alone.py TEXT MMPROJ OUT.

Reads lines of a number of samples and an amplitude; writes each clip's embeddings to OUT, a folder, as 0.npy, 1.npy...
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]

import numpy as np  # noqa: E402
from parity.audio import clips  # noqa: E402

from mata_cpp import _core  # noqa: E402

text, mmproj, out = sys.argv[1:]
engine = _core.Engine(text, mmproj, n_ctx=1024, n_threads=1, flash_attn="off")
print(engine.projector, engine.projector_checked, engine.max_samples, flush=True)
for i, line in enumerate(sys.stdin):
    n, amplitude = line.split()
    clip = clips.clip(int(n) / clips.RATE, float(amplitude))
    np.save(Path(out) / f"{i}.npy", engine.encode_audio(clip).embeddings)
engine.close()
