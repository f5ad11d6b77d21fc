"""Ours and torch's: the same calls, on `convscape.ops` or on `torch.nn.functional`."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from convscape import ops
from convscape.bench.measure import Contestant
from convscape.bench.peers.common import Settings, Unable
from convscape.bench.work import ANY, LAST, NCHW, Work, function, torch_call


def contestant(name: str, work: Work, layout: str, library: Any) -> Contestant:
    """The work in float32 and this memory order."""
    laid = work.to(torch.float32, layout)
    call = torch_call(laid, function(laid, library))
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
    call = torch_call(laid, compiled(function(laid, functional), settings))
    return Contestant("torch.compile", call, call)


def compiled(target: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """A function or module through torch.compile."""
    if not settings.compiled:
        raise Unable("left out by --quick: it compiles for seconds a case")
    import torch._functorch.config as functorch

    functorch.donated_buffer = False  # so that a graph can be gone through more than once
    torch._dynamo.reset()  # its limit of recompilations is one of a session
    result: Callable[..., Any] = torch.compile(target, dynamic=False)
    return result
