"""Imports run one way, and what is said to be instant loads nothing heavy."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscape
import convscape.arithmetic

SOURCE = Path(convscape.__file__).parent

# What each part may import of the others, besides itself.
MAY_IMPORT = {
    "_version": set(),
    "__init__": {"_version", "arithmetic"},
    "__main__": {"cli"},
    "arithmetic": set(),
    "readers": {"arithmetic"},
    "kernels": {"arithmetic"},
    "ops": {"arithmetic", "kernels"},
    "layers": {"arithmetic", "kernels", "ops"},
    "figures": {"_version", "arithmetic"},
    "warmup": {"arithmetic", "kernels", "ops"},
    "bench": {"_version", "arithmetic", "kernels", "ops", "layers"},
    "study": {"_version", "arithmetic", "kernels", "ops", "layers", "figures"},
    "cli": {
        "_version", "arithmetic", "readers", "kernels", "ops", "layers", "figures", "study",
        "warmup", "bench",
    },
}  # fmt: skip
HEAVY = ("numpy", "torch", "keras", "numba", "jax", "onnx", "sklearn", "matplotlib")
FILES = sorted(SOURCE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imported(tree: ast.AST, file: Path) -> Iterator[str]:
    """Absolute dotted names of everything imported anywhere below this node."""
    package = ("convscape", *file.relative_to(SOURCE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            # `from convscape import x` may name a module, so the name belongs to the path.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: not those in functions."""
    stack: list[ast.stmt] = list(tree.body)
    while stack:
        statement = stack.pop()
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield statement
        for field in ("body", "orelse", "finalbody", "handlers"):
            for child in getattr(statement, field, []):
                stack += child.body if isinstance(child, ast.ExceptHandler) else [child]


def test_the_table_names_every_part() -> None:
    assert {part_of(file) for file in FILES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_run_one_way(file: Path) -> None:
    allowed = MAY_IMPORT[part_of(file)] | {part_of(file)}
    for name in imported(ast.parse(file.read_text()), file):
        root, *rest = name.split(".")
        if root == "convscape":
            assert rest[0] in allowed, f"{file} imports {name}"


@pytest.mark.parametrize("part", ["__init__", "arithmetic", "cli"])
def test_what_is_instant_imports_only_the_standard_library_at_its_top(part: str) -> None:
    light = {*sys.stdlib_module_names, "convscape"} | ({"typer"} if part == "cli" else set())
    for file in FILES:
        if part_of(file) != part:
            continue
        for statement in at_import(ast.parse(file.read_text())):
            for name in imported(statement, file):
                root, *rest = name.split(".")
                assert root in light, f"{file} imports {name} at its top"
                if part == "cli" and root == "convscape":
                    assert rest[0] in {"_version", "arithmetic", "cli"}, f"{file}: {name}"


@pytest.mark.parametrize(
    "code",
    [
        "import convscape; assert convscape.Window(3).output(5) == 3",
        "import convscape.cli.app",
        "import sys; sys.argv = 'convscape size 5 -k 3 -s 2 -p 1'.split()\n"
        "import convscape.cli\n"
        "try: convscape.cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code",
    ],
    ids=["package", "command line", "size"],
)
def test_what_is_instant_loads_nothing_heavy(code: str) -> None:
    report = f"\nimport sys; print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "loaded: []"


MODULES = [
    m.name
    for m in pkgutil.walk_packages(convscape.arithmetic.__path__, "convscape.arithmetic.")
    if not m.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
