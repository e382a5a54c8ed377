"""What a method does: it applies the exponential of an operator that stands still.

    density picture   p(t + s)   = exp( s L) p(t)
    wave picture      psi(t + s) = exp(-s e^{iw} H) psi(t),   w the Wick angle

`prepare` does once what serves every length (bounds, a decomposition); `apply` takes a field to all lengths at once.
"""

import abc
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..scheme import Operator

Picture = Literal["wave", "density"]


class Step(NamedTuple):
    """The fields after each length `(T, *shape)`, the operator calls they took in all, and the relative error of each
    `(T,)` (L1 for densities)."""

    field: Array
    calls: Array
    error: Array


class Exponential(eqx.Module):
    """A method for operators that stand still. Final subclasses give `prepare` and `apply`."""

    @abc.abstractmethod
    def prepare(self, operator: Operator, picture: Picture) -> Any:
        """What every length shares; a pytree of arrays."""

    @abc.abstractmethod
    def apply(self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """From one `field` to all `lengths` `(T,)`, ascending and at least zero, to the relative tolerance `tol`."""


def in_turn(one: Callable[[Array, Array], Step], field: Array, lengths: Array) -> Step:
    """Lengths reached one from another, for a method that knows `one(field, length)` only; errors add up."""

    def advance(carry: tuple[Array, Array], length: Array) -> tuple[tuple[Array, Array], Step]:
        field, error = carry
        taken = one(field, length)
        taken = taken._replace(
            field=taken.field.astype(field.dtype),
            calls=jnp.where(length > 0, taken.calls, 0),
            error=error + jnp.where(length > 0, taken.error, 0),
        )
        return (taken.field, taken.error), taken

    start = (field, jnp.zeros((), lengths.dtype))
    _, steps = jax.lax.scan(advance, start, jnp.diff(lengths, prepend=0.0))
    return steps._replace(calls=jnp.sum(steps.calls))


def split_stationary(operator: Operator, picture: Picture, field: Array) -> tuple[Array, Array]:
    """The part of the field along the stationary state, and the rest; zero and the field where there is none.

    sqrt(pi) is the null vector of H in the continuum and, on finite volumes, to rounding. Methods leave that part
    alone and evolve the rest, so that mass and the Gibbs density are kept to rounding at any time.
    """
    log_root = operator.log_root
    if log_root is None or any(axis.ends == "open" for axis in operator.grid.axes):
        return jnp.zeros_like(field), field
    root, integrate = jnp.exp(log_root), operator.grid.integrate
    still = root * (integrate(field) * root if picture == "density" else integrate(root * field))
    return still, field - still


def node_weights(operator: Operator) -> Array:
    """The grid's weights in the operator's precision, `(*shape)`."""
    return operator.grid.weights.astype(jax.tree.leaves(operator)[0].dtype)
