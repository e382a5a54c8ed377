"""Truth and order: the spline repeats cubics to rounding, and approaches smooth data at order four."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        np.testing.assert_allclose(jax.grad(potential)(x), jax.grad(cubic)(x), atol=1e-11)
        np.testing.assert_allclose(jax.hessian(potential)(x), jax.hessian(cubic)(x), atol=1e-10)


def test_order_four():
    points, sizes, errors = jnp.linspace(-1, 1, 1001)[:, None], [20, 40, 80, 160, 320], []
    for n in sizes:
        nodes = np.linspace(-2, 2, n + 1)
        potential = Sampled((nodes,), np.exp(np.sin(2 * nodes)))
        errors.append(jnp.max(jnp.abs(jax.vmap(potential)(points) - jnp.exp(jnp.sin(2 * points[:, 0])))))
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
    np.testing.assert_allclose(jax.vmap(potential)(points).reshape(7, 5, 4), values, atol=1e-12)


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
    np.testing.assert_allclose(jnp.sum(slope * values), energy(values), rtol=1e-12)  # linear in the values
    inside = jax.jit(lambda v: Sampled(Unit(), v)(x[:1]))(values[0])
    np.testing.assert_allclose(inside, Sampled((y,), values[0])(x[:1]), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Sampled((UNEVEN[::-1],), UNEVEN), "grid nodes of axis 0"),
        (lambda: Sampled((np.array([0.0, 1.0, 1.0, 2.0]),), np.ones(4)), "grid nodes of axis 0"),
        (lambda: Sampled((np.arange(3.0),), np.ones(3)), "grid nodes of axis 0"),
        (lambda: Sampled((np.array([0, 1, 2, np.nan]),), np.ones(4)), "grid nodes of axis 0"),
        (lambda: Sampled(UNEVEN, UNEVEN), "grid"),
        (lambda: Sampled((), 1.0), "grid"),
        (lambda: Sampled((UNEVEN,), np.ones(6)), "values"),
        (lambda: Sampled((UNEVEN,), np.ones((7, 7))), "values"),
        (lambda: Sampled((UNEVEN,), np.where(UNEVEN > 0, np.nan, 1.0)), "values"),
        (lambda: jax.jit(lambda nodes: Sampled((nodes,), UNEVEN)(jnp.zeros(1)))(UNEVEN), "grid"),
    ],
)
def test_refused(make, name):
    with pytest.raises(ValueError, match=rf"(?s)^{name} = .+: .+\. .+\."):
        make()
