"""A weighted sum of the states of one real-time run, all that a bridge computes.

    S = Re sum_k w_k conj(psi(t_k)),
    psi(t) = e^{-itH} psi_0,      t_k = k h,      k = 0 .. K

H is real and symmetric, and psi_0 is real: the states at -t_k are the complex
conjugates. The real and the imaginary part of a complex psi_0 are summed one after the
other. The sum over equally spaced times repeats in the energy with the period 2 pi / h:
a level E is confused with E - 2 pi m / h. The step

    h = 2 pi / (E_max + L / tau),     L = log(1 / alias_tol)

keeps every alias of a level in [0, E_max] at least L / tau away, where the weights of a
bridge are below alias_tol.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import long_program
from ..plan import Plan
from ..propagate import Propagator
from ..step import Problem
from .constants import CONSTANTS


class Sums(NamedTuple):
    """Sums `(R, *shape)` of real-time states; the operator calls; the error in time of
    each sum `(R,)`, in L1.
    """

    fields: Array
    calls: Array
    error: Array


def weighted_sums(plan: Plan, step: Array, weights: Array, tol: float) -> Sums:
    """The sums of the states of a real-time run, in the user's units.

    **Arguments**: `plan` of an evolution at the Wick angle pi/2; `step` h, a scalar;
    `weights` `(R, K + 1)`, complex.
    """
    start = plan.start
    sampled = plan.request.sampled
    # As many states are held together as the memory allows.
    affordable = max(1, CONSTANTS.block_values // plan.grid.size)
    size = min(CONSTANTS.largest_block, affordable)
    block = min(size, weights.shape[1] - 1)
    # The states at -t are the conjugates of those at t for a real start only.
    parts = [start]
    if jnp.iscomplexobj(start):
        parts = [jnp.real(start), jnp.imag(start)]
    dtype = parts[0].dtype
    scale = np.asarray(sampled.scale, dtype)
    tolerance = jnp.asarray(tol, dtype)
    found = []
    for part in parts:
        found.append(
            _sums(plan.problem, plan.method, part, step, weights, tolerance, block)
        )
    fields = found[0].fields
    calls = found[0].calls
    error = found[0].error
    if len(found) == 2:
        fields = fields + 1j * found[1].fields
        calls = calls + found[1].calls
        error = error + found[1].error
    # The error is an integral over cells of the grid that is solved on.
    volume = np.asarray(sampled.cell, dtype)
    return Sums(
        fields=fields.reshape(-1, *plan.grid.shape) / scale,
        calls=calls,
        error=error * volume / scale,
    )


@long_program
def _sums(
    problem: Problem,
    method: Propagator,
    start: Array,
    step: Array,
    weights: Array,
    tol: Array,
    block: int,
) -> Sums:
    grid = problem.grid
    prepared = method.prepare(problem.at(0.0, start.dtype), problem.picture)
    state = problem.to_state(start)
    rows, points = weights.shape
    count = points - 1
    blocks = -(-count // block)  # rounded up
    # The last block is filled up with weights of zero, so that all have one shape.
    missing = blocks * block - count
    padded = jnp.pad(weights[:, 1:], ((0, 0), (0, missing)))
    by_block = jnp.moveaxis(padded.reshape(rows, blocks, block), 1, 0)
    lengths = step * jnp.arange(1, block + 1, dtype=start.dtype)
    one_tol = tol / blocks

    def advance(
        carry: tuple[Array, ...], weights: Array
    ) -> tuple[tuple[Array, ...], None]:
        state, total, error, worst, calls = carry
        taken = method.apply(prepared, state, lengths, one_tol, problem.wick)
        states = taken.field.astype(state.dtype)
        # The states at -t are the conjugates, so the sum is a real part.
        sums = jnp.tensordot(weights, jnp.conj(states), 1)
        total = total + jnp.real(sums)
        # Errors of one block are carried into all later ones.
        error = error + taken.error[-1]
        largest = jnp.max(grid.integrate(jnp.abs(states)))
        worst = worst + jnp.sum(jnp.abs(weights), axis=1) * error * largest
        return (states[-1], total, error, worst, calls + taken.calls), None

    # The state at t = 0 is given, and has no error.
    first = jnp.real(jnp.multiply.outer(weights[:, 0], jnp.conj(state)))
    zero = jnp.zeros((), start.dtype)
    carry = (state, first, zero, jnp.zeros(rows, start.dtype), zero)
    (_, total, _, worst, calls), _ = jax.lax.scan(advance, carry, by_block)
    return Sums(total, calls, worst)
