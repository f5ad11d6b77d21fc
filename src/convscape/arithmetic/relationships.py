"""The numbered relationships of the guide, as formulas to print and to evaluate.

Numbers 1 to 6 are convolutions, 7 is pooling, 8 to 14 are transposed convolutions (written with
the kernel, stride and padding of the convolution that is being transposed, whose output is the
input i here), 15 is dilation. What none of them covers (asymmetric padding, padded pooling,
ceil_mode, a dilated transposed convolution) is explained by the general formula of `Window.output`.

Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", arXiv
1603.07285, sections 2 to 5. For half padding some lecture slides print p = ceil(k / 2); the guide's
floor(k / 2) is right (with k = 3, rounding up gives o = i + 2).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Symbols = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Relationship:
    """One formula for an output size.

    Args:
        number: The guide's number, 1 to 15; None for a general formula.
        name: When it applies, in words.
        formula: The right-hand side of o = ..., every product written with `*`.
        value: The same formula in integers.
    """

    number: int | None
    name: str
    formula: str
    value: Callable[[Symbols], int]

    def __str__(self) -> str:
        """The formula as a textbook prints it, without signs for products of letters."""
        return "o = " + self.formula.replace("*", "")

    def substituted(self, symbols: Symbols) -> str:
        """The formula with the numbers put in, and its value.

        Example:
            >>> RELATIONSHIPS[6].substituted({"i": 5, "k": 3, "s": 2, "p": 1})
            'o = floor((5 + 2*1 - 3) / 2) + 1 = 3'
        """
        numbers = re.sub(
            r"\b[a-z](_[a-z]+)?\b",
            lambda match: f"({v})" if (v := symbols[match[0]]) < 0 else str(v),
            self.formula,
        )
        value = str(self.value(symbols))
        return f"o = {numbers}" + (f" = {value}" if value != numbers else "")


_TABLE = (
    Relationship(
        1, "no padding, unit strides", "(i - k) + 1",
        lambda v: v["i"] - v["k"] + 1,
    ),
    Relationship(
        2, "any padding, unit strides", "(i - k) + 2*p + 1",
        lambda v: v["i"] - v["k"] + 2 * v["p"] + 1,
    ),
    Relationship(
        3, "half padding p = floor(k / 2), odd kernel, unit strides", "i",
        lambda v: v["i"],
    ),
    Relationship(
        4, "full padding p = k - 1, unit strides", "i + (k - 1)",
        lambda v: v["i"] + v["k"] - 1,
    ),
    Relationship(
        5, "no padding, any strides", "floor((i - k) / s) + 1",
        lambda v: (v["i"] - v["k"]) // v["s"] + 1,
    ),
    Relationship(
        6, "any padding, any strides", "floor((i + 2*p - k) / s) + 1",
        lambda v: (v["i"] + 2 * v["p"] - v["k"]) // v["s"] + 1,
    ),
    Relationship(
        7, "pooling without padding", "floor((i - k) / s) + 1",
        lambda v: (v["i"] - v["k"]) // v["s"] + 1,
    ),
    Relationship(
        8, "transposed, no padding, unit strides", "i + (k - 1)",
        lambda v: v["i"] + v["k"] - 1,
    ),
    Relationship(
        9, "transposed, any padding, unit strides", "i + (k - 1) - 2*p",
        lambda v: v["i"] + v["k"] - 1 - 2 * v["p"],
    ),
    Relationship(
        10, "transposed, half padding p = floor(k / 2), odd kernel, unit strides", "i",
        lambda v: v["i"],
    ),
    Relationship(
        11, "transposed, full padding p = k - 1, unit strides", "i - (k - 1)",
        lambda v: v["i"] - v["k"] + 1,
    ),
    Relationship(
        12, "transposed, no padding, any strides", "s*(i - 1) + k",
        lambda v: v["s"] * (v["i"] - 1) + v["k"],
    ),
    Relationship(
        13, "transposed, any padding, any strides", "s*(i - 1) + k - 2*p",
        lambda v: v["s"] * (v["i"] - 1) + v["k"] - 2 * v["p"],
    ),
    Relationship(
        14, "transposed, any padding, any strides, a extra cells at the end",
        "s*(i - 1) + a + k - 2*p",
        lambda v: v["s"] * (v["i"] - 1) + v["a"] + v["k"] - 2 * v["p"],
    ),
    Relationship(
        15, "dilated kernel, any padding, any strides",
        "floor((i + 2*p - k - (k - 1)*(d - 1)) / s) + 1",
        lambda v: (v["i"] + 2 * v["p"] - v["k"] - (v["k"] - 1) * (v["d"] - 1)) // v["s"] + 1,
    ),
)  # fmt: skip

RELATIONSHIPS: Mapping[int, Relationship] = {r.number: r for r in _TABLE if r.number}
"""The guide's relationships by number."""

GENERAL = Relationship(
    None,
    "general: the padding of each end counts for itself",
    "floor((i + p_low + p_high - d*(k - 1) - 1) / s) + 1",
    lambda v: (v["i"] + v["p_low"] + v["p_high"] - v["d"] * (v["k"] - 1) - 1) // v["s"] + 1,
)
ROUNDED_UP = Relationship(
    None,
    "general, ceil_mode: rounded up, less any window beginning beyond the input",
    "min(ceil((i + p_low + p_high - d*(k - 1) - 1) / s) + 1, ceil((i + p_low) / s))",
    lambda v: min(
        -((-v["i"] - v["p_low"] - v["p_high"] + v["d"] * (v["k"] - 1) + 1) // v["s"]) + 1,
        -((-v["i"] - v["p_low"]) // v["s"]),
    ),
)
TRANSPOSED = Relationship(
    None,
    "general, transposed: each end is cropped by its own padding",
    "s*(i - 1) + d*(k - 1) + 1 - p_low - p_high + a",
    lambda v: v["s"] * (v["i"] - 1) + v["d"] * (v["k"] - 1) + 1 - v["p_low"] - v["p_high"] + v["a"],
)
SPREAD = Relationship(
    None,
    "general: a strided window over an input spread by e",
    "floor(((i - 1)*e + p_low + p_high - d*(k - 1)) / s) + 1",
    lambda v: (
        ((v["i"] - 1) * v["e"] + v["p_low"] + v["p_high"] - v["d"] * (v["k"] - 1)) // v["s"] + 1
    ),
)
