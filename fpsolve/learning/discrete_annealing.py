"""Temperature annealing of finitely many states: the master equation of a Markov chain
that is cooled.

    d p_i / dt = sum_j ( w_ij p_j - w_ji p_i )
    w_ij = k_ij / (1 + e^{beta(t) (E_i - E_j)})      from j to i

Heat-bath rates balance in detail for the Gibbs weights softmax(-beta E), the Born
weights of the imaginary-time state at tau = beta / 2 (`finite_state`). With beta
constant the chain relaxes to them; while beta rises it lags behind by what the gap of H
= -pi^{-1/2} W pi^{1/2} does not let it follow.

In time: exponentials of W at the midpoints of steps, order 2, on more and more steps
until two runs agree to the tolerance. Every exponential is a matrix of transition
probabilities, so that weights stay positive and of sum 1.

Reference: Hajek, Math. Oper. Res. 13 (1988) 311.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_not_negative, is_concrete, raise_value_error
from ..core.content import ReadFunction, read_function
from ..core.program import long_program, sampling_program, shape_program
from ..core.result import CODES, raise_failure
from ..core.result import code as code_of
from ..core.types import Clock, Numbers, Real
from ..linear.markov_expm import transition
from ..plan.validation import check_times, check_tolerance
from .constants import CONSTANTS
from .finite_state import check_vector


class DiscreteAnnealing(eqx.Module):
    """The weights of a chain that is cooled.

    - `times` `(T,)`, `beta` `(T,)`; `values` `(T, n)`: weights; `gibbs` `(T, n)`:
      softmax(-beta E)
    - `kl`, `tv` `(T,)`: relative entropy and total variation of the weights from the
      Gibbs weights
    - `gap` `(T,)`: the slowest rate at each beta; `ground` `(T,)`: the weight of the
      lowest states together
    - `error` `(T,)`: the estimated L1 error of the weights
    - `result`: "successful" or "tolerance_not_reached"
    """

    times: Array
    beta: Array
    values: Array
    gibbs: Array
    kl: Array
    tv: Array
    gap: Array
    ground: Array
    error: Array
    code: Array

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]


def anneal(
    energies: Numbers,
    rates: Numbers,
    schedule: Clock,
    times: Numbers,
    *,
    initial: Numbers | None = None,
    tol: Real | None = None,
    throw: bool = True,
) -> DiscreteAnnealing:
    """The weights of a Markov chain on finitely many states while its temperature
    falls.

        d p_i / dt = sum_j ( w_ij p_j - w_ji p_i )
        w_ij = k_ij / (1 + e^{beta(t) (E_i - E_j)})

    **Arguments**

    - `energies` E `(n,)`, n from 2 to 256; `rates` k `(n, n)`, symmetric, at least
      zero, in units 1 / time: how often a jump is tried. The diagonal is not used
    - `schedule`: beta(t), a function of time to a number of at least zero
    - `times` `(T,)`, ascending, at least zero; `initial` weights `(n,)`, the Gibbs
      weights at t = 0 if None
    - `tol`: L1 error of the weights, 1e-6 unless given; `throw`: raise unless it is
      reached

    **Returns** a `DiscreteAnnealing`. **Raises** `ValueError` for bad arguments;
    `NumericalFailure` where 16384 steps between two times do not reach `tol`.
    **Keeps**: mass and signs, to rounding; at constant beta the Gibbs weights.
    **Cost**: some 10 n^3 a step; there are four times as many steps until that changes
    the weights by less than `tol`. **Reference**: Hajek (1988); theorem T29 of this
    library.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    ring = jnp.roll(jnp.eye(6), 1, 0) + jnp.roll(jnp.eye(6), -1, 0)
    cooled = fp.learning.anneal(
        [0.0, 1.0, 0.3, 1.2, 0.1, 0.8], ring, lambda t: 0.5 * t, [5.0, 20.0]
    )
    cooled.ground, cooled.tv
    ```
    """
    energies = check_vector("energies", energies, 2)
    n = energies.shape[0]
    if n > CONSTANTS.anneal_most_states:
        cure = "Take fewer states, or fp.evolve on a grid."
        raise_value_error(
            "len(energies)",
            n,
            f"at most {CONSTANTS.anneal_most_states} states are allowed",
            cure,
        )
    rates = _check_rates(rates, n)
    times = check_times(times)
    dtype = energies.dtype
    tolerance = check_tolerance(tol, dtype, default=CONSTANTS.anneal_tol)
    at_zero = np.zeros((), dtype)
    read = read_function(lambda t: jnp.asarray(schedule(t), dtype), at_zero)
    weights = _check_initial(initial, n)
    if weights is None:
        first_beta = _betas(read, jnp.zeros(1, dtype))[0]
        weights = jax.nn.softmax(-first_beta * energies)
    at_times = _betas(read, times)
    _check_betas(at_times)

    # Four times as many steps until two runs agree.
    steps = CONSTANTS.anneal_first_steps
    before = _run(energies, rates, read, weights, times, steps)
    while True:
        steps *= CONSTANTS.anneal_step_factor
        values = _run(energies, rates, read, weights, times, steps)
        # The difference is 15 times the error of the finer run, if it falls by order 2.
        apart = jnp.sum(jnp.abs(values - before), axis=1)
        error = apart / CONSTANTS.anneal_error_divisor
        # Under a transformation of JAX the error has no value: one comparison is made.
        is_last = not is_concrete(error) or steps >= CONSTANTS.anneal_most_steps
        if is_last or float(jnp.max(error)) <= tolerance:
            break
        before = values
    largest = jnp.max(error)
    success, failure = code_of("successful"), code_of("tolerance_not_reached")
    code = jnp.where(largest <= tolerance, success, failure)
    if throw and is_concrete(code):
        detail = f"estimated error {float(largest):.1e}, tol {tolerance:.1e}."
        raise_failure(code, detail, has_throw=True)
    return _result(energies, rates, times, at_times, values, error, code)


def _check_rates(rates: Numbers, n: int) -> Array:
    """Symmetric rates `(n, n)`. **Raises** `ValueError` otherwise."""
    cure = "Give a symmetric array of rates, such as the neighbours of a ring."
    check_not_negative("rates", rates, cure)
    array = as_array(rates)
    if array.shape != (n, n):
        raise_value_error(
            "rates.shape",
            array.shape,
            f"it must be {(n, n)}, as there are {n} energies",
            cure,
        )
    if is_concrete(array):
        known = np.asarray(array)
        if not np.array_equal(known, known.T):
            raise_value_error(
                "rates",
                rates,
                "they must be symmetric, so that jumps balance in detail",
                cure,
            )
        if not np.any(known[~np.eye(n, dtype=bool)] > 0):
            raise_value_error("rates", rates, "no jump is possible", cure)
    return array


def _check_initial(initial: Numbers | None, n: int) -> Array | None:
    """Weights `(n,)` of sum 1, or None. **Raises** `ValueError` for others."""
    if initial is None:
        return None
    cure = "Give one weight for each state."
    check_not_negative("initial", initial, cure)
    weights = check_vector("initial", initial, 2)
    if weights.shape != (n,):
        raise_value_error("initial.shape", weights.shape, f"it must be {(n,)}", cure)
    if is_concrete(weights) and not float(np.sum(np.asarray(weights))) > 0:
        raise_value_error("initial", initial, "the weights must not all be zero", cure)
    return weights / jnp.sum(weights)


@sampling_program
def _betas(read: ReadFunction, times: Array) -> Array:
    """The schedule at times `(m,)`."""
    return jax.vmap(read)(times)


def _check_betas(betas: Array) -> None:
    cure = "Give an inverse temperature of at least zero, such as lambda t: 0.1 * t."
    if betas.ndim != 1:
        raise_value_error(
            "schedule", betas.shape[1:], "it must return one number", cure
        )
    check_not_negative("schedule", betas, cure)


def _run(
    energies: Array,
    rates: Array,
    read: ReadFunction,
    weights: Array,
    times: Array,
    steps: int,
) -> Array:
    """The weights at all times `(T, n)`, after `steps` steps in each interval.
    **Raises** `ValueError` for a negative beta.
    """
    zero = jnp.zeros(1, times.dtype)
    starts = jnp.concatenate([zero, times[:-1]])
    intervals = times - starts
    # The midpoints of all steps.
    parts = (jnp.arange(steps, dtype=times.dtype) + 0.5) / steps
    places = (starts[:, None] + intervals[:, None] * parts).ravel()
    lengths = jnp.repeat(intervals / steps, steps)
    block = CONSTANTS.anneal_block
    # All blocks have one size, so that there is one program: the last is filled up with
    # steps of no length.
    missing = -len(places) % block
    places = jnp.pad(places, (0, missing))
    lengths = jnp.pad(lengths, (0, missing))
    states = []
    for first in range(0, len(places), block):
        betas = _betas(read, places[first : first + block])
        _check_betas(betas)
        found = _steps(energies, rates, betas, lengths[first : first + block], weights)
        weights = found[-1]
        states.append(found)
    # The state at the end of each interval.
    return jnp.concatenate(states)[steps - 1 : steps * len(times) : steps]


@long_program
def _steps(
    energies: Array, rates: Array, betas: Array, lengths: Array, weights: Array
) -> Array:
    """The weights after each step of a block, `(block, n)`."""

    def step(p: Array, beta_and_length: tuple[Array, Array]) -> tuple[Array, Array]:
        beta, length = beta_and_length
        p = transition(_jumps(energies, rates, beta), length) @ p
        # The columns sum to one to rounding, which many steps would add up.
        p = p / jnp.sum(p)
        return p, p

    return jax.lax.scan(step, weights, (betas, lengths))[1]


def _jumps(energies: Array, rates: Array, beta: Array) -> Array:
    """The rates `(n, n)` of jumps from column to row, with a diagonal of zeros."""
    # `sigmoid` is 1 / (1 + e^z) without an overflow of e^z, whose derivative is NaN.
    jumps = rates * jax.nn.sigmoid(-beta * (energies[:, None] - energies))
    return jumps - jnp.diag(jnp.diag(jumps))


@shape_program
def _result(
    energies: Array,
    rates: Array,
    times: Array,
    betas: Array,
    values: Array,
    error: Array,
    code: Array,
) -> DiscreteAnnealing:
    log_gibbs = jax.nn.log_softmax(-betas[:, None] * energies, axis=1)
    gibbs = jnp.exp(log_gibbs)
    held = values > 0
    # 0 log 0 = 0; the inner `where` keeps its derivative finite.
    log_ratio = jnp.log(jnp.where(held, values, 1)) - log_gibbs
    kl = jnp.sum(jnp.where(held, values * log_ratio, 0), axis=1)
    tv = jnp.sum(jnp.abs(values - gibbs), axis=1) / 2

    def gap(beta: Array, log_pi: Array) -> Array:
        # Detailed balance makes pi^{-1/2} W pi^{1/2} symmetric, with the entries k / (2
        # cosh(beta (E_i - E_j) / 2)).
        differences = energies[:, None] - energies
        coupling = rates / (2 * jnp.cosh(beta * differences / 2))
        leaving = jnp.sum(_jumps(energies, rates, beta), axis=0)
        symmetric = coupling - jnp.diag(jnp.diag(coupling)) - jnp.diag(leaving)
        # The largest eigenvalue is zero, that of the Gibbs weights.
        return -jnp.linalg.eigvalsh(symmetric)[-2]

    is_lowest = energies == jnp.min(energies)
    return DiscreteAnnealing(
        times=times,
        beta=betas,
        values=values,
        gibbs=gibbs,
        kl=kl,
        tv=tv,
        gap=jax.vmap(gap)(betas, log_gibbs),
        ground=values @ is_lowest.astype(values.dtype),
        error=error,
        code=code,
    )
