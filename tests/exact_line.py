"""Processes on the whole line (plane, space) with a density in closed form. See `exact`
for what every system offers.

The classes are Equinox modules whose physical numbers are array leaves and whose
`density` is written in JAX: the exact gradient of a density with respect to any
parameter is the derivative of that formula, `exact.gradient`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

import fpsolve as fp
from fpsolve.grid import Axis

Kind = Callable[[float, float, int], Axis]


def rotated(stiffness: Any, angle: float) -> Array:
    """R diag(stiffness) R^T with R the rotation by `angle` in the plane: (2, 2)."""
    turn = jnp.asarray(
        [[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]
    )
    return turn @ jnp.diag(jnp.asarray(stiffness)) @ turn.T


def gaussian(grid: fp.Grid, mean: Any, covariance: Any) -> Array:
    """N(mean, covariance) on the points of a grid."""
    return grid.sample(fp.Gaussian(jnp.atleast_1d(mean), jnp.atleast_2d(covariance)))


class Oscillator(eqx.Module):
    """Ornstein-Uhlenbeck in d dimensions, dX = -K (X - c) dt + sqrt(2 D) dW, K (d, d)
    symmetric, D a number or (d,).

    E = exp(-K t),  mean c + E (m - c),  covariance S + E (C - S) E^T,  K S + S K = 2 D.
    With D a number: S = D / K, rates sum_i n_i kappa_i whatever D. With D (d,) and K
    diagonal: the same rates.
    """

    stiffness: Array
    center: Array
    diffusion: Array
    mean: Array
    covariance: Array
    half: float = eqx.field(static=True, default=7.0)

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(fp.Harmonic(self.stiffness, self.center), self.diffusion)

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(*[kind(-self.half, self.half, n) for _ in self.center])

    def density(self, grid: fp.Grid, t: Any) -> Array:
        decay = jax.scipy.linalg.expm(-self.stiffness * t)
        values, vectors = jnp.linalg.eigh(self.stiffness)
        noise = (
            vectors.T
            @ jnp.diag(jnp.broadcast_to(self.diffusion, self.center.shape))
            @ vectors
        )
        still = vectors @ (2 * noise / (values[:, None] + values)) @ vectors.T
        covariance = still + decay @ (self.covariance - still) @ decay.T
        return gaussian(
            grid,
            self.center + decay @ (self.mean - self.center),
            (covariance + covariance.T) / 2,
        )

    def spectrum(self, k: int) -> np.ndarray:
        rates = np.linalg.eigvalsh(np.asarray(self.stiffness))
        counts = np.indices((k,) * len(rates)).reshape(len(rates), -1)
        return np.sort(rates @ counts)[:k]


class Swirl(eqx.Module):
    """A force that is no gradient: dX = (-k X + c (-X_2, X_1)) dt + sqrt(2 D) dW in the
    plane.

    From an isotropic Gaussian the mean turns by c t and shrinks by exp(-k t); the
    variance D/k + (v - D/k) exp(-2 k t) does not feel c. The eigenvalues of -L are k
    (n_1 + n_2) + i c (n_1 - n_2).
    """

    stiffness: Array
    curl: Array
    diffusion: Array
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(
            fp.Harmonic(self.stiffness), self.diffusion, Partial(_turn, curl=self.curl)
        )

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-5.0, 5.0, n), kind(-5.0, 5.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        cos = jnp.cos(self.curl * t)
        sin = jnp.sin(self.curl * t)
        mean = (
            jnp.exp(-self.stiffness * t)
            * jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
            @ self.mean
        )
        still = self.diffusion / self.stiffness
        variance = still + (self.variance - still) * jnp.exp(-2 * self.stiffness * t)
        return gaussian(grid, mean, variance * jnp.eye(2))


class PoeschlTeller(eqx.Module):
    """U = A ln cosh x, s = A / (2 D): levels E_n = D (s^2 - (s - n)^2) for n < s, then
    a continuum from D s^2.

    psi_2/psi_0 = sinh^2 x - D/(A - 2D), E_2 = 2 A - 4 D, so

        p = pi (1 + c psi_2/psi_0 exp(-E_2 t)),     pi = cosh(x)^-2s / Z,

    with Z = sqrt(pi) Gamma(s) / Gamma(s + 1/2).
    """

    depth: Array
    diffusion: Array
    share: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(Partial(_log_cosh, depth=self.depth), self.diffusion)

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-12.0, 12.0, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        x = grid.nodes[0]
        s = self.depth / (2 * self.diffusion)
        lgamma = jax.scipy.special.gammaln
        log_z = 0.5 * jnp.log(jnp.pi) + lgamma(s) - lgamma(s + 0.5)
        mode = jnp.sinh(x) ** 2 - self.diffusion / (self.depth - 2 * self.diffusion)
        decay = jnp.exp(-(2 * self.depth - 4 * self.diffusion) * t)
        return jnp.exp(-2 * s * jnp.log(jnp.cosh(x)) - log_z) * (
            1 + self.share * mode * decay
        )

    def spectrum(self, k: int) -> np.ndarray:
        s = float(self.depth / (2 * self.diffusion))
        n = np.arange(k)
        return float(self.diffusion) * (s**2 - (s - n) ** 2)


class PrescribedGap(eqx.Module):
    """A double well whose gap E is a number of our choice:
    psi_1/psi_0 = l(x) = x + a tanh(b x) for

        U' = (D l'' + E l) / l',     U = D ln l' + E int_0^x l / l',

    since then -D l'' + U' l' = E l. The integral is taken by Gauss' rule, to rounding.
    Only the spectrum is used: l grows without bound.
    """

    gap: Array
    height: Array
    steepness: Array
    diffusion: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(
            Partial(
                _prescribed,
                gap=self.gap,
                a=self.height,
                b=self.steepness,
                diffusion=self.diffusion,
            ),
            self.diffusion,
        )

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(-9.0, 9.0, n))

    def spectrum(self, k: int) -> np.ndarray:
        return np.asarray([0.0, float(self.gap)])[:k]


class Lognormal(eqx.Module):
    """Multiplicative noise, in Ito's form: X = exp(Y), Y Ornstein-Uhlenbeck with rate k
    and diffusion D,

    dX = (D X - k X ln X) dt + sqrt(2 D) X dW,
    p(x, t) = N(ln x; m e^{-kt}, D/k + (v - D/k) e^{-2kt}) / x.
    """

    rate: Array
    noise: Array
    mean: Array
    variance: Array

    @property
    def equation(self) -> fp.FokkerPlanck:
        drift = Partial(_log_drift, rate=self.rate, noise=self.noise)
        return fp.FokkerPlanck.ito(drift, Partial(_log_diffusion, noise=self.noise))

    def grid(self, n: int, kind: Kind = fp.Line) -> fp.Grid:
        return fp.Grid(kind(0.1, 6.1, n))

    def density(self, grid: fp.Grid, t: Any) -> Array:
        x = grid.nodes[0]
        still = self.noise / self.rate
        variance = still + (self.variance - still) * jnp.exp(-2 * self.rate * t)
        distance = jnp.log(x) - self.mean * jnp.exp(-self.rate * t)
        return jnp.exp(-(distance**2) / (2 * variance)) / (
            x * jnp.sqrt(2 * jnp.pi * variance)
        )


def _turn(x: Array, curl: Array) -> Array:
    return curl * jnp.stack([-x[1], x[0]])


def _log_cosh(x: Array, depth: Array) -> Array:
    return depth * (jnp.logaddexp(x[0], -x[0]) - jnp.log(2.0))


def _log_drift(x: Array, rate: Array, noise: Array) -> Array:
    return noise * x - rate * x * jnp.log(x)


def _log_diffusion(x: Array, noise: Array) -> Array:
    return noise * x[0] ** 2


def _prescribed(x: Array, gap: Array, a: Array, b: Array, diffusion: Array) -> Array:
    nodes, weights = (
        jnp.asarray(array) for array in np.polynomial.legendre.leggauss(64)
    )
    slope = lambda y: 1 + a * b / jnp.cosh(b * y) ** 2
    y = x[0] * (nodes + 1) / 2
    return diffusion * jnp.log(slope(x[0])) + gap * x[0] / 2 * jnp.sum(
        weights * (y + a * jnp.tanh(b * y)) / slope(y)
    )
