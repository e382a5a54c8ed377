"""Bridges that are refused, and bridges whose failure has a name."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

LINE = fp.Grid(fp.Line(-6.0, 6.0, 72))


def test_bad_input(nothing_is_computed: Any) -> None:
    free = fp.FokkerPlanck(None, 0.5)
    a = fp.Gaussian(-1.0, 0.3)
    b = fp.Gaussian(1.0, 0.3)
    density = np.asarray(LINE.density(b))
    ask = lambda *given, **options: (
        lambda: fp.bridge(*given, **{"grid": LINE, **options})
    )
    refused(ask(free, a, 1.01 * density, 1.0), "the mass of end", "1.01")
    refused(ask(free, -density, b, 1.0), "start", "at least zero")
    refused(ask(free, a, density[:-1], 1.0), "end.shape")
    refused(ask(free, a, b, 0.0), "total")
    refused(ask(free, a, b, 1.0, times=[0.5, 1.1]), "times", "1.1")
    refused(ask(free, a, b, 1.0, times=[-0.1]), "times")
    refused(ask(free, a, b, 1.0, through=[(1.5, a)]), "through[0] time", "1.5")
    refused(ask(free, a, b, 1.0, through=a), "through")
    refused(
        ask(fp.FokkerPlanck(fp.Harmonic(), force=lambda x: 0.1 * x), a, b, 1.0), "force"
    )
    refused(ask(fp.Schrodinger(fp.Harmonic()), a, b, 1.0), "equation")
    refused(ask(free, fp.Gaussian(40.0, 0.1), b, 1.0), "start")


def test_no_common_support_with_the_reference() -> None:
    # Through a wall of height 4000 D no path comes.
    wall = fp.FokkerPlanck(
        lambda x: 4000 * jnp.exp(-((x[0] / 0.5) ** 2)) + x[0] ** 2 / 4, 1.0
    )
    grid = fp.Grid(fp.Line(-6.0, 6.0, 96))
    message = refused(
        lambda: fp.bridge(
            wall,
            fp.Gaussian(-3.0, 0.1),
            fp.Gaussian(3.0, 0.1),
            1e-3,
            grid=grid,
            check=False,
        ),
        "not reached",
    )
    assert "x = (" in message


def test_waves_that_vary_within_a_cell_are_a_named_failure() -> None:
    """Near an end the wave of a narrow peak in a steep well varies by orders of
    magnitude from node to node.
    """
    well = fp.FokkerPlanck(lambda x: 2 * (x[0] ** 2 - 1) ** 2, 0.5)
    bump = lambda x, center, width: (
        jnp.exp(-(((x[0] - center) / width) ** 2) / 2) / width
    )
    start = lambda x: 0.65 * bump(x, -1.3, 0.12) + 0.35 * bump(x, -0.75, 0.15)
    end = lambda x: 0.3 * bump(x, 0.0, 0.12) + 0.7 * bump(x, 1.1, 0.2)
    options = {
        "grid": fp.Grid(fp.Line(-2.6, 2.6, 128)),
        "times": [0.5, 0.9975],
        "check": False,
    }
    with pytest.raises(
        fp.NumericalFailure,
        match=r"mass_not_kept: .*change of mass .*e\+.*farther from the ends",
    ):
        fp.bridge(well, start, end, 1.0, **options)
    found = fp.bridge(well, start, end, 1.0, throw=False, **options)
    assert found.result == "mass_not_kept"
    assert found.errors["iteration"][1] > 1 > 1e-6 > found.errors["iteration"][0]
