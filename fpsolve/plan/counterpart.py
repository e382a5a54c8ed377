"""The other form of a reversible process in a basis: factors beside the exact potential
term, and the wave beside the density.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..core.arrays import real_dtype
from ..operator import TensorOperator
from ..propagate import Picture, WorkEstimate
from ..step import Problem
from .constants import CONSTANTS
from .request import Request
from .scheme_choice import SchemeChoice


def with_counterpart(
    request: Request, problem: Problem, chosen: SchemeChoice, work: WorkEstimate | None
) -> Problem:
    """The problem with its process in the other form as well, where that keeps digits
    over a long time: beside the exact potential term factors, whose small levels do,
    and beside a density the wave that may take its place.
    """
    operator: Any = problem.operator
    # The drift does not vanish at absorbing ends, where the functions of the basis do:
    # there is no factor.
    if (
        not isinstance(operator, TensorOperator)
        or request.grid.absorbs
        or not request.sampled.reversible
    ):
        return problem
    dtype = real_dtype(request.field)
    is_wave = problem.picture is Picture.GIBBS_WAVE
    # Where all terms are factors, both forms are one; a process that is not a wave
    # needs its wave.
    if is_wave and operator.is_factored:
        return problem
    # Rounding of H is that of one run of length 1 / |H|, times the length.
    epsilon = float(jnp.finfo(dtype).eps)
    if (
        is_wave
        and work is not None
        and epsilon * work.spectrum < CONSTANTS.level_rounding * request.tol
    ):
        return problem
    counterpart = request.sampled.operator(chosen.scheme, dtype, flux=is_wave)
    operator = dataclasses.replace(operator, counterpart=counterpart)
    return dataclasses.replace(problem, operator=operator)
