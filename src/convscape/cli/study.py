"""`convscape study`: train with and without batch normalization, and write a report."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def study(
    data: Annotated[
        str,
        typer.Option(
            help="digits, fashion-mnist, a folder with a subfolder of images for each class, or "
            "an .npz file with x and y."
        ),
    ] = "digits",
    out: Annotated[
        Path | None, typer.Option(help="The study's folder.", show_default="./study-<data>")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds.", show_default="3")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps of every run.", show_default="400")
    ] = None,
    learning_rates: Annotated[
        str | None, typer.Option(help="Separated by commas.", show_default="0.1,0.5")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images of a training step.", show_default="64")
    ] = None,
    probe_every: Annotated[
        int | None, typer.Option(help="Steps between two probes.", show_default="10")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels, for a folder's images.", show_default="32")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, one thread each.", show_default="one for each core"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A taste: one seed, one learning rate.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON instead of a table.")
    ] = False,
) -> None:
    """Measure what batch normalization does to a training; write results.json and report.html.

    A small VGG is trained with and without it, paired by seed, at several learning rates, and
    probed for smoothness on the way. Ctrl-C keeps what is finished; the same command carries on.
    """
    from convscape.study.config import Config, parse_rates, quick_settings

    given = {
        "seeds": seeds,
        "steps": steps,
        "learning_rates": None if learning_rates is None else parse_rates(learning_rates),
        "batch_size": batch_size,
        "probe_every": probe_every,
        "image_size": image_size,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    config = Config(data=data, **{**(quick_settings() if quick else {}), **chosen})
    folder = out if out is not None else _default_folder(data, quick)

    from convscape.study.engine import study as perform
    from convscape.study.pool import WorkerError
    from convscape.study.progress import listener

    try:
        results = perform(config, folder, listener(), workers, _command())
    except KeyboardInterrupt:
        typer.echo(
            f"convscape: interrupted; finished runs are kept in {folder}, and the same command "
            f"carries on:\n  {' '.join(_command())}",
            err=True,
        )
        raise typer.Exit(130) from None
    except WorkerError as error:
        typer.echo(f"convscape: error: {error}\nfinished runs are kept in {folder}", err=True)
        raise typer.Exit(1) from None
    from convscape.study.report import printable

    if as_json:
        typer.echo(printable(results))
        return
    from convscape.study.show import show

    show(results, folder)


def _default_folder(data: str, quick: bool) -> Path:
    return Path(f"study-{Path(data).stem or 'data'}{'-quick' if quick else ''}")


def _command() -> list[str]:
    """The command line as one would type it."""
    import shlex

    return ["convscape", *(shlex.quote(argument) for argument in sys.argv[1:])]
