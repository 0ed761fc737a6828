"""A run: jobs answered by several threads, each result a line of the log as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..errors import CancelledError, MataError
from .answerer import Answerer, Outcome
from .jobs import Job
from .log import Log
from .parse import parse
from .prompts import FORMS
from .record import Record
from .settings import Setting, parse_setting

MAX_FAILURES = 5
"""So many jobs that fail from the start, one after the other, are the run's fault and not the items'."""


@dataclass
class Progress:
    """done of total records; failed are those without an answer."""

    total: int
    done: int = 0
    failed: int = 0


def run(
    todo: Iterable[Job],
    settings: Sequence[Setting],
    answerer: Answerer,
    log: Log,
    *,
    report: Callable[[Progress], None] | None = None,
    retry: bool = False,
) -> Progress:
    """Answer what log does not have.  retry: also what it has as failed.

    A job that fails is logged with the reason, and the others go on.  Raises CancelledError, and MataError where the
    first jobs all fail and the log has no answer.
    """
    wanted = [(job, missing) for job in todo if (missing := _missing(job, settings, log, retry))]
    progress = Progress(sum(len(missing) for _, missing in wanted))
    any_answered = any(record.error is None for record in log.records.values())
    asked = 0
    if report is not None:
        report(progress)
    stop = threading.Event()

    def work(job: Job, missing: Sequence[Setting]) -> list[Record]:
        if stop.is_set():
            raise CancelledError("cancelled")
        return _records(job, missing, answerer)

    with ThreadPoolExecutor(answerer.parallel, thread_name_prefix="mata-eval") as threads:
        try:
            for records in _completed(threads, work, wanted, 2 * answerer.parallel):
                log.add(records)
                progress.done += len(records)
                progress.failed += sum(record.error is not None for record in records)
                any_answered = any_answered or any(record.error is None for record in records)
                asked += 1
                if asked >= MAX_FAILURES and not any_answered:
                    raise MataError(f"the first {asked} questions all failed: {records[-1].error}")
                if report is not None:
                    report(progress)
        except BaseException:
            stop.set()
            answerer.cancel()
            raise
    return progress


def settings_of(job: Job, settings: Sequence[Setting]) -> list[Setting]:
    """The settings that a job is asked under: only "off" where the item's own clip is not heard."""
    return list(settings) if job.sound == "clip" else [parse_setting("off")]


def _missing(job: Job, settings: Sequence[Setting], log: Log, retry: bool) -> list[Setting]:
    def there(setting: Setting) -> bool:
        known = log.records.get((job.place, setting.name))
        return known is not None and not (retry and known.error is not None)

    return [setting for setting in settings_of(job, settings) if not there(setting)]


def _completed(
    threads: ThreadPoolExecutor,
    work: Callable[[Job, Sequence[Setting]], list[Record]],
    wanted: Sequence[tuple[Job, list[Setting]]],
    ahead: int,
) -> Iterator[list[Record]]:
    """Results as they come, those that are there together in order; so many jobs are begun ahead."""
    running: list[Future[list[Record]]] = []
    for job, missing in wanted:
        running.append(threads.submit(work, job, missing))
        if len(running) >= ahead:
            yield from _next(running)
    while running:
        yield from _next(running)


def _next(running: list[Future[list[Record]]]) -> Iterator[list[Record]]:
    """Wait for one at least; what is done is taken out."""
    done = wait(running, return_when=FIRST_COMPLETED).done
    finished = [future for future in running if future in done]
    running[:] = [future for future in running if future not in done]
    for future in finished:
        yield future.result()


def _records(job: Job, settings: Sequence[Setting], answerer: Answerer) -> list[Record]:
    try:
        key = job.item.key
        outcomes = answerer.answer(job, settings)
    except CancelledError:
        raise
    except (MataError, ValueError, OSError) as error:
        key = ""
        outcomes = [Outcome(error=" ".join(str(error).split()) or type(error).__name__)] * len(settings)
    if any(outcome.finish_reason == "cancelled" for outcome in outcomes):
        raise CancelledError("cancelled")
    prompt = answerer.prompt(job)
    return [_record(job, setting, outcome, key, prompt) for setting, outcome in zip(settings, outcomes, strict=True)]


def _record(job: Job, setting: Setting, outcome: Outcome, key: str, prompt: str) -> Record:
    chosen = outcome.chosen
    if chosen is None and outcome.raw is not None and job.choices:
        form = FORMS.get(job.form)
        chosen = parse(outcome.raw, job.choices, lettered=form is not None and form.lettered)
    return Record(
        item=job.item.id,
        sound=job.sound,
        form=job.form,
        rotation=job.rotation,
        setting=setting.name,
        key=key,
        groups=job.item.groups,
        choices=job.choices,
        answer=job.item.answer,
        right=job.right,
        prompt=prompt,
        raw=outcome.raw,
        chosen=chosen,
        error=outcome.error,
        scores=outcome.scores,
        confidence=outcome.confidence,
        finish_reason=outcome.finish_reason,
        effect=outcome.effect,
        timings=outcome.timings,
    )
