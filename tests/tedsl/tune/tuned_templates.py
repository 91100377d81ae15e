"""Templates for the tests of the tuner: other processes import them by name."""

from __future__ import annotations

import os
import time

import tedsl as te

i, j, k = te.axes("i j k")


@te.template
def matmul(cfg, n):
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    v1, v2 = cfg.choice("v1", [1, 2, 4]), cfg.choice("v2", [4, 8])
    Cr = s.cache_write(C, "register")
    _, jo, ii, ji = s[C].tile(i, j, v1, v2)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder(k, i, j)
    s[Cr].vectorize(j)
    s[Cr].unroll(i)
    return s, [A, B, C]


@te.template
def bad(cfg, n):
    kind = cfg.choice("kind", ["good", "illegal", "crash", "error", "refused", "memory"])
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] * 2
    s = te.create_schedule(B)
    if kind == "illegal":
        s[B].split(i, factor=0)
    if kind == "crash":
        os.abort()
    if kind == "error":
        raise RuntimeError("what a template may raise")
    if kind == "memory":
        raise MemoryError
    cfg.require(kind != "refused")
    return s, [A, B]


@te.template
def sleepy(cfg, n):
    time.sleep(cfg.choice("seconds", [0, 1000]))
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    return te.create_schedule(B), [A, B]


@te.template
def never(cfg, n):
    cfg.boolean("b")
    cfg.require(False, "n is no square")


@te.template
def fails_at_once(cfg, n):
    cfg.choice("v", [])


@te.template
def plain(cfg, n):
    """No knobs, and the arguments as they are read."""
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    return te.create_schedule(B)


@te.template
def same(cfg, n):
    """Three configurations, two kernels."""
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    s = te.create_schedule(B)
    s[B].split(i, factor={1: 4, 2: 4, 3: 8}[cfg.choice("which", [1, 2, 3])])
    return s, [A, B]


@te.template
def symbolic(cfg):
    n = te.var("n")
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    s = te.create_schedule(B)
    s[B].split(i, factor=cfg.choice("f", [4, 8]))
    return s, [A, B]


@te.template
def gather(cfg, n):
    T, idx, E = te.tensor("T", (n, 3)), te.tensor("idx", (5,), "int64"), te.tensor("E")
    E[i, j] = T[idx[i], j]
    s = te.create_schedule(E)
    if cfg.boolean("parallel"):
        s[E].parallel(i)
    return s, [T, idx, E]


DOT = """\
static inline void dot_8(float *c, const float *a, const float *b)
{
    float sum = 0;
    for (int n = 0; n < 8; n++) sum += a[n] * b[n];
    *c += sum;
}
"""


@te.template
def intrinsic(cfg, n):
    """A product by an intrinsic that says that it computes a dot product; of two of them that is not so."""
    said = cfg.choice("said", ["nothing", "the truth", "one product too few", "a sum instead of a product"])
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    source = DOT
    if said == "one product too few":
        source = DOT.replace("n < 8", "n < 7")
    if said == "a sum instead of a product":
        source = DOT.replace("a[n] * b[n]", "a[n] + b[n]")
    if said != "nothing":
        m = te.axes("m")
        a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
        c[()] = te.sum(a[m] * b[m])
        _, ki = s[C].split(k, factor=8)
        s[C].tensorize(ki, te.intrinsic("dot_8", c, "dot_8({c}, {a}, {b})", source))
    return s, [A, B, C]


@te.template
def spoiler(cfg, n):
    """Kernels that write to their inputs, before them and after them the same without."""
    does = cfg.choice("does", ["nothing at first", "writes to an input", "writes to an input at the end", "nothing"])
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    source = DOT.replace("dot_8", f"dot_{len(does)}")
    if does == "writes to an input":
        source = source.replace("*c += sum", "((float *)a)[0] = 9; *c += sum")
    if does == "writes to an input at the end":  # what it read is right
        source = source.replace("*c += sum", "*c += sum; ((float *)b)[0] += 1e-7f")
    m = te.axes("m")
    a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
    c[()] = te.sum(a[m] * b[m])
    _, ki = s[C].split(k, factor=8)
    s[C].tensorize(ki, te.intrinsic(f"dot_{len(does)}", c, f"dot_{len(does)}({{c}}, {{a}}, {{b}})", source))
    return s, [A, B, C]
