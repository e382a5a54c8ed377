"""Steps of counterdiabatic transport: relaxation by H, and transport of sqrt(pi) by G.

    psi  <-  exp(-h H_1 / 2) U exp(-h H_0 / 2) psi,
    U = (1 + h G / 2)^-1 (1 - h G / 2)

G is that of a whole step (see `velocity`), whose flux takes pi_0 to pi_1 in the time h.
With m = sqrt(pi),

    h G (m_0 + m_1) / 2 = m_0 - m_1   <=>   U m_0 = m_1.

G is antisymmetric, so that U is orthogonal. Both parts keep sqrt(pi), mass and |psi|^2
where the continuum does, at any h. Equations and references are in `counterdiabatic`.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import long_program, quick_program
from ..core.types import AnyArray, DType, Scalar
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.clipping import clip_tails
from ..operator.flow_edges import FlowEdges
from ..propagate import Chebyshev, Picture, Rational
from .constants import CONSTANTS
from .gibbs import log_gibbs_at
from .velocity import Velocity, face_velocity


class DrivenProcess(eqx.Module):
    """The diffusion D along each axis `(d,)`, the strength of the counterdiabatic
    drift, and the grid.
    """

    diffusion: Array
    strength: Array
    grid: Grid = eqx.field(static=True)

    def operator(self, log_sqrt_pi: Array) -> EdgeOperator:
        """The finite-volume operator of the process with this log sqrt(pi) `(*shape)`,
        which determines it.
        """
        # Differences of log pi between neighbours are all that Scharfetter-Gummel rates
        # need.
        neighbors = (
            axis.face_neighbors(2 * log_sqrt_pi, i)
            for i, axis in enumerate(self.grid.axes)
        )
        slopes = tuple(above - below for below, above in neighbors)
        samples = Samples(tuple(self.diffusion), slopes, None, 2 * log_sqrt_pi)
        return ScharfetterGummel().assemble(samples, self.grid, log_sqrt_pi.dtype)

    def step_velocity(self, before: Array, after: Array, length: Array) -> Velocity:
        """The velocity that takes pi_0 to pi_1 in `length`, from both log sqrt(pi)."""
        # m = (m_0 + m_1) / 2 and a = 2 (m_1 - m_0) / (m length), from logarithms: m
        # itself underflows in the tails.
        middle = jnp.logaddexp(before, after) - jnp.log(2.0).astype(before.dtype)
        rate = 4 / length * jnp.tanh((after - before) / 2)
        faces = face_velocity(self.grid, middle, rate)
        return Velocity(FlowEdges(self.grid, faces, middle), rate)


class SampledProcess(NamedTuple):
    """A driven process whose log sqrt(pi) is sampled from its equation, by one program
    for any number of steps.
    """

    process: DrivenProcess
    equation: FokkerPlanck
    dtype: DType

    def log_sqrt_pis(self, start: float, length: float, count: int) -> np.ndarray:
        """log sqrt(pi) at the ends of `count` equal steps, padded with the last,
        `(max(counts) + 1, *shape)`.
        """
        # As many times for any number of steps, so that one program serves all.
        most = CONSTANTS.extrapolation_counts[-1]
        padded = np.minimum(np.arange(most + 1), count)
        times = start + length / count * padded
        log_gibbs = log_gibbs_at(self.equation, self.process.grid, times)
        return np.asarray(log_gibbs, self.dtype) / 2


class StepState(NamedTuple):
    """The state between two steps.

    - `wave` psi `(*shape)`; `calls` of the operator; the largest `residual` of G so far
    - `step_error`: the sum of the errors of the parts of the steps, in L1
    - `relaxed`: by how much exp(-h H) has changed the density in all steps, in L1
    """

    wave: Array
    calls: Array
    residual: Array
    step_error: Array
    relaxed: Array


@quick_program
def initial_wave(
    grid: Grid, field: Array, log_sqrt_pis: AnyArray, fraction: Scalar
) -> tuple[Array, Array]:
    """The wave at t = 0 with its tails clipped, and the relative change of the density
    by the clipping, in L1.
    """
    weights = grid.weights.astype(field.dtype)
    log_sqrt_pi = log_sqrt_pis[0]
    wave = clip_tails(field, log_sqrt_pi, weights, fraction)
    clipped = jnp.exp(log_sqrt_pi) * wave
    change = jnp.sum(weights * jnp.abs(clipped - field))
    return wave, change / jnp.sum(weights * field)


@long_program
def equal_steps(
    process: DrivenProcess,
    wave: Any,
    log_sqrt_pis: AnyArray,
    length: Any,
    count: AnyArray,
) -> StepState:
    """`count` equal steps over the time `length`. Adjacent halves of exp(-h H) are
    applied as one.
    """
    # `count` is traced: one program serves all rows of a table.
    h = length / count
    last_row = CONSTANTS.extrapolation_counts[-1]

    def relax_and_transport(k: Array, state: StepState) -> StepState:
        log_sqrt_pi = log_sqrt_pis[k]
        is_end = (k == 0) | (k == count)
        relax_time = jnp.where(is_end, h / 2, h)
        wave, calls, error = _relax(process, state.wave, log_sqrt_pi, relax_time)
        difference = jnp.exp(log_sqrt_pi) * jnp.abs(wave - state.wave)
        change = process.grid.integrate(difference)
        state = StepState(
            wave=wave,
            calls=state.calls + calls,
            residual=state.residual,
            step_error=state.step_error + error,
            relaxed=state.relaxed + change,
        )
        following = log_sqrt_pis[jnp.minimum(k + 1, last_row)]

        def transport(state: StepState) -> StepState:
            return _transport_step(process, state, log_sqrt_pi, following, h)

        # After the last half of exp(-h H) no transport follows.
        return jax.lax.cond(k < count, transport, lambda state: state, state)

    zero = jnp.zeros((), wave.dtype)
    start = StepState(
        wave=wave,
        calls=zero,
        residual=zero,
        step_error=zero,
        relaxed=zero,
    )
    return jax.lax.fori_loop(0, count + 1, relax_and_transport, start)


def _relax(
    process: DrivenProcess, wave: Array, log_sqrt_pi: Array, length: Array
) -> tuple[Array, Array, Array]:
    """exp(-h H_t) psi, its operator calls and its own error."""
    operator = process.operator(log_sqrt_pi)
    no_tol = jnp.zeros((), wave.dtype)  # to rounding
    if process.grid.ndim > 1:
        chebyshev = Chebyshev()
        prepared = chebyshev.prepare(operator, Picture.GIBBS_WAVE)
        result = chebyshev.apply(prepared, wave, length[None], no_tol, 0.0)
        return result.field[0], result.calls, result.error[0]
    # On one axis the rational approximation needs only tridiagonal solves, at a cost
    # that does not grow with h |H|.
    rational = Rational()
    prepared = rational.prepare(operator, Picture.DENSITY)
    density = jnp.exp(log_sqrt_pi) * wave
    result = rational.apply(prepared, density, length[None], no_tol, 0.0)
    relaxed = divide_by_sqrt_pi(result.field[0], log_sqrt_pi)
    return relaxed, result.calls, result.error[0]


def _transport_step(
    process: DrivenProcess, state: StepState, before: Array, after: Array, h: Array
) -> StepState:
    """U psi, from log sqrt(pi) at both ends of the step."""
    velocity = process.step_velocity(before, after, h)
    # Without any drift p itself would stay, and psi become (m_0 / m_1) psi. At a
    # strength below 1 it is multiplied by (m_0 / m_1)^(1 - strength), one half before U
    # and one half after it.
    rescaling = jnp.exp((1 - process.strength) * (before - after) / 2)
    flow = velocity.operator
    m = jnp.exp(flow.log_sqrt_pi)
    wave = state.wave * rescaling
    # (1 + G)^-1 (1 - G) = 2 (1 + G)^-1 - 1, with one solve and no product.
    wave = 2 * _solve_half_step(flow, wave, process.strength * h / 2) - wave
    # By how much d_t m + G m differs from zero, as a density.
    defect = jnp.abs(velocity.rate * m + 2 * flow.wave(m))
    unbalanced = process.grid.integrate(m * defect)
    return StepState(
        wave=wave * rescaling,
        calls=state.calls + 1,
        residual=jnp.maximum(state.residual, velocity.residual),
        step_error=state.step_error + h * unbalanced,
        relaxed=state.relaxed,
    )


def _solve_half_step(flow: FlowEdges, wave: Array, h: Array) -> Array:
    """(1 + h G)^-1 psi."""
    if flow.grid.ndim > 1:
        return _solve_by_gradients(flow, wave, h)
    (axis,) = flow.grid.axes
    # On one axis 1 + h G is tridiagonal.
    links = h * flow.velocity[0] / (2 * float(axis.weights[0]))
    if axis.boundary == "no_flux":
        return _solve_tridiagonal(links, wave[:, None])[:, 0]
    # On a ring the last node is eliminated: a tridiagonal system with two right-hand
    # sides is left.
    others = wave[:-1]
    corner = jnp.zeros_like(others)
    # Its links to the first and to the last of the others.
    corner = corner.at[0].add(-links[-1])
    corner = corner.at[-1].add(links[-2])
    solutions = _solve_tridiagonal(links[:-2], jnp.stack([others, corner], 1))
    of_wave = solutions[:, 0]
    of_corner = solutions[:, 1]
    load = wave[-1] + jnp.sum(corner * of_wave)
    # K is antisymmetric, so that the pivot is at least 1.
    last = load / (1 + jnp.sum(corner * of_corner))
    return jnp.append(of_wave - last * of_corner, last)


def _solve_tridiagonal(links: Array, loads: Array) -> Array:
    """x with (1 + K) x = loads `(n, k)`; K is antisymmetric with `links` above its
    diagonal.
    """
    # The routine takes diagonals of full length.
    zero = jnp.zeros(1, links.dtype)
    lower = jnp.concatenate([zero, -links])
    upper = jnp.concatenate([links, zero])
    return jax.lax.linalg.tridiagonal_solve(lower, jnp.ones_like(upper), upper, loads)


def _solve_by_gradients(flow: FlowEdges, wave: Array, h: Array) -> Array:
    """(1 + h G)^-1 psi by conjugate gradients for (1 - (h G)^2) y = (1 - h G) psi.

    The matrix is symmetric, with eigenvalues of at least 1. Each solve is for the
    residual of the last one, of the equation (1 + h G) y = psi itself: conjugate
    gradients on the squared equation alone lose half of the digits.
    """
    apply_flow = lambda u: h * flow.wave(u)
    norm = jnp.linalg.norm

    # The diagonal of 1 - (h G)^2 as preconditioner.
    diagonal = jnp.ones_like(wave)
    for i, axis in enumerate(flow.grid.axes):
        links = h * flow.velocity[i] / (2 * float(axis.weights[0]))
        below, above = axis.node_faces(jnp.square(links), i)
        diagonal = diagonal + below + above

    def refine(
        state: tuple[Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array]:
        y, residual, _, k = state
        correction, _ = jax.scipy.sparse.linalg.cg(
            lambda u: u - apply_flow(apply_flow(u)),
            residual - apply_flow(residual),
            tol=CONSTANTS.refinement_tol,
            maxiter=CONSTANTS.refinement_iterations,
            M=lambda u: u / diagonal,
        )
        corrected = y + correction
        after = wave - corrected - apply_flow(corrected)
        # Near rounding a correction may do harm: the better one of the two is kept.
        better = norm(after) < norm(residual)
        gain = norm(after) / norm(residual)
        y = jnp.where(better, corrected, y)
        return y, jnp.where(better, after, residual), gain, k + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, residual, gain, k = state
        above_rounding = norm(residual) > 2 * jnp.finfo(wave.dtype).eps * norm(wave)
        still_gains = gain < CONSTANTS.min_refinement_gain
        return above_rounding & still_gains & (k < CONSTANTS.refinements)

    no_gain_yet = jnp.zeros((), wave.dtype)
    start = (jnp.zeros_like(wave), wave, no_gain_yet, jnp.zeros((), int))
    solution, *_ = jax.lax.while_loop(unfinished, refine, start)
    return solution
