"""T23: what a wrong score costs a diffusion model, by Girsanov's theorem.

    KL(p_0|q_0) <= KL(p_1|q_1) + (1 + e)^2/(4e) int (g^2/2) E_p|err|^2 dλ

for the reverse process of theorem T22 with the score s + err, whose drift is wrong by
(1 + e) err. For normal data of variance 1 and an error proportional to α(λ)^e the end
point knows the whole path, and this is an equality but for exp(-2eT), T the length of
the clock. Control: the factor (1 + e)^2/(4e), least at e = 1, is left out.

Reference: Song et al., Maximum likelihood training of score-based diffusion models,
NeurIPS 2021.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..core.types import Scalar
from ..diffusion.generation import score_error_bound
from ..diffusion.reverse_process import ReverseProcess
from ..grid import Axis, Gaussian, Grid, Line
from ..path import Noising
from .base import Case, Measured, claim
from .mixtures import Mixture, Wrong, generated, random_mixture

BOX = Line(-6.0, 6.0, 96)  # holds mixture and noise


@sampling_program
def girsanov(path: Noising, noise: Scalar, error: Wrong, grid: Grid) -> Array:
    """The library's bound for a start at the marginal of noise, which is normal here
    but for 1e-5.
    """
    process = ReverseProcess(path, noise, error=error)
    return score_error_bound(process, Gaussian(0.0, 1.0), grid)


@claim(
    "T23",
    "KL(p_0|q_0) ≤ KL(p_1|q_1) + (1+e)²/(4e) ∫ (g²/2) E|err|² dλ for a score wrong by "
    "err",
    kind="inequality",
    # of the cells and steps of q_0, by order 2; the first case is an equality
    allowed=0.01,
    control=("1 for (1+e)²/(4e)", "without the factor of the noise the bound is false"),
    hypotheses="as for T22; the error is averaged over the true path",
    source=(
        "Girsanov's theorem; Song et al., Maximum likelihood training (NeurIPS 2021)"
    ),
    sweep=("normal", 0, 1, 2, 3, 4),
)
def wrong_score(
    case: Case, *, noise: float = 3.0, size: float = 0.4, axis: Axis = BOX
) -> Measured:
    """KL of the data from the law of the sampler, and the library's bound."""
    grid = case.grid(axis)
    # The case of equality: normal data, and an error like α^e.
    mixture = Mixture(np.zeros(2), np.ones(2), np.full(2, 0.5))
    numbers = np.asarray([size, noise, 0.0, 1.0, 0.0])
    if case.value != "normal":
        random = case.random()
        mixture = random_mixture(case)
        noise = np.exp(random.uniform(np.log(0.4), np.log(4.0)))
        # In the order of the fields of `Wrong`.
        least = [-0.4, 0.0, -0.3, 0.3, 0.0]
        largest = [0.4, 2.0, 0.3, 2.0, 6.0]
        numbers = random.uniform(least, largest)
    error = Wrong(*(jnp.asarray(number) for number in numbers))
    q = generated(mixture, noise, error, True, grid, 4 * grid.size)
    p = mixture.density(grid.axes[0].nodes, 0.0)
    # The steps are not positive: a tail of q may be at zero or below.
    log_ratio = np.log(p / np.maximum(q, np.finfo(float).tiny))
    entropy = (p * log_ratio - p + q) @ grid.axes[0].weights
    bound = float(girsanov(mixture.path(), noise, error, grid))
    if case.control:
        bound = bound / ((1 + noise) ** 2 / (4 * noise))
    return entropy, bound
