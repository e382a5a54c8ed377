"""The mass that a velocity carries out of the box of a grid, by particles.

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
    equation: Continuity,
    grid: Grid,
    density: Array,
    times: Array,
) -> None:
    """Raise `ValueError` where more than `CONSTANTS.largest_outflow` leaves the box."""
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
    equation: Continuity,
    grid: Grid,
    density: np.ndarray,
    last: float,
) -> np.ndarray:
    """The parts of the mass that leave through the lower and the upper end of each axis
    before `last`, `(2 d,)`.
    """
    # Every k-th node of each axis, so that there are about as many particles as wanted.
    nodes_per_particle = grid.size / CONSTANTS.outflow_particles
    stride = max(1, math.ceil(nodes_per_particle ** (1 / grid.ndim)))
    taken = slice(stride // 2, None, stride)
    nodes = [axis.nodes[taken] for axis in grid.axes]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    points = points.reshape(-1, grid.ndim)
    masses = (density * grid.weights_on_host)[(taken,) * grid.ndim].ravel()
    # Steps in which the fastest particle crosses the box in a fixed number of them.
    samples = CONSTANTS.outflow_times if equation.time_dependent else 1
    times = np.linspace(0.0, last, samples)
    # Velocities `(times, d, *shape)` are in cells: divided by their number in boxes.
    speeds = np.abs(np.asarray(sample_velocity(equation, grid, times)))
    cells = np.asarray(grid.shape).reshape(1, -1, *[1] * grid.ndim)
    boxes_crossed = last * np.max(speeds / cells)
    least = CONSTANTS.outflow_steps
    wanted = np.clip(least * boxes_crossed, least, CONSTANTS.most_outflow_steps)
    # The number of steps enters as an array: another one needs no other program.
    steps = np.asarray(int(wanted))
    exits = np.asarray(_exits(equation, grid, points, np.asarray(last), steps))
    left = exits >= 0
    lost = np.bincount(exits[left], masses[left], 2 * grid.ndim)
    return lost / np.sum(masses)


@sampling_program
def _exits(
    equation: Continuity,
    grid: Grid,
    points: Numbers,
    last: Numbers,
    steps: Numbers,
) -> Array:
    """Where each particle leaves, as in `_Particles`."""
    lower = jnp.asarray([axis.lower for axis in grid.axes])
    upper = jnp.asarray([axis.upper for axis in grid.axes])
    unbounded = np.asarray([axis.unbounded for axis in grid.axes])
    length = last / steps

    def velocity(positions: Array, t: Array) -> Array:
        # A stage may lie outside of the box, where the velocity need not be defined.
        inside = jnp.clip(positions, lower, upper)
        return jax.vmap(lambda x: equation.velocity(x, t))(inside)

    def step(k: Array, now: _Particles) -> _Particles:
        t = k * length
        x = now.positions
        middle = t + length / 2
        first = velocity(x, t)
        second = velocity(x + length / 2 * first, middle)
        third = velocity(x + length / 2 * second, middle)
        fourth = velocity(x + length * third, t + length)
        x = x + length / 6 * (first + 2 * second + 2 * third + fourth)
        # On a ring a particle comes in at the other end.
        wrapped = lower + (x - lower) % (upper - lower)
        x = jnp.where(unbounded, x, wrapped)
        # Lower and upper end of each axis in turn, as `exits` counts them.
        sides = jnp.stack([x < lower, x > upper], axis=-1)
        sides = sides.reshape(len(x), -1)
        has_left = jnp.any(sides, axis=1)
        exit_now = jnp.where(has_left, jnp.argmax(sides, axis=1), -1)
        # The first exit counts, also where the velocity leads back inside.
        exits = jnp.where(now.exits >= 0, now.exits, exit_now)
        return _Particles(jnp.clip(x, lower, upper), exits)

    start = _Particles(jnp.asarray(points), jnp.full(len(points), -1))
    return jax.lax.fori_loop(0, steps, step, start).exits
