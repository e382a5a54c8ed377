"""The grid as a whole, in several dimensions: what slices do not show is measured on
all its points (`grid_measures`), and repaired.

An axis that aliases or leaks is refined, and one whose ends are coupled is widened. At
the end the functions are compared with their values at the corners of the cells, at
random points between the nodes.
"""

import numpy as np

from ..grid import Axis, Grid, Line, Periodic
from ..plan.constants import CONSTANTS as PLAN
from .bounding_box import product_points
from .constants import CONSTANTS
from .dense_look import Unseen, corner_values, random_points
from .grid_measures import WholeGrid, measure_grid, normalised
from .request import FitRequest
from .sampled_equation import EquationSampler, log_initial


class NoWave(Exception):
    """No grid of moderate size lets `fp.Spectral` evolve the initial density: its wave
    has the norm `size` on `grid`, and the density itself would take many `products` and
    `seconds`; zero where they were not estimated.
    """

    def __init__(
        self, grid: Grid, size: float, products: float = 0.0, seconds: float = 0.0
    ):
        self.grid = grid
        self.size = size
        self.products = products
        self.seconds = seconds


def repair(sampler: EquationSampler, request: FitRequest, grid: Grid) -> Grid:
    """The grid, refined and widened axis by axis until `fp.evolve` would choose
    `fp.Spectral` on it.

    **Raises** `NoWave` if no grid of moderate size is enough.
    """
    repaired = grid
    size = np.inf
    for _ in range(CONSTANTS.most_repairs if sampler.reversible else 0):
        found = measure_grid(sampler, request, repaired)
        size = found.size
        if found.accepts_wave(request.tol):
            return repaired
        # A wave beyond the range of numbers stays so on every grid.
        if not found.is_representable(request.tol):
            break
        repaired = Grid(*_repaired_axes(found, repaired, request.tol))
        if repaired.size > CONSTANTS.most_points:
            break
    # The density itself, whose cells must be small where the drift is strong; no run
    # tries it where the drift moves.
    failure = NoWave(grid, size)
    if request.initial is None or sampler.equation.time_dependent:
        raise failure
    for _ in range(CONSTANTS.most_spectral_refinements):
        if grid.size > CONSTANTS.most_density_points:
            break
        if measure_grid(sampler, request, grid).accepts_density():
            return grid
        grid = grid.refine(CONSTANTS.spectral_refinement)
    raise failure


def fit_grid_by_measures(
    sampler: EquationSampler,
    request: FitRequest,
    kinds: list[type[Axis]],
    lower: np.ndarray,
    upper: np.ndarray,
) -> tuple[Grid, float] | None:
    """A grid in a given box, which may be widened, whose measures keep to the
    tolerance, and their sum.

    None where the measures cannot decide, as between walls, whose polynomials are not
    waves. **Raises** `NoWave` where the wave is not within the precision.
    """
    if not all(kind in (Line, Periodic) for kind in kinds):
        return None
    grid = first_grid(kinds, lower, upper)
    before: WholeGrid | None = None
    for _ in range(CONSTANTS.most_whole_rounds):
        found = measure_grid(sampler, request, grid)
        axes = _improved_axes(found, before, grid, request.tol)
        if axes == list(grid.axes):
            if not found.accepts_wave(request.tol):
                return None
            parts = (found.aliasing, found.wrap_around, found.defect, found.lost)
            return grid, float(sum([sum(part) for part in parts]))
        grid = Grid(*axes)
        before = found
        # The size of a wave is known once the grid resolves it at all.
        resolved = max(found.defect) < PLAN.largest_defect
        if resolved and not found.is_representable(request.tol):
            raise NoWave(grid, found.size)
        if grid.size > CONSTANTS.most_points:
            return None
    return None


def _improved_axes(
    found: WholeGrid, before: WholeGrid | None, grid: Grid, tol: float
) -> list[Axis]:
    """Each axis with more nodes where one of its measures is too large, and a longer
    box where its ends are coupled or cut the Gibbs density. `before` are the measures
    of the coarser grid.
    """
    allowed = CONSTANTS.measure_fraction * tol / grid.ndim
    axes: list[Axis] = []
    for i, axis in enumerate(grid.axes):
        lower, upper, n = axis.lower, axis.upper, axis.n
        leaks = found.leak[i] >= PLAN.largest_defect / grid.ndim
        # More nodes do not lessen what leaks where the ends cut the Gibbs density at
        # different heights.
        at_ends = leaks and before is not None and found.leaks_at_ends(before, i)
        missed = max(found.aliasing[i], found.defect[i], found.lost[i])
        if (leaks and not at_ends) or missed > allowed:
            n = int(np.ceil(CONSTANTS.whole_refinement * n))
        if (at_ends or found.wrap_around[i] > allowed) and isinstance(axis, Line):
            lower, upper, n = _widened(lower, upper, n)
        # Of an even number the highest mode vanishes for what is symmetric about the
        # middle: it would not show.
        axes.append(type(axis)(float(lower), float(upper), n + 1 - n % 2))
    return axes


def _widened(lower: float, upper: float, n: int) -> tuple[float, float, int]:
    """An interval that is longer on both sides, with nodes that keep the spacing."""
    side = CONSTANTS.repair_widening * (upper - lower)
    n = int(np.ceil(n * (1 + 2 * CONSTANTS.repair_widening)))
    return lower - side, upper + side, n


def first_grid(kinds: list[type[Axis]], lower: np.ndarray, upper: np.ndarray) -> Grid:
    """The coarse grid in a box from which a fit begins."""
    nodes = CONSTANTS.first_whole_nodes
    axes = [
        kind(float(a), float(b), nodes)
        for kind, a, b in zip(kinds, lower, upper, strict=True)
    ]
    return Grid(*axes)


def _repaired_axes(found: WholeGrid, grid: Grid, tol: float) -> list[Axis]:
    """Each axis with more nodes where it aliases, and a longer box at the same spacing
    where its ends are coupled.
    """
    allowed = found.wave_limit(tol) / (2 * grid.ndim)
    axes: list[Axis] = []
    for i, axis in enumerate(grid.axes):
        lower, upper, n = axis.lower, axis.upper, axis.n
        coarse = found.aliasing[i] > allowed or found.defect[i] >= PLAN.largest_defect
        if coarse or found.leak[i] >= PLAN.largest_defect / grid.ndim:
            n = int(np.ceil(CONSTANTS.repair_refinement * n))
        if found.wrap_around[i] > allowed and isinstance(axis, Line):
            lower, upper, n = _widened(lower, upper, n)
        axes.append(type(axis)(float(lower), float(upper), n))
    if axes != list(grid.axes):
        return axes
    # Each axis may keep to its own part while the sum of all is still too large.
    refined: list[Axis] = []
    for axis in axes:
        n = int(np.ceil(CONSTANTS.repair_refinement * axis.n))
        refined.append(type(axis)(axis.lower, axis.upper, n))
    return refined


def check_between_nodes(
    sampler: EquationSampler, request: FitRequest, grid: Grid
) -> None:
    """Compare the functions at many random points with their values at the corners of
    the cells around the points.

    **Raises** `Unseen` where a density is far above, or a Gibbs density far below, all
    corners, and what lies there is more than the tolerance.
    """
    lower = np.asarray([axis.nodes[0] for axis in grid.axes])
    upper = np.asarray([axis.nodes[-1] for axis in grid.axes])
    points = random_points(lower, upper, request.places(grid.ndim))
    volume = np.prod(upper - lower) / len(points)
    left = [
        np.clip(np.searchsorted(axis.nodes, points[:, i]) - 1, 0, axis.n - 2)
        for i, axis in enumerate(grid.axes)
    ]
    nodes = product_points([axis.nodes for axis in grid.axes])
    weights = grid.weights_on_host
    heights = [("potential", lambda x: sampler.log_gibbs(x, request.t))]
    if request.initial is not None:
        heights.append(("initial", lambda x: log_initial(request.initial, x)))
    for name, height in heights:
        on_grid = normalised(height(nodes).reshape(grid.shape), weights)
        # The constant that normalises the values on the grid holds elsewhere, too.
        shift = height(nodes[:1])[0] - on_grid.flat[0]
        true = height(points) - shift
        corners = corner_values(on_grid, left)
        highest = np.max(corners, axis=0)
        lowest = np.min(corners, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            is_above = true > highest + CONSTANTS.between_nodes
            is_below = true < lowest - CONSTANTS.between_nodes
            # Numbers end at about exp(709): more would become infinite.
            above = np.where(is_above, np.exp(np.minimum(true, 700)), 0)
            # A barrier counts by q^2 / pi, as in one dimension.
            barrier = np.exp(np.minimum(2 * lowest - true, 700))
            below = np.where(is_below, barrier, 0)
        parts = volume * (above + below if name == "potential" else above)
        if np.sum(parts) > max(request.tol, CONSTANTS.least_between_nodes):
            raise Unseen(name, points[np.argmax(parts)], 0.0, lower, upper)
