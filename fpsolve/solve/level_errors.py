"""The error of levels by a second look: the same levels on two companion grids.

    d_1 = |E - E'|      E on the grid
    d_2 = |E' - E''|    E' on its companion
    d_3 = |E - E''|     E'' on the companion of that

In a basis, errors fall faster than any power, and d_1 is the error of E'; where d_2 > 4
d_1 this is seen, and d_1 is taken. Elsewhere both companions count. On finite volumes
the cells are sqrt(2) and 2 times as long, and

    error = d_1 / (2^{p/2} - 1),     2^{p/2} = d_2 / d_1 with p in [1, 2],

where p is the order that is observed; it is 1 where the differences change their sign.
Differences are replaced by their cumulative maxima over the levels: a level that agrees
by chance is no better than the levels below it.

A rate of a process that is not reversible is compared with the nearest rate of the
companion, each of which is taken once. One that the companion does not show errs by its
distance to the nearest one that is left; and a slow rate of the companion that is left
over means that the rates above it are counted wrongly.

Reference: Roache, Verification and Validation in Computational Science and Engineering
(1998), chapter 5.
"""

import numpy as np

from .constants import CONSTANTS


def errors_in_basis(
    values: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Errors `(k,)` of levels in a basis from those on two companions, each `(k,)`; NaN
    where one of them is NaN.
    """
    near = _largest_below(np.abs(values - first))
    between = _largest_below(np.abs(first - second))
    far = np.maximum(near, _largest_below(np.abs(values - second)))
    fast = between > CONSTANTS.fast_convergence * near
    # The first companion may agree by chance: a part of the second difference counts.
    least = between / CONSTANTS.accidental_agreement
    errors = np.where(fast, np.maximum(near, least), far)
    limit = CONSTANTS.unresolved_level
    margin = CONSTANTS.unresolved_margin
    return _with_margin(values, errors, far, limit, margin)


def errors_on_volumes(
    values: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """The same for finite volumes, on cells that are sqrt(2) and 2 times as long."""
    first_step = values - first
    second_step = first - second
    # The real part of the product is negative where the two point to different sides.
    turns = np.real(first_step * np.conj(second_step)) < 0
    near = _largest_below(np.abs(first_step))
    between = _largest_below(np.abs(second_step))
    far = _largest_below(np.abs(values - second))
    lowest = 2 ** (CONSTANTS.lowest_order / 2)
    highest = 2 ** (CONSTANTS.highest_order / 2)
    # Both differences may be zero: then the error is, whatever the ratio.
    ratio = np.divide(between, near, out=np.full_like(near, highest), where=near > 0)
    ratio = np.clip(np.where(turns, 0.0, ratio), lowest, highest)
    errors = np.maximum(near / (ratio - 1), far / CONSTANTS.half_spacing_margin)
    limit = CONSTANTS.unresolved_level_volumes
    margin = CONSTANTS.unresolved_margin_volumes
    return _with_margin(values, errors, errors, limit, margin)


def matched(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of the complex `values` `(k,)` the nearest of `others`, each taken once,
    nearest pairs first.
    """
    distances = np.abs(values[:, None] - others)
    found = np.full(len(values), np.nan, complex)
    for _ in range(min(distances.shape)):
        # Levels that could not be computed are NaN, and have no distance.
        if not np.any(np.isfinite(distances)):
            break
        i, j = np.unravel_index(np.nanargmin(distances), distances.shape)
        found[i] = others[j]
        # Both are taken: no other pair has them.
        distances[i] = np.inf
        distances[:, j] = np.inf
    return found


def miscounted(values: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """How far each rate lies above the slowest rate of `others` that is in no pair,
    `(k,)`; zero below it.
    """
    left = [np.real(other) for other in others if not np.any(pairs == other)]
    slowest = min(left, default=np.inf)
    return np.maximum(np.real(values) - slowest, 0.0)


def scale_of(values: np.ndarray) -> np.ndarray:
    """The sizes `(k,)` that errors of levels are relative to: their own, or the spread
    of all, if that is larger.
    """
    sizes = np.abs(values)
    spread = np.max(np.abs(values - values[0])) if len(values) else 0.0
    return np.maximum(sizes, spread)


def _with_margin(
    values: np.ndarray,
    errors: np.ndarray,
    far: np.ndarray,
    limit: float,
    margin: float,
) -> np.ndarray:
    """Errors with a margin where differences are too large for a law of convergence."""
    unresolved = far > limit * scale_of(values)
    return np.where(unresolved, np.maximum(errors, margin * far), errors)


def _largest_below(differences: np.ndarray) -> np.ndarray:
    """The largest difference of each level and all below it; NaN from a NaN on."""
    return np.maximum.accumulate(differences)
