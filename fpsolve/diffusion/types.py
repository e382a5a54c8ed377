"""Types of the arguments of `diffusion`: precise for a static type checker, `Any` at
run time (see `core.types`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from jaxtyping import Array

from ..core.types import Point, Scalar

if TYPE_CHECKING:

    class Amplitudes(Protocol):
        """α and σ along a path from data to noise, X_λ = α(λ) X_0 + σ(λ) N."""

        def alpha(self, lam: Scalar) -> Array:
            """α(λ)."""
            ...

        def sigma(self, lam: Scalar) -> Array:
            """σ(λ)."""
            ...

    class NoisingPath(Amplitudes, Protocol):
        """A path of potentials from data to noise, with its score and its forward
        process, such as `fp.Noising`.
        """

        def __call__(self, lam: Scalar) -> Callable[..., Array]:
            """-log p_λ."""
            ...

        def score(self, x: Point, lam: Scalar) -> Array:
            """grad log p_λ at x, `(d,)`."""
            ...

        def drift(self, x: Point, lam: Scalar) -> Array:
            """f of the forward process at x, `(d,)`."""
            ...

        def squared_diffusion(self, lam: Scalar) -> Array:
            """g² of the forward process."""
            ...

else:
    Amplitudes = NoisingPath = Any
