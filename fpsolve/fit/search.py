"""The fewest nodes on one axis: first the box, on nodes that trial and reference share,
then the spacing.

    box      [a, b] is cut where the envelope max_t p has fallen to exp(-c);
             the least c whose error is allowed
    nodes    the least n in that box whose error is allowed

A reference is refined, and widened, until its own error is far below the tolerance.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..grid import Axis, Line
from .accuracy_target import AccuracyTarget
from .constants import CONSTANTS
from .dense_look import overlooked
from .slice_problem import SliceProblem

MakeAxis = Callable[[float, float, int], Axis]  # lower, upper, n


class Unresolved(Exception):
    """No number of nodes was enough: the numbers tried, and the error of each."""

    def __init__(self, sizes: list[int], errors: list[float]):
        self.sizes = sizes
        self.errors = errors


class BoxNotFound(Exception):
    """The envelope had not decayed at the ends of the widest box, which are `lower` and
    `upper`.
    """

    def __init__(self, lower: float, upper: float):
        self.lower = lower
        self.upper = upper


class Reference(NamedTuple):
    """A resolved answer on a wide and fine axis, and its envelope `(n,)`, the largest
    density at each node.
    """

    axis: Axis
    answer: Any
    envelope: np.ndarray


class ResolvedSlice(NamedTuple):
    """The problem of one slice, with its reference."""

    problem: SliceProblem
    reference: Reference


class Box(NamedTuple):
    """The bounds of a box, the depth c to which it reaches, and its error."""

    lower: float
    upper: float
    depth: float
    error: float


def compute_reference(
    target: AccuracyTarget,
    problem: SliceProblem,
    make: MakeAxis,
    lower: float,
    upper: float,
    features: np.ndarray | None = None,
) -> Reference:
    """A reference whose envelope has decayed at both ends of a `fp.Line`.

    With `features` `(m,)`, which may be empty, the reference has also seen what dense
    samples of the potential and of the initial state show. **Raises** `BoxNotFound`,
    `Unresolved`, `Unseen`.
    """
    for _ in range(CONSTANTS.most_widenings):
        reference = _refine(target, problem, make, lower, upper, features)
        allowed = target.tol * CONSTANTS.envelope_fraction * np.max(reference.envelope)
        not_decayed = reference.envelope[[0, -1]] > allowed
        if not reference.axis.unbounded or not not_decayed.any():
            return reference
        extension = CONSTANTS.widening * (upper - lower)
        lower = lower - extension * not_decayed[0]
        upper = upper + extension * not_decayed[1]
    raise BoxNotFound(lower, upper)


def _refine(
    target: AccuracyTarget,
    problem: SliceProblem,
    make: MakeAxis,
    lower: float,
    upper: float,
    features: np.ndarray | None,
) -> Reference:
    """A reference in one box, compared with a coarser one and with dense samples."""
    n = CONSTANTS.first_nodes
    sizes: list[int] = []
    errors: list[float] = []
    allowed_unseen = CONSTANTS.overlooked_fraction * target.tol
    while True:
        coarse = make(lower, upper, n)
        n = round(CONSTANTS.reference_refinement * n)
        axis = make(lower, upper, n)
        fine = target.answer(problem, axis)
        distance = target.error(problem, coarse, fine, forbid_clipping=True)
        error = distance + target.ground_level_error(problem, coarse)
        sizes.append(coarse.n)
        errors.append(error)
        # Rounding grows with n and may keep errors above the first limit; two in a row
        # show that refining is over.
        small = error < CONSTANTS.reference_fraction * target.tol
        repeated = CONSTANTS.repeated_reference_fraction * target.tol
        small_twice = len(errors) > 1 and max(errors[-2:]) < repeated
        if small or small_twice:
            reference = Reference(axis, fine, target.envelope(fine))
            if features is None:
                return reference
            missing = overlooked(
                problem, axis, target.times, features, reference.envelope
            )
            if missing.size <= allowed_unseen:
                return reference
            # More nodes may see it, if it is not too narrow for all that are allowed.
            too_narrow = missing.width * CONSTANTS.most_nodes < axis.length
            if n > CONSTANTS.most_nodes or too_narrow:
                raise missing.failure(axis)
        # More nodes do not help where rounding is all that is left.
        if left_to_rounding(errors):
            raise Unresolved(sizes, errors)
        # A wave that is divided by one sqrt(pi) and multiplied by the next may blow up;
        # more nodes do not help it.
        if problem.time_dependent and error > CONSTANTS.blown_up:
            raise Unresolved(sizes, errors)
        if n > CONSTANTS.most_nodes:
            # A feature too narrow for the nodes is a truer reason than errors that do
            # not decrease. Where these do, as at a kink, their order is the reason.
            if features is not None and not _decrease(sizes, errors):
                missing = overlooked(
                    problem, axis, target.times, features, target.envelope(fine)
                )
                resolved_length = CONSTANTS.cells_in_feature * axis.length
                narrow = missing.width * CONSTANTS.most_nodes < resolved_length
                if narrow and missing.size > allowed_unseen:
                    raise missing.failure(axis)
            raise Unresolved(sizes, errors)


def left_to_rounding(errors: Sequence[float]) -> bool:
    """Whether the errors of refined axes are small and no longer decrease."""
    last = list(errors[-3:])
    if len(last) < 3:
        return False
    return max(last) < CONSTANTS.rounding_error and min(last[1:]) >= last[0]


def _decrease(sizes: list[int], errors: list[float]) -> bool:
    """Whether the last errors decrease with the number of nodes at a clear order."""
    last = min(len(errors), CONSTANTS.errors_of_order)
    logarithms = np.log(np.maximum(errors[-last:], CONSTANTS.smallest_envelope))
    # The slope of a line through log error against log n; one point has none.
    order = 0.0
    if last > 1:
        order = -np.polyfit(np.log(sizes[-last:]), logarithms, 1)[0]
    is_small = min(errors[-last:]) < CONSTANTS.algebraic_error
    return bool(order > CONSTANTS.algebraic_order and is_small)


def fit_box(target: AccuracyTarget, problem: SliceProblem, reference: Reference) -> Box:
    """The smallest box, cut at edges of the reference's cells, whose error is at most
    `box_fraction` of the tolerance.

    Trial and reference share their nodes, so that only the box differs.
    """
    axis = reference.axis
    # An envelope that underflows has no logarithm.
    envelope = np.maximum(reference.envelope, CONSTANTS.smallest_envelope)
    depth_of_nodes = -np.log(envelope)
    allowed = CONSTANTS.box_fraction * target.tol
    # Only a reference that is itself resolved can demand this of its parts.
    must_resolve = problem.is_resolved(axis, target.times)

    def cut(depth: float) -> Axis:
        inside = np.flatnonzero(depth_of_nodes <= depth)
        first = max(0, inside[0] - 1)
        last = min(axis.n, inside[-1] + 2)
        n = max(CONSTANTS.fewest_nodes, int(last - first))
        return Line(float(axis.edges[first]), float(axis.edges[last]), n)

    @functools.cache  # the depth that is found is asked for once more
    def error_of(depth: float) -> float:
        return target.error(problem, cut(depth), reference.answer)

    @functools.cache
    def is_allowed(depth: float) -> bool:
        if error_of(depth) > allowed:
            return False
        return not must_resolve or problem.is_resolved(cut(depth), target.times)

    # A time-dependent problem is weighted by pi_t at all times, and all that the box
    # cuts off is an error: there the envelope itself must have fallen to the error
    # allowed.
    least = np.log(1 / allowed) if problem.time_dependent else 1.0
    depth = max(CONSTANTS.first_box_depth * np.log(1 / target.tol), least)
    deepest = float(np.max(depth_of_nodes))
    step = CONSTANTS.box_depth_step
    if is_allowed(depth):
        while depth - step > least and is_allowed(depth - step):
            depth -= step
    else:
        while depth < deepest and not is_allowed(depth):
            depth += step
        if is_allowed(depth - step / 2):
            depth -= step / 2
    box = cut(depth)
    return Box(box.lower, box.upper, depth, error_of(depth))


def fit_nodes(
    target: AccuracyTarget,
    problem: SliceProblem,
    make: Callable[[int], Axis],
    reference: Reference,
    fraction: float,
) -> tuple[int, float]:
    """The fewest nodes whose error is at most `fraction` of the tolerance, and that
    error; by bisection.
    """
    allowed = fraction * target.tol
    box = make(reference.axis.n)
    same_spacing = round(reference.axis.n * box.length / reference.axis.length)
    # Only a box that is resolved at the spacing of the reference can demand this of a
    # trial.
    fine = make(max(CONSTANTS.fewest_nodes, same_spacing))
    must_resolve = problem.is_resolved(fine, target.times)

    def error_of(n: int) -> float:
        found = target.error(problem, make(n), reference.answer)
        # A trial that is rejected anyway need not be examined.
        if not found <= allowed or not must_resolve:
            return found
        return found if problem.is_resolved(make(n), target.times) else np.inf

    low, high = CONSTANTS.fewest_nodes - 1, reference.axis.n
    error = error_of(high)
    while error > allowed and high < CONSTANTS.most_nodes:
        low, high = high, round(CONSTANTS.node_growth * high)
        error = error_of(high)
    # A bracket of 2 % is narrow enough: one node in fifty costs less than another dense
    # solve.
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        found = error_of(middle)
        if found <= allowed:
            high, error = middle, found
        else:
            low = middle
    if error > allowed:
        raise Unresolved([high], [error])
    return high, error
