"""Block eigen-solver and multigrid: against whole matrices, on all kinds of ends, over
barriers and sizes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.eigen.fv_lobpcg import volume_modes
from fpsolve.eigen.lobpcg import lobpcg
from fpsolve.linear import graph
from fpsolve.linear.graph_solve import solve_graph
from fpsolve.linear.multigrid import wave_multigrid
from measure import check_close, generator_matrix, operator, symmetric_form

SIZE, BLOCK, WANTED = 120, 12, 8
FACTOR = 0.45  # what one cycle may leave of an error
SQUARE = fp.Grid(fp.Line(-3.4, 3.4, 30), fp.Line(-3.4, 3.4, 30))


def matrix_of(levels, seed=0):
    turn = np.linalg.qr(
        np.random.default_rng(seed).normal(size=(len(levels), len(levels)))
    )[0]
    return turn, (turn * levels) @ turn.T


@jax.jit
def lowest(matrix, inverse, start, tol):
    return lobpcg(lambda x: x @ matrix, lambda r, e: r @ inverse, start, WANTED, tol)


SPECTRA = {
    "even": (np.arange(1.0, SIZE + 1), 1.0),
    "steep": (np.geomspace(1e-4, 1e6, SIZE), 1e-4),
    "clusters": (
        np.sort(
            np.r_[0, 0, 0, 1, 1, 1 + 1e-10, 2, 2, 3, np.linspace(4, 1e4, SIZE - 9)]
        ),
        1.0,
    ),
    "both signs": (np.linspace(-5.0, 5.0, SIZE), 6.0),
    "all the same": (np.full(SIZE, 2.0), 1.0),
    "nothing": (np.zeros(SIZE), 1.0),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("tol", [1e-6, 1e-30])
def test_levels_of_a_matrix_are_found_to_rounding(name, tol):
    levels, shift = SPECTRA[name]
    turn, matrix = matrix_of(levels)
    inverse = (turn / (levels + shift)) @ turn.T
    start = jax.random.normal(jax.random.key(3), (BLOCK, SIZE))
    pairs = lowest(jnp.asarray(matrix), jnp.asarray(inverse), start, jnp.asarray(tol))
    rounding = 4e-14 * max(1.0, np.max(np.abs(levels)))
    exact = np.linalg.eigvalsh(matrix)[:WANTED]
    assert np.max(pairs.residuals[:WANTED]) <= max(tol, rounding), pairs.residuals
    assert np.max(np.abs(pairs.values[:WANTED] - exact)) <= max(tol**2, rounding)
    assert np.max(np.abs(pairs.vectors @ pairs.vectors.T - np.eye(BLOCK))) < 1e-13
    assert np.max(np.abs(pairs.images - pairs.vectors @ matrix)) <= rounding


def test_small_matrices_bad_starts_and_known_vectors():
    """Three blocks are more than there are dimensions; the start has rank one; two
    vectors are known.
    """
    turn, matrix = matrix_of(np.arange(1.0, 15.0))
    matrix = jnp.asarray(matrix)
    start = jnp.ones((6, 14)).at[2].set(0)
    tol = jnp.asarray(1e-10)
    solve = lambda known, **options: lobpcg(
        lambda x: x @ matrix, lambda r, e: r, start, 5, tol, known, **options
    )
    pairs = jax.jit(solve)(jnp.asarray(turn[:, :2].T))
    check_close(pairs.values[:5], np.arange(3.0, 8.0), 1e-12, "the levels")
    assert np.max(np.abs(pairs.vectors @ turn[:, :2])) < 1e-12
    assert int(jax.jit(lambda: solve(None, rounds=1))().rounds) == 1
    with pytest.raises(ValueError, match="wanted = 5"):
        lobpcg(
            lambda x: x,
            lambda r, e: r,
            jnp.ones((6, 14)),
            5,
            jnp.asarray(0.1),
            jnp.eye(14)[:9],
        )


def test_a_block_in_single_precision():
    levels = SPECTRA["even"][0]
    turn, matrix = (jnp.asarray(u, jnp.float32) for u in matrix_of(levels))
    start = jax.random.normal(jax.random.key(3), (BLOCK, SIZE), jnp.float32)
    pairs = lowest(
        matrix,
        (turn / jnp.asarray(levels, jnp.float32)) @ turn.T,
        start,
        jnp.asarray(1e-3, jnp.float32),
    )
    assert pairs.vectors.dtype == jnp.float32
    check_close(pairs.values[:WANTED], levels[:WANTED], 1e-5, "the levels")


def wells(x, b=3.0, c=0.0, tilt=0.5):
    return b * (x[0] ** 2 - 1) ** 2 + c * x[0] ** 2 + 2 * x[1] ** 2 + tilt * x[0] * x[1]


def three_wells(x):
    return 6 * (x[0] ** 2 - 1) ** 2 + x[1] ** 2 + 2 * x[2] ** 2 + x[0] * x[2]


GRAPHS = {
    "closed": (
        fp.FokkerPlanck(wells),
        fp.Grid(fp.Line(-2.6, 2.6, 24), fp.Line(-3.8, 3.8, 24)),
    ),
    "high": (
        fp.FokkerPlanck(lambda x: wells(x, 12.0)),
        fp.Grid(fp.Line(-3.8, 3.8, 24), fp.Line(-3.8, 3.8, 24)),
    ),
    "rings": (
        fp.FokkerPlanck(lambda x: 4 * jnp.cos(x[0]) + jnp.sin(x[0] - x[1])),
        fp.Grid(fp.Periodic(0, 2 * np.pi, 21), fp.Periodic(0, 2 * np.pi, 18)),
    ),
    "open": (
        fp.FokkerPlanck(wells),
        fp.Grid(fp.Absorbing(-1.5, 1.5, 23), fp.Reflecting(-2, 2, 20)),
    ),
    "long cells": (
        fp.FokkerPlanck(wells),
        fp.Grid(fp.Line(-2.6, 2.6, 60), fp.Line(-3.8, 3.8, 7)),
    ),
    "nodes": (
        fp.FokkerPlanck(wells),
        fp.Grid(fp.Legendre(-2.6, 2.6, 24), fp.Legendre(-3.8, 3.8, 24)),
    ),
    "quantum": (
        fp.Schrodinger(wells),
        fp.Grid(fp.Line(-2.6, 2.6, 24), fp.Line(-3.8, 3.8, 24)),
    ),
    "line": (fp.FokkerPlanck(fp.DoubleWell(9.0)), fp.Grid(fp.Line(-2.5, 2.5, 301))),
    "space": (fp.FokkerPlanck(three_wells), fp.Grid(*[fp.Line(-2.8, 2.8, 10)] * 3)),
}


def check_cycle(equation, grid, factor=FACTOR):
    """T is symmetric, and the eigenvalues of T A on the complement of the ground state
    are within `factor` of one.
    """
    made = operator(fp.ScharfetterGummel(), equation, grid)

    @jax.jit
    def parts(made):
        levels = wave_multigrid(made)
        identity = jnp.eye(grid.size).reshape(grid.size, *grid.shape)
        return (
            levels.levels[0].matrix,
            levels.cycle(identity).reshape(grid.size, grid.size),
            levels.graphs[0].sqrt_mass,
        )

    matrix, cycle, root = (np.asarray(u) for u in parts(made))
    lowest = (
        float(np.min(made.potential_term)) if made.potential_term is not None else 0.0
    )
    check_close(
        matrix,
        symmetric_form(made) - lowest * np.eye(grid.size),
        1e-13,
        "the graph's own matrix",
    )
    assert np.max(np.abs(cycle - cycle.T)) <= 1e-12 * np.max(np.abs(cycle)), (
        "the cycle is not symmetric"
    )
    values, turn = np.linalg.eigh(matrix)
    half = turn * np.sqrt(np.maximum(values, 0))
    spread = np.linalg.eigvalsh(half.T @ cycle @ half)
    if made.potential_term is None and all(
        axis.boundary != "absorbing" for axis in grid.axes
    ):
        assert np.max(np.abs(matrix @ root.ravel())) <= 1e-12 * np.max(matrix)
        spread = spread[1:]
    assert spread[0] >= 1 - factor and spread[-1] <= 1 + factor, (
        f"T A has eigenvalues {spread[0]} to {spread[-1]}"
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_a_cycle_is_close_to_the_inverse(name):
    check_cycle(*GRAPHS[name])


def test_coarse_edges_that_are_not_halved_are_noticed(monkeypatch):
    monkeypatch.setattr(graph, "_ratio", lambda a, b: jnp.zeros_like(a))
    with pytest.raises(AssertionError, match="T A has eigenvalues"):
        check_cycle(*GRAPHS["line"])


def modes_of(numbers, grid, k=6, size=10, tol=1e-5):
    """The modes for potentials of several parameters, in one batch."""
    scheme = fp.ScharfetterGummel()

    def solve(b, c, tilt):
        made = scheme.build(
            fp.FokkerPlanck(lambda x: wells(x, b, c, tilt)),
            grid,
            0.0,
            jnp.float64,
            True,
        )
        return volume_modes(made, k, size, jnp.asarray(tol))[0]

    return jax.jit(jax.vmap(solve))(*jnp.asarray(numbers).T)


def test_levels_of_volumes_are_those_of_the_matrix():
    """Barriers of 3, 12 and 30 (a gap of 1e-11) take the same rounds; a round well has
    all of its equal levels.
    """
    numbers = [(3.0, 0.0, 0.5), (12.0, 0.0, 0.5), (30.0, 0.0, 0.5), (0.0, 2.0, 0.0)]
    pairs = modes_of(numbers, SQUARE)
    for i, row in enumerate(numbers):
        equation = fp.FokkerPlanck(lambda x, row=row: wells(x, *row))
        exact = np.linalg.eigvalsh(
            symmetric_form(operator(fp.ScharfetterGummel(), equation, SQUARE))
        )
        top = 1e-15 * exact[-1]
        assert np.max(np.abs(pairs.values[i][:6] - exact[:6])) <= 1e-9 + 8 * top, (
            row,
            pairs.values[i],
            exact[:6],
        )
        # whose square bounds the error of a level
        assert np.max(pairs.residuals[i][:6]) <= 3e-5 + 8 * top
        assert (
            np.max(np.abs(pairs.vectors[i] @ pairs.vectors[i].T - np.eye(10))) < 1e-12
        )
    assert np.ptp(pairs.rounds[:3]) <= 3 and np.max(pairs.rounds) <= 14, pairs.rounds
    same = pairs.values[3]
    assert abs(same[1] - same[2]) < 1e-9
    assert np.ptp(same[3:6]) < 0.2
    assert abs(same[3] - same[2]) > 3


def test_pairs_on_a_ring():
    grid = fp.Grid(fp.Periodic(0, 2 * np.pi, 255))
    made = operator(fp.ScharfetterGummel(), fp.FokkerPlanck(lambda x: 0 * x[0]), grid)
    pairs, goal = jax.jit(lambda made: volume_modes(made, 7, 10, jnp.asarray(1e-5)))(
        made
    )
    step = 2 * np.pi / 255
    k = np.array([0, 1, 1, 2, 2, 3, 3])
    check_close(
        pairs.values[:7], 4 / step**2 * np.sin(k * step / 2) ** 2, 1e-10, "the levels"
    )
    assert np.max(pairs.residuals[:7]) <= goal


def test_rounds_are_flat_over_sizes_and_barriers():
    numbers, rounds = [(3.0, 0.0, 0.5), (12.0, 0.0, 0.5)], []
    for n in (32, 64, 128):
        rounds.append(
            modes_of(
                numbers, fp.Grid(fp.Line(-2.4, 2.4, n), fp.Line(-3.8, 3.8, n))
            ).rounds
        )
    assert np.ptp(rounds) <= 6 and np.max(np.ptp(rounds, axis=0)) <= 3, rounds


def test_volumes_in_single_precision():
    made = operator(fp.ScharfetterGummel(), fp.FokkerPlanck(wells), SQUARE)
    single = jax.tree.map(lambda u: u.astype(jnp.float32), made)
    pairs, goal = jax.jit(
        lambda made: volume_modes(made, 6, 10, jnp.asarray(1e-2, jnp.float32))
    )(single)
    assert pairs.vectors.dtype == goal.dtype == jnp.float32
    exact = np.linalg.eigvalsh(symmetric_form(made))[:6]
    assert np.max(np.abs(pairs.values[:6] - exact)) < 1e-3
    assert np.max(pairs.residuals[:6]) <= goal


def test_a_committor_on_a_line_is_a_sum_of_resistances():
    """f rises by what each face resists, 1 / (m r), also where pi is e^-700."""
    grid = fp.Grid(fp.Line(-4.0, 4.0, 120))
    made = operator(
        fp.ScharfetterGummel(),
        fp.FokkerPlanck(lambda x: 6 * (x[0] ** 2 - 1) ** 2),
        grid,
    )
    x = np.asarray(grid.nodes[0])
    clamped = np.abs(x) > 0.9
    values = (x > 0).astype(float)
    solve = jax.jit(lambda *arrays: solve_graph(made, *arrays, jnp.asarray(1e-12)))
    answer = solve(jnp.zeros(120), jnp.asarray(clamped), jnp.asarray(values))
    between = (~clamped[:-1]) | (~clamped[1:])
    resistance = np.zeros(119)
    resistance[between] = (
        np.exp(-2 * np.asarray(made.log_sqrt_pi)[:-1][between])
        / np.asarray(made.up[0])[between]
    )
    rise = np.concatenate([[0], np.cumsum(resistance)])
    check_close(answer.values, rise / rise[-1], 1e-11, "the committor")
    assert float(answer.error) <= 1e-12 and int(answer.iterations) < 40


def check_passage(faulty=1.0):
    """The mean time to a small well, over a barrier of 12, against the whole matrix of
    L*; pi spans e^-3000.
    """
    equation, grid = GRAPHS["high"]
    made = operator(fp.ScharfetterGummel(), equation, grid)
    x = np.asarray(grid.points)
    clamped = np.hypot(x[..., 0] - 1, x[..., 1]) < 0.5
    tol = jnp.asarray(1e-10)
    solve = jax.jit(
        lambda made, load, clamped: solve_graph(
            made, load, clamped, jnp.zeros(grid.shape), tol
        )
    )
    answer = solve(made, jnp.ones(grid.shape), jnp.asarray(clamped))
    backward = -generator_matrix(made).T * np.asarray(grid.weights).ravel()
    backward = backward / np.asarray(grid.weights).ravel()[:, None]
    free = ~clamped.ravel()
    exact = np.linalg.solve(backward[np.ix_(free, free)], np.full(free.sum(), faulty))
    check_close(np.asarray(answer.values).ravel()[free], exact, 1e-7, "the mean time")
    assert float(answer.error) <= 1e-10 and int(answer.iterations) <= 40, (
        answer.iterations
    )


def test_a_mean_first_passage_time_is_that_of_the_matrix():
    check_passage()


def test_a_wrong_passage_time_is_noticed():
    with pytest.raises(AssertionError, match="the mean time"):
        check_passage(1 + 1e-6)
