"""Both sides of the correspondence agree on every grid, and a second look says how far
both are from the truth.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from harmonic_runs import exact, harmonic


def both_sides(half, n, scheme=None, **options):
    return fp.correspondence(
        fp.FokkerPlanck(harmonic),
        fp.Gaussian(0.7, 0.3),
        [0.1, 1.0],
        grid=fp.Grid(fp.Line(-half, half, n)),
        scheme=scheme,
        **options,
    )


@pytest.mark.filterwarnings("ignore::fpsolve.AccuracyWarning")
@pytest.mark.parametrize(
    ("half", "n", "scheme"),
    [(6.0, 16, None), (2.0, 16, None), (6.0, 16, fp.Spectral())],
)
def test_the_errors_of_both_sides_bound_the_true_ones(half, n, scheme):
    both = both_sides(half, n, scheme)
    axis = both.grid.axes[0]
    for t, density, reported in zip(both.times, both.density, both.error, strict=True):
        right = exact(axis.nodes, float(t), 0.7, 0.3)
        true = np.sum(axis.weights * np.abs(np.asarray(density) - right)) + max(
            0.0, 1 - np.sum(axis.weights * right)
        )
        assert true <= 3 * float(reported) + 1e-12
    true = np.abs(np.asarray(both.spectra[1]) - np.arange(6.0))
    assert np.all(true <= 3 * np.asarray(both.level_errors) + 1e-12)
    np.testing.assert_allclose(
        sum(np.asarray(part) for part in both.errors.values()), both.error, rtol=1e-9
    )


def test_both_sides_agree_to_rounding_on_a_grid_that_is_too_coarse():
    with pytest.warns(fp.AccuracyWarning, match="more nodes"):
        both = both_sides(6.0, 16)
    assert both.holds and float(jnp.max(both.difference)) < 1e-14
    assert both.result == "grid_too_coarse"
    assert both.record().header["result"] == "grid_too_coarse"
    assert float(both.error[0]) > 1e-2 and float(both.level_errors[1]) > 0.03


def test_both_sides_on_a_good_grid_are_not_warned_of():
    both = both_sides(8.0, 64, fp.Spectral())
    assert both.result == "successful" and float(jnp.max(both.error)) < 1e-7
    assert float(jnp.max(both.level_errors[:4])) < 1e-5
    same = fp.evolve(
        fp.FokkerPlanck(harmonic),
        fp.Gaussian(0.7, 0.3),
        [0.1, 1.0],
        grid=both.grid,
        scheme=fp.ScharfetterGummel(),
    )
    volumes = both_sides(8.0, 64, check=False)
    np.testing.assert_allclose(volumes.density, same.values, atol=1e-8)
    assert volumes.stats["check"].startswith("run") and volumes.result == "successful"
    # One run bounds the error of finite volumes roughly, and by more than a second look
    # does.
    assert np.all(np.asarray(volumes.error) > np.asarray(same.error))


@pytest.mark.filterwarnings("ignore::fpsolve.AccuracyWarning")
def test_both_sides_in_motion():
    """U = (x - sin t)^2 / 2: the mean follows m' = sin t - m."""
    moving = fp.FokkerPlanck(lambda x, t: (x[0] - jnp.sin(t)) ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.0, 6.0, 16))
    both = fp.correspondence(moving, fp.Gaussian(0.0, 0.5), [1.0], grid=grid)
    mean = (np.sin(1.0) - np.cos(1.0) + np.exp(-1.0)) / 2
    variance = 1 - 0.5 * np.exp(-2.0)
    right = np.exp(-((grid.axes[0].nodes - mean) ** 2) / (2 * variance)) / np.sqrt(
        2 * np.pi * variance
    )
    true = float(np.sum(np.abs(np.asarray(both.density[0]) - right)) * 0.75)
    assert true <= 3 * float(both.error[0]) and float(both.error[0]) < 30 * true
