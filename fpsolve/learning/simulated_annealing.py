"""Simulated annealing with a fixed number of evaluations: what `minimise` is compared
with.

    x' = x + r L N,        accepted with the probability min(1, exp(-(zeta(x') - zeta(x)) / T))

T and r fall geometrically from the first evaluation to the last. Steps that leave the
box are reflected at its walls.

Reference: Kirkpatrick, Gelatt and Vecchi, Science 220 (1983) 671.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_integer
from ..core.program import compiled
from ..core.types import Count, Formula, Key, Numbers
from .constants import CONSTANTS
from .optimise import check_box, read_objective


class Annealed(NamedTuple):
    """The best place `(d,)` of a run, the objective there, and the number of
    evaluations.
    """

    x: Array
    value: Array
    evaluations: int


def simulated_annealing(
    objective: Formula, lower: Numbers, upper: Numbers, *, evaluations: Count, key: Key
) -> Annealed:
    """The best of `evaluations` values of an objective, by simulated annealing from one
    random place.

    **Arguments**: `objective`, `lower`, `upper` as for `fp.learning.minimise`;
    `evaluations`, at least 64; `key` of `jax.random`. **Returns** x, value and
    evaluations. **Raises** `ValueError` for bad arguments.

    **Keeps**: the same key gives the same run. **Cost**: `evaluations`, one after the
    other. Temperatures start at the spread of 32 random values (of those counted) and
    end at 1e-5 of it; steps start at 1/4 of the box and end at 1e-3. **Reference**:
    Kirkpatrick, Gelatt and Vecchi (1983).

    ```python
    import jax, jax.numpy as jnp
    import fpsolve as fp

    rastrigin = lambda x: jnp.sum(x**2 - jnp.cos(2 * jnp.pi * x))
    fp.learning.simulated_annealing(
        rastrigin, -4.0, 5.0, evaluations=500, key=jax.random.key(0)
    ).value
    ```
    """
    low, high = check_box(lower, upper)
    evaluations = check_integer(
        "evaluations", evaluations, 2 * CONSTANTS.pilot_values, "Give some thousands."
    )
    read = read_objective(objective, (low + high) / 2)
    x, value = _run(
        read, as_array(low), as_array(high), key, evaluations - CONSTANTS.pilot_values
    )
    return Annealed(x, value, evaluations)


@compiled
def _run(
    read: Callable[[Array], Array], low: Array, high: Array, key: Array, count: int
) -> tuple[Array, Array]:
    start_key, run_key = jax.random.split(key)
    pilots = low + (high - low) * jax.random.uniform(
        start_key, (CONSTANTS.pilot_values, *low.shape)
    )
    values = jax.vmap(read)(pilots)
    first = jnp.argmin(values)
    hottest = CONSTANTS.hottest * jnp.std(values)

    def step(carry: tuple[Array, ...], k: Array) -> tuple[tuple[Array, ...], None]:
        x, value, best, best_value = carry
        part = k / count
        temperature = hottest * CONSTANTS.coldest**part
        reach = (
            CONSTANTS.widest_step
            * (CONSTANTS.shortest_step / CONSTANTS.widest_step) ** part
        )
        move_key, accept_key = jax.random.split(jax.random.fold_in(run_key, k))
        # Reflected at the walls: the distance from `low` folded into one length of the
        # box.
        moved = (x - low) / (high - low) + reach * jax.random.normal(
            move_key, x.shape, x.dtype
        )
        moved = low + (high - low) * jnp.abs((moved + 1) % 2 - 1)
        moved_value = read(moved)
        accepted = (
            jnp.log(jax.random.uniform(accept_key)) * temperature < value - moved_value
        )
        x, value = (
            jnp.where(accepted, moved, x),
            jnp.where(accepted, moved_value, value),
        )
        better = value < best_value
        return (
            x,
            value,
            jnp.where(better, x, best),
            jnp.where(better, value, best_value),
        ), None

    start = (pilots[first], values[first], pilots[first], values[first])
    (_, _, best, best_value), _ = jax.lax.scan(step, start, jnp.arange(count))
    return best, best_value
