"""The catalogue's data: complete, within bounds, and the same as what the README's table says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mata_cpp.cli.model_facts import readme_table
from mata_cpp.files import choose, remote
from mata_cpp.files.catalogue import BY_ANY_NAME, BY_NAME, ENTRIES
from mata_cpp.files.entry import HubModel, WheelModel
from mata_cpp.files.spec import REPOSITORY, NamedSpec, parse, safe_name

ROOT = Path(__file__).resolve().parents[2]

MODELS = (
    "tiny qwen2.5-omni-3b qwen2.5-omni-7b qwen2-audio-7b qwen3-omni-30b qwen3-omni-30b-thinking "
    "qwen3-omni-30b-captioner gemma-4-e2b gemma-4-e4b gemma-4-12b voxtral-mini-3b voxtral-small-24b ultravox-1b "
    "ultravox-8b qwen3-asr-0.6b qwen3-asr-1.7b granite-speech lfm2.5-audio music-flamingo"
)


def test_the_names():
    assert list(BY_NAME) == MODELS.split()
    assert len(BY_ANY_NAME) == len(ENTRIES) + sum(len(entry.aliases) for entry in ENTRIES)
    assert BY_ANY_NAME["ultravox-v0.5-1b"] is BY_NAME["ultravox-1b"]
    for name in BY_ANY_NAME:
        assert parse(name) == NamedSpec(BY_ANY_NAME[name])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each(entry):
    assert entry.hears and set(entry.hears) <= {"speech", "sound", "music"}
    assert len(entry.name) <= 24 and len(entry.licence.name) <= 13 and entry.licence.url.startswith("https://")
    assert entry.size < entry.memory < 2 * entry.size + 400_000_000
    source = entry.source
    if isinstance(source, WheelModel):
        return
    assert isinstance(source, HubModel) and REPOSITORY.fullmatch(source.repository)
    assert source.default in source.files
    for tag, file in source.files.items():
        assert choose.quantization(file.name) == tag and safe_name(file.name)
        assert choose.models([file.name]) == [file.name]
        assert file.size > 100_000_000 and bool(file.unsure) == (file.size % 10_000_000 == 0)
    assert choose.is_projector(source.projector.name)
    sizes = [source.files[tag].size for tag in source.files]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", ["gemma-4-e2b", "gemma-4-e4b", "gemma-4-12b"])
def test_gemma_4_hears_in_bf16(name):
    assert choose.quantization(BY_NAME[name].source.projector.name) == "BF16"


def test_what_is_asked_of_the_hub():
    sure = remote.hub_spec(BY_NAME["qwen2.5-omni-3b"])
    assert (sure.file, sure.quantization) == ("Qwen2.5-Omni-3B-Q4_K_M.gguf", None)
    assert sure.projector == "mmproj-Qwen2.5-Omni-3B-Q8_0.gguf"
    unsure = remote.hub_spec(BY_NAME["gemma-4-12b"])
    assert unsure.file == "gemma-4-12B-it-Q4_0.gguf" and unsure.projector is None
    unknown = remote.hub_spec(BY_NAME["voxtral-mini-3b"], "Q8_0")
    assert (unknown.file, unknown.quantization) == (None, "Q8_0")


def test_the_readme_says_the_same():
    """The table between the marks is the output of ``mata-models list --markdown``."""
    text = (ROOT / "README.md").read_text()
    found = re.search(r"<!-- mata-models list --markdown -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert found is not None and found[1].splitlines() == readme_table()


def test_the_hubs_client_is_imported_only_when_it_is_asked():
    program = (
        "import sys, mata_cpp, mata_cpp.cli.models, mata_cpp.cli.chat; from mata_cpp.files.resolve import resolve\n"
        "try: resolve('none.gguf')\n"
        "except mata_cpp.ModelError: pass\n"
        "print('huggingface_hub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_every_package_of_the_code_is_a_dependency():
    text = (ROOT / "pyproject.toml").read_text()
    assert '"huggingface_hub>=1.0"' in text and 'mata-models = "mata_cpp.cli.models:main"' in text
