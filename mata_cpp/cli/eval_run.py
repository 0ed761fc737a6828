"""What the commands of mata-eval do."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import mata
from ..checks import short_name
from ..errors import CancelledError, MataError
from ..evaluate import log as logs_of
from ..evaluate import official, settings
from ..evaluate.answerer import Answerer
from ..evaluate.cache import CachedAnswerer
from ..evaluate.jobs import Shard, jobs
from ..evaluate.local import LocalModel
from ..evaluate.log import Log
from ..evaluate.record import Record
from ..evaluate.report import Report
from ..evaluate.run import Progress
from ..evaluate.run import run as answer_all
from ..evaluate.settings import Setting
from ..evaluate.work import Data, Plan, model_hashes, run_facts
from ..files import resolve
from . import options, output

if TYPE_CHECKING:
    from ..evaluate.calibrate import Found, Sound

SEQUENCES = 128
"""Of the cache: a sweep takes one for each setting, and one for each choice that is scored."""


def run(context: click.Context, given: Mapping[str, Any]) -> None:
    try:
        plan = Plan(
            method=given["method"] or "choose",
            forms=given["forms"],
            settings=_settings(given),
            sounds=("clip", *given["baselines"]),
            positions=1 if given["positions"] is None else given["positions"],
            limit=given["limit"],
            shard=Shard.parse(given["shard"]) if given["shard"] else Shard(),
        )
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    if given["server"] and plan.method != "generate":
        raise click.UsageError("a server answers in words: --server needs --method generate", context)
    if given["server"] and given["cache"] is not None:
        raise click.UsageError("what a server runs is not known: --server and --cache exclude each other", context)
    if given["server"] and given["ray"]:
        raise click.UsageError("--server and --ray exclude each other", context)
    data = Data.load(given["dataset"], given["data"], given["audio"], _columns(context, given["column"]))
    path = given["out"] or Path(f"{given['dataset']}.jsonl")
    with _answerer(given, plan) as answering, _cached(answering, plan, given["cache"]) as answerer:
        facts = run_facts(data, plan, answerer.facts)
        items = data.items[: plan.limit]
        todo = jobs(items, sounds=plan.sounds, forms=plan.forms, positions=plan.positions, shard=plan.shard)
        with Log(path, facts) as log:
            with _bar(quiet=given["quiet"]) as show:
                try:
                    progress = answer_all(todo, plan.settings, answerer, log, report=show, retry=given["retry"])
                except (KeyboardInterrupt, CancelledError):
                    output.say(f"interrupted: the same command goes on from here ({short_name(path)})")
                    raise KeyboardInterrupt from None
            if progress.failed and not given["quiet"]:
                output.say(f"{progress.failed} without an answer; --retry asks again, {short_name(path)} says why")
            output.write(Report(facts, list(log.records.values())).text())


@contextmanager
def _cached(answerer: Answerer, plan: Plan, path: Path | None) -> Iterator[Answerer]:
    if path is None:
        yield answerer
        return
    with contextlib.closing(CachedAnswerer(answerer, plan.method, path)) as cached:
        yield cached
        output.say(f"{cached.found} answers were known ({short_name(path)})")


@contextmanager
def _answerer(given: Mapping[str, Any], plan: Plan) -> Iterator[Answerer]:
    """What answers: servers, workers, or a model here."""
    parallel, max_tokens = given["parallel"] or 2, given["max_tokens"]
    if given["server"]:
        from ..evaluate.server import ServerModel

        urls = [url for text in given["server"] for url in text.split(",")]
        yield ServerModel(
            urls, model=given["server_model"], key=given["api_key"], max_tokens=max_tokens, parallel=parallel
        )
    elif given["ray"]:
        from ..evaluate.ray_workers import RayModel

        arguments = {**options.model_arguments(given), "n_seq_max": SEQUENCES}
        with RayModel(given["ray"], arguments, plan.method, max_tokens=max_tokens, workers=parallel) as workers:
            yield workers
    else:
        with options.open_model(given, None, quiet=given["quiet"], n_seq_max=SEQUENCES) as model:
            hashes = model_hashes(model)
            yield LocalModel(model, plan.method, hashes=hashes, max_tokens=max_tokens, parallel=parallel)


def report(logs: Sequence[Path], columns: Sequence[str], base: str | None, *, as_json: bool, html: Path | None) -> None:
    found = _report(logs, base)
    for column in columns:
        if not any(column in record.groups for record in found.records):
            known = sorted({name for record in found.records for name in record.groups})
            raise click.UsageError(f"there is no column {column}; there are {', '.join(known) or 'none'}")
    if html is not None:
        from ..evaluate import page

        page.write(html, found)
    if as_json:
        output.write(output.json_text(found.to_dict(), pretty=sys.stdout.isatty()) + "\n")
    else:
        output.write(found.text(columns))


def merge(logs: Sequence[Path], out: Path) -> None:
    facts, records = logs_of.merge(logs)
    logs_of.write(out, facts, records.values())
    output.write(f"{short_name(out)}: {len(records)} answers\n")


def predictions(logs: Sequence[Path], data: Path, setting: str | None, form: str | None, out: Path) -> None:
    facts, records = logs_of.merge(logs)
    dataset = str(facts["dataset"])
    loaded = Data.load(dataset, data, None, {}, need_audio=False)
    wanted = [record for record in records.values() if record.sound == "clip" and record.rotation == 0]
    if not wanted:
        raise MataError("the log has no answer")
    setting, form = setting or wanted[0].setting, form or wanted[0].form
    said = {record.item: said_by(record) for record in wanted if (record.setting, record.form) == (setting, form)}
    if not said:
        raise MataError(f"the log has no answer under {setting!r} with the form {form!r}")
    count = official.write_predictions(out, dataset, loaded.items, said)
    output.write(f"{short_name(out)}: {count} answers\n")
    if dataset in official.SECTIONS:
        output.write(official.report(dataset, loaded.items, said))


def misleading(labels: Path, audio: Path | None, out: Path, noises: Sequence[str], seed: int) -> None:
    from ..evaluate import misleading as made

    try:
        ratios = [None if text == "clean" else float(text) for text in noises]
    except ValueError:
        raise click.UsageError(f"--noise is clean or a number of decibels, not {', '.join(noises)}") from None
    clips = made.read_labels(labels, audio)
    table = made.write_set(clips, out, ratios, seed)
    output.write(f"{short_name(table)}: {2 * len(clips) * len(ratios)} questions about {len(clips)} clips\n")


def calibrate(given: Mapping[str, Any]) -> None:
    from ..evaluate import calibrate as work

    sounds = _sounds(given)
    with options.open_model(given, None, quiet=given["quiet"], n_seq_max=SEQUENCES) as model:
        matas = work.settings_for(model, given["alphas"] or work.ALPHAS)
        with _bar(quiet=given["quiet"]) as show:
            done = None if show is None else lambda number: show(Progress(len(sounds), number))
            found = work.calibrate(model, sounds, given["question"], matas, report=done)
    output.write(calibrated(found))
    best = found.best.setting.mata
    if given["out"] is not None and best is not None:
        mata.write(given["out"], best)
        output.say(f"mata-chat --mata {short_name(given['out'])} uses it", quiet=given["quiet"])


def _sounds(given: Mapping[str, Any]) -> list[Sound]:
    from ..audio import looks_like_audio_path
    from ..evaluate.calibrate import Sound
    from ..evaluate.datasets.source import Source

    folder = given["audio"]
    if given["labels"] is None:
        try:
            names = sorted(path for path in folder.iterdir() if path.is_file() and looks_like_audio_path(path.name))
        except OSError as error:
            raise MataError(f"cannot read {short_name(folder)}: {error.strerror or error}") from None
        found = [Sound(path) for path in names]
    else:
        found = []
        for row in Source(given["labels"], folder).rows():
            (path,) = row.sounds("audio")
            assert isinstance(path, Path)
            found.append(Sound(path, row.text("label").replace("_", " ")))
    if not found:
        raise MataError(f"there are no sounds in {short_name(folder)}")
    return found[: given["limit"]]


def calibrated(found: Found) -> str:
    """A table of what each setting did, and which is the best."""
    width = max(len(trial.setting.name) for trial in found.trials)
    accuracy = bool(found.trials[0].right)
    head = f"{'':{width}}  attention to the audio, %  raised on      KL"
    lines = [head + ("  right" if accuracy else "")]
    for trial in found.trials:
        share, raised = " " * 25, " " * 9
        if trial.before is not None and trial.after is not None and trial.raised is not None:
            share = f"{100 * trial.before:6.2f} -> {100 * trial.after:6.2f}".rjust(25)
            raised = f"{100 * trial.raised:7.0f} %"
        line = f"{trial.setting.name:{width}}  {share}  {raised}  {trial.kl:6.4f}"
        lines.append(line + (f"  {100 * sum(trial.right) / len(trial.right):5.1f}" if accuracy else ""))
    lines.append("")
    if found.halves is None:
        lines.append(f"raises attention most surely: {found.best.setting.name}")
    else:
        chose, other, p = found.halves
        lines += [
            f"best on one half: {found.best.setting.name}: {100 * chose[0]:.1f} % right, off {100 * chose[1]:.1f} %",
            f"on the other half: {100 * other[0]:.1f} % right, off {100 * other[1]:.1f} % (p {p:.3f})",
        ]
    return "\n".join(lines) + "\n"


def said_by(record: Record) -> str | None:
    """What the official scorer gets: the bare text of the choice, or the answer as it is where it names none."""
    if record.error is not None:
        return None
    return record.raw if record.chosen is None else record.choices[record.chosen]


def _report(logs: Sequence[Path], base: str | None) -> Report:
    facts, records = logs_of.merge(logs)
    found = Report(facts, list(records.values()), base)
    if base is not None and not any(record.setting == base for record in found.records):
        raise click.UsageError(f"the log has no setting {base!r}")
    return found


def _settings(given: Mapping[str, Any]) -> tuple[Setting, ...]:
    """In the order of the command line, "off" first where nothing is given."""
    if not given["settings"] and not given["grid"]:
        off = settings.parse_setting(settings.OFF)
        return (off,) if given["server"] else (off, _default(given))
    named = [_default(given) if text == "default" else settings.parse_setting(text) for text in given["settings"]]
    return tuple(settings.distinct([*named, *(settings.parse_grid(given["grid"]) if given["grid"] else [])]))


def _default(given: Mapping[str, Any]) -> Setting:
    return settings.of_mata(resolve.default_mata(given["model"]))


def _columns(context: click.Context, texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, sign, column = text.partition("=")
        if not sign or not name or not column:
            raise click.UsageError(f"--column takes NAME=COLUMN, not {text!r}", context)
        found[name] = column
    return found


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar of answers with rate and time left, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit="answer", file=sys.stderr, leave=False) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.set_postfix(failed=progress.failed, refresh=False)
            bar.update(progress.done - bar.n)

        yield show
