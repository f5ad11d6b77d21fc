"""Every contestant there is for a single op, one row each."""

from collections.abc import Callable
from functools import partial

from convscape.bench.measure import Contestant
from convscape.bench.peers import torch_peers
from convscape.bench.peers.common import Settings, Unable
from convscape.bench.peers.jax_peer import jax_peer
from convscape.bench.peers.onnx_peers import onnx_runtime, openvino
from convscape.bench.work import ANY, LAST, NCHW, Work

Builder = Callable[[Settings], Contestant]

OURS = ("convscape", "convscape, NCHW")
"""Names that are no peers. The first is the one whose time is compared."""


def _keras(work: Work, settings: Settings) -> Contestant:
    raise Unable("measured as whole layers, in the suites layers and networks")


PEERS: dict[str, Callable[[Work, Settings], Contestant]] = {
    "convscape": torch_peers.ours,
    "convscape, NCHW": torch_peers.ours_nchw,
    "torch, NCHW": torch_peers.torch_nchw,
    "torch, channels-last": torch_peers.torch_last,
    "torch.compile": torch_peers.torch_compiled,
    "JAX": jax_peer,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
    "Keras on torch": _keras,
    "Keras on JAX": _keras,
}

_LAYOUTS = {
    "convscape, NCHW": (ANY,),
    "torch, NCHW": (ANY, NCHW),
    "torch, channels-last": (ANY, LAST),
}
"""Where a contestant that stands for a layout takes part; all others do everywhere."""


def builders(work: Work) -> dict[str, Builder]:
    """How the contestants of one op are made, by name."""
    return {
        name: partial(peer, work)
        for name, peer in PEERS.items()
        if work.layout in _LAYOUTS.get(name, (work.layout,))
    }
