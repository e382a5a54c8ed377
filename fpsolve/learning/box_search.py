"""One search for a minimum: the ground state of -D Lap + zeta on boxes that follow it
while D falls.

    d_tau psi = D Lap psi - zeta psi,      D -> D / ratio

The first box is the whole one. Where the wave has left a part of the box, a smaller box
is sampled anew with as many nodes. Only samples cost evaluations of the objective.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import sampling_program
from ..grid import Grid, Reflecting
from .constants import CONSTANTS
from .relax import born_moments, relax, unit_grid


class Settings(NamedTuple):
    """The objective as it was read, the first D (None to choose it), the ratio by which
    D falls, and the width at which a search ends, as a part of the box.
    """

    read: Callable[[Array], Array]
    diffusion: float | None
    ratio: float
    tol: float


class Level(NamedTuple):
    """D of one level, <H> of its ground state, and the standard deviations `(d,)`."""

    diffusion: float
    energy: float
    width: np.ndarray


class Search(NamedTuple):
    """The best place `(d,)`, its value, all levels, and the number of evaluations."""

    x: np.ndarray
    value: float
    levels: list[Level]
    evaluations: int


@sampling_program
def sample_box(
    read: Callable[[Array], Array], lower: Array, upper: Array, grid: Grid
) -> Array:
    """The objective at the centres of a box's cells, `(*shape)`; `grid` counts them."""
    cells = jnp.asarray(grid.shape, lower.dtype)
    return grid.sample(lambda x: read(lower + (upper - lower) * x / cells))


def search(settings: Settings, low: np.ndarray, high: np.ndarray, nodes: int) -> Search:
    """One search: boxes that follow the wave while D falls."""
    dim = len(low)
    box = high - low
    grid = unit_grid((nodes,) * dim)
    diffusion = settings.diffusion
    # A flat wave prefers no place.
    wave = np.ones(grid.shape)
    evaluations = 0
    levels = []
    best_x = low
    best_value = np.inf
    # None marks a box that has not been sampled yet.
    values: np.ndarray | None = None
    mean = (low + high) / 2
    for _ in range(CONSTANTS.most_levels):
        axes = Grid(*map(Reflecting, low, high, grid.shape)).axes
        places = [np.asarray(axis.nodes) for axis in axes]
        if values is None:
            values = _sampled(settings.read, low, high, grid)
            evaluations += values.size
            index = np.unravel_index(int(np.argmin(values)), values.shape)
            if values[index] < best_value:
                best_value = float(values[index])
                coordinates = zip(places, index, strict=True)
                best_x = np.asarray([axis[i] for axis, i in coordinates])
        if diffusion is None:
            # The kinetic energy of a wave that fills the box, in units of the spread of
            # the values, which may be constant.
            spread = max(float(np.std(values)), np.finfo(float).tiny)
            diffusion = CONSTANTS.first_diffusion * spread * np.max(box) ** 2
            diffusion = diffusion / np.pi**2
        lengths = high - low
        cells = lengths / nodes
        # The time in which an empty box relaxes, along its longest axis.
        time = CONSTANTS.relaxation * np.max(lengths) ** 2 / (np.pi**2 * diffusion)
        found = relax(
            as_array(values),
            as_array(diffusion / cells**2),
            as_array(wave),
            as_array(time),
            grid,
        )
        wave = np.asarray(found.wave)
        mean, width = born_moments(wave, places)
        levels.append(Level(diffusion, float(found.energy), width))
        if np.all(width <= settings.tol * box):
            break
        diffusion = diffusion / settings.ratio
        new_low, new_high = _box_of(wave, places, low, high)
        is_smaller = np.any(new_high - new_low < CONSTANTS.shrinks * lengths)
        is_coarse = np.any(width < CONSTANTS.resolved_cells * cells)
        if not is_smaller and _is_collapsed(wave):
            # Several wells, each held by a node or two: the cells are too wide to tell
            # more, so the deepest is taken.
            new_low, new_high = _around(best_x, cells, low, high)
            is_smaller = is_coarse = True
        # A wave that the cells resolve needs no new samples, which are what costs.
        if is_smaller and is_coarse:
            wave = _on_box(wave, places, new_low, new_high, grid)
            low, high = new_low, new_high
            values = None
    # The mean of the last wave lies between nodes.
    at_mean = float(settings.read(as_array(mean)))
    if at_mean < best_value:
        best_value = at_mean
        best_x = mean
    return Search(best_x, best_value, levels, evaluations + 1)


def _sampled(
    read: Callable[[Array], Array], low: np.ndarray, high: np.ndarray, grid: Grid
) -> np.ndarray:
    """The values `(*shape)`. **Raises** `ValueError` where one is not finite."""
    values = np.asarray(sample_box(read, as_array(low), as_array(high), grid))
    is_finite = np.isfinite(values)
    if not np.all(is_finite):
        index = np.unravel_index(int(np.argmax(~is_finite)), values.shape)
        cells = np.asarray(values.shape)
        place = low + (high - low) * (np.asarray(index) + 0.5) / cells
        allowed = f"it must be finite in the box, and is not at x = {place}"
        raise_value_error(
            "objective",
            float(values[index]),
            allowed,
            "Move the box, or bound the objective there.",
        )
    return values


def _is_collapsed(wave: np.ndarray) -> bool:
    """Whether a wave `(*shape)` of norm 1 is held by a few nodes: 1 / sum psi^4 counts
    those that it occupies.
    """
    return float(1 / np.sum(wave**4)) < CONSTANTS.collapsed_nodes**wave.ndim


def _around(
    x: np.ndarray, cells: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A box of some cells about a place, within the box."""
    reach = CONSTANTS.collapsed_reach * cells
    return np.maximum(low, x - reach), np.minimum(high, x + reach)


def _box_of(
    wave: np.ndarray, places: list[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a box that holds the Born weights but for their tails."""
    new_low, new_high = low.copy(), high.copy()
    for i, nodes in enumerate(places):
        others = tuple(j for j in range(wave.ndim) if j != i)
        cumulative = np.cumsum(np.sum(wave**2, axis=others))
        first = int(np.searchsorted(cumulative, CONSTANTS.tail))
        first = first - CONSTANTS.margin_cells
        last = int(np.searchsorted(cumulative, 1 - CONSTANTS.tail))
        last = last + CONSTANTS.margin_cells
        cell = nodes[1] - nodes[0]
        if first > 0:
            new_low[i] = nodes[first] - cell / 2
        if last < len(nodes) - 1:
            new_high[i] = nodes[last] + cell / 2
    return new_low, new_high


def _on_box(
    wave: np.ndarray,
    places: list[np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    grid: Grid,
) -> np.ndarray:
    """A wave at the nodes of another box, linearly interpolated, to relax from."""
    axes = Grid(*map(Reflecting, low, high, grid.shape)).axes
    for i, axis in enumerate(axes):
        # Along one axis at a time, and that one last.
        rows = np.moveaxis(wave, i, -1).reshape(-1, axis.n)
        interpolated = [np.interp(axis.nodes, places[i], row) for row in rows]
        others = np.delete(wave.shape, i)
        moved = np.asarray(interpolated).reshape(*others, axis.n)
        wave = np.moveaxis(moved, -1, i)
    # No place is left without weight, so that the wave can return.
    return wave + CONSTANTS.tail * np.max(wave)
