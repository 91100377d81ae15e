"""Access maps inverted over the integers, against all points of small domains."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tedsl.autodiff.inversion import Preimage, preimages
from tedsl.lang.expr import Apply, Axis, Cast, Const, Expr, Var, apply
from tedsl.lang.integers.conditions import conjuncts


def value(e: Expr, at: dict[Expr, int]) -> Any:
    """An index expression at one point, in Python's integers."""
    if e in at:
        return at[e]
    if isinstance(e, Const):
        return e.value
    if isinstance(e, Axis):
        return e.lo
    if isinstance(e, Cast):
        return value(e.operand, at)
    assert isinstance(e, Apply)
    a = [value(o, at) for o in e.operands]
    return {
        "add": lambda: a[0] + a[1], "subtract": lambda: a[0] - a[1], "multiply": lambda: a[0] * a[1], "negative": lambda: -a[0],
        "floor_divide": lambda: a[0] // a[1], "remainder": lambda: a[0] % a[1], "minimum": lambda: min(a), "maximum": lambda: max(a),
        "absolute": lambda: abs(a[0]), "where": lambda: a[1] if a[0] else a[2], "less": lambda: a[0] < a[1], "less_equal": lambda: a[0] <= a[1],
        "greater": lambda: a[0] > a[1], "greater_equal": lambda: a[0] >= a[1], "equal": lambda: a[0] == a[1], "not_equal": lambda: a[0] != a[1],
        "bitwise_and": lambda: a[0] and a[1], "bitwise_or": lambda: a[0] or a[1], "invert": lambda: not a[0],
    }[e.function]()  # fmt: skip


def points(axes: list[Axis]) -> list[dict[Expr, int]]:
    ranges = [range(a.lo, a.lo + a.extent) for a in axes]
    return [dict(zip(axes, p)) for p in itertools.product(*ranges)]  # type: ignore[misc]


def solutions(
    families: list[Preimage], domain: list[Axis], targets: list[Axis], point: dict[Expr, int]
) -> list[tuple[int, ...]]:
    """The points of the domain that the families give for one target, with repetitions."""
    found = []
    for family in families:
        for free in points(list(family.free)):
            at = {**point, **free}
            if all(value(g, at) for g in family.guards):
                found.append(tuple(at[a] if a in at else value(family.mapping[a], at) for a in domain))
    return sorted(found)


def check(
    domain: list[Axis], indices: list[Expr], shape: tuple[int, ...], guards: tuple[Expr, ...] = ()
) -> list[Preimage]:
    """Every point of the domain is found at the target that it maps to, once, and nowhere else."""
    targets = [Axis(n, 0, e) for n, e in zip("abcd", shape)]
    families = preimages(domain, indices, targets, guards)  # type: ignore[arg-type]
    assert families is not None
    want: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for p in points(domain):
        if all(value(g, p) for g in guards):
            want.setdefault(tuple(value(e, p) for e in indices), []).append(tuple(p[a] for a in domain))
    for t in itertools.product(*map(range, shape)):
        got = solutions(families, domain, targets, dict(zip(targets, t)))  # type: ignore[arg-type]
        assert got == sorted(want.get(t, [])), (indices, t)
    return families


def axis(name: str, extent: int, lo: int = 0) -> Any:
    return Axis(f"{name}\0", lo, extent)


@pytest.mark.parametrize(
    "stride, dilation, size, taps", list(itertools.product([1, 2, 3, 4], [1, 2, 3], [1, 2, 5], [1, 2, 3, 4]))
)
def test_windows(stride: int, dilation: int, size: int, taps: int) -> None:
    y, r = axis("y", size), axis("r", taps)
    check([y, r], [stride * y + dilation * r], (stride * (size - 1) + dilation * (taps - 1) + 2,))


@pytest.mark.parametrize("a, b, c", list(itertools.product([-3, -1, 0, 2, 4], [-2, -1, 1, 3], [0, 1])))
def test_two_axes_and_a_constant(a: int, b: int, c: int) -> None:
    i, j = axis("i", 4), axis("j", 3)
    low = min(a * p + b * q for p in range(4) for q in range(3))
    high = max(a * p + b * q for p in range(4) for q in range(3))
    check([i, j], [a * i + b * j + (c - low)], (high - low + c + 1,))


@pytest.mark.parametrize("multiplier, offset", list(itertools.product([1, 5, 7, 11], [0, 1, 5])))
def test_rotations_leave_no_axis(multiplier: int, offset: int) -> None:
    (family,) = check([axis("i", 12)], [(multiplier * axis("i", 12) + offset) % 12], (12,))
    assert not family.free


@pytest.mark.parametrize(
    "index",
    [
        lambda i: i // 2, lambda i: i // 5, lambda i: i % 4, lambda i: i % 5, lambda i: i // 4 + 3 * (i % 4), lambda i: (i + 1) // 3,
        lambda i: 11 - i, lambda i: (2 * i) % 7, lambda i: (i // 2) % 3, lambda i: (i % 6) // 2, lambda i: 2 * (i // 3) + i % 3,
        lambda i: apply("minimum", i, 7), lambda i: apply("maximum", i, 3), lambda i: apply("absolute", i - 5),
        lambda i: apply("minimum", apply("maximum", i - 2, 0), 6), lambda i: apply("where", i < 4, i, 11 - i), lambda i: 3 * i, lambda i: i * 0 + 2,
        lambda i: (4 * i) % 6, lambda i: (i * 6) % 9,
    ],
)  # fmt: skip
def test_one_axis(index: Any) -> None:
    check([axis("i", 12)], [index(axis("i", 12))], (36,))
    check([axis("i", 7, 3)], [index(axis("i", 7, 3))], (36,))


def test_reshapes_are_digits() -> None:
    i, j, k = axis("i", 2), axis("j", 3), axis("k", 4)
    (family,) = check([i, j, k], [12 * i + 4 * j + k], (24,))
    assert not family.free and not family.guards
    f = axis("f", 24)
    (family,) = check([f], [f // 12, f // 4 % 3, f % 4], (2, 3, 4))
    assert not family.free


def test_symbolic_reshape() -> None:
    n, m = Var("n", 1), Var("m", 1)
    i, j = Axis("i\0", 0, n), Axis("j\0", 0, m)
    (family,) = preimages([i, j], [i * m + j], [Axis("a", 0, n * m)]) or []  # type: ignore[list-item, operator]
    assert not family.free and not family.guards
    for size in (1, 2, 5):
        for a in range(3 * size):
            at: dict[Expr, int] = {n: 3, m: size, Axis("a", 0, n * m): a}
            assert (value(family.mapping[i], at), value(family.mapping[j], at)) == divmod(a, size)


@pytest.mark.parametrize(
    "dims",
    [
        lambda i, j: [i, i],
        lambda i, j: [j, i],
        lambda i, j: [i, Const(2)],
        lambda i, j: [i + j, i - j + 3],
        lambda i, j: [i + j, j],
    ],
)
def test_several_dimensions(dims: Any) -> None:
    i, j = axis("i", 4), axis("j", 4)
    check([i, j], dims(i, j), (8, 8))


def test_an_equality_in_a_guard_is_an_equation() -> None:
    i, j = axis("i", 5), axis("j", 5)
    (family,) = check([i, j], [i], (5,), (apply("equal", i, j),))
    assert not family.free
    check([i, j], [i + j], (9,), (i <= j, apply("equal", (i + j) % 2, 0)))


def test_what_depends_on_the_target_alone_is_no_loop() -> None:
    """A strided read: whether an element is hit is a condition on it, and nothing is summed over."""
    (family,) = check([axis("i", 4)], [3 * axis("i", 4) + 1], (12,))
    assert not family.free and len(conjuncts(family.guards[0])) == 1


def test_the_longest_axis_is_solved_for() -> None:
    y, r = axis("y", 100), axis("r", 3)
    (family,) = preimages([y, r], [2 * y + r], [Axis("a", 0, 201)]) or []  # type: ignore[list-item]
    assert [a.name for a in family.free] == ["r\0"]


def test_products_of_axes_are_not_solved() -> None:
    i, j = axis("i", 4), axis("j", 4)
    assert preimages([i, j], [i * j], [Axis("a", 0, 10)]) is None  # type: ignore[list-item]


def test_random_systems() -> None:
    rng = np.random.default_rng(0)
    solved = 0
    for _ in range(150):
        domain = [axis(n, int(rng.integers(1, 5)), int(rng.integers(0, 3))) for n in "ijk"[: rng.integers(1, 4)]]

        def term(domain: list[Any] = domain) -> Any:
            e: Any = int(rng.integers(0, 3))
            for a in domain:
                e = e + int(rng.integers(-1, 4)) * a
            kind = rng.integers(0, 6)
            return e // int(rng.integers(1, 5)) if kind == 0 else e % int(rng.integers(1, 6)) if kind == 1 else e

        indices = [term() for _ in range(rng.integers(1, 3))]
        lows = [min(value(e, p) for p in points(domain)) for e in indices]
        indices = [e - low for e, low in zip(indices, lows)]
        shape = tuple(max(value(e, p) for p in points(domain)) + 2 for e in indices)
        if np.prod(shape) > 600:
            continue
        targets = [Axis(n, 0, e) for n, e in zip("abcd", shape)]
        if preimages(domain, indices, targets) is not None:  # type: ignore[arg-type]
            check(domain, indices, shape)
            solved += 1
    assert solved > 90
