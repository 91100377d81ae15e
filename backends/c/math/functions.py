"""Elementwise functions as C: one text per function, for vectors of any power-of-two width and for scalars.

The text uses GCC's and Clang's vector extensions, so it serves x86-64 and AArch64 alike. A vector function and its
scalar twin (lanes 1) come from the same template and do the same operations, so the remainder of a vectorised loop has
the bits that its main part would have. Results are within 4 units in the last place over the whole range, with NaN,
infinities, denormals and signed zeros right, under ``-fno-math-errno -fno-trapping-math -ffp-contract=fast`` or
stricter. A few far arguments of sin, cos and tan go to the C library, so kernels link with ``-lm``.

Notation of the templates in ``vector_math_float32.py``, ``vector_math_float64.py`` and ``vector_math_power.py``: ``V``
is the vector (or scalar) type, ``I`` and ``U`` the signed and unsigned integers of its width, and ``@name(`` another
function for the same type. Comparisons give an ``I``: all bits set or none in a vector, 0 or 1 in a scalar; ``@select``
takes either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .float32 import TEMPLATES as _FLOAT32
from .float64 import TEMPLATES as _FLOAT64
from .power import FLOAT32 as _POWER32
from .power import FLOAT64 as _POWER64

#: Within one compilation, an argument gives the same bits in every lane of every width and in the scalar function.
BITS_EXACT = True

# dtype -> prefix of the vector type, C type of an element, bytes
_TYPES = {
    "bool": ("b8", "uint8_t", 1),
    "int8": ("i8", "int8_t", 1),
    "int16": ("i16", "int16_t", 2),
    "int32": ("i32", "int32_t", 4),
    "int64": ("i64", "int64_t", 8),
    "uint8": ("u8", "uint8_t", 1),
    "uint16": ("u16", "uint16_t", 2),
    "uint32": ("u32", "uint32_t", 4),
    "uint64": ("u64", "uint64_t", 8),
    "float32": ("f32", "float", 4),
    "float64": ("f64", "double", 8),
}
_TEMPLATES = {"float32": {**_FLOAT32, **_POWER32}, "float64": {**_FLOAT64, **_POWER64}}
_SUFFIX = {"float32": "f", "float64": ""}
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FOR_INTEGERS = ("abs", "minimum", "maximum")

FUNCTIONS: tuple[str, ...] = (
    *("abs", "minimum", "maximum", "floor", "ceil", "round", "sqrt", "rsqrt"),
    *("exp", "exp2", "expm1", "log", "log2", "log1p", "pow"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sigmoid", "erf"),
)
BINARY: frozenset[str] = frozenset({"minimum", "maximum", "pow"})

_PROLOGUE = """\
#include <stdint.h>
#ifndef TE_INLINE
#define TE_INLINE static inline __attribute__((always_inline, unused))
#define TE_COLD static __attribute__((noinline, cold, unused))
#ifndef __has_builtin
#define __has_builtin(name) 0
#endif
#endif
"""


def supported(name: str, dtype: str) -> bool:
    """Whether there is a vector function ``name`` for elements of ``dtype``."""
    if dtype in _SUFFIX:
        return name in FUNCTIONS
    return dtype in _INTEGERS and name in _FOR_INTEGERS


def vector_type(dtype: str, lanes: int) -> str:
    """The C type of ``lanes`` elements: ``f32x16``; of one: ``float``. ``f32x16_u`` is the same in unaligned memory."""
    prefix, element, _ = _entry(dtype, lanes)
    return element if lanes == 1 else f"{prefix}x{lanes}"


def typedef(dtype: str, lanes: int) -> str:
    """The C text that declares ``vector_type(dtype, lanes)`` and its aliasing twins in unaligned and in aligned memory;
    empty for one lane.
    """
    _, element, size = _entry(dtype, lanes)
    if lanes == 1:
        return ""
    name = vector_type(dtype, lanes)
    return (
        f"typedef {element} {name} __attribute__((vector_size({size * lanes})));\n"
        f"typedef {element} {name}_u __attribute__((vector_size({size * lanes}), aligned({size}), may_alias));\n"
        f"typedef {element} {name}_a __attribute__((vector_size({size * lanes}), may_alias));\n"
    )


def symbol(name: str, dtype: str, lanes: int) -> str:
    """The name of the C function: ``te_exp_f32x16``, ``te_exp_f32``."""
    prefix = _entry(dtype, lanes)[0]
    return f"te_{name}_{prefix}" + (f"x{lanes}" if lanes > 1 else "")


def source(functions: Iterable[tuple[str, str, int]]) -> str:
    """C text that defines the functions ``(name, dtype, lanes)`` and what they need, each once, callees first."""
    writer = _Writer()
    for name, dtype, lanes in functions:
        if not supported(name, dtype):
            known = ", ".join(f for f in FUNCTIONS if supported(f, dtype)) or "none"
            raise ValueError(f"no vector function {name!r} for {dtype}; for this dtype there are: {known}")
        writer.need(name, dtype, lanes)
    if not writer.functions:
        return ""
    return "\n".join([_PROLOGUE, "".join(writer.typedefs.values()), *writer.functions.values()])


def _entry(dtype: str, lanes: int) -> tuple[str, str, int]:
    if dtype not in _TYPES:
        raise ValueError(f"no vector type for {dtype!r}; there are: {', '.join(_TYPES)}")
    if lanes < 1 or lanes & (lanes - 1):
        raise ValueError(f"a vector has a power of two of lanes, not {lanes}")
    return _TYPES[dtype]


class _Writer:
    """Collects function texts, each after what it calls."""

    def __init__(self) -> None:
        self.typedefs: dict[str, str] = {}
        self.functions: dict[str, str] = {}

    def type(self, dtype: str, lanes: int) -> str:
        name = vector_type(dtype, lanes)
        if lanes > 1:
            self.typedefs.setdefault(name, typedef(dtype, lanes))
        return name

    def need(self, name: str, dtype: str, lanes: int) -> str:
        result = symbol(name, dtype, lanes)
        if result in self.functions:
            return result
        template = _TEMPLATES.get(dtype, {}).get(name)
        if template is None:
            template = _PRIMITIVES[name](self, dtype, lanes)
        bits = 8 * _TYPES[dtype][2]
        types = {
            "V": self.type(dtype, lanes),
            "I": self.type(f"int{bits}", lanes),
            "U": self.type(f"uint{bits}", lanes),
        }
        text = re.sub(r"@(\w+)", lambda match: self._call(match[1], name, dtype, lanes), template.strip("\n"))
        text = re.sub(r"\b[VIU]\b", lambda match: types[match[0]], text)
        text = re.sub(r"^(?=\w[\w ]*\w \w+\()", "TE_INLINE ", text, count=1, flags=re.MULTILINE)
        self.functions[result] = text + "\n"
        return result

    def _call(self, name: str, inside: str, dtype: str, lanes: int) -> str:
        return symbol(name, dtype, lanes) if name == inside else self.need(name, dtype, lanes)


# What differs between scalars, vectors and compilers: (writer, dtype, lanes) -> template.


def _bits(writer: _Writer, dtype: str, lanes: int) -> str:
    if lanes > 1:
        return "I @bits(V x)\n{\n    return (I)x;\n}"
    return "I @bits(V x)\n{\n    union { V real; I bits; } u = {.real = x};\n    return u.bits;\n}"


def _real(writer: _Writer, dtype: str, lanes: int) -> str:
    if lanes > 1:
        return "V @real(I x)\n{\n    return (V)x;\n}"
    return "V @real(I x)\n{\n    union { I bits; V real; } u = {.bits = x};\n    return u.real;\n}"


def _from_integer(writer: _Writer, dtype: str, lanes: int) -> str:
    conversion = "__builtin_convertvector(x, V)" if lanes > 1 else "(V)x"
    return f"V @from_integer(I x)\n{{\n    return {conversion};\n}}"


def _splat(writer: _Writer, dtype: str, lanes: int) -> str:
    # x - 0 is x for every x, -0 and NaN included, and compilers know it.
    value = "x - (V){0}" if lanes > 1 else "x"
    return f"V @splat({_TYPES[dtype][1]} x)\n{{\n    return {value};\n}}"


# GCC joins a loop over the lanes of a vector into one instruction only as long as nothing around it is in the way. So
# where x86 has the instruction, GCC's builtin is named, by the vector's bytes; {t} is the letter of the element's type,
# and the mask -1 means every lane. Other compilers and machines get the portable formulation.
def _on_x86(dtype: str, lanes: int, texts: dict[int, str]) -> str:
    """``#if`` and the statement for this width, up to ``#else``; nothing when no instruction has this width."""
    size = _TYPES[dtype][2] * lanes
    if size not in texts:
        return ""
    text = texts[size].replace("{t}", "s" if dtype == "float32" else "d")
    # Asked of GCC alone: Clang has other parameters under some of these names, and needs none of them.
    return f"#if !defined(__clang__) && __has_builtin({text.split('(')[0]})\n    return {text};\n#else\n"


def _select(writer: _Writer, dtype: str, lanes: int) -> str:
    if lanes == 1:
        return "V @select(I mask, V a, V b)\n{\n    return mask ? a : b;\n}"
    return "V @select(I mask, V a, V b)\n{\n    return (V)((((I)a ^ (I)b) & mask) ^ (I)b);\n}"


def _limit(name: str, relation: str, instruction: str) -> Callable[[_Writer, str, int], str]:
    """Clamps to a constant and lets NaN through: the instruction returns its second operand then."""

    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        head = f"V @{name}(V x, {_TYPES[dtype][1]} limit)\n{{\n"
        if lanes == 1:
            return f"{head}    return x {relation} limit ? limit : x;\n}}"
        stem = f"__builtin_ia32_{instruction}p{{t}}"
        texts = {
            16: f"{stem}(@splat(limit), x)",
            32: f"{stem}256(@splat(limit), x)",
            64: f"{stem}512_mask(@splat(limit), x, x, -1, 4)",
        }
        special = _on_x86(dtype, lanes, texts)
        end = "#endif\n}" if special else "}"
        return f"{head}{special}    return @select(x {relation} limit, @splat(limit), x);\n{end}"

    return primitive


def _scale(writer: _Writer, dtype: str, lanes: int) -> str:
    """p * 2^n: n can lie outside the range of normal numbers, hence two factors; only the last product rounds."""
    shift = 23 if dtype == "float32" else 52
    special = _on_x86(dtype, lanes, {64: "__builtin_ia32_scalefp{t}512_mask(p, n, p, -1, 4)"} if lanes > 1 else {})
    return (
        f"/* p * 2^n; n + {254 if dtype == 'float32' else 2046} stands in the low bits of k as well */\n"
        f"V @scale(V p, V n, I k)\n{{\n    (void)n, (void)k; /* one of them serves */\n{special}"
        "    I half = (I)((U)k >> 1);\n"
        f"    return p * @real((I)((U)half << {shift})) * @real((I)(((U)k - (U)half) << {shift}));\n"
        f"{'#endif' + chr(10) if special else ''}}}"
    )


def _any(writer: _Writer, dtype: str, lanes: int) -> str:
    size = _TYPES[dtype][2] * lanes
    if lanes == 1:
        return "int @any(I mask)\n{\n    return mask != 0;\n}"
    if dtype in _SUFFIX and size in (16, 32, 64):
        letter = "d" if dtype == "float32" else "q"
        wide = "" if dtype == "float32" else "(long long __attribute__((vector_size(64))))"
        texts = {
            16: "__builtin_ia32_movmskp{t}((V)mask) != 0",
            32: "__builtin_ia32_movmskp{t}256((V)mask) != 0",
            64: f"__builtin_ia32_cvt{letter}2mask512({wide}mask) != 0",
        }
        special = _on_x86(dtype, lanes, texts)
        return f"int @any(I mask)\n{{\n{special}{_halved(writer, size)}#endif\n}}"
    if size < 16:
        word = {2: "int16_t", 4: "int32_t", 8: "int64_t"}[size]
        return f"int @any(I mask)\n{{\n    return ({word})mask != 0;\n}}"
    return f"int @any(I mask)\n{{\n{_halved(writer, size)}}}"


def _halved(writer: _Writer, size: int) -> str:
    """Statements that join the halves of ``mask`` down to two words: no horizontal operation is portable."""
    lines, words, value, kind = [], size // 8, "mask", "I"
    while words > 2:
        words //= 2
        half = writer.type("int64", words)
        lines.append(f"    union {{ {kind} whole; {half} part[2]; }} u{words} = {{.whole = {value}}};\n")
        lines.append(f"    {half} m{words} = u{words}.part[0] | u{words}.part[1];\n")
        value, kind = f"m{words}", half
    if kind == "I":
        lines.append(f"    {writer.type('int64', 2)} m2 = ({writer.type('int64', 2)})mask;\n")
    return "".join(lines) + "    return (m2[0] | m2[1]) != 0;\n"


def _library(name: str) -> Callable[[_Writer, str, int], str]:
    """The C library's function in the lanes that ask for it, out of line: it is rare, and calls cost registers."""

    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        call = f"__builtin_{name}{_SUFFIX[dtype]}"
        if lanes == 1:
            return f"V @library_{name}(V x, I mask)\n{{\n    return mask ? {call}(x) : x;\n}}"
        helper = symbol(f"library_{name}", dtype, lanes) + "_lanes"
        writer.functions[helper] = (
            f"TE_COLD void {helper}({writer.type(dtype, lanes)} *x)\n{{\n"
            f"    for (int lane = 0; lane < {lanes}; ++lane)\n"
            f"        (*x)[lane] = {call}((*x)[lane]);\n}}\n"
        )
        return (
            f"V @library_{name}(V x, I mask)\n{{\n"
            f"    V y = @select(mask, x, (V){{0}});\n    {helper}(&y);\n    return y;\n}}"
        )

    return primitive


def _root(writer: _Writer, dtype: str, lanes: int) -> str:
    call = f"__builtin_sqrt{_SUFFIX[dtype]}"
    if lanes == 1:
        return f"V @sqrt(V x)\n{{\n    return {call}(x);\n}}"
    texts = {
        16: "__builtin_ia32_sqrtp{t}(x)",
        32: "__builtin_ia32_sqrtp{t}256(x)",
        64: "__builtin_ia32_sqrtp{t}512_mask(x, x, -1, 4)",
    }
    special = _on_x86(dtype, lanes, texts).replace("#else\n", "#elif ", 1) or "#if "
    return (
        f"V @sqrt(V x)\n{{\n{special}__has_builtin(__builtin_elementwise_sqrt)\n"
        "    return __builtin_elementwise_sqrt(x);\n#else\n"
        f"    for (int lane = 0; lane < {lanes}; ++lane)\n"
        f"        x[lane] = {call}(x[lane]);\n    return x;\n#endif\n}}"
    )


def _rounding(
    name: str, function: str, elementwise: str, code: int, portable: str
) -> Callable[[_Writer, str, int], str]:
    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        if lanes == 1:
            return f"V @{name}(V x)\n{{\n    return __builtin_{function}{_SUFFIX[dtype]}(x);\n}}"
        texts = {
            16: f"__builtin_ia32_roundp{{t}}(x, {code + 8})",
            32: f"__builtin_ia32_roundp{{t}}256(x, {code + 8})",
            64: f"__builtin_ia32_rndscalep{{t}}_mask(x, {code + 8}, x, -1, 4)",
        }
        special = _on_x86(dtype, lanes, texts).replace("#else\n", "#elif ", 1) or "#if "
        constants = ("8388608.0f", "1.0f") if dtype == "float32" else ("4503599627370496.0", "1.0")
        body = portable.replace("LIMIT", constants[0]).replace("ONE", constants[1])
        return (
            f"V @{name}(V x)\n{{\n{special}__has_builtin(__builtin_elementwise_{elementwise})\n"
            f"    return __builtin_elementwise_{elementwise}(x);\n#else\n{body}#endif\n}}"
        )

    return primitive


# Adding and taking away 2^23 (2^52) rounds to an even integer; larger numbers, infinities and NaN are integers already.
_NEAREST = "    V a = @abs(x);\n    V n = @select(a < LIMIT, @with_sign((a + LIMIT) - LIMIT, x), x);\n"


def _rsqrt(writer: _Writer, dtype: str, lanes: int) -> str:
    one = "1.0f" if dtype == "float32" else "1.0"
    return f"V @rsqrt(V x)\n{{\n    return {one} / @sqrt(x);\n}}"


def _machine_extremum(op: str, dtype: str, lanes: int) -> tuple[str, str] | None:
    """x86's min or max of x and y, which is y where one is NaN: when it is there, and the call of it."""
    letter, size = {"float32": ("s", 4), "float64": ("d", 8)}[dtype]
    found = {
        16: ("__SSE2__", f"__builtin_ia32_{op}p{letter}(x, y)"),
        32: ("__AVX__", f"__builtin_ia32_{op}p{letter}256(x, y)"),
        64: ("__AVX512F__", f"__builtin_ia32_{op}p{letter}512_mask(x, y, x, -1, 4)"),
    }.get(lanes * size)
    return found and (f"defined({found[0]}) && !defined(__clang__)", found[1])


def _extremum(name: str, relation: str) -> Callable[[_Writer, str, int], str]:
    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        if dtype in _SUFFIX:
            plain = f"    V r = @select(x {relation} y, x, y); /* y where one is NaN */\n"
            machine = _machine_extremum(name[:3], dtype, lanes)
            if machine is not None:  # the machine's own does just that
                have, call = machine
                plain = f"#if {have}\n    V r = {call};\n#else\n{plain}#endif\n"
            body = f"{plain}    return @select(x != x, x, r);\n"
        else:
            body = f"    return @select(x {relation} y, x, y);\n"
        return f"V @{name}(V x, V y)\n{{\n{body}}}"

    return primitive


def _abs(writer: _Writer, dtype: str, lanes: int) -> str:
    if dtype.startswith("u"):
        return "V @abs(V x)\n{\n    return x;\n}"
    # Unsigned negation: the least integer is its own absolute value, as in NumPy.
    return "V @abs(V x)\n{\n    return @select(x < 0, (V)(0 - (U)x), x);\n}"


_PRIMITIVES: dict[str, Callable[[_Writer, str, int], str]] = {
    "bits": _bits,
    "real": _real,
    "from_integer": _from_integer,
    "splat": _splat,
    "select": _select,
    "any": _any,
    "scale": _scale,
    "library_sin": _library("sin"),
    "library_cos": _library("cos"),
    "library_tan": _library("tan"),
    "at_most": _limit("at_most", ">", "min"),
    "at_least": _limit("at_least", "<", "max"),
    "sqrt": _root,
    "floor": _rounding("floor", "floor", "floor", 1, _NEAREST + "    return @select(n > x, n - ONE, n);\n"),
    "ceil": _rounding(
        "ceil",
        "ceil",
        "ceil",
        2,
        _NEAREST + "    return @select(n < x, @with_sign(n + ONE, x), n); /* -0 above -1 */\n",
    ),
    "round": _rounding("round", "rint", "rint", 0, _NEAREST + "    return n;\n"),
    "rsqrt": _rsqrt,
    "minimum": _extremum("minimum", "<"),
    "maximum": _extremum("maximum", ">"),
    "abs": _abs,
}


def _pow_in_double(writer: _Writer, dtype: str, lanes: int) -> str:
    """float32's pow computes in float64, in parts of at most eight lanes: the widest vector of one register."""
    part = min(lanes, 8)
    core = writer.need("pow_coarse", "float64", part)
    if lanes == 1:
        return f"V @pow_in_double(V x, V y)\n{{\n    return (V){core}(x, y);\n}}"
    narrow, wide = writer.type("float32", part), writer.type("float64", part)
    widen = "__builtin_convertvector({}, " + wide + ")"
    if lanes == part:
        call = f"{core}({widen.format('x')}, {widen.format('y')})"
        return f"V @pow_in_double(V x, V y)\n{{\n    return __builtin_convertvector({call}, V);\n}}"
    text = "V @pow_in_double(V x, V y)\n{\n"
    text += f"    union {{ V whole; {narrow} part[{lanes // part}]; }} a = {{x}}, b = {{y}}, r;\n"
    for index in range(lanes // part):
        call = f"{core}({widen.format(f'a.part[{index}]')}, {widen.format(f'b.part[{index}]')})"
        text += f"    r.part[{index}] = __builtin_convertvector({call}, {narrow});\n"
    return text + "    return r.whole;\n}"


_PRIMITIVES["pow_in_double"] = _pow_in_double
