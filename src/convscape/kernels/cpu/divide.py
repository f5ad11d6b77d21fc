"""A kernel's shares on a team of threads: one call of the OpenMP that is in the process already.

The code that Numba emits for a `prange` brings an OpenMP library of its own. Beside torch's that
makes two teams of threads, and the one that has just worked spins on the cores that the other
needs. Here the shares are started by `GOMP_parallel`, the entry that compilers use, of the very
library that torch loaded: one team, no second set of threads, and a start of a few microseconds.

Source: the entry's contract is that of GCC's libgomp (manual, "The libgomp ABI"); LLVM's and
Intel's libraries export it too.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

SYMBOLS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
"""What the emitted code calls, under names that `symbol` gives."""

RECORDER = "record"
"""What it calls instead of the first of them with `RECORD`: `f(body, room, bytes)`."""

ALL = -1
"""As a kernel's `part`: every share, on the team."""

RECORD = -(1 << 62)
"""As a kernel's `part`: none; what a team would be started with is told to the recorder."""


def alone(share: int) -> int:
    """As a kernel's `part`: this share, in place."""
    return -2 - share


_WORD, _SMALL = ir.IntType(64), ir.IntType(32)
_POINTER = ir.IntType(8).as_pointer()


def symbol(name: str) -> str:
    """The name under which emitted code finds an OpenMP function, whichever library has it."""
    return f"convscape_{name}"


@intrinsic
def divide(typing_context: Any, part: Any, parts: Any) -> Any:
    """Whether `part` was not a share's number, and this very kernel has been called for what it is.

    The first statement of a kernel `f(part, parts, *given)` is

        if divide(part, parts):
            return

    and what follows computes share number `part`. From Python it is called with `ALL`, `RECORD` or
    `alone(n)`; all lend it its arrays. A team may get fewer threads than asked for; then each takes
    several shares. A share that fails becomes a MemoryError, the only one kernels raise.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        part, parts = args
        kernel, kinds = builder.function, context.fndesc.argtypes
        packer = context.get_arg_packer(kinds)

        def share(at: Any, number: Any, arguments: Any) -> Any:
            """Call the kernel for one share; whether it failed."""
            values = [number, *packer.from_arguments(at, arguments)[1:]]
            return context.call_conv.call_function(at, kernel, types.none, kinds, values)[
                0
            ].is_error

        from_outside = builder.icmp_signed("<", part, _WORD(0))
        with builder.if_then(from_outside, likely=False):
            given = packer.from_arguments(builder, context.call_conv.get_arguments(kernel))
            lent = [_lend(context, builder, *pair) for pair in zip(kinds, given, strict=True)]
            arguments = packer.as_arguments(builder, lent)
            failed = cgutils.alloca_once(builder, ir.IntType(1))
            recorded = builder.icmp_signed("==", part, _WORD(RECORD))
            every = builder.or_(recorded, builder.icmp_signed("==", part, _WORD(ALL)))
            with builder.if_else(every) as (team, one):
                with team:
                    team_failed = _on_team(context, builder, share, parts, arguments, recorded)
                    builder.store(team_failed, failed)
                with one:
                    number = builder.sub(_WORD(alone(0)), part)
                    builder.store(share(builder, number, arguments), failed)
            with cgutils.if_unlikely(builder, builder.load(failed)):
                message = ("a share found no memory",)
                context.call_conv.return_user_exc(builder, MemoryError, message)
        return from_outside

    return types.boolean(types.intp, types.intp), generate


def _on_team(
    context: Any, builder: Any, share: Any, parts: Any, arguments: Any, recorded: Any
) -> Any:
    """Put what the shares need where all threads see it, and start them; whether one failed.

    Where that is `recorded`, they are not started: the recorder is told what with.
    """
    module = builder.module
    fields = [parts, _SMALL(0), *arguments]
    room = cgutils.alloca_once(builder, ir.LiteralStructType([f.type for f in fields]))
    # What lay between the fields before may look like an address that is to be filled in.
    cgutils.memset_padding(builder, room)
    for n, field in enumerate(fields):
        builder.store(field, builder.gep(room, [_SMALL(0), _SMALL(n)]))
    body = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [_POINTER]), module.get_unique_name("shares")
    )
    body.linkage = "internal"
    _emit_body(body, room.type, share, len(fields))
    what = builder.bitcast(body, _POINTER), builder.bitcast(room, _POINTER)
    with builder.if_else(recorded) as (told, started):
        with told:
            size = _WORD(context.get_abi_sizeof(room.type.pointee))
            builder.call(
                _external(module, RECORDER, ir.VoidType(), [_POINTER, _POINTER, _WORD]),
                [*what, size],
            )
        with started:
            _start(builder, *what, parts)
    return _failed(builder, room)


def _start(builder: Any, body: Any, room: Any, parts: Any) -> None:
    """A team of at most `parts` threads, each of which calls the body."""
    kinds = [_POINTER, _POINTER, _SMALL, _SMALL]
    start = _external(builder.module, SYMBOLS[0], ir.VoidType(), kinds)
    builder.call(start, [body, room, builder.trunc(parts, _SMALL), _SMALL(0)])


def _failed(builder: Any, room: Any) -> Any:
    """Whether a share has said so in the room."""
    state = builder.load(builder.gep(room, [_SMALL(0), _SMALL(1)]))
    return builder.icmp_unsigned("!=", state, _SMALL(0))


@intrinsic
def again(_context: Any, body: Any, room: Any, parts: Any) -> Any:
    """Start what was recorded, given the addresses of the body and of the room; whether it failed.

    One share needs no team.
    """

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        begin = ir.LiteralStructType([_WORD, _SMALL]).as_pointer()
        body, room = (builder.inttoptr(a, _POINTER) for a in args[:2])
        one = builder.icmp_signed("<=", args[2], _WORD(1))
        with builder.if_else(one) as (alone, team):
            with alone:
                kind = ir.FunctionType(ir.VoidType(), [_POINTER]).as_pointer()
                builder.call(builder.bitcast(body, kind), [room])
            with team:
                _start(builder, body, room, args[2])
        return _failed(builder, builder.bitcast(room, begin))

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def in_a_row(_typing_context: Any, table: Any, count: Any, team: Any) -> Any:
    """Start what was recorded, one after the other, on a team that is started once.

    `table` is the address of `count` pairs of addresses, a body's and its room's. All threads meet
    behind each, which takes a fraction of what starting a team does.
    """

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        module, plan = builder.module, ir.LiteralStructType([_WORD, _WORD])
        kind = ir.FunctionType(ir.VoidType(), [_POINTER])
        body = ir.Function(module, kind, module.get_unique_name("in_a_row"))
        body.linkage = "internal"
        _emit_row(body, plan, kind)
        room = cgutils.alloca_once(builder, plan)
        for n in range(2):
            builder.store(args[n], builder.gep(room, [_SMALL(0), _SMALL(n)]))
        what = builder.bitcast(body, _POINTER), builder.bitcast(room, _POINTER)
        _start(builder, *what, args[2])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


def _emit_row(body: Any, plan: Any, kind: Any) -> None:
    """What each thread runs: its shares of one after the other, and a wait for all behind each."""
    b = ir.IRBuilder(body.append_basic_block("entry"))
    source = b.bitcast(body.args[0], plan.as_pointer())
    table, count = (b.load(b.gep(source, [_SMALL(0), _SMALL(n)])) for n in range(2))
    table = b.inttoptr(table, _WORD.as_pointer())
    with cgutils.for_range(b, count) as loop:
        at = b.mul(loop.index, _WORD(2))
        one, room = (b.load(b.gep(table, [b.add(at, _WORD(n))])) for n in range(2))
        b.call(b.inttoptr(one, kind.as_pointer()), [b.inttoptr(room, _POINTER)])
        b.call(_external(body.module, SYMBOLS[3], ir.VoidType(), []), [])
    b.ret_void()


@intrinsic
def has_failed(_context: Any, room: Any) -> Any:
    """Whether a share has said so in the room at an address."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        begin = ir.LiteralStructType([_WORD, _SMALL]).as_pointer()
        return _failed(builder, builder.inttoptr(args[0], begin))

    return types.boolean(types.intp), generate


def _lend(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The same value with arrays that nobody counts references to.

    Numba counts an array's users atomically, also when a kernel takes a slice of it. The caller
    keeps these arrays alive, and two threads would pass the one counter to and fro.
    """
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for n, member in enumerate(kind.types):
            one = _lend(context, builder, member, builder.extract_value(value, n))
            value = builder.insert_value(value, one, n)
    return value


def _emit_body(body: Any, room: Any, share: Any, fields: int) -> None:
    """What each thread runs: the shares number t, t + team, t + 2 team, ..."""
    b = ir.IRBuilder(body.append_basic_block("entry"))
    source = b.bitcast(body.args[0], room)
    places = [b.gep(source, [_SMALL(0), _SMALL(n)]) for n in range(fields)]
    parts, _, *arguments = (b.load(place) for place in places)
    first, team = (
        b.sext(b.call(_external(body.module, name, _SMALL, []), []), _WORD) for name in SYMBOLS[1:3]
    )
    entry, loop, done = b.block, body.append_basic_block("share"), body.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", first, parts), loop, done)
    b.position_at_end(loop)
    index = b.phi(_WORD)
    index.add_incoming(first, entry)
    with b.if_then(share(b, index, arguments), likely=False):
        b.store(_SMALL(1), places[1])
    following = b.add(index, team)
    index.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, parts), loop, done)
    b.position_at_end(done)
    b.ret_void()


def _external(module: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(module, ir.FunctionType(result, arguments), symbol(name))
