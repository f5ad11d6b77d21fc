// One axis of a convolution or pooling: the page's copy of convscape.arithmetic (window, padding,
// average, border, relationships), field by field. tests/test_explorer_arithmetic.py compares the
// two on thousands of settings in a browser.

/** A rule, what was received, and what to do: the page's InputError. */
export class InputError extends Error {
  constructor(rule, got, fix) {
    super(`${rule}; got ${got}; ${fix}`);
    Object.assign(this, { rule, got, fix });
  }
}

export const floorDiv = (a, b) => Math.floor(a / b);
export const ceilDiv = (a, b) => -Math.floor(-a / b);
export const mod = (a, b) => ((a % b) + b) % b;
export const gcd = (a, b) => (b ? gcd(b, a % b) : a);
export const range = (n, from = 0) => Array.from({ length: Math.max(0, n) }, (_, i) => from + i);

/** A window: see convscape.arithmetic.window.Window. */
export function makeWindow(kernel, stride = 1, dilation = 1, spread = 1, padding = [0, 0]) {
  const fields = { kernel, stride, dilation, input_dilation: spread };
  for (const [name, value] of Object.entries(fields)) {
    if (!Number.isInteger(value)) {
      throw new InputError(`${name} must be an integer`, `${name}=${value}`, "pass a whole number");
    }
    if (value < 1) {
      throw new InputError(`${name} must be at least 1`, `${name}=${value}`, `use ${name}=1`);
    }
  }
  for (const cells of padding) {
    if (!Number.isInteger(cells)) {
      throw new InputError("padding must be an integer", String(cells), "pass a whole number");
    }
  }
  return Object.freeze({ ...fields, padding: Object.freeze([...padding]) });
}

export const extent = (w) => w.dilation * (w.kernel - 1) + 1;

/** Positions the window can still move by; negative when it does not fit. */
export const room = (w, n) =>
  (n - 1) * w.input_dilation + w.padding[0] + w.padding[1] - w.dilation * (w.kernel - 1);

export function output(w, n) {
  const left = room(w, n);
  return n > 0 && left >= 0 ? floorDiv(left, w.stride) + 1 : 0;
}

/** Every n with output(n) = o, as [first, end). */
export function inputs(w, o) {
  const smallest = (left) => {
    const cells = left + w.dilation * (w.kernel - 1) - w.padding[0] - w.padding[1];
    return Math.max(1, ceilDiv(cells, w.input_dilation) + 1);
  };
  if (o < 0) return [0, 0];
  if (o === 0) return [0, smallest(0)];
  return [smallest((o - 1) * w.stride), smallest(o * w.stride)];
}

/** Trailing positions of the padded input beyond the last window. */
export function slack(w, n) {
  const left = room(w, n);
  if (n <= 0) return Math.max(0, w.padding[0] + w.padding[1]);
  return left >= 0 ? left % w.stride : Math.max(0, left + extent(w));
}

/** Where window o begins on the spread input. */
export const start = (w, o) => o * w.stride - w.padding[0];

/** The input cell that each kernel cell of window o meets; null where it is a zero. */
export function taps(w, o, n) {
  return range(w.kernel).map((k) => {
    const at = start(w, o) + k * w.dilation;
    const cell = floorDiv(at, w.input_dilation);
    return cell * w.input_dilation === at && cell >= 0 && cell < n ? cell : null;
  });
}

/** Input cells that no window reads. */
export function unread(w, n) {
  const read = new Set(range(output(w, n)).flatMap((o) => taps(w, o, n)));
  return range(n).filter((cell) => !read.has(cell));
}

/** The window that takes output(n) cells back to n: stride and spreading change places. */
export function adjoint(w, n) {
  const m = output(w, n);
  if (!m) throw unfit(w, n);
  const low = extent(w) - 1 - w.padding[0];
  const high = (n - 1) * w.input_dilation + extent(w) - 1 - (m - 1) * w.stride - low;
  return makeWindow(w.kernel, w.input_dilation, w.dilation, w.stride, [low, high]);
}

export const unfit = (w, n) =>
  new InputError(
    "the window must fit the padded input",
    `extent ${extent(w)} on ${n} cells padded by (${w.padding.join(", ")})`,
    "pad more, or use a smaller kernel or dilation",
  );

export const PADDING_NAMES = ["valid", "same", "same_lower", "half", "full", "causal"];

/** The window with its padding spelled out; padding is a name, a number or a [low, high] pair. */
export function resolve(padding, n, kernel, stride = 1, dilation = 1) {
  const reach = extent(makeWindow(kernel, stride, dilation));
  let pair;
  if (typeof padding === "string") {
    const total = Math.max((ceilDiv(n, stride) - 1) * stride + reach - n, 0);
    const small = floorDiv(total, 2);
    const half = floorDiv(reach, 2);
    const named = {
      valid: [0, 0],
      same: [small, total - small],
      same_lower: [total - small, small],
      half: [half, half],
      full: [reach - 1, reach - 1],
      causal: [reach - 1, 0],
    };
    const name = padding.toLowerCase();
    if (!PADDING_NAMES.includes(name)) {
      throw new InputError(
        "padding must be a known name, an integer or a (low, high) pair",
        `padding=${padding}`,
        `known names: ${PADDING_NAMES.join(", ")}`,
      );
    }
    pair = named[name];
  } else {
    pair = typeof padding === "number" ? [padding, padding] : padding;
  }
  const made = makeWindow(kernel, stride, dilation, 1, pair);
  if (Math.min(...pair) < 0) {
    throw new InputError(
      "padding must not be negative", `padding=${pair}`, "crop the input before the layer",
    );
  }
  return made;
}

/** The window that pooling with ceil_mode really slides: its high padding is stretched. */
export function ceiled(w, n) {
  const left = room(w, n);
  if (n <= 0 || left + w.stride <= 0) return w;
  const [low, high] = w.padding;
  let windows = ceilDiv(left, w.stride) + 1;
  if ((windows - 1) * w.stride >= (n - 1) * w.input_dilation + 1 + low) windows -= 1;
  const missing = (windows - 1) * w.stride - left;
  if (missing <= 0) return w;
  return makeWindow(w.kernel, w.stride, w.dilation, w.input_dilation, [low, high + missing]);
}

/** The cells of each window that an average counts, `counted` padding cells included. */
export function divisors(w, n, counted) {
  const [low, high] = [-counted[0], n + counted[1]];
  return range(output(w, n)).map((o) =>
    range(w.kernel).filter((k) => {
      const at = start(w, o) + k * w.dilation;
      return low <= at && at < high;
    }).length);
}

/** The window of a transposed convolution from the numbers of the convolution it transposes. */
export function transposedWindow(kernel, stride = 1, dilation = 1, padding = [0, 0], extra = 0) {
  const edge = extent(makeWindow(kernel, 1, dilation)) - 1;
  const pads = [edge - padding[0], edge - padding[1] + extra];
  return makeWindow(kernel, 1, dilation, stride, pads);
}

/** What happens at the border of an axis: see convscape.arithmetic.border.Border. */
export function border(w, n) {
  const m = output(w, n);
  const e = w.input_dilation;
  const [low, high] = w.padding.map((p) => Math.max(0, p));
  if (!m) {
    return {
      head: 0, tail: Math.max(0, n), skipped: 0, padding_read: [0, 0], padding_unread: [low, high],
      idle: range(w.kernel), blind: 0,
    };
  }
  const first = w.padding[0];
  const end = (n - 1) * e + 1 + first;
  const last = (m - 1) * w.stride + extent(w) - 1;
  const head = Math.min(n, Math.max(0, -floorDiv(first, e)));
  const tail = Math.min(n - head, Math.max(0, n - 1 - floorDiv(last - first, e)));
  const read = new Set();
  const met = new Set();
  let blind = 0;
  for (const o of range(m)) {
    const cells = taps(w, o, n);
    cells.forEach((cell, k) => {
      read.add(o * w.stride + k * w.dilation);
      if (cell !== null) met.add(k);
    });
    blind += cells.every((cell) => cell === null);
  }
  const count = (from, to) => range(to - from, from).filter((t) => read.has(t)).length;
  const unreadCells = range(n - tail - head, head).filter((cell) => !read.has(cell * e + first));
  const padding_read = [count(0, low), count(end, end + high)];
  return {
    head,
    tail,
    skipped: unreadCells.length,
    padding_read,
    padding_unread: [low - padding_read[0], high - padding_read[1]],
    idle: range(w.kernel).filter((k) => !met.has(k)),
    blind,
  };
}

// name, formula and value of each relationship; 1 to 15 as the guide numbers them (arXiv
// 1603.07285), then the general formulas.
const RELATIONSHIPS = {
  1: ["no padding, unit strides", "(i - k) + 1", (v) => v.i - v.k + 1],
  2: ["any padding, unit strides", "(i - k) + 2*p + 1", (v) => v.i - v.k + 2 * v.p + 1],
  3: ["half padding p = floor(k / 2), odd kernel, unit strides", "i", (v) => v.i],
  4: ["full padding p = k - 1, unit strides", "i + (k - 1)", (v) => v.i + v.k - 1],
  5: ["no padding, any strides", "floor((i - k) / s) + 1", (v) => floorDiv(v.i - v.k, v.s) + 1],
  6: [
    "any padding, any strides", "floor((i + 2*p - k) / s) + 1",
    (v) => floorDiv(v.i + 2 * v.p - v.k, v.s) + 1,
  ],
  7: ["pooling without padding", "floor((i - k) / s) + 1", (v) => floorDiv(v.i - v.k, v.s) + 1],
  8: ["transposed, no padding, unit strides", "i + (k - 1)", (v) => v.i + v.k - 1],
  9: [
    "transposed, any padding, unit strides", "i + (k - 1) - 2*p",
    (v) => v.i + v.k - 1 - 2 * v.p,
  ],
  10: [
    "transposed, half padding p = floor(k / 2), odd kernel, unit strides", "i", (v) => v.i,
  ],
  11: [
    "transposed, full padding p = k - 1, unit strides", "i - (k - 1)", (v) => v.i - v.k + 1,
  ],
  12: [
    "transposed, no padding, any strides", "s*(i - 1) + k", (v) => v.s * (v.i - 1) + v.k,
  ],
  13: [
    "transposed, any padding, any strides", "s*(i - 1) + k - 2*p",
    (v) => v.s * (v.i - 1) + v.k - 2 * v.p,
  ],
  14: [
    "transposed, any padding, any strides, a extra cells at the end", "s*(i - 1) + a + k - 2*p",
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
    (v) => Math.min(
      ceilDiv(v.i + v.p_low + v.p_high - v.d * (v.k - 1) - 1, v.s) + 1, ceilDiv(v.i + v.p_low, v.s),
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
    symbols[letter] < 0 ? `(${symbols[letter]})` : String(symbols[letter]));
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
      out.push(`${side} end: ${count(read || not, "padding cell")} ${read ? "read" : "never read"}`);
    }
  });
  if (b.blind) out.push(`${count(b.blind, "window")} of ${outputs} lie in the padding alone`);
  return out;
}
