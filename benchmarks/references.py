"""Converged solutions on a finer sinc grid in a larger box, from which errors are
measured.

    static   exp(-tH) sqrt(pi)^-1 p(0)        by Chebyshev polynomials to 1e-14
    moving   d_t psi = -(H_t + a_t / 2) psi   by Strang steps, extrapolated five times
    ground   the lowest eigenvector           by Lanczos, reorthogonalised

A start is set to 0 where it is below 1e-12 of its maximum, because its wave would
overflow there. L1 distances do not grow in time, so the density changes by less than
1e-12.
"""

from typing import Any

import by_hand
import numpy as np
import problems
import scipy.sparse.linalg


def converge(problem: Any, box: Any, shape: Any) -> np.ndarray:
    """The density on cell centres, `shape`."""
    if problem.kind == "moving":
        return by_hand.sinc_strang(problem, box, shape, 1000, 5)[0]()
    if problem.kind == "ground":
        return _ground(box, shape)
    return by_hand.sinc_chebyshev(_Cut(problem), box, shape, 1e-15)[0]()


class _Cut:
    """A problem with the small values of its start set to 0."""

    def __init__(self, problem: Any):
        self.t, self.potential_term, self._start = (
            problem.t,
            problem.potential_term,
            problem.start,
        )

    def start(self, axes: Any) -> np.ndarray:
        density = self._start(axes)
        return np.where(density > 1e-12 * density.max(), density, 0.0)


def _ground(box: Any, shape: Any) -> np.ndarray:
    axes = problems.open_axes(box, shape)
    kinetic = [by_hand.second_derivative(x) / 2 for x in axes]
    potential_term = problems.potential(axes)
    act = lambda u: (
        kinetic[0] @ u.reshape(shape)
        + u.reshape(shape) @ kinetic[1]
        + potential_term * u.reshape(shape)
    ).ravel()
    operator = scipy.sparse.linalg.LinearOperator(
        (potential_term.size, potential_term.size), act, dtype=float
    )
    guess = np.exp(-potential_term / 2).ravel()
    _, vectors = scipy.sparse.linalg.eigsh(
        operator, 1, which="SA", v0=guess, tol=1e-15, ncv=80, maxiter=2000
    )
    density = vectors[:, 0].reshape(shape) ** 2
    return density / (density.sum() * problems.cell(axes))
