"""Stores past the caches in C (see schedule/passes/stream_lines.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tedsl.backends.codegen.expressions import CTYPES, short
from tedsl.lang import dtypes
from tedsl.schedule.loops.ir import Carried, Row

if TYPE_CHECKING:
    from .printer import _Generator

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


# Lines from vectors that follow each other ----------------------------------------------------------------------------


def names(row: Row, g: _Generator) -> tuple[str, str, str]:
    """The variables for the vector before, for what is taken of it and the next one, and for the elements from where a
    whole vector may go to the first one stored.
    """
    last, turn, shift = (g.names.of((row.loop, what), what) for what in ("last", "turn", "shift"))
    return last, turn, shift


def carried(stmt: Carried, g: _Generator) -> None:
    """Print a loop whose vectors make whole lines with those of the step before."""
    g.open()
    variables = len(g.lines)
    for row in stmt.rows:
        names(row, g)
    g.plain_loop(stmt.first)
    g.plain_loop(stmt.rest)
    beginning: list[str] = []
    for row in stmt.rows:
        last, turn, shift = names(row, g)
        buffer, lanes = row.store.buffer, row.lanes
        size, kind, whole = dtypes.itemsize(buffer.dtype), g.vectors.type(buffer.dtype, lanes), _integers(buffer.dtype)
        at, end = g.element(buffer, row.first), g.element(buffer, row.last)
        indent = "    " * g.depth
        beginning += [
            f"{indent}{kind} {last};",
            f"{indent}const int64_t {shift} = (int64_t)((uintptr_t)&{at} & {lanes * size - 1}) / {size};",
            f"{indent}const {g.vectors.type(whole, lanes)} {turn} = {_turn(whole, lanes, g)}({shift});",
        ]
        g.put(f"*({kind}_u *)&{end} = {last};")
    g.lines[variables:variables] = beginning
    g.close()


def put(row: Row, to: str, at: str, value: str, g: _Generator) -> None:
    """Print the store of a row's next vector."""
    dtype, lanes = row.store.buffer.dtype, row.lanes
    last, turn, shift = names(row, g)
    if to == "next":
        g.put(f"{_next(dtype, lanes, g)}(&{at}, {shift}, {turn}, &{last}, {value});")
    else:
        g.put(f"{last} = {value};")
        g.put(f"*({g.vectors.type(dtype, lanes)}_u *)&{at} = {last};")


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
