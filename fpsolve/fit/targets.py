"""One accuracy target for each axis, from the target of the whole problem.

States are compared at the same times on every axis. The lowest k levels of all are, for
a separable problem, sums of levels of the axes; an axis must resolve as many of its
levels as appear in those sums:

    E_m = sum_i E_{m_i}^{(i)},     k_i = 1 + max m_i over the k lowest E_m
"""

from typing import NamedTuple

import numpy as np

from ..core.checks import raise_value_error
from .accuracy_target import AccuracyTarget
from .bound_states import continuum, lowest_unbound_level
from .constants import CONSTANTS
from .domain import Bounds, Domain
from .slice_coefficients import SlicePoint, slice_problem
from .slice_points import slice_interval


class AxisLevels(NamedTuple):
    """The lowest levels `(m,)` of one axis, the start of its continuum, and its lowest
    level that is not bound.

    The last two are infinite where there is no continuum.
    """

    levels: np.ndarray
    continuum_start: float
    lowest_unbound: float


class CombinedLevels(NamedTuple):
    """The lowest sums `(m,)` of levels of the axes, above the ground level, and the
    level number `(m, d)` of each axis in each sum.
    """

    energies: np.ndarray
    level_numbers: np.ndarray


def axis_targets(
    domain: Domain, slice_point: SlicePoint, box: Bounds, times: np.ndarray | None
) -> list[AccuracyTarget]:
    """One target for each axis; each axis may make an equal part of the error.

    **Raises** `ValueError` where fewer levels are bound than requested.
    """
    ndim = domain.ndim
    tol = domain.request.tol / ndim
    # States: the same times on every axis. The number of levels has no meaning there.
    if times is not None:
        return [AccuracyTarget(tol, times, 0)] * ndim
    # Levels: those of each axis, their lowest sums, and how many of these are bound.
    wanted = domain.request.k or CONSTANTS.default_levels
    axes = [_axis_levels(domain, i, slice_point, box, wanted) for i in range(ndim)]
    combined = _combine_levels([axis.levels for axis in axes], wanted)
    bound = _count_bound(axes, combined)
    _check_bound(domain, axes, wanted, bound)
    k = min(wanted, bound)
    highest = np.max(combined.level_numbers[:k], axis=0)
    return [AccuracyTarget(tol, None, int(number) + 1) for number in highest]


def _axis_levels(
    domain: Domain, i: int, slice_point: SlicePoint, box: Bounds, wanted: int
) -> AxisLevels:
    """The levels on the slice along axis i: one more than wanted may be unbound."""
    problem = slice_problem(domain.sampler, domain.request, i, slice_point)
    lower, upper = float(box[0][i]), float(box[1][i])
    axis = domain.kinds[i](lower, upper, CONSTANTS.level_count_nodes)
    levels = problem.levels(axis)[: wanted + 1]
    # Between given bounds there is no continuum.
    if domain.fixed[i]:
        return AxisLevels(levels, np.inf, np.inf)
    start = continuum(problem, lower, upper)
    unbound = lowest_unbound_level(problem, levels, start, lower, upper)
    return AxisLevels(levels, start, unbound)


def _combine_levels(levels: list[np.ndarray], wanted: int) -> CombinedLevels:
    """The lowest `wanted` + 1 sums of levels, one axis after another: only the lowest
    sums of some axes can be part of the lowest sums of more.
    """
    ndim = len(levels)
    energies = np.zeros(1)
    numbers = np.zeros((1, ndim), int)
    for i, axis_levels in enumerate(levels):
        count = len(axis_levels)
        energies = np.add.outer(energies, axis_levels - axis_levels[0]).ravel()
        # In the order of the outer sum: each earlier sum with all levels of this axis.
        numbers = np.repeat(numbers, count, axis=0)
        numbers[:, i] = np.tile(np.arange(count), len(numbers) // count)
        lowest = np.argsort(energies, kind="stable")[: wanted + 1]
        energies = energies[lowest]
        numbers = numbers[lowest]
    return CombinedLevels(energies, numbers)


def _count_bound(axes: list[AxisLevels], combined: CombinedLevels) -> int:
    """How many of the combined levels lie below the lowest unbound one: that of one
    axis, the others in their ground states.
    """
    edge = min(axis.lowest_unbound - axis.levels[0] for axis in axes)
    threshold = np.inf
    if np.isfinite(edge):
        # A level that equals the edge to rounding is the unbound level itself.
        threshold = edge - CONSTANTS.continuum_rounding * abs(edge)
    return int(np.sum(combined.energies < threshold))


def _check_bound(
    domain: Domain, axes: list[AxisLevels], wanted: int, bound: int
) -> None:
    """Refuse where fewer levels are bound than requested, or too few for an error."""
    k = domain.request.k
    # The error of a Fokker-Planck equation is relative to its gap, which takes two
    # levels.
    fewest = min(wanted, 2 if k is None and domain.sampler.evolves_density else 1)
    if bound >= fewest and (k is None or k <= bound):
        return
    ground = sum(axis.levels[0] for axis in axes)
    starts = [axis.continuum_start - axis.levels[0] for axis in axes]
    above_ground = min(starts, default=np.inf)
    start = above_ground + ground
    # Rounding of the sum must not be printed as a small number.
    if abs(start) <= 1e-9 * abs(above_ground):
        start = 0.0
    if bound:
        number = f"only {bound} level{'s lie' if bound > 1 else ' lies'}"
        cure = f"Ask for k={bound}, or deepen the potential."
    else:
        number = "no levels lie"
        cure = "Deepen the potential, or give like= with walls."
    allowed = f"{number} below the continuum, which starts at {start:.6g}"
    raise_value_error("k", wanted, allowed, cure)


def all_times(
    domain: Domain, slice_point: SlicePoint, box: Bounds, depth: float
) -> np.ndarray:
    """Times that stand for all times: from far below the fastest relaxation of the axes
    to beyond the slowest.

    A gap is that of H, or for a Fokker-Planck equation the smallest rate of L; both on
    the slices through one point.
    """
    gaps = []
    for i in range(domain.ndim):
        problem = slice_problem(domain.sampler, domain.request, i, slice_point)
        lower, upper = box[0][i], box[1][i]
        if domain.ndim > 1 and problem.evolves_density:
            lower, upper = slice_interval(domain, i, slice_point.point, depth, problem)
        axis = domain.kinds[i](float(lower), float(upper), CONSTANTS.relaxation_nodes)
        if problem.evolves_density:
            # L need not be symmetric; of complex rates the real part is the decay. The
            # first is zero.
            eigenvalues = np.linalg.eigvals(problem.generator(axis, 0.0))
            rates = np.sort(-eigenvalues.real)
            gap = rates[1]
        else:
            levels = problem.levels(axis)
            gap = levels[1] - levels[0]
        gaps.append(max(gap, CONSTANTS.smallest_gap))
    return np.asarray(CONSTANTS.relaxation_times) / min(gaps)
