"""What the axes fold of a wave: the part that a basis cannot tell from another, in L1 as a density.

    rings    the shortest tenth of the frequencies of psi, times sqrt(pi): what aliasing has mixed
    wraps    what the two ends of a box hand to each other, psi at one end times sqrt(pi) at the other

Where p is wider than sqrt(pi), psi = p / sqrt(pi) grows towards the ends of the box, and folds although p does not.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Axis, Grid, Legendre, Line

SHORTEST = 0.45  # of the frequency of sampling, above which a wave is among the shortest tenth
MORE = 4.0  # than of the density that the axes may fold of a wave


def folded(grid: Grid, wave: Array, root: Array, damping: Array) -> tuple[Array, Array]:
    """What the axes fold of a wave `(*shape)`, and what they fold of its density root * wave; `damping` `(d,)` is what
    is left of the shortest tenth along each axis."""
    density = root * wave
    measure = jnp.broadcast_to(grid.weights, wave.shape)
    folds = jnp.zeros(2, wave.real.dtype)
    for i, axis in enumerate(grid.axes):
        if not isinstance(axis, Legendre):
            parts = [short_part(wave, axis, i) * root, short_part(density, axis, i)]
            folds = folds + jnp.stack([grid.integrate(jnp.abs(part)) for part in parts]) * damping[i]
        if isinstance(axis, Line):
            ends = lambda u, i=i, n=axis.n: jnp.take(u, jnp.asarray([0, n - 1]), axis=i)
            section = ends(measure) * axis.n
            wrapped = [ends(wave) * jnp.flip(ends(root), i), ends(density)]
            folds = folds + jnp.stack([jnp.sum(section * jnp.abs(part)) for part in wrapped])
    return folds[0], folds[1]


def frequencies(field: Array, axis: Axis, i: int) -> tuple[Array, Array]:
    """The coefficients along axis i, and which are of the shortest tenth."""
    odd = jnp.concatenate([field, -jnp.flip(field, i)], i) if axis.ends == "open" else field
    high = jnp.abs(jnp.fft.fftfreq(odd.shape[i])) > SHORTEST
    return jnp.fft.fft(odd, axis=i), high.reshape(-1, *[1] * (field.ndim - 1 - i))


def short_part(field: Array, axis: Axis, i: int) -> Array:
    """The part of a field that is of the shortest tenth along axis i."""
    spectrum, high = frequencies(field, axis, i)
    part: Any = jnp.fft.ifft(jnp.where(high, spectrum, 0), axis=i)
    part = part if jnp.iscomplexobj(field) else part.real
    return jax.lax.slice_in_dim(part, 0, axis.n, axis=i)
