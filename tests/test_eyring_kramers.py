"""The law of Eyring and Kramers: truth, published surfaces, noisy tables, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from exact_rates import (
    BOX,
    line,
    well,
)
from fpsolve import eyring_kramers
from fpsolve.eigen.supersymmetric_gap import line_gap


def test_eyring_kramers_of_a_double_well():
    """Truth: gap = sqrt(32) / pi e^(-1/D), and the numerical gap below it by 3 D / 8
    (theory E5).
    """
    missing = []
    for d in (0.04, 0.02):
        law = eyring_kramers(well(d), line(128))
        assert float(law.gap) == pytest.approx(
            np.sqrt(32) / np.pi * np.exp(-1 / d), rel=1e-12
        )
        assert np.allclose(np.asarray(law.minima).ravel(), [-1, 1]) or np.allclose(
            law.minima.ravel(), [1, -1]
        )
        assert np.allclose(law.saddles, 0, atol=1e-12)
        assert np.allclose(law.barriers, 1)
        gap = eqx.filter_jit(line_gap)(
            well(d), line(3).axes[0], 0.0, jnp.float64, (800, 1600)
        ).gap
        missing.append((1 - float(gap / law.gap)) / d)
    assert 2 * missing[1] - missing[0] == pytest.approx(3 / 8, abs=2e-3)


@pytest.mark.parametrize(("sigma", "n"), [(0.01, 96), (0.01, 1000), (0.1, 400)])
def test_eyring_kramers_of_a_noisy_table_says_smooth_and_that_works(sigma, n):
    x = np.linspace(-2.2, 2.2, 120)
    noisy = 2 * (x**2 - 1) ** 2 + sigma * np.random.default_rng(3).standard_normal(120)
    grid = fp.Grid(fp.Line(-2.0, 2.0, n))
    with pytest.raises(ValueError, match=r'fp\.Sampled\(\.\.\., smooth="gcv"\)'):
        eyring_kramers(fp.FokkerPlanck(fp.Sampled(x, noisy), 0.4), grid)
    law = eyring_kramers(fp.FokkerPlanck(fp.Sampled(x, noisy, smooth="gcv"), 0.4), grid)
    exact = eyring_kramers(
        fp.FokkerPlanck(lambda y: 2 * (y[0] ** 2 - 1) ** 2, 0.4), grid
    )
    # The curvatures have errors of some ten per cent, the energies of sigma / D only.
    assert 0.5 < float(law.gap / exact.gap) < 2
    np.testing.assert_allclose(law.barriers, exact.barriers, atol=sigma)


def test_eyring_kramers_of_a_ring_and_of_a_plane():
    """Truth: two saddles between two wells of a ring; in the plane the stiffness of a
    channel drops out.
    """
    ring = eyring_kramers(
        fp.FokkerPlanck(fp.Cosine(1.0, 2.0), 0.1),
        fp.Grid(fp.Periodic(0.0, 2 * np.pi, 64)),
    )
    assert ring.rates.shape == (2, 2)
    assert float(ring.gap) == pytest.approx(
        4 * 4 / (2 * np.pi) * np.exp(-20), rel=1e-10
    )
    plane = eyring_kramers(
        well(0.05, tilt=0.1), fp.Grid(fp.Line(*BOX, 64), fp.Line(-1.0, 1.1, 32))
    )
    alone = eyring_kramers(well(0.05, tilt=0.1), line(64))
    assert float(plane.gap) == pytest.approx(float(alone.gap), rel=1e-10)
    assert float(alone.gap) == pytest.approx(float(jnp.sum(alone.rates)), rel=1e-12)


def test_eyring_kramers_of_muller_and_browns_surface():
    """Truth: the three minima and two saddles of the surface, as published."""
    grid = fp.Grid(fp.Line(-1.7, 1.3, 64), fp.Line(-0.6, 2.2, 64))
    law = eyring_kramers(fp.FokkerPlanck(fp.MullerBrown(), 10.0), grid)
    assert np.allclose(
        law.minima, [[-0.558, 1.442], [0.623, 0.028], [-0.050, 0.467]], atol=1e-3
    )
    saddles = np.asarray(law.saddles)[np.argsort(law.saddles[:, 0])]
    assert np.allclose(saddles, [[-0.822, 0.624], [0.212, 0.293]], atol=1e-3)
    assert sorted(map(sorted, np.asarray(law.between).tolist())) == [[0, 2], [1, 2]]
    assert float(law.rates[0, 1]) == 0
    assert np.all(np.asarray(law.rates).diagonal() == 0)
    assert 0 < float(law.gap) < float(jnp.max(law.rates))


BAD_LAWS = {
    "one well": (
        fp.FokkerPlanck(fp.Harmonic()),
        "needs two wells, and the grid holds 1 minima",
    ),
    "a circle": (fp.FokkerPlanck(fp.MexicanHat(1.0)), "flat in a direction"),
    "a force": (
        fp.FokkerPlanck(fp.DoubleWell(1.0), force=lambda x: -x),
        "needs a potential",
    ),
    "a wave": (fp.Schrodinger(lambda x: jnp.sum(x**2)), "needs a potential"),
}


@pytest.mark.parametrize("word", BAD_LAWS)
def test_laws_without_wells_are_refused(word):
    """Bad input, by name."""
    equation, message = BAD_LAWS[word]
    with pytest.raises(ValueError, match=message):
        eyring_kramers(
            equation, fp.Grid(fp.Line(-2.0, 2.0, 40), fp.Line(-2.1, 2.0, 40))
        )


def test_traced_wells_are_refused():
    with pytest.raises(ValueError, match="traced"):
        jax.grad(lambda d: eyring_kramers(well(d), line(60)).gap)(0.1)
