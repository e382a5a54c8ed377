"""A protocol in steps whose fluctuation relations hold exactly: the work and the heat take turns.

    λ_0 = 0,   λ_k = λ((k - 1/2) h),  k = 1 .. K,  h = T / K,   λ_{K+1} = 1

    work of step k   U_{λ_{k+1}}(x) - U_{λ_k}(x)  at a fixed x, k = 0 .. K
    heat of step k   exp(h L_{λ_k}), reversible with respect to exp(-U_{λ_k} / D) on the grid, k = 1 .. K

For the law of x and the work W together, tilted by a number z,

    g(x) = E[ exp(z W) δ(X_T - x) ]:     g <- exp(z (U_{λ_{k+1}} - U_{λ_k})) g,     g <- exp(h L_{λ_k}) g,

from g = π_0. Since exp(h L) is reversible, without any other assumption and to rounding on any grid and for any K,

    Jarzynski   E exp(-W / D) = Z_1 / Z_0
    Crooks      E exp(z W) = (Z_1 / Z_0) E_r exp(-(z + 1/D) W_r),   W_r the work of the reversed protocol from π_1

A jump of λ at an end is part of the first or the last work. In time the rule is symmetric: its error is a series in h^2
where λ(t) is smooth between its ends. In space it has the order 2 of finite volumes.

References: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690; Crooks, Phys. Rev. E 60 (1999) 2721.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import quick_program, sampling_program, shape_program
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import Samples, ScharfetterGummel
from ..propagate import Picture, Uniformization

SCHEME = ScharfetterGummel()
HEAT = Uniformization()


class Staircase(eqx.Module):
    """A protocol in K steps as arrays.

    - `energies` `(K + 2, *shape)`: U at λ_0 .. λ_{K+1}; `samples`: those of the scheme at λ_1 .. λ_K
    - `log_z` `(K + 2,)`: log Z; `start` `(*shape)`: the Gibbs density at λ_0; `length` h of a step; `diffusion` D
    """

    energies: Array
    samples: Samples
    log_z: Array
    start: Array
    length: Array
    diffusion: Array
    grid: Grid = eqx.field(static=True)

    @property
    def steps(self) -> int:
        """K."""
        return len(self.energies) - 2

    @property
    def free_energy(self) -> Array:
        """F_1 - F_0 = -D log(Z_1 / Z_0)."""
        return -self.diffusion * (self.log_z[-1] - self.log_z[0])


class Moments(NamedTuple):
    """`mean` and `variance` of the work; the `density` after the last step, `(*shape)`."""

    mean: Array
    variance: Array
    density: Array


class _Sampled(NamedTuple):
    """The functions at all λ: U `(K + 2, *shape)`, and the samples of the scheme at the inner ones."""

    energies: Array
    samples: Samples


def step_lambdas(schedule: Callable[[Any], Any], total: Any, count: int) -> Array:
    """λ_0 .. λ_{K+1}, `(K + 2,)`, for K = `count` steps."""
    return _lambdas_at(schedule, total * ((np.arange(count) + 0.5) / count))


@sampling_program
def _lambdas_at(schedule: Any, times: Array) -> Array:
    inside = jax.vmap(lambda t: jnp.asarray(schedule(t), float))(times)
    return jnp.concatenate([jnp.zeros(1), inside, jnp.ones(1)])


def make_staircase(by_lambda: FokkerPlanck, grid: Grid, lambdas: Any, total: Any, reverse: bool = False) -> Staircase:
    """The staircase through `lambdas` `(K + 2,)`; `by_lambda` is an equation whose time is λ.

    `reverse` gives that of the reversed protocol, from λ_{K+1} to λ_0.
    """
    lambdas = jnp.asarray(lambdas, float)
    sampled = _sample(by_lambda, grid, lambdas[::-1] if reverse else lambdas)
    length = jnp.asarray(total, float) / (len(lambdas) - 2)
    return _staircase(sampled, grid, length, jnp.asarray(by_lambda.diffusion, float))


@sampling_program
def _sample(equation: FokkerPlanck, grid: Grid, lambdas: Array) -> _Sampled:
    energies = jax.lax.map(lambda lam: grid.sample(lambda x: equation.energy(x, lam)), lambdas)
    samples = jax.lax.map(lambda lam: SCHEME.sample(equation, grid, lam, True), lambdas[1:-1])
    return _Sampled(energies, samples)


@quick_program
def _staircase(sampled: _Sampled, grid: Grid, length: Array, diffusion: Array) -> Staircase:
    log_weights = -sampled.energies / diffusion
    axes = tuple(range(1, log_weights.ndim))
    log_z = jax.scipy.special.logsumexp(log_weights, b=jnp.asarray(grid.weights, log_weights.dtype), axis=axes)
    start = jnp.exp(log_weights[0] - log_z[0])
    return Staircase(sampled.energies, sampled.samples, log_z, start, length, diffusion, grid)


@shape_program
def work_moments(stairs: Staircase) -> Moments:
    """The mean and the variance of the work.

    With the fields g_n = E[(W - E W)^n δ(X - x)] nothing is subtracted that is large: the mean of each step is taken
    off when it is added.
    """
    grid = stairs.grid

    def kick(rows: Array, total: Array, change: Array) -> tuple[Array, Array]:
        density, first, second = rows
        mean = grid.integrate(density * change)
        rest = change - mean
        rows = jnp.stack([density, first + rest * density, second + 2 * rest * first + rest**2 * density])
        return rows, total + mean

    zero = jnp.zeros_like(stairs.start)
    rows, mean = _walk(stairs, jnp.stack([stairs.start, zero, zero]), kick)
    return Moments(mean, grid.integrate(rows[2]), rows[0])


@shape_program
def tilted_fields(stairs: Staircase, tilts: Array, centre: Array) -> Array:
    """E[exp(z (W - centre)) δ(X_T - x)] for `tilts` z `(M,)`, complex or real, `(M, *shape)` complex.

    **Cost**: K exponentials of a step, each of some tens of products, for 2 M fields at a time.
    """
    shape = stairs.grid.shape
    z = tilts.reshape(-1, *[1] * len(shape))
    # The work that is taken off is spread over the steps, so that no product of factors overflows before the end.
    share = centre / (len(stairs.energies) - 1)

    def kick(rows: Array, total: Array, change: Array) -> tuple[Array, Array]:
        g = (rows[: len(z)] + 1j * rows[len(z) :]) * jnp.exp(z * (change - share))
        return jnp.concatenate([g.real, g.imag]), total

    # Real and imaginary parts are fields of their own, since the heat is a real linear map.
    real = jnp.broadcast_to(stairs.start, (len(z), *shape))
    rows, _ = _walk(stairs, jnp.concatenate([real, jnp.zeros_like(real)]), kick)
    return rows[: len(z)] + 1j * rows[len(z) :]


def _walk(stairs: Staircase, rows: Array, kick: Callable[[Array, Array, Array], tuple[Array, Array]]) -> Any:
    """The fields `rows` `(R, *shape)` after all steps, and a number that the kicks add to."""
    changes = jnp.diff(stairs.energies, axis=0)

    def step(state: tuple[Array, Array], given: tuple[Samples, Array]) -> tuple[tuple[Array, Array], None]:
        samples, change = given
        rows, total = state
        operator = SCHEME.assemble(samples, stairs.grid, rows.dtype)
        prepared = HEAT.prepare(operator, Picture.DENSITY)
        heat = lambda u: HEAT.apply(prepared, u, stairs.length[None], jnp.zeros(()), 0.0).field[0]
        return kick(jax.vmap(heat)(rows), total, change), None

    state = kick(rows, jnp.zeros((), rows.dtype), changes[0])
    return jax.lax.scan(step, state, (stairs.samples, changes[1:]))[0]


def mean_work(by_lambda: FokkerPlanck, grid: Grid, schedule: Callable[[Any], Any], total: Any, count: int) -> Array:
    """The mean work in `count` and in twice as many steps, extrapolated in h^2: of order 4 in h; it can be traced."""
    values = []
    for steps in (count, 2 * count):
        stairs = make_staircase(by_lambda, grid, step_lambdas(schedule, total, steps), total)
        values.append(work_moments(stairs).mean)
    return values[1] + (values[1] - values[0]) / 3


