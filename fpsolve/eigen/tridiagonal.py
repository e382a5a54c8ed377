"""The lowest modes of finite volumes on one axis by LAPACK's tridiagonal solver, on the
host.

    T = W^{1/2} H W^{-1/2},     T_jj = r_j,     T_{j,j+1} = -c_j / sqrt(w_j w_{j+1})

with r the exit rates, c the couplings and w the weights. Bisection finds each level and
inverse iteration its mode: O(n) a level, to rounding of |H|; digits that a small level
needs beyond that, `levels` takes from the factor A.

Reference: Anderson et al., LAPACK Users' Guide (1999), routines dstebz and dstein.
"""

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.machine import on_processor
from ..grid import Grid
from ..operator import EdgeOperator


def on_host(grid: Grid, *values: object) -> bool:
    """Whether LAPACK may replace a compiled program: one axis that is not periodic,
    concrete values, a CPU.
    """
    # The matrix of a periodic axis has corners and is not tridiagonal.
    return (
        grid.ndim == 1
        and grid.axes[0].boundary != "periodic"
        and on_processor()
        and is_concrete(*values)
    )


def tridiagonal_modes(operator: EdgeOperator, k: int) -> Array:
    """The k lowest modes of H `(k, n)`, orthonormal in the grid's weights, from
    concrete rates. **Cost**: O(k n).
    """
    # imported here, because few calls need it
    from scipy.linalg import eigh_tridiagonal

    axis = operator.grid.axes[0]
    sqrt_weights = np.sqrt(axis.weights)
    couplings = np.asarray(operator.couplings[0], float)
    # The outer faces of an absorbing axis join a node to the outside, and no two nodes.
    inner = couplings[1:-1] if axis.boundary == "absorbing" else couplings
    diagonal = np.asarray(operator.exit_rates, float)
    off_diagonal = -inner / (sqrt_weights[:-1] * sqrt_weights[1:])
    _, vectors = eigh_tridiagonal(
        diagonal,
        off_diagonal,
        select="i",
        select_range=(0, k - 1),
    )
    return as_array(vectors.T / sqrt_weights, operator.couplings[0].dtype)
