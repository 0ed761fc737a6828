"""The README's tables of options say what --help says: the same options, the same defaults, and nothing else."""

import re
from pathlib import Path

import click

from mata_cpp.cli import chat, config, listen
from mata_cpp.cli.repl_commands import help_text

README = Path(__file__).parents[2] / "README.md"


def section(title: str) -> str:
    """The text under "## title"."""
    return README.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> dict[str, str]:
    """{option as it is written: default} of a section's table."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `-")]
    plain = [[cell.replace("`", "").replace("\\|", "|").strip() for cell in row] for row in rows]
    return {option: default for option, _, default in plain}


def in_help(command: click.Command) -> dict[str, str]:
    """The same of --help, without --help itself."""
    context = click.Context(command, info_name=command.name, **command.context_settings)
    records = [
        param.get_help_record(context) for param in command.get_params(context) if isinstance(param, click.Option)
    ]
    found = {record[0]: record[1] for record in records if record is not None}
    del found["-h, --help"]
    return {option: "".join(re.findall(r"\[default: (.*?)\](?:  |$)", text)) for option, text in found.items()}


def left_out(text: str) -> set[str]:
    """The options that "The other options are those of mata-chat, without ..." names."""
    sentence = re.search(r"The other options are those of mata-chat, without ([^.]*)\.", text)
    assert sentence is not None
    return set(re.findall(r"`(--[a-z-]+)`", sentence.group(1)))


def name_of(option: str) -> str:
    return re.search(r"--[a-z-]+", option).group()


def test_mata_chat() -> None:
    assert table(section("mata-chat")) == in_help(chat.cli)


def test_mata_listen() -> None:
    text = section("mata-listen")
    own = table(text)
    others = {option: default for option, default in table(section("mata-chat")).items() if option not in own}
    shared = {option: default for option, default in others.items() if name_of(option) not in left_out(text)}
    assert own | shared == in_help(listen.cli)


def test_what_mata_listen_leaves_out_is_an_option_of_mata_chat() -> None:
    assert left_out(section("mata-listen")) <= {name_of(option) for option in in_help(chat.cli)}


def test_the_commands_of_a_conversation() -> None:
    assert help_text().split("\n\n")[0] in section("mata-chat")


def test_the_keys_of_the_configuration_file() -> None:
    text = section("mata-chat")
    block, after = text.split("```toml\n", 1)[1].split("```", 1)
    others = re.search(r"The other keys are (.*?), each as", after, re.DOTALL)
    assert others is not None
    found = [*re.findall(r"^(\w+) =", block, re.MULTILINE), *re.findall(r"`(\w+)`", others.group(1))]
    assert sorted(found) == sorted(config.KEYS)
