"""Snippets for PyTorch."""

from convscape.arithmetic.dialects.translate import Pairs, Translation


def write(t: Translation) -> str:
    """The snippet of one translation."""
    layer, rank = t.layer, t.layer.rank
    before = _constant_pad(t.pad, rank, layer.operation == "max_pool")
    after = _constant_pad(tuple((-low, -high) for low, high in t.crop), rank, False)
    stages = [*before, f"nn.{_module(t)}", *after]
    if t.counted is not None:
        body = _masked(t, stages[-1])
    elif len(stages) == 1:
        body = f"layer = {stages[0]}\n"
    else:
        inner = "".join(f"    {stage},\n" for stage in stages)
        body = f"layer = nn.Sequential(\n{inner})\n"
    sizes = ", ".join(map(str, (1, layer.in_channels, *t.spatial)))
    return (
        f"import torch\nfrom torch import nn\n\n{body}\n"
        f"x = torch.randn({sizes})\nprint(tuple(layer(x).shape[2:]))  # {t.outputs}"
    )


def _module(t: Translation) -> str:
    layer, rank = t.layer, t.layer.rank
    options = [f"stride={layer.stride}"]
    padding = layer.padding[0] if isinstance(layer.padding[0], str) else layer.padding
    if isinstance(padding, tuple):
        padding = tuple(p if isinstance(p, int) else p[0] for p in padding)
    if padding not in ("valid", (0,) * rank):
        options.append(f"padding={padding!r}")
    if layer.operation == "transposed" and layer.output_padding and any(layer.output_padding):
        options.append(f"output_padding={layer.output_padding}")
    if max(layer.dilation) > 1:
        options.append(f"dilation={layer.dilation}")
    if layer.ceil_mode:
        options.append("ceil_mode=True")
    if layer.pooling:
        if layer.operation == "avg_pool" and not layer.count_include_pad:
            options.append("count_include_pad=False")
        name = "MaxPool" if layer.operation == "max_pool" else "AvgPool"
        return f"{name}{rank}d({', '.join([str(layer.kernel), *options])})"
    if layer.groups > 1:
        options.append(f"groups={layer.groups}")
    if not layer.bias:
        options.append("bias=False")
    name = "ConvTranspose" if layer.operation == "transposed" else "Conv"
    channels = [str(layer.in_channels), str(layer.out_channels), str(layer.kernel)]
    return f"{name}{rank}d({', '.join([*channels, *options])})"


def flat(pairs: Pairs) -> tuple[int, ...]:
    """Pairs as torch pads: the last axis first."""
    return tuple(cells for pair in reversed(pairs) for cells in pair)


def _constant_pad(pairs: Pairs, rank: int, lowest: bool) -> list[str]:
    """The module that pads (or, where negative, crops); nothing when there is nothing to do."""
    value = 'float("-inf")' if lowest else "0.0"
    return [f"nn.ConstantPad{rank}d({flat(pairs)}, {value})"] if any(map(any, pairs)) else []


def _masked(t: Translation, pool: str) -> str:
    assert t.counted is not None
    return (
        f"pool = {pool}\n\n\ndef layer(x):\n"
        f"    mask = nn.functional.pad(torch.ones_like(x), {flat(t.counted)}, value=1.0)\n"
        f"    mask = nn.functional.pad(mask, {flat(t.uncounted)})\n"
        f"    return pool(nn.functional.pad(x, {flat(t.pad)})) / pool(mask)\n\n"
    )
