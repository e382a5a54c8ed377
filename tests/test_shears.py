"""Values on turned axes by shears, against the function itself."""

import numpy as np
import pytest

from fpsolve.grid import Grid, Line
from fpsolve.solve.shears import needed_wavenumbers, on_sheared_axes, shears


def bump(y, deviations):
    """A Gaussian with a ripple along the first axis, at places `(..., d)`."""
    return np.exp(-np.sum((y - 0.1) ** 2 / (2 * deviations**2), -1)) * (
        1 + 0.3 * np.cos(2 * y[..., 0])
    )


@pytest.mark.parametrize("kind", ["rotation", "general", "exchange"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_shears_reach_the_values_on_other_axes(kind, ndim):
    rng = np.random.default_rng(ndim)
    matrix = {
        "rotation": np.linalg.qr(rng.normal(size=(ndim, ndim)))[0],
        "general": np.eye(ndim) + 0.4 * rng.normal(size=(ndim, ndim)),
        "exchange": np.roll(np.eye(ndim), 1, axis=0),
    }[kind]
    deviations = np.asarray([0.5, 1.0, 0.3])[:ndim]
    wavenumbers = 7.0 / deviations + 2
    steps = shears(matrix)
    lengths = 16 * deviations
    nodes = np.ceil(lengths * needed_wavenumbers(steps, wavenumbers) / np.pi).astype(
        int
    )
    grid = Grid(
        *(
            Line(-length / 2, length / 2, int(n))
            for length, n in zip(lengths, nodes, strict=True)
        )
    )
    ends = 5 * np.sqrt(matrix**2 @ deviations**2)
    target = Grid(*(Line(-end, 1.1 * end, 20 + i) for i, end in enumerate(ends)))
    found = on_sheared_axes(
        bump(np.asarray(grid.points), deviations), grid, steps, target
    )
    right = bump(np.asarray(target.points) @ np.linalg.inv(matrix).T, deviations)
    assert np.max(np.abs(found - right)) < 1e-9
    # With half of the nodes that are needed the waves of a step are lost.
    if ndim > 1 and kind == "rotation":
        half = Grid(*(Line(axis.lower, axis.upper, axis.n // 2) for axis in grid.axes))
        coarse = on_sheared_axes(
            bump(np.asarray(half.points), deviations), half, steps, target
        )
        assert np.max(np.abs(coarse - right)) > 1e-7
