"""Flows whose densities are known: in closed form, or by characteristics.

d_t p = -div(v p),
p(x, t) = p(X(0), 0) exp( -int div v(X(s), s) ds ),   dX/ds = v,  X(t) = x
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import i0

import fpsolve as fp


def relative(grid: fp.Grid, found: Any, exact: Any) -> float:
    """The relative L1 distance of two densities `(*shape)`."""
    return float(
        grid.integrate(jnp.abs(found - exact)) / grid.integrate(jnp.abs(exact))
    )


def by_characteristics(
    velocity: Callable[[Any, Any], Any],
    start: Callable[[Any], Any],
    grid: fp.Grid,
    t: float,
) -> np.ndarray:
    """The density at time t at the nodes, by an integrator of ordinary differential
    equations.
    """
    points = np.asarray(grid.points).reshape(-1, grid.ndim)
    count = len(points)

    @jax.jit
    def slopes(s: Any, x: Any) -> tuple[Any, Any]:
        jacobian = jax.vmap(lambda y: jax.jacfwd(lambda z: velocity(z, s))(y))(x)
        return jax.vmap(lambda y: velocity(y, s))(x), jnp.trace(
            jacobian, axis1=1, axis2=2
        )

    def backwards(s: float, state: np.ndarray) -> np.ndarray:
        speed, divergence = slopes(t - s, state[: points.size].reshape(count, -1))
        return np.concatenate([-np.asarray(speed).ravel(), -np.asarray(divergence)])

    first = np.concatenate([points.ravel(), np.zeros(count)])
    last = solve_ivp(
        backwards, (0, t), first, method="DOP853", rtol=1e-10, atol=1e-11
    ).y[:, -1]
    origins = last[: points.size].reshape(count, -1)
    return (np.asarray(jax.vmap(start)(origins)) * np.exp(last[points.size :])).reshape(
        grid.shape
    )


class RingFlow:
    """v = a sin x on a ring: tan(x/2) = e^{at} tan(x(0)/2)."""

    def __init__(self, speed: float):
        self.speed = speed
        self.equation = fp.Continuity(lambda x: speed * jnp.sin(x))

    def start(self, x: Any) -> Any:
        return jnp.exp(jnp.cos(x[0] - 0.4)) / (2 * np.pi * float(i0(1.0)))

    def density(self, grid: fp.Grid, t: float) -> np.ndarray:
        x = np.asarray(grid.nodes[0])
        growth = np.exp(self.speed * t)
        origins = 2 * np.arctan2(np.sin(x / 2), growth * np.cos(x / 2))
        stretch = 1 / (growth * np.cos(x / 2) ** 2 + np.sin(x / 2) ** 2 / growth)
        return np.asarray(jax.vmap(self.start)(origins[:, None])) * stretch


class Breathing:
    """v = a cos(t) x + b sin(2t): a normal density stays one, with
    m' = a cos(t) m + b sin(2t).
    """

    def __init__(self, a: float, b: float, mean: float, deviation: float):
        self.parameters = a, b, mean, deviation
        self.equation = fp.Continuity(
            lambda x, t: a * jnp.cos(t) * x + b * jnp.sin(2 * t)
        )
        self.start = fp.Gaussian(mean, deviation**2)

    def density(self, t: float) -> fp.Gaussian:
        a, b, mean, deviation = self.parameters
        scale = np.exp(a * np.sin(t))
        # int_0^t exp(-a sin s) sin(2 s) ds by a rule of high order.
        nodes, weights = np.polynomial.legendre.leggauss(40)
        s = t * (nodes + 1) / 2
        pushed = np.sum(weights * t / 2 * np.exp(-a * np.sin(s)) * b * np.sin(2 * s))
        return fp.Gaussian(scale * (mean + pushed), (scale * deviation) ** 2)
