"""A schedule along a noising path as the noise levels that diffusion libraries take.

    X_λ = alpha(λ) X + sigma(λ) N(0, 1),     log-SNR = log(alpha^2 / sigma^2)
    beta_k = 1 - alpha_k^2 / alpha_{k-1}^2,  alpha_0 = 1:
             prod_{j <= k} (1 - beta_j) = alpha_k^2 to rounding
    sigma_k = sigma(λ_k) / alpha(λ_k)

at n evenly spaced times, without the noise-free end. Steps are counted from the
noise-free end, whichever it is.

References: Ho, Jain and Abbeel, NeurIPS 2020 (beta); Kingma et al., NeurIPS 2021
(log-SNR); Karras et al., NeurIPS 2022 (sigma).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_integer, is_concrete, raise_value_error
from ...core.types import Count, PotentialPath
from ..constants import CONSTANTS
from .monotone import Schedule


def log_snr(schedule: Schedule, path: PotentialPath, n: Count) -> Array:
    """log(alpha^2 / sigma^2) after each of n steps from the clean end, `(n,)`,
    descending; -inf where alpha is 0.

    **Arguments**: `schedule` t to λ; `path` with methods `alpha(lam)` and `sigma(lam)`,
    `fp.Noising` for one; `n` steps. **Raises** `ValueError` for a path without those,
    or no steps.
    """
    alpha, sigma = _levels(schedule, path, n)
    return 2 * (jnp.log(alpha) - jnp.log(sigma))


def beta(schedule: Schedule, path: PotentialPath, n: Count) -> Array:
    """The variances `(n,)` of n noising steps of a variance-preserving path, from the
    clean end; 1 where alpha is 0.

    **Arguments**: as `log_snr`. **Keeps**: `jnp.cumprod(1 - beta)` is alpha^2 at the n
    times, to rounding; beta in continuous time is -2 d log(alpha) / dt, and the sum of
    n steps approaches its integral. **Raises** `ValueError` also for a path that does
    not preserve the variance.
    """
    alpha, sigma = _levels(schedule, path, n)
    total = alpha**2 + sigma**2
    # Traced levels have no values to check.
    defect = 0.0
    if is_concrete(total):
        defect = np.max(np.abs(np.asarray(total) - 1))
    if defect > CONSTANTS.variance_tol:
        cure = "Use sigma, which every path has."
        raise_value_error(
            "path", path, "alpha^2 + sigma^2 must be 1 for beta to exist", cure
        )
    # Where alpha has become 0 there is nothing left to lose: beta is 1, not 0 / 0.
    squares = jnp.append(1.0, alpha**2)
    before, after = squares[:-1], squares[1:]
    return 1 - after / jnp.where(before > 0, before, 1)


def sigma(schedule: Schedule, path: PotentialPath, n: Count) -> Array:
    """The noise levels sigma / alpha `(n,)`, descending, as samplers in the
    variance-exploding frame take them.

    **Arguments**: as `log_snr`. Append a 0 for the clean end. **Raises** `ValueError`
    also where alpha vanishes.
    """
    alpha, sigma = _levels(schedule, path, n)
    if is_concrete(alpha) and not np.all(np.asarray(alpha) > 0):
        raise_value_error(
            "path",
            path,
            "alpha vanishes on it, where sigma / alpha is infinite",
            "End the path a little earlier.",
        )
    return (sigma / alpha)[::-1]


def _levels(schedule: Schedule, path: Any, n: Count) -> tuple[Array, Array]:
    """alpha and sigma `(n,)` after each step from the clean end."""
    n = check_integer("n", n, 1, "Give the number of steps.")
    for name in ("alpha", "sigma"):
        if not callable(getattr(path, name, None)):
            raise_value_error(
                "path",
                path,
                f"it must have a method {name}(lam)",
                "Give fp.Noising(mixture).",
            )
    _, lambdas = schedule.table(n)
    # A level that does not depend on λ may be returned as one number.
    alpha = jnp.broadcast_to(jnp.asarray(path.alpha(lambdas)), lambdas.shape)
    sigma = jnp.broadcast_to(jnp.asarray(path.sigma(lambdas)), lambdas.shape)
    # From the end with the larger signal-to-noise ratio, which is itself left out.
    starts_clean = alpha[0] / sigma[0] > alpha[-1] / sigma[-1]

    def from_clean(values: Array) -> Array:
        reverse = values[::-1]
        return jnp.where(starts_clean, values[1:], reverse[1:])

    return from_clean(alpha), from_clean(sigma)
