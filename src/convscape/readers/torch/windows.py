"""Rules for PyTorch's convolutions, pooling, padding and interpolation, under their signatures."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window
from convscape.readers.torch.call import (
    Call,
    Ints,
    by_rank,
    each_axis,
    shape_of,
    spatial_axes,
    under_names,
    weights_among,
)


def conv(
    c: Call,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: str | Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Node:
    """F.conv1d, conv2d, conv3d."""
    x, wanted = c.node(input), shape_of(weight)
    kernel = wanted[2:]
    rank = len(kernel)
    shape = shape_of(x)
    if len(shape) != rank + 2:
        raise InputError(
            f"a {rank}-D convolution needs batch, channels and {rank} axes",
            f"shape {shape}",
            "give the input without the batch axis, e.g. --input 3x224x224",
        )
    pads: Sequence[str | int] = (
        [padding] * rank if isinstance(padding, str) else each_axis(padding, rank)
    )
    settings = {
        "dialect": "torch",
        "padding": padding,
        "bias": bias is not None,
        "padding_mode": padding_mode,
    }
    windows = tuple(
        resolve(p, n, k, s, d)
        for p, n, k, s, d in zip(
            pads, shape[2:], kernel, each_axis(stride, rank), each_axis(dilation, rank), strict=True
        )
    )
    return c.builder.conv(
        c.name,
        x,
        windows,
        axes=spatial_axes(rank),
        channel_axis=1,
        out_channels=wanted[0],
        groups=groups,
        weight_shape=wanted,
        weights=weights_among(weight, bias),
        settings=settings,
    )


def conv_transpose(
    c: Call,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Node:
    """F.conv_transpose1d, 2d, 3d: (n - 1) stride - 2 padding + extent + output_padding cells."""
    x, wanted = c.node(input), shape_of(weight)
    rank = len(wanted) - 2
    windows = []
    for k, s, p, op, d in zip(
        wanted[2:],
        each_axis(stride, rank),
        each_axis(padding, rank),
        each_axis(output_padding, rank),
        each_axis(dilation, rank),
        strict=True,
    ):
        low = d * (k - 1) - p
        windows.append(Window(k, 1, d, s, (low, low + op)))
    settings = {
        "dialect": "torch",
        "padding": padding,
        "bias": bias is not None,
        "output_padding": output_padding,
    }
    return c.builder.conv(
        c.name,
        x,
        windows,
        axes=spatial_axes(rank),
        channel_axis=1,
        out_channels=wanted[1] * groups,
        groups=groups,
        weight_shape=wanted,
        transposed=True,
        weights=weights_among(weight, bias),
        settings=settings,
    )


def _pool(op: str, rank: int) -> Callable[..., Node]:
    def windows(
        c: Call, x: Node, kernel: Ints, stride: Any, padding: Ints, dilation: Ints, ceil_mode: bool
    ) -> Node:
        steps = kernel if stride is None or stride == [] else stride
        made = []
        for n, k, s, p, d in zip(
            shape_of(x)[-rank:],
            each_axis(kernel, rank),
            each_axis(steps, rank),
            each_axis(padding, rank),
            each_axis(dilation, rank),
            strict=True,
        ):
            window = Window(k, s, d, 1, (p, p))
            made.append(ceiled(window, n) if ceil_mode else window)
        first = len(shape_of(x)) - rank
        axes = tuple(range(first, first + rank))
        settings = {"dialect": "torch", "padding": padding, "ceil_mode": ceil_mode}
        return c.builder.pool(c.name, op, x, made, axes=axes, settings=settings)

    def max_pool(
        c: Call,
        input: Any,
        kernel_size: Ints,
        stride: Any = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Node:
        if return_indices:
            raise InputError("pooling is followed without its indices", "return_indices=True", "-")
        return windows(c, c.node(input), kernel_size, stride, padding, dilation, ceil_mode)

    def avg_pool(
        c: Call,
        input: Any,
        kernel_size: Ints,
        stride: Any = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Node:
        return windows(c, c.node(input), kernel_size, stride, padding, 1, ceil_mode)

    def lp_pool(
        c: Call,
        input: Any,
        norm_type: float,
        kernel_size: Ints,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Node:
        return windows(c, c.node(input), kernel_size, stride, 0, 1, ceil_mode)

    rules: dict[str, Callable[..., Node]] = {
        "max_pool": max_pool,
        "avg_pool": avg_pool,
        "lp_pool": lp_pool,
    }
    return rules[op]


def _adaptive(op: str, rank: int) -> Callable[..., Node]:
    def rule(c: Call, input: Any, output_size: Any, return_indices: bool = False) -> Node:
        x = c.node(input)
        sizes = [output_size] * rank if isinstance(output_size, int) else list(output_size)
        first = len(shape_of(x)) - rank
        axes = tuple(range(first, first + rank))
        named = f"global_{op}" if all(s == 1 for s in sizes) else op
        return c.builder.adaptive_pool(c.name, named, x, sizes, axes=axes)

    return rule


def pad(c: Call, input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Node:
    """F.pad: pairs from the last axis on."""
    x = c.node(input)
    pairs = [(0, 0)] * len(shape_of(x))
    for i in range(len(pad) // 2):
        pairs[-1 - i] = (pad[2 * i], pad[2 * i + 1])
    return c.builder.pad(c.name, x, pairs, settings={"padding_mode": mode})


def interpolate(
    c: Call,
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Node:
    """F.interpolate."""
    x = c.node(input)
    shape = shape_of(x)
    rank = len(shape) - 2
    if antialias:
        raise InputError("interpolation is followed without antialiasing", "antialias=True", "-")
    words = {
        "linear": "linear",
        "bilinear": "linear",
        "trilinear": "linear",
        "bicubic": "cubic",
        "nearest": "nearest",
        "nearest-exact": "nearest",
    }
    if mode not in words:
        raise InputError("an interpolation must be one that is followed", mode, "use another")
    if size is not None:
        sizes = list(each_axis(size, rank))
    else:
        factors = [scale_factor] * rank if not isinstance(scale_factor, Sequence) else scale_factor
        exact = [Fraction(f) * n for f, n in zip(factors, shape[2:], strict=True)]
        sizes = [e.numerator // e.denominator for e in exact]
        if any(e.denominator > 1 for e in exact) and not recompute_scale_factor:
            raise InputError(
                "a scale factor must give a whole number of cells to be followed",
                f"{scale_factor} of {shape[2:]}",
                "give size instead",
            )
    return c.builder.resize(
        c.name,
        x,
        sizes,
        axes=spatial_axes(rank),
        mode=words[mode],
        half_pixel=mode == "nearest-exact",
        align_corners=bool(align_corners),
    )


def _upsample(mode: str) -> Callable[..., Node]:
    """aten.upsample_*.vec(input, output_size, [align_corners,] scale_factors)."""

    def rule(c: Call, input: Any, output_size: Any, *rest: Any) -> Node:
        corners = rest[0] if mode not in ("nearest", "nearest-exact") and rest else None
        scales = rest[-1] if rest and isinstance(rest[-1], Sequence) else None
        return interpolate(c, input, output_size, scales, mode, corners)

    return rule


def pixel_shuffle(c: Call, input: Any, upscale_factor: int) -> Node:
    """F.pixel_shuffle: channels become r by r cells, so cell o reads cell o // r."""
    x, r = c.node(input), upscale_factor
    n, channels, *spatial = shape_of(x)
    windows = Window(r, input_dilation=r, padding=(r - 1, r - 1))
    link = ((0, None), None, *((a, windows) for a in range(2, 2 + len(spatial))))
    out = (n, channels // r**2, *(s * r for s in spatial))
    return c.builder.add(c.name, "pixel_shuffle", (x,), out, (link,))


WINDOWS: Mapping[str, Callable[..., Any]] = {
    **by_rank("conv", lambda rank: conv),
    **by_rank("conv_transpose", lambda rank: conv_transpose),
    **by_rank("max_pool", lambda rank: _pool("max_pool", rank)),
    **by_rank("avg_pool", lambda rank: _pool("avg_pool", rank)),
    **by_rank("lp_pool", lambda rank: _pool("lp_pool", rank)),
    **by_rank("adaptive_avg_pool", lambda rank: _adaptive("avg_pool", rank)),
    **by_rank("adaptive_max_pool", lambda rank: _adaptive("max_pool", rank)),
    "pad": pad,
    **under_names("interpolate upsample", interpolate),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_nearest3d": _upsample("nearest"),
    "upsample_linear1d": _upsample("linear"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_trilinear3d": _upsample("trilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
    "pixel_shuffle": pixel_shuffle,
}
"""The functions that slide windows."""


def _with_indices(rule: Callable[..., Node]) -> Callable[..., Any]:
    """An operator that gives a tensor and the places it comes from, which are not followed."""

    def both(c: Call, *args: Any, **kwargs: Any) -> tuple[Node, None]:
        return rule(c, *args, **kwargs), None

    return both


ATEN_WINDOWS: Mapping[str, Callable[..., Any]] = {
    **by_rank("adaptive_max_pool", lambda r: _with_indices(_adaptive("max_pool", r))),
    **{f"max_pool{r}d_with_indices": _with_indices(_pool("max_pool", r)) for r in (1, 2, 3)},
}
"""ATen operators whose results differ from those of the functions."""
