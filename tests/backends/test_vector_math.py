"""The vector functions against the C library in wider precision, over every machine's flags, width and corner of the range.

Each run checks every 509th float32 (another prime for the lesser instruction sets). `make exhaustive` checks all 2^32 of them, which takes
minutes for each function; `ONLY=sin-avx2` checks what has that in its name, `PART=2/8` the second eighth of the values.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tedsl.backends.c.math import functions as vector_math

COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

FLAGS = ["-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
CONTRACT = "-ffp-contract=fast"
AVX512 = "-mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mprefer-vector-width=512".split()
# name -> (flags, the CPU features that running it needs)
MACHINES: dict[str, tuple[list[str], tuple[str, ...]]] = (
    {
        "sse2": (["-O2"], ()),
        "avx2": (["-O3", "-mavx2", "-mfma", CONTRACT], ("avx2", "fma")),
        "avx512": (["-O3", *AVX512, CONTRACT], ("avx512f", "avx512dq", "avx512bw", "avx512vl")),
        "no contraction": (["-O1", "-mavx2", "-mfma", "-ffp-contract=off"], ("avx2", "fma")),
    }
    if platform.machine() in ("x86_64", "AMD64")
    else {"plain": (["-O3", CONTRACT], ()), "no contraction": (["-O1", "-ffp-contract=off"], ())}
)
WIDTHS = {"float32": (1, 4, 16), "float64": (1, 2, 8)}
UNARY = [name for name in vector_math.FUNCTIONS if name not in vector_math.BINARY]
EXACT = {"abs", "minimum", "maximum", "floor", "ceil", "round"}

# The same for float (T = float, R = double) and double (T = double, R = long double).
HARNESS = r"""
#include <math.h>
#include <float.h>
#include <string.h>

#define REFERENCES(S) \
    static R_##S reference_abs_##S(R_##S x) { return F_##S(fabs)(x); } \
    static R_##S reference_round_##S(R_##S x) { return F_##S(rint)(x); } \
    static R_##S reference_rsqrt_##S(R_##S x) { return 1 / F_##S(sqrt)(x); } \
    static R_##S reference_sigmoid_##S(R_##S x) { return x < 0 ? F_##S(exp)(x) / (1 + F_##S(exp)(x)) : 1 / (1 + F_##S(exp)(-x)); } \
    static R_##S reference_minimum_##S(R_##S x, R_##S y) { return x != x || y != y ? x + y : x < y ? x : y; } \
    static R_##S reference_maximum_##S(R_##S x, R_##S y) { return x != x || y != y ? x + y : x > y ? x : y; }
typedef double R_f32;
typedef long double R_f64;
#define F_f32(name) name
#define F_f64(name) name##l
REFERENCES(f32)
REFERENCES(f64)

/* The error in units in the last place of T; infinite for a wrong NaN, infinity or sign of zero. */
static double error_f32(float got, double want)
{
    if (want != want || got != got) return want != want && got != got ? 0 : INFINITY;
    if (isinf(want) || isinf((float)want)) {
        if (got == (float)want) return 0;
        return isinf(want) || fabsf(got) < FLT_MAX || (got < 0) != (want < 0) ? INFINITY : 1;
    }
    if (want == 0) return got == 0 && !signbit(got) == !signbit(want) ? 0 : INFINITY;
    double g = isinf(got) ? copysign(0x1p128, got) : got;
    double size = fabs(want) < FLT_MIN ? FLT_MIN : want;
    unsigned long long bits;
    memcpy(&bits, &size, 8);
    bits &= 0x7ff0000000000000ull;
    double power;
    memcpy(&power, &bits, 8);
    return fabs(g - want) / (power * 0x1p-23);
}

static double error_f64(double got, long double want)
{
    if (want != want || got != got) return want != want && got != got ? 0 : INFINITY;
    if (isinf(want) || isinf((double)want)) {
        if (got == (double)want) return 0;
        return isinf(want) || fabs(got) < DBL_MAX || (got < 0) != (want < 0) ? INFINITY : 1;
    }
    if (want == 0) return got == 0 && !signbit(got) == !signbit((double)want) ? 0 : INFINITY;
    long double g = isinf(got) ? copysignl(0x1p1024L, got) : got;
    int exponent;
    frexpl(fabsl(want) < DBL_MIN ? DBL_MIN : want, &exponent);
    return (double)fabsl((g - want) / ldexpl(1, exponent - 53));
}

static float float_of(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
"""


def run_text(name: str, dtype: str, lanes: int) -> str:
    """``run``: over n elements, a multiple of the width; arrays need no alignment."""
    symbol, kind = vector_math.symbol(name, dtype, lanes), vector_math.vector_type(dtype, lanes)
    scalar = vector_math.vector_type(dtype, 1)
    load = "*(const {t} *)({a} + i)".format
    memory = kind if lanes == 1 else kind + "_u"
    arguments = ", ".join(load(t=memory, a=a) for a in ("x", "y")[: 1 + (name in vector_math.BINARY)])
    return (
        f"void run_{symbol}(const {scalar} *x, const {scalar} *y, {scalar} *out, long n)\n"
        f"{{\n    (void)y;\n    for (long i = 0; i < n; i += {lanes})\n"
        f"        *({memory} *)(out + i) = {symbol}({arguments});\n}}\n"
    )


def library_name(name: str, suffix: str) -> str:
    own = {"abs", "round", "rsqrt", "sigmoid", "minimum", "maximum"}
    return f"reference_{name}_{suffix}" if name in own else name if suffix == "f32" else f"{name}l"


def check_text(name: str, dtype: str) -> str:
    """``check``: the worst error of the results in ``out``; and for float32 a sweep over its bit patterns."""
    suffix = "f32" if dtype == "float32" else "f64"
    binary, scalar = name in vector_math.BINARY, vector_math.vector_type(dtype, 1)
    reference = library_name(name, suffix)
    text = (
        f"double check_{name}_{suffix}(const {scalar} *x, const {scalar} *y, const {scalar} *out, long n, long *where)\n"
        "{\n    (void)y;\n    double worst = -1;\n    for (long i = 0; i < n; ++i) {\n"
        f"        double e = error_{suffix}(out[i], {reference}(x[i]{', y[i]' if binary else ''}));\n"
        "        if (e > worst) { worst = e; *where = i; }\n    }\n    return worst;\n}\n"
    )
    if dtype == "float64" or binary:
        return text
    wide, one = vector_math.symbol(name, dtype, 16), vector_math.symbol(name, dtype, 1)
    return text + (
        f"double sweep_{name}(unsigned long long first, unsigned long long last, unsigned long long stride, unsigned *where, long *different)\n{{\n"
        "    double worst = -1;\n    *different = 0;\n    float x[1024], out[1024], alone[1024];\n"
        "    for (unsigned long long u = first; u < last; u += 1024 * stride) {\n"
        "        long n = 0;\n"
        "        for (; n < 1024; ++n) x[n] = float_of((unsigned)(u + n * stride < 0x100000000ull ? u + n * stride : first));\n"
        f"        run_{wide}(x, x, out, 1024);\n        run_{one}(x, x, alone, 1024);\n"
        "        if (memcmp(out, alone, sizeof out))\n"
        "            for (n = 0; n < 1024; ++n)\n"
        "                *different += memcmp(out + n, alone + n, 4) && (out[n] == out[n] || alone[n] == alone[n]);\n"
        "        for (n = 0; n < 1024; ++n) {\n"
        f"            double e = error_f32(out[n], {reference}(x[n]));\n"
        "            if (e > worst) { worst = e; memcpy(where, x + n, 4); }\n        }\n    }\n    return worst;\n}\n"
    )


def compile_library(folder: Path, flags: list[str], dtype: str) -> ctypes.CDLL:
    """The functions with the flags under test, and the references with plain ones, in one shared object."""
    wanted = [(name, dtype, lanes) for name in vector_math.FUNCTIONS for lanes in WIDTHS[dtype]]
    runs = vector_math.source(wanted) + "".join(run_text(*item) for item in wanted)
    declared = "".join(run_text(*item).split("\n")[0] + ";\n" for item in wanted)
    checks = HARNESS + declared + "".join(check_text(name, dtype) for name in vector_math.FUNCTIONS)
    (folder / "runs.c").write_text(runs)
    (folder / "checks.c").write_text(checks)
    assert COMPILER is not None
    commands = [
        [COMPILER, *FLAGS, *flags, "-fPIC", "-c", "runs.c", "-o", "runs.o"],
        [COMPILER, "-std=gnu11", "-O2", "-w", "-fPIC", "-c", "checks.c", "-o", "checks.o"],
        [COMPILER, "-shared", "runs.o", "checks.o", "-o", "library.so", "-lm"],
    ]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "library.so"))


def runs_here(features: tuple[str, ...]) -> bool:
    if not features:
        return True
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return set(features) <= set(words)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], ctypes.CDLL]:
    built: dict[tuple[str, str], ctypes.CDLL] = {}

    def get(machine: str, dtype: str) -> ctypes.CDLL:
        flags, features = MACHINES[machine]
        if not runs_here(features):
            pytest.skip(f"this machine lacks one of {features}")
        if (machine, dtype) not in built:
            built[machine, dtype] = compile_library(tmp_path_factory.mktemp("vector_math"), flags, dtype)
        return built[machine, dtype]

    return get


def run(library: ctypes.CDLL, name: str, dtype: str, lanes: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    function = getattr(library, "run_" + vector_math.symbol(name, dtype, lanes))
    function(*(ctypes.c_void_p(a.ctypes.data) for a in (x, y, out)), ctypes.c_long(x.size))
    return out


def worst(
    library: ctypes.CDLL, name: str, dtype: str, x: np.ndarray, y: np.ndarray, out: np.ndarray
) -> tuple[float, str]:
    check = getattr(library, f"check_{name}_{'f32' if dtype == 'float32' else 'f64'}")
    check.restype = ctypes.c_double
    where = ctypes.c_long(0)
    pointers = (ctypes.c_void_p(a.ctypes.data) for a in (x, y, out))
    error = check(*pointers, ctypes.c_long(x.size), ctypes.byref(where))
    i = where.value
    return error, f"{name}({x[i].hex() if dtype == 'float64' else x[i]!r}, {y[i]!r}) = {out[i]!r}"


def special_values(dtype: str) -> np.ndarray:
    """What goes wrong first: both sides of every bound in the code, of overflow, underflow, and of multiples of pi/2."""
    info, real = np.finfo(dtype), np.dtype(dtype).type
    bits = 128 if dtype == "float32" else 1024
    values = [
        0.0,
        info.smallest_subnormal,
        info.smallest_normal,
        info.max,
        math.inf,
        math.nan,
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
        3.0,
    ]
    values += [float(info.eps) / 2**k for k in range(4)] + [float(2**k) for k in range(-bits + 2, bits)]
    values += [3.93, 9.02, 20.0, 40.0, 88.72284, 89.0, 90.0, 103.97208, 104.0, 128.0, 149.0, 150.0, 709.782712893384]
    values += [
        745.1332191019412,
        746.0,
        1024.0,
        1074.0,
        1075.0,
        6.0,
        6000.0,
        1600000.0,
        0.4142135623730951,
        2.414213562373095,
    ]
    values += [k * math.pi / 2 for k in range(1, 200)] + [k * math.log(2) / 2 for k in range(1, 300)]
    values += [math.sqrt(0.5), math.sqrt(2.0), 0.41421356, 8388607.5, 8388608.0, 4503599627370495.5, 4503599627370496.0]
    with np.errstate(over="ignore", under="ignore"):
        base = np.array(values).astype(real)
        near = [base]
        for target in (real(0), real(math.inf)):
            step = base
            for _ in range(3):
                step = np.nextafter(step, target)
                near.append(step)
    positive = np.concatenate(near)
    return np.concatenate([positive, -positive])


def padded(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones(-x.size % 16, x.dtype)])


def arguments(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    random, real = np.random.default_rng(7), np.dtype(dtype).type
    special = special_values(dtype)
    count = 60_000 if dtype == "float64" else 20_000
    if name not in vector_math.BINARY:
        scale = np.exp2(random.uniform(-30, 12, count))
        patterns = random.integers(0, 2**64, count, np.uint64).view(np.float64)[:count]
        with np.errstate(all="ignore"):
            parts = [
                special,
                (random.standard_normal(count) * scale).astype(real),
                random.uniform(-2, 2, count).astype(real),
            ]
            x = padded(np.concatenate([*parts, patterns.astype(real)]))
        return x, x
    few = special[:: max(1, special.size // 300)]
    a, b = np.meshgrid(few, few)
    x, y = random.uniform(0, 4, count).astype(real), (random.standard_normal(count) * 50).astype(real)
    near_one = (1 + random.standard_normal(count) * 1e-3).astype(real)
    large = (random.standard_normal(count) * (3e4 if dtype == "float32" else 3e5)).astype(real)
    whole = np.round(random.standard_normal(count) * 30).astype(real)
    xs = [a.ravel(), x, near_one, -x, random.standard_normal(count).astype(real)]
    ys = [b.ravel(), y, large, whole, whole]
    return padded(np.concatenate(xs)), padded(np.concatenate(ys))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", vector_math.FUNCTIONS)
def test_accuracy_and_same_bits(
    name: str, dtype: str, machine: str, library: Callable[[str, str], ctypes.CDLL]
) -> None:
    lib = library(machine, dtype)
    x, y = arguments(name, dtype)
    widths = WIDTHS[dtype]
    results = [run(lib, name, dtype, lanes, x, y) for lanes in widths]
    error, where = worst(lib, name, dtype, x, y, results[0])
    if name in ("minimum", "maximum") and error == math.inf:  # min(0, -0) may have either sign
        keep = ~((x == 0) & (y == 0))
        error, where = worst(lib, name, dtype, padded(x[keep]), padded(y[keep]), padded(results[0][keep]))
    assert error <= (0 if name in EXACT else 4), f"{error} ulp: {where}"
    for lanes, result in zip(widths[1:], results[1:]):
        np.testing.assert_array_equal(result, results[0], err_msg=f"{lanes} lanes")
        assert (np.signbit(result) == np.signbit(results[0]))[~np.isnan(result)].all(), f"{lanes} lanes: a sign of zero"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", UNARY)
def test_float32_range(name: str, machine: str, library: Callable[[str, str], ctypes.CDLL]) -> None:
    """Bit patterns of float32 from one end to the other, in the widest vector and in the scalar function."""
    usual = 509 if machine == list(MACHINES)[-2] else 65521
    stride = int(os.environ.get("TEDSL_VECTOR_MATH_STRIDE", usual))
    sweep = getattr(library(machine, "float32"), f"sweep_{name}")
    sweep.restype = ctypes.c_double
    where, different = ctypes.c_uint(0), ctypes.c_long(0)
    part, parts = map(int, os.environ.get("TEDSL_VECTOR_MATH_PART", "1/1").split("/"))
    assert 1 <= part <= parts, f"part {part} of {parts}"
    bounds = (ctypes.c_ulonglong(value) for value in (2**32 * (part - 1) // parts, 2**32 * part // parts, stride))
    error = sweep(*bounds, ctypes.byref(where), ctypes.byref(different))
    assert error <= (0 if name in EXACT else 4), f"{error} ulp at the float32 with the bits {where.value:#x}"
    assert different.value == 0, "the scalar function gives other bits than the vector function"


@pytest.mark.skipif(platform.system() != "Linux", reason="needs the compiler's sanitizer library")
@pytest.mark.parametrize("dtype", WIDTHS)
def test_no_undefined_behaviour_in_scalar_functions(dtype: str, tmp_path: Path) -> None:
    """Every special value through every scalar function: shifts and integer sums must not overflow."""
    bits = 32 if dtype == "float32" else 64
    functions = [(name, dtype, 1) for name in vector_math.FUNCTIONS]
    integers = [f"0x{v:x}u{'ll' if bits == 64 else ''}" for v in special_values(dtype).view(f"uint{bits}")[::7]]
    integers += [
        f"0x{(1 << bits) - 1:x}u",
        f"0x{(1 << bits - 1) - 1:x}u",
        f"0x{((1 << bits) - 1) ^ (1 << bits - 2):x}u",
    ]
    real = vector_math.vector_type(dtype, 1)
    text = vector_math.source(functions) + "".join(run_text(*item) for item in functions)
    text += f"#include <string.h>\nstatic const uint{bits}_t bits[] = {{{', '.join(integers)}}};\n"
    text += f"static {real} x[sizeof bits / {bits // 8}], out[sizeof bits / {bits // 8}];\n"
    text += "int main(void)\n{\n    memcpy(x, bits, sizeof bits);\n"
    text += "".join(
        f"    run_{vector_math.symbol(*item)}(x, x, out, (long)(sizeof bits / {bits // 8}));\n" for item in functions
    )
    (tmp_path / "main.c").write_text(text + "    return 0;\n}\n")
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    command = [str(COMPILER), "-std=gnu11", "-O1", *sanitize, "main.c", "-o", "main", "-lm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if "cannot find" in done.stderr:
        pytest.skip("the compiler has no sanitizer library")
    assert done.returncode == 0, done.stderr
    done = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers(dtype: str, tmp_path: Path) -> None:
    names, widths = ("abs", "minimum", "maximum"), (1, 4, 16)
    functions = [(name, dtype, lanes) for name in names for lanes in widths]
    (tmp_path / "runs.c").write_text(vector_math.source(functions) + "".join(run_text(*item) for item in functions))
    flags = [*FLAGS, "-O3", "-shared", "-fPIC"]
    done = subprocess.run(
        [str(COMPILER), *flags, "runs.c", "-o", "runs.so"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(tmp_path / "runs.so"))
    info, random = np.iinfo(dtype), np.random.default_rng(3)
    x, y = (random.integers(info.min, info.max, 256, dtype, endpoint=True) for _ in range(2))
    x[:4], y[:4] = [info.min, info.max, info.min, 0], [info.max, info.min, info.min, info.min]
    for name in names:
        expected = np.abs(x) if name == "abs" else getattr(np, name)(x, y)
        for lanes in widths:
            np.testing.assert_array_equal(
                run(library, name, dtype, lanes, x, y), expected, err_msg=f"{name}, {lanes} lanes"
            )


def test_each_function_once_after_what_it_calls() -> None:
    wanted = [("erf", "float64", 8), ("exp", "float64", 8), ("exp", "float64", 8), ("sigmoid", "float64", 1)]
    text = vector_math.source(wanted)
    assert not any(mark in text for mark in ("@", " V ", " I ", " U "))
    assert "te_exp_f64(" not in text and "sin" not in text
    defined: set[str] = set()
    for definition in re.split(r"^TE_(?:INLINE|COLD) ", text, flags=re.MULTILINE)[1:]:
        name, *called = re.findall(r"te_\w+(?=\()", definition)
        assert name not in defined
        assert set(called) <= defined
        defined.add(name)
    assert {"te_erf_f64x8", "te_exp_f64x8", "te_sigmoid_f64"} <= defined


def test_names_and_types() -> None:
    assert vector_math.symbol("exp", "float32", 16) == "te_exp_f32x16"
    assert vector_math.symbol("exp", "float32", 1) == "te_exp_f32"
    assert (vector_math.vector_type("float32", 16), vector_math.vector_type("float64", 1)) == ("f32x16", "double")
    assert vector_math.typedef("float32", 8).splitlines() == [
        "typedef float f32x8 __attribute__((vector_size(32)));",
        "typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));",
        "typedef float f32x8_a __attribute__((vector_size(32), may_alias));",
    ]
    assert vector_math.typedef("int64", 1) == "" == vector_math.source([])
    assert vector_math.supported("erf", "float64") and vector_math.supported("maximum", "uint8")
    assert not vector_math.supported("exp", "int32") and not vector_math.supported("bessel", "float32")


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match="no vector function 'exp' for int32; for this dtype there are: abs, minimum, maximum"
    ):
        vector_math.source([("exp", "int32", 8)])
    with pytest.raises(ValueError, match="a power of two of lanes, not 12"):
        vector_math.vector_type("float32", 12)
    with pytest.raises(ValueError, match="no vector type for 'float16'"):
        vector_math.typedef("float16", 8)
