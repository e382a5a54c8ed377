"""Starts narrower than a cell: their averages over cells keep mass and mean."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from harmonic_runs import run


@pytest.mark.parametrize(
    "axis",
    [fp.Line(-6.0, 6.0, 64), fp.Reflecting(-6.0, 6.0, 75)],
    ids=["line", "walls"],
)
@pytest.mark.parametrize(
    ("mean", "variance"), [(0.3, 1e-8), (0.3, 1e-4), (-1.234, 0.01)]
)
def test_a_narrow_start_keeps_mass_and_mean(axis, mean, variance):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = run(fp.Grid(axis), mean, variance, [0.05])
    assert abs(float(solution.mass[0]) - 1) < 1e-10
    assert abs(
        float(solution.observables["mean"][0]) - mean * np.exp(-0.05)
    ) < 1e-3 * abs(mean)


@pytest.mark.parametrize(
    "covariance",
    [[0.02, 0.001], [[0.02, 0.004], [0.004, 0.001]]],
    ids=["axes", "correlated"],
)
def test_a_narrow_start_in_the_plane_keeps_its_mean(covariance):
    grid = fp.Grid(fp.Line(-2.0, 2.0, 20), fp.Line(-2.0, 2.0, 24))
    density = grid.density(fp.Gaussian([0.31, -0.47], covariance))
    x, y = grid.points[..., 0], grid.points[..., 1]
    np.testing.assert_allclose(
        [grid.integrate(density * x), grid.integrate(density * y)],
        [0.31, -0.47],
        rtol=1e-9,
    )
    assert float(jnp.min(density)) >= 0


def test_cell_averages_are_those_of_the_density():
    """On cells that resolve it, the averages are the integrals over the cells, and are
    not moved.
    """
    grid = fp.Grid(fp.Line(-6.0, 6.0, 40))
    solution = run(grid, 0.4, 0.8, [0.0], scheme=fp.ScharfetterGummel())
    from scipy.special import ndtr

    masses = np.diff(ndtr((grid.axes[0].edges - 0.4) / np.sqrt(0.8)))
    np.testing.assert_allclose(solution.values[0] * 0.3, masses, atol=2e-8)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-8])
def test_cell_averages_of_a_correlated_density_are_integrals(size):
    """Wide and narrow beside a cell; the density of the cells around the mean by
    scipy's distribution function.
    """
    from scipy.stats import multivariate_normal

    from fpsolve.grid.gaussian_on_grid import cell_averages

    covariance = size * np.asarray([[0.04, 0.019], [0.019, 0.01]])
    axes = (fp.Reflecting(-2.0, 2.0, 20), fp.Reflecting(-2.0, 2.0, 20))
    density = np.asarray(cell_averages(axes, fp.Gaussian([0.0, 0.0], covariance)))
    normal = multivariate_normal([0, 0], covariance)
    edges = axes[0].edges[9:12]
    below = np.asarray([[normal.cdf([a, b]) for b in edges] for a in edges])
    masses = np.diff(np.diff(below, axis=0), axis=1)
    np.testing.assert_allclose(density[9:11, 9:11] * 0.04, masses, atol=1e-6)


def test_a_matrix_of_one_entry_is_a_variance():
    axis = fp.Reflecting(-6.0, 6.0, 75)
    matrix, number = (
        np.asarray(fp.Grid(axis).density(fp.Gaussian(0.3, c)))
        for c in ([[1e-12]], 1e-12)
    )
    np.testing.assert_array_equal(matrix, number)


@pytest.mark.parametrize(("mean", "variance"), [(9.0, 0.01), (-6.5, 0.02), (7.0, 1e-8)])
def test_a_start_outside_of_the_box_is_refused(mean, variance):
    with pytest.raises(ValueError, match="initial"):
        run(fp.Grid(fp.Line(-6.0, 6.0, 64)), mean, variance, [0.05])
