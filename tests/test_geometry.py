"""Geometry: shapes, parameters, MACs and bytes, against counting."""

from itertools import product
from math import prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscape.arithmetic import Geometry, InputError, Window
from convscape.arithmetic.geometry import per_axis
from tests.strategies import windows

laws = settings(deadline=None, max_examples=60, derandomize=True)


@laws
@given(
    st.lists(windows(spread=False, largest=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 9), min_size=3, max_size=3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_macs_are_the_multiplications_of_a_dense_correlation(
    axes: list[Window], spatial: list[int], c: int, k: int, groups: int
) -> None:
    g = Geometry(tuple(axes), c * groups, k * groups, groups)
    cells = spatial[: len(axes)]
    assume(all(g.outputs(cells)))
    outputs = g.outputs(cells)
    per_output = prod(g.weight_shape[1:])
    counted = sum(per_output for _ in product(range(k * groups), *map(range, outputs)))
    assert g.macs(cells) == counted
    assert g.parameters(bias=False) == prod(g.weight_shape) == per_output * k * groups
    assert g.parameters() == g.parameters(bias=False) + k * groups


@laws
@given(windows(largest=5), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))
def test_a_transposed_convolution_costs_what_its_forward_costs(
    w: Window, n: int, c: int, k: int
) -> None:
    forward = Window(w.kernel, w.stride, w.dilation, 1, w.padding)
    m = forward.output(n)
    assume(m > 0 and w.stride > 1)
    back = Geometry((forward.adjoint(n),), k, c)
    assert back.macs((m,)) == Geometry((forward,), c, k).macs((n,))


def test_bytes_are_input_weights_and_output() -> None:
    g = Geometry((Window(3),) * 2, 2, 4)
    assert g.bytes((5, 6), itemsize=2, batch=3) == 2 * (3 * (2 * 30 + 4 * 12) + 4 * 2 * 9)


def test_the_first_layer_of_vgg_and_of_resnet() -> None:
    vgg = Geometry.of((224, 224), 3, padding=1, in_channels=3, out_channels=64)
    assert vgg.output_shape((224, 224)) == (64, 224, 224)
    assert vgg.macs((224, 224)) == 224 * 224 * 27 * 64
    resnet = Geometry.of((224, 224), 7, 2, 3, in_channels=3, out_channels=64)
    assert resnet.output_shape((224, 224)) == (64, 112, 112)
    assert resnet.parameters(bias=False) == 9408


def test_one_value_serves_every_axis_and_one_an_axis_is_kept_apart() -> None:
    g = Geometry.of((9, 8, 7), (3, 2, 1), 2, ("same", 1, (0, 2)), (2, 1, 1))
    assert [(w.kernel, w.stride, w.dilation, w.padding) for w in g.windows] == [
        (3, 2, 2, (2, 2)),
        (2, 2, 1, (1, 1)),
        (1, 2, 1, (0, 2)),
    ]
    # As in PyTorch: two numbers on two axes are one an axis, not (low, high).
    assert [w.padding for w in Geometry.of((5, 5), 3, padding=(1, 2)).windows] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"kernel": (3, 3, 3)}, "kernel must be one value, or one an axis"),
        ({"kernel": 3, "padding": (1, 1, 1)}, "padding must be one value, or one an axis"),
        ({"kernel": 3, "stride": 0}, "stride must be at least 1"),
        ({"kernel": 3, "groups": 2}, "groups must divide in_channels"),
        ({"kernel": 3, "in_channels": 2, "groups": 2}, "groups must divide out_channels"),
        ({"kernel": 3, "out_channels": 0}, "out_channels must be at least 1"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, object], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        Geometry.of((5, 5), **arguments)  # type: ignore[arg-type]


def test_a_window_that_does_not_fit_names_its_axis() -> None:
    with pytest.raises(InputError, match="axis 1: extent 5 on 4 cells"):
        Geometry.of((9, 4), 5).output_shape((9, 4))


def test_an_input_of_another_rank_is_refused() -> None:
    g = Geometry.of((5, 5), 3)
    for ask in (g.outputs, g.output_shape, g.macs, g.bytes):
        with pytest.raises(InputError, match="one size an axis"):
            ask((5,))


def test_per_axis_takes_integers_of_other_libraries() -> None:
    numpy = pytest.importorskip("numpy")
    assert per_axis("kernel", numpy.int64(3), 2) == (3, 3)
