"""`fp.Implicit`: order, positivity, L-stability and derivatives of implicit steps, and
the resolvents in them.
"""

from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.linear.recurrence import recurrence_by_scan, recurrence_by_tree
from fpsolve.linear.resolvent import factor_resolvent
from fpsolve.linear.tridiagonal import column_sums_by_scan, column_sums_by_tree
from fpsolve.propagate import Picture, implicit_steps
from fpsolve.propagate.implicit import Implicit
from measure import check_close, check_order, generator_matrix, operator

VOLUMES = fp.ScharfetterGummel()
LINE = fp.Grid(fp.Line(-4, 4, 32))
RING = fp.Grid(fp.Periodic(0, 2 * np.pi, 24))
WALLS = fp.Grid(fp.Absorbing(0, 1, 24))
PLANE = fp.Grid(fp.Line(-3.0, 3.0, 10), fp.Periodic(-3.0, 3.0, 8))


def swirl(x, strength):
    return strength * jnp.stack([x[1], -x[0]])


def twisted(strength):
    return fp.FokkerPlanck(
        fp.Harmonic(), force=jax.tree_util.Partial(swirl, strength=strength)
    )


CASES = {
    "line": (fp.FokkerPlanck(fp.Harmonic()), LINE, fp.Gaussian(1.0, 0.5), 0.5),
    "ring, pushed": (
        fp.FokkerPlanck(fp.Cosine(), force=lambda x: 2.0 + 0 * x),
        RING,
        fp.Gaussian(3.0, 0.5),
        0.5,
    ),
    "absorbed": (
        fp.FokkerPlanck(force=lambda x: 2.0 + 0 * x),
        WALLS,
        fp.Gaussian(0.5, 0.02),
        0.05,
    ),
    "plane, twisted": (twisted(1.0), PLANE, fp.Gaussian([1.0, 0.0], 0.5), 0.5),
}


@partial(jax.jit, static_argnums=(0, 2))
def run(method, made, grid, start, lengths, tol):
    return method.apply(method.prepare(made, Picture.DENSITY), start, lengths, tol, 0.0)


def solve(method, equation, grid, start, lengths, tol=1e-10):
    made = operator(VOLUMES, equation, grid)
    return run(
        method,
        made,
        grid,
        start,
        jnp.asarray(lengths, start.dtype),
        jnp.asarray(tol, start.dtype),
    )


def distance(grid, values, exactly):
    return float(
        grid.integrate(jnp.abs(values - exactly)) / grid.integrate(jnp.abs(exactly))
    )


@cache
def smooth(name):
    """A start whose sharpest modes have decayed, and the exact exponential of it."""
    equation, grid, start, t = CASES[name]
    exact = lambda p, t: solve(fp.Dense(), equation, grid, p, [t]).field[-1]
    start = exact(grid.density(start), t / 2)
    return start, exact(start, t)


def errors(name, order):
    equation, grid, _, t = CASES[name]
    start, exactly = smooth(name)
    taken = [
        solve(Implicit(order, steps), equation, grid, start, [t])
        for steps in (8, 16, 32, 64)
    ]
    return [distance(grid, step.field[-1], exactly) for step in taken], [
        float(step.error[-1]) for step in taken
    ]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_each_order_is_seen_and_the_error_is_known(name, order):
    true, estimated = errors(name, order)
    check_order(true, (8, 16, 32, 64), order)
    assert np.all(
        (np.array(estimated) > 0.3 * np.array(true))
        & (np.array(estimated) < 3 * np.array(true))
    )


def test_a_wrong_gamma_is_seen(monkeypatch):
    right = implicit_steps.coefficients(2)
    monkeypatch.setattr(implicit_steps, "coefficients", lambda order: (0.3, right[1]))
    jax.clear_caches()
    with pytest.raises(AssertionError):
        check_order(errors("line", 2)[0], (8, 16, 32, 64), 2)
    jax.clear_caches()


@pytest.mark.parametrize(("order", "tol"), [(1, 1e-3), (2, 1e-5), (3, 1e-7)])
@pytest.mark.parametrize("name", ["absorbed", "ring, pushed"])
def test_steps_are_chosen_from_the_tolerance(name, order, tol):
    equation, grid, start, t = CASES[name]
    start = grid.density(start)
    exactly = solve(fp.Dense(), equation, grid, start, [t / 9, t]).field
    step = solve(Implicit(order), equation, grid, start, [t / 9, t], tol)
    for values, error, truth in zip(step.field, step.error, exactly, strict=True):
        true = distance(grid, values, truth)
        assert tol / 100 < true <= tol, f"error {true:.1e} at tol {tol:.0e}"
        assert 0.1 * true < float(error) < 10 * true


STEEP = {
    "line": (fp.FokkerPlanck(force=lambda x: 1e4 * jnp.sin(3 * x)), LINE),
    "ring": (fp.FokkerPlanck(force=lambda x: 1e4 * (1.2 + jnp.sin(x))), RING),
    "plane": (twisted(1e4), fp.Grid(fp.Line(-3.0, 3.0, 20), fp.Line(-3.0, 3.0, 20))),
}


@pytest.mark.parametrize("name", STEEP)
def test_backward_euler_is_positive_and_keeps_mass_at_any_step(name):
    equation, grid = STEEP[name]
    point = jnp.zeros(grid.shape).at[tuple(n // 3 for n in grid.shape)].set(1.0)
    start = point / grid.integrate(point)
    for t in (1e-4, 1e3):
        step = solve(Implicit(1, 2), equation, grid, start, [t])
        assert float(jnp.min(step.field)) >= 0
        assert abs(float(grid.integrate(step.field[-1])) - 1) <= 1e-12
        assert np.all(np.isfinite(step.error))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_huge_step_lands_on_the_stationary_density(order):
    equation, grid, start, _ = CASES["ring, pushed"]
    step = solve(Implicit(order, 2), equation, grid, grid.density(start), [1e9])
    exactly = solve(fp.Dense(), equation, grid, grid.density(start), [50.0]).field[-1]
    check_close(step.field[-1], exactly, 1e-7, "the stationary density")
    assert abs(float(grid.integrate(step.field[-1])) - 1) <= 1e-12


@pytest.mark.parametrize(("order", "slack"), [(1, 1e-8), (2, 1e-13), (3, 1e-13)])
@pytest.mark.parametrize("dimension", [1, 2])
def test_the_gibbs_density_stays_where_it_is(dimension, order, slack):
    grid = fp.Grid(*[fp.Line(-3.0, 3.0, 16)] * dimension)
    equation = fp.FokkerPlanck(
        lambda x: 4 * (x[0] ** 2 - 1) ** 2 + jnp.sum(x[1:] ** 2) + 0.3 * x[0] * x[-1]
    )
    gibbs = equation.gibbs(grid)
    step = solve(Implicit(order, 2), equation, grid, gibbs, [1e6])
    assert distance(grid, step.field[-1], gibbs) <= (1e-12 if dimension == 1 else slack)


def test_a_steep_drift_costs_no_more_than_a_gentle_one():
    equation = fp.FokkerPlanck(force=lambda x: 1e4 * (0.5 - x))
    grid = WALLS
    start = WALLS.density(fp.Gaussian(0.3, 0.01))
    products = float(jnp.max(operator(VOLUMES, equation, grid).exit_rates)) * 5.0
    step = solve(Implicit(2), equation, grid, start, [5.0], 1e-4)
    exactly = solve(fp.Dense(), equation, grid, start, [5.0]).field[-1]
    assert products > 1e5
    assert float(step.calls) < 2000
    assert distance(grid, step.field[-1], exactly) <= 1e-4


@pytest.mark.parametrize(
    ("grid", "steps", "tol"),
    [(RING, None, 1e-4), (RING, 6, 1e-4), pytest.param(PLANE, 4, 1e-11)],
    ids=["chosen", "fixed", "plane"],
)
def test_steps_are_differentiated_compiled_and_mapped(grid, steps, tol):
    start = grid.density(fp.Gaussian([1.0, 0.0][: grid.ndim], 0.5))

    def f(a):
        force = fp.FokkerPlanck(
            fp.Cosine(),
            force=jax.tree_util.Partial(lambda x, a: a * jnp.cos(x[::-1]), a=a),
        )
        values = solve(
            Implicit(2, steps), force, grid, start, jnp.stack([0.2 * a, 0.4 * a]), tol
        ).field
        return jnp.sum(values[-1] * jnp.sin(grid.points[..., 0]))

    a = jnp.asarray(0.8)
    value, slope = jax.jit(jax.value_and_grad(f))(a)
    check_close(
        jax.jvp(f, (a,), (jnp.ones(()),)),
        (value, slope),
        1e-8,
        "the forward derivative",
    )
    # chosen steps change with the parameter, and so does their error
    if steps is not None:
        check_close(slope, (f(a + 1e-4) - f(a - 1e-4)) / 2e-4, 1e-6, "the gradient")
    else:
        check_close(slope, (f(a + 1e-2) - f(a - 1e-2)) / 2e-2, 1e-2, "the gradient")
    many = jax.jit(jax.vmap(f))(jnp.stack([a, 1.1 * a]))
    check_close(many[0], value, 1e-9, "the first of a batch")


@pytest.mark.parametrize("name", ["line", "plane, twisted"])
def test_single_precision(name):
    equation, grid, _, t = CASES[name]
    start, exactly = smooth(name)
    made = jax.tree.map(
        lambda u: u.astype(jnp.float32), operator(VOLUMES, equation, grid)
    )
    step = run(
        Implicit(2),
        made,
        grid,
        start.astype(jnp.float32),
        jnp.asarray([t], jnp.float32),
        jnp.float32(1e-4),
    )
    assert step.field.dtype == jnp.float32 and step.error.dtype == jnp.float32
    assert distance(grid, step.field[-1], exactly) <= 1e-4
    assert float(step.error[-1]) <= 1e-4


def test_a_wave_in_a_well_decays_in_imaginary_time():
    equation = fp.Schrodinger(lambda x: x[0] ** 2 / 2 - 3.0)
    start = jnp.exp(-(LINE.points[..., 0] ** 2) / 2)
    made = operator(VOLUMES, equation, LINE)
    method = Implicit(3)
    lengths = jnp.asarray([0.5])
    step = method.apply(
        method.prepare(made, Picture.GIBBS_WAVE), start, lengths, jnp.asarray(1e-7), 0.0
    )
    dense = fp.Dense()
    exactly = dense.apply(
        dense.prepare(made, Picture.GIBBS_WAVE), start, lengths, jnp.asarray(1e-7), 0.0
    ).field
    assert distance(LINE, step.field[-1], exactly[-1]) <= 1e-7


@pytest.mark.parametrize("name", CASES)
def test_a_resolvent_and_its_transpose_are_inverses(name):
    equation, grid, start, _ = CASES[name]
    made = operator(VOLUMES, equation, grid)
    matrix = np.eye(grid.size) - 0.7 * generator_matrix(made)
    b = np.asarray(grid.density(start)) + 0.1 * np.cos(
        np.arange(grid.size).reshape(grid.shape)
    )
    resolvent = factor_resolvent(made, jnp.asarray(0.7), False)
    solve = lambda b: resolvent.solve(b, jnp.asarray(1e-12))
    check_close(
        solve(jnp.asarray(b)).ravel(), np.linalg.solve(matrix, b.ravel()), 1e-9, "x"
    )
    transposed = jax.linear_transpose(solve, jnp.asarray(b))(jnp.asarray(b))[0]
    check_close(
        transposed.ravel(),
        np.linalg.solve(matrix.T, b.ravel()),
        1e-9,
        "x of the transposed system",
    )


def test_scans_and_trees_agree():
    one, two, three = np.exp(3 * np.random.default_rng(0).normal(size=(3, 2, 40)))
    for reverse in (False, True):
        pair = [
            f(jnp.asarray(one), jnp.asarray(two), reverse)
            for f in (recurrence_by_scan, recurrence_by_tree)
        ]
        assert np.max(np.abs(pair[0] / pair[1] - 1)) <= 1e-13
    sums = jnp.asarray(one)
    up = jnp.asarray(two[:, 1:])
    down = jnp.asarray(three[:, 1:])
    pair = [f(sums, up, down) for f in (column_sums_by_scan, column_sums_by_tree)]
    assert np.max(np.abs(pair[0] / pair[1] - 1)) <= 1e-13


@pytest.mark.parametrize("grid", [RING, PLANE], ids=["ring", "plane"])
def test_steps_lower_for_accelerators(grid):
    made = operator(
        VOLUMES, twisted(1.0) if grid.ndim == 2 else CASES["ring, pushed"][0], grid
    )
    start = jnp.ones(grid.shape)
    program = jax.jit(
        lambda p: (
            eqx.filter_jit(run)(
                Implicit(1), made, grid, p, jnp.ones(1), jnp.asarray(1e-3)
            ).field
        )
    )
    for platform in ("cuda", "tpu"):
        assert jax.export.export(program, platforms=[platform])(start).mlir_module()


@pytest.mark.parametrize(
    "options",
    [{"order": 0}, {"order": 4}, {"order": 1.5}, {"steps": 1}, {"steps": 2.0}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} = "):
        Implicit(**options)


def test_what_does_not_suit_is_refused():
    made = operator(fp.Spectral(), CASES["line"][0], LINE)
    with pytest.raises(ValueError, match="finite volumes"):
        Implicit().prepare(made, Picture.GIBBS_WAVE)
    method = Implicit()
    made = operator(VOLUMES, CASES["line"][0], LINE)
    with pytest.raises(ValueError, match="Wick"):
        method.apply(
            method.prepare(made, Picture.DENSITY),
            jnp.ones(32),
            jnp.ones(1),
            jnp.asarray(1e-3),
            0.5,
        )


def test_a_start_beyond_the_range_of_its_wave_is_evolved_as_a_density():
    """A well of 10^6 D at the edge of the box, turned, and a start that is wide beside
    it: it relaxes to the bottom.
    """
    potential = lambda x: 1e5 * (3 * (x[0] + x[1]) ** 2 + (x[0] - x[1]) ** 2)
    grid = fp.Grid(fp.Line(-1.0, 1.0, 16), fp.Line(-1.0, 1.0, 16))
    found = fp.evolve(
        fp.FokkerPlanck(potential),
        fp.Gaussian(0.3, 0.02),
        [1.0],
        grid=grid,
        check=False,
    )
    assert isinstance(found.stats["method"], str)
    assert "Implicit" in found.stats["method"]
    assert int(found.code) == 0
    np.testing.assert_allclose(
        np.sum(np.asarray(found.values[0, 7:9, 7:9])) * grid.axes[0].unit ** 2,
        1,
        atol=1e-6,
    )
