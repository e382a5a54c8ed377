"""`fp.Magnus`. Truth against exact Gaussians and whole matrices; honest estimates;
breakpoints; structure.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from exact_moving import Dragged, Loosened, Shaken
from fpsolve.step.breakpoints import find_breakpoints
from fpsolve.step.gauss_rules import pair, tables
from fpsolve.step.timeline import make_timeline
from measure import discretise

a = jnp.asarray
SPECTRAL = fp.Spectral()
EXACT = {
    "dragged": Dragged(a(2.0), a(1.5), a(1.0), a(-0.5), a(0.3)),
    "shaken": Shaken(a(2.0), a(1.0), a(3.0), a(1.0), a(0.5), a(0.4)),
    "loosened": Loosened(a(3.0), a(1.0), a(1.0), a(0.5), a(0.2)),
}


def distance(values: jax.Array, truth: jax.Array) -> float:
    return float(jnp.sum(jnp.abs(values - truth)) / jnp.sum(jnp.abs(truth)))


@pytest.mark.parametrize("name", EXACT)
def test_truth_and_an_honest_estimate_at_every_tolerance(name: str) -> None:
    system = EXACT[name]
    grid = EXACT[name].grid(96)
    for tol in (1e-4, 1e-6, 1e-9):
        solution = fp.evolve(
            system.equation,
            system.density(grid, 0.0),
            [0.5, 1.5],
            grid=grid,
            scheme=SPECTRAL,
            tol=tol,
        )
        for values, t, error in zip(
            solution.values, solution.times, solution.error, strict=True
        ):
            assert distance(values, system.density(grid, t)) < 2 * float(error) + 1e-12
            assert float(error) < tol


def test_what_rounding_leaves_of_a_part_is_no_step_of_its_own() -> None:
    """One such step foretold 1e15 steps for the next interval."""
    system, last = EXACT["shaken"], 40.0
    problem = discretise(system.equation, SPECTRAL, system.grid(32), "wave")
    timeline = make_timeline(fp.Magnus(), problem, last, jnp.float64)
    _, boundary = timeline.covering(0.0)
    assert boundary < last / 2, "one expansion holds the whole run"
    below, above = np.nextafter(boundary, 0.0), np.nextafter(boundary, last)
    # the interval ends just beyond the part
    assert timeline.covering(0.0, above)[1] == above
    assert timeline.covering(0.0, below)[1] >= below
    # and starts just before its end
    assert timeline.covering(below, last)[1] > 1.5 * boundary
    # A breakpoint is not passed by: a state on its other side is relative to another
    # Gibbs density.
    broken = make_timeline(
        fp.Magnus(breakpoints=(boundary,)), problem, last, jnp.float64
    )
    assert broken.covering(0.0, boundary)[1] < boundary


def test_cost_grows_with_the_number_of_intervals_alone() -> None:
    """Output times whose multiples miss the ends of parts by rounding."""
    system, calls = EXACT["shaken"], []
    grid = system.grid(32)
    for count in (8, 16):
        times = np.arange(1, count + 1) * 2 * np.pi / 3
        run = fp.evolve(
            system.equation,
            system.density(grid, 0.0),
            times,
            grid=grid,
            scheme=SPECTRAL,
            tol=1e-6 * count,
        )
        calls.append(run.stats["operator_calls"])
    assert 1.6 < calls[1] / calls[0] < 2.2


def test_coupled_axes_agree_with_small_midpoint_steps() -> None:
    potential = lambda x, t: (
        (x[0] ** 2 - 1) ** 2 / 2 + (x[1] - x[0]) ** 2 / 2 + 0.5 * x[0] * jnp.sin(2 * t)
    )
    grid = fp.Grid(fp.Line(-3.4, 3.4, 32), fp.Line(-6.5, 6.5, 36))
    run = lambda method, tol: fp.evolve(
        fp.FokkerPlanck(potential),
        lambda x: jnp.exp(-potential(x, 0.0)),
        [0.6],
        grid=grid,
        scheme=SPECTRAL,
        method=method,
        tol=tol,
    )
    truth = run(fp.Magnus(), 1e-8)
    frozen = run(fp.Magnus(extrapolate=False), 1e-4)
    coarse = run(fp.Magnus(), 1e-5)
    assert distance(frozen.values, truth.values) < float(frozen.error[0])
    assert distance(coarse.values, truth.values) < 2 * float(coarse.error[0]) + 1e-12


def test_a_wave_at_any_angle() -> None:
    equation = fp.Schrodinger(lambda x, t: x[0] ** 2 / 2 + 0.5 * x[0] * jnp.sin(2 * t))
    grid = fp.Grid(fp.Line(-7.0, 7.0, 48))
    start = lambda x: jnp.exp(-((x[0] - 0.5) ** 2) / 2)
    for wick in (0.0, np.pi / 4, np.pi / 2):
        fine, coarse = (
            fp.evolve(equation, start, [1.0], grid=grid, wick=wick, tol=tol)
            for tol in (1e-10, 1e-6)
        )
        assert distance(coarse.values, fine.values) < 2 * float(coarse.error[0]) + 1e-12
    norm = grid.integrate(jnp.abs(fine.values[0]) ** 2) / grid.integrate(
        jnp.exp(-((grid.points[..., 0] - 0.5) ** 2))
    )
    assert abs(float(norm) - 1) < 1e-9  # real time is unitary


JUMPS = {
    "quench": (lambda x, t: jnp.where(t < 0.37, 2.0, 4.0) * x[0] ** 2 / 2, [0.37]),
    "kick": (
        lambda x, t: x[0] ** 2 + jnp.where((t > 0.2) & (t < 0.21), 4.0, 0.0) * x[0],
        [0.2, 0.21],
    ),
    "ramp": (
        lambda x, t: (
            2
            * (x[0] - jnp.interp(t, a([0.0, 0.3, 0.7, 1.0]), a([0.0, 1.0, 0.5, 0.5])))
            ** 2
        ),
        [0.3, 0.7],
    ),
    "smooth": (lambda x, t: jnp.sin(40 * t) * x[0] + jnp.cos(t) * x[0] ** 2, []),
}


@pytest.mark.parametrize("name", JUMPS)
def test_breakpoints_are_found_to_rounding_and_none_where_there_are_none(
    name: str,
) -> None:
    potential, truth = JUMPS[name]
    found = find_breakpoints(
        fp.FokkerPlanck(potential), fp.Grid(fp.Line(-5.0, 5.0, 16)), 1.0
    )
    assert len(found) == len(truth) and np.allclose(found, truth, rtol=0, atol=1e-9)


def jumping(name: str, method: fp.Magnus) -> jax.Array:
    """The density at t = 1, from N(0.5, 0.4)."""
    grid = fp.Grid(fp.Line(-8.0, 8.0, 120))
    equation = fp.FokkerPlanck(JUMPS[name][0])
    start = fp.Gaussian(0.5, 0.4)
    return fp.evolve(
        equation, start, [1.0], grid=grid, scheme=SPECTRAL, tol=1e-9, method=method
    ).values[0]


def relaxed(*wells: tuple[float, float, float]) -> jax.Array:
    """The exact density after wells of a stiffness, about a centre, for a time."""
    mean, variance = 0.5, 0.4
    for k, centre, t in wells:
        mean = centre + (mean - centre) * np.exp(-k * t)
        variance = 1 / k + (variance - 1 / k) * np.exp(-2 * k * t)
    return fp.Grid(fp.Line(-8.0, 8.0, 120)).density(fp.Gaussian(mean, variance))


QUENCHED = (2.0, 0.0, 0.37), (4.0, 0.0, 0.63)


def test_steps_end_on_a_jump() -> None:
    assert distance(jumping("quench", fp.Magnus()), relaxed(*QUENCHED)) < 1e-9


def test_breakpoints_are_any_sequence_of_times() -> None:
    for given in (
        (0.5, 0.25),
        [0.5, 0.25],
        np.array([0.5, 0.25]),
        jnp.array([0.5, 0.25]),
    ):
        assert fp.Magnus(breakpoints=given).breakpoints.tolist() == [0.25, 0.5]
    assert fp.Magnus(breakpoints=np.array([])).breakpoints.size == 0


def test_steps_end_on_a_kick_and_on_the_breakpoints_given() -> None:
    assert (
        distance(jumping("quench", fp.Magnus(breakpoints=(0.37,))), relaxed(*QUENCHED))
        < 1e-9
    )
    kicked = relaxed((2.0, 0.0, 0.2), (2.0, -2.0, 0.01), (2.0, 0.0, 0.79))
    assert distance(jumping("kick", fp.Magnus()), kicked) < 1e-9
    even = jax.jit(lambda: jumping("quench", fp.Magnus(steps=8, breakpoints=(0.37,))))()
    assert distance(even, relaxed(*QUENCHED)) < 1e-9


def test_midpoints_alone_keep_mass_and_positivity_on_volumes() -> None:
    equation = fp.FokkerPlanck(lambda x, t: 3 * (x[0] - jnp.sin(3 * t)) ** 2)
    grid = fp.Grid(fp.Reflecting(-3.0, 3.0, 48))
    solution = fp.evolve(
        equation,
        fp.Gaussian(0.0, 0.05),
        [0.5],
        grid=grid,
        method=fp.Magnus(extrapolate=False),
        tol=1e-3,
    )
    truth = fp.evolve(
        equation, fp.Gaussian(0.0, 0.05), [0.5], grid=grid, method=fp.Magnus(), tol=1e-8
    )
    assert solution.stats["mass_drift"] < 1e-12
    assert solution.stats["min_density"] > -1e-15
    assert (
        distance(solution.values, truth.values)
        < float(solution.errors["time"][0])
        < 1e-3
    )


def test_derivatives_through_collocation() -> None:
    grid = fp.Grid(fp.Line(-5.0, 5.0, 32))

    def mean(k: jax.Array) -> jax.Array:
        equation = fp.FokkerPlanck(
            lambda x, t: k * (x[0] - t) ** 2 / 2, diffusion=k / 2
        )
        solution = fp.evolve(
            equation,
            fp.Gaussian(0.0, 0.5),
            [0.5],
            grid=grid,
            scheme=SPECTRAL,
            method=fp.Magnus(steps=4),
        )
        return grid.integrate(solution.values[0] * grid.points[..., 0] ** 2)

    k, step = jnp.asarray(2.0), 1e-4
    slope = (mean(k + step) - mean(k - step)) / (2 * step)
    assert abs(jax.grad(mean)(k) / slope - 1) < 1e-6
    assert abs(jax.jvp(mean, (k,), (jnp.ones(()),))[1] / slope - 1) < 1e-6


def test_tables_integrate_exponentials_exactly() -> None:
    energies = jnp.asarray([0.0, 0.3, 2.9, 3.1, 40.0, 2e4])
    rules = pair(7)
    points = rules.points[1]
    decays, weights = tables(
        energies,
        jnp.asarray(0.7),
        a(rules.widths[1]),
        a(rules.which[1]),
        a(rules.powers[1]),
    )
    reached = jnp.einsum("km...,m->k...", weights, jnp.asarray(points) * 0.7)
    t = 0.7 * np.append(points, 1.0)[:, None]
    z = np.asarray(energies)
    safe = np.where(z == 0, 1, z)
    exact = np.where(z * t < 0.5, 0, t / safe - (1 - np.exp(-z * t)) / safe**2)
    assert np.allclose(np.where(z * t < 0.5, 0, reached), exact, rtol=1e-12, atol=1e-15)
    assert np.allclose(reached[:, 0], t[:, 0] ** 2 / 2, rtol=1e-13)
    assert np.allclose(decays, np.exp(-z * t), rtol=1e-12)


def test_refusals() -> None:
    for bad in ({"steps": 3}, {"breakpoints": ("a",)}, {"breakpoints": (np.inf,)}):
        with pytest.raises(ValueError, match="Magnus"):
            fp.Magnus(**bad)
