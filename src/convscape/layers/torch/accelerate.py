"""A torch model made ready for inference on our kernels."""

import copy
import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

from convscape.arithmetic.errors import InputError
from convscape.layers.torch.convert import restore
from convscape.layers.torch.replay import Replays
from convscape.layers.torch.rewrite import rewrite, uses_ours

_LAST = torch.channels_last


class Accelerated(nn.Module):
    """What `accelerate` returns: the traced model between two changes of memory order.

    It stays in evaluation (`train` changes nothing) and computes no gradients.

    Args:
        traced: The rewritten graph.
        signature: Of the model's `forward`.
    """

    _replays: Replays | None = None

    def __init__(self, traced: fx.GraphModule, signature: inspect.Signature) -> None:
        super().__init__()
        self.traced, self.signature = traced, signature
        self.lays = uses_ours(traced)
        one = inspect.Parameter
        kinds = [p.kind for p in signature.parameters.values()]
        # Arguments of a call that gives all in their order; -1 where there may be no such call.
        ordered = {*kinds} <= {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
        self.positional = len(kinds) if ordered else -1
        self.train(False)

    def __getstate__(self) -> dict[str, Any]:
        """Without recordings: a copy makes its own."""
        return {name: value for name, value in vars(self).items() if name != "_replays"}

    def forward(self, *given: Any, **named: Any) -> Any:
        """The model's own arguments and results; 4-D results lie in memory as the images came."""
        if self.positional == len(given) and not named:
            values: list[Any] = list(given)
            keywords: dict[str, Any] = {}
        else:
            values, keywords = self._bound(given, named)
        plain = any(_is_image(v) and v.is_contiguous() for v in values)
        with torch.no_grad():
            if self.lays and not keywords and not torch.compiler.is_compiling():
                if self._replays is None:
                    self._replays = Replays(self.traced)
                played = self._replays.play(values, partial(_own, plain=plain))
                if played is not None:
                    return played[0]
            if self.lays:
                values = [v.contiguous(memory_format=_LAST) if _is_image(v) else v for v in values]
            results = self.traced(*values, **keywords)
            return tree_map(_plain, results) if plain and self.lays else results

    def _bound(self, given: Any, named: Any) -> tuple[list[Any], dict[str, Any]]:
        """Values of the model's arguments, in order, and those beside."""
        bound = self.signature.bind(*given, **named)
        bound.apply_defaults()
        values: list[Any] = []
        keywords: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                values += value
            elif kind is inspect.Parameter.VAR_KEYWORD:
                keywords = value
            else:
                values.append(value)
        return values, keywords

    def extra_repr(self) -> str:
        """What is recorded of it, by the kind of its inputs."""
        return "" if self._replays is None else str(self._replays)

    def train(self, mode: bool = True) -> "Accelerated":
        """Nothing: what was folded cannot be trained."""
        return super().train(False)


def accelerate(model: nn.Module) -> nn.Module:
    """A copy of a model for inference on our kernels; the model itself is left as it is.

    The copy is in evaluation, traced by torch.fx. Batch normalization is folded into the
    convolution before it (weight' = weight gamma / sqrt(var + eps)), a ReLU behind a convolution or
    batch normalization is taken in the same pass, sums and activations are done in place where
    nobody else reads the memory, and convolutions and pooling, modules or functions, are ours, as
    are dense layers on (N, C), whose weights are arranged once like a convolution's.
    Inside, images lie in channels-last memory; results come back in the order of memory that the
    input had. The numbers are the model's up to rounding.

    Arguments of `forward` behind the first keep their defaults if these are None, numbers, names or
    flags: tracing follows one path. Hooks on layers are called, and such layers are fused with
    nothing; hooks on containers are not called.

    Args:
        model: Any model that torch.fx can trace; in any mode, converted or not.

    Returns:
        An `Accelerated` module.

    Raises:
        InputError: torch.fx cannot trace it.

    Source: R. Krishnamoorthi, arXiv 1806.08342, section 3.2 (folding).

    Example:
        >>> layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        >>> accelerate(nn.Sequential(*layers))(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8, 6, 6])
    """
    if isinstance(model, Accelerated):
        return copy.deepcopy(model)
    # In inference mode its weights would be tensors of whose changes torch keeps no account.
    with torch.inference_mode(False), torch.no_grad():
        made = restore(copy.deepcopy(model)).eval().requires_grad_(False)
        signature = inspect.signature(made.forward)
        traced = _traced(nn.Sequential(made) if _is_layer(made) else made, signature)
        rewrite(traced)
        return Accelerated(traced, signature)


def _traced(model: nn.Module, signature: inspect.Signature) -> fx.GraphModule:
    fixed = {
        name: p.default
        for name, p in list(signature.parameters.items())[1:]
        if p.default is None or isinstance(p.default, bool | int | float | str)
    }
    try:
        return fx.symbolic_trace(model, concrete_args=fixed or None)
    except Exception as error:
        raise InputError(
            "accelerate needs a model that torch.fx can trace",
            f"{type(error).__name__}: {error}",
            "use convert(model), or accelerate the modules inside it that can be traced",
        ) from error


def _is_layer(module: nn.Module) -> bool:
    """Whether tracing would look into torch's own code."""
    return type(module).__module__.startswith("torch.nn") and not any(module.children())


def _is_image(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() == 4 and x.is_floating_point()


def _plain(y: Any) -> Any:
    turned = isinstance(y, Tensor) and y.dim() == 4 and y.is_contiguous(memory_format=_LAST)
    return y.contiguous() if turned else y


def _own(y: Any, plain: bool) -> Any:
    """A result of a recording, in memory of its own, and in plain order if asked for."""
    if not isinstance(y, Tensor):
        return y
    order = torch.contiguous_format if plain and y.dim() == 4 else torch.preserve_format
    return y.clone(memory_format=order)
