"""The closed questions of MMAU-Pro (gamma-lab-umd/MMAU-Pro): those with choices; some are about several clips.

Left out are questions without choices or with a single one, and those whose published answer is none of the choices:
nobody can get these right.  A warning says how many the latter are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...checks import short_name
from ...warn import warn
from ..items import Item, OfficialForm
from .source import Source, bare

GROUPS = ("category", "sub-cat", "length_type", "task_identifier")


def items(source: Source) -> Iterator[Item]:
    unanswerable = 0
    for row in source.rows():
        choices = row.texts("choices")
        if len(choices) < 2:
            continue  # open, or to be judged by another model
        answer = row.text("answer")
        right = row.named(answer, choices) or _alike(answer, choices)
        if right is None:
            unanswerable += 1
            continue
        yield Item(
            id=row.text("id", "unique_id"),
            audio=row.sounds("audio_path", "audio"),
            question=row.text("question"),
            choices=bare(choices),
            answer=right,
            groups=row.groups(*GROUPS),
            official=OfficialForm(choices, answer),
        )
    if unanswerable:
        warn(f"{short_name(source.path)}: left out {unanswerable} questions whose answer is none of their choices")


def _alike(answer: str, choices: Sequence[str]) -> str | None:
    """The one choice that differs from the answer in punctuation and case only."""
    wanted = _words(answer)
    found = [choice for choice in bare(choices) if wanted and _words(choice) == wanted]
    return found[0] if len(found) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
