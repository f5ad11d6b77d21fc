"""How long a network of a thousand layers takes to trace: our own time, without any framework.

Run: python -m benchmarks.trace_network [layers]

A residual network is traced from a Keras configuration (plain dictionaries, as a .keras file
holds), which is parsed, sized, costed and given its receptive fields; then memory and all findings.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from convscape.arithmetic.findings import check
from convscape.arithmetic.memory import memory
from convscape.arithmetic.network import Network
from convscape.readers.keras import read_config

REPEATS = 15


def layer(kind: str, name: str, inputs: list[str], **config: Any) -> dict[str, Any]:
    """One layer as Keras writes it."""
    history = [{"class_name": "__keras_tensor__", "config": {"keras_history": [i, 0, 0]}}
               for i in inputs]  # fmt: skip
    args: list[Any] = [history] if len(history) > 1 else history
    calls = [{"args": args, "kwargs": {}}] if inputs else []
    return {
        "module": "keras.layers", "class_name": kind, "name": name,
        "config": {"name": name, **config}, "inbound_nodes": calls,
    }  # fmt: skip


def residual_network(count: int) -> dict[str, Any]:
    """The configuration of a residual network of this many layers, in four stages."""
    layers = [layer("InputLayer", "input", [], batch_shape=[None, 224, 224, 3])]
    last, block = "input", 0
    while len(layers) <= count - 5:
        stride = 2 if block and block % (count // 20) == 0 and block < 4 * (count // 20) else 1
        b = f"b{block}"
        filters = {"filters": 64, "padding": "same", "use_bias": False}
        layers += [
            layer(
                "Conv2D", f"{b}_conv", [last], kernel_size=[3, 3], strides=[stride] * 2, **filters
            ),
            layer("BatchNormalization", f"{b}_bn", [f"{b}_conv"]),
            layer("ReLU", f"{b}_relu", [f"{b}_bn"]),
            layer("Conv2D", f"{b}_conv2", [f"{b}_relu"], kernel_size=[3, 3], **filters),
        ]
        last = f"{b}_conv2"
        if block and stride == 1:
            layers.append(layer("Add", f"{b}_add", [last, f"b{block - 1}_out"]))
            last = f"{b}_add"
        layers.append(layer("ReLU", f"{b}_out", [last]))
        last = f"{b}_out"
        block += 1
    return {
        "name": "residual", "layers": layers,
        "input_layers": ["input", 0, 0], "output_layers": [last, 0, 0],
    }  # fmt: skip


def timed(function: Callable[[], Any]) -> str:
    function()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    spread = f"{1e3 * seconds[0]:.1f} to {1e3 * seconds[-1]:.1f}"
    return f"{1e3 * statistics.median(seconds):.1f} ms ({spread}, {REPEATS} runs)"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    config = residual_network(count)

    def trace() -> Network:
        return read_config(config)

    network = trace()
    # Correct first: the sizes and the field that the arithmetic of the stack gives by hand.
    assert network.totals.unknown == 0
    convs = [n for n in network.nodes if n.op == "conv"]
    jump, size = 1, 1
    for node in convs:
        size += 2 * jump
        assert node.geometry is not None
        jump *= node.geometry.windows[0].stride
    assert network.receptive_field(convs[-1]) == (size, size), "the field of the longest path"
    print(f"{len(network.layers)} layers, {len(convs)} convolutions, field {size}, jump {jump}")
    print(f"trace    {timed(trace)}")
    print(f"memory   {timed(lambda: memory(network))}")
    print(f"findings {timed(lambda: check(network))}")


if __name__ == "__main__":
    main()
