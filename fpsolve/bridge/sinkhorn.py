"""Fortet's iteration, known as Sinkhorn's, in logarithms.

    f^_0 f_0 = rho_0,      f_0 = U^T f_T
    f_T f^_T = rho_T,      f^_T = U f^_0

One sweep solves the first for f^_0 and then the second for f_T. In the logarithm of f_T
it is a contraction, whose rate near the solution is the square of the maximal
correlation of the two ends,

    kappa = max_u < u, E_0 E_T u > / < u, u >
    E_T u = E[u(X_T) | X_0],      E_0 v = E[v(X_0) | X_T]

over functions u of mean zero under rho_T. For normal marginals it is (c / (s_0 s_T))^2
(theorem T28).

References: Fortet, J. Math. Pures Appl. 19 (1940) 83; Peyré and Cuturi, Computational
Optimal Transport (2019), sections 4.2 and 4.4.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.program import long_program, shape_program
from ..grid import Grid
from .constants import CONSTANTS
from .kernel import Evolution, Interval, Kernel, back_and_forth
from .logarithm import EMPTY, exp_of, is_empty, log_of, product, quotient


class Marginals(NamedTuple):
    """The logarithms of the two densities `(*shape)`."""

    start: Array
    end: Array


class State(NamedTuple):
    """The two potentials, log f^_0 and log f_T, and how far the last sweep changed
    them.

    - `residual` int |f^_0 f_0 - rho_0|, with f_T on which the other marginal is exact
    - `previous` that of the sweep before; `sweeps` their number
    - `least` the least residual, and the number of sweeps `since` it was reached
    - `known` `(2, *shape)`: where both images are above rounding since the first sweep
    """

    start: Array
    end: Array
    residual: Array
    previous: Array
    sweeps: Array
    least: Array
    since: Array
    known: Array

    @property
    def rate(self) -> Array:
        """The factor by which the last sweep reduced the residual."""
        tiny = jnp.finfo(self.residual.dtype).tiny
        rate = self.residual / jnp.maximum(self.previous, tiny)
        slowest = CONSTANTS.slowest_rate
        # Before the third sweep there are no two residuals to compare.
        return jnp.where(self.sweeps > 2, jnp.minimum(rate, slowest), slowest)

    @property
    def remaining(self) -> Array:
        """What is left of the iteration: r q + r q^2 + ... is r q / (1 - q), and r
        itself in the marginal.
        """
        return self.residual / (1 - self.rate)


def first_state(marginals: Marginals) -> State:
    """f_T = 1 where the end has mass."""
    end = jnp.where(is_empty(marginals.end), EMPTY, 0)
    end = end.astype(marginals.end.dtype)
    infinity = jnp.asarray(jnp.inf, end.dtype)
    zero = jnp.zeros((), int)
    return State(
        start=jnp.full_like(end, EMPTY),
        end=end,
        residual=infinity,
        previous=infinity,
        sweeps=zero,
        least=infinity,
        since=zero,
        known=jnp.ones((2, *end.shape), bool),
    )


def sweep(
    kernel: Kernel,
    interval: Interval,
    marginals: Marginals,
    weights: Array,
    state: State,
) -> State:
    """One sweep."""
    logs = jnp.stack([marginals.start, marginals.end])

    def half(
        evolution: Evolution, potential: Array, given: tuple[Array, Array]
    ) -> tuple[Array, tuple[Array, Array]]:
        log_density, known = given
        image = evolution(potential)
        # A place that was below rounding once is left out for good: it would come and
        # go with the rounding.
        image = jnp.where(known, image, EMPTY)
        other = quotient(log_density, image)
        return other, (other, image)

    end, (potentials, images) = back_and_forth(
        kernel, interval, half, state.end, (logs, state.known)
    )
    # No sweep meets a marginal at places that the reference does not reach: they are
    # counted apart.
    found = exp_of(product(state.start, images[0]))
    missed = jnp.abs(found - exp_of(marginals.start))
    unreached = is_empty(images[0])
    error = jnp.sum(jnp.where(unreached, 0, weights * missed))
    # Before the first sweep there is no f^_0.
    residual = jnp.where(state.sweeps > 0, error, jnp.inf)
    is_less = residual < CONSTANTS.least_progress * state.least
    return State(
        start=potentials[0],
        end=end,
        residual=residual,
        previous=state.residual,
        sweeps=state.sweeps + 1,
        least=jnp.where(is_less, residual, state.least),
        since=jnp.where(is_less, 0, state.since + 1),
        known=state.known & ~is_empty(images),
    )


def iterate(
    kernel: Kernel,
    first: Array,
    last: Array,
    marginals: Marginals,
    grid: Grid,
    tol: Array,
) -> State:
    """Sweeps until what is left is below `tol`, by one program for a static kernel."""
    if kernel.static:
        if is_concrete(kernel, marginals):
            return _iterate(kernel, first, last, marginals, grid, tol)
        # A loop of unknown length has no reverse derivative: it is differentiated as a
        # fixed point.
        frozen = jax.lax.stop_gradient((kernel, first, last, marginals))
        state = _iterate(*frozen, grid, jax.lax.stop_gradient(tol))
        return with_derivatives(kernel, first, last, marginals, grid, state)
    interval = kernel.between(first, last)
    weights = grid.weights.astype(marginals.start.dtype)
    state = first_state(marginals)
    while bool(_unfinished(state, tol)):
        state = sweep(kernel, interval, marginals, weights, state)
    return state


def _unfinished(state: State, tol: Array) -> Array:
    # NaN ends the iteration: it is no reason to go on.
    has_sweeps = state.sweeps < CONSTANTS.max_sweeps
    has_progress = state.since < CONSTANTS.sweeps_without_progress
    return (state.remaining > tol) & has_sweeps & has_progress


def with_derivatives(
    kernel: Kernel,
    first: Array,
    last: Array,
    marginals: Marginals,
    grid: Grid,
    state: State,
) -> State:
    """The same state, with the derivatives of the solution: those of the fixed point u
    = S(u, parameters),

        (1 - d_u S) du = d_parameters S,

    and not those of the sweeps that led to it. A constant in log f_T is free; it is
    fixed by a mean of zero.
    """
    dtype = state.end.dtype
    end_density = exp_of(jax.lax.stop_gradient(marginals.end))
    mass = grid.weights.astype(dtype) * end_density
    given = (kernel, first, last, marginals)

    def fixed_point(end: Array, given: tuple[Kernel, Array, Array, Marginals]) -> Array:
        kernel, first, last, marginals = given
        interval = kernel.between(first, last)
        start = quotient(marginals.start, kernel.backward(interval, end))
        found = quotient(marginals.end, kernel.forward(interval, start))
        products = jnp.where(mass > 0, mass * found, 0)
        mean = jnp.sum(products) / jnp.sum(mass)
        return jnp.where(is_empty(found), EMPTY, found - mean)

    at = jax.lax.stop_gradient(state.end)
    image = fixed_point(at, given)
    frozen = jax.lax.stop_gradient(given)
    _, linear = jax.linearize(lambda end: fixed_point(end, frozen), at)
    limit = CONSTANTS.derivative_tol

    def neumann(action: Callable[[Array], Array], b: Array) -> Array:
        """x = b + (1 - A) x, which converges as the sweeps do."""

        def unfinished(carry: tuple[Array, Array, Array]) -> Array:
            _, change, count = carry
            size = jnp.max(jnp.abs(b))
            is_large = jnp.max(jnp.abs(change)) > limit * size
            return is_large & (count < CONSTANTS.max_sweeps)

        def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            x, change, count = carry
            change = change - action(change)
            return x + change, change, count + 1

        start = (b, b, jnp.zeros((), int))
        solved, _, _ = jax.lax.while_loop(unfinished, step, start)
        return solved

    def one_minus_linear(u: Array) -> Array:
        return u - linear(u)

    # Zero in value: only the derivatives of the image pass.
    right = image - jax.lax.stop_gradient(image)
    change = jax.lax.custom_linear_solve(one_minus_linear, right, neumann, neumann)
    end = at + change
    interval = kernel.between(first, last)
    start = quotient(marginals.start, kernel.backward(interval, end))
    return state._replace(start=start, end=end)


@long_program
def _iterate(
    kernel: Kernel,
    first: Array,
    last: Array,
    marginals: Marginals,
    grid: Grid,
    tol: Array,
) -> State:
    interval = kernel.between(first, last)
    weights = grid.weights.astype(marginals.start.dtype)
    return jax.lax.while_loop(
        lambda state: _unfinished(state, tol),
        lambda state: sweep(kernel, interval, marginals, weights, state),
        first_state(marginals),
    )


class Ends(NamedTuple):
    """Both waves at the first time and the last, `(2, *shape)` each, by logarithms."""

    forward: Array
    backward: Array


class _Power(NamedTuple):
    """A function u `(*shape)` of the end, its Rayleigh quotient, the one before, and
    the number of sweeps.
    """

    function: Array
    rate: Array
    previous: Array
    sweeps: Array


def contraction(
    kernel: Kernel, first: Array, last: Array, ends: Ends, grid: Grid
) -> Array:
    """The rate of a sweep near the solution: Rayleigh quotients of E_0 E_T."""
    if kernel.static:
        # The rate is a diagnostic: the power iteration has no derivative.
        given = (kernel, first, last, ends)
        if not is_concrete(kernel, ends):
            given = jax.lax.stop_gradient(given)
        return _contraction(*given, grid)
    interval = kernel.between(first, last)
    power = _first_power(ends, grid)
    while bool(_power_unfinished(power)):
        power = _power_sweep(kernel, interval, ends, grid, power)
    return power.rate


@shape_program
def _contraction(
    kernel: Kernel, first: Array, last: Array, ends: Ends, grid: Grid
) -> Array:
    interval = kernel.between(first, last)
    return jax.lax.while_loop(
        _power_unfinished,
        lambda power: _power_sweep(kernel, interval, ends, grid, power),
        _first_power(ends, grid),
    ).rate


def _first_power(ends: Ends, grid: Grid) -> _Power:
    """A function without symmetry, so that it has a part along the slowest mode."""
    dtype = ends.forward.dtype
    function = jnp.zeros(grid.shape, dtype)
    for i, axis in enumerate(grid.axes):
        phase = (np.arange(axis.n) + 0.5) / axis.n
        along = (2 + i) * phase + np.sin(5 * phase + i) + phase**2
        function = function + grid.along_axis(i, along, dtype)
    infinity = jnp.asarray(jnp.inf, dtype)
    return _Power(function, infinity, -infinity, jnp.zeros((), int))


def _power_unfinished(power: _Power) -> Array:
    change = jnp.abs(power.rate - power.previous)
    is_changing = change > CONSTANTS.power_tol * power.rate
    has_sweeps = power.sweeps < CONSTANTS.power_sweeps
    # Before the first sweep the rate and its change are infinite, and neither is more.
    return (power.sweeps < 3) | is_changing & has_sweeps


def _power_sweep(
    kernel: Kernel, interval: Interval, ends: Ends, grid: Grid, power: _Power
) -> _Power:
    density = exp_of(product(ends.forward[1], ends.backward[1]))
    mass = grid.weights.astype(power.function.dtype) * density
    total = jnp.sum(mass)
    # Without its mean: a constant is the mode of the eigenvalue one.
    function = power.function - jnp.sum(mass * power.function) / total
    function = function / jnp.sqrt(jnp.sum(mass * function**2) / total)
    # E_T with the potential f_T, whose image is f_0; then E_0 with f^_0, whose image is
    # f^_T.
    potentials = jnp.stack([ends.backward[1], ends.forward[0]])
    images = jnp.stack([ends.backward[0], ends.forward[1]])

    def mean(
        evolution: Evolution, function: Array, given: tuple[Array, Array]
    ) -> tuple[Array, None]:
        return _conditional(evolution, *given, function), None

    image, _ = back_and_forth(kernel, interval, mean, function, (potentials, images))
    rate = jnp.sum(mass * function * image) / jnp.sum(mass * function**2)
    return power._replace(
        function=image, rate=rate, previous=power.rate, sweeps=power.sweeps + 1
    )


def _conditional(
    evolution: Evolution, potential: Array, image: Array, function: Array
) -> Array:
    """E[u | the other end]: U (f u) divided by U f; zero where that is empty."""
    # Logarithms take positive functions: a constant is added before and subtracted
    # after.
    function = jnp.where(is_empty(potential), 0, function)
    lowest = jnp.min(function)
    highest = jnp.max(function)
    shift = highest - 2 * lowest
    mean = evolution(potential + log_of(function + shift))
    # A mean lies between the least value and the largest, where rounding says
    # otherwise.
    found = jnp.clip(exp_of(mean - image) - shift, lowest, highest)
    return jnp.where(is_empty(image), 0, found)
