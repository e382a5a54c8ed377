"""The inner loop of the optimiser: a wave relaxes to the ground state of H = -D Lap + V
on sampled values.

    d_tau psi = -(H - <H>) psi
    H from the values of V on cells of a box with reflecting walls

It has relaxed when Var(H) t is small beside <V> - min V: what still decays, decays more
slowly than 1 / t. After each look the time is doubled. Lengths are measured in cells,
so that boxes of all sizes share one program.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import long_program
from ..grid import Grid, Reflecting
from ..linear import lowest_level
from ..operator import Samples, ScharfetterGummel
from ..propagate import Chebyshev, Picture
from .constants import CONSTANTS


class Relaxed(NamedTuple):
    """A wave `(*shape)` of norm 1 over the cells, its energy <H>, Var H, and <V>; the
    time taken; products with H.
    """

    wave: Array
    energy: Array
    variance: Array
    potential: Array
    time: Array
    products: Array


def unit_grid(shape: tuple[int, ...]) -> Grid:
    """The grid of a box in units of its cells."""
    return Grid(*(Reflecting(0.0, float(n), n) for n in shape))


@long_program
def relax(
    values: Array, diffusion: Array, wave: Array, time: Array, grid: Grid
) -> Relaxed:
    """The wave after relaxation; `diffusion` `(d,)` in cells^2 / time, `time` the first
    time that is looked at.
    """
    dtype = values.dtype
    # Fluxes of all faces of an axis have one D; without a slope rates are equal both
    # ways.
    faces = []
    for i in range(grid.ndim):
        # An axis has one face between each two of its cells.
        shape = tuple(n - (j == i) for j, n in enumerate(grid.shape))
        faces.append(jnp.full(shape, diffusion[i], dtype))
    slopes = tuple(map(jnp.zeros_like, faces))
    samples = Samples(tuple(faces), slopes, values, None)
    operator = ScharfetterGummel().assemble(samples, grid, dtype)
    # From here on levels are counted from just below the lowest one, so that the wave
    # does not decay to nothing.
    zero_level = lowest_level(operator.hamiltonian, jnp.ones(grid.shape, dtype))
    operator = eqx.tree_at(lambda o: o.potential_term, operator, values - zero_level)
    method = Chebyshev(())
    prepared = method.prepare(operator, Picture.WAVE)
    tol = jnp.asarray(CONSTANTS.relax_tol, dtype)
    zero = jnp.zeros((), dtype)

    def measured(wave: Array, time: Array, products: Array) -> Relaxed:
        wave = wave / jnp.sqrt(jnp.sum(wave**2))
        image = operator.hamiltonian(wave)
        energy = jnp.sum(wave * image)
        variance = jnp.sum((image - energy * wave) ** 2)
        potential = jnp.sum(wave**2 * values)
        return Relaxed(wave, energy, variance, potential, time, products)

    def advance(state: tuple[Relaxed, Array]) -> tuple[Relaxed, Array]:
        now, looks = state
        # |exp(-s H) psi| >= exp(-s <H>): the norm stays a number.
        positive_energy = jnp.maximum(now.energy, jnp.finfo(dtype).tiny)
        longest = CONSTANTS.largest_decay / positive_energy
        length = jnp.minimum(jnp.where(looks == 0, time, now.time), longest)
        taken = method.apply(prepared, now.wave, length[None], tol, 0.0)
        # The ground state has no sign; what is below zero is rounding.
        wave = jnp.maximum(taken.field[0], 0)
        products = now.products + taken.calls.astype(dtype)
        return measured(wave, now.time + length, products), looks + 1

    def unsettled(state: tuple[Relaxed, Array]) -> Array:
        now, looks = state
        above = now.potential - jnp.min(values)
        moving = now.variance * now.time > CONSTANTS.settled * above
        has_looks = looks < CONSTANTS.most_looks
        has_time = now.time < CONSTANTS.longest_relaxation * time
        # At time zero any wave would seem to have relaxed.
        return (looks == 0) | (moving & (has_looks & has_time))

    start = (measured(wave, zero, zero), jnp.zeros((), int))
    found, _ = jax.lax.while_loop(unsettled, advance, start)
    return found._replace(energy=found.energy + zero_level)


def born_moments(
    wave: np.ndarray, nodes: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `(d,)` of the Born weights of a wave `(*shape)`."""
    weights = wave**2
    means = []
    deviations = []
    for i, places in enumerate(nodes):
        others = tuple(j for j in range(wave.ndim) if j != i)
        marginal = np.sum(weights, axis=others)
        mean = float(marginal @ places)
        variance = marginal @ (places - mean) ** 2
        means.append(mean)
        deviations.append(float(np.sqrt(variance)))
    return np.asarray(means), np.asarray(deviations)
