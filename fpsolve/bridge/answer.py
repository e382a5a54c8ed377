"""A bridge on one grid: its waves at the output times, and the numbers of its parts.

    p = f f^,      fields `(T, *shape)` by their logarithms

Densities at more than two times divide a bridge into parts. What belongs to the whole
is the sum over the parts, or the largest of them.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ..core.program import quick_program
from .logarithm import exp_of, product
from .reference import Reference
from .request import Request
from .sinkhorn import State


class Fields(NamedTuple):
    """log f^ and log f at the output times, `(T, *shape)` each."""

    forward: Array
    backward: Array


@dataclasses.dataclass(frozen=True)
class Answer:
    """A bridge on one grid. `states` and `rates` belong to its parts, one between each
    density and the next.

    - `fields` `(T, *shape)`; `mass` of all densities, in units of the cells
    - `unknown` the largest part of a marginal at places where a wave is unknown
    - `cost` the relative entropy to the reference; `step_error` of the densities and
      `cost_step_error`, of steps in time; `mismatch` int |p - rho| at the ends of all
      parts, relative
    """

    request: Request
    reference: Reference
    fields: Fields
    mass: Array
    states: tuple[State, ...]
    rates: tuple[Array, ...]
    cost: Array
    unknown: Array
    mismatch: Array
    step_error: Array | float = 0.0
    cost_step_error: float = 0.0

    @property
    def values(self) -> Array:
        """The densities f f^, `(T, *shape)`."""
        return _densities(self.fields)

    @property
    def remaining(self) -> Array:
        """What is left of all iterations, relative to the mass."""
        parts = tuple(state.remaining for state in self.states)
        return over_mass(largest_sum(parts)[1], self.mass)

    @property
    def inconsistency(self) -> Array:
        """How far the result is from a bridge, as far as it shows: the iteration, the
        ends and the unknown tails.
        """
        return largest_sum((self.remaining, self.mismatch, self.unknown))[1]

    @property
    def residual(self) -> Array:
        """The largest residual of a part, relative to the mass."""
        parts = tuple(state.residual for state in self.states)
        return over_mass(largest_sum(parts)[0], self.mass)

    @property
    def contraction(self) -> Array:
        """The largest rate of a part."""
        return largest_sum(self.rates)[0]

    @property
    def sweeps(self) -> Array:
        """The most sweeps of a part."""
        return largest_sum(tuple(state.sweeps for state in self.states))[0]


@quick_program
def largest_sum(numbers: tuple[Array, ...]) -> tuple[Array, Array]:
    """The largest of some numbers, and their sum."""
    stacked = jnp.stack(numbers)
    return jnp.max(stacked), jnp.sum(stacked)


@quick_program
def over_mass(number: Array, mass: Array) -> Array:
    """A number relative to the mass."""
    return number / mass


@quick_program
def _densities(fields: Fields) -> Array:
    return exp_of(product(fields.forward, fields.backward))
