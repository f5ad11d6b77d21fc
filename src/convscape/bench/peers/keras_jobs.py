"""What is measured in Keras, written once for both of its backends and both kinds of layers."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from convscape.bench.networks import VGG_A, network
from convscape.bench.work import EPSILON

Array = np.ndarray[Any, np.dtype[Any]]
Job = tuple[Callable[[], Any], Callable[[], tuple[Array, ...]]]
"""A call, and the same call with its result as arrays."""

RATE = 0.01
STEPS = 3
"""Training steps whose losses are compared: all but the first depend on every gradient."""


def norm_data(shape: tuple[int, ...]) -> tuple[Array, ...]:
    """x, dy in (N, H, W, C), gamma and beta."""
    rng = np.random.default_rng(0)
    shapes = shape, shape, shape[-1:], shape[-1:]
    x, dy, gamma, beta = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return x, dy, gamma, beta


def step_data(batch: int) -> tuple[Array, Array]:
    """Images in (N, H, W, C), and classes."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, 32, 32, 3)).astype(np.float32)
    return images, rng.integers(0, 10, batch)


def norm_job(kind: Any, shape: tuple[int, ...]) -> Job:
    """A `BatchNormalization` layer in training: forward, and all gradients."""
    import keras

    x, dy, gamma, beta = norm_data(shape)
    layer = kind.BatchNormalization(epsilon=EPSILON)
    layer.build(shape)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    if keras.config.backend() == "jax":
        call = _jax_step(layer, x, dy)
    else:
        import torch

        data = torch.from_numpy(x).requires_grad_()
        given = torch.from_numpy(dy)
        variables = [data, layer.gamma.value, layer.beta.value]

        def call() -> Any:
            return torch.autograd.grad(layer(data, training=True), variables, given)

    return call, lambda: tuple(np.asarray(r) for r in call())


def _jax_step(layer: Any, x: Array, dy: Array) -> Callable[[], Any]:
    jax: Any = import_module("jax")

    def step(trained: Any, others: Any, x: Any, dy: Any) -> Any:
        def forward(trained: Any, x: Any) -> Any:
            return layer.stateless_call(trained, others, x, training=True)

        _, back, moved = jax.vjp(forward, trained, x, has_aux=True)
        trained_grads, dx = back(dy)
        return dx, trained_grads, moved

    run = jax.jit(step)
    data, given = jax.numpy.asarray(x), jax.numpy.asarray(dy)
    trained = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def call() -> Any:
        dx, (dgamma, dbeta), _ = jax.block_until_ready(run(trained, others, data, given))
        return dx, dgamma, dbeta

    return call


def step_job(kind: Any, batch: int) -> Job:
    """A training step (`train_on_batch`) of VGG-A with batch normalization on 32x32 images."""
    import keras

    model = keras.Sequential([keras.Input((32, 32, 3))])
    for k in VGG_A:
        if k:
            model.add(kind.Conv2D(k, 3, padding="same", use_bias=False))
            model.add(kind.BatchNormalization(epsilon=EPSILON))
            model.add(keras.layers.ReLU())
        else:
            model.add(kind.MaxPooling2D())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    model.set_weights(_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss)
    images, classes = step_data(batch)

    def call() -> Any:
        return model.train_on_batch(images, classes)

    return call, lambda: (np.array([float(call()) for _ in range(STEPS)]),)


def _weights() -> list[Array]:
    """The torch network's weights in Keras's order of layers and axes."""
    found = []
    for module in network("VGG-A", training=True).modules():
        kind = type(module).__name__
        names = {
            "Conv2d": ("weight",),
            "BatchNorm2d": ("weight", "bias", "running_mean", "running_var"),
            "Linear": ("weight", "bias"),
        }.get(kind, ())
        for name in names:
            value = getattr(module, name).detach().numpy()
            if value.ndim == 4:
                value = value.transpose(2, 3, 1, 0)
            found.append(value.T if value.ndim == 2 else value)
    return found
