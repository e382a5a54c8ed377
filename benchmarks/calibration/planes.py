"""Densities in two and three dimensions: products of answers of one axis in turned
axes, and linear drifts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal, linear_moments
from .drawing import Unit
from .evolving import evolve_problem, same
from .lines import axis, gaussian
from .problem import Problem
from .shapes import process


def product(parts: Any, turn: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The product of densities of one coordinate each, in the axes `turn` rotates."""

    def density(x: np.ndarray) -> np.ndarray:
        y = x @ turn  # (turn^T x) along the last axis
        return np.prod([part(y[..., i]) for i, part in enumerate(parts)], axis=0)

    return density


def bounds(
    shapes: Any, ds: Any, firsts: Any, turn: np.ndarray, depth: float = 32.0
) -> list[tuple[float, float]]:
    """A box in the given axes around the parts' windows in the turned ones."""
    ends = [
        s.window(d, depth, draw.around(f, reach=7.0))
        for s, d, f in zip(shapes, ds, firsts, strict=True)
    ]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(len(ends), -1)
    # density contours are rounder than a box: a little less than its corners
    turned = turn @ corners
    return [
        (float(row.min()) * 0.9, float(row.max()) * 0.9)
        if abs(turn).max() < 0.999
        else (float(row.min()), float(row.max()))
        for row in turned
    ]


def separable(kind: str, seed: int, d: int, fitted: bool) -> Problem:
    """A potential that is a sum in turned axes, as a product of answers on a line."""
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random(kind, seed)
    shapes = [draw.confining(rng) for _ in range(d)]
    diffusion = float(max(draw.diffusion(rng, s, 8.0) for s in shapes))
    turned = rng.random() < 0.5
    several = not turned and rng.random() < 0.3  # a diffusion of its own for each axis
    ds = [diffusion * (draw.spread(rng, 1.0, 4.0) if several else 1.0) for _ in shapes]
    turn = draw.rotation(rng, d) if turned else np.eye(d)
    unit = Unit.draw(rng)
    parts = [draw.start(rng, s, v) for s, v in zip(shapes, ds, strict=True)]
    ts = draw.times(rng)
    turn_values = np.array(turn)

    def energy(x: Any) -> Any:
        y = x @ jnp.asarray(turn_values)
        return sum(s.u(y[i], jnp) for i, s in enumerate(shapes))

    windows = [
        s.window(v, also=draw.around(f))
        for s, v, f in zip(shapes, ds, parts, strict=True)
    ]

    def reference(level: int) -> list[Any]:
        found = []
        for s, v, w, f in zip(shapes, ds, windows, parts, strict=True):
            one = process(s, v, w, level, spike=draw.spike(f, v, ts[0]))
            found.append(one.evolve(f, ts, draw.knots(f)))
        return [product(one, turn) for one in zip(*found, strict=True)]

    means = turn @ np.array([p.mean[0] for p in parts])
    covariance = turn @ np.diag([p.covariance[0, 0] for p in parts]) @ turn.T
    n = draw.pick(rng, *draw.SIZES[d])
    box = bounds(shapes, ds, parts, turn)
    grid = None if fitted else fp.Grid(*(axis("Line", one, n, unit) for one in box))
    given = np.array(ds) * unit.diffusion if several else diffusion * unit.diffusion
    words = (
        f"{d}-D, {'turned' if turned else 'straight'}{', D an axis' if several else ''}"
    )
    return evolve_problem(
        kind,
        seed,
        f"{words}, {'fitted' if fitted else f'n {n}'}{unit}",
        equation=fp.FokkerPlanck(unit.scaled(energy, unit.diffusion), given),
        initial=gaussian(Normal(means, covariance), unit),
        times=[t * unit.time for t in ts],
        reference=reference,
        grid=grid,
        tol=draw.pick(rng, 1e-4, 1e-6) if fitted else None,
        scale=unit.length,
        smooth=fitted,
    )


def linear(kind: str, seed: int, fitted: bool) -> Problem:
    """dX = -A X dt + sqrt(2 D) dW in one to three dimensions: turned and stiff, with a
    force that turns or without.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random(kind, seed)
    d = (
        int(draw.pick(rng, 1, 2, 2, 2, 3))
        if not fitted
        else int(draw.pick(rng, 1, 2, 2, 3))
    )
    unit = Unit.draw(rng)
    ratio = draw.spread(rng, 1.0, 300.0 if d == 2 else 10.0)
    stiff = np.geomspace(1.0, ratio, d) * draw.spread(rng, 0.3, 3.0)
    turn = draw.rotation(rng, d)
    matrix = turn @ np.diag(stiff) @ turn.T
    d_noise = np.full(d, draw.spread(rng, 0.2, 2.0))
    several = d > 1 and rng.random() < 0.2
    if several:
        d_noise = d_noise * rng.uniform(0.5, 2.0, d)
    swirl = np.zeros((d, d))
    if d > 1 and not fitted and rng.random() < 0.5:
        skew = rng.normal(size=(d, d))
        swirl = (skew - skew.T) * draw.spread(rng, 0.1, 5.0)
    noise = np.diag(d_noise)
    still = linear_moments(
        matrix + swirl, noise, Normal(np.zeros(d), np.eye(d)), 60.0 / stiff.min()
    )
    width = np.sqrt(np.diag(still.covariance))
    far = draw.spread(rng, 0.3, 30.0) if rng.random() < 0.3 else rng.uniform(0.0, 3.0)
    direction = rng.normal(size=d)
    mean = far * width * direction / np.linalg.norm(direction)
    share = draw.spread(rng, 0.02, 1.2)
    first = Normal(mean, share * np.diag(np.diag(still.covariance)))
    ts = [t / stiff.min() for t in draw.times(rng, 0.01, 5.0)]
    n = draw.pick(rng, *draw.SIZES[d])
    reach = 7.0 if rng.random() < 0.8 else draw.spread(rng, 2.0, 6.0)
    ends = [
        (
            min(-reach * w, m - reach * np.sqrt(share) * w),
            max(reach * w, m + reach * np.sqrt(share) * w),
        )
        for w, m in zip(width, mean, strict=True)
    ]
    values, skewed = np.array(matrix), np.array(-swirl / unit.time)
    energy = unit.scaled(lambda x: x @ jnp.asarray(values) @ x / 2, unit.diffusion)
    force = (lambda x: jnp.asarray(skewed) @ x) if swirl.any() else None
    given = d_noise * unit.diffusion if several else float(d_noise[0] * unit.diffusion)
    grid = None if fitted else fp.Grid(*(axis("Line", end, n, unit) for end in ends))
    words = (
        f"{d}-D, stiffness {ratio:.2g}, start {far:.2g} widths "
        f"away{', D an axis' if several else ''}"
    )
    return evolve_problem(
        kind,
        seed,
        f"{words}{', force' if force else ''}, "
        f"{'fitted' if fitted else f'n {n}'}{unit}",
        equation=fp.FokkerPlanck(energy, given, force),
        initial=gaussian(first, unit),
        times=[t * unit.time for t in ts],
        reference=same(
            lambda: [linear_moments(matrix + swirl, noise, first, t) for t in ts]
        ),
        grid=grid,
        tol=draw.pick(rng, 1e-4, 1e-6) if fitted else None,
        scale=unit.length,
        closed=True,
        smooth=fitted,
    )


KINDS = {
    "plane": lambda seed: separable("plane", seed, 2, False),
    "plane_fitted": lambda seed: separable("plane_fitted", seed, 2, True),
    "space": lambda seed: separable("space", seed, 3, False),
    "space_fitted": lambda seed: separable("space_fitted", seed, 3, True),
    "linear": lambda seed: linear("linear", seed, False),
    "linear_fitted": lambda seed: linear("linear_fitted", seed, True),
}
