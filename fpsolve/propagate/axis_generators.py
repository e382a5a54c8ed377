"""The flux of a density along one axis as matrices, one a row of nodes: what
`fp.Splitting` exponentiates in a basis.

d_t p = sum_i L_i p,      L_i = W^-1 G^T V ( b M - D G )      along axis i      (`operator.tensor`)
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import EXACTLY, machine
from ..grid import Grid
from ..operator.tensor import Factor, TensorOperator
from .base import ProblemKind, product_time
from .constants import CONSTANTS


def takes_basis(kind: ProblemKind) -> bool:
    """Whether a problem is a density in a basis that has a gradient drift and no wave."""
    is_density = kind.fokker_planck and not kind.reversible and kind.wick == 0
    return (
        bool(kind.spectral)
        and is_density
        and kind.gradient_drift
        and not kind.time_dependent
    )


def longest_in_basis(grid: Grid) -> float:
    """Estimated seconds of a run in a basis with as many steps as are allowed."""
    matrices = sum(
        CONSTANTS.exponential_products * 2 * machine().operation * grid.size * n**2
        for n in grid.shape
    )
    # Two attempts; the last one runs with all steps, and with a half and a quarter of
    # them.
    return 2 * matrices + 2 * CONSTANTS.splitting_basis_steps * product_time(grid, True)


def axis_generators(operator: TensorOperator, i: int) -> Array:
    """The generators of the masses w p along axis i, `(*rows, to, from)`: the weak form
    of the flux of `Factor`.
    """
    term = operator.terms[i]
    assert isinstance(term, Factor), "in the flux form every term is a factor"
    drift = jnp.moveaxis(term.drift, i, -1)[..., None]
    diffusion = jnp.moveaxis(jnp.broadcast_to(term.diffusion, term.drift.shape), i, -1)[
        ..., None
    ]
    flux = drift * term.interpolation - diffusion * term.derivative
    divergence = term.derivative.T * term.face_weights
    return jnp.matmul(divergence, flux, precision=EXACTLY) / term.node_weights
