"""A protocol in steps whose fluctuation relations hold exactly: the work and the heat
take turns.

    λ_0 = 0,   λ_k = λ((k - 1/2) h),  k = 1 .. K,  h = T / K,   λ_{K+1} = 1

    work of step k   U_{λ_{k+1}}(x) - U_{λ_k}(x)  at a fixed x, k = 0 .. K
    heat of step k   exp(h L_{λ_k}), k = 1 .. K, reversible on the grid with respect to
                     exp(-U_{λ_k} / D)

For the law of x and the work W together, tilted by a number z,

    g(x) = E[ exp(z W) δ(X_T - x) ]:
        g <- exp(z (U_{λ_{k+1}} - U_{λ_k})) g,     g <- exp(h L_{λ_k}) g,

from g = π_0. Since exp(h L) is reversible, without any other assumption and to rounding
on any grid and for any K,

    Jarzynski   E exp(-W / D) = Z_1 / Z_0
    Crooks      E exp(z W) = (Z_1 / Z_0) E_r exp(-(z + 1/D) W_r)

where W_r is the work of the reversed protocol from π_1.

A jump of λ at an end is part of the first or the last work. In time the rule is
symmetric: its error is a series in h^2 where λ(t) is smooth between its ends. In space
it has the order 2 of finite volumes.

References: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690; Crooks, Phys. Rev. E 60 (1999)
2721.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core.checks import is_concrete
from ..core.program import sampling_program, shape_program
from ..core.types import AnyArray, Clock, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..propagate import Picture, Uniformization
from .constants import CONSTANTS

# Rates that balance in detail, and an exponential to rounding: the fluctuation
# relations need both.
SCHEME = ScharfetterGummel()
HEAT = Uniformization()
Tree = TypeVar("Tree")


class Staircase(eqx.Module):
    """A protocol in K steps as arrays.

    - `energies` `(K + 2, *shape)`: U at λ_0 .. λ_{K+1}; `samples`: those of the scheme
      at λ_1 .. λ_K
    - `log_z` `(K + 2,)`: log Z; `start` `(*shape)`: the Gibbs density at λ_0; `length`
      h of a step; `diffusion` D
    """

    energies: AnyArray
    samples: Samples
    log_z: AnyArray
    start: AnyArray
    length: Scalar
    diffusion: Scalar
    grid: Grid = eqx.field(static=True)

    @property
    def steps(self) -> int:
        """K."""
        return len(self.energies) - 2

    @property
    def free_energy(self) -> Scalar:
        """F_1 - F_0 = -D log(Z_1 / Z_0)."""
        return -self.diffusion * (self.log_z[-1] - self.log_z[0])

    @property
    def last_change(self) -> AnyArray:
        """The last work at the nodes, `(*shape)`, after which there is no heat."""
        return self.energies[-1] - self.energies[-2]


class Moments(NamedTuple):
    """`mean` and `variance` of the work; `density` after the last step, `(*shape)`."""

    mean: Scalar
    variance: Scalar
    density: AnyArray


class Flight(NamedTuple):
    """Some steps in a row: the `changes` of U before each heat `(k, *shape)`, and the
    `samples` of its operator.
    """

    changes: AnyArray
    samples: Samples
    length: Scalar


def step_lambdas(schedule: Clock, total: Scalar, count: int) -> Array:
    """λ_0 .. λ_{K+1}, `(K + 2,)`, for K = `count` steps."""
    middles = (np.arange(count) + 0.5) / count
    return _lambdas_at(schedule, total * middles)


@sampling_program
def _lambdas_at(schedule: Clock, times: Scalar) -> Array:
    inside = jax.vmap(lambda t: jnp.asarray(schedule(t), float))(times)
    # The ends are those of the path itself: a jump there is part of the work.
    return jnp.concatenate([jnp.zeros(1), inside, jnp.ones(1)])


def make_staircase(
    by_lambda: FokkerPlanck,
    grid: Grid,
    lambdas: AnyArray,
    total: Scalar,
    reverse: bool = False,
) -> Staircase:
    """The staircase through `lambdas` `(K + 2,)`; `by_lambda` is an equation whose time
    is λ.

    `reverse` gives that of the reversed protocol, from λ_{K+1} to λ_0.
    """
    length = total / (len(lambdas) - 2)
    # Concrete values are handled by numpy, which compiles nothing, in batches of one
    # size, for one program.
    order = -1 if reverse else 1
    if is_concrete(by_lambda, lambdas, total):
        xp = np
        diffusion = np.asarray(by_lambda.diffusion)
        ordered = np.asarray(lambdas, float)[::order]
        energies = in_batches(
            lambda part: _sample_energies(by_lambda, grid, part), ordered
        )
        samples = in_batches(
            lambda part: _sample_scheme(by_lambda, grid, part), ordered[1:-1]
        )
    else:
        xp = jnp
        diffusion = by_lambda.diffusion
        ordered = jnp.asarray(lambdas, float)[::order]
        energies = _sample_energies(by_lambda, grid, ordered)
        samples = _sample_scheme(by_lambda, grid, ordered[1:-1])
    # log Z by logsumexp, which does not overflow.
    log_weights = -energies / diffusion
    axes = tuple(range(1, log_weights.ndim))
    top = xp.max(log_weights, axis=axes, keepdims=True)
    masses = xp.exp(log_weights - top) * xp.asarray(grid.weights)
    total_mass = xp.sum(masses, axis=axes)
    log_z = xp.log(total_mass) + top.reshape(-1)
    start = xp.exp(log_weights[0] - log_z[0])
    return Staircase(
        energies=energies,
        samples=samples,
        log_z=log_z,
        start=start,
        length=length,
        diffusion=diffusion,
        grid=grid,
    )


def in_batches(f: Callable[[np.ndarray], Any], values: np.ndarray) -> PyTree:
    """f of `values` `(K,)` in batches of one size: numpy arrays with K rows."""
    size = CONSTANTS.stairs_batch
    padding = np.full(-len(values) % size, values[-1])
    padded = np.concatenate([values, padding])
    rows = [f(part) for part in np.split(padded, len(padded) // size)]

    def join(*parts: AnyArray) -> np.ndarray:
        whole = np.concatenate([np.asarray(part) for part in parts])
        return whole[: len(values)]

    return jax.tree.map(join, *rows)


@sampling_program
def _sample_energies(equation: FokkerPlanck, grid: Grid, lambdas: AnyArray) -> Array:
    at = lambda lam: grid.sample(lambda x: equation.energy(x, lam))
    return jax.lax.map(at, jnp.asarray(lambdas))


@sampling_program
def _sample_scheme(equation: FokkerPlanck, grid: Grid, lambdas: AnyArray) -> Samples:
    at = lambda lam: SCHEME.sample(equation, grid, lam, True)
    return jax.lax.map(at, jnp.asarray(lambdas))


def walk(stairs: Staircase, run: Callable[[Flight, Tree], Tree], state: Tree) -> Tree:
    """`state` after all steps but the last work, by flights of one size, for one
    program; the whole where traced.
    """
    # Before each heat; the last work has none after it.
    changes = stairs.energies[1:-1] - stairs.energies[:-2]
    # Traced steps are part of one program already.
    if not is_concrete(stairs, state):
        return run(Flight(changes, stairs.samples, stairs.length), state)
    size = CONSTANTS.stairs_batch
    length = np.asarray(stairs.length, float)
    for k in range(0, stairs.steps, size):
        part = slice(k, min(k + size, stairs.steps))
        samples = jax.tree.map(lambda row, part=part: row[part], stairs.samples)
        state = run(Flight(changes[part], samples, length), state)
    return state


def work_moments(stairs: Staircase) -> Moments:
    """The mean and the variance of the work; it can be traced.

    With the fields g_n = E[(W - E W)^n δ(X - x)] nothing is subtracted that is large:
    the mean of each step is taken off when it is added.
    """
    # g_0, and g_1 and g_2, which are zero before the first work.
    density = jnp.asarray(stairs.start)
    zero = jnp.zeros_like(density)
    rows = jnp.stack([density, zero, zero])

    def run(flight: Flight, state: tuple[Array, Array]) -> tuple[Array, Array]:
        return _moment_flight(flight, state, stairs.grid)

    state = walk(stairs, run, (rows, jnp.zeros((), rows.dtype)))
    return _last_moments(stairs.last_change, state, stairs.grid)


@shape_program
def _moment_flight(
    flight: Flight, state: tuple[Array, Array], grid: Grid
) -> tuple[Array, Array]:
    def step(
        state: tuple[Array, Array], given: tuple[Array, Samples]
    ) -> tuple[tuple[Array, Array], None]:
        change, samples = given
        rows, total = _moment_kick(grid, *state, change)
        return (heat(samples, grid, rows, flight.length), total), None

    steps = (jnp.asarray(flight.changes), flight.samples)
    return jax.lax.scan(step, state, steps)[0]


@shape_program
def _last_moments(change: AnyArray, state: tuple[Array, Array], grid: Grid) -> Moments:
    rows, mean = _moment_kick(grid, *state, change)
    return Moments(mean, grid.integrate(rows[2]), rows[0])


def _moment_kick(
    grid: Grid, rows: Array, total: Array, change: AnyArray
) -> tuple[Array, Array]:
    density, first, second = rows
    # Where there is no density, an energy that is not finite does no work.
    change = jnp.where((density == 0) & ~jnp.isfinite(change), 0, change)
    mean = grid.integrate(density * change)
    # The moments about the mean after this step, which has moved by `mean`.
    rest = change - mean
    new_first = first + rest * density
    new_second = second + 2 * rest * first + rest**2 * density
    return jnp.stack([density, new_first, new_second]), total + mean


def conjugated(operator: EdgeOperator, log_gibbs: AnyArray | None) -> EdgeOperator:
    """The operator (1/π) L π on fields relative to π, from the ratios of π at
    neighbours, which do not underflow.
    """
    up = []
    down = []
    for i, axis in enumerate(operator.grid.axes):
        below, above = axis.face_neighbors(jnp.asarray(log_gibbs), i)
        up.append(operator.up[i] * jnp.exp(below - above))
        down.append(operator.down[i] * jnp.exp(above - below))
    bare = EdgeOperator(
        grid=operator.grid,
        up=tuple(up),
        down=tuple(down),
        potential_term=None,
        log_sqrt_pi=None,
    )
    # Mass leaves a node at the rates of L. What this differs from those of the new
    # rates is a potential term.
    loss = operator.exit_rates - bare.out_rates
    return EdgeOperator(
        grid=operator.grid,
        up=bare.up,
        down=bare.down,
        potential_term=loss,
        log_sqrt_pi=None,
    )


def heat(samples: Samples, grid: Grid, rows: Array, length: Scalar) -> Array:
    """exp(length L) of the fields `rows` `(R, *shape)`."""
    operator = SCHEME.assemble(samples, grid, rows.dtype)
    return exponential(operator, rows, length)


def exponential(operator: EdgeOperator, rows: Array, length: Scalar) -> Array:
    """exp(length L) of the fields `rows` `(R, *shape)`, by the operator itself."""
    prepared = HEAT.prepare(operator, Picture.DENSITY)
    lengths = jnp.asarray(length, rows.dtype)[None]
    no_tol = jnp.zeros(())  # the exponential is to rounding in any case

    def apply(u: Array) -> Array:
        return HEAT.apply(prepared, u, lengths, no_tol, 0.0).field[0]

    return jax.vmap(apply)(rows)


def mean_work(
    by_lambda: FokkerPlanck, grid: Grid, schedule: Clock, total: Scalar, count: int
) -> Array:
    """The mean work in `count` and in twice as many steps, extrapolated in h^2: of
    order 4 in h; it can be traced.
    """
    values = []
    for steps in (count, 2 * count):
        lambdas = step_lambdas(schedule, total, steps)
        stairs = make_staircase(by_lambda, grid, lambdas, total)
        values.append(work_moments(stairs).mean)
    coarse, fine = values
    # With half the step the term in h^2 is a quarter.
    return fine + (fine - coarse) / 3
