"""Cauchy's mean value in the half-plane of complex times.

    f(z) = <phi| e^{-zH} |phi>,      analytic for Re z > 0,
    f(c) = (1 / 2 pi) int f(c + r e^{i theta}) d theta,      r < c

f(tau) is imaginary time and f(it) real time, so that the mean over a circle ties both
together. With z = x + iy,

    f(z) = <phi_x| e^{-iyH} |phi_x>,      phi_x = e^{-xH / 2} phi

the state runs to x / 2 in imaginary time and from there to y in real time. The
trapezoidal rule on m points errs by less than (r / c)^m |phi|^2 for levels above zero.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.types import Count, Initial, Real
from ..equation import Equation, Schrodinger
from ..grid import Grid
from ..operator import Scheme
from ..plan.validation import check_kinds
from ..solve.evolve import evolve
from .constants import CONSTANTS


class CauchyMean(eqx.Module):
    """f on a circle of complex times, its mean, and f at the centre.

    - `points` `(m,)`: complex times; `values` `(m,)`: f there
    - `mean`: of the values; `center`: f(c) in imaginary time alone
    - `difference`: |mean - f(c)| / |f(c)|; `error`: the estimated error of the
      difference, of both runs and the mean
    - `holds`: whether the difference is within the error
    """

    points: Array
    values: Array
    mean: Array
    center: Array
    difference: Array
    error: Array

    @property
    def holds(self) -> bool:
        """Whether the mean is the value at the centre, within the error."""
        return bool(self.difference <= self.error)


def cauchy(
    equation: Equation,
    initial: Initial,
    center: Real,
    radius: Real,
    *,
    grid: Grid,
    points: Count | None = None,
    scheme: Scheme | None = None,
    tol: Real | None = None,
) -> CauchyMean:
    """The mean of <phi| e^{-zH} |phi> over a circle of complex times, beside its value
    at the centre.

    **Arguments**: `equation` a static `fp.Schrodinger`; `initial` phi as for
    `fp.evolve`; `center` c > 0 and `radius` r of the circle, 0 < r < c; `grid`;
    `points` on the circle, a multiple of 4, 48 unless given; `scheme` and `tol` of the
    runs as for `fp.evolve`. **Returns** a `CauchyMean`. **Raises** `ValueError` for a
    circle that leaves Re z > 0.

    **Keeps**: the identity holds for the matrix H of any grid, so that it tests the
    runs in time, not the grid. **Cost**: one run in imaginary time and m / 2 in real
    time.
    **Reference**: theorem T25 of this library.

    ```python
    import fpsolve as fp

    oscillator, grid = (
        fp.Schrodinger(lambda x: x[0] ** 2 / 2),
        fp.Grid(fp.Line(-7.0, 7.0, 32)),
    )
    found = fp.wick.cauchy(
        oscillator, fp.Gaussian(0.5, 0.5), 1.0, 0.5, grid=grid, points=16
    )
    found.difference, found.holds
    ```
    """
    check_kinds(equation, scheme)
    if not isinstance(equation, Schrodinger) or equation.time_dependent:
        cure = "Give a static fp.Schrodinger(potential)."
        raise_value_error(
            "equation",
            equation,
            "complex times need a Schrödinger equation with one H",
            cure,
        )
    center = check_finite_number("center", center)
    radius = check_finite_number("radius", radius)
    if not 0 < radius < center:
        cure = "Give a radius below the centre, so that the circle stays in Re z > 0."
        raise_value_error(
            "radius", radius, f"it must lie between 0 and the centre, {center:g}", cure
        )
    count = CONSTANTS.cauchy_points
    if points is not None:
        count = check_integer("points", points, 8, "Give 48, say.")
    # Half of the points lie in the upper half-plane, and every second one is a mean of
    # its own.
    if count % 4:
        raise_value_error(
            "points", count, "it must be a multiple of 4", "Give 48, say."
        )
    # In float32 this tolerance would be below rounding.
    if tol is None and jnp.zeros(()).dtype.itemsize == 8:
        tol = CONSTANTS.cauchy_tol

    # Imaginary time: to x / 2 of every point of the upper half, and of the centre.
    half = count // 2
    angles = 2 * np.pi * (np.arange(half) + 0.5) / count
    x = center + radius * np.cos(angles)
    y = radius * np.sin(angles)
    halves = np.append(x, center) / 2
    order = np.argsort(halves)
    # The identity holds on any grid: the error in space is not examined.
    options = {"grid": grid, "scheme": scheme, "tol": tol, "check": False}
    # Times ascend along a run.
    damped = evolve(equation, initial, halves[order], **options)
    states = dict(zip(order.tolist(), np.asarray(damped.values), strict=True))
    # f is quadratic in the state.
    time_error = 2 * float(np.max(np.asarray(damped.errors["time"])))

    # Real time: from each of these states to its y. The lower half follows by complex
    # conjugation.
    values = []
    turned_error = 0.0
    for k in range(half):
        state = states[k]
        turned = evolve(
            equation, jnp.asarray(state), [y[k]], wick=math.pi / 2, **options
        )
        after = np.asarray(turned.values)[0]
        values.append(complex(grid.integrate_on_host(np.conj(state) * after)))
        turned_error = max(turned_error, float(turned.errors["time"][0]))
    upper = np.asarray(values)
    middle = float(grid.integrate_on_host(np.abs(states[half]) ** 2))

    # The mean over every second point errs by (r / c)^{m/2} more: their difference
    # shows the error of the whole.
    by_angle = np.concatenate([upper, np.conj(upper[::-1])])
    mean = np.mean(by_angle)
    convergence = (radius / center) ** half
    even = np.mean(by_angle[::2])
    odd = np.mean(by_angle[1::2])
    quadrature = abs(even - odd) * convergence
    epsilon = float(np.finfo(states[half].real.dtype).eps)
    largest = float(np.max(np.abs(by_angle)))
    rounding = CONSTANTS.cauchy_roundings * epsilon * largest
    in_time = (time_error + turned_error) * largest
    error = (quadrature + rounding + in_time) / abs(middle)
    complex_type = jnp.result_type(jnp.zeros(()), jnp.complex64)
    upper_points = x + 1j * y
    circle = np.concatenate([upper_points, np.conj(upper_points[::-1])])
    return CauchyMean(
        points=as_array(circle, complex_type),
        values=as_array(by_angle, complex_type),
        mean=as_array(mean, complex_type),
        center=as_array(middle),
        difference=as_array(abs(mean - middle) / abs(middle)),
        error=as_array(error),
    )
