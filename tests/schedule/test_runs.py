"""Fused and split loops have no test inside, whatever does not divide: every element is computed once, in the order of the loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from program_parts import Drawn, Source
from schedules import Walk, guards

import tedsl as te
from tedsl.lang.expr import Expr
from tedsl.lang.integers import limited_effort
from tedsl.schedule.cost.operations import values_at
from tedsl.schedule.loop_tree import Split
from tedsl.schedule.loops.ir import Block, For, If, Stmt, Store
from tedsl.schedule.passes.simplify import PROOFS

m, n = te.var("m"), te.var("n", min=1)
SIZES: dict[Any, int] = {m: 5, n: 7}
SHAPES: list[tuple[Any, ...]] = [
    (10, 7),
    (5, 5),
    (m, n),
    (m, m),
    (n, 6),
    (13, m),
    (2, 3, 5),
    (3, m, n),
    (m, 2, n),
    (6,),
    (n,),
]
STEPS = ["split"] * 3 + ["tile"] * 2 + ["fuse"] * 4 + ["reorder", "vectorize", "unroll", "parallel"]


class Loops(Walk):
    """Draws steps that change the loops of a stage."""

    def step(self) -> None:
        try:
            getattr(self, self.source.choice(STEPS))()
        except te.ScheduleError:
            pass


def copy_of(shape: tuple[Any, ...]) -> te.Tensor:
    index = te.axes("i j l")[: len(shape)]
    A, B = te.tensor("A", shape), te.tensor("B")
    B[index] = A[index] * 2
    return B


@st.composite
def cases(draw: Any) -> Any:
    source: Source = Drawn(draw)
    s = te.create_schedule(copy_of(source.choice(SHAPES)))
    Loops(s, source).steps(source.integer(1, 7))
    return s


def number(e: Any) -> int:
    return int(values_at(e, SIZES)) if isinstance(e, Expr) else int(e)


def points_in_order(s: Any) -> list[tuple[int, ...]]:
    """The elements in the order of the schedule's loops, by the meaning of split and fuse."""
    stage = s.stages[0].state

    def value(name: str, at: dict[str, int]) -> int:
        if name in at:
            return at[name]
        for r in stage.relations:
            if isinstance(r, Split) and r.parent == name:
                return value(r.outer, at) * number(stage.tree().factor(r)) + value(r.inner, at)
            if not isinstance(r, Split) and name in (r.outer, r.inner):
                whole, inner = value(r.fused, at), number(stage.extent(r.inner))
                return whole // inner if name == r.outer else whole % inner
        raise KeyError(name)

    extents = [range(number(stage.extent(leaf))) for leaf in stage.leaves]
    found = []
    for values in product(*extents):
        at = dict(zip(stage.leaves, values, strict=True))
        within = [r.parent for r in stage.relations if isinstance(r, Split)]
        if all(value(name, at) < number(stage.extent(name)) for name in within):
            found.append(tuple(value(a.name, at) for a in stage.axes))
    return found


def stores(root: Stmt, sizes: dict[Any, int]) -> list[tuple[int, ...]]:
    """The elements that a nest stores, in the order in which it does."""
    found: list[tuple[int, ...]] = []

    def run(stmt: Stmt, at: dict[Any, Any]) -> None:
        if isinstance(stmt, For):
            lo = int(values_at(stmt.lo, at))
            for step in range(int(values_at(stmt.extent, at))):
                run(stmt.body, {**at, stmt.axis: lo + step * stmt.step})
        elif isinstance(stmt, If):
            if values_at(stmt.condition, at):
                run(stmt.then, at)
            elif stmt.otherwise is not None:
                run(stmt.otherwise, at)
        elif isinstance(stmt, Store):
            found.append(tuple(int(values_at(e, at)) for e in stmt.indices))
        else:
            assert isinstance(stmt, Block)
            for inner in stmt.stmts:
                run(inner, at)

    run(root, dict(sizes))
    return found


def check(s: Any) -> None:
    want = points_in_order(s)
    sizes = {v.name: size for v, size in SIZES.items() if v in s.outputs[0].shape}
    for nest in (te.lower(s), te.lower(s, **sizes)):
        assert not guards(nest), nest
        assert not nest.conditions, nest
        assert stores(nest.stmt, SIZES) == want, nest


@pytest.mark.fuzz
@given(cases())
def test_loops_of_any_shape_have_no_guards(s: Any) -> None:
    note(f"{s.history}")
    check(s)


def test_all_loops_of_two_tiles_as_one() -> None:
    s = te.create_schedule(copy_of((10, 7)))
    loops = s["B"].tile("i", "j", 4, 4)
    s["B"].fuse(*loops)
    check(s)
    x = np.random.default_rng(0).random((10, 7), dtype="float32")
    np.testing.assert_array_equal(te.build(s)(x), x * 2)


@pytest.mark.parametrize("kind", ["serial", "vectorize", "unroll", "parallel"])
@pytest.mark.parametrize("shape", [(10, 7), (m, n), (n, 6)])
def test_fuse_then_split_by_what_divides_nothing(kind: str, shape: tuple[Any, ...]) -> None:
    s = te.create_schedule(copy_of(shape))
    outer, _, inner, rest = s["B"].tile("i", "j", 3, 4)
    s["B"].reorder("j_o", outer, inner, rest)
    fused = s["B"].fuse(outer, inner, rest)
    _, last = s["B"].split(fused, factor=5)
    if kind != "serial":
        getattr(s["B"], kind)("j_o" if kind == "parallel" else last)
    check(s)
    x = np.random.default_rng(0).random([number(d) for d in shape], dtype="float32")
    kernel = te.build(s)
    for threads in (1, 2):
        np.testing.assert_array_equal(kernel(x, threads=threads), x * 2)


def test_sizes_of_nothing() -> None:
    """Divisors that are sizes may be 0 at a call: nothing runs then."""
    s = te.create_schedule(copy_of((m, m)))
    outer, _ = s["B"].split("i", factor=2)
    fused = s["B"].fuse("i_i", "j")
    s["B"].split(fused, factor=3)
    kernel = te.build(s)
    for size in range(6):
        x = np.random.default_rng(0).random((size, size), dtype="float32")
        np.testing.assert_array_equal(kernel(x), x * 2)
    assert outer.name == "i_o" and not guards(te.lower(s))


def test_an_axis_split_five_times_is_lowered_with_bounded_work() -> None:
    s = te.create_schedule(copy_of((m,)))
    B = s["B"]
    B.split("i", factor=16)
    B.split("i_i", factor=5)
    B.split("i_o", nparts=4)
    B.tile("i_o_o", "i_i_i", 16, 2)
    endless = 10**9
    with limited_effort(endless) as effort:
        nest = te.lower(s).verify()
    assert 0 < endless - effort.left < 2 * PROOFS
    for size in (0, 1, 2, 15, 16, 17, 63, 64, 65, 130):
        assert sorted(stores(nest.stmt, {m: size})) == [(at,) for at in range(size)], size


@pytest.mark.parametrize("kind", ["serial", "parallel"])
@pytest.mark.parametrize("rows", [4, m])
def test_a_test_among_the_statements_of_a_fused_loop(rows: Any, kind: str) -> None:
    """What is fetched for an element of a padded row is one element or none: which of them, a quotient of the loop tells."""
    A = te.tensor("A", (rows, 4))
    P = te.pad(A, [(1, 0), (0, 1)], value=3)
    s = te.create_schedule(P)
    loop = s[P].fuse("i", "j")
    fetched = s.cache_read(A, "register", [P])
    s[fetched].compute_at(s[P], loop)
    s[fetched].unroll(s[fetched].fuse(*s[fetched].loops))
    if kind == "parallel":
        s[P].parallel(loop)
    assert not guards(te.lower(s).verify())
    kernel = te.build(s)
    for size in (4,) if rows == 4 else range(5):
        a = np.random.default_rng(0).random((size, 4), dtype="float32")
        for threads in (1, 2):
            np.testing.assert_array_equal(kernel(a, threads=threads), np.pad(a, [(1, 0), (0, 1)], constant_values=3))


@pytest.mark.parametrize("shape", [(10, 37), (m, n)])
def test_a_test_that_comes_out_of_a_loop_further_in(shape: tuple[Any, ...]) -> None:
    """It stands around the innermost loop when that one has its bounds, and is a bound of the next one then."""
    s = te.create_schedule(copy_of(shape))
    B = s["B"]
    B.split("j", factor=4)
    lanes, *_ = B.tile("i", "j_o", 4, 8)
    B.vectorize(lanes)
    B.split(B.fuse("i_i", "j_o_i", "j_i"), factor=8)
    assert not te.lower(s).conditions
    check(s)
