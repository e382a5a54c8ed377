"""Truth: closed forms of T7, T8, N4; agreement: the stationary law by another solver;
and what must be refused.
"""

import dataclasses
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import fpsolve as fp
from fpsolve.score import currents
from fpsolve.score.reconstruct import Reconstruction, reconstruct

RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 64))
TORUS = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 30), fp.Periodic(0.0, 2 * np.pi, 31))


def turning(scale: float, curl: float) -> Reconstruction:
    """N4: a normal density of standard deviation `scale` under a rotation, well inside
    its box.
    """
    spin = lambda x: curl * jnp.stack([-x[1], x[0]])
    grid = fp.Grid(
        fp.Line(-9.5 * scale, 9.5 * scale, 48), fp.Line(-9.5 * scale, 9.5 * scale, 49)
    )
    return reconstruct(lambda x: -x / scale**2 + spin(x), grid)


def curly(x: Array) -> Array:
    return jnp.stack(
        [
            -jnp.sin(x[0]) + 0.3 * jnp.cos(x[1]),
            -0.5 * jnp.cos(x[1]) + 0.3 * jnp.sin(2 * x[0]),
        ]
    )


@pytest.mark.parametrize(("scale", "curl"), [(1.0, 0.7), (0.6, -1.9)])
def test_a_normal_density_under_a_rotation_has_its_closed_form(
    scale: float, curl: float
) -> None:
    found = turning(scale, curl)
    stiffness = np.sqrt(1 / scale**4 + curl**2)
    mean = lambda f: float(found.grid.integrate(found.density * found.grid.sample(f)))
    assert float(found.ground_energy) == pytest.approx(
        stiffness - 1 / scale**2, abs=1e-9
    )
    assert mean(lambda x: x[0] ** 2) == pytest.approx(1 / stiffness, abs=1e-9)
    assert float(found.gap) == pytest.approx(stiffness, abs=1e-9)
    # the ground state is not the law
    assert mean(lambda x: x[0] ** 2) != pytest.approx(scale**2, rel=0.05)


def test_the_law_of_a_sampler_is_not_moved_by_a_rotation() -> None:
    found = turning(1.0, 0.7)
    exact = found.grid.density(fp.Gaussian([0.0, 0.0], 1.0))
    assert float(found.grid.integrate(jnp.abs(found.stationary - exact))) < 1e-7
    wide = jnp.sqrt(found.density)[..., None]
    spin = 0.7 * jnp.stack([-found.grid.points[..., 1], found.grid.points[..., 0]], -1)
    assert float(jnp.max(jnp.abs(wide * (found.solenoidal - spin)))) < 1e-6


def test_the_energy_of_a_density_is_its_score_error() -> None:
    found = reconstruct(curly, TORUS)
    density = lambda x: jnp.exp(jnp.cos(x[0] - x[1]) + 0.3 * jnp.sin(x[1]))
    p = TORUS.density(density)
    score = jax.grad(lambda x: jnp.log(density(x)))
    misses = TORUS.sample(lambda x: jnp.sum((curly(x) - score(x)) ** 2))
    error = float(TORUS.integrate(p * misses))
    assert float(found.score_error(p)) == pytest.approx(error, rel=1e-13)
    # N3: the sign of s turned
    wrong = TORUS.sample(lambda x: jnp.sum((curly(x) + score(x)) ** 2))
    assert float(found.score_error(p)) != pytest.approx(
        float(TORUS.integrate(p * wrong)), rel=1e-2
    )


@pytest.mark.parametrize("curl", [0.6, 2.0])
def test_the_stationary_law_under_much_curl(curl: float) -> None:
    mixture = fp.GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.5)
    score = lambda x: -jax.grad(mixture)(x) + curl * jnp.stack([-x[1], x[0]])
    found = reconstruct(score, fp.Grid(fp.Line(-6.0, 6.0, 60), fp.Line(-5.4, 5.4, 50)))
    # by the flux, not by waves
    change = lambda p: float(jnp.max(jnp.abs(found.operator.generator(p))))
    assert change(found.stationary) < 0.01 * change(found.density)
    if curl > 1:  # a box that holds the density, and not the wider law
        with pytest.raises(fp.NumericalFailure, match="moved by"):
            _ = reconstruct(
                score, fp.Grid(fp.Line(-5.0, 5.0, 60), fp.Line(-4.4, 4.4, 50))
            ).stationary


def test_the_stationary_law_agrees_with_the_modes_of_the_sampler() -> None:
    found = reconstruct(curly, TORUS)
    other = fp.spectrum(
        found.equation.sampler(), TORUS, 1, scheme=fp.Spectral()
    ).stationary
    assert float(jnp.max(jnp.abs(found.stationary - other))) < 1e-12
    infidelity = (
        1 - float(TORUS.integrate(jnp.sqrt(found.stationary * found.density))) ** 2
    )
    rest = found.scores - jnp.stack(
        jnp.gradient(jnp.log(found.density), *(a[1] - a[0] for a in TORUS.nodes)), -1
    )
    square = float(TORUS.integrate(found.stationary * jnp.sum(rest**2, -1)))
    assert 0 < infidelity < square / 4 / float(found.gap)  # T11


def test_the_two_parts_of_a_score_are_orthogonal() -> None:
    found = reconstruct(curly, TORUS)
    mean = lambda u: float(TORUS.integrate(found.density * jnp.sum(u, -1)))
    assert abs(mean(found.solenoidal * found.conservative)) < 1e-12
    assert mean(found.solenoidal**2) > 1e-12
    gradient = reconstruct(lambda x: jnp.stack([-jnp.sin(x[0]), jnp.cos(x[1])]), TORUS)
    assert float(jnp.max(jnp.abs(gradient.solenoidal))) < 1e-9
    assert float(gradient.ground_energy) < 1e-15


@pytest.mark.parametrize("d", [0.2, 0.9])
def test_the_bound_is_an_equality_on_the_ring(d: float) -> None:
    found = reconstruct(lambda x: 0 * x, RING)
    p = RING.density(lambda x: (1 + d * jnp.cos(x[0])) ** 2)
    infidelity = 1 - float(RING.integrate(jnp.sqrt(p * found.density))) ** 2
    eps2 = found.score_error(p)
    assert float(found.infidelity_bound(eps2)) == pytest.approx(infidelity, rel=1e-10)
    # the control of T8
    assert float(found.infidelity_bound(eps2 / 1.05**2)) < infidelity
    # N11: another unit of time, the same bound
    halved = reconstruct(lambda x: 0 * x, RING, diffusion=0.5)
    assert float(halved.gap) == pytest.approx(0.5)
    assert float(halved.bound(eps2)) == pytest.approx(infidelity**0.5)


@pytest.mark.parametrize(("a", "ratio"), [(0.5, 0.956), (3.0, 0.69)])
def test_the_bound_is_nearly_tight_between_two_wells(a: float, ratio: float) -> None:
    grid = fp.Grid(fp.Line(-11.0, 11.0, 160))
    well = lambda share: fp.GaussianMixture([[-a], [a]], 1.0, [share, 1 - share])
    p = grid.density(lambda x: jnp.exp(-well(0.5)(x)))
    found = reconstruct(well(0.7), grid)
    infidelity = 1 - grid.integrate(jnp.sqrt(p * found.density)) ** 2
    assert float(
        infidelity / found.infidelity_bound(found.score_error(p))
    ) == pytest.approx(ratio, abs=0.01)
    assert float(grid.integrate(jnp.abs(p - found.density))) / 2 < float(
        found.bound(found.score_error(p))
    )


def test_the_gap_of_two_modes_far_apart() -> None:
    grid = fp.Grid(fp.Line(-10.5, 10.5, 128), fp.Line(-7.0, 7.0, 40))
    mixture = fp.GaussianMixture([[-3.5, 0.0], [3.5, 0.0]], 1.0)
    gap = fp.spectral_gap(fp.ScoreHamiltonian(lambda x: -jax.grad(mixture)(x)), grid)
    exact = fp.spectral_gap(
        fp.FokkerPlanck(fp.GaussianMixture([[-3.5], [3.5]], 1.0)),
        fp.Grid(fp.Line(-11.0, 11.0, 128)),
    )
    assert float(gap) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize(
    "grid",
    [fp.Grid(fp.Reflecting(-4.0, 4.0, 500)), fp.Grid(fp.Legendre(-4.0, 4.0, 40))],
)
def test_every_scheme_takes_a_score(grid: fp.Grid) -> None:
    found = reconstruct(lambda x: x - x**3, grid)
    exact = fp.spectral_gap(
        fp.FokkerPlanck(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2),
        fp.Grid(fp.Line(-4.0, 4.0, 64)),
    )
    assert float(found.gap) == pytest.approx(float(exact), rel=2e-4)
    assert 0 <= float(found.ground_energy) < 1e-12


def test_volumes_by_multigrid_agree_with_the_basis() -> None:
    score = lambda x: -x + 0.4 * jnp.stack([-x[1], x[0]])
    axes = lambda n: fp.Grid(fp.Line(-6.0, 6.0, n), fp.Line(-6.5, 6.5, n))
    volumes = fp.spectrum(
        fp.ScoreHamiltonian(score), axes(96), 3, scheme=fp.ScharfetterGummel()
    ).values
    basis = fp.spectrum(fp.ScoreHamiltonian(score), axes(40), 3).values
    assert np.allclose(volumes, basis, rtol=5e-3)


def test_a_score_evolves_waves_also_when_it_moves() -> None:
    grid = fp.Grid(fp.Line(-9.0, 9.0, 48))
    bump = lambda x: jnp.exp(-((x[0] - 1) ** 2) / 4)
    for score, potential in (
        (lambda x: -2 * x, lambda x: x[0] ** 2),
        (lambda x, t: -(1 + t) * x, lambda x, t: (1 + t) * x[0] ** 2 / 2),
    ):
        image = fp.FokkerPlanck(potential).schrodinger(0.0)
        by_score, by_potential = (
            fp.evolve(equation, bump, [0.5], grid=grid, tol=1e-7).values
            for equation in (fp.ScoreHamiltonian(score), image)
        )
        assert float(jnp.max(jnp.abs(by_score - by_potential))) < 1e-6


def test_gap_and_bound_are_differentiable() -> None:
    grid = fp.Grid(fp.Line(-8.0, 8.0, 40))
    gap = lambda a: reconstruct(lambda x: a * (x - x**3), grid).gap
    step = (gap(1.3 + 1e-4) - gap(1.3 - 1e-4)) / 2e-4
    assert float(jax.grad(gap)(1.3)) == pytest.approx(float(step), rel=1e-6)
    assert float(jax.jit(gap)(1.3)) == pytest.approx(float(gap(1.3)), rel=1e-12)


LINE = fp.Grid(fp.Line(-5.0, 5.0, 41))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda: reconstruct(lambda x: 0.1 + 0 * x, LINE),
            ["score", "does not confine", "axis 0", "tail"],
        ),
        (lambda: reconstruct(lambda x: jnp.sum(x), LINE), ["score", "shape (1,)"]),
        (lambda: reconstruct(lambda x: 1 / x, LINE), ["score", "finite", "x = (0.0,)"]),
        (lambda: reconstruct("score", LINE), ["score", "function"]),
        (lambda: reconstruct(lambda x: -x, LINE, k=1), ["k", "two levels"]),
        (lambda: reconstruct(lambda x: -x, LINE, diffusion=[1.0, 2.0]), ["diffusion"]),
        (
            lambda: reconstruct(lambda x: -x, LINE).bound(-1.0),
            ["eps2", "at least zero"],
        ),
        (lambda: turning(1.0, 0.7).bound(1e-3), ["eps2", "4 lambda"]),
        (
            lambda: reconstruct(lambda x: -x, LINE).score_error(jnp.ones(3)),
            ["density", "shape"],
        ),
        (
            lambda: fp.ScoreHamiltonian(lambda x: -x, lambda x: 1.0),
            ["diffusion", "number"],
        ),
        (
            lambda: fp.spectrum(
                fp.ScoreHamiltonian(lambda x: -x), LINE, 2, scheme=fp.SquareRoot()
            ),
            ["scheme", "score"],
        ),
        (
            lambda: fp.spectral_gap(fp.ScoreHamiltonian(lambda x: -x)),
            ["grid", "score", "box"],
        ),
        (
            lambda: (
                reconstruct(
                    lambda x: -x, fp.Grid(fp.Reflecting(-4.0, 4.0, 30))
                ).stationary
            ),
            ["scheme", "Spectral"],
        ),
        (
            lambda: reconstruct(lambda x: x, fp.Grid(fp.Periodic(0.0, 1.0, 16))),
            ["score", "periodic"],
        ),
    ],
)
def test_bad_input_is_refused(ask, words) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as refusal:
        ask()
    assert all(word in str(refusal.value) for word in words)


def test_a_stationary_law_that_was_not_found_is_a_named_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = dataclasses.replace(
        currents.CONSTANTS, gmres_restart=1, gmres_rounds=1, dense_points=1
    )
    monkeypatch.setattr(currents, "CONSTANTS", few)
    found = reconstruct(
        curly, fp.Grid(fp.Periodic(0.0, 2 * np.pi, 22), fp.Periodic(0.0, 2 * np.pi, 23))
    )
    with pytest.raises(fp.NumericalFailure, match="not_settled"):
        _ = found.stationary


def test_a_reconstruction_is_a_pytree() -> None:
    found = reconstruct(lambda x: -x, LINE)
    again = eqx.tree_at(lambda r: r.scores, found, 2 * found.scores)
    assert float(jnp.max(jnp.abs(again.scores - 2 * found.scores))) == 0
