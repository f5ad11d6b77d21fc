"""Findings: each rule where it holds and where it does not, and the page that documents them."""

import re
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.builder import Builder
from convscape.arithmetic.findings import RULES, Finding, check, compare, counted
from convscape.arithmetic.findings.windows import _meets
from convscape.readers import trace

L = keras.layers
PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
SECTIONS = dict(re.findall(r"^## (CS\d{3} \S+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S))


def found(model: Any, shape: tuple[int, ...] | None, *codes: str) -> list[Finding]:
    return check(trace(model, shape), select=codes)


def sequence(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


def test_the_page_documents_the_table() -> None:
    assert list(SECTIONS) == [f"{rule.code} {rule.name}" for rule in RULES]
    for text in SECTIONS.values():
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.M)
        assert parts == ["What", "Why", "Example", "Fix"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_the_example_on_the_page_has_the_finding(rule: Any) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS[f"{rule.code} {rule.name}"], re.S)
    made: dict[str, Any] = {}
    exec(code, made)
    network = trace(made["model"], made["shape"])
    if "original" in made:
        findings = compare(network, trace(made["original"]))
    else:
        findings = check(network)
    (finding,) = [f for f in findings if f.code == rule.code]
    assert finding.name == rule.name
    assert finding.message
    assert finding.fix


CLEAN = [
    ("CS101", nn.MaxPool2d(2), (1, 8, 8)),
    ("CS101", nn.MaxPool2d(2, ceil_mode=True), (1, 7, 7)),
    ("CS101", nn.Conv2d(1, 1, 7, 2, 3), (1, 224, 224)),
    ("CS101", nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)), (1, 112, 112)),
    ("CS101", nn.ConvTranspose2d(1, 1, 3, 2, 1), (1, 8, 8)),
    ("CS102", nn.Conv2d(1, 1, 3, 2, 1), (1, 8, 8)),
    ("CS102", nn.Conv2d(1, 1, 2, 2), (1, 8, 8)),
    ("CS103", nn.Conv2d(1, 1, 3, 2, 1), (1, 8, 8)),
    ("CS103", sequence((9, 9, 1), L.Conv2D(1, 3, 2, "same")), None),
    ("CS103", sequence((8, 8, 1), L.Conv2D(1, 4, padding="same")), None),
    ("CS103", sequence((8, 8, 1), L.MaxPooling2D(2, padding="same")), None),
    ("CS103", sequence((8, 8, 1), L.Conv2DTranspose(1, 4, 2, "same")), None),
    ("CS104", nn.ConvTranspose2d(1, 1, 4, 2, 1), (1, 8, 8)),
    ("CS104", nn.ConvTranspose2d(1, 1, 3, 1, 1), (1, 8, 8)),
    ("CS105", nn.Conv2d(1, 1, 3, padding=1), (1, 2, 2)),
    ("CS105", nn.MaxPool2d(3, 1, 1), (1, 1, 1)),
    ("CS106", nn.Conv2d(1, 1, 3, padding=1), (1, 8, 8)),
    ("CS106", sequence((8, 1), L.Conv1D(1, 2, padding="causal")), None),
    ("CS106", nn.MaxPool2d(2), (1, 8, 8)),
    ("CS201", nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3)), (1, 32, 32)),
    ("CS201", nn.Sequential(*(nn.Conv2d(1, 1, 3, dilation=d) for d in (1, 2, 5))), (1, 32, 32)),
    ("CS202", nn.Conv2d(1, 1, 9, padding=4), (1, 8, 8)),
    ("CS202", nn.Conv2d(1, 1, 8), (1, 8, 8)),
    ("CS203", nn.Conv2d(1, 1, 9, padding=4), (1, 8, 8)),
    ("CS301", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)), (1, 8, 8)),
    ("CS301", nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)), (1, 8, 8)),
    ("CS301", sequence((8, 8, 1), L.Conv2D(2, 3, activation="relu"), L.BatchNormalization()), None),
    ("CS302", nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, 1, 1)), (1, 8, 8)),
    ("CS302", nn.Sequential(nn.Dropout(0.0), nn.BatchNorm2d(1)), (1, 8, 8)),
    ("CS302", nn.Sequential(nn.Dropout(0.5), nn.GroupNorm(1, 1), nn.BatchNorm2d(1)), (1, 8, 8)),
    ("CS303", nn.BatchNorm2d(4), (4, 1, 2)),
    ("CS303", nn.BatchNorm1d(4), (4,)),
    ("CS304", nn.BatchNorm2d(1, momentum=0.01), (1, 8, 8)),
    ("CS304", nn.BatchNorm2d(1, momentum=None), (1, 8, 8)),
    ("CS304", sequence((8, 8, 1), L.BatchNormalization(momentum=0.9)), None),
]


@pytest.mark.parametrize(("code", "model", "shape"), CLEAN)
def test_what_is_in_order_is_not_found(code: str, model: Any, shape: Any) -> None:
    assert found(model, shape, code) == []


@pytest.mark.parametrize(
    ("code", "model", "shape", "numbers"),
    [
        ("CS101", nn.Conv2d(1, 1, 3, 2), (1, 8, 9), ["cell 7 of 8", "pad 1 more", "feed 7"]),
        ("CS101", nn.MaxPool2d(3), (1, 11, 9), ["cells 9, 10 of 11"]),
        ("CS102", nn.Conv2d(1, 1, 1, 2), (1, 8, 8), ["4 of 8"]),
        ("CS102", nn.Conv2d(1, 1, 2, 4, dilation=2), (1, 7, 7), ["of 7"]),
        ("CS103", sequence((224, 224, 3), L.Conv2D(1, 7, 2, "same")), None, ["(2, 3)", "(3, 3)"]),
        ("CS103", sequence((8, 8, 3), L.MaxPooling2D(3, 2, "same")), None, ["(0, 1)", "(1, 1)"]),
        ("CS103", sequence((8, 8, 3), L.Conv2DTranspose(1, 3, 2, "same")), None, ["(0, 1)"]),
        ("CS104", nn.ConvTranspose1d(1, 1, 5, 2), (1, 8), ["2 or 3", "kernel 6"]),
        ("CS104", nn.ConvTranspose1d(1, 1, 2, 3), (1, 8), ["0 or 1", "kernel 3"]),
        ("CS104", nn.ConvTranspose1d(1, 1, 4, 2, dilation=2), (1, 8), ["0 or 4"]),
        ("CS105", nn.Conv2d(1, 1, 3, padding=1), (1, 1, 1), ["8 of 9", "1x1"]),
        ("CS105", nn.Conv2d(1, 1, 3, padding=6, dilation=6), (1, 4, 9), ["6 of 9"]),
        ("CS106", sequence((8, 1), L.Conv1D(1, 4, padding="same")), None, ["(1, 2)", "later"]),
        ("CS201", nn.Sequential(*(nn.Conv1d(1, 1, 3, dilation=2) for _ in range(3))), (1, 40),
         ["6 of 13"]),
        ("CS202", nn.Conv2d(3, 2, (3, 5)), (3, 64, 5), ["3 of 64"]),
        ("CS303", nn.BatchNorm2d(4), (4, 1, 1), ["1 value"]),
        ("CS304", sequence((8, 8, 1), L.BatchNormalization(momentum=0.1)), None, ["momentum=0.9"]),
    ],
)  # fmt: skip
def test_a_finding_names_the_numbers(code: str, model: Any, shape: Any, numbers: list[str]) -> None:
    (finding,) = found(model, shape, code)
    for number in numbers:
        assert number in finding.message + finding.fix, finding


def test_the_field_of_a_stack_is_compared_with_the_input() -> None:
    stack = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(20)))
    (finding,) = found(stack, (1, 8, 10), "CS203")
    assert "41 for an input of 8" in finding.message
    assert "from 4 on" in finding.message  # 3, 5, 7, 9, 11: the fifth covers 10


def test_attention_among_tokens_is_no_small_field() -> None:
    class Tokens(nn.Module):
        def __init__(self, attend: bool) -> None:
            super().__init__()
            self.patch, self.attend = nn.Conv2d(3, 8, 4, stride=4), attend

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            t = self.patch(x).flatten(2).transpose(1, 2)
            if self.attend:
                t = t + nn.functional.scaled_dot_product_attention(t, t, t)
            out: torch.Tensor = t.mean(1)
            return out

    assert found(Tokens(True), (3, 16, 16), "CS202") == []
    (finding,) = found(Tokens(False), (3, 16, 16), "CS202")
    assert "4 of 16" in finding.message


def test_only_the_last_layer_of_a_gridded_stack_is_named() -> None:
    stack = nn.Sequential(*(nn.Conv1d(1, 1, 3, dilation=4) for _ in range(4)), nn.Conv1d(1, 1, 3))
    (finding,) = found(stack, (1, 64), "CS201")
    assert finding.layer == "3"


def test_branches_are_compared_by_their_centres() -> None:
    class Net(nn.Module):
        def __init__(self, kernel: int, padding: int) -> None:
            super().__init__()
            self.a = nn.Conv2d(1, 1, 3, stride=2, padding=1)
            self.b = nn.Conv2d(1, 1, kernel, stride=2, padding=padding)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.a(x) + self.b(x)
            return out

    assert found(Net(1, 0), (1, 8, 8), "CS204") == []
    (finding,) = found(Net(2, 0), (1, 8, 8), "CS204")
    assert "1/2 input cells" in finding.message


def test_branches_of_different_paces_are_found() -> None:
    x = keras.Input((8, 1))
    y = L.Concatenate()([L.Conv1D(1, 2, 2)(x), L.Cropping1D(2)(x)])
    (finding,) = check(trace(keras.Model(x, y)), select=["CS204"])
    assert "paces 2 and 1" in finding.message


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.builds(Window, kernel=st.integers(1, 5), stride=st.integers(1, 4),
              dilation=st.integers(1, 3), padding=st.tuples(st.integers(0, 6), st.integers(0, 6))),
    st.integers(1, 12),
)  # fmt: skip
def test_cells_found_unread_are_those_no_window_reads(window: Window, n: int) -> None:
    m = window.output(n)
    if m == 0:
        return
    b = Builder("net")
    y = b.conv("c", b.input("x", (1, 1, n)), (window,), axes=(2,), channel_axis=1, out_channels=1)
    network = b.network([y])
    codes = {f.code for f in check(network, select=["CS101", "CS102"])}
    assert bool(codes) == bool(window.unread(n))
    met = {k for o in range(m) for k, cell in enumerate(window.taps(o, n)) if cell is not None}
    assert met == {k for k in range(window.kernel) if _meets(window, k, n, m)}
    assert bool(check(network, select=["CS105"])) == (len(met) < window.kernel)


def test_a_ported_pair_is_compared_by_meaning() -> None:
    ours = nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.01))
    keras_net = sequence((8, 8, 4), L.BatchNormalization())
    assert compare(trace(ours, (4, 8, 8)), trace(keras_net)) == []
    plain = trace(nn.Sequential(nn.BatchNorm2d(4)), (4, 8, 8))
    (finding,) = compare(plain, trace(keras_net))
    assert "1e-05 against 0.001" in finding.message
    assert "0.1 of each batch" in finding.message
    assert finding.fix == "set epsilon 0.001 and momentum 0.01"
    (back,) = compare(trace(keras_net), plain)
    assert back.fix == "set epsilon 1e-05 and momentum 0.9"
    with pytest.raises(InputError, match="as many"):
        compare(plain, trace(nn.Conv2d(1, 1, 1), (1, 8, 8)))
    assert compare(plain, trace(keras_net), ignore=["CS3"]) == []


def test_codes_are_selected_and_ignored_by_their_beginning() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1, 2), nn.BatchNorm2d(2))
    codes = {f.code for f in found(model, (1, 8, 8))}
    assert codes == {"CS102", "CS202", "CS301"}
    assert {f.code for f in found(model, (1, 8, 8), "CS1", "CS301")} == {"CS102", "CS301"}
    network = trace(model, (1, 8, 8))
    assert {f.code for f in check(network, ignore=["CS1", "CS301"])} == {"CS202"}
    for codes_ in (["CS9"], ["XX"], [""]):
        with pytest.raises(InputError, match="CS101"):
            check(network, select=codes_)
    assert counted(check(network, select=["CS3"])) == "1 finding: CS301 1"
