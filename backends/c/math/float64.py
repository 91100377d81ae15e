"""C text of the float64 functions that float32 does otherwise, and the polynomials; `functions` explains the notation.

Coefficients are minimax fits by tests/fit_polynomials.py, rounded to float64, the highest power first; the comment
beside each says what it approximates, where, and the error. 64-bit integers are shifted logically only and converted
through the mantissa of a float64: AVX2 has neither the arithmetic shift nor the conversion. `product`: of two products
that are added, a compiler may contract either, so scalar and vector code would differ. `pow_positive` has the two-part
logarithm of fdlibm's e_pow.c: every product whose rounding error would matter is of two short numbers.
"""

POLYNOMIALS = """
# |r| <= ln2/2: 2^-56.4
exp 2.50000800831823424e-8 2.76302494823675432e-7 2.75575863164738465e-6 2.48014930957137139e-5
    1.98412695066423414e-4 1.38888889436332885e-3 8.33333333349443178e-3 4.16666666665301486e-2 0.166666666666664132
    0.50000000000000111 1.0 1.0
# |r| <= 1/2: 2^-55.0
exp2 4.43477555914519118e-10 7.07378335963757953e-9 1.01781995431577368e-7 1.32154352816378494e-6
     1.5252733493195612e-5 1.54035304571134872e-4 1.33335581467745553e-3 9.61812910759411895e-3
     5.55041086648200843e-2 0.240226506959101305 0.693147180559945286 1.0
# (e^r - 1) / r on |r| <= ln2/2: 2^-59.2
expm1 2.08788940523780538e-9 2.51086871472762419e-8 2.75573871038935231e-7 2.75572452924983075e-6
      2.48015871981517919e-5 1.98412698849438629e-4 1.38888888889427005e-3 8.33333333332215986e-3
      4.16666666666665811e-2 0.166666666666666768 0.5
# 2 atanh(s)/s in s^2 for |s| <= 0.1716: 2^-59.3; log(1+f) = 2 atanh(s) = f - s * (f - R), s = f/(2+f)
log 0.147741414778170321 0.153163982743372423 0.181834641734640895 0.222222007153283607 0.285714287185494631
    0.39999999999542446 0.66666666666667096
sinh 7.75874873374095618e-13 1.60572597720816031e-10 2.50521231366642507e-8 2.75573191570723437e-6
     1.98412698414318698e-4 8.3333333333331476e-3 0.166666666666666685
# erf(x)/x in x^2 on [0, 1]: 2^-62.7; e^(x^2) erfc(x) in t on [1, 6], weighted with e^(-x^2): 2^-57.1
erf 5.94524965060273959e-11 -1.1365658397238832e-9 1.46578777611056967e-8 -1.63500248914506984e-7
    1.64609727833034145e-6 -1.49255935045963586e-5 1.20553310367939217e-4 -8.54832697873893037e-4
    5.22397762478080032e-3 -2.68661706450728857e-2 0.112837916709548569 -0.376126389031837483 1.12837916709551256
erf_tail 1.5203317035889071e-5 1.02951903710281044e-4 7.63941127670724276e-5 -5.81092133994747548e-4
         7.13175310664307892e-4 4.27035380269589863e-3 -2.43923278789537415e-2 7.16658501296564276e-2
         -0.150115936343866552 0.245603801664285581 -0.326233560045902482 0.179001151181353763
# |r| <= pi/4: sine 2^-57.9, cosine 2^-63.9
sine 1.58954322381209111e-10 -2.505073438039734e-8 2.75573135385042982e-6 -1.98412698293585658e-4
     8.33333333332184067e-3 -0.166666666666666297
cosine -1.13586833343704168e-11 2.08757042710426165e-9 -2.7557314210074921e-7 2.48015872889836783e-5
       -1.38888888888733246e-3 4.1666666666666595e-2
# asin(x)/x in x^2 for |x| <= 1/2: 2^-55.9
asin 3.20738199527552746e-2 -1.6408136130924459e-2 1.96144496052492734e-2 6.50667172164856936e-3
     1.21721527603339073e-2 1.38850163253752996e-2 1.73597125055963697e-2 2.23717579236024887e-2
     3.03819591419742067e-2 4.4642856828214561e-2 7.50000000033714254e-2 0.166666666666654084
# atan(x)/x in x^2 for |x| <= tan(pi/8): 2^-54.7
atan 2.12586238236962285e-2 -4.35899437062697709e-2 5.69250451493204176e-2 -6.64111483779447342e-2
     7.69006761181626303e-2 -9.09078236770557574e-2 0.111111066518991539 -0.142857141952281191
     0.199999999990886995 -0.333333333333301507
pow_log 0.197939620541540656 0.198852857799244526 0.230801333683259891 0.272726766097425799 0.33333333779185681
        0.428571428551534128 0.600000000000033729
# pow for float32, far more exact than it needs: log2 by atanh(s), s = (m-1)/(m+1): 2^-45; 2^r on |r| <= 1/2: 2^-34
coarse_log2 0.282893600804498491 0.319905711925813852 0.412209256353057552 0.577077942329442872 0.961796694113450257
            2.88539008177784995
coarse_exp2 1.55917254852472656e-5 1.54746766540609103e-4 1.33331198614864820e-3 9.61801513588137792e-3
            5.55040955210089476e-2 0.24022651202665754 0.69314718206117365 0.9999999999616771
"""

TEXTS = r"""
/* e^x * 2^shift = 2^(n + shift) * e^r with x = n * ln(2) + r; 1.5 * 2^52 + 2046 leaves n + 2046 in the low bits */
V @exp_shifted(V x, double shift)
{
    x = @at_most(x, 711.0);
    x = @at_least(x, $exp_least);
    V z = x * $log2_e + $scale_nearest;
    V n = z - $scale_nearest;
    V r = (x - n * $ln2_head) - n * $ln2_rest;
    return @scale(@exp_polynomial(r), n + shift, (I)((U)@bits(z) + (int)shift));
}

/* 2^r for |r| <= 1/2 */
V @exp2_polynomial(V r)
{
    return $exp2[r];
}

/* 2^x = 2^n * 2^r with n the nearest integer */
V @exp2(V x)
{
    x = @at_most(x, 1025.0);
    x = @at_least(x, -1076.0);
    V z = x + $scale_nearest;
    V n = z - $scale_nearest;
    return @scale(@exp2_polynomial(x - n), n, @bits(z));
}

/* 2^n * (e^r - 1) + (2^n - 1), computed at half its size so that 2^1024 does not overflow early */
V @expm1(V x)
{
    V y = @at_most(x, 710.0);
    y = @at_least(y, -40.0);
    V z = y * $log2_e + $half_nearest;
    V n = z - $half_nearest;
    V r = (y - n * $ln2_head) - n * $ln2_rest;
    V p = $expm1[r];
    V q = (r * r) * p + r;
    V s = @real((I)((U)@bits(z) << 52)); /* 2^(n-1) */
    V h = s * q + (s - 0.5);
    return @with_sign(h + h, x);
}

/* n * ln(2) + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2) */
V @log_polynomial(V f, V n)
{
    V s = f / (f + 2.0);
    V t = s * s;
    V p = $log[t];
    p = f - s * (f - p * t);
    return n * $ln2_head + (n * $ln2_rest + p);
}

/* the bits of x, moved so that the exponent field is 1023 + n for x = 2^n * m, sqrt(1/2) <= m < sqrt(2) */
U @split(V x)
{
    return (U)@bits(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
}

V @split_exponent(U i)
{
    return @real((I)((i >> 52) | 0x4330000000000000u)) - 4503599627371519.0; /* 2^52 + 1023 */
}

V @split_mantissa(U i)
{
    return @real((I)((i & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu));
}

/* log(x) - shift * ln(2) */
V @log_normal(V x, double shift)
{
    U i = @split(x);
    return @log_polynomial(@split_mantissa(i) - 1.0, @split_exponent(i) - shift);
}

/* log2(x) - shift */
V @log2_normal(V x, double shift)
{
    U i = @split(x);
    V p = @log_polynomial(@split_mantissa(i) - 1.0, @splat(0.0));
    return p * $log2_e + (@split_exponent(i) - shift);
}

/* u = 1 + x rounded; what the rounding lost is added back to f, scaled like f */
V @log1p(V x)
{
    V u = x + 1.0;
    V lost = @select(x > 1.0, 1.0 - (u - x), x - (u - 1.0));
    U i = @split(u);
    V s = @real((I)((2047 - (i >> 52)) << 52)); /* 2^(1-n): n can be 1024 */
    V f = (@split_mantissa(i) - 1.0) + (lost * 0.5) * s;
    V result = @with_sign(@log_polynomial(f, @split_exponent(i)), x);
    if (__builtin_expect(@any(@is_special(u)), 0))
        result = @log_special(u, result);
    return result;
}

/* t / (t + 2) with t = e^(2|x|) - 1; it is 1 beyond 20 */
V @tanh(V x)
{
    V a = @abs(x);
    a = @at_most(a, 20.0);
    V t = @expm1(a + a);
    return @with_sign(t / (t + 2.0), x);
}

/* x * P(x^2) up to 1; then 1 - e^(-x^2) * Q(t), t = (|x| - 3) / (|x| + 3); it is 1 beyond 6 */
V @erf(V x)
{
    V a = @abs(x);
    a = @at_most(a, 6.0);
    V s = a * a;
    V p = $erf[s];
    V t = (a - 3.0) / (a + 3.0);
    V q = $erf_tail[t];
    V tail = 1.0 - @exp_shifted(-s, 0.0) * q;
    return @with_sign(@select(a < 1.0, a * p, tail), x);
}

/* the rounded product: as its sum with zero it is an FMA itself and enters no other */
V @product(V a, V b)
{
    return a * b + 0.0;
}

/* atan(x) = pi/4 + atan((x - 1) / (x + 1)) = pi/2 - atan(1 / x), so that the polynomial sees at most tan(pi/8) */
V @atan(V x)
{
    V a = @abs(x);
    I middle = a > 0.41421356237309503, large = a > 2.4142135623730949;
    V numerator = @select(large, @splat(-1.0), @select(middle, a - 1.0, a));
    V denominator = @select(large, a, @select(middle, a + 1.0, @splat(1.0)));
    V base = @select(large, @splat($half_pi), @select(middle, @splat(0.78539816339744831), @splat(0.0)));
    V r = numerator / denominator;
    V s = r * r;
    V p = $atan[s];
    r = r * (p * s + 1.0);
    return @with_sign(base + (@product(base, @splat(3.8981718325193755e-17)) + r), x);
}

/* the leading 26 bits, so that products of two such numbers are exact */
V @head(V x)
{
    return @real(@bits(x) & ~INT64_C(0x7ffffff));
}

/* x^y for a positive, finite x: 2^(y * log2(x)), the logarithm in two parts */
V @pow_positive(V x, V y)
{
    I small = x < 2.2250738585072014e-308;
    U i = @split(@select(small, x * $two_to_mantissa, x));
    V n = @split_exponent(i) - @select(small, @splat(52.0), @splat(0.0));
    V m = @split_mantissa(i);
    y = @at_most(y, 1e30);
    y = @at_least(y, -1e30);

    V f = m - 1.0; /* s = f / (m + 1) = s1 + s2 */
    V d = m + 1.0, d1 = @head(d), d2 = m - (d1 - 1.0);
    V s = f / d, s1 = @head(s);
    V s2 = ((f - s1 * d1) - s1 * d2) / d;

    V t = s * s; /* log2(m) = 2 / (3 ln 2) * s * (3 + s^2 + r) */
    V r = $pow_log[t];
    r = (t * t) * r + @product(s2, s1 + s);
    V q = s1 * s1;
    V t1 = @head((q + 3.0) + r), t2 = r - ((t1 - 3.0) - q);
    V u = s1 * t1, v = t2 * s + @product(s2, t1);
    V p1 = @head(u + v), p2 = v - (p1 - u);
    V z1 = p1 * 0.9617966860532761, z2 = p2 * 0.9617966939259756 + @product(p1, @splat(7.872699542894897e-09));
    V l1 = @head((z1 + z2) + n), l2 = z2 - ((l1 - n) - z1); /* log2(x) = l1 + l2 */

    V y1 = @head(y);
    V high = y1 * l1, low = y * l2 + @product(y - y1, l1);
    V e = high + low;
    e = @at_most(e, 1100.0);
    e = @at_least(e, -1100.0);
    V z = e + $scale_nearest;
    n = z - $scale_nearest;
    V g = (high - n) + low;
    V result = @scale(@exp2_polynomial(g), n, @bits(z));
    result = @select(e >= 1025.0, @splat(__builtin_inf()), result);
    return @select(e <= -1076.0, @splat(0.0), result);
}

/* x^y good to float32, for a positive, finite, normal x */
V @pow_coarse(V x, V y)
{
    U i = @split(x);
    V n = @split_exponent(i), m = @split_mantissa(i);
    V s = (m - 1.0) / (m + 1.0);
    V q = s * s;
    V p = $coarse_log2[q];
    V t = y * (p * s + n);
    t = @at_most(t, 200.0);
    t = @at_least(t, -200.0);
    V z = t + 6755399441056767.0; /* 1.5 * 2^52 + 1023 */
    V r = t - (z - 6755399441056767.0);
    p = $coarse_exp2[r];
    return p * @real((I)((U)@bits(z) << 52));
}
"""
