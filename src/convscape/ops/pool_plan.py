"""What pooling's windows are, which kernels compute them, and how these are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from convscape.arithmetic.average import divisors
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.padding import Padding, ceiled
from convscape.kernels import Problem, choose, load
from convscape.ops.bridge import (
    Array,
    array,
    dtype_name,
    fixed,
    has_memory,
    results,
    tensor,
    threads,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from an input's shape, dtype and device, and from how it is pooled.

    Args:
        kernels: Our kernels, or None where the framework computes.
        geometry: The windows as they slide: with `ceil_mode` their padding is stretched.
        spatial: (H, W) of the input.
        divisors: What to divide by, as a factor for each output row and each output column.
        calls: What was bound, by all that it depends on beside.
    """

    kernels: Any
    geometry: Geometry
    spatial: tuple[int, int]
    divisors: tuple[Array, ...]
    calls: dict[Any, Any] = field(default_factory=dict)

    def maximum(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The maxima, and the numbers of their kernel cells."""
        call = self._bound("bind_maximum", x, lambda: (threads(),))
        if call is None:
            y, where = self.kernels.maximum(array(x), self.geometry, threads())
            return tensor(y), tensor(where)
        y, where = results(call, x)
        call.fill(x.data_ptr(), y.data_ptr(), where.data_ptr())
        return y, where

    def maximum_only(self, x: torch.Tensor) -> torch.Tensor:
        """The maxima alone."""
        call = self._bound("bind_maximum_only", x, lambda: (threads(),))
        if call is None:
            return tensor(self.kernels.maximum_only(array(x), self.geometry, threads()))
        (y,) = results(call, x)
        call.fill(x.data_ptr(), y.data_ptr())
        return y

    def maximum_grad(self, dy: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """dx, in the memory order of the cells' numbers."""
        call = None
        if has_memory(where) and where.stride() == dy.stride():
            cells = np.dtype(dtype_name(where.dtype))
            call = self._bound("bind_maximum_grad", dy, lambda: (cells, self.spatial, threads()))
        if call is None:
            given = array(dy), array(where), self.geometry, self.spatial, threads()
            return tensor(self.kernels.maximum_grad(*given))
        (dx,) = results(call, dy, where)
        call.fill(dy.data_ptr(), where.data_ptr(), dx.data_ptr())
        return dx

    def pick(self, x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """The values at the cells of these numbers."""
        return tensor(self.kernels.pick(array(x), array(where), self.geometry, threads()))

    def average(self, x: torch.Tensor) -> torch.Tensor:
        """The averages."""
        call = self._bound("bind_average", x, lambda: (self._counts(), threads()))
        if call is None:
            return tensor(self.kernels.average(array(x), self.geometry, self.divisors, threads()))
        (y,) = results(call, x)
        call.fill(x.data_ptr(), y.data_ptr())
        return y

    def average_grad(self, dy: torch.Tensor) -> torch.Tensor:
        """dx, in dy's memory order."""
        call = self._bound(
            "bind_average_grad", dy, lambda: (self._counts(), self.spatial, threads())
        )
        if call is None:
            given = array(dy), self.geometry, self.divisors, self.spatial, threads()
            return tensor(self.kernels.average_grad(*given))
        (dx,) = results(call, dy)
        call.fill(dy.data_ptr(), dx.data_ptr())
        return dx

    def _counts(self) -> tuple[bytes, ...]:
        return tuple(d.tobytes() for d in self.divisors)

    def _bound(self, name: str, x: torch.Tensor, how: Callable[[], tuple[Any, ...]]) -> Any:
        """What a `bind` of the kernels finds for such a tensor; None where they are told arrays."""
        if type(x) is not torch.Tensor and not has_memory(x):
            return None
        key = name, x.stride(), threads()
        call = self.calls.get(key, False)
        if call is False:
            from convscape.kernels.cpu.layout import order_of  # Numba is loaded with the first call

            bind, last = getattr(self.kernels, name, None), order_of(x.shape, x.stride())
            call = None
            if bind is not None and last is not None:
                kind = np.dtype(dtype_name(x.dtype))
                call = bind(self.geometry, x.shape, last, kind, *how())
            self.calls[key] = call
        return call


def plan_of(x: torch.Tensor, algorithm: str, *given: Any) -> Plan:
    """The plan for this input, after all checks; remembered, to keep a small call cheap.

    Args:
        x: (N, C, H, W).
        algorithm: "auto", or a name.
        given: Kernel, stride, padding, dilation and `ceil_mode`; for averages also whether padding
            counts, and a divisor instead of the counts.
    """
    try:
        return _planned(x.shape, x.dtype, x.device, algorithm, *given)
    except TypeError:  # a list cannot be remembered
        return _planned(x.shape, x.dtype, x.device, algorithm, *map(fixed, given))


@lru_cache(maxsize=1024, typed=True)
def _planned(
    shape: torch.Size, dtype: torch.dtype, device: torch.device, algorithm: str, kernel: Any,
    stride: Any, padding: Any, dilation: Any, ceil_mode: bool, *counted: Any,
) -> Plan:  # fmt: skip
    plain, slid = windows_of(shape, kernel, stride, padding, dilation, ceil_mode)
    wanted = Problem("pooling", tuple(shape), dtype_name(dtype), device.type, slid)
    row = choose(wanted, algorithm)
    spatial = shape[2], shape[3]
    counts = _divisors(plain, slid, spatial, *counted) if counted else ()
    return Plan(None if row.module is None else load(row), slid, spatial, counts)


def windows_of(
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
