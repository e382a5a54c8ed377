"""A normal density that follows the drift: where a start passes on its way.

    m' = b(m),     C' = J C + C J^T + 2 D,     J = db/dx at m

exact where the drift is linear. Elsewhere it is a guide to the box only: directions in which J repels count as neutral.
"""

import numpy as np

from .sampled_equation import Landscape

STEPS = 96
NEUTRAL = 1e-9  # by what a direction without a force is damped, so that a stationary covariance exists


def tube(landscape: Landscape, mean: np.ndarray, covariance: np.ndarray, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Means `(S, d)` and covariances `(S, d, d)` from t = 0 to `last`."""
    import scipy.linalg  # here, so that `import fpsolve` stays quick

    d, now = len(mean), 0.0
    means, covariances = [mean], [covariance]
    for t in np.unique(np.concatenate([np.geomspace(1e-5, 1, STEPS), np.linspace(0, 1, STEPS)[1:]])) * last:
        length, now = t - now, t
        drift, jacobian = (part[0] for part in landscape.slope(mean[None], now))
        values, vectors = np.linalg.eig(jacobian)
        calm = np.real(
            vectors @ np.diag(np.minimum(np.real(values), 0) + 1j * np.imag(values)) @ np.linalg.inv(vectors)
        )
        linear = np.zeros((d + 1, d + 1))
        linear[:d, :d], linear[:d, d] = calm * length, drift * length
        linear = scipy.linalg.expm(linear)
        damped, one = calm - NEUTRAL * np.eye(d), np.eye(d)
        noise = 2 * np.diag(landscape.local(mean[None], now).diffusion[0])
        still = np.linalg.solve(np.kron(damped, one) + np.kron(one, damped), -noise.ravel()).reshape(d, d)
        mean, decay = mean + linear[:d, d], linear[:d, :d]
        covariance = still + decay @ (covariance - still) @ decay.T
        if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(covariance)):
            break
        covariance = (covariance + covariance.T) / 2
        means.append(mean)
        covariances.append(covariance)
    return np.stack(means), np.stack(covariances)
