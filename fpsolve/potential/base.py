"""Potentials: functions U(x) or U(x, t) of one point x of shape (d,) with a scalar
value, their sums and multiples.

    dX = -∇U(X, t) dt + √(2D) dW,      Gibbs density exp(-U/D)/Z

A callable is enough: `as_potential` wraps it. All quantities are nondimensional unless
you use units of your own.
"""

import abc
import functools
import numbers
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.types import Formula, Point, Scalar
from .leaves import Value, as_leaf
from .signature import check_signature, time_argument


class Potential(eqx.Module):
    """A scalar field U(x, t) with parameters; abstract. Potentials add, subtract and
    scale.

    A subclass defines `__call__(x, t=None)` for x of shape (d,), and the property
    `time_dependent`.
    `U + V`, `U - V`, `U + 3.0`, `-U`, `2 * U`, `U / 2` are potentials again; V may be
    any callable potential.

    ```python
    from fpsolve.potential import DoubleWell, Harmonic

    tilted = 2 * DoubleWell(barrier=3.0) + Harmonic() - (lambda x: 0.1 * x[0])
    ```
    """

    # `np.float64(2.0) * U` then calls `U.__rmul__` instead of numpy's product
    __array_ufunc__ = None

    @abc.abstractmethod
    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x, t), a scalar, at the point x of shape (d,)."""

    @property
    @abc.abstractmethod
    def time_dependent(self) -> bool:
        """Whether U depends on t."""

    def __add__(self, other: Formula | Scalar) -> "Potential":
        return Sum(self, other)

    def __radd__(self, other: Formula | Scalar) -> "Potential":
        return Sum(other, self)

    def __sub__(self, other: Formula | Scalar) -> "Potential":
        return Sum(self, -as_term(other))

    def __rsub__(self, other: Formula | Scalar) -> "Potential":
        return Sum(other, -self)

    def __neg__(self) -> "Potential":
        return Scaled(self, -1.0)

    def __mul__(self, factor: Value) -> "Potential":
        return Scaled(self, factor)

    def __rmul__(self, factor: Value) -> "Potential":
        return Scaled(self, factor)

    def __truediv__(self, divisor: Value) -> "Potential":
        return Scaled(self, 1.0 / jnp.asarray(divisor))


class StaticPotential(Potential):
    """A potential without time; abstract. A subclass defines `__call__` only."""

    @property
    def time_dependent(self) -> bool:
        """False: U does not depend on t."""
        return False


class Function(Potential):
    """Any callable f(x) or f(x, t) as a potential. If it is an Equinox module, its
    array leaves stay leaves.

    **Arguments**: `function` maps x of shape (d,), and a time if it takes one (see
    `takes_time`), to a scalar. The arguments bound by a `functools.partial` become
    leaves, so that a sweep over them does not compile again.

    **Raises** `ValueError` when `function` is not callable or needs arguments other
    than x and t; when called, if it is time-dependent and no t is given, or if its
    value is not a scalar.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Function

    Function(lambda x, t: jnp.sum((x - jnp.sin(t)) ** 2))(jnp.ones(2), 0.5)
    ```
    """

    function: Formula
    time: Literal["none", "position", "keyword"] = eqx.field(static=True)

    def __init__(self, function: Formula):
        if not callable(function):
            raise_value_error(
                "potential",
                function,
                "it must be callable, f(x) or f(x, t)",
                "Give a function of x of shape (d,).",
            )
        self.time = time_argument(function)
        check_signature(function, self.time)
        # JAX's `Partial` is a pytree, whose leaves are the bound arguments; that of
        # `functools` is an opaque object.
        if isinstance(function, functools.partial) and not isinstance(
            function, Partial
        ):
            function = Partial(function.func, *function.args, **function.keywords)
        self.function = function

    @property
    def time_dependent(self) -> bool:
        """Whether the function takes a time."""
        return self.time != "none"

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """f(x) or f(x, t), a scalar, at the point x of shape (d,)."""
        # Without this check, `None` would reach the user's function and fail there with
        # an unclear message.
        if self.time_dependent and t is None:
            raise_value_error(
                "t",
                t,
                "this potential is time-dependent and needs a time",
                "Give t, a number.",
            )
        if self.time == "none":
            value = self.function(x)
        elif self.time == "position":
            value = self.function(x, t)
        else:
            value = self.function(x, t=t)
        # The usual mistake is x ** 2, of shape (d,). It would broadcast silently.
        if jnp.shape(value) != ():
            cure = (
                "Reduce over the coordinates: x[0] ** 2 or jnp.sum(x ** 2), not x ** 2."
            )
            raise_value_error(
                "potential",
                self.function,
                f"its value must be a scalar, not of shape {jnp.shape(value)}",
                cure,
            )
        return jnp.asarray(value)


def as_potential(f: Any) -> Potential:
    """`f` as a potential: `f` itself if it is one, else `Function(f)`.

    **Raises** `ValueError` when `f` is not callable, or needs arguments other than x
    and t.

    ```python
    from fpsolve.potential import as_potential

    as_potential(lambda x: x[0] ** 4).time_dependent  # False
    ```
    """
    return f if isinstance(f, Potential) else Function(f)


class Constant(StaticPotential):
    """U(x) = c, in any dimension. It shifts the energy and changes no density.

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

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """c, at any point x of shape (d,)."""
        return self.value


class Sum(Potential):
    """U(x, t) = Σᵢ Uᵢ(x, t), written `U + V`. Nested sums are flattened.

    **Arguments**: `parts` potentials, callables f(x) or f(x, t), or numbers. **Cost**:
    that of the parts.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Cosine, Harmonic, Sum

    Sum(Harmonic(), Cosine(), 1.0)(jnp.zeros(2))  # 0 + 2 + 1
    ```
    """

    parts: tuple[Potential, ...]

    def __init__(self, *parts: Formula | Scalar):
        if not parts:
            raise_value_error(
                "parts",
                parts,
                "a sum needs at least one potential",
                "Give Constant(0.0) for no potential.",
            )
        # Flattening keeps the pytree of a long sum, U + V + W + ..., flat instead of
        # deeply nested.
        terms = [as_term(part) for part in parts]
        self.parts = tuple(
            leaf
            for term in terms
            for leaf in (term.parts if isinstance(term, Sum) else (term,))
        )

    @property
    def time_dependent(self) -> bool:
        """Whether any part is time-dependent."""
        return any(part.time_dependent for part in self.parts)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """Σᵢ Uᵢ(x, t), a scalar, at the point x of shape (d,)."""
        # The sum starts with the first value, since starting with the integer 0 would
        # add one operation.
        first, *rest = (part(x, t) for part in self.parts)
        return sum(rest, start=first)


class Scaled(Potential):
    """U(x, t) = c V(x, t), written `c * V`.

    **Arguments**: `potential` V, a potential or a callable; `factor` c, a number, of
    either sign.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Harmonic, Scaled

    Scaled(Harmonic(), 3.0)(jnp.ones(2))  # 3.0
    ```
    """

    potential: Potential
    factor: Array

    def __init__(self, potential: Formula, factor: Value):
        self.potential = as_potential(potential)
        self.factor = as_leaf("factor", factor, cure="Scale a potential by a number.")

    @property
    def time_dependent(self) -> bool:
        """Whether V is time-dependent."""
        return self.potential.time_dependent

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """c V(x, t), a scalar, at the point x of shape (d,)."""
        return self.factor * self.potential(x, t)


def as_term(part: Formula | Scalar) -> Potential:
    """A term of a sum as a potential: `Constant` for a number, else `as_potential`.

    ```python
    from fpsolve.potential.base import as_term

    as_term(1.0)  # Constant
    ```
    """
    if isinstance(part, numbers.Number | np.ndarray | np.generic | jax.Array):
        return Constant(part)
    return as_potential(part)
