"""split, tile, fuse, reorder: what they make, that the result stays right, and what they refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from schedule_cases import check, i, j, k, matmul, recurrence, refused, two_stages

import tedsl as te


def names(loops: Any) -> list[str]:
    return [loop.name for loop in loops]


@pytest.mark.parametrize(
    "how,extents",
    [
        ({"factor": 4}, (10, 4)),
        ({"factor": 64}, (1, 37)),
        ({"nparts": 4}, (4, 10)),
        ({"nparts": 64}, (37, 1)),
        ({"factor": 1}, (37, 1)),
    ],
)
def test_split_makes_blocks_that_are_clipped(how: dict[str, int], extents: tuple[int, int]) -> None:
    _, _, C, s = matmul()
    outer, inner = s[C].split(i, **how)
    assert (outer.name, inner.name) == ("i_o", "i_i")
    assert (outer.extent, inner.extent) == extents
    assert names(s[C].loops) == ["i_o", "i_i", "j", "k"]
    check(s)


def test_axes_are_given_by_themselves_by_name_or_as_returned() -> None:
    texts = []
    for axis in (i, "i", "returned", "definition"):
        _, _, C, s = matmul()
        given = (
            s[C].axis[0]
            if axis == "returned"
            else C.axis[0]
            if isinstance(axis, str) and axis == "definition"
            else axis
        )
        s[C].split(given, factor=8)
        texts.append(str(s))
    assert len(set(texts)) == 1


def test_names_of_loops_stay_unique() -> None:
    _, _, C, s = matmul()
    o, n = s[C].split(i, factor=8)
    s[C].split(o, factor=2)
    s[C].split(n, factor=2)
    assert names(s[C].loops)[:4] == ["i_o_o", "i_o_i", "i_i_o", "i_i_i"]
    a = te.axes("i_o")
    X, Y = te.tensor("X", (9, 9)), te.tensor("Y")
    Y[i, a] = X[i, a] * 2
    s = te.create_schedule(Y)
    assert s[Y].split(i, factor=2)[0].name == "i_o_1"
    check(s)


@pytest.mark.parametrize("first,second", list(itertools.product([3, 8, 50], [2, 5, 50])))
def test_splits_of_splits_that_do_not_divide(first: int, second: int) -> None:
    _, _, C, s = matmul()
    o, n = s[C].split(i, factor=first)
    s[C].split(o, factor=second)
    s[C].split(n, nparts=second)
    s[C].split(k, factor=first)
    check(s)


def test_tile_puts_outer_loops_outside() -> None:
    _, _, C, s = matmul()
    loops = s[C].tile(i, j, 8, 16)
    assert names(loops) == ["i_o", "j_o", "i_i", "j_i"] == names(s[C].loops)[:4]
    assert check(s).splitlines()[0] == "for i_o in 0..5:"


@pytest.mark.parametrize("factor", [1, 7, 10, 2000])
def test_split_after_fuse_that_does_not_divide(factor: int) -> None:
    _, _, C, s = matmul()
    fused = s[C].fuse(i, j)
    assert fused.name == "i_j" and fused.extent == 37 * 29
    s[C].split(fused, factor=factor)
    check(s)


@pytest.mark.parametrize("shape", [(13, 29), (10, 7, 3), (te.var("n"), te.var("m"))])
def test_a_fused_loop_over_whole_arrays_walks_through_memory(shape: tuple[Any, ...]) -> None:
    """No quotients and remainders: their sum is the loop's own variable, so that lanes lie side by side."""
    X, Y = te.tensor("X", shape), te.tensor("Y")
    axes = te.axes("i j k")[: len(shape)]
    Y[axes] = X[axes] * 2
    s = te.create_schedule(Y)
    s[Y].vectorize(s[Y].split(s[Y].fuse(*axes), factor=8)[1])
    kernel = te.build(s)
    body = kernel.source[kernel.source.index(f"int64_t {kernel.name}(") :]
    assert "%" not in body and "lanes" not in body, body
    x = np.random.default_rng(0).random([n if isinstance(n, int) else 5 for n in shape], dtype="float32")
    np.testing.assert_array_equal(kernel(x), x * 2)


def test_fuse_after_split_that_does_not_divide() -> None:
    _, _, C, s = matmul()
    _o, n = s[C].split(i, factor=8)
    f = s[C].fuse(n, j)
    s[C].split(f, factor=11)
    s[C].split(k, factor=5)
    s[C].fuse("k_o", "k_i")
    check(s)
    _, _, C, s = matmul()
    assert s[C].fuse(i).name == "i"


def test_reorder_permutes_the_places_of_the_loops_given() -> None:
    _, _, C, s = matmul()
    s[C].reorder(k, i)
    assert names(s[C].loops) == ["k", "j", "i"]
    check(s)
    s[C].reorder()
    assert names(s[C].loops) == ["k", "j", "i"]


@pytest.mark.parametrize("order", list(itertools.permutations(["i_o", "i_i", "j", "k_o", "k_i"]))[::7])
def test_every_order_of_a_reduction_is_right(order: tuple[str, ...]) -> None:
    _, _, C, s = matmul(13, 5, 9)
    s[C].split(i, factor=4)
    s[C].split(k, factor=2)
    s[C].reorder(*order)
    check(s)


def test_extents_of_0_and_1() -> None:
    for n, m, depth in [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1)]:
        _, _, C, s = matmul(n, m, depth)
        s[C].tile(i, j, 4, 4)
        s[C].split(k, nparts=2)
        check(s)
    R = te.tensor("R", ())
    L = te.tensor("L")
    L[()] = R[()] + 1
    s = te.create_schedule(L)
    assert s[L].loops == ()
    refused(s, lambda: s[L].fuse(), "fuse of L needs at least one axis", "its loops are none")


# What is refused -------------------------------------------------------------------------------------------------------


def test_axes_that_are_no_loops() -> None:
    _, _, C, s = matmul()
    refused(
        s,
        lambda: s[C].split("q", factor=2),
        "split of the axis q of C",
        "there is no such loop",
        "The loops of C are i, j, k",
    )
    s[C].tile(i, j, 4, 4)
    refused(
        s,
        lambda: s[C].split(i, factor=2),
        "i is no loop any more",
        "was made into i_o and i_i",
        "the loops are i_o, j_o, i_i, j_i, k",
    )
    refused(
        s,
        lambda: s[C].split(3, factor=2),
        "split of C got 3",
        "an axis is given by itself, by its name, or as a primitive returned it",
    )


def test_factors() -> None:
    _, _, C, s = matmul()
    refused(s, lambda: s[C].split(i, factor=0), "factor is 0; it is at least 1")
    refused(s, lambda: s[C].split(i, nparts=-3), "nparts is -3")
    refused(s, lambda: s[C].split(i, factor=2.5), "factor is 2.5; it is a whole number, or a size (te.var)")
    refused(s, lambda: s[C].split(i, factor=True), "factor is True")
    refused(s, lambda: s[C].split(i), "takes either factor= or nparts=, and got neither")
    refused(s, lambda: s[C].split(i, factor=2, nparts=2), "takes either factor= or nparts=, and got both")
    refused(s, lambda: s[C].tile(i, i, 2, 2), "tile of C needs two different axes")


def test_fuse_of_loops_that_are_no_neighbours() -> None:
    _, _, C, s = matmul()
    refused(
        s,
        lambda: s[C].fuse(i, k),
        "fuse of i, k of C",
        "not neighbours",
        "the loops stand in the order i, j, k",
        "reorder(…, i, k, …)",
    )
    refused(s, lambda: s[C].fuse(j, i), "Give them as fuse(i, j)")
    refused(s, lambda: s[C].fuse(j, k), "k is reduced over and the others are not")
    refused(s, lambda: s[C].fuse(i, i), "an axis is given twice")


def test_reorder_of_an_axis_twice() -> None:
    _, _, C, s = matmul()
    refused(s, lambda: s[C].reorder(i, j, i), "reorder of C got the axis i twice")


def test_marked_loops_and_places_are_not_cut() -> None:
    _, H, V, s = two_stages()
    s[V].vectorize(V.axis[1])
    refused(
        s, lambda: s[V].split("x", factor=4), "it is vectorized", "Call split first, and mark the loops that come of it"
    )
    refused(s, lambda: s[V].fuse("y", "x"), "it is vectorized", "Call fuse first")
    s[H].compute_at(s[V], "y")
    refused(
        s, lambda: s[V].split("y", factor=4), "H is computed at it", "then H's compute_at at a loop that comes of it"
    )
    s[H].pragma("y", "GCC ivdep")
    refused(s, lambda: s[H].split("y", factor=4), "marked with the pragma 'GCC ivdep'")


def test_steps_of_a_recurrence_stay_whole() -> None:
    _, S, s = recurrence()
    refused(
        s,
        lambda: s[S].split("t", factor=2),
        "the equations of S take turns along t, so this loop stays whole",
        "Split or fuse the other loops (j)",
    )
    refused(s, lambda: s[S].fuse("t", "j"), "take turns along t")
    s[S].split("j", factor=8)
    s[S].reorder("j_o", "t", "j_i")
    s[S].parallel("j_o")
    s[S].vectorize("j_i")
    check(s)
    s[S].reorder("j_o", "j_i", "t")
    s.undo()


def test_rows_of_a_running_sum_are_independent() -> None:
    t = te.axes("t")
    X, S = te.tensor("X", (40, 9)), te.tensor("S", (40, 9))
    S[i, 0] = X[i, 0]
    S[i, t] = S[i, t - 1] + X[i, t]
    s = te.create_schedule(S)
    o, n = s[S].split(i, factor=16)
    s[S].reorder(o, t, n)
    s[S].parallel(o)
    s[S].vectorize(n)
    text = check(s)
    assert text.splitlines()[0] == "for i_o in 0..3 parallel:" and "for t in 1 + 0..8:" in text
    s = te.create_schedule(S)
    s[S].reorder(t, i)
    check(s)
    refused(s, lambda: s[S].parallel(t), "The loops that can are i")


def test_an_edit_distance_runs_in_either_order() -> None:
    a, b = te.axes("a b")
    X, D = te.tensor("X", (6, 7)), te.tensor("D", (6, 7))
    D[0, b] = te.cast(b, "float32")
    D[a, 0] = te.cast(a, "float32")
    D[a, b] = te.minimum(te.minimum(D[a - 1, b], D[a, b - 1]) + 1, D[a - 1, b - 1] + X[a, b])
    s = te.create_schedule(D)
    check(s)
    s[D].reorder("b", "a")
    check(s)
    refused(s, lambda: s[D].vectorize("a"), "reads what an earlier one computes")


def test_a_reduction_in_one_of_the_equations_stays_inside() -> None:
    t = te.axes("t")
    X, W, S = te.tensor("X", (7, 5)), te.tensor("W", (5, 6)), te.tensor("S", (7, 6))
    S[0, j] = X[0, 0]
    S[t, j] = te.sum(X[t, k] * W[k, j])
    s = te.create_schedule(S)
    s[S].reorder(j, t)
    s[S].split(k, factor=2)
    check(s)
    refused(s, lambda: s[S].reorder("k_o", t), "is reduced over in one of them only, so it stays inside of t")


def test_a_recurrence_in_one_equation_keeps_its_direction() -> None:
    a, b = te.axes("a b")
    X, S = te.tensor("X", (8, 9)), te.tensor("S", (8, 9))
    S[a, b] = te.where((a > 0) & (b < 8), S[a - 1, b + 1], 0.0) + X[a, b]
    s = te.create_schedule(S)
    message = refused(
        s, lambda: s[S].reorder(b, a), "with the loops in the order b, a", "would be read before it is computed"
    )
    assert "Keep the loops along which S steps outside of b" in message
    outer, inner = s[S].split(a, factor=3)
    s[S].split(b, factor=4)
    check(s)
    refused(s, lambda: s[S].reorder("b_o", inner), "would be read before it is computed")
    refused(s, lambda: s[S].reorder(inner, outer), "would be read before it is computed")
    s[S].vectorize("b_i")
    check(s)


def test_a_loop_of_another_stage_is_told_from_ones_own() -> None:
    _, H, V, s = two_stages()
    o, _ = s[V].split("y", factor=4)
    s[H].split("y", factor=4)
    refused(s, lambda: s[H].split(o, factor=2), "split of H got the loop y_o of V", "the loops of H are y_o, y_i, x")
