"""How kernels are compiled, and where the compiled code is kept between processes."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, types
from numba.core import ir
from numba.core.caching import IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

F = TypeVar("F", bound=Callable[..., Any])


class _Linked(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """Optimized code that becomes part of what calls it: no machine code is made of it alone."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, _: str) -> int:
        """None: it is nowhere in memory."""
        self._ensure_finalized()
        return 0

    def serialize_using_object_code(self) -> Any:
        """What is kept of it: there is no object code."""
        return self.serialize_using_bitcode()

    @property
    def codegen(self) -> Any:
        """For Numba's `get_executable`, which would tell the machine code its environment."""
        return _Nowhere


class _Nowhere:
    @staticmethod
    def set_env(*_: Any) -> None:
        """Nothing: there is no code that could look into an environment."""


class _Compiled(CPUDispatcher):  # type: ignore[misc]  # Numba has no types
    """A compiled function with one version for each combination of types.

    Numba makes one more where another kernel calls it with a literal number: the same code again.
    """

    library: type = JITCodeLibrary

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:
            codegen = self.targetctx.codegen()
            before, codegen._library_class = codegen._library_class, self.library
            try:
                return super().compile(sig)
            finally:
                codegen._library_class = before

    def get_call_template(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return super().get_call_template(tuple(types.unliteral(a) for a in args), kws)


class _Inner(_Compiled):
    """One that has no entry from Python: of a small function it is most of what is compiled."""

    library = _Linked

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{self.py_func.__name__} is for kernels to call; from Python, use py_func")


class _Borrowing(_Inner):
    """One that only borrows arrays: their users are not counted, an atomic step at every slice.

    So none may be left to it: neither made, which Numba refuses, nor taken from a `maker`; and none
    that it returns would be counted.
    """

    def add_overload(self, version: Any) -> None:
        self._refuse(version.signature.return_type)
        # One from the disk has been looked at, and has no calls to look at.
        for call, signature in getattr(version.type_annotation, "calltypes", {}).items():
            if isinstance(call, ir.Expr) and call.op == "call":
                called = version.type_annotation.typemap[call.func.name]
                if isinstance(called, types.Dispatcher):
                    self._refuse(signature.return_type)
        super().add_overload(version)

    def _refuse(self, kind: Any) -> None:
        if self.targetctx.data_model_manager[kind].contains_nrt_meminfo():
            name = self.py_func.__name__
            raise TypeError(
                f"a kernel borrows its arrays, but {name} returns or is returned {kind}: "
                "make it a `maker`"
            )


def kernel(function: F) -> F:
    """Compile a serial loop: no GIL, IEEE division, multiply and add contracted into one rounding.

    `contract` is the only relaxation. NaN and Inf keep their meaning, and sums keep their order
    unless a kernel asks otherwise. Other kernels call it; for Python there is `entry`. It borrows
    its arrays, and makes none: that is for a `maker`.
    """
    return _cached(_Borrowing, function, {"contract"})


def maker(function: F) -> F:
    """A `kernel` that makes arrays, or is given some by another `maker`, or returns them."""
    return _cached(_Inner, function, {"contract"})


def inlined(function: F) -> F:
    """A `kernel` that becomes part of whatever calls it.

    A call passes seven words an array. Around the register tile, which takes half a microsecond,
    that is felt.
    """
    return _cached(_Borrowing, function, {"contract"}, forceinline=True)


def reduction(function: F) -> F:
    """Compile a serial loop whose sums may be reordered, so that they use all vector lanes.

    For pure reductions only; NaN and Inf still keep their meaning. The error of a reordered sum
    is no larger than that of the sequential one: it is a sum of partial sums.
    """
    return _cached(_Borrowing, function, {"contract", "reassoc"})


def entry(function: F) -> F:
    """A `kernel` that Python calls."""
    return _cached(_Compiled, function, {"contract"})


def team(function: F) -> F:
    """An `entry` that `convscape.kernels.cpu.threads.launch` runs: `f(part, parts, *given)`.

    It begins with `if divide(part, parts): return`, see `convscape.kernels.cpu.divide`.
    """
    return entry(function)


def _cached(kind: type[_Compiled], function: F, fastmath: set[str], **options: Any) -> F:
    options |= {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": None}
    options |= {"no_cfunc_wrapper": True, "no_cpython_wrapper": issubclass(kind, _Inner)}
    options["_nrt"] = kind is not _Borrowing  # the runtime that counts who uses an array
    compiled = kind(function, targetoptions={"fastmath": fastmath, **options})
    before = config.CACHE_DIR
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    config.CACHE_DIR = before or str(_folder(home))
    try:
        compiled.enable_caching()
    finally:
        config.CACHE_DIR = before
    compiled._cache._cache_file.__class__ = Kept
    return cast(F, compiled)


class Kept(IndexDataCacheFile):  # type: ignore[misc]  # Numba has no types
    """Compiled versions on disk, each in a file that is named for what it is.

    Numba numbers them, and keeps an index. Two processes that compile at once, one a kernel for
    float32 and one for float64, take the same number, and the index may name the other's file.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep a version; the file appears whole or not at all."""
        self._save_data(self._name(key), data)

    def load(self, key: Any) -> Any:
        """The version with this signature, for this CPU; None if there is none."""
        try:
            return self._load_data(self._name(key))
        except OSError:
            return None

    def _name(self, key: Any) -> str:
        digest = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
        return self._data_name(int(digest[:16], 16))  # type: ignore[no-any-return]


@cache
def _folder(home: Path) -> Path:
    """The cache in the user's folder, or in a temporary one where that cannot be written.

    Numba looks at a function's own file only to see whether its cache is stale; a kernel inlines
    others. The digest of all kernel files in the path makes every edit a new cache.
    """
    for parent in (home / "convscape", Path(tempfile.gettempdir()) / f"convscape-{_user()}"):
        folder = parent / _digest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    # Nowhere is writable: compiled code lives as long as this process.
    return Path(tempfile.mkdtemp(prefix="convscape-"))


def _digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
