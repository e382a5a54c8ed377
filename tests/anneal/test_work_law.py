"""The law of the work against closed forms: a trap that is moved (Gaussian) and one
that is stiffened (a Riccati equation), the fluctuation relations to rounding, and the
protocols of least work of Schmiedl and Seifert.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fpsolve as fp
from exact_work import (
    growth_rate,
    least_moved,
    least_stiffened,
    moved_work,
    stiffened_transform,
    true_stiffened_work,
)
from fpsolve.anneal import fluctuation_relations
from fpsolve.anneal.fluctuations import relations
from fpsolve.anneal.schedule import jumping, learn, linear, smooth
from fpsolve.anneal.staircase import make_staircase, step_lambdas
from fpsolve.anneal.work_transform import inverse_transform
from fpsolve.path.mix import Driven, Identity
from refusals import refused

GRID = fp.Grid(fp.Line(-6.0, 8.0, 64))
TRAP = fp.path.Moved(fp.Harmonic(), 2.0)


class Jump(eqx.Module):
    """The whole path at once at the start: a quench."""

    total: float = 1.0

    def __call__(self, t: Any) -> Any:
        return jnp.where(t > 0, 1.0, 0.0)


@pytest.fixture(scope="module")
def best_law() -> fp.WorkLaw:
    return fp.work_law(TRAP, jumping(2.0, 0.25, 0.25), grid=GRID, tol=1e-4, joint=True)


def test_the_best_protocol_of_a_moved_trap_has_a_gaussian_law(
    best_law: fp.WorkLaw,
) -> None:
    """Truth: mean 1, variance 2 D times the mean, and the Gaussian density of these."""
    law = best_law
    assert least_moved(1.0, 2.0, 2.0) == pytest.approx(1.0)
    assert moved_work(1.0, 2.0, 2.0, 0.25, 0.25) == pytest.approx(1.0)
    assert law.result == "successful"
    assert abs(float(law.mean) - 1) < 3 * float(law.number_errors["mean"]) < 0.05
    assert abs(float(law.variance) - 2) < 3 * float(law.number_errors["variance"]) < 0.1
    assert float(law.free_energy) == pytest.approx(0, abs=1e-12)
    w = np.asarray(law.work)
    spacing = float(law.work[1] - law.work[0])
    truth = np.exp(-((w - 1) ** 2) / 4) / np.sqrt(4 * np.pi)
    error = np.sum(np.abs(np.asarray(law.density) - truth)) * spacing
    assert float(law.error) / 10 < error < 3 * float(law.error) < 0.1
    assert law.quantiles(np.asarray([0.5]))[0] == pytest.approx(1.0, abs=0.02)
    assert "forward" in repr(law) and float(law.dissipated) == float(law.mean)


def test_the_joint_law_has_both_laws_as_margins(best_law: fp.WorkLaw) -> None:
    joint = np.asarray(best_law.joint)
    spacing = float(best_law.work[1] - best_law.work[0])
    of_work = joint @ np.asarray(GRID.weights)
    np.testing.assert_allclose(of_work, best_law.density, atol=1e-12)
    of_position = np.sum(joint, axis=0) * spacing
    mean = np.sum(of_position * GRID.nodes[0] * np.asarray(GRID.weights))
    # The mean of the position at the end lags behind the trap by its last jump and the
    # speed: 2 - 2 / 4 - 1 / 2 ...
    assert np.sum(of_position * np.asarray(GRID.weights)) == pytest.approx(1, abs=1e-9)
    assert mean == pytest.approx(1.0, abs=0.02)


def test_jarzynski_holds_to_rounding_however_wrong_the_work_is(
    best_law: fp.WorkLaw,
) -> None:
    assert float(best_law.jarzynski) == pytest.approx(1, abs=1e-12)


def test_the_fluctuation_relations_hold_to_rounding_on_any_grid() -> None:
    """Between a harmonic trap and a double well, in 3 steps on 24 nodes. Control: the
    reverse of another protocol.
    """
    path = fp.Mix(fp.Harmonic(1.3, -0.4), lambda x: (x[0] ** 2 - 1) ** 2 + 0.2 * x[0])
    grid = fp.Grid(fp.Line(-6.0, 6.0, 24))
    found = fluctuation_relations(
        path, smooth(0.7, 1), grid=grid, diffusion=0.6, steps=3
    )
    assert found.jarzynski < 1e-12
    assert found.crooks < 1e-11
    by_lambda = fp.FokkerPlanck(Driven(path, Identity()), 0.6)
    one = make_staircase(by_lambda, grid, step_lambdas(smooth(0.7, 1), 0.7, 3), 0.7)
    other = make_staircase(
        by_lambda, grid, step_lambdas(linear(0.7), 0.7, 3), 0.7, reverse=True
    )
    wrong = relations(one, other, np.asarray([0.25, 1.0, 3.0]) / 0.6)
    assert wrong.jarzynski < 1e-12  # it holds for every protocol
    assert wrong.crooks > 1e-3


def test_the_inverse_transform_of_a_gaussian() -> None:
    width, count = 24.0, 64
    u = 2 * np.pi / width * np.arange(count // 2 + 1)
    found = inverse_transform(np.exp(0.7j * u - 0.5 * u**2), width)
    w = (np.arange(count) / count - 0.5) * width
    np.testing.assert_allclose(
        found, np.exp(-((w - 0.7) ** 2) / 2) / np.sqrt(2 * np.pi), atol=1e-12
    )


def test_random_moved_traps() -> None:
    """Parameters that nothing was tuned on: mean and variance within their errors, and
    effectivity not beyond 30.
    """
    generator = np.random.default_rng(7)
    for _ in range(2):
        stiffness, reach, total = generator.uniform([0.5, 0.5, 0.3], [3.0, 2.5, 3.0])
        first, last = generator.uniform(0, 0.45, 2)
        diffusion = float(generator.uniform(0.4, 1.5))
        path = fp.path.Moved(fp.Harmonic(float(stiffness)), float(reach))
        law = fp.work_law(
            path,
            jumping(total, first, last),
            grid=_box(stiffness, reach, diffusion),
            diffusion=diffusion,
            tol=1e-4,
        )
        truth = moved_work(stiffness, reach, total, first, last)
        for name, value in (("mean", truth), ("variance", 2 * diffusion * truth)):
            true_error = abs(float(getattr(law, name)) - value)
            assert (
                true_error < 3 * float(law.number_errors[name]) < 30 * true_error + 1e-6
            )


def _box(stiffness: float, reach: float, diffusion: float) -> fp.Grid:
    spread = 6.5 * np.sqrt(diffusion / stiffness)
    return fp.Grid(fp.Line(-spread, reach + spread, 64))


def test_a_stiffened_trap_against_its_riccati_equation() -> None:
    """The law is not Gaussian. Truth: the inverse transform of the solution for each
    frequency.
    """
    ends = (1.0, 4.0)
    jumps = (0.2, 0.3)
    diffusion = 0.8
    path = fp.Mix(fp.Harmonic(ends[0]), fp.Harmonic(ends[1]))
    grid = fp.Grid(fp.Line(-6.5, 6.5, 64))
    law = fp.work_law(
        path, jumping(1.0, *jumps), grid=grid, diffusion=diffusion, tol=1e-3
    )
    width = float(law.work[1] - law.work[0]) * len(law.work)
    count = len(law.work)
    u = 2 * np.pi / width * np.arange(count // 2 + 1)
    centre = float(law.work[count // 2])
    values = stiffened_transform(1j * u, ends, jumps, diffusion)
    exact = inverse_transform(values * np.exp(-1j * u * centre), width)
    error = np.sum(np.abs(np.asarray(law.density) - exact)) * width / count
    assert error < 3 * float(law.errors["space"] + law.errors["time"])
    assert float(law.errors["space"]) < 0.1
    z = np.asarray([-1 / diffusion + 0j])
    weight = stiffened_transform(z, ends, jumps, diffusion)[0]
    jarzynski = np.exp(-float(law.free_energy) / diffusion)
    assert weight.real == pytest.approx(jarzynski, rel=1e-6)
    free_energy = diffusion / 2 * np.log(ends[1] / ends[0])
    assert float(law.free_energy) == pytest.approx(free_energy, rel=1e-9)


def test_crooks_symmetry_of_the_densities() -> None:
    """p(w) = p_r(-w) exp((w - ΔF) / D), for a path that is not symmetric, up to a
    linear interpolation.
    """
    path = fp.Mix(fp.Harmonic(1.0), fp.Harmonic(1.4, 1.5))
    options = {"grid": fp.Grid(fp.Line(-6.5, 7.5, 64)), "tol": 1e-4}
    forward = fp.work_law(path, linear(1.0), **options)
    backward = fp.work_law(path, linear(1.0), direction="backward", **options)
    assert float(backward.free_energy) == pytest.approx(
        -float(forward.free_energy), rel=1e-12
    )
    w = np.asarray(forward.work)
    mirrored = np.interp(
        w, -np.asarray(backward.work)[::-1], np.asarray(backward.density)[::-1]
    )
    expected = mirrored * np.exp(w - float(forward.free_energy))
    seen = np.abs(w - float(forward.mean)) < 2.5 * float(jnp.sqrt(forward.variance))
    np.testing.assert_allclose(
        np.asarray(forward.density)[seen], expected[seen], atol=0.01
    )
    assert float(forward.mean) > float(forward.free_energy) > -float(backward.mean)


def test_descent_finds_the_protocol_of_schmiedl_and_seifert() -> None:
    """Truth: the true work of what descent finds on 64 nodes is above the least by at
    most 1e-3, and the jumps are -c / (k_1 - k_0) and -c / (1 + c T) / (k_1 - k_0).
    Control: the best schedule without jumps is not that good.
    """
    first, last, total = 1.0, 4.0, 0.8
    path = fp.Mix(fp.Harmonic(first), fp.Harmonic(last))
    grid = fp.Grid(fp.Line(-6.5, 6.5, 64))
    one, history = learn(
        path, total, "work", optax.adam(0.1), grid=grid, steps=80, knots=4, jumps=True
    )
    least = least_stiffened(first, last, total, 1.0)
    assert (
        least * (1 - 1e-6) < true_stiffened_work(one, first, last) < least * (1 + 1e-3)
    )
    assert min(history) == pytest.approx(least, rel=2e-2)  # the error of 64 nodes
    c = growth_rate(first, last, total)
    jumps = np.asarray([-c, -c / (1 + c * total)]) / (last - first)
    np.testing.assert_allclose([float(jump) for jump in one.jumps], jumps, atol=0.03)
    assert true_stiffened_work(jumping(total, 0.0, 0.0), first, last) > 1.03 * least


def test_two_dimensions() -> None:
    """A trap moved along the diagonal: the work is that of one dimension."""
    path = fp.path.Moved(fp.Harmonic(), jnp.asarray([1.0, 1.0]))
    grid = fp.Grid(fp.Line(-5.0, 6.0, 24), fp.Line(-5.0, 6.0, 25))
    law = fp.work_law(path, linear(1.0), grid=grid, tol=0.02, points=16)
    truth = moved_work(1.0, np.sqrt(2), 1.0, 0.0, 0.0)
    assert abs(float(law.mean) - truth) < 3 * float(law.number_errors["mean"]) < 0.3
    assert float(law.jarzynski) == pytest.approx(1, abs=1e-11)


def test_a_quench_says_that_its_density_is_not_resolved() -> None:
    """W = (k_1 - k_0) x^2 / 2: the density is infinite at 0."""
    path = fp.Mix(fp.Harmonic(1.0), fp.Harmonic(2.0))
    law = fp.work_law(
        path, Jump(), grid=fp.Grid(fp.Line(-6.0, 6.0, 64)), tol=0.02, throw=False
    )
    assert float(law.errors["transform"]) > 0.02
    assert float(law.mean) == pytest.approx(0.5, abs=1e-6)
    assert float(law.variance) == pytest.approx(0.5, abs=1e-6)


def test_jumps_at_the_ends() -> None:
    schedule = jumping(2.0, 0.25, 0.125)
    np.testing.assert_allclose(
        schedule(jnp.asarray([0.0, 1e-12, 1.0, 2 - 1e-12, 2.0])),
        [0, 0.25, 0.5625, 0.875, 1],
    )
    assert float(schedule.rate(1.0)) == pytest.approx(0.3125)
    first, last = schedule.jumps
    assert (float(first), float(last)) == (0.25, 0.125)


def test_refusals() -> None:
    ask = lambda **options: fp.work_law(
        **({"path": TRAP, "schedule": linear(1.0), "grid": GRID} | options)
    )
    refused(lambda: ask(path=1.0), "path")
    refused(lambda: ask(schedule=lambda t: t), "schedule", "total")
    refused(lambda: ask(tol=2.0), "tol")
    refused(lambda: ask(points=33), "points", "34")
    refused(lambda: ask(direction="forwards"), "direction", "forward")
    refused(lambda: ask(grid=fp.Grid(fp.Line(-1.0, 1.0, 32))), "path", "not confining")
    refused(lambda: ask(path=lambda lam: fp.Harmonic()), "path", "never moves")
    refused(lambda: ask(diffusion=lambda x: 1 + x[0] ** 2), "diffusion")
    refused(lambda: ask(joint="yes"), "joint")
    refused(lambda: jumping(1.0, 0.7, 0.6), "last")
    refused(lambda: jumping(1.0, -0.1, 0.6), "first")
    refused(
        lambda: learn(TRAP, 1.0, jumps=True, start=linear(1.0), grid=GRID),
        "objective",
        "work",
    )
    refused(lambda: learn(TRAP, 1.0, "kl", start=linear(1.0), grid=GRID), "objective")
    refused(
        lambda: jax.jit(lambda total: fp.work_law(TRAP, linear(total), grid=GRID).mean)(
            1.0
        ),
        "traced",
    )


def test_a_transport_does_not_lose_a_jump_in_silence() -> None:
    refused(
        lambda: fp.transport(TRAP, jumping(2.0, 0.25, 0.0), grid=GRID),
        "schedule",
        "jumps",
        "fp.work_law",
    )
    refused(
        lambda: fp.transport(TRAP, jumping(2.0, 0.0, 0.25), grid=GRID),
        "schedule",
        "jumps",
        "its total",
    )
