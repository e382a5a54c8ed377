"""How the gap and the costs are computed at given lambdas of a path: the one way for
the whole path.

    one closed axis   chains of cells between its ends, extrapolated
                      (`costs.line_costs`)
    any other grid    three levels and two linear solves on the grid, in a basis or on
                      finite volumes

The companions of a solver have other cells and, on a line, wider boxes
(`plan.companion`).
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from ..core.result import NumericalFailure
from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, Reflecting
from ..operator import ScharfetterGummel, Scheme, Spectral
from ..operator.base import sample_equation
from ..plan import choose_scheme
from ..plan.companion import companion
from ..solve.spectrum import spectrum
from .coarsen_grid import coarsen_grid
from .constants import CONSTANTS
from .costs import Costs, Motion, grid_costs, line_costs, motion_on
from .gibbs import gibbs_density


class Solved(NamedTuple):
    """What is computed at M lambdas, each `(M,)`.

    - `gap`; `second`: the level above it, or the gap again on one axis, where levels do
      not cross
    - `costs`: with the relative error of the algebra, or of the extrapolation of chains
    - `seen`: the relative error of the gap in space and of the box as far as one run
      shows it
    """

    gap: np.ndarray
    second: np.ndarray
    costs: Costs
    seen: np.ndarray


@dataclasses.dataclass(frozen=True)
class PathSolver:
    """The gap and the costs of a path on `grid`; `equation` has λ for its time.

    `scheme` is None where chains of cells are extrapolated, of which the shortest has
    the nodes of `grid`. `solves` says whether the costs that need H^{-1} are computed
    on other grids.
    """

    equation: FokkerPlanck
    grid: Grid
    scheme: Scheme | None
    solves: bool

    @property
    def spectral(self) -> bool:
        """Whether errors fall faster than any power of the spacing."""
        return self.scheme is not None and self.scheme.spectral

    def solve(self, lambdas: np.ndarray) -> Solved:
        """The gap, the level above it and the costs at `lambdas` `(M,)`."""
        if self.scheme is None:
            found = line_costs(self.equation, self.grid.axes[0], lambdas)
            return Solved(found.gap, found.gap, found, np.zeros(len(lambdas)))
        rows = []
        for lam, motion in self._motions(lambdas):
            rows.append(self._solve_one(self.scheme, lam, motion))
        gap, second, costs, seen = zip(*rows, strict=True)
        columns = (np.asarray(column) for column in zip(*costs, strict=True))
        return Solved(
            gap=np.asarray(gap),
            second=np.asarray(second),
            costs=Costs(*columns),
            seen=np.asarray(seen),
        )

    def companion(self) -> "PathSolver":
        """The same on a companion grid."""
        return dataclasses.replace(self, grid=companion(self.grid, self.spectral))

    def solve_if_possible(self, lambdas: np.ndarray) -> Solved:
        """The same as `solve`, with NaN at each λ where nothing is found: functions
        need not be finite beyond the box that the user gave.
        """
        # Chains are solved in batches; on other grids each λ may fail by itself.
        parts = [lambdas] if self.scheme is None else lambdas[:, None]
        rows = []
        for part in parts:
            try:
                rows.append(self.solve(part))
            except (ValueError, NumericalFailure, np.linalg.LinAlgError):
                rows.append(_unknown(len(part)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *rows)

    def _motions(self, lambdas: np.ndarray) -> Iterator[tuple[float, Motion]]:
        yield from zip(lambdas, motions(self.equation, self.grid, lambdas), strict=True)

    def _solve_one(
        self, scheme: Scheme, lam: Scalar, motion: Motion
    ) -> tuple[float, float, Costs, float]:
        """The entries of `Solved` at one λ."""
        at = jax.device_put(np.asarray(lam))
        # The ground state, the gap, and the level above it, which may cross the gap.
        modes = spectrum(self.equation, self.grid, 3, t=at, scheme=scheme, check=False)
        levels = np.asarray(modes.values)
        algebra = np.asarray(modes.error_parts["algebra"])
        gap = float(levels[1])
        error = float(algebra[1])
        samples = None
        if self.solves:
            samples = sample_equation(scheme, self.equation, self.grid, at, True)
        found = grid_costs(motion, samples, scheme, self.grid, self.solves)
        costs = Costs(*map(float, found))
        # The relative error of the gap, which all costs contain.
        size = max(gap, error)
        costs = costs._replace(error=max(costs.error, error / size))
        seen = float(modes.errors[1]) / size
        # A gap below its own error counts as closed.
        resolved_gap = gap if gap > error else 0.0
        return resolved_gap, float(levels[2]), costs, seen


def path_solver(equation: FokkerPlanck, grid: Grid, solves: bool) -> PathSolver:
    """How the gap and the costs of a path are computed on a grid: by chains of cells on
    one closed axis, else by a scheme, in a basis on as few nodes as the waves need.
    """
    axis = grid.axes[0]
    if grid.ndim == 1 and axis.boundary == "no_flux":
        return PathSolver(equation, Grid(_shortest_chain(axis)), None, solves)
    scheme = _path_scheme(equation, grid)
    if scheme.spectral:
        lambdas = np.asarray(CONSTANTS.fitted_lambdas)
        grid = coarsen_grid(equation, grid, lambdas, CONSTANTS.path_wave_tol)
    return PathSolver(equation, grid, scheme, solves)


def _shortest_chain(axis: Axis) -> Axis:
    """Equal cells between the ends of a closed axis, those of the shortest chain."""
    kind = Line if axis.unbounded else Reflecting
    return kind(axis.lower, axis.upper, CONSTANTS.chain_cells[0])


def _unknown(count: int) -> Solved:
    nan = np.full(count, np.nan)
    return Solved(nan, nan, Costs(*[nan] * len(Costs._fields)), nan)


def motions(
    equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray
) -> Iterator[Motion]:
    """The motion at each λ in turn, as numpy arrays `(*shape)`."""
    # Batches of one size, so that one compiled program serves all, and small enough for
    # memory.
    batch = CONSTANTS.sample_batch
    if len(lambdas) == CONSTANTS.first_lambdas:
        batch = len(lambdas)
    batch = max(1, min(batch, CONSTANTS.max_samples // grid.size))
    padding = np.full(-len(lambdas) % batch, lambdas[-1])
    padded = np.concatenate([lambdas, padding]).reshape(-1, batch)
    for start, part in zip(range(0, len(lambdas), batch), padded, strict=True):
        motion = jax.tree.map(np.asarray, motion_on(equation, grid, part))
        for k in range(min(batch, len(lambdas) - start)):
            yield Motion(*(values[k] for values in motion))


def _path_scheme(equation: FokkerPlanck, grid: Grid) -> Scheme:
    """One scheme for the whole path: `Spectral` if it is chosen at the start, in the
    middle and at the end.
    """
    # A change of scheme on the way would be a jump, on which the interpolation would
    # never converge.
    for lam in (0.0, 0.5, 1.0):
        at = jax.device_put(np.asarray(lam))
        start = gibbs_density(equation, grid, at)
        choice = choose_scheme(equation, grid, None, start, at[None], 1e-10)
        if not choice.scheme.spectral:
            return ScharfetterGummel()
    return Spectral()
