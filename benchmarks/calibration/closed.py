"""Closed forms, and integrals of positive functions: further references of
`effectivity.py`. No code of fpsolve.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate
import scipy.linalg

from .elements import Elements, Function

STEP_TOL = 1e-12  # of the ordinary differential equations for moments


# Linear drifts: dX = K (c(t) - X) dt + sqrt(2 D) dW has Gaussian densities


@dataclasses.dataclass(frozen=True)
class Normal:
    """N(mean, covariance); called at points `(..., d)`, or `(...)` in one dimension."""

    mean: np.ndarray
    covariance: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        d = len(self.mean)
        has_axis = np.shape(x)[-1:] == (d,) and d > 1
        shape = np.shape(x)[:-1] if has_axis else np.shape(x)
        gap = np.reshape(x, (*shape, d)) - self.mean
        inverse = np.linalg.inv(self.covariance)
        square = np.einsum("...i,ij,...j->...", gap, inverse, gap)
        return np.exp(-square / 2) / np.sqrt(
            (2 * np.pi) ** d * np.linalg.det(self.covariance)
        )


def linear_moments(
    drift: np.ndarray, noise: np.ndarray, start: Normal, t: float
) -> Normal:
    """At time t for dX = -drift X dt + ..., d/dt C = -drift C - C drift^T + 2 noise; by
    one matrix exponential.

    **Reference**: Van Loan, IEEE Trans. Automat. Control 23 (1978) 395.
    """
    d = len(drift)
    block = np.block([[drift, 2 * noise], [np.zeros((d, d)), -drift.T]])
    # exp(-block^... t): solved in pieces, so that exp(+drift t) does not overflow
    pieces = max(1, int(np.ceil(np.abs(drift).sum(axis=1).max() * t / 4)))
    whole = scipy.linalg.expm(-block * (t / pieces))
    decay = whole[:d, :d]
    added = -whole[:d, d:] @ decay.T
    mean, covariance = start.mean, start.covariance
    for _ in range(pieces):
        mean = decay @ mean
        covariance = decay @ covariance @ decay.T + added
    return Normal(mean, (covariance + covariance.T) / 2)


def driven_moments(
    stiffness: Callable[[float], float],
    center: Callable[[float], float],
    diffusion: float,
    start: tuple[float, float],
    times: Any,
    breaks: Any = (),
    power: Callable[[float, float, float], float] = lambda t, m, v: 0.0,
) -> np.ndarray:
    """Mean, variance and the integral of `power(t, m, v)` at `times`, `(T, 3)`, of a
    trap k(t) (x - c(t))^2 / 2.
    """

    def rate(t: float, y: np.ndarray) -> list[float]:
        m, v, _ = y
        k = stiffness(t)
        return [k * (center(t) - m), 2 * diffusion - 2 * k * v, power(t, m, v)]

    stops = sorted(
        {*map(float, times), *(b for b in map(float, breaks) if 0 < b < max(times))}
    )
    y = np.array([*start, 0.0])
    found = {0.0: y}
    for a, b in itertools.pairwise([0.0, *stops]):
        if b > a:
            # one-sided limits at the breaks: the pieces are integrated within them
            shift = 1e-13 * (b - a)
            inside = lambda t, y, a=a, b=b, s=shift: rate(min(max(t, a + s), b - s), y)
            y = scipy.integrate.solve_ivp(
                inside,
                (a, b),
                y,
                "DOP853",
                rtol=STEP_TOL,
                atol=1e-14,
                max_step=(b - a) / 8,
            ).y[:, -1]
        found[b] = y
    return np.array([found[float(t)] for t in times])


# Heat between walls and on rings


def heat(
    start: Function,
    length: float,
    rates: str,
    diffusion: float,
    t: float,
    terms: int = 200,
) -> Function:
    """exp(t D d_xx) of a start on [0, length] by its series; `rates` is "reflecting",
    "absorbing" or "periodic".
    """
    s, w = np.polynomial.legendre.leggauss(24)
    panels = np.linspace(0, length, 401)
    y = (panels[:-1, None] + np.diff(panels)[:, None] * (s + 1) / 2).ravel()
    masses = start(y) * (np.diff(panels)[:, None] * w / 2).ravel()
    step = np.pi / length * (2 if rates == "periodic" else 1)
    k = np.arange(1, terms) * step
    decay = np.exp(-diffusion * k**2 * t)
    cosines = 2 / length * decay * (np.cos(np.outer(k, y)) @ masses)
    sines = 2 / length * decay * (np.sin(np.outer(k, y)) @ masses)
    keep = {"reflecting": (1, 0), "absorbing": (0, 1), "periodic": (1, 1)}[rates]

    def values(x: np.ndarray) -> np.ndarray:
        phase = np.multiply.outer(x, k)
        flat = masses.sum() / length if rates != "absorbing" else 0.0
        return (
            flat + keep[0] * np.cos(phase) @ cosines + keep[1] * np.sin(phase) @ sines
        )

    return values


# Levels


def sums(rates: Any, count: int) -> np.ndarray:
    """The `count` smallest values of sum_i n_i rates_i; complex rates, by real part."""
    reach = [
        range(1 + int(count * min(np.real(rates)) // np.real(r) + 1)) for r in rates
    ]
    values = np.array([np.dot(n, rates) for n in itertools.product(*reach)])
    return values[np.lexsort((np.imag(values), np.real(values).round(9)))][:count]


def sums_of_levels(levels: Any, count: int) -> np.ndarray:
    """The `count` smallest sums of one level of each list."""
    total = np.zeros(1)
    for one in levels:
        total = np.sort(np.add.outer(total, one).ravel())[: 4 * count]
    return total[:count]


def morse(depth: float, width: float, diffusion: float) -> np.ndarray:
    """Bound levels of depth (1 - exp(-x / width))^2 under -D d_xx: all below the
    continuum, at `depth`.
    """
    omega = 2 * np.sqrt(depth * diffusion) / width
    n = np.arange(int(np.sqrt(depth / diffusion) * width + 0.5))
    return omega * (n + 0.5) - diffusion / width**2 * (n + 0.5) ** 2


def poeschl_teller(order: float, width: float, diffusion: float) -> np.ndarray:
    """Bound levels of -D order (order + 1) / (width cosh(x / width))^2."""
    n = np.arange(int(np.ceil(order)))
    return -diffusion * ((order - n) / width) ** 2


# Integrals of positive functions keep their relative accuracy


def gap_by_kernel(elements: Elements, log_w: Function, diffusion: float) -> float:
    """The gap of a line: 1 / (largest eigenvalue of the inverse of -(J' / w)' in 1 / (w
    D)), by iteration.

    With M the integral of w from the left, J = (1 - M/Z) int_left M r + (M/Z) int_right
    (Z - M) r solves
    -(J' / w)' = r; all terms are positive, and each is summed from its nearer end.
    """
    x, q = elements.x, elements.q
    peak = log_w(x).max()
    w = np.exp(log_w(x) - peak)
    left = elements.cumulative(w)
    right = _from_right(elements, w)
    z = np.sum(w * q)
    j = np.ones_like(x)
    value = new = 0.0
    # log-scaled 1/w: where w underflows the flux vanishes too
    inverse = np.exp(np.minimum(peak - log_w(x), 600.0)) / diffusion
    for _ in range(400):
        load = j * inverse
        after = (
            right * elements.cumulative(left * load)
            + left * _from_right(elements, right * load)
        ) / z
        new = np.sum(after * j * inverse * q) / np.sum(j * j * inverse * q)
        j = after / after.max()
        if abs(new - value) < 1e-15 * new:
            break
        value = new
    return float(1 / new)


def passage(elements: Elements, log_w: Function, diffusion: Function) -> Function:
    """The mean time to the right end from x, reflecting at the left end:
    int_x^b M / (w D).
    """
    x = elements.x
    w = np.exp(log_w(x))
    tau = _from_right(elements, elements.cumulative(w) / (w * diffusion(x)))
    return _through(elements, tau)


def committor(elements: Elements, log_w: Function, diffusion: Function) -> Function:
    """The probability to reach the right end before the left one: int_a^x 1 / (w D)
    over the whole.
    """
    x = elements.x
    up = elements.cumulative(np.exp(-log_w(x)) / diffusion(x))
    return _through(elements, up / up[-1, -1])


def _from_right(elements: Elements, values: np.ndarray) -> np.ndarray:
    mirrored = Elements(-elements.ends[::-1], elements.order)
    return mirrored.cumulative(values[::-1, ::-1])[::-1, ::-1]


def _through(elements: Elements, values: np.ndarray) -> Function:
    nodal = np.zeros(elements.size)
    nodal[elements.index] = values
    return lambda x: elements.interpolate(nodal, x)
