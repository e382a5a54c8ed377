"""One evolution in two pictures with the same steps: the density by L, the wave by H.

    p(t) = e^{tL} p(0),      psi(t) = e^{-tH} psi(0),      p = sqrt(pi) psi

The steps of a moving problem are those that the error of the density needs.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import quick_program, shape_program
from ..propagate.base import Picture
from ..propagate.chebyshev import Chebyshev
from .constants import CONSTANTS
from .magnus import Magnus
from .midpoint import adaptive_levels, extrapolate
from .problem import Problem
from .representation import report_at, stack_fields
from .timeline import make_timeline


class BothSides(NamedTuple):
    """One evolution in two pictures.

    - `density`: by L; `wave`: by H; `density_of_wave`: sqrt(pi) times the wave; all
      `(T, *shape)`
    - `error`: the error in time that both have in common, `(T,)`
    """

    density: Array
    wave: Array
    density_of_wave: Array
    error: Array


def run_both(problem: Problem, field: Array, times: Array) -> BothSides:
    """The same evolution by L and by H, with the same steps in time; `problem` is that
    of the density.

    No tails are clipped, so that nothing but rounding is left between the two.
    """
    if not problem.time_dependent:
        return _both_static(problem, field, as_array(times, field.dtype))
    return _both_moving(problem, field, times)


def _both_moving(problem: Problem, field: Array, times: Array) -> BothSides:
    """Both pictures of a moving problem: midpoint steps, whose number the density
    decides for both.
    """
    dtype = field.dtype
    double = dtype == jnp.float64
    tol = CONSTANTS.both_tol_double if double else CONSTANTS.both_tol_single
    last = float(np.asarray(times)[-1])
    method = Magnus()
    timeline = make_timeline(method, problem, last, dtype)
    density = field
    wave = _unclipped_wave(_as_wave(timeline.at(0.0)), field)
    now = np.zeros((), dtype)
    error = 0.0
    first = CONSTANTS.first_steps
    densities, waves, densities_of_waves, errors = [], [], [], []
    for t in np.asarray(times, dtype):
        # The parts of the timeline end at other times than the output times do.
        while now < t:
            here, until = timeline.covering(float(now), float(t))
            stop = min(t, dtype.type(until))
            part_tol = tol * float(stop - now) / last
            levels = adaptive_levels(first)
            taken = extrapolate(method, here, density, now, stop, levels, part_tol)
            # The levels that the density took, and no tolerance: the wave takes the
            # same steps.
            reference = extrapolate(
                method, _as_wave(here), wave, now, stop, taken.levels, None
            )
            density = taken.field
            wave = reference.field
            error = error + float(taken.error)
            # The next part probably needs about as many steps as this one.
            finest = taken.levels[-1]
            first = max(CONSTANTS.first_steps, finest // CONSTANTS.next_level_divisor)
            now = stop
        here = timeline.at(float(t))
        density_of_wave, _ = report_at(_as_wave(here), wave, t)
        densities.append(density)
        waves.append(wave)
        densities_of_waves.append(density_of_wave)
        errors.append(error)
    return BothSides(
        density=stack_fields(densities),
        wave=stack_fields(waves),
        density_of_wave=stack_fields(densities_of_waves),
        error=as_array(errors, dtype),
    )


def _as_wave(problem: Problem) -> Problem:
    """The same problem with states relative to sqrt(pi)."""
    return dataclasses.replace(problem, picture=Picture.GIBBS_WAVE)


@quick_program
def _unclipped_wave(wave: Problem, field: Array) -> Array:
    """p / sqrt(pi), whatever its size."""
    return wave.to_state(field)


@shape_program
def _both_static(problem: Problem, field: Array, lengths: Array) -> BothSides:
    """Both pictures of a static problem, to rounding."""
    method = Chebyshev()
    exact = jnp.asarray(jnp.finfo(field.dtype).eps, field.dtype)
    sides = []
    # The clipping of tails, which `run_static` does, would show as a difference of the
    # two pictures.
    for side in (problem, _as_wave(problem)):
        state = side.to_state(field)
        prepared = method.prepare(side.at(0.0, field.dtype), side.picture)
        sides.append(method.apply(prepared, state, lengths, exact, 0.0))
    density, wave = sides
    # At t = 0 both are given, and have no error.
    return BothSides(
        density=density.field,
        wave=wave.field,
        density_of_wave=_as_wave(problem).to_field(wave.field, 0.0),
        error=jnp.where(lengths > 0, density.error, 0),
    )
