"""The Fokker-Planck equation of overdamped motion.

    d_t p = div( D grad p + (grad U - f) p ),      dX = (-grad U + f) dt + sqrt(2 D) dW

U(x[, t]) is a potential (scalar), f(x[, t]) a force (d components, not necessarily a
gradient), and D > 0 a diffusion: one number, one for each axis, or a function of x. The
mobility is 1, unless a thermal energy kT is given, with which

    d_t p = div( D grad p + (D / kT) (grad U - f) p ),      pi = exp(-U / kT) / Z

so that U may have any unit of energy. All quantities are in units of your own, which
must agree.

Without force and with constant D it is equivalent to a Schrödinger equation in
imaginary time: with pi = exp(-U/D) / Z and p = sqrt(pi) psi,

    d_t psi = -H psi - (a/2) psi,      a = d_t log pi,
    H = -D Lap + |grad U|^2 / (4 D) - Lap U / 2.

Reference: Risken, The Fokker-Planck Equation (1989), sections 4.7 and 5.4.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.types import (
    AnyArray,
    ArrayModule,
    Diffusion,
    Formula,
    Point,
    Real,
    SameArray,
    Scalar,
)
from ..grid import Grid, Places
from ..potential import Potential, Scaled, as_potential
from .base import Equation
from .coefficients import ScaledForce, ThermalDrift, as_diffusion, as_thermal_energy
from .constants import CONSTANTS
from .field import Field, as_field
from .schrodinger import QuantumPotential, Schrodinger


class FokkerPlanck(Equation):
    """d_t p = div( D grad p + (grad U - f) p ).

    **Arguments**

    - `potential`: `f(x)` or `f(x, t)` to a scalar, x of shape `(d,)`: a function, an
      Equinox module or an fpsolve potential. It is time-dependent if it has a parameter
      named `t` or a second required positional parameter.
    - `diffusion`: a positive number, `(d,)` numbers of which some but not all may be
      zero, or a function of x that returns either; units length^2 / time. A function
      may jump, and may vanish at an end, at single points or along an axis. Along an
      axis without diffusion finite volumes are upwind, of order 1
      (`plan.resolution.numerical_diffusion`).
    - `force`: `f(x)` or `f(x, t)` to `(d,)`, added to -grad U.
    - `kT`: a positive number in the units of U. Potential and force are then multiplied
      by the mobility D / kT, and the Gibbs density is exp(-U/kT). None means kT = D: U
      and D have the same units, length^2 / time.

    **Raises**: `ValueError` for a diffusion that is negative, zero along every axis or
    not finite, a kT that is not positive and finite, or an argument that is not
    callable.

    **Keeps**: mass, unless a boundary is absorbing; positivity; and, without force and
    with constant D, the Gibbs density.

    **Limits**: with kT and one number D, `potential` and `energy` of the equation are U
    D / kT. With kT and any other diffusion, the equation has the force D (f - grad U) /
    kT and no potential: its Gibbs density is known to `gibbs` only, and it is solved
    like a process that is not reversible. (*convenience*)

    **Reference**: Risken (1989), eq. 4.94 a.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2, diffusion=0.5)
    ```
    """

    evolves_density: ClassVar[bool] = True
    by_factors: ClassVar[bool] = False
    potential: Potential | None
    diffusion: Any
    force: Field | None
    kT: Array | None
    # The shape of the diffusion as it was given, before equal entries became one
    # number.
    given: tuple[int, ...] = eqx.field(static=True)
    # The axes along which the diffusion is zero, where its numbers are known.
    without_diffusion: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        potential: Formula | None = None,
        diffusion: Diffusion = 1.0,
        force: Formula | None = None,
        *,
        kT: Scalar | None = None,
    ):
        self.potential = None if potential is None else as_potential(potential)
        self.force = None if force is None else as_field("force", force)
        self.diffusion = as_diffusion(diffusion)
        self.given = () if callable(diffusion) else np.shape(diffusion)
        self.without_diffusion = ()
        if not callable(diffusion) and is_concrete(diffusion):
            zeros = np.flatnonzero(np.asarray(diffusion) == 0)
            self.without_diffusion = tuple(map(int, zeros))
        self.kT = None if kT is None else as_thermal_energy(kT)
        if self.kT is None:
            return
        if callable(self.diffusion) or self.diffusion.ndim:
            # No potential has the gradient D grad U / kT.
            parts = [part for part in (self.potential, self.force) if part is not None]
            moves = any(part.time_dependent for part in parts)
            drift = ThermalDrift(self.potential, self.diffusion, self.force, self.kT)
            self.force = Field(drift, moves)
            self.potential = None
            return
        # One mobility: a process of mobility 1 with U and f multiplied by it.
        mobility = self.diffusion / self.kT
        if self.potential is not None:
            self.potential = Scaled(self.potential, mobility)
        if self.force is not None:
            scaled = ScaledForce(self.force, mobility)
            self.force = Field(scaled, self.force.time_dependent)

    @classmethod
    def ito(cls, drift: Formula, diffusion: Diffusion) -> "FokkerPlanck":
        """The Itô form dX = b dt + sqrt(2 D(x)) dW, that is d_t p = -div(b p) + sum_i
        d_i^2 (D_i p).

        **Arguments**: `drift` b(x[, t]) to `(d,)`; `diffusion` as for the class, which
        may jump and may vanish at an end or at single points. Finite volumes take b and
        D as they are. A basis takes the drift of the flux form, f_i = b_i - d_i D_i,
        which JAX differentiates.

        ```python
        import jax.numpy as jnp
        import fpsolve as fp

        equation = fp.FokkerPlanck.ito(lambda x: -x, lambda x: 1 + 0.5 * jnp.sin(x[0]))
        ```
        """
        # With a constant diffusion the Itô form and the flux form are the same.
        force = as_field("drift", drift)
        force = dataclasses.replace(force, ito_form=callable(diffusion))
        return cls(None, diffusion, force)

    @property
    def time_dependent(self) -> bool:
        """Whether the potential or the force depends on time."""
        return any(
            part is not None and part.time_dependent
            for part in (self.potential, self.force)
        )

    @property
    def ito_form(self) -> bool:
        """Whether the force is the drift of the Itô form, which with a diffusion that
        varies is another process.
        """
        return self.force is not None and self.force.ito_form

    def energy(self, x: Point, t: Scalar = 0.0) -> Array:
        """U(x, t), a scalar; zero without a potential."""
        # Of the type of x, so that nothing is promoted.
        if self.potential is None:
            return jnp.zeros((), x.dtype)
        return jnp.asarray(self.potential(x, t))

    @property
    def functions(self) -> dict[str, Callable[[Point, Scalar], Array]]:
        """U under the name `potential`, and the `force` if there is one."""
        potential: dict[str, Callable[[Point, Scalar], Array]] = {
            "potential": self.energy
        }
        return potential if self.force is None else {**potential, "force": self.force}

    def drift(self, x: Point, t: Scalar = 0.0) -> Array:
        """The drift `(d,)` of the flux form: -grad U + f, or b_i - d_i D_i (Itô)."""
        drift = -jax.grad(self.energy)(x, t)
        if self.force is not None:
            drift = drift + self.force(x, t)
        if self.ito_form:
            drift = drift - jnp.diagonal(jax.jacfwd(self.diffusions)(x))
        return drift

    def irreversible_because(self, grid: Grid, t: Scalar = 0.0) -> str | None:
        """The reason why this process has no Gibbs density and no wave, or None if it
        has both.

        With several diffusions the process is reversible only if U is a sum over the
        axes. This is tested on the grid.
        """
        reason = self.irreversible_anywhere
        if reason is None and self.diffusion.ndim and self.potential is not None:
            # A traced potential has no values that could be compared.
            if not is_concrete(self, t):
                return (
                    "several diffusions under a traced potential cannot be checked for "
                    "separability"
                )

            # U minus the sum of its parts along the axes is a constant if U is such a
            # sum.
            def coupling_at(x: Point) -> Array:
                parts = self._axis_parts(x, grid.origin, t)
                return self.energy(x, t) - jnp.sum(parts)

            coupling = grid.sample(coupling_at)
            energies = np.asarray(grid.sample(lambda x: self.energy(x, t)))
            # Each value of U has the rounding of the largest, which a constant in U may
            # make larger than its range.
            roundings = CONSTANTS.coupling_roundings * np.finfo(energies.dtype).eps
            rounding = roundings * np.max(np.abs(energies))
            tolerance = CONSTANTS.coupling_tolerance * np.ptp(energies) + rounding
            if np.ptp(np.asarray(coupling)) > tolerance:
                return "the diffusion differs between axes that the potential couples"
        return reason

    @property
    def irreversible_anywhere(self) -> str | None:
        """The reason why this process has no Gibbs density on any grid, or None."""
        if self.force is not None:
            return "the process has a force, which need not be a gradient"
        if callable(self.diffusion):
            return "the diffusion varies with x"
        return (
            "the diffusion vanishes along an axis" if self.without_diffusion else None
        )

    def require_reversible(self, grid: Grid, wanted: str, t: Scalar = 0.0) -> None:
        """Raise `ValueError` if the process has no Gibbs density; `wanted` is what was
        requested, in words.
        """
        _raise_if_irreversible(self, wanted, self.irreversible_because(grid, t))

    def log_gibbs(self, x: Point, origin: Array, t: Scalar = 0.0) -> Array:
        """log pi + constant at x `(d,)`, a scalar: -U/D, or -sum_i U_i / D_i with one
        diffusion for each axis.

        The parts U_i of a sum over axes are found from differences to U at `origin`
        `(d,)`.
        """
        # With one diffusion U need not be a sum over axes.
        if self.diffusion.ndim == 0:
            return -self.energy(x, t) / self.diffusion.astype(x.dtype)
        return -jnp.sum(self._axis_parts(x, origin, t) / self.diffusions(x))

    def _axis_parts(self, x: Point, origin: Array, t: Scalar) -> Array:
        """U along each axis through `origin`, `(d,)`: U(origin with the coordinate i of
        x) - U(origin).

        If U is a sum over the axes, these are its parts U_i up to constants.
        """
        # Row i is the origin with its coordinate i replaced.
        own_axis = jnp.eye(x.shape[0], dtype=bool)
        shifted = jnp.where(own_axis, x, origin)
        energies = jax.vmap(lambda y: self.energy(y, t))(shifted)
        return energies - self.energy(origin, t)

    def log_gibbs_on(self, grid: Grid | Places, t: Scalar = 0.0) -> Array:
        """log pi up to a constant at the nodes of the grid, `(*shape)`."""
        return grid.sample(lambda x: self.log_gibbs(x, grid.origin, t))

    def log_sqrt_pi(self, grid: Grid, t: Scalar = 0.0) -> Array:
        """log sqrt(pi) `(*shape)`; pi has mass 1 with the weights of the grid."""
        log_gibbs = self.log_gibbs_on(grid, t)
        # Normalise in logarithms: exp(-U/D) may overflow or underflow although pi does
        # not.
        weights = jnp.log(grid.weights).astype(log_gibbs.dtype)
        return (log_gibbs - jax.scipy.special.logsumexp(log_gibbs + weights)) / 2

    def gibbs(self, grid: Grid, t: Scalar = 0.0) -> Array:
        """The Gibbs density exp(-U/D) / Z on the grid, or exp(-U/kT) / Z where kT was
        given, `(*shape)`, of mass 1.

        **Raises**: `ValueError` for a process with a force, or with a diffusion that
        varies in x, or between axes that the potential couples: such a process has no
        Gibbs density.
        """
        drift = None if self.force is None else self.force.function
        if isinstance(drift, ThermalDrift) and drift.force is None:
            log_gibbs = grid.sample(lambda x: drift.log_gibbs(x, t))
            # Normalised in logarithms, as in `log_sqrt_pi`.
            log_masses = log_gibbs + jnp.log(grid.weights)
            return jnp.exp(log_gibbs - jax.scipy.special.logsumexp(log_masses))
        self.require_reversible(grid, "the Gibbs density", t)
        return jnp.exp(2 * self.log_sqrt_pi(grid, t))

    def schrodinger(self, kappa: Real = 1.0) -> Schrodinger:
        """The equivalent Schrödinger equation, with the quantum potential V = |grad
        U|^2/(4D) - Lap U/2.

        For a time-dependent potential the term -(kappa/2) d_t U / D is added: `kappa=1`
        is the Fokker-Planck equation itself (up to the factor exp(-int <d_t U>/(2D)
        dt), which `to_density` and a normalisation remove), 0 the imaginary-time
        Schrödinger equation, -1 annealed importance weights (Jarzynski).

        **Reference**: Risken (1989), section 5.4; for time-dependent potentials theorem
        T13 of this library.
        """
        _raise_if_irreversible(self, "the wave picture", self.irreversible_anywhere)
        potential = QuantumPotential(self, jnp.asarray(kappa, dtype=float))
        return Schrodinger(potential, self.diffusion)

    def to_wave(self, density: AnyArray, grid: Grid, t: Scalar = 0.0) -> Array:
        """p / sqrt(pi), `(..., *shape)`; 0 where p is 0. **Raises** as `gibbs`."""
        self.require_reversible(grid, "the wave picture", t)
        return divide_by_sqrt_pi(jnp.asarray(density), self.log_sqrt_pi(grid, t))

    def to_density(self, wave: AnyArray, grid: Grid, t: Scalar = 0.0) -> Array:
        """p = sqrt(pi) psi, `(..., *shape)`. **Raises** as `gibbs`."""
        self.require_reversible(grid, "the wave picture", t)
        return jnp.asarray(wave) * jnp.exp(self.log_sqrt_pi(grid, t))


def divide_by_sqrt_pi(
    density: SameArray, log_sqrt_pi: AnyArray, xp: ArrayModule = jnp
) -> SameArray:
    """p / sqrt(pi) from log sqrt(pi); `xp` is numpy or jax.numpy."""
    # In the tails both p and sqrt(pi) underflow to 0, and 0/0 is not a number. Where p
    # is 0 the quotient is set to 0. The inner `where` keeps an infinite exponential,
    # and thus a NaN, out of derivatives.
    empty = density == 0
    exponent = xp.where(empty, 0, -log_sqrt_pi)
    return xp.where(empty, 0, density * xp.exp(exponent))


def _raise_if_irreversible(
    equation: FokkerPlanck, wanted: str, reason: str | None
) -> None:
    if reason is not None:
        cure = (
            "Drop the force, make the diffusion one number, or evolve the density, "
            "which always works."
        )
        raise_value_error(
            "equation", equation, f"{wanted} does not exist: {reason}", cure
        )
