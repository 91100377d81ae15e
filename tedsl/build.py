"""`te.build` and `te.emit`: the way of a tensor to its kernel, or to its source. Every line of the way is one function:

scheduled      definition → schedule: the user's, the best stored one, or an automatic one
make_nest      schedule → loops, through the passes
Target.emit    loops → C
Target.build   C → kernel
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .backends.c.kernel import Kernel
from .backends.codegen.module import CModule
from .backends.targets import target_of, uncollected
from .lang import debug
from .lang.errors import BuildError
from .lang.tensor import Tensor
from .schedule.auto import auto_schedule
from .schedule.loops.program import make_nest
from .schedule.schedule import Schedule


def build(
    what: Any,
    args: Sequence[Tensor] | None = None,
    target: str = "c",
    name: str | None = None,
    check_indices: bool = True,
    isa: str | None = None,
    tuned: Any = None,
    **sizes: int,
) -> Kernel:
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
    way = target_of(target)
    s = scheduled(what, tuned, sizes, way.facts(isa).vector_bytes)
    return way.build(c_module(s, args, name, check_indices, isa, target))


def emit(
    what: Any, args: Sequence[Tensor] | None = None, target: str = "c", name: str | None = None, **sizes: int
) -> str:
    """The source of a kernel, without compiling it. Arguments as for `te.build`."""
    s = scheduled(what, None, sizes, target_of(target).facts(None).vector_bytes)
    return c_module(s, args, name, target=target).source


def scheduled(what: Any, tuned: Any, sizes: dict[str, int], vector_bytes: int) -> Schedule:
    """The schedule to build: the user's, the best stored one, or an automatic one; with numbers for `sizes`."""
    s = what if isinstance(what, Schedule) else None
    if s is None and tuned is not None:
        from .tune.best import best_schedule  # Optuna takes a second to import

        s = best_schedule(what, tuned, sizes=sizes)
    if s is None:
        with debug.step("te.build", "schedule"), uncollected():
            s = auto_schedule(what, vector_bytes)
    return s.fixed(**sizes) if sizes else s


def c_module(
    s: Schedule,
    args: Sequence[Tensor] | None,
    name: str | None = None,
    check_indices: bool = True,
    isa: str | None = None,
    target: str = "c",
) -> CModule:
    """The source of a schedule, with what a call of the kernel has to know."""
    if name is not None and not isinstance(name, str):
        raise BuildError(f"name={name!r}: the name of a kernel is a string")
    label = name or s.outputs[0].name
    debug.report(2, f"{label}: schedule", s.history or "plain loops")
    with uncollected():
        with debug.step(label, "lower"):
            nest = make_nest(s.state, args, s.several, check_indices)
        debug.report(3, f"{label}: loop nest", nest)
        with debug.step(label, "generate C"):
            module = target_of(target).emit(nest, label, isa)
    debug.report(4, f"{label}: C", module.source)
    return module
