"""What a path promises everywhere: how convex its potentials are, and how far and how steeply they are driven.

    kappa       with Hess U >= kappa:  D rho >= kappa                                   (Bakry-Emery)
                with U = V + b, Hess V >= kappa:  D rho >= kappa exp(-osc(b) / D)       (Holley-Stroock)
    sup(-ell)   largest fall of log pi per lambda, M = lambda' sup(-ell)
    slope       sup |grad ell|, the Lipschitz constant of ell = d_lambda log pi

rho is the constant of the logarithmic Sobolev inequality of pi. Suprema are taken over the nodes of the grid and, where
the box is only a cut through a line, over points up to `FARTHEST` half boxes away: what still grows there is unbounded.
V is the convex envelope of U - kappa |x|^2 / 2 on the box, by two discrete Legendre transforms, which never exceeds
what it envelops, so that osc(b) is not underestimated.

References: Bakry and Emery, Sem. Prob. XIX (1985) 177; Holley and Stroock, J. Stat. Phys. 46 (1987) 1159.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..grid import Grid
from ..potential import as_potential

FARTHEST = 64.0  # half boxes
SHELLS = np.asarray([1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, FARTHEST])
DIRECTIONS = 64
GROWS = 1e-3  # relative growth from the last shell but one to the last, beyond which something is unbounded
TRIED = np.geomspace(0.02, 1.0, 12)  # parts of the largest convexity far out, as kappa of V
MOST = 96  # nodes an axis of an envelope
TOUCHES = 1e-9  # of the range of U, by which an envelope may stay below it at the edge of a box


class Promise(NamedTuple):
    """At one lambda: D rho (0 where none is known), by which criterion, sup(-ell), and sup |grad ell|."""

    rate: float
    criterion: str
    fall: float
    slope: float


class Sampled(NamedTuple):
    """At several lambda: at points `(M, m)` U, the least eigenvalue of Hess U, d_lambda log pi without its mean, and
    the length of its gradient; the mean of d_lambda log pi `(M,)`."""

    energy: Any
    least: Any
    drive: Any
    steep: Any
    mean: Any


def promises(path: Any, diffusion: Any, grid: Grid, lambdas: np.ndarray) -> list[Promise]:
    """What holds at each of `lams` `(M,)`. **Cost**: Hessians at some thousand points, and envelopes of a coarse grid.

    `path` is one that was read.
    """
    coarse = _coarse(grid)
    inside = _points(coarse)
    points = np.concatenate([inside, _shells(grid)])
    sampled = Sampled(*map(np.asarray, _sample(path, np.asarray(diffusion, float), points, grid, lambdas)))
    return [
        _promise(float(diffusion), coarse, len(inside), Sampled(*(values[k] for values in sampled)))
        for k in range(len(lambdas))
    ]


def _promise(diffusion: float, coarse: Grid, inside: int, at: Sampled) -> Promise:
    """At one lambda; the first `inside` points are those of the coarse grid."""
    count = DIRECTIONS + 2 * coarse.ndim
    drive = at.drive - at.mean
    fall = _supremum(-drive[:inside], -drive[inside:], count)
    slope = _supremum(at.steep[:inside], at.steep[inside:], count)
    convexity = float(np.min(at.least))
    if convexity > 0:
        return Promise(convexity, "Bakry-Émery", fall, slope)
    rate = _holley_stroock(diffusion, coarse, np.asarray(at.energy[:inside]), at.least[inside:])
    return Promise(rate, "Holley-Stroock" if rate > 0 else "none", fall, slope)


@sampling_program
def _sample(path: Any, diffusion: Any, points: Any, grid: Grid, lambdas: Any) -> Sampled:
    energy = lambda x, lam: jnp.asarray(as_potential(path(lam))(x, lam))

    def at(lam: Array) -> Sampled:
        one = jnp.ones_like(lam)
        drive = lambda x: -jax.jvp(lambda lam: energy(x, lam), (lam,), (one,))[1] / diffusion
        least = lambda x: _least_eigenvalue(jax.hessian(energy)(x, lam))
        steep = lambda x: jnp.sqrt(jnp.sum(jax.grad(drive)(x) ** 2))
        on_grid = lambda lam: grid.sample(lambda x: energy(x, lam))
        height, change = jax.jvp(on_grid, (lam,), (one,))
        log_pi = -height / diffusion
        pi = jnp.exp(log_pi - jnp.max(log_pi))
        mean = -grid.integrate(pi * change / diffusion) / grid.integrate(pi)
        values = lambda x: Sampled(energy(x, lam), least(x), drive(x), steep(x), mean)
        return jax.vmap(values)(points)._replace(mean=mean)

    return jax.lax.map(at, lambdas)


def _least_eigenvalue(matrix: Array) -> Array:
    """Of a symmetric matrix `(d, d)`; closed in one and two dimensions, where LAPACK at each point would be slow."""
    if matrix.shape[0] == 1:
        return matrix[0, 0]
    if matrix.shape[0] == 2:
        half = (matrix[0, 0] - matrix[1, 1]) / 2
        return (matrix[0, 0] + matrix[1, 1]) / 2 - jnp.hypot(half, (matrix[0, 1] + matrix[1, 0]) / 2)
    return jnp.linalg.eigvalsh(matrix)[0]


def _points(grid: Grid) -> np.ndarray:
    """All points of a grid, `(m, d)`."""
    return np.stack(np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1).reshape(-1, grid.ndim)


def _supremum(near: np.ndarray, far: np.ndarray, count: int) -> float:
    """The largest value, infinite where it is not finite or still grows outwards; `far` shell by shell of `count`."""
    top = float(np.max(near))
    if far.size:
        rings = np.max(far.reshape(-1, count), axis=1)
        if not np.all(np.isfinite(rings)) or rings[-1] > max(top, rings[-2]) + GROWS * (1 + abs(rings[-2])):
            return np.inf
        top = max(top, float(np.max(rings)))
    return top if np.isfinite(top) else np.inf


def _shells(grid: Grid) -> np.ndarray:
    """Points beyond the box along its open directions, shell by shell; none where every axis has ends of its own."""
    free = np.asarray([axis.unbounded for axis in grid.axes])
    if not free.any():
        return np.zeros((0, grid.ndim))
    middle = np.asarray([(axis.lower + axis.upper) / 2 for axis in grid.axes])
    half = np.asarray([axis.length / 2 for axis in grid.axes])
    rays = np.random.default_rng(0).normal(size=(DIRECTIONS, grid.ndim)) * free
    rays = rays / np.maximum(np.max(np.abs(rays), axis=1, keepdims=True), 1e-12)
    along = np.concatenate([np.eye(grid.ndim), -np.eye(grid.ndim)]) * free
    rays = np.concatenate([rays, along])
    return (middle + SHELLS[:, None, None] * half * rays).reshape(-1, grid.ndim)


def _coarse(grid: Grid) -> Grid:
    return Grid(*(type(a)(a.lower, a.upper, min(a.n, MOST if grid.ndim < 3 else 24)) for a in grid.axes))


def _holley_stroock(diffusion: float, coarse: Grid, heights: np.ndarray, far: np.ndarray) -> float:
    if not all(axis.unbounded for axis in coarse.axes) or not far.size:
        return 0.0
    outside = float(np.min(far))
    if outside <= 0:
        return 0.0
    energy = heights.reshape(coarse.shape)
    square = (np.sum(_points(coarse) ** 2, axis=-1) / 2).reshape(coarse.shape)
    best = 0.0
    for kappa in outside * TRIED:
        lifted = energy - kappa * square
        below = lifted - envelope(lifted, [np.asarray(axis.nodes) for axis in coarse.axes])
        if max(np.max(np.take(below, [0, -1], axis=i)) for i in range(coarse.ndim)) <= TOUCHES * np.ptp(lifted):
            best = max(best, kappa * float(np.exp(-np.max(below) / diffusion)))
    return best


def envelope(heights: np.ndarray, nodes: list[np.ndarray]) -> np.ndarray:
    """The convex envelope of values on a grid, from below: the Legendre transform, twice, axis by axis."""
    slopes = [_slopes(heights, x, i) for i, x in enumerate(nodes)]
    dual = -heights
    for i, (x, p) in enumerate(zip(nodes, slopes, strict=True)):
        dual = _conjugate(dual, x, p, i)
    back = -dual
    for i, (x, p) in enumerate(zip(nodes, slopes, strict=True)):
        back = _conjugate(back, p, x, i)
    return back


def _slopes(heights: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The slopes that the values have along an axis: all of them on a line, else as many as there are nodes, twice."""
    steps = np.diff(x).reshape(-1, *(1,) * (heights.ndim - 1 - axis))
    found = (np.diff(heights, axis=axis) / steps).ravel()
    return np.unique(found if heights.ndim == 1 else np.quantile(found, np.linspace(0, 1, 2 * len(x))))


def _conjugate(values: np.ndarray, x: np.ndarray, p: np.ndarray, axis: int) -> np.ndarray:
    """max over x of p x + values, along one axis."""
    moved = np.moveaxis(values, axis, -1)
    best = np.full((*moved.shape[:-1], len(p)), -np.inf)
    for k, place in enumerate(x):
        best = np.maximum(best, p * place + moved[..., k, None])
    return np.moveaxis(best, -1, axis)
