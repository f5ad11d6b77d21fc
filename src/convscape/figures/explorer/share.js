// The link, and the picture as a file.
import { InputError } from "./arithmetic.js";
import { button } from "./controls.js";
import { h } from "./grid.js";
import { plural } from "./panel.js";

export class ExportPanel {
  constructor(app) {
    this.app = app;
    this.link = h("input", {
      type: "text",
      readonly: true,
      "aria-label": "Link to these settings",
    });
    this.words = h("p", { role: "status" });
    this.saves = ["svg", "gif"].map((kind) =>
      button(`Save as ${kind.toUpperCase()}`, () => this.save(kind), { "data-save": kind }),
    );
    this.element = h(
      "div",
      {},
      h(
        "p",
        {},
        "The address holds the settings, so a link is a setting. An SVG is the picture as it " +
          "is; a GIF plays all steps.",
      ),
      h(
        "div",
        { class: "cs-row" },
        this.link,
        button("Copy link", () => app.copy(this.link.value, this.link)),
      ),
      h("div", { class: "cs-row" }, this.saves),
      this.words,
    );
  }

  render() {
    this.link.value = this.app.address();
  }

  save(kind) {
    try {
      const [data, type] =
        kind === "svg" ? [this.app.svg(), "image/svg+xml"] : [this.app.gif(), "image/gif"];
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
