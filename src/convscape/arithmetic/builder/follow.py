"""How receptive fields, and what axes are made of, follow from the links of an operation."""

from collections.abc import Sequence

from convscape.arithmetic.network import Node
from convscape.arithmetic.reach import Atoms, Link, Reach


def follow(inputs: Sequence[Node], links: Sequence[Link]) -> dict[int, Reach]:
    """For each source of the network, what the output of an operation reads there."""
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


def made_of(
    inputs: Sequence[Node], links: Sequence[Link], shape: tuple[int, ...]
) -> tuple[Atoms, ...]:
    """What the axes of the output are made of."""
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
