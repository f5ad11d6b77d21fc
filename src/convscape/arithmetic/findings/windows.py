"""Findings on single windows: what they miss, how they are placed, what their cells meet."""

from collections.abc import Iterator

from convscape.arithmetic.field import back, bits
from convscape.arithmetic.findings.rule import Finding, each_axis, listed, windows_of
from convscape.arithmetic.network import Network, Node
from convscape.arithmetic.window import Window

MAX_CELLS = 1 << 16
"""Longest axis whose cells are looked at one by one."""


def not_understood(network: Network) -> Iterator[Finding]:
    """CS001: the tracer has no rule for a layer, so nothing is checked on it or after it."""
    for node in network.nodes:
        if node.problem:
            yield Finding(
                "CS001", "not-understood", node.name, f"{node.op} was not traced: {node.problem}",
                "replace it, or check its surroundings by hand", node.index,
            )  # fmt: skip


def border(network: Network) -> Iterator[Finding]:
    """CS101: the floor in the output size leaves trailing cells that no window reads."""
    for node, axes in windows_of(network):
        lost, sizes = [], []
        for axis, w, n, m in axes:
            end = n - _padded(network.nodes[node.inputs[0]], axis)
            cells = [c for c in _unread(w, n, m) if _last(w, n, m) < c < end]
            if cells and w.stride <= w.extent:  # else they are skipped, as between windows
                lost.append(f"{listed(cells)} of {n}")
                more = (-w.room(n)) % w.stride
                sizes.append(f"pad {more} more at the end, or feed {w.inputs(m)[0]} cells")
        if lost:
            yield Finding(
                "CS101", "unread-border", node.name,
                f"no window reads {each_axis(lost)}: {_spelled(node)} ends before them",
                each_axis(sizes), node.index,
            )  # fmt: skip


def skipped(network: Network) -> Iterator[Finding]:
    """CS102: windows further apart than they are wide, or whose holes no other window fills."""
    for node, axes in windows_of(network):
        lost = []
        for _, w, n, m in axes:
            cells = _unread(w, n, m)
            if w.stride <= w.extent:
                cells = [c for c in cells if c < _last(w, n, m)]
            if cells:
                lost.append(f"{len(cells)} of {n} cells")
        if lost:
            yield Finding(
                "CS102", "skipped-cells", node.name,
                f"{_spelled(node)} skips {each_axis(lost)} on an axis",
                "use a kernel at least as wide as the stride, or pool before it", node.index,
            )  # fmt: skip


def same_stride(network: Network) -> Iterator[Finding]:
    """CS103: the odd cell of `same` falls where symmetric padding would not put it."""
    for node, axes in windows_of(network):
        named = str(node.settings.get("padding", "")).lower()
        if named not in ("same", "same_upper", "same_lower"):
            continue
        if node.op == "conv_transpose":
            off = [w for _, w, _, _ in axes if not _torch_spells(w)]
            fix = "crop explicitly after a `valid` layer, the same way in both frameworks"
        else:
            off = [w for _, w, _, _ in axes if w.stride > 1 and _placed_otherwise(w)]
            fix = "pad explicitly with the symmetric amount, then use `valid`"
        if off:
            pads = each_axis(str(_written(node, w)) for w in off)
            other = each_axis(str(_symmetric(w)) for w in off)
            yield Finding(
                "CS103", "same-stride", node.name,
                f"`{named}` with {_spelled(node)} {_verb(node)} {pads}; PyTorch's symmetric "
                f"setting {_verb(node)} {other}, so ported weights see a map shifted by a cell",
                fix, node.index,
            )  # fmt: skip


def checkerboard(network: Network) -> Iterator[Finding]:
    """CS104: neighbouring cells of a transposed convolution add up unequal numbers of inputs."""
    for node, axes in windows_of(network):
        uneven, better = [], []
        for _, w, _, _ in axes:
            s = w.input_dilation
            if s == 1 or node.op != "conv_transpose":
                continue
            counts = [
                sum((w.start(o) + k * w.dilation) % s == 0 for k in range(w.kernel))
                for o in range(s)
            ]
            if len(set(counts)) > 1:
                uneven.append(f"{min(counts)} or {max(counts)}")
                better.append(str(-(-w.kernel // s) * s))
        if uneven:
            yield Finding(
                "CS104", "checkerboard", node.name,
                f"{_spelled(node)}: output cells add up {each_axis(uneven)} inputs on an axis, "
                "which shows as a checkerboard",
                f"use kernel {each_axis(better)}, or resize and convolve", node.index,
            )  # fmt: skip


def padding_only(network: Network) -> Iterator[Finding]:
    """CS105: kernel cells that no position of the window brings onto a real cell."""
    for node, axes in windows_of(network):
        if any(w.input_dilation > 1 for _, w, _, _ in axes) or not _weighted(node):
            continue
        total = useful = 1
        for _, w, n, m in axes:
            total *= w.kernel
            useful *= sum(_meets(w, k, n, m) for k in range(w.kernel))
        if useful < total:
            size = "x".join(str(n) for _, _, n, _ in axes)
            yield Finding(
                "CS105", "padding-only-taps", node.name,
                f"{total - useful} of {total} kernel cells only ever see padding on a map of "
                f"{size}",
                "use a smaller kernel or dilation here, or reduce the map less", node.index,
            )  # fmt: skip


def half_cell(network: Network) -> Iterator[Finding]:
    """CS106: an even kernel at stride 1 has no middle, so its map moves by half a cell."""
    for node, axes in windows_of(network):
        off = [
            w for _, w, n, m in axes
            if w.extent % 2 == 0 and w.stride == w.input_dilation == 1 and abs(m - n) <= 1
            and w.padding[0] != w.extent - 1 and any(w.padding)
        ]  # fmt: skip
        if off:
            side = each_axis("later" if w.padding[0] < w.extent // 2 else "earlier" for w in off)
            yield Finding(
                "CS106", "even-kernel-shift", node.name,
                f"kernel {each_axis(str(w.kernel) for w in off)} padded by "
                f"{each_axis(str(w.padding) for w in off)} looks half a cell {side} than its "
                "output stands",
                "use an odd kernel", node.index,
            )  # fmt: skip


def _unread(w: Window, n: int, m: int) -> list[int]:
    if w.input_dilation > 1 or n > MAX_CELLS or m > MAX_CELLS:
        return []
    missed = ((1 << n) - 1) & ~back(w, (1 << m) - 1, n)
    return list(bits(missed)) if missed else []


def _padded(x: Node, axis: int) -> int:
    """Cells at the end of an axis that a padding layer has put there: nobody misses them."""
    link = x.links[0][axis] if x.op == "pad" else None
    return max(link[1].padding[1], 0) if link and isinstance(link[1], Window) else 0


def _last(w: Window, n: int, m: int) -> int:
    """The last cell that the last window reads."""
    return w.start(m - 1) + w.extent - 1


def _placed_otherwise(w: Window) -> bool:
    return w.padding != _symmetric(w)


def _symmetric(w: Window) -> tuple[int, int]:
    """What symmetric padding puts before and after, for the same output size."""
    if w.input_dilation == 1:
        p = -(-sum(w.padding) // 2)
        return (p, p)
    edge = w.extent - 1
    crop = max(2 * edge - sum(w.padding), 0)
    return (-(-crop // 2), crop // 2)


def _written(node: Node, w: Window) -> tuple[int, int]:
    """Padding as the layer's users count it: for a transposed convolution what is cropped."""
    if node.op != "conv_transpose":
        return w.padding
    edge = w.extent - 1
    return (edge - w.padding[0], edge - w.padding[1])


def _torch_spells(w: Window) -> bool:
    """Whether padding and output_padding of PyTorch can give this transposed window."""
    edge, (low, high) = w.extent - 1, w.padding
    extra = high - low
    return low <= edge and extra >= 0 and (extra < max(w.input_dilation, w.dilation) or not extra)


def _verb(node: Node) -> str:
    return "crops" if node.op == "conv_transpose" else "pads"


def _weighted(node: Node) -> bool:
    return node.op == "conv"


def _meets(w: Window, k: int, n: int, m: int) -> bool:
    """Whether kernel cell k lies on a real cell for some of m windows."""
    at = k * w.dilation - w.padding[0]  # its place under window 0
    first = max(0, -(at // w.stride))  # the first window that brings it to 0 or beyond
    return first < m and at + first * w.stride < n


def _spelled(node: Node) -> str:
    assert node.geometry is not None
    made = []
    for w in node.geometry.windows:
        stride = max(w.stride, w.input_dilation)
        dilation = f", dilation {w.dilation}" if w.dilation > 1 else ""
        made.append(f"kernel {w.kernel}, stride {stride}{dilation}")
    return each_axis(made)
