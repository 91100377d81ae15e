"""Loops whose test depends on them through a quotient are run in runs over which that quotient stands still.

    for f in 0..32:                                  for r in 0..8:
      if 4 * (f // 16) + f % 4 < 5:         →          for f in 0..min(4, 5 - 4 * (r // 4)):
        … f // 4, f % 4 …                                … r, f …

A loop over fused tiles that do not divide has such a test. In a run, quotient and remainder follow the loop, and the
test becomes its bound. The iterations are the same, in the same order; the loop over the runs stands where the loop
stood. Loops in which such a test is one statement of several are looked at when all others have been cut, and are known
to be innermost ones.
"""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.expr import Apply, Axis, Expr, apply, free_axes, substitute, walk
from tedsl.lang.integers import Known, affine_of, conjuncts, joined, prove, simplify, solve
from tedsl.schedule.loops.ir import For, If, Stmt, block, constant, everywhere, inside, preorder, with_bodies
from tedsl.schedule.state import unique

from .partition import cut
from .simplify import Heard, simplify_in

DEPTH = 12  # how many loops one loop may become: one for each quotient in its test


def runs_pass(root: Stmt, heard: Heard | None = None) -> Stmt:
    """Turn the tests that lowering put into loops into bounds of loops."""
    return _Runs(root, heard).visit(root, Known())


def rest_pass(root: Stmt, heard: Heard | None = None) -> Stmt:
    """Run innermost loops in which tests are left in runs of their quotients as well. Over a run such a test begins and
    ceases to hold but once, where the loop is cut.
    """
    return _Rest(root, heard).visit(root, Known())


class _Runs:
    def __init__(self, root: Stmt, heard: Heard | None) -> None:
        self.heard = heard
        self.names = {s.axis.name for s in preorder(root) if isinstance(s, For)}

    def visit(self, stmt: Stmt, known: Known) -> Stmt:
        if isinstance(stmt, For):
            made = self.rewritten(stmt, known)
            if made is not stmt:
                return self.visit(made, known)
            body = self.visit(stmt.body, inside(known, stmt))
            if body is stmt.body:
                return stmt
            loop = replace(stmt, body=body)
            made = self.rewritten(loop, known)  # a test may have come out of a loop further in
            return loop if made is loop else self.visit(made, known)
        if isinstance(stmt, If):
            then = self.visit(stmt.then, known.with_(conditions=(stmt.condition,)))
            return with_bodies(stmt, (then, *(self.visit(b, known) for b in stmt.body_parts[1:])))
        return with_bodies(stmt, tuple(self.visit(b, known) for b in stmt.body_parts))

    def rewritten(self, loop: For, known: Known) -> Stmt:
        made = self.bounded(loop, known, DEPTH) if _guarded(loop) else loop
        return made if made is loop else simplify_in(made, known, self.heard) or block()

    def bounded(self, loop: For, known: Known, depth: int) -> Stmt:
        """A loop whose body is a test, with that test in the bounds, or around the loop where it does not depend on it;
        itself when it cannot be.
        """
        test = loop.body
        assert isinstance(test, If)
        around: list[Expr] = []
        stuck: list[Expr] = []
        lo, hi = loop.lo, loop.lo + loop.extent
        for part in conjuncts(simplify(test.condition, inside(known, loop))):
            if not any(a is loop.axis for a in free_axes(part)):
                around.append(part)
                continue
            found = solve(part, loop.axis, known.with_(ranges={loop.axis: (loop.lo, loop.extent)}))
            if found is None or found.rest is not None or found.step != 1:
                stuck.append(part)
            else:
                lo, hi = (
                    simplify(apply("maximum", lo, found.lo), known),
                    simplify(apply("minimum", hi, found.hi), known),
                )
        if stuck:
            return self.in_runs(loop, stuck, known, depth)
        made: Stmt = replace(loop, lo=lo, extent=_extent(lo, hi, known), body=test.then)
        return made if not around else If(joined(around), made)

    def in_runs(self, loop: For, stuck: list[Expr], known: Known, depth: int) -> Stmt:
        """A loop as a loop over the runs of one of the quotients of its tests, and the loop over such a run in it."""
        found = _quotient(stuck, loop.axis)
        if found is None or not depth:
            return loop
        x, d, slope, rest = found
        run = Axis(unique(f"{loop.axis.name}_run", self.names))
        end = loop.lo + loop.extent
        # where the loop does not run, it does not matter how many empty runs there are
        runs = inside(known, loop)
        lo = simplify((slope * loop.lo + rest) // d, runs)
        outer = replace(
            loop, axis=run, lo=lo, extent=_extent(lo, (slope * (end - 1) + rest) // d + 1, runs), body=block()
        )
        if loop.kind == "vectorized":
            outer = replace(outer, kind="serial", pragmas=())
        here = inside(known, outer)
        # in a run of slope 1 the loop counts from the run's beginning, and is the remainder
        start = d * run - rest
        first, last = (start, start + d) if slope == 1 else (_ceil(start, slope), _ceil(start + d, slope))
        first, last = apply("maximum", loop.lo, first), apply("minimum", end, last)
        value: Expr = loop.axis
        if slope == 1:
            first, last, value = first - start, last - start, loop.axis + start
        remainder = slope * value + rest - d * run
        rules = {apply("floor_divide", x, d): run, apply("remainder", x, d): remainder, loop.axis: value}
        body = everywhere(_in_parts(loop.body), lambda e: substitute(e, rules))
        lo = simplify(first, here)
        inner = replace(
            loop,
            lo=lo,
            extent=_extent(lo, last, here),
            body=body,
            kind="serial" if loop.kind == "parallel" else loop.kind,
        )
        made = self.bounded(inner, here, depth - 1) if _guarded(inner) else inner
        outer = replace(outer, body=made)
        return self.bounded(outer, known, depth - 1) if _guarded(outer) else outer


class _Rest(_Runs):
    def rewritten(self, loop: For, known: Known) -> Stmt:
        if not _innermost(loop):
            return loop
        inner = inside(known, loop)
        tests = [s.condition for s in preorder(loop.body) if isinstance(s, If) and s.added]
        made = self.in_runs(loop, [c for t in tests for c in conjuncts(simplify(t, inner))], known, 1)
        return made if made is loop else cut(simplify_in(made, known, self.heard) or block(), known, self.heard)


def _stays(stmt: Stmt) -> bool:
    """Whether a statement is a loop of which something is left to run: in those that are unrolled, tests are settled in
    each of the copies.
    """
    return isinstance(stmt, For) and not (stmt.kind == "unrolled" and constant(stmt.extent) is not None)


def _plain(stmt: Stmt) -> bool:
    """Whether a loop may be run in other pieces."""
    return isinstance(stmt, For) and _stays(stmt) and stmt.step == 1 and not stmt.bound


def _guarded(stmt: For) -> bool:
    """Whether a loop's body is a test that lowering put there, and that cutting the loop into bounds may take away."""
    return _plain(stmt) and isinstance(stmt.body, If) and stmt.body.added and stmt.body.otherwise is None


def _innermost(stmt: For) -> bool:
    return _plain(stmt) and not any(_stays(s) for s in preorder(stmt.body))


def _in_parts(stmt: Stmt) -> Stmt:
    """A statement whose conditions are the conjunctions that quotients are looked for in."""
    if isinstance(stmt, If):
        stmt = replace(stmt, condition=joined(conjuncts(stmt.condition)))
    return with_bodies(stmt, tuple(_in_parts(b) for b in stmt.body_parts))


def _extent(lo: Expr, end: Expr, known: Known) -> Expr:
    extent = simplify(end - lo, known)
    return extent if prove(extent >= 0, known) else simplify(apply("maximum", extent, 0), known)


def _ceil(x: Expr, d: int) -> Expr:
    return (x + (d - 1)) // d


def _quotient(conditions: list[Expr], axis: Axis) -> tuple[Expr, Expr, int, Expr] | None:
    """(x, d, a, b): a quotient or remainder of ``x = a * axis + b`` by d in one of `conditions`. Of several the one of
    the smallest divisor: over its runs the others mostly stand still as well.
    """
    found: list[tuple[Expr, Expr, int, Expr]] = []
    for node in walk(*conditions):
        if not (isinstance(node, Apply) and node.function in ("floor_divide", "remainder")):
            continue
        x, d = node.operands
        linear = affine_of(x)
        slope, rest = linear.terms.get(axis, 0), linear.without(axis).expr()
        if slope > 0 and not any(a is axis for a in (*free_axes(rest), *free_axes(d))):
            found.append((x, d, slope, rest))
    return min(found, key=lambda f: (constant(f[1]) is None, constant(f[1]) or 0), default=None)
