"""Stores past the caches, for results that will not be read again soon: a line that is written whole need not be read before.

What the pragma "stream" of a vectorised loop asks for. A line may only go to memory as one, so the loop runs to the first whole line with plain
stores, then over whole lines, then over what is left; where the first line begins only the call tells. Such stores may become visible later than those
that follow them, hence a fence before other threads may read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tedsl.lang import dtypes
from tedsl.schedule.ir import STREAM, For, Stmt, preorder

from .scalar import short

if TYPE_CHECKING:
    from .codegen import _Generator

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
