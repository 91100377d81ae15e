"""From where a definition reads to who reads an element: the map of an access, inverted over the integers.

`A[e(l, k)]` is read at the points (l, k) of a domain. For the gradient of A at `a` one has to sum over all points with
``e(l, k) == a``. That system of equations is solved here for as many of the axes as it determines: exactly, in Python's
integers, so nothing is missed or counted twice. What it leaves open becomes reduction axes; that a point lies in the
domain, and that `a` is hit at all, become conditions on them, which lowering turns into the bounds and steps of loops.

How the equations are solved: `equations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tedsl.lang.expr import Apply, Axis, Expr, apply, reads_tensors, substitute, walk
from tedsl.lang.integers import Known, prove, simplify, solve
from tedsl.lang.integers.affine import FALSE, TRUE, Affine, within
from tedsl.lang.integers.conditions import conjuncts

from .arithmetic import both
from .linear_systems import System, Unsolved, solve_system, within_range

_MOST_CASES = 64


@dataclass
class Preimage:
    """The points of a domain that an access maps to a target: axes of the domain in terms of target and `free` axes,
    where `guards` hold.
    """

    mapping: dict[Expr, Expr]
    free: tuple[Axis, ...]
    guards: tuple[Expr, ...]


def preimages(
    domain: Sequence[Axis], indices: Sequence[Expr], targets: Sequence[Expr], guards: Sequence[Expr] = ()
) -> list[Preimage] | None:
    """The points of `domain` at which ``indices == targets`` and `guards` hold, as disjoint families; None when only
    data could tell.

    domain: axes with ranges, none of which occurs in `targets`. Guards that compare integers for equality are equations
    too. Indices with minimum, maximum, absolute or where make one family for each case.
    """
    conditions = [simplify(part) for guard in guards for part in conjuncts(guard)]
    unknowns = set(domain)
    mapping: dict[Expr, Expr] = {}
    alone: list[Expr] = []
    for index, target in zip(indices, targets, strict=True):
        if index in unknowns and index not in mapping:  # nothing to solve
            mapping[index] = target
            alone += within_range(cast(Axis, index), Affine({}, 1), target)
    pairs = [(i, t) for i, t in zip(indices, targets, strict=True) if mapping.get(i) is not t]
    equations = [substitute(apply("subtract", index, target), mapping) for index, target in pairs]
    conditions = [substitute(c, mapping) for c in conditions] + alone
    left = [a for a in domain if a not in mapping]
    unknowns = set(left)
    rest = []
    for condition in conditions:
        same = _equality(condition)
        if same is not None and any(n in unknowns for n in walk(same)) and not reads_tensors(same):
            equations.append(same)
        else:
            rest.append(condition)
    found = []
    for case_equations, case_guards in _cases(equations):
        system = System(list(left), case_equations, [*case_guards, *rest], Known(), dict(mapping))
        try:
            solve_system(system)
        except Unsolved:
            return None
        found.append(_finished(system))
    return [p for p in found if not any(g is FALSE for g in p.guards)]


def _equality(condition: Expr) -> Expr | None:
    """The integer that is 0 where `condition`, an equality of index arithmetic, holds."""
    if isinstance(condition, Apply) and condition.function == "equal":
        a, b = condition.operands
        if a.dtype == b.dtype == "int":
            return cast(Expr, apply("subtract", a, b))
    return None


def _cases(equations: list[Expr]) -> list[tuple[list[Expr], list[Expr]]]:
    """The equations with every minimum, maximum, absolute and where decided, and the conditions under which it is
    so.
    """
    pending: list[tuple[list[Expr], list[Expr]]] = [(equations, [])]
    done: list[tuple[list[Expr], list[Expr]]] = []
    while pending:
        current, guards = pending.pop(0)
        node = next(
            (
                n
                for e in current
                for n in walk(e)
                if isinstance(n, Apply)
                and n.function in ("minimum", "maximum", "absolute", "where")
                and n.dtype == "int"
                and not reads_tensors(n)
                and any(isinstance(a, Axis) for a in walk(n))
            ),
            None,
        )
        if node is None or len(pending) + len(done) > _MOST_CASES:
            done.append((current, guards))
            continue
        ops = node.operands
        if node.function == "where":
            condition, first, second = ops
        elif node.function == "absolute":
            condition, first, second = ops[0] >= 0, ops[0], -ops[0]
        else:
            condition = ops[0] <= ops[1] if node.function == "minimum" else ops[0] >= ops[1]
            first, second = ops
        for holds, value in ((condition, first), (apply("invert", condition), second)):
            chosen = [substitute(e, {node: value}) for e in current]
            pending.append((chosen, [*guards, simplify(holds)]))
    return done


def _finished(system: System) -> Preimage:
    while True:
        guards: list[Expr] = []
        for guard in system.guards:
            simple = simplify(guard, system.known)
            if simple is FALSE:
                return Preimage(system.solved, tuple(system.unknowns), (FALSE,))
            guards += [p for p in conjuncts(simple) if p is not TRUE]
        system.guards = list(dict.fromkeys(guards))
        if not any(_single(system, axis) for axis in system.unknowns):
            return Preimage(system.solved, tuple(system.unknowns), tuple(implied(system.guards)))


def _single(system: System, axis: Axis) -> bool:
    """Replace an axis for which the conditions leave one value at most. Whether that is so."""
    mine = [g for g in system.guards if within(axis, g) and not reads_tensors(g)]
    if len(mine) < 2:
        return False
    anywhere = Axis(f"{axis.name}\0")
    found = solve(substitute(both(mine), {axis: anywhere}), anywhere)
    if found is None or (found.rest is not None and within(anywhere, found.rest)):
        return False
    if not prove(apply("less_equal", apply("subtract", found.hi, found.lo), found.step), system.known):
        return False
    value = simplify(found.lo, system.known)
    others = [g for g in system.guards if not any(g is m for m in mine)]
    system.guards = others + [apply("less", value, found.hi), *within_range(axis, Affine({}, 1), value)]
    if found.rest is not None:
        system.guards.append(found.rest)
    mapping: dict[Expr, Expr] = {axis: value}
    system.guards = [substitute(g, mapping) for g in system.guards]
    system.unknowns = [a for a in system.unknowns if a is not axis]
    system.solved = {
        k: simplify(substitute(v, mapping), system.known) if within(axis, v) else v for k, v in system.solved.items()
    }
    system.solved[axis] = value
    return True


def implied(guards: Sequence[Expr]) -> list[Expr]:
    """`guards` without those that the others imply."""
    kept = list(guards)
    if len(kept) > 12:
        return kept
    for guard in reversed(guards):
        others = [g for g in kept if g is not guard]
        if others and prove(guard, Known({}, others)):
            kept = others
    return kept
