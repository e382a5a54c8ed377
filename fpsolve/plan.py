"""A problem as the door has understood it: everything that a run needs, and the program that runs it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .core.checks import is_concrete
from .core.result import first_failure
from .equation import FokkerPlanck
from .grid import Grid
from .method.magnus import Problem
from .method.trajectory import CAPPED, Trajectory, enter, leave, run_static
from .question import LastQuestions
from .solution import Solution


class Plan(eqx.Module):
    """A problem, the method for it, the state at t = 0, the times, and what to say about the choices."""

    problem: Problem
    method: Any
    field: Array
    times: Array
    tol: np.ndarray
    observables: Mapping[str, Callable[[Array], Any]]
    fault: str = eqx.field(static=True)
    words: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def solution(self, answer: Any) -> Solution:
        """The numbers of a run, with what they belong to."""
        values, error, means, numbers, code = answer
        problem, words = self.problem, self.words
        return Solution(
            self.times, values, error, means, numbers, code, problem.equation, problem.scheme, problem.grid, words
        )


def run_still(plan: Plan) -> Any:
    """A still problem, from its state at t = 0 to the numbers of a `Solution`."""
    dtype = plan.field.real.dtype
    tol = jnp.asarray(plan.tol, dtype)
    start = enter(plan.problem, plan.field, tol * CAPPED)
    return conclude(plan, run_static(plan.problem, plan.method, start, plan.times.astype(dtype), tol))


def conclude(plan: Plan, trajectory: Trajectory) -> Any:
    """Values, errors, observables, stats and the code of a run."""
    problem, field, times = plan.problem, plan.field, plan.times
    grid, equation = problem.grid, problem.equation
    values = jax.vmap(lambda state, t: jnp.where(t == 0, field, leave(problem, state, t)))(trajectory.values, times)
    numbers = {"operator_calls": trajectory.calls}
    if isinstance(equation, FokkerPlanck):
        weights = values
        numbers |= {
            "mass_drift": jnp.max(jnp.abs(grid.integrate(values) - grid.integrate(field))),
            "min_density": jnp.min(values),
        }
    else:
        weights = jnp.abs(values) ** 2
        weights = weights / grid.integrate(weights)[(..., *[None] * grid.ndim)]
    means = {name: _expectation(grid, weights, f) for name, f in plan.observables.items()}
    failure = first_failure(
        ("not_finite", ~jnp.all(jnp.isfinite(values))),
        (plan.fault, jnp.max(trajectory.error) > plan.tol),
    )
    return values, trajectory.error, means, numbers, failure


concluding_program = eqx.filter_jit(conclude)


class Memory:
    """The plans of the last questions, each with the arrays that its program takes."""

    def __init__(self) -> None:
        self._kept = LastQuestions()

    def recall(self, question: Any) -> Any:
        """The plan of a question that was asked before, and its solution, computed anew; else None."""
        if (kept := self._kept.recall(question)) is None:
            return None
        plan, program, arrays, structure, rest = kept
        # A solution's leaves are the times, the numbers of the run, and those of the equation and the scheme.
        return plan, jax.tree.unflatten(structure, [plan.times, *jax.tree.leaves(program(arrays)), *rest])

    def run(self, question: Any, plan: Plan) -> Solution:
        """The solution of a still problem; its plan is kept if the question can be told from others."""
        wordless = dataclasses.replace(plan, words=())  # which differ from question to question
        arrays, static = eqx.partition(wordless, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
        leaves, structure = jax.tree.flatten(static)
        program = _still_program(structure, tuple(leaves))
        answer = program(arrays)
        solution = plan.solution(answer)
        if is_concrete(plan):  # a function may close over what is traced
            leaves, structure = jax.tree.flatten(solution)
            rest = leaves[1 + len(jax.tree.leaves(answer)) :]
            self._kept.keep(question, (plan, program, arrays, structure, rest))
        return solution


@functools.lru_cache(maxsize=128)
def _still_program(structure: Any, leaves: tuple[Any, ...]) -> Callable[[Any], Any]:
    rest = jax.tree.unflatten(structure, leaves)
    return jax.jit(lambda arrays: run_still(eqx.combine(arrays, rest)))


def _expectation(grid: Grid, weights: Array, f: Callable[[Array], Any]) -> Array:
    sampled = grid.sample(f).astype(weights.dtype)
    flat = (weights * grid.weights.astype(weights.dtype)).reshape(weights.shape[0], -1)
    return (flat @ sampled.reshape(grid.size, -1)).reshape(weights.shape[0], *sampled.shape[grid.ndim :])
