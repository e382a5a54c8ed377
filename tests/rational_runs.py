"""Processes and waves on one axis, and runs of the rational exponential on them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from fpsolve.propagate import Picture

TIMES = [1e-6, 1e-2, 1.0, 50.0, 1e4]
VOLUMES = fp.ScharfetterGummel()
BARRIER = fp.FokkerPlanck(lambda x: 3 * (x[0] ** 2 - 1) ** 2)
WAVY = fp.FokkerPlanck(lambda x: 2 * jnp.cos(x[0]))
PUSHED = fp.FokkerPlanck(None, 0.7, lambda x: -(x**3) + x + 1.0)
UNEVEN = fp.FokkerPlanck(
    lambda x: x[0] ** 2 / 2, lambda x: 1 + 0.5 * x[0] ** 2 / (1 + x[0] ** 2)
)
SYSTEMS = {
    "line": (BARRIER, fp.Line(-2.5, 2.5, 64)),
    "reflecting": (BARRIER, fp.Reflecting(-1.7, 2.1, 49)),
    "absorbing": (BARRIER, fp.Absorbing(-2.0, 2.0, 48)),
    "periodic": (WAVY, fp.Periodic(0.0, 2 * np.pi, 51)),
    "legendre": (BARRIER, fp.Legendre(-1.8, 1.8, 32)),
    "force": (PUSHED, fp.Line(-3.0, 3.0, 50)),
    "diffusion of x": (UNEVEN, fp.Line(-5.0, 5.0, 52)),
    "force, absorbing": (PUSHED, fp.Absorbing(-2.0, 2.0, 40)),
}
WAVES = {
    "well": (
        fp.Schrodinger(lambda x: -10 * x[0] ** 2 + x[0] ** 4),
        fp.Line(-5.0, 5.0, 60),
    ),
    "well, walls": (fp.Schrodinger(lambda x: x[0] - 8), fp.Absorbing(0.0, 2.0, 40)),
    "well on a ring": (
        fp.Schrodinger(lambda x: jnp.cos(x[0]) - 3),
        fp.Periodic(0.0, 2 * np.pi, 41),
    ),
}


def build(equation, grid, dtype=float):
    process = isinstance(equation, fp.FokkerPlanck)
    return VOLUMES.build(
        equation,
        grid,
        0.0,
        dtype,
        process and equation.irreversible_because(grid) is None,
    )


@eqx.filter_jit
def advance(method, operator, picture, field, times, tol):
    return method.apply(method.prepare(operator, picture), field, times, tol, 0.0)


def spot(grid, share=0.3, width=0.2):
    axis = grid.axes[0]
    return grid.density(
        lambda x: jnp.exp(
            -(((x[0] - axis.lower - share * axis.length) / width) ** 2) / 2
        )
    )


def run(system, times, method, start=None, tol=1e-10):
    equation, axis = system
    grid = fp.Grid(axis)
    start = spot(grid) if start is None else start
    picture = Picture.DENSITY if isinstance(equation, fp.FokkerPlanck) else Picture.WAVE
    return advance(
        method,
        build(equation, grid),
        picture,
        start,
        jnp.asarray(times),
        jnp.asarray(tol),
    )


def distance(axis, values, truth):
    weights = np.asarray(axis.weights)
    return np.sum(weights * np.abs(values - truth), axis=-1) / np.sum(
        weights * np.abs(truth), axis=-1
    )
