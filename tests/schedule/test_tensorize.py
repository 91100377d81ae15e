"""tensorize: intrinsics are called where loops are their pattern and run in full, and refused where they are not."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from schedule_cases import check, i, j, k, matmul, refused

import tedsl as te

OUTER = """\
static inline void outer_4x8(float *c, int64_t c0, const float *a, int64_t a0, const float *b, int64_t b0)
{
    for (int m = 0; m < 4; m++)
        for (int n = 0; n < 8; n++)
            c[m * c0 + n] += a[m * a0] * b[n * b0];
}
"""
DOT = """\
static inline void dot_8(float *c, const float *a, const float *b)
{
    float sum = 0;
    for (int n = 0; n < 8; n++) sum += a[n] * b[n];
    *c += sum;
}
"""


def outer() -> Any:
    """c[m, n] += a[m] * b[n], 4 x 8."""
    m, n = te.axes("m n")
    one = te.axes("one")
    a, b, c = te.tensor("a", (4, 1)), te.tensor("b", (8, 1)), te.tensor("c")
    c[m, n] = te.sum(a[m, one] * b[n, one])
    return te.intrinsic("outer_4x8", c, "outer_4x8({c}, {c.0}, {a}, {a.0}, {b}, {b.0});", OUTER)


def dot() -> Any:
    """c += a . b, 8 long."""
    n = te.axes("n")
    a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
    c[()] = te.sum(a[n] * b[n])
    return te.intrinsic("dot_8", c, "dot_8({c}, {a}, {b})", DOT)


@pytest.mark.parametrize("n,m,depth", [(8, 16, 3), (37, 29, 23), (3, 3, 3)])
def test_an_outer_product_in_a_tile(n: int, m: int, depth: int) -> None:
    _A, _B, C, s = matmul(n, m, depth)
    io, jo, ii, ji = s[C].tile(i, j, 4, 8)
    ko, ki = s[C].split(k, factor=1)
    s[C].reorder(io, jo, ko, ii, ji, ki)
    if n == 3:
        refused(
            s, lambda: s[C].tensorize(ii, outer()), "the loop i_i has 3 steps, and m of outer_4x8 has 4. Split it by 4"
        )
        return
    s[C].tensorize(ii, outer())
    check(s)
    source = te.emit(s)
    assert source.count("static inline void outer_4x8") == 1 and "    outer_4x8(&C[" in source
    assert te.cost(s).operations == 2 * n * m * depth
    if (n, m) == (8, 16):
        assert (
            "C[m * " not in source.split("outer_4x8(&C[")[1]
            and "if (" not in source.split("C_call")[0].split("int64_t C(")[1]
        )


def test_a_dot_product_into_an_accumulator() -> None:
    _A, _B, C, s = matmul()
    _ko, ki = s[C].split(k, factor=8)
    s[C].tensorize(ki, dot())
    text = check(s)
    assert "dot_8(C.acc[], A[i, 8 * k_o], B[j, 8 * k_o])" in text


def test_data_loops_outside_of_the_reduction_are_set_up_first() -> None:
    p, q = te.axes("p q")
    a, b, c = te.tensor("a", (4, 23)), te.tensor("b", (23,)), te.tensor("c")
    c[p] = te.sum(a[p, q] * b[q])
    how = te.intrinsic(
        "rows",
        c,
        "for (int m = 0; m < 4; m++) for (int n = 0; n < 23; n++) ({c})[m * {c.0}] += ({a})[m * {a.0} + n * {a.1}] * ({b})[n * {b.0}];",
    )
    _A, _B, C, s = matmul(40, 29, 23)
    io, ii = s[C].split(i, factor=4)
    s[C].reorder(io, j, ii, k)
    s[C].tensorize(ii, how)
    check(s)
    assert "({c})" not in te.emit(s) and "(&C[29 * " in te.emit(s).replace("116 * i_o", "29 * 4 * i_o")


def test_an_elementwise_pattern_matches_whatever_the_order_of_operands() -> None:
    n = te.axes("n")
    a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
    c[n] = a[n] * 2 + te.maximum(b[n], 0.0)
    how = te.intrinsic(
        "axpb",
        c,
        "for (int n = 0; n < 8; n++) ({c})[n * {c.0}] = ({a})[n * {a.0}] * 2 + (({b})[n * {b.0}] > 0 ? ({b})[n * {b.0}] : 0);",
    )
    X, Y, Z = te.tensor("X", (30, 9)), te.tensor("Y", (9, 30)), te.tensor("Z")
    Z[i, j] = te.maximum(0.0, Y[j, i]) + 2 * X[i, j]
    s = te.create_schedule(Z)
    io, ii = s[Z].split(i, factor=8)
    s[Z].reorder(j, io, ii)
    s[Z].tensorize(ii, how)
    check(s)


def test_a_packed_operand_and_a_cached_result() -> None:
    _A, B, C, s = matmul()
    Cc = s.cache_write(C, "cache")
    _io, jo, _ii, _ji = s[C].tile(i, j, 4, 8)
    s[Cc].compute_at(s[C], jo)
    ko, ki = s[Cc].split(k, factor=1)
    s[Cc].reorder(ko, i, j, ki)
    Bp = s.cache_read(B, "global", Cc)
    po, pi = s[Bp].split("j", factor=8)
    s[Bp].layout(po, "k", pi)
    refused(s, lambda: s[Cc].tensorize(i, outer()), "the loop i has 37 steps, and m of outer_4x8 has 4. Split it by 4")
    yo, xo, yi, xi = s[Cc].tile(i, j, 4, 8)
    s[Cc].reorder(yo, xo, ko, yi, xi, ki)
    s[Cc].tensorize(yi, outer())
    check(s)


def test_intrinsics_travel() -> None:
    _A, _B, C, s = matmul()
    _ko, ki = s[C].split(k, factor=8)
    s[C].tensorize(ki, dot())
    for other in (pickle.loads(pickle.dumps(s)), te.create_schedule(C).replay(s.to_json())):
        assert te.emit(other) == te.emit(s)
    typed = te.create_schedule(C)
    exec(str(s.history), {"s": typed, "te": te})
    assert te.emit(typed) == te.emit(s)
    assert repr(pickle.loads(pickle.dumps(dot()))) == "<intrinsic dot_8: c[] = sum(a[n] * b[n], axis=n)>"


def test_a_history_from_elsewhere_runs_no_code_of_its_own() -> None:
    _A, _B, C, s = matmul()
    _ko, ki = s[C].split(k, factor=8)
    s[C].tensorize(ki, dot())
    foreign = s.to_json().replace("sum += a[n] * b[n]", "sum += system(a[n])")
    fresh = te.create_schedule(C)
    refused(fresh, lambda: fresh.replay(foreign), "is refused: it calls the intrinsic dot_8", "whose C code this program "
            "has not declared", "Declare it first (te.intrinsic)", "replay(history, trust=True)")  # fmt: skip
    step = json.loads(foreign)["steps"][1]
    refused(fresh, lambda: fresh.replay(json.loads(foreign)), "is refused")
    fresh[C].split(k, factor=8)
    with pytest.raises(te.ScheduleError, match="has not declared"):
        fresh.take(step["stage"], step["primitive"], step["args"])
    trusted = te.create_schedule(C).replay(foreign, trust=True)
    assert "system(a[n])" in te.emit(trusted)
    for other in (trusted.copy(), pickle.loads(pickle.dumps(trusted)), te.create_schedule(C).replay(trusted.history)):
        assert te.emit(other) == te.emit(trusted)
    again = te.create_schedule(C)
    refused(again, lambda: again.replay(foreign), "is refused")


# What is refused -------------------------------------------------------------------------------------------------------


def test_loops_that_are_not_the_pattern() -> None:
    _A, _B, C, s = matmul(40, 40, 40)
    refused(s, lambda: s[C].tensorize(k, dot()), "the loop k has 40 steps, and n of dot_8 has 8. Split it by 8")
    refused(
        s,
        lambda: s[C].tensorize(j, dot()),
        "the loops from j inward are j and k reduced over, and dot_8 has none and n reduced over",
    )
    refused(s, lambda: s[C].tensorize(k, "dot"), "tensorize of C got 'dot'; an intrinsic is made by te.intrinsic(…)")
    X, Y = te.tensor("X", (8, 8)), te.tensor("Y")
    for value, word in [
        (te.sum(X[i, k] + X[k, i]), "is not what"),
        (te.max(X[i, k] * X[k, i]), "is not what"),
        (te.sum(X[i, k] * X[i, k], where=k > i), "has a condition (where=)"),
        (te.sum(X[i, k // 2] * X[i, k]), "does not move by a constant step along k"),
    ]:
        Y = te.tensor("Y")
        Y[i] = value
        s = te.create_schedule(Y)
        refused(s, lambda s=s, Y=Y: s[Y].tensorize(k, dot()), word)
    D = te.tensor("D")
    X64 = te.tensor("X", (8, 8), "float64")
    D[i] = te.sum(X64[i, k] * X64[i, k])
    s = te.create_schedule(D)
    refused(s, lambda: s[D].tensorize(k, dot()), "D is float64, and dot_8 computes float32")


def test_tensorized_loops_are_left_alone() -> None:
    A, _B, C, s = matmul()
    ko, ki = s[C].split(k, factor=8)
    s[C].tensorize(ki, dot())
    refused(s, lambda: s[C].split(ki, factor=2), "it is tensorized")
    refused(s, lambda: s[C].reorder(ki, ko), "dot_8")
    refused(s, lambda: s[C].tensorize(ki, dot()), "it is tensorized")
    Al = s.cache_read(A, "cache", C)
    refused(
        s,
        lambda: s[Al].compute_at(s[C], ki),
        "A.cache is computed inside of the loops k_i, which become calls of dot_8",
    )
    s[Al].compute_at(s[C], ko)
    check(s)
    s[Al].set_scope("register")
    s[Al].unroll("k")
    refused(
        s,
        lambda: te.lower(s),
        "A.register" if "A.register" in str(s) else "is kept in registers, which have no address for dot_8 to use",
        "'cache'",
    )


def test_patterns_that_are_none() -> None:
    n, _m = te.axes("n m")
    a = te.tensor("a", (8,))

    def refuse(c: Any, code: str, *words: str) -> None:
        with pytest.raises(te.ScheduleError) as error:
            te.intrinsic("f", c, code)
        for word in words:
            assert word in str(error.value), str(error.value)

    refuse(a, "", "it is a tensor with a definition")
    refuse(te.define("c[i] = exp(sum(a[i,k]))", a=(3, 4)), "", "has a reduction inside of an expression")
    refuse(te.define("c[i] = sum(a[k] * b[i], where=k < i)", a=(3,), b=(4,)), "", "a reduction with a condition")
    refuse(te.define("c[i] = a[i] + b[i+1]", a=(3,), b=(4,)), "{a} {b} {c}", "each index is an axis of its own")
    refuse(
        te.define("c[i] = a[i] + b[i]", a=(3,), b=(3,)),
        "{a} {c}",
        "its code never uses {b}; the places in it are the operands a, b, c",
    )
    refuse(
        te.define("c[i] = a[i] + b[i]", a=(3,), b=(3,)),
        "{a} {b} {c} {a.1}",
        "the code asks for {a.1}, but a has 1 dimensions",
    )
    refuse(te.define("c[0] = a[0]; c[i] = a[i]", a=(3,), c=(3,)), "", "is more than one equation of one tensor")
    size = te.var("size")
    refuse(te.define("c[i] = a[i]", a=(size,)), "{a}{c}", "has symbolic sizes")
    d, e = te.tensor("d"), te.tensor("e")
    d[n] = a[n] + 1
    e[n] = d[n] * 2
    refuse(e, "", "reads d, which is computed")
    b, c = te.tensor("a", (8,)), te.tensor("c")
    c[n] = a[n] + b[n]
    refuse(c, "", "need names of their own")
    with pytest.raises(te.ScheduleError, match="is no intrinsic"):
        te.schedule.Intrinsic.from_json({"name": "f"})
