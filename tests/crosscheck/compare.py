"""Compare our arithmetic with one framework over many random settings."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from convscape.arithmetic import Window
from tests.crosscheck import frameworks
from tests.crosscheck.settings import Setting, contradiction, draw, numbers, our_window, ours


@dataclass
class Tally:
    """What came of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    contradictions: Counter[str] = field(default_factory=Counter)


def run(dialect: str, count: int, *, values: bool, seed: int = 0) -> Tally:
    """Draw `count` settings and compare values, or sizes and windows, refusals included.

    Where the framework contradicts its own documentation the setting is counted apart.
    """
    random, tally = Random(seed), Tally()
    backend = _backend() if dialect == "keras" else ""
    for _ in range(count):
        setting = draw(dialect, random)
        x, kernel = numbers(setting, random)
        if reason := contradiction(setting, backend if values else ""):
            tally.counts["contradiction"] += 1
            tally.contradictions[reason] += 1
            continue
        if values:
            mine: Any = ours(setting, x, kernel)
            theirs, complaint = _values(setting, x, kernel)
            agreed = "same values"
        else:
            mine = our_window(setting)
            theirs, complaint = _shape(setting, x, kernel, backend)
            agreed = "same size" if isinstance(theirs, int) else "same window"
        if mine is None or theirs is None:
            verdict = "refused by both" if mine is theirs is None else ""
        else:
            alike = _alike(mine, theirs) if values else _alike_windows(mine, theirs, setting.n)
            verdict = agreed if alike else ""
        tally.counts[verdict or "wrong"] += 1
        if not verdict:
            tally.wrong.append(f"{setting}\n  ours   {mine}\n  theirs {theirs} {complaint}\n")
    return tally


def _values(s: Setting, x: list[int], kernel: list[int]) -> tuple[Any, str]:
    """The framework's answer; None, with its complaint, when it refuses or gives nothing."""
    try:
        result = frameworks.RUN[s.dialect](s, x, kernel)
    except Exception as error:  # each framework has its own kinds
        return None, str(error)
    return (result, "") if result.size else (None, "an empty output")


def _shape(s: Setting, x: list[int], kernel: list[int], backend: str) -> tuple[Any, str]:
    """The framework's size or window; None, with its complaint, as above."""
    how = "keras on jax" if (s.dialect, backend) == ("keras", "jax") else s.dialect
    try:
        shape = frameworks.SHAPE[how](s, x, kernel)
    except Exception as error:
        return None, str(error)
    size = shape if isinstance(shape, int) else shape.output(s.n)
    return (shape, "") if size > 0 else (None, "an empty output")


def _alike_windows(mine: Window, theirs: Window | int, n: int) -> bool:
    """The same cells at every output; where only a size is known, the same size."""
    if isinstance(theirs, int):
        return mine.output(n) == theirs
    size = mine.output(n)
    return size == theirs.output(n) and all(
        mine.taps(o, n) == theirs.taps(o, n) for o in range(size)
    )


def _alike(mine: list[float], theirs: Any) -> bool:
    """Equal cell by cell; a cell of pooling whose window sees padding alone has no true value."""
    if len(mine) != len(theirs):
        return False
    cells = [(a, b) for a, b in zip(mine, theirs.tolist(), strict=True) if np.isfinite(a)]
    return all(abs(a - b) <= 1e-5 * max(1, abs(a)) for a, b in cells)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())
