"""Two-dimensional convolution; its derivatives are in `convscape.ops.conv_grad`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.padding import Padding
from convscape.kernels import Problem, choose, load
from convscape.kernels.cpu.memory import address
from convscape.ops.bridge import (
    PLAIN,
    array,
    check_input,
    check_same,
    check_tensor,
    dtype_name,
    fixed,
    kind,
    needs_grad,
    remember,
    tensor,
    threads,
)
from convscape.ops.conv_grad import Forward, bound, filled, forward

Checked = tuple[Geometry, tuple[Any, Any, Any] | None, Any]
"""The windows and modules of `plan`, and what `bound` finds for the first of these."""


class ConstantWeight:
    """A weight that does not change, and what algorithms make of it, made once.

    For inference: packing a large weight for the kernels can take as long as one small image's
    convolution.

    Args:
        weight: (K, C / groups, R, S).
        copy: Whether the weight is copied, so that changes of the original do not reach it;
            without, whoever changes it must make another.

    Example:
        >>> w = ConstantWeight(torch.ones(8, 4, 1, 1))
        >>> conv2d(torch.ones(1, 4, 2, 2), w).shape
        torch.Size([1, 8, 2, 2])
    """

    def __init__(self, weight: torch.Tensor, copy: bool = True) -> None:
        self.tensor = weight.detach().clone() if copy else weight.detach()
        self._packed: dict[tuple[str, int], Any] = {}

    def packed(self, kernels: Any, geometry: Geometry) -> Any:
        """What `kernels.pack` makes of it; None where an algorithm packs nothing."""
        if not hasattr(kernels, "pack"):
            return None
        key = kernels.__name__, geometry.groups
        if key not in self._packed:
            self._packed[key] = kernels.pack(array(self.tensor), geometry, threads())
        return self._packed[key]

    def convolution(
        self, x: torch.Tensor, bias: torch.Tensor | None, relu: bool | float, *setting: Any
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """`conv2d` with this weight, all checked and chosen: what a layer keeps.

        Args:
            x: An input.
            bias: (K,), or None; like the weight, it may not change.
            relu: As in `conv2d`.
            setting: stride, padding, dilation and groups, as in `conv2d`.

        Returns:
            `f(x)`, without gradients, for inputs that are to x as `convscape.ops.bridge.kind`
            tells them apart, under the same setting of threads. Others are not refused.
        """
        weight = self.tensor
        _check_relu(relu)
        geometry, kernels, _ = checked(x, weight, bias, setting, "auto", True)
        if kernels is None:
            return lambda x: rectified(_framework(x, weight, bias, geometry), relu)
        packed = self.packed(kernels[0], geometry)
        given = None if bias is None else array(bias)
        team = threads()
        compute = bound(x, weight, geometry, kernels[0], packed is None)
        if compute is not None:
            at = 0 if packed is None else address(packed)
            return lambda x: filled(compute, x, weight, given, relu, at)
        also = () if packed is None else (packed,)
        arguments = array(weight), given, geometry, team, relu, *also
        return lambda x: tensor(kernels[0].forward(array(x), *arguments))


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor | ConstantWeight,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding | Sequence[Padding] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    relu: bool | float = False,
    algorithm: str = "auto",
) -> torch.Tensor:
    """Two-dimensional cross-correlation, as `torch.nn.functional.conv2d`.

    y[n, k, h, w] = bias[k] + Σ_{c, r, s} weight[k, c, r, s] x[n, c, h', w'],
    h' = h stride - low + r dilation, w' alike; c runs over the channels of k's group.

    Args:
        x: (N, C, H, W) or (C, H, W), floating-point, any memory layout.
        weight: (K, C / groups, R, S), of x's dtype and device; or a `ConstantWeight`, which is
            packed once, and gets no gradient.
        bias: (K,), or None.
        stride: One step, or one an axis.
        padding: Zeros around the input: an int, one int an axis, one (low, high) pair an axis, or
            a name (`convscape.arithmetic.PADDING_NAMES`). "same" also works with a stride, by
            TensorFlow's rule.
        dilation: Distance between kernel cells, for all axes or one an axis.
        groups: Channel groups.
        relu: Whether negative results become 0, at no cost of its own; y = max(y, 0), and NaN
            stays. A number is an upper bound beside: 6.0 is ReLU6.
        algorithm: "auto", or a name from `convscape.kernels.explain`.

    Returns:
        (N, K, H', W'), or (K, H', W'), in channels-last memory when x is in it.

    Raises:
        InputError: Ranks, dtypes, channels or windows that do not fit, a bound that is not above
            0, or an algorithm that refuses.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.1.

    Example:
        >>> x = torch.tensor([[3., 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2],
        ...                   [2, 0, 0, 0, 1]])
        >>> kernel = torch.tensor([[0., 1, 2], [2, 2, 0], [0, 1, 2]])
        >>> conv2d(x[None], kernel[None, None], stride=2, padding=1)
        tensor([[[ 6., 17.,  3.],
                 [ 8., 17., 13.],
                 [ 6.,  4.,  4.]]])
    """
    if type(x) not in PLAIN:
        check_tensor(x, "input")
    if relu is not False:
        _check_relu(relu)
    constant = weight if isinstance(weight, ConstantWeight) else None
    if x.dim() == 3:
        return conv2d(
            x[None], weight, bias, stride, padding, dilation, groups, relu=relu,
            algorithm=algorithm,
        )[0]  # fmt: skip
    if isinstance(weight, ConstantWeight):
        weight = weight.tensor
    if torch.compiler.is_compiling():
        from convscape.ops import compiled, compiled_conv

        given = compiled.two(stride), *compiled.spelled(padding), compiled.two(dilation), groups
        y: torch.Tensor = compiled_conv.conv2d(x, weight, bias, *given, algorithm)
        return rectified(y, relu)
    geometry, kernels, call = checked(
        x, weight, bias, (stride, padding, dilation, groups), algorithm, constant is not None
    )
    if kernels is None:
        return rectified(_framework(x, weight, bias, geometry), relu)
    packed = None if constant is None else constant.packed(kernels[0], geometry)
    if needs_grad(x, weight, bias):
        result: torch.Tensor = Forward.apply(x, weight, bias, geometry, kernels, relu, call, packed)
        return result
    return forward(x, weight, bias, geometry, kernels, relu, call, packed)


def checked(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, setting: tuple[Any, ...],
    algorithm: str, constant: bool,
) -> Checked:  # fmt: skip
    """`plan` for these tensors, and `bound`, after all checks; what passed once is remembered.

    It is in the way of every call, beside kernels that have emptied the caches: there each step
    costs a microsecond, and each function called several.
    """
    how = algorithm, constant
    try:
        key = kind(x), kind(weight), bias is None or kind(bias), threads(), setting, how
        found = _checked.get(key)
    except (AttributeError, TypeError):  # no tensors, or a list among the settings
        check_tensor(weight, "weight")
        setting = tuple(map(fixed, setting))
        key = kind(x), kind(weight), bias is None or kind(bias), threads(), setting, how
        found = _checked.get(key)
    if found is None:
        check_input(x, "input", (3, 4), "(N, C, H, W) or (C, H, W)")
        check(x, weight, bias)
        given = x.shape, weight.shape, dtype_name(x.dtype), x.device.type
        geometry, kernels = plan(*given, *setting, *how)
        call = kernels and bound(x, weight, geometry, kernels[0], not constant)
        found = remember(_checked, key, (geometry, kernels, call))
    return found


_checked: dict[Any, Checked] = {}


@lru_cache(maxsize=1024)
def plan(
    shape: torch.Size, weight_shape: torch.Size, dtype: str, device: str, stride: Any,
    padding: Any, dilation: Any, groups: int, algorithm: str, constant: bool = False,
) -> tuple[Geometry, tuple[Any, Any, Any] | None]:  # fmt: skip
    """The windows, and the modules for forward, the input gradient and the weight gradient.

    None for the modules where the framework computes.
    """
    geometry = geometry_of(shape, weight_shape, stride, padding, dilation, groups)
    wanted = Problem("convolution", tuple(shape), dtype, device, geometry, constant=constant)
    row = choose(wanted, algorithm)
    if row.module is None:
        return geometry, None
    return geometry, (load(row), *gradients(wanted, algorithm))


def gradients(problem: Problem, algorithm: str) -> tuple[Any, Any]:
    """The modules for a convolution's input gradient and for its weight gradient."""
    problem = replace(problem, constant=False)  # what is made beforehand serves forward only
    back, along = (
        choose(replace(problem, direction=direction), algorithm)
        for direction in ("input_gradient", "weight_gradient")
    )
    return load(back), load(along)


def check(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Refuse a weight or bias that does not go with the input."""
    check_input(weight, "weight", (4,), "(K, C / groups, R, S)")
    check_same("weight", x, weight)
    if bias is not None:
        check_same("bias", x, bias)
        check_bias(bias, weight, weight.shape[0])


def geometry_of(
    shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: Padding | Sequence[Padding],
    dilation: int | Sequence[int],
    groups: int,
) -> Geometry:
    """Say in windows what was given, and refuse what does not fit together."""
    geometry = Geometry.of(
        shape[2:], tuple(weight_shape[2:]), stride, padding, dilation,
        in_channels=shape[1], out_channels=weight_shape[0], groups=groups,
    )  # fmt: skip
    if geometry.weight_shape != tuple(weight_shape):
        raise InputError(
            "weight must be (K, C / groups, R, S)",
            f"input {tuple(shape)}, weight {tuple(weight_shape)}, groups={groups}",
            f"this input takes {geometry.weight_shape}",
        )
    geometry.output_shape(shape[2:])  # raises where the window does not fit
    return geometry


def check_bias(bias: torch.Tensor, weight: torch.Tensor, channels: int) -> None:
    """Refuse a bias that is not one number an output channel."""
    if bias.shape != (channels,):
        raise InputError(
            "bias must have one number an output channel",
            f"bias {tuple(bias.shape)}, weight {tuple(weight.shape)}",
            f"use shape ({channels},)",
        )


def _framework(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """Torch's own op; it knows symmetric padding only, so the rest is padded first."""
    height, width = geometry.windows
    even = all(low == high for low, high in (height.padding, width.padding))
    if not even:
        x = functional.pad(x, (*width.padding, *height.padding))
    return functional.conv2d(
        x, weight, bias,
        (height.stride, width.stride),
        (height.padding[0], width.padding[0]) if even else 0,
        (height.dilation, width.dilation),
        geometry.groups,
    )  # fmt: skip


def _check_relu(relu: bool | float) -> None:
    """Refuse a bound that would leave nothing."""
    if not isinstance(relu, bool) and not relu > 0:
        raise InputError(
            "relu must be True, False or an upper bound above 0",
            f"relu={relu!r}",
            "use relu=False for none, relu=6.0 for ReLU6",
        )


def rectified(y: torch.Tensor, relu: bool | float) -> torch.Tensor:
    """What the kernels do with their results, by torch."""
    if isinstance(relu, bool):
        return torch.relu(y) if relu else y
    return functional.hardtanh(y, 0.0, relu)
