"""Paths λ -> U_λ between potentials, and potentials driven along a path by a schedule t
-> λ.

Mix:     U_λ = (1 - λ) U₀ + λ U₁
Driven:  U(x, t) = U_λ(t)(x)

Any function λ -> potential is a path. `reverse`, `reparametrise` and `concatenate` make
new paths from paths.
"""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.types import Clock, Point, PotentialPath, Scalar
from ..potential.base import Potential, Scaled, Sum, as_potential
from ..potential.leaves import Value
from .composed import concatenate, reparametrise, reverse
from .parameter import as_lambda

__all__ = ["Driven", "Mix", "concatenate", "reparametrise", "reverse"]


class Mix(eqx.Module):
    """The straight path from one potential to another: λ -> (1 - λ) start + λ end.

    The Gibbs density of `Mix(U, V)(λ)` is the geometric mean of those of U and V,
    normalised.

    **Arguments**: `start`, `end` potentials or callables f(x), f(x, t). **Returns**,
    when called with a number λ (traced or not, usually in [0, 1]), a potential.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix
    from fpsolve.potential import DoubleWell, Harmonic

    Mix(Harmonic(), DoubleWell())(0.25)(jnp.ones(1))  # 0.75 * 0.5 + 0.25 * 0
    ```
    """

    start: Potential
    end: Potential

    def __init__(self, start: Any, end: Any):
        self.start = as_potential(start)
        self.end = as_potential(end)

    def __call__(self, lam: Value) -> Potential:
        """The potential (1 - λ) start + λ end."""
        weight = as_lambda(lam)
        return Sum(Scaled(self.start, 1 - weight), Scaled(self.end, weight))

    def driven(self, schedule: Clock) -> "Driven":
        """The time-dependent potential of `schedule`, t -> λ, on this path."""
        return Driven(self, schedule)


class Identity(eqx.Module):
    """The identity schedule t -> t: the time of the path is lambda itself."""

    def __call__(self, t: Scalar) -> Scalar:
        """t."""
        return t


class Driven(Potential):
    """U(x, t) = path(schedule(t))(x): a time-dependent potential that follows a path.

    **Arguments**: `path` maps λ to a potential or a callable (`Mix`, or any function);
    `schedule` maps t to λ. If they are Equinox modules, their array leaves stay leaves.
    If the potentials on the path are themselves time-dependent, they are evaluated at
    the same t.

    **Raises** `ValueError` when either is not callable; when called, if no t is given.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Driven
    from fpsolve.potential import Harmonic

    Driven(lambda lam: Harmonic(center=lam), lambda t: jnp.sin(t))(
        jnp.ones(1), 0.0
    )  # 0.5
    ```
    """

    path: PotentialPath
    schedule: Clock

    def __init__(self, path: PotentialPath, schedule: Clock):
        if not callable(path):
            raise_value_error(
                "path",
                path,
                "it must be callable, lambda -> potential",
                "Give fp.Mix(start, end) or a function.",
            )
        if not callable(schedule):
            raise_value_error(
                "schedule",
                schedule,
                "it must be callable, t -> lambda",
                "Give a function: lambda t: t / total.",
            )
        self.path = path
        self.schedule = schedule

    @property
    def time_dependent(self) -> bool:
        """True: U follows the schedule."""
        return True

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """path(schedule(t))(x), a scalar, at the point x of shape (d,)."""
        if t is None:
            raise_value_error(
                "t",
                t,
                "this potential is time-dependent and needs a time",
                "Give t, a number.",
            )
        # A path may return any callable, so its value is wrapped at each call; this
        # happens while tracing only.
        return as_potential(self.path(self.schedule(t)))(x, t)
