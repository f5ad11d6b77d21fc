"""JAX: its `lax` functions, compiled by XLA with `jax.jit`.

A gradient is computed from the inputs; XLA drops what of the forward pass it does not need.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscape.bench.measure import Contestant
from convscape.bench.peers.common import Settings, Unable, confined, need
from convscape.bench.work import BACKWARD, EPSILON, INFERENCE, NCHW, Work, has_constant_weight

_pool: list[int] = []  # threads that JAX was started with


def _started(threads: int) -> Any:
    """JAX with its pool of threads made on this many cores; it cannot be told otherwise."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax = need("jax")
    if not _pool:
        with confined(threads):
            jax.devices("cpu")
        _pool.append(threads)
    if _pool[0] != threads:
        raise Unable(f"runs on {_pool[0]} threads: their number is fixed once it has started")
    return jax


def jax_peer(work: Work, settings: Settings) -> Contestant:
    """The work in NHWC, or in NCHW where the row's data is."""
    if has_constant_weight(work):
        raise Unable("arranges no weights beforehand: measured in the forward direction")
    jax = _started(settings.threads)
    plain = work.layout == NCHW
    compute = _function(jax, work, plain)

    def image(t: Tensor) -> Any:
        laid = t if plain or t.dim() != 4 else t.permute(0, 2, 3, 1).contiguous()
        return jax.numpy.asarray(laid.numpy())

    inputs = [image(t) for t in work.inputs]
    if work.op == "conv":
        # Its own order of weights: rows, columns, input channels, output channels.
        inputs[1] = jax.numpy.asarray(work.inputs[1].permute(2, 3, 1, 0).contiguous().numpy())
    dy = image(work.dy)
    wanted = work.wanted

    def gradients(dy: Any, *given: Any) -> Any:
        def of(*some: Any) -> Any:
            full = list(given)
            for position, value in zip(wanted, some, strict=True):
                full[position] = value
            return compute(*full)

        return jax.vjp(of, *(given[i] for i in wanted))[1](dy)

    run = jax.jit(gradients if wanted else lambda *given: (compute(*given),))
    arguments = (dy, *inputs) if wanted else inputs

    def call() -> Any:
        return jax.block_until_ready(run(*arguments))

    def check() -> tuple[Tensor, ...]:
        results = [torch.from_numpy(np.array(r)) for r in call()]
        if work.op == "conv" and wanted == (1,):
            return (results[0].permute(3, 2, 0, 1),)
        return tuple(r if plain or r.dim() != 4 else r.permute(0, 3, 1, 2) for r in results)

    return Contestant("JAX", call, check)


def _function(jax: Any, work: Work, plain: bool) -> Any:
    lax, jnp = jax.lax, jax.numpy
    rows, columns = ((p, p) for p in work.padding)
    around = (rows, columns)
    if work.op == "conv":
        order = "NCHW" if plain else "NHWC"
        return lambda x, w: lax.conv_general_dilated(
            x, w, (work.stride,) * 2, around, dimension_numbers=(order, "HWIO", order),
            feature_group_count=work.groups,
        )  # fmt: skip
    if work.op == "norm":
        return _norm(jax, work, (0, 2, 3) if plain else (0, 1, 2))

    def windowed(values: tuple[Any, Any]) -> tuple[Any, ...]:
        return (values[0], values[0], *values[1]) if plain else (values[0], *values[1], values[0])

    window = windowed((1, work.kernel))
    steps = windowed((1, (work.stride,) * 2))
    padding = windowed(((0, 0), around))
    if work.op == "max_pool":
        return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, steps, padding)
    cells = work.kernel[0] * work.kernel[1]
    return lambda x: lax.reduce_window(x, 0.0, lax.add, window, steps, padding) / cells


def _norm(jax: Any, work: Work, axes: tuple[int, ...]) -> Any:
    jnp = jax.numpy
    shape = (1, -1, 1, 1) if axes[1] == 2 else (1, 1, 1, -1)

    def compute(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        if work.direction != INFERENCE:
            mean, var = jnp.mean(x, axes), jnp.var(x, axes)
        scale = gamma * jax.lax.rsqrt(var + EPSILON)
        y = (x - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)
        return jnp.maximum(y, 0)

    assert work.direction != BACKWARD or work.wanted == (0, 1, 2)
    return compute
