"""`convscape warmup`: compile all kernels now, so that no first call has to wait."""

from typing import Annotated

import typer


def warmup(
    workers: Annotated[
        int | None,
        typer.Option(help="Processes.", show_default="one for each core"),
    ] = None,
) -> None:
    """Compile all kernels into the cache: every algorithm, type, memory layout and team."""
    import os
    import sys

    from convscape.arithmetic.errors import InputError

    if workers is not None and workers < 1:
        raise InputError("--workers must be 1 or more", str(workers), "ask for 1 or more")

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from convscape.warmup import jobs, warm

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    bar = Progress(
        BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("compiling", total=len(jobs()))
        outcome = warm(
            workers or cores or 1, lambda job: bar.update(task, advance=1, description=job.name)
        )
    if outcome.compiled:
        typer.echo(f"{outcome.compiled} functions compiled in {outcome.seconds:.0f} s")
    else:
        typer.echo(f"everything is there: nothing to compile ({outcome.seconds:.0f} s to look)")
    typer.echo(f"{outcome.folder} ({outcome.bytes / 2**20:.1f} MiB)")
