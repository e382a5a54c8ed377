"""What a score does beside its reconstructed density: the law that its sampler keeps, and the part of it with curl.

    s = grad log rho + r,    rho = psi^2,    A = grad - s/2,    B = A + r/2 = grad - (grad log rho)/2,    B psi = 0
    d_t p = -div(s p - grad p),   p = psi phi:     d_t phi = -B^T (B - r) phi               the sampler, as a wave
    B^T B h = B^T (psi r),   h = psi chi:          r = grad chi + w,   div(rho w) = 0       Helmholtz, weighted by rho

B^T B is the Score Hamiltonian of grad log rho, so both systems are solved in the complement of psi with the inverse of
its separable part to begin with. A, B and r live on the faces between nodes, where r = -2 (A psi) / psi; where psi is
faint rounding would tell r, which is taken for zero there.

Reference: theorems T10 and T11 of this library.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import compiled
from ..eigen.inverse import invert, near_inverse
from ..operator.basis import evaluate
from ..operator.tensor import Factor, TensorOperator

FAINT = 1e-9  # of its peak, a wave that rounding may have made
RINGING = 30.0  # times the most negative value of a wave, which is above what its basis rings with
WHOLE, BATCH = 3072, 64  # points up to which the whole matrix is taken, and columns of it at a time
RESTART, ROUNDS, RESIDUAL = 40, 20, 1e-12  # of GMRES


class Stationary(NamedTuple):
    """The `density` `(*shape)` that the sampler keeps, the relative `residual` of the system that it solves, and the
    `leak`, at what rate in L1 the flux of the sampler still moves it."""

    density: Array
    residual: Array
    leak: Array


@compiled
def stationary(operator: TensorOperator, wave: Array) -> Stationary:
    """The law that dX = D s dt + sqrt(2 D) dW keeps.

    **Arguments**: `operator` the Score Hamiltonian by factors, `wave` psi its ground mode, of unit norm. **Returns** a
    `Stationary`. **Keeps**: mass 1. **Cost**: size^3 up to 3072 points, beyond that some tens to hundreds of products
    with H, the more the more curl there is.
    """
    base, against = _pair(operator, wave)
    grid = operator.grid
    root = jnp.sqrt(grid.weights).astype(wave.dtype)
    known = (wave * root).ravel()
    known = known / jnp.linalg.norm(known)
    project = lambda u: u - known * jnp.sum(known * u)

    def action(u: Array) -> Array:
        field, answer = u.reshape(grid.shape) / root, jnp.zeros_like(wave)
        for i, (back, there) in enumerate(zip(base.terms, against, strict=True)):
            assert isinstance(back, Factor)
            answer = answer + back.adjoint(there.apply(field, i, grid.ndim), i, grid.ndim)
        return project((answer * root).ravel())

    b = -action(known)
    size = jnp.linalg.norm(b)
    scale = jnp.where(size > 0, size, 1)
    if grid.size <= WHOLE:
        matrix = jax.lax.map(action, jnp.eye(grid.size, dtype=wave.dtype), batch_size=BATCH).T
        outer = jnp.outer(known, known)
        rest = jnp.linalg.solve(matrix - jnp.outer(matrix @ known, known) + outer * jnp.trace(matrix) / grid.size, b)
    else:
        precondition = near_inverse(base)
        rest, _ = jax.scipy.sparse.linalg.gmres(
            lambda u: action(project(u)),
            b / scale,
            M=lambda u: project(precondition(project(u))),
            tol=RESIDUAL,
            restart=RESTART,
            maxiter=ROUNDS,
            solve_method="incremental",
        )
        rest = rest * scale
    rest = project(rest)
    residual = jnp.linalg.norm(action(rest) - b) / scale
    density = wave * (known + rest).reshape(grid.shape) / root
    density = density / grid.integrate(density)
    leak = grid.integrate(jnp.abs(operator.generator(density)))
    return Stationary(density, jnp.where(size > 0, residual, 0), leak)


@compiled
def conservative(operator: TensorOperator, wave: Array, score: Array) -> Array:
    """The gradient among the two parts of a score, orthogonal under rho: the score less w, `(*shape, d)`.

    **Arguments**: `operator` and `wave` as for `stationary`; `score` on the nodes, `(*shape, d)`, which is also what is
    returned where rho vanishes. **Cost**: some tens of products with H.
    """
    base, _ = _pair(operator, wave)
    grid, d = operator.grid, operator.grid.ndim
    image = jnp.zeros_like(wave)
    for i, (term, free) in enumerate(zip(operator.terms, base.terms, strict=True)):
        assert isinstance(term, Factor) and isinstance(free, Factor)
        image = image - 2 * free.adjoint(jnp.where(_bright(term, wave, i), term.apply(wave, i, d), 0), i, d)
    solution, _ = invert(base, image, wave)
    held = wave > _faint(wave)
    safe, parts = jnp.where(held, wave, 1), []
    for i, axis in enumerate(grid.axes):
        slopes = jnp.asarray(evaluate(axis, np.asarray(axis.nodes))[0], wave.dtype)
        slope = lambda u, i=i, slopes=slopes: jnp.moveaxis(jnp.tensordot(slopes, u, (1, i)), 0, i)
        steep = slope(wave) / safe
        parts.append(jnp.where(held, 2 * steep + (slope(solution) - solution * steep) / safe, score[..., i]))
    return jnp.stack(parts, axis=-1)


def _pair(operator: TensorOperator, wave: Array) -> tuple[TensorOperator, list[Factor]]:
    """B as an operator, and the factors B - r."""
    base, against = [], []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Factor)
        slope, value = term.faces(wave, i, operator.grid.ndim)
        bright = _bright(term, wave, i)
        steep = 2 * term.diffusion * slope / jnp.where(bright, value, 1)
        drift = jnp.where(bright, steep, term.drift)
        base.append(eqx.tree_at(lambda t: t.drift, term, drift))
        against.append(eqx.tree_at(lambda t: t.drift, term, 2 * term.drift - drift))
    log_sqrt_pi = jnp.log(jnp.maximum(jnp.abs(wave), jnp.finfo(wave.dtype).tiny))
    return TensorOperator(grid=operator.grid, terms=tuple(base), well=None, log_sqrt_pi=log_sqrt_pi), against


def _bright(term: Factor, wave: Array, i: int) -> Array:
    """Where on the faces of axis i the wave is more than rounding."""
    return term.faces(wave, i, wave.ndim)[1] > _faint(wave)


def _faint(wave: Array) -> Array:
    """The height of a positive wave below which it is rounding, or what the basis rings with, as its negative values
    tell."""
    return jnp.maximum(FAINT * jnp.max(wave), RINGING * jnp.max(-wave))
