"""What stands below the maps: the sum spelled out, the table of sizes, the relationship."""

from collections.abc import Sequence
from itertools import groupby

from convscape.arithmetic.explain import Explanation, explain
from convscape.figures.numbers import exact, factor, written
from convscape.figures.scene import Rect, Shape, Text, fitted, text_width
from convscape.figures.steps import Step
from convscape.figures.walk import Walk

SUM_SIZE = 13
SUM_LEADING = 19
MAX_LINES = 12
"""Most lines of a spelled-out sum; what is left out is counted."""

TABLE_CELL = (38, 22)


def explanations(walk: Walk) -> list[tuple[str, Explanation]]:
    """The explanation of each axis with its name; one, unnamed, where the axes agree."""
    axes = walk.configured or walk.windows
    rounded_up = walk.configured is not None and walk.configured != walk.windows
    found = [
        explain(w, n, walk.operation, ceil_mode=rounded_up)
        for w, n in zip(axes, walk.spatial, strict=True)
    ]
    if walk.rank == 1:
        return [("", found[1])]
    if found[0] == found[1]:
        return [("", found[0])]
    return [("height", found[0]), ("width", found[1])]


def columns_of(found: Sequence[tuple[str, Explanation]]) -> list[tuple[str, list[str]]]:
    """The table of sizes: letters with a value an axis; d, e and a only where they say something.

    Example:
        >>> from convscape.arithmetic import Window
        >>> columns_of([("", explain(Window(3, stride=2, padding=(1, 1)), 5))])
        [('i', ['5']), ('k', ['3']), ('s', ['2']), ('p', ['1']), ('o', ['3'])]
    """
    rows = []
    for _, e in found:
        low, high = e.padding
        row = {letter: str(e.symbols.get(letter, 1)) for letter in "iksde"}
        row["p"] = str(low) if low == high else f"{low},{high}"
        row["a"] = str(e.symbols.get("a", 0))
        row["o"] = str(e.output)
        rows.append(row)
    plain = {"d": "1", "e": "1", "a": "0"}
    return [
        (letter, [row[letter] for row in rows])
        for letter in "iksdepao"
        if any(row[letter] != plain.get(letter) for row in rows)
    ]


def table(found: Sequence[tuple[str, Explanation]], x: float, y: float) -> list[Shape]:
    """The table of sizes, its upper left corner at a point."""
    out: list[Shape] = []
    wide, high = TABLE_CELL
    names = [name for name, _ in found]
    left = x + (52 if any(names) else 0)
    for at, name in enumerate(names):
        if name:
            out.append(Text(x, y + high * (at + 1.5), name, 12, "muted", "start"))
    for column, (letter, values) in enumerate(columns_of(found)):
        cx = left + column * wide
        out.append(Rect(cx, y, wide, high, "kernel" if letter != "o" else "out", "line"))
        out.append(Text(cx + wide / 2, y + high / 2, letter, 13, bold=True))
        for at, value in enumerate(values):
            cy = y + high * (at + 1)
            out.append(Rect(cx, cy, wide, high, "empty", "line"))
            size = fitted(value, 13, wide - 4)
            out.append(Text(cx + wide / 2, cy + high / 2, value, size,
                            key=f"size {letter} {at}"))  # fmt: skip
    return out


def table_size(found: Sequence[tuple[str, Explanation]]) -> tuple[float, float]:
    """Width and height of the table."""
    wide, high = TABLE_CELL
    names = 52 if any(name for name, _ in found) else 0
    return names + wide * len(columns_of(found)), high * (len(found) + 1)


def relationship(found: Sequence[tuple[str, Explanation]], width: float) -> list[tuple[str, str]]:
    """(text, role) of each line: the relationship by number and name, its formula with numbers.

    The numbers take a line of their own where both do not fit the width.
    """
    out = []
    for name, e in found:
        number = f"Relationship {e.relationship.number}: " if e.relationship.number else ""
        axis = f"{name.capitalize()}. " if name else ""
        said = _signs(e.relationship.name)
        out.append((axis + (number + said if number or axis else said.capitalize()), "ink"))
        formula, numbers = _signs(e.formula), _signs(e.substituted).removeprefix("o ")
        if text_width(f"{formula} {numbers}", 12) <= width:
            out.append((f"{formula} {numbers}", "muted"))
        else:
            out += [(formula, "muted"), (f"o {numbers}", "muted")]
    return out


def _signs(formula: str) -> str:
    """The formula with a real minus sign and a dot for products."""
    return formula.replace("-", "−").replace("*", "·")


def sum_lines(step: Step, digits: int | None, width: float) -> list[str]:
    """What the window computes, with every number, in lines that fit a width.

    One line for each row of the kernel where it fits: the sum has the kernel's shape.
    """
    pooling = step.taps[0].weight is None
    largest = pooling and step.divisor is None
    joint = ", " if largest else " + "
    channels = list(dict.fromkeys(t.channel for t in step.taps))
    lines: list[str] = []
    for channel in channels:
        prefix = f"channel {channel}: " if len(channels) > 1 else ""
        mine = [t for t in step.taps if t.channel == channel]
        for _, row in groupby(mine, key=lambda t: t.kernel[0]):
            terms = [
                (written if largest else factor)(t.value)
                if t.weight is None
                else f"{factor(t.value)}·{factor(t.weight)}"
                for t in row
            ]
            lines += _wrapped(prefix, terms, joint, width)
            prefix = ""
    terms_each = len(step.taps) / len(lines)
    if len(lines) > MAX_LINES:
        left_out = round((len(lines) - MAX_LINES + 1) * terms_each)
        lines = [*lines[: MAX_LINES - 1], f"… and {left_out} more terms{joint}"]
    lines[-1] = lines[-1].removesuffix(joint)
    if largest:
        lines[0] = "max of " + lines[0]
    return [*lines, _total(step, digits)]


def _wrapped(prefix: str, terms: Sequence[str], joint: str, width: float) -> list[str]:
    lines, line = [], prefix
    for term in terms:
        if line != prefix and text_width(line + term + joint, SUM_SIZE) > width:
            lines.append(line)
            line = ""
        line += term + joint
    return [*lines, line]


def _total(step: Step, digits: int | None) -> str:
    if step.result is None:
        return "no cell of this window counts"
    sign = "=" if exact(step.result, digits) else "≈"
    total = written(step.result, digits)
    if step.divisor is None:
        return f"{sign} {total}"
    whole = sum(t.value or 0 for t in step.taps)
    return f"= {factor(whole)} / {step.divisor} {sign} {total}"


def line_count(walk: Walk, width: float) -> int:
    """Lines that no window's sum exceeds, so that every frame has room: all terms the longest."""
    value = max((factor(v) for m in walk.x for row in m for v in row), key=len)
    term, joint = value, " + "
    if walk.weights:
        every = (v for maps in walk.weights for m in maps for row in m for v in row)
        term = f"{value}·{max(map(factor, every), key=len)}"
    channels = len(walk.channels_of(0))
    prefix = f"channel {len(walk.x)}: " if channels > 1 else "max of " * walk.pooling
    first, more = (
        len(_wrapped(before, [term] * walk.windows[1].kernel, joint, width))
        for before in (prefix, "")
    )
    return min(MAX_LINES, channels * (first + more * (walk.windows[0].kernel - 1))) + 1
