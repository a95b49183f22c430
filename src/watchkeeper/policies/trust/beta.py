"""The Beta distribution: its distribution function and quantiles, with nothing but the standard library.

The regularised incomplete beta function by its continued fraction (Lentz), and its inverse by Newton's steps inside a
bracket that only shrinks. Good to 1e-9 for parameters from 1 to 100,000, which is what tests hold it to; it is NOT made
for smaller or larger ones.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_TINY = 1e-300
_CLOSE = 1e-15
_MAX_TERMS = 5_000
_MAX_STEPS = 200


def cdf(x: float, a: float, b: float) -> float:
    """The chance that a Beta(a, b) variable is at most `x`."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = exp(_log_front(x, a, b))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def quantile(p: float, a: float, b: float) -> float:
    """The `x` at which a chance of `p` is reached."""
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(_MAX_STEPS):
        over = cdf(x, a, b) - p
        low, high = (low, x) if over > 0 else (x, high)
        density = exp(_log_front(x, a, b)) / (x * (1 - x))
        following = x - over / density if density > _TINY else low
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) < _CLOSE or not low < following < high:
            return following
        x = following
    return x


def _log_front(x: float, a: float, b: float) -> float:
    return a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _inverse(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = _inverse(1 + term * d), _kept(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < _CLOSE:
            break
    return value


def _inverse(value: float) -> float:
    return 1 / _kept(value)


def _kept(value: float) -> float:
    """Away from zero, by which the next step divides."""
    return value if abs(value) > _TINY else _TINY
