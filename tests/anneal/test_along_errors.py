"""The errors of the gap and of the costs along a path, never less than a third of the
true ones.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

D = 0.5
# N(0, D) to N(2, D / 2): k = 1 + λ, k c = 4 λ
GEOMETRIC = fp.Mix(fp.Harmonic(1.0, 0.0), fp.Harmonic(2.0, 2.0))
GOOD = fp.Grid(fp.Line(-8.0, 9.0, 64))
NARROW = fp.Grid(fp.Line(-3.25, 4.4, 64))
NAMES = ("gap", "drive", "bound", "score", "wasserstein", "exact")


def exact_rates(lam: np.ndarray) -> dict[str, np.ndarray]:
    """ell = a He_1(y) + b He_2(y) / sqrt(2), modes of rates k and 2k:
    |H^p f|^2 = a^2 k^2p + b^2 (2k)^2p.
    """
    k, v = 1 + lam, D / (1 + lam)
    mean_speed, variance_speed = 4 / (1 + lam) ** 2, -D / (1 + lam) ** 2
    a, b = mean_speed**2 / v, (variance_speed / v) ** 2 / 2
    norm = lambda power: np.sqrt(a * k**power + b * (2 * k) ** power)
    return dict(
        zip(
            NAMES,
            (k, norm(0), norm(0) / k, norm(1) / k**1.5, norm(-1), norm(-2)),
            strict=True,
        )
    )


def on_a_ring(lam):
    """A well that becomes deeper and turns around the ring."""
    return lambda x: (1 + lam) * jnp.cos(x[0] - lam)


def ring_gap(lam: float) -> float:
    """The gap of `on_a_ring` in 127 plane waves, by numpy."""
    n = 127
    x = 2 * np.pi * np.arange(n) / n
    waves = np.fft.fftfreq(n, 1 / n)
    kinetic = D * np.real(
        np.fft.ifft(waves[:, None] ** 2 * np.fft.fft(np.eye(n)), axis=0)
    )
    slope, curvature = -(1 + lam) * np.sin(x - lam), -(1 + lam) * np.cos(x - lam)
    return np.linalg.eigvalsh(kinetic + np.diag(slope**2 / (4 * D) - curvature / 2))[1]


def test_a_box_that_is_too_narrow_is_seen_in_every_number() -> None:
    found = fp.along(GEOMETRIC, grid=NARROW, diffusion=D)
    lam = np.asarray(found.lambdas)
    for name, truth in exact_rates(lam).items():
        true = np.abs(np.asarray(getattr(found.at(lam), name)) - truth)
        told = np.asarray(getattr(found.errors, name))
        assert np.all(true <= 3 * told), name
        assert np.max(told) < 10 * np.max(true), name
    assert 3e-5 < float(found.error) < 1e-2
    # The error of the box is that of the gap at the end where the density is widest.
    assert np.asarray(found.errors.gap)[0] > 1e-5
    # The chains of one run agree with each other, and say nothing about their box.
    assert (
        float(fp.along(GEOMETRIC, grid=NARROW, diffusion=D, check=False).error) < 1e-6
    )


def test_on_a_good_grid_the_errors_are_small() -> None:
    found = fp.along(GEOMETRIC, grid=GOOD, diffusion=D, tol=1e-8)
    assert float(found.error) < 1e-8
    assert found.errors.gap.shape == found.lambdas.shape
    without = fp.along(GEOMETRIC, grid=GOOD, diffusion=D, tol=1e-8, costs=False)
    assert without.errors.exact is None and float(without.error) < 1e-8


def test_an_error_above_the_tolerance_is_warned_of() -> None:
    with pytest.warns(fp.AccuracyWarning, match="wider box"):
        fp.along(GEOMETRIC, grid=NARROW, diffusion=D, tol=1e-6)


def test_the_error_of_the_interpolation_is_seen() -> None:
    """Interpolated to a percent only, on a grid that is right to 1e-10."""
    found = fp.along(GEOMETRIC, grid=GOOD, diffusion=D, tol=3e-2)
    lam = np.linspace(0.01, 0.99, 50)
    true = np.abs(np.asarray(found.at(lam).exact) - exact_rates(lam)["exact"])
    told = np.interp(lam, np.asarray(found.lambdas), np.asarray(found.errors.exact))
    assert np.max(true) > 1e-9 and np.max(true) <= 3 * np.max(told) < 30 * np.max(true)


@pytest.mark.parametrize("n", [10, 12, 24])
def test_too_few_nodes_on_a_ring(n: int) -> None:
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, n))
    if n < 20:
        with pytest.warns(fp.AccuracyWarning, match="more nodes"):
            found = fp.along(on_a_ring, grid=grid, diffusion=D, costs=False)
    else:
        found = fp.along(on_a_ring, grid=grid, diffusion=D, costs=False)
        assert float(found.error) < 1e-4
    lam = np.asarray(found.lambdas)
    true = np.abs(
        np.asarray(found.at(lam).gap) - np.asarray([ring_gap(one) for one in lam])
    )
    assert np.all(true <= 3 * np.asarray(found.errors.gap) + 1e-12)


@pytest.mark.filterwarnings("ignore::fpsolve.AccuracyWarning")
def test_finite_volumes_in_the_plane() -> None:
    """Truth: independent coordinates of stiffness 1 + λ and 3."""
    path = lambda lam: fp.Harmonic(
        jnp.stack([1 + lam, 3.0 + 0 * lam]), jnp.stack([0 * lam, 0 * lam])
    )
    grid = fp.Grid(fp.Reflecting(-4.0, 4.0, 14), fp.Reflecting(-3.0, 3.0, 12))
    found = fp.along(path, grid=grid, diffusion=D, tol=1e-3, costs=False)
    lam = np.asarray(found.lambdas)
    true = np.abs(np.asarray(found.at(lam).gap) - (1 + lam))
    told = np.asarray(found.errors.gap)
    assert np.max(true) > 0.01
    assert np.all(true <= 3 * told) and np.max(told) < 30 * np.max(true)


def test_an_error_that_cannot_be_estimated_is_not_a_number() -> None:
    """The potential is not finite beyond the box."""
    inside = lambda lam: (
        lambda x: jnp.where(jnp.abs(x[0]) < 7.1, (1 + lam) * x[0] ** 2 / 2, jnp.nan)
    )
    found = fp.along(inside, grid=fp.Grid(fp.Line(-7.0, 7.0, 64)), diffusion=D)
    assert np.all(np.isnan(np.asarray(found.errors.gap)))
    assert np.isnan(float(found.error))
    np.testing.assert_allclose(found.at(0.5).gap, 1.5, rtol=1e-7)


def test_a_transport_reports_the_error_of_its_gap() -> None:
    grid = fp.Grid(fp.Line(-4.4, 5.6, 48))
    run = fp.transport(
        GEOMETRIC,
        fp.schedule.linear(1.0),
        grid=grid,
        diffusion=D,
        times=[0.0, 1.0],
        tol=1e-4,
    )
    true = np.abs(np.asarray(run.gap) - np.asarray([1.0, 2.0]))
    told = np.asarray(run.errors["gap"])
    # The box leaves out e^-19 of the density at the start.
    assert np.all(true <= 3 * told) and true[0] > 1e-9 and 1e-9 < told[0] < 1e-6
