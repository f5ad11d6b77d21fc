// The state of the page as a link, and what is wrong with a link as notes.
import { PADDING_NAMES, range } from "./arithmetic.js";
import { BOUNDS, DEFAULTS, WORDS, pools, repaired } from "./settings.js";

const LETTERS = { i: "input", k: "kernel", s: "stride", d: "dilation", a: "output_padding" };
const COUNTS = { c: "in_channels", f: "out_channels", g: "groups" };
const OPS = { conv: "conv", transposed: "transposed", max: "max_pool", avg: "avg_pool" };
const OTHER = [
  "op",
  "rank",
  "p",
  "ceil",
  "include",
  "x",
  "w",
  "at",
  "filter",
  "view",
  "tab",
  "stack",
  "to",
  "a1",
  "a2",
];
const short = (text) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

/** A whole number within bounds, with a note when the text was something else. */
function whole(name, text, fallback, notes, [least, most] = BOUNDS[name]) {
  const number = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(number)) {
    notes.push(`${WORDS[name] ?? name} "${short(text)}" is not a number: ${fallback}`);
    return fallback;
  }
  const value = Math.min(most, Math.max(least, Math.round(number)));
  if (value !== number) {
    const why = Number.isInteger(number) ? `is not between ${least} and ${most}` : "is not whole";
    notes.push(`${WORDS[name] ?? name} ${short(text)} ${why}: ${value}`);
  }
  return value;
}

function spreadAxes(name, text, rank, notes, each) {
  const parts = text.toLowerCase().split("x");
  if (parts.length !== 1 && parts.length !== rank) {
    notes.push(
      `${WORDS[name]} "${short(text)}" is not one number, or one for each of ${rank} axes`,
    );
  }
  return range(rank).map((a) => each(parts[parts.length === 1 ? 0 : a] ?? parts[0]));
}

function paddingFrom(text, rank, notes) {
  if (/^[a-z_]+$/i.test(text)) {
    const name = text.toLowerCase();
    if (PADDING_NAMES.includes(name)) return name;
    notes.push(`padding "${short(text)}" is not a known name: 0`);
    return range(rank).map(() => [0, 0]);
  }
  return spreadAxes("padding", text, rank, notes, (part) => {
    const ends = part.split(",").map((end) => whole("padding", end, 0, notes));
    return ends.length === 1 ? [ends[0], ends[0]] : ends.slice(0, 2);
  });
}

const flag = (text) => text === "1" || text === "true";

/** Settings and the rest of a page's state from a link: {settings, rest, notes}; never throws. */
export function fromLink(hash) {
  const notes = [];
  const given = new Map();
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (key in LETTERS || key in COUNTS || OTHER.includes(key)) given.set(key, value);
    else notes.push(`"${short(key)}" is not a setting: left out`);
  }
  const text = (key, fallback) => given.get(key) ?? fallback;
  const op = text("op", "conv");
  if (!Object.hasOwn(OPS, op)) notes.push(`operation "${short(op)}" is not known: conv`);
  const operation = Object.hasOwn(OPS, op) ? OPS[op] : "conv";
  const rank = whole("rank", text("rank", "2"), 2, notes, [1, 2]);
  const settings = { ...DEFAULTS, operation, rank };
  const kernelPlain = operation.endsWith("pool") ? undefined : 1;
  for (const [letter, name] of Object.entries(LETTERS)) {
    const plain = DEFAULTS[name][0];
    settings[name] = given.has(letter)
      ? spreadAxes(name, given.get(letter), rank, notes, (part) => whole(name, part, plain, notes))
      : range(rank).map(() => plain);
  }
  if (!given.has("s") && kernelPlain === undefined) settings.stride = [...settings.kernel];
  settings.padding = given.has("p")
    ? paddingFrom(given.get("p"), rank, notes)
    : range(rank).map(() => [0, 0]);
  for (const [letter, name] of Object.entries(COUNTS)) {
    if (given.has(letter)) settings[name] = whole(name, given.get(letter), 1, notes);
  }
  settings.ceil_mode = flag(text("ceil", ""));
  settings.count_include_pad = flag(text("include", ""));
  const fixed = repaired(settings);
  const rest = {};
  for (const key of ["x", "w", "at", "filter", "view", "tab", "stack", "to", "a1", "a2"]) {
    if (given.has(key)) rest[key] = given.get(key);
  }
  const all = [...new Set([...notes, ...fixed.notes])];
  return { settings: fixed.settings, rest, notes: all };
}

const joined = (values) => (new Set(values).size === 1 ? String(values[0]) : values.join("x"));

/** The link's part after #; `rest` are further entries as text. */
export function toLink(s, rest = {}) {
  const parts = [];
  const put = (key, value) =>
    parts.push(
      `${key}=${encodeURIComponent(value)
        .replaceAll("%2C", ",")
        .replaceAll("%3B", ";")
        .replaceAll("%3A", ":")}`,
    );
  const op = Object.keys(OPS).find((name) => OPS[name] === s.operation);
  if (op !== "conv") put("op", op);
  if (s.rank !== 2) put("rank", s.rank);
  put("i", joined(s.input));
  put("k", joined(s.kernel));
  put("s", joined(s.stride));
  const pads =
    typeof s.padding === "string"
      ? s.padding
      : joined(s.padding.map((ends) => (ends[0] === ends[1] ? String(ends[0]) : ends.join(","))));
  put("p", pads);
  if (s.dilation.some((d) => d > 1)) put("d", joined(s.dilation));
  if (s.operation === "transposed" && s.output_padding.some(Boolean)) {
    put("a", joined(s.output_padding));
  }
  if (pools(s) && s.ceil_mode) put("ceil", 1);
  if (s.operation === "avg_pool" && s.count_include_pad) put("include", 1);
  for (const [letter, name] of Object.entries(COUNTS)) if (s[name] > 1) put(letter, s[name]);
  for (const [key, value] of Object.entries(rest)) if (value !== "") put(key, value);
  return parts.join("&");
}

/** Numbers of a grid from a link's text, in order; what is not a number is left as it was. */
export function numbersFrom(text, keys, notes, what) {
  const edited = new Map();
  if (text.length > 40000) {
    notes.push(`${what}: too many numbers, left out`);
    return edited;
  }
  const parts = text.split(/[\s,;]+/).filter((part) => part !== "");
  if (parts.length > keys.length) {
    notes.push(`${what}: ${parts.length} numbers for ${keys.length} cells, the rest left out`);
  }
  parts.slice(0, keys.length).forEach((part, at) => {
    const number = tidy(Number(part));
    if (number === null) notes.push(`${what}: "${short(part)}" is not a number, left as it was`);
    else edited.set(keys[at], number);
  });
  return edited;
}

/** A number that fits a cell: two decimals, up to 999 either way; null for anything else. */
export function tidy(number) {
  if (!Number.isFinite(number)) return null;
  const near = Math.round(Math.min(999, Math.max(-999, number)) * 100) / 100;
  return near === 0 ? 0 : near;
}
