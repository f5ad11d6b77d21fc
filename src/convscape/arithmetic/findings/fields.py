"""Findings on receptive fields: what a stack of layers sees of the input."""

from collections.abc import Iterator
from fractions import Fraction

from convscape.arithmetic.field import Field
from convscape.arithmetic.findings.rule import Finding, consumers, each_axis
from convscape.arithmetic.network import Network, Node

FAR = 4
"""A field of more than so many times the input counts as far larger."""

MERGES = ("add", "sub", "mul", "div", "average", "max", "min", "concat", "matmul")


def _field(network: Network, node: Node, source: int) -> Field | None:
    """The field along a source, where an axis of the tensor still follows it."""
    reach = node.reach.get(source)
    if reach is None or reach.lost or reach.field is None:
        return None
    follows = any(len(atoms) == 1 and atoms[0][0] == source for atoms in node.atoms)
    return reach.field if follows else None


def gridding(network: Network) -> Iterator[Finding]:
    """CS201: after the last dilated layer of a stack there are cells inside the field unread."""
    readers = consumers(network)
    open_: dict[int, tuple[int, ...]] = {}
    deeper: set[int] = set()  # nodes after which another dilated layer leaves holes too
    found = []
    for node in reversed(network.nodes):
        holes = []
        for source in network.told(node):
            field = _field(network, node, source)
            holes.append(field.holes if field is not None else 0)
        after = readers[node.index]
        ends = [r.index in open_ for r in after if _told_field(network, r)]
        if not any(holes) or not all(ends):
            continue
        open_[node.index] = tuple(holes)
        dilated = node.geometry is not None and any(w.dilation > 1 for w in node.geometry.windows)
        if any(r.index in deeper for r in after):
            deeper.add(node.index)
        elif dilated:
            deeper.add(node.index)
            found.append(node)
    for node in reversed(found):
        sizes = network.local_field(node)
        unread = each_axis(
            f"{h} of {size} cells" for h, size in zip(open_[node.index], sizes, strict=True) if h
        )
        yield Finding(
            "CS201", "gridding", node.name,
            f"the dilations up to here leave {unread} of the receptive field unread on an axis",
            "mix rates without a common factor (1, 2, 5), or end with dilation 1", node.index,
        )  # fmt: skip


def _told_field(network: Network, node: Node) -> bool:
    return any(_field(network, node, s) is not None for s in network.told(node))


def _deepest(network: Network) -> Node | None:
    """The last layer whose cells have a receptive field."""
    for node in reversed(network.nodes):
        if _told_field(network, node):
            return node
    return None


def _widens(network: Network, node: Node, source: int) -> bool:
    """Whether cells from here on read the whole axis (attention), or what no field tells."""
    for after in network.nodes[node.index :]:
        reach = after.reach.get(source)
        if reach is None:
            continue
        follows = any(s == source for atoms in after.atoms for s, _ in atoms)
        if reach.lost or (reach.whole and follows):
            return True
    return False


def too_small(network: Network) -> Iterator[Finding]:
    """CS202: the last map's cells see less than the input, or would where nothing is global."""
    node = _deepest(network)
    if node is None:
        return
    short = []
    for source in network.told(node):
        field = _field(network, node, source)
        cells = network.sources[source].cells
        if field is not None and field.size < cells and not _widens(network, node, source):
            short.append(f"{field.size} of {cells}")
    if short:
        yield Finding(
            "CS202", "field-too-small", node.name,
            f"a cell of the last map sees {each_axis(short)} input cells on an axis",
            "add layers, strides or dilation, if a cell should see the whole input", node.index,
        )  # fmt: skip


def too_large(network: Network) -> Iterator[Finding]:
    """CS203: the last map's field is a multiple of the input, so its outer part is padding."""
    node = _deepest(network)
    if node is None:
        return
    large = []
    for source in network.told(node):
        field = _field(network, node, source)
        cells = network.sources[source].cells
        if field is not None and field.size > FAR * cells:
            large.append(f"{field.size} for an input of {cells}")
    if not large:
        return
    first = next(
        (
            n
            for n in network.nodes
            if n.geometry is not None
            and all((f := _field(network, n, s)) is not None and f.size >= network.sources[s].cells
                    for s in network.told(n))
            and network.told(n)
        ),
        node,
    )  # fmt: skip
    yield Finding(
        "CS203", "field-too-large", node.name,
        f"the receptive field is {each_axis(large)}, more than {FAR} times; from {first.name} on "
        "it covers the whole input",
        "use larger inputs, or fewer layers and strides", node.index,
    )  # fmt: skip


def misaligned(network: Network) -> Iterator[Finding]:
    """CS204: branches whose fields have different centres, or move at different paces."""
    for node in network.nodes:
        inputs = [network.nodes[i] for i in dict.fromkeys(node.inputs)]
        if node.op not in MERGES or len(inputs) < 2:
            continue
        apart: list[str] = []
        for source in network.told(node):
            apart += _apart(network, inputs, source)
        if apart:
            yield Finding(
                "CS204", "misaligned-branches", node.name,
                f"{inputs[0].name} and another branch meet {each_axis(apart)}",
                "give the branches the same strides, and padding that keeps their centres",
                node.index,
            )  # fmt: skip


def _apart(network: Network, inputs: list[Node], source: int) -> list[str]:
    fields = [f for f in (_field(network, x, source) for x in inputs) if f is not None]
    for other in fields[1:]:
        if other.jump != fields[0].jump:
            return [f"at paces {fields[0].jump} and {other.jump}"]
        offset = other.offset(fields[0])
        if offset:
            cells = abs(offset)
            share = Fraction(cells) / other.jump
            return [f"{cells} input cells apart ({share} of a cell of these maps)"]
    return []
