"""The rational exponential: its poles, the chain's solves, and the densities at any
time, against exact arithmetic, against the dense exponential and against the Poisson
sum.
"""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.linear import caratheodory_fejer, shifted_tridiagonal
from fpsolve.linear.caratheodory_fejer import ORDERS, exponential_partial
from fpsolve.propagate import Picture, rational
from fpsolve.propagate.rational import Rational, choose_order
from refusals import refused

HALPHEN = 9.28903  # one over Halphen's constant
TIMES = [1e-6, 1e-2, 1.0, 50.0, 1e4]
VOLUMES = fp.ScharfetterGummel()
BARRIER = fp.FokkerPlanck(lambda x: 3 * (x[0] ** 2 - 1) ** 2)
WAVY = fp.FokkerPlanck(lambda x: 2 * jnp.cos(x[0]))
PUSHED = fp.FokkerPlanck(None, 0.7, lambda x: -(x**3) + x + 1.0)
UNEVEN = fp.FokkerPlanck(
    lambda x: x[0] ** 2 / 2, lambda x: 1 + 0.5 * x[0] ** 2 / (1 + x[0] ** 2)
)
SYSTEMS = {
    "line": (BARRIER, fp.Line(-2.5, 2.5, 64)),
    "reflecting": (BARRIER, fp.Reflecting(-1.7, 2.1, 49)),
    "absorbing": (BARRIER, fp.Absorbing(-2.0, 2.0, 48)),
    "periodic": (WAVY, fp.Periodic(0.0, 2 * np.pi, 51)),
    "legendre": (BARRIER, fp.Legendre(-1.8, 1.8, 32)),
    "force": (PUSHED, fp.Line(-3.0, 3.0, 50)),
    "diffusion of x": (UNEVEN, fp.Line(-5.0, 5.0, 52)),
    "force, absorbing": (PUSHED, fp.Absorbing(-2.0, 2.0, 40)),
}
WAVES = {
    "well": (
        fp.Schrodinger(lambda x: -10 * x[0] ** 2 + x[0] ** 4),
        fp.Line(-5.0, 5.0, 60),
    ),
    "well, walls": (fp.Schrodinger(lambda x: x[0] - 8), fp.Absorbing(0.0, 2.0, 40)),
    "well on a ring": (
        fp.Schrodinger(lambda x: jnp.cos(x[0]) - 3),
        fp.Periodic(0.0, 2 * np.pi, 41),
    ),
}


def build(equation, grid, dtype=float):
    process = isinstance(equation, fp.FokkerPlanck)
    return VOLUMES.build(
        equation,
        grid,
        0.0,
        dtype,
        process and equation.irreversible_because(grid) is None,
    )


@eqx.filter_jit
def advance(method, operator, picture, field, times, tol):
    return method.apply(method.prepare(operator, picture), field, times, tol, 0.0)


def spot(grid, share=0.3, width=0.2):
    axis = grid.axes[0]
    return grid.density(
        lambda x: jnp.exp(
            -(((x[0] - axis.lower - share * axis.length) / width) ** 2) / 2
        )
    )


def run(system, times, method, start=None, tol=1e-10):
    equation, axis = system
    grid = fp.Grid(axis)
    start = spot(grid) if start is None else start
    picture = Picture.DENSITY if isinstance(equation, fp.FokkerPlanck) else Picture.WAVE
    return advance(
        method,
        build(equation, grid),
        picture,
        start,
        jnp.asarray(times),
        jnp.asarray(tol),
    )


def distance(axis, values, truth):
    weights = np.asarray(axis.weights)
    return np.sum(weights * np.abs(values - truth), axis=-1) / np.sum(
        weights * np.abs(truth), axis=-1
    )


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
    excess, load = jnp.zeros(n).at[1].set(1e-13), jnp.asarray(rng.random(n))
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
    off, slack = (
        distance(system[1], taken.field, truth.field),
        rounding_of_dense(system, TIMES),
    )
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
        grid, times = fp.Grid(axis), [1e-3, 0.1, 0.5, 4.0]
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


def stiffened(name):
    """A number of the start and of the rates -> one number of the density."""
    equations = {
        "line": lambda a: fp.FokkerPlanck(fp.Harmonic(a), 0.8),
        "force": lambda a: fp.FokkerPlanck(None, 0.8, lambda x: -a * x + 0.3),
        "absorbing": lambda a: fp.FokkerPlanck(fp.Harmonic(a), 0.8),
        "periodic": lambda a: fp.FokkerPlanck(lambda x: a * jnp.cos(x[0])),
        "well": lambda a: fp.Schrodinger(lambda x: a * x[0] ** 2 - 3),
    }
    axes = {
        "absorbing": fp.Absorbing(-2.0, 2.0, 24),
        "periodic": fp.Periodic(0.0, 2 * np.pi, 24),
    }
    grid = fp.Grid(axes.get(name, fp.Line(-4.0, 4.0, 24)))

    def number(a, t):
        operator = build(equations[name](a), grid)
        prepared = Rational().prepare(
            operator, Picture.WAVE if name == "well" else Picture.DENSITY
        )
        start = spot(grid, width=0.7 + a / 10)
        after = (
            Rational()
            .apply(prepared, start, jnp.stack([t, 3 * t]), jnp.asarray(1e-10), 0.0)
            .field
        )
        return jnp.sum(after * jnp.cos(grid.nodes[0]))

    return number


@pytest.mark.parametrize("name", ["line", "force", "absorbing", "periodic", "well"])
def test_both_derivatives_are_those_of_finite_differences(name):
    number = stiffened(name)
    at, turn, step = (jnp.asarray(1.1), jnp.asarray(0.4)), (1.0, 0.7), 1e-4
    reverse = jax.jit(jax.grad(number, (0, 1)))(*at)
    forward = jax.jit(lambda at: jax.jvp(number, at, tuple(map(jnp.asarray, turn)))[1])(
        at
    )
    along = jax.jit(lambda h: number(at[0] + h * turn[0], at[1] + h * turn[1]))
    difference = (
        8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))
    ) / (12 * step)
    assert float(reverse[0] * turn[0] + reverse[1] * turn[1]) == pytest.approx(
        float(difference), rel=1e-8
    )
    assert float(forward) == pytest.approx(float(difference), rel=1e-8)


def test_starts_and_rates_go_through_vmap():
    grid = fp.Grid(SYSTEMS["line"][1])
    starts = jnp.stack([spot(grid, share) for share in (0.3, 0.6)])
    one = lambda depth, start: (
        advance(
            Rational(),
            build(fp.FokkerPlanck(fp.DoubleWell(depth)), grid),
            Picture.DENSITY,
            start,
            jnp.ones(1),
            jnp.asarray(1e-8),
        ).field
    )
    both = jax.vmap(one)(jnp.asarray([2.0, 3.0]), starts)
    apart = jnp.stack(
        [one(depth, start) for depth, start in zip((2.0, 3.0), starts, strict=True)]
    )
    assert np.max(np.abs(both - apart)) < 1e-13


@pytest.mark.parametrize("name", ["line", "absorbing", "periodic"])
def test_single_precision_reaches_its_own_floor(name):
    equation, axis = SYSTEMS[name]
    grid, times = fp.Grid(axis), jnp.asarray([1e-2, 1.0, 50.0, 1e6])
    truth = run(SYSTEMS[name], times, Rational()).field
    operator = build(equation, grid, jnp.float32)
    numbers = (spot(grid), times, jnp.asarray(1e-5))
    taken = advance(
        Rational(),
        operator,
        Picture.DENSITY,
        *(number.astype(jnp.float32) for number in numbers),
    )
    assert taken.field.dtype == taken.error.dtype == jnp.float32
    alive = np.asarray(jnp.sum(truth, axis=1)) > 1e-30
    off = distance(axis, np.asarray(taken.field, float), np.asarray(truth))[alive]
    rates = (
        1e-6 * np.asarray(times)[alive] * float(jnp.max(operator.exit_rates))
        if name == "absorbing"
        else 0
    )
    assert np.all(off <= np.asarray(taken.error)[alive] + 2e-5 + rates)
    assert np.all(np.isfinite(taken.field))
    assert np.max(taken.error) < 2e-5


def test_it_runs_without_double_precision():
    jax.config.update("jax_enable_x64", False)
    taken = run((BARRIER, fp.Line(-2.5, 2.5, 65)), [1.0], Rational(), tol=1e-5)
    assert taken.field.dtype == jnp.float32
    assert float(taken.error[0]) < 1e-5


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["line", "periodic"])
def test_it_lowers_for_accelerators(name, platform):
    equation, axis = SYSTEMS[name]
    grid = fp.Grid(axis)
    prepared = Rational().prepare(build(equation, grid, jnp.float32), Picture.DENSITY)
    solve = jax.jit(
        lambda prepared, field, times, tol: (
            Rational().apply(prepared, field, times, tol, 0.0).field
        )
    )
    numbers = [
        number.astype(jnp.float32)
        for number in (spot(grid), jnp.ones(2), jnp.asarray(1e-5))
    ]
    exported = jax.export.export(solve, platforms=[platform])(prepared, *numbers)
    assert exported.platforms == (platform,)
    assert "while" not in exported.mlir_module()  # no sweep of n steps


@pytest.mark.parametrize("name", ["line", "periodic"])
def test_what_accelerators_run_agrees_with_what_a_processor_runs(name, monkeypatch):
    system = (SYSTEMS[name][0], type(SYSTEMS[name][1])(-3.0, 2 * np.pi - 3, 45))
    swept = run(system, TIMES, Rational())
    monkeypatch.setattr(
        jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args)
    )
    jax.clear_caches()
    folded = run(system, TIMES, Rational())
    assert np.max(distance(system[1], folded.field, swept.field)) < 1e-12


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
