"""The table of docs/networks.md says what trace and check say today."""

import re
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
import transformers

from convscape.arithmetic.findings import check, counted
from convscape.arithmetic.summary import field_text
from convscape.readers import trace

PAGE = Path(__file__).parent.parent / "docs" / "networks.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\| \w+ \| \d+ \|.*$", PAGE.read_text(), re.M)
]


def model_of(name: str) -> tuple[Any, tuple[int, ...] | None]:
    if hasattr(transformers, name):
        maker = getattr(transformers, name)
        with torch.device("meta"):
            return maker(maker.config_class()), (3, 224, 224)
    with keras.device("meta"):
        return getattr(keras.applications, name)(weights=None), None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_page_says_what_is_measured(row: list[str]) -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("weights without storage need the torch backend")
    network = trace(*model_of(row[0]))
    maps = [n for n in network.layers if len(network.shape(n) or ()) == 3 and network.jump(n)[0]]
    totals = network.totals
    assert row[1:] == [
        str(totals.layers),
        f"{totals.params:,}",
        f"{totals.macs:,}",
        field_text(network, maps[-1]),
        str(network.jump(maps[-1])[0]),
        counted(check(network)),
    ]


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNet"])
def test_momenta_that_the_page_names_are_found(name: str) -> None:
    model, shape = model_of(f"{name}ForImageClassification")
    wrong = [m.momentum for m in model.modules()
             if isinstance(m, torch.nn.BatchNorm2d) and (m.momentum or 0) > 0.5]  # fmt: skip
    findings = check(trace(model, shape), select=["CS304"])
    assert len(findings) == len(wrong)
    for finding, momentum in zip(findings, wrong, strict=True):
        assert f"momentum={momentum:g} keeps" in finding.message


def test_the_page_has_all_the_networks() -> None:
    assert len(ROWS) == 7
    assert len({row[0] for row in ROWS}) == 7
