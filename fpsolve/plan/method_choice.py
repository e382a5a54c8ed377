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
    is_chain = (
        kind.fokker_planck and not kind.spectral and chain.unsupported(kind) is None
    )
    if (
        work is not None
        and is_chain
        and chain.cost(kind, work) < Chebyshev().cost(kind, work)
    ):
        return chain, "one axis of cells is a chain, solved at one price for every t"
    dense = Dense()
    if kind.symmetric:
        if work is not None and dense.cost(kind, work) < Chebyshev().cost(kind, work):
            size = kind.grid.size
            return (
                dense,
                f"a symmetric matrix of {size} points is decomposed faster than its "
                "products are formed",
            )
        return (
            Chebyshev(),
            "the process is reversible" if kind.fokker_planck else "H is symmetric",
        )
    double = jnp.finfo(kind.dtype).bits == 64
    if (
        not kind.reversible
        and kind.grid.size <= PROPAGATE.dense_general_points
        and double
    ):
        return (
            dense,
            f"L is not symmetric and the grid has only {kind.grid.size} points",
        )
    why = "L is not symmetric"
    if kind.reversible:
        why = "the initial density is too far from the Gibbs density for its wave"
    if work is not None and not kind.spectral:
        stiff = Implicit(order=3)
        if stiff.cost(kind, work) < Uniformization().cost(kind, work):
            return (
                stiff,
                f"{why} and a Poisson sum would take {work.exits:.0e} products",
            )
    if kind.spectral and kind.grid.size <= CONSTANTS.largest_matrix and double:
        size = kind.grid.size
        return (
            dense,
            f"the density is carried in a basis, and its matrix of {size} points is "
            "not normal",
        )
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
        return Magnus(
            exponential=propagator
        ), f"the equation moves in time; each frozen step by {step}: {why}"
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
        value = (
            method if reason.name == "method" else getattr(propagator, "ranks", method)
        )
        raise_value_error(reason.name, value, reason.because, reason.cure)
    if (
        isinstance(method, Magnus)
        and isinstance(propagator, Splitting | Implicit)
        and propagator.steps is None
    ):
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
