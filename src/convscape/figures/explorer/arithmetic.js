// One axis of a convolution or pooling: the page's copy of convscape.arithmetic (window, padding,
// average, border), field by field. tests/test_explorer_arithmetic.py compares the
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
      "padding must not be negative",
      `padding=${pair}`,
      "crop the input before the layer",
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
  return range(output(w, n)).map(
    (o) =>
      range(w.kernel).filter((k) => {
        const at = start(w, o) + k * w.dilation;
        return low <= at && at < high;
      }).length,
  );
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
      head: 0,
      tail: Math.max(0, n),
      skipped: 0,
      padding_read: [0, 0],
      padding_unread: [low, high],
      idle: range(w.kernel),
      blind: 0,
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
