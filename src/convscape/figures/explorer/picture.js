// The three grids and their sum as one picture: SVG text, or frames of an animation. It draws the
// layouts and the paint of paint.js, like the page itself.
import { InputError, range } from "./arithmetic.js";
import { gif } from "./gif.js";
import { CELL, GAP, svg } from "./grid.js";
import {
  ON_WEIGHT, drawnWeight, gridsOf, paint, partial, show, spelledOut, stepFocus, stepsOf,
  weightColour,
} from "./paint.js";

export const MOST_FRAMES = 256;
const MARGIN = 18;
const BETWEEN = 56;
const HEAD = 34;
const LETTER = 7.6;
const FONT = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';

/** Shapes of one picture: {kind: rect | text, ...} in one coordinate system. */
export function shapesOf(view) {
  const { p, numbers, mode, focus, filter, titles, colours, filled } = view;
  const grids = gridsOf(p, mode);
  const painted = paint(p, numbers, mode, focus, filter);
  const shapes = [];
  const text = (x, y, words, size, fill, more = {}) =>
    shapes.push({ kind: "text", x, y, words, size, fill, anchor: "middle", ...more });
  let x = MARGIN;
  let tallest = 0;
  for (const name of ["input", "kernel", "output"]) {
    const layout = grids[name];
    const [[top, bottom], [left, right]] = layout.bounds;
    const block = (bottom - top) * CELL + GAP;
    const width = (right - left) * CELL;
    text(x, MARGIN + 10, titles[name], 15, colours.ink, { anchor: "start", bold: true });
    for (const c of range(layout.channels)) {
      for (const row of range(bottom - top, top)) {
        for (const column of range(right - left, left)) {
          const cell = [c, row, column];
          const kind = layout.kind(cell);
          const wear = painted[name].get(cell.join()) ?? {};
          const px = x + (column - left) * CELL;
          const py = HEAD + MARGIN + c * block + (row - top) * CELL;
          const own = kind === "weight" ? weightColour(p, drawnWeight(p, mode, cell)) : null;
          const fill = wear.fill === "now" ? colours.now : (wear.fill ?? own ?? colours[kind]);
          const marked = wear.mark === "focus" || wear.mark === "best" || wear.mark === "on";
          shapes.push({
            kind: "rect",
            x: px + 1,
            y: py + 1,
            w: CELL - 2,
            h: CELL - 2,
            fill,
            hatch: kind === "unread" && !wear.fill,
            stroke: marked ? colours.ink : colours.line,
            width: wear.mark === "focus" || wear.mark === "best" ? 2.5 : 1,
            dash: ["pad", "padunread", "gap", "crop"].includes(kind),
          });
          const words = cellText(view, grids, name, cell, kind, filled);
          const onColour = own || (wear.fill && wear.fill !== "now");
          const size = words.length > 5 ? 9 : words.length > 3 ? 12 : 17;
          const ink = onColour
            ? ON_WEIGHT
            : kind === "cell" || kind === "unread" || kind === "out"
              ? colours.ink
              : colours.muted;
          text(px + CELL / 2, py + CELL / 2, words, size, ink);
          if (wear.sub) {
            text(px + CELL - 4, py + CELL - 9, wear.sub, 10, ON_WEIGHT, { anchor: "end" });
          }
        }
      }
    }
    tallest = Math.max(tallest, layout.channels * block - GAP);
    if (name !== "output") {
      const sign = name === "kernel" ? "=" : p.convolves ? "∗" : "→";
      text(x + width + BETWEEN / 2, HEAD + MARGIN + 20, sign, 24, colours.muted);
    }
    x += width + BETWEEN;
  }

  const width = Math.max(x - BETWEEN + MARGIN, 360);
  const lines = wrapped(sentence(view, focus), Math.floor((width - 2 * MARGIN) / LETTER));
  const below = HEAD + MARGIN + tallest + 26;
  lines.forEach((line, at) =>
    text(MARGIN, below + at * 19, line, 14, colours.ink, { anchor: "start" }),
  );
  const foot = below + (view.sumLines ?? lines.length) * 19 + 4;
  text(MARGIN, foot, titles.caption, 13, colours.muted, { anchor: "start" });
  return { width, height: foot + 18, shapes };
}

function cellText(view, grids, name, cell, kind, filled) {
  const { p, numbers, mode, filter } = view;
  if (name === "output") {
    if (kind === "crop") return "";
    const [f, y, x] = cell;
    if (filled === null) return show(view.values[f][y][x]);
    if (mode === "scatter") {
      return f === filter ? show(view.partial[y][x]) : "";
    }
    return f !== filter || y * p.outputs[1] + x <= filled ? show(view.values[f][y][x]) : "";
  }
  if (name === "kernel") return kernelText(p, numbers, mode, cell, filter);
  const real = grids.input.cell(cell);
  if (real) return show(numbers.x[real[0]][real[1]][real[2]]);
  return kind === "crop" ? "" : p.operation === "max_pool" ? "" : "0";
}

/** What stands in a kernel cell: its weight; in pooling nothing to multiply. */
export function kernelText(p, numbers, mode, cell, filter) {
  const [c, y, x] = drawnWeight(p, mode, cell);
  return p.convolves ? show(numbers.w[filter][c][y][x]) : "";
}

function wrapped(words, width) {
  const lines = [""];
  for (const part of words.split(/(?<= )/)) {
    if ((lines.at(-1) + part).trimEnd().length > width && lines.at(-1)) lines.push("");
    lines[lines.length - 1] += part;
  }
  return lines.map((line) => line.trimEnd());
}

/** One picture as SVG text; every word goes in as text, never as markup. */
export function svgText(view) {
  const { width, height, shapes } = shapesOf({ ...view, filled: null });
  const root = svg("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "font-family": FONT,
  });
  root.append(svg("title", {}, `${view.titles.caption}`));
  const id = "unread";
  root.append(
    svg(
      "defs",
      {},
      svg(
        "pattern",
        {
          id,
          width: 8,
          height: 8,
          patternUnits: "userSpaceOnUse",
          patternTransform: "rotate(45)",
        },
        svg("rect", { width: 2.5, height: 8, fill: view.colours.hatch }),
      ),
    ),
  );
  root.append(svg("rect", { width, height, fill: view.colours.bg }));
  for (const s of shapes) {
    if (s.kind === "rect") {
      const shape = { x: s.x, y: s.y, width: s.w, height: s.h, rx: 3 };
      const dash = s.dash ? { "stroke-dasharray": "3 2" } : {};
      const outline = { stroke: s.stroke, "stroke-width": s.width, ...dash };
      root.append(svg("rect", { ...shape, fill: s.fill, ...outline }));
      if (s.hatch) root.append(svg("rect", { ...shape, fill: `url(#${id})` }));
    } else if (s.words) {
      const more = s.bold ? { "font-weight": 600 } : {};
      root.append(
        svg(
          "text",
          {
            x: s.x,
            y: s.y,
            "font-size": s.size,
            fill: s.fill,
            "text-anchor": s.anchor,
            dy: "0.36em",
            ...more,
          },
          s.words,
        ),
      );
    }
  }
  return `${new XMLSerializer().serializeToString(root)}\n`;
}

function drawn(context, { shapes, width, height }, colours) {
  context.fillStyle = colours.bg;
  context.fillRect(0, 0, width, height);
  for (const s of shapes) {
    if (s.kind === "rect") {
      context.fillStyle = s.fill;
      context.fillRect(s.x, s.y, s.w, s.h);
      if (s.hatch) hatch(context, s, colours.hatch);
      context.strokeStyle = s.stroke;
      context.lineWidth = s.width;
      context.setLineDash(s.dash ? [3, 2] : []);
      context.strokeRect(s.x, s.y, s.w, s.h);
    } else if (s.words) {
      context.fillStyle = s.fill;
      context.font = `${s.bold ? "600 " : ""}${s.size}px ${FONT}`;
      context.textAlign = { start: "left", middle: "center", end: "right" }[s.anchor];
      context.textBaseline = "middle";
      context.fillText(s.words, s.x, s.y + 1);
    }
  }
}

function hatch(context, { x, y, w, h }, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, w, h);
  context.clip();
  context.setLineDash([]);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  for (let from = -h; from < w; from += 8) {
    context.beginPath();
    context.moveTo(x + from, y + h);
    context.lineTo(x + from + h, y);
    context.stroke();
  }
  context.restore();
}

/** The bytes of an animation, a frame a step, the output filling up. */
export function gifBytes(view, milliseconds = 600) {
  const { p, mode, filter, numbers } = view;
  const steps = stepsOf(p, mode);
  if (steps > MOST_FRAMES) {
    throw new InputError(
      `a GIF holds up to ${MOST_FRAMES} steps`,
      `${steps}`,
      "choose a smaller input or a stride",
    );
  }
  const focusOf = (at) => stepFocus(p, mode, at, filter);
  const letters = Math.floor((shapesWidth(view) - 2 * MARGIN) / LETTER);
  const sumLines = Math.max(
    ...range(steps).map((at) => wrapped(sentence(view, focusOf(at)), letters).length),
  );
  let [canvas, context] = [null, null];
  const frameAt = (at) => {
    const picture = shapesOf({
      ...view,
      focus: focusOf(at),
      filled: at,
      sumLines,
      partial: mode === "scatter" ? partial(p, numbers, at + 1, filter) : null,
    });
    if (!canvas) {
      const scale = Math.min(1, 900 / picture.width);
      canvas = document.createElement("canvas");
      canvas.width = Math.round(picture.width * scale);
      canvas.height = Math.round(picture.height * scale);
      context = canvas.getContext("2d", { willReadFrequently: true });
      context.scale(scale, scale);
    }
    drawn(context, picture, view.colours);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const delays = range(steps).map((at) => (at === steps - 1 ? milliseconds * 3 : milliseconds));
  return gif(frameAt, delays);
}

const sentence = ({ p, numbers, mode, filter }, focus) =>
  spelledOut(p, numbers, mode, focus, filter)
    .map((part) => part.text)
    .join("");

function shapesWidth({ p, mode }) {
  const grids = gridsOf(p, mode);
  const widths = Object.values(grids).map(({ bounds: [, [left, right]] }) => (right - left) * CELL);
  return Math.max(widths.reduce((a, b) => a + b) + 2 * BETWEEN + 2 * MARGIN, 360);
}
