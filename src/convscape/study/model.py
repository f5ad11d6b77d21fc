"""The study's network: a small VGG, with or without batch normalization.

The one place that says which layers a study trains.
"""

import hashlib
from typing import Any

import keras
import numpy as np

from convscape.layers import keras as layers
from convscape.study.config import Arm, Config


def build(config: Config, arm: Arm, image: tuple[int, int, int], classes: int, seed: int) -> Any:
    """The network of one arm, built and not yet compiled.

    Each block is `depth` times (3x3 convolution, batch normalization in that arm, ReLU), then
    2x2 max pooling while the image is at least two cells wide; a dense layer gives the logits.
    Convolution has a bias in the plain arm only: before batch normalization it is redundant.

    Every kernel is Glorot-uniform from its own seed, which depends on `seed` and the layer's
    position alone, so that the two arms start with the same kernels, bit for bit.

    Args:
        config: Gives `blocks` and `decay`.
        arm: `"plain"` or `"batchnorm"`.
        image: Height, width and channels of the images.
        classes: Number of logits.
        seed: Seeds the weights.

    Returns:
        A `keras.Model` from (n, height, width, channels) to (n, classes).

    Source: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", arXiv 1409.1556 (the pattern); S. Ioffe and C. Szegedy, arXiv 1502.03167,
        section 3.2 (normalization before the nonlinearity, no bias).
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(sum(d for _, d in config.blocks) + 1))
    normalized = arm == "batchnorm"
    side = min(image[:2])
    stack: list[Any] = [keras.layers.Input(image)]
    for filters, depth in config.blocks:
        for _ in range(depth):
            stack.append(
                layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    use_bias=not normalized,
                    kernel_initializer=_glorot(next(seeds)),
                )
            )
            if normalized:
                stack.append(layers.BatchNormalization(momentum=config.decay))
            stack.append(keras.layers.ReLU())
        if side >= 2:
            stack.append(layers.MaxPooling2D(2))
            side //= 2
    stack += [
        keras.layers.Flatten(),
        keras.layers.Dense(classes, kernel_initializer=_glorot(next(seeds))),
    ]
    return keras.Sequential(stack)


def shared_weights_digest(model: Any) -> str:
    """SHA-256 of the kernels that both arms have, in order: equal digests, equal starts."""
    digest = hashlib.sha256()
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            digest.update(kernel.value.detach().numpy().tobytes())
    return digest.hexdigest()


def describe(model: Any) -> list[dict[str, Any]]:
    """The layers as a table: class, output shape and number of weights.

    Not their names, which count the layers that the process has made before.
    """
    return [
        {
            "class": f"{type(layer).__module__}.{type(layer).__qualname__}",
            "output": list(layer.output.shape[1:]),
            "weights": layer.count_params(),
        }
        for layer in model.layers
    ]


def _glorot(seed: np.uint32) -> Any:
    return keras.initializers.GlorotUniform(seed=int(seed))
