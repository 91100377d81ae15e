"""What is known of the atoms of a question, as linear inequalities, equations and choices between them.

Quotients are variables of their own with ``d*q <= x <= d*q + d - 1``; a minimum, a maximum, a `where`, an ``|`` is a
choice; products of atoms are bounded by the products of their bounds.
"""

from __future__ import annotations

from tedsl.lang.expr import Apply, Axis, Const, Expr, Var

from .affine import Affine, atom_limits, factors, product
from .assumptions import Assumptions
from .conditions import comparison
from .elimination import Contradiction, Row
from .intervals import interval
from .normal_form import affine, extremes


class Formula:
    """A condition in negation normal form: a literal ``x >= 0`` / ``x == 0``, or a list of which all / any hold. None
    is "nothing known".
    """

    __slots__ = ("kind", "parts", "x")

    def __init__(self, kind: str, x: Affine | None = None, parts: list[Formula] | None = None) -> None:
        self.kind = kind
        self.x = x
        self.parts = parts or []


def _literal(kind: str, x: Affine) -> Formula:
    if kind == "ne":
        return Formula("any", parts=[Formula("ge", x - 1), Formula("ge", -x - 1)])
    return Formula(kind, x)


def formula(e: Expr, positive: bool, known: Assumptions) -> Formula:
    """The condition `e`, or its negation."""
    if isinstance(e, Const):
        return Formula("all" if bool(e.args[0]) == positive else "any")
    found = comparison(e, known.free)
    if found is not None:
        kind, x = found
        if not positive:
            kind, x = ("ge", -x - 1) if kind == "ge" else ("ne" if kind == "eq" else "eq", x)
        return _literal(kind, x)
    if isinstance(e, Apply) and e.dtype == "bool":
        name, operands = e.args
        if name == "invert":
            return formula(operands[0], not positive, known)
        if name in ("bitwise_and", "bitwise_or"):
            kind = "all" if (name == "bitwise_and") == positive else "any"
            return Formula(kind, parts=[formula(x, positive, known) for x in operands])
    # a condition that arithmetic cannot look into is a variable of value 0 or 1
    return Formula("eq", Affine({e: 1}, -1 if positive else 0))


class System:
    """Rows collected for one question: inequalities, equations, and disjunctions still to be split."""

    __slots__ = ("assumed", "choices", "equations", "known", "rows", "seen")

    def __init__(self, known: Assumptions) -> None:
        self.known = known
        self.rows: list[Row] = []
        self.equations: list[Row] = []
        self.choices: list[list[Formula]] = []
        self.seen: dict[Expr, None] = {}  # in the order met: the same search in every run
        self.assumed: list[Affine] = []  # the inequalities that were assumed, apart from what is known of every atom

    def copy(self) -> System:
        other = System(self.known)
        other.rows, other.equations = list(self.rows), list(self.equations)
        other.choices, other.seen = list(self.choices), dict(self.seen)
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
                divisor = affine(d, self.known.free)
                if self.divides(divisor):
                    c = x.terms[atom]
                    quotient = affine(Apply("floor_divide", (y, d)), self.known.free)
                    x = x.without(atom).plus(affine(y, self.known.free), c).plus(quotient.times(divisor), -c)
                    return self.expanded(x)
        for atom in x.terms:
            if atom not in self.seen:
                self.seen[atom] = None
                self.describe(atom)
        return x

    def divides(self, divisor: Affine) -> bool:
        """Whether ``x - x // divisor * divisor == x % divisor`` with a result in [0, divisor): the divisor is
        positive.
        """
        if not divisor.terms:
            return divisor.constant > 0
        low, _ = interval(divisor, self.known)
        return low is not None and low >= 1

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
            self.at_least_zero(one - self.known.least_size(atom))
            if atom.multiple_of > 1:
                part = Axis(f"{atom.name}/{atom.multiple_of}\0part")
                self.seen[part] = None
                self.zero(one.plus(Affine({part: 1}), -atom.multiple_of))
            return
        if isinstance(atom, Apply):
            name, operands = atom.args
            if name in ("minimum", "maximum"):
                sign = 1 if name == "minimum" else -1
                values = extremes(atom, self.known)
                for v in values:
                    self.at_least_zero((v - one).scaled(sign))
                self.choices.append([Formula("ge", (one - v).scaled(sign)) for v in values])
                return
            if name == "floor_divide":
                divisor, x = (affine(v, self.known.free) for v in reversed(operands))
                if self.divides(divisor):
                    low = x - one.times(divisor)
                    self.at_least_zero(low)
                    self.at_least_zero(divisor - low - 1)
                return
            if name == "where":
                condition, a, b = operands
                free = self.known.free
                self.choices.append([
                    Formula("all", parts=[formula(condition, True, self.known), Formula("eq", one - affine(a, free))]),
                    Formula("all", parts=[formula(condition, False, self.known), Formula("eq", one - affine(b, free))]),
                ])  # fmt: skip
                return
            if name == "absolute":
                x = affine(operands[0], self.known.free)
                self.at_least_zero(one - x)
                self.at_least_zero(one + x)
                self.choices.append([Formula("ge", x - one), Formula("ge", -x - one)])
                return
            if name == "multiply":
                self.describe_product(atom)
                return
        least, most = atom_limits(atom)
        if least is not None:
            self.at_least_zero(one - least)
        if most is not None:
            self.at_least_zero(-one + most)

    def describe_product(self, atom: Expr) -> None:
        """Products of the bounds of the factors are not negative."""
        parts = factors(atom)
        if not 2 <= len(parts) <= 3:  # one: a product of data, of a type of its own
            return
        first, rest = parts[-1], product(parts[:-1])
        a_low, a_high = self.bounds_of(first)
        b_low, b_high = self.bounds_of(rest)
        for p in (a_low, a_high):
            for q in (b_low, b_high):
                if p is not None and q is not None:
                    self.at_least_zero(p.times(q))

    def multiply(self) -> None:
        """Add assumed inequalities times sizes, where a product with that size occurs: ``q >= n`` gives ``m*q >=
        m*n``.
        """
        pairs = []
        for atom in list(self.seen):
            parts = factors(atom)
            if len(parts) == 2 and isinstance(parts[0], Var) and parts[0].minimum >= 0:
                pairs.append((parts[0], parts[1]))
        for x in self.assumed[:4]:
            for size, other in pairs:
                if other in x.terms:
                    self.at_least_zero(x.times(Affine({size: 1})))

    def bounds_of(self, atom: Expr) -> tuple[Affine | None, Affine | None]:
        """Two sums that are not negative: ``atom - low`` and ``high - atom``; None where there is no such bound."""
        one = Affine({atom: 1})
        if isinstance(atom, Axis):
            span = self.known.span(atom)
            return (None, None) if span is None else (one - span[0], span[1] - one)
        low, high = interval(one, self.known)
        return (None if low is None else one - low), (None if high is None else -one + high)
