"""C text of the elementwise functions that is the same for float32 and float64, and the constants in which it differs;
`functions` explains the notation.

Products that must be exact are of constants with few bits, so that every function is right whether or not the compiler
contracts multiplication and addition into an FMA: pi/2 comes in three parts of at most 12 bits (33 in float64), where n
has at most 12 (20), and a rest.
"""

# Adding `nearest`, 1.5 * 2^mantissa, leaves the nearest integer n in the low bits; the others leave n and an offset.
CONSTANTS = """
f                  f                          -
max                INT32_MAX                  INT64_MAX
min                INT32_MIN                  INT64_MIN
mantissa           23                         52
to_sign            30                         62
two_to_mantissa    8388608.0                  4503599627370496.0
least_normal       0x00800000u                0x0010000000000000u
normal_numbers     0x7f000000u                0x7fe0000000000000u
exp_least          -104.0                     -746.0
log2_e             1.44269504                 1.4426950408889634
ln2_head           0.69140625                 0.69314718036912382
ln2_rest           1.740930602e-3             1.9082149292705877e-10
nearest            12582912.0                 6755399441055744.0
scale_nearest      12583166.0                 6755399441057790.0
half_nearest       12583038.0                 6755399441056766.0
sigmoid_nearest    12583063.0                 6755399441056821.0
sigmoid_factor     5.9604644775390625e-8      5.5511151231257827e-17
normal             2^-24                      2^-54
sinh_error         2^-25.3                    2^-56.6
far                6000                       1600000
far_bits           0x45bb8000                 0x41386a0000000000
two_over_pi        0.636619772                0.63661977236758134
half_pi_1          1.5703125                  1.5707963267341256
half_pi_2          4.8375129699707031e-4      6.0771005063039660e-11
half_pi_3          7.5495336204767227e-8      2.0222662487111665e-21
half_pi_4          2.5633440682570896e-12     8.4784276603688995e-32
pi                 3.14159274                 3.1415926535897932
pi_rest            + 8.74227766e-8            - 1.2246467991473532e-16
half_pi            1.57079637                 1.5707963267948966
half_pi_rest       + 4.37113883e-8            - 6.1232339957367660e-17
pow                pow_in_double              pow_positive
power              |x|^y in double precision  |x|^y
"""

TEXTS = r"""
V @abs(V x)
{
    return @real(@bits(x) & $max);
}

V @with_sign(V magnitude, V sign)
{
    return @real((@bits(magnitude) & $max) | (@bits(sign) & $min));
}

/* e^r for |r| <= ln(2)/2 */
V @exp_polynomial(V r)
{
    return $exp[r];
}

V @exp(V x)
{
    return @exp_shifted(x, 0.0);
}

/* the result for zero, infinity, NaN and what is negative */
V @log_special(V x, V result)
{
    result = @select(x < __builtin_inf$f(), result, x);
    result = @select(x < 0.0, @splat(__builtin_nan$f("")), result);
    return @select(x == 0.0, @splat(-__builtin_inf$f()), result);
}

/* x is none of the positive normal numbers */
I @is_special(V x)
{
    return (U)@bits(x) - $least_normal >= $normal_numbers;
}

V @log(V x)
{
    I special = @is_special(x);
    V result = @log_normal(x, 0.0);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log_normal(x * $two_to_mantissa, $mantissa.0);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}

V @log2(V x)
{
    I special = @is_special(x);
    V result = @log2_normal(x, 0.0);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log2_normal(x * $two_to_mantissa, $mantissa.0);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}

/* a series near zero (minimax of sinh(x)/x in x^2 on [0, 1]: $sinh_error), else (e^x - e^-x) / 2 */
V @sinh(V x)
{
    V s = x * x;
    V p = $sinh[s];
    V small = x * (p * s + 1.0);
    V h = @exp_shifted(@abs(x), -1.0);
    V large = @with_sign(h - 0.25 / h, x);
    return @select(s < 1.0, small, large);
}

V @cosh(V x)
{
    V h = @exp_shifted(@abs(x), -1.0);
    return h + 0.25 / h;
}

/* e / (1 + e) or 1 / (1 + e) with e = exp(-|x|), which cannot overflow; $normal keeps the scale 2^n normal */
V @sigmoid(V x)
{
    V a = @real(@bits(x) | $min);
    a = @at_least(a, $exp_least);
    V z = a * $log2_e + $sigmoid_nearest;
    V n = z - $sigmoid_nearest;
    V r = (a - n * $ln2_head) - n * $ln2_rest;
    V e = @exp_polynomial(r) * @real((I)((U)@bits(z) << $mantissa)) * $sigmoid_factor;
    return @select(x < 0.0, e, @splat(1.0)) / (e + 1.0);
}

/* (sin(r) / r - 1) / s for s = r^2 */
V @sine_series(V s)
{
    return $sine[s];
}

/* (cos(r) - 1 + s / 2) / s^2 for s = r^2 */
V @cosine_series(V s)
{
    return $cosine[s];
}

V @cosine_polynomial(V s)
{
    return (s * s) * @cosine_series(s) + (s * -0.5 + 1.0);
}

/* x - n * pi/2 for |x| < $far; the low bits of z hold n */
V @reduce(V x, V z)
{
    V n = z - $nearest;
    V r = x - n * $half_pi_1;
    r = r - n * $half_pi_2;
    r = r - n * $half_pi_3;
    return r - n * $half_pi_4;
}

/* the same with what the roundings lose: within half a unit in the last place */
V @reduce_sharply(V x, V z)
{
    V n = z - $nearest;
    V t = x - n * $half_pi_1;
    V u = t - n * $half_pi_2;
    V lost = (u - t) + n * $half_pi_2;
    V r = u - n * $half_pi_3;
    lost = ((r - u) + n * $half_pi_3) + lost;
    lost = n * $half_pi_4 + lost;
    return r - lost;
}

V @sin(V x)
{
    I far = (@bits(x) & $max) >= $far_bits; /* |x| >= $far, or NaN */
    V z = x * $two_over_pi + $nearest;
    I quadrant = (I)((U)@bits(z) + 0u);
    V r = @reduce(x, z);
    V s = r * r;
    V result = @select((quadrant & 1) != 0, @cosine_polynomial(s), r * (@sine_series(s) * s + 1.0));
    result = @real(@bits(result) ^ (I)((U)(quadrant & 2) << $to_sign));
    if (__builtin_expect(@any(far), 0)) /* rare: the C library reduces large arguments */
        result = @select(far, @library_sin(x, far), result);
    return result;
}

V @tan(V x)
{
    I far = (@bits(x) & $max) >= $far_bits; /* |x| >= $far, or NaN */
    V z = x * $two_over_pi + $nearest;
    I odd = (@bits(z) & 1) != 0;
    V r = @reduce_sharply(x, z);
    V s = r * r;
    V sine = @select(r == 0.0, r, (r * s) * @sine_series(s) + r);
    V w = s * -0.5 + 1.0;
    V cosine = w + ((s * s) * @cosine_series(s) + ((1.0 - w) - s * 0.5));
    V result = @select(odd, -cosine, sine) / @select(odd, sine, cosine);
    if (__builtin_expect(@any(far), 0)) /* rare: the C library reduces large arguments */
        result = @select(far, @library_tan(x, far), result);
    return result;
}

/* asin(r) for |r| <= 1/2, s = r^2 */
V @asin_polynomial(V r, V s)
{
    V p = $asin[s];
    return r * (p * s + 1.0);
}

/* asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) for x > 1/2 */
V @asin(V x)
{
    V a = @abs(x);
    I large = a > 0.5;
    V s = @select(large, 0.5 - 0.5 * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    return @with_sign(@select(large, $half_pi - (r + r $half_pi_rest), r), x);
}

V @acos(V x)
{
    V a = @abs(x);
    I large = a > 0.5;
    V s = @select(large, 0.5 - 0.5 * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    V twice = r + r;
    V outer = @select(x < 0.0, $pi - (twice $pi_rest), twice);
    V inner = $half_pi - (@with_sign(r, x) $half_pi_rest);
    return @select(large, outer, inner);
}

/* $power, then the sign and C99's list of special cases */
V @pow(V x, V y)
{
    V a = @abs(x);
    V result = @$pow(a, y);
    I whole = @floor(y) == y;
    V half = y * 0.5;
    I odd = whole & (@floor(half) != half);
    V zero = @splat(0.0), infinity = @splat(__builtin_inf$f());
    result = @select(a == 0.0, @select(y < 0.0, infinity, zero), result);
    result = @select(a == infinity, @select(y < 0.0, zero, infinity), result);
    result = @select(odd, @with_sign(result, x), result);
    result = @select((x < 0.0) & (whole == 0) & (a < infinity), @splat(__builtin_nan$f("")), result);
    result = @select((x != x) | (y != y), x + y, result);
    return @select((y == 0.0) | (x == 1.0) | ((x == -1.0) & (@abs(y) == infinity)), @splat(1.0), result);
}
"""
