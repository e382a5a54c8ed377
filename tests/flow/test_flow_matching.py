"""Flow matching: the loss, the model's density on a grid against samples and closed
forms, and resources.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fpsolve as fp
from flows import RingFlow, relative
from fpsolve.flow.constants import CONSTANTS
from fpsolve.flow.fit import FlowMatching

KEY = jax.random.key(0)


def gaussian_velocity(mean: float, deviation: float):
    """The velocity of the path to N(mean, deviation^2): the minimum of the loss."""
    rest = 1 - CONSTANTS.least_noise

    def velocity(x, t):
        start = 1 - rest * t
        width = start**2 + (t * deviation) ** 2
        return mean + (t * deviation**2 - rest * start) / width * (x - t * mean)

    return velocity


def test_the_loss_is_least_at_the_velocity_of_the_path():
    samples = 1.5 + 0.4 * jax.random.normal(KEY, (4000, 1))
    loss = FlowMatching(jnp.asarray(CONSTANTS.least_noise))
    best = gaussian_velocity(1.5, 0.4)
    other = jax.random.key(1)
    least = loss(best, samples, other)
    for wrong in (
        lambda x, t: 1.1 * best(x, t),
        lambda x, t: best(x, t) + 0.2,
        lambda x, t: best(x, t) + 0.2 * jnp.sin(3 * x),
    ):
        assert loss(wrong, samples, other) > least + 0.01


def test_an_untrained_network_carries_the_normal_density_to_that_of_gaussian_data():
    network = fp.flow.VelocityNetwork(
        1, key=KEY, width=8, depth=1, center=1.5, scale=0.4
    )
    exact = gaussian_velocity(1.5, 0.4)
    for t in (0.0, 0.3, 1.0):
        assert jnp.allclose(
            network(jnp.asarray([0.7]), t), exact(jnp.asarray([0.7]), t), rtol=1e-12
        )
    grid = fp.Grid(fp.Line(-9.0, 9.0, 160))
    run = fp.evolve(
        fp.Continuity(network), fp.Gaussian(0.0, 1.0), [1.0], grid=grid, tol=1e-6
    )
    variance = 0.4**2 + CONSTANTS.least_noise**2
    data = grid.density(fp.Gaussian(1.5, variance))
    assert relative(grid, run.values[0], data) < 1e-6
    assert abs(fp.flow.overlap(run.values[0], data, grid) - 1) < 1e-10
    # Control: the overlap with another density is that of two normal densities, in
    # closed form.
    apart = fp.flow.overlap(
        run.values[0], grid.density(fp.Gaussian(1.0, variance)), grid
    )
    assert abs(apart - np.exp(-(0.5**2) / (8 * variance))) < 1e-6


def test_a_model_learns_two_modes():
    first, second, third = jax.random.split(KEY, 3)
    signs = jax.random.rademacher(first, (4000, 1), float)
    samples = 1.5 * signs + 0.5 * jax.random.normal(second, (4000, 1))
    network = fp.flow.VelocityNetwork(
        1, key=third, width=16, depth=2, **fp.score.standardised(samples)
    )
    model, history = fp.flow.fit(
        network,
        samples,
        optimiser=optax.adam(1e-2),
        steps=300,
        key=jax.random.key(1),
        batch=128,
        ema=0.99,
    )
    grid = fp.Grid(fp.Line(-9.0, 9.0, 160))
    data = grid.density(
        lambda x: sum(jnp.exp(-((x[0] - m) ** 2) / 0.5) for m in (-1.5, 1.5))
    )
    options = {"grid": grid, "tol": 1e-5, "check": False}
    before = fp.evolve(fp.Continuity(network), fp.Gaussian(0.0, 1.0), [1.0], **options)
    after = fp.evolve(fp.Continuity(model), fp.Gaussian(0.0, 1.0), [1.0], **options)
    assert history.shape == (300,) and history[-50:].mean() < history[:20].mean()
    assert (
        fp.flow.overlap(after.values[0], data, grid)
        > 0.98
        > fp.flow.overlap(before.values[0], data, grid) + 0.01
    )


def test_the_same_key_gives_the_same_model():
    samples = jax.random.normal(KEY, (100, 2))
    network = fp.flow.VelocityNetwork(2, key=KEY, width=4, depth=1)
    options = {
        "optimiser": optax.sgd(1e-2),
        "steps": 3,
        "key": jax.random.key(2),
        "batch": 16,
    }
    runs = [fp.flow.fit(network, samples, **options)[1] for _ in range(2)]
    assert np.array_equal(*runs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": np.zeros(5)}, "samples"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"key": 3.0}, "key"),
        ({"optimiser": "adam"}, "optimiser"),
        ({"ema": 1.5}, "ema"),
        ({"model": lambda x: x}, "model"),
        ({"model": lambda x, t: x}, "no array"),
    ],
)
def test_refusals(change, message):
    given = {
        "model": fp.flow.VelocityNetwork(2, key=KEY, width=4, depth=1),
        "samples": jax.random.normal(KEY, (100, 2)),
        "optimiser": optax.sgd(1e-2),
        "steps": 2,
        "key": KEY,
    } | change
    with pytest.raises(ValueError, match=message):
        fp.flow.fit(given.pop("model"), given.pop("samples"), **given)


def test_a_loss_that_diverges_is_named():
    network = fp.flow.VelocityNetwork(1, key=KEY, width=4, depth=1)
    with pytest.raises(fp.NumericalFailure, match="not_finite"):
        fp.flow.fit(
            network,
            jax.random.normal(KEY, (50, 1)),
            optimiser=optax.sgd(1e300),
            steps=20,
            key=KEY,
            batch=8,
        )


def test_resources_are_those_of_the_flow():
    ring = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 64))
    found = fp.flow.resources(fp.Continuity(lambda x: 2 * jnp.sin(x)), ring, 3.0)
    nodes = np.asarray(ring.nodes[0])
    assert np.isclose(found.speed, 2 * np.max(np.abs(np.sin(nodes))))
    assert np.isclose(found.strain, 2 * np.max(np.abs(np.cos(nodes))))
    assert np.isclose(found.curvature, found.speed) and found.qubits == 6
    assert np.isclose(found.norm, 31 * found.speed)
    # The products that a run takes are about those foretold.
    flow = fp.Continuity(lambda x: 2 * jnp.sin(x))
    run = fp.evolve(flow, lambda x: 1 + 0 * x[0], [3.0], grid=ring, check=False)
    assert 0.7 < run.stats["operator_calls"] / found.queries < 2
    with pytest.raises(ValueError, match="total"):
        fp.flow.resources(flow, ring, -1.0)
    with pytest.raises(ValueError, match="equation"):
        fp.flow.resources(fp.FokkerPlanck(fp.Harmonic()), ring, 1.0)


def test_errors_fall_faster_than_any_power_of_the_spacing():
    flow = RingFlow(0.7)
    grids = [fp.Grid(fp.Periodic(0.0, 2 * np.pi, n)) for n in (15, 23, 35)]
    exact = lambda x: jnp.interp(x[0], *_fine(flow), period=2 * np.pi)
    found = fp.flow.refinement(flow.equation, flow.start, 1.0, grids, reference=exact)
    slopes = np.diff(np.log(found.errors)) / np.diff(np.log(found.nodes[:, 0]))
    assert slopes[1] < slopes[0] < -4
    estimated = fp.flow.refinement(flow.equation, flow.start, 1.0, grids[1:2])
    assert found.errors[1] / 3 < estimated.errors[0] < 30 * found.errors[1]


def _fine(flow: RingFlow) -> tuple[np.ndarray, np.ndarray]:
    fine = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 20_000))
    return np.asarray(fine.nodes[0]), flow.density(fine, 1.0)


def test_an_overlap_of_other_shapes_is_refused():
    grid = fp.Grid(fp.Line(-1.0, 1.0, 8))
    with pytest.raises(ValueError, match=r"first.shape"):
        fp.flow.overlap(jnp.ones(7), jnp.ones(8), grid)
