"""`check_method`: does this method advance a state in time as the methods of the
library do?

    apply(s + t) = apply(s) apply(t),    |apply - exp| <= tol

The derivative of `apply` is that of the exponential.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..equation import FokkerPlanck, Schrodinger
from ..grid import Gaussian, Grid, Line, Periodic
from ..operator import ScharfetterGummel, Scheme, Spectral
from ..potential import Cosine, Harmonic
from ..propagate import Dense, Propagator
from ..solve.evolve import evolve
from ..solve.solution import Solution
from ..step import Magnus
from .check import require, rounding, unless_rejected
from .constants import CONSTANTS

# Small grids: the reference is a full matrix.
LINE = Grid(Line(-6.0, 6.0, 32))
RING = Grid(Periodic(-math.pi, math.pi, 16))
# Wider, for a potential that moves by the length of the run.
LONG = Grid(Line(-7.0, 8.0, 64))


def _harmonic(scale: Scalar) -> FokkerPlanck:
    return FokkerPlanck(scale * Harmonic())


def _forced(scale: Scalar) -> FokkerPlanck:
    return FokkerPlanck(Cosine(), force=lambda x: scale * jnp.ones_like(x))


def _quantum(scale: Scalar) -> Schrodinger:
    return Schrodinger(scale * Harmonic())


def _start() -> Gaussian:
    return Gaussian([0.5], 0.6)


def _moving(scale: Scalar) -> FokkerPlanck:
    return FokkerPlanck(lambda x, t: jnp.sum((x - scale * t) ** 2) / 2)


class MethodProblem(NamedTuple):
    """A small problem: its equation by one parameter, grid, scheme and Wick angle."""

    family: Callable[[Scalar], FokkerPlanck | Schrodinger]
    grid: Grid
    scheme: Scheme
    wick: float


STATIC = {
    "a reversible process on finite volumes": MethodProblem(
        _harmonic, LINE, ScharfetterGummel(), 0.0
    ),
    "a reversible process in a spectral basis": MethodProblem(
        _harmonic, LINE, Spectral(), 0.0
    ),
    "a process with a force": MethodProblem(_forced, RING, ScharfetterGummel(), 0.0),
    "a wave in imaginary time": MethodProblem(_quantum, LINE, Spectral(), 0.0),
    "a wave in real time": MethodProblem(_quantum, LINE, Spectral(), math.pi / 2),
}
TIME_DEPENDENT = {
    "a moving harmonic potential on finite volumes": MethodProblem(
        _moving, LONG, ScharfetterGummel(), 0.0
    ),
    "a moving harmonic potential in a spectral basis": MethodProblem(
        _moving, LONG, Spectral(), 0.0
    ),
}


def check_method(method: Any) -> None:
    """Check a method in time on small problems that it supports: static ones, or
    time-dependent ones for `fp.Magnus`.

    **Arguments**: `method`, a subclass of `fpsolve.propagate.base.Propagator`, or an
    `fp.Magnus`. A problem that it rejects with `ValueError` is left out; at least one
    must be supported. **Raises** `AssertionError` unless the answer agrees with the
    dense exponential (an extrapolated product of them, where the potential depends on
    time) within the requested tolerance, the reported error is finite, other steps end
    in the same state, and the derivative with respect to a parameter of the equation
    equals that of the reference. **Cost**: seconds.

    ```python
    import fpsolve as fp
    from fpsolve.testing import check_method

    check_method(fp.Chebyshev())
    ```
    """
    require(
        isinstance(method, Propagator | Magnus),
        f"{method!r} is no instance of fpsolve.propagate.base.Propagator.",
    )
    problems = TIME_DEPENDENT if isinstance(method, Magnus) else STATIC
    names = list(problems)
    supported = [
        _check_problem(method, name, problems[name], with_gradient=name == names[0])
        for name in names
    ]
    require(
        any(supported),
        f"{method!r} rejects every problem, from {names[0]} to {names[-1]}.",
    )


def _check_problem(
    method: Propagator | Magnus, name: str, problem: MethodProblem, with_gradient: bool
) -> bool:
    """Check a method on one problem, and return whether the method supports it."""
    grid = problem.grid
    # The reference: the full matrix, whose only error is that of the midpoint rule
    # where the potential depends on time.
    reference: Propagator | Magnus = Dense()
    if isinstance(method, Magnus):
        reference = Magnus(exponential=Dense())

    def run(
        method: Propagator | Magnus, times: list[float], tol: float, scale: Scalar = 1.0
    ) -> Solution:
        options = {
            "grid": grid,
            "scheme": problem.scheme,
            "wick": problem.wick,
            "throw": False,
        }
        return evolve(
            problem.family(scale),
            _start(),
            times,
            method=method,
            tol=tol,
            check=False,
            **options,
        )

    time = CONSTANTS.time
    # in float32 no method reaches 1e-9
    finest = max(CONSTANTS.fine_tol, 1e3 * rounding())
    times = [0.0, time / 2, time]
    if unless_rejected(lambda: run(method, times, finest)) is None:
        return False

    # The error keeps the tolerance, and is reported. The reference is ten times as
    # accurate, as far as rounding permits.
    finer = max(finest / 10, 100 * rounding())
    truth = run(reference, times, finer).values
    for tol in (CONSTANTS.coarse_tol, finest):
        solution = run(method, times, tol)
        result = solution.result
        require(
            result == "successful",
            f"The method ends as {result!r} at tol = {tol:.0e}, on {name}.",
        )
        error = _distance(grid, solution.values[-1], truth[-1])
        require(
            error <= CONSTANTS.error_factor * tol,
            f"The error is {error:.1e} at tol = {tol:.0e}, on {name}.",
        )
        require(
            np.all(np.isfinite(solution.error)),
            f"The error reported at tol = {tol:.0e} is not finite, on {name}.",
        )

    # Steps compose: none of length zero changes the state, and other lengths end in the
    # same state.
    unchanged = _distance(grid, solution.values[0], truth[0])
    require(
        unchanged <= CONSTANTS.zero_step * rounding(),
        f"A step of length zero changes the state, on {name}.",
    )
    other = run(method, [0.0, time / 5, time], finest)
    difference = _distance(grid, solution.values[-1], other.values[-1])
    message = (
        "Steps of other lengths end in another state: the difference is "
        f"{difference:.1e}, on {name}."
    )
    require(difference <= CONSTANTS.steps_factor * finest, message)

    # One gradient is enough: its program takes longer to compile than all the others.
    if with_gradient:

        def square(scale: Scalar, method: Propagator | Magnus) -> Array:
            last = run(method, times, finest, scale).values[-1]
            return jnp.sum(last**2)

        slope, exact = (
            float(jax.grad(lambda scale, one=one: square(scale, one))(1.0))
            for one in (method, reference)
        )
        message = (
            f"The derivative is {slope:.6g}, and should be {exact:.6g}, on {name}."
        )
        # Relative, and absolute where the derivative is small.
        allowed = CONSTANTS.derivative * max(1.0, abs(exact))
        require(abs(slope - exact) <= allowed, message)
    return True


def _distance(grid: Grid, a: Array, b: Array) -> float:
    """The L1 distance of two fields, relative to the second."""
    size = grid.integrate(jnp.abs(b))
    return float(grid.integrate(jnp.abs(a - b)) / size)
