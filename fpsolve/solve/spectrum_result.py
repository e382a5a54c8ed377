"""`Spectrum`: the result of `fp.spectrum`."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import raise_value_error
from ..core.decision import Decision
from ..core.text import listed
from ..core.types import AnyArray
from ..equation import Equation
from ..grid import Grid
from ..record import Result
from .constants import CONSTANTS


class Spectrum(Result):
    """The slowest modes, each level with its error.

    - `values` `(k,)` ascending, in units 1/time: levels of H; complex rates of -L, by
      real part, for a process that is not reversible, conjugate pairs side by side
    - `vectors` `(k, *shape)`: modes of H, of unit norm in the grid's weights; densities
      (right modes of L, the first of mass 1) for a process that is not reversible
    - `residuals` `(k,)`: |H psi - E psi|
    - `errors` `(k,)`: the estimated whole error of each value, the sum of its parts;
      NaN where it is not known
    - `error_parts`: "algebra" `(k,)`, a bound on the error of each value as a level of
      this grid, "space" and "box"
    - `multiplicities` `(k,)`: how many levels agree with each to one part in a million,
      counted beyond the k-th
    - `space_errors` `(k,)`: the estimated error of the grid alone, with `refine` or on
      a fitted grid, else None
    - `gap`: E_1 - E_0, or the real part of the slowest rate, and `gap_error`;
      `poincare`: the Poincaré constant D / gap
    - `timescales` `(k - 1,)`, `observables` `(k, *shape)`, `stationary` `(*shape)`: of
      processes
    - `stats`: the scheme, the method and a fitted grid in sentences; `decisions`: pairs
      of a name and the `Decision`
    """

    values: Array
    vectors: Array
    residuals: Array
    errors: Array
    error_parts: dict[str, Array]
    multiplicities: Array
    left: Array | None
    space_errors: Array | None
    # E_1 - E_0 and its error, where it has more digits than the two levels
    splitting: tuple[Array, Array] | None
    equation: Equation
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def gap(self) -> Array:
        """E_1 - E_0, a scalar. **Raises** `ValueError` for fewer than two levels."""
        if len(self.values) < 2:
            cure = "Ask for k=2 or more."
            raise_value_error("k", len(self.values), "a gap needs two levels", cure)
        if self.splitting is not None:
            return self.splitting[0]
        values = self._real_values
        gap = values[1] if self._lowest_is_zero else values[1] - values[0]
        return as_array(gap, values.dtype)

    @property
    def gap_error(self) -> Array:
        """The estimated error of the gap, a scalar. Two levels that differ by less than
        it may be one.

        **Raises** as `gap`.
        """
        gap = self.gap
        if self.splitting is not None:
            return self.splitting[1]
        xp = host_module(self.errors)
        errors = xp.asarray(self.errors)
        error = errors[1] if self._lowest_is_zero else errors[0] + errors[1]
        return as_array(error, gap.dtype)

    @property
    def poincare(self) -> Array:
        """The Poincaré constant C_P = D / gap: Var_pi f <= C_P E_pi |grad f|^2.

        **Raises** `ValueError` where there is no such constant: a Schrödinger equation,
        several diffusions, a force.
        """
        equation = self.equation
        if (
            not equation.evolves_density
            or self.left is not None
            or jnp.ndim(equation.diffusion)
        ):
            allowed = "it needs one diffusion and a Gibbs density"
            raise_value_error("equation", equation, allowed, "Use .gap.")
        return equation.diffusion / self.gap

    @property
    def timescales(self) -> Array:
        """The implied timescales 1 / Re lambda_n of the modes after the stationary one,
        `(k - 1,)`, descending: the times in which each decays to 1/e. **Raises**
        `ValueError` for a Schrödinger equation.
        """
        self._require_density("implied timescales")
        values = self._real_values
        return as_array(1 / values[1:], values.dtype)

    @property
    def observables(self) -> Array:
        """The observables psi_n / psi_0 that decay purely as exp(-lambda_n t),
        `(k, *shape)`: the slowest is second.

        E_pi f_m f_n = delta_mn, f_0 = 1; for a process that is not reversible, left
        modes of L with int f_m r_n = delta_mn. They fall to zero where psi_0 is below
        1e-10 of its maximum and the quotient would be noise. **Raises** `ValueError`
        for a Schrödinger equation. **Reference**: Schütte and Sarich, Metastability and
        Markov State Models (2013), section 3.
        """
        self._require_density("slow observables")
        if self.left is not None:
            return self.left
        # psi_n / psi_0, regularised: psi_0^2 + floor^2 does not vanish with psi_0.
        ground = self.vectors[0]
        floor = CONSTANTS.negligible_ground * jnp.max(jnp.abs(ground))
        return self.vectors * ground / (ground**2 + floor**2)

    @property
    def stationary(self) -> Array:
        """The stationary density, `(*shape)`, of mass 1. **Raises** `ValueError` for a
        Schrödinger equation, or where mass leaves.
        """
        self._require_density("a stationary density")
        if self._absorbs:
            allowed = "a stationary density does not exist: an axis absorbs"
            raise_value_error("grid", self.grid, allowed, "Use .vectors[0].")
        # sqrt(pi), or the density itself where the process is not reversible.
        first = self.vectors[0]
        return first**2 if self.left is None else first.real

    @property
    def stats(self) -> dict[str, str]:
        """The scheme and the method, with reasons; `decisions` is for programs."""
        return {name: _sentence(name, decision) for name, decision in self.decisions}

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """None: all of a spectrum is in its fields."""
        return {}, {}

    @property
    def _real_values(self) -> AnyArray:
        """Real parts of the values; numpy's, unless they are tracers."""
        return host_module(self.values).asarray(self.values).real

    @property
    def _lowest_is_zero(self) -> bool:
        # So it is for a process that keeps its mass, and a difference would only add
        # the rounding of the computed level.
        return self.equation.evolves_density and not self._absorbs

    @property
    def _absorbs(self) -> bool:
        return self.grid.absorbs

    def _require_density(self, wanted: str) -> None:
        if not self.equation.evolves_density:
            allowed = f"{wanted} belong to a process"
            cure = "Give an fp.FokkerPlanck."
            raise_value_error("equation", self.equation, allowed, cure)

    def __repr__(self) -> str:
        stats = "\n  ".join(str(decision) for _, decision in self.decisions)
        return (
            f"Spectrum: {len(self.values)} levels on {self.grid!r}\n"
            f"  {listed(self.values)}\n"
            f"  estimated errors {listed(self.errors, '.1e')}\n"
            f"  {stats}"
        )


def _sentence(name: str, decision: Decision) -> str:
    """A decision as printed: a method and a fitted grid are described and not named."""
    return decision.because if name in ("method", "grid") else str(decision)
