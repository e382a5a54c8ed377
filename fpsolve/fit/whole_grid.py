"""The grid as a whole, in several dimensions: what slices do not show is measured on
all its points, and repaired.

    aliasing_i      the shortest tenth along axis i of the wave p / sqrt(pi), times sqrt(pi)
    wrap-around_i   the wave at one end of axis i times sqrt(pi) at the other end
    leak_i          sqrt(pi) |H_i sqrt(pi)|, since every A_i sqrt(pi) = 0 by itself

These are the measures of `plan.resolution`, axis by axis, so that each says which axis
must be refined or widened. They are computed by numpy: a search meets many shapes, and
no program is compiled for any of them.
"""

from typing import NamedTuple

import numpy as np

from ..equation import divide_by_sqrt_pi
from ..grid import Axis, Grid, Line, Periodic
from ..operator.aliasing import short_part, short_wave_damping, short_wave_fraction
from ..operator.basis import basis
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.constants import CONSTANTS as PLAN
from ..plan.resolution import is_wave_representable
from .bounding_box import product_points
from .constants import CONSTANTS
from .dense_look import Unseen, corner_values, random_points
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


class WholeGrid(NamedTuple):
    """What a grid makes of sqrt(pi) and of the initial density; lists have one entry an
    axis.

    - `size`: the norm of the wave; `clipped`: whether its tails were clipped
    - `aliasing`, `wrap_around`: the errors of the wave; `density_error`: that of the
      density itself
    - `leak`: the rate at which the basis loses the Gibbs density, 1 / time
    - `defect`: what the basis misses of the initial density, relative; `short`: its
      share of short waves
    - `peclet`: the largest Peclet number of a cell
    - `lost`: the part of the Gibbs density that leaks before diffusion has removed the
      short waves into which it leaks
    - `gibbs_short`: the share of short waves of the Gibbs density
    - `drift_rate`: sum_i max b_i^2 / (2 D_i), the part of the drift in the rate of a
      Poisson sum (`density_grid`)
    - `least_diffusion`, `most_diffusion` `(d,)`: the least and the largest D of each
      axis
    """

    size: float
    clipped: bool
    aliasing: list[float]
    wrap_around: list[float]
    density_error: float
    leak: list[float]
    defect: list[float]
    short: list[float]
    peclet: float
    lost: list[float]
    gibbs_short: list[float]
    drift_rate: float
    least_diffusion: np.ndarray
    most_diffusion: np.ndarray

    def wave_limit(self, tol: float) -> float:
        """The error that the wave may have: a tolerance, or not much more than the
        density itself has.
        """
        return (
            max(tol, OPERATOR.aliasing_excess * self.density_error)
            if self.clipped
            else np.inf
        )

    def accepts_wave(self, tol: float) -> bool:
        """Whether a run would evolve the wave on this grid by `fp.Spectral`."""
        resolved = sum(self.aliasing) + sum(self.wrap_around) <= self.wave_limit(tol)
        defect = max(*self.defect, sum(self.leak))
        return self.is_representable(tol) and resolved and defect < PLAN.largest_defect

    def is_representable(self, tol: float) -> bool:
        """Whether the size of the wave is within the precision."""
        return is_wave_representable(self.size, float, tol, self.clipped)

    def leaks_at_ends(self, before: "WholeGrid", i: int) -> bool:
        """Whether axis i leaks at its ends: it resolves the Gibbs density, and a finer
        grid leaks as much as the one `before`.
        """
        return (
            self.gibbs_short[i] < PLAN.largest_defect
            and self.leak[i] > before.leak[i] / 2
        )

    def accepts_density(self) -> bool:
        """Whether a run would evolve the density itself on this grid by `fp.Spectral`."""
        return (
            max(self.short) < PLAN.largest_defect and self.peclet < PLAN.largest_peclet
        )


def repair(sampler: EquationSampler, request: FitRequest, grid: Grid) -> Grid:
    """The grid, refined and widened axis by axis until `fp.evolve` would choose
    `fp.Spectral` on it.

    **Raises** `NoWave` if no grid of moderate size is enough.
    """
    reversible = sampler.reversible
    repaired, size = grid, np.inf
    for _ in range(CONSTANTS.most_repairs if reversible else 0):
        found = measure_grid(sampler, request, repaired)
        size = found.size
        if found.accepts_wave(request.tol):
            return repaired
        # A wave beyond the range of numbers stays so on every grid.
        if not found.is_representable(request.tol):
            break
        axes = _repaired_axes(found, repaired, request.tol)
        repaired = Grid(*axes)
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
        allowed = CONSTANTS.measure_fraction * request.tol / grid.ndim
        axes: list[Axis] = []
        for i, axis in enumerate(grid.axes):
            a, b, n = axis.lower, axis.upper, axis.n
            leaks = found.leak[i] >= PLAN.largest_defect / grid.ndim
            # More nodes do not lessen what leaks where the ends cut the Gibbs density
            # at different heights.
            at_ends = leaks and before is not None and found.leaks_at_ends(before, i)
            if (leaks and not at_ends) or max(
                found.aliasing[i], found.defect[i], found.lost[i]
            ) > allowed:
                n = int(np.ceil(CONSTANTS.whole_refinement * n))
            if (at_ends or found.wrap_around[i] > allowed) and isinstance(axis, Line):
                side = CONSTANTS.repair_widening * (b - a)
                n = int(np.ceil(n * (1 + 2 * CONSTANTS.repair_widening)))
                a, b = a - side, b + side
            # Of an even number the highest mode vanishes for what is symmetric about
            # the middle: it would not show.
            axes.append(type(axis)(float(a), float(b), n + 1 - n % 2))
        if axes == list(grid.axes):
            sums = [
                sum(part)
                for part in (
                    found.aliasing,
                    found.wrap_around,
                    found.defect,
                    found.lost,
                )
            ]
            return (grid, float(sum(sums))) if found.accepts_wave(request.tol) else None
        grid, before = Grid(*axes), found
        # The size of a wave is known once the grid resolves it at all.
        if (
            not found.is_representable(request.tol)
            and max(found.defect) < PLAN.largest_defect
        ):
            raise NoWave(grid, found.size)
        if grid.size > CONSTANTS.most_points:
            return None
    return None


def first_grid(kinds: list[type[Axis]], lower: np.ndarray, upper: np.ndarray) -> Grid:
    """The coarse grid in a box from which a fit begins."""
    nodes = CONSTANTS.first_whole_nodes
    return Grid(
        *(
            kind(float(a), float(b), nodes)
            for kind, a, b in zip(kinds, lower, upper, strict=True)
        )
    )


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
            side = CONSTANTS.repair_widening * (upper - lower)
            n = int(np.ceil(n * (1 + 2 * CONSTANTS.repair_widening)))
            lower, upper = lower - side, upper + side
        axes.append(type(axis)(float(lower), float(upper), n))
    # Each axis may keep to its own part while the sum of all is still too large.
    if axes == list(grid.axes):
        axes = [
            type(axis)(
                axis.lower,
                axis.upper,
                int(np.ceil(CONSTANTS.repair_refinement * axis.n)),
            )
            for axis in axes
        ]
    return axes


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
        on_grid = _normalised(height(nodes).reshape(grid.shape), weights)
        shift = height(nodes[:1])[0] - on_grid.flat[0]
        true, corners = height(points) - shift, corner_values(on_grid, left)
        highest, lowest = np.max(corners, axis=0), np.min(corners, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            above = np.where(
                true > highest + CONSTANTS.between_nodes,
                np.exp(np.minimum(true, 700)),
                0,
            )
            # A barrier counts by q^2 / pi, as in one dimension.
            below = np.where(
                true < lowest - CONSTANTS.between_nodes,
                np.exp(np.minimum(2 * lowest - true, 700)),
                0,
            )
        parts = volume * (above + below if name == "potential" else above)
        if np.sum(parts) > max(request.tol, CONSTANTS.least_between_nodes):
            raise Unseen(name, points[np.argmax(parts)], 0.0, lower, upper)


def measure_grid(
    sampler: EquationSampler, request: FitRequest, grid: Grid
) -> WholeGrid:
    """The measures of a grid. Where levels are wanted the Gibbs density takes the place
    of the initial density.
    """
    points = product_points([axis.nodes for axis in grid.axes])
    weights = grid.weights_on_host
    local = sampler.values(points, request.t)
    least_diffusion = np.min(local.diffusion, axis=0)
    widths = np.asarray([axis.length / axis.n for axis in grid.axes])
    peclet = float(np.max(np.abs(local.drift) * widths / local.diffusion))

    log_gibbs = sampler.log_gibbs(points, request.t).reshape(grid.shape)
    log_sqrt_pi = _normalised(log_gibbs, weights) / 2
    if request.initial is None:
        density = np.exp(2 * log_sqrt_pi)
    else:
        density = np.exp(
            _normalised(
                log_initial(request.initial, points).reshape(grid.shape), weights
            )
        )
    times = (
        np.zeros(0)
        if request.initial is None or request.times is None
        else request.times
    )
    first = float(times[times > 0][:1].sum())
    damping = [
        float(short_wave_damping(least_diffusion[i], axis, first, np))
        for i, axis in enumerate(grid.axes)
    ]

    # The wave, and what the grid makes of it.
    sqrt_pi = np.exp(log_sqrt_pi)
    # Where sqrt(pi) underflows, p / sqrt(pi) overflows: then no wave is evolved, which
    # its size shows.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        plain = divide_by_sqrt_pi(density, log_sqrt_pi, np)
        wave = plain
        if request.initial is not None:
            wave = clip_tails(
                density,
                log_sqrt_pi,
                weights,
                OPERATOR.clipping_tol_fraction * request.tol,
                np,
            )
        size = float(np.sqrt(np.sum(weights * wave**2)))
        clipped = not np.array_equal(wave, plain)
        of_wave = [
            _axis_errors(axis, i, wave, sqrt_pi, weights, damping[i])
            for i, axis in enumerate(grid.axes)
        ]
        one = np.ones(())
        of_density = [
            _axis_errors(axis, i, density, one, weights, damping[i])
            for i, axis in enumerate(grid.axes)
        ]

    short, gibbs_short = (
        [
            float(short_wave_fraction(p, axis, i, np)) if axis.uniform else 0.0
            for i, axis in enumerate(grid.axes)
        ]
        for p in (density, sqrt_pi**2)
    )
    leak = _leaks(sampler, request, grid, points, weights)
    shortest = least_diffusion * (np.pi / widths) ** 2
    defect = [
        max(part**2, part * factor) for part, factor in zip(short, damping, strict=True)
    ]
    return WholeGrid(
        size=size,
        clipped=clipped,
        aliasing=[errors[0] for errors in of_wave],
        wrap_around=[errors[1] for errors in of_wave],
        density_error=sum(sum(errors) for errors in of_density),
        leak=leak,
        defect=defect,
        short=short,
        peclet=peclet,
        lost=list(np.asarray(leak) / shortest),
        gibbs_short=gibbs_short,
        drift_rate=float(
            np.sum(np.max(local.drift**2 / (2 * local.diffusion), axis=0))
        ),
        least_diffusion=least_diffusion,
        most_diffusion=np.max(local.diffusion, axis=0),
    )


def _leaks(
    sampler: EquationSampler,
    request: FitRequest,
    grid: Grid,
    points: np.ndarray,
    weights: np.ndarray,
) -> list[float]:
    """The rate at which each axis loses the Gibbs density; the largest of three times
    where the potential moves.
    """
    if not sampler.reversible:
        return [0.0] * grid.ndim
    moments = np.full(1, request.t)
    if sampler.equation.time_dependent and request.times is not None:
        moments = np.linspace(0, float(request.times[-1]), 3)
    leaks = np.zeros((len(moments), grid.ndim))
    for m, t in enumerate(moments):
        sqrt_pi = np.exp(
            _normalised(sampler.log_gibbs(points, t).reshape(grid.shape), weights) / 2
        )
        local = sampler.values(points, t)
        for i, axis in enumerate(grid.axes):
            # Between walls the slices have measured it: there H_i is known only as
            # A_i^T A_i.
            if not axis.uniform or axis.boundary == "absorbing":
                continue
            second = np.moveaxis(
                np.tensordot(basis(axis).kinetic(axis), sqrt_pi, (1, i)), 0, i
            )
            potential_term = local.potential_terms[:, i].reshape(grid.shape)
            residual = local.diffusion[0, i] * second + potential_term * sqrt_pi
            leaks[m, i] = np.sum(weights * sqrt_pi * np.abs(residual))
    return [
        float(leak) if np.isfinite(leak) else np.inf for leak in np.max(leaks, axis=0)
    ]


def _axis_errors(
    axis: Axis,
    i: int,
    wave: np.ndarray,
    sqrt_pi: np.ndarray,
    weights: np.ndarray,
    damping: float,
) -> tuple[float, float]:
    """The aliasing and the wrap-around error of a wave along one axis, as in
    `operator.aliasing`.
    """
    aliasing = wrap_around = 0.0
    if axis.uniform:
        aliasing = damping * float(
            np.sum(weights * np.abs(short_part(wave, axis, i, np) * sqrt_pi))
        )
    if axis.unbounded:
        ends = np.asarray([0, axis.n - 1])
        opposite = np.flip(
            np.take(np.broadcast_to(sqrt_pi, wave.shape), ends, axis=i), i
        )
        section = np.take(weights, ends, axis=i) * axis.n
        wrap_around = float(
            np.sum(section * np.abs(np.take(wave, ends, axis=i) * opposite))
        )
    finite = np.isfinite([aliasing, wrap_around])
    return aliasing if finite[0] else np.inf, wrap_around if finite[1] else np.inf


def _normalised(log_density: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """log p of mass 1 from log p + constant, `(*shape)`; the maximum is taken out
    against overflow.
    """
    largest = np.max(log_density)
    return (
        log_density - largest - np.log(np.sum(weights * np.exp(log_density - largest)))
    )
