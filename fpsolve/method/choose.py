"""The choice among methods, and the refusals of those that do not apply.

What each would cost is estimated from t |H| and t q, q the largest exit rate, with the times of one product, one solve
and one eigendecomposition as measured on a processor's core (`benchmarks/kernels.py`).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import refuse
from ..equation import FokkerPlanck
from ..grid import Grid, Periodic
from ..scheme import Scheme, Spectral
from ..scheme.base import Equation
from .base import Exponential
from .chebyshev import Chebyshev
from .dense import Dense
from .implicit import Implicit
from .magnus import Magnus
from .rational import Rational
from .splitting import Splitting
from .uniformization import Uniformization

DENSE_SIZE = 256  # of a matrix that is not symmetric
OVERHEAD, FLOP, POINT = 1.0e-6, 3.3e-11, 2.2e-9  # seconds of a product: to start it, an operation, a cell and axis
PRODUCTS = 4e5  # of a Poisson sum, beyond which implicit steps are taken


class Reach(NamedTuple):
    """How far a run goes: t |H| and t q at the last time, and the number of times."""

    spectrum: float
    exits: float
    times: int


def choose_method(
    equation: Equation,
    grid: Grid,
    scheme: Scheme,
    dtype: Any,
    reversible: bool,
    wave_fits: bool,
    wick: float,
    reach: Reach | None,
) -> tuple[Exponential | Magnus, str]:
    """A method and why. `reach` is None where nothing could be measured: under a transformation, or in motion."""
    exponential, why = _exponential(equation, grid, scheme, dtype, reversible, wave_fits, wick, reach)
    if equation.moves:
        step = type(exponential).__name__
        return Magnus(exponential=exponential), f"the equation moves in time; each frozen step by {step}: {why}"
    return exponential, why


def _exponential(
    equation: Equation,
    grid: Grid,
    scheme: Scheme,
    dtype: Any,
    reversible: bool,
    wave_fits: bool,
    wick: float,
    reach: Reach | None,
) -> tuple[Exponential, str]:
    process, double = isinstance(equation, FokkerPlanck), jnp.finfo(dtype).bits == 64
    symmetric = not process or (reversible and wave_fits)
    spectral = isinstance(scheme, Spectral)
    if reach is not None and not spectral and wick == 0 and _is_chain(equation, grid, process):
        rational, chebyshev = 3e-7 * grid.size * reach.times, _chebyshev_time(grid, spectral, reach)
        if rational < chebyshev:
            return Rational(), "one axis of cells is a chain, solved at one price for every t"
    if symmetric:
        dense, chebyshev = _dense_time(grid.size), _chebyshev_time(grid, spectral, reach) if reach else 0.0
        if dense < chebyshev and double:
            return (
                Dense(),
                f"a symmetric matrix of {grid.size} points is decomposed faster than its products are formed",
            )
        return Chebyshev(), "the process is reversible" if process else "H is symmetric"
    if reversible:
        return Uniformization(), "the initial density is too far from the Gibbs density for its wave"
    if grid.size <= DENSE_SIZE and double:
        return Dense(), f"L is not symmetric and the grid has only {grid.size} points"
    if reach is not None and not spectral and reach.exits > PRODUCTS:
        return Implicit(order=3), f"L is not symmetric and a Poisson sum would take {reach.exits:.0e} products"
    return Uniformization(), "L is not symmetric"


def _is_chain(equation: Equation, grid: Grid, process: bool) -> bool:
    forced = isinstance(equation, FokkerPlanck) and (equation.force is not None or callable(equation.diffusion))
    return grid.ndim == 1 and process and not (forced and isinstance(grid.axes[0], Periodic))


def _dense_time(size: int) -> float:
    return 2.1e-6 * size + 5.5e-10 * size**3


def _chebyshev_time(grid: Grid, spectral: bool, reach: Reach) -> float:
    work = 2 * FLOP * grid.size * sum(grid.shape) if spectral else POINT * grid.size * grid.ndim
    return np.sqrt(25 * max(reach.spectrum, 1.0)) * (OVERHEAD + work)


def check_method(method: Any, equation: Equation, grid: Grid, scheme: Any, reversible: bool, wick: Any) -> None:
    """Refuse a method that cannot take this equation, naming those that can; `scheme` may be None still."""
    if not isinstance(method, Exponential | Magnus):
        refuse(
            "method", method, "it must be a method", "Give fp.Chebyshev(), fp.Magnus(), ... or None to have one chosen."
        )
    if equation.moves and not isinstance(method, Magnus):
        refuse(
            "method", method, "the equation moves in time", f"Give fp.Magnus(exponential={type(method).__name__}())."
        )
    if not equation.moves and isinstance(method, Magnus):
        refuse("method", method, "the equation stands still", "Give fp.Chebyshev(), which is exact in time.")
    exponential = method.exponential if isinstance(method, Magnus) else method
    process = isinstance(equation, FokkerPlanck)
    if process and not reversible and isinstance(exponential, Chebyshev):
        reason = "Chebyshev needs the symmetric H, and this process has none, or a start too wide for its wave"
        cure = "Give fp.Uniformization(), fp.Implicit(), fp.Splitting() or fp.Dense()"
        refuse("method", method, reason, f"{cure}{', or fp.Rational() on a line' if grid.ndim == 1 else ''}.")
    if isinstance(exponential, Chebyshev) and exponential.ranks:
        _check_ranks(exponential.ranks, grid)
    if isinstance(exponential, Dense):
        exponential.check_size(grid.size)
    if not process and isinstance(exponential, Uniformization):
        refuse("method", method, "a wave is no mixture", "Give fp.Chebyshev() or fp.Dense().")
    if isinstance(exponential, Rational | Splitting | Implicit):
        _check_rates(exponential, equation, grid, scheme, wick)
        if isinstance(method, Magnus) and isinstance(exponential, Splitting | Implicit) and exponential.steps is None:
            name = type(exponential).__name__
            cure = f"Give fp.Magnus(exponential=fp.{name}(steps=2)), or another exponential."
            refuse("method", method, f"Magnus chooses the steps, and {name} would choose its own within them", cure)


def _check_ranks(ranks: tuple[int, ...], grid: Grid) -> None:
    cure = "Give one number an axis, at most its nodes, or None to have them chosen."
    if len(ranks) != grid.ndim:
        refuse("method.ranks", ranks, f"it must hold one number an axis, {grid.ndim} in all", cure)
    for rank, n in zip(ranks, grid.shape, strict=True):
        if rank > n:
            refuse("method.ranks", ranks, f"an axis has only {n} nodes", cure)


def needs_rates(method: Any) -> bool:
    """Whether a method takes finite volumes only."""
    exponential = method.exponential if isinstance(method, Magnus) else method
    return isinstance(exponential, Rational | Splitting | Implicit)


def _check_rates(method: Exponential, equation: Equation, grid: Grid, scheme: Any, wick: Any) -> None:
    name = type(method).__name__
    if isinstance(method, Rational) and grid.ndim > 1:
        others = "fp.Chebyshev() for a reversible process, fp.Uniformization(), fp.Splitting() or fp.Implicit() for any"
        refuse("method", method, f"Rational takes one axis, and the grid has {grid.ndim}", f"Give {others}.")
    if isinstance(scheme, Spectral):
        cure = "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev(), fp.Uniformization() or fp.Dense()."
        refuse("method", method, f"{name} takes finite volumes, and the scheme is Spectral", cure)
    if wick != 0:
        cure = "Give fp.Chebyshev() or fp.Dense()."
        refuse("method", method, f"{name} damps what a Wick angle only turns", cure)
    if isinstance(method, Splitting):
        method.check_grid(grid)
    forced = isinstance(equation, FokkerPlanck) and (equation.force is not None or callable(equation.diffusion))
    if isinstance(method, Rational) and forced and isinstance(grid.axes[0], Periodic):
        cure = "Give fp.Dense() on a small grid, fp.Uniformization(), fp.Splitting() or fp.Implicit()."
        refuse("method", method, "a drift that is no gradient on a ring makes the spectrum complex", cure)
