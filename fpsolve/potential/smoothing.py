"""Smoothing splines of noisy values on a tensor grid.

On one axis the spline s minimises, among cubic splines with m knots,

    Σ_k w_k (y_k - s(x_k))² + λ ∫ s''(x)² dx

With N the matrix from the values of s at the knots to those at the n nodes, Q the
matrix of ∫ s''², and W = diag(w), the basis of Demmler and Reinsch solves
Q u_j = γ_j NᵀWN u_j. In it s is a filter of the data,

    s(knots) = Σ_j u_j f_j (u_jᵀ Nᵀ W y),    f_j = 1 / (1 + λ γ_j)

On several axes the filter is the product of those of the axes. With n values, tr =
Π_axes Σ_j f_j and the residual R = Σ w (y - s)², λ minimises

    n R / (n - tr)²      generalised cross-validation, where the errors of the values
                         are unknown
    R + 2 tr             the unbiased risk, with w = 1/σ², where their standard errors
                         σ are known

References: Craven and Wahba, Numer. Math. 31 (1979) 377; Demmler and Reinsch, Numer.
Math. 24 (1975) 375; Xiao, Li and Ruppert, J. R. Stat. Soc. B 75 (2013) 577, for several
axes.
"""

import math
from typing import NamedTuple

import numpy as np

from ..core.arrays import host_module
from ..core.types import AnyArray
from .constants import CONSTANTS


class AxisSmoother(NamedTuple):
    """The basis of Demmler and Reinsch of one axis with n nodes and m knots, and a
    filter for each λ that is tried.
    """

    analysis: np.ndarray  # (m, n), from values at the nodes to coefficients, u_jᵀ Nᵀ W
    synthesis: np.ndarray  # (m, m), from coefficients to values at the knots, u_j
    fitted: np.ndarray  # (n, m), from coefficients to values at the nodes, N u_j
    filters: np.ndarray  # (L, m)


def axis_smoother(
    design: np.ndarray,
    curvature: np.ndarray,
    spacings: np.ndarray,
    weights: np.ndarray,
    closed: bool,
) -> AxisSmoother:
    """The basis of one axis.

    **Arguments**: `design` N `(n, m)`; `curvature` `(intervals + 1, m)`, the matrix
    from the values at the knots to s'' at the ends of the intervals on which it is
    linear; `spacings` `(intervals,)`, their lengths; `weights` `(n,)`; `closed` for a
    ring. **Cost**: m³ operations.
    """
    from scipy.linalg import eigh  # scipy is a dependency of JAX; it is slow to import

    # From a to b on an interval of length h, the square of s'' integrates to h (a² + a
    # b + b²) / 3.
    left = curvature[:-1]
    right = curvature[1:]
    third = spacings[:, None] / 3
    squares = left.T @ (third * left) + right.T @ (third * right)
    products = left.T @ (third * right) + right.T @ (third * left)
    energy = squares + products / 2
    gram = design.T @ (weights[:, None] * design)
    roughness, vectors = eigh(energy, gram)

    # Straight lines on an axis, and constants on a ring, have no curvature: what is
    # computed for them is rounding.
    flat = 1 if closed else 2
    roughness[:flat] = 0
    # From a filter that changes even the roughest function by little to one that leaves
    # little but the flat ones. The roughness goes with the fourth power of a wave
    # number, and only the largest one is accurate to rounding.
    wave_numbers = np.sum(spacings) / np.min(spacings)
    weakest = CONSTANTS.weakest_filter / roughness[-1]
    strongest = CONSTANTS.strongest_filter * wave_numbers**4 / roughness[-1]
    penalties = np.geomspace(weakest, strongest, CONSTANTS.penalties)
    return AxisSmoother(
        analysis=vectors.T @ (design.T * weights),
        synthesis=vectors,
        fitted=design @ vectors,
        filters=1 / (1 + penalties[:, None] * roughness),
    )


def smooth_values(
    values: AnyArray,
    weights: AnyArray,
    smoothers: list[AxisSmoother],
    known_errors: bool,
) -> AnyArray:
    """The values of the smoothing spline at the knots of all axes.

    **Arguments**: `values` `(*shape)`, which may be traced; `weights` that broadcast to
    them, 1/σ² with `known_errors`.

    λ is chosen from a finite set, so that the derivative at fixed λ is the derivative
    of the smoothed values.
    """
    xp = host_module(values)
    analyses = [smoother.analysis for smoother in smoothers]
    fits = [smoother.fitted for smoother in smoothers]
    syntheses = [smoother.synthesis for smoother in smoothers]
    filters = [xp.asarray(smoother.filters) for smoother in smoothers]

    coefficients = along_axes(analyses, values)
    # What no spline with these knots can follow; with a knot at each node it is zero.
    outside = values - along_axes(fits, coefficients)
    least_residual = xp.sum(weights * outside**2)

    # Axis after axis, the best λ with those of the other axes held. All start in the
    # middle of their range.
    chosen = [of_axis[CONSTANTS.penalties // 2] for of_axis in filters]
    # With one axis there are no others to wait for.
    sweeps = CONSTANTS.penalty_sweeps if len(smoothers) > 1 else 1
    for _ in range(sweeps):
        for i, of_axis in enumerate(filters):
            residuals, traces = _residuals(coefficients, chosen, i, of_axis)
            residuals = residuals + least_residual
            scores = _scores(residuals, traces, values.size, known_errors)
            chosen[i] = of_axis[xp.argmin(scores)]
    return along_axes(syntheses, coefficients * _product(chosen))


def _residuals(
    coefficients: AnyArray, chosen: list[AnyArray], i: int, filters: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Residual and trace `(L,)` for each filter of axis i, with the others `chosen`."""
    xp = host_module(coefficients)
    others = [f if j != i else xp.ones_like(f) for j, f in enumerate(chosen)]
    # Axis i becomes the last, and the other axes the first.
    m = filters.shape[1]
    power = xp.moveaxis(coefficients**2, i, -1).reshape(-1, m)
    of_others = xp.moveaxis(_product(others), i, -1).reshape(-1, m)
    residuals = xp.stack([xp.sum(power * (1 - of_others * f) ** 2) for f in filters])
    trace_of_others = math.prod(xp.sum(f) for j, f in enumerate(chosen) if j != i)
    return residuals, trace_of_others * xp.sum(filters, axis=1)


def _scores(
    residuals: AnyArray, traces: AnyArray, count: int, known_errors: bool
) -> AnyArray:
    """What λ minimises, for residuals and traces `(L,)` of `count` values."""
    if known_errors:
        return residuals + 2 * traces
    return count * residuals / (count - traces) ** 2


def _product(filters: list[AnyArray]) -> AnyArray:
    """The tensor product of one vector for each axis."""
    product = filters[0]
    for f in filters[1:]:
        product = product[..., None] * f
    return product


def along_axes(matrices: list[np.ndarray], values: AnyArray) -> AnyArray:
    """One matrix `(m_i, n_i)` applied along each axis of `values` `(*shape)`."""
    xp = host_module(values)
    for i, matrix in enumerate(matrices):
        product = xp.tensordot(xp.asarray(matrix), values, axes=(1, i))
        # `tensordot` puts the new axis first.
        values = xp.moveaxis(product, 0, i)
    return values
