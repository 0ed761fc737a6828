"""How many recorded clips the default model names: open question, greedy, exact label, MATA on and off.

    python -m benchmarks.clips FOLDER [--fold 5] [--limit N]

FOLDER holds audio files and clips.csv with the columns file, label, fold (ESC-10 laid out like that; labels as
dog, rain, sea_waves, crying_baby, clock_tick, sneezing, helicopter, chainsaw, rooster, crackling_fire).
"""

from __future__ import annotations

import csv
from pathlib import Path

import click

from mata_cpp import AudioChat, Mata

NAMES = {
    "dog": "dog barking",
    "rain": "rain",
    "sea_waves": "sea waves",
    "crying_baby": "baby crying",
    "clock_tick": "clock ticking",
    "sneezing": "person sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster crowing",
    "crackling_fire": "fire crackling",
}


@click.command(help=__doc__.split("\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--fold", default="5", show_default=True)
@click.option("--limit", default=0, help="Only so many clips, evenly spread.  [default: all]")
def main(folder: Path, fold: str, limit: int) -> None:
    with (folder / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == fold]
    if limit:
        rows = rows[:: max(1, len(rows) // limit)][:limit]
    right = {"on": 0, "off": 0}
    chosen = {"on": 0, "off": 0}
    with AudioChat() as chat:
        for row in rows:
            name = NAMES[row["label"]]
            for key, mata in (("on", Mata()), ("off", None)):
                chat.mata = mata
                chat.reset()
                answer = chat.ask(folder / row["file"], "What sound is this?", max_tokens=8)
                right[key] += answer.text.strip() == name
                chat.reset()
                choice = chat.choose(
                    folder / row["file"],
                    "What sound is this?",
                    list(NAMES.values()),
                    contrast=False,
                    listed=False,
                )
                chosen[key] += choice.text == name
    for key in right:
        click.echo(f"MATA {key:3}  open {right[key]}/{len(rows)}  ten options by likelihood {chosen[key]}/{len(rows)}")


if __name__ == "__main__":
    main()
