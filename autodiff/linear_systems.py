"""Systems of linear equations over the axes of a domain, solved step by step in integers.

Rules, in the order in which they are tried on an equation ``c1*x1 + c2*x2 + … == N`` (x: axes of the domain, N: known):

1. modular     x2 is a quotient that nothing else uses: ``c1*x1 == N (mod c2)`` has one solution in x1's range, by an
               inverse modulo c2
2. digits      the terms other than c1*x1 span less than c1: ``x1 = N // c1`` and the others make ``N % c1`` (so also: a
               single axis)
3. factor      the coefficients have a common divisor, which has to divide N
4. unit        c1 is 1 or -1: ``x1 = N - c2*x2 - …``
   divide      ``x1 = (N - c2*x2 - …) // c1`` where c1 divides it

Quotients and remainders of axes are axes of their own first: ``e // d`` is q and ``e % d`` is r with ``e == d*q + r``,
``0 <= r < d``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import gcd
from typing import Any, cast

from tedsl.lang.expr import Apply, Axis, Const, Expr, apply, reads_tensors, substitute, walk
from tedsl.lang.integers import Known, affine_of, lower, prove, simplify, upper
from tedsl.lang.integers.affine import Affine, factors, product, within
from tedsl.lang.tensor import plain

ZERO = Const(0)


class Unsolved(Exception):
    """The equations do not determine the points in a form that loops can run over."""


@dataclass
class System:
    """Equations ``e == 0`` (and conditions) over unknown axes. `solved`: unknown → expression; its right sides hold no
    solved unknowns.
    """

    unknowns: list[Axis]
    equations: list[Expr]
    guards: list[Expr]
    known: Known
    solved: dict[Expr, Expr] = field(default_factory=dict)
    quotients: set[Axis] = field(default_factory=set)


def solve_system(system: System) -> None:
    """Solve for unknowns until no equation is left. Raises Unsolved where no rule applies."""
    fuel = 64
    while system.equations:
        fuel -= 1
        if fuel < 0:
            raise Unsolved
        system.equations = [simplify(e, system.known) for e in system.equations]
        if any(e is ZERO for e in system.equations):
            system.equations = [e for e in system.equations if e is not ZERO]
            continue
        if _take_quotients(system):
            continue
        linear = [_Linear.of(e, system.unknowns) for e in system.equations]
        step = _best_step(system, linear)
        if step is None:
            raise Unsolved
        step()


def _take_quotients(system: System) -> bool:
    """Make axes of the quotients and remainders of unknowns in the equations. Whether there were any."""
    unknowns = set(system.unknowns)
    for e in system.equations:
        for atom in walk(e):
            if not (isinstance(atom, Apply) and atom.function in ("floor_divide", "remainder")):
                continue
            y, d = atom.operands
            if not any(n in unknowns for n in walk(y)) or any(n in unknowns for n in walk(d)) or reads_tensors(atom):
                continue
            if any(
                isinstance(m, Apply)
                and m.function in ("floor_divide", "remainder")
                and any(n in unknowns for n in walk(m))
                for m in walk(y)
            ):
                continue  # the inner one first
            if not prove(apply("greater", d, 0), system.known):
                raise Unsolved
            inside = [a for a in walk(y) if isinstance(a, Axis)]
            low, high = lower(y, inside), upper(y, inside)
            if low is None or high is None:
                raise Unsolved
            first, last = simplify(low // d), simplify(high // d)
            serial = len(system.unknowns) + len(system.solved)
            q = Axis(f"q\0{serial}", plain(first), plain(simplify(last - first + 1)))
            r = Axis(f"r\0{serial}", 0, plain(d))
            system.unknowns += [q, r]
            system.quotients.add(q)
            quotient, remainder = apply("floor_divide", y, d), apply("remainder", y, d)
            mapping = {quotient: q, remainder: r}
            system.equations = [substitute(f, mapping) for f in system.equations]
            system.guards = [substitute(f, mapping) for f in system.guards]
            system.equations.append(simplify(y - d * q - r))
            return True
    return False


@dataclass
class _Linear:
    """``sum of coefficients times unknowns + rest``, `rest` free of unknowns."""

    coefficients: dict[Axis, Affine]
    rest: Affine

    @classmethod
    def of(cls, e: Expr, unknowns: Iterable[Axis]) -> _Linear | None:
        """None when `e` is not linear in the unknowns."""
        wanted = set(unknowns)
        coefficients: dict[Axis, Affine] = {}
        rest = Affine({})
        sums = affine_of(e)
        rest = rest + sums.constant
        for atom, c in sums.terms.items():
            parts = factors(atom)
            mine = [p for p in parts if p in wanted]
            others = [p for p in parts if p not in wanted]
            if any(n in wanted for p in others for n in walk(p)):
                return None
            if not mine:
                rest = rest + Affine({atom: c})
            elif len(mine) > 1:
                return None
            else:
                slope = Affine({product(others): c}) if others else Affine({}, c)
                axis = cast(Axis, mine[0])
                coefficients[axis] = coefficients.get(axis, Affine({})) + slope
        return cls(coefficients, rest)

    def constant(self, axis: Axis) -> int | None:
        c = self.coefficients[axis]
        return None if c.terms else c.constant

    def negated(self) -> _Linear:
        return _Linear({a: -c for a, c in self.coefficients.items()}, -self.rest)

    def others(self, axis: Axis) -> Affine:
        """The terms of all unknowns but `axis`."""
        total = Affine({})
        for other, c in self.coefficients.items():
            if other is not axis:
                total = total + c.times(Affine({other: 1}))
        return total


def _best_step(system: System, linear: list[_Linear | None]) -> Any:
    usable = [(n, l) for n, l in enumerate(linear) if l is not None]
    for n, l in usable:
        if not l.coefficients:
            return lambda n=n, l=l: _fact(system, n, l)
    for n, l in usable:
        found = _modular(system, n, l)
        if found is not None:
            return found
    for n, l in usable:
        for axis in sorted(l.coefficients, key=lambda a: -_coefficient_size(l, a)):
            found = _digits(system, n, l, axis)
            if found is not None:
                return found
    for n, l in usable:
        found = _common_factor(system, n, l)
        if found is not None:
            return found
    choices = [
        (_preference(system, axis), n, l, axis)
        for n, l in usable
        for axis in l.coefficients
        if l.constant(axis) in (1, -1) or not _used_elsewhere(system, n, axis)
    ]
    if choices:
        _, n, l, axis = max(choices, key=lambda c: c[0])
        rule = _unit if l.constant(axis) in (1, -1) else _divide
        return lambda: rule(system, n, l, axis)
    # what is left speaks of data: with no unknowns in it, it is a condition
    for n, e in enumerate(system.equations):
        if not any(within(u, e) for u in system.unknowns):
            return lambda n=n, e=e: _data(system, n, e)
    return None


def _coefficient_size(l: _Linear, axis: Axis) -> float:
    c = l.constant(axis)
    return float("inf") if c is None else abs(c)


def _preference(system: System, axis: Axis) -> tuple[Any, ...]:
    """Which of several axes is best solved for: the longest, so that the shortest loops are left; of equals the
    first.
    """
    extent = axis.extent
    size = float("inf") if isinstance(extent, Expr) else extent
    place = next(n for n, a in enumerate(system.unknowns) if a is axis)
    return (axis not in system.quotients, size, -place)


def _used_elsewhere(system: System, n: int, axis: Axis) -> bool:
    return any(within(axis, e) for m, e in enumerate(system.equations) if m != n)


def _replace(
    system: System, n: int, axis: Axis, value: Expr, new: Iterable[Expr] = (), guards: Iterable[Expr] = ()
) -> None:
    """Equation n says ``axis == value``; `new` are equations that take its place."""
    value = simplify(value, system.known)
    mapping: dict[Expr, Expr] = {axis: value}
    system.unknowns = [a for a in system.unknowns if a is not axis]
    system.equations = [substitute(e, mapping) for m, e in enumerate(system.equations) if m != n]
    system.equations += list(new)
    system.guards = [substitute(g, mapping) for g in system.guards] + list(guards)
    system.solved = {
        k: simplify(substitute(v, mapping), system.known) if within(axis, v) else v for k, v in system.solved.items()
    }
    system.solved[axis] = value


def _fact(system: System, n: int, l: _Linear) -> None:
    """An equation without unknowns is a condition on the target."""
    _data(system, n, l.rest.expr())


def _data(system: System, n: int, e: Expr) -> None:
    system.equations.pop(n)
    if isinstance(e, Apply) and e.function == "subtract":
        system.guards.append(apply("equal", *e.operands))
    else:
        system.guards.append(apply("equal", e, 0))


def within_range(axis: Axis, scale: Affine, value: Expr) -> list[Expr]:
    """The conditions for ``lo <= value / scale < lo + extent``, `scale` being positive (rounding down is no matter:
    ends are multiples).
    """
    lo, end = _affine(axis.lo), _affine(axis.lo) + _affine(axis.extent)
    return [apply("greater_equal", value, scale.times(lo).expr()), apply("less", value, scale.times(end).expr())]


def _affine(v: Any) -> Affine:
    return Affine({}, v) if isinstance(v, int) else affine_of(v)


def _digits(system: System, n: int, l: _Linear, axis: Axis) -> Any:
    """Rule 2: ``c*axis + others == N`` with others in [m, m + c)."""
    c = l.coefficients[axis]
    if prove(apply("less", c.expr(), 0), system.known):
        l = l.negated()
        c = l.coefficients[axis]
    elif not prove(apply("greater", c.expr(), 0), system.known):
        return None
    others = l.others(axis)
    value = -l.rest  # c*axis + others == value
    if not others.terms:
        low = Affine({}, 0)
    else:
        over = [a for a in l.coefficients if a is not axis]
        least, most = lower(others.expr(), over, system.known), upper(others.expr(), over, system.known)
        if least is None or most is None:
            return None
        low = affine_of(least)
        if not prove(apply("less", apply("subtract", most, least), c.expr()), system.known):
            return None
    shifted = (value - low).expr()

    def step() -> None:
        quotient = apply("floor_divide", shifted, c.expr())
        left = (others - low).expr() - apply("remainder", shifted, c.expr())
        guards = within_range(axis, c, shifted)
        new = [left] if others.terms or c.terms or c.constant != 1 else []
        _replace(system, n, axis, quotient, new, guards)

    return step


def _modular(system: System, n: int, l: _Linear) -> Any:
    """Rule 1: ``c*x + d*q + N == 0`` for a quotient q that nothing else uses, and x with at most one value in its
    range.
    """
    for q in l.coefficients:
        d = l.constant(q)
        if q not in system.quotients or d is None or len(l.coefficients) != 2 or _used_elsewhere(system, n, q):
            continue
        if any(within(q, g) for g in system.guards):
            continue
        (x,) = (a for a in l.coefficients if a is not q)
        c = l.constant(x)
        if c is None or not isinstance(x.extent, int) or not isinstance(x.lo, int):
            continue
        g = gcd(c, d)
        period = abs(d) // g
        if x.extent > period:
            continue

        def step(q: Axis = q, x: Axis = x, c: int = c, g: int = g, period: int = period) -> None:
            value = -l.rest  # c*x == value (mod d)
            guards = [] if g == 1 else [apply("equal", apply("remainder", value.expr(), g), 0)]
            inverse = pow(c // g, -1, period) if period > 1 else 0
            part = apply("floor_divide", value.expr(), g)
            found = x.lo + apply("remainder", part * inverse - x.lo, period)
            if x.extent < period:
                guards.append(apply("less", found, x.lo + x.extent))
            system.unknowns = [a for a in system.unknowns if a is not q]
            _replace(system, n, x, found, (), guards)

        return step
    return None


def _common_factor(system: System, n: int, l: _Linear) -> Any:
    constants = [l.constant(a) for a in l.coefficients]
    if any(c is None for c in constants):
        return None
    g = gcd(*cast("list[int]", constants))
    if g < 2:
        return None

    def step() -> None:
        system.equations.pop(n)
        sign = 1 if next(iter(l.coefficients.values())).constant > 0 else -1
        total = Affine({})
        for axis, c in l.coefficients.items():
            total = total + Affine({axis: sign * c.constant // g})
        value = l.rest.scaled(-sign).expr()
        system.guards.append(apply("equal", apply("remainder", value, g), 0))
        system.equations.append(total.expr() - apply("floor_divide", value, g))

    return step


def _unit(system: System, n: int, l: _Linear, axis: Axis) -> None:
    """Rule 4, nothing to divide."""
    if l.constant(axis) == -1:
        l = l.negated()
    value = (-(l.rest + l.others(axis))).expr()
    _replace(system, n, axis, value, (), within_range(axis, Affine({}, 1), value))


def _divide(system: System, n: int, l: _Linear, axis: Axis) -> None:
    """Rule 4."""
    c = l.coefficients[axis]
    if prove(apply("less", c.expr(), 0), system.known):
        l = l.negated()
        c = l.coefficients[axis]
    elif not prove(apply("greater", c.expr(), 0), system.known):
        raise Unsolved
    value = (-(l.rest + l.others(axis))).expr()
    guards = [apply("equal", apply("remainder", value, c.expr()), 0), *within_range(axis, c, value)]
    _replace(system, n, axis, apply("floor_divide", value, c.expr()), (), guards)
