"""The replicator flow of finitely many strategies, and what it is of imaginary time.

    d p_i / d tau = -2 (E_i(p, tau) - <E>) p_i,      <E> = sum_i p_i E_i

With constant E the Born weights of e^{-tau H} psi obey it, p = softmax(log p(0) - 2 tau
E). It is the gradient flow of <E> in the Fisher metric. In u = log p + constant it is
du_i / d tau = -2 E_i, p = softmax(u), which keeps p >= 0 and the mass exactly.

References: Hofbauer and Sigmund, Bull. Amer. Math. Soc. 40 (2003) 479, equation 3;
theorem T29 of this library.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.content import ReadFunction, read_function
from ..core.extras import extra
from ..core.program import compiled
from ..core.types import Formula, Numbers, Real, Scalar
from ..plan.validation import check_times, check_tolerance
from .constants import CONSTANTS
from .finite_state import check_vector, softmax_state


class ReplicatorFlow(eqx.Module):
    """Weights at imaginary times.

    - `times` `(T,)`; `values` `(T, n)`: weights p, of sum 1
    - `energies` `(T, n)`: E at these times; `mean` and `variance` `(T,)` of E under p
    - `error` `(T,)`: the estimated L1 error of p
    """

    times: Array
    values: Array
    energies: Array
    mean: Array
    variance: Array
    error: Array


def replicator(
    energies: Numbers | Formula,
    initial: Numbers,
    times: Numbers,
    *,
    tol: Real | None = None,
) -> ReplicatorFlow:
    """The replicator flow d p_i / d tau = -2 (E_i - <E>) p_i.

    **Arguments**: `energies` E, an array `(n,)`, or a function of the weights `(n,)`
    and tau that returns `(n,)` (then with the `sde` extra); `initial` weights `(n,)`
    above zero, normalised to 1; `times` `(T,)`, ascending, at least zero; `tol` of the
    L1 error for a function, 1e-9 unless given. **Returns** a `ReplicatorFlow`.
    **Raises** `ValueError` for weights that are not positive, and for a function that
    returns another shape or a value that is not finite.

    **Keeps**: the sum of the weights and their signs, to rounding. **Cost**: O(T n) for
    an array, which is solved in closed form; for a function two Runge-Kutta runs
    (Dopri8 and Tsit5), whose difference is the error. **Reference**: Hofbauer and
    Sigmund (2003), equation 3.

    ```python
    import fpsolve as fp

    flow = fp.learning.replicator([0.0, 0.5, 2.0], [0.2, 0.3, 0.5], [0.5, 5.0])
    flow.values, flow.mean
    ```
    """
    weights = check_vector("initial", initial, 2)
    if is_concrete(weights) and not np.all(np.asarray(weights) > 0):
        cure = "Leave out strategies of weight zero: they stay at zero."
        raise_value_error("initial", initial, "every weight must be above zero", cure)
    times = check_times(times)
    if not callable(energies):
        state = softmax_state(energies, times, initial=jnp.sqrt(weights))
        return ReplicatorFlow(
            times=times,
            values=state.weights,
            energies=jnp.broadcast_to(state.energies, state.weights.shape),
            mean=state.mean,
            variance=state.variance,
            error=state.error,
        )
    tolerance = check_tolerance(tol, weights.dtype, default=CONSTANTS.replicator_tol)
    finer = CONSTANTS.replicator_second_tol * tolerance
    read = _read(energies, weights)
    # In logarithms every weight stays positive.
    start = jnp.log(weights / jnp.sum(weights))
    # Two methods of different order, so that their errors are not the same.
    first = _integrate(read, start, times, as_array(finer), "Dopri8")
    second = _integrate(read, start, times, as_array(tolerance), "Tsit5")
    return _flow(read, times, first, second)


def _read(energies: Formula, weights: Array) -> ReadFunction:
    """The function as it is now. **Raises** `ValueError` for another shape or a value
    that is not finite.
    """
    shape = weights.shape
    zero = np.zeros((), weights.dtype)
    example = np.full(shape, 1 / shape[0], weights.dtype)
    read = read_function(lambda p, tau: jnp.asarray(energies(p, tau)), example, zero)
    # One evaluation shows the shape, and whether the values are finite.
    first = read(as_array(example), as_array(zero))
    cure = "Return one energy for each weight: lambda p, tau: matrix @ p, say."
    if first.shape != shape:
        raise_value_error(
            "energies", first.shape, f"the function must return the shape {shape}", cure
        )
    if is_concrete(first) and not np.all(np.isfinite(np.asarray(first))):
        raise_value_error(
            "energies", first, "the function must return finite numbers", cure
        )
    return read


@compiled
def _integrate(
    read: ReadFunction, start: Array, times: Array, tol: Array, solver: str
) -> Array:
    """log weights `(T, n)` up to constants."""
    with extra("sde", "The replicator flow of a function"):
        import diffrax

    def rate(tau: Scalar, u: Array, _: None) -> Array:
        weights = jax.nn.softmax(u)
        energies = read(weights, jnp.asarray(tau, u.dtype))
        # Without the mean u would grow with the zero of the energies.
        return -2 * (energies - weights @ energies)

    controller = diffrax.PIDController(rtol=tol, atol=tol)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(rate),
        getattr(diffrax, solver)(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=controller,
        max_steps=CONSTANTS.replicator_most_steps,
    )
    assert found.ys is not None, "times were asked for"
    return found.ys


@compiled
def _flow(
    read: ReadFunction, times: Array, first: Array, second: Array
) -> ReplicatorFlow:
    # The softmax takes the constant out that a logarithm of weights has free.
    values = jax.nn.softmax(first, axis=1)
    other = jax.nn.softmax(second, axis=1)
    energies = jax.vmap(read)(values, times)
    mean = jnp.sum(values * energies, axis=1)
    offsets = energies - mean[:, None]
    variance = jnp.sum(values * offsets**2, axis=1)
    error = jnp.sum(jnp.abs(values - other), axis=1)
    return ReplicatorFlow(times, values, energies, mean, variance, error)
