// What the panels below the drawing have in common: each has an element and render().
import { h } from "./grid.js";

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
export const times = (values) => values.join("×");

/** A table from rows of text or elements; the first row is its head. */
export function table(caption, head, rows) {
  return h(
    "table",
    {},
    h("caption", {}, caption),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        head.map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) =>
        h(
          "tr",
          {},
          row.map((cell, at) => (at ? h("td", {}, cell) : h("th", { scope: "row" }, cell))),
        ),
      ),
    ),
  );
}

export const scrolled = (label, ...children) =>
  h("div", { class: "cs-scroll", tabindex: "0", role: "region", "aria-label": label }, children);
