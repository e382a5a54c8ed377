"""`fp.Dense`: the exponential of the whole matrix, for small grids: the reference of
all other methods.

symmetric H = Q diag(E) Q^T:   exp(-s e^{iw} H) = Q diag(exp(-s e^{iw} E)) Q^T
otherwise:                     exp(sL) by scaling and squaring (`jax.scipy.linalg.expm`)

An eigenvalue of H errs by eps |H|, which a long time s multiplies: beyond s = 1 / (eps
|H|) nothing is left of a slow mode. With H = A^T A a small level is the square of a
singular value of A, which errs by eps |A|: 2 eps sqrt(E |H|) for the level, so that
slow relaxation over a barrier keeps its digits.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import machine
from ..core.memory import check_memory
from ..operator import Operator
from ..operator.aliasing import aliasing_error, short_wave_damping
from ..operator.amplitudes import amplitudes
from ..operator.base import dense, has_stationary_state
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..operator.tensor import Factor, TensorOperator
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    in_turn,
    node_weights,
    sizes,
    split_stationary,
)
from .constants import CONSTANTS
from .symmetric_exponential import symmetric_exponential


class _Symmetric(eqx.Module):
    """A symmetric problem.

    - `matrix` `(n, n)`: H in the orthonormal basis sqrt(w) u
    - `factor` `(faces, n)`: A of H = A^T A in this basis, or None where it is not known
    - `scale` `(n,)`: field = scale * vector; sqrt(pi / w) for densities, 1 / sqrt(w)
      for waves
    """

    operator: Operator
    matrix: Array
    factor: Array | None
    scale: Array
    picture: Picture = eqx.field(static=True)


class _General(eqx.Module):
    """A problem whose generator is not symmetric: its `matrix` `(n, n)`, and the
    `weights` of the nodes `(*shape)`.
    """

    matrix: Array
    weights: Array


class _Relaxing(eqx.Module):
    """A reversible problem whose start is too wide for its wave: the `density` is
    evolved until it has narrowed, then its `wave`; `diffusion` `(d,)` is the least
    along each axis.
    """

    density: _General
    wave: _Symmetric
    diffusion: Array


class Dense(Propagator):
    """exp of the full matrix, by eigendecomposition (symmetric) or scaling and squaring
    (any drift).

    **Cost**: size^3 operations and size^2 numbers, once for a symmetric operator, once
    a step otherwise. **Raises**: `ValueError` if the matrix would not fit in memory.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Legendre(0.0, 1.0, 24))
    equation = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
    solution = fp.evolve(equation, lambda x: 1.0, [0.1], grid=grid, method=fp.Dense())
    ```
    """

    def check_size(self, size: int) -> None:
        """Raise `ValueError` for so many points that the matrix would not fit in
        memory.
        """
        check_memory(
            "Dense on a grid",
            (size, size),
            4,
            "Use fp.Chebyshev() or fp.Uniformization(): no matrix.",
        )

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """Nothing. **Raises** `ValueError` for a grid whose matrix would not fit in
        memory.
        """
        self.check_size(kind.grid.size)
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """One decomposition of a symmetric matrix, or an exponential for each time of
        one that is not.
        """
        # In float32 an eigendecomposition loses half of the digits of a wave's tails.
        if jnp.finfo(kind.dtype).bits == 32:
            return math.inf
        # A symmetric matrix is decomposed once for all output times.
        size = kind.grid.size
        if kind.symmetric:
            row, cube = machine().decomposition
            return row * size + cube * size**3
        return (
            CONSTANTS.exponential_products
            * machine().operation
            * size**3
            * max(work.times, 1)
        )

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, positivity to its error."""
        return Keeps("rounding", "error", "rounding", "rounding", "tol", "1")

    def prepare(
        self, operator: Operator, picture: Picture
    ) -> _Symmetric | _General | _Relaxing:
        """The matrix, or those of both forms of a process."""
        grid = operator.grid
        self.check_size(grid.size)
        weights = node_weights(operator)
        dtype = weights.dtype
        log_sqrt_pi = operator.log_sqrt_pi
        if picture == Picture.DENSITY and log_sqrt_pi is None:
            general = _General(dense(operator.generator, grid, dtype), weights)
            if not isinstance(operator, TensorOperator) or operator.counterpart is None:
                return general
            # The wave has the factors of the density beside its exact potential term.
            wave = _symmetric(
                dataclasses.replace(operator.counterpart, counterpart=operator),
                Picture.GIBBS_WAVE,
            )
            diffusion = [
                jnp.min(term.diffusion)
                for term in operator.terms
                if isinstance(term, Factor)
            ]
            return _Relaxing(general, wave, jnp.stack(diffusion))
        return _symmetric(operator, picture)

    def apply(
        self,
        prepared: _Symmetric | _General | _Relaxing,
        field: Array,
        lengths: Array,
        tol: Array,
        wick: float,
    ) -> Step:
        """Every length from one decomposition, or from one exponential each."""
        if isinstance(prepared, _General):
            return _by_exponentials(prepared, field, lengths)
        if isinstance(prepared, _Relaxing):
            return _by_relaxation(prepared, field, lengths, tol)
        return _by_decomposition(prepared, field, lengths, wick)


def _by_exponentials(prepared: _General, field: Array, lengths: Array) -> Step:
    """One exponential of the matrix for each length, from the one before."""
    epsilon = jnp.finfo(field.real.dtype).eps
    calls = jnp.asarray(field.size, field.real.dtype)

    def step(u: Array, length: Array) -> Step:
        # 64 squarings are enough for any length in float64.
        exponential = jax.scipy.linalg.expm(length * prepared.matrix, max_squarings=64)
        # Scaling and squaring loses digits in proportion to the norm of the matrix.
        norm = jnp.maximum(
            1, length * jnp.max(jnp.sum(jnp.abs(prepared.matrix), axis=0))
        )
        after = (exponential @ u.ravel()).reshape(u.shape)
        # No process makes int |p| dx grow. A basis that does not resolve the drift may,
        # without bound in a long time.
        growth = (
            jnp.sum(prepared.weights * jnp.abs(after))
            / jnp.sum(prepared.weights * jnp.abs(u))
            - 1
        )
        unstable = jnp.where(growth > CONSTANTS.unstable_growth, growth, 0)
        return Step(after, calls, epsilon * norm + unstable)

    return in_turn(step, field, lengths)


def _symmetric(operator: Operator, picture: Picture) -> _Symmetric:
    """H in the orthonormal basis, with its factor where that is known."""
    sqrt_weights = jnp.sqrt(node_weights(operator)).ravel()
    log_sqrt_pi = operator.log_sqrt_pi
    matrix = (
        sqrt_weights[:, None]
        * dense(operator.hamiltonian, operator.grid, sqrt_weights.dtype)
        / sqrt_weights
    )
    if log_sqrt_pi is None or picture != Picture.DENSITY:
        scale = 1 / sqrt_weights
    else:
        scale = jnp.exp(log_sqrt_pi).ravel() / sqrt_weights
    return _Symmetric(
        operator,
        (matrix + matrix.T) / 2,
        _factor(operator, sqrt_weights),
        scale,
        picture,
    )


class _Relaxed(NamedTuple):
    """The search for the time at which a wave takes the place of a density: exp(`time`
    L) as `exponential`; the best time so far, its wave `(*shape)` and its error.
    """

    time: Array
    exponential: Array
    best_time: Array
    wave: Array
    error: Array


def _by_relaxation(
    prepared: _Relaxing, field: Array, lengths: Array, tol: Array
) -> Step:
    """The density up to a time, and its wave from there on."""
    found = _confirmed(
        prepared, field, lengths, tol, _relax(prepared, field, lengths, tol)
    )
    early = lengths <= found.best_time
    as_density = _by_exponentials(
        prepared.density, field, jnp.minimum(lengths, found.best_time)
    )
    later = jnp.where(
        early, 0, lengths - jnp.where(jnp.isfinite(found.best_time), found.best_time, 0)
    )
    as_wave = _by_decomposition(prepared.wave, found.wave, later, 0.0)
    log_sqrt_pi = prepared.wave.operator.log_sqrt_pi
    assert log_sqrt_pi is not None, "a reversible process has a Gibbs density"
    each = early.reshape(-1, *[1] * field.ndim)
    return Step(
        jnp.where(each, as_density.field, as_wave.field * jnp.exp(log_sqrt_pi)),
        as_density.calls + as_wave.calls,
        jnp.where(early, as_density.error, found.error + as_wave.error),
    )


def _confirmed(
    prepared: _Relaxing, field: Array, lengths: Array, tol: Array, found: _Relaxed
) -> _Relaxed:
    """The same with what the wave and the density differ by at later times, in L1; with
    an infinite time where this is more than the error that either is known to have.

    Short waves of a tall wave are mixed with long ones before they are damped, which no
    measure of the wave shows. They are damped at one of the later times.
    """
    log_sqrt_pi, weights = (
        prepared.wave.operator.log_sqrt_pi,
        node_weights(prepared.wave.operator),
    )
    assert log_sqrt_pi is not None, "a reversible process has a Gibbs density"
    time = jnp.where(jnp.isfinite(found.best_time), found.best_time, 0)
    later = jnp.asarray(CONSTANTS.compared_times, time.dtype)
    density = _by_exponentials(prepared.density, field, later * time).field
    wave = _by_decomposition(prepared.wave, found.wave, (later - 1) * time, 0.0).field
    size = jnp.sum(weights * jnp.abs(field))
    axes = tuple(range(1, 1 + field.ndim))
    difference = (
        jnp.min(jnp.sum(weights * jnp.abs(density - wave * jnp.exp(log_sqrt_pi)), axes))
        / size
    )
    # Written so that a difference that is not finite is no confirmation.
    confirmed = difference < jnp.maximum(
        found.error, _density_error(prepared, lengths, tol)
    )
    return found._replace(
        best_time=jnp.where(confirmed, found.best_time, jnp.inf),
        error=found.error + difference,
    )


def _density_error(prepared: _Relaxing, lengths: Array, tol: Array) -> Array:
    """The error of the density up to the last length, by rounding, beyond which a wave
    takes its place.
    """
    norm = jnp.max(jnp.sum(jnp.abs(prepared.density.matrix), axis=0))
    return (
        jnp.finfo(norm.dtype).eps * norm * lengths[-1]
        + CONSTANTS.density_over_wave * tol
    )


def _relax(prepared: _Relaxing, field: Array, lengths: Array, tol: Array) -> _Relaxed:
    """The time at which p / sqrt(pi) of the density that has narrowed errs least, by
    doubling; infinite where the density itself errs less up to the last length.

    Rounding of exp(tL) grows as eps |L| t; that of the wave is eps |psi|, and its
    levels keep their digits.
    """
    operator = prepared.wave.operator
    matrix, grid, log_sqrt_pi = (
        prepared.density.matrix,
        operator.grid,
        operator.log_sqrt_pi,
    )
    weights = node_weights(operator)
    epsilon = jnp.finfo(field.dtype).eps
    norm = jnp.max(jnp.sum(jnp.abs(matrix), axis=0))
    enough, last = CONSTANTS.relaxed_fraction * tol, lengths[-1]

    def unfinished(state: _Relaxed) -> Array:
        # Beyond the time at which rounding of the density alone is as large as the best
        # error, nothing is gained.
        worthwhile = (epsilon * norm * state.time < state.error) & (state.time < last)
        # A density that keeps its digits up to the last time is left alone.
        return worthwhile & (state.error > enough) & (epsilon * norm * last > enough)

    def double(state: _Relaxed) -> _Relaxed:
        density = (state.exponential @ field.ravel()).reshape(field.shape)
        wave = clip_tails(
            density, log_sqrt_pi, weights, tol * OPERATOR.clipping_tol_fraction
        )
        size = jnp.sqrt(jnp.sum(weights * wave**2))
        first = jnp.min(jnp.where(lengths > state.time, lengths, last)) - state.time
        damping = [
            short_wave_damping(prepared.diffusion[i], axis, first)
            for i, axis in enumerate(grid.axes)
        ]
        of_wave, of_density = aliasing_error(grid, wave, jnp.exp(log_sqrt_pi), damping)
        # What the density has of it is no error of the wave.
        aliasing = jnp.maximum(of_wave - OPERATOR.aliasing_excess * of_density, 0)
        error = epsilon * (norm * state.time + 8 * size) + aliasing
        # Written so that a wave that is not finite is no improvement.
        better = error < state.error
        return _Relaxed(
            2 * state.time,
            state.exponential @ state.exponential,
            jnp.where(better, state.time, state.best_time),
            jnp.where(better, wave, state.wave),
            jnp.where(better, error, state.error),
        )

    start = _Relaxed(
        1 / norm,
        jax.scipy.linalg.expm(matrix / norm),
        jnp.full((), jnp.inf, norm.dtype),
        jnp.zeros_like(field),
        _density_error(prepared, lengths, tol),
    )
    return jax.lax.while_loop(unfinished, double, start)


def _factor(operator: Operator, sqrt_weights: Array) -> Array | None:
    """A of H = A^T A `(faces, n)` in the orthonormal basis, where A is known and no
    potential term is beside it.
    """
    factored: Any = operator
    if isinstance(operator, TensorOperator) and not operator.is_factored:
        factored = operator.counterpart
    if factored is None or factored.potential_term is not None:
        return None
    identity = jnp.diag(1 / sqrt_weights).reshape(-1, *operator.grid.shape)
    return amplitudes(factored, identity).T


def _by_decomposition(
    prepared: _Symmetric, field: Array, lengths: Array, wick: float
) -> Step:
    """All lengths from the eigenvectors of H."""
    calls = jnp.asarray(field.size, field.real.dtype)
    stationary, rest = split_stationary(prepared.operator, prepared.picture, field)
    vector = rest.ravel()
    # Where sqrt(pi) underflows to 0, the density is 0 as well.
    wave = jnp.where(vector == 0, 0, vector / jnp.where(vector == 0, 1, prepared.scale))
    rotation = 1.0 if wick == 0 else jnp.exp(1j * wick)
    log_sqrt_pi = prepared.operator.log_sqrt_pi
    ground = None
    if log_sqrt_pi is not None and has_stationary_state(prepared.operator):
        ground = (
            jnp.exp(log_sqrt_pi).ravel()
            * jnp.sqrt(node_weights(prepared.operator)).ravel()
        )
    after, lost = symmetric_exponential(
        prepared.matrix, prepared.factor, ground, rotation * lengths, wave
    )
    rest = (prepared.scale * after).reshape(-1, *field.shape)
    # Rounding puts a little of the stationary part back into the rest.
    rest = jax.vmap(
        lambda u: split_stationary(prepared.operator, prepared.picture, u)[1]
    )(rest)
    # Without a stationary state the field itself decays: the error is relative to what
    # is left of it.
    if ground is None:
        left = sizes(prepared.operator, prepared.picture, rest)
        lost = jnp.where(left > 0, lost / jnp.where(left > 0, left, 1), lost)
    return Step(stationary + rest, calls, lost)
