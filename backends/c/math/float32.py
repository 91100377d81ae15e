"""C text of the float32 functions that float64 does otherwise, and the polynomials; `functions` explains the notation.

Coefficients are minimax fits by tests/fit_polynomials.py, rounded one by one to float32 and refitted, the highest power
first; the comment beside each says what it approximates, where, and the error of the rounded polynomial.
"""

POLYNOMIALS = """
exp 1.382146729e-3 8.368662558e-3 4.166825488e-2 0.1666652113 0.4999999404 1.0 1.0 # |r| <= ln2/2: 2^-28.3
exp2 1.532647148e-4 1.339080627e-3 9.618505836e-3 5.550359935e-2 0.2402264774 0.6931471825 1.0 # |r| <= 1/2: 2^-28.3
expm1 1.386999968e-3 8.366251364e-3 4.166744277e-2 0.1666654646 0.4999999702 # (e^r - 1) / r, |r| <= ln2/2: 2^-26.1
# (log(1+f)/f - 1 + f/2)/f^2 on [sqrt(1/2) - 1, sqrt(2) - 1]: 2^-24.9; log2(1+f)/f there: 2^-25.1
log 8.700474352e-2 -0.1426692903 0.1491448581 -0.165776521 0.1996310204 -0.2500133514 0.3333390951 -0.5
log2 0.125843361 -0.2067874819 0.2154807746 -0.2390148491 0.287953496 -0.3607005775 0.4809089601
     -0.7213473916 1.442695022
sinh 2.037334052e-4 8.330270648e-3 0.1666671634
# erf(x)/x - 1 in x^2 on [0, 1]: 2^-24.5; log2(erfc(x)) on [1, 3.95], weighted with erfc(x): 2^-25.9
erf -5.619894364e-4 4.914908204e-3 -2.670921572e-2 0.1128011346 -0.3761231899 0.1283791214
erf_tail -1.659689355e-3 2.132020146e-2 -0.1278717965 -0.9442282915 -1.612122774 -3.854488488e-3
erf_exp2 1.32695213e-3 9.671291336e-3 5.550710857e-2 0.240222469 0.6931470037 1.0
# |r| <= pi/4: sine 2^-27.9, cosine 2^-33.0
sine -1.951809536e-4 8.332188241e-3 -0.1666665524
cosine 2.443232734e-5 -1.388730947e-3 4.166664556e-2
asin 4.215840623e-2 2.418473922e-2 4.546915367e-2 7.495309412e-2 0.166667521 # asin(x)/x in x^2, |x| <= 1/2: 2^-27.6
# atan(x)/x in x^2 on [0, 1]: 2^-25.8
atan 2.919276012e-3 -1.636267267e-2 4.320403188e-2 -7.551615685e-2 0.1066575572 -0.142110005 0.1999376714
     -0.3333315253
"""

TEXTS = r"""
/* e^x * 2^shift = 2^(n + shift) * e^r with x = n * ln(2) + r; adding 1.5 * 2^23 + 254 leaves n + 254 in the low bits */
V @exp_shifted(V x, float shift)
{
    x = @at_most(x, 90.0);
    x = @at_least(x, $exp_least);
    V z = x * $log2_e + $scale_nearest;
    V n = z - $scale_nearest;
    V r = (x - n * $ln2_head) - n * $ln2_rest;
    return @scale(@exp_polynomial(r), n + shift, (I)((U)@bits(z) + (unsigned)(int)shift));
}

/* 2^x = 2^n * 2^r with n the nearest integer */
V @exp2(V x)
{
    x = @at_most(x, 129.0);
    x = @at_least(x, -151.0);
    V z = x + $scale_nearest;
    V n = z - $scale_nearest;
    V r = x - n;
    V p = $exp2[r];
    return @scale(p, n, @bits(z));
}

/* e^r - 1 for |r| <= ln(2)/2 */
V @expm1_polynomial(V r)
{
    V p = $expm1[r];
    return (r * r) * p + r;
}

/* 2^n * (e^r - 1) + (2^n - 1), computed at half its size so that 2^128 does not overflow early */
V @expm1(V x)
{
    V y = @at_most(x, 89.0);
    y = @at_least(y, -20.0);
    V z = y * $log2_e + $half_nearest;
    V n = z - $half_nearest;
    V r = (y - n * $ln2_head) - n * $ln2_rest;
    V q = @expm1_polynomial(r);
    V s = @real((I)((U)@bits(z) << 23)); /* 2^(n-1) */
    V h = s * q + (s - 0.5);
    return @with_sign(h + h, x);
}

/* n * ln(2) + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2) */
V @log_polynomial(V f, V n)
{
    V p = $log[f];
    p = (f * f) * p + (n * $ln2_rest + f);
    return n * $ln2_head + p;
}

/* log(x) - shift * ln(2): x = 2^n * (1 + f); 0x3f3504f3 is sqrt(1/2) */
V @log_normal(V x, float shift)
{
    I i = (I)((U)@bits(x) - 0x3f3504f3u);
    V f = @real((i & 0x7fffff) + 0x3f3504f3) - 1.0;
    return @log_polynomial(f, @from_integer(i >> 23) - shift);
}

/* log2(x) - shift */
V @log2_normal(V x, float shift)
{
    I i = (I)((U)@bits(x) - 0x3f3504f3u);
    V f = @real((i & 0x7fffff) + 0x3f3504f3) - 1.0;
    V p = $log2[f];
    return p * f + (@from_integer(i >> 23) - shift);
}

/* u = 1 + x rounded; what the rounding lost is added back to f, scaled like f */
V @log1p(V x)
{
    V u = x + 1.0;
    V lost = @select(x > 1.0, 1.0 - (u - x), x - (u - 1.0));
    I i = (I)((U)@bits(u) - 0x3f3504f3u);
    I k = i >> 23;
    V s = @real((I)((U)(128 - k) << 23)); /* 2^(1-n): n can be 128 */
    V f = (@real((i & 0x7fffff) + 0x3f3504f3) - 1.0) + (lost * 0.5) * s;
    V result = @with_sign(@log_polynomial(f, @from_integer(k)), x);
    if (__builtin_expect(@any(@is_special(u)), 0))
        result = @log_special(u, result);
    return result;
}

/* h / (h + 1) with h = (e^(2|x|) - 1) / 2, computed as in expm1; it is 1 beyond 10 */
V @tanh(V x)
{
    V y = @abs(x);
    y = @at_most(y, 10.0);
    y = y + y;
    V z = y * $log2_e + $half_nearest;
    V n = z - $half_nearest;
    V r = (y - n * $ln2_head) - n * $ln2_rest;
    V q = @expm1_polynomial(r);
    V s = @real((I)((U)@bits(z) << 23)); /* 2^(n-1) */
    V h = s * q + (s - 0.5);
    return @with_sign(h / (h + 1.0), x);
}

/* x + x * P(x^2) up to 1; then 1 - 2^Q(|x|); it is 1 beyond 3.95 */
V @erf(V x)
{
    V a = @abs(x);
    a = @at_most(a, 3.95);
    V s = a * a;
    V p = $erf[s];
    V head = p * a + a;
    V q = $erf_tail[a];
    V z = q + 12583039.0; /* 1.5 * 2^23 + 127 */
    V r = q - (z - 12583039.0);
    V e = $erf_exp2[r];
    V tail = 1.0 - e * @real((I)((U)@bits(z) << 23));
    return @with_sign(@select(a < 1.0, head, tail), x);
}

/* atan(x) = pi/2 - atan(1 / x) for x > 1 */
V @atan(V x)
{
    V a = @abs(x);
    I large = a > 1.0;
    V r = @select(large, 1.0 / a, a);
    V s = r * r;
    V p = $atan[s];
    r = r * (p * s + 1.0);
    return @with_sign(@select(large, $half_pi - (r $half_pi_rest), r), x);
}
"""
