"""The gap of a score or of samples, with the slowest observable at the samples.

    on a grid       f = psi_1 / psi_0 of the Score Hamiltonian, and its gap
    from samples    the f of least Rayleigh quotient, an upper bound on the gap

The two sides f > 0 and f < 0 exchange mass most slowly. f has mean 0 and variance 1.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import compiled
from ..core.types import Real
from ..grid import Grid, Line
from .constants import CONSTANTS
from .fields import StaticScore, TimeDependentScore
from .reconstruct import Reconstruction, reconstruct
from .samples.gap import sampled_gap

# avoids 0/0 where both modes underflow; far below the square of any mode that matters
TINY = 1e-100


class Gap(NamedTuple):
    """A gap: its `value` and standard `error`, its `meaning` in words, the
    `ground_energy` where it is known, the slowest `observable` at the samples `(n,)`,
    and the `reconstruction` if there is a grid.
    """

    value: Array
    error: Array
    meaning: str
    ground_energy: Array | None
    observable: Array
    reconstruction: Reconstruction | None


def gap_of_score(
    score: StaticScore | TimeDependentScore,
    array: np.ndarray,
    x: Array,
    grid: Grid | None,
    diffusion: Real,
) -> Gap:
    """The gap of the Score Hamiltonian, on the given grid or one that is fitted to the
    samples.
    """
    if grid is None:
        found = _reconstruct_fitted(score, array, diffusion)
    else:
        found = reconstruct(score, grid, diffusion=diffusion)
    observable = _slowest_observable(found, x)
    return Gap(
        value=found.gap,
        error=jnp.zeros(()),
        meaning="of the score, on a grid",
        ground_energy=found.ground_energy,
        observable=observable,
        reconstruction=found,
    )


def gap_of_samples(array: np.ndarray, x: Array, key: Array, diffusion: Real) -> Gap:
    """An upper bound on the gap of the samples' own density."""
    estimate = sampled_gap(array, key=key, diffusion=diffusion)
    observable = estimate.observable.over(x)
    return Gap(
        value=estimate.value,
        error=estimate.error,
        meaning="an upper bound from the samples",
        ground_energy=None,
        observable=observable,
        reconstruction=None,
    )


def _reconstruct_fitted(
    score: StaticScore | TimeDependentScore, samples: np.ndarray, diffusion: Real
) -> Reconstruction:
    """The reconstruction on a box around the samples. The first grid has the spacing
    that the steepest slope of the score needs; then it is refined until the gap no
    longer changes.
    """
    margin = CONSTANTS.box_margin * np.std(samples, axis=0)
    lower = np.min(samples, axis=0) - margin
    upper = np.max(samples, axis=0) + margin
    count = min(len(samples), CONSTANTS.slope_points)
    rows = np.linspace(0, len(samples) - 1, count).astype(int)
    some = jnp.asarray(samples[rows], float)
    # A normal density of variance v has the slope 1/v: its standard deviation is
    # 1/sqrt(slope).
    steepest = np.max(np.abs(_slopes(score, some)), axis=0)
    wanted = (upper - lower) * np.sqrt(steepest) / CONSTANTS.node_spacing
    # a grid beyond this is not refined any more
    last = CONSTANTS.axis_nodes_max / CONSTANTS.grid_growth
    nodes = np.clip(wanted, CONSTANTS.axis_nodes_min, last).round().astype(int)
    # Refine until the gap is stable: its error is then about that of one refinement.
    previous = math.inf
    while True:
        axes = [
            Line(float(a), float(b), int(n))
            for a, b, n in zip(lower, upper, nodes, strict=True)
        ]
        found = reconstruct(score, Grid(*axes), diffusion=diffusion)
        gap = float(found.gap)
        is_stable = abs(gap - previous) <= CONSTANTS.gap_change * gap
        if is_stable or np.max(nodes) > last:
            return found
        nodes = np.ceil(CONSTANTS.grid_growth * nodes).astype(int)
        previous = gap


@compiled
def _slopes(score: StaticScore | TimeDependentScore, x: Array) -> Array:
    """d s_i / d x_i at points `(n, d)`."""

    def diagonal(y: Array) -> Array:
        return jnp.diagonal(jax.jacfwd(score)(y))

    return jax.vmap(diagonal)(x)


def rising_sign(observable: Array, x: Array) -> Array:
    """The sign of an observable's largest correlation with a coordinate."""
    deviations = observable - jnp.mean(observable)
    offsets = x - jnp.mean(x, axis=0)
    correlations = deviations @ offsets / jnp.std(x, axis=0)
    largest = correlations[jnp.argmax(jnp.abs(correlations))]
    return jnp.where(largest < 0, -1.0, 1.0)


def _slowest_observable(found: Reconstruction, x: Array) -> Array:
    """psi_1 / psi_0 at samples `(n, d)`, interpolated, of mean 0 and variance 1."""
    ground, slow = found.spectrum.vectors[:2]
    # Where the density is thin both modes are rounding: the quotient is limited to its
    # range elsewhere.
    dense = ground**2 > CONSTANTS.thin_density * jnp.max(ground**2)
    quotient = slow / jnp.where(dense, ground, 1)
    least = jnp.min(quotient, where=dense, initial=jnp.inf)
    most = jnp.max(quotient, where=dense, initial=-jnp.inf)
    values = jnp.clip(slow * ground / (ground**2 + TINY), least, most)
    # Coordinates in units of nodes, as `map_coordinates` needs them.
    places = [
        jnp.interp(x[:, i], nodes, jnp.arange(len(nodes)))
        for i, nodes in enumerate(found.grid.nodes)
    ]
    values = jax.scipy.ndimage.map_coordinates(values, places, order=1, mode="nearest")
    return (values - jnp.mean(values)) / jnp.std(values)
