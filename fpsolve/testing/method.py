"""`check_method`: does this method take steps as the library promises them?

apply(s + t) = apply(s) apply(t),    |apply - exp| <= tol,    d(apply) = the derivative of exp
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck, Schrodinger
from ..grid import Gaussian, Grid, Line, Periodic
from ..operator import ScharfetterGummel, Spectral
from ..potential import Cosine, Harmonic
from ..propagate import Dense, Propagator
from ..solve.evolve import evolve
from ..solve.solution import Solution
from ..step import Magnus
from .check import demand, rounding, unless_refused

LINE, RING = Grid(Line(-6.0, 6.0, 32)), Grid(Periodic(-math.pi, math.pi, 16))
LONG = Grid(Line(-7.0, 8.0, 64))
TIME = 0.7


def _well(scale: Any) -> FokkerPlanck:
    return FokkerPlanck(scale * Harmonic())


def _pushed(scale: Any) -> FokkerPlanck:
    return FokkerPlanck(Cosine(), force=lambda x: scale * jnp.ones_like(x))


def _quantum(scale: Any) -> Schrodinger:
    return Schrodinger(scale * Harmonic())


def _start() -> Gaussian:
    return Gaussian([0.5], 0.6)


def _dragged(scale: Any) -> FokkerPlanck:
    return FokkerPlanck(lambda x, t: jnp.sum((x - scale * t) ** 2) / 2)


STILL = {
    "a reversible process on finite volumes": (_well, LINE, ScharfetterGummel(), 0.0),
    "a reversible process in a spectral basis": (_well, LINE, Spectral(), 0.0),
    "a process with a force": (_pushed, RING, ScharfetterGummel(), 0.0),
    "a wave in imaginary time": (_quantum, LINE, Spectral(), 0.0),
    "a wave in real time": (_quantum, LINE, Spectral(), math.pi / 2),
}
MOVING = {
    "a dragged well on finite volumes": (_dragged, LONG, ScharfetterGummel(), 0.0),
    "a dragged well in a spectral basis": (_dragged, LONG, Spectral(), 0.0),
}


def check_method(method: Any) -> None:
    """Check a method in time on small problems that it takes: static, or moving for an `fp.Magnus`.

    **Arguments**: `method`, a subclass of `fpsolve.propagate.base.Propagator`, or an `fp.Magnus`. A problem that it
    refuses with `ValueError` is passed over; one at least must be taken. **Raises** `AssertionError` unless the
    answer agrees with the dense exponential (an extrapolated product of them, where the potential moves) within the
    tolerance asked for, the error that is reported is finite, other steps end at the same place, and the derivative
    with respect to a parameter of the equation equals that of the reference. **Cost**: seconds.

    ```python
    import fpsolve as fp
    from fpsolve.testing import check_method

    check_method(fp.Chebyshev())
    ```
    """
    demand(isinstance(method, Propagator | Magnus), f"{method!r} is no instance of fpsolve.propagate.base.Propagator.")
    problems = MOVING if isinstance(method, Magnus) else STILL
    taken = [name for name in problems if _take(method, problems, name)]
    demand(taken, f"{method!r} refuses every problem, from {next(iter(problems))} to {next(reversed(problems))}.")


def _take(method: Any, problems: Any, name: str) -> bool:
    family, grid, scheme, wick = problems[name]
    reference = Magnus(exponential=Dense()) if isinstance(method, Magnus) else Dense()

    def run(method: Any, times: Any, tol: float, scale: Any = 1.0) -> Solution:
        options = {"grid": grid, "scheme": scheme, "wick": wick, "throw": False}
        return evolve(family(scale), _start(), times, method=method, tol=tol, **options)

    finest, times = max(1e-9, 1e3 * rounding()), [0.0, TIME / 2, TIME]
    if unless_refused(lambda: run(method, times, finest)) is None:
        return False
    truth = run(reference, times, max(finest / 10, 100 * rounding())).values
    for tol in (1e-3, finest):
        solution = run(method, times, tol)
        demand(
            solution.result == "successful", f"The method ends as {solution.result!r} at tol = {tol:.0e}, on {name}."
        )
        error = _distance(grid, solution.values[-1], truth[-1])
        demand(error <= 2 * tol, f"The error is {error:.1e} at tol = {tol:.0e}, on {name}.")
        demand(np.all(np.isfinite(solution.error)), f"The error reported at tol = {tol:.0e} is not finite, on {name}.")
    still = _distance(grid, solution.values[0], truth[0])
    demand(still <= 1e3 * rounding(), f"A step of no length changes the state, on {name}.")
    apart = _distance(grid, solution.values[-1], run(method, [0.0, TIME / 5, TIME], finest).values[-1])
    demand(apart <= 4 * finest, f"Steps of other lengths end elsewhere: they are {apart:.1e} apart, on {name}.")
    if name == next(iter(problems)):
        square = lambda scale, method: jnp.sum(run(method, times, finest, scale).values[-1] ** 2)
        slopes = [float(jax.grad(lambda scale, one=one: square(scale, one))(1.0)) for one in (method, reference)]
        message = f"The derivative is {slopes[0]:.6g}, and should be {slopes[1]:.6g}, on {name}."
        demand(abs(slopes[0] - slopes[1]) <= 1e-4 * max(1.0, abs(slopes[1])), message)
    return True


def _distance(grid: Grid, a: Array, b: Array) -> float:
    return float(grid.integrate(jnp.abs(a - b)) / grid.integrate(jnp.abs(b)))
