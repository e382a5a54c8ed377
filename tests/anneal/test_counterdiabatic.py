"""Counterdiabatic drive (theorem T20): transport at any speed.

Exact: a start at Gibbs. Agreement: the same equation by another integrator. Control: N8
(1.1 v). The velocity is tested in `test_velocity.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from jaxtyping import Array

import fpsolve as fp
from driven_wells import LINE, PLANE, RING, SHORT, SPLIT, SWUNG, TOTAL, TURNED
from fpsolve.anneal import velocity as module
from fpsolve.anneal.counterdiabatic import evolve_counterdiabatic
from fpsolve.anneal.velocity import velocity
from fpsolve.operator.base import dense
from refusals import GRID, MOVING, OSCILLATOR, PUSHED, refused


def apart(grid: fp.Grid, p: Any, q: Any) -> float:
    """The total variation distance."""
    return float(grid.integrate(jnp.abs(p - q)) / 2)


def plain(equation: fp.FokkerPlanck, grid: fp.Grid, start: Array) -> np.ndarray:
    """Transport without a drive: exponentials of L at the middle of 32 steps."""
    scheme = fp.ScharfetterGummel()
    generator = jax.jit(
        lambda t: dense(
            scheme.build(equation, grid, t, float, True).generator, grid, float
        )
    )
    density = np.asarray(start)
    for k in range(32):
        density = (
            scipy.linalg.expm(
                TOTAL / 32 * np.asarray(generator((k + 0.5) * TOTAL / 32))
            )
            @ density
        )
    return density


def test_a_pair_of_wells_in_no_time() -> None:
    """Truth: TV <= 1e-6 where plain transport has 0.35; control N8: 1.1 v is off by a
    tenth of the displacement.
    """
    start, end = SPLIT.gibbs(LINE), SPLIT.gibbs(LINE, TOTAL)
    carried = evolve_counterdiabatic(SPLIT, LINE, start, [0.0, 0.02, TOTAL])
    assert carried.result == "successful" and float(carried.residual) <= 1e-12
    assert carried.values.shape == (3, 96) and float(carried.error[-1]) <= 1e-12
    assert apart(LINE, carried.values[-1], end) <= 1e-12
    assert apart(LINE, carried.values[1], SPLIT.gibbs(LINE, 0.02)) <= 1e-12
    assert apart(LINE, plain(SPLIT, LINE, start), end) > 0.3
    fast = evolve_counterdiabatic(SPLIT, LINE, start, [TOTAL], 1e-6, strength=1.1)
    assert fast.result == "successful"
    assert 0.03 < apart(LINE, fast.values[-1], end) < 0.1


def instantaneous(equation: fp.FokkerPlanck, grid: fp.Grid) -> Any:
    """t -> H_t + G_t, a matrix, without any step."""
    scheme = fp.ScharfetterGummel()

    @jax.jit
    def both(t: Array) -> Array:
        flow = module._velocity(equation, grid, t).operator
        operator = scheme.build(equation, grid, t, float, True)
        return dense(lambda u: operator.hamiltonian(u) + flow.wave(u), grid, float)

    return lambda t: np.asarray(both(jnp.asarray(float(t))))


def test_the_same_equation_by_another_integrator() -> None:
    """Agreement with an implicit Runge-Kutta method of d_t psi = -(H + G) psi, from
    Gibbs and from elsewhere.
    """
    whole = instantaneous(SWUNG, SHORT)
    start = SHORT.density(fp.Gaussian(-1.3, 0.1))
    gibbs = SWUNG.gibbs(SHORT)
    roots = [np.asarray(jnp.exp(SWUNG.log_sqrt_pi(SHORT, t))) for t in (0.0, TOTAL)]
    waves = np.stack([start, gibbs], 1) / roots[0][:, None]

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return -(whole(t) @ y.reshape(waves.shape)).ravel()

    jacobian = lambda t, _: -np.kron(whole(t), np.eye(2))
    options = {"method": "Radau", "jac": jacobian, "rtol": 1e-7, "atol": 1e-10}
    after = (
        scipy.integrate.solve_ivp(slope, (0, TOTAL), waves.ravel(), **options)
        .y[:, -1]
        .reshape(waves.shape)
    )
    values = after * roots[1][:, None]
    end = SWUNG.gibbs(SHORT, TOTAL)
    assert apart(SHORT, values[:, 1], end) <= 1e-6
    carried = evolve_counterdiabatic(SWUNG, SHORT, start, [0.01, TOTAL], 1e-8)
    assert carried.result == "successful"
    assert apart(SHORT, carried.values[-1], values[:, 0]) <= 1e-6
    assert apart(SHORT, carried.values[-1], end) > 0.01
    assert abs(float(SHORT.integrate(carried.values[-1])) - 1) <= 1e-11
    assert_no_adiabatic_term(SWUNG, SHORT, start, carried.values[-1])


def assert_no_adiabatic_term(
    equation: fp.FokkerPlanck, grid: fp.Grid, start: Array, end: Array
) -> None:
    """Inequality: chi2(T) <= exp(-2 int gap) chi2(0), with the gap of the same finite
    volumes.
    """
    scheme = fp.ScharfetterGummel()
    times = np.linspace(0, TOTAL, 21)

    @jax.jit
    def levels(t: Array) -> Array:
        operator = scheme.build(equation, grid, t, float, True)
        return jnp.linalg.eigvalsh(dense(operator.hamiltonian, grid, float))

    gaps = [float(levels(t)[1]) for t in times]
    chi2 = [
        float(grid.integrate(p**2 / equation.gibbs(grid, t))) - 1
        for p, t in ((start, 0.0), (end, TOTAL))
    ]
    ratio = chi2[1] / (chi2[0] * np.exp(-2 * scipy.integrate.simpson(gaps, x=times)))
    assert 0 < ratio <= 1 + 1e-9


def test_errors_are_those_reported() -> None:
    """Order: the tolerance is met, and the estimate is above the error."""
    start = fp.Gaussian(-1.3, 0.1)
    fine = evolve_counterdiabatic(SWUNG, SHORT, start, [TOTAL], 1e-9).values[-1]
    for tol in (1e-3, 1e-6):
        carried = evolve_counterdiabatic(SWUNG, SHORT, start, [TOTAL], tol)
        assert (
            2 * apart(SHORT, carried.values[-1], fine)
            <= float(carried.error[-1])
            <= tol
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_a_ring_in_either_precision(dtype: str) -> None:
    """Truth: a start at Gibbs stays there to rounding; float32 stays float32."""
    carried = evolve_counterdiabatic(
        TURNED, RING, TURNED.gibbs(RING).astype(dtype), [0.2]
    )
    assert carried.values.dtype == dtype and carried.result == "successful"
    allowed = 1e-12 if dtype == "float64" else 1e-5
    assert apart(RING, carried.values[-1], TURNED.gibbs(RING, 0.2)) <= allowed


def test_two_dimensions() -> None:
    """Truth: TV <= 1e-6 at once on a plane."""
    carried = evolve_counterdiabatic(SPLIT, PLANE, SPLIT.gibbs(PLANE), [TOTAL])
    assert carried.result == "successful" and float(carried.residual) <= 1e-11
    assert apart(PLANE, carried.values[-1], SPLIT.gibbs(PLANE, TOTAL)) <= 1e-12


def test_two_dimensions_finer() -> None:
    """Truth: TV <= 1e-6 on 64 x 64 cells; any other start approaches, within the
    tolerance.
    """
    grid = fp.Grid(fp.Line(-3.2, 3.2, 64), fp.Line(-3.0, 3.0, 64))
    end = SPLIT.gibbs(grid, TOTAL)
    carried = evolve_counterdiabatic(SPLIT, grid, SPLIT.gibbs(grid), [0.02, TOTAL])
    assert carried.result == "successful"
    assert apart(grid, carried.values[-1], end) <= 1e-12
    start = fp.Gaussian([-1.2, 0.0], 0.15)
    rough, near = (
        evolve_counterdiabatic(SPLIT, grid, start, [TOTAL], tol) for tol in (1e-2, 1e-3)
    )
    assert near.result == "successful"
    assert 0.01 < apart(grid, near.values[-1], end) < 0.3
    assert 2 * apart(grid, rough.values[-1], near.values[-1]) <= float(
        rough.error[-1]
    ) + float(near.error[-1])


def test_what_cannot_be_carried_is_refused(nothing_is_computed: None) -> None:
    start = fp.Gaussian(0.0, 1.0)
    refused(lambda: velocity(OSCILLATOR, GRID), "equation", "FokkerPlanck")
    refused(lambda: velocity(PUSHED, GRID), "equation", "force")
    walls = fp.Grid(fp.Absorbing(-1.0, 1.0, 12))
    refused(
        lambda: evolve_counterdiabatic(MOVING, walls, start, [0.1]), "grid", "Absorbing"
    )
    refused(
        lambda: evolve_counterdiabatic(
            MOVING, fp.Grid(fp.Legendre(-1.0, 1.0, 12)), start, [0.1]
        ),
        "grid",
        "Legendre",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, start, [0.2, 0.1]),
        "times",
        "ascending",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, start, [0.1], tol=-1.0),
        "tol",
        "positive",
    )
    refused(
        lambda: evolve_counterdiabatic(
            MOVING, GRID, start, [0.1], strength=float("nan")
        ),
        "strength",
        "finite",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, jnp.ones(7), [0.1]),
        "initial",
        "shape",
    )
