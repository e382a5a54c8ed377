"""The references of `benchmarks/effectivity.py` against closed forms, and its judgement
on planted answers.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocks import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the folder, as the command imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import effectivity
    from calibration import closed, drawing, elements, planes, problem, shapes, tables

    parts = {
        "closed": closed,
        "drawing": drawing,
        "elements": elements,
        "planes": planes,
    }
    parts |= {
        "problem": problem,
        "shapes": shapes,
        "tables": tables,
        "command": effectivity,
    }
    return type("Bench", (), parts)


def test_elements_follow_an_oscillator_from_starts_of_any_width(bench: Any) -> None:
    k, d, x = 1.7, 0.4, np.linspace(-3, 3, 201)
    shape = bench.shapes.Shape(np.array([k / 2, 0.0, 0.0]))
    for mean, variance in ((0.5, 1e-8), (2.0, 0.01), (-1.0, 0.3)):
        start = bench.closed.Normal(np.array([mean]), np.array([[variance]]))
        window = shape.window(d, also=bench.drawing.around(start))
        run = bench.shapes.process(
            shape, d, window, 1, spike=bench.drawing.spike(start, d, 0.05)
        )
        found = run.evolve(start, [0.05, 0.2], bench.drawing.knots(start))
        for t, density in zip((0.05, 0.2), found, strict=True):
            right = bench.closed.linear_moments(
                np.array([[k]]), np.array([[d]]), start, t
            )
            width = d / k + (variance - d / k) * np.exp(-2 * k * t)
            np.testing.assert_allclose(
                [right.mean[0], right.covariance[0, 0]],
                [mean * np.exp(-k * t), width],
                1e-12,
            )
            assert np.sum(np.abs(density(x) - right(x))) < 1e-7 * np.sum(right(x))


@pytest.mark.parametrize("walls", ["reflecting", "absorbing", "periodic"])
def test_elements_agree_with_the_series_of_heat(bench: Any, walls: str) -> None:
    start = bench.closed.Normal(np.array([0.4]), np.array([[0.003]]))
    e = bench.elements.Elements(
        np.linspace(0, 1, 9), 12, walls == "periodic", (walls == "absorbing",) * 2
    )
    run = bench.elements.Process(e, np.ones_like, lambda x: 0.3 + 0 * x)
    (density,) = run.evolve(start, [0.05], bench.drawing.knots(start))
    x = np.linspace(0, 1, 60)
    np.testing.assert_allclose(
        density(x), bench.closed.heat(start, 1.0, walls, 0.3, 0.05)(x), atol=1e-8
    )


def test_jumps_have_the_stationary_densities_of_quadrature(bench: Any) -> None:
    shape = bench.shapes.Shape(steps=np.array([[0.3, 2.0], [0.6, -2.0]]))
    run = bench.shapes.process(shape, 1.0, (0.0, 1.0), 1, periodic=True, force=3.0)
    assert run.stationary().mean(lambda x: (x > 0.3) & (x < 0.6)) == pytest.approx(
        0.0707, abs=5e-5
    )
    # dX = sqrt(2 D) dW in the form of Itô: p as 1/D
    e = bench.elements.Elements(np.linspace(0, 2, 5), 8)
    run = bench.elements.Process(e, lambda x: np.where(x < 1, 1.0, 1 / 3), np.ones_like)
    assert run.stationary().mean(lambda x: x < 1) == pytest.approx(0.75, abs=1e-12)
    saw = bench.shapes.Shape(
        np.array([(1.25 - 5) / 2, 0.0]), kinks=np.array([[0.8, -(1.25 + 5) / 2]])
    )
    run = bench.shapes.process(saw, 0.2, (0.0, 1.0), 1, periodic=True, force=0.5)
    assert run.stationary().mean(lambda x: np.cos(2 * np.pi * x)) == pytest.approx(
        0.40240, abs=2e-5
    )


def test_levels_agree_with_closed_forms(bench: Any) -> None:
    e = bench.elements.Elements(np.linspace(-3, 24, 60), 12)
    morse = bench.elements.Waves(e, 0.5, lambda x: 20 * (1 - np.exp(-x)) ** 2).levels(4)
    np.testing.assert_allclose(morse, bench.closed.morse(20.0, 1.0, 0.5)[:4], rtol=1e-9)
    e = bench.elements.Elements(np.linspace(-14, 14, 41), 12)
    well = bench.elements.Waves(
        e, 0.7, lambda x: -0.7 * 3.4 * 4.4 / np.cosh(x) ** 2
    ).levels(3)
    np.testing.assert_allclose(
        well, bench.closed.poeschl_teller(3.4, 1.0, 0.7)[:3], rtol=1e-9
    )
    rates = bench.closed.sums([1.0 + 2.0j, 1.0 - 2.0j], 6)
    np.testing.assert_allclose(np.sort(rates.real), [0, 1, 1, 2, 2, 2])


def test_gaps_and_times_by_integrals(bench: Any) -> None:
    shape = bench.shapes.Shape(np.array([3.0, 0.0, -6.0, 0.3, 3.0]))
    ends = bench.shapes.mesh(shape, 0.5, shape.window(0.5, 60.0), 1.5)
    e = bench.elements.Elements(ends, 12)
    gap = bench.closed.gap_by_kernel(e, lambda x: -shape.u(x) / 0.5, 0.5)
    levels = bench.shapes.rates(shape, 0.5, shape.window(0.5, 60.0), 2, 1)
    # Levels of the whole matrix are rounded to eps |H|, which is 1e-7 of this gap,
    # differently for each BLAS.
    assert gap == pytest.approx(levels[1], rel=1e-6)
    e = bench.elements.Elements(np.linspace(1e-9, 1.5, 9), 10)
    for d in (1, 2, 3):  # the exit from a ball: (R^2 - r^2) / (2 d D)
        tau = bench.closed.passage(
            e, lambda r, d=d: (d - 1) * np.log(r), lambda r: 0.3 + 0 * r
        )
        assert float(tau(np.array(0.5))) == pytest.approx(
            (2.25 - 0.25) / (2 * d * 0.3), rel=1e-8
        )
    e = bench.elements.Elements(np.linspace(0.5, 2, 9), 12)
    # between spheres, as 1/r
    q = bench.closed.committor(e, lambda r: 2 * np.log(r), np.ones_like)
    assert float(q(np.array(1.0))) == pytest.approx((2 - 1) / (2 - 0.5), rel=1e-9)


def test_moments_of_a_moving_trap_give_its_work(bench: Any) -> None:
    knots = np.linspace(0, 1, 8)
    lam = [0, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 1]
    c = lambda t: 3 * np.interp(t, knots, lam)
    slope = lambda t: 3 * np.diff(lam)[min(int(t * 7), 6)] * 7
    power = lambda t, m, v: 4 * (c(t) - m) * slope(t)
    found = bench.closed.driven_moments(
        lambda t: 4.0, c, 1.0, (0.0, 0.25), [1.0], knots[1:-1], power
    )
    assert found[0, 1] == pytest.approx(0.25, rel=1e-10)
    assert found[0, 2] == pytest.approx(6.32376, abs=1e-5)


def test_products_in_turned_axes_are_densities(bench: Any) -> None:
    normals = [
        bench.closed.Normal(np.array([m]), np.array([[v]]))
        for m, v in ((0.3, 0.5), (-0.2, 0.1))
    ]
    turn = bench.drawing.rotation(np.random.default_rng(0), 2)
    density = bench.planes.product(normals, turn)
    whole = bench.closed.Normal(
        turn @ np.array([0.3, -0.2]), turn @ np.diag([0.5, 0.1]) @ turn.T
    )
    points = np.random.default_rng(1).normal(size=(5, 4, 2))
    np.testing.assert_allclose(density(points), whole(points), rtol=1e-12)


@dataclasses.dataclass
class Answer:
    """What a planted call returns."""

    values: float
    error: float
    code: str = "successful"


def planted(bench: Any, answer: Answer | Exception, right: float = 1.0) -> Any:
    """A problem whose call returns `answer`."""

    def ask() -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return bench.problem.Problem(
        kind="planted",
        seed=3,
        title="",
        tol=1e-6,
        ask=ask,
        claim=lambda a: bench.problem.Claim(a.values, np.array([a.error]), a.code),
        compare=lambda a: (np.array([abs(a.values - right)]), np.array([1e-12])),
    )


def test_a_wrong_answer_without_a_word_is_silent_and_no_other_is(bench: Any) -> None:
    silent = lambda answer: bench.problem.solve(planted(bench, answer))["silent"]
    assert silent(Answer(1.1, 1e-8))
    assert silent(Answer(float("nan"), 1e-8))
    assert silent(Answer(1.1, 0.0333))
    assert not silent(Answer(1.1, 0.0334))
    assert not silent(Answer(1.1, float("nan")))  # nothing was claimed
    assert not silent(Answer(1.1, 1e-8, "tolerance_not_reached"))
    assert not silent(Answer(1 + 1e-13, 0.0))  # within the rounding of the reference
    row = bench.problem.solve(planted(bench, ValueError("grid = 3: too few")))
    assert row["outcome"] == "refused" and row["message"] == "grid = 3: too few"


def test_the_command_counts_and_names_silent_errors(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = {"good": Answer(1.0, 1e-9), "bad": Answer(1.1, 1e-9)}
    kinds = {name: lambda seed, a=a: planted(bench, a) for name, a in answers.items()}
    monkeypatch.setattr(bench.command, "all_kinds", lambda: kinds)
    monkeypatch.setattr(bench.command, "ready", lambda: None)
    out = tmp_path / "rows.json"
    assert (
        bench.command.main(["--kinds", "good", "--count", "3", "--out", str(out)]) == 0
    )
    assert len(json.loads(out.read_text())["rows"]) == 3
    assert bench.command.main(["--count", "4", "--out", str(out)]) == 1
    assert "silent `planted:3`" in capsys.readouterr().out
    assert bench.command.main(["--only", "bad:3"]) == 1


@pytest.mark.parametrize(
    "problem",
    [
        "features:31000018",
        "features:51000005",
        "walls:51000010",
        "jitted:31000025",
        "jitted:97000010",
        "jitted:127000001",
        "plane_fitted:127000004",
        "single:31000003",
    ],
)
def test_what_was_once_wrong_in_silence_is_told(bench: Any, problem: str) -> None:
    """Starts whose error two answers shared by chance; a box that mass reached early; a
    wave that
    enters at the other end of the box, or oscillates between the nodes; what walls left
    in float32.
    """
    kind, seed = problem.split(":")
    bench.command.ready()
    row = bench.problem.solve(bench.command.all_kinds()[kind](int(seed)))
    assert not row["silent"], row
