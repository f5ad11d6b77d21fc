"""A task is one row of the result: a case in one direction, with everyone who takes part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from convscape.bench.measure import Contestant
from convscape.bench.peers import Settings, builders
from convscape.bench.shapes import Case, Conv, Norm, Pool, Whole
from convscape.bench.work import (
    ANY,
    DIRECTIONS,
    EPSILON,
    LAST,
    NCHW,
    STEP,
    exact,
    work_of,
)

Builder = Callable[[Settings], Contestant]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task's tensors are made: what remains is to compute.

    Args:
        exact: The result in float64.
        builders: How each contestant is made, by name.
        flops: Floating-point operations of the direct sum.
        bytes: Bytes that must be moved at least.
    """

    exact: tuple[Tensor, ...]
    builders: Mapping[str, Builder]
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be.

    Args:
        suite: The suite's name.
        case: What is measured.
        direction: Which computation of it.
        layout: How the data lies; "any" where each contestant takes it as it likes.
        tolerance: Largest error over the output's RMS that is taken for right.
        prepare: Makes the tensors.
    """

    suite: str
    case: Case
    direction: str
    layout: str
    tolerance: float
    prepare: Callable[[], Prepared]

    @property
    def name(self) -> str:
        """What `--only` looks into: suite/source/case/direction/layout."""
        parts = self.suite, self.case.source, self.case.name, self.direction, self.layout
        return "/".join(parts)


def tasks_of(suite: str, cases: Sequence[Case], batch: int | None = None) -> Iterator[Task]:
    """The tasks of a suite's cases.

    Args:
        suite: The suite's name.
        cases: Rows of its table.
        batch: Images, in place of each case's own number.
    """
    for given in cases:
        case = given if batch is None else replace(given, batch=batch)
        if isinstance(case, Whole):
            yield _whole(suite, case)
        elif suite == "layers":
            assert isinstance(case, Norm)
            yield Task(suite, case, STEP, LAST, 1e-4, partial(_layer, case))
        else:
            yield from _singles(suite, case)


def _singles(suite: str, case: Conv | Pool | Norm) -> Iterator[Task]:
    op = case.op if isinstance(case, Pool) else "norm" if isinstance(case, Norm) else "conv"
    for layout in (ANY,) if op == "conv" else (NCHW, LAST):
        for direction in DIRECTIONS[op]:
            prepare = partial(_single, case, direction, layout)
            yield Task(suite, case, direction, layout, 1e-4, prepare)


def _single(case: Conv | Pool | Norm, direction: str, layout: str) -> Prepared:
    work = work_of(case, direction, layout, case.batch)
    return Prepared(exact(work), builders(work), work.flops, work.bytes)


def _layer(case: Norm) -> Prepared:
    from convscape.bench.peers import keras_peers
    from convscape.bench.peers.keras_jobs import norm_data

    shape = (case.batch, case.side, case.side, case.c)
    x, dy, gamma, beta = (torch.from_numpy(a).double() for a in norm_data(shape))
    given = [t.requires_grad_() for t in (x, gamma, beta)]
    y = functional.batch_norm(
        given[0].permute(0, 3, 1, 2), None, None, given[1], given[2], True, 0.0, EPSILON
    )
    results = torch.autograd.grad(y, given, dy.permute(0, 3, 1, 2))
    # Forward: read twice, written once; backward: both read twice, one written.
    return Prepared(results, keras_peers.builders("norm_job", shape), 0, 8 * 4 * prod(shape))


def _whole(suite: str, case: Whole) -> Task:
    inference = case.job == "inference"
    layout = LAST if case.job.endswith("Keras") else ANY
    prepare = partial(_inference if inference else _training, case)
    return Task(suite, case, case.job, layout, 1e-3, prepare)


def _inference(case: Whole) -> Prepared:
    from convscape.bench import networks
    from convscape.bench.peers.network_peers import images, inference_builders

    model, x = networks.network(case.source), images(case.source, case.batch)
    with torch.inference_mode():
        results = (networks.network(case.source).double()(x.double()),)
    flops, moved = _cost(model, x)
    return Prepared(results, inference_builders(model, x), flops, moved)


def _training(case: Whole) -> Prepared:
    from convscape.bench import networks
    from convscape.bench.peers import keras_peers, network_peers

    in_keras = case.job.endswith("Keras")
    made = (
        keras_peers.builders("step_job", case.batch)
        if in_keras
        else network_peers.step_builders(case.batch)
    )
    x = network_peers.images(case.source, case.batch)
    flops, moved = _cost(networks.network(case.source), x)
    # Both gradients of a convolution cost as much as its forward pass.
    return Prepared(network_peers.exact_losses(case.batch), made, 3 * flops, 3 * moved)


def _cost(model: torch.nn.Module, x: Tensor) -> tuple[int, int]:
    """Operations of all convolutions and dense layers, and the bytes of all weights."""
    macs = 0
    shapes: list[tuple[torch.nn.Module, torch.Size]] = []

    def seen(module: torch.nn.Module, _: object, y: Tensor) -> None:
        shapes.append((module, y.shape))

    hooks = [m.register_forward_hook(seen) for m in model.modules()]
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    for module, shape in shapes:
        if isinstance(module, torch.nn.Conv2d):
            macs += shape.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            macs += shape.numel() * module.in_features
    weights = sum(p.numel() for p in model.parameters())
    return 2 * macs, 4 * weights
