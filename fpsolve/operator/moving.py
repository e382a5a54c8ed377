"""An equation that moves, on one grid: what a scheme reads of it at any time of an interval.

    EvaluatedPath   calls the equation's functions, traced into whatever program asks
    ExpandedPath    a Chebyshev expansion in time of what was sampled: arrays and nothing else
    WeightedPath    either, with a multiple of d_t log pi_t added to the well (theorem T14)

Programs that step in time take any. An expansion depends on shapes alone: its programs are compiled once for all
potentials.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.content import is_plain
from ..core.program import quick_program, sampling_program
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..potential import as_potential
from .base import Equation, Operator, Samples, Scheme, log_sqrt_pi_of
from .cells import in_units

# Terms of an expansion: some three periods of a drive (a free choice: an interval that needs more is halved).
NODES = 32
# The remainder of an expansion, of the largest value: 200 units of rounding, what a sum of 32 terms may leave.
ROUNDINGS = 200.0
# Where an expansion is compared with the functions: the golden ratio's multiples, which meet no Chebyshev node.
CHECKS = 7


class OperatorPath(eqx.Module):
    """Operators that depend on time."""

    grid: eqx.AbstractVar[Grid]
    scheme: eqx.AbstractVar[Scheme]

    @abc.abstractmethod
    def samples(self, t: Any) -> Samples:
        """What the scheme reads at time t."""

    @abc.abstractmethod
    def expanded(self, start: float, end: float) -> "OperatorPath | None":
        """The same as arrays on [start, end]; None where an expansion of fixed length does not converge there."""

    @property
    @abc.abstractmethod
    def axiswise(self) -> bool:
        """Whether H is a kinetic matrix for each axis and a well, with no factor."""

    def at(self, t: Any, dtype: Any) -> Operator:
        """The operator at time t."""
        return self.scheme.assemble(self.samples(t), self.grid, dtype)

    def log_gibbs(self, t: Any) -> Array:
        """log pi_t up to a constant, `(*shape)`."""
        log_gibbs = self.samples(t).log_gibbs
        assert log_gibbs is not None, "a wave of a process needs a Gibbs density"
        return log_gibbs

    def log_sqrt_pi(self, t: Any) -> Array:
        """log sqrt(pi_t) with pi_t of mass 1, `(*shape)`."""
        return log_sqrt_pi_of(self.log_gibbs(t), self.grid)


class EvaluatedPath(OperatorPath):
    """The functions themselves, read on `places`; with `in_cells` the operators are those of `places.in_cells`."""

    equation: Equation
    scheme: Scheme
    places: Grid = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    reversible: bool = eqx.field(static=True)

    def __init__(self, equation: Equation, scheme: Scheme, places: Grid, reversible: bool, in_cells: bool = False):
        self.equation = equation
        self.scheme = scheme
        self.places = places
        self.grid = places.in_cells if in_cells else places
        self.reversible = reversible

    @property
    def axiswise(self) -> bool:
        """Whether the scheme takes the exact quantum potential on every axis."""
        if not self.scheme.spectral or self.equation.by_factors:
            return False
        walls = not self.grid.uniform
        return not self.equation.evolves_density or (self.reversible and not walls)

    def samples(self, t: Any) -> Samples:
        """The functions at time t."""
        samples = self.scheme.sample(self.equation, self.places, t, self.reversible)
        return samples if self.grid == self.places else in_units(self.scheme, samples, self.places.units)

    def expanded(self, start: float, end: float) -> "ExpandedPath | None":
        """The expansion of the functions (`expand`)."""
        return expand(self, start, end)


class ExpandedPath(OperatorPath):
    """Chebyshev expansions on [start, end].

    `coefficients` are `Samples` whose arrays, but for the diffusion, have the terms as their first axis. They are
    expansions in t, or in `clock(t)`, the place on a path, where there is a clock: a schedule of arrays.
    """

    coefficients: Samples
    start: Array
    end: Array
    scheme: Scheme
    clock: Any = None
    grid: Grid = eqx.field(static=True, kw_only=True)

    @property
    def axiswise(self) -> bool:
        """Whether no axis has a slope at its faces."""
        return all(slope is None for slope in self.coefficients.slope)

    def samples(self, t: Any) -> Samples:
        """The sums at time t."""
        t = jnp.asarray(t)
        if self.clock is not None:
            t = self.clock(t).astype(t.dtype)
        s = (2 * t - (self.start + self.end).astype(t.dtype)) / (self.end - self.start).astype(t.dtype)
        terms = [jnp.ones_like(s), s]
        for _ in range(NODES - 2):
            terms.append(2 * s * terms[-1] - terms[-2])
        row = jnp.stack(terms)
        return _moving(lambda leaf: jnp.tensordot(row.astype(leaf.dtype), leaf, 1), self.coefficients)

    def expanded(self, start: float, end: float) -> "ExpandedPath":
        """Itself."""
        return self


class WeightedPath(OperatorPath):
    """The waves of theorem T14: H_t + (kappa/2) d_t log pi_t, with pi_t of mass 1.

    kappa = 0 is H itself. With kappa = -1 (the weights of Jarzynski) sqrt(pi_t) solves the equation exactly.
    """

    path: OperatorPath
    kappa: Array
    scheme: Scheme
    grid: Grid = eqx.field(static=True)

    def __init__(self, path: OperatorPath, kappa: Array):
        self.path = path
        self.kappa = kappa
        self.scheme = path.scheme
        self.grid = path.grid

    @property
    def axiswise(self) -> bool:
        """Whether H is a kinetic matrix for each axis and a well."""
        return self.path.axiswise

    def samples(self, t: Any) -> Samples:
        """The samples at time t with the term added to the well, and no Gibbs density."""
        t = jnp.asarray(t)
        samples = self.path.samples(t)
        assert samples.well is not None, "a wave has a well"
        half_rate = jax.jvp(self.path.log_sqrt_pi, (t,), (jnp.ones_like(t),))[1]
        well = samples.well + self.kappa.astype(half_rate.dtype) * half_rate
        return dataclasses.replace(samples, well=well, log_gibbs=None)

    def expanded(self, start: float, end: float) -> "WeightedPath | None":
        """The same of an expansion."""
        path = self.path.expanded(start, end)
        return None if path is None else WeightedPath(path, self.kappa)


def expand(path: EvaluatedPath, start: float, end: float) -> ExpandedPath | None:
    """The expansion of a path on [start, end], or None where `NODES` terms do not reach rounding.

    The functions are evaluated by one small program at Chebyshev nodes inside the interval, so a jump at an end is no
    obstacle, and at other times, where the sum must agree with them. **Cost**: 39 evaluations on all places.
    """
    path, start, end, clock = _by_clock(path, start, end)
    angles = np.pi * (np.arange(NODES) + 0.5) / NODES
    checks = 2 * np.modf(np.arange(1, CHECKS + 1) * (np.sqrt(5) - 1) / 2)[0] - 1
    places = np.concatenate([np.cos(angles), checks])
    times = (start + end) / 2 + (end - start) / 2 * places
    sampled = sample_times(path, times)
    transform = 2 / NODES * np.cos(np.multiply.outer(np.arange(NODES), angles))
    transform[0] /= 2
    at_checks = np.cos(np.multiply.outer(np.arccos(checks), np.arange(NODES)))
    converged = True

    def coefficients(values: Array) -> Array:
        nonlocal converged
        flat = np.asarray(values).reshape(len(values), -1)
        found = transform @ flat[:NODES]
        left = np.abs(at_checks @ found - flat[NODES:])
        # Each place by itself: where a potential is steep its rounding is larger.
        most = np.max(np.abs(flat), axis=0) + np.finfo(flat.dtype).tiny
        size = np.maximum(most, np.max(np.abs(flat)) * np.finfo(flat.dtype).eps)
        converged &= bool(np.all(np.isfinite(flat)) and np.all(left <= ROUNDINGS * np.finfo(flat.dtype).eps * size))
        return as_array(found.reshape(NODES, *values.shape[1:]))

    expanded = _moving(coefficients, sampled)
    if not converged:
        return None
    diffusion = tuple(as_array(np.asarray(values)[0]) for values in sampled.diffusion)
    expanded = dataclasses.replace(expanded, diffusion=diffusion)
    return ExpandedPath(
        coefficients=expanded,
        start=as_array(start),
        end=as_array(end),
        scheme=path.scheme,
        clock=clock,
        grid=path.grid,
    )


def _by_clock(path: EvaluatedPath, start: float, end: float) -> tuple[EvaluatedPath, float, float, Any]:
    """The same in the place on a path, where the equation is a path driven by a schedule of arrays: a path is smooth
    where the schedule has hundreds of pieces. With the ends in that variable, and the schedule."""
    equation = path.equation
    potential = getattr(equation, "potential", None)
    if not (isinstance(potential, Driven) and is_plain(potential.schedule)):
        return path, start, end, None
    if getattr(equation, "force", None) is not None or _moves_by_itself(potential.path):
        return path, start, end, None
    places = np.asarray(_follow(potential.schedule, np.asarray([start, end])))
    low, high = float(np.min(places)), float(np.max(places))
    # Where the schedule rests the range is widened: an expansion needs one.
    width = max(high - low, 1e-3 * max(1.0, abs(low)))
    high = low + width
    still = Driven(potential.path, Identity())
    return eqx.tree_at(lambda p: p.equation.potential, path, still), low, high, potential.schedule


@quick_program
def _follow(schedule: Any, times: Any) -> Array:
    """The places of a schedule at times."""
    return jax.vmap(schedule)(jnp.asarray(times))


def _moves_by_itself(path: Any) -> bool:
    """Whether the potentials on a path depend on time themselves."""
    found: list[bool] = []
    jax.eval_shape(
        lambda place: found.append(as_potential(path(place)).time_dependent), jax.ShapeDtypeStruct((), float)
    )
    return found[0]


@sampling_program
def sample_times(path: EvaluatedPath, times: Any) -> Samples:
    """The samples at `times` `(T,)`, each array with the times as its first axis."""
    return jax.lax.map(path.samples, times)


def _moving(f: Any, samples: Samples) -> Samples:
    """f of every array that may depend on time."""
    slope, well, log_gibbs = jax.tree.map(f, (samples.slope, samples.well, samples.log_gibbs))
    return Samples(samples.diffusion, slope, well, log_gibbs)
