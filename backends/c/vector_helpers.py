"""The functions on whole vectors that the generated code calls: each method says the name of a function, and notes its
text.
"""

from __future__ import annotations

from tedsl.backends.codegen.dialect import short
from tedsl.lang import dtypes
from tedsl.lang.functions import FUNCTIONS

from .dialect import CTYPES
from .math import functions as vector_math

COMPARE = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
# comparison -> the predicates of the machine: of floats and of their negation, of integers and of their negation
PREDICATES = {
    "less": (17, 21, 1, 5),
    "less_equal": (18, 22, 2, 6),
    "greater": (30, 26, 6, 2),
    "greater_equal": (29, 25, 5, 1),
    "equal": (0, 4, 0, 4),
    "not_equal": (4, 0, 4, 0),
    "isnan": (3, 7, -1, -1),
}
LETTER = {"float32": "ps", "float64": "pd", "int32": "d", "int64": "q"}
HAVE = "defined(__AVX512VL__) && !defined(__clang__)"
FENCE = "te_stream_fence"
# bytes of a vector -> the macro that says that its instruction is there, and gcc's name of it
STREAMED = {16: ("__SSE__", "movntps"), 32: ("__AVX__", "movntps256"), 64: ("__AVX512F__", "movntps512")}

EXTREMA = {16: ("__SSE2__", ""), 32: ("__AVX__", "256"), 64: ("__AVX512F__", "512_mask")}


class VectorHelpers:
    """`types`: the vector types in use; `texts`: name -> text of the functions, in the order of their first use."""

    def __init__(self) -> None:
        self.types: set[tuple[str, int]] = set()
        self.texts: dict[str, str] = {}
        self.shuffles: dict[tuple[str, str], str] = {}

    def type(self, dtype: str, lanes: int) -> str:
        """The C type of so many lanes."""
        self.types.add((dtype, lanes))
        return vector_math.vector_type(dtype, lanes)

    def integers(self, dtype: str, lanes: int) -> str:
        """The vector of signed integers of a type's width."""
        return self.type(f"int{8 * dtypes.itemsize(dtype)}", lanes)

    def inline(self, name: str, result: str, parameters: str, body: str) -> str:
        self.texts[name] = f"static inline {result} {name}({parameters}) {{ {body} }}"
        return name

    def either(self, name: str, result: str, parameters: str, have: str, machine: str, plain: str) -> str:
        """A function that is an instruction where the machine has it."""
        self.texts[name] = (
            f"static inline {result} {name}({parameters})\n{{\n#if {have}\n    return {machine};\n#else\n"
            f"    return {plain};\n#endif\n}}"
        )
        return name

    # Parts, shuffles, conversions -------------------------------------------------------------------------------------

    def part(self, what: str, dtype: str, lanes: int, part: int, own: int) -> str:
        """A function that takes a "part" of so many lanes out of a vector, or will "put" one in."""
        w, n = self.type(dtype, lanes), self.type(dtype, own)
        name = f"te_{what}{part}_{short(dtype)}x{lanes}to{own}"
        union = f"union {{ {w} w; {n} n[{lanes // own}]; }} u = {{x}};"
        if what == "part":
            return self.inline(name, n, f"{w} x", f"{union} return u.n[{part}];")
        return self.inline(name, w, f"{w} x, {n} y", f"{union} u.n[{part}] = y; return u.w;")

    def shuffle(self, dtype: str, picks: tuple[int, ...]) -> str:
        """A function of two vectors that takes the lanes `picks` of both, those of the second counted on."""
        t, i = self.type(dtype, len(picks)), self.integers(dtype, len(picks))
        body = ", ".join(map(str, picks))
        if (dtype, body) not in self.shuffles:
            name = f"te_shuffle{len(self.shuffles)}_{short(dtype)}x{len(picks)}"
            self.texts[name] = (
                f"static inline {t} {name}({t} a, {t} b)\n{{\n#ifdef __clang__\n    return "
                f"__builtin_shufflevector(a, b, {body});\n#else\n"
                f"    return __builtin_shuffle(a, b, ({i}){{{body}}});\n#endif\n}}"
            )
            self.shuffles[dtype, body] = name
        return self.shuffles[dtype, body]

    def widen(self, source: str, half: str, whole: str) -> str:
        """Sixteen bytes as 32-bit numbers: one instruction of AVX-512, which gcc does not find by itself."""
        x, h, w = (self.type(k, 16) for k in (source, half, whole))
        name = f"te_widen_{short(source)}x16_{short(whole)}"
        self.texts[name] = f"""\
static inline {w} {name}({x} x)
{{
#if defined(__AVX512F__) && !defined(__clang__)
    typedef char bytes __attribute__((vector_size(16)));
    typedef int words __attribute__((vector_size(64)));
    return ({w})__builtin_ia32_pmov{"z" if source in dtypes.UNSIGNED else "s"}xbd512_mask(\
(bytes)x, (words){{0}}, (short)-1);
#else
    return __builtin_convertvector(__builtin_convertvector(x, {h}), {w});
#endif
}}"""
        return name

    def extremum(self, which: str, dtype: str, lanes: int) -> str:
        """The machine's own minimum ("min") or maximum ("max")."""
        t, i = self.type(dtype, lanes), self.integers(dtype, lanes)
        name = f"te_f{which}_{short(dtype)}x{lanes}"
        relation, letter = ("<" if which == "min" else ">"), ("s" if dtype == "float32" else "d")
        plain = f"{i} m = a {relation} b; return ({t})((({i})a & m) | (({i})b & ~m));"
        have, width = EXTREMA.get(dtypes.itemsize(dtype) * lanes, ("", ""))
        if have:
            operands = "a, b, a, -1, 4" if width.endswith("mask") else "a, b"
            machine = f"return __builtin_ia32_{which}p{letter}{width}({operands});"
            plain = f"\n#if defined({have}) && !defined(__clang__)\n    {machine}\n#else\n    {plain}\n#endif\n"
        return self.inline(name, t, f"{t} a, {t} b", plain)

    # Selects by comparisons: with AVX-512 a comparison gives a bit for each lane and the select takes them, where gcc
    # would make whole vectors of the bits, combine these, and turn the result into bits again

    def pick(self, dtype: str, lanes: int) -> str:
        """The function that selects by a mask."""
        t, i = self.type(dtype, lanes), self.integers(dtype, lanes)
        body = f"return ({t})(((({i})a ^ ({i})b) & mask) ^ ({i})b);"
        return self.inline(f"te_pick_{short(dtype)}x{lanes}", t, f"{i} mask, {t} a, {t} b", body)

    def choose(self, dtype: str, lanes: int) -> str:
        """The function that selects by bits."""
        size, t, i = dtypes.itemsize(dtype), self.type(dtype, lanes), self.integers(dtype, lanes)
        letter = LETTER[dtype if dtypes.is_float(dtype) else f"int{8 * size}"]
        own = t if dtypes.is_float(dtype) else self.machine_type(size, lanes)
        machine = f"({t})__builtin_ia32_blendm{letter}_{8 * size * lanes}_mask(({own})b, ({own})a, bits)"
        plain = f"({t})(((({i})a ^ ({i})b) & bits) ^ ({i})b)"
        parameters = f"{self.bits_type(size, lanes)} bits, {t} a, {t} b"
        return self.either(f"te_choose_{short(dtype)}x{lanes}", t, parameters, HAVE, machine, plain)

    def bits_type(self, size: int, lanes: int) -> str:
        """The type of a condition on all lanes: bits, or a vector of integers of `size` bytes."""
        name = f"te_bits{8 * size}x{lanes}"
        bits = "unsigned short" if lanes == 16 else "unsigned char"
        plain = self.type(f"int{8 * size}", lanes)
        self.texts[name] = f"#if {HAVE}\ntypedef {bits} {name};\n#else\ntypedef {plain} {name};\n#endif"
        return name

    def machine_type(self, size: int, lanes: int) -> str:
        """The vector of integers that the compiler's own functions take: those of 64 bits are `long long` to them."""
        if size == 4:
            return self.type("int32", lanes)
        name = f"te_long{lanes}"
        self.texts[name] = f"typedef long long {name} __attribute__((vector_size({8 * lanes})));"
        return name

    def comparison(self, f: str, kind: str, negated: bool, lanes: int) -> str:
        """The function that compares vectors, to bits."""
        size = dtypes.itemsize(kind)
        t, result = self.type(kind, lanes), self.bits_type(size, lanes)
        name = f"te_{'not_' if negated else ''}{f}_{short(kind)}x{lanes}"
        width, all_lanes = 8 * size * lanes, f"({'unsigned short' if lanes == 16 else 'unsigned char'})-1"
        predicate = PREDICATES[f][negated if dtypes.is_float(kind) else 2 + negated]
        test = FUNCTIONS[f].kind == "test"
        b = "a" if test else "b"
        if dtypes.is_float(kind):
            rounding = ", 4" if width == 512 else ""
            machine = f"__builtin_ia32_cmp{LETTER[kind]}{width}_mask(a, {b}, {predicate}, {all_lanes}{rounding})"
        else:
            i, unsigned = self.machine_type(size, lanes), "u" if kind in dtypes.UNSIGNED else ""
            stem = f"{unsigned}cmp{LETTER[f'int{8 * size}']}{width}"
            machine = f"__builtin_ia32_{stem}_mask(({i})a, ({i})b, {predicate}, {all_lanes})"
        plain = "a != a" if test else f"a {COMPARE[f]} b"
        parameters = f"{t} a" if test else f"{t} a, {t} b"
        return self.either(name, result, parameters, HAVE, machine, f"~({plain})" if negated else plain)

    # Stores past the caches -------------------------------------------------------------------------------------------

    def fence(self) -> str:
        """The statement that waits for such stores."""
        self.texts[FENCE] = (
            f"static inline void {FENCE}(void)\n{{\n#if defined(__SSE2__)\n    __builtin_ia32_sfence();\n#endif\n}}"
        )
        return f"{FENCE}();"

    def past(self, dtype: str, lanes: int) -> str:
        """The function that stores a vector past the caches; "" for vectors of no register's width."""
        bytes_ = lanes * dtypes.itemsize(dtype)
        if bytes_ not in STREAMED:
            return ""
        macro, instruction = STREAMED[bytes_]
        kind, floats = self.type(dtype, lanes), self.type("float32", bytes_ // 4)
        name = f"te_stream_{short(dtype)}x{lanes}"
        self.texts[name] = f"""\
static inline void {name}(void *p, {kind} x)
{{
#if defined(__clang__)
    __builtin_nontemporal_store(x, ({kind} *)p);
#elif defined({macro})
    __builtin_ia32_{instruction}((float *)p, ({floats})x);
#else
    *({kind}_a *)p = x;
#endif
}}"""
        return name

    def turn(self, dtype: str, lanes: int) -> str:
        """The function that says which lanes of two vectors make a line, from how far the first one lies behind where a
        whole vector may go.
        """
        whole, kind = f"int{8 * dtypes.itemsize(dtype)}", self.integers(dtype, lanes)
        name = f"te_turn_{short(whole)}x{lanes}"
        first = ", ".join(str(lanes + n) for n in range(lanes))
        self.texts[name] = f"""\
static inline {kind} {name}(int64_t shift)
{{
    return ({kind}){{{first}}} - ({CTYPES[whole]})shift;
}}"""
        return name

    def next(self, dtype: str, lanes: int) -> str:
        """The function that writes a line from the vector before and this one."""
        kind, whole = self.type(dtype, lanes), self.integers(dtype, lanes)
        name = f"te_next_{short(dtype)}x{lanes}"
        past = self.past(dtype, lanes)
        self.texts[name] = f"""\
static inline void {name}({CTYPES[dtype]} *p, int64_t shift, {whole} turn, {kind} *last, {kind} x)
{{
#if defined(__clang__)
    (void)shift, (void)turn;
    *({kind}_u *)p = x;
#else
    {past}(p - shift, __builtin_shuffle(*last, x, turn));
#endif
    *last = x;
}}"""
        return name

    # Squares ----------------------------------------------------------------------------------------------------------

    def transpose(self, dtype: str, lanes: int) -> str:
        """The function that turns a square of so many rows of so many lanes."""
        kind, index = self.type(dtype, lanes), self.integers(dtype, lanes)
        name = f"te_turn_{kind}"
        self.texts["te_shuffle"] = """\
#if defined(__clang__) || __GNUC__ >= 12
#define TE_SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TE_SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif"""
        steps = _turning(lanes, 16 // dtypes.itemsize(dtype), kind, index)
        self.texts[name] = "\n".join([f"static inline void {name}({kind} *r)", "{", *steps, "}"])
        return name


def _turning(lanes: int, each: int, kind: str, index: str) -> list[str]:
    """Shuffles that turn a square; `each`: lanes in 16 bytes. First inside of 16 bytes, then whole blocks of them:
    every one is an instruction.
    """
    lines: list[str] = []
    serial = 0

    def shuffle(a: str, b: str, places: list[int]) -> str:
        nonlocal serial
        serial += 1
        lines.append(f"    const {kind} s{serial} = TE_SHUFFLE({index}, {a}, {b}, {', '.join(map(str, places))});")
        return f"s{serial}"

    def zip_(a: str, b: str, half: int, run: int) -> str:
        """Runs of `run` lanes by turns from a and b, from the lower or upper half of each 16 bytes."""
        places = []
        for block in range(0, lanes, each):
            for at in range(block + half * each // 2, block + (half + 1) * each // 2, run):
                places += [*range(at, at + run), *range(lanes + at, lanes + at + run)]
        return shuffle(a, b, places)

    def blocks(a: str, b: str, chosen: list[int]) -> str:
        """Blocks of 16 bytes, the first half of them from a, the others from b."""
        half = len(chosen) // 2
        places = [
            block * each + e + (lanes if at >= half else 0) for at, block in enumerate(chosen) for e in range(each)
        ]
        return shuffle(a, b, places)

    rows = [f"r[{n}]" for n in range(lanes)]
    groups: list[list[str]] = []  # [group of rows][column within 16 bytes]
    for at in range(0, lanes, each):
        if each == 4:
            a, b, c, d = rows[at : at + 4]
            ab, cd = [zip_(a, b, half, 1) for half in (0, 1)], [zip_(c, d, half, 1) for half in (0, 1)]
            groups.append([zip_(ab[m // 2], cd[m // 2], m % 2, 2) for m in range(4)])
        else:
            a, b = rows[at : at + 2]
            groups.append([zip_(a, b, half, 1) for half in (0, 1)])
    results = [""] * lanes
    units = lanes // each
    for m in range(each):
        column = [group[m] for group in groups]
        if units == 1:
            turned_ = column
        elif units == 2:
            turned_ = [blocks(column[0], column[1], [q, q]) for q in (0, 1)]
        else:
            low = [blocks(column[at], column[at + 1], [0, 1, 0, 1]) for at in (0, 2)]
            high = [blocks(column[at], column[at + 1], [2, 3, 2, 3]) for at in (0, 2)]
            turned_ = [blocks(a, b, [q % 2, 2 + q % 2] * 2) for a, b in (low, high) for q in (0, 1)]
        for q, result in enumerate(turned_):
            results[q * each + m] = result
    lines += [f"    r[{n}] = {result};" for n, result in enumerate(results)]
    return lines
