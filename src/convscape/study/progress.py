"""What one sees while a study runs: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any, Protocol, TextIO

from convscape.study.config import Config, Run


class Listener(Protocol):
    """Hears of a study's progress."""

    def begin(self, config: Config, runs: int, finished: int, workers: int) -> None:
        """The study begins, with `finished` of its runs done earlier."""

    def started(self, run: Run) -> None:
        """A worker took the run."""

    def told(self, run: Run, news: dict[str, Any]) -> None:
        """The run is at `news["step"]`, with `news["loss"]` and test `news["accuracy"]`."""

    def finished(self, run: Run, record: dict[str, Any]) -> None:
        """The run is done and on the disk."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines:
    """One line for the start and for each finished run.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = self._done = 0
        self._since = time.perf_counter()

    def begin(self, config: Config, runs: int, finished: int, workers: int) -> None:  # noqa: D102
        self._total, self._done = runs, finished
        self._say(f"study of {config.data}: {opening(runs, finished, workers)}")

    def started(self, run: Run) -> None:  # noqa: D102
        pass

    def told(self, run: Run, news: dict[str, Any]) -> None:  # noqa: D102
        pass

    def finished(self, run: Run, record: dict[str, Any]) -> None:  # noqa: D102
        self._done += 1
        elapsed = time.perf_counter() - self._since
        self._say(f"[{self._done}/{self._total}] {run.key}: {outcome(record)} ({elapsed:.0f} s)")

    def close(self) -> None:  # noqa: D102
        pass

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Bars:
    """A bar for the study and one for each run under way, drawn with Rich on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[news]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}
        self._steps = 0

    def begin(self, config: Config, runs: int, finished: int, workers: int) -> None:  # noqa: D102
        self._steps = config.steps
        self._bars.start()
        self._bars.console.print(f"study of {config.data}: {opening(runs, finished, workers)}")
        news = "imports and compilation first" if finished < runs else ""
        self._tasks[""] = self._bars.add_task("runs", total=runs, completed=finished, news=news)

    def started(self, run: Run) -> None:  # noqa: D102
        self._tasks[run.key] = self._bars.add_task(run.key, total=self._steps, news="")

    def told(self, run: Run, news: dict[str, Any]) -> None:  # noqa: D102
        self._bars.update(self._tasks[""], news="")
        self._bars.update(
            self._tasks[run.key],
            completed=news["step"],
            news=f"loss {news['loss']:.3f}  test {news['accuracy']:.1%}",
        )

    def finished(self, run: Run, record: dict[str, Any]) -> None:  # noqa: D102
        self._bars.remove_task(self._tasks.pop(run.key))
        self._bars.console.print(f"  {run.key}: {outcome(record)}", highlight=False)
        self._bars.advance(self._tasks[""])

    def close(self) -> None:  # noqa: D102
        self._bars.stop()


def listener() -> Listener:
    """Bars where standard error is a terminal, lines where it is not."""
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


def opening(runs: int, finished: int, workers: int) -> str:
    """The first line's account of what is to do."""
    left = runs - finished
    if not left:
        return f"all {runs} runs were done earlier; writing the results"
    earlier = f", {finished} done earlier" if finished else ""
    return f"{left} of {runs} runs to do{earlier}, {workers} at a time"


def outcome(record: dict[str, Any]) -> str:
    """How a run ended, in a few words."""
    if record["diverged_at"] is not None:
        return f"diverged at step {record['diverged_at']}"
    return f"test accuracy {record['evaluations'][-1]['test_accuracy']:.1%}"
