"""Slow modes: exact levels, multiplicities, small gaps, honest bounds, and the forms in
which they are asked for.
"""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.eigen import tensor
from fpsolve.eigen.levels import levels
from measure import check_close

WIDE = fp.Grid(fp.Line(-2.6, 2.6, 128))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 63))
PLANE = fp.Grid(fp.Line(-2.4, 2.4, 40), fp.Line(-2.4, 2.4, 40))
SPACE = fp.Grid(*[fp.Line(-2.6, 2.6, 36)] * 3)


def quartic(x):
    """(x^2 - 1)^2 along the first axis."""
    return (x[0] ** 2 - 1) ** 2


def hat(x):
    """The Mexican hat (r^2 - 1)^2."""
    return (jnp.sum(x**2) - 1) ** 2


def coupled(x):
    """Two wells, coupled to a parabola: no symmetry but x -> -x."""
    return 3 * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2


def radial_levels(
    d: int, momentum: int, count: int, diffusion: float = 0.5
) -> np.ndarray:
    """Levels of the hat with angular momentum l: Ritz values of r^l (polynomials of
    r^2), by Gauss' rule on (0, 2.6).

    E = min D int (|psi' + U' psi / 2D|^2 + l (l + d - 2) psi^2 / r^2) r^(d-1) over int
    psi^2 r^(d-1).
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r, weights = 1.3 * (nodes + 1), 1.3 * weights
    s, measure = 2 * r**2 / 6.76 - 1, weights * r ** (d - 1)
    powers = [np.polynomial.chebyshev.Chebyshev.basis(n) for n in range(40)]
    psi = np.stack([r**momentum * p(s) for p in powers])
    slope = np.stack(
        [
            r**momentum * (p.deriv()(s) * 4 * r / 6.76 + momentum / r * p(s))
            for p in powers
        ]
    )
    lowered = slope + 2 * r * (r**2 - 1) / diffusion * psi
    energy = (lowered * measure) @ lowered.T + momentum * (momentum + d - 2) * (
        psi * measure / r**2
    ) @ psi.T
    root = np.linalg.qr((psi * np.sqrt(measure)).T, mode="r")
    inner = diffusion * np.linalg.solve(root.T, np.linalg.solve(root.T, energy).T)
    return np.linalg.eigvalsh((inner + inner.T) / 2)[:count]


@pytest.mark.parametrize("diffusion", [1.0, 0.5, 0.25])
def test_quartic_wells_in_two_bases(diffusion):
    """Fourier in the wave picture against Legendre polynomials through the factors: two
    discretisations, one truth.
    """
    equation = fp.FokkerPlanck(quartic, diffusion)
    fourier = fp.spectrum(equation, WIDE, 5)
    legendre = fp.spectrum(equation, fp.Grid(fp.Legendre(-2.6, 2.6, 96)), 5)
    check_close(fourier.values[1:], legendre.values[1:], 1e-9, "levels")
    assert float(fourier.values[0]) == 0


def test_a_well_on_a_ring_has_pairs():
    """U = 0 is exact, D k^2 twice; a cosine splits no pair of its supersymmetric
    partner and agrees with more nodes.
    """
    free = fp.spectrum(fp.FokkerPlanck(diffusion=0.7), RING, 7)
    check_close(free.values, 0.7 * np.array([0, 1, 1, 4, 4, 9, 9.0]), 1e-12, "levels")
    assert free.multiplicities.tolist() == [1, 2, 2, 2, 2, 2, 2]
    few, many = (
        fp.spectrum(fp.FokkerPlanck(fp.Cosine(2.0)), grid, 5)
        for grid in (RING, RING.refine(2))
    )
    check_close(few.values, many.values, 1e-10, "levels")


@pytest.mark.parametrize(
    ("well", "lowest"),
    [
        (lambda x: x[0] ** 4, 1.060362090484182899647),
        (lambda x: x[0] ** 2 + x[0] ** 4, 1.392351641530291855658),
    ],
    ids=["x^4", "x^2 + x^4"],
)
def test_anharmonic_oscillators(well, lowest):
    """-d^2/dx^2 + x^4 and with x^2: Banerjee, Bhatnagar, Choudhry and Kanwal, Proc. R.
    Soc. A 360 (1978) 575.
    """
    found = fp.spectrum(fp.Schrodinger(well, 1.0), fp.Grid(fp.Line(-5.0, 5.0, 96)), 3)
    check_close(found.values[0], lowest, 1e-11, "the ground level")
    assert float(found.errors[0]) < 1e-10


@pytest.mark.parametrize("zeta", [0.5, 0.05, 7.5e-4])
def test_razavy_wells_have_the_gap_4_zeta(zeta):
    """V = (zeta cosh 2x - 2)^2 has E_0,1 = zeta^2 -+ 2 zeta + 3, psi_0 = cosh(x)
    exp(-zeta cosh(2x) / 2); Razavy, Am. J. Phys. 48 (1980) 285. As a process, U = -2
    log psi_0.
    """
    reach = np.arccosh(40 / zeta) / 2
    grid = fp.Grid(fp.Line(-reach, reach, 128))
    process = fp.FokkerPlanck(
        lambda x: zeta * jnp.cosh(2 * x[0]) - 2 * jnp.log(jnp.cosh(x[0]))
    )
    check_close(fp.spectral_gap(process, grid), 4 * zeta, 1e-9, "the gap")
    wave = fp.spectrum(
        fp.Schrodinger(lambda x: (zeta * jnp.cosh(2 * x[0]) - 2) ** 2, 1.0), grid, 2
    )
    check_close(wave.values, zeta**2 + 3 + np.array([-2, 2]) * zeta, 1e-10, "levels")


def test_the_hat_in_the_plane_comes_in_pairs():
    modes = fp.spectrum(fp.FokkerPlanck(hat, 0.5), PLANE, 6)
    assert modes.multiplicities.tolist() == [1, 2, 2, 2, 2, 2]
    truth = np.concatenate([np.repeat(radial_levels(2, m, 1), 2) for m in (1, 2, 3)])[
        :5
    ]
    check_close(modes.values[1:], truth, 1e-7, "levels")


def test_the_hat_in_space_has_three_and_five():
    modes = fp.spectrum(fp.FokkerPlanck(hat, 0.5), SPACE, 9)
    assert modes.multiplicities.tolist() == [1, 3, 3, 3, 5, 5, 5, 5, 5]
    truth = np.concatenate(
        [np.repeat(radial_levels(3, m, 1), 2 * m + 1) for m in (1, 2)]
    )
    check_close(modes.values[1:], truth, 1e-7, "levels")


def test_a_trap_in_space_has_one_level_and_then_three():
    """Truth: E = 3/2 and 5/2, three times, for V = |x|^2 / 2; each level within its own
    error and the rounding of H.
    """
    axis = fp.Line(-5.5, 5.5, 18)
    found = fp.spectrum(
        fp.Schrodinger(lambda x: x @ x / 2), fp.Grid(axis, axis, axis), 4
    )
    check_close(found.values, np.array([1.5, 2.5, 2.5, 2.5]), 1e-7, "levels")
    assert found.multiplicities.tolist() == [1, 3, 3, 3]


def test_a_cut_pair_is_counted_beyond_k():
    modes = fp.spectrum(fp.FokkerPlanck(hat, 0.5), PLANE, 2)
    assert modes.values.shape == (2,) and modes.multiplicities.tolist() == [1, 2]


def test_products_of_axes_agree_with_the_whole_matrix_and_miss_nothing():
    """Levels odd in x or y are unknown to a start that is even: the random part and the
    searchers find them.
    """
    equation = fp.FokkerPlanck(coupled)
    grid = fp.Grid(fp.Line(-2.2, 2.2, 40), fp.Line(-3.6, 3.6, 30))
    found = fp.spectrum(equation, grid, 12, scheme=fp.Spectral())
    assert "products" in found.stats["method"]
    operator = fp.Spectral().build(equation, grid, 0.0, jnp.float64, True)
    factored = fp.Spectral().build(equation, grid, 0.0, jnp.float64, False)
    whole = levels(operator, factored, tensor_free(operator, 14))
    check_close(found.values, whole.values[:12], 1e-8, "levels")


def tensor_free(operator, k):
    """The lowest modes by numpy."""
    grid = operator.grid
    matrix = np.asarray(
        jax.vmap(operator.hamiltonian)(jnp.eye(grid.size).reshape(-1, *grid.shape))
    )
    vectors = np.linalg.eigh(matrix.reshape(grid.size, -1))[1]
    return jnp.asarray(vectors[:, :k].T.reshape(k, *grid.shape)) / jnp.sqrt(
        grid.weights
    )


def test_a_level_hidden_from_the_start_is_found_by_the_searchers(monkeypatch):
    """Without a random part the start of x^2 + 9 y^2 knows even functions of x only if
    it is told so.
    """
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2 + 2 * x[1] ** 2)
    grid = fp.Grid(fp.Line(-9.0, 9.0, 36), fp.Line(-4.5, 4.5, 36))
    operator = fp.Spectral().build(equation, grid, 0.0, jnp.float64, True)
    monkeypatch.setattr(
        jax.lax,
        "top_k",
        lambda e, k: (jnp.sort(e)[::-1][:k], jnp.argsort(-e)[2 : k + 2]),
    )
    lost = lambda: tensor.tensor_modes(operator, 3, 5, jnp.asarray(1e-6))[0].values
    check_close(lost()[:3], np.arange(3.0), 1e-9, "levels")
    constants = dataclasses.replace(tensor.CONSTANTS, probe_vectors=0, random_start=0.0)
    monkeypatch.setattr(tensor, "CONSTANTS", constants)
    assert abs(float(lost()[0])) > 0.5


@pytest.mark.parametrize(("diffusion", "slack"), [(0.07, 1e-8), (0.035, 1e-7)])
def test_singular_values_keep_the_digits_of_a_small_gap(diffusion, slack):
    """The gap through A in the whole matrix against the positive kernel of the partner,
    which takes no difference.
    """
    equation = fp.FokkerPlanck(quartic, diffusion)
    grid = fp.Grid(fp.Line(-2.0, 2.0, 128))
    operator = fp.Spectral().build(equation, grid, 0.0, jnp.float64, True)
    factored = fp.Spectral().build(equation, grid, 0.0, jnp.float64, False)
    found = levels(operator, factored, tensor_free(operator, 5))
    check_close(found.values[1], fp.spectral_gap(equation, grid), slack, "the gap")
    plain = levels(operator, None, tensor_free(operator, 5))
    assert abs(float(plain.values[1] / found.values[1]) - 1) > 1e-6 or diffusion > 0.05


def test_a_gap_of_1e_12_in_the_plane():
    """A product of wells has the gap of its narrow axis: 7e-13 at D = 0.035, where H
    itself has a rounding of 1e-12.
    """
    equation = fp.FokkerPlanck(lambda x: quartic(x) + x[1] ** 2 + 0 * x[0], 0.035)
    grid = fp.Grid(fp.Line(-2.0, 2.0, 128), fp.Line(-1.2, 1.2, 40))
    truth = fp.spectral_gap(
        fp.FokkerPlanck(quartic, 0.035), fp.Grid(fp.Line(-2.0, 2.0, 128))
    )
    check_close(fp.spectrum(equation, grid, 3).gap, truth, 1e-3, "the gap")


def test_bounds_hold_and_the_space_error_is_told():
    """On few nodes the grid errs by more than the solver: `space_errors` sees it,
    `errors` bounds the rest.
    """
    coarse = fp.spectrum(
        fp.FokkerPlanck(quartic, 0.5), fp.Grid(fp.Line(-2.4, 2.4, 24)), 4, refine=True
    )
    fine = fp.spectrum(fp.FokkerPlanck(quartic, 0.5), WIDE, 4)
    true = np.abs(np.asarray(coarse.values - fine.values))
    told = np.asarray(coarse.space_errors)
    assert np.all(told[1:] < 2 * true[1:]) and np.all(true[1:] < 2 * told[1:])
    assert fine.space_errors is None


def test_the_words_of_chemistry():
    equation = fp.FokkerPlanck(fp.Harmonic())
    modes = fp.spectrum(equation, fp.Grid(fp.Line(-10.0, 10.0, 96)), 3)
    grid, x = modes.grid, modes.grid.nodes[0]
    check_close(modes.timescales, [1.0, 0.5], 1e-10, "timescales")
    check_close(modes.stationary, equation.gibbs(grid), 1e-12, "the stationary density")
    # the slowest observable of an oscillator is x itself
    near = np.abs(np.asarray(x)) < 3
    check_close(
        np.abs(np.asarray(modes.observables[1]))[near],
        np.abs(np.asarray(x))[near],
        1e-8,
        "the observable",
    )
    assert np.all(np.isfinite(np.asarray(modes.observables)))
    with pytest.raises(ValueError, match="timescales"):
        _ = fp.spectrum(fp.Schrodinger(fp.Harmonic()), grid, 3).timescales


def test_the_gap_is_differentiated_compiled_and_mapped():
    """d gap / d k = 1 for U = k x^2 / 2; and the derivative of a tiny gap is that of
    its logarithm.
    """
    gap = lambda k: fp.spectral_gap(
        fp.FokkerPlanck(lambda x: k * x[0] ** 2 / 2), fp.Grid(fp.Line(-10.0, 10.0, 96))
    )
    check_close(jax.grad(gap)(1.3), 1.0, 1e-9, "the derivative")
    check_close(
        jax.jit(jax.vmap(gap))(jnp.array([1.0, 1.5])), [1.0, 1.5], 1e-10, "gaps"
    )
    tiny = lambda d: fp.spectral_gap(
        fp.FokkerPlanck(quartic, d), fp.Grid(fp.Line(-2.0, 2.0, 96))
    )
    slope = (jnp.log(tiny(0.0301)) - jnp.log(tiny(0.0299))) / 2e-4
    check_close(
        jax.grad(lambda d: jnp.log(tiny(d)))(0.03), slope, 1e-4, "the derivative"
    )


def test_a_gap_warns_of_an_error_that_it_cannot_carry() -> None:
    equation = fp.FokkerPlanck(fp.DoubleWell(3.0))
    with pytest.warns(fp.AccuracyWarning, match="relative error"):
        rough = fp.spectral_gap(equation, fp.Grid(fp.Line(-2.0, 2.0, 24)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = fp.spectral_gap(equation, fp.Grid(fp.Line(-2.6, 2.6, 64)))
    assert 1e-6 < abs(float(rough / fine) - 1) < 0.5
