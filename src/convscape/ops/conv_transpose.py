"""Two-dimensional transposed convolution: the input gradient of a convolution, as an op.

The convolution that it transposes reads the output and has the input's size. Its three faces, in
`convscape.ops.conv_grad`, serve here with their roles swapped, so derivatives of any order are our
kernels again; and as the kernels go by phases, no zero is inserted or multiplied.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

from convscape.arithmetic.dialects import window
from convscape.arithmetic.dialects.torch import check_output_padding
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry, per_axis
from convscape.arithmetic.padding import Padding
from convscape.arithmetic.window import Window
from convscape.kernels import Problem, choose, load
from convscape.ops.bridge import (
    check_input,
    check_same,
    dtype_name,
    fixed,
    needs_grad,
)
from convscape.ops.conv import check_bias, gradients
from convscape.ops.conv_grad import InputGrad


def conv_transpose2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding | Sequence[Padding] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    algorithm: str = "auto",
) -> torch.Tensor:
    """Two-dimensional transposed convolution, as `torch.nn.functional.conv_transpose2d`.

    y[n, k, h, w] = bias[k] + Σ_{c, r, s} weight[c, k, r, s] x[n, c, h', w'] over the h' with
    h = h' stride - low + r dilation, and w' alike; c runs over the channels of k's group. An axis
    of n cells has (n - 1) stride + dilation (R - 1) + 1 - low - high + output_padding outputs.

    Args:
        x: (N, C, H, W) or (C, H, W), floating-point, any memory layout.
        weight: (C, K / groups, R, S), of x's dtype and device.
        bias: (K,), or None.
        stride: Distance of neighbouring input cells in the output, for all axes or one an axis.
        padding: Of the convolution that is transposed; it crops the output. An int, one int an
            axis, one (low, high) pair an axis, or a name: "valid", "half", "full" or "causal".
            "same" is refused, because frameworks place its odd cell differently.
        output_padding: Cells added to the output's high end; below the stride or the dilation.
        groups: Channel groups.
        dilation: Distance between kernel cells, for all axes or one an axis.
        algorithm: "auto", or a name from `convscape.kernels.explain`: how the convolution that is
            transposed would be computed.

    Returns:
        (N, K, H', W'), or (K, H', W'), in channels-last memory when x is in it.

    Raises:
        InputError: Ranks, dtypes or channels that do not fit, an output_padding that is too large,
            padding that leaves no output, or an algorithm that refuses.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.

    Example:
        >>> x = torch.tensor([[1., 2.], [3., 4.]])
        >>> conv_transpose2d(x[None], torch.ones(1, 1, 3, 3), stride=2, padding=1)
        tensor([[[ 1.,  3.,  2.],
                 [ 4., 10.,  6.],
                 [ 3.,  7.,  4.]]])
    """
    check_input(x, "input", (3, 4), "(N, C, H, W) or (C, H, W)")
    given = stride, padding, output_padding, groups, dilation
    if x.dim() == 3:
        return conv_transpose2d(x[None], weight, bias, *given, algorithm=algorithm)[0]
    if torch.compiler.is_compiling():
        from convscape.ops import compiled, compiled_conv

        y: torch.Tensor = compiled_conv.conv_transpose2d(
            x, weight, bias, compiled.two(stride), *compiled.spelled(padding),
            compiled.two(output_padding), groups, compiled.two(dilation), algorithm,
        )  # fmt: skip
        return y
    check(x, weight, bias, groups)
    geometry, spatial, kernels = plan(
        x.shape, weight.shape, dtype_name(x.dtype), x.device.type, *map(fixed, given), algorithm
    )
    if kernels is None:
        return _framework(x, weight, bias, geometry, spatial)
    if needs_grad(x, weight):
        y = InputGrad.apply(x, weight, spatial, geometry, kernels)
    else:
        y = InputGrad.forward(None, x, weight, spatial, geometry, kernels)
    return y if bias is None else y.add_(bias[:, None, None])  # in place: y is ours


@lru_cache(maxsize=1024)
def plan(
    shape: torch.Size, weight_shape: torch.Size, dtype: str, device: str, stride: Any,
    padding: Any, output_padding: Any, groups: int, dilation: Any, algorithm: str,
) -> tuple[Geometry, tuple[int, int], tuple[Any, Any, Any] | None]:  # fmt: skip
    """What `geometry_of` finds, and the modules as `conv.plan`; None for the framework."""
    geometry, spatial = geometry_of(
        shape, weight_shape, stride, padding, output_padding, groups, dilation
    )
    # The convolution that is transposed has the output as its input.
    turned = (shape[0], geometry.in_channels, *spatial)
    wanted = Problem("convolution", turned, dtype, device, geometry)
    row = choose(wanted, algorithm)
    if row.module is None:
        return geometry, spatial, None
    return geometry, spatial, (load(row), *gradients(wanted, algorithm))


def check(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int
) -> None:  # fmt: skip
    """Refuse a weight or bias that does not go with the input."""
    check_input(weight, "weight", (4,), "(C, K / groups, R, S)")
    check_same("weight", x, weight)
    if x.shape[1] != weight.shape[0]:
        raise InputError(
            "weight must be (C, K / groups, R, S)",
            f"input {tuple(x.shape)}, weight {tuple(weight.shape)}",
            f"this input takes C = {x.shape[1]}",
        )
    if bias is not None:
        check_same("bias", x, bias)
        check_bias(bias, weight, weight.shape[1] * max(groups, 1))  # Geometry refuses fewer


def geometry_of(
    shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: Padding | Sequence[Padding],
    output_padding: int | Sequence[int],
    groups: int,
    dilation: int | Sequence[int],
) -> tuple[Geometry, tuple[int, int]]:
    """The convolution that is transposed, and the size of its input: our output."""
    channels = weight_shape[1] * max(groups, 1)
    paddings = (padding, padding) if isinstance(padding, (str, int)) else tuple(padding)
    if len(paddings) != 2:
        raise InputError(
            "padding must be one value, or one an axis",
            f"{len(paddings)} values {paddings!r} for 2 axes",
            "give 1 or 2 values",
        )
    windows, sizes = [], []
    for axis, (n, kernel, p, s, extra, d) in enumerate(
        zip(
            shape[2:],
            weight_shape[2:],
            paddings,
            per_axis("stride", stride, 2),
            per_axis("output_padding", output_padding, 2),
            per_axis("dilation", dilation, 2),
            strict=True,
        )
    ):
        spread = window("convscape", "transposed", n, kernel, s, p, d, output_padding=extra)
        check_output_padding(extra, s, d)
        size = spread.output(n)
        if size == 0:
            raise InputError(
                "padding must leave at least one output cell on every axis",
                f"axis {axis}: padding {p!r} of {(n - 1) * s + d * (kernel - 1) + 1 + extra} cells",
                "pad less",
            )
        # Cells that no kernel cell reaches need no crop while they are fewer than a step.
        low, high = spread.adjoint(n).padding
        windows.append(Window(kernel, s, d, 1, (low, max(high, 0) if high > -s else high)))
        sizes.append(size)
    return Geometry(tuple(windows), channels, shape[1], groups), (sizes[0], sizes[1])


def _framework(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: Geometry,
    spatial: tuple[int, int],
) -> torch.Tensor:
    """Torch's own op. It crops both ends of an axis alike; what else is wanted is cut here.

    Where it can crop all by itself it does: cropped by us it blocks its sums another way, and one
    call of two that mean the same would round differently in half precision.
    """
    height, width = geometry.windows
    crops, extras, cuts = [], [], []
    for w, n, size in zip((height, width), x.shape[2:], spatial, strict=True):
        low, reached = w.padding[0], (n - 1) * w.stride + w.extent
        crop = low if 0 <= size + 2 * low - reached < max(w.stride, w.dilation) else 0
        crops.append(crop)
        extras.append(max(0, size + low + crop - reached))
        cuts.append(slice(low - crop, low - crop + size))
    y = functional.conv_transpose2d(
        x, weight, bias,
        (height.stride, width.stride),
        crops,
        extras,
        geometry.groups,
        (height.dilation, width.dilation),
    )  # fmt: skip
    return y[:, :, *cuts]
