"""What the papers claim beside what was measured, each with a verdict that follows a rule.

A verdict is `True` (seen here), `False` (not seen here) or None (this study cannot tell, and the
sentence says why). The thresholds are fixed before the numbers are known.
"""

from typing import Any

from convscape.study.config import Config

TIMES_FEWER_STEPS = 2.0
TIMES_SMALLER = 5.0

Claim = dict[str, Any]


def claims(config: Config, summary: dict[str, Any]) -> list[Claim]:
    """The table of claims.

    Args:
        config: The study.
        summary: The numbers, as `summarise` arranges them.

    Returns:
        One entry for each claim: `id`, `title`, `claim`, `source`, `rule`, `measured` (a
        sentence), `value`, `target`, `shown`, `stricter` (a sentence or empty) and a `note`.
    """
    rate = summary["best_rate"]["plain"]
    at = next(entry for entry in summary["rates"] if entry["learning_rate"] == rate)
    trained = at["arms"]["plain"]["trained"] > 0
    where = f"at learning rate {rate:g}, the plain network's best"
    found = [
        _steps(config, summary, at, where),
        _accuracy(at, where),
        _probe(at, where, "loss_range", "Loss range along the gradient", "first_half"),
        _probe(at, where, "predictiveness", "Change of the gradient along it", "first_half"),
        _beta(at, where),
        _robustness(config, summary),
        _gap(at, where),
    ]
    for claim in found:
        claim.setdefault("stricter", "")
        if not trained:
            claim["shown"], claim["stricter"] = None, ""
            claim["measured"] = (
                "The plain network did not train at any learning rate of this study, so there is "
                "nothing to compare with."
            )
    return found


def _steps(config: Config, summary: dict[str, Any], at: dict[str, Any], where: str) -> Claim:
    steps = at["steps"]
    value = steps["ratio"]["median"]
    fastest = summary["fastest"]
    never = steps["never"]
    sentence = (
        f"Batch normalization reaches the plain network's best test accuracy in "
        f"{times(value)} fewer steps{_range(steps['ratio'])}, {where}"
        if value
        else f"Batch normalization does not reach the plain network's best test accuracy, {where}"
    )
    if value and never:
        sentence += f"; {never} of {config.seeds} seeds never reach it"
    return {
        "id": "steps",
        "title": "Steps to the plain network's best accuracy",
        "claim": "The same accuracy in 14 times fewer training steps.",
        "source": "ioffe",
        "rule": f"at least {TIMES_FEWER_STEPS:g} times fewer steps (median over the seeds)",
        "measured": sentence + ".",
        "value": value,
        "target": TIMES_FEWER_STEPS,
        "shown": value is not None and value >= TIMES_FEWER_STEPS,
        "note": (
            f"Within one point of that best: {times(at['steps_less_one_point']['ratio']['median'])}"
            f" fewer. At the normalized network's own fastest learning rate, "
            f"{fastest['learning_rate']:g}: {times(fastest['ratio']['median'])} fewer. "
            "The paper's 14 is 31.0 against 2.1 million steps, and confounds: the faster network "
            "had five times the learning rate, and no dropout or local response normalization, "
            "less weight decay, faster learning-rate decay, and other shuffling and augmentation. "
            "Here nothing differs but the normalization."
        ),
    }


def _accuracy(at: dict[str, Any], where: str) -> Claim:
    difference = at["best_difference"]
    plain, normalized = (at["arms"][arm]["best_accuracy"]["median"] for arm in at["arms"])
    return {
        "id": "accuracy",
        "title": "Test accuracy",
        "claim": "83 % with batch normalization, 80 % without (VGG, CIFAR-10).",
        "source": "santurkar",
        "rule": "a higher best test accuracy (median of the paired differences)",
        "measured": (
            f"{percent(normalized)} with, {percent(plain)} without; paired difference "
            f"{points(difference['median'])} points "
            f"({points(difference['least'])} to {points(difference['greatest'])}), {where}."
        ),
        "value": difference["median"],
        "target": 0.0,
        "shown": difference["median"] > 0,
        "note": "Best over the run, chosen on the test part for both arms alike.",
    }


def _probe(at: dict[str, Any], where: str, name: str, title: str, span: str) -> Claim:
    found = at["probes"][name]
    value = found[span]["ratio"]["median"]
    equal = found["equal_loss"]
    if equal["bins"]:
        stricter = (
            f"At equal training loss: {smaller(equal['ratio']['median'])}"
            f"{_range(equal['ratio'], 'levels of loss')}."
        )
        note = (
            f"A network whose loss is almost zero is flat with or without normalization. So the "
            f"stricter comparison is among probes taken at about the same training loss "
            f"({len(equal['bins'])} levels, each a factor of two)."
        )
    else:
        stricter, note = "", "No two groups of probes were taken at equal training loss."
    claim = {
        "loss_range": "The loss varies less along the gradient.",
        "predictiveness": "The gradient changes less along itself, so that it predicts better.",
    }[name]
    return {
        "id": name,
        "title": title,
        "claim": claim,
        "source": "santurkar",
        "rule": f"at least {TIMES_SMALLER:g} times smaller (first half of training)",
        "measured": (
            f"{smaller(value)}{_range(found[span]['ratio'])}: median "
            f"{number(found[span]['batchnorm']['median'])} with, "
            f"{number(found[span]['plain']['median'])} without, {where}."
        ),
        "value": value,
        "target": TIMES_SMALLER,
        "shown": value is None or value >= TIMES_SMALLER,
        "stricter": stricter,
        "note": note,
    }


def _beta(at: dict[str, Any], where: str) -> Claim:
    upper = at["probes"]["beta"]["upper"]
    relative = at["probes"]["relative_change"]["first_half"]
    value = upper["ratio"]["median"]
    return {
        "id": "beta",
        "title": "Effective beta-smoothness",
        "claim": "The gradient's change per distance is smaller, and steadier.",
        "source": "santurkar",
        "rule": "a lower 95th percentile over the run",
        "measured": (
            f"95th percentile {number(upper['batchnorm']['median'])} with, "
            f"{number(upper['plain']['median'])} without: {smaller(value)}"
            f"{_range(upper['ratio'])}, {where}."
        ),
        "value": value,
        "target": 1.0,
        "shown": value is None or value > 1,
        "note": (
            "Weights before batch normalization have no scale, and beta depends on it. The change "
            "relative to the gradient's own length does not: median "
            f"{number(relative['batchnorm']['median'])} with, "
            f"{number(relative['plain']['median'])} without."
        ),
    }


def _robustness(config: Config, summary: dict[str, Any]) -> Claim:
    robust = summary["robustness"]
    plain, normalized = (robust["rates"][arm] for arm in ("plain", "batchnorm"))
    total = len(config.learning_rates)
    return {
        "id": "robustness",
        "title": "Robustness to the learning rate",
        "claim": "Much higher learning rates, and less care about hyper-parameters.",
        "source": "ioffe",
        "rule": f"near the best accuracy ({100 * robust['margin']:g} points) at more of the rates",
        "measured": (
            f"Within {100 * robust['margin']:g} points of the study's best accuracy, "
            f"{percent(robust['best_accuracy'])}: with at {_rates(normalized, total)}, "
            f"without at {_rates(plain, total)}."
        ),
        "value": len(normalized) - len(plain),
        "target": 1,
        "shown": len(normalized) > len(plain) if total > 1 else None,
        "note": (
            "A rate at which a network is merely slow counts against it here, within the steps of "
            "this study; with more steps it may get there."
        ),
    }


def _gap(at: dict[str, Any], where: str) -> Claim:
    difference = at["gap_difference"]
    plain, normalized = (at["arms"][arm]["final_gap"]["median"] for arm in at["arms"])
    value = difference["median"]
    return {
        "id": "gap",
        "title": "Overfitting",
        "claim": "Less overfitting; dropout can go.",
        "source": "ioffe",
        "rule": "a smaller gap between training and test accuracy at the end, for every seed",
        "measured": (
            f"Gap at the last step {points(normalized)} points with, {points(plain)} without; "
            f"paired difference {points(value)} ({points(difference['least'])} to "
            f"{points(difference['greatest'])}), {where}."
            if value is not None
            else "No pair of runs ended without divergence."
        ),
        "value": value,
        "target": 0.0,
        "shown": None if value is None else difference["greatest"] < 0,
        "note": (
            "A network that has not finished learning has a small gap for that reason alone: read "
            "it with the error curves."
        ),
    }


def times(value: float | None) -> str:
    """A ratio in words, as "4.2 times"; None is infinite."""
    if value is None:
        return "infinitely many times"
    return f"{value:,.0f} times" if value >= 10 else f"{value:.1f} times"


def number(value: float | None) -> str:
    """Three significant digits; None is infinite."""
    if value is None:
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    """A difference of two shares in percentage points, signed by a true minus."""
    return "–" if value is None else f"{100 * value:.1f}".replace("-", "−")


def smaller(value: float | None) -> str:
    """A ratio of plain to normalized in words: "5.0 times smaller", or "larger" below 1."""
    if value is not None and value < 1:
        return f"{times(1 / value if value else None)} larger"
    return f"{times(value)} smaller"


def _range(values: dict[str, float | None], over: str = "seeds") -> str:
    """The least and the greatest ratio, in brackets, unless they are the same."""
    least, greatest = values["least"], values["greatest"]
    if least == greatest:
        return ""
    return f" (ratio {number(least)} to {number(greatest)} over the {over})"


def _rates(rates: list[float], total: int) -> str:
    if not rates:
        return f"none of the {total} learning rates"
    listed = ", ".join(f"{rate:g}" for rate in rates)
    return f"{len(rates)} of the {total} learning rates ({listed})"
