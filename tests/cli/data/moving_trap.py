"""A harmonic trap that is dragged from 0 to 1 within one unit of time, and then stands
still.
"""

import jax.numpy as jnp

import fpsolve as fp

SPEED = 1.0


def potential(x, t):
    """U(x, t) = 2 (x - c(t))^2 with the centre c(t) = min(t, 1)."""
    return 2 * (x[0] - jnp.minimum(SPEED * t, 1.0)) ** 2


diffusion = 0.5
initial = fp.Gaussian(0.0, 0.125)
times = [0.5, 1.0, 2.0]
grid = fp.Grid(fp.Line(-2.5, 3.5, 64))
tol = 1e-6
