"""The warped phase (Schrödingerisation): imaginary time as one real-time run with one
more coordinate.

    w(t, xi, x) = e^{-xi} psi(t, x)   for xi > 0
    d_t w = H d_xi w,      w(0) = g(xi) psi_0

w travels towards smaller xi, so that its values at xi > 0 need no more of g than g =
e^{-xi} at xi > 0. In the Fourier modes p_k of xi the equation is unitary,

    w_k(t) = e^{i p_k t H} w_k(0)
    psi(t) = e^xi sum_k g_k e^{i p_k xi} e^{i p_k t H} psi_0      at any xi > 0

    g = e^{-|xi|}                            the cusp
    g = e^{-xi} erfc(-(xi + c) / s) / 2      a smooth start

The error of the cusp is e^xi / (p_max^2 (xi + E t)): of order 2, and of order 1 next to
the cusp. That of the smooth start falls as exp(-(s p_max / 2)^2), with p_max the
largest wavenumber. The modes are those of a ring in xi with 2 K + 1 nodes. Its length 2
pi t / h is that at which nothing that leaves one end returns to where the wave is read
(see `average` for h).

References: Jin, Liu and Yu, arXiv 2404.13585; smooth starts: Jin, Liu, Ma, Peng and Yu,
arXiv 2505.00370.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_choice, check_finite_number, raise_value_error
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

STARTS = ("cusp", "smooth")


@public_function
def warped_phase(
    equation: Equation,
    initial: Initial,
    times: Numbers,
    *,
    grid: Grid,
    start: str = "smooth",
    p_max: Real | None = None,
    steps: Count | None = None,
    xi: Real | None = None,
    shift: Real = 0.0,
    scheme: Scheme | None = None,
    method: Propagator | None = None,
    tol: Real | None = None,
    check: bool = True,
    throw: bool = True,
) -> Continuation:
    """e^{-tau H} psi_0 from a unitary run with one more coordinate xi, beside the run
    in imaginary time.

        d_t w = H d_xi w,      w = e^{-xi} psi at xi > 0

    **Arguments**: as for `fp.wick.lorentzian`, and

    - `start`: "smooth", whose error falls faster than any power of 1 / p_max, or
      "cusp", e^{-|xi|}, of order 2
    - `p_max`: the largest wavenumber of xi; 200 for the cusp; None follows from `tol`
      for the smooth start
    - `steps`: the number of wavenumbers above zero, in the place of `p_max`; needed
      under `jit`, `vmap` and `grad`
    - `xi`: where the wave is read, at least zero: the node of the ring at or above it;
      None is 1 for the cusp, which is best there, and 0 for the smooth start

    **Returns** a `Continuation`; its error is what other readings of xi differ by.
    **Raises** as `lorentzian`.

    **Keeps**: the norm of w, to rounding. **Cost**: as `lorentzian`, with p_max in the
    place of eta_max; for 1e-9 the smooth start needs a p_max of about 20.
    **Reference**: theorem T25 of this library; Jin, Liu and Yu, arXiv 2404.13585.

    ```python
    import fpsolve as fp

    oscillator = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
    grid = fp.Grid(fp.Line(-7.0, 7.0, 32))
    found = fp.wick.warped_phase(oscillator, fp.Gaussian(0.5, 0.5), [0.5], grid=grid)
    found.difference, found.error
    ```
    """
    check_choice("start", start, STARTS)
    smooth = start == "smooth"
    if xi is None:
        xi = 0.0 if smooth else CONSTANTS.cusp_xi
    if check_finite_number("xi", xi) < 0:
        raise_value_error(
            "xi",
            xi,
            "the wave is e^-xi psi at xi > 0 only",
            "Give 1.0, or 0.0 for the smooth start.",
        )
    left_out = _left_out(tol)
    # The centre of the smooth step lies so far below the first reading that e^-xi is
    # left to `left_out`.
    depth = CONSTANTS.smooth_width * math.sqrt(-math.log(left_out)) - xi
    if p_max is None and steps is None:
        p_max = CONSTANTS.eta_max
        if smooth:
            p_max = _smooth_wavenumber(left_out, depth + xi)
    longest = None if steps is not None else ("p_max", p_max)
    options = {"scheme": scheme, "method": method}
    request = check_bridge(equation, initial, times, grid, shift, options, tol, longest)
    most, counts = count_steps(request, longest, steps)
    parameters = (as_array(xi), as_array(depth), as_array(left_out))
    weights, bound, promise = _weights(
        request.step,
        request.times,
        counts,
        request.shift,
        request.lowest,
        parameters,
        most,
        smooth,
    )
    found = average(request, weights, bound, promise)
    decision = Decision(
        "warped phase", f"a {start} start, {most} wavenumbers, read at xi = {xi:g}"
    )
    arguments = {"equation": equation, "initial": initial}
    return conclude(request, found, arguments, decision, check, throw)


def _left_out(tol: Real | None) -> float:
    """The part of the smooth start that may be missing at xi > 0, and beyond p_max."""
    if jnp.zeros(()).dtype.itemsize == 4:
        return CONSTANTS.smooth_tol_single
    if tol is None:
        return CONSTANTS.smooth_tol
    # A tenth: errors of the runs and of the grid take the rest.
    return max(float(tol) / 10, CONSTANTS.alias_tol)


def _smooth_wavenumber(left_out: float, depth: float) -> float:
    """p_max at which |g_k| e^xi of the smooth start, e^{depth + s^2 / 4 - (s p / 2)^2}
    / |1 + ip|, is `left_out`.
    """
    width = CONSTANTS.smooth_width
    return 2 / width * math.sqrt(-math.log(left_out) + depth + width**2 / 4)


@quick_program
def _weights(
    step: Array,
    times: Array,
    counts: Array,
    shift: Array,
    lowest: Array,
    parameters: tuple[Array, Array, Array],
    most: int,
    smooth: bool,
) -> tuple[Array, Array, Array]:
    """The weights `(J, T, most + 1)` of J readings; the bound `(T,)`; the error that is
    promised for a level zero.
    """
    xi, depth, left_out = parameters
    dtype = times.dtype
    k = jnp.arange(most + 1)

    def of_time(tau: Array, count: Array) -> Array:
        # The ring of xi at this tau: wavenumbers step / tau apart.
        length = 2 * jnp.pi * tau / step
        spacing = length / (2 * most + 1)
        # The node xi = 0 first, as the Fourier transform orders them.
        positions = jnp.fft.ifftshift(jnp.arange(-most, most + 1))
        nodes = spacing * positions.astype(dtype)
        g = _smooth_start(nodes, depth) if smooth else jnp.exp(-jnp.abs(nodes))
        # Both signs of a wavenumber at once; zero counts once.
        amplitudes = jnp.fft.fft(g)[: most + 1] / len(nodes)
        modes = amplitudes * jnp.where(k == 0, 1, 2)
        # Fewer wavenumbers where this tau needs fewer.
        modes = jnp.where(k <= count, modes, 0)
        # Rounding must not move a reading at a node to the next one.
        first = jnp.ceil(xi / spacing - 1e-6)
        read = spacing * (first + jnp.arange(CONSTANTS.readings + 1, dtype=dtype))
        waves = jnp.exp(1j * (step / tau) * k * read[:, None])
        return jnp.exp(read)[:, None] * modes * waves

    weights = jax.vmap(of_time, out_axes=1)(times, counts)
    phase = jnp.exp(-1j * shift * step * k.astype(dtype))
    wavenumber = counts * step / times  # the largest one, p_max
    if smooth:
        bound = jnp.full_like(times, 4 * left_out)
    else:
        # Reading at xi is the Lorentzian bridge of H + xi / tau, times e^xi.
        tail = jnp.arctan(1 / wavenumber)
        distance = jnp.maximum(lowest, 0) * times + xi
        # At a distance of zero only the first bound is finite.
        tiny = jnp.finfo(dtype).tiny
        oscillating = 2 / (distance * (1 + wavenumber**2) + tiny)
        # As much again for the modes that the nodes of the ring do not tell apart.
        bound = 2 * jnp.exp(xi) * 2 / jnp.pi * jnp.minimum(tail, oscillating)
    return weights * phase, bound, jnp.max(bound)


def _smooth_start(xi: Array, depth: Array) -> Array:
    """e^{-xi} erfc(-(xi + depth) / s) / 2, without overflow at the left end."""
    sqrt_2 = jnp.sqrt(jnp.asarray(2.0, xi.dtype))
    argument = sqrt_2 * (xi + depth) / CONSTANTS.smooth_width
    # By the logarithm of erfc, since e^-xi alone overflows on a long ring.
    return jnp.exp(-xi + jax.scipy.special.log_ndtr(argument))
