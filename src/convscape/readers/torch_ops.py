"""What each PyTorch function does to a tensor: one small rule each, under its public signature.

torch.fx names functions as they are called (torch.relu, F.conv2d, Tensor.view), torch.export as
ATen operators (aten.conv2d.default); both end up here under one name. PyTorch itself is not
needed: tensors are nodes, weights are shapes, and sizes are plain integers.

Source: the signatures in PyTorch's documentation, torch.nn.functional and torch.Tensor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import per_axis
from convscape.arithmetic.network import Node, Weight
from convscape.arithmetic.padding import ceiled, resolve
from convscape.arithmetic.window import Window

Tensor = Node | Weight
Ints = int | Sequence[int]


@dataclass(slots=True)
class Call:
    """One call: where its node goes, and under which name.

    Args:
        builder: Where the node goes.
        name: The node's name.
        inplace: Whether the result overwrites the first input.
        buffers: Weights that the layer stores beside those it is called with.
    """

    builder: Builder
    name: str
    inplace: bool = False
    buffers: tuple[Weight, ...] = ()

    def node(self, x: Any) -> Node:
        """A tensor as a node; a weight that is used as one becomes a constant."""
        if isinstance(x, Node):
            return x
        if isinstance(x, Weight):
            return self.builder.constant(self.name, x.shape, [x], x.dtype)
        raise InputError("the operation needs a tensor", f"{type(x).__name__}", "check the model")


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a node or a weight."""
    shape = x.shape if isinstance(x, (Node, Weight)) else ()
    if shape is None:
        raise InputError("the input's shape must be known", f"{x.name}", "see there")
    return tuple(shape)


def _weights(*given: Any) -> list[Weight]:
    return [w for w in given if isinstance(w, Weight)]


def _axes(rank: int) -> tuple[int, ...]:
    return tuple(range(2, 2 + rank))


# -- convolution and pooling -------------------------------------------------------------------


def conv(
    c: Call, input: Any, weight: Any, bias: Any = None, stride: Ints = 1,
    padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1, padding_mode: str = "zeros",
) -> Node:  # fmt: skip
    """F.conv1d, conv2d, conv3d."""
    x, wanted = c.node(input), shape_of(weight)
    kernel = wanted[2:]
    rank = len(kernel)
    shape = shape_of(x)
    if len(shape) != rank + 2:
        raise InputError(
            f"a {rank}-D convolution needs batch, channels and {rank} axes", f"shape {shape}",
            "give the input without the batch axis, e.g. --input 3x224x224",
        )  # fmt: skip
    pads: Sequence[str | int] = (
        [padding] * rank if isinstance(padding, str) else _each(padding, rank)
    )
    settings = {"dialect": "torch", "padding": padding, "bias": bias is not None,
                "padding_mode": padding_mode}  # fmt: skip
    windows = tuple(
        resolve(p, n, k, s, d)
        for p, n, k, s, d in zip(
            pads, shape[2:], kernel, _each(stride, rank), _each(dilation, rank), strict=True
        )
    )
    return c.builder.conv(
        c.name, x, windows, axes=_axes(rank), channel_axis=1, out_channels=wanted[0],
        groups=groups, weight_shape=wanted, weights=_weights(weight, bias), settings=settings,
    )  # fmt: skip


def conv_transpose(
    c: Call, input: Any, weight: Any, bias: Any = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Node:  # fmt: skip
    """F.conv_transpose1d, 2d, 3d: (n - 1) stride - 2 padding + extent + output_padding cells."""
    x, wanted = c.node(input), shape_of(weight)
    rank = len(wanted) - 2
    windows = []
    for k, s, p, op, d in zip(
        wanted[2:], _each(stride, rank), _each(padding, rank), _each(output_padding, rank),
        _each(dilation, rank), strict=True,
    ):  # fmt: skip
        low = d * (k - 1) - p
        windows.append(Window(k, 1, d, s, (low, low + op)))
    settings = {"dialect": "torch", "padding": padding, "bias": bias is not None,
                "output_padding": output_padding}  # fmt: skip
    return c.builder.conv(
        c.name, x, windows, axes=_axes(rank), channel_axis=1, out_channels=wanted[1] * groups,
        groups=groups, weight_shape=wanted, transposed=True, weights=_weights(weight, bias),
        settings=settings,
    )  # fmt: skip


def _pool(op: str, rank: int) -> Callable[..., Node]:
    def windows(
        c: Call, x: Node, kernel: Ints, stride: Any, padding: Ints, dilation: Ints, ceil_mode: bool
    ) -> Node:
        steps = kernel if stride is None or stride == [] else stride
        made = []
        for n, k, s, p, d in zip(
            shape_of(x)[-rank:], _each(kernel, rank), _each(steps, rank), _each(padding, rank),
            _each(dilation, rank), strict=True,
        ):  # fmt: skip
            window = Window(k, s, d, 1, (p, p))
            made.append(ceiled(window, n) if ceil_mode else window)
        first = len(shape_of(x)) - rank
        axes = tuple(range(first, first + rank))
        settings = {"dialect": "torch", "padding": padding, "ceil_mode": ceil_mode}
        return c.builder.pool(c.name, op, x, made, axes=axes, settings=settings)

    def max_pool(
        c: Call, input: Any, kernel_size: Ints, stride: Any = None, padding: Ints = 0,
        dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Node:  # fmt: skip
        if return_indices:
            raise InputError("pooling is followed without its indices", "return_indices=True", "-")
        return windows(c, c.node(input), kernel_size, stride, padding, dilation, ceil_mode)

    def avg_pool(
        c: Call, input: Any, kernel_size: Ints, stride: Any = None, padding: Ints = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Node:  # fmt: skip
        return windows(c, c.node(input), kernel_size, stride, padding, 1, ceil_mode)

    def lp_pool(
        c: Call, input: Any, norm_type: float, kernel_size: Ints, stride: Any = None,
        ceil_mode: bool = False,
    ) -> Node:  # fmt: skip
        return windows(c, c.node(input), kernel_size, stride, 0, 1, ceil_mode)

    rules: dict[str, Callable[..., Node]] = {
        "max_pool": max_pool, "avg_pool": avg_pool, "lp_pool": lp_pool
    }  # fmt: skip
    return rules[op]


def _adaptive(op: str, rank: int) -> Callable[..., Node]:
    def rule(c: Call, input: Any, output_size: Any, return_indices: bool = False) -> Node:
        x = c.node(input)
        sizes = [output_size] * rank if isinstance(output_size, int) else list(output_size)
        first = len(shape_of(x)) - rank
        axes = tuple(range(first, first + rank))
        named = f"global_{op}" if all(s == 1 for s in sizes) else op
        return c.builder.adaptive_pool(c.name, named, x, sizes, axes=axes)

    return rule


def pad(c: Call, input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Node:
    """F.pad: pairs from the last axis on."""
    x = c.node(input)
    pairs = [(0, 0)] * len(shape_of(x))
    for i in range(len(pad) // 2):
        pairs[-1 - i] = (pad[2 * i], pad[2 * i + 1])
    return c.builder.pad(c.name, x, pairs, settings={"padding_mode": mode})


def interpolate(
    c: Call, input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: Any = None, antialias: bool = False,
) -> Node:  # fmt: skip
    """F.interpolate."""
    x = c.node(input)
    shape = shape_of(x)
    rank = len(shape) - 2
    if antialias:
        raise InputError("interpolation is followed without antialiasing", "antialias=True", "-")
    words = {"linear": "linear", "bilinear": "linear", "trilinear": "linear",
             "bicubic": "cubic", "nearest": "nearest", "nearest-exact": "nearest"}  # fmt: skip
    if mode not in words:
        raise InputError("an interpolation must be one that is followed", mode, "use another")
    if size is not None:
        sizes = list(_each(size, rank))
    else:
        factors = [scale_factor] * rank if not isinstance(scale_factor, Sequence) else scale_factor
        exact = [Fraction(f) * n for f, n in zip(factors, shape[2:], strict=True)]
        sizes = [e.numerator // e.denominator for e in exact]
        if any(e.denominator > 1 for e in exact) and not recompute_scale_factor:
            raise InputError(
                "a scale factor must give a whole number of cells to be followed",
                f"{scale_factor} of {shape[2:]}", "give size instead",
            )  # fmt: skip
    return c.builder.resize(
        c.name, x, sizes, axes=_axes(rank), mode=words[mode], half_pixel=mode == "nearest-exact",
        align_corners=bool(align_corners),
    )  # fmt: skip


def _upsample(mode: str) -> Callable[..., Node]:
    """aten.upsample_*.vec(input, output_size, [align_corners,] scale_factors)."""

    def rule(c: Call, input: Any, output_size: Any, *rest: Any) -> Node:
        corners = rest[0] if mode not in ("nearest", "nearest-exact") and rest else None
        scales = rest[-1] if rest and isinstance(rest[-1], Sequence) else None
        return interpolate(c, input, output_size, scales, mode, corners)

    return rule


def pixel_shuffle(c: Call, input: Any, upscale_factor: int) -> Node:
    """F.pixel_shuffle: channels become r by r cells, so cell o reads cell o // r."""
    x, r = c.node(input), upscale_factor
    n, channels, *spatial = shape_of(x)
    windows = Window(r, input_dilation=r, padding=(r - 1, r - 1))
    link = ((0, None), None, *((a, windows) for a in range(2, 2 + len(spatial))))
    out = (n, channels // r**2, *(s * r for s in spatial))
    return c.builder.add(c.name, "pixel_shuffle", (x,), out, (link,))


# -- cell by cell --------------------------------------------------------------------------------


def _cellwise(op: str, view: bool = False) -> Callable[..., Any]:
    def rule(c: Call, *args: Any, **kwargs: Any) -> Any:
        tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, (Node, Weight))]
        if not any(isinstance(v, Node) for v in tensors):
            tensors = [c.node(v) for v in tensors]
        dtype = {"dtype": "bool"} if op == "compare" else {}
        return c.builder.pointwise(c.name, op, tensors, view=view or c.inplace, **dtype)

    return rule


def dropout(
    c: Call, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Node:
    """F.dropout and its kin."""
    settings = {"rate": p}
    return c.builder.pointwise(c.name, "dropout", [c.node(input)], view=True, settings=settings)


def prelu(c: Call, input: Any, weight: Any) -> Node:
    """F.prelu: a slope for all, or for each channel."""
    return c.builder.pointwise(c.name, "prelu", [c.node(input)], weights=_weights(weight))


def to(c: Call, input: Any, *args: Any, **kwargs: Any) -> Node:
    """Tensor.to, type, float, half, ...: another type of number."""
    dtype = next(
        (str(v).removeprefix("torch.") for v in (*args, *kwargs.values()) if "torch." in str(v)
         and "device" not in str(type(v))), None,
    )  # fmt: skip
    x = c.node(input)
    if dtype is None or dtype == x.dtype:
        return c.builder.pointwise(c.name, "identity", [x], view=True)
    return c.builder.pointwise(c.name, "cast", [x], dtype=dtype)


# -- dense, normalization, attention ---------------------------------------------------------


def linear(c: Call, input: Any, weight: Any, bias: Any = None) -> Node:
    """F.linear."""
    units, features = shape_of(weight)
    return c.builder.dense(
        c.name, c.node(input), units, in_features=features, weights=_weights(weight, bias),
        settings={"dialect": "torch", "bias": bias is not None},
    )  # fmt: skip


def batch_norm(
    c: Call, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any,
    training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5, *_: Any,
) -> Node:  # fmt: skip
    """aten.batch_norm."""
    x = c.node(input)
    channels = shape_of(x)[1] if len(shape_of(x)) > 1 else 0
    stored = _weights(weight, bias, running_mean, running_var)
    if any(w.shape != (channels,) for w in stored):
        raise InputError(
            f"batch normalization over {stored[0].shape[0]} channels needs as many",
            f"shape {shape_of(x)}", "check the input shape",
        )  # fmt: skip
    settings = {"dialect": "torch", "axis": 1, "momentum": momentum, "epsilon": eps,
                "statistics": running_mean is not None}  # fmt: skip
    return c.builder.pointwise(
        c.name, "batch_norm", [x], weights=[*stored, *c.buffers], settings=settings
    )


def batch_norm_function(
    c: Call, input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Node:  # fmt: skip
    """F.batch_norm, whose arguments come in another order."""
    return batch_norm(c, input, weight, bias, running_mean, running_var, training, momentum, eps)


def layer_norm(
    c: Call, input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *_: Any,
) -> Node:  # fmt: skip
    """F.layer_norm and F.rms_norm."""
    x = c.node(input)
    if shape_of(x)[-len(normalized_shape) :] != tuple(normalized_shape):
        raise InputError(
            f"layer normalization needs last axes {tuple(normalized_shape)}",
            f"shape {shape_of(x)}", "check the input shape",
        )  # fmt: skip
    axes = range(-len(normalized_shape), 0)
    return c.builder.mix(c.name, "layer_norm", x, axes, weights=_weights(weight, bias))


def group_norm(
    c: Call, input: Any, num_groups: int, weight: Any = None, bias: Any = None, *_: Any, **__: Any
) -> Node:
    """F.group_norm."""
    x = c.node(input)
    axes = range(1, len(shape_of(x)))
    return c.builder.mix(c.name, "group_norm", x, axes, weights=_weights(weight, bias))


def instance_norm(
    c: Call, input: Any, weight: Any = None, bias: Any = None, *_: Any, **__: Any
) -> Node:
    """aten.instance_norm."""
    x = c.node(input)
    axes = range(2, len(shape_of(x)))
    stored = _weights(weight, bias, *_)
    return c.builder.mix(c.name, "instance_norm", x, axes, weights=[*stored, *c.buffers])


def _softmax(op: str) -> Callable[..., Node]:
    def rule(c: Call, input: Any, dim: int | None = None, *_: Any, **__: Any) -> Node:
        return c.builder.mix(c.name, op, c.node(input), [-1 if dim is None else dim])

    return rule


def matmul(c: Call, input: Any, other: Any, *_: Any) -> Node:
    """torch.matmul, mm, bmm; a weight on the right is a dense layer."""
    if isinstance(other, Weight) and len(other.shape) == 2:
        return c.builder.dense(
            c.name, c.node(input), other.shape[1], in_features=other.shape[0], weights=[other]
        )
    return c.builder.matmul(c.name, c.node(input), c.node(other))


def addmm(c: Call, input: Any, mat1: Any, mat2: Any, **_: Any) -> Node:
    """torch.addmm: a bias, and a product with weights."""
    if not isinstance(mat2, Weight):
        return c.builder.matmul(c.name, c.node(mat1), c.node(mat2))
    return c.builder.dense(
        c.name, c.node(mat1), mat2.shape[1], in_features=mat2.shape[0],
        weights=_weights(mat2, input),
    )  # fmt: skip


def attention(c: Call, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Node:
    """F.scaled_dot_product_attention."""
    return c.builder.attention(c.name, c.node(query), c.node(key), c.node(value))


def embedding(c: Call, input: Any, weight: Any, *_: Any, **__: Any) -> Node:
    """F.embedding; ATen has the weight first."""
    if isinstance(input, Weight):
        input, weight = weight, input
    x = c.node(input)
    link = tuple((a, None) for a in range(len(shape_of(x))))
    return c.builder.add(
        c.name, "embedding", (x,), (*shape_of(x), shape_of(weight)[1]), (link,),
        weights=_weights(weight), dtype="float32",
    )  # fmt: skip


# -- the same cells otherwise ------------------------------------------------------------------


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


def _reduction(op: str) -> Callable[..., Node]:
    def rule(
        c: Call, input: Any, dim: Any = None, keepdim: bool = False, *_: Any, **__: Any
    ) -> Node:
        x = c.node(input)
        axes = range(len(shape_of(x))) if dim is None else [dim] if isinstance(dim, int) else dim
        return c.builder.reduce(c.name, op, x, axes, keepdim)

    return rule


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


def _each(value: Ints, rank: int) -> tuple[int, ...]:
    if isinstance(value, Sequence) and len(value) == 1:
        value = value[0]
    return per_axis("setting", value, rank)


def _same(names: str, rule: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return dict.fromkeys(names.split(), rule)


def _ranked(name: str, rule: Callable[[int], Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {f"{name}{rank}d": rule(rank) for rank in (1, 2, 3)}


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **_ranked("conv", lambda rank: conv),
    **_ranked("conv_transpose", lambda rank: conv_transpose),
    **_ranked("max_pool", lambda rank: _pool("max_pool", rank)),
    **_ranked("avg_pool", lambda rank: _pool("avg_pool", rank)),
    **_ranked("lp_pool", lambda rank: _pool("lp_pool", rank)),
    **_ranked("adaptive_avg_pool", lambda rank: _adaptive("avg_pool", rank)),
    **_ranked("adaptive_max_pool", lambda rank: _adaptive("max_pool", rank)),
    "pad": pad,
    "prelu": prelu,
    **_same("interpolate upsample", interpolate),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_nearest3d": _upsample("nearest"),
    "upsample_linear1d": _upsample("linear"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_trilinear3d": _upsample("trilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
    "pixel_shuffle": pixel_shuffle,
    "linear": linear,
    "batch_norm": batch_norm_function,
    **_same("layer_norm rms_norm", layer_norm),
    "group_norm": group_norm,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    **_same("matmul mm bmm", matmul),
    "addmm": addmm,
    "scaled_dot_product_attention": attention,
    "embedding": embedding,
    **_same("view reshape", reshape),
    "flatten": flatten,
    "unflatten": unflatten,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "permute": permute,
    **_same("transpose t swapaxes", transpose),
    **_same("expand", expand),
    **_same("cat concat concatenate", cat),
    "stack": stack,
    "select": select,
    "slice": slice_,
    "narrow": narrow,
    "getitem": getitem,
    "chunk": chunk,
    **_same("split split_with_sizes", split),
    "unbind": unbind,
    "size": size,
    "dim": dim,
    "numel": numel,
    **_same("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout", dropout),
    **_same("to type float half double bfloat16 _to_copy type_as", to),
    **_same("zeros ones full empty rand randn", _created),
    "arange": _arange,
    **{op: _reduction(op) for op in ("mean", "sum", "amax", "amin", "var", "std", "norm")},
    **_same(
        "contiguous clone detach alias positive detach_ lift_fresh_copy",
        _cellwise("identity", view=True),
    ),
    **{
        op: _cellwise(op)
        for op in (
            "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "elu",
            "selu", "leaky_relu", "softplus", "mish", "add", "sub", "mul", "exp", "sqrt",
            "rsqrt", "abs", "log", "celu", "logsigmoid", "hardtanh", "erf", "sin", "cos", "floor",
            "where", "reciprocal", "round", "softsign", "threshold", "rsub", "fmod",
        )
    },
    **_same("truediv div true_divide", _cellwise("div")),
    **_same("neg negative", _cellwise("neg")),
    **_same("pow square", _cellwise("pow")),
    **_same("clamp clip clamp_min clamp_max", _cellwise("clamp")),
    **_same("maximum", _cellwise("max")),
    **_same("minimum", _cellwise("min")),
    **_same("masked_fill zeros_like ones_like full_like", _cellwise("fill")),
    **_same("eq ne gt lt ge le logical_not bitwise_not logical_and", _cellwise("compare")),
    **_same("iadd", _cellwise("add")),
    **_same("imul", _cellwise("mul")),
}  # fmt: skip
"""A rule for each function and method, by the name it is called by."""


def _with_indices(rule: Callable[..., Node]) -> Callable[..., Any]:
    """An operator that gives a tensor and the places it comes from, which are not followed."""

    def both(c: Call, *args: Any, **kwargs: Any) -> tuple[Node, None]:
        return rule(c, *args, **kwargs), None

    return both


ATEN: Mapping[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **_ranked("adaptive_max_pool", lambda r: _with_indices(_adaptive("max_pool", r))),
    **{f"max_pool{r}d_with_indices": _with_indices(_pool("max_pool", r)) for r in (1, 2, 3)},
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
}
"""The same for ATen operators, some of which order arguments or results otherwise."""
