"""Which algorithm solves a problem, and why not the others."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.kernels.algorithm import Algorithm, Problem
from convscape.kernels.table import TABLE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one algorithm says to a problem.

    Args:
        algorithm: The row of the table.
        refusal: Why it cannot solve it; None when it can.
        cost: Predicted nanoseconds of one thread, None when it refuses.
        workspace: Bytes allocated beside the result, None when it refuses.
        chosen: Whether `choose` takes it.
    """

    algorithm: Algorithm
    refusal: str | None
    cost: int | None
    workspace: int | None
    chosen: bool


@lru_cache(maxsize=1024)  # it is asked on every call of an op, for few different problems
def choose(problem: Problem, algorithm: str = "auto") -> Algorithm:
    """The algorithm for a problem.

    With "auto" it is the compiled algorithm of the lowest cost among those that do not refuse; the
    framework's own op when all refuse. "direct" is the same among the exact ones, which sum the
    products as they are: use it where NaN or Inf must stay local. A named algorithm is taken or its
    refusal raised; nothing else is tried in silence.

    Args:
        problem: What is to be computed.
        algorithm: "auto", "direct", or the name of a row for this op.

    Returns:
        A row of the table.

    Raises:
        InputError: An unknown name, or the named algorithm refuses.

    Example:
        >>> from convscape import Geometry
        >>> g = Geometry.of((56, 56), 3, padding="same", in_channels=64, out_channels=64)
        >>> choose(Problem("convolution", (1, 64, 56, 56), geometry=g)).name
        'winograd'
    """
    rows = [row for row in TABLE if row.op == problem.op]
    if algorithm in ("auto", "direct"):
        able = [
            row
            for row in rows
            if row.name != "reference"
            and (row.exact or algorithm == "auto")
            and row.refuses(problem) is None
        ]
        # The framework's row, which has no module, comes last whatever it claims to cost.
        return min(able, key=lambda row: (row.module is None, row.cost(problem)))
    for row in rows:
        if row.name == algorithm:
            refusal = row.refuses(problem)
            if refusal is not None:
                raise InputError(
                    f"algorithm {algorithm!r} {refusal}",
                    f"shape {problem.shape}, {problem.dtype} on {problem.device}",
                    'use algorithm="auto"',
                )
            return row
    raise InputError(
        f"algorithm must be one that computes {problem.op}",
        f"algorithm={algorithm!r}",
        f"known: auto, direct, {', '.join(row.name for row in rows)}",
    )


def explain(problem: Problem) -> tuple[Verdict, ...]:
    """Every algorithm for the op with its cost, or its reason for refusing.

    Args:
        problem: What is to be computed.

    Returns:
        One `Verdict` a row, in the table's order.

    Example:
        >>> from convscape import Geometry
        >>> g = Geometry.of((8, 8), 3, in_channels=4, out_channels=6)
        >>> for v in explain(Problem("convolution", (1, 4, 8, 8), geometry=g)):
        ...     print(v.algorithm.name, v.refusal or v.cost)  # doctest: +ELLIPSIS
        depthwise has one input and one output channel a group
        winograd 23916
        winograd1d computes kernels of 3 cells or more along one axis
        amx ...
        gemm 16477
        framework 16233
        reference 797600
    """
    chosen = choose(problem)
    verdicts = []
    for row in TABLE:
        if row.op != problem.op:
            continue
        refusal = row.refuses(problem)
        accepted = refusal is None
        verdicts.append(
            Verdict(
                row,
                refusal,
                row.cost(problem) if accepted else None,
                row.workspace(problem) if accepted else None,
                row is chosen,
            )
        )
    return tuple(verdicts)


def load(algorithm: Algorithm) -> Any:
    """The module that implements an algorithm; imported (and its loops compiled) on first use."""
    assert algorithm.module is not None, "the framework's own op has no module of ours"
    return import_module(algorithm.module)
