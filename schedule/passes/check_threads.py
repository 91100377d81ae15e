"""A GPU has one grid of blocks and one block of threads: what is bound to their axes stands once, and in order."""

from __future__ import annotations

from tedsl.lang.errors import ScheduleError
from tedsl.schedule.loops.ir import For, Stmt


def check_threads(root: Stmt, around: tuple[For, ...] = ()) -> None:
    """Raise ScheduleError when a loop that is bound to an axis of a GPU stands inside of one that is bound to the same
    axis, a loop of blocks inside of one of threads, or either in a loop that runs as lanes or in parallel.
    """
    if isinstance(root, For):
        if root.bound:
            for outer in around:
                reason = _conflict(outer, root)
                if reason:
                    raise ScheduleError(
                        f"the loop {_shown(root)} is bound to {root.kind} inside of the loop {_shown(outer)}, which is "
                        f"{f'bound to {outer.kind}' if outer.bound else outer.kind}: {reason}",
                    )
        around = (*around, root)
    for body in root.body_parts:
        check_threads(body, around)


def _conflict(outer: For, inner: For) -> str:
    """Why one loop cannot stand in another, and what to do; nothing when it can."""
    if outer.kind == inner.kind:
        return "a thread has one place along an axis. Bind one of them to another axis, or fuse the two"
    if outer.kind.startswith("threadIdx.") and inner.kind.startswith("blockIdx."):
        return "threads are inside of blocks. Reorder the loops, or bind them the other way round"
    if outer.kind in ("vectorized", "parallel"):
        return "its steps run on the CPU. Bind that loop as well, or leave it serial"
    return ""


def _shown(loop: For) -> str:
    stage, _, axis = loop.origin.rpartition(".")
    return f"{axis} of {stage}" if stage else loop.axis.name
