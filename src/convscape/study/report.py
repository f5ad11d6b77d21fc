"""The page to read: one self-contained HTML file from a study's results."""

import html
import json
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from convscape.study import claims, plots
from convscape.study.config import ARMS

Results = dict[str, Any]

SOURCES = {
    "ioffe": ("Ioffe and Szegedy 2015", "1502.03167"),
    "santurkar": ("Santurkar et al. 2018", "1805.11604"),
    "bjorck": ("Bjorck et al. 2018", "1806.02375"),
    "yang": ("Yang et al. 2019", "1902.08129"),
    "ghorbani": ("Ghorbani et al. 2019", "1901.10159"),
    "yao": ("Yao et al. 2020 (PyHessian)", "1912.07145"),
    "cohen": ("Cohen et al. 2021", "2103.00065"),
    "simonyan": ("Simonyan and Zisserman 2014 (VGG)", "1409.1556"),
}
DISPUTES = (
    ("yao", "Batch normalization does not always smooth: in shallow networks the Hessian's "
     "spectrum can be worse with it."),
    ("yang", "At initialization it makes gradients explode with depth; smoothness on the way "
     "does not contradict that, and this network is too shallow to show it."),
    ("ghorbani", "The Hessian's outlying eigenvalues are what suffers without it, and are nearly "
     "absent with it: a statement about few directions, of which the gradient's is one."),
    ("bjorck", "What helps is the larger learning rate that it allows, whose noise generalizes "
     "better; compare the arms at the same rate and at each one's best."),
    ("cohen", "Full-batch training drives the sharpness to 2 / learning rate with or without "
     "it, the edge of stability; a smaller beta along the path need not mean a flatter end."),
)  # fmt: skip
PROBE_TITLES = {
    "loss_range": "Loss range: max − min of the loss",
    "predictiveness": "Gradient predictiveness: max ‖Δg‖",
    "beta": "Effective β-smoothness: max ‖Δg‖ / (s‖g‖)",
    "relative_change": "Relative change: max ‖Δg‖ / ‖g‖",
}


def render(results: Results) -> str:
    """The page for a study's results.

    Args:
        results: What `results.json` holds.

    Returns:
        An HTML document that loads nothing: style and figures are in it.
    """
    environment = Environment(
        loader=PackageLoader("convscape.study", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": claims.percent,
        "points": claims.points,
        "times": claims.times,
        "number": claims.number,
    }
    summary = results["summary"]
    best = summary["best_rate"]["plain"]
    return environment.get_template("report.html.j2").render(
        results=results,
        summary=summary,
        config=results["config"],
        best_rate=best,
        at_best=next(entry for entry in summary["rates"] if entry["learning_rate"] == best),
        headline=_headline(summary["claims"]),
        figures=_Figures(results),
        probes=PROBE_TITLES,
        sources=SOURCES,
        disputes=DISPUTES,
        layers=_layers(results),
        parameters={arm: _first(results, arm)["parameters"] for arm in ARMS},
        ceiling=plots.CEILING,
        diverged=[run for run in results["runs"] if run["diverged_at"] is not None],
    )


def _headline(found: list[dict[str, Any]]) -> str:
    """One sentence that says what the two main targets came to."""
    verdicts = {claim["id"]: claim["shown"] for claim in found}
    steps, loss = verdicts["steps"], verdicts["loss_range"]
    if steps is None or loss is None:
        return "This study cannot tell: the plain network did not train."
    if steps and loss:
        return "Batch normalization trains faster here, over a smoother loss."
    if steps:
        return "Batch normalization trains faster here, but not over a clearly smoother loss."
    if loss:
        return "Batch normalization smooths the loss here, but does not train clearly faster."
    return "This study does not show what the papers claim of batch normalization."


def _first(results: Results, arm: str) -> dict[str, Any]:
    return next(run for run in results["runs"] if run["arm"] == arm)


def _layers(results: Results) -> list[dict[str, Any]]:
    """The normalized network's layers; the plain one has the same but for the normalization."""
    return [
        {**layer, "class": layer["class"].rpartition(".")[2]}
        for layer in _first(results, "batchnorm")["layers"]
    ]


class _Figures:
    """The figures by name, drawn when the template asks for them."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._config = results["config"]

    def _arms(self, rate: float) -> dict[str, list[dict[str, Any]]]:
        return {
            arm: [
                run
                for run in self._results["runs"]
                if run["arm"] == arm and run["learning_rate"] == rate
            ]
            for arm in ARMS
        }

    def _panel(self, draw: Callable[[Axes], None], name: str, label: str) -> Markup:
        safe = name.replace(".", "_")
        return Markup(plots.panel(draw, safe, html.escape(label, quote=True)))

    def error(self, part: str, rate: float, marked: bool = False) -> Markup:
        """The error of a part by step."""
        entry = next(e for e in self._results["summary"]["rates"] if e["learning_rate"] == rate)

        def draw(axes: Axes) -> None:
            floor = self._half(part)
            curve = plots.evaluation(part, floor)
            plots.by_step(axes, self._arms(rate), curve, log=True, ylabel=f"{part} error, %")
            axes.set_ylim(0.8 * floor, 110)
            if marked:
                plots.mark_steps(axes, entry["steps"])

        name = f"{part}-error-{rate:g}{'-marked' if marked else ''}"
        return self._panel(draw, name, f"{part} error by step at learning rate {rate:g}")

    def _half(self, part: str) -> float:
        """Half an image, in per cent of a part: where an error of zero is drawn."""
        return 50 / float(min(self._results["data"][part], self._config["evaluate_limit"]))

    def loss(self, rate: float) -> Markup:
        """The training loss by step."""

        def draw(axes: Axes) -> None:
            curve = plots.training_loss(self._config["evaluate_every"])
            plots.by_step(axes, self._arms(rate), curve, log=True, ylabel="training loss")

        return self._panel(draw, f"loss-{rate:g}", f"training loss by step at rate {rate:g}")

    def band(self, rate: float) -> Markup:
        """The least and the greatest loss along the gradient by step."""
        return self._panel(
            lambda axes: plots.loss_band(axes, self._arms(rate)),
            f"band-{rate:g}",
            f"range of the loss along the gradient by step at learning rate {rate:g}",
        )

    def probe(self, name: str, rate: float) -> Markup:
        """One probe by step."""

        def draw(axes: Axes) -> None:
            plots.by_step(axes, self._arms(rate), plots.probed(name), log=True)

        return self._panel(
            draw, f"{name}-{rate:g}", f"{PROBE_TITLES[name]} by step at learning rate {rate:g}"
        )

    def rates(self) -> Markup:
        """The best test error over the learning rate."""
        return self._panel(
            lambda axes: plots.by_rate(axes, self._results["summary"]["rates"], self._half("test")),
            "rates",
            "lowest test error of both networks over the learning rate",
        )


def printable(results: Results) -> str:
    """The summary as JSON text, for `--json`."""
    shown = {name: results[name] for name in ("schema", "config", "data", "how", "summary")}
    return json.dumps(shown, indent=1, allow_nan=False)
