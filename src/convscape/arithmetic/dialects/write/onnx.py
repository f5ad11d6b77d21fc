"""Snippets for ONNX: a model built with onnx.helper and run by ONNX Runtime."""

from convscape.arithmetic.dialects.translate import Pairs, Translation

_OPERATORS = {
    "conv": "Conv",
    "transposed": "ConvTranspose",
    "max_pool": "MaxPool",
    "avg_pool": "AveragePool",
}


def write(t: Translation) -> str:
    """The snippet of one translation."""
    layer = t.layer
    shapes = {"x": (1, layer.in_channels, *t.spatial)}
    if not layer.pooling:
        shapes["kernel"] = _kernel_shape(t)
        if layer.bias:
            shapes["bias"] = (layer.out_channels,)
    nodes, constants = _nodes(t, list(shapes)[1:])
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "from onnx import TensorProto, helper, numpy_helper",
        "",
        f"shapes = {shapes}",
        "nodes = [",
        *(f"    {node}," for node in nodes),
        "]",
        "constants = {",
        *(f'    "{name}": {value},' for name, value in constants.items()),
        "}",
        "graph = helper.make_graph(",
        "    nodes,",
        '    "layer",',
        "    [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],",
        f'    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * {layer.rank + 2})],',
        "    [numpy_helper.from_array(value, name) for name, value in constants.items()],",
        ")",
        'opsets = [helper.make_opsetid("", 22)]',
        "model = helper.make_model(graph, opset_imports=opsets, ir_version=10)",
        "session = onnxruntime.InferenceSession(",
        '    model.SerializeToString(), providers=["CPUExecutionProvider"]',
        ")",
        "",
        "",
        "def layer(feed):",
        "    return session.run(None, feed)[0]",
        "",
        "",
        "rng = np.random.default_rng(0)",
        "x = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}",
        f"print(layer(x).shape[2:])  # {t.outputs}",
    ]
    return "\n".join(lines)


def _kernel_shape(t: Translation) -> tuple[int, ...]:
    layer = t.layer
    if layer.operation == "transposed":
        return (layer.in_channels, layer.out_channels // layer.groups, *layer.kernel)
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)


def _nodes(t: Translation, weights: list[str]) -> tuple[list[str], dict[str, str]]:
    nodes, constants, data = list[str](), dict[str, str](), "x"
    if any(map(any, t.pad)):
        fill = "-np.inf" if t.layer.operation == "max_pool" else "0.0"
        constants["before"] = _pads(t.pad)
        constants["fill"] = f"np.float32({fill})"
        nodes.append('helper.make_node("Pad", ["x", "before", "fill"], ["padded"])')
        data = "padded"
    crop, masked = any(map(any, t.crop)), t.counted is not None
    result = "full" if crop or masked else "y"
    node = f'helper.make_node("{_OPERATORS[t.layer.operation]}", {{}}, ["{{}}"], {_attributes(t)})'
    nodes.append(node.format(str([data, *weights]).replace("'", '"'), result))
    if crop:
        constants["after"] = _pads(tuple((-low, -high) for low, high in t.crop))
        nodes.append('helper.make_node("Pad", ["full", "after"], ["y"])')
    if t.counted is not None:
        ones = f"np.ones({(1, 1, *t.spatial)}, np.float32)"
        counted = f"np.pad({ones}, {((0, 0), (0, 0), *t.counted)}, constant_values=1)"
        constants["mask"] = f"np.pad({counted}, {((0, 0), (0, 0), *t.uncounted)})"
        nodes.append(node.format('["mask"]', "share"))
        nodes.append('helper.make_node("Div", ["full", "share"], ["y"])')
    return nodes, constants


def _pads(pairs: Pairs) -> str:
    """All begins, then all ends; a negative number crops."""
    begins, ends = zip((0, 0), (0, 0), *pairs, strict=True)
    return f"np.array({[*begins, *ends]})"


def _attributes(t: Translation) -> str:
    layer = t.layer
    options = [f"kernel_shape={list(layer.kernel)}", f"strides={list(layer.stride)}"]
    name = layer.padding[0]
    if isinstance(name, str):
        if name != "NOTSET":
            options.append(f'auto_pad="{name}"')
    elif any(layer.padding):
        ends = [
            p if isinstance(p, tuple) else (p, p) for p in layer.padding if not isinstance(p, str)
        ]
        begins, finals = zip(*ends, strict=True)
        options.append(f"pads={[*begins, *finals]}")
    if max(layer.dilation) > 1:
        options.append(f"dilations={list(layer.dilation)}")
    if layer.ceil_mode:
        options.append("ceil_mode=1")
    if layer.operation == "avg_pool" and layer.count_include_pad:
        options.append("count_include_pad=1")
    if layer.output_padding and any(layer.output_padding):
        options.append(f"output_padding={list(layer.output_padding)}")
    if layer.output_size:
        options.append(f"output_shape={list(layer.output_size)}")
    if layer.groups > 1:
        options.append(f"group={layer.groups}")
    return ", ".join(options)
