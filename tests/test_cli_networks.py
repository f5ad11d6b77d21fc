"""The commands trace and check: what they print, and their exit statuses."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convscape
from convscape import cli
from convscape.arithmetic import InputError
from convscape.readers.targets import find, parse_settings, parse_shape

SMALL = """
from torch import nn
import torch

def make(width=4, bias=True):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2))

class Odd(nn.Module):
    def forward(self, x):
        return x.relu().cumsum(-1)

plain = nn.Conv2d(3, 2, 9)
number = 3

def fails():
    raise RuntimeError("first line\\nsecond line")
"""


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs the command line in a folder that holds a module of models."""
    (tmp_path / "smallnets.py").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "smallnets", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convscape", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_trace_prints_a_table_and_totals(command: Any) -> None:
    status, out, err = command("trace", "smallnets:make", "--with", "width=5", "--input", "3x8x9")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:8]] == ["0", "1", "2", "3", "4", "5"]
    assert lines[2].split()[1:] == ["conv", "5x8x9", "140", "9,720", "3", "1"]
    assert lines[5].split()[-1] == "all"
    assert "6 layers, 162 parameters, 9,730 MACs" in out


def test_trace_json_has_what_its_page_says(command: Any) -> None:
    _, out, _ = command("trace", "smallnets:make", "-i", "3,8,9", "--json", "--batch", "2")
    told = json.loads(out)
    page = (Path(__file__).parent.parent / "docs" / "cli-json-networks.md").read_text()
    keys = {*told, *told["layers"][0], *told["totals"], *told["layers"][0]["windows"][0]}
    assert [key for key in keys if f"`{key}`" not in page] == []
    conv = told["layers"][0]
    assert (conv["name"], conv["op"], conv["output_shape"]) == ("0", "conv", [4, 8, 9])
    assert (conv["params"], conv["macs"]) == (112, 2 * 8 * 9 * 27 * 4)
    assert (conv["receptive_field"], conv["jump"]) == ([3, 3], [1, 1])
    assert conv["windows"][0]["padding"] == [1, 1]
    assert told["layers"][3]["receptive_field"] == [8, 9]
    assert told["layers"][3]["jump"] == [None, None]
    assert told["totals"]["params"] == 112 + 8 + 10
    assert told["totals"]["macs"] == sum(layer["macs"] for layer in told["layers"])
    assert told["totals"]["unknown"] == 0


def test_trace_of_what_is_partly_known_names_the_rest(command: Any) -> None:
    status, out, _ = command("trace", "smallnets:Odd", "--input", "3x8x8")
    assert status == 0
    assert "cumsum ?" in out
    assert "no rule for cumsum" in out


def test_check_exits_1_with_findings_and_0_without(command: Any) -> None:
    status, out, _ = command("check", "smallnets:make", "--input", "3x8x8", "--ignore", "CS2")
    assert status == 1
    assert out.startswith("0: CS301 [bias-before-norm] 1 subtracts")
    assert out.splitlines()[-1].endswith("1 finding: CS301 1")
    status, out, _ = command("check", "smallnets:make", "-i", "3x8x8", "--with", "bias=False",
                             "--ignore", "cs202")  # fmt: skip
    assert (status, out.strip().endswith("no findings")) == (0, True)


def test_check_prints_json_and_annotations(command: Any) -> None:
    arguments = ("check", "smallnets:make", "-i", "3x8x8", "--select", "CS301")
    status, out, _ = command(*arguments, "--format", "json")
    told = json.loads(out)
    assert (status, told["count"]) == (1, 1)
    assert set(told["findings"][0]) == {"code", "name", "layer", "message", "fix"}
    assert command(*arguments, "--json")[1] == out
    _, out, _ = command(*arguments, "--format", "github")
    title, text = out.splitlines()[0].split("::")[1:]
    assert title == "warning title=CS301 bias-before-norm%3A 0"
    assert "Fix: use_bias=False" in text


def test_check_against_an_original(command: Any, tmp_path: Path) -> None:
    status, out, _ = command(
        "check", "smallnets:make", "-i", "3x8x8", "--against", "smallnets:make", "--select", "CS305"
    )
    assert (status, "no findings" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace", "missing.onnx"], "missing.onnx"),
        (["trace", "net.pt"], "import path"),
        (["trace", "nosuchmodule:make"], "nosuchmodule"),
        (["trace", "smallnets:nothing"], "nothing"),
        (["trace", "smallnets:number"], "factory"),
        (["trace", "smallnets:fails"], "first line"),
        (["trace", "smallnets:make", "--with", "depth=3"], "depth"),
        (["trace", "smallnets:make", "--with", "width"], "key=value"),
        (["trace", "smallnets:make"], "--input"),
        (["trace", "smallnets:make", "--input", "3xbig"], "3xbig"),
        (["trace", "smallnets:make", "--input", "0x8x8"], "at least 1"),
        (["trace", "smallnets:make", "--input", "4x8x8"], "channels"),
        (["trace", "smallnets:plain", "--input", "3x8x8"], "fit"),
        (["check", "smallnets:make", "-i", "3x8x8", "--select", "CS777"], "CS777"),
        (["check", "broken.onnx"], "broken.onnx"),
        (["check", "broken.keras"], "broken.keras"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    command: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    for name in ("broken.onnx", "broken.keras"):
        (tmp_path / name).write_bytes(b"\x00broken")
    status, out, err = command(*arguments)
    assert status == 2
    assert out == ""
    assert said in err
    assert err.startswith("convscape: error: ")
    assert err.count("\n") == 1


def test_settings_and_shapes_are_parsed_not_evaluated() -> None:
    text = "__import__('os').system('x')"
    assert parse_settings([f"a={text}", "b=[1, 2]", "c="]) == {"a": text, "b": [1, 2], "c": ""}
    for shape in ("", "x", "3x-1", "1e3", "3x" + "9" * 400):
        with pytest.raises(InputError):
            parse_shape(shape)


def test_a_model_object_is_taken_as_it_is(command: Any) -> None:
    made = find("smallnets:plain")
    assert isinstance(made, nn.Conv2d)
    with pytest.raises(InputError, match="with settings"):
        find("smallnets:plain", {"bias": False})


def test_trace_is_a_public_name_that_loads_nothing_until_called() -> None:
    assert convscape.trace(nn.Conv2d(1, 1, 3), (1, 5, 5)).totals.params == 10
    with pytest.raises(AttributeError, match="nothing"):
        convscape.nothing  # noqa: B018
    assert isinstance(torch.__version__, str)
