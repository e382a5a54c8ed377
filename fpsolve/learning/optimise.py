"""Quantum dynamics as a global optimiser: two loops around the ground state of an
objective.

    i d_t psi = (-D Lap + zeta) psi,   tau = i t:    d_tau psi = D Lap psi - zeta psi
    inner loop     relax to the ground state at this D (`relax`)
    outer loop     lower D, until |psi|^2 has closed in on a minimum

While D is large the wave averages zeta over its width and passes small barriers; for D
-> 0 it concentrates at the minimum, with the width (D / (2 zeta''))^{1/4} and the
energy min zeta + sqrt(D zeta'' / 2). The grid follows the wave: where the wave has left
a part of the box, a smaller box is sampled anew with as many nodes. Only samples cost
evaluations of the objective.

The same search is made twice, on boxes with other nodes. Two searches that end at
different minima tell that the first was not certain.

References: Wang and Maimaitiabudula, arXiv 2407.19890 (the two loops); Finnila, Gomez,
Sebenik, Stenson and Doll, Chem. Phys. Lett. 219 (1994) 343 (quantum annealing by
imaginary time).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_integer,
    check_numbers,
    raise_value_error,
)
from ..core.content import read_at
from ..core.program import full_precision, sampling_program
from ..core.result import CODES, raise_failure
from ..core.result import code as code_of
from ..core.types import Count, Formula, Numbers, Real
from ..grid import Grid, Reflecting
from .constants import CONSTANTS
from .relax import born_moments, relax, unit_grid


class Minimum(eqx.Module):
    """What a search found.

    - `x` `(d,)`: the best place; `value`: the objective there
    - `error`: how far the value may be above that of the minimum: the zero-point energy
      of the last wave, and by how much the two searches differ. `error_x` `(d,)`: the
      last standard deviations, or the distance of the two searches
    - `evaluations`: of the objective, of both searches
    - `diffusions`, `energies`, `widths` `(L,)`, `(L,)`, `(L, d)`: D, <H> and the
      standard deviations of every level of the first search
    - `result`: "successful", or "minimum_not_confirmed"
    """

    x: Array
    value: Array
    error: Array
    error_x: Array
    evaluations: int
    diffusions: Array
    energies: Array
    widths: Array
    code: Array

    @property
    def result(self) -> str:
        """The named code of the search."""
        return CODES[int(self.code)]


@full_precision
def minimise(
    objective: Formula,
    lower: Numbers,
    upper: Numbers,
    *,
    nodes: Count | None = None,
    diffusion: Real | None = None,
    ratio: Real | None = None,
    tol: Real | None = None,
    throw: bool = False,
) -> Minimum:
    """A minimum of a rugged function in a box, by the ground state of -D Lap + zeta
    while D falls.

        d_tau psi = D Lap psi - zeta psi,      D -> D / ratio

    **Arguments**

    - `objective`: zeta(x), a function of x `(d,)` to a scalar, d <= 3
    - `lower`, `upper`: corners of the box, numbers (d = 1) or `(d,)`
    - `nodes`: along each axis; 65, 33 and 17 in one, two and three dimensions
    - `diffusion`: the first D, in units of zeta times length^2; None takes one at which
      the wave fills the box
    - `ratio`: by which D falls, above 1; 4 unless given
    - `tol`: the search ends when the wave is narrower than this part of the box in
      every direction; 1e-3 unless given
    - `throw`: raise `NumericalFailure` where the two searches do not agree

    **Returns** a `Minimum`. **Raises** `ValueError` for bad arguments, or an objective
    that is not finite in the box.

    **Limits** (*mathematical*): no search by samples is certain to find a global
    minimum. A well that is narrower than the distance of two nodes of the first box may
    be missed, by both searches. Two equal minima are not told apart before D is far
    below their barrier.
    **Cost**: nodes^d evaluations for every box, some ten boxes in each of two searches.
    **Reference**: Wang and Maimaitiabudula, arXiv 2407.19890.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    rastrigin = lambda x: jnp.sum(x**2 - jnp.cos(2 * jnp.pi * x))
    found = fp.learning.minimise(rastrigin, -4.0, 5.0)
    found.x, found.value, found.evaluations
    ```
    """
    low, high = check_box(lower, upper)
    dim = len(low)
    if nodes is None:
        nodes = CONSTANTS.nodes[dim - 1]
    nodes = check_integer("nodes", nodes, 8, "Give 33, say.")
    ratio = (
        CONSTANTS.diffusion_ratio
        if ratio is None
        else check_finite_number("ratio", ratio)
    )
    if ratio <= 1:
        raise_value_error(
            "ratio", ratio, "D must fall: it must be above 1", "Give 4.0."
        )
    tol = CONSTANTS.tol if tol is None else check_finite_number("tol", tol)
    if not 0 < tol < 1:
        raise_value_error(
            "tol", tol, "it is a part of the box, between 0 and 1", "Give 1e-3."
        )
    if diffusion is not None and not check_finite_number("diffusion", diffusion) > 0:
        raise_value_error(
            "diffusion",
            diffusion,
            "it must be positive",
            "Leave it out, or give a larger one.",
        )
    read = read_objective(objective, (low + high) / 2)
    settings = _Settings(read, diffusion, ratio, tol)

    first = _search(settings, low, high, nodes)
    # The second look: other nodes, so that no box of the two has the same places.
    second = _search(settings, low, high, max(8, round(CONSTANTS.second_nodes * nodes)))
    return _conclude(first, second, throw)


class _Settings(NamedTuple):
    read: Callable[[Array], Array]
    diffusion: float | None
    ratio: float
    tol: float


class _Level(NamedTuple):
    diffusion: float
    energy: float
    width: np.ndarray


class _Search(NamedTuple):
    """The best place `(d,)`, its value, the last level, the widths, evaluations, and
    all levels.
    """

    x: np.ndarray
    value: float
    levels: list[_Level]
    evaluations: int


def check_box(lower: Numbers, upper: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The corners `(d,)` of a box, d from 1 to 3. **Raises** `ValueError` otherwise."""
    cure = "Give numbers, or (d,) numbers, with lower below upper."
    corners = []
    for name, value in (("lower", lower), ("upper", upper)):
        array = np.atleast_1d(
            check_numbers(name, value, "it must hold real numbers", cure)
        ).astype(float)
        if (
            array.ndim != 1
            or not 1 <= len(array) <= 3
            or not np.all(np.isfinite(array))
        ):
            raise_value_error(
                name,
                value,
                "it must be a finite corner of a box in 1 to 3 dimensions",
                cure,
            )
        corners.append(array)
    if corners[0].shape != corners[1].shape or not np.all(corners[0] < corners[1]):
        raise_value_error(
            "lower, upper",
            (lower, upper),
            "lower must be below upper in every direction",
            cure,
        )
    return corners[0], corners[1]


def read_objective(objective: Formula, place: np.ndarray) -> Callable[[Array], Array]:
    """The objective as it is now. **Raises** `ValueError` for one that is no scalar
    function of x, as of a `place`.
    """
    cure = "Give a function of x (d,) to a scalar: lambda x: jnp.sum(x**2), say."
    if not callable(objective):
        raise_value_error("objective", objective, "it must be a function", cure)
    try:
        read = read_at(objective, len(place))
        shape = jnp.shape(read(as_array(place)))
    except (IndexError, TypeError) as error:
        raise_value_error(
            "objective",
            objective,
            f"it must take a point of the box, and fails there ({error})",
            cure,
        )
    if shape != ():
        raise_value_error("objective", shape, "it must return a scalar", cure)
    return read


@sampling_program
def sample_box(
    read: Callable[[Array], Array], lower: Array, upper: Array, grid: Grid
) -> Array:
    """The objective at the centres of the cells of a box, `(*shape)`; `grid` counts the
    cells.
    """
    cells = jnp.asarray(grid.shape, lower.dtype)
    return grid.sample(lambda x: read(lower + (upper - lower) * x / cells))


def _search(
    settings: _Settings, low: np.ndarray, high: np.ndarray, nodes: int
) -> _Search:
    """One search: boxes that follow the wave while D falls."""
    dim = len(low)
    box = high - low
    grid = unit_grid((nodes,) * dim)
    diffusion = settings.diffusion
    wave = np.ones(grid.shape)
    evaluations, levels = 0, []
    best_x, best_value = low, np.inf
    values: np.ndarray | None = None
    mean = (low + high) / 2
    for _ in range(CONSTANTS.most_levels):
        places = [
            np.asarray(axis.nodes)
            for axis in Grid(*map(Reflecting, low, high, grid.shape)).axes
        ]
        if values is None:
            values = _sampled(settings.read, low, high, grid)
            evaluations += values.size
            index = np.unravel_index(int(np.argmin(values)), values.shape)
            if values[index] < best_value:
                best_value = float(values[index])
                best_x = np.asarray(
                    [axis[i] for axis, i in zip(places, index, strict=True)]
                )
        if diffusion is None:
            # The kinetic energy of a wave that fills the box, in units of the spread of
            # the values.
            diffusion = (
                CONSTANTS.first_diffusion
                * max(float(np.std(values)), np.finfo(float).tiny)
                * np.max(box) ** 2
            )
            diffusion = diffusion / np.pi**2
        cells = (high - low) / nodes
        # The time in which an empty box relaxes, along its longest axis.
        time = CONSTANTS.relaxation * np.max(high - low) ** 2 / (np.pi**2 * diffusion)
        found = relax(
            as_array(values),
            as_array(diffusion / cells**2),
            as_array(wave),
            as_array(time),
            grid,
        )
        wave = np.asarray(found.wave)
        mean, width = born_moments(wave, places)
        levels.append(_Level(diffusion, float(found.energy), width))
        if np.all(width <= settings.tol * box):
            break
        diffusion = diffusion / settings.ratio
        new_low, new_high = _box_of(wave, places, low, high)
        is_smaller = np.any(new_high - new_low < CONSTANTS.shrinks * (high - low))
        is_coarse = np.any(width < CONSTANTS.resolved_cells * cells)
        if not is_smaller and _is_collapsed(wave):
            # Several wells, each held by a node or two: the cells are too wide to tell
            # more, so the deepest is taken.
            new_low, new_high = _around(best_x, cells, low, high)
            is_smaller = is_coarse = True
        if is_smaller and is_coarse:
            wave = _on_box(wave, places, new_low, new_high, grid)
            low, high, values = new_low, new_high, None
    # The mean of the last wave lies between nodes.
    at_mean = float(settings.read(as_array(mean)))
    if at_mean < best_value:
        best_value, best_x = at_mean, mean
    return _Search(best_x, best_value, levels, evaluations + 1)


def _sampled(
    read: Callable[[Array], Array], low: np.ndarray, high: np.ndarray, grid: Grid
) -> np.ndarray:
    """The values `(*shape)`. **Raises** `ValueError` where one is not finite."""
    values = np.asarray(sample_box(read, as_array(low), as_array(high), grid))
    if not np.all(np.isfinite(values)):
        index = np.unravel_index(int(np.argmax(~np.isfinite(values))), values.shape)
        place = low + (high - low) * (np.asarray(index) + 0.5) / np.asarray(
            values.shape
        )
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
        marginal = np.sum(wave**2, axis=tuple(j for j in range(wave.ndim) if j != i))
        cumulative = np.cumsum(marginal)
        first = (
            int(np.searchsorted(cumulative, CONSTANTS.tail)) - CONSTANTS.margin_cells
        )
        last = (
            int(np.searchsorted(cumulative, 1 - CONSTANTS.tail))
            + CONSTANTS.margin_cells
        )
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
    """A wave at the nodes of another box, by linear interpolation: a start for the next
    relaxation.
    """
    axes = Grid(*map(Reflecting, low, high, grid.shape)).axes
    for i, axis in enumerate(axes):
        interpolated = [
            np.interp(axis.nodes, places[i], row)
            for row in np.moveaxis(wave, i, -1).reshape(-1, axis.n)
        ]
        moved = np.asarray(interpolated).reshape(*np.delete(wave.shape, i), axis.n)
        wave = np.moveaxis(moved, -1, i)
    # No place is left without weight, so that the wave can return.
    return wave + CONSTANTS.tail * np.max(wave)


def _conclude(first: _Search, second: _Search, throw: bool) -> Minimum:
    """The better of two searches, with what their comparison says."""
    best, other = (first, second) if first.value <= second.value else (second, first)
    last, last_other = best.levels[-1], other.levels[-1]
    zero_point = max(last.energy - best.value, last_other.energy - other.value, 0.0)
    apart = np.abs(best.x - other.x)
    deviation = np.maximum(last.width, last_other.width)
    error = zero_point + other.value - best.value
    # Searches that ended in the same well lie within some deviations of each other.
    same = bool(np.all(apart <= CONSTANTS.same_well * deviation))
    code = code_of("successful") if same else code_of("minimum_not_confirmed")
    if throw:
        detail = (
            f"two searches ended at {best.x} and {other.x}, with {best.value:.6g} and "
            f"{other.value:.6g}."
        )
        raise_failure(as_array(code, int), detail, has_throw=True)
    return Minimum(
        x=as_array(best.x),
        value=as_array(best.value),
        error=as_array(error),
        error_x=as_array(np.maximum(apart, deviation)),
        evaluations=first.evaluations + second.evaluations,
        diffusions=as_array([level.diffusion for level in first.levels]),
        energies=as_array([level.energy for level in first.levels]),
        widths=as_array(np.stack([level.width for level in first.levels])),
        code=as_array(code, int),
    )
