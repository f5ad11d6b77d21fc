"""`convscape bench`: the kernels' speed beside other libraries, checked first."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            help="conv3x3, conv1x1, strided, depthwise, inception, mobilenet, pool, norm, layers, "
            "networks; all without."
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images; default: each suite's own.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of every contestant; default: torch's.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Samples of each contestant; default: 9, quick: 5.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few cases of each suite.")] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Regular expression: suite/network/case/direction."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the ratios, .svg or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="docs/cli-json-bench.md")] = False,
) -> None:
    """Check the kernels against float64, then time them in turn with torch, JAX and others.

    `convscape bench explain 56x56 -k 3 -p 1 -c 64` shows which algorithm is chosen for one setting.
    """
    from convscape.bench.session import Session

    session = Session(suites or [], batch, threads, rounds, only, plot, quick=quick)
    try:
        session.measure()
    except KeyboardInterrupt:
        session.interrupted = True
    results = session.results()
    if as_json:
        from json import dumps

        typer.echo(dumps(results, indent=1))
    else:
        from convscape.bench.report import show

        show(results)
    if plot is not None and results["rows"]:
        from convscape.bench.plot import plot as draw

        draw(results, plot)
    if session.interrupted:
        raise typer.Exit(130)
    if any(row["status"] != "measured" for row in results["rows"]):
        raise typer.Exit(1)
