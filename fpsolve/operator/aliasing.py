"""How well an axis resolves a wave: its short waves, and the coupling of the two ends
of a box.

    aliasing error     the shortest tenth of the frequencies of psi, times sqrt(pi):
                       the nodes cannot tell them from longer waves
    wrap-around error  psi at one end of a box times sqrt(pi) at the other end:
                       a Fourier basis joins the two ends

Both in L1 as a density. Where p is wider than sqrt(pi), psi = p / sqrt(pi) grows
towards the ends of the box, and both errors are those of the wave although the density
has none.

Every function takes the array module `xp`, numpy on the host or jax.numpy in a program:
a fit and a run use the same estimates.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..core.types import AnyArray, ArrayModule, Scalar
from ..grid import Axis, Grid
from .constants import CONSTANTS


def aliasing_error(
    grid: Grid,
    wave: Any,
    sqrt_pi: AnyArray,
    damping: Sequence[Scalar] | AnyArray,
    xp: ArrayModule = jnp,
) -> tuple[Scalar, Scalar]:
    """The errors of a wave `(*shape)` and of its density sqrt(pi) psi, each in L1;
    `damping` `(d,)` is the factor by which diffusion has reduced the shortest tenth
    along each axis at the first reported time.
    """
    density = sqrt_pi * wave
    of_wave = of_density = xp.zeros((), wave.real.dtype)
    for i, axis in enumerate(grid.axes):
        # Waves on equal cells are aliased. The highest polynomials of a Legendre axis
        # are not mixed with others.
        if axis.uniform:
            short = xp.abs(short_part(wave, axis, i, xp) * sqrt_pi)
            of_wave = of_wave + damping[i] * _integral(grid, short, xp)
            short = xp.abs(short_part(density, axis, i, xp))
            of_density = of_density + damping[i] * _integral(grid, short, xp)
        # The wave at each end reaches the other end, because a Fourier basis joins
        # them. Its value counts as if it filled the length of the box.
        if axis.unbounded:
            ends = xp.asarray([0, axis.n - 1])
            section = xp.take(_weights(grid, wave, xp), ends, axis=i) * axis.n
            wave_ends = xp.take(wave, ends, axis=i)
            density_ends = xp.take(density, ends, axis=i)
            opposite_sqrt_pi = xp.flip(xp.take(sqrt_pi, ends, axis=i), i)
            wrapped = xp.abs(wave_ends * opposite_sqrt_pi)
            of_wave = of_wave + xp.sum(section * wrapped)
            of_density = of_density + xp.sum(section * xp.abs(density_ends))
    return of_wave, of_density


def short_wave_fraction(
    field: AnyArray,
    axis: Axis,
    i: int,
    xp: ArrayModule = jnp,
) -> AnyArray:
    """The largest coefficient of the shortest tenth along axis i, over that of all."""
    spectrum, short = frequencies(field, axis, i, xp)
    largest_short = xp.max(xp.abs(xp.where(short, spectrum, 0)))
    return largest_short / xp.max(xp.abs(spectrum))


def short_wave_damping(
    diffusion: Scalar,
    axis: Axis,
    t: Scalar,
    xp: ArrayModule = jnp,
) -> AnyArray:
    """The factor by which diffusion reduces the shortest tenth in a time t."""
    return xp.exp(-diffusion * short_wavenumber(axis) ** 2 * t)


def short_wavenumber(axis: Axis) -> float:
    """The least wavenumber of the shortest tenth along an axis."""
    return 2 * _short_wave_frequency() * np.pi * axis.n / axis.length


def frequencies(
    field: AnyArray,
    axis: Axis,
    i: int,
    xp: ArrayModule = jnp,
) -> tuple[AnyArray, np.ndarray]:
    """The Fourier coefficients along axis i, and which of them belong to the shortest
    tenth.

    A field between absorbing walls is a sum of sines. It is continued as an odd
    function, which is periodic and smooth.
    """
    periodic = field
    if axis.boundary == "absorbing":
        periodic = xp.concatenate([field, -xp.flip(field, i)], i)
    size = np.abs(np.fft.fftfreq(periodic.shape[i]))
    short = size > _short_wave_frequency()
    later_axes = [1] * (field.ndim - 1 - i)
    return xp.fft.fft(periodic, axis=i), short.reshape(-1, *later_axes)


def short_part(field: AnyArray, axis: Axis, i: int, xp: ArrayModule = jnp) -> AnyArray:
    """The part of a field that belongs to the shortest tenth along axis i."""
    spectrum, short = frequencies(field, axis, i, xp)
    part = xp.fft.ifft(xp.where(short, spectrum, 0), axis=i)
    part = part if xp.iscomplexobj(field) else part.real
    # Only the first half of an odd continuation is the field.
    window = [slice(None)] * field.ndim
    window[i] = slice(axis.n)
    return part[tuple(window)]


def _short_wave_frequency() -> float:
    """The lowest frequency of the shortest tenth, in units of the sampling frequency,
    of which half is the highest.
    """
    return 0.5 - CONSTANTS.short_wave_band


def _weights(grid: Grid, like: Any, xp: ArrayModule) -> AnyArray:
    """The weights `(*shape)` as an array of `xp`, in the precision of `like`."""
    dtype = like.real.dtype
    weights = xp.ones((), dtype)
    for axis in grid.axes:
        weights = weights[..., None] * xp.asarray(axis.weights, dtype=dtype)
    return weights


def _integral(grid: Grid, field: AnyArray, xp: ArrayModule) -> Scalar:
    return xp.sum(_weights(grid, field, xp) * field)
