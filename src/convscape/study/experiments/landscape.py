"""The main experiment: one network, trained with SGD, watched by step.

What one run does is all here; which runs there are, and in which process, is the engine's affair.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convscape.study import model as network
from convscape.study.config import Config, Run
from convscape.study.data import Dataset, Images, Labels
from convscape.study.probe import Smoothness, probe

Tell = Callable[[dict[str, Any]], None]
Batches = NDArray[np.int64]

# Images of one inference call: bounds the memory of an evaluation.
CHUNK = 500


def perform(run: Run, config: Config, data: Dataset, tell: Tell) -> dict[str, Any]:
    """Train one network and record it.

    Before each training step, when their turn comes: an evaluation in inference mode of up to
    `evaluate_limit` images of each part, and a probe of the loss landscape on the very batch of
    the step. A loss that is not finite ends the run: that is a result, recorded as divergence.

    Args:
        run: The arm, learning rate and seed.
        config: The study's configuration.
        data: The data.
        tell: Called now and then with the step, loss and test accuracy.

    Returns:
        The record as JSON values (see docs/study.md); a number that is not finite is None.
    """
    keras.utils.set_random_seed(run.seed)
    model = network.build(config, run.arm, _image_shape(data), len(data.classes), seed=run.seed)
    model.compile(
        optimizer=keras.optimizers.SGD(run.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    order = batch_order(len(data.train_x), config.batch_size, config.steps, run.seed)
    record: dict[str, Any] = {
        "arm": run.arm,
        "learning_rate": run.learning_rate,
        "seed": run.seed,
        "initial_weights_sha256": network.shared_weights_digest(model),
        "data_order_sha256": hashlib.sha256(order.tobytes()).hexdigest(),
        "parameters": model.count_params(),
        "layers": network.describe(model),
        "diverged_at": None,
        "losses": [],
        "evaluations": [],
        "probes": [],
    }
    parts = _evaluated_parts(config, data)
    steps = [factor * run.learning_rate for factor in config.probe_factors]
    for step, batch in enumerate(order):
        if step % config.evaluate_every == 0:
            evaluation = _evaluation(model, step, parts)
            if evaluation is None:
                record["diverged_at"] = step
                break
            record["evaluations"].append(evaluation)
        x, y = data.train_x[batch], data.train_y[batch]
        regular = step % config.probe_every == 0
        if regular or (step < config.probe_early and step % 2 == 0):
            found = probe(model, x, y, steps)
            record["probes"].append({"step": step, "regular": regular, **_probe_record(found)})
        loss = float(model.train_on_batch(x, y))
        if not math.isfinite(loss):
            record["diverged_at"] = step
            break
        record["losses"].append(loss)
        if step % config.evaluate_every == 0:
            accuracy = record["evaluations"][-1]["test_accuracy"]
            tell({"step": step, "loss": loss, "accuracy": accuracy})
    else:
        evaluation = _evaluation(model, config.steps, parts)
        if evaluation is None:
            record["diverged_at"] = config.steps
        else:
            record["evaluations"].append(evaluation)
    return record


def batch_order(images: int, batch_size: int, steps: int, seed: int) -> Batches:
    """The images of each step: shuffled epochs, whole batches only.

    Args:
        images: Size of the training part.
        batch_size: At most `images`.
        steps: Number of batches.
        seed: The order depends on it and on nothing of the network.

    Returns:
        (steps, batch_size) indices; within an epoch none occurs twice.

    Example:
        >>> batch_order(5, 2, 3, seed=0).shape
        (3, 2)
    """
    # Not the seed alone: the weights' seeds are drawn from that one.
    epochs = _epochs(images, batch_size, np.random.default_rng([seed, 1]))
    return np.stack([next(epochs) for _ in range(steps)])


def _epochs(images: int, batch_size: int, random: np.random.Generator) -> Iterator[Batches]:
    while True:
        shuffled = random.permutation(images)
        for start in range(0, images - batch_size + 1, batch_size):
            yield shuffled[start : start + batch_size]


def _image_shape(data: Dataset) -> tuple[int, int, int]:
    height, width, channels = data.train_x.shape[1:]
    return height, width, channels


def _evaluated_parts(config: Config, data: Dataset) -> dict[str, tuple[Images, Labels]]:
    """The images that every evaluation of every run reads."""
    parts = {}
    for name, x, y in (
        ("train", data.train_x, data.train_y),
        ("test", data.test_x, data.test_y),
    ):
        chosen = np.random.default_rng(config.split_seed).permutation(len(x))
        chosen = np.sort(chosen[: config.evaluate_limit])
        parts[name] = (x[chosen], y[chosen])
    return parts


def _evaluation(
    model: Any, step: int, parts: dict[str, tuple[Images, Labels]]
) -> dict[str, float | int] | None:
    """Accuracy and mean cross-entropy of both parts in inference mode after `step` updates.

    None when the logits are not finite: the class of the largest of them would mean nothing.
    """
    found: dict[str, float | int] = {"step": step}
    for name, (x, y) in parts.items():
        chunks = [model.predict_on_batch(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
        logits = np.concatenate(chunks).astype(np.float64)
        if not np.isfinite(logits).all():
            return None
        top = logits.max(axis=1)
        logsum = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
        found[f"{name}_accuracy"] = float(np.mean(logits.argmax(axis=1) == y))
        found[f"{name}_loss"] = float(np.mean(logsum - logits[np.arange(len(y)), y]))
    return found


def _probe_record(found: Smoothness) -> dict[str, Any]:
    return {
        "loss": _finite(found.loss),
        "gradient_norm": _finite(found.gradient_norm),
        "losses": [_finite(value) for value in found.losses],
        "changes": [_finite(value) for value in found.changes],
        "loss_range": _finite(found.loss_range),
        "predictiveness": _finite(found.predictiveness),
        "beta": _finite(found.beta),
        "relative_change": _finite(found.relative_change),
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN or infinity; None stands for them."""
    return value if math.isfinite(value) else None
