"""The gap and the costs along a path, against closed forms, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.along import Along, along
from fpsolve.anneal.panels import interpolate
from refusals import refused

D = 0.5
BOX = fp.Grid(fp.Line(-8.0, 9.0, 64))
PLACES = np.linspace(0, 1, 301)


def hard(lam):
    """A single well turned into a tilted double well."""
    return lambda x: (
        (1 - lam) * 2 * (x[0] + 1) ** 2 + lam * (3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2)
    )


# N(0, D) to N(2, D / 2): k = 1 + λ, k c = 4 λ
GEOMETRIC = fp.Mix(fp.Harmonic(1.0, 0.0), fp.Harmonic(2.0, 2.0))


def exact_rates(lam: np.ndarray) -> dict[str, np.ndarray]:
    """ell = a He_1(y) + b He_2(y) / sqrt(2), modes of rates k and 2k:
    |H^p f|^2 = a^2 k^2p + b^2 (2k)^2p.
    """
    k, v = 1 + lam, D / (1 + lam)
    mean_speed, variance_speed = 4 / (1 + lam) ** 2, -D / (1 + lam) ** 2
    a, b = mean_speed**2 / v, (variance_speed / v) ** 2 / 2
    norm = lambda power: np.sqrt(a * k**power + b * (2 * k) ** power)
    return {
        "gap": k,
        "drive": norm(0),
        "bound": norm(0) / k,
        "score": norm(1) / k**1.5,
        "wasserstein": norm(-1),
        "exact": norm(-2),
    }


def chain_faults(found: Along) -> list[str]:
    """Where (d) <= (c) / sqrt(gap) <= (a) <= (b) is broken."""
    rates = found.at(PLACES)
    chain = [
        rates.exact,
        rates.wasserstein / jnp.sqrt(rates.gap),
        rates.bound,
        rates.score,
    ]
    return [
        f"link {i}"
        for i in range(3)
        if not jnp.all(chain[i] <= chain[i + 1] * (1 + 1e-9))
    ]


@pytest.fixture(scope="module")
def between_gaussians() -> Along:
    return along(GEOMETRIC, grid=BOX, diffusion=D)


def test_gap_and_costs_between_gaussians(between_gaussians: Along) -> None:
    """Truth: closed forms, at places that are not nodes."""
    rates = between_gaussians.at(PLACES)
    for name, truth in exact_rates(PLACES).items():
        assert float(jnp.max(jnp.abs(getattr(rates, name) / truth - 1))) < 1e-8, name
    assert float(between_gaussians.error) < 3e-8  # the interpolation may err by 1e-8
    assert chain_faults(between_gaussians) == []


def test_a_moving_gaussian_costs_the_same_by_all_four_rules() -> None:
    """Truth: ell is the slowest mode, and all four costs are equal,
    |mean speed| sqrt(k / D) / k each.
    """
    path = fp.Mix(fp.Harmonic(2.0, -1.0), fp.Harmonic(2.0, 1.0))
    rates = along(path, grid=BOX, diffusion=D).at(PLACES)
    one = 2 * np.sqrt(1 / (2.0 * D))
    chain = (
        rates.exact,
        rates.wasserstein / jnp.sqrt(rates.gap),
        rates.bound,
        rates.score,
    )
    assert max(float(jnp.max(jnp.abs(cost / one - 1))) for cost in chain) < 1e-9


def test_rates_are_vectorised_and_differentiable(between_gaussians: Along) -> None:
    gap = lambda lam: between_gaussians.at(lam).gap
    assert gap(jnp.zeros((2, 3))).shape == (2, 3)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jax.grad(gap)))(jnp.asarray([0.1, 0.77])), 1, rtol=1e-6
    )


def test_two_dimensions_whose_slow_levels_cross() -> None:
    """Truth: independent coordinates of stiffness 1 + λ and 1.4; levels cross at 0.4,
    between the nodes.
    """
    path = lambda lam: fp.Harmonic(
        jnp.stack([1 + lam, 1.4 + 0 * lam]), jnp.stack([4 * lam / (1 + lam), 0 * lam])
    )
    grid = fp.Grid(fp.Line(-6.0, 8.0, 64), fp.Line(-5.5, 5.5, 48))
    found = along(path, grid=grid, diffusion=D, tol=1e-6)
    truth = exact_rates(PLACES)
    rates = found.at(PLACES)
    assert float(jnp.max(jnp.abs(rates.gap / np.minimum(1 + PLACES, 1.4) - 1))) < 1e-6
    for name in ("drive", "wasserstein", "exact"):
        assert float(jnp.max(jnp.abs(getattr(rates, name) / truth[name] - 1))) < 1e-6, (
            name
        )
    assert chain_faults(found) == []
    assert len(found.lambdas) < 100


def test_the_chain_holds_along_the_hard_path() -> None:
    found = along(hard, grid=fp.Grid(fp.Line(-4.6, 4.0, 64)))
    assert chain_faults(found) == []
    finer = along(hard, grid=fp.Grid(fp.Line(-4.8, 4.2, 64)), tol=1e-10)
    assert (
        float(jnp.max(jnp.abs(found.at(PLACES).gap / finer.at(PLACES).gap - 1))) < 1e-7
    )


def test_a_broken_chain_is_seen(between_gaussians: Along) -> None:
    """Control: the costs in the wrong order."""
    coefficients = between_gaussians.panels.coefficients
    turned = coefficients.at[5].set(coefficients[2])  # "exact" is what "drive" was
    panels = between_gaussians.panels
    spoilt = type(panels)(panels.edges, turned, panels.logarithms)
    assert chain_faults(dataclasses.replace(between_gaussians, panels=spoilt)) == [
        "link 0"
    ]


def test_panels_find_kinks_zeros_and_sharp_minima() -> None:
    first, second = lambda x: 1 + x, lambda x: 2.7 - x**2
    sharp = lambda x: 1e-6 + (x - 0.3) ** 2
    rows = lambda x: np.stack(
        [
            np.minimum(first(x), second(x)),
            np.maximum(first(x), second(x)),
            sharp(x),
            np.abs(x - 0.61),
        ]
    )
    panels, places = interpolate(rows, 1e-8, np.asarray([0.0, 1.0]), np.zeros(4))
    x = np.linspace(0, 1, 2003)
    lower, _, least, vee = np.asarray(panels(x))
    assert np.max(np.abs(lower / np.minimum(first(x), second(x)) - 1)) < 1e-8
    assert np.max(np.abs(least / sharp(x) - 1)) < 1e-7
    assert np.max(np.abs(vee - np.abs(x - 0.61))) < 1e-4
    assert len(places) < 1500


def test_refusals() -> None:
    flat = lambda lam: lambda x: (0.55 - lam) * x[0] ** 2
    split = lambda lam: (
        lambda x: jnp.where(jnp.abs(x[0]) < 0.5, 2000.0 * lam, 0.0) + x[0] ** 2 / 2
    )
    cut = lambda lam: lambda x: jnp.where(lam > 0.7, jnp.inf, x[0] ** 2)
    still = lambda lam: lambda x: x[0] ** 2 + 0 * lam
    refused(lambda: along(flat, grid=BOX), "path", "not confining at lambda = 0.4375")
    refused(lambda: along(cut, grid=BOX), "path", "lambda = 0.75")
    refused(lambda: along(split, grid=BOX), "path", "the gap closes at lambda = ")
    refused(lambda: along(still, grid=BOX), "path", "never moves")
    refused(lambda: along(fp.Harmonic(), grid=fp.Grid(fp.Absorbing(0, 1, 16))), "grid")
    refused(lambda: along(hard, grid=BOX, tol=0.0), "tol")
    refused(lambda: along(hard, grid=BOX, diffusion=-1.0), "diffusion")
