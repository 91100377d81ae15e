"""C text of the float64 elementwise functions; see vector_math.py for the notation.

Polynomial coefficients are minimax fits by fit_polynomials.py, rounded to float64; the comment beside each gives the
interval and the error. Products that must be exact are of numbers with few bits, so that every function is right
whether or not the compiler contracts multiplication and addition into an FMA. 64-bit integers are shifted logically
only and converted through the mantissa of a float64: AVX2 has neither the arithmetic shift nor the conversion.
"""

TEMPLATES: dict[str, str] = {}

TEMPLATES["abs"] = """
V @abs(V x)
{
    return @real(@bits(x) & INT64_MAX);
}
"""

TEMPLATES["with_sign"] = """
V @with_sign(V magnitude, V sign)
{
    return @real((@bits(magnitude) & INT64_MAX) | (@bits(sign) & INT64_MIN));
}
"""

# minimax on |r| <= ln2/2: 2^-56.4
TEMPLATES["exp_polynomial"] = """
/* e^r for |r| <= ln(2)/2 */
V @exp_polynomial(V r)
{
    V p = r * 2.50000800831823424e-8 + 2.76302494823675432e-7;
    p = p * r + 2.75575863164738465e-6;
    p = p * r + 2.48014930957137139e-5;
    p = p * r + 1.98412695066423414e-4;
    p = p * r + 1.38888889436332885e-3;
    p = p * r + 8.33333333349443178e-3;
    p = p * r + 4.16666666665301486e-2;
    p = p * r + 0.166666666666664132;
    p = p * r + 0.50000000000000111;
    p = p * r + 1.0;
    return p * r + 1.0;
}
"""

TEMPLATES["exp_shifted"] = """
/* e^x * 2^shift = 2^(n + shift) * e^r with x = n * ln(2) + r; 1.5 * 2^52 + 2046 leaves n + 2046 in the low bits */
V @exp_shifted(V x, double shift)
{
    x = @at_most(x, 711.0);
    x = @at_least(x, -746.0);
    V z = x * 1.4426950408889634 + 6755399441057790.0;
    V n = z - 6755399441057790.0;
    V r = (x - n * 0.69314718036912382) - n * 1.9082149292705877e-10;
    return @scale(@exp_polynomial(r), n + shift, (I)((U)@bits(z) + (int)shift));
}
"""

TEMPLATES["exp"] = """
V @exp(V x)
{
    return @exp_shifted(x, 0.0);
}
"""

# minimax on |r| <= 1/2: 2^-55.0
TEMPLATES["exp2_polynomial"] = """
/* 2^r for |r| <= 1/2 */
V @exp2_polynomial(V r)
{
    V p = r * 4.43477555914519118e-10 + 7.07378335963757953e-9;
    p = p * r + 1.01781995431577368e-7;
    p = p * r + 1.32154352816378494e-6;
    p = p * r + 1.5252733493195612e-5;
    p = p * r + 1.54035304571134872e-4;
    p = p * r + 1.33335581467745553e-3;
    p = p * r + 9.61812910759411895e-3;
    p = p * r + 5.55041086648200843e-2;
    p = p * r + 0.240226506959101305;
    p = p * r + 0.693147180559945286;
    return p * r + 1.0;
}
"""

TEMPLATES["exp2"] = """
/* 2^x = 2^n * 2^r with n the nearest integer */
V @exp2(V x)
{
    x = @at_most(x, 1025.0);
    x = @at_least(x, -1076.0);
    V z = x + 6755399441057790.0;
    V n = z - 6755399441057790.0;
    return @scale(@exp2_polynomial(x - n), n, @bits(z));
}
"""

# minimax of (e^r - 1) / r on |r| <= ln2/2: 2^-59.2
TEMPLATES["expm1"] = """
/* 2^n * (e^r - 1) + (2^n - 1), computed at half its size so that 2^1024 does not overflow early */
V @expm1(V x)
{
    V y = @at_most(x, 710.0);
    y = @at_least(y, -40.0);
    V z = y * 1.4426950408889634 + 6755399441056766.0;
    V n = z - 6755399441056766.0;
    V r = (y - n * 0.69314718036912382) - n * 1.9082149292705877e-10;
    V p = r * 2.08788940523780538e-9 + 2.51086871472762419e-8;
    p = p * r + 2.75573871038935231e-7;
    p = p * r + 2.75572452924983075e-6;
    p = p * r + 2.48015871981517919e-5;
    p = p * r + 1.98412698849438629e-4;
    p = p * r + 1.38888888889427005e-3;
    p = p * r + 8.33333333332215986e-3;
    p = p * r + 4.16666666666665811e-2;
    p = p * r + 0.166666666666666768;
    p = p * r + 0.5;
    V q = (r * r) * p + r;
    V s = @real((I)((U)@bits(z) << 52)); /* 2^(n-1) */
    V h = s * q + (s - 0.5);
    return @with_sign(h + h, x);
}
"""

# minimax of 2 atanh(s)/s in s^2 for |s| <= 0.1716: 2^-59.3; log(1+f) = 2 atanh(s) = f - s * (f - R), s = f/(2+f).
TEMPLATES["log_polynomial"] = """
/* n * ln(2) + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2) */
V @log_polynomial(V f, V n)
{
    V s = f / (f + 2.0);
    V t = s * s;
    V p = t * 0.147741414778170321 + 0.153163982743372423;
    p = p * t + 0.181834641734640895;
    p = p * t + 0.222222007153283607;
    p = p * t + 0.285714287185494631;
    p = p * t + 0.39999999999542446;
    p = p * t + 0.66666666666667096;
    p = f - s * (f - p * t);
    return n * 0.69314718036912382 + (n * 1.9082149292705877e-10 + p);
}
"""

TEMPLATES["log_special"] = """
/* the result for zero, infinity, NaN and what is negative */
V @log_special(V x, V result)
{
    result = @select(x < __builtin_inf(), result, x);
    result = @select(x < 0.0, @splat(__builtin_nan("")), result);
    return @select(x == 0.0, @splat(-__builtin_inf()), result);
}
"""

TEMPLATES["split"] = """
/* the bits of x, moved so that the exponent field is 1023 + n for x = 2^n * m, sqrt(1/2) <= m < sqrt(2) */
U @split(V x)
{
    return (U)@bits(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
}
"""

TEMPLATES["split_exponent"] = """
V @split_exponent(U i)
{
    return @real((I)((i >> 52) | 0x4330000000000000u)) - 4503599627371519.0; /* 2^52 + 1023 */
}
"""

TEMPLATES["split_mantissa"] = """
V @split_mantissa(U i)
{
    return @real((I)((i & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu));
}
"""

TEMPLATES["is_special"] = """
/* x is none of the positive normal numbers */
I @is_special(V x)
{
    return (U)@bits(x) - 0x0010000000000000u >= 0x7fe0000000000000u;
}
"""

TEMPLATES["log_normal"] = """
/* log(x) - shift * ln(2) */
V @log_normal(V x, double shift)
{
    U i = @split(x);
    return @log_polynomial(@split_mantissa(i) - 1.0, @split_exponent(i) - shift);
}
"""

TEMPLATES["log"] = """
V @log(V x)
{
    I special = @is_special(x);
    V result = @log_normal(x, 0.0);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log_normal(x * 4503599627370496.0, 52.0);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}
"""

TEMPLATES["log2_normal"] = """
/* log2(x) - shift */
V @log2_normal(V x, double shift)
{
    U i = @split(x);
    V p = @log_polynomial(@split_mantissa(i) - 1.0, @splat(0.0));
    return p * 1.4426950408889634 + (@split_exponent(i) - shift);
}
"""

TEMPLATES["log2"] = """
V @log2(V x)
{
    I special = @is_special(x);
    V result = @log2_normal(x, 0.0);
    if (__builtin_expect(@any(special), 0)) { /* a denormal x is scaled up */
        V scaled = @log2_normal(x * 4503599627370496.0, 52.0);
        result = @select(special, @log_special(x, scaled), result);
    }
    return result;
}
"""

TEMPLATES["log1p"] = """
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
"""

TEMPLATES["sinh"] = """
/* a series near zero (minimax of sinh(x)/x in x^2 on [0, 1]: 2^-56.6), else (e^x - e^-x) / 2 */
V @sinh(V x)
{
    V s = x * x;
    V p = s * 7.75874873374095618e-13 + 1.60572597720816031e-10;
    p = p * s + 2.50521231366642507e-8;
    p = p * s + 2.75573191570723437e-6;
    p = p * s + 1.98412698414318698e-4;
    p = p * s + 8.3333333333331476e-3;
    p = p * s + 0.166666666666666685;
    V small = x * (p * s + 1.0);
    V h = @exp_shifted(@abs(x), -1.0);
    V large = @with_sign(h - 0.25 / h, x);
    return @select(s < 1.0, small, large);
}
"""

TEMPLATES["cosh"] = """
V @cosh(V x)
{
    V h = @exp_shifted(@abs(x), -1.0);
    return h + 0.25 / h;
}
"""

TEMPLATES["tanh"] = """
/* t / (t + 2) with t = e^(2|x|) - 1; it is 1 beyond 20 */
V @tanh(V x)
{
    V a = @abs(x);
    a = @at_most(a, 20.0);
    V t = @expm1(a + a);
    return @with_sign(t / (t + 2.0), x);
}
"""

TEMPLATES["sigmoid"] = """
/* e / (1 + e) or 1 / (1 + e) with e = exp(-|x|), which cannot overflow; the factor 2^-54 keeps the scale 2^n normal */
V @sigmoid(V x)
{
    V a = @real(@bits(x) | INT64_MIN);
    a = @at_least(a, -746.0);
    V z = a * 1.4426950408889634 + 6755399441056821.0;
    V n = z - 6755399441056821.0;
    V r = (a - n * 0.69314718036912382) - n * 1.9082149292705877e-10;
    V e = @exp_polynomial(r) * @real((I)((U)@bits(z) << 52)) * 5.5511151231257827e-17;
    return @select(x < 0.0, e, @splat(1.0)) / (e + 1.0);
}
"""

# minimax of erf(x)/x in x^2 on [0, 1]: 2^-62.7; of e^(x^2) erfc(x) in t on [1, 6], weighted with e^(-x^2): 2^-57.1
TEMPLATES["erf"] = """
/* x * P(x^2) up to 1; then 1 - e^(-x^2) * Q(t), t = (|x| - 3) / (|x| + 3); it is 1 beyond 6 */
V @erf(V x)
{
    V a = @abs(x);
    a = @at_most(a, 6.0);
    V s = a * a;
    V p = s * 5.94524965060273959e-11 - 1.1365658397238832e-9;
    p = p * s + 1.46578777611056967e-8;
    p = p * s - 1.63500248914506984e-7;
    p = p * s + 1.64609727833034145e-6;
    p = p * s - 1.49255935045963586e-5;
    p = p * s + 1.20553310367939217e-4;
    p = p * s - 8.54832697873893037e-4;
    p = p * s + 5.22397762478080032e-3;
    p = p * s - 2.68661706450728857e-2;
    p = p * s + 0.112837916709548569;
    p = p * s - 0.376126389031837483;
    p = p * s + 1.12837916709551256;
    V t = (a - 3.0) / (a + 3.0);
    V q = t * 1.5203317035889071e-5 + 1.02951903710281044e-4;
    q = q * t + 7.63941127670724276e-5;
    q = q * t - 5.81092133994747548e-4;
    q = q * t + 7.13175310664307892e-4;
    q = q * t + 4.27035380269589863e-3;
    q = q * t - 2.43923278789537415e-2;
    q = q * t + 7.16658501296564276e-2;
    q = q * t - 0.150115936343866552;
    q = q * t + 0.245603801664285581;
    q = q * t - 0.326233560045902482;
    q = q * t + 0.179001151181353763;
    V tail = 1.0 - @exp_shifted(-s, 0.0) * q;
    return @with_sign(@select(a < 1.0, a * p, tail), x);
}
"""

# minimax on |r| <= pi/4: sine 2^-57.9, cosine 2^-63.9
TEMPLATES["sine_series"] = """
/* (sin(r) / r - 1) / s for s = r^2 */
V @sine_series(V s)
{
    V p = s * 1.58954322381209111e-10 - 2.505073438039734e-8;
    p = p * s + 2.75573135385042982e-6;
    p = p * s - 1.98412698293585658e-4;
    p = p * s + 8.33333333332184067e-3;
    return p * s - 0.166666666666666297;
}
"""

TEMPLATES["cosine_series"] = """
/* (cos(r) - 1 + s / 2) / s^2 for s = r^2 */
V @cosine_series(V s)
{
    V p = s * -1.13586833343704168e-11 + 2.08757042710426165e-9;
    p = p * s - 2.7557314210074921e-7;
    p = p * s + 2.48015872889836783e-5;
    p = p * s - 1.38888888888733246e-3;
    return p * s + 4.1666666666666595e-2;
}
"""

TEMPLATES["cosine_polynomial"] = """
V @cosine_polynomial(V s)
{
    return (s * s) * @cosine_series(s) + (s * -0.5 + 1.0);
}
"""

# Of two products that are added, a compiler may contract either: scalar and vector code would differ.
TEMPLATES["product"] = """
/* the rounded product: as its sum with zero it is an FMA itself and enters no other */
V @product(V a, V b)
{
    return a * b + 0.0;
}
"""

# pi/2 in three parts of 33 bits and a rest: n has at most 20 bits, so the first three products are exact.
TEMPLATES["reduce"] = """
/* x - n * pi/2 for |x| < 1600000; the low bits of z hold n */
V @reduce(V x, V z)
{
    V n = z - 6755399441055744.0;
    V r = x - n * 1.5707963267341256;
    r = r - n * 6.0771005063039660e-11;
    r = r - n * 2.0222662487111665e-21;
    return r - n * 8.4784276603688995e-32;
}
"""

TEMPLATES["reduce_sharply"] = """
/* the same with what the roundings lose: within half a unit in the last place */
V @reduce_sharply(V x, V z)
{
    V n = z - 6755399441055744.0;
    V t = x - n * 1.5707963267341256;
    V u = t - n * 6.0771005063039660e-11;
    V lost = (u - t) + n * 6.0771005063039660e-11;
    V r = u - n * 2.0222662487111665e-21;
    lost = ((r - u) + n * 2.0222662487111665e-21) + lost;
    lost = n * 8.4784276603688995e-32 + lost;
    return r - lost;
}
"""

for _name, _quarter in (("sin", 0), ("cos", 1)):
    TEMPLATES[_name] = f"""
V @{_name}(V x)
{{
    I far = (@bits(x) & INT64_MAX) >= 0x41386a0000000000; /* |x| >= 1600000, or NaN */
    V z = x * 0.63661977236758134 + 6755399441055744.0;
    I quadrant = (I)((U)@bits(z) + {_quarter}u);
    V r = @reduce(x, z);
    V s = r * r;
    V result = @select((quadrant & 1) != 0, @cosine_polynomial(s), r * (@sine_series(s) * s + 1.0));
    result = @real(@bits(result) ^ (I)((U)(quadrant & 2) << 62));
    if (__builtin_expect(@any(far), 0)) /* rare: the C library reduces large arguments */
        result = @select(far, @library_{_name}(x, far), result);
    return result;
}}
"""

TEMPLATES["tan"] = """
V @tan(V x)
{
    I far = (@bits(x) & INT64_MAX) >= 0x41386a0000000000; /* |x| >= 1600000, or NaN */
    V z = x * 0.63661977236758134 + 6755399441055744.0;
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
"""

# minimax of asin(x)/x in x^2 for |x| <= 1/2: 2^-55.9
TEMPLATES["asin_polynomial"] = """
/* asin(r) for |r| <= 1/2, s = r^2 */
V @asin_polynomial(V r, V s)
{
    V p = s * 3.20738199527552746e-2 - 1.6408136130924459e-2;
    p = p * s + 1.96144496052492734e-2;
    p = p * s + 6.50667172164856936e-3;
    p = p * s + 1.21721527603339073e-2;
    p = p * s + 1.38850163253752996e-2;
    p = p * s + 1.73597125055963697e-2;
    p = p * s + 2.23717579236024887e-2;
    p = p * s + 3.03819591419742067e-2;
    p = p * s + 4.4642856828214561e-2;
    p = p * s + 7.50000000033714254e-2;
    p = p * s + 0.166666666666654084;
    return r * (p * s + 1.0);
}
"""

TEMPLATES["asin"] = """
/* asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) for x > 1/2 */
V @asin(V x)
{
    V a = @abs(x);
    I large = a > 0.5;
    V s = @select(large, 0.5 - 0.5 * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    return @with_sign(@select(large, 1.5707963267948966 - (r + r - 6.1232339957367660e-17), r), x);
}
"""

TEMPLATES["acos"] = """
V @acos(V x)
{
    V a = @abs(x);
    I large = a > 0.5;
    V s = @select(large, 0.5 - 0.5 * a, a * a);
    V r = @asin_polynomial(@select(large, @sqrt(s), a), s);
    V twice = r + r;
    V outer = @select(x < 0.0, 3.1415926535897932 - (twice - 1.2246467991473532e-16), twice);
    V inner = 1.5707963267948966 - (@with_sign(r, x) - 6.1232339957367660e-17);
    return @select(large, outer, inner);
}
"""

# minimax of atan(x)/x in x^2 for |x| <= tan(pi/8): 2^-54.7
TEMPLATES["atan"] = """
/* atan(x) = pi/4 + atan((x - 1) / (x + 1)) = pi/2 - atan(1 / x), so that the polynomial sees at most tan(pi/8) */
V @atan(V x)
{
    V a = @abs(x);
    I middle = a > 0.41421356237309503, large = a > 2.4142135623730949;
    V numerator = @select(large, @splat(-1.0), @select(middle, a - 1.0, a));
    V denominator = @select(large, a, @select(middle, a + 1.0, @splat(1.0)));
    V base = @select(large, @splat(1.5707963267948966), @select(middle, @splat(0.78539816339744831), @splat(0.0)));
    V r = numerator / denominator;
    V s = r * r;
    V p = s * 2.12586238236962285e-2 - 4.35899437062697709e-2;
    p = p * s + 5.69250451493204176e-2;
    p = p * s - 6.64111483779447342e-2;
    p = p * s + 7.69006761181626303e-2;
    p = p * s - 9.09078236770557574e-2;
    p = p * s + 0.111111066518991539;
    p = p * s - 0.142857141952281191;
    p = p * s + 0.199999999990886995;
    p = p * s - 0.333333333333301507;
    r = r * (p * s + 1.0);
    return @with_sign(base + (@product(base, @splat(3.8981718325193755e-17)) + r), x);
}
"""
