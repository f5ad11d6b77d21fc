// The same layer for another framework: the page's copy of convscape.arithmetic.dialects.translate.
import { InputError, extent, floorDiv, output, slack } from "./arithmetic.js";
import { isName } from "./dialects.js";
import { counted, layerDivisors, layerOutputs, layerWindows, makeLayer } from "./layer.js";

const pooling = (layer) => layer.operation === "max_pool" || layer.operation === "avg_pool";
const anyPair = (pairs) => pairs.some((pair) => pair[0] || pair[1]);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

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
    ...layer,
    dialect: target,
    ceil_mode: false,
    output_padding: null,
    output_size: null,
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
  const dividing = layer.operation === "avg_pool" && target !== "keras" ? [false, true] : [false];
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
  const rest = {
    dialect,
    count_include_pad: ["torch", "jax"].includes(dialect),
    output_size: null,
  };
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
  const padding = auto ? each(auto) : spread ? each(padded ? "SAME" : "VALID") : numbers;
  return { ...layer, ...rest, padding, ceil_mode: false, output_padding: null };
}
