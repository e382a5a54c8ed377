"""The axes of one problem: their kinds, their box, and the nodes that each needs.

    box       where the initial density, the Gibbs density and all between have decayed: by marginal profiles
    spacing   what resolves the slices U(x_i = x; y) through several points y: the mode, the bulk, the initial density

Each slice is a problem in one dimension, solved on trial axes and compared with a finer
one. The stages are

    1  enclose      a generous box; an axis along which nothing confines but all repeats becomes periodic
    2  target       which states or levels an answer on each axis is compared by
    3  reference    a resolved answer on every slice
    4  box          the smallest box that costs a fifth of the tolerance
    5  nodes        the fewest nodes in it, on the slice that needs most
    6  verify       in several dimensions: whether `fp.evolve` would choose `fp.Spectral` on the grid
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from ..grid import Axis, Gaussian, Grid, Line, Periodic
from ..plan.companion import shared_size, with_shared_shape
from .accuracy_target import AccuracyTarget
from .bounding_box import NotConfining, period
from .constants import CONSTANTS
from .density_grid import fit_density_grid
from .domain import Bounds, Domain, SlicePoint, points_on_line
from .drive import fitted_times
from .request import FitRequest
from .sampled_equation import EquationSampler, mean_and_covariance
from .search import (
    Box,
    MakeAxis,
    Reference,
    Unresolved,
    compute_reference,
    fit_box,
    fit_nodes,
)
from .slice_problem import SliceProblem
from .targets import all_times, axis_targets
from .turn import check_turn
from .whole_grid import NoWave, check_between_nodes, fit_grid_by_measures, repair


class FittedAxes(NamedTuple):
    """A grid, its estimated relative error, and a description of how it was found."""

    grid: Grid
    error: float
    description: str


class ResolvedSlice(NamedTuple):
    """The problem of one slice, with its reference."""

    problem: SliceProblem
    reference: Reference


class FittedBox(NamedTuple):
    """The bounds of all axes, and for each axis the error that its box makes."""

    bounds: Bounds
    errors: list[float]


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
    margin = (
        CONSTANTS.moving_depth_margin if moving else CONSTANTS.reference_depth_margin
    )
    depth = np.log(1 / request.tol) + margin
    sampler = EquationSampler(request.equation, ndim)
    domain, generous = _enclose(sampler, request, like, depth)
    if sampler.reversible and not sampler.reversible_in(*generous, request.t):
        sampler = EquationSampler(request.equation, ndim, reversible=False)
        domain, generous = _enclose(sampler, request, like, depth)
    # A basis joins the ends of a line, and mass that passes from one well to another
    # there adds to what crosses the barriers: over a long time the ends must lie
    # deeper.
    slow = _depth_of_slow_relaxation(domain, generous, depth)
    if slow > 0:
        depth += slow
        domain, generous = _enclose(sampler, request, like, depth)
    if may_turn:
        check_turn(domain, generous)
    if ndim > 1 and (whole := _fit_whole(domain, request, generous, slow)) is not None:
        return whole
    slice_points = domain.slice_points(*generous)

    # 2: the target of each axis. Without times, some stand for all times.
    times = request.times
    if request.initial is not None and times is None:
        times = all_times(domain, slice_points[0], generous, depth)
    if times is not None:
        times = fitted_times(domain.sampler, times, generous)
    targets = axis_targets(domain, slice_points[0], generous, times)

    # 3 to 5: references on all slices, the box, and the nodes in it.
    slices = [
        [
            _resolve_slice(targets[i], domain, i, y, depth, generous)
            for y in slice_points
        ]
        for i in range(ndim)
    ]
    box = _fit_box(domain, targets, slices, generous)
    fitted = _fit_nodes(domain, targets, slices, box)
    # 6: in one dimension the slice is the whole problem, which was verified as it was
    # fitted.
    if ndim == 1:
        return fitted
    return fitted._replace(
        grid=with_shared_shape(_verify_spectral(domain, fitted.grid))
    )


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
    grid, error = with_shared_shape(found[0]), found[1]
    error += CONSTANTS.whole_box_factor * float(np.exp(slow - depth))
    check_between_nodes(domain.sampler, request, grid)
    return FittedAxes(
        grid, error, "; ".join(f"{axis!r} by all points" for axis in grid.axes)
    )


# Stage 1: a box that contains everything.


def _enclose(
    sampler: EquationSampler, request: FitRequest, like: Grid | None, depth: float
) -> tuple[Domain, Bounds]:
    """The domain with the kinds of its axes, and a generous box. **Raises**
    `NotConfining`.
    """
    # Any box will do to begin with, but on an axis whose bounds are given.
    ndim = sampler.ndim
    kinds: list[type[Axis]] = (
        [Line] * ndim if like is None else [type(axis) for axis in like.axes]
    )
    lower, upper = np.full(ndim, -1.0), np.full(ndim, 1.0)
    if like is not None:
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
            kinds[i], lower[i], upper[i] = (
                Periodic,
                middle - length / 2,
                middle + length / 2,
            )


def _depth_of_slow_relaxation(domain: Domain, generous: Bounds, depth: float) -> float:
    """How much deeper the ends of a static box must lie, in log pi, for a run so long
    that barriers are crossed.

    The rate of a barrier of height b in log pi is about k e^{-b}, with k the rate of
    relaxation in a well. In a time t the joint of the ends must let through less than
    the tolerance if k t < e^b, and else less than the barrier does.
    """
    request, sampler = domain.request, domain.sampler
    times, moving = request.times, sampler.equation.time_dependent
    if (
        times is None
        or request.initial is None
        or moving
        or not domain.confined
        or not sampler.reversible
    ):
        return 0.0
    lower, upper = generous
    # In the wells a parabola that falls by `depth` over half of the box.
    diffusion = np.max(
        sampler.values((lower + upper)[None] / 2, request.t).diffusion[0]
    )
    rate = (
        2
        * depth
        * diffusion
        / np.min((upper - lower) / 2, initial=np.inf, where=~domain.fixed) ** 2
    )
    crossed = np.log(max(rate * float(times[-1]), 1.0))
    # The margin of a box is enough for a shorter run.
    if crossed < CONSTANTS.least_crossing:
        return 0.0
    barrier = max(
        (
            _highest_barrier(domain.gibbs_profile(i, lower, upper))
            for i in _free_axes(domain)
        ),
        default=0.0,
    )
    return float(min(barrier, crossed)) if barrier > CONSTANTS.least_barrier else 0.0


def _highest_barrier(log_density: np.ndarray) -> float:
    """The greatest depth of a valley of a density on a line below the lower one of the
    peaks on its two sides.
    """
    peak_before = np.maximum.accumulate(log_density)
    peak_after = np.maximum.accumulate(log_density[::-1])[::-1]
    return float(np.max(np.minimum(peak_before, peak_after) - log_density))


def _axis_period(sampler: EquationSampler, axis: int, t: float) -> float | None:
    """The period of the energy along an axis, the same on several random lines; None if
    there is none.
    """
    lengths = []
    for y in np.random.default_rng(1).uniform(
        -1, 1, (CONSTANTS.period_slices, sampler.ndim)
    ):

        def energy(x: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return sampler.energy(points_on_line(y, axis, x), t)

        lengths.append(period(energy))
    found = [length for length in lengths if length is not None]
    if (
        len(found) < CONSTANTS.period_slices
        or np.ptp(found) >= CONSTANTS.period_tolerance * found[0]
    ):
        return None
    return found[0]


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
    problem = domain.slice_problem(i, y)
    lower, upper = generous[0][i], generous[1][i]
    if domain.ndim > 1 and problem.reversible:
        lower, upper = domain.slice_interval(i, y.point, depth, problem)
    elif domain.ndim > 1 and problem.evolves_density and not domain.fixed[i]:
        # A force that is no gradient pushes along a fixed line for all times, which no
        # trajectory stays on for long.
        extension = CONSTANTS.irreversible_widening * (upper - lower)
        lower, upper = lower - extension, upper + extension
    # In one dimension the slice is the problem itself, and a dense look at it is a look
    # at the whole.
    features = domain.request.places(1)[:, 0] if domain.ndim == 1 else None
    make = _axis_maker(domain, i)
    try:
        return ResolvedSlice(
            problem, compute_reference(target, problem, make, lower, upper, features)
        )
    except Unresolved:
        # A wave blows up where a drive moves sqrt(pi) far: the density itself does not.
        if not (
            problem.time_dependent and problem.evolves_density and problem.reversible
        ):
            raise
    problem = dataclasses.replace(problem, reversible=False)
    return ResolvedSlice(
        problem, compute_reference(target, problem, make, lower, upper, features)
    )


def _axis_maker(domain: Domain, i: int) -> MakeAxis:
    kind = domain.kinds[i]
    return lambda lower, upper, n: kind(float(lower), float(upper), n)


# Stage 4: the box.


def _fit_box(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    generous: Bounds,
) -> FittedBox:
    """The smallest box that each axis allows; axes that are fixed keep their bounds and
    make no error.
    """
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
    if (
        domain.confined
        and requested is not None
        and fitted is not None
        and fitted[-1] < requested[-1]
    ):
        low, high = domain.gibbs_box(box.depth, *generous)
        lower, upper = np.minimum(lower, low), np.maximum(upper, high)
    return FittedBox((lower, upper), [0.0])


def _box_by_potential_profiles(
    domain: Domain, targets: list[AccuracyTarget], generous: Bounds
) -> FittedBox:
    """For a Schrodinger equation: the box of the modes of each axis' marginal profile,
    which are at least as wide as those of any slice.
    """
    lower, upper = generous[0].copy(), generous[1].copy()
    errors = [0.0] * domain.ndim
    for i in _free_axes(domain):
        problem = domain.profile_problem(i, *generous)
        # One axis of a fixed size: each node of a profile is a minimisation, which is
        # too slow for a refinement.
        axis = Line(
            float(generous[0][i]), float(generous[1][i]), CONSTANTS.well_profile_nodes
        )
        answer = targets[i].answer(problem, axis)
        box = fit_box(
            targets[i], problem, Reference(axis, answer, targets[i].envelope(answer))
        )
        lower[i], upper[i], errors[i] = box.lower, box.upper, box.error
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
    for i in _free_axes(domain):
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
    return FittedBox(
        bounds, [max((box.error for box in row), default=0.0) for row in boxes]
    )


def _gibbs_depth(resolved: ResolvedSlice, box: Box) -> float:
    """How far log pi has fallen below its maximum at the ends of a box, at the deeper
    end.
    """
    inside = resolved.problem.values(resolved.reference.axis.nodes, 0.0).log_gibbs
    ends = resolved.problem.values(np.asarray([box.lower, box.upper]), 0.0).log_gibbs
    return float(np.max(inside) - np.min(ends))


def _free_axes(domain: Domain) -> list[int]:
    return [int(i) for i in np.flatnonzero(~domain.fixed)]


# Stage 5: the nodes.


def _fit_nodes(
    domain: Domain,
    targets: list[AccuracyTarget],
    slices: list[list[ResolvedSlice]],
    box: FittedBox,
) -> FittedAxes:
    """The grid in a given box, the error of box and spacing summed over the axes, and a
    description.
    """
    lower, upper = box.bounds
    axes, descriptions = [], []
    error = 0.0
    for i in range(domain.ndim):
        spacing, spacing_error = _finest_spacing(domain, i, targets[i], slices[i], box)
        error += spacing_error + box.errors[i]
        # The spacing is a quotient of floats; the margin keeps rounding from adding a
        # node.
        n = int(np.ceil((upper[i] - lower[i]) / spacing * (1 - 1e-9)))
        n = shared_size(max(n, CONSTANTS.fewest_nodes))
        axes.append(_axis_maker(domain, i)(float(lower[i]), float(upper[i]), n))
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
    """The smallest spacing that a slice of axis i needs, and the largest error among
    the slices.
    """
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
