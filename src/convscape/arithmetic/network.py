"""A whole network as a graph of tensors: shapes, parameters, MACs and receptive fields.

A `Network` is plain data. `convscape.arithmetic.builder` puts one together operation by
operation, the readers under `convscape.readers` do so from a model; `memory` and `findings` read
it. Each `Node` is one operation and the one tensor that it makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from types import MappingProxyType

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.reach import Atoms, Link, Reach
from convscape.arithmetic.reads import boxes_read

ITEMSIZE: Mapping[str, int] = MappingProxyType(
    {
        "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8": 1,
        "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
        "complex64": 8, "complex128": 16, "uint16": 2, "uint32": 4, "uint64": 8,
    }
)  # fmt: skip
"""Bytes of one number of each type."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Numbers that belong to the model: found by key, so that sharing is counted once.

    Args:
        key: What identifies it; two uses of one key are one weight.
        shape: Its shape.
        trainable: Whether training updates it by gradient.
        buffer: Whether the framework leaves it out of its count of parameters (in PyTorch the
            running statistics; Keras counts them).
        dtype: Its type.
    """

    key: str
    shape: tuple[int, ...]
    trainable: bool = True
    buffer: bool = False
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Source:
    """An axis of one of the network's inputs, which fields refer to.

    Args:
        node: Index of the input's node.
        axis: The axis, the batch axis being 0.
        cells: Its size.
    """

    node: int
    axis: int
    cells: int


@dataclass(frozen=True, slots=True)
class Node:
    """One operation and the tensor that it makes.

    Args:
        index: Its place in the order of execution.
        name: Its name in the model.
        op: What it is, in our words: conv, conv_transpose, max_pool, avg_pool, dense, batch_norm,
            add, concat, ...; the framework's own word where it is unknown.
        inputs: Indices of the nodes it reads.
        shape: Shape of its tensor with the batch axis; None when unknown.
        dtype: Type of its numbers.
        params: Parameters as the framework counts them, each at its first use only.
        trainable: Those among them that training updates.
        buffers: Numbers stored beside the parameters (running statistics in PyTorch).
        weight_bytes: Bytes of all of these.
        macs: Multiply-accumulates of convolutions, dense layers and matrix products.
        geometry: Windows and channels of a convolution or pooling.
        axes: The axes that the windows slide over.
        settings: How the model spells it: what findings need and the shape does not show.
        view: Whether its tensor shares the memory of its first input.
        problem: Why it is not understood; empty when it is.
        links: How each input is read.
        atoms: What each axis is made of.
        reach: For each source, what it reads there.
    """

    index: int
    name: str
    op: str
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    params: int = 0
    trainable: int = 0
    buffers: int = 0
    weight_bytes: int = 0
    macs: int = 0
    geometry: Geometry | None = None
    axes: tuple[int, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    view: bool = False
    problem: str = ""
    links: tuple[Link, ...] = ()
    atoms: tuple[Atoms, ...] = ()
    reach: Mapping[int, Reach] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """Numbers in its tensor; 0 when the shape is unknown."""
        return prod(self.shape) if self.shape is not None else 0

    @property
    def bytes(self) -> int:
        """Bytes of its tensor, views included."""
        return self.cells * ITEMSIZE.get(self.dtype, 4)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network; see `Node` for the words.

    Args:
        layers: Operations, inputs not counted.
        params: Parameters.
        trainable: Parameters that training updates.
        buffers: Numbers stored beside them.
        weight_bytes: Bytes of parameters and buffers.
        macs: Multiply-accumulates; a FLOP count is twice that.
        unknown: Operations that are not understood; the other sums lack them.
    """

    layers: int
    params: int
    trainable: int
    buffers: int
    weight_bytes: int
    macs: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Network:
    """A traced network: nodes in the order of execution.

    Args:
        name: What the model is called.
        framework: Where it was read from: keras, torch, onnx, or empty.
        batch: Samples that the shapes hold.
        nodes: Its operations, inputs included.
        outputs: Indices of the nodes whose tensors it returns.
        sources: The axes of its inputs.
        spatial: Indices of the sources that some window slides over; fields are told on these.
        method: How it was read, in a word (config, fx, export, hooks, graph).
    """

    name: str
    framework: str
    batch: int
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    sources: tuple[Source, ...]
    spatial: frozenset[int]
    method: str = ""

    @property
    def layers(self) -> tuple[Node, ...]:
        """The nodes that compute something: all but inputs and constants."""
        return tuple(n for n in self.nodes if n.op not in ("input", "constant"))

    @property
    def totals(self) -> Totals:
        """The sums over all nodes."""
        layers = self.layers
        return Totals(
            len(layers),
            sum(n.params for n in self.nodes),
            sum(n.trainable for n in self.nodes),
            sum(n.buffers for n in self.nodes),
            sum(n.weight_bytes for n in self.nodes),
            sum(n.macs for n in self.nodes),
            sum(bool(n.problem) for n in layers),
        )

    def node(self, name: str) -> Node:
        """The node of this name; the last one where a layer is used more than once.

        Raises:
            InputError: There is none.
        """
        for node in reversed(self.nodes):
            if node.name == name:
                return node
        near = [n.name for n in self.nodes if name.lower() in n.name.lower()]
        known = near or [n.name for n in self.nodes]
        raise InputError(
            "a layer must be one of the network's",
            f"{name!r}",
            f"some of its names: {', '.join(known[:6])}",
        )

    def shape(self, node: Node) -> tuple[int, ...] | None:
        """The node's shape without the batch axis; whole where the first axis is another."""
        if node.shape is None:
            return None
        return node.shape[1:] if node.shape[:1] == (self.batch,) else node.shape

    def told(self, node: Node) -> tuple[int, ...]:
        """The sources that fields of this node are told on: the first input's that it reads."""
        seen = sorted(s for s in node.reach if s in self.spatial)
        return tuple(s for s in seen if self.sources[s].node == self.sources[seen[0]].node)

    def receptive_field(self, node: Node) -> tuple[int | None, ...]:
        """Input cells from the first to the last that a cell reads, on each spatial axis.

        The whole axis where some path reads all of it; None where it cannot be told.
        """
        out: list[int | None] = []
        for source in self.told(node):
            reach = node.reach[source]
            size = reach.field.size if reach.field is not None and not reach.lost else None
            out.append(self.sources[source].cells if reach.whole else size)
        return tuple(out)

    def local_field(self, node: Node) -> tuple[int | None, ...]:
        """The same without the paths that read a whole axis; None where there is no other."""
        reaches = [node.reach[s] for s in self.told(node)]
        return tuple(r.field.size if r.field is not None and not r.lost else None for r in reaches)

    def jump(self, node: Node) -> tuple[Fraction | None, ...]:
        """Input cells between neighbouring cells; None on an axis that is gone or not told."""
        here = {s for atoms in node.atoms for s, _ in atoms}
        out: list[Fraction | None] = []
        for source in self.told(node):
            reach = node.reach[source]
            known = reach.field is not None and not reach.lost and source in here
            out.append(reach.field.jump if known and reach.field is not None else None)
        return tuple(out)

    def reads(
        self, name: str, position: Sequence[int], source: str | None = None
    ) -> tuple[tuple[range | tuple[int, ...], ...], ...]:
        """Exactly the input cells that one cell of a tensor reads: borders and holes included.

        It goes back through the graph with sets of cells. Several branches may read sets of
        different forms (1x7 and 7x1), so the answer is a union of boxes.

        Args:
            name: The layer.
            position: The cell's place on each axis of its tensor that windows slide over.
            source: Name of the input; the first one if it is left out.

        Returns:
            Boxes; each is, for every spatial axis of the input, the cells it spans.

        Raises:
            InputError: No such layer or cell, or a path leads through an operation that cannot
                be followed cell by cell.
        """
        return boxes_read(self, name, position, source)
