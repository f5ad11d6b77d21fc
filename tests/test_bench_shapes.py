"""The tables of `convscape bench` are what tracing the networks finds, no more and no less."""

from functools import cache

import keras
import pytest
import torch

from convscape.arithmetic.network import Network, Node
from convscape.bench import networks, shapes
from convscape.bench.shapes import Conv
from convscape.readers import trace

PUBLISHED = {
    "VGG-16": 138_357_544,
    "ResNet-50": 25_557_032,
    "Inception-v3": 23_834_568,
    "MobileNet-v2": 3_504_872,
}

Row = tuple[int, int, int, tuple[int, int], int, tuple[int, int], int]


@cache
def traced(name: str) -> Network:
    build, side = networks.BUILDERS[name]
    with torch.device("meta"):
        return trace(build().eval(), (3, side, side))


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = networks.BUILDERS[name][0]()
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
    assert traced(name).totals.params == PUBLISHED[name]


def found(name: str) -> set[Row]:
    """Every distinct convolution of a network, as our own tracer reads it."""
    network = traced(name)
    return {row_of(network, node) for node in network.layers if node.op == "conv"}


def row_of(network: Network, node: Node) -> Row:
    g = node.geometry
    assert g is not None
    h, w = g.windows
    assert all(low == high for low, high in (h.padding, w.padding))
    shape = network.nodes[node.inputs[0]].shape
    assert shape is not None
    padding = (h.padding[0], w.padding[0])
    return (g.in_channels, g.out_channels, shape[-1], (h.kernel, w.kernel), h.stride, padding,
            g.groups)  # fmt: skip


def listed(cases: tuple[Conv, ...], source: str) -> set[Row]:
    rows = [
        (c.c, c.k, c.side, c.kernel, c.stride, c.padding, c.groups)
        for c in cases
        if c.source == source
    ]
    assert len(rows) == len(set(rows)), "a table names each layer once"
    return set(rows)


@pytest.mark.parametrize("source", ["VGG-16", "ResNet-50", "Inception-v3"])
def test_conv3x3_is_every_dense_3x3_of_stride_1(source: str) -> None:
    dense = {r for r in found(source) if r[3] == (3, 3) and r[4] == 1}
    assert listed(shapes.CONV3X3, source) == dense


def test_conv1x1_is_every_1x1_of_resnet_50() -> None:
    assert listed(shapes.CONV1X1, "ResNet-50") == {r for r in found("ResNet-50") if r[3] == (1, 1)}


def test_inception_and_mobilenet_are_what_no_other_table_has() -> None:
    others = (*shapes.CONV3X3, *shapes.CONV1X1, *shapes.STRIDED, *shapes.DEPTHWISE)
    for cases, source in (
        (shapes.INCEPTION, "Inception-v3"),
        (shapes.MOBILENET, "MobileNet-v2"),
    ):
        assert listed(cases, source) == found(source) - listed(others, source)


def test_the_first_version_of_resnet_50_strides_its_1x1() -> None:
    with keras.device("meta"):
        network = trace(keras.applications.ResNet50(weights=None))
    ones = set()
    for node in network.layers:
        g = node.geometry
        if node.op != "conv" or g is None or g.kernel != (1, 1) or g.windows[0].stride != 2:
            continue
        shape = network.nodes[node.inputs[0]].shape
        assert shape is not None
        ones.add((g.in_channels, g.out_channels, shape[1], (1, 1), 2, (0, 0), 1))
    both = listed(shapes.CONV1X1, "ResNet-50 v1") | listed(shapes.CONV1X1, "ResNet-50")
    assert ones == {r for r in both if r[4] == 2}


def test_strided_is_every_dense_window_with_a_stride_and_the_5x5() -> None:
    for source in ("ResNet-50", "Inception-v3", "MobileNet-v2"):
        wanted = {
            r for r in found(source)
            if r[6] == 1 and r[3] != (1, 1) and (r[4] > 1 or r[3] == (5, 5))
        }  # fmt: skip
        assert listed(shapes.STRIDED, source) == wanted


def test_depthwise_is_every_depthwise_of_mobilenet_v2() -> None:
    wanted = {r for r in found("MobileNet-v2") if r[6] == r[0] > 1}
    assert listed(shapes.DEPTHWISE, "MobileNet-v2") == wanted


@pytest.mark.parametrize("source", ["VGG-16", "ResNet-50", "Inception-v3"])
def test_pool_is_every_pooling_window(source: str) -> None:
    network = traced(source)
    wanted = set()
    for node in network.layers:
        if node.op in ("max_pool", "avg_pool"):
            assert node.geometry is not None
            w = node.geometry.windows[0]
            shape = network.nodes[node.inputs[0]].shape
            assert shape is not None
            wanted.add((node.op, shape[1], shape[-1], w.kernel, w.stride, w.padding[0]))
    rows = [p for p in shapes.POOL if p.source == source]
    assert {(p.op, p.c, p.side, p.kernel, p.stride, p.padding) for p in rows} == wanted
    assert len(rows) == len(wanted)


@pytest.mark.parametrize("source", ["VGG-A", "ResNet-50"])
def test_norm_is_every_batch_normalization(source: str) -> None:
    network = traced(source)
    wanted = {n.shape[1:3] for n in network.layers if n.op == "batch_norm" and n.shape}
    assert {(n.c, n.side) for n in shapes.NORM if n.source == source} == wanted


def test_quick_names_cases_of_every_suite() -> None:
    assert shapes.QUICK.keys() == shapes.SUITES.keys()
    for name, positions in shapes.QUICK.items():
        assert positions
        assert max(positions) < len(shapes.SUITES[name])
