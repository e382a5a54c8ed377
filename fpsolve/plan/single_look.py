"""The error in space as far as one run shows it: for transformations of JAX, and where
no second run is wanted.

    space   in a basis: the share of the shortest waves at each output time, and the
            rate at which the Gibbs density is lost, times t;
            on finite volumes: |p_{i-1} - 2 p_i + p_{i+1}| in L1, which bounds an
            error of second order
    box     the most that has been beyond the ends of each line so far, by the decay of
            the state towards them, or that has come back at the other end
    start   the share of the shortest waves in the initial state, damped by diffusion
            until t; and what a wrong variance dv of a Gaussian start leaves,
            dv / 2 |d_xx p| in L1

Everything is computed from arrays that the run holds, so that it works inside `jit`,
`vmap` and `grad`. Two runs on different grids say more (`solve.second_look`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import real_dtype
from ..core.program import quick_program
from ..core.types import ArrayModule, SameArray
from ..equation import divide_by_sqrt_pi
from ..grid import Gaussian, Grid
from ..operator import Operator, OperatorPath
from ..operator.aliasing import short_wave_damping, short_wave_fraction
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate import Picture
from .constants import CONSTANTS
from .error_parts import ErrorParts
from .outcome import Outcome
from .plan import Plan
from .resolution import gibbs_leak


def single_look(plan: Plan, outcome: Outcome) -> ErrorParts:
    """The parts of a run's error that the run itself shows, without derivatives."""
    operator = plan.problem.operator
    # A moving problem is represented by its operator at t = 0: its diffusion and its
    # scheme do not change.
    samples = plan.request.sampled.samples(plan.scheme)
    units = plan.request.sampled.units
    diffusion = [
        jnp.min(jnp.asarray(d)) / unit**2
        for d, unit in zip(samples.diffusion, units, strict=True)
    ]
    static = None if isinstance(operator, OperatorPath) else operator
    scale = jnp.asarray(plan.request.sampled.scale, real_dtype(plan.start))
    # What clipping the tails of the initial wave may cost, as in the run.
    fraction = jnp.asarray(plan.tol * OPERATOR.clipping_tol_fraction, scale.dtype)
    wrong_variance = jnp.asarray(plan.request.wrong_variance, scale.dtype)
    run = (
        static,
        outcome.values * scale,
        plan.start,
        plan.times,
        jnp.stack(diffusion),
        outcome.error,
    )
    # Waves of twice the wavenumber look like a constant on the nodes. Their amplitude
    # is the square of that of the shortest waves where coefficients fall exponentially,
    # as those of a smooth function. It is the fourth power for a Gaussian, but less for
    # its quotient by sqrt(pi) (measured: 3.6), and the third is taken.
    power = 3 if isinstance(plan.request.initial, Gaussian) else 2
    static_arguments = (
        plan.problem.grid,
        plan.problem.picture,
        plan.scheme.spectral,
        power,
    )
    # An estimate is no part of the answer that users differentiate.
    return jax.lax.stop_gradient(
        _measure(*run, fraction, wrong_variance, *static_arguments)
    )


@quick_program
def _measure(
    operator: Operator | None,
    values: Array,
    start: Array,
    times: Array,
    diffusion: Array,
    time_error: Array,
    fraction: Array,
    wrong_variance: Array,
    grid: Grid,
    picture: Picture,
    spectral: bool,
    power: int,
) -> ErrorParts:
    times = times.astype(time_error.dtype)
    # A wave is smoother than its density, and is what a basis expands.
    evolved = values
    evolved_start = start
    misplaced = tails_beyond(grid, jnp.abs(values))
    if spectral and picture is Picture.GIBBS_WAVE and operator is not None:
        evolved = divide_by_sqrt_pi(values, operator.log_sqrt_pi)
        weights = grid.weights.astype(start.dtype)
        evolved_start = clip_tails(start, operator.log_sqrt_pi, weights, fraction)
        sqrt_pi = jnp.exp(operator.log_sqrt_pi)
        carried = jax.vmap(lambda wave: _carried_around(grid, wave, sqrt_pi))
        # The start is one row, and counts at every output time.
        around = jnp.maximum(carried(evolved), carried(evolved_start[None]))
        misplaced = misplaced + around

    # What is missing beyond the box is too much inside, and what was missing once is in
    # other places later.
    box = 2 * jax.lax.cummax(misplaced)
    unresolved = _short_waves if spectral else _roughness
    space = jax.vmap(lambda state: unresolved(grid, state))(evolved)
    if grid.absorbs:
        # A rate that errs by a part of itself makes what is left err by that part of
        # log(start / left).
        start_mass = grid.integrate(jnp.abs(start))
        left = jax.vmap(grid.integrate)(jnp.abs(values))
        # Where nothing is left the logarithm is taken as zero, not as infinity.
        decay = start_mass / jnp.where(left > 0, left, start_mass)
        space = space * (1 + jnp.log(jnp.maximum(decay, 1)))
    if not spectral:
        return ErrorParts(time_error, space, box, jnp.zeros_like(space))

    if operator is not None and picture is Picture.GIBBS_WAVE:
        space = space + gibbs_leak(operator) * times
    start_error = jnp.zeros_like(space)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:
            short = short_wave_fraction(evolved_start, axis, i)
            damping = jax.vmap(
                lambda t, i=i, axis=axis: short_wave_damping(diffusion[i], axis, t)
            )(times)
            # What looks like long waves is not damped.
            start_error = start_error + short * damping + short**power
            curvature = jax.vmap(
                lambda state, i=i: _second_differences(grid, state, i)
            )(values)
            start_error = start_error + wrong_variance[i] / 2 * curvature
    return ErrorParts(time_error, space, box, start_error)


def _short_waves(grid: Grid, state: Array) -> Array:
    """The relative amplitude of the shortest tenth of the waves, over uniform axes."""
    total = jnp.zeros((), state.real.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:
            total = total + short_wave_fraction(state, axis, i)
    return total


def _roughness(grid: Grid, state: Array) -> Array:
    """The L1 norm of the second differences along all axes, relative to that of the
    state `(*shape)`.
    """
    axes = range(grid.ndim)
    parts = (_second_differences(grid, state, i) for i in axes)
    total = sum(parts, jnp.zeros(()))
    return CONSTANTS.roughness_factor * total


def _second_differences(grid: Grid, state: Array, i: int) -> Array:
    """The L1 norm of the second differences along axis i, relative to that of the state
    `(*shape)`.
    """
    # The outermost values once more: no change across walls.
    below = jnp.take(state, jnp.array([0]), i)
    above = jnp.take(state, jnp.array([-1]), i)
    if grid.axes[i].boundary == "periodic":
        below, above = above, below
    elif grid.axes[i].boundary == "absorbing":
        # Odd about the walls, where the density is zero.
        below, above = -below, -above
    padded = jnp.concatenate([below, state, above], i)
    differences = jnp.diff(padded, 2, axis=i)
    return grid.integrate(jnp.abs(differences)) / grid.integrate(jnp.abs(state))


def _carried_around(grid: Grid, wave: Array, sqrt_pi: Array) -> Array:
    """The part of the mass that a `wave` `(*shape)` carries from one end of a line to
    the other, for all lines.

    The functions of the basis join the ends. Where a wave has not decayed at one end,
    it enters at the other, at most as far as sqrt(pi) decays there.
    """
    mass = grid.weights.astype(wave.dtype) * sqrt_pi * jnp.abs(wave)
    total = jnp.zeros((), mass.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.unbounded:
            # The axis last, the others as rows.
            all_weights = jnp.broadcast_to(grid.weights, wave.shape)
            waves, gibbs, weights = (
                jnp.moveaxis(u, i, -1).reshape(-1, axis.n)
                for u in (jnp.abs(wave), sqrt_pi, all_weights)
            )
            # A wave leaves at the last node and enters at the first, and the reverse.
            to_first = _tails(gibbs, jnp)
            to_last = _tails(jnp.flip(gibbs, 1), jnp)
            entering = waves[:, -1] * to_first + waves[:, 0] * to_last
            total = total + jnp.sum(weights[:, 0] * entering)
    return total / jnp.sum(mass)


def tails_beyond(grid: Grid, densities: SameArray, xp: ArrayModule = jnp) -> SameArray:
    """The masses that exponential continuations of densities `(T, *shape)` have beyond
    the ends of the lines, relative to those of the densities, `(T,)`. `xp` is numpy on
    the host or jax.numpy in a program.
    """
    total = xp.zeros(len(densities), densities.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.unbounded:
            others = tuple(1 + j for j in range(grid.ndim) if j != i)
            marginals = xp.sum(densities, others)
            tails = _tails(marginals, xp) + _tails(xp.flip(marginals, 1), xp)
            total = total + tails / xp.sum(marginals, 1)
    # No more than the whole mass, where the extrapolation is larger.
    return xp.minimum(total, 1)


def _tails(marginals: SameArray, xp: ArrayModule) -> SameArray:
    """The masses `(T,)` beyond the first node of marginal densities `(T, n)`, in units
    of their cells.

    They are continued with the decay that they have over their outer part.
    """
    # Basis functions of a line join its ends, and walls distort the outermost cells:
    # the decay is taken over an eighth.
    n = marginals.shape[1]
    inner = max(1, n // 8)
    first = marginals[:, 0]
    second = marginals[:, inner]
    # The inner `where` keeps both branches of the outer one finite.
    positive = second > 0
    ratio = xp.where(positive, first / xp.where(positive, second, 1), 0)
    # Clipped, since neither a ratio of zero nor a growing density has a decay.
    tiny = np.finfo(marginals.dtype).tiny
    rate = -xp.log(xp.clip(ratio, tiny, 1)) / inner
    # Where the density does not fall towards the end, it is continued over the length
    # of another box.
    decay_length = 1 / xp.where(rate > 0, rate, 1)
    return first * xp.where(rate * n > 1, decay_length, n)
