"""The same setting run by the framework itself."""

# mypy: disable-error-code="no-untyped-call,no-any-return,attr-defined,arg-type,operator"

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from convscape.arithmetic import Window
from tests.crosscheck.settings import Setting

Array = npt.NDArray[Any]
Runner = Callable[[Setting, list[int], list[int]], Array]


def ends(padding: int | tuple[int, int]) -> tuple[int, int]:
    """Low and high."""
    return padding if isinstance(padding, tuple) else (padding, padding)


def torch(s: Setting, x: list[int], kernel: list[int]) -> Array:
    """PyTorch's functional operations, which the modules call."""
    import torch
    from torch.nn import functional as F

    data = torch.tensor(x, dtype=torch.float64)[None, None]
    weight = torch.tensor(kernel, dtype=torch.float64)[None, None]
    if s.op == "conv":
        y = F.conv1d(data, weight, None, s.stride, s.padding, s.dilation)
    elif s.op == "transposed":
        extra = s.output_padding or 0
        y = F.conv_transpose1d(data, weight, None, s.stride, s.padding, extra, 1, s.dilation)
    elif s.op == "max_pool":
        y = F.max_pool1d(data, s.kernel, s.stride, s.padding, s.dilation, s.ceil_mode)
    else:
        y = F.avg_pool1d(data, s.kernel, s.stride, s.padding, s.ceil_mode, s.count_include_pad)
    return y[0, 0].numpy()


def keras_layer(s: Setting) -> Any:
    """The Keras layer."""
    import keras

    if s.op in ("max_pool", "avg_pool"):
        pool = keras.layers.MaxPooling1D if s.op == "max_pool" else keras.layers.AveragePooling1D
        return pool(s.kernel, s.stride, s.padding)
    options: dict[str, Any] = {
        "strides": s.stride,
        "padding": s.padding,
        "dilation_rate": s.dilation,
    }
    if s.op == "conv":
        return keras.layers.Conv1D(1, s.kernel, use_bias=False, dtype="float32", **options)
    options["output_padding"] = s.output_padding
    return keras.layers.Conv1DTranspose(1, s.kernel, use_bias=False, dtype="float32", **options)


def keras_size(s: Setting, x: list[int], kernel: list[int]) -> int:
    """Its output size as Keras itself computes it, after its own checks."""
    return int(keras_layer(s).compute_output_shape((1, s.n, 1))[1])


def keras(s: Setting, x: list[int], kernel: list[int]) -> Array:
    """The Keras layer called on whatever backend is active."""
    import keras

    layer = keras_layer(s)
    data = np.asarray(x, np.float32)[None, :, None]
    if s.op in ("conv", "transposed"):
        layer.build(data.shape)
        layer.kernel.assign(np.asarray(kernel, np.float32)[:, None, None])
    return keras.ops.convert_to_numpy(layer(data))[0, :, 0]


def onnx_model(s: Setting, opset: int = 22) -> Any:
    """One node with the setting's attributes, none invented."""
    from onnx import TensorProto, helper

    attributes: dict[str, Any] = {"kernel_shape": [s.kernel], "strides": [s.stride]}
    if isinstance(s.padding, str):
        attributes["auto_pad"] = s.padding
    else:
        attributes["pads"] = list(ends(s.padding))
    if s.dilation > 1:
        attributes["dilations"] = [s.dilation]
    if s.ceil_mode:
        attributes["ceil_mode"] = 1
    if s.count_include_pad:
        attributes["count_include_pad"] = 1
    if s.output_padding is not None:
        attributes["output_padding"] = [s.output_padding]
    if s.output_size is not None:
        attributes["output_shape"] = [s.output_size]
    op = {
        "conv": "Conv", "transposed": "ConvTranspose",
        "max_pool": "MaxPool", "avg_pool": "AveragePool",
    }[s.op]  # fmt: skip
    weighted = s.op in ("conv", "transposed")
    node = helper.make_node(op, ["x", "w"] if weighted else ["x"], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, s.n])]
    if weighted:
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 1, s.kernel]))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None, None])
    graph = helper.make_graph([node], "one", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def onnx(s: Setting, x: list[int], kernel: list[int]) -> Array:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(s).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": np.asarray(x, np.float32)[None, None]}
    if s.op in ("conv", "transposed"):
        feed["w"] = np.asarray(kernel, np.float32)[None, None]
    return session.run(None, feed)[0][0, 0]


def jax_call(s: Setting) -> Callable[[Any, Any], Any]:
    """The JAX operation as a function of input and kernel; pooling as Flax writes it."""
    import jax
    from jax import lax

    pads = s.padding if isinstance(s.padding, str) else [ends(s.padding)]
    layout = ("NHC", "HIO", "NHC")
    if s.op == "conv":
        return lambda x, w: lax.conv_general_dilated(
            x, w, (s.stride,), pads, rhs_dilation=(s.dilation,), dimension_numbers=layout
        )
    if s.op == "transposed":
        return lambda x, w: lax.conv_transpose(
            x, w, (s.stride,), pads, rhs_dilation=(s.dilation,), dimension_numbers=layout
        )
    around = pads if isinstance(pads, str) else [(0, 0), *pads, (0, 0)]

    def reduce(x: Any, start: float, add: Any) -> Any:
        return lax.reduce_window(
            x, start, add, (1, s.kernel, 1), (1, s.stride, 1), around,
            window_dilation=(1, s.dilation, 1),
        )  # fmt: skip

    if s.op == "max_pool":
        return lambda x, w: reduce(x, -np.inf, lax.max)
    if s.count_include_pad:
        return lambda x, w: reduce(x, 0.0, lax.add) / s.kernel
    return lambda x, w: reduce(x, 0.0, lax.add) / reduce(jax.numpy.ones_like(x), 0.0, lax.add)


def jax_windows(function: Callable[..., Any], *shapes: tuple[int, ...]) -> list[Window]:
    """The windows in a traced program, one axis in the middle, before anything is compiled."""
    import jax

    found: list[Window] = []

    def walk(program: Any) -> None:
        for step in program.eqns:
            p = step.params
            if step.primitive.name == "conv_general_dilated":
                kernel = step.invars[1].aval.shape[p["dimension_numbers"].rhs_spec[2]]
                found.append(
                    Window(
                        kernel, p["window_strides"][0], p["rhs_dilation"][0],
                        p["lhs_dilation"][0], p["padding"][0],
                    )
                )  # fmt: skip
            elif step.primitive.name.startswith("reduce_window"):
                found.append(
                    Window(
                        p["window_dimensions"][1], p["window_strides"][1],
                        p["window_dilation"][1], p["base_dilation"][1], p["padding"][1],
                    )
                )  # fmt: skip
            for inner in p.values():
                if hasattr(inner, "jaxpr"):
                    walk(inner.jaxpr)

    data = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    walk(jax.make_jaxpr(function)(*data).jaxpr)
    return found


def jax_window(s: Setting, x: list[int], kernel: list[int]) -> Window:
    """The window that JAX makes of it, by tracing: nothing is compiled."""
    return jax_windows(jax_call(s), (1, s.n, 1), (s.kernel, 1, 1))[0]


def keras_on_jax(s: Setting, x: list[int], kernel: list[int]) -> Window | int:
    """The window that Keras has JAX make; the size for causal, which pads beforehand."""
    size = keras_size(s, x, kernel)
    if s.padding == "causal":
        return size
    layer = keras_layer(s)
    layer.build((1, s.n, 1))
    return jax_windows(layer.call, (1, s.n, 1))[0]


def jax(s: Setting, x: list[int], kernel: list[int]) -> Array:
    """JAX on the CPU; every new shape is compiled, so this is the slow one."""
    data = np.asarray(x, np.float32)[None, :, None]
    return np.asarray(jax_call(s)(data, np.asarray(kernel, np.float32)[:, None, None]))[0, :, 0]


RUN: dict[str, Runner] = {"torch": torch, "keras": keras, "onnx": onnx, "jax": jax}
SHAPE: dict[str, Callable[[Setting, list[int], list[int]], int | Window]] = {
    "keras": keras_size,
    "keras on jax": keras_on_jax,
    "jax": jax_window,
}
