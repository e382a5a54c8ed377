"""Ground states by hand: optimised numpy for the lowest level of -Laplacian / 2 + U.

As in `by_hand.py`, each function returns `(run, axes)`, and `run()` returns the density
of the lowest level on the nodes.
"""

from typing import Any

import by_hand
import numpy as np
import problems
import scipy.linalg


def sinc_lanczos(problem: Any, box: Any, shape: Any, count: int) -> by_hand.Run:
    """P6: `count` Lanczos steps in the sinc basis without reorthogonalisation; the
    lowest Ritz vector.
    """
    axes = problems.open_axes(box, shape)
    kinetic = [by_hand.second_derivative(x) / 2 for x in axes]
    volume = problems.cell(axes)

    def run() -> np.ndarray:
        potential_term = problems.potential(axes)
        product = by_hand.product_of(kinetic, potential_term)
        basis = np.empty((count, *shape))
        basis[0] = np.exp(-potential_term / 2)
        basis[0] /= np.sqrt(np.vdot(basis[0], basis[0]))
        alpha, beta = np.empty(count), np.empty(count)
        image, spare = np.empty(shape), np.empty(shape)
        for k in range(count):
            product(basis[k], image, spare)
            alpha[k] = np.vdot(basis[k], image)
            image -= np.multiply(alpha[k], basis[k], out=spare)
            if k:
                image -= np.multiply(beta[k - 1], basis[k - 1], out=spare)
            beta[k] = np.sqrt(np.vdot(image, image))
            if k + 1 < count:
                np.divide(image, beta[k], out=basis[k + 1])
        _, weights = scipy.linalg.eigh_tridiagonal(
            alpha, beta[:-1], select="i", select_range=(0, 0)
        )
        density = (weights[:, 0] @ basis.reshape(count, -1)).reshape(shape) ** 2
        return density / (density.sum() * volume)

    return run, axes


def fft_ground(
    problem: Any, box: Any, shape: Any, steps: int, time: float, levels: int = 3
) -> by_hand.Run:
    """P6: Strang steps in imaginary time by FFT until the other states have decayed,
    extrapolated in the step.
    """
    axes = problems.open_axes(box, shape)
    squares = by_hand.wavenumbers(box, shape) / 2
    pair = by_hand.transforms(shape)
    volume = problems.cell(axes)

    def level(wave: np.ndarray, potential_term: np.ndarray, count: int) -> np.ndarray:
        wave = by_hand.strang_steps(
            wave, potential_term, squares, pair, time / count, count
        )
        return wave / np.sqrt(np.vdot(wave, wave))

    def run() -> np.ndarray:
        potential_term = problems.potential(axes)
        wave = np.exp(-potential_term / 2)
        potential_term = potential_term - 4.0
        waves = [level(wave, potential_term, steps * 2**j) for j in range(levels)]
        density = by_hand.extrapolated(waves) ** 2
        return density / (density.sum() * volume)

    return run, axes
