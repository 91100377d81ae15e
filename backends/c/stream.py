"""Stores past the caches, for results that will not be read again soon: a line that is written whole need not be read
before.

What the pragma "stream" of a vectorised loop asks for. A line may only go to memory as one, and where lines begin only
the call tells. So a long loop runs to the first whole line with plain stores, then over whole lines, then over what is
left. Where a loop around it moves on by one vector at a time, a line is made of what two vectors have of it:

    for j:                                    last = first vector, stored as it is
      to[16*j : 16*j + 16] = vector    →      for j from the second on:
                                                a line = the end of last, the beginning of vector;  last = vector
                                              the last vector, stored as it is

Such stores may become visible later than those that follow them, hence a fence before other threads may read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tedsl.backends.codegen.expressions import CTYPES, short
from tedsl.lang import dtypes
from tedsl.lang.expr import Const, Expr, reads_tensors, substitute
from tedsl.lang.integers import simplify
from tedsl.schedule.loops.ir import (
    STREAM,
    Allocate,
    Block,
    Buffer,
    For,
    Stmt,
    Store,
    constant,
    expressions,
    loads,
    preorder,
)

if TYPE_CHECKING:
    from .printer import _Generator

LINE = 64  # bytes of a line of the cache
FENCE = "te_stream_fence"
_FENCE = f"""\
static inline void {FENCE}(void)
{{
#if defined(__SSE2__)
    __builtin_ia32_sfence();
#endif
}}"""
# bytes of a vector -> the macro that says that its instruction is there, and gcc's name of it
_INSTRUCTIONS = {16: ("__SSE__", "movntps"), 32: ("__AVX__", "movntps256"), 64: ("__AVX512F__", "movntps512")}


def streams(stmt: Stmt) -> bool:
    """Whether a statement may store past the caches."""
    return any(isinstance(s, For) and STREAM in s.pragmas and s.kind == "vectorized" for s in preorder(stmt))


def fence(g: _Generator) -> str:
    """The statement that waits for such stores."""
    g.vector_helpers[FENCE] = _FENCE
    return f"{FENCE}();"


def store(dtype: str, lanes: int, g: _Generator) -> str | None:
    """The name of the function that stores a vector past the caches; None for vectors of no register's width."""
    bytes_ = lanes * dtypes.itemsize(dtype)
    if bytes_ not in _INSTRUCTIONS:
        return None
    macro, instruction = _INSTRUCTIONS[bytes_]
    kind, floats = g.vectors.type(dtype, lanes), g.vectors.type("float32", bytes_ // 4)
    name = f"te_stream_{short(dtype)}x{lanes}"
    g.vector_helpers[name] = f"""\
static inline void {name}(void *p, {kind} x)
{{
#if defined(__clang__)
    __builtin_nontemporal_store(x, ({kind} *)p);
#elif defined({macro})
    __builtin_ia32_{instruction}((float *)p, ({floats})x);
#else
    *({kind}_a *)p = x;
#endif
}}"""
    return name


# Lines made of two vectors --------------------------------------------------------------------------------------------

FEWEST = 4  # vectors of a row for which that is worth its beginning and its end


@dataclass
class Row:
    """The vectors that one store of a loop writes, one after the other. `last`, `turn`, `shift`: the names of the
    variables for the vector before, for what is taken of it and the next one, and for the elements from where a whole
    vector may go to the first one stored.
    """

    loop: For
    last: str
    turn: str
    shift: str
    begun: bool = False


def rows(stmt: For, g: _Generator) -> bool:
    """Print a loop around vectorised ones that are to write past the caches by whole lines, if it has such; otherwise
    print nothing.
    """
    extent = constant(stmt.extent)
    if stmt.kind != "serial" or stmt.step != 1 or extent is None or extent < FEWEST or g.vectors.axis is not None:
        return False
    read = {cast(Buffer, a.tensor) for s in preorder(stmt) for e in expressions(s) for a in loads(e)}
    found = [loop for loop in _straight(stmt.body) if _follows(loop, stmt, g) and _store(loop).buffer not in read]
    if not found:
        return False
    state = g.state()
    g.open()
    variables = len(g.lines)
    outer = g.vectors.rows
    g.vectors.rows = {
        id(loop): Row(
            loop,
            g.names.of((loop, "last"), "last"),
            g.names.of((loop, "turn"), "turn"),
            g.names.of((loop, "shift"), "shift"),
        )
        for loop in found
    }
    second = simplify(stmt.lo + 1, g.known)
    g.plain_loop(replace(stmt, extent=Const(1)))
    used = [row for row in g.vectors.rows.values() if row.begun]
    if not used:
        g.undo(state)
        return False
    g.plain_loop(replace(stmt, lo=second, extent=Const(extent - 1)))
    g.vectors.rows = outer
    beginning: list[str] = []
    for row in used:
        store, chunks = _store(row.loop), g.vectors.chunks(row.loop)
        lanes, size = chunks[0][1], dtypes.itemsize(store.buffer.dtype)
        first = _element(row, stmt.lo, chunks[0][0], stmt, g)
        last = _element(row, simplify(stmt.lo + (extent - 1), g.known), chunks[-1][0], stmt, g)
        kind, whole = g.vectors.type(store.buffer.dtype, lanes), _integers(store.buffer.dtype)
        indent = "    " * g.depth
        beginning += [
            f"{indent}{kind} {row.last};",
            f"{indent}const int64_t {row.shift} = (int64_t)((uintptr_t)&{first} & {lanes * size - 1}) / {size};",
            f"{indent}const {g.vectors.type(whole, lanes)} {row.turn} = {_turn(whole, lanes, g)}({row.shift});",
        ]
        g.put(f"*({kind}_u *)&{last} = {row.last};")
    g.lines[variables:variables] = beginning
    g.close()
    return True


def put(row: Row, at: str, value: str, lanes: int, g: _Generator) -> None:
    """Print the store of a row's next vector."""
    dtype = _store(row.loop).buffer.dtype
    if row.begun:
        g.put(f"{_next(dtype, lanes, g)}(&{at}, {row.shift}, {row.turn}, &{row.last}, {value});")
    else:
        row.begun = True
        g.put(f"{row.last} = {value};")
        g.put(f"*({g.vectors.type(dtype, lanes)}_u *)&{at} = {row.last};")


def _straight(stmt: Stmt) -> Iterator[For]:
    """The vectorised loops of a body that run once each time."""
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            yield from _straight(s)
    elif isinstance(stmt, Allocate):
        yield from _straight(stmt.body)
    elif isinstance(stmt, For) and stmt.kind == "vectorized" and isinstance(stmt.body, Store):
        yield stmt


def _follows(loop: For, around: For, g: _Generator) -> bool:
    """Whether a loop writes whole vectors that follow each other from one step of the loop around it to the next."""
    store, extent = _store(loop), constant(loop.extent)
    buffer = store.buffer
    if STREAM not in loop.pragmas or extent is None or not g.vectors.regular(loop) or buffer in g.nest.aliasable:
        return False
    size = dtypes.itemsize(buffer.dtype)
    lanes = g.vectors.width_of(loop)
    if buffer in g.locals or size not in (4, 8) or not 32 <= lanes * size <= LINE or extent % lanes:
        return False
    if any(reads_tensors(i) for i in store.indices):
        return False
    place = g.offset(buffer, store.indices)
    return place.linear and place.terms.get(loop.axis) == 1 and place.terms.get(around.axis) == extent


def _store(loop: For) -> Store:
    return cast(Store, loop.body)


def _element(row: Row, step: Expr, lane: int, around: For, g: _Generator) -> str:
    """The first element of a vector of a row."""
    store = _store(row.loop)
    here: dict[Expr, Expr] = {around.axis: step, row.loop.axis: Const(lane)}
    return g.element(store.buffer, [simplify(substitute(i, here), g.known) for i in store.indices])


def _integers(dtype: str) -> str:
    return f"int{8 * dtypes.itemsize(dtype)}"


def _turn(whole: str, lanes: int, g: _Generator) -> str:
    """The name of the function that says which lanes of two vectors make a line, from how far the first one lies behind
    where a whole vector may go.
    """
    kind = g.vectors.type(whole, lanes)
    name = f"te_turn_{short(whole)}x{lanes}"
    first = ", ".join(str(lanes + n) for n in range(lanes))
    g.vector_helpers[name] = f"""\
static inline {kind} {name}(int64_t shift)
{{
    return ({kind}){{{first}}} - ({CTYPES[whole]})shift;
}}"""
    return name


def _next(dtype: str, lanes: int, g: _Generator) -> str:
    """The name of the function that writes a line from the vector before and this one."""
    kind, whole = g.vectors.type(dtype, lanes), g.vectors.type(_integers(dtype), lanes)
    name = f"te_next_{short(dtype)}x{lanes}"
    past = store(dtype, lanes, g)
    g.vector_helpers[name] = f"""\
static inline void {name}({CTYPES[dtype]} *p, int64_t shift, {whole} turn, {kind} *last, {kind} x)
{{
#if defined(__clang__)
    (void)shift, (void)turn;
    *({kind}_u *)p = x;
#else
    {past}(p - shift, __builtin_shuffle(*last, x, turn));
#endif
    *last = x;
}}"""
    return name
