"""The passes, one by one, on small nests; and the verifier, which must refuse what is broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import tedsl as te
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Axis, Cast, Const
from tedsl.lang.functions import apply
from tedsl.schedule.loops.ir import Allocate, Block, Buffer, For, If, Stmt, Store, block, preorder
from tedsl.schedule.loops.text import lines_of
from tedsl.schedule.loops.verify import verify_stmt
from tedsl.schedule.passes import passes
from tedsl.schedule.passes.hoist import invariants_pass
from tedsl.schedule.passes.simplify import simplify_pass
from tedsl.schedule.passes.unroll import unroll_pass

i, j = Axis("i"), Axis("j")
OUT = Buffer("out", (8, 8), "float32", "global", "output")
IN = Buffer("in", (8, 8), "float32", "global", "input")


def text(stmt: Stmt) -> str:
    return "\n".join(map(str, lines_of(stmt)))


def loop(axis: Any, lo: Any, extent: Any, body: Stmt, kind: str = "serial", step: int = 1) -> For:
    return For(axis, as_const(lo), as_const(extent), kind, body, step)


def as_const(value: Any) -> Any:
    return Const(value) if isinstance(value, int) else value


def put(*indices: Any, value: Any = 1.0) -> Store:
    return Store(OUT, tuple(map(as_const, indices)), Const(value, "float32") if isinstance(value, float) else value)


def test_the_list_of_passes_is_flat_and_named() -> None:
    names = [name for name, _ in passes()]
    assert len(set(names)) == len(names) >= 3
    stmt: Stmt = loop(i, 0, 8, put(i, 0))
    for _, rule in passes():
        stmt = rule(stmt)
    assert text(stmt) == "for i in 0..8:\n  out[i, 0] = 1.0"


def test_simplify_drops_what_never_runs_and_tests_that_always_hold() -> None:
    never = loop(j, 0, 0, put(i, j))
    once = loop(j, 3, 1, put(i, j))
    holds = If(apply("less", i, 8), put(i, 1), put(i, 2))
    fails = If(apply("less", i, 0), put(i, 3))
    stmt = simplify_pass(loop(i, 0, 8, block(never, once, holds, fails)))
    assert text(stmt) == "for i in 0..8:\n  out[i, 3] = 1.0\n  out[i, 1] = 1.0"
    assert simplify_pass(loop(i, 0, 0, put(i, 0))).body_parts == ()


def test_simplify_knows_the_loops_around() -> None:
    inner = loop(j, 0, apply("minimum", 4, apply("subtract", 8, apply("multiply", i, 4))), put(i, j))
    assert text(simplify_pass(loop(i, 0, 2, inner))).splitlines()[1] == "  for j in 0..4:"


def test_unrolled_loops_are_written_out() -> None:
    stmt = unroll_pass(loop(i, 2, 3, loop(j, 0, 2, put(i, j), "unrolled"), "unrolled", step=2))
    stores = [s.indices for s in preorder(stmt) if isinstance(s, Store)]
    assert [(a.value, b.value) for a, b in stores] == [(x, y) for x in (2, 4, 6) for y in (0, 1)]


def test_a_loop_that_cannot_be_unrolled_stays_a_loop() -> None:
    n = te.var("n")
    for kept in (loop(i, 0, n, put(i, 0), "unrolled"), loop(i, 0, 100_000, put(i, 0), "unrolled")):
        stmt = unroll_pass(kept)
        assert isinstance(stmt, For) and stmt.kind == "serial"


def test_a_declared_temporary_is_its_own_in_every_unrolled_step() -> None:
    temporary = Buffer("x", (), "float32", "register", "temporary")
    body = Allocate(
        temporary, block(Store(temporary, (), Const(1.0, "float32")), put(i, 0, value=Access(temporary, ())))
    )
    stmt = unroll_pass(loop(i, 0, 3, body, "unrolled"))
    assert sum(isinstance(s, Allocate) for s in preorder(stmt)) == 3
    verify_stmt(stmt, frozenset((OUT,)), frozenset())


BROKEN: dict[str, tuple[Stmt, str]] = {
    "an axis outside of its loop": (put(i, 0), "outside of its loop"),
    "an axis bound twice": (loop(i, 0, 2, loop(i, 0, 2, put(i, 0))), "bound by two loops"),
    "a buffer without memory": (
        Store(Buffer("x", (), "float32", "cache", "temporary"), (), Const(1.0, "float32")),
        "outside of its allocation",
    ),
    "too few indices": (loop(i, 0, 2, Store(OUT, (i,), Const(1.0, "float32"))), "2 dimensions"),
    "a value of another type": (loop(i, 0, 2, Store(OUT, (i, i), Const(1, "int32"))), "int32"),
    "a store to an input": (Store(IN, (Const(0), Const(0)), Const(1.0, "float32")), "input"),
    "an unknown kind": (loop(i, 0, 2, put(i, 0), "sideways"), "sideways"),
    "a tensor, not a buffer": (put(0, 0, value=Access(te.tensor("T", (2,)), (Const(0),))), "not a buffer"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_verifier_refuses(name: str) -> None:
    stmt, said = BROKEN[name]
    with pytest.raises(InternalError, match=said):
        verify_stmt(stmt, frozenset((OUT, IN)), frozenset())


def test_the_verifier_takes_what_is_right() -> None:
    stmt = loop(i, 0, 8, loop(j, 0, 8, put(i, j, value=Cast("float32", Access(IN, (i, j))))))
    verify_stmt(stmt, frozenset((OUT, IN)), frozenset())
    A, B = te.tensor("A", (4,)), te.tensor("B")
    B[te.axes("i")] = A[te.axes("i")] + 1
    nest = te.lower(B)
    assert nest.verify() is nest
    nest.stmt = Block((nest.stmt, replace(next(s for s in preorder(nest.stmt) if isinstance(s, Store)))))
    with pytest.raises(InternalError):
        nest.verify()


# What does not change in a loop --------------------------------------------------------------------------------------------------------------------


def root_of(*indices: Any) -> Any:
    return apply("sqrt", Access(IN, tuple(map(as_const, indices))))


def test_what_every_step_computes_again_is_computed_once() -> None:
    value = apply("divide", Access(IN, (i, j)), root_of(i, 0))
    made = invariants_pass(loop(i, 0, 8, loop(j, 0, 8, block(put(i, j, value=value), put(j, i, value=root_of(i, 0))))))
    assert (
        text(made)
        == """\
for i in 0..8:
  once: float32[] in register
  once[] = sqrt(in[i, 0])
  for j in 0..8:
    out[i, j] = in[i, j] / once[]
    out[j, i] = once[]"""
    )
    made = invariants_pass(loop(i, 0, 8, loop(j, 0, 8, put(i, j, value=root_of(0, 0)))))
    assert text(made).startswith("once: float32[] in register\nonce[] = sqrt(in[0, 0])\nfor i in 0..8:")


def test_what_is_cheap_changes_or_may_not_be_read_stays() -> None:
    n = te.var("n")
    cheap = apply("add", Access(IN, (i, Const(0))), Access(IN, (i, Const(1))))
    written = apply("sqrt", Access(OUT, (i, Const(0))))
    chosen = apply("where", apply("less", j, 3), root_of(i, 0), Const(0.0, "float32"))
    guarded = If(apply("less", i, 3), put(i, j, value=root_of(i, 0)))
    perhaps = loop(Axis("k"), 0, 1, put(i, j, value=root_of(i, 0)))
    for body in (put(i, j, value=cheap), put(i, j, value=written), put(i, j, value=chosen), guarded):
        nest = loop(i, 0, 8, loop(j, 0, 8, body))
        assert text(invariants_pass(nest)) == text(nest)
    inner = replace(perhaps, extent=n)  # it may not run at all
    nest = loop(i, 0, 8, loop(j, 0, 8, inner))
    assert text(invariants_pass(nest)).index("for j") < text(invariants_pass(nest)).index("once")
    made = text(invariants_pass(loop(i, 0, 8, loop(j, 0, n, put(i, j, value=root_of(i, 0))))))
    assert "once[] = 0.0" in made and "if n > 0" in made, "nothing is read for a loop without steps"
