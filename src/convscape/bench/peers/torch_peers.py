"""Ours and torch's: the same calls, on `convscape.ops` or on `torch.nn.functional`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscape import ops
from convscape.bench.measure import Contestant
from convscape.bench.peers.common import Settings, Unable
from convscape.bench.work import (
    ANY,
    LAST,
    NCHW,
    Work,
    function,
    has_constant_weight,
    torch_call,
)


def contestant(name: str, work: Work, layout: str, library: Any) -> Contestant:
    """The work in float32 and this memory order."""
    laid = work.to(torch.float32, layout)
    compute = function(laid, library)
    if library is ops and has_constant_weight(laid):
        weight = ops.ConstantWeight(laid.inputs[1])
        call = torch_call(laid, lambda x, _: compute(x, weight))
    else:
        call = torch_call(laid, compute)
    return Contestant(name, call, call)


def ours(work: Work, settings: Settings) -> Contestant:
    """`convscape.ops`, in the work's layout; channels-last where any will do."""
    return contestant("convscape", work, LAST if work.layout == ANY else work.layout, ops)


def ours_nchw(work: Work, settings: Settings) -> Contestant:
    """`convscape.ops` on NCHW data, where the main contestant is given channels-last."""
    return contestant("convscape, NCHW", work, NCHW, ops)


def torch_nchw(work: Work, settings: Settings) -> Contestant:
    """Torch on NCHW data."""
    return contestant("torch, NCHW", work, NCHW, functional)


def torch_last(work: Work, settings: Settings) -> Contestant:
    """Torch on channels-last data."""
    return contestant("torch, channels-last", work, LAST, functional)


def torch_compiled(work: Work, settings: Settings) -> Contestant:
    """Torch's function through torch.compile."""
    laid = work.to(torch.float32, LAST if work.layout == ANY else work.layout)
    compute = function(laid, functional)
    if has_constant_weight(laid):
        frozen = compiled(_Layer(compute, laid.inputs[1]).eval(), settings, freezing=True)
        call = torch_call(laid, lambda x, _: frozen(x))
    else:
        call = torch_call(laid, compiled(compute, settings))
    return Contestant("torch.compile", call, call)


class _Layer(nn.Module):
    """A function of an input and a weight, as a module that has the weight."""

    def __init__(self, compute: Callable[..., Tensor], weight: Tensor) -> None:
        super().__init__()
        self.compute = compute
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, self.weight)


def compiled(
    target: Callable[..., Any], settings: Settings, freezing: bool = False
) -> Callable[..., Any]:
    """A function or module through torch.compile; `freezing` arranges its weights beforehand."""
    if not settings.compiled:
        raise Unable("left out by --quick: it compiles for seconds a case")
    import torch._functorch.config as functorch

    functorch.donated_buffer = False  # so that a graph can be gone through more than once
    torch._dynamo.reset()  # its limit of recompilations is one of a session
    result: Callable[..., Any] = torch.compile(
        target, dynamic=False, options={"freezing": freezing}
    )
    return result
