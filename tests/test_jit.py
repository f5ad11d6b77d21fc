"""What the kernels' decorators promise: one version for each combination of types, few entries.

And that kernels count nobody who uses an array.
"""

import pkgutil
from collections.abc import Iterator
from dis import get_instructions
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import numpy as np
import pytest
from numba.core.errors import NumbaError
from numba.core.registry import CPUDispatcher

from convscape.kernels import cpu
from convscape.kernels.cpu import tile
from convscape.kernels.cpu.jit import entry, kernel, maker
from convscape.kernels.cpu.tile import block_vectors


@kernel
def _plus(pair: tuple[int, int], a: int) -> int:
    return pair[0] + a


@entry
def _thrice(a: int) -> int:
    return _plus((0, a), 1) + _plus((a, 0), a) + _plus((a, a), 2)


@kernel
def _last(x: Any) -> Any:
    tail = x[1:]
    return tail[-1]


@entry
def _last_of(count: int) -> Any:
    return _last(np.arange(float(count)))


@maker
def _numbers(count: int) -> Any:
    return np.arange(count)


@kernel
def _returns(x: Any) -> Any:
    return (x[1:], 1)


@kernel
def _is_returned(count: int) -> int:
    return len(_numbers(count))


@kernel
def _makes(count: int) -> int:
    return len(np.empty(count))


@entry
def _calls_returns(x: Any) -> int:
    return len(_returns(x)[0])


@entry
def _calls_is_returned(count: int) -> int:
    return _is_returned(count)


@entry
def _calls_makes(count: int) -> int:
    return _makes(count)


_CACHED = (
    _plus, _thrice, _last, _last_of, _numbers, _returns, _is_returned, _makes, _calls_returns,
    _calls_is_returned, _calls_makes,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that holds none of these, whoever ran them before."""
    for function in _CACHED:
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


def test_a_kernel_counts_nobody_who_uses_its_arrays() -> None:
    assert _last_of(5) == 4.0
    (version,) = cast(Any, _last).overloads.values()
    code = version.library.get_llvm_str()
    assert version.fndesc.llvm_func_name in code
    assert "NRT_incref" not in code
    assert "NRT_decref" not in code


@pytest.mark.parametrize(
    ("call", "given", "name"),
    [(_calls_returns, np.arange(3.0), "_returns"), (_calls_is_returned, 3, "_is_returned")],
)
def test_a_kernel_that_would_own_an_array_is_refused(call: Any, given: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"borrows its arrays, but {name} returns or.*`maker`"):
        call(given)


def test_a_kernel_that_makes_an_array_is_refused() -> None:
    with pytest.raises(NumbaError, match="empty"):
        _calls_makes(3)


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
