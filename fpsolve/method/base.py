"""What a method does: it applies the exponential of an operator that stands still.

    density picture   p(t + s)   = exp( s L) p(t)
    wave picture      psi(t + s) = exp(-s e^{iw} H) psi(t),   w the Wick angle

`prepare` does once what serves every step (bounds, a decomposition); `apply` takes one step of any length.
"""

import abc
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
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


def split_stationary(operator: Operator, picture: Picture, field: Array) -> tuple[Array, Array]:
    """The part of the field along the stationary state, and the rest; zero and the field where there is none.

    sqrt(pi) is the null vector of H in the continuum and, on finite volumes, to rounding. Methods leave that part
    alone and evolve the rest, so that mass and the Gibbs density are kept to rounding at any time.
    """
    log_root = operator.log_root
    if log_root is None or any(axis.ends == "open" for axis in operator.grid.axes):
        return jnp.zeros_like(field), field
    root, weights = jnp.exp(log_root), node_weights(operator)
    still = root * (jnp.sum(weights * field) * root if picture == "density" else jnp.sum(weights * root * field))
    return still, field - still


def node_weights(operator: Operator) -> Array:
    """The grid's weights in the operator's precision, `(*shape)`."""
    return operator.grid.weights.astype(jax.tree.leaves(operator)[0].dtype)
