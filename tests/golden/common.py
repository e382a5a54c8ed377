"""What the problems of the golden record share: how one is declared, what is read off a
result, grids, functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import fpsolve as fp

EXACT = 1e-11
FINE = 1e-12  # asked of methods that are exact in time
# three times the relative error that `spectrum` is asked for where it iterates
LEVELS = 3e-10

Answer = dict[str, Any]


class Problem(NamedTuple):
    """A question with its place in the record and how far an answer may be from the one
    recorded.
    """

    name: str
    section: str
    ask: Callable[[], Answer]
    quick: bool
    tol: float
    # tolerances of single quantities, by the beginning of their names
    loose: Mapping[str, float]

    def allowed(self, quantity: str) -> float:
        """The tolerance of one quantity, relative to its largest entry."""
        fitting = [
            tol for start, tol in self.loose.items() if quantity.startswith(start)
        ]
        return max(fitting) if fitting else self.tol


PROBLEMS: dict[str, Problem] = {}
_section = ""


def section(name: str) -> None:
    """Begin a section: the problems that follow belong to it."""
    global _section
    _section = name


def problem(
    *, quick: bool = False, tol: float = EXACT, loose: Mapping[str, float] | None = None
) -> Any:
    """Enter a function into the record under its own name."""

    def enter(ask: Callable[[], Answer]) -> Callable[[], Answer]:
        name = ask.__name__
        if name in PROBLEMS:
            raise ValueError(f"two problems are called {name}")
        PROBLEMS[name] = Problem(name, _section, ask, quick, tol, loose or {})
        return ask

    return enter


# --------------------------------------------------------------------------------------
# what is read off


def first_word(text: str) -> str:
    """The choice itself, without its reason."""
    return text.split(",")[0]


def reported(solution: fp.Solution, prefix: str = "") -> Answer:
    """Values, mass, observables and choices of a run."""
    words = solution.stats
    answer: Answer = {
        "values": solution.values,
        "scheme": first_word(words["scheme"]),
        "method": first_word(words["method"]),
        "picture": words["picture"],
        "result": solution.result,
    }
    if isinstance(solution.equation, fp.FokkerPlanck):
        answer["mass"] = solution.mass
    answer |= {
        f"observable {name}": value for name, value in solution.observables.items()
    }
    return {prefix + name: value for name, value in answer.items()}


def axes_of(grid: fp.Grid, prefix: str = "") -> Answer:
    """Kinds, bounds and numbers of nodes of the axes of a grid."""
    return {
        f"{prefix}kinds": " x ".join(type(axis).__name__ for axis in grid.axes),
        f"{prefix}nodes": " x ".join(str(axis.n) for axis in grid.axes),
        f"{prefix}bounds": np.asarray([[axis.lower, axis.upper] for axis in grid.axes]),
    }


def modes_of(modes: fp.Spectrum, prefix: str = "", vectors: bool = True) -> Answer:
    """Levels, multiplicities and choices; squares of the modes, whose signs are free,
    where no level is degenerate.
    """
    answer: Answer = {
        "levels": modes.values,
        "multiplicities": modes.multiplicities,
        "scheme": first_word(modes.stats["scheme"]),
        "method": first_word(modes.stats["method"]),
    }
    if vectors:
        answer["vectors squared"] = jnp.abs(modes.vectors) ** 2
    return {prefix + name: value for name, value in answer.items()}


# --------------------------------------------------------------------------------------
# grids and functions

LINE = fp.Grid(fp.Line(-2.5, 2.5, 32))
WALLS = fp.Grid(fp.Reflecting(-1.7, 2.1, 32))
SINK = fp.Grid(fp.Absorbing(-2.0, 2.0, 32))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 32))
POLYNOMIALS = fp.Grid(fp.Legendre(-2.0, 2.0, 24))
WIDE = fp.Grid(fp.Line(-7.0, 7.0, 64))
PLANE = fp.Grid(fp.Line(-2.6, 2.6, 28), fp.Line(-3.2, 3.2, 24))
SMALL_PLANE = fp.Grid(fp.Line(-2.2, 2.2, 14), fp.Line(-2.6, 2.6, 12))
SWIRL_PLANE = fp.Grid(fp.Line(-5.0, 5.0, 24), fp.Line(-5.0, 5.0, 24))

VOLUMES = fp.ScharfetterGummel()
ROOTS = fp.SquareRoot()
SPECTRAL = fp.Spectral()


def well(x: Any) -> Any:
    """A slightly tilted double well along the first axis; harmonic along the others."""
    return (x[0] ** 2 - 1) ** 2 + 0.2 * x[0] + jnp.sum(x[1:] ** 2) + 0.25 * x[0] * x[-1]


def wave_of_angles(x: Any) -> Any:
    """Periodic along every axis."""
    return jnp.sum(jnp.cos(x)) + 0.3 * jnp.sum(jnp.sin(2 * x))


def push(x: Any) -> Any:
    """A force that is no gradient in two dimensions and on a ring."""
    return 0.8 + 0.3 * jnp.sin(x[::-1])


def turn(x: Any) -> Any:
    """A rotation of the plane."""
    return 1.5 * jnp.stack([-x[1], x[0]])


def bump(x: Any) -> Any:
    """A smooth start on any box, not normalised."""
    return jnp.exp(-2 * jnp.sum((x - 0.4) ** 2))


def round_bump(x: Any) -> Any:
    """A smooth periodic start, not normalised."""
    return jnp.exp(2 * jnp.sum(jnp.cos(x - 1.0)))


TIMES = [0.05, 0.7]
WELL = fp.FokkerPlanck(well, 0.7)
ANGLES = fp.FokkerPlanck(wave_of_angles, 0.7)
FORCED = fp.FokkerPlanck(well, 0.7, push)
FORCED_ANGLES = fp.FokkerPlanck(wave_of_angles, 0.7, push)


def by_methods(
    equation: Any,
    grid: fp.Grid,
    start: Any,
    scheme: Any,
    methods: Any,
    times: Any = TIMES,
) -> Answer:
    """The same run by several methods, all exact or with their steps given."""
    answer: Answer = {}
    for name, method in methods.items():
        run = fp.evolve(
            equation,
            start,
            times,
            grid=grid,
            scheme=scheme,
            method=method,
            tol=FINE,
            throw=False,
        )
        answer[f"{name}: values"] = run.values
        answer[f"{name}: picture"] = run.stats["picture"]
    return answer


ON_A_LINE = {
    "Chebyshev": fp.Chebyshev(),
    "Rational": fp.Rational(),
    "Splitting": fp.Splitting(2, 8),
    "Implicit": fp.Implicit(3, 8),
    "Uniformization": fp.Uniformization(),
    "Dense": fp.Dense(),
}
ON_A_RING = {
    name: method
    for name, method in ON_A_LINE.items()
    if name not in ("Chebyshev", "Rational")
}
IN_A_PLANE = {
    "Chebyshev": fp.Chebyshev(),
    "Splitting": fp.Splitting(4, 8),
    "Implicit": fp.Implicit(2, 8),
    "Uniformization": fp.Uniformization(),
    "Dense": fp.Dense(),
}
IN_A_BASIS = {"Chebyshev": fp.Chebyshev(), "Dense": fp.Dense()}
