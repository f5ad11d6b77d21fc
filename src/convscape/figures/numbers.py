"""The numbers in figures: read from text, made up, and written exactly.

Numbers are integers or fractions, so that nothing drawn was rounded on the way; only writing
rounds, and says so.
"""

import random
from collections.abc import Sequence
from fractions import Fraction
from re import fullmatch

from convscape.arithmetic.errors import InputError

Number = int | Fraction
Grid = tuple[tuple[Number, ...], ...]
Maps = tuple[Grid, ...]

DECK_INPUT = ((3, 3, 2, 1, 0), (0, 0, 1, 3, 1), (3, 1, 2, 2, 3), (2, 0, 0, 2, 2), (2, 0, 0, 0, 1))
"""The input of the lesson's slides, 5x5."""

DECK_KERNEL = ((0, 1, 2), (2, 2, 0), (0, 1, 2))
"""The kernel of the lesson's slides, 3x3."""

SOURCES = ("deck", "random")
MINUS = "−"


def grid(pattern: Sequence[Sequence[int]], rows: int, columns: int, turn: int = 0) -> Grid:
    """A pattern repeated over a grid of any size, begun elsewhere for each `turn`."""
    height, width = len(pattern), len(pattern[0])
    return tuple(
        tuple(pattern[(r + turn) % height][(c + 2 * turn + turn // height) % width]
              for c in range(columns))
        for r in range(rows)
    )  # fmt: skip


def random_grid(rows: int, columns: int, generator: random.Random) -> Grid:
    """Small whole numbers, 0 to 3, the same for the same seed everywhere."""
    return tuple(tuple(int(generator.random() * 4) for _ in range(columns)) for _ in range(rows))


def parse(text: str) -> Maps:
    """Numbers from text: commas between cells, semicolons between rows, | between maps.

    Raises:
        InputError: Something is not a number, or rows differ in length.

    Example:
        >>> [[str(v) for v in row] for row in parse("1,2.5;-3,4")[0]]
        [['1', '5/2'], ['-3', '4']]
    """
    maps = tuple(
        tuple(tuple(_number(cell) for cell in row.split(",")) for row in part.split(";"))
        for part in text.split("|")
    )
    shapes = {(len(rows), len(row)) for rows in maps for row in rows}
    if len(shapes) > 1:
        raise InputError(
            "every row and map must have as many numbers as the others",
            f"rows of {', '.join(str(c) for c in sorted({c for _, c in shapes}))} numbers in maps "
            f"of {', '.join(str(r) for r in sorted({r for r, _ in shapes}))} rows",
            'write a rectangle, e.g. "1,2;3,4"',
        )
    return maps


def _number(text: str) -> Number:
    text = text.strip().replace(MINUS, "-")
    if not fullmatch(r"[+-]?(\d{1,9}(\.\d{0,6})?|\.\d{1,6})", text):
        raise InputError(
            "every value must be a number of at most 9 digits, and 6 decimals",
            repr(text[:40]),
            'write e.g. "1,2;3,4"',
        )
    return tidy(Fraction(text))


def tidy(value: Number) -> Number:
    """An integer where the number is one: drawing thousands of cells is faster with them."""
    return value.numerator if value.denominator == 1 else value


def written(value: Number | None, digits: int | None = None) -> str:
    """A number as figures show it.

    Args:
        value: The number; None is minus infinity, which padding is in max pooling.
        digits: Decimals to show always; None shows an integer as one, and else up to two.

    Example:
        >>> written(Fraction(12)), written(Fraction(-5, 2)), written(Fraction(5, 3), 1)
        ('12', '−2.5', '1.7')
    """
    if value is None:
        return f"{MINUS}∞"
    if digits is None:
        if isinstance(value, int):
            return str(value) if value >= 0 else f"{MINUS}{-value}"
        text = decimal(value, 2)
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = decimal(value, digits)
    return text


def decimal(value: Number, digits: int) -> str:
    """The number to so many decimals, halves away from zero, with a real minus sign.

    Example:
        >>> decimal(Fraction(-5, 4), 1)
        '−1.3'
    """
    below = value.denominator
    whole = (2 * abs(value.numerator) * 10**digits + below) // (2 * below)
    text = f"{whole // 10**digits}"
    if digits:
        text += f".{whole % 10**digits:0{digits}d}"
    return (MINUS if value < 0 and whole else "") + text


def exact(value: Number, digits: int | None) -> bool:
    """Whether `written` shows the number without rounding it."""
    power: int = 10 ** (2 if digits is None else digits)
    return (value * power).denominator == 1


def factor(value: Number | None) -> str:
    """A number inside a product or sum: in brackets when negative.

    Example:
        >>> factor(Fraction(-2))
        '(−2)'
    """
    text = written(value)
    return f"({text})" if text.startswith(MINUS) else text
