"""Everything that a training step can change, kept and put back bit for bit."""

import random
from typing import Any

import numpy as np
import torch

# Keras has no public way to its global generator, which it makes when it is first used.
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR


class Snapshot:
    """The state of a model, its optimizer and every source of randomness at one moment.

    It holds the model's weights and statistics, its own seed generators, the optimizer's and the
    metrics' variables, any further torch parameter or buffer, and the states of Python's, NumPy's,
    torch's and Keras's global random generators.

    Args:
        model: A built Keras model on the torch backend, compiled or not.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        >>> before, weights = Snapshot(model), model.get_weights()
        >>> model.set_weights([weight + 1 for weight in weights])
        >>> drawn = random.random()
        >>> before.restore()
        >>> bool((model.get_weights()[0] == weights[0]).all()), random.random() == drawn
        (True, True)
    """

    def __init__(self, model: Any) -> None:
        self._generator = get_global_attribute(GLOBAL_SEED_GENERATOR)
        self._variables = [
            (v, v.value.detach().clone()) for v in _variables(model, self._generator)
        ]
        owned = {id(variable.value) for variable, _ in self._variables}
        self._tensors = [
            (tensor, tensor.detach().clone())
            for tensor in (*model.parameters(), *model.buffers())
            if id(tensor) not in owned
        ]
        self._python = random.getstate()
        # A study records with NumPy's generators, but a layer may draw from the old global one.
        self._numpy = np.random.get_state()  # noqa: NPY002
        self._torch = torch.get_rng_state()

    def restore(self) -> None:
        """Put everything back; may be called any number of times."""
        set_global_attribute(GLOBAL_SEED_GENERATOR, self._generator)
        with torch.no_grad():
            for variable, saved in self._variables:
                variable.value.copy_(saved)
            for tensor, saved in self._tensors:
                tensor.copy_(saved)
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._torch)


def _variables(model: Any, generator: Any) -> list[Any]:
    """Keras variables of the model (its seed generators too), optimizer and metrics, each once."""
    found = [*model.variables, *model.metrics_variables]
    if generator is not None:
        found.append(generator.state)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        found += optimizer.variables
    return list({id(variable): variable for variable in found}.values())
