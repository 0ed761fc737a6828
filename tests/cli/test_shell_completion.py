"""What a shell is told when Tab is pressed after mata-chat or mata-listen."""

import pytest
from click.testing import CliRunner

from mata_cpp.cli import chat, config, listen


@pytest.mark.parametrize(("command", "name"), [(chat.cli, "mata-chat"), (listen.cli, "mata-listen")])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ex"], "file,ex\n"),
        (["--model", "m"], "plain,music-flamingo\nfile,m\n"),
        (
            ["-m", "qwen3-o"],
            "plain,qwen3-omni-30b\nplain,qwen3-omni-30b-thinking\nplain,qwen3-omni-30b-captioner\nfile,qwen3-o\n",
        ),
        (["--grammar", ""], "file,\n"),
        (["--temp"], "plain,--temperature\n"),
        (["--mode", ""], "plain,scale\nplain,abs\nplain,add\n"),
        (["--system", "x"], "\n"),
    ],
)
def test_completion(command, name, words, found, monkeypatch, tmp_path):
    monkeypatch.delenv(config.IGNORE_VARIABLE)
    monkeypatch.setattr(config, "path", lambda: tmp_path / "config.toml")
    (tmp_path / "config.toml").write_text("broken")  # is not read for this
    variables = {
        f"_{name.upper().replace('-', '_')}_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join([name, *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(command, [], env=variables, prog_name=name)
    assert (result.exit_code, result.stdout) == (0, found)
