"""Chains of layers that take i cells to o, smallest first.

The search is best first with an exact bound on what is left (A*), so solutions come in order
without enumerating the others.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count, islice

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.solve import Constraints, Cost, Solution, every, positive


def solve_chain(
    i: int,
    o: int,
    layers: int,
    constraints: Constraints | Sequence[Constraints] | None = None,
    *,
    identical: bool = False,
    limit: int = 20,
) -> list[list[Solution]]:
    """Chains of layers that take i cells to o, smallest first.

    Args:
        i: Input cells.
        o: Output cells.
        layers: Number of layers, at least 1.
        constraints: For every layer, or one for each.
        identical: All layers are the same.
        limit: Return at most so many.

    Returns:
        Chains in order of the sum of their layers' costs, one list of `layers` windows each.

    Raises:
        InputError: Sizes or counts below 1, a wrong number of constraints, or a search space
            that is too large.

    Example:
        >>> halving = Constraints(kernel=3, stride=2, padding=1)
        >>> [(s.kernel, s.stride) for s in solve_chain(224, 7, 5, halving)[0]]
        [(3, 2), (3, 2), (3, 2), (3, 2), (3, 2)]
    """
    positive(i, o, layers, limit)
    if isinstance(constraints, Sequence):
        each = list(constraints)
    else:
        each = [constraints or Constraints()] * layers
    if len(each) != layers:
        raise InputError(
            "constraints are one for all layers, or one for each",
            f"{len(each)} for {layers} layers",
            f"give 1 or {layers}",
        )
    if identical:
        same = every(each[0])
        chains = ([s] * layers for s in same if _through(each[0], s, i, layers) == o)
        return list(islice(chains, limit))
    options = {c: every(c) for c in dict.fromkeys(each)}
    sizes = _reachable(i, each, options)
    return list(islice(_best_first(i, o, each, options, sizes), limit))


def _through(allowed: Constraints, made: Solution, n: int, layers: int) -> int:
    for _ in range(layers):
        n = allowed.output(made, n)
    return n


Options = dict[Constraints, list[Solution]]
Steps = list[dict[int, dict[int, list[Solution]]]]


def _reachable(i: int, each: list[Constraints], options: Options) -> Steps:
    """For each layer: which size leads to which, by which windows (smallest first)."""
    steps: Steps = []
    sizes, work = {i}, 0
    for allowed in each:
        work += len(sizes) * len(options[allowed])
        if work > 2_000_000:
            raise InputError(
                "a chain is searched among at most two million layers",
                f"{len(sizes)} sizes x {len(options[allowed])} windows at one layer",
                "fix the kernel, the stride or the padding, or lower largest",
            )
        step: dict[int, dict[int, list[Solution]]] = {}
        for n in sorted(sizes):
            targets: dict[int, list[Solution]] = {}
            for made in options[allowed]:
                if m := allowed.output(made, n):
                    targets.setdefault(m, []).append(made)
            step[n] = targets
        steps.append(step)
        sizes = {m for targets in step.values() for m in targets}
    return steps


def _best_first(
    i: int, o: int, each: list[Constraints], options: Options, steps: Steps
) -> Iterator[list[Solution]]:
    """Chains from i to o in order of cost, by A* with the exact cost of what is left."""
    left: list[dict[int, Cost]] = [{o: ()}]
    for step in reversed(steps):
        best: dict[int, Cost] = {}
        for n, targets in step.items():
            ways = [
                _plus(found[0].cost, left[0][m]) for m, found in targets.items() if m in left[0]
            ]
            if ways:
                best[n] = min(ways)
        left.insert(0, best)
    if i not in left[0]:
        return
    ticket = count()  # breaks ties without comparing chains
    heap: list[tuple[Cost, int, Cost, int, list[Solution]]] = []
    heappush(heap, (left[0][i], next(ticket), (), i, []))
    while heap:
        _, _, spent, n, chain = heappop(heap)
        if len(chain) == len(each):
            yield chain
            continue
        after = left[len(chain) + 1]
        for m, found in steps[len(chain)][n].items():
            if m in after:
                for made in found:
                    total = _plus(spent, made.cost)
                    bound = _plus(total, after[m])
                    heappush(heap, (bound, next(ticket), total, m, [*chain, made]))


def _plus(a: Cost, b: Cost) -> Cost:
    """Sum cell by cell; lexicographic order survives it."""
    if not a or not b:
        return a or b
    return tuple(x + y for x, y in zip(a, b, strict=True))
