"""A model on this machine, asked about each item once for all settings."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..audio.clip import Audio
from ..decoding.contrast.silence import silence
from ..decoding.scoring import ChoiceForm
from ..extension import load
from ..model import AudioModel
from ..options import AskOptions, ChooseOptions
from ..readout.effect import MataEffect
from ..records import Answer, Choice
from .answerer import Outcome
from .items import AudioPart
from .jobs import Job
from .prompts import render
from .settings import Setting, contrast_for

if TYPE_CHECKING:
    from .._core import Cancel


class LocalModel:
    """method: one of METHODS.  hashes: of the model's files, by what they are.  parallel: questions at a time."""

    def __init__(
        self, model: AudioModel, method: str, *, hashes: Mapping[str, str], max_tokens: int = 256, parallel: int = 2
    ) -> None:
        self._model, self._method, self._hashes, self._max_tokens = model, method, hashes, max_tokens
        self.parallel = parallel
        self._running: weakref.WeakSet[Cancel] = weakref.WeakSet()
        self._cancelled = False

    @property
    def facts(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {"model": self._model.name, **self._hashes, "mata_cpp": __version__}
        return {**facts, "max_tokens": self._max_tokens} if self._method == "generate" else facts

    def prompt(self, job: Job) -> str:
        return prompt_of(self._method, job)

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome]:
        started = time.perf_counter()
        clips = self._clips(job)
        ask = self._generated if self._method == "generate" else self._chosen
        plain = [number for number, setting in enumerate(settings) if setting.contrast is None]
        found: dict[int, Outcome] = {}
        if plain:
            found.update(zip(plain, ask(job, clips, [settings[number] for number in plain]), strict=True))
        contrasted = self._generated_by_contrast if self._method == "generate" else self._chosen_by_contrast
        for number, setting in enumerate(settings):
            if number not in found:
                found[number] = contrasted(job, clips, setting)
        seconds = (time.perf_counter() - started) / len(settings)
        timings = {"seconds": round(seconds, 4)}
        return [replace(found[number], timings=timings) for number in range(len(settings))]

    def cancel(self) -> None:
        self._cancelled = True
        for running in list(self._running):
            running.cancel()

    # -------------------------------------------------------------------------------------------

    def _new_cancel(self) -> Cancel:
        """For one question."""
        made: Cancel = load().Cancel()
        self._running.add(made)
        if self._cancelled:
            made.cancel()
        return made

    def _clips(self, job: Job) -> list[Audio]:
        """What is heard; nothing for the sound "none"."""
        if job.sound == "none":
            return []
        clips = [_clip(part, job.item.id) for part in job.audio]
        if job.sound == "silence":
            rate = self._model.engine.sample_rate
            return [silence(clip.seconds, rate) for clip in clips]
        return clips

    def _chosen(self, job: Job, clips: list[Audio], settings: Sequence[Setting]) -> list[Outcome]:
        """settings: without contrast."""
        form = choice_form(self._method, job.form)
        given = ChooseOptions(
            contrast=form.contrast, listed=form.listed, letters=form.letters, cancel=self._new_cancel()
        )
        question, choices = job.item.question, list(job.distinct)
        if not clips:
            with self._model.chat() as chat:
                return [_choice(job, chat.choose(None, question, choices, **given))] * len(settings)
        return [
            _choice(job, one)
            for one in self._model.sweep_choices(
                clips, question, choices, [setting.mata for setting in settings], **given
            )
        ]

    def _chosen_by_contrast(self, job: Job, clips: list[Audio], setting: Setting) -> Outcome:
        form = choice_form(self._method, job.form)
        choice = self._model.choose(
            clips,
            job.item.question,
            list(job.distinct),
            mata=setting.mata,
            contrast=contrast_for(setting, job.item.groups) or form.contrast,
            listed=form.listed,
            letters=form.letters,
            cancel=self._new_cancel(),
        )
        return _choice(job, choice)

    def _generated_by_contrast(self, job: Job, clips: list[Audio], setting: Setting) -> Outcome:
        answer = self._model.ask(
            clips,
            self.prompt(job),
            mata=setting.mata,
            contrast=contrast_for(setting, job.item.groups),
            max_tokens=self._max_tokens,
            cancel=self._new_cancel(),
        )
        return _answer(answer)

    def _generated(self, job: Job, clips: list[Audio], settings: Sequence[Setting]) -> list[Outcome]:
        """settings: without contrast."""
        given = AskOptions(max_tokens=self._max_tokens, cancel=self._new_cancel())
        prompt = self.prompt(job)
        if not clips:
            with self._model.chat() as chat:
                return [_answer(chat.ask(None, prompt, **given))] * len(settings)
        return [
            _answer(one) for one in self._model.sweep(clips, prompt, [setting.mata for setting in settings], **given)
        ]


def prompt_of(method: str, job: Job) -> str:
    """What is asked."""
    if method == "generate":
        return render(job.form, job.item.question, job.choices)
    return choice_form(method, job.form).question(job.item.question, job.distinct)


def choice_form(method: str, form: str) -> ChoiceForm:
    """How choices are put to the model and scored."""
    return ChoiceForm(contrast=method == "choose", listed=form == "listed", letters=form == "letters")


def _clip(part: AudioPart, name: str) -> Audio:
    return Audio(part, name=name if isinstance(part, bytes) else part.name)


def _choice(job: Job, choice: Choice) -> Outcome:
    scores = dict(zip(choice.options, choice.scores, strict=True))
    return Outcome(
        raw=choice.text,
        chosen=job.choices.index(choice.text),
        scores=tuple(round(scores[text], 4) for text in job.choices),
        confidence=round(choice.confidence, 4),
        effect=_effect(choice.mata_effect),
    )


def _answer(answer: Answer) -> Outcome:
    confidence = None if answer.confidence is None else round(answer.confidence, 4)
    return Outcome(
        raw=answer.text,
        confidence=confidence,
        finish_reason=answer.finish_reason,
        effect=_effect(answer.mata_effect),
    )


def _effect(effect: MataEffect | None) -> tuple[float, float] | None:
    return None if effect is None else (round(effect.before, 5), round(effect.after, 5))
