"""A smaller basis for slow waves: the lowest functions of each axis, seen at the points that they choose themselves.

    H = sum_i h_i + W,     h_i = T_i + v_i(x_i),     v_i the mean of V over the other axes, weighted by sqrt(pi)
    h_i q_a = e_a q_a,     the lowest k_i of them turned so that x_i is diagonal: points X_i, functions B_i
    H_c = sum_i B_i^T h_i B_i + W(X),     psi = B c

k_i functions do the work of n_i nodes, and the highest level falls from that of the steepest wall to about the sum of
the highest e_a kept. What H_c misses of H psi is measured at the end, and turned into an error by the first order of
perturbation theory with sum_i h_i in the place of H.

References: Bacic and Light, Annu. Rev. Phys. Chem. 40 (1989) 469; Echave and Clary, Chem. Phys. Lett. 190 (1992) 225.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import transform
from ..core.program import compiled, sampling_program
from ..equation import QuantumPotential
from ..grid import sample_product
from ..operator import Operator
from ..operator.tensor import Kinetic, TensorOperator
from .base import Picture, node_weights, split_stationary

SAFETY = 4.0  # the first order falls short by up to twice this where the axes are strongly coupled
MARGIN = 6.0  # by how much the error foreseen must be below the tolerance
STEP = 4  # ranks are multiples of this, so that few programs are compiled
MEANS = 12  # nodes of another axis that a mean well is taken over, about
WORTHWHILE = 0.5  # of the arithmetic in the full basis


SampleWells: TypeAlias = Callable[[tuple[tuple[Array, ...], ...]], tuple[Array, ...]]


class Axis(NamedTuple):
    """One axis: all functions of h_i `(n, n)` in columns, their energies `(n,)`, the mean well at the nodes `(n,)`."""

    functions: Array
    energies: Array
    well: Array


class Contraction(eqx.Module):
    """B_i `(n_i, k_i)`, B_i^T h_i B_i `(k_i, k_i)`, W at the points `(*ranks)`, and the whole separable problem."""

    bases: tuple[Array, ...]
    matrices: tuple[Array, ...]
    coupling: Array
    highest: Array
    axes: tuple[Axis, ...]

    def into(self, wave: Array) -> Array:
        """B^T psi, `(..., *ranks)`."""
        return _all_axes([b.T for b in self.bases], wave)

    def out(self, coefficients: Array) -> Array:
        """B c, `(..., *shape)`."""
        return _all_axes(self.bases, coefficients)

    def hamiltonian(self, coefficients: Array) -> Array:
        """H_c c."""
        answer = self.coupling * coefficients
        for i, matrix in enumerate(self.matrices):
            answer = answer + transform(i, matrix, coefficients, len(self.matrices))
        return answer

    def error(self, operator: Operator, lost: Array, coefficients: Array, lengths: Array) -> Array:
        """The estimated L1 errors `(T,)` of the waves B c, `(T, *ranks)`, of a start that `lost` some of its wave."""
        assert operator.log_sqrt_pi is not None
        measure = node_weights(operator) * jnp.exp(operator.log_sqrt_pi)
        size = lambda wave: jnp.sum(measure * jnp.abs(wave))

        def one(c: Array, length: Array) -> Array:
            missed = operator.hamiltonian(self.out(c)) - self.out(self.hamiltonian(c))
            never = separable(self.axes, lost, lambda e: jnp.exp(-jnp.maximum(e, 0) * length))
            fed = separable(self.axes, missed, lambda e: length / (1 + jnp.maximum(e, 0) * length))
            return SAFETY * (size(fed) + size(never))

        return jax.lax.stop_gradient(jax.vmap(one)(coefficients, lengths))


def contractible(operator: Operator) -> bool:
    """Whether an operator is a sum of kinetic matrices and a well, in two dimensions or more, in a Gibbs picture."""
    return (
        isinstance(operator, TensorOperator)
        and operator.log_sqrt_pi is not None
        and len(operator.terms) > 1
        and all(isinstance(term, Kinetic) for term in operator.terms)
    )


def axes_of(operator: TensorOperator) -> tuple[Axis, ...]:
    """The separable problem of a process in the wave picture."""
    assert operator.well is not None
    axes = []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Kinetic)
        well = _mean(operator, i, operator.well)
        energies, functions = jnp.linalg.eigh(term.matrix + jnp.diag(well))
        axes.append(Axis(functions, energies, well))
    return tuple(axes)


def contract(
    operator: TensorOperator, ranks: tuple[int, ...], nodes: tuple[Array, ...], sample_wells: SampleWells
) -> Contraction:
    """H_c with `ranks` functions on the axes, whose nodes are at `nodes`; `sample_wells` evaluates V on products of
    positions, one for each tuple of them."""
    axes, bases, matrices, points = _functions(operator, ranks, nodes)
    few = [axis[part] for i in range(len(axes)) for axis, part in zip(nodes, _sparse(operator, i), strict=True)]
    d = len(axes)
    mixed = [tuple(points[j] if j == i else few[i * d + j] for j in range(d)) for i in range(d)]
    wells = sample_wells((points, *mixed))
    return _couple(operator, axes, bases, matrices, wells, ranks)


@compiled
def _functions(
    operator: TensorOperator, ranks: tuple[int, ...], nodes: tuple[Array, ...]
) -> tuple[Any, Any, Any, tuple[Array, ...]]:
    """Each axis's own problem, B_i, B_i^T h_i B_i and the points X_i of its lowest functions."""
    axes = axes_of(operator)
    dtype, bases, matrices, points = axes[0].energies.dtype, [], [], []
    for axis, places, rank in zip(axes, nodes, ranks, strict=True):
        low = axis.functions[:, :rank]
        x, turn = jnp.linalg.eigh(low.T @ (places.astype(dtype)[:, None] * low))
        bases.append(low @ turn)
        matrices.append(turn.T @ (axis.energies[:rank, None] * turn))
        points.append(x.astype(nodes[0].dtype))
    return axes, tuple(bases), tuple(matrices), tuple(points)


@compiled
def _couple(
    operator: TensorOperator, axes: Any, bases: Any, matrices: Any, wells: tuple[Array, ...], ranks: tuple[int, ...]
) -> Contraction:
    dtype, d = axes[0].energies.dtype, len(axes)
    coupling = wells[0].astype(dtype)
    for i, well in enumerate(wells[1:]):
        coupling = coupling - _upright(_mean(operator, i, well.astype(dtype)), i, d)
    highest = sum((axis.energies[rank - 1] for axis, rank in zip(axes, ranks, strict=True)), jnp.max(coupling))
    return Contraction(bases, matrices, coupling, highest, axes)


@sampling_program
def sample_wells(equation: Any, positions: tuple[tuple[Array, ...], ...]) -> tuple[Array, ...]:
    """The quantum potential of a process at rest, on products of positions."""
    well = QuantumPotential(equation, jnp.ones(()))
    return tuple(sample_product(well, product) for product in positions)


def _sparse(operator: TensorOperator, i: int) -> tuple[slice, ...]:
    """The nodes that a mean along axis i is taken over: all of that axis, some of the others; any choice would do."""
    return tuple(slice(None, None, 1 if j == i else max(1, n // MEANS)) for j, n in enumerate(operator.grid.shape))


def _mean(operator: TensorOperator, i: int, values: Array) -> Array:
    """The mean over the other axes of a well given on all nodes, or on the sparse ones, weighted by sqrt(pi)."""
    assert operator.log_sqrt_pi is not None
    others, sparse = tuple(j for j in range(values.ndim) if j != i), _sparse(operator, i)
    if values.shape == operator.grid.shape:
        values = values[sparse]
    shares = jnp.sum(jnp.exp(operator.log_sqrt_pi), i, keepdims=True)
    shares = shares[tuple(slice(None) if j == i else part for j, part in enumerate(sparse))]
    return jnp.sum(values * shares, others) / jnp.sum(shares)


def _upright(values: Array, i: int, d: int) -> Array:
    return values.reshape(-1, *[1] * (d - 1 - i))


def separable(axes: tuple[Axis, ...], wave: Array, f: Callable[[Array], Array]) -> Array:
    """f(sum_i h_i) psi."""
    d = len(axes)
    energies = sum((_upright(axis.energies, i, d) for i, axis in enumerate(axes)), jnp.zeros(()))
    inside = _all_axes([a.functions.T for a in axes], wave)
    return _all_axes([a.functions for a in axes], f(energies) * inside)


def missing(operator: TensorOperator, wave: Array, first: Array) -> Any:
    """For each axis, the ranks to try `(m,)`, the L1 error that each would make, and the highest energy that it keeps.

    `wave` is the state at t = 0 and `first` the time it is first asked for.
    """
    axes = axes_of(operator)
    assert operator.log_sqrt_pi is not None and operator.well is not None
    root = jnp.exp(operator.log_sqrt_pi)
    measure = node_weights(operator) * root
    coupling = operator.well - sum((_upright(axis.well, i, len(axes)) for i, axis in enumerate(axes)), jnp.zeros(()))
    slow = separable(
        axes, split_stationary(operator, Picture.GIBBS_WAVE, wave)[1], lambda e: jnp.exp(-jnp.maximum(e, 0) * first)
    )
    pushed = lambda u: separable(axes, coupling * u, lambda e: first / (1 + jnp.maximum(e, 0) * first))
    fields = (slow, pushed(slow), jnp.sum(measure * jnp.abs(slow)) * pushed(root))
    rows = []
    for i, axis in enumerate(axes):
        n = len(axis.energies)
        ranks = jnp.asarray([*range(STEP, n, STEP), n])

        def lost(rank: Array, i: int = i, axis: Axis = axis, n: int = n) -> Array:
            high = jnp.where(jnp.arange(n) < rank, 0, axis.functions)
            part = lambda u: jnp.sum(measure * jnp.abs(transform(i, high @ high.T, u)))
            return sum((part(u) for u in fields), jnp.zeros(()))

        rows.append((ranks, jax.lax.map(lost, ranks), axis.energies[ranks - 1]))
    return rows


def choose_ranks(rows: Any, bound: float, shape: tuple[int, ...], tol: float) -> tuple[int, ...] | None:
    """The least ranks whose error is below the tolerance; None where they are not worth the effort."""
    ranks, top = [], 0.0
    for tried, lost, highest in rows:
        fits = np.asarray(lost) < tol / MARGIN
        chosen = int(np.argmax(fits)) if fits.any() else len(fits) - 1
        ranks.append(int(tried[chosen]))
        top += float(highest[chosen])
    small = np.sqrt(max(top, 0.0)) * np.prod(ranks) * sum(ranks)
    return tuple(ranks) if small < WORTHWHILE * np.sqrt(bound) * np.prod(shape) * sum(shape) else None


def _all_axes(matrices: Any, u: Array) -> Array:
    for i, matrix in enumerate(matrices):
        u = transform(i, matrix, u, len(matrices))
    return u
