"""Equations whose functions were read: operations compared by content, numbers as leaves.

Loops with derivatives of their own, compiled programs and caches see the leaves of an equation only. What a user's
function reads beside x and t (a closure, a global, an attribute, a traced parameter) is no leaf, so every public
function starts by replacing such functions with what they are at that moment.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.content import ReadFunction, is_plain, read_function
from ..core.types import Point
from ..potential import Potential
from .base import Equation
from .field import Field
from .score_hamiltonian import ScoreHamiltonian


class ReadPotential(Potential):
    """A potential that was read."""

    function: ReadFunction
    timed: bool = eqx.field(static=True)

    @property
    def time_dependent(self) -> bool:
        """Whether U depends on time."""
        return self.timed

    def __call__(self, x: Point, t: Any = None) -> Array:
        """U(x, t), a scalar."""
        return self.function(*_arguments(jnp.asarray(x), 0.0 if t is None else t))


class ReadVector(eqx.Module):
    """A force, a score or a diffusion that was read."""

    function: ReadFunction

    def __call__(self, x: Point, t: Any = 0.0) -> Array:
        """The value at (x, t)."""
        return self.function(*_arguments(jnp.asarray(x), t))


def read_equation(equation: Equation, ndim: int) -> Any:
    """The same equation in `ndim` dimensions with every function replaced by what it is now.

    **Cost**: one tracing a function, about a millisecond for a formula.
    """
    if isinstance(equation, ScoreHamiltonian):
        if is_plain(equation.score):
            return equation
        score = Field(ReadVector(_read(equation.score, ndim)), equation.time_dependent, "score")
        return eqx.tree_at(lambda e: e.score, equation, score)
    potential: Any = getattr(equation, "potential", None)
    if not is_plain(potential):
        equation = eqx.tree_at(
            lambda e: e.potential, equation, ReadPotential(_read(potential, ndim), potential.time_dependent)
        )
    given: Any = equation.diffusion
    if callable(given) and not is_plain(given):
        diffusion = ReadVector(_read(lambda x, t: jnp.asarray(given(x)), ndim))
        equation = eqx.tree_at(lambda e: e.diffusion, equation, diffusion)
    force: Any = getattr(equation, "force", None)
    if not is_plain(force):
        read = Field(ReadVector(_read(force, ndim)), force.time_dependent, force.name)
        equation = eqx.tree_at(lambda e: e.force, equation, read)
    return equation


def _read(function: Any, ndim: int) -> ReadFunction:
    dtype = jnp.result_type(float)
    return read_function(function, np.zeros(ndim, dtype), np.zeros((), dtype))


def _arguments(x: Array, t: Any) -> tuple[Array, Array]:
    dtype = jnp.result_type(float)
    return x.astype(dtype), jnp.asarray(t, dtype)
