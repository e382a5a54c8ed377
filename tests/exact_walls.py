"""Processes with ends: rings, reflecting and absorbing walls, and products of any two.
See `exact`.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

import fpsolve as fp
from exact_line import Kind

MODES = 60


class Ring(eqx.Module):
    """Diffusion on a ring of circumference 2 pi with a constant push f: a wrapped
    Gaussian that drifts and widens,

        p = (1 + 2 sum_k exp(-k^2 (v/2 + D t)) cos k (x - m - f t)) / 2 pi.

    Without push: rates D k^2, each twice. The push is a force: -f x is not periodic.
    """

    diffusion: Array
    push: Array | None
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        force = None if self.push is None else Partial(_constant, push=self.push)
        return fp.FokkerPlanck(None, self.diffusion, force)

    def grid(self, n: int, kind: Kind = fp.Periodic) -> fp.Grid:
        return fp.Grid(kind(0.0, 2 * np.pi, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        k = jnp.arange(1, MODES)
        center = self.mean + (0.0 if self.push is None else self.push * t)
        heights = jnp.exp(-(k**2) * (self.variance / 2 + self.diffusion * t))
        return (
            1 + 2 * jnp.cos(jnp.multiply.outer(grid.nodes[0] - center, k)) @ heights
        ) / (2 * jnp.pi)

    def spectrum(self, k: int) -> np.ndarray:
        return float(self.diffusion) * ((np.arange(k) + 1) // 2) ** 2.0


class Walls(eqx.Module):
    """A constant push f between reflecting walls 0 and l:

        p = e^{2 a x} / Z
            + e^{a x} sum_k c_k (cos q_k x + (a / q_k) sin q_k x) e^{-E_k t},
        a = f / (2 D),   q_k = k pi / l,   E_k = D q_k^2 + f^2 / (4 D).

    Each term lets no flux through: D p' = f p at both walls. The push is a force, or
    the potential -f x.
    """

    diffusion: Array
    push: Array
    shares: Array
    length: float = eqx.field(static=True, default=1.0)
    as_force: bool = eqx.field(static=True, default=False)

    @property
    def equation(self) -> fp.FokkerPlanck:
        return _pushed(self.diffusion, self.push, self.as_force)

    def grid(self, n: int, kind: Kind = fp.Reflecting) -> fp.Grid:
        return fp.Grid(kind(0.0, self.length, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        x = grid.nodes[0]
        a = self.push / (2 * self.diffusion)
        q = self._wavenumbers
        angles = jnp.multiply.outer(x, q)
        modes = jnp.cos(angles) + a / q * jnp.sin(angles)
        decay = jnp.exp(
            -(self.diffusion * q**2 + self.push**2 / (4 * self.diffusion)) * t
        )
        still = (
            2
            * a
            * jnp.exp(2 * a * (x - self.length))
            / -jnp.expm1(-2 * a * self.length)
        )
        return still + jnp.exp(a * x) * (modes @ (self.shares * decay))

    def spectrum(self, k: int) -> np.ndarray:
        levels = _levels(self.diffusion, self.push, self.length, k)
        return np.concatenate([[0.0], levels[: k - 1]])

    @property
    def _wavenumbers(self) -> Array:
        return jnp.arange(1, len(self.shares) + 1) * jnp.pi / self.length


class Absorbed(eqx.Module):
    """A constant push f between absorbing walls 0 and l; a = f / (2 D), q_k = k pi / l
    (f = 0: the heat equation):

    p = e^{a x} sum_k c_k sin(q_k x) e^{-E_k t},   k = 1, 2, ...,
    E_k = D q_k^2 + f^2 / (4 D).
    """

    diffusion: Array
    push: Array
    shares: Array
    length: float = eqx.field(static=True, default=1.0)
    as_force: bool = eqx.field(static=True, default=False)

    @property
    def equation(self) -> fp.FokkerPlanck:
        return _pushed(self.diffusion, self.push, self.as_force)

    def grid(self, n: int, kind: Kind = fp.Absorbing) -> fp.Grid:
        return fp.Grid(kind(0.0, self.length, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        x = grid.nodes[0]
        q = jnp.arange(1, len(self.shares) + 1) * jnp.pi / self.length
        decay = jnp.exp(
            -(self.diffusion * q**2 + self.push**2 / (4 * self.diffusion)) * t
        )
        tilt = jnp.exp(self.push / (2 * self.diffusion) * x)
        return tilt * (jnp.sin(jnp.multiply.outer(x, q)) @ (self.shares * decay))

    def spectrum(self, k: int) -> np.ndarray:
        return _levels(self.diffusion, self.push, self.length, k)


class Product(eqx.Module):
    """Two one-dimensional systems with the same diffusion side by side: the densities
    multiply, the rates add.

    The axes keep the ends of their own, so that any two kinds of ends may be mixed.
    """

    first: Any
    second: Any

    @property
    def equation(self) -> fp.FokkerPlanck:
        one, two = self.first.equation, self.second.equation
        forced = one.force is not None or two.force is not None
        return fp.FokkerPlanck(
            Partial(_sum, one, two),
            one.diffusion,
            Partial(_together, one, two) if forced else None,
        )

    def grid(self, n: int) -> fp.Grid:
        return fp.Grid(*self.first.grid(n).axes, *self.second.grid(n).axes)

    def density(self, grid: fp.Grid, t: Any) -> Array:
        one, two = (fp.Grid(axis) for axis in grid.axes)
        return jnp.multiply.outer(
            self.first.density(one, t), self.second.density(two, t)
        )


def _pushed(diffusion: Array, push: Array, as_force: bool) -> fp.FokkerPlanck:
    if as_force:
        return fp.FokkerPlanck(None, diffusion, Partial(_constant, push=push))
    return fp.FokkerPlanck(Partial(_tilt, push=push), diffusion)


def _levels(diffusion: Array, push: Array, length: float, k: int) -> np.ndarray:
    d, f = float(diffusion), float(push)
    return d * (np.arange(1, k + 1) * np.pi / length) ** 2 + f**2 / (4 * d)


def _constant(x: Array, push: Array) -> Array:
    return push + 0 * x


def _tilt(x: Array, push: Array) -> Array:
    return -push * x[0]


def _sum(one: fp.FokkerPlanck, two: fp.FokkerPlanck, x: Array) -> Array:
    return one.energy(x[:1]) + two.energy(x[1:])


def _together(one: fp.FokkerPlanck, two: fp.FokkerPlanck, x: Array) -> Array:
    parts = [
        jnp.zeros(1) if eq.force is None else eq.force(y)
        for eq, y in ((one, x[:1]), (two, x[1:]))
    ]
    return jnp.concatenate(parts)
