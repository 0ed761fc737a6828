"""What a question gives back: plain records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .mata import Mata

if TYPE_CHECKING:
    from .audio import Audio
    from .audio.encoder import EncodedClip
    from .readout.record import Attention


@dataclass(frozen=True)
class ClipInfo:
    """A clip as the model heard it.

    seconds, sample_rate (Hz) and channels are the source's.  heard_seconds adds the silence that some
    models are given after a short clip; it is less than seconds where the model's reference stops
    listening before the end.  tokens is the number of audio tokens, at positions
    [span[0], span[1]); windows is the number of encoder windows the clip was cut into.
    """

    name: str
    seconds: float
    heard_seconds: float
    sample_rate: int
    channels: int
    tokens: int
    windows: int
    span: tuple[int, int]

    @classmethod
    def of(cls, audio: Audio, clip: EncodedClip, span: tuple[int, int]) -> ClipInfo:
        """What Session and AudioChat report of audio, encoded as clip."""
        start, end = span
        return cls(
            name=audio.name,
            seconds=audio.seconds,
            heard_seconds=clip.seconds,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            tokens=clip.n_tokens,
            windows=clip.embedding.n_windows,
            span=(int(start), int(end)),
        )


@dataclass(frozen=True)
class Usage:
    """Tokens: of the whole prompt (audio and earlier turns included), the audio in it, the answer's,
    and how many of the prompt's were still in the KV cache from earlier turns."""

    prompt_tokens: int
    audio_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """load_s, encode_s (the new clips', even if ahead of the question), prefill_s, and first_token_s, which is
    from the question to the first token, in seconds; tokens per second of decoding, 0 for one token."""

    load_s: float
    encode_s: float
    prefill_s: float
    first_token_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True)
class Answer:
    """finish_reason: "stop" (the model ended, or a stop string came), "length" or "cancelled".

    mata is the setting that was on, or None; layers are the layers it acted on.  audio holds every
    clip of the conversation so far, oldest first.  attention is where it listened, if that was asked for.
    """

    text: str
    finish_reason: str
    audio: list[ClipInfo]
    usage: Usage
    timings: Timings
    mata: Mata | None
    layers: tuple[int, ...] = ()
    attention: Attention | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; "attention" is among them if it was asked for."""
        return {
            "answer": self.text,
            "finish_reason": self.finish_reason,
            **_common(self.audio, self.mata, self.layers),
            "usage": asdict(self.usage),
            "timings": asdict(self.timings),
            **({} if self.attention is None else {"attention": self.attention.to_dict()}),
        }

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Choice:
    """The likeliest of some options.

    logprobs[i] is the natural logarithm of the probability that the model's whole answer is option i:
    the sum over its tokens and the end of the turn.  tokens[i] counts them, for those who want a mean.
    attention[i] is where the model listened while option i was scored, if that was asked for.
    """

    text: str
    index: int
    options: list[str]
    logprobs: list[float]
    tokens: list[int]
    audio: list[ClipInfo]
    usage: Usage
    timings: Timings
    mata: Mata | None
    layers: tuple[int, ...] = field(default=())
    attention: list[Attention] | None = field(default=None, repr=False)

    @property
    def probabilities(self) -> list[float]:
        """The options' shares, summing to 1."""
        from math import exp

        top = max(self.logprobs)
        weights = [exp(value - top) for value in self.logprobs]
        return [weight / sum(weights) for weight in weights]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "answer": self.text,
            "index": self.index,
            "options": list(self.options),
            "logprobs": list(self.logprobs),
            "probabilities": self.probabilities,
            "finish_reason": "stop",
            **_common(self.audio, self.mata, self.layers),
            "usage": asdict(self.usage),
            "timings": asdict(self.timings),
            **({} if self.attention is None else {"attention": [one.to_dict() for one in self.attention]}),
        }

    def __str__(self) -> str:
        return self.text


class Piece(str):
    """A piece of streamed text; the last one (often empty) carries the finished answer."""

    answer: Answer | None

    def __new__(cls, text: str, answer: Answer | None = None) -> Piece:
        piece = super().__new__(cls, text)
        piece.answer = answer
        return piece


def _common(audio: list[ClipInfo], mata: Mata | None, layers: tuple[int, ...]) -> dict[str, Any]:
    return {
        "audio": [{**asdict(clip), "span": list(clip.span)} for clip in audio],
        "mata": None if mata is None else {**mata.to_dict(), "layers": list(layers)},
    }
