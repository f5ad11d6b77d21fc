"""What one run does: the pairing of the arms, what it records, and how it diverges."""

import doctest
import importlib
import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscape.layers import keras as layers
from convscape.study import model as network
from convscape.study.config import ARMS, Arm, Config, Run
from convscape.study.data import Dataset, load
from convscape.study.experiments.landscape import batch_order, perform
from tests.study_support import TINY, write_npz


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = write_npz(tmp_path_factory.mktemp("data"))
    return load(replace(TINY, data=str(path)))


def train(run: Run, config: Config, data: Dataset) -> dict[str, Any]:
    return perform(run, config, data, lambda news: None)


def test_both_arms_start_with_the_same_kernels_and_see_the_same_order(data: Dataset) -> None:
    runs = (Run("plain", 0.1, 0), Run("batchnorm", 0.5, 0), Run("plain", 0.1, 1))
    records = {(run.arm, run.seed): train(run, TINY, data) for run in runs}
    for name in ("initial_weights_sha256", "data_order_sha256"):
        assert records["plain", 0][name] == records["batchnorm", 0][name]
        assert records["plain", 0][name] != records["plain", 1][name]


def test_the_arms_differ_in_normalization_and_bias_alone() -> None:
    plain, normalized = (network.build(Config(), arm, (8, 8, 1), 10, 0) for arm in ARMS)
    kinds = [type(layer) for layer in normalized.layers]
    assert kinds.count(layers.BatchNormalization) == kinds.count(layers.Conv2D) == 7
    rest = [kind for kind in kinds if kind is not layers.BatchNormalization]
    assert rest == [type(layer) for layer in plain.layers]
    for one, other in zip(convolutions(plain), convolutions(normalized), strict=True):
        assert np.array_equal(one.get_weights()[0], other.get_weights()[0])
        assert one.use_bias
        assert not other.use_bias


def convolutions(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


@pytest.mark.parametrize("image", [(1, 9, 2), (4, 4, 1), (33, 20, 3)])
def test_the_network_takes_any_image(image: tuple[int, int, int]) -> None:
    model = network.build(Config(), "batchnorm", image, 3, 0)
    assert model(np.zeros((2, *image), np.float32)).shape == (2, 3)


@settings(deadline=None, max_examples=50)
@given(
    images=st.integers(2, 40),
    size=st.integers(1, 40),
    steps=st.integers(1, 30),
    seed=st.integers(0, 2**40),
)
def test_within_an_epoch_no_image_comes_twice(
    images: int, size: int, steps: int, seed: int
) -> None:
    size = min(size, images)
    order = batch_order(images, size, steps, seed)
    assert order.shape == (steps, size)
    assert order.min() >= 0
    assert order.max() < images
    per_epoch = images // size
    for start in range(0, steps, per_epoch):
        epoch = order[start : start + per_epoch].ravel()
        assert len(set(epoch.tolist())) == len(epoch)
    assert np.array_equal(order, batch_order(images, size, steps, seed))


@pytest.mark.parametrize("arm", ARMS)
def test_the_recorded_loss_is_that_of_the_step_s_own_batch(arm: Arm, data: Dataset) -> None:
    record = train(Run(arm, 0.1, 0), replace(TINY, probe_every=1), data)
    assert len(record["losses"]) == len(record["probes"]) == TINY.steps
    probed = [found["loss"] for found in record["probes"]]
    np.testing.assert_allclose(record["losses"], probed, rtol=1e-6)


def test_a_run_with_probes_ends_in_the_very_numbers_of_one_without(data: Dataset) -> None:
    """Probed never but at the first step, against probed at every step."""
    for arm in ARMS:
        rare = train(Run(arm, 0.3, 2), replace(TINY, probe_every=10**6), data)
        often = train(Run(arm, 0.3, 2), replace(TINY, probe_every=1), data)
        assert len(often["probes"]) == TINY.steps > len(rare["probes"])
        for name in ("losses", "evaluations"):
            assert rare[name] == often[name]


def test_evaluations_are_in_inference_mode_and_frame_the_run(data: Dataset) -> None:
    record = train(Run("batchnorm", 0.1, 0), TINY, data)
    assert [e["step"] for e in record["evaluations"]] == [0, 3, 6]
    # Untrained moving statistics are 0 and 1: the loss of the untouched network shows their use.
    model = network.build(TINY, "batchnorm", (6, 6, 1), 3, 0)
    logits = np.asarray(model.predict_on_batch(data.test_x), np.float64)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), data.test_y]
    assert record["evaluations"][0]["test_loss"] == pytest.approx(expected.mean(), rel=1e-5)


def test_learning_shows_in_the_record(data: Dataset) -> None:
    config = replace(TINY, steps=60, evaluate_every=30)
    record = train(Run("batchnorm", 0.1, 0), config, data)
    assert record["evaluations"][-1]["test_accuracy"] > 0.9
    assert np.mean(record["losses"][-5:]) < 0.2 * record["losses"][0]


def test_a_loss_that_is_not_finite_is_recorded_as_divergence(data: Dataset) -> None:
    record = train(Run("plain", 1e30, 0), TINY, data)
    assert 0 < record["diverged_at"] <= TINY.steps
    assert all(np.isfinite(record["losses"]))
    assert len(record["losses"]) <= record["diverged_at"]
    assert record["probes"][0]["loss_range"] is None
    assert record["evaluations"][-1]["step"] <= record["diverged_at"]


def test_a_network_without_finite_logits_diverges_at_step_zero(data: Dataset) -> None:
    monster = replace(data, train_x=np.full_like(data.train_x, np.inf))
    record = train(Run("plain", 0.1, 0), TINY, monster)
    assert record["diverged_at"] == 0
    assert record["losses"] == record["evaluations"] == []


EXAMPLES = ["config", "data", "experiments.landscape", "probe", "sources", "state"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"convscape.study.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
