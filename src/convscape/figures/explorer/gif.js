// A small GIF89a encoder: one palette for all frames, each frame only the rectangle that changed.
import { range } from "./arithmetic.js";

const COLOURS = 256;
const bucket = (r, g, b) => ((r >> 3) << 10) | ((g >> 3) << 5) | (b >> 3);

/** The most frequent colours of some frames, and a function from a colour to the nearest of them. */
function palette(frames) {
  const counts = new Uint32Array(1 << 15);
  const sums = new Float64Array(3 << 15);
  for (const { data } of frames) {
    for (let at = 0; at < data.length; at += 4) {
      const index = bucket(data[at], data[at + 1], data[at + 2]);
      counts[index] += 1;
      for (let c = 0; c < 3; c += 1) sums[index * 3 + c] += data[at + c];
    }
  }
  const used = range(1 << 15).filter((index) => counts[index]);
  used.sort((a, b) => counts[b] - counts[a]);
  const colours = used
    .slice(0, COLOURS)
    .map((index) => [0, 1, 2].map((c) => Math.round(sums[index * 3 + c] / counts[index])));
  const known = new Int16Array(1 << 15).fill(-1);
  used.slice(0, COLOURS).forEach((index, rank) => {
    known[index] = rank;
  });
  const nearest = (r, g, b) => {
    const index = bucket(r, g, b);
    if (known[index] < 0) {
      let least = Infinity;
      colours.forEach((colour, at) => {
        const far = (colour[0] - r) ** 2 + (colour[1] - g) ** 2 + (colour[2] - b) ** 2;
        if (far < least) [least, known[index]] = [far, at];
      });
    }
    return known[index];
  };
  return { colours, nearest };
}

/** LZW as GIF wants it: codes from 9 bits up, the lowest bits first. */
function compressed(pixels) {
  const out = [];
  let [bits, held, width] = [0, 0, 9];
  const put = (code) => {
    bits |= code << held;
    held += width;
    while (held >= 8) {
      out.push(bits & 255);
      bits >>>= 8;
      held -= 8;
    }
  };
  const [clear, end] = [COLOURS, COLOURS + 1];
  let table = new Map();
  let next = end + 1;
  put(clear);
  let prefix = pixels[0];
  for (let at = 1; at < pixels.length; at += 1) {
    const pair = (prefix << 8) | pixels[at];
    const known = table.get(pair);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    put(prefix);
    if (next === 4096) {
      put(clear);
      table = new Map();
      [next, width] = [end + 1, 9];
    } else {
      if (next === 1 << width) width += 1;
      table.set(pair, next);
      next += 1;
    }
    prefix = pixels[at];
  }
  put(prefix);
  put(end);
  if (held) out.push(bits & 255);
  return out;
}

/** The smallest rectangle where two frames of palette indices differ; one pixel if nowhere. */
function changed(before, after, width, height) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      if (before[at] !== after[at]) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = y;
      }
    }
  }
  return right < 0 ? [0, 0, 1, 1] : [left, top, right - left + 1, bottom - top + 1];
}

const word = (value) => [value & 255, value >> 8];

/** Bytes of an endless animation.
 *
 * frameAt(i) draws frame i as ImageData; it is called once for every frame, and before that for
 * some, from which the palette is made. Delays are in milliseconds.
 */
export function gif(frameAt, delays) {
  const sampled = new Set(range(8).map((part) => Math.floor((part * (delays.length - 1)) / 7)));
  const samples = [...sampled].map(frameAt);
  const { width, height } = samples[0];
  const { colours, nearest } = palette(samples);
  const bytes = [
    ...letters("GIF89a"),
    ...word(width),
    ...word(height),
    0xf7,
    0,
    0,
    ...range(COLOURS).flatMap((index) => colours[index] ?? [0, 0, 0]),
    0x21,
    0xff,
    11,
    ...letters("NETSCAPE2.0"),
    3,
    1,
    0,
    0,
    0,
  ];
  let before = null;
  delays.forEach((delay, at) => {
    const { data } = frameAt(at);
    const after = new Uint8Array(width * height);
    for (let pixel = 0, from = 0; pixel < after.length; pixel += 1, from += 4) {
      after[pixel] = nearest(data[from], data[from + 1], data[from + 2]);
    }
    const [x, y, w, h] = before ? changed(before, after, width, height) : [0, 0, width, height];
    const part = new Uint8Array(w * h);
    for (let row = 0; row < h; row += 1) {
      const from = (y + row) * width + x;
      part.set(after.subarray(from, from + w), row * w);
    }
    bytes.push(0x21, 0xf9, 4, 4, ...word(Math.round(delay / 10)), 0, 0);
    bytes.push(0x2c, ...word(x), ...word(y), ...word(w), ...word(h), 0, 8);
    const packed = compressed(part);
    for (let from = 0; from < packed.length; from += 255) {
      const block = packed.slice(from, from + 255);
      bytes.push(block.length, ...block);
    }
    bytes.push(0);
    before = after;
  });
  bytes.push(0x3b);
  return new Uint8Array(bytes);
}

const letters = (text) => [...text].map((letter) => letter.charCodeAt(0));
