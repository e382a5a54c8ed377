"""The weights of a sampler as fields on a grid: their moments, and the law of x.

    d_t g_n = L_b g_n + n (c + d_t log π) g_n,      n = 0, 1, 2
    c = div(π b) / π = -(L_b π) / π,      g_1 = π_t

g_n = E[(w Z_0 / Z_t)^n δ(X - x)] is the law of the sampler together with the n-th power
of its weight (`importance`). The steps are those of the midpoint rule, so that the
error in time is a series in the square of their length.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import sampling_program, shape_program
from ..core.types import AnyArray
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..propagate import Picture, Uniformization
from .constants import CONSTANTS
from .distances import relative_entropy
from .gibbs import log_gibbs_at, log_sqrt_pi_and_rate
from .importance_request import ImportanceRequest
from .staircase import conjugated, in_batches
from .velocity import face_velocity

NUMBERS = ("effective", "kl", "mean")
# Both keep densities positive, on any grid and for any length of the steps.
SCHEME = ScharfetterGummel()
HEAT = Uniformization()


class WeightRun(NamedTuple):
    """(E w)^2 / E w^2, KL(p | π_T), E w Z_0 / Z_T, and the density p `(*shape)`."""

    effective: float
    kl: float
    mean: float
    density: np.ndarray


def run_weights(request: ImportanceRequest, count: int) -> WeightRun:
    """The sampler in `count` steps of the midpoint rule, in batches of one size."""
    grid = request.grid
    total = request.total
    middles = (np.arange(count) + 0.5) / count * total
    # Without a drift log π changes between the steps, from middle to middle, else
    # during each.
    inner = middles if request.split else np.arange(1, count) / count * total
    log_gibbs = in_batches(
        lambda part: log_gibbs_at(request.equation, grid, part),
        np.concatenate([[0.0], inner, [total]]),
    )
    changes = np.diff(log_gibbs, axis=0)
    powers = np.arange(3.0).reshape(-1, *[1] * grid.ndim)
    # The change before the first exponential of a split run is part of the start.
    first_gain = 0 * powers
    if request.split:
        first_gain = powers * changes[0]
        changes = changes[1:]
    rows = jnp.asarray(np.exp(log_gibbs[0] + first_gain))
    strength = as_array(request.strength)
    length = as_array(total / count)
    for k in range(0, count, CONSTANTS.stairs_batch):
        part = slice(k, k + CONSTANTS.stairs_batch)
        sampled = _sample(request.equation, grid, middles[part])
        flow = None
        if request.exact:
            flow = _velocities(grid, sampled.log_sqrt_pi, sampled.rate)
        rows = _propagate(
            sampled, flow, rows, changes[part], strength, length, grid, request.split
        )
    weights = np.asarray(grid.weights)
    density, g_1, g_2 = np.asarray(rows)
    first = np.sum(weights * g_1)
    second = np.sum(weights * g_2)
    return WeightRun(
        effective=float(first**2 / second),
        kl=float(relative_entropy(density, log_gibbs[-1], grid, np)),
        mean=float(first),
        density=density,
    )


class _Sampled(NamedTuple):
    """Samples of the scheme, log sqrt(π) and d_t log π at the middles of K steps."""

    samples: Samples
    log_sqrt_pi: Array
    rate: Array


@sampling_program
def _sample(equation: FokkerPlanck, grid: Grid, middles: AnyArray) -> _Sampled:
    middles = jnp.asarray(middles)

    def sample_scheme(t: Array) -> Samples:
        return SCHEME.sample(equation, grid, t, False)

    def sample_gibbs(t: Array) -> tuple[Array, Array]:
        return log_sqrt_pi_and_rate(equation, grid, t)

    samples = jax.lax.map(sample_scheme, middles)
    log_sqrt_pi, rate = jax.lax.map(sample_gibbs, middles)
    return _Sampled(samples, log_sqrt_pi, rate)


@shape_program
def _velocities(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """The exact drift on the faces of each axis at all middles."""
    return jax.lax.map(lambda given: face_velocity(grid, *given), (log_sqrt_pi, rate))


@shape_program
def _propagate(
    sampled: _Sampled,
    flow: tuple[Array, ...] | None,
    rows: Array,
    changes: Array,
    strength: Array,
    length: Array,
    grid: Grid,
    split: bool,
) -> Array:
    """g_0, g_1 and g_2 `(3, *shape)` after some steps; `split` changes log π after the
    exponential of each.
    """
    powers = jnp.arange(3.0).reshape(-1, *[1] * grid.ndim)

    def step(
        rows: Array, given: tuple[_Sampled, tuple[Array, ...] | None, Array]
    ) -> tuple[Array, None]:
        (samples, log_sqrt_pi, _), velocity, change = given
        operator = SCHEME.assemble(samples, grid, rows.dtype)
        if velocity is not None:
            scaled = [strength * v for v in velocity]
            operator = _with_flow(operator, log_sqrt_pi, scaled)
        gain = _gain(operator, log_sqrt_pi)
        # Together, because the two cancel where the drift is good.
        if not split:
            gain = gain + change / length
        # Relative to its largest value the gain is a loss, so that the terms of a
        # Poisson sum do not grow.
        most = jnp.max(gain)

        def heat(u: Array, power: float) -> Array:
            # n times the gain as a part of the operator.
            loss = power * (most - gain)
            raised = EdgeOperator(
                grid=grid,
                up=operator.up,
                down=operator.down,
                potential_term=loss,
                log_sqrt_pi=None,
            )
            prepared = HEAT.prepare(raised, Picture.DENSITY)
            no_tol = jnp.zeros(())  # the exponential is to rounding in any case
            result = HEAT.apply(prepared, u, length[None], no_tol, 0.0)
            return result.field[0] * jnp.exp(power * most * length)

        rows = jnp.stack([heat(rows[n], float(n)) for n in range(3)])
        if split:
            rows = rows * jnp.exp(powers * change)
        return rows, None

    steps = (sampled, flow, jnp.asarray(changes))
    return jax.lax.scan(step, rows, steps)[0]


def _with_flow(
    operator: EdgeOperator, log_sqrt_pi: Array, velocity: list[Array]
) -> EdgeOperator:
    """The rates with the flux v sqrt(π π_+) (r + r_+) / 2 besides, r = p / π.

    Where a rate would be negative, r is that of the node which the flow leaves
    (upwind), of order 1, at faces that are coarse for v. For p = π both are the flux of
    v exactly.
    """
    up = []
    down = []
    axes = operator.grid.axes
    for i, (axis, v) in enumerate(zip(axes, velocity, strict=True)):
        below, above = axis.face_neighbors(log_sqrt_pi, i)
        upward = v * jnp.exp(above - below)
        downward = v * jnp.exp(below - above)
        # A Poisson sum needs rates that are not negative.
        up_fits = operator.up[i] + upward / 2 >= 0
        down_fits = operator.down[i] - downward / 2 >= 0
        fine = up_fits & down_fits
        added = jnp.where(fine, upward / 2, jnp.maximum(upward, 0))
        taken = jnp.where(fine, downward / 2, jnp.minimum(downward, 0))
        up.append(operator.up[i] + added)
        down.append(operator.down[i] - taken)
    return EdgeOperator(
        grid=operator.grid,
        up=tuple(up),
        down=tuple(down),
        potential_term=None,
        log_sqrt_pi=None,
    )


def _gain(operator: EdgeOperator, log_sqrt_pi: Array) -> Array:
    """c = -(L π) / π, `(*shape)`, in ratios of neighbours, which do not underflow."""
    # The conjugated operator on ones: its potential term is the rate of leaving less
    # that of arriving.
    ones = jnp.ones(operator.grid.shape, log_sqrt_pi.dtype)
    return -conjugated(operator, 2 * log_sqrt_pi).generator(ones)


def extrapolate(coarse: WeightRun, fine: WeightRun) -> dict[str, float]:
    """The limit of zero steps from K and 2K of them."""
    limits = {}
    for name in NUMBERS:
        a = getattr(coarse, name)
        b = getattr(fine, name)
        # The error is a series in h^2: with half the step it is a quarter.
        limits[name] = b + (b - a) / 3
    return limits


def effective_change(runs: list[WeightRun]) -> float:
    """The difference of two extrapolations of the effective sample size."""
    first = extrapolate(*runs[:2])["effective"]
    second = extrapolate(*runs[1:])["effective"]
    return abs(second - first)
