"""Work, free energy and entropy of a transport against closed forms: a dragged trap,
kinks, jumps, and derivatives.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.bounds import Bounds
from fpsolve.anneal.pieces import smooth_pieces
from fpsolve.anneal.work import work_between
from refusals import refused

STIFFNESS, REACH = 4.0, 3.0
GRID = fp.Grid(fp.Line(-5.0, 8.0, 96))
PATH = fp.path.Moved(fp.Harmonic(STIFFNESS), REACH)
KNOTS = np.asarray([0.25, 0.35, 0.45, 0.55, 0.65, 0.75])


class Knots(eqx.Module):
    """A piecewise linear schedule through knots at sevenths of its total."""

    knots: Any
    total: float = 1.0

    def __call__(self, t: Any) -> Any:
        return jnp.interp(
            t / self.total,
            jnp.arange(8) / 7,
            jnp.concatenate([jnp.zeros(1), jnp.asarray(self.knots), jnp.ones(1)]),
        )


class Quench(eqx.Module):
    """λ jumps from 0 to 1 at 0.37."""

    total: float = 1.0

    def __call__(self, t: Any) -> Any:
        return jnp.where(t < 0.37, 0.0, 1.0)


def dragged_work(knots: Any) -> float:
    """The work on a harmonic trap: y' = -k y - c' for the lag y of the mean, W = -k int
    y c' dt, piece by piece.
    """
    centres = REACH * np.concatenate([[0.0], knots, [1.0]])
    h, lag, work = 1 / 7, 0.0, 0.0
    for speed in np.diff(centres) / h:
        end = -speed / STIFFNESS
        work -= (
            STIFFNESS
            * speed
            * (end * h + (lag - end) * -np.expm1(-STIFFNESS * h) / STIFFNESS)
        )
        lag = end + (lag - end) * np.exp(-STIFFNESS * h)
    return float(work)


def slopes(knots: np.ndarray) -> np.ndarray:
    return np.asarray(
        [
            (dragged_work(knots + 1e-5 * e) - dragged_work(knots - 1e-5 * e)) / 2e-5
            for e in np.eye(6)
        ]
    )


def test_the_integral_of_a_power_with_a_jump_is_exact_between_breakpoints() -> None:
    """cos(3 t) before 0.4 and exp(-20 (t - 0.4)) after it, at nodes that stay a margin
    away from 0.4.
    """
    margin, jump = 1e-8, 0.25
    first = np.linspace(0.0, 0.4 - margin, 21)
    second = 0.4 + margin + (0.6 - margin) * np.linspace(0, 1, 41) ** 2
    nodes = np.concatenate([first, second])
    power = np.concatenate([np.cos(3 * first), np.exp(-20 * (second - 0.4))])
    times = np.asarray([0.0, 0.13, 0.55, 1.0])
    found = work_between(
        nodes, np.repeat([0, 1], [21, 41]), power, np.asarray([jump]), times
    )
    after = lambda t: np.sin(1.2) / 3 + jump + (1 - np.exp(-20 * (t - 0.4))) / 20
    exact = np.asarray([0.0, np.sin(0.39) / 3, after(0.55), after(1.0)])
    np.testing.assert_allclose(found.value, exact, atol=1e-7)
    assert np.all(np.abs(found.value - exact) <= 3 * found.error + 1e-15)
    assert found.error[-1] < 1e-5
    assert len(found.doubtful(1e-15)) > 0 and len(found.doubtful(1.0)) == 0


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-4])
def test_pieces_resolve_what_samples_show(width: float) -> None:
    """A bump, whatever its width, between polynomials of degree 16 on the pieces."""
    bump = lambda x: np.exp(-(((x[:, None] - 0.43217) / width) ** 2) / 2)
    edges = smooth_pieces(bump, np.asarray([0.0, 1.0]))
    near = np.diff(edges)[np.searchsorted(edges, 0.43217) - 1]
    assert near < 10 * width and len(edges) < 80
    assert len(smooth_pieces(lambda x: np.cos(x)[:, None], np.asarray([0.0, 1.0]))) == 2


def test_a_bound_below_its_distance_is_not_returned() -> None:
    rows = {
        "T15": np.asarray([0.0, 0.3]),
        "T16 (Bakry-Émery)": np.asarray([0.0, 0.1]),
        "action": np.asarray([0.0, 0.5]),
    }
    found = Bounds(rows, np.asarray([0.0, 0.02]), {})
    nothing = (np.zeros(2), np.zeros(2))
    checked = found.checked(np.asarray([0.0, 0.2]), np.asarray([0.0, 0.08]), nothing)
    bound, words = checked.best
    assert words == "T15"
    assert bound[1] == 0.3
    assert np.isinf(checked.relative_entropy).all()
    assert "misses" not in words
    assert "miss a feature" in checked.why["T16 (Bakry-Émery)"]
    bound, words = found.checked(
        np.asarray([0.0, 0.9]), np.asarray([0.0, 2.0]), nothing
    ).best
    assert np.isinf(bound).all() and words.startswith("none: ")
    # Within the stated error it stands.
    kept = found.checked(
        np.asarray([0.0, 0.2]),
        np.asarray([0.0, 0.02]),
        (np.asarray([0.0, 0.15]), np.zeros(2)),
    )
    assert kept.best[1] == "T16 (Bakry-Émery)"


def test_the_work_along_a_piecewise_linear_schedule() -> None:
    found = fp.transport(PATH, Knots(KNOTS), grid=GRID, times=[0.3, 1.0])
    assert dragged_work(KNOTS) == pytest.approx(6.323755601, abs=1e-9)
    assert (
        abs(float(found.work[-1]) - dragged_work(KNOTS))
        < 3 * float(found.errors["work"][-1])
        < 1e-8
    )
    assert np.all(
        np.abs(np.asarray(found.free_energy))
        <= 3 * np.asarray(found.errors["free_energy"]) + 1e-14
    )
    expected = found.work - (found.kl - 0.0)
    np.testing.assert_allclose(found.entropy, expected, atol=1e-9)
    assert set(found.errors) >= {
        "time",
        "space",
        "box",
        "start",
        "work",
        "free_energy",
        "entropy",
        "kl",
        "tv",
    }


def test_the_work_of_a_jump() -> None:
    """A trap that jumps by 3 does k 9 / 2 on the density at rest."""
    found = fp.transport(PATH, Quench(), grid=GRID, times=[0.2, 1.0])
    exact = STIFFNESS * REACH**2 / 2
    np.testing.assert_allclose(found.work, [0.0, exact], atol=1e-5)
    assert abs(float(found.work[-1]) - exact) <= 3 * float(found.errors["work"][-1])
    assert np.all(np.isinf(found.bound)) and "jumps at t = 0.37" in found.bound_by


def test_derivatives_by_knots_where_only_they_have_kinks() -> None:
    """On the straight line the schedule has no kink, and its derivative by each knot
    has three.
    """
    line = np.arange(1, 7) / 7
    work = lambda knots: fp.transport(
        PATH, Knots(knots), grid=GRID, times=jnp.ones(1)
    ).work[-1]
    value, gradient = jax.jit(jax.value_and_grad(work))(jnp.asarray(line))
    assert float(value) == pytest.approx(dragged_work(line), abs=1e-9)
    np.testing.assert_allclose(gradient, slopes(line), atol=1e-6)


def test_a_path_that_closes_over_a_traced_number() -> None:
    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))

    def last(a: Any) -> Any:
        path = fp.Mix(lambda x: x[0] ** 2 / 2, lambda x: a * (x[0] - 1) ** 2 / 2)
        return fp.transport(path, fp.schedule.linear(1.0), grid=grid, times=jnp.ones(1))

    slope = jax.jit(jax.grad(lambda a: last(a).kl[-1]))(2.0)
    difference = (last(2.0 + 1e-4).kl[-1] - last(2.0 - 1e-4).kl[-1]) / 2e-4
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


def test_a_traced_run_that_misses_its_tolerance_gives_no_number() -> None:
    grid = fp.Grid(fp.Line(-6.0, 6.0, 32))
    path = fp.path.Moved(fp.Harmonic(30.0), 4.0)

    def last(a: Any, throw: bool) -> Any:
        schedule = fp.schedule.linear(a)
        return fp.transport(
            path,
            schedule,
            grid=grid,
            times=a[None],
            tol=1e-12,
            throw=throw,
            method=fp.Magnus(4),
        )

    found = jax.jit(lambda a: last(a, True))(jnp.asarray(1.0))
    assert np.isnan(float(found.kl[-1]))
    assert np.isnan(float(found.work[-1]))
    assert float(found.error[-1]) > 1e-12
    assert np.isfinite(
        float(jax.jit(lambda a: last(a, False))(jnp.asarray(1.0)).kl[-1])
    )


@pytest.mark.usefixtures("nothing_is_computed")
def test_what_cannot_be_right_is_refused() -> None:
    refused(
        lambda: fp.transport(PATH, Knots(KNOTS), grid=GRID, breakpoints=[2.0]),
        "breakpoints",
        "within",
    )
    refused(
        lambda: fp.transport(PATH, Knots(KNOTS), grid=GRID, breakpoints="a"),
        "breakpoints",
        "times",
    )
    static: Any = fp.Chebyshev()
    refused(
        lambda: fp.transport(PATH, Knots(KNOTS), grid=GRID, method=static),
        "method",
        "fp.Magnus",
    )
    number: Any = 1
    refused(lambda: fp.transport(PATH, Knots(KNOTS), grid=GRID, throw=number), "throw")
