"""Jumps and kinks in time of a potential or a force: where they are, so that steps may end on them.

    jump    U(x, t+) != U(x, t-)             sampled differences do not shrink with the spacing h
    kink    d_t U(x, t+) != d_t U(x, t-)     second differences shrink as h, those of a smooth function as h^2

U and f are sampled at a few points on a fine set of times; an interval whose second difference stands out among its
neighbours is subdivided until it is known which of the three it is, and then until its place is known to rounding.
A pulse shorter than end / `SAMPLES` can be missed: give its ends.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..grid import Grid

SAMPLES = 512
CUTS = 16  # parts an interval is cut into
WINDOW, OUTSTANDING = 6, 8.0  # neighbours on either side, and how far above their median a candidate lies
MOST = 64
FRACTIONS = (0.17, 0.31, 0.47, 0.62, 0.79)


def find_breakpoints(equation: Any, grid: Grid, end: float) -> np.ndarray:
    """Times in (0, end) at which U or f jumps or has a kink, ascending, `(B,)`."""
    points = _points(grid)
    times = np.linspace(0.0, end, SAMPLES + 1)
    look = lambda times: _look(equation, points, times)
    values = look(times)
    noise = 256 * float(jnp.finfo(values.dtype).eps) * (1 + np.abs(values).max())
    if not np.all(np.isfinite(values)):
        return np.zeros(0)
    bends = np.abs(np.diff(values, 2, axis=0)).max(1)
    found: list[float] = []
    for k in _outstanding(bends, noise)[:MOST]:
        place = _zoom(look, float(times[k]), float(times[k + 2]), noise)
        if place is not None and 0 < place < end and all(abs(place - other) > 1e-9 * end for other in found):
            found.append(place)
    return np.sort(np.asarray(found))


def _outstanding(bends: np.ndarray, noise: float) -> list[int]:
    padded = np.pad(bends, WINDOW, mode="edge")
    n = len(bends)
    likely = bends > OUTSTANDING * np.minimum(padded[2 : n + 2], padded[2 * WINDOW - 2 : 2 * WINDOW - 2 + n]) + noise
    likely &= (bends >= padded[WINDOW - 1 : WINDOW - 1 + n]) & (bends >= padded[WINDOW + 1 : WINDOW + 1 + n])
    return [
        int(k) for k in np.flatnonzero(likely) if bends[k] > OUTSTANDING * np.median(padded[k : k + 2 * WINDOW + 1])
    ]


def _zoom(look: Any, left: float, right: float, noise: float) -> float | None:
    """Where between `left` and `right` the jump or the kink is; None where the function proves smooth."""
    first, before, level = None, None, 0
    while True:
        times = np.linspace(left, right, CUTS + 1)
        values = look(times)
        bends = np.abs(np.diff(values, 2, axis=0)).max(1)
        jumps = np.abs(np.diff(values, axis=0)).max(1)
        k = int(np.argmax(bends))
        bend, jump = float(bends[k]), float(jumps.max())
        spacing = (right - left) / CUTS
        if level >= 2 and before is not None and bend < 3 * before / CUTS**1.5 and jump < 0.5 * (first or 0.0):
            return None
        if spacing <= 4 * np.spacing(max(abs(left), abs(right))):
            return float(times[int(np.argmax(jumps)) + 1])
        if bend < noise:
            return (left + right) / 2 if level >= 3 else None
        first = jump if first is None else first
        before, level = bend, level + 1
        left, right = float(times[k]), float(times[k + 2])


def _points(grid: Grid) -> np.ndarray:
    columns = [
        [axis.lower + axis.length * FRACTIONS[(k * (2 * i + 1) + i) % len(FRACTIONS)] for k in range(len(FRACTIONS))]
        for i, axis in enumerate(grid.axes)
    ]
    return np.stack(columns, 1).astype(jnp.result_type(float))


def _look(equation: Any, points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The values at a few or many times, by one program: shorter lists are filled up."""
    padded = np.concatenate([times, np.full(SAMPLES + 1 - len(times), times[-1])])
    return np.asarray(_sample(equation, points, padded))[: len(times)]


@sampling_program
def _sample(equation: Any, points: Any, times: Any) -> Array:
    """What the equation is given by, at all points and times, `(T, P)`."""
    return jax.vmap(lambda t: jax.vmap(lambda x: equation.given_at(x, t))(points).ravel())(times)
