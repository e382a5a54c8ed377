"""Truth: values against closed forms, gradients against finite differences, for every
library potential.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve.potential import (
    Cosine,
    DoubleWell,
    GaussianMixture,
    Harmonic,
    MexicanHat,
    MullerBrown,
    Potential,
    Quartic,
    Rugged,
    Sampled,
)

NODES = (np.linspace(-2, 2, 9), np.linspace(-2, 2, 11))
MATRICES = [[[1.0, 0.3], [0.3, 0.5]], [[0.4, -0.1], [-0.1, 0.8]]]
LIBRARY = {
    "harmonic number": Harmonic(2.0, 0.5),
    "harmonic vector": Harmonic([2.0, 3.0], [0.5, -1.0]),
    "harmonic matrix": Harmonic([[2.0, 0.5], [0.5, 1.0]], 0.25),
    "double well": DoubleWell(3.0, 1.5, 0.2, 2.0),
    "quartic": Quartic(0.7),
    "cosine": Cosine(1.3, 2.0),
    "mexican hat": MexicanHat(2.0, 1.5),
    "muller brown": MullerBrown(0.05),
    "mixture number": GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], 0.5, [1.0, 3.0]),
    "mixture vector": GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], [0.5, 0.7]),
    "mixture axes": GaussianMixture(
        [[-1.0, 0.0], [1.0, 0.5]], [[0.5, 0.7], [0.3, 0.2]]
    ),
    "mixture matrices": GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], MATRICES),
    "rugged": Rugged(2.0, 0.5, 7.0),
    "sampled": Sampled(NODES, np.sin(NODES[0])[:, None] * np.cos(NODES[1])[None, :]),
}
EVERY = pytest.mark.parametrize("potential", LIBRARY.values(), ids=LIBRARY.keys())
X = jnp.array([0.3, -0.7])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("harmonic number", 0.5 * 2 * (0.2**2 + 1.2**2)),
        ("harmonic vector", 0.5 * (2 * 0.2**2 + 3 * 0.3**2)),
        ("harmonic matrix", 0.5 * (2 * 0.05**2 + 2 * 0.5 * 0.05 * -0.95 + 0.95**2)),
        ("double well", 3 * ((0.3 / 1.5) ** 2 - 1) ** 2 - 0.2 * 0.3 + 0.7**2),
        ("quartic", 0.7 * (0.3**4 + 0.7**4)),
        ("cosine", 1.3 * (np.cos(0.6) + np.cos(1.4))),
        ("mexican hat", 2 * (0.58 / 2.25 - 1) ** 2),
        ("rugged", 0.58 + 0.5 * (np.cos(2.1) + np.cos(4.9))),
    ],
)
def test_values(name, value):
    result = LIBRARY[name](X)
    assert result.shape == () and result.dtype == jnp.float64
    np.testing.assert_allclose(result, value, rtol=1e-13)


@EVERY
def test_gradient_and_hessian_against_differences(potential):
    h, eye = 1e-5, jnp.eye(2)
    slope = [(potential(X + h * e) - potential(X - h * e)) / (2 * h) for e in eye]
    bend = [
        (jax.grad(potential)(X + h * e) - jax.grad(potential)(X - h * e)) / (2 * h)
        for e in eye
    ]
    np.testing.assert_allclose(jax.grad(potential)(X), slope, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        jax.hessian(potential)(X), jnp.stack(bend), rtol=1e-5, atol=1e-6
    )


@EVERY
def test_finite_at_centre_and_still(potential):
    assert isinstance(potential, Potential) and potential.time_dependent is False
    zero = jnp.zeros(2)
    derivatives = (
        potential(zero),
        jax.grad(potential)(zero),
        jax.hessian(potential)(zero),
    )
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in derivatives)
    assert potential(X) == potential(X, 3.0)


@EVERY
def test_every_number_is_a_float_leaf(potential):
    leaves = jax.tree.leaves(potential)
    assert leaves
    assert all(leaf.dtype == jnp.float64 and not leaf.weak_type for leaf in leaves)


@EVERY
def test_a_sweep_compiles_once(potential):
    traces = []

    @jax.jit
    def value(potential, x):
        traces.append(1)
        return potential(x)

    shaken = jax.tree.map(lambda leaf: leaf * 1.01, potential)
    one, other = value(potential, X), value(shaken, X)
    assert len(traces) == 1
    assert one != other


@EVERY
def test_vmap_over_the_leaves(potential):
    factors = jnp.array([1.0, 1.02])
    stack = jax.tree.map(
        lambda leaf: jnp.stack([factor * leaf for factor in factors]), potential
    )
    each = [
        jax.tree.map(lambda leaf, factor=factor: factor * leaf, potential)(X)
        for factor in factors
    ]
    np.testing.assert_allclose(
        jax.vmap(lambda p: p(X))(stack), jnp.stack(each), rtol=1e-12
    )


def test_made_from_traced_numbers():
    def energy(k):
        return (
            Harmonic(stiffness=k)(X)
            + Harmonic(jnp.eye(2) * k)(X)
            + DoubleWell(barrier=k, stiffness=k)(X)
        )

    slope = (energy(2.0 + 1e-6) - energy(2.0 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(energy))(2.0), slope, rtol=1e-8)
    sweep = jax.vmap(lambda k: Harmonic(k)(X))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(sweep, [0.29, 0.58], rtol=1e-13)


def test_float32_leaves_give_float32():
    point = X.astype(jnp.float32)
    for name, potential in LIBRARY.items():
        low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), potential)
        assert low(point).dtype == jnp.float32, name
        np.testing.assert_allclose(low(point), potential(X), rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_any_dimension(d):
    x = jnp.linspace(0.2, 0.9, d)
    for potential in (
        Harmonic(),
        DoubleWell(),
        Quartic(),
        MexicanHat(),
        Cosine(),
        Rugged(),
    ):
        assert potential(x).shape == ()
    assert DoubleWell(separation=2.0)(jnp.zeros(d).at[0].set(-2.0)) == 0


@pytest.mark.parametrize(
    ("point", "value", "unstable"),
    [
        ((-0.55822, 1.44173), -146.69952, 0),
        ((0.62350, 0.02804), -108.16672, 0),
        ((-0.05001, 0.46669), -80.76782, 0),
        ((-0.82200, 0.62431), -40.66484, 1),
        ((0.21249, 0.29299), -72.24894, 1),
    ],
)
def test_muller_brown_stationary_points(point, value, unstable):
    potential = MullerBrown()
    x = jnp.array(point)
    np.testing.assert_allclose(potential(x), value, atol=1e-4)
    assert jnp.linalg.norm(jax.grad(potential)(x)) < 0.1
    assert jnp.sum(jnp.linalg.eigvalsh(jax.hessian(potential)(x)) < 0) == unstable


@pytest.mark.parametrize(
    "name", [name for name in LIBRARY if name.startswith("mixture")]
)
def test_mixture_density_integrates_to_one(name):
    axis = jnp.linspace(-9, 9, 361)
    points = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    density = jax.vmap(LIBRARY[name].density)(points)
    step = axis[1] - axis[0]
    np.testing.assert_allclose(density.sum() * step**2, 1, atol=1e-10)
    means, weights = LIBRARY[name].means, LIBRARY[name].weights
    np.testing.assert_allclose(
        density @ points * step**2, weights @ means / weights.sum(), atol=1e-10
    )


def test_mixture_against_scipy_and_far_away():
    from scipy.stats import multivariate_normal

    mixture = GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], MATRICES, [1.0, 3.0])
    one, other = (
        multivariate_normal(m, c).pdf(X)
        for m, c in zip(mixture.means, MATRICES, strict=True)
    )
    np.testing.assert_allclose(
        mixture.density(X), 0.25 * one + 0.75 * other, rtol=1e-12
    )
    far = jnp.array([300.0, 0.0])
    assert jnp.isfinite(mixture(far)) and jnp.all(jnp.isfinite(jax.grad(mixture)(far)))
    alone = GaussianMixture([[-1.0], [1.0]], 0.5, [0.0, 2.0])
    np.testing.assert_allclose(
        alone.density(jnp.ones(1)), 1 / np.sqrt(np.pi), rtol=1e-13
    )
    assert jnp.all(jnp.isfinite(jax.grad(lambda p: p(jnp.zeros(1)))(alone).weights))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Harmonic(-1.0), "stiffness"),
        (lambda: Harmonic([1.0, 0.0]), "stiffness"),
        (lambda: Harmonic([[1.0, 2.0], [2.0, 1.0]]), "stiffness"),
        (lambda: Harmonic([[1.0, 0.2], [0.0, 1.0]]), "stiffness"),
        (lambda: Harmonic([[1.0, 0.2]]), "stiffness"),
        (lambda: Harmonic([1.0, 2.0], [0.0, 0.0, 0.0]), "stiffness"),
        (lambda: Harmonic(np.nan), "stiffness"),
        (lambda: Harmonic("hard"), "stiffness"),
        (lambda: Harmonic(True), "stiffness"),
        (lambda: Harmonic(1j), "stiffness"),
        (lambda: Harmonic(None), "stiffness"),
        (lambda: Harmonic([[1.0], [1.0, 2.0]]), "stiffness"),
        (lambda: Harmonic(center=np.inf), "center"),
        (lambda: DoubleWell(barrier=0.0), "barrier"),
        (lambda: DoubleWell(barrier=[1.0, 2.0]), "barrier"),
        (lambda: DoubleWell(separation=-1.0), "separation"),
        (lambda: DoubleWell(tilt=np.nan), "tilt"),
        (lambda: DoubleWell(stiffness=-1.0), "stiffness"),
        (lambda: Quartic(0.0), "coefficient"),
        (lambda: Cosine(wavenumber=0.0), "wavenumber"),
        (lambda: MexicanHat(barrier=-1.0), "barrier"),
        (lambda: MexicanHat(radius=0.0), "radius"),
        (lambda: MullerBrown(0.0), "scale"),
        (lambda: Rugged(stiffness=-2.0), "stiffness"),
        (lambda: GaussianMixture([1.0, 2.0]), "means"),
        (lambda: GaussianMixture(np.zeros((0, 2))), "means"),
        (lambda: GaussianMixture([[1.0], [2.0]], 0.0), "covariances"),
        (lambda: GaussianMixture([[1.0], [2.0]], [1.0, -1.0]), "covariances"),
        (lambda: GaussianMixture([[1.0], [2.0]], [1.0, 1.0, 1.0]), "covariances"),
        (
            lambda: GaussianMixture([[1.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]),
            "covariances",
        ),
        (lambda: GaussianMixture([[1.0], [2.0]], 1.0, [1.0, -1.0]), "weights"),
        (lambda: GaussianMixture([[1.0], [2.0]], 1.0, [0.0, 0.0]), "weights"),
        (lambda: GaussianMixture([[1.0], [2.0]], 1.0, [1.0]), "weights"),
    ],
)
def test_refused_when_made(make, name):
    with pytest.raises(ValueError, match=rf"(?s)^{name} = .+: .+\. .+\.$"):
        make()


@pytest.mark.parametrize(
    ("potential", "d"),
    [
        (MullerBrown(), 3),
        (MullerBrown(), 1),
        (Harmonic([1.0, 2.0]), 3),
        (Harmonic([1.0, 2.0]), 1),
        (Harmonic(center=[0.0, 1.0]), 3),
        (Harmonic(np.eye(2)), 3),
        (GaussianMixture([[1.0, 0.0]]), 1),
        (LIBRARY["sampled"], 3),
    ],
)
def test_wrong_dimension_is_refused_at_the_call(potential, d):
    with pytest.raises(ValueError, match=rf"^x.shape = \({d},\): .+\. Use "):
        jax.jit(lambda x: potential(x))(jnp.zeros(d))
    with pytest.raises(ValueError, match="one point"):
        potential(jnp.zeros((5, 2)))
