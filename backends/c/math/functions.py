"""Elementwise functions as C: one text per function, for vectors of any power-of-two width and for scalars.

The text uses GCC's and Clang's vector extensions, so it serves x86-64 and AArch64 alike. A vector function and its
scalar twin (lanes 1) come from the same template and do the same operations, so the remainder of a vectorised loop has
the bits that its main part would have. Results are within 4 units in the last place over the whole range, with NaN,
infinities, denormals and signed zeros right, under ``-fno-math-errno -fno-trapping-math -ffp-contract=fast`` or
stricter. A few far arguments of sin, cos and tan go to the C library, so kernels link with ``-lm``.

Notation of the templates (`shared`, `float32`, `float64` and the primitives below): ``V`` is the vector (or scalar)
type, ``T`` that of an element, ``I`` and ``U`` the signed and unsigned integers of its width, and ``@name(`` another
function for the same type. Comparisons give an ``I``: all bits set or none in a vector, 0 or 1 in a scalar; ``@select``
takes either. ``$name`` is a constant of the type, ``$name[x]`` the value of a polynomial in x; other numbers with a
point get the type's suffix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from string import Template

from . import float32, float64, shared

# dtype -> prefix of the vector type, C type of an element, bytes
_TYPES = {
    "bool": ("b8", "uint8_t", 1), "float32": ("f32", "float", 4), "float64": ("f64", "double", 8),
    **{f"int{b}": (f"i{b}", f"int{b}_t", b // 8) for b in (8, 16, 32, 64)},
    **{f"uint{b}": (f"u{b}", f"uint{b}_t", b // 8) for b in (8, 16, 32, 64)},
}  # fmt: skip
_FLOATS = {"float32": float32, "float64": float64}
_SUFFIX = {"float32": "f", "float64": ""}
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
    return dtype in _TYPES and dtype != "bool" and name in _FOR_INTEGERS


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
        """The symbol of a function, which is among the texts from now on."""
        result = symbol(name, dtype, lanes)
        if result in self.functions:
            return result
        template = _templates(dtype).get(name)
        if template is None:
            template = _expanded(_PRIMITIVES[name](self, dtype, lanes), dtype)
        bits = 8 * _TYPES[dtype][2]
        types = {
            "V": self.type(dtype, lanes),
            "I": self.type(f"int{bits}", lanes),
            "U": self.type(f"uint{bits}", lanes),
            "T": _TYPES[dtype][1],
        }
        text = re.sub(r"@(\w+)", lambda match: self._call(match[1], name, dtype, lanes), template)
        text = re.sub(r"\b[VIUT]\b", lambda match: types[match[0]], text)
        text = re.sub(r"^(?=\w[\w ]*\w \w+\()", "TE_INLINE ", text, count=1, flags=re.MULTILINE)
        self.functions[result] = text + "\n"
        return result

    def _call(self, name: str, inside: str, dtype: str, lanes: int) -> str:
        return symbol(name, dtype, lanes) if name == inside else self.need(name, dtype, lanes)


# Constants and polynomials --------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _templates(dtype: str) -> dict[str, str]:
    """The templates of a type's functions by name, constants and polynomials filled in."""
    if dtype not in _FLOATS:
        return {}
    whole = shared.TEXTS.strip("\n") + "\n\n" + _FLOATS[dtype].TEXTS.strip("\n")
    texts = [_expanded(text, dtype) for text in re.split(r"(?<=\n\})\n\n", whole)]
    found = {match[1]: text for text in texts if (match := re.search(r"^[VIU] @(\w+)", text, re.MULTILINE))}
    found["cos"] = re.sub(r"sin(?=\((V )?x)", "cos", found["sin"]).replace(" + 0u", " + 1u")
    return found


@lru_cache(maxsize=4)
def _constants(dtype: str) -> dict[str, str]:
    rows = [re.split(r"\s{2,}", line) for line in shared.CONSTANTS.strip().splitlines()]
    return {name: "" if value == "-" else value for name, *both in rows for value in [both[dtype == "float64"]]}


@lru_cache(maxsize=4)
def _polynomials(dtype: str) -> dict[str, list[str]]:
    """Coefficients by the polynomial's name, the highest power first."""
    rows = re.sub(r"#.*", "", _FLOATS[dtype].POLYNOMIALS)
    found: dict[str, list[str]] = {}
    for word in rows.split():
        if word[0].isalpha():
            coefficients = found[word] = []
        else:
            coefficients.append(word)
    return found


def _expanded(text: str, dtype: str) -> str:
    """A template with the constants and polynomials of a type."""
    if dtype not in _FLOATS:
        return text

    def steps(match: re.Match[str]) -> str:
        """Horner's rule, a line a step."""
        declared, name, x = match.groups()
        p = "p" if declared == "return" else declared.split()[-2]
        first, *rest = _polynomials(dtype)[name]
        terms = [f"- {c[1:]}" if c[0] == "-" else f"+ {c}" for c in rest]
        lines = [f"{'V p =' if declared == 'return' else declared} {x} * {first} {terms[0]};"]
        lines += [f"{p} = {p} * {x} {term};" for term in terms[1:]]
        if declared == "return":
            lines[-1] = lines[-1].replace("p =", "return", 1)
        return "\n".join(f"    {line}" for line in lines)

    text = re.sub(r"^    (V \w+ =|\w+ =|return) \$(\w+)\[(\w+)\];$", steps, text, flags=re.MULTILINE)
    pieces = re.split(r"(/\*.*?\*/)", Template(text).safe_substitute(_constants(dtype)))
    decimal = r"(?<![\w.])\d+\.\d+(e[+-]?\d+)?(?![\w.])"
    suffixed = [re.sub(decimal, rf"\g<0>{_SUFFIX[dtype]}", piece) for piece in pieces[::2]]
    return "".join(code + comment for code, comment in zip(suffixed, [*pieces[1::2], ""]))


# What differs between scalars, vectors and compilers ------------------------------------------------------------------

Primitive = Callable[[_Writer, str, int], str]  # writer, dtype, lanes -> template


def _either(scalar: str, vector: str) -> Primitive:
    """A template for scalars and one for vectors."""
    return lambda writer, dtype, lanes: scalar if lanes == 1 else vector


# GCC joins a loop over the lanes of a vector into one instruction only as long as nothing around it is in the way. So
# where x86 has the instruction, GCC's builtin is named, by the vector's bytes; {t} is the letter of the element's type,
# and the mask -1 means every lane. Other compilers and machines get the portable formulation.
def _on_x86(dtype: str, lanes: int, texts: dict[int, str]) -> str:
    """``#if`` and the statement for this width, up to ``#else``; nothing when no instruction has this width."""
    size = _TYPES[dtype][2] * lanes
    if size not in texts or dtype not in _FLOATS:
        return ""
    text = texts[size].replace("{t}", "s" if dtype == "float32" else "d")
    # Asked of GCC alone: Clang has other parameters under some of these names, and needs none of them.
    return f"#if !defined(__clang__) && __has_builtin({text.split('(')[0]})\n    return {text};\n#else\n"


def _widths(stem: str, operands: str, kept: str) -> dict[int, str]:
    """x86's instruction by the vector's bytes. `kept`: what lanes would keep that no mask has."""
    stem = f"__builtin_ia32_{stem}p{{t}}"
    wide = f"{stem}512_mask({operands}, {kept}, -1, 4)"
    return {16: f"{stem}({operands})", 32: f"{stem}256({operands})", 64: wide}


def _limit(name: str, relation: str, instruction: str) -> Primitive:
    """Clamps to a constant and lets NaN through: the instruction returns its second operand then."""

    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        head = f"V @{name}(V x, T limit)\n{{\n"
        if lanes == 1:
            return f"{head}    return x {relation} limit ? limit : x;\n}}"
        special = _on_x86(dtype, lanes, _widths(instruction, "@splat(limit), x", "x"))
        end = "#endif\n}" if special else "}"
        return f"{head}{special}    return @select(x {relation} limit, @splat(limit), x);\n{end}"

    return primitive


def _scale(writer: _Writer, dtype: str, lanes: int) -> str:
    """p * 2^n: n can lie outside the range of normal numbers, hence two factors; only the last product rounds."""
    special = _on_x86(dtype, lanes, {64: "__builtin_ia32_scalefp{t}512_mask(p, n, p, -1, 4)"} if lanes > 1 else {})
    return (
        f"/* p * 2^n; n + {254 if dtype == 'float32' else 2046} stands in the low bits of k as well */\n"
        f"V @scale(V p, V n, I k)\n{{\n    (void)n, (void)k; /* one of them serves */\n{special}"
        "    I half = (I)((U)k >> 1);\n"
        "    return p * @real((I)((U)half << $mantissa)) * @real((I)(((U)k - (U)half) << $mantissa));\n"
        f"{'#endif' + chr(10) if special else ''}}}"
    )


def _any(writer: _Writer, dtype: str, lanes: int) -> str:
    size = _TYPES[dtype][2] * lanes
    if lanes == 1:
        return "int @any(I mask)\n{\n    return mask != 0;\n}"
    if size < 16:
        word = {2: "int16_t", 4: "int32_t", 8: "int64_t"}[size]
        return f"int @any(I mask)\n{{\n    return ({word})mask != 0;\n}}"
    letter = "d" if dtype == "float32" else "q"
    wide = "" if dtype == "float32" else "(long long __attribute__((vector_size(64))))"
    texts = {
        16: "__builtin_ia32_movmskp{t}((V)mask) != 0",
        32: "__builtin_ia32_movmskp{t}256((V)mask) != 0",
        64: f"__builtin_ia32_cvt{letter}2mask512({wide}mask) != 0",
    }
    special = _on_x86(dtype, lanes, texts)
    return f"int @any(I mask)\n{{\n{special}{_halved(writer, size)}{'#endif' + chr(10) if special else ''}}}"


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


def _library(name: str) -> Primitive:
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


def _whole(name: str, builtin: str, texts: dict[int, str], portable: str) -> Primitive:
    """A function of one operand that compilers know, by `__builtin_NAME` for scalars; `portable` is for the rest."""

    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        call = f"__builtin_{builtin}{_SUFFIX[dtype]}"
        if lanes == 1:
            return f"V @{name}(V x)\n{{\n    return {call}(x);\n}}"
        special = _on_x86(dtype, lanes, texts).replace("#else\n", "#elif ", 1) or "#if "
        body = portable.replace("LANES", str(lanes)).replace("CALL", call)
        return (
            f"V @{name}(V x)\n{{\n{special}__has_builtin(__builtin_elementwise_{builtin})\n"
            f"    return __builtin_elementwise_{builtin}(x);\n#else\n{body}#endif\n}}"
        )

    return primitive


def _rounding(name: str, builtin: str, code: int, rest: str) -> Primitive:
    """Adding and taking away 2^23 (2^52) rounds to an even integer; larger numbers, infinities and NaN are integers
    already.
    """
    texts = {
        16: f"__builtin_ia32_roundp{{t}}(x, {code + 8})",
        32: f"__builtin_ia32_roundp{{t}}256(x, {code + 8})",
        64: f"__builtin_ia32_rndscalep{{t}}_mask(x, {code + 8}, x, -1, 4)",
    }
    nearest = "@select(a < $two_to_mantissa, @with_sign((a + $two_to_mantissa) - $two_to_mantissa, x), x)"
    return _whole(name, builtin, texts, f"    V a = @abs(x);\n    V n = {nearest};\n    return {rest}\n")


def _extremum(name: str, relation: str) -> Primitive:
    """Of x and y, NaN where one is NaN. x86's own gives y then, and is named where gcc has it."""
    macros = {16: "__SSE2__", 32: "__AVX__", 64: "__AVX512F__"}

    def primitive(writer: _Writer, dtype: str, lanes: int) -> str:
        head = f"V @{name}(V x, V y)\n{{\n"
        if dtype not in _FLOATS:
            return f"{head}    return @select(x {relation} y, x, y);\n}}"
        plain = f"    V r = @select(x {relation} y, x, y); /* y where one is NaN */\n"
        size = _TYPES[dtype][2] * lanes
        if size in macros:
            call = _widths(name[:3], "x, y", "x")[size].replace("{t}", "s" if dtype == "float32" else "d")
            have = f"#if defined({macros[size]}) && !defined(__clang__)"
            plain = f"{have}\n    V r = {call};\n#else\n{plain}#endif\n"
        return f"{head}{plain}    return @select(x != x, x, r);\n}}"

    return primitive


def _abs(writer: _Writer, dtype: str, lanes: int) -> str:
    if dtype.startswith("u"):
        return "V @abs(V x)\n{\n    return x;\n}"
    # Unsigned negation: the least integer is its own absolute value, as in NumPy.
    return "V @abs(V x)\n{\n    return @select(x < 0, (V)(0 - (U)x), x);\n}"


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


_LANES = "    for (int lane = 0; lane < LANES; ++lane)\n        x[lane] = CALL(x[lane]);\n    return x;\n"
_PRIMITIVES: dict[str, Primitive] = {
    "bits": _either(
        "I @bits(V x)\n{\n    union { V real; I bits; } u = {.real = x};\n    return u.bits;\n}",
        "I @bits(V x)\n{\n    return (I)x;\n}",
    ),
    "real": _either(
        "V @real(I x)\n{\n    union { I bits; V real; } u = {.bits = x};\n    return u.real;\n}",
        "V @real(I x)\n{\n    return (V)x;\n}",
    ),
    "from_integer": _either(
        "V @from_integer(I x)\n{\n    return (V)x;\n}",
        "V @from_integer(I x)\n{\n    return __builtin_convertvector(x, V);\n}",
    ),
    # x - 0 is x for every x, -0 and NaN included, and compilers know it.
    "splat": _either(
        "V @splat(T x)\n{\n    return x;\n}",
        "V @splat(T x)\n{\n    return x - (V){0};\n}",
    ),
    "select": _either(
        "V @select(I mask, V a, V b)\n{\n    return mask ? a : b;\n}",
        "V @select(I mask, V a, V b)\n{\n    return (V)((((I)a ^ (I)b) & mask) ^ (I)b);\n}",
    ),
    "any": _any,
    "scale": _scale,
    "library_sin": _library("sin"),
    "library_cos": _library("cos"),
    "library_tan": _library("tan"),
    "at_most": _limit("at_most", ">", "min"),
    "at_least": _limit("at_least", "<", "max"),
    "sqrt": _whole("sqrt", "sqrt", _widths("sqrt", "x", "x"), _LANES),
    "floor": _rounding("floor", "floor", 1, "@select(n > x, n - 1.0, n);"),
    "ceil": _rounding("ceil", "ceil", 2, "@select(n < x, @with_sign(n + 1.0, x), n); /* -0 above -1 */"),
    "round": _rounding("round", "rint", 0, "n;"),
    "rsqrt": lambda writer, dtype, lanes: "V @rsqrt(V x)\n{\n    return 1.0 / @sqrt(x);\n}",
    "minimum": _extremum("minimum", "<"),
    "maximum": _extremum("maximum", ">"),
    "abs": _abs,
    "pow_in_double": _pow_in_double,
}
