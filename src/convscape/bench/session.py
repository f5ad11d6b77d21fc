"""One run of `convscape bench`: everything refused at once, progress, and the result as data."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from convscape.arithmetic.errors import InputError
from convscape.bench.choose import chosen
from convscape.bench.limits import Limits, measure_limits
from convscape.bench.machine import THREADS_NOTE, machine, versions
from convscape.bench.peers import Settings
from convscape.bench.plot import check_writable
from convscape.bench.run import Row, rows, torch_threads
from convscape.bench.summary import summary

ROUNDS, QUICK_ROUNDS = 9, 5

_NOTES = (
    THREADS_NOTE,
    "forward: a convolution's weights are given with every call; inference: they are constants, "
    "which a contestant may arrange beforehand (torch's eager op does not)",
    "limits: multiply-adds of the direct sum on the vector unit (Winograd needs fewer, a matrix "
    "unit has more), or the bytes that must move at the speed of a large copy (caches are "
    "faster): more than 100% is possible",
)


class Session:
    """What was asked, and what has been measured so far.

    Args:
        suites: Names; all when empty.
        batch: Images, in place of each case's own number.
        threads: Threads of every contestant; None for torch's setting.
        rounds: Samples of each contestant.
        only: Regular expression on a task's name.
        plot: A file that must be writable.
        quick: A few cases of each suite.

    Raises:
        InputError: Anything that makes no sense, before anything is measured.
    """

    def __init__(
        self,
        suites: Sequence[str],
        batch: int | None,
        threads: int | None,
        rounds: int | None,
        only: str | None,
        plot: Path | None,
        *,
        quick: bool,
    ) -> None:
        for name, value in (("batch", batch), ("threads", threads), ("rounds", rounds)):
            if value is not None and value < 1:
                raise InputError(f"--{name} must be 1 or more", str(value), "ask for 1 or more")
        self.threads = torch.get_num_threads() if threads is None else threads
        self.rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
        self.tasks = chosen(suites, only, batch, quick=quick)
        if plot is not None:
            check_writable(plot)
        self.settings = Settings(self.threads, compiled=not quick)
        self.rows: list[Row] = []
        self.limits: Limits | None = None
        self.interrupted = False

    def measure(self) -> None:
        """Measure everything; an interruption leaves what is there."""
        progress = _Progress(len(self.tasks))
        with progress.shown:
            progress.say("the machine's limits")
            with torch_threads(self.threads):
                self.limits = measure_limits(self.threads)
            measured = rows(
                self.tasks, self.settings, self.rounds, self.limits, lambda t: progress.say(t.name)
            )
            for row in measured:
                self.rows.append(row)
                progress.advance()

    def results(self) -> dict[str, Any]:
        """Everything, as docs/cli-json-bench.md says."""
        limits = self.limits or Limits(float("nan"), float("nan"))
        known = self.limits is not None
        return {
            "machine": machine(),
            "versions": versions(),
            "threads": self.threads,
            "rounds": self.rounds,
            "limits": {
                "flops": limits.flops if known else None,
                "bandwidth": limits.bandwidth if known else None,
            },
            "notes": list(_NOTES),
            "interrupted": self.interrupted,
            "rows": self.rows,
            "summary": summary(self.rows),
        }


class _Progress:
    """A bar where standard error is a terminal, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.shown: AbstractContextManager[Any] = nullcontext()
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeRemainingColumn as Remaining

            self._bar = self.shown = Progress(
                BarColumn(bar_width=24), MofNCompleteColumn(), Remaining(),
                TextColumn("{task.description}", markup=False), console=Console(stderr=True),
                transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=total)

    def say(self, what: str) -> None:
        """What is measured now."""
        if self._bar is not None:
            self._bar.update(self._task, description=what)

    def advance(self) -> None:
        """One more is done."""
        if self._bar is not None:
            self._bar.advance(self._task)
