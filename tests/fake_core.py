"""A stand-in for the compiled extension, of the same shape: bytes are tokens, answers are scripted.

The "model" answers with ``Engine.script(prompt, mata_on)``; after that it ends the turn.  Prompts show
each clip as ``[audio N]`` with N its number of tokens.
"""

from __future__ import annotations

import threading
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


class AudioEmbedding:
    def __init__(self, n_tokens, n_windows):
        self.n_tokens, self.n_windows = n_tokens, n_windows
        self.begin, self.end = [], []
        self.encode_s = 0.01
        self.embeddings = np.zeros((n_tokens, 8), np.float32)


class Engine:
    def __init__(self, model_path, mmproj_path=None, *, n_ctx=4096, n_seq_max=32, progress=None, **options):
        self.model_path, self.mmproj_path, self.options = model_path, mmproj_path, options
        self.n_ctx, self.n_seq_max = n_ctx, n_seq_max
        self.n_vocab, self.n_layer, self.n_embd = N_VOCAB, 30, 8
        self.has_audio = True
        self.sample_rate = 16000
        self.max_samples = 0
        self.projector, self.projector_checked, self.prompt_rule = "own", True, ""
        self.chat_template = CHATML
        self.bos_token, self.eos_token = "<|bos|>", "<|im_end|>"
        self.add_bos = False
        self.mata_refusal = ""
        self.n_head = 4
        self.attention_layers = list(range(self.n_layer))
        self.closed = False
        self.encoded = 0
        self.truncates = True
        self.script = lambda prompt, mata: "rain"
        self.slow = None
        self.sessions = []
        for name, value in OPTIONS.items():
            setattr(self, name, value)

    def tokenize(self, text, *, add_special=False, parse_special=True):
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

    def encode_audio(self, samples, *, session=None):
        self.encoded += 1
        if session is not None:
            session._room(0)
        samples = samples[: self.max_samples or None]
        assert samples.dtype == np.float32 and samples.ndim == 1
        return AudioEmbedding(len(samples) // 3200, 1 + (len(samples) - 1) // (30 * 16000))

    def count_audio_tokens(self, samples):
        return len(samples) // 3200

    def session(self):
        return Session(self)

    def decode(self, items):
        for session, tokens, every in items:
            session.feed_tokens(tokens, all_logits=every)

    def close(self):
        self.closed = True

    @property
    def n_used(self):
        return sum(session.n_past for session in self.sessions if not session.closed)


class Session:
    def __init__(self, engine):
        if sum(not s.closed for s in engine.sessions) >= engine.n_seq_max:
            raise errors.ContextFullError("no sequence is left")
        engine.sessions.append(self)
        self.engine = engine
        self.items = []  # tokens, or None for an audio position
        self.mata = None
        self.closed = False
        self.calls = []
        self._logits = None
        self._rows = []  # positions of the rows of the last feed that predict
        self.reading = None
        self._cancel = threading.Event()

    @property
    def n_past(self):
        return len(self.items)

    def _room(self, count):
        if self._cancel.is_set():
            self._cancel.clear()
            raise errors.CancelledError("cancelled")
        if self.n_past + count > self.engine.n_ctx:
            raise errors.ContextFullError("the context is full")

    def feed_tokens(self, tokens, *, all_logits=False):
        assert tokens and all(0 <= t < N_VOCAB for t in tokens), tokens
        if self.engine.slow is not None:
            self.engine.slow()
        self._room(len(tokens))
        self.calls.append((list(tokens), self.mata))
        rows = []
        self._rows = list(range(self.n_past, self.n_past + len(tokens)))[0 if all_logits else -1 :]
        for token in tokens:
            self.items.append(token)
            rows.append(self._predict())
        self._logits = np.array(rows if all_logits else rows[-1:])

    def feed_audio(self, audio):
        return self.feed_embeddings(audio.embeddings)

    def feed_embeddings(self, embeddings):
        assert self.mata is None, "MATA must be off while audio is fed"
        self._room(len(embeddings))
        start = self.n_past
        self.items += [None] * len(embeddings)
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
        assert len(alpha) == self.engine.n_layer
        self.mata = (mode, tuple(alpha), tuple(spans))

    def clear_mata(self):
        self.mata = None

    def fork(self):
        twin = Session(self.engine)
        twin.items, twin.mata, twin._logits = list(self.items), self.mata, self._logits
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
        if not self.engine.truncates:
            raise ValueError("this memory cannot be cut")
        self._rows = []
        del self.items[n_past:]
        self._logits = None

    def cancel(self):
        self._cancel.set()

    def clear_cancel(self):
        self._cancel.clear()

    def close(self):
        self.closed = True


class Sampler:
    def __init__(self, engine, *, temperature=0.0, grammar="", seed=0, **options):
        if grammar == "broken":
            raise ValueError("the grammar does not parse")
        if temperature < 0:
            raise ValueError("temperature must not be negative")
        self.settings = {"temperature": temperature, "grammar": grammar, "seed": seed, **options}

    def sample(self, session):
        return int(np.argmax(session.logits()))

    def reset(self):
        pass
