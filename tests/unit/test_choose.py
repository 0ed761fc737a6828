"""Which files of a repository are taken, and what the text after --model means."""

import random

import pytest

from mata_cpp import ModelError
from mata_cpp.files import choose, spec
from mata_cpp.files.catalogue import BY_NAME
from mata_cpp.files.spec import HubSpec, NamedSpec, PathSpec, UrlSpec, parse


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("Qwen2.5-Omni-3B-Q4_K_M.gguf", "Q4_K_M"),
        ("Qwen2-Audio-7B-Instruct.Q4_K_M.gguf", "Q4_K_M"),
        ("gemma-4-E4B_q4_0-it.gguf", "Q4_0"),
        ("UD/big-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("x.i1-IQ3_XXS.gguf", "IQ3_XXS"),
        ("mmproj-model-f16.gguf", "F16"),
        ("mmproj-BF16.gguf", "BF16"),
        ("model-fp16.gguf", "F16"),
        ("Qwen3-Omni-30B-A3B-Instruct.gguf", None),
        ("Q8_0/model.gguf", None),
    ],
)
def test_quantizations(name, tag):
    assert choose.quantization(name) == tag


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["a-Q8_0.gguf", "a-Q4_K_M.gguf", "a-Q4_0.gguf"], None, "a-Q4_K_M.gguf"),
        (["a-Q8_0.gguf", "a-Q4_0.gguf", "mmproj-Q4_K_M.gguf"], None, "a-Q4_0.gguf"),
        (["a-F16.gguf", "a-BF16.gguf", "a-Q8_0.gguf"], None, "a-Q8_0.gguf"),
        (["a.gguf", "README.md"], None, "a.gguf"),
        (["a-Q8_0.gguf", "a-Q4_K_M.gguf"], "q8_0", "a-Q8_0.gguf"),
        (["vocoder-a-Q8_0.gguf", "tokenizer-a-Q8_0.gguf", "mtp-a-Q8_0.gguf", "a-Q8_0.gguf"], "Q8_0", "a-Q8_0.gguf"),
        (["a-Q4_K_M-00002-of-00002.gguf", "a-Q4_K_M-00001-of-00002.gguf"], None, "a-Q4_K_M-00001-of-00002.gguf"),
        (["sub/a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], None, "b-Q4_K_M.gguf"),
    ],
)
def test_models(names, wanted, chosen):
    assert choose.choose_model(names, wanted, "o/r") == chosen


def test_models_that_are_not_there():
    with pytest.raises(ModelError, match=r"^o/r has no Q5_0: it has Q4_K_M, Q8_0$"):
        choose.choose_model(["a-Q8_0.gguf", "a-Q4_K_M.gguf"], "Q5_0", "o/r")
    with pytest.raises(ModelError, match=r"^o/r has no Q5_0: it names none: a.gguf$"):
        choose.choose_model(["a.gguf"], "Q5_0", "o/r")
    with pytest.raises(ModelError, match=r"^o/r has no GGUF model: it has model.safetensors$"):
        choose.choose_model(["model.safetensors"], None, "o/r")


def test_projectors():
    names = ["mmproj-a-Q8_0.gguf", "mmproj-a-F16.gguf", "mmproj-a-BF16.gguf", "a-Q4_K_M.gguf"]
    assert choose.choose_projector(names, "a-Q4_K_M.gguf") == "mmproj-a-F16.gguf"
    assert choose.choose_projector(names, "a-Q4_K_M.gguf", "x/gemma-4-E2B-it-GGUF") == "mmproj-a-BF16.gguf"
    assert choose.choose_projector(["a.mmproj-Q8_0.gguf"], "a-Q4_K_M.gguf") == "a.mmproj-Q8_0.gguf"
    assert choose.choose_projector(["mmproj-F16.gguf", "b/mmproj-Q8_0.gguf"], "b/a.gguf") == "b/mmproj-Q8_0.gguf"
    assert choose.choose_projector(["a.gguf"], "a.gguf") is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("qwen2.5-omni-3b", NamedSpec(BY_NAME["qwen2.5-omni-3b"])),
        ("qwen2.5-omni-3b:q8_0", NamedSpec(BY_NAME["qwen2.5-omni-3b"], "Q8_0")),
        ("ultravox-v0.5-1b", NamedSpec(BY_NAME["ultravox-1b"])),
        ("owner/repo", HubSpec("owner/repo")),
        ("owner/repo:Q8_0", HubSpec("owner/repo", quantization="Q8_0")),
        ("hf:owner/repo", HubSpec("owner/repo")),
        ("hf:owner/repo:q4_0", HubSpec("owner/repo", quantization="Q4_0")),
        ("hf:owner/repo/sub/a.gguf", HubSpec("owner/repo", "sub/a.gguf")),
        ("hf.co/owner/repo:Q4_0", HubSpec("owner/repo", quantization="Q4_0")),
        ("https://huggingface.co/owner/repo", HubSpec("owner/repo")),
        ("https://huggingface.co/owner/repo/tree/main", HubSpec("owner/repo")),
        ("https://huggingface.co/owner/repo/resolve/main/a.gguf?download=true", HubSpec("owner/repo", "a.gguf")),
        ("https://huggingface.co/o/r/blob/v1.0/a.gguf", HubSpec("o/r", "a.gguf", revision="v1.0")),
        ("https://example.org/x/a.gguf?key=1", UrlSpec("https://example.org/x/a.gguf?key=1")),
        ("a.gguf", PathSpec("a.gguf")),
        ("owner/repo/a.gguf", PathSpec("owner/repo/a.gguf")),
        ("./owner/repo", PathSpec("./owner/repo")),
        ("../owner/repo", PathSpec("../owner/repo")),
        ("~/repo", PathSpec("~/repo")),
        ("/owner/repo", PathSpec("/owner/repo")),
        ("C:\\models\\a.gguf", PathSpec("C:\\models\\a.gguf")),
    ],
)
def test_what_a_text_means(text, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(text) == meant


def test_what_is_here_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "repo").mkdir(parents=True)
    assert parse("owner/repo") == PathSpec("owner/repo")
    assert parse("owner/other") == PathSpec("owner/other")  # a slip of the pen, not a repository
    assert parse("hf:owner/repo") == HubSpec("owner/repo")
    (tmp_path / "tiny").mkdir()
    assert parse("tiny") == NamedSpec(BY_NAME["tiny"])
    (tmp_path / "qwen2.5-omni-3b").touch()
    assert parse("qwen2.5-omni-3b") == PathSpec("qwen2.5-omni-3b")


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:owner",
        "hf:../../etc/passwd",
        "hf:owner/../repo",
        "hf:owner/repo/../../../a.gguf",
        "hf:owner/repo//a.gguf",
        "hf:owner/repo/..",
        "hf:owner/repo/a\\b.gguf",
        "hf:owner/repo/a\nb.gguf",
        "hf:/owner/repo",
        "hf:owner/repo/a.gguf:Q8_0",
        "owner/repo:",
        "owner/repo:../x",
        "tiny:",
        "tiny:../../x",
        "ftp://example.org/a.gguf",
        "file:///etc/passwd",
        "http://",
        "http:///a.gguf",
        "https://[::1",
        "https://huggingface.co/owner",
        "https://huggingface.co/o/r/resolve/../../a.gguf",
        "https://huggingface.co/o/r/resolve/main/%2e%2e/%2e%2e/a.gguf",
        "https://huggingface.co/o/r/resolve/%2e%2e/a.gguf",
    ],
)
def test_names_that_are_none(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        parse(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_no_text_leads_out_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    words = ["..", ".", "/", "\\", ":", "hf:", "https://", "huggingface.co", "x.org", "a", "b.gguf", "%2e", "%2f", " "]
    words += ["\0", "\n", "resolve", "main", "tiny", "Q8_0", "~", "-", "é", "?", "#", "@"]
    for _ in range(20_000):
        text = "".join(draw.choices(words, k=draw.randint(1, 9)))
        try:
            found = parse(text)
        except ModelError as error:
            assert "\n" not in str(error)
            continue
        if isinstance(found, HubSpec):
            assert spec.REPOSITORY.fullmatch(found.repository) and ".." not in found.repository + found.revision
            assert found.file is None or spec.safe_name(found.file)
        elif isinstance(found, UrlSpec):
            assert spec.safe_name(found.name) and "/" not in found.name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.org/a.gguf", "a.gguf"),
        ("https://x.org/%2e%2e%2fa.gguf", "a.gguf"),
        ("https://x.org/..%5c..%5ca.gguf", "a.gguf"),
        ("https://x.org/.bashrc", "bashrc"),
        ("https://x.org/a%00b c.gguf?x=/y", "a_b_c.gguf"),
        ("https://x.org/", "model.gguf"),
        ("https://x.org/..", "model.gguf"),
    ],
)
def test_the_names_of_files_of_urls_are_safe(url, name):
    assert UrlSpec(url).name == name


@pytest.mark.parametrize("name", ["a.gguf", "sub/a.gguf", "a b.gguf", "x/y/z.gguf", "é.gguf"])
def test_safe_names(name):
    assert spec.safe_name(name)


@pytest.mark.parametrize(
    "name", ["", "/a", "../a", "a/../b", "a//b", "./a", "a/.", "..", "a\\b", "C:a", "a\0b", "a\nb", "x" * 301]
)
def test_names_that_are_not_safe(name):
    assert not spec.safe_name(name)
