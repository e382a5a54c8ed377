"""Gaussian mixtures as potentials:

p(x) = Σ_k w_k N(x; m_k, C_k) / Σ_k w_k,      U(x) = -log p(x)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_positive, is_concrete, raise_value_error
from ..core.types import Point, Scalar
from .base import StaticPotential
from .leaves import Value, as_leaf, check_definite, check_point


class GaussianMixture(StaticPotential):
    """U(x) = -log p(x) of a normalised mixture p of m Gaussians. At diffusion 1 the
    Gibbs density is p itself, Z = 1.

    **Arguments**
     * `means` (m, d).
     * `covariances`: one variance for all, (m,) one variance each, (m, d) variances per
       axis, or (m, d, d) matrices. A square array with two axes always means (m, d); to
       share one matrix, repeat it m times.
     * `weights` (m,), non-negative; they are normalised, and equal by default.

    **Raises** `ValueError` for shapes that do not match, variances that are not
    positive, matrices that are not symmetric positive definite, weights that are
    negative or all zero; when called, for x of a shape other than (d,).

    **Keeps**: ∫ exp(-U) dx = 1. **Cost**: O(m d) per point, O(m d²) with matrices
    (factorised at each call).

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import GaussianMixture

    GaussianMixture([[-2.0], [2.0]], 0.5, weights=[1.0, 3.0]).density(jnp.array([2.0]))
    ```
    """

    means: Array
    covariances: Array
    weights: Array

    def __init__(
        self, means: Value, covariances: Value = 1.0, weights: Value | None = None
    ):
        self.means = as_leaf(
            "means",
            means,
            (2,),
            cure="Give one row for each component: [[-1.0], [1.0]] for two in 1-D.",
        )
        m, d = self.means.shape
        if m == 0 or d == 0:
            raise_value_error(
                "means",
                means,
                f"its shape is {(m, d)}, and neither may be 0",
                "Give one row for each component.",
            )
        self.covariances = as_leaf("covariances", covariances, (0, 1, 2, 3))
        shapes = [(), (m,), (m, d), (m, d, d)]
        _check_shape("covariances", self.covariances, shapes, covariances)
        if self.covariances.ndim < 3:
            check_positive("covariances", covariances, "Give positive variances.")
        elif is_concrete(covariances):
            for matrix in np.asarray(covariances, dtype=float):
                check_definite("covariances", matrix)
        given = np.full(m, 1.0 / m) if weights is None else weights
        self.weights = as_leaf("weights", given, (1,))
        _check_shape("weights", self.weights, [(m,)], weights)
        if weights is not None and is_concrete(weights):
            array = np.asarray(weights)
            if np.any(array < 0) or not np.sum(array) > 0:
                allowed = "no weight may be negative, and at least one must be positive"
                raise_value_error(
                    "weights",
                    weights,
                    allowed,
                    "Give one non-negative number for each component.",
                )

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x) = -log p(x), a scalar, at the point x of shape (d,)."""
        m, d = self.means.shape
        check_point(x, d, "as the means have it")
        delta = x - self.means
        # Scale the distances to unit variance, by the Cholesky factor L, |L⁻¹ δ|² = δᵀ
        # C⁻¹ δ, or by widths per axis.
        covariances = self.covariances
        if covariances.ndim == 3:
            factor = jnp.linalg.cholesky(covariances)
            solved = jax.lax.linalg.triangular_solve(
                factor, delta[..., None], left_side=True, lower=True
            )
            delta = solved[..., 0]
            diagonals = jnp.diagonal(factor, axis1=-2, axis2=-1)
            log_det = 2 * jnp.sum(jnp.log(diagonals), axis=-1)
        else:
            # One variance a component is the same along all axes.
            columns = covariances[:, None] if covariances.ndim == 1 else covariances
            variances = jnp.broadcast_to(columns, (m, d))
            delta = delta / jnp.sqrt(variances)
            log_det = jnp.sum(jnp.log(variances), axis=-1)
        # Sum in logarithms: far from all means every exponential underflows, and the
        # logarithm of 0 is infinite.
        squares = jnp.sum(delta**2, axis=-1)
        exponents = -0.5 * (squares + log_det + d * jnp.log(2 * jnp.pi))
        log_sum = jax.scipy.special.logsumexp(exponents, b=self.weights)
        # The weights are leaves, and are normalised here, also while they are trained.
        return jnp.log(jnp.sum(self.weights)) - log_sum

    def density(self, x: Point) -> Array:
        """p(x) = exp(-U(x)), a scalar, at the point x of shape (d,)."""
        return jnp.exp(-self(x))


def _check_shape(
    name: str, leaf: Array, shapes: list[tuple[int, ...]], value: Value | None
) -> None:
    """Raise `ValueError` for a shape that is not among `shapes`."""
    if leaf.shape not in shapes:
        allowed = " or ".join(map(str, shapes))
        raise_value_error(
            name,
            value,
            f"its shape is {leaf.shape}, it must be {allowed}",
            "Each row of means is one component.",
        )
