"""The inner loop of the optimiser: a wave relaxes to the ground state of H = -D Lap + V on sampled values.

    d_tau psi = -(H - <H>) psi,       H from the values of V on cells of a box with reflecting walls

It has relaxed when Var(H) t is small beside <V> - min V: what still decays, decays more slowly than 1 / t. After each
look the time is doubled. Lengths are measured in cells, so that boxes of all sizes share one program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import shape_program
from ..grid import Grid, Reflecting
from ..operator import Samples, ScharfetterGummel
from ..propagate import Chebyshev, Picture
from .constants import CONSTANTS


class Relaxed(NamedTuple):
    """A wave `(*shape)` of norm 1 over the cells, its energy <H>, Var H, and <V>; the time taken; products with H."""

    wave: Array
    energy: Array
    variance: Array
    potential: Array
    time: Array
    products: Array


def unit_grid(shape: tuple[int, ...]) -> Grid:
    """The grid of a box in units of its cells."""
    return Grid(*(Reflecting(0.0, float(n), n) for n in shape))


@shape_program
def relax(values: Array, diffusion: Array, wave: Array, time: Array, grid: Grid) -> Relaxed:
    """The wave after relaxation; `diffusion` `(d,)` in cells^2 / time, `time` the first time that is looked at."""
    dtype = values.dtype
    # Fluxes of all faces of an axis have one D; without a slope rates are equal both ways.
    shapes = [tuple(n - (j == i) for j, n in enumerate(grid.shape)) for i in range(grid.ndim)]
    faces = tuple(jnp.full(shape, diffusion[i], dtype) for i, shape in enumerate(shapes))
    lowest = jnp.min(values)
    samples = Samples(faces, tuple(map(jnp.zeros_like, faces)), values - lowest, None)
    operator = ScharfetterGummel().assemble(samples, grid, dtype)
    method = Chebyshev(())
    prepared = method.prepare(operator, Picture.WAVE)
    tol = jnp.asarray(CONSTANTS.relax_tol, dtype)

    def advance(state: tuple[Relaxed, Array, Array]) -> tuple[Relaxed, Array, Array]:
        before, length, doublings = state
        taken = method.apply(prepared, before.wave, length[None], tol, 0.0)
        wave = jnp.maximum(taken.field[0], 0)
        wave = wave / jnp.sqrt(jnp.sum(wave**2))
        image = operator.hamiltonian(wave)
        energy = jnp.sum(wave * image)
        variance = jnp.sum((image - energy * wave) ** 2)
        potential = jnp.sum(wave**2 * (values - lowest))
        after = Relaxed(
            wave, energy, variance, potential, before.time + length, before.products + taken.calls.astype(dtype)
        )
        # The next look is after twice the time in all.
        return after, after.time, doublings + 1

    def unsettled(state: tuple[Relaxed, Array, Array]) -> Array:
        now, _, doublings = state
        moving = now.variance * now.time > CONSTANTS.settled * now.potential
        return (doublings == 0) | (moving & (doublings <= CONSTANTS.most_doublings))

    zero = jnp.zeros((), dtype)
    start = Relaxed(wave / jnp.sqrt(jnp.sum(wave**2)), zero, zero, zero, zero, zero)
    found, _, _ = jax.lax.while_loop(unsettled, advance, (start, time, jnp.zeros((), int)))
    return found._replace(energy=found.energy + lowest, potential=found.potential + lowest)


def born_moments(wave: np.ndarray, nodes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation `(d,)` of the Born weights of a wave `(*shape)`."""
    weights = wave**2
    means, deviations = [], []
    for i, places in enumerate(nodes):
        marginal = np.sum(weights, axis=tuple(j for j in range(wave.ndim) if j != i))
        mean = float(marginal @ places)
        means.append(mean)
        deviations.append(float(np.sqrt(marginal @ (places - mean) ** 2)))
    return np.asarray(means), np.asarray(deviations)
