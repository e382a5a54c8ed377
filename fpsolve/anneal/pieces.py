"""Intervals on which functions of one variable are smooth: where a path or a schedule
changes quickly, they are short.

A feature that is narrower than the spacing of a computation is not seen by it, and two
computations at the same places do not see it together. Here cheap samples of the
functions decide: an interval is accepted where a polynomial through 17 Chebyshev nodes
agrees with all of 8192 other samples inside it, whose spacings are irregular, and where
its last coefficients are small. Any other interval is halved. A feature that lies
between two samples, narrower than 1/8192 of the whole, can be missed: then
`breakpoints` tell it.
"""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev

from .constants import CONSTANTS

# Functions of places `(M,)`, with values `(M, R)`.
Sampler = Callable[[np.ndarray], np.ndarray]


def smooth_pieces(sample: Sampler, edges: np.ndarray) -> np.ndarray:
    """Edges `(P + 1,)` of intervals on which all functions are smooth; they contain the
    given `edges`, ascending.

    **Cost**: two calls of `sample` for smooth functions, and one more for each halving.
    """
    whole = edges[-1] - edges[0]
    places = edges[0] + whole * irregular_fractions(CONSTANTS.feature_samples)
    dense = sample(places)
    # A function that is infinite somewhere, such as a wall, has no meaningful
    # differences: it is left out.
    finite = np.all(np.isfinite(dense), axis=0)
    if not np.any(finite):
        return edges
    dense = dense[:, finite]
    # A function is resolved relative to its own variation; a constant one needs no
    # resolution.
    scale = np.ptp(dense, axis=0)
    unit = CONSTANTS.feature_rounding * np.finfo(dense.dtype).eps
    rounding = unit * np.max(np.abs(dense), axis=0)
    allowed = np.maximum(CONSTANTS.feature_tol * scale, rounding)

    degree = CONSTANTS.feature_degree
    nodes = -np.cos(np.pi * np.arange(degree + 1) / degree)
    to_coefficients = np.linalg.inv(chebyshev.chebvander(nodes, degree))
    waiting = list(itertools.pairwise(edges))
    found = set(edges.tolist())
    while waiting:
        # Inside of an interval only: at a breakpoint a function may have two values.
        inner = CONSTANTS.feature_margin
        centres = np.asarray([(a + b) / 2 for a, b in waiting])
        halves = np.asarray([(b - a) / 2 for a, b in waiting])
        at = centres[:, None] + (1 - inner) * halves[:, None] * nodes
        values = sample(at.ravel())
        values = values.reshape(len(waiting), len(nodes), -1)[..., finite]
        following = []
        for (a, b), table in zip(waiting, values, strict=True):
            coefficients = to_coefficients @ table
            inside = (places > a) & (places < b)
            tail = coefficients[-CONSTANTS.tail_coefficients :]
            error = np.max(np.abs(tail), axis=0)
            if np.any(inside):
                width = (b - a) * (1 - inner)
                x = (2 * places[inside] - a - b) / width
                interpolated = chebyshev.chebval(x, coefficients).T
                difference = np.abs(interpolated - dense[inside])
                error = np.maximum(error, np.max(difference, axis=0))
            # Near a singularity the halving ends where an interval no longer counts.
            if np.all(error <= allowed) or b - a < CONSTANTS.min_feature * whole:
                continue
            middle = (a + b) / 2
            found.add(middle)
            following += [(a, middle), (middle, b)]
        # Too many intervals: the function is rough everywhere, and no division helps.
        if len(found) + len(following) > CONSTANTS.max_pieces:
            break
        waiting = following
    return np.asarray(sorted(found))


def irregular_fractions(count: int) -> np.ndarray:
    """One place in each of `count` equal parts of (0, 1), shifted within it by
    multiples of the golden ratio.
    """
    k = np.arange(count)
    shifts, _ = np.modf(k * (np.sqrt(5) - 1) / 2)
    return (k + shifts) / count


def irregular_points(lower: np.ndarray, upper: np.ndarray, count: int) -> np.ndarray:
    """`count` points in a box `(count, d)`, evenly spread and in no symmetric
    positions.

    Reference: Roberts, The unreasonable effectiveness of quasirandom sequences (2018):
    multiples of the powers of the root of x^(d+1) = x + 1.
    """
    ndim = len(lower)
    # By fixed-point iteration, which contracts.
    root = 2.0
    for _ in range(CONSTANTS.root_iterations):
        root = (1 + root) ** (1 / (ndim + 1))
    shifts = root ** -np.arange(1.0, ndim + 1)
    multiples = np.arange(1, count + 1)[:, None] * shifts
    fractions, _ = np.modf(0.5 + multiples)
    return lower + (upper - lower) * fractions
