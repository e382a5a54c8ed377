"""How many of the lowest functions of each axis a moving wave needs, and what the
others would have added.

In the frame of `frame.py` a function of energy e that is left out of a step of length s
misses

    exp(-s e) c          of its coefficient c at the start of the step
    s / (1 + s e) f      of the rate f at which W couples the wave to it

with W = V + d_t log sqrt(pi) - sum_i v_i.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import AnyArray, Time
from .constants import CONSTANTS
from .frame import (
    Frame,
    along_axis,
    from_frame,
    kinetic_matrices,
    separable_frame,
    to_frame,
)
from .moving_wave import amplification, moving_potential_term, wave_measure
from .problem import Problem


def rank_errors(
    problem: Problem, field: Array, start: Time, end: Time
) -> tuple[Array, ...]:
    """For each axis the errors `(n_i,)`, the k-th of which the lowest k functions of
    that axis would make.

    They are predicted from the state at `start`, and from sqrt(pi) at a few times,
    which the state approaches.
    """
    dtype = field.real.dtype
    # The diffusion does not depend on time, so neither do the kinetic matrices.
    kinetic = kinetic_matrices(problem, start, dtype)
    length = (end - start) / CONSTANTS.rank_steps

    def errors_at(t: Array, state: Array) -> tuple[Array, ...]:
        potential_term = moving_potential_term(problem, t, dtype)
        frame = separable_frame(problem, kinetic, potential_term, state, t)
        z = length * frame.energies
        coupling = (potential_term - frame.separable_potential) * state
        # Both parts of what is missed, as in the docstring of the module.
        parts = (
            jnp.exp(-z) * jnp.abs(to_frame(frame, state)),
            length / (1 + z) * jnp.abs(to_frame(frame, coupling)),
        )
        square = sum(part**2 for part in parts)
        # From a relative L2 error of the wave to an L1 error of its density.
        amplified = square * amplification(problem, state, t) ** 2
        square = amplified / jnp.sum(jnp.abs(state) ** 2)
        # The error of rank k is the root of the sum of squares over all functions from
        # the k-th on.
        errors = []
        for i in range(field.ndim):
            others = tuple(j for j in range(field.ndim) if j != i)
            marginal = jnp.sum(square, others)
            beyond = jnp.cumsum(marginal[::-1])[::-1]
            errors.append(jnp.sqrt(beyond))
        return tuple(errors)

    states = [(start, field)]
    for fraction in CONSTANTS.rank_samples:
        t = start + (end - start) * fraction
        sqrt_pi = jnp.exp(problem.log_sqrt_pi(t, dtype))
        states.append((t, sqrt_pi.astype(field.dtype)))
    rows = [errors_at(t, state) for t, state in states]
    # A rank must be sufficient at every one of these times.
    by_axis = zip(*rows, strict=True)
    return tuple(jnp.max(jnp.stack(column), 0) for column in by_axis)


def choose_ranks(
    errors: Sequence[AnyArray], tol: float, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The least ranks with errors well below `tol`; () where they would save little."""
    ranks = []
    for n, row in zip(shape, errors, strict=True):
        small_enough = np.flatnonzero(np.asarray(row) < tol / CONSTANTS.rank_safety)
        # Rounding up makes the error smaller, never larger.
        rank = _rounded_up(int(small_enough[0])) if len(small_enough) else n
        ranks.append(min(n, rank))
    saves_enough = np.prod(ranks) < CONSTANTS.rank_saving * np.prod(shape)
    return tuple(ranks) if saves_enough else ()


def _rounded_up(rank: int) -> int:
    """The rank, rounded up to one of a few sizes, two for each factor of 2 and at least
    8 (free choices).

    Every tuple of ranks is a program of its own, so few sizes mean few compilations.
    """
    size = max(4, 2 ** max(0, (rank - 1).bit_length() - 2))
    return -(-rank // size) * size


def truncation_error(
    problem: Problem,
    frame: Frame,
    ranks: tuple[int, ...],
    start: Array,
    end: Array,
    coupling: Array,
    t_end: Array,
    length: Array,
) -> Array:
    """The relative L1 error of a step without the functions beyond `ranks`.

    **Arguments**: `frame`, with all functions; `start` and `end`, the field before and
    after the step; `coupling`, W near its end; `t_end`, its end, and `length`.
    **Returns** a constant to derivatives.
    """
    d = end.ndim
    z = length * frame.energies
    # A product of functions is left out if it is beyond the rank on any axis.
    left_out = []
    for i, (n, k) in enumerate(zip(end.shape, ranks, strict=True)):
        left_out.append(along_axis(jnp.arange(n) >= k, i, d))
    beyond = functools.reduce(jnp.logical_or, left_out)
    # W is taken near the end of the step, where the wave has reached what it will
    # couple to.
    parts = (
        jnp.exp(-z) * to_frame(frame, start),
        length / (1 + z) * to_frame(frame, coupling * end),
    )
    measure = wave_measure(problem, t_end, end.real.dtype)

    def mass(wave: Array) -> Array:
        return jnp.sum(measure * jnp.abs(wave))

    removed = (from_frame(frame, jnp.where(beyond, part, 0)) for part in parts)
    missed = sum(map(mass, removed))
    return jax.lax.stop_gradient(missed / mass(end))
