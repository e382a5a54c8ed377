"""The contracted basis: its error estimate against the truth, and what happens where it
does not pay or does not hold.

Truth is the full basis of the same grid, which Chebyshev carries to its own tolerance.
"""

import dataclasses
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.operator import Scheme, Spectral
from fpsolve.operator.tensor import TensorOperator
from fpsolve.plan import Plan

CASES = {
    "a double well, coupled": (
        lambda x: 3 * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2,
        fp.Gaussian([-1.0, 0.0], 0.04),
        fp.Grid(fp.Line(-2.2, 2.2, 48), fp.Line(-4.0, 4.0, 34)),
    ),
    "an oscillator, turned": (
        lambda x: x[0] ** 2 + 1.5 * x[1] ** 2 + 1.2 * x[0] * x[1],
        fp.Gaussian([1.0, -0.5], 0.2),
        fp.Grid(fp.Line(-6.0, 6.0, 40), fp.Line(-5.5, 5.5, 40)),
    ),
}


def solve(
    name: str, tol: float, method: Any = None, times: Any = (0.3, 1.5)
) -> fp.Solution:
    potential, start, grid = CASES[name]
    method = fp.Chebyshev() if method is None else method
    return fp.evolve(
        fp.FokkerPlanck(potential),
        start,
        times,
        grid=grid,
        scheme=Spectral(),
        method=method,
        tol=tol,
        throw=False,
    )


def missed(name: str, a: fp.Solution, b: fp.Solution) -> np.ndarray:
    return np.asarray(CASES[name][2].integrate(jnp.abs(a.values - b.values)))


@pytest.mark.parametrize("ranks", [(8, 8), (16, 12), (24, 16)])
@pytest.mark.parametrize("name", CASES)
def test_the_estimate_bounds_the_error(
    name: str, ranks: tuple[int, ...], monkeypatch: Any
) -> None:
    monkeypatch.setattr(Plan, "fallback", lambda plan, outcome: None)
    truth = solve(name, 1e-9, fp.Chebyshev(ranks=()))
    small = solve(name, 1e-9, fp.Chebyshev(ranks=ranks))
    true = missed(name, small, truth)
    said = np.asarray(small.errors["time"])
    assert np.all(true <= said + 1e-9) and np.all(said <= 100 * true + 1e-8), (
        true,
        said,
    )


def test_a_plan_chooses_a_basis_that_meets_the_tolerance(monkeypatch: Any) -> None:
    # A small basis, however short the run.
    choice = sys.modules["fpsolve.plan.smaller_basis"]
    monkeypatch.setattr(
        choice,
        "CONSTANTS",
        dataclasses.replace(choice.CONSTANTS, worthwhile_seconds=0.0),
    )
    name = "a double well, coupled"
    truth = solve(name, 1e-9, fp.Chebyshev(ranks=()))
    for tol in (1e-5, 1e-8):
        chosen = solve(name, tol)
        assert "functions of its axes" in chosen.stats["method"]
        assert chosen.result == "successful"
        assert np.all(missed(name, chosen, truth) <= tol)
        assert np.all(np.asarray(chosen.errors["time"]) <= tol)
        assert chosen.stats["operator_calls"] < truth.stats["operator_calls"]
        assert chosen.stats["mass_drift"] < 1e-13


def test_a_basis_that_misses_is_replaced_by_the_full_one() -> None:
    name = "a double well, coupled"
    small = solve(name, 1e-8, fp.Chebyshev(ranks=(8, 8)))
    assert small.result == "successful"
    assert "all functions were taken" in small.stats["method"]
    assert np.all(
        missed(name, small, solve(name, 1e-8, fp.Chebyshev(ranks=()))) < 1e-12
    )


class Narrow(TensorOperator):
    """An operator whose bounds leave out the upper two thirds of its spectrum."""

    @property
    def bounds(self) -> Any:
        """Bounds that are too narrow."""
        return jnp.zeros(()), jnp.asarray(300.0)


class Understated(Scheme):
    """Spectral, with a spectrum said to be narrower than it is."""

    spectral = True

    def check(self, equation: Any, grid: Any) -> None:
        """Everything."""

    def sample(self, equation: Any, grid: Any, t: Any, reversible: bool) -> Any:
        """As Spectral."""
        return Spectral().sample(equation, grid, t, reversible)

    def assemble(self, samples: Any, grid: Any, dtype: Any) -> Any:
        """The operator, with its bounds understated."""
        made = Spectral().assemble(samples, grid, dtype)
        return Narrow(made.grid, made.terms, made.potential_term, made.log_sqrt_pi)


def test_a_spectrum_wider_than_its_bounds_is_noticed_and_mended() -> None:
    potential, start, grid = CASES["a double well, coupled"]
    equation = fp.FokkerPlanck(potential)
    solution = fp.evolve(
        equation, start, [1.0], grid=grid, scheme=Understated(), method=fp.Chebyshev()
    )
    truth = fp.evolve(
        equation,
        start,
        [1.0],
        grid=grid,
        scheme=Spectral(),
        method=fp.Chebyshev(ranks=()),
    )
    assert "wider than its bounds" in solution.stats["method"]
    assert float(grid.integrate(jnp.abs(solution.values[0] - truth.values[0]))) < 1e-8


def test_coefficients_of_short_and_long_times_share_a_recurrence() -> None:
    name = "an oscillator, turned"
    together = solve(name, 1e-4, fp.Chebyshev(ranks=()), (0.01, 0.1, 5.0, 50.0))
    for index, t in enumerate((0.01, 0.1, 5.0, 50.0)):
        alone = solve(name, 1e-4, fp.Chebyshev(ranks=()), (t,))
        difference = jnp.abs(together.values[index] - alone.values[0])
        assert float(CASES[name][2].integrate(difference)) < 1e-5
