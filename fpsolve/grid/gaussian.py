"""`Gaussian`: the normal density, the usual initial density."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_numbers, check_positive, is_concrete, raise_value_error
from ..core.types import AnyArray, ArrayModule, Numbers
from .constants import CONSTANTS


class Gaussian(eqx.Module):
    """The normal density N(mean, covariance), a function of x.

        p(x) = exp( -(x - m)^T C^-1 (x - m) / 2 ) / sqrt( (2 pi)^d det C )

    **Arguments**: `mean` a number (any dimension) or `(d,)`; `covariance` a scalar
    variance, `(d,)` variances, or a `(d, d)` matrix, symmetric and positive definite.
    **Raises**: `ValueError` for a variance that is not positive or a matrix that is not
    symmetric and positive definite.

    ```python
    import fpsolve as fp

    start = fp.Gaussian([-1.0, 0.0], 0.04)
    ```
    """

    mean: Array
    covariance: Array

    def __init__(self, mean: Numbers, covariance: Numbers):
        # Values are checked if they are concrete; traced parameters (under grad, vmap)
        # pass.
        cure = "Give numbers, or arrays of them."
        if is_concrete(mean):
            mean = check_numbers(
                "Gaussian.mean", mean, "it must hold real numbers", cure
            )
            if not np.all(np.isfinite(mean)):
                raise_value_error(
                    "Gaussian.mean",
                    mean,
                    "every entry must be finite",
                    "Give finite numbers.",
                )
        if is_concrete(covariance):
            covariance = check_numbers(
                "Gaussian.covariance", covariance, "it must hold real numbers", cure
            )
            _check_covariance(covariance)
        self.mean = as_array(mean)
        self.covariance = as_array(covariance)
        if self.mean.ndim > 1:
            raise_value_error(
                "Gaussian.mean",
                mean,
                "it must be a number or of shape (d,)",
                "Flatten it.",
            )

    def log_density(self, x: Array) -> Array:
        """log p(x) for x of shape `(d,)`; a scalar."""
        d = x.shape[0]
        self.check_dimension(d)
        y = x - self.mean.astype(x.dtype)
        covariance = self.covariance.astype(x.dtype)
        # A solve and a log-determinant instead of an inverse and a determinant, which
        # may overflow or underflow.
        if covariance.ndim == 2:
            quadratic = y @ jnp.linalg.solve(covariance, y)
            log_determinant = jnp.linalg.slogdet(covariance)[1]
        else:
            variances = jnp.broadcast_to(covariance, (d,))
            quadratic = jnp.sum(y**2 / variances)
            log_determinant = jnp.sum(jnp.log(variances))
        return -(quadratic + log_determinant + d * math.log(2 * math.pi)) / 2

    def log_density_at(self, nodes: list[np.ndarray]) -> np.ndarray:
        """log p at all points of a tensor product of positions.

        It is computed by numpy, for concrete parameters only, so that nothing is
        compiled.
        """
        d = len(nodes)
        self.check_dimension(d)
        matrix = np.asarray(self.covariance)
        if matrix.ndim < 2:
            matrix = np.diag(np.broadcast_to(matrix, d))
        precision = np.linalg.inv(matrix)
        mean = np.broadcast_to(np.asarray(self.mean), d)
        # The distances from the mean along each axis, in shapes that broadcast to the
        # grid. Only `log_density` has the size of the grid; an array of all points
        # would be d times as large.
        delta = [
            (x - m).reshape(-1, *[1] * (d - 1 - i))
            for i, (x, m) in enumerate(zip(nodes, mean, strict=True))
        ]
        _, log_determinant = np.linalg.slogdet(matrix)
        log_norm = log_determinant + d * math.log(2 * math.pi)
        log_density = np.full([len(x) for x in nodes], log_norm)
        for i in range(d):
            for j in range(i, d):
                # A term of zero is left out, because it costs a pass over the grid.
                if precision[i, j] != 0:
                    # An entry off the diagonal of the symmetric matrix counts twice.
                    factor = (1 if i == j else 2) * precision[i, j]
                    log_density += factor * delta[i] * delta[j]
        return -log_density / 2

    def variances(self, d: int, xp: ArrayModule = jnp) -> AnyArray:
        """The variance along each of d axes, `(d,)`; `xp` is numpy or jax.numpy."""
        covariance = xp.asarray(self.covariance)
        if covariance.ndim == 2:
            return xp.diag(covariance)
        return xp.broadcast_to(covariance, (d,))

    def check_dimension(self, d: int) -> None:
        """Raise `ValueError` if an array of this density has not the dimension d."""
        for name, array in (("mean", self.mean), ("covariance", self.covariance)):
            if array.ndim and array.shape[0] != d:
                raise_value_error(
                    f"Gaussian.{name}",
                    array.shape,
                    f"its dimension must be that of the grid, {d}",
                    "Give d numbers.",
                )

    def __call__(self, x: Array) -> Array:
        """p(x) for x of shape `(d,)`; a scalar, in units of 1 / volume."""
        return jnp.exp(self.log_density(x))


def _check_covariance(values: np.ndarray) -> None:
    """Raise `ValueError` unless these are variances or a covariance matrix."""
    if values.ndim < 2:
        check_positive(
            "Gaussian.covariance",
            values,
            "Give variances (squares of widths) above zero.",
        )
        return
    if not _is_positive_definite(values):
        raise_value_error(
            "Gaussian.covariance",
            values,
            "a matrix must be (d, d), symmetric and positive definite",
            "Give variances, or a covariance matrix.",
        )


def _is_positive_definite(values: np.ndarray) -> bool:
    """Whether an array is a symmetric matrix with eigenvalues above zero."""
    square = values.ndim == 2 and values.shape[0] == values.shape[1]
    if not square or not np.all(np.isfinite(values)):
        return False
    # Relative to the variances, not to the default of `allclose`, an absolute number.
    scale = np.max(np.abs(values), initial=0.0)
    asymmetry = np.max(np.abs(values - values.T), initial=0.0)
    if asymmetry > CONSTANTS.symmetry_tolerance * scale:
        return False
    return bool(np.all(np.linalg.eigvalsh(values) > 0))
