"""The options that describe one layer, shared by the commands of the arithmetic.

These commands parse with argparse: Typer builds its validators with pydantic, which alone takes
longer to load than these commands take to answer.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.cli import parsing


class Parser(ArgumentParser):
    """An ArgumentParser whose errors are `InputError`s: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Turn argparse's complaint into the one error of this package."""
        raise InputError(
            f"{self.prog} must understand its arguments", message, f"see {self.prog} --help"
        )


def parser(command: str, description: str, examples: Sequence[str]) -> Parser:
    """A parser for `convscape <command>` whose help ends with examples."""
    lines = "\n".join(f"  convscape {command} {example}" for example in examples)
    made = Parser(
        prog=f"convscape {command}",
        description=description,
        epilog=f"examples:\n{lines}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON (docs/cli-json.md)")
    return made


def add(to: ArgumentParser) -> None:
    """Add the options of one layer."""
    window = to.add_argument_group("window")
    window.add_argument("-k", "--kernel", required=True, help="kernel: 3, or 3x5 an axis")
    window.add_argument(
        "-s", "--stride", help="stride; default: the framework's (1; of pooling mostly the kernel)"
    )
    window.add_argument(
        "-p",
        "--padding",
        help="1, or 0,1 (low,high), or 1x2 an axis, or a name: valid, same, half, full, causal",
    )
    window.add_argument("-d", "--dilation", default="1", help="distance between kernel cells")
    add_operation(window)
    window.add_argument("--ceil-mode", action="store_true", help="round pooling's size up")
    window.add_argument("-a", "--output-padding", help="extra cells of a transposed convolution")
    window.add_argument(
        "--output-size", help="size to reach by an ONNX ConvTranspose (output_shape)"
    )
    window.add_argument(
        "--count-include-pad",
        action="store_const",
        const=True,
        help="an average divides by padding too (default in torch and jax)",
    )
    window.add_argument(
        "--no-count-include-pad",
        dest="count_include_pad",
        action="store_const",
        const=False,
        help="an average divides by real cells only (default in keras and onnx)",
    )
    channels = to.add_argument_group("channels")
    channels.add_argument("-c", "--in-channels", type=int, help="channels in")
    channels.add_argument("-o", "--out-channels", type=int, help="channels out; default: as many")
    channels.add_argument("-g", "--groups", type=int, default=1, help="channel groups")
    channels.add_argument("--no-bias", action="store_true", help="no bias")


def add_operation(to: ArgumentParser | object) -> None:
    """Add the two options that name the operation; without them it is a convolution."""
    assert hasattr(to, "add_argument")
    to.add_argument("-t", "--transposed", action="store_true", help="a transposed convolution")
    to.add_argument("--pool", metavar="max|avg", help="a pooling")


def layer(arguments: Namespace, rank: int, dialect: str) -> Layer:
    """The layer that the options describe, in a dialect's spelling."""
    channels = arguments.in_channels
    if channels is None:
        channels = arguments.out_channels or arguments.groups
    return Layer.of(
        dialect,
        operation(arguments),
        parsing.per_axis("kernel", arguments.kernel),
        None if arguments.stride is None else parsing.per_axis("stride", arguments.stride),
        parsing.padding(arguments.padding),
        parsing.per_axis("dilation", arguments.dilation),
        rank=rank,
        ceil_mode=arguments.ceil_mode,
        output_padding=(
            None
            if arguments.output_padding is None
            else parsing.per_axis("output_padding", arguments.output_padding)
        ),
        output_size=(
            None
            if arguments.output_size is None
            else parsing.per_axis("output_size", arguments.output_size)
        ),
        count_include_pad=arguments.count_include_pad,
        in_channels=channels,
        out_channels=arguments.out_channels,
        groups=arguments.groups,
        bias=not arguments.no_bias,
    )


def operation(arguments: Namespace) -> str:
    """The operation from the two options that name it."""
    if arguments.transposed and arguments.pool:
        raise InputError(
            "a layer is one operation",
            f"--transposed and --pool {arguments.pool}",
            "drop one of them",
        )
    if arguments.pool is None:
        return "transposed" if arguments.transposed else "conv"
    known = {"max": "max_pool", "avg": "avg_pool", "average": "avg_pool"}
    if arguments.pool not in known:
        raise InputError(
            "pooling is max or avg", f"--pool {arguments.pool}", "use --pool max or --pool avg"
        )
    return known[arguments.pool]
