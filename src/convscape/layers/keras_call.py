"""The call of a Keras layer, without what Keras would look for in vain.

`keras.layers.Layer.__call__` binds arguments to a signature, flattens them for nested ones, opens
name scopes, and looks for symbols, masks and scopes: a tenth of a millisecond, in which a small
layer's kernel is done. Of a layer that is built and given one plain tensor of its own type there
remain the errors about its shape, which Keras raises, and the training flag, which layers pass on
in Keras's call context. Wherever anything else may hold, Keras's own call runs.
"""

from typing import Any

import keras
import torch
from keras.src.backend import get_autocast_scope  # there is no public name for it

TYPES = {"float32": torch.float32, "float64": torch.float64}
"""What the kernels compute in, by Keras's names."""


class Direct:
    """Base of a layer whose `call` takes a tensor, and at most the training flag beside it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`call`, where Keras's own call would come to the same; else that."""
        layer: Any = self
        x = args[0] if len(args) == 1 else None
        if type(x) is not torch.Tensor or not (_plain(layer, x) and _told(layer, kwargs)):
            return super().__call__(*args, **kwargs)  # type: ignore[misc]
        context = layer._get_call_context()
        try:
            if not layer._call_has_training_arg:
                return layer.call(x)
            training = kwargs.get("training", getattr(context, "training", None))
            context.training = training  # layers that are called behind this one inherit it
            return layer.call(x, training=training)
        finally:
            layer._maybe_reset_call_context()


def _told(layer: Any, kwargs: dict[str, Any]) -> bool:
    """Whether nothing is given by name but the training flag, to a layer that has one."""
    if not kwargs:
        return True
    given = kwargs.get("training")
    return given is not None and len(kwargs) == 1 and layer._call_has_training_arg is True


def _plain(layer: Any, x: torch.Tensor) -> bool:
    """Whether Keras has nothing to build, convert, record, or look at beside the numbers."""
    dtype = layer.compute_dtype
    return (
        layer.built
        and TYPES.get(dtype) is x.dtype
        and layer.variable_dtype == dtype
        and _fits(layer.input_spec, x)
        and not hasattr(x, "_keras_mask")
        and layer.activity_regularizer is None
        and not getattr(layer, "_remat_mode", None)
        and get_autocast_scope() is None
        and keras.distribution.distribution() is None
    )


def _fits(spec: Any, x: torch.Tensor) -> bool:
    """Whether x is what a layer was built for, in its rank and the sizes of its axes."""
    if type(spec) is not keras.InputSpec or x.dim() not in (spec.ndim, spec.min_ndim):
        return False
    shape = x.shape
    return all(size is None or shape[axis] == size for axis, size in spec.axes.items()) and (
        spec.shape is spec.dtype is spec.max_ndim is None
    )
