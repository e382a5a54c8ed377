"""One collocation step of a moving wave, with two numbers of Gauss points at once.

    d_t psi = -e^{iw} (E + W(x, t)) psi,
    E = sum_i h_i,      W = V + d_t log sqrt(pi) - sum_i v_i
    psi(t_k) = e^{-t_k E} psi(0) - sum_m Q_km(E) g_m      (w = 0)

E is diagonal in the frame of the step's middle (`frame.py`); g_m = W psi at the Gauss
points t_m. The last line, for the points t_k, is a linear system for the fields there;
with them it gives the field at the end of the step. The system is close to the
identity, because E, with the stiff part of H, is integrated exactly. At another Wick
angle w the times t_k in it are multiplied by e^{iw}.

Reference: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, section 2.4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import DType
from ..operator import OperatorPath
from ..propagate.base import Picture
from .constants import CONSTANTS
from .frame import (
    keep_lowest,
    kinetic_matrices,
    separable_frame,
)
from .gauss_rules import Pair, lagrange, other_rule, pair, tables
from .moving_wave import (
    amplification,
    log_sqrt_gibbs,
    moving_potential_term,
    wave_measure,
)
from .problem import Problem
from .ranks import truncation_error
from .stages import StageSolution, solve_stages


class StepperState(NamedTuple):
    """Where an integration stands.

    - `t`: the time; `length`: of the step to try next; `last`: of the last step taken,
      0 before the first
    - `coarse`, `fine`: the fields of the two solutions, `(*shape)`
    - `stage_values`: the finer solution at the points of the last step `(n, *shape)`,
      from which the next is predicted
    - `error`: the distance of the two solutions; `missed`: the sum of errors that they
      have in common
    - `calls`: products of one field with H; `steps`: steps taken; `attempts`: steps
      tried
    """

    t: Array
    length: Array
    coarse: Array
    fine: Array
    stage_values: Array
    last: Array
    error: Array
    missed: Array
    calls: Array
    steps: Array
    attempts: Array


class CollocationStep(NamedTuple):
    """What one step gives.

    - `coarse`, `fine`: the fields of the two solutions at its end; `stage_values`: the
      finer one at its points
    - `calls`: products of one field with H
    - `missed`: relative error that both solutions have in common, and that their
      distance does not show
    - `converged`: whether the linear systems of both were solved
    """

    coarse: Array
    fine: Array
    stage_values: Array
    calls: Array
    missed: Array
    converged: Array


def points_of(dtype: DType) -> int:
    """The number of Gauss points of the finer solution in this precision."""
    return (
        CONSTANTS.points_double
        if jnp.finfo(dtype).bits == 64
        else CONSTANTS.points_single
    )


def collocation_step(
    problem: Problem,
    now: StepperState,
    length: Array,
    residual_tol: Array,
    traced: bool,
    ranks: tuple[int, ...] = (),
) -> CollocationStep:
    """One step of both solutions.

    **Arguments**: `residual_tol`, the relative residual that the iteration of the
    coarser solution may leave; `traced`, whether the step may be differentiated;
    `ranks`, how many functions of each axis are used, () for all.
    """
    dtype = now.fine.real.dtype
    rules = pair(points_of(dtype))
    count = len(rules.onward)
    kinetic = kinetic_matrices(problem, now.t, dtype)

    # The potential term at the points of the coarser rule, of the finer rule, and in
    # the middle of the step.
    offsets = jnp.asarray(np.append(rules.points, 0.5), dtype)

    def potential_term_at(t: Array) -> Array:
        return moving_potential_term(problem, t, dtype)

    potential_terms = jax.vmap(potential_term_at)(now.t + length * offsets)
    finer_weights = jnp.asarray(rules.weights, dtype)
    integral = jnp.tensordot(finer_weights, potential_terms[count:-1], 1) * length
    potential_terms = _lowered_where_absent(potential_terms, now.fine, residual_tol)

    # E from the middle of the step, and W = V + d_t log sqrt(pi) - sum_i v_i at the
    # points of both rules.
    middle = now.t + length / 2
    whole = separable_frame(problem, kinetic, potential_terms[-1], now.fine, middle)
    frame = keep_lowest(whole, ranks)
    coupling = potential_terms[:-1] - frame.separable_potential
    coupling = coupling.reshape(2, count, *now.fine.shape)
    # Without a Wick angle everything stays real.
    rotation = jnp.ones((), dtype)
    if problem.wick:
        rotation = jnp.exp(1j * problem.wick).astype(now.fine.dtype)
    # The frame is a constant to derivatives (those of eigenvectors are infinite at
    # equal levels). What the kinetic matrices change with a parameter is added to W
    # instead: zero in value, but not in its derivative.
    tangents = []
    if traced:
        tangents = [matrix - jax.lax.stop_gradient(matrix) for matrix in kinetic]

    # Both solutions by one scan, so that their common program is compiled once; the
    # coarser one is the first guess of the finer.
    def solve_one(
        guess: Array, given: tuple[Array, ...]
    ) -> tuple[Array, StageSolution]:
        field, coupling, residual_tol, widths, which, powers = given
        decays, weights = tables(
            frame.energies, rotation * length, widths, which, powers
        )
        solution = solve_stages(
            frame, field, coupling, decays, weights, guess, residual_tol, tangents
        )
        onward = jnp.asarray(rules.onward, dtype)
        next_guess = jnp.tensordot(onward, solution.stage_values, 1)
        return next_guess, solution

    # An iteration cannot go below rounding.
    factors = jnp.asarray([1.0, CONSTANTS.fine_residual_factor], dtype)
    residual_tols = jnp.maximum(residual_tol * factors, 2 * jnp.finfo(dtype).eps)
    both = (
        jnp.stack([now.coarse, now.fine]),
        coupling,
        residual_tols,
        jnp.asarray(rules.widths, dtype),
        jnp.asarray(rules.which),
        jnp.asarray(rules.powers, dtype),
    )
    guess = _predicted(rules, now, length)
    _, solutions = jax.lax.scan(solve_one, guess, both)

    # Errors that the distance of the two solutions does not show: the residual, and
    # functions left out.
    missed = solutions.residual[1] * amplification(problem, now.fine, now.t)
    if ranks:
        missed = missed + truncation_error(
            problem,
            whole,
            ranks,
            now.fine,
            solutions.end[1],
            coupling[1, -1],
            now.t + length,
            length,
        )

    # Outside of transformations a dense sampling in time has set the ends of steps
    # (`breakpoints.py`).
    if traced:
        missed = missed + _quadrature_error(
            problem, now, solutions.end[1], integral, length
        )

    # E was taken relative to its lowest level, and sqrt(pi) without its constant: both
    # factors are restored here.
    decay = jnp.exp(-rotation * length * frame.lowest)
    if problem.picture is Picture.GIBBS_WAVE:
        before = _log_norm(problem, now.t, dtype)
        after = _log_norm(problem, now.t + length, dtype)
        decay = decay * jnp.exp(after - before)
    ends = solutions.end * decay
    if problem.picture is Picture.GIBBS_WAVE and not problem.grid.absorbs:
        ends, lost = _with_mass_restored(problem, now, ends, length)
        missed = missed + lost
    allowed_residuals = CONSTANTS.residual_slack * residual_tols
    return CollocationStep(
        coarse=ends[0],
        fine=ends[1],
        stage_values=solutions.stage_values[1] * decay,
        calls=jnp.sum(solutions.calls) * count,
        missed=missed,
        converged=jnp.all(solutions.residual <= allowed_residuals),
    )


def _lowered_where_absent(
    potential_terms: Array, field: Array, residual_tol: Array
) -> Array:
    """The potential terms `(times, *shape)`, cut off at the highest value that they
    have where there is a wave.

    Where there is no wave yet, a potential term of that height keeps it out as well as
    a higher one. The steep walls of a potential would otherwise dominate W, and the
    iteration would take many more products.
    """
    size = jnp.abs(jax.lax.stop_gradient(field))
    present = size > CONSTANTS.absent_wave * residual_tol * jnp.max(size)
    space = tuple(range(1, potential_terms.ndim))
    where_present = jnp.where(present, potential_terms, -jnp.inf)
    highest = jnp.max(where_present, space, keepdims=True)
    return jnp.minimum(potential_terms, highest)


def _quadrature_error(
    problem: Problem, now: StepperState, end: Array, integral: Array, length: Array
) -> Array:
    """The relative L1 error that the potential term's integral over a step makes,
    `integral` by the finer rule `(*shape)`: its distance from the integral by a rule at
    other points.

    Both solutions may miss a pulse between their points, or a jump of sqrt(pi), which
    they take from its derivative. A wave `end` whose potential term is wrong by delta
    dt is wrong by the factor exp(-delta dt).
    """
    dtype = now.fine.real.dtype
    points, weights = other_rule(CONSTANTS.check_points)
    path = problem.operator
    assert isinstance(path, OperatorPath)

    def potential_term(t: Array) -> Array:
        values = path.samples(t).potential_term
        assert values is not None, "a wave has a potential term"
        return values.astype(dtype)

    times = now.t + length * jnp.asarray(points, dtype)
    values = jax.vmap(potential_term)(times)
    mean = jnp.tensordot(jnp.asarray(weights, dtype), values, 1)
    wrong = integral - length * mean
    mass = wave_measure(problem, now.t + length, dtype) * jnp.abs(end)
    mass = mass / jnp.sum(mass)
    if problem.picture is Picture.GIBBS_WAVE:
        before = log_sqrt_gibbs(problem, now.t, dtype)
        after = log_sqrt_gibbs(problem, now.t + length, dtype)
        wrong = wrong - (after - before)
        # The same factor everywhere has no effect, since the mass is restored.
        wrong = wrong - jnp.sum(mass * wrong)
    return jax.lax.stop_gradient(jnp.sum(mass * jnp.abs(wrong)))


def _predicted(rules: Pair, now: StepperState, length: Array) -> Array:
    """The fields at the points of the coarser rule as the last step's polynomial
    predicts them, `(n, *shape)`.

    Before the first step, and for a step that is much longer than the last, the
    polynomial is taken at its end.
    """
    dtype = now.fine.real.dtype
    has_last = now.last > 0
    # The inner `where` avoids a division by 0, whose derivative would be a NaN.
    ratio = jnp.where(has_last, length / jnp.where(has_last, now.last, 1), 0)
    ratio = jnp.where(ratio < CONSTANTS.max_extrapolation, ratio, 0)
    coarse_points, fine_points = rules.points
    places = 1 + jnp.asarray(coarse_points, dtype) * ratio
    return jnp.tensordot(lagrange(fine_points, places), now.stage_values, 1)


def _log_norm(problem: Problem, t: Array, dtype: DType) -> Array:
    """log |sqrt(pi_t)| for sqrt(pi_t) as it is within a step, without its constant."""
    log_weights = jnp.log(problem.grid.weights).astype(dtype)
    log_pi = 2 * log_sqrt_gibbs(problem, t, dtype)
    # As a logarithm: pi itself may overflow, since its constant is left out.
    return jax.scipy.special.logsumexp(log_pi + log_weights) / 2


def _with_mass_restored(
    problem: Problem, now: StepperState, ends: Array, length: Array
) -> tuple[Array, Array]:
    """Both fields with the mass that the step began with, and the part of it that the
    finer one had lost.

    Mass is conserved. Both solutions lose it alike, so that their distance does not
    show the loss: it is added to the error, and a multiple of sqrt(pi), which has no
    effect on anything but the mass, to the fields.
    """
    dtype = now.fine.real.dtype
    integrate = problem.grid.integrate
    before = jnp.exp(problem.log_sqrt_pi(now.t, dtype))
    after = jnp.exp(problem.log_sqrt_pi(now.t + length, dtype))
    lost = integrate(before * now.fine) - integrate(after * ends)
    ends = ends + jnp.multiply.outer(lost, after)
    return ends, jax.lax.stop_gradient(jnp.abs(lost[1]))
