"""The stationary density of a sampler by a score, and the split of the score into a
gradient and a part with curl.

    s = grad log rho + r,    rho = psi^2
    A = grad - s/2,    B = A + r/2 = grad - (grad log rho)/2,    B psi = 0

    d_t p = -div(s p - grad p),   p = psi phi:      the sampler, as a wave
        d_t phi = -B^T (B - r) phi
    B^T B h = B^T (psi r),   h = psi chi:           Helmholtz, weighted by rho
        r = grad chi + w,   div(rho w) = 0

B^T B is the Score Hamiltonian of grad log rho. Both systems are solved in the
complement of psi, preconditioned by the inverse of its separable part. A, B and r live
on the faces between nodes, where r = -2 (A psi) / psi. Where psi is below rounding this
quotient is noise, and r is set to zero there.

Reference: theorems T10 and T11 of this library.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import shape_program
from ..eigen.inverse import invert, near_inverse
from ..operator.basis import evaluate
from ..operator.tensor import Factor, TensorOperator
from .constants import CONSTANTS

BATCH = 64  # columns of the full matrix that are formed at a time: bounds the memory


class Stationary(NamedTuple):
    """The stationary `density` `(*shape)` of the sampler, the relative `residual` of
    the system that was solved for it, and the `leak`, the rate in L1 at which the flux
    of the sampler still changes it.
    """

    density: Array
    residual: Array
    leak: Array


class SamplerFactors(NamedTuple):
    """The sampler on waves, B^T (B - r): `base` B as an operator, `against` the factors
    B - r of every axis.
    """

    base: TensorOperator
    against: list[Factor]


@shape_program
def stationary(operator: TensorOperator, wave: Array) -> Stationary:
    """The stationary density of dX = D s dt + sqrt(2 D) dW.

    **Arguments**: `operator` the Score Hamiltonian by factors, `wave` psi its ground
    mode, of unit norm. **Returns** a `Stationary`. **Keeps**: mass 1. **Cost**: size^3
    up to 3072 points; beyond that some tens to hundreds of products with H, more of
    them where there is more curl.
    """
    base, against = _sampler_factors(operator, wave)
    grid = operator.grid
    # Vectors are scaled by the square root of the weights, so that adjoints are
    # transposes.
    sqrt_weights = jnp.sqrt(grid.weights).astype(wave.dtype)
    ground = (wave * sqrt_weights).ravel()
    ground = ground / jnp.linalg.norm(ground)

    def project(u: Array) -> Array:
        """u less its component along psi."""
        return u - ground * jnp.sum(ground * u)

    def action(u: Array) -> Array:
        """B^T (B - r) u in the complement of psi."""
        field = u.reshape(grid.shape) / sqrt_weights
        answer = jnp.zeros_like(wave)
        for i, (factor, other) in enumerate(zip(base.terms, against, strict=True)):
            assert isinstance(factor, Factor)
            flux = other.apply(field, i, grid.ndim)
            answer = answer + factor.adjoint(flux, i, grid.ndim)
        return project((answer * sqrt_weights).ravel())

    # phi = psi + rest, with the rest in the complement: action(rest) = -action(psi).
    b = -action(ground)
    size = jnp.linalg.norm(b)
    scale = jnp.where(size > 0, size, 1)  # without curl b = 0, and the rest is zero
    if grid.size <= CONSTANTS.dense_points:
        rest = _solve_dense(action, ground, b)
    else:
        rest = _solve_gmres(action, project, base, b / scale) * scale
    rest = project(rest)
    residual = jnp.linalg.norm(action(rest) - b) / scale
    density = wave * (ground + rest).reshape(grid.shape) / sqrt_weights
    density = density / grid.integrate(density)
    leak = grid.integrate(jnp.abs(operator.generator(density)))
    return Stationary(density, jnp.where(size > 0, residual, 0), leak)


def _solve_dense(action: Callable[[Array], Array], ground: Array, b: Array) -> Array:
    """The solution by the full matrix. psi, which the action maps to the complement,
    gets an eigenvalue of the size of the others, so that the matrix is regular.
    """
    n = len(ground)
    identity = jnp.eye(n, dtype=ground.dtype)
    # `map` gives a row for each unit vector, which is a column of the matrix.
    matrix = jax.lax.map(action, identity, batch_size=BATCH).T
    on_complement = matrix - jnp.outer(matrix @ ground, ground)
    mean_eigenvalue = jnp.outer(ground, ground) * jnp.trace(matrix) / n
    return jnp.linalg.solve(on_complement + mean_eigenvalue, b)


def _solve_gmres(
    action: Callable[[Array], Array],
    project: Callable[[Array], Array],
    base: TensorOperator,
    b: Array,
) -> Array:
    """The solution by restarted GMRES, preconditioned by the inverse of the separable
    part of B^T B.
    """
    precondition = near_inverse(base)
    # Rounding adds a part along psi, which neither of the two may amplify.
    rest, _ = jax.scipy.sparse.linalg.gmres(
        lambda u: action(project(u)),
        b,
        M=lambda u: project(precondition(project(u))),
        tol=CONSTANTS.gmres_tol,
        restart=CONSTANTS.gmres_restart,
        maxiter=CONSTANTS.gmres_rounds,
        solve_method="incremental",
    )
    return rest


@shape_program
def conservative(operator: TensorOperator, wave: Array, score: Array) -> Array:
    """The gradient part of a score, orthogonal under rho to the other: the score less
    w, `(*shape, d)`.

    **Arguments**: `operator` and `wave` as for `stationary`; `score` on the nodes,
    `(*shape, d)`, which is returned itself where rho vanishes. **Cost**: some tens of
    products with H.
    """
    base, _ = _sampler_factors(operator, wave)
    grid = operator.grid
    d = grid.ndim

    # B^T (psi r), with psi r = -2 A psi on the faces.
    image = jnp.zeros_like(wave)
    for i, (term, free) in enumerate(zip(operator.terms, base.terms, strict=True)):
        assert isinstance(term, Factor) and isinstance(free, Factor)
        on_faces = term.apply(wave, i, d)
        flux = jnp.where(_resolved(term, wave, i), on_faces, 0)
        image = image - 2 * free.adjoint(flux, i, d)
    solution, _ = invert(base, image, wave)

    # grad log rho + grad chi on the nodes, chi = solution / psi, by the derivative of
    # the basis.
    resolved = wave > _noise_level(wave)
    # The inner `where` keeps the quotients finite where psi vanishes.
    safe = jnp.where(resolved, wave, 1)
    parts = []
    for i, axis in enumerate(grid.axes):
        at_nodes, _ = evaluate(axis, np.asarray(axis.nodes))
        derivative = jnp.asarray(at_nodes, wave.dtype)
        log_slope = _differentiate(derivative, wave, i) / safe
        slope = _differentiate(derivative, solution, i)
        chi_slope = (slope - solution * log_slope) / safe
        parts.append(jnp.where(resolved, 2 * log_slope + chi_slope, score[..., i]))
    return jnp.stack(parts, axis=-1)


def _differentiate(derivative: Array, field: Array, i: int) -> Array:
    """A matrix `(n_i, n_i)` applied along axis i of a field."""
    return jnp.moveaxis(jnp.tensordot(derivative, field, (1, i)), 0, i)


def _sampler_factors(operator: TensorOperator, wave: Array) -> SamplerFactors:
    """B as an operator, and the factors B - r. Where psi is below rounding, r = 0 and B
    = A.
    """
    base = []
    against = []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Factor)
        slope, value = term.faces(wave, i, operator.grid.ndim)
        resolved = _resolved(term, wave, i)
        gradient = 2 * term.diffusion * slope / jnp.where(resolved, value, 1)
        drift = jnp.where(resolved, gradient, term.drift)
        base.append(eqx.tree_at(lambda t: t.drift, term, drift))
        against.append(eqx.tree_at(lambda t: t.drift, term, 2 * term.drift - drift))
    # Not below the least normal number: the logarithm stays finite where psi is zero.
    tiny = jnp.finfo(wave.dtype).tiny
    log_sqrt_pi = jnp.log(jnp.maximum(jnp.abs(wave), tiny))
    operator = TensorOperator(
        grid=operator.grid,
        terms=tuple(base),
        potential_term=None,
        log_sqrt_pi=log_sqrt_pi,
    )
    return SamplerFactors(operator, against)


def _resolved(term: Factor, wave: Array, i: int) -> Array:
    """Whether the wave is above its noise level, on the faces of axis i."""
    return term.faces(wave, i, wave.ndim)[1] > _noise_level(wave)


def _noise_level(wave: Array) -> Array:
    """The height of a positive wave below which it is rounding, or ringing of the
    basis. The most negative value shows how strong the ringing is.
    """
    rounding = CONSTANTS.noise_floor * jnp.max(wave)
    ringing = CONSTANTS.ringing_factor * jnp.max(-wave)
    return jnp.maximum(rounding, ringing)
