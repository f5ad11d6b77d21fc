"""The inverse problem: which windows take i cells to o. `chain` solves it for several layers.

For given kernel, stride and dilation the paddings are known at once:
floor((i + P - extent) / s) + 1 = o holds exactly for the `stride` totals P from
(o - 1) s + extent - i upwards (for a transposed convolution, for exactly one). So the search runs
over kernels, strides and dilations only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.operations import Operation, operation
from convscape.arithmetic.padding import ceiled
from convscape.arithmetic.window import Window, transposed_window

Choices = int | Sequence[int] | None
Cost = tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Solution:
    """One window that does it, with the numbers a layer is written with.

    Ordered smallest first: kernel, dilation, padding, extra cells, how uneven the padding is, and
    then stride.

    Args:
        cost: What the order is by.
        kernel: Kernel cells.
        stride: Stride; of a transposed convolution that of the convolution it transposes.
        dilation: Distance between kernel cells.
        padding: (low, high) padding, in the same sense.
        output_padding: Extra cells at the end of a transposed convolution.
    """

    cost: Cost = field(repr=False)
    kernel: int = field(compare=False)
    stride: int = field(compare=False)
    dilation: int = field(compare=False)
    padding: tuple[int, int] = field(compare=False)
    output_padding: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a window may be. Numbers fix a value, sequences list the allowed ones.

    Args:
        operation: One of `OPERATIONS`.
        kernel: Kernels; None is 1 to `largest`.
        stride: Strides; None is 1 to `largest`, and no more than the kernel (each cell is read).
        dilation: Dilations; None is 1 alone.
        padding: Fixes the padding at both ends; None is any up to the limit of the operation:
            extent - 1 (every window touches the input) for convolutions, floor(kernel / 2) for
            pooling, as frameworks demand.
        asymmetric: Allow different padding at the two ends.
        ceil_mode: Pooling rounds its size up.
        largest: Largest kernel and stride that None stands for.
    """

    operation: Operation = "conv"
    kernel: Choices = None
    stride: Choices = None
    dilation: Choices = 1
    padding: int | tuple[int, int] | None = None
    asymmetric: bool = False
    ceil_mode: bool = False
    largest: int = 11

    def __post_init__(self) -> None:
        operation(self.operation)
        if self.largest < 1:
            raise InputError("largest must be at least 1", f"{self.largest}", "use 11")
        if self.ceil_mode and not self.operation.endswith("pool"):
            raise InputError("ceil_mode is an option of pooling", self.operation, "leave it out")
        for name in ("kernel", "stride", "dilation"):
            values = self._choices(getattr(self, name))
            if not values or min(values) < 1:
                raise InputError(
                    f"{name} must be at least 1", f"{name}={getattr(self, name)}", f"use {name}=1"
                )
            if not isinstance(getattr(self, name), (int, type(None))):
                object.__setattr__(self, name, tuple(values))

    def _choices(self, value: Choices) -> Sequence[int]:
        if value is None:
            return range(1, self.largest + 1)
        return (value,) if isinstance(value, int) else tuple(sorted(set(value)))

    def shapes(self) -> Iterator[tuple[int, int, int]]:
        """(kernel, stride, dilation) that are allowed, without those that another one repeats."""
        for kernel in self._choices(self.kernel):
            for stride in self._choices(self.stride):
                if self.stride is None and stride > kernel:
                    break
                for dilation in self._choices(self.dilation):
                    if kernel == 1 and dilation > 1 and self.dilation != dilation:
                        continue
                    yield kernel, stride, dilation

    def limit(self, kernel: int, dilation: int) -> int:
        """Largest padding of one end."""
        if self.operation.endswith("pool"):
            return kernel // 2
        return dilation * (kernel - 1)

    def output(self, made: Solution, n: int) -> int:
        """Output cells of a solution on n input cells."""
        if self.operation == "transposed":
            w = transposed_window(
                made.kernel, made.stride, made.dilation, made.padding, made.output_padding
            )
        else:
            w = Window(made.kernel, made.stride, made.dilation, 1, made.padding)
        return (ceiled(w, n) if self.ceil_mode else w).output(n)


def solve(
    i: int | Sequence[int], o: int | Sequence[int], constraints: Constraints | None = None
) -> list[Solution]:
    """Every window that takes i cells to o, smallest first.

    Args:
        i: Input cells; one number, or one an axis, all of which the window must serve.
        o: Output cells, likewise.
        constraints: What the window may be; None is any convolution.

    Returns:
        All solutions; none when nothing allowed does it.

    Raises:
        InputError: Sizes below 1, or not the same number of them.

    Example:
        >>> [(s.kernel, s.stride, s.padding) for s in solve(5, 3, Constraints(kernel=3))]
        [(3, 1, (0, 0)), (3, 2, (1, 1)), (3, 3, (2, 2))]
    """
    inputs = (i,) if isinstance(i, int) else tuple(i)
    outputs = (o,) if isinstance(o, int) else tuple(o)
    if len(inputs) != len(outputs) or not inputs:
        raise InputError(
            "input and output need the same number of axes",
            f"{inputs} and {outputs}",
            "give one size an axis on both sides",
        )
    positive(*inputs, *outputs)
    allowed = constraints or Constraints()
    found = [
        made
        for shape in allowed.shapes()
        for made in _paddings(allowed, shape, inputs[0], outputs[0])
        if all(allowed.output(made, n) == m for n, m in zip(inputs[1:], outputs[1:], strict=True))
    ]
    return sorted(found)


def positive(*numbers: int) -> None:
    """Refuse sizes and counts below 1."""
    if min(numbers) < 1:
        raise InputError("sizes and counts must be at least 1", f"{numbers}", "use 1 or more")


def _paddings(
    allowed: Constraints, shape: tuple[int, int, int], i: int, o: int
) -> Iterator[Solution]:
    """Every padding of one shape that takes i to o."""
    kernel, stride, dilation = shape
    extent = dilation * (kernel - 1) + 1
    if allowed.operation == "transposed":
        full = (i - 1) * stride + extent
        for extra in range(stride):
            yield from _ends(allowed, shape, range(full + extra - o, full + extra - o + 1), extra)
        return
    least = (o - 1) * stride + extent - i
    if allowed.ceil_mode:
        # The last window may overhang by less than a stride; `output` confirms each.
        totals = range(max(0, least - stride + 1), max(0, least + 1))
        for made in _ends(allowed, shape, totals):
            if allowed.output(made, i) == o:
                yield made
        return
    yield from _ends(allowed, shape, range(least, least + stride))


def _ends(
    allowed: Constraints, shape: tuple[int, int, int], totals: range, extra: int = 0
) -> Iterator[Solution]:
    """Both ends' padding for these totals, as far as it is allowed."""
    kernel, stride, dilation = shape
    limit = allowed.limit(kernel, dilation)
    for total in totals:
        if allowed.padding is not None:
            p = allowed.padding
            ends = (p, p) if isinstance(p, int) else p
            pairs = [ends] if sum(ends) == total else []
        elif allowed.asymmetric:
            pairs = [
                (low, total - low) for low in range(max(0, total - limit), min(limit, total) + 1)
            ]
        else:
            half, odd = divmod(total, 2)
            pairs = [(half, half)] if total >= 0 and not odd and half <= limit else []
        for low, high in pairs:
            # The odd cell at the end comes before the odd cell at the start.
            cost = (kernel, dilation, low + high, extra, abs(2 * (high - low) - 1), stride)
            yield Solution(cost, kernel, stride, dilation, (low, high), extra)


def every(allowed: Constraints) -> list[Solution]:
    """Every window that is allowed, whatever it does, smallest first."""
    found: list[Solution] = []
    for shape in allowed.shapes():
        top = 2 * allowed.limit(shape[0], shape[2])
        if allowed.padding is not None:
            p = allowed.padding
            top = 2 * p if isinstance(p, int) else sum(p)
        for extra in range(shape[1] if allowed.operation == "transposed" else 1):
            found += _ends(allowed, shape, range(top + 1), extra)
        if len(found) > 200_000:
            raise InputError(
                "a chain is searched among at most 200,000 windows",
                f"largest={allowed.largest}, asymmetric={allowed.asymmetric}",
                "fix the kernel or the stride",
            )
    return sorted(found)
