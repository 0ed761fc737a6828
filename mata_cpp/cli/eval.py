"""mata-eval: the questions of a benchmark under many settings, and what came of them."""

from __future__ import annotations

import sys

try:
    from pathlib import Path
    from typing import Any

    import click

    from .. import __version__
    from . import options
    from .command import CONTEXT, EPILOG, OneLineGroup, prepare_streams
    from .options import option
except KeyboardInterrupt:
    sys.exit(130)

FILE = click.Path(path_type=Path)
LOGS = click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=FILE)
QUIET = option("-q", "--quiet", is_flag=True, help="Print only results, and errors.")

MODEL_S_OWN = "default"
"""The setting that stands for what the model does unasked."""


@click.group("mata-eval", cls=OneLineGroup, context_settings=CONTEXT, epilog=EPILOG)
@click.version_option(__version__, prog_name="mata-eval", message="%(prog)s %(version)s")
def cli() -> None:
    """Ask a model the questions of a benchmark, with MATA off and on, and compare.

    \b
    mata-eval run mmau --data mmau-test-mini.json --audio audio --setting off --setting alpha=0.1
    mata-eval report mmau.jsonl --by task
    """


@cli.command()
@click.argument("dataset")
@options.model_options(
    option("--data", metavar="FILE", required=True, type=FILE, help="The questions."),
    option("--audio", metavar="DIR", type=FILE, help="Where the sounds are.", default="the folder of the questions"),
    option("--column", metavar="NAME=COLUMN", multiple=True, help="Columns of a table: audio=wav, answer=label, ..."),
    option("--out", metavar="FILE", type=FILE, help="The log.", default="DATASET.jsonl, here"),
    option(
        "--method",
        type=click.Choice(["choose", "likelihood", "generate"]),
        help="Compare the choices as mata-chat --choices does, by likelihood alone, or let the model answer.",
        default="choose",
    ),
    option("--form", "forms", metavar="NAME", multiple=True, help="Form of the prompt; may be repeated."),
    option(
        "--setting",
        "settings",
        metavar="SETTING",
        multiple=True,
        help='off, default, or "alpha=0.2 layers=10:20 mode=abs"; may be repeated.',
        default="off and default, which is the model's own",
    ),
    option("--grid", metavar="NAME=V,V", multiple=True, help="All combinations of alpha=0.1,0.2 mode=scale,abs ..."),
    option(
        "--baseline",
        "baselines",
        type=click.Choice(["none", "silence", "other"]),
        multiple=True,
        help="Ask also with no audio, with silence, or with another clip; may be repeated.",
    ),
    option(
        "--positions",
        metavar="NUMBER",
        type=click.IntRange(0),
        help="Offer the right answer at so many places; 0: at all.",
        default="1, as published",
    ),
    option("--limit", metavar="NUMBER", type=click.IntRange(1), help="Only the first NUMBER questions."),
    option("--shard", metavar="N/OF", help="Only every OF-th question, from the N-th; merge joins the logs."),
    option("--max-tokens", metavar="NUMBER", type=click.IntRange(1), help="Maximum length of an answer, in tokens."),
    option("--parallel", metavar="NUMBER", type=click.IntRange(1, 64), help="Questions at a time.", default="2"),
    option(
        "--server", metavar="URL", multiple=True, help="Ask OpenAI-compatible servers instead; several share the work."
    ),
    option("--server-model", metavar="NAME", help="The model's name there.", default="the first that they list"),
    option("--api-key", metavar="KEY", envvar="MATA_EVAL_API_KEY", help="Of the servers; or MATA_EVAL_API_KEY."),
    option("--ray", metavar="ADDRESS", help="Ask --parallel workers of a Ray cluster; local starts one here."),
    option("--cache", metavar="FILE", type=FILE, help="Keep answers here, by content, and take known ones from it."),
    option("--retry", is_flag=True, help="Ask again what failed."),
)
@click.pass_context
def run(context: click.Context, /, **given: Any) -> None:
    """Ask the questions of DATASET and log every answer.

    DATASET is mmau, mmar, mmau-pro, mmsu, voicebench-mmsu, sakura, audiocaps-hallucination, or table: a file with
    columns audio, question, choices and answer. The same command goes on where an interrupted run stopped.
    """
    from . import eval_run

    eval_run.run(context, given)


@cli.command()
@LOGS
@option("--by", "columns", metavar="COLUMN", multiple=True, help="Also by task, category, ...; may be repeated.")
@option("--base", metavar="SETTING", help="Compare with this setting.", default="the log's first")
@option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@option("--html", metavar="FILE", type=FILE, help="Also write a page with tables and plots.")
def report(
    logs: tuple[Path, ...], columns: tuple[str, ...], base: str | None, as_json: bool, html: Path | None
) -> None:
    """Show what came of a run: right answers with intervals, and paired tests between settings."""
    from . import eval_run

    eval_run.report(logs, columns, base, as_json=as_json, html=html)


@cli.command()
@LOGS
@option("--out", metavar="FILE", required=True, type=FILE, help="The log to write.")
def merge(logs: tuple[Path, ...], out: Path) -> None:
    """Join the logs of the shards of a run."""
    from . import eval_run

    eval_run.merge(logs, out)


@cli.command()
@LOGS
@option("--data", metavar="FILE", required=True, type=FILE, help="The questions.")
@option("--setting", metavar="SETTING", help="Whose answers.", default="the log's first")
@option("--form", metavar="NAME", help="Of which form of the prompt.", default="the log's first")
@option("--out", metavar="FILE", required=True, type=FILE, help="The file to write.")
def predictions(logs: tuple[Path, ...], data: Path, setting: str | None, form: str | None, out: Path) -> None:
    """Write the answers as the data set's official scorer reads them, and show what it would print."""
    from . import eval_run

    eval_run.predictions(logs, data, setting, form, out)


@cli.command()
@options.model_options(
    option("--audio", metavar="DIR", required=True, type=FILE, help="A folder of sounds."),
    option("--question", metavar="TEXT", required=True, help="What is asked about each."),
    option("--labels", metavar="FILE", type=FILE, help="A table with the columns audio and label."),
    option(
        "--alpha",
        "alphas",
        metavar="NUMBER",
        multiple=True,
        type=float,
        help="May be repeated.",
        default="0.05, 0.1 and 0.2",
    ),
    option("--limit", metavar="NUMBER", type=click.IntRange(1), help="Only so many sounds."),
    option("--out", metavar="FILE", type=FILE, help="Write the best setting, for --mata FILE."),
)
def calibrate(**given: Any) -> None:
    """Find which modes, layers and strengths raise a model's attention to your sounds, and what that does.

    With labels, the best setting on one half of the sounds is tried on the other half.
    """
    from . import eval_run

    eval_run.calibrate(given)


@cli.command()
@click.argument("labels", metavar="TABLE", type=FILE)
@option("--audio", metavar="DIR", type=FILE, help="Where the sounds are.", default="the folder of the table")
@option("--out", metavar="DIR", required=True, type=FILE, help="Where sounds and questions go.")
@option(
    "--noise",
    "noises",
    metavar="dB",
    multiple=True,
    help="clean, or a signal-to-noise ratio; may be repeated.",
    default="clean, 10, 0 and -10",
)
@option("--seed", metavar="NUMBER", type=click.IntRange(0), help="Of options and noise.", default="0")
def misleading(labels: Path, audio: Path | None, out: Path, noises: tuple[str, ...], seed: int | None) -> None:
    """Make plain and misleading questions over sounds in noise.

    TABLE has the columns audio, label and half (development or test). Ask them with: mata-eval run table --data
    DIR/questions.csv
    """
    from . import eval_run

    eval_run.misleading(labels, audio, out, noises or ("clean", "10", "0", "-10"), seed or 0)


def main() -> None:
    """The entry point of mata-eval."""
    prepare_streams()
    cli.main(prog_name="mata-eval")


if __name__ == "__main__":
    main()
