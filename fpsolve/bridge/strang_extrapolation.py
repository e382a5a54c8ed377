"""Richardson's extrapolation of a bridge in its Strang steps.

    u(h) = u + c_2 h^2 + c_4 h^4 + ...
    u = (u(h) - 20 u(h/2) + 64 u(h/4)) / 45 + O(h^6)

Strang steps are symmetric, so that their errors are even in h. The logarithms of both
waves are extrapolated: densities stay positive, and tails keep their relative accuracy.
"""

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import quick_program
from ..grid import Grid
from .answer import Answer, Fields, over_mass
from .constants import CONSTANTS
from .logarithm import exp_of, is_empty, product

Number = TypeVar("Number", float, Array)


def extrapolated(levels: list[Answer]) -> Answer:
    """The bridge for steps of no length, from three solutions with steps h, h/2 and
    h/4, whose errors are even in h.
    """
    finest = levels[-1]
    request = finest.request
    between = [marginal.time for marginal in request.marginals[1:-1]]
    # A time at which a density is given belongs to the part that begins there.
    parts = np.searchsorted(between, request.times, side="right")
    fields, apart = _extrapolated_fields(
        request.grid.in_cells,
        tuple(level.fields for level in levels),
        as_array(parts, int),
        len(finest.states),
    )
    numbers = [(level.cost, *level.rates) for level in levels]
    cost, *rates = (
        _extrapolated_number(*map(float, same)) for same in zip(*numbers, strict=True)
    )
    dtype = finest.cost.dtype
    return dataclasses.replace(
        finest,
        fields=fields,
        cost=as_array(cost, dtype),
        rates=tuple(as_array(rate, dtype) for rate in rates),
        step_error=over_mass(apart, finest.mass),
        cost_step_error=abs(float(finest.cost) - float(levels[1].cost)),
    )


def _extrapolated_number(first: float, second: float, third: float) -> float:
    """From steps h, h/2 and h/4, as far as these approach each other."""
    before, last = abs(second - first), abs(third - second)
    # What is not smooth in h, as in tails that the steps do not resolve, is not
    # extrapolated.
    largest = CONSTANTS.same_logarithm * abs(third)
    if not last < min(before, largest):
        return third
    if before < largest:
        return _richardson((first, second, third))
    return _without_square(second, third)


def _richardson(values: tuple[Number, Number, Number]) -> Number:
    """From errors h^2 and h^4 with h, h/2, h/4."""
    first, second, third = values
    return (first - 20 * second + 64 * third) / 45


def _without_square(coarse: Number, fine: Number) -> Number:
    """From an error h^2 with h, h/2."""
    return (4 * fine - coarse) / 3


@quick_program
def _extrapolated_fields(
    grid: Grid, levels: tuple[Fields, ...], parts: Array, count: int
) -> tuple[Fields, Array]:
    """Both waves, and the largest difference of the densities of the last two
    extrapolations. `parts` `(T,)` are the parts of the bridge that the times belong to.
    """
    # A factor between both waves is free in each part. It is chosen so that on average
    # they are equal.
    scaled = []
    for fields in levels:
        forward, backward = fields
        known = ~(is_empty(forward) | is_empty(backward))
        density = jnp.where(known, exp_of(product(forward, backward)), 0)
        log_ratio = jnp.where(known, forward - backward, 0)
        excess = grid.integrate(density * log_ratio) / 2
        of_part = jax.ops.segment_sum(excess, parts, count)
        times_of_part = jax.ops.segment_sum(jnp.ones_like(excess), parts, count)
        shift = of_part / jnp.maximum(times_of_part, 1) / grid.integrate(density[0])
        shift = shift[parts].reshape(-1, *[1] * grid.ndim)
        scaled.append(Fields(product(forward, -shift), product(backward, shift)))
    waves = []
    rougher = []
    for first, second, third in zip(*scaled, strict=True):
        from_three = _richardson((first, second, third))
        from_two = _without_square(second, third)
        # In tails that long steps do not resolve, the first levels are far away, and
        # are left out.
        two = jnp.abs(third - second) < CONSTANTS.same_logarithm
        three = two & (jnp.abs(second - first) < 4 * CONSTANTS.same_logarithm)
        best = jnp.where(two, from_two, third)
        next_best = jnp.where(two, third, second)
        waves.append(jnp.where(three, from_three, best))
        rougher.append(jnp.where(three, from_two, next_best))
    apart = exp_of(product(*waves)) - exp_of(product(*rougher))
    return Fields(*waves), jnp.max(grid.integrate(jnp.abs(apart)))
