"""Which eigen-solver suits, and the approximate slow modes that it yields."""

import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid
from ..operator import EdgeOperator, Operator, Scheme
from ..operator.tensor import TensorOperator
from .dense import dense_modes
from .fv_lobpcg import volume_modes
from .ground import ground_mode, separates
from .tensor import tensor_modes

DENSE_SIZE = 1024  # points up to which the whole matrix is taken: a free choice
FEW = 8  # fewer than one level in so many of the points: beyond that the whole matrix is cheaper (a free choice)

DESCRIPTIONS = {
    "known": "the ground state is known: sqrt(pi)",
    "ground": "descent to the ground state, because one level was asked for",
    "dense": "the whole matrix",
    "tensor": "LOBPCG among products of the axes' own functions",
    "tridiagonal": "the tridiagonal matrix, by LAPACK",
    "multigrid": "LOBPCG with multigrid on the graph of the cells",
    "relaxation": "two-sided modes of L, because the process is not reversible",
}


def choose_modes(scheme: Scheme, grid: Grid, k: int, known: bool, factored: bool = False, host: bool = False) -> str:
    """The name of the solver for k levels; `known` says that the ground state is sqrt(pi), `factored` that H is given
    by its factors alone, `host` that LAPACK's tridiagonal solver may be called."""
    spectral, few = scheme.spectral, FEW * k <= grid.size
    if k == 1 and known:
        return "known"
    if k == 1 and separates(scheme, grid) and not factored:
        return "ground"
    if spectral and grid.ndim > 1 and few:
        return "tensor"
    if host and few and not spectral:
        return "tridiagonal"
    if spectral or grid.size <= DENSE_SIZE or not few:
        return "dense"
    return "multigrid"


def lowest_modes(name: str, operator: Operator, k: int, size: int, tol: Array) -> tuple[Array, Array]:
    """Approximate modes `(m, *shape)`, orthonormal in the grid's weights, and whether the first k have converged.

    **Arguments**: `name` of the solver; `size` at least k, the modes to return where they cost little; `tol` the
    relative error of the levels.
    """
    grid, dtype, exact = operator.grid, tol.dtype, jnp.ones((), bool)
    if name == "known":
        return jnp.exp(operator.log_sqrt_pi)[None], exact
    if name == "dense":
        return dense_modes(operator, size, dtype), exact
    if name == "ground":
        rounding = 64 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(jnp.stack(operator.bounds)))
        return ground_mode(operator, tol, rounding)
    if name == "tensor":
        assert isinstance(operator, TensorOperator)
        pairs, goal = tensor_modes(operator, k, size, jnp.sqrt(tol))
    else:
        assert isinstance(operator, EdgeOperator)
        if operator.log_sqrt_pi is None and operator.well is None:
            operator = operator.as_well()
        pairs, goal = volume_modes(operator, k, size, 4 * jnp.sqrt(tol))
    root = jnp.sqrt(grid.weights).astype(dtype)
    return pairs.vectors.reshape(-1, *grid.shape) / root, jnp.max(pairs.residuals[:k]) <= 2 * goal
