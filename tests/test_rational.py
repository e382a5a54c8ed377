"""The rational exponential: its poles, the chain's solves, and the densities at any
time, against exact arithmetic, against the dense exponential and against the Poisson
sum.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.linear import caratheodory_fejer, shifted_tridiagonal
from fpsolve.linear.caratheodory_fejer import ORDERS, exponential_partial
from fpsolve.propagate import Picture, rational
from fpsolve.propagate.rational import Rational, choose_order
from rational_runs import (
    BARRIER,
    SYSTEMS,
    TIMES,
    VOLUMES,
    WAVES,
    build,
    distance,
    run,
    spot,
)
from refusals import refused

HALPHEN = 9.28903  # one over Halphen's constant


def rounding_of_dense(system, times):
    """What the eigenvalues of the dense matrix lose: an error of eps |H| in each."""
    operator = build(system[0], fp.Grid(system[1]))
    return 1e-12 + 4 * np.finfo(float).eps * np.asarray(times) * float(
        operator.bounds[1]
    )


def sup_error(made):
    x = -np.concatenate([[0.0], np.logspace(-6, 8, 30011)])
    return np.max(np.abs(made(x) - np.exp(x)))


def check_decay(partials):
    errors = np.array([sup_error(made) for made in partials])
    orders = np.array([2 * len(made.poles) for made in partials])
    assert np.all(errors * HALPHEN**orders < 1.4), errors
    slope = np.polyfit(orders, np.log(errors), 1)[0]
    assert abs(slope + np.log(HALPHEN)) < 0.01, slope


def test_the_error_of_the_poles_falls_by_halphens_constant_an_order():
    check_decay([exponential_partial(n) for n in ORDERS if n <= 12])


@pytest.mark.parametrize("order", ORDERS)
def test_the_error_stated_is_the_error_measured_and_rounding_ends_the_gain(order):
    made = exponential_partial(order)
    assert order > 12 or made.error == pytest.approx(sup_error(made), rel=0.02)
    assert made.error < 2 * (
        HALPHEN**-order + np.finfo(float).eps * np.sum(np.abs(made.residues))
    )


def test_a_wrong_pole_is_caught(monkeypatch):
    def spoilt(order):
        made = exponential_partial(order)
        return (
            made._replace(
                poles=made.poles * np.where(np.arange(order // 2) == 0, 1 + 1e-6, 1)
            )
            if order == 12
            else made
        )

    with pytest.raises(AssertionError):
        check_decay([spoilt(n) for n in ORDERS if n <= 12])
    # programs of these shapes may have been compiled with the right poles
    jax.clear_caches()
    monkeypatch.setattr(rational, "exponential_partial", spoilt)
    system = (BARRIER, fp.Line(-2.5, 2.5, 63))
    assert np.max(run(system, [0.1, 1.0], Rational(12)).error) > 1e-8
    jax.clear_caches()


def exact_solution(shift, excess, up, down, load, ring):
    """The same system in exact arithmetic, by elimination of a dense matrix."""
    n = len(load)
    fractions = lambda values: [Fraction(float(v)) for v in values]
    excess, up, down, load = map(fractions, (excess, up, down, load))
    rows = [[Fraction(0)] * n + [load[j]] for j in range(n)]
    for j in range(n):
        rows[j][j] += Fraction(shift) + excess[j]
        if ring or j < n - 1:
            k = (j + 1) % n
            for row, column, value in (
                (j, j, up[j]),
                (k, j, -up[j]),
                (k, k, down[j]),
                (j, k, -down[j]),
            ):
                rows[row][column] += value
    for j in range(n):
        rows[j] = [value / rows[j][j] for value in rows[j]]
        for k in range(n):
            if k != j:
                rows[k] = [
                    a - rows[k][j] * b for a, b in zip(rows[k], rows[j], strict=True)
                ]
    return np.array([float(row[-1]) for row in rows])


@pytest.mark.parametrize("ring", [False, True], ids=["line", "ring"])
@pytest.mark.parametrize("way", ["loop", "reduction"])
@pytest.mark.parametrize("n", [3, 10])
def test_each_digit_survives_a_shift_eighteen_orders_below_the_rates(n, way, ring):
    rng = np.random.default_rng(n)
    up, down = (jnp.asarray(10 ** rng.uniform(-2, 6, n)) for _ in range(2))
    excess = jnp.zeros(n).at[1].set(1e-13)
    load = jnp.asarray(rng.random(n))
    solve = getattr(shifted_tridiagonal, f"_{way}_{'ring' if ring else 'line'}")
    found = jax.jit(solve)(jnp.asarray([1e-12, 1.0]), excess, up, down, load)
    for k, shift in enumerate((1e-12, 1.0)):
        truth = exact_solution(shift, excess, up, down, load, ring)
        assert np.max(np.abs(found[:, k] / truth - 1)) < 1e-14


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_agrees_with_the_dense_exponential_at_every_time(name):
    system = SYSTEMS[name]
    times = TIMES[:3] if name == "force, absorbing" else TIMES  # nothing is left later
    truth, taken = (run(system, times, method) for method in (fp.Dense(), Rational()))
    off = distance(system[1], taken.field, truth.field)
    assert np.all(off <= taken.error + rounding_of_dense(system, times)), (
        off,
        taken.error,
    )
    assert np.all(taken.error < 1e-11)


@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-8, 1e-12])
@pytest.mark.parametrize("name", ["line", "absorbing", "periodic"])
def test_each_tolerance_takes_its_order_and_the_error_bounds_what_is_lost(name, tol):
    system = SYSTEMS[name]
    order = choose_order(tol, jnp.float64)
    assert order == {1e-4: 10, 1e-6: 12, 1e-8: 14, 1e-12: 14}[tol]
    truth, taken = (
        run(system, TIMES, method) for method in (fp.Dense(), Rational(order))
    )
    off = distance(system[1], taken.field, truth.field)
    slack = rounding_of_dense(system, TIMES)
    assert np.all(off <= taken.error + slack)
    assert np.all(taken.error <= 100 * off + 100 * slack)
    assert np.all(taken.error[:4] <= max(tol, 1e-11))


@pytest.mark.parametrize("order", [6, 8, 14])
def test_a_start_far_from_the_stationary_density_is_seen_in_the_error(order):
    cases = [
        (fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), fp.Line(-9.0, 9.0, 80), 0.9),
        (fp.FokkerPlanck(lambda x: 20 * x[0] ** 2), fp.Line(-4.0, 4.0, 80), None),
        (fp.FokkerPlanck(None, 1.0, lambda x: 12 + 0 * x), fp.Line(-4.0, 4.0, 80), 0.1),
    ]
    for equation, axis, share in cases:
        grid = fp.Grid(axis)
        times = [1e-3, 0.1, 0.5, 4.0]
        start = (
            grid.density(lambda x: 1.0 + 0 * x[0])
            if share is None
            else spot(grid, share)
        )
        truth = run((equation, axis), times, fp.Uniformization(), start).field
        taken = run((equation, axis), times, Rational(order), start)
        off = distance(axis, taken.field, truth)
        assert np.all((off <= taken.error) | (taken.error > 0.1)), (off, taken.error)


@pytest.mark.parametrize(
    "name", ["line", "periodic", "legendre", "force", "diffusion of x"]
)
def test_mass_and_the_stationary_density_are_kept_at_any_time(name):
    equation, axis = SYSTEMS[name]
    times = [1e-6, 1.0, 1e6, 1e12]
    taken = run(SYSTEMS[name], times, Rational(4))
    weights = np.asarray(axis.weights)
    assert np.max(np.abs(taken.field @ weights - 1)) < 1e-14
    prepared = Rational().prepare(build(equation, fp.Grid(axis)), Picture.DENSITY)
    stationary = jnp.exp(2 * prepared.operator.log_sqrt_pi)
    still = run(SYSTEMS[name], times, Rational(4), stationary).field
    assert np.max(distance(axis, still, stationary)) < 1e-14
    assert distance(axis, taken.field[-1], stationary) < 1e-13
    flux = prepared.operator.generator(stationary)
    assert np.max(np.abs(flux)) < 1e-13 * float(
        jnp.max(prepared.operator.exit_rates * stationary)
    )


def test_what_survives_between_walls_keeps_its_digits_at_late_times():
    system = (fp.FokkerPlanck(lambda x: 0 * x[0], 0.5), fp.Absorbing(0.0, 1.0, 32))
    early, late = run(system, [30.0, 60.0], Rational()).field
    middle = run(system, [30.0], Rational(), early).field[0]
    assert float(jnp.sum(late)) < 1e-100
    assert distance(system[1], middle, late) < 1e-12


def test_any_time_has_one_price():
    calls = [run(SYSTEMS["line"], [t], Rational()).calls for t in (1.0, 1e6)]
    assert calls[0] == calls[1] == 13


@pytest.mark.parametrize("name", WAVES)
def test_waves_in_wells_of_negative_energy_agree_with_the_dense_exponential(name):
    times = [1e-4, 0.1, 1.0, 10.0]
    truth, taken = (
        run(WAVES[name], times, method) for method in (fp.Dense(), Rational())
    )
    off = distance(WAVES[name][1], taken.field, truth.field)
    assert np.all(off <= taken.error + rounding_of_dense(WAVES[name], times))
    assert np.all(taken.error < 1e-11)
    start = spot(fp.Grid(WAVES[name][1]))
    turned = run(WAVES[name], times, Rational(), (1 - 2j) * start).field
    assert np.max(distance(WAVES[name][1], turned, (1 - 2j) * taken.field)) < 1e-13


@pytest.mark.parametrize("name", WAVES)
def test_the_lowest_level_comes_from_below_to_rounding(name):
    equation, axis = WAVES[name]
    prepared = Rational().prepare(build(equation, fp.Grid(axis)), Picture.GIBBS_WAVE)
    level = fp.spectrum(equation, fp.Grid(axis), 1, scheme=VOLUMES).values[0]
    scale = float(jnp.max(prepared.up) + jnp.max(jnp.abs(prepared.killing_rate)))
    assert abs(float(prepared.lowest - level)) < 1e-14 * scale


def test_what_cannot_be_done_is_refused():
    plane = fp.Grid(fp.Line(-2.0, 2.0, 8), fp.Line(-2.0, 2.0, 8))
    line, ring = fp.Grid(fp.Line(-2.0, 2.0, 8)), fp.Grid(fp.Periodic(0.0, 1.0, 8))
    pushed = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
    made = fp.Spectral().build(BARRIER, line, 0.0, float, True)
    refused(
        lambda: Rational().prepare(
            build(fp.FokkerPlanck(fp.Harmonic()), plane), Picture.DENSITY
        ),
        "one axis",
    )
    refused(
        lambda: Rational().prepare(made, Picture.DENSITY), "finite-volume", "Chebyshev"
    )
    refused(
        lambda: Rational().prepare(build(pushed, ring), Picture.DENSITY),
        "complex",
        "Uniformization",
    )
    refused(
        lambda: Rational().prepare(build(BARRIER, line), Picture.GIBBS_WAVE), "density"
    )
    refused(lambda: Rational(5), "Rational.order", "even")
    prepared = Rational().prepare(
        build(fp.Schrodinger(fp.Harmonic()), line), Picture.WAVE
    )
    refused(
        lambda: Rational().apply(
            prepared, spot(line), jnp.ones(1), jnp.asarray(1e-8), 0.3
        ),
        "wick",
        "Chebyshev",
    )


def test_poles_are_computed_once_and_cannot_be_changed():
    made = exponential_partial(8)
    assert exponential_partial(8) is made
    with pytest.raises(ValueError, match="read-only"):
        made.poles[0] = 0
    assert np.all(made.poles.imag > 0)
    assert caratheodory_fejer.exponential_partial.cache_info().maxsize == len(ORDERS)
