"""The choice among methods: what each would cost, by its own estimate.

The estimates are seconds of one processor core (`benchmarks/kernels.py`).
"""

from typing import Any

import jax.numpy as jnp

from ..core.checks import raise_value_error
from ..propagate.base import ProblemKind, Propagator, WorkEstimate
from ..propagate.chebyshev import Chebyshev
from ..propagate.constants import CONSTANTS as PROPAGATE
from ..propagate.dense import Dense
from ..propagate.implicit import Implicit
from ..propagate.rational import Rational
from ..propagate.splitting import Splitting
from ..propagate.uniformization import Uniformization
from ..step.magnus import Magnus
from .constants import CONSTANTS


def choose_propagator(
    kind: ProblemKind, work: WorkEstimate | None
) -> tuple[Propagator, str]:
    """A method and the reason for it. `work` is None where nothing could be measured:
    under a transformation, or for a moving operator.
    """
    chain = Rational()
    on_cells = kind.fokker_planck and not kind.spectral
    is_chain = on_cells and chain.unsupported(kind) is None
    if (
        work is not None
        and is_chain
        and chain.cost(kind, work) < Chebyshev().cost(kind, work)
    ):
        return chain, "one axis of cells is a chain, solved at one price for every t"
    dense = Dense()
    if kind.symmetric:
        if work is not None and dense.cost(kind, work) < Chebyshev().cost(kind, work):
            why = (
                f"a symmetric matrix of {kind.grid.size} points is decomposed faster "
                "than its products are formed"
            )
            return dense, why
        why = "the process is reversible" if kind.fokker_planck else "H is symmetric"
        return Chebyshev(), why
    # Scaling and squaring loses digits, of which single precision has too few.
    double = jnp.finfo(kind.dtype).bits == 64
    few_points = kind.grid.size <= PROPAGATE.dense_general_points
    if few_points and double and not kind.reversible:
        why = f"L is not symmetric and the grid has only {kind.grid.size} points"
        return dense, why
    why = "L is not symmetric"
    if kind.reversible:
        why = "the initial density is too far from the Gibbs density for its wave"
    if work is not None and not kind.spectral:
        stiff = Implicit(order=3)
        if stiff.cost(kind, work) < Uniformization().cost(kind, work):
            why = f"{why} and a Poisson sum would take {work.exits:.0e} products"
            return stiff, why
    if kind.spectral and kind.grid.size <= CONSTANTS.largest_matrix and double:
        why = (
            "the density is carried in a basis, and its matrix of "
            f"{kind.grid.size} points is not normal"
        )
        return dense, why
    lines = Splitting(order=4)
    may_split = (
        work is not None
        and bool(kind.spectral)
        and kind.grid.ndim > 1
        and lines.unsupported(kind) is None
    )
    # A flux takes four products of matrices where a kinetic term takes one.
    if (
        work is not None
        and may_split
        and lines.cost(kind, work) < 4 * Uniformization().cost(kind, work)
    ):
        return lines, f"{why}, and a Poisson sum would take {work.exits:.0e} products"
    return Uniformization(), why


def choose_method(
    kind: ProblemKind, work: WorkEstimate | None
) -> tuple[Propagator | Magnus, str]:
    """The same for moving operators too, whose frozen steps a propagator takes."""
    propagator, why = choose_propagator(kind, work)
    if kind.time_dependent:
        step = type(propagator).__name__
        why = f"the equation moves in time; each frozen step by {step}: {why}"
        return Magnus(exponential=propagator), why
    return propagator, why


def check_method(method: Any, kind: ProblemKind) -> None:
    """Refuse a method that cannot take this problem, naming those that can."""
    if not isinstance(method, Propagator | Magnus):
        raise_value_error(
            "method",
            method,
            "it must be a method",
            "Give fp.Chebyshev(), fp.Magnus(), ... or None to have one chosen.",
        )
    if kind.time_dependent and not isinstance(method, Magnus):
        cure = f"Give fp.Magnus(exponential={type(method).__name__}())."
        raise_value_error("method", method, "the equation moves in time", cure)
    if not kind.time_dependent and isinstance(method, Magnus):
        raise_value_error(
            "method",
            method,
            "the equation stands still",
            "Give fp.Chebyshev(), which is exact in time.",
        )
    propagator = method.exponential if isinstance(method, Magnus) else method
    if (reason := propagator.unsupported(kind)) is not None:
        # The argument that is wrong may be that of the exponential within Magnus.
        value = method
        if reason.name != "method":
            value = getattr(propagator, "ranks", method)
        raise_value_error(reason.name, value, reason.because, reason.cure)
    chooses_steps = (
        isinstance(propagator, Splitting | Implicit) and propagator.steps is None
    )
    if isinstance(method, Magnus) and chooses_steps:
        name = type(propagator).__name__
        cure = (
            f"Give fp.Magnus(exponential=fp.{name}(steps=2)), or another exponential."
        )
        raise_value_error(
            "method",
            method,
            f"Magnus chooses the steps, and {name} would choose its own within them",
            cure,
        )


def needs_rates(method: object) -> bool:
    """Whether a method takes finite volumes only."""
    propagator = method.exponential if isinstance(method, Magnus) else method
    return isinstance(propagator, Rational | Splitting | Implicit)
