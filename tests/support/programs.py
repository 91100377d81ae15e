"""Random programs: definitions of every kind, with arrays to run them on and the error that rounding may cause.

A program is drawn from a `Source`, which is a seeded generator or hypothesis. It is valid by construction. Every value
carries a bound on its size, a bound on its rounding error and, while that is 0, the grain that it is a multiple of. So
comparisons, roundings and conversions are only made of values that are exact whatever the order of operations, and a
result can be judged by an error bound instead of a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from program_parts import (
    EPS,
    GREATEST,
    LSE,
    PAIR,
    SMOOTH,
    Index,
    Made,
    Program,
    Source,
    Value,
    rounding,
    settle,
    sizes_of,
    tensors_below,
)

import tedsl as te
from tedsl.lang import dtypes
from tedsl.lang.expr import Expr


def generate(source: Source, half: bool = False, kinds: Sequence[Any] = ()) -> Program:
    """A random program. half: float16 may occur. kinds: of definitions, other than those of `program_kinds`."""
    return Generator(source, half).program(kinds)


@dataclass
class Generator:
    source: Source
    half: bool = False
    inputs: dict[te.Tensor, np.ndarray] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    names: int = 0
    inferring: bool = False  # whether the extents of the definition under way are to follow from what it reads

    def __post_init__(self) -> None:
        self.special = self.chance(20)  # NaN and infinities
        self.rng = np.random.default_rng(self.source.integer(0, 2**16))
        self.vars: list[tuple[Any, int]] = []
        if self.chance(30):
            for name in ("m", "n")[: self.source.integer(1, 2)]:
                least = self.source.integer(0, 1)
                size = self.source.integer(least, 6)
                self.vars.append((te.var(name, min=least), size))
                self.sizes[name] = size

    def chance(self, percent: int) -> bool:
        return self.source.integer(1, 100) > 100 - percent

    def fresh(self, letter: str) -> str:
        self.names += 1
        return f"{letter}{self.names}"

    # Programs ---------------------------------------------------------------------------------------------------------

    def program(self, kinds: Sequence[Any] = ()) -> Program:
        from program_kinds import KINDS

        for _ in range(self.source.integer(1, 3)):
            made = self.source.choice(kinds or KINDS)(self)
            self.made += made
        read_later = len(self.made)
        chosen = [m for n, m in enumerate(self.made) if n == read_later - 1 or self.chance(30)]
        outputs = tuple(m.tensor for m in chosen)
        used = tensors_below(*outputs)
        inputs = {t: a for t, a in self.inputs.items() if t in used}
        names = sizes_of(*outputs)
        sizes = {name: value for name, value in self.sizes.items() if name in names}
        return Program(outputs, inputs, sizes, tuple(m.error for m in chosen))

    # Extents, inputs --------------------------------------------------------------------------------------------------

    def extent(self, positive: bool = False, most: int = 6) -> tuple[Any, int]:
        """An extent, and its value."""
        if self.vars and self.chance(50):
            size, value = self.source.choice(self.vars)
            if value or not positive:
                return size, value
        low = 1 if positive or self.chance(93) else 0
        count = self.source.integer(low, most)
        return count, count

    def axes(self, most: int = 3) -> list[Index]:
        # an extent of 0 that is to be inferred is an error where another read has the axis shifted
        return [Index(te.axes(name), *self.extent(self.inferring)) for name in "ijl"[: self.source.integer(0, most)]]

    def dtype(self, kinds: str = "fiub") -> str:
        choices = {"f": ["float32", "float32", "float64"] + ["float16"] * self.half, "i": ["int32", "int64", "int8", "int16"],
                   "u": ["uint8", "uint32", "uint16", "uint64"], "b": ["bool"]}  # fmt: skip
        weights = [k for k in kinds for _ in range({"f": 6, "i": 3, "u": 1, "b": 1}[k])]
        return self.source.choice(choices[self.source.choice(weights)])

    def input(self, shape: Sequence[Any], counts: Sequence[int], dtype: str, top: int | None = None) -> Made:
        """A new input. top: whole numbers from 0 up to `top` - 1."""
        tensor = te.tensor(
            self.fresh("A"), tuple(shape), dtype, order="F" if len(counts) > 1 and self.chance(10) else "C"
        )
        bound, grain = 9.0, 1.0
        if top is not None:
            array = self.rng.integers(0, max(top, 1), counts).astype(dtype)
            bound = float(top)
        elif dtype == "bool":
            array = self.rng.integers(0, 2, counts).astype(bool)
            bound = 1.0
        elif dtypes.is_float(dtype):
            array = (self.rng.integers(-16, 17, counts) / 8).astype(dtype)
            bound, grain = 2.0, 0.125
            if self.special and array.size:
                flat = array.reshape(-1)
                for value in (np.nan, np.inf, -np.inf, -0.0, np.nan):
                    if self.rng.integers(2):
                        flat[self.rng.integers(flat.size)] = value
        else:
            low, high = dtypes.limits(dtype)
            array = self.rng.integers(max(low, -9), 10, counts).astype(dtype)
            if self.chance(10) and array.size:
                array.reshape(-1)[self.rng.integers(array.size)] = self.source.choice([low, high])
                bound = float(max(-low, high))
        if tensor.strides is not None:
            array = np.asfortranarray(array)
        self.inputs[tensor] = array
        return Made(tensor, tuple(counts), bound, 0.0, grain)

    # Reading ----------------------------------------------------------------------------------------------------------

    def read(self, scope: Sequence[Index], dtype: str | None = None) -> Value:
        """An access: of a tensor made before, by axes that fit it, or of a new input that fits the indices."""
        fitting = [
            m for m in self.made if dtype is None and all(any(self.fits(i, d) for i in scope) for d in m.tensor.shape)
        ]
        if fitting and self.chance(60):
            made = self.source.choice(fitting)
            index = [self.source.choice([i.expr for i in scope if self.fits(i, d)]) for d in made.tensor.shape]
        else:
            rank = self.source.integer(0, min(3, len(scope) + 1))
            pairs = [self.index(scope) for _ in range(rank)]
            made = self.input([p[1] for p in pairs], [p[2] for p in pairs], dtype or self.dtype())
            index = [p[0] for p in pairs]
        return Value(made.tensor[tuple(index)], made.bound, made.error, made.grain)

    def fits(self, index: Index, dim: Any) -> bool:
        """Whether an axis surely stays within a dimension, as far as tedsl can know."""
        if isinstance(dim, int) and isinstance(index.extent, int):
            return index.extent == dim if self.inferring else index.extent <= dim
        return isinstance(dim, Expr) and index.extent is dim

    def index(self, scope: Sequence[Index]) -> tuple[Any, Any, int]:
        """An index over axes in scope, with the extent of a dimension that it stays within, and its value."""
        slack = self.source.choice([0, 0, 0, 1, 2])
        if not scope:
            position = self.source.integer(0, 2)
            return position, position + 1 + slack, position + 1 + slack
        a, b = self.source.choice(scope), self.source.choice(scope)
        kind = self.source.choice(
            ["alone"] * 8
            + [
                "shift",
                "stride",
                "reverse",
                "divide",
                "modulo",
                "sum",
                "dilated",
                "constant",
                "gather",
                "least",
                "select",
            ]
        )
        if kind == "alone":
            return a.expr, a.extent, a.count
        if kind == "shift":
            c = self.source.integer(1, 3)
            return a.expr + c, a.extent + c + slack, a.count + c + slack
        if kind == "stride":
            s = self.source.integer(2, 3)
            return s * a.expr, s * a.extent + slack, s * a.count + slack
        if kind == "reverse":
            return a.extent - 1 - a.expr, a.extent + slack, a.count + slack
        if kind == "divide":
            d = self.source.integer(2, 3)
            return a.expr // d, a.extent // d + 1 + slack, a.count // d + 1 + slack
        if kind == "modulo":
            d = self.source.integer(2, 3)
            return a.expr % d, d + slack, d + slack
        if kind == "sum":
            return a.expr + b.expr, a.extent + b.extent + slack, a.count + b.count + slack
        if kind == "dilated":
            return a.expr + 2 * b.expr, a.extent + 2 * b.extent + slack, a.count + 2 * b.count + slack
        if kind == "least":
            c = self.source.integer(0, 3)
            return te.minimum(a.expr, c), c + 1 + slack, c + 1 + slack
        if kind == "select" and a is not b:
            return te.where(a.expr < b.expr, a.expr, b.expr), a.extent + slack, a.count + slack
        if kind == "gather":
            top = self.source.integer(1, 5)
            made = self.input([a.extent], [a.count], self.source.choice(["int32", "int64", "uint8"]), top)
            return made.tensor[a.expr], top + slack, top + slack
        position = self.source.integer(0, 2)
        return position, position + 1 + slack, position + 1 + slack

    # Expressions ------------------------------------------------------------------------------------------------------

    def value(self, scope: Sequence[Index], depth: int) -> Value:
        """Any expression over axes in scope."""
        if depth <= 0 or self.chance(15):
            return self.leaf(scope)
        kind = self.source.choice(
            ["binary"] * 4 + ["unary", "smooth", "where", "reduce", "reduce", "guard", "cast", "compare"]
        )
        if kind == "reduce" and depth < 2:
            kind = "binary"
        return getattr(self, kind)(scope, depth - 1)

    def leaf(self, scope: Sequence[Index]) -> Value:
        kind = self.source.choice(["read"] * 7 + ["number", "axis"])
        if kind == "axis" and scope:
            a = self.source.choice(scope)
            dtype = self.source.choice(["int64", "int32", "float32"])
            return Value(te.cast(a.expr, dtype), float(max(a.count, 1)))
        value = self.read(scope)
        if kind == "number":
            c = self.source.integer(0, 5)
            if value.dtype == "bool":
                return value
            number = c / 4 if dtypes.is_float(value.dtype) and self.chance(50) else c
            return settle(value.expr + number, value.bound + c, value.error, min(value.grain, 0.25))
        return value

    def numeric(self, scope: Sequence[Index], depth: int) -> Value:
        value = self.value(scope, depth)
        return (
            value
            if value.dtype != "bool"
            else Value(te.cast(value.expr, self.source.choice(["int8", "int32", "float32"])), 1.0)
        )

    def number_of(self, scope: Sequence[Index], depth: int, exact: bool = True) -> Value:
        """A value that may be compared or rounded."""
        value = self.numeric(scope, depth)
        return value if value.exact or not exact else self.read(scope, self.dtype("fiu"))

    def floating(self, scope: Sequence[Index], depth: int) -> Value:
        value = self.numeric(scope, depth)
        if dtypes.is_float(value.dtype) and value.dtype != "float16":
            return value
        return self.converted(value, self.source.choice(["float32", "float64"]))

    def converted(self, value: Value, dtype: str) -> Value:
        """A value as a float."""
        if value.bound > 1e4:
            value = Value(te.cast(value.expr, "int64") % 97, 97.0)
        return settle(te.cast(value.expr, dtype), value.bound, value.error, value.grain)

    def condition(self, scope: Sequence[Index], depth: int) -> Any:
        if scope and self.chance(40):
            a, b = self.source.choice(scope), self.source.choice(scope)
            c = self.source.integer(0, 3)
            return self.source.choice(
                [
                    a.expr < c,
                    a.expr >= c,
                    a.expr <= b.expr,
                    a.expr % 2 == 0,
                    a.expr + b.expr > c,
                    (a.expr > 0) & (b.expr < 4),
                ]
            )
        return self.compare(scope, depth).expr

    def compare(self, scope: Sequence[Index], depth: int) -> Value:
        a, b = self.number_of(scope, depth), self.number_of(scope, depth)
        if {a.dtype, b.dtype} & {"uint64", "int64"} and max(a.bound, b.bound) > 2**50:
            a, b = (
                Value(te.cast(v.expr, "int32") if not dtypes.is_float(v.dtype) else te.cast(0, "int32"), 1.0)
                for v in (a, b)
            )
        kind = self.source.choice(["<", "<=", "==", "!=", "test", "logic"])
        if kind == "test" and dtypes.is_float(a.dtype):
            return Value(self.source.choice([te.isnan, te.isinf, te.isfinite])(a.expr), 1.0)
        if kind == "logic":
            p, q = a.expr > 0, b.expr > 0
            return Value(self.source.choice([p & q, p | q, p ^ q, ~p]), 1.0)
        if kind == "<":
            return Value(a.expr < b.expr, 1.0)
        return Value(a.expr <= b.expr if kind == "<=" else a.expr == b.expr if kind == "==" else a.expr != b.expr, 1.0)

    def where(self, scope: Sequence[Index], depth: int) -> Value:
        c, a, b = self.condition(scope, depth), self.value(scope, depth), self.value(scope, depth)
        return settle(te.where(c, a.expr, b.expr), max(a.bound, b.bound), max(a.error, b.error), min(a.grain, b.grain))

    def guard(self, scope: Sequence[Index], depth: int) -> Value:
        """A read that only its condition keeps in bounds, as at the borders of an image."""
        if not scope:
            return self.value(scope, depth)
        a = self.source.choice(scope)
        made = self.input([a.extent], [a.count], self.dtype("fi"))
        c = self.source.integer(1, 2)
        back = self.chance(50)
        condition, read = (
            (a.expr >= c, made.tensor[a.expr - c]) if back else (a.expr + c < a.extent, made.tensor[a.expr + c])
        )
        other = self.value(scope, depth) if self.chance(50) else Value(te.cast(7, made.tensor.dtype), 7.0)
        return settle(
            te.where(condition, read, other.expr),
            max(made.bound, other.bound),
            other.error,
            min(made.grain, other.grain),
        )

    def cast(self, scope: Sequence[Index], depth: int) -> Value:
        value = self.value(scope, depth)
        if dtypes.is_float(value.dtype):
            target = self.dtype("fi")
            if dtypes.is_float(target):
                return settle(te.cast(value.expr, target), value.bound, value.error, value.grain)
            if not value.exact or self.special or value.bound > 120:
                return value
            return Value(te.cast(value.expr, target), value.bound)
        target = self.dtype("iub")
        return settle(te.cast(value.expr, target), value.bound)

    def unary(self, scope: Sequence[Index], depth: int) -> Value:
        value = self.number_of(scope, depth, exact=False)
        x, dtype = value.expr, value.dtype
        kind = self.source.choice(["-", "abs", "square", "round", "round", "round", "sign", "~", "shift"])
        if kind == "abs":
            return settle(te.abs(x), value.bound, value.error, value.grain)
        if kind == "square" and not (self.special and not value.exact):
            return settle(x**2, value.bound**2, 2 * value.bound * value.error, value.grain**2)
        if kind == "round" and value.exact:
            return settle(self.source.choice([te.floor, te.ceil, te.trunc, te.rint])(x), value.bound + 1)
        if kind == "sign" and value.exact:
            return settle(te.sign(x), 1.0)
        if not dtypes.is_float(dtype):
            if kind == "~":
                return settle(~x, value.bound + 1)
            if kind == "shift":
                c = self.source.integer(0, 7)
                return self.source.choice([settle(x << c, value.bound * 2**c), settle(x >> c, value.bound)])
        wraps = dtype.startswith("uint")
        return settle(-x, math.inf if wraps else value.bound, value.error, value.grain)

    def smooth(self, scope: Sequence[Index], depth: int) -> Value:
        value = self.floating(scope, depth)
        function, slope, bound = self.source.choice(SMOOTH)
        eps = EPS[value.dtype]
        return Value(
            function(value.expr), bound, slope * value.error + 16 * eps * max(bound, 1.0) * (1 + min(value.bound, 100))
        )

    def binary(self, scope: Sequence[Index], depth: int) -> Value:
        a, b = self.numeric(scope, depth), self.numeric(scope, depth)
        if dtypes.is_float(a.dtype) != dtypes.is_float(
            b.dtype
        ):  # whole numbers may be large: what their conversion rounds must be known
            a, b = (v if dtypes.is_float(v.dtype) else self.converted(v, "float32") for v in (a, b))
        elif {a.dtype, b.dtype} >= {"uint64"} and any(v.dtype.startswith("int") for v in (a, b)):
            a, b = (self.converted(v, "float64") for v in (a, b))
        kind = self.source.choice(["+", "-", "*", "min", "max", "//", "%", "/", "bits", "shift", "copysign"])
        whole = not dtypes.is_float(a.dtype)
        unsigned = dtypes.promote(a.dtype, b.dtype).startswith("uint")
        if kind == "*" and not (self.special and not (a.exact and b.exact)):
            return settle(
                a.expr * b.expr,
                a.bound * b.bound,
                a.error * b.bound + b.error * a.bound + a.error * b.error,
                a.grain * b.grain,
            )
        if kind == "-":
            return settle(
                a.expr - b.expr, math.inf if unsigned else a.bound + b.bound, a.error + b.error, min(a.grain, b.grain)
            )
        if kind in ("min", "max"):
            f = te.minimum if kind == "min" else te.maximum
            return settle(f(a.expr, b.expr), max(a.bound, b.bound), max(a.error, b.error), min(a.grain, b.grain))
        if kind in ("//", "%"):
            if whole:
                return (
                    settle(a.expr // b.expr, a.bound + 1)
                    if kind == "//"
                    else settle(a.expr % b.expr, max(a.bound, b.bound))
                )
            if a.exact and not self.special:
                d = self.source.choice([0.5, 0.75, 2.0, -1.5])
                return (
                    settle(a.expr // d, a.bound * 2 + 1)
                    if kind == "//"
                    else settle(a.expr % d, abs(d), 0.0, min(a.grain, 0.25))
                )
        if kind == "/" and not whole and not self.special:
            eps = EPS[dtypes.promote(a.dtype, b.dtype)]
            return settle(
                a.expr / (te.abs(b.expr) + 1),
                a.bound,
                a.error + a.bound * b.error + 8 * eps * a.bound * (1 + b.bound),
                0.0 or 2.0**-200,
            )
        if whole and kind == "bits":
            f = self.source.choice([lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y])
            return settle(f(a.expr, b.expr), math.inf)
        if whole and kind == "shift":
            return settle(a.expr >> (b.expr & 15) if self.chance(50) else a.expr << (b.expr & 15), math.inf)
        if kind == "copysign" and not whole and b.exact and not self.special:
            return settle(te.copysign(a.expr, b.expr + 0.0625), a.bound, a.error, a.grain) if b.grain >= 0.125 else a
        return settle(a.expr + b.expr, a.bound + b.bound, a.error + b.error, min(a.grain, b.grain))

    # Reductions -------------------------------------------------------------------------------------------------------

    def reduce_axes(self, scope: Sequence[Index], positive: bool = False, most: int = 4) -> list[Index]:
        taken = {i.expr.name for i in scope}
        free = [n for n in ("k", "r", "s", "p", "q") if n not in taken]
        found = []
        for name in free[: self.source.choice([1, 1, 1, 2])]:
            extent, count = self.extent(positive, most)
            found.append(Index(te.reduce_axis(extent, name), extent, count))
        return found

    def reduce(self, scope: Sequence[Index], depth: int) -> Value:
        kind = self.source.choice(
            ["sum"] * 5 + ["dot"] * 3 + ["prod", "min", "max", "any", "all", "argmax", "argmin", "mean", "custom"]
        )
        inner = self.reduce_axes(
            scope, positive=kind in ("min", "max", "argmax", "argmin"), most=3 if kind == "prod" else 5
        )
        axis = tuple(i.expr for i in inner)
        both = [*scope, *inner]
        count = max(math.prod(i.count for i in inner), 1)
        where = self.condition(both, 0) if kind not in ("min", "max", "argmax", "argmin") and self.chance(25) else None
        if kind == "dot":
            a, b = self.read(both, self.dtype("fiu")), self.read(both)
            return self.total(
                Value(a.expr * b.expr, a.bound * b.bound, a.error * b.bound + b.error * a.bound, a.grain * b.grain),
                axis,
                where,
                count,
            )
        value = self.numeric(both, depth)
        if kind in ("argmax", "argmin", "any", "all") and not value.exact:
            value = self.read(both)
        if kind in ("any", "all"):
            value = self.compare(both, 0) if self.chance(60) else value
            return Value(getattr(te, kind)(value.expr, axis=axis, where=where), 1.0)
        if kind in ("argmax", "argmin"):
            return Value(getattr(te, kind)(value.expr, axis=axis), float(count))
        if kind in ("min", "max"):
            return Value(getattr(te, kind)(value.expr, axis=axis), value.bound, value.error, value.grain)
        if kind == "custom":
            return self.custom(value, axis, where, count)
        if kind == "prod" and count <= 9 and not self.special:
            if dtypes.is_float(value.dtype):
                value = Value(te.tanh(value.expr), 1.0, value.error + 8 * EPS[value.dtype])
            return settle(
                te.prod(value.expr, axis=axis, where=where), max(value.bound, 1.0) ** count, count * value.error
            )
        if kind == "mean" and dtypes.is_float(value.dtype):
            total = self.total(value, axis, where, count)
            return settle(total.expr / 4, total.bound / 4, total.error / 4, total.grain / 4)
        return self.total(value, axis, where, count)

    def total(self, value: Value, axis: tuple[Any, ...], where: Any, count: int) -> Value:
        dtype = value.dtype
        error = value.error + (
            rounding(dtype, value.bound, value.error, value.grain) if dtypes.is_float(dtype) else 0.0
        )
        if dtypes.is_float(dtype):
            error += rounding(dtype, value.bound * count, error, value.grain)
        return settle(te.sum(value.expr, axis=axis, where=where), value.bound * count, error * count, value.grain)

    def custom(self, value: Value, axis: tuple[Any, ...], where: Any, count: int) -> Value:
        """Reducers of a user's: a maximum, a sum of two components, log-sum-exp."""
        kind = self.source.choice(["greatest", "pair", "lse"])
        if kind == "greatest" and not (self.special or dtypes.is_integer(value.dtype)):
            return settle(GREATEST(value.expr, axis=axis, where=where), 1e4, value.error, min(value.grain, 0.25))
        if kind == "lse" and dtypes.is_float(value.dtype) and not self.special and value.dtype != "float16":
            m, s = LSE((value.expr, 1.0), axis=axis, where=where)
            eps = EPS[value.dtype]
            error = 4 * count * value.error + 32 * count * eps * (2 + value.bound)
            return settle(te.maximum(m, -1e3) + te.log(s + 1), 2e3, error)
        pair = PAIR((value.expr, 1), axis=axis, where=where)
        if self.chance(50):
            return settle(pair[1], float(count))
        if not dtypes.is_float(value.dtype):
            return settle(pair[0], value.bound * count)
        error = value.error + rounding(value.dtype, value.bound * count, value.error, value.grain)
        return settle(pair[0], value.bound * count, error * count, value.grain)
