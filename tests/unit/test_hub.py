"""Fetching from a hub on loopback with the real client: interruptions, refusals, changed files, two at once."""

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import huggingface_hub
import pytest
from hub_fixtures import FILES, MODEL, PROJECTOR, REPOSITORY, environment, process

from mata_cpp import ModelError
from mata_cpp.files import catalogue, inventory, remote, room, store
from mata_cpp.files.entry import HubFile, HubModel
from mata_cpp.files.resolve import resolve

LICENCE = "licence: apache-2.0"


def obtained(model=REPOSITORY, mmproj=None):
    """(files, lines for the user)"""
    lines = []
    return resolve(model, mmproj, lines.append), lines


def refused(model=REPOSITORY, mmproj=None):
    """The one line of an error."""
    with pytest.raises(ModelError) as error:
        resolve(model, mmproj, lambda line: None)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


def on_disk(folder):
    """The files below folder but locks, the hub's own marks and records."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(
        path.name for path in found if path.suffix not in (".lock", ".json", ".TAG") and path.parent.name != "refs"
    )


def test_a_repository_is_fetched_once(hub, tmp_path):
    files, lines = obtained()
    assert (files.model.read_bytes(), files.mmproj.read_bytes()) == (MODEL, PROJECTOR)
    assert (files.model.name, files.mmproj.name, files.name) == (
        "Some-Q4_K_M.gguf",
        "mmproj-Some-F16.gguf",
        "Some-Q4_K_M",
    )
    assert lines == [f"fetching {REPOSITORY}: 256 kB", LICENCE]
    assert files.model.parts[-3:-1] == ("snapshots", hub.repositories[REPOSITORY].revision)
    hub.requests.clear()
    assert obtained() == (files, []) and hub.requests == []
    info = huggingface_hub.scan_cache_dir(tmp_path / "hf" / "hub")  # as the hub's own tools see it
    names = {file.file_name for repo in info.repos for revision in repo.revisions for file in revision.files}
    assert not info.warnings and names == {"Some-Q4_K_M.gguf", "mmproj-Some-F16.gguf"}


def test_what_is_kept_of_it(hub):
    obtained()
    (record,) = store.of_origin(REPOSITORY)
    assert record.revision == hub.repositories[REPOSITORY].revision and record.usual
    assert [file.sha256 for file in record.files] == [hashlib.sha256(c).hexdigest() for c in (MODEL, PROJECTOR)]
    assert record.licence == "apache-2.0"


@pytest.mark.parametrize("given", [f"{REPOSITORY}:Q8_0", f"{REPOSITORY}:q8_0", f"hf:{REPOSITORY}/Some-Q8_0.gguf"])
def test_another_quantization(hub, given):
    assert obtained(given)[0].model.name == "Some-Q8_0.gguf"
    hub.requests.clear()
    assert obtained(given)[1] == [] and hub.requests == []


def test_a_wrong_quantization(hub):
    assert refused(f"{REPOSITORY}:Q5_0") == f"{REPOSITORY} has no Q5_0: it has Q4_K_M, Q8_0"
    have = "Some-Q4_K_M.gguf, Some-Q8_0.gguf, mmproj-Some-F16.gguf, mmproj-Some-Q8_0.gguf"
    assert refused(f"hf:{REPOSITORY}/none.gguf") == f"{REPOSITORY} has no file none.gguf: it has {have}"


def test_a_connection_that_breaks_is_gone_on_with(hub):
    hub.cut["Some-Q4_K_M.gguf"] = 100_000
    files, lines = obtained()
    assert files.model.read_bytes() == MODEL
    assert hub.ranges("Some-Q4_K_M.gguf") == ["", "bytes=100000-"]


def test_a_process_that_was_killed_is_gone_on_from(hub, tmp_path):
    hub.pause = 0.05
    program = f"from mata_cpp.files.resolve import resolve; resolve({REPOSITORY!r})"
    with subprocess.Popen([sys.executable, "-c", program], env=environment(), stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: any(part.stat().st_size > 30_000 for part in tmp_path.glob("hf/hub/*/blobs/*.incomplete")))
        process.kill()
    (part,) = tmp_path.glob("hf/hub/*/blobs/*.incomplete")
    assert on_disk(tmp_path) == [part.name]
    have, hub.pause = part.stat().st_size, 0.0
    files, lines = obtained()
    assert files.model.read_bytes() == MODEL and hub.ranges("Some-Q4_K_M.gguf")[1:] == [f"bytes={have}-"]
    assert lines[0] == f"fetching {REPOSITORY}: 256 kB ({have / 1e3:.0f} kB of it are there)"
    assert not list(tmp_path.glob("hf/hub/*/blobs/*.incomplete"))


def wait_for(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_part_that_does_not_fit_is_fetched_anew(hub, tmp_path):
    blob = tmp_path / "hf/hub" / "models--some-org--Some-GGUF" / "blobs" / hashlib.sha256(MODEL).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(b"x" * 1000)
    files, lines = obtained()
    assert files.model.read_bytes() == MODEL
    assert lines[2] == "what was there of Some-Q4_K_M.gguf does not fit: fetching it from the start"


def test_a_server_that_knows_no_parts(hub):
    hub.ranges_known = False
    hub.cut["Some-Q4_K_M.gguf"] = 100_000
    assert obtained()[0].model.read_bytes() == MODEL


def test_a_part_that_is_too_long(hub, tmp_path):
    blob = tmp_path / "hf/hub" / "models--some-org--Some-GGUF" / "blobs" / hashlib.sha256(MODEL).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(MODEL + b"more")
    assert obtained()[0].model.read_bytes() == MODEL and hub.ranges("Some-Q4_K_M.gguf") == [""]


@pytest.mark.parametrize("change", [MODEL + b"more", MODEL[:-10]])
def test_a_server_that_sends_more_or_less(hub, tmp_path, monkeypatch, change):
    monkeypatch.setattr("mata_cpp.files.fetch.WAIT_S", 0.0)
    hub.swapped["Some-Q4_K_M.gguf"] = change
    told = "sends more than the 220000 bytes" if len(change) > len(MODEL) else "ended Some-Q4_K_M.gguf after 219990 of"
    assert told in refused()
    assert not [name for name in on_disk(tmp_path) if not name.endswith(".incomplete")]


def test_a_file_with_another_content_is_not_kept(hub, tmp_path):
    hub.swapped["Some-Q4_K_M.gguf"] = MODEL[:-1] + b"x"
    assert "Some-Q4_K_M.gguf has the wrong sha256" in refused()
    assert on_disk(tmp_path) == [] and store.all_records() == []


def test_a_file_that_is_listed_and_missing(hub, tmp_path):
    hub.gone.add("mmproj-Some-F16.gguf")
    assert refused() == f"{REPOSITORY} has no file mmproj-Some-F16.gguf, though its list has: try again later"
    assert store.all_records() == []


@pytest.mark.parametrize("touched", [False, True])
def test_a_file_that_was_changed_on_the_disk(hub, touched):
    files, _ = obtained()
    blob = files.model.resolve()
    os.utime(blob, (1, 1))
    assert obtained()[1] == []  # touched, and the same
    blob.write_bytes(MODEL[:-1] + b"x")
    told = f"{files.model} is damaged or was changed: mata-models pull {REPOSITORY} fetches it again"
    assert refused() == told
    lines = []
    remote.obtain(inventory.wanted(REPOSITORY), None, remote.Wanted(refresh=True), lines.append)
    assert lines[0].startswith("Some-Q4_K_M.gguf was changed on the disk") and obtained()[0].model.read_bytes() == MODEL


@pytest.mark.parametrize("which", ["pointer", "blob", "all"])
def test_a_file_that_was_deleted_is_fetched_again(hub, tmp_path, which):
    files, _ = obtained()
    if which == "all":
        shutil.rmtree(tmp_path / "hf")
    else:
        (files.model if which == "pointer" else files.model.resolve()).unlink()
    again, _ = obtained()
    assert again.model.read_bytes() == MODEL and again.mmproj.read_bytes() == PROJECTOR


def test_what_the_hubs_own_tools_fetched_is_used(hub, monkeypatch):
    for name in ("Some-Q4_K_M.gguf", "mmproj-Some-F16.gguf"):
        huggingface_hub.hf_hub_download(REPOSITORY, name)
    hub.requests.clear()
    files, lines = obtained()
    assert lines == [] and hub.fetched("Some-Q4_K_M.gguf") == 0 and files.model.read_bytes() == MODEL
    for record in store.all_records():
        store.forget(record)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert obtained()[0].model == files.model


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "MATA_CPP_OFFLINE"])
def test_offline(hub, monkeypatch, variable):
    files, _ = obtained()
    monkeypatch.setenv(variable, "1")
    hub.requests.clear()
    assert obtained()[0] == files
    assert refused(f"{REPOSITORY}:Q8_0") == f"{REPOSITORY}:Q8_0 is not there yet, and {variable} is set"
    assert refused("qwen2.5-omni-3b") == f"qwen2.5-omni-3b is not there yet, and {variable} is set"
    assert refused(f"{hub.url}/web/a.gguf") == f"a.gguf is not there yet, and {variable} is set"
    assert hub.requests == []


def test_no_network_is_told_in_time(hub, monkeypatch):
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert refused() == "cannot reach 127.0.0.1 (Connection refused): is the network there?"
    released = threading.Event()

    def hang(*address, **options):
        released.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr("mata_cpp.files.hub.CONNECTING_S", 0.2)
    started = time.monotonic()
    assert refused() == "cannot reach 127.0.0.1 (no answer): is the network there?"
    assert time.monotonic() - started < 3
    released.set()


def test_hubs_that_fail(hub):
    for status, told in ((503, "answers 503"), (429, "too many requests"), (404, "is it a hub?"), (401, "HF_TOKEN")):
        hub.status = status
        assert told in refused()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>Log in to the hotel's network</html>",
        b"[]",
        b"{}",
        b'{"id": "a/b", "sha": "../../x", "siblings": []}',
        b'{"id": "a/b", "sha": 1, "siblings": 2}',
        b'{"id": "a/b", "sha": "%s", "siblings": [{"rfilename": 3}]}' % (b"a" * 40),
        b'{"id": "a/b", "sha": "%s", "siblings": [{"rfilename": "a.gguf", "size": "x"}]}' % (b"a" * 40),
        b'{"id": "a/b", "sha": "%s", "siblings": [{"rfilename": "a.gguf", "lfs": {"size": 1}}]}' % (b"a" * 40),
        b'{"id": "a/b", "sha": "%s", "siblings": null, "cardData": 7}' % (b"a" * 40),
    ],
)
def test_what_is_no_answer_of_a_hub(hub, tmp_path, answer):
    hub.status, hub.answer = 200, answer
    assert refused() and on_disk(tmp_path) == []


def test_a_repository_that_is_none(hub):
    assert refused("no/thing") == f"{hub.url} has no repository no/thing, or it is private (then set HF_TOKEN)"


def test_gated_repositories(hub, monkeypatch):
    hub.add("some-org/Gated", FILES, gated=True)
    page = f"{hub.url}/some-org/Gated"
    assert refused("some-org/Gated") == (
        f"some-org/Gated is gated: accept its licence at {page}, then set HF_TOKEN to a token of your account"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refused("some-org/Gated") == (
        f"some-org/Gated is gated, and the account of HF_TOKEN has no access: accept its licence at {page}"
    )
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert obtained("some-org/Gated")[0].model.read_bytes() == MODEL


def test_the_token_goes_nowhere_else(hub, monkeypatch):
    asked = []
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("mata_cpp.files.fetch.fetch", lambda url, *rest: asked.append(rest[4]) or 1 / 0)
    refused(f"{hub.url}/web/a.gguf")
    hub.web["a.gguf"] = MODEL
    refused(f"{hub.url}/web/a.gguf")
    assert asked == [{}]


def test_no_projector(hub):
    hub.add("some-org/Text", {"a-Q4_K_M.gguf": MODEL})
    assert refused("some-org/Text").startswith("some-org/Text has no audio projector (mmproj*.gguf): give one with")
    files, _ = obtained("some-org/Text", f"hf:{REPOSITORY}/mmproj-Some-Q8_0.gguf")
    assert files.mmproj.name == "mmproj-Some-Q8_0.gguf"
    assert refused(REPOSITORY, "some-org/Text") == (
        "mmproj (--mmproj) some-org/Text names no file: give hf:owner/repo/file.gguf"
    )


def test_a_projector_that_was_fetched_is_no_model(hub):
    obtained(f"{REPOSITORY}:Q8_0", f"hf:{REPOSITORY}/mmproj-Some-Q8_0.gguf")
    assert obtained(f"{REPOSITORY}:Q8_0")[0].mmproj.name == "mmproj-Some-F16.gguf"


def test_another_projector_is_another_record(hub, entry, monkeypatch):
    first, second = obtained(REPOSITORY)[0], obtained("some")[0]
    assert (first.model, first.mmproj.name) == (second.model, "mmproj-Some-F16.gguf")
    assert second.mmproj.name == "mmproj-Some-Q8_0.gguf"
    hub.requests.clear()
    assert (obtained(REPOSITORY), obtained("some"), hub.requests) == ((first, []), (second, []), [])
    assert inventory.remove(inventory.wanted("some")) == len(PROJECTOR) + 1
    assert obtained(REPOSITORY) == (first, [])


def test_split_models(hub):
    parts = {f"big-Q4_K_M-0000{number}-of-00003.gguf": MODEL[number:] for number in (1, 2, 3)}
    hub.add("some-org/Big", {**parts, "mmproj-F16.gguf": PROJECTOR})
    files, lines = obtained("some-org/Big")
    assert files.model.name == "big-Q4_K_M-00001-of-00003.gguf" and files.name == "big-Q4_K_M"
    assert {path.name for path in files.model.parent.iterdir()} == {*parts, "mmproj-F16.gguf"}
    assert lines[0] == "fetching some-org/Big: 696 kB"
    del parts["big-Q4_K_M-00002-of-00003.gguf"]
    hub.add("some-org/Less", {**parts, "mmproj-F16.gguf": PROJECTOR})
    assert refused("some-org/Less").endswith("big-Q4_K_M-00002-of-00003.gguf is missing")


def test_names_of_the_hub_are_not_trusted(hub):
    evil = {"../../evil.gguf": MODEL, "/evil.gguf": MODEL, "a/../../evil.gguf": MODEL, "e\\vil.gguf": MODEL}
    hub.add("some-org/Evil", evil)
    assert refused("some-org/Evil") == "some-org/Evil has no GGUF model"


def test_two_at_once_fetch_once(hub):
    hub.pause = 0.02
    files, lines = [], [[], []]
    threads = [
        threading.Thread(target=lambda said=said: files.append(resolve(REPOSITORY, None, said.append)))
        for said in lines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files[0] == files[1] and files[0].model.read_bytes() == MODEL
    assert hub.fetched("Some-Q4_K_M.gguf") == 1 and hub.fetched("mmproj-Some-F16.gguf") == 1
    assert "another process is fetching the model: waiting for it" in [*lines[0], *lines[1]]


def test_two_processes_at_once(hub):
    hub.pause = 0.01
    found = []
    threads = [threading.Thread(target=lambda: found.append(process("models", "pull", REPOSITORY))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _, _ in found] == [0, 0] and hub.fetched("Some-Q4_K_M.gguf") == 1


def test_a_newer_revision(hub, tmp_path):
    old, _ = obtained()
    hub.add(REPOSITORY, {**FILES, "Some-Q4_K_M.gguf": MODEL + b"new"})
    assert obtained()[0] == old  # what is there is used without asking
    remote.obtain(inventory.wanted(REPOSITORY), None, remote.Wanted(refresh=True), lambda line: None)
    new, _ = obtained()
    assert new.model.read_bytes() == MODEL + b"new" and not old.model.exists()
    assert len([name for name in on_disk(tmp_path / "hf") if len(name) == 64]) == 2


def test_removing(hub, tmp_path):
    obtained()
    obtained(f"{REPOSITORY}:Q8_0")
    assert inventory.remove(inventory.wanted(f"{REPOSITORY}:Q8_0")) == len(MODEL) + 1
    assert obtained()[1] == []  # the projector was shared
    assert inventory.remove(inventory.wanted(REPOSITORY)) == len(MODEL) + len(PROJECTOR)
    assert on_disk(tmp_path) == [] and store.all_records() == []
    assert not (tmp_path / "hf/hub/models--some-org--Some-GGUF").exists()
    assert inventory.remove(inventory.wanted(REPOSITORY)) == 0


def test_removing_from_a_cache_that_was_another(hub, tmp_path, monkeypatch):
    obtained()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "new"))
    assert obtained()[1] == []
    assert inventory.remove(inventory.wanted(REPOSITORY)) == len(MODEL) + len(PROJECTOR)
    assert on_disk(tmp_path) == []


def test_a_record_that_names_what_is_not_the_hubs(hub, tmp_path):
    obtained()
    (record,) = store.all_records()
    other = tmp_path / "precious.gguf"
    other.write_bytes(MODEL)
    store.save(dataclasses.replace(record, model=(store.Stored.of("Some-Q4_K_M.gguf", other, "0" * 64),)))
    inventory.remove(inventory.wanted(REPOSITORY))
    assert other.exists()


def test_removing_what_was_fetched_in_part(hub, tmp_path):
    part = tmp_path / "hf/hub/models--some-org--Some-GGUF/blobs/abc.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 10)
    assert inventory.remove(inventory.wanted(REPOSITORY)) == 10 and not part.parent.parent.exists()


def test_room_is_looked_for_first(hub, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert refused().startswith(f"{REPOSITORY} needs 256 kB on the disk, and ") and "1 kB free: HF_HOME" in refused()
    hub.web["a.gguf"] = MODEL
    assert "free: MATA_CPP_CACHE names another folder" in refused(f"{hub.url}/web/a.gguf")
    monkeypatch.undo()


def test_memory_is_looked_for_first(hub, monkeypatch):
    monkeypatch.setattr(room, "memory", lambda: 250_000_000)
    assert refused() == (
        f"{REPOSITORY} needs about 300 MB of memory, and this machine has 250 MB "
        "(mata-models pull fetches it all the same)"
    )
    lines = []
    remote.obtain(inventory.wanted(REPOSITORY), None, remote.Wanted(insist=True), lines.append)
    assert lines[0] == f"note: {REPOSITORY} needs about 300 MB of memory, and this machine has 250 MB"
    assert obtained()[1] == []  # what is there is tried


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"model": []}', b"[" * 100_000, b'{"model": [{}], "projector": null}']
)
def test_records_that_are_none(hub, content):
    obtained()
    for path in Path(os.environ["MATA_CPP_CACHE"]).glob("records/*/*.json"):
        path.write_bytes(content)
    assert store.all_records() == [] and obtained()[0].model.read_bytes() == MODEL


def test_a_cache_that_cannot_be_written(hub, tmp_path):
    (tmp_path / "hf").write_text("")
    assert refused().startswith(f"cannot store {REPOSITORY} (") and "HF_HOME and MATA_CPP_CACHE" in refused()


# The catalogue ---------------------------------------------------------------------------------


@pytest.fixture
def entry(monkeypatch):
    """A model of the catalogue whose repository is on the loopback hub."""
    source = HubModel(
        REPOSITORY, "Q4_K_M", {"Q4_K_M": HubFile("Some-Q4_K_M.gguf", 220_000)}, HubFile("mmproj-Some-Q8_0.gguf")
    )
    made = dataclasses.replace(catalogue.BY_NAME["qwen2.5-omni-3b"], name="some", source=source)
    monkeypatch.setitem(catalogue.BY_ANY_NAME, "some", made)
    return made


def test_a_name_of_the_catalogue(hub, entry):
    files, lines = obtained("some")
    assert (files.name, files.model.name, files.mmproj.name) == ("some", "Some-Q4_K_M.gguf", "mmproj-Some-Q8_0.gguf")
    assert lines == [
        f"fetching some: 256 kB from {REPOSITORY}",
        "licence: Qwen Research Licence: not for commercial use",
    ]
    assert obtained("some:Q8_0")[0].model.name == "Some-Q8_0.gguf"
    assert refused("some:Q2_K") == f"{REPOSITORY} has no Q2_K: it has Q4_K_M, Q8_0"


def test_a_name_in_the_catalogue_that_is_wrong(hub, entry, monkeypatch):
    entry.source.files["Q4_K_M"] = HubFile("Other-Q4_K_M.gguf")
    assert refused("some").startswith(
        f"{REPOSITORY} has no file Other-Q4_K_M.gguf: it has Some-Q4_K_M.gguf, Some-Q8_0.gguf"
    )
    entry.source.files["Q4_K_M"] = HubFile("Other-Q4_K_M.gguf", unsure="name and size")
    assert obtained("some")[0].model.name == "Some-Q4_K_M.gguf"


# URLs ------------------------------------------------------------------------------------------


@pytest.fixture
def urls(hub):
    hub.web.update({"a-Q4_0.gguf": MODEL, "mmproj-a.gguf": PROJECTOR})
    return f"{hub.url}/web/a-Q4_0.gguf", f"{hub.url}/web/mmproj-a.gguf"


def test_urls(hub, urls, tmp_path):
    files, lines = obtained(*urls)
    assert (files.model.read_bytes(), files.mmproj.read_bytes(), files.name) == (MODEL, PROJECTOR, "a-Q4_0")
    assert lines[2:] == ["fetching a-Q4_0.gguf: 220 kB from 127.0.0.1", lines[1]]
    hub.requests.clear()
    assert obtained(*urls) == (files, []) and hub.requests == []
    files.model.write_bytes(b"other")
    assert refused(*urls) == f"{files.model} is damaged or was changed: mata-models pull {urls[0]} fetches it again"
    for url in urls:
        assert inventory.remove(inventory.wanted(url)) > 0
    assert on_disk(tmp_path / "own") == [] and store.all_records() == []


def test_urls_that_cannot_be_had(hub, urls):
    assert refused(f"{hub.url}/web/none.gguf").endswith("cannot be fetched: the server answers 404")
    assert (
        refused(urls[0]) == "a-Q4_0.gguf needs its audio projector: give one with mmproj (--mmproj), as a file or a URL"
    )
    assert refused("http://127.0.0.1:9/a.gguf").startswith("cannot reach 127.0.0.1 (")


def test_a_url_that_breaks_is_gone_on_with(hub, urls):
    hub.cut["a-Q4_0.gguf"] = 100_000
    assert obtained(*urls)[0].model.read_bytes() == MODEL
    assert hub.ranges("a-Q4_0.gguf") == ["", "bytes=100000-"]


def test_a_url_whose_file_changed_in_between_is_fetched_anew(hub, urls, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.web["a-Q4_0.gguf"] = MODEL[:150_000]
    hub.cut["a-Q4_0.gguf"] = 100_000
    hub.cut_later["a-Q4_0.gguf"] = 0
    assert "the same command goes on from here" in refused(*urls)
    assert list(Path(os.environ["MATA_CPP_CACHE"]).glob("urls/*/*.incomplete"))
    hub.cut_later.clear()
    hub.web["a-Q4_0.gguf"] = MODEL
    files, _ = obtained(*urls)
    assert files.model.read_bytes() == MODEL and not list(files.model.parent.glob("*.incomplete"))


def test_split_urls(hub, urls):
    hub.web |= {f"b-0000{number}-of-00002.gguf": MODEL[number:] for number in (1, 2)}
    files, _ = obtained(f"{hub.url}/web/b-00001-of-00002.gguf", urls[1])
    assert files.model.with_name("b-00002-of-00002.gguf").read_bytes() == MODEL[2:]


def test_records_are_plain_json(hub):
    obtained()
    (path,) = Path(os.environ["MATA_CPP_CACHE"]).glob("records/*/*.json")
    assert json.loads(path.read_text())["origin"] == REPOSITORY
