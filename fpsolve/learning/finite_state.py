"""Softmax and sigmoid as imaginary-time states of a system with finitely many states.

    psi_i(tau) = psi_i(0) e^{-tau E_i} / norm
    d_tau psi = -(H - <H>) psi,  H = diag(E)

    Born weights   psi_i^2 = softmax(-2 tau E)        from equal amplitudes
    Gibbs weights  softmax(-beta E) at beta = 2 tau
                   two states: sigmoid(beta (E_2 - E_1))

The energies may have any zero. Everything is computed from logarithms, so that no tau
overflows.

Reference: Wang and Maimaitiabudula, arXiv 2407.19890; theorem T29 of this library.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_not_negative,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.program import quick_program
from ..core.types import Numbers
from .constants import CONSTANTS


class FiniteState(eqx.Module):
    """The state of a finite system at imaginary times.

    - `times` `(T,)`: tau; `energies` `(n,)`
    - `wave` `(T, n)`: amplitudes of unit norm; `weights` `(T, n)`: their squares, the
      Born weights
    - `log_norm` `(T,)`: log |e^{-tau H} psi(0)|
    - `mean` and `variance` `(T,)` of the energy; d <E> / d tau = -2 Var E
    - `error` `(T,)`: a bound on the L1 error of the weights, which is rounding
    """

    times: Array
    energies: Array
    wave: Array
    weights: Array
    log_norm: Array
    mean: Array
    variance: Array
    error: Array

    @property
    def beta(self) -> Array:
        """beta = 2 tau `(T,)`, at which the Gibbs weights are the Born weights."""
        return 2 * self.times


def softmax_state(
    energies: Numbers, times: Numbers, *, initial: Numbers | None = None
) -> FiniteState:
    """The imaginary-time state of H = diag(E), whose Born weights are a softmax.

        psi(tau) = e^{-tau H} psi(0) / norm,      psi_i^2 = softmax(-2 tau E)

    **Arguments**: `energies` E `(n,)`, n at least 2; `times` tau `(T,)` or a number, at
    least zero; `initial` amplitudes `(n,)`, not all zero; equal if None. **Returns** a
    `FiniteState`. **Raises** `ValueError` for energies, times or amplitudes that are
    not finite or of another shape.

    **Keeps**: the norm, to rounding; zero amplitudes. `jit`, `vmap` and `grad` reach
    all arguments. **Cost**: O(T n). **Reference**: Wang and Maimaitiabudula, arXiv
    2407.19890; theorem T29 of this library.

    ```python
    import fpsolve as fp

    state = fp.learning.softmax_state([0.0, 0.5, 2.0], [0.5, 5.0])
    state.weights, state.beta
    ```
    """
    energies = check_vector("energies", energies, 2)
    cure = "Give imaginary times of at least zero, such as [0.5, 5.0]."
    check_not_negative("times", times, cure)
    times = as_array(times)
    if times.ndim > 1:
        raise_value_error(
            "times.shape", times.shape, "it must be (T,) or a number", cure
        )
    amplitudes = jnp.ones_like(energies)
    if initial is not None:
        amplitudes = check_vector("initial", initial, 2)
    if amplitudes.shape != energies.shape:
        raise_value_error(
            "initial.shape",
            amplitudes.shape,
            f"it must be {energies.shape}",
            "Give one for each state.",
        )
    if is_concrete(amplitudes) and not np.any(np.asarray(amplitudes) != 0):
        raise_value_error(
            "initial",
            initial,
            "all amplitudes are zero",
            "Give at least one that is not.",
        )
    return _state(energies, jnp.atleast_1d(times), amplitudes)


@quick_program
def _state(energies: Array, times: Array, initial: Array) -> FiniteState:
    # A zero amplitude has the weight zero at all times, and its logarithm no
    # derivative.
    held = initial != 0
    log_sizes = jnp.log(jnp.where(held, jnp.abs(initial), 1))
    log_initial = jnp.where(held, log_sizes, -jnp.inf)
    exponents = 2 * (log_initial - times[:, None] * energies)
    weights = jax.nn.softmax(exponents, axis=1)
    log_sizes = jax.nn.log_softmax(exponents, axis=1) / 2
    wave = jnp.sign(initial) * jnp.exp(log_sizes)
    log_norm = jax.scipy.special.logsumexp(exponents, axis=1) / 2
    mean = weights @ energies
    # From the mean: a difference of two squares would cancel.
    offsets = energies - mean[:, None]
    variance = jnp.sum(weights * offsets**2, axis=1)
    # An exponent x has the rounding eps |x|, which is relative in its weight.
    largest = jnp.max(jnp.abs(energies))
    depth = 2 * times * (largest + jnp.abs(mean))
    error = jnp.finfo(energies.dtype).eps * (CONSTANTS.state_roundings + depth)
    return FiniteState(times, energies, wave, weights, log_norm, mean, variance, error)


def check_vector(name: str, value: Numbers, least: int) -> Array:
    """A finite real vector `(n,)`, n >= `least`. **Raises** `ValueError` otherwise."""
    cure = f"Give at least {least} finite real numbers."
    if is_concrete(value):
        array = check_numbers(name, value, "it must hold real numbers", cure)
        if not np.all(np.isfinite(array)):
            raise_value_error(name, value, "every entry must be finite", cure)
    array = as_array(value)
    if array.ndim != 1 or array.shape[0] < least:
        raise_value_error(
            f"{name}.shape", array.shape, f"it must be (n,), n at least {least}", cure
        )
    return array
