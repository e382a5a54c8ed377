"""What the tests measure: errors, orders, matrices. `test_mutants` plants a fault for
each and sees it caught.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import fpsolve as fp
from fpsolve.operator import Operator
from fpsolve.operator.base import dense
from fpsolve.plan.sampled_equation import SampledEquation
from fpsolve.propagate import Picture
from fpsolve.step import Problem


def discretise(
    equation: Any,
    scheme: Any,
    grid: fp.Grid,
    picture: str,
    dtype: Any = float,
    wick: float = 0.0,
    flux: bool = False,
) -> Problem:
    """The discretised problem in a picture, "density" or "wave"; `flux` takes the form
    without sqrt(pi).
    """
    process = isinstance(equation, fp.FokkerPlanck)
    sampled = SampledEquation(
        equation, grid, process and equation.irreversible_because(grid) is None
    )
    operator = (
        sampled.path(scheme, flux)
        if equation.time_dependent
        else sampled.operator(scheme, dtype, flux=flux)
    )
    wave = Picture.GIBBS_WAVE if process else Picture.WAVE
    return Problem(operator, wave if picture == "wave" else Picture.DENSITY, wick)


def solve(
    system: Any, n: int, t: float, kind: Any = None, **options: Any
) -> fp.Solution:
    """`fp.evolve` of an exact system from its exact density at t = 0, on n nodes an
    axis.
    """
    grid = system.grid(n) if kind is None else system.grid(n, kind)
    options = {"wick": system.wick, **options} if hasattr(system, "wick") else options
    return fp.evolve(
        system.equation, system.density(grid, 0.0), [t], grid=grid, **options
    )


def relative_error(system: Any, solution: fp.Solution) -> float:
    """The relative L1 distance between the last value and the exact density."""
    grid = solution.grid
    exact = system.density(solution.grid, float(solution.times[-1]))
    return float(
        grid.integrate(jnp.abs(solution.values[-1] - exact))
        / grid.integrate(jnp.abs(exact))
    )


def observed_order(errors: Sequence[float], sizes: Sequence[int]) -> float:
    """Minus the least-squares slope of log error against log n; at least four
    refinements.
    """
    if len(errors) < 4 or len(errors) != len(sizes):
        raise ValueError(
            f"errors, sizes = {errors}, {sizes}: an order needs at least four of each."
        )
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def check_order(
    errors: Sequence[float],
    sizes: Sequence[int],
    order: float = 2.0,
    slack: float = 0.15,
) -> None:
    """The observed order is the claimed one, and the error does fall with each
    refinement.
    """
    seen = observed_order(errors, sizes)
    assert abs(seen - order) <= slack, (
        f"order {seen:.3f}, claimed {order} +- {slack}: {list(errors)} at {list(sizes)}"
    )
    assert all(np.diff(errors) < 0), (
        f"the error does not fall: {list(errors)} at {list(sizes)}"
    )


def operator(scheme: Any, equation: Any, grid: fp.Grid, t: float = 0.0) -> Operator:
    """The operator of a scheme, reversible where the equation is."""
    process = isinstance(equation, fp.FokkerPlanck)
    reversible = process and equation.irreversible_because(grid) is None
    return scheme.build(equation, grid, t, jnp.float64, reversible)


def symmetric_form(made: Operator) -> np.ndarray:
    """sqrt(w) H / sqrt(w), which is symmetric if H is in the weights of the grid."""
    root = np.sqrt(np.asarray(made.grid.weights)).ravel()
    return (
        root[:, None]
        * np.asarray(dense(made.hamiltonian, made.grid, jnp.float64))
        / root
    )


def generator_matrix(made: Operator) -> np.ndarray:
    """The matrix of L."""
    return np.asarray(dense(made.generator, made.grid, jnp.float64))


def check_symmetric(matrix: np.ndarray, slack: float = 1e-13) -> None:
    """A matrix equals its transpose to rounding."""
    off = np.abs(matrix - matrix.T).max() / np.abs(matrix).max()
    assert off <= slack, f"asymmetric by {off:.1e}, relative to the largest entry"


def check_conserves(matrix: np.ndarray, weights: Array, slack: float = 1e-13) -> None:
    """w^T L = 0: no column of the generator creates or loses mass."""
    leak = np.abs(np.asarray(weights).ravel() @ matrix).max() / (
        np.abs(matrix).max() * np.asarray(weights).max()
    )
    assert leak <= slack, f"a column leaks {leak:.1e}, relative to the largest rate"


def check_mass(solution: fp.Solution, slack: float = 1e-12) -> None:
    """Mass 1 at every time."""
    drift = float(jnp.max(jnp.abs(solution.mass - 1)))
    assert drift <= slack, f"mass drifts by {drift:.1e}"


def check_positive(solution: fp.Solution, slack: float = 1e-12) -> None:
    """No value below -slack."""
    lowest = float(jnp.min(solution.values))
    assert lowest >= -slack, f"a density of {lowest:.1e}"


def check_close(value: Any, expected: Any, slack: float, what: str) -> None:
    """Values agree to `slack`, relative to the largest expected one."""
    value, expected = np.asarray(value), np.asarray(expected)
    off = float(np.max(np.abs(value - expected)) / np.max(np.abs(expected)))
    assert off <= slack, f"{what} is off by {off:.1e} of its size, allowed {slack:.0e}"
