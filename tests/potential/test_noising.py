"""The path of diffusion models: densities against convolutions, flows against the
equations they solve, gaps (T24).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.path import Driven, Noising
from fpsolve.potential import GaussianMixture

BETA_MIN, BETA_MAX, SIGMA_MAX = 0.2, 9.0, 3.0
LAMS = jnp.array([0.0, 0.02, 0.4, 1.0])
LINE = GaussianMixture([[-2.0], [0.5], [2.0]], [0.25, 0.1, 0.4], [1.0, 0.5, 2.0])
MATRICES = [[[0.5, 0.2], [0.2, 0.3]], [[0.3, -0.1], [-0.1, 0.9]]]
PLANE = {
    "one variance": GaussianMixture([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], 0.3),
    "variances": GaussianMixture(
        [[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], [0.3, 0.5, 0.2], [1.0, 0.0, 3.0]
    ),
    "per axis": GaussianMixture(
        [[-1.0, 0.0], [1.0, 0.5]], [[0.3, 0.6], [0.2, 0.4]], [1.0, 2.0]
    ),
    "matrices": GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], MATRICES, [1.0, 2.0]),
}
POINTS = jnp.array([[0.1, -0.3], [2.0, 1.0], [-4.0, 3.0]])


def noising(mixture, kind):
    if kind == "vp":
        return Noising(mixture, kind, beta_min=BETA_MIN, beta_max=BETA_MAX)
    return Noising(mixture, kind, sigma_max=SIGMA_MAX)


def alpha_sigma(kind, lam):
    """α and σ, written anew in numpy."""
    if kind == "ve":
        return 1.0, SIGMA_MAX * lam
    alpha = np.exp(-0.5 * (BETA_MIN * lam + 0.5 * (BETA_MAX - BETA_MIN) * lam**2))
    return alpha, np.sqrt(1 - alpha**2)


def gaussian(x, variance):
    return np.exp(-0.5 * x**2 / variance) / np.sqrt(2 * np.pi * variance)


@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_density_is_the_convolution(kind):
    """p_λ(x) = ∫ p_0(y) N(x; α y, σ²) dy, by the trapezoidal rule, which converges
    beyond all orders here.
    """
    path = noising(LINE, kind)
    y = np.linspace(-9.0, 9.0, 4001)
    data = (
        gaussian(y[:, None] - [-2.0, 0.5, 2.0], np.array([0.25, 0.1, 0.4]))
        @ np.array([1.0, 0.5, 2.0])
        / 3.5
    )
    x = np.linspace(-3.0, 4.0, 7)
    density = jax.jit(lambda lam: jax.vmap(path(lam).density)(x[:, None]))
    for lam in (0.1, 0.4, 1.0):
        alpha, sigma = alpha_sigma(kind, lam)
        exact = gaussian(x[:, None] - alpha * y, sigma**2) @ data * (y[1] - y[0])
        np.testing.assert_allclose(density(lam), exact, rtol=1e-12)
        assert np.max(np.abs(density(1.02 * lam) / exact - 1)) > 1e-3


def test_density_is_the_convolution_in_the_plane():
    path = noising(PLANE["matrices"], "vp")
    axis = np.linspace(-5.0, 5.5, 161)
    y = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    data = np.zeros(y.shape[:2])
    for weight, mean, matrix in zip(
        (1.0, 2.0), ([-1.0, 0.0], [1.0, 0.5]), MATRICES, strict=True
    ):
        delta = y - mean
        square = np.einsum("...i,ij,...j", delta, np.linalg.inv(matrix), delta)
        data += (
            weight
            / 3
            * np.exp(-0.5 * square)
            / (2 * np.pi * np.sqrt(np.linalg.det(matrix)))
        )
    alpha, sigma = alpha_sigma("vp", 0.3)
    density = jax.jit(lambda lam: path(lam).density(jnp.array([1.0, -0.4])))(0.3)
    kernel = gaussian(1.0 - alpha * y[..., 0], sigma**2) * gaussian(
        -0.4 - alpha * y[..., 1], sigma**2
    )
    exact = np.sum(kernel * data) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(density, exact, rtol=1e-11)


def divergence(field, x):
    return jnp.trace(jax.jacfwd(field)(x))


def residuals(path, x, lam, factor=1.0):
    """d_λ log p against the two equations it solves, both divided by p: the flow's and
    the forward process's.
    """
    rate = jax.jvp(lambda lam: -path(lam)(x), (lam,), (jnp.ones_like(lam),))[1]
    score = path.score(x, lam)
    flow = factor * (
        divergence(lambda x: path.velocity(x, lam), x) + path.velocity(x, lam) @ score
    )
    drift = divergence(lambda x: path.drift(x, lam), x) + path.drift(x, lam) @ score
    spread = (
        0.5
        * path.squared_diffusion(lam)
        * (divergence(lambda x: path.score(x, lam), x) + score @ score)
    )
    return jnp.stack([rate + flow, rate + drift - spread, rate])


@pytest.mark.parametrize(
    ("kind", "data"),
    [*(("vp", name) for name in PLANE), ("ve", "one variance"), ("ve", "matrices")],
)
def test_flow_and_process_carry_the_density(kind, data):
    """d_λ p = -div(p v) and d_λ p = -div(f p) + (g²/2) Δp, at the ends of the path and
    in the tails too.
    """
    over = jax.jit(
        jax.vmap(jax.vmap(residuals, (None, 0, None, None)), (None, None, 0, None))
    )
    flow, process, rate = np.moveaxis(
        over(noising(PLANE[data], kind), POINTS, LAMS, 1.0), -1, 0
    )
    scale = 1 + np.abs(rate)
    assert np.max(np.abs(flow) / scale) < 1e-12
    assert np.max(np.abs(process) / scale) < 1e-11
    wrong = over(noising(PLANE[data], kind), POINTS, LAMS, 1.1)
    assert np.max(np.abs(wrong[..., 0]) / scale) > 0.05


@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_gaussian_data_in_closed_form(kind):
    """N(m, c) stays Gaussian, mean α m and variance α² c + σ²;
    v = mean' + (x - mean) variance' / (2 variance).
    """
    mean, variance, lam, x = 1.5, 0.3, 0.35, 0.7
    path = noising(GaussianMixture([[mean]], variance), kind)
    alpha, sigma = alpha_sigma(kind, lam)
    slope, growth = 0.0, 2 * SIGMA_MAX**2 * lam
    if kind == "vp":
        beta = BETA_MIN + (BETA_MAX - BETA_MIN) * lam
        slope, growth = -0.5 * beta * alpha, beta * alpha**2 * (1 - variance)
    m, c = alpha * mean, alpha**2 * variance + sigma**2
    point = jnp.array([x])
    asked = jax.jit(
        lambda lam: (
            path(lam).density(point),
            path.score(point, lam),
            path.velocity(point, lam),
        )
    )
    density, score, velocity = asked(lam)
    np.testing.assert_allclose(density, gaussian(x - m, c), rtol=1e-13)
    np.testing.assert_allclose(score, [-(x - m) / c], rtol=1e-12)
    np.testing.assert_allclose(
        velocity, [slope * mean + (x - m) * growth / (2 * c)], rtol=1e-12
    )


def test_schedules():
    lambdas = jnp.linspace(0.0, 1.0, 11)
    for kind in ("vp", "ve"):
        path = noising(LINE, kind)
        alpha, sigma = np.transpose(
            [alpha_sigma(kind, lam) for lam in np.asarray(lambdas)]
        )
        np.testing.assert_allclose(path.alpha(lambdas), alpha, rtol=1e-14)
        np.testing.assert_allclose(path.sigma(lambdas), sigma, rtol=1e-13)
        np.testing.assert_allclose(
            path.log_snr(lambdas[1:]),
            np.log(alpha[1:] ** 2 / sigma[1:] ** 2),
            rtol=1e-10,
            atol=1e-12,
        )
        assert path.alpha(0) == 1 and path.sigma(0) == 0 and path.log_snr(0) == np.inf
        assert path.squared_diffusion(lambdas).shape == (11,)
    vp = noising(LINE, "vp")
    np.testing.assert_allclose(
        vp.alpha(lambdas) ** 2 + vp.sigma(lambdas) ** 2, 1.0, rtol=1e-15
    )
    np.testing.assert_allclose(
        vp.squared_diffusion(lambdas),
        BETA_MIN + (BETA_MAX - BETA_MIN) * lambdas,
        rtol=1e-13,
    )
    np.testing.assert_allclose(Noising(LINE).alpha(1), np.exp(-0.25 * 20.1), rtol=1e-14)
    np.testing.assert_allclose(Noising(LINE, "ve").sigma(1), 10.0)


def test_the_path_starts_at_the_data():
    for mixture in PLANE.values():
        start = Noising(mixture)(0.0)
        for name in ("means", "covariances", "weights"):
            np.testing.assert_array_equal(getattr(start, name), getattr(mixture, name))


@eqx.filter_jit
def probe(path, x, lam):
    """A number that depends on all that a path offers."""
    return (
        path(lam)(x)
        + jnp.sum(path.velocity(x, lam) ** 2)
        + jnp.sum(path.score(x, lam))
        + path.alpha(lam)
    )


@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_gradients_are_finite_differences(kind):
    path = noising(PLANE["matrices"], kind)
    x = POINTS[1]
    lam = jnp.asarray(0.3)
    step = 1e-5
    slope = eqx.filter_jit(eqx.filter_grad(lambda inputs: probe(*inputs)))
    arrays = jax.tree.leaves((path, x, lam))
    tree = jax.tree.structure((path, x, lam))
    for i, (leaf, found) in enumerate(
        zip(arrays, jax.tree.leaves(slope((path, x, lam))), strict=True)
    ):
        where = np.unravel_index(np.argmax(np.abs(found)), found.shape)
        shift = jnp.zeros_like(leaf).at[where].set(step)
        up, down = (
            [*arrays[:i], leaf + sign * shift, *arrays[i + 1 :]] for sign in (1, -1)
        )
        change = (
            probe(*jax.tree.unflatten(tree, up))
            - probe(*jax.tree.unflatten(tree, down))
        ) / (2 * step)
        np.testing.assert_allclose(found[where], change, rtol=2e-7)
    for end in (0.0, 1.0):
        assert all(
            np.all(np.isfinite(found))
            for found in jax.tree.leaves(slope((path, x, jnp.asarray(end))))
        )


GRID = fp.Grid(fp.Line(-7.0, 7.0, 160))


def identity(t):
    return t


def gaps(means, variance, lambdas):
    """The gap at each λ of two components, one program for all, and the path."""
    path = Noising(GaussianMixture(means, variance))
    equation = fp.FokkerPlanck(Driven(path, identity), 1.0)
    return path, np.array(
        [
            float(fp.spectrum(equation, GRID, 2, t=lam, scheme=fp.Spectral()).gap)
            for lam in lambdas
        ]
    )


def test_gap_along_the_path():
    """1 / Gap_λ ≤ α² / Gap_0 + σ², since Poincaré constants of independent sums add at
    most (T24).
    """
    at = (np.sqrt(0.1**2 - 4 * 19.9 * np.log(0.8)) - 0.1) / 19.9
    path, (first, middle, last) = gaps([[-2.0], [2.0]], 0.25, [0.0, at, 1.0])
    np.testing.assert_allclose(path.alpha(at), 0.8, rtol=1e-13)
    # C21 of the theory
    np.testing.assert_allclose([first, middle], [0.00248, 0.155], rtol=5e-3)
    for lam, gap in ((at, middle), (1.0, last)):
        alpha = float(path.alpha(lam))
        assert 0 < (1 / gap) / (alpha**2 / first + 1 - alpha**2) < 1
    np.testing.assert_allclose(last, 1.0, rtol=1e-3)


def test_gap_of_gaussian_data_is_an_equality():
    """T24 is tight: 1 / Gap_λ = α² c + σ² where the data are N(m, c); noise tied to the
    data would break it.
    """
    path, (first, middle) = gaps([[0.4], [0.4]], 0.5, [0.0, 0.25])
    alpha = float(path.alpha(0.25))
    np.testing.assert_allclose(first, 2.0, rtol=1e-9)
    np.testing.assert_allclose(1 / middle, alpha**2 / first + 1 - alpha**2, rtol=1e-9)
    tied = (alpha * np.sqrt(0.5) + np.sqrt(1 - alpha**2)) ** 2
    assert abs(tied * middle - 1) > 0.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Noising(fp.Harmonic()), "^mixture = .*GaussianMixture.*Give"),
        (lambda: Noising(np.zeros((5, 1))), "(?s)^mixture = .*GaussianMixture"),
        (lambda: Noising(lambda x: 0.0), "^mixture = "),
        (lambda: Noising(LINE, "cosine"), "^kind = 'cosine': it must be one of vp, ve"),
        (lambda: Noising(LINE, 1), "^kind = 1"),
        (
            lambda: Noising(LINE, "vp", sigma_max=3.0),
            r"^sigma_max = 3\.0: kind 'vp' has no such number",
        ),
        (
            lambda: Noising(LINE, "ve", beta_min=3.0),
            r"^beta_min = 3\.0: kind 've' has no such number",
        ),
        (
            lambda: Noising(LINE, beta_min=0.0),
            r"^beta_min = .*0.*: every entry must be positive",
        ),
        (lambda: Noising(LINE, "ve", sigma_max=-1.0), "^sigma_max = .*-1.*: every"),
        (lambda: Noising(LINE, beta_max=[1.0, 2.0]), r"^beta_max = \[1\.0, 2\.0\]"),
        (lambda: Noising(LINE)([0.1, 0.2]), r"^lam = \[0\.1, 0\.2\]"),
        (lambda: Noising(LINE)(np.nan), "^lam = nan"),
        (lambda: Noising(LINE).score(jnp.zeros(2), 0.5), "^x.shape"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
