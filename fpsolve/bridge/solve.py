"""A bridge on one grid: potentials by Sinkhorn's iteration, and from them all fields at the output times.

    p = f f^,      drift = -grad U + 2 D grad log(f / sqrt(pi)) = 2 D grad log f

    KL(P | R) = int rho_T log(f_T / sqrt(pi_T)) - int rho_0 log(f_0 / sqrt(pi_0)),      R the reference from rho_0

Densities at more than two times divide the bridge into several: given the density at a time, what is before is
independent of what is after.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import quick_program, shape_program
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .kernel import Kernel
from .logarithm import exp_of, is_empty, log_of, product
from .reference import Reference, log_amplitude, reference_on
from .request import Marginal, Request
from .sinkhorn import Marginals, State, contraction, iterate
from .stencil import differentiation


class Fields(NamedTuple):
    """log f^ and log f at the output times, `(T, *shape)` each."""

    forward: Array
    backward: Array


@dataclasses.dataclass(frozen=True)
class Answer:
    """A bridge on one grid. `states` and `rates` belong to its parts, one between each density and the next.

    - `fields` `(T, *shape)`; `unknown` the largest part of the mass of a marginal at places where a wave is unknown
    - `cost` the relative entropy to the reference; `remaining` what is left of all iterations, relative to the mass
    """

    request: Request
    reference: Reference
    fields: Fields
    states: tuple[State, ...]
    rates: tuple[float, ...]
    cost: float
    unknown: float

    @property
    def values(self) -> np.ndarray:
        """The densities f f^, `(T, *shape)`."""
        return np.asarray(_densities(self.fields))

    @property
    def remaining(self) -> float:
        """What is left of the iterations, relative to the mass."""
        mass = self.request.grid.integrate_on_host(np.asarray(self.request.marginals[0].density, float))
        return float(sum(float(state.remaining) for state in self.states) / mass)


def solve_on(request: Request, measure: bool = True) -> Answer:
    """The bridge of a request; without `measure` no rates."""
    grid, dtype = request.grid, request.dtype
    reference = reference_on(request.equation, grid, dtype, request.tol)
    kernel = reference.kernel
    mass = float(grid.integrate_on_host(np.asarray(request.marginals[0].density, float)))
    tol = as_array(CONSTANTS.sweep_tol_fraction * request.tol * mass, dtype)
    forward: list[Any] = []
    backward: list[Any] = []
    states = []
    rates = []
    cost = unknown = 0.0
    parts = list(zip(request.marginals[:-1], request.marginals[1:], strict=True))
    for before, after in parts:
        first, last = as_array(before.time, dtype), as_array(after.time, dtype)
        marginals = Marginals(_log_density(before.density), _log_density(after.density))
        state = iterate(kernel, first, last, marginals, grid, tol)
        # A time at which a density is given belongs to the part that begins there.
        ends = after is request.marginals[-1]
        chosen = (request.times >= before.time) & ((request.times < after.time) | ends)
        times = as_array(request.times[chosen], dtype)
        at_ends, fields = _fields(kernel, first, last, times, state)
        unknown = max(unknown, *_check_reached(request, (before, after), at_ends))
        cost += _cost(request, (before, after), at_ends)
        forward.append(np.asarray(fields.forward))
        backward.append(np.asarray(fields.backward))
        states.append(state)
        rates.append(float(contraction(kernel, first, last, state, grid)) if measure else np.nan)
    joined = Fields(as_array(np.concatenate(forward), dtype), as_array(np.concatenate(backward), dtype))
    return Answer(request, reference, joined, tuple(states), tuple(rates), cost, unknown)


@quick_program
def _log_density(density: Array) -> Array:
    return log_of(density)


@quick_program
def _densities(fields: Fields) -> Array:
    return exp_of(product(fields.forward, fields.backward))


def _fields(kernel: Kernel, first: Array, last: Array, times: Array, state: State) -> tuple[Fields, Fields]:
    """Both waves at the two ends, where one of each is a potential, and at the times between."""
    if kernel.traceable:
        return _fields_by_program(kernel, first, last, times, state)
    at_ends = _at_ends(kernel, kernel.between(first, last), state)
    found = [_fields_at(kernel, first, last, t, state) for t in np.asarray(times)]
    shape = (0, *state.start.shape)
    forward = np.stack([np.asarray(f.forward) for f in found]) if found else np.zeros(shape)
    backward = np.stack([np.asarray(f.backward) for f in found]) if found else np.zeros(shape)
    return at_ends, Fields(forward, backward)  # type: ignore[arg-type]


@shape_program
def _fields_by_program(kernel: Kernel, first: Array, last: Array, times: Array, state: State) -> Any:
    at_ends = _at_ends(kernel, kernel.between(first, last), state)
    return at_ends, jax.lax.map(lambda t: _fields_at(kernel, first, last, t, state), times)


def _at_ends(kernel: Kernel, interval: Any, state: State) -> Fields:
    """log f^ and log f at the first time and at the last, `(2, *shape)`."""
    forward = jnp.stack([state.start, kernel.forward(interval, state.start)])
    backward = jnp.stack([kernel.backward(interval, state.end), state.end])
    return Fields(forward, backward)


def _fields_at(kernel: Kernel, first: Any, last: Any, t: Any, state: State) -> Fields:
    forward = kernel.forward(kernel.between(first, t), state.start)
    return Fields(forward, kernel.backward(kernel.between(t, last), state.end))


def _check_reached(request: Request, ends: tuple[Marginal, Marginal], fields: Fields) -> tuple[float, float]:
    """The parts of both marginals that the other one does not reach above rounding.

    **Raises** `ValueError` where that is more than half of one: the two have no common support with the reference.
    """
    parts = []
    for marginal, other, logs in zip(ends, ends[::-1], (fields.backward[0], fields.forward[1]), strict=True):
        density = np.asarray(marginal.density, float)
        lost = np.where(np.asarray(is_empty(logs)), density, 0)
        part = float(request.grid.integrate_on_host(lost) / request.grid.integrate_on_host(density))
        if part > CONSTANTS.largest_unreached:
            index = np.unravel_index(int(np.argmax(lost)), request.grid.shape)
            x = tuple(round(float(a.nodes[k]), 6) for a, k in zip(request.grid.axes, index, strict=True))
            allowed = (
                f"a part {part:.2g} of its mass, as at x = {x}, is not reached from {other.name} by the reference"
            )
            cure = "Give densities where the reference process goes, a longer total, or a larger diffusion."
            raise_value_error(marginal.name, x, allowed, cure)
        parts.append(part)
    return parts[0], parts[1]


def _cost(request: Request, ends: tuple[Marginal, Marginal], fields: Fields) -> float:
    """KL(P | R) of one part."""
    total = 0.0
    for sign, marginal, logs in zip((-1, 1), ends, fields.backward, strict=True):
        amplitude = np.asarray(_amplitude(request.equation, request.grid, marginal.time), float)
        density = np.asarray(marginal.density, float)
        known = ~np.asarray(is_empty(logs)) & (density > 0)
        integrand = np.where(known, density * (np.asarray(logs, float) - amplitude), 0)
        total += sign * float(request.grid.integrate_on_host(integrand))
    return total / float(request.grid.integrate_on_host(np.asarray(ends[0].density, float)))


def _amplitude(equation: FokkerPlanck, grid: Grid, t: float) -> Any:
    if equation.potential is None:
        return np.zeros(grid.shape)
    return _sampled_amplitude(equation, grid, as_array(t))


@quick_program
def _sampled_amplitude(equation: Any, grid: Grid, t: Array) -> Array:
    return log_amplitude(equation, grid, t)


def drift(request: Request, fields: Fields) -> Array:
    """2 D grad log f `(T, *shape, d)`; NaN where f is unknown."""
    matrices = tuple(differentiation(axis, CONSTANTS.difference_nodes) for axis in request.grid.axes)
    diffusion = jnp.broadcast_to(request.equation.diffusion, request.grid.ndim)
    return _drift(fields.backward, matrices, diffusion)


@quick_program
def _drift(logs: Array, matrices: Any, diffusion: Array) -> Array:
    unknown = is_empty(logs)
    # Differences of numbers as low as the logarithm of nothing would spoil those of the neighbours.
    logs = jnp.where(unknown, jnp.nan, logs)
    parts = []
    for i, matrix in enumerate(matrices):
        matrix = jnp.asarray(matrix, logs.dtype)
        slope = matmul_along_axis(i, matrix, jnp.nan_to_num(logs), len(matrices))
        reaches = matmul_along_axis(i, jnp.abs(matrix), unknown.astype(logs.dtype), len(matrices)) > 0
        parts.append(2 * diffusion[i].astype(logs.dtype) * jnp.where(reaches | unknown, jnp.nan, slope))
    return jnp.stack(parts, axis=-1)
