"""mata-models, and mata-chat with models of a hub: what they print."""

import functools
import json
from pathlib import Path

import gguf
import pytest
import tiny_models
from click.testing import CliRunner
from hub_fixtures import MODEL, PROJECTOR, REPOSITORY, process

from mata_cpp import AudioModel
from mata_cpp.cli.models import cli
from mata_cpp.files.catalogue import BY_NAME, ENTRIES

LICENCE = "mata-cpp: licence: apache-2.0\n"


def models(*words):
    """(exit status, stdout, stderr) of mata-models."""
    result = CliRunner().invoke(cli, list(map(str, words)), prog_name="mata-models")
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("MATA_CPP_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("MATA_CPP_OFFLINE", "")


def test_list():
    status, out, err = models("list")
    lines = out.splitlines()
    assert (status, err) == (0, "") and max(map(len, lines)) <= 80
    assert lines[0] == "  model                        disk   memory licence        hears"
    assert lines[2] == "  qwen2.5-omni-3b            3.6 GB   4.3 GB Qwen Research  speech, sound, music"
    assert len(lines) == len(ENTRIES) + 3


def test_list_as_json():
    status, out, _ = models("list", "--json")
    found = {record["name"]: record for record in json.loads(out)}
    assert status == 0 and "\n" not in out.strip() and list(found) == list(BY_NAME)
    omni = found["qwen2.5-omni-7b"]
    assert omni["size"] == 4_683_072_384 + 1_548_488_480 and omni["here"] is None
    assert omni["results"][0] == {"benchmark": "MMAU test-mini (v05.15.25)", "without": 71.1, "boosted": 73.6}
    assert "size of Qwen2.5-Omni-7B-Q8_0.gguf" in omni["unverified"]


def test_what_is_here_is_marked(hub):
    models("pull", REPOSITORY)
    models("pull", f"{REPOSITORY}:Q8_0")
    _, out, _ = models("list")
    assert out.split("not of the catalogue:\n")[1].splitlines()[:4] == [
        f"* {REPOSITORY}",
        "                             256 kB   300 MB apache-2.0",
        f"* {REPOSITORY}:Q8_0",
        "                             256 kB   300 MB apache-2.0",
    ]
    record = json.loads(models("list", "--json")[1])[-2]
    assert record["name"] == REPOSITORY and record["here"]["revision"] == hub.repositories[REPOSITORY].revision


def test_show():
    status, out, _ = models("show", "qwen2.5-omni-7b")
    assert status == 0
    assert out.startswith(
        "qwen2.5-omni-7b: answers questions about any sound; one of the two models of the MATA paper\n\n"
    )
    assert "files     Q4_K_M     4.7 GB  Qwen2.5-Omni-7B-Q4_K_M.gguf  (usual)\n" in out
    assert "  MMAR                        56.6  61.2\nThis has not been reproduced here.\n" in out
    assert "Not verified:\n  size of Qwen2.5-Omni-7B-Q8_0.gguf\n" in out
    assert json.loads(models("show", "--json", "tiny")[1])["name"] == "tiny"


@pytest.mark.parametrize("name", BY_NAME)
def test_show_each(name):
    status, out, err = models("show", name)
    assert (status, err) == (0, "") and out.startswith(f"{name}: ")
    assert json.loads(models("show", name, "--json")[1])["name"] == name


def test_show_a_repository(hub):
    assert models("show", REPOSITORY)[1].splitlines() == [
        REPOSITORY,
        "",
        "licence   apache-2.0",
        f"revision  {hub.repositories[REPOSITORY].revision}",
        "models      220 kB  Some-Q4_K_M.gguf  (usual)",
        "            220 kB  Some-Q8_0.gguf",
        "mmproj       36 kB  mmproj-Some-F16.gguf  (usual)",
        "             36 kB  mmproj-Some-Q8_0.gguf",
    ]
    assert json.loads(models("show", REPOSITORY, "--json")[1])["default"] == "Some-Q4_K_M.gguf"


def test_pull_path_and_rm(hub):
    assert models("path", REPOSITORY) == (
        1, "", f"error: {REPOSITORY} is not here: mata-models pull {REPOSITORY} fetches it\n",
    )  # fmt: skip
    assert models("pull", REPOSITORY) == (
        0, f"{REPOSITORY} is there: 256 kB\n", f"mata-cpp: fetching {REPOSITORY}: 256 kB\n{LICENCE}",
    )  # fmt: skip
    assert models("pull", REPOSITORY) == (0, f"{REPOSITORY} is there and up to date\n", "")
    status, out, _ = models("path", REPOSITORY)
    model, mmproj = out.splitlines()
    assert status == 0 and Path(model).read_bytes() == MODEL and Path(mmproj).read_bytes() == PROJECTOR
    assert json.loads(models("path", REPOSITORY, "--json")[1]) == {"model": model, "mmproj": mmproj}
    assert models("rm", REPOSITORY) == (0, f"removed {REPOSITORY}: 256 kB\n", "")
    assert models("rm", REPOSITORY) == (1, "", f"error: {REPOSITORY} is not here\n")


def test_pull_and_rm_as_json(hub):
    record = json.loads(models("pull", "--json", f"{REPOSITORY}:Q8_0")[1])
    assert record["quantization"] == "Q8_0" and record["size"] == len(MODEL) + 1 + len(PROJECTOR)
    assert json.loads(models("rm", "--json", f"{REPOSITORY}:Q8_0")[1])["freed"] == record["size"]


def test_path_of_the_caches(hub, tmp_path):
    own, folder = str(tmp_path / "own"), str(tmp_path / "hf" / "hub")
    assert models("path") == (0, f"{own}\n{folder}\n", "")
    assert json.loads(models("path", "--json")[1]) == {"own": own, "hub": folder}


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["show", "qwen2.5-omni-3"], 1, "that mata-models list shows (did you mean qwen2.5-omni-3b?)"),
        (["pull", "hf:../x/y"], 1, "is no name of a model on the hub: owner/repo, or hf:owner/repo/file.gguf"),
        (["pull", "tiny:Q8_0"], 1, "tiny has no Q8_0: it has Q4_1"),
        (["rm", "/etc/passwd"], 1, "/etc/passwd is a file or folder here, which needs no fetching: give it to --model"),
        (["rm", "../nothing"], 1, "../nothing is not there"),
        (["path", "gemma-4-e2b"], 1, "gemma-4-e2b is not here: mata-models pull gemma-4-e2b fetches it"),
        (["pull"], 2, "Missing argument 'NAME[:QUANT]' (see mata-models pull --help)"),
        (["nonsense"], 2, "No such command 'nonsense' (see mata-models --help)"),
        (["list", "--nonsense"], 2, "No such option '--nonsense' (see mata-models list --help)"),
    ],
)  # fmt: skip
def test_failures_are_one_line(words, status, told):
    found, out, err = models(*words)
    assert (found, out) == (status, "") and err.endswith(f"{told}\n") and err.startswith("error: ")


def test_help_tells_what_there_is():
    status, out, _ = models("--help")
    assert status == 0 and all(f"  {word} " in out for word in ("list", "show", "pull", "rm", "path"))


def test_no_network_is_one_line(hub):
    status, out, err = process("models", "pull", REPOSITORY, HF_ENDPOINT="http://127.0.0.1:9")
    assert (status, out) == (
        1,
        "",
    ) and err == "error: cannot reach 127.0.0.1 (Connection refused): is the network there?\n"


# A question to a model of the hub --------------------------------------------------------------


def test_a_question_to_a_repository(hub, tiny, clip):
    """The whole way: mata-chat as it is installed, the real client, the real engine, a tiny random model."""
    pytest.importorskip("mata_cpp._core", reason="the extension is not built")
    files = {"Tiny-Q4_K_M.gguf": tiny.model("llama"), "mmproj-F16.gguf": tiny.mmproj}
    hub.add("tiny-org/Tiny-GGUF", {name: path.read_bytes() for name, path in files.items()})
    words = ["--threads", "1", "--max-tokens", "3", "--model", "tiny-org/Tiny-GGUF", "--json", clip, "What is it?"]
    status, out, err = process("chat", *words)
    assert status == 0 and json.loads(out)["model"]["name"] == "Tiny-Q4_K_M"
    assert err.startswith("mata-cpp: fetching tiny-org/Tiny-GGUF: 10 MB\n" + LICENCE)
    hub.requests.clear()
    with AudioModel("tiny-org/Tiny-GGUF", n_threads=1) as model:
        assert model.ask(clip, "What is it?", max_tokens=3).text == json.loads(out)["answer"]
        folder = model.model_path.parent
    with AudioModel(folder, n_threads=1) as model:
        assert model.ask(clip, "What is it?", max_tokens=3).text == json.loads(out)["answer"]
    assert hub.requests == []


def test_a_split_model_answers(hub, tiny, clip, tmp_path, monkeypatch):
    """Each part is a file of its own; the engine finds them beside the first."""
    pytest.importorskip("mata_cpp._core", reason="the extension is not built")
    with AudioModel(tiny.model("llama"), mmproj=tiny.mmproj, n_threads=1) as model:
        whole = model.ask(clip, "What is it?", max_tokens=3).text
    monkeypatch.setattr(gguf, "GGUFWriter", functools.partial(gguf.GGUFWriter, split_max_tensors=20))
    (tmp_path / "parts").mkdir()
    tiny_models.write_model(tmp_path / "parts" / "Tiny-Q4_K_M.gguf", tiny_models.CONFIGS["llama"])
    parts = {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    assert len(parts) == 3
    hub.add("tiny-org/Split-GGUF", {**parts, "mmproj-F16.gguf": tiny.mmproj.read_bytes()})
    with AudioModel("tiny-org/Split-GGUF", n_threads=1, report=lambda line: None) as model:
        assert (model.name, model.ask(clip, "What is it?", max_tokens=3).text) == ("Tiny-Q4_K_M", whole)
