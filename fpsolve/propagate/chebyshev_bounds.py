"""The lowest level of a spectrum, as exactly as a Chebyshev expansion of a long time needs it.

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X)

The sum has size e^{-s (E_0 - lo)} and errors of rounding of size 1: digits are lost where the bound lo is far below the
lowest level E_0. Without a stationary state E_0 is not known. A positive field is filtered by exponentials of growing
length, each as long as its digits allow; its Rayleigh quotient is an upper bound of E_0, and less its residual a lower
one.

Reference: Parlett, The Symmetric Eigenvalue Problem (1998), section 4.5 (residual bounds).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .chebyshev_expansion import Prepared, expand
from .constants import CONSTANTS


def with_lowest_level(prepared: Prepared, field: Array, last: Array) -> Prepared:
    """The same with a lower bound that is about 1 / `last` below the lowest level, as far as rounds of filtering reach.

    `field` is what will be expanded. Its absolute value has a part of the lowest state, which has no nodes. Nothing is
    differentiated. **Cost**: some times that of one expansion to `last` where that is long, and one product otherwise.
    """
    fixed: Prepared = jax.lax.stop_gradient(prepared)
    epsilon = jnp.finfo(field.real.dtype).eps
    # A third of the digits is lost in each round, and the others remain.
    reach = -jnp.log(epsilon) / 3
    truncation = jnp.asarray(epsilon * CONSTANTS.min_truncation, field.real.dtype)
    # The levels of the operator as it is computed differ from its own by this.
    rounding = CONSTANTS.level_roundings * epsilon * (fixed.highest - fixed.lowest)

    def measured(field: Array) -> tuple[Array, Array, Array]:
        """The field with a wave of norm 1, its Rayleigh quotient, and the norm of its residual."""
        field = field / fixed.norm(field)
        product = fixed.product(field)
        level = fixed.scalar_product(field, product)
        return field, level, fixed.norm(product - level * field)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, lowest, level, rounds = state
        return ((level - lowest) * last > 1) & (rounds < CONSTANTS.lowest_rounds)

    def refine(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        field, lowest, level, rounds = state
        length = jnp.minimum(last, reach / (level - lowest))
        bounded = dataclasses.replace(fixed, lowest=lowest)
        filtered = expand(bounded, field, length[None], truncation).fields[0]
        field, level, residual = measured(filtered)
        found = jnp.isfinite(level) & jnp.isfinite(residual)
        residual = residual + rounding
        # Nothing is left of a field that decays below the smallest number: the bound remains.
        lowest = jnp.where(found, jnp.maximum(lowest, level - residual), lowest)
        return field, lowest, level, jnp.where(found, rounds + 1, CONSTANTS.lowest_rounds)

    field, level, _ = measured(jnp.abs(jax.lax.stop_gradient(field)))
    start = (field, fixed.lowest - rounding, level, jnp.zeros((), int))
    _, lowest, _, _ = jax.lax.while_loop(unfinished, refine, start)
    return dataclasses.replace(prepared, lowest=lowest)
