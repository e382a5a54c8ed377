"""Every check can fail: a planted fault for each helper in `measure`, and it must be
caught.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import exact
import fpsolve as fp
from fpsolve.operator import Scheme
from measure import (
    check_close,
    check_conserves,
    check_mass,
    check_order,
    check_positive,
    check_symmetric,
    generator_matrix,
    observed_order,
    operator,
    relative_error,
    solve,
    symmetric_form,
)
from refusals import refused

SYSTEM = exact.still()["oscillator"]
SIZES = (40, 60, 90, 135)
PLAIN = fp.ScharfetterGummel()


class Faulty(Scheme):
    """Scharfetter-Gummel with the upward rates of the first axis off by a factor."""

    factor: float = eqx.field(static=True)

    def check(self, equation: Any, grid: fp.Grid) -> None:
        """Every equation on every grid."""

    def sample(self, equation: Any, grid: fp.Grid, t: Any, reversible: bool) -> Any:
        """Without a Gibbs density."""
        return PLAIN.sample(equation, grid, t, False)

    def assemble(self, samples: Any, grid: fp.Grid, dtype: Any) -> Any:
        """The operator, with wrong rates."""
        made = PLAIN.assemble(samples, grid, dtype)
        return eqx.tree_at(lambda op: op.up[0], made, made.up[0] * self.factor)


def evolved(scheme=PLAIN, n=40):
    return solve(SYSTEM, n, 0.3, scheme=scheme)


def test_a_rate_off_by_one_per_cent_loses_the_order():
    method = fp.Uniformization()
    errors = [
        relative_error(
            SYSTEM, solve(SYSTEM, n, 0.3, scheme=Faulty(1.01), method=method)
        )
        for n in SIZES
    ]
    with pytest.raises(AssertionError, match="order"):
        check_order(errors, SIZES)


def test_a_rate_off_by_one_per_cent_moves_the_gibbs_state():
    equation = SYSTEM.equation
    grid = fp.Grid(fp.Reflecting(-2.0, 2.0, 24))
    gibbs = equation.gibbs(grid)
    for factor, time_dependent in ((1.0, False), (1.01, True)):
        scheme = Faulty(factor)
        method = fp.Uniformization()
        solution = fp.evolve(
            equation, gibbs, [5.0], grid=grid, scheme=scheme, method=method
        )
        assert (
            float(grid.integrate(jnp.abs(solution.values[-1] - gibbs))) > 1e-10
        ) is time_dependent


def test_first_order_data_are_not_taken_for_second_order():
    for order in (1.0, 1.8, 2.2, 3.0):
        errors = [n**-order for n in SIZES]
        assert observed_order(errors, SIZES) == pytest.approx(order)
        with pytest.raises(AssertionError, match="order"):
            check_order(errors, SIZES)
    with pytest.raises(AssertionError, match="does not fall"):
        check_order(
            [c / n**2 for c, n in zip((1.3, 0.6, 1.6, 0.9), SIZES, strict=True)], SIZES
        )


def test_an_order_from_three_sizes_is_refused():
    with pytest.raises(ValueError, match="at least four"):
        observed_order([1.0, 0.25, 0.0625], SIZES[:3])


def test_a_refusal_that_is_missing_or_says_too_little_is_seen():
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        refused(lambda: fp.Line(0.0, 1.0, 8))
    with pytest.raises(AssertionError, match="n = 1: "):
        refused(lambda: fp.Line(0.0, 1.0, 1), "a cure")


def test_a_density_with_the_wrong_factor_is_seen():
    solution = evolved()
    twice = eqx.tree_at(lambda s: s.values, solution, 1.001 * solution.values)
    check_mass(solution)
    with pytest.raises(AssertionError, match="mass drifts"):
        check_mass(twice)
    assert relative_error(SYSTEM, twice) != relative_error(SYSTEM, solution)


def test_an_exact_density_of_another_time_or_parameter_is_seen():
    solution = solve(SYSTEM, 64, 0.3, scheme=fp.Spectral())
    assert relative_error(SYSTEM, solution) < 1e-8
    for name in ("stiffness", "center", "diffusion", "mean", "covariance"):
        wrong = eqx.tree_at(
            lambda s, name=name: getattr(s, name), SYSTEM, 1.01 * getattr(SYSTEM, name)
        )
        assert relative_error(wrong, solution) > 1e-5, name


def test_a_negative_value_is_seen():
    solution = evolved()
    check_positive(solution)
    with pytest.raises(AssertionError, match="a density of"):
        check_positive(
            eqx.tree_at(lambda s: s.values, solution, solution.values - 1e-9)
        )


def test_a_matrix_that_is_not_symmetric_or_leaks_is_seen():
    grid = SYSTEM.grid(24)
    made = operator(PLAIN, SYSTEM.equation, grid)
    h, rates = np.array(symmetric_form(made)), np.array(generator_matrix(made))
    check_symmetric(h)
    check_conserves(rates, grid.weights)
    h[3, 4] *= 1 + 1e-9
    rates[3, 4] *= 1 + 1e-9
    with pytest.raises(AssertionError, match="asymmetric"):
        check_symmetric(h)
    with pytest.raises(AssertionError, match="leaks"):
        check_conserves(rates, grid.weights)


def test_a_gradient_off_by_a_millionth_is_seen():
    check_close(np.asarray([2.0]), np.asarray([2.0]), 1e-6, "a gradient")
    with pytest.raises(AssertionError, match="a gradient is off"):
        check_close(np.asarray([2.0 + 5e-6]), np.asarray([2.0]), 1e-6, "a gradient")


@pytest.mark.parametrize("name", [*exact.still(), *exact.moving()])
def test_every_exact_density_has_mass_one_and_solves_its_equation(name):
    """The truth itself: d_t p = -div J by differentiation of the formula, at points
    away from the walls.
    """
    system = {**exact.still(), **exact.moving()}[name]
    d = len(system.grid(3).axes)
    grid = system.grid({1: 1600, 2: 160, 3: 40}[d])
    if "absorbed" not in name:
        assert float(grid.integrate(system.density(grid, 0.2))) == pytest.approx(
            1.0, abs=2e-4
        )
    assert residual(system, grid) < {1: 2e-2, 2: 5e-2, 3: 0.4}[d]
    wrong = eqx.tree_at(
        lambda s: s.first if "x" in name.split() else s, system, slower(system, name)
    )
    assert residual(wrong, grid, system) > 4 * residual(system, grid) or d == 3


def slower(system, name):
    """The system whose diffusion is half as large again."""
    part = system.first if "x" in name.split() else system
    field = "noise" if hasattr(part, "noise") else "diffusion"
    return eqx.tree_at(lambda s: getattr(s, field), part, 1.5 * getattr(part, field))


def residual(formula, grid, system=None):
    """|d_t p - L p|_1 / |d_t p|_1 of a formula, L by central differences of second
    order on the inner points.
    """
    equation = (formula if system is None else system).equation
    t = 0.2
    h = 1e-4
    rate = (formula.density(grid, t + h) - formula.density(grid, t - h)) / (2 * h)
    p = formula.density(grid, t)
    drift = grid.sample(lambda x: equation.drift(x, t))
    diffusion = grid.sample(equation.diffusions)
    divergence = 0.0
    for i, axis in enumerate(grid.axes):
        slope = lambda u, i=i, axis=axis: jnp.gradient(u, axis.length / axis.n, axis=i)
        divergence = divergence + slope(
            drift[..., i] * p - diffusion[..., i] * slope(p)
        )
    inner = (slice(3, -3),) * grid.ndim
    off, size = (rate + divergence)[inner], rate[inner]
    return float(jnp.sum(jnp.abs(off)) / jnp.sum(jnp.abs(size)))
