"""Paths and schedules are read at every call: no stale answer, few programs,
derivatives through closures.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal import schedule
from fpsolve.anneal.along import along
from fpsolve.anneal.counterdiabatic import evolve_counterdiabatic
from fpsolve.anneal.grid_for_path import path_grid
from fpsolve.anneal.read import ContentCache, content_key, read_path, read_schedule
from fpsolve.anneal.velocity import velocity
from fpsolve.diffusion.generation import generate
from fpsolve.diffusion.line_law import sampler_law, shortfall
from fpsolve.diffusion.reverse_process import ReverseProcess
from fpsolve.diffusion.steps import linear_steps
from fpsolve.path.noising import Noising
from refusals import refused

GRID = fp.Grid(fp.Line(-7.0, 7.0, 40))
CENTER = 1.0  # read by `by_global`


def by_global(center: float) -> Callable[[Any], Any]:
    """The same function at every call."""
    globals()["CENTER"] = center
    return _to_global


def _to_global(lam: Any) -> Any:
    return lambda x: (x[0] - lam * CENTER) ** 2


class Knob:
    """A path with an attribute."""

    def __init__(self) -> None:
        self.center = 1.0
        self.table = np.ones(3)

    def __call__(self, lam: Any) -> Any:
        """The same object at every call."""
        return lambda x: (x[0] - lam * self.center * self.table[0]) ** 2


KNOB = Knob()
LOUVRE = Knob()
CELL = SimpleNamespace(value=1.0)


def by_attribute(center: float) -> Any:
    """An attribute of one object."""
    KNOB.center = center
    return KNOB


def by_table(center: float) -> Any:
    """A numpy array, changed in place."""
    LOUVRE.table[0] = center
    return LOUVRE


def _closure() -> tuple[Any, Any]:
    center = 1.0

    def path(lam: Any) -> Any:
        return lambda x: (x[0] - lam * center) ** 2

    def change(value: float) -> Any:
        nonlocal center
        center = value
        return path

    return path, change


MAKERS = {
    "global": by_global,
    "closure": _closure()[1],
    "attribute": by_attribute,
    "array": by_table,
}


@pytest.mark.parametrize("how", MAKERS)
def test_a_path_that_changed_gives_the_new_answer(how: str) -> None:
    """Truth: a Gaussian of variance 1/2 that moves by c has |d_λ log π| = c sqrt 2, and
    the gap 2.
    """
    for center in (1.0, 3.0, 1.0):
        path = MAKERS[how](center)
        found = along(path, grid=GRID, tol=1e-6)
        assert float(found.at(0.5).drive) == pytest.approx(
            center * np.sqrt(2), rel=1e-6
        )
        # |v| / sqrt(D) = c at every λ
        cost = schedule.optimal(path, 1.0, grid=GRID, cost="wasserstein").cost_integral
        assert float(cost) == pytest.approx(center, rel=1e-6)


@pytest.mark.parametrize("how", MAKERS)
def test_a_transport_along_a_path_that_changed(how: str) -> None:
    """Truth: a trap of stiffness 2 dragged by c in a time 1 lags by
    c (1 - exp(-2)) / 2.
    """
    for center in (1.0, 2.0):
        found = fp.transport(
            MAKERS[how](center), schedule.linear(1.0), grid=GRID, times=[1.0], tol=1e-7
        )
        lag = center * (1 - np.exp(-2)) / 2
        assert float(found.kl[0]) == pytest.approx(lag**2, rel=1e-4)
        assert float(found.bound[0]) >= float(found.tv[0])


class Ramp:
    """A schedule with an attribute."""

    total = 1.0
    power = 1.0

    def __call__(self, t: Any) -> Any:
        """The place."""
        return (t / self.total) ** self.power


def test_a_schedule_that_changed() -> None:
    ramp = Ramp()
    first = read_schedule(ramp)(0.5)
    ramp.power = 2.0
    assert (float(first), float(read_schedule(ramp)(0.5))) == (0.5, 0.25)
    assert content_key(read_schedule(Ramp())) != content_key(read_schedule(ramp))


def test_a_velocity_and_a_drive_of_an_equation_that_changed() -> None:
    speed = SimpleNamespace(value=1.0)
    equation = fp.FokkerPlanck(lambda x, t: (x[0] - speed.value * t) ** 2 / 2)
    for value in (1.0, 2.0):
        speed.value = value
        # order 2 in the cells
        assert float(velocity(equation, GRID).nodes[0][20]) == pytest.approx(
            value, rel=0.05
        )
        carried = evolve_counterdiabatic(
            equation, GRID, equation.gibbs(GRID, 0.0), [0.1], 1e-6
        )
        assert float(
            GRID.integrate(carried.values[0] * GRID.nodes[0])
        ) == pytest.approx(0.1 * value, rel=1e-6)


def test_a_fitted_grid_of_a_path_that_changed() -> None:
    grids = [
        path_grid(MAKERS["closure"](center), 1.0, 1e-4) for center in (1.0, 4.0, 1.0)
    ]
    assert grids[0] == grids[2]
    assert grids[1].axes[0].upper > grids[0].axes[0].upper + 2


def test_a_score_error_that_changed() -> None:
    """Truth: the flow with a constant error e arrives elsewhere for another e; the law
    of a sampler likewise.
    """
    knob = SimpleNamespace(value=0.0)
    path = Noising(fp.GaussianMixture([[0.0]], 0.5))
    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    process = ReverseProcess(path, noise=0.0, error=lambda x, lam: knob.value + 0 * x)
    means = []
    for knob.value in (0.0, 0.5):
        density = generate(process, lambda x: jnp.exp(-path(1.0)(x)), grid, tol=1e-4)
        means.append(float(grid.integrate(density * grid.nodes[0])))
    assert abs(means[0]) < 1e-6 < 0.1 < abs(means[1])


class Data:
    """A noising path of one's own, from a Gaussian of variance `spread` to N(0, 1)."""

    spread = 0.25

    def alpha(self, lam: Any) -> Any:
        """Of the data."""
        return jnp.sqrt(1 - self.sigma(lam) ** 2)

    def sigma(self, lam: Any) -> Any:
        """Of the noise."""
        return 0.99 * jnp.asarray(lam)

    def _variance(self, lam: Any) -> Any:
        return self.alpha(lam) ** 2 * self.spread + self.sigma(lam) ** 2

    def score(self, x: Any, lam: Any) -> Any:
        """-x / variance."""
        return -x / self._variance(lam)

    def __call__(self, lam: Any) -> Any:
        """-log of the density."""
        return lambda x: (
            x[0] ** 2 / (2 * self._variance(lam))
            + jnp.log(2 * jnp.pi * self._variance(lam)) / 2
        )


def test_a_noising_path_that_changed() -> None:
    """Agreement with another object that has had the new number from the start."""
    grid = fp.Grid(fp.Line(-4.0, 4.0, 32))
    places = jnp.asarray([1.0, 0.6, 0.0])
    missed = lambda path: float(
        shortfall(path, sampler_law(path, places, grid, nodes=256)).tv
    )
    path, other = Data(), Data()
    before = missed(path)
    path.spread = other.spread = 1.0
    assert missed(path) == missed(other)
    assert abs(missed(path) - before) > 0.01
    assert linear_steps(path, 2).shape == (3,)


@pytest.fixture
def compiled() -> Any:
    """What is compiled while a test runs."""
    seen: list[str] = []
    watching = [True]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if watching[0] and event == "/jax/core/compile/backend_compile_duration":
            seen.append(f"{event} {duration_secs}")

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    watching[0] = False


def test_a_second_path_compiles_small_programs_only(compiled: list[str]) -> None:
    """The same formula with other numbers compiles nothing; another formula three
    sampling programs at most.
    """
    along(fp.Mix(fp.Harmonic(2.0, -1.0), fp.Harmonic(1.0, 1.0)), grid=GRID, tol=1e-6)
    # A schedule asks for another tolerance, and with it for more lambdas.
    schedule.optimal(
        fp.Mix(fp.Harmonic(2.0, -1.0), fp.Harmonic(1.0, 1.0)), 5.0, grid=GRID
    )
    before = len(compiled)
    along(fp.Mix(fp.Harmonic(1.8, -0.9), fp.Harmonic(1.1, 1.1)), grid=GRID, tol=1e-6)
    schedule.optimal(
        fp.Mix(fp.Harmonic(1.7, -0.9), fp.Harmonic(1.1, 1.1)), 5.0, grid=GRID
    )
    assert len(compiled) == before
    along(lambda lam: lambda x: jnp.cosh(x[0] - lam), grid=GRID, tol=1e-6)
    assert len(compiled) - before <= 3


def test_a_second_transport_compiles_small_programs_only(compiled: list[str]) -> None:
    """Another formula: path, costs, promises, powers, schemes and checks are sampled,
    nothing else is compiled.
    """
    run = lambda path: fp.transport(
        path, schedule.linear(5.0), grid=GRID, times=[5.0], tol=1e-6
    )
    run(fp.Mix(fp.Harmonic(2.0, -1.0), fp.Harmonic(1.0, 1.0)))
    before = len(compiled)
    run(fp.Mix(fp.Harmonic(1.8, -0.9), fp.Harmonic(1.1, 1.1)))
    assert len(compiled) == before
    run(fp.Mix(lambda x: (x[0] + 0.8) ** 2, lambda x: 0.6 * (1 - x[0]) ** 2))
    assert len(compiled) - before <= 14


def last_lag(center: Any, tol: float = 1e-6) -> Any:
    """KL at the end, along a path whose parameter hides in the closure of its function.
    A traced run takes steps of one length, whose estimated error is above 1e-8 here.
    """
    path = fp.Mix(
        lambda x: (x[0] + 0.5) ** 2 / 2, lambda x: 0.75 * (x[0] - center) ** 2
    )
    grid = fp.Grid(fp.Line(-6.0, 6.0, 40))
    return fp.transport(
        path, schedule.linear(1.0), grid=grid, times=[0.5, 1.0], tol=tol
    ).kl[-1]


def test_a_parameter_in_a_closure_is_differentiated() -> None:
    """Agreement with central differences to 1e-5, alone, under jit and under vmap."""
    center, step = jnp.asarray(0.6), 1e-4
    differences = float(
        (last_lag(center + step, 1e-9) - last_lag(center - step, 1e-9)) / (2 * step)
    )
    assert float(jax.grad(last_lag)(center)) == pytest.approx(differences, rel=1e-5)
    assert float(jax.jit(jax.grad(last_lag))(center)) == pytest.approx(
        differences, rel=1e-5
    )
    both = jax.vmap(last_lag)(jnp.asarray([0.6, 0.7]))
    np.testing.assert_allclose(
        both, [last_lag(0.6, 1e-9), last_lag(0.7, 1e-9)], rtol=1e-6
    )


def test_a_traced_path_is_refused_where_its_places_must_be_chosen() -> None:
    path = lambda center: fp.Mix(fp.Harmonic(), lambda x: (x[0] - center) ** 2)
    refused(
        lambda: jax.jit(lambda c: along(path(c), grid=GRID).error)(1.0),
        "path",
        "transformation",
    )


def test_a_cache_is_bounded_and_drops_what_was_used_longest_ago() -> None:
    cache = ContentCache(3000)
    for k in range(4):
        cache.put(("key", k), jnp.full(100, float(k)))
        cache.get(("key", 0))
    assert cache.get(("key", 0)) is not None and cache.get(("key", 3)) is not None
    assert cache.get(("key", 1)) is None and cache.get(None) is None


def test_keys_tell_formulas_and_numbers_apart() -> None:
    read = lambda f: content_key(read_path(lambda lam: lambda x: f(x[0]) * lam, 1))
    assert read(lambda y: 2 * y) == read(lambda y: 2 * y)
    formulas = (lambda y: 2 * y, lambda y: 3 * y, lambda y: y**2, jnp.sin)
    assert len({read(f) for f in formulas}) == 4

    @eqx.filter_jit
    def traced(a: Any) -> Any:
        assert content_key(read_path(lambda lam: lambda x: a * x[0] * lam, 1)) is None
        return a

    traced(jnp.ones(()))
