"""Rules for PyTorch's reshapes, slices and joins."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.readers.torch.call import Call, Ints, shape_of, under_names


def _reshaped(c: Call, x: Any, shape: Sequence[int], op: str = "reshape") -> Node:
    return c.builder.reshape(c.name, c.node(x), tuple(shape), op=op)


def reshape(c: Call, input: Any, *shape: Any, **kwargs: Any) -> Node:
    """Tensor.view and reshape, with a list or with numbers."""
    given = kwargs.get("shape", shape[0] if shape and not isinstance(shape[0], int) else shape)
    return _reshaped(c, input, given)


def flatten(c: Call, input: Any, start_dim: int = 0, end_dim: int = -1) -> Node:
    """torch.flatten."""
    shape = shape_of(input)
    first, last = start_dim % len(shape), end_dim % len(shape)
    new = (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])
    return _reshaped(c, input, new, "flatten")


def unflatten(c: Call, input: Any, dim: int, sizes: Sequence[int]) -> Node:
    """Tensor.unflatten."""
    shape = shape_of(input)
    dim %= len(shape)
    return _reshaped(c, input, (*shape[:dim], *sizes, *shape[dim + 1 :]))


def unsqueeze(c: Call, input: Any, dim: int) -> Node:
    """torch.unsqueeze."""
    shape = list(shape_of(input))
    shape.insert(dim if dim >= 0 else len(shape) + 1 + dim, 1)
    return _reshaped(c, input, shape)


def squeeze(c: Call, input: Any, dim: Any = None) -> Node:
    """torch.squeeze."""
    shape = shape_of(input)
    dims = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {d % len(shape) for d in dims}
    return _reshaped(c, input, [n for a, n in enumerate(shape) if n != 1 or a not in gone])


def permute(c: Call, input: Any, *dims: Any, **kwargs: Any) -> Node:
    """Tensor.permute, with a list or with numbers."""
    order = kwargs.get("dims", dims[0] if dims and not isinstance(dims[0], int) else dims)
    return c.builder.permute(c.name, c.node(input), order)


def transpose(c: Call, input: Any, dim0: int = 0, dim1: int = 1) -> Node:
    """torch.transpose and Tensor.t."""
    order = list(range(len(shape_of(input))))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return c.builder.permute(c.name, c.node(input), order)


def expand(c: Call, input: Any, *sizes: Any, **_: Any) -> Node:
    """Tensor.expand."""
    shape = sizes[0] if sizes and not isinstance(sizes[0], int) else sizes
    return c.builder.expand(c.name, c.node(input), shape)


def cat(c: Call, tensors: Sequence[Any], dim: int = 0) -> Node:
    """torch.cat."""
    return c.builder.concat(c.name, [c.node(t) for t in tensors], dim)


def stack(c: Call, tensors: Sequence[Any], dim: int = 0) -> Node:
    """torch.stack."""
    return c.builder.concat(c.name, [unsqueeze(c, t, dim) for t in tensors], dim)


def select(c: Call, input: Any, dim: int, index: int) -> Node:
    """Tensor.select: one index of an axis."""
    shape = shape_of(input)
    cuts: list[range | int] = [range(n) for n in shape]
    cuts[dim] = index % shape[dim]
    return c.builder.slice(c.name, c.node(input), cuts)


def slice_(
    c: Call, input: Any, dim: int = 0, start: int | None = None, end: int | None = None,
    step: int = 1,
) -> Node:  # fmt: skip
    """aten.slice."""
    shape = shape_of(input)
    cuts: list[range | int] = [range(n) for n in shape]
    cuts[dim] = range(shape[dim])[start:end:step]
    return c.builder.slice(c.name, c.node(input), cuts)


def narrow(c: Call, input: Any, dim: int, start: int, length: int) -> Node:
    """torch.narrow."""
    return slice_(c, input, dim, start, start + length)


def getitem(c: Call, input: Any, index: Any) -> Any:
    """Indexing: integers, slices, None and an ellipsis."""
    if not isinstance(input, (Node, Weight)):
        return input[index]
    shape = shape_of(input)
    given = list(index) if isinstance(index, (tuple, list)) else [index]
    if any(not (i is None or i is Ellipsis or isinstance(i, (int, slice))) for i in given):
        raise InputError("indexing is followed with integers and slices", f"{index}", "-")
    if Ellipsis in given:
        at = given.index(Ellipsis)
        fill = len(shape) - sum(i is not None and i is not Ellipsis for i in given)
        given[at : at + 1] = [slice(None)] * fill
    given += [slice(None)] * (len(shape) - sum(i is not None for i in given))
    sizes, axis = [], 0
    cuts: list[range | int] = []
    for i in given:
        if i is None:
            sizes.append(1)
            continue
        cut = i % shape[axis] if isinstance(i, int) else range(shape[axis])[i]
        cuts.append(cut)
        if not isinstance(cut, int):
            sizes.append(len(cut))
        axis += 1
    cut_out = c.builder.slice(c.name, c.node(input), cuts)
    return _reshaped(c, cut_out, sizes) if None in given else cut_out


def chunk(c: Call, input: Any, chunks: int, dim: int = 0) -> tuple[Node, ...]:
    """torch.chunk."""
    n = shape_of(input)[dim]
    return split(c, input, -(-n // chunks), dim)


def split(c: Call, tensor: Any, split_size_or_sections: Ints, dim: int = 0) -> tuple[Node, ...]:
    """torch.split."""
    n, size = shape_of(tensor)[dim], split_size_or_sections
    sizes = [min(size, n - a) for a in range(0, n, size)] if isinstance(size, int) else list(size)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(c, tensor, dim, a, s) for a, s in zip(starts, sizes, strict=True))


def unbind(c: Call, input: Any, dim: int = 0) -> tuple[Node, ...]:
    """torch.unbind."""
    return tuple(select(c, input, dim, i) for i in range(shape_of(input)[dim]))


def _created(c: Call, *size: Any, **_: Any) -> Node:
    """torch.zeros, ones, full, ...: a tensor that depends on no input."""
    shape = size[0] if size and not isinstance(size[0], int) else size
    return c.builder.constant(c.name, tuple(shape))


def _arange(c: Call, *bounds: Any, **_: Any) -> Node:
    return c.builder.constant(c.name, (len(range(*bounds)),), dtype="int64")


def size(c: Call, input: Any, dim: int | None = None) -> Any:
    """Tensor.size."""
    return shape_of(input) if dim is None else shape_of(input)[dim]


def dim(c: Call, input: Any) -> int:
    """Tensor.dim."""
    return len(shape_of(input))


def numel(c: Call, input: Any) -> int:
    """Tensor.numel."""
    return prod(shape_of(input))


ORDER: Mapping[str, Callable[..., Any]] = {
    **under_names("view reshape", reshape),
    "flatten": flatten,
    "unflatten": unflatten,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "permute": permute,
    **under_names("transpose t swapaxes", transpose),
    "expand": expand,
    **under_names("cat concat concatenate", cat),
    "stack": stack,
    "select": select,
    "slice": slice_,
    "narrow": narrow,
    "getitem": getitem,
    "chunk": chunk,
    **under_names("split split_with_sizes", split),
    "unbind": unbind,
    "size": size,
    "dim": dim,
    "numel": numel,
    **under_names("zeros ones full empty rand randn", _created),
    "arange": _arange,
}
"""The functions that move cells, cut them out, or ask for sizes."""
