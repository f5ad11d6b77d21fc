"""A stack of layers written in letters: "k3s2p1, k3d2psame, tk2s2"."""

import re

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import PADDING_NAMES, resolve
from convscape.arithmetic.window import Window, transposed_window

_LAYER = re.compile(
    rf"(?P<t>t?)k(?P<k>\d{{1,6}})(?:s(?P<s>\d{{1,6}}))?(?:d(?P<d>\d{{1,6}}))?"
    rf"(?:p(?P<p>\d{{1,6}}(?:-\d{{1,6}})?|{'|'.join(PADDING_NAMES)}))?"
)


def parse_chain(text: str, n: int) -> list[Window]:
    """The windows of a stack, for an input of n cells (`same` depends on it).

    Each layer is k and its kernel, then, where they are not 1, 1 and 0: s and the stride, d and
    the dilation, p and the padding (a number, low-high, or a name); a t in front is a transposed
    convolution. Layers are separated by commas.

    Raises:
        InputError: A layer that is written otherwise.

    Example:
        >>> [w.padding for w in parse_chain("k3s2psame, k3p0-1", 8)]
        [(0, 1), (0, 1)]
    """
    windows = []
    for part in text.lower().split(","):
        found = _LAYER.fullmatch(part.replace(" ", ""))
        if found is None:
            raise InputError(
                "a layer of a stack is written k3, k3s2p1, k3d2psame or tk2s2",
                repr(part.strip()[:40]),
                "separate layers by commas; p takes a number, low-high or a name",
            )
        kernel, stride, dilation = (int(found[letter] or 1) for letter in "ksd")
        padding = found["p"] or "0"
        if found["t"]:
            window = transposed_window(kernel, stride, dilation, _pair(padding, kernel, dilation))
        elif padding in PADDING_NAMES:
            window = resolve(padding, n, kernel, stride, dilation)
        else:
            window = Window(kernel, stride, dilation, 1, _pair(padding, kernel, dilation))
        windows.append(window)
        n = window.output(n)
    return windows


def _pair(text: str, kernel: int, dilation: int) -> tuple[int, int]:
    if text in PADDING_NAMES:
        if text in ("same", "same_lower"):
            raise InputError(
                "frameworks place `same` of a transposed convolution differently",
                f"p{text}",
                "give the padding in numbers",
            )
        return resolve(text, 1, kernel, 1, dilation).padding
    ends = [int(part) for part in text.split("-")]
    return ends[0], ends[-1]
