"""The protocol of a method in time for a static operator: it applies exponentials.

    density   p(t + s)   = exp( s L) p(t)
    waves     psi(t + s) = exp(-s e^{iw} H) psi(t),   w the Wick angle

`prepare` computes what all lengths of time share (bounds, a decomposition); `apply`
takes a field to all lengths. A method also states what it does not support
(`unsupported`), what it costs (`cost`) and its invariants (`keeps`).
"""

import abc
import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import machine
from ..core.types import DType
from ..grid import Grid
from ..operator import Operator
from ..operator.base import has_stationary_state


class Picture(enum.StrEnum):
    """What the state of a run represents."""

    DENSITY = "density"  # p, a probability density
    # psi = p / sqrt(pi), for a reversible Fokker-Planck equation
    GIBBS_WAVE = "gibbs wave"
    WAVE = "wave"  # the wave of a Schrödinger equation

    @property
    def word(self) -> str:
        """The word for it in `stats`: "density" or "wave"."""
        return "density" if self is Picture.DENSITY else "wave"


class ProblemKind(NamedTuple):
    """The facts about a problem that decide whether a method fits and what it costs.

    - `spectral`: whether the scheme is a spectral one; None while no scheme was chosen
    - `fokker_planck`: whether the state is a density, rather than a wave of a
      Schrödinger equation
    - `reversible`: whether H is symmetric: a Gibbs density exists, or the equation is a
      Schrödinger equation
    - `wave_representable`: whether p / sqrt(pi) of the start can be represented in this
      precision
    - `gradient_drift`: whether the drift is that of a potential alone, with a constant
      diffusion
    - `time_dependent`: whether the operator depends on time
    """

    grid: Grid
    spectral: bool | None
    fokker_planck: bool
    reversible: bool
    wave_representable: bool
    gradient_drift: bool
    time_dependent: bool
    wick: float
    dtype: DType

    @property
    def symmetric(self) -> bool:
        """Whether a state may be expanded in the modes of H."""
        return not self.fokker_planck or (self.reversible and self.wave_representable)


class WorkEstimate(NamedTuple):
    """The size of a run: `spectrum`, t |H|, and `exits`, t q, at the last time t, with
    q the largest exit rate; and the number of output `times`.
    """

    spectrum: float
    exits: float
    times: int


class Reason(NamedTuple):
    """Why a method does not support a problem, and what to do instead; `name` is the
    argument that is rejected.
    """

    because: str
    cure: str
    name: str = "method"


class Keeps(NamedTuple):
    """The invariants of a method: a row of the table in README "Structure", which
    `tests/test_structure.py` measures.

    - `mass`, `positivity`, `gibbs` (pi is a fixed point) and `symmetry` (detailed
      balance of the propagator) are "exact", "rounding", "error" (to the error that is
      reported) or "shown" (not bounded beforehand, but in `stats`)
    - `order`: of convergence in the length of a step; "tol" where the tolerance
      determines the error
    - `calls`: how the operator calls grow with time: "1", "√t" or "t"
    """

    mass: str
    positivity: str
    gibbs: str
    symmetry: str
    order: str
    calls: str


class Step(NamedTuple):
    """The fields after each length `(T, *shape)`, the operator calls in all, and the
    relative error of each `(T,)`.

    The error is in L1 for densities, and for waves p / sqrt(pi) in the density that
    they mean.
    """

    field: Array
    calls: Array
    error: Array


class Propagator(eqx.Module):
    """A method for static operators."""

    @abc.abstractmethod
    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """Why it does not support such a problem, or None where it does."""

    @abc.abstractmethod
    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """Estimated seconds on a machine of this kind, to compare methods by; infinity
        if it is never chosen.
        """

    @abc.abstractmethod
    def keeps(self, spectral: bool) -> Keeps:
        """Its invariants, on finite volumes or in a spectral basis."""

    @abc.abstractmethod
    def prepare(self, operator: Operator, picture: Picture) -> Any:
        """What all lengths share, as a pytree of arrays."""

    @abc.abstractmethod
    def apply(
        self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """Take `field` to all `lengths` `(T,)`, ascending and at least zero, to the
        relative tolerance `tol`.
        """


Exponential = Propagator  # the name in version 0.1


def product_time(grid: Grid, spectral: bool | None) -> float:
    """Estimated seconds of one product with H: a dense matrix an axis in a spectral
    scheme, else three diagonals.
    """
    m = machine()
    if spectral:
        return m.start + 2 * m.operation * grid.size * sum(grid.shape)
    return m.start + m.cell * grid.size * grid.ndim


def no_rates(name: str, kind: ProblemKind) -> Reason | None:
    """Why a method that needs rates between cells does not support a problem: a
    spectral scheme, or a Wick angle.
    """
    if kind.spectral:
        cure = (
            "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev(), "
            "fp.Uniformization() or fp.Dense()."
        )
        return Reason(f"{name} takes finite volumes, and the scheme is Spectral", cure)
    if kind.wick != 0:
        return Reason(
            f"{name} does not support a Wick angle",
            "Give fp.Chebyshev() or fp.Dense().",
        )
    return None


def in_turn(one: Callable[[Array, Array], Step], field: Array, lengths: Array) -> Step:
    """Reach each length from the one before, for a method that has only
    `one(field, length)`; the errors add up.
    """

    def advance(
        carry: tuple[Array, Array], length: Array
    ) -> tuple[tuple[Array, Array], Step]:
        field, error = carry
        taken = one(field, length)
        # Two output times may be equal. The step between them does nothing and counts
        # for nothing.
        taken = taken._replace(
            field=taken.field.astype(field.dtype),
            calls=jnp.where(length > 0, taken.calls, 0),
            error=error + jnp.where(length > 0, taken.error, 0),
        )
        return (taken.field, taken.error), taken

    start = (field, jnp.zeros((), lengths.dtype))
    _, steps = jax.lax.scan(advance, start, jnp.diff(lengths, prepend=0.0))
    return steps._replace(calls=jnp.sum(steps.calls))


def sizes(operator: Operator, picture: Picture | str, fields: Array) -> Array:
    """What the errors of fields `(T, *shape)` are relative to, `(T,)`: the integral of
    a density, also of that which a wave p / sqrt(pi) means, or the norm of another
    wave; a constant to derivatives.
    """
    integrate = operator.grid.integrate
    values = jnp.abs(jax.lax.stop_gradient(fields))
    if picture == Picture.DENSITY:
        return jax.vmap(integrate)(values)
    if operator.log_sqrt_pi is not None:
        return jax.vmap(integrate)(jnp.exp(operator.log_sqrt_pi) * values)

    def norm(field: Array) -> Array:
        return norm_in_range(field, lambda u: integrate(u**2))

    return jax.vmap(norm)(values)


def norm_in_range(field: Array, squared: Callable[[Array], Array]) -> Array:
    """The square root of `squared(field)`, a quadratic form, where the squares
    themselves are out of range.
    """
    largest = jnp.max(jnp.abs(field))
    scaled = field / jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(squared(scaled))


def split_stationary(
    operator: Operator, picture: Picture | str, field: Array
) -> tuple[Array, Array]:
    """The part of the field along the stationary state, and the rest; zero and the
    field where there is no such state.

    sqrt(pi) is the null vector of H: in the continuum, and to rounding on finite
    volumes. Methods evolve only the rest, so that mass and the Gibbs density are kept
    to rounding at any time.
    """
    log_sqrt_pi = operator.log_sqrt_pi
    if log_sqrt_pi is None or not has_stationary_state(operator):
        return jnp.zeros_like(field), field
    sqrt_pi = jnp.exp(log_sqrt_pi)
    integrate = operator.grid.integrate
    # The coefficient of sqrt(pi): the mass of a density, or the scalar product of a
    # wave with sqrt(pi).
    if picture == Picture.DENSITY:
        stationary = sqrt_pi * (integrate(field) * sqrt_pi)
    else:
        stationary = sqrt_pi * integrate(sqrt_pi * field)
    return stationary, field - stationary


def node_weights(operator: Operator) -> Array:
    """The grid's weights in the operator's precision, `(*shape)`."""
    return operator.grid.weights.astype(jax.tree.leaves(operator)[0].dtype)
