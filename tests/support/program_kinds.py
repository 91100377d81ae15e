"""Kinds of definitions that a random program is made of: each function adds one to a program and returns the tensors
made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from program_parts import EPS, Index, Made, Value, settle
from programs import Generator

import tedsl as te
from tedsl.lang import dtypes

i, j, t = te.axes("i j t")


def _define(g: Generator, scope: Sequence[Index], values: Sequence[Value]) -> list[Made]:
    """Tensors over the axes in scope: with a shape, or with extents to be inferred from an access by all the axes
    alone.
    """
    counts = tuple(a.count for a in scope)
    shape: Any = tuple(a.extent for a in scope)
    if g.inferring:
        anchor = g.input(shape, counts, "bool")
        keep = anchor.tensor[tuple(a.expr for a in scope)]
        values = [Value(te.where(keep, v.expr, te.cast(0, v.dtype)), v.bound, v.error, v.grain) for v in values]
        shape = None
    names = [g.fresh("T") for _ in values]
    if len(values) > 1:
        made = te.compute(
            tuple(a.extent for a in scope), lambda *p: tuple(_renamed(v.expr, scope, p) for v in values), name=names[0]
        )
    else:
        made = (te.tensor(names[0], shape),)
        made[0][tuple(a.expr for a in scope)] = values[0].expr
    return [Made(m, counts, v.bound, v.error, v.grain) for m, v in zip(made, values, strict=True)]


def _renamed(expr: Any, scope: Sequence[Index], names: Sequence[Any]) -> Any:
    from tedsl.lang.expr import substitute

    return substitute(expr, {a.expr: p for a, p in zip(scope, names, strict=True)})


def elementwise(g: Generator) -> list[Made]:
    g.inferring = g.chance(40)
    scope = g.axes()
    return _define(g, scope, [g.value(scope, g.source.integer(1, 3))])


def specials(g: Generator) -> list[Made]:
    """NaN and infinities through what has a rule of its own for them."""
    g.special, g.inferring = True, False
    count = g.source.integer(1, 8)
    dtype = g.source.choice(["float32", "float64"])
    a, b = (g.input((count,), (count,), dtype) for _ in range(2))
    p, q = a.tensor[i], b.tensor[i]
    function = g.source.choice(
        [
            lambda: te.maximum(p, q), lambda: te.minimum(p, q), lambda: p + q, lambda: p * q, lambda: te.where(p < q, p,
            q), lambda: te.sign(p) - q, lambda: te.where(te.isnan(p) | te.isinf(q), q, p), lambda: te.floor(p) +
            te.rint(q), lambda: abs(p) - te.trunc(q),
        ]
    )  # fmt: skip
    return _define(g, [Index(i, count, count)], [settle(function(), 4.0, 0.0, 2.0**-6)])


def reduction(g: Generator) -> list[Made]:
    g.inferring = g.chance(40)
    scope = g.axes(2)
    return _define(g, scope, [g.reduce(scope, g.source.integer(0, 2))])


def several(g: Generator) -> list[Made]:
    g.inferring = False
    scope = g.axes(2)
    return _define(g, scope, [g.value(scope, 2) for _ in range(2)])


def convolution(g: Generator) -> list[Made]:
    """Strides and dilation, extents inferred from the accesses."""
    stride, dilation, taps = g.source.integer(1, 3), g.source.integer(1, 2), g.source.integer(1, 3)
    size = (taps - 1) * dilation + 1 + g.source.integer(0, 6)
    x = g.input((2, size), (2, size), g.dtype("fi"))
    w = g.input((3, 2, taps), (3, 2, taps), g.dtype("fi"))
    f, c, y, r = te.axes("f c y r")
    made = te.tensor(g.fresh("T"))
    product = Value(
        x.tensor[c, stride * y + dilation * r] * w.tensor[f, c, r], x.bound * w.bound, 0.0, x.grain * w.grain
    )
    total = g.total(product, (c, r), None, 2 * taps)
    made[f, y] = total.expr
    return [Made(made, (3, (size - (taps - 1) * dilation - 1) // stride + 1), total.bound, total.error, total.grain)]


def softmax(g: Generator) -> list[Made]:
    rows, columns = g.extent(), g.extent(positive=True)
    x = g.input((rows[0], columns[0]), (rows[1], columns[1]), "float32" if g.chance(70) else "float64")
    k, l = te.axes("k l")
    made = te.tensor(g.fresh("T"))
    m = te.max(x.tensor[i, l])
    made[i, j] = te.exp(x.tensor[i, j] - m) / te.sum(te.exp(x.tensor[i, k] - m))
    return [Made(made, (rows[1], columns[1]), 1.0, 64 * columns[1] * EPS[made.dtype], 1.0)]


def padded(g: Generator) -> list[Made]:
    x = g.input((3, 4), (3, 4), g.dtype("fib"))
    widths = [(g.source.integer(0, 2), g.source.integer(0, 2)) for _ in range(2)]
    made = te.pad(x.tensor, widths, value=True if x.tensor.dtype == "bool" else 3)
    counts = tuple(n + a + b for n, (a, b) in zip((3, 4), widths, strict=True))
    return [Made(made, counts, max(x.bound, 3.0), 0.0, x.grain)]


def operators(g: Generator) -> list[Made]:
    """NumPy's operators on whole tensors."""
    rows, columns = g.extent(), g.extent()
    dtype = g.dtype("f")
    x = g.input((rows[0], columns[0]), (rows[1], columns[1]), dtype)
    v = g.input((columns[0],), (columns[1],), dtype)
    kind = g.source.choice(["broadcast", "matmul", "transpose", "sum", "slice"])
    if kind == "broadcast":
        made, counts, bound, grain = x.tensor * 2 + v.tensor, (rows[1], columns[1]), 6.0, 0.125
    elif kind == "matmul":
        made, counts, bound, grain = x.tensor @ v.tensor, (rows[1],), 4.0 * max(columns[1], 1), 2.0**-6
    elif kind == "transpose":
        made, counts, bound, grain = x.tensor.T - 1, (columns[1], rows[1]), 3.0, 0.125
    elif kind == "sum":
        made, counts, bound, grain = x.tensor.sum(axis=0), (columns[1],), 2.0 * max(rows[1], 1), 0.125
    elif isinstance(rows[0], int) and rows[1] > 1:
        made, counts, bound, grain = x.tensor[1:, :], (rows[1] - 1, columns[1]), 2.0, 0.125
    else:
        made, counts, bound, grain = -x.tensor, (rows[1], columns[1]), 2.0, 0.125
    return [Made(made, counts, bound, 0.0, grain)]


def running(g: Generator) -> list[Made]:
    """A linear recurrence along the first or the last index."""
    steps, width = g.extent(), g.extent()
    dtype = g.dtype("f") if not g.special else "int32"
    x = g.input((steps[0], width[0]), (steps[1], width[1]), dtype)
    s = te.tensor(g.fresh("S"), (steps[0], width[0]), dtype)
    form = g.source.choice(["parts", "where", "last", "cumulative"])
    if form == "parts" and steps[0] != 0:
        # a symbolic number of steps may be 0, when there is no first one to read
        s[0, j] = x.tensor[0, j] if isinstance(steps[0], int) else te.cast(1, dtype)
        s[t, j] = s[t - 1, j] + x.tensor[t, j]
    elif form in ("parts", "where"):
        s[t, j] = te.where(t >= 1, s[t - 1, j], 0) + x.tensor[t, j]
    elif form == "last":
        s[t, j] = te.where(j >= 1, s[t, j - 1], 0) - x.tensor[t, j]
    else:
        s[t, j] = te.where(t >= 1, te.maximum(s[t - 1, j], x.tensor[t, j]), x.tensor[t, j])
    return [Made(s, (steps[1], width[1]), 9.0 * (steps[1] + width[1] + 1), 0.0, x.grain)]


def table(g: Generator) -> list[Made]:
    """Dynamic programming over two indices, as in an edit distance."""
    n, m = g.source.integer(1, 5), g.source.integer(1, 5)
    x = g.input((n, m), (n, m), "int32")
    d = te.tensor(g.fresh("D"), (n, m), "int32")
    d[0, j] = te.cast(j, "int32")
    d[i, 0] = te.cast(i, "int32")
    d[i, j] = te.minimum(te.minimum(d[i - 1, j], d[i, j - 1]) + 1, d[i - 1, j - 1] + x.tensor[i, j])
    return [Made(d, (n, m), 60.0, 0.0, 1.0)]


def patchwork(g: Generator) -> list[Made]:
    """Equations for single rows, columns and elements in the midst of others."""
    n, m = g.source.integer(2, 5), g.source.integer(2, 5)
    x = g.input((n, m), (n, m), g.dtype("fi"))
    row, column = g.source.integer(0, n - 1), g.source.integer(0, m - 1)
    made = te.tensor(g.fresh("P"), (n, m), x.tensor.dtype)
    first = g.source.choice(["row", "column", "element"])
    if first == "element":
        made[row, column] = 5
    if first != "column":
        made[row, j] = 1 - x.tensor[row, j]
    made[i, column] = x.tensor[i, column] * 2
    if first == "column":
        made[row, j] = te.cast(j, x.tensor.dtype)
    made[i, j] = x.tensor[i, j]
    return [Made(made, (n, m), max(settle(x.tensor[0, 0] * 2, x.bound * 2).bound, 6.0), 0.0, x.grain)]


def network(g: Generator) -> list[Made]:
    """A recurrent network: a reduction inside the loop; with a gate, two tensors that need each other."""
    steps, width = g.source.integer(1, 5), g.source.integer(1, 4)
    k = te.reduce_axis(width, "k")
    x = g.input((steps, width), (steps, width), "float64")
    w = g.input((width, width), (width, width), "float64")
    h = te.tensor(g.fresh("H"), (steps, width), "float64")
    error = 1e-9
    if g.special:
        return running(g)
    if g.chance(50):
        h[0, j] = te.tanh(x.tensor[0, j])
        h[t, j] = te.tanh(te.sum(h[t - 1, k] * w.tensor[k, j], axis=k) / 8 + x.tensor[t, j])
        return [Made(h, (steps, width), 1.0, error, 1.0)]
    c = te.tensor(g.fresh("C"), (steps, width), "float64")
    c[0, j] = x.tensor[0, j]
    c[t, j] = te.sigmoid(te.sum(h[t - 1, k] * w.tensor[j, k], axis=k) / 8) * c[t - 1, j] + x.tensor[t, j]
    h[0, j] = te.tanh(c[0, j])
    h[t, j] = te.tanh(c[t, j]) * te.sigmoid(x.tensor[t, j])
    return [Made(c, (steps, width), 2.0 * steps, error, 1.0), Made(h, (steps, width), 1.0, error, 1.0)]


def fibonacci(g: Generator) -> list[Made]:
    n = g.source.integer(3, 12)
    f = te.tensor(g.fresh("F"), (n,), g.source.choice(["int64", "int8", "uint16"]))
    f[0] = 1
    f[1] = 1
    f[t] = f[t - 1] + f[t - 2]
    return [Made(f, (n,), float(dtypes.limits(f.dtype)[1]), 0.0, 1.0)]


def lookup(g: Generator) -> list[Made]:
    """Rows of a table, by an index that is itself computed."""
    rows, picks = g.source.integer(1, 5), g.extent()
    values = g.input((rows, 3), (rows, 3), g.dtype())
    index = g.input((picks[0],), (picks[1],), g.source.choice(["int32", "uint8", "int64"]), rows)
    made = te.tensor(g.fresh("E"))
    made[i, j] = values.tensor[rows - 1 - index.tensor[i] if g.chance(40) else index.tensor[i], j]
    return [Made(made, (picks[1], 3), values.bound, 0.0, values.grain)]


def total(g: Generator) -> list[Made]:
    """Rank 0, of a tensor made before when there is one."""
    made = te.tensor(g.fresh("L"))
    source = g.source.choice(g.made) if g.made else None
    if source is None or source.tensor.rank > 3 or source.tensor.dtype == "float16":
        x = g.input((), (), "float32")
        made[()] = x.tensor[()] * 2 + 1
        return [Made(made, (), 5.0, 0.0, 0.125)]
    axes = te.axes(["a", "b", "c"])[: source.tensor.rank]
    element = source.tensor[axes]
    count = 1
    for n in source.shape:
        count *= max(n, 1)
    if not axes:
        value = (
            settle(element + 0, source.bound, source.error, source.grain)
            if made.dtype != "bool"
            else Value(element, 1.0)
        )
    else:
        value = g.total(Value(element, source.bound, source.error, source.grain), axes, None, count)
    made[()] = value.expr
    return [Made(made, (), value.bound, value.error, value.grain)]


KINDS: list[Callable[[Generator], list[Made]]] = [
    elementwise, elementwise, elementwise, reduction, reduction, reduction, convolution, softmax, several, padded,
    operators, running, table, patchwork, specials, network, fibonacci, lookup, total,
]  # fmt: skip
