// Which numbered relationship gives a size, its formula with numbers, and notes on the border: the
// page's copy of convscape.arithmetic.relationships and explain.
import { border, ceilDiv, ceiled, extent, floorDiv, output, unfit } from "./arithmetic.js";

// name, formula and value of each relationship; 1 to 15 as the guide numbers them (arXiv
// 1603.07285), then the general formulas.
const RELATIONSHIPS = {
  1: ["no padding, unit strides", "(i - k) + 1", (v) => v.i - v.k + 1],
  2: ["any padding, unit strides", "(i - k) + 2*p + 1", (v) => v.i - v.k + 2 * v.p + 1],
  3: ["half padding p = floor(k / 2), odd kernel, unit strides", "i", (v) => v.i],
  4: ["full padding p = k - 1, unit strides", "i + (k - 1)", (v) => v.i + v.k - 1],
  5: ["no padding, any strides", "floor((i - k) / s) + 1", (v) => floorDiv(v.i - v.k, v.s) + 1],
  6: [
    "any padding, any strides",
    "floor((i + 2*p - k) / s) + 1",
    (v) => floorDiv(v.i + 2 * v.p - v.k, v.s) + 1,
  ],
  7: ["pooling without padding", "floor((i - k) / s) + 1", (v) => floorDiv(v.i - v.k, v.s) + 1],
  8: ["transposed, no padding, unit strides", "i + (k - 1)", (v) => v.i + v.k - 1],
  9: ["transposed, any padding, unit strides", "i + (k - 1) - 2*p", (v) => v.i + v.k - 1 - 2 * v.p],
  10: ["transposed, half padding p = floor(k / 2), odd kernel, unit strides", "i", (v) => v.i],
  11: ["transposed, full padding p = k - 1, unit strides", "i - (k - 1)", (v) => v.i - v.k + 1],
  12: ["transposed, no padding, any strides", "s*(i - 1) + k", (v) => v.s * (v.i - 1) + v.k],
  13: [
    "transposed, any padding, any strides",
    "s*(i - 1) + k - 2*p",
    (v) => v.s * (v.i - 1) + v.k - 2 * v.p,
  ],
  14: [
    "transposed, any padding, any strides, a extra cells at the end",
    "s*(i - 1) + a + k - 2*p",
    (v) => v.s * (v.i - 1) + v.a + v.k - 2 * v.p,
  ],
  15: [
    "dilated kernel, any padding, any strides",
    "floor((i + 2*p - k - (k - 1)*(d - 1)) / s) + 1",
    (v) => floorDiv(v.i + 2 * v.p - v.k - (v.k - 1) * (v.d - 1), v.s) + 1,
  ],
  general: [
    "general: the padding of each end counts for itself",
    "floor((i + p_low + p_high - d*(k - 1) - 1) / s) + 1",
    (v) => floorDiv(v.i + v.p_low + v.p_high - v.d * (v.k - 1) - 1, v.s) + 1,
  ],
  ceiled: [
    "general, ceil_mode: rounded up, less any window beginning beyond the input",
    "min(ceil((i + p_low + p_high - d*(k - 1) - 1) / s) + 1, ceil((i + p_low) / s))",
    (v) =>
      Math.min(
        ceilDiv(v.i + v.p_low + v.p_high - v.d * (v.k - 1) - 1, v.s) + 1,
        ceilDiv(v.i + v.p_low, v.s),
      ),
  ],
  transposed: [
    "general, transposed: each end is cropped by its own padding",
    "s*(i - 1) + d*(k - 1) + 1 - p_low - p_high + a",
    (v) => v.s * (v.i - 1) + v.d * (v.k - 1) + 1 - v.p_low - v.p_high + v.a,
  ],
  spread: [
    "general: a strided window over an input spread by e",
    "floor(((i - 1)*e + p_low + p_high - d*(k - 1)) / s) + 1",
    (v) => floorDiv((v.i - 1) * v.e + v.p_low + v.p_high - v.d * (v.k - 1), v.s) + 1,
  ],
};

const isPooling = (op) => op === "max_pool" || op === "avg_pool";

/** Which relationship an axis is, its formula with numbers, and notes on the border. */
export function explain(w, n, op = "conv", ceilMode = false) {
  const slides = ceilMode ? ceiled(w, n) : w;
  if (!output(slides, n)) throw unfit(w, n);
  const [key, rest] = op === "transposed" ? transposedKey(w) : forwardKey(w, op, slides !== w);
  const symbols = { i: n, ...rest };
  const [name, formula, value] = RELATIONSHIPS[key];
  const number = Number(key) || null;
  const numbers = formula.replace(/\b[a-z](_[a-z]+)?\b/g, (letter) =>
    symbols[letter] < 0 ? `(${symbols[letter]})` : String(symbols[letter]),
  );
  const result = value(symbols);
  return {
    number,
    name,
    symbols,
    window: slides,
    output: result,
    formula: `o = ${formula.replaceAll("*", "")}`,
    substituted: `o = ${numbers} = ${result}`,
    notes: notes(op, slides, n, result, slides.padding[1] - w.padding[1]),
  };
}

function forwardKey(w, op, roundedUp) {
  const [low, high] = w.padding;
  const general = { k: w.kernel, s: w.stride, d: w.dilation, p_low: low, p_high: high };
  if (w.input_dilation > 1) return ["spread", { ...general, e: w.input_dilation }];
  if (roundedUp) return ["ceiled", general];
  const dilated = w.dilation > 1 && w.kernel > 1;
  const plain = { k: w.kernel, s: w.stride, p: low };
  if (low !== high || (isPooling(op) && (dilated || low))) return ["general", general];
  if (isPooling(op)) return ["7", plain];
  if (dilated) return ["15", { ...plain, d: w.dilation }];
  if (w.stride === 1) return [ofPadding(w, low, ["1", "3", "4", "2"]), plain];
  return [low === 0 ? "5" : "6", plain];
}

function transposedKey(w) {
  if (w.stride > 1) {
    const [p_low, p_high] = w.padding;
    const symbols = { k: w.kernel, s: w.stride, d: w.dilation, e: w.input_dilation };
    return ["spread", { ...symbols, p_low, p_high }];
  }
  const s = w.input_dilation;
  const [low, high] = w.padding.map((p) => extent(w) - 1 - p);
  const extra = low - high;
  const dilated = w.dilation > 1 && w.kernel > 1;
  if (dilated || low < 0 || extra < 0 || extra >= s) {
    const within = extra >= 0 && extra < Math.max(s, w.dilation);
    const [p_low, p_high, a] = within ? [low, low, extra] : [low, high, 0];
    return ["transposed", { k: w.kernel, s, d: w.dilation, p_low, p_high, a }];
  }
  const plain = { k: w.kernel, s, p: low };
  if (extra) return ["14", { ...plain, a: extra }];
  if (s === 1) return [ofPadding(w, low, ["8", "10", "11", "9"]), plain];
  return [low === 0 ? "12" : "13", plain];
}

function ofPadding(w, p, [nothing, half, full, other]) {
  if (p === 0) return nothing;
  if (w.kernel % 2 && p === floorDiv(w.kernel, 2)) return half;
  return p === w.kernel - 1 ? full : other;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function notes(op, w, n, outputs, overhang) {
  const b = border(w, n);
  const out = [];
  const [low, high] = w.padding;
  if (op === "transposed") {
    const gaps = w.input_dilation - 1;
    out.push(
      `the same as a convolution with stride 1 and padding ${low}, ${high} over the input` +
        (gaps ? ` with ${count(gaps, "zero")} between its cells` : ""),
    );
    if (w.input_dilation > 1 && w.kernel % w.input_dilation && w.dilation === 1) {
      const least = floorDiv(w.kernel, w.input_dilation);
      out.push(
        "uneven overlap: the stride does not divide the kernel, so outputs take turns at " +
          `${least} and ${least + 1} inputs (${w.kernel % w.input_dilation} of ` +
          `${w.input_dilation} have one more)`,
      );
    } else if (b.blind) {
      out.push(`${count(b.blind, "output cell")} of ${outputs} see zeros alone`);
    }
  } else if (low === extent(w) - 1 && high === 0 && low) {
    out.push("causal: no window reads beyond its own position");
  }
  if (op !== "transposed") out.push(...borderNotes(w, b, outputs, overhang));
  if (b.idle.length) {
    out.push(
      `${count(b.idle.length, "kernel cell")} of ${w.kernel} never meet the input, only zeros`,
    );
  }
  return out;
}

function borderNotes(w, b, outputs, overhang) {
  const out = [];
  if (b.head) out.push(`${count(b.head, "input cell")} cropped at the start`);
  if (b.tail) out.push(`no window reads ${count(b.tail, "input cell")} at the end`);
  if (b.skipped) {
    const why = w.stride > extent(w) ? "the stride exceeds the kernel" : "stride and dilation";
    out.push(`no window reads ${count(b.skipped, "input cell")} in between (${why})`);
  }
  if (overhang) {
    out.push(`ceil_mode: the last window overhangs the end by ${count(overhang, "cell")}`);
  }
  const reads = [b.padding_read[0], Math.max(0, b.padding_read[1] - overhang)];
  ["low", "high"].forEach((side, end) => {
    const [read, not] = [reads[end], b.padding_unread[end]];
    if (read && not) {
      out.push(`${side} end: ${count(read, "padding cell")} read, ${not} never read`);
    } else if (read || not) {
      out.push(
        `${side} end: ${count(read || not, "padding cell")} ${read ? "read" : "never read"}`,
      );
    }
  });
  if (b.blind) out.push(`${count(b.blind, "window")} of ${outputs} lie in the padding alone`);
  return out;
}
