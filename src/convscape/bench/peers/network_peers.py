"""Whole networks: the same torch module for every contestant."""

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscape.bench import networks
from convscape.bench.measure import Contestant
from convscape.bench.peers.common import Settings, need
from convscape.bench.peers.keras_jobs import RATE, STEPS, step_data
from convscape.bench.peers.onnx_peers import openvino_request, runtime_session
from convscape.bench.peers.torch_peers import compiled

Builder = Callable[[Settings], Contestant]


def images(name: str, batch: int) -> Tensor:
    """Random images of the network's size, (N, 3, side, side)."""
    side = networks.BUILDERS[name][1]
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def inference_builders(model: nn.Module, x: Tensor) -> dict[str, Builder]:
    """Contestants for a network in inference mode."""
    last: Any = {"memory_format": torch.channels_last}

    def torchs(name: str, module: nn.Module, data: Tensor, call: Any = None) -> Contestant:
        run = module if call is None else call

        def compute() -> tuple[Tensor, ...]:
            with torch.inference_mode():
                return (run(data),)

        return Contestant(name, compute, compute)

    def laid() -> tuple[nn.Module, Tensor]:
        return copy.deepcopy(model).to(**last), x.contiguous(**last)

    def ours(_: Settings) -> Contestant:
        return torchs("convscape", networks.ours(model), x.contiguous(**last))

    def channels_last(_: Settings) -> Contestant:
        return torchs("torch, channels-last", *laid())

    def compiles(settings: Settings) -> Contestant:
        module, data = laid()
        return torchs("torch.compile", module, data, compiled(module, settings))

    # One file for both runtimes; its folder goes when the task's contestants are gone.
    folder = tempfile.TemporaryDirectory(prefix="convscape-")
    file = Path(folder.name) / "model.onnx"

    def exported(
        use: Callable[[Path, Sequence[Tensor], Settings], Contestant], settings: Settings
    ) -> Any:
        if not file.exists():
            _export(model, x, file)
        return replace(use(file, (x,), settings), close=folder.cleanup)

    return {
        "convscape": ours,
        "torch, NCHW": lambda _: torchs("torch, NCHW", model, x),
        "torch, channels-last": channels_last,
        "torch.compile": compiles,
        "ONNX Runtime": lambda settings: exported(runtime_session, settings),
        "OpenVINO": lambda settings: exported(openvino_request, settings),
    }


def _export(model: nn.Module, x: Tensor, file: Path) -> None:
    need("onnx")
    need("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(model, (x,), file, dynamo=True, verbose=False, external_data=True)


def step_builders(batch: int) -> dict[str, Builder]:
    """Contestants for a training step of VGG-A, a plain torch loop with SGD."""

    def made(name: str, layout: Any, change: Callable[[nn.Module], Any]) -> Contestant:
        form: Any = {"memory_format": layout}
        run = change(networks.network("VGG-A", training=True).to(**form))
        call = training(run, batch, layout)
        return Contestant(
            name, call, lambda: (torch.tensor([float(call()) for _ in range(STEPS)]),)
        )

    plain, last = torch.contiguous_format, torch.channels_last
    return {
        "convscape": lambda _: made("convscape", last, networks.on_ops),
        "torch, NCHW": lambda _: made("torch, NCHW", plain, lambda m: m),
        "torch, channels-last": lambda _: made("torch, channels-last", last, lambda m: m),
        "torch.compile": lambda s: made("torch.compile", last, lambda m: compiled(m, s)),
    }


def training(
    model: nn.Module, batch: int, layout: Any, dtype: Any = torch.float32
) -> Callable[[], Tensor]:
    """A step that computes the loss, its gradients, and moves the weights."""
    pixels, classes = step_data(batch)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype).contiguous(memory_format=layout)
    y = torch.from_numpy(classes)
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss: Any = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        result: Tensor = loss.detach()
        return result

    return step


@cache
def exact_losses(batch: int) -> tuple[Tensor, ...]:
    """The losses of the first steps, in float64."""
    model = networks.network("VGG-A", training=True).double()
    step = training(model, batch, torch.contiguous_format, torch.float64)
    return (torch.stack([step() for _ in range(STEPS)]),)
