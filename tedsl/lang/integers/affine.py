"""Sums of integer terms: the normal form in which index arithmetic is done.

An `Affine` is ``c1*a1 + c2*a2 + … + c`` with Python integers (nothing overflows) and atoms that are expressions: axes,
sizes, products of atoms (``n*i``), and whatever arithmetic cannot take apart (``e // 8``, ``min(a, b)``, an element of
a tensor).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import gcd
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var, free_axes


@lru_cache(maxsize=4096)
def integer(value: int) -> Expr:
    """The constant `value`, an index."""
    return Const(value)


TRUE, FALSE = Const(True), Const(False)


def order(e: Expr) -> str:
    """A text that sorts expressions in the same order in every run. Values that are no indices, however large, are only
    named by their type.
    """
    if dtypes.is_float(e.dtype):
        return e.dtype
    if isinstance(e, (Axis, Var)):
        return cast(str, e.args[0])
    if isinstance(e, Const):
        return str(e.args[0])
    if isinstance(e, Apply):
        return f"{e.args[0]}({','.join(map(order, e.args[1]))})"
    if isinstance(e, Access):
        return f"{e.args[0].name}[{','.join(map(order, e.args[1]))}]"
    if isinstance(e, Cast):
        return f"{e.args[0]}({order(e.args[1])})"
    return type(e).__name__ + ",".join(map(order, e.children))


def within(axis: Axis, e: Expr) -> bool:
    """Whether `axis` stands free in `e`: that very axis (`in` would compare by name)."""
    return any(a is axis for a in free_axes(e))


def removed(parts: Iterable[Expr], taken: Iterable[Expr]) -> list[Expr] | None:
    """`parts` without those of `taken`, each once; None when one is missing."""
    left = list(parts)
    for e in taken:
        at = next((i for i, p in enumerate(left) if p is e), None)
        if at is None:
            return None
        del left[at]
    return left


def factors(atom: Expr) -> tuple[Expr, ...]:
    """The atoms whose product `atom` is; itself when it is none."""
    if isinstance(atom, Apply) and atom.args[0] == "multiply" and atom.dtype == "int":
        a, b = atom.args[1]
        return (*factors(a), *factors(b))
    return (atom,)


def product(atoms: Iterable[Expr]) -> Expr:
    """The atom that stands for the product of one or more atoms, the same whatever their order."""
    ordered = sorted(atoms, key=lambda e: (not isinstance(e, Var), order(e)))
    result = ordered[0]
    for atom in ordered[1:]:
        result = Apply("multiply", (result, atom))
    return result


def atom_limits(atom: Expr) -> tuple[int | None, int | None]:
    """What the type of an atom says of its value."""
    source = atom
    while isinstance(source, Cast) and source.dtype == "int64" and source.operand.dtype != "uint64":
        source = source.operand
    if source.dtype in ("int", "int64", "uint64") or source.dtype not in _LIMITED:
        return None, None
    return dtypes.limits(source.dtype)


_LIMITED = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32")


class Affine:
    """``sum(coefficient * atom) + constant``; immutable by convention. `terms` has no zero coefficients."""

    __slots__ = ("_expr", "_linear", "constant", "terms")
    _expr: Expr  # found when first asked for, as is the next
    _linear: bool

    def __init__(self, terms: dict[Expr, int], constant: int = 0) -> None:
        self.terms = terms
        self.constant = constant

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        return self.plus(other, 1)

    def __sub__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant - other)
        return self.plus(other, -1)

    def plus(self, other: Affine, scale: int) -> Affine:
        """``self + scale * other``."""
        if not scale:
            return self
        terms = dict(self.terms)
        for atom, coefficient in other.terms.items():
            value = terms.get(atom, 0) + scale * coefficient
            if value:
                terms[atom] = value
            else:
                del terms[atom]
        return Affine(terms, self.constant + scale * other.constant)

    def __neg__(self) -> Affine:
        return self.scaled(-1)

    def scaled(self, scale: int) -> Affine:
        if scale == 1:
            return self
        if not scale:
            return ZERO
        return Affine({atom: scale * c for atom, c in self.terms.items()}, scale * self.constant)

    def times(self, other: Affine) -> Affine:
        """The product, with products of atoms as atoms."""
        if not other.terms:
            return self.scaled(other.constant)
        if not self.terms:
            return other.scaled(self.constant)
        result = self.scaled(other.constant).plus(Affine(other.terms), self.constant)
        terms = dict(result.terms)
        for a, p in self.terms.items():
            for b, q in other.terms.items():
                atom = product((*factors(a), *factors(b)))
                value = terms.get(atom, 0) + p * q
                if value:
                    terms[atom] = value
                else:
                    del terms[atom]
        return Affine(terms, result.constant)

    def without(self, atom: Expr) -> Affine:
        """The sum without the term of `atom`."""
        terms = dict(self.terms)
        terms.pop(atom, None)
        return Affine(terms, self.constant)

    def divided(self, d: int) -> Affine:
        """A d-th of it, where all coefficients and the constant are multiples of `d`."""
        return Affine({atom: c // d for atom, c in self.terms.items()}, self.constant // d)

    @property
    def linear(self) -> bool:
        """Whether all its atoms are axes and sizes."""
        try:
            return self._linear
        except AttributeError:
            self._linear = all([type(atom) is Axis or type(atom) is Var for atom in self.terms])
            return self._linear

    def content(self) -> int:
        """The greatest common divisor of the coefficients, the constant apart; 0 when there are none."""
        return gcd(*self.terms.values())

    def same(self, other: Affine) -> bool:
        return self.constant == other.constant and self.terms == other.terms

    def key(self) -> tuple[frozenset[tuple[Expr, int]], int]:
        """What tells sums apart, hashable."""
        return frozenset(self.terms.items()), self.constant

    def sorted_terms(self) -> list[tuple[Expr, int]]:
        """Terms in reading order: positive ones first, products before single atoms, large strides before small ones,
        then by name.
        """
        if len(self.terms) < 2:
            return list(self.terms.items())
        return sorted(self.terms.items(), key=lambda t: (t[1] < 0, -len(factors(t[0])), -abs(t[1]), order(t[0])))

    def expr(self) -> Expr:
        """The sum as an expression, the same for all ways to write it: ``8*io + ii + 3``, ``n - i - 1``."""
        try:
            return self._expr
        except AttributeError:
            self._expr = self._written()
            return self._expr

    def _written(self) -> Expr:
        terms, constant = self.sorted_terms(), self.constant
        if not terms:
            return integer(constant)
        if constant > 0 and terms[0][1] < 0:
            result, constant = integer(constant), 0
        else:
            atom, c = terms.pop(0)
            if c == 1:
                result = atom
            elif c == -1:
                result = Apply("negative", (atom,))
            else:
                result = Apply("multiply", (integer(c), atom))
        for atom, c in terms:
            term = atom if abs(c) == 1 else Apply("multiply", (integer(abs(c)), atom))
            result = Apply("add" if c > 0 else "subtract", (result, term))
        if constant:
            result = Apply("add" if constant > 0 else "subtract", (result, integer(abs(constant))))
        return result

    def __repr__(self) -> str:
        return f"Affine({ {order(a): c for a, c in self.terms.items()} }, {self.constant})"


ZERO = Affine({})
