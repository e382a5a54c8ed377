"""Turned coordinates: where a density is a narrow ridge that lies across the axes, a grid along the ridge is smaller.

    x = R y,      R the eigenvectors of the covariance that a normal density reaches     (`gaussian_prediction`)

With one number D the noise is the same in all directions, so that y follows the same equation with U(R y). A normal
density of covariance C takes, along an axis, nodes in proportion to its length and to its highest wavenumber,

    n_i  ~  sqrt( C_ii (C^-1)_ii ),

which is one where C is diagonal and up to the square root of its condition where it is turned.
"""

import numpy as np

from ..grid import Line
from .constants import CONSTANTS
from .domain import Domain


class Turned(Exception):
    """The problem is to be solved in coordinates y with x = `matrix` y, a rotation `(d, d)`."""

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix


def check_turn(domain: Domain) -> None:
    """Raise `Turned` where turned coordinates save most of the work of a static, reversible process."""
    sampler, prediction = domain.sampler, domain.prediction
    if prediction is None or not domain.confined or any(kind is not Line for kind in domain.kinds):
        return
    diffusion = sampler.equation.diffusion
    if callable(diffusion) or np.ndim(diffusion) > 0 or not sampler.reversible or sampler.equation.time_dependent:
        return
    covariance = prediction.covariances[-1]
    matrix = _rotation(covariance)
    if _work(covariance) > CONSTANTS.worthwhile_turn * _work(matrix.T @ covariance @ matrix):
        raise Turned(matrix)


def _rotation(covariance: np.ndarray) -> np.ndarray:
    """The eigenvectors of a covariance in columns, each close to the axis whose place it takes where one is."""
    vectors = np.linalg.eigh(covariance)[1]
    # Columns in the order of their largest entries, and of positive direction: a small turn is close to the identity.
    vectors = vectors[:, np.argsort(np.argmax(np.abs(vectors), axis=0), kind="stable")]
    vectors = vectors * np.where(np.diag(vectors) < 0, -1, 1)
    # A reflection would do as well, but is no rotation.
    if np.linalg.det(vectors) < 0:
        vectors[:, -1] = -vectors[:, -1]
    return vectors


def _work(covariance: np.ndarray) -> float:
    """The multiplications of one product with an operator, in units of those for a round density."""
    nodes = np.sqrt(np.diag(covariance) * np.diag(np.linalg.inv(covariance)))
    return float(np.prod(nodes) * np.sum(nodes))
