"""Operations that put the same cells in another order."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from convscape.arithmetic.builder.checks import listable, shape_of
from convscape.arithmetic.builder.core import Core
from convscape.arithmetic.builder.regroup import regrouped
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node
from convscape.arithmetic.reach import Link, Map, Reach
from convscape.arithmetic.window import Window


class OrderOperations(Core):
    """What moves cells and computes nothing."""

    def reshape(self, name: str, x: Node, shape: Sequence[int], **more: Any) -> Node:
        """A reshape; one size may be -1. Axes that stay, merge or come apart again keep fields."""
        old = shape_of(x)
        new = list(shape)
        if new.count(-1) == 1:
            rest = prod(n for n in new if n != -1)
            new[new.index(-1)] = prod(old) // rest if rest > 0 else 0
        if prod(new) != prod(old) or min(new, default=1) < 1:
            raise InputError(
                "a reshape must keep the number of cells", f"{old} to {tuple(shape)}",
                "check the input shape",
            )  # fmt: skip
        link, atoms, lost = regrouped(x, old, tuple(new))
        more.setdefault("view", True)
        op = more.pop("op", "reshape")
        node = self.add(name, op, (x,), new, (link,), atoms=atoms, **more)
        if lost:
            why = f"{name} cuts the axis into pieces"
            reach = {
                s: Reach(None, r.whole, why) if s in lost else r for s, r in node.reach.items()
            }
            self.nodes[-1] = node = replace(node, reach=reach)
        return node

    def permute(self, name: str, x: Node, order: Sequence[int], **more: Any) -> Node:
        """Axes in another order."""
        shape = shape_of(x)
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
        old = shape_of(x)
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
        shapes = [shape_of(x) for x in inputs]
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
                listable(total)
                here = tuple(
                    (o - at, o - at + 1) if at <= o < at + shape[axis] else (0, 0)
                    for o in range(total)
                )
            links.append(tuple((a, here if a == axis else None) for a in range(len(shape))))
            at += shape[axis]
        return self.add(name, "concat", inputs, out, links, **more)

    def slice(self, name: str, x: Node, cuts: Sequence[range | int], **more: Any) -> Node:
        """Picks cells: a range for each axis, or one index, which removes the axis."""
        out: list[int] = []
        link: list[tuple[int, Map] | None] = []
        for n, cut in zip(shape_of(x), cuts, strict=True):
            if isinstance(cut, int):
                link.append(None)
                continue
            if not cut or (cut.step < 0 and not listable(len(cut))):
                raise InputError("a slice must keep a cell", f"{cut} of {n}", "check the input")
            if cut.step > 0 and cut != range(n):
                high = cut[-1] - (n - 1)
                how: Map = Window(1, stride=cut.step, padding=(-cut.start, high))
            else:
                how = None if cut == range(n) else tuple((c, c + 1) for c in cut)
            link.append((len(out), how))
            out.append(len(cut))
        return self.add(name, "slice", (x,), out, (tuple(link),), view=True, **more)

    def pad(self, name: str, x: Node, pairs: Sequence[tuple[int, int]], **more: Any) -> Node:
        """Padding (negative: cropping) of every axis by (low, high)."""
        shape = shape_of(x)
        link: list[tuple[int, Map] | None] = []
        for axis, (low, high) in enumerate(pairs):
            link.append((axis, Window(1, padding=(low, high)) if low or high else None))
        out = [n + low + high for n, (low, high) in zip(shape, pairs, strict=True)]
        op = "crop" if any(min(p) < 0 for p in pairs) else "pad"
        return self.add(name, op, (x,), out, (tuple(link),), **more)
