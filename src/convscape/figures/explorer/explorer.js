// The explorer itself: state, drawing, transport, tabs, link; and what a notebook calls.
import { range } from "./arithmetic.js";
import { DialectPanel } from "./compare.js";
import { Controls, button, slider } from "./controls.js";
import { Editing, keysOf } from "./editing.js";
import { Grid, h, unique } from "./grid.js";
import { SolvePanel } from "./inverse.js";
import { NetworkPanel } from "./layers.js";
import { fromLink, numbersFrom, toLink } from "./link.js";
import { allValues, numbersOf } from "./numbers.js";
import {
  drawnWeight, gridsOf, paint, partial, show, spelledOut, stencil, stepFocus, stepsOf,
  weightColour,
} from "./paint.js";
import { gifBytes, kernelText, svgText } from "./picture.js";
import { relation, titlesOf } from "./relation.js";
import { explain } from "./relationships.js";
import { DEFAULTS, problemOf, refusal, repaired } from "./settings.js";
import { ExportPanel } from "./share.js";
import { CodePanel } from "./snippets.js";
import { StackPanel } from "./stack.js";
import { Transport } from "./transport.js";

const TOKENS = [
  "bg",
  "ink",
  "muted",
  "line",
  "cell",
  "unread",
  "pad",
  "padunread",
  "gap",
  "out",
  "crop",
  "now",
  "hatch",
];
const THEMES = ["auto", "light", "dark"];

/** The explorer in an element.
 *
 * options: link (keep the state in the address), network (what a page was opened with), settings
 * (to begin with), changed(app) and hovered(app) for whoever listens.
 */
export class Explorer {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.settings = { ...DEFAULTS };
    this.state = { mode: "window", at: 0, filter: 0, tab: "dialects" };
    this.edited = { input: new Map(), kernel: new Map() };
    this.hover = null;
    this.build();
    this.observe();
    const opening = options.link
      ? fromLink(location.hash)
      : { settings: null, rest: {}, notes: [] };
    if (options.settings)
      opening.settings = repaired({ ...DEFAULTS, ...options.settings }).settings;
    this.open(opening.settings ?? DEFAULTS, opening.rest, opening.notes);
    if (options.network && opening.rest.tab === undefined) this.showTab("network");
  }

  // ---- building ----

  build() {
    const on = (name) => ({
      focus: (cell, spoken) => this.setHover({ part: name, cell }, spoken),
      leave: () => this.setHover(null),
      edit: (cell) => this.editing.edit(name, cell),
      key: (event, grid) => this.gridKey(event, grid),
    });
    this.grids = Object.fromEntries(
      ["input", "kernel", "output"].map((name) => [name, new Grid(name, on(name))]),
    );
    this.controls = new Controls(this);
    this.note = h("div", { class: "cs-note", role: "status" });
    this.sum = h("p", { class: "cs-sum" });
    this.spoken = h("p", { class: "cs-unseen", "aria-live": "polite" });
    this.relation = h("div", { class: "cs-relation" });
    this.theme = button("Theme: auto", () => this.nextTheme(), { class: "cs-theme" });
    this.transport = new Transport(this);
    this.channel = slider("Output channel shown", "", (filter) => {
      this.state.filter = filter;
      this.refresh();
    });
    this.stage = h(
      "div",
      { class: "cs-stage" },
      this.grids.input.element,
      this.grids.kernel.element,
      this.grids.output.element,
    );
    this.editing = new Editing(this);
    this.buildTabs();
    const help = h(
      "details",
      { class: "cs-more" },
      h("summary", {}, "Keys and touch"),
      h(
        "p",
        {},
        "In a grid: arrow keys, Home, End, Page up and Page down move; Enter, or a digit, " +
          "edits a number of the input or kernel; Escape leaves it. Space plays and pauses, comma and full stop step " +
          "back and forth. Touch a cell to point at it; double-tap to edit it.",
      ),
    );
    this.root.classList.add("cs");
    this.root.replaceChildren(
      h("header", { class: "cs-head" }, h("h1", {}, "Convolution explorer"), this.theme),
      this.note,
      h(
        "div",
        { class: "cs-main" },
        h("section", { class: "cs-side-column", "aria-label": "Settings" }, this.controls.element),
        h(
          "section",
          { class: "cs-drawing", "aria-label": "Drawing" },
          this.relation,
          this.stage,
          this.channel.element,
          this.transport.element,
          this.sum,
          this.spoken,
          this.editing.element,
          help,
        ),
      ),
      this.tabs,
    );
    this.root.addEventListener("keydown", (event) => this.pageKey(event));
  }

  buildTabs() {
    this.panels = {
      dialects: ["Frameworks side by side", new DialectPanel(this)],
      stack: ["Stack and receptive field", new StackPanel(this)],
      solve: ["Which settings give this?", new SolvePanel(this)],
      code: ["Code", new CodePanel(this)],
      export: ["Link and export", new ExportPanel(this)],
    };
    const { network } = this.options;
    if (network)
      this.panels = { network: ["Your network", new NetworkPanel(this, network)], ...this.panels };
    const names = Object.keys(this.panels);
    this.tabButtons = new Map();
    this.tabPanels = new Map();
    for (const name of names) {
      const [label, panel] = this.panels[name];
      const ids = [unique("tab"), unique("panel")];
      this.tabButtons.set(
        name,
        h(
          "button",
          {
            type: "button",
            role: "tab",
            id: ids[0],
            "aria-controls": ids[1],
            click: () => this.showTab(name),
            keydown: (event) => {
              const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
              if (!step) return;
              const next = names[(names.indexOf(name) + step + names.length) % names.length];
              this.showTab(next);
              this.tabButtons.get(next).focus();
            },
          },
          label,
        ),
      );
      this.tabPanels.set(
        name,
        h(
          "div",
          {
            role: "tabpanel",
            id: ids[1],
            "aria-labelledby": ids[0],
            class: "cs-tabpanel",
          },
          panel.element,
        ),
      );
    }
    this.tabs = h(
      "section",
      { class: "cs-tabs", "aria-label": "More about these settings" },
      h("div", { role: "tablist", "aria-label": "Views" }, [...this.tabButtons.values()]),
      [...this.tabPanels.values()],
    );
  }

  observe() {
    const watched = this.stage;
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(watched);
    if (this.options.link) {
      this.followed = () => {
        if (location.hash.slice(1) === this.written) return;
        const { settings, rest, notes } = fromLink(location.hash);
        this.open(settings, rest, notes);
      };
      window.addEventListener("hashchange", this.followed);
    }
  }

  destroy() {
    this.transport.pause();
    clearTimeout(this.linking);
    this.watcher.disconnect();
    if (this.followed) window.removeEventListener("hashchange", this.followed);
    this.root.replaceChildren();
  }

  // ---- state ----

  /** Show settings and the rest of a link. */
  open(settings, rest = {}, notes = []) {
    const all = [...notes];
    this.settings = settings;
    this.controls.adopt(settings);
    this.problem = problemOf(settings);
    this.edited = { input: new Map(), kernel: new Map() };
    if (rest.x !== undefined)
      this.edited.input = numbersFrom(rest.x, keysOf(this.problem, "input"), all, "input numbers");
    if (rest.w !== undefined)
      this.edited.kernel = numbersFrom(
        rest.w,
        keysOf(this.problem, "kernel"),
        all,
        "kernel numbers",
      );
    const modes = settings.operation === "transposed" ? ["window", "scatter"] : ["window"];
    if (rest.view !== undefined && !modes.includes(rest.view)) {
      all.push(`view "${rest.view.slice(0, 40)}" is not for this layer: window`);
    }
    this.state.mode = modes.includes(rest.view) ? rest.view : "window";
    const number = (name, least, most, usual) => {
      if (rest[name] === undefined) return usual;
      const value = rest[name].trim() === "" ? NaN : Number(rest[name]);
      const fixed = Number.isFinite(value)
        ? Math.min(most, Math.max(least, Math.round(value)))
        : usual;
      if (fixed !== value)
        all.push(
          `${name} "${rest[name].slice(0, 40)}" is not between ${least} and ${most}: ${fixed}`,
        );
      return fixed;
    };
    this.state.filter = number("filter", 0, this.problem.filters - 1, 0);
    this.state.at = number("at", 0, stepsOf(this.problem, this.state.mode) - 1, 0);
    if (rest.to !== undefined) {
      const parts = rest.to.split("x").map(Number);
      const right = parts.every((v) => Number.isInteger(v) && v >= 1 && v <= 64);
      if (right) this.panels.solve[1].target = settings.input.map((_, a) => parts[a] ?? parts[0]);
      else all.push(`output "${rest.to.slice(0, 40)}" is not a size from 1 to 64: left out`);
    }
    if (rest.stack !== undefined) this.panels.stack[1].adopt(rest.stack, all);
    this.panels.dialects[1].adopt([rest.a1, rest.a2], all);
    if (rest.tab !== undefined && !Object.hasOwn(this.panels, rest.tab)) {
      all.push(`there is no view "${rest.tab.slice(0, 40)}"`);
    }
    const tab = Object.hasOwn(this.panels, rest.tab ?? "") ? rest.tab : this.state.tab;
    this.state.tab = Object.hasOwn(this.panels, tab) ? tab : "dialects";
    this.say(all);
    this.refresh();
    this.showTab(this.state.tab);
  }

  /** Other settings, known to be valid. */
  change(settings, { adopt = false } = {}) {
    if (refusal(settings)) return; // a control at its limit
    this.settings = settings;
    if (adopt) this.controls.adopt(settings);
    this.say([]);
    this.refresh();
  }

  /** Other settings that may need to be brought to the nearest valid ones; returns the notes. */
  changeRepaired(settings, { adopt = false } = {}) {
    const made = repaired(settings);
    this.settings = made.settings;
    if (adopt) this.controls.adopt(this.settings);
    else if (!this.stillAlike()) this.controls.adopt(this.settings);
    this.say(made.notes);
    this.refresh();
    return made.notes;
  }

  stillAlike() {
    const { alike, even } = this.controls;
    this.controls.adopt(this.settings);
    const fits = (!alike || this.controls.alike) && (!even || this.controls.even);
    Object.assign(this.controls, fits ? { alike, even } : {});
    return fits;
  }

  setMode(mode) {
    this.state.mode = mode;
    this.state.at = 0;
    this.refresh();
  }

  say(notes) {
    this.notes = notes;
    this.note.replaceChildren(
      ...(notes.length
        ? [
            h("p", {}, h("strong", {}, "Corrected: "), notes.join("; "), "."),
            button("Dismiss", () => this.say([]), { "aria-label": "Dismiss the note" }),
          ]
        : []),
    );
    this.note.hidden = !notes.length;
  }

  /** Everything again, from the settings. */
  refresh() {
    const { state } = this;
    this.problem = problemOf(this.settings);
    const p = this.problem;
    if (!p.reversed) state.mode = "window";
    state.filter = Math.min(state.filter, p.filters - 1);
    state.at = Math.min(state.at, stepsOf(p, state.mode) - 1);
    this.numbers = numbersOf(p, this.edited.input, this.edited.kernel);
    this.values = allValues(p, this.numbers);
    this.hover = null;
    this.controls.render();
    this.explanations = this.explained();
    this.relation.replaceChildren(...relation(this.settings, this.explanations));
    this.layGrids();
    this.channel.element.hidden = p.filters === 1;
    this.channel.show(state.filter, [0, p.filters - 1]);
    this.editing.render();
    this.repaint();
    this.panels[state.tab][1].render();
    this.linkSoon();
    this.options.changed?.(this);
  }

  explained() {
    const { settings: s, problem: p } = this;
    return p.plain
      .slice(-s.rank)
      .map((w, a) =>
        explain(w, s.input[a], s.operation, s.operation.endsWith("pool") && s.ceil_mode),
      );
  }

  layGrids() {
    const { problem: p, numbers, state } = this;
    const layouts = gridsOf(p, state.mode);
    const titles = this.titles();
    const zero = p.operation === "max_pool" ? "" : "0";
    this.grids.input.lay(layouts.input, titles.input, (place) => {
      const cell = layouts.input.cell(place);
      return cell ? show(numbers.x[cell[0]][cell[1]][cell[2]]) : zero;
    });
    this.grids.kernel.lay(
      layouts.kernel,
      titles.kernel,
      (cell) => kernelText(p, numbers, state.mode, cell, state.filter),
      (cell) => weightColour(p, drawnWeight(p, state.mode, cell)),
    );
    this.grids.output.lay(layouts.output, titles.output, () => "");
    this.layouts = layouts;
    this.kernelOf = state.filter;
    this.fit();
  }

  /** The largest cells with which the grids fit: in one row, in two, or each by itself. */
  fit() {
    if (!this.layouts) return;
    const wide = this.stage.clientWidth;
    if (!wide) return;
    const grids = Object.values(this.grids);
    const most = Math.min(64, Math.max(34, window.innerHeight / 12));
    const row = (some, pixels) =>
      some.reduce(
        (total, g) => total + Math.max(((g.width + 4) / 40) * pixels + 4, g.title.offsetWidth),
        (some.length - 1) * 28,
      );
    const largest = (rows, limit) => {
      let pixels = limit;
      while (pixels > 9 && rows.some((some) => row(some, pixels) > wide)) pixels -= 0.5;
      return pixels;
    };
    const [input, kernel, output] = grids;
    let pixels = largest([grids], most);
    if (pixels < 22) {
      const rows = [
        [[input, kernel], [output]],
        [[input], [kernel, output]],
        [[input], [kernel], [output]],
      ];
      pixels = Math.max(...rows.map((some) => largest(some, Math.min(most, 44))));
    }
    for (const grid of grids) grid.scale(pixels);
  }

  titles() {
    return titlesOf(this.settings, this.problem, this.state, this.explanations);
  }

  // ---- painting ----

  focus() {
    return this.hover ?? stepFocus(this.problem, this.state.mode, this.state.at, this.state.filter);
  }

  /** Bring the drawing to the present step and hover. */
  repaint() {
    const { problem: p, numbers, state } = this;
    const focus = this.focus();
    const painted = paint(p, numbers, state.mode, focus, state.filter);
    const filter = focus.part === "output" ? focus.cell[0] : state.filter;
    if (filter !== this.kernelOf && p.convolves) this.relabelKernel(filter);
    this.fillOutput();
    for (const name of ["input", "kernel", "output"]) this.grids[name].paint(painted[name]);
    const own = stepFocus(p, state.mode, state.at, state.filter);
    const elsewhere = this.hover && JSON.stringify(this.hover) !== JSON.stringify(own);
    const ghost = elsewhere ? stencil(p, state.mode, state.at, state.filter) : {};
    this.grids.input.ghost(ghost.input);
    this.grids.output.ghost(ghost.output);
    this.spell(focus);
    this.transport.render();
  }

  relabelKernel(filter) {
    const { problem: p, numbers, state } = this;
    this.kernelOf = filter;
    for (const [at, { cell }] of this.grids.kernel.cells) {
      this.grids.kernel.write(at, kernelText(p, numbers, state.mode, cell, filter), false);
    }
  }

  /** Output numbers as far as the steps have come; the rest pale, or sums so far when scattering. */
  fillOutput() {
    const { problem: p, numbers, state, values } = this;
    const scatter = state.mode === "scatter";
    const sums = scatter ? partial(p, numbers, state.at + 1, state.filter) : null;
    for (const f of range(p.filters)) {
      for (const y of range(p.outputs[0])) {
        for (const x of range(p.outputs[1])) {
          const own = f === state.filter;
          const number = scatter && own ? sums[y][x] : values[f][y][x];
          const pending = own && !scatter && y * p.outputs[1] + x > state.at;
          this.grids.output.write(`${f},${y},${x}`, show(number), pending);
        }
      }
    }
  }

  spell(focus) {
    const parts = spelledOut(this.problem, this.numbers, this.state.mode, focus, this.state.filter);
    this.sum.replaceChildren(
      ...parts.map((part) => {
        if (!part.colour && !part.result) return part.text;
        const made = h("span", { class: part.result ? "cs-result" : "cs-term" }, part.text);
        if (part.colour) made.style.setProperty("--own", part.colour);
        if (part.zero) made.classList.add("cs-zero");
        return made;
      }),
    );
  }

  announce() {
    this.spoken.textContent = this.sum.textContent;
  }

  setHover(hover, spoken = false) {
    if (hover && !hover.cell) return;
    const grid = hover && this.grids[hover.part];
    if (hover && !grid.has(hover.cell)) return;
    const same = JSON.stringify(hover) === JSON.stringify(this.hover);
    if (!same) {
      this.hover = hover;
      this.repaint();
      this.options.hovered?.(this);
    }
    if (spoken && hover) this.announce();
  }

  /** What is pointed at, in words of the layer: for whoever listens. */
  hovered() {
    if (!this.hover) return null;
    const { part, cell } = this.hover;
    const p = this.problem;
    const rank = this.settings.rank;
    const named =
      part === "kernel"
        ? drawnWeight(p, this.state.mode, cell)
        : part === "input"
          ? this.layouts.input.cell(cell)
          : cell;
    return {
      part,
      channel: cell[0],
      cell: named ? named.slice(-rank) : null,
      text: this.sum.textContent,
    };
  }

  // ---- keys ----

  gridKey(event, grid) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (grid.move(event.key)) {
      event.preventDefault();
    } else if (event.key === "Enter" || /^[0-9-]$/.test(event.key)) {
      event.preventDefault();
      this.editing.edit(grid.name, grid.cursor, event.key === "Enter" ? null : event.key);
    } else if (event.key === "Escape") {
      this.setHover(null);
    }
  }

  pageKey(event) {
    const busy = event.target.closest("input, textarea, select, button, summary, a");
    if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      " ": () => this.toggleFrom(),
      ",": () => this.stepFrom(-1),
      ".": () => this.stepFrom(1),
    };
    if (!Object.hasOwn(act, event.key)) return;
    event.preventDefault();
    act[event.key]();
  }

  /** Stepping by a key shows the step, not the cell that the keyboard's cursor is on. */
  stepFrom(by) {
    this.hover = null;
    this.transport.step(by);
  }

  toggleFrom() {
    this.setHover(null);
    this.transport.toggle();
  }

  // ---- tabs, theme, link ----

  showTab(name) {
    this.state.tab = name;
    for (const [own, tab] of this.tabButtons) {
      tab.setAttribute("aria-selected", String(own === name));
      tab.tabIndex = own === name ? 0 : -1;
      this.tabPanels.get(own).hidden = own !== name;
    }
    this.panels[name][1].render();
    this.linkSoon();
  }

  reveal() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.stage.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "center" });
  }

  nextTheme() {
    const now = this.root.dataset.theme ?? "auto";
    this.setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  }

  setTheme(theme) {
    this.root.dataset.theme = theme;
    this.theme.textContent = `Theme: ${theme}`;
    if (this.options.link) document.documentElement.dataset.theme = theme;
  }

  /** What a picture needs, in the page's present colours. */
  view() {
    const style = getComputedStyle(this.root);
    const colours = Object.fromEntries(
      TOKENS.map((name) => [name, style.getPropertyValue(`--cs-${name}`).trim()]),
    );
    return {
      p: this.problem,
      numbers: this.numbers,
      values: this.values,
      mode: this.state.mode,
      focus: this.focus(),
      filter: this.state.filter,
      titles: this.titles(),
      colours,
    };
  }

  svg() {
    return svgText(this.view());
  }

  gif() {
    return gifBytes(this.view(), 1000 / this.transport.rate);
  }

  link() {
    const { state, edited, numbers, problem: p } = this;
    const rest = {};
    const inUse = (name) => keysOf(p, name).some((at) => edited[name].has(at));
    if (inUse("input")) rest.x = numbers.x.flat(2).join(",");
    if (p.convolves && inUse("kernel")) rest.w = numbers.w.flat(3).join(",");
    if (state.mode !== "window") rest.view = state.mode;
    if (state.at) rest.at = state.at;
    if (state.filter) rest.filter = state.filter;
    if (state.tab !== "dialects") rest.tab = state.tab;
    if (state.tab === "stack") rest.stack = this.panels.stack[1].link();
    if (state.tab === "solve") rest.to = this.panels.solve[1].wanted().join("x");
    if (state.tab === "dialects") {
      const [left, right] = this.panels.dialects[1].links();
      if (left !== "keras") rest.a1 = left;
      if (right !== "torch") rest.a2 = right;
    }
    return toLink(this.settings, rest);
  }

  address() {
    const base = this.options.link ? location.href.split("#")[0] : "";
    return `${base}#${this.link()}`;
  }

  linkSoon() {
    if (!this.options.link || this.transport.playing) return;
    clearTimeout(this.linking);
    this.linking = setTimeout(() => {
      this.written = this.link();
      history.replaceState(null, "", `#${this.written}`);
      if (this.state.tab === "export") this.panels.export[1].render();
    }, 120);
  }

  /** Copy text, or at least select it. */
  async copy(text, element) {
    try {
      await navigator.clipboard.writeText(text);
      this.spoken.textContent = "Copied.";
    } catch {
      if (element.select) element.select();
      else getSelection().selectAllChildren(element);
      this.spoken.textContent = "Selected: copy it with Ctrl+C.";
    }
  }

  /** Settings and numbers for a listener, in the package's own words. */
  snapshot() {
    return {
      settings: structuredClone(this.settings),
      numbers: {
        input: structuredClone(this.numbers.x),
        kernel: this.problem.convolves ? structuredClone(this.numbers.w) : null,
        output: structuredClone(this.values),
      },
    };
  }
}

/** Start the page: the network, if it was given one, is in a JSON island. */
export function begin() {
  const root = document.querySelector("[data-convscape-explorer]");
  const island = document.querySelector("script[type='application/json'][data-convscape-network]");
  const network = island ? JSON.parse(island.textContent) : null;
  root.convscape = new Explorer(root, { link: true, network });
  return root.convscape;
}

/** What a notebook calls: the traits settings, numbers and hover follow the page, and back. */
export function render({ model, el }) {
  const root = h("div");
  el.append(root);
  let receiving = false;
  const send = (app) => {
    if (receiving) return;
    const { settings, numbers } = app.snapshot();
    model.set("settings", settings);
    model.set("numbers", numbers);
    model.save_changes();
  };
  const app = new Explorer(root, {
    settings: model.get("settings"),
    changed: send,
    hovered: (own) => {
      model.set("hover", own.hovered());
      model.save_changes();
    },
  });
  const receive = () => {
    const asked = model.get("settings");
    if (JSON.stringify(asked) === JSON.stringify(app.settings)) return;
    receiving = true;
    app.changeRepaired({ ...DEFAULTS, ...asked }, { adopt: true });
    receiving = false;
    send(app);
  };
  model.on("change:settings", receive);
  return () => {
    model.off("change:settings", receive);
    app.destroy();
  };
}

export default { render };
