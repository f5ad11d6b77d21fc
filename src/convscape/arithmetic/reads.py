"""Exactly which input cells a cell of a network reads, going back through the graph."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.field import back
from convscape.arithmetic.reach import Link
from convscape.arithmetic.window import Window

if TYPE_CHECKING:
    from convscape.arithmetic.network import Network, Node

MAX_BOXES = 4096
"""Boxes that one tensor's set of cells may fall into."""


def boxes_read(
    network: "Network", name: str, position: Sequence[int], source: str | None
) -> tuple[tuple[range | tuple[int, ...], ...], ...]:
    """What `Network.reads` gives; see there."""
    node = network.node(name)
    start = network.node(source) if source else _first_input(network, node)
    axes = [s.axis for i, s in enumerate(network.sources)
            if s.node == start.index and i in network.spatial]  # fmt: skip
    boxes = _boxes(network, node, _position(network, node, position)).get(start.index, [])
    picked = {tuple(box[a] for a in axes) for box in boxes}
    return tuple(tuple(_cells(mask) for mask in box) for box in _simplified(picked))


def _first_input(network: "Network", node: "Node") -> "Node":
    told = network.told(node)
    if not told:
        raise InputError(
            "only a layer that reads the input through windows has a receptive field",
            f"layer {node.name!r}",
            "choose a layer after a convolution or pooling",
        )
    return network.nodes[network.sources[told[0]].node]


def _position(network: "Network", node: "Node", position: Sequence[int]) -> tuple[int, ...]:
    shape = node.shape
    if shape is None:
        raise InputError(
            "the layer's shape must be known", f"{node.name}: {node.problem}", "choose another"
        )
    free = [a for a, atoms in enumerate(node.atoms) if {s for s, _ in atoms} & network.spatial]
    if len(position) != len(free):
        raise InputError(
            "the position needs one number an axis that windows slide over",
            f"{tuple(position)} for {len(free)} such axes of {shape}",
            f"give {len(free)} numbers",
        )
    masks = [(1 << n) - 1 for n in shape]
    for axis, cell in zip(free, position, strict=True):
        if not 0 <= cell < shape[axis]:
            raise InputError(
                "the cell must lie on the tensor",
                f"{cell} on an axis of {shape[axis]}",
                "count from 0",
            )
        masks[axis] = 1 << cell
    return tuple(masks)


def _boxes(
    network: "Network", node: "Node", masks: tuple[int, ...]
) -> dict[int, list[tuple[int, ...]]]:
    """For every node before this one, the boxes of its cells that are read."""
    pending: dict[int, set[tuple[int, ...]]] = {node.index: {masks}}
    done: dict[int, list[tuple[int, ...]]] = {}
    for index in range(node.index, -1, -1):
        if index not in pending:
            continue
        here = network.nodes[index]
        done[index] = boxes = _simplified(pending.pop(index))
        mode = here.settings.get("padding_mode", "zeros")
        if here.problem or mode not in ("zeros", "constant"):
            raise _unfollowed(here, here.problem or f"it pads by {mode}")
        for before, link in zip(here.inputs, here.links, strict=True):
            for box in boxes:
                read = _through(network.nodes[before], here, link, box)
                if all(read):
                    pending.setdefault(before, set()).add(read)
    return done


def _through(x: "Node", node: "Node", link: Link, box: tuple[int, ...]) -> tuple[int, ...]:
    """The box of an input that a box of the output reads."""
    assert x.shape is not None  # a node with links has inputs of known shape
    assert node.shape is not None
    out = []
    for cells, step in zip(x.shape, link, strict=True):
        everything = (1 << cells) - 1
        if step is None:
            out.append(everything)
            continue
        axis, how = step
        if isinstance(how, Window):
            out.append(back(how, box[axis], cells))
        elif how is not None:
            read = 0
            for o, (first, end) in enumerate(how):
                if box[axis] >> o & 1:
                    read |= (1 << end) - (1 << first)
            out.append(read)
        elif node.shape[axis] == cells:
            out.append(box[axis])
        elif box[axis] == (1 << node.shape[axis]) - 1:  # a merged or split axis, all of it
            out.append(everything)
        else:
            raise _unfollowed(node, "it merges or splits axes")
    return tuple(out)


def _simplified(boxes: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The same union of boxes in fewer of them.

    A box inside another goes; two that differ on one axis only become one.
    """
    out: list[tuple[int, ...]] = []
    queue = sorted(set(boxes), key=lambda box: [-m.bit_count() for m in box])
    while queue:
        box = queue.pop()
        for at, other in enumerate(out):
            apart = [a for a, (m, o) in enumerate(zip(box, other, strict=True)) if m != o]
            if all(box[a] | other[a] == other[a] for a in apart):
                break
            if len(apart) <= 1 or all(box[a] | other[a] == box[a] for a in apart):
                del out[at]
                queue.append(tuple(m | o for m, o in zip(box, other, strict=True)))
                break
        else:
            out.append(box)
            if len(out) > MAX_BOXES:
                raise InputError(
                    f"a set of cells may fall into {MAX_BOXES} boxes",
                    "more",
                    "ask for a layer nearer to the input",
                )
    return sorted(out)


def _cells(mask: int) -> range | tuple[int, ...]:
    low = (mask & -mask).bit_length() - 1
    if mask.bit_count() == mask.bit_length() - low:
        return range(low, mask.bit_length())
    return tuple(b for b in range(low, mask.bit_length()) if mask >> b & 1)


def _unfollowed(node: "Node", why: str) -> InputError:
    return InputError(
        "every operation on the way to the input must be one that is followed cell by cell",
        f"{node.name} ({node.op}): {why}",
        "ask for a layer before it",
    )
