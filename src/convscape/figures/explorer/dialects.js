// How Keras, PyTorch, ONNX and JAX spell and round a layer, and the same layer written for another
// of them: the page's copy of convscape.arithmetic.dialects. A layer is a plain object with the
// fields of convscape.arithmetic.dialects.Layer.
import {
  InputError, ceilDiv, ceiled, divisors, extent, floorDiv, makeWindow, mod, output, resolve, slack,
  transposedWindow, unfit,
} from "./arithmetic.js";

export const DIALECTS = ["keras", "torch", "onnx", "jax"];
export const DIALECT_TITLES = { keras: "Keras / TF", torch: "PyTorch", onnx: "ONNX", jax: "JAX" };

const pooling = (axis) => axis.operation === "max_pool" || axis.operation === "avg_pool";
const reach = (axis) => axis.dilation * (axis.kernel - 1) + 1;
const isName = (padding) => typeof padding === "string";
const anyPair = (pairs) => pairs.some((pair) => pair[0] || pair[1]);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function pair(padding, crop = false) {
  const ends = typeof padding === "number" ? [padding, padding] : [...padding];
  if (Math.min(...ends) < 0 && !crop) {
    throw new InputError(
      "padding must not be negative", `padding=${padding}`, "crop the input before the layer",
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
      "only ONNX reaches for an output size", String(axis.output_size), "use output_padding",
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
      "ceil_mode is an option of pooling", axis.operation, "leave ceil_mode out",
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
        `${name} must not be negative`, `${name}=${axis[name]}`, `use ${name}=0`,
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
      "Keras pooling has no dilation", `dilation=${axis.dilation}`, "use dilation=1",
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
        "PyTorch", axis, axis.operation === "conv" ? ["valid", "same", "numbers"] : ["numbers"],
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
      "PyTorch's average pooling has no dilation", `dilation=${axis.dilation}`, "use dilation=1",
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
    axis.kernel, axis.stride, axis.dilation, pair(padding), axis.output_padding ?? 0,
  );
}

const WINDOW = {
  keras: kerasWindow, torch: torchWindow, onnx: onnxWindow, jax: jaxWindow, convscape: ownWindow,
};

/** The window that really slides over one axis of a layer written for a framework. */
export function dialectWindow(dialect, axis) {
  const whole = {
    dilation: 1, ceil_mode: false, output_padding: null, output_size: null, ...axis,
  };
  checkAxis(whole);
  return WINDOW[dialect](whole);
}

// ---- whole layers -------------------------------------------------------------------------------

const SETTINGS = {
  ceil_mode: false, output_padding: null, output_size: null, count_include_pad: false,
  in_channels: 1, out_channels: 1, groups: 1, bias: true,
};

/** A layer, after the rules that need no input size. */
export function makeLayer(fields) {
  const layer = { ...SETTINGS, ...fields };
  layer.kernel.forEach((k, a) => makeWindow(k, layer.stride[a], layer.dilation[a]));
  const names = layer.padding.filter(isName);
  const oneName = names.length === layer.padding.length && new Set(names).size === 1;
  const { dialect, operation, groups } = layer;
  if (names.length && !oneName && dialect !== "convscape") {
    throw new InputError(
      `${dialect} has one padding name for all axes`,
      `padding=${layer.padding}`,
      "give one name, or numbers for every axis",
    );
  }
  const causal = names.some((name) => name.toLowerCase() === "causal");
  if (causal && layer.kernel.length > 1 && dialect !== "convscape") {
    throw new InputError(
      "causal padding is for one axis", `${layer.kernel.length} axes`, "use rank 1",
    );
  }
  const convolves = operation === "conv" || operation === "transposed";
  const strided = Math.max(...layer.stride) > 1;
  if (dialect === "keras" && convolves && strided && Math.max(...layer.dilation) > 1) {
    throw new InputError(
      "Keras refuses strides above 1 together with dilation above 1, on any axes",
      `strides=${layer.stride}, dilation_rate=${layer.dilation}`,
      "set one of them to 1",
    );
  }
  if (operation === "transposed" && groups > 1 && (dialect === "keras" || dialect === "jax")) {
    throw new InputError(
      dialect === "keras"
        ? "Keras has no grouped transposed convolution"
        : "lax.conv_transpose has no groups",
      `groups=${groups}`,
      "use groups=1, or split the channels",
    );
  }
  if (convolves) {
    for (const name of ["in_channels", "out_channels"]) {
      if (layer[name] % groups) {
        throw new InputError(
          `groups must divide ${name}`,
          `${name}=${layer[name]}, groups=${groups}`,
          "choose groups from the common divisors of both channel counts",
        );
      }
    }
  }
  return layer;
}

function rawWindows(layer, spatial) {
  return spatial.map((n, a) =>
    dialectWindow(layer.dialect, {
      operation: layer.operation,
      n,
      kernel: layer.kernel[a],
      stride: layer.stride[a],
      padding: layer.padding[a],
      dilation: layer.dilation[a],
      ceil_mode: layer.ceil_mode,
      output_padding: layer.output_padding ? layer.output_padding[a] : null,
      output_size: layer.output_size ? layer.output_size[a] : null,
    }));
}

/** The window of each axis; refuses one that does not fit. */
export function layerWindows(layer, spatial) {
  const windows = rawWindows(layer, spatial);
  windows.forEach((w, a) => {
    if (!output(w, spatial[a])) {
      const error = unfit(w, spatial[a]);
      throw new InputError(
        "the window must fit the padded input on every axis", `axis ${a}: ${error.got}`, error.fix,
      );
    }
  });
  return windows;
}

export const layerOutputs = (layer, spatial) =>
  layerWindows(layer, spatial).map((w, a) => output(w, spatial[a]));

/** The windows without what ceil_mode adds. */
export const configured = (layer, spatial) => rawWindows({ ...layer, ceil_mode: false }, spatial);

/** The padding of each axis that an average's divisor counts. */
export const counted = (layer, spatial) =>
  layer.count_include_pad
    ? configured(layer, spatial).map((w) => w.padding)
    : spatial.map(() => [0, 0]);

/** What an average divides by, for each output cell of each axis. */
export const layerDivisors = (layer, spatial) => {
  const pads = counted(layer, spatial);
  return layerWindows(layer, spatial).map((w, a) => divisors(w, spatial[a], pads[a]));
};

// ---- translation --------------------------------------------------------------------------------

/** The same layer for another framework: {source, spatial, layer, pad, crop, counted}. */
export function translate(layer, spatial, target) {
  const windows = layerWindows(layer, spatial);
  const nothing = spatial.map(() => [0, 0]);
  const bare = { source: layer, spatial, pad: nothing, crop: nothing, counted: null };
  if (layer.dialect === target) return { ...bare, layer };
  for (const spelling of spellings(layer, windows, target)) {
    try {
      const candidate = spelled(layer, target, spelling);
      if (sameLayer(layer, candidate, spatial)) return { ...bare, layer: candidate };
    } catch (refusal) {
      if (!(refusal instanceof InputError)) throw refusal;
    }
  }
  const made = around(layer, windows, spatial, target);
  layerWindows(made.layer, paddedSizes(made));
  return made;
}

export const paddedSizes = (t) => t.spatial.map((n, a) => n + sum(t.pad[a]));

export const translatedOutputs = (t) =>
  layerOutputs(t.layer, paddedSizes(t)).map((o, a) => o - sum(t.crop[a]));

export const isExact = (t) => !anyPair(t.pad) && !anyPair(t.crop) && t.counted === null;

const spelled = (layer, target, changes) =>
  makeLayer({
    ...layer, dialect: target, ceil_mode: false, output_padding: null, output_size: null,
    ...changes,
  });

function* spellings(layer, windows, target) {
  const names = target === "keras" ? ["valid", "same", "causal"] : [];
  const each = (value) => layer.kernel.map(() => value);
  const paddings = names.map(each);
  if (layer.operation === "transposed") {
    if (target === "keras") {
      for (const extra of [null, ...product(layer.stride)]) {
        for (const padding of paddings.slice(0, 2)) yield { padding, output_padding: extra };
      }
    } else if (target === "jax") {
      yield { padding: windows.map((w) => w.padding) };
    } else {
      yield transposedNumbers(windows, target);
    }
    return;
  }
  const rounding = pooling(layer) && ["torch", "onnx"].includes(target) ? [false, true] : [false];
  const dividing =
    layer.operation === "avg_pool" && target !== "keras" ? [false, true] : [false];
  if (target === "torch") paddings.push(windows.map((w) => w.padding[0]));
  else if (target !== "keras") paddings.push(windows.map((w) => w.padding));
  for (const count_include_pad of dividing) {
    for (const ceil_mode of rounding) {
      for (const padding of paddings) yield { padding, ceil_mode, count_include_pad };
    }
  }
}

function* product(counts) {
  if (!counts.length) {
    yield [];
    return;
  }
  const [first, ...rest] = counts;
  for (let value = 0; value < first; value += 1) {
    for (const tail of product(rest)) yield [value, ...tail];
  }
}

function transposedNumbers(windows, target) {
  const crops = windows.map((w) => w.padding.map((p) => extent(w) - 1 - p));
  if (target === "torch") {
    return {
      padding: crops.map(([low]) => low),
      output_padding: crops.map(([low, high]) => low - high),
    };
  }
  const extra = crops.map(([, high]) => Math.max(0, -high));
  return {
    padding: crops.map(([low, high]) => [low, Math.max(0, high)]),
    output_padding: extra.some(Boolean) ? extra : null,
  };
}

/** Whether every output cell reads the same cells, divided by the same number. */
export function sameLayer(layer, other, spatial) {
  const [a, b] = [layerWindows(layer, spatial), layerWindows(other, spatial)];
  const shape = (w, n) =>
    [w.kernel, w.stride, w.dilation, w.input_dilation, w.padding[0], output(w, n)].join();
  if (spatial.some((n, axis) => shape(a[axis], n) !== shape(b[axis], n))) return false;
  if (layer.operation !== "avg_pool") return true;
  const parts = [layerDivisors(layer, spatial), layerDivisors(other, spatial)];
  return JSON.stringify(parts[0]) === JSON.stringify(parts[1]);
}

function around(layer, windows, spatial, target) {
  const nothing = spatial.map(() => [0, 0]);
  const none = { keras: "valid", jax: "VALID" }[target] ?? 0;
  const fixed = { padding: spatial.map(() => none) };
  if (layer.operation === "transposed") {
    fixed.output_padding = target === "jax" ? null : spatial.map(() => 0);
    if (target === "jax") fixed.padding = windows.map((w) => [extent(w) - 1, extent(w) - 1]);
    const bare = spelled(layer, target, fixed);
    const ends = windows.map(extended);
    const [pad, crop] = [ends.map((e) => e[0]), ends.map((e) => e[1])];
    return { source: layer, spatial, layer: bare, pad, crop, counted: null };
  }
  fixed.count_include_pad = ["torch", "jax"].includes(target);
  const bare = spelled(layer, target, fixed);
  const pad = windows.map((w, a) => [w.padding[0], needed(w, spatial[a])]);
  let mask = null;
  if (layer.operation === "avg_pool") {
    const full = windows.map((w, a) => Array(output(w, spatial[a])).fill(w.kernel));
    if (JSON.stringify(layerDivisors(layer, spatial)) !== JSON.stringify(full)) {
      mask = counted(layer, spatial).map((c, a) => c.map((cells, e) => Math.min(cells, pad[a][e])));
    }
  }
  return { source: layer, spatial, layer: bare, pad, crop: nothing, counted: mask };
}

/** The high padding without what no window reads. */
function needed(w, n) {
  const high = w.padding[1];
  return high <= 0 ? high : Math.max(0, high - slack(w, n));
}

function extended(w) {
  const crops = w.padding.map((p) => extent(w) - 1 - p);
  const grown = crops.map((c) => -floorDiv(Math.min(0, c), w.input_dilation));
  return [grown, crops.map((c, e) => c + grown[e] * w.input_dilation)];
}

/** How a framework's user would write this layer's settings, by habit; it may mean another window.
 *
 * `same` stays a name where there is one; a number stays a number, or becomes the nearest name.
 */
export function habit(layer, dialect) {
  const named = layer.padding.every(isName);
  const name = named ? layer.padding[0] : null;
  const transposed = layer.operation === "transposed";
  const half = layer.kernel.map((k, a) => floorDiv(layer.dilation[a] * (k - 1) + 1, 2));
  const numbers = layer.padding.map((p, a) => {
    if (!isName(p)) return typeof p === "number" ? [p, p] : [...p];
    const k = layer.dilation[a] * (layer.kernel[a] - 1);
    if (p === "valid") return [0, 0];
    if (p === "full") return [k, k];
    return p === "causal" ? [k, 0] : [half[a], half[a]];
  });
  const padded = anyPair(numbers);
  const rest = { dialect, count_include_pad: ["torch", "jax"].includes(dialect), output_size: null };
  const extra = layer.output_padding?.some(Boolean) ? layer.output_padding : null;
  const each = (value) => layer.kernel.map(() => value);
  const sameish = name === "same" || name === "half" || (!named && padded);
  if (dialect === "keras") {
    const keras = name === "causal" && layer.kernel.length === 1 && !transposed ? "causal" : null;
    const padding = each(keras ?? (sameish || (named && padded) ? "same" : "valid"));
    return { ...layer, ...rest, padding, ceil_mode: false, output_padding: extra };
  }
  if (dialect === "torch") {
    const plain = layer.stride.every((s) => s === 1) && layer.operation === "conv";
    const padding = name === "same" && plain ? each("same") : numbers.map(([low]) => low);
    return { ...layer, ...rest, padding };
  }
  if (dialect === "onnx") {
    const auto = { same: "SAME_UPPER", same_lower: "SAME_LOWER" }[name];
    return { ...layer, ...rest, padding: auto ? each(auto) : numbers };
  }
  const auto = { same: "SAME", same_lower: "SAME_LOWER", valid: "VALID" }[name];
  const spread = transposed && auto === undefined;
  const padding = auto
    ? each(auto)
    : spread ? each(padded ? "SAME" : "VALID") : numbers;
  return { ...layer, ...rest, padding, ceil_mode: false, output_padding: null };
}
