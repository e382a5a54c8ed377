"""The axes of one problem: their kinds, their box, and the nodes that each needs.

    box       where the initial density, the Gibbs density and all between have decayed:
              by marginal profiles
    spacing   what resolves the slices U(x_i = x; y) through several points y: the mode,
              the bulk, the initial density

Each slice is a problem in one dimension, solved on trial axes and compared with a finer
one. The stages are

    1  enclose      a generous box; an axis along which nothing confines but all repeats
                    becomes periodic
    2  target       which states or levels an answer on each axis is compared by
    3  reference    a resolved answer on every slice
    4  box          the smallest box that costs a fifth of the tolerance
    5  nodes        the fewest nodes in it, on the slice that needs most
    6  verify       in several dimensions: whether `fp.evolve` would choose
                    `fp.Spectral` on the grid
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from ..grid import Axis, Grid
from ..plan.companion import shared_size, with_shared_shape
from .accuracy_target import AccuracyTarget
from .constants import CONSTANTS
from .density_grid import fit_density_grid
from .domain import Bounds, Domain
from .drive import fitted_times
from .enclosing_domain import depth_of_slow_relaxation, enclose
from .request import FitRequest
from .sampled_equation import EquationSampler
from .search import (
    MakeAxis,
    ResolvedSlice,
    Unresolved,
    compute_reference,
    fit_nodes,
)
from .slice_coefficients import SlicePoint, slice_problem
from .slice_points import slice_interval, slice_points
from .slice_problem import SliceProblem
from .smallest_box import FittedBox, smallest_box
from .targets import all_times, axis_targets
from .turn import check_turn
from .whole_grid import NoWave, check_between_nodes, fit_grid_by_measures, repair


class FittedAxes(NamedTuple):
    """A grid, its estimated relative error, and a description of how it was found."""

    grid: Grid
    error: float
    description: str


def fit_axes(
    request: FitRequest, like: Grid | None, ndim: int, may_turn: bool = False
) -> FittedAxes:
    """The grid for a request; the axes of `like` that are not `fp.Line` keep their
    kinds and bounds.

    **Raises** `Turned`, if it `may_turn`, where other coordinates suit the problem
    better.
    """
    # 1: a generous box, and the points through which slices go.
    # Where the potential moves, the boxes of many times are joined already, and far
    # from all of them a wave that is divided by one sqrt(pi) and multiplied by the next
    # amplifies rounding.
    moving = request.equation.time_dependent and request.initial is not None
    margin = CONSTANTS.reference_depth_margin
    if moving:
        margin = CONSTANTS.moving_depth_margin
    depth = np.log(1 / request.tol) + margin
    sampler = EquationSampler(request.equation, ndim)
    domain, generous = enclose(sampler, request, like, depth)
    if sampler.reversible and not sampler.reversible_in(*generous, request.t):
        sampler = EquationSampler(request.equation, ndim, reversible=False)
        domain, generous = enclose(sampler, request, like, depth)
    # A basis joins the ends of a line, and mass that passes from one well to another
    # there adds to what crosses the barriers: over a long time the ends must lie
    # deeper.
    slow = depth_of_slow_relaxation(domain, generous, depth)
    if slow > 0:
        depth += slow
        domain, generous = enclose(sampler, request, like, depth)
    if may_turn:
        check_turn(domain, generous)
    if ndim > 1 and (whole := _fit_whole(domain, request, generous, slow)) is not None:
        return whole
    points = slice_points(domain, *generous)

    # 2: the target of each axis. Without times, some stand for all times.
    times = request.times
    if request.initial is not None and times is None:
        times = all_times(domain, points[0], generous, depth)
    if times is not None:
        times = fitted_times(domain.sampler, times, generous)
    targets = axis_targets(domain, points[0], generous, times)

    # 3 to 5: references on all slices, the box, and the nodes in it.
    slices = [
        [_resolve_slice(targets[i], domain, i, y, depth, generous) for y in points]
        for i in range(ndim)
    ]
    box = smallest_box(domain, targets, slices, generous)
    fitted = _fit_nodes(domain, targets, slices, box)
    # 6: in one dimension the slice is the whole problem, which was verified as it was
    # fitted.
    if ndim == 1:
        return fitted
    verified = _verify_spectral(domain, fitted.grid)
    return fitted._replace(grid=with_shared_shape(verified))


def _fit_whole(
    domain: Domain, request: FitRequest, generous: Bounds, slow: float
) -> FittedAxes | None:
    """The grid for the states of a process without a force in several dimensions, by
    measures on all its points; None where they cannot decide, and slices must. `slow`
    is the depth that a slow relaxation adds.
    """
    equation = domain.sampler.equation
    if request.initial is None or equation.time_dependent or not domain.confined:
        return None
    if equation.irreversible_anywhere is not None:
        return None
    depth = np.log(1 / request.tol) + CONSTANTS.whole_depth_margin + slow
    box = domain.tighten(depth, *generous)
    has_wave = domain.sampler.reversible
    found = None
    if has_wave:
        try:
            found = fit_grid_by_measures(domain.sampler, request, domain.kinds, *box)
        except NoWave:
            has_wave = False
    # Without a wave the density itself is evolved.
    if not has_wave:
        found = fit_density_grid(
            domain.sampler, request, domain.prediction, domain.kinds, *box
        )
    if found is None:
        return None
    grid = with_shared_shape(found[0])
    # The box cuts off what lies below its depth.
    error = found[1] + CONSTANTS.whole_box_factor * float(np.exp(slow - depth))
    check_between_nodes(domain.sampler, request, grid)
    description = "; ".join(f"{axis!r} by all points" for axis in grid.axes)
    return FittedAxes(grid, error, description)


# Stage 3: references.


def _resolve_slice(
    target: AccuracyTarget,
    domain: Domain,
    i: int,
    y: SlicePoint,
    depth: float,
    generous: Bounds,
) -> ResolvedSlice:
    """The reference on the slice along axis i through one point, on an interval of its
    own in several dimensions.
    """
    problem = slice_problem(domain.sampler, domain.request, i, y)
    lower, upper = generous[0][i], generous[1][i]
    if domain.ndim > 1 and problem.reversible:
        lower, upper = slice_interval(domain, i, y.point, depth, problem)
    elif domain.ndim > 1 and problem.evolves_density and not domain.fixed[i]:
        # A force that is no gradient pushes along a fixed line for all times, which no
        # trajectory stays on for long.
        extension = CONSTANTS.irreversible_widening * (upper - lower)
        lower, upper = lower - extension, upper + extension
    # In one dimension the slice is the problem itself, and a dense look at it is a look
    # at the whole.
    features = domain.request.places(1)[:, 0] if domain.ndim == 1 else None
    make = _axis_maker(domain, i)

    def resolve(problem: SliceProblem) -> ResolvedSlice:
        reference = compute_reference(target, problem, make, lower, upper, features)
        return ResolvedSlice(problem, reference)

    try:
        return resolve(problem)
    except Unresolved:
        # A wave blows up where a drive moves sqrt(pi) far: the density itself does not.
        moving_wave = problem.evolves_density and problem.reversible
        if not (problem.time_dependent and moving_wave):
            raise
    return resolve(dataclasses.replace(problem, reversible=False))


def _axis_maker(domain: Domain, i: int) -> MakeAxis:
    kind = domain.kinds[i]
    return lambda lower, upper, n: kind(float(lower), float(upper), n)


# Stage 5: the nodes.


def _fit_nodes(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    box: FittedBox,
) -> FittedAxes:
    """The grid in a box, the errors of box and spacing summed, and a description."""
    lower, upper = box.bounds
    axes, descriptions = [], []
    error = 0.0
    for i in range(domain.ndim):
        spacing, spacing_error = _finest_spacing(domain, i, targets[i], slices[i], box)
        error += spacing_error + box.errors[i]
        # The spacing is a quotient of floats; the margin keeps rounding from adding a
        # node.
        cells = (upper[i] - lower[i]) / spacing
        n = int(np.ceil(cells * (1 - 1e-9)))
        n = shared_size(max(n, CONSTANTS.fewest_nodes))
        make = _axis_maker(domain, i)
        axes.append(make(float(lower[i]), float(upper[i]), n))
        count = len(slices[i])
        descriptions.append(f"{axes[-1]!r} by {count} slice{'s' if count > 1 else ''}")
    return FittedAxes(Grid(*axes), error, "; ".join(descriptions))


def _finest_spacing(
    domain: Domain,
    i: int,
    target: AccuracyTarget,
    slices: list[ResolvedSlice],
    box: FittedBox,
) -> tuple[float, float]:
    """The smallest spacing that a slice of axis i needs, and the largest error."""
    # In one dimension, and on an axis with given bounds, the slice has the box of the
    # answer, and the error found is that of box and spacing together. Else it has an
    # interval of its own, and the box has had its part of the error.
    in_final_box = domain.ndim == 1 or bool(domain.fixed[i])
    fraction = CONSTANTS.total_fraction if in_final_box else CONSTANTS.spacing_fraction
    make = _axis_maker(domain, i)
    spacing, error = np.inf, 0.0
    for problem, reference in slices:
        lower, upper = reference.axis.lower, reference.axis.upper
        if in_final_box:
            lower, upper = box.bounds[0][i], box.bounds[1][i]

        # The bounds as defaults: each function keeps those of its own turn of the loop.
        def with_nodes(n: int, lower: float = lower, upper: float = upper) -> Axis:
            return make(float(lower), float(upper), n)

        n, found = fit_nodes(target, problem, with_nodes, reference, fraction)
        spacing = min(spacing, (upper - lower) / n)
        error = max(error, found)
    return spacing, error


# Stage 6: the grid as a whole.


def _verify_spectral(domain: Domain, grid: Grid) -> Grid:
    """The grid, repaired until `fp.evolve` would choose `fp.Spectral` on it: what
    slices do not show, a full grid may.

    **Raises** `NoWave` where no repair is enough, `Unseen` for a feature between its
    nodes.
    """
    # A Schrodinger equation is solved by Spectral on every grid, and without a
    # potential no Gibbs density is measured.
    if not domain.confined:
        return grid
    repaired = repair(domain.sampler, domain.request, grid)
    check_between_nodes(domain.sampler, domain.request, repaired)
    return repaired
