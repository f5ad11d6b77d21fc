"""The table of commands. A command's own imports wait until it is called, so all start at once."""

from typing import Annotated

import typer

from convscape._version import __version__
from convscape.cli.bench import bench
from convscape.cli.check import check
from convscape.cli.draw import draw
from convscape.cli.quick import QUICK, run
from convscape.cli.study import study
from convscape.cli.trace import trace
from convscape.cli.warmup import warmup

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


def _delegate(ctx: typer.Context) -> None:
    run(str(ctx.info_name), ctx.args)


# The arithmetic's own commands parse their arguments themselves: see convscape.cli.quick.
for _name, _help in QUICK.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_delegate)
app.command()(study)
app.command()(trace)
app.command()(check)
app.command()(draw)
app.command()(bench)
app.command()(warmup)
