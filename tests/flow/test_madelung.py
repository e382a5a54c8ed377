"""Madelung's fluid and Nelson's diffusion (T26): a free packet, residuals of order 2,
nodes, and particles.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.operator.skew import derivative

LINE = fp.Grid(fp.Line(-10.0, 10.0, 96))


class Packet:
    """A free normal packet of mean a + k t (D = 1/2), psi(0) ~ exp( -(x - a)^2 / (4
    s^2) + i k (x - a) ).
    """

    def __init__(self, mean: float, wavenumber: float, deviation: float):
        self.parameters = mean, wavenumber, deviation

    def wave(self, grid: fp.Grid, t: float) -> jax.Array:
        mean, k, s = self.parameters
        x = grid.nodes[0] - mean
        spread = 1 + 1j * t / (2 * s**2)
        factor = (2 * np.pi * s**2) ** -0.25 / np.sqrt(spread)
        return factor * jnp.exp(
            -((x - k * t) ** 2) / (4 * s**2 * spread) + 1j * k * x - 0.5j * k**2 * t
        )

    def velocities(self, grid: fp.Grid, t: float) -> tuple[jax.Array, jax.Array]:
        mean, k, s = self.parameters
        x = grid.nodes[0] - mean - k * t
        rate = t / (4 * s**4)
        return k + x * rate / (1 + t * rate), -x / (2 * s**2 * (1 + t * rate))


def test_a_free_packet_in_real_time():
    # Issue: 1e-7 in the maximum norm on 512 nodes.
    grid = fp.Grid(fp.Line(-30.0, 30.0, 512))
    packet = Packet(-3.0, 2.0, 0.8)
    free = fp.Schrodinger(lambda x: 0.0)
    run = fp.evolve(
        free, packet.wave(grid, 0.0), [2.0], grid=grid, wick=np.pi / 2, check=False
    )
    assert jnp.max(jnp.abs(run.values[0] - packet.wave(grid, 2.0))) < 1e-7
    fluid = fp.flow.madelung(run.values[0], grid, error=float(run.errors["time"][0]))
    current, osmotic = packet.velocities(grid, 2.0)
    for found, exact in ((fluid.current, current), (fluid.osmotic, osmotic)):
        wrong = jnp.abs(found[:, 0] - exact)
        # The error that is reported grows into the tails, and covers what is wrong
        # everywhere but at nodes.
        assert jnp.all((wrong <= 3 * fluid.error[:, 0]) | fluid.is_node)
        assert jnp.max(jnp.where(fluid.density > 1e-6, wrong, 0)) < 1e-6
    assert bool(jnp.all(jnp.isfinite(fluid.current)))
    assert bool(jnp.all(jnp.isfinite(fluid.osmotic)))


def test_random_packets_and_their_errors():
    for seed in range(4):
        mean, k, s, t = np.random.default_rng(seed).uniform(
            [-1, -2, 0.6, 0.1], [1, 2, 1.0, 1.0]
        )
        packet = Packet(mean, k, s)
        fluid = fp.flow.madelung(packet.wave(LINE, t), LINE)
        current, osmotic = packet.velocities(LINE, t)
        for found, exact in ((fluid.current, current), (fluid.osmotic, osmotic)):
            wrong = jnp.abs(found[:, 0] - exact)
            assert jnp.all((wrong <= 3 * fluid.error[:, 0]) | fluid.is_node)
        assert (
            jnp.median(fluid.error[:, 0] / jnp.abs(fluid.current[:, 0] - current)) < 1e3
        )


def residuals(step: float, tilt: float) -> tuple[float, float]:
    """The residuals of the two equations of Madelung in an anharmonic well, by central
    differences in time; the potential in the second is tilted.
    """
    potential = lambda x: 0.5 * x[0] ** 2 + 0.1 * x[0] ** 4 + 0.3 * x[0]
    grid = fp.Grid(fp.Line(-6.0, 6.0, 72))
    start = jnp.exp(-((grid.nodes[0] - 0.5) ** 2) / 1.2 + 0.4j * grid.nodes[0])
    start = start / jnp.sqrt(grid.integrate(jnp.abs(start) ** 2))
    times = 0.3 + step * np.asarray([-1.0, 0.0, 1.0])
    equation = fp.Schrodinger(potential)
    before, now, after = fp.evolve(
        equation, start, times, grid=grid, wick=np.pi / 2, tol=1e-10, check=False
    ).values
    fluid = fp.flow.madelung(now, grid)
    inside = fluid.density > 1e-4
    # d_t rho + div(rho v)
    d = lambda u: derivative(grid.axes[0], 0, u)
    flux = d(fluid.density * fluid.current[:, 0])
    first = (jnp.abs(after) ** 2 - jnp.abs(before) ** 2) / (2 * step) + flux
    # d_t S + D |grad S|^2 + V - D Lap sqrt(rho) / sqrt(rho), D = 1/2, grad S = v / (2
    # D)
    size = jnp.abs(now)
    quantum = d(d(size)) / (2 * jnp.where(inside, size, 1))
    energy = (
        fluid.current[:, 0] ** 2 / 2 + grid.sample(potential) + tilt * grid.nodes[0]
    )
    second = jnp.angle(after * jnp.conj(before)) / (2 * step) + energy - quantum
    return float(jnp.max(jnp.abs(first))), float(
        jnp.max(jnp.where(inside, jnp.abs(second), 0))
    )


def test_residuals_fall_with_the_square_of_the_step_in_time():
    steps = [0.04, 0.02, 0.01, 0.005]
    found = np.asarray([residuals(step, 0.0) for step in steps])
    orders = np.polyfit(np.log(steps), np.log(found), 1)[0]
    assert np.all(np.abs(orders - 2) < 0.15)
    # Control: with V + 0.01 x the second equation is wrong by 0.01 x, whatever the
    # step.
    wrong = [residuals(step, 0.01)[1] for step in steps[-2:]]
    assert min(wrong) > 0.005 and found[-1, 1] < 0.2 * wrong[-1]


def test_nodes_are_marked_and_refused():
    # The first excited state: psi = 0 at x = 0, where u = 1/x - x has no value.
    grid = fp.Grid(fp.Line(-8.0, 8.0, 65))
    x = grid.nodes[0]
    fluid = fp.flow.madelung(x * jnp.exp(-(x**2) / 2 + 0j), grid)
    assert bool(fluid.is_node[32]) and not bool(fluid.is_node[33])
    assert bool(jnp.all(jnp.isfinite(fluid.osmotic)))
    assert bool(jnp.all(jnp.isfinite(fluid.error)))
    assert float(fluid.error[32, 0]) >= float(jnp.abs(fluid.osmotic[32, 0]))
    near = jnp.abs(fluid.osmotic[33, 0] - (1 / x[33] - x[33]))
    assert near < 1e-9 and fluid.error[33, 0] > fluid.error[40, 0]
    beside = fluid.at([[0.1], [-0.01], [1.0]])
    exact = np.asarray([1 / 0.1 - 0.1, -100 + 0.01, 0.0])
    assert np.all(np.abs(beside.osmotic[:, 0] - exact) <= 3 * beside.error[:, 0])
    assert beside.error[1, 0] > 10 * beside.error[0, 0]
    with pytest.raises(
        ValueError, match=r"points = \(0.0,\): psi is zero there to its error"
    ):
        fluid.at([[0.0]])
    # A larger error of the wave makes the node wider.
    loose = fp.flow.madelung(fluid.wave, grid, error=1e-2)
    assert int(loose.is_node.sum()) > int(fluid.is_node.sum())
    with pytest.raises(ValueError, match="psi is zero there"):
        loose.at([[-0.001]])


def test_two_dimensions_and_several_diffusions():
    # A vortex: v = 2 D / r around the node at the origin.
    # psi = (x + i y) exp(-r^2 / 2).
    grid = fp.Grid(fp.Line(-7.0, 7.0, 48), fp.Line(-7.0, 7.0, 50))
    wave = grid.sample(lambda x: (x[0] + 1j * x[1]) * jnp.exp(-(x @ x) / 2))
    fluid = fp.flow.madelung(wave, grid, diffusion=[0.5, 1.0])
    found = fluid.at([[1.0, 0.5], [-0.3, 0.2]])
    for k, (x, y) in enumerate([(1.0, 0.5), (-0.3, 0.2)]):
        r2 = x**2 + y**2
        assert np.allclose(found.current[k], [-y / r2, 2 * x / r2], atol=1e-8)
        assert np.allclose(found.osmotic[k], [x / r2 - x, 2 * (y / r2 - y)], atol=1e-8)
    assert np.allclose(
        fluid.drift(0.25), fluid.current + fluid.osmotic * jnp.asarray([0.5, 0.25])
    )
    with pytest.raises(ValueError, match="psi is zero there"):
        fluid.at([[0.0, 0.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wave": jnp.ones(5)}, "wave.shape"),
        ({"wave": jnp.full(96, jnp.nan)}, "finite"),
        ({"wave": jnp.zeros(96)}, "zero everywhere"),
        ({"wave": "a wave"}, "wave"),
        ({"grid": "a grid"}, "grid"),
        ({"diffusion": -1.0}, "diffusion"),
        ({"diffusion": [1.0, 2.0]}, "diffusion"),
        ({"error": -0.1}, "error"),
    ],
)
def test_refusals(change, message):
    given = {"wave": Packet(0.0, 1.0, 1.0).wave(LINE, 0.0), "grid": LINE} | change
    with pytest.raises(ValueError, match=message):
        fp.flow.madelung(given.pop("wave"), given.pop("grid"), **given)


def test_velocities_are_asked_for_inside_of_the_box():
    fluid = fp.flow.madelung(Packet(0.0, 1.0, 1.0).wave(LINE, 0.0), LINE)
    for points in ([[20.0]], [0.0], [[np.nan]]):
        with pytest.raises(ValueError, match="points"):
            fluid.at(points)


def test_particles_have_the_density_of_the_wave():
    from fpsolve.diffusion.particles import pearson

    # Two packets that meet: interference, with no exact node.
    grid = fp.Grid(fp.Line(-12.0, 12.0, 96))
    x = grid.nodes[0]
    start = jnp.exp(-((x + 2) ** 2) / 2 + 1j * x) + 0.6 * jnp.exp(
        -((x - 2) ** 2) / 2 - 1j * x
    )
    start = start / jnp.sqrt(grid.integrate(jnp.abs(start) ** 2))
    run = fp.evolve(
        fp.Schrodinger(lambda x: 0.0),
        start,
        np.linspace(0.0, 1.0, 9),
        grid=grid,
        wick=np.pi / 2,
    )
    first, second = jax.random.split(jax.random.key(0))
    cells = jax.random.choice(first, grid.size, (2000,), p=jnp.abs(start) ** 2)
    # Within a cell the density is nearly constant.
    samples = x[cells] + grid.axes[0].unit * (
        jax.random.uniform(second, cells.shape) - 0.5
    )
    coarse = fp.Grid(fp.Line(-12.0, 12.0, 48))
    density = jnp.abs(run.values[-1]) ** 2
    merged = density.reshape(48, 2).mean(axis=1)
    for noise in (0.0, 0.5):
        paths = fp.flow.particles(
            run, samples[:, None], noise=noise, steps=1, key=jax.random.key(1)
        )
        assert paths.shape == (9, 2000, 1) and bool(jnp.all(jnp.isfinite(paths)))
        assert pearson(paths[-1], merged, coarse).chance > 1e-4
    # Control: the density at another time is not that of the particles.
    early = (jnp.abs(run.values[4]) ** 2).reshape(48, 2).mean(axis=1)
    assert pearson(paths[-1], early, coarse).chance < 1e-4


def test_particles_refuse():
    grid = fp.Grid(fp.Line(-8.0, 8.0, 32))
    wave = jnp.exp(-(grid.nodes[0] ** 2) / 2 + 0j)
    few = fp.evolve(
        fp.Schrodinger(lambda x: 0.0),
        wave,
        [0.5],
        grid=grid,
        wick=np.pi / 2,
        check=False,
    )
    with pytest.raises(ValueError, match="times"):
        fp.flow.particles(few, np.zeros((3, 1)))
    many = fp.evolve(
        fp.Schrodinger(lambda x: 0.0),
        wave,
        [0, 0.1, 0.2, 0.3],
        grid=grid,
        wick=np.pi / 2,
        check=False,
    )
    with pytest.raises(ValueError, match="start"):
        fp.flow.particles(many, np.zeros(3))
    with pytest.raises(ValueError, match="key"):
        fp.flow.particles(many, np.zeros((3, 1)), noise=0.5)
    with pytest.raises(ValueError, match="noise"):
        fp.flow.particles(many, np.zeros((3, 1)), noise=-0.5)
    density = fp.evolve(
        fp.FokkerPlanck(fp.Harmonic()),
        fp.Gaussian(0.0, 0.5),
        [0, 0.1, 0.2, 0.3],
        grid=grid,
    )
    with pytest.raises(ValueError, match="equation"):
        fp.flow.particles(density, np.zeros((3, 1)))
