"""An evolution in turned coordinates x = R y, and its states on the given axes.

    p(x) = q(R^T x)
    k_i <= sum_j |R_ij| K_j      with K_j the highest wavenumbers of q

The grid of p resolves every wave that q has. Its values are the series of q at its
nodes, by shears (`shears.py`).
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.types import Formula
from ..equation import Equation, FokkerPlanck, divide_by_sqrt_pi
from ..fit.bounding_box import product_points
from ..fit.sampled_equation import EquationSampler, mean_and_covariance
from ..grid import Gaussian, Grid, Line
from ..operator.aliasing import short_part
from ..operator.basis import evaluate
from ..plan.error_parts import ErrorParts
from .constants import CONSTANTS
from .interpolation import transferred
from .shears import needed_wavenumbers, on_sheared_axes, shears
from .solution import Solution


class TurnedFunction(eqx.Module):
    """f(R y) of a function f."""

    function: Formula
    matrix: Array

    def __call__(self, y: Array) -> Any:
        """The value at y."""
        return self.function(self.matrix @ y)


def turned_arguments(given: dict[str, Any], matrix: np.ndarray) -> dict[str, Any]:
    """The arguments of `fp.evolve` for the same problem in the coordinates y, x =
    `matrix` y; for one number D.
    """
    turn = jnp.asarray(matrix)
    equation = given["equation"]
    initial = given["initial"]
    features = np.asarray(given["features"], float)
    potential = TurnedFunction(equation.potential, turn)
    # One number D is the same along all axes.
    turned: dict[str, Any] = {"equation": FokkerPlanck(potential, equation.diffusion)}
    if isinstance(initial, Gaussian):
        mean, covariance = mean_and_covariance(initial, len(matrix))
        turned["initial"] = Gaussian(matrix.T @ mean, matrix.T @ covariance @ matrix)
    else:
        turned["initial"] = TurnedFunction(initial, turn)
    if (observables := given["observables"]) is not None:
        turned["observables"] = {
            name: TurnedFunction(f, turn) for name, f in observables.items()
        }
    # Rows are points: y = R^T x.
    turned["features"] = features @ matrix if features.size else ()
    return given | turned


def turned_decision(matrix: np.ndarray) -> Decision:
    """The choice of coordinates."""
    rows = "; ".join(", ".join(f"{entry:.4g}" for entry in row) for row in matrix)
    why = f"solved for y in x = R y, R = [{rows}], along which the density is narrow"
    return Decision("turned", why)


def on_given_axes(
    solution: Solution,
    equation: Equation,
    matrix: np.ndarray,
    tol: float,
) -> Solution:
    """A solution in the coordinates y as one of `equation`, with values on a grid of
    the coordinates x.

    **Raises** `ValueError` for a run that failed, whose values have no wavenumbers, and
    for too little memory.
    """
    states = np.asarray(solution.values)
    if not np.all(np.isfinite(states)):
        raise ValueError(f"the run in turned coordinates failed: {solution.result}")
    depth = max(CONSTANTS.turned_depth, CONSTANTS.turned_tol_fraction * tol)
    series = _Series(solution)
    turned, densities = series.resolved(depth)
    wavenumbers = _wavenumbers(turned, densities, depth)
    grid = _grid_of_axes(turned, densities, wavenumbers, matrix, depth)
    # One axis after another takes its new coordinate; the nodes hold all waves.
    steps = shears(matrix)
    finer = _with_wavenumbers(turned, needed_wavenumbers(steps, wavenumbers))
    cure = "Ask for a larger tol, or fewer times."
    check_memory("tol", finer.shape, len(states) + 3, cure)
    check_memory("tol", grid.shape, len(states) + 2, cure)
    resampled = transferred(turned, finer, densities, spectral=True)
    values = np.stack(
        [on_sheared_axes(density, finer, steps, grid) for density in resampled]
    )
    # What the new grid does not hold, or holds twice, shows in the mass; what the steps
    # miss, at some nodes.
    mass = grid.integrate_on_host(values)
    mass_before = solution.grid.integrate_on_host(states)
    missed = _missed(series, grid, values, matrix)
    lost = np.abs(mass - mass_before) + missed + series.oscillation
    parts = ErrorParts(**solution.errors)
    space = np.asarray(parts.space) + lost
    parts = parts._replace(space=as_array(space, solution.error.dtype))
    decisions = dict(solution.decisions) | {"coordinates": turned_decision(matrix)}
    if series.is_wave:
        # In tails the values are as accurate as the peak allows, and their quotients by
        # a small sqrt(pi) are not.
        decisions["picture"] = Decision(
            "density", "on the axes given; its wave was evolved in turned coordinates"
        )
    return dataclasses.replace(
        solution,
        values=as_array(values, solution.values.dtype),
        error=parts.whole,
        errors=parts.as_dict(),
        equation=equation,
        grid=grid,
        decisions=tuple(decisions.items()),
    )


class _Series:
    """The states of a solution as series of a basis: of p, or of p / sqrt(pi)^e times
    sqrt(pi)^e, known everywhere.

    A wave p / sqrt(pi) has the fewest waves, but need not decay towards the ends of the
    box, where p does: its series then has the right values at the nodes, and oscillates
    between them. Among several exponents e the series with the least `oscillation`
    `(T,)` is taken, the estimated error between nodes relative to p in L1.
    """

    def __init__(self, solution: Solution):
        equation = solution.equation
        assert isinstance(equation, FokkerPlanck), "only a process is turned"
        self.grid = solution.grid
        self.states = np.asarray(solution.values)
        self.is_wave = solution.picture == "wave"
        # e = 0: the density itself.
        self._exponent = 0.0
        self.fields = self.states
        self.oscillation = self._oscillation(self.states, np.zeros(self.grid.shape))
        if self.is_wave:
            self._sampler = EquationSampler(equation, self.grid.ndim)
            log_gibbs = self._log_gibbs(_points(self.grid))
            # The largest exponent is taken out: exp would overflow.
            largest = np.max(log_gibbs)
            mass = self.grid.integrate_on_host(np.exp(log_gibbs - largest))
            self._log_z = largest + np.log(mass)
            for exponent in CONSTANTS.turned_exponents:
                log_factor = exponent / 2 * (log_gibbs - self._log_z)
                fields = divide_by_sqrt_pi(self.states, log_factor, np)
                oscillation = self._oscillation(fields, log_factor)
                if np.max(oscillation) < np.max(self.oscillation):
                    self._exponent = exponent
                    self.fields = fields
                    self.oscillation = oscillation

    def _oscillation(self, fields: np.ndarray, log_factor: np.ndarray) -> np.ndarray:
        """The part of the shortest tenth of the waves of `fields` `(T, *shape)`, times
        exp(log_factor), in L1 relative to the states: as large as what a series misses
        between the nodes where coefficients fall slowly.
        """
        short = np.zeros_like(fields)
        for i, axis in enumerate(self.grid.axes):
            parts = [short_part(field, axis, i, np) for field in fields]
            short += np.abs(np.stack(parts))
        whole = self.grid.integrate_on_host(np.abs(self.states))
        return self.grid.integrate_on_host(short * np.exp(log_factor)) / whole

    def resolved(self, depth: float) -> tuple[Grid, np.ndarray]:
        """The densities `(T, *shape)` on a grid of the same box that resolves them to
        `depth`, a part of their peak.
        """
        if self._exponent == 0:
            return self.grid, self.states
        # The wavenumbers of a product are at most the sums of those of its factors.
        factor = self._factor(_points(self.grid))[None]
        of_fields = _wavenumbers(self.grid, self.fields, depth)
        of_factor = _wavenumbers(self.grid, factor, depth)
        finer = _with_wavenumbers(self.grid, of_fields + of_factor)
        fields = transferred(self.grid, finer, self.fields, spectral=True)
        return finer, fields * self._factor(_points(finer))

    def at(self, places: np.ndarray) -> np.ndarray:
        """The states `(T, P)` at places `(P, d)`; zero outside of the box."""
        axes = self.grid.axes
        lower = np.asarray([axis.lower for axis in axes])
        upper = np.asarray([axis.upper for axis in axes])
        is_inside = (places >= lower) & (places <= upper)
        inside = np.flatnonzero(np.all(is_inside, axis=1))
        # The last axis is summed by a product of matrices, which leaves one field of
        # the other axes for each place.
        bases = [evaluate(axis, places[inside, i])[1] for i, axis in enumerate(axes)]
        found = np.tensordot(self.fields, bases[-1], (-1, 1))
        for base in reversed(bases[:-1]):
            found = np.einsum("...np,pn->...p", found, base)
        if self._exponent != 0:
            found = found * self._factor(places[inside])
        values = np.zeros((len(self.states), len(places)))
        values[:, inside] = found
        return values

    def _log_gibbs(self, places: np.ndarray) -> np.ndarray:
        points = places.reshape(-1, self.grid.ndim)
        return self._sampler.log_gibbs(points).reshape(places.shape[:-1])

    def _factor(self, places: np.ndarray) -> np.ndarray:
        """sqrt(pi)^e."""
        log_pi = self._log_gibbs(places) - self._log_z
        return np.exp(self._exponent / 2 * log_pi)


def _points(grid: Grid) -> np.ndarray:
    """The nodes `(*shape, d)`, by numpy, which compiles nothing."""
    points = product_points([axis.nodes for axis in grid.axes])
    return points.reshape(*grid.shape, grid.ndim)


def _wavenumbers(grid: Grid, fields: np.ndarray, depth: float) -> np.ndarray:
    """The highest wavenumbers `(d,)` along each axis at which fields `(T, *shape)` have
    a part `depth` of their largest coefficient.
    """
    found = []
    for i, axis in enumerate(grid.axes):
        coefficients = np.fft.rfft(fields, axis=1 + i)
        sizes = np.moveaxis(np.abs(coefficients), 1 + i, -1)
        sizes = sizes.reshape(-1, sizes.shape[-1])
        largest = np.max(sizes, axis=0)
        last = np.flatnonzero(largest > depth * np.max(largest))[-1]
        # Two modes more, since the last one is not the end of the spectrum.
        highest = min(last + 2, axis.n // 2)
        found.append(2 * np.pi * highest / axis.length)
    return np.asarray(found)


def _with_wavenumbers(grid: Grid, wavenumbers: np.ndarray) -> Grid:
    """The grid of the same box that holds waves up to `wavenumbers` `(d,)`."""
    lengths = np.asarray([axis.length for axis in grid.axes])
    # Two nodes a wave, and one more: the shortest wave of an even number has no phase.
    counts = np.ceil(lengths * wavenumbers / np.pi).astype(int) + 1
    axes = (
        Line(axis.lower, axis.upper, int(n))
        for axis, n in zip(grid.axes, counts, strict=True)
    )
    return Grid(*axes)


def _grid_of_axes(
    turned: Grid,
    densities: np.ndarray,
    wavenumbers: np.ndarray,
    matrix: np.ndarray,
    depth: float,
) -> Grid:
    """The grid along the axes of x that holds densities `(T, *turned.shape)`."""
    sizes = np.abs(densities)
    space = tuple(range(1, densities.ndim))
    peaks = np.max(sizes, axis=space, keepdims=True)
    held = np.any(sizes > depth * peaks, axis=0)
    points = _points(turned)[held] @ matrix.T
    # A cell more on each side, since coarse nodes may stop short of the depth.
    spacings = np.asarray([axis.length / axis.n for axis in turned.axes])
    cells = np.abs(matrix) @ spacings
    lower = np.min(points, axis=0) - cells
    upper = np.max(points, axis=0) + cells
    # k_i <= sum_j |R_ij| K_j
    highest = np.abs(matrix) @ wavenumbers
    counts = np.ceil((upper - lower) * highest / np.pi).astype(int)
    axes = (
        Line(float(a), float(b), int(n))
        for a, b, n in zip(lower, upper, counts, strict=True)
    )
    return Grid(*axes)


def _missed(
    series: _Series,
    grid: Grid,
    values: np.ndarray,
    matrix: np.ndarray,
) -> np.ndarray:
    """The relative difference in L1 `(T,)` of values `(T, *grid.shape)` and the series
    of the basis, at some nodes.
    """
    # A fixed seed: the same call gives the same error.
    count = min(grid.size, CONSTANTS.turned_checked)
    chosen = np.random.default_rng(0).choice(grid.size, count, replace=False)
    points = _points(grid).reshape(-1, grid.ndim)[chosen]
    right = series.at(points @ matrix)
    weights = grid.weights_on_host.ravel()[chosen]
    found = values.reshape(len(values), -1)[:, chosen]
    apart = np.abs(found - right)
    difference = apart @ weights
    mass = series.grid.integrate_on_host(np.abs(series.states))
    # The nodes stand for all of the grid.
    return difference * grid.size / count / mass
