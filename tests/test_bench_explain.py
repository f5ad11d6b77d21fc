"""`convscape bench explain`: the table of algorithms for one setting."""

import json
from typing import Any

import pytest

from convscape import Geometry
from convscape.arithmetic import InputError
from convscape.cli.quick import run
from convscape.kernels import Problem, explain

Capture = pytest.CaptureFixture[str]


def asked(line: str, capsys: Capture) -> Any:
    run("bench_explain", [*line.split(), "--json"])
    return json.loads(capsys.readouterr().out)


def test_it_says_what_the_kernels_say(capsys: Capture) -> None:
    g = Geometry.of((12, 10), (3, 1), 1, ((1, 1), (0, 0)), in_channels=4, out_channels=6)
    answer = asked("12x10 -k 3x1 -p 1x0 -c 4 -o 6 --batch 2", capsys)
    wanted = [
        (d, v.algorithm.name, v.cost, v.workspace, v.refusal, v.chosen)
        for d in ("forward", "input_gradient", "weight_gradient")
        for v in explain(Problem("convolution", (2, 4, 12, 10), geometry=g, direction=d))
    ]
    assert [tuple(row.values()) for row in answer["algorithms"]] == wanted
    assert answer["output"] == [12, 10]


@pytest.mark.parametrize(
    "line",
    [
        "9x9 -k 3 -p 1 -c 4 -o 20 --batch 2",
        "9x8 -k 3 -s 2 -p same --dialect keras -c 6 -g 6",
        "9x9 -k 3 -s 2 -p 1 -c 5 --pool max --ceil-mode",
        "9x9 -k 3 -s 2 -p 1 -c 5 --pool avg --dtype float64",
    ],
)
def test_measured_rows_have_a_time_and_a_small_error(line: str, capsys: Capture) -> None:
    answer = asked(line + " --measure --rounds 2 --threads 1", capsys)
    for row in answer["algorithms"]:
        if row["refusal"] is not None:
            assert "median" not in row
        elif row["algorithm"] == "reference":
            assert row["problem"] == "Python loops: not timed"
        else:
            assert row["error"] < 1e-5
            assert 0 < row["low"] <= row["median"] <= row["high"]


def test_the_screen_shows_the_choice_and_the_refusals(capsys: Capture) -> None:
    run("bench_explain", ["56x56", "-k", "3", "-p", "1", "-c", "64", "-o", "128", "-n", "4"])
    shown = capsys.readouterr().out
    assert "->  winograd" in shown
    assert "refuses: has one input and one output channel a group" in shown


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("7x7 -k 4 -t -c 4", "explain takes a convolution or a pooling"),
        ("7x7 -k 9 -c 4", "window must fit"),
        ("7x7 -k 3 -c 4 --batch 0", "--batch must be 1 or more"),
        ("7 -k 3 -c 4 --measure", "--measure takes float32 or float64 on two axes"),
        ("7x7 -k 3 -c 4 --dtype float16 --measure", "--measure takes float32"),
    ],
)
def test_bad_input_is_refused(line: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run("bench_explain", line.split())
