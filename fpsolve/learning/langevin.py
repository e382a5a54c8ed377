"""The density of a model's parameters under Langevin dynamics: solved on a grid, and
sampled by walkers.

    d theta = -grad U dt + sqrt(2 D) dW,      U(theta) = mean loss over the data
    d_t p = div(p grad U) + D Lap p           p = sqrt(pi) psi,   d_t psi = -H psi

Training by stochastic gradients with noise (SGLD) samples this density, and the wave
psi is its image in imaginary time. Both are solved on a grid, each with its own
samples, and walkers are compared with the density bin by bin.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_integer,
    check_numbers,
    check_positive,
    raise_value_error,
)
from ..core.content import ReadFunction
from ..core.program import public_function
from ..core.types import Count, Formula, Key, Numbers, Real
from ..equation import FokkerPlanck
from ..grid import Gaussian, Grid
from ..operator import Scheme
from ..operator.clipping import clip_tails
from ..plan.resolution import is_wave_representable
from ..solve.evolve import evolve
from ..solve.solution import Solution
from .bins import ChiSquare, chi_square, equal_bins
from .constants import CONSTANTS
from .sgld import Walkers, read_loss, step_errors, walk


class FullLoss(eqx.Module):
    """U(theta), the mean of a loss over all data, as a potential."""

    read: ReadFunction
    data: Any

    def __call__(self, x: Array) -> Array:
        """U at theta `(d,)`, a scalar."""
        return self.read(jnp.asarray(x, float), self.data)


class LangevinDensity(eqx.Module):
    """The density of parameters at times, by three roads.

    - `solved`: the `fp.Solution` of the Fokker-Planck equation: `times` `(T,)`,
      `density` `(T, *shape)`, and `error` `(T,)`, its estimated relative L1 error
    - `wave` `(T, *shape)`: psi of the Schrödinger image; `difference` `(T,)`: relative
      L1 distance of p and sqrt(pi) psi. Both are None where the start is so much wider
      than sqrt(pi) that it has no wave in this precision
    - `positions` `(T, W, d)`: walkers; they and what follows are None without a step
    - `statistic`, `degrees`, `p_value` `(T,)`: the chi-square test of the walkers
      against the density
    - `noise`, `euler`: what the finite step adds to D, relative: by the batches, and by
      Euler's step
    """

    solved: Solution
    wave: Array | None
    difference: Array | None
    positions: Array | None
    statistic: Array | None
    degrees: Array | None
    p_value: Array | None
    noise: Array | None
    euler: Array | None

    @property
    def times(self) -> Array:
        """The output times, `(T,)`."""
        return self.solved.times

    @property
    def density(self) -> Array:
        """p, `(T, *shape)`."""
        return self.solved.values

    @property
    def error(self) -> Array:
        """The whole estimated relative L1 error of p, `(T,)`."""
        return self.solved.error

    @property
    def grid(self) -> Grid:
        """The grid of the density."""
        return self.solved.grid


@public_function
def langevin_density(
    loss: Formula,
    data: Any,
    initial: Any,
    times: Numbers,
    *,
    grid: Grid,
    diffusion: Real,
    scheme: Scheme | None = None,
    step: Real | None = None,
    batch: Count | None = None,
    walkers: Count = 4000,
    key: Key | None = None,
    check: bool = True,
) -> LangevinDensity:
    """The density of parameters under (stochastic gradient) Langevin dynamics on a
    loss, solved and sampled.

        theta' = theta - h grad loss(theta, batch) + sqrt(2 h D) N
        d_t p = div(p grad U) + D Lap p

    **Arguments**

    - `loss`: of theta `(d,)` and rows of the data (every array with one more axis in
      front) to a scalar, a mean over the rows: `lambda theta, rows: jnp.mean((rows[0] @
      theta - rows[1]) ** 2)`
    - `data`: an array, or a tuple of arrays, with N rows each
    - `initial`: an `fp.Gaussian`, from which the walkers start as well; `times` `(T,)`,
      ascending, above zero
    - `grid`: of d <= 3 axes; `diffusion` D > 0, the temperature of the noise; `scheme`,
      `check`: as for `fp.evolve`
    - `step`: h, at most; None solves the density only. `batch` rows drawn at each step,
      with replacement; all N without drawing if None; `walkers`: their number; `key`:
      of `jax.random`, needed with a step

    **Returns** a `LangevinDensity`. **Raises** `ValueError` for bad arguments, and what
    `fp.evolve` raises.

    **Keeps**: mass. The walkers have the density only for h -> 0: read `noise` and
    `euler`, which should be far below 1. **Cost**: a density and its wave, and t / h
    gradients of every walker. **Reference**: Welling and Teh, ICML 2011; theorems T1
    and T29 of this library.

    ```python
    import jax, jax.numpy as jnp
    import fpsolve as fp

    x = jnp.linspace(-1.0, 1.0, 20)
    rows = (x, jnp.sin(2 * x))
    loss = lambda theta, rows: jnp.mean((jnp.tanh(theta[0] * rows[0]) - rows[1]) ** 2)
    options = {"grid": fp.Grid(fp.Line(-2.0, 4.0, 64)), "diffusion": 0.05}
    found = fp.learning.langevin_density(
        loss, rows, fp.Gaussian(0.5, 0.05), [1.0], **options
    )
    ```
    """
    if not callable(loss):
        raise_value_error(
            "loss",
            loss,
            "it must be a function of theta and rows of data",
            "Give lambda theta, rows: ...",
        )
    data = _check_data(data)
    rows = jax.tree.leaves(data)[0].shape[0]
    if not isinstance(initial, Gaussian):
        cure = "Give fp.Gaussian(mean, variance), from which walkers can be drawn."
        raise_value_error("initial", initial, "it must be an fp.Gaussian", cure)
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid",
            grid,
            "it must be an fp.Grid",
            "Give fp.Grid(fp.Line(-5, 5, 64)), say.",
        )
    check_finite_number("diffusion", diffusion)
    check_positive("diffusion", diffusion, "Give the temperature of the noise.")
    if step is not None:
        check_finite_number("step", step)
        check_positive("step", step, "Give 0.01, say, or None for the density alone.")
        walkers = check_integer("walkers", walkers, 100, "Give some thousand walkers.")
        if key is None:
            raise_value_error(
                "key",
                key,
                "walkers need a key of jax.random",
                "Give jax.random.key(0), say.",
            )
    size = rows
    if batch is not None:
        cure = f"Give a number up to {rows}, or None."
        size = check_integer("batch", batch, 1, cure)
    if size > rows:
        raise_value_error(
            "batch", batch, f"there are {rows} rows", "Give fewer, or None."
        )

    full = _read(loss, grid.ndim, data)
    equation = FokkerPlanck(FullLoss(full, data), diffusion)
    solved = evolve(equation, initial, times, grid=grid, scheme=scheme, check=check)
    wave, difference = _image(equation, initial, solved)
    if step is None:
        nothing = (None,) * 6
        return LangevinDensity(solved, wave, difference, *nothing)
    _check_mean(loss, full, initial, data, grid.ndim)
    read = full
    if size != rows:
        # Rows of another number have another shape, for which the loss is read again.
        some = jax.tree.map(lambda column: column[:size], data)
        read = _read(loss, grid.ndim, some)
    losses = (full, read)
    found = _walkers(losses, data, initial, solved, float(step), size, walkers, key)
    tests = _tests(solved, np.asarray(found.positions))
    return LangevinDensity(
        solved=solved,
        wave=wave,
        difference=difference,
        positions=found.positions,
        statistic=as_array([test.statistic for test in tests]),
        degrees=as_array([test.degrees for test in tests], int),
        p_value=as_array([test.p_value for test in tests]),
        noise=found.noise,
        euler=found.euler,
    )


def _check_data(data: Any) -> Any:
    """The data as arrays of equally many rows. **Raises** `ValueError` otherwise."""
    cure = "Give an array, or a tuple of arrays, with one row a datum."
    columns = jax.tree.leaves(data)
    if not columns:
        raise_value_error("data", data, "it must hold arrays", cure)
    arrays = [
        check_numbers("data", column, "it must hold real numbers", cure)
        for column in columns
    ]
    shapes = [array.shape for array in arrays]
    counts = {shape[:1] for shape in shapes}
    # A number has no rows, and an empty array has none either.
    if len(counts) != 1 or counts & {(), (0,)}:
        allowed = "its arrays must have equally many rows"
        raise_value_error("data", shapes, allowed, cure)
    for array in arrays:
        if not np.all(np.isfinite(array)):
            raise_value_error(
                "data",
                array,
                "every number must be finite",
                "Leave out rows with missing values.",
            )
    converted = [jnp.asarray(array, float) for array in arrays]
    return jax.tree.unflatten(jax.tree.structure(data), converted)


def _read(loss: Formula, dim: int, rows: Any) -> ReadFunction:
    """The loss as it is now. **Raises** `ValueError` where it is no scalar."""
    read = read_loss(loss, dim, rows)
    shape = jax.eval_shape(read, jnp.zeros(dim), rows).shape
    if shape != ():
        raise_value_error(
            "loss", shape, "it must return a scalar", "Take the mean over the rows."
        )
    return read


def _check_mean(
    loss: Formula, full: ReadFunction, initial: Gaussian, data: Any, dim: int
) -> None:
    """Raise `ValueError` for a loss that is no mean over rows: its gradient on a batch
    would have another size.
    """
    theta = jnp.broadcast_to(initial.mean, (dim,))
    doubled = jax.tree.map(lambda column: jnp.concatenate([column, column]), data)
    once = float(full(theta, data))
    twice = float(jnp.asarray(loss(theta, doubled)))
    rounding = CONSTANTS.mean_roundings * float(jnp.finfo(theta.dtype).eps)
    if not abs(twice - once) <= rounding * max(abs(once), abs(twice)):
        allowed = (
            f"on every row twice it is {twice / once:.4g} times as large, and must be "
            "a mean over the rows"
        )
        raise_value_error(
            "loss", once, allowed, "Take jnp.mean over the rows, also of a penalty."
        )


def _walkers(
    losses: tuple[ReadFunction, ReadFunction],
    data: Any,
    initial: Gaussian,
    solved: Solution,
    step: float,
    batch: int,
    walkers: int,
    key: Any,
) -> Walkers:
    """The walkers at the output times, and the errors of their step at the last;
    `losses` on all rows, on a batch.
    """
    full, read = losses
    dim = solved.grid.ndim
    start_key, walk_key, noise_key = jax.random.split(key, 3)
    mean = jnp.broadcast_to(initial.mean, (dim,))
    covariance = initial.covariance
    if covariance.ndim < 2:
        covariance = jnp.diag(jnp.broadcast_to(covariance, (dim,)))
    start = jax.random.multivariate_normal(start_key, mean, covariance, (walkers,))
    # Steps of equal length from one output time to the next, at most h.
    intervals = np.diff(np.asarray(solved.times), prepend=0.0)
    # An interval that was computed may exceed a whole number of steps by rounding.
    steps = intervals / step * (1 - CONSTANTS.step_rounding)
    counts = np.maximum(np.ceil(steps).astype(int), 1)
    diffusion = as_array(solved.equation.diffusion)
    lengths = as_array(intervals / counts)
    positions = walk(
        read, data, start, lengths, jnp.asarray(counts), diffusion, batch, walk_key
    )
    noise, euler = step_errors(
        full, read, data, positions[-1], as_array(step), diffusion, batch, noise_key
    )
    return Walkers(positions, noise, euler)


def _tests(solved: Solution, positions: np.ndarray) -> list[ChiSquare]:
    """The chi-square test at every output time."""
    # Bins end at faces of a finer grid: sums over its cells are the masses of finite
    # volumes, and those of a basis to the square of a small spacing.
    finer = solved.grid.refine(CONSTANTS.bin_refinement)
    found = []
    for density, places in zip(np.asarray(solved.on(finer)), positions, strict=True):
        bins = equal_bins(finer, density, CONSTANTS.bin_count)
        found.append(chi_square(places, bins))
    return found


def _image(
    equation: FokkerPlanck, initial: Gaussian, solved: Solution
) -> tuple[Array, Array] | tuple[None, None]:
    """The wave of the Schrödinger image `(T, *shape)`, whose potential is sampled by
    itself, and the relative L1 distance of p and sqrt(pi) psi `(T,)`; None where p /
    sqrt(pi) of the start cannot be represented.
    """
    grid = solved.grid
    read = solved.equation
    assert isinstance(read, FokkerPlanck), "the equation is one"
    log_sqrt_pi = read.log_sqrt_pi(grid)
    density = grid.density(initial)
    # In its tails a normal density may be far above sqrt(pi), where it is clipped, as
    # in a run of the density.
    fraction = as_array(CONSTANTS.clipped_mass, density.dtype)
    weights = grid.weights.astype(density.dtype)
    start = clip_tails(density, log_sqrt_pi, weights, fraction)
    if solved.scheme.spectral:
        # A run in a basis has evolved the density itself where the basis does not
        # resolve the wave.
        has_wave = solved.picture == "wave"
    else:
        size = float(jnp.sqrt(grid.integrate(start**2)))
        has_wave = is_wave_representable(size, density.dtype, CONSTANTS.wave_tol)
    if not has_wave:
        return None, None
    run = evolve(
        equation.schrodinger(),
        start,
        solved.times,
        grid=grid,
        scheme=solved.scheme,
        check=False,
        throw=False,
    )
    wave = run.values
    apart = grid.integrate(jnp.abs(solved.values - jnp.exp(log_sqrt_pi) * wave))
    return wave, apart / grid.integrate(jnp.abs(solved.values))
