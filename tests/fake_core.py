"""A stand-in for the compiled extension, of the same shape: bytes are tokens, answers are scripted.

The "model" answers with ``Engine.script(prompt, mata_on)``; after that it ends the turn.  Prompts show
each clip as ``[audio N]`` with N its number of tokens.

A Generation makes its tokens when they are taken, so that tests see each step.  With ``eager`` among the engine's
OPTIONS it makes all of them at once, as the real one does while nobody reads.
"""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import numpy as np

from mata_cpp import errors

LLAMA_VERSION = "fake"
SPECIAL = ["<|bos|>", "<|im_end|>", "<|im_start|>", "<|eot|>"]
N_VOCAB = 256 + len(SPECIAL)
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe nice<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OPTIONS: dict = {}
"""What the next Engine is like; tests set it through the ``fake`` fixture."""

log = []


def system_info():
    return "fake"


def devices():
    return []


def set_log_callback(callback):
    log.append(callback)


def probe_gguf(path):
    head = Path(path).read_bytes()[:64]
    if not head.startswith(b"GGUF"):
        raise errors.ModelError(f"{path} is not a GGUF file")
    projector = b"mmproj" in head
    return {
        "architecture": "clip" if projector else "llama",
        "type": "mmproj" if projector else "adapter" if b"adapter" in head else "model",
        "has_audio": projector and b"deaf" not in head,
        "has_vision": b"vision" in head,
        "n_tensors": 1,
        "projector": "ultravox" if projector else "",
        "prompt_rule": "",
    }


def json_schema_to_grammar(schema):
    if not isinstance(json.loads(schema), dict):
        raise ValueError("the JSON schema cannot be used: it is no object")
    return f"root ::= {schema}"


def log_probability(logits, token, n_top=0):
    shifted = logits.astype(np.float64) - logits.max()
    logprobs = shifted - math.log(np.exp(shifted).sum())
    order = np.argsort(-logprobs, kind="stable")[:n_top]
    return float(logprobs[token]), [(int(other), float(logprobs[other])) for other in order]


class Cancel:
    def __init__(self):
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


def _check(cancel):
    if cancel is not None and cancel.cancelled:
        raise errors.CancelledError("cancelled")


class AudioEmbedding:
    def __init__(self, n_tokens, n_windows):
        self.n_tokens, self.n_embd, self.n_windows = n_tokens, 8, n_windows
        self.begin, self.end = [], []
        self.encode_s = 0.01
        self.embeddings = np.zeros((n_tokens, 8), np.float32)


class Engine:
    def __init__(
        self, model_path, mmproj_path=None, *, n_ctx=4096, n_seq_max=32, progress=None, cancel=None, **options
    ):
        _check(cancel)
        self.model_path, self.mmproj_path, self.options = model_path, mmproj_path, options
        self.n_ctx, self.n_seq_max = n_ctx, n_seq_max
        self.n_vocab, self.n_layer, self.n_embd = N_VOCAB, 30, 8
        self.has_audio = True
        self.sample_rate = 16000
        self.max_samples = self.padded_samples = 0
        self.adapters_hear = False
        self.projector, self.projector_checked, self.prompt_rule, self.audio_prompt = "own", True, "", ""
        self.chat_template = CHATML
        self.bos_token, self.eos_token = "<|bos|>", "<|im_end|>"
        self.add_bos = False
        self.mata_refusal = ""
        self.n_head, self.n_head_kv = 4, 2
        self.n_ctx_train, self.n_threads, self.n_params, self.n_bytes = 8192, 2, 1000, 4000
        self.description, self.architecture, self.flash_attn = "fake 1 K", "llama", False
        self.attention_layers = list(range(self.n_layer))
        self.closed = False
        self.encoded = 0
        self.can_cut = True
        self.script = lambda prompt, mata: "rain"
        self.slow = None
        self.eager = False
        self.sessions = []
        self.lock = threading.RLock()
        for name, value in OPTIONS.items():
            setattr(self, name, value)

    def metadata(self):
        return {}

    def graph_ops(self):
        return []

    def n_graph_builds(self):
        return 0

    def use_portable_graph(self, portable):
        pass

    def tokenize(self, text, *, add_special=False, parse_special=True, cancel=None):
        tokens = [256] if add_special and self.add_bos else []
        while text:
            special = next((s for s in SPECIAL if text.startswith(s)), None) if parse_special else None
            if special:
                tokens.append(256 + SPECIAL.index(special))
                text = text[len(special) :]
            else:
                tokens += text[0].encode()
                text = text[1:]
        return tokens

    def token_bytes(self, token, *, special=False):
        if token >= 256:
            return SPECIAL[token - 256].encode() if special else b""
        return bytes([token])

    def is_eog(self, token):
        return token in (257, 259)

    def encode_audio(self, samples, *, cancel=None):
        self.encoded += 1
        _check(cancel)
        samples = samples[: self.max_samples or None]
        assert samples.dtype == np.float32 and samples.ndim == 1
        return AudioEmbedding(len(samples) // 3200, 1 + (len(samples) - 1) // (30 * 16000))

    def count_audio_tokens(self, samples):
        return len(samples) // 3200

    def session(self):
        return Session(self)

    def decode(self, items, *, cancel=None):
        for session, tokens, every in items:
            session.feed_tokens(tokens, all_logits=every, cancel=cancel)

    def close(self):
        self.closed = True

    @property
    def n_used(self):
        """Cells in use: what sessions share counts once."""
        with self.lock:
            return len({cell for session in self.sessions if not session.closed for cell in session.cells})


class Session:
    def __init__(self, engine):
        with engine.lock:
            if sum(not s.closed for s in engine.sessions) >= engine.n_seq_max:
                raise errors.ContextFullError("no sequence is left")
            engine.sessions.append(self)
        self.engine = engine
        self.items = []  # tokens, or None for an audio position
        self.cells = []  # an object for each item, which forks share
        self.mata = None
        self.closed = False
        self.calls = []
        self.generating = False
        self._logits = None
        self._rows = []  # positions of the rows of the last feed that predict
        self.reading = None

    @property
    def n_past(self):
        return len(self.items)

    def _check(self, count=0, cancel=None):
        if self.closed or self.engine.closed:
            raise errors.MataError("the session is closed")
        if self.generating:
            raise errors.MataError("the session is generating")
        _check(cancel)
        if self.n_past + count > self.engine.n_ctx or self.engine.n_used + count > self.engine.n_ctx:
            raise errors.ContextFullError("the context is full")

    def feed_tokens(self, tokens, *, all_logits=False, cancel=None):
        assert tokens and all(0 <= t < N_VOCAB for t in tokens), tokens
        if self.engine.slow is not None:
            self.engine.slow()
        with self.engine.lock:
            self._check(len(tokens), cancel)
            self._feed(tokens, all_logits)

    def _feed(self, tokens, all_logits=False):
        before = self.n_past
        self.calls.append((list(tokens), self.mata))
        rows = []
        self._rows = list(range(before, before + len(tokens)))[0 if all_logits else -1 :]
        try:
            for token in tokens:
                self.items.append(token)
                rows.append(self._predict())
        except BaseException:
            del self.items[before:]
            self._logits = None
            raise
        self.cells += [object() for _ in tokens]
        self._logits = np.array(rows if all_logits else rows[-1:])

    def feed_audio(self, audio, *, cancel=None):
        return self.feed_embeddings(audio.embeddings, cancel=cancel)

    def feed_embeddings(self, embeddings, *, cancel=None):
        assert self.mata is None, "MATA must be off while audio is fed"
        with self.engine.lock:
            self._check(len(embeddings), cancel)
            start = self.n_past
            self.items += [None] * len(embeddings)
            self.cells += [object() for _ in embeddings]
            self._logits = None
            return start, self.n_past

    def text(self):
        """The sequence as text."""
        out, run = b"", 0
        for item in [*self.items, -1]:
            if item is None:
                run += 1
                continue
            if run:
                out += b"[audio %d]" % run
                run = 0
            if item >= 0:
                out += self.engine.token_bytes(item, special=True)
        return out.decode("utf-8", "replace")

    def _predict(self):
        prompt, _, _ = self.text().rpartition("<|im_start|>assistant\n")
        wanted = self.engine.script(prompt, self.mata is not None)
        data = wanted if isinstance(wanted, bytes) else wanted.encode()
        place = len(self.items) - 1 - max((i for i, t in enumerate(self.items) if t == 258), default=-1)
        place -= len("assistant\n")
        token = data[place] if 0 <= place < len(data) else 257
        logits = np.zeros(N_VOCAB, np.float32)
        logits[token] = 10
        return logits

    def logits(self):
        if self._logits is None:
            raise ValueError("no logits")
        return self._logits[-1]

    def logits_all(self):
        return self._logits

    def set_mata(self, mode, alpha, spans):
        self._check()
        assert len(alpha) == self.engine.n_layer
        self.mata = (mode, tuple(alpha), tuple(spans))

    def use_adapters(self, on):
        self.adapters = on

    def clear_mata(self):
        self._check()
        self.mata = None

    def fork(self):
        with self.engine.lock:
            self._check()
            twin = Session(self.engine)
            twin.items, twin.cells, twin.mata = list(self.items), list(self.cells), self.mata
            twin._logits = self._logits
            return twin

    def share(self, n_past):
        with self.engine.lock:
            if n_past < self.n_past and not self.engine.can_cut:
                raise ValueError("this memory cannot be cut")
            twin = Session(self.engine)
            twin.items, twin.cells = self.items[:n_past], self.cells[:n_past]
            return twin

    # The weights that the fake gives: position p of n weighs 1, or 3 for an audio position in a boosted layer; head h
    # of layer l gives (l + h) times that to the first position too.

    def _weights(self, layer, head, row, after):
        alpha, spans = (self.mata[1], self.mata[2]) if self.mata and after else ([0] * self.engine.n_layer, ())
        weights = np.ones(row + 1)
        for start, end, _ in spans:
            weights[start:end] += 2 * (alpha[layer] != 0)
        weights[0] += layer + head
        return weights / weights.sum()

    def set_attention_readout(self, layers):
        self.reading = layers and ("rows", list(layers))
        self._rows = []

    def attention(self):
        if not self.reading or not self._rows:
            return {}
        kind, layers = self.reading
        assert kind == "rows"

        def rows(layer, after):
            out = np.zeros((len(self._rows), self.engine.n_head, self.n_past), np.float32)
            for r, row in enumerate(self._rows):
                for head in range(self.engine.n_head):
                    out[r, head, : row + 1] = self._weights(layer, head, row, after)
            return out

        return {layer: (rows(layer, False), rows(layer, True)) for layer in layers}

    def set_attention_sums(self, layers, groups, time_layers):
        assert set(time_layers) <= set(layers) <= set(self.engine.attention_layers)
        self.reading = ("sums", sorted(layers), list(groups), list(time_layers))
        self._rows = []

    def attention_sums(self):
        _, layers, groups, time_layers = self.reading
        n_groups = 1 + max(group for _, _, group in groups)
        listened = [p for start, end, group in groups if group == 0 for p in range(start, end)]
        n_head = self.engine.n_head
        sums = np.zeros((2, len(self._rows), len(layers), n_head, n_groups), np.float32)
        time = np.zeros((2, len(self._rows), len(listened)), np.float32)
        for after in (0, 1):
            for r, row in enumerate(self._rows):
                for i, layer in enumerate(layers):
                    for head in range(n_head):
                        weights = self._weights(layer, head, row, after)
                        for position, weight in enumerate(weights):
                            group = next((g for start, end, g in groups if start <= position < end), None)
                            if group is not None:
                                sums[after, r, i, head, group] += weight
                        if layer in time_layers:
                            time[after, r] += weights[listened] / (n_head * len(time_layers))
        return sums[0], sums[1], time[0], time[1]

    def truncate(self, n_past):
        self._check()
        if not self.engine.can_cut:
            raise ValueError("this memory cannot be cut")
        self._rows = []
        del self.items[n_past:], self.cells[n_past:]
        self._logits = None

    def close(self):
        self.closed = True


# The defaults are those of the extension, which a test compares with Sampling's own.
SAMPLING_DEFAULTS = {
    "temperature": 0.0,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "penalty_last_n": 64,
    "seed": 0,
    "grammar": "",
}


class Sampler:
    last = None
    """The latest one that was made."""

    def __init__(self, engine, *, cancel=None, **settings):
        self.settings = {**SAMPLING_DEFAULTS, **settings}
        if self.settings["grammar"] == "broken":
            raise ValueError("the grammar does not parse")
        if self.settings["temperature"] < 0:
            raise ValueError("temperature must not be negative")
        Sampler.last = self

    def sample(self, logits):
        return int(np.argmax(logits))


class Token:
    def __init__(self, id, bytes, logprob, top, at, attention):
        self.id, self.bytes, self.logprob, self.top, self.at, self.attention = id, bytes, logprob, top, at, attention


class Repetition:
    """As csrc/engine/repetition.h has it."""

    PERIOD_MAX, TIMES_MIN = 64, 4

    def __init__(self, limit):
        self.limit, self.times, self.period, self.tokens = limit, 0, 0, []
        self.same = [0] * (self.PERIOD_MAX + 1)

    def add(self, token):
        """Whether the phrase at the end has come too often."""
        count = len(self.tokens)
        self.tokens.append(token)
        for period in range(1, min(self.PERIOD_MAX, count) + 1) if self.limit > 0 else ():
            self.same[period] = self.same[period] + 1 if self.tokens[count - period] == token else 0
            times = 1 + self.same[period] // period
            if self.same[period] + period >= self.limit and times >= self.TIMES_MIN:
                self.times, self.period = times, period
                return True
        return False


class Generation:
    def __init__(
        self,
        session,
        sampler,
        *,
        max_tokens=256,
        stop=(),
        logprobs=-1,
        repeat_limit=32,
        ignore_end=False,
        attention=False,
        cancel=None,
    ):
        session._check()
        if session._logits is None:
            raise ValueError("the session has no logits")
        session.generating = True
        self._session, self._sampler, self._cancel = session, sampler, cancel or Cancel()
        self._max_tokens, self._logprobs, self._attention = max_tokens, logprobs, attention
        self._ignore_end = ignore_end
        self._stop, self._text = [text.encode() for text in stop], b""
        self._repetition = Repetition(repeat_limit)
        self._abandoned = False
        self._pending = None
        self._ready = []
        self._error = None
        self._started = time.perf_counter()
        self.reason, self.n_tokens, self.n_fed = "", 0, 0
        while session.engine.eager and not self.finished:
            self._step()

    @property
    def finished(self):
        return self.reason != ""

    @property
    def n_repeated(self):
        return self._repetition.times

    @property
    def n_in_phrase(self):
        return self._repetition.period

    def cancel(self):
        self._abandoned = True

    def take(self, timeout_s=1e9):
        if not self._ready and not self.finished:
            self._step()
        taken, self._ready = self._ready, []
        if not taken and self._error is not None:
            raise self._error
        return taken

    def _step(self):
        """Make a token, or end.  An interrupt comes before anything is changed."""
        session = self._session
        if self._pending is not None and session.engine.slow is not None:
            session.engine.slow()
        if self._abandoned or self._cancel.cancelled or session.closed or session.engine.closed:
            self._end("cancelled")
            return
        with session.engine.lock:
            try:
                if self._pending is not None:
                    if session.n_past >= session.engine.n_ctx or session.engine.n_used >= session.engine.n_ctx:
                        self._end("length")
                        return
                    session._feed([self._pending])
                    self.n_fed += 1
                self._sample(session.logits())
            except Exception as error:
                self._error = error
                self._end("error")

    def _sample(self, row):
        engine = self._session.engine
        chosen = self._sampler.sample(row)
        if engine.is_eog(chosen) and not self._ignore_end:
            self._end("stop")
            return
        logprob, top = math.nan, []
        if self.n_tokens == 0 or self._logprobs >= 0:
            logprob, top = log_probability(row, chosen, max(0, self._logprobs))
        attention = tuple(part[-1] for part in self._session.attention_sums()) if self._attention else None
        data = engine.token_bytes(chosen)
        self._ready.append(Token(chosen, data, logprob, top, time.perf_counter() - self._started, attention))
        self.n_tokens += 1
        self._text += data
        if any(text in self._text for text in self._stop):
            self._end("stop")
        elif self._repetition.add(chosen):
            self._end("repetition")
        elif self.n_tokens >= self._max_tokens:
            self._end("length")
        else:
            self._pending = chosen

    def _end(self, reason):
        self.reason = reason
        self._session.generating = False
