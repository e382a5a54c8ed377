"""The axes of one problem: their kinds, their box, and the nodes that each needs.

    box       where the initial density, the Gibbs density and all between have decayed: by marginal profiles
    spacing   what resolves the slices U(x_i = x; y) through several points y: the mode, the bulk, the initial density

Each slice is a problem in one dimension, solved on trial axes and compared with a finer one. The stages are

    1  enclose      a generous box; an axis along which nothing confines but all repeats becomes periodic
    2  target       which states or levels an answer on each axis is compared by
    3  reference    a resolved answer on every slice
    4  box          the smallest box that costs a fifth of the tolerance
    5  nodes        the fewest nodes in it, on the slice that needs most
    6  verify       in several dimensions: whether `fp.evolve` would choose `fp.Spectral` on the grid
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis, Gaussian, Grid, Line, Periodic
from ..plan import choose_scheme
from ..plan.validation import initial_field
from .accuracy_target import AccuracyTarget
from .bounding_box import NotConfining, period
from .constants import CONSTANTS
from .domain import Bounds, Domain, SlicePoint, points_on_line
from .request import FitRequest
from .sampled_equation import EquationSampler, mean_and_covariance
from .search import Box, MakeAxis, Reference, Unresolved, compute_reference, fit_box, fit_nodes
from .slice_problem import SliceProblem
from .targets import all_times, axis_targets


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


def fit_axes(request: FitRequest, like: Grid | None, ndim: int) -> FittedAxes:
    """The grid for a request; the axes of `like` that are not `fp.Line` keep their kinds and bounds."""
    # 1: a generous box, and the points through which slices go.
    depth = np.log(1 / request.tol) + CONSTANTS.reference_depth_margin
    domain, generous = _enclose(EquationSampler(request.equation, ndim), request, like, depth)
    slice_points = domain.slice_points(*generous)

    # 2: the target of each axis. Without times, some stand for all times.
    times = request.times
    if request.initial is not None and times is None:
        times = all_times(domain, slice_points[0], generous, depth)
    targets = axis_targets(domain, slice_points[0], generous, times)

    # 3 to 5: references on all slices, the box, and the nodes in it.
    slices = [[_resolve_slice(targets[i], domain, i, y, depth, generous) for y in slice_points] for i in range(ndim)]
    box = _fit_box(domain, targets, slices, generous)
    fitted = _fit_nodes(domain, targets, slices, box)
    # 6: in one dimension the slice is the whole problem, which was verified as it was fitted.
    if ndim == 1:
        return fitted
    return fitted._replace(grid=_verify_spectral(request, fitted.grid, fitted.error))


# Stage 1: a box that contains everything.


def _enclose(sampler: EquationSampler, request: FitRequest, like: Grid | None, depth: float) -> tuple[Domain, Bounds]:
    """The domain with the kinds of its axes, and a generous box. **Raises** `NotConfining`."""
    # Any box will do to begin with, but on an axis whose bounds are given.
    ndim = sampler.ndim
    kinds: list[type[Axis]] = [Line] * ndim if like is None else [type(axis) for axis in like.axes]
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
            # One axis after another becomes periodic, if it has a period; each time all is examined anew.
            i = failure.axis
            length = _axis_period(sampler, i, request.t)
            if length is None:
                raise
            # The period may begin anywhere; about a Gaussian, its density is not cut at the ends.
            middle = length / 2
            if isinstance(request.initial, Gaussian):
                middle = mean_and_covariance(request.initial, ndim)[0][i]
            kinds[i], lower[i], upper[i] = Periodic, middle - length / 2, middle + length / 2


def _axis_period(sampler: EquationSampler, axis: int, t: float) -> float | None:
    """The period of the energy along an axis, the same on several random lines; None if there is none."""
    lengths = []
    for y in np.random.default_rng(1).uniform(-1, 1, (CONSTANTS.period_slices, sampler.ndim)):

        def energy(x: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return sampler.energy(points_on_line(y, axis, x), t)

        lengths.append(period(energy))
    found = [length for length in lengths if length is not None]
    if len(found) < CONSTANTS.period_slices or np.ptp(found) >= CONSTANTS.period_tolerance * found[0]:
        return None
    return found[0]


# Stage 3: references.


def _resolve_slice(
    target: AccuracyTarget, domain: Domain, i: int, y: SlicePoint, depth: float, generous: Bounds
) -> ResolvedSlice:
    """The reference on the slice along axis i through one point, on an interval of its own in several dimensions."""
    problem = domain.slice_problem(i, y)
    lower, upper = generous[0][i], generous[1][i]
    if domain.ndim > 1 and problem.reversible:
        lower, upper = domain.slice_interval(i, y.point, depth, problem)
    elif domain.ndim > 1 and problem.evolves_density and not domain.fixed[i]:
        # A force that is no gradient pushes along a fixed line for all times, which no trajectory stays on for long.
        extension = CONSTANTS.irreversible_widening * (upper - lower)
        lower, upper = lower - extension, upper + extension
    return ResolvedSlice(problem, compute_reference(target, problem, _axis_maker(domain, i), lower, upper))


def _axis_maker(domain: Domain, i: int) -> MakeAxis:
    kind = domain.kinds[i]
    return lambda lower, upper, n: kind(float(lower), float(upper), n)


# Stage 4: the box.


def _fit_box(
    domain: Domain, targets: list[AccuracyTarget], slices: list[list[ResolvedSlice]], generous: Bounds
) -> FittedBox:
    """The smallest box that each axis allows; axes that are fixed keep their bounds and make no error."""
    if domain.ndim == 1:
        return _box_of_one_axis(domain, targets, slices, generous)
    if not domain.sampler.evolves_density:
        return _box_by_potential_profiles(domain, targets, generous)
    return _box_by_depth(domain, targets, slices, generous)


def _box_of_one_axis(
    domain: Domain, targets: list[AccuracyTarget], slices: list[list[ResolvedSlice]], generous: Bounds
) -> FittedBox:
    """The only slice is the problem itself, so its box is the answer. Its error is contained in that of the nodes,
    which are searched in this box."""
    if domain.fixed[0]:
        return FittedBox(generous, [0.0])
    only = slices[0][0]
    box = fit_box(targets[0], only.problem, only.reference)
    return FittedBox((np.asarray([box.lower]), np.asarray([box.upper])), [0.0])


def _box_by_potential_profiles(domain: Domain, targets: list[AccuracyTarget], generous: Bounds) -> FittedBox:
    """For a Schrodinger equation: the box of the modes of each axis' marginal profile, which are at least as wide as
    those of any slice."""
    lower, upper = generous[0].copy(), generous[1].copy()
    errors = [0.0] * domain.ndim
    for i in _free_axes(domain):
        problem = domain.profile_problem(i, *generous)
        # One axis of a fixed size: each node of a profile is a minimisation, which is too slow for a refinement.
        axis = Line(float(generous[0][i]), float(generous[1][i]), CONSTANTS.well_profile_nodes)
        answer = targets[i].answer(problem, axis)
        box = fit_box(targets[i], problem, Reference(axis, answer, targets[i].envelope(answer)))
        lower[i], upper[i], errors[i] = box.lower, box.upper, box.error
    return FittedBox((lower, upper), errors)


def _box_by_depth(
    domain: Domain, targets: list[AccuracyTarget], slices: list[list[ResolvedSlice]], generous: Bounds
) -> FittedBox:
    """For a Fokker-Planck equation: slices say to which depth of log p a box must reach, and marginal profiles say
    where that is. A slice, being a conditional density, is narrower than the box must be."""
    # A few slices of each axis are enough to find the depth; all slices decide the spacing.
    boxes: list[list[Box]] = [[] for _ in range(domain.ndim)]
    for i in _free_axes(domain):
        for resolved in slices[i][: CONSTANTS.slices_for_box]:
            boxes[i].append(fit_box(targets[i], resolved.problem, resolved.reference))
    # The deepest of all, for every axis: a shallower box on another axis would cut the same density.
    depths = [box.depth for row in boxes for box in row]
    bounds = domain.tighten(max(depths), *generous) if depths else generous
    return FittedBox(bounds, [max((box.error for box in row), default=0.0) for row in boxes])


def _free_axes(domain: Domain) -> list[int]:
    return [int(i) for i in np.flatnonzero(~domain.fixed)]


# Stage 5: the nodes.


def _fit_nodes(
    domain: Domain, targets: list[AccuracyTarget], slices: list[list[ResolvedSlice]], box: FittedBox
) -> FittedAxes:
    """The grid in a given box, the error of box and spacing summed over the axes, and a description."""
    lower, upper = box.bounds
    axes, descriptions = [], []
    error = 0.0
    for i in range(domain.ndim):
        spacing, spacing_error = _finest_spacing(domain, i, targets[i], slices[i], box)
        error += spacing_error + box.errors[i]
        # The spacing is a quotient of floats; the margin keeps rounding from adding a node.
        n = int(np.ceil((upper[i] - lower[i]) / spacing * (1 - 1e-9)))
        axes.append(_axis_maker(domain, i)(float(lower[i]), float(upper[i]), max(n, CONSTANTS.fewest_nodes)))
        descriptions.append(f"{axes[-1]!r} by {len(slices[i])} slices")
    return FittedAxes(Grid(*axes), error, "; ".join(descriptions))


def _finest_spacing(
    domain: Domain, i: int, target: AccuracyTarget, slices: list[ResolvedSlice], box: FittedBox
) -> tuple[float, float]:
    """The smallest spacing that a slice of axis i needs, and the largest error among the slices."""
    # In one dimension, and on an axis with given bounds, the slice has the box of the answer, and the error found is
    # that of box and spacing together. Else it has an interval of its own, and the box has had its part of the error.
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


def _verify_spectral(request: FitRequest, grid: Grid, error: float) -> Grid:
    """The grid, refined until `fp.evolve` would choose `fp.Spectral` on it: what slices do not show, a full grid may.

    **Raises** `Unresolved` where no refinement is enough and the density cannot be evolved as a wave. Where it can, the
    defect is accepted: the run is right, if not the quickest.
    """
    equation, t = request.equation, request.t
    if not isinstance(equation, FokkerPlanck):  # a Schrodinger equation is solved by Spectral on every grid
        return grid
    for_levels = request.initial is None
    wave_representable = True
    for _ in range(CONSTANTS.most_spectral_refinements):
        field = equation.gibbs(grid, t) if for_levels else initial_field(equation, grid, request.initial)
        times = jnp.asarray([t] if for_levels or request.times is None else request.times)
        chosen = choose_scheme(equation, grid, None, field, times, request.tol)
        if chosen.scheme.spectral:
            return grid
        wave_representable = chosen.wave_representable
        grid = grid.refine(CONSTANTS.spectral_refinement)
    if wave_representable:
        return grid
    raise Unresolved(list(grid.shape), [error])
