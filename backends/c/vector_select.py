"""Selects by comparisons of the selected width, as functions of their own: with AVX-512 a comparison gives a bit for
each lane and the select takes them, where gcc would make whole vectors of the bits, combine these, and turn the result
into bits again.
"""

from __future__ import annotations

from tedsl.backends.codegen.expressions import short
from tedsl.lang import dtypes
from tedsl.lang.expr import Apply, Expr
from tedsl.lang.functions import FUNCTIONS

from .vector_masks import BITS, COMPARE, Masks

# comparison -> the predicates of the machine: of floats and of their negation, of integers and of their negation
_PREDICATES = {
    "less": (17, 21, 1, 5),
    "less_equal": (18, 22, 2, 6),
    "greater": (30, 26, 6, 2),
    "greater_equal": (29, 25, 5, 1),
    "equal": (0, 4, 0, 4),
    "not_equal": (4, 0, 4, 0),
    "isnan": (3, 7, -1, -1),
}
_OPPOSITE = {"bitwise_and": "bitwise_or", "bitwise_or": "bitwise_and"}
_LETTER = {"float32": "ps", "float64": "pd", "int32": "d", "int64": "q"}
_HAVE = "defined(__AVX512VL__) && !defined(__clang__)"


class Selects(Masks):
    """Prints selects."""

    def select(self, condition: Expr, a: str, b: str, dtype: str) -> str | None:
        """`a` where a condition holds, else `b`, by bits; None for what has to be a mask."""
        size = dtypes.itemsize(dtype)
        if size not in (4, 8) or size * self.lanes not in (16, 32, 64):
            return None
        bits = self.bits(condition, size, False)
        if bits is None:
            return None
        t, i = self.of(dtype), self.of(f"int{8 * size}")
        name = f"te_choose_{short(dtype)}x{self.lanes}"
        letter = _LETTER[dtype if dtypes.is_float(dtype) else f"int{8 * size}"]
        own = t if dtypes.is_float(dtype) else self.machine_type(size)
        machine = f"({t})__builtin_ia32_blendm{letter}_{8 * size * self.lanes}_mask(({own})b, ({own})a, bits)"
        plain = f"({t})(((({i})a ^ ({i})b) & bits) ^ ({i})b)"
        self.g.vector_helpers[name] = (
            f"static inline {t} {name}({self.bits_type(size)} bits, {t} a, {t} b)\n{{\n#if {_HAVE}\n"
            f"    return {machine};\n#else\n    return {plain};\n#endif\n}}"
        )
        return f"{name}({bits}, {a}, {b})"

    def bits_type(self, size: int) -> str:
        """The type of a condition on all lanes: bits, or a vector of integers of `size` bytes."""
        name = f"te_bits{8 * size}x{self.lanes}"
        bits = "unsigned short" if self.lanes == 16 else "unsigned char"
        self.g.vector_helpers[name] = (
            f"#if {_HAVE}\ntypedef {bits} {name};\n#else\ntypedef {self.of(f'int{8 * size}')} {name};\n#endif"
        )
        return name

    def machine_type(self, size: int) -> str:
        """The vector of integers that the compiler's own functions take: those of 64 bits are `long long` to them."""
        if size == 4:
            return self.of("int32")
        name = f"te_long{self.lanes}"
        self.g.vector_helpers[name] = f"typedef long long {name} __attribute__((vector_size({8 * self.lanes})));"
        return name

    def bits(self, e: Expr, size: int, negated: bool) -> str | None:
        """A condition, or its negation, that is made of comparisons of `size` bytes; None for others."""
        if not isinstance(e, Apply) or not self.varies(e):
            return None
        f = e.function
        if f == "invert" and e.dtype == "bool":
            return self.bits(e.operands[0], size, not negated)
        if f in _OPPOSITE and e.dtype == "bool":
            left, right = (self.bits(x, size, negated) for x in e.operands)
            if left is None or right is None:
                return None
            return f"({left} {BITS[_OPPOSITE[f] if negated else f]} {right})"
        if f not in _PREDICATES:
            return None
        operands = e.operands
        if f in COMPARE:
            narrow = tuple(map(self.narrow, operands))
            if None not in narrow:
                operands = tuple(x for x in narrow if x is not None)
        kind = dtypes.strong(dtypes.promote(*(x.dtype for x in operands)))
        if kind in ("bool", "float16", "bfloat16") or dtypes.itemsize(kind) != size:
            return None
        if any(dtypes.strong(x.dtype) != kind for x in operands):
            return None
        if f == "isnan" and not dtypes.is_float(kind):
            return None
        return f"{self.comparison(f, kind, negated)}({', '.join(self.whole(x) for x in operands)})"

    def comparison(self, f: str, kind: str, negated: bool) -> str:
        """The name of the function that compares vectors."""
        size = dtypes.itemsize(kind)
        t, result = self.of(kind), self.bits_type(size)
        name = f"te_{'not_' if negated else ''}{f}_{short(kind)}x{self.lanes}"
        width, all_lanes = 8 * size * self.lanes, f"({'unsigned short' if self.lanes == 16 else 'unsigned char'})-1"
        predicate = _PREDICATES[f][negated if dtypes.is_float(kind) else 2 + negated]
        if dtypes.is_float(kind):
            rounding = ", 4" if width == 512 else ""
            machine = f"__builtin_ia32_cmp{_LETTER[kind]}{width}_mask(a, b, {predicate}, {all_lanes}{rounding})"
        else:
            signed = f"int{8 * size}"
            i = self.machine_type(size)
            unsigned = "u" if kind in dtypes.UNSIGNED else ""
            machine = (
                f"__builtin_ia32_{unsigned}cmp{_LETTER[signed]}{width}_mask(({i})a, ({i})b, {predicate}, {all_lanes})"
            )
        test = FUNCTIONS[f].kind == "test"
        plain = "a != a" if test else f"a {COMPARE[f]} b"
        plain = f"~({plain})" if negated else plain
        parameters = f"{t} a" if test else f"{t} a, {t} b"
        if test:
            machine = machine.replace("(a, b,", "(a, a,")
        self.g.vector_helpers[name] = (
            f"static inline {result} {name}({parameters})\n{{\n#if {_HAVE}\n    return {machine};\n#else\n    return "
            f"{plain};\n#endif\n}}"
        )
        return name
