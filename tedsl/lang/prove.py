"""Proofs over the integers: refutation by elimination.

To prove a condition, its negation is added to all that is known of the atoms in it, and the system of linear inequalities is shown to have no
solution: equations are substituted, variables eliminated (Fourier-Motzkin), and every inequality tightened to integers. Quotients are
variables of their own with ``d*q <= x <= d*q + d - 1``; a minimum, a maximum, a `where`, an ``|`` splits the proof into cases; products of
atoms are bounded by the products of their bounds. Whatever is dropped on the way (too many rows, too many cases) can only make a proof fail,
never succeed wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from math import gcd

from .affine import FALSE, Affine, factors, product
from .dtypes import limits
from .expr import Apply, Axis, Cast, Const, Expr, Var
from .known import NOTHING, Bounds, Known
from .samples import disproved, exhausted, falsified, samples, vanishes
from .simplify import affine, comparison, extremes

_MOST_ROWS = 150
_MOST_CASES = 48
_MOST_POINTS = 2048

Row = tuple[dict[Expr, int], int]  # sum + constant >= 0 (or == 0)


class Formula:
    """A condition in negation normal form: a literal ``x >= 0`` / ``x == 0``, or a list of which all / any hold. None is "nothing known"."""

    __slots__ = ("kind", "parts", "x")

    def __init__(self, kind: str, x: Affine | None = None, parts: list[Formula] | None = None) -> None:
        self.kind = kind
        self.x = x
        self.parts = parts or []


def _literal(kind: str, x: Affine) -> Formula:
    if kind == "ne":
        return Formula("any", parts=[Formula("ge", x - 1), Formula("ge", -x - 1)])
    return Formula(kind, x)


def formula(e: Expr, positive: bool) -> Formula:
    """The condition `e`, or its negation."""
    if isinstance(e, Const):
        return Formula("all" if bool(e.args[0]) == positive else "any")
    found = comparison(e, None)
    if found is not None:
        kind, x = found
        if not positive:
            kind, x = ("ge", -x - 1) if kind == "ge" else ("ne" if kind == "eq" else "eq", x)
        return _literal(kind, x)
    if isinstance(e, Apply) and e.dtype == "bool":
        name, operands = e.args
        if name == "invert":
            return formula(operands[0], not positive)
        if name in ("bitwise_and", "bitwise_or"):
            kind = "all" if (name == "bitwise_and") == positive else "any"
            return Formula(kind, parts=[formula(x, positive) for x in operands])
    # a condition that arithmetic cannot look into is a variable of value 0 or 1
    return Formula("eq", Affine({e: 1}, -1 if positive else 0))


class Contradiction(Exception):
    """The rows have no solution."""


class System:
    """Rows collected for one question: inequalities, equations, and disjunctions still to be split."""

    __slots__ = ("assumed", "choices", "equations", "known", "rows", "seen")

    def __init__(self, known: Known) -> None:
        self.known = known
        self.rows: list[Row] = []
        self.equations: list[Row] = []
        self.choices: list[list[Formula]] = []
        self.seen: set[Expr] = set()
        self.assumed: list[Affine] = []  # the inequalities that were assumed, apart from what is known of every atom

    def copy(self) -> System:
        other = System(self.known)
        other.rows, other.equations = list(self.rows), list(self.equations)
        other.choices, other.seen = list(self.choices), set(self.seen)
        return other

    def add(self, f: Formula) -> None:
        """Assume `f`."""
        if f.kind == "ge":
            assert f.x is not None
            self.at_least_zero(f.x)
            self.assumed.append(f.x)
        elif f.kind == "eq":
            self.zero(f.x)
        elif f.kind == "all":
            for part in f.parts:
                self.add(part)
        elif not f.parts:
            raise Contradiction
        elif len(f.parts) == 1:
            self.add(f.parts[0])
        else:
            self.choices.append(f.parts)

    def at_least_zero(self, x: Affine | None) -> None:
        assert x is not None
        x = self.expanded(x)
        self.rows.append((x.terms, x.constant))

    def zero(self, x: Affine | None) -> None:
        assert x is not None
        x = self.expanded(x)
        self.equations.append((x.terms, x.constant))

    def expanded(self, x: Affine) -> Affine:
        """`x` with remainders written by quotients; what is known of the atoms that are new is added."""
        for atom in list(x.terms):
            if isinstance(atom, Apply) and atom.args[0] == "remainder":
                y, d = atom.args[1]
                divisor = Affine.of(d)
                if self.divides(divisor):
                    c = x.terms[atom]
                    quotient = affine(Apply("floor_divide", (y, d)), None)
                    x = x.without(atom).plus(Affine.of(y), c).plus(quotient.times(divisor), -c)
                    return self.expanded(x)
        for atom in x.terms:
            if atom not in self.seen:
                self.seen.add(atom)
                self.describe(atom)
        return x

    def divides(self, divisor: Affine) -> bool:
        """Whether ``x - x // divisor * divisor == x % divisor`` with a result in [0, divisor): the divisor is positive."""
        if not divisor.terms:
            return divisor.constant > 0
        return _positive(divisor, self.known)

    def describe(self, atom: Expr) -> None:
        """Add what is known of `atom`."""
        one = Affine({atom: 1})
        if isinstance(atom, Axis):
            span = self.known.span(atom)
            if span is not None and span[0].same(span[1]):
                self.zero(one - span[0])
            elif span is not None:
                self.at_least_zero(one - span[0])
                self.at_least_zero(span[1] - one)
            return
        if isinstance(atom, Var):
            self.at_least_zero(one - atom.minimum)
            if atom.multiple_of > 1:
                part = Axis(f"{atom.name}/{atom.multiple_of}\0part")
                self.seen.add(part)
                self.zero(one.plus(Affine({part: 1}), -atom.multiple_of))
            return
        if isinstance(atom, Apply):
            name, operands = atom.args
            if name in ("minimum", "maximum"):
                sign = 1 if name == "minimum" else -1
                values = extremes(atom)
                for v in values:
                    self.at_least_zero((v - one).scaled(sign))
                self.choices.append([Formula("ge", (one - v).scaled(sign)) for v in values])
                return
            if name == "floor_divide":
                divisor, x = Affine.of(operands[1]), Affine.of(operands[0])
                if self.divides(divisor):
                    low = x - one.times(divisor)
                    self.at_least_zero(low)
                    self.at_least_zero(divisor - low - 1)
                return
            if name == "where":
                condition, a, b = operands
                self.choices.append([
                    Formula("all", parts=[formula(condition, True), Formula("eq", one - Affine.of(a))]),
                    Formula("all", parts=[formula(condition, False), Formula("eq", one - Affine.of(b))]),
                ])  # fmt: skip
                return
            if name == "absolute":
                x = Affine.of(operands[0])
                self.at_least_zero(one - x)
                self.at_least_zero(one + x)
                self.choices.append([Formula("ge", x - one), Formula("ge", -x - one)])
                return
            if name == "multiply":
                self.describe_product(atom)
                return
        low, high = atom_limits(atom)
        if low is not None:
            self.at_least_zero(one - low)
        if high is not None:
            self.at_least_zero(-one + high)

    def describe_product(self, atom: Expr) -> None:
        """Products of the bounds of the factors are not negative."""
        parts = factors(atom)
        if len(parts) > 3:
            return
        first, rest = parts[-1], product(parts[:-1])
        a_low, a_high = self.bounds_of(first)
        b_low, b_high = self.bounds_of(rest)
        for p in (a_low, a_high):
            for q in (b_low, b_high):
                if p is not None and q is not None:
                    self.at_least_zero(p.times(q))
        if first is rest:
            return

    def multiply(self) -> None:
        """Add assumed inequalities times sizes, where a product with that size occurs: ``q >= n`` gives ``m*q >= m*n``."""
        pairs = []
        for atom in self.seen:
            parts = factors(atom)
            if len(parts) == 2 and isinstance(parts[0], Var) and parts[0].minimum >= 0:
                pairs.append((parts[0], parts[1]))
        for x in self.assumed[:4]:
            for size, other in pairs:
                if other in x.terms:
                    self.at_least_zero(x.times(Affine({size: 1})))

    def bounds_of(self, atom: Expr) -> tuple[Affine | None, Affine | None]:
        """Two sums that are not negative: ``atom - low`` and ``high - atom``; None where there is no such bound."""
        from .bounds import interval

        one = Affine({atom: 1})
        if isinstance(atom, Axis):
            span = self.known.span(atom)
            return (None, None) if span is None else (one - span[0], span[1] - one)
        low, high = interval(one, self.known)
        return (None if low is None else one - low), (None if high is None else -one + high)


def atom_limits(atom: Expr) -> Bounds:
    """What the type of an atom says of its value."""
    source = atom
    while isinstance(source, Cast) and source.dtype == "int64" and source.operand.dtype != "uint64":
        source = source.operand
    if source.dtype in ("int", "int64", "uint64") or source.dtype not in _LIMITED:
        return None, None
    return limits(source.dtype)


_LIMITED = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32")


# Elimination ---------------------------------------------------------------------------------------------------------------------------------


def _tight(terms: dict[Expr, int], constant: int) -> Row | None:
    """The row over the integers: divided by the common factor of its coefficients. None when it says nothing."""
    if not terms:
        if constant < 0:
            raise Contradiction
        return None
    g = gcd(*terms.values())
    if g > 1:
        return {a: c // g for a, c in terms.items()}, constant // g
    return terms, constant


def _combine(a: dict[Expr, int], p: int, b: dict[Expr, int], q: int) -> dict[Expr, int]:
    """``p*a + q*b``."""
    terms = {atom: p * c for atom, c in a.items()} if p != 1 else dict(a)
    for atom, c in b.items():
        value = terms.get(atom, 0) + q * c
        if value:
            terms[atom] = value
        else:
            del terms[atom]
    return terms


def eliminate(rows: Iterable[Row], equations: Iterable[Row], keep: Expr | None = None) -> list[Row]:
    """What the rows say of `keep` alone. Raises Contradiction when they are seen to have no solution in integers."""
    rows, pending = list(rows), list(equations)
    fresh = 0
    while pending:
        if len(pending) > 1:
            pending.sort(key=lambda r: min((abs(c) for a, c in r[0].items() if a is not keep), default=0))
        terms, constant = pending.pop(0)
        if not terms:
            if constant:
                raise Contradiction
            continue
        g = gcd(*terms.values())
        if constant % g:
            raise Contradiction
        if g > 1:
            terms, constant = {a: c // g for a, c in terms.items()}, constant // g
        free = [(abs(c), a) for a, c in terms.items() if a is not keep]
        size, unit = min(free, key=lambda t: t[0], default=(0, None))
        if unit is None or (size > 1 and len(free) == 1):  # an equation of `keep`
            rows.append((terms, constant))
            rows.append(({a: -c for a, c in terms.items()}, -constant))
            continue
        if size > 1:
            # c*x + … == 0 with c the smallest coefficient: in t = x + (…)//c the other coefficients are remainders by c, and so smaller.
            fresh += 1
            c = terms[unit]
            definition = {a: p // c for a, p in terms.items() if p // c}
            definition[Axis(f"\0{fresh}")] = -1
            pending.append((terms, constant))
            terms, constant = definition, constant // c
        sign = terms[unit]

        def replaced(row: Row, terms: dict[Expr, int] = terms, constant: int = constant, unit: Expr = unit, sign: int = sign) -> Row:
            c = row[0].get(unit)
            if not c:
                return row
            return _combine(row[0], 1, terms, -c * sign), row[1] - c * sign * constant

        rows = [replaced(row) for row in rows]
        pending = [replaced(row) for row in pending]
    table: dict[frozenset[tuple[Expr, int]], Row] = {}
    for row in rows:
        _enter(table, row)
    while True:
        counts: dict[Expr, list[int]] = {}
        for terms, _ in table.values():
            for atom, c in terms.items():
                if atom is not keep:
                    count = counts.setdefault(atom, [0, 0, 0])
                    count[c < 0] += 1
                    if c != 1 and c != -1:
                        count[2] = 1  # eliminating it may let in points that are no integers
        if not counts:
            return list(table.values())
        best = min(counts, key=lambda a: 2 * (counts[a][0] * counts[a][1] - counts[a][0] - counts[a][1]) + counts[a][2])
        up = [row for row in table.values() if row[0].get(best, 0) > 0]
        down = [row for row in table.values() if row[0].get(best, 0) < 0]
        table = {key: row for key, row in table.items() if best not in row[0]}
        if len(up) * len(down) + len(table) > _MOST_ROWS:
            continue  # the variable's rows are forgotten: what is left still holds
        for a, c in up:
            p = a[best]
            for b, d in down:
                q = -b[best]
                g = gcd(p, q)
                _enter(table, (_combine(a, q // g, b, p // g), c * (q // g) + d * (p // g)))


def _enter(table: dict[frozenset[tuple[Expr, int]], Row], row: Row) -> None:
    tight = _tight(*row)
    if tight is None:
        return
    key = frozenset(tight[0].items())
    old = table.get(key)
    if old is None or tight[1] < old[1]:
        table[key] = tight


# Questions -----------------------------------------------------------------------------------------------------------------------------------


class Facts:
    """The conditions of a Known as formulas, with the atoms that each one speaks of."""

    def __init__(self, known: Known) -> None:
        self.known = known

    @cached_property
    def conditions(self) -> list[tuple[Formula, frozenset[Expr]]]:
        result = []
        for e in self.known.conditions:
            f = formula(e, True)
            result.append((f, frozenset(_leaves(f))))
        return result


def _leaves(f: Formula) -> Iterable[Expr]:
    from .expr import walk

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
        from .expr import walk

        leaves = set(walk(*system.seen))
        for item in list(pending):
            if not item[1] or not item[1].isdisjoint(leaves):
                pending.remove(item)
                system.add(item[0])
                changed = True


class _Budget:
    __slots__ = ("left",)

    def __init__(self, cases: int) -> None:
        self.left = cases


def _refuted(system: System, budget: _Budget) -> bool:
    """Whether no integer point satisfies the system."""
    budget.left -= 1
    try:
        eliminate(system.rows, system.equations)
    except Contradiction:
        return True
    if not system.choices or budget.left <= 0:
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


def _impossible(f: Formula, known: Known) -> bool:
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
    return _refuted(system, _Budget(_MOST_CASES))


def _mention(system: System, f: Formula) -> None:
    """Describe the atoms of a case that has not been chosen yet: conditions are looked up by atoms."""
    if f.x is not None:
        system.expanded(f.x)
    for part in f.parts:
        _mention(system, part)


def _positive(x: Affine, known: Known) -> bool:
    from .bounds import interval

    low, _ = interval(x, known)
    return low is not None and low >= 1


def always_at_least(x: Affine, known: Known) -> bool:
    """Whether ``x >= 0`` wherever `known` holds."""
    key = x.key()
    found = known.proofs.get(key)
    if found is None:
        found = known.proofs[key] = not falsified(x, known) and _impossible(Formula("ge", -x - 1), known)
    return found


def decide(kind: str, x: Affine, known: Known) -> bool | None:
    """The truth of ``x >= 0`` ("ge"), ``x == 0`` ("eq"), ``x != 0`` ("ne") under `known`; None when it is not decided."""
    if kind == "ne":
        truth = decide("eq", x, known)
        return None if truth is None else not truth
    if not x.terms:
        return x.constant >= 0 if kind == "ge" else x.constant == 0
    from .bounds import interval

    low, high = interval(x, known)
    if kind == "ge":
        if low is not None and low >= 0:
            return True
        if high is not None and high < 0:
            return False
        if always_at_least(x, known):
            return True
        return False if always_at_least(-x - 1, known) else None
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    if always_at_least(x, known) and always_at_least(-x, known):
        return True
    if vanishes(x, known):
        return None
    return False if _impossible(Formula("eq", x), known) else None


def contradictory(known: Known) -> bool:
    """Whether the conditions are seen to hold nowhere in the ranges."""
    if not known.conditions:
        return False
    found = known.proofs.get(FALSE)
    if found is None and next(samples(known), None) is not None:
        found = known.proofs[FALSE] = False
    if found is None:
        parts = [formula(e, True) for e in known.conditions]
        found = known.proofs[FALSE] = _impossible(Formula("all", parts=parts), known)
    return found


def prove(condition: Expr, known: Known = NOTHING) -> bool:
    """Whether `condition` holds at every integer point of the ranges that satisfies the conditions. False: it could not be proved."""
    if known.assumes(condition):
        return True
    found = known.proofs.get(condition)
    if found is None:
        found = not disproved(condition, known) and (
            _prove(condition, known) or contradictory(known) or exhausted(condition, known, _MOST_POINTS) is True
        )
        known.proofs[condition] = found
    return found


def _prove(e: Expr, known: Known) -> bool:
    if isinstance(e, Const):
        return bool(e.value)
    if isinstance(e, Apply) and e.args[0] == "bitwise_and" and e.dtype == "bool":
        return all(prove(x, known) for x in e.args[1])
    found = comparison(e, None)
    if found is None or found[0] == "ne":
        return _impossible(formula(e, False), known)
    if decide(*found, known):
        return True
    if not any(isinstance(atom, (Apply, Cast)) for atom in found[1].terms):
        return False
    # quotients by sizes and the like: what simplification makes of them under the assumptions may be within reach
    simpler = comparison(e, known)
    return simpler is not None and not simpler[1].same(found[1]) and decide(*simpler, known) is True


def project(x: Affine, known: Known) -> Bounds:
    """The least and the greatest value of `x`, as far as elimination finds them."""
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
    return _projected(system, target, _Budget(_MOST_CASES))


def _projected(system: System, target: Expr, budget: _Budget) -> Bounds:
    budget.left -= 1
    if system.choices and budget.left > 0:
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
        rows = eliminate(system.rows, system.equations, target)
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
