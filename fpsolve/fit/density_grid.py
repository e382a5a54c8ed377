"""The grid of a density that is evolved as it is, where its wave p / sqrt(pi) would be
too large for the precision.

A start that is far from its Gibbs density, or wider than it, has no wave. The density
itself then takes a Poisson sum (`propagate.uniformization`), whose products grow as q t
with

    q = sum_i ( D_i k_i^2 / 2 + max b_i^2 / (2 D_i) ),
    k_i the highest wavenumber of axis i.

Its nodes must resolve the start, the Gibbs density, and all between them: of the last,
the normal density that follows the drift (`gaussian_prediction`) says how narrow it is.
"""

from typing import NamedTuple

import numpy as np

from ..grid import Axis, Grid
from ..operator.aliasing import short_wave_damping, short_wavenumber
from ..plan.constants import CONSTANTS as PLAN
from ..propagate.axis_generators import longest_in_basis
from ..propagate.base import product_time
from .constants import CONSTANTS
from .gaussian_prediction import GaussianPrediction
from .grid_measures import WholeGrid, measure_grid
from .request import FitRequest
from .sampled_equation import EquationSampler
from .slice_problem import first_positive
from .whole_grid import NoWave, first_grid


class _Cost(NamedTuple):
    """What a run would take: the products of its Poisson sum, and the seconds of one
    processor core.
    """

    products: float
    seconds: float


def fit_density_grid(
    sampler: EquationSampler,
    request: FitRequest,
    prediction: GaussianPrediction | None,
    kinds: list[type[Axis]],
    lower: np.ndarray,
    upper: np.ndarray,
) -> tuple[Grid, float]:
    """A grid in a given box that resolves the density at all times, and what it misses,
    relative.

    **Raises** `NoWave` where a run would take too long.
    """
    allowed = CONSTANTS.measure_fraction * request.tol / len(kinds)
    grid = first_grid(kinds, lower, upper)
    found = measure_grid(sampler, request, grid)
    size = found.size
    # Nothing is sampled to resolve a normal density: this grid says what a run takes at
    # least.
    grid = _resolve_prediction(grid, found, request, prediction, allowed)
    for _ in range(CONSTANTS.most_whole_rounds):
        cost = _cost(found, request, grid)
        too_long = cost.seconds > CONSTANTS.longest_advised_seconds
        if grid.size > CONSTANTS.most_points or too_long:
            raise NoWave(grid, size, *cost)
        found = measure_grid(sampler, request, grid)
        missed = np.maximum(found.defect, found.gibbs_short)
        missed = np.maximum(missed, _missed_between(grid, found, request, prediction))
        finer = _refined(grid, missed, allowed)
        # Without a Gibbs density a run takes a basis only where its cells are small for
        # the drift.
        if finer == grid and not sampler.reversible and not found.accepts_density():
            finer = grid.refine(CONSTANTS.whole_refinement)
        if finer == grid:
            cost = _cost(found, request, grid)
            if cost.seconds > CONSTANTS.most_density_seconds:
                raise NoWave(grid, size, *cost)
            return grid, float(np.sum(missed))
        grid = finer
    raise NoWave(grid, size)


def _resolve_prediction(
    grid: Grid,
    found: WholeGrid,
    request: FitRequest,
    prediction: GaussianPrediction | None,
    allowed: float,
) -> Grid:
    """The grid, refined until it resolves the normal densities of a prediction."""
    while grid.size <= CONSTANTS.most_points:
        missed = _missed_between(grid, found, request, prediction)
        finer = _refined(grid, missed, allowed)
        if finer == grid:
            break
        grid = finer
    return grid


def _refined(grid: Grid, missed: np.ndarray, allowed: float) -> Grid:
    """The grid with more nodes on each axis that misses more than is allowed."""
    axes: list[Axis] = []
    for axis, miss in zip(grid.axes, missed, strict=True):
        n = axis.n
        # Written so that a measure that is not a number refines the axis.
        if not miss <= allowed:
            n = int(np.ceil(CONSTANTS.whole_refinement * n))
        # Odd, as in `fit_grid_by_measures`.
        axes.append(type(axis)(axis.lower, axis.upper, n + 1 - n % 2))
    return Grid(*axes)


def _missed_between(
    grid: Grid,
    found: WholeGrid,
    request: FitRequest,
    prediction: GaussianPrediction | None,
) -> np.ndarray:
    """What each axis misses of the normal densities of a prediction, relative, `(d,)`:
    measured as the start is (`WholeGrid.defect`), since what is not reported yet is
    still damped.
    """
    missed = np.zeros(grid.ndim)
    if prediction is None:
        return missed
    times = np.zeros(0) if request.times is None else request.times
    first = first_positive(times)
    wavenumbers = np.asarray([short_wavenumber(axis) for axis in grid.axes])
    short = prediction.short_waves(wavenumbers)
    until = np.maximum(first - prediction.times, 0)
    for i, axis in enumerate(grid.axes):
        damping = short_wave_damping(found.least_diffusion[i], axis, until, np)
        of_axis = short[:, i]
        missed[i] = np.max(np.maximum(of_axis**2, of_axis * damping))
    return missed


def _cost(found: WholeGrid, request: FitRequest, grid: Grid) -> _Cost:
    """The cost of a run on a grid, whose drift and diffusion were `found` on this or on
    a coarser one.
    """
    if request.times is None:
        return _Cost(0.0, 0.0)
    wavenumbers = np.asarray([np.pi * axis.n / axis.length for axis in grid.axes])
    kinetic_rate = float(np.sum(found.most_diffusion * wavenumbers**2)) / 2
    rate = found.drift_rate + kinetic_rate
    products = rate * float(request.times[-1])
    # A small matrix is exponentiated instead.
    if grid.size <= PLAN.largest_matrix:
        return _Cost(products, 0.0)
    # A flux takes four products of matrices where a kinetic term takes one.
    # Exponentials along the axes may take less.
    seconds = min(4 * products * product_time(grid, True), longest_in_basis(grid))
    return _Cost(products, seconds)
