"""The wave of a static problem in fewer functions of its basis, the lowest of each
axis.

A long run pays for another program that is smaller. What the smaller basis misses is an
error of the run.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.decision import Decision
from ..core.program import shape_program
from ..core.types import Scalar
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate import Chebyshev, Picture, ProblemKind, WorkEstimate
from ..propagate.contraction import contract, contractible, sample_potential_terms
from ..propagate.contraction_ranks import RankErrors, choose_ranks, missing
from ..step import Problem
from .constants import CONSTANTS
from .request import Request
from .scheme_choice import first_time


def without_contraction(problem: Problem) -> Problem:
    """The problem in all functions of its basis."""
    operator: Any = problem.operator
    if getattr(operator, "contraction", None) is None:
        return problem
    operator = dataclasses.replace(operator, contraction=None)
    return dataclasses.replace(problem, operator=operator)


def contract_if_worthwhile(
    request: Request,
    problem: Problem,
    method: Chebyshev,
    decision: Decision,
    kind: ProblemKind,
    work: WorkEstimate | None,
) -> tuple[Problem, Chebyshev, Decision]:
    """The problem in the lowest functions of each axis, where ranks were given, or
    where the run is long enough to pay for compiling another program.
    """
    is_gibbs_wave = problem.picture is Picture.GIBBS_WAVE
    operator: Any = problem.operator
    can_contract = contractible(operator)
    if method.ranks and can_contract and is_gibbs_wave:
        return _in_lowest_functions(request, problem, method.ranks), method, decision

    # `ranks` is None where the choice is left open; () asks for all functions.
    is_open = (
        is_gibbs_wave and problem.wick == 0 and can_contract and method.ranks is None
    )
    if not is_open or work is None:
        return problem, method, decision
    if method.cost(kind, work) < CONSTANTS.worthwhile_seconds:
        return problem, method, decision
    # What a smaller basis misses of the initial state is damped until the first time
    # that is reported.
    first = as_array(first_time(request.times), request.field.dtype)
    fraction = as_array(request.tol * OPERATOR.clipping_tol_fraction)
    rows, bound = _missing(problem, request.field, fraction, first)
    ranks = choose_ranks(rows, float(bound), problem.grid.shape, request.tol)
    if ranks is None:
        return problem, method, decision
    sizes = " x ".join(map(str, ranks))
    decision = decision.also(f"in the lowest {sizes} functions of its axes")
    smaller = _in_lowest_functions(request, problem, ranks)
    return smaller, Chebyshev(ranks, method.stretch), decision


@shape_program
def _missing(
    problem: Problem, field: Array, fraction: Scalar, first: Array
) -> tuple[list[RankErrors], Array]:
    """What smaller bases would miss of a start, and the largest eigenvalue of H."""
    operator: Any = problem.operator
    wave = problem.to_state(field, jnp.asarray(fraction, field.dtype))
    return missing(operator, wave, first.astype(field.dtype)), operator.bounds[1]


def _in_lowest_functions(
    request: Request, problem: Problem, ranks: tuple[int, ...]
) -> Problem:
    """The problem in the `ranks` lowest functions of its axes."""
    operator: Any = problem.operator
    sample = lambda positions: sample_potential_terms(request.equation, positions)
    contraction = contract(operator, ranks, request.grid.nodes, sample)
    operator = dataclasses.replace(operator, contraction=contraction)
    return dataclasses.replace(problem, operator=operator)
