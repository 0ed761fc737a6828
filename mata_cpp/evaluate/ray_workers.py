"""Ray actors as the model: each holds one, on whatever machine Ray puts it."""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CancelledError, MataError
from .answerer import Outcome
from .jobs import Job
from .settings import Setting

if TYPE_CHECKING:
    from .local import LocalModel

MAX_LOST = 8
"""Workers that may be lost in a run, for each worker that there is."""


class _Worker:
    """What runs in an actor."""

    def __init__(self, arguments: Mapping[str, Any], method: str, max_tokens: int) -> None:
        from ..model import AudioModel
        from .local import LocalModel
        from .work import model_hashes

        model = AudioModel(**arguments, mata=None)
        self._local: LocalModel = LocalModel(
            model, method, hashes=model_hashes(model), max_tokens=max_tokens, parallel=1
        )

    def facts(self) -> dict[str, Any]:
        return dict(self._local.facts)

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome] | str:
        """The outcomes, or why there are none."""
        try:
            return self._local.answer(job, settings)
        except (MataError, ValueError, OSError) as error:
            return str(error)


class RayModel:
    """address: of a Ray cluster ("auto", "ray://host:port"), or "local" for one on this machine.  arguments: for each
    worker's AudioModel.  workers: how many.

    A worker that is lost is replaced, and its question asked again.  Raises MataError where Ray is missing or cannot be
    reached, or a worker cannot load the model.
    """

    def __init__(
        self, address: str, arguments: Mapping[str, Any], method: str, *, max_tokens: int = 256, workers: int = 2
    ) -> None:
        try:
            import ray
        except ImportError:
            raise MataError("--ray needs Ray: pip install ray, or install mata-cpp with its extra [ray]") from None
        self._ray: Any = ray
        self.parallel = workers
        self._arguments = (dict(arguments), method, max_tokens)
        self._left = MAX_LOST * workers
        self._cancelled = False
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise MataError(f"no Ray cluster at {address}: {' '.join(str(error).split())[:200]}") from None
        self._actors = [self._start() for _ in range(workers)]
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for actor in self._actors:
            self._idle.put(actor)
        try:
            self._facts: dict[str, Any] = ray.get(self._actors[0].facts.remote())
        except Exception as error:
            self.close()
            raise MataError(f"a worker cannot load the model: {_reason(error)}") from None

    @property
    def facts(self) -> Mapping[str, Any]:
        return self._facts

    def prompt(self, job: Job) -> str:
        from .local import prompt_of

        return prompt_of(self._arguments[1], job)

    def answer(self, job: Job, settings: Sequence[Setting]) -> list[Outcome]:
        packed = replace(job, audio=tuple(part.read_bytes() if isinstance(part, Path) else part for part in job.audio))
        while True:
            if self._cancelled:
                raise CancelledError("cancelled")
            actor = self._idle.get()
            try:
                found = self._ray.get(actor.answer.remote(packed, list(settings)))
            except self._ray.exceptions.RayActorError as error:
                self._idle.put(self._replaced(error))
                continue
            except BaseException:
                self._idle.put(actor)
                raise
            self._idle.put(actor)
            if isinstance(found, str):
                raise MataError(found)
            return list(found)

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        """End the workers; a cluster of others goes on."""
        self._ray.shutdown()

    def __enter__(self) -> RayModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------

    def _start(self) -> Any:
        return self._ray.remote(_Worker).options(num_cpus=1).remote(*self._arguments)

    def _replaced(self, error: Exception) -> Any:
        self._left -= 1
        if self._left < 0:
            raise MataError(f"too many workers were lost: {_reason(error)}")
        actor = self._start()
        self._actors.append(actor)
        return actor


def _reason(error: BaseException) -> str:
    """The last line of what Ray tells, which is the worker's own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
