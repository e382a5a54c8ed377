"""Validation of a protocol: a path and a schedule that may jump, for functions of its
work.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.types import Clock, PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from .confinement import check_path
from .constants import CONSTANTS
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .staircase import Staircase, make_staircase, step_lambdas
from .transport_request import check_schedule


class ProtocolRequest(NamedTuple):
    """The validated arguments: `by_lambda` is an equation whose time is λ."""

    by_lambda: FokkerPlanck
    schedule: Any
    total: Scalar
    grid: Grid
    tol: float

    @property
    def diffusion(self) -> Any:
        """D."""
        return self.by_lambda.diffusion

    def on(self, grid: Grid) -> "ProtocolRequest":
        """The same on another grid."""
        return self._replace(grid=grid)

    def stairs(self, count: int, backward: bool) -> Staircase:
        """The staircase of the protocol, or of its reverse, with `count` steps."""
        lambdas = step_lambdas(self.schedule, self.total, count)
        return make_staircase(self.by_lambda, self.grid, lambdas, self.total, backward)


def check_protocol(
    path: PotentialPath, schedule: Clock, grid: Any, diffusion: Scalar, tol: Real | None
) -> ProtocolRequest:
    """The request of these arguments, or a `ValueError`."""
    if not callable(path):
        raise_value_error(
            "path",
            path,
            "it must be callable, lambda -> potential",
            "Give fp.Mix(start, end) or a function.",
        )
    if tol is None:
        # Rounding is larger in single precision.
        in_double = jnp.zeros(()).dtype == jnp.float64
        tol = CONSTANTS.work_law_tol if in_double else CONSTANTS.work_law_tol_single
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-6, say.")
    # A protocol may go back and jump at its ends, which its work counts.
    total = check_schedule(schedule, monotone=False)
    if grid is None:
        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid", grid, "it must be a grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say."
        )
    # lambda is the time of this equation.
    by_lambda = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    # The Gibbs density exp(-U / D) needs one D for all axes and points.
    if callable(by_lambda.diffusion) or np.ndim(by_lambda.diffusion):
        raise_value_error(
            "diffusion",
            diffusion,
            "Gibbs densities need one number",
            "Give D, a number above zero.",
        )
    schedule = read_schedule(schedule)
    if not is_concrete(by_lambda, schedule, total):
        cure = "Take fp.anneal.staircase.mean_work, which can be traced."
        raise_value_error(
            "path",
            "traced",
            "the steps of the protocol are chosen by their values",
            cure,
        )
    by_lambda.require_reversible(grid, "a path of Gibbs densities")
    check_path(path, by_lambda, grid)
    return ProtocolRequest(by_lambda, schedule, total, grid, float(tol))
