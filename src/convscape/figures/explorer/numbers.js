// A layer with numbers in it: what every output is made of, and what a cell or a weight touches.
//
// A problem is prepared once for some settings; all of it is read from taps. Axes are always two
// (rows, columns): on one axis the rows are a single cell. Weights are numbered by the kernel as it
// is written; a transposed convolution slides it reversed over the spread input.
import { extent, floorDiv, makeWindow, mod, output, range, start, taps } from "./arithmetic.js";
import { configured, layerDivisors, layerWindows } from "./layer.js";

const DECK_INPUT = [
  [3, 3, 2, 1, 0],
  [0, 0, 1, 3, 1],
  [3, 1, 2, 2, 3],
  [2, 0, 0, 2, 2],
  [2, 0, 0, 0, 1],
];
const DECK_KERNEL = [
  [0, 1, 2],
  [2, 2, 0],
  [0, 1, 2],
];

/** A number from 0 to below `most` that is always the same for the same place. */
const scattered = (channel, y, x, most) =>
  floorDiv(mod(channel * 7919 + y * 104729 + x * 1299709 + y * x * 15485863, 9973), 7) % most;

export const defaultInput = (channel, y, x) =>
  (channel === 0 ? DECK_INPUT[y]?.[x] : undefined) ?? scattered(channel + 1, y, x, 4);

export const defaultWeight = (filter, channel, y, x, [rows, columns]) =>
  filter === 0 && channel === 0 && rows <= 3 && columns <= 3
    ? DECK_KERNEL[rows === 1 ? y + 1 : y][x]
    : scattered(filter * 13 + channel + 5, y, x, 3);

const two = (values, filler) => (values.length === 1 ? [filler, values[0]] : values);

const NONE = makeWindow(1);

/** The windows and sizes of a layer on an input: as much as it takes to know what is drawn. */
export function outline(layer, spatial) {
  const windows = two(layerWindows(layer, spatial), NONE);
  const sizes = two(spatial, 1);
  const convolves = layer.operation === "conv" || layer.operation === "transposed";
  return {
    layer,
    operation: layer.operation,
    convolves,
    reversed: layer.operation === "transposed",
    windows,
    sizes,
    outputs: windows.map((w, a) => output(w, sizes[a])),
    spans: windows.map((w, a) => (sizes[a] - 1) * w.input_dilation + 1),
    channels: layer.in_channels,
    filters: convolves ? layer.out_channels : layer.in_channels,
  };
}

/** Everything about a layer on an input that does not depend on numbers. */
export function prepare(layer, spatial) {
  const p = outline(layer, spatial);
  const { windows, sizes, outputs, filters, convolves } = p;
  return {
    ...p,
    plain: two(configured(layer, spatial), NONE),
    kernel: windows.map((w) => w.kernel),
    taps: windows.map((w, a) => range(outputs[a]).map((o) => taps(w, o, sizes[a]))),
    divisors: layer.operation === "avg_pool" ? two(layerDivisors(layer, spatial), [1]) : null,
    // Input channels that an output channel reads, and output channels that read the same ones.
    per: convolves ? layer.in_channels / layer.groups : 1,
    perOut: convolves ? filters / layer.groups : 1,
  };
}

/** First input channel that output channel f reads. */
export const firstChannel = (p, f) => (p.convolves ? floorDiv(f, p.perOut) * p.per : f);

/** The written kernel cell that meets window position k on an axis. */
export const written = (p, axis, k) => (p.reversed ? p.kernel[axis] - 1 - k : k);

/** The numbers of a problem: functions x(c, y, x) and w(f, c, y, x) from overrides. */
export function numbersOf(p, editedInput, editedKernel) {
  const x = range(p.channels).map((c) =>
    range(p.sizes[0]).map((y) =>
      range(p.sizes[1]).map((i) => editedInput.get(`${c},${y},${i}`) ?? defaultInput(c, y, i)),
    ),
  );
  const w = range(p.filters).map((f) =>
    range(p.per).map((c) =>
      range(p.kernel[0]).map((y) =>
        range(p.kernel[1]).map(
          (i) => editedKernel.get(`${f},${c},${y},${i}`) ?? defaultWeight(f, c, y, i, p.kernel),
        ),
      ),
    ),
  );
  return { x, w };
}

/** The terms of one output cell, in the order the window reads them. */
export function terms(p, numbers, [f, y, x]) {
  const out = [];
  const first = firstChannel(p, f);
  for (let c = 0; c < p.per; c += 1) {
    for (let ky = 0; ky < p.kernel[0]; ky += 1) {
      for (let kx = 0; kx < p.kernel[1]; kx += 1) {
        const cell = [p.taps[0][y][ky], p.taps[1][x][kx]];
        const real = cell[0] !== null && cell[1] !== null;
        const weight = [c, written(p, 0, ky), written(p, 1, kx)];
        out.push({
          weight,
          at: [
            first + c,
            start(p.windows[0], y) + ky * p.windows[0].dilation,
            start(p.windows[1], x) + kx * p.windows[1].dilation,
          ],
          cell: real ? [first + c, ...cell] : null,
          value: real ? numbers.x[first + c][cell[0]][cell[1]] : 0,
          factor: p.convolves ? numbers.w[f][c][weight[1]][weight[2]] : 1,
        });
      }
    }
  }
  return out;
}

/** The number of one output cell; null for the maximum of padding alone. */
export function value(p, numbers, place) {
  const parts = terms(p, numbers, place);
  if (p.operation === "max_pool") {
    const real = parts.filter((t) => t.cell);
    return real.length ? Math.max(...real.map((t) => t.value)) : null;
  }
  const total = parts.reduce((sum, t) => sum + t.value * t.factor, 0);
  if (p.operation !== "avg_pool") return total;
  const divisor = p.divisors[0][place[1]] * p.divisors[1][place[2]];
  return divisor ? total / divisor : null;
}

/** All output numbers, [filter][row][column]. */
export const allValues = (p, numbers) =>
  range(p.filters).map((f) =>
    range(p.outputs[0]).map((y) => range(p.outputs[1]).map((x) => value(p, numbers, [f, y, x]))),
  );

// ---- what touches what --------------------------------------------------------------------------
// Each answer is a list of {weight: [c, ky, kx], at: [channel, y, x], out: [f, y, x]}: a place on
// the spread, padded input (cell 0 at 0), the kernel cell there, and the output that it feeds.

/** Everything that output cell [f, y, x] reads. */
export const ofOutput = (p, numbers, out) => terms(p, numbers, out).map((t) => ({ ...t, out }));

/** Pairs (output, window position) of one axis that meet position t of the spread input. */
const meeting = (p, axis, t) => {
  const w = p.windows[axis];
  return range(p.outputs[axis]).flatMap((o) => {
    const k = (t - start(w, o)) / w.dilation;
    return Number.isInteger(k) && k >= 0 && k < w.kernel ? [[o, k]] : [];
  });
};

/** Everything that a place [channel, y, x] of the spread, padded input feeds, for one filter. */
export function ofPlace(p, [channel, y, x], f) {
  const c = channel - firstChannel(p, f);
  if (c < 0 || c >= p.per) return [];
  return meeting(p, 0, y).flatMap(([oy, ky]) =>
    meeting(p, 1, x).map(([ox, kx]) => ({
      weight: [c, written(p, 0, ky), written(p, 1, kx)],
      at: [channel, y, x],
      out: [f, oy, ox],
    })),
  );
}

/** Everything that weight [c, ky, kx] of filter f multiplies. */
export function ofWeight(p, [c, ky, kx], f) {
  const at = [written(p, 0, ky), written(p, 1, kx)];
  const channel = firstChannel(p, f) + c;
  return range(p.outputs[0]).flatMap((oy) =>
    range(p.outputs[1]).map((ox) => ({
      weight: [c, ky, kx],
      at: [
        channel,
        start(p.windows[0], oy) + at[0] * p.windows[0].dilation,
        start(p.windows[1], ox) + at[1] * p.windows[1].dilation,
      ],
      out: [f, oy, ox],
    })),
  );
}

// ---- places -------------------------------------------------------------------------------------

/** Rows and columns of the padded, spread input that are drawn: [first, end) of each axis. */
export const paddedBounds = (p) =>
  p.windows.map((w, a) => [-Math.max(0, w.padding[0]), p.spans[a] + Math.max(0, w.padding[1])]);

/** Rows and columns of the output with what a transposed convolution crops around it. */
export function scatterBounds(p) {
  return p.windows.map((w, a) => {
    const low = extent(w) - 1 - w.padding[0];
    return [-Math.max(0, low), Math.max(p.outputs[a], p.spans[a] + extent(w) - 1 - low)];
  });
}

/** The input cell at a place of the spread input: [c, y, x], or null for padding and gaps. */
export function cellAt(p, [c, y, x]) {
  const cell = [y, x].map((t, a) => {
    const e = p.windows[a].input_dilation;
    return mod(t, e) === 0 && t >= 0 && t < p.spans[a] ? floorDiv(t, e) : null;
  });
  return cell.includes(null) ? null : [c, ...cell];
}

/** The place on the spread input of input cell [c, y, x]. */
export const placeOf = (p, [c, y, x]) => [
  c,
  y * p.windows[0].input_dilation,
  x * p.windows[1].input_dilation,
];

/** What input cell [c, y, x] adds where, for one filter: cropped targets have no output. */
export function stamp(p, numbers, [c, y, x], f) {
  const within = c - firstChannel(p, f);
  if (within < 0 || within >= p.per) return [];
  const low = p.windows.map((w) => extent(w) - 1 - w.padding[0]);
  const [wy, wx] = p.windows;
  return range(p.kernel[0]).flatMap((ky) =>
    range(p.kernel[1]).map((kx) => {
      const oy = y * wy.input_dilation + ky * wy.dilation - low[0];
      const ox = x * wx.input_dilation + kx * wx.dilation - low[1];
      const kept = oy >= 0 && oy < p.outputs[0] && ox >= 0 && ox < p.outputs[1];
      return {
        weight: [within, ky, kx],
        at: [c, y * wy.input_dilation, x * wx.input_dilation],
        out: [f, oy, ox],
        kept,
        value: numbers.x[c][y][x],
        factor: numbers.w[f][within][ky][kx],
      };
    }),
  );
}
