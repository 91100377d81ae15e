"""Kinds of definitions that are hard to differentiate: they read one tensor in many ways, step, fold, tie, or take windows.

Each function adds one to a program and returns the tensors made, as those of `program_kinds` do. What they make is smooth but for
ties, which they draw often: values are multiples of 1/8, so maxima are attained several times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from program_parts import GREATEST, LSE, Made
from programs import Generator

import tedsl as te

i, j, k, t, r, s, y, x = te.axes("i j k t r s y x")

UNKNOWN = 1e-9  # the error of what nothing exact is to be made of


def _welford(p: Any, q: Any) -> Any:
    count = p[0] + q[0]
    safe, delta = te.maximum(count, 1.0), q[1] - p[1]
    return count, p[1] + delta * q[0] / safe, p[2] + q[2] + delta * delta * p[0] * q[0] / safe


def _turned(p: Any, q: Any) -> Any:
    """The product of complex numbers: each component depends on both."""
    return p[0] * q[0] - p[1] * q[1], p[0] * q[1] + p[1] * q[0]


LARGEST = te.reducer(-1e4, te.maximum)
WELFORD = te.reducer((0.0, 0.0, 0.0), _welford)
TURNED = te.reducer((1.0, 0.0), _turned)


def _table(g: Generator, *shape: int) -> te.Tensor:
    """A new input of real numbers."""
    return g.input(shape, shape, g.source.choice(["float32", "float64"])).tensor


def _indices(g: Generator, top: int, *shape: int) -> te.Tensor:
    return g.input(shape, shape, g.source.choice(["int32", "int64", "uint8"]), top).tensor


def _made(g: Generator, tensor: te.Tensor, *shape: int, bound: float = 1e3) -> list[Made]:
    return [Made(tensor, shape, bound, UNKNOWN, 1.0)]


def _smooth(g: Generator, e: Any) -> Any:
    return g.source.choice([te.tanh, te.sin, lambda v: te.exp(te.minimum(v, 2.0)), lambda v: v * v, lambda v: v])(e)


# One tensor, read in many ways ---------------------------------------------------------------------------------------------------------------


def _place(g: Generator, axes: Sequence[tuple[Any, int]], size: int) -> Any:
    """An index below `size` over axes with their extents."""
    (a, n), (b, m) = g.source.choice(axes), g.source.choice(axes)
    c, d = g.source.integer(1, 5), g.source.integer(2, 5)
    kind = g.source.choice(
        [
            "rotate",
            "mix",
            "digit",
            "quotient",
            "clamp",
            "mirror",
            "constant",
            "data",
            "chained",
            "choice",
            "cases",
            "alone",
        ]
    )
    if kind == "alone" and n <= size:
        return a
    if kind == "rotate":
        return (c * a + d) % size
    if kind == "digit":
        return ((c * a + b) // d) % size
    if kind == "quotient":
        return te.minimum((a + c * b) // d, size - 1)
    if kind == "clamp":
        return te.maximum(te.minimum(a - 1, size - 1), 0)
    if kind == "mirror":
        return te.abs(a - c) % size
    if kind == "data":
        return _indices(g, size, n)[a]
    if kind == "chained":
        return _indices(g, size, d)[_indices(g, d, n)[a]]
    if kind == "choice":
        values = _table(g, n, size)
        return (
            te.argmax(values[a, t], axis=te.reduce_axis(size, "t"))
            if g.chance(50)
            else te.argmin(values[a, t], axis=te.reduce_axis(size, "t"))
        )
    if kind == "cases":
        return te.where(a < c, te.minimum(a, size - 1), te.where(b % 2 == 0, 0, size - 1))
    if kind == "mix":
        return (c * a + d * b + g.source.integer(0, 3)) % size
    return g.source.integer(0, size - 1)


def reread(g: Generator) -> list[Made]:
    """Products of reads of one tensor, perhaps summed."""
    shape = tuple(g.source.integer(1, 6) for _ in range(g.source.integer(1, 2)))
    table = _table(g, *shape)
    n, m, inner = g.source.integer(1, 6), g.source.integer(1, 5), g.source.integer(1, 4)
    axes: list[tuple[Any, int]] = [(i, n), (j, m)]
    reduced = g.chance(60)
    q = te.reduce_axis(inner, "q")
    if reduced:
        axes.append((q, inner))
    value: Any = None
    for _ in range(g.source.integer(1, 3)):
        read = table[tuple(_place(g, axes, size) for size in shape)]
        read = _smooth(g, read)
        if g.chance(30):
            read = te.where(
                g.source.choice([i < j, i % 2 == 0, i + j > 2, read > 0]), read, g.source.choice([0.5, read * 2.0])
            )
        value = (
            read
            if value is None
            else g.source.choice([lambda p, q: p * q, lambda p, q: p + q, te.maximum])(value, read)
        )
    if reduced:
        value = _folded(g, value, (q,), g.source.choice([None, q <= i, q % 2 == 0, (q + j) % 3 == 1]))
    made = te.tensor(g.fresh("R"), (n, m))
    made[i, j] = value
    return _made(g, made, n, m)


# Reductions ------------------------------------------------------------------------------------------------------------------------------------


def _folded(g: Generator, value: Any, axis: tuple[Any, ...], where: Any) -> Any:
    kind = g.source.choice(["sum", "sum", "prod", "max", "min", "largest", "greatest", "welford", "turned", "lse"])
    if kind in ("max", "min") and where is not None:
        kind = "sum"
    if kind in ("sum", "prod", "max", "min"):
        return getattr(te, kind)(value, axis=axis, where=where)
    if kind == "largest":
        return LARGEST(value, axis=axis, where=where)
    if kind == "greatest":
        return GREATEST(value, axis=axis, where=where)
    if kind == "welford":
        _, mean, squares = WELFORD((1.0, value, 0.0), axis=axis, where=where)
        return mean * squares + mean
    if kind == "turned":
        a, b = TURNED((te.tanh(value), value * 0.5), axis=axis, where=where)
        return a + b
    m, total = LSE((value, 1.0), axis=axis, where=where)
    return te.maximum(m, -100.0) + te.log(total + 1.0)


def folded(g: Generator) -> list[Made]:
    """Reducers of all kinds over one or two axes; elements repeated and tied."""
    n, m, l = (g.source.integer(1, 4) for _ in range(3))
    a, b = _table(g, n, m), _table(g, m, l)
    p, q = te.reduce_axis(m, "p"), te.reduce_axis(l, "q")
    value = g.source.choice(
        [lambda: a[i, p] * b[p, q], lambda: a[i, p] + 0.0 * b[p, q], lambda: te.tanh(a[i, p]) - b[p, q]]
    )()
    where = g.source.choice([None, None, p <= q, a[i, p] > -1.0, (p + q) % 2 == 0])
    made = te.tensor(g.fresh("F"), (n,))
    made[i] = _smooth(g, _folded(g, value, (p, q), where))
    return _made(g, made, n)


def nested(g: Generator) -> list[Made]:
    """A reduction in a reduction in an expression."""
    n, m, l = (g.source.integer(1, 4) for _ in range(3))
    a = _table(g, n, m, l)
    p, q = te.reduce_axis(m, "p"), te.reduce_axis(l, "q")
    inner = _smooth(g, _folded(g, a[i, p, q], (q,), None))
    outer = _folded(g, inner * a[i, p, 0], (p,), g.source.choice([None, p <= i]))
    made = te.tensor(g.fresh("N"), (n,))
    made[i] = outer * g.source.choice([1.0, 0.5]) + a[i, 0, 0]
    return _made(g, made, n)


# Windows ---------------------------------------------------------------------------------------------------------------------------------------


def pooled(g: Generator) -> list[Made]:
    """Windows that overlap or leave gaps, padded or not, of sums, products and extremes, weighted or not."""
    size, taps = g.source.integer(1, 9), g.source.integer(1, 3)
    stride, dilation, border = g.source.integer(1, 3), g.source.integer(1, 2), g.source.integer(0, 2)
    reach = dilation * (taps - 1) + 1
    count = (size + 2 * border - reach) // stride + 1
    if count < 1:
        size, count = size + reach, (size + reach + 2 * border - reach) // stride + 1
    image = _table(g, 2, size)
    source = te.pad(image, ((0, 0), (border, border))) if border else image
    w = _table(g, 2, taps) if g.chance(50) else None
    tap = te.reduce_axis(taps, "r")
    value = source[i, stride * y + dilation * tap]
    if w is not None:
        value = value * w[i, tap]
    made = te.tensor(g.fresh("W"), (2, count))
    made[i, y] = _folded(g, value, (tap,), None)
    return _made(g, made, 2, count)


def transposed(g: Generator) -> list[Made]:
    """A strided convolution written the other way round: a sum over what reaches an element, under a condition."""
    size, taps, stride = g.source.integer(1, 4), g.source.integer(1, 3), g.source.integer(1, 3)
    a, w = _table(g, size), _table(g, taps)
    tap = te.reduce_axis(taps, "r")
    count = stride * (size - 1) + taps
    made = te.tensor(g.fresh("U"), (count,))
    inside = ((i - tap) % stride == 0) & (i >= tap) & (i - tap <= stride * (size - 1))
    made[i] = te.sum(a[(i - tap) // stride] * w[tap], axis=tap, where=inside)
    return _made(g, made, count)


# Recurrences -----------------------------------------------------------------------------------------------------------------------------------


def steps(g: Generator) -> list[Made]:
    """One or two tensors, of perhaps different lengths, over steps that read one or more steps back."""
    n, width = g.source.integer(2, 5), g.source.integer(1, 3)
    a, u = _table(g, n, width), _table(g, width, width)
    q = te.reduce_axis(width, "q")
    first = te.tensor(g.fresh("S"), (n, width), "float64")
    kind = g.source.choice(
        ["plain", "product", "largest", "extreme", "earlier", "gathered", "stopped", "lagged", "pair"]
    )
    start = a[0, j] * 1.0
    first[0, j] = start
    if kind == "plain":
        first[t, j] = te.tanh(te.sum(first[t - 1, q] * u[q, j], axis=q)) + a[t, j]
    elif kind == "product":
        first[t, j] = te.prod(te.tanh(first[t - 1, q] + u[q, j]), axis=q) * a[t, j]
    elif kind == "largest":
        first[t, j] = LARGEST(first[t - 1, q] * u[q, j], axis=q) / 2.0 + a[t, j]
    elif kind == "extreme":
        first[t, j] = te.max(first[t - 1, q] + u[q, j], axis=q) - a[t, j]
    elif kind == "earlier":
        back = te.reduce_axis(n, "b")
        first[t, j] = te.sum(te.sin(first[back, j]) * a[back, j], axis=back, where=back < t) + a[t, j]
    elif kind == "gathered":
        index = _indices(g, width, n)
        first[t, j] = te.tanh(first[t - 1, index[t]]) * u[index[t], j] + te.where(a[t, j] > 0, first[t - 1, j], 0.5)
    elif kind == "stopped":
        first[t, j] = te.stop_gradient(first[t - 1, j]) * a[t, j] + te.sin(first[t - 1, j])
    elif kind == "lagged":
        first[1, j] = te.sin(a[1, j])
        first[t, j] = te.tanh(first[t - 1, j]) * first[t - 2, j] + a[t, 0]
    else:
        return _pair(g, n, width, a, u, q)
    return _made(g, first, n, width)


def _pair(g: Generator, n: int, width: int, a: te.Tensor, u: te.Tensor, q: Any) -> list[Made]:
    """Two tensors that need each other; the second may be a step longer, as states between inputs are."""
    longer = g.source.integer(0, 1)
    p, h = te.tensor(g.fresh("P"), (n + longer, width), "float64"), te.tensor(g.fresh("H"), (n, width), "float64")
    p[0, j] = te.sin(a[0, j])
    p[t, j] = te.tanh(h[t - 1, j]) * te.sum(p[t - 1, q] * u[q, j], axis=q) / 2.0
    h[t, j] = te.tanh(p[t, j] * a[t, j]) + (te.where(t >= 1, h[t - 1, 0], 0.25) if g.chance(50) else 0.0)
    return [Made(p, (n + longer, width), 1e3, UNKNOWN, 1.0), Made(h, (n, width), 1e3, UNKNOWN, 1.0)]


def grid(g: Generator) -> list[Made]:
    """Steps along two axes."""
    n, m = g.source.integer(1, 4), g.source.integer(1, 4)
    a = _table(g, n, m)
    made = te.tensor(g.fresh("G"), (n, m), "float64")
    made[0, j] = a[0, j] * 1.0
    made[i, 0] = te.sin(a[i, 0])
    made[i, j] = te.maximum(made[i - 1, j], made[i, j - 1]) * 0.5 + made[i - 1, j - 1] * a[i, j]
    return _made(g, made, n, m)


def stopped(g: Generator) -> list[Made]:
    """Constants as far as derivatives are concerned."""
    n, m = g.source.integer(1, 4), g.source.integer(1, 4)
    a = _table(g, n, m)
    made = te.tensor(g.fresh("C"), (n, m))
    q = te.reduce_axis(m, "q")
    made[i, j] = te.exp(a[i, j] - te.stop_gradient(te.max(a[i, q], axis=q))) * te.stop_gradient(a)[i, 0] + a[0, j]
    return _made(g, made, n, m)


def scalar(g: Generator) -> list[Made]:
    """Rank 0 in, out, or both, of everything made before."""
    a = g.input((), (), "float64").tensor
    made = te.tensor(g.fresh("L"))
    value = te.sin(a[()]) * a[()]
    for m in g.made[-2:]:
        if m.tensor.dtype in ("float32", "float64"):
            axes = tuple(te.reduce_axis(d, f"{name}_") for name, d in zip("abcd", m.tensor.shape))
            element = te.tanh(m.tensor[axes] * a[()])
            value = value + (te.sum(element, axis=axes) if axes else element)
    made[()] = value
    return _made(g, made)


GRADIENT_KINDS: list[Callable[[Generator], list[Made]]] = [
    reread, reread, reread, folded, folded, nested, pooled, pooled, transposed, steps, steps, grid, stopped, scalar,
]  # fmt: skip
