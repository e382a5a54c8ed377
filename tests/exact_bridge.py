"""Bridges between normal densities in closed form, and one by dense matrices of numpy.

Reference: Brownian motion of variance v = 2 D T in R^d, or an Ornstein-Uhlenbeck
process dX = -k X dt + sqrt(2D) dW. With marginals N(m_0, A) and N(m_1, B) the two ends
are normal with covariance

    C = (A^{1/2} Q A^{-1/2} - v 1) / 2,    Q = (4 A^{1/2} B A^{1/2} + v^2 1)^{1/2},

where v = (D/k)(1 - e^{-2kT}) e^{kT} for the second process: the precision of the ends
has -1/v between them. Between the ends X_t = a X_0 + b X_T + sqrt(g) Z with

    a = sinh k(T-t) / sinh kT,    b = sinh kt / sinh kT,
    g = 2 (D/k) sinh kt sinh k(T-t) / sinh kT;

for k = 0 these are 1 - t/T, t/T and 2 D t (T-t) / T.

References: Janati, Muzellec, Peyré and Cuturi, arXiv 2006.02572, theorem 1; Bunne,
Hsieh, Cuturi and Krause, arXiv 2202.05722, theorem 3.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg

import fpsolve as fp


@dataclasses.dataclass(frozen=True)
class NormalBridge:
    """The bridge from N(m_0, A) to N(m_1, B) in the time T; `stiffness` k of the
    reference.
    """

    mean_0: np.ndarray
    covariance_0: np.ndarray
    mean_1: np.ndarray
    covariance_1: np.ndarray
    diffusion: float
    total: float
    stiffness: float = 0.0

    @property
    def spread(self) -> float:
        """v."""
        k, T = self.stiffness, self.total
        return 2 * self.diffusion * (T if k == 0 else np.sinh(k * T) / k)

    @property
    def cross(self) -> np.ndarray:
        """C, the covariance of X_0 and X_T."""
        root = scipy.linalg.sqrtm(self.covariance_0).real
        one = np.eye(len(root))
        inner = scipy.linalg.sqrtm(
            4 * root @ self.covariance_1 @ root + self.spread**2 * one
        ).real
        return (root @ inner @ np.linalg.inv(root) - self.spread * one) / 2

    @property
    def contraction(self) -> float:
        """The square of the largest canonical correlation of the ends."""
        roots = [
            np.linalg.inv(scipy.linalg.sqrtm(c).real)
            for c in (self.covariance_0, self.covariance_1)
        ]
        return float(np.linalg.norm(roots[0] @ self.cross @ roots[1], 2) ** 2)

    def weights(self, t: float) -> tuple[float, float, float]:
        """a, b and g at time t."""
        k, T, D = self.stiffness, self.total, self.diffusion
        if k == 0:
            return 1 - t / T, t / T, 2 * D * t * (T - t) / T
        whole = np.sinh(k * T)
        first, last = np.sinh(k * (T - t)), np.sinh(k * t)
        return first / whole, last / whole, 2 * D / k * first * last / whole

    def law(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the covariance at time t."""
        a, b, g = self.weights(t)
        cross = self.cross
        covariance = (
            a**2 * self.covariance_0
            + b**2 * self.covariance_1
            + a * b * (cross + cross.T)
        )
        return a * self.mean_0 + b * self.mean_1, covariance + g * np.eye(len(cross))

    def density(self, t: float, grid: fp.Grid) -> np.ndarray:
        """p at time t."""
        mean, covariance = self.law(t)
        away = np.asarray(grid.points) - mean
        quadratic = np.einsum("...i,ij,...j", away, np.linalg.inv(covariance), away)
        return np.exp(-quadratic / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariance))

    def drift(self, t: float, points: np.ndarray) -> np.ndarray:
        """(E[X_T | X_t = x] - x) / (T - t) for Brownian motion, with its image under
        e^{-kt} for k > 0, `(..., d)`.
        """
        a, b, _ = self.weights(t)
        mean, covariance = self.law(t)
        end = a * self.cross + b * self.covariance_1  # Cov(X_t, X_T)
        expected = self.mean_1 + (points - mean) @ np.linalg.inv(covariance) @ end
        k, left = self.stiffness, self.total - t
        if k == 0:
            return (expected - points) / left
        # The drift of the reference, conditioned on its end:
        # k (E[X_T] - cosh(k s) x) / sinh(k s), s = T - t.
        return k * (expected - np.cosh(k * left) * points) / np.sinh(k * left)

    @property
    def cost(self) -> float:
        """KL(P | R) with R the reference from N(m_0, A)."""
        k, T, D = self.stiffness, self.total, self.diffusion
        decay = np.exp(-k * T)
        noise = 2 * D * T if k == 0 else D / k * (1 - decay**2)
        slope = self.cross.T @ np.linalg.inv(self.covariance_0)
        rest = self.covariance_1 - slope @ self.cross
        away = slope - decay * np.eye(len(rest))
        shift = self.mean_1 - decay * self.mean_0
        apart = np.trace(away @ self.covariance_0 @ away.T) + shift @ shift
        one = np.linalg.slogdet(rest / noise)[1]
        return float((np.trace(rest) / noise - len(rest) - one + apart / noise) / 2)

    def solve(self, grid: fp.Grid, times: Any, **options: Any) -> Any:
        """The same by the library."""
        potential = None if self.stiffness == 0 else fp.Harmonic(self.stiffness)
        start = fp.Gaussian(self.mean_0, self.covariance_0)
        end = fp.Gaussian(self.mean_1, self.covariance_1)
        reference = fp.FokkerPlanck(potential, self.diffusion)
        return fp.bridge(
            reference, start, end, self.total, grid=grid, times=times, **options
        )


def random_bridge(seed: int, d: int, stiffness: bool = False) -> NormalBridge:
    """A bridge with random parameters that fits into [-6, 6]^d."""
    rng = np.random.default_rng(seed)

    def covariance() -> np.ndarray:
        factor = rng.normal(size=(d, d))
        turned = np.linalg.qr(factor)[0]
        return turned @ np.diag(rng.uniform(0.25, 0.8, d)) @ turned.T

    means = rng.uniform(-1, 1, (2, d))
    diffusion = rng.uniform(0.3, 1.5)
    total = rng.uniform(0.4, 1.2)
    k = rng.uniform(0.3, 1.5) if stiffness else 0.0
    return NormalBridge(
        means[0], covariance(), means[1], covariance(), diffusion, total, k
    )


def dense_bridge(
    potential: Any,
    curvature: Any,
    D: float,
    ends: tuple[Any, Any],
    total: float,
    times: Any,
    box: float,
    n: int,
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Nodes `(n,)`, densities `(T, n)`, cost and contraction on a line, by dense
    matrices of numpy.

    H = -D d^2 + (U')^2 / (4D) - U'' / 2 in the sinc basis of Colbert and Miller, J.
    Chem. Phys. 96 (1992) 1982, and Sinkhorn in plain numbers. `potential` gives (U,
    U'), `curvature` U''.
    """
    x = np.linspace(-box, box, n)
    h = x[1] - x[0]
    apart = np.subtract.outer(np.arange(n), np.arange(n))
    with np.errstate(divide="ignore"):
        kinetic = (
            np.where(apart == 0, np.pi**2 / 3, 2 * (-1.0) ** apart / apart**2.0)
            * D
            / h**2
        )
    energy, slope = potential(x)
    levels, modes = np.linalg.eigh(
        kinetic + np.diag(slope**2 / (4 * D) - curvature(x) / 2)
    )
    kernel = lambda t: modes * np.exp(-t * levels) @ modes.T
    rho = [end(x) / (h * np.sum(end(x))) for end in ends]
    whole = kernel(total)
    last = np.ones(n)
    # Where a marginal is below 1e-13 of its largest value, plain numbers know nothing
    # of its potential.
    kept = [r > 1e-13 * r.max() for r in rho]
    for _ in range(600):
        first = np.where(kept[0], rho[0] / (whole @ last), 0)
        last = np.where(kept[1], rho[1] / (whole @ first), 0)
    densities = np.stack(
        [(kernel(t) @ first) * (kernel(total - t) @ last) for t in times]
    )
    back = whole @ last
    log_end = np.log(np.where(last > 0, last, 1)) + energy / (2 * D)
    log_start = np.log(np.abs(back)) + energy / (2 * D)
    cost = h * np.sum(rho[1] * log_end - np.where(kept[0], rho[0] * log_start, 0))
    coupling = first[:, None] * whole * last
    normal = coupling[np.ix_(*kept)] / np.sqrt(
        np.outer(rho[0][kept[0]], rho[1][kept[1]])
    )
    return (
        x,
        densities,
        float(cost),
        float(np.linalg.svd(normal, compute_uv=False)[1] ** 2),
    )
