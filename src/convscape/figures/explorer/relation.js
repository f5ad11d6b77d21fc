// What is said about the sizes: the table, the relationship, titles and a caption.
import { h } from "./grid.js";

const OPERATION_WORDS = {
  conv: "convolution",
  transposed: "transposed convolution",
  max_pool: "max pooling",
  avg_pool: "average pooling",
};

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** The table of sizes, the relationship of each axis, its formula and notes: elements. */
export function relation(s, explanations) {
  const alike = explanations.every((e) => e.substituted === explanations[0].substituted);
  const shown = alike ? explanations.slice(0, 1) : explanations;
  const letters = [
    ...new Set(
      ["i", "k", "s", "d", "p", "a"].filter(
        (letter) =>
          (letter !== "d" && letter !== "a") ||
          s[letter === "d" ? "dilation" : "output_padding"].some(
            (v) => v > (letter === "d" ? 1 : 0),
          ),
      ),
    ),
  ];
  const ends = (e) => {
    const { p, p_low, p_high } = e.symbols;
    return p === undefined ? (p_low === p_high ? `${p_low}` : `${p_low},${p_high}`) : `${p}`;
  };
  const value = {
    i: (_, a) => s.input[a],
    k: (_, a) => s.kernel[a],
    s: (_, a) => s.stride[a],
    d: (_, a) => s.dilation[a],
    p: ends,
    a: (_, a) => s.output_padding[a],
  };
  const numbers = h(
    "table",
    { class: "cs-ikspo" },
    h("caption", { class: "cs-unseen" }, "Sizes"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        [...letters, "o"].map((l) => h("th", { scope: "col" }, l)),
      ),
    ),
    h(
      "tbody",
      {},
      shown.map((e, a) =>
        h(
          "tr",
          {},
          letters.map((l) => h("td", {}, String(value[l](e, a)))),
          h("td", { class: "cs-o" }, String(e.output)),
        ),
      ),
    ),
  );
  const lines = shown.flatMap((e, a) => {
    const axis = alike ? "" : `${a ? "Columns" : "Rows"}: `;
    const number = e.number ? `Relationship ${e.number}: ` : "";
    return [
      h("p", { class: "cs-name" }, capital(`${axis}${number}${e.name}`)),
      h("p", { class: "cs-formula" }, h("span", {}, e.formula), h("span", {}, e.substituted)),
      e.notes.length
        ? h(
            "ul",
            { class: "cs-notes" },
            e.notes.map((n) => h("li", {}, n)),
          )
        : "",
    ];
  });
  return [numbers, h("div", {}, lines)];
}

/** Titles of the three grids, and a caption for a picture. */
export function titlesOf(s, p, state, explanations) {
  const by = (values) => values.slice(-s.rank).join("×");
  const gaps = Math.max(...p.windows.map((w) => w.input_dilation)) - 1;
  const spread = state.mode === "window" && gaps > 0 ? `, spread by ${gaps}` : "";
  const pads = p.windows
    .slice(-s.rank)
    .map((w) => (w.padding[0] === w.padding[1] ? `${w.padding[0]}` : `${w.padding.join(",")}`));
  const alike = new Set(pads).size === 1 ? pads[0] : pads.join(" × ");
  const padded =
    state.mode === "window" && pads.some((text) => text !== "0") ? `, padding ${alike}` : "";
  const kernel = p.convolves ? "Kernel" : "Window";
  const turned = p.reversed && state.mode === "window" ? ", reversed" : "";
  const of = p.filters > 1 && p.convolves ? ` of channel ${state.filter}` : "";
  const first = explanations[0];
  const number = first.number ? `, relationship ${first.number}` : "";
  const same = (values) => (new Set(values).size === 1 ? values[0] : values.join("×"));
  return {
    input: `Input ${by(p.sizes)}${spread}${padded}`,
    kernel: `${kernel} ${by(p.kernel)}${turned}${of}`,
    output: `Output ${by(p.outputs)}`,
    caption:
      `${OPERATION_WORDS[s.operation]}: i=${same(s.input)} k=${same(s.kernel)} ` +
      `s=${same(s.stride)} → o=${same(p.outputs.slice(-s.rank))}${number}: ${first.formula}`,
  };
}
