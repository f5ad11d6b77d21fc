// Which settings take the input to an output.
import { button, checkbox, slider } from "./controls.js";
import { solve } from "./field.js";
import { h } from "./grid.js";
import { plural, times } from "./panel.js";
import { refusal } from "./settings.js";

const MOST_SHOWN = 60;

export class SolvePanel {
  constructor(app) {
    this.app = app;
    this.target = null;
    this.sizes = [0, 1].map((axis) =>
      slider("Output", "o", (value) => {
        this.target = this.wanted().map((o, a) => (a === axis || this.alike() ? value : o));
        this.changed();
      }),
    );
    this.uneven = checkbox("Allow different padding at the two ends", () => this.changed());
    this.dilated = checkbox("Allow dilation up to 3", () => this.changed());
    this.words = h("p", { class: "cs-verdict", role: "status" });
    this.list = h("div", { class: "cs-solutions" });
    this.element = h(
      "div",
      {},
      h("p", {}, "Which settings take the input to this output? Choose one to see it."),
      h(
        "div",
        { class: "cs-row" },
        this.sizes.map((s) => s.element),
        this.uneven.element,
        this.dilated.element,
      ),
      this.words,
      this.list,
    );
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
    })
      .map((made) => ({ made, settings: this.settingsOf(made) }))
      .filter(({ settings }) => !refusal(settings));
    const shown = found.slice(0, MOST_SHOWN);
    this.words.textContent = found.length
      ? `${plural(found.length, "setting")} with kernels up to 11 ${found.length === 1 ? "takes" : "take"} ` +
        `${times(s.input)} to ${times(o)}${found.length > shown.length ? `; the ${MOST_SHOWN} smallest are listed` : ""}.`
      : `No setting with a kernel up to 11 takes ${times(s.input)} to ${times(o)}.`;
    this.list.replaceChildren(
      ...shown.map(({ made, settings }) => {
        const p = made.padding[0] === made.padding[1] ? made.padding[0] : made.padding.join(",");
        const words = [`k=${made.kernel}`, `s=${made.stride}`, `p=${p}`];
        if (made.dilation > 1) words.push(`d=${made.dilation}`);
        if (made.output_padding) words.push(`a=${made.output_padding}`);
        return button(words.join(" "), () => this.app.change(settings, { adopt: true }));
      }),
    );
  }

  settingsOf(made) {
    const { settings: s } = this.app;
    const each = (value) => s.input.map(() => value);
    return {
      ...s,
      kernel: each(made.kernel),
      stride: each(made.stride),
      dilation: each(made.dilation),
      padding: s.input.map(() => [...made.padding]),
      output_padding: each(made.output_padding),
    };
  }
}
