"""Distances between two sets of samples, in any dimension.

    MMD²       E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|²/(2 h²))
    Fréchet    |μ_a - μ_b|² + tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½),
               the squared Wasserstein distance of two Gaussians

x, x' are drawn from one density, y, y' from the other, (d,); μ and C are means and
covariances of feature vectors, (m,). Pairs of a sample with itself are left out: the
mean of the first is then exactly MMD², but the estimate may be below 0.

References: Gretton, Borgwardt, Rasch, Schölkopf and Smola, JMLR 13 (2012) 723, eq. 3;
Dowson and Landau, Journal of Multivariate Analysis 12 (1982) 450; Heusel et al.,
NeurIPS 2017 (FID).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_positive, is_concrete, raise_value_error
from ...core.types import Numbers, Real
from ..constants import CONSTANTS
from .validation import check_samples

ROWS = 64  # rows of the kernel matrix that are formed at a time: bounds the memory


def mmd(samples: Numbers, others: Numbers, *, bandwidth: Real | None = None) -> Array:
    """The squared maximum mean discrepancy of two densities, unbiased, with a Gaussian
    kernel.

    **Arguments**: `samples` `(n, d)` and `others` `(m, d)`; `bandwidth`, h, the median
    distance between two of all samples if None (of 1000 of either at most): give one to
    compare several densities with the same data.

    **Returns** a scalar, MMD², whose mean is 0 where the densities agree; it may then
    be negative. **Raises** `ValueError` for samples that are not finite, too few, or of
    different dimensions, a bandwidth that is not positive.

    **Cost**: (n + m)² d operations, memory for 64 rows of them.

    **Reference**: Gretton et al., JMLR 13 (2012) 723, eq. 3.

    ```python
    import jax
    from fpsolve.score.samples.quality import mmd

    first, second = jax.random.normal(jax.random.key(0), (2, 500, 3))
    mmd(first, second), mmd(first, second + 1.0)
    ```
    """
    x, y = _pair("samples", samples, "others", others)
    length = median_distance(x, y) if bandwidth is None else bandwidth
    cure = "Give a length, or None for the median distance."
    check_positive("bandwidth", length, cure)
    return _mmd(x, y, jnp.asarray(length, x.dtype))


def median_distance(samples: Numbers, others: Numbers) -> Array:
    """The median distance between two of all samples, `(n, d)` and `(m, d)`, or of 1000
    of either; a scalar.
    """
    x, y = _pair("samples", samples, "others", others)
    # Every k-th sample, with the k that leaves at most so many: -(-n // m) rounds up.
    most = CONSTANTS.median_points
    some_x = x[:: -(-len(x) // most)]
    some_y = y[:: -(-len(y) // most)]
    both = jnp.concatenate([some_x, some_y])
    # Each pair once, and no sample with itself.
    i, j = np.triu_indices(len(both), 1)
    return jnp.sqrt(jnp.median(_squares(both, both)[i, j]))


def frechet_distance(features_a: Numbers, features_b: Numbers) -> Array:
    """The Fréchet distance of two sets of feature vectors as in the FID: squared,
    between the Gaussians that fit them.

    **Arguments**: `features_a` `(n, m)`, `features_b` `(k, m)`: features of the samples
    by a classifier, or the samples themselves.

    **Returns** a scalar, 0 or more: squared, in the units of the features. It is biased
    upwards by O(m/n): compare only sets of equal sizes. **Raises** `ValueError` for
    vectors that are not finite, too few, or of different lengths. **Keeps**: it is
    symmetric, and unchanged by shifts and rotations of the features. **Cost**: (n + k)
    m² + m³.

    **Reference**: Dowson and Landau (1982); Heusel et al., NeurIPS 2017.

    ```python
    import jax
    from fpsolve.score.samples.quality import frechet_distance

    first, second = jax.random.normal(jax.random.key(0), (2, 500, 3))
    frechet_distance(first, second), frechet_distance(first, second + 1.0)
    ```
    """
    return _frechet(*_pair("features_a", features_a, "features_b", features_b))


def _pair(
    name: str, one: Numbers, other_name: str, other: Numbers
) -> tuple[Array, Array]:
    """Both as arrays of floats. **Raises** `ValueError` unless they have the same
    dimension; traced arrays pass.
    """
    if is_concrete(one, other):
        one, other = check_samples(one, name), check_samples(other, other_name)
        if one.shape[1] != other.shape[1]:
            allowed = f"it must have {one.shape[1]} columns, as {name} has"
            cure = "Compare samples of one space."
            raise_value_error(f"{other_name}.shape", other.shape, allowed, cure)
    one, other = jnp.asarray(one), jnp.asarray(other)
    # Integers become floats; else the wider of the two types is kept.
    dtype = jnp.result_type(one, other)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return one.astype(dtype), other.astype(dtype)


def _squares(x: Array, y: Array) -> Array:
    """|x_i - y_j|², (n, m)."""
    # By a product of matrices, whose cancellation can make a small square negative.
    x_squares = jnp.sum(x**2, axis=1)[:, None]
    y_squares = jnp.sum(y**2, axis=1)
    squares = x_squares + y_squares - 2 * x @ y.T
    return jnp.maximum(squares, 0)


@jax.jit
def _mmd(x: Array, y: Array, bandwidth: Array) -> Array:
    """MMD², a scalar."""
    # Centred: the squares in `_squares` cancel less.
    center = jnp.mean(y, axis=0)
    x, y = (x - center) / bandwidth, (y - center) / bandwidth

    def total(x: Array, y: Array) -> Array:
        """The sum of the kernel over all pairs."""

        def row(one: Array) -> Array:
            return jnp.sum(jnp.exp(-_squares(one[None], y) / 2))

        return jnp.sum(jax.lax.map(row, x, batch_size=ROWS))

    n, m = len(x), len(y)
    # A pair of a sample with itself has the kernel 1: n and m of them are taken off.
    within_x = (total(x, x) - n) / (n * (n - 1))
    within_y = (total(y, y) - m) / (m * (m - 1))
    return within_x + within_y - 2 * total(x, y) / (n * m)


@jax.jit
def _frechet(a: Array, b: Array) -> Array:
    """The squared Wasserstein distance of the two Gaussians with these means and
    covariances, a scalar.
    """
    mean_a = jnp.mean(a, axis=0)
    mean_b = jnp.mean(b, axis=0)
    centred_a = a - mean_a
    centred_b = b - mean_b
    covariance_a = centred_a.T @ centred_a / (len(a) - 1)
    covariance_b = centred_b.T @ centred_b / (len(b) - 1)
    # Eigenvalues of covariances that are zero come out negative by rounding.
    values, axes = jnp.linalg.eigh(covariance_a)
    sqrt_a = axes * jnp.sqrt(jnp.maximum(values, 0)) @ axes.T
    common = jnp.linalg.eigvalsh(sqrt_a @ covariance_b @ sqrt_a)
    overlap = jnp.sum(jnp.sqrt(jnp.maximum(common, 0)))
    shift = jnp.sum((mean_a - mean_b) ** 2)
    distance = shift + jnp.trace(covariance_a + covariance_b) - 2 * overlap
    # A difference of equal numbers may round to less than zero.
    return jnp.maximum(distance, 0)
