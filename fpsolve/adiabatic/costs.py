"""What it costs to move along a path at one λ: four norms of what moves, and the gap.

    ell = d_λ log π,     f = sqrt(π) ell,     H = sqrt(π) (-L) / sqrt(π),     Δ its gap
    drive     |f|          = sqrt( E ell^2 )
    slope     |H^{1/2} f|  = sqrt( sum_i D_i E (d_i ell)^2 ),     grad ell = d_λ s,  s = grad log π the score
    length    |H^{-1/2} f| = sqrt( int sum_i j_i^2 / (D_i π) ),   div j = -π ell
    exact     |H^{-1} f|   = sqrt( E g^2 ),                       -L* g = ell,  E g = 0

On one closed axis no system is solved: j is the sum of π ell from the nearer end, and g that of -j / (D π). Both are
taken on chains of finite volumes of doubling length and extrapolated, as the gap is. Elsewhere H^{-1} is found by
conjugate gradients in the complement of sqrt(π), with the inverse of the separable part of H, or multigrid, as their
preconditioner.

References: theorems T4 and T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602 (length).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..eigen import line_gap
from ..eigen.inverse import invert
from ..eigen.partner import Chain, read_chain
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..scheme import ScharfetterGummel, Scheme

CELLS = (128, 256, 512, 1024)  # of the chains on one closed axis
FLOOR = 1e-280  # of a probability


class Costs(NamedTuple):
    """At one λ scalars, at several `(M,)`: the `gap`, 0 where it is not computed here, the norms `drive`, `slope`,
    `length` and `exact`, and `error`, an estimate of the relative error of the worst of them."""

    gap: Any
    drive: Any
    slope: Any
    length: Any
    exact: Any
    error: Any


class Motion(NamedTuple):
    """On a grid at one λ, `(*shape)`: log π of mass 1, ell of mean 0, and D |grad ell|^2."""

    log_gibbs: Array
    ell: Array
    steepness: Array


def motion(equation: FokkerPlanck, grid: Grid, lam: Array) -> Motion:
    """What moves, by differentiation in λ, which is the time of `equation`."""

    def speed(x: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda t: equation.log_gibbs(x, grid.origin, t), (lam,), (jnp.ones_like(lam),))

    def at(x: Array) -> Array:
        slopes = jax.grad(lambda y: speed(y)[1])(x)
        return jnp.stack([*speed(x), jnp.sum(equation.diffusions(x) * slopes**2)])

    height, rise, steepness = jnp.moveaxis(grid.sample(at), -1, 0)
    log_gibbs = height - jax.scipy.special.logsumexp(height + jnp.log(grid.weights))
    return Motion(log_gibbs, rise - grid.integrate(jnp.exp(log_gibbs) * rise), steepness)


def line_costs(equation: FokkerPlanck, axis: Axis, lam: Array) -> Costs:
    """The costs and the gap between the ends of a closed axis, whose own nodes are not used.

    **Keeps**: relative accuracy, however small the gap. **Cost**: as `line_gap`; the rest is a few sums.
    """
    grids = [Grid(Line(axis.lower, axis.upper, n)) for n in CELLS]
    rows = jnp.stack([_chain_costs(equation, grid, lam) for grid in grids])
    norms, doubts = _extrapolated(rows)
    gap = line_gap(equation, axis, lam, rows.dtype, CELLS)
    drive, slope, length, exact = norms = jnp.maximum(norms, 0)
    doubt = jnp.max(doubts / jnp.maximum(norms, FLOOR))
    return Costs(gap.gap, drive, slope, length, exact, jnp.maximum(gap.error, doubt))


def _chain_costs(equation: FokkerPlanck, grid: Grid, lam: Array) -> Array:
    moving = motion(equation, grid, lam)
    chain = read_chain(ScharfetterGummel().build(equation, grid, lam, moving.ell.dtype, True))
    mass = jnp.exp(chain.mass)
    mean = lambda u: jnp.sum(mass * u)
    ell = moving.ell - mean(moving.ell)
    rise = _flux_over_conductance(chain, ell)
    g = jnp.append(0, -jnp.cumsum(rise))
    g = g - mean(g)
    length = mean(ell * g)
    return jnp.sqrt(jnp.stack([mean(ell**2), mean(moving.steepness), length, mean(g**2)]))


def _flux_over_conductance(chain: Chain, ell: Array) -> Array:
    """j / (D π) at the faces: the mass times ell below each, or minus that above it, whichever end is nearer."""
    mass = jnp.exp(chain.mass)
    below, above = jnp.cumsum(mass * ell)[:-1], jnp.cumsum((mass * ell)[::-1])[-2::-1]
    nearer = jnp.cumsum(mass)[:-1] < 0.5
    flux, conductance = jnp.where(nearer, below, -above), jnp.exp(chain.conductance)
    held = (mass[:-1] > FLOOR) & (mass[1:] > FLOOR)  # beyond, nothing is left to count
    return jnp.where(held, flux / jnp.where(held, conductance, 1), 0)


def _extrapolated(rows: Array) -> tuple[Array, Array]:
    """Romberg's limit of rows whose errors are a series in h^2, h halved from each to the next, and its uncertainty."""
    table = [rows]
    for k in range(1, len(rows)):
        table.append(table[-1][1:] + (table[-1][1:] - table[-1][:-1]) / (4**k - 1))
    return table[-1][-1], jnp.abs(table[-1][-1] - table[-2][-1])


def grid_costs(equation: FokkerPlanck, scheme: Scheme, grid: Grid, lam: Array, solves: bool) -> Costs:
    """The costs on a grid of any dimension; the gap is 0, and so are `length` and `exact` unless one `solves` for them.

    **Cost**: some tens of products with H, where the separable part of H is most of it.
    """
    moving = motion(equation, grid, lam)
    measure = lambda u: grid.integrate(jnp.exp(moving.log_gibbs) * u)
    zero = jnp.zeros((), moving.ell.dtype)
    length = exact = error = zero
    if solves:
        operator = scheme.build(equation, grid, lam, moving.ell.dtype, True)
        wave = jnp.exp(moving.log_gibbs / 2) * moving.ell
        solution, error = invert(operator, wave, jnp.exp(moving.log_gibbs / 2))
        length, exact = jnp.sqrt(grid.integrate(wave * solution)), jnp.sqrt(grid.integrate(solution**2))
    drive, slope = jnp.sqrt(measure(moving.ell**2)), jnp.sqrt(measure(moving.steepness))
    return Costs(zero, drive, slope, length, exact, error)
