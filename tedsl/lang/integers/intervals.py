"""Intervals of sums, from the ranges of their atoms alone: quick, and exact when the atoms are independent axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from tedsl.lang.expr import Apply, Axis, Expr, Var

from .affine import Affine, atom_limits, factors
from .assumptions import Assumptions, Bounds
from .normal_form import affine, extremes


def _times(a: Bounds, b: Bounds) -> Bounds:
    """The interval of a product."""
    if None not in a and None not in b:
        corners = [p * q for p in a for q in b]  # type: ignore[operator]
        return min(corners), max(corners)
    if a[0] is not None and b[0] is not None and a[0] >= 0 and b[0] >= 0:
        return a[0] * b[0], (0 if a[1] == 0 or b[1] == 0 else None)
    return None, None


def interval(x: Affine, known: Assumptions) -> Bounds:
    """An interval that holds `x`, from the ranges of its atoms alone (None: no bound). Quick; exact when its atoms are
    independent axes.
    """
    low: int | None = x.constant
    high: int | None = x.constant
    for atom, c in x.terms.items():
        a, b = atom_interval(atom, known)
        if c < 0:
            a, b = b, a
        low = None if low is None or a is None else low + c * a
        high = None if high is None or b is None else high + c * b
    return low, high


def atom_interval(atom: Expr, known: Assumptions) -> Bounds:
    if type(atom) is Var:
        return known.least_size(atom), None
    if known is known.free:
        return _atom_interval(atom, known)
    found = known.intervals.get(atom)
    if found is None:
        known.intervals[atom] = (None, None)  # a range that refers to itself is no range
        found = known.intervals[atom] = _atom_interval(atom, known)
    return found


def _atom_interval(atom: Expr, known: Assumptions) -> Bounds:
    if isinstance(atom, Axis):
        span = known.span(atom)
        if span is None:
            return None, None
        return interval(span[0], known)[0], interval(span[1], known)[1]
    if isinstance(atom, Apply):
        name, operands = atom.args
        if name in ("minimum", "maximum"):
            spans = [interval(v, known) for v in extremes(atom, known)]
            lows, highs = [s[0] for s in spans], [s[1] for s in spans]
            if name == "minimum":
                return _all(lows, -1), _some(highs, -1)
            return _some(lows, 1), _all(highs, 1)
        if name == "where":
            spans = [interval(affine(v, known.free), known) for v in operands[1:]]
            return _all([s[0] for s in spans], -1), _all([s[1] for s in spans], 1)
        if name == "absolute":
            a, b = interval(affine(operands[0], known.free), known)
            least = max(0, 0 if a is None else a, 0 if b is None else -b)
            return least, None if a is None or b is None else max(-a, b)
        if name == "multiply" and len(parts := factors(atom)) > 1:  # a product of data is an atom as it stands
            result = atom_interval(parts[0], known)
            for part in parts[1:]:
                result = _times(result, atom_interval(part, known))
            return result
        if name in ("floor_divide", "remainder"):
            x, y = affine(operands[0], known.free), affine(operands[1], known.free)
            a, b = interval(x, known)
            p, q = interval(y, known)
            if p is None or p < 1:
                return None, None
            if name == "remainder":
                if a is not None and b is not None and p == q and a // p == b // p:
                    return a % p, b % p
                return 0, None if q is None else q - 1
            low = None if a is None else a // p if a < 0 else 0 if q is None else a // q
            high = None if b is None else b // p if b >= 0 else -1 if q is None else b // q
            return low, high
        if name in _BITS:
            spans = [interval(affine(v, known.free), known) for v in operands]
            return _BITS[name](*spans)
        if name == "sign":
            return -1, 1
    return atom_limits(atom)


def _bits(name: str, a: Bounds, b: Bounds) -> Bounds:
    """The interval of ``&``, ``|`` or ``^``: of numbers below 2**k in size, it is below 2**k in size."""
    if None in a or None in b:
        positive = [s for s in (a, b) if s[0] is not None and s[0] >= 0]
        if name == "&" and positive:  # no more than any that is not negative
            return 0, min((s[1] for s in positive if s[1] is not None), default=None)
        return (0 if len(positive) == 2 else None), None
    (p, q), (r, s) = cast("tuple[tuple[int, int], tuple[int, int]]", (a, b))
    if p >= 0 and r >= 0:
        if name == "&":
            return 0, min(q, s)
        return (max(p, r) if name == "|" else 0), min((1 << max(q, s).bit_length()) - 1, q + s)
    if name == "&" and (p >= 0 or r >= 0):
        return 0, q if p >= 0 else s
    k = 1 << max(abs(v + (v < 0)).bit_length() for v in (p, q, r, s))
    return -k, k - 1


def _shifted(left: bool, a: Bounds, b: Bounds) -> Bounds:
    (p, q), (r, s) = a, b
    if p is None or q is None or r is None or s is None or r < 0 or s > 62:
        return None, None
    ends = [v << n if left else v >> n for v in (p, q) for n in (r, s)]
    return min(ends), max(ends)


def _raised(a: Bounds, b: Bounds) -> Bounds:
    (p, q), (_, s) = a, b
    if p is None or q is None or s is None or max(abs(p), abs(q)).bit_length() * max(s, 0) > 64:
        return (0, None) if p is not None and p >= 0 else (None, None)
    most = max(abs(p), abs(q), 1) ** max(s, 0)
    return (0 if p >= 0 else -most), most


_BITS: dict[str, Callable[[Bounds, Bounds], Bounds]] = {
    "bitwise_and": partial(_bits, "&"), "bitwise_or": partial(_bits, "|"), "bitwise_xor": partial(_bits, "^"),
    "left_shift": partial(_shifted, True), "right_shift": partial(_shifted, False), "power": _raised,
}  # fmt: skip


def _all(values: list[int | None], sign: int) -> int | None:
    """The greatest (`sign` 1) or least (-1) of `values`; None where one of them is unbounded."""
    given = [v for v in values if v is not None]
    return None if len(given) < len(values) else sign * max(sign * v for v in given)


def _some(values: list[int | None], sign: int) -> int | None:
    """The greatest or least of those that are bounded."""
    given = [sign * v for v in values if v is not None]
    return sign * max(given) if given else None
