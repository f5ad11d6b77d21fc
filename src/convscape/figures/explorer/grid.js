// One grid of cells on the page: drawn once for a layout, then only what changes is touched.
import { ON_WEIGHT } from "./paint.js";

const SVG = "http://www.w3.org/2000/svg";
export const CELL = 40;
export const GAP = 26;

/** An SVG element with attributes and children; text only ever as text. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An HTML element with attributes (a function is a listener) and children. */
export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined)
      made.setAttribute(key, value);
  }
  made.append(...children.flat());
  return made;
}

let serial = 0;
export const unique = (word) => `convscape-${word}-${(serial += 1)}`;

/** Put a frame around an area, or hide it. */
function frame(box, area) {
  for (const [name, value] of Object.entries(area ?? {})) box.setAttribute(name, value);
  box.setAttribute("visibility", area ? "visible" : "hidden");
}

export class Grid {
  /** `name` is input, kernel or output; `on` has focus(cell), leave(), edit(cell), key(event). */
  constructor(name, on) {
    this.name = name;
    this.on = on;
    this.hatch = unique("hatch");
    this.title = h("h2", { class: "cs-grid-title", id: unique("title") });
    this.svg = svg("svg", { "aria-hidden": "true", focusable: "false" });
    this.box = h(
      "div",
      {
        class: `cs-grid cs-${name}`,
        role: "application",
        tabindex: "0",
        "aria-roledescription": "grid of numbers",
        "aria-labelledby": this.title.id,
        pointermove: (event) => this.point(event),
        pointerdown: (event) => this.point(event),
        pointerleave: (event) => event.pointerType !== "touch" && on.leave(),
        dblclick: (event) => this.pointed(event) && on.edit(this.pointed(event)),
        focus: () => on.focus(this.cursor, true),
        blur: () => on.leave(),
        keydown: (event) => on.key(event, this),
      },
      this.svg,
    );
    this.element = h("figure", { class: "cs-panel" }, this.title, this.box);
    this.cells = new Map();
    this.painted = new Map();
    this.cursor = null;
  }

  /** Build the cells of a layout; `text` gives a cell's number. */
  lay(layout, title, text, baseFill) {
    this.layout = layout;
    this.baseFill = baseFill;
    this.title.textContent = title;
    const [[top, bottom], [left, right]] = layout.bounds;
    this.rows = bottom - top;
    this.columns = right - left;
    this.cells.clear();
    this.painted.clear();
    const height = this.rows * CELL;
    this.height = layout.channels * height + (layout.channels - 1) * GAP;
    this.width = this.columns * CELL;
    this.svg.setAttribute("viewBox", `-2 -2 ${this.width + 4} ${this.height + 4}`);
    const pattern = svg(
      "pattern",
      {
        id: this.hatch,
        width: 8,
        height: 8,
        patternUnits: "userSpaceOnUse",
        patternTransform: "rotate(45)",
      },
      svg("rect", { class: "cs-hatchbg", width: 8, height: 8 }),
      svg("rect", { class: "cs-hatch", width: 2.5, height: 8 }),
    );
    const body = svg("g");
    for (let c = 0; c < layout.channels; c += 1) {
      for (let y = top; y < bottom; y += 1) {
        for (let x = left; x < right; x += 1) body.append(this.made([c, y, x], text));
      }
    }
    this.ghostBox = svg("rect", { class: "cs-ghost" });
    this.focusBox = svg("rect", { class: "cs-focus" });
    this.bestBox = svg("rect", { class: "cs-focus" });
    this.svg.replaceChildren(
      svg("defs", {}, pattern),
      body,
      this.bestBox,
      this.focusBox,
      this.ghostBox,
    );
    for (const box of [this.ghostBox, this.focusBox, this.bestBox]) frame(box, null);
    this.cursor = this.clamped(this.cursor ?? [0, top, left]);
  }

  made(cell, text) {
    const kind = this.layout.kind(cell);
    const [px, py] = this.corner(cell);
    const box = svg("rect", {
      class: `cs-cell cs-k-${kind}`,
      x: px + 1,
      y: py + 1,
      width: CELL - 2,
      height: CELL - 2,
      rx: 3,
    });
    if (kind === "unread") box.style.fill = `url(#${this.hatch})`;
    const fill = this.baseFill?.(cell);
    if (fill) box.style.fill = fill;
    const words = text(cell);
    const label = svg("text", { class: "cs-number", x: px + CELL / 2, y: py + CELL / 2 }, words);
    if (fill) label.style.fill = ON_WEIGHT;
    if (words.length > 3) label.classList.add(words.length > 5 ? "cs-tiny" : "cs-small");
    this.cells.set(cell.join(), { box, label, kind, cell, fill });
    const group = svg("g", {}, box, label);
    return group;
  }

  corner([c, y, x]) {
    const [[top], [left]] = this.layout.bounds;
    return [(x - left) * CELL, c * (this.rows * CELL + GAP) + (y - top) * CELL];
  }

  has(cell) {
    return cell !== null && this.cells.has(cell.join());
  }

  clamped([c, y, x]) {
    const [[top, bottom], [left, right]] = this.layout.bounds;
    const clamp = (v, least, most) => Math.min(most, Math.max(least, v));
    return [
      clamp(c, 0, this.layout.channels - 1),
      clamp(y, top, bottom - 1),
      clamp(x, left, right - 1),
    ];
  }

  /** The cell under the pointer, or null. */
  pointed(event) {
    const area = this.svg.getBoundingClientRect();
    if (!area.width) return null;
    const scale = (this.width + 4) / area.width;
    const [[top], [left]] = this.layout.bounds;
    const px = (event.clientX - area.left) * scale - 2;
    const py = (event.clientY - area.top) * scale - 2;
    const block = this.rows * CELL + GAP;
    const c = Math.floor(py / block);
    const cell = [c, top + Math.floor((py - c * block) / CELL), left + Math.floor(px / CELL)];
    return this.has(cell) ? cell : null;
  }

  point(event) {
    const cell = this.pointed(event);
    if (!cell) {
      if (event.type === "pointermove") this.on.leave();
      return;
    }
    this.cursor = cell;
    this.on.focus(cell, event.type === "pointerdown");
  }

  /** Move the keyboard's cell; says whether the key was one of its own. */
  move(name) {
    const [c, y, x] = this.cursor;
    const [[top, bottom], [left, right]] = this.layout.bounds;
    const moves = {
      ArrowUp: y === top && c > 0 ? [c - 1, bottom - 1, x] : [c, y - 1, x],
      ArrowDown: y === bottom - 1 && c < this.layout.channels - 1 ? [c + 1, top, x] : [c, y + 1, x],
      ArrowLeft: [c, y, x - 1],
      ArrowRight: [c, y, x + 1],
      Home: [c, y, left],
      End: [c, y, right - 1],
      PageUp: [c, top, x],
      PageDown: [c, bottom - 1, x],
    };
    if (!Object.hasOwn(moves, name)) return false;
    this.cursor = this.clamped(moves[name]);
    this.on.focus(this.cursor, true);
    return true;
  }

  /** Bring the cells to a map of {fill, sub, mark}; only differences are touched. */
  paint(map) {
    for (const [at] of this.painted) if (!map.has(at)) this.dress(at, {});
    for (const [at, wear] of map) {
      const old = this.painted.get(at);
      if (!old || old.fill !== wear.fill || old.sub !== wear.sub || old.mark !== wear.mark) {
        this.dress(at, wear);
      }
    }
    this.painted = map;
    const marked = (mark) =>
      [...map].find(([at, wear]) => wear.mark === mark && this.cells.has(at));
    for (const [mark, box] of [
      ["focus", this.focusBox],
      ["best", this.bestBox],
    ]) {
      const found = marked(mark);
      frame(box, found ? this.area([...this.cells.get(found[0]).cell, 1, 1]) : null);
    }
  }

  dress(at, { fill, sub, mark }) {
    const cell = this.cells.get(at);
    if (!cell) return;
    const { box, label, kind } = cell;
    const plain = cell.fill ?? (kind === "unread" ? `url(#${this.hatch})` : "");
    const own = fill && fill !== "now" ? fill : plain;
    if (box.style.fill !== own) box.style.fill = own;
    label.style.fill = (fill && fill !== "now") || cell.fill ? ON_WEIGHT : "";
    const state = `cs-cell cs-k-${kind}${fill === "now" ? " cs-now" : ""}${mark ? ` cs-m-${mark}` : ""}`;
    if (box.getAttribute("class") !== state) box.setAttribute("class", state);
    if (sub) {
      cell.sub ??= this.subscript(cell);
      if (cell.sub.textContent !== sub) cell.sub.textContent = sub;
    } else if (cell.sub) {
      cell.sub.textContent = "";
    }
  }

  subscript({ cell, box }) {
    const [px, py] = this.corner(cell);
    const made = svg("text", { class: "cs-sub", x: px + CELL - 4, y: py + CELL - 5 });
    box.parentNode.append(made);
    return made;
  }

  /** Write a cell's number. */
  write(at, text, pending) {
    const cell = this.cells.get(at);
    if (!cell) return;
    if (cell.label.textContent !== text) cell.label.textContent = text;
    if (cell.pending !== pending) {
      cell.pending = pending;
      cell.label.classList.toggle("cs-pending", pending);
    }
  }

  /** The outline of the running window: [c, y, x, rows, columns], or nothing. */
  ghost(place) {
    frame(this.ghostBox, place ? this.area(place) : null);
  }

  area([c, y, x, rows, columns]) {
    const [px, py] = this.corner([c, y, x]);
    return { x: px, y: py, width: columns * CELL, height: rows * CELL, rx: 4 };
  }

  /** Show the cells at a size in pixels. */
  scale(pixels) {
    this.svg.style.width = `${((this.width + 4) / CELL) * pixels}px`;
    this.svg.style.height = `${((this.height + 4) / CELL) * pixels}px`;
    this.box.classList.toggle("cs-dense", pixels < 20);
    this.box.classList.toggle("cs-many", this.cells.size > 400);
  }
}
