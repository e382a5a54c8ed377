"""Operators and schemes: a scheme turns an equation on a grid into an operator, which
has two pictures.

    H = sum_i A_i^T A_i (+ V)       acts on waves psi, symmetric, H sqrt(pi) = 0
    L = -sqrt(pi) H / sqrt(pi)      acts on densities p = sqrt(pi) psi, conserves mass

A_i maps nodes to the faces between them. Transposes are taken in the weights of nodes
and faces.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.program import sampling_program
from ..core.types import DType, Scalar
from ..equation import Equation, Schrodinger
from ..grid import Grid, Places


class Operator(eqx.Module):
    """An equation on a grid at one time. Operators act on the last d axes of a field;
    leading axes are batches.

    - `log_sqrt_pi` is log sqrt(pi) `(*shape)`, or None where there is no Gibbs density
    - `potential_term` is V, the part of H that multiplies the wave at each node,
      `(*shape)`, or None
    """

    positive: ClassVar[bool] = False  # whether exp(tL) p >= 0 for every p >= 0
    grid: eqx.AbstractVar[Grid]
    log_sqrt_pi: eqx.AbstractVar[Any]
    potential_term: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def hamiltonian(self, wave: Array) -> Array:
        """H psi, `(..., *shape)`."""

    @abc.abstractmethod
    def generator(self, density: Array) -> Array:
        """L p, `(..., *shape)`."""

    @property
    @abc.abstractmethod
    def is_factored(self) -> bool:
        """Whether H - V is A^T A in this discretisation, not only in the continuum."""

    @property
    @abc.abstractmethod
    def largest_rate(self) -> Array:
        """The largest exit rate, 1 / time; of a basis, half the highest level."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[Array, Array]:
        """A lower and an upper bound of the spectrum of H. The lower one holds up to
        the discretisation error.
        """


class Samples(eqx.Module):
    """The values of an equation's functions at one time, at the nodes and faces that a
    scheme needs: only arrays.

    - `diffusion`, for each axis: D on its faces `(..., m_i, ...)`, or a scalar where it
      is constant; on finite volumes a D fitted to the rates where a function jumps or D
      varies
    - `slope`, for each axis: on finite volumes log(up / down) across each face, which
      is int b / D dx where all is smooth; on a spectral axis the drift b at the faces,
      or None where the axis is represented by the exact quantum potential
    - `potential_term` `(*shape)`: the potential V of a wave at the nodes, or None
    - `log_gibbs` `(*shape)`: log pi up to a constant at the nodes, or None where there
      is no Gibbs density

    Everything may depend on time, `diffusion` only where it is fitted.
    """

    diffusion: tuple[Array, ...]
    slope: tuple[Array | None, ...]
    potential_term: Array | None
    log_gibbs: Array | None


class Scheme(eqx.Module):
    """A recipe that turns an equation and a grid into an `Operator`, in two steps.

    `sample` evaluates the equation's functions; `assemble` is algebra on arrays, and
    calls no function of the equation.
    """

    # whether fields are expanded in a basis; else they are averages over cells
    spectral: ClassVar[bool] = False
    # Whether a reversible process, or a wave, is sampled at the nodes alone where all
    # cells of an axis are equal.
    samples_nodes: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, equation: Equation, grid: Grid) -> None:
        """Raise `ValueError` for an equation or a grid that is not supported."""

    @abc.abstractmethod
    def sample(
        self,
        equation: Equation,
        grid: Grid | Places,
        t: Scalar,
        reversible: bool,
    ) -> Samples:
        """The equation at time t on the nodes and faces of the scheme; `grid` may be
        `Places` if it `samples_nodes`.

        `reversible` says that the process has a Gibbs density, so that sqrt(pi) and the
        wave picture may be used.
        """

    @abc.abstractmethod
    def assemble(self, samples: Samples, grid: Grid, dtype: DType) -> Operator:
        """The operator in the precision `dtype`."""

    def build(
        self,
        equation: Equation,
        grid: Grid,
        t: Scalar,
        dtype: DType,
        reversible: bool,
    ) -> Operator:
        """The operator at time t: sampled and assembled."""
        return self.assemble(self.sample(equation, grid, t, reversible), grid, dtype)


@runtime_checkable
class ResolvesJumps(Protocol):
    """A scheme whose samples take a much larger program where a function jumps."""

    def sample_smooth(
        self,
        equation: Equation,
        grid: Grid | Places,
        t: Scalar,
        reversible: bool,
    ) -> tuple[Samples, Array]:
        """The samples if no function jumps, and whether one does, in which case they
        are those of `sample` alone.
        """
        ...


def sample_smooth(
    scheme: Scheme,
    equation: Equation,
    grid: Grid | Places,
    t: Scalar,
    reversible: bool,
) -> tuple[Samples, Array]:
    """The samples of any scheme if no function jumps, and whether one does that it
    would resolve.
    """
    if isinstance(scheme, ResolvesJumps):
        return scheme.sample_smooth(equation, grid, t, reversible)
    return scheme.sample(equation, grid, t, reversible), jnp.zeros((), bool)


def sample_equation(
    scheme: Scheme,
    equation: Equation,
    grid: Grid | Places,
    t: Scalar,
    reversible: bool,
) -> Samples:
    """`scheme.sample` as a small program of its own. With `places_of` a grid it serves
    boxes of all sizes.
    """
    # The smaller program first; the larger one only where a function jumps, which a
    # program alone could not decide.
    if is_concrete(equation, t):
        samples, jumps = sample_smooth_equation(scheme, equation, grid, t, reversible)
        if not bool(jumps):
            return samples
    return _sample(scheme, equation, grid, t, reversible)


@sampling_program
def _sample(
    scheme: Scheme,
    equation: Equation,
    grid: Grid | Places,
    t: Scalar,
    reversible: bool,
) -> Samples:
    return scheme.sample(equation, grid, t, reversible)


@sampling_program
def sample_smooth_equation(
    scheme: Scheme,
    equation: Equation,
    grid: Grid | Places,
    t: Scalar,
    reversible: bool,
) -> tuple[Samples, Array]:
    """`sample_smooth` as a small program of its own."""
    return sample_smooth(scheme, equation, grid, t, reversible)


def places_of(
    grid: Grid,
    scheme: Scheme,
    equation: Equation,
    reversible: bool,
) -> Grid | Places:
    """What `scheme.sample` needs of a grid: its nodes alone, or the grid itself."""
    # On a ring the two ends are compared, and a score is sampled at the faces.
    of_nodes = scheme.samples_nodes and all(
        axis.uniform and axis.boundary != "periodic" for axis in grid.axes
    )
    is_wave = isinstance(equation, Schrodinger)
    if of_nodes and (is_wave or (equation.evolves_density and reversible)):
        return Places(grid)
    return grid


def has_stationary_state(operator: Operator) -> bool:
    """Whether sqrt(pi) is known and stationary: through absorbing walls mass is lost,
    and it is not.
    """
    return operator.log_sqrt_pi is not None and not operator.grid.absorbs


def sample_potential(equation: Equation, grid: Grid | Places, t: Scalar) -> Array:
    """The potential at the nodes, `(*shape)`."""
    return grid.sample(lambda x: equation.functions["potential"](x, t))


def log_sqrt_pi_of(log_gibbs: Array, grid: Grid) -> Array:
    """log sqrt(pi) `(*shape)` with pi of mass 1 in the grid's weights, from log pi up
    to a constant.
    """
    log_weights = jnp.log(grid.weights).astype(log_gibbs.dtype)
    log_mass = jax.scipy.special.logsumexp(log_gibbs + log_weights)
    return (log_gibbs - log_mass) / 2


def dense(action: Callable[[Array], Array], grid: Grid, dtype: DType) -> Array:
    """The matrix `(size, size)` of a linear `action` on fields of the grid. Cost: size
    applications, size^2 numbers.
    """
    size = grid.size
    identity = jnp.eye(size, dtype=dtype).reshape(size, *grid.shape)
    flat = identity.reshape(size, size)
    images = jax.vmap(action)(identity).reshape(size, size)
    # The transpose of the images, as a product with the identity: XLA would move a
    # plain transpose into the action, and its FFT on a CPU does not support the layout
    # that results.
    return jnp.einsum("ji,jk->ik", images, flat)
