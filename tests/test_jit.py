"""What the kernels' decorators promise: one version for each combination of types, few entries."""

import pkgutil
from collections.abc import Iterator
from dis import get_instructions
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import pytest
from numba.core.registry import CPUDispatcher

from convscape.kernels import cpu
from convscape.kernels.cpu import tile
from convscape.kernels.cpu.jit import entry, kernel
from convscape.kernels.cpu.tile import block_vectors


@kernel
def _plus(pair: tuple[int, int], a: int) -> int:
    return pair[0] + a


@entry
def _thrice(a: int) -> int:
    return _plus((0, a), 1) + _plus((a, 0), a) + _plus((a, a), 2)


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that holds none of these, whoever ran them before."""
    for function in (_plus, _thrice):
        monkeypatch.setattr(cast(Any, function)._cache._cache_file, "_cache_path", str(tmp_path))


def test_a_literal_argument_is_no_other_version() -> None:
    assert _thrice(5) == 1 + 10 + 7
    assert len(cast(Any, _plus).overloads) == 1


def test_of_what_kernels_call_no_machine_code_is_made() -> None:
    assert _thrice(5) == 1 + 10 + 7
    (inner,), (outer,) = (cast(Any, f).overloads.values() for f in (_plus, _thrice))
    assert inner.library.get_pointer_to_function(inner.fndesc.llvm_func_name) == 0
    assert outer.library.get_pointer_to_function(outer.fndesc.llvm_func_name) != 0


def test_what_kernels_call_refuses_python_and_says_how() -> None:
    with pytest.raises(TypeError, match=r"block_vectors is for kernels to call.*py_func"):
        cast(Any, block_vectors)(100, 16)
    assert cast(Any, block_vectors).py_func(1, 16) == 1


def test_no_python_function_of_the_kernels_calls_one_without_an_entry() -> None:
    found = [
        (function.__module__, function.__qualname__, called.py_func.__name__)
        for module in pkgutil.walk_packages(cpu.__path__, f"{cpu.__name__}.")
        for function in vars(import_module(module.name)).values()
        if isinstance(function, FunctionType)
        for called in _globals(function.__code__, function.__globals__)
        if _inner(called)
    ]
    assert found == []
    assert _inner(block_vectors)
    assert block_vectors in _globals(_calls_one.__code__, globals())
    assert block_vectors in _globals(_calls_one_of_a_module.__code__, globals())


def _calls_one() -> Any:
    return lambda: block_vectors


def _calls_one_of_a_module() -> Any:
    return tile.block_vectors


def _inner(value: Any) -> bool:
    return isinstance(value, CPUDispatcher) and value.targetoptions["no_cpython_wrapper"]


def _globals(code: CodeType, known: dict[str, Any]) -> Iterator[Any]:
    """The globals that code loads, and of modules what it loads from them; functions inside too."""
    holder: Any = None
    for instruction in get_instructions(code):
        if isinstance(holder, ModuleType) and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            holder = getattr(holder, instruction.argval, None)
            yield holder
        elif instruction.opname == "LOAD_GLOBAL":
            holder = known.get(instruction.argval)
            yield holder
        else:
            holder = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant, known)
