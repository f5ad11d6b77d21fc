"""How many times faster the convolutions are with several threads than with one.

    python -m benchmarks.two_threads [suite ...] [--threads 2] [--rounds 9] [--all] [--json]

Method: every layer of the suites (those of `convscape bench` that are bound by multiplications) is
computed by our kernels with one thread and with several, in turn in every round, so that the
machine's moods hit both alike; the figures are ratios of medians. What one thread does in less
than a millisecond is left out unless `--all` asks for it: waking another is felt there. The last
lines are the geometric means. The machine's own gain, of a loop that only multiplies, is printed
before: a shared machine need not have a whole second core to give.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from typing import Any

from convscape.bench.choose import chosen
from convscape.bench.limits import measure_limits
from convscape.bench.measure import BEFORE, SAMPLE, seconds_of
from convscape.bench.peers import OURS, Settings
from convscape.bench.run import torch_threads
from convscape.bench.tasks import Task

SUITES = "conv3x3", "conv1x1", "strided", "inception"
LEAST = 1.7
"""What two threads should gain at least."""


def measure(task: Task, threads: int, rounds: int) -> dict[int, float]:
    """Median seconds of a call, by the number of threads."""
    call = task.prepare().builders[OURS[0]](Settings(threads, compiled=False)).call
    samples: dict[int, list[float]] = {1: [], threads: []}
    for turn in range(rounds + 1):
        for count, found in samples.items():
            with torch_threads(count):
                once = seconds_of(call, 1)
                repeats = max(1, round(SAMPLE / once))
                if turn:  # the first round warms up
                    seconds_of(call, max(1, round(BEFORE / once)))
                    found.append(seconds_of(call, repeats) / repeats)
    return {count: statistics.median(found) for count, found in samples.items()}


def rows(suites: list[str], threads: int, rounds: int, least: float) -> Iterator[dict[str, Any]]:
    """A row for every layer that takes one thread at least so many seconds."""
    for task in chosen(suites, None, None, quick=False):
        found = measure(task, threads, rounds)
        if found[1] >= least:
            yield {
                "suite": task.suite, "direction": task.direction, "name": task.name,
                "one": found[1], "several": found[threads], "gain": found[1] / found[threads],
            }  # fmt: skip


def main() -> None:
    """Measure, and print a line each and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", default=list(SUITES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    machine = measure_limits(options.threads).flops / measure_limits(1).flops
    if not options.json:
        print(f"the machine itself: {machine:.2f}")
    measured = []
    for row in rows(options.suites, options.threads, options.rounds, 0.0 if options.all else 1e-3):
        measured.append(row)
        if not options.json:
            print(f"{row['gain']:.2f}  {row['one'] * 1e3:8.2f} ms  {row['name']}", flush=True)
    if options.json:
        print(json.dumps({"machine": machine, "rows": measured}))
        return
    for suite, direction in dict.fromkeys((row["suite"], row["direction"]) for row in measured):
        gains = [r["gain"] for r in measured if (r["suite"], r["direction"]) == (suite, direction)]
        below = sum(gain < LEAST for gain in gains)
        print(
            f"{suite}, {direction}: {statistics.geometric_mean(gains):.2f} "
            f"({min(gains):.2f} to {max(gains):.2f}; {below} of {len(gains)} below {LEAST})"
        )


if __name__ == "__main__":
    main()
