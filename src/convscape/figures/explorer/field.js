// Receptive fields through a stack, and the inverse problem: the page's copy of
// convscape.arithmetic.field and convscape.arithmetic.solve. Sets of cells are sorted arrays.
import {
  ceiled, extent, floorDiv, gcd, makeWindow, mod, output, range, start, taps, transposedWindow,
} from "./arithmetic.js";

/** The cells of the input that each cell of the output reads, padding included, as one period. */
export const identity = { phases: [[0]], step: 1 };

/** The input cells of cell o of a field. */
export function fieldCells(field, o) {
  const period = field.phases.length;
  const moved = floorDiv(o, period) * field.step;
  return field.phases[mod(o, period)].map((cell) => cell + moved);
}

/** The field after one more window; its period is the least after which taps and phases agree. */
export function fieldThen(field, w) {
  const spread = w.input_dilation * field.phases.length;
  const period = spread / gcd(w.stride, spread);
  const phases = range(period).map((o) => {
    const met = range(w.kernel)
      .map((k) => start(w, o) + k * w.dilation)
      .filter((at) => mod(at, w.input_dilation) === 0)
      .flatMap((at) => fieldCells(field, floorDiv(at, w.input_dilation)));
    return [...new Set(met)].sort((a, b) => a - b);
  });
  return shortest({ phases, step: ((period * w.stride) / spread) * field.step });
}

function shortest(field) {
  const whole = field.phases.length;
  for (const period of range(whole - 1, 1)) {
    const times = whole / period;
    if (whole % period || field.step % times) continue;
    const short = { phases: field.phases.slice(0, period), step: field.step / times };
    const same = field.phases.every((cells, o) => cells.join() === fieldCells(short, o).join());
    if (same) return short;
  }
  return field;
}

const spanOf = (cells) => (cells.length ? cells.at(-1) - cells[0] + 1 : 0);

/** {size, holes, step, period}: size is the largest span; the jump is step / period. */
export function fieldSummary(field) {
  const widest = field.phases.reduce((a, b) => (spanOf(b) > spanOf(a) ? b : a));
  return {
    size: spanOf(widest),
    holes: spanOf(widest) - widest.length,
    step: field.step,
    period: field.phases.length,
  };
}

/** Cell counts of every map of a chain, the input first. */
export const chainSizes = (windows, n) =>
  windows.reduce((sizes, w) => [...sizes, output(w, sizes.at(-1))], [n]);

/** For each map of a chain, the real cells that one cell of map `level` reads, borders cut. */
export function readCells(windows, n, o, level = windows.length) {
  const sizes = chainSizes(windows, n);
  const read = range(level + 1).map(() => []);
  read[level] = [o];
  for (let at = level; at > 0; at -= 1) {
    const cells = read[at].flatMap((cell) => taps(windows[at - 1], cell, sizes[at - 1]));
    const real = [...new Set(cells.filter((cell) => cell !== null))];
    read[at - 1] = real.sort((a, b) => a - b);
  }
  return read;
}

const LARGEST = 11;

/** Every window of `op` that takes the sizes i to the sizes o, smallest first. */
export function solve(i, o, op = "conv", options = {}) {
  const { dilations = [1], asymmetric = false, ceil = false, largest = LARGEST } = options;
  const found = [];
  for (const kernel of range(largest, 1)) {
    for (const stride of range(kernel, 1)) {
      for (const dilation of dilations) {
        if (kernel === 1 && dilation > 1) continue;
        found.push(...paddings({ op, asymmetric, ceil }, kernel, stride, dilation, i[0], o[0]));
      }
    }
  }
  const serves = (s) => i.every((n, axis) => solvedOutput(s, op, ceil, n) === o[axis]);
  return found.filter(serves).sort(byCost);
}

/** Output cells of a solution on n input cells. */
export function solvedOutput(s, op, ceil, n) {
  const w =
    op === "transposed"
      ? transposedWindow(s.kernel, s.stride, s.dilation, s.padding, s.output_padding)
      : makeWindow(s.kernel, s.stride, s.dilation, 1, s.padding);
  return output(ceil ? ceiled(w, n) : w, n);
}

function paddings(allowed, kernel, stride, dilation, i, o) {
  const reach = extent(makeWindow(kernel, 1, dilation));
  const shape = { kernel, stride, dilation };
  if (allowed.op === "transposed") {
    const full = (i - 1) * stride + reach;
    return range(stride).flatMap((extra) => ends(allowed, shape, [full + extra - o], extra));
  }
  const least = (o - 1) * stride + reach - i;
  if (allowed.ceil) {
    const from = Math.max(0, least - stride + 1);
    return ends(allowed, shape, range(Math.max(0, least + 1) - from, from));
  }
  return ends(allowed, shape, range(stride, least));
}

function ends({ op, asymmetric }, shape, totals, extra = 0) {
  const { kernel, stride, dilation } = shape;
  const limit = op.endsWith("pool") ? floorDiv(kernel, 2) : dilation * (kernel - 1);
  const made = [];
  for (const total of totals) {
    const half = floorDiv(total, 2);
    const from = asymmetric ? Math.max(0, total - limit) : half;
    const to = asymmetric ? Math.min(limit, total) : half;
    for (let low = from; low <= to; low += 1) {
      const high = total - low;
      if (low < 0 || high < 0 || (!asymmetric && (low !== high || half > limit))) continue;
      const uneven = Math.abs(2 * (high - low) - 1);
      const cost = [kernel, dilation, total, extra, uneven, stride];
      made.push({ ...shape, padding: [low, high], output_padding: extra, cost });
    }
  }
  return made;
}

function byCost(a, b) {
  const at = a.cost.findIndex((part, index) => part !== b.cost[index]);
  return at < 0 ? 0 : a.cost[at] - b.cost[at];
}
