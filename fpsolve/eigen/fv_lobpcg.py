"""The lowest levels of a finite-volume operator: LOBPCG with multigrid, from coarse
graphs to fine ones.

    H psi = E psi,     T = a V-cycle on the graph of the cells,
    sqrt(pi) projected out where it is a state

Every level of the multigrid is a chain of the same kind with modes of its own. Those of
a coarse one come from its whole matrix; each finer level starts from what the coarser
one has found, so that the finest takes a few rounds.

References: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517; Knyazev and Neymeyr, Electron.
Trans. Numer. Anal. 15 (2003) 38 (multigrid as the preconditioner).
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..linear.multigrid import Multigrid, wave_multigrid
from ..operator import EdgeOperator
from .constants import CONSTANTS
from .lobpcg import Pairs, lobpcg, scattered


def volume_modes(
    operator: EdgeOperator,
    k: int,
    size: int,
    tol: Array,
) -> tuple[Pairs, Array]:
    """The `size` lowest Ritz pairs of H, and the residual that the first `k` were to
    reach.

    **Arguments**: `operator`, a process with detailed balance, or a Schrödinger
    operator; `size` above k, the rest being guards; `tol` is that residual in units of
    the spread of the levels. **Returns** pairs whose vectors `(size, points)` come
    times the roots of the weights; sqrt(pi) is the first of them where it is a state;
    `rounds` are those on the grid itself. **Keeps**: jit and vmap; nothing is
    differentiated. **Cost**: some ten rounds of `size` fields, whatever the grid and
    the barriers, and eight blocks of memory.
    """
    multigrid = wave_multigrid(operator)
    # sqrt(pi) is the ground state where nothing leaves: it is known, and the iteration
    # is for the other levels.
    known = operator.potential_term is None and all(
        axis.boundary != "absorbing" for axis in operator.grid.axes
    )
    m = size - known
    wanted = k - known

    # The coarsest graph that still has enough points for m vectors is solved by its
    # whole matrix.
    points_needed = CONSTANTS.coarsest_points_per_vector * m
    coarsest = len(multigrid.levels) - 1
    while coarsest and multigrid.levels[coarsest].out_rates.size < points_needed:
        coarsest -= 1
    values, block = _matrix_modes(multigrid, coarsest, m, known)
    ground_level = jnp.zeros((), values.dtype) if known else values[0]
    spread = values[-1] - ground_level
    rounding = CONSTANTS.roundings * jnp.finfo(values.dtype).eps * operator.bounds[1]
    residual_tol = jnp.maximum(tol * spread / size, rounding)

    # From coarse to fine. A few rounds on some of the graphs are cheap, and save rounds
    # on the grid itself. The graph next to the coarsest is left out: its start comes
    # from a whole matrix.
    coarse_tol = CONSTANTS.coarse_residual * spread
    for level in reversed(range(coarsest)):
        block = multigrid.prolong(block, level)
        inner = 0 < level < coarsest - 1
        if inner and level % CONSTANTS.levels_between_solves == 0:
            coarse = _refine(
                multigrid,
                level,
                block,
                wanted,
                coarse_tol,
                known,
                CONSTANTS.coarse_rounds,
            )
            block = coarse.vectors.reshape(block.shape)
    pairs = _refine(multigrid, 0, block, wanted, residual_tol, known)
    return _with_ground(multigrid, pairs) if known else pairs, residual_tol


def _refine(
    multigrid: Multigrid,
    index: int,
    block: Array,
    wanted: int,
    residual_tol: Array,
    known: bool,
    rounds: int | None = None,
) -> Pairs:
    """LOBPCG on one level, from `block` `(m, *shape)`."""
    level = multigrid.levels[index]

    def to_fields(rows: Array) -> Array:
        return rows.reshape(-1, *block.shape[1:])

    def to_rows(fields: Array) -> Array:
        return fields.reshape(len(fields), -1)

    def action(rows: Array) -> Array:
        return to_rows(level.apply(to_fields(rows)))

    def precondition(rows: Array, _: Array) -> Array:
        return to_rows(multigrid.cycle(to_fields(rows), index))

    ground = multigrid.graphs[index].sqrt_mass.reshape(1, -1) if known else None
    return lobpcg(
        action,
        precondition,
        to_rows(block),
        max(1, wanted),
        residual_tol,
        ground,
        rounds,
    )


def _matrix_modes(
    multigrid: Multigrid,
    index: int,
    m: int,
    known: bool,
) -> tuple[Array, Array]:
    """The m lowest values and modes `(m, *shape)` of a coarse level, but for its ground
    state where that is known.
    """
    level = multigrid.levels[index]
    values, vectors = jnp.linalg.eigh(level.matrix, symmetrize_input=True)
    values = values[known:]
    rows = vectors.T[known:]
    # A random part, so that modes of a symmetry that the coarse modes do not have are
    # not missed on finer levels. It is smaller at high levels.
    scale = values[m - 1] - values[0] + jnp.abs(values[0])
    noise = scattered((m, len(values)), values.dtype)
    noise = CONSTANTS.random_start * noise / (1 + jnp.abs(values - values[0]) / scale)
    block = rows[:m] + noise @ rows
    return values[:m], block.reshape(m, *level.out_rates.shape)


def _with_ground(multigrid: Multigrid, pairs: Pairs) -> Pairs:
    """The pairs, after sqrt(pi) with the level zero."""
    ground = multigrid.graphs[0].sqrt_mass
    image = multigrid.levels[0].apply(ground).reshape(1, -1)
    zero = jnp.zeros(1, pairs.values.dtype)
    # H sqrt(pi) is zero but for rounding, which is its residual.
    residual = jnp.linalg.norm(image)[None]
    return Pairs(
        vectors=jnp.concatenate([ground.reshape(1, -1), pairs.vectors]),
        images=jnp.concatenate([image, pairs.images]),
        values=jnp.append(zero, pairs.values),
        residuals=jnp.append(residual, pairs.residuals),
        rounds=pairs.rounds,
    )
