"""Between torch and NumPy: memory shared both ways, and one team of threads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.kernels import Problem
from convscape.kernels.cpu import memory

if TYPE_CHECKING:  # Numba is loaded with the first call
    from convscape.kernels.cpu.bound import Bound

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

PLAIN = torch.Tensor, torch.nn.Parameter
"""Classes of tensors that have memory of their own."""

_PLANS = 1024  # settings that an op remembers

TYPES = {np.dtype(name): getattr(torch, name) for name in ("float32", "float64", "uint8", "int32")}
"""Torch's names of the types that kernels write."""

_DTYPES = {d: str(d).removeprefix("torch.") for d in vars(torch).values() if type(d) is torch.dtype}


def array(x: torch.Tensor) -> Array:
    """A tensor's memory as an array; nothing is copied, strides are kept."""
    result: Array = (x.detach() if x.requires_grad else x).numpy()
    return result


def tensor(x: Array) -> torch.Tensor:
    """An array's memory as a tensor; nothing is copied, strides are kept."""
    return torch.from_numpy(x)


def threads() -> int:
    """The threads to compute with: torch's own setting, followed on every call."""
    return torch.get_num_threads()


def empty_like(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """An empty tensor of this shape in x's memory order."""
    last = x.dim() == 4 and x.permute(0, 2, 3, 1).is_contiguous()
    order = torch.channels_last if last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=order)


def problem(
    op: str,
    x: torch.Tensor,
    geometry: Geometry | None = None,
    shape: tuple[int, ...] | None = None,
) -> Problem:
    """What is to be computed, for the table; of x's shape unless another is given."""
    shape = tuple(x.shape) if shape is None else shape
    return Problem(op, shape, dtype_name(x.dtype), x.device.type, geometry)


def dtype_name(dtype: torch.dtype) -> str:
    """Such as "float32"."""
    return _DTYPES[dtype]


def fixed(value: Any) -> Any:
    """An argument as a key of a cache: sequences become tuples."""
    if type(value) is int:  # by far the most common
        return value
    return tuple(map(fixed, value)) if isinstance(value, list | tuple) else value


def kind(x: torch.Tensor) -> Any:
    """What checks and plans look at in a tensor, as a key of a cache."""
    return type(x), x.shape, x.stride(), x.dtype, x.device


def has_memory(*tensors: torch.Tensor) -> bool:
    """Whether these may be computed on by their addresses alone.

    Of torch's own classes only: a tensor of a tracer, which has a shape and no numbers, gives 0 for
    its address, where its array is refused.
    """
    return all(type(x) in PLAIN for x in tensors)


def results(call: "Bound", x: torch.Tensor, *others: torch.Tensor | None) -> list[torch.Tensor]:
    """The tensors that a call fills from the memory of x and others, which a recording holds."""
    recorded = memory.recorded()
    found = []
    for result in call.results:
        if result.large or recorded is not None:
            y = tensor(result.kept())
        else:
            dtype = TYPES[result.dtype]
            y = x.new_empty_strided(result.shape, result.strides, dtype=dtype)
        if type(y) is not torch.Tensor:
            raise TypeError(f"a kernel needs memory to write to, and this mode gives {type(y)}")
        found.append(y)
    if recorded is not None:
        for read in (x, *others):
            if read is not None:
                recorded.hold(read, read.data_ptr())
    return found


def remember(plans: dict[Any, T], key: Any, plan: T) -> T:
    """Keep a plan for the next call with this key; a network asks for the same few."""
    if len(plans) >= _PLANS:
        plans.clear()
    plans[key] = plan
    return plan


def check_tensor(x: object, name: str) -> None:
    """Refuse what is no tensor."""
    if not isinstance(x, torch.Tensor):
        raise InputError(f"{name} must be a torch tensor", type(x).__name__, "use torch.as_tensor")


def check_input(x: torch.Tensor, name: str, ranks: tuple[int, ...], layout: str) -> None:
    """Refuse what is no floating-point tensor of one of these ranks."""
    check_tensor(x, name)
    if not x.is_floating_point():
        raise InputError(
            f"{name} must be floating-point", f"dtype {x.dtype}", f"convert it: {name}.float()"
        )
    if x.dim() not in ranks:
        raise InputError(
            f"{name} must be {layout}",
            f"{x.dim()} axes, shape {tuple(x.shape)}",
            "add or remove axes with reshape",
        )


def check_same(name: str, x: torch.Tensor, other: torch.Tensor) -> None:
    """Refuse tensors of another dtype or device than the input's."""
    if other.dtype != x.dtype or other.device != x.device:
        raise InputError(
            f"{name} must have the input's dtype and device",
            f"{other.dtype} on {other.device} beside {x.dtype} on {x.device}",
            f"convert it: {name}.to(input)",
        )


def run(function: Any, *given: Any) -> Any:
    """An `autograd.Function`; without autograd's bookkeeping where nobody asks for its gradient.

    In a backward pass that is wherever `create_graph` is not set. Its `forward` then gets no `ctx`.
    """
    if torch.is_grad_enabled():
        return function.apply(*given)
    return function.forward(None, *given)


def needs_grad(*tensors: torch.Tensor | None) -> bool:
    """Whether autograd must see this call."""
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in tensors)
