"""ONNX files: shapes against onnx's inference and ONNX Runtime, and files that run nothing."""

import builtins
import subprocess
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from convscape.arithmetic import InputError
from convscape.readers import trace


def small_resnet() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 1, 2])
            self.model: Any = ResNetForImageClassification(config)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.model(x).logits
            return out

    torch.manual_seed(0)
    model = Logits().eval()
    for parameter in model.parameters():  # equal weights would be stored once
        nn.init.normal_(parameter)
    return model


@pytest.fixture(scope="module", params=["dynamo", "legacy"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    options: dict[str, Any] = (
        {"dynamo": True, "external_data": False, "verbose": False}
        if request.param == "dynamo"
        else {
            "dynamo": False,
            "do_constant_folding": False,
            "training": torch.onnx.TrainingMode.EVAL,
        }
    )
    torch.onnx.export(small_resnet(), (torch.zeros(1, 3, 64, 96),), path, **options)
    return path


@pytest.mark.filterwarnings("ignore")
def test_every_layer_of_an_export_agrees_with_onnx_inference(exported: Path) -> None:
    model = onnx.load(exported)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    wanted = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*inferred.graph.value_info, *inferred.graph.output)
    }
    named = {(n.name or n.output[0]): n.output[0] for n in model.graph.node}
    network = trace(exported)
    assert network.totals.unknown == 0
    for node in network.layers:
        assert node.shape == wanted[named[node.name]], node.name
    assert len(network.layers) > 30
    stored = sum(prod(t.dims) for t in model.graph.initializer
                 if t.data_type == TensorProto.FLOAT and t.dims)  # fmt: skip
    assert network.totals.params + network.totals.buffers == stored


@pytest.mark.filterwarnings("ignore")
def test_an_export_has_the_macs_and_field_of_its_model(exported: Path) -> None:
    network, original = trace(exported), trace(small_resnet(), (3, 64, 96))
    assert network.totals.macs == original.totals.macs
    maps = [[n for n in net.layers if n.op == "conv"][-1] for net in (network, original)]
    assert network.receptive_field(maps[0]) == original.receptive_field(maps[1])


def build(
    path: Path, nodes: list[Any], shape: list[Any],
    weights: Mapping[str, tuple[int, ...]] | None = None,
    numbers: Mapping[str, list[int]] | None = None, opset: int = 22,
) -> Path:  # fmt: skip
    """A file with these nodes from x to y, random weights and integer constants."""
    rng = np.random.default_rng(0)
    held = [numpy_helper.from_array(rng.standard_normal(s, dtype=np.float32), n)
            for n, s in (weights or {}).items()]  # fmt: skip
    held += [numpy_helper.from_array(np.array(v, dtype=np.int64), n)
             for n, v in (numbers or {}).items()]  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [x], [y], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def node(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


ZOO: list[tuple[Any, dict[str, tuple[int, ...]], dict[str, list[int]]]] = [
    (node("Conv", "w", pads=[1, 0, 2, 1], strides=[2, 1]), {"w": (6, 4, 3, 2)}, {}),
    (node("Conv", "w", "b", group=2, dilations=[2, 1]), {"w": (6, 2, 3, 2), "b": (6,)}, {}),
    (node("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 3]), {"w": (6, 4, 3, 4)}, {}),
    (node("ConvTranspose", "w", strides=[2, 3], output_padding=[1, 0], pads=[1, 0, 0, 1]),
     {"w": (4, 3, 3, 2)}, {}),
    (node("ConvTranspose", "w", strides=[2, 2], auto_pad="SAME_UPPER"), {"w": (4, 3, 3, 3)}, {}),
    (node("ConvTranspose", "w", strides=[2, 2], output_shape=[26, 23]), {"w": (4, 3, 3, 3)}, {}),
    (node("ConvTranspose", "w", group=2, dilations=[2, 2]), {"w": (4, 3, 3, 3)}, {}),
    (node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), {}, {}),
    (node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"), {}, {}),
    (node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}, {}),
    (node("GlobalAveragePool"), {}, {}),
    (node("BatchNormalization", "g", "b", "m", "v"),
     {"g": (4,), "b": (4,), "m": (4,), "v": (4,)}, {}),
    (node("InstanceNormalization", "g", "b"), {"g": (4,), "b": (4,)}, {}),
    (node("LayerNormalization", "g", axis=-2), {"g": (13, 11)}, {}),
    (node("Pad", "p"), {}, {"p": [0, 0, 1, 2, 0, 0, 3, 0]}),
    (node("Slice", "s", "e", "a", "t"), {},
     {"s": [1, -2], "e": [12, 0], "a": [2, 3], "t": [3, -2]}),
    (node("Reshape", "s"), {}, {"s": [0, -1, 11]}),
    (node("Flatten", axis=2), {}, {}),
    (node("Transpose", perm=[0, 2, 3, 1]), {}, {}),
    (node("Unsqueeze", "a"), {}, {"a": [0, 3]}),
    (node("ReduceMean", "a", keepdims=0), {}, {"a": [2, 3]}),
    (node("Resize", "", "", "s", mode="linear"), {}, {"s": [1, 4, 26, 33]}),
    (node("Expand", "s"), {}, {"s": [2, 1, 1, 1, 1]}),
    (node("Softmax", axis=1), {}, {}),
    (node("DepthToSpace", blocksize=2), {}, {}),
    (node("Gather", "i", axis=1), {}, {"i": 2}),  # type: ignore[dict-item]
    (node("MatMul", "w"), {"w": (11, 5)}, {}),
    (node("Clip"), {}, {}),
    (node("PRelu", "w"), {"w": (4, 1, 1)}, {}),
]  # fmt: skip


@pytest.mark.parametrize("case", ZOO, ids=lambda c: c[0].op_type)
def test_every_rule_agrees_with_onnx_runtime(tmp_path: Path, case: Any) -> None:
    made, weights, numbers = case
    path = build(tmp_path / "net.onnx", [made], [1, 4, 13, 11], weights, numbers)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    (wanted,) = session.run(None, {"x": np.ones((1, 4, 13, 11), np.float32)})
    network = trace(path)
    last = network.nodes[network.outputs[0]]
    assert last.problem == ""
    assert last.shape == wanted.shape
    assert network.totals.params + network.totals.buffers == sum(map(prod, weights.values()))


def test_shapes_that_the_graph_computes_are_worked_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "first"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    numbers: dict[str, Any] = {"zero": 0, "first": [0], "rest": [-1, 6]}
    path = build(tmp_path / "net.onnx", nodes, ["batch", 4, 9], numbers=numbers)
    network = trace(path, batch=5)
    assert network.nodes[-1].shape == (5, 6, 6)
    assert len(network.layers) == 1


def test_an_unknown_operator_is_named_and_the_rest_is_traced(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Evil", ["x"], ["a"], domain="com.example"),
        helper.make_node("NonZero", ["x"], ["b"]),
        helper.make_node("Relu", ["x"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"], pads=[1, 1], auto_pad="SAME_UPPER"),
    ]
    network = trace(build(tmp_path / "net.onnx", nodes, [1, 2, 9], {"w": (2, 2, 3)}))
    problems = {n.name: n.problem for n in network.layers}
    assert "com.example.Evil" in problems["a"]
    assert "NonZero" in problems["b"]
    assert problems["c"] == ""
    assert "pads or auto_pad" in problems["y"]
    assert network.totals.params == 12


def test_open_sizes_are_asked_for_and_fixed_ones_kept(tmp_path: Path) -> None:
    path = build(tmp_path / "net.onnx", [node("Relu")], ["n", 3, "h", "w"])
    with pytest.raises(InputError, match="leaves open"):
        trace(path)
    assert trace(path, (3, 5, 7), batch=2).nodes[-1].shape == (2, 3, 5, 7)
    with pytest.raises(InputError, match="fixes"):
        trace(path, (4, 5, 7))
    with pytest.raises(InputError, match="every input"):
        trace(path, [(3, 5, 7), (3, 5, 7)])
    fixed = build(tmp_path / "fixed.onnx", [node("Relu")], [6, 3, 5, 7])
    assert trace(fixed).nodes[-1].shape == (6, 3, 5, 7)


# -- files that are broken, huge or malicious -------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x08" * 999, b"\xff" * 4096])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        trace(path)
    assert "net.onnx" in str(error.value)
    assert "\n" not in str(error.value)


def test_every_truncation_is_an_error_or_a_network(tmp_path: Path) -> None:
    path = build(tmp_path / "net.onnx", [node("Conv", "w")], [1, 2, 9], {"w": (2, 2, 3)})
    whole = path.read_bytes()
    refused = 0
    for end in range(0, len(whole) - 1, 3):
        path.write_bytes(whole[:end])
        try:
            trace(path)
        except InputError:
            refused += 1
    assert refused > len(whole) // 6


def test_sizes_beyond_reason_are_refused_at_once(tmp_path: Path) -> None:
    wide = [1, 1, 1 << 62]
    for made, weights in (
        (node("MaxPool", kernel_shape=[1 << 61]), {}),
        (node("MaxPool", kernel_shape=[3], pads=[1 << 61, 1 << 61]), {}),
        (node("Resize", "", "", "s"), {}),
        (node("Conv", "w", dilations=[1 << 60]), {"w": (1, 1, 2)}),
    ):
        numbers = {"s": [1, 1, 1 << 61]} if made.op_type == "Resize" else {}
        path = build(tmp_path / "net.onnx", [made], wide, weights, numbers)
        with pytest.raises(InputError):
            trace(path)
        path = build(tmp_path / "net.onnx", [made], [1, 1, 1 << 39], weights, numbers)
        try:
            network = trace(path)
        except InputError:
            continue
        assert network.receptive_field(network.nodes[-1]) in ((None,), (3,))


def test_shapes_that_double_without_end_are_left_alone(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0)
             for i in range(60)]  # fmt: skip
    nodes.append(helper.make_node("Reshape", ["x", "s60"], ["y"]))
    network = trace(build(tmp_path / "net.onnx", [node("Relu"), *nodes], [1, 4], {}, {"s0": [1]}))
    assert network.nodes[-1].problem


def test_a_sparse_file_larger_than_protobuf_allows_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(InputError, match="bytes"):
        trace(path)


MALICIOUS = """
import os, sys
import numpy, onnx
from convscape.readers import onnx as reader, trace

def audit(event, args):
    text = event == "exec" and getattr(args[0], "co_filename", "") == "<string>"
    if text or event in ("os.system", "os.exec", "subprocess.Popen"):
        print("RAN", event, args); os._exit(3)
    if event == "open" and "secret" in str(args[0]):
        print("OPENED", args); os._exit(4)

sys.addaudithook(audit)
net = trace(sys.argv[1])
print([n.shape for n in net.nodes], [n.problem for n in net.layers])
"""


def test_a_malicious_file_runs_nothing_and_opens_nothing(tmp_path: Path) -> None:
    """External data outside the folder, a Python operator and functions: none is followed."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"0" * 64)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("PythonOp", ["c"], ["d"], domain="ai.onnx.contrib", code="os.system('x')"),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    outer = tmp_path / "inner"
    outer.mkdir()
    path = build(outer / "net.onnx", nodes, [1, 1, 9], {"w": (4, 1, 4)})
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", MALICIOUS, str(path)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(1, 4, 6)" in done.stdout
    assert "ai.onnx.contrib.PythonOp" in done.stdout


def test_without_the_onnx_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(tmp_path / "net.onnx", [node("Relu")], [1, 3])
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnx":
            raise ImportError("no onnx")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"convscape\[onnx\]"):
        trace(path)
