"""Programs are compiled for shapes: a second potential of the same shape compiles what
samples it, and nothing else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fpsolve as fp
from fpsolve.core import program
from fpsolve.core.program import sampling_program

COMPILED = "/jax/core/compile/backend_compile_duration"
LINE = fp.Grid(fp.Line(-6.0, 6.0, 48))
PLANE = fp.Grid(fp.Line(-2.6, 2.6, 24), fp.Line(-3.2, 3.2, 20))
_counts: list[int] = []


def _count(event: str, duration: float, **_: Any) -> None:
    if event == COMPILED and _counts:
        _counts[-1] += 1


jax.monitoring.register_event_duration_secs_listener(_count)


@contextmanager
def counted() -> Iterator[list[int]]:
    """The number of programs compiled inside, in a list."""
    _counts.append(0)
    found: list[int] = []
    try:
        yield found
    finally:
        found.append(_counts.pop())


def wells(shape: int) -> list[Callable[[Any], Any]]:
    """Four potentials on a line or in the plane: two that differ in numbers alone, two
    other formulas.
    """
    if shape == 1:
        return [
            lambda x: x[0] ** 2 / 2,
            lambda x: x[0] ** 2 / 2.2,
            lambda x: x[0] ** 2 / 2 + jnp.cos(x[0]) / 5,
            lambda x: x[0] ** 2 / 2 + jnp.tanh(x[0]) / 3,
        ]
    return [
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 * (1 + x[0] ** 2),
        lambda x: (x[0] ** 2 - 1.1) ** 2 + x[1] ** 2 * (1.2 + x[0] ** 2),
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 + x[0] * x[1] / 3,
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 * (1 + jnp.tanh(x[0]) / 2),
    ]


def evolve(potential: Any, grid: fp.Grid) -> fp.Solution:
    start = fp.Gaussian([-1.0, 0.0][: grid.ndim], 0.1)
    return fp.evolve(
        fp.FokkerPlanck(potential),
        start,
        [0.1, 1.0],
        grid=grid,
        scheme=fp.Spectral(),
        tol=1e-5,
    )


def moving(potential: Any, grid: fp.Grid) -> fp.Solution:
    dragged = lambda x, t: potential(x - jnp.sin(t) / 2)
    return fp.evolve(
        fp.FokkerPlanck(dragged), fp.Gaussian(0.0, 0.8), [0.5, 1.0], grid=grid, tol=1e-6
    )


# What a second potential may compile: the programs that read it, of which a static one
# needs two (validation with the samples, and a look between the nodes), which serve its
# companion grids as well. A moving one needs four (later samples, breakpoints, an
# interval), most of them once more for each companion, and one program for each
# comparison.
ASKS = {
    "evolve, line": (lambda U: evolve(U, LINE), 1, 2),
    "evolve, plane": (lambda U: evolve(U, PLANE), 2, 2),
    "evolve, moving": (lambda U: moving(U, LINE), 1, 13),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_second_potential_compiles_what_samples_it(name: str) -> None:
    ask, shape, most = ASKS[name]
    first, numbers, other, another = wells(shape)
    ask(first)
    ask(other)  # another branch of the choices may need a program of its own
    with counted() as same:
        ask(numbers)
    with counted() as new:
        ask(another)
    assert same[0] == 0, "other numbers in the same formula need no program"
    assert new[0] <= most


def spectrum(potential: Any, grid: fp.Grid) -> fp.Spectrum:
    return fp.spectrum(fp.FokkerPlanck(potential), grid, 3)


def pushed(potential: Any, grid: fp.Grid) -> fp.Solution:
    equation = fp.FokkerPlanck(potential, force=lambda x: 0.2 + 0 * x)
    return fp.evolve(
        equation,
        fp.Gaussian(0.0, 0.5),
        [0.3],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
        tol=1e-5,
    )


# What another box of the same shape may compile: of a basis on lines at most a branch
# of the choices; of all else the programs that read functions at its places.
BOXES = {
    "evolve, line": (evolve, 1, 0),
    "evolve, plane": (evolve, 2, 1),
    "evolve, volumes": (pushed, 1, 7),
    "evolve, moving": (moving, 1, 12),
    "spectrum, plane": (spectrum, 2, 3),
}


@pytest.mark.parametrize("name", BOXES)
def test_another_box_compiles_what_samples_it(name: str) -> None:
    ask, ndim, most = BOXES[name]
    potential = wells(ndim)[0]
    grid = LINE if ndim == 1 else PLANE
    boxes = [
        fp.Grid(*(fp.Line(a.lower - w, a.upper + w / 2, a.n) for a in grid.axes))
        for w in (0.11, 0.17)
    ]
    ask(potential, grid)
    # another branch of the choices may need a program of its own
    ask(potential, boxes[0])
    with counted() as found:
        answer = ask(potential, boxes[1])
    assert found[0] <= most
    assert answer.grid == boxes[1]


@pytest.mark.parametrize("wick", [0.0, 1.2])
def test_a_solution_is_in_the_units_of_its_grid(wick: float) -> None:
    """A ring of 1e-3 and one of 1e3, whose densities differ by the length alone."""
    numbers = []
    for length in (1e-3, 1.0, 1e3):
        grid = fp.Grid(fp.Periodic(0.0, length, 32))
        turn = 2 * jnp.pi / length
        energy = lambda x, turn=turn: jnp.cos(turn * x[0])
        start = lambda x, turn=turn: jnp.exp(jnp.sin(turn * x[0]))
        diffusion = (length / 7) ** 2
        if wick:
            found = fp.evolve(
                fp.Schrodinger(energy, diffusion),
                start,
                [0.0, 0.4],
                grid=grid,
                wick=wick,
            )
            assert jnp.array_equal(found.values[0], grid.sample(start))
            numbers.append(found.values[1])
        else:
            equation = fp.FokkerPlanck(
                lambda x, u=energy, d=diffusion: d * u(x), diffusion
            )
            given = grid.density(start)
            found = fp.evolve(equation, given, [0.0, 0.4], grid=grid)
            assert jnp.array_equal(found.values[0], given)
            numbers.append(found.values[1] * length)
            assert abs(float(grid.integrate(found.values[1])) - 1) < 1e-13
    assert float(jnp.max(jnp.abs(numbers[0] - numbers[1]))) < 1e-9
    assert float(jnp.max(jnp.abs(numbers[2] - numbers[1]))) < 1e-9


def test_a_flag_that_xla_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a version that the flags were not tried with
    monkeypatch.setattr(jax, "__version_info__", (99, 0, 0))
    assert program._is_known("xla_backend_optimization_level", 0)
    assert not program._is_known("xla_cpu_no_such_flag", 1)


def test_the_count_can_fail() -> None:
    with counted() as found:
        jax.jit(lambda x: x + jnp.pi)(jnp.ones(7)).block_until_ready()
    assert found[0] >= 1


def test_the_first_evolve_compiles_few_programs() -> None:
    grid = fp.Grid(fp.Line(-2.2, 2.2, 46), fp.Line(-3.6, 3.6, 34))
    well = lambda x: 3 * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2
    with counted() as found:
        fp.evolve(
            fp.FokkerPlanck(well), fp.Gaussian([-1.0, 0.0], 0.04), [0.5, 1.0], grid=grid
        )
    assert found[0] <= 10


def test_a_solution_may_be_returned_from_jit() -> None:
    solve = jax.jit(
        lambda k: fp.evolve(
            fp.FokkerPlanck(lambda x: k * x[0] ** 2 / 2),
            fp.Gaussian(0.3, 0.5),
            [1.0],
            grid=LINE,
        )
    )
    found = solve(2.0)
    mean = float(LINE.integrate(found.values[0] * LINE.nodes[0]))
    assert abs(mean - 0.3 * jnp.exp(-2.0)) < 1e-6 and found.result == "successful"


def test_a_missing_array_is_not_taken_for_one_that_is_there() -> None:
    @sampling_program
    def add(pair: tuple[Any, Any]) -> Any:
        first, second = pair
        return first if second is None else (first + second, second)

    ones = jnp.ones(3)
    assert jnp.array_equal(add((ones, None)), ones)
    assert jnp.array_equal(add((ones, ones))[0], 2 * ones)
    assert jnp.array_equal(add((ones, None)), ones)
