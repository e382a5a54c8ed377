"""Whether the functions of a process are smooth between nodes, as a basis needs them.

Two tests of a function f on an interval of length h between the nodes a and b, whose
middle is m:

    integral    f(b) - f(a)  against  h (5 f'(g_1) + 8 f'(m) + 5 f'(g_2)) / 18
    cubic       f(m)         against  (f(a) + f(b)) / 2 + h (f'(a) - f'(b)) / 8

with g_1, g_2 = m -+ sqrt(3 / 20) h. The first is Gauss' rule, and the second the cubic
of Hermite.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import sampling_program
from ..core.types import Formula, Scalar
from ..equation import Equation, FokkerPlanck
from ..grid import Axis, Grid, sample_product
from ..operator.subcells import changes
from .constants import CONSTANTS


def why_no_basis(equation: Equation, grid: Grid, t: Scalar = 0.0) -> str | None:
    """Why no basis can represent a process that is not reversible, as far as its
    numbers are known: a diffusion that vanishes, or a function that has a jump or a
    kink between nodes, of which its derivatives at nodes show nothing.
    """
    assert isinstance(equation, FokkerPlanck), "only a process is tested"
    if equation.without_diffusion:
        return "the diffusion vanishes along an axis"
    # A function that is traced cannot be examined; if only the rest is, the diffusion
    # alone is.
    if not is_concrete(equation, t):
        if not callable(equation.diffusion) or not is_concrete(equation.diffusion):
            return None
        equation = FokkerPlanck(None, equation.diffusion)
    vanishes, jumps = _irregularities(equation, grid, as_array(t))
    if bool(vanishes):
        return "the diffusion vanishes"
    return "a function has a jump or a kink between nodes" if bool(jumps) else None


@sampling_program
def _irregularities(
    equation: FokkerPlanck, grid: Grid, t: Scalar
) -> tuple[Array, Array]:
    """Whether the diffusion vanishes somewhere, and whether a function jumps, or U or D
    has a kink, between nodes.
    """
    vanishes = jnp.zeros((), bool)
    jumps = jnp.zeros((), bool)
    for i, axis in enumerate(grid.axes):
        lengths = axis.spacings
        middles = axis.endpoints[0] + lengths / 2

        def places(x: np.ndarray, i: int = i, axis: Axis = axis) -> tuple[Array, ...]:
            """The nodes of all axes, with x in the place of those of axis i; beyond the
            end of a ring at its start.
            """
            if axis.boundary == "periodic":
                x = np.where(x > axis.upper, x - axis.length, x)
            return tuple(
                jnp.asarray(x if j == i else a.nodes, dtype=float)
                for j, a in enumerate(grid.axes)
            )

        diffusion = lambda x, i=i: equation.diffusions(x)[i]
        scale = sample_product(diffusion, places(middles))
        at_edges = sample_product(diffusion, places(axis.edges))
        vanishes = vanishes | jnp.any(scale <= 0) | jnp.any(at_edges <= 0)
        functions = []
        if equation.potential is not None:
            functions.append(lambda x: equation.energy(x, t))
        if callable(equation.diffusion):
            functions.append(diffusion)
        for function in functions:
            misses = _misses(function, grid, i, places)
            # Both functions, U and D, are compared with D. Where D vanishes no jump is
            # found, since `vanishes` has been set there.
            limit = CONSTANTS.largest_defect * jnp.where(scale > 0, scale, jnp.inf)
            jumps = jumps | jnp.any(misses > limit)
        if (force := equation.force) is not None:
            # A force is not differentiated: its values at nodes and between them show
            # jumps alone.
            ends = np.sort(np.concatenate([axis.nodes, middles]))
            component = lambda x, i=i, f=force: f(x, t)[i]
            values = sample_product(component, places(ends))
            jumps = jumps | jnp.any(changes(values, i))
    return vanishes, jumps


def _misses(
    function: Formula,
    grid: Grid,
    i: int,
    places: Callable[[np.ndarray], tuple[Array, ...]],
) -> Array:
    """By how much the derivatives of a function miss its differences between nodes
    along axis i; zero where that is little relative to its changes nearby.

    Two tests: the integral of the derivative against the difference, and the cubic of
    values and derivatives at both ends against the value in the middle. A kink in the
    middle passes the first, one that Gauss' points straddle the second.
    """

    def with_slope(x: Array) -> tuple[Array, Array]:
        direction = jnp.zeros_like(x).at[i].set(1)
        return jax.jvp(function, (x,), (direction,))

    def sampled(part: float) -> tuple[Array, Array]:
        """Values and slopes at this part of each interval."""
        return _sample_pair(with_slope, places(below + part * spacings))

    axis = grid.axes[i]
    below = axis.endpoints[0]
    spacings = axis.spacings
    lengths = grid.along_axis(i, spacings)
    value_a, slope_a = sampled(0.0)
    value_m, slope_m = sampled(0.5)
    value_b, slope_b = sampled(1.0)
    # The outer points of Gauss' rule of three points.
    slope_l = sampled(0.5 - np.sqrt(3 / 20))[1]
    slope_r = sampled(0.5 + np.sqrt(3 / 20))[1]
    integral = lengths * (5 * slope_l + 8 * slope_m + 5 * slope_r) / 18
    cubic = (value_a + value_b) / 2 + lengths * (slope_a - slope_b) / 8
    missed_integral = jnp.abs(value_b - value_a - integral)
    missed = jnp.maximum(missed_integral, jnp.abs(value_m - cubic))
    # The changes in the interval and in its two neighbours.
    steepest = jnp.maximum(jnp.abs(slope_a), jnp.abs(slope_b))
    size = jnp.maximum(jnp.abs(value_b - value_a), lengths * steepest)
    below_size = jnp.roll(size, 1, i)
    above_size = jnp.roll(size, -1, i)
    nearby = jnp.maximum(size, jnp.maximum(below_size, above_size))
    return jnp.where(missed > CONSTANTS.largest_missed_change * nearby, missed, 0)


def _sample_pair(
    function: Callable[[Array], tuple[Array, Array]], positions: tuple[Array, ...]
) -> tuple[Array, Array]:
    both = sample_product(lambda x: jnp.stack(function(x)), positions)
    return both[..., 0], both[..., 1]
