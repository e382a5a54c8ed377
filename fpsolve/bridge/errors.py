"""The error of a bridge by a second look: the same bridge on two companion grids, with
other nodes and other boxes.

    space       int |p - q|, with q the companion's density at the nodes of p,
                times a factor where errors fall slowly
    box         the mass that q has beyond the box of p, at each time
    iteration   what is left of Sinkhorn's iteration, how far the ends are from both
                marginals, the mass of these at places where a wave is unknown, the
                error of steps in time, and by how much the mass at each time differs
                from that of the ends

Reference: Roache, Verification and Validation in Computational Science and Engineering
(1998), chapter 5.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import quick_program
from ..core.types import AnyArray
from ..grid import Grid
from ..plan.companion import companion
from ..solve.interpolation import transferred
from .answer import Answer
from .constants import CONSTANTS
from .solve import solve_on
from .stencil import interpolation


class Errors(NamedTuple):
    """The parts of the relative L1 error `(T,)`, those of `cost` and `contraction`, and
    how they were found.
    """

    space: np.ndarray
    box: np.ndarray
    iteration: AnyArray
    cost: float
    contraction: float
    decision: Decision

    @property
    def whole(self) -> AnyArray:
        """The sum of all parts, `(T,)`."""
        return self.space + self.box + self.iteration


def look(answer: Answer, check: bool) -> Errors:
    """The error of a bridge; without `check` only that of the iteration is known."""
    count = len(answer.request.times)
    unknown = np.full(count, np.nan)
    iteration = answer.inconsistency + answer.step_error + mass_drift(answer)
    if not is_concrete(iteration, answer.fields):
        because = "nothing is repeated under a transformation of JAX"
        decision = Decision("run", because)
        return Errors(unknown, unknown, iteration, np.nan, np.nan, decision)
    iteration = np.asarray(iteration)
    if not check:
        decision = Decision("run", "check=False")
        return Errors(unknown, unknown, iteration, np.nan, np.nan, decision)
    others: list[Answer] = []
    grid = answer.request.grid
    spectral = answer.reference.scheme.spectral
    for _ in range(2):
        grid = companion(grid, spectral)
        try:
            other = solve_on(answer.request.on(grid), measure=not others)
        except ValueError:
            # A function that is not finite beyond the box, or a density that the
            # companion does not hold.
            break
        # In a wider box the steps may be too long for a steep potential: nothing is
        # learnt from that.
        largest_drift = float(np.max(np.asarray(mass_drift(other))))
        left = float(other.inconsistency) + float(other.step_error) + largest_drift
        # Written so that NaN ends the loop as well.
        if not left < CONSTANTS.unresolved_error:
            break
        others.append(other)
    if not others:
        because = (
            "the companion grid could not be solved, so the error in space is not known"
        )
        decision = Decision("none", because)
        return Errors(unknown, unknown, iteration, np.nan, np.nan, decision)
    first = others[0]
    reference = _at_nodes(first, answer.request.grid)
    difference = _difference(answer, reference)
    factor = 1.0
    if len(others) > 1:
        # Where errors fall by a ratio r from grid to grid, the difference of two is not
        # the error: the rest of the geometric series is r / (1 - r) of it.
        before = _difference(first, _at_nodes(others[1], first.request.grid))
        ratio = difference / np.maximum(before, np.finfo(float).tiny)
        ratio = np.minimum(ratio, CONSTANTS.slowest_convergence)
        factor = np.maximum(1, ratio / (1 - ratio))
    cost = abs(float(answer.cost) - float(first.cost))
    rate = abs(float(answer.contraction) - float(first.contraction))
    axes = " x ".join(map(repr, first.request.grid.axes))
    return Errors(
        space=difference * factor,
        box=_outside(answer, first, reference),
        iteration=iteration,
        cost=cost + float(answer.cost_step_error),
        contraction=rate,
        decision=Decision("companion", f"compared with {axes}"),
    )


def mass_drift(answer: Answer) -> Array:
    """By how much the mass at each time differs from that of the ends, relative,
    `(T,)`: no error is smaller.
    """
    return _drift_of(answer.request.grid.in_cells, answer.values, answer.mass)


@quick_program
def _drift_of(grid: Grid, values: Array, mass: Array) -> Array:
    return jnp.abs(grid.integrate(values) / mass - 1)


def _at_nodes(other: Answer, grid: Grid) -> np.ndarray:
    """The densities `(T, *shape)` of an answer at the nodes of another grid."""
    values = np.asarray(other.values)
    source = other.request.grid
    if not (grid.uniform and np.all(values > 0)):
        return transferred(source, grid, values, other.reference.scheme.spectral)
    # log p is smooth where p falls by many orders of magnitude from one node to the
    # next.
    logs = np.log(values)
    for i, (old, new) in enumerate(zip(source.axes, grid.axes, strict=True)):
        matrix = np.asarray(interpolation(old, as_array(new.nodes), CONSTANTS.stencil))
        # The first axis of the field is that of the times.
        moved = np.moveaxis(logs, 1 + i, -1) @ matrix.T
        logs = np.moveaxis(moved, -1, 1 + i)
    return np.exp(logs)


def _difference(answer: Answer, reference: np.ndarray) -> np.ndarray:
    """The relative L1 difference `(T,)` of an answer and other values at its nodes."""
    grid = answer.request.grid
    values = np.asarray(answer.values)
    apart = grid.integrate_on_host(np.abs(values - reference))
    return apart / grid.integrate_on_host(values)


def _outside(answer: Answer, other: Answer, reference: np.ndarray) -> np.ndarray:
    """The mass `(T,)` that the companion has beyond the box, relative to the whole."""
    if not any(axis.unbounded for axis in answer.request.grid.axes):
        return np.zeros(len(reference))
    mass = other.request.grid.integrate_on_host(np.asarray(other.values))
    inside = answer.request.grid.integrate_on_host(reference)
    return np.maximum(mass - inside, 0) / mass
