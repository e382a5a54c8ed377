"""Bound states of a Schrodinger potential: where it is lowest, how wide its lowest
modes are, where its continuum is.

A potential that levels off far away has a continuum of levels from there on; only
levels below it are bound states, and only they can be fitted.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..core.checks import raise_value_error
from ..grid import Line
from .bounding_box import NotConfining, coarse_nodes, product_points
from .constants import CONSTANTS
from .marginal_profile import maximize_log_density
from .sampled_equation import EquationSampler
from .slice_problem import SliceProblem, SliceValues


def trial_half_widths() -> np.ndarray:
    """Half-widths of the boxes that are tried, ascending, in natural lengths."""
    return CONSTANTS.bound_state_scale ** np.arange(*CONSTANTS.bound_state_scales)


def energy_minimum(
    sampler: EquationSampler,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    t: float,
) -> np.ndarray:
    """The point `(d,)` where the energy is lowest, from coarse grids of many sizes.

    Axes that are `fixed` keep their bounds. **Raises** `NotConfining` where the lowest
    point lies at the end of the largest grid.
    """
    # Far smaller and larger boxes, too, for coordinates in other units.
    powers = 10.0 ** np.arange(*CONSTANTS.scan_powers)
    half_widths = np.sort(np.concatenate([trial_half_widths(), powers]))
    lowest_energy = np.inf
    lowest_point = None
    distance = 0.0
    for half_width in half_widths:
        low = np.where(fixed, lower, -half_width)
        high = np.where(fixed, upper, half_width)
        points = product_points(coarse_nodes(low, high))
        energy = sampler.energy(points, t)
        lowest = int(np.argmin(energy))
        # Only a real improvement counts: else a flat potential would seem lowest
        # wherever rounding makes it so.
        threshold = lowest_energy - CONSTANTS.minimum_improvement * abs(lowest_energy)
        if lowest_point is None or energy[lowest] < threshold:
            lowest_energy = energy[lowest]
            lowest_point = points[lowest]
            distance = np.max(np.abs(lowest_point)[~fixed], initial=0)
    assert lowest_point is not None
    # A minimum at the edge of the largest grid is no minimum: the energy decreases
    # without end.
    if distance >= half_widths[-1]:
        raise NotConfining(int(np.argmax(np.abs(lowest_point))), True)
    return maximize_log_density(sampler, lowest_point[None], ~fixed, t)[0]


def natural_length(problem: SliceProblem, center: float) -> float:
    """The length l over which the potential changes by the kinetic energy D / l^2 of a
    wave of that length.

    It carries the units: boxes are tried in multiples of it. One where the potential
    never changes that much.
    """
    lengths = 2.0 ** np.arange(*CONSTANTS.natural_length_powers)
    positions = np.concatenate([[center], center - lengths, center + lengths])
    local = problem.values(positions, 0.0)
    potential = local.potential_term
    with np.errstate(invalid="ignore"):
        # One row for each side of the center.
        change = np.abs(potential[1:] - potential[0]).reshape(2, -1)
    # What is not a number, as infinity less infinity, counts as a change.
    change = np.where(np.isnan(change), np.inf, change)
    change = np.max(change, axis=0)
    enough = np.flatnonzero(change >= local.diffusion[0] / lengths**2)
    return float(lengths[enough[0]]) if enough.size else 1.0


def bound_state_box(
    problem: SliceProblem,
    axis: int,
    center: float,
    k: int | None,
    depth: float,
    encloses_wells: Callable[[float, float, float], bool],
) -> tuple[float, float]:
    """The interval about `center` at whose ends the lowest modes are below exp(-depth)
    of their peaks.

    `encloses_wells(lower, upper, energy)` says whether all places with a potential
    below `energy` lie inside. Where the potential has a continuum, the number of levels
    below it must also have stopped changing, since a level just below it has a wide
    mode. **Raises** `ValueError` where no level is bound, or one so weakly that its
    mode fits no box, `NotConfining` where modes spread without end.
    """
    length = natural_length(problem, center)
    far = CONSTANTS.continuum_distance * length
    start = continuum(problem, center - far, center + far)
    # Without a continuum (`start` infinite) all levels are bound, and only their modes
    # must decay.
    most = k or CONSTANTS.bound_state_levels
    counts: list[int] = []
    is_bound = False
    for half_width in length * trial_half_widths():
        nodes = _trial_nodes(half_width / length)
        trial = Line(float(center - half_width), float(center + half_width), nodes)
        capped, is_wall = _without_high_walls(problem, trial, start)
        levels, modes = capped.modes(trial)
        counts.append(min(most, int(np.sum(levels < start))))
        if np.isfinite(start):
            # Below by more than the rounding of a level, which is at most n eps times
            # the largest one.
            rise = np.ptp(capped.values(trial.nodes, 0.0).potential_term)
            of_levels = trial.n * np.finfo(float).eps * np.max(np.abs(levels))
            rounding = max(CONSTANTS.continuum_rounding * rise, of_levels)
            is_bound |= bool(levels[0] < start - rounding)
        # Squares, so that depths mean the same as for densities.
        densities = modes[:, : counts[-1]] ** 2
        relative = densities / np.max(densities, axis=0)
        envelope = np.max(relative, axis=1, initial=0)
        repeated = counts[-CONSTANTS.stable_counts :].count(counts[-1])
        count_is_stable = counts[-1] > 0 and repeated == CONSTANTS.stable_counts
        all_levels = count_is_stable or not np.isfinite(start)
        lowest = np.exp(-depth)
        if not all_levels or not np.max(envelope[[0, -1]]) < lowest:
            continue
        # The modes of one well have decayed long before a box contains another one,
        # which holds levels as low.
        highest = float(levels[counts[-1] - 1])
        if encloses_wells(trial.lower, trial.upper, highest):
            return _without_empty_ends(trial, (envelope < lowest) & is_wall)
    if not np.isfinite(start):
        raise NotConfining(axis, False)
    cure = "Deepen the potential, or give like= with walls."
    if is_bound:
        allowed = (
            f"the highest levels below the continuum, which starts at {start:.6g}, "
            "spread too far"
        )
        raise_value_error("k", k, allowed, f"Ask for fewer levels, such as k=1. {cure}")
    allowed = f"no levels lie below the continuum, which starts at {start:.6g}"
    raise_value_error("k", k, allowed, cure)


def _trial_nodes(lengths: float) -> int:
    """The nodes of a trial box with a half-width of so many natural lengths.

    A wide box about a narrow well needs more, for the wide mode of a level just below
    the continuum. A box that would need more than a fitted axis may have is tried with
    few: its well may be wider than the natural length.
    """
    needed = math.ceil(2 * lengths / CONSTANTS.bound_state_spacing)
    within = CONSTANTS.bound_state_nodes < needed <= CONSTANTS.bound_state_most_nodes
    return needed if within else CONSTANTS.bound_state_nodes


def _without_high_walls(
    problem: SliceProblem, axis: Line, start: float
) -> tuple[SliceProblem, np.ndarray]:
    """The problem with a potential that rises no higher than what counts for levels
    below `start`, and where on the axis it does so, `(n,)`.

    The rounding of eigenvalues is relative to the largest entry of the matrix, and a
    steep wall may be 1e100.
    """
    with np.errstate(over="ignore"):
        potential = problem.values(axis.nodes, 0.0).potential_term
    finite = potential[np.isfinite(potential)]
    bottom = np.min(finite)
    top = start if np.isfinite(start) else float(np.median(finite))
    cap = top + CONSTANTS.wall_height * max(top - bottom, np.finfo(float).tiny)

    def values(x: np.ndarray, t: float) -> SliceValues:
        with np.errstate(over="ignore"):
            local = problem.values(x, t)
        return local._replace(potential_term=np.minimum(local.potential_term, cap))

    return dataclasses.replace(problem, values=values), potential >= top


def _without_empty_ends(axis: Line, empty: np.ndarray) -> tuple[float, float]:
    """The interval without the `empty` `(n,)` cells at its ends, but for a few."""
    full = np.flatnonzero(~empty)
    first = max(0, int(full[0]) - CONSTANTS.kept_end_cells)
    last = min(axis.n - 1, int(full[-1]) + CONSTANTS.kept_end_cells)
    return float(axis.edges[first]), float(axis.edges[last + 1])


def continuum(problem: SliceProblem, lower: float, upper: float) -> float:
    """The value at which the potential levels off beyond [lower, upper], the lower of
    its two sides; infinity where it rises on at both.
    """
    length = upper - lower
    positions = np.linspace(lower, upper, CONSTANTS.continuum_samples)
    bottom = np.min(problem.values(positions, 0.0).potential_term)
    left = _value_far_away(problem, lower, -length, bottom)
    right = _value_far_away(problem, upper, length, bottom)
    return min(left, right)


def _value_far_away(
    problem: SliceProblem, end: float, length: float, bottom: float
) -> float:
    """The value at which the potential levels off on one side; infinity where it does
    not. `length` has a sign.
    """
    near = far = np.inf
    # the farthest distance at which the potential does not overflow
    for divisor in (1, 4, 16, 64):
        distance = CONSTANTS.continuum_lengths / divisor
        positions = end + length * np.asarray([distance, 4 * distance])
        with np.errstate(over="ignore", invalid="ignore"):
            near, far = problem.values(positions, 0.0).potential_term
        if np.isfinite(far):
            break
    if not np.isfinite(far):
        return np.inf
    small = CONSTANTS.saturated_rise * abs(far - bottom)
    if not abs(far - near) <= small:
        return np.inf
    # What is close to zero relative to the depth decays to zero.
    return 0.0 if abs(far) < small else float(far)


def lowest_unbound_level(
    problem: SliceProblem, levels: np.ndarray, start: float, lower: float, upper: float
) -> float:
    """The lowest level that is no bound state: the `start` of the continuum, or a level
    that moves in a wider box.
    """
    if not np.isfinite(start):
        return start
    # Twice the length with twice the nodes: only the box differs, not the spacing.
    extension = (upper - lower) / 2
    nodes = 2 * CONSTANTS.level_count_nodes
    wide = Line(float(lower - extension), float(upper + extension), nodes)
    wide_levels = problem.levels(wide)[: len(levels)]
    moved = np.abs(wide_levels - levels) > CONSTANTS.unbound_shift * (start - levels)
    unbound = (levels < start) & moved
    return float(np.min(levels[unbound])) if unbound.any() else start
