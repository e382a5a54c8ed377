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

The functions of a path are evaluated by `sample_motion`, a small program for each formula. Everything else takes the
arrays that come of it, and is compiled once for a shape.

References: theorems T4 and T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602 (length).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import quick_program, sampling_program, shape_program
from ..eigen.inverse import invert
from ..eigen.supersymmetric_gap import EMPTY, STEPS, Chain, extrapolate, kernel_gap, partner_kernel
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, sample_product
from ..operator import Samples, Scheme
from ..operator.finite_volume import bernoulli

CELLS = (128, 256, 512, 1024)  # of the chains on one closed axis
FLOOR = 1e-280  # of a probability: below it ratios lose digits to underflow
BATCH = 9  # λ at a time: the Chebyshev nodes of a panel of degree 8, of which every other panel takes a multiple
# Steps of Lanczos that are tried first, and the bound on the relative error of the gap beyond which all `STEPS` are
# taken. Modes whose rates are apart by a factor 2 need 9 steps for this (measured); where levels nearly cross, more.
FEW_STEPS, GAP_ERROR = 12, 1e-10


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
    """At several λ on a grid, `(M, *shape)`: log π up to a constant, ell up to a constant, and D |grad ell|^2."""

    log_gibbs: Array
    ell: Array
    steepness: Array


@sampling_program
def sample_motion(equation: FokkerPlanck, positions: tuple[Any, ...], origin: Any, lambdas: Any) -> Motion:
    """What moves at `lams` `(M,)`, by differentiation in λ, which is the time of `equation`.

    `positions` are the coordinates along each axis, `origin` is that of the grid (`FokkerPlanck.log_gibbs`).
    """

    def at(lam: Array) -> Array:
        def speed(x: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda t: equation.log_gibbs(x, origin, t), (lam,), (jnp.ones_like(lam),))

        def values(x: Array) -> Array:
            slopes = jax.grad(lambda y: speed(y)[1])(x)
            return jnp.stack([*speed(x), jnp.sum(equation.diffusions(x) * slopes**2)])

        return sample_product(values, positions)

    return Motion(*jnp.moveaxis(jax.lax.map(at, lambdas), -1, 0))


def motion_on(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> Motion:
    """What moves at the nodes of a grid, `(M, *shape)`."""
    positions = tuple(np.asarray(axis.nodes, float) for axis in grid.axes)
    return sample_motion(equation, positions, np.asarray([nodes[0] for nodes in positions]), np.asarray(lambdas, float))


def line_costs(equation: FokkerPlanck, axis: Axis, lambdas: np.ndarray) -> Costs:
    """The costs and the gap at `lams` `(M,)` between the ends of a closed axis, whose own nodes are not used.

    **Keeps**: relative accuracy, however small the gap. **Cost**: some ten products with the kernel of the longest
    chain, O(n) each; forty where two levels are close.
    """
    nodes = np.concatenate([Line(axis.lower, axis.upper, n).nodes for n in CELLS])
    # One size of batch, so that one program serves all.
    padded = np.concatenate([lambdas, np.full(-len(lambdas) % BATCH, lambdas[-1])]).reshape(-1, BATCH)
    rows = [_line_batch(equation, axis, nodes, batch) for batch in padded]
    return Costs(*(np.concatenate(column)[: len(lambdas)] for column in zip(*rows, strict=True)))


def _line_batch(equation: FokkerPlanck, axis: Axis, nodes: np.ndarray, lambdas: np.ndarray) -> Costs:
    moving = sample_motion(equation, (nodes,), nodes[:1], lambdas)
    length = np.asarray(axis.length, float)
    found, gap_error = _chain_costs(moving, equation.diffusion, length, FEW_STEPS)
    if not np.all(np.asarray(gap_error) < GAP_ERROR):
        found, _ = _chain_costs(moving, equation.diffusion, length, STEPS)
    return Costs(*(np.asarray(column) for column in found))


# Light: without optimisations it is compiled in 0.2 seconds instead of 1.8, and takes a sixth longer to run (measured).
@quick_program
def _chain_costs(moving: Motion, diffusion: Any, length: Any, steps: int) -> tuple[Costs, Array]:
    """From `(M, sum of CELLS)`: the costs `(M,)`, and the error of each gap that more steps might lower."""
    widths = length / jnp.asarray(CELLS, float)
    own = jnp.arange(CELLS[-1]) < jnp.asarray(CELLS)[:, None]
    chains = jax.vmap(jax.vmap(_as_chain, (0, 0, 0, None)), (0, None, None, None))
    chain = chains(_side_by_side(moving.log_gibbs, EMPTY), own, widths, diffusion)
    ell, steepness = _side_by_side(moving.ell, 0.0), _side_by_side(moving.steepness, 0.0)
    norms = jax.vmap(jax.vmap(_chain_norms))(chain, ell, steepness)
    limits, doubts = jax.vmap(extrapolate)(norms)
    log_gap, bound, _ = jax.vmap(jax.vmap(lambda one: kernel_gap(partner_kernel(one), steps)))(chain)
    best, estimate = jax.vmap(extrapolate)(log_gap)
    drive, slope, size, exact = jnp.maximum(limits, 0).T
    doubt = jnp.max(doubts / jnp.maximum(limits, FLOOR), axis=1)
    gap_error = jnp.max(bound, axis=1)
    return Costs(jnp.exp(best), drive, slope, size, exact, jnp.maximum(estimate + gap_error, doubt)), gap_error


def _side_by_side(values: Array, fill: float) -> Array:
    """`(M, sum of CELLS)` as `(M, chains, cells of the longest)`, filled up."""
    parts = jnp.split(values, np.cumsum(CELLS)[:-1], axis=1)
    return jnp.stack(
        [jnp.pad(part, ((0, 0), (0, CELLS[-1] - part.shape[1])), constant_values=fill) for part in parts], 1
    )


def _as_chain(log_gibbs: Array, own: Array, width: Array, diffusion: Array) -> Chain:
    """The chain of Scharfetter and Gummel of one row, whose cells beyond its `own` are empty."""
    mass = jnp.where(own, log_gibbs + jnp.log(width), EMPTY)
    mass = jnp.where(own, mass - jax.scipy.special.logsumexp(mass), EMPTY)
    between = own[1:]
    drop = jnp.where(between, log_gibbs[1:] - log_gibbs[:-1], 0)
    # Of the two equal products of a node's density and its rate that with the larger rate, which has not underflowed.
    nearer = jnp.where(drop > 0, mass[:-1], mass[1:]) - jnp.log(width)
    conductance = nearer + jnp.log(diffusion / width * bernoulli(-jnp.abs(drop)))
    return Chain(mass, jnp.where(between, conductance, 0))


def _chain_norms(chain: Chain, ell: Array, steepness: Array) -> Array:
    """drive, slope, length, exact on one chain, `(4,)`."""
    mass = jnp.exp(chain.mass)
    mean = lambda u: jnp.sum(mass * u)
    ell = ell - mean(ell)
    rise = _flux_over_conductance(chain, ell)
    g = jnp.append(0, -jnp.cumsum(rise))
    g = g - mean(g)
    return jnp.sqrt(jnp.stack([mean(ell**2), mean(steepness), mean(ell * g), mean(g**2)]))


def _flux_over_conductance(chain: Chain, ell: Array) -> Array:
    """j / (D π) at the faces: the mass times ell below each, or minus that above it, whichever end is nearer."""
    mass = jnp.exp(chain.mass)
    below, above = jnp.cumsum(mass * ell)[:-1], jnp.cumsum((mass * ell)[::-1])[-2::-1]
    nearer = jnp.cumsum(mass)[:-1] < 0.5
    flux, conductance = jnp.where(nearer, below, -above), jnp.exp(chain.conductance)
    held = (mass[:-1] > FLOOR) & (mass[1:] > FLOOR)  # beyond, nothing is left to count
    return jnp.where(held, flux / jnp.where(held, conductance, 1), 0)


@shape_program
def grid_costs(moving: Motion, samples: Samples | None, scheme: Scheme, grid: Grid, solves: bool) -> Costs:
    """The costs at one λ on a grid of any dimension, from `motion_on` (without its first axis) and the scheme's
    samples; the gap is 0, and so are `length` and `exact` unless one `solves` for them.

    **Cost**: some tens of products with H, where the separable part of H is most of it.
    """
    log_gibbs = moving.log_gibbs - jax.scipy.special.logsumexp(moving.log_gibbs + jnp.log(grid.weights))
    measure = lambda u: grid.integrate(jnp.exp(log_gibbs) * u)
    ell = moving.ell - measure(moving.ell)
    zero = jnp.zeros((), ell.dtype)
    length = exact = error = zero
    if solves:
        assert samples is not None, "H^{-1} needs the operator"
        operator = scheme.assemble(samples, grid, ell.dtype)
        wave = jnp.exp(log_gibbs / 2) * ell
        solution, error = invert(operator, wave, jnp.exp(log_gibbs / 2))
        length, exact = jnp.sqrt(grid.integrate(wave * solution)), jnp.sqrt(grid.integrate(solution**2))
    drive, slope = jnp.sqrt(measure(ell**2)), jnp.sqrt(measure(moving.steepness))
    return Costs(zero, drive, slope, length, exact, error)
