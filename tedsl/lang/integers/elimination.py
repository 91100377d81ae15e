"""Systems of linear inequalities over the integers: Gauss and Fourier-Motzkin, with every row tightened to integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import gcd

from tedsl.lang.expr import Axis, Expr

_MOST_ROWS = 150

Row = tuple[dict[Expr, int], int]  # sum + constant >= 0 (or == 0)


class Contradiction(Exception):
    """The rows have no solution."""


class Effort:
    """The work that may still be done, in rows that elimination makes: a count, so that it ends at the same place in
    every run.
    """

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


_of_all: ContextVar[Effort | None] = ContextVar("effort", default=None)


@contextmanager
def limited_effort(rows: int) -> Iterator[Effort]:
    """Bound the work of all proofs made inside. Those that come after it has been used up fail, as any proof may."""
    outer = _of_all.get()
    effort = Effort(rows)
    token = _of_all.set(effort)
    try:
        yield effort
    finally:
        _of_all.reset(token)
        if outer is not None:
            outer.left -= rows - effort.left


def effort_left() -> int:
    """What is left of the work of all proofs; as good as endless where nobody bounded it."""
    effort = _of_all.get()
    return 1 << 60 if effort is None else effort.left


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


def eliminate(
    rows: Iterable[Row], equations: Iterable[Row], keep: Expr | None = None, effort: Effort | None = None
) -> list[Row]:
    """What the rows say of `keep` alone. Raises Contradiction when they are seen to have no solution in integers.
    `effort`: of this proof.
    """
    whole = _of_all.get()
    table: dict[frozenset[tuple[Expr, int]], Row] = {}
    for row in _without_equations(list(rows), list(equations), keep):
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
        # exact eliminations first, then the cheapest
        best = min(counts, key=lambda a: (counts[a][2], counts[a][0] * counts[a][1] - counts[a][0] - counts[a][1]))
        up = [row for row in table.values() if row[0].get(best, 0) > 0]
        down = [row for row in table.values() if row[0].get(best, 0) < 0]
        table = {key: row for key, row in table.items() if best not in row[0]}
        made = len(up) * len(down)
        if made + len(table) > _MOST_ROWS or (effort is not None and made > effort.left):
            continue  # the variable's rows are forgotten: what is left still holds
        for account in (effort, whole):
            if account is not None:
                account.left -= made
        for a, c in up:
            p = a[best]
            for b, d in down:
                q = -b[best]
                g = gcd(p, q)
                _enter(table, (_combine(a, q // g, b, p // g), c * (q // g) + d * (p // g)))


def _without_equations(rows: list[Row], pending: list[Row], keep: Expr | None) -> list[Row]:
    """The rows with the equations substituted in them (Gauss); those of `keep` become two rows."""
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
            # c*x + … == 0 with c the smallest coefficient: in t = x + (…)//c the other coefficients are remainders by
            # c, and so smaller.
            fresh += 1
            c = terms[unit]
            definition = {a: p // c for a, p in terms.items() if p // c}
            definition[Axis(f"\0{fresh}")] = -1
            pending.append((terms, constant))
            terms, constant = definition, constant // c
        sign = terms[unit]

        def replaced(
            row: Row, terms: dict[Expr, int] = terms, constant: int = constant, unit: Expr = unit, sign: int = sign
        ) -> Row:
            c = row[0].get(unit)
            if not c:
                return row
            return _combine(row[0], 1, terms, -c * sign), row[1] - c * sign * constant

        rows = [replaced(row) for row in rows]
        pending = [replaced(row) for row in pending]
    return rows


def _enter(table: dict[frozenset[tuple[Expr, int]], Row], row: Row) -> None:
    tight = _tight(*row)
    if tight is None:
        return
    key = frozenset(tight[0].items())
    old = table.get(key)
    if old is None or tight[1] < old[1]:
        table[key] = tight
