"""How times are taken: in turn, after a warm-up, as medians with quartiles."""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

SAMPLE = 0.005
"""Seconds that one sample takes at least: a shorter call is repeated."""

BEFORE = 0.02
"""Seconds of untimed calls before a sample, at least: the threads of a contestant's predecessor may
spin on, and the caches hold its data."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that computes a result, and can be timed.

    Args:
        name: Who it is.
        call: Computes once.
        check: Computes once and returns the result as tensors, in (N, C, H, W) order.
        seconds: Seconds of this many calls, where another process measures; None for here.
        close: Frees what it holds (another process).
    """

    name: str
    call: Callable[[], Any]
    check: Callable[[], tuple[torch.Tensor, ...]]
    seconds: Callable[[int], float] | None = None
    close: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """The samples of one contestant, in seconds a call.

    Args:
        median: The middle one.
        low: The first quartile.
        high: The third quartile.
        samples: How many.
        repeats: Calls in each.
    """

    median: float
    low: float
    high: float
    samples: int
    repeats: int


def seconds_of(call: Callable[[], Any], repeats: int) -> float:
    """Seconds that this many calls take."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def interleaved(contestants: Sequence[Contestant], rounds: int) -> dict[str, Times]:
    """Time all contestants, in turn in every round, so that the machine's moods hit all alike.

    Each is called twice first; the second call says how often a sample repeats it. Before the clock
    starts each is called for `BEFORE` seconds. Every round has another order, so that nobody always
    follows the same neighbour.

    Args:
        contestants: Whom to time.
        rounds: Samples of each.

    Returns:
        The times by name.
    """
    runs = [_timer(contestant) for contestant in contestants]
    repeats = []
    for run in runs:
        run(1)
        repeats.append(max(1, math.ceil(SAMPLE / max(run(1), 1e-7))))
    samples: list[list[float]] = [[] for _ in runs]
    shuffle = random.Random(0).shuffle
    order = list(range(len(runs)))
    for _ in range(rounds):
        shuffle(order)
        for i in order:
            before = 0.0
            while before < BEFORE:
                before += runs[i](repeats[i])
            samples[i].append(runs[i](repeats[i]) / repeats[i])
    return {
        contestant.name: summary(taken, count)
        for contestant, taken, count in zip(contestants, samples, repeats, strict=True)
    }


def _timer(contestant: Contestant) -> Callable[[int], float]:
    if contestant.seconds is not None:
        return contestant.seconds
    return lambda repeats: seconds_of(contestant.call, repeats)


def summary(samples: Sequence[float], repeats: int = 1) -> Times:
    """Median and quartiles (linear between the samples).

    Example:
        >>> summary([3.0, 1.0, 2.0, 5.0, 4.0])
        Times(median=3.0, low=2.0, high=4.0, samples=5, repeats=1)
    """
    # One sample is its own quartiles.
    taken = samples if len(samples) > 1 else [*samples, *samples]
    low, median, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Times(median, low, high, len(samples), repeats)


def error_over_rms(got: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> float:
    """The largest error of all results, each over the root mean square of its exact values.

    A wrong shape or number of results is infinitely wrong; so is a NaN.

    Args:
        got: Tensors of any dtype.
        exact: As many, in float64.

    Example:
        >>> error_over_rms([torch.tensor([1.0, 2.5])], [torch.tensor([2.0, 2.0]).double()])
        0.5
    """
    if [g.shape for g in got] != [e.shape for e in exact]:
        return math.inf
    worst = 0.0
    for g, e in zip(got, exact, strict=True):
        if not e.numel():
            continue
        rms = float(e.pow(2).mean().sqrt())
        largest = float((g.double() - e).abs().max())
        worst = max(worst, math.inf if math.isnan(largest) else largest / max(rms, 1e-300))
    return worst


def geometric_mean(values: Sequence[float]) -> float:
    """The n-th root of the product of n positive numbers.

    Example:
        >>> round(geometric_mean([0.5, 8.0]), 6)
        2.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))


def fastest(times: Mapping[str, Times], among: Sequence[str]) -> str | None:
    """The name of the lowest median among these; None when none was timed."""
    return min((n for n in among if n in times), key=lambda n: times[n].median, default=None)
