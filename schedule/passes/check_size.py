"""What is written out has a bound: nobody reads, and no compiler is quick with, tens of thousands of lines."""

from __future__ import annotations

from tedsl.lang.errors import ScheduleError
from tedsl.lang.integers import Affine
from tedsl.schedule.loops.ir import Buffer, For, Stmt, Store, constant, preorder

MOST = 20_000  # lines that the loops of one nest may come to
LANES = 16  # that are stored in one line, where they are neighbours in memory


def check_size(root: Stmt) -> None:
    """Raise ScheduleError when a nest, with its unrolled loops written out and its vectors in lanes, has too many lines."""
    if not isinstance(root, For):
        for body in root.body_parts:
            check_size(body)
        return
    count = lines(root)
    if count <= MOST:
        return
    loops = [s for s in preorder(root) if isinstance(s, For) and s.kind == "vectorized"]
    widest = max(loops, key=lambda s: constant(s.extent) or 0, default=None)
    stage, _, axis = (widest or root).origin.rpartition(".")
    lanes = f" in {widest.extent!r} lanes of {axis}" if widest is not None else ""
    raise ScheduleError(
        f"the loops of {stage or root.axis.name}, written out{lanes}, come to about {count:,} lines of C, and more than "
        f"{MOST:,} are not worth their compile time. Split the loops that are unrolled or vectorized, and mark the inner "
        "ones only",
    )


def lines(stmt: Stmt) -> int:
    """About how many lines a statement is printed as."""
    if isinstance(stmt, For) and stmt.kind == "vectorized" and (lanes := constant(stmt.extent)) is not None:
        return sum(_stored(s, stmt, lanes) for s in preorder(stmt.body) if isinstance(s, Store))
    return sum([lines(b) for b in stmt.body_parts]) + (isinstance(stmt, (For, Store)))


def _stored(store: Store, loop: For, lanes: int) -> int:
    """In how many lines a store of the lanes of a loop is written: one each where they are no neighbours."""
    steps = [Affine.of(i).terms.get(loop.axis, 0) for i in store.indices]
    buffer: Buffer = store.buffer
    if not any(steps):
        return 1
    neighbours = steps[-1] == 1 and not any(steps[:-1]) and buffer.strides is None
    return -(-lanes // LANES) if neighbours else lanes
