"""One axis of a convolution or pooling, and the three laws it obeys.

Everything spatial in this package is a `Window`: forward convolution, transposed convolution,
both gradients, pooling, and a stack of layers seen from its output. All of it is exact integer
arithmetic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index

from convscape.arithmetic.errors import InputError


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over one axis.

    The input of n cells is first spread (`input_dilation - 1` zeros between neighbours), then
    padded with `padding[0]` zeros before and `padding[1]` after; a negative padding crops. The
    window reads `kernel` cells, `dilation` apart, and moves by `stride`.

    Args:
        kernel: Cells that the window reads, at least 1.
        stride: Step between neighbouring windows, at least 1.
        dilation: Distance between neighbouring kernel cells, at least 1 (1 is a dense kernel).
        input_dilation: Distance between neighbouring input cells after spreading, at least 1;
            above 1 it is a transposed convolution.
        padding: Cells added at the (low, high) end; negative removes cells.

    Raises:
        InputError: A field is not an integer, or is below its minimum.

    Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
        arXiv 1603.07285, sections 2 to 5.

    Example:
        >>> Window(kernel=3, stride=2, padding=(1, 1)).output(5)
        3
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    input_dilation: int = 1
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation", "input_dilation"):
            value = _integer(name, getattr(self, name))
            if value < 1:
                raise InputError(f"{name} must be at least 1", f"{name}={value}", f"use {name}=1")
            object.__setattr__(self, name, value)
        pair = self.padding
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(
                "padding of a Window must be a (low, high) pair",
                f"padding={pair!r}",
                "for the same padding on both sides write padding=(p, p)",
            )
        low, high = pair
        object.__setattr__(self, "padding", (_integer("padding", low), _integer("padding", high)))

    @property
    def extent(self) -> int:
        """Cells from the first that the window reads to the last: dilation (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def room(self, n: int) -> int:
        """Positions the window can still move by on n cells; negative when it does not fit.

        room(n) = (n - 1) input_dilation + 1 + low + high - extent.
        """
        low, high = self.padding
        return (n - 1) * self.input_dilation + low + high - self.dilation * (self.kernel - 1)

    def output(self, n: int) -> int:
        """Number of windows on n input cells: floor(room(n) / stride) + 1.

        Args:
            n: Input cells, at least 0.

        Returns:
            Output cells; 0 when the input is empty or the window is larger than the padded input.

        Example:
            >>> Window(4, padding=(2, 2)).output(5)
            6
        """
        # Written out, not by way of `room`: this is the hot path of every search over windows.
        low, high = self.padding
        room = (n - 1) * self.input_dilation + low + high - self.dilation * (self.kernel - 1)
        return room // self.stride + 1 if n > 0 and room >= 0 else 0

    def inputs(self, o: int) -> range:
        """Every n for which `output(n) == o`: the exact inverse.

        For o >= 1 these are input_dilation-spaced solutions of
        (o - 1) stride <= room(n) < o stride; for o = 0 all the sizes that are too small.

        Args:
            o: Output cells, at least 0.

        Returns:
            A range of input sizes, empty when no input gives o.

        Example:
            >>> list(Window(3, stride=2, padding=(1, 1)).inputs(3))
            [5, 6]
        """
        if o < 0:
            return range(0)
        if o == 0:
            return range(self._smallest(0))
        return range(self._smallest((o - 1) * self.stride), self._smallest(o * self.stride))

    def _smallest(self, room: int) -> int:
        """Smallest n >= 1 whose room is at least this large."""
        cells = room + self.dilation * (self.kernel - 1) - sum(self.padding)
        return max(1, -(-cells // self.input_dilation) + 1)

    def slack(self, n: int) -> int:
        """Trailing positions of the padded input beyond the last window: room(n) mod stride.

        They are where the floor in the output size bites. See `unread` for the cells themselves.
        """
        room = self.room(n)
        if n <= 0:
            return max(0, sum(self.padding))
        return room % self.stride if room >= 0 else max(0, room + self.extent)

    def start(self, o: int) -> int:
        """Position of output cell o's first kernel cell on the spread input (may be negative)."""
        return o * self.stride - self.padding[0]

    def taps(self, o: int, n: int) -> tuple[int | None, ...]:
        """Which of the n input cells each kernel cell of window o meets; None where it is a zero.

        A zero is padding or a gap that `input_dilation` opened.

        Example:
            >>> Window(3, stride=2, padding=(1, 1)).taps(0, 5)
            (None, 0, 1)
        """
        return tuple(self._taps(o, n))

    def _taps(self, o: int, n: int) -> Iterator[int | None]:
        first = self.start(o)
        for k in range(self.kernel):
            cell, gap = divmod(first + k * self.dilation, self.input_dilation)
            yield cell if gap == 0 and 0 <= cell < n else None

    def unread(self, n: int) -> tuple[int, ...]:
        """Input cells, out of n, that no window reads.

        They lie beyond the last window, between windows when stride > extent, or in the holes
        that stride and dilation leave together.

        Example:
            >>> Window(3, stride=2).unread(6)
            (5,)
        """
        read = {cell for o in range(self.output(n)) for cell in self._taps(o, n)}
        return tuple(cell for cell in range(n) if cell not in read)

    def adjoint(self, n: int) -> "Window":
        """The window of the input gradient, and of the transposed convolution.

        It takes `output(n)` cells back to exactly n: stride and input_dilation change places, the
        low padding becomes extent - 1 - low, and the high padding is what n requires. Used with
        the kernel reversed, its taps are this window's taps read backwards (law 1).

        Args:
            n: Input cells of the forward window.

        Raises:
            InputError: The forward window has no output on n cells.

        Source: arXiv 1603.07285, section 4.

        Example:
            >>> Window(3, stride=2, padding=(1, 1)).adjoint(6).output(3)
            6
        """
        m = self._some_output(n)
        low = self.extent - 1 - self.padding[0]
        high = (n - 1) * self.input_dilation + self.extent - 1 - (m - 1) * self.stride - low
        return Window(self.kernel, self.input_dilation, self.dilation, self.stride, (low, high))

    def weight(self, n: int) -> "Window":
        """The window of the weight gradient: the input correlated with the output's gradient.

        dw[k] = Σ_o dy[o] x[o stride + k dilation - low]: stride and dilation change places, the
        kernel is `output(n)`, and trailing padding that no window read is trimmed, so that it
        gives exactly `kernel` outputs on n cells (law 3).

        Raises:
            InputError: The forward window has no output on n cells.
        """
        m = self._some_output(n)
        low = self.padding[0]
        needed = (self.kernel - 1) * self.dilation + (m - 1) * self.stride + 1
        high = needed - low - ((n - 1) * self.input_dilation + 1)
        return Window(m, self.dilation, self.stride, self.input_dilation, (low, high))

    def then(self, other: "Window") -> "Window":
        """This window followed by another, as one window: the receptive field of the stack.

        The kernel is the hull of what the stack reads (extent, with dilation 1):
        extent + (other.extent - 1) stride; strides multiply; padding adds up as
        padding + other.padding stride. Exact for sizes and associative (law 2).

        Raises:
            InputError: One of them spreads its input; then no single window describes the stack.

        Source: A. Araujo, W. Norris and J. Sim, "Computing Receptive Fields of Convolutional
            Neural Networks", Distill 2019.

        Example:
            >>> Window(3).then(Window(3)).kernel
            5
        """
        if self.input_dilation != 1 or other.input_dilation != 1:
            raise InputError(
                "only windows with input_dilation 1 compose into one window",
                f"input_dilation={self.input_dilation} then {other.input_dilation}",
                "apply output() and taps() of each window in turn",
            )
        return Window(
            kernel=self.extent + (other.extent - 1) * self.stride,
            stride=self.stride * other.stride,
            padding=(
                self.padding[0] + other.padding[0] * self.stride,
                self.padding[1] + other.padding[1] * self.stride,
            ),
        )

    def _some_output(self, n: int) -> int:
        m = self.output(n)
        if m == 0:
            raise InputError(
                "the window must fit the padded input",
                f"extent {self.extent} on {n} cells padded by {self.padding}",
                "pad more, or use a smaller kernel or dilation",
            )
        return m


def transposed_window(
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    padding: tuple[int, int] = (0, 0),
    extra: int = 0,
) -> Window:
    """The window of a transposed convolution from the numbers of the convolution it transposes.

    Args:
        kernel: Kernel cells.
        stride: Stride of that convolution: the distance of the input cells after spreading.
        dilation: Distance between kernel cells.
        padding: Padding of that convolution; it crops the transposed output at (low, high).
        extra: Cells added at the high end (output_padding).

    Returns:
        The window whose `output(n)` is (n - 1) stride + extent - low - high + extra.

    Source: arXiv 1603.07285, section 4, relationships 8 to 14.

    Example:
        >>> transposed_window(3, stride=2, padding=(1, 1), extra=1).output(4)
        8
    """
    edge = Window(kernel, dilation=dilation).extent - 1
    return Window(kernel, 1, dilation, stride, (edge - padding[0], edge - padding[1] + extra))


def _integer(name: str, value: object) -> int:
    try:
        return int(index(value))  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"{name} must be an integer", f"{name}={value!r}", "pass a whole number"
        ) from None
