"""The work on a trap in closed form: one that is moved, and one that is stiffened.

moved       y' = -k y - c' for the lag y of the mean; the work is Gaussian
stiffened   v' = 2 D - 2 k v for the variance v; the least work by Schmiedl and Seifert
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp


def moved_work(
    stiffness: float, reach: float, total: float, first: float, last: float
) -> float:
    """The mean work of moving a trap by `reach`, linearly between two jumps:
    y' = -k y - c' for the lag y of the mean,
    W = k c_0^2 / 2 - k int y c' dt + k c_1 (c_1 / 2 - y(T)).
    """
    speed = reach * (1 - first - last) / total
    lag = -reach * first
    rest = -speed / stiffness
    decay = np.exp(-stiffness * total)
    integral = rest * total + (lag - rest) * (1 - decay) / stiffness
    end = rest + (lag - rest) * decay
    jumps = stiffness * (reach * first) ** 2 / 2 + stiffness * reach * last * (
        reach * last / 2 - end
    )
    return float(jumps - stiffness * speed * integral)


def least_moved(stiffness: float, reach: float, total: float) -> float:
    """k c^2 / (2 + k T), Schmiedl and Seifert."""
    return stiffness * reach**2 / (2 + stiffness * total)


def growth_rate(first: float, last: float, total: float) -> float:
    """The root c of k_1 (1 + c T)^2 - k_0 + 2 c (1 + c T) = 0 with 1 + c T > 0."""
    return float(
        max(np.roots([last * total**2 + 2 * total, 2 * last * total + 2, last - first]))
    )


def least_stiffened(first: float, last: float, total: float, diffusion: float) -> float:
    """The least mean work of a trap of stiffness k_0 -> k_1.

    The variance is D (1 + c t)^2 / k_0.
    """
    c = growth_rate(first, last, total)
    variance = diffusion / first
    growth = 1 + c * total
    return (
        (last * variance * growth**2 - diffusion) / 2
        - diffusion * np.log(growth)
        + c**2 * variance * total
    )


def stiffened_transform(
    z: np.ndarray,
    ends: tuple[float, float],
    jumps: tuple[float, float],
    diffusion: float,
) -> np.ndarray:
    """E exp(z W) of a trap whose stiffness k goes from one of `ends` to the other in a
    time 1, linearly between jumps: exp(a - b x^2) stays of this form, a' = k - 2 D b,
    b' = 2 k b - 4 D b^2 - z k' / 2, and b -> b - z dk / 2 at a jump.
    """
    change = ends[1] - ends[0]
    rate = change * (1 - jumps[0] - jumps[1])
    count = len(z)

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        b = state[count:]
        k = ends[0] + change * jumps[0] + rate * t
        return np.concatenate(
            [k - 2 * diffusion * b, 2 * k * b - 4 * diffusion * b**2 - z * rate / 2]
        )

    a = np.full(count, np.log(ends[0] / (2 * np.pi * diffusion)) / 2, complex)
    b = ends[0] / (2 * diffusion) - z * change * jumps[0] / 2
    found = solve_ivp(
        slope, (0, 1), np.concatenate([a, b]).astype(complex), rtol=1e-7, atol=1e-9
    ).y[:, -1]
    return np.exp(found[:count]) * np.sqrt(
        np.pi / (found[count:] - z * change * jumps[1] / 2)
    )


def true_stiffened_work(schedule: Any, first: float, last: float) -> float:
    """The mean work of any protocol that stiffens a trap, D = 1:
    v' = 2 - 2 k v, W = int v dk / 2 with the jumps.
    """
    times, place, rate = protocol(schedule)
    stiffness = first + (last - first) * place
    variance = solve_ivp(
        lambda t, v: 2 - 2 * np.interp(t, times, stiffness) * v,
        (0, times[-1]),
        [1 / first],
        t_eval=times,
        rtol=1e-9,
    ).y[0]
    inside = np.trapezoid(variance * (last - first) * rate, times) / 2
    return float(
        (stiffness[0] - first) / first / 2
        + inside
        + (last - stiffness[-1]) * variance[-1] / 2
    )


def protocol(schedule: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, and between its jumps the place and the rate of a schedule."""
    u = jnp.linspace(0, 1, 4001)
    place, rate = jax.jvp(schedule.between, (u,), (jnp.ones_like(u),))
    total = float(schedule.total)
    return np.asarray(u) * total, np.asarray(place), np.asarray(rate) / total
