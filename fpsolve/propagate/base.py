"""What a method does: it applies the exponential of a static operator.

    density   p(t + s)   = exp( s L) p(t)
    waves     psi(t + s) = exp(-s e^{iw} H) psi(t),   w the Wick angle

`prepare` does once what serves every length (bounds, a decomposition); `apply` takes a field to all lengths at once.
Everything known about a method is inside it: what it does not take (`unsupported`) and what it costs (`cost`).
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
from ..grid import Grid
from ..operator import Operator


class Picture(enum.StrEnum):
    """What the state of a run is."""

    DENSITY = "density"  # p, a density of a process
    GIBBS_WAVE = "gibbs wave"  # psi = p / sqrt(pi), the wave of a process
    WAVE = "wave"  # the wave of a Schrödinger equation

    @property
    def word(self) -> str:
        """ "density" or "wave", as `stats` says it."""
        return "density" if self is Picture.DENSITY else "wave"


class ProblemKind(NamedTuple):
    """The facts about a problem that methods ask for.

    - `spectral`: whether the scheme is a spectral one; None while no scheme was chosen
    - `fokker_planck`: whether mass is carried, rather than a wave of a Schrödinger equation
    - `reversible`: whether H is symmetric: a Gibbs density exists, or the equation is a Schrödinger equation
    - `wave_representable`: whether p / sqrt(pi) of the start can be carried in this precision
    - `gradient_drift`: whether the drift is that of a potential alone, with a constant diffusion
    - `time_dependent`: whether the operator moves
    """

    grid: Grid
    spectral: bool | None
    fokker_planck: bool
    reversible: bool
    wave_representable: bool
    gradient_drift: bool
    time_dependent: bool
    wick: float
    dtype: Any

    @property
    def symmetric(self) -> bool:
        """Whether a state may be expanded in the modes of H."""
        return not self.fokker_planck or (self.reversible and self.wave_representable)


class WorkEstimate(NamedTuple):
    """How far a run goes: t |H| and t q at the last time, q the largest exit rate, and the number of times."""

    spectrum: float
    exits: float
    times: int


class Reason(NamedTuple):
    """Why a method does not take a problem, and what to do instead: two clauses of a refusal."""

    because: str
    cure: str
    name: str = "method"


class Keeps(NamedTuple):
    """What a method keeps: a row of the table in README "Structure", which `tests/test_structure.py` measures.

    `mass`, `positivity`, `gibbs` (pi as a fixed point) and `symmetry` (detailed balance of the propagator) are "exact",
    "rounding", "error" (below the error that is reported) or "shown" (not bounded beforehand, but in `stats`); `order`
    is that in the length of a step, "tol" where there are no steps or as many as the tolerance takes; `calls` is how
    the operator calls grow with time: "1", "√t" or "t".
    """

    mass: str
    positivity: str
    gibbs: str
    symmetry: str
    order: str
    calls: str


class Step(NamedTuple):
    """The fields after each length `(T, *shape)`, the operator calls they took in all, and the relative error of each
    `(T,)` (L1 for densities)."""

    field: Array
    calls: Array
    error: Array


class Propagator(eqx.Module):
    """A method for static operators."""

    @abc.abstractmethod
    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """Why it does not take such a problem, or None where it does."""

    @abc.abstractmethod
    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """Seconds on a machine of this kind, to compare methods by; infinity where it is never chosen."""

    @abc.abstractmethod
    def keeps(self, spectral: bool) -> Keeps:
        """What it keeps, on finite volumes or in a spectral basis."""

    @abc.abstractmethod
    def prepare(self, operator: Operator, picture: Picture) -> Any:
        """What every length shares; a pytree of arrays."""

    @abc.abstractmethod
    def apply(self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """From one `field` to all `lengths` `(T,)`, ascending and at least zero, to the relative tolerance `tol`."""


Exponential = Propagator  # the name of before


def product_time(grid: Grid, spectral: bool | None) -> float:
    """Seconds of one product with H."""
    m = machine()
    return m.start + (2 * m.operation * grid.size * sum(grid.shape) if spectral else m.cell * grid.size * grid.ndim)


def no_rates(name: str, kind: ProblemKind) -> Reason | None:
    """Why a method made of rates between cells does not take a problem in a basis, or at a Wick angle."""
    if kind.spectral:
        cure = "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev(), fp.Uniformization() or fp.Dense()."
        return Reason(f"{name} takes finite volumes, and the scheme is Spectral", cure)
    if kind.wick != 0:
        return Reason(f"{name} does not support a Wick angle", "Give fp.Chebyshev() or fp.Dense().")
    return None


def in_turn(one: Callable[[Array, Array], Step], field: Array, lengths: Array) -> Step:
    """Lengths reached one from another, for a method that knows `one(field, length)` only; errors add up."""

    def advance(carry: tuple[Array, Array], length: Array) -> tuple[tuple[Array, Array], Step]:
        field, error = carry
        taken = one(field, length)
        taken = taken._replace(
            field=taken.field.astype(field.dtype),
            calls=jnp.where(length > 0, taken.calls, 0),
            error=error + jnp.where(length > 0, taken.error, 0),
        )
        return (taken.field, taken.error), taken

    start = (field, jnp.zeros((), lengths.dtype))
    _, steps = jax.lax.scan(advance, start, jnp.diff(lengths, prepend=0.0))
    return steps._replace(calls=jnp.sum(steps.calls))


def split_stationary(operator: Operator, picture: Picture | str, field: Array) -> tuple[Array, Array]:
    """The part of the field along the stationary state, and the rest; zero and the field where there is none.

    sqrt(pi) is the null vector of H in the continuum and, on finite volumes, to rounding. Methods leave that part
    alone and evolve the rest, so that mass and the Gibbs density are kept to rounding at any time.
    """
    log_sqrt_pi = operator.log_sqrt_pi
    if log_sqrt_pi is None or operator.grid.absorbs:
        return jnp.zeros_like(field), field
    root, integrate = jnp.exp(log_sqrt_pi), operator.grid.integrate
    still = root * (integrate(field) * root if picture == Picture.DENSITY else integrate(root * field))
    return still, field - still


def node_weights(operator: Operator) -> Array:
    """The grid's weights in the operator's precision, `(*shape)`."""
    return operator.grid.weights.astype(jax.tree.leaves(operator)[0].dtype)
