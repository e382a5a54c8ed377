"""A dense look at other places than nodes: what a reference on one axis has not seen of
U and of the initial density.

    mass        integral of |pi - q|
    barriers    integral of q |q / pi - 1|
                integral of |1 / pi - 1 / q|, relative to that of 1 / q,
                over all wells and what is between them
    start       integral of |p - r|

    pi = exp(-U / D) / Z at dense places
    q   the same with U interpolated from the nodes of the reference
    r   the initial density interpolated from the nodes

U is interpolated from U, U' and U'' at the nodes by polynomials of degree 5, whose
error for a smooth U is of order h^6, and the initial density by the basis of the axis
(`interpolation`).
The places are the nodes shifted by random parts of a cell, and more beside the
`features` that a user named. A trap or a barrier that lies between two nodes shows in
these integrals; what is narrower than the distance of the places cannot be seen.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..core.types import Scalar
from ..grid import Axis
from ..operator.aliasing import short_wave_damping
from .constants import CONSTANTS
from .interpolation import STENCIL, hermite, hermite_of_four, interpolate
from .slice_problem import SliceProblem


class Unseen(Exception):
    """`name` ("potential" or "initial") has a feature at `position` of about `width`
    that no allowed number of nodes on [`lower`, `upper`] resolves. In several
    dimensions these are arrays `(d,)`, and the width is not known.
    """

    def __init__(
        self, name: str, position: Any, width: float, lower: Scalar, upper: Scalar
    ):
        self.name = name
        self.position = position
        self.width = width
        self.lower = lower
        self.upper = upper


class Overlooked(NamedTuple):
    """How much of `name` was overlooked, relative, and where: the largest part lies at
    `position`, `width` wide.
    """

    name: str
    size: float
    position: float
    width: float

    def failure(self, axis: Axis) -> Unseen:
        """The exception that says so."""
        return Unseen(self.name, self.position, self.width, axis.lower, axis.upper)


class Places(NamedTuple):
    """Positions `(m,)` in ascending order with their quadrature weights `(m,)`."""

    x: np.ndarray
    weights: np.ndarray


def wide_points(lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Points `(P, d)` in and far around a box: dense in it, and with a constant
    relative distance far from it.
    """
    generator = np.random.default_rng(2)
    count = CONSTANTS.wide_samples
    d = len(lower)
    half = (upper - lower) / 2
    # Latin hypercube: each axis has one sample in each of `count` equal parts, in a
    # random order.
    orders = [generator.permutation(count) for _ in range(d)]
    order = np.stack(orders, axis=1)
    unit = 2 * (order + generator.uniform(size=(count, d))) / count - 1
    # Evenly spaced arguments of sinh grow exponentially far from the center.
    stretched = np.sinh(np.arcsinh(CONSTANTS.wide_reach) * unit)
    far = (lower + upper) / 2 + half * stretched
    return np.where(fixed, lower + half * (1 + unit), far)


def random_points(
    lower: np.ndarray, upper: np.ndarray, features: np.ndarray
) -> np.ndarray:
    """Random points `(P, d)` in a box, and more beside the `features` `(m, d)`."""
    generator = np.random.default_rng(5)
    d = len(lower)
    length = upper - lower
    points = [lower + length * generator.uniform(size=(CONSTANTS.dense_samples, d))]
    for place in features:
        distances = _feature_distances()[:, None]
        # A normal vector has no preferred direction.
        directions = generator.normal(size=(CONSTANTS.feature_samples, d))
        norms = np.linalg.norm(directions, axis=1)[:, None]
        points.append(place + length * distances * directions / norms)
    points = np.concatenate(points)
    return points[np.all((points >= lower) & (points <= upper), axis=1)]


def _feature_distances() -> np.ndarray:
    """Distances from a feature, relative to the box, from far below those of all other
    samples up to 1.
    """
    return np.geomspace(CONSTANTS.nearest_sample, 1, CONSTANTS.feature_samples)


def corner_values(values: np.ndarray, left: list[np.ndarray]) -> np.ndarray:
    """Values `(*shape)` at the corners of the cells whose lower corners have the
    indices `left`, `(2^d, P)`.
    """
    at_corners = []
    for step in itertools.product((0, 1), repeat=values.ndim):
        corner = tuple(index + k for index, k in zip(left, step, strict=True))
        at_corners.append(values[corner])
    return np.stack(at_corners)


def overlooked(
    problem: SliceProblem,
    axis: Axis,
    times: np.ndarray | None,
    features: np.ndarray,
    envelope: np.ndarray,
) -> Overlooked:
    """The largest part of the potential or of the initial density that a reference on
    an axis has not seen.

    `features` `(m,)` are positions that a user named; `envelope` `(n,)` says where the
    states of a Schrodinger equation are.
    """
    places = dense_places(axis, features)
    moments = np.zeros(1)
    if problem.time_dependent and times is not None:
        moments = float(times[-1]) * np.asarray(CONSTANTS.look_times)
    found = [
        _overlooked_potential(problem, axis, places, float(t), envelope)
        for t in moments
    ]
    if times is not None and problem.initial is not None:
        found.append(_overlooked_initial(problem, axis, places, times))
    return max(found, key=lambda part: part.size)


def dense_places(axis: Axis, features: np.ndarray) -> Places:
    """Random places between the nodes of an axis, and close to `features`."""
    generator = np.random.default_rng(3)
    count = CONSTANTS.dense_samples
    # One random place in each of `count` equal parts.
    offsets = np.arange(count) + generator.uniform(size=count)
    x = axis.lower + axis.length * offsets / count
    # Beside each named position, at distances from far below the others up to the
    # length of the axis.
    distances = axis.length * _feature_distances()
    both_sides = np.concatenate([-distances, np.zeros(1), distances])
    near = np.add.outer(features, both_sides).ravel()
    near = near[(near >= axis.lower) & (near <= axis.upper)]
    x = np.unique(np.concatenate([x, near]))
    # Each place stands for what is closer to it than to its neighbours.
    middles = (x[1:] + x[:-1]) / 2
    borders = np.concatenate([[axis.lower], middles, [axis.upper]])
    return Places(x, np.diff(borders))


def _overlooked_potential(
    problem: SliceProblem, axis: Axis, places: Places, t: float, envelope: np.ndarray
) -> Overlooked:
    """What the interpolated potential lacks, in masses and barriers."""
    inside = (places.x > axis.nodes[0]) & (places.x < axis.nodes[-1])
    x = places.x[inside]
    weights = places.weights[inside]
    scale = problem.height_scale(axis, t)
    energy = problem.energy(axis.nodes, t)
    curve = scale * np.stack([energy, *problem.slopes(axis.nodes, t)])
    true = scale * problem.energy(x, t)
    seen = hermite(axis.nodes, curve, x)
    if axis.uniform and axis.n >= len(STENCIL):
        # Where a smooth potential is just resolved, the polynomials of degree 5 are not
        # accurate to small tolerances. What has a feature between the nodes is missed
        # by both.
        wider = hermite_of_four(axis.nodes, curve, x)
        is_closer = np.abs(wider - true) < np.abs(seen - true)
        seen = np.where(is_closer, wider, seen)
    if not problem.evolves_density:
        shape = np.interp(x, axis.nodes, envelope)
        parts = _overlooked_energy(true, seen, weights, shape)
        return _largest("potential", [parts], x)
    between = _between_wells(curve[0], axis.nodes, x, problem.tol)
    parts = _overlooked_masses(true, seen, weights, between)
    return _largest("potential", parts, x)


def _overlooked_energy(
    true: np.ndarray, seen: np.ndarray, weights: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """The change of the energy of states of a given `shape`, by place: the mean of the
    difference of two potentials, relative to the spread of the potential there.
    """
    # Where U is infinite both are: nothing is there.
    finite = np.isfinite(true) & np.isfinite(seen)
    shape = shape / np.sum(weights * shape)
    known = np.where(finite, seen, 0)
    mean = np.sum(weights * shape * known)
    spread = np.sum(weights * shape * np.abs(known - mean))
    difference = shape * np.abs(np.where(finite, true - seen, 0))
    # Where only one of the two is infinite, all of the shape counts.
    parts = np.where(finite, difference, np.where(true == seen, 0, shape))
    return weights * parts / max(spread, np.finfo(float).tiny)


def _overlooked_masses(
    true: np.ndarray, seen: np.ndarray, weights: np.ndarray, between: np.ndarray
) -> list[np.ndarray]:
    """The differences of two Gibbs densities, whose logarithms are given up to a
    constant, by place: in masses, in flux across barriers, and in the resistance
    `between` wells.
    """
    # Where U is infinite both are: nothing is there.
    finite = np.isfinite(true) & np.isfinite(seen)
    with np.errstate(over="ignore", invalid="ignore"):
        largest_true = np.max(true[finite], initial=-np.inf)
        largest = max(largest_true, np.max(seen[finite], initial=-np.inf))
        pi = np.exp(true - largest)
        q = np.exp(np.where(finite, seen, true) - largest)
        total = np.sum(weights * q)
        mass = weights * np.abs(pi - q) / total
        # q^2 / pi, in which pi may underflow; no more than a large number is needed to
        # know that it matters.
        log_ratio = np.where(finite, seen - true, 0)
        ratio = np.exp(np.clip(log_ratio, None, CONSTANTS.largest_exponent))
        crossing = weights * q / total * np.abs(ratio - 1)
        parts = [mass, np.where(ratio > 1, crossing, 0)]
        if between.any():
            lowest = np.min(seen[between])
            resistance = np.exp(np.where(between, lowest - seen, -np.inf))
            change = weights * resistance * np.abs(ratio - 1)
            parts.append(change / np.sum(weights * resistance))
    return parts


def _between_wells(
    height: np.ndarray, nodes: np.ndarray, x: np.ndarray, tol: float
) -> np.ndarray:
    """Which of the positions x lie between the outermost wells that hold more than
    about `tol` of the mass.
    """
    inner = height[1:-1]
    is_peak = (inner >= height[:-2]) & (inner >= height[2:])
    is_high = inner > np.max(height) + np.log(tol)
    peaks = np.flatnonzero(is_peak & is_high) + 1
    if len(peaks) < 2:
        return np.zeros(len(x), bool)
    return (x > nodes[peaks[0]]) & (x < nodes[peaks[-1]])


def _overlooked_initial(
    problem: SliceProblem, axis: Axis, places: Places, times: np.ndarray
) -> Overlooked:
    """What the interpolated initial state lacks; what diffusion removes before the
    first reported time counts less.
    """
    assert problem.initial is not None
    at_nodes = problem.initial(axis.nodes)
    at_places = problem.initial(places.x)
    if problem.evolves_density:
        # One common factor against overflow: only the ratio of the two matters.
        largest = max(np.max(at_nodes), np.max(at_places))
        at_nodes = np.exp(at_nodes - largest)
        at_places = np.exp(at_places - largest)
    seen = interpolate(axis, at_nodes, places.x)
    difference = at_places - seen
    total = np.sum(places.weights * np.abs(at_places))
    parts = places.weights * np.abs(difference) / total
    # Differences that average out within a cell are short waves, and diffusion damps
    # them until the first time.
    first = float(times[0])
    cells = np.clip(np.searchsorted(axis.edges, places.x) - 1, 0, axis.n - 1)
    sums = np.bincount(cells, places.weights * difference, axis.n)
    averages = np.abs(sums) / total
    damping = 1.0
    if axis.uniform and problem.wick == 0:
        least_diffusion = np.min(problem.values(axis.nodes, 0.0).diffusion)
        damping = float(short_wave_damping(least_diffusion, axis, first, np))
    found = _largest("initial", [parts], places.x)
    size = max(damping * found.size, float(np.sum(averages)))
    return found._replace(size=size)


def _largest(name: str, parts: list[np.ndarray], x: np.ndarray) -> Overlooked:
    """The largest of the integrals of several integrands, and where most of it lies."""
    # Not a number, as of infinite differences, must not pass for a small part.
    parts = [np.nan_to_num(part, nan=np.inf, posinf=1e300) for part in parts]
    worst = max(parts, key=lambda part: float(np.sum(part)))
    density = worst / np.gradient(x)
    top = int(np.argmax(density))
    # The width at half of the height.
    low = np.flatnonzero(density < density[top] / 2)
    left = x[low[low < top]].max(initial=x[0])
    right = x[low[low > top]].min(initial=x[-1])
    return Overlooked(
        name=name,
        size=float(np.sum(worst)),
        position=float(x[top]),
        width=float(right - left),
    )


def spread_in_bulk(
    points: np.ndarray,
    height: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    count: int,
) -> np.ndarray:
    """At most `count` of the points `(P, d)`: the highest one, then each time the one
    in the bulk that is farthest from those chosen before.
    """
    top = int(np.argmax(height))
    largest = np.max(np.where(np.isfinite(height), height, -np.inf))
    high = np.flatnonzero(height > largest - CONSTANTS.bulk_depth)
    high = points[np.concatenate([[top], high[high != top]])]
    # Distances are relative to the box, so that no axis counts more than another.
    scaled = high / (upper - lower)
    chosen = [0]
    nearest = np.linalg.norm(scaled - scaled[0], axis=1)
    while len(chosen) < count and np.max(nearest) > CONSTANTS.slice_separation:
        farthest = int(np.argmax(nearest))
        chosen.append(farthest)
        distances = np.linalg.norm(scaled - scaled[farthest], axis=1)
        nearest = np.minimum(nearest, distances)
    return high[chosen]
