"""One step of a sampler from noise to data, for the exact or a learned score.

    x' = m(x) + √w N,      m(x) = (α'/α) (x + σ² s) - √(σ'² - w) σ s
    w = ε σ'² (1 - κ'²/κ²),      κ = σ/α

from λ to λ' < λ, with s = s(x, λ) the score, N a standard normal variable and ε in [0,
1] the noise level: 0 is DDIM, 1 the ancestral sampler of DDPM. Pairs `(before, after)`
stand for α and σ at λ and at λ'.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Ho, Jain and Abbeel,
DDPM (NeurIPS 2020).
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import AnyArray, Scalar

Pair: TypeAlias = Sequence[AnyArray] | Array


def step_variance(alphas: Pair, sigmas: Pair, noise: Scalar) -> AnyArray:
    """The variance w of the noise of a step; of the shape of α, by numpy or by JAX."""
    ratio = sigmas[1] * alphas[0] / (alphas[1] * sigmas[0])
    return noise * sigmas[1] ** 2 * (1 - ratio**2)


def step_mean(
    alphas: Sequence[Array] | Array,
    sigmas: Sequence[Array] | Array,
    variance: AnyArray,
    x: Array,
    score: Array,
) -> Array:
    """The mean m(x) of a step at x, of any shape, from the score there."""
    # The maximum keeps the root real where rounding makes w a little larger than σ'².
    remaining = jnp.sqrt(jnp.maximum(sigmas[1] ** 2 - variance, 0))
    denoised = x + sigmas[0] ** 2 * score
    return alphas[1] / alphas[0] * denoised - remaining * sigmas[0] * score
