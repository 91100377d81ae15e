"""Proofs over the integers: refutation by elimination.

To prove a condition, its negation is added to all that is known of the atoms in it, and the system of linear
inequalities is shown to have no solution: equations are substituted, variables eliminated (Fourier-Motzkin), and every
inequality tightened to integers. Quotients are variables of their own with ``d*q <= x <= d*q + d - 1``; a minimum, a
maximum, a `where`, an ``|`` splits the proof into cases; products of atoms are bounded by the products of their bounds.
Whatever is dropped on the way (too many rows, too many cases) can only make a proof fail, never succeed wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from tedsl.lang.expr import READS, Access, Apply, Axis, Cast, Const, Expr, accesses, walk

from .affine import FALSE, Affine
from .assumptions import Assumptions, Bounds
from .conditions import comparison
from .elimination import Contradiction, Effort, effort_left, eliminate
from .inequalities import Formula, System, formula
from .intervals import interval
from .samples import disproved, exhausted, falsified, samples, vanishes

_MOST_CASES = 48
_MOST_ROWS = 2000  # that one proof makes; those that succeed make a few dozen, some hundreds at most
_MOST_POINTS = 2048


class Facts:
    """The conditions of assumptions as formulas, with the atoms that each one speaks of."""

    def __init__(self, known: Assumptions) -> None:
        self.known = known

    @cached_property
    def conditions(self) -> list[tuple[Formula, frozenset[Expr]]]:
        result = []
        for e in self.known.conditions:
            f = formula(e, True, self.known)
            result.append((f, frozenset(_leaves(f))))
        return result


def _leaves(f: Formula) -> Iterable[Expr]:

    if f.x is not None:
        yield from (n for n in walk(*f.x.terms) if not isinstance(n, Const))
    for part in f.parts:
        yield from _leaves(part)


def _assume(system: System) -> None:
    """Add the conditions that speak of the same things as the system, directly or through one another."""
    known = system.known
    if not known.conditions:
        return
    if known.facts is None:
        known.facts = Facts(known)
    pending = list(known.facts.conditions)
    changed = True
    while changed and pending:
        changed = False

        leaves = set(walk(*system.seen))
        for item in list(pending):
            if not item[1] or not item[1].isdisjoint(leaves):
                pending.remove(item)
                system.add(item[0])
                changed = True


class _Budget:
    """What is left of the work of one proof."""

    __slots__ = ("cases", "rows")

    def __init__(self) -> None:
        self.cases = _MOST_CASES
        self.rows = Effort(_MOST_ROWS)


def _refuted(system: System, budget: _Budget) -> bool:
    """Whether no integer point satisfies the system."""
    budget.cases -= 1
    try:
        eliminate(system.rows, system.equations, effort=budget.rows)
    except Contradiction:
        return True
    if not system.choices or budget.cases <= 0 or budget.rows.left <= 0:
        return False
    choice = system.choices[0]
    for part in choice:
        branch = system.copy()
        branch.choices.pop(0)
        try:
            branch.add(part)
        except Contradiction:
            continue
        if not _refuted(branch, budget):
            return False
    return True


def _impossible(f: Formula, known: Assumptions) -> bool:
    if effort_left() <= 0:
        return False
    system = System(known)
    try:
        system.add(f)
        for part in system.choices:
            for option in part:
                _mention(system, option)
        _assume(system)
        system.multiply()
    except Contradiction:
        return True
    return _refuted(system, _Budget())


def _mention(system: System, f: Formula) -> None:
    """Describe the atoms of a case that has not been chosen yet: conditions are looked up by atoms."""
    if f.x is not None:
        system.expanded(f.x)
    for part in f.parts:
        _mention(system, part)


def never_negative(x: Affine, known: Assumptions) -> bool:
    """Whether ``x >= 0`` wherever `known` holds."""
    key = x.key()
    found = known.proofs.get(key)
    if found is None:
        found = known.proofs[key] = not falsified(x, known) and _impossible(Formula("ge", -x - 1), known)
    return found


def decide(kind: str, x: Affine, known: Assumptions) -> bool | None:
    """The truth of ``x >= 0`` ("ge"), ``x == 0`` ("eq"), ``x != 0`` ("ne") under `known`; None when it is not
    decided.
    """
    if kind == "ne":
        truth = decide("eq", x, known)
        return None if truth is None else not truth
    if not x.terms:
        return x.constant >= 0 if kind == "ge" else x.constant == 0
    low, high = interval(x, known)
    if kind == "ge":
        if low is not None and low >= 0:
            return True
        if high is not None and high < 0:
            return False
        if data := _data(x, known):
            # elements take any value of their type, whatever the axes do
            rest = Affine({a: c for a, c in x.terms.items() if a not in data.terms}, x.constant)
            least, most = interval(data, known)
            if least is not None and decide("ge", rest + least, known):
                return True
            return False if most is not None and decide("ge", -rest - most - 1, known) else None
        if never_negative(x, known):
            return True
        return False if never_negative(-x - 1, known) else None
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    if _data(x, known):
        return None
    if never_negative(x, known) and never_negative(-x, known):
        return True
    if vanishes(x, known):
        return None
    return False if _impossible(Formula("eq", x), known) else None


def _data(x: Affine, known: Assumptions) -> Affine | None:
    """The elements of tensors in `x`, where nothing is known of them but their types; None when there are none, or more
    is known.
    """
    data = {a: c for a, c in x.terms.items() if a.has & READS}
    if not data or any(c.has & READS for c in known.conditions):
        return None
    plain = all(isinstance(a.operand if isinstance(a, Cast) else a, Access) for a in data)
    nested = plain and any(isinstance(n, Access) for a in data for n in accesses(a)[:-1])
    return Affine(data) if plain and not nested else None


def contradictory(known: Assumptions) -> bool:
    """Whether the conditions are seen to hold nowhere in the ranges."""
    if not known.conditions:
        return False
    found = known.proofs.get(FALSE)
    if found is None and next(samples(known), None) is not None:
        found = known.proofs[FALSE] = False
    if found is None:
        parts = [formula(e, True, known) for e in known.conditions]
        found = known.proofs[FALSE] = _impossible(Formula("all", parts=parts), known)
    return found


def holds(condition: Expr, known: Assumptions) -> bool:
    """Whether `condition` holds at every integer point of the ranges that satisfies the conditions. False: it could not
    be proved.
    """
    if known.assumes(condition):
        return True
    found = known.proofs.get(condition)
    if found is None:
        found = _plain(condition, known) or (
            not disproved(condition, known)
            and (_prove(condition, known) or contradictory(known) or exhausted(condition, known, _MOST_POINTS) is True)
        )
        known.proofs[condition] = found
    return found


def _plain(e: Expr, known: Assumptions) -> bool:
    """Whether the ranges alone say that `e` holds."""
    found = comparison(e, known.free)
    if found is None or found[0] != "ge":
        return False
    low, _ = interval(found[1], known)
    return low is not None and low >= 0


def _prove(e: Expr, known: Assumptions) -> bool:
    if isinstance(e, Const):
        return bool(e.value)
    if isinstance(e, Apply) and e.args[0] == "bitwise_and" and e.dtype == "bool":
        return all(holds(x, known) for x in e.args[1])
    found = comparison(e, known.free)
    if found is None or found[0] == "ne":
        return _impossible(formula(e, False, known), known)
    if decide(*found, known):
        return True
    if not any(isinstance(atom, (Apply, Cast)) for atom in found[1].terms):
        return False
    # quotients by sizes and the like: what simplification makes of them under the assumptions may be within reach
    simpler = comparison(e, known)
    return simpler is not None and not simpler[1].same(found[1]) and decide(*simpler, known) is True


def project(x: Affine, known: Assumptions) -> Bounds:
    """The least and the greatest value of `x`, as far as elimination finds them."""
    if effort_left() <= 0:
        return None, None
    target = Axis("\0value")
    system = System(known)
    try:
        system.zero(x.plus(Affine({target: 1}), -1))
        for part in system.choices:
            for option in part:
                _mention(system, option)
        _assume(system)
    except Contradiction:
        return 0, -1
    return _projected(system, target, _Budget())


def _projected(system: System, target: Expr, budget: _Budget) -> Bounds:
    budget.cases -= 1
    if system.choices and budget.cases > 0 and budget.rows.left > 0:
        low: int | None = None
        high: int | None = None
        first = True
        for part in system.choices[0]:
            branch = system.copy()
            branch.choices.pop(0)
            try:
                branch.add(part)
            except Contradiction:
                continue
            a, b = _projected(branch, target, budget)
            if a is not None and b is not None and a > b:
                continue
            low = a if first else None if low is None or a is None else min(low, a)
            high = b if first else None if high is None or b is None else max(high, b)
            first = False
        return (0, -1) if first else (low, high)
    try:
        rows = eliminate(system.rows, system.equations, target, budget.rows)
    except Contradiction:
        return 0, -1
    low = high = None
    for terms, constant in rows:
        c = terms[target]
        if c > 0:
            bound = -(constant // c)
            low = bound if low is None else max(low, bound)
        else:
            bound = constant // -c
            high = bound if high is None else min(high, bound)
    return low, high


def _independent(x: Affine, known: Assumptions) -> bool:
    """Whether the interval of `x` is exact: its atoms are axes of constant ranges, which no condition narrows."""
    if known.conditions:
        return False
    for atom in x.terms:
        if type(atom) is not Axis:
            return False
        span = known.span(atom)
        if span is not None and (span[0].terms or span[1].terms):
            return False
    return True


def tight(x: Affine, known: Assumptions) -> Bounds:
    """The interval of `x` with what the conditions and the dependence between its atoms say."""
    if not x.terms:
        return x.constant, x.constant
    quick = interval(x, known)
    if _independent(x, known):
        return quick
    key = x.key()
    found = known.bounds.get(key)
    if found is None:
        low, high = project(x, known)
        if quick[0] is not None:
            low = quick[0] if low is None else max(low, quick[0])
        if quick[1] is not None:
            high = quick[1] if high is None else min(high, quick[1])
        found = known.bounds[key] = (low, high)
    return found
