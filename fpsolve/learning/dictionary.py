"""The two roles of an objective: potential V of a Hamiltonian, or Boltzmann energy U of
a process.

    H = -D Lap + zeta,  H psi_0 = E_0 psi_0          U = -2 D log psi_0  + constant
    zeta - E_0 = V_S[U] = |grad U|^2 / (4 D) - Lap U / 2
    |psi_0|^2 = exp(-U / D) / Z

The dynamics of zeta as a potential is the Fokker-Planck equation of U, level by level:
gap and all. zeta itself is not U: for zeta = x^2 / 2 the variance of |psi_0|^2 is
sqrt(D / 2), and that of exp(-zeta / D) / Z is D. They agree at D = 1/2 alone.

Reference: theorem T30 of this library; Wang and Maimaitiabudula, arXiv 2407.19890.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number, raise_value_error
from ..core.program import public_function
from ..core.types import Formula, Real
from ..equation import FokkerPlanck, Schrodinger
from ..grid import Grid
from ..plan.companion import companion
from ..plan.validation import check_kinds
from ..potential import Sampled
from ..solve.interpolation import transferred
from ..solve.spectrum import spectrum
from .constants import CONSTANTS


class BoltzmannEnergy(eqx.Module):
    """The Boltzmann energy U of an objective that is a potential.

    - `values` `(*shape)`: U = -2 D log(psi_0 / max psi_0), at least zero. Where psi_0
      is below 1e-7 of its largest value U is not known; `known` `(*shape)` is False
      there, and U is continued by its largest known value
    - `error` `(*shape)`: its estimated error, from other nodes in a wider box; infinity
      where U is not known
    - `ground_energy`: E_0; `gap`: E_1 - E_0, that of the Fokker-Planck equation of U
      too
    - `density` `(*shape)`: |psi_0|^2 = exp(-U / D) / Z
    """

    values: Array
    error: Array
    known: Array
    ground_energy: Array
    gap: Array
    density: Array
    diffusion: Array
    grid: Grid = eqx.field(static=True)

    @property
    def potential(self) -> Sampled:
        """U as a potential, by cubic splines through the values."""
        return Sampled(self.grid, self.values)

    @property
    def equation(self) -> FokkerPlanck:
        """The process whose Gibbs density is |psi_0|^2."""
        return FokkerPlanck(self.potential, self.diffusion)


class SameState(eqx.Module):
    """Whether an objective, as a potential, and an energy, as a Boltzmann energy, mean
    the same density.

    - `total_variation` of |psi_0|^2 and exp(-U / D) / Z; `variances` `(2, d)`: of both
      along each axis
    - `holds`: whether the total variation is at most 1e-3
    """

    total_variation: Array
    variances: Array

    @property
    def holds(self) -> bool:
        """Whether both densities are one."""
        return bool(self.total_variation <= CONSTANTS.same_state_tol)


@public_function
def boltzmann_energy(
    objective: Formula, grid: Grid, diffusion: Real
) -> BoltzmannEnergy:
    """The energy U whose Gibbs density is the ground state of an objective as a
    potential.

        (-D Lap + zeta) psi_0 = E_0 psi_0,      U = -2 D log psi_0

    **Arguments**: `objective` zeta(x), a function of x `(d,)`; `grid`; `diffusion` D, a
    positive number. **Returns** a `BoltzmannEnergy`. **Raises** `ValueError` for bad
    arguments, and what `fp.spectrum` raises.

    **Keeps**: exp(-U / D) is |psi_0|^2, where U is known. The other direction, from U
    to zeta - E_0, is `fp.FokkerPlanck(U, D).schrodinger().potential`. **Cost**: two
    levels on two grids.
    **Reference**: theorem T30 of this library.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    found = fp.learning.boltzmann_energy(lambda x: x[0] ** 2 / 2, grid, 0.1)
    found.ground_energy, found.gap
    ```
    """
    check_kinds(Schrodinger(objective, diffusion))
    number = check_finite_number("diffusion", diffusion)
    equation = Schrodinger(objective, number)
    modes = spectrum(equation, grid, 2, check=False)
    spectral = modes.stats["scheme"].startswith("Spectral")
    # The second look: other nodes in a wider box, which shows what the ends of the box
    # do to the tails of psi_0.
    beside = companion(grid, spectral)
    other = spectrum(equation, beside, 2, check=False)
    wave = _positive(np.asarray(modes.vectors[0]))
    # The other wave at the nodes of the grid, both relative to their largest values.
    other_wave = _positive(np.asarray(other.vectors[0]))
    moved = transferred(beside, grid, other_wave[None], spectral)[0]
    floor = CONSTANTS.negligible_wave * np.max(wave)
    known = (wave > floor) & (moved > floor)
    # Both from their largest values, where U is zero.
    ratio = np.where(known, wave, 1) / np.max(wave)
    other_ratio = np.where(known, moved, 1) / np.max(moved)
    energy = -2 * number * np.log(ratio)
    other_energy = -2 * number * np.log(other_ratio)
    difference = np.abs(energy - other_energy)
    # A finite value where U is not known, so that splines through it are finite.
    ceiling = float(np.max(energy[known]))
    dtype = modes.values.dtype
    return BoltzmannEnergy(
        values=as_array(np.where(known, energy, ceiling), dtype),
        error=as_array(np.where(known, difference, np.inf), dtype),
        known=jnp.asarray(known),
        ground_energy=modes.values[0],
        gap=modes.gap,
        density=as_array(wave**2, dtype),
        diffusion=as_array(number, dtype),
        grid=grid,
    )


@public_function
def same_state(
    objective: Formula, energy: Formula, grid: Grid, diffusion: Real
) -> SameState:
    """Whether zeta as a potential and U as a Boltzmann energy mean the same density.

        |psi_0|^2 of -D Lap + zeta        exp(-U / D) / Z

    **Arguments**: `objective` zeta and `energy` U, functions of x `(d,)`; `grid`;
    `diffusion` D. **Returns** a `SameState`, which does not hold for U = zeta unless D
    = 1/2 and zeta = x^2 / 2 + constant, say. **Raises** `ValueError` for bad arguments.
    **Cost**: one level.
    **Reference**: theorem T30 of this library.

    ```python
    import fpsolve as fp

    grid, zeta = fp.Grid(fp.Line(-3.0, 3.0, 64)), lambda x: x[0] ** 2 / 2
    assert not fp.learning.same_state(zeta, zeta, grid, 0.02).holds
    ```
    """
    if not callable(energy):
        raise_value_error(
            "energy",
            energy,
            "it must be a function of x",
            "Give lambda x: ..., or .potential of a result.",
        )
    number = check_finite_number("diffusion", diffusion)
    modes = spectrum(Schrodinger(objective, number), grid, 1, check=False)
    born = np.asarray(modes.vectors[0]) ** 2
    gibbs = np.asarray(FokkerPlanck(energy, number).gibbs(grid))
    distance = grid.integrate_on_host(np.abs(born - gibbs)) / 2
    variances = [_variances(grid, density) for density in (born, gibbs)]
    return SameState(as_array(distance), as_array(np.asarray(variances)))


def _positive(wave: np.ndarray) -> np.ndarray:
    """A ground state with the sign that makes its sum positive."""
    # An eigenvector has any sign, and a ground state only one.
    return wave * np.sign(np.sum(wave))


def _variances(grid: Grid, density: np.ndarray) -> np.ndarray:
    """The variances of a density `(*shape)` along each axis, `(d,)`."""
    masses = density * grid.weights_on_host
    masses = masses / np.sum(masses)
    found = []
    for i, axis in enumerate(grid.axes):
        others = tuple(j for j in range(grid.ndim) if j != i)
        marginal = np.sum(masses, axis=others)
        mean = marginal @ axis.nodes
        found.append(marginal @ (axis.nodes - mean) ** 2)
    return np.asarray(found)
