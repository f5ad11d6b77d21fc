"""`convscape draw`: what it writes, what it refuses, and that nothing is overwritten then."""

import builtins
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from convscape.cli import main

Run = Any


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `convscape draw ...` in an empty folder; gives status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convscape", "draw", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_without_a_file_the_svg_goes_to_standard_output(run: Run) -> None:
    code, out, err = run("5", "-k", "3", "-s", "2", "-p", "1")
    assert (code, err) == (0, "")
    assert ET.fromstring(out).tag.endswith("svg")
    assert "Relationship 6" in out
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["5", "-k", "3", "--pool", "max", "-s", "1"], "Max pooling"),
        (["5", "--pool", "avg"], "Average pooling"),
        (["3", "-s", "2", "-p", "1", "--transposed", "spread"], "over the spread input"),
        (["3", "-s", "2", "-p", "1", "--transposed", "scatter", "-a", "1"], "as scattering"),
        (["7", "-d", "2"], "Relationship 15"),
        (["6x9", "-k", "2x3", "--sheet", "--style", "plain"], "12 of 35 windows"),
        (["9x", "-p", "causal"], "p_low"),
        (["6", "-s", "2", "-p", "same", "--dialect", "keras"], ">0,1<"),
        (["5", "--values", "random", "--seed", "3", "--style", "colours"], "w8"),
        (["2", "-k", "1", "--values", "1,2;3,4", "--weights", "-2"], "−8"),
        (["3", "-k", "2", "-c", "2", "--out-channels", "4", "-g", "2"], "channel 3"),
        (["15x", "--field", "k3,k3s2p1,k3d2psame", "--step", "0"], "cell 0 of the last map"),
        (["6x", "-s", "2", "-p", "same/1", "--compare", "keras,pytorch"], "3 of 3 output cells"),
        (["--batch-norm", "--values", "1,10;3,14", "--gamma", "3", "--beta", "1"], "√"),
        (["5", "--theme", "dark", "--title", "a < b"], "a &lt; b"),
    ],
)  # fmt: skip
def test_every_kind_can_be_asked_for(run: Run, arguments: list[str], expected: str) -> None:
    code, out, err = run(*arguments, "-o", "figure.svg")
    assert (code, out, err) == (0, "", "")
    text = Path("figure.svg").read_text()
    ET.fromstring(text)
    assert expected in text


def test_a_still_and_an_animation_in_one_call(run: Run) -> None:
    assert run("4", "-k", "3", "-o", "a.png", "--animate", "b.gif", "--seconds", "0.5")[0] == 0
    assert Image.open("a.png").format == "PNG"
    picture = Image.open("b.gif")
    assert (picture.n_frames, picture.info["duration"]) == (4, 500)  # type: ignore[attr-defined]
    assert run("4", "-k", "3", "--animate", "c.svg")[0] == 0
    assert "@keyframes" in Path("c.svg").read_text()


def test_a_network_is_charted_from_a_factory(run: Run) -> None:
    Path("drawn_net.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.MaxPool2d(2))\n"
    )
    code, _, err = run("--network", "drawn_net:make", "-i", "3x33x33", "-o", "net.svg")
    assert (code, err) == (0, "")
    assert 'data-k="field 5"' in Path("net.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["5", "-o", "a.bmp"], "known: .svg, .png, .pdf, .gif, .mp4"),
        (["5", "-o", "a"], "known: .svg"),
        (["5", "--animate", "a.png"], "known: .svg, .gif, .mp4"),
        (["5", "-o", "none/a.svg"], "make the folder first"),
        (["50", "-o", "a.svg"], "at most 40 cells a side"),
        (["99999999999999999999", "-o", "a.svg"], "at most 40 cells a side"),
        (["5", "-k", "6", "-o", "a.svg"], "must fit the padded input"),
        (["5", "-s", "0", "-o", "a.svg"], "stride must be at least 1"),
        (["5", "-k", "three", "-o", "a.svg"], "whole number"),
        (["5x5x5", "-o", "a.svg"], "one or two axes"),
        (["-o", "a.svg"], "no size"),
        (["5", "--pool", "min", "-o", "a.svg"], "max or avg"),
        (["5", "--pool", "max", "--transposed", "spread", "-o", "a.svg"], "one operation"),
        (["5", "--transposed", "other", "-o", "a.svg"], "known: spread, scatter"),
        (["5", "--style", "nice", "-o", "a.svg"], "known: numbers, colours, plain"),
        (["5", "--theme", "blue", "-o", "a.svg"], "known: auto, light, dark"),
        (["5", "--values", "1,2,x", "-o", "a.svg"], "must be a number"),
        (["5", "--step", "9", "-o", "a.svg"], "9 of 9"),
        (["5", "--field", "k3", "--batch-norm", "-o", "a.svg"], "of one kind"),
        (["5", "--field", "3x3", "-o", "a.svg"], "a layer of a stack is written"),
        (["6x", "-s2", "-p", "same", "--compare", "keras,torch", "-o", "a.svg"], "stride 1 only"),
        (["6", "--compare", "keras,caffe", "-o", "a.svg"], "known dialects"),
        (["6", "-p", "1/2/3", "--compare", "keras,torch", "-o", "a.svg"], "one for each"),
        (["6", "--compare", "keras", "-o", "a.svg"], "2 to 4 dialects"),
        (["--batch-norm", "--epsilon", "x", "-o", "a.svg"], "epsilon"),
        (["--network", "no_such_module:make", "-o", "a.svg"], "must import"),
        (["--batch-norm", "--catalogue", "x"], "of one kind"),
        (["--catalogue", "x", "--formats", "bmp"], "known: svg, gif, png, pdf"),
        (["6", "--seconds", "0", "-o", "a.svg"], "0.02 to 60"),
        (["9x", "--field", "k3", "--sheet", "-o", "a.svg"], "--sheet, which says nothing"),
        (["6", "--compare", "keras,torch", "--step", "1", "-o", "a.svg"], "--step, which says"),
        (["5", "--batch-norm", "-o", "a.svg"], "a size, which says nothing"),
        (["5", "--gamma", "1", "-o", "a.svg"], "--gamma, which says nothing"),
        (["3", "--transposed", "scatter", "--sheet", "-o", "a.svg"], "a sheet shows windows"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_overwrites_nothing(
    run: Run, arguments: list[str], said: str
) -> None:
    Path("a.svg").write_text("before")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert Path("a.svg").read_text() == "before"
    assert [p.name for p in Path.cwd().iterdir()] == ["a.svg"]


def test_when_one_of_two_files_cannot_be_made_neither_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, err = run("4", "-o", "a.svg", "--animate", "b.mp4")
    assert code == 2
    assert "ffmpeg" in err
    assert not list(Path.cwd().iterdir())


def test_a_missing_package_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    code, _, err = run("4", "-o", "a.png")
    assert code == 2
    assert "convscape[figures]" in err
    assert run("4", "-o", "a.svg")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_said(run: Run) -> None:
    Path("locked").mkdir(mode=0o500)
    code, _, err = run("4", "-o", "locked/a.svg")
    assert code == 2
    assert "Permission denied" in err


def test_svg_needs_the_standard_library_alone(run: Run) -> None:
    import subprocess

    code = (
        "import sys\n"
        "from convscape import Window\n"
        "from convscape.figures import draw\n"
        "draw(Window(3), 5).playing_svg()\n"
        "print([m for m in ('numpy', 'PIL', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
