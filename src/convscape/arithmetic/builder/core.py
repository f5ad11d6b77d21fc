"""How nodes come about: counted weights, known and unknown operations, inputs and constants."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from convscape.arithmetic.builder.checks import MAX_AXIS
from convscape.arithmetic.builder.follow import follow, made_of
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import ITEMSIZE, Network, Node, Source, Weight
from convscape.arithmetic.reach import Atoms, Link, Reach


class Core:
    """The nodes so far, and how one is added."""

    def __init__(self, name: str, framework: str = "", batch: int = 1) -> None:
        self.name, self.framework, self.batch = name, framework, batch
        self.nodes: list[Node] = []
        self._sources: list[Source] = []
        self._spatial: set[int] = set()
        self._weights: set[str] = set()

    def network(self, outputs: Iterable[Node], method: str = "") -> Network:
        """The finished network."""
        return Network(
            self.name,
            self.framework,
            self.batch,
            tuple(self.nodes),
            tuple(n.index for n in outputs),
            tuple(self._sources),
            frozenset(self._spatial),
            method,
        )

    def add(
        self,
        name: str,
        op: str,
        inputs: Sequence[Node],
        shape: Sequence[int],
        links: Sequence[Link],
        *,
        weights: Iterable[Weight] = (),
        atoms: tuple[Atoms, ...] | None = None,
        **more: Any,
    ) -> Node:
        """One operation whose output shape and links are known; see `Node` for the rest."""
        shape = tuple(shape)
        if any(n < 1 or n > MAX_AXIS for n in shape):
            raise InputError(
                f"every axis must have 1 to {MAX_AXIS} cells", f"{op} gives {shape}",
                "use a larger input, or correct the model",
            )  # fmt: skip
        if atoms is None:
            atoms = made_of(inputs, links, shape)
        more.setdefault("dtype", inputs[0].dtype if inputs else "float32")
        node = Node(
            index=len(self.nodes),
            name=name,
            op=op,
            inputs=tuple(x.index for x in inputs),
            shape=shape,
            links=tuple(links),
            atoms=atoms,
            reach=follow(inputs, links),
            **self._count(weights),
            **more,
        )
        self.nodes.append(node)
        return node

    def unknown(
        self,
        name: str,
        op: str,
        inputs: Sequence[Node],
        why: str,
        weights: Iterable[Weight] = (),
        shape: Sequence[int] | None = None,
    ) -> Node:
        """An operation that is not understood: its weights count, its fields are lost.

        Args:
            name: The layer.
            op: The framework's word for it.
            inputs: What it reads.
            why: The reason, which is shown.
            weights: Its weights.
            shape: Its output's shape where the model file states it.
        """
        lost = {s: Reach(None, lost=f"{name} is not understood") for x in inputs for s in x.reach}
        known = tuple(shape) if shape is not None else None
        node = Node(
            index=len(self.nodes),
            name=name,
            op=op,
            inputs=tuple(x.index for x in inputs),
            shape=known,
            problem=why,
            links=tuple((None,) * len(x.shape or ()) for x in inputs),
            atoms=tuple(((None, n),) for n in known or ()),
            reach=lost,
            dtype=inputs[0].dtype if inputs else "float32",
            **self._count(weights),
        )
        self.nodes.append(node)
        return node

    def attempt(
        self,
        name: str,
        op: str,
        inputs: Sequence[Node],
        make: Callable[[], Node],
        weights: Iterable[Weight] = (),
    ) -> Node:
        """What `make` gives; where it raises `InputError`, or an input is unknown, `unknown`."""
        for x in inputs:
            if x.shape is None:
                why = f"the shape of its input {x.name} is not known"
                return self.unknown(name, op, inputs, why, weights)
        try:
            return make()
        except InputError as error:
            return self.unknown(name, op, inputs, str(error), weights)

    def _count(self, weights: Iterable[Weight]) -> dict[str, Any]:
        params = trainable = buffers = size = 0
        for weight in weights:
            if weight.key in self._weights:
                continue
            self._weights.add(weight.key)
            cells = prod(weight.shape)
            size += cells * ITEMSIZE.get(weight.dtype, 4)
            if weight.buffer:
                buffers += cells
            else:
                params += cells
                trainable += cells * weight.trainable
        return {
            "params": params, "trainable": trainable, "buffers": buffers, "weight_bytes": size
        }  # fmt: skip

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> Node:
        """An input of the network; every axis but the first is one that fields can refer to."""
        index = len(self.nodes)
        atoms: list[Atoms] = [((None, shape[0]),)] if shape else []
        reach = {}
        for axis, cells in enumerate(shape[1:], start=1):
            reach[len(self._sources)] = Reach()
            atoms.append(((len(self._sources), cells),))
            self._sources.append(Source(index, axis, cells))
        node = self.add(name, "input", (), shape, (), atoms=tuple(atoms), dtype=dtype)
        self.nodes[index] = node = replace(node, reach=reach)
        return node

    def constant(
        self,
        name: str,
        shape: Sequence[int],
        weights: Iterable[Weight] = (),
        dtype: str = "float32",
    ) -> Node:
        """A tensor that does not depend on the input, such as a position embedding."""
        atoms: tuple[Atoms, ...] = tuple(((None, n),) for n in shape)
        return self.add(name, "constant", (), shape, (), weights=weights, atoms=atoms, dtype=dtype)

    def leftover(self, name: str, weights: Iterable[Weight]) -> None:
        """Counts weights of the model that no operation has read, so that totals are whole."""
        left = [w for w in weights if w.key not in self._weights]
        if left:
            self.constant(name, (1,), left)
