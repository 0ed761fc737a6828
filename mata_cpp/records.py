"""What a question gives back: plain records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import exp
from typing import TYPE_CHECKING, Any

from .mata import Mata

if TYPE_CHECKING:
    from .audio.encoder import EncodedClip
    from .decoding.contrast.rules import Contrast
    from .readout.effect import MataEffect
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
    def of(cls, clip: EncodedClip, span: tuple[int, int]) -> ClipInfo:
        """What Session and AudioChat report of a clip at these positions."""
        start, end = span
        return cls(
            name=clip.name,
            seconds=clip.seconds,
            heard_seconds=clip.heard_seconds,
            sample_rate=clip.audio.sample_rate,
            channels=clip.audio.channels,
            tokens=clip.tokens,
            windows=clip.windows,
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
class TokenLogprob:
    """A generated token.

    token: its text (a part of a character shows as a mark).  logprob: the natural logarithm of the probability that the
    model gave it, before temperature, penalties and grammar.  top: the likeliest tokens at its place, best first.
    """

    token: str
    id: int
    logprob: float
    top: tuple[TokenLogprob, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the names that OpenAI's API has."""
        record: dict[str, Any] = {"token": self.token, "id": self.id, "logprob": self.logprob}
        if self.top:
            record["top_logprobs"] = [other.to_dict() for other in self.top]
        return record


@dataclass(frozen=True)
class Answer:
    """finish_reason: "stop" (the model ended, a stop string came, or it only repeated itself), "length" or "cancelled".

    mata is the setting that was on, None where it was off; layers are the layers it acted on; mata_effect tells what it
    did to the attention there.  audio holds every
    clip of the conversation so far, oldest first.  confidence is the probability of the first token of the answer,
    None if there was none.  attention is where it listened, and logprobs has an entry for each token, if these were
    asked for.  contrast is the rule by which tokens were chosen, None where it was by the model's own probabilities;
    confidence and logprobs are what they were chosen by.
    """

    text: str
    finish_reason: str
    audio: list[ClipInfo]
    usage: Usage
    timings: Timings
    mata: Mata | None
    layers: tuple[int, ...] = ()
    mata_effect: MataEffect | None = None
    confidence: float | None = None
    attention: Attention | None = field(default=None, repr=False)
    logprobs: list[TokenLogprob] | None = field(default=None, repr=False)
    contrast: Contrast | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; "attention" and "logprobs" are among them if they were asked for."""
        return {
            "answer": self.text,
            "finish_reason": self.finish_reason,
            "confidence": self.confidence,
            **_common(self.audio, self.mata, self.layers, self.mata_effect),
            **({} if self.contrast is None else {"contrast": self.contrast.to_dict()}),
            "usage": asdict(self.usage),
            "timings": asdict(self.timings),
            **({} if self.attention is None else {"attention": self.attention.to_dict()}),
            **({} if self.logprobs is None else {"logprobs": [token.to_dict() for token in self.logprobs]}),
        }

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class WindowAnswer:
    """What was answered about seconds start to end of a clip; answer is None where it is silent."""

    start: float
    end: float
    answer: Answer | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "start", "end", and those of the answer; "answer" is null for silence."""
        rest: dict[str, Any] = {"answer": None} if self.answer is None else self.answer.to_dict()
        return {"start": round(self.start, 3), "end": round(self.end, 3), **rest}

    def __str__(self) -> str:
        return "(silence)" if self.answer is None else " ".join(self.answer.text.split())


@dataclass(frozen=True)
class Choice:
    """The option that the sound speaks for most.

    logprobs[i] is the natural logarithm of the probability that the model's whole answer is option i:
    the sum over its tokens and the end of the turn.  tokens[i] counts them, for those who want a mean.
    silence_logprobs[i] is the same where the clips are replaced by near silence of the same length, or the list is None
    where no contrast was made.  scores[i] is what decides: 2 * logprobs[i] - silence_logprobs[i], or logprobs[i].
    (An option that is unlikely whatever is heard, as a short name is for a model that answers in phrases, is not
    punished for that; Holtzman et al. 2021, "Surface form competition", arXiv 2104.08315, divide likewise.)
    attention[i] is where the model listened while option i was scored, if that was asked for.
    contrast: a rule that options were scored by: scores[i] is then the log-likelihood of option i under what the rule
    makes of both prompts at each token.
    """

    text: str
    index: int
    options: list[str]
    scores: list[float]
    logprobs: list[float]
    silence_logprobs: list[float] | None
    tokens: list[int]
    audio: list[ClipInfo]
    usage: Usage
    timings: Timings
    mata: Mata | None
    layers: tuple[int, ...] = field(default=())
    mata_effect: MataEffect | None = None
    attention: list[Attention] | None = field(default=None, repr=False)
    contrast: Contrast | None = None

    @property
    def probabilities(self) -> list[float]:
        """The options' shares among themselves, summing to 1: the softmax of the scores."""
        top = max(self.scores)
        weights = [exp(value - top) for value in self.scores]
        return [weight / sum(weights) for weight in weights]

    @property
    def confidence(self) -> float:
        """The chosen option's share."""
        return self.probabilities[self.index]

    @property
    def scored_by(self) -> str:
        """ "contrast with silence", "likelihood", or a rule as "contrast silence:1": what the scores are."""
        if self.contrast is not None:
            return f"contrast {self.contrast}"
        return "likelihood" if self.silence_logprobs is None else "contrast with silence"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "answer": self.text,
            "index": self.index,
            "options": list(self.options),
            "scored_by": self.scored_by,
            "scores": list(self.scores),
            "probabilities": self.probabilities,
            "confidence": self.confidence,
            "logprobs": list(self.logprobs),
            "silence_logprobs": None if self.silence_logprobs is None else list(self.silence_logprobs),
            "finish_reason": "stop",
            **_common(self.audio, self.mata, self.layers, self.mata_effect),
            **({} if self.contrast is None else {"contrast": self.contrast.to_dict()}),
            "usage": asdict(self.usage),
            "timings": asdict(self.timings),
            **({} if self.attention is None else {"attention": [one.to_dict() for one in self.attention]}),
        }

    def __str__(self) -> str:
        return self.text


class Piece(str):
    """A piece of streamed text; the last one (often empty) carries the finished answer.

    logprobs: of the tokens whose text is in this piece, if log-probabilities were asked for.
    """

    answer: Answer | None
    logprobs: tuple[TokenLogprob, ...]

    def __new__(cls, text: str, answer: Answer | None = None, logprobs: tuple[TokenLogprob, ...] = ()) -> Piece:
        piece = super().__new__(cls, text)
        piece.answer = answer
        piece.logprobs = logprobs
        return piece


def _common(
    audio: list[ClipInfo], mata: Mata | None, layers: tuple[int, ...], effect: MataEffect | None
) -> dict[str, Any]:
    return {
        "audio": [{**asdict(clip), "span": list(clip.span)} for clip in audio],
        "mata": None if mata is None else {**mata.to_dict(), "layers": list(layers)},
        "mata_effect": None if effect is None else effect.to_dict(),
    }
