"""A dense look at other places than nodes: what a reference on one axis has not seen of
U and of the initial density.

    mass         integral of |pi - q|               pi = exp(-U / D) / Z at dense places
    barriers     integral of q |q / pi - 1|         q the same with U interpolated from the nodes of the reference
                 integral of |1 / pi - 1 / q|       relative to that of 1 / q, over all wells and what is between them
    start        integral of |p - r|                r the initial density interpolated from the nodes

U is interpolated from U, U' and U'' at the nodes by polynomials of degree 5, whose
error for a smooth U is of order h^6, and the initial density by the basis of the axis.
The places are the nodes shifted by random parts of a cell, and more beside the
`features` that a user named. A trap or a barrier that lies between two nodes shows in
these integrals; what is narrower than the distance of the places cannot be seen.
"""

from typing import Any, NamedTuple

import numpy as np

from ..core.types import Scalar
from ..grid import Axis
from ..operator.aliasing import short_wave_damping
from ..operator.basis import evaluate
from .constants import CONSTANTS
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
    count, d = CONSTANTS.wide_samples, len(lower)
    half = (upper - lower) / 2
    # Latin hypercube: each axis has one sample in each of `count` equal parts, in a
    # random order.
    order = np.stack([generator.permutation(count) for _ in range(d)], axis=1)
    unit = 2 * (order + generator.uniform(size=(count, d))) / count - 1
    far = (lower + upper) / 2 + half * np.sinh(np.arcsinh(CONSTANTS.wide_reach) * unit)
    return np.where(fixed, lower + half * (1 + unit), far)


def random_points(
    lower: np.ndarray, upper: np.ndarray, features: np.ndarray
) -> np.ndarray:
    """Random points `(P, d)` in a box, and more beside the places of `features`
    `(m, d)`.
    """
    generator = np.random.default_rng(5)
    d = len(lower)
    points = [
        lower + (upper - lower) * generator.uniform(size=(CONSTANTS.dense_samples, d))
    ]
    for place in features:
        distances = np.geomspace(
            CONSTANTS.nearest_sample, 1, CONSTANTS.feature_samples
        )[:, None]
        directions = generator.normal(size=(CONSTANTS.feature_samples, d))
        points.append(
            place
            + (upper - lower)
            * distances
            * directions
            / np.linalg.norm(directions, axis=1)[:, None]
        )
    points = np.concatenate(points)
    return points[np.all((points >= lower) & (points <= upper), axis=1)]


def corner_values(values: np.ndarray, left: list[np.ndarray]) -> np.ndarray:
    """Values `(*shape)` at the corners of the cells whose lower corners have the
    indices `left`, `(2^d, P)`.
    """
    steps = np.stack(
        np.meshgrid(*[[0, 1]] * values.ndim, indexing="ij"), axis=-1
    ).reshape(-1, values.ndim)
    return np.stack(
        [
            values[tuple(index + k for index, k in zip(left, step, strict=True))]
            for step in steps
        ]
    )


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
    """Random places between the nodes of an axis, and close to the positions of
    `features`.
    """
    generator = np.random.default_rng(3)
    count = CONSTANTS.dense_samples
    x = (
        axis.lower
        + axis.length * (np.arange(count) + generator.uniform(size=count)) / count
    )
    # Beside each named position, at distances from far below the others up to the
    # length of the axis.
    distances = axis.length * np.geomspace(
        CONSTANTS.nearest_sample, 1, CONSTANTS.feature_samples
    )
    near = np.add.outer(
        features, np.concatenate([-distances, np.zeros(1), distances])
    ).ravel()
    x = np.unique(
        np.concatenate([x, near[(near >= axis.lower) & (near <= axis.upper)]])
    )
    borders = np.concatenate([[axis.lower], (x[1:] + x[:-1]) / 2, [axis.upper]])
    return Places(x, np.diff(borders))


def _overlooked_potential(
    problem: SliceProblem, axis: Axis, places: Places, t: float, envelope: np.ndarray
) -> Overlooked:
    """What the interpolated potential lacks, in masses and barriers."""
    inside = (places.x > axis.nodes[0]) & (places.x < axis.nodes[-1])
    x, weights = places.x[inside], places.weights[inside]
    scale = problem.height_scale(axis, t)
    curve = scale * np.stack(
        [problem.energy(axis.nodes, t), *problem.slopes(axis.nodes, t)]
    )
    true, seen = scale * problem.energy(x, t), _hermite(axis.nodes, curve, x)
    if axis.uniform and axis.n >= len(_STENCIL):
        # Where a smooth potential is just resolved, the polynomials of degree 5 are not
        # accurate to small tolerances. What has a feature between the nodes is missed
        # by both.
        wider = _hermite_of_four(axis.nodes, curve, x)
        seen = np.where(np.abs(wider - true) < np.abs(seen - true), wider, seen)
    # Where U is infinite both are: nothing is there.
    finite = np.isfinite(true) & np.isfinite(seen)
    if not problem.evolves_density:
        # The energy of the states changes by the mean of the difference, relative to
        # the spread of the potential there.
        shape = np.interp(x, axis.nodes, envelope)
        shape = shape / np.sum(weights * shape)
        known = np.where(finite, seen, 0)
        spread = np.sum(
            weights * shape * np.abs(known - np.sum(weights * shape * known))
        )
        parts = np.where(
            finite,
            shape * np.abs(np.where(finite, true - seen, 0)),
            np.where(true == seen, 0, shape),
        )
        return _largest(
            "potential", [weights * parts / max(spread, np.finfo(float).tiny)], x
        )
    with np.errstate(over="ignore", invalid="ignore"):
        largest = max(
            np.max(true[finite], initial=-np.inf), np.max(seen[finite], initial=-np.inf)
        )
        pi, q = np.exp(true - largest), np.exp(np.where(finite, seen, true) - largest)
        mass = weights * np.abs(pi - q) / np.sum(weights * q)
        # q^2 / pi, in which pi may underflow; no more than a large number is needed to
        # know that it matters.
        ratio = np.exp(
            np.clip(np.where(finite, seen - true, 0), None, CONSTANTS.largest_exponent)
        )
        crossing = weights * q / np.sum(weights * q) * np.abs(ratio - 1)
        parts = [mass, np.where(ratio > 1, crossing, 0)]
        between = _between_wells(curve[0], axis.nodes, x, problem.tol)
        if between.any():
            lowest = np.min(seen[between])
            resistance = np.exp(np.where(between, lowest - seen, -np.inf))
            parts.append(
                weights * resistance * np.abs(ratio - 1) / np.sum(weights * resistance)
            )
    return _largest("potential", parts, x)


def _between_wells(
    height: np.ndarray, nodes: np.ndarray, x: np.ndarray, tol: float
) -> np.ndarray:
    """Which of the positions x lie between the outermost wells that hold more than
    about `tol` of the mass.
    """
    inner = height[1:-1]
    peaks = (
        np.flatnonzero(
            (inner >= height[:-2])
            & (inner >= height[2:])
            & (inner > np.max(height) + np.log(tol))
        )
        + 1
    )
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
    at_nodes, at_places = problem.initial(axis.nodes), problem.initial(places.x)
    if problem.evolves_density:
        largest = max(np.max(at_nodes), np.max(at_places))
        at_nodes, at_places = np.exp(at_nodes - largest), np.exp(at_places - largest)
    seen = _interpolated(axis, at_nodes, places.x)
    difference = at_places - seen
    total = np.sum(places.weights * np.abs(at_places))
    parts = places.weights * np.abs(difference) / total
    # Differences that average out within a cell are short waves, and diffusion damps
    # them until the first time.
    first = float(times[0])
    cells = np.clip(np.searchsorted(axis.edges, places.x) - 1, 0, axis.n - 1)
    averages = np.abs(np.bincount(cells, places.weights * difference, axis.n)) / total
    damping = 1.0
    if axis.uniform and problem.wick == 0:
        damping = float(
            short_wave_damping(
                np.min(problem.values(axis.nodes, 0.0).diffusion), axis, first, np
            )
        )
    found = _largest("initial", [parts], places.x)
    return found._replace(size=max(damping * found.size, float(np.sum(averages))))


def _interpolated(axis: Axis, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values `(n,)` at the nodes, interpolated to x by the basis of the axis."""
    if not axis.uniform or axis.boundary == "absorbing":
        return evaluate(axis, x)[1] @ values
    # Real and imaginary parts of a wave, one after the other.
    if np.iscomplexobj(values):
        return _interpolated(axis, np.real(values), x) + 1j * _interpolated(
            axis, np.imag(values), x
        )
    # Fourier: to a much finer grid by an FFT, and from there by polynomials.
    fine = CONSTANTS.fine_cells * axis.n
    spectrum = np.zeros(fine // 2 + 1, complex)
    coefficients = np.fft.rfft(values) * CONSTANTS.fine_cells
    # The highest mode of an even number is a cosine of half the amplitude on each side.
    if axis.n % 2 == 0:
        coefficients[-1] = coefficients[-1] / 2
    spectrum[: len(coefficients)] = coefficients
    on_fine = np.fft.irfft(spectrum, fine)
    position = (x - axis.nodes[0]) / axis.length * fine
    cell = np.floor(position).astype(int)
    u = position - cell
    # Lagrange polynomials through six neighbours; indices are modulo the period.
    neighbours = (-2, -1, 0, 1, 2, 3)
    answer = np.zeros(len(x))
    for k in neighbours:
        others = [m for m in neighbours if m != k]
        weight = np.prod([(u - m) / (k - m) for m in others], axis=0)
        answer += weight * on_fine[(cell + k) % fine]
    return answer


def _hermite(nodes: np.ndarray, curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The polynomials of degree 5 that have the values, slopes and curvatures `curve`
    `(3, n)` at the nodes, at x.
    """
    j = np.clip(np.searchsorted(nodes, x) - 1, 0, len(nodes) - 2)
    h = nodes[j + 1] - nodes[j]
    u = (x - nodes[j]) / h
    with np.errstate(over="ignore", invalid="ignore"):
        f0, f1 = curve[0][j], curve[0][j + 1]
        g0, g1 = curve[1][j] * h, curve[1][j + 1] * h
        c0, c1 = curve[2][j] * h**2, curve[2][j + 1] * h**2
        # Taylor at the left node, and what the right node asks of the higher powers.
        value = f1 - f0 - g0 - c0 / 2
        slope = g1 - g0 - c0
        bend = c1 - c0
        third = 10 * value - 4 * slope + bend / 2
        fourth = -15 * value + 7 * slope - bend
        fifth = 6 * value - 3 * slope + bend / 2
        return f0 + u * (g0 + u * (c0 / 2 + u * (third + u * (fourth + u * fifth))))


# the nodes around an interval from 0 to 1, in cells
_STENCIL = np.asarray([-1, 0, 1, 2])


def _hermite_of_four(nodes: np.ndarray, curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The polynomials of degree 11 with the values, slopes and curvatures `curve`
    `(3, n)` at four equally spaced nodes around x.
    """
    j = np.clip(np.searchsorted(nodes, x) - 1, 1, len(nodes) - 3)
    h = nodes[1] - nodes[0]
    powers = np.arange(3 * len(_STENCIL))
    # The derivatives of u^k at the four nodes: k!/(k-d)! u^(k-d).
    factors = [np.ones(len(powers)), powers, powers * (powers - 1)]
    rows = [
        c * _STENCIL[:, None].astype(float) ** np.maximum(powers - d, 0)
        for d, c in enumerate(factors)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        given = np.concatenate(
            [curve[d][j + _STENCIL[:, None]] * h**d for d in range(3)]
        )
        # Coefficients of infinite values are NaN, and no better than those of degree 5.
        coefficients = np.linalg.inv(np.concatenate(rows)) @ given
        return np.polynomial.polynomial.polyval(
            (x - nodes[j]) / h, coefficients, tensor=False
        )


def _largest(name: str, parts: list[np.ndarray], x: np.ndarray) -> Overlooked:
    """The largest of several integrals whose integrands are given, and where most of it
    lies.
    """
    parts = [np.nan_to_num(part, nan=np.inf, posinf=1e300) for part in parts]
    worst = max(parts, key=lambda part: float(np.sum(part)))
    density = worst / np.gradient(x)
    top = int(np.argmax(density))
    low = np.flatnonzero(density < density[top] / 2)
    left = x[low[low < top]].max(initial=x[0])
    right = x[low[low > top]].min(initial=x[-1])
    return Overlooked(name, float(np.sum(worst)), float(x[top]), float(right - left))


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
    scaled, chosen = high / (upper - lower), [0]
    nearest = np.linalg.norm(scaled - scaled[0], axis=1)
    while len(chosen) < count and np.max(nearest) > CONSTANTS.slice_separation:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(
            nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1)
        )
    return high[chosen]
