// A layer as a snippet to paste: the page's copy of convscape.arithmetic.dialects.write, which
// writes the same text, character for character (a test compares them).
import { layerWindows } from "./layer.js";
import { paddedSizes, translatedOutputs } from "./translate.js";

const isName = (padding) => typeof padding === "string";
const anyPair = (pairs) => pairs.some((pair) => pair[0] || pair[1]);
const rankOf = (t) => t.layer.kernel.length;
const largest = (numbers) => Math.max(...numbers);
const isPool = (layer) => layer.operation === "max_pool" || layer.operation === "avg_pool";

/** A value as Python writes it: arrays are tuples. */
function py(value) {
  if (Array.isArray(value)) {
    return value.length === 1 ? `(${py(value[0])},)` : `(${value.map(py).join(", ")})`;
  }
  return String(value);
}

const list = (values) => `[${values.map(py).join(", ")}]`;
const around = (pairs) => [[0, 0], ...pairs, [0, 0]];
const rest = (t) => t.pad.map((p, a) => [p[0] - t.counted[a][0], p[1] - t.counted[a][1]]);

/** The snippet of one translation, in its layer's framework. */
export function code(t) {
  return { keras, torch, onnx, jax }[t.layer.dialect](t);
}

// ---- Keras --------------------------------------------------------------------------------------

function keras(t) {
  const { layer } = t;
  const stage = `keras.layers.${kerasClass(t)}`;
  const lowest = layer.operation === "max_pool" && t.pad.some((pair) => largest(pair) > 0);
  let body;
  if (t.counted !== null) {
    body =
      `pool = ${stage}\n\n\ndef layer(x):\n` +
      `    mask = keras.ops.pad(keras.ops.ones_like(x), ${py(around(t.counted))}, ` +
      "constant_values=1.0)\n" +
      `    mask = keras.ops.pad(mask, ${py(around(rest(t)))})\n` +
      `    return pool(keras.ops.pad(x, ${py(around(t.pad))})) / pool(mask)\n\n`;
  } else if (lowest) {
    body =
      `pool = ${stage}\n\n\ndef layer(x):\n` +
      `    return pool(keras.ops.pad(x, ${py(around(t.pad))}, ` +
      'constant_values=float("-inf")))\n\n';
  } else {
    const added = t.pad.map((pair) => pair.map((p) => Math.max(0, p)));
    const cut = t.pad.map((pair) => pair.map((p) => Math.max(0, -p)));
    const stages = [
      ...kerasNamed("Cropping", cut),
      ...kerasNamed("ZeroPadding", added),
      stage,
      ...kerasNamed("Cropping", t.crop),
    ];
    const inner = stages.map((s) => `        ${s},\n`).join("");
    const shape = py([...t.spatial, layer.in_channels]);
    body = `layer = keras.Sequential(\n    [\n        keras.Input(${shape}),\n${inner}    ]\n)\n`;
  }
  const shape = py([1, ...t.spatial, layer.in_channels]);
  return (
    `import keras\n\n${body}\nx = keras.random.normal(${shape})\n` +
    `print(tuple(layer(x).shape[1:${rankOf(t) + 1}]))  # ${py(translatedOutputs(t))}`
  );
}

function kerasClass(t) {
  const { layer } = t;
  const options = [
    `strides=${py(layer.stride)}`,
    `padding="${String(layer.padding[0]).toLowerCase()}"`,
  ];
  if (isPool(layer)) {
    const name = layer.operation === "max_pool" ? "MaxPooling" : "AveragePooling";
    return `${name}${rankOf(t)}D(${[py(layer.kernel), ...options].join(", ")})`;
  }
  if (layer.output_padding !== null) options.push(`output_padding=${py(layer.output_padding)}`);
  if (largest(layer.dilation) > 1) options.push(`dilation_rate=${py(layer.dilation)}`);
  if (layer.groups > 1) options.push(`groups=${layer.groups}`);
  if (!layer.bias) options.push("use_bias=False");
  const name = `Conv${rankOf(t)}D${layer.operation === "transposed" ? "Transpose" : ""}`;
  return `${name}(${[layer.out_channels, py(layer.kernel), ...options].join(", ")})`;
}

function kerasNamed(kind, pairs) {
  if (!anyPair(pairs)) return [];
  return [`keras.layers.${kind}${pairs.length}D(${py(pairs.length === 1 ? pairs[0] : pairs)})`];
}

// ---- PyTorch ------------------------------------------------------------------------------------

function torch(t) {
  const { layer } = t;
  const stages = [
    ...constantPad(t.pad, layer.operation === "max_pool"),
    `nn.${torchModule(t)}`,
    ...constantPad(
      t.crop.map((pair) => pair.map((p) => -p || 0)),
      false,
    ),
  ];
  let body;
  if (t.counted !== null) {
    body =
      `pool = ${stages.at(-1)}\n\n\ndef layer(x):\n` +
      `    mask = nn.functional.pad(torch.ones_like(x), ${py(flat(t.counted))}, value=1.0)\n` +
      `    mask = nn.functional.pad(mask, ${py(flat(rest(t)))})\n` +
      `    return pool(nn.functional.pad(x, ${py(flat(t.pad))})) / pool(mask)\n\n`;
  } else if (stages.length === 1) {
    body = `layer = ${stages[0]}\n`;
  } else {
    body = `layer = nn.Sequential(\n${stages.map((s) => `    ${s},\n`).join("")})\n`;
  }
  const sizes = [1, layer.in_channels, ...t.spatial].join(", ");
  return (
    `import torch\nfrom torch import nn\n\n${body}\n` +
    `x = torch.randn(${sizes})\n` +
    `print(tuple(layer(x).shape[2:]))  # ${py(translatedOutputs(t))}`
  );
}

function torchModule(t) {
  const { layer } = t;
  const rank = rankOf(t);
  const options = [`stride=${py(layer.stride)}`];
  const first = layer.padding[0];
  if (isName(first)) {
    if (first !== "valid") options.push(`padding='${first}'`);
  } else {
    const ends = layer.padding.map((p) => (Array.isArray(p) ? p[0] : p));
    if (ends.some(Boolean)) options.push(`padding=${py(ends)}`);
  }
  if (layer.operation === "transposed" && layer.output_padding?.some(Boolean)) {
    options.push(`output_padding=${py(layer.output_padding)}`);
  }
  if (largest(layer.dilation) > 1) options.push(`dilation=${py(layer.dilation)}`);
  if (layer.ceil_mode) options.push("ceil_mode=True");
  if (isPool(layer)) {
    if (layer.operation === "avg_pool" && !layer.count_include_pad) {
      options.push("count_include_pad=False");
    }
    const name = layer.operation === "max_pool" ? "MaxPool" : "AvgPool";
    return `${name}${rank}d(${[py(layer.kernel), ...options].join(", ")})`;
  }
  if (layer.groups > 1) options.push(`groups=${layer.groups}`);
  if (!layer.bias) options.push("bias=False");
  const name = layer.operation === "transposed" ? "ConvTranspose" : "Conv";
  const channels = [layer.in_channels, layer.out_channels, py(layer.kernel)];
  return `${name}${rank}d(${[...channels, ...options].join(", ")})`;
}

const flat = (pairs) => [...pairs].reverse().flat();

const constantPad = (pairs, lowest) =>
  anyPair(pairs)
    ? [`nn.ConstantPad${pairs.length}d(${py(flat(pairs))}, ${lowest ? 'float("-inf")' : "0.0"})`]
    : [];

// ---- ONNX ---------------------------------------------------------------------------------------

const OPERATORS = {
  conv: "Conv",
  transposed: "ConvTranspose",
  max_pool: "MaxPool",
  avg_pool: "AveragePool",
};

function onnx(t) {
  const { layer } = t;
  const shapes = { x: [1, layer.in_channels, ...t.spatial] };
  if (!isPool(layer)) {
    shapes.kernel =
      layer.operation === "transposed"
        ? [layer.in_channels, layer.out_channels / layer.groups, ...layer.kernel]
        : [layer.out_channels, layer.in_channels / layer.groups, ...layer.kernel];
    if (layer.bias) shapes.bias = [layer.out_channels];
  }
  const [nodes, constants] = onnxNodes(t, Object.keys(shapes).slice(1));
  const written = Object.entries(shapes).map(([name, shape]) => `'${name}': ${py(shape)}`);
  return [
    "import numpy as np",
    "import onnxruntime",
    "from onnx import TensorProto, helper, numpy_helper",
    "",
    `shapes = {${written.join(", ")}}`,
    "nodes = [",
    ...nodes.map((node) => `    ${node},`),
    "]",
    "constants = {",
    ...Object.entries(constants).map(([name, value]) => `    "${name}": ${value},`),
    "}",
    "graph = helper.make_graph(",
    "    nodes,",
    '    "layer",',
    "    [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],",
    `    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * ${rankOf(t) + 2})],`,
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
    `print(layer(x).shape[2:])  # ${py(translatedOutputs(t))}`,
  ].join("\n");
}

function onnxNodes(t, weights) {
  const { layer } = t;
  const nodes = [];
  const constants = {};
  let data = "x";
  const quoted = (names) => `[${names.map((name) => `"${name}"`).join(", ")}]`;
  const node = (inputs, result) =>
    `helper.make_node("${OPERATORS[layer.operation]}", ${quoted(inputs)}, ["${result}"], ` +
    `${onnxAttributes(layer)})`;
  if (anyPair(t.pad)) {
    constants.before = onnxPads(t.pad);
    constants.fill = `np.float32(${layer.operation === "max_pool" ? "-np.inf" : "0.0"})`;
    nodes.push('helper.make_node("Pad", ["x", "before", "fill"], ["padded"])');
    data = "padded";
  }
  const crop = anyPair(t.crop);
  nodes.push(node([data, ...weights], crop || t.counted !== null ? "full" : "y"));
  if (crop) {
    constants.after = onnxPads(t.crop.map((pair) => pair.map((p) => -p || 0)));
    nodes.push('helper.make_node("Pad", ["full", "after"], ["y"])');
  }
  if (t.counted !== null) {
    const outer = (pairs) => py([[0, 0], [0, 0], ...pairs]);
    const ones = `np.ones(${py([1, 1, ...t.spatial])}, np.float32)`;
    const inner = `np.pad(${ones}, ${outer(t.counted)}, constant_values=1)`;
    constants.mask = `np.pad(${inner}, ${outer(rest(t))})`;
    nodes.push(node(["mask"], "share"));
    nodes.push('helper.make_node("Div", ["full", "share"], ["y"])');
  }
  return [nodes, constants];
}

function onnxPads(pairs) {
  const all = [[0, 0], [0, 0], ...pairs];
  return `np.array(${list([...all.map((p) => p[0]), ...all.map((p) => p[1])])})`;
}

function onnxAttributes(layer) {
  const options = [`kernel_shape=${list(layer.kernel)}`, `strides=${list(layer.stride)}`];
  const first = layer.padding[0];
  if (isName(first)) {
    if (first !== "NOTSET") options.push(`auto_pad="${first}"`);
  } else if (layer.padding.some((p) => Array.isArray(p) || p)) {
    const ends = layer.padding.map((p) => (Array.isArray(p) ? p : [p, p]));
    options.push(`pads=${list([...ends.map((p) => p[0]), ...ends.map((p) => p[1])])}`);
  }
  if (largest(layer.dilation) > 1) options.push(`dilations=${list(layer.dilation)}`);
  if (layer.ceil_mode) options.push("ceil_mode=1");
  if (layer.operation === "avg_pool" && layer.count_include_pad) {
    options.push("count_include_pad=1");
  }
  if (layer.output_padding?.some(Boolean)) {
    options.push(`output_padding=${list(layer.output_padding)}`);
  }
  if (layer.output_size?.length) options.push(`output_shape=${list(layer.output_size)}`);
  if (layer.groups > 1) options.push(`group=${layer.groups}`);
  return options.join(", ");
}

// ---- JAX ----------------------------------------------------------------------------------------

const LETTERS = { 1: "H", 2: "HW", 3: "HWD" };

function jax(t) {
  const { layer } = t;
  const shape = py([1, ...t.spatial, layer.in_channels]);
  const head = "import jax\nfrom jax import lax\nfrom jax import numpy as jnp\n\n\n";
  let tail = `\n\nx = jax.random.normal(jax.random.key(0), ${shape})\n`;
  let call = "layer(x)";
  let body;
  if (isPool(layer)) {
    body = jaxPool(t);
  } else {
    call = layer.bias ? "layer(x, kernel, bias)" : "layer(x, kernel)";
    const kernel =
      layer.operation === "transposed"
        ? [...layer.kernel, layer.out_channels, layer.in_channels]
        : [...layer.kernel, layer.in_channels / layer.groups, layer.out_channels];
    tail += `kernel = jax.random.normal(jax.random.key(1), ${py(kernel)})\n`;
    if (layer.bias) tail += `bias = jnp.zeros(${layer.out_channels})\n`;
    body = jaxConvolution(t);
  }
  const rank = rankOf(t);
  return `${head}${body}${tail}print(${call}.shape[1:${rank + 1}])  # ${py(translatedOutputs(t))}`;
}

function jaxPadding(t) {
  const name = t.layer.padding[0];
  if (isName(name) && name.toUpperCase() !== "CAUSAL") return `"${name.toUpperCase()}"`;
  return list(layerWindows(t.layer, paddedSizes(t)).map((w) => w.padding));
}

function jaxConvolution(t) {
  const { layer } = t;
  const space = LETTERS[rankOf(t)];
  const layout = `('N${space}C', '${space}IO', 'N${space}C')`;
  let [name, strides] = ["conv_general_dilated", "window_strides"];
  const options = [`dimension_numbers=${layout}`];
  if (largest(layer.dilation) > 1) options.push(`rhs_dilation=${py(layer.dilation)}`);
  if (layer.operation === "transposed") {
    [name, strides] = ["conv_transpose", "strides"];
    options.push("transpose_kernel=True");
  } else if (layer.groups > 1) {
    options.push(`feature_group_count=${layer.groups}`);
  }
  const inner = [
    "x",
    "kernel",
    `${strides}=${py(layer.stride)}`,
    `padding=${jaxPadding(t)}`,
    ...options,
  ]
    .map((option) => `        ${option},\n`)
    .join("");
  const [parameters, plus] = layer.bias ? ["x, kernel, bias", " + bias"] : ["x, kernel", ""];
  const padded = anyPair(t.pad) ? `    x = jnp.pad(x, ${py(around(t.pad))})\n` : "";
  return (
    `def layer(${parameters}):\n${padded}    y = lax.${name}(\n${inner}    )\n` +
    `    return y${plus}\n`
  );
}

function jaxPool(t) {
  const { layer } = t;
  const window = py([1, ...layer.kernel, 1]);
  const strides = py([1, ...layer.stride, 1]);
  const dilated =
    largest(layer.dilation) > 1 ? `, window_dilation=${py([1, ...layer.dilation, 1])}` : "";
  let padding = jaxPadding(t);
  if (padding.startsWith("[")) {
    padding = list(around(layerWindows(layer, paddedSizes(t)).map((w) => w.padding)));
  }
  const reduce = `${window}, ${strides}, ${padding}${dilated})`;
  if (layer.operation === "max_pool") {
    return `def layer(x):\n    return lax.reduce_window(x, -jnp.inf, lax.max, ${reduce}\n`;
  }
  const total = (data) => `lax.reduce_window(${data}, 0.0, lax.add, ${reduce}`;
  if (t.counted !== null) {
    return (
      "def layer(x):\n" +
      `    mask = jnp.pad(jnp.ones_like(x), ${py(around(t.counted))}, constant_values=1.0)\n` +
      `    mask = jnp.pad(mask, ${py(around(rest(t)))})\n` +
      `    x = jnp.pad(x, ${py(around(t.pad))})\n` +
      `    total = ${total("x")}\n` +
      `    return total / ${total("mask")}\n`
    );
  }
  const cells = layer.count_include_pad
    ? String(layer.kernel.reduce((a, b) => a * b, 1))
    : total("jnp.ones_like(x)");
  return `def layer(x):\n    total = ${total("x")}\n    return total / ${cells}\n`;
}
