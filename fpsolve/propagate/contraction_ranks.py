"""How many of the lowest functions of each axis a smaller basis keeps.

    error(k) = sum_u |P_k u|_1

P_k is the projector on the functions of an axis beyond the lowest k. The waves u are
those that the basis must hold at the first output time: what is left of the start, what
W = V - sum_i v_i makes of it and of sqrt(pi), and the slowest modes (`contraction.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..operator.tensor import TensorOperator
from .base import Picture, node_weights, split_stationary
from .constants import CONSTANTS
from .contraction import Axis, along_axis, axes_of, separable


class RankErrors(NamedTuple):
    """For one axis: the `ranks` to choose from `(m,)`, the L1 `error` of each, and the
    highest `energy` it keeps.
    """

    ranks: Array
    error: Array
    energy: Array


def missing(operator: TensorOperator, wave: Array, first: Array) -> list[RankErrors]:
    """For each axis, the errors of a choice of ranks; `wave` is the state at t = 0,
    `first` the first output time.
    """
    axes = axes_of(operator)
    d = len(axes)
    assert operator.log_sqrt_pi is not None and operator.potential_term is not None
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    measure = node_weights(operator) * sqrt_pi
    separable_potential = sum(
        (along_axis(axis.potential_term, i, d) for i, axis in enumerate(axes)),
        jnp.zeros(()),
    )
    coupling = operator.potential_term - separable_potential

    def mass(wave: Array) -> Array:
        return jnp.sum(measure * jnp.abs(wave))

    def coupled(wave: Array) -> Array:
        return separable(axes, coupling * wave, lambda e: first / (1 + e * first))

    # What a function outside of the basis would hold at the first time: of the start,
    # and of what W feeds it from the decayed wave and from sqrt(pi), which the wave
    # approaches.
    _, rest = split_stationary(operator, Picture.GIBBS_WAVE, wave)
    slow = separable(axes, rest, lambda e: jnp.exp(-e * first))
    fed = (slow, coupled(slow), mass(slow) * coupled(sqrt_pi))
    rows = []
    for i, axis in enumerate(axes):
        n = len(axis.energies)
        # Whatever the h_i foretell, the slow modes must be in the basis: sqrt(pi), and
        # x_i sqrt(pi), which is the slowest mode of a linear drift.
        nodes = jnp.asarray(operator.grid.axes[i].nodes, sqrt_pi.dtype)
        places = along_axis(nodes, i, d)
        center = jnp.sum(measure * sqrt_pi * places)
        centred = (places - center) * sqrt_pi
        fields = (*fed, sqrt_pi, centred / mass(centred))
        ranks = jnp.asarray([*range(CONSTANTS.rank_step, n, CONSTANTS.rank_step), n])

        # The defaults bind the values of this axis, not those of the last one.
        def error_of(
            rank: Array,
            i: int = i,
            axis: Axis = axis,
            n: int = n,
            fields: tuple[Array, ...] = fields,
        ) -> Array:
            # The projector on the functions beyond the rank.
            high = jnp.where(jnp.arange(n) < rank, 0, axis.functions)
            projector = high @ high.T
            left_out = (mass(matmul_along_axis(i, projector, u)) for u in fields)
            return sum(left_out, jnp.zeros(()))

        # One rank after the other: each takes a field of its own.
        error = jax.lax.map(error_of, ranks)
        rows.append(RankErrors(ranks, error, axis.energies[ranks - 1]))
    return rows


def choose_ranks(
    rows: list[RankErrors], bound: float, shape: tuple[int, ...], tol: float
) -> tuple[int, ...] | None:
    """The least ranks whose errors are below the tolerance; None if they are not worth
    the effort.

    `bound` is that of the spectrum in the full basis: a Chebyshev expansion takes the
    square root of it in products.
    """
    ranks = []
    highest = 0.0
    for tried, error, energy in rows:
        small_enough = np.asarray(error) < tol / CONSTANTS.contraction_margin
        # The first rank that is sufficient, or the full basis of this axis.
        chosen = len(small_enough) - 1
        if small_enough.any():
            chosen = int(np.argmax(small_enough))
        ranks.append(int(tried[chosen]))
        highest += float(energy[chosen])
    # The products of an expansion times the operations of one product.
    work = np.sqrt(max(highest, 0.0)) * np.prod(ranks) * sum(ranks)
    full_work = np.sqrt(bound) * np.prod(shape) * sum(shape)
    return tuple(ranks) if work < CONSTANTS.worthwhile * full_work else None
