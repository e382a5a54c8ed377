"""A potential that moves: the times at which it is examined, and those at which trial
states are compared.
"""

import numpy as np

from .constants import CONSTANTS
from .dense_look import wide_points
from .sampled_equation import EquationSampler


def jittered_times(last: float, count: int) -> np.ndarray:
    """One random time in each of `count` equal parts of [0, last], ascending: no period
    of a drive meets them all.
    """
    generator = np.random.default_rng(4)
    return last * (np.arange(count) + generator.uniform(size=count)) / count


def fitted_times(
    sampler: EquationSampler, times: np.ndarray, box: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """The times `(T,)` at which trial states are compared: those requested, or the same
    parts of a shorter time.

    A trial takes a fixed number of steps. Where a drive turns round more often than
    they resolve, the states of the first periods stand for all.
    """
    if not sampler.equation.time_dependent or times[-1] <= 0:
        return times
    # As if all axes were fixed: the points lie inside the box only.
    inside = np.ones(sampler.ndim, bool)
    points = wide_points(*box, inside)[: CONSTANTS.drive_places]
    moments = jittered_times(float(times[-1]), CONSTANTS.drive_samples)
    energies = sampler.energies_at_times(points, moments)
    change = np.diff(energies, axis=0)
    # A change by rounding is no turn.
    large = np.abs(change) > CONSTANTS.drive_rounding * np.max(np.abs(energies))
    turns_round = change[1:] * change[:-1] < 0
    turns = np.sum(turns_round & large[1:] & large[:-1], axis=0)
    steps = CONSTANTS.steps_each_turn * int(np.max(turns))
    return times * min(1.0, CONSTANTS.wave_steps / max(steps, 1))
