"""What the kernels' decorators promise: one version for each combination of types, few entries."""

import pkgutil
from collections.abc import Iterator
from dis import get_instructions
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any, cast

import pytest
from numba.core.registry import CPUDispatcher

from convscape.kernels import cpu
from convscape.kernels.cpu.jit import entry, kernel
from convscape.kernels.cpu.tile import block_vectors


@kernel
def _plus(pair: tuple[int, int], a: int) -> int:
    return pair[0] + a


@entry
def _thrice(a: int) -> int:
    return _plus((0, a), 1) + _plus((a, 0), a) + _plus((a, a), 2)


def test_a_literal_argument_is_no_other_version() -> None:
    assert _thrice(5) == 1 + 10 + 7
    assert len(cast(Any, _plus).overloads) == 1


def test_what_kernels_call_refuses_python_and_says_how() -> None:
    with pytest.raises(TypeError, match=r"block_vectors is for kernels to call.*py_func"):
        cast(Any, block_vectors)(100, 16)
    assert cast(Any, block_vectors).py_func(1, 16) == 1


def test_no_python_function_of_the_kernels_calls_one_without_an_entry() -> None:
    found = [
        (function.__qualname__, name)
        for module in pkgutil.walk_packages(cpu.__path__, f"{cpu.__name__}.")
        for function in vars(import_module(module.name)).values()
        if isinstance(function, FunctionType)
        for name in _names(function.__code__)
        if _inner(function.__globals__.get(name))
    ]
    assert found == []
    assert _inner(block_vectors)


def _inner(value: Any) -> bool:
    return isinstance(value, CPUDispatcher) and value.targetoptions["no_cpython_wrapper"]


def _names(code: CodeType) -> Iterator[str]:
    """The globals that code loads, that of functions inside it too."""
    yield from (i.argval for i in get_instructions(code) if i.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
