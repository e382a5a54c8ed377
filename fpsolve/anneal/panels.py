"""Piecewise Chebyshev interpolation of positive functions on [0, 1], in adaptive
panels.

    log v(λ) = sum_j c_j T_j(x),      λ = a + (b - a) (1 + x) / 2

on a panel [a, b], of degree 8, 16 or 32.

A panel whose last coefficients are not small gets twice the degree if they decay fast
enough, and is divided if not. A function that vanishes somewhere on a panel is
interpolated itself instead of its logarithm.

The first two functions are levels: the lowest, and the one above it. Where they cross,
the lowest has a kink, and the panel is divided at the crossing. The difference of the
two, with its sign reversed on one side, is smooth there, and its zero is the crossing.
The second level serves for nothing else: its error is not controlled.

Reference: Trefethen, Approximation Theory and Approximation Practice (2019), chapters 3
and 8.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.polynomial import chebyshev

from ..core.types import Scalar
from .constants import CONSTANTS

# Rows of the table of functions with a meaning of their own.
LOWEST, SECOND = 0, 1


class Panels(eqx.Module):
    """Interpolated functions: R of them, on P panels.

    - `edges` `(P + 1,)` of the panels
    - `coefficients` `(R, P, degree + 1)`
    - `logarithms` `(R, P)`: whether the coefficients are those of the logarithm
    """

    edges: Array
    coefficients: Array
    logarithms: Array

    def __call__(self, lam: Scalar) -> Array:
        """The functions at λ `(...)`, `(R, ...)`; constant outside of [0, 1]."""
        lam = jnp.asarray(lam, self.edges.dtype)
        # unlike clip, this has slope 1 at the ends
        lam = jnp.where(lam < 0, 0, jnp.where(lam > 1, 1, lam))
        after = jnp.searchsorted(self.edges, lam, side="right")
        # The upper end, 1, belongs to the last panel.
        k = jnp.clip(after - 1, 0, len(self.edges) - 2)
        lower = self.edges[k]
        upper = self.edges[k + 1]
        x = 2 * (lam - lower) / (upper - lower) - 1
        c = jnp.moveaxis(self.coefficients[:, k], -1, 0)

        def clenshaw(
            state: tuple[Array, Array], term: Array
        ) -> tuple[tuple[Array, Array], None]:
            b1, b2 = state
            return (term + 2 * x * b1 - b2, b1), None

        constant = c[0]
        zero = jnp.zeros_like(constant)
        last, _ = jax.lax.scan(clenshaw, (zero, zero), c[1:], reverse=True)
        b1, b2 = last
        value = constant + x * b1 - b2
        logarithm = self.logarithms[:, k]
        # The inner `where` keeps exp from overflowing, and its derivative from NaN,
        # where it is not used.
        exponent = jnp.where(logarithm, value, 0)
        # Rounding can make a function that vanishes negative.
        return jnp.where(logarithm, jnp.exp(exponent), jnp.maximum(value, 0))

    def evaluate(self, lam: Scalar) -> tuple[np.ndarray, np.ndarray]:
        """The functions at concrete λ `(...)` and their derivatives in λ, `(R, ...)`
        each, by numpy.
        """
        edges = np.asarray(self.edges)
        coefficients = np.asarray(self.coefficients)
        lam = np.clip(np.asarray(lam, edges.dtype), 0, 1)
        after = np.searchsorted(edges, lam, side="right")
        k = np.clip(after - 1, 0, len(edges) - 2)
        width = edges[k + 1] - edges[k]
        x = 2 * (lam - edges[k]) / width - 1
        c = np.moveaxis(coefficients[:, k], -1, 0)
        value = _chebyshev_sum(c, x)
        slope = _chebyshev_sum(chebyshev.chebder(c), x) * 2 / width
        logarithm = np.asarray(self.logarithms)[:, k]
        exponent = np.where(logarithm, value, 0)
        found = np.where(logarithm, np.exp(exponent), np.maximum(value, 0))
        # The derivative of a logarithm is relative; where a value is cut off it is 0.
        cut = np.where(value > 0, slope, 0)
        return found, np.where(logarithm, slope * found, cut)


class _Interval(NamedTuple):
    """An interval to interpolate on; `panel_degrees[level]` is the Chebyshev degree."""

    lower: float
    upper: float
    level: int


class _Panel(NamedTuple):
    """A finished panel: its lower end, coefficients `(R, degree + 1)`, and which rows
    are logarithms, `(R,)`.
    """

    lower: float
    coefficients: np.ndarray
    logarithms: np.ndarray


def interpolate(
    rows: Callable[[np.ndarray], np.ndarray],
    tol: float,
    edges: np.ndarray,
    powers: np.ndarray,
) -> tuple[Panels, np.ndarray]:
    """Interpolate R functions on [0, 1] to a relative error `tol`.

    **Arguments**: `rows`, λ `(M,)` to values `(R, M)`; `edges` of the first panels,
    from 0 to 1 (`pieces`); `powers` `(R,)`, of the lowest level by which a row is
    divided to give a cost: a cost that is negligible beside the largest one of the path
    is not interpolated to a relative error of its own; the first two rows are positive
    levels, ascending, of which only the first is interpolated to `tol`. In narrow
    panels, where a function has a kink or vanishes, `tol` is the error of the integral
    instead. **Returns** the panels, and all λ at which `rows` was evaluated, ascending.
    """
    known: dict[float, np.ndarray] = {}
    waiting = [
        _Interval(lower, upper, 0)
        for lower, upper in itertools.pairwise(edges.tolist())
    ]
    done: list[_Panel] = []
    largest_costs = np.zeros(len(powers))
    while waiting:
        # All intervals of a round are evaluated together: `rows` works in batches.
        nodes = [_nodes(interval) for interval in waiting]
        needed = {lam for lambdas in nodes for lam in lambdas}
        new = np.asarray(sorted(needed - known.keys()))
        if new.size:
            values = rows(new)
            known.update(zip(new.tolist(), values.T, strict=True))
            costs = _largest_costs(values, powers)
            largest_costs = np.maximum(largest_costs, costs)
        following: list[_Interval] = []
        for interval, lambdas in zip(waiting, nodes, strict=True):
            values = np.stack([known[lam] for lam in lambdas], axis=1)
            negligible = CONSTANTS.negligible_cost * largest_costs
            # A row of zeros has no cost to compare with.
            safe = np.where(negligible > 0, negligible, 1)
            # How much an error counts: less where the cost itself is negligible.
            counts = np.minimum(1, _largest_costs(values, powers) / safe)
            # levels are no costs: each value counts, however small
            counts[[LOWEST, SECOND]] = 1
            panel, parts = _try_interval(interval, lambdas, values, counts, tol)
            if panel is not None:
                done.append(panel)
            following += parts
        waiting = following
    ascending = sorted(done, key=lambda panel: panel.lower)
    return _assemble(ascending), np.asarray(sorted(known))


def _try_interval(
    interval: _Interval,
    lambdas: list[float],
    values: np.ndarray,
    counts: np.ndarray,
    tol: float,
) -> tuple[_Panel | None, list[_Interval]]:
    """The panel on an interval if it is accurate, else what to try instead; `values`
    `(R, degree + 1)` at its nodes, and the factors `counts` `(R,)` of their errors.
    """
    lower, upper, level = interval
    width = upper - lower
    logarithms, coefficients = _fit(values)
    errors = _tail_errors(coefficients, logarithms) * counts
    errors[SECOND] = 0  # not controlled: this row serves only to find crossings

    # Accurate, or so narrow that its error does not count in an integral over λ.
    accurate = np.all(errors < tol)
    does_not_count = np.all(errors * width < tol)
    if accurate or does_not_count or width < CONSTANTS.min_panel_width:
        return _Panel(lower, coefficients, logarithms), []

    # For an analytic function twice the degree squares the error.
    has_next_degree = level + 1 < len(CONSTANTS.panel_degrees)
    if has_next_degree and np.max(errors) ** 2 < tol:
        return None, [_Interval(lower, upper, level + 1)]

    # Else there is a kink or a singularity nearby: divide, at a crossing of levels if
    # there is one.
    crossing = _crossing(lambdas, values) if errors[LOWEST] >= tol else None
    middle = (lower + upper) / 2 if crossing is None else crossing
    return None, [_Interval(lower, middle, 0), _Interval(middle, upper, 0)]


def _largest_costs(values: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """The largest row over a power of the lowest level, for each row `(R,)`."""
    divisors = values[LOWEST] ** powers[:, None]
    return np.max(np.abs(values) / divisors, axis=1)


def _assemble(panels: list[_Panel]) -> Panels:
    """Panels in ascending order as arrays, with coefficients padded to one degree."""
    size = CONSTANTS.panel_degrees[-1] + 1
    padded = []
    for panel in panels:
        missing = size - panel.coefficients.shape[1]
        padded.append(np.pad(panel.coefficients, ((0, 0), (0, missing))))
    edges = np.asarray([*(panel.lower for panel in panels), 1.0])
    logarithms = np.stack([panel.logarithms for panel in panels], axis=1)
    # `device_put` compiles nothing; `jnp.asarray` would compile a program for each
    # shape.
    arrays = (edges, np.stack(padded, axis=1), logarithms)
    return Panels(*(jax.device_put(array) for array in arrays))


def _chebyshev_sum(c: np.ndarray, x: np.ndarray | np.floating) -> np.ndarray:
    """sum_j c_j T_j(x) by Clenshaw's rule, c `(degree + 1, R, ...)`; x `(...)`."""
    b1 = np.zeros_like(c[0])
    b2 = np.zeros_like(c[0])
    for term in c[:0:-1]:
        b1, b2 = term + 2 * x * b1 - b2, b1
    return c[0] + x * b1 - b2


def _nodes(interval: _Interval) -> list[float]:
    """The Chebyshev nodes of an interval, ascending.

    The nodes of a degree are among those of twice the degree, to the last bit, so that
    their values are reused.
    """
    lower, upper, level = interval
    largest = CONSTANTS.panel_degrees[-1]
    stride = largest // CONSTANTS.panel_degrees[level]
    angles = np.arange(largest + 1)[::stride] / largest
    x = -np.cos(np.pi * angles)
    inner = lower + (upper - lower) * (1 + x[1:-1]) / 2
    # The ends are exact, since two panels share the values there.
    return [lower, *inner.tolist(), upper]


def _coefficient_matrix(degree: int) -> np.ndarray:
    """The matrix from values at the Chebyshev nodes to coefficients."""
    x = -np.cos(np.pi * np.arange(degree + 1) / degree)
    return np.linalg.inv(chebyshev.chebvander(x, degree))


def _fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the rows `(R, degree + 1)` take logarithms, and the coefficients."""
    smallest = np.min(values, axis=1)
    largest = np.max(values, axis=1)
    # A logarithm is steep where a function nearly vanishes.
    logarithms = smallest > CONSTANTS.min_logarithm_ratio * largest
    logarithms[[LOWEST, SECOND]] = True  # levels are positive, however small
    safe = np.where(logarithms[:, None], values, 1)
    smooth = np.where(logarithms[:, None], np.log(safe), values)
    return logarithms, smooth @ _coefficient_matrix(values.shape[1] - 1).T


def _tail_errors(coefficients: np.ndarray, logarithms: np.ndarray) -> np.ndarray:
    """The relative error of each row, estimated by its last coefficients, `(R,)`."""
    # An error of a logarithm is relative already. 1e-300 avoids 0 / 0 for a row of
    # zeros.
    sizes = np.abs(coefficients)
    scale = np.where(logarithms, 1, np.sum(sizes, axis=1) + 1e-300)
    tail = np.max(sizes[:, -CONSTANTS.tail_coefficients :], axis=1)
    return tail / scale


def _crossing(lambdas: list[float], values: np.ndarray) -> float | None:
    """The λ at which the two levels cross; None unless they cross just once."""
    distance = np.log(values[SECOND] / values[LOWEST])
    degree = len(lambdas) - 1
    # Reverse the sign of the distance before the j-th node, for each j, and keep the
    # smoothest result.
    matrix = _coefficient_matrix(degree)
    nodes = np.arange(degree + 1)
    candidates = [
        matrix @ np.where(nodes < j, distance, -distance) for j in range(degree + 2)
    ]
    count = CONSTANTS.tail_coefficients
    tails = [np.max(np.abs(c[-count:])) for c in candidates]
    j = int(np.argmin(tails))
    if j in (0, degree + 1) or not np.any(distance):
        # smoothest without a change of sign, or a level that is double everywhere
        return None
    roots = chebyshev.chebroots(candidates[j])
    tol = CONSTANTS.root_tol
    real = np.sort(roots[np.abs(roots.imag) < tol].real)
    # A crossing at an end of the interval would divide off a panel of no width.
    inside = [root for root in real if -1 + tol < root < 1 - tol]
    if len(inside) != 1:
        return None
    lower, upper = lambdas[0], lambdas[-1]
    return lower + (upper - lower) * (1 + inside[0]) / 2
