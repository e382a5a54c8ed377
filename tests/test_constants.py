"""Every constant says where its value comes from; half and twice a free choice give the
same answers to tolerance.
"""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from constants import Answers, Change, Constant, answers_with, comments, constants
from fpsolve.anneal.velocity import velocity

CONSTANTS = constants()
LINE = fp.Grid(fp.Line(-3.0, 3.0, 40))
CELLS = fp.Grid(fp.Reflecting(-2.0, 2.0, 60))
PLANE = fp.Grid(fp.Line(-2.6, 2.6, 18), fp.Line(-3.2, 3.2, 16))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 24))
WELLS = fp.FokkerPlanck(lambda x: 1.5 * (x[0] ** 2 - 1) ** 2 + 0.2 * x[0], 0.7)
COUPLED = fp.FokkerPlanck(
    lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2 + 0.3 * x[0] * x[1], 0.8
)
PUSHED = fp.FokkerPlanck(lambda x: jnp.cos(x[0]), force=lambda x: 0.5 + 0 * x)
TRAP = fp.FokkerPlanck(lambda x, t: (x[0] - 0.5 * jnp.sin(2 * t)) ** 2, 0.5)
JUMP = fp.FokkerPlanck(lambda x, t: (1 + (t > 0.31)) * x[0] ** 2 / 2, 0.5)
START = fp.Gaussian(0.3, 0.1)


def evolve(equation: Any, grid: fp.Grid, times: Any, **options: Any) -> np.ndarray:
    start = (
        fp.Gaussian([0.3] * grid.ndim, 0.1)
        if grid is not RING
        else lambda x: 1 + 0.5 * jnp.sin(x[0])
    )
    return np.asarray(
        fp.evolve(equation, start, times, grid=grid, tol=1e-7, **options).values
    )


def static() -> Answers:
    """Static equations by every method."""
    volumes = fp.ScharfetterGummel()
    return {
        "spectral": evolve(WELLS, LINE, [0.3, 2.0]),
        "plane": evolve(COUPLED, PLANE, [0.2], scheme=volumes),
        "contracted": evolve(COUPLED, PLANE, [0.5], method=fp.Chebyshev((10, 8))),
        "rational": evolve(WELLS, CELLS, [0.3, 5.0], method=fp.Rational()),
        "implicit": evolve(
            PUSHED, RING, [0.5], scheme=volumes, method=fp.Implicit(order=3)
        ),
        "splitting": evolve(
            COUPLED, PLANE, [0.2], scheme=volumes, method=fp.Splitting(order=4)
        ),
        "uniformization": evolve(
            PUSHED, RING, [0.5], scheme=volumes, method=fp.Uniformization()
        ),
        "dense": evolve(WELLS, LINE, [0.3], method=fp.Dense()),
        "real time": evolve(
            fp.Schrodinger(lambda x: x[0] ** 2 / 2), LINE, [0.5], wick=np.pi / 2
        ),
    }


def moving() -> Answers:
    """Equations that depend on time."""
    return {
        "waves": evolve(TRAP, LINE, [0.4, 1.0]),
        "plane": evolve(
            fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 + x[1] ** 2, 0.8), PLANE, [0.3]
        ),
        "volumes": evolve(TRAP, CELLS, [0.4]),
        "a jump": evolve(JUMP, LINE, [0.6]),
    }


def levels() -> Answers:
    """Levels by every solver."""
    steep = fp.Grid(fp.Line(-2.2, 2.2, 64))
    many = fp.Grid(fp.Line(-2.6, 2.6, 36), fp.Line(-3.2, 3.2, 32))
    volumes = fp.ScharfetterGummel()
    return {
        "dense": np.asarray(fp.spectrum(WELLS, LINE, 3).values),
        "tensor": np.asarray(fp.spectrum(COUPLED, PLANE, 3).values),
        "ground": np.asarray(
            fp.spectrum(
                fp.Schrodinger(lambda x: x @ x / 2 + 0.2 * x[0] * x[1]), PLANE, 1
            ).values
        ),
        "multigrid": np.asarray(fp.spectrum(COUPLED, many, 2, scheme=volumes).values),
        "tridiagonal": np.asarray(
            fp.spectrum(WELLS, LINE.refine(10), 3, scheme=volumes).values
        ),
        "a small gap": np.asarray(
            fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(18.0)), steep)
        ),
        "irreversible": np.sort_complex(
            np.asarray(fp.spectrum(PUSHED, RING, 3).values)
        ),
    }


def fitted() -> Answers:
    """What a fit and the choice of a scheme lead to, not the grid itself."""
    mean = {"mean": lambda x: x[0]}
    run = fp.evolve(WELLS, START, [0.5], tol=1e-6, observables=mean)
    moved = fp.evolve(TRAP, START, [0.5], tol=1e-6, observables=mean)
    return {
        "mean": np.asarray(run.observables["mean"]),
        "moving mean": np.asarray(moved.observables["mean"]),
        "levels": np.asarray(fp.spectrum(WELLS, None, 3, tol=1e-8).values),
    }


def rare() -> Answers:
    """Rates of rare events."""
    left, right = (lambda x: x[0] < -0.9), (lambda x: x[0] > 0.9)
    return {
        "passage": np.asarray(fp.mean_first_passage_time(WELLS, CELLS, right)),
        "committor": np.asarray(fp.committor(COUPLED, PLANE, left, right)),
        "law": np.asarray(
            fp.eyring_kramers(WELLS, fp.Grid(fp.Line(-3.0, 3.0, 128))).gap
        ),
    }


def transported() -> Answers:
    """Along a path: transport, costs, schedules, velocities."""
    path = fp.Mix(fp.Harmonic(2.0), fp.Harmonic(4.0, center=0.5))
    grid = fp.Grid(fp.Line(-3.5, 3.5, 56))
    run = fp.transport(path, fp.schedule.smooth(2.0, 1), grid=grid)
    driven = fp.FokkerPlanck(fp.Driven(path, lambda t: t))
    counterdiabatic = fp.transport(
        path, fp.schedule.linear(0.3), grid=grid, counterdiabatic=True
    )
    return {
        "counterdiabatic": np.asarray(counterdiabatic.values)[-1],
        "lag": np.asarray(run.kl)[-1:],
        "work": np.asarray(run.work)[-1:],
        "bound": np.minimum(np.asarray(run.bound)[-1:], 1.0),
        "cost": np.asarray(fp.schedule.optimal(path, 2.0, grid=grid).cost_integral),
        "gap": np.asarray(fp.along(path, grid=grid).at(jnp.asarray([0.3])).gap),
        "velocity": np.asarray(velocity(driven, grid, 0.4).faces[0]),
    }


def scored() -> Answers:
    """Scores, exact and from samples."""
    samples = jax.random.normal(jax.random.key(0), (800, 1))
    box = fp.Grid(fp.Line(-6.0, 6.0, 24), fp.Line(-5.0, 5.0, 24))
    found = fp.score.reconstruct(lambda x: -x * jnp.asarray([1.0, 2.0]), box)
    estimate = fp.score.sampled_gap(samples, key=jax.random.key(1))
    return {"gap": np.asarray(found.gap), "sampled gap": np.asarray(estimate.value)}


def flowing() -> Answers:
    """Flows, and the fluid of a wave."""
    bump = lambda x: 1 + 0.5 * jnp.sin(x[0])
    turned = fp.evolve(
        fp.Continuity(lambda x, t: jnp.cos(2 * t) * jnp.sin(x)),
        bump,
        [0.4, 1.0],
        grid=RING,
        tol=1e-7,
    )
    still = fp.evolve(fp.Continuity(jnp.sin), bump, [0.4], grid=RING, tol=1e-7)
    fluid = fp.flow.madelung(jnp.exp(-(LINE.nodes[0] ** 2) + 1j * LINE.nodes[0]), LINE)
    return {
        "moving": np.asarray(turned.values),
        "static": np.asarray(still.values),
        "current": np.asarray(fluid.at([[0.3]]).current),
    }


# What the constants of all packages may change of each set of answers, relative to the
# largest value of an answer.
TOLERANCES: dict[Callable[[], Answers], float] = {
    static: 1e-5,
    moving: 1e-5,
    levels: 1e-5,
    fitted: 1e-5,
    rare: 1e-5,
    transported: 1e-3,
    flowing: 1e-5,
    scored: 0.1,  # statistics of 800 samples: the gap has a standard error of some 5 %
}


def test_every_constant_has_an_origin() -> None:
    assert [f"{c.package}.{c.name}" for c in CONSTANTS if len(c.origins) == 0] == []


def test_comments_are_read_above_and_beside_a_field() -> None:
    source = (
        "class C:\n    # above: derived\n    a: float = 1.0\n    b: int = 2  # beside: "
        "a free choice\n    c: int = 3\n"
    )
    assert comments(source) == {
        "a": "above: derived ",
        "b": "beside: a free choice ",
        "c": "",
    }


def free() -> list[Constant]:
    """The numbers that are free choices and no whole structure such as a sequence."""
    numeric = [
        c
        for c in CONSTANTS
        if isinstance(c.value, numbers.Real) and not isinstance(c.value, bool)
    ]
    return [c for c in numeric if "free choice" in c.origins]


def deviations(
    ask: Callable[[], Answers],
    changes: list[Change],
    base: Answers,
    patch: pytest.MonkeyPatch,
) -> list[str]:
    """The answers that change by more than the tolerance with these values, or the
    error that they cause.
    """
    try:
        found = answers_with(changes, ask, patch)
    # a deviation like any other
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"[:200]]
    apart = {
        name: np.max(np.abs(found[name] - value)) / np.max(np.abs(value))
        for name, value in base.items()
    }
    return [
        f"{name} changes by {size:.1e}"
        for name, size in apart.items()
        if not size <= TOLERANCES[ask]
    ]


def culprits(
    ask: Callable[[], Answers],
    changes: list[Change],
    base: Answers,
    patch: pytest.MonkeyPatch,
) -> dict[str, list[str]]:
    """The constants that change an answer by themselves, found by halving the set of
    those that are changed.
    """
    found = deviations(ask, changes, base, patch)
    if not found:
        return {}
    if len(changes) == 1:
        (package, name, value) = changes[0]
        return {f"{package}.{name} = {value:g}": found}
    middle = len(changes) // 2
    halves = changes[:middle], changes[middle:]
    return {
        name: why
        for half in halves
        for name, why in culprits(ask, half, base, patch).items()
    }


def test_the_constants_that_change_an_answer_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mutant: two constants of five change an answer, one of them makes it not a
    number.
    """
    shifts = {"b": 1e-3, "d": np.nan}

    def answers(changes: list[Change], ask: Any, patch: Any) -> Answers:
        return {
            "answer": np.ones(3)
            + sum(shifts.get(change.name, 0.0) for change in changes)
        }

    monkeypatch.setitem(globals(), "answers_with", answers)
    base = {"answer": np.ones(3)}
    change = lambda names: [Change("core", name, 2.0) for name in names]
    assert list(culprits(static, change("abcde"), base, monkeypatch)) == [
        "core.b = 2",
        "core.d = 2",
    ]
    assert culprits(static, change("ace"), base, monkeypatch) == {}


@pytest.mark.parametrize("ask", TOLERANCES, ids=lambda ask: ask.__name__)
def test_half_and_twice_a_free_choice_change_no_answer(
    ask: Callable[[], Answers], monkeypatch: Any
) -> None:
    base = answers_with([], ask, monkeypatch)
    for factor in (0.5, 2.0):
        changes = [Change(c.package, c.name, c.changed(factor)) for c in free()]
        assert culprits(ask, changes, base, monkeypatch) == {}
