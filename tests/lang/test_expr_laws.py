"""Laws of expression nodes and of statements, for every class of them, found by looking."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

import tedsl as te
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, apply, rewrite, walk
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.reductions import REDUCERS
from tedsl.schedule.loops import ir
from tedsl.schedule.schedule import Loop

i, k = Axis("i", 0, 4), Axis("k", 0, 3)
T = te.tensor("T", (4, 3))


def classes(root: type) -> Iterator[type]:
    for sub in root.__subclasses__():
        # a dataclass with slots leaves the class that it was made of behind
        if sub.__module__.startswith("tedsl.") and getattr(sys.modules[sub.__module__], sub.__name__) is sub:
            yield sub
            yield from classes(sub)


def nodes() -> dict[type, list[Any]]:
    x = Access(T, (i, k))
    return {
        Const: [Const(v, d) for v, d in ((0, None), (-7, "int8"), (0.0, "float32"), (-0.0, "float32"), (float("nan"), None), (float("inf"), "float64"), (True, None))],
        Axis: [Axis("i"), i, Axis("j", 1, Var("n"))],
        Var: [Var("n"), Var("m", 1, 4)],
        Loop: [Loop("i_o", 0, 4, "C")],
        Access: [x, Access(T, (Const(0), apply("floor_divide", k, 2)))],
        Cast: [Cast("int32", x)],
        Apply: [apply(name, *[x < 0 if f.kind == "select" else x] * (f.kind == "select"), *[x] * (f.arity - (f.kind == "select")))
                for name, f in FUNCTIONS.items() if f.kind != "bits" and f.c is None and name not in ("left_shift", "right_shift")],
        Reduce: [Reduce(r, (x,) * 1, (k,), w, None, 0) for r in list(REDUCERS.values())[:1] for w in (None, i < k)],
    }  # fmt: skip


def test_every_class_of_nodes_is_here() -> None:
    assert set(classes(Expr)) == set(nodes())


@pytest.mark.parametrize("kind", nodes(), ids=lambda c: c.__name__)
def test_nodes(kind: type) -> None:
    found = nodes()[kind]
    assert found
    for node in found:
        assert type(node) is kind
        assert type(node)(*node.args) is node, f"{node!r} is not rebuilt from its args"
        assert node.with_children(node.children) is node
        assert rewrite(node, lambda n: None) is node
        assert copy.copy(node) is node and copy.deepcopy(node) is node
        assert hash(node) == object.__hash__(node)
        assert repr(node) and "\n" not in repr(node) and " at 0x" not in repr(node)
        assert isinstance(node.dtype, str)
        assert any(n is node for n in walk(node))
        if T not in [n.tensor for n in walk(node) if isinstance(n, Access)]:  # a tensor's copy is another tensor
            assert pickle.loads(pickle.dumps(node)) is node
        else:
            again = pickle.loads(pickle.dumps(node))
            assert repr(again) == repr(node) and again.dtype == node.dtype


def test_different_nodes_are_told_apart() -> None:
    everything = [n for found in nodes().values() for n in found]
    assert len({id(n) for n in everything}) == len(everything)


def statements() -> dict[type, Any]:
    buffer = ir.Buffer("b", (4,), "float32", "cache", "temporary")
    store = ir.Store(buffer, (i,), Const(1.0, "float32"))
    loop = ir.For(i, Const(0), Const(4), "serial", store)
    row = ir.Row(loop, 4, (Const(0),), (Const(0),))
    return {
        ir.Block: ir.Block((store, store)),
        ir.For: loop,
        ir.Vector: ir.Vector(i, Const(0), 4, store),
        ir.Strips: ir.Strips(loop, k, (ir.Strip(4, "while", store), ir.Strip(1, "while", store))),
        ir.Carried: ir.Carried((row,), loop, loop),
        ir.Squares: ir.Squares(loop, 4, store),
        ir.Turned: ir.Turned(((buffer, Access(buffer, (i,))),), i, 0, 4, store),
        ir.Fence: ir.Fence(),
        ir.Store: store,
        ir.Allocate: ir.Allocate(buffer, store),
        ir.If: ir.If(apply("less", i, 3), store, store),
        ir.Assert: ir.Assert(apply("less", i, 3), 0, (i,)),
        ir.Call: ir.Call("f({0})", (Access(buffer, (i,)),)),
    }


def test_every_class_of_statements_is_here() -> None:
    assert set(classes(ir.Stmt)) - {ir.Around} == set(statements())


@pytest.mark.parametrize("kind", statements(), ids=lambda c: c.__name__)
def test_statements(kind: type) -> None:
    stmt = statements()[kind]
    assert ir.with_bodies(stmt, stmt.body_parts) is stmt
    assert ir.expressions(ir.map_expressions(stmt, lambda e: e)) == ir.expressions(stmt)
    bodies = tuple(ir.Block(()) for _ in stmt.body_parts)
    if bodies and kind is not ir.Block:
        assert ir.with_bodies(stmt, bodies).body_parts == bodies
    again = replace(stmt)
    assert all(getattr(again, f.name) is getattr(stmt, f.name) for f in fields(stmt))
    assert stmt in list(ir.preorder(stmt)) and sum(1 for _ in ir.preorder(stmt)) >= 1
    if kind is not ir.For and any(n is i for e in ir.expressions(stmt) for n in walk(e)):
        moved = ir.substitute_axis(stmt, i, Const(2))
        assert not any(n is i for s in ir.preorder(moved) for e in ir.expressions(s) for n in walk(e))


def test_nested_blocks_are_flat() -> None:
    store = statements()[ir.Store]
    assert ir.block(store) is store
    assert ir.block(ir.Block((store, store)), None, store).stmts == (store, store, store)
