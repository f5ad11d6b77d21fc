"""`convscape check`: a linter for networks."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from convscape.cli.trace import Batch, Input, Model, With, load

if TYPE_CHECKING:
    from convscape.arithmetic.findings import Finding


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    github = "github"


Codes = list[str] | None


def check(
    model: Model,
    with_: With = None,
    input_: Input = None,
    batch: Batch = None,
    select: Annotated[
        Codes, typer.Option(metavar="CODES", help="Only these codes, or beginnings of codes.")
    ] = None,
    ignore: Annotated[Codes, typer.Option(metavar="CODES", help="Not these.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model that this one was ported from (CS305); takes the same --input.",
        ),
    ] = None,
    against_input: Annotated[
        list[str] | None,
        typer.Option(metavar="SHAPE", help="Its input's shape, where its layout is another."),
    ] = None,
    against_with: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Its factory's arguments.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.text,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Look for mistakes in a network: exit status 0 if none is found, 1 if some are, 2 on error.

    Each finding has a code (documented in docs/findings.md), the layer, the numbers and the fix.

    For example: convscape check net.onnx --ignore CS2

    convscape check mypackage.models:net --input 3x224x224 --select CS1,CS301 --format github
    """  # fmt: skip
    from convscape.arithmetic import findings

    network = load(model, with_, input_, batch)
    chosen, left = _codes(select), _codes(ignore)
    found = findings.check(network, chosen, left)
    if against is not None:
        original = load(against, against_with, against_input or input_, batch)
        found += findings.compare(network, original, chosen, left)
    _print(network.name, found, Format.json if json_ else format_)
    raise typer.Exit(1 if found else 0)


def _codes(given: Codes) -> list[str]:
    return [code.strip().upper() for text in given or [] for code in text.split(",")]


def _print(model: str, found: "list[Finding]", how: Format) -> None:
    from convscape.arithmetic.findings import counted

    if how is Format.json:
        import json

        entries = [
            {"code": f.code, "name": f.name, "layer": f.layer, "message": f.message, "fix": f.fix}
            for f in found
        ]
        typer.echo(json.dumps({"model": model, "findings": entries, "count": len(found)}))
        return
    for f in found:
        if how is Format.github:
            title = _escaped(f"{f.code} {f.name}: {f.layer}", ",:")
            typer.echo(f"::warning title={title}::{_escaped(f'{f.message}. Fix: {f.fix}')}")
        else:
            typer.echo(f"{f.layer}: {f.code} [{f.name}] {f.message}. Fix: {f.fix}")
    typer.echo(f"{model}: {counted(found)}")


def _escaped(text: str, more: str = "") -> str:
    """Text as GitHub's workflow commands need it."""
    for sign in "%\r\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
