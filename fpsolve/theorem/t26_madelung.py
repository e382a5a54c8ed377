"""T26, the fluid of a wave: the phase and the density of a wave in real time obey the
equations of Madelung.

    d_t rho = -div(rho v),      v = 2 D grad S
    d_t S = -D |grad S|^2 - V + D Lap sqrt(rho) / sqrt(rho)

Both left sides are central differences in time of waves that `evolve` returns, so that
the residuals are of order 2 in their step. Control: with V + 0.01 x the residual of the
second equation is 0.01 x, whatever the step.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Schrodinger
from ..flow.madelung import madelung
from ..grid import Axis, Grid, Line
from ..operator.skew import derivative
from ..solve.evolve import evolve
from .base import Case, Measured, claim
from .problems import Function


def anharmonic(x: Array) -> Array:
    """V = x^2 / 2 + x^4 / 10 + 3 x / 10."""
    return x[0] ** 2 / 2 + x[0] ** 4 / 10 + 0.3 * x[0]


@claim(
    "T26",
    "∂_t S = -D|∇S|² - V + D Δ√ρ/√ρ for the phase of a wave in real time, to order 2",
    kind="order",
    claimed=2,
    sizes=(25, 50, 100, 200),  # 1 / step of the difference in time
    control=("T26.control", "the phase does not obey the equation with V + 0.01 x"),
    hypotheses=(
        "i d_t psi = (-D Lap + V) psi, psi = sqrt(rho) e^{iS} away from the nodes of "
        "psi"
    ),
    source="Madelung, Z. Phys. 40 (1927) 322; Nelson, Phys. Rev. 150 (1966) 1079",
)
def phase_equation(
    case: Case,
    *,
    potential: Function = anharmonic,
    diffusion: float = 0.5,
    axis: Axis = Line(-6.0, 6.0, 72),
    time: float = 0.3,
    # the density from which the residual counts, relative to the largest
    least: float = 1e-4,
) -> Measured:
    """The difference of the phase in time, and the right side, where rho counts."""
    grid = Grid(axis)
    x = grid.nodes[0]
    start = jnp.exp(-((x - 0.5) ** 2) / 1.2 + 0.4j * x)
    step = 1 / case.size
    times = np.asarray([time - step, time, time + step])
    options = {"tol": 1e-11, "check": False}
    equation = Schrodinger(potential, diffusion)
    run = evolve(
        equation,
        start,
        times,
        grid=grid,
        wick=math.pi / 2,
        **options,
    )
    before, wave, after = run.values
    # The angle of the quotient, not the difference of two angles, which jump by 2 pi.
    change = jnp.angle(after * jnp.conj(before)) / (2 * step)
    tilt = 0.01 if case.control else 0.0
    # Where rho vanishes there is no phase.
    density = jnp.abs(wave) ** 2
    counted = density > least * jnp.max(density)
    right = _right_side(grid, wave, potential, diffusion) - tilt * x
    left = jnp.where(counted, change, 0.0)
    return np.asarray(left), np.asarray(jnp.where(counted, right, 0.0))


def _right_side(
    grid: Grid, wave: Array, potential: Function, diffusion: float
) -> Array:
    """-D |grad S|^2 - V + D Lap sqrt(rho) / sqrt(rho)."""
    fluid = madelung(wave, grid, diffusion=diffusion)
    size = jnp.abs(wave)
    axis = grid.axes[0]
    curvature = derivative(axis, 0, derivative(axis, 0, size))
    # The divisor is not below the error of the wave, where the quotient has no digits.
    quantum = diffusion * curvature / jnp.maximum(size, fluid.wave_error)
    # grad S = v / (2 D)
    motion = fluid.current[:, 0] ** 2 / (4 * diffusion)
    return quantum - motion - grid.sample(potential)
