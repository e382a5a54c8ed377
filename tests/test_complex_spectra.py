"""Rates of processes that are not reversible: truth, order, agreement of the two
routes, derivatives, and their faults.

ring, force f           lambda = D k^2 +- i f k  (theorem N1)
drift -M x, D = 1       lambda = sums of eigenvalues of M;
                        r_0 = N(0, S),  M S + S M^T = 2
three states in a ring  rates 1, 1, 4: lambda = 0, 3, 3 in one Jordan block
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.eigen import relaxation, subspace
from fpsolve.eigen.relaxation import relaxation_modes, slowest, unresolved
from fpsolve.operator import EdgeOperator
from measure import check_close, check_order


class Linear(eqx.Module):
    """The drift -M x."""

    matrix: jax.Array

    def __call__(self, x):
        return -self.matrix @ x


class Tilted(eqx.Module):
    """The drift f - sin x on a ring, or with a swirl c (-y, x) on a plane."""

    f: jax.Array

    def __call__(self, x):
        return self.f - jnp.sin(x)


def swirl(c, tilt=0.0):
    """A double well that turns."""
    force = lambda x: c * jnp.stack([-x[1], x[0]]) + tilt
    return fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, force=force)


def modes_of(scheme, grid, k, tol=1e-10, dtype=jnp.float64):
    """A compiled function of the equation."""
    solve = lambda eq: relaxation_modes(
        scheme.build(eq, grid, 0.0, dtype, False), k, jnp.asarray(tol, dtype), dtype
    )
    return eqx.filter_jit(solve)


def square(half, n):
    return fp.Grid(fp.Line(-half, half, n), fp.Line(-half, half, n))


def order_faults(values):
    """What breaks the promised order of rates, as a list of words."""
    values, unit, found = np.asarray(values), 1e-7 * np.max(np.abs(values)), []
    if np.any(np.diff(values.real) < -unit):
        found.append("not ascending")
    for i, value in enumerate(values[:-1]):
        if value.imag > unit and abs(values[i + 1] - np.conj(value)) > unit:
            found.append(f"{value} has no partner")
        if value.imag < -unit and (
            i == 0 or abs(values[i - 1] - np.conj(value)) > unit
        ):
            found.append(f"{value} does not follow its partner")
    return found


def check_biorthogonal(modes, grid, tol):
    pair = lambda f, r: grid.integrate(f * r)
    products = jax.vmap(lambda f: jax.vmap(lambda r: pair(f, r))(modes.vectors))(
        modes.observables
    )
    check_close(products, np.eye(len(products)), tol, "<f_m, r_n>")


def test_a_constant_force_on_a_ring():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 21))
    f = 1.3
    modes = modes_of(fp.Spectral(), grid, 6)(
        fp.FokkerPlanck(force=lambda x: f + 0 * x, diffusion=0.4)
    )
    exact = [
        0,
        0.4 + f * 1j,
        0.4 - f * 1j,
        1.6 + 2 * f * 1j,
        1.6 - 2 * f * 1j,
        3.6 + 3 * f * 1j,
    ]
    check_close(modes.values, exact, 1e-12, "the rates")
    check_close(
        modes.vectors[0], np.full(21, 1 / (2 * np.pi)), 1e-12, "the stationary density"
    )
    assert order_faults(modes.values) == []
    assert bool(modes.converged)
    assert np.max(modes.errors) < 1e-12


def test_the_order_of_finite_volumes_on_a_tilted_ring():
    equation = fp.FokkerPlanck(force=Tilted(jnp.asarray(0.8)), diffusion=0.5)
    sizes = (24, 36, 54, 81)
    solve = lambda scheme, n: modes_of(
        scheme, fp.Grid(fp.Periodic(0.0, 2 * np.pi, n)), 3
    )(equation)
    truth = solve(fp.Spectral(), 41)
    check_close(
        truth.values, solve(fp.Spectral(), 55).values, 1e-11, "the spectral rates"
    )
    errors = [
        np.max(np.abs(solve(fp.ScharfetterGummel(), n).values - truth.values))
        for n in sizes
    ]
    check_order(errors, sizes)


@pytest.mark.parametrize(
    ("matrix", "diffusion"),
    [
        pytest.param([[1.0, 2.0], [-2.0, 1.0]], (1.0, 1.0)),
        pytest.param([[1.1, 0.8], [-0.5, 0.9]], (1.0, 0.9)),
        pytest.param([[1.0, 0.2], [0.2, 1.1]], (1.0, 0.9)),
    ],
)
def test_linear_drifts_by_iteration(matrix, diffusion):
    grid = square(7.8, 39)
    matrix = np.asarray(matrix)
    a, b = np.linalg.eigvals(matrix)
    sums = jnp.asarray([i * a + j * b for i in range(4) for j in range(4)], complex)
    lyapunov = np.kron(matrix, np.eye(2)) + np.kron(np.eye(2), matrix)
    covariance = np.linalg.solve(lyapunov, 2 * np.diag(diffusion).ravel()).reshape(2, 2)
    equation = fp.FokkerPlanck(
        force=Linear(jnp.asarray(matrix)), diffusion=jnp.asarray(diffusion)
    )
    modes = modes_of(fp.Spectral(), grid, 3, 1e-9)(equation)
    check_close(modes.values, sums[slowest(sums)][:3], 1e-9, "the rates")
    check_close(
        modes.vectors[0],
        grid.density(fp.Gaussian(np.zeros(2), covariance)),
        1e-9,
        "the stationary density",
    )
    check_close(
        modes.observables[0], np.ones(grid.shape), 1e-6, "the conserved observable"
    )
    check_biorthogonal(modes, grid, 1e-8)
    assert bool(modes.converged)
    assert order_faults(modes.values) == []
    assert float(unresolved(grid, modes.vectors)) < 1e-8
    assert np.max(np.abs(modes.vectors[0].imag)) == 0


@pytest.mark.parametrize("axes", [(fp.Line(-2.2, 2.2, 26), fp.Periodic(-3.0, 3.0, 20))])
def test_iteration_agrees_with_the_whole_matrix(axes, monkeypatch):
    grid = fp.Grid(*axes)
    equation = swirl(1.5, 0.3)
    whole = modes_of(fp.ScharfetterGummel(), grid, 6)(equation)
    monkeypatch.setattr(
        relaxation,
        "CONSTANTS",
        dataclasses.replace(relaxation.CONSTANTS, dense_size=100),
    )
    iterated = modes_of(fp.ScharfetterGummel(), grid, 6)(equation)
    check_close(iterated.values, whole.values, 1e-10, "the rates")
    assert np.all(
        np.abs(iterated.values - whole.values) <= whole.errors + iterated.errors
    )
    check_close(iterated.vectors, whole.vectors, 1e-8, "the densities")
    check_close(iterated.observables, whole.observables, 1e-6, "the observables")
    check_biorthogonal(iterated, grid, 1e-9)
    assert np.min(whole.vectors[0].real) > -1e-15
    assert bool(whole.converged)
    assert bool(iterated.converged)


def test_an_iteration_cut_short_is_reported(monkeypatch):
    monkeypatch.setattr(
        relaxation,
        "CONSTANTS",
        dataclasses.replace(relaxation.CONSTANTS, dense_size=100),
    )
    monkeypatch.setattr(
        subspace,
        "CONSTANTS",
        dataclasses.replace(subspace.CONSTANTS, subspace_rounds=1),
    )
    modes = modes_of(fp.ScharfetterGummel(), square(2.2, 20), 6)(swirl(1.5))
    assert not bool(modes.converged)
    assert all(np.all(np.isfinite(leaf)) for leaf in modes)


def test_a_force_that_is_a_gradient_has_the_real_spectrum():
    grid = fp.Grid(fp.Line(-2.6, 2.6, 96))
    well = lambda x: 2 * jnp.sum((x**2 - 1) ** 2)
    modes = modes_of(fp.Spectral(), grid, 5)(
        fp.FokkerPlanck(force=lambda x: -jax.grad(well)(x))
    )
    assert np.max(np.abs(modes.values.imag)) < 1e-11
    check_close(
        modes.values.real,
        fp.spectrum(fp.FokkerPlanck(well), grid, 5).values,
        1e-9,
        "the rates",
    )
    check_close(
        modes.vectors[0].real,
        fp.FokkerPlanck(well).gibbs(grid),
        1e-9,
        "the stationary density",
    )


def test_a_jordan_block_is_reported_by_its_error():
    grid = fp.Grid(fp.Periodic(0.0, 3.0, 3))
    operator = lambda last: EdgeOperator(
        grid, (jnp.stack([1.0, 1.0, last]),), (jnp.zeros(3),), None, None
    )
    solve = jax.jit(
        lambda last: relaxation_modes(
            operator(last), 3, jnp.asarray(1e-10), jnp.float64
        )
    )
    modes = solve(jnp.asarray(4.0))
    check_close(modes.values, [0, 3, 3], 1e-7, "the rates")
    check_close(
        modes.vectors[0], np.array([4, 4, 1]) / 9, 1e-14, "the stationary density"
    )
    assert np.all(np.isfinite(modes.errors))
    assert np.all(np.abs(modes.values - np.array([0, 3, 3])) <= modes.errors)
    assert modes.errors[0] < 1e-13 < 1e-9 < np.min(modes.errors[1:])
    assert np.all(
        np.isfinite(
            jax.grad(lambda last: solve(last).values.real.sum())(jnp.asarray(4.0))
        )
    )
    apart = solve(jnp.asarray(5.0))
    check_close(
        apart.values,
        [0, (7 - np.sqrt(5)) / 2, (7 + np.sqrt(5)) / 2],
        1e-14,
        "the rates apart",
    )
    assert np.max(apart.errors) < 1e-12


def test_derivatives_and_batches():
    grid = fp.Grid(fp.Line(-2.0, 2.0, 12), fp.Line(-2.5, 2.5, 11))
    scheme = fp.ScharfetterGummel()
    tol = jnp.asarray(1e-10)

    def pair(c):
        operator = scheme.build(swirl(c, c / 5), grid, 0.0, jnp.float64, False)
        level = relaxation_modes(operator, 5, tol, jnp.float64).values[3]
        return jnp.stack([level.real, level.imag])

    c, h = jnp.asarray(2.0), 1e-3
    values = jax.jit(jax.vmap(pair))(c + h * jnp.arange(-2.0, 3.0))
    differences = (8 * (values[3] - values[1]) - (values[4] - values[0])) / (12 * h)
    value, gradient, forward = jax.jit(
        lambda c: (pair(c), jax.jacrev(pair)(c), jax.jacfwd(pair)(c))
    )(c)
    assert float(value[1]) > 0.1
    check_close(values[2], value, 1e-10, "the batch")
    check_close(gradient, differences, 1e-8, "the gradient")
    check_close(forward, differences, 1e-8, "the forward derivative")


@pytest.mark.parametrize("size", [1024, 100])
def test_single_precision(size, monkeypatch):
    monkeypatch.setattr(
        relaxation,
        "CONSTANTS",
        dataclasses.replace(relaxation.CONSTANTS, dense_size=size),
    )
    grid = square(5.0, 16)
    rotation = fp.FokkerPlanck(force=Linear(jnp.asarray([[1.0, 2.0], [-2.0, 1.0]])))
    modes = modes_of(fp.ScharfetterGummel(), grid, 4, 1e-4, jnp.float32)(rotation)
    truth = modes_of(fp.ScharfetterGummel(), grid, 4)(rotation)
    assert modes.values.dtype == modes.vectors.dtype == jnp.complex64
    assert bool(modes.converged)
    assert np.all(np.abs(modes.values - truth.values) <= modes.errors)
    assert np.max(modes.errors) < 1e-2


def test_the_grid_that_resolves_is_told_from_the_one_that_does_not():
    rotation = fp.FokkerPlanck(force=Linear(jnp.asarray([[1.0, 2.0], [-2.0, 1.0]])))
    exact = np.array([0, 1 + 2j, 1 - 2j])
    found = []
    for half, n in ((4.0, 16), (6.0, 22)):
        modes = modes_of(fp.Spectral(), square(half, n), 3)(rotation)
        error = np.max(np.abs(modes.values - exact))
        estimate = float(unresolved(square(half, n), modes.vectors))
        assert error / 1e3 < estimate < 100 * error, (error, estimate)
        found.append(estimate)
    assert found[1] < 1e-5 < 5e-5 < found[0], found


def test_rates_in_the_wrong_order_are_caught():
    values = np.array([0, 1 + 2j, 1 - 2j, 2, 2 + 4j, 2 - 4j])
    assert order_faults(values) == [] == order_faults(values[:5])
    assert order_faults(np.conj(values)), "- before +"
    assert order_faults(np.delete(values, 2)), "a partner is missing"
    assert order_faults(values[::-1]), "descending"
    check_close(
        slowest(jnp.asarray(values[[4, 2, 5, 0, 1, 3]])),
        [3, 4, 1, 5, 0, 2],
        0,
        "the order",
    )
