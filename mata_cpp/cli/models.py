"""mata-models: which models there are, fetching and removing them."""

from __future__ import annotations

import sys

try:
    import click

    from .. import __version__
    from ..errors import ModelError
    from ..files import inventory, remote
    from ..files.entry import HubModel
    from ..files.spec import HubSpec, NamedSpec, UrlSpec
    from ..files.telling import in_words
    from . import model_facts
    from .command import CONTEXT, EPILOG, OneLineGroup, prepare_streams
except KeyboardInterrupt:
    sys.exit(130)

JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
MODEL = click.argument("name", metavar="NAME[:QUANT]")


@click.group("mata-models", cls=OneLineGroup, context_settings=CONTEXT, epilog=EPILOG)
@click.version_option(__version__, prog_name="mata-models", message="%(prog)s %(version)s")
def cli() -> None:
    """List, fetch and remove models.

    NAME is one that list shows, owner/repo of the Hugging Face hub, or a URL of a GGUF file. :QUANT chooses a
    quantization, as in qwen2.5-omni-3b:Q8_0. mata-chat --model takes the same names, and fetches what is not there.
    """


@cli.command("list")
@JSON
@click.option("--markdown", is_flag=True, help="The catalogue as a table of Markdown.")
def list_(as_json: bool, markdown: bool) -> None:
    """The models of the catalogue, and what else was fetched."""
    from . import output

    if markdown:
        output.write("\n".join(model_facts.readme_table()) + "\n")
        return
    found = inventory.items()
    if as_json:
        output.write(output.json_text([model_facts.item(item) for item in found], pretty=sys.stdout.isatty()) + "\n")
    else:
        output.write("\n".join(model_facts.table(found)) + "\n")


@cli.command()
@MODEL
@JSON
def show(name: str, as_json: bool) -> None:
    """What a model is, its quantizations, its licence, and where it is."""
    from . import output

    spec = inventory.wanted(name)
    if isinstance(spec, NamedSpec):
        facts, lines = model_facts.entry(spec.entry), model_facts.entry_lines(spec.entry)
    elif isinstance(spec, HubSpec):
        facts, lines = model_facts.repository(spec)
    else:
        facts, lines = model_facts.url(spec)
    output.write(output.json_text(facts, pretty=sys.stdout.isatty()) + "\n" if as_json else "\n".join(lines) + "\n")


@cli.command()
@MODEL
@JSON
def pull(name: str, as_json: bool) -> None:
    """Fetch a model, or what is newer of it."""
    from . import output

    spec = inventory.wanted(name)
    before = inventory.locate(spec)
    try:
        _fetch(spec)
    except KeyboardInterrupt:
        output.say("interrupted: the same command goes on from here")
        raise
    here = inventory.locate(spec)
    if here is None:
        raise ModelError(f"{name} is gone again")
    if as_json:
        output.write(output.json_text({"name": name, **model_facts.here(here)}, pretty=sys.stdout.isatty()) + "\n")
    elif before is not None and (before.revision, before.sha256) == (here.revision, here.sha256):
        output.write(f"{name} is there and up to date\n")
    else:
        output.write(f"{name} is there: {in_words(here.size)}\n")


@cli.command()
@MODEL
@JSON
def rm(name: str, as_json: bool) -> None:
    """Delete what was fetched of a model."""
    from . import output

    size = inventory.remove(inventory.wanted(name))
    if size == 0:
        raise ModelError(f"{name} is not here")
    if as_json:
        output.write(output.json_text({"name": name, "freed": size}, pretty=sys.stdout.isatty()) + "\n")
    else:
        output.write(f"removed {name}: {in_words(size)}\n")


@cli.command()
@click.argument("name", metavar="[NAME[:QUANT]]", required=False)
@JSON
def path(name: str | None, as_json: bool) -> None:
    """Where the files of a model are; without NAME, where models are kept."""
    from . import output

    if name is None:
        found = model_facts.folders()
    else:
        here = inventory.locate(inventory.wanted(name))
        if here is None:
            raise ModelError(f"{name} is not here: mata-models pull {name} fetches it")
        found = {"model": str(here.model)} | ({} if here.mmproj is None else {"mmproj": str(here.mmproj)})
    if as_json:
        output.write(output.json_text(found, pretty=sys.stdout.isatty()) + "\n")
    else:
        output.write("\n".join(found.values()) + "\n")


@cli.command("rpc-server")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=50052, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option(
    "-t", "--threads", type=click.IntRange(1, 512), help="Number of CPU threads.  [default: the physical cores]"
)
@click.option("--cache", type=click.Path(file_okay=False), help="A folder that keeps weights that were received.")
def rpc_server(host: str, port: int, threads: int | None, cache: str | None) -> None:
    """Hold layers of models for another machine (mata-chat --rpc).

    Only on networks that you trust: there is no password and no encryption. Ends with Ctrl-C.
    """
    from . import rpc

    rpc.serve(host, port, threads or 0, cache)


def _fetch(spec: NamedSpec | HubSpec | UrlSpec) -> None:
    from ..files import download

    wanted = remote.Wanted(refresh=True, insist=True)
    if isinstance(spec, NamedSpec):
        source = spec.entry.source
        if isinstance(source, HubModel):
            remote.obtain(remote.hub_spec(spec.entry, spec.quantization), spec.entry, wanted)
        else:
            download.obtain(source.file, spec.entry.name)
    else:
        remote.obtain(spec, None, wanted)


def main() -> None:
    """The entry point of mata-models."""
    prepare_streams()
    cli.main(prog_name="mata-models")


if __name__ == "__main__":
    main()
