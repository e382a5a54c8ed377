"""The lowest level of a spectrum, as exactly as an expansion of a long time needs it.

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X)

The sum has size e^{-s (E_0 - lo)} and errors of rounding of size 1: digits are lost
where the bound lo is far below the lowest level E_0. Without a stationary state E_0 is
not known. A positive field is filtered by exponentials of growing length, each as long
as its digits allow; its Rayleigh quotient is an upper bound of E_0, and less its
residual a lower one once the field has more of the lowest state than of all others.
Until then the next expansion shows it, by growing.

Reference: Parlett, The Symmetric Eigenvalue Problem (1998), section 4.5 (residual
bounds).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .chebyshev_expansion import Prepared, expand
from .constants import CONSTANTS


def with_lowest_level(prepared: Prepared, field: Array, last: Array) -> Prepared:
    """The same with a lower bound that is about 1 / `last` below the lowest level, as
    far as rounds of filtering reach.

    `field` is what will be expanded. Its absolute value has a part of the lowest state,
    which has no nodes. Nothing is differentiated. **Cost**: some times that of one
    expansion to `last` where that is long, and one product otherwise.
    """
    fixed: Prepared = jax.lax.stop_gradient(prepared)
    epsilon = jnp.finfo(field.real.dtype).eps
    # A third of the digits is lost in each round, and the others remain.
    reach = -jnp.log(epsilon) / 3
    truncation = jnp.asarray(epsilon * CONSTANTS.min_truncation, field.real.dtype)
    # The levels of the operator as it is computed differ from its own by this.
    rounding = CONSTANTS.level_roundings * epsilon * (fixed.highest - fixed.lowest)

    def measured(field: Array) -> tuple[Array, Array, Array]:
        """The field with a wave of norm 1, its Rayleigh quotient, and the norm of its
        residual.
        """
        field = field / fixed.norm(field)
        product = fixed.product(field)
        level = fixed.scalar_product(field, product)
        return field, level, fixed.norm(product - level * field)

    def unfinished(state: _Search) -> Array:
        is_bound = state.lowest == state.candidate
        # Then the sum of the last expansion loses no more than a factor of e.
        is_near = (state.level - state.lowest) * last <= 1
        return ~(is_bound & is_near) & (state.rounds < CONSTANTS.lowest_rounds)

    def refine(state: _Search) -> _Search:
        length = jnp.minimum(last, reach / (state.level - state.candidate))
        bounded = dataclasses.replace(fixed, lowest=state.candidate)
        expansion = expand(bounded, state.field, length[None], truncation)
        field, level, residual = measured(expansion.fields[0])
        found = jnp.isfinite(level) & jnp.isfinite(residual)
        # A field that has little of the lowest state has a small residual at a higher
        # level. The expansion grows where a level lies below the candidate: then the
        # last bound that did not grow is taken, and the field has more of the lower
        # state than before.
        holds = expansion.growth <= CONSTANTS.max_growth
        lowest = jnp.where(holds, state.candidate, state.lowest)
        higher = jnp.maximum(lowest, level - residual - rounding)
        candidate = jnp.where(holds & found, higher, lowest)
        # Nothing is left of a field that decays below the smallest number, or that grew
        # beyond the largest one.
        field = jnp.where(found, field, state.field)
        level = jnp.where(found, level, state.level)
        rounds = jnp.where(found | ~holds, state.rounds + 1, CONSTANTS.lowest_rounds)
        return _Search(
            field=field,
            lowest=lowest,
            candidate=candidate,
            level=level,
            rounds=rounds,
        )

    field, level, _ = measured(jnp.abs(jax.lax.stop_gradient(field)))
    lowest = fixed.lowest - rounding
    start = _Search(
        field=field,
        lowest=lowest,
        candidate=lowest,
        level=level,
        rounds=jnp.zeros((), int),
    )
    found = jax.lax.while_loop(unfinished, refine, start)
    return dataclasses.replace(prepared, lowest=found.lowest)


class _Search(NamedTuple):
    """A positive field, its level (the Rayleigh quotient), bounds of the lowest level.

    `lowest` is below all levels that the field has parts of, as an expansion showed;
    `candidate` may be higher, by the residual of the field.
    """

    field: Array
    lowest: Array
    candidate: Array
    level: Array
    rounds: Array
