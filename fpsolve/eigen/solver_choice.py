"""Which eigen-solver suits, and the approximate slow modes that it yields."""

import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid
from ..operator import EdgeOperator, Operator, Scheme
from ..operator.tensor import TensorOperator
from .constants import CONSTANTS
from .dense import dense_modes
from .fv_lobpcg import volume_modes
from .ground import ground_mode, separates
from .tensor import tensor_modes

DESCRIPTIONS = {
    "known": "the ground state is known: sqrt(pi)",
    "ground": "descent to the ground state, because one level was requested",
    "dense": "the whole matrix",
    "tensor": "LOBPCG among products of the axes' own functions",
    "tridiagonal": "the tridiagonal matrix, by LAPACK",
    "multigrid": "LOBPCG with multigrid on the graph of the cells",
    "relaxation": "two-sided modes of L, because the process is not reversible",
}


def choose_modes(
    scheme: Scheme,
    grid: Grid,
    k: int,
    known: bool,
    factored: bool = False,
    host: bool = False,
) -> str:
    """The name of the solver for k levels; `known` says that the ground state is
    sqrt(pi), `factored` that H is given by its factors alone, `host` that LAPACK's
    tridiagonal solver may be called.
    """
    few_levels = CONSTANTS.points_per_level * k <= grid.size
    # The ground state alone.
    if k == 1 and known:
        return "known"
    if k == 1 and separates(scheme, grid) and not factored:
        return "ground"
    # Few levels of many points.
    if scheme.spectral and grid.ndim > 1 and few_levels:
        return "tensor"
    if host and few_levels and not scheme.spectral:
        return "tridiagonal"
    # One spectral axis has few nodes: its whole matrix is taken in any case.
    if scheme.spectral or grid.size <= CONSTANTS.dense_size or not few_levels:
        return "dense"
    return "multigrid"


def lowest_modes(
    name: str,
    operator: Operator,
    k: int,
    size: int,
    tol: Array,
) -> tuple[Array, Array]:
    """Approximate modes `(m, *shape)`, orthonormal in the grid's weights, and whether
    the first k have converged.

    **Arguments**: `name` of the solver; `size` at least k, the modes to return where
    they cost little; `tol` the relative error of the levels.
    """
    grid = operator.grid
    dtype = tol.dtype
    exact = jnp.ones((), bool)
    if name == "known":
        return jnp.exp(operator.log_sqrt_pi)[None], exact
    if name == "dense":
        return dense_modes(operator, size, dtype), exact
    if name == "ground":
        largest = jnp.max(jnp.abs(jnp.stack(operator.bounds)))
        rounding = CONSTANTS.ground_roundings * jnp.finfo(dtype).eps * largest
        return ground_mode(operator, tol, rounding)

    # Block iterations. The error of a level is the square of its residual: sqrt(tol) is
    # enough.
    if name == "tensor":
        assert isinstance(operator, TensorOperator)
        pairs, residual_tol = tensor_modes(operator, k, size, jnp.sqrt(tol))
    else:
        assert isinstance(operator, EdgeOperator)
        if operator.log_sqrt_pi is None and operator.potential_term is None:
            # The multigrid needs masses: without a Gibbs density H is taken as equal
            # rates and a potential term.
            operator = operator.as_potential_term()
        residual = CONSTANTS.multigrid_tol_factor * jnp.sqrt(tol)
        pairs, residual_tol = volume_modes(operator, k, size, residual)
    sqrt_weights = jnp.sqrt(grid.weights).astype(dtype)
    modes = pairs.vectors.reshape(-1, *grid.shape) / sqrt_weights
    accepted = CONSTANTS.accepted_residual_factor * residual_tol
    return modes, jnp.max(pairs.residuals[:k]) <= accepted
