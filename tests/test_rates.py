"""Committors, mean first passage times, and the law of Eyring and Kramers: against
quadrature and closed forms.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from exact_rates import (
    LEFT,
    RIGHT,
    exact_committor,
    exact_passage,
    left,
    line,
    right,
    well,
)
from fpsolve import committor, mean_first_passage_time
from fpsolve.core.content import read_at
from fpsolve.eigen.supersymmetric_gap import line_gap
from fpsolve.solve import backward_generator
from fpsolve.solve.sets import outside_fractions
from measure import check_order


@pytest.mark.parametrize(
    ("solve", "exact"), [("committor", exact_committor), ("passage", exact_passage)]
)
def test_one_axis_converges_with_order_two(solve, exact):
    """Order, against quadrature; the sets end between nodes."""
    sizes, errors = [60, 120, 240, 480], []
    for n in sizes:
        grid = line(n)
        got = committor(well(0.4), grid, left, right) if solve == "committor" else None
        got = mean_first_passage_time(well(0.4), grid, right) if got is None else got
        want = exact(np.asarray(grid.nodes[0]), 0.4)
        errors.append(np.max(np.abs(got - want)) / np.max(want))
    check_order(errors, sizes)
    assert errors[-1] < 1e-4


def test_a_barrier_of_forty_keeps_relative_accuracy():
    """Truth: passage times of 1e17, and committors of 1e-17 where the path starts, each
    to the order of the cells.
    """
    x = np.asarray(line(400).nodes[0])
    tau = mean_first_passage_time(well(0.025), line(400), right)
    assert np.max(np.abs(tau / exact_passage(x, 0.025) - 1)[x < 0]) < 3e-3
    q = np.asarray(committor(well(0.025), line(400), left, right))
    inside = (x > LEFT) & (x < 0)
    assert 0 < q[inside].min() < 1e-14
    assert (
        np.max(np.abs(q / np.maximum(exact_committor(x, 0.025), 1e-300) - 1)[inside])
        < 3e-2
    )
    assert np.all(q[x < LEFT] == 0)
    assert np.allclose(q[x > RIGHT], 1, atol=1e-15)
    assert np.all(np.diff(q[inside]) > 0)


def test_passage_there_and_back_has_the_rate_of_the_gap():
    """Sum rule: 1 / tau_AB + 1 / tau_BA is the gap, up to what barrier crossing leaves
    out, e^-20.
    """
    equation = well(0.05, tilt=0.03)
    grid = line(800)
    there = mean_first_passage_time(equation, grid, lambda x: x[0] > 1)
    back = mean_first_passage_time(equation, grid, lambda x: x[0] < -1)
    x = np.asarray(grid.nodes[0])
    rate = 1 / there[np.searchsorted(x, -1)] + 1 / back[np.searchsorted(x, 1)]
    gap = eqx.filter_jit(line_gap)(
        equation, grid.axes[0], 0.0, jnp.float64, (800, 1600)
    ).gap
    assert float(rate / gap) == pytest.approx(1, abs=3e-3)


def test_a_push_round_a_ring():
    """Truth: drift f and diffusion D from a point to itself round the ring, which no
    potential has.
    """
    force, diffusion, half = 1.3, 0.4, 0.0371
    equation = fp.FokkerPlanck(None, diffusion, force=lambda x: force + 0 * x)
    sizes, errors = [50, 100, 200, 400], []
    for n in sizes:
        grid = fp.Grid(fp.Periodic(0.0, 1.0, n))
        tau = mean_first_passage_time(
            equation, grid, lambda x: (x[0] < half) | (x[0] > 1 - half)
        )
        x = np.asarray(grid.nodes[0]) - half
        length = 1 - 2 * half
        hit = np.expm1(-force * x / diffusion) / np.expm1(-force * length / diffusion)
        outside = (x > 0) & (x < length)
        exact = np.where(outside, (length * hit - x) / force, 0)
        errors.append(np.max(np.abs(tau - exact)))
    check_order(errors, sizes)
    assert errors[-1] < 1e-5


def test_exit_from_between_walls_takes_no_target():
    """Truth: x (1 - x) / (2 D) between absorbing ends."""
    grid = fp.Grid(fp.Absorbing(0.0, 1.0, 40))
    tau = mean_first_passage_time(fp.FokkerPlanck(None, 0.7), grid, lambda x: x[0] > 2)
    x = np.asarray(grid.nodes[0])
    assert np.max(np.abs(tau - x * (1 - x) / 1.4)) < 2e-4


def rim(x):
    return jnp.sum(x**2) > 1.0


def hub(x):
    return jnp.sum(x**2) < 0.09


def disc(n):
    """A box that holds the disc, off its centre."""
    return fp.Grid(fp.Line(-1.3, 1.3, n), fp.Line(-1.25, 1.25, n))


def passage_error(n, sharp=True):
    """The largest error of the passage to a rim, (1 - r^2) / (4 D)."""
    tau = mean_first_passage_time(
        fp.FokkerPlanck(None, 0.5), disc(n), rim if sharp else disc(n).sample(rim)
    )
    exact = disc(n).sample(lambda x: jnp.maximum(1 - jnp.sum(x**2), 0) / 2)
    return float(jnp.max(jnp.abs(tau - exact)))


def test_curved_sets_are_met_with_order_two():
    """Order, in a disc; control: a set that ends at nodes."""
    sizes = [16, 24, 36, 54]
    errors = [passage_error(n) for n in sizes]
    check_order(errors, sizes)
    assert errors[-1] < 5e-4
    assert passage_error(54, sharp=False) > 20 * errors[-1]


def test_the_committor_of_a_ring_of_sets_is_a_logarithm():
    """Truth: log r between a hub and a rim; control: sets that end at nodes."""
    exact = disc(54).sample(
        lambda x: 1 - jnp.log(jnp.clip(jnp.linalg.norm(x), 0.3, 1)) / np.log(0.3)
    )

    def error(*sets):
        found = committor(fp.FokkerPlanck(None, 0.5), disc(54), *sets)
        return float(jnp.max(jnp.abs(found - exact)))

    assert error(hub, rim) < 3e-3
    assert error(disc(54).sample(hub), disc(54).sample(rim)) > 0.03


class Rotated(eqx.Module):
    """A double well across, a stiff well along, rotated by 0.6, with a swirl that
    leaves its Gibbs density.
    """

    barrier: jax.Array

    def across(self, x):
        return np.cos(0.6) * x[0] + np.sin(0.6) * x[1]

    def __call__(self, x):
        along = np.cos(0.6) * x[1] - np.sin(0.6) * x[0]
        return self.barrier * (self.across(x) ** 2 - 1) ** 2 + 8 * along**2


@pytest.mark.parametrize("barrier", [3.0, 12.0])
def test_a_rotated_well_has_the_committor_of_one_axis(barrier):
    """Truth: q depends on the coordinate across alone; and the passage time passes its
    own residual check.
    """
    potential = Rotated(jnp.asarray(barrier))
    grid = fp.Grid(fp.Line(-2.0, 2.0, 64), fp.Line(-2.0, 2.0, 64))
    reactant = lambda x: potential.across(x) < LEFT
    product = lambda x: potential.across(x) > RIGHT
    q = committor(fp.FokkerPlanck(potential), grid, reactant, product)
    want = exact_committor(np.asarray(grid.sample(potential.across)), 1 / barrier)
    middle = np.abs(np.asarray(grid.points)).max(-1) < 1.2
    assert np.max(np.abs(q - want)[middle]) < 2e-3 * barrier
    assert float(jnp.min(q)) > -1e-9


def test_gradients_and_jit_reach_the_equation():
    """Agreement with differences, on one axis and in two dimensions."""
    plane = fp.Grid(fp.Line(-2.0, 2.0, 24), fp.Line(-2.0, 2.0, 24))
    for grid, at in ((line(60), 10), (plane, (5, 7))):
        f = lambda d, grid=grid, at=at: jnp.log(
            mean_first_passage_time(well(d), grid, right)[at]
        )
        f, h = jax.jit(f), 1e-4
        slope = jax.grad(f)(0.4)
        assert float(slope) == pytest.approx(
            float(f(0.4 + h) - f(0.4 - h)) / (2 * h), rel=1e-6
        )


BAD_SETS = {
    "meet": (left, lambda x: x[0] < 0, r"(?s)product = .*must not meet"),
    "empty": (left, lambda x: x[0] > 9, r"(?s)product = .*holds no node"),
    "shape": (np.ones(3, bool), right, r"reactant.shape = \(3,\)"),
    "numbers": (np.zeros(60), right, r"(?s)reactant = .*booleans"),
    "a number": (left, 3.0, r"(?s)product = .*booleans"),
    "values": (lambda x: x[0], right, r"(?s)reactant = .*booleans"),
    "python": (lambda x: x[0] < -1 and x[0] > -2, right, r"(?s)reactant = .*trace"),
    "coordinates": (
        lambda x: x[0] + x[1, 2] < 0,
        right,
        r"(?s)reactant = .*1 coordinates",
    ),
}


@pytest.mark.parametrize("word", BAD_SETS)
def test_bad_sets_are_refused(nothing_is_computed, word):
    """By name, value, what is allowed and the cure, before an operator is built."""
    reactant, product, message = BAD_SETS[word]
    with pytest.raises(ValueError, match=message):
        committor(well(0.4), line(60), reactant, product)


def test_a_wave_and_an_empty_target_are_refused(nothing_is_computed):
    with pytest.raises(ValueError, match=r"(?s)equation = .*process"):
        mean_first_passage_time(fp.Schrodinger(lambda x: x[0] ** 2), line(60), right)
    with pytest.raises(ValueError, match=r"(?s)target = .*holds no node"):
        mean_first_passage_time(well(0.4), line(60), lambda x: x[0] > 9)


def test_what_has_not_converged_is_told(monkeypatch, fresh_programs):
    """Planted: no round of the iteration."""
    constants = dataclasses.replace(backward_generator.CONSTANTS, hitting_restarts=0)
    monkeypatch.setattr(backward_generator, "CONSTANTS", constants)
    grid = fp.Grid(fp.Line(-2.0, 2.0, 26), fp.Line(-2.0, 2.0, 25))
    with pytest.raises(fp.NumericalFailure, match="not_converged"):
        mean_first_passage_time(fp.FokkerPlanck(Rotated(jnp.asarray(3.0))), grid, right)


def test_an_edge_is_cut_where_the_set_begins():
    """Truth: the shares of the two cut edges, and ones elsewhere."""
    grid = line(50)
    inside = grid.sample(left)
    share = np.asarray(outside_fractions(grid, (inside,), (read_at(left, 1),))[0])
    last = int(np.sum(inside)) - 1
    assert share[last] == pytest.approx(
        (np.asarray(grid.nodes[0])[last + 1] - LEFT) / 0.1, abs=1e-6
    )
    assert np.all(np.delete(share, last) == 1)


def test_a_target_that_may_never_be_reached_takes_for_ever() -> None:
    # Nothing moves left of the origin, and the drift leads there.
    line = fp.Grid(fp.Line(-2.0, 2.0, 40))
    stuck = fp.FokkerPlanck(
        None, lambda x: jnp.where(x[0] < 0, 0.0, 1.0), force=lambda x: -1 + 0 * x
    )
    tau = fp.mean_first_passage_time(stuck, line, lambda x: x[0] > 0.9)
    outside = np.asarray(line.nodes[0]) < 0.9
    assert np.all(np.isinf(np.asarray(tau.values)[outside]))
    assert np.all(np.asarray(tau.values)[~outside] == 0)
    # One axis does not diffuse: what starts outside of the target never moves towards
    # it.
    plane = fp.Grid(fp.Line(-2.0, 2.0, 12), fp.Line(-2.0, 2.0, 12))
    frozen = fp.FokkerPlanck(lambda x: jnp.sum(x**2), [1.0, 0.0])
    tau = fp.mean_first_passage_time(frozen, plane, lambda x: x[1] > 0.9)
    assert np.all(np.isinf(np.asarray(tau.values)[:, np.asarray(plane.nodes[1]) < 0.9]))


def test_a_time_beyond_the_range_of_numbers_is_a_named_failure() -> None:
    line = fp.Grid(fp.Line(-2.0, 2.0, 40))
    with pytest.raises(fp.NumericalFailure, match="not_finite"):
        fp.mean_first_passage_time(
            fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2, 1e-3),
            line,
            lambda x: x[0] > 0.9,
        )
