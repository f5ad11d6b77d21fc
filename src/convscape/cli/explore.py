"""`convscape explore`: the interactive page, for a layer or a whole network."""

import re
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.cli import layer_options, parsing

DESCRIPTION = """\
An interactive page about one layer, or about the layers of a network. It is served to this machine
alone and loads nothing from elsewhere; --export writes it as one file instead.

The first argument is an input size (5 is 5x5; with --rank 1, one axis) with the options of a layer,
or a model as `convscape trace` takes it; without either it starts on the lesson's example."""
EXAMPLES = (
    "",
    "5 -k 3 -s 2 -p 1",
    "3 -k 3 -s 2 -p 1 -a 1 --transposed",
    "net.onnx",
    "keras.applications:ResNet50 --with weights=None --input 224x224x3",
    "--export page.html",
)
_SIZE = re.compile(r"\d+(x\d+)*", re.I)


def explore(arguments: Sequence[str]) -> None:
    """Parse what follows `convscape explore`, and serve or write the page."""
    given = list(arguments)
    target = given.pop(0) if given and not given[0].startswith("-") else None
    asked = _parsed(given, target)
    sized = target is not None and _SIZE.fullmatch(target)
    network, link = None, ""
    if target is not None and not sized:
        network = _network(target, asked)
    elif sized:
        link = _link(str(target), asked)
    if asked.export is not None:
        from convscape.figures.explorer.export import export

        print(f"wrote {export(Path(asked.export), network, link)}")
        return
    _serve(asked, network, link)


def _parsed(given: list[str], target: str | None) -> Namespace:
    parser = layer_options.Parser(
        prog="convscape explore",
        usage="convscape explore [SIZE | MODEL] [options]",
        description=DESCRIPTION,
        epilog="examples:\n" + "\n".join(f"  convscape explore {e}".rstrip() for e in EXAMPLES),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    page = parser.add_argument_group("page")
    page.add_argument("--port", type=int, help="port on this machine; 0 is any that is free")
    page.add_argument("--no-browser", action="store_true", help="print the address only")
    page.add_argument("--export", metavar="PAGE.html", help="write the page as one file")
    model = parser.add_argument_group("a model")
    model.add_argument("--with", dest="with_", action="append", metavar="KEY=VALUE",
                       help="a keyword argument for the factory")  # fmt: skip
    model.add_argument("-i", "--input", action="append", metavar="SHAPE",
                       help="shape of an input without the batch axis; once an input")  # fmt: skip
    size = parser.add_argument_group("a size")
    size.add_argument("--rank", type=int, choices=(1, 2), help="axes; default: 2")
    layer_options.add(parser)
    plain = ["--kernel", "3"]
    whole = any(re.match(r"-k|--kernel(=|$)", text) for text in given)
    asked = parser.parse_args(given if whole else [*given, *plain])
    untouched = vars(parser.parse_args(plain))
    changed = [
        name for name in vars(asked)
        if getattr(asked, name) != untouched[name]
        and name not in ("port", "no_browser", "export", "with_", "input")
    ]  # fmt: skip
    if (changed or whole) and (target is None or not _SIZE.fullmatch(target)):
        raise InputError(
            "options of a layer go with an input size, which comes first",
            " ".join(filter(None, [target, *given])),
            "write e.g. convscape explore 5 -k 3 -s 2 -p 1",
        )
    if target is not None and _SIZE.fullmatch(target) and (asked.with_ or asked.input):
        raise InputError(
            "--with and --input go with a model", f"the size {target}", "leave them out"
        )
    return asked


def _network(target: str, asked: Namespace) -> dict[str, Any]:
    from convscape.cli.trace import load
    from convscape.figures.explorer.network import describe

    return describe(load(target, asked.with_, asked.input, None))


def _link(target: str, asked: Namespace) -> str:
    from convscape.figures.explorer.settings import link_of, settings_of

    cells = parsing.integers("size", target)
    if len(cells) == 1 and asked.rank != 1:
        cells = cells * 2
    if asked.rank is not None and len(cells) != asked.rank:
        raise InputError(
            "the size must have one number an axis",
            f"{target} with --rank {asked.rank}",
            "leave --rank out",
        )
    layer = layer_options.layer(asked, len(cells), "convscape")
    return link_of(settings_of(layer, cells))


def _serve(asked: Namespace, network: dict[str, Any] | None, link: str) -> None:
    import webbrowser

    from convscape.figures.explorer.serve import PORT, Server

    with Server(PORT if asked.port is None else asked.port, network) as server:
        address = server.address + (f"#{link}" if link else "")
        opened = False
        if not asked.no_browser:
            opened = webbrowser.open(address)
        print(f"the explorer is at {address}", flush=True)
        if not opened and not asked.no_browser:
            print("no browser could be opened: open this address in one yourself", flush=True)
        print("Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
