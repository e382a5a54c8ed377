"""Schedules t -> λ, monotone from 0 at t = 0 to 1 at t = total, and their rates.

    λ(t) = w(u),   u = clip(t / total, 0, 1),   dλ/dt = w'(u) / total

    Bernstein    w = sum_k c_k B_k,n(u),    0 = c_0 <= ... <= c_n = 1:
                 increasing coefficients make w increase
    Tabulated    w a polynomial of degree 3 or 5 between knots
    Warped       w = v(b(u)):  another schedule after a Bernstein polynomial

Reference: Farouki, Comput. Aided Geom. Design 29 (2012) 379 (Bernstein polynomials).
"""

import abc
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.arrays import as_array
from ...core.checks import (
    check_integer,
    check_numbers,
    check_positive,
    raise_value_error,
)
from ...core.types import AnyArray, Numbers, Scalar


def clip_to_unit(u: Array) -> Array:
    """u clipped to [0, 1], with derivative 1 also at the ends, where that of `jnp.clip`
    is one half.
    """
    return jnp.where(u < 0, 0, jnp.where(u > 1, 1, u))


class Schedule(eqx.Module):
    """The position λ on a path as a function of time; abstract. A subclass has a
    `total` time, and `place`.
    """

    total: eqx.AbstractVar[Array]

    @abc.abstractmethod
    def place(self, u: Array) -> Array:
        """λ at the time u total, for u in [0, 1] of any shape."""

    def __call__(self, t: Scalar) -> Array:
        """λ at the time t, of any shape; it is 0 before t = 0 and 1 after `total`."""
        # In the precision of the schedule.
        u = jnp.asarray(t, self.total.dtype) / self.total
        return self.place(clip_to_unit(u))

    def rate(self, t: Scalar) -> Array:
        """dλ/dt at t of any shape, in 1 / time; zero before 0 and after `total`."""
        u = jnp.asarray(t, self.total.dtype) / self.total
        inside = jnp.clip(u, 0, 1)
        _, slope = jax.jvp(self.place, (inside,), (jnp.ones_like(inside),))
        # A schedule is constant before 0 and after its total.
        return jnp.where(u == inside, slope / self.total, 0)

    def table(self, n: int = 100) -> tuple[Array, Array]:
        """Times `(n + 1,)`, evenly spaced, and λ `(n + 1,)` at these times."""
        n = check_integer("n", n, 1, "Give the number of steps.")
        times = jnp.linspace(0, 1, n + 1) * self.total
        return times, self(times)


class Bernstein(Schedule):
    """λ = sum_k c_k C(n, k) u^k (1 - u)^(n - k) with `coefficients` c `(n + 1,)` from 0
    to 1, ascending.
    """

    total: Array
    coefficients: Array

    def place(self, u: Array) -> Array:
        """λ at the time u total."""
        return bernstein(self.coefficients, u)


class Tabulated(Schedule):
    """λ = sum_j a_kj x^j, x = (u - u_k) / (u_{k+1} - u_k): `knots` u `(K + 1,)`,
    `pieces` a `(K, degree + 1)`.
    """

    total: Array
    knots: Array
    pieces: Array

    def place(self, u: Array) -> Array:
        """λ at the time u total."""
        return _piecewise(self.knots, self.pieces, u)

    def padded(self, multiple: int) -> "Tabulated":
        """The same schedule with more pieces after the end, up to a multiple of
        `multiple` pieces.

        They continue the last piece, so that its derivative at the end itself is
        unchanged.
        """
        knots = np.asarray(self.knots)
        pieces = np.asarray(self.pieces)
        more = -len(pieces) % multiple
        if more == 0:
            return self
        # The Taylor series of the last piece at its upper end, for pieces of length 1.
        last = np.polynomial.Polynomial(pieces[-1])
        width = knots[-1] - knots[-2]
        taylor = [last(1.0)]
        for j in range(1, pieces.shape[1]):
            derivative = last.deriv(j)(1.0)
            taylor.append(derivative / math.factorial(j) / width**j)
        knots = np.concatenate([knots, knots[-1] + 1.0 + np.arange(more)])
        pieces = np.concatenate([pieces, np.tile(taylor, (more, 1))])
        return Tabulated(self.total, as_array(knots), as_array(pieces))


@functools.partial(jax.jit, inline=True)  # traced once, however many programs use it
def _piecewise(knots: Array, pieces: Array, u: Array) -> Array:
    """The piecewise polynomial at u, by Horner's rule."""
    # Inner knots only, so that both ends belong to a piece.
    k = jnp.searchsorted(knots[1:-1], u, side="right")
    coefficients = pieces[k]
    x = (u - knots[k]) / (knots[k + 1] - knots[k])
    value = jnp.zeros_like(u)
    for j in reversed(range(pieces.shape[1])):
        value = value * x + coefficients[..., j]
    return value


class Warped(Schedule):
    """The schedule `base` as a function of a Bernstein polynomial of the time with
    `coefficients` `(n + 1,)`.
    """

    total: Array
    base: Schedule
    coefficients: Array

    def place(self, u: Array) -> Array:
        """λ at the time u total."""
        return self.base.place(clip_to_unit(bernstein(self.coefficients, u)))


def check_total(total: Scalar) -> Array:
    """A positive time as a scalar array, or a `ValueError`."""
    check_positive("total", total, "Give the time that the whole path takes.")
    if jnp.ndim(total):
        raise_value_error(
            "total",
            total,
            "it must be one number",
            "Give the time that the whole path takes.",
        )
    return as_array(total)


def tabulated(times: Numbers, lambdas: Numbers) -> Tabulated:
    """The schedule through given points: monotone cubic pieces, once continuously
    differentiable.

    **Arguments**: `times` `(K + 1,)`, ascending from 0; `lambdas` `(K + 1,)`, from 0 to
    1, not descending. **Returns** a schedule whose total is the last time. **Raises**
    `ValueError` for anything else.
    **Reference**: Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5 (1984) 300.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.schedule import tabulated

    schedule = tabulated([0.0, 1.0, 4.0], [0.0, 0.5, 1.0])
    ```
    """
    cure = "Give times from 0 and lambdas from 0 to 1, as many of each."
    t = check_numbers("times", times, "they must be real numbers", cure).astype(float)
    lam = check_numbers("lambdas", lambdas, "they must be real numbers", cure)
    lam = lam.astype(float)
    # Each check needs what the one before it has found.
    is_row = t.ndim == 1 and len(t) >= 2
    finite = is_row and np.all(np.isfinite(t))
    if not finite or t[0] != 0 or np.any(np.diff(t) <= 0):
        raise_value_error(
            "times", times, "they must be two or more, finite, and ascend from 0", cure
        )
    if lam.shape != t.shape:
        raise_value_error(
            "lambdas", lambdas, f"there must be as many as times, {len(t)}", cure
        )
    if not np.all(np.isfinite(lam)) or lam[0] != 0 or lam[-1] != 1:
        raise_value_error("lambdas", lambdas, "they must start at 0 and end at 1", cure)
    if np.any(np.diff(lam) < 0):
        # The message names the first decrease.
        k = int(np.argmax(np.diff(lam) < 0))
        raise_value_error(
            "lambdas",
            lambdas,
            f"they must not descend, and do after t = {t[k]:.6g}",
            cure,
        )
    u = t / t[-1]
    slopes = _slopes(u, lam)
    pieces = hermite(u, lam, (slopes[:-1], slopes[1:]))
    # `device_put` compiles nothing.
    return Tabulated(*jax.device_put((np.asarray(t[-1]), u, pieces)))


def _slopes(u: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """The derivatives at the knots: weighted harmonic means of the two secants, which
    keep cubic pieces monotone.
    """
    h = np.diff(u)
    secants = np.diff(lam) / h
    if len(h) == 1:
        return np.append(secants[0], secants[-1:])
    before = secants[:-1]
    after = secants[1:]
    # The weights of the two secants at an inner knot.
    w1 = 2 * h[1:] + h[:-1]
    w2 = h[1:] + 2 * h[:-1]
    # Beside a constant piece the derivative is 0; 1 stands for secants that are not
    # used, against division by zero.
    increasing = (before > 0) & (after > 0)
    safe = lambda v: np.where(increasing, v, 1.0)
    harmonic_mean = (w1 + w2) / (w1 / safe(before) + w2 / safe(after))
    at_inner_knots = np.where(increasing, harmonic_mean, 0.0)
    return np.concatenate([secants[:1], at_inner_knots, secants[-1:]])


def hermite(
    u: np.ndarray,
    values: np.ndarray,
    slopes: tuple[AnyArray, AnyArray],
    curvatures: tuple[AnyArray, AnyArray] | None = None,
) -> np.ndarray:
    """The coefficients of Hermite pieces between the knots u `(K + 1,)`, in powers of x
    in [0, 1] on each piece.

    **Arguments**: `values` `(K + 1,)` at the knots; `slopes`, a pair of `(K,)`: first
    derivatives at the lower and at the upper end of each piece; `curvatures`, a pair of
    second derivatives. **Returns** `(K, 4)`, or `(K, 6)` with curvatures.
    """
    # In units of x: values a and b, slopes p and q at the lower and at the upper end.
    h = np.diff(u)
    a = values[:-1]
    b = values[1:]
    p = slopes[0] * h
    q = slopes[1] * h
    if curvatures is None:
        square = 3 * (b - a) - 2 * p - q
        cube = 2 * (a - b) + p + q
        return np.stack([a, p, square, cube], axis=1)
    r = curvatures[0] * h**2 / 2
    s = curvatures[1] * h**2
    # What the first three terms leave of value, first and second derivative at the
    # upper end.
    gap = b - a - p - r
    slope = q - p - 2 * r
    curvature = s - 2 * r
    third = 10 * gap - 4 * slope + curvature / 2
    fourth = -15 * gap + 7 * slope - curvature
    fifth = 6 * gap - 3 * slope + curvature / 2
    return np.stack([a, p, r, third, fourth, fifth], axis=1)


def bernstein(coefficients: Array, u: Array) -> Array:
    """sum_k c_k C(n, k) u^k (1 - u)^(n - k)."""
    # The direct sum is accurate: all its terms are positive, and n is small.
    n = coefficients.shape[0] - 1
    value = jnp.zeros_like(u)
    for k in range(n + 1):
        scaled = coefficients[k] * math.comb(n, k)
        value = value + scaled * u**k * (1 - u) ** (n - k)
    return value
