"""The solvers of the kernel benchmark: numpy by hand, other packages, and fpsolve with
each method.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import by_hand
import jax
import numpy as np
import peers
import problems
from harness import Contender
from problems import Problem

import fpsolve as fp

DENSE = 1024  # points above which the whole matrix is not run: a free choice


@dataclasses.dataclass(frozen=True)
class Contest:
    """A problem, the error that all must reach, and the contenders; `quick` contests
    run under `--quick`.
    """

    name: str
    problem: Problem
    goal: float
    quick: bool
    contenders: Callable[["Contest", bool], Iterator[Contender]]


def hand(
    contest: Contest,
    solver: str,
    make: Callable[..., by_hand.Run],
    bounds: Any,
    shape: Any,
    **sizes: Any,
) -> Any:
    """A numpy solver."""
    run, axes = make(contest.problem, bounds, shape, **sizes)
    parameters = {"nodes": list(shape), "box": bounds, **sizes}
    return Contender(
        f"numpy {solver}",
        "numpy",
        run,
        lambda values: values,
        axes,
        parameters,
        contest.goal,
    )


def peer(
    contest: Contest,
    family: str,
    words: str,
    make: Callable[..., peers.Peer],
    *sizes: Any,
) -> Contender:
    """Another package; if it is not installed, its contender raises this when it is
    run.
    """
    parameters = {"sizes": sizes}
    try:
        run, density, axes = make(contest.problem, *sizes)
    except ImportError as missing:
        reason = str(missing)

        def run() -> Any:
            raise ImportError(reason)

        density, axes = np.asarray, ()
    return Contender(
        f"{family} {words}".strip(),
        family,
        run,
        density,
        axes,
        parameters,
        contest.goal,
    )


def grid_of(bounds: Any, shape: Any) -> fp.Grid:
    """An fpsolve grid of lines."""
    return fp.Grid(*(fp.Line(a, b, n) for (a, b), n in zip(bounds, shape, strict=True)))


def ours(
    contest: Contest,
    label: str,
    bounds: Any,
    shape: Any,
    *,
    fine: Any = None,
    tol: float | None = None,
    compiled: bool = True,
    ranks: tuple[int, ...] | None = None,
    **chosen: Any,
) -> Contender:
    """fpsolve: equation and grid are prepared, and the solve from a start is timed.

    `compiled` times `jax.jit` of the solve with the method that `fp.plan` chooses (or
    `ranks` of `fp.Chebyshev`), as repeated calls should; otherwise `fp.evolve`, which
    reads and samples the functions each time.
    """
    problem = contest.problem
    grid = grid_of(bounds, shape)
    delivered = None if fine is None else grid_of(bounds, fine)
    equation = fp.FokkerPlanck(problem.potential)
    mean, covariance = problems.start_moments(problem)

    start = fp.Gaussian(mean, covariance)
    last = {}
    solve = lambda start: fp.evolve(
        equation, start, [problem.t], grid=grid, tol=tol, **chosen
    )
    if compiled:
        solve, start = compiled_solve(
            equation, start, problem.t, grid, tol, ranks, chosen
        )

    def run() -> Any:
        solution = solve(start)
        last["solution"] = solution
        return solution.values if delivered is None else solution.on(delivered)

    def notes(answer: Any) -> dict[str, Any]:
        return {
            **last["solution"].stats,
            "estimated_error": float(last["solution"].error[-1]),
        }

    axes = problems.open_axes(bounds, shape if fine is None else fine)
    words = {name: type(value).__name__ for name, value in chosen.items()}
    parameters = {
        "nodes": list(shape),
        "box": bounds,
        "tol": tol,
        "delivered": fine,
        **words,
    }
    return Contender(
        label,
        "fpsolve",
        run,
        lambda values: np.asarray(values[0]),
        axes,
        parameters,
        contest.goal,
        notes,
    )


def compiled_solve(
    equation: Any,
    start: Any,
    t: float,
    grid: Any,
    tol: Any,
    ranks: Any,
    chosen: dict[str, Any],
) -> tuple[Any, Any]:
    """`jax.jit` of the solve with the choice of `fp.plan`; the start as an array."""
    plan = fp.plan(equation, start, [t], grid=grid, tol=tol, **chosen)
    method = plan.method if ranks is None else fp.Chebyshev(ranks)
    options = {
        "grid": grid,
        "scheme": plan.scheme,
        "method": method,
        "tol": tol,
        "throw": False,
    }
    return jax.jit(lambda start: fp.evolve(equation, start, [t], **options)), plan.field


def nothing_chosen(
    contest: Contest,
    bounds: Any,
    shape: Any,
    tol: float | None = None,
    ranks: tuple[int, ...] | None = None,
) -> Iterator[Contender]:
    """Without a choice of scheme and method: compiled, and call by call."""
    yield ours(contest, "fpsolve", bounds, shape, tol=tol, ranks=ranks)
    yield ours(contest, "fpsolve, call by call", bounds, shape, tol=tol, compiled=False)


def spectral_methods(
    contest: Contest, bounds: Any, shape: Any, tol: float | None = None
) -> Iterator[Contender]:
    """Each method that takes a static spectral operator."""
    for method in (fp.Chebyshev(), fp.Dense(), fp.Uniformization()):
        if np.prod(shape) <= DENSE or not isinstance(method, fp.Dense):
            label = f"fpsolve {type(method).__name__}"
            yield ours(
                contest,
                label,
                bounds,
                shape,
                tol=tol,
                scheme=fp.Spectral(),
                method=method,
            )


def volume_methods(
    contest: Contest, bounds: Any, shape: Any, tol: float
) -> Iterator[Contender]:
    """Finite volumes with each method that suits them."""
    for method in (
        fp.Rational(),
        fp.Chebyshev(),
        fp.Splitting(),
        fp.Implicit(order=3),
        fp.Uniformization(),
    ):
        label = f"fpsolve volumes, {type(method).__name__}"
        yield ours(
            contest,
            label,
            bounds,
            shape,
            tol=tol,
            scheme=fp.ScharfetterGummel(),
            method=method,
        )


def moving_methods(
    contest: Contest, bounds: Any, shape: Any, tol: float, steps: int
) -> Iterator[Contender]:
    """A time-dependent potential: compiled with as many steps as just reach the error,
    as for numpy by hand, and call by call, where the steps are chosen on the host.
    """
    method = fp.Magnus(steps=steps)
    options = {"scheme": fp.Spectral(), "tol": tol}
    yield ours(contest, "fpsolve", bounds, shape, method=method, **options)
    yield ours(contest, "fpsolve, call by call", bounds, shape, tol=tol, compiled=False)
    yield ours(
        contest,
        "fpsolve Magnus, call by call",
        bounds,
        shape,
        method=fp.Magnus(),
        compiled=False,
        **options,
    )
