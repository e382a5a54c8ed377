"""How well an axis resolves a wave: its shortest waves, and what the two ends of a box hand to each other.

    aliasing error     the shortest tenth of the frequencies of psi, times sqrt(pi): what the nodes mix with longer ones
    wrap-around error  psi at one end of a box times sqrt(pi) at the other: what a Fourier basis carries round

Both in L1 as a density. Where p is wider than sqrt(pi), psi = p / sqrt(pi) grows towards the ends of the box, and both
errors are those of the wave although the density has none.

Every function takes the array module `xp`, numpy on the host or jax.numpy in a program: a fit and a run use the same
estimates.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..grid import Axis, Grid

# Of the sampling frequency: above it lies the shortest tenth, 0.45 to 0.5 (a free choice).
SHORTEST = 0.45
# An aliasing error is put down to the wave where it exceeds so many times that of its density (a free choice).
EXCESS = 4.0


def aliasing_error(grid: Grid, wave: Any, sqrt_pi: Any, damping: Any, xp: Any = jnp) -> tuple[Any, Any]:
    """The errors of a wave `(*shape)` and of its density sqrt(pi) psi, each in L1; `damping` `(d,)` is what is left of
    the shortest tenth along each axis when the state is first reported."""
    density = sqrt_pi * wave
    of_wave = of_density = xp.zeros((), wave.real.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:  # whose highest polynomials mix with no others
            short = xp.abs(short_part(wave, axis, i, xp) * sqrt_pi)
            of_wave = of_wave + damping[i] * _integral(grid, short, xp)
            of_density = of_density + damping[i] * _integral(grid, xp.abs(short_part(density, axis, i, xp)), xp)
        if axis.unbounded:
            # A strip of one cell at each end, as wide as the box: the wave there is carried to the other end.
            ends = [0, axis.n - 1]
            section = xp.take(_weights(grid, wave, xp), xp.asarray(ends), axis=i) * axis.n
            wave_ends, root_ends = (xp.take(u, xp.asarray(ends), axis=i) for u in (wave, sqrt_pi))
            of_wave = of_wave + xp.sum(section * xp.abs(wave_ends * xp.flip(root_ends, i)))
            of_density = of_density + xp.sum(section * xp.abs(xp.take(density, xp.asarray(ends), axis=i)))
    return of_wave, of_density


def short_wave_share(field: Any, axis: Axis, i: int, xp: Any = jnp) -> Any:
    """The largest coefficient of the shortest tenth along axis i, relative to the largest of all."""
    spectrum, high = frequencies(field, axis, i, xp)
    return xp.max(xp.abs(xp.where(high, spectrum, 0))) / xp.max(xp.abs(spectrum))


def short_wave_damping(diffusion: Any, axis: Axis, t: Any, xp: Any = jnp) -> Any:
    """What a diffusion leaves after a time t of the shortest tenth along an axis."""
    shortest = 2 * SHORTEST * np.pi * axis.n / axis.length
    return xp.exp(-diffusion * shortest**2 * t)


def frequencies(field: Any, axis: Axis, i: int, xp: Any = jnp) -> tuple[Any, Any]:
    """The Fourier coefficients along axis i, and which belong to the shortest tenth. Sines are made odd first."""
    odd = xp.concatenate([field, -xp.flip(field, i)], i) if axis.boundary == "absorbing" else field
    high = np.abs(np.fft.fftfreq(odd.shape[i])) > SHORTEST
    return xp.fft.fft(odd, axis=i), high.reshape(-1, *[1] * (field.ndim - 1 - i))


def short_part(field: Any, axis: Axis, i: int, xp: Any = jnp) -> Any:
    """The part of a field that belongs to the shortest tenth along axis i."""
    spectrum, high = frequencies(field, axis, i, xp)
    part = xp.fft.ifft(xp.where(high, spectrum, 0), axis=i)
    part = part if xp.iscomplexobj(field) else part.real
    return part[tuple(slice(axis.n) if j == i else slice(None) for j in range(field.ndim))]


def _weights(grid: Grid, like: Any, xp: Any) -> Any:
    weights = xp.ones((), like.real.dtype)
    for axis in grid.axes:
        weights = weights[..., None] * xp.asarray(axis.weights, dtype=like.real.dtype)
    return weights


def _integral(grid: Grid, field: Any, xp: Any) -> Any:
    return xp.sum(_weights(grid, field, xp) * field)
