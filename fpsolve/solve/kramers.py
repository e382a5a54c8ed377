"""The law of Eyring and Kramers: rates between wells from the minima and saddles of the
potential alone.

    k_ab = sum_s |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) exp( -(U_s - U_a) /
    D )

over the saddles s between the minima a and b, lambda_s the negative eigenvalue of
U''_s. The wells are then the states of a chain, whose slowest rate is the law's gap;
two wells have gap = k_ab + k_ba. It is right up to a factor 1 + O(D).

Newton's iteration starts at the nodes where |grad U|^2 is smallest among their
neighbours. The eigenvalues of U'' tell minima from saddles, and a path of steepest
descent leads from each saddle to the two wells on its sides.

References: Eyring, J. Chem. Phys. 3 (1935) 107; Kramers, Physica 7 (1940) 284; Bovier,
Eckhoff, Gayrard and Klein, J. Eur. Math. Soc. 6 (2004) 399.
"""

import itertools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision, sampling_program
from ..core.types import SameArray, Scalar
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..plan.validation import check_equation
from .constants import CONSTANTS

SMOOTH = 'Smooth the potential if it is a noisy table: fp.Sampled(..., smooth="gcv").'


class EyringKramers(eqx.Module):
    """Wells, saddles and the rates between wells.

    - `minima` `(m, d)`, by descending depth; `saddles` `(s, d)`, each between the wells
      `between` `(s, 2)`
    - `barriers` `(s, 2)`: the height of each saddle above the two wells that it joins
    - `rates` `(m, m)`: from the first well to the second, in units 1/time; zero where
      no saddle leads
    - `gap`: the slowest rate of this chain of wells, to compare with `fp.spectral_gap`
    """

    minima: Array
    saddles: Array
    between: Array
    barriers: Array
    rates: Array
    gap: Array


@full_precision
def eyring_kramers(equation: Equation, grid: Grid, *, t: Scalar = 0.0) -> EyringKramers:
    """The Eyring-Kramers rates of the wells that the grid holds.

        k_ab = |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) exp( -(U_s - U_a) / D
        )

    **Arguments**: `equation` an `fp.FokkerPlanck` with one diffusion D and no force;
    `grid` whose box is searched and whose spacing tells wells apart; `t` is the
    time at which a time-dependent potential is taken. **Returns** an `EyringKramers`.
    **Raises**
    `ValueError` for fewer than two minima, a minimum or saddle with a flat direction,
    wells that no saddle joins or that are shallower than D / 4, as those of a noisy
    table, or a traced equation: how many wells there are must be known.

    **Limits** (mathematical): leading order in D, an error of about 3 D / (8 barrier)
    for a quartic double well; minima at walls are not counted. Curvatures of a smoothed
    table have larger errors than its values: noise of 1 % of D may change a rate by
    half, but not that of `fp.spectral_gap`. **Cost**: two derivatives a node and
    some Newton steps a critical point.
    **Reference**: Bovier, Eckhoff, Gayrard and Klein (2004), theorem 1.2.

    ```python
    import fpsolve as fp

    law = fp.eyring_kramers(
        fp.FokkerPlanck(fp.DoubleWell(1.0), 0.1), fp.Grid(fp.Line(-2, 2, 128))
    )
    ```
    """
    equation, grid = check_equation(equation, grid, t)
    t = as_array(t)
    if not is_concrete(equation, t):
        allowed = "the wells of a traced potential cannot be counted"
        raise_value_error(
            "equation", equation, allowed, "Call it outside jit and grad."
        )
    if (
        not isinstance(equation, FokkerPlanck)
        or equation.irreversible_anywhere
        or equation.diffusion.ndim
    ):
        raise_value_error(
            "equation",
            equation,
            "the law needs a potential and one diffusion",
            "Drop the force.",
        )

    # 1. Minima, by descending depth, and saddles.
    minima, saddles = _critical_points(equation, grid, t)
    if len(minima) < 2:
        allowed = f"the law needs two wells, and the grid holds {len(minima)} minima"
        cure = "Widen the box, or ask for fp.spectral_gap, which needs no wells."
        raise_value_error("equation", equation, allowed, cure)
    minima = minima[np.argsort(np.asarray(_energies(equation, as_array(minima), t)))]

    # 2. Which two wells each saddle joins. One that leads twice to the same well, or
    #    out of the box, joins none.
    joining = []
    between = []
    for saddle in saddles:
        first, second = np.asarray(
            _descend(equation, grid, as_array(minima), as_array(saddle), t)
        ).tolist()
        if first != second and min(first, second) >= 0:
            joining.append(saddle)
            between.append((first, second))
    if not _connected(len(minima), between):
        cure = (
            f"{SMOOTH} Else widen the box, or refine the grid: saddles are told apart "
            "by its spacing."
        )
        raise_value_error(
            "equation",
            equation,
            "the law needs a saddle between any two wells, by way of others",
            cure,
        )

    # 3. The rates. One well shallower than the noise of the motion is no state, and the
    #    law does not hold.
    law = _law(
        equation,
        as_array(minima),
        as_array(np.array(joining)),
        as_array(between, int),
        t,
    )
    depths = [
        float(np.min(np.asarray(law.barriers)[np.equal(between, well)]))
        for well in range(len(minima))
    ]
    shallowest = int(np.argmin(depths))
    depth = depths[shallowest] / float(
        equation.diffusion if equation.kT is None else equation.kT
    )
    if depth < CONSTANTS.least_depth:
        unit = "D" if equation.kT is None else "kT"
        well = minima[shallowest].tolist()
        allowed = (
            f"the well at x = {well} is {depth:.2g} {unit} deep, and it must be {unit} "
            "/ 4 at least"
        )
        raise_value_error(
            "equation",
            equation,
            allowed,
            f"{SMOOTH} Else ask for fp.spectral_gap, which needs no wells.",
        )
    return law


@sampling_program
def _energies(equation: FokkerPlanck, points: Array, t: Scalar) -> Array:
    return jax.vmap(lambda x: equation.energy(x, t))(points)


@sampling_program
def _law(
    equation: FokkerPlanck, minima: Array, saddles: Array, between: Array, t: Scalar
) -> EyringKramers:
    """The rates of the law, from the wells `between` `(s, 2)` that each saddle joins."""
    diffusion = equation.diffusion

    def energies(points: Array) -> Array:
        return jax.vmap(lambda x: equation.energy(x, t))(points)

    def curvatures(points: Array) -> Array:
        return jnp.linalg.eigvalsh(
            jax.vmap(jax.hessian(lambda x: equation.energy(x, t)))(points)
        )

    curvatures_of_wells = curvatures(minima)
    curvatures_of_saddles = curvatures(saddles)
    # Determinants enter as logarithms of their roots: a product of many curvatures may
    # overflow.
    log_root_wells = jnp.sum(jnp.log(curvatures_of_wells), 1) / 2
    log_root_saddles = jnp.sum(jnp.log(jnp.abs(curvatures_of_saddles)), 1) / 2
    barriers = energies(saddles)[:, None] - energies(minima)[between]

    # From each of the two wells of a saddle, `(s, 2)`; eigenvalues ascend, so that the
    # first is the negative one.
    frequency = jnp.abs(curvatures_of_saddles[:, :1]) / (2 * math.pi)
    log_factor = (
        log_root_wells[between] - log_root_saddles[:, None] - barriers / diffusion
    )
    over_saddle = frequency * jnp.exp(log_factor)
    # Several saddles may join the same two wells: their rates add up.
    first, second = between.T
    rates = jnp.zeros((len(minima), len(minima)), over_saddle.dtype)
    rates = (
        rates.at[first, second]
        .add(over_saddle[:, 0])
        .at[second, first]
        .add(over_saddle[:, 1])
    )
    # The energies of a process with kT are U D / kT.
    heights = barriers if equation.kT is None else barriers * (equation.kT / diffusion)
    return EyringKramers(minima, saddles, between, heights, rates, _gap(rates))


def _gap(rates: Array) -> Array:
    """The slowest rate: the smallest singular value but zero of the factor A of the
    chain, from wells to links,

        (A psi)_ab = sqrt(k_ba) psi_b - sqrt(k_ab) psi_a,

    which for two wells is k_ab + k_ba, with nothing subtracted.
    """
    m = rates.shape[0]
    first, second = (jnp.asarray(u) for u in np.triu_indices(m, 1))
    rows = jnp.arange(first.size)
    factor = jnp.zeros((first.size, m), rates.dtype)
    factor = factor.at[rows, second].set(jnp.sqrt(rates[second, first]))
    factor = factor.at[rows, first].set(-jnp.sqrt(rates[first, second]))
    return jnp.linalg.svd(factor, compute_uv=False)[m - 2] ** 2


class _NewtonEnds(NamedTuple):
    """Where Newton's iteration ended: the `points` `(p, d)`, the sizes of the last step
    `(p, d)`, and the eigenvalues `curvatures` `(p, d)` of U'' there, ascending.
    """

    points: Array
    last_steps: Array
    curvatures: Array


def _critical_points(
    equation: FokkerPlanck, grid: Grid, t: Scalar
) -> tuple[np.ndarray, np.ndarray]:
    """Minima `(m, d)` and saddles of index one `(s, d)` inside the box.

    **Raises** `ValueError` for one with a flat direction, in which the law has no
    value.
    """
    nodes = np.stack(
        np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1
    )
    starts = nodes[
        _smallest_of_neighbors(np.asarray(_steepness(equation, grid, t)), grid)
    ]
    ends = _newton(equation, as_array(starts), t)
    points = np.asarray(ends.points)
    curvatures = np.asarray(ends.curvatures)
    usable = _converged(starts, points, np.asarray(ends.last_steps) / _cell(grid), grid)

    # by index, the number of negative curvatures
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for point, curvature in zip(points[usable], curvatures[usable], strict=True):
        same_index = found.get(int(np.sum(curvature < 0)))
        if same_index is None:
            continue  # a maximum, or a saddle of higher index
        if any(
            np.max(_distance_in_cells(point - other, grid)) < CONSTANTS.same_point
            for other in same_index
        ):
            continue
        if np.min(np.abs(curvature)) < CONSTANTS.flat_curvature * np.max(
            np.abs(curvature)
        ):
            allowed = f"it is flat in a direction at x = {point.tolist()}"
            cure = "Ask for fp.spectral_gap, which needs no wells."
            raise_value_error("potential", equation.potential, allowed, cure)
        same_index.append(point)
    minima, saddles = (
        np.array(points).reshape(-1, grid.ndim) for points in (found[0], found[1])
    )
    return minima, saddles


def _converged(
    starts: np.ndarray, points: np.ndarray, last_steps: np.ndarray, grid: Grid
) -> np.ndarray:
    """Which iterations ended inside the box, near their start, `(p,)`; where they end
    is finite then. `last_steps` `(p, d)` are in cells.
    """
    usable = np.zeros(len(points), bool)
    for k, (start, point) in enumerate(zip(starts, points, strict=True)):
        shift = np.max(np.abs(point - start) / _cell(grid))
        near = np.isfinite(shift) and shift < CONSTANTS.newton_reach
        usable[k] = (
            near
            and np.max(last_steps[k]) < CONSTANTS.newton_last_step
            and _is_inside(point, grid)
        )
    return usable


@sampling_program
def _steepness(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """|grad U|^2 in cells, `(*shape)`."""
    gradient = jax.grad(lambda x: equation.energy(x, t))
    return grid.sample(lambda x: jnp.sum((gradient(x) * _cell(grid)) ** 2))


@sampling_program
def _newton(equation: FokkerPlanck, starts: Array, t: Scalar) -> _NewtonEnds:
    """Critical points from `starts` `(p, d)`."""

    def energy(x: Array) -> Array:
        return equation.energy(x, t)

    def newton_step(x: Array) -> Array:
        values, vectors = jnp.linalg.eigh(jax.hessian(energy)(x))
        gradient = vectors.T @ jax.grad(energy)(x)
        # No step in a direction without curvature: a potential may not depend on some
        # coordinate.
        return vectors @ jnp.where(
            values == 0, 0, gradient / jnp.where(values == 0, 1, values)
        )

    def iterate(x: Array) -> _NewtonEnds:
        # A fixed number of steps: all starts are one batch.
        x = jax.lax.fori_loop(
            0, CONSTANTS.newton_steps, lambda _, x: x - newton_step(x), x
        )
        curvatures = jnp.linalg.eigvalsh(jax.hessian(energy)(x))
        return _NewtonEnds(x, jnp.abs(newton_step(x)), curvatures)

    return jax.vmap(iterate)(starts)


@sampling_program
def _descend(
    equation: FokkerPlanck, grid: Grid, minima: Array, saddle: Array, t: Scalar
) -> Array:
    """The wells to which the two paths of steepest descent from a saddle lead, `(2,)`,
    -1 for none of them.
    """
    cell = _cell(grid)
    stride = CONSTANTS.descent_stride
    arrival = CONSTANTS.arrival_strides * stride

    def energy(x: Array) -> Array:
        return equation.energy(x, t)

    def distances(x: Array) -> Array:
        return jnp.max(_distance_in_cells(x - minima, grid), axis=1)

    def walk(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, count = state
        gradient = jax.grad(energy)(x)
        # Steps of equal length in cells: the gradient vanishes near both ends of the
        # path.
        return x - stride * gradient / jnp.max(jnp.abs(gradient) / cell), count + 1

    def under_way(state: tuple[Array, Array]) -> Array:
        x, count = state
        return (jnp.min(distances(x)) > arrival) & (count < CONSTANTS.descent_steps)

    def well_from(start: Array) -> Array:
        end, _ = jax.lax.while_loop(under_way, walk, (start, jnp.zeros((), int)))
        return jnp.where(
            jnp.min(distances(end)) <= arrival, jnp.argmin(distances(end)), -1
        )

    # The first step leaves the saddle along its unstable direction, both ways.
    unstable = jnp.linalg.eigh(jax.hessian(energy)(saddle))[1][:, 0]
    first_step = stride * unstable / jnp.max(jnp.abs(unstable) / cell)
    return jnp.stack([well_from(saddle + first_step), well_from(saddle - first_step)])


def _smallest_of_neighbors(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Which nodes hold the smallest value of all their neighbours, corners included."""
    # One layer of nodes around the box: infinite, or from the other end of a periodic
    # axis.
    padded = np.pad(values, [(1, 1)] * values.ndim, constant_values=np.inf)
    for i, axis in enumerate(grid.axes):
        if axis.boundary == "periodic":
            only_this_axis = [(1, 1) if j == i else (0, 0) for j in range(grid.ndim)]
            padded = np.pad(
                padded.take(range(1, axis.n + 1), i), only_this_axis, mode="wrap"
            )
    smallest = np.ones(values.shape, bool)
    for shift in itertools.product((0, 1, 2), repeat=values.ndim):
        neighbor = padded[
            tuple(slice(s, s + n) for s, n in zip(shift, values.shape, strict=True))
        ]
        smallest &= values <= neighbor
    return smallest


def _cell(grid: Grid) -> np.ndarray:
    """The width of a cell along each axis, `(d,)`."""
    return np.asarray(
        [axis.length / axis.n for axis in grid.axes], jnp.result_type(float)
    )


def _is_inside(point: np.ndarray, grid: Grid) -> bool:
    pairs = zip(point, grid.axes, strict=True)
    return all(
        axis.boundary == "periodic" or axis.lower < x < axis.upper for x, axis in pairs
    )


def _distance_in_cells(difference: SameArray, grid: Grid) -> SameArray:
    """|difference| of positions `(..., d)` in cells along each axis, the shorter way on
    a periodic axis.
    """
    periodic = np.array([axis.boundary == "periodic" for axis in grid.axes])
    lengths = np.array([axis.length for axis in grid.axes])
    xp = host_module(difference)
    turns = xp.round(difference / lengths)
    difference = (
        difference - np.where(periodic, lengths, 0).astype(difference.dtype) * turns
    )
    return xp.abs(difference) / _cell(grid)


def _connected(count: int, links: list[tuple[int, int]]) -> bool:
    """Whether links join all of `count` wells, by way of others."""
    group = list(range(count))
    for a, b in links:
        group = [group[a] if g == group[b] else g for g in group]
    return len(set(group)) == 1
