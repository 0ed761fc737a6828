"""Many questions at once, answered in order: those that a program gives, and those about the windows of a long clip."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias, cast

from . import checks, options
from .options import AskOptions, AudioLike
from .records import Answer, WindowAnswer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .audio.windows import Window

Item: TypeAlias = tuple[AudioLike, str] | tuple[AudioLike, str, AskOptions]
"""A question of ask_many: (audio, question), or (audio, question, options)."""

Ask: TypeAlias = Callable[[AudioLike, str, AskOptions], Answer]


def in_order(ask: Ask, items: Iterable[Item], parallel: int) -> Iterator[Answer]:
    """The answers to items, up to parallel of them at a time; see AudioModel.ask_many."""
    with contextlib.closing(outcomes(ask, items, parallel)) as found:
        for outcome in found:
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


def outcomes(ask: Ask, items: Iterable[Item], parallel: int) -> Generator[Answer | Exception, None, None]:
    """The same, with the exception of a question in the place of its answer."""
    from concurrent.futures import ThreadPoolExecutor

    cancel = options.cancel_of({})

    def answer(item: Item) -> Answer:
        audio, question, *rest = item
        given = rest[0] if rest else AskOptions()
        return ask(audio, question, cast(AskOptions, {"cancel": cancel, **given}))

    with ThreadPoolExecutor(parallel, thread_name_prefix="mata-ask") as threads:
        running: deque[Future[Answer]] = deque()
        try:
            for item in items:
                if not isinstance(item, tuple | list) or len(item) not in (2, 3):
                    raise ValueError(
                        f"an item must be (audio, question) or (audio, question, options), "
                        f"not {checks.short_repr(item)}"
                    )
                running.append(threads.submit(answer, item))
                if len(running) > parallel:
                    yield _outcome(running.popleft())
            while running:
                yield _outcome(running.popleft())
        finally:
            cancel.cancel()
            for future in running:
                future.cancel()


def _outcome(future: Future[Answer]) -> Answer | Exception:
    try:
        return future.result()
    except Exception as error:
        return error


def of_windows(
    ask: Ask, windows: Iterator[Window], question: str, parallel: int, given: AskOptions
) -> Iterator[WindowAnswer]:
    """The question asked of each window; a silent one has no answer.  See AudioModel.ask_windows."""
    waiting: deque[Window] = deque()

    def items() -> Iterator[Item]:
        for window in windows:
            waiting.append(window)
            if window.audio is not None:
                yield window.audio, question, given

    for answer in in_order(ask, items(), parallel):
        while waiting[0].audio is None:
            yield _silent(waiting.popleft())
        window = waiting.popleft()
        yield WindowAnswer(window.start, window.end, answer)
    yield from map(_silent, waiting)


def _silent(window: Window) -> WindowAnswer:
    return WindowAnswer(window.start, window.end, None)
