"""C text of the float32 elementwise functions; see vector_math.py for the notation.

Polynomial coefficients are minimax fits by fit_polynomials.py, rounded one by one to float32 and refitted; the comment
beside each gives the interval and the error of the rounded polynomial. Products that must be exact are of short
constants, so that every function is right whether or not the compiler contracts multiplication and addition into an
FMA.
"""

TEMPLATES: dict[str, str] = {}

TEMPLATES["abs"] = """
V @abs(V x)
{
    return @real(@bits(x) & INT32_MAX);
}
"""

# Copies the sign, so that a function computed on |x| keeps its symmetry and its signed zero.
TEMPLATES["with_sign"] = """
V @with_sign(V magnitude, V sign)
{
    return @real((@bits(magnitude) & INT32_MAX) | (@bits(sign) & INT32_MIN));
}
"""

# minimax on |r| <= ln2/2: 2^-28.3
TEMPLATES["exp_polynomial"] = """
/* e^r for |r| <= ln(2)/2 */
V @exp_polynomial(V r)
{
    V p = r * 1.382146729e-3f + 8.368662558e-3f;
    p = p * r + 4.166825488e-2f;
    p = p * r + 0.1666652113f;
    p = p * r + 0.4999999404f;
    p = p * r + 1.0f;
    return p * r + 1.0f;
}
"""

TEMPLATES["exp_shifted"] = """
/* e^x * 2^shift = 2^(n + shift) * e^r with x = n * ln(2) + r; adding 1.5 * 2^23 + 254 leaves n + 254 in the low bits */
V @exp_shifted(V x, float shift)
{
    x = @at_most(x, 90.0f);
    x = @at_least(x, -104.0f);
    V z = x * 1.44269504f + 12583166.0f;
    V n = z - 12583166.0f;
    V r = (x - n * 0.69140625f) - n * 1.740930602e-3f;
    return @scale(@exp_polynomial(r), n + shift, (I)((U)@bits(z) + (unsigned)(int)shift));
}
"""

TEMPLATES["exp"] = """
V @exp(V x)
{
    return @exp_shifted(x, 0.0f);
}
"""

# minimax on |r| <= 1/2: 2^-28.3
TEMPLATES["exp2"] = """
/* 2^x = 2^n * 2^r with n the nearest integer */
V @exp2(V x)
{
    x = @at_most(x, 129.0f);
    x = @at_least(x, -151.0f);
    V z = x + 12583166.0f;
    V n = z - 12583166.0f;
    V r = x - n;
    V p = r * 1.532647148e-4f + 1.339080627e-3f;
    p = p * r + 9.618505836e-3f;
    p = p * r + 5.550359935e-2f;
    p = p * r + 0.2402264774f;
    p = p * r + 0.6931471825f;
    p = p * r + 1.0f;
    return @scale(p, n, @bits(z));
}
"""

# minimax of (e^r - 1) / r on |r| <= ln2/2: 2^-26.1
TEMPLATES["expm1_polynomial"] = """
/* e^r - 1 for |r| <= ln(2)/2 */
V @expm1_polynomial(V r)
{
    V p = r * 1.386999968e-3f + 8.366251364e-3f;
    p = p * r + 4.166744277e-2f;
    p = p * r + 0.1666654646f;
    p = p * r + 0.4999999702f;
    return (r * r) * p + r;
}
"""

TEMPLATES["expm1"] = """
/* 2^n * (e^r - 1) + (2^n - 1), computed at half its size so that 2^128 does not overflow early */
V @expm1(V x)
{
    V y = @at_most(x, 89.0f);
    y = @at_least(y, -20.0f);
    V z = y * 1.44269504f + 12583038.0f;
    V n = z - 12583038.0f;
    V r = (y - n * 0.69140625f) - n * 1.740930602e-3f;
    V q = @expm1_polynomial(r);
    V s = @real((I)((U)@bits(z) << 23)); /* 2^(n-1) */
    V h = s * q + (s - 0.5f);
    return @with_sign(h + h, x);
}
"""

# minimax of (log(1+f)/f - 1 + f/2)/f^2 on [sqrt(1/2) - 1, sqrt(2) - 1]: 2^-24.9
TEMPLATES["log_polynomial"] = """
/* n * ln(2) + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2) */
V @log_polynomial(V f, V n)
{
    V p = f * 8.700474352e-2f - 0.1426692903f;
    p = p * f + 0.1491448581f;
    p = p * f - 0.165776521f;
    p = p * f + 0.1996310204f;
    p = p * f - 0.2500133514f;
    p = p * f + 0.3333390951f;
    p = p * f - 0.5f;
    p = (f * f) * p + (n * 1.740930602e-3f + f);
    return n * 0.69140625f + p;
}
"""

TEMPLATES["log_special"] = """
/* the result for zero, infinity, NaN and what is negative */
V @log_special(V x, V result)
{
    result = @select(x < __builtin_inff(), result, x);
    result = @select(x < 0.0f, @splat(__builtin_nanf("")), result);
    return @select(x == 0.0f, @splat(-__builtin_inff()), result);
}
"""

TEMPLATES["is_special"] = """
/* x is none of the positive normal numbers */
I @is_special(V x)
{
    return (U)@bits(x) - 0x00800000u >= 0x7f000000u;
}
"""

TEMPLATES["log_normal"] = """
/* log(x) - shift * ln(2): x = 2^n * (1 + f); 0x3f3504f3 is sqrt(1/2) */
V @log_normal(V x, float shift)
{
    I i = (I)((U)@bits(x) - 0x3f3504f3u);
    V f = @real((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
    return @log_polynomial(f, @from_integer(i >> 23) - shift);
}
"""

TEMPLATES["log"] = """
V @log(V x)
{
    I special = @is_special(x);
    V result = @log_normal(x, 0.0f);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log_normal(x * 8388608.0f, 23.0f);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}
"""

# minimax of log2(1+f)/f on [sqrt(1/2) - 1, sqrt(2) - 1]: 2^-25.1
TEMPLATES["log2_normal"] = """
/* log2(x) - shift */
V @log2_normal(V x, float shift)
{
    I i = (I)((U)@bits(x) - 0x3f3504f3u);
    V f = @real((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
    V p = f * 0.125843361f - 0.2067874819f;
    p = p * f + 0.2154807746f;
    p = p * f - 0.2390148491f;
    p = p * f + 0.287953496f;
    p = p * f - 0.3607005775f;
    p = p * f + 0.4809089601f;
    p = p * f - 0.7213473916f;
    p = p * f + 1.442695022f;
    return p * f + (@from_integer(i >> 23) - shift);
}
"""

TEMPLATES["log2"] = """
V @log2(V x)
{
    I special = @is_special(x);
    V result = @log2_normal(x, 0.0f);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log2_normal(x * 8388608.0f, 23.0f);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}
"""

TEMPLATES["log1p"] = """
/* u = 1 + x rounded; what the rounding lost is added back to f, scaled like f */
V @log1p(V x)
{
    V u = x + 1.0f;
    V lost = @select(x > 1.0f, 1.0f - (u - x), x - (u - 1.0f));
    I i = (I)((U)@bits(u) - 0x3f3504f3u);
    I k = i >> 23;
    V s = @real((I)((U)(128 - k) << 23)); /* 2^(1-n): n can be 128 */
    V f = (@real((i & 0x7fffff) + 0x3f3504f3) - 1.0f) + (lost * 0.5f) * s;
    V result = @with_sign(@log_polynomial(f, @from_integer(k)), x);
    if (__builtin_expect(@any(@is_special(u)), 0))
        result = @log_special(u, result);
    return result;
}
"""

TEMPLATES["sinh"] = """
/* a series near zero (minimax of sinh(x)/x in x^2 on [0, 1]: 2^-25.3), else (e^x - e^-x) / 2 */
V @sinh(V x)
{
    V s = x * x;
    V p = s * 2.037334052e-4f + 8.330270648e-3f;
    p = p * s + 0.1666671634f;
    V small = x * (p * s + 1.0f);
    V h = @exp_shifted(@abs(x), -1.0f);
    V large = @with_sign(h - 0.25f / h, x);
    return @select(s < 1.0f, small, large);
}
"""

TEMPLATES["cosh"] = """
V @cosh(V x)
{
    V h = @exp_shifted(@abs(x), -1.0f);
    return h + 0.25f / h;
}
"""

TEMPLATES["tanh"] = """
/* h / (h + 1) with h = (e^(2|x|) - 1) / 2, computed as in expm1; it is 1 beyond 10 */
V @tanh(V x)
{
    V y = @abs(x);
    y = @at_most(y, 10.0f);
    y = y + y;
    V z = y * 1.44269504f + 12583038.0f;
    V n = z - 12583038.0f;
    V r = (y - n * 0.69140625f) - n * 1.740930602e-3f;
    V q = @expm1_polynomial(r);
    V s = @real((I)((U)@bits(z) << 23)); /* 2^(n-1) */
    V h = s * q + (s - 0.5f);
    return @with_sign(h / (h + 1.0f), x);
}
"""

TEMPLATES["sigmoid"] = """
/* e / (1 + e) or 1 / (1 + e) with e = exp(-|x|), which cannot overflow; the factor 2^-24 keeps the scale 2^n normal */
V @sigmoid(V x)
{
    V a = @real(@bits(x) | INT32_MIN);
    a = @at_least(a, -104.0f);
    V z = a * 1.44269504f + 12583063.0f;
    V n = z - 12583063.0f;
    V r = (a - n * 0.69140625f) - n * 1.740930602e-3f;
    V e = @exp_polynomial(r) * @real((I)((U)@bits(z) << 23)) * 5.9604644775390625e-8f;
    return @select(x < 0.0f, e, @splat(1.0f)) / (e + 1.0f);
}
"""

# minimax of erf(x)/x - 1 in x^2 on [0, 1]: 2^-24.5; of log2(erfc(x)) on [1, 3.95], weighted with erfc(x): 2^-25.9
TEMPLATES["erf"] = """
/* x + x * P(x^2) up to 1; then 1 - 2^Q(|x|); it is 1 beyond 3.95 */
V @erf(V x)
{
    V a = @abs(x);
    a = @at_most(a, 3.95f);
    V s = a * a;
    V p = s * -5.619894364e-4f + 4.914908204e-3f;
    p = p * s - 2.670921572e-2f;
    p = p * s + 0.1128011346f;
    p = p * s - 0.3761231899f;
    p = p * s + 0.1283791214f;
    V head = p * a + a;
    V q = a * -1.659689355e-3f + 2.132020146e-2f;
    q = q * a - 0.1278717965f;
    q = q * a - 0.9442282915f;
    q = q * a - 1.612122774f;
    q = q * a - 3.854488488e-3f;
    V z = q + 12583039.0f; /* 1.5 * 2^23 + 127 */
    V r = q - (z - 12583039.0f);
    V e = r * 1.32695213e-3f + 9.671291336e-3f;
    e = e * r + 5.550710857e-2f;
    e = e * r + 0.240222469f;
    e = e * r + 0.6931470037f;
    e = e * r + 1.0f;
    V tail = 1.0f - e * @real((I)((U)@bits(z) << 23));
    return @with_sign(@select(a < 1.0f, head, tail), x);
}
"""

# minimax on |r| <= pi/4: sine 2^-27.9, cosine 2^-33.0
TEMPLATES["sine_series"] = """
/* (sin(r) / r - 1) / s for s = r^2 */
V @sine_series(V s)
{
    V p = s * -1.951809536e-4f + 8.332188241e-3f;
    return p * s - 0.1666665524f;
}
"""

TEMPLATES["cosine_series"] = """
/* (cos(r) - 1 + s / 2) / s^2 for s = r^2 */
V @cosine_series(V s)
{
    V p = s * 2.443232734e-5f - 1.388730947e-3f;
    return p * s + 4.166664556e-2f;
}
"""

TEMPLATES["cosine_polynomial"] = """
V @cosine_polynomial(V s)
{
    return (s * s) * @cosine_series(s) + (s * -0.5f + 1.0f);
}
"""

# pi/2 in three parts of at most 12 bits and a rest: n has at most 12 bits, so the first three products are exact.
TEMPLATES["reduce"] = """
/* x - n * pi/2 for |x| < 6000; the low bits of z hold n */
V @reduce(V x, V z)
{
    V n = z - 12582912.0f;
    V r = x - n * 1.5703125f;
    r = r - n * 4.8375129699707031e-4f;
    r = r - n * 7.5495336204767227e-8f;
    return r - n * 2.5633440682570896e-12f;
}
"""

TEMPLATES["reduce_sharply"] = """
/* the same with what the roundings lose: within half a unit in the last place */
V @reduce_sharply(V x, V z)
{
    V n = z - 12582912.0f;
    V t = x - n * 1.5703125f;
    V u = t - n * 4.8375129699707031e-4f;
    V lost = (u - t) + n * 4.8375129699707031e-4f;
    V r = u - n * 7.5495336204767227e-8f;
    lost = ((r - u) + n * 7.5495336204767227e-8f) + lost;
    lost = n * 2.5633440682570896e-12f + lost;
    return r - lost;
}
"""

for _name, _quarter in (("sin", 0), ("cos", 1)):
    TEMPLATES[_name] = f"""
V @{_name}(V x)
{{
    I far = (@bits(x) & INT32_MAX) >= 0x45bb8000; /* |x| >= 6000, or NaN */
    V z = x * 0.636619772f + 12582912.0f;
    I quadrant = (I)((U)@bits(z) + {_quarter}u);
    V r = @reduce(x, z);
    V s = r * r;
    V result = @select((quadrant & 1) != 0, @cosine_polynomial(s), r * (@sine_series(s) * s + 1.0f));
    result = @real(@bits(result) ^ (I)((U)(quadrant & 2) << 30));
    if (__builtin_expect(@any(far), 0)) /* rare: the C library reduces large arguments */
        result = @select(far, @library_{_name}(x, far), result);
    return result;
}}
"""

TEMPLATES["tan"] = """
V @tan(V x)
{
    I far = (@bits(x) & INT32_MAX) >= 0x45bb8000; /* |x| >= 6000, or NaN */
    V z = x * 0.636619772f + 12582912.0f;
    I odd = (@bits(z) & 1) != 0;
    V r = @reduce_sharply(x, z);
    V s = r * r;
    V sine = @select(r == 0.0f, r, (r * s) * @sine_series(s) + r);
    V w = s * -0.5f + 1.0f;
    V cosine = w + ((s * s) * @cosine_series(s) + ((1.0f - w) - s * 0.5f));
    V result = @select(odd, -cosine, sine) / @select(odd, sine, cosine);
    if (__builtin_expect(@any(far), 0)) /* rare: the C library reduces large arguments */
        result = @select(far, @library_tan(x, far), result);
    return result;
}
"""

# minimax of asin(x)/x in x^2 for |x| <= 1/2: 2^-27.6
TEMPLATES["asin_polynomial"] = """
/* asin(r) for |r| <= 1/2, s = r^2 */
V @asin_polynomial(V r, V s)
{
    V p = s * 4.215840623e-2f + 2.418473922e-2f;
    p = p * s + 4.546915367e-2f;
    p = p * s + 7.495309412e-2f;
    p = p * s + 0.166667521f;
    return r * (p * s + 1.0f);
}
"""

TEMPLATES["asin"] = """
/* asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) for x > 1/2 */
V @asin(V x)
{
    V a = @abs(x);
    I large = a > 0.5f;
    V s = @select(large, 0.5f - 0.5f * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    return @with_sign(@select(large, 1.57079637f - (r + r + 4.37113883e-8f), r), x);
}
"""

TEMPLATES["acos"] = """
V @acos(V x)
{
    V a = @abs(x);
    I large = a > 0.5f;
    V s = @select(large, 0.5f - 0.5f * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    V twice = r + r;
    V outer = @select(x < 0.0f, 3.14159274f - (twice + 8.74227766e-8f), twice);
    V inner = 1.57079637f - (@with_sign(r, x) + 4.37113883e-8f);
    return @select(large, outer, inner);
}
"""

# minimax of atan(x)/x in x^2 on [0, 1]: 2^-25.8
TEMPLATES["atan"] = """
/* atan(x) = pi/2 - atan(1 / x) for x > 1 */
V @atan(V x)
{
    V a = @abs(x);
    I large = a > 1.0f;
    V r = @select(large, 1.0f / a, a);
    V s = r * r;
    V p = s * 2.919276012e-3f - 1.636267267e-2f;
    p = p * s + 4.320403188e-2f;
    p = p * s - 7.551615685e-2f;
    p = p * s + 0.1066575572f;
    p = p * s - 0.142110005f;
    p = p * s + 0.1999376714f;
    p = p * s - 0.3333315253f;
    r = r * (p * s + 1.0f);
    return @with_sign(@select(large, 1.57079637f - (r + 4.37113883e-8f), r), x);
}
"""
