"""The continuity equation of a velocity field, as the unitary equation of the square
root of a density.

    d_t p = -div(v p)          d_t psi = -(v.grad + (div v) / 2) psi          p = psi^2

The second equation is i d_t psi = H psi with the continuity Hamiltonian H = (p.v + v.p)
/ 2, p = -i grad. H is Hermitian for every velocity v(x[, t]) `(d,)`, so that the norm
of psi, which is the mass of p, is constant. For v = grad phi, H = i [K, phi] with K =
-Lap / 2. A flow has no diffusion; that of a Fokker-Planck equation enters through the
velocity v = b - D grad log p, which depends on the solution itself.

Reference: arXiv 2510.08462; theorem T27 of this library.
"""

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.types import Formula, Point, Scalar
from ..grid import Grid
from ..potential import takes_time
from .base import Equation
from .field import Field

# why the continuity equation has no Gibbs density
NO_DIFFUSION = "a flow has no diffusion"


class Continuity(Equation):
    """The equation d_t p = -div(v p) of a density that is carried by a velocity.

    **Arguments**: `velocity` v, `f(x)` or `f(x, t)` to `(d,)`, in units length/time: a
    function, a network, any callable. On an `fp.Periodic` axis it must be periodic.
    **Raises**: `ValueError` if it is not callable.

    `fp.evolve` takes a density and returns densities. It evolves their wave psi =
    sqrt(p), which is `jnp.sqrt(solution.values)`, by an antisymmetric matrix.
    **Keeps**: mass to rounding, p >= 0 exactly. **Reference**: arXiv 2510.08462;
    theorem T27 of this library.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    turn = fp.Continuity(lambda x: jnp.stack([-x[1], x[0]]))
    grid = fp.Grid(fp.Line(-5.0, 5.0, 33), fp.Line(-5.0, 5.0, 33))
    solution = fp.evolve(turn, fp.Gaussian([1.0, 0.0], 0.5), [0.5], grid=grid, tol=1e-4)
    ```
    """

    evolves_density: ClassVar[bool] = True
    by_factors: ClassVar[bool] = False
    velocity: Field
    diffusion: Array

    def __init__(self, velocity: Formula):
        if not callable(velocity):
            cure = "Give lambda x: ..., with x of shape (d,)."
            raise_value_error(
                "velocity", velocity, "it must be a function of x, or of x and t", cure
            )
        # A field that was read keeps what it knows of its dependence on time.
        if not isinstance(velocity, Field):
            velocity = Field(velocity, takes_time(velocity), "velocity")
        self.velocity = velocity
        # Every equation has a diffusion; that of a flow is zero.
        self.diffusion = as_array(0.0)

    @property
    def time_dependent(self) -> bool:
        """Whether the velocity depends on time."""
        return self.velocity.time_dependent

    @property
    def functions(self) -> dict[str, Callable[[Point, Scalar], Array]]:
        """v under the name `velocity`."""
        return {"velocity": self.velocity}

    @property
    def irreversible_anywhere(self) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DIFFUSION

    def irreversible_because(self, grid: Grid, t: Scalar = 0.0) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DIFFUSION
