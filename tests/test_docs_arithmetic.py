"""The pages on the arithmetic: every Python example and every command in them is run."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from convscape.cli.quick import QUICK, run

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("arithmetic.md", "dialects.md", "cli-json.md")


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_hold(page: str) -> None:
    result = doctest.testfile(str(DOCS / page), module_relative=False)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_page_shows(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = 0
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            name, command, *arguments = shlex.split(line)
            if name != "convscape" or command not in QUICK:
                continue
            run(command, arguments)
            printed = capsys.readouterr().out
            # A line of three dots stands for what the page leaves out.
            for piece in output.split("...\n"):
                assert piece in printed, line
            shown += 1
    assert shown > 0
