"""Sums and multiples of potentials:  (U + V)(x, t) = U(x, t) + V(x, t),  (c U)(x, t) = c U(x, t)."""

import numbers
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from fpsolve.core.checks import refuse
from fpsolve.core.types import Point
from fpsolve.potential.base import Potential, Still, as_potential
from fpsolve.potential.leaves import Value, as_leaf


class Constant(Still):
    """U(x) = c, in any dimension. It shifts energies and moves no density.

    **Arguments**: `value` c, a number.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Constant

    Constant(2.0)(jnp.zeros(3))  # 2.0
    ```
    """

    value: Array

    def __init__(self, value: Value):
        self.value = as_leaf("value", value)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """c, at any point x of shape (d,)."""
        return self.value


class Sum(Potential):
    """U(x, t) = Σᵢ Uᵢ(x, t). Written `U + V`; sums within sums are joined.

    **Arguments**: `parts` potentials, callables f(x) or f(x, t), or numbers. **Cost**: that of the parts.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Cosine, Harmonic, Sum

    Sum(Harmonic(), Cosine(), 1.0)(jnp.zeros(2))  # 0 + 2 + 1
    ```
    """

    parts: tuple[Potential, ...]

    def __init__(self, *parts: Any):
        if not parts:
            refuse("parts", parts, "a sum needs at least one potential", "Give Constant(0.0) for no potential.")
        terms = [as_term(part) for part in parts]
        self.parts = tuple(leaf for term in terms for leaf in (term.parts if isinstance(term, Sum) else (term,)))

    @property
    def moves(self) -> bool:
        """Whether any part moves."""
        return any(part.moves for part in self.parts)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """Σᵢ Uᵢ(x, t), a scalar, at the point x of shape (d,)."""
        first, *rest = (part(x, t) for part in self.parts)
        return sum(rest, start=first)


class Scaled(Potential):
    """U(x, t) = c V(x, t). Written `c * V`.

    **Arguments**: `potential` V, a potential or a callable; `factor` c, a number, of either sign.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Harmonic, Scaled

    Scaled(Harmonic(), 3.0)(jnp.ones(2))  # 3.0
    ```
    """

    potential: Potential
    factor: Array

    def __init__(self, potential: Any, factor: Value):
        self.potential = as_potential(potential)
        self.factor = as_leaf("factor", factor, cure="Scale a potential by a number.")

    @property
    def moves(self) -> bool:
        """Whether the scaled potential moves."""
        return self.potential.moves

    def __call__(self, x: Point, t: Any = None) -> Array:
        """c V(x, t), a scalar, at the point x of shape (d,)."""
        return self.factor * self.potential(x, t)


def as_term(part: Any) -> Potential:
    """A number as a `Constant`, anything else as `as_potential` takes it.

    ```python
    from fpsolve.potential.combine import as_term

    as_term(1.0)  # Constant
    ```
    """
    if isinstance(part, numbers.Number | np.ndarray | np.generic | jax.Array):
        return Constant(part)
    return as_potential(part)
