"""The generators of a density along one axis as matrices, one a row of nodes: what
`fp.Splitting` exponentiates.

    d_t p = sum_i L_i p,      L_i along axis i

In a basis L_i = W^-1 G^T V ( b M - D G ) (`operator.tensor`). On finite volumes it has
the rates of a birth-death process along each row of cells.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.machine import EXACTLY, machine
from ..grid import Grid
from ..operator import EdgeOperator
from ..operator.tensor import Factor, TensorOperator
from .base import ProblemKind, product_time
from .constants import CONSTANTS


def takes_basis(kind: ProblemKind) -> bool:
    """Whether a problem is a density in a basis with a gradient drift and no wave."""
    is_density = kind.fokker_planck and not kind.reversible and kind.wick == 0
    is_static_gradient = kind.gradient_drift and not kind.time_dependent
    return bool(kind.spectral) and is_density and is_static_gradient


def longest_in_basis(grid: Grid) -> float:
    """Estimated seconds of a run in a basis with as many steps as are allowed."""
    matrices = sum(
        CONSTANTS.exponential_products * 2 * machine().operation * grid.size * n**2
        for n in grid.shape
    )
    steps = CONSTANTS.splitting_basis_steps * product_time(grid, True)
    # Two attempts; the last one runs with all steps, and with a half and a quarter of
    # them.
    return 2 * matrices + 2 * steps


def axis_generators(operator: TensorOperator, i: int) -> Array:
    """The generators of the masses w p along axis i, `(*rows, to, from)`: the weak form
    of the flux of `Factor`.
    """
    term = operator.terms[i]
    assert isinstance(term, Factor), "in the flux form every term is a factor"
    drift = jnp.moveaxis(term.drift, i, -1)[..., None]
    # The diffusion may be one number for the whole grid.
    diffusion = jnp.broadcast_to(term.diffusion, term.drift.shape)
    diffusion = jnp.moveaxis(diffusion, i, -1)[..., None]
    flux = drift * term.interpolation - diffusion * term.derivative
    divergence = term.derivative.T * term.face_weights
    return jnp.matmul(divergence, flux, precision=EXACTLY) / term.node_weights


def axis_rates(operator: EdgeOperator, i: int, lowest: Array) -> Array:
    """The rates of the masses w p along axis i, `(*rows, to, from)`.

    Mass that is lost goes to one more node, behind the last, from which nothing
    returns. So the columns of every exponential sum to one, which `markov_expm` needs.
    """
    axis = operator.grid.axes[i]
    n = operator.grid.shape[i]

    def last(rates: Array) -> Array:
        return jnp.moveaxis(rates, i, -1)

    # The nodes below and above each face; -1 is the additional node.
    node = np.arange(n)
    below, above = {
        "no_flux": (node[:-1], node[1:]),
        "periodic": (node, np.roll(node, -1)),
        "absorbing": (np.append(-1, node), np.append(node, -1)),
    }[axis.boundary]
    killing_rate = None
    if operator.potential_term is not None and i == 0:
        killing_rate = last(operator.potential_term - lowest)
    size = n + (killing_rate is not None or axis.boundary == "absorbing")

    # An infinite weight of the additional node makes the rates out of it zero.
    weights = np.concatenate([axis.weights, [np.inf]])
    up = last(operator.up[i])
    down = last(operator.down[i])
    up = up / jnp.asarray(weights[below], up.dtype)
    down = down / jnp.asarray(weights[above], up.dtype)
    shape = (*up.shape[:-1], size, size)
    rates = jnp.zeros(shape, up.dtype)
    # Added, not set: on a ring of two cells both faces join the same two nodes.
    rates = rates.at[..., above, below].add(up)
    rates = rates.at[..., below, above].add(down)
    if killing_rate is None:
        return rates
    return rates.at[..., -1, :n].add(killing_rate)
