"""Sums, multiples, wrapped callables, static and time-dependent potentials, paths and
driven potentials.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve.path import Driven, Mix
from fpsolve.potential import (
    Constant,
    Cosine,
    DoubleWell,
    Function,
    Harmonic,
    Potential,
    Quartic,
    Scaled,
    Sum,
    as_potential,
    takes_time,
)

X = jnp.array([0.3, -0.7])
U, V = Harmonic(2.0), DoubleWell(3.0)
u, v = float(U(X)), float(V(X))


@pytest.mark.parametrize(
    ("potential", "value"),
    [
        (U + V, u + v),
        (U - V, u - v),
        (-U, -u),
        (2 * U, 2 * u),
        (U * 2.5, 2.5 * u),
        (U / 4, u / 4),
        (U + 1.5, u + 1.5),
        (1.5 + U, u + 1.5),
        (1.5 - U, 1.5 - u),
        (U - 1, u - 1),
        (np.float64(2.0) * U, 2 * u),
        (np.float32(2.0) + U, 2 + u),
        (jnp.asarray(2.0) * U, 2 * u),
        (np.array(2.0) * U, 2 * u),
        (jnp.asarray(2.0) + U, 2 + u),
        (U + (lambda x: x[0]), u + 0.3),
        ((lambda x: x[0]) + U, u + 0.3),
        ((lambda x: x[0]) - U, 0.3 - u),
        (U - (lambda x: x[0]), u - 0.3),
        (sum([U, V, U]), 2 * u + v),
        (3 * (U - 2 * V) + 1, 3 * u - 6 * v + 1),
    ],
)
def test_algebra(potential, value):
    assert isinstance(potential, Potential) and not potential.time_dependent
    np.testing.assert_allclose(potential(X), value, rtol=1e-13)


def test_sums_are_flat_and_their_numbers_are_leaves():
    total = U + V + (lambda x: 0.0) + 1.0
    assert isinstance(total, Sum)
    assert len(total.parts) == 4
    assert isinstance(total.parts[-1], Constant)
    slope = jax.grad(lambda c: (c * U + V)(X))(2.0)
    np.testing.assert_allclose(slope, u, rtol=1e-13)
    assert isinstance(2 * U, Scaled) and len(jax.tree.leaves(2 * U)) == 3


def test_bad_algebra_is_refused():
    for bad in (
        lambda: U * [1.0, 2.0],
        lambda: U * V,
        lambda: U * np.nan,
        lambda: U + "one",
        lambda: Sum(),
    ):
        with pytest.raises(ValueError, match=r".+ = .+: .+\. .+\."):
            bad()


def two(x, t):
    return x[0] * t


class Model(eqx.Module):
    weight: jax.Array

    def __call__(self, x, time):
        return self.weight * x[0] * time


class Keyed(eqx.Module):
    def __call__(self, x, *, key=None):
        return x[0]


TIME_DEPENDENT = [
    (two, "position"),
    (lambda x, time: x[0] * time, "position"),
    (lambda x, t=0.0: x[0] * t, "position"),
    (lambda x, /, t: x[0] * t, "position"),
    (lambda x, t, /: x[0] * t, "position"),
    (lambda x, a=1.0, t=0.0: x[0] * a * t, "keyword"),
    (lambda x, *, t: x[0] * t, "keyword"),
    (lambda x, *, a=1.0, t=0.0: x[0] * a * t, "keyword"),
    (lambda x, t, **rest: x[0] * t, "position"),
    (functools.partial(lambda x, t, a: x[0] * t * a, a=1.0), "position"),
    (functools.partial(lambda a, x, t: x[0] * t * a, 1.0), "position"),
    (Model(jnp.asarray(1.0)), "position"),
    (jax.jit(two), "position"),
    (eqx.filter_jit(two), "position"),
    (functools.partial(lambda x, a, t: x[0] * t * a, a=1.0), "keyword"),
]
STATIC = [
    lambda x: x[0],
    lambda x, a=2.0: x[0],
    lambda x, *rest: x[0],
    lambda x, **rest: x[0],
    lambda t: t[0],
    lambda x, *, key=None: x[0],
    functools.partial(two, t=1.0),
    functools.partial(lambda a, x: a * x[0], 1.0),
    Keyed(),
    eqx.nn.MLP(2, "scalar", 4, 1, key=jax.random.key(0)),
    jnp.max,
    jnp.linalg.norm,
    max,
]


@pytest.mark.parametrize(("f", "how"), TIME_DEPENDENT, ids=range(len(TIME_DEPENDENT)))
def test_time_dependent(f, how):
    assert takes_time(f) is True
    potential = as_potential(f)
    assert potential.time_dependent is True
    assert takes_time(potential)
    assert potential.time == how
    np.testing.assert_allclose(potential(X, 2.0), 0.6, rtol=1e-13)
    with pytest.raises(ValueError, match=r"^t = None"):
        potential(X)
    for whole in (U + f, 2.0 * potential, -potential, Mix(f, U)(0.5), Mix(U, f)(0.5)):
        assert whole.time_dependent is True


@pytest.mark.parametrize("f", STATIC, ids=range(len(STATIC)))
def test_static(f):
    assert takes_time(f) is False
    potential = as_potential(f)
    assert potential.time_dependent is False and takes_time(potential) is False
    assert (U + f).time_dependent is False
    value = f(X)
    np.testing.assert_allclose(potential(X, 5.0), value, rtol=1e-13)


def test_as_potential_keeps_potentials_and_leaves():
    assert as_potential(U) is U
    network = eqx.nn.MLP(2, "scalar", 4, 1, key=jax.random.key(0))
    slope = eqx.filter_grad(lambda potential: potential(X))(as_potential(network))
    assert isinstance(slope, Function) and jnp.any(slope.function.layers[0].weight != 0)


def test_arguments_of_a_partial_are_leaves():
    traces = []

    @eqx.filter_jit
    def value(potential):
        traces.append(1)
        return potential(X)

    def line(x, a):
        return a * x[0]

    values = [
        value(as_potential(functools.partial(line, a=jnp.asarray(a))))
        for a in (1.0, 2.0, 3.0)
    ]
    np.testing.assert_allclose(values, [0.3, 0.6, 0.9], rtol=1e-13)
    assert len(traces) == 1


@pytest.mark.parametrize(
    "f",
    [
        3.0,
        None,
        "well",
        X,
        lambda: 0.0,
        lambda x, a, b: 0.0,
        lambda x, a, t: 0.0,
        lambda x, *, a: 0.0,
        lambda t, x: x[0] * t,
    ],
)
def test_not_a_potential(f):
    with pytest.raises(ValueError, match=r"(?s)^potential.* = .+: .+\. .+"):
        as_potential(f)


def test_a_value_that_is_not_scalar_is_refused():
    with pytest.raises(ValueError, match=r"must be a scalar, not of shape \(2,\)"):
        as_potential(lambda x: x**2)(X)


def test_mix_is_the_straight_path():
    path = Mix(U, lambda x: x[0])
    for lam in (0.0, 0.25, 1.0, 1):
        np.testing.assert_allclose(path(lam)(X), (1 - lam) * u + lam * 0.3, rtol=1e-13)
    lambdas = jnp.linspace(0, 1, 5)
    np.testing.assert_allclose(
        jax.vmap(lambda lam: path(lam)(X))(lambdas),
        (1 - lambdas) * u + lambdas * 0.3,
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        jax.jit(jax.grad(lambda lam: path(lam)(X)))(0.3), 0.3 - u, rtol=1e-13
    )
    assert not path(0.5).time_dependent
    with pytest.raises(ValueError, match=r"^lam = "):
        path([0.1, 0.2])


class Ramp(eqx.Module):
    total: jax.Array

    def __call__(self, t):
        return t / self.total


@pytest.mark.parametrize(
    "path",
    [Mix(Quartic(), U), lambda lam: lambda x: (1 - lam) * Quartic()(x) + lam * U(x)],
)
def test_driven(path):
    ramp = Ramp(jnp.asarray(4.0))
    potential = Driven(path, ramp)
    assert potential.time_dependent is True and takes_time(potential)
    q = float(Quartic()(X))
    np.testing.assert_allclose(
        jax.jit(lambda t: potential(X, t))(1.0), 0.75 * q + 0.25 * u, rtol=1e-13
    )
    slope = eqx.filter_grad(lambda potential: potential(X, 1.0))(
        potential
    ).schedule.total
    np.testing.assert_allclose(slope, -(u - q) / 16, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^t = None"):
        potential(X)


def test_driven_with_moving_parts_and_shorthand():
    path = Mix(lambda x, t: t * x[0], Cosine())
    potential = path.driven(lambda t: t / 2)
    assert isinstance(potential, Driven)
    np.testing.assert_allclose(
        potential(X, 1.0), 0.5 * 0.3 + 0.5 * Cosine()(X), rtol=1e-13
    )
    assert (potential + U).time_dependent and (3 * potential).time_dependent
    for bad in (
        lambda: Driven(1.0, lambda t: t),
        lambda: Driven(path, 1.0),
        lambda: Mix(U, 2.0),
    ):
        with pytest.raises(ValueError, match=r".+ = .+: .+\. .+\."):
            bad()
