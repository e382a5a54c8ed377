"""Positive functions on [0, 1] between Chebyshev nodes, in panels that adapt.

    log v(λ) = sum_j c_j T_j(x),     λ = a + (b - a) (1 + x) / 2     on a panel [a, b], degree 8, 16 or 32

A panel whose last coefficients are not small is given twice the degree if these fall fast enough, and is halved if
not. The first two functions are levels, ascending, which may cross; there the panel is parted at the crossing, which is
where their difference, smooth once its sign is turned, has its zero. What vanishes somewhere is taken without the log.

Reference: Trefethen, Approximation Theory and Approximation Practice (2019), chapters 3 and 8.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

DEGREES = (8, 16, 32)
NARROW = 1e-9  # a panel that is not divided any more
SMALL = 1e-10  # of its largest value on a panel, below which a function is taken without its logarithm
LAST = 3  # coefficients that tell the error


class Panels(eqx.Module):
    """`edges` `(P + 1,)`, `coefficients` `(R, P, degree + 1)`, and whether they are of the `logarithms`, `(R, P)`."""

    edges: Array
    coefficients: Array
    logarithms: Array

    def __call__(self, lam: Any) -> Array:
        """The functions at λ of any shape `(...)`, `(R, ...)`; beyond [0, 1] as at its ends."""
        lam = jnp.asarray(lam, self.edges.dtype)
        lam = jnp.where(lam < 0, 0, jnp.where(lam > 1, 1, lam))  # unlike clip, of slope 1 at the ends
        k = jnp.clip(jnp.searchsorted(self.edges, lam, side="right") - 1, 0, len(self.edges) - 2)
        below, above = self.edges[k], self.edges[k + 1]
        x = 2 * (lam - below) / (above - below) - 1
        c = jnp.moveaxis(self.coefficients[:, k], -1, 0)
        clenshaw = lambda two, one: ((one + 2 * x * two[0] - two[1], two[0]), None)
        (later, latest), _ = jax.lax.scan(clenshaw, (jnp.zeros_like(c[0]), jnp.zeros_like(c[0])), c[1:], reverse=True)
        value = c[0] + x * later - latest
        logarithm = self.logarithms[:, k]
        return jnp.where(logarithm, jnp.exp(jnp.where(logarithm, value, 0)), jnp.maximum(value, 0))

    def evaluate(self, lam: Any) -> tuple[Any, Any]:
        """The functions at concrete λ `(...)` and their derivatives in λ, `(R, ...)` each, by numpy."""
        edges, coefficients = np.asarray(self.edges), np.asarray(self.coefficients)
        lam = np.clip(np.asarray(lam, edges.dtype), 0, 1)
        k = np.clip(np.searchsorted(edges, lam, side="right") - 1, 0, len(edges) - 2)
        width = edges[k + 1] - edges[k]
        x = 2 * (lam - edges[k]) / width - 1
        c = np.moveaxis(coefficients[:, k], -1, 0)
        value, slope = _clenshaw(c, x), _clenshaw(np.polynomial.chebyshev.chebder(c), x) * 2 / width
        logarithm = np.asarray(self.logarithms)[:, k]
        found = np.where(logarithm, np.exp(np.where(logarithm, value, 0)), np.maximum(value, 0))
        return found, np.where(logarithm, slope * found, np.where(value > 0, slope, 0))


def _clenshaw(c: Any, x: Any) -> Any:
    """sum_j c_j T_j(x), `c` `(degree + 1, R, ...)`, x `(...)`."""
    later, latest = np.zeros_like(c[0]), np.zeros_like(c[0])
    for term in c[:0:-1]:
        later, latest = term + 2 * x * later - latest, later
    return c[0] + x * later - latest


def interpolate(rows: Callable[[np.ndarray], np.ndarray], tol: float) -> tuple[Panels, np.ndarray]:
    """Functions known by their values `(R, M)` at places `(M,)`, to a relative error `tol`, and all places asked.

    The first two rows are positive, ascending levels, the first of them interpolated. In narrow panels, where a
    function has a kink or vanishes, `tol` is that of the integral.
    """
    known: dict[float, np.ndarray] = {}
    waiting, done = [(0.0, 1.0, 0)], []
    while waiting:
        places = [_nodes(a, b, DEGREES[level]) for a, b, level in waiting]
        new = np.asarray(sorted({lam for lambdas in places for lam in lambdas} - known.keys()))
        if new.size:
            known.update(zip(new.tolist(), rows(new).T, strict=True))
        following = []
        for (a, b, level), lambdas in zip(waiting, places, strict=True):
            values = np.stack([known[lam] for lam in lambdas], axis=1)
            logarithms, coefficients = _fit(values)
            errors = _tails(coefficients, logarithms)
            errors[1] = 0  # the second level only tells crossings
            if np.all(errors < tol) or np.all(errors * (b - a) < tol) or b - a < NARROW:
                done.append((a, b, coefficients, logarithms))
            elif level + 1 < len(DEGREES) and np.max(errors) ** 2 < tol:
                following.append((a, b, level + 1))
            else:
                middle = _crossing(lambdas, values) if errors[0] >= tol else None
                middle = (a + b) / 2 if middle is None else middle
                following += [(a, middle, 0), (middle, b, 0)]
        waiting = following
    done.sort(key=lambda panel: panel[0])
    pad = lambda c: np.pad(c, ((0, 0), (0, DEGREES[-1] + 1 - c.shape[1])))
    edges = np.asarray([*(panel[0] for panel in done), 1.0])
    coefficients = np.stack([pad(panel[2]) for panel in done], axis=1)
    logarithms = np.stack([panel[3] for panel in done], axis=1)
    # `device_put` compiles nothing, as `asarray` does for each shape.
    panels = Panels(*(jax.device_put(array) for array in (edges, coefficients, logarithms)))
    return panels, np.asarray(sorted(known))


def _nodes(a: float, b: float, degree: int) -> list[float]:
    """Ascending; those of a degree are among those of its double, to the last bit."""
    angles = np.arange(DEGREES[-1] + 1)[:: DEGREES[-1] // degree] / DEGREES[-1]
    x = -np.cos(np.pi * angles)
    return [a, *(a + (b - a) * (1 + x[1:-1]) / 2).tolist(), b]


def _matrix(degree: int) -> np.ndarray:
    """From values at the nodes to coefficients."""
    x = -np.cos(np.pi * np.arange(degree + 1) / degree)
    return np.linalg.inv(np.polynomial.chebyshev.chebvander(x, degree))


def _fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows `(R, degree + 1)` are taken by their logarithms, and the coefficients."""
    logarithms = np.min(values, axis=1) > SMALL * np.max(values, axis=1)
    logarithms[:2] = True
    safe = np.where(logarithms[:, None], values, 1)
    smooth = np.where(logarithms[:, None], np.log(safe), values)
    return logarithms, smooth @ _matrix(values.shape[1] - 1).T


def _tails(coefficients: np.ndarray, logarithms: np.ndarray) -> np.ndarray:
    scale = np.where(logarithms, 1, np.sum(np.abs(coefficients), axis=1) + 1e-300)
    return np.max(np.abs(coefficients[:, -LAST:]), axis=1) / scale


def _crossing(lambdas: list[float], values: np.ndarray) -> float | None:
    """Where the first two rows cross, if turning the sign of their difference there makes it smooth."""
    distance, degree = np.log(values[1] / values[0]), len(lambdas) - 1
    best, least = None, None
    for j in range(degree + 2):
        c = _matrix(degree) @ np.where(np.arange(degree + 1) < j, distance, -distance)
        tail = np.max(np.abs(c[-LAST:]))
        if least is None or tail < least:
            best, least = (j, c), tail
    assert best is not None
    j, c = best
    if j in (0, degree + 1) or not np.any(distance):
        return None
    roots = np.polynomial.chebyshev.chebroots(c)
    real = np.sort(roots[np.abs(roots.imag) < 1e-6].real)
    x = [r for r in real if -1 + 1e-6 < r < 1 - 1e-6]
    a, b = lambdas[0], lambdas[-1]
    return a + (b - a) * (1 + x[0]) / 2 if len(x) == 1 else None
