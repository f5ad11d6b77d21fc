"""The three smoothness probes of Santurkar et al. along the gradient, and their scale-free kin.

At weights theta, with g the gradient of the loss of one batch there, and for step lengths s:

- loss range: max - min over s of L(theta - s g)
- gradient predictiveness: max over s of d(s) = ||grad L(theta - s g) - g||
- effective beta-smoothness: max over s of d(s) / (s ||g||)
- relative change: max over s of d(s) / ||g||

The last one is ours: weights before batch normalization have no scale of their own (multiplying
them leaves the loss and divides the gradient), so that ||g|| and beta of two networks, or of two
moments, differ by scale alone; the relative change is blind to it.

Source: S. Santurkar, D. Tsipras, A. Ilyas and A. Madry, "How Does Batch Normalization Help
    Optimization?", arXiv 1805.11604, section 3.2 and figure 4.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from convscape.study.state import Snapshot

Landscape = Callable[[torch.Tensor | None], tuple[float, torch.Tensor]]
"""From a displacement of the weights, flat (None: none), to the loss and its flat gradient."""


@dataclass(frozen=True, slots=True)
class Smoothness:
    """What one probe found; where a value left the range of floats, its maximum is infinite.

    Args:
        loss: L(theta).
        gradient_norm: ||g||.
        losses: L(theta - s g) for each s.
        changes: ||grad L(theta - s g) - g|| for each s.
        steps: The step lengths s.
    """

    loss: float
    gradient_norm: float
    losses: tuple[float, ...]
    changes: tuple[float, ...]
    steps: tuple[float, ...]

    @property
    def loss_range(self) -> float:
        """Max - min over s of L(theta - s g)."""
        highest = _largest(self.losses)
        return highest - min(self.losses) if math.isfinite(highest) else math.inf

    @property
    def predictiveness(self) -> float:
        """Max over s of ||grad L(theta - s g) - g||; small when the gradient keeps its word."""
        return _largest(self.changes)

    @property
    def beta(self) -> float:
        """Max over s of ||grad L(theta - s g) - g|| / (s ||g||)."""
        return _largest(
            _quotient(change, s * self.gradient_norm)
            for change, s in zip(self.changes, self.steps, strict=True)
        )

    @property
    def relative_change(self) -> float:
        """Max over s of ||grad L(theta - s g) - g|| / ||g||."""
        return _quotient(self.predictiveness, self.gradient_norm)


def smoothness(landscape: Landscape, steps: Sequence[float]) -> Smoothness:
    """Probe a landscape along its gradient.

    Args:
        landscape: Gives the loss and the flat gradient at a displacement.
        steps: The step lengths s, absolute (a multiple of the learning rate as a rule).

    Returns:
        What was found, one loss and one change of the gradient for each step length.

    Example:
        >>> def bowl(displacement):  # L = 3 |theta|^2 / 2 at theta = (2, 0): curvature 3
        ...     theta = torch.tensor([2.0, 0.0]) + (0 if displacement is None else displacement)
        ...     return float(1.5 * theta @ theta), 3 * theta
        >>> smoothness(bowl, [0.05, 0.1]).beta  # doctest: +ELLIPSIS
        3.0000...
    """
    loss, gradient = landscape(None)
    losses, changes = [], []
    for step in steps:
        moved_loss, moved_gradient = landscape(-step * gradient)
        losses.append(moved_loss)
        changes.append(_norm(moved_gradient - gradient))
    return Smoothness(loss, _norm(gradient), tuple(losses), tuple(changes), tuple(steps))


def probe(model: Any, x: Any, y: Any, steps: Sequence[float]) -> Smoothness:
    """Probe a Keras model on one batch in training mode, and leave no trace.

    Batch normalization uses the batch's statistics, as it does in the training step; the running
    statistics, the weights, the optimizer and every random state are put back bit for bit. Each
    evaluation starts from the same state, so that dropout or noise draws the same numbers at
    every s.

    Args:
        model: A compiled Keras model on the torch backend.
        x: Images of the batch, (n, height, width, channels).
        y: Their labels, (n,).
        steps: The step lengths s.

    Returns:
        What was found.
    """
    before = Snapshot(model)
    parameters = [variable.value for variable in model.trainable_variables]
    sizes = [parameter.numel() for parameter in parameters]

    def landscape(displacement: torch.Tensor | None) -> tuple[float, torch.Tensor]:
        before.restore()
        if displacement is not None:
            with torch.no_grad():
                parts = torch.split(displacement, sizes)
                for parameter, part in zip(parameters, parts, strict=True):
                    parameter.add_(part.view_as(parameter))
        # The objective of the training step itself, penalties included.
        loss = model.compute_loss(x, y, model(x, training=True), training=True)
        gradients = torch.autograd.grad(loss, parameters)
        return loss.item(), torch.cat([gradient.reshape(-1) for gradient in gradients])

    try:
        return smoothness(landscape, steps)
    finally:
        before.restore()


def _norm(vector: torch.Tensor) -> float:
    """The Euclidean norm, summed in float64: a network has many small gradients."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def _largest(values: Iterable[float]) -> float:
    """The maximum; infinite when a value is not a number, which `max` would pass over."""
    return max(value if math.isfinite(value) else math.inf for value in values)


def _quotient(change: float, scale: float) -> float:
    """Change over scale; at a stationary point (0 / 0) nothing changes along g, which is 0."""
    if scale == 0:
        return 0.0 if change == 0 else math.inf
    return change / scale
