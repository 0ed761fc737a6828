"""A child process that loads and uses every file named on standard input, and says what came of each.

Lines in: JSON [kind, name, model, mmproj or null, adapter or null].  Lines out: JSON {kind, name, error, message},
error being the class of the exception, or "" where the file could be used.  If the process ends, the line is missing.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from mata_cpp import _core


def use(model: str, mmproj: str | None, adapter: str | None) -> None:
    engine = _core.Engine(
        model, mmproj, lora=[(adapter, 1.0)] if adapter else [], n_ctx=256, n_threads=2, n_seq_max=2, n_batch=64
    )
    session = engine.session()
    if mmproj:
        session.feed_audio(engine.encode_audio(np.sin(np.arange(24000, dtype=np.float32) / 10)))
    session.feed_tokens([1, 2, 3])
    session.set_mata("scale", [0.1] * engine.n_layer, [(0, 2, 1.0)])
    session.feed_tokens([4])
    _core.Sampler(engine).sample(session.logits())
    session.close()
    engine.close()


for line in sys.stdin:
    kind, name, *files = json.loads(line)
    error = message = ""
    try:
        use(*files)
    except Exception as exception:
        error, message = type(exception).__name__, str(exception)
    print(json.dumps({"kind": kind, "name": name, "error": error, "message": message}), flush=True)
