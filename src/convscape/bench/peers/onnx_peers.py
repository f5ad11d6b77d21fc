"""ONNX Runtime and OpenVINO: one-node models in NCHW, without gradients.

In the forward direction a convolution's weight is an input, as for everyone else; in inference a
constant, which they arrange beforehand.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscape.bench.measure import Contestant
from convscape.bench.peers.common import Settings, Unable, need
from convscape.bench.work import ANY, EPSILON, FORWARD, INFERENCE, NCHW, Work

Model = bytes | Path
"""A model as bytes, or in a file with its weights beside it."""


def onnx_runtime(work: Work, settings: Settings) -> Contestant:
    """ONNX Runtime on the CPU."""
    return runtime_session(_model(work), _fed(work), settings)


def openvino(work: Work, settings: Settings) -> Contestant:
    """OpenVINO on the CPU, in float32."""
    return openvino_request(_model(work), _fed(work), settings)


def runtime_session(model: Model, fed: Sequence[Tensor], settings: Settings) -> Contestant:
    """A model with one output in ONNX Runtime."""
    ort = need("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    # Its threads spin for their next task only while a run lasts: others are measured in between.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    read = model if isinstance(model, bytes) else str(model)
    session = ort.InferenceSession(read, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for given, x in zip(session.get_inputs(), fed, strict=True):
        data = ort.OrtValue.ortvalue_from_numpy(x.contiguous().numpy())
        binding.bind_ortvalue_input(given.name, data)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def call() -> None:
        session.run_with_iobinding(binding)

    def check() -> tuple[Tensor, ...]:
        call()
        return (torch.from_numpy(binding.copy_outputs_to_cpu()[0]),)

    return Contestant("ONNX Runtime", call, check)


def openvino_request(model: Model, fed: Sequence[Tensor], settings: Settings) -> Contestant:
    """A model with one output in OpenVINO."""
    core = _openvino()
    config = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    read = core.read_model(model if isinstance(model, bytes) else str(model))
    request = core.compile_model(read, "CPU", config).create_infer_request()
    for n, x in enumerate(fed):
        data = sys.modules["openvino"].Tensor(x.contiguous().numpy(), shared_memory=True)
        request.set_input_tensor(n, data)

    def check() -> tuple[Tensor, ...]:
        request.infer()
        return (torch.from_numpy(np.array(request.get_output_tensor().data)),)

    return Contestant("OpenVINO", request.infer, check)


@cache
def _openvino() -> Any:
    # It reports its use to its makers unless that part cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino").Core()


def _fed(work: Work) -> Sequence[Tensor]:
    """The inputs that are no constants of the model."""
    return work.inputs if work.op == "conv" and work.direction == FORWARD else work.inputs[:1]


def _model(work: Work) -> bytes:
    """The work as a model of one or two nodes."""
    if work.direction not in (FORWARD, INFERENCE) or (
        work.op == "norm" and work.direction == FORWARD
    ):
        raise Unable("runs inference only")
    if work.layout not in (ANY, NCHW):
        raise Unable("takes NCHW data only")
    need("onnx")
    from onnx import TensorProto, helper, numpy_helper

    pads = list(work.padding) * 2
    window: dict[str, Any] = {
        "kernel_shape": list(work.kernel),
        "strides": [work.stride] * 2,
        "pads": pads,
    }
    names = ["x", *(f"c{i}" for i in range(1, len(work.inputs)))]
    fed = len(_fed(work))
    if work.op == "conv":
        nodes = [helper.make_node("Conv", names, ["y"], group=work.groups, **window)]
    elif work.op == "max_pool":
        nodes = [helper.make_node("MaxPool", names, ["y"], **window)]
    elif work.op == "avg_pool":
        nodes = [helper.make_node("AveragePool", names, ["y"], count_include_pad=1, **window)]
    else:
        nodes = [
            helper.make_node("BatchNormalization", names, ["z"], epsilon=EPSILON),
            helper.make_node("Relu", ["z"], ["y"]),
        ]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        work.op,
        [helper.make_tensor_value_info(name, kind, list(t.shape))
         for name, t in zip(names[:fed], work.inputs[:fed], strict=True)],
        [helper.make_tensor_value_info("y", kind, list(work.dy.shape))],
        [numpy_helper.from_array(t.numpy(), name)
         for name, t in zip(names[fed:], work.inputs[fed:], strict=True)],
    )  # fmt: skip
    # Versions that all runtimes of the last years read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
