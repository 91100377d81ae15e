"""Run-time checks of data-dependent indices.

An index that depends on inputs alone is checked in loops of its own before anything is computed. One that depends on
computed values is checked where it is used; the runtime then keeps the results back until the kernel has ended well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from tedsl.lang.definition import reads_of
from tedsl.lang.expr import Access, Axis, Cast, Const, Expr, apply, free_axes, reads_tensors, walk
from tedsl.lang.extents import Read
from tedsl.lang.integers import simplify, simplify_indices
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.loops.ir import Assert, For, If, Stmt, block
from tedsl.schedule.state import State, unique

Load = Callable[[Expr, dict[Expr, Expr]], Expr]


@dataclass(slots=True)
class Checks:
    """The checks of a program. `early`: one nest for all that depends on inputs alone; `late`: for each equation, the
    rest.
    """

    early: list[tuple[Read, int, int]] = field(default_factory=list)
    late: dict[Part, list[tuple[Read, int, int]]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


def find_checks(state: State) -> Checks:
    """Every data-dependent index of a program, with the number of its fault."""
    found = Checks()
    seen: set[tuple[Access, tuple[Expr, ...], int]] = set()
    for stage in state.stages:
        for part in stage.parts:
            for read in reads_in(part, stage.tensor):
                for d, index in enumerate(read.access.indices):
                    key = (read.access, read.guards, d)
                    if key in seen or not reads_tensors(index):
                        continue
                    seen.add(key)
                    place = (read, d, len(found.messages))
                    found.messages.append(_message(read.access, d))
                    if all(n.tensor.is_input for n in walk(index, *read.guards) if isinstance(n, Access)):
                        found.early.append(place)
                    else:
                        found.late.setdefault(part, []).append(place)
    for places in (found.early, *found.late.values()):
        places.sort(key=lambda place: _nesting(place[0].access.indices[place[1]], *place[0].guards))
    return found


def _nesting(*exprs: Expr) -> int:
    """How many reads stand in one another's indices. An index is checked after all that are read to compute it: the
    check itself must not read what is out of range.
    """
    depth: dict[Expr, int] = {}
    for node in walk(*exprs):
        depth[node] = max((depth[c] for c in node.children), default=0) + isinstance(node, Access)
    return max((depth[e] for e in exprs), default=0)


def reads_in(part: Part, tensor: Tensor) -> Iterator[Read]:
    """Every access that an equation makes; a scatter-add's writes are looked at in the same way."""
    yield from reads_of(part.expressions)
    if isinstance(part, ScatterPart):
        yield Read(Access(tensor, part.lhs), () if part.where is None else (part.where,))


def _message(access: Access, d: int) -> str:
    names = " and ".join(dict.fromkeys(n.tensor.name for n in walk(access.indices[d]) if isinstance(n, Access)))
    tensor = access.tensor
    names, name, shown = (t.replace("{", "{{").replace("}", "}}") for t in (names, tensor.name, f"{access!r}"))
    index = access.indices[d]
    unsigned = isinstance(index, Cast) and index.operand.dtype == "uint64"  # which is told as an int64
    value = "{0:u}" if unsigned else "{0}"
    return (
        f"an index from {names} is {value}, out of range for dimension {d} of {name}, whose extent is {{1}} (`{shown}`)"
    )


def assertion(place: tuple[Read, int, int], load: Load, mapping: dict[Expr, Expr]) -> Stmt:
    """The statement that checks one index, under the conditions under which it is used."""
    read, d, fault = place
    extent = as_expr(read.access.tensor.shape[d])
    index = read.access.indices[d]
    inside = apply("bitwise_and", apply("greater_equal", index, 0), apply("less", index, extent))
    stmt: Stmt = Assert(load(inside, mapping), fault, (load(index, mapping), extent))
    for guard in reversed(read.guards):
        condition = simplify_indices(guard)
        if not isinstance(condition, Const):
            stmt = If(load(condition, mapping), stmt, added=False)
    return stmt


def early_checks(checks: Checks, load: Load, used: set[str]) -> Stmt | None:
    """The loops that check everything that depends on inputs alone."""
    stmts: list[Stmt] = []
    for place in checks.early:
        read, d, _ = place
        axes = list(dict.fromkeys(a for e in (read.access.indices[d], *read.guards) for a in free_axes(e)))
        names = set(used)
        mapping: dict[Expr, Expr] = {a: Axis(unique(a.name, names)) for a in axes}
        stmt = assertion(place, load, mapping)
        for a in reversed(axes):
            stmt = For(
                cast(Axis, mapping[a]),
                simplify(as_expr(a.lo)),
                simplify(as_expr(a.extent)),
                "serial",
                stmt,
                origin=f"check of {read.access.tensor.name}",
            )
        stmts.append(stmt)
    return block(*stmts) if stmts else None
