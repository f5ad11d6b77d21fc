"""The time and the error of every algorithm that accepts a layer, beside what was predicted."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convscape import ops
from convscape.arithmetic.errors import InputError
from convscape.bench.explain import Explained, Setting
from convscape.bench.measure import Contestant, error_over_rms, interleaved
from convscape.bench.run import torch_threads

NOT_TIMED = "Python loops: not timed"
WRONG = 1e-3
"""An error over the output's RMS beyond which an algorithm is not timed."""


def measured(answer: Explained, threads: int | None, rounds: int) -> Explained:
    """Time each algorithm that accepts, in turn, on channels-last data; wrong ones are not timed.

    Args:
        answer: From `explained`.
        threads: Threads; None for torch's setting.
        rounds: Samples of each.

    Returns:
        The same with `error`, `median`, `low` and `high` (seconds) in the rows that were timed, and
        `problem` in those that accept and were not.

    Raises:
        InputError: Another type, or another number of axes than two.
    """
    setting = answer.setting
    dtype = getattr(torch, setting.dtype, None)
    if dtype not in (torch.float32, torch.float64) or len(setting.cells) != 2:
        raise InputError(
            "--measure takes float32 or float64 on two axes",
            f"{setting.dtype} on {len(setting.cells)}",
            "leave --measure out",
        )
    rows = [dict(row) for row in answer.rows]
    with torch_threads(threads or torch.get_num_threads()):
        for direction in dict.fromkeys(row["direction"] for row in rows):
            same = [row for row in rows if row["direction"] == direction]
            _measure([row for row in same if row["refusal"] is None], setting, dtype, rounds)
    return Explained(setting, rows)


def _measure(rows: list[dict[str, Any]], setting: Setting, dtype: torch.dtype, rounds: int) -> None:
    direction = rows[0]["direction"]
    exact = _call(setting, torch.float64, "framework", direction)()
    contestants = []
    for row in rows:
        if row["algorithm"] == "reference":
            row["problem"] = NOT_TIMED
            continue
        call = _call(setting, dtype, row["algorithm"], direction)
        row["error"] = error_over_rms(call(), exact)
        if row["error"] <= WRONG:
            contestants.append(Contestant(row["algorithm"], call, call))
        else:
            row["problem"] = "wrong result: not timed"
    for name, times in interleaved(contestants, rounds).items():
        row = next(row for row in rows if row["algorithm"] == name)
        row |= {"median": times.median, "low": times.low, "high": times.high}


def _call(
    setting: Setting, dtype: torch.dtype, algorithm: str, direction: str
) -> Callable[[], tuple[Tensor, ...]]:
    """The layer by one algorithm on random data of a fixed seed, or one of its gradients."""
    layer, generator = setting.layer, torch.Generator().manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        # The same numbers in every type: float32's.
        made = (torch.randn(shape, generator=generator) * scale).to(dtype)
        return made.contiguous(memory_format=torch.channels_last)

    x = random(setting.batch, layer.in_channels, *setting.cells)
    padding = tuple(w.padding for w in layer.configured(setting.cells))
    if layer.pooling:
        window = layer.kernel, layer.stride, padding
        if layer.operation == "max_pool":
            pool: Callable[[], Tensor] = partial(
                ops.max_pool2d, x, *window, layer.dilation, layer.ceil_mode, algorithm=algorithm
            )
        else:
            counted = layer.count_include_pad
            pool = partial(
                ops.avg_pool2d, x, *window, layer.ceil_mode, counted, algorithm=algorithm
            )
        return lambda: (pool(),)
    geometry = layer.geometry(setting.cells)
    w = random(*geometry.weight_shape, scale=geometry.weight_shape[1] ** -0.5)
    given: Any = (None, layer.stride, padding, layer.dilation, layer.groups)
    if direction == "forward":
        return lambda: (ops.conv2d(x, w, *given, algorithm=algorithm),)
    wanted = (x if direction == "input_gradient" else w).requires_grad_()
    y = ops.conv2d(x, w, *given, algorithm=algorithm)
    dy = random(*y.shape)
    return lambda: torch.autograd.grad(y, (wanted,), dy, retain_graph=True)
