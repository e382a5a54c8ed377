"""Companion grids: other nodes, other boxes, the same walls and periods."""

import numpy as np
import pytest

import fpsolve as fp
from fpsolve.plan.companion import companion, finer, shared_size

AXES = [
    fp.Line(-6.0, 6.0, 64),
    fp.Periodic(0.0, 2 * np.pi, 49),
    fp.Absorbing(0.0, 1.0, 30),
    fp.Legendre(0.0, 1.0, 24),
    fp.Reflecting(-1.0, 1.0, 3),
]


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_a_companion_has_other_nodes_and_keeps_walls(axis, spectral):
    other = companion(fp.Grid(axis), spectral).axes[0]
    assert type(other) is type(axis)
    # Gauss-Lobatto nodes include the walls, and some are close to those of another n:
    # most must differ.
    distances = np.min(np.abs(other.nodes[:, None] - axis.nodes), axis=1)
    assert np.median(distances) > 0.05 * np.min(axis.weights)
    if axis.unbounded:
        assert other.lower < axis.lower and axis.upper < other.upper
        assert other.length == pytest.approx(1.15 * axis.length)
    elif axis.boundary == "periodic":
        assert other.length == pytest.approx(axis.length)
        for places in (other.nodes, other.faces):
            assert np.all((places >= axis.lower) & (places <= axis.upper))
    else:
        assert (other.lower, other.upper) == (axis.lower, axis.upper)


def test_a_basis_on_lines_needs_no_new_program_and_one_on_a_ring_has_fewer_waves():
    grid = companion(fp.Grid(AXES[0], AXES[1]), spectral=True)
    assert grid.shape == (64, 43)


def test_two_companions_of_finite_volumes_have_twice_the_spacing():
    grid = fp.Grid(
        fp.Line(-6.0, 6.0, 100),
        fp.Periodic(0.0, 1.0, 100),
        fp.Reflecting(0.0, 1.0, 100),
    )
    last = companion(companion(grid, spectral=False), spectral=False)
    assert np.array(last.units) / np.array(grid.units) == pytest.approx(2, rel=0.02)


def test_fitted_grids_have_few_shapes():
    sizes = [shared_size(n) for n in range(3, 1025)]
    assert all(
        n <= size <= 1.125 * n for n, size in zip(range(3, 1025), sizes, strict=True)
    )
    assert all(shared_size(size) == size for size in sizes)
    # Eight in each of the six octaves from 16 to 1024, and all those below.
    assert len(set(sizes)) == 14 + 6 * 8


@pytest.mark.parametrize("widen", [False, True])
def test_a_finer_grid_has_shorter_cells_and_wider_lines_only_if_asked(widen):
    grid = fp.Grid(fp.Line(-1.0, 1.0, 30), fp.Periodic(0.0, 1.0, 21))
    line, ring = finer(grid, widen).axes
    assert line.unit < grid.axes[0].unit / 1.2 and ring.unit < grid.axes[1].unit / 1.2
    assert ring.length == 1.0
    assert (
        (line.lower < -1.0 and line.upper > 1.0)
        if widen
        else (line.lower, line.upper) == (-1.0, 1.0)
    )
