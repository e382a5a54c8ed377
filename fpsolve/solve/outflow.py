"""The mass that a velocity carries out of the box of a grid, by particles that follow
it.

    dX/dt = v(X, t),   X(0) a node with the mass p(X) w        Runge-Kutta of order 4

A particle that crosses an end of an `fp.Line` has left. On a grid the waves that leave
at one end would come in at the other, since the Fourier basis joins the two.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.program import sampling_program
from ..equation import Continuity
from ..grid import Grid
from ..step.skew_steps import sample_velocity
from .constants import CONSTANTS

Numbers = Array | np.ndarray


class _Particles(NamedTuple):
    """Positions `(m, d)`, and the end of the box through which each left `(m,)`: 2 i
    and 2 i + 1 for the ends of axis i, or -1.
    """

    positions: Array
    exits: Array


def check_outflow(
    equation: Continuity, grid: Grid, density: Array, times: Array
) -> None:
    """Raise `ValueError` where more than `CONSTANTS.largest_outflow` of the mass of a
    density leaves the box.
    """
    if not any(axis.unbounded for axis in grid.axes):
        return
    last = float(np.max(np.asarray(times)))
    # Only the worst end is named.
    lost = mass_that_leaves(equation, grid, np.asarray(density), last)
    worst = int(np.argmax(lost))
    if lost[worst] > CONSTANTS.largest_outflow:
        axis = grid.axes[worst // 2]
        end = ("lower", "upper")[worst % 2]
        allowed = (
            f"it carries this part of the mass out of {axis!r} at its {end} end before "
            f"t = {last:g}"
        )
        cure = "Widen the box there, end the run earlier, or use fp.Periodic."
        raise_value_error("velocity", float(f"{lost[worst]:.3g}"), allowed, cure)


def mass_that_leaves(
    equation: Continuity, grid: Grid, density: np.ndarray, last: float
) -> np.ndarray:
    """The parts of the mass that leave through the lower and the upper end of each axis
    before `last`, `(2 d,)`.
    """
    # Every k-th node of each axis, so that there are about as many particles as wanted.
    stride = max(
        1, math.ceil((grid.size / CONSTANTS.outflow_particles) ** (1 / grid.ndim))
    )
    taken = tuple(slice(stride // 2, None, stride) for _ in grid.axes)
    nodes = [axis.nodes[stride // 2 :: stride] for axis in grid.axes]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(
        -1, grid.ndim
    )
    masses = (density * grid.weights_on_host)[taken].ravel()
    # Steps in which the fastest particle crosses the box in a fixed number of them.
    samples = CONSTANTS.outflow_times if equation.time_dependent else 1
    speeds = np.abs(
        np.asarray(sample_velocity(equation, grid, np.linspace(0.0, last, samples)))
    )
    boxes = last * np.max(
        speeds / np.asarray(grid.shape).reshape(1, -1, *[1] * grid.ndim)
    )
    steps = int(
        np.clip(
            CONSTANTS.outflow_steps * boxes,
            CONSTANTS.outflow_steps,
            CONSTANTS.most_outflow_steps,
        )
    )
    exits = np.asarray(
        _exits(equation, grid, points, np.asarray(last), np.asarray(steps))
    )
    lost = np.bincount(exits[exits >= 0], masses[exits >= 0], 2 * grid.ndim)
    return lost / np.sum(masses)


@sampling_program
def _exits(
    equation: Continuity, grid: Grid, points: Numbers, last: Numbers, steps: Numbers
) -> Array:
    """Where each particle leaves, as in `_Particles`."""
    lower = jnp.asarray([axis.lower for axis in grid.axes])
    upper = jnp.asarray([axis.upper for axis in grid.axes])
    unbounded = np.asarray([axis.unbounded for axis in grid.axes])
    length = last / steps

    def velocity(positions: Array, t: Array) -> Array:
        # Between two stages a particle may be outside, where the velocity need not be
        # defined.
        inside = jnp.clip(positions, lower, upper)
        return jax.vmap(lambda x: equation.velocity(x, t))(inside)

    def step(k: Array, now: _Particles) -> _Particles:
        t, x = k * length, now.positions
        first = velocity(x, t)
        second = velocity(x + length / 2 * first, t + length / 2)
        third = velocity(x + length / 2 * second, t + length / 2)
        fourth = velocity(x + length * third, t + length)
        x = x + length / 6 * (first + 2 * second + 2 * third + fourth)
        # On a ring a particle comes in at the other end.
        x = jnp.where(unbounded, x, lower + (x - lower) % (upper - lower))
        # Lower and upper end of each axis in turn, as `exits` counts them.
        sides = jnp.stack([x < lower, x > upper], axis=-1).reshape(len(x), -1)
        exit_now = jnp.where(jnp.any(sides, axis=1), jnp.argmax(sides, axis=1), -1)
        return _Particles(
            jnp.clip(x, lower, upper), jnp.where(now.exits >= 0, now.exits, exit_now)
        )

    start = _Particles(jnp.asarray(points), jnp.full(len(points), -1))
    return jax.lax.fori_loop(0, steps, step, start).exits
