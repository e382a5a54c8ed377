"""Waves of a flow, d_t psi = -G(t) psi with an antisymmetric G, by orthogonal steps.

    static      exp(-t G), to rounding (`propagate.skew_exponential`)
    moving      the commutator-free Magnus method of order 4 with two Gauss nodes a step

                    M(s) = exp(-s (b G1 + a G2)) exp(-s (a G1 + b G2)),
                    a = 1/4 + r,    b = 1/4 - r,    r = sqrt(3) / 6

                and Suzuki's composition to order 6

                    M(qs)^2 M((1 - 4q)s) M(qs)^2,    q = 1 / (4 - 4^(1/5))

G is linear in the velocity, so that each factor is the exponential of one velocity at
the nodes. A product of orthogonal matrices is orthogonal: the norm of psi is kept to
rounding by steps of every length. The number of steps of an interval is doubled until
the difference of two answers, extrapolated by the ratio of two differences, is small.

References: Blanes and Moan, Appl. Numer. Math. 56 (2006) 1519; Suzuki, Phys. Lett. A
146 (1990) 319.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import long_program, quick_program, sampling_program
from ..equation.continuity import Continuity
from ..grid import Grid
from ..operator.skew import SkewOperator
from ..propagate.skew_exponential import Moved, skew_exponential
from .constants import CONSTANTS

# half of the distance of the two Gauss nodes of a step of length 1
_HALF = math.sqrt(3) / 6
_GAUSS = np.asarray([0.5 - _HALF, 0.5 + _HALF])
_OUTER = 1 / (4 - 4 ** (1 / 5))  # q, by which errors of order 5 cancel: derived
_PARTS = np.asarray([_OUTER, _OUTER, 1 - 4 * _OUTER, _OUTER, _OUTER])
_STARTS = np.concatenate([[0.0], np.cumsum(_PARTS)[:-1]])
# The times at which a step of length 1 samples the velocity, `(10,)`: two in each part.
_NODES = (_STARTS[:, None] + _PARTS[:, None] * _GAUSS).ravel()
# The weights of the two samples of a part in its two factors, the first factor first.
_LARGE = 0.25 + _HALF
_SMALL = 0.25 - _HALF
_WEIGHTS = np.asarray([[_LARGE, _SMALL], [_SMALL, _LARGE]])
ORDER = 6


class Taken(NamedTuple):
    """The wave after an interval, the products, the estimated error in L1 of the
    density, and the number of steps.
    """

    wave: Array
    calls: Array
    error: Array
    steps: int


@sampling_program
def sample_velocity(
    equation: Continuity, grid: Grid, times: Array | np.ndarray
) -> Array:
    """The velocity at the nodes at `times` `(m,)`, in cells of the grid per time:
    `(m, d, *shape)`.
    """
    units = jnp.asarray(grid.units)

    def at(t: Array) -> Array:
        def in_cells(x: Array) -> Array:
            return equation.velocity(x, t) / units.astype(x.dtype)

        return jnp.moveaxis(grid.sample(in_cells), -1, 0)

    # One time after the other, which bounds the memory.
    return jax.lax.map(at, jnp.asarray(times))


@long_program
def run_static(velocity: Array, wave: Array, times: Array, grid: Grid) -> Moved:
    """The waves `(T, *shape)` at `times` by a static velocity `(d, *shape)`, and the
    products until then `(T,)`; `grid` is in units of its cells.
    """
    operator = SkewOperator(velocity.astype(wave.dtype), grid)

    def advance(wave: Array, length: Array) -> tuple[Array, Moved]:
        moved = skew_exponential(operator, wave, length)
        # A time that is given twice costs nothing.
        calls = jnp.where(length > 0, moved.calls, 0)
        return moved.wave, moved._replace(calls=calls)

    # Each time is reached from the one before.
    lengths = jnp.diff(times.astype(wave.dtype), prepend=0.0)
    _, moved = jax.lax.scan(advance, wave, lengths)
    return Moved(moved.wave, jnp.cumsum(moved.calls))


@long_program
def _steps(velocities: Array, wave: Array, length: Array, grid: Grid) -> Moved:
    """Steps of one `length`, as many as there are velocities `(n, 10, d, *shape)`."""
    dtype = wave.dtype
    parts = jnp.asarray(_PARTS, dtype)
    weights = jnp.asarray(_WEIGHTS, dtype)

    def factor(carry: Moved, velocity: Array) -> tuple[Moved, None]:
        moved = skew_exponential(SkewOperator(velocity, grid), carry.wave, length)
        return Moved(moved.wave, carry.calls + moved.calls), None

    def step(carry: Moved, sampled: Array) -> tuple[Moved, None]:
        pairs = sampled.astype(dtype).reshape(len(parts), 2, *sampled.shape[1:])
        # The middle part goes back in time: its sign belongs to the velocity, so that
        # lengths are positive.
        mixed = jnp.einsum("p,fk,pk...->pf...", parts, weights, pairs)
        factors = mixed.reshape(2 * len(parts), *sampled.shape[1:])
        return jax.lax.scan(factor, carry, factors)

    start = Moved(wave, jnp.zeros((), dtype))
    moved, _ = jax.lax.scan(step, start, velocities)
    return moved


def take_steps(
    equation: Continuity,
    grid: Grid,
    wave: Array,
    start: Array,
    end: Array,
    steps: int,
    together: int,
) -> Moved:
    """`steps` equal steps from `start` to `end`, some of them `together` by one
    program, which divide their number.
    """
    length = (end - start) / steps
    moved = Moved(wave, jnp.zeros((), wave.dtype))
    for first in range(0, steps, together):
        places = np.add.outer(first + np.arange(together), _NODES)
        times = start + length * jnp.asarray(places.ravel(), length.dtype)
        velocities = sample_velocity(equation, grid, times)
        velocities = velocities.reshape(together, len(_NODES), grid.ndim, *grid.shape)
        step_length = length.astype(wave.dtype)
        taken = _steps(velocities, moved.wave, step_length, grid.in_cells)
        moved = Moved(taken.wave, moved.calls + taken.calls)
    return moved


def adaptive_interval(
    equation: Continuity,
    grid: Grid,
    wave: Array,
    start: float,
    end: float,
    tol: float,
    first: int,
) -> Taken:
    """One interval by as many steps as `tol`, the error in L1 of the density, takes;
    the host chooses them.
    """
    count = first
    ends = (as_array(start), as_array(end))
    # Always as many steps in one program, so that it is compiled once.
    together = CONSTANTS.first_skew_steps
    coarse = take_steps(equation, grid, wave, *ends, count, together)
    calls = coarse.calls
    before = None
    ratio = CONSTANTS.first_skew_ratio
    worst = CONSTANTS.worst_skew_ratio
    error = np.inf
    for _ in range(CONSTANTS.max_skew_doublings):
        count *= 2
        fine = take_steps(equation, grid, wave, *ends, count, together)
        calls = calls + fine.calls
        apart = float(density_distance(coarse.wave, fine.wave, grid.in_cells))
        # The first difference has nothing to be compared with.
        if before is not None:
            ratio = float(np.clip(apart / before, CONSTANTS.best_skew_ratio, worst))
        before = apart
        coarse = fine
        # The rest of a geometric series. Where differences do not fall yet, the steps
        # are too long to foresee anything.
        error = apart * ratio / (1 - ratio) if ratio < worst else apart
        # Written with `not`, so that NaN ends the loop; the result code reports it.
        if not error > tol:
            break
    return Taken(coarse.wave, calls, as_array(error), count)


def traced_interval(
    equation: Continuity, grid: Grid, wave: Array, start: Array, end: Array
) -> Taken:
    """One interval by a fixed number of steps, which can be traced; the error is the
    difference from half as many.
    """
    steps = CONSTANTS.traced_skew_steps
    # Each of the two is one program, which can be differentiated.
    coarse = take_steps(equation, grid, wave, start, end, steps // 2, steps // 2)
    fine = take_steps(equation, grid, wave, start, end, steps, steps)
    error = density_distance(coarse.wave, fine.wave, grid.in_cells)
    return Taken(fine.wave, coarse.calls + fine.calls, error, steps)


@quick_program
def density_distance(first: Array, second: Array, grid: Grid) -> Array:
    """A bound of the distance in L1 of the densities of two waves: |psi - chi| |psi +
    chi|, relative to |chi|^2.

    A constant to derivatives.
    """
    difference = grid.integrate((first - second) ** 2)
    total = grid.integrate((first + second) ** 2)
    apart = difference * total
    return jax.lax.stop_gradient(jnp.sqrt(apart) / grid.integrate(second**2))
