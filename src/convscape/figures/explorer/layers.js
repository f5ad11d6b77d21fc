// The layers, fields and findings of the network that the page was opened with.
import { button } from "./controls.js";
import { h } from "./grid.js";
import { plural, scrolled, table, times } from "./panel.js";

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
        h("span", { class: "cs-code", title: f.message }, `${f.code} ${f.name}`),
      ),
    ]);
    const findings = network.findings.map((f) =>
      h(
        "li",
        {},
        h("strong", {}, `${f.layer}: ${f.code} ${f.name}. `),
        `${f.message}. Fix: ${f.fix}`,
      ),
    );
    this.element = h(
      "div",
      {},
      h(
        "p",
        {},
        `${network.model}: ${plural(totals.layers, "layer")}, ${counts(totals.params)} parameters, ` +
          `${counts(totals.macs)} multiply-accumulates. Layers with windows open in the drawing.`,
      ),
      this.words,
      scrolled(
        "Layers of the network",
        table(
          "Layers",
          ["Layer", "Kind", "Output", "Parameters", "MACs", "Field", "Jump", "Findings"],
          rows,
        ),
      ),
      h("h2", {}, plural(network.findings.length, "finding")),
      findings.length
        ? h("ul", { class: "cs-findings" }, findings)
        : h("p", {}, "Nothing to report."),
    );
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
