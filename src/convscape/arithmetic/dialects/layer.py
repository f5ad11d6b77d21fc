"""A whole layer as it is written for one framework."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from convscape.arithmetic.dialects.rules import (
    default_padding,
    default_stride,
    dialect_named,
    window,
)
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry, per_axis
from convscape.arithmetic.operations import Operation, operation
from convscape.arithmetic.padding import Padding
from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, transposed convolution or pooling, in a framework's own spelling.

    Make one with `Layer.of`, which fills in the framework's defaults.

    Args:
        dialect: "keras", "torch", "onnx", "jax", or "convscape".
        operation: "conv", "transposed", "max_pool" or "avg_pool".
        kernel: Kernel cells of each axis.
        stride: Step of each axis.
        padding: Padding of each axis, as the framework spells it.
        dilation: Distance between kernel cells of each axis.
        ceil_mode: Round the number of pooling windows up.
        output_padding: Of each axis of a transposed convolution, in the framework's sense.
        output_size: Of each axis of an ONNX ConvTranspose (`output_shape`).
        count_include_pad: Whether an average divides by padding cells too (pads that are
            configured; what ceil_mode adds never counts).
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        groups: Channel groups.
        bias: Whether a convolution has a bias.
    """

    dialect: str
    operation: Operation
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[Padding, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False
    output_padding: tuple[int, ...] | None = None
    output_size: tuple[int, ...] | None = None
    count_include_pad: bool = False
    in_channels: int = 1
    out_channels: int = 1
    groups: int = 1
    bias: bool = True

    @classmethod
    def of(
        cls,
        dialect: str,
        op: str,
        kernel: Sequence[int] | int,
        stride: Sequence[int] | int | None = None,
        padding: Padding | Sequence[Padding] | None = None,
        dilation: Sequence[int] | int = 1,
        *,
        rank: int | None = None,
        ceil_mode: bool = False,
        output_padding: Sequence[int] | int | None = None,
        output_size: Sequence[int] | int | None = None,
        count_include_pad: bool | None = None,
        in_channels: int = 1,
        out_channels: int | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> "Layer":
        """A layer from one value for all axes or one an axis, with the framework's defaults.

        Args:
            dialect: The framework.
            op: The operation.
            kernel: Kernel cells.
            stride: Steps; None is the framework's default.
            padding: A name or an int for all axes, or one name, int or pair an axis; None is no
                padding.
            dilation: Distances between kernel cells.
            rank: Number of axes; None takes it from kernel, which is then a sequence.
            ceil_mode: Round up.
            output_padding: Of a transposed convolution.
            output_size: Of an ONNX ConvTranspose.
            count_include_pad: None is the framework's default: true in PyTorch and JAX (Flax).
            in_channels: Channels of the input.
            out_channels: Channels of the output; None is as many as come in.
            groups: Channel groups.
            bias: Whether a convolution has a bias.

        Raises:
            InputError: Lengths that do not match, or settings the framework refuses whatever the
                input is.

        Example:
            >>> Layer.of("torch", "max_pool", 3, rank=2).stride
            (3, 3)
        """
        dialect, op = dialect_named(dialect), operation(op)
        axes = rank or (len(kernel) if isinstance(kernel, Sequence) else 1)
        kernels = per_axis("kernel", kernel, axes)
        strides = (
            tuple(default_stride(dialect, op, k) for k in kernels)
            if stride is None
            else per_axis("stride", stride, axes)
        )
        paddings = default_padding(dialect) if padding is None else padding
        if isinstance(paddings, (str, int)):
            paddings = (paddings,) * axes
        if len(paddings) != axes:
            raise InputError(
                "padding must be one value, or one an axis",
                f"{tuple(paddings)!r} for {axes} axes",
                f"give 1 or {axes} values",
            )
        layer = cls(
            dialect,
            op,
            kernels,
            strides,
            tuple(paddings),
            per_axis("dilation", dilation, axes),
            ceil_mode,
            None if output_padding is None else per_axis("output_padding", output_padding, axes),
            None if output_size is None else per_axis("output_size", output_size, axes),
            dialect in ("torch", "jax") if count_include_pad is None else count_include_pad,
            in_channels,
            in_channels if out_channels is None else out_channels,
            groups,
            bias,
        )
        return layer.checked()

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def pooling(self) -> bool:
        """Whether it is max or average pooling."""
        return self.operation in ("max_pool", "avg_pool")

    def windows(self, spatial: Sequence[int]) -> tuple[Window, ...]:
        """The window that really slides over each axis of an input of these sizes.

        Raises:
            InputError: What the framework refuses, a wrong number of sizes, or a window that does
                not fit; the message names the axis.
        """
        if len(spatial) != self.rank:
            raise InputError(
                "the input needs one size an axis",
                f"{len(spatial)} sizes {tuple(spatial)} for {self.rank} axes",
                "give the spatial sizes only, without batch and channels",
            )
        windows = self._raw(spatial)
        for axis, (w, n) in enumerate(zip(windows, spatial, strict=True)):
            if w.output(n) == 0:
                raise InputError(
                    "the window must fit the padded input on every axis",
                    f"axis {axis}: extent {w.extent} on {n} cells padded by {w.padding}",
                    "pad more, or use a smaller kernel or dilation",
                )
        return windows

    def _raw(self, spatial: Sequence[int]) -> tuple[Window, ...]:
        """The windows, whether they fit or not."""
        return tuple(
            window(
                self.dialect,
                self.operation,
                n,
                self.kernel[axis],
                self.stride[axis],
                self.padding[axis],
                self.dilation[axis],
                ceil_mode=self.ceil_mode,
                output_padding=self.output_padding[axis] if self.output_padding else None,
                output_size=self.output_size[axis] if self.output_size else None,
            )
            for axis, n in enumerate(spatial)
        )

    def configured(self, spatial: Sequence[int]) -> tuple[Window, ...]:
        """The windows without what ceil_mode adds: their padding is what an average may count."""
        return replace(self, ceil_mode=False)._raw(spatial)

    def outputs(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output cells of each axis.

        Example:
            >>> Layer.of("keras", "conv", (7, 7), 2, "same").outputs((224, 224))
            (112, 112)
        """
        return tuple(w.output(n) for w, n in zip(self.windows(spatial), spatial, strict=True))

    def geometry(self, spatial: Sequence[int]) -> Geometry:
        """Windows and channels together: parameters, MACs and bytes."""
        return Geometry(self.windows(spatial), self.in_channels, self.out_channels, self.groups)

    def parameters(self) -> int:
        """Trainable numbers; none in pooling."""
        if self.pooling:
            return 0
        bare = Geometry(
            tuple(map(Window, self.kernel)), self.in_channels, self.out_channels, self.groups
        )
        return bare.parameters(self.bias)

    def macs(self, spatial: Sequence[int]) -> int:
        """Multiply-accumulates for one sample; none in pooling.

        Of a transposed convolution: input cells x kernel cells x C / groups x K.
        """
        if self.pooling:
            return 0
        if self.operation != "transposed":
            return self.geometry(spatial).macs(spatial)
        self.windows(spatial)
        per_cell = prod(self.kernel) * (self.in_channels // self.groups) * self.out_channels
        return prod(spatial) * per_cell

    def checked(self) -> "Layer":
        """This layer, after the rules that need no input size or look at several axes at once.

        Raises:
            InputError: One of them is broken.
        """
        for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True):
            Window(k, s, d)
        named = {p for p in self.padding if isinstance(p, str)}
        one_name = len(named) == 1 and all(isinstance(p, str) for p in self.padding)
        if named and not one_name and self.dialect != "convscape":
            raise InputError(
                f"{self.dialect} has one padding name for all axes",
                f"padding={self.padding!r}",
                "give one name, or numbers for every axis",
            )
        causal = any(name.lower() == "causal" for name in named)
        if causal and self.rank > 1 and self.dialect != "convscape":
            raise InputError("causal padding is for one axis", f"{self.rank} axes", "use rank 1")
        if (
            self.dialect == "keras"
            and self.operation in ("conv", "transposed")
            and max(self.stride) > 1
            and max(self.dilation) > 1
        ):
            raise InputError(
                "Keras refuses strides above 1 together with dilation above 1, on any axes",
                f"strides={self.stride}, dilation_rate={self.dilation}",
                "set one of them to 1",
            )
        if self.dialect == "keras" and self.operation == "transposed" and self.groups > 1:
            raise InputError(
                "Keras has no grouped transposed convolution",
                f"groups={self.groups}",
                "use groups=1, or split the channels",
            )
        if self.dialect == "jax" and self.operation == "transposed" and self.groups > 1:
            raise InputError(
                "lax.conv_transpose has no groups",
                f"groups={self.groups}",
                "use groups=1, or split the channels",
            )
        if not self.pooling:
            Geometry((Window(1),), self.in_channels, self.out_channels, self.groups)
        return self
