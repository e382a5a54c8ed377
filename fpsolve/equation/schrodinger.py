"""The Schrödinger equation in imaginary time, in real time, and at any Wick angle
between them.

    d_t psi = -exp(i w) H psi,    H = -D Lap + V(x[, t])

w = 0 is imaginary time (the wave relaxes), w = pi/2 real time (i d_t psi = H psi). D =
1/2 means hbar = m = 1.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_positive, raise_value_error
from ..core.types import Diffusion, Formula, Point, Scalar
from ..grid import Grid
from ..potential import Potential, as_potential
from .base import NO_DENSITY, Equation


class Schrodinger(Equation):
    """The equation of a wave with H = -D Lap + V.

    **Arguments**: `potential` V, `f(x)` or `f(x, t)` to a scalar; `diffusion` D, a
    positive number or one for each axis (1/2 in units hbar = m = 1). **Raises**:
    `ValueError` for a diffusion that is not positive and finite.

    ```python
    import fpsolve as fp

    oscillator = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
    ```
    """

    evolves_density: ClassVar[bool] = False
    by_factors: ClassVar[bool] = False
    potential: Potential
    diffusion: Array

    def __init__(self, potential: Formula, diffusion: Diffusion = 0.5):
        self.potential = as_potential(potential)
        self.diffusion = constant_diffusion(diffusion, "H = -D Lap + V")

    @property
    def time_dependent(self) -> bool:
        """Whether V depends on time."""
        return self.potential.time_dependent

    def energy(self, x: Point, t: Scalar = 0.0) -> Array:
        """V(x, t), a scalar."""
        return jnp.asarray(self.potential(x, t))

    @property
    def functions(self) -> dict[str, Callable[[Point, Scalar], Array]]:
        """V under the name `potential`."""
        return {"potential": self.energy}

    @property
    def irreversible_anywhere(self) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DENSITY

    def irreversible_because(self, grid: Grid, t: Scalar = 0.0) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DENSITY


def constant_diffusion(diffusion: Diffusion, hamiltonian: str) -> Array:
    """A positive number, or one for each axis `(d,)`, as an array.

    **Raises** `ValueError` otherwise; the message contains `hamiltonian`, the formula
    in which the diffusion appears.
    """
    allowed = "it must be a number or (d,) numbers"
    if callable(diffusion):
        raise_value_error(
            "diffusion", diffusion, allowed, f"{hamiltonian} has constant D."
        )
    check_positive(
        "diffusion", diffusion, "Give a number above zero, or one for each axis."
    )
    array = as_array(diffusion)
    if array.ndim > 1:
        raise_value_error(
            "diffusion", diffusion, allowed, "Give one value for each axis."
        )
    return array


class QuantumPotential(Potential):
    """V = sum_i [ (d_i U)^2 / (4 D_i) - d_i^2 U / 2 ]  -  kappa d_t U / (2 D).

    For a static U the last term is zero, and sqrt(pi) is the ground state of H. The
    last term is that of a time-dependent U (theorem T13). `equation` is a
    `FokkerPlanck` without force.
    """

    equation: Any
    kappa: Array

    @property
    def time_dependent(self) -> bool:
        """Whether U is time-dependent."""
        return self.equation.time_dependent

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """V(x, t), a scalar."""
        static = jnp.sum(axis_potential_terms(self.equation, x, t))
        if not self.time_dependent:
            return static  # the time may then be None, of which there is no derivative
        time = jnp.asarray(t, x.dtype)
        energy = lambda s: self.equation.energy(x, s)
        # d_t U
        rate = jax.jvp(energy, (time,), (jnp.ones((), x.dtype),))[1]
        kappa = self.kappa.astype(x.dtype)
        return static - kappa * rate / (2 * self.equation.diffusion)


def axis_potential_terms(equation: Any, x: Point, t: Scalar | None) -> Array:
    """The quantum potential axis by axis, (d_i U)^2 / (4 D_i) - d_i^2 U / 2, `(d,)`;
    their sum is V.

    Each coordinate is differentiated alone, in forward mode. On a grid this is many
    times faster than the gradient of a gradient.
    """
    coordinates = list(x)
    diffusions = equation.diffusions(x)

    def axis_term(i: int) -> Array:
        """The term of axis i."""

        here = coordinates[i]

        def energy(s: Array) -> Array:
            # Only the coordinate i varies, so that only its derivatives are computed.
            point = [s if j == i else c for j, c in enumerate(coordinates)]
            return equation.energy(jnp.stack(point), t)

        def derivative(s: Array) -> Array:
            return jax.jvp(energy, (s,), (jnp.ones_like(s),))[1]

        # One pass gives both: the derivative, and the derivative of it.
        gradient, curvature = jax.jvp(derivative, (here,), (jnp.ones_like(here),))
        return gradient**2 / (4 * diffusions[i]) - curvature / 2

    return jnp.stack([axis_term(i) for i in range(len(coordinates))])
