"""An evolution in turned coordinates x = R y, and its states on a grid of the axes that the user has (`fit.turn`).

    p(x) = q(R^T x),      k_i <= sum_j |R_ij| K_j      with K_j the highest wavenumbers of the grid of q

The grid of p resolves every wave that the grid of q holds, so that its values are those of the basis of q, evaluated.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.decision import Decision
from ..core.memory import check_memory
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..fit.sampled_equation import EquationSampler, mean_and_covariance
from ..grid import Gaussian, Grid, Line
from ..operator.basis import evaluate
from ..plan.error_parts import ErrorParts
from .constants import CONSTANTS
from .solution import Solution


class TurnedFunction(eqx.Module):
    """f(R y) of a function f."""

    function: Any
    matrix: Array

    def __call__(self, y: Array) -> Any:
        """The value at y."""
        return self.function(self.matrix @ y)


def turned_arguments(given: dict[str, Any], matrix: np.ndarray) -> dict[str, Any]:
    """The arguments of `fp.evolve` for the same problem in the coordinates y, x = `matrix` y; for one number D."""
    turn = jnp.asarray(matrix)
    equation, initial, features = given["equation"], given["initial"], np.asarray(given["features"], float)
    turned: dict[str, Any] = {"equation": FokkerPlanck(TurnedFunction(equation.potential, turn), equation.diffusion)}
    if isinstance(initial, Gaussian):
        mean, covariance = mean_and_covariance(initial, len(matrix))
        turned["initial"] = Gaussian(matrix.T @ mean, matrix.T @ covariance @ matrix)
    else:
        turned["initial"] = TurnedFunction(initial, turn)
    if given["observables"] is not None:
        turned["observables"] = {name: TurnedFunction(f, turn) for name, f in given["observables"].items()}
    turned["features"] = features @ matrix if features.size else ()
    return given | turned


def turned_decision(matrix: np.ndarray) -> Decision:
    """The choice of coordinates."""
    rows = "; ".join(", ".join(f"{entry:.4g}" for entry in row) for row in matrix)
    return Decision("turned", f"solved for y in x = R y, R = [{rows}], along which the density is narrow")


def on_given_axes(solution: Solution, equation: Any, matrix: np.ndarray) -> Solution:
    """A solution in the coordinates y as one of `equation`, with values on a grid of the coordinates x."""
    states = np.asarray(solution.values)
    grid = _grid_of_axes(solution.grid, states, matrix)
    check_memory("tol", grid.shape, len(states) + 2, "Ask for a larger tol, or fewer times.")
    values = _values_at(solution, states, np.asarray(grid.points).reshape(-1, grid.ndim) @ matrix).reshape(
        -1, *grid.shape
    )
    # What the new grid does not hold, or holds twice, shows in the mass.
    masses = grid.integrate_on_host(values), solution.grid.integrate_on_host(states)
    parts = ErrorParts(**solution.errors)
    parts = parts._replace(
        space=as_array(np.asarray(parts.space) + np.abs(masses[0] - masses[1]), solution.error.dtype)
    )
    decisions = dict(solution.decisions) | {"coordinates": turned_decision(matrix)}
    return dataclasses.replace(
        solution,
        values=as_array(values, solution.values.dtype),
        error=parts.whole,
        errors=parts.as_dict(),
        equation=equation,
        grid=grid,
        decisions=tuple(decisions.items()),
    )


def _grid_of_axes(turned: Grid, states: np.ndarray, matrix: np.ndarray) -> Grid:
    """The grid along the axes of x that holds all states `(T, *turned.shape)`, with the wavenumbers of their grid."""
    peaks = np.max(np.abs(states), axis=tuple(range(1, states.ndim)), keepdims=True)
    held = np.any(np.abs(states) > CONSTANTS.turned_depth * peaks, axis=0)
    points = np.asarray(turned.points)[held] @ matrix.T
    # A cell more on each side, since the nodes of a coarse grid may stop short of the depth.
    cells = np.abs(matrix) @ np.asarray([axis.length / axis.n for axis in turned.axes])
    lower, upper = np.min(points, axis=0) - cells, np.max(points, axis=0) + cells
    wavenumbers = np.abs(matrix) @ np.asarray([np.pi * axis.n / axis.length for axis in turned.axes])
    nodes = np.ceil((upper - lower) * wavenumbers / np.pi).astype(int)
    return Grid(*(Line(float(a), float(b), int(n)) for a, b, n in zip(lower, upper, nodes, strict=True)))


def _values_at(solution: Solution, states: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The states `(T, P)` at places `(P, d)` of the turned coordinates; zero outside of their box."""
    grid = solution.grid
    lower, upper = (np.asarray([getattr(axis, end) for axis in grid.axes]) for end in ("lower", "upper"))
    inside = np.flatnonzero(np.all((places >= lower) & (places <= upper), axis=1))
    log_sqrt_pi, fields = None, states
    equation = solution.equation
    assert isinstance(equation, FokkerPlanck), "only a process is turned"
    sampler = EquationSampler(equation, grid.ndim)
    if solution.picture == "wave":
        # The basis resolves the wave p / sqrt(pi); sqrt(pi) is known everywhere.
        log_gibbs = sampler.log_gibbs(np.asarray(grid.points).reshape(-1, grid.ndim)).reshape(grid.shape)
        largest = np.max(log_gibbs)
        log_z = largest + np.log(grid.integrate_on_host(np.exp(log_gibbs - largest)))
        fields = divide_by_sqrt_pi(states, (log_gibbs - log_z) / 2, np)
        log_sqrt_pi = (sampler.log_gibbs(places[inside]) - log_z) / 2
    values = np.zeros((len(states), len(places)))
    for first in range(0, len(inside), CONSTANTS.turned_chunk):
        chunk = inside[first : first + CONSTANTS.turned_chunk]
        # The last axis is summed by a product of matrices, which leaves one field of the other axes for each place.
        bases = [evaluate(axis, places[chunk, i])[1] for i, axis in enumerate(grid.axes)]
        found = np.tensordot(fields, bases[-1], (-1, 1))
        for base in reversed(bases[:-1]):
            found = np.einsum("...np,pn->...p", found, base)
        values[:, chunk] = found
    if log_sqrt_pi is not None:
        values[:, inside] *= np.exp(log_sqrt_pi)
    return values
