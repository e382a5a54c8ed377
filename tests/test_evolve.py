"""`fp.evolve`: checkpoints, observables, starts, statistics, and values on another
grid.
"""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

GRID = fp.Grid(fp.Line(-6.0, 6.0, 48))
WELL = fp.FokkerPlanck(fp.Harmonic())
MOVING = fp.FokkerPlanck(lambda x, t: (x[0] - 0.3 * t) ** 2 / 2)
OSCILLATOR = fp.Schrodinger(fp.Harmonic())
START = fp.Gaussian(0.5, 0.6)
TIMES = [0.2, 0.5, 0.9]


def exact(grid: fp.Grid, t: float) -> jax.Array:
    """dX = -X dt + sqrt(2) dW from N(0.5, 0.6): N(0.5 e^-t, 1 - 0.4 e^-2t), not
    normalised on the grid.
    """
    return grid.sample(fp.Gaussian(0.5 * np.exp(-t), 1 - 0.4 * np.exp(-2 * t)))


def run(
    folder: Any = None, equation: Any = WELL, times: Any = TIMES, **options: Any
) -> fp.Solution:
    return fp.evolve(equation, START, times, grid=GRID, checkpoint=folder, **options)


@pytest.mark.parametrize("equation", [WELL, MOVING], ids=["still", "moving"])
def test_a_run_that_was_cut_resumes_to_the_same_bits(
    tmp_path: Path, equation: Any
) -> None:
    whole = run(tmp_path / "whole", equation)
    saved = sorted((tmp_path / "whole").glob("time_*.npz"))
    assert len(saved) == 3
    saved[2].unlink()
    saved[1].unlink()
    again = run(tmp_path / "whole", equation)
    np.testing.assert_array_equal(again.values, whole.values)
    np.testing.assert_array_equal(again.error, whole.error)
    assert again.stats == whole.stats
    fresh = run(tmp_path / "fresh", equation)
    np.testing.assert_array_equal(fresh.values, whole.values)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_an_interrupted_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fpsolve.solve.checkpoint import Checkpoint

    save = Checkpoint.save

    def interrupted(self: Checkpoint, index: int, *rest: Any) -> None:
        if index == 1:
            raise KeyboardInterrupt
        save(self, index, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    assert len(list((tmp_path / "cut").glob("time_*.npz"))) == 1
    np.testing.assert_array_equal(
        run(tmp_path / "cut").values, run(tmp_path / "whole").values
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"equation": fp.FokkerPlanck(fp.Harmonic(1.1))}, "equation"),
        ({"times": [0.2, 0.5, 1.0]}, "times"),
        ({"tol": 1e-6}, "tol"),
        ({"scheme": fp.ScharfetterGummel()}, "scheme"),
        ({"method": fp.Uniformization()}, "method"),
    ],
)
def test_another_problem_is_refused_and_nothing_overwritten(
    tmp_path: Path, change: dict, word: str
) -> None:
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused(lambda: run(tmp_path, **change), "checkpoint", word)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert json.loads((tmp_path / "problem.json").read_text())["wick"] == "0.0"


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    from fpsolve.core.files import write_atomically

    def fails(file: Any) -> None:
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "state.npz", fails)
    assert list(tmp_path.iterdir()) == []


def test_the_bar_shows(capsys: pytest.CaptureFixture) -> None:
    shown = run(progress=True)
    assert "3/3" in capsys.readouterr().err
    np.testing.assert_allclose(shown.values, run().values, rtol=0, atol=1e-11)


def test_observables_under_the_density_and_under_the_wave() -> None:
    observables = {
        "mean": lambda x: x[0],
        "moments": lambda x: jnp.stack([x[0], x[0] ** 2]),
    }
    seen = run(observables=observables, tol=1e-11).observables
    t = np.array(TIMES)
    mean, square = 0.5 * np.exp(-t), 1 - 0.4 * np.exp(-2 * t) + 0.25 * np.exp(-2 * t)
    assert seen["mean"].shape == (3,) and seen["moments"].shape == (3, 2)
    np.testing.assert_allclose(seen["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(seen["moments"], np.stack([mean, square], -1), atol=1e-6)
    coherent = lambda x: jnp.exp(-((x[0] - 1.0) ** 2) / 2)
    turned = fp.evolve(
        OSCILLATOR, coherent, TIMES, grid=GRID, wick=np.pi / 2, observables=observables
    )
    np.testing.assert_allclose(turned.observables["mean"], np.cos(t), atol=1e-7)
    assert turned.stats["picture"] == "wave" and "mass_drift" not in turned.stats


def test_time_zero_is_the_start() -> None:
    solution = run(times=[0.0, 0.4])
    np.testing.assert_allclose(
        solution.values[0], GRID.density(START), rtol=1e-12, atol=1e-15
    )
    # Nothing but what lies beyond the box.
    assert float(solution.errors["time"][0]) == 0.0 and float(solution.error[0]) < 1e-7


def test_starts_of_every_kind() -> None:
    field = GRID.density(START)
    first = run().values
    starts = {
        "function": lambda x: 7 * START(x),
        "array": field,
        "numpy": np.asarray(field),
        "list": field.tolist(),
    }
    for name, start in starts.items():
        other = fp.evolve(WELL, start, TIMES, grid=GRID).values
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-13, err_msg=name)
    twice = fp.evolve(WELL, 2 * field, TIMES, grid=GRID)
    np.testing.assert_allclose(twice.mass, 2.0, rtol=1e-9)


def test_statistics_results_and_errors() -> None:
    solution = run()
    assert solution.result == "successful"
    assert {
        "mass_drift",
        "min_density",
        "operator_calls",
        "scheme",
        "method",
        "picture",
    } <= set(solution.stats)
    assert solution.stats["mass_drift"] < 1e-8 and solution.stats["operator_calls"] > 0
    assert "because" in solution.stats["scheme"]
    assert "because" in solution.stats["method"]
    coarse = fp.evolve(
        MOVING,
        START,
        TIMES,
        grid=GRID,
        method=fp.Magnus(steps=4, extrapolate=False),
        tol=1e-12,
        throw=False,
    )
    assert coarse.result == "tolerance_not_reached"
    assert np.all(np.isfinite(coarse.error))
    fine = fp.evolve(MOVING, START, TIMES, grid=GRID, tol=1e-10, scheme=coarse.scheme)
    missed = GRID.integrate(jnp.abs(coarse.values - fine.values))
    assert np.all(missed <= 2 * coarse.error + 1e-10)
    with pytest.raises(fp.NumericalFailure, match="tolerance_not_reached"):
        fp.evolve(
            MOVING,
            START,
            TIMES,
            grid=GRID,
            method=fp.Magnus(steps=4, extrapolate=False),
            tol=1e-12,
        )


@pytest.mark.parametrize("box", [(-6.0, 6.0, 131), (-2.0, 1.5, 60)])
def test_spectral_values_on_another_grid(box: tuple[float, float, int]) -> None:
    coarse = fp.Grid(fp.Line(-9.0, 9.0, 72))
    solution = fp.evolve(
        WELL, exact(coarse, 0.0), [0.4], grid=coarse, scheme=fp.Spectral(), tol=1e-11
    )
    grid = fp.Grid(fp.Line(*box))
    np.testing.assert_allclose(solution.on(grid)[0], exact(grid, 0.4), atol=1e-9)


def test_finite_volumes_on_another_grid_keep_mass_and_order() -> None:
    errors = []
    for n in (24, 48, 96):
        solution = fp.evolve(
            WELL,
            START,
            [0.4],
            grid=fp.Grid(fp.Line(-6.0, 6.0, n)),
            scheme=fp.ScharfetterGummel(),
        )
        fine = solution.grid.refine(3)
        moved = solution.on(fine)
        assert abs(float(fine.integrate(moved)[0] - solution.mass[0])) < 1e-13
        errors.append(float(fine.integrate(jnp.abs(moved[0] - exact(fine, 0.4)))))
    assert np.log2(errors[0] / errors[1]) > 1.85
    assert np.log2(errors[1] / errors[2]) > 1.85


def test_values_elsewhere_are_refused() -> None:
    solution = run()
    refused(
        lambda: solution.on(fp.Grid(fp.Line(-7.0, 6.0, 32))),
        "grid",
        "Line(-7, 6, 32)",
        "within",
    )
    refused(lambda: solution.on(fp.Grid(*[fp.Line(-1.0, 1.0, 8)] * 2)), "grid", "1 ax")


def test_wave_and_density_are_two_views() -> None:
    field = GRID.density(START)
    np.testing.assert_allclose(
        WELL.to_density(WELL.to_wave(field, GRID), GRID), field, rtol=1e-13
    )
    image = fp.evolve(
        WELL.schrodinger(),
        WELL.to_wave(field, GRID),
        TIMES,
        grid=GRID,
        scheme=fp.Spectral(),
        tol=1e-10,
    )
    density = run(scheme=fp.Spectral(), tol=1e-10)
    np.testing.assert_allclose(
        WELL.to_density(image.values, GRID), density.values, atol=2e-8
    )


def test_ito_and_flux_forms_agree() -> None:
    diffusion = lambda x: 1 + 0.3 * jnp.cos(x)
    ring = fp.Grid(fp.Periodic(-np.pi, np.pi, 40))
    ito = fp.FokkerPlanck.ito(lambda x: jnp.sin(x), diffusion)
    flux = fp.FokkerPlanck(diffusion=diffusion, force=lambda x: 1.3 * jnp.sin(x))
    answers = [
        fp.evolve(equation, START, [0.3], grid=ring).values for equation in (ito, flux)
    ]
    np.testing.assert_allclose(*answers, atol=1e-13)


def test_potentials_and_forces_of_every_kind() -> None:
    mlp = eqx.nn.MLP(1, "scalar", 8, 1, activation=jnp.tanh, key=jax.random.key(0))
    push = eqx.nn.MLP(1, 1, 8, 1, activation=jnp.tanh, key=jax.random.key(1))
    sampled = fp.Sampled(GRID, GRID.sample(fp.Harmonic()))
    mixture = fp.GaussianMixture([[-1.0], [1.0]], 0.4)
    for equation in (
        fp.FokkerPlanck(fp.Harmonic() + mlp),
        fp.FokkerPlanck(fp.Harmonic(), force=push),
        fp.FokkerPlanck(mixture),
        fp.FokkerPlanck(sampled),
    ):
        solution = run(equation=equation, times=[0.3], scheme=fp.ScharfetterGummel())
        assert solution.result == "successful"
        assert abs(float(solution.mass[0]) - 1) < 1e-12
    same = run(times=[0.3], scheme=fp.ScharfetterGummel())
    np.testing.assert_allclose(solution.values, same.values, atol=1e-10)
    late = fp.evolve(
        fp.FokkerPlanck(mixture),
        START,
        [60.0],
        grid=GRID,
        scheme=fp.ScharfetterGummel(),
    )
    shape = jax.vmap(mixture.density)(GRID.points)
    np.testing.assert_allclose(late.values[0], shape / GRID.integrate(shape), atol=1e-9)


def test_entries_below_zero_by_rounding_are_no_fault_of_a_start() -> None:
    equation = fp.FokkerPlanck(fp.Harmonic())
    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    start = np.array(grid.density(fp.Gaussian(0.3, 0.5)))
    clean = fp.evolve(equation, np.where(start < 1e-9, 0, start), [0.0, 0.5], grid=grid)
    start[start < 1e-9] = -9e-14
    run = fp.evolve(equation, start, [0.0, 0.5], grid=grid)
    np.testing.assert_array_equal(run.values, clean.values)
    assert "set to zero" in run.stats["initial"]
    assert "initial" not in clean.stats
    assert float(jnp.min(grid.density(start))) == 0


def test_a_result_with_negative_entries_within_the_tolerance_is_a_start() -> None:
    equation = fp.FokkerPlanck(fp.Harmonic())
    grid = fp.Grid(fp.Line(-6.0, 6.0, 64))
    density = fp.Gaussian(1.0, 0.3)
    start = np.array(grid.density(density))
    start[60] = -6e-9 * np.max(start)
    run = fp.evolve(equation, start, [0.5], grid=grid, tol=1e-6)
    exact = grid.sample(fp.Gaussian(np.exp(-0.5), 1 - 0.7 * np.exp(-1.0)))
    assert run.result == "successful" and "set to zero" in run.stats["initial"]
    true = float(grid.integrate(jnp.abs(run.values[0] - exact)))
    # The mass that was set to zero is an error of the start, and no other part knows
    # it.
    negative = 6e-9 * float(np.max(start)) * 12 / 64
    assert true / 3 < float(run.error[0]) < 1e-6
    assert float(run.errors["start"][0]) >= 0.99 * negative
    refused(
        lambda: fp.evolve(equation, start, [0.5], grid=grid, tol=1e-10),
        "initial",
        "at least zero",
    )
