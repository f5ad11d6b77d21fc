"""Random settings of one axis in a framework's spelling, and what our windows make of them."""

from dataclasses import asdict, dataclass
from random import Random

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.padding import Padding

DIALECTS = ("torch", "keras", "onnx", "jax")


@dataclass(frozen=True, slots=True)
class Setting:
    """One layer on one axis, as its framework spells it, valid or not."""

    dialect: str
    op: str
    n: int
    kernel: int
    stride: int
    padding: Padding
    dilation: int = 1
    ceil_mode: bool = False
    output_padding: int | None = None
    output_size: int | None = None
    count_include_pad: bool = False

    def layer(self) -> Layer:
        """The same as our `Layer`; raises `InputError` where we refuse it."""
        options = asdict(self)
        for name in ("dialect", "op", "n", "padding"):
            del options[name]
        padding = (self.padding,) if isinstance(self.padding, tuple) else self.padding
        return Layer.of(self.dialect, self.op, padding=padding, rank=1, **options)


def draw(dialect: str, random: Random) -> Setting:
    """A random setting: mostly valid, with every option of the dialect, and every refusal."""
    op = random.choice(["conv", "conv", "transposed", "transposed", "max_pool", "avg_pool"])
    pooling = op.endswith("pool")
    kernel = random.randint(1, 6)
    stride = random.choice([1, 1, 2, 2, 3, 4])
    dilation = random.choice([1, 1, 1, 2, 3])
    number = random.randint(0, kernel // 2 if pooling and random.random() < 0.8 else kernel + 1)
    choices: list[Padding]
    ceil_mode = extra = size = None
    match dialect:
        case "torch":
            names = ["valid", "same"] if op == "conv" else []
            choices = [number, number, *names]
            ceil_mode = pooling and random.random() < 0.5
            extra = random.choice([None, 0, 1, 2]) if op == "transposed" else None
            dilation = 1 if op == "avg_pool" else dilation
        case "keras":
            choices = ["valid", "same", *(["causal"] if op == "conv" else [])]
            extra = random.choice([None, None, 0, 1, 2]) if op == "transposed" else None
            dilation = 1 if pooling or (stride > 1 and random.random() < 0.8) else dilation
        case "onnx":
            names = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]
            choices = [(number, random.randint(0, kernel)), number, *names]
            ceil_mode = pooling and random.random() < 0.4
            if op == "transposed":
                extra = random.choice([None, None, 0, 1, 2])
                size = random.choice([None, None, random.randint(1, 60)])
        case _:
            names = ["VALID", "SAME", "SAME_LOWER"]
            least = -1 if op in ("conv", "transposed") else 0
            pads = (random.randint(least, kernel), random.randint(least, kernel))
            choices = [pads, pads, *names]
    padding = random.choice(choices)
    include = dialect != "keras" and op == "avg_pool" and random.random() < 0.5
    return Setting(
        dialect, op, random.randint(1, 18), kernel, stride, padding, dilation,
        bool(ceil_mode), extra, size, include,
    )  # fmt: skip


def numbers(setting: Setting, random: Random) -> tuple[list[int], list[int]]:
    """An input and a kernel of distinct numbers, so that a window shifted by one cell shows."""
    x = random.sample(range(-40, 41), setting.n)
    return x, random.sample(range(1, 30), setting.kernel)


def ours(setting: Setting, x: list[int], kernel: list[int]) -> list[float] | None:
    """Every output cell by the taps of our window; None where we refuse the setting."""
    try:
        layer = setting.layer()
        (window,) = layer.windows((setting.n,))
        (configured,) = layer.configured((setting.n,))
    except InputError:
        return None
    if setting.op == "transposed" and setting.dialect != "jax":
        kernel = kernel[::-1]  # every framework but JAX scatters the kernel forwards
    cells = range(window.output(setting.n))
    return [_cell(setting, window, configured, o, x, kernel) for o in cells]


def our_window(setting: Setting) -> Window | None:
    """The window itself; None where we refuse the setting."""
    try:
        return setting.layer().windows((setting.n,))[0]
    except InputError:
        return None


def _cell(
    setting: Setting, window: Window, configured: Window, o: int, x: list[int], kernel: list[int]
) -> float:
    taps = window.taps(o, setting.n)
    seen = [x[t] for t in taps if t is not None]
    if setting.op == "max_pool":
        return max(seen, default=float("-inf"))
    if setting.op == "avg_pool":
        first, (low, high) = window.start(o), configured.padding
        positions = range(first, first + window.extent, window.dilation)
        padded = sum(-low <= p < setting.n + high for p in positions)
        divisor = padded if setting.count_include_pad else len(seen)
        return sum(seen) / divisor if divisor else float("nan")
    return sum(x[t] * kernel[k] for k, t in enumerate(taps) if t is not None)


def contradiction(s: Setting, backend: str = "") -> str | None:
    """Where a framework contradicts its own documentation, and what we follow instead."""
    extent = s.dilation * (s.kernel - 1) + 1
    named_same = isinstance(s.padding, str) and s.padding.lower().startswith("same")
    missing = (-(-s.n // s.stride) - 1) * s.stride + extent - s.n
    if s.dialect == "onnx":
        pads = sum(s.padding) if isinstance(s.padding, tuple) else 0
        pads = 2 * s.padding if isinstance(s.padding, int) else pads
        pooling = s.op.endswith("pool")
        if pooling and named_same and s.dilation > 1:
            return "ORT's pooling computes SAME without the dilation; Conv refuses it, so do we"
        if pooling and not named_same and extent > s.n + pads:
            return "ORT's truncating division makes a window that does not fit; we refuse it"
        if s.op != "transposed" and named_same and missing < -1:
            return "SAME with cells left over: ORT's Conv and AveragePool crop, each its own way"
    if (
        (s.dialect, s.op, backend) == ("keras", "avg_pool", "torch")
        and named_same
        and missing > 0
        and missing % 2
    ):
        return "Keras on torch repeats the edge for the odd cell; TensorFlow and JAX leave it out"
    return None
