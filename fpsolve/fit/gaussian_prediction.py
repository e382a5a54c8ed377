"""Prediction of a transient: the mean m and covariance C of a normal density that
follows the drift b.

    m' = b(m),     C' = J C + C J^T + 2 D,     J = db/dx at m

This is the extended Kalman filter without measurements. It is exact where the drift is
linear. Elsewhere it only proposes a box: directions in which J repels are treated as
neutral, since a density cannot spread without bound in a potential that confines.

Reference: Jazwinski, Stochastic Processes and Filtering Theory (1970), on the extended
Kalman filter.
"""

from typing import NamedTuple

import numpy as np

from ..linear.matrix_exponential import exponential_on_host
from .constants import CONSTANTS
from .sampled_equation import EquationSampler


class GaussianPrediction(NamedTuple):
    """Means `(S, d)` and covariances `(S, d, d)` at times `(S,)`, the first at 0."""

    times: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def box(self, depth: float) -> tuple[np.ndarray, np.ndarray]:
        """The box `(d,)`, `(d,)` outside of which log p is below its maximum minus
        `depth` at all times.
        """
        variances = np.einsum("sii->si", self.covariances)
        width = np.sqrt(2 * depth * variances)
        lower = np.min(self.means - width, axis=0)
        upper = np.max(self.means + width, axis=0)
        return lower, upper

    def short_waves(self, wavenumbers: np.ndarray) -> np.ndarray:
        """The largest Fourier coefficient at a wavenumber `(d,)` along each axis,
        relative to the largest of all, at every time, `(S, d)`: exp(-k^2 v / 2) with v
        the variance along one axis where all other coordinates are given.
        """
        precisions = np.einsum("sii->si", np.linalg.inv(self.covariances))
        return np.exp(-(wavenumbers**2) / (2 * precisions))


def predict_gaussian(
    sampler: EquationSampler, mean: np.ndarray, covariance: np.ndarray, last: float
) -> GaussianPrediction:
    """The mean and covariance from t = 0 to `last`, with the drift linearised anew at
    each step.

    The prediction ends early where it is no longer finite.
    """
    d = len(mean)
    identity = np.eye(d)
    now = 0.0
    times = [now]
    means = [mean]
    covariances = [covariance]
    for t in _prediction_times() * last:
        length = t - now
        now = t
        # One point at a time: the arrays have a leading axis of length 1.
        drifts, jacobians = sampler.drift_and_jacobian(mean[None], now)
        contracting = _without_growth(jacobians[0])

        # One exponential of the affine map gives both the decay exp(J h) and the
        # displacement of the mean.
        affine = np.zeros((d + 1, d + 1))
        affine[:d, :d] = contracting * length
        affine[:d, d] = drifts[0] * length
        affine = exponential_on_host(affine)
        decay = affine[:d, :d]

        # The stationary covariance S solves J S + S J^T = -2 D, and C relaxes to it:
        # C = S + e^{Jh} (C - S) e^{Jh}^T. The damping keeps the system regular along
        # neutral directions.
        damped = contracting - CONSTANTS.neutral_damping * identity
        diffusion = sampler.values(mean[None], now).diffusion[0]
        noise = 2 * np.diag(diffusion)
        lyapunov = np.kron(damped, identity) + np.kron(identity, damped)
        stationary = np.linalg.solve(lyapunov, -noise.ravel()).reshape(d, d)
        mean = mean + affine[:d, d]
        excess = covariance - stationary
        covariance = stationary + decay @ excess @ decay.T
        if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(covariance)):
            break
        # Rounding makes it unsymmetric.
        covariance = (covariance + covariance.T) / 2
        times.append(now)
        means.append(mean)
        covariances.append(covariance)
    return GaussianPrediction(np.asarray(times), np.stack(means), np.stack(covariances))


def _prediction_times() -> np.ndarray:
    """Times in (0, 1]: in ratios for a quick start, evenly for what follows."""
    steps = CONSTANTS.prediction_steps
    geometric = np.geomspace(CONSTANTS.first_prediction_time, 1, steps)
    even = np.linspace(0, 1, steps)[1:]
    return np.unique(np.concatenate([geometric, even]))


def _without_growth(jacobian: np.ndarray) -> np.ndarray:
    """The matrix with the real parts of its eigenvalues at most zero."""
    values, vectors = np.linalg.eig(jacobian)
    damped = np.minimum(np.real(values), 0) + 1j * np.imag(values)
    # Complex eigenvalues come in pairs: the imaginary part of the product is rounding.
    return np.real(vectors @ np.diag(damped) @ np.linalg.inv(vectors))
