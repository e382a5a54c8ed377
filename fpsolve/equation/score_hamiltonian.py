"""The Score Hamiltonian: the energy of a wave in the field of a score, learned or exact.

    H = D sum_i A_i^T A_i,    A_i = d_i - s_i / 2,    formally  H = D ( -Lap + |s|^2 / 4 + (div s) / 2 )

s(x[, t]) a score, any vector field `(d,)`: grad log of a density or not, with curl or without. H is built from A alone,
so no divergence is ever taken, and H >= 0 whatever s is. Its lowest level bounds the score-matching loss from below,

    < sqrt q | H | sqrt q > = (D/4) E_q |s - grad log q|^2,      lambda = min over q of that,

zero exactly where s is the score of a density, and that density is then the square of its lowest mode.

Reference: arXiv 2606.05217; theorems T7 and T8 of this library.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array

from ..core.types import Point
from ..grid import Grid
from .base import NO_DENSITY, Equation
from .field import Field, as_field
from .fokker_planck import FokkerPlanck
from .schrodinger import constant_diffusion


class ScoreHamiltonian(Equation):
    """H = D A^T A, A = grad - s/2, acting on waves.

    **Arguments**: `score` s, `f(x)` or `f(x, t)` to `(d,)`, in units 1/length: a function, a network, any callable;
    `diffusion` D, a positive number or one an axis (1 in the units of most papers, 1/2 in those of hbar = m = 1).
    **Raises**: `ValueError` for a score that cannot be called, a diffusion that is not positive and finite.

    **Keeps**: H symmetric and at least zero, in every scheme. **Cost**: on a spectral grid four products an axis and
    application. **Reference**: arXiv 2606.05217; theorem T7 of this library.

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

    def __init__(self, score: Any, diffusion: Any = 1.0):
        self.score = as_field("score", score)
        self.diffusion = constant_diffusion(diffusion, "H = D A^T A")

    @property
    def time_dependent(self) -> bool:
        """Whether the score depends on time."""
        return self.score.time_dependent

    @property
    def functions(self) -> dict[str, Callable[[Point, Any], Array]]:
        """s by its name, `score`."""
        return {"score": self.score}

    @property
    def irreversible_anywhere(self) -> str | None:
        """Why there is no Gibbs density."""
        return NO_DENSITY

    def irreversible_because(self, grid: Grid, t: Any = 0.0) -> str | None:
        """Why there is no Gibbs density."""
        return NO_DENSITY

    def sampler(self) -> FokkerPlanck:
        """The process dX = D s dt + sqrt(2 D) dW that samples by this score.

        Its generator shares the factors A with H. Where s has curl, the law that it tends to is not the square of the
        lowest mode of H (theorems T10 and T11).

        ```python
        import fpsolve as fp

        process = fp.ScoreHamiltonian(lambda x: -x).sampler()
        ```
        """
        return FokkerPlanck(
            None, self.diffusion, Field(Drift(self.score, self.diffusion), self.time_dependent, "score")
        )


class Drift(eqx.Module):
    """D s, the drift that a score stands for."""

    score: Field
    diffusion: Array

    def __call__(self, x: Point, t: Any = None) -> Array:
        """D s(x, t), `(d,)`."""
        return self.diffusion.astype(x.dtype) * self.score(x, t)
