"""Schrödinger bridges against closed forms, against dense matrices, and what is
refused.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from exact_bridge import NormalBridge, dense_bridge, random_bridge

LINE = fp.Grid(fp.Line(-6.0, 6.0, 72))
PLANE = fp.Grid(fp.Line(-5.5, 5.5, 72), fp.Line(-5.5, 5.5, 72))
# T28: v / (s_0 s_1) = 2.2222, for which the rate of a sweep is .14725.
KNOWN = NormalBridge(
    np.array([-0.5]), np.array([[0.36]]), np.array([0.7]), np.array([[0.81]]), 1.0, 0.6
)

# five in all calls that can have five: another number is another program
TIMES = [0.0, 0.01, 0.2, 0.4, 0.6]


def l1(grid: fp.Grid, p: Any, q: Any) -> float:
    return float(np.max(grid.integrate(jnp.abs(jnp.asarray(p) - jnp.asarray(q)))))


def test_a_normal_bridge_on_a_line() -> None:
    times = TIMES
    found = KNOWN.solve(LINE, times, check=False)
    exact = np.stack([KNOWN.density(t, LINE) for t in times])
    assert l1(LINE, found.values, exact) < 1e-8
    assert abs(found.contraction - 0.14725) < 1e-5
    assert abs(found.contraction - KNOWN.contraction) < 1e-8
    assert abs(found.stats["observed_rate"] - KNOWN.contraction) < 1e-3
    # The box ends at six deviations.
    assert abs(found.cost - KNOWN.cost) < 1e-7
    assert found.result == "successful"
    # The drift is linear. Paths from the tails reach the ends of the box.
    for k in (0, 1, 2, 3):
        drift = KNOWN.drift(times[k], np.asarray(LINE.points))
        away = np.abs(np.asarray(found.drift[k]) - drift)[:, 0] * np.asarray(
            found.values[k]
        )
        assert np.max(away) < 1e-7
        assert np.max(away[np.asarray(found.values[k]) < 1e-8]) < 1e-9


def test_half_the_variance_is_refused() -> None:
    # The control of T28: with v = D T in the place of 2 D T nothing agrees.
    wrong = NormalBridge(
        KNOWN.mean_0, KNOWN.covariance_0, KNOWN.mean_1, KNOWN.covariance_1, 0.5, 0.6
    )
    found = KNOWN.solve(LINE, TIMES, check=False)
    assert l1(LINE, found.values[2], wrong.density(0.2, LINE)) > 1e-2
    assert abs(found.contraction - wrong.contraction) > 0.1


def test_an_ornstein_uhlenbeck_reference() -> None:
    exact = random_bridge(3, 1, stiffness=True)
    times = np.linspace(0, exact.total, 5)
    found = exact.solve(LINE, times, check=False)
    assert (
        l1(LINE, found.values, np.stack([exact.density(t, LINE) for t in times])) < 1e-8
    )
    assert abs(found.contraction - exact.contraction) < 1e-7
    assert abs(found.cost - exact.cost) < 1e-7 * exact.cost
    drift = exact.drift(times[1], np.asarray(LINE.points))
    near = np.asarray(found.values[1]) > 1e-12
    assert np.max(np.abs(found.drift[1] - drift)[near]) < 1e-5


def test_through_a_third_density() -> None:
    # Given the density between, what is before is independent of what is after.
    middle = fp.Gaussian(0.8, 0.5)
    free = fp.FokkerPlanck(None, 0.7)
    start = fp.Gaussian(-1.0, 0.4)
    end = fp.Gaussian(0.0, 0.6)
    five = [0.0, 0.05, 0.1, 0.2, 0.3]
    times = [*five, 0.4, 0.45, 0.5, 0.6, 0.7]
    both = fp.bridge(
        free,
        start,
        end,
        1.0,
        grid=LINE,
        times=times,
        through=[(0.4, middle)],
        check=False,
    )
    first = fp.bridge(free, start, middle, 0.4, grid=LINE, times=five, check=False)
    last = fp.bridge(free, middle, end, 0.6, grid=LINE, times=five, check=False)
    assert l1(LINE, both.values[:5], first.values) < 1e-9
    assert l1(LINE, both.values[5:], last.values) < 1e-9
    assert l1(LINE, both.values[5], LINE.density(middle)) < 1e-9
    assert abs(both.cost - first.cost - last.cost) < 1e-9
    direct = fp.bridge(
        free, start, end, 1.0, grid=LINE, times=[0.1, 0.2, 0.4, 0.5, 1.0], check=False
    )
    assert l1(LINE, direct.values[2], both.values[5]) > 0.1
    assert direct.cost < both.cost


def test_a_saved_bridge(tmp_path: Any) -> None:
    found = KNOWN.solve(LINE, TIMES, check=False)
    found.save(tmp_path / "bridge.npz")
    record = fp.load(tmp_path / "bridge.npz")
    assert np.array_equal(record["forward"], found.forward)
    assert record.dimensions("drift") == ("time", "x0", "component")
    assert record.header["iterations"] == found.iterations
    data = found.to_xarray()
    assert data["values"].dims == ("time", "x0")
    assert found.plot() is not None
    assert "sweeps" in repr(found)


def test_a_normal_bridge_in_the_plane() -> None:
    exact = random_bridge(11, 2)
    times = exact.total * np.array([0.0, 0.25, 0.5, 1.0])
    found = exact.solve(PLANE, times)
    difference = [
        l1(PLANE, found.values[k], exact.density(t, PLANE)) for k, t in enumerate(times)
    ]
    assert max(difference) < 1e-6
    assert abs(found.contraction - exact.contraction) < 1e-6
    assert abs(found.cost - exact.cost) < 1e-6 * exact.cost
    assert np.all(found.error >= np.asarray(difference) / 3)
    assert np.max(found.error) < 1e-6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stiffness", [False, True])
def test_random_normal_bridges(seed: int, stiffness: bool) -> None:
    exact = random_bridge(100 + seed, 1, stiffness)
    times = np.sort(np.random.default_rng(seed).uniform(0, exact.total, 4))
    found = exact.solve(LINE, times)
    difference = np.array(
        [l1(LINE, found.values[k], exact.density(t, LINE)) for k, t in enumerate(times)]
    )
    # In the worst case the box ends where a wave has not decayed, and the error says
    # so.
    assert np.max(difference) < 1e-5
    # In the worst case the box ends where a wave has not decayed, and the error says
    # so.
    assert np.max(difference) < 1e-5
    assert np.all(difference <= 3 * np.asarray(found.error))
    assert abs(found.contraction - exact.contraction) < 1e-6
    assert abs(found.cost - exact.cost) <= 1e-7 + 3 * found.stats["cost_error"]


@pytest.mark.parametrize("seed", range(3))
def test_double_wells_beside_dense_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    barrier = rng.uniform(0.5, 2.0)
    tilt = rng.uniform(-0.3, 0.3)
    D = rng.uniform(0.5, 1.2)
    total = rng.uniform(0.3, 1)
    well = fp.FokkerPlanck(lambda x: barrier * (x[0] ** 2 - 1) ** 2 + tilt * x[0], D)
    ends = [(rng.uniform(-1, 1), rng.uniform(0.05, 0.14)) for _ in range(2)]
    # Plain numbers need a box in which the wave of the reference keeps its digits.
    normal = lambda end: lambda x: np.exp(-((x - end[0]) ** 2) / (2 * end[1]))
    times = total * np.array([0.2, 0.6])
    x, densities, cost, rate = dense_bridge(
        lambda x: (
            barrier * (x**2 - 1) ** 2 + tilt * x,
            4 * barrier * x * (x**2 - 1) + tilt,
        ),
        lambda x: 4 * barrier * (3 * x**2 - 1),
        D,
        (normal(ends[0]), normal(ends[1])),
        total,
        times,
        2.7,
        161,
    )
    grid = fp.Grid(fp.Line(-4.0, 4.0, 128))
    found = fp.bridge(
        well,
        fp.Gaussian(*ends[0]),
        fp.Gaussian(*ends[1]),
        total,
        grid=grid,
        times=times,
    )
    nodes = np.asarray(grid.nodes[0])
    for power in range(1, 5):
        exact = (x[1] - x[0]) * densities @ x**power
        assert np.allclose(
            grid.integrate(found.values * nodes**power), exact, rtol=0, atol=1e-6
        )
    assert abs(found.cost - cost) < 1e-5 * max(1, cost)
    assert abs(found.contraction - rate) < 1e-5
    assert np.max(found.error) < 1e-5


def test_coupled_axes() -> None:
    # A turned Ornstein-Uhlenbeck process: in its own axes the bridge is a product of
    # two.
    angle = 0.5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    D, total = 0.8, 0.7
    first = NormalBridge(
        np.array([-0.6]),
        np.array([[0.3]]),
        np.array([0.5]),
        np.array([[0.4]]),
        D,
        total,
        1.0,
    )
    second = NormalBridge(
        np.array([0.2]),
        np.array([[0.35]]),
        np.array([-0.4]),
        np.array([[0.25]]),
        D,
        total,
        2.0,
    )
    stiffness = turn @ np.diag([1.0, 2.0]) @ turn.T

    def law(t: float) -> fp.Gaussian:
        means, variances = zip(
            *(bridge.law(t) for bridge in (first, second)), strict=True
        )
        covariance = turn @ np.diag(np.ravel(variances)) @ turn.T
        return fp.Gaussian(turn @ np.ravel(means), covariance)

    grid = fp.Grid(fp.Line(-4.5, 4.5, 64), fp.Line(-4.5, 4.5, 64))
    times = total * np.array([0.0, 0.3, 0.5, 0.7, 1.0])
    reference = fp.FokkerPlanck(fp.Harmonic(stiffness), D)
    found = fp.bridge(reference, law(0.0), law(total), total, grid=grid, times=times)
    difference = np.array(
        [l1(grid, found.values[k], grid.density(law(t))) for k, t in enumerate(times)]
    )
    assert np.max(difference) < 5e-5
    assert np.all(difference <= 3 * np.asarray(found.error))
    assert abs(found.contraction - max(first.contraction, second.contraction)) < 1e-5
    assert abs(found.cost - first.cost - second.cost) < 1e-4


def test_a_potential_that_moves() -> None:
    # Given as a function of time the same potential is stepped; one that does move is
    # another reference.
    exact = random_bridge(5, 1, stiffness=True)
    k = exact.stiffness
    grid = fp.Grid(fp.Line(-9.0, 9.0, 96))
    times = exact.total * np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    ends = (
        fp.Gaussian(exact.mean_0, exact.covariance_0),
        fp.Gaussian(exact.mean_1, exact.covariance_1),
    )
    still = fp.FokkerPlanck(lambda x, t: k * x[0] ** 2 / 2 + 0 * t, exact.diffusion)
    found = fp.bridge(still, *ends, exact.total, grid=grid, times=times, check=False)
    assert (
        max(
            l1(grid, found.values[i], exact.density(t, grid))
            for i, t in enumerate(times)
        )
        < 1e-6
    )
    assert abs(found.cost - exact.cost) < 1e-6
    moves = fp.FokkerPlanck(lambda x, t: k * (x[0] - t) ** 2 / 2, exact.diffusion)
    other = fp.bridge(moves, *ends, exact.total, grid=grid, times=times, check=False)
    # Both marginals are met, and a well that moves by v t adds a constant force v k to
    # the well at rest.
    assert l1(grid, other.values[0], found.values[0]) < 1e-7
    assert l1(grid, other.values[-1], found.values[-1]) < 1e-7
    assert l1(grid, other.values[2], found.values[2]) > 1e-3


def test_derivatives_are_those_of_the_closed_form() -> None:
    def cost(mean: Any, D: Any) -> Any:
        ends = fp.Gaussian(-0.5, 0.36), fp.Gaussian(mean, 0.81)
        return fp.bridge(
            fp.FokkerPlanck(None, D), *ends, 0.6, grid=LINE, times=[0.3]
        ).cost

    def exact(mean: float, D: float) -> float:
        last = np.array([[0.81]])
        return NormalBridge(
            np.array([-0.5]), np.array([[0.36]]), np.array([mean]), last, D, 0.6
        ).cost

    found = jax.jit(jax.grad(cost, (0, 1)))(jnp.asarray(0.7), jnp.asarray(1.0))
    h = 1e-5
    assert abs(found[0] - (exact(0.7 + h, 1) - exact(0.7 - h, 1)) / (2 * h)) < 1e-6
    assert abs(found[1] - (exact(0.7, 1 + h) - exact(0.7, 1 - h)) / (2 * h)) < 1e-6
    several = jax.vmap(lambda mean: cost(mean, 1.0))(jnp.array([0.2, 0.7]))
    assert np.allclose(several, [exact(0.2, 1), exact(0.7, 1)], atol=1e-7)


def test_the_limit_of_small_noise() -> None:
    # Optimal transport: the density between is the geodesic's, and 4 D T KL the squared
    # Wasserstein distance.
    grid = fp.Grid(fp.Line(-6.0, 6.0, 192))
    far = []
    for D in (0.1, 0.02):
        exact = NormalBridge(
            np.array([-0.5]),
            np.array([[0.36]]),
            np.array([0.7]),
            np.array([[0.81]]),
            D,
            1.0,
        )
        found = exact.solve(grid, [0.5], check=False)
        assert l1(grid, found.values[0], exact.density(0.5, grid)) < 1e-5
        assert abs(found.contraction - exact.contraction) < 1e-5
        variance = float(grid.integrate(found.values[0] * (grid.nodes[0] - 0.1) ** 2))
        far.append(
            (abs(variance - 0.75**2), abs(4 * D * float(found.cost) - 1.2**2 - 0.3**2))
        )
    assert far[1][0] < far[0][0] / 4
    assert far[1][1] < far[0][1]


def test_single_precision() -> None:
    to_single = lambda density: jnp.asarray(LINE.density(density), jnp.float32)
    ends = fp.Gaussian(-0.5, 0.36), fp.Gaussian(0.7, 0.81)
    reference = fp.FokkerPlanck(None, 1.0)
    found = fp.bridge(
        reference,
        *map(to_single, ends),
        0.6,
        grid=LINE,
        times=TIMES,
        tol=1e-5,
        check=False,
    )
    assert found.values.dtype == jnp.float32
    exact = np.stack([KNOWN.density(t, LINE) for t in TIMES])
    assert l1(LINE, found.values, exact) < 1e-5
    assert abs(found.contraction - KNOWN.contraction) < 1e-4
