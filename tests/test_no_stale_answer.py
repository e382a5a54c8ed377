"""No stale answer: what a function reads may change between two calls, and the second
call sees it.

Truth: an oscillator of stiffness k has variance 1/k in the long run, gap k, and passage
times that scale; every way in which a number can hide in a function is changed between
two calls.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

GRID = fp.Grid(fp.Line(-6.0, 6.0, 48))
START = fp.Gaussian(0.0, 0.3)
STIFFNESS = 1.0


class Spring:
    """A callable object whose stiffness is an attribute."""

    def __init__(self, stiffness):
        self.stiffness = stiffness

    def __call__(self, x):
        return self.stiffness * x[0] ** 2 / 2

    def energy(self, x):
        return self.stiffness * x[0] ** 2 / 2


def through_a_global():
    def change(k):
        global STIFFNESS
        STIFFNESS = k

    return (lambda x: STIFFNESS * x[0] ** 2 / 2), change


def through_a_closure():
    k = 1.0

    def energy(x):
        return k * x[0] ** 2 / 2

    def change(value):
        nonlocal k
        k = value

    return energy, change


def through_an_attribute():
    spring = Spring(1.0)
    return spring, lambda k: setattr(spring, "stiffness", k)


def through_a_bound_method():
    spring = Spring(1.0)
    return spring.energy, lambda k: setattr(spring, "stiffness", k)


def through_a_numpy_array():
    stiffness = np.ones(1)

    def change(k):
        stiffness[0] = k

    return (lambda x: stiffness[0] * x[0] ** 2 / 2), change


def through_a_sum():
    spring = Spring(1.0)
    return fp.Harmonic(0.5) + spring + (lambda x: -(x[0] ** 2) / 4), lambda k: setattr(
        spring, "stiffness", k
    )


WAYS = [
    through_a_global,
    through_a_closure,
    through_an_attribute,
    through_a_bound_method,
    through_a_numpy_array,
    through_a_sum,
]
OF = {  # a number that follows from the stiffness alone, by each public function
    "evolve": (
        lambda U: fp.evolve(
            fp.FokkerPlanck(U),
            START,
            [20.0],
            grid=GRID,
            observables={"v": lambda x: x[0] ** 2},
        ),
        lambda found: float(found.observables["v"][0]),
        lambda k: 1 / k,
    ),
    "spectral_gap": (
        lambda U: fp.spectral_gap(fp.FokkerPlanck(U), GRID),
        float,
        lambda k: k,
    ),
    "spectrum": (
        lambda U: fp.spectrum(fp.FokkerPlanck(U), GRID, 3),
        lambda found: float(found.values[2]) / 2,
        lambda k: k,
    ),
    "correspondence": (
        lambda U: fp.correspondence(
            fp.FokkerPlanck(U), START, [20.0], grid=GRID, scheme=fp.Spectral()
        ),
        lambda found: float(GRID.integrate(found.density[0] * GRID.nodes[0] ** 2)),
        lambda k: 1 / k,
    ),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", OF)
def test_a_changed_number_changes_the_answer(name, way):
    ask, read, truth = OF[name]
    energy, change = way()
    for k in (1.0, 2.0, 1.0):
        change(k)
        assert abs(read(ask(energy)) / truth(k) - 1) < 1e-4, (name, k)


def test_a_changed_start_changes_the_answer():
    mean = np.zeros(1)
    start = lambda x: jnp.exp(-((x[0] - mean[0]) ** 2) / 0.6)
    means = []
    for m in (0.0, 1.0):
        mean[0] = m
        found = fp.evolve(fp.FokkerPlanck(fp.Harmonic()), start, [0.5], grid=GRID)
        means.append(float(GRID.integrate(found.values[0] * GRID.nodes[0])))
    assert abs(means[0]) < 1e-9 and abs(means[1] - np.exp(-0.5)) < 1e-6


def test_a_changed_observable_changes_the_answer():
    power = [1]
    observable = {"moment": lambda x: x[0] ** power[0]}
    start = fp.Gaussian(1.0, 0.3)
    found = []
    for power[0] in (1, 2):
        solution = fp.evolve(
            fp.FokkerPlanck(fp.Harmonic()),
            start,
            [0.5],
            grid=GRID,
            observables=observable,
        )
        found.append(float(solution.observables["moment"][0]))
    variance = 1 + (0.3 - 1) * np.exp(-1.0)
    assert np.allclose(found, [np.exp(-0.5), variance + np.exp(-1.0)], rtol=1e-6)


def test_a_changed_moving_potential_and_force_change_the_answer():
    speed, push = [1.0], [0.0]
    equation = fp.FokkerPlanck(
        lambda x, t: (x[0] - speed[0] * t) ** 2 / 2, force=lambda x: push[0] + 0 * x
    )
    dragged = fp.FokkerPlanck(lambda x, t: (x[0] - speed[0] * t) ** 2 / 2)
    start = fp.Gaussian(0.0, 1.0)
    for speed[0] in (1.0, -1.0):
        found = fp.evolve(dragged, start, [1.0], grid=GRID)
        mean = float(GRID.integrate(found.values[0] * GRID.nodes[0]))
        assert abs(mean - speed[0] * np.exp(-1.0)) < 1e-4
    speed[0] = 0.0
    for push[0] in (0.0, 1.0):
        found = fp.evolve(
            equation, start, [1.0], grid=GRID, scheme=fp.ScharfetterGummel(), tol=1e-5
        )
        mean = push[0] * (1 - np.exp(-1.0))
        assert abs(float(GRID.integrate(found.values[0] * GRID.nodes[0])) - mean) < 1e-2


def test_a_fitted_grid_follows_the_function():
    spring = Spring(1.0)
    lengths = []
    for spring.stiffness in (1.0, 16.0):
        grid = fp.fit_grid(
            fp.FokkerPlanck(spring), fp.Gaussian(0.0, 0.05), tol=1e-4, times=[1.0]
        )
        lengths.append(grid.axes[0].length)
    assert lengths[0] > 2 * lengths[1]
