"""What is written out has a bound: nobody reads, and no compiler is quick with, tens of thousands of lines."""

from __future__ import annotations

from collections.abc import Iterator

from tedsl.lang.errors import ScheduleError
from tedsl.lang.integers import affine_of
from tedsl.schedule.loops.ir import Buffer, For, Stmt, Store, constant, preorder

MOST = 20_000  # lines that the loops of one nest may come to
LANES = 16  # that are stored in one line, where they are neighbours in memory


def check_size(root: Stmt) -> None:
    """Raise ScheduleError when the loops of a stage, with those that are unrolled written out and vectors in lanes,
    have too many lines.
    """
    counts: dict[str, int] = {}
    for stmt in _outermost(root):
        stage = stmt.origin.rpartition(".")[0] if isinstance(stmt, For) else stmt.buffer.name
        counts[stage] = counts.get(stage, 0) + lines(stmt)
    for stage, count in counts.items():
        if count > MOST:
            lanes = [s for s in preorder(root) if isinstance(s, For) and s.kind == "vectorized"]
            own = [s for s in lanes if s.origin.startswith(f"{stage}.")] or lanes
            widest = max(own, key=lambda s: constant(s.extent) or 0, default=None)
            shown = "" if widest is None else f" in {widest.extent!r} lanes of {widest.origin.rpartition('.')[2]}"
            raise ScheduleError(
                f"the loops of {stage}, written out{shown}, come to about {count:,} lines of C, and more than {MOST:,} "
                "are not worth their compile time. Split the loops that are unrolled or vectorized, and mark the inner "
                "ones only"
            )


def _outermost(stmt: Stmt) -> Iterator[For | Store]:
    if isinstance(stmt, (For, Store)):
        yield stmt
        return
    for body in stmt.body_parts:
        yield from _outermost(body)


def lines(stmt: Stmt) -> int:
    """About how many lines a statement is printed as."""
    if isinstance(stmt, For) and stmt.kind == "vectorized" and (lanes := constant(stmt.extent)) is not None:
        return sum(_stored(s, stmt, lanes) for s in preorder(stmt.body) if isinstance(s, Store))
    return sum([lines(b) for b in stmt.body_parts]) + (isinstance(stmt, (For, Store)))


def _stored(store: Store, loop: For, lanes: int) -> int:
    """In how many lines a store of the lanes of a loop is written: one each where they are no neighbours."""
    steps = [affine_of(i).terms.get(loop.axis, 0) for i in store.indices]
    buffer: Buffer = store.buffer
    if not any(steps):
        return 1
    neighbours = steps[-1] == 1 and not any(steps[:-1]) and buffer.strides is None
    return -(-lanes // LANES) if neighbours else lanes
