"""The probes against closed forms and a slow double; and that they leave no trace."""

import os
import random

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from convscape.layers import keras as layers
from convscape.study.probe import Landscape, probe, smoothness
from convscape.study.state import Snapshot


def quadratic(matrix: np.ndarray, theta: np.ndarray) -> Landscape:
    """L(theta) = theta' A theta / 2 in float64."""
    a, start = torch.from_numpy(matrix), torch.from_numpy(theta)

    def landscape(displacement: torch.Tensor | None) -> tuple[float, torch.Tensor]:
        at = start if displacement is None else start + displacement
        return float(at @ a @ at / 2), a @ at

    return landscape


def test_on_a_quadratic_every_probe_has_its_closed_form() -> None:
    """With A symmetric: dg(s) = -s A g, so beta = |A g| / |g| whatever s is."""
    draw = np.random.default_rng(0)
    root = draw.normal(size=(6, 6))
    a, theta = root @ root.T, draw.normal(size=6)
    steps = (0.01, 0.02, 0.05)
    found = smoothness(quadratic(a, theta), steps)
    g = a @ theta
    curve = [(theta - s * g) @ a @ (theta - s * g) / 2 for s in steps]
    assert found.loss == pytest.approx(theta @ a @ theta / 2)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(g))
    assert found.beta == pytest.approx(np.linalg.norm(a @ g) / np.linalg.norm(g))
    assert found.predictiveness == pytest.approx(steps[-1] * np.linalg.norm(a @ g))
    assert found.relative_change == pytest.approx(found.predictiveness / np.linalg.norm(g))
    assert found.loss_range == pytest.approx(max(curve) - min(curve))


def test_along_an_eigenvector_beta_is_the_curvature_and_relative_change_has_no_scale() -> None:
    a = np.diag([5.0, 0.1])
    found = smoothness(quadratic(a, np.array([3.0, 0.0])), (0.1, 0.4))
    scaled = smoothness(quadratic(a, np.array([300.0, 0.0])), (0.1, 0.4))
    assert found.beta == pytest.approx(5)
    assert scaled.relative_change == pytest.approx(found.relative_change) == pytest.approx(2)


def test_a_value_that_is_not_finite_makes_the_maximum_infinite() -> None:
    def cliff(displacement: torch.Tensor | None) -> tuple[float, torch.Tensor]:
        edge = displacement is not None and float(displacement.abs().max()) > 0.15
        return (float("nan") if edge else 1.0), torch.tensor([float("nan") if edge else 1.0])

    found = smoothness(cliff, (0.1, 0.2, 0.05))
    assert found.loss_range == found.predictiveness == found.beta == float("inf")


def test_a_stationary_point_has_nothing_to_probe() -> None:
    found = smoothness(quadratic(np.eye(2), np.zeros(2)), (0.1, 1.0))
    assert found.beta == found.relative_change == found.loss_range == 0


def small_model(dropout: bool = False) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((5, 5, 2)),
            layers.Conv2D(3, 3, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            *([keras.layers.Dropout(0.5)] if dropout else []),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    return draw.normal(size=(7, 5, 5, 2)).astype(np.float32), draw.integers(0, 3, 7)


def array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.value.detach().numpy())


def slow_loss(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """The same network's training loss in float64, from the formulas."""
    kernel, gamma, beta, dense, bias = weights
    height, width = x.shape[1] - 2, x.shape[2] - 2
    conv = np.zeros((len(x), height, width, kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            conv += x[:, i : i + height, j : j + width].astype(np.float64) @ kernel[i, j]
    mean, var = conv.mean(axis=(0, 1, 2)), conv.var(axis=(0, 1, 2))
    hidden = np.maximum(gamma * (conv - mean) / np.sqrt(var + 1e-3) + beta, 0)
    logits = hidden.reshape(len(x), -1) @ dense + bias
    logits -= logits.max(axis=1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-logp[np.arange(len(y)), y].mean())


def slow_gradient(flat: np.ndarray, shapes: list[tuple[int, ...]], *xy: np.ndarray) -> np.ndarray:
    """Central differences of the slow loss."""
    gradient = np.zeros_like(flat)
    for i in range(len(flat)):
        shift = np.zeros_like(flat)
        shift[i] = 1e-6
        ends = [slow_loss(unflatten(flat + sign * shift, shapes), *xy) for sign in (1, -1)]
        gradient[i] = (ends[0] - ends[1]) / 2e-6
    return gradient


def unflatten(flat: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = np.split(flat, cuts)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def test_a_probed_network_agrees_with_finite_differences_in_float64() -> None:
    model, (x, y) = small_model(), batch()
    weights = [array(v).astype(np.float64) for v in model.trainable_variables]
    shapes = [w.shape for w in weights]
    flat = np.concatenate([w.ravel() for w in weights])
    steps = (0.05, 0.1, 0.4)
    found = probe(model, x, y, steps)
    g = slow_gradient(flat, shapes, x, y)
    assert found.loss == pytest.approx(slow_loss(weights, x, y), rel=1e-5)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(g), rel=1e-4)
    for s, loss, change in zip(steps, found.losses, found.changes, strict=True):
        moved = flat - s * g
        assert loss == pytest.approx(slow_loss(unflatten(moved, shapes), x, y), rel=1e-4)
        difference = np.linalg.norm(slow_gradient(moved, shapes, x, y) - g)
        assert change == pytest.approx(difference, rel=1e-3)


def everything(model: keras.Model) -> list[bytes]:
    """Bits of all weights, statistics, optimizer and random states."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    bits = [array(v).tobytes() for v in variables]
    bits += [torch.get_rng_state().numpy().tobytes(), repr(random.getstate()).encode()]
    return [*bits, repr(np.random.get_state()).encode()]  # noqa: NPY002


def test_a_probe_leaves_every_bit_as_it_was() -> None:
    model, (x, y) = small_model(dropout=True), batch()
    model.train_on_batch(x, y)  # the optimizer has momentum now, and the statistics have moved
    before = everything(model)
    probe(model, x, y, (0.05, 0.4))
    assert everything(model) == before
    model(x, training=True)  # what a probe does inside does leave traces
    assert everything(model) != before


def test_a_probe_that_fails_leaves_every_bit_as_it_was() -> None:
    model, (x, y) = small_model(), batch()
    before = everything(model)
    with pytest.raises(Exception, match=r"shape|size|batch"):
        probe(model, x, y[:3], (0.05, 0.4))
    assert everything(model) == before


def test_training_with_probes_ends_in_the_same_numbers_as_without() -> None:
    x, y = batch()
    ends = []
    for probed in (False, True):
        model = small_model(dropout=True)
        losses = []
        for _ in range(5):
            if probed:
                probe(model, x, y, (0.05, 0.4))
            losses.append(float(model.train_on_batch(x, y)))
        ends.append((losses, everything(model)))
    assert ends[0] == ends[1]


def test_the_noise_of_a_layer_is_the_same_at_every_point_of_a_probe() -> None:
    """With the draw frozen, tiny steps change the loss and gradient by tiny amounts."""
    model, (x, y) = small_model(dropout=True), batch()
    found = probe(model, x, y, (1e-7, 2e-7))
    assert found.relative_change < 1e-3
    assert found.loss_range < 1e-5


def test_a_snapshot_covers_the_global_generators() -> None:
    model = small_model()
    before = Snapshot(model)

    def drawn() -> list[float]:
        return [
            random.random(),
            float(np.random.rand()),  # noqa: NPY002
            float(torch.rand(())),
            float(keras.random.uniform(())),
        ]

    first = drawn()
    assert drawn() != first
    before.restore()
    assert drawn() == first
