"""What a reshape does to axes: which stay, which merge, which come apart again."""

from convscape.arithmetic.network import Node
from convscape.arithmetic.reach import Atoms, Link, Map

Shape = tuple[int, ...]


def regrouped(x: Node, old: Shape, new: Shape) -> tuple[Link, tuple[Atoms, ...], set[int]]:
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
