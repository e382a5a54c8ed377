"""Reading equations: every function of a user is replaced by its operations and its
numbers (`core.content`).

Loops with derivatives of their own, compiled programs and caches see only the leaves
and the static fields of an equation. What a user's function uses besides x and t (a
closure, a global, an attribute, a traced parameter) is neither. Every public function
therefore starts with `read_equation`, which traces these functions as they are at this
moment: their numbers become leaves, and their operations become static and are compared
by content.
"""

import dataclasses
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.content import ReadFunction, is_plain, read_function
from ..core.types import Diffusion, Formula, Point, Scalar
from ..potential import Potential
from .base import Equation
from .continuity import Continuity
from .field import Field
from .score_hamiltonian import ScoreHamiltonian

AnyEquation = TypeVar("AnyEquation", bound=Equation)


class ReadPotential(Potential):
    """A potential that was read."""

    function: ReadFunction
    timed: bool = eqx.field(static=True)

    @property
    def time_dependent(self) -> bool:
        """Whether U depends on time."""
        return self.timed

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x, t), a scalar."""
        # A static potential may be called without a time; it is read with one.
        time = 0.0 if t is None else t
        return self.function(*_arguments(jnp.asarray(x), time))


class ReadVector(eqx.Module):
    """A force, a score or a diffusion that was read."""

    function: ReadFunction

    def __call__(self, x: Point, t: Scalar = 0.0) -> Array:
        """The value at (x, t)."""
        return self.function(*_arguments(jnp.asarray(x), t))


def read_equation(equation: AnyEquation, ndim: int) -> AnyEquation:
    """The same equation in `ndim` dimensions, with every function of a user read as it
    is now.

    Functions that are modules of fpsolve with numbers only (`core.content.is_plain`)
    stay as they are.

    **Cost**: one tracing for each function, about a millisecond for a formula.
    """
    if isinstance(equation, ScoreHamiltonian):
        if is_plain(equation.score):
            return equation
        read = ReadVector(_read(equation.score, ndim))
        score = Field(read, equation.time_dependent, "score")
        return eqx.tree_at(lambda e: e.score, equation, score)

    if isinstance(equation, Continuity):
        if is_plain(equation.velocity):
            return equation
        read = ReadVector(_read(equation.velocity, ndim))
        velocity = Field(read, equation.time_dependent, "velocity")
        return eqx.tree_at(lambda e: e.velocity, equation, velocity)

    # `tree_at` replaces one part of an equation without calling its constructor, which
    # would check everything again.
    potential: Any = getattr(equation, "potential", None)
    if not is_plain(potential):
        read_potential = ReadPotential(_read(potential, ndim), potential.time_dependent)
        equation = eqx.tree_at(lambda e: e.potential, equation, read_potential)

    diffusion: Diffusion = equation.diffusion
    if callable(diffusion) and not is_plain(diffusion):
        # A diffusion is a function of x alone; it is read with a time that it does not
        # use, like the others.
        at = lambda x, t: jnp.asarray(diffusion(x))
        read_diffusion = ReadVector(_read(at, ndim))
        equation = eqx.tree_at(lambda e: e.diffusion, equation, read_diffusion)

    force: Any = getattr(equation, "force", None)
    if not is_plain(force):
        # The field keeps its name, and whether it is the drift of the Itô form.
        function = ReadVector(_read(force, ndim))
        read_force = dataclasses.replace(force, function=function)
        equation = eqx.tree_at(lambda e: e.force, equation, read_force)
    return equation


def _read(function: Formula, ndim: int) -> ReadFunction:
    """Read a function of x `(ndim,)` and t in the default precision."""
    dtype = jnp.result_type(float)
    return read_function(function, np.zeros(ndim, dtype), np.zeros((), dtype))


def _arguments(x: Array, t: Scalar) -> tuple[Array, Array]:
    """x and t in the types with which functions are read; a jaxpr accepts no others."""
    dtype = jnp.result_type(float)
    return x.astype(dtype), jnp.asarray(t, dtype)
