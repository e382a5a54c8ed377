"""`check_potential`: can this function be the potential of an equation?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Formula
from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..plan.equation_check import check_equation
from .check import require, rounding
from .constants import CONSTANTS


def check_potential(
    potential: Formula, ndim: int, *, lower: float = -1.0, upper: float = 1.0
) -> None:
    """Check that a potential is a smooth scalar function of x `(ndim,)`, and of t if it
    takes one.

    **Arguments**: `potential` as for `fp.FokkerPlanck`; `ndim` the number of
    coordinates; `lower`, `upper` the box in which it is evaluated, the same for every
    axis. **Raises** `AssertionError` unless it is finite and scalar in the box, uses no
    further coordinate, gives the same value twice and under `jit`, and has a gradient
    that agrees with finite differences and a Laplacian that is finite. **Cost**: some
    hundred calls.

    ```python
    from fpsolve.testing import check_potential

    check_potential(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
    ```
    """
    try:
        equation = FokkerPlanck(potential)
        axis = Line(float(lower), float(upper), 3)
        check_equation(equation, Grid(*[axis] * ndim))
    except ValueError as error:
        raise AssertionError(f"The potential is rejected: {error}") from error
    # A fixed key: a check that passes today passes tomorrow.
    key = jax.random.key(0)
    shape = (CONSTANTS.points, ndim)
    points = jax.random.uniform(key, shape, minval=lower, maxval=upper)
    # A potential without time is checked once.
    for t in (0.0, 0.5) if equation.time_dependent else (0.0,):

        def energy(x: Array, t: float = t) -> Array:
            return equation.energy(x, t)

        when = f" at t = {t}" if equation.time_dependent else ""
        values = np.array([energy(x) for x in points])
        finite = np.all(np.isfinite(values))
        require(finite, f"The potential is not finite everywhere in the box{when}.")
        size = 1 + np.max(np.abs(values))
        close = CONSTANTS.repeated_value * rounding() * size
        # A function with hidden state, or with Python control flow, differs between
        # these.
        repeated = {
            "a second time": [energy(x) for x in points],
            "under jit": [jax.jit(energy)(x) for x in points],
            "under vmap": jax.vmap(energy)(points),
        }
        for way, again in repeated.items():
            difference = np.max(np.abs(np.array(again) - values))
            same = difference <= close
            require(same, f"The potential gives another value when called {way}{when}.")
        _check_derivatives(energy, points, values, when)


def _check_derivatives(
    energy: Callable[[Array], Array], points: Array, values: np.ndarray, when: str
) -> None:
    """The gradient agrees with central differences, and the Laplacian is finite."""
    gradients = np.array(jax.vmap(jax.grad(energy))(points))
    finite = np.all(np.isfinite(gradients))
    require(
        finite,
        f"The gradient of the potential is not finite everywhere in the box{when}.",
    )
    # Of central differences: the truncation error step² equals the rounding error
    # eps/step.
    step = rounding() ** (1 / 3)
    shifts = step * jnp.eye(points.shape[1])

    def differences(x: Array) -> Array:
        change = lambda h: energy(x + h) - energy(x - h)
        return jax.vmap(lambda h: change(h) / (2 * step))(shifts)

    slopes = np.array(jax.vmap(differences)(points))
    size = 1 + np.max(np.abs(values)) + np.max(np.abs(gradients))
    error = float(np.max(np.abs(slopes - gradients)))
    message = (
        "The gradient of the potential differs from finite differences by "
        f"{error:.1e}{when}: is it smooth?"
    )
    allowed = CONSTANTS.difference_error * rounding() ** (2 / 3) * size
    require(error <= allowed, message)
    # The potential term of H needs the Laplacian.
    laplacian = lambda x: jnp.trace(jax.hessian(energy)(x))
    curvatures = jax.vmap(laplacian)(points)
    finite = np.all(np.isfinite(np.array(curvatures)))
    require(
        finite,
        f"The Laplacian of the potential is not finite everywhere in the box{when}.",
    )
