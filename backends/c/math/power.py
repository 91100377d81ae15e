"""C text of pow, which needs more precision than its result has; see vector_math.py for the notation."""

FLOAT32: dict[str, str] = {}
FLOAT64: dict[str, str] = {}

FLOAT64["head"] = """
/* the leading 26 bits, so that products of two such numbers are exact */
V @head(V x)
{
    return @real(@bits(x) & ~INT64_C(0x7ffffff));
}
"""

# The two-part logarithm of fdlibm's e_pow.c: every product whose rounding error would matter is of two short numbers.
FLOAT64["pow_positive"] = """
/* x^y for a positive, finite x: 2^(y * log2(x)), the logarithm in two parts */
V @pow_positive(V x, V y)
{
    I small = x < 2.2250738585072014e-308;
    U i = @split(@select(small, x * 4503599627370496.0, x));
    V n = @split_exponent(i) - @select(small, @splat(52.0), @splat(0.0));
    V m = @split_mantissa(i);
    y = @at_most(y, 1e30);
    y = @at_least(y, -1e30);

    V f = m - 1.0; /* s = f / (m + 1) = s1 + s2 */
    V d = m + 1.0, d1 = @head(d), d2 = m - (d1 - 1.0);
    V s = f / d, s1 = @head(s);
    V s2 = ((f - s1 * d1) - s1 * d2) / d;

    V t = s * s; /* log2(m) = 2 / (3 ln 2) * s * (3 + s^2 + r) */
    V r = t * 0.197939620541540656 + 0.198852857799244526;
    r = r * t + 0.230801333683259891;
    r = r * t + 0.272726766097425799;
    r = r * t + 0.33333333779185681;
    r = r * t + 0.428571428551534128;
    r = r * t + 0.600000000000033729;
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
    V z = e + 6755399441057790.0;
    n = z - 6755399441057790.0;
    V g = (high - n) + low;
    V result = @scale(@exp2_polynomial(g), n, @bits(z));
    result = @select(e >= 1025.0, @splat(__builtin_inf()), result);
    return @select(e <= -1076.0, @splat(0.0), result);
}
"""

# log2 by atanh(s), s = (m-1)/(m+1) (2^-45), 2^r on |r| <= 1/2 (2^-34): what is lost lies far below float32.
FLOAT64["pow_coarse"] = """
/* x^y good to float32, for a positive, finite, normal x */
V @pow_coarse(V x, V y)
{
    U i = @split(x);
    V n = @split_exponent(i), m = @split_mantissa(i);
    V s = (m - 1.0) / (m + 1.0);
    V q = s * s;
    V p = q * 0.282893600804498491 + 0.319905711925813852;
    p = p * q + 0.412209256353057552;
    p = p * q + 0.577077942329442872;
    p = p * q + 0.961796694113450257;
    p = p * q + 2.88539008177784995;
    V t = y * (p * s + n);
    t = @at_most(t, 200.0);
    t = @at_least(t, -200.0);
    V z = t + 6755399441056767.0; /* 1.5 * 2^52 + 1023 */
    V r = t - (z - 6755399441056767.0);
    p = r * 1.55917254852472656e-5 + 1.54746766540609103e-4;
    p = p * r + 1.33331198614864820e-3;
    p = p * r + 9.61801513588137792e-3;
    p = p * r + 5.55040955210089476e-2;
    p = p * r + 0.24022651202665754;
    p = p * r + 0.69314718206117365;
    p = p * r + 0.9999999999616771;
    return p * @real((I)((U)@bits(z) << 52));
}
"""

FLOAT64["pow"] = """
/* |x|^y, then the sign and C99's list of special cases */
V @pow(V x, V y)
{
    V a = @abs(x);
    V result = @pow_positive(a, y);
    I whole = @floor(y) == y;
    V half = y * 0.5;
    I odd = whole & (@floor(half) != half);
    V zero = @splat(0.0), infinity = @splat(__builtin_inf());
    result = @select(a == 0.0, @select(y < 0.0, infinity, zero), result);
    result = @select(a == infinity, @select(y < 0.0, zero, infinity), result);
    result = @select(odd, @with_sign(result, x), result);
    result = @select((x < 0.0) & (whole == 0) & (a < infinity), @splat(__builtin_nan("")), result);
    result = @select((x != x) | (y != y), x + y, result);
    return @select((y == 0.0) | (x == 1.0) | ((x == -1.0) & (@abs(y) == infinity)), @splat(1.0), result);
}
"""

# The power itself is computed in float64, see _pow_in_double in vector_math.py.
FLOAT32["pow"] = """
/* |x|^y in double precision, then the sign and C99's list of special cases */
V @pow(V x, V y)
{
    V a = @abs(x);
    V result = @pow_in_double(a, y);
    I whole = @floor(y) == y;
    V half = y * 0.5f;
    I odd = whole & (@floor(half) != half);
    V zero = @splat(0.0f), infinity = @splat(__builtin_inff());
    result = @select(a == 0.0f, @select(y < 0.0f, infinity, zero), result);
    result = @select(a == infinity, @select(y < 0.0f, zero, infinity), result);
    result = @select(odd, @with_sign(result, x), result);
    result = @select((x < 0.0f) & (whole == 0) & (a < infinity), @splat(__builtin_nanf("")), result);
    result = @select((x != x) | (y != y), x + y, result);
    return @select((y == 0.0f) | (x == 1.0f) | ((x == -1.0f) & (@abs(y) == infinity)), @splat(1.0f), result);
}
"""
