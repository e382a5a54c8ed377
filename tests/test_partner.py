"""Gaps through the partner kernel: against whole matrices, against quadrature in long
double, in every transform.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.eigen.supersymmetric_gap import line_gap, partner_mode
from fpsolve.eigen.tunnel_splitting import tunnel_splitting
from fpsolve.linear.recurrence import recurrence_by_scan, recurrence_by_tree
from fpsolve.operator import EdgeOperator

LINE = fp.Line(-2.0, 2.0, 64)
KRAMERS = np.sqrt(32) / np.pi


@jax.jit
def double_well(diffusion):
    """The gap of U = (x^2 - 1)^2; compiled once for the file."""
    return line_gap(
        fp.FokkerPlanck(fp.DoubleWell(1.0), diffusion), LINE, 0.0, jnp.float64
    )


@jax.jit
def two_chains(diffusion):
    """The same from two longer chains."""
    return line_gap(
        fp.FokkerPlanck(fp.DoubleWell(1.0), diffusion),
        LINE,
        0.0,
        jnp.float64,
        cells=(2048, 4096),
    )


@jax.jit
def chain_mode(log_gibbs):
    """The mode of a chain with square-root rates and these logarithms of pi, 48 nodes
    on [0, 1].
    """
    half = jnp.diff(log_gibbs) / 2
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 48))
    n = 48.0
    return partner_mode(
        EdgeOperator(
            grid, (n * jnp.exp(half),), (n * jnp.exp(-half),), None, log_gibbs / 2
        )
    )


def matrix(log_gibbs):
    """H of the same chain, a whole matrix."""
    up = 48.0**2 * np.exp(np.diff(log_gibbs) / 2)
    down = 48.0**2 * np.exp(-np.diff(log_gibbs) / 2)
    diagonal = np.append(up, 0) + np.append(0, down)
    return np.diag(diagonal) - 48.0**2 * (
        np.diag(np.ones(47), 1) + np.diag(np.ones(47), -1)
    )


def quadrature_gap(diffusion, panels=320, degree=16):
    """Truth: 1 / gap as the top of D pi f' = -int g pi, by Gauss-Legendre panels and
    power steps in long double.
    """
    nodes, weights = np.polynomial.legendre.leggauss(degree)
    powers = np.vander(nodes, increasing=True)
    integral = [
        [(x ** (k + 1) - (-1.0) ** (k + 1)) / (k + 1) for k in range(degree)]
        for x in nodes
    ]
    within = np.linalg.solve(powers.T, np.array(integral).T).T.astype(np.longdouble)
    half = np.longdouble(2) / panels
    x = (-2 + half * (2 * np.arange(panels) + 1))[:, None] + half * nodes.astype(
        np.longdouble
    )
    energy = (x**2 - 1) ** 2 / np.longdouble(diffusion)
    weights = weights.astype(np.longdouble) * half

    def below(f):
        """The integral of f from the left end to each node."""
        return half * f @ within.T + np.append(0, np.cumsum(f @ weights)[:-1])[:, None]

    def above(f):
        return below(f[::-1, ::-1])[::-1, ::-1]

    pi = np.exp(-energy)
    mass, rest = below(pi), above(pi)
    slope = np.ones_like(x) * np.exp(energy - energy.max())
    for _ in range(60):
        image = (rest * below(mass * slope) + mass * above(rest * slope)) / (
            (pi @ weights).sum() * diffusion * pi
        )
        top, slope = np.max(image) / np.max(slope), image / np.max(image)
    return 1 / top


@pytest.mark.parametrize("barrier", [0.0, 4.0, 9.0])
def test_a_chain_has_the_gap_and_the_mode_of_its_whole_matrix(barrier):
    """Agreement, with what eigh can hold."""
    x = np.linspace(-1.3, 1.4, 48)
    log_gibbs = -barrier * (x**2 - 1) ** 2 + 0.3 * np.sin(7 * x)
    answer = chain_mode(jnp.asarray(log_gibbs))
    values, vectors = np.linalg.eigh(matrix(log_gibbs))
    assert abs(float(answer.gap) - values[1]) < 1e-13 * values[-1]
    mode = np.asarray(answer.mode) / np.sqrt(48)
    assert np.sum(mode**2) == pytest.approx(1, abs=1e-14)
    assert mode[0] < 0 < mode[-1]
    assert abs(abs(mode @ vectors[:, 1]) - 1) < 1e-12
    assert float(answer.error) < 1e-9


def test_a_chain_of_three_nodes_has_the_gap_of_a_quadratic_equation():
    """Truth: rates up (a, b), down (c, d), whose levels solve a quadratic equation."""
    a, b, c, d = 1e-9, 2.0, 3.0, 5e-8
    grid = fp.Grid(fp.Reflecting(0.0, 3.0, 3))
    answer = jax.jit(partner_mode)(
        EdgeOperator(grid, (jnp.array([a, b]),), (jnp.array([c, d]),), None, None)
    )
    total, product = a + b + c + d, a * b + a * d + c * d
    assert float(answer.gap) == pytest.approx(
        2 * product / (total + np.sqrt(total**2 - 4 * product)), rel=1e-14
    )


@pytest.mark.parametrize("diffusion", [0.5, 0.035, 0.0145])
def test_the_gap_of_a_double_well_is_that_of_quadrature(diffusion):
    """Truth, to ten digits, at 0.2, 7e-13 and 2e-30."""
    answer = double_well(diffusion)
    assert float(answer.gap) == pytest.approx(
        float(quadrature_gap(diffusion)), rel=1e-11
    )
    assert float(answer.error) < 1e-11


def test_eyring_kramers_has_its_first_correction():
    """Theory E5: gap = Kramers' (1 - 3 D / 8 + O(D^2)); the second correction is what
    the linear law leaves.
    """
    diffusions = np.array([0.04, 0.02, 0.01])
    missing = [
        (1 - np.exp(float(double_well(d).log) + 1 / d) / KRAMERS) / d
        for d in diffusions
    ]
    slope, limit = np.polyfit(diffusions, missing, 1)
    assert limit == pytest.approx(3 / 8, abs=5e-4)
    assert 0.1 < slope < 1


def test_a_gap_that_underflows_has_a_logarithm():
    """Truth: e^-2000, and densities down to e^-5000 and less."""
    answer = two_chains(0.0005)
    assert float(answer.gap) == 0
    assert float(answer.log) == pytest.approx(
        -2000 + np.log(KRAMERS * (1 - 3 / 8 * 0.0005)), abs=1e-5
    )


def test_two_rates_that_nearly_agree_do_not_mix():
    """Three wells, the middle one deep: the two slow rates are 1e-5 apart, and the
    lower is right to ten digits.
    """
    x = np.linspace(-1, 1, 48)
    log_gibbs = 4 * np.cos(2 * np.pi * x) + 12 * np.exp(-20 * x**2)
    values = np.linalg.eigvalsh(matrix(log_gibbs))
    answer = chain_mode(jnp.asarray(log_gibbs))
    assert values[2] / values[1] - 1 < 1e-4
    assert float(answer.gap) == pytest.approx(values[1], rel=1e-10)


def test_jit_vmap_and_grad_agree_with_differences():
    """Hellmann and Feynman: d log gap / d log D at a gap of 1e-30, which is the barrier
    over D nearly.
    """
    log_gap = lambda log_diffusion: double_well(jnp.exp(log_diffusion)).log
    at, h = np.log(0.0145), 1e-3
    f = jax.vmap(log_gap)(at + h * jnp.arange(-2.0, 3.0))
    difference = (8 * (f[3] - f[1]) - (f[4] - f[0])) / (12 * h)
    assert float(f[2]) == pytest.approx(float(log_gap(at)), rel=1e-14)
    assert float(jax.grad(log_gap)(at)) == pytest.approx(float(difference), rel=1e-8)


def test_a_force_on_a_line_is_a_potential():
    """Agreement: with a force the chain has no log sqrt(pi), and reads it from its
    rates.
    """
    pushed = fp.FokkerPlanck(None, 0.1, force=lambda x: -4 * x * (x**2 - 1))
    plain = eqx.filter_jit(line_gap)(pushed, LINE, 0.0, jnp.float64, (256, 512))
    assert float(plain.gap) == pytest.approx(float(double_well(0.1).gap), rel=1e-5)


def test_single_precision_keeps_its_digits():
    """float32 carries log pi to a few roundings of its size."""
    answer = eqx.filter_jit(line_gap)(
        fp.FokkerPlanck(fp.DoubleWell(1.0), 0.1), LINE, 0.0, jnp.float32, (256, 512)
    )
    assert answer.gap.dtype == jnp.float32
    assert float(answer.gap) == pytest.approx(float(double_well(0.1).gap), rel=1e-4)


def test_the_recurrence_is_the_same_in_turn_and_as_a_tree():
    """Accelerators take the tree."""
    factors = jnp.exp(jnp.asarray(np.random.default_rng(0).normal(0, 3, (2, 50))))
    loads = jnp.asarray(np.random.default_rng(1).random((2, 50)))
    assert np.allclose(
        recurrence_by_scan(factors, loads),
        recurrence_by_tree(factors, loads),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize(
    "axes", [(fp.Periodic(0.0, 1.0, 8),), (fp.Absorbing(0.0, 1.0, 8),), (LINE, LINE)]
)
def test_what_is_no_line_with_closed_ends_is_refused(axes):
    """Bad input, by name."""
    operator = fp.ScharfetterGummel().build(
        fp.FokkerPlanck(), fp.Grid(*axes), 0.0, jnp.float64, True
    )
    with pytest.raises(ValueError, match="no-flux boundaries"):
        partner_mode(operator)
    if len(axes) == 1:
        with pytest.raises(ValueError, match=r"axis = .*no-flux boundaries"):
            line_gap(fp.FokkerPlanck(), axes[0], 0.0, jnp.float64)


def test_the_whole_matrix_would_not_do():
    """Planted: the levels of H itself, at a gap of 2e-30, are noise."""
    operator = fp.ScharfetterGummel().build(
        fp.FokkerPlanck(fp.DoubleWell(1.0), 0.0145),
        fp.Grid(fp.Line(-2.0, 2.0, 128)),
        0.0,
        jnp.float64,
        True,
    )
    h = jax.jit(jax.vmap(operator.hamiltonian))(jnp.eye(128))
    assert abs(np.linalg.eigvalsh(np.asarray(h))[1]) > 1e-20


@pytest.mark.parametrize(("zeta", "reach"), [(0.05, 3.6), (7.5e-4, 5.8)])
def test_a_tunnel_splitting_is_that_of_razavy(zeta, reach):
    """Truth: E_1 - E_0 = 4 zeta for V = (zeta cosh 2x - 2)^2 and D = 1."""
    equation = fp.Schrodinger(lambda x: (zeta * jnp.cosh(2 * x[0]) - 2) ** 2, 1.0)
    found = tunnel_splitting(equation, fp.Line(-reach, reach, 64), 0.0)
    assert found is not None
    assert float(found.gap) == pytest.approx(4 * zeta, rel=1e-9)
    assert abs(float(found.gap) / (4 * zeta) - 1) <= 3 * float(found.error) + 1e-13


def test_a_splitting_below_rounding_has_its_digits():
    """x^4 - 15 x^2: 1.949e-10 beside levels of -56; x^4 - 30 x^2: 8.516e-32, which no
    difference of levels holds.
    """
    modes = fp.spectrum(
        fp.Schrodinger(lambda x: x[0] ** 4 - 15 * x[0] ** 2, 1.0),
        fp.Grid(fp.Line(-6.0, 6.0, 128)),
        2,
    )
    assert float(modes.gap) == pytest.approx(1.949492e-10, rel=1e-6)
    assert 0 < float(modes.gap_error) < 1e-6 * float(modes.gap)
    tilted = fp.Schrodinger(lambda x: x[0] ** 4 - 15 * x[0] ** 2 + 1e-9 * x[0], 1.0)
    modes = fp.spectrum(tilted, fp.Grid(fp.Line(-6.0, 6.0, 128)), 2)
    # No symmetry gives the balance of these wells: the difference of two levels is told
    # with its error.
    assert modes.splitting is None and float(modes.gap_error) > 1e-6 * float(modes.gap)
