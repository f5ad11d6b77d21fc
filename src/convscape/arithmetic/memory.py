"""Memory that a network's tensors take: for inference at its peak, and for training."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from convscape.arithmetic.network import ITEMSIZE, Network, Node

# What the backward pass of an operation needs: "x" its first input, "xs" all of them, "y" its
# output, "mask" a byte for each cell of the output, "index" an int64 for each. What is not listed
# needs nothing (sums, concatenations, reshapes). Checked against torch.autograd's saved tensors.
SAVED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "conv": ("x",), "conv_transpose": ("x",), "dense": ("x",),
        "batch_norm": ("x",), "layer_norm": ("x",), "group_norm": ("x",), "instance_norm": ("x",),
        "max_pool": ("x", "index"), "avg_pool": ("x",), "lp_pool": ("x", "y"),
        "relu": ("y",), "sigmoid": ("y",), "tanh": ("y",), "softmax": ("y",), "log_softmax": ("y",),
        "exp": ("y",), "sqrt": ("y",), "rsqrt": ("y",),
        "gelu": ("x",), "silu": ("x",), "hardswish": ("x",), "relu6": ("x",), "elu": ("y",),
        "leaky_relu": ("x",), "hardsigmoid": ("x",), "softplus": ("x",), "mish": ("x",),
        "prelu": ("x",), "selu": ("y",), "clamp": ("x",), "pow": ("x",), "abs": ("x",),
        "mul": ("xs",), "div": ("xs",), "matmul": ("xs",), "attention": ("xs", "y"),
        "dropout": ("mask",), "max": ("xs",), "min": ("xs",), "unknown": ("xs", "y"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a network's tensors; weights, workspace and the allocator's rounding come on top.

    Args:
        weights: Parameters and buffers.
        activations: Every tensor that an operation makes, once (views share memory).
        peak: The most that are alive at one time in inference: a tensor dies with its last use.
        peak_layer: Where that is.
        saved: What training keeps from the forward pass for the backward pass.
        training: Weights, their gradients and what is saved; an optimizer's state is on top.
    """

    weights: int
    activations: int
    peak: int
    peak_layer: str
    saved: int
    training: int


def memory(network: Network) -> Memory:
    """Memory of a network in its order of execution, for the batch that it was traced with.

    Inference: when an operation runs, its inputs, its output and every earlier tensor that is
    still to be read are alive. Training: each operation keeps what its derivative needs, as listed
    in `SAVED`; a tensor that several keep counts once.

    Example:
        >>> from convscape.arithmetic.builder import Builder
        >>> from convscape.arithmetic.window import Window
        >>> b = Builder("net")
        >>> x = b.input("x", (1, 8, 8, 8))
        >>> y = b.pool("p", "avg_pool", x, (Window(2, 2), Window(2, 2)), axes=(2, 3))
        >>> memory(b.network([y])).peak == 4 * (8 * 8 * 8 + 8 * 4 * 4)
        True
    """
    base = _bases(network)
    last = {b: i for i, b in enumerate(base)}
    for node in network.nodes:
        for before in node.inputs:
            last[base[before]] = max(last[base[before]], node.index)
    for output in network.outputs:
        last[base[output]] = len(base)
    dying: dict[int, list[int]] = {}
    for b, end in last.items():
        dying.setdefault(end, []).append(b)

    alive = peak = 0
    peak_layer = ""
    for node in network.nodes:
        if base[node.index] == node.index:
            alive += node.bytes
        if alive > peak:
            peak, peak_layer = alive, node.name
        alive -= sum(network.nodes[b].bytes for b in dying.get(node.index, ()))

    weights = network.totals.weight_bytes
    saved = _saved(network)
    gradients = 4 * network.totals.trainable
    made = [n for n in network.nodes if base[n.index] == n.index and n.op != "constant"]
    return Memory(
        weights,
        sum(n.bytes for n in made if n.op != "input"),
        peak,
        peak_layer,
        saved,
        weights + gradients + saved,
    )


def _bases(network: Network, training: bool = False) -> list[int]:
    """For each node, the node whose memory its tensor lies in; dropout copies in training only."""
    base: list[int] = []
    for node in network.nodes:
        view = node.view and node.inputs and not (training and node.op == "dropout")
        base.append(base[node.inputs[0]] if view else node.index)
    return base


def _saved(network: Network) -> int:
    base = _bases(network, training=True)
    kept: set[int] = set()
    extra = 0
    for node in network.nodes:
        for what in SAVED.get("unknown" if node.problem else node.op, ()):
            if what == "y":
                kept.add(base[node.index])
            elif what == "x":
                kept.update(base[i] for i in node.inputs[:1])
            elif what == "xs":
                kept.update(base[i] for i in node.inputs)
            elif not _disabled(node):
                extra += node.cells * ITEMSIZE["int64" if what == "index" else "bool"]
    return extra + sum(network.nodes[b].bytes for b in kept)


def _disabled(node: Node) -> bool:
    return node.op == "dropout" and node.settings.get("rate") == 0
