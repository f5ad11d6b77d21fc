"""How Keras, PyTorch, ONNX and JAX spell a window, and what each makes of the same spelling.

`window` is one axis; `Layer` is a whole layer as it is written in one of them. `translate` (in
`dialects.translate`) writes it for another framework, and `code` (in `dialects.write`) as a
snippet to paste.
"""

from convscape.arithmetic.dialects.layer import Layer
from convscape.arithmetic.dialects.rules import (
    DIALECTS,
    default_padding,
    default_stride,
    dialect_named,
    window,
)

__all__ = ["DIALECTS", "Layer", "default_padding", "default_stride", "dialect_named", "window"]
