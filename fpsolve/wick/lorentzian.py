"""The Lorentzian bridge: imaginary time as an average of real-time runs.

    e^{-tau H} = (1 / pi) int d eta e^{-i eta tau H} / (1 + eta^2)
               = (1 / pi) int dt tau / (tau^2 + t^2) e^{-i t H},       H >= 0

by residues. One real-time run serves all tau, with other weights. The integral is cut
at |eta| = eta_max, where a level E loses

    |tail| <= (2 / pi) min( arctan(1 / eta_max), 2 / (E tau (1 + eta_max^2)) )

(the second from the mean value theorem): order 1 for a level that is zero, and order 2
for all others. A negative level returns e^{-|E| tau}, so H must be shifted first:
e^{-tau H} = e^{-tau s} e^{-tau (H - s)}, s <= E_0.

References: Jin, Liu and Yu, arXiv 2404.13585; An, Liu and Lin, arXiv 2303.01029 (linear
combination of Hamiltonian simulation).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.decision import Decision
from ..core.program import public_function, quick_program
from ..core.types import Count, Initial, Numbers, Real
from ..equation import Equation
from ..grid import Grid
from ..operator import Scheme
from ..propagate import Propagator
from .bridge import average, check_bridge, conclude, count_steps
from .constants import CONSTANTS
from .result import Continuation


@public_function
def lorentzian(
    equation: Equation,
    initial: Initial,
    times: Numbers,
    *,
    grid: Grid,
    eta_max: Real | None = None,
    steps: Count | None = None,
    shift: Real = 0.0,
    scheme: Scheme | None = None,
    method: Propagator | None = None,
    tol: Real | None = None,
    check: bool = True,
    throw: bool = True,
) -> Continuation:
    """e^{-tau H} psi_0 as a Lorentzian average of real-time runs, beside the run in
    imaginary time.

        psi(tau) = (1 / pi) int d eta e^{-i eta tau H} psi_0 / (1 + eta^2)

    **Arguments**

    - `equation`: a static `fp.Schrodinger`; `initial`: psi_0 as for `fp.evolve`, real
      or complex; `grid`: where
    - `times`: imaginary times tau `(T,)`, ascending, above zero
    - `eta_max`: where the integral ends; 200 if neither it nor `steps` is given
    - `steps`: the number of real times, in the place of `eta_max`; needed under `jit`,
      `vmap` and `grad`
    - `shift`: a level s at or below the lowest one, in units 1 / time: H - s takes the
      place of H
    - `scheme`, `method`: as for `fp.evolve`
    - `tol`: the whole relative L1 error that is required; None takes what `eta_max`
      gives
    - `check`: solve on companion grids too, for the error in space
    - `throw`: raise `NumericalFailure` unless the result is "successful"

    **Returns** a `Continuation`. **Raises** `ValueError` for bad arguments,
    `NumericalFailure` with "negative_level" where H - s has a negative level, whose
    error exceeds that of the average, and with "average_too_short" above `tol`.

    **Keeps**: nothing exactly. The error is of order 1 in 1 / eta_max for a level that
    is zero (3e-3 at 200), else of order 2; `bound` is proved. **Cost**: eta_max tau_max
    E_max / 2 pi real times, E_max the largest level of the grid, of some 30 products
    with H each; the imaginary-time run takes about their square root.
    **Reference**: theorem T25 of this library; Jin, Liu and Yu, arXiv 2404.13585.

    ```python
    import fpsolve as fp

    oscillator = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
    grid = fp.Grid(fp.Line(-7.0, 7.0, 32))
    found = fp.wick.lorentzian(
        oscillator, fp.Gaussian(0.5, 0.5), [0.5], grid=grid, eta_max=50.0
    )
    found.difference, found.error
    ```
    """
    if eta_max is None and steps is None:
        eta_max = CONSTANTS.eta_max
    longest = None if steps is not None else ("eta_max", eta_max)
    options = {"scheme": scheme, "method": method}
    request = check_bridge(equation, initial, times, grid, shift, options, tol, longest)
    most, counts = count_steps(request, longest, steps)
    weights, bound, promise = _weights(
        request.step, request.times, counts, request.shift, request.lowest, most
    )
    found = average(request, weights, bound, promise)
    decision = Decision(
        "lorentzian",
        f"{most} real times, each a Lorentzian weight",
        (("steps", float(most)),),
    )
    arguments = {"equation": equation, "initial": initial}
    return conclude(request, found, arguments, decision, check, throw)


@quick_program
def _weights(
    step: Array, times: Array, counts: Array, shift: Array, lowest: Array, most: int
) -> tuple[Array, Array, Array]:
    """The weights `(J, T, most + 1)` of the sums that end at several eta; the bound
    `(T,)`; the largest tail.
    """
    k = jnp.arange(most + 1)
    t = step * jnp.arange(most + 1, dtype=times.dtype)
    tau = times[:, None]
    kernel = tau / (tau**2 + t**2) * step / jnp.pi
    # Both signs of t at once; t = 0 counts once.
    kernel = kernel * jnp.where(k == 0, 1, 2)
    # The first sum is the answer; what the others differ by shows its error.
    fractions = jnp.asarray(CONSTANTS.partial_sums, times.dtype)
    ends = jnp.round(fractions[:, None] * counts).astype(int)[..., None]
    # The trapezoidal rule: the last time counts half.
    kept = jnp.where(k < ends, 1.0, jnp.where(k == ends, 0.5, 0.0))
    # H - s in the place of H.
    phase = jnp.exp(-1j * shift * t)
    eta = counts * step / times
    tail = jnp.arctan(1 / eta)
    # The second bound of the tail is infinite for a level that is zero: `tiny` keeps
    # the quotient finite.
    tiny = jnp.finfo(t.dtype).tiny
    energy = jnp.maximum(lowest, 0)
    oscillating = 2 / (energy * times * (1 + eta**2) + tiny)
    weights = kept * kernel * phase
    bound = 2 / jnp.pi * jnp.minimum(tail, oscillating) + _alias(step, times)
    promise = 2 / jnp.pi * jnp.max(tail)
    return weights, bound, promise


def _alias(step: Array, times: Array) -> Array:
    """Twice the weight of the nearest alias of a level, `(T,)`."""
    alias_tol = CONSTANTS.alias_tol_single
    if step.dtype == np.float64:
        alias_tol = CONSTANTS.alias_tol
    return jnp.full_like(times, 2 * alias_tol)
