"""Types of the compiled extension: the C++ engine on a patched llama.cpp.

Everything here is low level; users take :class:`mata_cpp.AudioModel`.  The GIL is released while the
engine computes.  An engine may be shared by threads: its lock is fair, and long work lets others pass on its way.
"""

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LLAMA_VERSION: str
"""The pinned llama-cpp-python version whose vendored llama.cpp is inside, e.g. "0.3.36"."""

SAMPLING_DEFAULTS: dict[str, Any]
"""The defaults of Sampler, by name, as float32 has them."""

def system_info() -> str:
    """llama.cpp's line of CPU and backend features."""

def devices() -> list[tuple[str, str]]:
    """(name, description) of every ggml device compiled in and present."""

def set_log_callback(callback: Callable[[int, str], None] | None) -> None:
    """Route all ggml, llama and mtmd log lines to callback(level, text).

    level: 1 debug, 2 info, 3 warning, 4 error.  None (the default) is silence.  The callback may be
    called from any thread; exceptions it raises are dropped.
    """

def probe_gguf(path: str) -> dict[str, Any]:
    """Header of a GGUF file without loading its weights.

    Returns {"architecture": str, "type": str, "has_audio": bool, "has_vision": bool, "n_tensors": int,
    "projector": str, "prompt_rule": str}.  ("projector": clip.projector_type or clip.audio.projector_type, "prompt_rule":
    mata.audio.prompt; "" when absent.)
    Checks that every tensor's data lies inside the file.  Raises ModelError for a missing, truncated
    or damaged file, naming it.
    """

has_rpc: bool
"""Whether this build can put layers on other machines."""

def rpc_serve(address: str, *, n_threads: int = 0, cache: str = "") -> None:
    """Serve this machine's devices at "host:port" until the process ends; returns where the address cannot be used.

    cache: a folder for weights that were received, "" for none.  n_threads 0: physical cores.  Raises ValueError where
    the build has no RPC.
    """

def json_schema_to_grammar(schema: str) -> str:
    """A JSON schema as a grammar (GBNF) for Sampler.  Raises ValueError for one that cannot be used."""

def log_probability(logits: NDArray[np.float32], token: int, n_top: int = 0) -> tuple[float, list[tuple[int, float]]]:
    """(natural logarithm of token's probability, the n_top likeliest (token, logarithm), best first)."""

class Cancel:
    """One flag for one request: given to what computes for it, which then raises CancelledError soon after cancel()."""

    def __init__(self) -> None: ...
    def cancel(self) -> None:
        """From any thread, and from signal handlers."""

    @property
    def cancelled(self) -> bool: ...

class AudioEmbedding:
    """One clip as the language model gets it: what Engine.encode_audio returns."""

    @property
    def embeddings(self) -> NDArray[np.float32]: ...  # [n_tokens, n_embd], read-only copy
    @property
    def n_tokens(self) -> int: ...
    @property
    def n_embd(self) -> int: ...
    @property
    def n_windows(self) -> int: ...  # encoder windows (usually of 30 s) the clip was cut into
    @property
    def begin(self) -> list[int]: ...  # text tokens the model wants before the audio (may be empty)
    @property
    def end(self) -> list[int]: ...
    @property
    def encode_s(self) -> float: ...

class Engine:
    """A model, its audio projector and one KV cache shared by all sessions."""

    def __init__(
        self,
        model_path: str,
        mmproj_path: str | None = None,
        *,
        lora: Sequence[tuple[str, float]] = (),
        n_ctx: int = 4096,
        n_batch: int = 2048,
        n_ubatch: int = 512,
        n_threads: int = 0,
        n_gpu_layers: int = -1,
        flash_attn: str = "auto",
        cache_type_k: str = "f16",
        cache_type_v: str = "f16",
        n_seq_max: int = 32,
        rpc: Sequence[str] = (),
        progress: Callable[[float], None] | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Load.  flash_attn: "auto" | "on" | "off"; cache types: "f32" "f16" "bf16" "q8_0" "q4_0" "q4_1" "q5_0" "q5_1" "iq4_nl".

        n_ctx 0: the model's training length.  n_threads 0: physical cores.  n_gpu_layers -1: all.
        rpc: servers ("host:port") that layers go to.
        progress: gets 0..1 while the model loads.  cancel: stops loading.
        Raises ModelError (a file is missing, broken, or the two do not fit), CancelledError, ValueError (bad option).
        """

    n_ctx: int  # properties, read-only
    n_ctx_train: int
    n_seq_max: int
    n_vocab: int
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_threads: int
    n_params: int
    n_bytes: int
    description: str
    architecture: str
    flash_attn: bool
    has_audio: bool
    sample_rate: int  # Hz; 0 without audio
    max_samples: int  # of a clip, the reference hears no more; 0: no limit
    padded_samples: int  # clips are heard as a multiple of so many; 0: as they are
    audio_prompt: str  # by which rule the reference writes clips into a prompt; "": unknown
    projector: str  # clip.projector_type, "" without audio
    prompt_rule: str  # the projector's mata.audio.prompt: by which rule clips are written into a prompt; "": its type's
    adapters_hear: bool  # LoRA adapters are meant to act only where there is sound: see Session.use_adapters
    projector_checked: bool  # audio path follows the reference implementation (see docs)
    chat_template: str  # Jinja source; "" when the GGUF has none
    bos_token: str
    eos_token: str
    add_bos: bool
    mata_refusal: str  # "" or why MATA cannot work with this model and context
    can_cut: bool  # sessions can be cut back to any position: no layer is recurrent
    attention_layers: list[int]  # layers whose attention can be read: all but those of another kind in hybrid models
    def metadata(self) -> dict[str, str]: ...
    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True, cancel: Cancel | None = None
    ) -> list[int]:
        """cancel: stops waiting for a huge text.  Raises CancelledError."""

    def token_bytes(self, token: int, *, special: bool = False) -> bytes: ...
    def is_eog(self, token: int) -> bool: ...
    def encode_audio(self, samples: NDArray[np.float32], *, cancel: Cancel | None = None) -> AudioEmbedding:
        """Encode mono float32 samples [n] at sample_rate; what is behind max_samples is not heard.

        One clip at a time; decoding goes on in between.  Raises AudioError (empty, not finite, no tokens), CancelledError.
        """

    def count_audio_tokens(self, samples: NDArray[np.float32]) -> int:
        """How many tokens encode_audio would give, without running the encoder.  Raises AudioError."""

    def session(self) -> Session:
        """A new empty session.  Raises ContextFullError when n_seq_max are alive."""

    def decode(self, items: Sequence[tuple[Session, Sequence[int], bool]], *, cancel: Cancel | None = None) -> None:
        """One batch over several sessions: (session, tokens, all_logits).  Each session's logits are kept as after feed_tokens.

        Raises as feed_tokens does; nothing is appended to any of them then.
        """

    def graph_ops(self) -> list[str]:
        """Distinct operators MATA has added to graphs so far, as "NAME src-type[,src-type] -> type"."""

    def use_portable_graph(self, portable: bool) -> None:
        """Flash attention with MATA as GPU backends run it, on the CPU too: for tests on machines without a GPU."""

    def n_graph_builds(self) -> int:
        """How many graphs with MATA in them were built: changing alpha or spans must not build one."""

    def close(self) -> None:
        """Free model and cache.  Waits for a running computation; what is being generated is cancelled."""

    @property
    def closed(self) -> bool: ...
    @property
    def n_used(self) -> int: ...  # KV cells in use by all sessions

class Session:
    """A sequence of positions in the engine's KV cache with its own MATA setting.

    While a Generation runs on it, it is that one's: all calls but fork of a part, logits and close raise MataError.
    """

    @property
    def n_past(self) -> int: ...
    def feed_tokens(self, tokens: Sequence[int], *, all_logits: bool = False, cancel: Cancel | None = None) -> None:
        """Append text tokens.  Logits of the last one (or of each) are kept.

        Raises ContextFullError, CancelledError (the cache is as before, and the logits are gone), ValueError (token out of
        range).
        """

    def feed_audio(self, audio: AudioEmbedding, *, cancel: Cancel | None = None) -> tuple[int, int]:
        """Append begin tokens, audio embeddings, end tokens.  Returns [start, end) of the audio tokens alone.  No logits are kept.

        MATA is unaffected until set_mata names the span.
        """

    def feed_embeddings(self, embeddings: NDArray[np.float32], *, cancel: Cancel | None = None) -> tuple[int, int]:
        """Append rows [n, n_embd] as audio tokens without markers; returns their [start, end)."""

    def logits(self) -> NDArray[np.float32]:
        """[n_vocab] of the last fed token.  Raises ValueError when the last thing fed gave none."""

    def logits_all(self) -> NDArray[np.float32]:
        """[n_rows, n_vocab] of the last feed_tokens (1 row unless all_logits)."""

    def set_mata(self, mode: str, alpha: Sequence[float], spans: Sequence[tuple[int, int, float]]) -> None:
        """mode "scale" | "abs" | "add"; alpha [n_layer], 0 leaves a layer alone; spans (start, end, weight) in positions.

        Takes effect with the next feed.  Raises ValueError, MataError (mata_refusal).
        """

    def clear_mata(self) -> None: ...
    def use_adapters(self, on: bool) -> None:
        """Whether the model's LoRA adapters act, as they do from the start.  Raises ValueError once something was fed."""

    def fork(self) -> Session:
        """A session sharing this one's KV, with the same MATA setting and logits.

        Raises ContextFullError (n_seq_max are alive), MataError while a Generation runs on this one.
        """

    def share(self, n_past: int) -> Session:
        """A session that has the first n_past positions of this one's KV, and neither its MATA setting nor logits.

        Also while this one is fed or generated from.  Raises ContextFullError, ValueError when the memory cannot be cut.
        """

    def truncate(self, n_past: int) -> None:
        """Forget positions from n_past on; logits are dropped.  Raises ValueError when the memory cannot do so."""

    def set_attention_readout(self, layers: Sequence[int] | None) -> None:
        """Keep the attention rows of these layers for the tokens that predict; None stops it."""

    def attention(self) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """layer -> (before, after), each [n_rows, n_head, n_past]: softmax over positions, columns in order of position."""

    def set_attention_sums(
        self, layers: Sequence[int], groups: Sequence[tuple[int, int, int]], time_layers: Sequence[int]
    ) -> None:
        """As set_attention_readout, but only sums are kept of each row: a small thing also for a long context.

        groups: (start, end, number) in positions; a position belongs to the first range that holds it, or to
        no group.  time_layers: of the layers, those whose weights on the positions of group 0 are averaged.
        Raises ValueError (a layer without attention, layers with different numbers of heads, a bad range).
        """

    def attention_sums(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(before, after, time before, time after) of the rows of the last feed that predict.

        The first two are [n_rows, n_layers, n_head, n_groups], layers ascending; the others [n_rows, n_time]:
        the mean over heads and time_layers on each position of group 0, in the order of groups.
        Raises ValueError when no sums are kept.
        """

    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...

class Sampler:
    """llama.cpp's sampler chain: penalties, grammar, top-k, top-p, min-p, temperature, seeded draw (greedy at temperature 0)."""

    def __init__(
        self,
        engine: Engine,
        *,
        temperature: float = 0.0,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        penalty_last_n: int = 64,
        seed: int = 0,
        grammar: str = "",
        cancel: Cancel | None = None,
    ) -> None:
        """Raises ValueError for a bad number or a grammar (GBNF) that does not parse or is too ambiguous, CancelledError."""

    def sample(self, logits: NDArray[np.float32]) -> int:
        """Draw from logits [n_vocab] and accept the token.  Raises ValueError, MataError (NaN, or nothing is finite)."""

class Token:
    """One generated token."""

    @property
    def id(self) -> int: ...
    @property
    def bytes(self) -> builtins.bytes: ...  # its text, "" for a special token; a character may span tokens
    @property
    def logprob(
        self,
    ) -> float: ...  # natural logarithm, before temperature and penalties; NaN unless asked for, or the first
    @property
    def top(self) -> list[tuple[int, float]]: ...  # the likeliest, best first
    @property
    def at(self) -> float: ...  # seconds since the generation began
    @property
    def attention(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None:
        """The row that predicted it as Session.attention_sums has it, without the first axis; None unless kept."""

class Generation:
    """An answer being generated by the engine's decode loop, from a session that has logits.

    The loop puts the next token of every generation that runs into one batch.  Tokens come whether they are taken or
    not; the session is the generation's until that is finished.
    """

    def __init__(
        self,
        session: Session,
        sampler: Sampler,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        logprobs: int = -1,
        repeat_limit: int = 32,
        ignore_end: bool = False,
        attention: bool = False,
        cancel: Cancel | None = None,
    ) -> None:
        """stop: the answer ends with the first of these texts.  logprobs: alternatives given with each token; -1: no
        log-probabilities but the first token's.  repeat_limit: so many tokens that only repeat what stands before them
        end it, 0: never.  ignore_end: go on after an end of turn, for measurements.  attention: keep the session's sums of attention (set_attention_sums) of each token's row.
        Raises ValueError, MataError.
        """

    def take(self, timeout_s: float = 1e9) -> list[Token]:
        """The tokens made since the last call; waits for one.  [] when there are no more, or the time is up.

        An error of the computation is raised once all tokens are taken.  May be called from any thread.
        """

    def cancel(self) -> None:
        """End it soon; tokens made so far can still be taken.  The Cancel that it was given is left alone."""

    @property
    def finished(self) -> bool: ...  # and the session is free again
    @property
    def reason(self) -> str: ...  # "" while it runs, "stop", "length", "cancelled", "repetition", "error"
    @property
    def n_tokens(self) -> int: ...  # made so far, the end of turn not counted
    @property
    def n_fed(self) -> int: ...  # of these, in the cache
    @property
    def n_repeated(self) -> int: ...  # times that the repeated text came, if it ended by repetition
    @property
    def n_in_phrase(self) -> int: ...  # and its tokens
