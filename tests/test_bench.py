"""`convscape bench`: right results first, honest statistics, and clear refusals."""

import doctest
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from convscape import cli, ops
from convscape.bench import busy, choose, measure, networks, session
from convscape.bench.limits import Limits
from convscape.bench.measure import Contestant, Times, error_over_rms, interleaved
from convscape.bench.peers import Settings, Unable, table, torch_peers
from convscape.bench.peers.network_peers import exact_losses
from convscape.bench.run import row_of
from convscape.bench.shapes import SUITES, Conv, Norm, Pool, Whole
from convscape.bench.summary import summary
from convscape.bench.tasks import Task, tasks_of
from convscape.cli.app import app

TINY: dict[str, tuple[Any, ...]] = {
    "conv3x3": (Conv("tiny", 4, 6, 7),),
    "depthwise": (Conv("tiny", 4, 4, 7, stride=2, groups=4),),
    "pool": (Pool("tiny", "max_pool", 3, 7, 3, 2, 1), Pool("tiny", "avg_pool", 3, 6, 3, 1, 1)),
    "norm": (Norm("tiny", 5, 6, 3),),
}
LIMITS = Limits(1e11, 1e10)
SETTINGS = Settings(threads=1, compiled=False)
PAGE = (Path(__file__).parent.parent / "docs" / "cli-json-bench.md").read_text()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code path, on shapes that take no time."""
    monkeypatch.setattr(choose, "SUITES", TINY)
    monkeypatch.setattr(choose, "QUICK", {name: range(len(c)) for name, c in TINY.items()})
    monkeypatch.setattr(measure, "SAMPLE", 1e-6)
    monkeypatch.setattr(session, "measure_limits", lambda threads: LIMITS)


def bench(*arguments: str) -> tuple[int, Any]:
    given = ["bench", "--quick", "--rounds", "2", "--threads", "1", "--json", *arguments]
    run = CliRunner().invoke(app, given)
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    return run.exit_code, json.loads(run.stdout)


def task(suite: str, direction: str, layout: str = "any") -> Task:
    found = tasks_of(suite, TINY[suite])
    return next(t for t in found if (t.direction, t.layout) == (direction, layout))


@pytest.mark.usefixtures("tiny")
def test_every_suite_is_checked_and_timed_with_its_peers() -> None:
    status, results = bench()
    assert status == 0
    measured = {(r["suite"], r["direction"], r["layout"]) for r in results["rows"]}
    assert measured == {
        *((suite, direction, "any") for suite in ("conv3x3", "depthwise")
          for direction in ("forward", "inference", "input gradient", "weight gradient")),
        *(("pool", d, layout) for d in ("forward", "backward")
          for layout in ("NCHW", "channels-last")),
        *(("norm", d, layout) for d in ("forward", "backward", "inference")
          for layout in ("NCHW", "channels-last")),
    }  # fmt: skip
    for row in results["rows"]:
        assert row["status"] == "measured", row
        # Everyone computed the same thing as float64, whatever its order of axes.
        assert all(error < 1e-5 for error in row["errors"].values()), row
        assert row["times"].keys() == row["errors"].keys()
        assert row["refused"].keys() == {
            name for name in table.PEERS if name not in row["times"]
            and not name.endswith((", NCHW", ", channels-last"))
        }  # fmt: skip
        for name in expected_peers(row):
            assert name in row["times"] or "not installed" in row["refused"][name]
        others = [t["median"] for n, t in row["times"].items() if n not in table.OURS]
        assert row["ratio"] == min(others) / row["times"]["convscape"]["median"]
        assert row["of_limit"] > 0


def expected_peers(row: dict[str, Any]) -> set[str]:
    convolution = row["suite"] in ("conv3x3", "depthwise")
    constant = convolution and row["direction"] == "inference"
    without_gradients = {"inference"} if row["suite"] == "norm" else {"forward", "inference"}
    runtimes = row["layout"] != "channels-last" and row["direction"] in without_gradients
    return (set() if constant else {"JAX"}) | ({"ONNX Runtime", "OpenVINO"} if runtimes else set())


@pytest.mark.usefixtures("tiny")
def test_constant_weights_are_arranged_before_the_clock_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def conv2d(x: torch.Tensor, weight: Any, *given: Any) -> torch.Tensor:
        seen.append(isinstance(weight, ops.ConstantWeight))
        return ops.conv2d(x, weight, *given)

    library = broken(conv2d=conv2d)
    library.ConstantWeight = ops.ConstantWeight
    monkeypatch.setattr(torch_peers, "ops", library)
    for direction, constant in (("inference", True), ("forward", False)):
        seen.clear()
        bench("conv3x3", "--only", f"/{direction}")
        assert seen
        assert set(seen) == {constant}


@pytest.mark.usefixtures("tiny")
def test_the_page_names_every_key() -> None:
    _, results = bench("conv3x3", "--only", "forward")
    keys = [*results, *results["limits"], *results["machine"], *results["rows"][0],
            *results["summary"][0], *results["rows"][0]["times"]["convscape"]]  # fmt: skip
    assert set(keys) <= set(re.findall(r"`(\w+)`", PAGE))


def broken(**functions: Callable[..., Any]) -> SimpleNamespace:
    names = ("conv2d", "max_pool2d", "avg_pool2d", "batch_norm")
    return SimpleNamespace(**({name: getattr(ops, name) for name in names} | functions))


@pytest.mark.usefixtures("tiny")
def test_a_wrong_kernel_is_reported_and_nobody_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: torch.Tensor, *given: Any) -> torch.Tensor:
        y = ops.conv2d(x, *given)
        y[0, 0, 0, 0] += 0.01
        return y

    monkeypatch.setattr(torch_peers, "ops", broken(conv2d=wrong))
    status, results = bench("conv3x3", "--only", "forward")
    (row,) = results["rows"]
    assert (status, row["status"], row["times"]) == (1, "wrong", {})
    assert "wrong result" in row["problem"]
    assert results["summary"][0]["wrong"] == 1
    shown = CliRunner().invoke(app, ["bench", "--quick", "--only", "conv3x3.*forward"]).stdout
    assert "WRONG 4->6 3x3 at 7, forward, any: wrong result" in shown


def test_a_kernel_that_raises_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*given: Any) -> Any:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(torch_peers, "ops", broken(conv2d=raising))
    row = row_of(task("conv3x3", "forward"), SETTINGS, 1, LIMITS)
    assert row["status"] == "failed"
    assert row["problem"] == "failed: ZeroDivisionError: no"
    assert row["times"] == {}


def test_a_peer_that_computes_something_else_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(work: Any, settings: Settings) -> Contestant:
        return Contestant("JAX", lambda: None, lambda: (torch.zeros_like(work.dy),))

    monkeypatch.setitem(table.PEERS, "JAX", nothing)
    row = row_of(task("conv3x3", "forward"), SETTINGS, 1, LIMITS)
    assert row["status"] == "measured"
    assert row["refused"]["JAX"].startswith("wrong result")
    assert "JAX" not in row["times"]


def test_a_missing_peer_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    row = row_of(task("conv3x3", "forward"), SETTINGS, 1, LIMITS)
    assert row["refused"]["ONNX Runtime"] == "not installed: pip install onnxruntime"


@pytest.mark.parametrize("size", [2, 9])
def test_a_limit_is_the_larger_of_both_times(size: int) -> None:
    assert Limits(10.0, 4.0).seconds(20, size) == (
        (2, "compute") if size == 2 else (2.25, "memory")
    )


def test_layers_are_compared_with_keras_on_both_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SAMPLE", 1e-6)
    (only,) = tasks_of("layers", [Norm("tiny", 3, 4, 2)])
    row = row_of(only, SETTINGS, 1, LIMITS)
    assert row["times"].keys() == {"convscape", "Keras on torch", "Keras on JAX"}, row["refused"]


@pytest.mark.parametrize("job", ["training step", "training step in Keras"])
def test_all_training_steps_have_the_losses_of_float64(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first stages of VGG-A: enough to have every kind of layer.
    for module in ("convscape.bench.networks", "convscape.bench.peers.keras_jobs"):
        monkeypatch.setattr(importlib.import_module(module), "VGG_A", (8, 0, 12, 0, 0, 0, 0))
    exact_losses.cache_clear()
    (only,) = tasks_of("networks", [Whole("VGG-A", job, 3)])
    if job.endswith("Keras"):  # its process does not see the change above
        monkeypatch.setattr("convscape.bench.peers.keras_peers._elsewhere", _left_out)
    row = row_of(only, SETTINGS, 1, LIMITS)
    exact_losses.cache_clear()
    assert row["status"] == "measured", row["problem"]
    peers = {"Keras on torch"} if job.endswith("Keras") else {"torch, NCHW", "torch, channels-last"}
    assert row["times"].keys() == {"convscape"} | peers, row["refused"]


def _left_out(*_: Any) -> Contestant:
    raise Unable("not here")


def _small_network() -> nn.Module:
    unit = networks._unit(3, 8, 3, 2, 1)
    pools = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1)
    return nn.Sequential(unit, *pools, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def test_a_network_runs_in_every_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.BUILDERS, "small", (_small_network, 16))
    (only,) = tasks_of("networks", [Whole("small", "inference", 2)])
    row = row_of(only, SETTINGS, 1, LIMITS)
    assert row["refused"].keys() == {"torch.compile"}, row["refused"]
    convolution = 8 * 8 * 8 * 27
    assert row["flops"] == 2 * 2 * (convolution + 8 * 5)


def test_ours_runs_on_our_ops() -> None:
    layers = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
    for made in (networks.ours(_small_network()), networks.on_ops(_small_network())):
        found = [type(m).__module__ for m in made.modules() if isinstance(m, layers)]
        assert all(module.startswith("convscape.layers.torch.") for module in found)
        assert len(found) >= 3


def test_quartiles_are_those_of_the_samples() -> None:
    assert measure.summary([4.0, 1.0, 2.0, 3.0]) == Times(2.5, 1.75, 3.25, 4, 1)
    assert measure.summary([7.0], 3) == Times(7.0, 7.0, 7.0, 1, 3)


def test_contestants_take_turns_and_short_calls_are_repeated() -> None:
    order: list[tuple[str, int]] = []

    def contestant(name: str, each: float) -> Contestant:
        def seconds(repeats: int) -> float:
            order.append((name, repeats))
            return each * repeats

        return Contestant(name, lambda: None, tuple, seconds)

    times = interleaved([contestant("a", 0.002), contestant("b", 1.0)], 8)
    warm = [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
    # "a" needs three calls for a sample, and so often 20 ms before it; "b" one.
    turns = {"a": [("a", 3)] * 5, "b": [("b", 1), ("b", 1)]}
    assert order[:4] == warm
    rounds = [order[i : i + 7] for i in range(4, len(order), 7)]
    both = [turns["a"] + turns["b"], turns["b"] + turns["a"]]
    assert len(rounds) == 8
    assert all(round_ in both for round_ in rounds)
    assert all(order_ in rounds for order_ in both), "nobody always follows the same neighbour"
    assert times["a"].median == pytest.approx(0.002)
    assert (times["a"].repeats, times["b"].repeats) == (3, 1)


@pytest.mark.parametrize(
    "got", [[], [torch.zeros(3)], [torch.tensor([1.0, math.nan])]], ids=["none", "shape", "nan"]
)
def test_what_cannot_be_compared_is_infinitely_wrong(got: list[torch.Tensor]) -> None:
    assert error_over_rms(got, [torch.ones(2).double()]) == math.inf


def test_means_are_geometric_and_losses_counted() -> None:
    shared = {"suite": "s", "direction": "forward", "layout": "any"}
    rows = [{**shared, "ratio": r, "status": "measured"} for r in (0.5, 8.0)]
    rows.append({**shared, "ratio": None, "status": "wrong"})
    (entry,) = summary(rows)
    assert entry["mean"] == pytest.approx(2.0)
    numbers = [entry[k] for k in ("rows", "compared", "losses", "wrong", "worst", "best")]
    assert numbers == [3, 2, 1, 1, 0.5, 8.0]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["conv4x4"], "a suite must be one of conv3x3"),
        (["--only", "("], "--only must be a regular expression"),
        (["--only", "nothing-like-this"], "--only must match"),
        (["--threads", "0"], "--threads must be 1 or more"),
        (["--rounds", "0"], "--rounds must be 1 or more"),
        (["--batch", "-1"], "--batch must be 1 or more"),
        (["--plot", "/nowhere/at/all.svg"], "--plot must name a file that can be written"),
        (["--plot", "figure.pdf"], "--plot takes an .svg or a .png file"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    arguments: list[str],
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(*_: Any) -> Any:
        raise AssertionError("nothing may be measured")

    monkeypatch.setattr(session, "measure_limits", measured)
    monkeypatch.setattr(sys, "argv", ["convscape", "bench", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"convscape: error: {rule}")
    assert error.count("\n") == 1


def test_the_time_of_others_is_what_neither_we_nor_idleness_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = os.sysconf("SC_CLK_TCK")
    readings = iter([(10.0, 100, 50), (14.0, 100 + 7 * second, 50 + 5 * second), None])
    monkeypatch.setattr(busy, "_now", lambda: next(readings))
    watch = busy.Watch(busy._now())
    assert watch.others() == 0.5  # two seconds of a core in four
    assert watch.others() is None


def test_rows_beside_busy_neighbours_are_marked(
    monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    monkeypatch.setattr(busy.Watch, "others", lambda self: 99.7)
    arguments = ["bench", "--quick", "conv3x3", "--only", "forward", "--rounds", "1"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert "1 rows are marked busy: other processes kept up to 99.7" in shown


@pytest.mark.usefixtures("tiny")
def test_an_interruption_prints_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(tasks: Any, *given: Any) -> Any:
        yield row_of(tasks[0], SETTINGS, 1, LIMITS)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "rows", interrupted)
    status, results = bench()
    assert status == 130
    assert results["interrupted"] is True
    assert len(results["rows"]) == len(results["summary"]) == 1


@pytest.mark.usefixtures("tiny")
def test_the_chart_has_a_bar_for_every_entry(tmp_path: Path) -> None:
    file = tmp_path / "ratios.svg"
    _, results = bench("pool", "--plot", str(file))
    text = file.read_text()
    for entry in results["summary"]:
        assert f"{entry['suite']}: {entry['direction']}, {entry['layout']}" in text
        assert f"{entry['mean']:.2f}" in text


@pytest.mark.usefixtures("tiny")
def test_the_tables_show_every_row() -> None:
    shown = CliRunner().invoke(app, ["bench", "--quick", "norm", "--rounds", "1"]).stdout
    for line in ("forward, NCHW", "inference, channels-last", "tiny: 5 at 6, batch 3"):
        assert line in shown
    assert "without torch.compile: left out by --quick" in shown
    assert "without ONNX Runtime, OpenVINO (4 of 6 rows): runs inference only" in shown


def test_names_tell_all_tasks_apart() -> None:
    names = [t.name for suite, cases in SUITES.items() for t in tasks_of(suite, cases)]
    assert len(names) - len(set(names)) == 1  # VGG-16's two batches


@pytest.mark.parametrize("name", ["measure", "explain"])
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"convscape.bench.{name}"))
    assert result.failed == 0
    assert result.attempted > 0
