"""Step sequences of samplers by rules that know the data: even steps in work, least
path KL, harmonic bridges.

In the variable y = x / α with the noise level κ = σ / α, and D(y, κ) = E[x_0 | y] the
denoiser,

    work       even in ∫ σ (E|∂_λ s|²)^½ dλ: the Langevin corrector does the same work
               in every step
    aligned    least bound of KL for the ancestral sampler, with κ_0 > κ_1 > ...
                   KLUB = Σ_i ∫_{κ_i}^{κ_{i-1}} κ^-3 E|D(y_κ, κ) - D_{i-1}|² dκ,
                   D_{i-1} = D(y_{κ_{i-1}}, κ_{i-1})
    tangent    even in arctan(κ / c): least error of Euler steps of the flow for
               Gaussian data of deviation c
    harmonic   even in the time t of the bridge dX = u dt + dW from 0 to the data,
               least in E ∫ (|u|² + β_t |X|²) dt / 2

The denoiser of less noise has that of more noise for its conditional mean, so that the
mean in KLUB is the difference of the mean square errors of denoising, and

    KLUB = ½ Σ_i (κ_i^-2 - κ_{i-1}^-2) M(κ_{i-1}) - ∫ κ^-3 M dκ,
    M(κ) = E|x_0 - D|² = d κ² - κ⁴ E|∇log p_κ(y)|².

A minimum over all step sequences follows from a table of M, by dynamic programming:
nothing is sampled.

The bridge has y distributed as data and noise of κ² = φ/χ: with φ'' = βφ, φ(1) = 0,
φ'(1) = -1 and χ'' = βχ, χ(0) = 0, χ' φ - χ φ' = 1. β = 0 is the Brownian bridge, κ² =
(1 - t) / t.

References: Williams et al., arXiv 2412.07877 (work); Sabour, Fidler and Kreis, arXiv
2404.14507 (aligned, tangent); Chertkov and Behjoo, arXiv 2512.11858 (harmonic).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import (
    check_integer,
    check_numbers,
    check_positive,
    raise_value_error,
)
from ..core.program import sampling_program
from ..core.types import AnyArray, Count, Real
from ..grid import Grid
from .constants import CONSTANTS
from .steps import cost_steps, lambdas_at, noise_ratio
from .types import Amplitudes, NoisingPath

Steps = Callable[[Amplitudes, Count], Array]


class Errors(NamedTuple):
    """The mean square `error` `(R,)` of denoising at `ratios` κ `(R,)`, ascending."""

    ratios: np.ndarray
    error: np.ndarray


def work_steps(path: NoisingPath, grid: Grid) -> Steps:
    """Steps of equal work of a Langevin corrector, whose velocity is σ: even in ∫ σ
    (E|∂_λ s|²)^½ dλ.

    **Arguments**: `path`, an `fp.Noising`; `grid`, that holds the data; its box is
    widened with the noise. **Returns** a function of path and number of steps, as
    `linear_steps` is. `fp.schedule.optimal(path, total, cost="work")` is the same as a
    schedule, and `fp.score.sampled_costs(...).steps("work")` from samples.

    **Reference**: Williams et al., arXiv 2412.07877, the corrector-optimised cost with
    v = σ.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.step_rules import work_steps

    path, grid = (
        fp.Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)),
        fp.Grid(fp.Line(-4.0, 4.0, 64)),
    )
    lambdas = work_steps(path, grid)(path, 8)
    ```
    """
    # Graded towards the data, where σ vanishes. Between these the logarithm of the cost
    # is nearly linear.
    places = np.linspace(0, 1, CONSTANTS.work_places + 1)[1:] ** 2
    read = read_noising(path, grid.ndim)
    speeds = np.asarray(_score_speeds(read, grid, places))
    costs = np.asarray(path.sigma(places)) * np.sqrt(speeds)
    log_costs = jnp.asarray(np.log(costs))

    def cost(lam: Array) -> Array:
        return jnp.exp(jnp.interp(lam, jnp.asarray(places), log_costs))

    return cost_steps(cost)


def aligned_steps(path: NoisingPath, grid: Grid, smallest: Real = 0.002) -> Steps:
    """The steps of the ancestral sampler with the least bound of KL between κ(1) and
    `smallest`, then 0.

    **Arguments**: `path`, an `fp.Noising`; `grid`, that holds the data; `smallest`, the
    last σ/α above 0. **Returns** a function of path and number of steps, as
    `linear_steps` is. **Raises** `ValueError` for a `smallest` that is not positive.
    **Keeps**: the minimum over all sequences of 800 noise levels. **Cost**: 800 passes
    over the grid, then N 800² numbers.

    **Reference**: Sabour, Fidler and Kreis, arXiv 2404.14507 (KLUB), with the exact
    mean in place of samples.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.step_rules import aligned_steps

    path, grid = (
        fp.Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)),
        fp.Grid(fp.Line(-4.0, 4.0, 64)),
    )
    lambdas = aligned_steps(path, grid, 0.02)(path, 8)
    ```
    """
    errors = denoising_errors(path, grid, smallest)

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        steps = check_integer(
            "steps", steps, 1, "Give the number of steps, at least 1."
        )
        # The step from `smallest` to 0 is not among those that are chosen.
        if steps == 1:
            return jnp.asarray([1.0, 0.0])
        best = least_path_kl(errors, steps - 1)
        return lambdas_at(path, jnp.asarray(np.append(best[::-1], 0.0)))

    return steps_of


def tangent_steps(scale: Real) -> Steps:
    """Steps even in arctan(κ / scale) from κ(1) to 0: best for DDIM and Gaussian data
    of standard deviation `scale`.

    **Arguments**: `scale`, positive. **Returns** a function of path and number of
    steps, as `linear_steps` is. **Reference**: Sabour, Fidler and Kreis, arXiv
    2404.14507 (Gaussian data).

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.step_rules import tangent_steps

    tangent_steps(0.5)(fp.Noising(fp.GaussianMixture([[0.0]], 0.25)), 4)
    ```
    """
    check_positive("scale", scale, "Give the standard deviation of the data.")

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        steps = check_integer(
            "steps", steps, 1, "Give the number of steps, at least 1."
        )
        largest = jnp.arctan(noise_ratio(path, jnp.ones(())) / scale)
        angles = largest * jnp.linspace(1, 0, steps + 1)
        return lambdas_at(path, scale * jnp.tan(angles))

    return steps_of


def harmonic_steps(stiffness: Sequence[float] = (0.0,)) -> Steps:
    """Steps of equal time of a bridge from 0 to the data with a piecewise constant
    stiffness.

    **Arguments**: `stiffness` β `(B,)` on B equal pieces of [0, 1], each above -π²,
    below which the bridge diverges. **Returns** a function of path and number of steps,
    as `linear_steps` is; it starts where the noise level of the bridge is κ(1) of the
    path. **Raises** `ValueError` for another stiffness.

    **Reference**: Chertkov and Behjoo, arXiv 2512.11858.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.step_rules import harmonic_steps

    harmonic_steps((0.0, 4.0))(fp.Noising(fp.GaussianMixture([[0.0]], 0.25)), 4)
    ```
    """
    cure = "Give (0.0, 4.0), say."
    beta = check_numbers("stiffness", stiffness, "they must be numbers", cure)
    beta = np.atleast_1d(beta).astype(float)
    # With every β above -π², φ and χ are positive inside (0, 1), by comparison with
    # sin(π t).
    is_list = beta.ndim == 1 and np.all(np.isfinite(beta))
    if not is_list or np.any(beta <= -(np.pi**2)):
        allowed = "it must be numbers above -π², (B,)"
        raise_value_error("stiffness", stiffness, allowed, cure)

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        steps = check_integer(
            "steps", steps, 1, "Give the number of steps, at least 1."
        )
        largest = float(noise_ratio(path, jnp.ones(())))
        # The time at which the bridge has the noise level of the start, by bisection: κ
        # falls with t.
        lower, upper = 0.0, 1.0
        for _ in range(CONSTANTS.bisections):
            middle = (lower + upper) / 2
            if bridge_ratio(beta, np.asarray([middle]))[0] > largest:
                lower = middle
            else:
                upper = middle
        times = np.linspace(upper, 1.0, steps + 1)
        return lambdas_at(path, jnp.asarray(bridge_ratio(beta, times)))

    return steps_of


def bridge_ratio(stiffness: np.ndarray, times: np.ndarray) -> np.ndarray:
    """κ = (φ/χ)^½ `(T,)` of the bridge with the stiffness `(B,)` on equal pieces, at
    `times` `(T,)` in (0, 1].
    """
    count = len(stiffness)
    edges = np.linspace(0, 1, count + 1)
    # φ and φ' at the edges, from the last to the first; χ and χ' from the first to the
    # last.
    phi = [np.asarray([0.0, -1.0])]
    for beta in stiffness[::-1]:
        phi.insert(0, _propagator(beta, -1 / count) @ phi[0])
    chi = [np.asarray([0.0, 1 / phi[0][0]])]
    for beta in stiffness:
        chi.append(_propagator(beta, 1 / count) @ chi[-1])
    ratios = []
    for t in times:
        k = int(np.searchsorted(edges, t, side="right")) - 1
        k = min(max(k, 0), count - 1)
        # From the nearer edge of its own kind: φ from above and χ from below, where
        # nothing cancels.
        from_above = _propagator(stiffness[k], t - edges[k + 1])
        from_below = _propagator(stiffness[k], t - edges[k])
        above = (from_above @ phi[k + 1])[0]
        below = (from_below @ chi[k])[0]
        # At t = 0 there is only noise.
        ratio = np.sqrt(max(above, 0.0) / below) if below > 0 else np.inf
        ratios.append(ratio)
    return np.asarray(ratios)


def _propagator(beta: float, length: float) -> np.ndarray:
    """The map of (f, f') over `length` for f'' = beta f, `(2, 2)`."""
    root = np.sqrt(abs(beta))
    angle = root * length
    # sinh(root l) / root, or sin, whose limit at zero is l.
    if root == 0:
        sine = length
    elif beta > 0:
        sine = np.sinh(angle) / root
    else:
        sine = np.sin(angle) / root
    cosine = np.cosh(angle) if beta > 0 else np.cos(angle)
    return np.asarray([[cosine, sine], [beta * sine, cosine]])


def denoising_errors(path: NoisingPath, grid: Grid, smallest: Real) -> Errors:
    """The mean square error of denoising from `smallest` to κ(1), even in log κ."""
    check_positive("smallest", smallest, "Give 0.002, the choice of EDM.")
    largest = float(noise_ratio(path, jnp.ones(())))
    if not float(smallest) < largest:
        cure = "Give 0.002."
        raise_value_error(
            "smallest",
            smallest,
            f"it must be below sigma/alpha at the end, {largest:.3g}",
            cure,
        )
    ratios = np.geomspace(float(smallest), largest, CONSTANTS.noise_levels)
    # `lambdas_at` takes levels that fall to 0, and returns 1 and 0 exactly.
    falling = jnp.asarray(np.append(ratios[::-1], 0.0))
    found = lambdas_at(path, falling)
    lambdas = jnp.clip(found[:-1][::-1], 0, 1)
    read = read_noising(path, grid.ndim)
    squares = np.asarray(_score_squares(read, grid, lambdas))
    alphas = np.asarray(path.alpha(lambdas))
    # The score in y = x / α is α times that in x.
    error = grid.ndim * ratios**2 - ratios**4 * alphas**2 * squares
    return Errors(ratios, error)


def least_path_kl(errors: Errors, steps: int) -> np.ndarray:
    """The levels `(steps + 1,)` of `errors`, first to last, with the least KLUB."""
    ratios, error = errors
    inverse = 1 / ratios**2
    # cost[i, j]: a step from level j down to level i < j, without the part that all
    # sequences share.
    is_descent = ratios[:, None] < ratios
    path_kl = (inverse[:, None] - inverse) * error / 2
    cost = np.where(is_descent, path_kl, np.inf)
    best = cost[0].copy()
    before: list[np.ndarray] = []
    for _ in range(steps - 1):
        # best[j] after one more step: over all levels i at which the steps so far may
        # have ended.
        total = best[:, None] + cost
        before.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    # Backwards from the highest level, along the best predecessors.
    chosen = [len(ratios) - 1]
    for row in reversed(before):
        chosen.append(int(row[chosen[-1]]))
    return ratios[np.asarray([0, *reversed(chosen)])]


def path_kl_bound(errors: Errors, levels: np.ndarray) -> float:
    """KLUB of levels κ `(N + 1,)`, ascending: a bound of KL at the lowest of them."""
    ratios, error = errors
    # Imported here, so that `import fpsolve` stays quick.
    from scipy.integrate import simpson

    # M spans many decades: it is interpolated in logarithms.
    log_ratios = np.log(ratios)
    log_errors = np.interp(np.log(levels), log_ratios, np.log(error))
    at = np.exp(log_errors)
    inverse = 1 / levels**2
    falls = inverse[:-1] - inverse[1:]
    steps = np.sum(falls * at[1:]) / 2
    # ∫ M κ^-3 dκ = ∫ M κ^-2 d(log κ), by Simpson's rule in the logarithm.
    return float(steps - simpson(error / ratios**2, x=log_ratios))


def _on_widened(
    path: NoisingPath, grid: Grid, lam: Array, f: Callable[[Array], Array]
) -> Array:
    """E f(x) under p_λ, a scalar, on a grid that is widened with the noise."""
    alpha = path.alpha(lam)
    sigma = path.sigma(lam)
    positions = []
    weights = []
    for axis in grid.axes:
        centre = (axis.lower + axis.upper) / 2
        half = axis.length / 2
        scale = alpha + CONSTANTS.noise_radius * sigma / half
        positions.append(alpha * centre + scale * (jnp.asarray(axis.nodes) - centre))
        weights.append(scale * jnp.asarray(axis.weights))
    mesh = jnp.meshgrid(*positions, indexing="ij")
    points = jnp.stack(mesh, axis=-1).reshape(-1, grid.ndim)
    cells = weights[0]
    for more in weights[1:]:
        cells = (cells[:, None] * more).ravel()
    density = lambda x: jnp.exp(-path(lam)(x))
    masses = jax.vmap(density)(points) * cells
    # Divided by the mass found, of which the box may have cut the tails.
    return jnp.sum(masses * jax.vmap(f)(points)) / jnp.sum(masses)


@sampling_program
def _score_squares(path: NoisingPath, grid: Grid, lambdas: Array) -> Array:
    """E|s|² at `lambdas` `(L,)`."""

    def at(lam: Array) -> Array:
        def square(x: Array) -> Array:
            return jnp.sum(path.score(x, lam) ** 2)

        return _on_widened(path, grid, lam, square)

    return jax.lax.map(at, lambdas)


@sampling_program
def _score_speeds(path: NoisingPath, grid: Grid, lambdas: AnyArray) -> Array:
    """E|∂_λ s|² at `lambdas` `(L,)`."""

    def at(lam: Array) -> Array:
        def square(x: Array) -> Array:
            score = lambda lam: path.score(x, lam)
            rate = jax.jvp(score, (lam,), (jnp.ones_like(lam),))[1]
            return jnp.sum(rate**2)

        return _on_widened(path, grid, lam, square)

    return jax.lax.map(at, jnp.asarray(lambdas))
