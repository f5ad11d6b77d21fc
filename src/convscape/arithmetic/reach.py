"""How an operation reads its input's axes, and what a tensor's cells so read of the network's."""

from dataclasses import dataclass, field

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.field import Field
from convscape.arithmetic.window import Window

Spans = tuple[tuple[int, int], ...]
"""For each output cell the [first, end) of the input cells that it reads, where no Window fits."""

Map = Window | Spans | None
"""How an axis is read: by a window, by spans, or (None) cell by cell."""

Link = tuple[tuple[int, Map] | None, ...]
"""For each axis of an input: the output axis that it leads to and how; None reads all of it."""

Atoms = tuple[tuple[int | None, int], ...]
"""What an axis is made of: (source or None, cells); more than one where axes were merged."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the cells of a tensor read of one axis of the network's input.

    Args:
        field: The receptive field along the axis; None where there is none to tell.
        whole: Whether some path reads the whole axis (global pooling, dense, attention). `field`
            is then what the other paths read.
        lost: Why the field cannot be told; empty when it can.
    """

    field: Field | None = field(default_factory=Field)
    whole: bool = False
    lost: str = ""

    def through(self, link: tuple[int, Map] | None, cells: int, merged: bool) -> "Reach":
        """The reach after an operation that reads an axis of this many cells by a link."""
        if link is None:
            return self if cells == 1 else Reach(None, whole=True, lost=self.lost)
        how = link[1]
        if how is None or self.field is None:
            return self
        if merged:
            return Reach(None, self.whole, "a window slides over several axes merged into one")
        if not isinstance(how, Window):
            return Reach(None, self.whole, "its size differs from cell to cell")
        try:
            return Reach(self.field.then(how), self.whole, self.lost)
        except InputError as error:
            return Reach(None, self.whole, str(error))

    def union(self, other: "Reach") -> "Reach":
        """The reach of two branches together."""
        whole, lost = self.whole or other.whole, self.lost or other.lost
        if self.field is None or other.field is None:
            return Reach(self.field or other.field, whole, lost)
        try:
            return Reach(self.field.union(other.field), whole, lost)
        except InputError as error:
            return Reach(None, whole, lost or str(error))
