"""Integer reasoning about index expressions, by examples; `test_integers_exhaustive` compares with brute force."""

from __future__ import annotations

import itertools

import pytest
from points import ap

from tedsl.lang.expr import Axis, Const, Expr, Var, substitute
from tedsl.lang.integers import (
    Known,
    affine_of,
    conjuncts,
    constant_bounds,
    lower,
    multiple_of,
    prove,
    simplify,
    simplify_indices,
    solve,
    upper,
)
from tedsl.lang.operators import cast, maximum, minimum, where
from tedsl.lang.tensor import Tensor

i, j, k, f, io, ii, yo, yi, r, y = (Axis(name) for name in "i j k f io ii yo yi r y".split())
n, m, v = Var("n"), Var("m", 1), Var("v", 16, 16)
BOX = Known({i: (0, 100), j: (0, 8), k: (0, 20), io: (0, 16), ii: (0, 8)})
TILED = Known({yo: (0, (n + 7) // 8), yi: (0, minimum(8, n - 8 * yo)), r: (0, 3)})
MATRIX = Known({i: (0, n), j: (0, m), f: (0, n * m)})


@pytest.mark.parametrize(
    "e, text",
    [
        (3 + ii + 8 * io, "8 * io + ii + 3"),
        (i + j - i, "j"),
        (2 * (i + 1) - i * 2, "2"),
        (3 - i, "3 - i"),
        (-i - 3, "-i - 3"),
        (-2 * i + j, "j - 2 * i"),
        (n - i - 1, "n - i - 1"),
        ((i + 1) * (j + 2), "i * j + 2 * i + j + 2"),
        ((8 * i + j) // 8, "i"),
        ((8 * i + j) % 8, "j"),
        ((4 * i + 2) // 4, "i"),
        ((4 * i + 2) % 8, "4 * (i % 2) + 2"),
        ((4 * i + k % 4) // 8, "i // 2"),
        ((i % 8) % 4, "i % 4"),
        ((i // 3) // 4, "i // 12"),
        (i - i // 8 * 8, "i % 8"),
        (i - i % 8, "8 * (i // 8)"),
        (i // 8 * 8 + i % 8, "i"),
        ((8 * i + k) // 3 * 3 + (8 * i + k) % 3, "8 * i + k"),  # the remainder is that of k - i
        (i // -3, "-i // 3"),
        (i // 0 + i % 0, "0"),
        (-i % 8, "-i % 8"),
        (9 * i % 8, "i % 8"),
        (j // 8 + j % 8, "j"),
        (minimum(i, 200), "i"),
        (minimum(8, minimum(n, 8)), "minimum(8, n)"),
        (minimum(8 * io + 8, n) - 8 * io, "minimum(8, n - 8 * io)"),
        (maximum(j, j + 1), "j + 1"),
        (abs(i + 1), "i + 1"),
        (abs(-i), "i"),
        (where(j < 8, i, k), "i"),
        (where(j < 5, j // 5, k), "where(j < 5, 0, k)"),
        (v // 16 * 16, "v"),
        (v % 8, "0"),
        ((v * i + 8 * j + 3) // 8, "v * i // 8 + j"),
    ],
)
def test_normal_forms(e: Expr, text: str) -> None:
    assert repr(simplify(e, BOX)) == text
    assert simplify(simplify(e, BOX), BOX) is simplify(e, BOX)


@pytest.mark.parametrize(
    "e, text",
    [
        (i + 1 < 5, "i < 4"),
        (2 * i < 5, "i < 3"),
        (i - n < 0, "i < n"),
        (~(i < 5), "i >= 5"),
        (~((i < 5) & (k > 3)), "(i >= 5) | (k < 4)"),
        (j < 8, "True"),
        (j > 8, "False"),
        ((i < 5) & (j < 8), "i < 5"),
        ((i < 5) & (i < 3), "i < 3"),
        ((i < 5) & (i >= 7), "False"),
        ((i < 5) | (i >= 5), "True"),
        ((i < 5) | (i >= 6), "(i >= 6) | (i < 5)"),
        (2 * i == 2 * k + 1, "False"),
        (ap("equal", 2 * i, 4), "i == 2"),
        ((i < 5) & (k < 3) & (i < 5), "(i < 5) & (k < 3)"),
    ],
)
def test_conditions(e: Expr, text: str) -> None:
    assert repr(simplify(e, BOX)) == text


def test_sums_of_products_divide_by_sizes() -> None:
    flat = i * m + j
    assert simplify(flat // m, MATRIX) is i
    assert simplify(flat % m, MATRIX) is j
    assert simplify(f // m * m + f % m, MATRIX) is f
    # a size that may be 0 divides nothing: x // 0 is 0
    zero = Known({i: (0, 4), j: (0, 4)})
    assert simplify(i * n // n, zero) is not i


def test_affine_of() -> None:
    x = affine_of(8 * io + ii + 3 + n * i)
    assert {repr(atom): c for atom, c in x.terms.items()} == {"io": 8, "ii": 1, "n * i": 1}
    assert x.constant == 3
    assert repr(x.expr()) == "n * i + 8 * io + ii + 3"
    assert affine_of(i * n).same(affine_of(n * i))


@pytest.mark.parametrize(
    "condition, known",
    [
        (8 * yo + yi < n, TILED),
        (i * m + j < n * m, MATRIX),
        (f // m < n, MATRIX),
        (f % m < m, MATRIX),
        (ap("not_equal", 3 * i, 3 * j + 1), MATRIX),
        ((i >= 0) & ((i < n) | (i < m)), MATRIX),
        (minimum(i, j) <= i, Known()),
        (abs(i) >= i, Known()),
        (minimum(i, j) + maximum(i, j) <= i + j, Known()),  # two choices
        (abs(minimum(i, j)) <= abs(i) + abs(j), Known()),
        (where(i < 3, 0, i) != 1, Known({i: (0, 9)})),
        (i // 2 < 5, Known({}, [i < 10])),
        (i >= 3, Known({i: (0, 9)}, [ap("equal", i % 4, 3)])),
        (i >= 3, Known({i: (0, 9)}, [ap("equal", (i + j) % 4, 3), ap("equal", j, 0)])),
        ((i + 7) % 5 + i < 14, Known({i: (0, 11)})),  # by trying all of them
        (i < 0, Known({i: (0, 9)}, [j < 0, j > 0])),  # never
        (i + j < 8, Known({i: (0, 8), j: (0, 8 - i)})),
        (16 * i < v, Known({i: (0, v // 16)})),
    ],
)
def test_proved(condition: Expr, known: Known) -> None:
    assert prove(condition, known)


@pytest.mark.parametrize(
    "condition, known",
    [
        (8 * yo + yi + 1 < n, TILED),
        (8 * yo + 7 < n, TILED),
        (i < 8, Known()),
        (i * m + j < n * m - 1, MATRIX),
        (i * n // n >= i, Known({i: (0, 4)})),
        (ap("not_equal", 3 * i, 2 * j + 1), MATRIX),
        (i % 3 < 2, BOX),
        (where(i < 3, 0, i) != 4, Known({i: (0, 9)})),
    ],
)
def test_not_proved(condition: Expr, known: Known) -> None:
    assert not prove(condition, known)


def test_bounds_leave_the_other_axes() -> None:
    e = 8 * yo + yi + r
    assert repr(lower(e, [yi, r], TILED)) == "8 * yo"
    assert repr(upper(e, [yi, r], TILED)) == "8 * yo + minimum(8, n - 8 * yo) + 1"
    assert repr(upper(e, [r, yo, yi], TILED)) == "n + 1"
    assert repr(upper(i * m + j, [i, j], MATRIX)) == "m * n - 1"
    assert repr(upper((i + j) // 3, [j], BOX)) == "(i + 1) // 3 + 2"
    assert repr(upper(j % 4 + k, [j], BOX)) == "k + 3"
    assert repr(lower(7 - j, [j], BOX)) == "0"
    assert upper(i, [i], Known()) is None
    assert upper(i, [j], Known()) is i


def test_constant_bounds() -> None:
    assert constant_bounds(minimum(8, n - 8 * yo) + 2, TILED) == (3, 10)
    assert constant_bounds(8 * yo + yi - 8 * yo, TILED) == (0, 7)
    assert constant_bounds(n + 1) == (1, None)
    assert constant_bounds(i - j, Known({i: (0, 9), j: (i, 3)})) == (-2, 0)
    assert constant_bounds(i, Known({i: (0, 9)}, [2 * i > 5])) == (3, 8)
    assert constant_bounds(where(i < 3, i, 7 - i), Known({i: (0, 8)})) == (0, 4)
    assert constant_bounds(i) == (None, None)


def test_multiples() -> None:
    assert multiple_of(64 * i + 8 * j) == 8
    assert multiple_of(3 * v + 32 * i) == 16
    assert multiple_of(v * i + 12) == 4
    assert multiple_of(minimum(8 * i, 12)) == 4
    assert multiple_of(32 * i // 4) == 8
    assert multiple_of(i - i) == 0


def test_an_axis_of_one_value_is_that_value() -> None:
    assert repr(simplify(i + j, Known({i: (3, 1), j: (0, 5)}))) == "j + 3"
    assert repr(simplify(Axis("p", 0, 1) + j)) == "j"
    # a range given for an axis is the one that counts
    wide = Axis("p", 0, 4)
    assert prove(wide < 4)
    assert not prove(wide < 4, Known({wide: (0, 9)}))


@pytest.mark.parametrize(
    "condition, axis, known, lo, hi, step, rest",
    [
        (2 * i + j < 9, i, BOX, "0", "-j // 2 + 5", 1, "None"),
        ((i >= 3) & (i < n), i, BOX, "3", "minimum(100, n)", 1, "None"),
        (ap("equal", i % 4, 1), i, BOX, "1", "100", 4, "None"),
        (ap("equal", (y - r) % 2, 0), r, Known({y: (0, 16), r: (0, 3)}), "y % 2", "3", 2, "None"),
        (ap("equal", 2 * i % 4, 2), i, BOX, "1", "100", 2, "None"),
        (ap("equal", i, j), i, BOX, "j", "j + 1", 1, "None"),
        (ap("equal", 2 * i, j), i, BOX, "j // 2", "j // 2 + 1", 1, "j % 2 == 0"),
        (ap("equal", i // 8, j), i, BOX, "8 * j", "8 * j + 8", 1, "None"),
        ((i // 8 < 3) & (k < 2), i, BOX, "0", "24", 1, "k < 2"),
        (minimum(i, 2 * i - 4) >= 6, i, BOX, "6", "100", 1, "None"),
        ((i < 7) & ((i < 3) | (j < 2)), i, BOX, "0", "7", 1, "(i < 3) | (j < 2)"),
    ],
)
def test_solve(condition: Expr, axis: Axis, known: Known, lo: str, hi: str, step: int, rest: str) -> None:
    found = solve(condition, axis, known)
    assert found is not None
    assert (repr(found.lo), repr(found.hi), found.step, repr(found.rest)) == (lo, hi, step, rest)


def test_solve_says_none() -> None:
    assert solve((i < 3) | (j < 2), i, BOX) is None
    assert solve(j < 3, i, BOX) is None
    assert solve(i > 3, i, Known()) is None, "no end"
    assert solve(i * i < 9, i, BOX) is None


def test_data_keeps_its_type_and_is_not_looked_into() -> None:
    small, large = Tensor("S", (10,), "int8"), Tensor("L", (10,), "int64")
    s, x = small[i], large[i]
    assert constant_bounds(s) == (-128, 127)
    assert constant_bounds(x) == (None, None)
    assert simplify(s + s).dtype == "int8", "int8 sums may wrap around: they are left alone"
    assert not prove(s + 1 > s)
    assert prove(cast(s, "int64") + 1 > cast(s, "int64"))
    assert not prove(x + 1 > x), "so may int64 ones"
    assert simplify(cast(i, "int64") + 0 * cast(j, "int64")).dtype == "int64"
    unsigned = Tensor("U", (10,), "uint64")[i]
    assert not prove(unsigned - 1 < unsigned)
    held = Known({}, [(x >= 0) & (x < 10)])
    assert prove(2 * cast(i, "int64") <= 2 * cast(i, "int64"))
    assert prove(x < 10, held) and not prove(x < 9, held)
    flag = Tensor("B", (10,), "bool")[i]
    assert prove(flag, Known({}, [flag])) and prove(~flag, Known({}, [~flag])) and not prove(flag)
    assert simplify(flag & (j < 8), BOX) is flag


def test_typed_index_arithmetic_is_seen_through() -> None:
    wide = ap("greater_equal", cast(i, "int64"), Const(1, "int64"))
    assert repr(simplify(wide, BOX)) == "i >= 1"
    assert prove(i >= 1, Known({i: (0, 9)}, [wide]))
    # 8 bits are not enough for 0 … 999
    narrow = cast(i, "int8")
    assert prove(narrow < 100, Known({i: (0, 99)}))
    assert not prove(narrow >= 0, Known({i: (0, 999)}))


def test_indices_inside_values() -> None:
    a = Tensor("A", (10, 10), None)
    e = where(j < 8, a[(8 * i + j) // 8, j + 0] * 2.0, 0.0)
    assert repr(simplify_indices(e, BOX)) == "A[i, j] * 2.0"
    assert simplify(a[i, j], BOX) is a[i, j]


def test_known_grows() -> None:
    base = Known({i: (0, 10)})
    more = base.with_(conditions=[i < 5])
    assert prove(i < 5, more) and not prove(i < 5, base)
    assert prove(i < 3, more.with_(ranges={i: (0, 3)}))


def test_large_values_in_conditions() -> None:
    value = Tensor("A", (10,), None)[i]
    for _ in range(200):
        value = value * value  # as a tree it has 2**200 leaves
    condition = (value > 0.5) & (j < 4) & (value < 2.0)
    assert len(conjuncts(simplify(condition & (j < 8), BOX))) == 3
    assert prove(j < 5, BOX.with_(conditions=[condition]))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", ["scaled", "divided"])
def test_solve_for_an_axis_in_blocks_of_a_size(shape: str, sign: int) -> None:
    """Blocks of a size that is positive where anything runs: the solution against all points."""
    block = n + 1
    x = block * i if shape == "scaled" else (i + j) // block
    condition = sign * x <= 7 - j
    found = solve(condition, i, Known({i: (0, 9), j: (0, 4)}))
    assert found is not None and found.rest is None and found.step == 1
    for at_j, size in itertools.product(range(4), range(6)):
        at = {j: Const(at_j), n: Const(size)}
        lo, hi = (int(simplify(substitute(e, at)).value) for e in (found.lo, found.hi))
        want = [v for v in range(9) if simplify(substitute(condition, {**at, i: Const(v)})).value]
        assert list(range(lo, hi)) == want, (at_j, size)


def test_a_size_is_positive_where_a_loop_over_it_runs() -> None:
    assert not prove(n >= 1, Known({i: (0, 4)}))
    for extent in (n, 3 * n, (n + 7) // 8, n * m):
        assert prove(n >= 1, Known({i: (0, extent)})), extent
    assert not prove(n >= 1, Known({i: (0, n + 1)}))
    assert repr(simplify((n * j + i) // n, Known({i: (0, n), j: (0, 4)}))) == "j"
    assert repr(simplify((6 * n - 1) // n, Known({i: (0, n)}))) == "5"
