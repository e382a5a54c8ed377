"""Temperature ramps, shapes moved and stretched, and paths made of paths: closed forms,
gradients, refusals.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.path import Driven, Mix, Moved, Noising, Stretched, Tempering
from fpsolve.path.mix import concatenate, reparametrise, reverse
from fpsolve.potential import (
    Cosine,
    DoubleWell,
    GaussianMixture,
    Harmonic,
    Quartic,
)

X = jnp.array([0.3, -0.7])
LAMS = (0.0, 0.3, 0.5, 1.0)


def test_tempering_of_a_gaussian():
    """exp(-β U / D) of U = k x²/2 is Gaussian of variance D / (k β), and β is geometric
    between its ends.
    """
    path = Tempering(Harmonic(2.0), start=0.1, end=4.0)
    for lam in LAMS:
        beta = 0.1 ** (1 - lam) * 4.0**lam
        np.testing.assert_allclose(path(lam)(X), beta * jnp.sum(X**2), rtol=1e-13)
        np.testing.assert_allclose(path.inverse_temperature(lam), beta, rtol=1e-13)
    assert path.inverse_temperature(0.0) == 0.1
    grid = fp.Grid(fp.Line(-6.0, 6.0, 128))
    density = fp.FokkerPlanck(path(0.5), 0.7).gibbs(grid)
    variance = grid.integrate(density * grid.points[:, 0] ** 2)
    np.testing.assert_allclose(variance, 0.7 / (2.0 * np.sqrt(0.4)), rtol=1e-10)
    np.testing.assert_allclose(Tempering(Harmonic(), 0.5)(1.0)(X), Harmonic()(X))


def test_moved_gaussian():
    for displacement in ([1.0, -2.0], lambda lam: lam * jnp.array([1.0, -2.0])):
        path = Moved(Harmonic(3.0), displacement)
        for lam in LAMS:
            np.testing.assert_allclose(
                path(lam)(X), Harmonic(3.0, [lam, -2 * lam])(X), rtol=1e-13
            )
            np.testing.assert_allclose(path.velocity(X, lam), [1.0, -2.0], rtol=1e-13)
    bent = Moved(Harmonic(), jnp.sin)
    np.testing.assert_allclose(
        bent(0.4)(X), Harmonic(center=np.sin(0.4))(X), rtol=1e-13
    )
    np.testing.assert_allclose(bent.velocity(X, 0.4), [np.cos(0.4)] * 2, rtol=1e-13)


def test_stretched_gaussian():
    for factor in ([2.0, 0.5], lambda lam: jnp.array([2.0, 0.5]) ** lam):
        path = Stretched(Harmonic(3.0), factor)
        for lam in LAMS:
            exact = Harmonic([3.0 / 4.0**lam, 3.0 * 4.0**lam])
            np.testing.assert_allclose(path(lam)(X), exact(X), rtol=1e-13)
            np.testing.assert_allclose(
                path.velocity(X, lam), X * np.log([2.0, 0.5]), rtol=1e-13
            )
    wide = Stretched(DoubleWell(2.0), 3.0)
    np.testing.assert_allclose(
        wide(0.5)(X[:1]), DoubleWell(2.0, separation=np.sqrt(3))(X[:1]), rtol=1e-13
    )


SHAPES = {
    "moved": (Moved(DoubleWell(2.0, tilt=0.3), [1.0, -0.5]), lambda lam: 1.0),
    "moved, bent": (Moved(DoubleWell(2.0, tilt=0.3), jnp.tanh), lambda lam: 1.0),
    "stretched": (Stretched(DoubleWell(2.0, tilt=0.3), [2.0, 0.5]), lambda lam: 1.0),
    "stretched, unevenly": (
        Stretched(DoubleWell(2.0), lambda lam: 1 + lam**2),
        lambda lam: (1 + lam**2) ** 2,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_velocities_carry_the_density(name):
    """d_λ log π = -div v - v · ∇log π, log π = -U - log l^d; not so for 1.1 v (T20)."""
    path, volume = SHAPES[name]

    @jax.jit
    def residual(lam, factor):
        def log_density(x, lam):
            return -path(lam)(x) - jnp.log(volume(lam))

        gradient, rate = jax.grad(log_density, argnums=(0, 1))(X, lam)
        flow = (
            jnp.trace(jax.jacfwd(path.velocity)(X, lam))
            + path.velocity(X, lam) @ gradient
        )
        return rate + factor * flow

    assert abs(residual(0.4, 1.0)) < 1e-12 and abs(residual(0.4, 1.1)) > 0.01


def test_reversal():
    path = Mix(Harmonic(), Quartic())
    assert reverse(reverse(path)) is path
    for lam in LAMS:
        np.testing.assert_allclose(reverse(path)(lam)(X), path(1 - lam)(X), rtol=1e-15)
    there_and_back = concatenate(path, reverse(path))
    lambdas = jnp.linspace(0.0, 1.0, 9)
    values = jax.vmap(lambda lam: there_and_back(lam)(X))(lambdas)
    np.testing.assert_allclose(values, values[::-1], rtol=1e-14)
    np.testing.assert_allclose(values[4], Quartic()(X), rtol=1e-14)


def test_reparametrisation():
    path = Mix(Harmonic(), Quartic())
    for f in (
        lambda lam: lam**2 * (3 - 2 * lam),
        jnp.sqrt,
        lambda lam: jnp.maximum(0.0, 2 * lam - 1),
    ):
        for lam in LAMS:
            np.testing.assert_allclose(
                reparametrise(path, f)(lam)(X), path(f(lam))(X), rtol=1e-13
            )
    plain = reparametrise(path, lambda lam: lam)
    np.testing.assert_allclose(plain(0.3)(X), path(0.3)(X), rtol=1e-15)
    found = jax.jit(jax.grad(lambda lam: reparametrise(path, lambda s: s**3)(lam)(X)))(
        0.6
    )
    np.testing.assert_allclose(
        found, 3 * 0.36 * (Quartic()(X) - Harmonic()(X)), rtol=1e-12
    )
    powered = eqx.filter_grad(
        lambda power: reparametrise(path, lambda s: s**power)(0.6)(X)
    )(jnp.asarray(2.0))
    exact = 0.36 * np.log(0.6) * (Quartic()(X) - Harmonic()(X))
    np.testing.assert_allclose(powered, exact, rtol=1e-12)


U = Harmonic(2.0)
V = DoubleWell(3.0) + 5.0
W = Quartic() - 2.0


def test_parameters_have_gradients():
    """Those of every path here against central differences, leaf by leaf."""
    places = (0.4, 0.6, 0.75, 0.1)
    paths = (
        Moved(DoubleWell(2.0), [1.0, 0.5]),
        Stretched(DoubleWell(2.0), 2.0),
        concatenate(
            Tempering(DoubleWell(2.0), 0.2, 3.0), Tempering(DoubleWell(2.0), 3.0, 0.5)
        ),
        concatenate(Mix(U, V), reverse(Mix(W, V)), at=0.3),
    )
    leaves, tree = jax.tree.flatten(paths)

    def value(*leaves):
        return sum(
            path(lam)(X)
            for path, lam in zip(jax.tree.unflatten(tree, leaves), places, strict=True)
        )

    found = jax.jit(jax.grad(value, argnums=tuple(range(len(leaves)))))(*leaves)
    value = jax.jit(value)
    for i, leaf in enumerate(leaves):
        up, down = (
            value(*leaves[:i], leaf + step, *leaves[i + 1 :]) for step in (1e-5, -1e-5)
        )
        np.testing.assert_allclose(
            np.sum(found[i]), (up - down) / 2e-5, rtol=1e-7, atol=1e-7
        )
    assert sum(np.any(np.asarray(one) != 0) for one in found) >= 16


def test_paths_made_of_traced_numbers():
    """Parameters may be traced when a path is made: nothing can be compared, and
    everything is computed.
    """

    @jax.jit
    def value(start, joint, lam):
        path = concatenate(Tempering(U, start, 1.0), Stretched(U, 1 + start), at=joint)
        return reverse(reparametrise(path, lambda s: start * s + (1 - start) * s**2))(
            lam
        )(X)

    found = value(0.5, 0.3, 0.2)
    at = 0.5 * 0.8 + 0.5 * 0.64
    np.testing.assert_allclose(found, U(X) / 1.5 ** (2 * (at - 0.3) / 0.7), rtol=1e-12)
    assert np.all(np.isfinite(jax.grad(value, argnums=(0, 1, 2))(0.5, 0.3, 0.2)))


def test_a_path_drives_a_process():
    """The gap of U stretched by l is that of U at diffusion D, divided by l²; moved, it
    stays what it is.
    """
    grid = fp.Grid(fp.Line(-8.0, 8.0, 96))
    path = concatenate(
        Moved(Harmonic(2.0), 1.0),
        Moved(Stretched(Harmonic(2.0), 1.0)(0.0), lambda lam: 1 - lam),
    )
    path = concatenate(path, Stretched(Harmonic(2.0), np.sqrt(2.0)))
    equation = fp.FokkerPlanck(Driven(path, lambda t: t), 1.0)
    gaps = [
        fp.spectrum(equation, grid, 2, t=lam, scheme=fp.Spectral()).gap
        for lam in (0.1, 0.25, 1.0)
    ]
    np.testing.assert_allclose(gaps, [2.0, 2.0, 1.0], rtol=1e-8)


def test_single_precision():
    jax.config.update("jax_enable_x64", False)
    x = jnp.array([0.3, -0.7])
    well = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.5)
    path = concatenate(
        Stretched(well, 2.0), reverse(Stretched(well, 2.0)), Noising(well)
    )
    for lam, exact in ((0.0, well(x)), (2 / 3, well(x)), (1.0, Noising(well)(1.0)(x))):
        value = jax.jit(lambda lam: path(lam)(x))(lam)
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, exact, rtol=1e-5)
    assert Noising(well).velocity(x, 0.0).dtype == jnp.float32


PATH = Mix(Harmonic(), Quartic())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Tempering(U, 0.0), "^start = .*0.*: every entry must be positive"),
        (
            lambda: Tempering(U, 1.0, -2.0),
            "^end = .*-2.*: every entry must be positive",
        ),
        (lambda: Tempering(U, [0.1, 0.2]), r"^start = \[0\.1, 0\.2\]"),
        (lambda: Tempering("well", 0.1), "^potential = 'well'"),
        (lambda: Tempering(U, 0.1)("half"), "^lam = 'half'"),
        (lambda: Moved(U, [[1.0]]), r"^displacement = \[\[1\.0\]\]"),
        (lambda: Moved(U, lambda lam: jnp.inf), "^displacement = .*inf"),
        (
            lambda: Moved(U, [1.0, 2.0])(0.5)(jnp.zeros(1)),
            "^x.shape = .*as the displacement has it",
        ),
        (
            lambda: Moved(U, [1.0, 2.0]).velocity(jnp.zeros(1), 0.5),
            "^x.shape = .*as the displacement has it",
        ),
        (lambda: Stretched(U, 0.0), "^factor = "),
        (lambda: Stretched(U, lambda lam: 1 - 2 * lam)(0.8), "^factor = "),
        (
            lambda: Stretched(U, [1.0, 2.0])(0.5)(jnp.zeros(3)),
            "^x.shape = .*as the factor has it",
        ),
        (lambda: reverse(U(X)), "^path = .*callable, lambda -> potential"),
        (lambda: reparametrise(3.0, jnp.sqrt), "^path = 3.0"),
        (lambda: reparametrise(PATH, 1.0), "^f = .*it must be callable"),
        (
            lambda: reparametrise(PATH, lambda s: 2 * s),
            r"^f = .*f\(1\) = 2, and they must be 0 and 1",
        ),
        (lambda: reparametrise(PATH, jnp.cos), r"^f = .*f\(0\) = 1"),
        (
            lambda: reparametrise(PATH, lambda s: s + jnp.sin(2 * np.pi * s)),
            r"^f = .*it falls after lambda = 0\.27",
        ),
        (lambda: reparametrise(PATH, lambda s: s / 0.0), "^f = .*finite"),
        (
            lambda: reparametrise(PATH, lambda s: jnp.stack([s, s])),
            "^f = .*a finite number",
        ),
        (lambda: concatenate(PATH), "^paths = .*at least two"),
        (lambda: concatenate(PATH, 2.0), "^path = 2.0"),
        (
            lambda: concatenate(PATH, reverse(PATH), at=[0.3, 0.6]),
            "^at = .*2 paths have 1 joints",
        ),
        (
            lambda: concatenate(PATH, reverse(PATH), at=1.0),
            "^at = 1.0: the joints must ascend",
        ),
        (
            lambda: concatenate(PATH, reverse(PATH), PATH, at=[0.6, 0.3]),
            "^at = .*must ascend",
        ),
        (
            lambda: concatenate(PATH, PATH),
            r"^paths\[1\]\(0\) - paths\[0\]\(1\) = .*one constant",
        ),
        (
            lambda: concatenate(PATH, reverse(PATH), reverse(PATH)),
            r"^paths\[2\]\(0\) - paths\[1\]\(1\) = ",
        ),
        (
            lambda: concatenate(Mix(U, Cosine()), Mix(1.0001 * Cosine(), U)),
            r"^paths\[1\].*one constant",
        ),
        (
            lambda: concatenate(
                PATH,
                Noising(GaussianMixture([[0.0]])),
                Noising(GaussianMixture([[0.0, 1.0]])),
            ),
            r"^paths\[1\].*one constant",
        ),
        (
            lambda: concatenate(
                Noising(GaussianMixture([[0.0]])),
                Noising(GaussianMixture([[0.0, 1.0]])),
            ),
            r"^paths\[1\].*the same number of coordinates",
        ),
        (
            lambda: concatenate(PATH, Mix(Quartic() - (lambda x: jnp.log(x[0])), U)),
            r"^paths\[1\].*finite at the same",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match="(?s)" + words):
        make()
