"""The slow modes by hand: optimised scipy (and pyamg) for the lowest levels of
H = -Laplacian + V.

Each function returns `(run, axes)`; `run()` gives the k lowest levels, ascending.
"""

from typing import Any

import by_hand
import numpy as np
import problems
import scipy.sparse
import scipy.sparse.linalg


def sinc_lanczos(problem: Any, box: Any, shape: Any, k: int, tol: float) -> by_hand.Run:
    """ARPACK's Lanczos iteration in the sinc basis."""
    axes = problems.open_axes(box, shape)
    kinetic = [by_hand.second_derivative(x) for x in axes]
    size = int(np.prod(shape))

    def run() -> np.ndarray:
        product = by_hand.product_of(kinetic, problem.potential_term(axes))
        image, spare = np.empty(shape), np.empty(shape)

        def action(u: np.ndarray) -> np.ndarray:
            product(np.ascontiguousarray(u).reshape(shape), image, spare)
            return image.ravel().copy()

        matrix = scipy.sparse.linalg.LinearOperator(
            (size, size), matvec=action, dtype=float
        )
        return np.sort(
            scipy.sparse.linalg.eigsh(
                matrix, k, which="SA", tol=tol, return_eigenvectors=False
            )
        )

    return run, axes


def shift_invert(problem: Any, box: Any, shape: Any, k: int) -> by_hand.Run:
    """ARPACK on a sparse factorisation of the five-point Hamiltonian."""
    axes = problems.open_axes(box, shape)

    def run() -> np.ndarray:
        matrix = _sparse(problem, axes).tocsc()
        return np.sort(
            scipy.sparse.linalg.eigsh(
                matrix, k, sigma=-0.05, which="LM", return_eigenvectors=False
            )
        )

    return run, axes


def amg_lobpcg(problem: Any, box: Any, shape: Any, k: int, tol: float) -> by_hand.Run:
    """scipy's LOBPCG on the seven-point stencil, with pyamg's smoothed aggregation."""
    import pyamg

    axes = problems.open_axes(box, shape)

    def run() -> np.ndarray:
        matrix = _sparse(problem, axes).tocsr()
        shifted = matrix + 0.5 * scipy.sparse.identity(matrix.shape[0], format="csr")
        preconditioner = pyamg.smoothed_aggregation_solver(shifted).aspreconditioner()
        start = np.random.default_rng(0).normal(size=(matrix.shape[0], k + 2))
        values, _ = scipy.sparse.linalg.lobpcg(
            matrix, start, M=preconditioner, tol=tol, maxiter=200, largest=False
        )
        return np.sort(values)[:k]

    return run, axes


def _sparse(problem: Any, axes: tuple[np.ndarray, ...]) -> Any:
    """-Laplacian by three points an axis, plus the potential term."""
    shape = [x.size for x in axes]
    matrix = scipy.sparse.diags_array(problem.potential_term(axes).ravel())
    for i, x in enumerate(axes):
        n, h = shape[i], x.ravel()[1] - x.ravel()[0]
        ones = np.ones(n)
        diagonals = [-ones[1:], 2 * ones, -ones[1:]]
        along = scipy.sparse.diags_array(diagonals, offsets=[-1, 0, 1]) / h**2
        before, after = int(np.prod(shape[:i])), int(np.prod(shape[i + 1 :]))
        matrix = matrix + scipy.sparse.kron(
            scipy.sparse.kron(scipy.sparse.eye_array(before), along),
            scipy.sparse.eye_array(after),
        )
    return matrix
