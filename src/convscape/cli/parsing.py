"""How numbers are written on the command line: 224x224, 1,2, 1x2, same."""

import re

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import Padding

_INTEGER = re.compile(r"[+-]?\d+")


def integer(name: str, text: str) -> int:
    """A whole number.

    Raises:
        InputError: The text is something else.
    """
    if not _INTEGER.fullmatch(text.strip()):
        raise InputError(f"{name} must be a whole number", f"{text!r}", f"write {name} as 3 or 3x5")
    return int(text)


def integers(name: str, text: str) -> tuple[int, ...]:
    """One number an axis, joined by x: 224x224."""
    return tuple(integer(name, part) for part in text.lower().split("x"))


def per_axis(name: str, text: str) -> int | tuple[int, ...]:
    """One number for all axes, or one an axis joined by x."""
    numbers = integers(name, text)
    return numbers[0] if len(numbers) == 1 else numbers


def padding(text: str | None) -> Padding | tuple[Padding, ...] | None:
    """Padding: a name; 1 for both ends; 0,1 for low and high; 1x2 or 0,1x1,2 one an axis."""
    if text is None:
        return None
    text = text.strip()
    if text[:1].isalpha():
        return text
    axes = tuple(_ends(part) for part in text.lower().split("x"))
    return axes[0] if len(axes) == 1 and isinstance(axes[0], int) else axes


def _ends(text: str) -> int | tuple[int, int]:
    ends = [integer("padding", part) for part in text.split(",")]
    if len(ends) > 2:
        raise InputError(
            "padding of an axis is one number or low,high", f"{text!r}", "write 1 or 0,1"
        )
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


def joined(numbers: tuple[int, ...]) -> str:
    """The inverse of `integers`, shortened to one number where all axes agree."""
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(map(str, numbers))
