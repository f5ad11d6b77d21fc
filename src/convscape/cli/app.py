"""The table of commands. A command's own imports wait until it is called, so all start at once."""

from typing import Annotated

import typer

from convscape._version import __version__
from convscape.cli.size import size
from convscape.cli.study import study

app = typer.Typer(
    help="Convolution arithmetic and batch normalization: size it, run it, study it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convscape {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command()(size)
app.command()(study)
