"""The sizes and numbers on every slide of the lesson that this project grew from."""

import pytest

from convscape.arithmetic import Geometry, Window, resolve

KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
INPUT = [
    [3, 3, 2, 1, 0],
    [0, 0, 1, 3, 1],
    [3, 1, 2, 2, 3],
    [2, 0, 0, 2, 2],
    [2, 0, 0, 0, 1],
]


@pytest.mark.parametrize(
    ("i", "k", "s", "p", "o"),
    [
        (4, 3, 1, 0, 2),  # relationship 1
        (5, 4, 1, 2, 6),  # 2
        (5, 3, 1, 1, 5),  # 3, half
        (5, 3, 1, 2, 7),  # 4, full
        (5, 3, 2, 0, 2),  # 5
        (5, 3, 2, 1, 3),  # 6, and the second of the first slides
        (5, 3, 1, 0, 3),  # 7, pooling, and the first of them
    ],
)
def test_sizes_on_the_slides(i: int, k: int, s: int, p: int, o: int) -> None:
    w = Window(k, s, padding=(p, p))
    assert w.output(i) == o
    assert i in w.inputs(o)


def taps_2d(g: Geometry, row: int, column: int) -> list[tuple[int, int, int, int]]:
    """(kernel row, kernel column, input row, input column) of each real cell of one window."""
    rows = g.windows[0].taps(row, 5)
    columns = g.windows[1].taps(column, 5)
    return [
        (r, c, y, x)
        for r, y in enumerate(rows)
        for c, x in enumerate(columns)
        if y is not None and x is not None
    ]


@pytest.mark.parametrize(
    ("stride", "padding", "expected"),
    [
        (1, 0, [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        (2, 1, [[6, 17, 3], [8, 17, 13], [6, 4, 4]]),
    ],
)
def test_convolution_on_the_slides(stride: int, padding: int, expected: list[list[int]]) -> None:
    g = Geometry.of((5, 5), 3, stride, padding)
    rows, columns = g.outputs((5, 5))
    assert [
        [
            sum(KERNEL[r][c] * INPUT[y][x] for r, c, y, x in taps_2d(g, row, column))
            for column in range(columns)
        ]
        for row in range(rows)
    ] == expected


def test_pooling_on_the_slides() -> None:
    g = Geometry.of((5, 5), 3)
    cells = [
        [[INPUT[y][x] for _, _, y, x in taps_2d(g, row, column)] for column in range(3)]
        for row in range(3)
    ]
    assert [[max(c) for c in row] for row in cells] == [[3, 3, 3], [3, 3, 3], [3, 2, 3]]
    assert [[round(sum(c) / 9, 1) for c in row] for row in cells] == [
        [1.7, 1.7, 1.7],
        [1.0, 1.2, 1.8],
        [1.1, 0.8, 1.3],
    ]


def test_the_vocabulary_of_padding_on_the_slides() -> None:
    assert resolve("valid", 5, 3).output(5) == 3
    assert resolve("half", 5, 3).output(5) == resolve("same", 5, 3).output(5) == 5
    assert resolve("full", 5, 3).padding == (2, 2)


def test_half_padding_is_rounded_down_not_up_as_a_slide_prints() -> None:
    rounded_up = -(-3 // 2)
    assert Window(3, padding=(rounded_up, rounded_up)).output(5) == 5 + 2
    assert resolve("half", 5, 3).padding == (3 // 2, 3 // 2)


def test_dilation_keeps_the_resolution_that_stride_lowers() -> None:
    dilated, strided = resolve("same", 15, 3, dilation=2), resolve("same", 15, 3, stride=2)
    assert (dilated.extent, dilated.output(15)) == (5, 15)
    assert (strided.extent, strided.output(15)) == (3, 8)
    # Two layers of each see further, but only one of the stacks still has every cell.
    assert dilated.then(Window(3, dilation=2, padding=(2, 2))).output(15) == 15
    assert strided.then(Window(3, 2, padding=(1, 1))).output(15) == 4
