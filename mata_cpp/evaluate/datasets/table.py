"""Any table: columns audio, question and answer, choices where there are any; the others are groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...checks import short_name
from ...errors import MataError
from ..items import Item, OfficialForm
from .source import Source, bare

COLUMNS = ("audio", "question", "choices", "answer", "id")
MAX_GROUP = 80
"""Characters; a longer value is no group but a text."""


def items(source: Source, columns: Mapping[str, str]) -> Iterator[Item]:
    """columns: what the table calls each of COLUMNS, where it is another name; "group": which of the others are groups,
    with commas."""
    own = {name: columns.get(name, name) for name in COLUMNS}
    for name in columns:
        if name not in (*COLUMNS, "group"):
            raise MataError(f"a table has the columns {', '.join(COLUMNS)} and group, not {name}")
    wanted = columns["group"].split(",") if "group" in columns else None
    rows = list(source.rows())
    known = dict.fromkeys(name for row in rows for name in row.values)  # in JSON lines, a row may lack some
    for name in (*(own[name] for name in COLUMNS if name in columns), *(wanted or ())):
        if rows and name not in known:
            raise MataError(f"{short_name(source.path)}: there is no column {name}; there are {', '.join(known)}")
    for row in rows:
        values = row.values
        for name in ("audio", "question", "answer"):
            if own[name] not in values:
                raise row.fail(f"there is no column {own[name]}; there are {', '.join(map(str, values))}")
        row = replace(row, values={name: values.get(column) for name, column in own.items()})
        others = [name for name in values if name not in own.values()] if wanted is None else wanted
        groups = replace(row, values=values).groups(*others)
        choices, answer = row.texts("choices"), row.text("answer")
        yield Item(
            id=row.text("id") if row.get("id") is not None else str(row.number),
            audio=row.sounds("audio"),
            question=row.text("question"),
            choices=bare(choices),
            answer=row.right(answer, choices) if choices else answer,
            groups={name: value for name, value in groups.items() if len(value) <= MAX_GROUP},
            official=OfficialForm(choices, answer),
        )
