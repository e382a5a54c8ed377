"""Paths of translated and dilated potentials, for which the exact transport velocity is
known:

Moved:      U_λ(x) = U(x - a(λ))   Gibbs density π(x - a)         v(x) = a'(λ)
Stretched:  U_λ(x) = U(x / l(λ))   Gibbs density π(x / l) / l^d   v(x) = x l'(λ) / l(λ)

v is the velocity per unit λ that transports the Gibbs density along the path: d_λ π_λ =
-div(π_λ v). Products and quotients of vectors are taken axis by axis. Reference: Patra
and Jarzynski, New J. Phys. 19 (2017) 125009.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import Formula, Point, Scalar
from ..potential.base import Potential, as_potential
from ..potential.leaves import Value, as_leaf, check_point
from .parameter import as_lambda


class Moved(eqx.Module):
    """A potential that is translated without change of shape: λ -> U(x - a(λ)).

    **Arguments**: `potential` U, a potential or a callable; `displacement` a number or
    (d,), for a(λ) = λ times it, or a function λ -> a(λ) of these shapes. **Returns**,
    when called with a number λ, a potential.

    **Raises** `ValueError` for a displacement of another shape or not finite; when
    called, unless λ is a number.

    **Keeps**: the gap and every other rate, along the whole path. **Cost**: that of U.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Moved
    from fpsolve.potential import Harmonic

    Moved(Harmonic(), 3.0)(0.5)(jnp.ones(1))  # 0.125, the well is at 1.5
    ```
    """

    potential: Potential
    displacement: Array | Callable[..., Any]

    def __init__(self, potential: Formula, displacement: Value | Callable[..., Any]):
        self.potential = as_potential(potential)
        if not callable(displacement):
            displacement = as_leaf("displacement", displacement, (0, 1))
        self.displacement = displacement
        # raises an error now if a function returns something of another shape
        self._at(0.0)

    def _at(self, lam: Value) -> Array:
        """a(λ)."""
        if callable(self.displacement):
            return as_leaf("displacement", self.displacement(lam), (0, 1))
        return lam * self.displacement

    def __call__(self, lam: Value) -> Potential:
        """The potential U(x - a(λ))."""
        return Shifted(self.potential, self._at(as_lambda(lam)))

    def velocity(self, x: Point, lam: Value) -> Array:
        """v = a'(λ), (d,), at the point x of shape (d,): the drift per unit λ that
        transports the density exactly.
        """
        lam = as_lambda(lam)
        # a'(λ), in forward mode, since λ is one number.
        rate = jax.jvp(self._at, (lam,), (jnp.ones_like(lam),))[1]
        _check_sizes(x, rate, "displacement")
        return jnp.broadcast_to(rate, jnp.shape(x))


class Stretched(eqx.Module):
    """A potential that is dilated about the origin: λ -> U(x / l(λ)).

    **Arguments**: `potential` U, a potential or a callable; `factor` l(1), a positive
    number or (d,) per axis, for l(λ) = factor^λ, or a function λ -> l(λ) of these
    shapes. **Returns**, when called with a number λ, a potential.

    **Raises** `ValueError` for concrete factors that are not positive; when called,
    unless λ is a number.

    **Keeps**: the values of U, hence its barriers. If l is one number, the rates are
    those of U divided by l². **Cost**: that of U.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Stretched
    from fpsolve.potential import Harmonic

    Stretched(Harmonic(), 4.0)(0.5)(jnp.ones(1))  # 0.125, the well is twice as wide
    ```
    """

    potential: Potential
    factor: Array | Callable[..., Any]

    def __init__(self, potential: Formula, factor: Value | Callable[..., Any]):
        self.potential = as_potential(potential)
        if not callable(factor):
            factor = as_leaf("factor", factor, (0, 1), positive=True)
        self.factor = factor
        # raises an error now if a function returns something of another shape
        self._at(0.0)

    def _at(self, lam: Value) -> Array:
        """l(λ)."""
        if callable(self.factor):
            return as_leaf("factor", self.factor(lam), (0, 1), positive=True)
        # factor^λ, in a form that has derivatives in both
        return jnp.exp(lam * jnp.log(self.factor))

    def __call__(self, lam: Value) -> Potential:
        """The potential U(x / l(λ))."""
        return Dilated(self.potential, self._at(as_lambda(lam)))

    def velocity(self, x: Point, lam: Value) -> Array:
        """v = x l'(λ) / l(λ), (d,), at x of shape (d,): the drift per unit λ that
        transports the density exactly.
        """
        lam = as_lambda(lam)
        # l(λ) and l'(λ)
        width, rate = jax.jvp(self._at, (lam,), (jnp.ones_like(lam),))
        _check_sizes(x, width, "factor")
        return x * rate / width


class Shifted(Potential):
    """U(x - a, t): a potential translated by a.

    **Arguments**: `potential` U, a potential or a callable; `displacement` a, a number
    or (d,).

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Harmonic
    from fpsolve.path.moved import Shifted

    Shifted(Harmonic(), 2.0)(jnp.ones(1))  # 0.5
    ```
    """

    potential: Potential
    displacement: Array

    def __init__(self, potential: Formula, displacement: Value):
        self.potential = as_potential(potential)
        self.displacement = as_leaf("displacement", displacement, (0, 1))

    @property
    def time_dependent(self) -> bool:
        """Whether U itself is time-dependent."""
        return self.potential.time_dependent

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x - a, t), a scalar, at the point x of shape (d,)."""
        _check_sizes(x, self.displacement, "displacement")
        return self.potential(x - self.displacement, t)


class Dilated(Potential):
    """U(x / l, t): a potential l times as wide.

    **Arguments**: `potential` U, a potential or a callable; `factor` l, a positive
    number or (d,) per axis.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Harmonic
    from fpsolve.path.moved import Dilated

    Dilated(Harmonic(), 2.0)(jnp.ones(1))  # 0.125
    ```
    """

    potential: Potential
    factor: Array

    def __init__(self, potential: Formula, factor: Value):
        self.potential = as_potential(potential)
        self.factor = as_leaf("factor", factor, (0, 1), positive=True)

    @property
    def time_dependent(self) -> bool:
        """Whether U itself is time-dependent."""
        return self.potential.time_dependent

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x / l, t), a scalar, at the point x of shape (d,)."""
        _check_sizes(x, self.factor, "factor")
        return self.potential(x / self.factor, t)


def _check_sizes(x: Point, value: Array, name: str) -> None:
    """Raise `ValueError` for a point whose dimension is not that of `value`."""
    check_point(x, value.size if value.ndim else None, f"as the {name} has it")
