"""H^{-1} in the complement of its ground state, by conjugate gradients.

    H x = b,    x and b orthogonal to sqrt(pi),
    preconditioned by the inverse of the separable part of H or multigrid

Reference: Golub and Van Loan, Matrix Computations (2013), section 11.5.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..linear.multigrid import wave_multigrid
from ..operator import EdgeOperator, Operator
from ..operator.tensor import TensorOperator
from .constants import CONSTANTS
from .tensor import Products, separable_axes


class _State(NamedTuple):
    """The state of conjugate gradients: the solution so far, its residual r, the next
    direction, and <r, T r>.
    """

    solution: Array
    residual: Array
    direction: Array
    product: Array
    iteration: Array


def invert(operator: Operator, wave: Array, ground: Array) -> tuple[Array, Array]:
    """H^{-1} `wave` in the complement of `ground`, by conjugate gradients, and the
    relative residual.
    """
    sqrt_weights = jnp.sqrt(operator.grid.weights).astype(wave.dtype)
    known = (ground * sqrt_weights).ravel()
    known = known / jnp.linalg.norm(known)
    precondition = near_inverse(operator)

    def project(row: Array) -> Array:
        return row - known * jnp.sum(known * row)

    # Every image is projected: H is singular along `ground`, and rounding there would
    # grow without bound.
    def action(row: Array) -> Array:
        field = row.reshape(sqrt_weights.shape) / sqrt_weights
        image = sqrt_weights * operator.hamiltonian(field)
        return project(image.ravel())

    # The norm of the right side is the unit of all residuals.
    right_side = project((wave * sqrt_weights).ravel())
    size = jnp.linalg.norm(right_side)

    def unfinished(state: _State) -> Array:
        large = jnp.linalg.norm(state.residual) > CONSTANTS.inverse_residual * size
        return large & (state.iteration < CONSTANTS.inverse_iterations)

    def iterate(state: _State) -> _State:
        image = action(state.direction)
        step = state.product / jnp.sum(state.direction * image)
        solution = state.solution + step * state.direction
        residual = project(state.residual - step * image)
        preconditioned = project(precondition(residual))
        product = jnp.sum(residual * preconditioned)
        direction = preconditioned + product / state.product * state.direction
        return _State(solution, residual, direction, product, state.iteration + 1)

    direction = project(precondition(right_side))
    start = _State(
        solution=jnp.zeros_like(right_side),
        residual=right_side,
        direction=direction,
        product=jnp.sum(right_side * direction),
        iteration=jnp.zeros((), int),
    )
    end = jax.lax.while_loop(unfinished, iterate, start)
    # The solution is unique in the complement of `ground` only.
    solution = project(end.solution).reshape(sqrt_weights.shape) / sqrt_weights
    # A right side of zero has the solution zero, and no error relative to it.
    relative_residual = jnp.linalg.norm(end.residual) / jnp.where(size > 0, size, 1)
    return solution, relative_residual


def near_inverse(operator: Operator) -> Callable[[Array], Array]:
    """Close to H^{-1} on rows of fields times the roots of the weights; symmetric and
    positive.
    """
    if isinstance(operator, TensorOperator):
        products = Products(operator, separable_axes(operator))
        energies = products.energies - jnp.min(products.energies)
        # The lowest separable level is zero: the next one is added, so that the inverse
        # is finite and positive.
        inverse = 1 / (energies + jnp.sort(energies)[1])

        def separable_inverse(row: Array) -> Array:
            field = row.reshape(1, *operator.grid.shape)
            coefficients = products.to_products(field)
            return products.from_products(inverse * coefficients).ravel()

        return separable_inverse
    assert isinstance(operator, EdgeOperator)
    multigrid = wave_multigrid(operator)

    def one_cycle(row: Array) -> Array:
        return multigrid.cycle(row.reshape(operator.grid.shape)).ravel()

    return one_cycle
