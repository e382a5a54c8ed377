"""What lies between the nodes of a given grid is part of the error; what is smooth
there, or jumps once, is not.
"""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.solve.between_nodes import unseen_features, unseen_start

LINE = fp.Grid(fp.Line(-6.0, 6.0, 64))
FINE = fp.Grid(fp.Line(-6.0, 6.0, 1500))
SQUARE = fp.Grid(fp.Line(-3.0, 3.0, 24), fp.Line(-3.0, 3.0, 20))


@pytest.fixture(autouse=True)
def coarse_grids():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.AccuracyWarning)
        yield


def bumped(height, place, width):
    return lambda x: (
        x[0] ** 2 / 2 + height * jnp.exp(-(((x[0] - place) / width) ** 2) / 2)
    )


@pytest.mark.parametrize(
    ("potential", "grid"),
    [
        (lambda x: 4 * (x[0] ** 2 - 1) ** 2, fp.Grid(fp.Line(-3.0, 3.0, 64))),
        (lambda x: jnp.cos(3 * x[0]), fp.Grid(fp.Periodic(0.0, 2 * np.pi, 24))),
        (lambda x: jnp.where(x[0] > 0.3, 2.0, 0.0), LINE),
        (lambda x: 5 * jnp.abs(x[0] - 0.123), LINE),
        (
            lambda x: x[0] ** 2 / 2 - 2 * jnp.log(x[0]),
            fp.Grid(fp.Reflecting(0.0, 9.0, 50)),
        ),
        (lambda x: 4 * (x[0] ** 2 - 1) ** 2 + x[1] ** 2 + x[0] * x[1], SQUARE),
        (lambda x: jnp.where(x[0] + x[1] > 0.2, 3.0, 0.0), SQUARE),
    ],
)
def test_smooth_functions_and_single_jumps_hide_nothing(potential, grid):
    assert np.max(unseen_features(fp.FokkerPlanck(potential), grid, np.zeros(1))) == 0


@pytest.mark.parametrize(("height", "width"), [(-4.0, 0.02), (4.0, 0.02), (1.0, 0.03)])
def test_a_trap_or_a_barrier_between_nodes_is_in_the_error(height, width):
    # between two nodes, 0.1875 apart
    equation = fp.FokkerPlanck(bumped(height, 0.19, width))
    start = fp.Gaussian(-0.5, 0.3)
    times = [0.2, 2.0]
    coarse = fp.evolve(equation, start, times, grid=LINE, scheme=fp.ScharfetterGummel())
    fine = fp.evolve(
        equation, start, times, grid=FINE, scheme=fp.ScharfetterGummel(), check=False
    )
    values = np.asarray(
        [
            np.interp(LINE.axes[0].nodes, FINE.axes[0].nodes, p)
            for p in np.asarray(fine.values)
        ]
    )
    # The density at the nodes; the mass in the bump itself is missing there.
    bump = np.abs(1 - np.asarray(LINE.integrate_on_host(values)))
    true = np.asarray(LINE.integrate(jnp.abs(coarse.values - values))) + bump
    assert np.all(true <= 3 * np.asarray(coarse.error)), (true, coarse.error)
    assert np.all(np.asarray(coarse.error) <= 30 * true), (true, coarse.error)


def test_a_force_between_nodes_is_seen():
    gust = lambda x: 300.0 * jnp.exp(-(((x - 0.19) / 0.02) ** 2) / 2)
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2, 1.0, gust)
    assert np.max(unseen_features(equation, LINE, np.zeros(1))) > 1
    narrow = fp.FokkerPlanck(
        lambda x: x[0] ** 2 / 2,
        lambda x: 1 - 0.9 * jnp.exp(-(((x[0] - 0.19) / 0.02) ** 2)),
    )
    assert np.max(unseen_features(narrow, LINE, np.zeros(1))) > 0.5


def test_a_peak_of_the_start_between_nodes_is_its_mass():
    peak = lambda x, c, s: (
        jnp.exp(-(((x[0] - c) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))
    )
    start = lambda x: 0.97 * peak(x, -0.5, 0.5) + 0.03 * peak(x, 2.06, 0.01)
    assert unseen_start(start, LINE) == pytest.approx(0.03, rel=0.05)
    assert unseen_start(lambda x: peak(x, -0.5, 0.5), LINE) == 0
    found = fp.evolve(fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), start, [0.5], grid=LINE)
    assert 0.03 <= float(found.errors["start"][0]) <= 0.1
    assert float(found.error[0]) >= 0.03


@pytest.mark.parametrize("height", [-5.0, 4.0])
def test_levels_tell_what_lies_between_nodes(height):
    """Of a wave: the shift of the levels by a narrow bump, to first order its mean over
    the state.
    """
    equation = fp.Schrodinger(bumped(height, 0.19, 0.02))
    found = fp.spectrum(equation, LINE, 3)
    finer = fp.spectrum(equation, FINE, 3, scheme=fp.ScharfetterGummel(), check=False)
    true = np.abs(np.asarray(found.values - finer.values))
    assert np.all(true <= 3 * np.asarray(found.errors)), (true, found.errors)
    assert np.max(found.errors) < 30 * np.max(true)


def test_rates_tell_what_lies_between_nodes():
    """A narrow barrier of a process is a resistance; its gap is smaller than on the
    nodes.
    """
    equation = fp.FokkerPlanck(bumped(4.0, 0.19, 0.02))
    found = fp.spectrum(equation, LINE, 3)
    finer = fp.spectrum(equation, FINE, 3, check=False)
    true = np.abs(np.asarray(found.values - finer.values))
    assert np.all(true[1:] <= 3 * np.asarray(found.errors[1:])), (true, found.errors)
    assert np.max(found.errors) < 30 * np.max(true)


def test_passage_times_tell_what_lies_between_nodes():
    """A narrow barrier on the way, against a grid that resolves it."""
    equation = fp.FokkerPlanck(bumped(4.0, 0.19, 0.02))
    target = lambda x: x[0] > 2.0
    found = fp.mean_first_passage_time(equation, LINE, target)
    finer = fp.mean_first_passage_time(
        equation, fp.Grid(fp.Line(-6.0, 6.0, 3001)), target, check=False
    )
    place = LINE.axes[0].nodes[29]
    exact = np.interp(place, finer.grid.axes[0].nodes, np.asarray(finer))
    true = abs(float(found[29] - exact))
    assert true <= 3 * float(found.error[29]) and float(found.error[29]) <= 30 * true
    smooth = fp.mean_first_passage_time(
        fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), LINE, target
    )
    assert float(smooth.error[29]) < 0.1 * float(found.error[29])
