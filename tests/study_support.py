"""Made-up data and records for the tests of the study."""

from pathlib import Path
from typing import Any

import numpy as np

from convscape.study.config import Arm, Config

TINY = Config(
    seeds=1,
    steps=6,
    learning_rates=(0.1,),
    batch_size=8,
    evaluate_every=3,
    probe_every=3,
    probe_early=0,
    blocks=((3, 1), (4, 1)),
)


def write_npz(folder: Path, images: int = 48, side: int = 6) -> Path:
    """Three classes of stripes that a small network can tell apart."""
    random = np.random.default_rng(7)
    y = np.arange(images) % 3
    x = random.normal(0, 0.3, (images, side, side)).astype(np.float32)
    for label, image in zip(y, x, strict=True):
        image[label::3] += 1
    path = folder / "stripes.npz"
    np.savez(path, x=x, y=y)
    return path


def record(
    arm: Arm,
    rate: float,
    seed: int,
    accuracies: list[float],
    *,
    loss_ranges: list[float | None],
    losses: list[float] | None = None,
    diverged_at: int | None = None,
) -> dict[str, Any]:
    """A run that was evaluated and probed every 10 steps, with these results."""
    batch_losses = losses or [2.0**-i for i in range(len(loss_ranges))]
    return {
        "arm": arm,
        "learning_rate": rate,
        "seed": seed,
        "initial_weights_sha256": f"weights {seed}",
        "data_order_sha256": f"order {seed}",
        "parameters": 100,
        "layers": [{"class": "some.Conv2D", "output": [8, 8, 4], "weights": 40}],
        "diverged_at": diverged_at,
        "losses": [loss for loss in batch_losses for _ in range(10)],
        "evaluations": [
            {
                "step": 10 * i,
                "test_accuracy": accuracy,
                "train_accuracy": min(accuracy + 0.01, 1.0),
                "test_loss": 1.0,
                "train_loss": 1.0,
            }
            for i, accuracy in enumerate(accuracies)
        ],
        "probes": [
            {
                "step": 10 * i,
                "regular": True,
                "loss": loss,
                "gradient_norm": 1.0,
                "losses": [loss, None if found is None else loss + found],
                "changes": [0.1, 0.2],
                "loss_range": found,
                "predictiveness": found,
                "beta": found,
                "relative_change": found,
            }
            for i, (found, loss) in enumerate(zip(loss_ranges, batch_losses, strict=True))
        ],
        "seconds": 1.0,
    }
