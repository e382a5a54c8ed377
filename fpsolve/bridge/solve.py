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
from ..core.checks import is_concrete, raise_value_error
from ..core.program import quick_program, sampling_program, shape_program
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .kernel import Kernel, to_all
from .logarithm import EMPTY, exp_of, is_empty, log_of, product
from .reference import Reference, log_amplitude, reference_on
from .request import Marginal, Request
from .sinkhorn import Ends, Marginals, State, contraction, iterate
from .stencil import differentiation


class Fields(NamedTuple):
    """log f^ and log f at the output times, `(T, *shape)` each."""

    forward: Array
    backward: Array


@dataclasses.dataclass(frozen=True)
class Answer:
    """A bridge on one grid. `states` and `rates` belong to its parts, one between each density and the next.

    - `fields` `(T, *shape)`; `mass` of all densities
    - `unknown` the largest part of a marginal at places where a wave is unknown
    - `cost` the relative entropy to the reference
    """

    request: Request
    reference: Reference
    fields: Fields
    mass: Array
    states: tuple[State, ...]
    rates: tuple[Array, ...]
    cost: Array
    unknown: Array

    @property
    def values(self) -> Array:
        """The densities f f^, `(T, *shape)`."""
        return _densities(self.fields)

    @property
    def remaining(self) -> Array:
        """What is left of all iterations, relative to the mass."""
        return _over(_largest_sum(tuple(state.remaining for state in self.states))[1], self.mass)

    @property
    def residual(self) -> Array:
        """The largest residual of a part, relative to the mass."""
        return _over(_largest_sum(tuple(state.residual for state in self.states))[0], self.mass)

    @property
    def contraction(self) -> Array:
        """The largest rate of a part."""
        return _largest_sum(self.rates)[0]

    @property
    def sweeps(self) -> Array:
        """The most sweeps of a part."""
        return _largest_sum(tuple(state.sweeps for state in self.states))[0]


def solve_on(request: Request, measure: bool = True) -> Answer:
    """The bridge of a request; without `measure` no rates."""
    grid, dtype = request.grid, request.dtype
    moments = [marginal.time for marginal in request.marginals]
    reference = reference_on(request.equation, grid, dtype, request.tol, float(np.max(np.diff(moments))))
    kernel = reference.kernel
    mass = _integral(grid, request.marginals[0].density)
    tol = mass * np.asarray(CONSTANTS.sweep_tol_fraction * request.tol, dtype)
    pieces = []
    states = []
    rates = []
    costs = []
    missing = []
    for before, after in zip(request.marginals[:-1], request.marginals[1:], strict=True):
        first, last = as_array(before.time, dtype), as_array(after.time, dtype)
        marginals = Marginals(_log_density(before.density), _log_density(after.density))
        state = iterate(kernel, first, last, marginals, grid, tol)
        # A time at which a density is given belongs to the part that begins there.
        is_last = after is request.marginals[-1]
        chosen = (request.times >= before.time) & ((request.times < after.time) | is_last)
        at_ends, fields = _fields(kernel, first, last, as_array(request.times[chosen], dtype), state)
        amplitudes = [_amplitude(request.equation, grid, marginal.time, dtype) for marginal in (before, after)]
        densities = (before.density, after.density)
        cost, *parts = _numbers(grid, densities, at_ends, tuple(amplitudes))
        _check_reached(request, (before, after), at_ends, parts)
        pieces.append(fields)
        states.append(state)
        costs.append(cost)
        missing += parts
        rates.append(contraction(kernel, first, last, at_ends, grid) if measure else as_array(np.nan, dtype))
    joined = pieces[0] if len(pieces) == 1 else _joined(pieces)
    cost, unknown = _largest_sum(tuple(costs))[1], _largest_sum(tuple(missing))[0]
    return Answer(request, reference, joined, mass, tuple(states), tuple(rates), cost, unknown)


@quick_program
def _integral(grid: Grid, density: Array) -> Array:
    return grid.integrate(density)


@quick_program
def _largest_sum(numbers: tuple[Array, ...]) -> tuple[Array, Array]:
    """The largest of some numbers, and their sum."""
    stacked = jnp.stack(numbers)
    return jnp.max(stacked), jnp.sum(stacked)


@quick_program
def _over(number: Array, mass: Array) -> Array:
    return number / mass


@quick_program
def _joined(pieces: list[Fields]) -> Fields:
    return Fields(
        jnp.concatenate([piece.forward for piece in pieces]), jnp.concatenate([piece.backward for piece in pieces])
    )


@quick_program
def _log_density(density: Array) -> Array:
    return log_of(density)


@quick_program
def _densities(fields: Fields) -> Array:
    return exp_of(product(fields.forward, fields.backward))


def _fields(kernel: Kernel, first: Array, last: Array, times: Array, state: State) -> tuple[Ends, Fields]:
    """Both waves at the two ends, where one of each is a potential, and at the times between."""
    if kernel.static:
        return _fields_by_program(kernel, first, last, times, state)
    return _both_waves(kernel, first, last, times, state)


@shape_program
def _fields_by_program(kernel: Kernel, first: Array, last: Array, times: Array, state: State) -> Any:
    return _both_waves(kernel, first, last, times, state)


def _both_waves(kernel: Kernel, first: Array, last: Array, times: Array, state: State) -> tuple[Ends, Fields]:
    all_times = jnp.concatenate([first[None], times, last[None]])
    forward, backward = to_all(kernel, (first, last), all_times, state.start, state.end)
    # At the ends the potentials are known as they are.
    at_start, at_end = (jnp.reshape(all_times == t, (-1, *[1] * state.start.ndim)) for t in (first, last))
    forward = jnp.where(at_start, state.start, forward)
    backward = jnp.where(at_end, state.end, backward)
    ends = Ends(forward[jnp.array([0, -1])], backward[jnp.array([0, -1])])
    return ends, Fields(forward[1:-1], backward[1:-1])


@quick_program
def _numbers(grid: Grid, densities: tuple[Array, Array], fields: Ends, amplitudes: tuple[Array, Array]) -> Any:
    """KL(P | R) of one part, and the parts of both marginals that are not reached from the other above rounding."""
    mass = grid.integrate(densities[0])
    total = jnp.zeros_like(mass)
    missing = []
    signs = (-1, 1)
    reached = (fields.backward[0], fields.forward[1])
    for sign, density, logs, amplitude, other in zip(
        signs, densities, fields.backward, amplitudes, reached, strict=True
    ):
        known = ~is_empty(logs) & (density > 0)
        integrand = jnp.where(known, density * (jnp.where(known, logs, 0) - amplitude), 0)
        total = total + sign * grid.integrate(integrand)
        missing.append(grid.integrate(jnp.where(is_empty(other), density, 0)) / mass)
    return total / mass, *missing


def _check_reached(request: Request, ends: tuple[Marginal, Marginal], fields: Ends, missing: list[Array]) -> None:
    """Raise `ValueError` where a marginal has mass beyond the reach of the reference, and say where."""
    if not is_concrete(missing):
        return
    for marginal, other, logs, part in zip(
        ends, ends[::-1], (fields.backward[0], fields.forward[1]), missing, strict=True
    ):
        if not float(part) > CONSTANTS.largest_unreached:
            continue
        lost = np.where(np.asarray(logs) < EMPTY / 2, np.asarray(marginal.density), 0)
        index = np.unravel_index(int(np.argmax(lost)), request.grid.shape)
        x = tuple(round(float(a.nodes[k]), 6) for a, k in zip(request.grid.axes, index, strict=True))
        allowed = f"a part {float(part):.2g} of its mass is not reached from {other.name} by the reference"
        cure = "Give densities where the reference process goes, a longer total, or a larger diffusion."
        raise_value_error(f"{marginal.name} at x", x, allowed, cure)


def _amplitude(equation: FokkerPlanck, grid: Grid, t: float, dtype: Any) -> Array:
    """log sqrt(pi_t) without its norm."""
    if equation.potential is None:
        return as_array(np.zeros(grid.shape), dtype)
    return _sampled_amplitude(equation, grid, as_array(t)).astype(dtype)


@sampling_program
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
