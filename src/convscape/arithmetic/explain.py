"""Why one axis has the size it has: which relationship applies, its numbers, and the border."""

from dataclasses import dataclass

from convscape.arithmetic.border import Border, border
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.operations import operation
from convscape.arithmetic.padding import ceiled
from convscape.arithmetic.relationships import (
    GENERAL,
    RELATIONSHIPS,
    ROUNDED_UP,
    SPREAD,
    TRANSPOSED,
    Relationship,
    Symbols,
)
from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one axis has the size it has.

    Args:
        operation: One of `OPERATIONS`.
        n: Input cells (i).
        window: The window that really slides (after ceil_mode).
        relationship: The formula that applies.
        symbols: The numbers of that formula by letter. For a transposed convolution they are
            those of the convolution that is transposed.
        border: What happens at the border.
    """

    operation: str
    n: int
    window: Window
    relationship: Relationship
    symbols: Symbols
    border: Border

    @property
    def output(self) -> int:
        """Output cells."""
        return self.relationship.value(self.symbols)

    @property
    def padding(self) -> tuple[int, int]:
        """The (low, high) padding that the formula means: configured, and cropping if transposed.

        For a transposed convolution: that of the convolution that is transposed. What ceil_mode
        adds is in `window` only.
        """
        if "p" in self.symbols:
            return self.symbols["p"], self.symbols["p"]
        return self.symbols["p_low"], self.symbols["p_high"]

    @property
    def formula(self) -> str:
        """The formula as a textbook prints it."""
        return str(self.relationship)

    @property
    def substituted(self) -> str:
        """The formula with the numbers put in."""
        return self.relationship.substituted(self.symbols)

    @property
    def notes(self) -> tuple[str, ...]:
        """What happens at the border and inside, one sentence each; empty when all is plain."""
        return tuple(_notes(self))


def explain(
    window: Window, n: int, operation_name: str = "conv", *, ceil_mode: bool = False
) -> Explanation:
    """Recognise, evaluate and explain the output size of one axis.

    Args:
        window: The window as configured (ceil_mode not yet applied). For a transposed convolution
            it is the window that slides over the spread input: `input_dilation` is the layer's
            stride, see `transposed_window`.
        n: Input cells.
        operation_name: One of `OPERATIONS`.
        ceil_mode: Round the number of windows up (pooling only).

    Raises:
        InputError: The output is empty, or ceil_mode is asked of something other than pooling.

    Example:
        >>> e = explain(Window(3, stride=2, padding=(1, 1)), 5)
        >>> e.relationship.number, e.formula
        (6, 'o = floor((i + 2p - k) / s) + 1')
        >>> e.substituted
        'o = floor((5 + 2*1 - 3) / 2) + 1 = 3'
    """
    op = operation(operation_name)
    pooling = op in ("max_pool", "avg_pool")
    if ceil_mode and not pooling:
        raise InputError("ceil_mode is an option of pooling", f"{op}", "leave ceil_mode out")
    slides = ceiled(window, n) if ceil_mode else window
    if slides.output(n) == 0:
        raise InputError(
            "the window must fit the padded input",
            f"extent {window.extent} on {n} cells padded by {window.padding}",
            "pad more, or use a smaller kernel or dilation",
        )
    relationship, symbols = (
        _transposed(window) if op == "transposed" else _forward(window, pooling, slides != window)
    )
    symbols = {"i": n, **symbols}
    return Explanation(op, n, slides, relationship, symbols, border(slides, n))


def _forward(w: Window, pooling: bool, rounded_up: bool) -> tuple[Relationship, dict[str, int]]:
    low, high = w.padding
    general = {"k": w.kernel, "s": w.stride, "d": w.dilation, "p_low": low, "p_high": high}
    if w.input_dilation > 1:
        return SPREAD, general | {"e": w.input_dilation}
    if rounded_up:
        return ROUNDED_UP, general
    dilated = w.dilation > 1 and w.kernel > 1
    plain = {"k": w.kernel, "s": w.stride, "p": low}
    if low != high or (pooling and (dilated or low)):
        return GENERAL, general
    if pooling:
        number = 7
    elif dilated:
        return RELATIONSHIPS[15], plain | {"d": w.dilation}
    elif w.stride == 1:
        number = _of_padding(w, low, nothing=1, half=3, full=4, other=2)
    else:
        number = 5 if low == 0 else 6
    return RELATIONSHIPS[number], plain


def _transposed(w: Window) -> tuple[Relationship, dict[str, int]]:
    if w.stride > 1:
        low, high = w.padding
        return SPREAD, {
            "k": w.kernel, "s": w.stride, "d": w.dilation, "e": w.input_dilation,
            "p_low": low, "p_high": high,
        }  # fmt: skip
    s = w.input_dilation
    low, high = (w.extent - 1 - p for p in w.padding)
    extra = low - high
    dilated = w.dilation > 1 and w.kernel > 1
    if dilated or low < 0 or not 0 <= extra < s:
        # One number for what is added at the end, where that is possible.
        crops = (low, low, extra) if 0 <= extra < max(s, w.dilation) else (low, high, 0)
        return TRANSPOSED, {
            "k": w.kernel, "s": s, "d": w.dilation,
            "p_low": crops[0], "p_high": crops[1], "a": crops[2],
        }  # fmt: skip
    plain = {"k": w.kernel, "s": s, "p": low}
    if extra:
        return RELATIONSHIPS[14], plain | {"a": extra}
    if s == 1:
        return RELATIONSHIPS[_of_padding(w, low, nothing=8, half=10, full=11, other=9)], plain
    return RELATIONSHIPS[12 if low == 0 else 13], plain


def _of_padding(w: Window, p: int, *, nothing: int, half: int, full: int, other: int) -> int:
    """Which of four numbers a symmetric padding at unit stride has."""
    if p == 0:
        return nothing
    if w.kernel % 2 and p == w.kernel // 2:
        return half
    return full if p == w.kernel - 1 else other


def _notes(e: Explanation) -> list[str]:
    w, b, notes = e.window, e.border, list[str]()
    low, high = w.padding
    if e.operation == "transposed":
        spread = w.input_dilation - 1
        notes.append(
            f"the same as a convolution with stride 1 and padding {low}, {high} over the input"
            + (f" with {_cells(spread, 'zero')} between its cells" if spread else "")
        )
        if w.input_dilation > 1 and w.kernel % w.input_dilation and w.dilation == 1:
            least, odd = divmod(w.kernel, w.input_dilation)
            notes.append(
                f"uneven overlap: the stride does not divide the kernel, so outputs take turns at "
                f"{least} and {least + 1} inputs ({odd} of {w.input_dilation} have one more)"
            )
        elif b.blind:
            notes.append(f"{_cells(b.blind, 'output cell')} of {e.output} see zeros alone")
    elif low == w.extent - 1 and high == 0 and low:
        notes.append("causal: no window reads beyond its own position")
    if e.operation != "transposed":
        notes += _border_notes(e)
    if b.idle:
        notes.append(
            f"{_cells(len(b.idle), 'kernel cell')} of {w.kernel} never meet the input, only zeros"
        )
    return notes


def _border_notes(e: Explanation) -> list[str]:
    w, b, notes = e.window, e.border, list[str]()
    if b.head:
        notes.append(f"{_cells(b.head, 'input cell')} cropped at the start")
    if b.tail:
        notes.append(f"no window reads {_cells(b.tail, 'input cell')} at the end")
    if b.skipped:
        why = "the stride exceeds the kernel" if w.stride > w.extent else "stride and dilation"
        notes.append(f"no window reads {_cells(b.skipped, 'input cell')} in between ({why})")
    overhang = w.padding[1] - e.padding[1]
    if overhang:
        notes.append(f"ceil_mode: the last window overhangs the end by {_cells(overhang, 'cell')}")
    ends = (b.padding_read[0], max(0, b.padding_read[1] - overhang))
    for side, read, unread in zip(("low", "high"), ends, b.padding_unread, strict=True):
        if read and unread:
            notes.append(f"{side} end: {_cells(read, 'padding cell')} read, {unread} never read")
        elif read or unread:
            what = "read" if read else "never read"
            notes.append(f"{side} end: {_cells(read or unread, 'padding cell')} {what}")
    if b.blind:
        notes.append(f"{_cells(b.blind, 'window')} of {e.output} lie in the padding alone")
    return notes


def _cells(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
