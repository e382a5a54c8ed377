"""The second look at a flow: the same problem on two companion grids.

    inside     d = int |p - q| over the box, q = chi^2 of the companion's wave chi at
               the nodes of p
    outside    the mass that q has beyond the ends of the box, and an exponential tail
               beyond those of its own

The basis of the companion is evaluated for its wave, which it resolves, and not for the
density. Where differences fall by a ratio r from companion to companion, those still to
come add up to d r / (1 - r).
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.decision import Decision
from ..core.program import quick_program
from ..grid import Gaussian, Grid
from ..operator.aliasing import short_wave_fraction
from ..plan.companion import companion
from ..plan.error_parts import ErrorParts
from ..plan.single_look import tails_beyond
from .between_nodes import unseen_start
from .constants import CONSTANTS
from .flow_request import FlowRequest, problem_on
from .flow_run import FlowRun, run_flow
from .interpolation import transferred


@dataclasses.dataclass(frozen=True)
class FlowLook:
    """The parts of the error, and how they were found."""

    parts: ErrorParts
    decision: Decision

    @property
    def compared(self) -> bool:
        """Whether the run was compared with another one."""
        return self.decision.choice == "companion"


def look_at_flow(request: FlowRequest, run: FlowRun, check: bool) -> FlowLook:
    """The error of a run; with `check` the problem is solved on two companions."""
    if not run.problem.concrete:
        because = "nothing is repeated under a transformation of JAX"
        parts = _single_look(run.waves, run.error, run.problem.grid)
        return FlowLook(parts, Decision("run", because))
    if not check:
        parts = _single_look(run.waves, run.error, run.problem.grid)
        return FlowLook(parts, Decision("run", "check=False"))
    # Two companions: the second shows how fast the differences fall.
    other = _companion_run(request, run)
    if other is None:
        nan = np.full(len(run.error), np.nan)
        unknown = as_array(nan, run.error.dtype)
        because = (
            "the companion grid could not be solved, so the error in space is not known"
        )
        parts = ErrorParts(run.error, unknown, unknown, unknown)
        return FlowLook(parts, Decision("none", because))
    parts = _compare(run, other, _companion_run(request, other))
    parts = _with_unseen(request, parts)
    axes = other.problem.grid.axes
    decision = Decision("companion", f"compared with {' x '.join(map(repr, axes))}")
    return FlowLook(parts, decision)


def _companion_run(request: FlowRequest, run: FlowRun) -> FlowRun | None:
    """The run on the companion grid; None where there is none."""
    # Beyond the box a velocity may not be defined: then the box is kept.
    for widen in (True, False):
        grid = companion(run.problem.grid, True, widen)
        try:
            other = run_flow(problem_on(request, grid, run.problem))
        except ValueError:
            continue
        if np.all(np.isfinite(np.asarray(other.waves))):
            return other
    return None


def _compare(run: FlowRun, other: FlowRun, third: FlowRun | None) -> ErrorParts:
    """The parts of the error of a run, from its companion and the companion of that."""
    reference = _densities_at_nodes(other, run.problem.grid)
    difference = _difference(run, reference)
    slowest = CONSTANTS.slowest_convergence
    ratio = np.full(len(difference), slowest)
    if third is not None:
        third_reference = _densities_at_nodes(third, other.problem.grid)
        before = _difference(other, third_reference)
        # `tiny` stands for two companions that agree to the last bit.
        ratio = difference / np.maximum(before, np.finfo(before.dtype).tiny)
        ratio = np.minimum(ratio, slowest)
    # d r / (1 - r), at least d.
    inside = difference * np.maximum(1, ratio / (1 - ratio))
    outside = _outside(run, other, reference)
    whole = inside + outside
    # What is missing beyond the box is too much inside.
    box = np.minimum(2 * outside, whole)
    # A difference of the two starts is carried along.
    start = np.minimum(whole - box, inside[0])
    space = whole - box - start
    # At t = 0 the values are the initial state as it was given.
    times = np.concatenate([[0.0], np.asarray(run.problem.times)])
    at_start = times == 0
    space = np.where(at_start, 0, space)
    start = np.where(at_start, 0, start)
    # The first row, t = 0, is no output time.
    parts = (as_array(part[1:], run.error.dtype) for part in (space, box, start))
    return ErrorParts(run.error, *parts)


def _densities_at_nodes(run: FlowRun, grid: Grid) -> np.ndarray:
    """The densities of a run, that at t = 0 first, at the nodes of another grid,
    `(1 + T, *shape)`.
    """
    return transferred(run.problem.grid, grid, run.with_start, True) ** 2


def _difference(run: FlowRun, reference: np.ndarray) -> np.ndarray:
    """The relative L1 difference `(1 + T,)` of a run and densities at its nodes."""
    grid = run.problem.grid
    densities = run.with_start**2
    apart = grid.integrate_on_host(np.abs(densities - reference))
    return apart / grid.integrate_on_host(densities)


def _outside(run: FlowRun, other: FlowRun, reference: np.ndarray) -> np.ndarray:
    """The relative mass `(1 + T,)` beyond the ends of the lines of `run`; `reference`
    is that of `other` at its nodes.
    """
    grid = run.problem.grid
    wider = other.problem.grid
    if not any(axis.unbounded for axis in grid.axes):
        return np.zeros(len(reference))
    densities = other.with_start**2
    mass = wider.integrate_on_host(densities)
    # The two integrals agree only to the accuracy of the nodes: a negative difference
    # is no mass.
    seen = np.maximum(mass - grid.integrate_on_host(reference), 0)
    tails = tails_beyond(wider, densities, np)
    return seen / mass + tails


def _with_unseen(request: FlowRequest, parts: ErrorParts) -> ErrorParts:
    """The parts of an error, with what of the start lies between all nodes."""
    if not callable(request.initial) or isinstance(request.initial, Gaussian):
        return parts
    # Mass that is missing in one place is too much in others.
    missed = 2 * unseen_start(request.initial, request.problem.grid)
    start = np.asarray(parts.start) + missed
    return parts._replace(start=as_array(start, parts.start.dtype))


@quick_program
def _single_look(waves: Array, error: Array, grid: Grid) -> ErrorParts:
    """What one run shows: the share of the shortest waves, and what lies beyond the
    ends of the lines.
    """
    total = jnp.zeros_like(error)
    for i, axis in enumerate(grid.axes):
        shares = [short_wave_fraction(wave, axis, i) for wave in waves]
        # Waves beyond the grid are about as large as the shortest ones on it.
        total = total + jnp.stack(shares).astype(error.dtype)
    box = 2 * tails_beyond(grid, waves**2)
    return ErrorParts(error, 2 * total, box, jnp.zeros_like(error))
