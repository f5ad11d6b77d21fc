// The layer's code in each framework.
import { InputError } from "./arithmetic.js";
import { code } from "./code.js";
import { button } from "./controls.js";
import { DIALECTS, DIALECT_TITLES } from "./dialects.js";
import { h } from "./grid.js";
import { layerOf } from "./settings.js";
import { isExact, translate } from "./translate.js";

export class CodePanel {
  constructor(app) {
    this.app = app;
    this.dialect = "keras";
    this.buttons = DIALECTS.map((dialect) =>
      button(DIALECT_TITLES[dialect], () => {
        this.dialect = dialect;
        this.render();
      }),
    );
    this.words = h("p", { role: "status" });
    this.text = h("code");
    this.pre = h(
      "pre",
      { tabindex: "0", role: "region", "aria-label": "The layer's code" },
      this.text,
    );
    this.copy = button("Copy", () => app.copy(this.text.textContent, this.pre));
    this.element = h(
      "div",
      {},
      h(
        "p",
        {},
        "The layer as it is drawn. What a framework cannot say by its own padding stands " +
          "around the layer.",
      ),
      h(
        "div",
        { class: "cs-row", role: "group", "aria-label": "Framework" },
        this.buttons,
        this.copy,
      ),
      this.words,
      this.pre,
    );
  }

  render() {
    this.buttons.forEach((b, at) =>
      b.setAttribute("aria-pressed", String(DIALECTS[at] === this.dialect)),
    );
    const { settings } = this.app;
    try {
      const t = translate(layerOf(settings), settings.input, this.dialect);
      this.text.textContent = code(t);
      this.words.textContent = isExact(t)
        ? "One layer is enough."
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
