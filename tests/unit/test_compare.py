"""What the side-by-side benchmark reads out of other programs' output, and how it sums up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks import audio_models, compare, plot, sounds, systems
from benchmarks.child import Child, ChildError, run
from benchmarks.systems import Measured

# Lines of llama-mtmd-cli -lv 4: a clip of two windows, 4 tokens.
MTMD_LOG = [
    (0.5, "load_tensors: loading model tensors\n"),
    (1.0, "main: loading"),
    (1.1, " model: text.gguf\nencoding mtmd batch, n_chunks = 1 (done = 1, total = 4)\n"),
    (3.0, "mtmd batch encoding done in 1500 ms\ndecoding audio batch 1/1, n_tokens_batch = 750\n"),
    (4.0, "mtmd batch encoding done in 1250 ms\ndecoding audio batch 1/1, n_tokens_batch = 740\n"),
    (6.0, "llama_perf_context_print:        load time =     912.34 ms\n"),
    (6.0, "llama_perf_context_print: prompt eval time =    2000.50 ms /  1510 tokens (    1.32 ms per token)\n"),
    (6.0, "llama_perf_context_print:        eval time =      60.00 ms /     3 runs   (   20.00 ms per token)\n"),
]  # fmt: skip


def mtmd_child(log: list[tuple[float, str]]) -> Child:
    child = Child(["llama-mtmd-cli"], max_rss=1 << 20)
    child.stderr = [(at, text.encode()) for at, text in log]
    child.stdout = [(4.9, b"\n"), (5.0, b" a"), (5.5, b" b")]
    return child


def test_mtmd_timings() -> None:
    assert systems.read_mtmd(mtmd_child(MTMD_LOG)) == Measured(
        load_s=1.1,
        encode_s=2.75,
        windows=2,
        prefill_s=pytest.approx(5.0 - 1.1 - 2.75),
        first_token_s=pytest.approx(3.9),
        total_s=5.0,
        decode_tokens_per_s=50.0,
        max_rss=1 << 20,
        prompt_tokens=1510,
        audio_tokens=1490,
    )


@pytest.mark.parametrize("missing", ["loading", "encoding mtmd", "encoding done"])
def test_mtmd_without_a_line(missing: str) -> None:
    with pytest.raises(ChildError, match="no timings"):
        systems.read_mtmd(mtmd_child([line for line in MTMD_LOG if missing not in line[1]]))


def test_mtmd_whose_last_lines_are_lost() -> None:
    measured = systems.read_mtmd(mtmd_child(MTMD_LOG[:-2]))
    assert measured.decode_tokens_per_s == pytest.approx(1 / 0.5) and measured.prompt_tokens is None


def test_bench_rate() -> None:
    child = Child(["llama-bench"], stdout=[(1.0, b'[{"n_gen": 32, '), (1.1, b'"avg_ts": 41.5}]')])
    assert systems.read_bench(child) == 41.5
    with pytest.raises(ChildError, match="no result"):
        systems.read_bench(Child(["llama-bench"], stdout=[(1.0, b"[]")]))


def test_events() -> None:
    result = {"event": "result", "first_token_s": 0.5, "audio_tokens": 9, "text": "rain"}
    lines = [
        (1.0, b'{"event": "loaded"}\n'),
        (1.5, b'{"event": "token"}\n'),
        (2.0, json.dumps(result).encode() + b"\n"),
    ]
    measured = systems.read_events(Child(["python"], max_rss=7, stdout=lines))
    expected = Measured(load_s=1.0, first_token_s=0.5, total_s=1.5, max_rss=7, audio_tokens=9)
    assert measured == expected
    with pytest.raises(ChildError, match="gave no result"):
        systems.read_events(Child(["python"], stdout=lines[:2]))
    with pytest.raises(ChildError, match="not an event"):
        systems.events(Child(["python"], stdout=[(0.0, b"Warning!\n")]))


def test_a_child_is_watched_and_its_memory_counted() -> None:
    code = "import sys, time; x = b'x' * (300 << 20); print('a', flush=True); time.sleep(0.3); print('b', end='')"
    code += "; sys.stderr.write('c')"
    child = run([sys.executable, "-c", code], timeout=60)
    assert child.output.split() == ["a", "b"] and child.log == "c"
    assert child.when("b") - child.first_output() >= 0.2
    assert child.max_rss > 300 << 20


def test_a_child_that_hangs_is_ended() -> None:
    with pytest.raises(ChildError, match="did not end within 1 s"):
        run([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"], timeout=1)


def test_a_child_that_fails() -> None:
    with pytest.raises(ChildError, match="status 3: why"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('why\\n'); sys.exit(3)"], timeout=60)
    with pytest.raises(ChildError, match="cannot be started"):
        run(["/nonexistent/program"], timeout=1)


def test_rounds_alternate_and_survive_failures(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def fails() -> Measured:
        order.append("b")
        raise ChildError("broken")

    def works() -> Measured:
        order.append("a")
        return Measured(load_s=float(len(order)))

    runs = compare.rounds(3, {"a": works, "b": fails})
    assert order == list("abbaab")
    assert runs["b"] == [None, None, None] and "b: broken" in capsys.readouterr().err
    assert compare.ratios(runs["a"], runs["b"])["load_s"] is None
    assert compare.summaries(runs["b"])["load_s"] is None


def test_ratio_is_of_the_same_round() -> None:
    ours = [Measured(encode_s=a, prefill_s=1.0) for a in (1.0, 10.0, 3.0)]
    theirs = [Measured(encode_s=b, prefill_s=1.0) for b in (2.0, 10.0, 12.0)]
    ratio = compare.ratios(ours, theirs)
    assert Measured(encode_s=3.0, windows=2).encode_window_s == 1.5
    assert ratio["encode_s"] == 0.5 and ratio["encode_prefill_s"] == pytest.approx(2 / 3)
    assert compare.summaries(ours)["encode_s"] == {"median": 3.0, "min": 1.0, "max": 10.0}
    fields = {"a": compare.summaries(ours), "b": compare.summaries(theirs)}
    head, first, *_, last = compare.table(fields, ratio).splitlines()
    assert first.split()[:3] == ["a", "-", "3.00"] and "0.500" in last and "encode" in head
    assert compare.table(fields, dict.fromkeys(ratio)).splitlines()[-1].startswith("b")


def test_made_models_are_sane(tmp_path: Path) -> None:
    from mata_cpp import _core

    for name in ("qwen2-audio-small", "ultravox-small"):
        text, mmproj = audio_models.write(name, tmp_path)
        engine = _core.Engine(str(text), str(mmproj), n_ctx=2048)
        audio = engine.encode_audio(sounds.mixed(2.0))
        assert audio.n_tokens == (50 if name.startswith("qwen2") else 13)
        long = sounds.mixed(65.0)
        assert engine.count_audio_tokens(long) == engine.encode_audio(long).n_tokens
        prompt = engine.tokenize("What sound is this?<|im_end|>")
        assert prompt[-1] == engine.tokenize("<|im_end|>")[0] and not any(engine.is_eog(t) for t in prompt[:-1])
        session = engine.session()
        session.feed_audio(audio)
        session.feed_tokens(prompt)
        logits = session.logits()
        assert 0.5 < logits.std() < 8 and not engine.is_eog(int(logits.argmax()))
        session.close()
        engine.close()


def test_full_sizes_are_what_they_are_called() -> None:
    for name in ("qwen2-audio", "ultravox"):
        shape = audio_models.SHAPES[name]
        assert (shape.audio_layers, shape.audio_embd, shape.audio_heads) == (32, 1280, 20)
        block = 2 * shape.n_embd**2 * (1 + shape.n_head_kv / shape.n_head) + 3 * shape.n_embd * shape.n_ff
        assert 0.45e9 < shape.n_vocab * shape.n_embd + shape.n_layer * block < 0.55e9


def test_clips(tmp_path: Path) -> None:
    sound = sounds.mixed(2.5)
    assert sound.shape == (40000,) and sound.std() > 0.05 and np.abs(sound).max() < 1
    path = sounds.write_wav(tmp_path / "a.wav", sound)
    again = sounds.repeated(path, 6.0)
    assert again.shape == (96000,)
    np.testing.assert_allclose(again[:40000], sound, atol=1e-4)
    np.testing.assert_allclose(again[40000:80000], again[:40000])


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fields = compare.summaries(
        [Measured(first_token_s=1.0, max_rss=1 << 30), Measured(first_token_s=2.0, max_rss=1 << 30)]
    )
    clips = {str(s): {"seconds": s, "systems": {"a": fields}} for s in (10.0, 2.0)}
    assert plot.series({"clips": clips}, "first_token_s") == {"a": [(2.0, 1.5, 1.0, 2.0), (10.0, 1.5, 1.0, 2.0)]}
    plot.draw({"models": {"m": {"clips": clips}}}, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 5000
