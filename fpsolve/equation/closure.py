"""Values that a user's function closes over, brought out as leaves.

`jax.grad(lambda a: evolve(FokkerPlanck(lambda x: a * x[0] ** 2), ...))` hides a traced `a` inside a function. Loops
with hand-given derivatives see leaves only, so such a function is replaced by an equal one that carries `a` as a leaf.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.types import Point
from ..potential import Potential
from .field import Field
from .fokker_planck import FokkerPlanck
from .schrodinger import Schrodinger
from .score_hamiltonian import ScoreHamiltonian


class Converted(Potential):
    """A potential whose closed-over values are leaves."""

    function: Any
    timed: bool = eqx.field(static=True)

    @property
    def moves(self) -> bool:
        """Whether U depends on time."""
        return self.timed

    def __call__(self, x: Point, t: Any = None) -> Array:
        """U(x, t), a scalar."""
        return self.function(*_arguments(jnp.asarray(x), 0.0 if t is None else t))


class ConvertedVector(eqx.Module):
    """A force or a diffusion whose closed-over values are leaves."""

    function: Any

    def __call__(self, x: Point, t: Any = 0.0) -> Array:
        """The vector at (x, t)."""
        return self.function(*_arguments(jnp.asarray(x), t))


def bring_out(equation: FokkerPlanck | Schrodinger | ScoreHamiltonian, ndim: int) -> Any:
    """The same equation, with every traced value that its functions close over as a leaf."""
    example = _arguments(jnp.zeros(ndim), 0.0)
    if isinstance(equation, ScoreHamiltonian):
        if not _hides(equation.score, example):
            return equation
        converted = ConvertedVector(eqx.filter_closure_convert(equation.score, *example))
        return eqx.tree_at(lambda e: e.score, equation, Field(converted, equation.moves, "score"))
    potential = equation.potential
    if potential is not None and _hides(potential, example):
        converted = Converted(eqx.filter_closure_convert(potential, *example), potential.moves)
        equation = eqx.tree_at(lambda e: e.potential, equation, converted)
    given: Any = equation.diffusion
    diffusion = lambda x, t: jnp.asarray(given(x))
    if callable(given) and _hides(diffusion, example):
        converted = ConvertedVector(eqx.filter_closure_convert(diffusion, *example))
        equation = eqx.tree_at(lambda e: e.diffusion, equation, converted)
    if isinstance(equation, FokkerPlanck) and equation.force is not None and _hides(equation.force, example):
        converted = Field(ConvertedVector(eqx.filter_closure_convert(equation.force, *example)), equation.force.moves)
        equation = eqx.tree_at(lambda e: e.force, equation, converted)
    return equation


def _arguments(x: Array, t: Any) -> tuple[Array, Array]:
    dtype = jnp.zeros(()).dtype
    return x.astype(dtype), jnp.asarray(t, dtype)


def _hides(function: Any, example: tuple[Array, Array]) -> bool:
    """Whether the value is traced although no leaf of the function is."""
    leaves = [leaf for leaf in jax.tree.leaves(function) if eqx.is_array(leaf)]
    return is_concrete(leaves) and not is_concrete(function(*example))
