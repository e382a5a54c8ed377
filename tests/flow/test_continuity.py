"""The continuity equation (T27): against closed forms and characteristics, the norm,
its errors, and refusals.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import i0

import fpsolve as fp
from flows import Breathing, RingFlow, by_characteristics, relative
from fpsolve.operator.skew import SkewOperator, commutator, derivative_matrix

RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 63))
TURN = fp.Continuity(lambda x: jnp.stack([-x[1], x[0]]))


def matrix_of(operator: SkewOperator) -> np.ndarray:
    size = operator.grid.size
    unit = jnp.eye(size).reshape(size, *operator.grid.shape)
    return np.asarray(jax.vmap(operator.apply)(unit)).reshape(size, size).T


def test_a_ring_in_closed_form():
    flow = RingFlow(0.7)
    run = fp.evolve(flow.equation, flow.start, [0.0, 0.5, 1.0], grid=RING, tol=1e-9)
    for t, values, error in zip(run.times, run.values, run.error, strict=True):
        wrong = relative(RING, values, flow.density(RING, float(t)))
        assert wrong <= 3 * float(error) and wrong < 1e-9
    assert run.result == "successful"
    assert run.stats["mass_drift"] < 1e-13 and run.stats["min_density"] >= 0
    # A velocity that is wrong by a tenth is seen.
    wrong = fp.evolve(RingFlow(0.77).equation, flow.start, [1.0], grid=RING)
    assert relative(RING, wrong.values[0], run.values[2]) > 0.01


def test_the_generator_is_antisymmetric_for_any_velocity():
    grid = fp.Grid(fp.Line(-2.0, 3.0, 8), fp.Periodic(0.0, 1.0, 7))
    velocity = jax.random.normal(jax.random.key(0), (2, *grid.shape))
    operator = SkewOperator(velocity, grid)
    matrix = matrix_of(operator)
    assert np.max(np.abs(matrix + matrix.T)) < 1e-13 * np.max(np.abs(matrix))
    assert np.linalg.norm(matrix, 2) <= float(operator.largest)
    # Control: v.grad without its other half is not antisymmetric, and its wave changes
    # its norm.
    halves = np.zeros_like(matrix)
    for i in range(grid.ndim):
        along = [
            derivative_matrix(a) if j == i else np.eye(a.n)
            for j, a in enumerate(grid.axes)
        ]
        halves += np.asarray(velocity[i]).ravel()[:, None] * np.kron(*along)
    wave = np.ones(grid.size)
    norm = np.linalg.norm
    after = expm(-0.1 * matrix) @ wave
    assert abs(norm(after) / norm(wave) - 1) < 1e-12
    after = expm(-0.1 * halves) @ (wave + np.arange(grid.size))
    assert abs(norm(after) / norm(wave) - 1) > 1e-3


def test_the_exponential_is_that_of_the_matrix():
    # By the dense matrix, at short and at long times.
    grid = fp.Grid(fp.Periodic(0.0, 2.0, 12))
    equation = fp.Continuity(lambda x: 1.5 + jnp.cos(np.pi * x))
    start = grid.density(lambda x: 1 + 0.5 * jnp.sin(np.pi * x[0]))
    times = [1e-6, 0.3, 40.0]
    run = fp.evolve(equation, start, times, grid=grid, check=False)
    speeds = np.asarray(grid.sample(lambda x: equation.velocity(x)))[:, 0]
    matrix = matrix_of(SkewOperator(jnp.asarray(speeds)[None], grid))
    for t, values in zip(times, run.values, strict=True):
        exact = (expm(-t * matrix) @ np.sqrt(np.asarray(start))) ** 2
        assert np.max(np.abs(values - exact)) < 1e-12


def test_the_commutator_with_the_kinetic_energy_is_the_generator():
    # v = grad phi, where everything is resolved: -[K, phi] = G.
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 33), fp.Periodic(0.0, 2 * np.pi, 31))
    phi = lambda x: jnp.sin(x[0]) * jnp.cos(x[1]) + 0.3 * jnp.cos(x[0])
    wave = grid.sample(lambda x: jnp.exp(jnp.sin(x[0] + x[1]) / 2))
    velocity = jnp.moveaxis(grid.sample(jax.grad(phi)), -1, 0)
    moved = SkewOperator(velocity, grid).apply(wave)
    assert jnp.max(
        jnp.abs(commutator(grid, grid.sample(phi), wave) - moved)
    ) < 1e-11 * jnp.max(jnp.abs(moved))
    assert jnp.max(jnp.abs(commutator(grid, -grid.sample(phi), wave) - moved)) > 0.1


def test_turning_in_the_plane():
    grid = fp.Grid(fp.Line(-6.5, 6.5, 65), fp.Line(-6.5, 6.5, 65))
    start = fp.Gaussian([1.0, 0.0], [0.3, 0.5])
    run = fp.evolve(
        TURN, start, [np.pi / 2], grid=grid, tol=1e-6, observables={"mean": lambda x: x}
    )
    wrong = relative(
        grid, run.values[0], grid.density(fp.Gaussian([0.0, 1.0], [0.5, 0.3]))
    )
    assert wrong < 1e-7
    assert wrong <= 3 * float(run.error[0])
    assert run.stats["mass_drift"] < 1e-12
    assert jnp.max(jnp.abs(run.observables["mean"][0] - jnp.asarray([0.0, 1.0]))) < 1e-6


def test_characteristics_in_the_plane():
    # A velocity of no symmetry, with divergence and shear, in time as well.
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 65), fp.Periodic(0.0, 2 * np.pi, 65))

    def velocity(x, t):
        return jnp.stack(
            [
                jnp.sin(x[1] + t) + 0.3 * jnp.cos(x[0]),
                0.4 * jnp.sin(x[0] - x[1]) * jnp.cos(2 * t),
            ]
        )

    def start(x):
        return (
            jnp.exp(jnp.cos(x[0]) + jnp.sin(x[1])) / (2 * np.pi * float(i0(1.0))) ** 2
        )

    run = fp.evolve(fp.Continuity(velocity), start, [0.8], grid=grid, tol=1e-7)
    wrong = relative(
        grid, run.values[0], by_characteristics(velocity, start, grid, 0.8)
    )
    assert wrong < 1e-6 and wrong <= 3 * float(run.error[0])
    assert run.stats["mass_drift"] < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_a_moving_velocity_in_closed_form(seed):
    a, b, mean, deviation = np.random.default_rng(seed).uniform(
        [0.1, -1, -0.5, 0.5], [0.5, 1, 0.5, 0.8]
    )
    flow = Breathing(a, b, mean, deviation)
    grid = fp.Grid(fp.Line(-11.0, 11.0, 96))
    run = fp.evolve(flow.equation, flow.start, [0.7, 2.0], grid=grid, tol=1e-7)
    for k, t in enumerate([0.7, 2.0]):
        wrong = relative(grid, run.values[k], grid.density(flow.density(t)))
        assert wrong < 1e-7 and wrong <= 3 * float(run.error[k])
    # The norm is kept by steps of every length, here to rounding.
    assert run.stats["mass_drift"] < 1e-12


def test_a_jump_of_the_velocity_in_time_is_found():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 31))
    kicked = fp.Continuity(lambda x, t: jnp.where(t < 0.317, 1.0, -2.0) * jnp.ones(1))
    start = lambda x: 1 + 0.5 * jnp.cos(x[0])
    run = fp.evolve(kicked, start, [1.0], grid=grid, tol=1e-9)
    moved = 0.317 - 2 * (1 - 0.317)
    exact = grid.density(lambda x: 1 + 0.5 * jnp.cos(x[0] - moved))
    assert relative(grid, run.values[0], exact) < 1e-9
    given = fp.evolve(kicked, start, [1.0], grid=grid, tol=1e-9, breakpoints=[0.317])
    assert relative(grid, given.values[0], exact) < 1e-9


def test_traced_times_keep_the_breakpoints():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 31))
    kicked = fp.Continuity(lambda x, t: jnp.where(t < 0.317, 1.0, -2.0) * jnp.ones(1))
    start = lambda x: 1 + 0.5 * jnp.cos(x[0])
    times = np.array([0.2, 0.317, 1.0])

    @jax.jit
    def run(times):
        return fp.evolve(kicked, start, times, grid=grid, breakpoints=[0.317, 2.0])

    found = run(times)
    assert np.max(np.asarray(found.error)) < 1e-9
    for t, values in zip(times, found.values, strict=True):
        moved = t if t < 0.317 else 0.317 - 2 * (t - 0.317)
        exact = grid.density(lambda x, moved=moved: 1 + 0.5 * jnp.cos(x[0] - moved))
        assert relative(grid, values, exact) < 1e-9


def test_three_dimensions():
    grid = fp.Grid(
        fp.Line(-6.5, 6.5, 28), fp.Line(-6.5, 6.5, 28), fp.Periodic(0.0, 2.0, 9)
    )
    spin = fp.Continuity(lambda x: jnp.stack([-x[1], x[0], jnp.ones(())]))
    start = lambda x: (
        jnp.exp(-(x[0] ** 2 / 2 + x[1] ** 2)) * (1 + 0.4 * jnp.cos(np.pi * x[2]))
    )
    end = lambda x: (
        jnp.exp(-(x[1] ** 2 / 2 + x[0] ** 2))
        * (1 + 0.4 * jnp.cos(np.pi * (x[2] - np.pi / 2)))
    )
    run = fp.evolve(spin, start, [np.pi / 2], grid=grid, tol=1e-3)
    assert relative(grid, run.values[0], grid.density(end)) < min(
        1e-4, 3 * float(run.error[0])
    )


def test_errors_are_whole():
    # A grid that is too coarse, and a box that cuts the wave: the error says so.
    flow = RingFlow(1.0)
    coarse = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 21))
    run = fp.evolve(flow.equation, flow.start, [1.0], grid=coarse)
    wrong = relative(coarse, run.values[0], flow.density(coarse, 1.0))
    assert wrong / 3 < float(run.errors["space"][0]) < 30 * wrong
    with pytest.warns(fp.AccuracyWarning, match="grid_too_coarse|error of the grid"):
        run = fp.evolve(flow.equation, flow.start, [1.0], grid=coarse, tol=1e-9)
    assert run.result == "grid_too_coarse"
    narrow = fp.Grid(fp.Line(-3.4, 3.4, 64))
    spread = fp.evolve(
        fp.Continuity(lambda x: 0.3 * x), fp.Gaussian(0.0, 0.5), [1.0], grid=narrow
    )
    wrong = relative(
        narrow,
        spread.values[0],
        jax.vmap(fp.Gaussian(0.0, 0.5 * np.exp(0.6)))(narrow.points),
    )
    assert wrong / 3 < float(spread.error[0])


def test_errors_of_random_flows():
    # v = a x + b keeps normal densities: m' = a m + b. Boxes and widths from far too
    # small to ample.
    ratios, refusals = [], []
    for seed in range(24):
        a, b, t, mean, deviation, half = np.random.default_rng(seed).uniform(
            [-0.6, -1.0, 0.3, -0.5, 0.4, 4.0], [0.6, 1.0, 1.5, 0.5, 0.9, 9.0]
        )
        half = round(half / 2) * 2.0
        grid = fp.Grid(fp.Line(-half, half, 48))
        growth = np.exp(a * t)
        end = fp.Gaussian(
            growth * mean + (growth - 1) / a * b, (growth * deviation) ** 2
        )
        try:
            start = fp.Gaussian(mean, deviation**2)
            run = fp.evolve(
                fp.Continuity(lambda x, a=a, b=b: a * x + b),
                start,
                [t],
                grid=grid,
                throw=False,
            )
        except ValueError as error:
            refusals.append(str(error))
            continue
        exact = jax.vmap(end)(grid.points)
        ratios.append(float(run.error[0]) / relative(grid, run.values[0], exact))
    assert len(ratios) > 12 and all(text.startswith("velocity = ") for text in refusals)
    assert min(ratios) > 1 / 3 and np.median(ratios) < 10


def test_an_array_is_a_start_and_states_are_interpolated():
    flow = RingFlow(0.7)
    once = fp.evolve(
        flow.equation, flow.start, [0.5, 1.0], grid=RING, tol=1e-9, check=False
    )
    again = fp.evolve(flow.equation, once.values[0], [0.5], grid=RING, tol=1e-8)
    assert relative(RING, again.values[0], once.values[1]) < 1e-9
    finer = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 100))
    assert relative(finer, once.on(finer)[1], flow.density(finer, 1.0)) < 1e-8


def test_transformations():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 31))
    start = lambda x: jnp.exp(jnp.cos(x[0]))

    def mean(speed):
        run = fp.evolve(
            fp.Continuity(lambda x: speed * jnp.sin(x)),
            start,
            [0.5],
            grid=grid,
            check=False,
        )
        return grid.integrate(run.values[0] * jnp.cos(grid.nodes[0]))

    slope = jax.jit(jax.grad(mean))(0.6)
    assert abs(slope - (mean(0.6 + 1e-4) - mean(0.6 - 1e-4)) / 2e-4) < 1e-6 * abs(slope)
    assert jnp.allclose(
        jax.vmap(mean)(jnp.asarray([0.2, 0.6])),
        jnp.asarray([mean(0.2), mean(0.6)]),
        atol=1e-11,
    )


def test_a_moving_velocity_under_transformations():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 21))

    def mean(speed):
        flow = fp.Continuity(lambda x, t: speed * jnp.cos(t) * jnp.ones(1))
        run = fp.evolve(flow, lambda x: 1 + 0.5 * jnp.cos(x[0]), [0.5], grid=grid)
        return grid.integrate(run.values[0] * jnp.sin(grid.nodes[0]))

    value, slope = jax.value_and_grad(mean)(0.8)
    assert abs(value - 0.25 * np.sin(0.8 * np.sin(0.5))) < 1e-9
    assert abs(slope - 0.25 * np.sin(0.5) * np.cos(0.8 * np.sin(0.5))) < 1e-9


def test_single_precision():
    flow = RingFlow(0.7)
    start = jnp.asarray(RING.density(flow.start), jnp.float32)
    run = fp.evolve(flow.equation, start, [1.0], grid=RING, check=False)
    assert run.values.dtype == jnp.float32
    assert relative(RING, run.values[0], flow.density(RING, 1.0)) < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": None}, "grid = None"),
        ({"grid": fp.Grid(fp.Absorbing(0.0, 2 * np.pi, 32))}, "without walls"),
        ({"scheme": fp.ScharfetterGummel()}, "scheme"),
        ({"method": fp.Dense()}, "method"),
        ({"wick": 0.3}, "wick"),
        ({"checkpoint": "folder"}, "checkpoint"),
        ({"equation": fp.Continuity(lambda x: x[0])}, "velocity"),
        ({"equation": fp.Continuity(lambda x: x)}, "periodic"),
        ({"equation": fp.Continuity(lambda x: x / 0)}, "finite"),
        ({"initial": lambda x: jnp.cos(x[0])}, "initial|density"),
        ({"times": [1.0, 0.5]}, "times"),
    ],
)
def test_refusals(change, message):
    given = {
        "equation": fp.Continuity(jnp.sin),
        "initial": lambda x: 1 + 0 * x[0],
        "times": [1.0],
        "grid": RING,
    }
    given |= change
    arguments = [given.pop(name) for name in ("equation", "initial", "times")]
    with pytest.raises(ValueError, match=message):
        fp.evolve(*arguments, **given)


def test_a_velocity_that_leaves_the_box_is_refused_and_the_cure_works():
    line = fp.Grid(fp.Line(-4.0, 4.0, 48))
    shift = fp.Continuity(lambda x: 3 * jnp.ones(1))
    start = fp.Gaussian(0.0, 0.3)
    message = (
        r"velocity = 1.0: it carries .* out of Line.* at its upper end before t = 2"
    )
    with pytest.raises(ValueError, match=message):
        fp.evolve(shift, start, [1.0, 2.0], grid=line)
    wider = fp.Grid(fp.Line(-4.0, 12.0, 96))
    run = fp.evolve(shift, start, [2.0], grid=wider, tol=1e-6)
    assert relative(wider, run.values[0], wider.density(fp.Gaussian(6.0, 0.3))) < 1e-6
    with pytest.raises(ValueError, match="velocity"):
        fp.Continuity(3.0)


def test_a_flow_has_no_levels_and_no_plan():
    for ask in (
        lambda: fp.spectrum(fp.Continuity(jnp.sin), RING),
        lambda: fp.plan(
            fp.Continuity(jnp.sin), lambda x: 1 + 0 * x[0], [1.0], grid=RING
        ),
    ):
        with pytest.raises(ValueError, match="equation"):
            ask()


@pytest.mark.skipif(
    os.environ.get("FPSOLVE_TYPED") == "1", reason="the type checker refuses it first"
)
def test_no_grid_is_fitted_to_a_flow():
    with pytest.raises(ValueError, match="a flow has none"):
        fp.fit_grid(fp.Continuity(jnp.sin))
