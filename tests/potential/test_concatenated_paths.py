"""Concatenated paths: continuous, differentiable, and equal to each of their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve.path import Mix, Noising, Tempering
from fpsolve.path.mix import concatenate
from fpsolve.potential import (
    DoubleWell,
    Function,
    GaussianMixture,
    Harmonic,
    Quartic,
    Sum,
)

X = jnp.array([0.3, -0.7])
U = Harmonic(2.0)
V = DoubleWell(3.0) + 5.0
W = Quartic() - 2.0
THREE = concatenate(
    Mix(U, V), Tempering(DoubleWell(3.0), 1.0, 3.0), Mix(3 * V, W), at=[0.2, 0.7]
)


def three(lam):
    """What THREE is, written out; the constants 5, 15 and -2 of its parts make one
    continuous function.
    """
    well = DoubleWell(3.0)(X)
    if lam < 0.2:
        return (1 - 5 * lam) * U(X) + 5 * lam * (well + 5)
    if lam < 0.7:
        return 3 ** ((lam - 0.2) / 0.5) * well + 5
    s = (lam - 0.7) / 0.3
    return (1 - s) * 3 * (well + 5) + s * (Quartic()(X) - 2) - 10


def test_concatenation_is_continuous_and_each_part_itself():
    lambdas = jnp.array([0.0, 0.1, 0.2, 0.2 - 1e-9, 0.5, 0.7, 0.7 - 1e-9, 0.8, 1.0])
    values = np.asarray(jax.jit(jax.vmap(lambda lam: THREE(lam)(X)))(lambdas))
    np.testing.assert_allclose(
        values, [three(float(lam)) for lam in lambdas], rtol=1e-13
    )
    np.testing.assert_allclose(values[[2, 5]], values[[3, 6]], rtol=1e-7)
    equal = concatenate(Mix(U, V), Mix(V, W))
    np.testing.assert_allclose(equal(0.5)(X), V(X), rtol=1e-14)
    np.testing.assert_allclose(equal(0.75)(X), 0.5 * (V(X) + W(X)), rtol=1e-14)


def test_concatenation_has_derivatives_everywhere():
    """One-sided at the joints, that of the part that begins; also in x, under vmap, and
    forwards and backwards.
    """
    lambdas = jnp.array([0.1, 0.2, 0.4, 0.7, 0.9, 1.0])
    backwards = jax.jit(jax.vmap(jax.grad(lambda lam: THREE(lam)(X))))(lambdas)
    forwards = jax.jit(
        jax.vmap(lambda lam: jax.jvp(lambda lam: THREE(lam)(X), (lam,), (1.0,))[1])
    )(lambdas)
    exact = [
        (three(lam + 1e-6) - three(lam + 1e-12)) / 1e-6 for lam in np.asarray(lambdas)
    ]
    np.testing.assert_allclose(backwards, exact, rtol=1e-5)
    np.testing.assert_allclose(forwards, backwards, rtol=1e-13)
    force = jax.jit(jax.vmap(lambda lam: jax.grad(THREE(lam))(X)))(lambdas)
    np.testing.assert_allclose(force[1], jax.grad(V)(X), rtol=1e-13)


def test_a_part_out_of_its_range_leaves_no_nan():
    """√(1.5 - s) is finite where its part is, s in [0, 1], and not where λ is in the
    next one.
    """

    def fading(s):
        return jnp.sqrt(1.5 - s) * U

    path = concatenate(fading, Mix(np.sqrt(0.5) * U, W), at=0.1)
    lambdas = jnp.array([0.05, 0.1, 0.5, 1.0])
    exact = [-5 * U(X) / np.sqrt(1.0), *[(W(X) - np.sqrt(0.5) * U(X)) / 0.9] * 3]
    each = jax.jit(jax.vmap(jax.grad(lambda lam: path(lam)(X))))(lambdas)
    together = jax.jit(
        jax.grad(lambda lambdas: jnp.sum(jax.vmap(lambda lam: path(lam)(X))(lambdas)))
    )(lambdas)
    np.testing.assert_allclose(each, exact, rtol=1e-12)
    np.testing.assert_allclose(together, exact, rtol=1e-12)


def test_ends_meet_up_to_a_constant_in_any_dimension():
    data = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.5)
    noise = Noising(data)
    path = concatenate(Mix(Sum(lambda x: x[0] ** 2 + x[1] ** 2, 1.0), data), noise)
    np.testing.assert_allclose(jax.grad(path(0.8))(X), -noise.score(X, 0.6), rtol=1e-12)
    np.testing.assert_allclose(path(0.5 - 1e-12)(X), path(0.5)(X), rtol=1e-10)
    gamma = Function(lambda x: x[0] - jnp.log(x[0]))
    walled = concatenate(Tempering(gamma, 1.0, 2.0), Tempering(gamma + 7.0, 2.0, 3.0))
    np.testing.assert_allclose(
        walled(1.0)(jnp.array([2.0])), 3 * gamma(jnp.array([2.0])) + 7, rtol=1e-12
    )
    shaken = concatenate(
        Mix(lambda x, t: t * x[0], U), Mix(U, lambda x, t: jnp.sin(t) * x[0])
    )
    assert shaken(0.2).time_dependent and not path(0.2).time_dependent
    np.testing.assert_allclose(shaken(1.0)(X, 2.0), np.sin(2.0) * 0.3, rtol=1e-12)


@pytest.mark.parametrize("length", [1e-9, 1.0, 1e9])
def test_paths_in_any_unit_of_length_meet_and_are_continuous(length):
    def well(stiffness, offset=0.0):
        return lambda x: stiffness * ((x[0] / length) ** 2 - 1) ** 2 + offset

    path = concatenate(Mix(well(1.0), well(2.0, 3.0)), Mix(well(2.0), well(5.0)))
    x = jnp.array([0.7 * length])
    # The constant 3 between the parts is removed, with no more than the rounding of a
    # number of size one.
    np.testing.assert_allclose(path(0.5 + 1e-13)(x), path(0.5 - 1e-13)(x), rtol=1e-9)
    with pytest.raises(ValueError, match="one constant"):
        concatenate(Mix(well(1.0), well(2.0)), Mix(well(3.0), well(5.0)))
