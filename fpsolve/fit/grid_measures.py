"""Measures of a grid in several dimensions, on all its points: what it makes of the
wave and of sqrt(pi).

    aliasing_i      the shortest tenth along axis i of the wave p / sqrt(pi),
                    times sqrt(pi)
    wrap-around_i   the wave at one end of axis i times sqrt(pi) at the other end
    leak_i          sqrt(pi) |H_i sqrt(pi)|, since every A_i sqrt(pi) = 0 by itself

These are the measures of `plan.resolution`, axis by axis, so that each says which axis
must be refined or widened. They are computed by numpy: a search meets many shapes, and
no program is compiled for any of them.
"""

from typing import NamedTuple

import numpy as np

from ..equation import divide_by_sqrt_pi
from ..grid import Axis, Grid
from ..operator.aliasing import short_part, short_wave_damping, short_wave_fraction
from ..operator.basis import basis
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.constants import CONSTANTS as PLAN
from ..plan.resolution import is_wave_representable
from .bounding_box import product_points
from .request import FitRequest
from .sampled_equation import EquationSampler, PointValues, log_initial
from .slice_problem import first_positive


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
        if not self.clipped:
            return np.inf
        return max(tol, OPERATOR.aliasing_excess * self.density_error)

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
        resolved = self.gibbs_short[i] < PLAN.largest_defect
        return resolved and self.leak[i] > before.leak[i] / 2

    def accepts_density(self) -> bool:
        """Whether a run would evolve the density on this grid by `fp.Spectral`."""
        resolved = max(self.short) < PLAN.largest_defect
        return resolved and self.peclet < PLAN.largest_peclet


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
    log_sqrt_pi = normalised(log_gibbs, weights) / 2
    if request.initial is None:
        density = np.exp(2 * log_sqrt_pi)
    else:
        log_density = log_initial(request.initial, points).reshape(grid.shape)
        density = np.exp(normalised(log_density, weights))
    times = request.times
    if request.initial is None or times is None:
        times = np.zeros(0)
    first = first_positive(times)
    damping = [
        float(short_wave_damping(least_diffusion[i], axis, first, np))
        for i, axis in enumerate(grid.axes)
    ]

    # The wave, and what the grid makes of it.
    sqrt_pi = np.exp(log_sqrt_pi)
    most_clipped = OPERATOR.clipping_tol_fraction * request.tol
    # Where sqrt(pi) underflows, p / sqrt(pi) overflows: then no wave is evolved, which
    # its size shows.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        plain = divide_by_sqrt_pi(density, log_sqrt_pi, np)
        wave = plain
        if request.initial is not None:
            wave = clip_tails(density, log_sqrt_pi, weights, most_clipped, np)
        size = float(np.sqrt(np.sum(weights * wave**2)))
        clipped = not np.array_equal(wave, plain)
        of_wave = _errors_by_axis(grid, wave, sqrt_pi, weights, damping)
        # A density is a wave whose factor is 1.
        of_density = _errors_by_axis(grid, density, np.ones(()), weights, damping)

    short = _short_by_axis(grid, density)
    leak = _leaks(sampler, request, grid, points, weights)
    shortest = least_diffusion * (np.pi / widths) ** 2
    return WholeGrid(
        size=size,
        clipped=clipped,
        aliasing=[errors[0] for errors in of_wave],
        wrap_around=[errors[1] for errors in of_wave],
        density_error=sum(sum(errors) for errors in of_density),
        leak=leak,
        defect=[
            max(part**2, part * factor)
            for part, factor in zip(short, damping, strict=True)
        ],
        short=short,
        peclet=peclet,
        lost=list(np.asarray(leak) / shortest),
        gibbs_short=_short_by_axis(grid, sqrt_pi**2),
        drift_rate=_drift_rate(local),
        least_diffusion=least_diffusion,
        most_diffusion=np.max(local.diffusion, axis=0),
    )


def _drift_rate(local: PointValues) -> float:
    """sum_i max b_i^2 / (2 D_i)."""
    rates = local.drift**2 / (2 * local.diffusion)
    return float(np.sum(np.max(rates, axis=0)))


def _short_by_axis(grid: Grid, density: np.ndarray) -> list[float]:
    """The share of short waves of a density along each axis; zero where the nodes are
    not evenly spaced.
    """
    return [
        float(short_wave_fraction(density, axis, i, np)) if axis.uniform else 0.0
        for i, axis in enumerate(grid.axes)
    ]


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
        log_gibbs = sampler.log_gibbs(points, t).reshape(grid.shape)
        sqrt_pi = np.exp(normalised(log_gibbs, weights) / 2)
        local = sampler.values(points, t)
        for i, axis in enumerate(grid.axes):
            # Between walls the slices have measured it: there H_i is known only as
            # A_i^T A_i.
            if not axis.uniform or axis.boundary == "absorbing":
                continue
            product = np.tensordot(basis(axis).kinetic(axis), sqrt_pi, (1, i))
            # `tensordot` puts the axis of the matrix first.
            kinetic = np.moveaxis(product, 0, i)
            potential_term = local.potential_terms[:, i].reshape(grid.shape)
            residual = local.diffusion[0, i] * kinetic + potential_term * sqrt_pi
            leaks[m, i] = np.sum(weights * sqrt_pi * np.abs(residual))
    # A measure that is not a number must fail every comparison with a limit from above.
    largest = np.max(leaks, axis=0)
    return [float(leak) if np.isfinite(leak) else np.inf for leak in largest]


def _errors_by_axis(
    grid: Grid,
    wave: np.ndarray,
    sqrt_pi: np.ndarray,
    weights: np.ndarray,
    damping: list[float],
) -> list[tuple[float, float]]:
    """The aliasing and the wrap-around error of a wave along each axis."""
    return [
        _axis_errors(axis, i, wave, sqrt_pi, weights, damping[i])
        for i, axis in enumerate(grid.axes)
    ]


def _axis_errors(
    axis: Axis,
    i: int,
    wave: np.ndarray,
    sqrt_pi: np.ndarray,
    weights: np.ndarray,
    damping: float,
) -> tuple[float, float]:
    """The two errors of a wave along one axis, as in `operator.aliasing`."""
    aliasing = 0.0
    if axis.uniform:
        short = np.abs(short_part(wave, axis, i, np) * sqrt_pi)
        aliasing = damping * float(np.sum(weights * short))
    wrap_around = 0.0
    if axis.unbounded:
        # The wave at one end meets sqrt(pi) at the other, which is the next cell of a
        # periodic basis.
        ends = np.asarray([0, axis.n - 1])
        of_wave = np.take(wave, ends, axis=i)
        of_sqrt_pi = np.take(np.broadcast_to(sqrt_pi, wave.shape), ends, axis=i)
        opposite = np.flip(of_sqrt_pi, i)
        section = np.take(weights, ends, axis=i) * axis.n
        wrap_around = float(np.sum(section * np.abs(of_wave * opposite)))
    # Also where the wave overflows: not a number is no small error.
    finite = np.isfinite([aliasing, wrap_around])
    return aliasing if finite[0] else np.inf, wrap_around if finite[1] else np.inf


def normalised(log_density: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """log p of mass 1 from log p + constant, `(*shape)`; the maximum is taken out
    against overflow.
    """
    largest = np.max(log_density)
    mass = np.sum(weights * np.exp(log_density - largest))
    return log_density - largest - np.log(mass)
