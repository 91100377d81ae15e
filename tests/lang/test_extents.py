"""Extents inferred from what is read, and reads checked against shapes."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from points import ap, values

import tedsl as te
from tedsl.lang.errors import DefinitionError
from tedsl.lang.expr import Access, Axis, Expr, Var, as_expr, free_axes
from tedsl.lang.extents import Read, check_bounds, data_dependent, display, infer_extents
from tedsl.lang.integers import Known, affine_of
from tedsl.lang.operators import minimum
from tedsl.lang.tensor import Tensor

# Placeholders as a definition makes them: the user's name, and something that makes it unique.
i, j, k, y, r = (Axis(f"{name}\0{serial}") for serial, name in enumerate("i j k y r".split()))
n, m = Var("n"), Var("m", 1)


def read(tensor: Tensor, *indices: object, where: tuple[Expr, ...] = ()) -> Read:
    return Read(Access(tensor, tuple(as_expr(e) for e in indices)), where)


def tensor(name: str, *shape: int | Expr, dtype: str | None = None) -> Tensor:
    return Tensor(name, shape, dtype)


A, X, W, S, V = tensor("A", 4, 6), tensor("X", 11), tensor("W", 3), tensor("S", n), tensor("V", m)


def infer(reads: list[Read], unknown: list[Axis], given: dict[Axis, object] | None = None) -> dict[str, str]:
    return {display(a): repr(e) for a, e in infer_extents(reads, unknown, given or {}, None).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reads, unknown, want",
    [
        ([read(A, i, k)], [i, k], {"i": "4", "k": "6"}),
        ([read(X, y + r), read(W, r)], [y, r], {"y": "9", "r": "3"}),
        ([read(X, 2 * y + 3 * r), read(W, r)], [y, r], {"y": "3", "r": "3"}),
        ([read(X, y), read(X, y + 1)], [y], {"y": "10"}),
        ([read(X, y - 1, where=(y >= 1,)), read(X, y + 1, where=(y < 5,))], [y], {"y": "12"}),
        ([read(X, 10 - y)], [y], {"y": "11"}),
        ([read(X, y // 2)], [y], {"y": "22"}),
        ([read(X, (y + r) // 2), read(W, r)], [y, r], {"y": "20", "r": "3"}),
        ([read(X, 5 * y % 12)], [y], {"y": "7"}),
        ([read(X, y), read(X, 5 * y % 11)], [y], {"y": "11"}),
        ([read(S, i), read(S, i)], [i], {"i": "n"}),
        ([read(S, 2 * y + r), read(W, r)], [y, r], {"y": "maximum(0, (n + 1) // 2 - 1)", "r": "3"}),
        ([read(V, 2 * y + r), read(W, r)], [y, r], {"y": "(m + 1) // 2 - 1", "r": "3"}),
        ([read(V, y + r), read(S, r)], [y, r], {"y": "maximum(0, m - n + 1)", "r": "n"}),
        ([read(V, y), read(V, y + 1)], [y], {"y": "m - 1"}),
        ([read(tensor("E", 0), y + r), read(W, r)], [y, r], {"y": "0", "r": "3"}),
        ([read(X, i, where=(i < 3,)), read(W, i)], [i], {"i": "3"}),
        # a condition that keeps one access in bounds leaves the extent to the other
        ([read(W, i, where=(i < 3,)), read(X, i)], [i], {"i": "11"}),
        ([read(W, i, where=(i < 3,))], [i], {"i": "3"}),
        # one after the other: j from W, then i, then y
        ([read(W, j), read(X, i + 2 * j), read(tensor("Z", 20), y + i)], [y, i, j], {"y": "14", "i": "7", "j": "3"}),
    ],
)
def test_inferred(reads: list[Read], unknown: list[Axis], want: dict[str, str]) -> None:
    assert infer(reads, unknown) == want


def test_extents_that_are_given() -> None:
    assert infer([read(X, y + r)], [y], {r: 4}) == {"y": "8"}
    assert infer([read(X, y + r)], [y], {r: (2, 3)}) == {"y": "7"}
    assert infer([read(S, y + r)], [y], {r: m}) == {"y": "maximum(0, n - m + 1)"}
    assert infer([read(X, y + r)], [y], {r: (0, minimum(m, 4))}) == {"y": "12 - minimum(4, m)"}


@pytest.mark.parametrize(
    "reads, unknown, words",
    [
        ([read(A, i, i + 10)], [i], ["no extent of i", "A[i, i + 10]", "dimension 1", "extent 6", "4 x 6", "te.where"]),
        ([read(A, i, k), read(A, k, j)], [i, k, j], ["extents of k", "A[i, k]", "A[k, j]", "6", "4 x 6"]),
        ([read(S, i), read(X, i)], [i], ["extents of i", "n in `S[i]`", "11 in `X[i]`"]),
        ([read(S, i), read(V, i)], [i], ["extents of i", "n in `S[i]`", "m in `V[i]`"]),
        ([read(X, y + r)], [y, r], ["y and r are open", "X[y + r]", "only together", "te.reduce_axis(extent, 'y')"]),
        ([read(X, 5 * i % 11)], [i], ["extent of i is open", "X[5 * i % 11]", "whatever it is", "i=extent"]),
        ([read(X, i - 1, where=(i >= 1, i < 5))], [i], ["extent of i is open", "X[i - 1]"]),
        ([read(W, y + r), read(tensor("R", 4), r)], [y, r], ["no extent of y", "W[y + r]", "r has extent 4", "W is 3"]),
        ([read(A, j, 0)], [i, j], ["extent of i is open", "no access has i"]),
        ([read(X, Access(tensor("I", 5, dtype="int32"), (j,)) + i), read(X, j)], [i, j], ["i is open", "depends on data", "X[I[j] + i]"]),
    ],
)  # fmt: skip
def test_refused(reads: list[Read], unknown: list[Axis], words: list[str]) -> None:
    with pytest.raises(DefinitionError) as e:
        infer(reads, unknown)
    for word in words:
        assert word in str(e.value)
    assert "\0" not in str(e.value)


def test_reads_are_checked() -> None:
    check_bounds([read(X, i + 1), read(A, j, 5)], Known({i: (0, 10), j: (0, 4)}), None, "Y")
    check_bounds([read(S, i - 1, where=(i >= 1, i < n))], Known({i: (0, m)}), None, "Y")
    check_bounds([read(X, i + 20)], Known({i: (0, 0)}), None, "Y")  # nothing is read
    check_bounds([read(X, i * n)], Known({i: (0, 5)}, [n <= 2]), None, "Y")
    check_bounds([read(X, Access(tensor("I", 4, dtype="int32"), (i,)))], Known({i: (0, 4)}), None, "Y")  # at run time
    with pytest.raises(DefinitionError) as e:
        check_bounds([read(tensor("B", 4), i + 1)], Known({i: (0, 4)}), None, "C")
    for part in ("C reads `B[i + 1]` out of bounds", "dimension 0 of B has extent 4", "values 1 … 4", "i = 0 … 3"):
        assert part in str(e.value)
    with pytest.raises(DefinitionError, match=r"where `i >= 1`.*te\.where") as e:
        check_bounds([read(S, i + 1, where=(i >= 1,))], Known({i: (0, n)}), None, "")
    assert "2 … n" in str(e.value)
    with pytest.raises(DefinitionError, match=r"is -1"):
        check_bounds([read(X, -1)], Known(), None, "C")
    with pytest.raises(DefinitionError, match="I"):
        check_bounds(
            [read(X, Access(tensor("I", 3, dtype="int32"), (i,))), read(tensor("I", 3), i)],
            Known({i: (0, 4)}),
            None,
            "C",
        )


def test_data_dependent_dimensions() -> None:
    index = Access(tensor("I", 4, dtype="int32"), (i,))
    assert data_dependent(read(A, index, j)) == [0]
    assert data_dependent(read(A, i, j)) == []


MANY = 400


def random_index(draw: random.Random) -> Expr:
    line = ap(
        "add", ap("multiply", draw.choice([1, 1, 2, 3, -1, -2]), y), ap("multiply", draw.choice([0, 1, 1, 2, -1]), r)
    )
    line = ap("add", line, draw.randint(-1, 8))
    kind = draw.random()
    if kind < 0.5:
        return line
    if kind < 0.75:
        return ap("floor_divide", line, draw.choice([2, 3, 4, -2]))
    if kind < 0.9:
        return ap("add", ap("remainder", line, draw.choice([2, 3, 5])), draw.choice([0, 0, y, 1]))
    return ap(draw.choice(["minimum", "maximum"]), line, draw.choice([0, 3, 5, y]))


def largest(reads: list[Read], reach: int, size: int) -> int:
    """The first value of y at which some read is out of bounds, by trying them; MANY when there is none."""
    grid = {y: np.repeat(np.arange(MANY), reach), r: np.tile(np.arange(reach), MANY), n: np.full(MANY * reach, size)}
    found = MANY
    for one in reads:
        (index,), extent = one.access.indices, one.access.tensor.shape[0]
        if not any(a is y for a in free_axes(affine_of(index).expr())):
            continue
        at = values(index, grid)
        good = (at >= 0) & (at < (size if extent is n else extent))
        for guard in one.guards:
            good |= ~values(guard, grid)
        good = good.reshape(MANY, reach).all(1)
        found = min(found, MANY if good.all() else int(np.argmin(good)))
    return found


@pytest.mark.parametrize("block", range(4))
def test_against_trying_all_values(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(200 * block, 200 * (block + 1)):
        draw = random.Random(seed)
        symbolic, reach = draw.random() < 0.3, draw.randint(1, 3)
        reads = []
        for d in range(draw.randint(1, 2)):
            extent = n if symbolic and draw.random() < 0.8 else draw.randint(1, 14)
            edge = ap(draw.choice(["less", "greater_equal"]), ap("add", y, r), draw.randint(0, 8))
            index = random_index(draw)
            guards = (edge,) if draw.random() < 0.2 and affine_of(index).expr() is not y else ()
            reads.append(read(tensor(f"X{d}", extent), index, where=guards))
        try:
            found = infer_extents(reads, [y], {r: reach}, None)[y]
        except DefinitionError as e:
            if not symbolic:
                want = largest(reads, reach, 0)
                assert want == (0 if "no extent" in str(e) else MANY), (seed, reads, str(e))
                seen["refused"] += 1
            continue
        if not symbolic:
            assert found == largest(reads, reach, 0), (seed, reads)
            seen["constant"] += 1
            continue
        try:
            check_bounds(reads, Known({y: (0, found), r: (0, reach)}), None, "Y")
        except DefinitionError:
            continue
        for size in (1, 2, 5, 9, 16):
            got = found if isinstance(found, int) else int(values(found, {n: np.array([size])})[0])
            assert got <= largest(reads, reach, size), (seed, reads, found, size)
            seen["symbolic"] += 1
    assert seen["constant"] > 40 and seen["symbolic"] > 40 and seen["refused"] > 20, seen


def test_a_transpose_whose_rows_are_of_a_size_and_more() -> None:
    n, m = te.var("n"), te.var("m")
    X, Y = te.tensor("X", (n, m + 4)), te.tensor("Y")
    i, j = te.axes("i j")
    Y[j, i] = X[i, j]
    for shape in ((5, 9), (70, 150), (129, 4)):
        x = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(te.build(Y)(x), x.T)
