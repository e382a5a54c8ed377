"""What a method does: it applies the exponential of an operator that stands still.

    density picture   p(t + s)   = exp( s L) p(t)
    wave picture      psi(t + s) = exp(-s e^{iw} H) psi(t),   w the Wick angle

`prepare` does once what serves every step (bounds, a decomposition); `apply` takes one step of any length.
"""

import abc
from typing import Any, Literal, NamedTuple

import equinox as eqx
from jaxtyping import Array

from ..scheme import Operator

Picture = Literal["wave", "density"]


class Step(NamedTuple):
    """A field after a step, the operator calls it took, and the relative error it added (L1 for densities)."""

    field: Array
    calls: Array
    error: Array


class Exponential(eqx.Module):
    """A method for operators that stand still. Final subclasses give `prepare` and `apply`."""

    @abc.abstractmethod
    def prepare(self, operator: Operator, picture: Picture) -> Any:
        """What every step of `operator` shares; a pytree of arrays."""

    @abc.abstractmethod
    def apply(self, prepared: Any, field: Array, length: Array, tol: Array, wick: float) -> Step:
        """One step of `length` to the relative tolerance `tol`."""
