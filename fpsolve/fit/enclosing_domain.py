"""The domain of a problem in a generous box: the kinds of its axes, and how deep the
ends of the box must lie.

An axis along which nothing confines but all repeats becomes periodic. For a run so long
that a barrier of height b in log pi is crossed, the ends must lie deeper:

    rate of crossing  ~  k exp(-b),     k the rate of relaxation in a well
"""

import numpy as np

from ..grid import Axis, Gaussian, Grid, Line, Periodic
from .bounding_box import NotConfining, period
from .constants import CONSTANTS
from .domain import Bounds, Domain
from .request import FitRequest
from .sampled_equation import EquationSampler, mean_and_covariance
from .slice_coefficients import points_on_line


def enclose(
    sampler: EquationSampler, request: FitRequest, like: Grid | None, depth: float
) -> tuple[Domain, Bounds]:
    """The domain with the kinds of its axes, and a generous box. **Raises**
    `NotConfining`.
    """
    # Any box will do to begin with, but on an axis whose bounds are given.
    ndim = sampler.ndim
    kinds: list[type[Axis]] = [Line] * ndim
    lower, upper = np.full(ndim, -1.0), np.full(ndim, 1.0)
    if like is not None:
        kinds = [type(axis) for axis in like.axes]
        for i, axis in enumerate(like.axes):
            if kinds[i] is not Line:
                lower[i], upper[i] = axis.lower, axis.upper
    while True:
        domain = Domain(sampler, request, lower, upper, kinds)
        try:
            return domain, domain.bounding_box(depth)
        except NotConfining as failure:
            # One axis after another becomes periodic, if it has a period; each time all
            # is examined anew.
            i = failure.axis
            length = _axis_period(sampler, i, request.t)
            if length is None:
                raise
            # The period may begin anywhere; about a Gaussian, its density is not cut at
            # the ends.
            middle = length / 2
            if isinstance(request.initial, Gaussian):
                middle = mean_and_covariance(request.initial, ndim)[0][i]
            kinds[i] = Periodic
            lower[i] = middle - length / 2
            upper[i] = middle + length / 2


def _axis_period(sampler: EquationSampler, axis: int, t: float) -> float | None:
    """The period of the energy on several random lines along an axis; None without."""
    generator = np.random.default_rng(1)
    points = generator.uniform(-1, 1, (CONSTANTS.period_slices, sampler.ndim))
    lengths = []
    for y in points:
        # y as a default: each function keeps the point of its own turn of the loop.
        def energy(x: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return sampler.energy(points_on_line(y, axis, x), t)

        lengths.append(period(energy))
    found = [length for length in lengths if length is not None]
    if len(found) < CONSTANTS.period_slices:
        return None
    if np.ptp(found) >= CONSTANTS.period_tolerance * found[0]:
        return None
    return found[0]


def depth_of_slow_relaxation(domain: Domain, generous: Bounds, depth: float) -> float:
    """How much deeper the ends of a static box must lie, in log pi, for a run so long
    that barriers are crossed.

    The rate of a barrier of height b in log pi is about k e^{-b}, with k the rate of
    relaxation in a well. In a time t the joint of the ends must let through less than
    the tolerance if k t < e^b, and else less than the barrier does.
    """
    sampler = domain.sampler
    times = domain.request.times
    if times is None or domain.request.initial is None:
        return 0.0
    if sampler.equation.time_dependent or not sampler.reversible or not domain.confined:
        return 0.0
    lower, upper = generous
    # In the wells a parabola that falls by `depth` over half of the box.
    center = (lower + upper)[None] / 2
    diffusion = np.max(sampler.values(center, domain.request.t).diffusion[0])
    # Of axes that are all fixed the shortest half is infinite, and the rate zero.
    half = np.min((upper - lower) / 2, initial=np.inf, where=~domain.fixed)
    rate = 2 * depth * diffusion / half**2
    crossed = np.log(max(rate * float(times[-1]), 1.0))
    # The margin of a box is enough for a shorter run.
    if crossed < CONSTANTS.least_crossing:
        return 0.0
    barriers = [
        _highest_barrier(domain.gibbs_profile(i, lower, upper))
        for i in domain.free_axes
    ]
    barrier = max(barriers, default=0.0)
    return float(min(barrier, crossed)) if barrier > CONSTANTS.least_barrier else 0.0


def _highest_barrier(log_density: np.ndarray) -> float:
    """The greatest depth of a valley of a density on a line below the lower one of the
    peaks on its two sides.
    """
    peak_before = np.maximum.accumulate(log_density)
    peak_after = np.maximum.accumulate(log_density[::-1])[::-1]
    return float(np.max(np.minimum(peak_before, peak_after) - log_density))
