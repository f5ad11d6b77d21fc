"""What each Keras layer and operation does to a tensor: every rule, by the class's name.

The sizes and weights follow from a layer's configuration alone; Keras itself is not needed.
"""

from collections.abc import Mapping

from convscape.readers.keras.call import Rule
from convscape.readers.keras.cells import CELLS
from convscape.readers.keras.order import ORDER
from convscape.readers.keras.windows import WINDOWS

LAYERS: Mapping[str, Rule] = {**WINDOWS, **CELLS, **ORDER}
"""A rule for each class of layer or operation; a class that is not here is unknown."""
