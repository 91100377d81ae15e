"""Expressions as operations on whole vectors."""

from __future__ import annotations

from typing import cast

from tedsl.backends.codegen.expressions import CTYPES, VECTOR_NAMES, Scalars, short
from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Apply, Cast, Const, Expr, Var
from tedsl.lang.integers import affine_of

from .math import functions as vector_math
from .vector_masks import BITS
from .vector_select import Selects

_ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


class Values(Selects):
    """Prints what is computed."""

    def vector(self, e: Expr) -> str:
        """`e` as a vector of its type (bool: of bytes)."""
        if e.dtype == "bool":
            return self.mask(e, 1)
        if isinstance(e, Const) and e.value == 0 and str(e.value) != "-0.0":
            return f"({self.of(e.dtype)}){{0}}"
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def value(self, e: Expr) -> str:
        """`e` in C: a vector where it varies, a scalar where not."""
        if not self.varies(e):
            return self.g.scalars.wrap(self.fixed(e), 12)
        if e is self.at.axis:
            steps = ", ".join(map(str, range(self.lanes)))
            return f"(({self.type('int64', self.lanes)}){{{steps}}} + {self.g.scalar(self.at.base)})"
        if isinstance(e, Access):
            return self.read(e)
        if isinstance(e, Cast):
            return self.cast(e)
        if isinstance(e, Apply):
            return self.apply(e)
        raise InternalError(f"no vector form of {e!r}")

    def cast(self, e: Cast) -> str:
        if e.operand.dtype == "int" and e.dtype in ("int32", "int64") and (steps := self.steps(e)) is not None:
            return steps
        if e.operand.dtype == "bool":
            size = dtypes.itemsize(e.dtype)
            ones = f"({self.mask(e.operand, size)} & 1)"
            return f"__builtin_convertvector({ones}, {self.of(e.dtype)})"
        text = self.value(e.operand)
        kinds = [dtypes.strong(e.operand.dtype), *between(dtypes.strong(e.operand.dtype), e.dtype), e.dtype]
        if self.lanes == 16 and kinds[0] in ("int8", "uint8") and dtypes.itemsize(kinds[min(2, len(kinds) - 1)]) == 4:
            text = self.widened(text, *kinds[:3])
            kinds = kinds[2:]
        for kind in kinds[1:]:
            text = f"__builtin_convertvector({text}, {self.of(kind)})"
        return text

    def widened(self, text: str, source: str, half: str, whole: str) -> str:
        """Sixteen bytes as 32-bit numbers: one instruction of AVX-512, which gcc does not find by itself."""
        x, h, w = (self.of(k) for k in (source, half, whole))
        name = f"te_widen_{short(source)}x16_{short(whole)}"
        self.g.vector_helpers[name] = f"""\
static inline {w} {name}({x} x)
{{
#if defined(__AVX512F__) && !defined(__clang__)
    typedef char bytes __attribute__((vector_size(16)));
    typedef int words __attribute__((vector_size(64)));
    return ({w})__builtin_ia32_pmov{"z" if source in dtypes.UNSIGNED else "s"}xbd512_mask((bytes)x, (words){{0}}, (short)-1);
#else
    return __builtin_convertvector(__builtin_convertvector(x, {h}), {w});
#endif
}}"""
        return f"{name}({text})"

    def steps(self, e: Cast) -> str | None:
        """An index that moves by the same number from lane to lane, in lanes of its own type; None for others."""
        form = affine_of(e.operand)
        stride = form.terms.get(self.at.axis, 0)
        rest = form.without(self.at.axis).plus(affine_of(self.at.base), stride)
        if any(self.varies(atom) for atom in rest.terms):
            return None
        kind, ctype = self.of(e.dtype), CTYPES[e.dtype]
        start = rest.constant if abs(rest.constant) < 2**24 else 0  # in the literal: vectors that follow share the sum
        rest = rest + -start
        self.g.scalars.known = self.g.known
        lanes = ", ".join(str(start + stride * n) for n in range(self.lanes))
        return f"(({kind}){{{lanes}}} + ({ctype})({self.g.scalars.sum(rest)}))"

    def apply(self, e: Apply) -> str:
        f, dtype = e.function, dtypes.strong(e.dtype)
        if dtype == "bool":
            return self.mask(e, self.width(e))
        if f == "where":
            return self.where(e)
        if f in _ARITHMETIC and (dtypes.is_float(dtype) or f != "divide"):
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {_ARITHMETIC[f]} {right})"
        if f in BITS:
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {BITS[f]} {right})"
        if f == "negative":
            return f"-{self.operand(e.operands[0])}"
        if f == "invert":
            return f"~{self.operand(e.operands[0])}"
        if f == "sign" and dtypes.is_integer(dtype):  # a comparison that holds is -1
            x = self.value(e.operands[0])
            return (
                f"({self.of(dtype)})(({x} < 0) - ({x} > 0))"
                if dtype in dtypes.SIGNED
                else f"({self.of(dtype)})-({x} != 0)"
            )
        if (
            f == "power"
            and isinstance(e.operands[1], Const)
            and dtypes.is_float(dtype)
            and e.operands[1].value in (1, 2, 3, 0.5, -1)
        ):
            return self.power(e)
        name = VECTOR_NAMES.get(f, f)
        if vector_math.supported(name, dtype) and self.lanes > 1:
            self.g.scalars.functions.add((name, dtype, self.lanes))
            return f"{vector_math.symbol(name, dtype, self.lanes)}({', '.join(self.whole(x) for x in e.operands)})"
        if f in ("machine_minimum", "machine_maximum") and dtypes.is_float(dtype):
            return self.helper(f"te_{'fmin' if f.endswith('minimum') else 'fmax'}", dtype, e)
        return self.lanewise(e)

    def power(self, e: Apply) -> str:
        base, exponent = e.operands
        v = cast(Const, exponent).value
        if v == 0.5:
            return self.apply(Apply("sqrt", (base,)))
        x = self.whole(base)
        if v == 1:
            return x
        if v == -1:
            return f"(1 / {x})"
        name = f"te_{'square' if v == 2 else 'cube'}_{short(e.dtype)}x{self.lanes}"
        t = self.of(e.dtype)
        self.g.vector_helpers[name] = (
            f"static inline {t} {name}({t} x) {{ return {'x * x' if v == 2 else 'x * x * x'}; }}"
        )
        return f"{name}({x})"

    def where(self, e: Apply) -> str:
        c, a, b = e.operands
        if not self.varies(c):
            # an expression of what was loaded from any address has a type of its own, which `?:` tells from the plain
            # one
            kind = "" if e.dtype == "bool" else f"({self.of(e.dtype)})"
            return f"({self.g.scalar(self.fixed(c))} ? {kind}{self.whole(a)} : {kind}{self.whole(b)})"
        dtype = dtypes.strong(e.dtype)
        selected = self.select(c, self.whole(a), self.whole(b), dtype)
        if selected is not None:
            return selected
        size = dtypes.itemsize(dtype)
        t, i = self.of(dtype), self.of(f"int{8 * size}")
        name = f"te_pick_{short(dtype)}x{self.lanes}"
        self.g.vector_helpers[name] = (
            f"static inline {t} {name}({i} mask, {t} a, {t} b) {{ return ({t})(((({i})a ^ ({i})b) & mask) ^ ({i})b); }}"
        )
        return f"{name}({self.mask(c, size)}, {self.whole(a)}, {self.whole(b)})"

    def helper(self, stem: str, dtype: str, e: Apply) -> str:
        """The machine's own minimum and maximum."""
        t, name = self.of(dtype), f"{stem}_{short(dtype)}x{self.lanes}"
        relation = "<" if stem == "te_fmin" else ">"
        letter, size = ("s" if dtype == "float32" else "d"), dtypes.itemsize(dtype) * self.lanes
        op = "min" if stem == "te_fmin" else "max"
        i = self.of(f"int{dtypes.BITS[dtype]}")
        plain = f"{i} m = a {relation} b; return ({t})((({i})a & m) | (({i})b & ~m));"
        special = {16: ("__SSE2__", (f"__builtin_ia32_{op}p{letter}(a, "
            "b)")), 32: ("__AVX__", f"__builtin_ia32_{op}p{letter}256(a, b)"),
                   64: ("__AVX512F__", f"__builtin_ia32_{op}p{letter}512_mask(a, b, a, -1, 4)")}.get(size)  # fmt: skip
        body = (
            plain
            if special is None
            else f"\n#if defined({special[0]}) && !defined(__clang__)\n    return {special[1]};\n#else\n    "
            f"{plain}\n#endif\n"
        )
        self.g.vector_helpers[name] = f"static inline {t} {name}({t} a, {t} b) {{ {body} }}"
        return f"{name}({', '.join(self.whole(x) for x in e.operands)})"

    def lanewise(self, e: Apply) -> str:
        """A function without a vector form: the scalar one for each lane."""
        dtype = dtypes.strong(e.dtype)
        kinds = [dtypes.strong(x.dtype) for x in e.operands]
        lanes = Scalars(self.g.load, lambda v: f"{cast(Var, v).name}[lane]")
        lanes.helpers, lanes.functions = self.g.scalars.helpers, self.g.scalars.functions
        text = lanes.text(Apply(e.function, tuple(Cast(k, Var(n)) for k, n in zip(kinds, "abc", strict=False))))
        t, name = self.of(dtype), f"te_{e.function}_{short(dtype)}x{self.lanes}"
        parameters = ", ".join(f"{self.of(k)} {n}" for k, n in zip(kinds, "abc", strict=False))
        body = f"{t} r; for (int lane = 0; lane < {self.lanes}; lane++) r[lane] = ({CTYPES[dtype]})({text}); return r;"
        self.g.vector_helpers[name] = f"static inline {t} {name}({parameters}) {{ {body} }}"
        return f"{name}({', '.join(self.whole(x) for x in e.operands)})"


def between(source: str, target: str) -> tuple[str, ...]:
    """The types through which a vector conversion goes. In one step over several widths gcc converts element by
    element.
    """
    have, want = dtypes.itemsize(source), dtypes.itemsize(target)
    sign = "uint" if source in dtypes.UNSIGNED else "int"
    if dtypes.is_integer(source) and dtypes.is_float(target) and have < 4:
        return (*(f"{sign}16" for _ in range(have == 1)), "int32")
    if dtypes.is_integer(source) and dtypes.is_integer(target) and want >= 4 * have:
        return tuple(f"{sign}{8 * n}" for n in (2, 4) if have < n < want)
    if dtypes.is_float(source) and dtypes.is_integer(target) and want < 4:
        return ("int32", *("int16" for _ in range(want == 1)))
    return ()
