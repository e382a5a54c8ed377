"""Score matching: the error of a score s, up to a constant that does not depend on s.
With s_p = ∇log p,

    E_p|s - s_p|² = J(s) + E_p|s_p|²
        J(s) = E_p[ |s|² + 2 div s ]                            implicit
             = E_p,v[ |s|² + 2 v·(∇s) v ],   E v vᵀ = 1         sliced
    E_σ|s - s_σ|² = J(s) + E_σ|s_σ|²
        J(s) = E[ |s(x + σz)|² + 2 s(x + σz)·z/σ ]              denoising

x has the density p, z is standard normal, p_σ the density of x + σz and s_σ its score.
Each loss below is J for one x. The denoising loss takes z and -z together: its variance
is then finite as σ goes to 0, where it is the sliced loss. The left sides are those of
theorem T7 (four times the energy of √p) and T8 (ε²). E|s_p|², the Fisher information of
p, is the irreducible part: `score_error` estimates it.

References: Hyvärinen, JMLR 6 (2005) 695; Vincent, Neural Computation 23 (2011) 1661;
Song et al., UAI (2019).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.types import Scalar

Score = Callable[[Array], Array]


def implicit(score: Score, x: Array) -> Array:
    """|s|² + 2 div s at x `(d,)`, a scalar, with the exact divergence. **Cost**: d
    derivatives along the axes.

    ```python
    import jax.numpy as jnp
    from fpsolve.score.learn.losses import implicit

    implicit(lambda x: -x, jnp.asarray([1.0, 2.0]))  # 5 - 4
    ```
    """
    # One evaluation of the score serves the derivatives along all axes.
    value, derivative = jax.linearize(score, x)
    jacobian = jax.vmap(derivative)(jnp.eye(x.size, dtype=x.dtype))
    return jnp.sum(value**2) + 2 * jnp.trace(jacobian)


def sliced(score: Score, x: Array, direction: Array) -> Array:
    """|s|² + 2 v·(∇s) v at x `(d,)` with one random direction v `(d,)`, a scalar.
    **Cost**: one derivative.
    """
    value, slope = jax.jvp(score, (x,), (direction,))
    return jnp.sum(value**2) + 2 * jnp.sum(direction * slope)


def denoising(score: Score, x: Array, noise: Array, sigma: Scalar) -> Array:
    """|s|² + 2 s·z/σ, the mean over x + σz and x - σz, a scalar; x and the noise z are
    `(d,)`. **Cost**: two scores.

    ```python
    import jax.numpy as jnp
    from fpsolve.score.learn.losses import denoising

    denoising(lambda x: -x, jnp.ones(2), jnp.asarray([0.3, -1.0]), 0.1)
    ```
    """
    ahead = score(x + sigma * noise)
    behind = score(x - sigma * noise)
    squares = jnp.sum(ahead**2 + behind**2) / 2
    # The difference is of order σ, so that the quotient stays bounded as σ goes to 0.
    return squares + jnp.sum((ahead - behind) * noise) / sigma


def noising(
    score: Callable[[Array, Array], Array],
    x: Array,
    noise: Array,
    lam: Array,
    alpha: Array,
    sigma: Array,
):
    """σ² times the denoising loss at λ, of a score of x and λ: |σs|² + 2 σs·z at α x ±
    σz, a scalar.
    """
    return sigma**2 * denoising(lambda y: score(y, lam), alpha * x, noise, sigma)
