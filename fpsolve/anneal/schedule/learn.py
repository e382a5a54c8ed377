"""Learned schedules: gradient descent of an objective, differentiated through the
solver.

    λ(t) = λ_start( T b(t / T) ),
    b = sum_k c_k B_k,n,    c_k = sum_{j <= k} softmax(theta)_j

The increments of c are positive and sum to 1, so that every step of the descent gives a
schedule; theta = 0 is the start. The best schedule of all steps is returned, which is
at least as good as the start. By default the objective is the distance at the end,
KL(p_T | π_1).

With jumps there are two increments more, of which the first and the last are jumps of λ
at t = 0 and t = T. "work" is the mean work E W of a start from π_0, whose least value
protocols with jumps reach.

References: Kingma and Ba, ICLR 2015 (Adam); theorem T21 of this library (the start);
Schmiedl and Seifert, Phys. Rev. Lett. 98 (2007) 108301 (least work).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ...core.arrays import as_array
from ...core.checks import check_choice, check_integer, raise_value_error
from ...core.program import public_function, quick_program
from ...core.types import Clock, Count, PotentialPath, Scalar
from ...equation import FokkerPlanck
from ...grid import Grid
from ...operator import ScharfetterGummel
from ...path import Driven
from ...path.mix import Identity
from ...solve.evolve import evolve
from ...step import Magnus
from ..constants import CONSTANTS
from ..distances import relative_entropy
from ..gibbs import gibbs_density, log_gibbs_at
from ..read import read_path
from .jumping import Jumping
from .monotone import Schedule, Warped, check_total

# Finite volumes represent a density that a fast schedule leaves far behind, however
# thin its tail.
SCHEME = ScharfetterGummel()


@public_function
def learn(
    path: PotentialPath,
    total: Scalar,
    objective: Callable[[Schedule], Scalar] | str | None = None,
    optimiser: Any = None,
    *,
    start: Clock | None = None,
    steps: Count = 100,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    knots: Count = 16,
    jumps: bool = False,
) -> tuple[Schedule, np.ndarray]:
    """The best schedule that gradient descent finds.

    **Arguments**: `path`, λ to a potential; `total` time; `objective`, a schedule to a
    scalar that JAX can differentiate, "work" for the mean work from π_0, or None for
    KL(p_T | π_1) after transport from π_0; `optimiser`, of optax, Adam if None;
    `start`, the schedule to start from, the best of `linear` and the optimal ones if
    None (`linear` for "work"); `steps` of descent; `grid` on which the transport runs,
    by finite volumes, fitted if None; `diffusion` D; `knots`, how many increments are
    free; `jumps`, whether λ may jump at both ends, which needs an objective that counts
    the jumps: "work", or one of your own.
    **Returns** the schedule, and the objective before each step and after the last,
    `(steps + 1,)`. **Raises** `ValueError` for invalid arguments.

    **Keeps**: monotone from 0 to 1; the objective of the result is the smallest of all
    steps, at most the first. **Cost**: a step takes a run and its transpose, three to
    five runs.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.schedule.learn import learn
    from fpsolve.anneal.schedule.schedules import smooth

    speed = lambda schedule: (schedule.rate(1.0) - 0.4) ** 2
    schedule, history = learn(
        fp.Mix(fp.Harmonic(), fp.Quartic()), 2.0, speed, start=smooth(2.0, 1), steps=3
    )
    ```
    """
    # 1. Validation, and the schedule to start from.
    from .schedules import linear

    total = check_total(total)
    steps = check_integer("steps", steps, 1, "Give the number of steps of the descent.")
    knots = check_integer("knots", knots, 2, "Give how many increments are free.")
    if optimiser is None:
        optimiser = optax.adam(CONSTANTS.adam_rate)
    if not isinstance(optimiser, optax.GradientTransformation):
        raise_value_error(
            "optimiser",
            optimiser,
            "it must be an optax optimiser",
            "Give optax.adam(0.05), say.",
        )
    if grid is None and (start is None or objective is None):
        # Imported here, since `grid_for_path` needs `read`, which imports this package.
        from ..grid_for_path import path_grid

        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    if not isinstance(jumps, bool):
        raise_value_error(
            "jumps",
            jumps,
            "it must be True or False",
            "Give True to let λ jump at both ends.",
        )
    if jumps and objective is None:
        cure = "Give 'work', or an objective of your own."
        raise_value_error(
            "objective",
            objective,
            "KL at the end does not change with a jump at the end",
            cure,
        )
    if isinstance(objective, str):
        check_choice("objective", objective, ("work",))
        start = linear(total) if start is None else start
        objective = _work_objective(path, grid, diffusion, total)
    if start is None:
        start = _best_start(path, total, objective, grid, diffusion)
    if not isinstance(start, Schedule):
        raise_value_error(
            "start",
            start,
            "it must be a schedule",
            "Give fp.schedule.linear(total), say.",
        )
    if float(start.total) != float(total):
        allowed = f"it takes {float(start.total):.6g}, and total is {float(total):.6g}"
        raise_value_error("start", start, allowed, "Make them agree.")
    if objective is None:
        assert grid is not None
        equation = FokkerPlanck(Driven(path, start), diffusion)
        objective = _default_objective(equation, path, grid, start)

    # 2. The descent.
    loss = objective
    deform = with_jumps if jumps else warped

    @jax.jit
    def step(theta: Array, state: PyTree) -> tuple[Array, PyTree, PyTree]:
        evaluate = lambda theta: jnp.asarray(loss(deform(start, theta)))
        value, gradient = jax.value_and_grad(evaluate)(theta)
        change, state = optimiser.update(gradient, state, theta)
        return value, optax.apply_updates(theta, change), state

    # theta = 0 gives equal increments: the start itself, or the start between two small
    # jumps.
    theta = jnp.zeros(knots + 2 if jumps else knots)
    state = optimiser.init(theta)
    best = theta
    smallest = np.inf
    history: list[float] = []
    for k in range(steps + 1):
        value, after, state = step(theta, state)
        history.append(float(value))
        if k == 0 and not np.isfinite(history[0]):
            raise_value_error(
                "objective",
                objective,
                "it is not finite at the start",
                "Give a finite one, or another start.",
            )
        # The descent is not monotone: the best step is kept.
        if history[-1] < smallest:
            best, smallest = theta, history[-1]
        if not np.all(np.isfinite(np.asarray(after))):
            break  # the gradient is not finite: no step follows
        theta = after
    # Where no step was better, the start itself is returned, without a warp that does
    # nothing.
    schedule = start
    if jumps or np.any(np.asarray(best)):
        schedule = deform(start, best)
    return schedule, np.asarray(history)


def _best_start(
    path: PotentialPath,
    total: Scalar,
    objective: Any,
    grid: Grid | None,
    diffusion: Scalar,
) -> Schedule:
    """The best one of the linear and the four optimal schedules."""
    from .schedules import COSTS, linear, optimal

    first = optimal(path, total, grid=grid, diffusion=diffusion)
    candidates = [
        *(optimal(first.along, total, cost=cost) for cost in COSTS),
        linear(total),
    ]
    evaluate = objective
    if objective is None:
        evaluate = lambda schedule: final_kl(path, grid, diffusion, schedule)
    values = np.asarray([evaluate(schedule) for schedule in candidates], float)
    # A schedule whose run failed is never the best one.
    comparable = np.nan_to_num(values, nan=np.inf)
    return candidates[int(np.argmin(comparable))]


def warped(start: Schedule, theta: Array) -> Warped:
    """`start` with its time reparametrised by increments softmax(theta) `(n,)`."""
    sums = jnp.cumsum(jax.nn.softmax(theta))
    # The last sum is 1 up to rounding only.
    coefficients = jnp.concatenate([jnp.zeros(1), sums[:-1], jnp.ones(1)])
    return Warped(start.total, start, coefficients)


def with_jumps(start: Schedule, theta: Array) -> Jumping:
    """`start` with its time reparametrised by increments softmax(theta) `(n + 2,)`, of
    which the first and the last are jumps.
    """
    sums = jnp.cumsum(jax.nn.softmax(theta))
    return Jumping(start.total, start, sums[:-1])


def _work_objective(
    path: PotentialPath, grid: Grid | None, diffusion: Scalar, total: Scalar
) -> Callable[[Schedule], Array]:
    """The mean work by staircases of a fixed number of steps, which can be traced."""
    # Imported here, since `grid_for_path` needs `read`, which imports this package.
    from ..grid_for_path import path_grid
    from ..staircase import mean_work

    if grid is None:
        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    # lambda is the time of this equation.
    by_lambda = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    steps = CONSTANTS.mean_work_steps
    return lambda schedule: mean_work(by_lambda, grid, schedule, total, steps)


def final_kl(
    path: PotentialPath,
    grid: Any,
    diffusion: Scalar,
    schedule: Schedule,
    method: Magnus | None = None,
) -> Array:
    """KL(p_T | π_1) when p starts as π_0 and follows `schedule`; with a method of fixed
    steps it can be traced.
    """
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), schedule), diffusion)
    last = schedule.total[None]
    run = evolve(
        equation,
        gibbs_density(equation, grid, as_array(0.0)),
        last,
        grid=grid,
        scheme=SCHEME,
        method=method,
        tol=CONSTANTS.learn_tol,
        throw=False,
        check=False,
    )
    return _last_kl(run.values, log_gibbs_at(equation, grid, last), grid)


@quick_program
def _last_kl(values: Array, log_gibbs: Array, grid: Grid) -> Array:
    return relative_entropy(values[-1], log_gibbs[-1], grid)


def _default_objective(
    equation: FokkerPlanck, path: PotentialPath, grid: Grid, start: Schedule
) -> Callable[[Schedule], Array]:
    """`final_kl` in a fixed number of steps, so that it can be traced.

    The number is doubled until the objective at the start agrees with that of a run
    with adaptive steps.
    """
    diffusion = equation.diffusion
    count = CONSTANTS.min_traced_steps
    # The reference is a run that chooses its own steps, which a traced run cannot.
    adaptive = float(final_kl(path, grid, diffusion, start))
    while count < CONSTANTS.max_traced_steps:
        fixed = eqx.filter_jit(
            lambda schedule, n=count: final_kl(
                path, grid, diffusion, schedule, Magnus(steps=n)
            )
        )
        difference = abs(float(fixed(start)) - adaptive)
        if difference <= CONSTANTS.traced_steps_tol * adaptive:
            break
        count *= 2
    return lambda schedule: final_kl(
        path, grid, diffusion, schedule, Magnus(steps=count)
    )
