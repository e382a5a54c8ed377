"""Truth and order: the spline repeats cubics to rounding, and approaches smooth data at
order four; so on a ring.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.potential import Sampled

UNEVEN = np.array([-2.0, -1.3, -0.9, 0.1, 0.4, 1.2, 2.0])


def test_a_cubic_comes_back_exactly_inside_and_outside():
    def cubic(x):
        return 1 - 2 * x[0] + 0.5 * x[0] ** 3 + x[0] ** 2 * x[1] ** 3 - x[1]

    y = np.linspace(-1, 1, 5)
    grid = np.stack(np.meshgrid(UNEVEN, y, indexing="ij"))
    potential = Sampled((UNEVEN, y), cubic(grid))
    for point in ([0.37, -0.21], [-2.0, 1.0], [1.9, 0.99], [2.5, -1.4], [0.1, 0.0]):
        x = jnp.array(point)
        np.testing.assert_allclose(potential(x), cubic(x), atol=1e-12)
        np.testing.assert_allclose(
            jax.grad(potential)(x), jax.grad(cubic)(x), atol=1e-11
        )
        np.testing.assert_allclose(
            jax.hessian(potential)(x), jax.hessian(cubic)(x), atol=1e-10
        )


def test_order_four():
    points = jnp.linspace(-1, 1, 1001)[:, None]
    sizes = [20, 40, 80, 160, 320]
    errors = []
    for n in sizes:
        nodes = np.linspace(-2, 2, n + 1)
        potential = Sampled((nodes,), np.exp(np.sin(2 * nodes)))
        exact = jnp.exp(jnp.sin(2 * points[:, 0]))
        errors.append(jnp.max(jnp.abs(jax.vmap(potential)(points) - exact)))
    order = -np.polyfit(np.log(sizes), np.log(np.array(errors)), 1)[0]
    assert abs(order - 4) < 0.15, (order, errors)


def test_twice_continuously_differentiable_across_a_node():
    potential = Sampled((UNEVEN,), np.cos(3 * UNEVEN))
    for derivative in (potential, jax.grad(potential), jax.hessian(potential)):
        jump = derivative(jnp.array([0.1 + 1e-9])) - derivative(jnp.array([0.1 - 1e-9]))
        assert jnp.max(jnp.abs(jump)) < 1e-6
    third = jax.grad(lambda x: jax.hessian(potential)(x)[0, 0])
    assert abs(third(jnp.array([0.2]))[0] - third(jnp.array([0.0]))[0]) > 1e-3


def test_keeps_the_values_and_takes_a_grid():
    values = np.random.default_rng(0).normal(size=(7, 5, 4))
    nodes = (jnp.asarray(UNEVEN), jnp.linspace(0, 1, 5), jnp.linspace(-3, 3, 4))
    potential = Sampled(SimpleNamespace(nodes=nodes), values)
    points = jnp.stack(jnp.meshgrid(*nodes, indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_allclose(
        jax.vmap(potential)(points).reshape(7, 5, 4), values, atol=1e-12
    )


class Unit:
    """A grid that makes its nodes when asked, also within a trace."""

    @property
    def nodes(self):
        return (jnp.linspace(0, 1, 5),)


def test_traced_values_give_the_same_spline_and_its_gradient():
    y = np.linspace(0, 1, 5)
    values = np.random.default_rng(1).normal(size=(7, 5))
    x = jnp.array([0.3, 0.6])

    def energy(values):
        return Sampled((UNEVEN, y), values)(x)

    np.testing.assert_allclose(jax.jit(energy)(values), energy(values), rtol=1e-12)
    slope = jax.grad(energy)(jnp.asarray(values))
    # linear in the values
    np.testing.assert_allclose(jnp.sum(slope * values), energy(values), rtol=1e-12)
    inside = jax.jit(lambda v: Sampled(Unit(), v)(x[:1]))(values[0])
    np.testing.assert_allclose(inside, Sampled((y,), values[0])(x[:1]), rtol=1e-12)


def wave(x):
    return np.cos(x) + 0.3 * np.sin(2 * x)


def at(potential, x):
    """The values of a potential of one coordinate at the places x `(n,)`."""
    return np.asarray(jax.vmap(potential)(jnp.asarray(x)[:, None]))


def test_a_column_of_a_table_is_an_axis():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": UNEVEN, "U": UNEVEN**3, "n": np.arange(7)}).iloc[1:]
    for potential in (
        Sampled(table.x, table.U),
        Sampled(list(UNEVEN[1:]), table.U),
        Sampled((table["x"],), table["U"]),
    ):
        np.testing.assert_allclose(
            at(potential, [0.3, 1.9]), [0.027, 6.859], rtol=1e-12
        )
    np.testing.assert_allclose(
        at(Sampled(table.x, table.n), UNEVEN[1:]), np.arange(1, 7), atol=1e-12
    )
    with pytest.raises(ValueError, match=r"^values = .{,79}: .+\."):
        Sampled(table.x, pandas.Series([1.0, 2.0, None, 3.0, 4.0, 5.0]))


def test_a_ring_is_joined_at_order_four():
    places = np.linspace(-20, 20, 401)
    errors = []
    sizes = [16, 32, 64, 128]
    for n in sizes:
        ring = fp.Grid(fp.Periodic(0.3, 0.3 + 2 * np.pi, n))
        potential = Sampled(ring, wave(ring.axes[0].nodes))
        errors.append(np.max(np.abs(at(potential, places) - wave(places))))
    assert abs(-np.polyfit(np.log(sizes), np.log(errors), 1)[0] - 4) < 0.15, errors
    # The same ring from uneven nodes of which the last is the first again, here with
    # the digits of a printed table.
    degrees = np.array([-180.0, -100.0, -90.0, -20.0, 10.0, 80.0, 135.0, 180.0])
    closed = Sampled(degrees, wave(np.radians(degrees)).round(9), period=360.0)
    opened = Sampled(
        degrees[:-1], wave(np.radians(degrees[:-1])).round(9), period=360.0
    )
    np.testing.assert_allclose(at(closed, places), at(opened, places), atol=1e-12)
    for derivative in (closed, jax.grad(closed), jax.hessian(closed)):
        jump = derivative(jnp.array([180.0 + 1e-7])) - derivative(
            jnp.array([-180.0 - 1e-7])
        )
        assert np.max(np.abs(jump)) < 1e-6
    # On a torus, and on a cylinder, from traced values.
    y = np.linspace(-1, 1, 5)
    values = wave(degrees[:-1, None] / 57.3) * (1 + y**3)
    cylinder = jax.jit(
        lambda v: Sampled((degrees[:-1], y), v, period=(360.0, None))(
            jnp.array([200.0, 0.3])
        )
    )
    both = Sampled((degrees[:-1], y), values, period=(360.0, None))
    np.testing.assert_allclose(
        cylinder(values), both(jnp.array([-160.0, 0.3])), rtol=1e-12
    )


def test_a_table_on_a_ring_has_the_gap_of_its_formula():
    ring = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 48))
    nodes = np.linspace(0, 2 * np.pi, 201)
    table = Sampled(nodes, 2 * wave(nodes), period=2 * np.pi)
    formula = fp.FokkerPlanck(lambda x: 2 * jnp.cos(x[0]) + 0.6 * jnp.sin(2 * x[0]))
    np.testing.assert_allclose(
        fp.spectral_gap(fp.FokkerPlanck(table), ring),
        fp.spectral_gap(formula, ring),
        rtol=1e-5,
    )


@pytest.mark.parametrize("smooth", ["gcv", "errors"])
def test_smoothing_comes_nearer_to_the_truth_than_the_data(smooth):
    # The error of a smoothing spline of n values is about sqrt(df / n) sigma with df
    # degrees of freedom, here 10 to 20.
    rng = np.random.default_rng(5)
    ratios = []
    for n, sigma in ((60, 0.3), (120, 0.1), (120, 0.03), (700, 0.3)):
        x = np.sort(rng.uniform(-2, 2, n))
        values = (
            2 * (x**2 - 1) ** 2 + 0.3 * np.sin(3 * x) + sigma * rng.standard_normal(n)
        )
        smoothed = Sampled(
            x, values, smooth="gcv" if smooth == "gcv" else np.full(n, sigma)
        )
        error = np.sqrt(
            np.mean((at(smoothed, x) - 2 * (x**2 - 1) ** 2 - 0.3 * np.sin(3 * x)) ** 2)
        )
        ratios.append(error / (sigma * np.sqrt(15 / n)))
    assert max(ratios) < 1.8, ratios


def test_cross_validation_agrees_with_that_of_scipy():
    from scipy.interpolate import make_smoothing_spline

    rng = np.random.default_rng(2)
    x = np.linspace(-2, 2, 90)
    values = np.cos(3 * x) + 0.2 * rng.standard_normal(90)
    reference = make_smoothing_spline(x, values)(x)
    # The data are 0.2 away from both; the spaces of splines differ at the ends, and the
    # penalties by a part of a step.
    assert np.max(np.abs(at(Sampled(x, values, smooth=True), x) - reference)) < 0.02


def test_smoothing_in_other_units_on_rings_and_on_planes():
    rng = np.random.default_rng(3)
    x = np.linspace(-2, 2, 40)
    y = np.linspace(-np.pi, np.pi, 31)
    exact = (x[:, None] ** 2 - 1) ** 2 + 0.5 * x[:, None] * np.cos(y)
    noisy = exact + 0.05 * rng.standard_normal(exact.shape)
    points = jnp.stack(jnp.meshgrid(x, y, indexing="ij"), -1)
    for smooth in ("gcv", 0.05):
        smoothed = Sampled((x, y), noisy, period=(None, 2 * np.pi), smooth=smooth)
        error = np.asarray(jax.vmap(jax.vmap(smoothed))(points)) - exact
        assert np.sqrt(np.mean(error**2)) < 0.02
    for length, energy in ((1e-12, 1e9), (1e12, 1e-12)):
        other = Sampled(x * length, noisy[:, 3] * energy, smooth="gcv")
        np.testing.assert_allclose(
            other.coefficients / energy,
            Sampled(x, noisy[:, 3], smooth="gcv").coefficients,
            rtol=1e-6,
        )


def test_smoothing_of_traced_values_and_its_gradient():
    rng = np.random.default_rng(4)
    x = np.linspace(-2, 2, 30)
    values = jnp.asarray(x**2 + 0.1 * rng.standard_normal(30))
    direction = jnp.asarray(rng.standard_normal(30))

    def energy(values):
        return Sampled(x, values, smooth="gcv")(jnp.array([0.31]))

    np.testing.assert_allclose(jax.jit(energy)(values), energy(values), rtol=1e-10)
    both = jax.vmap(energy)(jnp.stack([values, 2 * values]))
    np.testing.assert_allclose(both, [energy(values), 2 * energy(values)], rtol=1e-10)
    difference = (
        energy(values + 1e-5 * direction) - energy(values - 1e-5 * direction)
    ) / 2e-5
    np.testing.assert_allclose(
        jax.grad(energy)(values) @ direction, difference, rtol=1e-7
    )


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Sampled((UNEVEN[::-1],), UNEVEN), "grid nodes of axis 0"),
        (
            lambda: Sampled((np.array([0.0, 1.0, 1.0, 2.0]),), np.ones(4)),
            "grid nodes of axis 0",
        ),
        (lambda: Sampled((np.arange(3.0),), np.ones(3)), "grid nodes of axis 0"),
        (
            lambda: Sampled((np.array([0, 1, 2, np.nan]),), np.ones(4)),
            "grid nodes of axis 0",
        ),
        (lambda: Sampled(1.0, UNEVEN), "grid"),
        (lambda: Sampled((UNEVEN, 1.0), np.ones((7, 1))), "grid nodes of axis 1"),
        (lambda: Sampled(UNEVEN, UNEVEN, period=3.9), "grid nodes of axis 0"),
        (lambda: Sampled(UNEVEN, UNEVEN, period=-1.0), "period"),
        (lambda: Sampled(UNEVEN, UNEVEN, period=(5.0, None)), "period"),
        (lambda: Sampled(UNEVEN, UNEVEN, period=4.0), "values"),
        (lambda: Sampled(UNEVEN, UNEVEN, smooth=0.0), "smooth"),
        (lambda: Sampled(UNEVEN, UNEVEN, smooth="GCV"), "smooth"),
        (lambda: Sampled(UNEVEN, UNEVEN, smooth=np.ones(6)), "smooth"),
        (lambda: Sampled((), 1.0), "grid"),
        (lambda: Sampled((UNEVEN,), np.ones(6)), "values"),
        (lambda: Sampled((UNEVEN,), np.ones((7, 7))), "values"),
        (lambda: Sampled((UNEVEN,), np.where(UNEVEN > 0, np.nan, 1.0)), "values"),
        (
            lambda: jax.jit(lambda nodes: Sampled((nodes,), UNEVEN)(jnp.zeros(1)))(
                UNEVEN
            ),
            "grid",
        ),
    ],
)
def test_refused(make, name):
    with pytest.raises(ValueError, match=rf"(?s)^{name} = .+: .+\. .+\."):
        make()
