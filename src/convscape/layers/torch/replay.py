"""An accelerated model's calls, recorded: for each kind of input its launches are played again.

A layer of a network costs 70 to 100 microseconds of Python beside its kernel, because the kernels
empty the caches; a small layer's kernel takes less. What Python does there depends on shapes alone.
So the second call with inputs of one kind is recorded (`convscape.kernels.cpu.tape`), and later
ones are played: inputs are copied to where the recorded ones lay, results from there.

Only what is known to compute the same again is recorded, and each recording is compared with the
model once, on numbers of its own. What was recorded, or why not, `print(model)` says.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from math import prod
from operator import attrgetter
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from convscape.arithmetic.errors import InputError
from convscape.kernels.cpu import memory
from convscape.kernels.cpu.bound import Launch
from convscape.kernels.cpu.layout import to_last
from convscape.kernels.cpu.tape import Tape
from convscape.kernels.cpu.threads import bind, forked
from convscape.layers.torch import calls, known
from convscape.layers.torch.rewrite import mutates
from convscape.ops.bridge import array, dtype_name, tensor, threads

_KINDS = 8  # of inputs that are recorded; each has memory for its activations
_TOLERANCE = 1e-5  # of the largest value: torch's own sums may depend on where memory begins
_LAST = torch.channels_last
_version = attrgetter("_version")


class Unrecorded(Exception):
    """Why a model is not recorded."""


class Replays:
    """What was recorded of a model, by the kind of its inputs.

    Args:
        traced: The model; it takes channels-last images.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self._traced = traced
        self._state = _State(traced)
        self._found: dict[Any, _Recording | str | None] = {}
        self._busy = Lock()

    def play(self, values: Sequence[Any], own: Callable[[Any], Any]) -> tuple[Any] | None:
        """The model's results for these inputs, alone in a tuple; None where it must compute them.

        Args:
            values: The model's arguments.
            own: Copies a result: its memory is the recording's, and is written by the next call.
        """
        # A second thread does not wait: it computes.
        if not _plays(values) or not self._busy.acquire(blocking=False):
            return None
        try:
            found = self._recorded(values)
            if found is None:
                return None
            results = found(values)
            return (own(results) if isinstance(results, Tensor) else tree_map(own, results),)
        finally:
            self._busy.release()

    def _recorded(self, values: Sequence[Tensor]) -> "_Recording | None":
        if self._state.refusal() is not None:
            return None
        if not self._state.same():
            self._state = _State(self._traced)
            self._found.clear()
        key = threads(), *((v.shape, v.dtype) for v in values)
        if key not in self._found:
            while len(self._found) >= _KINDS:
                del self._found[next(iter(self._found))]
            self._found[key] = None  # a kind that comes once is not worth recording
            return None
        found = self._found[key]
        if found is None:
            try:
                found = _Recording(self._traced, values)
            except (Unrecorded, InputError, RuntimeError, MemoryError) as reason:
                # Whatever it is, the model computes; where that fails as well, it says so itself.
                found = f"not recorded: {reason}"
            self._found[key] = found
        return found if isinstance(found, _Recording) else None

    def __str__(self) -> str:
        """A line for each kind of inputs."""
        reason = self._state.refusal()
        lines = [] if reason is None else [f"(replay): none: {reason}"]
        for (team, *kinds), found in self._found.items():
            inputs = ", ".join(f"{'x'.join(map(str, s))} {dtype_name(d)}" for s, d in kinds)
            what = "seen once" if found is None else str(found)
            lines.append(f"(replay): {inputs}, {team} threads: {what}")
        return "\n".join(lines)


class _Recording:
    """The launches of one kind of inputs, and where inputs and results lie.

    Args:
        traced: The model.
        values: Inputs.
    """

    def __init__(self, traced: fx.GraphModule, values: Sequence[Tensor]) -> None:
        # Not in inference mode: its tensors could not be written to outside.
        with torch.inference_mode(False), torch.no_grad():
            self._inputs = [torch.zeros_like(v, memory_format=_LAST) for v in values]
            self._turns: list[tuple[Any, Launch | None]] = [(None, None) for _ in values]
            self._enter(values)
            seen = Tape()  # which memory is needed when
            self._record(traced, seen)
            self._tape = Tape(seen.pool.arranged())
            self._results, self._held, self.steps = self._record(traced, self._tape)
            self._check(traced)

    def __call__(self, values: Sequence[Tensor]) -> Any:
        self._enter(values)
        self._tape.play()
        return self._results

    def _enter(self, values: Sequence[Tensor]) -> None:
        """Copy inputs to where they are read."""
        for n, (own, given) in enumerate(zip(self._inputs, values, strict=True)):
            strides = given.stride()
            known, turn = self._turns[n]
            if turn is None or known != strides:
                turn = to_last(given.shape, strides, dtype_name(given.dtype), threads())
                self._turns[n] = strides, turn
            turn(given.data_ptr(), own.data_ptr())

    def _record(self, traced: fx.GraphModule, tape: Tape) -> tuple[Any, list[Any], int]:
        """The results, what must be held for them, and the steps of torch's."""
        with tape.recording():
            recorder = _Recorder(traced, tape)
            results = tree_map(recorder.lent, recorder.run(*self._inputs))
        return results, recorder.held, recorder.steps

    def _check(self, traced: fx.GraphModule) -> None:
        """Refuse a recording that does not compute what the model does, on other numbers."""
        numbers = torch.Generator().manual_seed(0)
        trial = [
            torch.randn(own.shape, generator=numbers, dtype=own.dtype).contiguous(
                memory_format=_LAST
            )
            for own in self._inputs
        ]
        expected, found = tree_leaves(traced(*trial)), tree_leaves(self(trial))
        for a, b in zip(expected, found, strict=True):
            if not isinstance(a, Tensor):
                same = a == b
            elif a.numel() == 0:
                same = a.shape == b.shape
            else:
                largest = a.nan_to_num().abs().max().item()
                same = torch.allclose(a, b, rtol=0, atol=_TOLERANCE * largest, equal_nan=True)
            if not same:
                raise Unrecorded("played again, it gave other results than the model")

    def __str__(self) -> str:
        room = sum(block.nbytes for block in self._tape.pool.blocks.values()) / 2**20
        return f"{self._tape.launches} launches, {self.steps} steps of torch's, {room:.1f} MiB"


class _Recorder(fx.Interpreter):
    """Runs a model node by node, and takes down what each does beside launches."""

    def __init__(self, traced: fx.GraphModule, tape: Tape) -> None:
        super().__init__(traced)
        self.traced, self.tape, self.steps = traced, tape, 0
        self.held: list[Any] = []

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node's value as it will be computed again."""
        if n.op not in ("call_module", "call_function", "call_method"):
            return super().run_node(n)
        reason = known.refusal(self.traced, n)
        if reason is not None:
            raise Unrecorded(reason)
        before = self.tape.launches
        value = super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        places = {_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        tensors = [t for t in tree_leaves(value) if isinstance(t, Tensor)]
        fresh = [t for t in tensors if _storage(t) not in places]
        if self.tape.launches > before:
            if any(not self.tape.pool.owns(t.data_ptr()) for t in fresh):
                raise Unrecorded(f"{n} computes beside its kernels")
            if n.op == "call_module":
                # With what it made of its weights: the launches know the addresses.
                self.held.append(dict(vars(self.traced.get_submodule(str(n.target)))))
            return value
        if not tensors or (not fresh and not mutates(self.traced, n)):
            return value  # a number, or a view: the same in every playing
        args, kwargs = tree_map(self.lent, (tuple(args), dict(kwargs)))
        call = partial(self._called(n), *args, **kwargs)
        self.steps += 1
        if not fresh:
            self.tape.then(call)
            return value
        if len(tensors) != 1 or tensors[0] is not value:
            raise Unrecorded(f"{n} makes several tensors")
        return self._kept(value, call)

    def _called(self, n: fx.Node) -> Callable[..., Any]:
        if n.op == "call_module":
            return self.traced.get_submodule(str(n.target))
        return getattr(Tensor, n.target) if isinstance(n.target, str) else n.target

    def _kept(self, value: Tensor, call: Callable[[], Tensor]) -> Tensor:
        """A value in the recording's memory, where the call's results are copied to."""
        size = 1 + sum((m - 1) * s for m, s in zip(value.shape, value.stride(), strict=True))
        line = memory.empty(size if value.numel() else 0, array(value).dtype)
        own = tensor(line).as_strided(value.shape, value.stride())
        own.copy_(value)
        lent = self.lent(own)
        self.tape.then(lambda: lent.copy_(call()))
        return own

    def lent(self, value: Any) -> Any:
        """A tensor on the recording's memory that does not keep it from being used again."""
        if not isinstance(value, Tensor) or not self.tape.pool.owns(value.data_ptr()):
            return value
        size = 1 + sum((m - 1) * s for m, s in zip(value.shape, value.stride(), strict=True))
        own = array(value)
        held = (ctypes.c_char * (size * own.itemsize)).from_address(value.data_ptr())
        line = np.frombuffer(memoryview(held).cast("B"), own.dtype)
        return tensor(line).as_strided(value.shape, value.stride())


class _State:
    """What a recording took from a model: its modules, its tensors and the lack of hooks."""

    def __init__(self, model: fx.GraphModule) -> None:
        everywhere = nn.modules.module
        modules = list(model.modules())
        parts = [d for m in modules for d in (m._parameters, m._buffers, m._modules) if d]
        self._parts: list[Any] = parts
        self._hooks: list[Any] = [
            everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks,
            *(d for m in modules for d in (m._forward_hooks, m._forward_pre_hooks)),
        ]  # fmt: skip
        constants = (_attribute(model, n) for n in model.graph.nodes if n.op == "get_attr")
        self._tensors = [
            *model.parameters(), *model.buffers(), *(c for c in constants if isinstance(c, Tensor))
        ]  # fmt: skip
        self._held = [list(d.values()) for d in parts]  # so that an identity stays theirs
        unfollowed = any(t.is_inference() for t in self._tensors)
        self._unfollowed = "writes to inference tensors leave no trace" if unfollowed else None
        self._was = None if unfollowed else self._now()

    def refusal(self) -> str | None:
        """Why nothing can be played, or None."""
        if any(self._hooks):
            return "a hook watches a layer"
        return self._unfollowed

    def same(self) -> bool:
        """Whether nobody has written to a weight or put another in its place."""
        return self._was is not None and self._now() == self._was

    def _now(self) -> Any:
        # At every call, and cold: so loops are left to built-in functions.
        values = chain.from_iterable(map(dict.values, self._parts))
        versions, places = map(_version, self._tensors), map(Tensor.data_ptr, self._tensors)
        return list(map(id, values)), list(versions), list(places)


def _attribute(model: fx.GraphModule, node: fx.Node) -> Any:
    """What a node that reads an attribute reads."""
    *path, name = str(node.target).split(".")
    return getattr(model.get_submodule(".".join(path)), name)


def _plays(values: Sequence[Any]) -> bool:
    """Whether a call with these inputs is made for numbers alone, in a process that has a team."""
    return (
        bind() is not None
        and not forked()
        and calls.eager()
        and torch._C._len_torch_dispatch_stack() == 0
        and len(values) > 0
        and all(
            isinstance(v, Tensor)
            and v.dim() == 4
            and calls.covered(v)
            and prod(v.shape) > 0
            and not v.is_neg()
            for v in values
        )
    )


def _storage(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()
