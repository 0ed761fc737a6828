"""This package, in a process of its own that compare.py measures: one line of JSON per event on standard output.

    python -m benchmarks.ours '{"model": ..., "mmproj": ..., "audio": ..., ...}'

The model answers a question about the clip and then a second one in the same conversation: events "loaded", "token" as
soon as the first piece of the first answer is there, "result".  With a depth: "loaded", "decode".
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

SECOND_QUESTION = "And what else can be heard?"


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def ask(chat: Any, audio: str | None, question: str, max_tokens: int, report: bool) -> tuple[float, Any]:
    """Seconds to the first piece of text, and the answer."""
    started = time.perf_counter()
    first, answer = None, None
    for piece in chat.stream(audio, question, max_tokens=max_tokens):
        if first is None and (piece or piece.answer):
            first = time.perf_counter() - started
            if report:
                say("token")
        answer = piece.answer or answer
    assert first is not None
    return first, answer


def decode_rate(chat: Any, depth: int, steps: int, mata: bool) -> float:
    """Tokens per second as llama-bench counts them: given tokens behind depth positions, without sampling.

    mata: with the chat's setting, the positions but the last 16 being audio.
    """
    import numpy as np

    from mata_cpp.mata import boost_of

    engine = chat.engine
    rng = np.random.default_rng(0)
    session = engine.session()
    try:
        head = max(1, depth - 16)
        if mata:
            span = session.feed_embeddings(rng.normal(0, 0.05, (head, engine.n_embd)).astype(np.float32))
            session.set_mata(chat.mata.mode, boost_of(engine, chat.mata).alphas, [(*span, 1.0)])
        else:
            session.feed_tokens(rng.integers(0, engine.n_vocab, head).tolist())
        session.feed_tokens(rng.integers(0, engine.n_vocab, 16).tolist())
        tokens = rng.integers(0, engine.n_vocab, steps).tolist()
        started = time.perf_counter()
        for token in tokens:
            session.feed_tokens([token])
        return steps / (time.perf_counter() - started)
    finally:
        session.close()


def answers(chat: Any, job: dict[str, Any]) -> None:
    first_s, answer = ask(chat, job["audio"], job["question"], job["n"], report=True)
    second_s, _ = ask(chat, None, SECOND_QUESTION, 2, report=False)
    say(
        "result",
        text=answer.text,
        first_token_s=first_s,
        encode_s=answer.timings.encode_s,
        prefill_s=answer.timings.prefill_s,
        decode_tokens_per_s=answer.timings.decode_tokens_per_s,
        tokens=answer.usage.completion_tokens,
        prompt_tokens=answer.usage.prompt_tokens,
        audio_tokens=answer.usage.audio_tokens,
        windows=sum(clip.windows for clip in answer.audio),
        second_first_token_s=second_s,
    )


def main() -> None:
    job = json.loads(sys.argv[1])
    from mata_cpp import AudioChat

    chat = AudioChat(
        job["model"],
        mmproj=job["mmproj"],
        n_ctx=job["n_ctx"],
        n_threads=job["threads"],
        flash_attn=job["flash_attn"],
        cache_type=job["cache_type"],
    )
    say("loaded")
    if depth := job.get("depth"):
        say("decode", off=decode_rate(chat, depth, job["n"], False), on=decode_rate(chat, depth, job["n"], True))
    else:
        answers(chat, job)
    chat.close()


if __name__ == "__main__":
    main()
