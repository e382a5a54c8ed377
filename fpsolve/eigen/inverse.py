"""H^{-1} in the complement of its ground state, by conjugate gradients.

    H x = b,    x and b orthogonal to sqrt(pi),    preconditioned by the inverse of the separable part of H or multigrid

Reference: Golub and Van Loan, Matrix Computations (2013), section 11.5.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..linear.multigrid import wave_multigrid
from ..operator import EdgeOperator, Operator
from ..operator.tensor import TensorOperator
from .tensor import Products, separable_axes

ITERATIONS = 2000  # of conjugate gradients
RESIDUAL = 1e-11  # relative, at which they stop


def invert(operator: Operator, wave: Array, ground: Array) -> tuple[Array, Array]:
    """H^{-1} `wave` in the complement of `ground`, by conjugate gradients, and the relative residual."""
    root = jnp.sqrt(operator.grid.weights).astype(wave.dtype)
    known = (ground * root).ravel()
    known = known / jnp.linalg.norm(known)
    project = lambda u: u - known * jnp.sum(known * u)
    precondition = near_inverse(operator)
    action = lambda u: project((root * operator.hamiltonian(u.reshape(root.shape) / root)).ravel())
    b = project((wave * root).ravel())
    size = jnp.linalg.norm(b)

    def again(state: tuple[Array, ...]) -> Array:
        return (jnp.linalg.norm(state[1]) > RESIDUAL * size) & (state[4] < ITERATIONS)

    def iterate(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, r, p, rho, k = state
        image = action(p)
        step = rho / jnp.sum(p * image)
        x, r = x + step * p, project(r - step * image)
        z = project(precondition(r))
        after = jnp.sum(r * z)
        return x, r, z + after / rho * p, after, k + 1

    z = project(precondition(b))
    start = (jnp.zeros_like(b), b, z, jnp.sum(b * z), jnp.zeros((), int))
    x, r, *_ = jax.lax.while_loop(again, iterate, start)
    solution = project(x).reshape(root.shape) / root
    return solution, jnp.linalg.norm(r) / jnp.where(size > 0, size, 1)


def near_inverse(operator: Operator) -> Callable[[Array], Array]:
    """Close to H^{-1} on rows of fields times the roots of the weights; symmetric and positive."""
    if isinstance(operator, TensorOperator):
        products = Products(operator, separable_axes(operator))
        energies = products.energies - jnp.min(products.energies)
        inverse = 1 / (energies + jnp.sort(energies)[1])
        apart = lambda u: products.out(inverse * products.into(u.reshape(1, *operator.grid.shape)))
        return lambda u: apart(u).ravel()
    assert isinstance(operator, EdgeOperator)
    multigrid = wave_multigrid(operator)
    return lambda u: multigrid.cycle(u.reshape(operator.grid.shape)).ravel()
