"""The ops behind torch's own signatures: ours where they see the tensors, torch's elsewhere.

A kernel reads memory. So what has none to read is torch's: half precision, other devices, autocast,
and whatever follows a call without numbers (`torch.jit.trace`, `torch.func`, `torch.fx`,
`torch.export`, and through it ONNX). `torch.compile` sees our ops.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convscape import ops
from convscape.kernels.cpu.add import join
from convscape.ops.bridge import PLAIN, array, tensor, threads
from convscape.ops.conv import rectified

Pair = int | Sequence[int]

_TYPES = (torch.float32, torch.float64)


def covered(x: Any) -> bool:
    """Whether our kernels compute on this tensor here and now."""
    return (
        type(x) in PLAIN
        and x.is_cpu
        and x.dtype in _TYPES
        and not torch.is_autocast_enabled("cpu")
        and (torch.compiler.is_compiling() or not _followed())
    )


def eager() -> bool:
    """Whether calls are made for their numbers, in the types that tensors have."""
    return not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or _followed())


def _followed() -> bool:
    """Whether a trace or a transform goes through this call, and not numbers alone."""
    return torch._C._is_tracing() or torch._C._are_functorch_transforms_active()


def conv2d(
    input: Tensor,
    weight: Tensor | ops.ConstantWeight,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    relu: bool | float = False,
) -> Tensor:
    """`torch.nn.functional.conv2d`, with a ReLU behind it if asked for; 6.0 is ReLU6."""
    given: Any = stride, padding, dilation, groups
    if covered(input):
        return ops.conv2d(input, weight, bias, *given, relu=relu)
    if isinstance(weight, ops.ConstantWeight):
        weight = weight.tensor
    return rectified(functional.conv2d(input, weight, bias, *given), relu)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d`."""
    call: Any = ops.conv_transpose2d if covered(input) else functional.conv_transpose2d
    y: Tensor = call(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return y


def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`torch.nn.functional.max_pool2d`."""
    call: Any = ops.max_pool2d if covered(input) else functional.max_pool2d
    # By name: torch's own has ceil_mode and return_indices the other way round in one place.
    return call(
        input, kernel_size, stride, padding, dilation,
        ceil_mode=ceil_mode, return_indices=return_indices,
    )  # fmt: skip


def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`torch.nn.functional.avg_pool2d`."""
    call: Any = ops.avg_pool2d if covered(input) else functional.avg_pool2d
    y: Tensor = call(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return y


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """`torch.nn.functional.adaptive_avg_pool2d`; ours where all windows have one size."""
    sizes = (output_size,) * 2 if output_size is None or isinstance(output_size, int) else (
        tuple(output_size)
    )  # fmt: skip
    if covered(input) and input.dim() in (3, 4):
        cells = list(zip(input.shape[-2:], sizes, strict=True))
        if all(wanted is None or (wanted > 0 and n % wanted == 0 < n) for n, wanted in cells):
            return ops.avg_pool2d(input, [n // (wanted or n) for n, wanted in cells])
    given: Any = output_size
    return functional.adaptive_avg_pool2d(input, given)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`torch.cat`; ours along the channels of channels-last images."""
    if dim == 1 and not torch.compiler.is_compiling() and _join_together(tensors):
        return tensor(join([array(t) for t in tensors], threads()))
    return torch.cat(tuple(tensors), dim)


def _join_together(tensors: Sequence[Tensor]) -> bool:
    """Whether these are images of one size and type that lie channels-last without gaps."""
    if not tensors or not all(covered(t) and t.dim() == 4 and t.numel() for t in tensors):
        return False
    n, _, *size = tensors[0].shape
    return all(
        t.shape[0] == n
        and list(t.shape[2:]) == size
        and t.dtype == tensors[0].dtype
        and t.permute(0, 2, 3, 1).is_contiguous()
        for t in tensors
    )


def lie_alike(x: Tensor, other: Tensor) -> bool:
    """Whether our kernels may take two tensors of one shape as two stretches of memory."""
    return (
        x.stride() == other.stride()
        and covered(x)
        and covered(other)
        and not torch.compiler.is_compiling()
        and (x.is_contiguous() or (x.dim() == 4 and x.permute(0, 2, 3, 1).is_contiguous()))
    )


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, with a sum and a ReLU behind it if asked for."""
    given = running_mean, running_var, weight, bias, training, momentum, eps
    same = residual is None or (residual.shape == input.shape and residual.dtype == input.dtype)
    if covered(input) and same:
        return ops.batch_norm(input, *given, relu=relu, residual=residual)
    y = functional.batch_norm(input, *given)
    y = y if residual is None else y + residual
    return torch.relu(y) if relu else y
