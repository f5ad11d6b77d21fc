"""Two-dimensional maximum and average pooling."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np
import torch
from torch.nn import functional

from convscape.arithmetic.average import divisors
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.padding import Padding, ceiled
from convscape.kernels import Problem, choose, load
from convscape.ops.bridge import Array, array, check_input, needs_grad, tensor, threads
from convscape.ops.pool_grad import _Average, _Maximum


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
    plain, geometry, kernels = _plan(x, algorithm, kernel_size, stride, padding, 1, ceil_mode)
    counts = _divisors(plain, geometry, x.shape[2:], count_include_pad, divisor_override)
    if kernels is None:
        # One average for all dialects: torch's sum, divided by our counts.
        total = functional.avg_pool2d(
            functional.pad(x, _flat_padding(geometry)), geometry.kernel, _strides(geometry),
            divisor_override=1,
        )  # fmt: skip
        return total / torch.as_tensor(counts[0][:, None] * counts[1], dtype=x.dtype).to(x.device)
    if needs_grad(x):
        result: torch.Tensor = _Average.apply(x, geometry, counts, kernels)
        return result
    return tensor(kernels.average(array(x), geometry, counts, threads()))


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
    _, geometry, kernels = _plan(
        x, algorithm, kernel_size, stride, padding, dilation, ceil_mode
    )  # fmt: skip
    if kernels is None:
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
        y, where = _Maximum.apply(x, geometry, kernels)
    elif not return_indices:
        return tensor(kernels.maximum_only(array(x), geometry, threads())), None
    else:
        found, cell = kernels.maximum(array(x), geometry, threads())
        y, where = tensor(found), tensor(cell)
    return y, _indices(where, geometry, x.shape[-1]) if return_indices else None


def _plan(x: torch.Tensor, algorithm: str, *given: Any) -> tuple[Geometry, Geometry, Any]:
    """What `_windows` says, and our kernels or None; remembered, to keep a small call cheap."""
    try:
        return _planned(x.shape, x.dtype, x.device, algorithm, *given)
    except TypeError:  # a list cannot be remembered
        fixed = (tuple(v) if isinstance(v, list) else v for v in given)
        return _planned(x.shape, x.dtype, x.device, algorithm, *fixed)


@lru_cache(maxsize=1024, typed=True)
def _planned(
    shape: torch.Size, dtype: torch.dtype, device: torch.device, algorithm: str, *given: Any
) -> tuple[Geometry, Geometry, Any]:
    plain, slid = _windows(shape, *given)
    name = str(dtype).removeprefix("torch.")
    row = choose(Problem("pooling", tuple(shape), name, device.type, slid), algorithm)
    return plain, slid, None if row.module is None else load(row)


def _windows(
    shape: Sequence[int],
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: Padding | Sequence[Padding],
    dilation: int | Sequence[int],
    ceil_mode: bool,
) -> tuple[Geometry, Geometry]:
    """The windows as configured, and as they slide (with `ceil_mode` their padding stretched)."""
    channels = max(1, shape[1])
    plain = Geometry.of(
        shape[2:], kernel, kernel if stride is None else stride, padding, dilation,
        in_channels=channels, out_channels=channels, groups=channels,
    )  # fmt: skip
    for axis, w in enumerate(plain.windows):
        if max(w.padding) > w.extent // 2:
            raise InputError(
                "pooling's padding must be at most half the window's extent",
                f"axis {axis}: padding {w.padding}, extent {w.extent}",
                "pad less, or pad the input before pooling",
            )
    slid = plain
    if ceil_mode:
        windows = tuple(ceiled(w, n) for w, n in zip(plain.windows, shape[2:], strict=True))
        slid = Geometry(windows, channels, channels, channels)
    slid.output_shape(shape[2:])  # raises where the window does not fit
    return plain, slid


@lru_cache(maxsize=256)
def _divisors(
    plain: Geometry, slid: Geometry, spatial: tuple[int, ...], include: bool, override: int | None
) -> tuple[Array, ...]:
    """What to divide by, as a factor for each output row and each output column."""
    counts = []
    for w, n, p in zip(slid.windows, spatial, plain.windows, strict=True):
        counted = divisors(w, n, p.padding if include else (0, 0))
        # A window over nothing but uncounted padding sums to 0 and is left so.
        counts.append(np.maximum(np.array(counted, float), 1))
    if override is None:
        return tuple(counts)
    return np.full(len(counts[0]), float(override)), np.ones(len(counts[1]))


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
