"""The points of a domain through which slices go, and how far the slices reach.

A grid must resolve the initial density, the Gibbs density and the transient between
them. Slices through the mode and the bulk of each stand for all of it.
"""

import numpy as np

from .bounding_box import coarse_nodes, find_box, product_points
from .constants import CONSTANTS
from .dense_look import spread_in_bulk
from .domain import Domain
from .gaussian_prediction import GaussianPrediction
from .marginal_profile import maximize_log_density
from .sampled_equation import log_normal
from .slice_coefficients import SlicePoint
from .slice_problem import SliceProblem


def slice_points(
    domain: Domain, lower: np.ndarray, upper: np.ndarray
) -> list[SlicePoint]:
    """Points through which slices go: in the initial density, along the transient, in
    the bulk of the Gibbs density, and at the minimum of a Schrodinger potential.
    """
    has_initial = domain.request.initial is not None
    log_initial_density = domain.log_initial if has_initial else None
    # In one dimension the only slice is the problem itself.
    if domain.ndim == 1:
        return [SlicePoint(np.zeros(1), log_initial_density)]
    points = product_points(coarse_nodes(lower, upper))
    found = []
    if log_initial_density is not None:
        heights = log_initial_density(points)
        count = CONSTANTS.initial_slices
        bulk = spread_in_bulk(points, heights, lower, upper, count)
        found += [SlicePoint(y, log_initial_density) for y in bulk]
    prediction = domain.prediction
    if prediction is not None:
        # Half-way in the steps, which is early in time, and at the end.
        steps = len(prediction.means)
        found += [_transient_slice(prediction, s) for s in (steps // 2, steps - 1)]
    # A force that is no gradient turns the density round; then -U says little about
    # where it is.
    follows_prediction = prediction is not None and not domain.sampler.reversible
    if domain.confined and not follows_prediction:
        for t in np.unique(domain.times[[0, -1]]):
            found += _gibbs_slices(domain, points, lower, upper, t)
    if not domain.sampler.evolves_density:
        found.append(SlicePoint(domain.energy_minimum(), None))
    return found


def _gibbs_slices(
    domain: Domain, points: np.ndarray, lower: np.ndarray, upper: np.ndarray, t: float
) -> list[SlicePoint]:
    """Slice points in the bulk of the Gibbs density of time t, its mode first."""
    sampler = domain.sampler
    log_gibbs = sampler.log_gibbs(points, t)
    highest = points[[np.argmax(log_gibbs)]]
    mode = maximize_log_density(sampler, highest, ~domain.fixed, t)
    # The mode comes first, whatever its height: the coarse grid may have missed it.
    candidates = np.concatenate([mode, points])
    heights = np.concatenate([[np.inf], log_gibbs])
    bulk = spread_in_bulk(candidates, heights, lower, upper, CONSTANTS.gibbs_slices)
    if domain.request.initial is None:
        return [SlicePoint(y, None) for y in bulk]

    def near_gibbs(x: np.ndarray) -> np.ndarray:
        # A power of pi: its wave is as smooth as that of a state late in the run, and
        # not constant.
        return CONSTANTS.near_gibbs_sharpness * sampler.log_gibbs(x, t)

    return [SlicePoint(y, near_gibbs) for y in bulk]


def _transient_slice(prediction: GaussianPrediction, step: int) -> SlicePoint:
    """The slice point at a predicted mean, with the normal density predicted there."""
    mean = prediction.means[step]
    covariance = prediction.covariances[step]
    return SlicePoint(mean, lambda x: log_normal(x, mean, covariance))


def slice_interval(
    domain: Domain, axis: int, y: np.ndarray, depth: float, problem: SliceProblem
) -> tuple[float, float]:
    """The interval on a slice through y where its own densities are within `depth` of
    their peaks.

    A slice far from the mode may need another interval than the box, which follows
    marginals.
    """
    if domain.fixed[axis]:
        return float(domain.lower[axis]), float(domain.upper[axis])
    # Any interval about the point will do to begin with: `find_box` widens it and
    # shrinks it.
    low = np.full(1, y[axis] - 1.0)
    high = np.full(1, y[axis] + 1.0)
    free = np.zeros(1, bool)
    boxes = []
    for t in domain.times if domain.confined else ():
        # t as a default: each function keeps the time of its own turn of the loop.
        def log_gibbs(x: np.ndarray, t: float = t) -> np.ndarray:
            return problem.values(x[:, 0], t - domain.request.t).log_gibbs

        boxes.append(find_box(log_gibbs, low, high, free, depth))
    if (initial := problem.initial) is not None:
        boxes.append(find_box(lambda x: initial(x[:, 0]), low, high, free, depth))
    least = min(box[0][0] for box in boxes)
    most = max(box[1][0] for box in boxes)
    return float(least), float(most)
