"""`te.build` and `te.emit`: from a definition or a schedule to a kernel, or to its source."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .lang import debug
from .lang.errors import BuildError
from .lang.tensor import Tensor

if TYPE_CHECKING:
    from .backends.c.kernel import Kernel
    from .backends.codegen.module import CModule
    from .schedule.schedule import Schedule

TARGETS = ("c",)


def build(what: Any, args: Sequence[Tensor] | None = None, target: str = "c", name: str | None = None, check_indices: bool = True, isa: str | None = None,
          tuned: Any = None, **sizes: int) -> Kernel:  # fmt: skip
    """A kernel: a function of arrays that computes a tensor.

    what: a tensor, a list of tensors (one kernel with several results, shared work done once), or a schedule. args: the
    inputs in call order, if not the reading order; outputs come last. target: "c". name: the C function's.
    check_indices: whether data-dependent indices are checked in every call. isa: "sse2", "avx2" or "avx512" for less
    than the machine has (an automatic schedule's tiles are then made for its registers). tuned: a store of tuning
    results to take the schedule from. sizes: numbers for symbolic sizes and tile factors (`te.build(s, n=1024, v1=4)`).

    Without a schedule, `te.auto_schedule` makes one. Raises BuildError when there is no compiler or it fails,
    ScheduleError for what only the whole schedule can tell.

    >>> import numpy as np, tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> A, B, C = te.tensor("A", (2, 3)), te.tensor("B", (2, 3)), te.tensor("C")
    >>> C[i, j] = te.sum(A[i, k] * B[j, k])
    >>> kernel = te.build(C)
    >>> kernel(np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
    array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    _check_target(target)
    from .backends.c.kernel import build_module

    s = scheduled(what, tuned, sizes, isa)
    return build_module(c_module(s, args, name, check_indices, isa))


def emit(
    what: Any, args: Sequence[Tensor] | None = None, target: str = "c", name: str | None = None, **sizes: int
) -> str:
    """The C source of a kernel, without compiling it. Arguments as for `te.build`."""
    _check_target(target)
    s = scheduled(what, None, sizes)
    return c_module(s, args, name).source


def c_module(
    s: Schedule,
    args: Sequence[Tensor] | None,
    name: str | None = None,
    check_indices: bool = True,
    isa: str | None = None,
) -> CModule:
    """The C module of a schedule."""
    if name is not None and not isinstance(name, str):
        raise BuildError(f"name={name!r}: the name of a kernel is a string")
    from .backends.c.printer import generate
    from .schedule.loops.program import make_nest

    label = name or s.outputs[0].name
    debug.report(2, f"{label}: schedule", s.history or "plain loops")
    with uncollected():
        with debug.step(label, "lower"):
            nest = make_nest(s.state, args, s.several, check_indices)
        debug.report(3, f"{label}: loop nest", nest)
        with debug.step(label, "generate C"):
            module = generate(nest, label, isa)
    debug.report(4, f"{label}: C", module.source)
    return module


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: the thousands of small nodes that lowering makes are all in use until the
    source is printed, and it would look at them again and again in vain.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def scheduled(what: Any, tuned: Any, sizes: dict[str, int], isa: str | None = None) -> Schedule:
    """The schedule to build: the user's, the best stored one, or an automatic one; with numbers for `sizes`."""
    from .backends.c.toolchain import vector_bytes
    from .schedule.auto import auto_schedule
    from .schedule.schedule import Schedule

    if isinstance(what, Schedule):
        s = what
    elif tuned is not None:
        from .tune import best_schedule

        s = best_schedule(what, tuned, sizes=sizes) or auto_schedule(what, vector_bytes(isa))
    else:
        with debug.step("te.build", "schedule"), uncollected():
            s = auto_schedule(what, vector_bytes(isa))
    return s.fixed(**sizes) if sizes else s


def _check_target(target: str) -> None:
    if target not in TARGETS:
        raise BuildError(
            f"the target {target!r} is not part of this version of tedsl; there is {' and '.join(map(repr, TARGETS))}",
        )
