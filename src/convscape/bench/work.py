"""One op on given tensors, in one direction: what every contestant is asked to compute."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convscape.bench.shapes import Conv, Norm, Pool

KINK = 1e-4
"""Distance from zero within which ReLU's mask is a matter of rounding."""

EPSILON = 1e-5

FORWARD, BACKWARD, INFERENCE = "forward", "backward", "inference"
INPUT, WEIGHT = "input gradient", "weight gradient"
STEP = "step"
ANY, NCHW, LAST = "any", "NCHW", "channels-last"

# In inference a convolution's weight is constant; forward, it comes with every call.
DIRECTIONS = {
    "conv": (FORWARD, INFERENCE, INPUT, WEIGHT),
    "max_pool": (FORWARD, BACKWARD),
    "avg_pool": (FORWARD, BACKWARD),
    "norm": (FORWARD, BACKWARD, INFERENCE),
}


@dataclass(frozen=True, eq=False, slots=True)
class Work:
    """What is to be computed.

    Args:
        op: "conv", "max_pool", "avg_pool" or "norm" (batch normalization and ReLU).
        direction: One of `DIRECTIONS[op]`.
        layout: "NCHW", "channels-last", or "any" where a contestant may take the data as it likes.
        inputs: The input, and what else there is: weight; or gamma, beta, running mean, variance.
        dy: The output's gradient.
        kernel: Kernel cells.
        stride: Steps.
        padding: Zeros at both ends of each axis.
        groups: Channel groups.
    """

    op: str
    direction: str
    layout: str
    inputs: tuple[Tensor, ...]
    dy: Tensor
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def flops(self) -> int:
        """Floating-point operations of the direct sum; 0 where moving the data is the work."""
        if self.op != "conv":
            return 0
        return 2 * self.dy.numel() * prod(self.inputs[1].shape[1:])

    @property
    def bytes(self) -> int:
        """Bytes that must be read and written at least, each once."""
        x, y = self.inputs[0].numel(), self.dy.numel()
        if self.op == "norm":
            # Training needs the statistics before it can normalize, the gradient its sums: twice.
            cells = {FORWARD: 3 * x, INFERENCE: 2 * x, BACKWARD: 5 * x}[self.direction]
        else:
            cells = x + y + (self.inputs[1].numel() if self.op == "conv" else 0)
        return 4 * cells

    def to(self, dtype: torch.dtype, layout: str) -> "Work":
        """The same in another type and memory order."""
        form = torch.channels_last if layout == LAST else torch.contiguous_format

        def laid(t: Tensor) -> Tensor:
            moved = t.to(dtype)
            return moved.contiguous(memory_format=form) if t.dim() == 4 else moved

        return replace(self, inputs=tuple(map(laid, self.inputs)), dy=laid(self.dy))

    @property
    def wanted(self) -> tuple[int, ...]:
        """Positions of the inputs whose gradients are the result; none in the forward direction."""
        if self.op == "norm" and self.direction == BACKWARD:
            return (0, 1, 2)
        return {INPUT: (0,), WEIGHT: (1,), BACKWARD: (0,)}.get(self.direction, ())


def work_of(case: Conv | Pool | Norm, direction: str, layout: str, batch: int) -> Work:
    """The tensors of a case, random by a fixed seed, in NCHW and float32."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    x = random(batch, case.c, case.side, case.side)
    if isinstance(case, Norm):
        gamma, beta, mean = (random(case.c) for _ in range(3))
        given = (x, gamma, beta, mean, random(case.c).square() + 0.5)
        # Whether a value at ReLU's kink is let through is decided by rounding: nobody is asked.
        z = functional.batch_norm(x.double(), None, None, gamma.double(), beta.double(), True)
        dy = random(*x.shape).masked_fill(z.abs() < KINK, 0)
        return Work("norm", direction, layout, given, dy)
    if isinstance(case, Pool):
        kernel, padding = (case.kernel,) * 2, (case.padding,) * 2
        k, op, groups = case.c, case.op, 1
        inputs: tuple[Tensor, ...] = (x,)
    else:
        kernel, padding, k, op, groups = case.kernel, case.padding, case.k, "conv", case.groups
        fan = case.c // groups * prod(kernel)
        inputs = (x, random(k, case.c // groups, *kernel) / fan**0.5)
    sides = [
        (case.side + 2 * p - n) // case.stride + 1 for n, p in zip(kernel, padding, strict=True)
    ]
    dy = random(batch, k, *sides)
    return Work(op, direction, layout, inputs, dy, kernel, case.stride, padding, groups)


def has_constant_weight(work: Work) -> bool:
    """Whether a contestant may arrange a convolution's weight before it is timed."""
    return work.op == "conv" and work.direction == INFERENCE


def function(work: Work, library: Any, **options: Any) -> Callable[..., Tensor]:
    """The forward function of the work's inputs, in a library spelled as `torch.nn.functional`."""
    if work.op == "conv":
        return lambda x, w: library.conv2d(
            x, w, None, work.stride, work.padding, 1, work.groups, **options
        )
    if work.op == "max_pool":
        return lambda x: library.max_pool2d(x, work.kernel, work.stride, work.padding, **options)
    if work.op == "avg_pool":
        return lambda x: library.avg_pool2d(x, work.kernel, work.stride, work.padding, **options)
    training = work.direction != INFERENCE

    def norm(x: Tensor, g: Tensor, b: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        running = (None, None) if training else (mean, var)
        given = (x, *running, g, b, training, 0.1, EPSILON)
        if library is functional:
            return torch.relu(functional.batch_norm(*given, **options))
        y: Tensor = library.batch_norm(*given, relu=True, **options)  # what we have fused, as one
        return y

    return norm


def torch_call(work: Work, compute: Callable[..., Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    """A call that computes the work with a differentiable torch function.

    A gradient is taken from a graph that was built once and is kept, so its forward pass is not
    in the time.
    """
    if not work.wanted:

        def forward() -> tuple[Tensor, ...]:
            with torch.no_grad():
                return (compute(*work.inputs),)

        return forward
    inputs = [t.detach().requires_grad_(i in work.wanted) for i, t in enumerate(work.inputs)]
    y = compute(*inputs)
    wanted = [inputs[i] for i in work.wanted]
    return lambda: torch.autograd.grad(y, wanted, work.dy, retain_graph=True)


def exact(work: Work) -> tuple[Tensor, ...]:
    """The reference: torch in float64."""
    wide = work.to(torch.float64, NCHW)
    return torch_call(wide, function(wide, functional))()
