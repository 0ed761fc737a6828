"""Greedy sampling without and with the table of candidates."""

from __future__ import annotations

import numpy as np

from mata_cpp import _core


def test_plain_greedy_chooses_what_the_sampler_chain_chooses(tiny):
    engine = _core.Engine(str(tiny.model("llama")), n_ctx=128)
    session = engine.session()
    plain, chain = _core.Sampler(engine), _core.Sampler(engine, temperature=1.0, top_k=1)
    chosen = []
    for token in np.random.default_rng(0).integers(0, engine.n_vocab, 24).tolist():
        session.feed_tokens([token])
        logits = session.logits()
        chosen.append(plain.sample(logits))
        assert chosen[-1] == int(logits.argmax()) == chain.sample(logits)
    assert len(set(chosen)) > 3
    engine.close()
