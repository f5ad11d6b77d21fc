"""Two-dimensional maximum and average pooling."""

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch.nn import functional

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.padding import Padding
from convscape.ops.bridge import check_input, needs_grad
from convscape.ops.pool_grad import Average, Maximum
from convscape.ops.pool_plan import plan_of


@overload
def max_pool2d(
    x: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = ...,
    padding: Padding | Sequence[Padding] = ...,
    dilation: int | Sequence[int] = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    algorithm: str = ...,
) -> torch.Tensor: ...
@overload
def max_pool2d(
    x: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = ...,
    padding: Padding | Sequence[Padding] = ...,
    dilation: int | Sequence[int] = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    algorithm: str = ...,
) -> tuple[torch.Tensor, torch.Tensor]: ...
def max_pool2d(
    x: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding | Sequence[Padding] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """The maximum of every window, as `torch.nn.functional.max_pool2d`.

    Padding never wins: a window's maximum is taken over its real cells. NaN wins over every number.

    Args:
        x: (N, C, H, W) or (C, H, W), floating-point, any memory layout.
        kernel_size: Kernel cells, for both axes or one an axis.
        stride: Steps; None for the kernel size.
        padding: An int, one an axis, one (low, high) pair an axis, or a name; at most half the
            window's extent.
        dilation: Distance between kernel cells.
        ceil_mode: Round the output size up; the last window still starts inside.
        return_indices: Also return where the maxima were, as h W + w in int64.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        (N, C, H', W') or (C, H', W') in x's memory order; with `return_indices` the pair.

    Raises:
        InputError: Ranks, dtypes or windows that do not fit, or an algorithm that refuses.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.2.

    Example:
        >>> max_pool2d(torch.arange(16.).reshape(1, 4, 4), 2)
        tensor([[[ 5.,  7.],
                 [13., 15.]]])
    """
    check_input(x, "input", (3, 4), "(N, C, H, W) or (C, H, W)")
    if x.dim() == 3:
        y, where = _max_pool(x[None], kernel_size, stride, padding, dilation, ceil_mode,
                             return_indices, algorithm)  # fmt: skip
        return y[0] if where is None else (y[0], where[0])
    y, where = _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode,
                         return_indices, algorithm)  # fmt: skip
    return y if where is None else (y, where)


def avg_pool2d(
    x: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding | Sequence[Padding] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> torch.Tensor:
    """The average of every window, as `torch.nn.functional.avg_pool2d`.

    Args:
        x: (N, C, H, W) or (C, H, W), floating-point, any memory layout.
        kernel_size: Kernel cells, for both axes or one an axis.
        stride: Steps; None for the kernel size.
        padding: An int, one an axis, one (low, high) pair an axis, or a name; at most half the
            window's extent.
        ceil_mode: Round the output size up; the last window still starts inside.
        count_include_pad: Whether padding counts in the divisor. What `ceil_mode` adds never does.
        divisor_override: Divide by this instead.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        (N, C, H', W') or (C, H', W') in x's memory order.

    Raises:
        InputError: Ranks, dtypes or windows that do not fit, or an algorithm that refuses.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.2.

    Example:
        >>> avg_pool2d(torch.arange(16.).reshape(1, 4, 4), 2)
        tensor([[[ 2.5000,  4.5000],
                 [10.5000, 12.5000]]])
    """
    check_input(x, "input", (3, 4), "(N, C, H, W) or (C, H, W)")
    if x.dim() == 3:
        return avg_pool2d(
            x[None], kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override, algorithm=algorithm,
        )[0]  # fmt: skip
    if torch.compiler.is_compiling():
        from convscape.ops import compiled

        step = compiled.two(kernel_size if stride is None else stride)
        given = compiled.two(kernel_size), step, *compiled.spelled(padding)
        y: torch.Tensor = compiled.avg_pool2d(
            x, *given, ceil_mode, count_include_pad, divisor_override, algorithm
        )
        return y
    if divisor_override == 0:
        raise InputError("divisor_override must not be 0", "0", "leave it None for the cell count")
    counted = count_include_pad, divisor_override
    plan = plan_of(x, algorithm, kernel_size, stride, padding, 1, ceil_mode, *counted)
    if plan.kernels is None:
        geometry, counts = plan.geometry, plan.divisors
        # One average for all dialects: torch's sum, divided by our counts.
        total = functional.avg_pool2d(
            functional.pad(x, _flat_padding(geometry)), geometry.kernel, _strides(geometry),
            divisor_override=1,
        )  # fmt: skip
        return total / torch.as_tensor(counts[0][:, None] * counts[1], dtype=x.dtype).to(x.device)
    if needs_grad(x):
        result: torch.Tensor = Average.apply(x, plan)
        return result
    return plan.average(x)


def _max_pool(
    x: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: Padding | Sequence[Padding],
    dilation: int | Sequence[int],
    ceil_mode: bool,
    return_indices: bool,
    algorithm: str,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if torch.compiler.is_compiling():
        from convscape.ops import compiled

        step = compiled.two(kernel_size if stride is None else stride)
        given = compiled.two(kernel_size), step, *compiled.spelled(padding)
        y, where = compiled.max_pool2d(x, *given, compiled.two(dilation), ceil_mode, algorithm)
        return y, where if return_indices else None
    plan = plan_of(x, algorithm, kernel_size, stride, padding, dilation, ceil_mode)
    geometry = plan.geometry
    if plan.kernels is None:
        low = functional.pad(x, _flat_padding(geometry), value=-torch.inf)
        dilations = tuple(w.dilation for w in geometry.windows)
        y, where = functional.max_pool2d(
            low, geometry.kernel, _strides(geometry), 0, dilations, return_indices=True
        )
        if not return_indices:
            return y, None
        width = low.shape[-1]
        (top, _), (left, _) = (w.padding for w in geometry.windows)
        return y, (where // width - top) * x.shape[-1] + where % width - left
    if needs_grad(x):
        y, where = Maximum.apply(x, plan)
    elif not return_indices:
        return plan.maximum_only(x), None
    else:
        y, where = plan.maximum(x)
    return y, _indices(where, geometry, x.shape[-1]) if return_indices else None


def _indices(where: torch.Tensor, geometry: Geometry, width: int) -> torch.Tensor:
    """Kernel cell numbers as positions h W + w in the input plane."""
    h, w = geometry.windows
    cell = where.long()
    rows = torch.arange(where.shape[-2])[:, None] * h.stride - h.padding[0]
    columns = torch.arange(where.shape[-1]) * w.stride - w.padding[0]
    row = rows + cell // w.kernel * h.dilation
    return row * width + columns + cell % w.kernel * w.dilation


def _flat_padding(geometry: Geometry) -> tuple[int, ...]:
    height, width = geometry.windows
    return (*width.padding, *height.padding)


def _strides(geometry: Geometry) -> tuple[int, ...]:
    return tuple(w.stride for w in geometry.windows)
