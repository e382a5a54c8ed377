"""The law of Eyring and Kramers: rates between wells from minima and saddles alone.

    k_ab = sum_s |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) e^{-(U_s - U_a)/D}

over the saddles s between the minima a and b, lambda_s the negative eigenvalue of
U''_s. The wells are then the states of a chain, whose slowest rate is the law's gap;
two wells have gap = k_ab + k_ba. It is right up to a factor 1 + O(D).

The minima, the saddles and the wells below each saddle are found by
`critical_points`.

References: Eyring, J. Chem. Phys. 3 (1935) 107; Kramers, Physica 7 (1940) 284; Bovier,
Eckhoff, Gayrard and Klein, J. Eur. Math. Soc. 6 (2004) 399.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import public_function, sampling_program
from ..core.types import Scalar
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..plan.equation_check import check_equation
from .constants import CONSTANTS
from .critical_points import critical_points, wells_below

SMOOTH = 'Smooth the potential if it is a noisy table: fp.Sampled(..., smooth="gcv").'


class EyringKramers(eqx.Module):
    """Wells, saddles and the rates between wells.

    - `minima` `(m, d)`, by descending depth; `saddles` `(s, d)`, each between the wells
      `between` `(s, 2)`
    - `barriers` `(s, 2)`: the height of each saddle above the two wells that it joins
    - `rates` `(m, m)`: from the first well to the second, in units 1/time; zero where
      no saddle leads
    - `gap`: the slowest rate of this chain of wells, to compare with `fp.spectral_gap`
    """

    minima: Array
    saddles: Array
    between: Array
    barriers: Array
    rates: Array
    gap: Array


@public_function
def eyring_kramers(equation: Equation, grid: Grid, *, t: Scalar = 0.0) -> EyringKramers:
    """The Eyring-Kramers rates of the wells that the grid holds.

        k_ab = |lambda_s| / (2 pi) sqrt( det U''_a / |det U''_s| ) e^{-(U_s - U_a)/D}

    **Arguments**: `equation` an `fp.FokkerPlanck` with one diffusion D and no force;
    `grid` whose box is searched and whose spacing tells wells apart; `t` is the
    time at which a time-dependent potential is taken. **Returns** an `EyringKramers`.
    **Raises** `ValueError` for fewer than two minima, a minimum or saddle with a flat
    direction, wells that no saddle joins or that are shallower than D / 4, as those of
    a noisy table, or a traced equation: how many wells there are must be known.

    **Limits** (mathematical): leading order in D, an error of about 3 D / (8 barrier)
    for a quartic double well; minima at walls are not counted. Curvatures of a smoothed
    table have larger errors than its values: noise of 1 % of D may change a rate by
    half, but not that of `fp.spectral_gap`. **Cost**: two derivatives a node and
    some Newton steps a critical point.
    **Reference**: Bovier, Eckhoff, Gayrard and Klein (2004), theorem 1.2.

    ```python
    import fpsolve as fp

    law = fp.eyring_kramers(
        fp.FokkerPlanck(fp.DoubleWell(1.0), 0.1), fp.Grid(fp.Line(-2, 2, 128))
    )
    ```
    """
    equation, grid = check_equation(equation, grid, t)
    t = as_array(t)
    if not is_concrete(equation, t):
        allowed = "the wells of a traced potential cannot be counted"
        cure = "Call it outside jit and grad."
        raise_value_error("equation", equation, allowed, cure)
    if (
        not isinstance(equation, FokkerPlanck)
        or equation.irreversible_anywhere
        or equation.diffusion.ndim
    ):
        allowed = "the law needs a potential and one diffusion"
        raise_value_error("equation", equation, allowed, "Drop the force.")

    # 1. Minima, by descending depth, and saddles.
    minima, saddles = critical_points(equation, grid, t)
    if len(minima) < 2:
        allowed = f"the law needs two wells, and the grid holds {len(minima)} minima"
        cure = "Widen the box, or ask for fp.spectral_gap, which needs no wells."
        raise_value_error("equation", equation, allowed, cure)
    energies = np.asarray(_energies(equation, as_array(minima), t))
    minima = minima[np.argsort(energies)]

    # 2. Which two wells each saddle joins. One that leads twice to the same well, or
    #    out of the box, joins none.
    joining = []
    between = []
    for saddle in saddles:
        wells = wells_below(equation, grid, as_array(minima), as_array(saddle), t)
        first, second = np.asarray(wells).tolist()
        if first != second and min(first, second) >= 0:
            joining.append(saddle)
            between.append((first, second))
    if not _connected(len(minima), between):
        allowed = "the law needs a saddle between any two wells, by way of others"
        cure = (
            f"{SMOOTH} Else widen the box, or refine the grid: saddles are told apart "
            "by its spacing."
        )
        raise_value_error("equation", equation, allowed, cure)

    # 3. The rates.
    links = as_array(between, int)
    law = _law(equation, as_array(minima), as_array(np.array(joining)), links, t)
    _check_depths(equation, minima, between, np.asarray(law.barriers))
    return law


def _check_depths(
    equation: FokkerPlanck,
    minima: np.ndarray,
    between: list[tuple[int, int]],
    barriers: np.ndarray,
) -> None:
    """Raise `ValueError` for a well that is shallower than the noise of the motion: it
    is no state, and the law does not hold.
    """
    depths = [
        float(np.min(barriers[np.equal(between, well)])) for well in range(len(minima))
    ]
    shallowest = int(np.argmin(depths))
    # The stationary density is e^{-U/D}, or e^{-U/kT}.
    noise = float(equation.diffusion if equation.kT is None else equation.kT)
    depth = depths[shallowest] / noise
    if depth < CONSTANTS.least_depth:
        unit = "D" if equation.kT is None else "kT"
        well = minima[shallowest].tolist()
        allowed = (
            f"the well at x = {well} is {depth:.2g} {unit} deep, and it must be {unit} "
            "/ 4 at least"
        )
        cure = f"{SMOOTH} Else ask for fp.spectral_gap, which needs no wells."
        raise_value_error("equation", equation, allowed, cure)


@sampling_program
def _energies(equation: FokkerPlanck, points: Array, t: Scalar) -> Array:
    return jax.vmap(lambda x: equation.energy(x, t))(points)


@sampling_program
def _law(
    equation: FokkerPlanck,
    minima: Array,
    saddles: Array,
    between: Array,
    t: Scalar,
) -> EyringKramers:
    """The rates of the law; `between` `(s, 2)` are the wells that each saddle joins."""
    diffusion = equation.diffusion

    def energies(points: Array) -> Array:
        return jax.vmap(lambda x: equation.energy(x, t))(points)

    def curvatures(points: Array) -> Array:
        hessian = jax.hessian(lambda x: equation.energy(x, t))
        return jnp.linalg.eigvalsh(jax.vmap(hessian)(points))

    curvatures_of_wells = curvatures(minima)
    curvatures_of_saddles = curvatures(saddles)
    # Determinants as logarithms of their roots: a product of curvatures may overflow.
    log_root_wells = jnp.sum(jnp.log(curvatures_of_wells), 1) / 2
    log_root_saddles = jnp.sum(jnp.log(jnp.abs(curvatures_of_saddles)), 1) / 2
    barriers = energies(saddles)[:, None] - energies(minima)[between]

    # From each of the two wells of a saddle, `(s, 2)`; eigenvalues ascend, so that the
    # first is the negative one.
    frequency = jnp.abs(curvatures_of_saddles[:, :1]) / (2 * math.pi)
    log_prefactor = log_root_wells[between] - log_root_saddles[:, None]
    over_saddle = frequency * jnp.exp(log_prefactor - barriers / diffusion)
    # Several saddles may join the same two wells: their rates add up.
    first, second = between.T
    rates = jnp.zeros((len(minima), len(minima)), over_saddle.dtype)
    rates = rates.at[first, second].add(over_saddle[:, 0])
    rates = rates.at[second, first].add(over_saddle[:, 1])
    # The energies of a process with kT are U D / kT.
    heights = barriers if equation.kT is None else barriers * (equation.kT / diffusion)
    return EyringKramers(minima, saddles, between, heights, rates, _gap(rates))


def _gap(rates: Array) -> Array:
    """The slowest rate: the smallest singular value but zero of the factor A of the
    chain, from wells to links,

        (A psi)_ab = sqrt(k_ba) psi_b - sqrt(k_ab) psi_a,

    which for two wells is k_ab + k_ba, with nothing subtracted.
    """
    m = rates.shape[0]
    first, second = (jnp.asarray(u) for u in np.triu_indices(m, 1))
    rows = jnp.arange(first.size)
    factor = jnp.zeros((first.size, m), rates.dtype)
    factor = factor.at[rows, second].set(jnp.sqrt(rates[second, first]))
    factor = factor.at[rows, first].set(-jnp.sqrt(rates[first, second]))
    return jnp.linalg.svd(factor, compute_uv=False)[m - 2] ** 2


def _connected(count: int, links: list[tuple[int, int]]) -> bool:
    """Whether links join all of `count` wells, by way of others."""
    # Each well starts in a group of its own, and a link makes two groups one.
    group = list(range(count))
    for a, b in links:
        group = [group[a] if g == group[b] else g for g in group]
    return len(set(group)) == 1
