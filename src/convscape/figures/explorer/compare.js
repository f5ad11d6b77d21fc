// The settings as two frameworks would be given them, side by side.
import { InputError, extent, output, range, start } from "./arithmetic.js";
import { select } from "./controls.js";
import { DIALECTS, DIALECT_TITLES } from "./dialects.js";
import { h, svg } from "./grid.js";
import { layerWindows, makeLayer } from "./layer.js";
import { allValues, prepare } from "./numbers.js";
import { show } from "./paint.js";
import { plural, scrolled, table, times } from "./panel.js";
import { layerOf } from "./settings.js";
import { habit, sameLayer } from "./translate.js";

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
    this.sides = [
      { dialect: "keras", padding: null },
      { dialect: "torch", padding: null },
    ];
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
    this.element = h(
      "div",
      {},
      h(
        "p",
        {},
        "The settings above as each framework would be given them. Cells that read other " +
          "input cells, or divide by another number, are marked.",
      ),
      this.verdict,
      h(
        "div",
        { class: "cs-sides" },
        this.pickers.map((p) => p.element),
      ),
      this.strip,
      this.all,
    );
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
      const asked =
        typeof this.app.settings.padding === "string"
          ? layer.operation === "transposed"
            ? plain.map((w) => w.padding.map((p) => extent(w) - 1 - p))
            : plain.map((w) => [...w.padding])
          : this.app.settings.padding;
      chosen =
        dialect === "torch"
          ? asked.map(([low]) => low)
          : dialect === "jax" && layer.operation === "transposed"
            ? plain.map((w) => [...w.padding])
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
      dialect.show(
        this.sides[at].dialect,
        DIALECTS.map((d) => [d, DIALECT_TITLES[d]]),
      );
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
        miniature(
          side.p,
          numbers,
          differ?.cells[at] ?? null,
          DIALECT_TITLES[this.sides[at].dialect],
        ),
      );
    });
    this.verdict.textContent = differ
      ? differ.words
      : "One side is refused, so there is nothing to compare.";
    this.verdict.classList.toggle("cs-differs", Boolean(differ?.count));
    this.strip.replaceChildren(
      ...(differ?.count
        ? [
            strips(
              made.map((m) => m.p),
              this.sides,
            ),
          ]
        : []),
    );
    this.all.replaceChildren(scrolled("All frameworks", this.overview(own)));
  }

  /** Which cells of either output differ: same place, but other cells read or other divisor. */
  differences(made) {
    if (made.some((side) => side.error)) return null;
    const reads = made.map(({ p }) =>
      p.windows.map((w, a) =>
        range(p.outputs[a]).map(
          (o) =>
            `${start(w, o)} ${p.divisors?.[a][o] ?? ""}` +
            ` ${w.kernel} ${w.dilation} ${w.input_dilation}`,
        ),
      ),
    );
    const differs = (y, x) =>
      reads[0][0][y] !== reads[1][0][y] || reads[0][1][x] !== reads[1][1][x];
    const cells = made.map(
      ({ p }) =>
        new Set(
          range(p.outputs[0]).flatMap((y) =>
            range(p.outputs[1])
              .filter((x) => differs(y, x))
              .map((x) => `${y},${x}`),
          ),
        ),
    );
    const [a, b] = made.map(({ p }) => p.outputs);
    const count = Math.max(cells[0].size, cells[1].size);
    const names = this.sides.map((s) => DIALECT_TITLES[s.dialect]).join(" and ");
    const rank = this.app.settings.rank;
    const sizes =
      times(a) === times(b)
        ? `both give ${times(a.slice(-rank))}`
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
    return table(
      "The settings as they are, by habit, spelled in each framework",
      ["Framework", "Padding given", "(low, high)", "Output", "Windows"],
      rows,
    );
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
    class: "cs-mini",
    viewBox: `-2 -2 ${columns * size + 4} ${rows * size + 4}`,
    role: "img",
    "aria-label": `Output of ${name}, ${rows} by ${columns}: ${differ ? plural(differ.size, "cell") : "0 cells"} marked`,
  });
  picture.style.maxWidth = `${columns * size + 4}px`;
  values.forEach((row, y) =>
    row.forEach((number, x) => {
      const other = differ?.has(`${y},${x}`);
      const words = show(number);
      picture.append(
        svg("rect", {
          class: `cs-cell cs-k-out${other ? " cs-other" : ""}`,
          x: x * size + 1,
          y: y * size + 1,
          width: size - 2,
          height: size - 2,
          rx: 3,
        }),
        svg(
          "text",
          {
            class: `cs-number ${words.length > 3 ? "cs-small" : ""}`,
            x: (x + 0.5) * size,
            y: (y + 0.5) * size,
          },
          words,
        ),
      );
      if (other) {
        const [left, top] = [x * size + 3, y * size + 3];
        picture.append(svg("path", { class: "cs-corner", d: `M${left} ${top}h9l-9 9z` }));
      }
    }),
  );
  return picture;
}

/** Where both sides' windows lie on the first axis on which they differ. */
function strips(problems, sides) {
  const axis =
    [1, 0].find(
      (a) =>
        problems[0].windows[a].padding[0] !== problems[1].windows[a].padding[0] ||
        problems[0].outputs[a] !== problems[1].outputs[a],
    ) ?? 1;
  const low = Math.max(0, ...problems.map((p) => p.windows[axis].padding[0]));
  const high = Math.max(0, ...problems.map((p) => p.windows[axis].padding[1]));
  const cells = problems[0].spans[axis] + low + high;
  const size = 26;
  const lanes = Math.max(
    ...problems.map((p) =>
      Math.min(4, Math.ceil(extent(p.windows[axis]) / p.windows[axis].stride)),
    ),
  );
  const above = lanes * 9 + 18;
  const height = above * 2 + size;
  const names = sides.map((s) => DIALECT_TITLES[s.dialect]);
  const picture = svg("svg", {
    viewBox: `-2 0 ${cells * size + 4} ${height}`,
    role: "img",
    "aria-label":
      `Windows along ${axis ? "columns" : "rows"}: first window of ${names[0]} begins at ` +
      `${start(problems[0].windows[axis], 0)}, of ${names[1]} at ${start(problems[1].windows[axis], 0)}`,
  });
  picture.style.width = `${cells * size}px`;
  const e = problems[0].windows[axis].input_dilation;
  range(cells).forEach((at) => {
    const t = at - low;
    const real = t >= 0 && t < problems[0].spans[axis] && t % e === 0;
    const kind = real ? "cell" : t >= 0 && t < problems[0].spans[axis] ? "gap" : "pad";
    picture.append(
      svg("rect", {
        class: `cs-cell cs-k-${kind}`,
        x: at * size + 1,
        y: above + 1,
        width: size - 2,
        height: size - 2,
      }),
      svg(
        "text",
        { class: "cs-number cs-small", x: (at + 0.5) * size, y: above + size / 2 },
        real ? String(t / e) : "0",
      ),
    );
  });
  problems.forEach((p, side) => {
    const w = p.windows[axis];
    const base = side ? above + size + 8 : above - 8;
    picture.append(
      svg(
        "text",
        { class: "cs-lane", x: 0, y: side ? height - 4 : 11 },
        `${names[side]}: windows along ${axis ? "columns" : "rows"}`,
      ),
    );
    range(p.outputs[axis]).forEach((o) => {
      const from = (start(w, o) + low) * size + 3;
      const y = base + (o % lanes) * 9 * (side ? 1 : -1);
      const to = from + extent(w) * size - 6;
      picture.append(svg("path", { class: `cs-window${side}`, d: `M${from} ${y}H${to}` }));
    });
  });
  return scrolled("Windows of both frameworks along an axis", picture);
}
