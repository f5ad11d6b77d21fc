"""A convolution problem over any number of axes: shapes, parameters, MACs and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import Padding, resolve
from convscape.arithmetic.window import Window

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Geometry:
    """One window per spatial axis, and the channels.

    Args:
        windows: The window of each spatial axis, outermost first.
        in_channels: Channels of the input (C).
        out_channels: Channels of the output (K).
        groups: Groups that the channels fall into; each output channel reads C / groups.

    Raises:
        InputError: No axis, a count below 1, or channels that groups do not divide.

    Example:
        >>> g = Geometry((Window(3, padding=(1, 1)),) * 2, in_channels=64, out_channels=128)
        >>> g.weight_shape, g.output_shape((56, 56))
        ((128, 64, 3, 3), (128, 56, 56))
    """

    windows: tuple[Window, ...]
    in_channels: int = 1
    out_channels: int = 1
    groups: int = 1
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.windows:
            raise InputError(
                "a geometry needs at least one axis", "windows=()", "give one Window an axis"
            )
        for name in ("in_channels", "out_channels", "groups"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} must be at least 1", f"{name}={getattr(self, name)}", f"use {name}=1"
                )
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise InputError(
                    f"groups must divide {name}",
                    f"{name}={getattr(self, name)}, groups={self.groups}",
                    "choose groups from the common divisors of both channel counts",
                )

    def __hash__(self) -> int:
        # Kept: every call of an operation looks plans up by its geometry. Not made beforehand:
        # where a compiler traces symbols for sizes, these have none.
        found = self._hash
        if found is None:
            found = hash((self.windows, self.in_channels, self.out_channels, self.groups))
            object.__setattr__(self, "_hash", found)
        return found

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.windows)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Kernel cells of each axis."""
        return tuple(w.kernel for w in self.windows)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights, (K, C / groups, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def outputs(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output cells of each axis for these input cells; 0 where the window does not fit."""
        self._same_rank(spatial)
        return tuple(w.output(n) for w, n in zip(self.windows, spatial, strict=True))

    def output_shape(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """(K, *outputs) for an input of these spatial sizes.

        Raises:
            InputError: The window is larger than the padded input on some axis, or the sizes are
                not one an axis.
        """
        self._same_rank(spatial)
        for axis, (w, n) in enumerate(zip(self.windows, spatial, strict=True)):
            if w.output(n) == 0:
                raise InputError(
                    "the window must fit the padded input on every axis",
                    f"axis {axis}: extent {w.extent} on {n} cells padded by {w.padding}",
                    "pad more, or use a smaller kernel or dilation",
                )
        return (self.out_channels, *self.outputs(spatial))

    def parameters(self, bias: bool = True) -> int:
        """Trainable numbers: K C / groups kernel cells, and K biases."""
        return prod(self.weight_shape) + (self.out_channels if bias else 0)

    def macs(self, spatial: Sequence[int]) -> int:
        """Multiply-accumulates for one sample; a FLOP count is twice this.

        Positions x kernel cells x C / groups x K, where the positions are the output's cells, or
        the input's when the windows spread their input (a transposed convolution multiplies each
        input cell with the whole kernel once; zeros are not multiplied).
        """
        self._same_rank(spatial)
        positions = prod(
            n if w.input_dilation > 1 else w.output(n)
            for w, n in zip(self.windows, spatial, strict=True)
        )
        return positions * prod(self.kernel) * (self.in_channels // self.groups) * self.out_channels

    def bytes(self, spatial: Sequence[int], itemsize: int = 4, batch: int = 1) -> int:
        """Bytes of input, weights (no bias) and output together: the least that must move."""
        cells = self.in_channels * prod(spatial) + self.out_channels * prod(self.outputs(spatial))
        return itemsize * (batch * cells + prod(self.weight_shape))

    def _same_rank(self, spatial: Sequence[int]) -> None:
        if len(spatial) != self.rank:
            raise InputError(
                "the input needs one size an axis",
                f"{len(spatial)} sizes {tuple(spatial)} for {self.rank} axes",
                "give the spatial sizes only, without batch and channels",
            )

    @classmethod
    def of(
        cls,
        spatial: Sequence[int],
        kernel: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding | Sequence[Padding] = 0,
        dilation: int | Sequence[int] = 1,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        groups: int = 1,
    ) -> "Geometry":
        """A geometry from the way layers are written: one value for all axes, or one an axis.

        Args:
            spatial: Input cells of each axis; its length is the rank.
            kernel: Kernel cells.
            stride: Steps.
            padding: One of: a name, an int; or a sequence with one name, int or (low, high) pair
                an axis. On two axes (1, 2) is 1 on the first and 2 on the second, as in PyTorch.
            dilation: Distances between kernel cells.
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            groups: Channel groups.

        Raises:
            InputError: Lengths that do not match the rank, or values a `Window` refuses.

        Example:
            >>> g = Geometry.of((224, 224), 7, 2, "same", in_channels=3, out_channels=64)
            >>> g.output_shape((224, 224))
            (64, 112, 112)
        """
        rank = len(spatial)
        paddings = (
            (padding,) * rank
            if isinstance(padding, (str, int))
            else _each("padding", padding, rank)
        )
        axes = zip(
            spatial,
            per_axis("kernel", kernel, rank),
            per_axis("stride", stride, rank),
            paddings,
            per_axis("dilation", dilation, rank),
            strict=True,
        )
        windows = tuple(resolve(p, n, k, s, d) for n, k, s, p, d in axes)
        return cls(windows, in_channels, out_channels, groups)


def per_axis(name: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One value an axis from one value for all, or from a sequence of the right length.

    Example:
        >>> per_axis("stride", 2, 3)
        (2, 2, 2)
    """
    if isinstance(value, Sequence):
        return _each(name, value, rank)
    return (value,) * rank  # a Window checks that it is an integer, of whichever library


def _each(name: str, values: Sequence[T], rank: int) -> tuple[T, ...]:
    if len(values) != rank:
        raise InputError(
            f"{name} must be one value, or one an axis",
            f"{len(values)} values {tuple(values)!r} for {rank} axes",
            f"give 1 or {rank} values",
        )
    return tuple(values)
