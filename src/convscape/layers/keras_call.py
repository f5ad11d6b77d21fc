"""The call of a Keras layer, without what Keras would look for in vain.

`keras.layers.Layer.__call__` binds arguments to a signature, flattens them for nested ones, opens
name scopes, and looks for symbols, masks and scopes: a tenth of a millisecond, and several behind a
kernel that has taken Python's code out of the caches. Of a layer that is built and given one plain
tensor of its own type there remain the errors about its shape, which Keras raises, and the training
flag, which layers pass on in Keras's call context. Wherever anything else may hold, Keras's own
call runs.
"""

from typing import Any, NamedTuple

import keras
import torch
from keras.src.backend import get_autocast_scope  # it has no public name

TYPES = {"float32": torch.float32, "float64": torch.float64}
"""What the kernels compute in, by Keras's names."""


class _Settled(NamedTuple):
    """What a layer's settings say, once for as long as they are the same objects.

    Args:
        policy: The settings' type policy.
        spec: What Keras asks of the input.
        dtype: The type of the input, of the variables and of what is computed, or None where
            Keras's own call is needed.
        ranks: How many axes an input may have.
        axes: Sizes that axes must have.
    """

    policy: Any
    spec: Any
    dtype: torch.dtype | None
    ranks: tuple[int | None, ...]
    axes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, layer: Any) -> "_Settled":
        """A layer's."""
        policy, spec = layer.dtype_policy, layer.input_spec
        known = type(spec) is keras.InputSpec and spec.shape is spec.dtype is spec.max_ndim is None
        # A map of policies changes and remains the same object.
        fixed = type(policy) is keras.DTypePolicy and policy.variable_dtype == policy.compute_dtype
        if not known or not fixed or getattr(layer, "_remat_mode", None):
            return cls(policy, spec, None, (), ())
        axes = tuple((axis, size) for axis, size in spec.axes.items() if size is not None)
        return cls(policy, spec, TYPES.get(policy.compute_dtype), (spec.ndim, spec.min_ndim), axes)


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


def values(*variables: Any) -> list[Any]:
    """The tensors of variables, and None for None; not where Keras keeps variables elsewhere.

    Each is a variable's `value`, which looks for three scopes; here the one that is left is looked
    for once.
    """
    if get_autocast_scope() is not None:
        return [None if v is None else v.value for v in variables]
    return [None if v is None else v._value for v in variables]


def _told(layer: Any, kwargs: dict[str, Any]) -> bool:
    """Whether nothing is given by name but the training flag, to a layer that has one."""
    if not kwargs:
        return True
    given = kwargs.get("training")
    return given is not None and len(kwargs) == 1 and layer._call_has_training_arg is True


def _plain(layer: Any, x: torch.Tensor) -> bool:
    """Whether Keras has nothing to build, convert, record, or look at beside the numbers."""
    if not layer.built or layer._layers or layer.activity_regularizer is not None or not x.is_cpu:
        return False
    settled = layer.__dict__.get("_settled")
    if (
        settled is None
        or settled.policy is not layer.dtype_policy
        or settled.spec is not layer.input_spec
    ):
        settled = layer.__dict__["_settled"] = _Settled.of(layer)
    shape = x.shape
    return (
        settled.dtype is x.dtype
        and len(shape) in settled.ranks
        and all(shape[axis] == size for axis, size in settled.axes)
        and not hasattr(x, "_keras_mask")
        and get_autocast_scope() is None
        and keras.distribution.distribution() is None
    )
