"""What every step of a loop would compute again is computed once, before it.

    for j in 0..512:                                  once = sqrt(V[i] + 1e-05)
      Z[i, j] = X[i, j] / sqrt(V[i] + 1e-05)    →     for j in 0..512:
                                                        Z[i, j] = X[i, j] / once

C compilers do so too where they see that what is stored is not what is read; in a parallel loop they do not, because
the pointers that a kernel promises to be apart reach it through a struct. Only what takes more than an instruction or
two is worth a register of its own. It is computed where the loop stands, so it must not depend on the loop's steps: on
its axis, what it stores, or a condition under which alone it may be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, apply, reads_tensors, rewrite, walk
from tedsl.lang.typed import typed
from tedsl.schedule.loops.ir import (
    Allocate,
    Block,
    Buffer,
    For,
    If,
    Stmt,
    Store,
    block,
    constant,
    everywhere,
    preorder,
    with_bodies,
)

CHEAP = set("add subtract multiply negative minimum maximum machine_minimum machine_maximum absolute".split())


def invariants_pass(root: Stmt) -> Stmt:
    """Move what does not change out of loops, as far as it goes."""
    return _Invariants().visit(root)


class _Invariants:
    def __init__(self) -> None:
        self.made = 0
        self.costs: dict[Expr, bool] = {}
        self.worthy: dict[Stmt, bool] = {}

    def costly(self, stmt: Stmt) -> bool:
        """Whether anything in a statement takes more than an instruction or two."""
        if stmt not in self.worthy:
            own = isinstance(stmt, Store) and self.worth(stmt.value)
            self.worthy[stmt] = own or any([self.costly(b) for b in stmt.body_parts])
        return self.worthy[stmt]

    def worth(self, e: Expr) -> bool:
        if e not in self.costs:
            own = isinstance(e, Apply) and e.function not in CHEAP and e.dtype not in dtypes.WEAK
            self.costs[e] = own or any([self.worth(x) for x in e.children])
        return self.costs[e]

    def visit(self, stmt: Stmt) -> Stmt:
        if not self.costly(stmt):
            return stmt
        if not isinstance(stmt, For) or stmt.bound:
            return with_bodies(stmt, tuple([self.visit(b) for b in stmt.body_parts]))
        held: dict[Expr, Buffer] = {}
        for e in self.unchanged(stmt):
            if e not in held:
                name = "once" if not self.made else f"once_{self.made}"
                self.made += 1
                held[e] = Buffer(name, (), e.dtype, "register", "temporary")
        loop: Stmt = stmt
        if held:
            names: dict[Expr, Expr] = {e: Access(b, ()) for e, b in held.items()}
            loop = everywhere(stmt, lambda e: rewrite(e, lambda _: None, dict(names)))
        loop = with_bodies(loop, tuple([self.visit(b) for b in loop.body_parts]))
        if not held:
            return loop
        first: list[Stmt] = [Store(b, (), e) for e, b in held.items()]
        if constant(stmt.extent) is None:  # there may be nothing to read
            zeros = [Store(b, (), typed(Const(0), b.dtype)) for b in held.values()]
            first = [*zeros, If(apply("greater", stmt.extent, 0), block(*first), added=False)]
        made = block(*first, loop)
        for b in reversed(held.values()):
            made = Allocate(b, made)
        return made

    def unchanged(self, loop: For) -> Iterator[Expr]:
        """The largest expressions in a loop's body, worth a register, that have the same value in every step."""
        inside = list(preorder(loop.body))
        axes = {loop.axis, *(s.axis for s in inside if isinstance(s, For))}
        written = {s.buffer for s in inside if isinstance(s, (Store, Allocate))}

        def fixed(e: Expr) -> bool:
            return not any(
                (isinstance(n, Axis) and n in axes)
                or (isinstance(n, Access) and (cast(Buffer, n.tensor) in written or any(map(reads_tensors, n.indices))))
                or (isinstance(n, Apply) and n.function == "where")
                for n in walk(e)
            )

        def search(e: Expr) -> Iterator[Expr]:
            if dtypes.is_float(e.dtype) and e.dtype not in dtypes.WEAK and self.worth(e) and fixed(e):
                yield e
            elif isinstance(e, Apply) and e.function != "where":
                for x in e.operands:
                    yield from search(x)

        for stmt in _certain(loop.body):
            if isinstance(stmt, Store) and self.worth(stmt.value):
                yield from search(stmt.value)


def _certain(stmt: Stmt) -> Iterator[Stmt]:
    """The statements that run at least once when `stmt` does."""
    if isinstance(stmt, (Block, Allocate)):
        for b in stmt.body_parts:
            yield from _certain(b)
    elif isinstance(stmt, For):
        extent = constant(stmt.extent)
        if extent is not None and extent > 0:
            yield from _certain(stmt.body)
    elif isinstance(stmt, Store):
        yield stmt
