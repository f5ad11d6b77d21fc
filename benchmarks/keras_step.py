"""A training step in Keras on torch: our layers against Keras's own, the same network and data.

    python -m benchmarks.keras_step [--threads 2] [--rounds 7] [--batch 64]

Measured are one `BatchNormalization` layer (forward and backward), and a whole step
(`train_on_batch`) of VGG-A with batch normalization on (batch, 32, 32, 3). Method: the losses of
both networks' first step must agree; then both run in turn after a warm-up, and the figures are
medians and their ratio in the same run.
"""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch

from benchmarks.timing import medians
from convscape.layers import keras as layers

VGG_A: tuple[int | str, ...] = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
"""Filters of the 3x3 convolutions, and where 2x2 pooling is (arXiv 1409.1556, table 1)."""


def network(kind: Any) -> Any:
    """VGG-A with batch normalization, on 32x32 images."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for item in VGG_A:
        if item == "M":
            model.add(kind.MaxPooling2D())
        else:
            model.add(kind.Conv2D(item, 3, padding="same", use_bias=False))
            model.add(kind.BatchNormalization())
            model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    model.compile(
        keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def step(layer: Any, variables: Sequence[Any], x: torch.Tensor, dy: torch.Tensor) -> Any:
    """Forward in training mode, and all gradients."""
    return torch.autograd.grad(layer(x, training=True), [x, *variables], dy)


def report(name: str, ours: float, theirs: float) -> None:
    """One line: both times and their ratio."""
    print(f"{name:45s} ours {ours * 1e3:7.1f} ms, Keras {theirs * 1e3:7.1f} ms: "
          f"{theirs / ours:.2f} times as fast", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    for shape in ((64, 32, 32, 64), (64, 8, 8, 256)):
        x = torch.tensor(rng.normal(size=shape).astype("float32"), requires_grad=True)
        dy = torch.tensor(rng.normal(size=shape).astype("float32"))
        steps = []
        for kind in (layers, keras.layers):
            layer = kind.BatchNormalization()
            layer.build(shape)
            variables = [v.value for v in layer.trainable_variables]
            steps.append(partial(step, layer, variables, x, dy))
        for a, b in zip(steps[0](), steps[1](), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
        report(f"BatchNormalization {shape}", *medians(steps, options.rounds))
    images = rng.normal(size=(options.batch, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, options.batch)
    models = [network(kind) for kind in (layers, keras.layers)]
    first = [float(model.train_on_batch(images, y)) for model in models]
    np.testing.assert_allclose(first[0], first[1], rtol=1e-3)
    calls = [partial(model.train_on_batch, images, y) for model in models]
    report(f"VGG-A with BN, {options.batch} x 32 x 32 x 3", *medians(calls, options.rounds))


if __name__ == "__main__":
    main()
