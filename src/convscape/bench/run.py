"""The run itself: for every task check the results, then time whoever is right."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from convscape.bench.busy import Watch
from convscape.bench.limits import Limits
from convscape.bench.measure import Contestant, error_over_rms, fastest, interleaved
from convscape.bench.peers import OURS, Settings, Unable
from convscape.bench.tasks import Task

Row = dict[str, Any]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch (and with it our kernels) on this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rows(
    tasks: Sequence[Task],
    settings: Settings,
    rounds: int,
    limits: Limits,
    begin: Callable[[Task], None] = lambda _: None,
) -> Iterator[Row]:
    """Measure the tasks, and give each row as soon as it is there.

    Args:
        tasks: What to measure.
        settings: What holds for all contestants.
        rounds: Samples of each contestant.
        limits: What the machine can do at best.
        begin: Called before each task.

    Yields:
        Rows as docs/cli-json-bench.md says.
    """
    for task in tasks:
        begin(task)
        with torch_threads(settings.threads):
            yield row_of(task, settings, rounds, limits)
        gc.collect()


def row_of(task: Task, settings: Settings, rounds: int, limits: Limits) -> Row:
    """Measure one task."""
    prepared = task.prepare()
    least, bound = limits.seconds(prepared.flops, prepared.bytes)
    row: Row = {
        "suite": task.suite,
        "case": task.case.name,
        "source": task.case.source,
        "direction": task.direction,
        "layout": task.layout,
        "batch": task.case.batch,
        "flops": prepared.flops,
        "bytes": prepared.bytes,
        "bound": bound,
        "limit_seconds": least,
        "tolerance": task.tolerance,
        "status": "measured",
        "problem": None,
        "errors": {},
        "refused": {},
        "times": {},
        "fastest_peer": None,
        "ratio": None,
        "of_limit": None,
        "others": None,
    }
    contestants: list[Contestant] = []
    try:
        for name, build in prepared.builders.items():
            try:
                made = build(settings)
                contestants.append(made)
                row["errors"][name] = error_over_rms(made.check(), prepared.exact)
            except Unable as reason:
                row["refused"][name] = str(reason)
            except Exception as error:
                # Whatever a peer trips over is its reason; the others are measured all the same.
                lines = str(error).strip().splitlines() or [""]
                row["refused"][name] = f"failed: {type(error).__name__}: {lines[0]}"
        _judge(row)
        if row["status"] == "measured":
            right = [c for c in contestants if c.name not in row["refused"]]
            watch = Watch()
            times = interleaved(right, rounds)
            row["others"] = watch.others()
            _compare(row, times)
    finally:
        for contestant in contestants:
            if contestant.close is not None:
                contestant.close()
    return row


def _judge(row: Row) -> None:
    """Who computed something else is not timed; when it is us, nobody is."""
    wrong = {n: e for n, e in row["errors"].items() if not e <= row["tolerance"]}
    for name, error in wrong.items():
        row["refused"].setdefault(name, f"wrong result: error over RMS {error:.1e}")
    ours = OURS[0]
    if ours in row["refused"]:
        row["status"] = "wrong" if ours in wrong else "failed"
        row["problem"] = row["refused"][ours]
    elif OURS[1] in wrong:
        row["status"], row["problem"] = "wrong", f"{OURS[1]}: {row['refused'][OURS[1]]}"


def _compare(row: Row, times: dict[str, Any]) -> None:
    own = times[OURS[0]].median
    peer = fastest(times, [name for name in times if name not in OURS])
    row["times"] = {
        name: {
            "median": t.median,
            "low": t.low,
            "high": t.high,
            "samples": t.samples,
            "repeats": t.repeats,
        }
        for name, t in times.items()
    }
    row["of_limit"] = row["limit_seconds"] / own
    if peer is not None:
        row["fastest_peer"] = peer
        row["ratio"] = times[peer].median / own
