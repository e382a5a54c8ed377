"""Jumps and kinks in time of a potential or a force: their times, so that steps may end on them.

    jump    U(x, t+) != U(x, t-)             sampled differences do not shrink with the spacing h
    kink    d_t U(x, t+) != d_t U(x, t-)     second differences shrink as h, those of a smooth function as h^2

U and f are sampled at a few points on a fine set of times. An interval whose second difference is much larger than its
neighbours' is subdivided until it is known which of the three cases it is, and then until the time is known to
rounding. A pulse shorter than end / `CONSTANTS.time_samples` can be missed: give its ends.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..equation import Equation
from ..grid import Grid
from .constants import CONSTANTS

# Where on each axis the functions are sampled. Any irregular numbers do: a symmetric function must not hide behind a
# symmetric choice.
FRACTIONS = (0.17, 0.31, 0.47, 0.62, 0.79)

Sampler = Callable[[np.ndarray], np.ndarray]


def find_breakpoints(equation: Equation, grid: Grid, end: float) -> np.ndarray:
    """Times in (0, end) at which U or f jumps or has a kink, ascending, `(B,)`."""
    points = _sample_points(grid)

    def sample_at(times: np.ndarray) -> np.ndarray:
        return _sample_at(equation, points, times)

    times = np.linspace(0.0, end, CONSTANTS.time_samples + 1)
    values = sample_at(times)
    # A function that is not finite everywhere is rejected elsewhere; here it has no meaningful differences.
    if not np.all(np.isfinite(values)):
        return np.zeros(0)
    noise = CONSTANTS.noise_units * float(jnp.finfo(values.dtype).eps) * (1 + np.abs(values).max())
    second_differences = np.abs(np.diff(values, 2, axis=0)).max(1)
    found: list[float] = []
    for k in _candidates(second_differences, noise)[: CONSTANTS.max_candidates]:
        time = _locate(sample_at, float(times[k]), float(times[k + 2]), noise)
        if time is None or not 0 < time < end:
            continue
        # Two candidates beside one breakpoint lead to the same time.
        if all(abs(time - other) > CONSTANTS.same_breakpoint * end for other in found):
            found.append(time)
    return np.sort(np.asarray(found))


def _candidates(second_differences: np.ndarray, noise: float) -> list[int]:
    """The indices of second differences that are much larger than their neighbours, and than noise."""
    width = CONSTANTS.neighbours
    n = len(second_differences)
    padded = np.pad(second_differences, width, mode="edge")

    def shifted(offset: int) -> np.ndarray:
        return padded[width + offset : width + offset + n]

    # A cheap test of all first: larger than the nearest two, and much larger than one at a distance. A breakpoint makes
    # two neighbouring second differences large, or three if it meets a sample time.
    distant = np.minimum(shifted(2 - width), shifted(width - 2))
    likely = second_differences > CONSTANTS.outstanding * distant + noise
    likely &= (second_differences >= shifted(-1)) & (second_differences >= shifted(1))
    # Then the median over the whole neighbourhood, which a few large values do not change.
    return [
        int(k)
        for k in np.flatnonzero(likely)
        if second_differences[k] > CONSTANTS.outstanding * np.median(padded[k : k + 2 * width + 1])
    ]


def _locate(sample_at: Sampler, left: float, right: float, noise: float) -> float | None:
    """The time between `left` and `right` of a jump or a kink; None where the function is found to be smooth."""
    first_jump: float | None = None
    last_difference: float | None = None
    level = 0
    while True:
        times = np.linspace(left, right, CONSTANTS.cuts + 1)
        values = sample_at(times)
        second_differences = np.abs(np.diff(values, 2, axis=0)).max(1)
        jumps = np.abs(np.diff(values, axis=0)).max(1)
        k = int(np.argmax(second_differences))
        second_difference = float(second_differences[k])
        jump = float(jumps.max())
        spacing = (right - left) / CONSTANTS.cuts

        # Smooth: second differences have fallen by more than those at a kink would, and first ones have fallen too.
        if level >= CONSTANTS.levels_before_smooth and last_difference is not None:
            fell = second_difference < CONSTANTS.smooth_slack * last_difference / CONSTANTS.cuts**1.5
            if fell and jump < CONSTANTS.jump_decay * (first_jump or 0.0):
                return None
        # A jump: the times can no longer be told apart (4 units of rounding).
        if spacing <= 4 * np.spacing(max(abs(left), abs(right))):
            return float(times[int(np.argmax(jumps)) + 1])
        # A kink whose second differences have come down to rounding; on the first levels it is a smooth function.
        if second_difference < noise:
            return (left + right) / 2 if level >= CONSTANTS.levels_before_kink else None

        first_jump = jump if first_jump is None else first_jump
        last_difference = second_difference
        level += 1
        left, right = float(times[k]), float(times[k + 2])


def _sample_points(grid: Grid) -> np.ndarray:
    """A few points inside the grid, `(P, d)`; another order of the fractions on each axis."""
    count = len(FRACTIONS)
    columns = [
        [axis.lower + axis.length * FRACTIONS[(k * (2 * i + 1) + i) % count] for k in range(count)]
        for i, axis in enumerate(grid.axes)
    ]
    return np.stack(columns, 1).astype(jnp.result_type(float))


def _sample_at(equation: Equation, points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The values at all points for a few or many times, `(T, P)`.

    Shorter lists of times are filled up, so that there is one program for all of them.
    """
    padded = np.concatenate([times, np.full(CONSTANTS.time_samples + 1 - len(times), times[-1])])
    return np.asarray(_sample(equation, points, padded))[: len(times)]


@sampling_program
def _sample(equation: Equation, points: Any, times: Any) -> Array:
    """The functions that define the equation, at all points and times, `(T, P)`."""
    return jax.vmap(lambda t: jax.vmap(lambda x: equation.given_at(x, t))(points).ravel())(times)
