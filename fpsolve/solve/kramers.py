"""Eyring and Kramers' law: the rates between wells from the tops and bottoms of the potential alone.

    k_ab = sum_s |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) exp( -(U_s - U_a) / D )

over the saddles s between the minima a and b, lambda_s the negative eigenvalue of U''_s. The wells are then the states
of a chain, whose slowest rate is the law's gap; two wells have gap = k_ab + k_ba. It is right up to a factor 1 + O(D).

Minima and saddles are found where |grad U|^2 is least among neighbouring nodes, made exact by Newton's iteration, and
told apart by the eigenvalues of U''; from a saddle a path of steepest descent leads to the two wells beside it.

References: Eyring, J. Chem. Phys. 3 (1935) 107; Kramers, Physica 7 (1940) 284; Bovier, Eckhoff, Gayrard and Klein,
J. Eur. Math. Soc. 6 (2004) 399.
"""

import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision, sampling_program
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..plan.validation import check_equation

NEWTON = 40  # steps of Newton's iteration, which is quadratic from a fraction of a cell away; more for flat minima
LONGEST = 20_000  # steps of a descent: two thousand cells
STRIDE = 0.1  # of a cell: a step of the descent


class EyringKramers(eqx.Module):
    """Wells, saddles and the rates between wells.

    - `minima` `(m, d)`, by descending depth; `saddles` `(s, d)`, each between the wells `between` `(s, 2)`
    - `barriers` `(s, 2)`: the height of each saddle above the two wells beside it
    - `rates` `(m, m)`: from the first well to the second, in units 1/time; zero where no saddle leads
    - `gap`: the slowest rate of this chain of wells, to compare with `fp.spectral_gap`
    """

    minima: Array
    saddles: Array
    between: Array
    barriers: Array
    rates: Array
    gap: Array


@full_precision
def eyring_kramers(equation: Equation, grid: Grid, *, t: Any = 0.0) -> EyringKramers:
    """The Eyring-Kramers rates of the wells that the grid holds.

        k_ab = |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) exp( -(U_s - U_a) / D )

    **Arguments**: `equation` an `fp.FokkerPlanck` with one diffusion D and no force; `grid` whose box is searched and
    whose spacing tells wells apart; `t` freezes a moving potential. **Returns** an `EyringKramers`. **Raises**
    `ValueError` for fewer than two minima, a minimum or saddle with a flat direction, wells that no saddle joins, or a
    traced equation: how many wells there are must be known.

    **Limits** (mathematical): leading order in D, an error of about 3 D / (8 barrier) for a quartic double well; minima
    at walls are not counted. **Cost**: two derivatives a node and some Newton steps a critical point.
    **Reference**: Bovier, Eckhoff, Gayrard and Klein (2004), theorem 1.2.

    ```python
    import fpsolve as fp

    law = fp.eyring_kramers(fp.FokkerPlanck(fp.DoubleWell(1.0), 0.1), fp.Grid(fp.Line(-2, 2, 128)))
    ```
    """
    equation, grid = check_equation(equation, grid, t)
    t = as_array(t)
    if not is_concrete(equation, t):
        raise_value_error(
            "equation", equation, "the wells of a traced potential cannot be counted", "Call it outside jit and grad."
        )
    if not isinstance(equation, FokkerPlanck) or equation.irreversible_anywhere or equation.diffusion.ndim:
        raise_value_error("equation", equation, "the law needs a potential and one diffusion", "Drop the force.")
    minima, saddles = _critical_points(equation, grid, t)
    if len(minima) < 2:
        allowed = f"the law needs two wells, and the grid holds {len(minima)} minima"
        raise_value_error(
            "equation", equation, allowed, "Widen the box, or ask for fp.spectral_gap, which needs no wells."
        )
    minima = minima[np.argsort(np.asarray(_energies(equation, as_array(minima), t)))]
    paths = [_wells_beside(equation, grid, minima, saddle, t) for saddle in saddles]
    joined = [k for k, (a, b) in enumerate(paths) if a != b and min(a, b) >= 0]
    if not _connected(len(minima), [paths[k] for k in joined]):
        cure = "Widen the box, or refine the grid: saddles are told apart by its spacing."
        raise_value_error("equation", equation, "the law needs a saddle between any two wells, by way of others", cure)
    between = as_array([paths[k] for k in joined], int)
    return _law(equation, as_array(minima), as_array(saddles[joined]), between, t)


@sampling_program
def _energies(equation: FokkerPlanck, points: Array, t: Any) -> Array:
    return jax.vmap(lambda x: equation.energy(x, t))(points)


@sampling_program
def _law(equation: FokkerPlanck, minima: Array, saddles: Array, between: Array, t: Any) -> EyringKramers:
    energy = lambda points: jax.vmap(lambda x: equation.energy(x, t))(points)
    curvature = lambda points: jnp.linalg.eigvalsh(jax.vmap(jax.hessian(lambda x: equation.energy(x, t)))(points))
    diffusion, steep, top = equation.diffusion, curvature(minima), curvature(saddles)
    # log sqrt(det U'') in the wells and on top
    wide, narrow = jnp.sum(jnp.log(steep), 1) / 2, jnp.sum(jnp.log(jnp.abs(top)), 1) / 2
    barriers = energy(saddles)[:, None] - energy(minima)[between]
    speed = jnp.abs(top[:, :1]) / (2 * math.pi)
    out_rates = speed * jnp.exp(wide[between] - narrow[:, None] - barriers / diffusion)
    a, b = between.T
    rates = (
        jnp.zeros((len(minima), len(minima)), out_rates.dtype)
        .at[a, b]
        .add(out_rates[:, 0])
        .at[b, a]
        .add(out_rates[:, 1])
    )
    return EyringKramers(minima, saddles, between, barriers, rates, _gap(rates))


def _gap(rates: Array) -> Array:
    """The slowest rate: the least singular value but zero of the factor A of the chain, from wells to links,

        (A psi)_ab = sqrt(k_ba) psi_b - sqrt(k_ab) psi_a,

    which for two wells is k_ab + k_ba, with nothing subtracted."""
    m = rates.shape[0]
    first, second = (jnp.asarray(u) for u in np.triu_indices(m, 1))
    rows = jnp.arange(first.size)
    factor = jnp.zeros((first.size, m), rates.dtype)
    factor = factor.at[rows, second].set(jnp.sqrt(rates[second, first]))
    factor = factor.at[rows, first].set(-jnp.sqrt(rates[first, second]))
    return jnp.linalg.svd(factor, compute_uv=False)[m - 2] ** 2


def _critical_points(equation: FokkerPlanck, grid: Grid, t: Any) -> tuple[np.ndarray, np.ndarray]:
    """Minima `(m, d)` and saddles of index one `(s, d)` inside the box."""
    nodes = np.stack(np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1)
    starts = nodes[_least_of_neighbours(np.asarray(_steepness(equation, grid, t)), grid)]
    points, sizes, curvatures = (np.asarray(u) for u in _newton(equation, as_array(starts), t))
    cell, found = _cell(grid), {0: [], 1: []}
    for start, point, size, curvature in zip(starts, points, sizes, curvatures, strict=True):
        shift = np.max(np.abs(point - start) / cell)
        if not (np.isfinite(shift) and shift < 2 and size < 1e-3) or not _inside(point, grid):
            continue
        index = int(np.sum(curvature < 0))
        known = found.get(index)
        if known is None or any(np.max(np.abs(_apart(point - other, grid)) / cell) < 0.5 for other in known):
            continue
        if np.min(np.abs(curvature)) < 1e-6 * np.max(np.abs(curvature)):
            cure = "Ask for fp.spectral_gap, which needs no wells."
            raise_value_error(
                "potential", equation.potential, f"it is flat in a direction at x = {point.tolist()}", cure
            )
        known.append(point)
    shaped = lambda points: np.array(points).reshape(-1, grid.ndim)
    return shaped(found[0]), shaped(found[1])


@sampling_program
def _steepness(equation: FokkerPlanck, grid: Grid, t: Any) -> Array:
    """|grad U|^2 in cells, `(*shape)`."""
    slope = jax.grad(lambda x: equation.energy(x, t))
    return grid.sample(lambda x: jnp.sum((slope(x) * _cell(grid)) ** 2))


@sampling_program
def _newton(equation: FokkerPlanck, starts: Array, t: Any) -> tuple[Array, Array, Array]:
    """Critical points, the size of the last step, and the eigenvalues of U'' there."""
    energy = lambda x: equation.energy(x, t)

    def step(x: Array) -> Array:
        values, vectors = jnp.linalg.eigh(jax.hessian(energy)(x))
        along = vectors.T @ jax.grad(energy)(x)
        return vectors @ jnp.where(values == 0, 0, along / jnp.where(values == 0, 1, values))

    def run(x: Array) -> tuple[Array, Array, Array]:
        x = jax.lax.fori_loop(0, NEWTON, lambda _, x: x - step(x), x)
        return x, jnp.max(jnp.abs(step(x))), jnp.linalg.eigvalsh(jax.hessian(energy)(x))

    return jax.vmap(run)(starts)


def _wells_beside(
    equation: FokkerPlanck, grid: Grid, minima: np.ndarray, saddle: np.ndarray, t: Any
) -> tuple[int, int]:
    """The wells to which the two paths of steepest descent from a saddle lead, -1 for none of them."""
    ends = np.asarray(_descend(equation, grid, as_array(minima), as_array(saddle), t))
    return int(ends[0]), int(ends[1])


@sampling_program
def _descend(equation: FokkerPlanck, grid: Grid, minima: Array, saddle: Array, t: Any) -> Array:
    energy, cell = lambda x: equation.energy(x, t), _cell(grid)
    unstable = jnp.linalg.eigh(jax.hessian(energy)(saddle))[1][:, 0]
    away = lambda x: jnp.max(jnp.abs(_apart(x - minima, grid)) / cell, axis=1)

    def walk(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, k = state
        slope = jax.grad(energy)(x)
        return x - STRIDE * slope / jnp.max(jnp.abs(slope) / cell), k + 1

    def path(start: Array) -> Array:
        going = lambda state: (jnp.min(away(state[0])) > 2 * STRIDE) & (state[1] < LONGEST)
        end = jax.lax.while_loop(going, walk, (start, jnp.zeros((), int)))[0]
        return jnp.where(jnp.min(away(end)) <= 2 * STRIDE, jnp.argmin(away(end)), -1)

    reach = STRIDE * unstable / jnp.max(jnp.abs(unstable) / cell)
    return jnp.stack([path(saddle + reach), path(saddle - reach)])


def _least_of_neighbours(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Which nodes hold the least value of all their neighbours, corners included."""
    least = np.ones(values.shape, bool)
    modes = [(1, 1)] * values.ndim
    padded = np.pad(values, modes, constant_values=np.inf)
    for i, axis in enumerate(grid.axes):
        if axis.boundary == "periodic":
            around = [(1, 1) if j == i else (0, 0) for j in range(grid.ndim)]
            padded = np.pad(padded.take(range(1, axis.n + 1), i), around, mode="wrap")
    for shift in itertools.product((0, 1, 2), repeat=values.ndim):
        least &= values <= padded[tuple(slice(s, s + n) for s, n in zip(shift, values.shape, strict=True))]
    return least


def _cell(grid: Grid) -> np.ndarray:
    return np.asarray([axis.length / axis.n for axis in grid.axes], jnp.result_type(float))


def _inside(point: np.ndarray, grid: Grid) -> bool:
    pairs = zip(point, grid.axes, strict=True)
    return all(axis.boundary == "periodic" or axis.lower < x < axis.upper for x, axis in pairs)


def _apart(difference: Any, grid: Grid) -> Any:
    """A difference of positions, the short way round a ring."""
    rings = np.array([axis.boundary == "periodic" for axis in grid.axes])
    lengths = np.array([axis.length for axis in grid.axes])
    xp = host_module(difference)
    return difference - np.where(rings, lengths, 0).astype(difference.dtype) * xp.round(difference / lengths)


def _connected(count: int, links: list[tuple[int, int]]) -> bool:
    group = list(range(count))
    for a, b in links:
        group = [group[a] if g == group[b] else g for g in group]
    return len(set(group)) == 1
