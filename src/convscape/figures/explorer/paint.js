// What the three grids show: their layout, and the colours, subscripts and marks of one focus.
// Everything here is data; grid.js puts it on the page, picture.js in an SVG or a GIF.
import { extent, floorDiv, range } from "./arithmetic.js";
import {
  cellAt, firstChannel, ofOutput, ofPlace, ofWeight, paddedBounds, scatterBounds, stamp, value,
  written,
} from "./numbers.js";

// P. Tol, "Colour schemes", SRON technical note, 2021 (the light scheme): each weight owns one.
const WEIGHTS = [
  "#77AADD",
  "#EE8866",
  "#EEDD88",
  "#FFAABB",
  "#99DDFF",
  "#44BB99",
  "#BBCC33",
  "#AAAA00",
  "#DDDDDD",
];
export const ON_WEIGHT = "#1A1A1A";

/** Two colours mixed, `part` of the second. */
export function mix(a, b, part) {
  const channel = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  return `#${[1, 3, 5]
    .map((at) =>
      Math.round(channel(a, at) * (1 - part) + channel(b, at) * part)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;
}

/** The colour of a weight [c, ky, kx]; beyond nine they repeat, whiter. */
export function weightColour(p, [c, ky, kx]) {
  const index = (c * p.kernel[0] + ky) * p.kernel[1] + kx;
  const turn = floorDiv(index, WEIGHTS.length) % 3;
  return mix(WEIGHTS[index % WEIGHTS.length], "#FFFFFF", turn * 0.28);
}

/** A number for a cell: up to `digits` decimals, none that say nothing. */
export function show(number, digits = 1) {
  if (number === null) return "−∞";
  const text = String(Number(number.toFixed(digits)));
  return (text === "-0" ? "0" : text).replace("-", "−");
}

const key = (cell) => cell.join();

/** Layout of the input, kernel and output grids for a view (window or scatter). */
export function gridsOf(p, view) {
  const scatter = view === "scatter";
  const inputBounds = scatter ? p.sizes.map((n) => [0, n]) : paddedBounds(p);
  const outputBounds = scatter ? scatterBounds(p) : p.outputs.map((o) => [0, o]);
  const cell = (place) => (scatter ? place : cellAt(p, place));
  const read = p.windows.map((w, a) => {
    const seen = new Set();
    for (const o of range(p.outputs[a])) {
      range(p.kernel[a]).forEach((k) => seen.add(o * w.stride - w.padding[0] + k * w.dilation));
    }
    return seen;
  });
  // In the configured padding, or in what ceil_mode adds beyond it.
  const kindOf = (place) => {
    const real = cell(place);
    const [, y, x] = scatter
      ? [0, place[1] * p.windows[0].input_dilation, place[2] * p.windows[1].input_dilation]
      : place;
    const unread = !read[0].has(y) || !read[1].has(x);
    if (real) return unread ? "unread" : "cell";
    const inside = [y, x].every((t, a) => t >= 0 && t < p.spans[a]);
    return inside ? "gap" : unread ? "padunread" : "pad";
  };
  return {
    input: {
      bounds: inputBounds,
      channels: p.channels,
      kind: kindOf,
      cell,
    },
    kernel: {
      bounds: p.kernel.map((k) => [0, k]),
      channels: p.per,
      kind: () => "weight",
    },
    output: {
      bounds: outputBounds,
      channels: p.filters,
      kind: ([, y, x]) =>
        y >= 0 && y < p.outputs[0] && x >= 0 && x < p.outputs[1] ? "out" : "crop",
    },
  };
}

/** The written weight at a cell of the drawn kernel, which the spread view shows reversed. */
export const drawnWeight = (p, view, [c, y, x]) =>
  view === "window" ? [c, written(p, 0, y), written(p, 1, x)] : [c, y, x];

/** Steps of an animation: [row, column] of the output's cells, or of the input's when scattering. */
export const stepsOf = (p, view) => {
  const [rows, columns] = view === "scatter" ? p.sizes : p.outputs;
  return rows * columns;
};

export function stepFocus(p, view, at, filter) {
  const columns = view === "scatter" ? p.sizes[1] : p.outputs[1];
  const place = [floorDiv(at, columns), at % columns];
  return view === "scatter"
    ? { part: "input", cell: [firstChannel(p, filter), ...place] }
    : { part: "output", cell: [filter, ...place] };
}

/** What a focus touches: a list of {weight, at, out, ...} of numbers.js. */
export function touched(p, numbers, view, focus, filter) {
  const scatter = view === "scatter";
  const { part, cell } = focus;
  if (part === "output") {
    const [f, y, x] = cell;
    if (y < 0 || x < 0 || y >= p.outputs[0] || x >= p.outputs[1]) return [];
    const all = ofOutput(p, numbers, [f, y, x]);
    return scatter ? all.filter((t) => t.cell) : all;
  }
  if (part === "kernel") {
    const all = ofWeight(p, drawnWeight(p, view, cell), filter);
    return scatter ? all.filter((t) => cellAt(p, t.at)) : all;
  }
  return scatter ? stamp(p, numbers, cell, filter) : ofPlace(p, cell, filter);
}

/** The drawn place of `at` on the input grid. */
const inputPlace = (p, view, [c, y, x]) =>
  view === "scatter"
    ? [c, floorDiv(y, p.windows[0].input_dilation), floorDiv(x, p.windows[1].input_dilation)]
    : [c, y, x];

/** Maps from cell keys to {fill, sub, mark} for the three grids. */
export function paint(p, numbers, view, focus, filter) {
  const f = focus.part === "output" ? focus.cell[0] : filter;
  const touches = touched(p, numbers, view, focus, f);
  const input = new Map();
  const kernel = new Map();
  const output = new Map();
  const factor = (t) =>
    p.convolves ? show(numbers.w[f][t.weight[0]][t.weight[1]][t.weight[2]]) : "";
  for (const t of touches) {
    const colour = weightColour(p, t.weight);
    const place = inputPlace(p, view, t.at);
    const padding = view !== "scatter" && !cellAt(p, t.at);
    const shade = padding ? mix(colour, "#000000", 0.25) : colour;
    const own = focus.part === "input" && key(place) === key(focus.cell);
    const sub = factor(t);
    if (!own) input.set(key(place), { fill: shade, sub, mark: "" });
    const drawn = drawnWeight(p, view, t.weight);
    const idle = focus.part === "output" && (padding || (view === "scatter" && !t.cell));
    kernel.set(key(drawn), { mark: idle ? "idle" : "on" });
    if (focus.part !== "output") {
      const kept = t.kept ?? true;
      output.set(key(t.out), { fill: kept ? colour : mix(colour, "#000000", 0.25), sub, mark: "" });
    }
  }
  const cursor = { input, kernel, output }[focus.part];
  const here = cursor.get(key(focus.cell)) ?? {};
  const now = focus.part === "output" ? { fill: "now" } : {};
  cursor.set(key(focus.cell), { ...here, ...now, mark: "focus" });
  if (p.operation === "max_pool" && focus.part === "output" && touches.length) {
    const best = value(p, numbers, focus.cell);
    const winner = touches.find((t) => t.cell && t.value === best);
    if (winner) {
      const place = key(inputPlace(p, view, winner.at));
      input.set(place, { ...input.get(place), mark: "best" });
    }
  }
  return { input, kernel, output, touches };
}

/** The rectangle of the running window: {part, cell, rows, columns} of the input and output. */
export function stencil(p, view, at, filter) {
  const focus = stepFocus(p, view, at, filter);
  const reach = p.windows.map(extent);
  const [c, y, x] = focus.cell;
  if (view === "scatter") {
    const low = p.windows.map((w, a) => reach[a] - 1 - w.padding[0]);
    const from = [y, x].map((v, a) => v * p.windows[a].input_dilation - low[a]);
    return { input: [c, y, x, 1, 1], output: [filter, ...from, ...reach] };
  }
  const from = [y, x].map((v, a) => v * p.windows[a].stride - p.windows[a].padding[0]);
  return { input: [firstChannel(p, filter), ...from, ...reach], output: [filter, y, x, 1, 1] };
}

/** Numbers of the output after the first `steps` inputs have been scattered. */
export function partial(p, numbers, steps, filter) {
  const total = range(p.outputs[0]).map(() => Array(p.outputs[1]).fill(0));
  const first = firstChannel(p, filter);
  const columns = p.sizes[1];
  for (const at of range(Math.min(steps, p.sizes[0] * columns))) {
    for (const c of range(p.per, first)) {
      for (const t of stamp(p, numbers, [c, floorDiv(at, columns), at % columns], filter)) {
        if (t.kept) total[t.out[1]][t.out[2]] += t.value * t.factor;
      }
    }
  }
  return total;
}

// ---- sentences ----------------------------------------------------------------------------------

const place = (p, [c, y, x], many) => {
  const at = p.layer.kernel.length === 1 ? `${x}` : `${y},${x}`;
  return many > 1 ? `${c}; ${at}` : at;
};
export const nameOf = (p, letter, cell, many) => `${letter}[${place(p, cell, many)}]`;

const MOST_TERMS = 64;

/** The sum in parts [{text, colour, zero}], to be joined; `result` is the number at its end. */
export function spelledOut(p, numbers, view, focus, filter) {
  const f = focus.part === "output" ? focus.cell[0] : filter;
  const touches = touched(p, numbers, view, focus, f);
  const parts = [];
  const say = (text, more = {}) => parts.push({ text, ...more });
  const term = (t, text) =>
    say(text, { colour: weightColour(p, t.weight), zero: "cell" in t && !t.cell });
  const outName = (cell) => nameOf(p, "y", cell, p.filters);
  if (focus.part === "output") {
    if (!touches.length) {
      const [, y, x] = focus.cell;
      const inside = y >= 0 && x >= 0 && y < p.outputs[0] && x < p.outputs[1];
      if (!inside) {
        say("cropped: the padding of the convolution that is transposed cuts this cell away");
        return parts;
      }
    }
    const shown = touches.slice(0, MOST_TERMS);
    const opening = p.operation === "max_pool" ? "max(" : p.operation === "avg_pool" ? "(" : "";
    say(`${outName(focus.cell)} = ${opening}`);
    shown.forEach((t, i) => {
      if (i) say(p.operation === "max_pool" ? ", " : " + ");
      const number = p.operation === "max_pool" && !t.cell ? "−∞" : bracket(t.value);
      term(t, p.convolves ? `${number}×${bracket(t.factor)}` : number);
    });
    if (touches.length > shown.length) say(` … and ${touches.length - shown.length} more`);
    if (!touches.length) say("0");
    const result = value(p, numbers, focus.cell);
    if (p.operation === "avg_pool") {
      say(`) / ${p.divisors[0][focus.cell[1]] * p.divisors[1][focus.cell[2]]}`);
    }
    if (p.operation === "max_pool") say(")");
    say(` = ${p.operation === "avg_pool" && result === null ? "undefined" : show(result, 2)}`, {
      result: true,
    });
    return parts;
  }
  if (focus.part === "kernel") {
    const weight = drawnWeight(p, view, focus.cell);
    const real = new Set(touches.filter((t) => cellAt(p, t.at)).map((t) => key(t.at))).size;
    const zeros = touches.length - touches.filter((t) => cellAt(p, t.at)).length;
    const own = nameOf(p, "w", weight, p.per);
    const number = p.convolves
      ? ` = ${show(numbers.w[f][weight[0]][weight[1]][weight[2]], 2)} multiplies`
      : " looks at";
    say(own, { colour: weightColour(p, weight) });
    say(
      `${number} ${plural(real, "input cell")}` +
        (zeros ? `, and a zero ${zeros === 1 ? "once" : `${zeros} times`}` : "") +
        ", one for each output",
    );
    return parts;
  }
  const cell = view === "scatter" ? focus.cell : cellAt(p, focus.cell);
  if (view === "scatter") {
    const x = numbers.x[cell[0]][cell[1]][cell[2]];
    const kept = touches.filter((t) => t.kept);
    say(`${nameOf(p, "x", cell, p.channels)} = ${show(x, 2)} adds `);
    if (!kept.length) say("nothing that is kept");
    kept.slice(0, MOST_TERMS).forEach((t, i) => {
      if (i) say(", ");
      term(t, `${bracket(t.value)}×${bracket(t.factor)}`);
      say(` to ${outName(t.out)}`);
    });
    if (kept.length > MOST_TERMS) say(` … and ${kept.length - MOST_TERMS} more`);
    const lost = touches.length - kept.length;
    if (lost) say(`; ${lost} of ${touches.length} products are cropped away`);
    return parts;
  }
  if (cell) {
    say(`${nameOf(p, "x", cell, p.channels)} = ${show(numbers.x[cell[0]][cell[1]][cell[2]], 2)}`);
  } else {
    const inside = focus.cell.slice(1).every((t, a) => t >= 0 && t < p.spans[a]);
    say(inside ? "A zero between the input cells" : "A padding cell");
  }
  say(touches.length ? ` feeds ${plural(touches.length, "output")}: ` : ": no window reads it");
  touches.slice(0, MOST_TERMS).forEach((t, i) => {
    if (i) say(", ");
    say(`${outName(t.out)} `);
    const weight = nameOf(p, "w", t.weight, p.per);
    const factor = p.convolves
      ? `×${bracket(numbers.w[f][t.weight[0]][t.weight[1]][t.weight[2]])}`
      : weight;
    term({ weight: t.weight }, factor);
  });
  if (touches.length > MOST_TERMS) say(` … and ${touches.length - MOST_TERMS} more`);
  return parts;
}

const bracket = (number) => (number < 0 ? `(${show(number, 2)})` : show(number, 2));
const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
