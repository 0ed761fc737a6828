"""A report as one page of HTML that needs nothing else: tables and plots."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from ..checks import short_name
from ..errors import MataError
from . import plots, scores
from .report import Report, label_of
from .scores import Comparison, Score

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; background: white; border-radius: 4px; }
figcaption, .facts { color: #808080; font-size: .9em; }
"""

_HEAD = ("", "n", "right, %", "95 %", "no choice", "no answer", "official, %")
_COMPARED = ("difference", "95 %", "won", "lost", "p")


def write(path: Path, report: Report) -> None:
    """Raises MataError where it cannot be written, or plots cannot be drawn."""
    text = page(report)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None


def page(report: Report) -> str:
    facts = report.facts
    title = f"{facts.get('dataset', '')}: {facts.get('model', '')}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        '<p class="facts">' + "<br>".join(html.escape(f"{name}: {value}") for name, value in facts.items()) + "</p>",
    ]
    for form in report.forms:
        rows = [(row, records) for row, records in report.ordered() if row[1] == form]
        parts.append(f"<h2>Prompt: {html.escape(form)}</h2>")
        parts.append(f'<p class="facts">Differences are against {html.escape(report.base)}.</p>')
        cells = [
            [label_of(row), *_score(scores.score(records)), *_comparison(report.comparison(row))]
            for row, records in rows
        ]
        parts.append(_table((*_HEAD, *_COMPARED), cells))
    for caption, drawing in plots.all_plots(report):
        parts.append(f"<figure>{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>")
    for column in scores.columns(report.records):
        parts.append(f"<h2>By {html.escape(column)}</h2>")
        for row, records in report.ordered():
            parts.append(f"<h3>{html.escape(label_of(row))}, {html.escape(row[1])}</h3>")
            groups = scores.by_group(records, column)
            parts.append(_table(_HEAD, ([value, *_score(found)] for value, found in groups.items())))
    return "\n".join([*parts, "</body></html>", ""])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["<table><thead><tr>", *(f"<th>{html.escape(name)}</th>" for name in head), "</tr></thead><tbody>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    return "".join([*lines, "</tbody></table>"])


def _score(found: Score) -> list[str]:
    low, high = found.interval
    return [
        str(found.n),
        f"{100 * found.accuracy:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        str(found.unparsed),
        str(found.unanswered),
        "-" if found.official is None else f"{100 * found.official:.1f}",
    ]


def _comparison(found: Comparison | None) -> list[str]:
    if found is None:
        return [""] * len(_COMPARED)
    return [
        f"{100 * found.difference:+.1f}",
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
        str(found.won),
        str(found.lost),
        f"{found.p:.3f}",
    ]
