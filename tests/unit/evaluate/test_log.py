"""The log of a run, and what a run does with it."""

import json
import subprocess
import sys
import threading

import pytest

from mata_cpp import CancelledError, MataError
from mata_cpp.evaluate import log as logs
from mata_cpp.evaluate.answerer import Outcome
from mata_cpp.evaluate.items import Item
from mata_cpp.evaluate.jobs import Shard, jobs
from mata_cpp.evaluate.log import Log
from mata_cpp.evaluate.record import Record
from mata_cpp.evaluate.report import Report
from mata_cpp.evaluate.run import run
from mata_cpp.evaluate.settings import parse_setting

FACTS = {"dataset": "made", "model": "none", "method": "choose"}
SETTINGS = [parse_setting(text) for text in ("off", "alpha=0.1", "alpha=0.2 mode=abs")]


def items(count):
    return [
        Item(f"{n:03}", (b"sound %d" % n,), "Which?", ("a", "b", "c"), "abc"[n % 3], {"kind": "xy"[n % 2]})
        for n in range(count)
    ]


class Answerer:
    """Answers by the item's number; fails where it is told to; counts what it is asked."""

    facts = FACTS

    def __init__(self, parallel=1, fail=(), wait=None):
        self.parallel, self.fail, self.wait = parallel, set(fail), wait
        self.asked, self.cancelled = [], False
        self._lock = threading.Lock()

    def prompt(self, job):
        return f"{job.item.question} {'/'.join(job.choices)}"

    def answer(self, job, settings):
        if self.wait is not None:
            self.wait()
        if self.cancelled:
            raise CancelledError("cancelled")
        with self._lock:
            self.asked += [(job.place, setting.name) for setting in settings]
        if job.item.id in self.fail:
            raise MataError("it cannot\nbe heard")
        number = int(job.item.id)
        return [
            Outcome(raw=f"It is {job.choices[(number * 7 + len(setting.name)) % 3]}.", timings={"seconds": 0.5})
            for setting in settings
        ]

    def cancel(self):
        self.cancelled = True


def todo(count, **options):
    return jobs(items(count), forms=("plain",), **options)


def go(path, count=12, answerer=None, **options):
    answerer = answerer or Answerer()
    with Log(path, FACTS) as log:
        progress = run(todo(count), SETTINGS, answerer, log, **options)
    return answerer, progress


def text(path):
    facts, records = logs.read(path)
    return Report(facts, list(records.values())).text(["kind"])


def test_a_run_and_its_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    answerer, progress = go(path)
    assert (progress.total, progress.done, progress.failed) == (36, 36, 0)
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head == {"run": FACTS} and len(lines) == 36
    assert lines[0]["prompt"] == "Which? a/b/c" and lines[0]["raw"] == "It is a." and lines[0]["chosen"] == 0
    assert lines[0]["right"] == 0 and lines[0]["key"] == items(1)[0].key
    _, records = logs.read(path)
    assert Record.from_dict(json.loads(next(iter(records.values())).to_json())) == next(iter(records.values()))
    again, progress = go(path)
    assert again.asked == [] and progress.total == 0


def test_only_what_is_missing_is_asked(tmp_path):
    path = tmp_path / "log.jsonl"
    go(path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[5:20]))  # of the first item the second and third setting are gone
    answerer, _ = go(path)
    found = {line for line in path.read_bytes().splitlines(keepends=True)}
    assert len(answerer.asked) == 36 - 16 and len(found) == 37
    assert text(path).count("\n") > 5


@pytest.mark.parametrize("cut", range(1, 400, 7))
def test_a_line_that_a_kill_cut_is_asked_again(tmp_path, cut):
    whole = tmp_path / "whole.jsonl"
    go(whole, 4)
    data = whole.read_bytes()
    path = tmp_path / "log.jsonl"
    path.write_bytes(data[:-cut])
    go(path, 4)
    assert path.read_bytes() == data and text(path) == text(whole)


def test_a_line_that_is_cut_is_left_out_at_every_byte(tmp_path):
    """Wherever the cut is, in the middle of a character too, the log is read, and goes on."""
    whole = tmp_path / "whole.jsonl"
    made = [Item(f"{n:03}", (b"%d" % n,), "是什么声音？ \u2028", ("猫", "狗", "é"), "猫") for n in range(2)]
    with Log(whole, FACTS) as log:
        run(jobs(made, forms=("plain",)), SETTINGS[:1], Answerer(), log)
    data = whole.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    path = tmp_path / "log.jsonl"
    for end in range(last, len(data)):
        path.write_bytes(data[:end])
        assert len(logs.read(path)[1]) == len(logs.merge([path])[1]) == 1
        assert path.read_bytes() == data[:end]  # reading changes nothing
        with Log(path, FACTS) as log:
            assert len(log.records) == 1
            run(jobs(made, forms=("plain",)), SETTINGS[:1], Answerer(), log)
        assert path.read_bytes() == data


def test_a_long_tail_without_an_end(tmp_path):
    path = tmp_path / "log.jsonl"
    go(path, 1)
    data = path.read_bytes()
    path.write_bytes(data + b"x" * 200_000)
    Log(path, FACTS).close()
    assert path.read_bytes() == data


def test_where_no_log_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "log.jsonl"):
        with pytest.raises(MataError, match="cannot write ") as raised:
            Log(path, FACTS)
        assert "\n" not in str(raised.value)
    with pytest.raises(MataError, match="cannot read "):
        logs.read(tmp_path)
    with Log(tmp_path / "new" / "folders" / "log.jsonl", FACTS) as log:
        assert log.records == {}


def test_another_process_writes(tmp_path):
    path = tmp_path / "log.jsonl"
    program = (
        "import sys, pathlib\nfrom mata_cpp.evaluate.log import Log\n"
        f"with Log(pathlib.Path({str(path)!r}), {FACTS!r}):\n    print('open', flush=True)\n    sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(MataError, match="log.jsonl is being written by another process"):
            Log(path, FACTS)
        assert logs.read(path)[0] == FACTS  # reading is free
        process.kill()
        process.wait()
        Log(path, FACTS).close()


def test_logs_of_different_runs_are_not_merged(tmp_path):
    go(tmp_path / "one.jsonl", 2)
    logs.write(tmp_path / "other.jsonl", {**FACTS, "method": "generate"}, [])
    with pytest.raises(MataError, match="other.jsonl is of another run: its method is 'generate', not 'choose'"):
        logs.merge([tmp_path / "one.jsonl", tmp_path / "other.jsonl"])
    with pytest.raises(MataError, match="no log is given"):
        logs.merge([])
    facts, records = logs.merge([tmp_path / "one.jsonl"] * 2)
    assert facts == FACTS and len(records) == 6


def test_a_log_that_was_only_begun(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"run": {"data')
    go(path, 2)
    assert len(path.read_text().splitlines()) == 7


def test_another_runs_log_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    go(path, 2)
    before = path.read_bytes()
    with pytest.raises(MataError, match=r"log.jsonl is of another run: its model is 'none', not 'other'; use another"):
        Log(path, {**FACTS, "model": "other"})
    assert path.read_bytes() == before


def test_what_is_no_log_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(MataError, match="line 1: not a line of a log"):
        Log(path, FACTS)
    assert path.read_text() == "dear diary\n"


def test_two_writers(tmp_path):
    path = tmp_path / "log.jsonl"
    with Log(path, FACTS), pytest.raises(MataError, match="being written by another process"):
        Log(path, FACTS)
    Log(path, FACTS).close()


def test_any_number_of_threads_gives_the_same_report(tmp_path):
    go(tmp_path / "one.jsonl", 30)
    go(tmp_path / "four.jsonl", 30, Answerer(parallel=4))
    assert text(tmp_path / "four.jsonl") == text(tmp_path / "one.jsonl")


def test_shards_merged_give_the_same_report(tmp_path):
    go(tmp_path / "one.jsonl", 20)
    parts = []
    for number in (1, 2, 3):
        parts.append(tmp_path / f"{number}.jsonl")
        with Log(parts[-1], FACTS) as log:
            run(todo(20, shard=Shard(number, 3)), SETTINGS, Answerer(), log)
    facts, records = logs.merge(parts)
    logs.write(tmp_path / "merged.jsonl", facts, records.values())
    assert len(records) == 60 and text(tmp_path / "merged.jsonl") == text(tmp_path / "one.jsonl")
    with pytest.raises(MataError, match="is there already"):
        logs.write(tmp_path / "merged.jsonl", facts, records.values())


def test_what_fails_is_logged_and_counts_as_wrong(tmp_path):
    path = tmp_path / "log.jsonl"
    _, progress = go(path, 12, Answerer(fail={"003", "007"}))
    assert (progress.done, progress.failed) == (36, 6)
    _, records = logs.read(path)
    failed = [record for record in records.values() if record.error is not None]
    assert {record.item for record in failed} == {"003", "007"} and failed[0].error == "it cannot be heard"
    row = Report(FACTS, list(records.values())).to_dict()["rows"][0]
    assert (row["n"], row["unanswered"]) == (12, 2)
    answerer, _ = go(path, 12)
    assert answerer.asked == []
    answerer, progress = go(path, 12, retry=True)
    assert {place.item for place, _ in answerer.asked} == {"003", "007"} and progress.failed == 0
    assert not any(record.error for record in logs.read(path)[1].values())


def test_a_run_in_which_everything_fails_ends(tmp_path):
    names = {item.id for item in items(30)}
    with pytest.raises(MataError, match="the first 5 questions all failed: it cannot be heard"):
        go(tmp_path / "log.jsonl", 30, Answerer(fail=names))


def test_a_first_question_that_fails_under_many_settings_ends_nothing(tmp_path):
    settings = [parse_setting(f"alpha={number}") for number in range(1, 9)]
    with Log(tmp_path / "log.jsonl", FACTS) as log:
        progress = run(todo(6), settings, Answerer(fail={"000"}), log)
    assert (progress.done, progress.failed) == (48, 8)


def test_a_retry_that_fails_again_ends_nothing(tmp_path):
    path, broken = tmp_path / "log.jsonl", {f"{number:03}" for number in range(8)}
    go(path, 16)
    kept = [
        line for line in path.read_text().splitlines(keepends=True) if f'"item":"{"015"}"' in line or '"run"' in line
    ]
    path.write_text("".join(kept))
    go(path, 16, Answerer(fail=broken))
    _, progress = go(path, 16, Answerer(fail=broken), retry=True)
    assert (progress.done, progress.failed) == (24, 24)


def test_an_interrupt_keeps_what_is_done(tmp_path):
    path = tmp_path / "log.jsonl"
    seen = []

    def report(progress):
        seen.append(progress.done)
        if progress.done >= 9:
            raise KeyboardInterrupt

    answerer = Answerer(parallel=2)
    with pytest.raises(KeyboardInterrupt):
        go(path, 30, answerer, report=report)
    assert answerer.cancelled
    kept = len(path.read_text().splitlines()) - 1
    assert 9 <= kept < 90 and seen[0] == 0
    rest, _ = go(path, 30)
    assert len(rest.asked) == 90 - kept
    go(tmp_path / "whole.jsonl", 30)
    assert text(path) == text(tmp_path / "whole.jsonl")


def test_baselines_are_asked_without_settings(tmp_path):
    answerer = Answerer()
    with Log(tmp_path / "log.jsonl", FACTS) as log:
        run(todo(2, sounds=("clip", "none")), SETTINGS, answerer, log)
    assert [name for place, name in answerer.asked if place.sound == "none"] == ["off", "off"]
    report = Report(FACTS, list(log.records.values()))
    assert [row["sound"] for row in report.to_dict()["rows"]] == ["clip"] * 3 + ["none"]
    assert "no audio" in report.text()
