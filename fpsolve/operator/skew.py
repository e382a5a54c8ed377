"""The generator of a flow on a grid, an antisymmetric matrix: G psi = (v.grad + (div v)
/ 2) psi.

    G = 1/2 sum_i ( V_i D_i + D_i V_i )

V_i multiplies by the velocity at the nodes, and D_i is the antisymmetric derivative of
the Fourier basis at the nodes: G is antisymmetric on every grid, so that exp(-t G) is
orthogonal and the norm of psi is constant. No divergence of v is computed: in the
continuum (V D + D V)/2 = v D + (div v)/2.

For v = grad phi, G = -[K, phi] with K = -(1/2) sum_i D_i^2; on a grid the two differ by
aliasing (`commutator`).

Reference: arXiv 2510.08462, the Fourier-collocation form; theorem T27.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis, matmul_along_axis
from ..core.checks import raise_value_error
from ..grid import Axis, Grid
from .basis import evaluate
from .constants import CONSTANTS


class SkewOperator(eqx.Module):
    """G of a velocity `(d, *shape)` at the nodes of a grid of `Line` and `Periodic`
    axes.

    **Keeps**: antisymmetry to rounding. **Cost**: two derivatives an axis.
    """

    velocity: Array
    grid: Grid = eqx.field(static=True)

    def apply(self, wave: Array) -> Array:
        """G psi, `(*shape)`."""
        total = jnp.zeros_like(wave)
        for i, axis in enumerate(self.grid.axes):
            speed = self.velocity[i]
            # Two halves that are each other's transposes, up to the sign.
            total = total + speed * derivative(axis, i, wave)
            total = total + derivative(axis, i, speed * wave)
        return total / 2

    @property
    def largest(self) -> Array:
        """A bound of the norm of G: the sum over the axes of the largest speed times
        the largest wavenumber.
        """
        rows = self.velocity.reshape(self.grid.ndim, -1)
        speeds = jnp.max(jnp.abs(rows), axis=1)
        wavenumbers = [largest_wavenumber(axis) for axis in self.grid.axes]
        return jnp.sum(speeds * jnp.asarray(wavenumbers, speeds.dtype))


def commutator(grid: Grid, potential: Array, wave: Array) -> Array:
    """-[K, phi] psi, G psi for v = grad phi, from values `(*shape)` at the nodes."""
    return potential * _kinetic(grid, wave) - _kinetic(grid, potential * wave)


def _kinetic(grid: Grid, wave: Array) -> Array:
    """K psi, K = -(1/2) sum_i D_i^2."""
    total = jnp.zeros_like(wave)
    for i, axis in enumerate(grid.axes):
        # D twice, and not a second derivative of its own: the identity is one of D.
        slope = derivative(axis, i, wave)
        total = total - derivative(axis, i, slope) / 2
    return total


def derivative(axis: Axis, i: int, wave: Array, ndim: int | None = None) -> Array:
    """D psi along axis i of the last `ndim` axes, for a real or a complex wave."""
    machine = jax.default_backend(), jnp.finfo(wave.dtype).bits
    least = CONSTANTS.fourier_min_nodes.get(machine)
    # A complex wave, and machines on which nothing was measured, take the matrix.
    if least is not None and axis.n >= least and not jnp.iscomplexobj(wave):
        return apply_along_axis(i, lambda u: _by_transform(axis, u), wave, ndim)
    matrix = jnp.asarray(derivative_matrix(axis), wave.real.dtype)
    return matmul_along_axis(i, matrix, wave, ndim)


def largest_wavenumber(axis: Axis) -> float:
    """The largest wavenumber of D. The highest wave of an even number of nodes has
    none: D maps it to zero.
    """
    return 2 * np.pi / axis.length * ((axis.n - 1) // 2)


@functools.lru_cache(maxsize=64)
def derivative_matrix(axis: Axis) -> np.ndarray:
    """D, `(n, n)`, antisymmetric to the last bit."""
    # The matrix of the basis is antisymmetric to rounding; the difference of the two
    # halves is exactly so.
    matrix, _ = evaluate(axis, axis.nodes)
    return (matrix - matrix.T) / 2


def check_skew(grid: Grid) -> None:
    """Raise `ValueError` for an axis with walls, on which D is not antisymmetric."""
    for axis in grid.axes:
        if axis.modes != "fourier":
            raise_value_error(
                "grid",
                axis,
                "a flow is evolved on axes without walls, where the matrix of a "
                "derivative is antisymmetric",
                "Use fp.Line, on which the density must decay, or fp.Periodic.",
            )


def _by_transform(axis: Axis, wave: Array) -> Array:
    """D along the last axis by the fast Fourier transform of real numbers."""
    n = axis.n
    wavenumbers = 2 * np.pi / axis.length * np.arange(n // 2 + 1)
    # The derivative of the highest wave of an even number of nodes vanishes at all
    # nodes.
    if n % 2 == 0:
        wavenumbers[-1] = 0.0
    symbol: Any = 1j * jnp.asarray(wavenumbers, wave.dtype)
    return jnp.fft.irfft(symbol * jnp.fft.rfft(wave), n)
