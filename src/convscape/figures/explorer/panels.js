// The panels below the drawing: dialects side by side, a stack of layers, the inverse problem, code,
// export, and the layers of a network. Each has an element and render().
import { InputError, extent, output, range, resolve, start } from "./arithmetic.js";
import {
  DIALECTS, DIALECT_TITLES, habit, isExact, layerWindows, makeLayer, sameLayer, translate,
} from "./dialects.js";
import { code } from "./code.js";
import { fieldSummary, fieldThen, identity, readCells, chainSizes, solve } from "./field.js";
import { allValues, prepare } from "./numbers.js";
import { button, checkbox, select, slider } from "./controls.js";
import { h, svg } from "./grid.js";
import { show } from "./paint.js";
import { BOUNDS, layerOf, refusal } from "./settings.js";

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const times = (values) => values.join("×");

/** A table from rows of text or elements; the first row is its head. */
export function table(caption, head, rows) {
  return h("table", {}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
      at ? h("td", {}, cell) : h("th", { scope: "row" }, cell))))));
}

const scrolled = (label, ...children) =>
  h("div", { class: "cs-scroll", tabindex: "0", role: "region", "aria-label": label }, children);

// ---- dialects -----------------------------------------------------------------------------------

const NUMBERS = "numbers";

/** Padding spellings of a dialect for an operation: [value, label]. */
function spellings(dialect, layer) {
  const numbers = [NUMBERS, "in numbers"];
  const one = layer.kernel.length === 1 && layer.operation === "conv";
  const names = {
    keras: ["valid", "same", ...(one ? ["causal"] : [])],
    torch: layer.operation === "conv" ? ["valid", "same"] : [],
    onnx: ["VALID", "SAME_UPPER", "SAME_LOWER"],
    jax: ["VALID", "SAME", "SAME_LOWER", ...(one ? ["CAUSAL"] : [])],
  }[dialect];
  const offered = names.map((name) => [name, `"${name}"`]);
  return dialect === "keras" ? offered : [numbers, ...offered];
}

export class DialectPanel {
  constructor(app) {
    this.app = app;
    this.sides = [{ dialect: "keras", padding: null }, { dialect: "torch", padding: null }];
    this.pickers = this.sides.map((side, at) => {
      const which = at ? "Right" : "Left";
      const dialect = select(`${which} framework`, [], (value) => {
        Object.assign(side, { dialect: value, padding: null });
        this.changed();
      });
      const padding = select(`${which} padding`, [], (value) => {
        side.padding = value;
        this.changed();
      });
      const body = h("div", { class: "cs-side-body" });
      const element = h("div", { class: "cs-side" }, dialect.element, padding.element, body);
      return { dialect, padding, body, element };
    });
    this.verdict = h("p", { class: "cs-verdict", role: "status" });
    this.strip = h("div", { class: "cs-strip" });
    this.all = h("div");
    this.element = h("div", {},
      h("p", {}, "The settings above as each framework would be given them. Cells that read other "
        + "input cells, or divide by another number, are marked."),
      this.verdict,
      h("div", { class: "cs-sides" }, this.pickers.map((p) => p.element)), this.strip, this.all);
  }

  changed() {
    this.render();
    this.app.linkSoon();
  }

  /** As `keras:same`, for a link. */
  links() {
    return this.sides.map((s) => (s.padding === null ? s.dialect : `${s.dialect}:${s.padding}`));
  }

  adopt(texts, notes) {
    texts.forEach((text, at) => {
      if (text === undefined) return;
      const [dialect, padding] = text.split(":");
      if (!DIALECTS.includes(dialect)) {
        notes.push(`framework "${text.slice(0, 40)}" is not known: ${this.sides[at].dialect}`);
        return;
      }
      const layer = layerOf(this.app.settings);
      const known = spellings(dialect, layer).some(([value]) => value === padding);
      if (padding !== undefined && !known) {
        notes.push(`padding "${padding.slice(0, 40)}" is not one of ${dialect}'s: left out`);
      }
      this.sides[at] = Object.assign(this.sides[at], { dialect, padding: known ? padding : null });
    });
  }

  /** One side's layer, or the error that its framework gives. */
  made({ dialect, padding }) {
    const layer = layerOf(this.app.settings);
    const usual = habit(layer, dialect);
    const each = (value) => layer.kernel.map(() => value);
    let chosen = usual.padding;
    if (padding === NUMBERS) {
      const plain = layerWindows(layer, this.app.settings.input);
      const asked = typeof this.app.settings.padding === "string"
        ? layer.operation === "transposed"
          ? plain.map((w) => w.padding.map((p) => extent(w) - 1 - p))
          : plain.map((w) => [...w.padding])
        : this.app.settings.padding;
      chosen = dialect === "torch" ? asked.map(([low]) => low)
        : dialect === "jax" && layer.operation === "transposed" ? plain.map((w) => [...w.padding])
          : asked;
    } else if (padding !== null) {
      chosen = each(padding);
    }
    return makeLayer({ ...usual, padding: chosen });
  }

  render() {
    const { settings, numbers } = this.app;
    const own = layerOf(settings);
    const made = this.sides.map((side) => {
      try {
        const layer = this.made(side);
        return { layer, p: prepare(layer, settings.input) };
      } catch (error) {
        if (error instanceof InputError) return { error };
        throw error;
      }
    });
    const differ = this.differences(made);
    made.forEach((side, at) => {
      const { dialect, padding, body } = this.pickers[at];
      const choices = spellings(this.sides[at].dialect, own);
      dialect.show(this.sides[at].dialect, DIALECTS.map((d) => [d, DIALECT_TITLES[d]]));
      const first = side.layer?.padding[0];
      const spelled = this.sides[at].padding ?? (typeof first === "string" ? first : NUMBERS);
      const named = choices.some(([value]) => value === spelled) ? spelled : choices[0][0];
      padding.show(named, choices);
      if (side.error) {
        body.replaceChildren(h("p", { class: "cs-refused" }, `Refused: ${side.error.message}`));
        return;
      }
      const ends = side.p.windows.slice(-settings.rank).map((w) => w.padding);
      const kind = own.operation === "transposed" ? "pads of the spread input" : "pads";
      body.replaceChildren(
        h("p", {}, `${times(side.p.outputs.slice(-settings.rank))}, ${kind} ${pads(ends)}`),
        miniature(side.p, numbers, differ?.cells[at] ?? null, DIALECT_TITLES[this.sides[at].dialect]),
      );
    });
    this.verdict.textContent = differ ? differ.words : "One side is refused, so there is nothing to compare.";
    this.verdict.classList.toggle("cs-differs", Boolean(differ?.count));
    this.strip.replaceChildren(...(differ?.count ? [strips(made.map((m) => m.p), this.sides)] : []));
    this.all.replaceChildren(scrolled("All frameworks", this.overview(own)));
  }

  /** Which cells of either output differ: same place, but other cells read or other divisor. */
  differences(made) {
    if (made.some((side) => side.error)) return null;
    const reads = made.map(({ p }) => p.windows.map((w, a) =>
      range(p.outputs[a]).map((o) => `${start(w, o)} ${p.divisors?.[a][o] ?? ""}`
        + ` ${w.kernel} ${w.dilation} ${w.input_dilation}`)));
    const differs = (y, x) => reads[0][0][y] !== reads[1][0][y] || reads[0][1][x] !== reads[1][1][x];
    const cells = made.map(({ p }) => new Set(range(p.outputs[0]).flatMap((y) =>
      range(p.outputs[1]).filter((x) => differs(y, x)).map((x) => `${y},${x}`))));
    const [a, b] = made.map(({ p }) => p.outputs);
    const count = Math.max(cells[0].size, cells[1].size);
    const names = this.sides.map((s) => DIALECT_TITLES[s.dialect]).join(" and ");
    const rank = this.app.settings.rank;
    const sizes = times(a) === times(b) ? `both give ${times(a.slice(-rank))}`
      : `sizes differ: ${times(a.slice(-rank))} and ${times(b.slice(-rank))}`;
    const words = count
      ? `${names}: ${sizes}; ${plural(count, "output cell")} of ${Math.max(a[0] * a[1], b[0] * b[1])} differ${count === 1 ? "s" : ""}.`
      : `${names}: ${sizes}, and every cell reads the same input.`;
    return { cells, count, words };
  }

  overview(own) {
    const { settings } = this.app;
    const rows = DIALECTS.map((dialect) => {
      try {
        const layer = this.made({ dialect, padding: null });
        const windows = layerWindows(layer, settings.input);
        const same = sameLayer(own, layer, settings.input);
        return [
          DIALECT_TITLES[dialect],
          typeof layer.padding[0] === "string" ? `"${layer.padding[0]}"` : pads(layer.padding),
          pads(windows.map((w) => w.padding)),
          times(windows.map((w, a) => output(w, settings.input[a]))),
          same ? "as drawn" : "other windows than drawn",
        ];
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        return [DIALECT_TITLES[dialect], "", "", "", `refused: ${error.message}`];
      }
    });
    return table("The settings as they are, by habit, spelled in each framework",
      ["Framework", "Padding given", "(low, high)", "Output", "Windows"], rows);
  }
}

/** Padding of every axis as text, once where the axes agree. */
function pads(padding) {
  const each = padding.map((p) => (Array.isArray(p) ? `(${p.join(", ")})` : String(p)));
  return new Set(each).size === 1 ? each[0] : each.join(" × ");
}

/** A small grid of output numbers, differing cells marked by an outline and a corner. */
function miniature(p, numbers, differ, name) {
  const values = allValues(p, numbers)[0];
  const [rows, columns] = p.outputs;
  const size = 34;
  const picture = svg("svg", {
    class: "cs-mini", viewBox: `-2 -2 ${columns * size + 4} ${rows * size + 4}`, role: "img",
    "aria-label": `Output of ${name}, ${rows} by ${columns}: ${differ ? plural(differ.size, "cell") : "0 cells"} marked`,
  });
  picture.style.maxWidth = `${columns * size + 4}px`;
  values.forEach((row, y) => row.forEach((number, x) => {
    const other = differ?.has(`${y},${x}`);
    const words = show(number);
    picture.append(
      svg("rect", {
        class: `cs-cell cs-k-out${other ? " cs-other" : ""}`, x: x * size + 1, y: y * size + 1,
        width: size - 2, height: size - 2, rx: 3,
      }),
      svg("text", {
        class: `cs-number ${words.length > 3 ? "cs-small" : ""}`, x: (x + 0.5) * size, y: (y + 0.5) * size,
      }, words),
    );
    if (other) {
      const [left, top] = [x * size + 3, y * size + 3];
      picture.append(svg("path", { class: "cs-corner", d: `M${left} ${top}h9l-9 9z` }));
    }
  }));
  return picture;
}

/** Where both sides' windows lie on the first axis on which they differ. */
function strips(problems, sides) {
  const axis = [1, 0].find((a) =>
    problems[0].windows[a].padding[0] !== problems[1].windows[a].padding[0]
    || problems[0].outputs[a] !== problems[1].outputs[a]) ?? 1;
  const low = Math.max(0, ...problems.map((p) => p.windows[axis].padding[0]));
  const high = Math.max(0, ...problems.map((p) => p.windows[axis].padding[1]));
  const cells = problems[0].spans[axis] + low + high;
  const size = 26;
  const lanes = Math.max(...problems.map((p) =>
    Math.min(4, Math.ceil(extent(p.windows[axis]) / p.windows[axis].stride))));
  const above = lanes * 9 + 18;
  const height = above * 2 + size;
  const names = sides.map((s) => DIALECT_TITLES[s.dialect]);
  const picture = svg("svg", {
    viewBox: `-2 0 ${cells * size + 4} ${height}`, role: "img",
    "aria-label": `Windows along ${axis ? "columns" : "rows"}: first window of ${names[0]} begins at `
      + `${start(problems[0].windows[axis], 0)}, of ${names[1]} at ${start(problems[1].windows[axis], 0)}`,
  });
  picture.style.width = `${cells * size}px`;
  const e = problems[0].windows[axis].input_dilation;
  range(cells).forEach((at) => {
    const t = at - low;
    const real = t >= 0 && t < problems[0].spans[axis] && t % e === 0;
    const kind = real ? "cell" : t >= 0 && t < problems[0].spans[axis] ? "gap" : "pad";
    picture.append(
      svg("rect", {
        class: `cs-cell cs-k-${kind}`, x: at * size + 1, y: above + 1, width: size - 2, height: size - 2,
      }),
      svg("text", { class: "cs-number cs-small", x: (at + 0.5) * size, y: above + size / 2 },
        real ? String(t / e) : "0"),
    );
  });
  problems.forEach((p, side) => {
    const w = p.windows[axis];
    const base = side ? above + size + 8 : above - 8;
    picture.append(svg("text", { class: "cs-lane", x: 0, y: side ? height - 4 : 11 },
      `${names[side]}: windows along ${axis ? "columns" : "rows"}`));
    range(p.outputs[axis]).forEach((o) => {
      const from = (start(w, o) + low) * size + 3;
      const y = base + (o % lanes) * 9 * (side ? 1 : -1);
      const to = from + extent(w) * size - 6;
      picture.append(svg("path", { class: `cs-window${side}`, d: `M${from} ${y}H${to}` }));
    });
  });
  return scrolled("Windows of both frameworks along an axis", picture);
}

// ---- stack --------------------------------------------------------------------------------------

const STACK_INPUT = [1, 48];
const MOST_LAYERS = 6;
const PRESETS = {
  "three 3×3": [[3, 1, 1, "same"], [3, 1, 1, "same"], [3, 1, 1, "same"]],
  "conv, pool, conv": [[3, 1, 1, "same"], [2, 2, 1, "valid"], [3, 1, 1, "same"]],
  "dilated 1, 2, 4": [[3, 1, 1, "same"], [3, 1, 2, "same"], [3, 1, 4, "same"]],
  "causal 1, 2, 4": [[2, 1, 1, "causal"], [2, 1, 2, "causal"], [2, 1, 4, "causal"]],
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
    this.presets = select("Start from", [["", "choose"], ...Object.keys(PRESETS).map((k) => [k, k])],
      (name) => {
        if (!PRESETS[name]) return;
        this.layers = PRESETS[name].map((l) => [...l]);
        this.changed();
      });
    this.add = button("Add a layer", () => {
      this.layers.push([3, 1, 1, "same"]);
      this.changed();
    });
    this.drawing = svg("svg", { class: "cs-stack", "aria-hidden": "true", focusable: "false" });
    this.box = h("div", {
      class: "cs-scroll cs-grid", role: "application", tabindex: "0",
      "aria-label": "Stack of layers: arrow keys move, left and right along a map, up and down "
        + "between maps",
      "aria-roledescription": "maps of a stack",
      pointermove: (event) => this.point(event), pointerdown: (event) => this.point(event),
      keydown: (event) => this.key(event), focus: () => this.focus(this.cursor),
    }, this.drawing);
    this.words = h("p", { class: "cs-verdict", "aria-live": "polite" });
    this.facts = h("div");
    this.element = h("div", {},
      h("p", {}, "One axis of a stack of layers. Point at a cell to see all that it reads below."),
      h("div", { class: "cs-row" }, this.size.element, this.presets.element, this.add),
      this.rows, this.words, this.box, this.facts);
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
    const layers = rest.split("_").filter(Boolean).map((part) => part.split("."));
    const right = layers.length <= MOST_LAYERS && layers.every((l) => l.length === 4
      && l.slice(0, 3).every((v, at) => inBounds(["kernel", "stride", "dilation"][at], v))
      && STACK_PADDING.includes(l[3]));
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
    if (this.rows.children.length !== shape) this.rows.replaceChildren(...this.layers.map((_, i) => this.row(i)));
    this.layers.forEach((layer, i) => {
      const inputs = this.rows.children[i].querySelectorAll("select");
      inputs.forEach((input, at) => { input.value = String(layer[at]); });
    });
    this.windows = windows;
    this.sizes = chainSizes(windows, this.n);
    this.draw();
    const fields = windows.reduce((all, w) => [...all, fieldThen(all.at(-1), w)], [identity]).slice(1);
    this.facts.replaceChildren(scrolled("Facts about the stack", table(
      "Receptive fields on the input", ["Layer", "Cells", "Field", "Jump", "Holes", "Pads"],
      windows.map((w, i) => {
        const f = fieldSummary(fields[i]);
        return [String(i + 1), String(this.sizes[i + 1]), String(f.size), String(f.step / f.period),
          String(f.holes), `(${w.padding.join(", ")})`];
      }),
    )));
    if (refused !== null) {
      this.words.textContent = `Layer ${refused + 1} does not fit ${plural(this.sizes.at(-1), "cell")}: `
        + "pad more, or use a smaller kernel or dilation.";
    } else {
      this.focus(this.cursor ?? [windows.length, Math.floor(this.sizes.at(-1) / 2)]);
    }
  }

  row(i) {
    const field = (label, at, values) => {
      const input = h("select", {
        "aria-label": `Layer ${i + 1}, ${label}`,
        change: () => {
          this.layers[i][at] = at < 3 ? Number(input.value) : input.value;
          this.changed();
        },
      }, values.map((v) => h("option", { value: v }, String(v))));
      return h("label", {}, h("span", {}, `${label} `), input);
    };
    return h("div", { class: "cs-row cs-layer", role: "group", "aria-label": `Layer ${i + 1}` },
      h("strong", {}, `${i + 1}`),
      field("kernel", 0, range(11, 1)), field("stride", 1, range(8, 1)),
      field("dilation", 2, range(8, 1)), field("padding", 3, STACK_PADDING),
      button("Remove", () => {
        this.layers.splice(i, 1);
        this.rows.replaceChildren();
        this.changed();
      }, { "aria-label": `Remove layer ${i + 1}` }));
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
      left + (o + 0.5) * ((widest * w) / this.sizes[level]), (levels - 1 - level) * tall + tall / 2,
    ];
    this.sizes.forEach((n, level) => {
      const y = (levels - 1 - level) * tall + tall / 2;
      boxes.append(svg("text", { class: "cs-lane", x: 0, y: y + 4 },
        level ? `layer ${level}` : "input"));
      range(n).forEach((o) => {
        const [x] = this.at([level, o]);
        const box = svg("rect", {
          class: "cs-cell cs-k-cell", x: x - w / 2 + 1, y: y - w / 2 + 1, width: w - 2, height: w - 2, rx: 3,
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
      ArrowLeft: [level, o - 1], ArrowRight: [level, o + 1], ArrowUp: [level + 1, o],
      ArrowDown: [level - 1, o], Home: [level, 0], End: [level, Infinity],
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
    read.forEach((cells, at) => cells.forEach((cell) => {
      this.cells.get(`${at},${cell}`)?.setAttribute("class",
        `cs-cell cs-k-cell cs-field${at === level ? " cs-m-focus" : ""}`);
      if (!at) return;
      for (const below of readCells(this.windows.slice(at - 1), this.sizes[at - 1], cell, 1)[0]) {
        const [[x1, y1], [x2, y2]] = [this.at([at, cell]), this.at([at - 1, below])];
        lines.push(svg("path", { d: `M${x1} ${y1 + 9}L${x2} ${y2 - 9}` }));
      }
    }));
    this.lines.replaceChildren(...lines);
    const cells = read[0];
    const where = level ? `Cell ${o} of layer ${level}` : `Input cell ${o}`;
    this.words.textContent = level
      ? `${where} reads ${plural(cells.length, "input cell")}`
        + (cells.length ? `, from ${cells[0]} to ${cells.at(-1)}.` : ": padding alone.")
      : `${where}.`;
  }
}

function inBounds(name, text) {
  const value = Number(text);
  const most = { kernel: 11, stride: 8, dilation: 8 }[name];
  return /^\d+$/.test(text) && value >= BOUNDS[name][0] && value <= most;
}

// ---- the inverse problem ------------------------------------------------------------------------

const MOST_SHOWN = 60;

export class SolvePanel {
  constructor(app) {
    this.app = app;
    this.target = null;
    this.sizes = [0, 1].map((axis) => slider("Output", "o", (value) => {
      this.target = this.wanted().map((o, a) => (a === axis || this.alike() ? value : o));
      this.changed();
    }));
    this.uneven = checkbox("Allow different padding at the two ends", () => this.changed());
    this.dilated = checkbox("Allow dilation up to 3", () => this.changed());
    this.words = h("p", { class: "cs-verdict", role: "status" });
    this.list = h("div", { class: "cs-solutions" });
    this.element = h("div", {},
      h("p", {}, "Which settings take the input to this output? Choose one to see it."),
      h("div", { class: "cs-row" }, this.sizes.map((s) => s.element), this.uneven.element,
        this.dilated.element),
      this.words, this.list);
    this.flags = [this.uneven, this.dilated].map((box) => box.element.querySelector("input"));
  }

  alike() {
    return new Set(this.app.settings.input).size === 1;
  }

  wanted() {
    const { settings, problem } = this.app;
    const now = problem.outputs.slice(-settings.rank);
    return this.target?.length === settings.rank ? this.target : now;
  }

  changed() {
    this.render();
    this.app.linkSoon();
  }

  render() {
    const { settings: s } = this.app;
    const o = this.wanted();
    const single = s.rank === 1 || (this.alike() && new Set(o).size === 1);
    this.sizes.forEach((control, axis) => {
      control.element.hidden = axis >= (single ? 1 : 2);
      if (axis < o.length) {
        control.show(o[axis], [1, 64], single ? "Output" : `Output, ${axis ? "columns" : "rows"}`);
      }
    });
    const found = solve(s.input, o, s.operation, {
      asymmetric: this.flags[0].checked,
      dilations: this.flags[1].checked ? [1, 2, 3] : [1],
      ceil: s.operation.endsWith("pool") && s.ceil_mode,
    }).map((made) => ({ made, settings: this.settingsOf(made) }))
      .filter(({ settings }) => !refusal(settings));
    const shown = found.slice(0, MOST_SHOWN);
    this.words.textContent = found.length
      ? `${plural(found.length, "setting")} with kernels up to 11 ${found.length === 1 ? "takes" : "take"} `
        + `${times(s.input)} to ${times(o)}${found.length > shown.length ? `; the ${MOST_SHOWN} smallest are listed` : ""}.`
      : `No setting with a kernel up to 11 takes ${times(s.input)} to ${times(o)}.`;
    this.list.replaceChildren(...shown.map(({ made, settings }) => {
      const p = made.padding[0] === made.padding[1] ? made.padding[0] : made.padding.join(",");
      const words = [`k=${made.kernel}`, `s=${made.stride}`, `p=${p}`];
      if (made.dilation > 1) words.push(`d=${made.dilation}`);
      if (made.output_padding) words.push(`a=${made.output_padding}`);
      return button(words.join(" "), () => this.app.change(settings, { adopt: true }));
    }));
  }

  settingsOf(made) {
    const { settings: s } = this.app;
    const each = (value) => s.input.map(() => value);
    return {
      ...s, kernel: each(made.kernel), stride: each(made.stride), dilation: each(made.dilation),
      padding: s.input.map(() => [...made.padding]), output_padding: each(made.output_padding),
    };
  }
}

// ---- code ---------------------------------------------------------------------------------------

export class CodePanel {
  constructor(app) {
    this.app = app;
    this.dialect = "keras";
    this.buttons = DIALECTS.map((dialect) => button(DIALECT_TITLES[dialect], () => {
      this.dialect = dialect;
      this.render();
    }));
    this.words = h("p", { role: "status" });
    this.text = h("code");
    this.pre = h("pre", { tabindex: "0", role: "region", "aria-label": "The layer's code" }, this.text);
    this.copy = button("Copy", () => app.copy(this.text.textContent, this.pre));
    this.element = h("div", {},
      h("p", {}, "The layer as it is drawn. What a framework cannot say by its own padding stands "
        + "around the layer."),
      h("div", { class: "cs-row", role: "group", "aria-label": "Framework" }, this.buttons, this.copy),
      this.words, this.pre);
  }

  render() {
    this.buttons.forEach((b, at) => b.setAttribute("aria-pressed", String(DIALECTS[at] === this.dialect)));
    const { settings } = this.app;
    try {
      const t = translate(layerOf(settings), settings.input, this.dialect);
      this.text.textContent = code(t);
      this.words.textContent = isExact(t) ? "One layer is enough."
        : "Padding or cropping stands around the layer: its own cannot say this.";
      this.copy.disabled = false;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.text.textContent = "";
      this.words.textContent = `${DIALECT_TITLES[this.dialect]} has no such layer: ${error.message}`;
      this.copy.disabled = true;
    }
  }
}

// ---- export -------------------------------------------------------------------------------------

export class ExportPanel {
  constructor(app) {
    this.app = app;
    this.link = h("input", { type: "text", readonly: true, "aria-label": "Link to these settings" });
    this.words = h("p", { role: "status" });
    this.saves = ["svg", "gif"].map((kind) =>
      button(`Save as ${kind.toUpperCase()}`, () => this.save(kind), { "data-save": kind }));
    this.element = h("div", {},
      h("p", {}, "The address holds the settings, so a link is a setting. An SVG is the picture as it "
        + "is; a GIF plays all steps."),
      h("div", { class: "cs-row" }, this.link, button("Copy link", () =>
        app.copy(this.link.value, this.link))),
      h("div", { class: "cs-row" }, this.saves),
      this.words);
  }

  render() {
    this.link.value = this.app.address();
  }

  save(kind) {
    try {
      const [data, type] = kind === "svg"
        ? [this.app.svg(), "image/svg+xml"] : [this.app.gif(), "image/gif"];
      const blob = new Blob([data], { type });
      const url = URL.createObjectURL(blob);
      const s = this.app.settings;
      const name = `${s.operation}-i${s.input.join("x")}-k${s.kernel.join("x")}.${kind}`;
      const anchor = h("a", { href: url, download: name });
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
      this.words.textContent = `Saved ${name}, ${plural(Math.ceil(blob.size / 1024), "kilobyte")}.`;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.words.textContent = `Not saved: ${error.message}`;
    }
  }
}

// ---- a network ----------------------------------------------------------------------------------

export class NetworkPanel {
  constructor(app, network) {
    this.app = app;
    this.network = network;
    const { totals } = network;
    const counts = (number) => Number(number).toLocaleString("en");
    const found = new Map();
    for (const finding of network.findings) {
      found.set(finding.layer, [...(found.get(finding.layer) ?? []), finding]);
    }
    this.words = h("p", { role: "status" });
    const rows = network.layers.map((layer) => [
      layer.windows?.length && layer.open
        ? button(layer.name, () => this.open(layer), { class: "cs-link" })
        : layer.name,
      layer.problem ? `${layer.op} ?` : layer.op,
      layer.output_shape ? times(layer.output_shape) : "?",
      layer.params ? counts(layer.params) : "",
      layer.macs ? counts(layer.macs) : "",
      field(layer.receptive_field),
      field(layer.jump),
      (found.get(layer.name) ?? []).map((f) =>
        h("span", { class: "cs-code", title: f.message }, `${f.code} ${f.name}`)),
    ]);
    const findings = network.findings.map((f) => h("li", {},
      h("strong", {}, `${f.layer}: ${f.code} ${f.name}. `), `${f.message}. Fix: ${f.fix}`));
    this.element = h("div", {},
      h("p", {}, `${network.model}: ${plural(totals.layers, "layer")}, ${counts(totals.params)} parameters, `
        + `${counts(totals.macs)} multiply-accumulates. Layers with windows open in the drawing.`),
      this.words,
      scrolled("Layers of the network", table("Layers",
        ["Layer", "Kind", "Output", "Parameters", "MACs", "Field", "Jump", "Findings"], rows)),
      h("h2", {}, plural(network.findings.length, "finding")),
      findings.length ? h("ul", { class: "cs-findings" }, findings) : h("p", {}, "Nothing to report."));
  }

  /** Show a layer in the drawing, its input cut to what can be drawn, the borders kept. */
  open(layer) {
    const { settings, notes } = layer.open;
    const left = this.app.changeRepaired(settings, { adopt: true });
    this.words.textContent = [`${layer.name} is drawn above.`, ...notes, ...left].join(" ");
    this.app.reveal();
  }

  render() {}
}

const field = (values) =>
  values?.length ? times([...new Set(values)].map((v) => (v === null ? "?" : v))) : "";

