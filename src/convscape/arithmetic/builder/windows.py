"""Operations by windows: convolution, pooling and interpolation."""

from collections.abc import Sequence
from math import prod
from typing import Any

from convscape.arithmetic.builder.checks import MAX_AXIS, axes_exist, listable, shape_of
from convscape.arithmetic.builder.core import Core
from convscape.arithmetic.builder.resample import resized
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.network import Node
from convscape.arithmetic.reach import Map
from convscape.arithmetic.window import Window


class WindowOperations(Core):
    """What slides over its input."""

    def conv(
        self,
        name: str,
        x: Node,
        windows: Sequence[Window],
        *,
        axes: Sequence[int],
        channel_axis: int,
        out_channels: int,
        groups: int = 1,
        weight_shape: Sequence[int] | None = None,
        transposed: bool = False,
        **more: Any,
    ) -> Node:
        """A convolution, or with `transposed` a transposed one (windows with input_dilation).

        MACs: cells x kernel cells x C / groups x K, over the output's cells, or for a transposed
        convolution over the input's, each of which meets the whole kernel once.

        Args:
            name: The layer.
            x: Its input.
            windows: The window of each spatial axis.
            axes: These axes of x.
            channel_axis: The axis of the channels.
            out_channels: Channels of the output.
            groups: Channel groups.
            weight_shape: What the model stores: (K, C / groups, *kernel), transposed
                (C, K / groups, *kernel); checked against the input where it is given.
            transposed: Whether it is a transposed convolution.
            **more: `weights`, `settings` and other fields of the node.

        Raises:
            InputError: The window does not fit, or the weights do not.
        """
        shape = shape_of(x)
        if len(shape) != len(axes) + 2 or len(windows) != len(axes):
            raise InputError(
                f"a convolution over {len(windows)} axes needs batch, channels and these axes",
                f"a tensor of shape {shape}", "check the input shape",
            )  # fmt: skip
        geometry = Geometry(tuple(windows), shape[channel_axis], out_channels, groups)
        spatial = [shape[a] for a in axes]
        if weight_shape is not None:
            ends = (out_channels, shape[channel_axis])
            first, second = ends[::-1] if transposed else ends
            if tuple(weight_shape[:2]) != (first, second // groups):
                stored = weight_shape[0 if transposed else 1] * (1 if transposed else groups)
                raise InputError(
                    f"the input needs the {stored} channels that the weights were made for",
                    f"{shape[channel_axis]} channels (shape {shape})",
                    "check the input shape and its layout",
                )
        out = list(shape)
        out[channel_axis] = out_channels
        for axis, n in zip(axes, geometry.output_shape(spatial)[1:], strict=True):
            out[axis] = n
        if transposed:
            positions = prod(spatial)
            macs = (
                positions * prod(geometry.kernel) * out_channels * (geometry.in_channels // groups)
            )
        else:
            macs = geometry.macs(spatial)
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        link[channel_axis] = None
        self._slide(x, windows, axes, link)
        return self.add(
            name, "conv_transpose" if transposed else "conv", (x,), out, (tuple(link),),
            macs=macs * shape[0], geometry=geometry, axes=tuple(axes), **more,
        )  # fmt: skip

    def pool(
        self, name: str, op: str, x: Node, windows: Sequence[Window], *, axes: Sequence[int],
        **more: Any,
    ) -> Node:  # fmt: skip
        """Pooling, of any kind, by windows; it has no weights and no MACs."""
        shape = shape_of(x)
        axes_exist(shape, axes)
        geometry = Geometry(tuple(windows))
        out = list(shape)
        for axis, n in zip(axes, geometry.output_shape([shape[a] for a in axes])[1:], strict=True):
            out[axis] = n
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        self._slide(x, windows, axes, link)
        return self.add(
            name, op, (x,), out, (tuple(link),), geometry=geometry, axes=tuple(axes), **more
        )

    def adaptive_pool(
        self, name: str, op: str, x: Node, sizes: Sequence[int | None], *, axes: Sequence[int],
        **more: Any,
    ) -> Node:  # fmt: skip
        """Pooling to given sizes: output cell o reads floor(o n / m) up to ceil((o + 1) n / m)."""
        shape = shape_of(x)
        axes_exist(shape, axes)
        out, link = list(shape), [(a, None) for a in range(len(shape))]
        links: list[tuple[int, Map] | None] = list(link)
        for axis, wanted in zip(axes, sizes, strict=True):
            n = shape[axis]
            m = n if wanted is None else wanted
            out[axis] = m
            if m == 1:
                links[axis] = None
            elif m and n % m == 0:
                self._told(x, [axis])
                links[axis] = (axis, Window(n // m, n // m))
            else:
                listable(m)
                spans = tuple((o * n // m, -(-(o + 1) * n // m)) for o in range(m))
                self._told(x, [axis])
                links[axis] = (axis, spans)
        return self.add(name, op, (x,), out, (tuple(links),), axes=tuple(axes), **more)

    def resize(
        self,
        name: str,
        x: Node,
        sizes: Sequence[int],
        *,
        axes: Sequence[int],
        mode: str = "nearest",
        half_pixel: bool = False,
        align_corners: bool = False,
        **more: Any,
    ) -> Node:
        """Interpolation to given sizes; whole factors are windows, others spans of cells.

        Args:
            name: The layer.
            x: Its input.
            sizes: Output cells of each axis in `axes`.
            axes: Axes that change.
            mode: nearest, linear or cubic.
            half_pixel: For nearest: whether cell o looks at (o + 1/2) n / m instead of o n / m.
            align_corners: Whether the outermost cells' centres stay where they are.
            **more: `settings` and other fields of the node.
        """
        shape = shape_of(x)
        axes_exist(shape, axes)
        out = list(shape)
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        for axis, m in zip(axes, sizes, strict=True):
            if m < 1 or m > MAX_AXIS:
                raise InputError(
                    "a resized axis needs at least 1 cell", f"{m}", "use a larger size"
                )
            out[axis] = m
            if m != shape[axis]:
                self._told(x, [axis])
                link[axis] = (axis, resized(shape[axis], m, mode, half_pixel, align_corners))
        return self.add(name, "resize", (x,), out, (tuple(link),), axes=tuple(axes), **more)

    def _slide(
        self,
        x: Node,
        windows: Sequence[Window],
        axes: Sequence[int],
        link: list[tuple[int, Map] | None],
    ) -> None:
        for axis, window in zip(axes, windows, strict=True):
            link[axis] = (axis, window)
        self._told(x, axes)

    def _told(self, x: Node, axes: Sequence[int]) -> None:
        """Receptive fields are told on the sources that these axes follow."""
        for axis in axes:
            source = x.atoms[axis][0][0]
            if len(x.atoms[axis]) == 1 and source is not None:
                self._spatial.add(source)
