"""Committors and mean first passage times against integrals: on a line, and radial ones
in the plane and in space.
"""

from typing import Any

import numpy as np

from . import drawing as draw
from .closed import committor, passage
from .drawing import Unit
from .elements import Elements
from .lines import axis, equation
from .problem import Claim, Problem
from .shapes import LEVELS, Shape, mesh

# what a field without an error claims: the largest error that its function says it
# accepts
DOCUMENTED = 1e-6


def field_problem(
    kind: str,
    seed: int,
    title: str,
    ask: Any,
    reference: Any,
    inside: Any,
    scale: float = 1.0,
    relative: bool = True,
) -> Problem:
    """A field on a grid against `reference(level)`, a function of points; compared
    where `inside` of the points holds.

    Errors are those of the largest difference, of a passage time relative to its
    largest value.
    """

    def values_of(found: Any) -> np.ndarray:
        return np.asarray(getattr(found, "values", found), float)

    def claim(found: Any) -> Claim:
        given = getattr(found, "error", None)
        if given is None:
            return Claim(values_of(found), np.array([DOCUMENTED]), told=False)
        # The reported error has the units of the values.
        size = np.abs(values_of(found)).max() if relative else 1.0
        return Claim(
            values_of(found), np.array([float(np.max(np.asarray(given))) / size])
        )

    def compare(found: Any) -> tuple[np.ndarray, np.ndarray]:
        grid = found.grid if hasattr(found, "grid") else ask.grid
        nodes = [np.asarray(a.nodes) / scale for a in grid.axes]
        points = nodes[0]
        if len(nodes) > 1:
            points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
        where = inside(points)
        right, other = reference(1)(points), reference(0)(points)
        size = np.abs(right[where]).max() if relative else 1.0
        true = np.abs(values_of(found) - right)[where].max() / size
        return np.array([true]), np.array(
            [np.abs(right - other)[where].max() / size + 1e-12]
        )

    return Problem(
        kind,
        seed,
        title,
        DOCUMENTED,
        ask,
        claim,
        compare,
        show=lambda found: f"{values_of(found)}",
    )


class Ask:
    """A call on a grid that is remembered: an array knows none."""

    def __init__(self, call: Any, grid: Any):
        self.call, self.grid = call, grid

    def __call__(self) -> Any:
        return self.call(self.grid)


def line(kind: str, seed: int) -> Problem:
    """On one axis, over a barrier."""
    import fpsolve as fp

    rng = draw.random(kind, seed)
    unit = Unit.draw(rng)
    d = draw.spread(rng, 0.1, 2.0)
    h = draw.spread(rng, 0.5, 12.0) * d
    a = rng.uniform(0.6, 2.0)
    shape = Shape(
        np.array([h / a**4, 0.0, -2 * h / a**2, rng.uniform(-0.3, 0.3) * h, h])
    )
    where = draw.pick(rng, "Line", "Reflecting")
    box = shape.window(d, draw.spread(rng, 20.0, 40.0))
    if where == "Reflecting":
        box = (-1.3 * a, 1.3 * a)
    n = int(draw.pick(rng, 48, 64, 96, 200))
    low, high = -a * rng.uniform(0.5, 1.0), a * rng.uniform(0.5, 1.0)
    left, right = low * unit.length, high * unit.length
    eq = equation(shape, d, unit)
    grid = fp.Grid(axis(where, box, n, unit))

    def reference(level: int) -> Any:
        start = box[0] if kind == "passage" else low
        # what is asked of a line without walls is the answer of the whole line
        start = (
            shape.window(d, 45.0)[0] if kind == "passage" and where == "Line" else start
        )
        ends = mesh(shape, d, (start, high), LEVELS[level][0] / 2)
        elements = Elements(ends, LEVELS[level][1])
        solve = passage if kind == "passage" else committor
        found = solve(elements, lambda x: -shape.u(x) / d, lambda x: np.full_like(x, d))
        return lambda x: found(x) * (unit.time if kind == "passage" else 1.0)

    if kind == "passage":
        call = lambda grid: fp.mean_first_passage_time(eq, grid, lambda x: x[0] > right)
        inside = lambda x: (x < high) & (x >= box[0])
    else:
        call = lambda grid: fp.committor(
            eq, grid, lambda x: x[0] < left, lambda x: x[0] > right
        )
        inside = lambda x: (x > low) & (x < high)
    title = f"{where} {n}, barrier {h / d:.2g} D{unit}"
    return field_problem(
        kind,
        seed,
        title,
        Ask(call, grid),
        reference,
        inside,
        unit.length,
        kind == "passage",
    )


def radial(seed: int) -> Problem:
    """The time to leave a ball, or the committor between two spheres, in a harmonic or
    flat potential.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("radial", seed)
    dims = int(draw.pick(rng, 2, 2, 3))
    d = draw.spread(rng, 0.2, 2.0)
    k = draw.pick(rng, 0.0, draw.spread(rng, 0.3, 3.0))
    outer = rng.uniform(1.0, 2.0)
    what = draw.pick(rng, "passage", "committor")
    inner = outer * rng.uniform(0.3, 0.6)
    n = int(draw.pick(rng, *draw.SIZES[dims]))
    half = outer * 1.15
    numbers = np.array([k])

    def reference(level: int) -> Any:
        # the smallest radius is that of a point: w = r^(dims - 1) exp(-U / D) vanishes
        # there
        ends = (
            np.linspace(inner, outer, 9)
            if what == "committor"
            else np.concatenate([[0.0], np.geomspace(1e-3, 1, 25)]) * outer
        )
        elements = Elements(ends, (10, 14)[level])
        log_w = lambda r: (dims - 1) * np.log(np.maximum(r, 1e-30)) - k * r**2 / (2 * d)
        solve = passage if what == "passage" else committor
        found = solve(elements, log_w, lambda r: np.full_like(r, d))
        return lambda x: found(np.linalg.norm(x, axis=-1))

    eq = fp.FokkerPlanck(lambda x: jnp.asarray(numbers)[0] * jnp.sum(x**2) / 2, d)
    grid = fp.Grid(*[axis("Reflecting", (-half, half), n)] * dims)
    if what == "passage":
        call = lambda grid: fp.mean_first_passage_time(
            eq, grid, lambda x: jnp.sum(x**2) > outer**2
        )
        inside = lambda x: np.linalg.norm(x, axis=-1) < outer
    else:
        call = lambda grid: fp.committor(
            eq,
            grid,
            lambda x: jnp.sum(x**2) < inner**2,
            lambda x: jnp.sum(x**2) > outer**2,
        )
        inside = lambda x: (
            (np.linalg.norm(x, axis=-1) < outer) & (np.linalg.norm(x, axis=-1) > inner)
        )
    title = f"{what}, {dims}-D, n {n}, {'harmonic' if k else 'flat'}"
    return field_problem(
        "radial",
        seed,
        title,
        Ask(call, grid),
        reference,
        inside,
        relative=what == "passage",
    )


KINDS = {
    "passage": lambda seed: line("passage", seed),
    "committor": lambda seed: line("committor", seed),
    "radial": radial,
}
