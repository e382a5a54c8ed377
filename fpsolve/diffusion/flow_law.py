"""The exact law of DDIM with few steps, in any dimension, and its distance from the
data.

A step without noise is x' = m(x), in y = x / α and κ = σ / α

    y' = (κ'/κ) y + (1 - κ'/κ) D(y, κ),     D = E[x_0 | y],     ∇D = Cov[x_0 | y] / κ²

so that ∇m is symmetric and positive: m is the gradient of a convex function, and
invertible whatever the length of the step. The law q of the sampler that starts from
q_1 has therefore a density, with F = m_N ... m_1 all steps,

    log q(F(x)) = log q_1(x) - Σ_k log det ∇m_k
    KL(q | p_0) = ∫ q_1(x) [ log q(F(x)) - log p_0(F(x)) ] dx.

The integral is taken over the start, where q_1 is smooth and known: nothing is sampled
or binned.

References: Song, Meng and Ermon, DDIM (ICLR 2021), equation 12; Efron, J. Amer. Stat.
Assoc. 106 (2011) 1602 (∇D).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import raise_value_error
from ..core.program import compiled, public_function, sampling_program
from ..core.types import Formula, Numbers
from ..grid import Gaussian, Grid
from ..grid.sampling import sample
from ..plan.companion import companion
from .constants import CONSTANTS
from .ddim import step_mean
from .steps import check_lambdas
from .types import NoisingPath


class Divergence(NamedTuple):
    """The distances of the law q of a sampler from the data p, scalars: `kl` KL(q|p)
    and `tv` ½ ∫|q - p|; the errors of both, `kl_error` and `tv_error`, from the nodes
    of another grid.
    """

    kl: Array
    tv: Array
    kl_error: Array
    tv_error: Array


@public_function
def sampler_divergence(
    path: NoisingPath, lambdas: Numbers, grid: Grid, *, initial: Formula | None = None
) -> Divergence:
    """The distances of the exact law of DDIM from the data, in 1 to 3 dimensions.

    **Arguments**: `path`, an `fp.Noising`; `lambdas` `(N + 1,)`, between which the
    sampler steps, descending from 1 to 0; `grid` of `fp.Line` axes that holds the start
    of the sampler, at λ = 1; `initial`, the density at λ = 1, a function of x or
    `fp.Gaussian`; None starts from p_1, so that only the steps cause errors.
    **Returns** a `Divergence`. **Raises** `ValueError` for steps that do not descend
    from 1 to 0, or another kind of axis.

    **Cost**: N scores with their derivatives at each node, twice.

    **Reference**: Song, Meng and Ermon, DDIM (ICLR 2021), equation 12.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.flow_law import sampler_divergence
    from fpsolve.diffusion.steps import linear_steps

    path = fp.Noising(fp.GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], 0.25))
    grid = fp.Grid(fp.Line(-6.0, 6.0, 32), fp.Line(-6.0, 6.0, 33))
    sampler_divergence(path, linear_steps(path, 8), grid).kl
    ```
    """
    lambdas = jnp.asarray(check_lambdas(lambdas), dtype=float)
    if not all(axis.unbounded for axis in grid.axes):
        raise_value_error(
            "grid",
            grid,
            "its axes must be of fp.Line",
            "Give fp.Grid(fp.Line(-6, 6, 64)), say.",
        )
    read = read_noising(path, grid.ndim)
    found = []
    # The second grid has other nodes, which show the error of the quadrature.
    for places in (grid, companion(grid, True)):
        points = places.points.reshape(-1, grid.ndim)
        weights = jnp.asarray(places.weights).ravel()
        if initial is None:
            log_start = _log_noise(read, points)
        else:
            log_start = _log_density(initial, points)
        found.append(_distances(read, lambdas, points, weights, log_start))
    (kl, tv), (other_kl, other_tv) = found
    return Divergence(kl, tv, jnp.abs(kl - other_kl), jnp.abs(tv - other_tv))


@sampling_program
def _log_noise(path: NoisingPath, points: Array) -> Array:
    """log p_1 at `points` `(n, d)`, `(n,)`."""
    return -jax.vmap(path(jnp.ones(())))(points)


def _log_density(initial: Formula, points: Array) -> Array:
    """log q_1 at `points` `(n, d)`, `(n,)`."""
    if isinstance(initial, Gaussian):
        return sample(initial.log_density, points)
    return jnp.log(sample(lambda x: jnp.asarray(initial(x)), points))


@compiled
def _distances(
    path: NoisingPath, lambdas: Array, points: Array, weights: Array, log_start: Array
) -> tuple[Array, Array]:
    """KL and TV, scalars, by a quadrature over the start."""

    def follow(x: Array) -> tuple[Array, Array]:
        return _follow(path, lambdas, x)

    # In batches: the Jacobians of all points at once may not fit into memory.
    batch = CONSTANTS.flow_batch
    moved, log_volume = jax.lax.map(follow, points, batch_size=batch)
    log_data = -jax.vmap(path(jnp.zeros(())))(moved)
    start = jnp.exp(log_start) * weights
    # The quadrature and the truncated tails leave a mass slightly different from 1.
    mass = jnp.sum(start)
    start = start / mass
    # log(q / p) at F(x), where q has mass.
    log_ratio = log_start - log_volume - log_data - jnp.log(mass)
    log_ratio = jnp.where(start > 0, log_ratio, 0)
    kl = jnp.sum(start * log_ratio)
    # ½ ∫|q - p| over the image of F, and half of the mass of the data outside of it.
    data = jnp.exp(log_data + log_volume) * weights
    apart = jnp.sum(jnp.abs(start - data))
    outside = jnp.abs(1 - jnp.sum(data))
    return kl, (apart + outside) / 2


def _follow(path: NoisingPath, lambdas: Array, x: Array) -> tuple[Array, Array]:
    """F(x) `(d,)` and log det ∇F, a scalar."""

    def step(
        state: tuple[Array, Array], pair: Array
    ) -> tuple[tuple[Array, Array], None]:
        x, log_volume = state

        def mean(x: Array) -> Array:
            score = path.score(x, pair[0])
            alphas, sigmas = path.alpha(pair), path.sigma(pair)
            return step_mean(alphas, sigmas, jnp.zeros(()), x, score)

        jacobian = jax.jacfwd(mean)(x)
        # The logarithm of a determinant, which may itself under- or overflow.
        log_det = jnp.linalg.slogdet(jacobian)[1]
        return (mean(x), log_volume + log_det), None

    pairs = jnp.stack([lambdas[:-1], lambdas[1:]], axis=1)
    start = (x, jnp.zeros((), x.dtype))
    end, _ = jax.lax.scan(step, start, pairs)
    return end
