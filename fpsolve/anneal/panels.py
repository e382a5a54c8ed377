"""Piecewise Chebyshev interpolation of positive functions on [0, 1], in adaptive
panels.

    log v(λ) = sum_j c_j T_j(x),     λ = a + (b - a) (1 + x) / 2     on a panel [a, b], degree 8, 16 or 32

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
        """The functions at λ of any shape `(...)`, `(R, ...)`; constant outside of [0,
        1].
        """
        lam = jnp.asarray(lam, self.edges.dtype)
        # unlike clip, this has slope 1 at the ends
        lam = jnp.where(lam < 0, 0, jnp.where(lam > 1, 1, lam))
        k = jnp.clip(
            jnp.searchsorted(self.edges, lam, side="right") - 1, 0, len(self.edges) - 2
        )
        lower, upper = self.edges[k], self.edges[k + 1]
        x = 2 * (lam - lower) / (upper - lower) - 1
        c = jnp.moveaxis(self.coefficients[:, k], -1, 0)

        def clenshaw(
            state: tuple[Array, Array], term: Array
        ) -> tuple[tuple[Array, Array], None]:
            return (term + 2 * x * state[0] - state[1], state[0]), None

        zero = jnp.zeros_like(c[0])
        (b1, b2), _ = jax.lax.scan(clenshaw, (zero, zero), c[1:], reverse=True)
        value = c[0] + x * b1 - b2
        logarithm = self.logarithms[:, k]
        # The inner `where` keeps exp from overflowing, and its derivative from NaN,
        # where it is not used.
        return jnp.where(
            logarithm, jnp.exp(jnp.where(logarithm, value, 0)), jnp.maximum(value, 0)
        )

    def evaluate(self, lam: Scalar) -> tuple[np.ndarray, np.ndarray]:
        """The functions at concrete λ `(...)` and their derivatives in λ, `(R, ...)`
        each, by numpy.
        """
        edges, coefficients = np.asarray(self.edges), np.asarray(self.coefficients)
        lam = np.clip(np.asarray(lam, edges.dtype), 0, 1)
        k = np.clip(np.searchsorted(edges, lam, side="right") - 1, 0, len(edges) - 2)
        width = edges[k + 1] - edges[k]
        x = 2 * (lam - edges[k]) / width - 1
        c = np.moveaxis(coefficients[:, k], -1, 0)
        value = _chebyshev_sum(c, x)
        slope = _chebyshev_sum(np.polynomial.chebyshev.chebder(c), x) * 2 / width
        logarithm = np.asarray(self.logarithms)[:, k]
        found = np.where(
            logarithm, np.exp(np.where(logarithm, value, 0)), np.maximum(value, 0)
        )
        return found, np.where(logarithm, slope * found, np.where(value > 0, slope, 0))


class _Interval(NamedTuple):
    """An interval to interpolate on, with the Chebyshev degree `panel_degrees[level]`."""

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
    done = []
    largest_costs = np.zeros(len(powers))
    while waiting:
        # All intervals of a round are evaluated together: `rows` works in batches.
        nodes = [_nodes(interval) for interval in waiting]
        new = np.asarray(
            sorted({lam for lambdas in nodes for lam in lambdas} - known.keys())
        )
        if new.size:
            values = rows(new)
            known.update(zip(new.tolist(), values.T, strict=True))
            largest_costs = np.maximum(largest_costs, _largest_costs(values, powers))
        following: list[_Interval] = []
        for interval, lambdas in zip(waiting, nodes, strict=True):
            values = np.stack([known[lam] for lam in lambdas], axis=1)
            negligible = CONSTANTS.negligible_cost * largest_costs
            # How much an error counts: less where the cost itself is negligible.
            counts = np.minimum(
                1,
                _largest_costs(values, powers)
                / np.where(negligible > 0, negligible, 1),
            )
            # levels are no costs: each value counts, however small
            counts[[LOWEST, SECOND]] = 1
            panel, parts = _try_interval(interval, lambdas, values, counts, tol)
            if panel is not None:
                done.append(panel)
            following += parts
        waiting = following
    return _assemble(sorted(done, key=lambda panel: panel.lower)), np.asarray(
        sorted(known)
    )


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
    if (
        np.all(errors < tol)
        or np.all(errors * width < tol)
        or width < CONSTANTS.min_panel_width
    ):
        return _Panel(lower, coefficients, logarithms), []

    # For an analytic function twice the degree squares the error.
    if level + 1 < len(CONSTANTS.panel_degrees) and np.max(errors) ** 2 < tol:
        return None, [_Interval(lower, upper, level + 1)]

    # Else there is a kink or a singularity nearby: divide, at a crossing of levels if
    # there is one.
    crossing = _crossing(lambdas, values) if errors[LOWEST] >= tol else None
    middle = (lower + upper) / 2 if crossing is None else crossing
    return None, [_Interval(lower, middle, 0), _Interval(middle, upper, 0)]


def _largest_costs(values: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """The largest cost of each row `(R,)`: the row divided by a power of the lowest
    level.
    """
    return np.max(np.abs(values) / values[LOWEST] ** powers[:, None], axis=1)


def _assemble(panels: list[_Panel]) -> Panels:
    """Panels in ascending order as arrays, with coefficients padded to one degree."""
    size = CONSTANTS.panel_degrees[-1] + 1
    padded = [
        np.pad(panel.coefficients, ((0, 0), (0, size - panel.coefficients.shape[1])))
        for panel in panels
    ]
    edges = np.asarray([*(panel.lower for panel in panels), 1.0])
    logarithms = np.stack([panel.logarithms for panel in panels], axis=1)
    # `device_put` compiles nothing; `jnp.asarray` would compile a program for each
    # shape.
    return Panels(
        *(
            jax.device_put(array)
            for array in (edges, np.stack(padded, axis=1), logarithms)
        )
    )


def _chebyshev_sum(c: np.ndarray, x: np.ndarray | np.floating) -> np.ndarray:
    """sum_j c_j T_j(x) by Clenshaw's recurrence, `c` `(degree + 1, R, ...)`, x `(...)`."""
    b1, b2 = np.zeros_like(c[0]), np.zeros_like(c[0])
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
    angles = (
        np.arange(largest + 1)[:: largest // CONSTANTS.panel_degrees[level]] / largest
    )
    x = -np.cos(np.pi * angles)
    return [lower, *(lower + (upper - lower) * (1 + x[1:-1]) / 2).tolist(), upper]


def _coefficient_matrix(degree: int) -> np.ndarray:
    """The matrix from values at the Chebyshev nodes to coefficients."""
    x = -np.cos(np.pi * np.arange(degree + 1) / degree)
    return np.linalg.inv(np.polynomial.chebyshev.chebvander(x, degree))


def _fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows `(R, degree + 1)` are interpolated by their logarithms, and the
    coefficients.
    """
    smallest, largest = np.min(values, axis=1), np.max(values, axis=1)
    logarithms = smallest > CONSTANTS.min_logarithm_ratio * largest
    logarithms[[LOWEST, SECOND]] = True  # levels are positive, however small
    safe = np.where(logarithms[:, None], values, 1)
    smooth = np.where(logarithms[:, None], np.log(safe), values)
    return logarithms, smooth @ _coefficient_matrix(values.shape[1] - 1).T


def _tail_errors(coefficients: np.ndarray, logarithms: np.ndarray) -> np.ndarray:
    """The relative error of each row, estimated by its last coefficients, `(R,)`."""
    # An error of a logarithm is relative already. 1e-300 avoids 0 / 0 for a row of
    # zeros.
    scale = np.where(logarithms, 1, np.sum(np.abs(coefficients), axis=1) + 1e-300)
    return (
        np.max(np.abs(coefficients[:, -CONSTANTS.tail_coefficients :]), axis=1) / scale
    )


def _crossing(lambdas: list[float], values: np.ndarray) -> float | None:
    """The λ at which the two levels cross, or None if they do not cross once in the
    interval.
    """
    distance = np.log(values[SECOND] / values[LOWEST])
    degree = len(lambdas) - 1
    # Reverse the sign of the distance before the j-th node, for each j, and keep the
    # smoothest result.
    matrix = _coefficient_matrix(degree)
    candidates = [
        matrix @ np.where(np.arange(degree + 1) < j, distance, -distance)
        for j in range(degree + 2)
    ]
    tails = [np.max(np.abs(c[-CONSTANTS.tail_coefficients :])) for c in candidates]
    j = int(np.argmin(tails))
    if j in (0, degree + 1) or not np.any(distance):
        # smoothest without a change of sign, or a level that is double everywhere
        return None
    roots = np.polynomial.chebyshev.chebroots(candidates[j])
    tol = CONSTANTS.root_tol
    real = np.sort(roots[np.abs(roots.imag) < tol].real)
    inside = [root for root in real if -1 + tol < root < 1 - tol]
    lower, upper = lambdas[0], lambdas[-1]
    return lower + (upper - lower) * (1 + inside[0]) / 2 if len(inside) == 1 else None
