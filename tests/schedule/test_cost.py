"""The cost model: counts of concrete schedules against a brute-force count over their loops, symbolic ones against the lecture's formulas."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program_parts import Seeded
from schedule_cases import i, j, k, matmul, two_stages, x, y

import tedsl as te
from tedsl.lang.expr import Access, Apply, Expr, walk
from tedsl.schedule.cost.operations import values_at
from tedsl.schedule.loops.ir import Allocate, Block, For, If, Stmt, Store
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state


def counted(s: Any) -> Counter[tuple[str, str]]:
    """Stores and loads (outside of selects) by buffer, one step of every loop after the other."""
    found: Counter[tuple[str, str]] = Counter()

    def run(stmt: Stmt, at: dict[Expr, Any]) -> None:
        if isinstance(stmt, Block):
            for inner in stmt.stmts:
                run(inner, at)
        elif isinstance(stmt, For):
            lo = int(values_at(stmt.lo, at))
            for n in range(int(values_at(stmt.extent, at))):
                run(stmt.body, {**at, stmt.axis: lo + n * stmt.step})
        elif isinstance(stmt, If):
            if values_at(stmt.condition, at):
                run(stmt.then, at)
        elif isinstance(stmt, Allocate):
            run(stmt.body, at)
        elif isinstance(stmt, Store):
            found["store", stmt.buffer.name] += 1
            for node in walk(stmt.value):
                if isinstance(node, Access):
                    found["load", node.tensor.name] += 1

    run(lower_state(inlined(s.state), tuple(s.outputs[0].inputs)).stmt, {})
    return found


@pytest.mark.parametrize(
    "n,m,depth,v1,v2,v3", [(37, 29, 23, 4, 16, 5), (12, 8, 6, 4, 4, 3), (5, 1, 2, 8, 8, 8), (3, 4, 0, 2, 2, 2)]
)
def test_concrete_counts_are_exact(n: int, m: int, depth: int, v1: int, v2: int, v3: int) -> None:
    A, _B, C, s = matmul(n, m, depth)
    Cr = s.cache_write(C, "cache")
    _io, jo, _ii, _ji = s[C].tile(i, j, v1, v2)
    s[Cr].compute_at(s[C], jo)
    ko, ki = s[Cr].split(k, factor=v3)
    s[Cr].reorder(ko, i, j, ki)
    Al = s.cache_read(A, "cache", Cr)
    s[Al].compute_at(s[Cr], ko)
    cost, brute = te.cost(s), counted(s)
    assert cost.operations == 2 * n * m * depth
    assert cost.moves.get(("A", "global", "cache"), 0) == brute["load", "A"]
    assert cost.moves.get(("A", "cache", "register"), 0) == brute["load", "A.cache"]
    assert cost.moves.get(("B", "global", "register"), 0) == brute["load", "B"]
    assert all(isinstance(v, int) for v in (*cost.moves.values(), cost.operations, cost.registers))


def test_overlap_of_a_stencil_is_counted_again() -> None:
    _X, H, V, s = two_stages()
    plain = te.cost(s)
    assert plain.operations == 2 * 40 * 38 + 2 * 38 * 38
    assert (
        plain.moves["X", "global", "register"] == 3 * 40 * 38 and plain.moves["H", "global", "register"] == 3 * 38 * 38
    )
    _yo, xo, _yi, _xi = s[V].tile(y, x, 8, 16)
    s[H].compute_at(s[V], xo)
    s[H].set_scope("cache")
    cost, brute = te.cost(s), counted(s)
    assert cost.operations == 2 * brute["store", "H"] + 2 * 38 * 38 > plain.operations
    assert cost.moves["H", "cache", "register"] == brute["load", "H"]
    assert cost.footprint["cache"] == 10 * 16
    s[H].compute_inline()
    assert te.cost(s).operations == 38 * 38 * (3 * 2 + 2)


def test_only_what_a_condition_lets_through_is_counted() -> None:
    X, Y, Z = te.tensor("X", (20,)), te.tensor("Y", (20,)), te.tensor("Z")
    Y[i] = te.sum(X[k] * X[i], where=(k <= i) & (k % 3 == 1))
    assert te.cost(Y).operations == 2 * sum(
        1 for a, b in itertools.product(range(20), range(20)) if b <= a and b % 3 == 1
    )
    Z[i] = te.where(i >= 5, X[i] * 2 + 1, X[i] * 3)
    assert te.cost(Z).operations == 15 * 2 + 5
    assert te.cost(te.pad(X, ((1, 1),))).moves["X", "global", "register"] == 20


def test_reducers_count_one_combination_a_value() -> None:
    X = te.tensor("X", (4, 9))
    for reducer, each in [("sum", 1), ("max", 1), ("argmax", 1), ("prod", 1)]:
        Y = te.tensor("Y")
        Y[i] = getattr(te, reducer)(X[i, k])
        assert te.cost(Y).operations == 36 * each, reducer


def test_registers_and_footprints() -> None:
    _A, B, C, s = matmul()
    assert te.cost(s).registers == 1
    cost = te.cost(s)
    assert cost.footprint["global"] == 37 * 23 + 29 * 23 + 37 * 29
    Bp = s.cache_read(B, "global", C)
    assert te.cost(s).footprint["global"] == cost.footprint["global"] + 29 * 23
    assert te.cost(s).moves["B", "global", "global"] == 29 * 23
    s[Bp].compute_at(s[C], j)
    assert te.cost(s).footprint["global"] == cost.footprint["global"] + 23


def test_symbolic_costs_are_those_of_numbers() -> None:
    n, v1, v2, v3 = (te.var(name) for name in ("n", "v1", "v2", "v3"))
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _io, jo, _ii, _ji = s[C].tile(i, j, v1, v2)
    s[Cr].compute_at(s[C], jo)
    ko, ki = s[Cr].split(k, factor=v3)
    s[Cr].reorder(ko, i, j, ki)
    for T in (A, B):
        s[s.cache_read(T, "register", Cr)].compute_at(s[Cr], ko)
    symbolic = te.cost(s)
    assert (
        str(symbolic.moves["A", "global", "register"]) == "n**3/v2"
        and str(symbolic.moves["B", "global", "register"]) == "n**3/v1"
    )
    assert str(symbolic.time) == "dram*(n**3/v2 + n**3/v1)" or "n**3/v1" in str(symbolic.time)
    for a, b, c in [(4, 6, 3), (2, 12, 1)]:
        numbers = symbolic.at(n=24, v1=a, v2=b, v3=c)
        concrete = te.cost(s.fixed(n=24, v1=a, v2=b, v3=c))
        assert (
            numbers.moves == concrete.moves
            and numbers.operations == concrete.operations
            and numbers.registers == concrete.registers
        )
        assert numbers.footprint == concrete.footprint


def test_numbers_that_do_not_divide_are_exact_beside_symbolic_factors() -> None:
    v1 = te.var("v1")
    _, _, C, s = matmul()
    Cr = s.cache_write(C, "cache")
    _, jo, _, _ = s[C].tile(i, j, v1, 16)
    s[Cr].compute_at(s[C], jo)
    s[Cr].split(k, factor=8)
    assert te.cost(s).operations == 2 * 37 * 29 * 23
    assert str(te.cost(s).footprint["cache"]) == "16*v1"
    _, _, C, s = matmul()
    s[C].split(j, factor=v1)
    _, ii = s[C].split(i, nparts=7)
    s[C].split(ii, factor=4)
    assert te.cost(s).operations == 2 * 37 * 29 * 23


def test_symbolic_sizes_of_a_triangle_and_a_convolution() -> None:
    import sympy

    n = te.var("n")
    X, Y = te.tensor("X", (n,)), te.tensor("Y", (n,))
    Y[i] = te.sum(X[k], where=k <= i)
    m = sympy.Symbol("n")
    found = te.cost(Y).operations
    assert sympy.simplify(found.subs(dict.fromkeys(found.free_symbols, m)) - m * (m + 1) / 2) == 0
    h = te.var("h", min=3)
    I, W = te.tensor("I", (h, h)), te.tensor("W", (3, 3))
    r, c = te.axes("r c")
    Z = te.tensor("Z")
    Z[y, x] = te.sum(I[y + r, x + c] * W[r, c])
    s = te.create_schedule(Z)
    s[Z].tile(y, x, 8, 8)
    found = te.cost(s).operations
    assert int(found.subs(dict.fromkeys(found.free_symbols, 66))) == 2 * 9 * 64 * 64


def test_bytes_intensity_and_predicted_seconds() -> None:
    _A, _B, _C, s = matmul(32, 32, 32)
    cost = te.cost(s)
    assert cost.bytes == 4 * 2 * 32**3
    assert cost.intensity == pytest.approx(0.25)
    machine = SimpleNamespace(peak_gflops={"float32": 100.0}, bandwidth={"dram": 1e10, "l1": 1e12})
    assert cost.seconds(machine) == pytest.approx(cost.bytes / 1e10)
    Z = te.tensor("Z")
    Z[()] = te.cast(1.0, "float32")
    assert te.cost(Z).intensity is None


def test_the_table() -> None:
    _A, _B, C, s = matmul(4, 4, 4)
    assert str(te.cost(s)).splitlines() == [
        "operations             128",
        "A: global to register  64",
        "B: global to register  64",
        "registers              1",
        "held in global         48",
        "bytes from memory      512",
        "operations a byte      0.25",
        "time                   128*dram",
    ]
    assert te.cost(s)._repr_html_().startswith("<table><tr><td>operations</td><td>128</td>")
    machine = SimpleNamespace(
        vector_bytes=16, l1_bytes=64, l2_bytes=128, peak_gflops={"float32": 1.0}, bandwidth={"dram": 1e9, "l1": 1e10}
    )
    s.cache_write(C, "cache")
    said = str(te.cost(s, machine=machine)).splitlines()
    assert said[-1] == "predicted seconds      5.12e-07" and not any("will not fit" in line for line in said)
    _, _, _, s = matmul(80, 4, 4)
    s.cache_write(s.outputs[0], "cache")
    cost = te.cost(s, machine=machine)
    assert "will not fit           the copies in the scope cache hold 1280 bytes, and L1 64. They do not fit L2" in str(
        cost
    )
    assert "<td>will not fit</td><td>the copies in the scope cache hold 1280 bytes" in cost._repr_html_()
    assert te.cost(s, machine=te.machine()).seconds(te.machine()) > 0
    with pytest.raises(te.ScheduleError, match=r"machine=3; te.machine\(\) gives the one that this is"):
        te.cost(s, machine=3)
    with pytest.raises(te.ScheduleError, match=r"te\.reuse takes a tensor, not 3"):
        te.reuse(3)
    both = te.cost([C, te.define("D[i] = sum(E[i,k])", E=(3, 5))])
    assert both.operations == 128 + 15


def test_names_of_tensors_that_share_one() -> None:
    A1, A2, P = te.tensor("A", (5,)), te.tensor("A", (5,)), te.tensor("P")
    P[i] = A1[i] * A2[0]
    assert te.cost(P).moves == {("A", "global", "register"): 5, ("A_1", "global", "register"): 5}


def test_reuse_of_a_softmax_and_of_a_diagonal() -> None:
    X = te.tensor("X", (4, 5))
    S = te.tensor("S")
    S[i, j] = te.exp(X[i, j]) / te.sum(te.exp(X[i, k]))
    assert te.reuse(S)["S.sum"] == {"j"} and te.reuse(S)["X"] == set()
    assert te.reuse(te.define("D[i,j] = Q[i,i] + R[j]", Q=(4, 4), R=(3,)))["Q"] == {"j"}
    assert te.reuse(X) == {}
    assert (
        str(te.reuse(te.define("D[i] = Q[i] + 1", Q=(4,))))
        == "Q: each element is used once\nD: each element is used once"
    )


def test_the_question_of_the_convolution() -> None:
    Y = te.define("Y[b,o,y,x] = sum(X[b,c,2*y+r,x+3*s] * W[o,c,r,s])", X=(2, 3, 9, 12), W=(4, 3, 3, 3))
    found = te.reuse(Y)
    assert found == {"X": {"o"}, "W": {"b", "y", "x"}, "Y": {"c", "r", "s"}}
    assert found.windows == {"X": ["2 * y + r", "x + 3 * s"]}
    assert (
        str(found).splitlines()[0]
        == "X: used again along o; in windows that overlap along 2 * y + r; in windows that overlap along x + 3 * s"
    )
    assert "<td>W</td><td>used again along b, x, y</td>" in found._repr_html_()
    mixed = te.reuse(
        te.define("D[i,j] = T[I[i+j]] + R[i//2 + j]", i=3, j=4, T=(9,), I=te.tensor("I", (9,), "int64"), R=(9,))
    )
    assert mixed.windows == {"I": ["i + j"]}


@pytest.mark.parametrize(
    ("definition", "shapes", "said"),
    [
        ("Y[y,x] = max(X[2*y+r,2*x+s])", {"X": (8, 8), "r": 2, "s": 2}, "each element is used once"),  # side by side
        ("Y[y,x] = max(X[2*y+r,2*x+s])", {"X": (8, 8), "r": 3, "s": 2}, "in windows that overlap along 2 * y + r"),
        ("Y[y] = max(X[y+4*r])", {"X": (12,), "Y": (4,), "r": 2}, "each element is used once"),
        ("Y[y] = max(X[y+4*r])", {"X": (12,), "Y": (5,), "r": 2}, "in windows that overlap along y + 4 * r"),
        ("Y[y,x] = X[y,x] + X[y,x+1] + X[y+1,x]", {"X": (8, 8)}, "in windows that overlap along y, y + 1; in windows that overlap along x, x + 1"),
        ("Y[y] = X[2*y] + X[2*y+1]", {"X": (8,)}, "each element is used once"),
        ("Y[y] = X[2*y] + X[2*y+2]", {"X": (8,)}, "in windows that overlap along 2 * y, 2 * y + 2"),
        ("Y[i,j] = X[i+j,j]", {"X": (8, 4), "i": 4}, "each element is used once"),  # a skew meets nothing twice
        ("Y[i,j,k] = X[i+j+k]", {"X": (9,), "i": 3, "j": 3}, "in windows that overlap along i + j + k"),
        ("Y[i,j] = X[i] * X[j]", {"X": (4,)}, "as [i] used again along j; as [j] used again along i; perhaps shared by [i], [j]"),
        ("Y[i] = X[i // 2]", {"X": (5,), "Y": (10,)}, "wherever i // 2 is the same"),
        ("Y[i,d] = X[I[i],d]", {"X": (9, 3), "I": te.tensor("I", (4,), "int64")}, "wherever I[i] is the same"),
    ],
)  # fmt: skip
def test_what_is_said_of_odd_accesses_is_so(definition: str, shapes: Any, said: str) -> None:
    assert te.reuse(te.define(definition, **shapes)).lines["X"] == said


def test_reuse_is_what_counting_finds() -> None:
    """Of affine accesses, reads at all points of the loops meet just where something is said to be used again."""
    source = Seeded(7)
    for _ in range(60):
        a, b, c, d = (source.choice([0, 1, 2, 3]) for _ in range(4))
        n, m = source.choice([2, 3, 4]), source.choice([1, 2, 3])
        X, Y = te.tensor("X", (40, 40)), te.tensor("Y", (n, m))
        Y[i, j] = X[a * i + b * j, c * i + d * j] * 2
        read = [(a * p + b * q, c * p + d * q) for p in range(n) for q in range(m)]
        found = te.reuse(Y)
        axes = {name for name, extent in (("i", n), ("j", m)) if extent > 1}
        assert (len(set(read)) < len(read)) == bool(found["X"] & axes or found.windows), (a, b, c, d, n, m, str(found))


def test_tensors_that_share_a_name_are_told_apart() -> None:
    A1, A2, P = te.tensor("A", (5,)), te.tensor("A", (5,)), te.tensor("P")
    P[i] = A1[i] * A2[0]
    assert te.reuse(P) == {"A": set(), "A_1": {"i"}, "P": set()}


def test_every_apply_of_extents_has_a_count() -> None:
    """A schedule with an odd split of a strided, divided access is counted as its loops run."""
    X, Y = te.tensor("X", (50,)), te.tensor("Y", (20,))
    Y[i] = X[2 * i] + X[(i // 3) + 4]
    s = te.create_schedule(Y)
    o, _n = s[Y].split(i, nparts=3)
    C = s.cache_read(X, "cache", Y)
    s[C].compute_at(s[Y], o)
    assert te.cost(s).moves["X", "global", "cache"] == counted(s)["load", "X"]
    assert not any(
        isinstance(n, Apply) and n.function == "divide"
        for st in s.stages
        for n in walk(*[e for p in st.state.parts for e in p.lhs])
    )
    assert np.isfinite(float(te.cost(s).operations))


def test_what_will_not_fit_is_said() -> None:
    machine = SimpleNamespace(vector_bytes=64, l1_bytes=32768, l2_bytes=2**21)
    n, b1, b2 = te.var("n"), te.var("b1", multiple_of=4), te.var("b2", multiple_of=8)
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    io, jo, _, _ = s[C].tile(i, j, b1, b2)
    s[s.cache_read(A, "cache", C)].compute_at(s[C], io)
    s[s.cache_read(B, "cache", C)].compute_at(s[C], jo)
    cost = te.cost(s)
    assert cost.problems(machine, n=256) == []
    assert cost.problems(machine, n=256, b1=16, b2=16) == []
    (problem,) = cost.problems(machine, n=1024)  # the lecture's panels: b1 + b2 < 8 would be needed
    assert (
        "hold 49152 bytes (4096*b1 + 4096*b2) even with b1=4, b2=8, so that no b1, b2 will do, and L1 32768" in problem
    )
    assert "They fit L2 (2097152 bytes)" in problem and "split the loop that is reduced over" in problem
    (problem,) = cost.problems(machine, n=4096, b1=256, b2=256)
    assert "hold 8388608 bytes, and L1 32768. They do not fit L2" in problem
    for size in ({"N": 1024}, {"n": "many"}, {"n": True}):
        with pytest.raises(
            te.ScheduleError, match=r"no size or factor of that name; it has b1, b2, n|a size is a whole number"
        ):
            cost.problems(machine, **size)
    A, B, C, s = matmul(64, 64, 8)
    Cr = s.cache_write(C, "register")
    io, jo, _ii, _ji = s[C].tile(i, j, 12, 48)
    s[Cr].compute_at(s[C], jo)
    (problem,) = te.cost(s).problems(machine)
    assert "the register tiles hold 2304 bytes, and the vector registers 2048" in problem


def test_tiles_of_tiles_say_what_their_sizes_can_be() -> None:
    """The constraints of the lecture, b1 % v1 = 0 and b2 % v2 = 0, need not be said again: the splits have them."""
    machine = SimpleNamespace(vector_bytes=64, l1_bytes=32768, l2_bytes=2**20)

    def panels(n: Any, v1: Any, v2: Any) -> Any:
        A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
        C[i, j] = te.sum(A[i, k] * B[j, k])
        s = te.create_schedule(C)
        io, jo, ib, jb = s[C].tile(i, j, te.var("b1"), te.var("b2"))
        s[C].tile(ib, jb, v1, v2)
        s[s.cache_read(A, "cache", C)].compute_at(s[C], io)
        s[s.cache_read(B, "cache", C)].compute_at(s[C], jo)
        return te.cost(s)

    (problem,) = panels(1024, 8, 32).problems(machine)
    assert "hold 163840 bytes (4096*b1 + 4096*b2) even with b1=8, b2=32, so that no b1, b2 will do" in problem
    assert panels(1024, 2, 6).problems(machine) == []  # 8 rows of 1024 just fit
    cost = panels(te.var("n"), te.var("v1"), te.var("v2", multiple_of=2))
    assert cost.problems(machine) == [] == cost.problems(machine, n=1024, v1=2)
    (problem,) = cost.problems(machine, n=1024, v1=4, v2=8)
    assert "even with b1=4, b2=8" in problem
    (problem,) = cost.problems(machine, n=8192)
    assert "even with b1=1, b2=2" in problem
