"""The Keras layers against Keras's own: arguments, values, training, saving."""

import ast
import doctest
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch

from convscape.layers import keras as layers
from tests.cases import data, error

DECK = {
    "Conv2D": (
        "filters, kernel_size, strides=(1, 1), padding='valid', data_format=None, "
        "dilation_rate=(1, 1), activation=None, use_bias=True, "
        "kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None, "
        "bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, "
        "bias_constraint=None"
    ),
    "BatchNormalization": (
        "axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True, "
        "beta_initializer='zeros', gamma_initializer='ones', moving_mean_initializer='zeros', "
        "moving_variance_initializer='ones', beta_regularizer=None, gamma_regularizer=None, "
        "beta_constraint=None, gamma_constraint=None"
    ),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", DECK)
def test_arguments_and_defaults_are_the_decks(name: str) -> None:
    deck = ast.parse(f"def layer({DECK[name]}): pass").body[0]
    assert isinstance(deck, ast.FunctionDef)
    arguments = [a.arg for a in deck.args.args]
    defaults = [inspect.Parameter.empty] * len(arguments)
    defaults[len(arguments) - len(deck.args.defaults) :] = map(ast.literal_eval, deck.args.defaults)
    parameters = inspect.signature(getattr(layers, name).__init__).parameters
    for argument, default in zip(arguments, defaults, strict=True):
        assert parameters[argument].default == default


CONFIGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Conv2D", {"filters": 7, "kernel_size": 3}),
    ("Conv2D", {"filters": 8, "kernel_size": (2, 5), "strides": (2, 3), "padding": "same"}),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "activation": "relu"}),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2, "use_bias": False}),
    ("Conv2D", {"filters": 5, "kernel_size": 3, "data_format": "channels_first"}),
    ("Conv2DTranspose", {"filters": 7, "kernel_size": 3}),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": 2, "strides": 3, "use_bias": False}),
    ("Conv2DTranspose", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}),
    (
        "Conv2DTranspose",
        {
            "filters": 5,
            "kernel_size": (4, 5),
            "strides": (2, 3),
            "padding": "same",
            "output_padding": (0, 2),
            "activation": "relu",
        },
    ),
    (
        "Conv2DTranspose",
        {
            "filters": 3,
            "kernel_size": (1, 4),
            "strides": (3, 2),
            "padding": "same",
            "output_padding": (2, 1),
        },
    ),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1}),
    ("Conv2DTranspose", {"filters": 6, "kernel_size": (3, 2), "dilation_rate": (2, 3)}),
    (
        "Conv2DTranspose",
        {
            "filters": 6,
            "kernel_size": 3,
            "dilation_rate": 2,
            "padding": "same",
            "data_format": "channels_first",
        },
    ),
    ("MaxPooling2D", {}),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("MaxPooling2D", {"pool_size": (2, 3), "data_format": "channels_first"}),
    ("AveragePooling2D", {"pool_size": 2}),
    ("AveragePooling2D", {"pool_size": 3, "strides": 2, "data_format": "channels_first"}),
    ("BatchNormalization", {}),
    ("BatchNormalization", {"axis": 1, "momentum": 0.5, "epsilon": 0.1}),
    ("BatchNormalization", {"center": False, "scale": False}),
    ("BatchNormalization", {"renorm": True}),
)


@pytest.mark.parametrize(("name", "config"), CONFIGS, ids=str)
def test_values_gradients_and_statistics_are_keras_own(name: str, config: dict[str, Any]) -> None:
    shape = (3, 6, 9, 8) if config.get("data_format") == "channels_first" else (3, 9, 8, 6)
    mine, theirs = getattr(layers, name)(**config), getattr(keras.layers, name)(**config)
    for layer in (theirs, mine):
        layer.build(shape)
    start = [w + 0.1 * data(*w.shape, seed=3) for w in theirs.get_weights()]
    results = []
    for layer in (theirs, mine):
        layer.set_weights(start)
        x = torch.tensor(data(*shape), requires_grad=True)
        training = {"training": True} if name == "BatchNormalization" else {}
        y = layer(x, **training)
        dy = torch.tensor(data(*y.shape, seed=1))
        variables = [v.value for v in layer.trainable_variables]
        grads = torch.autograd.grad(y, [x, *variables], dy)
        after = layer(x).detach() if training else y.detach()
        results.append((y.detach(), *grads, after, *layer.get_weights()))
        assert tuple(y.shape) == tuple(layer.compute_output_shape(shape))
    for want, got in zip(*results, strict=True):
        assert error(got, want) < 2e-5


@pytest.mark.parametrize(("pool", "strides"), [((3, 2), 1), ((2, 5), (3, 2)), ((4, 3), 3)])
def test_average_pooling_same_counts_real_cells_only(pool: Any, strides: Any) -> None:
    # Keras says so, and its JAX backend does it. Its torch backend (3.15) copies the border into
    # the padding instead, so JAX is the oracle here.
    x, one = data(2, 7, 9, 3), (strides, strides) if isinstance(strides, int) else strides
    window = (1, *pool, 1), (1, *one, 1), "SAME"
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, *window)
    count = jax.lax.reduce_window(np.ones_like(x), 0.0, jax.lax.add, *window)
    got = layers.AveragePooling2D(pool, strides=strides, padding="same")(x)
    assert error(got, np.array(total / count)) < 1e-6


def test_a_mask_is_keras_business() -> None:
    mask = torch.arange(8) < 5
    x = torch.tensor(data(3, 8, 4))
    results = [
        layer()(x, training=True, mask=mask.expand(3, 8))
        for layer in (layers.BatchNormalization, keras.layers.BatchNormalization)
    ]
    assert error(results[0].detach(), results[1].detach()) < 1e-6


def test_a_frozen_layer_uses_and_keeps_its_moving_statistics() -> None:
    layer = layers.BatchNormalization()
    layer.build((2, 4, 4, 3))
    layer.trainable = False
    before = layer.get_weights()
    x = data(2, 4, 4, 3)
    assert error(layer(x, training=True), torch.tensor(x) / np.sqrt(1.001)) < 1e-6
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def network(kind: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            kind.Conv2D(8, 3, padding="same", use_bias=False),
            kind.BatchNormalization(),
            keras.layers.ReLU(),
            kind.MaxPooling2D(),
            kind.Conv2D(4, 3, strides=2),
            kind.AveragePooling2D(2),
            kind.Conv2DTranspose(4, 3, strides=2, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def test_fit_trains_as_keras_own_layers_do(tmp_path: Path) -> None:
    x, y = data(64, 12, 12, 3), np.arange(64) % 3
    histories = []
    for kind in (layers, keras.layers):
        keras.utils.set_random_seed(0)
        model = network(kind)
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        histories.append(model.fit(x, y, epochs=4, verbose=0).history["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4)
    assert histories[0][-1] < histories[0][0]


def test_a_saved_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model, x = network(layers), data(5, 12, 12, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [type(a) for a in again.layers] == [type(a) for a in model.layers]
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_half_precision_is_keras_own() -> None:
    for policy in ("mixed_float16", "float64"):
        x = data(2, 8, 8, 4)
        results = []
        for kind in (layers, keras.layers):
            keras.utils.set_random_seed(0)
            conv, norm = kind.Conv2D(3, 3, dtype=policy), kind.BatchNormalization(dtype=policy)
            results.append(norm(conv(x), training=True).detach())
        assert results[0].dtype == results[1].dtype
        assert error(results[0], results[1]) < (1e-2 if "16" in policy else 1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_transposed_convolution_is_keras_own_at_every_stride_and_output_padding(
    kernel: int, padding: str
) -> None:
    x = data(2, 3, 4, 3)
    extras: list[tuple[int, int | None]] = [(s, e) for s in (1, 2, 3, 6) for e in (None, *range(s))]
    for strides, extra in extras:
        config = {"kernel_size": kernel, "strides": strides, "output_padding": extra}
        both = [
            kind.Conv2DTranspose(4, padding=padding, **config) for kind in (layers, keras.layers)
        ]
        for layer in both:
            layer.build(x.shape)
        both[0].set_weights(both[1].get_weights())
        mine, theirs = (layer(x).detach() for layer in both)
        assert error(mine, theirs) < 1e-6, config


def test_another_backend_is_refused_with_the_fix() -> None:
    code = "import convscape.layers.keras"
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Keras on its torch backend; got backend 'jax'" in done.stderr
    assert "KERAS_BACKEND" in done.stderr


def test_the_examples_run() -> None:
    result = doctest.testmod(layers, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0
