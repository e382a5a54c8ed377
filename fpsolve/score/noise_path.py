"""The amplitudes of data and noise along a noising path, without the data:

    X_λ = α(λ) X₀ + σ(λ) N,    κ = σ/α,    λ in [0, 1], 0 the data and 1 the noise

Reference: Song et al., Score-based generative modeling through SDEs (ICLR 2021),
section 3.4.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_choice, raise_value_error
from ..diffusion.types import Amplitudes
from ..path.noising import Noise, VarianceExploding, VariancePreserving
from ..potential.leaves import Value

KINDS = {"vp": VariancePreserving, "ve": VarianceExploding}


class NoisePath(eqx.Module):
    """The path of a diffusion model whose data are known by samples only: α and σ, no
    density.

    **Arguments**: `kind`, "vp" (α² + σ² = 1) or "ve" (α = 1); the parameters of that
    kind as `fp.Noising` takes them: `beta_min`, `beta_max` (0.1 and 20), or `sigma_max`
    (10; choose it well above the spread of the data). **Raises** `ValueError` for
    another kind, numbers that are not positive. **Cost**: negligible.

    ```python
    from fpsolve.score.noise_path import NoisePath

    path = NoisePath("vp")
    path.alpha(0.3), path.sigma(0.3)
    ```
    """

    noise: Noise

    def __init__(self, kind: Any = "vp", **numbers: Value):
        check_choice("kind", kind, KINDS)
        # The parameters of a kind are its annotated fields.
        names = tuple(KINDS[kind].__annotations__)
        for name, value in numbers.items():
            if name not in names:
                allowed = f"kind {kind!r} has no such number"
                cure = f"Give {' and '.join(names)}, or none."
                raise_value_error(name, value, allowed, cure)
        self.noise = KINDS[kind](**numbers)

    def alpha(self, lam: Value) -> Array:
        """α(λ), of the shape of λ; 1 at λ = 0."""
        return jnp.exp(-0.5 * self.noise.integrated_beta(jnp.asarray(lam)))

    def sigma(self, lam: Value) -> Array:
        """σ(λ), of the shape of λ; 0 at λ = 0."""
        return jnp.sqrt(self.noise.variance(jnp.asarray(lam)))


def as_path(path: Amplitudes | str) -> Amplitudes:
    """`path` with its `alpha` and `sigma`; "vp" and "ve" stand for `NoisePath`.
    **Raises** `ValueError` otherwise.
    """
    if isinstance(path, str):
        check_choice("path", path, KINDS)
        return NoisePath(path)
    for name in ("alpha", "sigma"):
        if not callable(getattr(path, name, None)):
            allowed = f"it must have a method {name}(lam)"
            cure = 'Give fp.Noising(mixture), "vp" or "ve".'
            raise_value_error("path", path, allowed, cure)
    return path
