"""The report's numbers from made-up runs whose answers are known, and the verdicts' rules."""

from typing import Any

import pytest

from convscape.study.claims import number, points, smaller, times
from convscape.study.config import Config
from convscape.study.summary import ratio, reached, spread, summarise
from tests.study_support import record

CONFIG = Config(seeds=1, steps=40, learning_rates=(0.1,))
DATA = {"largest_class_share": 0.1}
SLOW = [0.1, 0.3, 0.6, 0.8, 0.9]  # its best, 0.9, at step 40
FAST = [0.1, 0.92, 0.91, 0.93, 0.93]  # has 0.9 at step 10


def summary(
    plain: dict[str, Any] | None = None,
    normalized: dict[str, Any] | None = None,
    config: Config = CONFIG,
) -> dict[str, Any]:
    """Of one pair, with these changes to a pair that shows everything."""
    a = {"accuracies": SLOW, "loss_ranges": [1.0, 1.0, 1.0, 1.0], **(plain or {})}
    b = {"accuracies": FAST, "loss_ranges": [0.1, 0.1, 0.1, 0.1], **(normalized or {})}
    records = [record("plain", 0.1, 0, **a), record("batchnorm", 0.1, 0, **b)]
    return summarise(config, DATA, records)


def verdicts(found: dict[str, Any]) -> dict[str, bool | None]:
    return {claim["id"]: claim["shown"] for claim in found["claims"]}


def test_steps_to_the_plain_best_are_those_of_the_first_evaluation_that_has_it() -> None:
    steps = summary()["rates"][0]["steps"]
    assert steps["seeds"] == [
        {
            "seed": 0,
            "target": 0.9,
            "plain_trained": True,
            "plain": 40,
            "batchnorm": 10,
            "ratio": 4.0,
        }
    ]


def test_a_network_that_never_gets_there_counts_as_zero_and_not_as_missing() -> None:
    found = summary(normalized={"accuracies": [0.1, 0.2, 0.3, 0.4, 0.89]})
    steps = found["rates"][0]["steps"]
    assert (steps["never"], steps["ratio"]["median"]) == (1, 0.0)
    assert verdicts(found)["steps"] is False
    assert "does not reach" in found["claims"][0]["measured"]


@pytest.mark.parametrize(("at_20", "shown"), [(0.9, True), (0.89, False)])
def test_half_the_steps_are_shown_and_one_evaluation_more_is_not(at_20: float, shown: bool) -> None:
    found = summary(normalized={"accuracies": [0.1, 0.5, at_20, 0.95, 0.95]})
    assert verdicts(found)["steps"] is shown


@pytest.mark.parametrize(("loss_range", "shown"), [(0.2, True), (0.21, False), (2.0, False)])
def test_a_loss_range_five_times_smaller_is_shown_and_less_is_not(
    loss_range: float, shown: bool
) -> None:
    found = summary(normalized={"loss_ranges": [loss_range] * 4})
    assert verdicts(found)["loss_range"] is shown


def test_the_first_half_is_what_the_verdict_reads() -> None:
    """Late probes change the whole run's median, and not the verdict's."""
    late = {"loss_ranges": [0.1, 0.1, 9.0, 9.0]}
    found = summary(normalized=late)["rates"][0]["probes"]["loss_range"]
    assert found["first_half"]["ratio"]["median"] == pytest.approx(10)
    assert found["whole_run"]["ratio"]["median"] == pytest.approx(1 / 4.55)


def test_extra_early_probes_have_no_weight_in_the_medians() -> None:
    runs = [
        record("plain", 0.1, 0, SLOW, loss_ranges=[1.0] * 4),
        record("batchnorm", 0.1, 0, FAST, loss_ranges=[0.1] * 4),
    ]
    extra = {**runs[1]["probes"][0], "step": 1, "regular": False, "loss_range": 99.0}
    runs[1]["probes"] += [extra] * 9
    found = summarise(CONFIG, DATA, runs)["rates"][0]["probes"]["loss_range"]
    assert found["first_half"]["batchnorm"]["median"] == pytest.approx(0.1)


def test_at_equal_loss_only_probes_of_the_same_loss_are_compared() -> None:
    """At the same step 10 times smaller, at the same loss 2 times."""
    levels = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]
    plain = {"loss_ranges": [1.0, 1.0, 1.0, 0.2, 0.2, 0.2], "losses": levels}
    normalized = {"loss_ranges": [0.1] * 6, "losses": [0.1] * 6}
    found = summary(plain, normalized)["rates"][0]["probes"]["loss_range"]
    assert found["first_half"]["ratio"]["median"] == pytest.approx(10)
    assert [row["probes"] for row in found["equal_loss"]["bins"]] == [[3, 6]]
    assert found["equal_loss"]["ratio"]["median"] == pytest.approx(2)


def test_an_infinite_range_is_the_largest_and_two_of_them_are_equal() -> None:
    infinite: dict[str, Any] = {"loss_ranges": [None] * 4}
    assert verdicts(summary(plain=infinite))["loss_range"] is True
    assert verdicts(summary(normalized=infinite))["loss_range"] is False
    assert verdicts(summary(infinite, infinite))["loss_range"] is False


def test_a_plain_network_that_never_trained_proves_nothing() -> None:
    found = summary(plain={"accuracies": [0.1, 0.12, 0.12, 0.1, 0.11]})
    assert set(verdicts(found).values()) == {None}
    assert "did not train" in found["claims"][0]["measured"]


def test_a_run_that_diverged_at_once_is_counted_and_breaks_nothing() -> None:
    found = summary(normalized={"accuracies": [], "loss_ranges": [], "diverged_at": 0})
    assert found["rates"][0]["arms"]["batchnorm"]["diverged"] == 1
    assert verdicts(found)["steps"] is False
    assert verdicts(found)["loss_range"] is False
    assert verdicts(found)["gap"] is None
    nothing: dict[str, Any] = {"accuracies": [], "loss_ranges": [], "diverged_at": 0}
    both = summary(nothing, nothing)
    assert set(verdicts(both).values()) == {None}


def test_the_plain_network_is_compared_at_its_own_best_rate() -> None:
    config = Config(seeds=1, steps=40, learning_rates=(0.1, 0.5))
    runs = [
        record("plain", 0.1, 0, [0.1, 0.2, 0.3, 0.4, 0.6], loss_ranges=[1.0]),
        record("plain", 0.5, 0, SLOW, loss_ranges=[1.0]),
        record("batchnorm", 0.1, 0, FAST, loss_ranges=[1.0]),
        record("batchnorm", 0.5, 0, [0.1, 0.2, 0.9, 0.9, 0.9], loss_ranges=[1.0]),
    ]
    found = summarise(config, DATA, runs)
    assert found["best_rate"]["plain"] == 0.5
    assert found["claims"][0]["value"] == 2.0
    assert found["fastest"]["learning_rate"] == 0.1
    assert found["fastest"]["ratio"]["median"] == 4.0
    assert found["robustness"]["rates"] == {"plain": [], "batchnorm": [0.1]}


def test_arms_that_did_not_start_alike_are_found_out() -> None:
    runs = [
        record("plain", 0.1, 0, SLOW, loss_ranges=[1.0]),
        record("batchnorm", 0.1, 0, FAST, loss_ranges=[1.0]),
    ]
    assert all(summarise(CONFIG, DATA, runs)["pairing"].values())
    runs[1]["data_order_sha256"] = "another"
    assert summarise(CONFIG, DATA, runs)["pairing"] == {
        "initial_weights_sha256": True,
        "data_order_sha256": False,
    }


def test_small_functions_at_their_edges() -> None:
    assert reached({"evaluations": []}, 0.5) is None
    assert ratio(40, None) == ratio(None, 3) == 0
    assert spread([1.0, None, 2.0]) == {"median": 2.0, "least": 1.0, "greatest": None}
    assert spread([]) == {"median": None, "least": None, "greatest": None}
    assert smaller(0.5) == "2.0 times larger"
    assert smaller(5.0) == "5.0 times smaller"
    assert times(None) == "infinitely many times"
    assert number(1234.5) == "1,234"
    assert points(-0.012) == "−1.2"
