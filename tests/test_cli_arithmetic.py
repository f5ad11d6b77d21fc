"""convscape size, solve and translate: what they print, and how they refuse."""

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from convscape.arithmetic import InputError
from convscape.cli.app import app
from convscape.cli.quick import QUICK, run

Capture = pytest.CaptureFixture[str]


def ask(line: str, capsys: Capture) -> str:
    command, *arguments = line.split()
    run(command, arguments)
    return capsys.readouterr().out


def asked(line: str, capsys: Capture) -> Any:
    return json.loads(ask(line + " --json", capsys))


def test_size_prints_the_little_table_with_relationship_and_formula(capsys: Capture) -> None:
    assert ask("size 5 -k 3 -s 2 -p 1", capsys).splitlines() == [
        " i   k   s   p   o",
        " 5   3   2   1   3",
        "",
        "relationship 6: any padding, any strides",
        "  o = floor((i + 2p - k) / s) + 1",
        "    = floor((5 + 2*1 - 3) / 2) + 1 = 3",
        "  low end: 1 padding cell read",
        "  high end: 1 padding cell read",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5 -k 3 -s 2 -p 1", {"output": [3], "padding": [[1, 1]], "relationship": 6}),
        ("4 -k 3", {"output": [2], "padding": [[0, 0]], "relationship": 1}),
        (
            "224x224 -k 7 -s 2 -p same --dialect keras",
            {"output": [112, 112], "padding": [[2, 3], [2, 3]], "relationship": None},
        ),
        (
            "112x112 -k 3 -s 2 -p 1 --pool max --ceil-mode",
            {"output": [57, 57], "padding": [[1, 1]] * 2, "operation": "max_pool"},
        ),
        ("6 -k 2 --pool avg", {"output": [3], "stride": [2], "relationship": 7}),
        ("6 -k 2 --pool avg --dialect onnx", {"output": [5], "stride": [1]}),
        ("7x7 -k 4 -s 2 -p 1 -t", {"output": [14, 14], "relationship": 13}),
        ("3 -k 3 -s 2 -p 1 -a 1 -t", {"output": [6], "output_padding": [1], "relationship": 14}),
        ("3 -k 1 -s 2 -t -p valid --dialect keras", {"output": [6]}),
        ("3 -k 3 -s 2 -t --output-size 6 --dialect onnx", {"output": [6]}),
        ("5x8 -k 3 -d 2 -p 0,1x1", {"output": [2, 6], "padding": [[0, 1], [1, 1]]}),
        ("9x9x9 -k 3x2x1 -s 2x1x1", {"output": [4, 8, 9], "kernel": [3, 2, 1]}),
        ("10 -k 3 -p causal", {"output": [10], "padding": [[2, 0]]}),
        (
            "56x56 -k 3 -p 1 -c 64 -o 128",
            {"output": [56, 56], "parameters": 73856, "macs": 231211008},
        ),
        ("56x56 -k 3 -p 1 -c 64 -g 64 --no-bias", {"parameters": 576, "macs": 1806336}),
        ("7x7 -k 4 -s 2 -p 1 -t -c 4 -o 8", {"macs": 49 * 16 * 32, "parameters": 520}),
    ],
)
def test_size_json(line: str, expected: dict[str, Any], capsys: Capture) -> None:
    answer = asked(f"size {line}", capsys)
    assert {key: answer[key] for key in expected} == expected
    assert len(answer["axes"]) == len(answer["output"])


def test_size_explains_axes_that_differ_one_by_one(capsys: Capture) -> None:
    text = ask("size 5x8 -k 3 -d 2 -p 0,1x1", capsys)
    assert "axis 0, general" in text
    assert "axis 1, relationship 15" in text
    assert "on each of 2 axes" in ask("size 8x8 -k 3", capsys)


def test_solve_lists_windows_smallest_first(capsys: Capture) -> None:
    assert ask("solve 5 3 -k 3", capsys).splitlines() == [
        "k=3 s=1 p=0",
        "k=3 s=2 p=1",
        "k=3 s=3 p=2",
    ]
    answer = asked("solve 5 3 -k 3", capsys)
    assert [(w["kernel"], w["stride"], w["dilation"], w["padding"]) for w in answer["windows"]] == [
        (3, 1, 1, [0, 0]),
        (3, 2, 1, [1, 1]),
        (3, 3, 1, [2, 2]),
    ]
    assert asked("solve 5 9 -k 3", capsys)["windows"] == []
    assert "no window does it" in ask("solve 5 9 -k 3", capsys)
    assert "more (--limit)" in ask("solve 64 64 --asymmetric --limit 2", capsys)


def test_solve_answers_for_chains(capsys: Capture) -> None:
    answer = asked("solve 224 7 --layers 3 -k 3,5,7 --limit 4", capsys)
    assert len(answer["chains"]) == 4
    assert answer["windows"] == answer["chains"][0]["windows"]
    for chain in answer["chains"]:
        assert (chain["sizes"][0], chain["sizes"][-1]) == (224, 7)
        assert len(chain["windows"]) == 3
    text = ask("solve 224 7 --layers 5 -k 3 -s 2 --identical", capsys)
    assert text.startswith("224 -> [k=3 s=2 p=1] 112 -> ")


def test_translate_prints_code_that_can_be_pasted_whole(capsys: Capture) -> None:
    text = ask("translate 8x8 -k 3 -s 2 -p same --from keras --to torch -c 3 -o 4", capsys)
    run_it = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False
    )
    assert run_it.stdout.strip() == "(4, 4)", run_it.stderr


def test_translate_to_all_says_what_refuses(capsys: Capture) -> None:
    answer = asked("translate 9 -k 3 -s 2 -d 2 -p 2 --from torch --to all", capsys)
    by_name = {t["to"]: t for t in answer["translations"]}
    assert set(by_name) == {"keras", "onnx", "jax"}
    assert "strides above 1 together with dilation" in by_name["keras"]["refused"]
    assert by_name["onnx"]["exact"]
    assert by_name["onnx"]["output"] == answer["output"] == [5]
    assert "helper.make_node" in by_name["onnx"]["code"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("size 5 -k 0", "kernel must be at least 1"),
        ("size 5 -k 3 -s 0", "stride must be at least 1"),
        ("size 5 -k 9", "the window must fit the padded input"),
        ("size 0 -k 1", "the input must not be empty"),
        ("size five -k 3", "size must be a whole number"),
        ("size 5 -k 3 -p 1,2,3", "one number or low,high"),
        ("size 5 -k 3 -p sane", "known names: valid, same"),
        ("size 5x5 -k 3x3x3", "one value, or one an axis"),
        ("size 5 -k 3 --pool median", "pooling is max or avg"),
        ("size 5 -k 3 --pool max -t", "a layer is one operation"),
        ("size 5 -k 3 -t -p same", "frameworks place `same`"),
        ("size 5 -k 3 --dialect caffe", "known dialects: keras, torch, onnx, jax"),
        ("size 5 -k 3 -c 4 -g 3", "groups must divide in_channels"),
        ("size 5", "the following arguments are required: -k/--kernel"),
        ("size 5 -k 3 --frob", "unrecognized arguments: --frob"),
        ("solve 5", "the following arguments are required: output"),
        ("solve 5 0", "sizes and counts must be at least 1"),
        ("solve 5x5 3", "the same number of axes"),
        ("solve 5x5 3x3 --layers 2", "a chain is solved for one axis"),
        ("solve 5 3 --limit 0", "limit must be at least 1"),
        ("translate 8 -k 3 --from torch --to caffe", "known dialects"),
        ("translate 8 -k 9 --from torch --to jax", "the window must fit"),
        ("translate 9 -k 3 -s 2 -d 2 --from torch --to keras", "strides above 1 together"),
    ],
)
def test_bad_input_is_one_error(line: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run(line.split()[0], line.split()[1:])


def test_bad_input_is_one_line_and_exit_status_2() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "convscape", "size", "5", "-k", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout == ""
    assert (
        result.stderr == "convscape: error: kernel must be at least 1; got kernel=0; use kernel=1\n"
    )


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    code = (
        "import os, sys; sys.argv = 'convscape size 5 -k 3'.split()\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "import convscape.cli; convscape.cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.parametrize("command", ["size", "solve", "translate"])
def test_every_example_in_the_help_runs(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        run(command, ["--help"])
    assert not end.value.code
    lines = capsys.readouterr().out.split("examples:\n")[1].splitlines()
    assert len(lines) >= 4
    for line in lines:
        name, *words = line.split()
        assert name == "convscape"
        assert ask(" ".join(words), capsys)


def test_the_table_of_commands_lists_and_runs_them_too() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["--help"])
    assert all(name in shown.output for name in QUICK)
    result = runner.invoke(app, ["size", "5", "-k", "3", "-s", "2", "-p", "1"])
    assert result.exit_code == 0
    assert "relationship 6" in result.output
