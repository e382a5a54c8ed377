"""Validation of the arguments of `importance_weights`, and the problem they define."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.types import Clock, Formula, Point, PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..plan.equation_check import check_equation
from .confinement import check_path
from .constants import CONSTANTS
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .transport_request import check_schedule
from .velocity import check_transportable

EXACT = "exact"


class ImportanceRequest(NamedTuple):
    """The validated arguments.

    `equation` is in the moving potential, and has a given drift as its force; `exact`
    says that the drift is the counterdiabatic one, `split` that there is none.
    """

    equation: FokkerPlanck
    exact: bool
    split: bool
    strength: float
    total: float
    grid: Grid
    tol: float


def check_importance(
    path: PotentialPath,
    schedule: Clock,
    drift: Formula | str | None,
    strength: Real,
    grid: Any,
    diffusion: Scalar,
    tol: Real,
) -> ImportanceRequest:
    """The request of these arguments, or a `ValueError`."""
    if not callable(path):
        raise_value_error(
            "path",
            path,
            "it must be callable, lambda -> potential",
            "Give fp.Mix(start, end) or a function.",
        )
    if not (drift is None or drift == EXACT or callable(drift)):
        cure = "Give lambda x, t: 0 * x, say, or 'exact', or None."
        raise_value_error(
            "drift", drift, "it must be a function of x and t, 'exact' or None", cure
        )
    strength = check_finite_number(
        "strength", strength, "Give 1.0 for the drift as it is."
    )
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-6, say.")
    total = check_schedule(schedule)
    if grid is None:
        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    # From here on functions are pytrees, so that a change of their closures is seen.
    read = read_path(path, grid.ndim)
    schedule = read_schedule(schedule)
    equation = FokkerPlanck(Driven(read, schedule), diffusion)
    # The Gibbs density exp(-U / D) needs one D for all axes and points.
    if callable(equation.diffusion) or np.ndim(equation.diffusion):
        raise_value_error(
            "diffusion",
            diffusion,
            "Gibbs densities need one number",
            "Give D, a number above zero.",
        )
    # The number of steps follows from an error, which must be known.
    if not is_concrete(equation, total):
        raise_value_error(
            "path",
            "traced",
            "the number of steps is chosen by values",
            "Call it outside of jit.",
        )
    equation, grid = check_transportable(equation, grid)
    # lambda is the time of this equation.
    by_lambda = FokkerPlanck(Driven(read, Identity()), diffusion)
    check_path(path, by_lambda, grid)
    if callable(drift):
        # A given drift is a force. The exact one is computed in each step.
        def force(x: Point, t: Scalar) -> Array:
            return strength * jnp.asarray(drift(x, t))

        driven = FokkerPlanck(Driven(read, schedule), diffusion, force=force)
        equation, _ = check_equation(driven, grid)
    return ImportanceRequest(
        equation=equation,
        exact=drift == EXACT,
        split=drift is None,
        strength=strength,
        total=float(total),
        grid=grid,
        tol=float(tol),
    )
