// The numbers: typed into a cell, or as text, or filled at once.
import { range } from "./arithmetic.js";
import { button } from "./controls.js";
import { h, unique } from "./grid.js";
import { numbersFrom, tidy } from "./link.js";
import { drawnWeight, nameOf } from "./paint.js";

/** Keys of all numbers of the input or kernel of a problem, in reading order. */
export function keysOf(p, name) {
  const [rows, columns] = name === "input" ? p.sizes : p.kernel;
  const outer =
    name === "input"
      ? range(p.channels).map((c) => [c])
      : range(p.filters).flatMap((f) => range(p.per).map((c) => [f, c]));
  return outer.flatMap((head) =>
    range(rows).flatMap((y) => range(columns).map((x) => [...head, y, x].join())),
  );
}

/** The box of texts and buttons, and the field over a cell, of an app with `edited` numbers. */
export class Editing {
  constructor(app) {
    this.app = app;
    const names = { input: "Input, row by row", kernel: "Kernel, row by row" };
    this.texts = Object.keys(names).map((name) => {
      const text = h("textarea", {
        id: unique("numbers"),
        rows: 5,
        spellcheck: "false",
        autocomplete: "off",
        change: () => this.read(name, text.value),
      });
      return text;
    });
    const columns = Object.values(names).map((label, at) =>
      h("div", {}, h("label", { for: this.texts[at].id }, label), this.texts[at]),
    );
    const dice = (name) => Math.floor(Math.random() * 5) - (name === "kernel" ? 2 : 0);
    this.element = h(
      "details",
      { class: "cs-more cs-numbers" },
      h("summary", {}, "Edit the numbers"),
      h("p", {}, "Type here, or double-click a cell of the input or the kernel."),
      h("div", { class: "cs-columns" }, columns),
      h(
        "div",
        { class: "cs-row" },
        button("The lesson's numbers", () => this.fill(() => null)),
        button("All ones", () => this.fill(() => 1)),
        button("Random", () => this.fill(dice)),
      ),
    );
  }

  render() {
    const {
      numbers: { x, w },
      problem,
    } = this.app;
    const block = (grid) => grid.map((row) => row.join(" ")).join("\n");
    this.texts[0].value = x.map(block).join("\n\n");
    this.texts[1].value = w.flat().map(block).join("\n\n");
    this.texts[1].parentNode.hidden = !problem.convolves;
  }

  read(name, text) {
    const notes = [];
    const keys = keysOf(this.app.problem, name);
    const read = numbersFrom(text, keys, notes, `${name} numbers`);
    for (const [at, number] of read) this.app.edited[name].set(at, number);
    this.app.refresh();
    this.app.say(notes);
  }

  fill(make) {
    for (const [name, edited] of Object.entries(this.app.edited)) {
      for (const at of keysOf(this.app.problem, name)) {
        const number = make(name);
        if (number === null) edited.delete(at);
        else edited.set(at, number);
      }
    }
    this.app.refresh();
  }

  /** An input over a cell of the input or kernel grid. */
  edit(name, place, typed = null) {
    const { app } = this;
    const p = app.problem;
    if (name === "output" || (name === "kernel" && !p.convolves)) return;
    const cell =
      name === "input"
        ? app.layouts.input.cell(place)
        : [app.kernelOf, ...drawnWeight(p, app.state.mode, place)];
    if (!cell) return;
    const grid = app.grids[name];
    const area = grid.box.getBoundingClientRect();
    const box = grid.cells.get(place.join()).box.getBoundingClientRect();
    const at = cell.join();
    const before =
      name === "input"
        ? app.numbers.x[cell[0]][cell[1]][cell[2]]
        : app.numbers.w[cell[0]][cell[1]][cell[2]][cell[3]];
    let finished = false;
    const finish = (keep) => {
      if (finished) return;
      finished = true;
      const words = input.value.trim().replace(",", ".").replace("−", "-");
      const number = words === "" ? null : tidy(Number(words));
      input.remove();
      if (keep && number !== null) app.edited[name].set(at, number);
      const where = grid.cursor;
      app.refresh();
      if (keep && number === null) app.say([`"${words.slice(0, 40)}" is not a number: ${before}`]);
      grid.cursor = where;
      grid.box.focus();
    };
    const input = h("input", {
      type: "text",
      inputmode: "decimal",
      class: "cs-edit",
      "aria-label": nameOf(
        p,
        name === "input" ? "x" : "w",
        name === "input" ? cell : cell.slice(1),
        1,
      ),
      keydown: (event) => {
        event.stopPropagation();
        if (event.key === "Enter") finish(true);
        if (event.key === "Escape") finish(false);
      },
      blur: () => finish(true),
    });
    input.value = typed ?? String(before);
    input.style.left = `${box.left - area.left + grid.box.scrollLeft}px`;
    input.style.top = `${box.top - area.top + grid.box.scrollTop}px`;
    input.style.width = `${Math.max(box.width, 44)}px`;
    input.style.height = `${Math.max(box.height, 28)}px`;
    grid.box.append(input);
    input.focus();
    if (typed === null) input.select();
  }
}
