"""Simulated annealing with a fixed number of evaluations: what `minimise` is compared
with.

    x' = x + r L N
    accepted with the probability min(1, exp(-(zeta(x') - zeta(x)) / T))

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
    """The best place `(d,)` of a run, its value, and the number of evaluations."""

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
    # The values that set the first temperature are evaluations too.
    steps = evaluations - CONSTANTS.pilot_values
    x, value = _run(read, as_array(low), as_array(high), key, steps)
    return Annealed(x, value, evaluations)


@compiled
def _run(
    read: Callable[[Array], Array], low: Array, high: Array, key: Array, count: int
) -> tuple[Array, Array]:
    start_key, run_key = jax.random.split(key)
    box = high - low
    shape = (CONSTANTS.pilot_values, *low.shape)
    pilots = low + box * jax.random.uniform(start_key, shape)
    values = jax.vmap(read)(pilots)
    first = jnp.argmin(values)
    # A temperature has the unit of the objective, which only its values show.
    hottest = CONSTANTS.hottest * jnp.std(values)
    widest = CONSTANTS.widest_step
    shrinkage = CONSTANTS.shortest_step / widest

    def step(carry: tuple[Array, ...], k: Array) -> tuple[tuple[Array, ...], None]:
        x, value, best, best_value = carry
        part = k / count
        temperature = hottest * CONSTANTS.coldest**part
        reach = widest * shrinkage**part
        move_key, accept_key = jax.random.split(jax.random.fold_in(run_key, k))
        jump = jax.random.normal(move_key, x.shape, x.dtype)
        # Reflected at the walls: the distance from `low` folded into one length of the
        # box.
        moved = (x - low) / box + reach * jump
        moved = low + box * jnp.abs((moved + 1) % 2 - 1)
        moved_value = read(moved)
        # In logarithms, so that a low temperature does not underflow.
        log_chance = jnp.log(jax.random.uniform(accept_key))
        accepted = log_chance * temperature < value - moved_value
        x = jnp.where(accepted, moved, x)
        value = jnp.where(accepted, moved_value, value)
        better = value < best_value
        best = jnp.where(better, x, best)
        best_value = jnp.where(better, value, best_value)
        return (x, value, best, best_value), None

    start = (pilots[first], values[first], pilots[first], values[first])
    (_, _, best, best_value), _ = jax.lax.scan(step, start, jnp.arange(count))
    return best, best_value
