"""The configuration file: defaults of the command's options."""

import sys

import pytest
from cli_fixtures import FACTS, QUESTION

from mata_cpp.cli import config


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(text) -> the configuration file that is read."""
    file = tmp_path / "config.toml"
    monkeypatch.delenv(config.IGNORE_VARIABLE)
    monkeypatch.setattr(config, "path", lambda: file)

    def call(text):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return call


@pytest.fixture
def seen(fake):
    """The options that the engine gets."""
    found = {}

    class Engine(fake.Engine):
        def __init__(self, *arguments, **options):
            found.update(options)
            super().__init__(*arguments, **options)

    fake.Engine = Engine
    return found


def test_values_are_defaults(run, write, clip, fake, fake_model, seen):
    write(
        f"model = '{fake_model}'\nthreads = 3\ngpu_layers = 0\nctx = 999\nflash_attn = 'off'\ncache_type = 'q8_0'\n"
        "system = 'Be brief.'\nalpha = 1\nlayers = '3,7'\nmode = 'add'\n"
        "max_tokens = 2\ntemperature = 0.5\ntop_k = 3\ntop_p = 1\nmin_p = 0.0\nrepeat_penalty = 1.5\nseed = 7\n"
    )
    status, out, err = run(clip, QUESTION, model=False)
    assert (status, out) == (0, "ra\n")
    assert err.startswith("model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 1, layers 3,7 of 30, mode add)\n")
    assert (seen["n_threads"], seen["n_gpu_layers"], seen["n_ctx"], seen["flash_attn"]) == (3, 0, 999, "off")
    settings = fake.Sampler.last.settings
    assert (settings["temperature"], settings["top_k"], settings["top_p"], settings["seed"]) == (0.5, 3, 1.0, 7)


def test_the_command_line_wins(run, write, clip, seen):
    write("threads = 3\nalpha = 0.5\n")
    assert "alpha 0.2" in run("-t", "2", "--alpha", "0.2", clip, QUESTION)[2] and seen["n_threads"] == 2
    assert "MATA off" in run("--no-mata", clip, QUESTION)[2]


def test_it_can_be_ignored(run, write, clip, monkeypatch):
    write("nonsense = 1")
    assert run("--no-config", clip, QUESTION) == (0, "rain\n", FACTS)
    monkeypatch.setenv(config.IGNORE_VARIABLE, "1")
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)
    monkeypatch.setenv(config.IGNORE_VARIABLE, "0")
    assert run(clip, QUESTION)[0] == 1


def test_no_file_is_no_configuration(run, write, clip):
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)
    write("")
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)
    write("\ufeffctx = 4096  # as ever\n")
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theads = 1", f"FILE: unknown key 'theads'; the keys are {', '.join(config.KEYS)}"),
        ("[model]\nname = 'tiny'", "FILE: model must be a text in quotes, not {'name': 'tiny'}"),
        ("threads = '4'", "FILE: threads must be a whole number, not '4'"),
        ("threads = true", "FILE: threads must be a whole number, not True"),
        ("threads = -4", "FILE: threads: n_threads must be a whole number from 0 to 1024, not -4"),
        ("ctx = 1.5", "FILE: ctx must be a whole number, not 1.5"),
        ("alpha = '0.1'", "FILE: alpha must be a number, not '0.1'"),
        ("alpha = nan", "FILE: alpha: alpha must be finite, not nan"),
        ("layers = [1]", "FILE: layers must be a text in quotes, not [1]"),
        ("layers = 'some'", "FILE: layers: layers must be"),
        ("mode = 'loud'", "FILE: mode: 'loud' is not one of 'scale', 'abs', 'add'"),
        ("max_tokens = 0", "FILE: max_tokens: 0 is not in the range x>=1"),
        ("seed = -1", "FILE: seed: seed must be a whole number of 32 bits, not -1"),
        ("history = 'no'", "FILE: history must be true or false, not 'no'"),
        ("model = 'tiny", "FILE is not TOML: "),
        (b"\xff\xfe", "FILE is not a text in UTF-8 (--no-config ignores it)"),
    ],
)
def test_what_is_wrong_is_one_line(run, write, clip, text, message):
    file = write(text)
    for command in ([clip, QUESTION], ["-q", clip]):
        status, out, err = run(*command)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"error: {message.replace('FILE', str(file))}")
    assert run("--help")[0] == run("--version")[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be opened there")
def test_a_file_that_cannot_be_read(run, write, tmp_path, clip):
    (tmp_path / "config.toml").mkdir()
    message = f"error: {tmp_path / 'config.toml'}: cannot be read: Is a directory (--no-config ignores it)\n"
    assert run(clip, QUESTION) == (1, "", message)


def test_mata_listen_reads_it_too(write, fake, clip, tmp_path):
    from click.testing import CliRunner

    from mata_cpp.cli.listen import cli

    write("threads = 'x'")
    result = CliRunner().invoke(cli, [str(clip), QUESTION], prog_name="mata-listen")
    assert result.exit_code == 1 and "threads must be a whole number" in result.stderr


def test_history_is_kept_unless_it_is_turned_off(run, write, clip, monkeypatch):
    kept = []
    monkeypatch.setattr(
        "mata_cpp.cli.repl.Prompt", lambda interrupts, keeps_history: kept.append(keeps_history) or Nobody()
    )
    run(clip)
    write("history = false")
    run(clip)
    assert kept == [True, False]


class Nobody:
    is_terminal = False

    def __iter__(self):
        return iter(())
