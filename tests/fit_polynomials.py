"""Minimax polynomials for the functions in backends/c/math: ``python tests/fit_polynomials.py`` prints their coefficients.

A polynomial for float64 is fitted by Remez' exchange in 60 digits. For float32, coefficients are rounded one by one,
the lowest power first, and the others fitted anew (by Lawson's reweighted least squares, which needs no sign changes of
the error), so that the rounded polynomial is about as good as the ideal one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mpmath as mp  # type: ignore[import-untyped]
import numpy as np

Function = Callable[[Any], Any]
Term = tuple[int, Any]


def chebyshev_points(low: Any, high: Any, count: int) -> list[Any]:
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def remez(
    target: Function, weight: Function, powers: Sequence[int], low: Any, high: Any, fixed: Sequence[Term]
) -> list[Any]:
    """Coefficients of ``powers`` (consecutive) that minimise the largest ``|target - fixed - polynomial| * weight``."""
    least, count = powers[0], len(powers)
    points = [x for x in chebyshev_points(mp.mpf(low), mp.mpf(high), 60 * (count + 2)) if abs(x) > mp.mpf("1e-9")]
    # Divided by the lowest power, so that the error may change its sign at every point, zero included.
    values = [(target(x) - sum(c * x**e for e, c in fixed)) / x**least for x in points]
    weights = [weight(x) * abs(x) ** least for x in points]
    last = len(points) - 1
    chosen = [round((1 - mp.cos(mp.pi * i / count)) / 2 * last) for i in range(count + 1)]
    coefficients: list[Any] = []
    for _ in range(50):
        matrix, right = mp.matrix(count + 1, count + 1), mp.matrix(count + 1, 1)
        for row, i in enumerate(chosen):
            for column in range(count):
                matrix[row, column] = points[i] ** column * weights[i]
            matrix[row, count], right[row] = (-1) ** row, values[i] * weights[i]
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[k] for k in range(count)]
        errors = [(v - mp.polyval(coefficients[::-1], x)) * w for v, x, w in zip(values, points, weights)]
        peaks: list[int] = []
        for i, error in enumerate(errors):
            if not peaks or (errors[peaks[-1]] > 0) != (error > 0):
                peaks.append(i)
            elif abs(error) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) <= count or peaks == chosen:
            break
        chosen = peaks
    return coefficients


def lawson(
    target: Function, weight: Function, powers: Sequence[int], low: Any, high: Any, fixed: Sequence[Term]
) -> list[Any]:
    """As ``remez``, for any powers, to the few digits that float32 needs."""
    points = chebyshev_points(mp.mpf(low), mp.mpf(high), 600)
    error = np.array([float((target(x) - sum(c * x**e for e, c in fixed)) * weight(x)) for x in points])
    basis = np.array([[float(x**e * weight(x)) for e in powers] for x in points])
    scale, share = np.abs(basis).max(axis=0), np.full(len(points), 1 / len(points))
    best, least = np.zeros(len(powers)), np.inf
    for _ in range(600):
        root = np.sqrt(share)
        solution = np.linalg.lstsq(basis / scale * root[:, None], error * root, rcond=None)[0]
        left = np.abs(error - basis / scale @ solution)
        if left.max() < least:
            best, least = solution / scale, left.max()
        share = share * (left + 1e-3 * left.max())
        share /= share.sum()
    return [mp.mpf(float(c)) for c in best]


def rounded(value: Any, dtype: str) -> Any:
    return mp.mpf(struct.unpack("f", struct.pack("f", float(value)))[0] if dtype == "float32" else float(value))


def fit(
    title: str,
    dtype: str,
    target: Function,
    weight: Function,
    powers: Iterable[int],
    low: Any,
    high: Any,
    fixed: Iterable[Term] = (),
) -> None:
    """Fit, round and print, with the largest error of the rounded polynomial."""
    terms, left = list(fixed), list(powers)
    while left:
        coefficients = (lawson if dtype == "float32" else remez)(target, weight, left, low, high, terms)
        known = 1 if dtype == "float32" else len(left)
        terms += [(e, rounded(c, dtype)) for e, c in zip(left[:known], coefficients)]
        left = left[known:]
    points = chebyshev_points(mp.mpf(low), mp.mpf(high), 999)
    error = max(abs((target(x) - sum(c * x**e for e, c in terms)) * weight(x)) for x in points)
    print(f"{title}, {dtype}: 2^{mp.nstr(mp.log(error, 2), 4)}")
    for power, coefficient in terms:
        print(f"    x^{power}: {mp.nstr(coefficient, 10 if dtype == 'float32' else 18)}")


def odd(function: Function) -> Function:
    """function(x) / x in terms of x^2."""
    slope = mp.diff(function, 0)
    return lambda s: function(mp.sqrt(s)) / mp.sqrt(s) if s else slope


def relative(function: Function) -> Function:
    return lambda x: 1 / function(x)


def two(x: Any) -> Any:
    return mp.mpf(2) ** x


def slope(function: Function, at_zero: Any) -> Function:
    return lambda x: function(x) / x if x else at_zero


def cosine(s: Any) -> Any:
    return mp.cos(mp.sqrt(s))


def scaled_erfc(t: Any) -> Any:
    x = 3 * (1 + t) / (1 - t)
    return mp.erfc(x) * mp.exp(x * x)


def main() -> None:
    mp.mp.dps = 60
    one, ln2 = mp.mpf(1), mp.log(2)
    half, quarter = ln2 / 2 * mp.mpf("1.0001"), (mp.pi / 4 * mp.mpf("1.0005")) ** 2
    below, above = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1
    atanh_range = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.0001")
    expm1, log1p = slope(mp.expm1, one), slope(mp.log1p, one)
    sine, sinh, asin, atan, erf = odd(mp.sin), odd(mp.sinh), odd(mp.asin), odd(mp.atan), odd(mp.erf)
    atanh = odd(lambda x: 2 * mp.atanh(x))
    log2 = slope(lambda x: mp.log1p(x) / ln2, 1 / ln2)
    eighth = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.0001")
    threefold = [(0, mp.mpf(3)), (1, one)]
    tail = lambda t: mp.exp(-((3 * (1 + t) / (1 - t)) ** 2))  # noqa: E731

    # fmt: off
    single, double = "float32", "float64"
    fit("exp", single, mp.exp, relative(mp.exp), range(1, 7), -half, half, [(0, one)])
    fit("exp2, in erf", single, two, relative(two), range(1, 6), -0.5, 0.5, [(0, one)])
    fit("exp2", single, two, relative(two), range(1, 7), -0.5, 0.5, [(0, one)])
    fit("expm1(x)/x", single, expm1, relative(expm1), range(1, 6), -half, half, [(0, one)])
    fit("log1p(x)/x", single, log1p, relative(log1p), range(2, 9), below, above, [(0, one), (1, -one / 2)])
    fit("log2(1+x)/x", single, log2, relative(log2), range(1, 9), below, above, [(0, rounded(1 / ln2, single))])
    fit("sin(x)/x in x^2", single, sine, relative(sine), range(1, 4), 0, quarter, [(0, one)])
    fit("cos in x^2", single, cosine, relative(cosine), range(2, 5), 0, quarter, [(0, one), (1, -one / 2)])
    fit("sinh(x)/x in x^2", single, sinh, relative(sinh), range(1, 4), 0, 1, [(0, one)])
    fit("asin(x)/x in x^2", single, asin, relative(asin), range(1, 6), 0, 0.25, [(0, one)])
    fit("atan(x)/x in x^2", single, atan, relative(atan), range(1, 9), 0, 1, [(0, one)])
    fit("erf(x)/x - 1 in x^2", single, lambda s: erf(s) - 1, relative(erf), range(6), 0, 1)
    fit("log2(erfc)", single, lambda x: mp.log(mp.erfc(x), 2), lambda x: mp.erfc(x) * ln2, range(6), 1, 3.95)

    fit("exp", double, mp.exp, relative(mp.exp), range(2, 12), -half, half, [(0, one), (1, one)])
    fit("exp2", double, two, relative(two), range(1, 12), -0.5, 0.5, [(0, one)])
    fit("exp2, in float32's pow", double, two, relative(two), range(8), -0.5, 0.5)
    fit("expm1(x)/x", double, expm1, relative(expm1), range(2, 12), -half, half, [(0, one), (1, one / 2)])
    fit("2 atanh(x)/x in x^2", double, atanh, relative(atanh), range(1, 8), 0, atanh_range, [(0, mp.mpf(2))])
    fit("the same over ln 2, in float32's pow", double, lambda s: atanh(s) / ln2, relative(atanh), range(6), 0, atanh_range)
    fit("3 atanh(x)/x, in pow", double, lambda s: atanh(s) * 3 / 2, relative(atanh), range(2, 9), 0, atanh_range, threefold)
    fit("sin(x)/x in x^2", double, sine, relative(sine), range(1, 7), 0, quarter, [(0, one)])
    fit("cos in x^2", double, cosine, relative(cosine), range(2, 8), 0, quarter, [(0, one), (1, -one / 2)])
    fit("sinh(x)/x in x^2", double, sinh, relative(sinh), range(1, 8), 0, 1, [(0, one)])
    fit("asin(x)/x in x^2", double, asin, relative(asin), range(1, 13), 0, 0.25, [(0, one)])
    fit("atan(x)/x in x^2", double, atan, relative(atan), range(1, 11), 0, eighth, [(0, one)])
    fit("erf(x)/x in x^2", double, erf, relative(erf), range(13), 0, 1)
    fit("exp(x^2) erfc(x) in (x-3)/(x+3)", double, scaled_erfc, tail, range(12), mp.mpf(-1) / 2, mp.mpf(1) / 3)
    # fmt: on


if __name__ == "__main__":
    main()
