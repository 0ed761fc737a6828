"""The tables of docs/evidence.md, from the log of a run over plain and misleading questions.

    python -m benchmarks.evidence LOG [--half test]

How the log is made: docs/evidence.md.  A cell is right answers in percent, and after the slash the share of answers
that name the sound that the question pretends.  The second table compares each setting with the first one by McNemar's
exact test (mid-p) on the same questions, p before any correction for the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mata_cpp.evaluate import scores
from mata_cpp.evaluate.log import read
from mata_cpp.evaluate.record import Record

KINDS = ("plain", "misleading")


def cell(records: Sequence[Record]) -> str:
    """Right and misled, in percent."""
    n = len(records)
    if not n:
        return "-"
    right = sum(record.correct for record in records)
    lured = sum(
        record.chosen is not None and record.choices[record.chosen] == record.groups["lure"] for record in records
    )
    return f"{100 * right / n:.1f} / {100 * lured / n:.1f}"


def shift(records: Sequence[Record]) -> str:
    """The mean change of the audio's share of attention in the boosted layers, in points."""
    changes = [record.effect[1] - record.effect[0] for record in records if record.effect is not None]
    return f"{100 * sum(changes) / len(changes):+.2f}" if changes else "-"


def tables(records: Sequence[Record]) -> list[str]:
    """Lines of Markdown."""
    settings = list(dict.fromkeys(record.setting for record in records))
    noises = list(dict.fromkeys(record.groups["noise"] for record in records))
    columns = [(noise, kind) for noise in noises for kind in KINDS]

    def part(setting: str, kind: str | None = None, noise: str | None = None) -> list[Record]:
        return [
            record
            for record in records
            if record.setting == setting
            and kind in (None, record.groups["kind"])
            and noise in (None, record.groups["noise"])
        ]

    lines = ["| setting | attention | " + " | ".join(f"{noise}, {kind}" for noise, kind in columns) + " |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for setting in settings:
        cells = [cell(part(setting, kind, noise)) for noise, kind in columns]
        lines.append(f"| {setting} | {shift(part(setting))} | " + " | ".join(cells) + " |")
    lines += ["", "| setting | plain | p | misleading | p |", "|---|---|---|---|---|"]
    for setting in settings[1:]:
        row = [setting]
        for kind in KINDS:
            found = scores.compare(part(settings[0], kind), part(setting, kind))
            low, high = 100 * found.low, 100 * found.high
            row += [f"{100 * found.difference:+.1f} ({low:+.1f} to {high:+.1f})", f"{found.p:.3f}"]
        lines.append("| " + " | ".join(row) + " |")
    return lines


@click.command()
@click.argument("log", type=click.Path(exists=True, path_type=Path))
@click.option("--half", "halves", multiple=True, help="development or test; both unless given.")
def main(log: Path, halves: tuple[str, ...]) -> None:
    """Print the tables of a log."""
    _, found = read(log)
    for half in halves or ("development", "test"):
        records = [record for record in found.values() if record.groups["half"] == half]
        print(f"{half}: {len({record.item for record in records})} questions\n")
        print("\n".join(tables(records)) + "\n")


if __name__ == "__main__":
    main()
