"""A bridge on one grid: potentials by Sinkhorn's iteration, and from them all fields at
the output times.

    p = f f^,      drift = -grad U + 2 D grad log(f / sqrt(pi)) = 2 D grad log f

    KL(P | R) = int rho_T log(f_T / sqrt(pi_T)) - int rho_0 log(f_0 / sqrt(pi_0)),      R the reference from rho_0

Densities at more than two times divide the bridge into several: given the density at a
time, what is before is independent of what is after.
"""

import dataclasses
import itertools
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import quick_program, sampling_program, shape_program
from ..core.types import AnyArray, DType
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .kernel import Kernel, MovingKernel, SplitKernel, to_all
from .logarithm import EMPTY, exp_of, is_empty, log_of, product
from .reference import Reference, log_amplitude, reference_on, wave_reference
from .request import Marginal, Request
from .sinkhorn import Ends, Marginals, State, contraction, iterate
from .stencil import differentiation

Number = TypeVar("Number", float, Array)


class Fields(NamedTuple):
    """log f^ and log f at the output times, `(T, *shape)` each."""

    forward: Array
    backward: Array


@dataclasses.dataclass(frozen=True)
class Answer:
    """A bridge on one grid. `states` and `rates` belong to its parts, one between each
    density and the next.

    - `fields` `(T, *shape)`; `mass` of all densities, in units of the cells
    - `unknown` the largest part of a marginal at places where a wave is unknown
    - `cost` the relative entropy to the reference; `step_error` of the densities and
      `cost_step_error`, of steps in time; `mismatch` int |p - rho| at the ends of all
      parts, relative
    """

    request: Request
    reference: Reference
    fields: Fields
    mass: Array
    states: tuple[State, ...]
    rates: tuple[Array, ...]
    cost: Array
    unknown: Array
    mismatch: Array
    step_error: Array | float = 0.0
    cost_step_error: float = 0.0

    @property
    def values(self) -> Array:
        """The densities f f^, `(T, *shape)`."""
        return _densities(self.fields)

    @property
    def remaining(self) -> Array:
        """What is left of all iterations, relative to the mass."""
        return _over(
            _largest_sum(tuple(state.remaining for state in self.states))[1], self.mass
        )

    @property
    def inconsistency(self) -> Array:
        """How far the result is from a bridge, as far as it shows: the iteration, the
        ends and the unknown tails.
        """
        return _largest_sum((self.remaining, self.mismatch, self.unknown))[1]

    @property
    def residual(self) -> Array:
        """The largest residual of a part, relative to the mass."""
        return _over(
            _largest_sum(tuple(state.residual for state in self.states))[0], self.mass
        )

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
    moments = [marginal.time for marginal in request.marginals]
    reference = reference_on(
        request.equation,
        request.grid,
        request.dtype,
        request.tol,
        list(np.diff(moments)),
    )
    kernel = reference.kernel
    if isinstance(kernel, MovingKernel):
        # Both waves of a density are those of a run.
        return dataclasses.replace(
            _solve(request, reference, measure), step_error=2 * kernel.tol
        )
    if not isinstance(kernel, SplitKernel):
        return _solve(request, reference, measure)
    levels = []
    for parts in (1, 2, 4):
        finer = dataclasses.replace(kernel, parts=as_array(parts, int))
        levels.append(_solve(request, reference._replace(kernel=finer), measure))
    answer = _extrapolated(levels)
    if float(answer.step_error) <= CONSTANTS.largest_split_error:
        return answer
    other = _solve(
        request, wave_reference(request.equation, request.grid, request.dtype), measure
    )
    return other if float(other.inconsistency) < float(answer.step_error) else answer


def _extrapolated(levels: list[Answer]) -> Answer:
    """The bridge for steps of no length, from three solutions with steps h, h/2 and
    h/4, whose errors are even in h.
    """
    finest = levels[-1]
    parts = np.searchsorted(
        [m.time for m in finest.request.marginals[1:-1]],
        finest.request.times,
        side="right",
    )
    fields, apart = _extrapolated_fields(
        finest.request.grid.in_cells,
        tuple(level.fields for level in levels),
        as_array(parts, int),
        len(finest.states),
    )
    numbers = [(level.cost, *level.rates) for level in levels]
    cost, *rates = (
        _extrapolated_number(*map(float, same)) for same in zip(*numbers, strict=True)
    )
    step_error = _over(apart, finest.mass)
    dtype = finest.cost.dtype
    return dataclasses.replace(
        finest,
        fields=fields,
        cost=as_array(cost, dtype),
        rates=tuple(as_array(rate, dtype) for rate in rates),
        step_error=step_error,
        cost_step_error=abs(float(finest.cost) - float(levels[1].cost)),
    )


def _extrapolated_number(first: float, second: float, third: float) -> float:
    """From steps h, h/2 and h/4, as far as these approach each other."""
    before, last = abs(second - first), abs(third - second)
    # What is not smooth in h, as in tails that the steps do not resolve, is not
    # extrapolated.
    largest = CONSTANTS.same_logarithm * abs(third)
    if not last < min(before, largest):
        return third
    return (
        _richardson((first, second, third))
        if before < largest
        else (4 * third - second) / 3
    )


def _richardson(values: tuple[Number, Number, Number]) -> Number:
    """From errors h^2 and h^4 with h, h/2, h/4."""
    first, second, third = values
    return (first - 20 * second + 64 * third) / 45


@quick_program
def _extrapolated_fields(
    grid: Grid, levels: tuple[Fields, ...], parts: Array, count: int
) -> tuple[Fields, Array]:
    """Both waves, and the largest difference of the densities of the last two
    extrapolations. `parts` `(T,)` are the parts of the bridge that the times belong to.
    """
    # A factor between both waves is free in each part. It is chosen so that on average
    # they are equal.
    scaled = []
    for fields in levels:
        known = ~(is_empty(fields.forward) | is_empty(fields.backward))
        density = jnp.where(known, exp_of(product(fields.forward, fields.backward)), 0)
        excess = (
            grid.integrate(
                density * jnp.where(known, fields.forward - fields.backward, 0)
            )
            / 2
        )
        of_part = jax.ops.segment_sum(excess, parts, count)
        times_of_part = jax.ops.segment_sum(jnp.ones_like(excess), parts, count)
        shift = of_part / jnp.maximum(times_of_part, 1) / grid.integrate(density[0])
        shift = shift[parts].reshape(-1, *[1] * grid.ndim)
        scaled.append(
            Fields(product(fields.forward, -shift), product(fields.backward, shift))
        )
    waves = []
    rougher = []
    for first, second, third in zip(*scaled, strict=True):
        from_three = _richardson((first, second, third))
        from_two = (4 * third - second) / 3
        # In tails that long steps do not resolve, the first levels are far away, and
        # are left out.
        two = jnp.abs(third - second) < CONSTANTS.same_logarithm
        three = two & (jnp.abs(second - first) < 4 * CONSTANTS.same_logarithm)
        waves.append(jnp.where(three, from_three, jnp.where(two, from_two, third)))
        rougher.append(jnp.where(three, from_two, jnp.where(two, third, second)))
    apart = exp_of(product(*waves)) - exp_of(product(*rougher))
    return Fields(*waves), jnp.max(grid.integrate(jnp.abs(apart)))


def _solve(request: Request, reference: Reference, measure: bool) -> Answer:
    """The bridge with a kernel. Integrals are sums over cells: all of them are divided
    by another one.
    """
    grid, dtype = request.grid.in_cells, request.dtype
    kernel = reference.kernel
    mass = _integral(grid, request.marginals[0].density)
    tol = mass * np.asarray(CONSTANTS.sweep_tol_fraction * request.tol, dtype)
    pieces = []
    states = []
    rates = []
    costs = []
    missing = []
    mismatches = []
    for before, after in itertools.pairwise(request.marginals):
        first, last = as_array(before.time, dtype), as_array(after.time, dtype)
        marginals = Marginals(_log_density(before.density), _log_density(after.density))
        state = iterate(kernel, first, last, marginals, grid, tol)
        # A time at which a density is given belongs to the part that begins there.
        is_last = after is request.marginals[-1]
        chosen = (request.times >= before.time) & (
            (request.times < after.time) | is_last
        )
        at_ends, fields = _fields(
            kernel, first, last, as_array(request.times[chosen], dtype), state
        )
        amplitudes = [
            _amplitude(request.equation, request.grid, marginal.time, dtype)
            for marginal in (before, after)
        ]
        densities = (before.density, after.density)
        cost, apart, *parts = _numbers(grid, densities, at_ends, tuple(amplitudes))
        _check_reached(request, (before, after), at_ends, parts)
        pieces.append(fields)
        states.append(state)
        costs.append(cost)
        missing += parts
        mismatches.append(apart)
        rates.append(
            contraction(kernel, first, last, at_ends, grid)
            if measure
            else as_array(np.nan, dtype)
        )
    joined = pieces[0] if len(pieces) == 1 else _joined(pieces)
    cost, unknown = _largest_sum(tuple(costs))[1], _largest_sum(tuple(missing))[0]
    mismatch = _largest_sum(tuple(mismatches))[1]
    return Answer(
        request,
        reference,
        joined,
        mass,
        tuple(states),
        tuple(rates),
        cost,
        unknown,
        mismatch,
    )


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
        jnp.concatenate([piece.forward for piece in pieces]),
        jnp.concatenate([piece.backward for piece in pieces]),
    )


@quick_program
def _log_density(density: Array) -> Array:
    return log_of(density)


@quick_program
def _densities(fields: Fields) -> Array:
    return exp_of(product(fields.forward, fields.backward))


def _fields(
    kernel: Kernel, first: Array, last: Array, times: Array, state: State
) -> tuple[Ends, Fields]:
    """Both waves at the two ends, where one of each is a potential, and at the times
    between.
    """
    if kernel.static:
        return _fields_by_program(kernel, first, last, times, state)
    return _both_waves(kernel, first, last, times, state)


@shape_program
def _fields_by_program(
    kernel: Kernel, first: Array, last: Array, times: Array, state: State
) -> tuple[Ends, Fields]:
    return _both_waves(kernel, first, last, times, state)


def _both_waves(
    kernel: Kernel, first: Array, last: Array, times: Array, state: State
) -> tuple[Ends, Fields]:
    all_times = jnp.concatenate([first[None], times, last[None]])
    forward, backward = to_all(kernel, (first, last), all_times, state.start, state.end)
    # At the ends the potentials are known as they are.
    at_start, at_end = (
        jnp.reshape(all_times == t, (-1, *[1] * state.start.ndim))
        for t in (first, last)
    )
    forward = jnp.where(at_start, state.start, forward)
    backward = jnp.where(at_end, state.end, backward)
    ends = Ends(forward[jnp.array([0, -1])], backward[jnp.array([0, -1])])
    return ends, Fields(forward[1:-1], backward[1:-1])


@quick_program
def _numbers(
    grid: Grid,
    densities: tuple[Array, Array],
    fields: Ends,
    amplitudes: tuple[Array, ...],
) -> tuple[Array, ...]:
    """KL(P | R) of one part, how far it is from both marginals, and the parts of both
    that are not reached from the other above rounding.
    """
    mass = grid.integrate(densities[0])
    total = jnp.zeros_like(mass)
    apart = jnp.zeros_like(mass)
    missing = []
    signs = (-1, 1)
    reached = (fields.backward[0], fields.forward[1])
    for k, (sign, density, amplitude, other) in enumerate(
        zip(signs, densities, amplitudes, reached, strict=True)
    ):
        logs = fields.backward[k]
        found = exp_of(product(fields.forward[k], logs))
        apart = (
            apart
            + grid.integrate(jnp.where(is_empty(other), 0, jnp.abs(found - density)))
            / mass
        )
        known = ~is_empty(logs) & (density > 0)
        integrand = jnp.where(
            known, density * (jnp.where(known, logs, 0) - amplitude), 0
        )
        total = total + sign * grid.integrate(integrand)
        missing.append(grid.integrate(jnp.where(is_empty(other), density, 0)) / mass)
    return total / mass, apart, *missing


def _check_reached(
    request: Request,
    ends: tuple[Marginal, Marginal],
    fields: Ends,
    missing: list[Array],
) -> None:
    """Raise `ValueError` where a marginal has mass beyond the reach of the reference,
    and say where.
    """
    if not is_concrete(missing):
        return
    for marginal, other, logs, part in zip(
        ends, ends[::-1], (fields.backward[0], fields.forward[1]), missing, strict=True
    ):
        if not float(part) > CONSTANTS.largest_unreached:
            continue
        lost = np.where(np.asarray(logs) < EMPTY / 2, np.asarray(marginal.density), 0)
        index = np.unravel_index(int(np.argmax(lost)), request.grid.shape)
        x = tuple(
            round(float(a.nodes[k]), 6)
            for a, k in zip(request.grid.axes, index, strict=True)
        )
        allowed = (
            f"a part {float(part):.2g} of its mass is not reached from {other.name} by "
            "the reference"
        )
        cure = (
            "Give densities where the reference process goes, a longer total, or a "
            "larger diffusion."
        )
        raise_value_error(f"{marginal.name} at x", x, allowed, cure)


def _amplitude(equation: FokkerPlanck, grid: Grid, t: float, dtype: DType) -> Array:
    """log sqrt(pi_t) without its norm."""
    if equation.potential is None:
        return as_array(np.zeros(grid.shape), dtype)
    return _sampled_amplitude(equation, grid, as_array(t)).astype(dtype)


@sampling_program
def _sampled_amplitude(equation: FokkerPlanck, grid: Grid, t: Array) -> Array:
    return log_amplitude(equation, grid, t)


def drift(request: Request, fields: Fields) -> Array:
    """2 D grad log f `(T, *shape, d)`; NaN where f is unknown."""
    matrices = tuple(
        differentiation(axis, CONSTANTS.difference_nodes) for axis in request.grid.axes
    )
    diffusion = jnp.broadcast_to(request.equation.diffusion, request.grid.ndim)
    return _drift(fields.backward, matrices, diffusion)


@quick_program
def _drift(logs: Array, matrices: tuple[AnyArray, ...], diffusion: Array) -> Array:
    unknown = is_empty(logs)
    # Differences of numbers as low as the logarithm of nothing would spoil those of the
    # neighbours.
    logs = jnp.where(unknown, jnp.nan, logs)
    parts = []
    for i, matrix in enumerate(matrices):
        matrix = jnp.asarray(matrix, logs.dtype)
        slope = matmul_along_axis(i, matrix, jnp.nan_to_num(logs), len(matrices))
        reaches = (
            matmul_along_axis(
                i, jnp.abs(matrix), unknown.astype(logs.dtype), len(matrices)
            )
            > 0
        )
        parts.append(
            2
            * diffusion[i].astype(logs.dtype)
            * jnp.where(reaches | unknown, jnp.nan, slope)
        )
    return jnp.stack(parts, axis=-1)
