"""Compare our arithmetic with one framework over many random settings."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from tests.crosscheck import frameworks
from tests.crosscheck.settings import Setting, contradiction, draw, numbers, ours


@dataclass
class Tally:
    """What came of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    contradictions: Counter[str] = field(default_factory=Counter)


def run(dialect: str, count: int, *, values: bool, seed: int = 0) -> Tally:
    """Draw `count` settings and compare sizes, or values too, refusals included.

    Where the framework contradicts its own documentation the setting is counted apart.
    """
    random, tally = Random(seed), Tally()
    backend = _backend() if dialect == "keras" and values else ""
    for _ in range(count):
        setting = draw(dialect, random)
        x, kernel = numbers(setting, random)
        if reason := contradiction(setting, backend):
            tally.counts["contradiction"] += 1
            tally.contradictions[reason] += 1
            continue
        mine = ours(setting, x, kernel)
        theirs, complaint = _theirs(setting, x, kernel, values=values)
        if mine is None or theirs is None:
            verdict = "refused by both" if mine is theirs is None else ""
        elif values:
            verdict = "same values" if _alike(mine, theirs) else ""
        else:
            verdict = "same size" if len(mine) == theirs else ""
        tally.counts[verdict or "wrong"] += 1
        if not verdict:
            tally.wrong.append(f"{setting}\n  ours   {mine}\n  theirs {theirs} {complaint}")
    return tally


def _theirs(s: Setting, x: list[int], kernel: list[int], *, values: bool) -> tuple[Any, str]:
    """The framework's answer; None, with its complaint, when it refuses or gives nothing."""
    try:
        if values:
            result = frameworks.RUN[s.dialect](s, x, kernel)
            return (result, "") if result.size else (None, "an empty output")
        size = frameworks.SIZE[s.dialect](s, x, kernel)
        return (size, "") if size > 0 else (None, "an empty output")
    except Exception as error:  # each framework has its own kinds
        return None, str(error)


def _alike(mine: list[float], theirs: Any) -> bool:
    """Equal cell by cell; a cell of pooling whose window sees padding alone has no true value."""
    if len(mine) != len(theirs):
        return False
    cells = [(a, b) for a, b in zip(mine, theirs.tolist(), strict=True) if np.isfinite(a)]
    return all(abs(a - b) <= 1e-5 * max(1, abs(a)) for a, b in cells)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())
