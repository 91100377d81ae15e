"""The cost model against counting by doing: random schedules of affine programs, in numbers and in symbols."""

from __future__ import annotations

from typing import Any

import pytest
from loads import counts
from program_parts import Seeded
from schedules import Walk

import tedsl as te

i, j, k, y, x, r, c = te.axes("i j k y x r c")


def matmul(n: int, m: int, depth: int) -> Any:
    A, B, C = te.tensor("A", (n, depth)), te.tensor("B", (m, depth)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return C


def convolution(n: int, m: int, window: int) -> Any:
    X, W, Y = te.tensor("X", (2, n + window, m + window)), te.tensor("W", (2, window, window)), te.tensor("Y")
    Y[y, x] = te.sum(X[k, y + r, x + c] * W[k, r, c])
    return Y


def strided(n: int, m: int, window: int) -> Any:
    X, Y = te.tensor("X", (2 * n + window, m)), te.tensor("Y")
    Y[y, x] = te.max(X[2 * y + r, x], axis=te.reduce_axis(window, "r"))
    return Y


def stencils(n: int, m: int, window: int) -> Any:
    X, H, V = te.tensor("X", (n + 2, m + 2)), te.tensor("H"), te.tensor("V")
    H[y, x] = X[y, x] + X[y, x + 1] * X[y, x + 2]
    V[y, x] = (H[y, x] + H[y + 1, x]) * 0.5
    return V


def triangle(n: int, m: int, window: int) -> Any:
    X, Y = te.tensor("X", (n,)), te.tensor("Y")
    Y[i] = te.sum(X[k] * X[i], where=k <= i)
    return Y


def padded(n: int, m: int, window: int) -> Any:
    P = te.pad(te.tensor("X", (n, m)), ((1, window), (0, 2)))
    Y = te.tensor("Y")
    Y[y, x] = te.sum(P[y + r, x] * 3.0, axis=te.reduce_axis(2, "r"))
    return Y


def bordered(n: int, m: int, window: int) -> Any:
    X, Z = te.tensor("X", (n, m)), te.tensor("Z")
    Z[y, x] = te.where(y + x >= window, X[y, x] * 2 + 1, X[y, x] * 3)
    return Z


def softmax(n: int, m: int, window: int) -> Any:
    X, S = te.tensor("X", (n, m)), te.tensor("S")
    S[i, j] = te.exp(X[i, j]) / te.sum(te.exp(X[i, k]))
    return S


PROGRAMS = [matmul, convolution, strided, stencils, triangle, padded, bordered, softmax]


def check(s: Any) -> None:
    cost, done = te.cost(s), counts(s)
    shown = f"{s.history}\n{cost}"
    assert cost.operations == done.operations, shown
    assert {key: n for key, n in cost.moves.items() if n} == dict(done.moves), shown
    held = {scope: n for scope, n in cost.footprint.items() if scope != "global" and n}
    assert held == {scope: n for scope, n in done.held.items() if scope != "global" and n}, shown
    assert all(isinstance(n, int) for n in (cost.operations, *cost.moves.values(), *cost.footprint.values())), shown


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_numbers_are_exact(program: Any) -> None:
    for seed in range(25):
        source = Seeded(seed)
        s = te.create_schedule(
            program(*(source.choice([1, 2, 3, 5, 6, 8, 9]) for _ in range(2)), source.choice([1, 2, 3]))
        )
        check(s)
        walk = Walk(s, source)
        for _ in range(8):
            walk.step()
        check(s)


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from tedsl.schedule.cost.trip_counts import Trips

    counted = Trips.count
    monkeypatch.setattr(Trips, "count", lambda self, chain: counted(self, chain) + (len(chain) > 4))
    s = te.create_schedule(matmul(6, 5, 4))
    check(s)
    s["C"].tile("i", "j", 4, 2)
    with pytest.raises(AssertionError, match="tile"):
        check(s)


FORMULAS = {
    "register tiles": ["v1", "v2", "v3"],
    "cache tiles": ["b1", "b2"],
    "a convolution in tiles": ["v1", "v2"],
    "a stencil at a tile": ["v1", "v2"],
}


def symbolic(name: str, n: Any, of: dict[str, Any]) -> Any:
    """A schedule whose sizes and factors may be symbols."""
    if name in ("register tiles", "cache tiles"):
        C = matmul(n, n, n)
        A, B = C.inputs
        s = te.create_schedule(C)
        if name == "register tiles":
            Cr = s.cache_write(C, "register")
            _, jo, _, _ = s[C].tile(i, j, of["v1"], of["v2"])
            s[Cr].compute_at(s[C], jo)
            ko, ki = s[Cr].split(k, factor=of["v3"])
            s[Cr].reorder(ko, i, j, ki)
            for T in (A, B):
                s[s.cache_read(T, "register", Cr)].compute_at(s[Cr], ko)
        else:
            io, jo, _, _ = s[C].tile(i, j, of["b1"], of["b2"])
            s[s.cache_read(A, "cache", C)].compute_at(s[C], io)
            s[s.cache_read(B, "cache", C)].compute_at(s[C], jo)
        return s
    if name == "a convolution in tiles":
        X, W, Y = te.tensor("X", (2, n + 2, n + 2)), te.tensor("W", (2, 3, 3)), te.tensor("Y", (n, n))
        Y[y, x] = te.sum(X[k, y + r, x + c] * W[k, r, c])
        s = te.create_schedule(Y)
        _, xo, _, _ = s[Y].tile(y, x, of["v1"], of["v2"])
        s[s.cache_read(X, "cache", Y)].compute_at(s[Y], xo)
        return s
    X, H, V = te.tensor("X", (n + 1, n)), te.tensor("H", (n + 1, n)), te.tensor("V", (n, n))
    H[y, x] = X[y, x] * X[y, x]
    V[y, x] = H[y, x] + H[y + 1, x]
    s = te.create_schedule(V)
    _, xo, _, _ = s[V].tile(y, x, of["v1"], of["v2"])
    s[H].compute_at(s[V], xo)
    s[H].set_scope("cache")
    return s


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_what_is_counted(name: str) -> None:
    factors = FORMULAS[name]
    cost = te.cost(symbolic(name, te.var("n"), {f: te.var(f) for f in factors}))
    assert any({str(symbol) for symbol in n.free_symbols} & set(factors) for n in cost.moves.values())
    for seed in range(6):
        source = Seeded(seed)
        numbers = {f: source.choice([1, 2, 3, 4, 6, 12]) for f in factors}
        done = counts(symbolic(name, 12, numbers))
        at = cost.at(n=12, **numbers)
        assert at.operations == done.operations, (cost.operations, numbers)
        assert dict(at.moves) == dict(done.moves), (cost.moves, numbers)
        for scope in ("cache", "register"):
            assert at.footprint.get(scope, 0) == done.held.get(scope, 0), (scope, cost.footprint, numbers)
