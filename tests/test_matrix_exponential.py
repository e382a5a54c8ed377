"""The exponential of a matrix by numpy, against scipy's."""

import numpy as np
import pytest
import scipy.linalg

from fpsolve.linear.matrix_exponential import exponential_on_host


@pytest.mark.parametrize(("n", "size"), [(1, 1.0), (3, 1e-9), (40, 30.0), (120, 1e3)])
def test_it_is_that_of_scipy_to_the_rounding_of_its_norm(n: int, size: float) -> None:
    """A generator: symmetric and negative in other units of its coordinates, as that of
    a reversible process.
    """
    generator = np.random.default_rng(n)
    factor = generator.normal(size=(n, n))
    units = np.exp(generator.normal(size=n))
    matrix = -size * units[:, None] * (factor @ factor.T) / units / n
    rounding = np.finfo(float).eps * max(1, np.linalg.norm(matrix, 1))
    error = np.max(np.abs(exponential_on_host(matrix) - scipy.linalg.expm(matrix)))
    assert error < 10 * rounding


def test_a_rotation_is_exact_and_what_is_not_finite_gives_nan() -> None:
    quarter = np.pi / 2 * np.array([[0.0, -1.0], [1.0, 0.0]])
    assert np.allclose(
        exponential_on_host(quarter), [[0.0, -1.0], [1.0, 0.0]], atol=1e-15
    )
    assert np.all(np.isnan(exponential_on_host(np.array([[np.inf, 0.0], [0.0, 1.0]]))))
