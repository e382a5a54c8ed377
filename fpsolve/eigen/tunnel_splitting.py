"""The splitting E_1 - E_0 of a symmetric double well to full relative accuracy, from
the kernel of its partner.

    H - E_0 = A^T A,     A = sqrt(D) (d/dx - psi_0' / psi_0),
    E_1 - E_0 = the lowest level of A A^T

On a chain of cells of width h, with masses h psi_i^2 and conductances (D / h) psi_i
psi_{i+1}, this is exact for the matrix of H, and `supersymmetric_gap` takes it from a
positive kernel. It needs psi_0 to relative accuracy. The balance of the two wells is as
sensitive as (change of V) / splitting, so that it is known where symmetry gives it, and
not otherwise: psi_0 is even, and on one half, with no flux through the centre, its
level is far from all others. There the recurrence -o psi_{i-1} + (d_i - E) psi_i - o
psi_{i+1} = 0 is run from both ends to the maximum, so that it grows.

References: Witten, Nucl. Phys. B 188 (1981) 513; Keung, Kovacs and Sukhatme, Phys. Rev.
Lett. 60 (1988) 41.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import sampling_program, shape_program
from ..core.types import Scalar
from ..equation import Schrodinger
from ..grid import Axis, Grid, Line
from ..operator.base import sample_potential
from .constants import CONSTANTS
from .partner_kernel import Chain
from .supersymmetric_gap import LineGap, chain_gap, extrapolate, padded


def tunnel_splitting(equation: Schrodinger, axis: Axis, t: Scalar) -> LineGap | None:
    """E_1 - E_0 between the ends of an axis, at time t; None for a potential that is
    symmetric about no point.

    **Arguments**: concrete values only. **Returns** a `LineGap`, extrapolated to no
    spacing; its error is that of the extrapolation, and the change in a box that is a
    tenth wider. **Cost**: one level of a tridiagonal matrix and some forty products
    with K for each of the chains, twice.
    """
    centre = _centre_of_symmetry(equation, axis, t)
    if centre is None:
        return None
    reach = min(axis.upper - centre, centre - axis.lower)
    found = _splitting(equation, t, centre, reach)
    wider = _splitting(equation, t, centre, CONSTANTS.wider_splitting * reach)
    # NaN where the potential is not finite beyond the box: then the error is not known.
    relative_change = jnp.abs(jnp.expm1(wider.log - found.log))
    return found._replace(error=found.error + relative_change)


def _centre_of_symmetry(equation: Schrodinger, axis: Axis, t: Scalar) -> float | None:
    """The centre of the box, or else zero, if the potential is symmetric about it."""
    for centre in ((axis.lower + axis.upper) / 2, 0.0):
        reach = min(axis.upper - centre, centre - axis.lower)
        if not reach > 0:
            continue
        box = Line(centre - reach, centre + reach, CONSTANTS.chain_cells[0])
        energy = _sample(equation, box, t)
        # The two places of a pair differ by rounding themselves.
        slope = np.max(np.abs(np.gradient(energy)))
        rounding = np.finfo(float).eps * (np.abs(energy) + slope * len(energy))
        asymmetry = np.abs(energy - energy[::-1])
        if np.all(asymmetry <= CONSTANTS.symmetric_roundings * rounding):
            return centre
    return None


def _sample(equation: Schrodinger, axis: Axis, t: Scalar) -> np.ndarray:
    return np.array(_sample_on(equation, Grid(axis), as_array(t)), float)


@sampling_program
def _sample_on(equation: Schrodinger, grid: Grid, t: Array) -> Array:
    return sample_potential(equation, grid, t)


def _splitting(
    equation: Schrodinger,
    t: Scalar,
    centre: float,
    reach: float,
) -> LineGap:
    diffusion = float(equation.diffusion)
    chains = []
    for n in CONSTANTS.chain_cells:
        half = n // 2
        h = reach / half
        half_box = Line(centre, centre + reach, half)
        energy = _sample(equation, half_box, t)
        if not np.all(np.isfinite(energy)):
            nothing = as_array(np.nan)
            return LineGap(nothing, nothing, nothing)
        # psi_0 is even: the other half is its mirror image.
        log_half = _log_ground_state(energy, diffusion / h**2)
        log_psi = np.concatenate([log_half[::-1], log_half])
        mass = np.log(h) + 2 * log_psi
        conductance = np.log(diffusion / h) + log_psi[:-1] + log_psi[1:]
        chains.append(Chain(as_array(mass), as_array(conductance)))
    return _extrapolated(padded(chains))


@shape_program
def _extrapolated(chains: Chain) -> LineGap:
    found = jax.vmap(chain_gap)(chains)
    log, uncertainty = extrapolate(found.log)
    return LineGap(jnp.exp(log), log, uncertainty + jnp.max(found.error))


def _log_ground_state(energy: np.ndarray, hopping: float) -> np.ndarray:
    """log psi_0 on one half, from its inner end outwards."""
    # imported here, because few calls need it
    from scipy.linalg import eigh_tridiagonal

    # No flux through either end: one neighbour is missing there.
    diagonal = energy + 2 * hopping
    diagonal[[0, -1]] -= hopping
    off = np.full(len(energy) - 1, -hopping)
    values, vectors = eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 0))
    # LAPACK's vector is accurate relative to its largest entry only: it gives the place
    # of the maximum, and the recurrence gives the tails.
    top = int(np.argmax(np.abs(vectors[:, 0])))
    scaled = (diagonal - values[0]) / hopping
    n = len(energy)
    # Outwards from the centre, and inwards from the outer end, each as ratios of
    # neighbours: psi itself may underflow.
    outwards = np.ones(n)
    for i in range(top):
        previous = 1 / outwards[i - 1] if i else 0.0
        outwards[i] = scaled[i] - previous
    inwards = np.ones(n)
    for i in range(n - 1, top, -1):
        previous = 1 / inwards[i + 1] if i + 1 < n else 0.0
        inwards[i] = scaled[i] - previous
    # psi is one at its maximum.
    log_psi = np.zeros(n)
    log_outwards = np.log(outwards[:top])
    log_inwards = np.log(inwards[top + 1 :])
    log_psi[:top] = -np.cumsum(log_outwards[::-1])[::-1]
    log_psi[top + 1 :] = -np.cumsum(log_inwards)
    return log_psi
