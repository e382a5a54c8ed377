"""Operators that depend on time, on one grid: the samples of a scheme at any time of an
interval.

    EvaluatedPath   calls the equation's functions, which are traced into each program
                    that uses it
    ExpandedPath    a Chebyshev expansion in time of the samples: only arrays
    WeightedPath    either of the two, with a multiple of d_t log pi_t added to the
                    potential term (theorem T13)

Programs that step in time take any of them. Those that take an expansion depend on
shapes alone, so they are compiled once for all potentials.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.content import is_plain
from ..core.program import quick_program, sampling_program
from ..core.types import AnyArray, Clock, DType, Formula, Numbers, PotentialPath, Scalar
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..potential import as_potential
from .base import Equation, Operator, Samples, Scheme, log_sqrt_pi_of
from .cells import in_units
from .constants import CONSTANTS


class OperatorPath(eqx.Module):
    """Operators that depend on time."""

    grid: eqx.AbstractVar[Grid]
    scheme: eqx.AbstractVar[Scheme]

    @abc.abstractmethod
    def samples(self, t: Scalar) -> Samples:
        """The samples of the scheme at time t."""

    @abc.abstractmethod
    def expanded(self, start: float, end: float) -> "OperatorPath | None":
        """The same as arrays on [start, end]; None where an expansion of fixed length
        does not converge there.
        """

    @property
    @abc.abstractmethod
    def axiswise(self) -> bool:
        """Whether H is kinetic matrices, one an axis, and a potential term."""

    def at(self, t: Scalar, dtype: DType) -> Operator:
        """The operator at time t."""
        return self.scheme.assemble(self.samples(t), self.grid, dtype)

    def log_gibbs(self, t: Scalar) -> Array:
        """log pi_t up to a constant, `(*shape)`."""
        log_gibbs = self.samples(t).log_gibbs
        assert log_gibbs is not None, "this path has no Gibbs density"
        return log_gibbs

    def log_sqrt_pi(self, t: Scalar) -> Array:
        """log sqrt(pi_t) with pi_t of mass 1, `(*shape)`."""
        return log_sqrt_pi_of(self.log_gibbs(t), self.grid)


class EvaluatedPath(OperatorPath):
    """The functions themselves, sampled on `places`; with `in_cells` the operators are
    those on `places.in_cells`.
    """

    equation: Equation
    scheme: Scheme
    places: Grid = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    reversible: bool = eqx.field(static=True)

    def __init__(
        self,
        equation: Equation,
        scheme: Scheme,
        places: Grid,
        reversible: bool,
        in_cells: bool = False,
    ):
        self.equation = equation
        self.scheme = scheme
        self.places = places
        self.grid = places.in_cells if in_cells else places
        self.reversible = reversible

    @property
    def axiswise(self) -> bool:
        """Whether the scheme uses the exact quantum potential on every axis, or the
        wave has a potential of its own.
        """
        if not self.scheme.spectral or self.equation.by_factors:
            return False
        if not self.equation.evolves_density:
            return True
        # A Legendre axis keeps its factor, because its no-flux ends need it.
        return self.reversible and self.grid.uniform

    def samples(self, t: Scalar) -> Samples:
        """The functions at time t."""
        samples = self.scheme.sample(self.equation, self.places, t, self.reversible)
        if self.grid == self.places:
            return samples
        return in_units(self.scheme, samples, self.places.units)

    def expanded(self, start: float, end: float) -> "ExpandedPath | None":
        """The expansion of the functions (`expand`)."""
        return expand(self, start, end)


class ExpandedPath(OperatorPath):
    """Chebyshev expansions on [start, end].

    `coefficients` are `Samples` whose arrays have the terms as their first axis; those
    of the diffusion only where `diffusion_varies`. They are expansions in t, or, where
    there is a `clock`, in lambda = clock(t). A clock is a schedule of arrays.
    """

    coefficients: Samples
    start: Array
    end: Array
    scheme: Scheme
    clock: Clock | None = None
    grid: Grid = eqx.field(static=True, kw_only=True)
    diffusion_varies: bool = eqx.field(static=True, kw_only=True)

    @property
    def axiswise(self) -> bool:
        """Whether every axis has a kinetic term, which has no slope at faces."""
        return all(slope is None for slope in self.coefficients.slope)

    def samples(self, t: Any) -> Samples:
        """The sums at time t."""
        t = jnp.asarray(t)
        if self.clock is not None:
            t = self.clock(t).astype(t.dtype)
        # In the precision of t, so that a step in float32 stays in float32.
        sum_of_ends = (self.start + self.end).astype(t.dtype)
        length = (self.end - self.start).astype(t.dtype)
        s = (2 * t - sum_of_ends) / length
        row = _chebyshev_polynomials(s)
        expanded = lambda leaf: jnp.tensordot(row.astype(leaf.dtype), leaf, 1)
        return _map_time_dependent(expanded, self.coefficients, self.diffusion_varies)

    def expanded(self, start: float, end: float) -> "ExpandedPath":
        """Returns the path itself, which is an expansion already."""
        return self


class WeightedPath(OperatorPath):
    """The waves of theorem T13: H_t + (kappa/2) d_t log pi_t, with pi_t of mass 1.

    kappa = 0 is H itself. With kappa = -1 (the weights of Jarzynski) sqrt(pi_t) solves
    the equation exactly.
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
        """As of the path itself."""
        return self.path.axiswise

    def samples(self, t: Scalar) -> Samples:
        """The samples at time t with (kappa/2) d_t log pi_t added to the potential
        term, without a Gibbs density.
        """
        t = jnp.asarray(t)
        samples = self.path.samples(t)
        assert samples.potential_term is not None, "a wave has a potential term"
        # d_t log sqrt(pi) = (d_t log pi) / 2, by forward differentiation of the whole
        # path in time.
        _, half_rate = jax.jvp(self.path.log_sqrt_pi, (t,), (jnp.ones_like(t),))
        kappa = self.kappa.astype(half_rate.dtype)
        return dataclasses.replace(
            samples,
            potential_term=samples.potential_term + kappa * half_rate,
            log_gibbs=None,
        )

    def expanded(self, start: float, end: float) -> "WeightedPath | None":
        """The same for an expansion of the path."""
        path = self.path.expanded(start, end)
        return None if path is None else WeightedPath(path, self.kappa)


def _chebyshev_polynomials(s: Array) -> Array:
    """T_0(s), T_1(s), ... `(expansion_terms,)` for one number s in [-1, 1].

    All polynomials T_{m+j} = 2 T_m T_j - T_{m-j} with j <= m at once: five operations
    on arrays instead of thirty on numbers, which are quicker to compile. The derivative
    of arccos in cos(k arccos s) is infinite at the ends.
    """
    row = jnp.stack([jnp.ones_like(s), s])
    while len(row) < CONSTANTS.expansion_terms:
        # T_{m+j} for j = 1, ..., m from T_m, T_j and T_{m-j}.
        further = 2 * row[-1] * row[1:] - row[-2::-1]
        row = jnp.concatenate([row, further])
    return row[: CONSTANTS.expansion_terms]


def expand(path: EvaluatedPath, start: float, end: float) -> ExpandedPath | None:
    """The expansion of a path on [start, end], or None where it does not converge to
    rounding.

    The functions are evaluated by one small program at Chebyshev nodes inside the
    interval, so a jump at an end does no harm, and at other times, where the sum must
    agree with them. **Cost**: 39 evaluations at all nodes and faces.
    """
    path, start, end, clock = _in_lambda(path, start, end)

    # Sample at the Chebyshev nodes and at further times for the check. Multiples of the
    # golden ratio are spread evenly over the interval and meet no Chebyshev node.
    terms = CONSTANTS.expansion_terms
    angles = np.pi * (np.arange(terms) + 0.5) / terms
    numbers = np.arange(1, CONSTANTS.expansion_checks + 1)
    fractions, _ = np.modf(numbers * (np.sqrt(5) - 1) / 2)
    checks = 2 * fractions - 1
    positions = np.concatenate([np.cos(angles), checks])
    times = (start + end) / 2 + (end - start) / 2 * positions
    sampled = sample_times(path, times)

    # The discrete cosine transform from values at the nodes to coefficients, and the
    # polynomials at the checks.
    transform = 2 / terms * np.cos(np.multiply.outer(np.arange(terms), angles))
    transform[0] /= 2
    at_checks = np.cos(np.multiply.outer(np.arccos(checks), np.arange(terms)))
    converged = True

    def expand_values(values: Array) -> Array:
        nonlocal converged
        flat = np.asarray(values).reshape(len(values), -1)
        coefficients = transform @ flat[:terms]
        errors = np.abs(at_checks @ coefficients - flat[terms:])
        # Each point is compared with its own largest value over time, because where a
        # potential is steep its rounding is larger. Values below the rounding of the
        # largest one are compared with that.
        precision = np.finfo(flat.dtype)
        largest = np.max(np.abs(flat), axis=0) + precision.tiny
        size = np.maximum(largest, np.max(np.abs(flat)) * precision.eps)
        allowed = CONSTANTS.expansion_roundings * precision.eps * size
        converged &= bool(np.all(np.isfinite(flat)) and np.all(errors <= allowed))
        return as_array(coefficients.reshape(terms, *values.shape[1:]))

    # The D of fitted rates depends on the drift too, where D varies in space. Elsewhere
    # it stands still.
    rows_of_diffusion = [np.asarray(values) for values in sampled.diffusion]
    varies = any(bool(np.any(np.diff(rows, axis=0))) for rows in rows_of_diffusion)
    coefficients = _map_time_dependent(expand_values, sampled, varies)
    if not converged:
        return None
    if not varies:
        diffusion = tuple(as_array(rows[0]) for rows in rows_of_diffusion)
        coefficients = dataclasses.replace(coefficients, diffusion=diffusion)
    return ExpandedPath(
        coefficients=coefficients,
        start=as_array(start),
        end=as_array(end),
        scheme=path.scheme,
        clock=clock,
        grid=path.grid,
        diffusion_varies=varies,
    )


def _in_lambda(
    path: EvaluatedPath,
    start: float,
    end: float,
) -> tuple[EvaluatedPath, float, float, Clock | None]:
    """The same path as a function of lambda, where a schedule of arrays drives the
    potential; the ends in lambda, and the schedule as clock. Elsewhere the path itself,
    its ends and None.

    In lambda the path is smooth, where in time the schedule may have hundreds of
    pieces.
    """
    equation = path.equation
    potential = getattr(equation, "potential", None)
    if not (isinstance(potential, Driven) and is_plain(potential.schedule)):
        return path, start, end, None
    # A force, or potentials that depend on time by themselves, are not functions of
    # lambda alone.
    forced = getattr(equation, "force", None) is not None
    if forced or _has_time_dependent_potentials(potential.path):
        return path, start, end, None
    ends = np.asarray([start, end])
    lambdas = np.asarray(_evaluate_schedule(potential.schedule, ends))
    low = float(np.min(lambdas))
    high = float(np.max(lambdas))
    # Where the schedule rests, the range is widened, because an expansion divides by
    # its length.
    least_range = CONSTANTS.min_schedule_range * max(1.0, abs(low))
    high = low + max(high - low, least_range)
    by_lambda = Driven(potential.path, Identity())
    path = eqx.tree_at(lambda p: p.equation.potential, path, by_lambda)
    return path, low, high, potential.schedule


@quick_program
def _evaluate_schedule(schedule: Formula, times: AnyArray) -> Array:
    """lambda at `times`, `(T,)`."""
    return jax.vmap(schedule)(jnp.asarray(times))


def _has_time_dependent_potentials(path: PotentialPath) -> bool:
    """Whether the potentials on a path depend on time themselves."""
    found: list[bool] = []

    def record(lam: Array) -> None:
        found.append(as_potential(path(lam)).time_dependent)

    # Traced with an abstract lambda: nothing is computed, because only the kind of the
    # potential matters.
    jax.eval_shape(record, jax.ShapeDtypeStruct((), float))
    return found[0]


@sampling_program
def sample_times(path: EvaluatedPath, times: Numbers) -> Samples:
    """The samples at `times` `(T,)`, each array with the times as its first axis."""
    return jax.lax.map(path.samples, times)


def _map_time_dependent(
    f: Callable[[Array], Array],
    samples: Samples,
    diffusion_varies: bool,
) -> Samples:
    """f of every array that depends on time: the diffusion only if it varies."""
    varying = (samples.slope, samples.potential_term, samples.log_gibbs)
    slope, potential_term, log_gibbs = jax.tree.map(f, varying)
    diffusion = samples.diffusion
    if diffusion_varies:
        diffusion = jax.tree.map(f, diffusion)
    return Samples(diffusion, slope, potential_term, log_gibbs)
