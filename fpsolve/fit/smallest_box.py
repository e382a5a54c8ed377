"""The smallest box of several axes whose error is within its part of the tolerance.

In one dimension the only slice is the problem itself, and its box is the answer. In
more, slices or marginal profiles say to which depth of log p a box must reach, and
marginal profiles say where that is.
"""

from typing import NamedTuple

import numpy as np

from ..grid import Line
from .accuracy_target import AccuracyTarget
from .constants import CONSTANTS
from .domain import Bounds, Domain
from .search import Box, Reference, ResolvedSlice, fit_box
from .slice_coefficients import profile_problem


class FittedBox(NamedTuple):
    """The bounds of all axes, and for each axis the error that its box makes."""

    bounds: Bounds
    errors: list[float]


def smallest_box(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    generous: Bounds,
) -> FittedBox:
    """The smallest box that each axis allows; fixed axes keep theirs, without error."""
    if domain.ndim == 1:
        return _box_of_one_axis(domain, targets, slices, generous)
    if not domain.sampler.evolves_density:
        return _box_by_potential_profiles(domain, targets, generous)
    return _box_by_depth(domain, targets, slices, generous)


def _box_of_one_axis(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    generous: Bounds,
) -> FittedBox:
    """The only slice is the problem itself, so its box is the answer. Its error is
    contained in that of the nodes, which are searched in this box.
    """
    if domain.fixed[0]:
        return FittedBox(generous, [0.0])
    only = slices[0][0]
    box = fit_box(targets[0], only.problem, only.reference)
    lower, upper = np.asarray([box.lower]), np.asarray([box.upper])
    requested, fitted = domain.request.times, targets[0].times
    # Where the fit has followed the first periods only, the Gibbs densities of all
    # times say where later states are.
    ends_early = (
        requested is not None and fitted is not None and fitted[-1] < requested[-1]
    )
    if domain.confined and ends_early:
        low, high = domain.gibbs_box(box.depth, *generous)
        lower = np.minimum(lower, low)
        upper = np.maximum(upper, high)
    return FittedBox((lower, upper), [0.0])


def _box_by_potential_profiles(
    domain: Domain, targets: list[AccuracyTarget], generous: Bounds
) -> FittedBox:
    """For a Schrodinger equation: the box of the modes of each axis' marginal profile,
    which are at least as wide as those of any slice.
    """
    lower, upper = generous[0].copy(), generous[1].copy()
    errors = [0.0] * domain.ndim
    # One axis of a fixed size: each node of a profile is a minimisation, which is too
    # slow for a refinement.
    nodes = CONSTANTS.well_profile_nodes
    for i in domain.free_axes:
        problem = profile_problem(
            domain.sampler, domain.request, i, *generous, domain.fixed
        )
        axis = Line(float(generous[0][i]), float(generous[1][i]), nodes)
        answer = targets[i].answer(problem, axis)
        reference = Reference(axis, answer, targets[i].envelope(answer))
        box = fit_box(targets[i], problem, reference)
        lower[i] = box.lower
        upper[i] = box.upper
        errors[i] = box.error
    return FittedBox((lower, upper), errors)


def _box_by_depth(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    generous: Bounds,
) -> FittedBox:
    """For a Fokker-Planck equation: slices say to which depth of log p a box must
    reach, and marginal profiles say where that is. A slice, being a conditional
    density, is narrower than the box must be.
    """
    # A few slices of each axis are enough to find the depth; all slices decide the
    # spacing.
    boxes: list[list[Box]] = [[] for _ in range(domain.ndim)]
    for i in domain.free_axes:
        for resolved in slices[i][: CONSTANTS.slices_for_box]:
            box = fit_box(targets[i], resolved.problem, resolved.reference)
            if targets[i].times is None:
                # The depth of a box of levels is that of their modes, which are wider
                # than the Gibbs density whose profile is followed below: the depth of
                # the latter at the ends of the box is what counts.
                box = box._replace(depth=_gibbs_depth(resolved, box))
            boxes[i].append(box)
    # The deepest of all, for every axis: a shallower box on another axis would cut the
    # same density.
    depths = [box.depth for row in boxes for box in row]
    bounds = domain.tighten(max(depths), *generous) if depths else generous
    errors = [max((box.error for box in row), default=0.0) for row in boxes]
    return FittedBox(bounds, errors)


def _gibbs_depth(resolved: ResolvedSlice, box: Box) -> float:
    """How far log pi has fallen below its maximum at the deeper end of a box."""
    nodes = resolved.reference.axis.nodes
    ends = np.asarray([box.lower, box.upper])
    inside = resolved.problem.values(nodes, 0.0).log_gibbs
    at_ends = resolved.problem.values(ends, 0.0).log_gibbs
    return float(np.max(inside) - np.min(at_ends))
