// A stack of layers on one axis, and what each of its cells reads.
import { output, range, resolve } from "./arithmetic.js";
import { button, select, slider } from "./controls.js";
import { chainSizes, fieldSummary, fieldThen, identity, readCells } from "./field.js";
import { h, svg } from "./grid.js";
import { plural, scrolled, table } from "./panel.js";
import { BOUNDS } from "./settings.js";

const STACK_INPUT = [1, 48];
const MOST_LAYERS = 6;
const PRESETS = {
  "three 3×3": [
    [3, 1, 1, "same"],
    [3, 1, 1, "same"],
    [3, 1, 1, "same"],
  ],
  "conv, pool, conv": [
    [3, 1, 1, "same"],
    [2, 2, 1, "valid"],
    [3, 1, 1, "same"],
  ],
  "dilated 1, 2, 4": [
    [3, 1, 1, "same"],
    [3, 1, 2, "same"],
    [3, 1, 4, "same"],
  ],
  "causal 1, 2, 4": [
    [2, 1, 1, "causal"],
    [2, 1, 2, "causal"],
    [2, 1, 4, "causal"],
  ],
};
const STACK_PADDING = ["valid", "same", "half", "full", "causal", "0", "1", "2", "3", "4", "5"];

export class StackPanel {
  constructor(app) {
    this.app = app;
    this.n = 16;
    this.layers = PRESETS["conv, pool, conv"].map((l) => [...l]);
    this.cursor = null;
    this.size = slider("Input cells", "i", (n) => {
      this.n = n;
      this.changed();
    });
    this.rows = h("div", { class: "cs-layers" });
    this.presets = select(
      "Start from",
      [["", "choose"], ...Object.keys(PRESETS).map((k) => [k, k])],
      (name) => {
        if (!PRESETS[name]) return;
        this.layers = PRESETS[name].map((l) => [...l]);
        this.changed();
      },
    );
    this.add = button("Add a layer", () => {
      this.layers.push([3, 1, 1, "same"]);
      this.changed();
    });
    this.drawing = svg("svg", { class: "cs-stack", "aria-hidden": "true", focusable: "false" });
    this.box = h(
      "div",
      {
        class: "cs-scroll cs-grid",
        role: "application",
        tabindex: "0",
        "aria-label":
          "Stack of layers: arrow keys move, left and right along a map, up and down " +
          "between maps",
        "aria-roledescription": "maps of a stack",
        pointermove: (event) => this.point(event),
        pointerdown: (event) => this.point(event),
        keydown: (event) => this.key(event),
        focus: () => this.focus(this.cursor),
      },
      this.drawing,
    );
    this.words = h("p", { class: "cs-verdict", "aria-live": "polite" });
    this.facts = h("div");
    this.element = h(
      "div",
      {},
      h("p", {}, "One axis of a stack of layers. Point at a cell to see all that it reads below."),
      h("div", { class: "cs-row" }, this.size.element, this.presets.element, this.add),
      this.rows,
      this.words,
      this.box,
      this.facts,
    );
  }

  changed() {
    this.render();
    this.app.linkSoon();
  }

  link() {
    return `${this.n}:${this.layers.map((l) => l.join(".")).join("_")}`;
  }

  adopt(text, notes) {
    const [n, rest = ""] = text.split(":");
    const bad = () => notes.push(`stack "${text.slice(0, 40)}" is not understood: left as it was`);
    const layers = rest
      .split("_")
      .filter(Boolean)
      .map((part) => part.split("."));
    const right =
      layers.length <= MOST_LAYERS &&
      layers.every(
        (l) =>
          l.length === 4 &&
          l.slice(0, 3).every((v, at) => inBounds(["kernel", "stride", "dilation"][at], v)) &&
          STACK_PADDING.includes(l[3]),
      );
    const size = Number(n);
    if (!right || !Number.isInteger(size) || size < STACK_INPUT[0] || size > STACK_INPUT[1]) {
      bad();
      return;
    }
    this.n = size;
    this.layers = layers.map(([k, s, d, p]) => [Number(k), Number(s), Number(d), p]);
  }

  /** Windows from the input up, as far as they fit. */
  chain() {
    const windows = [];
    let n = this.n;
    for (const [k, s, d, p] of this.layers) {
      const w = resolve(/^\d+$/.test(p) ? Number(p) : p, n, k, s, d);
      if (!output(w, n)) return { windows, refused: windows.length };
      windows.push(w);
      n = output(w, n);
    }
    return { windows, refused: null };
  }

  render() {
    this.size.show(this.n, STACK_INPUT);
    this.add.disabled = this.layers.length >= MOST_LAYERS;
    this.presets.show("");
    const { windows, refused } = this.chain();
    const shape = this.layers.length;
    if (this.rows.children.length !== shape)
      this.rows.replaceChildren(...this.layers.map((_, i) => this.row(i)));
    this.layers.forEach((layer, i) => {
      const inputs = this.rows.children[i].querySelectorAll("select");
      inputs.forEach((input, at) => {
        input.value = String(layer[at]);
      });
    });
    this.windows = windows;
    this.sizes = chainSizes(windows, this.n);
    this.draw();
    const fields = windows
      .reduce((all, w) => [...all, fieldThen(all.at(-1), w)], [identity])
      .slice(1);
    this.facts.replaceChildren(
      scrolled(
        "Facts about the stack",
        table(
          "Receptive fields on the input",
          ["Layer", "Cells", "Field", "Jump", "Holes", "Pads"],
          windows.map((w, i) => {
            const f = fieldSummary(fields[i]);
            return [
              String(i + 1),
              String(this.sizes[i + 1]),
              String(f.size),
              String(f.step / f.period),
              String(f.holes),
              `(${w.padding.join(", ")})`,
            ];
          }),
        ),
      ),
    );
    if (refused !== null) {
      this.words.textContent =
        `Layer ${refused + 1} does not fit ${plural(this.sizes.at(-1), "cell")}: ` +
        "pad more, or use a smaller kernel or dilation.";
    } else {
      this.focus(this.cursor ?? [windows.length, Math.floor(this.sizes.at(-1) / 2)]);
    }
  }

  row(i) {
    const field = (label, at, values) => {
      const input = h(
        "select",
        {
          "aria-label": `Layer ${i + 1}, ${label}`,
          change: () => {
            this.layers[i][at] = at < 3 ? Number(input.value) : input.value;
            this.changed();
          },
        },
        values.map((v) => h("option", { value: v }, String(v))),
      );
      return h("label", {}, h("span", {}, `${label} `), input);
    };
    return h(
      "div",
      { class: "cs-row cs-layer", role: "group", "aria-label": `Layer ${i + 1}` },
      h("strong", {}, `${i + 1}`),
      field("kernel", 0, range(11, 1)),
      field("stride", 1, range(8, 1)),
      field("dilation", 2, range(8, 1)),
      field("padding", 3, STACK_PADDING),
      button(
        "Remove",
        () => {
          this.layers.splice(i, 1);
          this.rows.replaceChildren();
          this.changed();
        },
        { "aria-label": `Remove layer ${i + 1}` },
      ),
    );
  }

  draw() {
    const [w, tall] = [20, 46];
    const levels = this.sizes.length;
    const widest = Math.max(...this.sizes);
    const left = 64;
    this.drawing.setAttribute("viewBox", `0 0 ${left + widest * w + 4} ${levels * tall}`);
    this.drawing.style.width = `${left + widest * w + 4}px`;
    this.cells = new Map();
    const lines = svg("g", { class: "cs-lines" });
    const boxes = svg("g");
    this.at = ([level, o]) => [
      left + (o + 0.5) * ((widest * w) / this.sizes[level]),
      (levels - 1 - level) * tall + tall / 2,
    ];
    this.sizes.forEach((n, level) => {
      const y = (levels - 1 - level) * tall + tall / 2;
      boxes.append(
        svg("text", { class: "cs-lane", x: 0, y: y + 4 }, level ? `layer ${level}` : "input"),
      );
      range(n).forEach((o) => {
        const [x] = this.at([level, o]);
        const box = svg("rect", {
          class: "cs-cell cs-k-cell",
          x: x - w / 2 + 1,
          y: y - w / 2 + 1,
          width: w - 2,
          height: w - 2,
          rx: 3,
        });
        boxes.append(box);
        this.cells.set(`${level},${o}`, box);
      });
    });
    this.lines = lines;
    this.drawing.replaceChildren(lines, boxes);
    this.box.classList.toggle("cs-hidden", levels < 2);
  }

  point(event) {
    const area = this.drawing.getBoundingClientRect();
    if (!area.width) return;
    const [, , wide, high] = this.drawing.getAttribute("viewBox").split(" ").map(Number);
    const x = ((event.clientX - area.left) * wide) / area.width;
    const y = ((event.clientY - area.top) * high) / area.height;
    const level = this.sizes.length - 1 - Math.floor(y / 46);
    if (level < 0 || level >= this.sizes.length) return;
    const widest = Math.max(...this.sizes);
    const o = Math.floor(((x - 64) / (widest * 20)) * this.sizes[level]);
    if (o >= 0 && o < this.sizes[level]) this.focus([level, o]);
  }

  key(event) {
    const [level, o] = this.cursor ?? [this.sizes.length - 1, 0];
    const to = {
      ArrowLeft: [level, o - 1],
      ArrowRight: [level, o + 1],
      ArrowUp: [level + 1, o],
      ArrowDown: [level - 1, o],
      Home: [level, 0],
      End: [level, Infinity],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.focus(to);
  }

  focus(wanted) {
    if (!this.sizes || wanted === null) return;
    const level = Math.min(this.sizes.length - 1, Math.max(0, wanted[0]));
    const o = Math.min(this.sizes[level] - 1, Math.max(0, wanted[1]));
    this.cursor = [level, o];
    const read = readCells(this.windows, this.n, o, level);
    for (const box of this.cells.values()) box.setAttribute("class", "cs-cell cs-k-cell");
    const lines = [];
    read.forEach((cells, at) =>
      cells.forEach((cell) => {
        this.cells
          .get(`${at},${cell}`)
          ?.setAttribute("class", `cs-cell cs-k-cell cs-field${at === level ? " cs-m-focus" : ""}`);
        if (!at) return;
        for (const below of readCells(this.windows.slice(at - 1), this.sizes[at - 1], cell, 1)[0]) {
          const [[x1, y1], [x2, y2]] = [this.at([at, cell]), this.at([at - 1, below])];
          lines.push(svg("path", { d: `M${x1} ${y1 + 9}L${x2} ${y2 - 9}` }));
        }
      }),
    );
    this.lines.replaceChildren(...lines);
    const cells = read[0];
    const where = level ? `Cell ${o} of layer ${level}` : `Input cell ${o}`;
    this.words.textContent = level
      ? `${where} reads ${plural(cells.length, "input cell")}` +
        (cells.length ? `, from ${cells[0]} to ${cells.at(-1)}.` : ": padding alone.")
      : `${where}.`;
  }
}

function inBounds(name, text) {
  const value = Number(text);
  const most = { kernel: 11, stride: 8, dilation: 8 }[name];
  return /^\d+$/.test(text) && value >= BOUNDS[name][0] && value <= most;
}
