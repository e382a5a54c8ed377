"""The choice among methods, and the refusals of those that do not apply."""

from typing import Any

import jax.numpy as jnp

from ..core.checks import refuse
from ..equation import FokkerPlanck
from ..scheme.base import Equation
from .base import Exponential
from .chebyshev import Chebyshev
from .dense import Dense
from .magnus import Magnus
from .uniformization import Uniformization

DENSE_SIZE = 256


def choose_method(
    equation: Equation, size: int, dtype: Any, reversible: bool, wave_fits: bool
) -> tuple[Exponential | Magnus, str]:
    """A method and why: Chebyshev where the process is reversible and its wave in range, else a Poisson sum.

    Where L is not symmetric a small grid takes its whole matrix; in float32 squaring it would lose too many digits.
    """
    if not isinstance(equation, FokkerPlanck):
        exponential, why = Chebyshev(), "H is symmetric"
    elif reversible and wave_fits:
        exponential, why = Chebyshev(), "the process is reversible"
    elif reversible:
        exponential, why = Uniformization(), "the initial density is too far from the Gibbs density for its wave"
    elif size <= DENSE_SIZE and jnp.finfo(dtype).bits == 64:
        exponential, why = Dense(), f"L is not symmetric and the grid has only {size} points"
    else:
        exponential, why = Uniformization(), "L is not symmetric"
    if equation.moves:
        step = type(exponential).__name__
        return Magnus(exponential=exponential), f"the equation moves in time; each step by {step}: {why}"
    return exponential, why


def check_method(method: Any, equation: Equation, size: int, reversible: bool) -> None:
    """Refuse a method that cannot take this equation, naming those that can."""
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
        refuse("method", method, reason, "Give fp.Uniformization() or fp.Dense().")
    if isinstance(exponential, Dense):
        exponential.check_size(size)
    if not process and isinstance(exponential, Uniformization):
        refuse("method", method, "a wave is no mixture", "Give fp.Chebyshev() or fp.Dense().")
