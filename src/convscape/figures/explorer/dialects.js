// How Keras, PyTorch, ONNX and JAX spell and round one axis: the page's copy of
// convscape.arithmetic.dialects, where the sources are named.
import {
  InputError, ceilDiv, ceiled, floorDiv, makeWindow, mod, resolve, transposedWindow,
} from "./arithmetic.js";

export const DIALECTS = ["keras", "torch", "onnx", "jax"];
export const DIALECT_TITLES = { keras: "Keras / TF", torch: "PyTorch", onnx: "ONNX", jax: "JAX" };

const pooling = (axis) => axis.operation === "max_pool" || axis.operation === "avg_pool";
const reach = (axis) => axis.dilation * (axis.kernel - 1) + 1;
export const isName = (padding) => typeof padding === "string";

function pair(padding, crop = false) {
  const ends = typeof padding === "number" ? [padding, padding] : [...padding];
  if (Math.min(...ends) < 0 && !crop) {
    throw new InputError(
      "padding must not be negative",
      `padding=${padding}`,
      "crop the input before the layer",
    );
  }
  return ends;
}

function unknownName(dialect, axis, known, fix = "") {
  return new InputError(
    `${dialect} must know the padding of ${axis.operation}`,
    `padding=${axis.padding}`,
    fix || `${dialect} has ${known.join(", ")}`,
  );
}

const noOutputSize = (axis) => {
  if (axis.output_size !== null) {
    throw new InputError(
      "only ONNX reaches for an output size",
      String(axis.output_size),
      "use output_padding",
    );
  }
};

function checkAxis(axis) {
  makeWindow(axis.kernel, axis.stride, axis.dilation);
  if (axis.n < 1) {
    throw new InputError("the input must not be empty", `n=${axis.n}`, "give n of at least 1");
  }
  if (axis.ceil_mode && !pooling(axis)) {
    throw new InputError(
      "ceil_mode is an option of pooling",
      axis.operation,
      "leave ceil_mode out",
    );
  }
  for (const name of ["output_padding", "output_size"]) {
    if (axis[name] !== null && axis.operation !== "transposed") {
      throw new InputError(
        `${name} is an option of a transposed convolution`,
        `${axis.operation} with ${name}=${axis[name]}`,
        `leave ${name} out`,
      );
    }
    if (axis[name] !== null && axis[name] < 0) {
      throw new InputError(
        `${name} must not be negative`,
        `${name}=${axis[name]}`,
        `use ${name}=0`,
      );
    }
  }
}

// ---- Keras --------------------------------------------------------------------------------------

function kerasWindow(axis) {
  if (axis.ceil_mode) {
    throw new InputError("Keras pooling has no ceil_mode", "ceil_mode=True", 'use padding="same"');
  }
  if (pooling(axis) && axis.dilation > 1) {
    throw new InputError(
      "Keras pooling has no dilation",
      `dilation=${axis.dilation}`,
      "use dilation=1",
    );
  }
  if (axis.stride > 1 && axis.dilation > 1) {
    throw new InputError(
      "Keras refuses strides above 1 together with dilation above 1",
      `strides=${axis.stride}, dilation_rate=${axis.dilation}`,
      "set one of them to 1",
    );
  }
  if (!isName(axis.padding) && pair(axis.padding, true).some(Boolean)) {
    throw new InputError(
      "Keras takes padding by name only",
      `padding=${axis.padding}`,
      'put a ZeroPadding layer before a layer with padding="valid"',
    );
  }
  const name = isName(axis.padding) ? axis.padding.toLowerCase() : "valid";
  const known = axis.operation === "conv" ? ["valid", "same", "causal"] : ["valid", "same"];
  if (!known.includes(name)) throw unknownName("Keras", axis, known);
  if (axis.operation !== "transposed") {
    return resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation);
  }
  noOutputSize(axis);
  const [k, stride, extra] = [reach(axis), axis.stride, axis.output_padding];
  if (extra !== null && extra >= stride) {
    throw new InputError(
      "Keras needs output_padding below the stride",
      `output_padding=${extra}, strides=${stride}`,
      `use at most ${stride - 1}`,
    );
  }
  let [low, high] = [k - 1, k - 1 + (extra === null ? Math.max(stride - k, 0) : extra)];
  if (name === "same") {
    const total = extra === null ? stride + k - 2 : k + (k % 2) - 2 + extra;
    low = Math.min(floorDiv(total, 2) + mod(total, 2), k - 1);
    high = total - low;
  }
  return makeWindow(axis.kernel, 1, axis.dilation, stride, [low, high]);
}

// ---- PyTorch ------------------------------------------------------------------------------------

function torchWindow(axis) {
  if (isName(axis.padding)) {
    const name = axis.padding;
    if (axis.operation !== "conv" || !["valid", "same"].includes(name)) {
      throw unknownName(
        "PyTorch",
        axis,
        axis.operation === "conv" ? ["valid", "same", "numbers"] : ["numbers"],
      );
    }
    if (name === "same" && axis.stride > 1) {
      throw new InputError(
        'PyTorch has padding="same" at stride 1 only',
        `stride=${axis.stride}`,
        "pad with torch.nn.functional.pad before the layer",
      );
    }
    return resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation);
  }
  const [low, high] = pair(axis.padding);
  if (low !== high) {
    throw new InputError(
      "PyTorch pads both ends of an axis alike",
      `padding=(${low}, ${high})`,
      "pad with torch.nn.functional.pad before the layer",
    );
  }
  if (axis.operation === "transposed") {
    noOutputSize(axis);
    const extra = axis.output_padding ?? 0;
    if (extra && extra >= Math.max(axis.stride, axis.dilation)) {
      throw new InputError(
        "PyTorch needs output_padding below the stride or the dilation",
        `output_padding=${extra}, stride=${axis.stride}, dilation=${axis.dilation}`,
        `use at most ${Math.max(axis.stride, axis.dilation) - 1}`,
      );
    }
    return transposedWindow(axis.kernel, axis.stride, axis.dilation, [low, low], extra);
  }
  if (axis.operation === "avg_pool" && axis.dilation > 1) {
    throw new InputError(
      "PyTorch's average pooling has no dilation",
      `dilation=${axis.dilation}`,
      "use dilation=1",
    );
  }
  if (pooling(axis) && low > floorDiv(axis.kernel, 2)) {
    throw new InputError(
      "PyTorch pads a pooling by at most half of its kernel",
      `padding=${low}, kernel=${axis.kernel}`,
      `use at most ${floorDiv(axis.kernel, 2)}, or pad before the layer`,
    );
  }
  const plain = makeWindow(axis.kernel, axis.stride, axis.dilation, 1, [low, high]);
  return axis.ceil_mode ? ceiled(plain, axis.n) : plain;
}

// ---- ONNX ---------------------------------------------------------------------------------------

const ONNX_NAMES = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"];

function onnxWindow(axis) {
  let padding = axis.padding;
  let same = "";
  if (isName(padding)) {
    if (!ONNX_NAMES.includes(padding)) {
      const fix = padding.toLowerCase() === "same" ? "write SAME_UPPER or SAME_LOWER" : "";
      throw unknownName("ONNX", axis, ONNX_NAMES, fix);
    }
    if (padding.startsWith("SAME")) same = padding;
    else padding = 0;
  }
  if (axis.operation === "transposed") return onnxTransposed(axis, same, padding);
  if (same && axis.dilation > 1) {
    throw new InputError(
      "ONNX Runtime refuses auto_pad SAME with dilation",
      `auto_pad=${same}, dilations=${axis.dilation}`,
      "write pads out",
    );
  }
  let plain;
  if (same) {
    const missing = (ceilDiv(axis.n, axis.stride) - 1) * axis.stride + reach(axis) - axis.n;
    if (axis.operation === "max_pool" && missing < 0) {
      throw new InputError(
        "ONNX Runtime refuses MaxPool with auto_pad SAME where windows leave cells out",
        `i=${axis.n}, kernel_shape=${axis.kernel}, strides=${axis.stride}`,
        "use auto_pad VALID or pads",
      );
    }
    const name = same === "SAME_UPPER" ? "same" : "same_lower";
    plain = resolve(name, axis.n, axis.kernel, axis.stride, axis.dilation);
  } else {
    plain = makeWindow(axis.kernel, axis.stride, axis.dilation, 1, pair(padding));
  }
  if (pooling(axis) && Math.max(...plain.padding) >= axis.kernel) {
    throw new InputError(
      "ONNX Runtime needs pooling pads below the kernel",
      `pads=(${plain.padding.join(", ")}), kernel_shape=${axis.kernel}`,
      `use at most ${axis.kernel - 1}, or a Pad node before`,
    );
  }
  return axis.ceil_mode ? ceiled(plain, axis.n) : plain;
}

function onnxTransposed(axis, same, padding) {
  let extra = axis.output_padding ?? 0;
  if (extra >= axis.stride && extra) {
    throw new InputError(
      "ONNX Runtime needs output_padding below the stride",
      `output_padding=${extra}, strides=${axis.stride}`,
      `use at most ${axis.stride - 1}`,
    );
  }
  const full = (axis.n - 1) * axis.stride + reach(axis) + extra;
  if (!same && axis.output_size === null) {
    return transposedWindow(axis.kernel, axis.stride, axis.dilation, pair(padding), extra);
  }
  const target = axis.output_size === null ? axis.n * axis.stride : axis.output_size;
  let total = full - target;
  if (total < 0 && axis.output_size !== null) {
    extra -= total;
    if (extra >= axis.stride) {
      throw new InputError(
        "ONNX Runtime reaches an output_shape only by adding less than a stride",
        `output_shape=${target}, at most ${full} without adding`,
        `use at most ${full + axis.stride - 1 - (axis.output_padding ?? 0)}`,
      );
    }
  }
  total = Math.max(total, 0);
  const small = floorDiv(total, 2);
  const crops = same === "SAME_UPPER" ? [small, total - small] : [total - small, small];
  return transposedWindow(axis.kernel, axis.stride, axis.dilation, crops, extra);
}

// ---- JAX ----------------------------------------------------------------------------------------

const JAX_NAMES = ["SAME", "SAME_LOWER", "VALID", "CAUSAL"];

function jaxWindow(axis) {
  if (axis.ceil_mode) {
    throw new InputError("JAX has no ceil_mode", "ceil_mode=True", "write the padding in numbers");
  }
  if (axis.output_padding !== null || axis.output_size !== null) {
    throw new InputError(
      "JAX has no output_padding",
      `output_padding=${axis.output_padding}`,
      "write the padding of the spread input in numbers",
    );
  }
  const transposed = axis.operation === "transposed";
  if (!isName(axis.padding)) {
    const pads = pair(axis.padding, !pooling(axis));
    const [stride, spread] = transposed ? [1, axis.stride] : [axis.stride, 1];
    return makeWindow(axis.kernel, stride, axis.dilation, spread, pads);
  }
  const name = axis.padding.toUpperCase();
  let known = axis.operation === "conv" ? JAX_NAMES : JAX_NAMES.slice(0, 3);
  if (transposed && axis.stride > 1) known = ["SAME", "VALID"];
  if (!known.includes(name)) throw unknownName("JAX", axis, known);
  if (!transposed || name === "SAME_LOWER") {
    return resolve(name.toLowerCase(), axis.n, axis.kernel, axis.stride, axis.dilation);
  }
  const [k, stride] = [reach(axis), axis.stride];
  let total = k + stride - 2;
  let low = stride > k - 1 ? k - 1 : ceilDiv(total, 2);
  if (name === "VALID") {
    total += Math.max(k - stride, 0);
    low = k - 1;
  }
  return makeWindow(axis.kernel, 1, axis.dilation, stride, [low, total - low]);
}

// ---- this package's own spelling ----------------------------------------------------------------

function ownWindow(axis) {
  noOutputSize(axis);
  if (axis.operation !== "transposed") {
    const plain = resolve(axis.padding, axis.n, axis.kernel, axis.stride, axis.dilation);
    return axis.ceil_mode ? ceiled(plain, axis.n) : plain;
  }
  let padding = axis.padding;
  if (isName(padding)) {
    if (["same", "same_lower"].includes(padding.toLowerCase())) {
      throw new InputError(
        "frameworks place `same` of a transposed convolution differently",
        `padding=${padding} without a dialect`,
        "name a dialect (keras, onnx, jax), or give the padding in numbers",
      );
    }
    padding = resolve(padding, axis.n, axis.kernel, 1, axis.dilation).padding;
  }
  return transposedWindow(
    axis.kernel,
    axis.stride,
    axis.dilation,
    pair(padding),
    axis.output_padding ?? 0,
  );
}

const WINDOW = {
  keras: kerasWindow,
  torch: torchWindow,
  onnx: onnxWindow,
  jax: jaxWindow,
  convscape: ownWindow,
};

/** The window that really slides over one axis of a layer written for a framework. */
export function dialectWindow(dialect, axis) {
  const whole = {
    dilation: 1,
    ceil_mode: false,
    output_padding: null,
    output_size: null,
    ...axis,
  };
  checkAxis(whole);
  return WINDOW[dialect](whole);
}
