"""Turned coordinates: where a density is a narrow ridge that lies across the axes, a
grid along the ridge is smaller.

    x = R y,    R the eigenvectors of the covariance of the Gibbs density,
                or of that which a normal density reaches

With one number D the noise is the same in all directions, so that y follows the same
equation with U(R y). A normal density of covariance C takes, along an axis, nodes in
proportion to its length and to its highest wavenumber,

    n_i  ~  sqrt( C_ii (C^-1)_ii ),

which is one where C is diagonal and up to the square root of its condition where it is
turned. Both covariances count, and the worse of the two: a grid must hold the transient
(`gaussian_prediction`) and the Gibbs density.

The number of products is that of the square root of the largest quantum potential in
the box, which in the corners of a box across a steep valley exceeds that in a box along
the valley by many orders.
"""

import numpy as np

from ..grid import Line
from .bounding_box import coarse_nodes, product_points
from .constants import CONSTANTS
from .domain import Bounds, Domain


class Turned(Exception):
    """The problem is to be solved in y, x = `matrix` y, with a rotation `(d, d)`."""

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix


def check_turn(domain: Domain, box: Bounds) -> None:
    """Raise `Turned` where turned coordinates save most of the work of a static,
    reversible process in a `box`.
    """
    sampler = domain.sampler
    prediction = domain.prediction
    # A rotation mixes the axes, so that all must be lines without bounds of their own.
    all_lines = all(kind is Line for kind in domain.kinds)
    if prediction is None or not domain.confined or not all_lines:
        return
    if not sampler.reversible or sampler.equation.time_dependent:
        return
    # One number D: with another noise on each axis, turned noise would be correlated.
    diffusion = sampler.equation.diffusion
    if callable(diffusion) or np.ndim(diffusion) > 0:
        return
    points = product_points(coarse_nodes(*box))
    heights = sampler.log_gibbs(points, domain.request.t)
    covariances = [prediction.covariances[-1]]
    if (of_gibbs := _gibbs_covariance(points, heights)) is not None:
        covariances.append(of_gibbs)

    depth = np.log(1 / domain.request.tol) + CONSTANTS.whole_depth_margin
    high = points[heights > np.max(heights) - depth]
    cell = (box[1] - box[0]) / CONSTANTS.scan_nodes[domain.ndim - 1]

    def work(matrix: np.ndarray) -> float:
        product = max(_work(matrix.T @ one @ matrix) for one in covariances)
        return product * np.sqrt(_largest_level(domain, high, cell, matrix))

    best = min((_rotation(one) for one in covariances), key=work)
    if work(np.eye(domain.ndim)) > CONSTANTS.worthwhile_turn * work(best):
        raise Turned(best)


def _largest_level(
    domain: Domain, high: np.ndarray, cell: np.ndarray, matrix: np.ndarray
) -> float:
    """About the largest eigenvalue of H on a grid along the columns of a rotation,
    around the coarse nodes `(P, d)` at which the Gibbs density is high, with a coarse
    `cell` `(d,)` beyond them.
    """
    y = high @ matrix
    lower = np.min(y, axis=0) - cell
    upper = np.max(y, axis=0) + cell
    points = product_points(coarse_nodes(lower, upper)) @ matrix.T
    values = domain.sampler.values(points, domain.request.t)
    largest = np.max(np.sum(values.potential_terms, axis=1))
    # Where V is not a number the work counts as infinite.
    potential_term = np.nan_to_num(largest, nan=np.inf)
    shortest = np.pi * CONSTANTS.turn_nodes / (upper - lower)
    kinetic_term = np.max(values.diffusion) * np.sum(shortest**2)
    return float(potential_term + kinetic_term)


def _gibbs_covariance(points: np.ndarray, heights: np.ndarray) -> np.ndarray | None:
    """The covariance of the Gibbs density `(d, d)` from its logarithm at coarse nodes;
    None where these do not resolve it.
    """
    mass = np.exp(heights - np.max(heights))
    mass = mass / np.sum(mass)
    centred = points - mass @ points
    covariance = (centred * mass[:, None]).T @ centred
    # A density that a few nodes hold is narrower than their distance, and its
    # covariance is that of the nodes.
    occupied_nodes = 1 / np.sum(mass**2)
    if occupied_nodes < CONSTANTS.least_covariance_nodes:
        return None
    if np.linalg.matrix_rank(covariance) < points.shape[1]:
        return None
    return covariance


def _rotation(covariance: np.ndarray) -> np.ndarray:
    """The eigenvectors of a covariance in columns, each close to the axis whose place
    it takes where one is.
    """
    vectors = np.linalg.eigh(covariance)[1]
    # Columns in the order of their largest entries, and of positive direction: a small
    # turn is close to the identity.
    axis_of_column = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors[:, np.argsort(axis_of_column, kind="stable")]
    vectors = vectors * np.where(np.diag(vectors) < 0, -1, 1)
    # A reflection would do as well, but is no rotation.
    if np.linalg.det(vectors) < 0:
        vectors[:, -1] = -vectors[:, -1]
    return vectors


def _work(covariance: np.ndarray) -> float:
    """The multiplications of one product with an operator, in units of those for a
    round density.
    """
    precision = np.linalg.inv(covariance)
    nodes = np.sqrt(np.diag(covariance) * np.diag(precision))
    return float(np.prod(nodes) * np.sum(nodes))
