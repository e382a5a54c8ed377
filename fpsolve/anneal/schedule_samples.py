"""A schedule and the constants of its path, sampled for the integration of bounds.

    λ(t), |dλ/dt| at the times of a mesh,      D rho, sup(-ell), sup |grad ell| at λ

The mesh contains all times that are reported and all features of the potential, and is
fine enough for the fastest decay. The number of intervals between two of these times is
even, as Simpson's rule needs. The constants are those of `curvature`, at lambdas that
are dense where the path changes quickly; between these they are interpolated.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import sampling_program
from ..core.types import AnyArray, Clock, PotentialPath, Scalar
from ..grid import Grid
from .constants import CONSTANTS
from .curvature import PathConstants, path_constants
from .rates import Rates
from .read import read_path, read_schedule


class ScheduleSamples(NamedTuple):
    """The constants of a path along a schedule.

    - `path_lambdas` `(L,)`, and the `constants` of the path at each of them
    - `mesh` `(m,)`: times of the integration; `lambdas` and `speed` dλ/dt `(m,)` at
      these times
    - `reported` `(T,)`: the positions of the reported times in the mesh
    """

    diffusion: float
    path_lambdas: np.ndarray
    constants: list[PathConstants]
    mesh: np.ndarray
    lambdas: np.ndarray
    speed: np.ndarray
    reported: np.ndarray
    score_error: float

    def along_mesh(self, values: np.ndarray) -> np.ndarray:
        """Values `(L,)` at `path_lambdas`, interpolated to the mesh, `(m,)`."""
        return np.interp(self.lambdas, self.path_lambdas, values)


class Features(NamedTuple):
    """Where a path and its schedule change quickly (`pieces`).

    - `lambdas` `(L + 1,)` and `times` `(P + 1,)`: edges of intervals on which the
      potential is smooth
    - `jump`: the first time at which the potential jumps, or None
    """

    lambdas: np.ndarray
    times: np.ndarray
    jump: float | None


def follow(schedule: Clock, times: AnyArray) -> tuple[Array, Array]:
    """λ and dλ/dt `(T,)` of a schedule from `read_schedule` at `times` `(T,)`."""
    if not is_concrete(schedule, times):
        return _follow(schedule, jnp.asarray(times, float))
    # Batches of one size, so that one compiled program serves any number of times.
    size = CONSTANTS.follow_batch
    times = np.asarray(times, float)
    padding = np.full(-len(times) % size, times[-1])
    batches = np.concatenate([times, padding]).reshape(-1, size)
    columns = zip(*(_follow(schedule, batch) for batch in batches), strict=True)
    lambdas, rates = (np.concatenate(column)[: len(times)] for column in columns)
    return as_array(lambdas), as_array(rates)


@sampling_program
def _follow(schedule: Clock, times: AnyArray) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(lambda t: schedule(t)))(times)


def sample_schedule(
    path: PotentialPath,
    schedule: Any,
    diffusion: Scalar,
    grid: Grid,
    times: np.ndarray,
    rates: Callable[[AnyArray], Rates],
    score_error: float,
    features: Features | None,
) -> ScheduleSamples:
    """The constants of the path, and the schedule on a mesh that is fine enough for all
    of them.
    """
    schedule = read_schedule(schedule)
    path_lambdas = np.linspace(0, 1, CONSTANTS.bound_lambdas)
    marks = np.zeros(0)
    # A smooth path needs no other places than the even ones.
    if features is not None:
        path_lambdas = np.union1d(path_lambdas, _within(features.lambdas))
        marks = _within(features.times)
    read = read_path(path, grid.ndim)
    constants = _constants_in_batches(read, diffusion, grid, path_lambdas)
    decays = [c.rate for c in constants]
    mesh = _mesh(times, marks, decays, np.asarray(rates(path_lambdas).gap))
    lambdas, _ = follow(schedule, mesh)
    # Rounding may put λ outside of the path.
    lambdas = np.clip(np.asarray(lambdas), 0, 1)
    # A schedule that is clipped to [0, 1] has no derivative at its ends: the speed is
    # taken just inside.
    margin = CONSTANTS.schedule_end_margin
    total = float(schedule.total)
    inside = np.clip(mesh, margin * total, (1 - margin) * total)
    _, rate = follow(schedule, inside)
    return ScheduleSamples(
        diffusion=float(diffusion),
        path_lambdas=path_lambdas,
        constants=constants,
        mesh=mesh,
        lambdas=lambdas,
        speed=np.abs(np.asarray(rate)),
        reported=np.searchsorted(mesh, times),
        score_error=score_error,
    )


def _within(edges: np.ndarray) -> np.ndarray:
    """Places inside each interval between `edges`, both ends besides, but just inside;
    none for one interval alone.
    """
    if len(edges) <= 2:
        return np.zeros(0)
    # At an edge a function may have a kink: each side gets a value of its own.
    margin = CONSTANTS.schedule_end_margin * (edges[-1] - edges[0])
    inner = [
        np.linspace(a + margin, b - margin, CONSTANTS.piece_places)
        for a, b in itertools.pairwise(edges)
    ]
    return np.concatenate(inner)


def _constants_in_batches(
    path: PotentialPath, diffusion: Scalar, grid: Grid, lambdas: np.ndarray
) -> list[PathConstants]:
    """The constants at `lambdas`, in batches of one size, so that one compiled program
    serves any number of them.
    """
    batch = CONSTANTS.bound_lambdas
    padding = np.full(-len(lambdas) % batch, lambdas[-1])
    padded = np.concatenate([lambdas, padding]).reshape(-1, batch)
    found: list[PathConstants] = []
    for part in padded:
        found += path_constants(path, diffusion, grid, part)
    return found[: len(lambdas)]


def _mesh(
    times: np.ndarray, marks: np.ndarray, rates: list[float], gaps: np.ndarray
) -> np.ndarray:
    """All reported times, all `marks` before the last, and sufficiently many between
    them, with an even number of intervals between neighbours.
    """
    # The solution varies on the scale of the fastest decay.
    fastest = max(max(rates), float(np.max(gaps)))
    end = float(times[-1])
    needed = int(np.ceil(CONSTANTS.steps_per_decay_time * fastest * end))
    steps = max(CONSTANTS.min_bound_steps, needed)
    length = end / steps
    before_end = marks[marks < end]
    edges = np.unique(np.concatenate([[0.0], times, before_end]))
    pieces = []
    for a, b in itertools.pairwise(edges):
        # Simpson's rule takes intervals in equal pairs.
        pairs = max(1, int(np.ceil((b - a) / (2 * length))))
        pieces.append(np.linspace(a, b, 2 * pairs + 1)[:-1])
    return np.concatenate([*pieces, edges[-1:]])
