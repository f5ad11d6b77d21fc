"""From the records of all runs to the numbers that a report states; no text, no figures.

Everything is paired: a plain run is compared with the normalized run of the same seed, and so of
the same initial kernels and order of images. A number over several seeds is their median, with
the least and the greatest beside it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convscape.study.config import ARMS, Config

Record = dict[str, Any]
Spread = dict[str, float | None]

PROBES = ("loss_range", "predictiveness", "beta", "relative_change")
# A level of loss, which is a factor of two, is compared when each arm has so many probes in it.
LEAST_PER_BIN = 3
# An arm copes with a learning rate at which it comes within so much of the best accuracy seen.
NEAR_BEST = 0.02


def summarise(config: Config, data: dict[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Every number of the report, as JSON values.

    Args:
        config: The study.
        data: What `Dataset.describe` said.
        records: One for each run, in any order.

    Returns:
        `pairing`, `best_rate`, `rates` (one entry for each learning rate), `fastest`,
        `robustness` and `claims`; docs/study.md tells what each holds. A number that is infinite
        is None.
    """
    from convscape.study.claims import claims

    chance = data["largest_class_share"]
    table = {(r["arm"], r["learning_rate"], r["seed"]): r for r in records}
    seeds = range(config.seeds)
    arms = {
        (arm, rate): [table[arm, rate, seed] for seed in seeds]
        for arm in ARMS
        for rate in config.learning_rates
    }
    # By mean and not by median: a rate at which one seed of three fails is no best rate.
    means = {key: _mean([best(record) for record in records]) for key, records in arms.items()}
    best_rate = {}
    for arm in ARMS:
        ranked = {rate: means[arm, rate] for rate in config.learning_rates}
        best_rate[arm] = max(ranked, key=ranked.__getitem__)
    rates = [
        _at_rate(config, rate, arms["plain", rate], arms["batchnorm", rate], chance)
        for rate in config.learning_rates
    ]
    summary = {
        "pairing": {
            name: all(
                plain[name] == normalized[name]
                for rate in config.learning_rates
                for plain, normalized in zip(
                    arms["plain", rate], arms["batchnorm", rate], strict=True
                )
            )
            for name in ("initial_weights_sha256", "data_order_sha256")
        },
        "best_rate": best_rate,
        "rates": rates,
        "fastest": _fastest(config, arms, best_rate["plain"]),
        "robustness": _robustness(config, arms),
    }
    return {**summary, "claims": claims(config, summary)}


def best(record: Record) -> float:
    """The highest test accuracy that any evaluation of a run saw."""
    return max((e["test_accuracy"] for e in record["evaluations"]), default=0.0)


def trained(record: Record, chance: float) -> bool:
    """Whether a run got at least half of the way from guessing to perfection."""
    return best(record) >= (1 + chance) / 2


def reached(record: Record, accuracy: float) -> int | None:
    """Steps of a run until the first evaluation with at least this test accuracy, or None."""
    for evaluation in record["evaluations"]:
        if evaluation["test_accuracy"] >= accuracy:
            return max(int(evaluation["step"]), 1)
    return None


def gap(record: Record) -> float:
    """Training minus test accuracy at the last evaluation."""
    last = record["evaluations"][-1]
    return float(last["train_accuracy"] - last["test_accuracy"])


def ratio(plain: int | None, normalized: int | None) -> float:
    """How many times fewer steps; 0 when the normalized network never gets there."""
    return 0.0 if plain is None or normalized is None else plain / normalized


def spread(values: Sequence[float | None]) -> Spread:
    """Median, least and greatest; None stands for infinity, in and out."""
    numbers = [math.inf if value is None else value for value in values]
    if not numbers:
        return {"median": None, "least": None, "greatest": None}
    found = {"median": _median(numbers), "least": min(numbers), "greatest": max(numbers)}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _at_rate(
    config: Config, rate: float, plain: list[Record], normalized: list[Record], chance: float
) -> dict[str, Any]:
    """Both arms at one learning rate."""
    return {
        "learning_rate": rate,
        "arms": {
            arm: {
                "best_accuracy": spread([best(r) for r in records]),
                "final_accuracy": spread(
                    [r["evaluations"][-1]["test_accuracy"] for r in _finished(records)]
                ),
                "final_gap": spread([gap(r) for r in _finished(records)]),
                "diverged": sum(r["diverged_at"] is not None for r in records),
                "trained": sum(trained(r, chance) for r in records),
                "seconds": round(_mean([r["seconds"] for r in records]), 2),
            }
            for arm, records in zip(ARMS, (plain, normalized), strict=True)
        },
        "steps": _steps(plain, normalized, chance, margin=0.0),
        "steps_less_one_point": _steps(plain, normalized, chance, margin=0.01),
        "gap_difference": spread(
            [
                gap(b) - gap(a)
                for a, b in zip(plain, normalized, strict=True)
                if a["diverged_at"] is None and b["diverged_at"] is None
            ]
        ),
        "best_difference": spread(
            [best(b) - best(a) for a, b in zip(plain, normalized, strict=True)]
        ),
        "probes": {name: _probe(name, config.steps, plain, normalized) for name in PROBES},
    }


def _finished(records: list[Record]) -> list[Record]:
    return [record for record in records if record["diverged_at"] is None]


def _steps(
    plain: list[Record], normalized: list[Record], chance: float, margin: float
) -> dict[str, Any]:
    """Steps of both arms to the plain run's best accuracy less a margin, seed by seed."""
    seeds = []
    for a, b in zip(plain, normalized, strict=True):
        target = best(a) - margin
        steps = reached(a, target), reached(b, target)
        seeds.append(
            {
                "seed": a["seed"],
                "target": target,
                "plain_trained": trained(a, chance),
                "plain": steps[0],
                "batchnorm": steps[1],
                "ratio": ratio(*steps),
            }
        )
    return {
        "seeds": seeds,
        "never": sum(s["batchnorm"] is None for s in seeds),
        "ratio": spread([s["ratio"] for s in seeds]),
    }


def _fastest(
    config: Config, arms: dict[tuple[Any, float], list[Record]], plain_rate: float
) -> dict[str, Any]:
    """The normalized network at its own fastest rate against the plain one at its best."""
    plain = arms["plain", plain_rate]
    candidates = {}
    for rate in config.learning_rates:
        pairs = zip(plain, arms["batchnorm", rate], strict=True)
        candidates[rate] = [ratio(reached(a, best(a)), reached(b, best(a))) for a, b in pairs]
    rate = max(candidates, key=lambda r: (_median(candidates[r]), _mean(candidates[r])))
    return {"learning_rate": rate, "ratio": spread(candidates[rate])}


def _probe(name: str, steps: int, plain: list[Record], normalized: list[Record]) -> dict[str, Any]:
    """One probe of both arms: over the first half, over the whole run, and at equal loss."""
    halves = [[_values(r, name, steps / 2) for r in records] for records in (plain, normalized)]
    wholes = [[_values(r, name, steps + 1) for r in records] for records in (plain, normalized)]
    upper = [[_quantile(v, 0.95) for v in arm] for arm in wholes]
    return {
        "first_half": _compare([[_median(v) for v in arm] for arm in halves]),
        "whole_run": _compare([[_median(v) for v in arm] for arm in wholes]),
        "upper": _compare(upper),
        "equal_loss": _equal_loss(name, plain, normalized),
    }


def _values(record: Record, name: str, before: float) -> list[float]:
    # The early extra probes would weigh the first steps more.
    values = [p[name] for p in record["probes"] if p["regular"] and p["step"] < before]
    # A run that diverged before its first probe had the roughest landscape of all.
    return [math.inf if value is None else value for value in values] or [math.inf]


def _compare(values: list[list[float]]) -> dict[str, Any]:
    """Plain, normalized and their ratio (how many times smaller), each over the seeds."""
    plain, normalized = values
    ratios = [_quotient(a, b) for a, b in zip(plain, normalized, strict=True)]
    return {"plain": spread(plain), "batchnorm": spread(normalized), "ratio": spread(ratios)}


def _equal_loss(name: str, plain: list[Record], normalized: list[Record]) -> dict[str, Any]:
    """The ratio among probes taken at about the same loss, seeds pooled.

    A network whose loss is nearly zero has a flat landscape whatever it is made of; comparing
    at the same step mixes that with what normalization does, comparing at the same loss does
    not. A bin of losses counts when both arms have enough probes in it.
    """
    binned: list[dict[int, list[float]]] = []
    for records in (plain, normalized):
        bins: dict[int, list[float]] = {}
        for record in records:
            for found in record["probes"]:
                if found["loss"]:  # neither infinite (None) nor zero
                    value = math.inf if found[name] is None else found[name]
                    bins.setdefault(math.floor(math.log2(found["loss"])), []).append(value)
        binned.append(bins)
    rows: list[dict[str, Any]] = []
    for exponent in sorted(binned[0].keys() & binned[1].keys(), reverse=True):
        a, b = binned[0][exponent], binned[1][exponent]
        if min(len(a), len(b)) >= LEAST_PER_BIN:
            rows.append(
                {
                    "loss_from": 2.0**exponent,
                    "loss_to": 2.0 ** (exponent + 1),
                    "probes": [len(a), len(b)],
                    "ratio": _json(_quotient(_median(a), _median(b))),
                }
            )
    return {"bins": rows, "ratio": spread([row["ratio"] for row in rows])}


def _robustness(config: Config, arms: dict[tuple[Any, float], list[Record]]) -> dict[str, Any]:
    """The learning rates at which each arm comes near the best accuracy of the whole study."""
    medians = {key: _median([best(r) for r in records]) for key, records in arms.items()}
    top = max(medians.values())
    return {
        "best_accuracy": top,
        "margin": NEAR_BEST,
        "rates": {
            arm: [rate for rate in config.learning_rates if medians[arm, rate] >= top - NEAR_BEST]
            for arm in ARMS
        },
    }


def _quotient(plain: float, normalized: float) -> float:
    """How many times smaller the normalized value is; 1 when both are 0 or both infinite."""
    if plain == normalized:
        return 1.0
    if normalized == 0:
        return math.inf
    return 0.0 if math.isinf(normalized) else plain / normalized


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _median(values: Sequence[float]) -> float:
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], share: float) -> float:
    """A quantile that takes infinities: the next observation above, except for a plain median."""
    if all(math.isfinite(value) for value in values):
        return float(np.quantile(values, share))
    return float(np.quantile(values, share, method="higher"))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
