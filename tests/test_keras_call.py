"""Calls of the Keras layers, which go past Keras's own where that would do nothing."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.backend import AutocastScope

from convscape.layers import keras as layers
from convscape.layers import keras_call
from tests.cases import data, error


class Outer(keras.layers.Layer):  # type: ignore[misc]
    """Calls a batch normalization and, behind it, another, with flags of their own or none."""

    def __init__(self, kind: Any, flags: tuple[bool | None, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        scale = keras.initializers.RandomNormal(1.0, 0.1, seed=0)
        options = {"momentum": 0.5, "gamma_initializer": scale, "dtype": "float32"}
        self.inner = [kind.BatchNormalization(**options) for _ in flags]
        self.flags = flags

    def build(self, shape: Any) -> None:
        for layer in self.inner:
            layer.build(shape)

    def call(self, x: Any) -> Any:
        for layer, flag in zip(self.inner, self.flags, strict=True):
            # Beside an outer layer of another type, whose scope a variable's value follows.
            x = keras.ops.cast(x, "float32")
            x = layer(x) if flag is None else layer(x, training=flag)
        return x


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("outer", [None, False, True])
@pytest.mark.parametrize("flags", [(None, None), (True, None), (False, None), (None, True, None)])
def test_the_training_flag_passes_between_layers_as_keras_passes_it(
    flags: tuple[bool | None, ...], outer: bool | None, policy: str
) -> None:
    # A flag that is given inside a layer's call holds for what that layer calls afterwards.
    results = []
    for kind in (layers, keras.layers):
        keras.utils.set_random_seed(0)
        layer, x = Outer(kind, flags, dtype=policy), torch.tensor(3 + data(4, 5, 5, 2))
        given = {} if outer is None else {"training": outer}
        for _ in range(2):
            y = layer(x, **given).detach()
        results.append((y, *layer.get_weights()))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, 0, 1e-5)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that Keras's own call is made for from now on."""
    calls: list[str] = []
    own = keras.layers.Layer.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(type(self).__name__)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(keras.layers.Layer, "__call__", call)
    return calls


PLAIN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Conv2D", {"filters": 3, "kernel_size": 3}),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3}),
    ("MaxPooling2D", {}),
    ("AveragePooling2D", {"pool_size": 2}),
    ("BatchNormalization", {}),
)


@pytest.mark.parametrize(("name", "config"), PLAIN, ids=str)
def test_only_a_plain_tensor_to_a_plain_layer_goes_past_keras(
    name: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(x: Any, **options: Any) -> int:
        """How many calls Keras's own `__call__` has, behind the one that builds the layer."""
        given = {"training": options.pop("training")} if "training" in options else {}
        layer = getattr(layers, name)(**config, **options)
        layer(torch.zeros(1, 6, 6, 4))
        before = len(called)
        y = layer(x, **given)
        assert tuple(y.shape) == tuple(layer.compute_output_shape(x.shape))
        return len(called) - before

    called = counted(monkeypatch)
    x = torch.tensor(data(2, 6, 6, 4))
    assert calls(x) == 0
    assert calls(x.double(), dtype="float64") == 0
    assert calls(x.double()) == calls(x.half()) == calls(x.numpy()) == 1
    assert calls(torch.nn.Parameter(x)) == calls(keras.Input(x.shape[1:], batch_size=2)) == 1
    assert calls(x, dtype="mixed_bfloat16") == calls(x.bfloat16(), dtype="bfloat16") == 1
    assert calls(x, activity_regularizer="l2") == 1
    if "filters" in config:  # a layer in the layer
        assert calls(x, activation=keras.layers.ReLU()) == 2
    with keras.RematScope(mode="full"):
        assert calls(x) == 1
    layer = getattr(layers, name)(**config)
    layer(x)
    assert keras_call._plain(layer, x)
    with AutocastScope("bfloat16"):
        assert not keras_call._plain(layer, x)
    with monkeypatch.context() as patch:
        patch.setattr(keras.distribution, "distribution", object)
        assert not keras_call._plain(layer, x)
    if name == "BatchNormalization":
        assert calls(x, training=True) == calls(x, training=False) == 0
        assert calls(x, training=None) == 1
    masked = x.clone()
    masked._keras_mask = torch.ones(2, 6, 6, dtype=torch.bool)  # type: ignore[attr-defined]
    if name == "BatchNormalization":
        assert calls(masked, training=True) == 1
    else:
        with pytest.warns(UserWarning, match="does not support masking"):
            assert calls(masked) == 1


@pytest.mark.parametrize(("name", "config"), PLAIN, ids=str)
def test_a_shape_that_a_layer_was_not_built_for_is_refused_as_keras_refuses_it(
    name: str, config: dict[str, Any]
) -> None:
    results: list[Any] = []
    for kind in (layers, keras.layers):
        layer = getattr(kind, name)(**config, name="mine")
        layer(torch.zeros(1, 6, 6, 4))
        for shape in ((2, 6, 6, 5), (2, 6, 4)):
            try:
                results.append(tuple(layer(torch.zeros(shape)).shape))
            except ValueError as refused:
                results.append(str(refused))
    assert results[:2] == results[2:]
    assert any(isinstance(found, str) for found in results)


def test_settings_that_change_behind_a_call_hold_from_the_next_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = layers.BatchNormalization(), torch.tensor(data(2, 6, 6, 4))
    layer(x)
    calls = counted(monkeypatch)
    layer(x)
    assert not calls
    layer.activity_regularizer = keras.regularizers.L2(1.0)
    layer(x)
    assert len(layer.losses) == len(calls) == 1
    layer.activity_regularizer = None
    layer.dtype_policy = "float64"
    assert layer(x).dtype == torch.float64
    assert len(calls) == 2
    layer.dtype_policy = "float32"
    layer.input_spec = keras.InputSpec(ndim=3)
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=4"):
        layer(x)


@pytest.mark.parametrize("training", [False, True])
def test_a_stateless_call_takes_given_variables_and_changes_none(training: bool) -> None:
    x, results = torch.tensor(data(2, 6, 6, 4)), []
    for kind in (layers, keras.layers):
        layer = kind.BatchNormalization(momentum=0.5)
        layer(x)
        given = [torch.tensor(data(4, seed=n)) ** 2 for n in range(4)]
        before = [t.clone() for t in given] + layer.get_weights()
        y, moved = layer.stateless_call(given[:2], given[2:], x, training=training)
        results.append([y, *moved])
        for was, is_now in zip(before, [*given, *layer.get_weights()], strict=True):
            np.testing.assert_array_equal(was, is_now)
    for mine, theirs in zip(*results, strict=True):
        assert error(mine.detach(), theirs.detach()) < 1e-6


def test_losses_of_an_earlier_call_are_forgotten() -> None:
    layer, x = layers.BatchNormalization(activity_regularizer="l2"), torch.tensor(data(2, 6, 6, 4))
    layer(x)
    assert len(layer.losses) == 1
    layer.activity_regularizer = None
    layer(x)
    assert not layer.losses
