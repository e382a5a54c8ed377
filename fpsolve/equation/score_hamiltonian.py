"""The Score Hamiltonian of a vector field, such as a score that was learned from
samples.

    H = D sum_i A_i^T A_i,      A_i = d_i - s_i / 2,
    formally  H = D ( -Lap + |s|^2 / 4 + (div s) / 2 )

s(x[, t]) is a score: any vector field `(d,)`, with or without curl, which need not be
grad log of a density. H is built from A alone, so that no divergence of s is computed,
and H >= 0 for every s. Its lowest level is a lower bound of the score-matching loss,

    < sqrt q | H | sqrt q > = (D/4) E_q |s - grad log q|^2,
    lambda = minimum over q.

The level is zero if and only if s is the score of a density. This density is then the
square of the lowest mode.

Reference: arXiv 2606.05217; theorems T7 and T8 of this library.
"""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array

from ..core.types import Diffusion, Formula, Point, Scalar
from ..grid import Grid
from .base import NO_DENSITY, Equation
from .field import Field, as_field
from .fokker_planck import FokkerPlanck
from .schrodinger import constant_diffusion


class ScoreHamiltonian(Equation):
    """The equation of a wave with H = D A^T A, A = grad - s/2.

    **Arguments**: `score` s, `f(x)` or `f(x, t)` to `(d,)`, in units 1/length: a
    function, a network, any callable; `diffusion` D, a positive number or one for each
    axis (1 in the units of most papers, 1/2 if hbar = m = 1). **Raises**: `ValueError`
    for a score that is not callable, and for a diffusion that is not positive and
    finite.

    **Keeps**: H symmetric and at least zero, in every scheme. **Cost**: on a spectral
    grid four matrix products for each axis and application. **Reference**: arXiv
    2606.05217; theorem T7 of this library.

    ```python
    import fpsolve as fp

    normal = fp.ScoreHamiltonian(lambda x: -x)
    levels = fp.spectrum(normal, fp.Grid(fp.Line(-8.0, 8.0, 48)), 3).values  # 0, 1, 2
    ```
    """

    evolves_density: ClassVar[bool] = False
    by_factors: ClassVar[bool] = True
    score: Field
    diffusion: Array

    def __init__(self, score: Formula, diffusion: Diffusion = 1.0):
        self.score = as_field("score", score)
        self.diffusion = constant_diffusion(diffusion, "H = D A^T A")

    @property
    def time_dependent(self) -> bool:
        """Whether the score depends on time."""
        return self.score.time_dependent

    @property
    def functions(self) -> dict[str, Callable[[Point, Scalar], Array]]:
        """s under the name `score`."""
        return {"score": self.score}

    @property
    def irreversible_anywhere(self) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DENSITY

    def irreversible_because(self, grid: Grid, t: Scalar = 0.0) -> str | None:
        """The reason why there is no Gibbs density."""
        return NO_DENSITY

    def sampler(self) -> FokkerPlanck:
        """The process dX = D s dt + sqrt(2 D) dW that samples by this score.

        Its generator shares the factors A with H. If s has curl, the stationary
        distribution is not the square of the lowest mode of H (theorems T10 and T11).

        ```python
        import fpsolve as fp

        process = fp.ScoreHamiltonian(lambda x: -x).sampler()
        ```
        """
        # The name "score" is that of the user's function, for its messages.
        drift = Drift(self.score, self.diffusion)
        field = Field(drift, self.time_dependent, "score")
        return FokkerPlanck(None, self.diffusion, field)


class Drift(eqx.Module):
    """The drift D s of the process that samples by the score s."""

    score: Field
    diffusion: Array

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """D s(x, t), `(d,)`."""
        # In the precision of x, which a float64 diffusion would raise.
        return self.diffusion.astype(x.dtype) * self.score(x, t)
