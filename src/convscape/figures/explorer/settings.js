// What the page is set to: limits that keep every setting valid, and the nearest
// valid ones to any others.
import { InputError, PADDING_NAMES, range } from "./arithmetic.js";
import { makeLayer } from "./layer.js";
import { outline, paddedBounds, prepare, scatterBounds } from "./numbers.js";

export const OPERATIONS = ["conv", "transposed", "max_pool", "avg_pool"];
export const BOUNDS = {
  input: [1, 32],
  kernel: [1, 16],
  stride: [1, 16],
  dilation: [1, 18],
  padding: [0, 18],
  output_padding: [0, 17],
  in_channels: [1, 4],
  out_channels: [1, 4],
  groups: [1, 4],
};
/** Cells of one drawn axis, and of all grids together. */
export const MAX_AXIS = 64;
export const MAX_CELLS = 9216;

export const DEFAULTS = Object.freeze({
  operation: "conv",
  rank: 2,
  input: [5, 5],
  kernel: [3, 3],
  stride: [1, 1],
  dilation: [1, 1],
  padding: [
    [0, 0],
    [0, 0],
  ],
  output_padding: [0, 0],
  ceil_mode: false,
  count_include_pad: false,
  in_channels: 1,
  out_channels: 1,
  groups: 1,
});

const PER_AXIS = ["input", "kernel", "stride", "dilation", "output_padding"];
export const pools = (s) => s.operation === "max_pool" || s.operation === "avg_pool";

/** The layer that settings describe, in this package's own spelling. */
export function layerOf(s) {
  const pooling = pools(s);
  return makeLayer({
    dialect: "convscape",
    operation: s.operation,
    kernel: s.kernel,
    stride: s.stride,
    padding: typeof s.padding === "string" ? s.kernel.map(() => s.padding) : s.padding,
    dilation: s.dilation,
    ceil_mode: pooling && s.ceil_mode,
    output_padding: s.operation === "transposed" ? s.output_padding : null,
    count_include_pad: s.operation === "avg_pool" && s.count_include_pad,
    in_channels: s.in_channels,
    out_channels: pooling ? s.in_channels : s.out_channels,
    groups: pooling ? 1 : s.groups,
  });
}

export const problemOf = (s) => prepare(layerOf(s), s.input);

/** Names that padding may have for an operation. */
export const paddingNames = (operation) =>
  operation === "transposed"
    ? PADDING_NAMES.filter((name) => !name.startsWith("same"))
    : PADDING_NAMES;

function within(name, value) {
  const [least, most] = BOUNDS[name];
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Why settings cannot be shown; empty when they can. */
export function refusal(s) {
  for (const name of PER_AXIS) {
    if (!s[name].every((v) => within(name, v))) return `${name} is out of range`;
  }
  if (!["in_channels", "out_channels", "groups"].every((name) => within(name, s[name]))) {
    return "channels are out of range";
  }
  if (typeof s.padding === "string") {
    if (!paddingNames(s.operation).includes(s.padding)) return `${s.padding} is not for this layer`;
  } else {
    const tight = s.operation !== "conv";
    for (const [axis, ends] of s.padding.entries()) {
      const reach = s.dilation[axis] * (s.kernel[axis] - 1);
      if (ends.some((p) => !within("padding", p) || (tight && p > reach))) {
        return "padding is larger than the window";
      }
    }
  }
  if (s.operation === "transposed") {
    const fits = s.output_padding.every(
      (a, axis) => a < Math.max(s.stride[axis], s.dilation[axis]),
    );
    if (!fits) return "output padding must be below the stride";
  }
  try {
    const p = outline(layerOf(s), s.input);
    const length = ([from, end]) => end - from;
    const drawn = [paddedBounds(p)];
    drawn.push(p.reversed ? scatterBounds(p) : p.outputs.map((o) => [0, o]));
    if (drawn.flat().some((bounds) => length(bounds) > MAX_AXIS)) {
      return `an axis is drawn up to ${MAX_AXIS} cells`;
    }
    const cells = drawn.map((bounds) => bounds.map(length).reduce((a, b) => a * b));
    if (cells[0] * p.channels + cells[1] * p.filters > MAX_CELLS) {
      return `up to ${MAX_CELLS} cells are drawn`;
    }
  } catch (error) {
    if (error instanceof InputError) return error.rule;
    throw error;
  }
  return "";
}

/** The settings with one number changed; axis null changes every axis, end null both ends. */
export function vary(s, name, value, axis = null, end = null) {
  if (name === "padding") {
    const padding = s.padding.map((ends, a) =>
      axis === null || a === axis
        ? ends.map((p, e) => (end === null || e === end ? value : p))
        : ends,
    );
    return { ...s, padding };
  }
  if (!PER_AXIS.includes(name)) return { ...s, [name]: value };
  return { ...s, [name]: s[name].map((v, a) => (axis === null || a === axis ? value : v)) };
}

/** [least, most] that one control can reach without an invalid setting on the way. */
export function limits(s, name, axis = null, end = null) {
  const at =
    name === "padding"
      ? s.padding[axis ?? 0][end ?? 0]
      : PER_AXIS.includes(name)
        ? s[name][axis ?? 0]
        : s[name];
  const fits = (value) => within(name, value) && !refusal(vary(s, name, value, axis, end));
  let [least, most] = [at, at];
  while (fits(least - 1)) least -= 1;
  while (fits(most + 1)) most += 1;
  return [least, most];
}

/** Groups that divide both channel counts. */
export const groupChoices = (s) =>
  range(Math.min(s.in_channels, s.out_channels), 1).filter(
    (g) => s.in_channels % g === 0 && s.out_channels % g === 0,
  );

export const WORDS = {
  input: "input size",
  kernel: "kernel",
  stride: "stride",
  dilation: "dilation",
  padding: "padding",
  output_padding: "output padding",
  in_channels: "channels in",
  out_channels: "channels out",
  groups: "groups",
};

/** The nearest settings that can be shown, and a note for each correction. */
export function repaired(settings) {
  let s = settings;
  const notes = [];
  const settle = (name, change, from, candidates) => {
    const tried = candidates
      .sort((a, b) => Math.abs(a - from) - Math.abs(b - from))
      .map((value) => [value, change(value)])
      .find(([, made]) => !refusal(made));
    if (!tried) return false;
    if (tried[0] !== from)
      notes.push(`${WORDS[name]} ${from} does not go with the rest: ${tried[0]}`);
    [, s] = tried;
    return true;
  };
  const every = (name) => range(BOUNDS[name][1] - BOUNDS[name][0] + 1, BOUNDS[name][0]);
  if (!pools(s) && (s.in_channels % s.groups || s.out_channels % s.groups)) {
    notes.push(`${s.groups} groups do not divide the channels: 1`);
    s = { ...s, groups: 1 };
  }
  if (typeof s.padding === "string" && !paddingNames(s.operation).includes(s.padding)) {
    notes.push(`padding ${s.padding} is not for this layer: valid`);
    s = { ...s, padding: "valid" };
  }
  for (const axis of range(s.rank)) {
    const reach = s.dilation[axis] * (s.kernel[axis] - 1);
    if (typeof s.padding !== "string" && s.operation !== "conv") {
      for (const end of [0, 1]) {
        const p = s.padding[axis][end];
        if (p > reach) {
          notes.push(`padding ${p} does not go with the rest: ${reach}`);
          s = vary(s, "padding", reach, axis, end);
        }
      }
    }
    const most = Math.max(s.stride[axis], s.dilation[axis]) - 1;
    if (s.operation === "transposed" && s.output_padding[axis] > most) {
      notes.push(`output padding ${s.output_padding[axis]} does not go with the rest: ${most}`);
      s = vary(s, "output_padding", most, axis);
    }
  }
  if (!refusal(s)) return { settings: s, notes };
  // One number at a time, one axis and then all; what is left over goes back to the plainest.
  for (const axis of [...range(s.rank), null]) {
    for (const name of ["kernel", "dilation", "stride", "input"]) {
      const from = s[name][axis ?? 0];
      if (settle(name, (value) => vary(s, name, value, axis), from, every(name))) {
        return { settings: s, notes };
      }
    }
  }
  notes.push("these settings cannot be drawn together: stride, dilation and channels set to 1");
  const ones = s.input.map(() => 1);
  s = {
    ...s,
    stride: ones,
    dilation: ones,
    in_channels: 1,
    out_channels: 1,
    groups: 1,
    padding: s.input.map(() => [0, 0]),
    output_padding: ones.map(() => 0),
    kernel: s.kernel.map((k, a) => Math.min(k, s.input[a])),
  };
  return { settings: refusal(s) ? { ...DEFAULTS } : s, notes };
}
