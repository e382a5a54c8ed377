"""The law of the position together with the tilted work of a protocol in steps.

    g(x) = E[ exp(z W) δ(X_T - x) ]:
        g <- exp(z (U_{λ_{k+1}} - U_{λ_k})) g,     g <- exp(h L_{λ_k}) g,

from g = π_0, for complex numbers z (`staircase`). The same relative to π serves for the
relation of Crooks, where both sides may be small.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import shape_program
from ..core.types import AnyArray, ArrayModule, Numbers, SameArray, Scalar
from ..grid import Grid
from ..operator import Samples
from .staircase import (
    SCHEME,
    Flight,
    Staircase,
    conjugated,
    exponential,
    heat,
    walk,
)


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
    start = jnp.asarray(np.concatenate([real, np.zeros_like(real)]))

    def run(flight: Flight, rows: Array) -> Array:
        return _tilted_flight(flight, rows, z, share, stairs.grid)

    rows = np.asarray(walk(stairs, run, start))
    # After the last work there is no heat.
    return _to_complex(_tilted_kick(rows, z, stairs.last_change - share, np))


@shape_program
def _tilted_flight(
    flight: Flight, rows: Array, z: AnyArray, share: Scalar, grid: Grid
) -> Array:
    def step(rows: Array, given: tuple[Array, Samples]) -> tuple[Array, None]:
        change, samples = given
        rows = _tilted_kick(rows, z, change - share, jnp)
        return heat(samples, grid, rows, flight.length), None

    steps = (jnp.asarray(flight.changes), flight.samples)
    return jax.lax.scan(step, rows, steps)[0]


def _tilted_kick(
    rows: SameArray, z: AnyArray, change: AnyArray, xp: ArrayModule
) -> SameArray:
    """The rows, real parts and then imaginary parts, times exp(z change)."""
    g = _to_complex(rows)
    # Where the density has underflowed the factor may overflow: nothing is left to
    # multiply.
    unused = (g == 0) | ~xp.isfinite(change)
    g = g * xp.exp(xp.where(unused, 0, z * change))
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
    # r = 1 at the start, which has the Gibbs density.
    ones = np.ones((len(z), *stairs.grid.shape))
    start = jnp.asarray(np.concatenate([ones, 0 * ones]))
    log_gibbs = -stairs.energies[1:-1] / stairs.diffusion
    # The flights need log π besides: it takes the place of log_gibbs in the samples.
    samples = eqx.tree_at(
        lambda s: s.log_gibbs,
        stairs.samples,
        log_gibbs,
        is_leaf=lambda node: node is None,
    )
    stairs = eqx.tree_at(lambda s: s.samples, stairs, samples)

    def run(flight: Flight, rows: Array) -> Array:
        return _reweighted_flight(flight, rows, z, share, stairs.grid)

    rows = np.asarray(walk(stairs, run, start))
    return _to_complex(_tilted_kick(rows, z, stairs.last_change - share, np))


@shape_program
def _reweighted_flight(
    flight: Flight, rows: Array, z: AnyArray, share: Scalar, grid: Grid
) -> Array:
    def step(rows: Array, given: tuple[Array, Samples]) -> tuple[Array, None]:
        change, samples = given
        rows = _tilted_kick(rows, z, change - share, jnp)
        operator = SCHEME.assemble(samples, grid, rows.dtype)
        relative = conjugated(operator, samples.log_gibbs)
        return exponential(relative, rows, flight.length), None

    steps = (jnp.asarray(flight.changes), flight.samples)
    return jax.lax.scan(step, rows, steps)[0]
