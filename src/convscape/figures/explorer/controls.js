// The controls: each can reach valid settings only, because its limits are computed from the rest.
import { h, unique } from "./grid.js";
import { groupChoices, limits, paddingNames, refusal, vary } from "./settings.js";

/** A row of radio buttons; options are [value, label]. */
export function choice(legend, options, pick) {
  const name = unique("choice");
  const inputs = options.map(([value, label]) => {
    const input = h("input", { type: "radio", name, value, change: () => pick(value) });
    return {
      value,
      input,
      element: h("label", { class: "cs-option" }, input, h("span", {}, label)),
    };
  });
  const set = h(
    "fieldset",
    { class: "cs-choice" },
    h("legend", {}, legend),
    h(
      "div",
      { class: "cs-options" },
      inputs.map((i) => i.element),
    ),
  );
  return {
    element: set,
    show(value, allowed = null) {
      for (const { value: own, input } of inputs) {
        input.checked = own === value;
        input.disabled = allowed !== null && !allowed.includes(own);
      }
    },
  };
}

/** A slider with its number. */
export function slider(label, letter, pick) {
  const id = unique("slider");
  const number = h("output", { for: id, class: "cs-value" });
  const words = h("span", {}, label);
  const input = h("input", { type: "range", id, step: 1, input: () => pick(Number(input.value)) });
  const element = h(
    "div",
    { class: "cs-slider" },
    h("label", { for: id }, words, letter ? h("var", {}, letter) : ""),
    input,
    number,
  );
  return {
    element,
    input,
    show(value, [least, most], name = label, text = String(value)) {
      words.textContent = name;
      input.min = String(least);
      input.max = String(most);
      input.value = String(value);
      input.disabled = least === most;
      input.setAttribute("aria-valuetext", text);
      number.textContent = text;
    },
  };
}

export function checkbox(label, pick) {
  const input = h("input", { type: "checkbox", change: () => pick(input.checked) });
  return {
    element: h("label", { class: "cs-check" }, input, h("span", {}, label)),
    show(value) {
      input.checked = value;
    },
  };
}

export function select(label, options, pick) {
  const id = unique("select");
  const input = h("select", { id, change: () => pick(input.value) });
  const element = h("div", { class: "cs-select" }, h("label", { for: id }, label), input);
  const made = {
    element,
    input,
    show(value, choices = options) {
      const present = [...input.options].map((option) => option.value).join();
      if (present !== choices.map(([own]) => own).join()) {
        input.replaceChildren(...choices.map(([own, text]) => h("option", { value: own }, text)));
      }
      input.value = value;
    },
  };
  return made;
}

export const button = (label, press, more = {}) =>
  h("button", { type: "button", click: press, ...more }, label);

const AXES = [
  ["input", "Input", "i"],
  ["kernel", "Kernel", "k"],
  ["stride", "Stride", "s"],
  ["dilation", "Dilation", "d"],
  ["output_padding", "Output padding", "a"],
];

const SIDES = ["rows", "columns"];

/** The column of controls of an app with `state.settings` and `change(settings)`. */
export class Controls {
  constructor(app) {
    this.app = app;
    this.alike = true;
    this.even = true;
    const change = (settings) => app.change(settings);
    this.operation = choice(
      "Operation",
      [
        ["conv", "Convolution"],
        ["transposed", "Transposed"],
        ["max_pool", "Max pooling"],
        ["avg_pool", "Average pooling"],
      ],
      (operation) => app.changeRepaired({ ...app.settings, operation }),
    );
    this.view = choice(
      "Drawn as",
      [
        ["window", "A window over the spread input"],
        ["scatter", "Each input scattered"],
      ],
      (mode) => app.setMode(mode),
    );
    this.rank = choice(
      "Axes",
      [
        ["2", "2-D"],
        ["1", "1-D"],
      ],
      (rank) => this.setRank(Number(rank)),
    );
    this.square = checkbox("Rows and columns alike", (alike) => {
      this.alike = alike;
      if (alike) this.equalise();
      else this.render();
    });
    const vary1 = (name, axis) => (value) =>
      change(vary(app.settings, name, value, this.alike ? null : axis));
    this.sliders = AXES.map(([name, label, letter]) => ({
      name,
      label,
      axes: [0, 1].map((axis) => slider(label, letter, vary1(name, axis))),
    }));
    this.padding = select("Padding", [], (name) => this.setPadding(name));
    this.both = checkbox("Both ends alike", (even) => {
      this.even = even;
      if (even && typeof app.settings.padding !== "string") {
        const padding = app.settings.padding.map(([low]) => [low, low]);
        app.changeRepaired({ ...app.settings, padding });
      } else {
        this.render();
      }
    });
    this.pads = [0, 1].map((axis) =>
      [0, 1].map((end) =>
        slider("Padding", "p", (value) =>
          change(
            vary(app.settings, "padding", value, this.alike ? null : axis, this.even ? null : end),
          ),
        ),
      ),
    );
    this.ceil = checkbox("Round up (ceil_mode)", (on) =>
      app.changeRepaired({ ...app.settings, ceil_mode: on }),
    );
    this.include = checkbox("Average counts padding", (on) =>
      change({ ...app.settings, count_include_pad: on }),
    );
    this.counts = [
      ["in_channels", "Channels in"],
      ["out_channels", "Channels out"],
    ].map(([name, label]) => ({
      name,
      label,
      slider: slider(label, "", (value) => app.changeRepaired({ ...app.settings, [name]: value })),
    }));
    this.groups = select("Groups", [], (value) =>
      change({ ...app.settings, groups: Number(value) }),
    );
    this.channels = h(
      "details",
      { class: "cs-more" },
      h("summary", {}, "Channels and groups"),
      this.counts.map((c) => c.slider.element),
      this.groups.element,
    );
    this.element = h(
      "form",
      {
        class: "cs-controls",
        "aria-label": "Settings",
        submit: (event) => event.preventDefault(),
      },
      this.operation.element,
      this.view.element,
      this.rank.element,
      this.square.element,
      this.sliders.slice(0, 4).flatMap((s) => s.axes.map((a) => a.element)),
      this.padding.element,
      this.both.element,
      this.pads.flat().map((s) => s.element),
      this.sliders[4].axes.map((a) => a.element),
      this.ceil.element,
      this.include.element,
      this.channels,
    );
  }

  /** Take over what settings imply for the two switches that link controls. */
  adopt(s) {
    const alike = (values) => values.every((v) => String(v) === String(values[0]));
    this.alike =
      ["input", "kernel", "stride", "dilation", "output_padding"].every((name) => alike(s[name])) &&
      (typeof s.padding === "string" || alike(s.padding));
    this.even = typeof s.padding === "string" || s.padding.every(([low, high]) => low === high);
  }

  setRank(rank) {
    const s = this.app.settings;
    const fit = (values) =>
      rank === 1 ? values.slice(-1) : [values[0], values[values.length - 1]];
    const made = { ...s, rank };
    for (const [name] of AXES) made[name] = fit(s[name]);
    if (typeof s.padding !== "string") made.padding = fit(s.padding);
    this.app.changeRepaired(made);
  }

  equalise() {
    const s = this.app.settings;
    const made = { ...s };
    for (const [name] of AXES) made[name] = s[name].map(() => s[name][0]);
    if (typeof s.padding !== "string") made.padding = s.padding.map(() => s.padding[0]);
    this.app.changeRepaired(made);
  }

  setPadding(name) {
    const { settings, problem } = this.app;
    if (name !== "numbers") {
      this.app.changeRepaired({ ...settings, padding: name });
      return;
    }
    // The numbers that the name stood for, so that nothing moves.
    const windows = problem.plain.slice(-settings.rank);
    const padding = windows.map((w) =>
      problem.reversed
        ? w.padding.map(
            (p, end) => w.dilation * (w.kernel - 1) - p + (end ? settings.output_padding[0] : 0),
          )
        : [...w.padding],
    );
    this.even = padding.every(([low, high]) => low === high);
    this.app.changeRepaired({ ...settings, padding });
  }

  render() {
    const { settings: s, state } = this.app;
    const pooling = s.operation.endsWith("pool");
    const transposed = s.operation === "transposed";
    const shown = (element, on) => {
      element.hidden = !on;
    };
    this.operation.show(s.operation);
    this.view.show(state.mode);
    shown(this.view.element, transposed);
    this.rank.show(String(s.rank));
    this.square.show(this.alike);
    shown(this.square.element, s.rank === 2);
    const single = s.rank === 1 || this.alike;
    const suffix = (axis) => (single ? "" : `, ${SIDES[axis]}`);
    for (const { name, label, axes } of this.sliders) {
      axes.forEach((control, axis) => {
        const used = axis < (single ? 1 : 2) && (name !== "output_padding" || transposed);
        shown(control.element, used);
        if (!used) return;
        const from = limits(s, name, this.alike ? null : axis);
        control.show(s[name][axis], from, `${label}${suffix(axis)}`);
      });
    }
    const named = typeof s.padding === "string";
    this.padding.show(named ? s.padding : "numbers", [
      ["numbers", "numbers"],
      ...paddingNames(s.operation).map((name) => [name, name]),
    ]);
    for (const option of this.padding.input.options) {
      option.disabled =
        option.value !== "numbers" && refusal({ ...s, padding: option.value }) !== "";
    }
    this.both.show(this.even);
    shown(this.both.element, !named);
    this.pads.forEach((ends, axis) =>
      ends.forEach((control, end) => {
        const used = !named && axis < (single ? 1 : 2) && end < (this.even ? 1 : 2);
        shown(control.element, used);
        if (!used) return;
        const from = limits(s, "padding", this.alike ? null : axis, this.even ? null : end);
        const side = this.even ? "" : end ? ", high" : ", low";
        control.show(s.padding[axis][end], from, `Padding${side}${suffix(axis)}`);
      }),
    );
    shown(this.ceil.element, pooling);
    this.ceil.show(s.ceil_mode);
    shown(this.include.element, s.operation === "avg_pool");
    this.include.show(s.count_include_pad);
    for (const { name, slider: control } of this.counts) {
      shown(control.element, name === "in_channels" || !pooling);
      control.show(s[name], limits({ ...s, groups: 1 }, name));
    }
    shown(this.groups.element, !pooling);
    this.groups.show(
      String(s.groups),
      groupChoices(s).map((g) => [String(g), String(g)]),
    );
  }
}
