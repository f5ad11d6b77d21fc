"""What batch normalization asks of its arguments, and which kernels compute it."""

from dataclasses import dataclass, field
from typing import Any

import torch

from convscape.arithmetic.errors import InputError
from convscape.kernels import choose, load
from convscape.ops.bridge import (
    check_input,
    check_same,
    check_tensor,
    has_memory,
    kind,
    problem,
    remember,
)

Maybe = torch.Tensor | None

TRAINING, INFERENCE, MOMENTS = "training", "inference", "moments"
"""What a call asks for; the last is training that torch's rules for it do not apply to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the arguments' shapes, types and places in memory.

    Args:
        kernels: Our kernels, or None where the framework computes.
        count: Values a channel.
        direct: Whether the kernels may be told the addresses of all tensors.
        given: Which there are of weight, bias, residual, running mean and variance.
        axis: The channel axis; all else is said of the input with that moved to place 1.
        calls: What was bound, by all that it depends on beside.
    """

    kernels: Any
    count: int
    direct: bool
    given: tuple[bool, ...]
    axis: int = 1
    calls: dict[Any, Any] = field(default_factory=dict)


_plans: dict[Any, Plan] = {}


def plan_of(
    x: torch.Tensor, weight: Maybe, bias: Maybe, residual: Maybe, mean: Maybe, var: Maybe,
    wanted: str, algorithm: str, axis: int = 1,
) -> Plan:  # fmt: skip
    """The plan, after all checks; what passed once is remembered, to keep a small call cheap."""
    others = weight, bias, residual, mean, var
    try:
        key = kind(x), *[t if t is None else kind(t) for t in others], wanted, algorithm, axis
    except AttributeError:  # no tensors
        for name, t in zip(("input", *_NAMES), (x, *others), strict=True):
            if t is not None or name == "input":
                check_tensor(t, name)
        raise
    found = _plans.get(key)
    return found or remember(_plans, key, _planned(x, others, wanted, algorithm, axis))


_NAMES = "weight", "bias", "residual", "running_mean", "running_var"


def _planned(
    x: torch.Tensor, others: tuple[Maybe, ...], wanted: str, algorithm: str, axis: int
) -> Plan:
    weight, bias, residual, *running = others
    if axis != 1:
        axis, x = _moved(x, axis)
    channels = channels_of(x)
    check(channels, x, weight, bias, residual)
    if wanted == MOMENTS:
        for name, value in zip(_NAMES[3:], running, strict=True):
            if value is not None:
                check_channels(channels, name, value, x)
    else:
        check_running(channels, x, running[0], running[1], wanted == TRAINING)
    row = choose(problem("batch_norm", x), algorithm)
    kernels = None if row.module is None else load(row)
    given = tuple(t is not None for t in others)
    direct = hasattr(kernels, "bind") and has_memory(x) and all(
        t is None or _lies(t, x.stride() if t is residual else (1,), x) for t in others
    )  # fmt: skip
    return Plan(kernels, x.numel() // max(1, x.shape[1]), direct, given, axis)


def _moved(x: torch.Tensor, axis: int) -> tuple[int, torch.Tensor]:
    """The axis counted from the first, and the input with it in place 1."""
    check_tensor(x, "input")
    if not -x.dim() <= axis < x.dim():
        raise InputError(
            "axis must be one of the input's",
            f"axis {axis}, input {tuple(x.shape)}",
            f"use {-x.dim()} to {x.dim() - 1}",
        )
    return axis % x.dim(), x.movedim(axis, 1)


def _lies(t: torch.Tensor, strides: tuple[int, ...], x: torch.Tensor) -> bool:
    """Whether a tensor beside x can be told by its address."""
    return has_memory(t) and t.dtype == x.dtype and t.is_cpu and t.stride() == strides


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
