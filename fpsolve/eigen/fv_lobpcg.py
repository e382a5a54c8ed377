"""The lowest levels of a finite-volume operator: LOBPCG with multigrid, from coarse graphs to fine ones.

    H psi = E psi,     T = a V-cycle on the graph of the cells,     sqrt(pi) projected out where it is a state

Every level of the multigrid is a chain of the same kind with modes of its own. Those of a coarse one come from its
whole matrix; each finer level starts from what the coarser one has found, so that the finest takes a few rounds.

References: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517; Knyazev and Neymeyr, Electron. Trans. Numer. Anal. 15 (2003)
38 (multigrid as the preconditioner).
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..linear.multigrid import Multigrid, wave_multigrid
from ..operator import EdgeOperator
from .lobpcg import Pairs, lobpcg, scattered

DENSE = 8  # times as many points as vectors, at least, where the whole matrix is taken
STRIDE = 2  # levels from one that is solved to the next
EARLY, ROUNDS_EARLY = 1e-2, 12  # residual in units of the spread, and rounds, at which coarse levels stop
RANDOM = 0.01  # share of the start that knows no symmetry


def volume_modes(operator: EdgeOperator, k: int, size: int, tol: Array) -> tuple[Pairs, Array]:
    """The `size` lowest Ritz pairs of H, and the residual that the first `k` were to reach.

    **Arguments**: `operator`, a process that balances in detail, or a Schrödinger operator; `size` above k, the rest
    being guards; `tol` is that residual in units of the spread of the levels. **Returns** pairs whose vectors `(size,
    points)` come times the roots of the weights; sqrt(pi) is the first of them where it is a state; `rounds` are those
    on the grid itself. **Keeps**: jit and vmap; nothing is differentiated. **Cost**: some ten rounds of `size` fields,
    whatever the grid and the barriers, and eight blocks of memory.
    """
    multigrid = wave_multigrid(operator)
    known = operator.well is None and all(axis.boundary != "absorbing" for axis in operator.grid.axes)
    m, last = size - known, len(multigrid.levels) - 1
    while last and multigrid.levels[last].out_rates.size < DENSE * m:
        last -= 1
    values, block = _whole(multigrid, last, m, known)
    lowest = jnp.zeros((), values.dtype) if known else values[0]
    spread, rounding = values[-1] - lowest, 8 * jnp.finfo(values.dtype).eps * operator.bounds[1]
    goal = jnp.maximum(tol * spread / size, rounding)
    for level in reversed(range(last)):
        block = multigrid.prolong(block, level)
        if 0 < level < last - 1 and level % STRIDE == 0:
            early = _refined(multigrid, level, block, k - known, EARLY * spread, known, rounds=ROUNDS_EARLY)
            block = early.vectors.reshape(block.shape)
    pairs = _refined(multigrid, 0, block, k - known, goal, known)
    return _joined(multigrid, pairs) if known else pairs, goal


def _refined(
    multigrid: Multigrid, level: int, block: Array, wanted: int, goal: Array, known: bool, **options: int
) -> Pairs:
    now, shape = multigrid.levels[level], block.shape
    flat = lambda fields: fields.reshape(len(fields), -1)
    action = lambda rows: flat(now.apply(rows.reshape(-1, *shape[1:])))
    precondition = lambda rows, _: flat(multigrid.cycle(rows.reshape(-1, *shape[1:]), level))
    root = multigrid.chains[level].root.reshape(1, -1) if known else None
    return lobpcg(action, precondition, flat(block), max(1, wanted), goal, root, **options)


def _whole(multigrid: Multigrid, level: int, m: int, known: bool) -> tuple[Array, Array]:
    """The m lowest values and modes `(m, *shape)` of a coarse level, but for its ground state where that is known."""
    now = multigrid.levels[level]
    values, vectors = jnp.linalg.eigh(now.matrix, symmetrize_input=True)
    values, vectors = values[known:], vectors.T[known:]
    noise = scattered((m, len(values)), values.dtype)
    noise = RANDOM * noise / (1 + jnp.abs(values - values[0]) / (values[m - 1] - values[0] + jnp.abs(values[0])))
    block = vectors[:m] + noise @ vectors
    return values[:m], block.reshape(m, *now.out_rates.shape)


def _joined(multigrid: Multigrid, pairs: Pairs) -> Pairs:
    root = multigrid.chains[0].root
    image = multigrid.levels[0].apply(root).reshape(1, -1)
    one = lambda number: jnp.asarray(number, pairs.values.dtype)[None]
    return Pairs(
        jnp.concatenate([root.reshape(1, -1), pairs.vectors]),
        jnp.concatenate([image, pairs.images]),
        jnp.append(one(0), pairs.values),
        jnp.append(one(jnp.linalg.norm(image)), pairs.residuals),
        pairs.rounds,
    )
