"""The texts of the functions of one element that the generated code calls: what NumPy means and the language has no
operator for.
"""

from __future__ import annotations

from tedsl.lang import dtypes

from .dialect import Dialect, short


def helper_source(helper: str, dtype: str, dialect: Dialect) -> str:
    """The definition of a helper function for a type."""
    kind = "float" if dtypes.is_float(dtype) else "unsigned" if dtype in dtypes.UNSIGNED else "signed"
    template = _HELPERS.get((helper, kind)) or _HELPERS[helper, "any"]
    bits = dtypes.BITS[dtype]
    work = "uint64_t" if bits == 64 else "uint32_t"
    values = {
        "T": dialect.types[dtype],
        "N": f"te_{helper}_{short(dtype)}",
        "Q": dialect.helper,
        "F": "f" if dtype == "float32" else "",
        "U": work,
        "B": str(bits),
    }
    for key, value in values.items():
        template = template.replace(f"@{key}", value)
    return template


_HELPERS: dict[tuple[str, str], str] = {
    (
        "from",
        "float",
    ): "@Q float @N(uint16_t x) { uint32_t bits = (uint32_t)x << 16; float y; memcpy(&y, &bits, 4); return y; }",
    ("to", "float"): """@Q uint16_t @N(float x)
{   /* rounds to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return (uint16_t)(0x7fc0 | (bits >> 16 & 0x8000));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}""",
    ("min", "float"): "@Q @T @N(@T a, @T b) { return a <= b || a != a ? a : b; } /* NaN if either is */",
    ("max", "float"): "@Q @T @N(@T a, @T b) { return a >= b || a != a ? a : b; } /* NaN if either is */",
    ("min", "any"): "@Q @T @N(@T a, @T b) { return a < b ? a : b; }",
    ("max", "any"): "@Q @T @N(@T a, @T b) { return a > b ? a : b; }",
    ("fmin", "any"): "@Q @T @N(@T a, @T b) { return a < b ? a : b; } /* NaN unspecified */",
    ("fmax", "any"): "@Q @T @N(@T a, @T b) { return a > b ? a : b; } /* NaN unspecified */",
    ("square", "any"): "@Q @T @N(@T x) { return x * x; }",
    ("cube", "any"): "@Q @T @N(@T x) { return x * x * x; }",
    ("abs", "any"): "@Q @T @N(@T x) { return x < 0 ? (@T)(0 - (@U)x) : x; }",
    ("sign", "float"): "@Q @T @N(@T x) { return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x; }",
    ("sign", "unsigned"): "@Q @T @N(@T x) { return x > 0; }",
    ("sign", "signed"): "@Q @T @N(@T x) { return (@T)((x > 0) - (x < 0)); }",
    ("sigmoid", "any"): "@Q @T @N(@T x) { return 1 / (1 + exp@F(-x)); }",
    ("floordiv", "unsigned"): "@Q @T @N(@T a, @T b) { return b ? (@T)(a / b) : 0; }",
    ("floordiv", "signed"): """@Q @T @N(@T a, @T b)
{   /* rounds down; 0 for a division by zero, wraps for -1 */
    if (b == 0) return 0;
    if (b == -1) return (@T)(0 - (@U)a);
    return (@T)(a / b - ((a % b != 0) & ((a < 0) != (b < 0))));
}""",
    ("mod", "unsigned"): "@Q @T @N(@T a, @T b) { return b ? (@T)(a % b) : 0; }",
    ("mod", "signed"): """@Q @T @N(@T a, @T b)
{   /* the sign of b; 0 for a division by zero */
    if (b == 0 || b == -1) return 0;
    @T r = (@T)(a % b);
    return (@T)(r + ((r != 0 && (r < 0) != (b < 0)) ? b : 0));
}""",
    ("mod", "float"): """@Q @T @N(@T a, @T b)
{   /* the sign of b; NaN for a division by zero */
    @T r = fmod@F(a, b);
    if (b == 0) return r;
    if (r == 0) return copysign@F(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}""",
    ("floordiv", "float"): """@Q @T @N(@T a, @T b)
{   /* rounds down, by way of the remainder so that it is exact */
    if (b == 0) return a / b;
    @T r = fmod@F(a, b), q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return copysign@F(0, a / b);
    @T w = floor@F(q);
    return q - w > (@T)0.5 ? w + 1 : w;
}""",
    ("pow", "any"): """@Q @T @N(@T base, @T exponent)
{   /* by squaring; wraps */
    if (exponent < 0) return base == 1 ? 1 : base == (@T)-1 ? (exponent & 1 ? (@T)-1 : 1) : 0;
    @U result = 1, b = (@U)base;
    for (@U n = (@U)exponent; n; n >>= 1, b *= b) if (n & 1) result *= b;
    return (@T)result;
}""",
    ("pow", "unsigned"): """@Q @T @N(@T base, @T exponent)
{   /* by squaring; wraps */
    @U result = 1, b = base;
    for (@U n = exponent; n; n >>= 1, b *= b) if (n & 1) result *= b;
    return (@T)result;
}""",
    ("shl", "any"): "@Q @T @N(@T a, @T n) { return (@U)n < @B ? (@T)((@U)a << n) : 0; }",
    ("shr", "unsigned"): "@Q @T @N(@T a, @T n) { return n < @B ? (@T)(a >> n) : 0; }",
    ("shr", "signed"): "@Q @T @N(@T a, @T n) { return (@U)n < @B ? (@T)(a >> n) : (@T)(a < 0 ? -1 : 0); }",
}
