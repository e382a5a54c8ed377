"""The costs of moving along a path at one λ: four norms of d_λ log π, and the gap.

    ell = d_λ log π,     f = sqrt(π) ell,     H = sqrt(π) (-L) / sqrt(π),     Δ its gap
    drive        |f|          = sqrt( E ell^2 )
    score_drive  |H^{1/2} f|  = sqrt( sum_i D_i E (d_i ell)^2 ),    grad ell = d_λ s
    length       |H^{-1/2} f| = sqrt( int sum_i j_i^2 / (D_i π) ),  div j = -π ell
    exact        |H^{-1} f|   = sqrt( E g^2 ),              -L* g = ell,  E g = 0

with the score s = grad log π.

On one closed axis no system is solved: j is the sum of π ell from the nearer end, and g
that of -j / (D π). Both are computed on finite-volume chains of 128, 256, ... cells and
extrapolated, as the gap is. On other grids H^{-1} is applied by conjugate gradients in
the complement of sqrt(π), preconditioned by the inverse of the separable part of H or
by multigrid.

The functions of a path are evaluated by `sample_motion`, a small program for each
formula. Everything else takes the resulting arrays, and is compiled once for a shape.

References: theorems T4 and T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108
(2012) 190602 (length).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import quick_program, sampling_program, shape_program
from ..core.types import AnyArray
from ..eigen.constants import CONSTANTS as EIGEN
from ..eigen.inverse import invert
from ..eigen.partner_kernel import LOG_ZERO, Chain, kernel_gap, partner_kernel
from ..eigen.supersymmetric_gap import extrapolate
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, sample_product
from ..operator import Samples, Scheme
from ..operator.finite_volume import bernoulli
from .constants import CONSTANTS


class Costs(NamedTuple):
    """The costs at one λ (scalars) or at M of them, `(M,)`.

    `gap` is 0 where it is not computed together with the norms; `error` estimates the
    largest relative error.
    """

    gap: Any
    drive: Any
    score_drive: Any
    length: Any
    exact: Any
    error: Any


class Motion(NamedTuple):
    """The motion of the Gibbs density at M lambdas, `(M, *shape)`: log π and ell up to
    constants; D |grad ell|^2.
    """

    log_gibbs: Array
    ell: Array
    steepness: Array


@sampling_program
def sample_motion(
    equation: FokkerPlanck, positions: tuple[Any, ...], origin: Any, lambdas: AnyArray
) -> Motion:
    """The motion at `lambdas` `(M,)`, by differentiation in λ, which is the time of
    `equation`.

    `positions` are the coordinates along each axis, `origin` is that of the grid
    (`FokkerPlanck.log_gibbs`).
    """

    def at(lam: Array) -> Array:
        def speed(x: Array) -> tuple[Array, Array]:
            log_gibbs = lambda t: equation.log_gibbs(x, origin, t)
            return jax.jvp(log_gibbs, (lam,), (jnp.ones_like(lam),))

        def values(x: Array) -> Array:
            slopes = jax.grad(lambda y: speed(y)[1])(x)
            log_gibbs, ell = speed(x)
            squares = equation.diffusions(x) * slopes**2
            steepness = jnp.sum(squares)
            return jnp.stack([log_gibbs, ell, steepness])

        return sample_product(values, positions)

    table = jax.lax.map(at, lambdas)
    return Motion(*jnp.moveaxis(table, -1, 0))


def motion_on(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> Motion:
    """The motion at the nodes of a grid, `(M, *shape)`."""
    positions = tuple(np.asarray(axis.nodes, float) for axis in grid.axes)
    origin = np.asarray([nodes[0] for nodes in positions])
    return sample_motion(equation, positions, origin, np.asarray(lambdas, float))


def line_costs(equation: FokkerPlanck, axis: Axis, lambdas: np.ndarray) -> Costs:
    """The costs and the gap at `lambdas` `(M,)` between the ends of a closed axis of
    equal cells.

    The shortest of the chains has the cells of the axis, and each other one twice as
    many as the one before. **Keeps**: relative accuracy, however small the gap.
    **Cost**: some ten products with the kernel of the longest chain, O(n) each; forty
    where two levels are close.
    """
    shortest = CONSTANTS.chain_cells[0]
    cells = np.asarray([axis.n * (n // shortest) for n in CONSTANTS.chain_cells])
    # Rows of one length, whose last node is repeated, so that one compiled program
    # serves the companions of an axis.
    room = max(cells[-1], CONSTANTS.chain_cells[-1])
    padded = []
    for n in cells:
        line = Line(axis.lower, axis.upper, int(n))
        chain = np.asarray(line.nodes, float)
        unused = room - len(chain)
        padded.append(np.pad(chain, (0, unused), mode="edge"))
    nodes = np.concatenate(padded)
    # Batches of one size, for any number of lambdas.
    size = CONSTANTS.chain_batch
    padding = np.full(-len(lambdas) % size, lambdas[-1])
    batches = np.concatenate([lambdas, padding]).reshape(-1, size)
    rows = []
    for batch in batches:
        rows.append(_line_batch(equation, axis.length, cells, nodes, batch))
    columns = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Costs(*(column[: len(lambdas)] for column in columns))


def _line_batch(
    equation: FokkerPlanck,
    length: float,
    cells: np.ndarray,
    nodes: np.ndarray,
    lambdas: np.ndarray,
) -> Costs:
    motion = sample_motion(equation, (nodes,), nodes[:1], lambdas)
    arguments = (motion, equation.diffusion, np.asarray(length, float), cells)
    costs, gap_error = _chain_costs(*arguments, CONSTANTS.few_lanczos_steps)
    # Where levels nearly cross, a few steps do not separate them.
    if not np.all(np.asarray(gap_error) < CONSTANTS.max_gap_error):
        costs, _ = _chain_costs(*arguments, EIGEN.lanczos_steps)
    return Costs(*(np.asarray(column) for column in costs))


# A quick program: without optimisations it is compiled in 0.2 seconds instead of 1.8,
# and takes a sixth longer to run (measured).
@quick_program
def _chain_costs(
    motion: Motion, diffusion: Any, length: Any, cells: AnyArray, steps: int
) -> tuple[Costs, Array]:
    """The costs `(M,)`, and the error of each gap that more Lanczos steps might reduce.

    `motion` is sampled at the nodes of all chains, one chain after the other, each row
    filled up to one length, `(M, chains * room)`; `cells` `(chains,)` are those that
    each has.
    """
    log_gibbs, ell, steepness = (u.reshape(len(u), len(cells), -1) for u in motion)
    widths = length / cells.astype(log_gibbs.dtype)
    used = jnp.arange(log_gibbs.shape[2]) < cells[:, None]
    # Over the chains, and over the lambdas.
    of_one_lambda = jax.vmap(_make_chain, (0, 0, 0, None))
    make_chains = jax.vmap(of_one_lambda, (0, None, None, None))
    chains = make_chains(log_gibbs, used, widths, diffusion)

    # The norms, extrapolated to zero cell width.
    norms = jax.vmap(jax.vmap(_chain_norms))(chains, ell, steepness)
    limits, norm_errors = jax.vmap(extrapolate)(norms)
    drive, score_drive, size, exact = jnp.maximum(limits, 0).T
    # A norm is zero where a path is constant.
    sizes = jnp.maximum(limits, CONSTANTS.min_probability)
    norm_error = jnp.max(norm_errors / sizes, axis=1)

    # The gap, whose logarithm is extrapolated.
    chain_gap = lambda chain: kernel_gap(partner_kernel(chain), steps)
    log_gap, bound, _ = jax.vmap(jax.vmap(chain_gap))(chains)
    log_limit, width_error = jax.vmap(extrapolate)(log_gap)
    gap_error = jnp.max(bound, axis=1)
    error = jnp.maximum(width_error + gap_error, norm_error)
    costs = Costs(
        gap=jnp.exp(log_limit),
        drive=drive,
        score_drive=score_drive,
        length=size,
        exact=exact,
        error=error,
    )
    return costs, gap_error


def _make_chain(log_gibbs: Array, used: Array, width: Array, diffusion: Array) -> Chain:
    """The Scharfetter-Gummel chain of one row; cells that are not `used` are empty."""
    mass = jnp.where(used, log_gibbs + jnp.log(width), LOG_ZERO)
    mass = jnp.where(used, mass - jax.scipy.special.logsumexp(mass), LOG_ZERO)
    faces = used[1:]
    log_ratio = jnp.where(faces, log_gibbs[1:] - log_gibbs[:-1], 0)
    # The products density x rate of the two nodes of a face are equal. That with the
    # larger rate has not underflowed.
    below, above = mass[:-1], mass[1:]
    lower = jnp.where(log_ratio > 0, below, above) - jnp.log(width)
    larger_rate = diffusion / width * bernoulli(-jnp.abs(log_ratio))
    conductance = lower + jnp.log(larger_rate)
    return Chain(mass, jnp.where(faces, conductance, 0))


def _chain_norms(chain: Chain, ell: Array, steepness: Array) -> Array:
    """drive, score_drive, length and exact on one chain, `(4,)`."""
    mass = jnp.exp(chain.mass)
    mean = lambda u: jnp.sum(mass * u)
    ell = ell - mean(ell)
    differences = _flux_over_conductance(chain, ell)
    # The equation determines g up to a constant, which E g = 0 fixes.
    g = jnp.append(0, -jnp.cumsum(differences))
    g = g - mean(g)
    squares = [
        mean(ell**2),
        mean(steepness),
        mean(ell * g),
        mean(g**2),
    ]
    return jnp.sqrt(jnp.stack(squares))


def _flux_over_conductance(chain: Chain, ell: Array) -> Array:
    """j / (D π) at the faces."""
    mass = jnp.exp(chain.mass)
    # The flux is the sum of π ell below a face, or minus that above it. The sum from
    # the nearer end keeps the relative accuracy in the tails.
    source = mass * ell
    below = jnp.cumsum(source)[:-1]
    above = jnp.cumsum(source[::-1])[-2::-1]
    nearer_below = jnp.cumsum(mass)[:-1] < 0.5
    flux = jnp.where(nearer_below, below, -above)
    conductance = jnp.exp(chain.conductance)
    # Beyond the cells with a representable mass the ratio has no digits, and no weight
    # in any norm.
    has_mass = mass > CONSTANTS.min_probability
    positive = has_mass[:-1] & has_mass[1:]
    return jnp.where(positive, flux / jnp.where(positive, conductance, 1), 0)


@shape_program
def grid_costs(
    motion: Motion, samples: Samples | None, scheme: Scheme, grid: Grid, solves: bool
) -> Costs:
    """The costs at one λ on a grid of any dimension, without the gap.

    **Arguments**: `motion` at one λ, `(*shape)`; `samples` of the scheme, needed if
    `solves`; `solves`, whether `length` and `exact` are computed, which are 0
    otherwise. **Cost**: some tens of products with H, where H is nearly separable.
    """
    log_masses = motion.log_gibbs + jnp.log(grid.weights)
    log_gibbs = motion.log_gibbs - jax.scipy.special.logsumexp(log_masses)
    mean = lambda u: grid.integrate(jnp.exp(log_gibbs) * u)
    ell = motion.ell - mean(motion.ell)
    zero = jnp.zeros((), ell.dtype)
    length = exact = error = zero
    if solves:
        assert samples is not None, "H^{-1} needs the operator"
        operator = scheme.assemble(samples, grid, ell.dtype)
        ground_state = jnp.exp(log_gibbs / 2)
        wave = ground_state * ell
        # In the complement of the ground state, where H is positive.
        solution, error = invert(operator, wave, ground_state)
        length = jnp.sqrt(grid.integrate(wave * solution))
        exact = jnp.sqrt(grid.integrate(solution**2))
    drive = jnp.sqrt(mean(ell**2))
    score_drive = jnp.sqrt(mean(motion.steepness))
    return Costs(
        gap=zero,
        drive=drive,
        score_drive=score_drive,
        length=length,
        exact=exact,
        error=error,
    )
