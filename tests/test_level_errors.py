"""Errors of levels against exact ones: never less than a third of the true error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.solve.level_errors import (
    errors_in_basis,
    errors_on_volumes,
    matched,
    miscounted,
)

VOLUMES = fp.ScharfetterGummel()
NOT_WARNED = pytest.mark.filterwarnings("ignore::fpsolve.AccuracyWarning")


def ring_levels(depth: float, wells: int, count: int) -> np.ndarray:
    """Levels of U = depth cos(wells x), D = 1, in 255 plane waves."""
    n = 255
    x = 2 * np.pi * np.arange(n) / n
    waves = np.fft.fftfreq(n, 1 / n)
    kinetic = np.real(np.fft.ifft(waves[:, None] ** 2 * np.fft.fft(np.eye(n)), axis=0))
    slope = -depth * wells * np.sin(wells * x)
    curvature = -depth * wells**2 * np.cos(wells * x)
    return np.linalg.eigvalsh(kinetic + np.diag(slope**2 / 4 - curvature / 2))[:count]


def check_told(modes: fp.Spectrum, truth: np.ndarray, floor: float = 1e-12) -> None:
    """Every true error is at most three times the one that is told, and half of them
    are told to a factor of 30.
    """
    true = np.abs(np.asarray(modes.values)[: len(truth)] - truth)
    told = np.asarray(modes.errors)[: len(truth)]
    assert np.all(true <= 3 * told + floor), (true, told)
    seen = true > 100 * floor
    assert not np.any(seen) or np.median(told[seen] / true[seen]) < 30, (true, told)


@NOT_WARNED
@pytest.mark.parametrize("scheme", [None, VOLUMES], ids=["basis", "volumes"])
def test_six_wells_on_a_ring(scheme):
    equation = fp.FokkerPlanck(lambda x: 3 * jnp.cos(6 * x[0]))
    modes = fp.spectrum(
        equation, fp.Grid(fp.Periodic(0.0, 2 * np.pi, 96)), 6, scheme=scheme
    )
    check_told(modes, ring_levels(3.0, 6, 6))


@NOT_WARNED
@pytest.mark.parametrize("reach", [4.0, 5.0, 6.0, 9.0])
def test_an_oscillator_in_narrow_and_wide_boxes(reach):
    grid = fp.Grid(fp.Line(-reach, reach, 32))
    for scheme in (None, VOLUMES):
        modes = fp.spectrum(
            fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), grid, 4, scheme=scheme
        )
        check_told(modes, np.arange(4.0))
    if reach == 5.0:
        narrow = fp.spectrum(fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), grid, 4)
        assert np.all(narrow.error_parts["box"][1:] > narrow.error_parts["algebra"][1:])


def test_a_turning_trap_has_no_spurious_rate_untold():
    """Truth: -x + 5 (y, -x) has the rates n + 5 i m; in a narrow box a grid shows
    others.
    """
    equation = fp.FokkerPlanck(
        lambda x: x @ x / 2, 1.0, lambda x: 5 * jnp.stack([x[1], -x[0]])
    )
    grid = fp.Grid(fp.Line(-4.0, 4.0, 16), fp.Line(-4.0, 4.0, 16))
    with pytest.warns(fp.AccuracyWarning, match="relative error"):
        modes = fp.spectrum(equation, grid, 6)
    exact = np.array(
        [m + 2 * n + 5j * s * m for n in range(4) for m in range(7) for s in (1, -1)]
    )
    distance = np.min(np.abs(np.asarray(modes.values)[:, None] - exact), axis=1)
    assert np.all(distance <= 3 * np.asarray(modes.errors))


def test_errors_are_part_of_the_program():
    """Under `jit` the errors are what one run shows."""
    grid = fp.Grid(fp.Line(-6.0, 6.0, 32))
    errors = jax.jit(
        lambda k: (
            fp.spectrum(fp.FokkerPlanck(lambda x: k * x[0] ** 2 / 2), grid, 4).errors
        )
    )(1.0)
    outside = fp.spectrum(
        fp.FokkerPlanck(lambda x: x[0] ** 2 / 2), grid, 4, check=False
    )
    assert np.allclose(errors, outside.errors, rtol=0.5)
    true = np.abs(np.asarray(outside.values) - np.arange(4.0))
    assert np.all(true <= 3 * np.asarray(errors))


def test_a_level_with_an_infinite_companion_is_not_known():
    """The potential is not finite beyond the box of the user: nothing is known, and the
    warning says so.
    """
    inside = lambda x: jnp.where(jnp.abs(x[0]) < 6.1, x[0] ** 2 / 2, jnp.nan)
    with pytest.warns(fp.AccuracyWarning):
        modes = fp.spectrum(fp.FokkerPlanck(inside), fp.Grid(fp.Line(-6.0, 6.0, 32)), 3)
    assert np.all(np.isnan(np.asarray(modes.errors)))


def test_the_order_is_observed():
    """Errors c h^p of levels on cells h, sqrt(2) h, 2 h are found for p from 1 to 2."""
    for order in (1.0, 1.5, 2.0):
        levels = [np.array([10.0 + 1e-3 * (2 ** (i / 2)) ** order]) for i in range(3)]
        assert errors_on_volumes(*levels) == pytest.approx(1e-3, rel=0.6)
        assert errors_on_volumes(*levels) >= 0.999e-3
    agree = [np.array([1.0, 2.0]), np.array([1.1, 2.0]), np.array([1.3, 2.0])]
    assert np.all(errors_in_basis(*agree) >= 0.1)  # the second level agrees by chance


def test_rates_are_paired_once():
    values = np.array([0.0, 1.0, 1.23, 2.0], complex)
    others = np.array([0.0, 1.0, 2.0, 0.5], complex)
    pairs = matched(values, others)
    assert pairs[[0, 1, 3]] == pytest.approx([0, 1, 2])
    assert abs(pairs[2] - values[2]) == pytest.approx(0.73)
    assert miscounted(values, np.append(others, 0.2), pairs) == pytest.approx(
        [0.0, 0.8, 1.03, 1.8]
    )


ROUGH = {
    "jump": lambda x, height: height * (jnp.abs(x[0]) < 0.5) + x[0] ** 2,
    "kink": lambda x, height: height * jnp.abs(x[0]) + x[0] ** 2 / 2,
}


@NOT_WARNED
@pytest.mark.parametrize("name", ROUGH)
def test_a_traced_run_tells_of_what_derivatives_do_not_see(name):
    grid = fp.Grid(fp.Line(-6.0, 6.0, 64))

    def levels(height):
        equation = fp.FokkerPlanck(lambda x: ROUGH[name](x, height))
        found = fp.spectrum(equation, grid, 2)
        return found.values, found.errors

    true, _ = levels(2.0)
    values, errors = jax.jit(levels)(2.0)
    wrong = float(abs(values[1] - true[1]))
    # Without the level of sqrt(pi) the error was 1e-12.
    assert wrong > 1e-2
    assert float(errors[1]) > wrong / 3
