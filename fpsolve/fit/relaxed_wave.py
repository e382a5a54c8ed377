"""When the wave of a density that starts wider than sqrt(pi) may take its place: the
same rule as in `propagate.relaxing_density`.

Rounding of exp(tL) grows as eps |L| t; that of the wave psi = p / sqrt(pi) is eps
|psi|, and its levels keep their digits over any time. While p narrows towards pi the
second one falls.
"""

from typing import NamedTuple

import numpy as np

from ..grid import Axis, Grid
from ..linear.matrix_exponential import exponential_on_host
from ..operator.aliasing import aliasing_error, short_wave_damping
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.constants import CONSTANTS as PLAN
from ..propagate.constants import CONSTANTS as PROPAGATE


class RelaxedWave(NamedTuple):
    """A wave `(n,)` at a time after the start, the densities `(2, n)` at later times
    with which it is compared, and the difference in L1 from them above which it is not
    confirmed.
    """

    time: float
    wave: np.ndarray
    later_densities: np.ndarray
    confirmed_below: float


def relaxed_wave(
    generator: np.ndarray,
    initial: np.ndarray,
    axis: Axis,
    log_sqrt_pi: np.ndarray,
    diffusion: float,
    times: np.ndarray,
    tol: float,
) -> RelaxedWave | None:
    """The wave of a density at the time at which it errs least, by doubling; None where
    the density itself errs less up to the last of `times`.

    **Arguments**: the `generator` `(n, n)` and the `initial` density `(n,)` on an axis,
    log sqrt(pi) `(n,)`, and the least `diffusion`. **Cost**: one product of matrices
    for each doubling.
    """
    norm = float(np.linalg.norm(generator, 1))
    epsilon = np.finfo(float).eps
    fraction = OPERATOR.clipping_tol_fraction * tol
    enough = PROPAGATE.relaxed_fraction * tol
    # A density that keeps its digits up to the last time is left alone.
    if epsilon * norm * times[-1] < enough:
        return None
    # A basis in which the drift jumps at the ends of the box lets densities grow over a
    # long time.
    of_rounding = epsilon * norm * times[-1] + PROPAGATE.density_over_wave * tol
    best = 0
    best_wave = None
    best_error = of_rounding
    # The density after each doubling of the time.
    densities: list[np.ndarray] = []
    time = 1 / norm
    exponential = exponential_on_host(time * generator)
    # Beyond the time at which rounding of the density alone is as large as the best
    # error, nothing is gained.
    while (
        epsilon * norm * time < best_error and best_error > enough and time < times[-1]
    ):
        densities.append(exponential @ initial)
        with np.errstate(over="ignore", invalid="ignore"):
            wave = clip_tails(densities[-1], log_sqrt_pi, axis.weights, fraction, np)
            size = float(np.sqrt(axis.weights @ wave**2))
            # Until the next reported time diffusion damps what aliases.
            until = float(times[times > time][0] - time)
            damping = short_wave_damping(diffusion, axis, until, np)
            of_wave, of_density = aliasing_error(
                Grid(axis), wave, np.exp(log_sqrt_pi), [damping], np
            )
            # What the density has of it is no error of the wave.
            excess = of_wave - OPERATOR.aliasing_excess * of_density
            aliasing = float(np.maximum(excess, 0))
        error = epsilon * (norm * time + PLAN.wave_rounding_units * size) + aliasing
        # Written so that a wave that is not finite is no improvement.
        if error < best_error:
            best = len(densities) - 1
            best_wave = wave
            best_error = error
        time = 2 * time
        exponential = exponential @ exponential
    if best_wave is None:
        return None
    # The compared times are powers of two: the same doublings reach them.
    later = best + np.log2(PROPAGATE.compared_times).astype(int)
    while len(densities) <= later[-1]:
        densities.append(exponential @ initial)
        exponential = exponential @ exponential
    compared = np.stack([densities[k] for k in later])
    confirmed_below = max(best_error, of_rounding)
    return RelaxedWave(2.0**best / norm, best_wave, compared, confirmed_below)
