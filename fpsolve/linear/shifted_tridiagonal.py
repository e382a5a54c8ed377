"""Shifted tridiagonal and cyclic systems of a birth-death chain, for many shifts,
solved without a subtraction.

    (shift + killing_j + up_j + down_{j-1}) x_j
        - up_{j-1} x_{j-1} - down_j x_{j+1} = load_j

Column j sums to shift + killing_j: the rate at which mass leaves the chain from node j.
Nodes are eliminated one after the other, as states of a Markov chain are censored. The
killing rate s of a node and its load pass to its neighbours,

    pivot = s_j + up_j,
    s_{j+1} = shift + killing_{j+1} + down_j s_j / pivot,
    y_{j+1} = load_{j+1} + up_j y_j / pivot,

so the diagonal, in which rounding would lose the slow modes, is never formed: every
term is a sum of numbers within the sector between the positive axis and the shift. A
chain that leaves a node at the rate 1e6 and a shift of 1e-12 keep all their digits. On
a ring the last node stays coupled to the current one and is eliminated last.

References: Grassmann, Taksar and Heyman, Oper. Res. 33 (1985) 1107; O'Cinneide, Numer.
Math. 65 (1993) 109.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS


class _RingState(NamedTuple):
    """The forward elimination on a ring between two nodes, each `(K,)`: what has passed
    to the next node and to the last one.
    """

    killing: Array  # to the next node
    load: Array
    to_last: Array  # coupling from the next node to the last one
    from_last: Array  # coupling from the last node to the next one
    last_killing: Array  # to the last node
    last_load: Array


def solve_shifted(
    shift: Array,
    killing: Array,
    up: Array,
    down: Array,
    load: Array,
    ring: bool,
) -> Array:
    """x `(n, K)` for each shift.

    **Arguments**: `shift` `(K,)`, real or complex; `killing` and `load` `(n,)`; `up[j]`
    `(n,)` the rate from node j to j + 1, `down[j]` that from j + 1 back; their last
    entries couple the last node to the first on a `ring` and are not read otherwise.
    **Keeps**: each solution to a relative accuracy of a few roundings where shift +
    killing has a positive real part, whatever the ratio of the rates. **Cost**: O(n K);
    on a CPU two loops along the chain, on an accelerator log2 n levels of odd-even
    elimination, which costs a few times more work.
    """
    if ring:
        by_loop, by_reduction = _loop_ring, _reduction_ring
    else:
        by_loop, by_reduction = _loop_line, _reduction_line
    return jax.lax.platform_dependent(
        shift,
        killing,
        up,
        down,
        load,
        cpu=by_loop,
        default=by_reduction,
    )


def _loop_line(
    shift: Array,
    killing: Array,
    up: Array,
    down: Array,
    load: Array,
) -> Array:
    def forward(
        state: tuple[Array, Array],
        node: tuple[Array, ...],
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        s, y = state
        killing, up, down, load = node
        s = s + (shift + killing)
        y = y + load
        inverse = 1 / (s + up)
        after = (down * s * inverse, up * y * inverse)
        return after, (inverse, y)

    def backward(after: Array, node: tuple[Array, ...]) -> tuple[Array, Array]:
        inverse, y, down = node
        x = (y + down * after) * inverse
        return x, x

    # The last entries are couplings of a ring, which a line does not have.
    up = up.at[-1].set(0)
    down = down.at[-1].set(0)
    zero = jnp.zeros_like(shift)
    nodes = (killing, up, down, load)
    _, (inverse, y) = jax.lax.scan(forward, (zero, zero), nodes)
    _, x = jax.lax.scan(backward, zero, (inverse, y, down), reverse=True)
    return x


def _loop_ring(
    shift: Array,
    killing: Array,
    up: Array,
    down: Array,
    load: Array,
) -> Array:
    def forward(
        state: _RingState,
        node: tuple[Array, ...],
    ) -> tuple[_RingState, tuple[Array, Array, Array]]:
        killing, up, down, load = node
        s = state.killing + (shift + killing)
        y = state.load + load
        inverse = 1 / (s + up + state.to_last)
        after = _RingState(
            killing=down * s * inverse,
            load=up * y * inverse,
            to_last=down * state.to_last * inverse,
            from_last=up * state.from_last * inverse,
            last_killing=state.last_killing + state.from_last * s * inverse,
            last_load=state.last_load + state.to_last * y * inverse,
        )
        return after, (inverse, y, state.from_last)

    def backward(
        after: tuple[Array, Array], node: tuple[Array, ...]
    ) -> tuple[tuple[Array, Array], Array]:
        next_x, last = after
        inverse, y, from_last, down = node
        x = (y + down * next_x + from_last * last) * inverse
        return (x, last), x

    zero = jnp.zeros_like(shift)
    start = _RingState(
        killing=zero,
        load=zero,
        to_last=zero + down[-1],
        from_last=zero + up[-1],
        last_killing=zero,
        last_load=zero,
    )
    nodes = (killing[:-1], up[:-1], down[:-1], load[:-1])
    end, (inverse, loads, from_last) = jax.lax.scan(forward, start, nodes)
    # The couplings to the last node have cancelled from its diagonal: what is left is
    # the rate at which mass leaves the chain.
    total_load = load[-1] + end.load + end.last_load
    total_killing = shift + killing[-1] + end.killing + end.last_killing
    last = total_load / total_killing
    eliminated = (inverse, loads, from_last, down[:-1])
    _, x = jax.lax.scan(backward, (last, last), eliminated, reverse=True)
    return jnp.concatenate([x, last[None]])


def _reduction_line(
    shift: Array,
    killing: Array,
    up: Array,
    down: Array,
    load: Array,
) -> Array:
    """A line is a ring whose last coupling is zero."""
    up = up.at[-1].set(0)
    down = down.at[-1].set(0)
    return _reduction_ring(shift, killing, up, down, load)


def _reduction_ring(
    shift: Array,
    killing: Array,
    up: Array,
    down: Array,
    load: Array,
) -> Array:
    for_each_shift = lambda u: jnp.zeros_like(shift) + u[:, None]
    return _reduce(
        shift + killing[:, None],
        for_each_shift(up),
        for_each_shift(jnp.roll(down, 1)),
        for_each_shift(load),
    )


def _reduce(s: Array, up: Array, down: Array, load: Array) -> Array:
    """Odd-even elimination on a ring: eliminate every second node, solve for the
    others, then fill in.

    `s` is the killing rate with the shift; here `down[j]` leads from node j to j - 1.
    """
    n = s.shape[0]
    if n == 1:
        return load / s
    s_odd, up_odd, down_odd, load_odd = (u[1::2] for u in (s, up, down, load))
    s, up, down, load = (u[0::2] for u in (s, up, down, load))
    inverse = 1 / (s_odd + up_odd + down_odd)

    # `above` and `below` give each even node the value of the odd node above and below
    # it, `next_even` each odd node that of the even node above it.
    if n % 2 == 0:
        above = lambda u: u
        below = lambda u: jnp.roll(u, 1, 0)
        next_even = lambda u: jnp.roll(u, -1, 0)
        direct_up = 0.0
        direct_down = 0.0
    else:
        # The last and the first node are both even: they are coupled directly, with no
        # odd node between them.
        zero = jnp.zeros_like(s_odd[:1])
        above = lambda u: jnp.concatenate([u, zero])
        below = lambda u: jnp.concatenate([zero, u])
        next_even = lambda u: u[1:]
        is_first = jnp.arange(s.shape[0])[:, None] == 0
        direct_up = jnp.where(is_first[::-1], up, 0)
        direct_down = jnp.where(is_first, down, 0)

    # Each eliminated node passes on its killing rate and its load.
    killed = s_odd * inverse
    passed = load_odd * inverse
    x = _reduce(
        s=s + up * above(killed) + down * below(killed),
        up=up * above(up_odd * inverse) + direct_up,
        down=down * below(down_odd * inverse) + direct_down,
        load=load + above(down_odd * passed) + below(up_odd * passed),
    )
    half = n // 2
    inflow = up[:half] * x[:half] + next_even(down) * next_even(x)
    x_odd = passed + inverse * inflow
    # Even and odd nodes alternate again; the last of an odd number stands alone.
    pairs = jnp.stack([x[:half], x_odd], axis=1)
    pairs = pairs.reshape(2 * half, *x.shape[1:])
    return pairs if n % 2 == 0 else jnp.concatenate([pairs, x[-1:]])


def lowest_decay(killing: Array, up: Array, down: Array, ring: bool) -> Array:
    """The lowest level of the chain's matrix M (shift 0) from below, by Noda's
    iteration; not differentiated.

        x' = (M - level)^-1 x,
        level' = level + min_j x_j / x'_j <= lowest level,     quadratically convergent

    **Reference**: Noda, Numer. Math. 17 (1971) 382.
    """
    killing, up, down = jax.lax.stop_gradient((killing, up, down))
    n = killing.shape[0]
    unit = jnp.mean(up + down) / n**2  # about the spacing of the lowest levels
    epsilon = jnp.finfo(killing.dtype).eps

    def improve(
        state: tuple[Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array]:
        level, x, _, count = state
        after = solve_shifted(-level[None], killing, up, down, x, ring)[:, 0]
        # Rounding may put the level a little above the lowest one. Then x' has no
        # definite sign, and it is not used.
        valid = jnp.all(after >= 0) & jnp.all(jnp.isfinite(after)) & jnp.any(after > 0)
        # Entries that have all but underflowed have too few digits for a ratio.
        tiny = jnp.finfo(x.dtype).tiny
        largest = jnp.max(after)
        accurate = after > tiny * CONSTANTS.noda_smallest_entry * largest
        ratios = x / jnp.where(accurate, after, 1)
        rise = jnp.min(jnp.where(accurate, ratios, jnp.inf))
        rise = jnp.where(valid, rise, 0)
        # Of largest entry one: the iterates would grow without bound.
        x = jnp.where(valid, after / largest, x)
        return level + rise, x, rise, count + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        level, _, rise, count = state
        enough = CONSTANTS.noda_roundings * epsilon * (jnp.abs(level) + unit)
        return (rise > enough) & (count < CONSTANTS.max_noda_iterations)

    # No level lies below the smallest killing rate; a little less keeps M - level
    # regular.
    below = jnp.min(killing) - unit
    start = (below, jnp.ones(n, killing.dtype), unit, jnp.asarray(0))
    level, *_ = jax.lax.while_loop(unfinished, improve, start)
    return jax.lax.stop_gradient(level)
