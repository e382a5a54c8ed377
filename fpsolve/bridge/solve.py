"""A bridge on one grid: potentials by Sinkhorn's iteration, and from them all fields at
the output times.

    p = f f^,      drift = -grad U + 2 D grad log(f / sqrt(pi)) = 2 D grad log f

    KL(P | R) = int rho_T log(f_T / sqrt(pi_T)) - int rho_0 log(f_0 / sqrt(pi_0)),
    R the reference from rho_0

Densities at more than two times divide the bridge into several: given the density at a
time, what is before is independent of what is after.
"""

import dataclasses
import itertools

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
from .answer import Answer, Fields, largest_sum
from .constants import CONSTANTS
from .kernel import Kernel, MovingKernel, SplitKernel, to_all
from .logarithm import exp_of, is_empty, log_of, product
from .reference import Reference, log_amplitude, reference_on, wave_reference
from .request import Marginal, Request
from .sinkhorn import Ends, Marginals, State, contraction, iterate
from .stencil import differentiation
from .strang_extrapolation import extrapolated


def solve_on(request: Request, measure: bool = True) -> Answer:
    """The bridge of a request; without `measure` no rates."""
    equation = request.equation
    grid = request.grid
    dtype = request.dtype
    times = [marginal.time for marginal in request.marginals]
    intervals: list[float] = list(np.diff(times))
    reference = reference_on(equation, grid, dtype, request.tol, intervals)
    kernel = reference.kernel
    if isinstance(kernel, MovingKernel):
        # Both waves of a density are those of a run.
        answer = _solve(request, reference, measure)
        return dataclasses.replace(answer, step_error=2 * kernel.tol)
    if not isinstance(kernel, SplitKernel):
        return _solve(request, reference, measure)
    levels = []
    for parts in (1, 2, 4):
        finer = dataclasses.replace(kernel, parts=as_array(parts, int))
        levels.append(_solve(request, reference._replace(kernel=finer), measure))
    answer = extrapolated(levels)
    if float(answer.step_error) <= CONSTANTS.largest_split_error:
        return answer
    # A strong coupling takes more steps than are allowed: Chebyshev's expansion has
    # none, but loses what is below rounding.
    other = _solve(request, wave_reference(equation, grid, dtype), measure)
    return other if float(other.inconsistency) < float(answer.step_error) else answer


def _solve(request: Request, reference: Reference, measure: bool) -> Answer:
    """The bridge with a kernel. Integrals are sums over cells: only ratios count."""
    grid = request.grid.in_cells
    dtype = request.dtype
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
        is_before_end = (request.times < after.time) | is_last
        chosen = (request.times >= before.time) & is_before_end
        times = as_array(request.times[chosen], dtype)
        at_ends, fields = _fields(kernel, first, last, times, state)
        amplitudes = tuple(
            _amplitude(request.equation, request.grid, marginal.time, dtype)
            for marginal in (before, after)
        )
        densities = (before.density, after.density)
        cost, apart, *parts = _numbers(grid, densities, at_ends, amplitudes)
        _check_reached(request, (before, after), at_ends, parts)
        rate = as_array(np.nan, dtype)
        if measure:
            rate = contraction(kernel, first, last, at_ends, grid)
        pieces.append(fields)
        states.append(state)
        costs.append(cost)
        missing += parts
        mismatches.append(apart)
        rates.append(rate)
    return Answer(
        request=request,
        reference=reference,
        fields=pieces[0] if len(pieces) == 1 else _joined(pieces),
        mass=mass,
        states=tuple(states),
        rates=tuple(rates),
        cost=largest_sum(tuple(costs))[1],
        unknown=largest_sum(tuple(missing))[0],
        mismatch=largest_sum(tuple(mismatches))[1],
    )


@quick_program
def _integral(grid: Grid, density: Array) -> Array:
    return grid.integrate(density)


@quick_program
def _joined(pieces: list[Fields]) -> Fields:
    return Fields(
        jnp.concatenate([piece.forward for piece in pieces]),
        jnp.concatenate([piece.backward for piece in pieces]),
    )


@quick_program
def _log_density(density: Array) -> Array:
    return log_of(density)


def _fields(
    kernel: Kernel, first: Array, last: Array, times: Array, state: State
) -> tuple[Ends, Fields]:
    """Both waves at the ends, where one of each is a potential, and at the times."""
    # One program where it can be one: a run of `fp.evolve` cannot be traced.
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
    shape = (-1, *[1] * state.start.ndim)
    at_start = jnp.reshape(all_times == first, shape)
    at_end = jnp.reshape(all_times == last, shape)
    forward = jnp.where(at_start, state.start, forward)
    backward = jnp.where(at_end, state.end, backward)
    first_and_last = jnp.array([0, -1])
    ends = Ends(forward[first_and_last], backward[first_and_last])
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
    # At each end, the wave that came from the other one.
    arrived = (fields.backward[0], fields.forward[1])
    ends = zip(signs, densities, amplitudes, arrived, strict=True)
    for k, (sign, density, amplitude, other) in enumerate(ends):
        logs = fields.backward[k]
        found = exp_of(product(fields.forward[k], logs))
        difference = jnp.where(is_empty(other), 0, jnp.abs(found - density))
        apart = apart + grid.integrate(difference) / mass
        # 0 log 0 = 0; the logarithm of an empty wave only stands for that of zero.
        known = ~is_empty(logs) & (density > 0)
        log_ratio = jnp.where(known, logs, 0) - amplitude
        integrand = jnp.where(known, density * log_ratio, 0)
        total = total + sign * grid.integrate(integrand)
        unreached = jnp.where(is_empty(other), density, 0)
        missing.append(grid.integrate(unreached) / mass)
    return total / mass, apart, *missing


def _check_reached(
    request: Request,
    ends: tuple[Marginal, Marginal],
    fields: Ends,
    missing: list[Array],
) -> None:
    """Raise `ValueError` where the reference does not reach a marginal."""
    if not is_concrete(missing):
        return
    grid = request.grid
    arrived = (fields.backward[0], fields.forward[1])
    both = zip(ends, ends[::-1], arrived, missing, strict=True)
    for marginal, other, logs, part in both:
        if not float(part) > CONSTANTS.largest_unreached:
            continue
        # Where the most mass is not reached.
        is_lost = np.asarray(is_empty(logs))
        lost = np.where(is_lost, np.asarray(marginal.density), 0)
        index = np.unravel_index(int(np.argmax(lost)), grid.shape)
        nodes = [float(a.nodes[k]) for a, k in zip(grid.axes, index, strict=True)]
        x = tuple(round(node, 6) for node in nodes)
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
    dtype = logs.dtype
    ndim = len(matrices)
    parts = []
    for i, matrix in enumerate(matrices):
        matrix = jnp.asarray(matrix, dtype)
        # NaN in one place would be NaN in the whole line of a product.
        slope = matmul_along_axis(i, matrix, jnp.nan_to_num(logs), ndim)
        weight = matmul_along_axis(i, jnp.abs(matrix), unknown.astype(dtype), ndim)
        is_unknown = (weight > 0) | unknown
        known_slope = jnp.where(is_unknown, jnp.nan, slope)
        parts.append(2 * diffusion[i].astype(dtype) * known_slope)
    return jnp.stack(parts, axis=-1)
