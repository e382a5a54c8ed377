"""A protocol in steps whose fluctuation relations hold exactly: the work and the heat
take turns.

    λ_0 = 0,   λ_k = λ((k - 1/2) h),  k = 1 .. K,  h = T / K,   λ_{K+1} = 1

    work of step k   U_{λ_{k+1}}(x) - U_{λ_k}(x)  at a fixed x, k = 0 .. K
    heat of step k   exp(h L_{λ_k}), reversible with respect to exp(-U_{λ_k} / D) on the grid, k = 1 .. K

For the law of x and the work W together, tilted by a number z,

    g(x) = E[ exp(z W) δ(X_T - x) ]:     g <- exp(z (U_{λ_{k+1}} - U_{λ_k})) g,     g <- exp(h L_{λ_k}) g,

from g = π_0. Since exp(h L) is reversible, without any other assumption and to rounding
on any grid and for any K,

    Jarzynski   E exp(-W / D) = Z_1 / Z_0
    Crooks      E exp(z W) = (Z_1 / Z_0) E_r exp(-(z + 1/D) W_r),   W_r the work of the reversed protocol from π_1

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
from ..core.types import AnyArray, ArrayModule, Clock, Numbers, SameArray, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..propagate import Picture, Uniformization
from .constants import CONSTANTS

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
    """`mean` and `variance` of the work; the `density` after the last step, `(*shape)`."""

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
    return _lambdas_at(schedule, total * ((np.arange(count) + 0.5) / count))


@sampling_program
def _lambdas_at(schedule: Clock, times: Scalar) -> Array:
    inside = jax.vmap(lambda t: jnp.asarray(schedule(t), float))(times)
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
    if is_concrete(by_lambda, lambdas, total):
        ordered = np.asarray(lambdas, float)[:: -1 if reverse else 1]
        energies = in_batches(
            lambda part: _sample_energies(by_lambda, grid, part), ordered
        )
        samples = in_batches(
            lambda part: _sample_scheme(by_lambda, grid, part), ordered[1:-1]
        )
        diffusion, xp = np.asarray(by_lambda.diffusion), np
    else:
        ordered = jnp.asarray(lambdas, float)[:: -1 if reverse else 1]
        energies = _sample_energies(by_lambda, grid, ordered)
        samples = _sample_scheme(by_lambda, grid, ordered[1:-1])
        diffusion, xp = by_lambda.diffusion, jnp
    log_weights = -energies / diffusion
    axes = tuple(range(1, log_weights.ndim))
    top = xp.max(log_weights, axis=axes, keepdims=True)
    masses = xp.exp(log_weights - top) * xp.asarray(grid.weights)
    log_z = xp.log(xp.sum(masses, axis=axes)) + top.reshape(-1)
    start = xp.exp(log_weights[0] - log_z[0])
    return Staircase(energies, samples, log_z, start, length, diffusion, grid)


def in_batches(f: Callable[[np.ndarray], Any], values: np.ndarray) -> PyTree:
    """f of `values` `(K,)`, in batches of one size: a pytree of numpy arrays with K
    rows.
    """
    size = CONSTANTS.stairs_batch
    padded = np.concatenate([values, np.full(-len(values) % size, values[-1])])
    rows = [f(part) for part in np.split(padded, len(padded) // size)]
    return jax.tree.map(
        lambda *parts: np.concatenate([np.asarray(part) for part in parts])[
            : len(values)
        ],
        *rows,
    )


@sampling_program
def _sample_energies(equation: FokkerPlanck, grid: Grid, lambdas: AnyArray) -> Array:
    return jax.lax.map(
        lambda lam: grid.sample(lambda x: equation.energy(x, lam)), jnp.asarray(lambdas)
    )


@sampling_program
def _sample_scheme(equation: FokkerPlanck, grid: Grid, lambdas: AnyArray) -> Samples:
    return jax.lax.map(
        lambda lam: SCHEME.sample(equation, grid, lam, True), jnp.asarray(lambdas)
    )


def walk(stairs: Staircase, run: Callable[[Flight, Tree], Tree], state: Tree) -> Tree:
    """`state` after all steps but the last work, by flights of one size, for one
    program; the whole where traced.
    """
    changes = stairs.energies[1:-1] - stairs.energies[:-2]
    if not is_concrete(stairs, state):
        return run(Flight(changes, stairs.samples, stairs.length), state)
    size = CONSTANTS.stairs_batch
    for k in range(0, stairs.steps, size):
        part = slice(k, min(k + size, stairs.steps))
        samples = jax.tree.map(lambda row, part=part: row[part], stairs.samples)
        state = run(
            Flight(changes[part], samples, np.asarray(stairs.length, float)), state
        )
    return state


def work_moments(stairs: Staircase) -> Moments:
    """The mean and the variance of the work; it can be traced.

    With the fields g_n = E[(W - E W)^n δ(X - x)] nothing is subtracted that is large:
    the mean of each step is taken off when it is added.
    """
    zero = jnp.zeros_like(jnp.asarray(stairs.start))
    rows = jnp.stack([jnp.asarray(stairs.start), zero, zero])
    state = walk(
        stairs,
        lambda flight, state: _moment_flight(flight, state, stairs.grid),
        (rows, jnp.zeros((), rows.dtype)),
    )
    return _last_moments(stairs.last_change, state, stairs.grid)


@shape_program
def _moment_flight(
    flight: Flight, state: tuple[Array, Array], grid: Grid
) -> tuple[Array, Array]:
    def step(
        state: tuple[Array, Array], given: tuple[Array, Samples]
    ) -> tuple[tuple[Array, Array], None]:
        rows, total = _moment_kick(grid, *state, given[0])
        return (_heat(given[1], grid, rows, flight.length), total), None

    return jax.lax.scan(step, state, (jnp.asarray(flight.changes), flight.samples))[0]


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
    rest = change - mean
    rows = jnp.stack(
        [density, first + rest * density, second + 2 * rest * first + rest**2 * density]
    )
    return rows, total + mean


def tilted_fields(stairs: Staircase, tilts: Numbers, centre: Scalar) -> np.ndarray:
    """E[exp(z (W - centre)) δ(X_T - x)] for `tilts` z `(M,)`, complex or real,
    `(M, *shape)` complex.

    **Cost**: K exponentials of a step, each of some tens of products, for 2 M fields at
    a time.
    """
    z = np.asarray(tilts).reshape(-1, *[1] * stairs.grid.ndim)
    # The work that is taken off is spread over the steps, so that no product of factors
    # overflows before the end.
    share = np.asarray(centre, float) / (stairs.steps + 1)
    real = np.broadcast_to(np.asarray(stairs.start), (len(z), *stairs.grid.shape))
    rows = jnp.asarray(np.concatenate([real, np.zeros_like(real)]))
    rows = walk(
        stairs,
        lambda flight, rows: _tilted_flight(flight, rows, z, share, stairs.grid),
        rows,
    )
    return _to_complex(
        _tilted_kick(np.asarray(rows), z, stairs.last_change - share, np)
    )


@shape_program
def _tilted_flight(
    flight: Flight, rows: Array, z: AnyArray, share: Scalar, grid: Grid
) -> Array:
    def step(rows: Array, given: tuple[Array, Samples]) -> tuple[Array, None]:
        rows = _tilted_kick(rows, z, given[0] - share, jnp)
        return _heat(given[1], grid, rows, flight.length), None

    return jax.lax.scan(step, rows, (jnp.asarray(flight.changes), flight.samples))[0]


def _tilted_kick(
    rows: SameArray, z: AnyArray, change: AnyArray, xp: ArrayModule
) -> SameArray:
    """The rows, real parts and then imaginary parts, times exp(z change)."""
    g = _to_complex(rows)
    # Where the density has underflowed the factor may overflow: nothing is left to
    # multiply.
    exponent = xp.where((g == 0) | ~xp.isfinite(change), 0, z * change)
    g = g * xp.exp(exponent)
    # Real and imaginary parts are fields of their own, since the heat is a real linear
    # map.
    return xp.concatenate([g.real, g.imag])


def _to_complex(rows: AnyArray) -> Any:
    count = len(rows) // 2
    return rows[:count] + 1j * rows[count:]


def reweighted_fields(stairs: Staircase, tilts: Numbers, centre: Scalar) -> np.ndarray:
    """r(x) = E[exp(z (W - centre) - (W - ΔF) / D) δ(X_T - x)] / π_1(x), `(M, *shape)`,
    for imaginary z `(M,)`.

    In units of π nothing underflows, however steep the potentials are. The generator of
    r is L, conjugated with π by the ratios of π at neighbours, so that no detailed
    balance is assumed.
    """
    z = np.asarray(tilts).reshape(-1, *[1] * stairs.grid.ndim)
    share = np.asarray(centre, float) / (stairs.steps + 1)
    ones = np.ones((len(z), *stairs.grid.shape))
    rows = jnp.asarray(np.concatenate([ones, 0 * ones]))
    log_gibbs = -stairs.energies[1:-1] / stairs.diffusion
    # The flights need log π besides: it takes the place of log_gibbs in the samples.
    samples = eqx.tree_at(
        lambda s: s.log_gibbs,
        stairs.samples,
        log_gibbs,
        is_leaf=lambda node: node is None,
    )
    stairs = eqx.tree_at(lambda s: s.samples, stairs, samples)
    rows = walk(
        stairs,
        lambda flight, rows: _reweighted_flight(flight, rows, z, share, stairs.grid),
        rows,
    )
    return _to_complex(
        _tilted_kick(np.asarray(rows), z, stairs.last_change - share, np)
    )


@shape_program
def _reweighted_flight(
    flight: Flight, rows: Array, z: AnyArray, share: Scalar, grid: Grid
) -> Array:
    def step(rows: Array, given: tuple[Array, Samples]) -> tuple[Array, None]:
        change, samples = given
        rows = _tilted_kick(rows, z, change - share, jnp)
        operator = conjugated(
            SCHEME.assemble(samples, grid, rows.dtype), samples.log_gibbs
        )
        return _exponential(operator, rows, flight.length), None

    return jax.lax.scan(step, rows, (jnp.asarray(flight.changes), flight.samples))[0]


def conjugated(operator: EdgeOperator, log_gibbs: AnyArray | None) -> EdgeOperator:
    """The operator (1/π) L π on fields relative to π, from the ratios of π at
    neighbours, which do not underflow.
    """
    up, down = [], []
    for i, axis in enumerate(operator.grid.axes):
        below, above = axis.face_neighbors(jnp.asarray(log_gibbs), i)
        up.append(operator.up[i] * jnp.exp(below - above))
        down.append(operator.down[i] * jnp.exp(above - below))
    bare = EdgeOperator(operator.grid, tuple(up), tuple(down), None, None)
    # Mass leaves a node at the rates of L. What this differs from those of the new
    # rates is a potential term.
    return EdgeOperator(
        operator.grid, bare.up, bare.down, operator.exit_rates - bare.out_rates, None
    )


def _heat(samples: Samples, grid: Grid, rows: Array, length: Scalar) -> Array:
    """exp(length L) of the fields `rows` `(R, *shape)`."""
    return _exponential(SCHEME.assemble(samples, grid, rows.dtype), rows, length)


def _exponential(operator: EdgeOperator, rows: Array, length: Scalar) -> Array:
    prepared = HEAT.prepare(operator, Picture.DENSITY)
    lengths = jnp.asarray(length, rows.dtype)[None]
    return jax.vmap(
        lambda u: HEAT.apply(prepared, u, lengths, jnp.zeros(()), 0.0).field[0]
    )(rows)


def mean_work(
    by_lambda: FokkerPlanck, grid: Grid, schedule: Clock, total: Scalar, count: int
) -> Array:
    """The mean work in `count` and in twice as many steps, extrapolated in h^2: of
    order 4 in h; it can be traced.
    """
    values = []
    for steps in (count, 2 * count):
        stairs = make_staircase(
            by_lambda, grid, step_lambdas(schedule, total, steps), total
        )
        values.append(work_moments(stairs).mean)
    return values[1] + (values[1] - values[0]) / 3
