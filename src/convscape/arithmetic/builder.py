"""Puts a `Network` together operation by operation: the calculus of shapes, costs and fields.

Every reader speaks to this: an operation comes with its windows spelled out, and its tensor's
shape, MACs and receptive fields follow here. Shapes hold the batch axis first.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.network import (
    ITEMSIZE,
    Atoms,
    Link,
    Map,
    Network,
    Node,
    Reach,
    Source,
    Spans,
    Weight,
)
from convscape.arithmetic.window import Window

MAX_SPANS = 1 << 20
"""Most cells of an axis whose spans are listed one by one."""

MAX_AXIS = 1 << 40
"""Largest tensor axis that is believed; beyond it a model is taken for broken."""

Shape = tuple[int, ...]


class Builder:
    """Collects the operations of a network in the order that they run.

    Args:
        name: The model's name.
        framework: Where it comes from.
        batch: Samples in a batch.

    Example:
        >>> b = Builder("net")
        >>> x = b.input("image", (1, 3, 32, 32))
        >>> windows = (Window(3, padding=(1, 1)), Window(3, padding=(1, 1)))
        >>> y = b.conv("first", x, windows, axes=(2, 3), channel_axis=1, out_channels=8)
        >>> y.shape, y.macs
        ((1, 8, 32, 32), 221184)
    """

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

    # -- the two ways a node comes about ---------------------------------------------------

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
            atoms = _atoms(inputs, links, shape)
        more.setdefault("dtype", inputs[0].dtype if inputs else "float32")
        node = Node(
            index=len(self.nodes),
            name=name,
            op=op,
            inputs=tuple(x.index for x in inputs),
            shape=shape,
            links=tuple(links),
            atoms=atoms,
            reach=_reach(inputs, links),
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

    # -- where tensors come from -----------------------------------------------------------

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
        self.nodes[index] = node = _replace(node, reach=reach)
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

    # -- windows -----------------------------------------------------------------------------

    def conv(
        self,
        name: str,
        x: Node,
        windows: Sequence[Window],
        *,
        axes: Sequence[int],
        channel_axis: int,
        out_channels: int,
        groups: int = 1,
        weight_shape: Sequence[int] | None = None,
        transposed: bool = False,
        **more: Any,
    ) -> Node:
        """A convolution, or with `transposed` a transposed one (windows with input_dilation).

        MACs: cells x kernel cells x C / groups x K, over the output's cells, or for a transposed
        convolution over the input's, each of which meets the whole kernel once.

        Args:
            name: The layer.
            x: Its input.
            windows: The window of each spatial axis.
            axes: These axes of x.
            channel_axis: The axis of the channels.
            out_channels: Channels of the output.
            groups: Channel groups.
            weight_shape: What the model stores: (K, C / groups, *kernel), transposed
                (C, K / groups, *kernel); checked against the input where it is given.
            transposed: Whether it is a transposed convolution.
            **more: `weights`, `settings` and other fields of the node.

        Raises:
            InputError: The window does not fit, or the weights do not.
        """
        shape = _shape(x)
        if len(shape) != len(axes) + 2 or len(windows) != len(axes):
            raise InputError(
                f"a convolution over {len(windows)} axes needs batch, channels and these axes",
                f"a tensor of shape {shape}", "check the input shape",
            )  # fmt: skip
        geometry = Geometry(tuple(windows), shape[channel_axis], out_channels, groups)
        spatial = [shape[a] for a in axes]
        if weight_shape is not None:
            ends = (out_channels, shape[channel_axis])
            first, second = ends[::-1] if transposed else ends
            if tuple(weight_shape[:2]) != (first, second // groups):
                stored = weight_shape[0 if transposed else 1] * (1 if transposed else groups)
                raise InputError(
                    f"the input needs the {stored} channels that the weights were made for",
                    f"{shape[channel_axis]} channels (shape {shape})",
                    "check the input shape and its layout",
                )
        out = list(shape)
        out[channel_axis] = out_channels
        for axis, n in zip(axes, geometry.output_shape(spatial)[1:], strict=True):
            out[axis] = n
        if transposed:
            positions = prod(spatial)
            macs = (
                positions * prod(geometry.kernel) * out_channels * (geometry.in_channels // groups)
            )
        else:
            macs = geometry.macs(spatial)
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        link[channel_axis] = None
        self._slide(x, windows, axes, link)
        return self.add(
            name, "conv_transpose" if transposed else "conv", (x,), out, (tuple(link),),
            macs=macs * shape[0], geometry=geometry, axes=tuple(axes), **more,
        )  # fmt: skip

    def pool(
        self, name: str, op: str, x: Node, windows: Sequence[Window], *, axes: Sequence[int],
        **more: Any,
    ) -> Node:  # fmt: skip
        """Pooling, of any kind, by windows; it has no weights and no MACs."""
        shape = _shape(x)
        _axes_exist(shape, axes)
        geometry = Geometry(tuple(windows))
        out = list(shape)
        for axis, n in zip(axes, geometry.output_shape([shape[a] for a in axes])[1:], strict=True):
            out[axis] = n
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        self._slide(x, windows, axes, link)
        return self.add(
            name, op, (x,), out, (tuple(link),), geometry=geometry, axes=tuple(axes), **more
        )

    def _slide(
        self,
        x: Node,
        windows: Sequence[Window],
        axes: Sequence[int],
        link: list[tuple[int, Map] | None],
    ) -> None:
        for axis, window in zip(axes, windows, strict=True):
            link[axis] = (axis, window)
        self._told(x, axes)

    def _told(self, x: Node, axes: Sequence[int]) -> None:
        """Receptive fields are told on the sources that these axes follow."""
        for axis in axes:
            source = x.atoms[axis][0][0]
            if len(x.atoms[axis]) == 1 and source is not None:
                self._spatial.add(source)

    def adaptive_pool(
        self, name: str, op: str, x: Node, sizes: Sequence[int | None], *, axes: Sequence[int],
        **more: Any,
    ) -> Node:  # fmt: skip
        """Pooling to given sizes: output cell o reads floor(o n / m) up to ceil((o + 1) n / m)."""
        shape = _shape(x)
        _axes_exist(shape, axes)
        out, link = list(shape), [(a, None) for a in range(len(shape))]
        links: list[tuple[int, Map] | None] = list(link)
        for axis, wanted in zip(axes, sizes, strict=True):
            n = shape[axis]
            m = n if wanted is None else wanted
            out[axis] = m
            if m == 1:
                links[axis] = None
            elif m and n % m == 0:
                self._told(x, [axis])
                links[axis] = (axis, Window(n // m, n // m))
            else:
                _listable(m)
                spans = tuple((o * n // m, -(-(o + 1) * n // m)) for o in range(m))
                self._told(x, [axis])
                links[axis] = (axis, spans)
        return self.add(name, op, (x,), out, (tuple(links),), axes=tuple(axes), **more)

    def pad(self, name: str, x: Node, pairs: Sequence[tuple[int, int]], **more: Any) -> Node:
        """Padding (negative: cropping) of every axis by (low, high)."""
        shape = _shape(x)
        link: list[tuple[int, Map] | None] = []
        for axis, (low, high) in enumerate(pairs):
            link.append((axis, Window(1, padding=(low, high)) if low or high else None))
        out = [n + low + high for n, (low, high) in zip(shape, pairs, strict=True)]
        op = "crop" if any(min(p) < 0 for p in pairs) else "pad"
        return self.add(name, op, (x,), out, (tuple(link),), **more)

    def slice(self, name: str, x: Node, cuts: Sequence[range | int], **more: Any) -> Node:
        """Picks cells: a range for each axis, or one index, which removes the axis."""
        out: list[int] = []
        link: list[tuple[int, Map] | None] = []
        for n, cut in zip(_shape(x), cuts, strict=True):
            if isinstance(cut, int):
                link.append(None)
                continue
            if not cut or (cut.step < 0 and not _listable(len(cut))):
                raise InputError("a slice must keep a cell", f"{cut} of {n}", "check the input")
            if cut.step > 0 and cut != range(n):
                high = cut[-1] - (n - 1)
                how: Map = Window(1, stride=cut.step, padding=(-cut.start, high))
            else:
                how = None if cut == range(n) else tuple((c, c + 1) for c in cut)
            link.append((len(out), how))
            out.append(len(cut))
        return self.add(name, "slice", (x,), out, (tuple(link),), view=True, **more)

    def resize(
        self,
        name: str,
        x: Node,
        sizes: Sequence[int],
        *,
        axes: Sequence[int],
        mode: str = "nearest",
        half_pixel: bool = False,
        align_corners: bool = False,
        **more: Any,
    ) -> Node:
        """Interpolation to given sizes; whole factors are windows, others spans of cells.

        Args:
            name: The layer.
            x: Its input.
            sizes: Output cells of each axis in `axes`.
            axes: Axes that change.
            mode: nearest, linear or cubic.
            half_pixel: For nearest: whether cell o looks at (o + 1/2) n / m instead of o n / m.
            align_corners: Whether the outermost cells' centres stay where they are.
            **more: `settings` and other fields of the node.
        """
        shape = _shape(x)
        _axes_exist(shape, axes)
        out = list(shape)
        link: list[tuple[int, Map] | None] = [(a, None) for a in range(len(shape))]
        for axis, m in zip(axes, sizes, strict=True):
            if m < 1 or m > MAX_AXIS:
                raise InputError(
                    "a resized axis needs at least 1 cell", f"{m}", "use a larger size"
                )
            out[axis] = m
            if m != shape[axis]:
                self._told(x, [axis])
                link[axis] = (axis, _resized(shape[axis], m, mode, half_pixel, align_corners))
        return self.add(name, "resize", (x,), out, (tuple(link),), axes=tuple(axes), **more)

    # -- cell by cell, and over whole axes -------------------------------------------------

    def pointwise(self, name: str, op: str, inputs: Sequence[Node | Weight], **more: Any) -> Node:
        """An operation cell by cell, with NumPy's broadcasting; weights may be among the inputs."""
        nodes = [x for x in inputs if isinstance(x, Node)]
        weights = [x for x in inputs if isinstance(x, Weight)]
        shapes = [_shape(x) for x in nodes] + [w.shape for w in weights]
        out = broadcast(shapes)
        links: list[Link] = []
        for x in nodes:
            shape = _shape(x)
            lead = len(out) - len(shape)
            links.append(
                tuple((lead + a, None) if n == out[lead + a] else None for a, n in enumerate(shape))
            )
        more["weights"] = (*more.get("weights", ()), *weights)
        return self.add(name, op, nodes, out, links, **more)

    def mix(self, name: str, op: str, x: Node, axes: Sequence[int], **more: Any) -> Node:
        """An operation of x's own shape that also reads all of some axes (norms, softmax)."""
        shape = _shape(x)
        wide = {a % len(shape) for a in axes}
        same: Link = tuple((a, None) for a in range(len(shape)))
        if not any(s is not None for a in wide for s, _ in x.atoms[a]):
            return self.add(name, op, (x,), shape, (same,), **more)
        over: Link = tuple(None if a in wide else (a, None) for a in range(len(shape)))
        return self.add(name, op, (x, x), shape, (same, over), **more)

    def reduce(
        self, name: str, op: str, x: Node, axes: Sequence[int], keepdims: bool = False, **more: Any
    ) -> Node:
        """A mean, sum, maximum, ... over whole axes."""
        shape = _shape(x)
        _axes_exist(shape, axes)
        gone = {a % len(shape) for a in axes}
        out: list[int] = []
        link: list[tuple[int, Map] | None] = []
        for axis, n in enumerate(shape):
            if axis in gone:
                link.append(None)
                out.extend([1] * keepdims)
            else:
                link.append((len(out), None))
                out.append(n)
        return self.add(name, op, (x,), out, (tuple(link),), **more)

    def dense(
        self,
        name: str,
        x: Node,
        units: int,
        *,
        axis: int = -1,
        in_features: int | None = None,
        **more: Any,
    ) -> Node:
        """A matrix product with weights over one axis; MACs: output cells x input features."""
        shape = _shape(x)
        axis %= len(shape)
        if in_features is not None and shape[axis] != in_features:
            raise InputError(
                f"the input needs the {in_features} features that the weights were made for",
                f"{shape[axis]} (shape {shape})", "check the input shape",
            )  # fmt: skip
        out = list(shape)
        out[axis] = units
        link: Link = tuple(None if a == axis else (a, None) for a in range(len(shape)))
        return self.add(name, "dense", (x,), out, (link,), macs=prod(out) * shape[axis], **more)

    def matmul(self, name: str, a: Node, b: Node, **more: Any) -> Node:
        """A matrix product of two tensors over a's last and b's second to last axis."""
        left, right = _shape(a), _shape(b)
        if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
            raise InputError(
                "a matrix product needs matching inner axes", f"{left} and {right}",
                "check the input shape",
            )  # fmt: skip
        lead = broadcast([left[:-2], right[:-2]])
        out = (*lead, left[-2], right[-1])
        links: list[Link] = []
        for shape, kept in ((left, -2), (right, -1)):
            front = len(out) - len(shape)
            link: list[tuple[int, Map] | None] = [
                (front + i, None) if n == out[front + i] else None for i, n in enumerate(shape[:-2])
            ]
            last = (len(out) - 2, None) if kept == -2 else (len(out) - 1, None)
            links.append((*link, *((last, None) if kept == -2 else (None, last))))
        return self.add(name, "matmul", (a, b), out, links, macs=prod(out) * left[-1], **more)

    def attention(self, name: str, q: Node, k: Node, v: Node, **more: Any) -> Node:
        """Scaled dot-product attention over the second to last axis; all of k and v is read."""
        shape, keys, values = _shape(q), _shape(k), _shape(v)
        if len(shape) < 2 or shape[-1] != keys[-1] or keys[-2] != values[-2]:
            raise InputError(
                "attention needs queries and keys of one width, and a value for each key",
                f"{shape}, {keys}, {values}", "check the input shape",
            )  # fmt: skip
        out = (*shape[:-1], values[-1])
        last = len(shape) - 1
        own: Link = (*((a, None) for a in range(last)), None)
        rows: list[tuple[int, Map] | None] = [
            (a, None) if n == out[a] else None for a, n in enumerate(keys[:-2])
        ]
        keyed: Link = (*rows, None, None)
        valued: Link = (*rows, None, (last, None))
        macs = prod(shape[:-1]) * keys[-2] * (shape[-1] + values[-1])
        return self.add(name, "attention", (q, k, v), out, (own, keyed, valued), macs=macs, **more)

    # -- the same cells in another order ---------------------------------------------------

    def reshape(self, name: str, x: Node, shape: Sequence[int], **more: Any) -> Node:
        """A reshape; one size may be -1. Axes that stay, merge or come apart again keep fields."""
        old = _shape(x)
        new = list(shape)
        if new.count(-1) == 1:
            rest = prod(n for n in new if n != -1)
            new[new.index(-1)] = prod(old) // rest if rest > 0 else 0
        if prod(new) != prod(old) or min(new, default=1) < 1:
            raise InputError(
                "a reshape must keep the number of cells", f"{old} to {tuple(shape)}",
                "check the input shape",
            )  # fmt: skip
        link, atoms, lost = _regrouped(x, old, tuple(new))
        more.setdefault("view", True)
        op = more.pop("op", "reshape")
        node = self.add(name, op, (x,), new, (link,), atoms=atoms, **more)
        if lost:
            why = f"{name} cuts the axis into pieces"
            reach = {
                s: Reach(None, r.whole, why) if s in lost else r for s, r in node.reach.items()
            }
            self.nodes[-1] = node = _replace(node, reach=reach)
        return node

    def permute(self, name: str, x: Node, order: Sequence[int], **more: Any) -> Node:
        """Axes in another order."""
        shape = _shape(x)
        order = [o % len(shape) for o in order]
        if sorted(order) != list(range(len(shape))):
            raise InputError(
                "a permutation must name every axis once", f"{order} for {shape}", "correct it"
            )
        link: Link = tuple((order.index(a), None) for a in range(len(shape)))
        out = [shape[o] for o in order]
        return self.add(name, "permute", (x,), out, (link,), view=True, **more)

    def expand(self, name: str, x: Node, shape: Sequence[int], **more: Any) -> Node:
        """Broadcasting to a larger shape; -1 keeps an axis."""
        old = _shape(x)
        lead = len(shape) - len(old)
        out = [old[a - lead] if n == -1 else n for a, n in enumerate(shape)]
        if lead < 0 or any(n not in (1, out[lead + a]) for a, n in enumerate(old)):
            raise InputError(
                "only axes of 1 cell expand", f"{old} to {tuple(shape)}", "check the input shape"
            )
        link: Link = tuple(
            (lead + a, None) if n == out[lead + a] else None for a, n in enumerate(old)
        )
        return self.add(name, "expand", (x,), out, (link,), view=True, **more)

    def concat(self, name: str, inputs: Sequence[Node], axis: int, **more: Any) -> Node:
        """Tensors one after the other along an axis."""
        shapes = [_shape(x) for x in inputs]
        axis %= len(shapes[0])
        rests = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
        if len(rests) != 1:
            raise InputError(
                f"tensors that are joined along axis {axis} must agree on the others",
                " and ".join(map(str, shapes)),
                "check the input shape",
            )
        out = list(shapes[0])
        out[axis] = total = sum(s[axis] for s in shapes)
        links: list[Link] = []
        at = 0
        for x, shape in zip(inputs, shapes, strict=True):
            here: Map = Window(1, padding=(at, total - at - shape[axis]))
            if any(s is not None for s, _ in x.atoms[axis]) and len(inputs) > 1:
                # Each cell comes from one piece only: no one field describes them all.
                _listable(total)
                here = tuple(
                    (o - at, o - at + 1) if at <= o < at + shape[axis] else (0, 0)
                    for o in range(total)
                )
            links.append(tuple((a, here if a == axis else None) for a in range(len(shape))))
            at += shape[axis]
        return self.add(name, "concat", inputs, out, links, **more)


# -- how shapes and fields follow ------------------------------------------------------------


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that these broadcast to.

    Raises:
        InputError: They do not.

    Example:
        >>> broadcast([(4, 1, 3), (5, 1)])
        (4, 5, 3)
    """
    rank = max(map(len, shapes), default=0)
    out = []
    for axis in range(-rank, 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            raise InputError(
                "tensors that meet cell by cell must have equal axes, or axes of 1 cell",
                " and ".join(map(str, shapes)),
                "check the input shape",
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def _shape(x: Node) -> Shape:
    if x.shape is None:
        raise InputError("the input's shape must be known", f"{x.name}: {x.problem}", "see there")
    return x.shape


def _axes_exist(shape: Shape, axes: Sequence[int]) -> None:
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise InputError(
            f"the tensor needs axes {', '.join(map(str, axes))}", f"shape {shape}",
            "check the input shape",
        )  # fmt: skip


def _listable(cells: int) -> bool:
    if cells > MAX_SPANS:
        raise InputError(
            f"an axis read unevenly has at most {MAX_SPANS} cells", f"{cells}",
            "use a smaller input",
        )  # fmt: skip
    return True


def _reach(inputs: Sequence[Node], links: Sequence[Link]) -> dict[int, Reach]:
    out: dict[int, tuple[Reach, bool]] = {}  # and whether an axis of the tensor follows it
    for x, link in zip(inputs, links, strict=True):
        followed = set()
        for axis, step in enumerate(link):
            atoms = x.atoms[axis]
            for source, cells in atoms:
                if source is not None:
                    followed.add(source)
                    reach = x.reach[source].through(step, cells, len(atoms) > 1)
                    _merge(out, source, reach, step is not None)
        for source, reach in x.reach.items():
            if source not in followed:
                _merge(out, source, reach, False)
    return {source: reach for source, (reach, _) in out.items()}


def _merge(out: dict[int, tuple[Reach, bool]], source: int, reach: Reach, follows: bool) -> None:
    if source not in out:
        out[source] = (reach, follows)
        return
    have, also = out[source]
    if follows != also:  # one path moves over the input, the other always reads the same cells
        moving, fixed = (reach, have) if follows else (have, reach)
        whole = moving.whole or fixed.whole or fixed.field is not None
        out[source] = (Reach(moving.field, whole, moving.lost or fixed.lost), True)
    else:
        out[source] = (have.union(reach), follows)


def _atoms(inputs: Sequence[Node], links: Sequence[Link], shape: Shape) -> tuple[Atoms, ...]:
    out: list[Atoms] = [((None, n),) for n in shape]
    taken = [False] * len(shape)
    for x, link in zip(inputs, links, strict=True):
        for axis, step in enumerate(link):
            if step is None or taken[step[0]]:
                continue
            to, how = step
            atoms = x.atoms[axis]
            if len(atoms) == 1:
                if atoms[0][0] is not None:
                    out[to], taken[to] = ((atoms[0][0], shape[to]),), True
            elif how is None and x.shape is not None and shape[to] == x.shape[axis]:
                out[to], taken[to] = atoms, True
    return tuple(out)


def _regrouped(x: Node, old: Shape, new: Shape) -> tuple[Link, tuple[Atoms, ...], set[int]]:
    """How a reshape leads each axis on, what the new axes are made of, and the sources lost."""
    link: list[tuple[int, Map] | None] = [None] * len(old)
    atoms: list[Atoms] = [((None, n),) for n in new]
    lost: set[int] = set()
    i = j = 0
    while i < len(old) or j < len(new):
        i0, j0 = i, j
        left = right = 1
        while True:  # the shortest runs of old and new axes with the same number of cells
            if left == right and i > i0 and j > j0:
                break
            if left <= right and i < len(old) and not (left == right and i > i0):
                left *= old[i]
                i += 1
            elif j < len(new):
                right *= new[j]
                j += 1
            elif i < len(old):
                left *= old[i]
                i += 1
            else:
                break
        _regroup(x, old, new, range(i0, i), range(j0, j), link, atoms, lost)
    return tuple(link), tuple(atoms), lost


def _regroup(
    x: Node,
    old: Shape,
    new: Shape,
    before: range,
    after: range,
    link: list[tuple[int, Map] | None],
    atoms: list[Atoms],
    lost: set[int],
) -> None:
    """One group of axes of a reshape: cells of `before` become `after`."""
    pieces = [atom for a in before for atom in x.atoms[a] if atom[1] > 1 or atom[0] is not None]
    home: dict[int, int] = {}  # source -> new axis
    for axis in after:
        need, got = new[axis], []
        if need == 1 and pieces and pieces[0][1] == 1:
            got.append(pieces.pop(0))
        while need > 1 and pieces and need % pieces[0][1] == 0:
            atom = pieces.pop(0)
            need //= atom[1]
            got += [atom] * (atom[1] > 1)  # an axis of one cell goes
        if need > 1 and pieces and pieces[0][0] is None and pieces[0][1] % need == 0:
            cells = pieces[0][1]  # channels may be cut anywhere
            got.append((None, need))
            pieces[0] = (None, cells // need)
            need = 1
        if need > 1:
            break
        home.update({s: axis for s, _ in got if s is not None})
        if any(s is not None for s, _ in got):
            atoms[axis] = tuple(got)
    all_sources = {s for a in before for s, _ in x.atoms[a] if s is not None}
    single = {s for a in before for s, n in x.atoms[a] if n == 1}
    lost.update(all_sources - home.keys() - single)
    for a in before:
        axes = {home.get(s) for s, _ in x.atoms[a] if s is not None}
        if old[a] == 1 and axes == {None}:
            continue  # an axis of one cell that goes: what it reads stays known
        if len(axes) == 1 and (to := axes.pop()) is not None:
            link[a] = (to, None)
        elif after:
            # No one axis to lead to: `lost` above, or several axes that a merged one falls into.
            link[a] = (after[0], None)


def _resized(n: int, m: int, mode: str, half_pixel: bool, align_corners: bool) -> Map:
    if not align_corners and m % n == 0:
        s = m // n
        if mode == "nearest":
            return Window(s, input_dilation=s, padding=(s - 1, s - 1))
        if mode == "linear":
            kernel, low = 2 * s - s % 2, (3 * s - 2) // 2
            return Window(kernel, input_dilation=s, padding=(low, s + kernel - 2 - low))
    if not align_corners and mode == "nearest" and n % m == 0:
        s = n // m
        first = s // 2 if half_pixel else 0
        return Window(1, stride=s, padding=(-first, 0))
    return _spans(n, m, mode, half_pixel, align_corners)


def _spans(n: int, m: int, mode: str, half_pixel: bool, align_corners: bool) -> Spans:
    spans = []
    _listable(m)
    for o in range(m):
        if align_corners:
            at = Fraction(o * (n - 1), max(m - 1, 1))
        elif mode == "nearest":
            at = Fraction((2 * o + 1) * n, 2 * m) if half_pixel else Fraction(o * n, m)
        else:
            at = max(Fraction((2 * o + 1) * n - m, 2 * m), Fraction(0))
        cell = at.numerator // at.denominator
        before, after = (0, 1) if mode == "nearest" or at == cell else (0, 2)
        if mode == "cubic" and at != cell:
            before, after = 1, 3
        spans.append((max(cell - before, 0), min(cell + after, n)))
    return tuple(spans)


def _replace(node: Node, **changes: Any) -> Node:
    from dataclasses import replace

    return replace(node, **changes)
