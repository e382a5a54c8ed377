"""Quantum dynamics as a global optimiser: two loops around the ground state of an
objective.

    i d_t psi = (-D Lap + zeta) psi,   tau = i t:    d_tau psi = D Lap psi - zeta psi
    inner loop     relax to the ground state at this D (`relax`)
    outer loop     lower D, until |psi|^2 has closed in on a minimum

While D is large the wave averages zeta over its width and passes small barriers; for D
-> 0 it concentrates at the minimum, with the width (D / (2 zeta''))^{1/4} and the
energy min zeta + sqrt(D zeta'' / 2). The grid follows the wave: where the wave has left
a part of the box, a smaller box is sampled anew with as many nodes. Only samples cost
evaluations of the objective.

The same search is made twice, on boxes with other nodes. Two searches that end at
different minima tell that the first was not certain.

References: Wang and Maimaitiabudula, arXiv 2407.19890 (the two loops); Finnila, Gomez,
Sebenik, Stenson and Doll, Chem. Phys. Lett. 219 (1994) 343 (quantum annealing by
imaginary time).
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_integer,
    check_numbers,
    raise_value_error,
)
from ..core.content import read_at
from ..core.program import public_function
from ..core.result import CODES, raise_failure
from ..core.result import code as code_of
from ..core.types import Count, Formula, Numbers, Real
from .box_search import Search, Settings, search
from .constants import CONSTANTS


class Minimum(eqx.Module):
    """What a search found.

    - `x` `(d,)`: the best place; `value`: the objective there
    - `error`: how far the value may be above that of the minimum: the zero-point energy
      of the last wave, and by how much the two searches differ. `error_x` `(d,)`: the
      last standard deviations, or the distance of the two searches
    - `evaluations`: of the objective, of both searches
    - `diffusions`, `energies`, `widths` `(L,)`, `(L,)`, `(L, d)`: D, <H> and the
      standard deviations of every level of the first search
    - `result`: "successful", or "minimum_not_confirmed"
    """

    x: Array
    value: Array
    error: Array
    error_x: Array
    evaluations: int
    diffusions: Array
    energies: Array
    widths: Array
    code: Array

    @property
    def result(self) -> str:
        """The named code of the search."""
        return CODES[int(self.code)]


@public_function
def minimise(
    objective: Formula,
    lower: Numbers,
    upper: Numbers,
    *,
    nodes: Count | None = None,
    diffusion: Real | None = None,
    ratio: Real | None = None,
    tol: Real | None = None,
    throw: bool = False,
) -> Minimum:
    """A minimum of a rugged function in a box, by the ground state of -D Lap + zeta
    while D falls.

        d_tau psi = D Lap psi - zeta psi,      D -> D / ratio

    **Arguments**

    - `objective`: zeta(x), a function of x `(d,)` to a scalar, d <= 3
    - `lower`, `upper`: corners of the box, numbers (d = 1) or `(d,)`
    - `nodes`: along each axis; 65, 33 and 17 in one, two and three dimensions
    - `diffusion`: the first D, in units of zeta times length^2; None takes one at which
      the wave fills the box
    - `ratio`: by which D falls, above 1; 4 unless given
    - `tol`: the search ends when the wave is narrower than this part of the box in
      every direction; 1e-3 unless given
    - `throw`: raise `NumericalFailure` where the two searches do not agree

    **Returns** a `Minimum`. **Raises** `ValueError` for bad arguments, or an objective
    that is not finite in the box.

    **Limits** (*mathematical*): no search by samples is certain to find a global
    minimum. A well that is narrower than the distance of two nodes of the first box may
    be missed, by both searches. Two equal minima are not told apart before D is far
    below their barrier.
    **Cost**: nodes^d evaluations for every box, some ten boxes in each of two searches.
    **Reference**: Wang and Maimaitiabudula, arXiv 2407.19890.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    rastrigin = lambda x: jnp.sum(x**2 - jnp.cos(2 * jnp.pi * x))
    found = fp.learning.minimise(rastrigin, -4.0, 5.0)
    found.x, found.value, found.evaluations
    ```
    """
    low, high = check_box(lower, upper)
    dim = len(low)
    # Fewer along each axis in more dimensions: a box has nodes^d samples.
    if nodes is None:
        nodes = CONSTANTS.nodes[dim - 1]
    nodes = check_integer("nodes", nodes, 8, "Give 33, say.")
    if ratio is None:
        ratio = CONSTANTS.diffusion_ratio
    ratio = check_finite_number("ratio", ratio)
    if ratio <= 1:
        raise_value_error(
            "ratio", ratio, "D must fall: it must be above 1", "Give 4.0."
        )
    tol = CONSTANTS.tol if tol is None else check_finite_number("tol", tol)
    if not 0 < tol < 1:
        raise_value_error(
            "tol", tol, "it is a part of the box, between 0 and 1", "Give 1e-3."
        )
    if diffusion is not None and not check_finite_number("diffusion", diffusion) > 0:
        raise_value_error(
            "diffusion",
            diffusion,
            "it must be positive",
            "Leave it out, or give a larger one.",
        )
    read = read_objective(objective, (low + high) / 2)
    settings = Settings(read, diffusion, ratio, tol)

    first = search(settings, low, high, nodes)
    # The second look: other nodes, so that no box of the two has the same places.
    other_nodes = max(8, round(CONSTANTS.second_nodes * nodes))
    second = search(settings, low, high, other_nodes)
    return _conclude(first, second, throw)


def check_box(lower: Numbers, upper: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The corners `(d,)` of a box, d from 1 to 3. **Raises** `ValueError` otherwise."""
    cure = "Give numbers, or (d,) numbers, with lower below upper."
    corners = []
    for name, value in (("lower", lower), ("upper", upper)):
        array = check_numbers(name, value, "it must hold real numbers", cure)
        array = np.atleast_1d(array).astype(float)
        is_corner = array.ndim == 1 and 1 <= len(array) <= 3
        if not (is_corner and np.all(np.isfinite(array))):
            raise_value_error(
                name,
                value,
                "it must be a finite corner of a box in 1 to 3 dimensions",
                cure,
            )
        corners.append(array)
    low, high = corners
    if low.shape != high.shape or not np.all(low < high):
        raise_value_error(
            "lower, upper",
            (lower, upper),
            "lower must be below upper in every direction",
            cure,
        )
    return low, high


def read_objective(objective: Formula, place: np.ndarray) -> Callable[[Array], Array]:
    """The objective as it is now. **Raises** `ValueError` for one that is no scalar
    function of x, as of a `place`.
    """
    cure = "Give a function of x (d,) to a scalar: lambda x: jnp.sum(x**2), say."
    if not callable(objective):
        raise_value_error("objective", objective, "it must be a function", cure)
    # One evaluation at a place of the box shows whether it is a scalar function.
    try:
        read = read_at(objective, len(place))
        shape = jnp.shape(read(as_array(place)))
    except (IndexError, TypeError) as error:
        raise_value_error(
            "objective",
            objective,
            f"it must take a point of the box, and fails there ({error})",
            cure,
        )
    if shape != ():
        raise_value_error("objective", shape, "it must return a scalar", cure)
    return read


def _conclude(first: Search, second: Search, throw: bool) -> Minimum:
    """The better of two searches, with what their comparison says."""
    best, other = first, second
    if second.value < first.value:
        best, other = second, first
    last, last_other = best.levels[-1], other.levels[-1]
    # The energy of a ground state is above the minimum of the potential.
    zero_point = max(last.energy - best.value, last_other.energy - other.value, 0.0)
    apart = np.abs(best.x - other.x)
    deviation = np.maximum(last.width, last_other.width)
    error = zero_point + other.value - best.value
    # Searches that ended in the same well lie within some deviations of each other.
    same = bool(np.all(apart <= CONSTANTS.same_well * deviation))
    code = code_of("successful") if same else code_of("minimum_not_confirmed")
    if throw:
        detail = (
            f"two searches ended at {best.x} and {other.x}, with {best.value:.6g} and "
            f"{other.value:.6g}."
        )
        raise_failure(as_array(code, int), detail, has_throw=True)
    return Minimum(
        x=as_array(best.x),
        value=as_array(best.value),
        error=as_array(error),
        error_x=as_array(np.maximum(apart, deviation)),
        evaluations=first.evaluations + second.evaluations,
        diffusions=as_array([level.diffusion for level in first.levels]),
        energies=as_array([level.energy for level in first.levels]),
        widths=as_array(np.stack([level.width for level in first.levels])),
        code=as_array(code, int),
    )
