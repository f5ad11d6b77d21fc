"""The colours of every figure, by role, in light and dark.

Hues are taken from two palettes made for colour-blind readers, and nothing is said by colour
alone: windows and current cells have an outline, unread cells are hatched, padding is dashed,
weights carry a number.

Source: M. Okabe and K. Ito, "Color Universal Design", 2008 (blue, vermillion, green, orange);
P. Tol, "Colour schemes", SRON technical note, 2021 (the light scheme, for the weights).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from convscape.arithmetic.errors import InputError

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)

_WEIGHTS = (
    "#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00",
    "#DDDDDD",
)  # fmt: skip
WEIGHTS = len(_WEIGHTS)
"""How many weights have a colour of their own; more take turns, and are told by their number."""

_FIXED = {f"w{i}": colour for i, colour in enumerate(_WEIGHTS)} | {"onweight": "#1A1A1A"}

LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "bg": "#FFFFFF",
        "ink": "#1A1A1A",
        "muted": "#595959",
        "line": "#7D838C",
        "faint": "#B4B9C1",
        "cell": "#CFE2F4",
        "pad": "#F1F1EE",
        "gap": "#FAFAF7",
        "window": "#FFE3A6",
        "windowpad": "#FFF3D6",
        "kernel": "#EDE0F5",
        "out": "#CFEBDF",
        "now": "#7FD0B0",
        "empty": "#FFFFFF",
        "accent": "#B34700",
        "done": "#00664B",
        "sub": "#8F3600",
        "hatch": "#6B6B6B",
        "differs": "#A3195B",
        "differsbg": "#FBDDEA",
        "size": "#0072B2",
        "field": "#C05000",
        **_FIXED,
    }
)
DARK: Mapping[str, str] = MappingProxyType(
    {
        "bg": "#14171C",
        "ink": "#F2F2F2",
        "muted": "#B4BAC4",
        "line": "#7B8491",
        "faint": "#59616D",
        "cell": "#1F3B57",
        "pad": "#262A31",
        "gap": "#1B1F25",
        "window": "#664705",
        "windowpad": "#3F331A",
        "kernel": "#43305A",
        "out": "#16483A",
        "now": "#1A6F55",
        "empty": "#14171C",
        "accent": "#FFB454",
        "done": "#5FD6AE",
        "sub": "#FFD29B",
        "hatch": "#A6AEBA",
        "differs": "#FF8AC0",
        "differsbg": "#5A1F3F",
        "size": "#56B4E9",
        "field": "#F0A030",
        **_FIXED,
    }
)

TEXT_ON: tuple[tuple[str, str], ...] = (
    *(("ink", fill) for fill in ("bg", "cell", "window", "kernel", "out", "now", "differsbg")),
    *(("muted", fill) for fill in ("bg", "pad", "gap", "cell")),
    *(("sub", fill) for fill in ("window", "windowpad", "kernel")),
    ("ink", "windowpad"), ("ink", "pad"), ("ink", "empty"), ("muted", "windowpad"),
    ("accent", "bg"), ("done", "bg"), ("differs", "bg"), ("size", "bg"), ("field", "bg"),
    *(("onweight", f"w{i}") for i in range(WEIGHTS)),
)  # fmt: skip
"""Which text stands on which fill: each pair keeps a contrast of 4.5 in both themes."""

MARKS_ON: tuple[tuple[str, str], ...] = (
    ("line", "bg"), ("line", "cell"), ("line", "pad"), ("accent", "window"), ("accent", "cell"),
    ("done", "now"), ("done", "out"), ("hatch", "cell"), ("differs", "differsbg"),
)  # fmt: skip
"""Which lines lie on which fill: each pair keeps a contrast of 3 (of `line`, 2.5) in both."""


def theme_named(name: str) -> Theme:
    """The theme of this name.

    Raises:
        InputError: There is no such theme.
    """
    for theme in THEMES:
        if theme == name:
            return theme
    raise InputError("the theme must be a known one", repr(name), f"known: {', '.join(THEMES)}")


def palette(theme: str) -> Mapping[str, str]:
    """The colours of a picture that has one theme only; `auto` is light on paper and in pixels."""
    return DARK if theme_named(theme) == "dark" else LIGHT


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of #RRGGBB.

    Example:
        >>> rgb("#0072B2")
        (0, 114, 178)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21.

    (L1 + 0.05) / (L2 + 0.05), L being the relative luminance of the lighter and the darker.

    Source: W3C, Web Content Accessibility Guidelines 2.2, "contrast ratio".

    Example:
        >>> contrast("#FFFFFF", "#000000")
        21.0
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
