"""What batch normalization asks of its arguments, and which kernels compute it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from convscape.arithmetic.errors import InputError
from convscape.kernels import Problem, choose, load
from convscape.ops.bridge import check_input, check_same, check_tensor, dtype_name


@dataclass(frozen=True, slots=True)
class Plan:
    """What depends on the input's shape, dtype and device alone.

    Args:
        kernels: Our kernels, or None where the framework computes.
        channels: The shape of one number a channel.
        count: Values a channel.
    """

    kernels: Any
    channels: tuple[int, ...]
    count: int


def plan_of(x: torch.Tensor, algorithm: str) -> Plan:
    """The plan for this input; remembered, to keep a small call cheap."""
    check_tensor(x, "input")
    return _planned(x.shape, x.dtype, x.device, algorithm)


@lru_cache(maxsize=1024)
def _planned(shape: torch.Size, dtype: torch.dtype, device: torch.device, algorithm: str) -> Plan:
    channels = channels_of(torch.empty(shape, dtype=dtype, device="meta"))
    problem = Problem("batch_norm", tuple(shape), dtype_name(dtype), device.type)
    row = choose(problem, algorithm)
    kernels = None if row.module is None else load(row)
    return Plan(kernels, channels, shape.numel() // max(1, shape[1]))


def channels_of(x: torch.Tensor) -> tuple[int, ...]:
    """The shape of one number a channel; what is no input of this op is refused."""
    check_input(x, "input", tuple(range(2, 8)), "(N, C) or (N, C, ...)")
    return (x.shape[1],)


def check(
    channels: tuple[int, ...],
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
) -> None:
    """Refuse parameters or a residual that do not fit the input."""
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            check_channels(channels, name, value, x)
            if x.dtype in (torch.float32, torch.float64):
                check_same(name, x, value)  # half precision may keep its parameters in float32
    if residual is not None:
        check_same("residual", x, residual)
        if residual.shape != x.shape:
            raise InputError(
                "residual must have the input's shape",
                f"residual {tuple(residual.shape)}, input {tuple(x.shape)}",
                "expand it: residual.expand_as(input)",
            )


def check_running(
    channels: tuple[int, ...],
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
) -> None:
    """Refuse running statistics that do not fit, and too few values to train on."""
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        if value is not None:
            check_channels(channels, name, value, x)
        elif not training:
            raise InputError(
                "inference needs running statistics",
                f"{name}=None, training=False",
                "pass them, or use training=True",
            )
    if training and x.numel() == x.shape[1] > 0:
        raise InputError(
            "training needs more than one value a channel",
            f"input {tuple(x.shape)}",
            "use a larger batch, or training=False",
        )


def check_channels(
    channels: tuple[int, ...], name: str, value: torch.Tensor, x: torch.Tensor
) -> None:
    """Refuse what is not one number a channel."""
    if value.shape != channels:
        raise InputError(
            f"{name} must have one number a channel",
            f"{name} {tuple(value.shape)}, input {tuple(x.shape)}",
            f"use shape ({x.shape[1]},)",
        )
