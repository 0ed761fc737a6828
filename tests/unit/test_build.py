"""The script that lays out and patches llama.cpp, on made-up trees."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "cmake" / "llama_source.py"

spec = importlib.util.spec_from_file_location("llama_source", SCRIPT)
llama_source = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = llama_source
spec.loader.exec_module(llama_source)

HEADER = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n"
PATCH = """\
Why it is there.
--- a/include/llama.h
+++ b/include/llama.h
@@ -2,6 +2,7 @@
 two
 three
 four
+mata
 five
 six
 seven
"""


@pytest.fixture
def sdist(tmp_path):
    """An unpacked source distribution with a tiny llama.cpp in it."""
    folder = tmp_path / "llama_cpp_python-1.2.3"
    llama = folder / "vendor" / "llama.cpp"
    for name, text in {
        "include/llama.h": HEADER,
        "src/llama.cpp": "int x;\n",
        "tools/server/big.cpp": "not wanted\n",
        "models/vocab.gguf": "not wanted\n",
    }.items():
        (llama / name).parent.mkdir(parents=True, exist_ok=True)
        (llama / name).write_text(text)
    (folder / "setup.py").write_text("not wanted\n")
    return folder


@pytest.fixture
def archive(sdist, tmp_path):
    path = tmp_path / "llama_cpp_python-1.2.3.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(sdist, sdist.name)
    return path


@pytest.fixture
def pin(archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return llama_source.Pin("llama-cpp-python", "1.2.3", digest, "vendor/llama.cpp")


@pytest.fixture
def patch(tmp_path):
    path = tmp_path / "0001-hooks.patch"
    path.write_text(PATCH)
    return path


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "build" / "llama.cpp"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("no download expected")

    monkeypatch.setattr(llama_source, "download", refuse)


@pytest.fixture(params=["archive", "distribution", "folder"])
def source(request, archive, sdist):
    return {"archive": archive, "distribution": sdist, "folder": sdist / "vendor" / "llama.cpp"}[request.param]


def contents(folder):
    return {name: (folder / name).read_text() for name in llama_source.files_below(folder)}


def age(folder):
    """Put all time stamps into the past; returns a function that names what was written since."""
    for name in llama_source.files_below(folder):
        os.utime(folder / name, (1, 1))

    def written():
        names = llama_source.files_below(folder)
        return {name for name in names if (folder / name).stat().st_mtime > 1} - {llama_source.STAMP}

    return written


def test_each_kind_of_source_gives_the_wanted_files_patched(pin, source, patch, dest):
    assert llama_source.prepare(pin, dest, [patch], source)
    files = contents(dest)
    del files[llama_source.STAMP]
    assert files == {"include/llama.h": HEADER.replace("four\n", "four\nmata\n"), "src/llama.cpp": "int x;\n"}


def test_a_second_run_touches_nothing(pin, source, patch, dest):
    llama_source.prepare(pin, dest, [patch], source)
    written = age(dest)
    assert not llama_source.prepare(pin, dest, [patch], source)
    assert written() == set()


def test_the_source_is_left_as_it_was(pin, sdist, patch, dest):
    before = contents(sdist)
    llama_source.prepare(pin, dest, [patch], sdist)
    assert contents(sdist) == before


def test_a_changed_patch_writes_only_what_it_changes(pin, archive, patch, dest):
    llama_source.prepare(pin, dest, [patch], archive)
    written = age(dest)
    patch.write_text(PATCH.replace("+mata", "+mata v2"))
    assert llama_source.prepare(pin, dest, [patch], archive)
    assert written() == {"include/llama.h"}
    assert "mata v2" in (dest / "include/llama.h").read_text()


def test_a_removed_patch_takes_its_files_away(pin, archive, tmp_path, dest):
    added = tmp_path / "0001-new-file.patch"
    added.write_text("--- /dev/null\n+++ b/src/new.cpp\n@@ -0,0 +1 @@\n+int y;\n")
    llama_source.prepare(pin, dest, [added], archive)
    assert (dest / "src/new.cpp").read_text() == "int y;\n"
    llama_source.prepare(pin, dest, [], archive)
    assert not (dest / "src/new.cpp").exists()


def test_a_changed_folder_is_noticed(pin, sdist, dest):
    llama_source.prepare(pin, dest, [], sdist)
    (sdist / "vendor/llama.cpp/src/llama.cpp").write_text("int z;\n")
    assert llama_source.prepare(pin, dest, [], sdist)
    assert (dest / "src/llama.cpp").read_text() == "int z;\n"


def test_moved_lines_are_fine_and_leave_no_backups(pin, sdist, patch, dest):
    (sdist / "vendor/llama.cpp/include/llama.h").write_text("new\n" * 9 + HEADER)
    llama_source.prepare(pin, dest, [patch], sdist)
    assert "four\nmata\nfive" in (dest / "include/llama.h").read_text()
    assert [name for name in contents(dest) if name.endswith(".orig")] == []


@pytest.mark.parametrize("program", ["patch", "git"])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(PATCH.replace("three", "drei"), id="changed context"),
        pytest.param(PATCH.replace(" two", " zwei"), id="context that fuzz would forgive"),
        pytest.param(PATCH.replace("include/llama.h", "include/gone.h"), id="missing file"),
    ],
)
def test_a_patch_that_does_not_fit_names_pin_and_patch(pin, archive, patch, dest, program, broken, only_program):
    only_program(program)
    patch.write_text(broken)
    with pytest.raises(llama_source.SourceError, match=r"^0001-hooks\.patch does not fit llama-cpp-python 1\.2\.3: "):
        llama_source.prepare(pin, dest, [patch], archive)
    assert not dest.exists()


def test_a_patch_applied_twice_does_not_fit(pin, archive, patch, dest):
    with pytest.raises(llama_source.SourceError, match="does not fit"):
        llama_source.prepare(pin, dest, [patch, patch], archive)


@pytest.mark.parametrize("program", ["patch", "git"])
def test_either_program_applies(pin, archive, patch, dest, program, only_program):
    only_program(program)
    llama_source.prepare(pin, dest, [patch], archive)
    assert "mata" in (dest / "include/llama.h").read_text()


def test_no_program_says_so(pin, archive, patch, dest, only_program):
    only_program(None)
    with pytest.raises(llama_source.SourceError, match='neither "patch" nor "git" is installed'):
        llama_source.prepare(pin, dest, [patch], archive)


@pytest.fixture
def only_program(monkeypatch):
    """Hide all programs but one."""

    def hide(kept):
        if kept and not shutil.which(kept):
            pytest.skip(f"{kept} is not installed")
        which = shutil.which
        monkeypatch.setattr(llama_source.shutil, "which", lambda name: which(name) if name == kept else None)

    return hide


def test_a_wrong_archive_is_refused(pin, archive, dest):
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(llama_source.SourceError, match=r"is not the pinned source of llama-cpp-python 1\.2\.3.*sha256"):
        llama_source.prepare(pin, dest, [], archive)


def test_a_missing_or_wrong_source_is_refused(pin, tmp_path, dest):
    with pytest.raises(llama_source.SourceError, match="does not exist"):
        llama_source.prepare(pin, dest, [], tmp_path / "nowhere")
    with pytest.raises(llama_source.SourceError, match=r"holds no llama\.cpp source"):
        llama_source.prepare(pin, dest, [], tmp_path)


def test_the_cache_is_filled_once_and_checked(pin, archive, tmp_path, dest, monkeypatch):
    downloads = []

    def download(_, folder):
        downloads.append(folder)
        return Path(shutil.copy(archive, folder))

    monkeypatch.setattr(llama_source, "download", download)
    cache = tmp_path / "cache"
    llama_source.prepare(pin, dest, [], None, cache)
    shutil.rmtree(dest)
    llama_source.prepare(pin, dest, [], None, cache)
    assert len(downloads) == 1
    (cache / archive.name).write_bytes(b"damaged")
    shutil.rmtree(dest)
    llama_source.prepare(pin, dest, [], None, cache)
    assert len(downloads) == 2
    assert os.listdir(cache) == [archive.name]


def test_a_wrong_download_is_refused_and_not_kept(pin, archive, tmp_path, dest, monkeypatch):
    def download(_, folder):
        path = folder / archive.name
        path.write_bytes(b"something else")
        return path

    monkeypatch.setattr(llama_source, "download", download)
    with pytest.raises(llama_source.SourceError, match="is not the pinned source"):
        llama_source.prepare(pin, dest, [], None, tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_names_that_climb_out_of_the_archive_are_left_out(sdist, tmp_path, dest):
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(sdist, sdist.name)
        tar.add(sdist / "setup.py", f"{sdist.name}/vendor/llama.cpp/src/../../../../evil")
    pin = llama_source.Pin("p", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "vendor/llama.cpp")
    llama_source.prepare(pin, dest, [], path)
    assert not list(tmp_path.rglob("evil"))


def test_as_a_command_the_error_is_one_line(tmp_path):
    command = [sys.executable, str(SCRIPT), "--pin", str(ROOT / "csrc/llama/pin.json"), "--dest", str(tmp_path / "d")]
    result = subprocess.run([*command, "--source", str(tmp_path / "gone")], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"MATA_LLAMA_SOURCE: {tmp_path / 'gone'} does not exist\n"


def test_the_pin_is_complete():
    pin = llama_source.Pin.read(ROOT / "csrc" / "llama" / "pin.json")
    assert str(pin) == "llama-cpp-python 0.3.36"
    assert len(pin.sha256) == 64
