"""Linear, smooth and optimal schedules.

    J = int g(λ) (dλ/dt)^2 dt  is least where  sqrt(g) dλ/dt  is constant:

    dλ/dt = C / (T sqrt(g(λ))),     C = int_0^1 sqrt(g) dλ
    J_min = C^2 / T,                J_linear / J_min = int g dλ / C^2

for each of the four costs sqrt(g) of `along`, and for that of the work of a Langevin
corrector of velocity v,

    work    sqrt(g) = v(λ) ( E |d_λ s|^2 )^{1/2},    s = grad log π the score,

with v = σ(λ) along a noising path, else 1.

`smooth` needs no path: where n derivatives of λ vanish at the end, the
distance from the Gibbs density at the end decays as T^-(n+1).

References: theorems T18 and T21 of this library; Roland and Cerf, Phys. Rev. A 65
(2002) 042308; Rezakhani et al., Phys. Rev. Lett. 103 (2009) 080502; Williams et al.,
arXiv 2412.07877 (work).
"""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Array

from ...core.arrays import as_array
from ...core.checks import check_choice, check_integer, raise_value_error
from ...core.program import public_function
from ...core.types import Count, PotentialPath, Scalar
from ...grid import Grid
from ..along import Along, compute_along, interpolation_tol
from ..constants import CONSTANTS
from .monotone import Bernstein, Schedule, Tabulated, check_total, hermite, tabulated

COSTS = ("bound", "score", "wasserstein", "exact")
WORK = "work"  # of a corrector: needs the path itself, whose σ it uses
COSTS_WITH_INVERSE = ("wasserstein", "exact")  # those that need H^{-1}


def linear(total: Scalar) -> Schedule:
    """λ = t / total. **Arguments**: `total`, the time that the path takes. **Raises**
    `ValueError` unless positive.

    ```python
    from fpsolve.anneal.schedule.schedules import linear

    linear(2.0)(0.5)  # 0.25
    ```
    """
    return smooth(total, 0)


def smooth(total: Scalar, order: Count) -> Schedule:
    """A polynomial of which `order` derivatives vanish at both ends; 0 is linear.

        λ = I_u(n + 1, n + 1) = sum_{k > n} C(2n + 1, k) u^k (1 - u)^(2n + 1 - k)
        u = t / total

    **Arguments**: `total` time; `order` n, at least 0. **Returns** a schedule whose lag
    at the end decays as total^-(n+1). **Raises** `ValueError` for a total that is not
    positive or an order that is no integer. **Reference**: theorem T18 of this library;
    regularised incomplete beta function: DLMF 8.17.5.

    ```python
    from fpsolve.anneal.schedule.schedules import smooth

    smooth(2.0, 1)(0.5)  # 3 u^2 - 2 u^3 at u = 1/4
    ```
    """
    cure = "Give how many derivatives vanish at both ends."
    n = check_integer("order", order, 0, cure)
    # The first half of the coefficients is 0, the second is 1.
    coefficients = as_array(np.arange(2 * n + 2) > n)
    return Bernstein(check_total(total), coefficients)


class Optimal(Schedule):
    """The result of `optimal`, a schedule with

    - `cost_integral` C = int_0^1 sqrt(g) dλ, in units of time (for "wasserstein" of its
      root)
    - `action` C^2 / total, the minimum of int g (dλ/dt)^2 dt
    - `gain`, the factor by which the linear schedule costs more: int g dλ / C^2, at
      least 1
    - `along`: the gap and the costs that it was computed from; `motion`: λ(t) as a
      table
    """

    total: Array
    motion: Tabulated
    cost_integral: Array
    gain: Array
    along: Along

    @property
    def action(self) -> Array:
        """C^2 / total."""
        return self.cost_integral**2 / self.total

    def place(self, u: Array) -> Array:
        """λ at the time u total."""
        return self.motion.place(u)


@public_function
def optimal(
    path: Any,
    total: Scalar,
    *,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    cost: str = "bound",
) -> Optimal:
    """The schedule with the smallest cost: dλ/dt proportional to 1 / sqrt(g(λ)).

    **Arguments**: `path`, λ to a potential, or an `Along` of it; `total` time; `grid`
    that holds all Gibbs densities, fitted if None; `diffusion` D; `cost` sqrt(g), which
    is minimised: "bound" (adiabatic theorem, |ell| / gap), "score" (|d_λ s| /
    gap^{3/2}), "wasserstein" (the dissipated work), "exact" (the first-order lag, in
    mean square), or "work" (of a Langevin corrector, v |d_λ s|, for the steps of a
    sampler: `cost_integral` is then in units of v / length; v is `path.sigma(λ)` if the
    path has that, else 1). **Returns** an `Optimal`. **Raises** `ValueError` as
    `along`, and for a total that is not positive.

    **Keeps**: monotone, from 0 to 1; within 1e-8 of the solution of its differential
    equation. **Cost**: that of `along`. **Reference**: theorem T21 of this library;
    Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.schedule.schedules import optimal

    path = fp.Mix(fp.Harmonic(4.0, -1.0), fp.Harmonic(1.0, 1.0))
    schedule = optimal(path, 10.0, grid=fp.Grid(fp.Line(-8.0, 8.0, 64)))
    ```
    """
    total = check_total(total)
    check_choice("cost", cost, (*COSTS, WORK))
    if cost == WORK and isinstance(path, Along):
        cure = (
            "Give the path itself, or scale found.at(lam).score * found.at(lam).gap ** "
            "1.5 yourself."
        )
        raise_value_error(
            "path",
            path,
            "an Along does not know the velocity of a corrector, path.sigma",
            cure,
        )
    given = path
    if not isinstance(path, Along):
        if grid is None:
            from ..grid_for_path import path_grid

            grid = path_grid(path, diffusion, CONSTANTS.schedule_path_tol)
        tol = interpolation_tol(grid)
        # The work needs no H^{-1}.
        path = compute_along(path, grid, diffusion, tol, costs=cost != WORK)
    if not path.solved and cost in COSTS_WITH_INVERSE:
        raise_value_error(
            "cost",
            cost,
            "it was not computed: the Along is of costs=False",
            "Use along(costs=True).",
        )
    if cost == WORK:
        return _schedule_of_work(given, total, path, float(diffusion))
    return schedule_of_cost(cost, total, path)


def _schedule_of_work(
    path: PotentialPath, total: Array, found: Along, diffusion: float
) -> Optimal:
    """The optimal schedule for the work of a corrector. Where σ vanishes as a root at λ
    = 0, λ(t) is steep there.
    """
    # Knots that are graded towards λ = 0, besides those of the panels.
    edges = np.asarray(found.panels.edges)
    even = np.linspace(0, 1, CONSTANTS.graded_knots)
    graded = even**3
    knots = np.unique(np.concatenate([edges, graded, even]))
    x, weights = np.polynomial.legendre.leggauss(CONSTANTS.gauss_points)
    h = np.diff(knots)
    widths = h[:, None]
    inside = knots[:-1, None] + widths * (1 + x) / 2
    weights = weights * widths / 2
    rates, _ = found.with_slopes(inside)
    # The table has sqrt(D) |d_λ s| / gap^{3/2}.
    score_speed = rates.score * rates.gap**1.5 / np.sqrt(diffusion)
    values = score_speed * _corrector_velocity(path, inside)
    # Where a path is constant the cost is 0: a floor keeps the speed finite.
    floor = CONSTANTS.min_relative_cost * np.sum(weights * values)
    values = np.maximum(values, floor)
    integral = np.sum(weights * values)
    square = np.sum(weights * values**2)
    by_interval = np.sum(weights * values, axis=1)
    u = np.append(0, np.cumsum(by_interval)) / integral
    # exactly, and not to rounding
    u[-1] = 1
    motion = tabulated(float(total) * u, knots)
    motion = Tabulated(total, motion.knots, motion.pieces)
    gain = square / integral**2
    return Optimal(total, motion, as_array(integral), as_array(gain), found)


def _corrector_velocity(path: PotentialPath, lambdas: np.ndarray) -> np.ndarray:
    """v at λ, of the shape of `lambdas`: σ of a noising path, else 1."""
    sigma = getattr(path, "sigma", None)
    if not callable(sigma):
        return np.ones(lambdas.shape)
    values = np.broadcast_to(np.asarray(sigma(lambdas), float), lambdas.shape)
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise_value_error(
            "path",
            path,
            "its sigma must be finite and at least 0",
            "Give fp.Noising(mixture), say.",
        )
    return values


def schedule_of_cost(cost: str, total: Array, found: Along) -> Optimal:
    """The optimal schedule for sqrt(g) = `cost` of `found`, smooth within its panels.
    By numpy alone.
    """
    edges = np.asarray(found.panels.edges)
    intervals = CONSTANTS.intervals_per_panel
    rows = []
    for a, b in itertools.pairwise(edges):
        rows.append(np.linspace(a, b, intervals + 1))
    knots = np.unique(np.concatenate(rows))

    # Gauss-Legendre quadrature of sqrt(g) and g on each interval.
    x, weights = np.polynomial.legendre.leggauss(CONSTANTS.gauss_points)
    h = np.diff(knots)
    widths = h[:, None]
    inside = knots[:-1, None] + widths * (1 + x) / 2
    weights = weights * widths / 2
    rates, _ = found.with_slopes(inside)
    values = getattr(rates, cost)
    # Where a path is constant the cost is 0: a floor keeps the speed finite.
    floor = CONSTANTS.min_relative_cost * np.sum(weights * values)
    values = np.maximum(values, floor)
    integral = np.sum(weights * values)
    square = np.sum(weights * values**2)

    # The time u at each knot; λ(u) between the knots by its first and second
    # derivatives.
    by_interval = np.sum(weights * values, axis=1)
    u = np.append(0, np.cumsum(by_interval)) / integral
    # exactly, and not to rounding
    u[-1] = 1
    # At an edge between panels, where levels may cross, each side has derivatives of
    # its own.
    lower = _speeds(found, cost, knots[:-1], floor, integral)
    just_below = np.nextafter(knots[1:], 0)
    upper = _speeds(found, cost, just_below, floor, integral)
    speeds, accelerations = zip(lower, upper, strict=True)
    pieces = hermite(u, knots, speeds, accelerations)
    motion = Tabulated(total, as_array(u), as_array(pieces))
    gain = square / integral**2
    return Optimal(total, motion, as_array(integral), as_array(gain), found)


def _speeds(
    found: Along, cost: str, lambdas: np.ndarray, floor: float, integral: float
) -> tuple[np.ndarray, np.ndarray]:
    """dλ/du = C / s and its derivative -(s' / s) (dλ/du)^2, s = sqrt(g) but at least
    `floor`, at `lambdas` `(K,)`.
    """
    values, slopes = (getattr(rates, cost) for rates in found.with_slopes(lambdas))
    bounded = np.maximum(values, floor)
    speeds = integral / bounded
    accelerations = -slopes / bounded * speeds**2
    # Where the floor holds the speed is constant.
    return speeds, np.where(values > floor, accelerations, 0)
