"""What lies between the nodes of a given grid: narrow features that no run on it or on
its companions has sampled.

U / D, the force along each cell in units of D, and log D are sampled at many random
points. At the corners of the cell around a point their values are known, and what is
smooth on the grid stays between them, but for its curvature:

    e = distance from [min corners - m, max corners + m]
    m = (second differences of the samples around) / 4

Half of a second difference times 1/4 is what a parabola reaches beyond two samples; m
is twice that. Where e > 0 there is a trap, a barrier or a jump to and fro. The mass of
the cell around it, or the resistance of that cell, is wrong by the factor e^e in the
part of the cell that the feature takes:

    unseen_cell = mean of (e^e - 1) over the points of the cell

What is narrower than the distance of the points remains unseen.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import sampling_program
from ..core.types import Formula
from ..equation import Equation, FokkerPlanck, Schrodinger
from ..fit.bounding_box import product_points
from ..fit.constants import CONSTANTS as FIT
from ..fit.dense_look import corner_values
from ..grid import Axis, Grid, sample
from ..operator.half_cells import moved_inside
from .constants import CONSTANTS


def unseen_features(equation: Equation, grid: Grid, times: np.ndarray) -> np.ndarray:
    """By how much the mass or the resistance of each cell is wrong for what its samples
    miss, `(*shape)`, relative.

    For a Schrodinger equation it is the mean of what they miss of the potential, a
    rate. On grids of more than `CONSTANTS.most_looked_at` points random points are too
    few, and it is zero. The largest of those at the `times` counts. **Cost**: 10^5
    evaluations of each function and time.
    """
    worst = np.zeros(grid.shape)
    if grid.size > CONSTANTS.most_looked_at:
        return worst
    places = _random_places(grid)
    points = jnp.asarray(places.every)
    cells = as_array(grid.units)
    for t in times:
        excess = np.zeros(len(places.points))
        for values in _sample_functions(equation, points, cells, as_array(t)):
            excess = excess + places.excess(np.asarray(values))
        if equation.evolves_density:
            # The exponent is bounded, since e^e would overflow for a very deep trap.
            excess = np.expm1(np.minimum(excess, FIT.largest_exponent))
        worst = np.maximum(worst, places.mean_in_cells(excess))
    return worst


def unseen_in_levels(
    equation: Equation,
    grid: Grid,
    t: float,
    values: np.ndarray,
    modes: np.ndarray,
    log_sqrt_pi: np.ndarray | None,
) -> np.ndarray:
    """The errors `(k,)` of levels by what the samples miss, from the modes
    `(k, *shape)`.

    A level of a Schrodinger equation changes by the mean of the potential, to first
    order. A rate of a process changes by the shares of the mass psi_k^2 and of the flux
    pi |grad(psi_k / sqrt(pi))|^2 that lie in the cells; without sqrt(pi) the modes are
    densities, whose mass counts alone.
    """
    features = unseen_features(equation, grid, np.full(1, t))
    if not np.any(features):
        return np.zeros(len(values))
    if not equation.evolves_density:
        return _share(grid, np.abs(modes) ** 2, features)
    if log_sqrt_pi is None:
        share = _share(grid, np.abs(modes), features)
    else:
        slopes = _squared_slopes(grid, modes, np.exp(log_sqrt_pi))
        of_mass = _share(grid, np.abs(modes) ** 2, features)
        share = of_mass + _share(grid, slopes, features)
    # A rate may be wrong by its whole size, and nothing is known beyond that.
    return np.abs(values) * np.minimum(share, 1)


def unseen_in_field(
    equation: FokkerPlanck,
    grid: Grid,
    t: float,
    values: np.ndarray,
) -> float:
    """The relative error of a committor or a passage time by what the samples miss.

    The shares of the flux and of the mass that lie in the cells, as for levels, under
    e^{-U/D}.
    """
    features = unseen_features(equation, grid, np.full(1, t))
    if not np.any(features):
        return 0.0

    def reduced_potential(x: Array) -> Array:
        return equation.energy(x, t) / jnp.min(equation.diffusions(x))

    log_pi = np.zeros(grid.shape)
    if equation.potential is not None:
        log_pi = -np.asarray(grid.sample(reduced_potential))
    # The largest value is one: weights need no normalisation.
    sqrt_pi = np.exp((log_pi - np.max(log_pi)) / 2)
    # A time may be infinite where the target is never reached: no flux leads there.
    finite = np.where(np.isfinite(values), values, 0)
    flux = _squared_slopes(grid, (sqrt_pi * finite)[None], sqrt_pi)[0]
    of_flux = _share(grid, flux, features)
    of_mass = _share(grid, sqrt_pi**2, features)
    return float(min(of_flux + of_mass, 1.0))


def _share(grid: Grid, parts: np.ndarray, features: np.ndarray) -> Any:
    """The mean of `features`, weighted by parts `(..., *shape)`; zero without parts."""
    total = grid.integrate_on_host(parts)
    share = grid.integrate_on_host(parts * features)
    return share / np.where(total > 0, total, 1)


def _squared_slopes(grid: Grid, modes: np.ndarray, sqrt_pi: np.ndarray) -> np.ndarray:
    """pi |grad(psi / sqrt(pi))|^2 of modes `(k, *shape)`."""
    total = np.zeros(modes.shape)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratios = modes / sqrt_pi
        for i, axis in enumerate(grid.axes):
            slope = np.gradient(ratios, axis.nodes, axis=i + 1)
            total = total + (sqrt_pi * slope) ** 2
    # Where sqrt(pi) underflows there is no flux.
    return np.nan_to_num(total, nan=0, posinf=0)


def unseen_start(initial: Formula, grid: Grid) -> float:
    """The part of an initial state, relative to its integral, that lies between the
    nodes and shows at none.
    """
    if grid.size > CONSTANTS.most_looked_at:
        return 0.0
    places = _random_places(grid)
    sizes = np.asarray(_sample_size(initial, jnp.asarray(places.every)))
    missed = grid.integrate_on_host(places.mean_in_cells(places.excess(sizes)))
    seen = grid.integrate_on_host(np.abs(np.asarray(grid.sample(initial))))
    return float(missed / seen)


def misplaced_start(initial: Formula, grid: Grid, field: np.ndarray) -> float:
    """How far the means of the first waves over an initial density on one axis differ
    between its values at the nodes, `field` `(n,)`, and dense ones; a lower bound of
    the relative error in L1 that is left when all short waves have decayed. Zero on
    more axes, where points are too few.
    """
    if grid.ndim > 1:
        return 0.0
    axis = grid.axes[0]
    count = CONSTANTS.looked_at
    dense = axis.lower + axis.length * (np.arange(count) + 0.5) / count
    values = np.asarray(_sample_size(initial, jnp.asarray(dense[:, None])))

    def means(x: np.ndarray, masses: np.ndarray) -> np.ndarray:
        sums = _first_waves(axis, x) @ masses
        return sums[1:] / sums[0]

    right = means(dense, values)
    on_grid = means(axis.nodes, axis.weights * np.abs(field))
    difference = np.max(np.abs(right - on_grid))
    # A start that is zero at all dense points has no means.
    return float(difference) if np.isfinite(difference) else 0.0


def _first_waves(axis: Axis, x: np.ndarray) -> np.ndarray:
    """The first modes of free diffusion on an axis at positions `x` `(n,)`, the lowest,
    which is positive, first: `(m, n)`. The nodes integrate a smooth density times each
    of them to rounding.
    """
    orders = np.arange(1, CONSTANTS.compared_means + 1)
    positions = (x - axis.lower) / axis.length
    phases = np.pi * np.outer(orders, positions)
    # Sines vanish at absorbing ends; cosines are flat where no flux leaves.
    if axis.boundary == "absorbing":
        return np.sin(phases)
    constant = np.ones((1, len(x)))
    if axis.boundary == "periodic":
        return np.concatenate([constant, np.cos(2 * phases), np.sin(2 * phases)])
    return np.concatenate([constant, np.cos(phases)])


class _RandomPlaces:
    """Random places in the box of a grid, the positions at which functions are known,
    and the cells of the places.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.positions = [_known_positions(axis) for axis in grid.axes]
        known = product_points(self.positions)
        # Known and random places together are a fixed number, so that programs on them
        # fit all grids.
        count = max(CONSTANTS.looked_at - len(known), len(known))
        self.points = _random_points(self.positions, count)
        self.every = np.concatenate([known, self.points])
        # The known position to the left of each place, and the cell of each place.
        self.left = [
            _interval_of(self.points[:, i], x) for i, x in enumerate(self.positions)
        ]
        cells = [
            _interval_of(self.points[:, i], axis.edges)
            for i, axis in enumerate(grid.axes)
        ]
        self.cells = np.ravel_multi_index(cells, grid.shape)

    def mean_in_cells(self, values: np.ndarray) -> np.ndarray:
        """The means `(*shape)` over the cells of values `(P,)` at the places."""
        grid = self.grid
        total = np.bincount(self.cells, values, grid.size).reshape(grid.shape)
        volumes = grid.weights_on_host
        # By the number of places that is expected in a cell, so that few of them in a
        # small cell count as few.
        return total / (len(self.points) * volumes / np.sum(volumes))

    def excess(self, every: np.ndarray) -> np.ndarray:
        """How far a function at the places lies outside of its values around them,
        `(P,)`; `every` are both.
        """
        count = len(every) - len(self.points)
        known = every[:count].reshape([len(x) for x in self.positions])
        values = every[count:]
        corners = corner_values(known, self.left)
        curvatures = corner_values(_second_differences(known), self.left)
        margin = np.max(curvatures, axis=0) / 4
        # Infinite values beside infinite corners give NaN, and are no feature.
        with np.errstate(invalid="ignore"):
            above = values - (np.max(corners, axis=0) + margin)
            below = (np.min(corners, axis=0) - margin) - values
            excess = np.maximum(above, below)
        # Differences below the rounding of the largest value are none.
        finite = known[np.isfinite(known)]
        largest = np.max(np.abs(finite), initial=0.0)
        rounding = CONSTANTS.feature_roundings * np.finfo(known.dtype).eps * largest
        return np.where(excess > rounding, excess, 0.0)


# The places depend on the grid alone. Those of the last few grids are kept, some
# megabytes each.
_random_places = functools.lru_cache(maxsize=4)(_RandomPlaces)


@sampling_program
def _sample_functions(
    equation: Equation,
    points: Array,
    cells: Array,
    t: Array,
) -> list[Array]:
    """U / D, the force along each axis over a cell in units of D, and log D at points
    `(P, d)`; for a wave U alone.

    `cells` `(d,)` are the lengths of a cell along each axis.
    """
    if isinstance(equation, Schrodinger):
        return [sample(lambda x: equation.energy(x, t), points)]
    if not isinstance(equation, FokkerPlanck):
        return []
    diffusions = sample(equation.diffusions, points)
    # A diffusion may vanish somewhere: U / D and log D are finite with 1 in its place.
    diffusions = jnp.where(diffusions > 0, diffusions, 1)
    found = []
    if equation.potential is not None:
        energies = sample(lambda x: equation.energy(x, t), points)
        found.append(energies / jnp.min(diffusions, axis=1))
    if (force := equation.force) is not None:
        forces = sample(lambda x: force(x, t), points)
        found.extend((forces * cells / diffusions).T)
    if callable(equation.diffusion):
        found.extend(jnp.log(diffusions).T)
    return found


@sampling_program
def _sample_size(initial: Formula, points: Array) -> Array:
    """The absolute value of an initial state at points `(P, d)`, `(P,)`."""
    return jnp.abs(sample(initial, points))


def _interval_of(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The number of the interval between ascending `edges` that holds each x; the first
    or the last one for an x at or beyond the ends.
    """
    interval = np.searchsorted(edges, x) - 1
    return np.clip(interval, 0, len(edges) - 2)


def _known_positions(axis: Axis) -> np.ndarray:
    """The nodes of an axis and both its ends, the latter moved inside by little, where
    functions may be infinite.
    """
    ends = moved_inside(axis, np.asarray([axis.lower, axis.upper]))
    between_ends = (axis.nodes > ends[0]) & (axis.nodes < ends[1])
    inner = axis.nodes[between_ends]
    return np.concatenate([ends[:1], inner, ends[1:]])


def _random_points(positions: list[np.ndarray], count: int) -> np.ndarray:
    """Points `(count, d)` in the box; on one axis one in each of equal parts."""
    # A fixed seed: the same call gives the same error.
    generator = np.random.default_rng(7)
    d = len(positions)
    unit = generator.uniform(size=(count, d))
    if d == 1:
        unit = (np.arange(count)[:, None] + unit) / count
    lower = np.asarray([x[0] for x in positions])
    upper = np.asarray([x[-1] for x in positions])
    return lower + (upper - lower) * unit


def _second_differences(values: np.ndarray) -> np.ndarray:
    """The sum over the axes of |f_{i-1} - 2 f_i + f_{i+1}|, `(*shape)`; at an end that
    of its neighbour.
    """
    total = np.zeros(values.shape)
    for i in range(values.ndim):
        # Differences of infinite values are NaN, and count as infinite below.
        with np.errstate(invalid="ignore"):
            inner = np.abs(np.diff(values, 2, axis=i))
        pad = [(1, 1) if j == i else (0, 0) for j in range(values.ndim)]
        total = total + np.pad(inner, pad, mode="edge")
    return np.nan_to_num(total, nan=np.inf)
