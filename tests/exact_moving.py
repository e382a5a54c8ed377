"""Processes whose potential moves, and waves. See `exact`.

In a harmonic well of stiffness k(t) and centre c(t) a Gaussian stays one:

    mean' = -k (mean - c),  var' = 2 D - 2 k var.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

import fpsolve as fp
from exact_line import Kind, gaussian


class Dragged(eqx.Module):
    """A well dragged at a constant speed, c = s t: mean s t - s/k + (m + s/k) e^{-kt},
    var D/k + (v - D/k) e^{-2kt}.
    """

    stiffness: Array
    speed: Array
    diffusion: Array
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(
            Partial(_dragged, stiffness=self.stiffness, speed=self.speed),
            self.diffusion,
        )

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-7.0, 8.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        lag, still = self.speed / self.stiffness, self.diffusion / self.stiffness
        mean = self.speed * t - lag + (self.mean + lag) * jnp.exp(-self.stiffness * t)
        return gaussian(
            grid,
            mean,
            still + (self.variance - still) * jnp.exp(-2 * self.stiffness * t),
        )


class Shaken(eqx.Module):
    """A well whose centre swings, c = a sin(w t):

    mean = k a (k sin wt - w cos wt) / (k^2 + w^2) + (m + k a w / (k^2 + w^2)) e^{-kt},
    var as in `Dragged`.
    """

    stiffness: Array
    amplitude: Array
    frequency: Array
    diffusion: Array
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        swing = Partial(
            _shaken,
            stiffness=self.stiffness,
            amplitude=self.amplitude,
            frequency=self.frequency,
        )
        return fp.FokkerPlanck(swing, self.diffusion)

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-7.0, 8.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        k = self.stiffness
        w = self.frequency
        still = self.diffusion / self.stiffness
        size = k * self.amplitude / (k**2 + w**2)
        mean = size * (k * jnp.sin(w * t) - w * jnp.cos(w * t)) + (
            self.mean + size * w
        ) * jnp.exp(-k * t)
        return gaussian(
            grid, mean, still + (self.variance - still) * jnp.exp(-2 * k * t)
        )


class Loosened(eqx.Module):
    """A well that opens, k = A / (t0 + t); R = t0 / (t0 + t):

    mean = m R^A,   var = v R^{2A} + 2 D (t0 + t) (1 - R^{2A+1}) / (2A + 1).
    """

    strength: Array
    onset: Array
    diffusion: Array
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(
            Partial(_loosened, strength=self.strength, onset=self.onset), self.diffusion
        )

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-7.0, 8.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        a, later = self.strength, self.onset + t
        ratio = self.onset / later
        spread = 2 * self.diffusion * later * (1 - ratio ** (2 * a + 1)) / (2 * a + 1)
        return gaussian(
            grid, self.mean * ratio**a, self.variance * ratio ** (2 * a) + spread
        )


class Wave(eqx.Module):
    """A displaced ground state of the oscillator H = -D d^2/dx^2 + w^2 x^2 / (4 D), at
    the angle `wick`.

    With y = x sqrt(w / 2D), z = e^{i wick} t and s = y_0 e^{-wz} / 2 (the generating
    function of Hermite polynomials),

        psi = exp( -wz/2 - y_0^2/4 - y^2/2 + 2 y s - s^2 ).     Levels w (n + 1/2).
    """

    frequency: Array
    diffusion: Array
    shift: Array
    wick: float = eqx.field(static=True, default=0.0)

    @property
    def equation(self) -> fp.Schrodinger:
        return fp.Schrodinger(
            Partial(_well, frequency=self.frequency, diffusion=self.diffusion),
            self.diffusion,
        )

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-9.0, 9.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        scale = jnp.sqrt(self.frequency / (2 * self.diffusion))
        y, start = grid.nodes[0] * scale, self.shift * scale
        z = (1.0 if self.wick == 0 else np.exp(1j * self.wick)) * t
        s = start * jnp.exp(-self.frequency * z) / 2
        return jnp.exp(
            -self.frequency * z / 2 - start**2 / 4 - y**2 / 2 + 2 * y * s - s**2
        )

    def spectrum(self, k: int) -> np.ndarray:
        return float(self.frequency) * (np.arange(k) + 0.5)


def _dragged(x: Array, t: Any, stiffness: Array, speed: Array) -> Array:
    return stiffness * jnp.sum((x - speed * t) ** 2) / 2


def _shaken(
    x: Array, t: Any, stiffness: Array, amplitude: Array, frequency: Array
) -> Array:
    return stiffness * jnp.sum((x - amplitude * jnp.sin(frequency * t)) ** 2) / 2


def _loosened(x: Array, t: Any, strength: Array, onset: Array) -> Array:
    return strength / (onset + t) * jnp.sum(x**2) / 2


def _well(x: Array, frequency: Array, diffusion: Array) -> Array:
    return frequency**2 * jnp.sum(x**2) / (4 * diffusion)
