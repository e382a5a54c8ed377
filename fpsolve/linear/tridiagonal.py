"""Tridiagonal and cyclic systems of a chain of nodes that exchange mass, solved without a subtraction.

    (shift + excess_j + up_j + down_{j-1}) x_j - up_{j-1} x_{j-1} - down_j x_{j+1} = load_j

Column j sums to shift + excess_j: what leaves the chain there. Node after node is eliminated as a state of a Markov
chain is censored. The node's excess and its load pass to its neighbours,

    pivot = s_j + up_j,  s_{j+1} = shift + excess_{j+1} + down_j s_j / pivot,  y_{j+1} = load_{j+1} + up_j y_j / pivot,

so the diagonal, which would lose the slow modes in rounding, is never formed: every term is a sum of numbers within the
sector between the positive axis and the shift. A chain that leaves a node at the rate 1e6 and a shift of 1e-12 keep
all their digits. On a ring the last node stays linked to the one in hand and is eliminated last.

References: Grassmann, Taksar and Heyman, Oper. Res. 33 (1985) 1107; O'Cinneide, Numer. Math. 65 (1993) 109.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

MOST_STEPS = 60


def solve_chain(shift: Array, excess: Array, up: Array, down: Array, load: Array, ring: bool) -> Array:
    """x `(n, K)` for each shift.

    **Arguments**: `shift` `(K,)`, real or complex; `excess` and `load` `(n,)`; `up[j]` `(n,)` the rate from node j to
    j + 1, `down[j]` that from j + 1 back; their last entries link the last node to the first on a `ring` and are
    not read otherwise. **Keeps**: each solution to a relative accuracy of a few roundings where shift + excess has a
    positive real part, whatever the ratio of the rates. **Cost**: O(n K); on a CPU two sweeps along the chain, on an
    accelerator log2 n levels of odd-even elimination, which costs a few times more work.
    """
    sweep, fold = (_sweep_ring, _fold_ring) if ring else (_sweep_line, _fold_line)
    return jax.lax.platform_dependent(shift, excess, up, down, load, cpu=sweep, default=fold)


def _sweep_line(shift: Array, excess: Array, up: Array, down: Array, load: Array) -> Array:
    def forth(carry: Any, node: Any) -> Any:
        (s, y), (excess, up, down, load) = carry, node
        s, y = s + (shift + excess), y + load
        inverse = 1 / (s + up)
        return (down * s * inverse, up * y * inverse), (inverse, y)

    def back(after: Array, node: Any) -> Any:
        inverse, y, down = node
        x = (y + down * after) * inverse
        return x, x

    up, down = up.at[-1].set(0), down.at[-1].set(0)
    none = jnp.zeros_like(shift)
    _, (inverse, y) = jax.lax.scan(forth, (none, none), (excess, up, down, load))
    return jax.lax.scan(back, none, (inverse, y, down), reverse=True)[1]


def _sweep_ring(shift: Array, excess: Array, up: Array, down: Array, load: Array) -> Array:
    def forth(carry: Any, node: Any) -> Any:
        (s, y, to, back, s_last, y_last), (excess, up, down, load) = carry, node
        s, y = s + (shift + excess), y + load
        inverse = 1 / (s + up + to)
        onward = (down * s * inverse, up * y * inverse, down * to * inverse, up * back * inverse)
        return (*onward, s_last + back * s * inverse, y_last + to * y * inverse), (inverse, y, back)

    def back(carry: Any, node: Any) -> Any:
        (after, last), (inverse, y, link, down) = carry, node
        x = (y + down * after + link * last) * inverse
        return (x, last), x

    none = jnp.zeros_like(shift)
    nodes = (excess[:-1], up[:-1], down[:-1], load[:-1])
    start = (none, none, none + down[-1], none + up[-1], none, none)
    (s, y, _, _, s_last, y_last), (inverse, loads, links) = jax.lax.scan(forth, start, nodes)
    last = (load[-1] + y + y_last) / (shift + excess[-1] + s + s_last)
    x = jax.lax.scan(back, (last, last), (inverse, loads, links, down[:-1]), reverse=True)[1]
    return jnp.concatenate([x, last[None]])


def _fold_line(shift: Array, excess: Array, up: Array, down: Array, load: Array) -> Array:
    return _fold_ring(shift, excess, up.at[-1].set(0), down.at[-1].set(0), load)


def _fold_ring(shift: Array, excess: Array, up: Array, down: Array, load: Array) -> Array:
    wide = lambda u: jnp.zeros_like(shift) + u[:, None]
    return _fold(shift + excess[:, None], wide(up), wide(jnp.roll(down, 1)), wide(load))


def _fold(s: Array, up: Array, down: Array, load: Array) -> Array:
    """Eliminate every second node of a ring, solve for the others, fill in; `down[j]` leads from node j to j - 1."""
    n = s.shape[0]
    if n == 1:
        return load / s
    (s_odd, up_odd, down_odd, y), (s, up, down, load) = zip(
        *((u[1::2], u[0::2]) for u in (s, up, down, load)), strict=True
    )
    inverse = 1 / (s_odd + up_odd + down_odd)
    if n % 2 == 0:
        above, below, drop = (lambda u: u), (lambda u: jnp.roll(u, 1, 0)), (lambda u: jnp.roll(u, -1, 0))
        direct = (0.0, 0.0)
    else:
        none = jnp.zeros_like(s_odd[:1])
        above, below = (lambda u: jnp.concatenate([u, none])), (lambda u: jnp.concatenate([none, u]))
        drop = lambda u: u[1:]
        first = jnp.arange(s.shape[0])[:, None] == 0
        direct = (jnp.where(first[::-1], up, 0), jnp.where(first, down, 0))
    share, flow = s_odd * inverse, y * inverse
    x = _fold(
        s + up * above(share) + down * below(share),
        up * above(up_odd * inverse) + direct[0],
        down * below(down_odd * inverse) + direct[1],
        load + above(down_odd * flow) + below(up_odd * flow),
    )
    k = n // 2
    odd = flow + inverse * (up[:k] * x[:k] + drop(down) * drop(x))
    paired = jnp.stack([x[:k], odd], axis=1).reshape(2 * k, *x.shape[1:])
    return paired if n % 2 == 0 else jnp.concatenate([paired, x[-1:]])


def lowest_decay(excess: Array, up: Array, down: Array, ring: bool) -> Array:
    """The lowest level of the chain's matrix (shift 0) from below, by Noda's iteration; not differentiated.

        x' = (M - level)^-1 x,      level' = level + min_j x_j / x'_j <= lowest level,      quadratically convergent

    **Reference**: Noda, Numer. Math. 17 (1971) 382.
    """
    excess, up, down = jax.lax.stop_gradient((excess, up, down))
    n = excess.shape[0]
    unit = jnp.mean(up + down) / n**2  # about the spacing of the lowest levels
    epsilon = jnp.finfo(excess.dtype).eps

    def improve(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        level, x, _, k = state
        after = solve_chain(-level[None], excess, up, down, x, ring)[:, 0]
        sound = jnp.all(after >= 0) & jnp.all(jnp.isfinite(after)) & jnp.any(after > 0)
        held = after > jnp.finfo(x.dtype).tiny * 1e3 * jnp.max(after)
        rise = jnp.min(jnp.where(held, x / jnp.where(held, after, 1), jnp.inf))
        rise = jnp.where(sound, rise, 0)
        return level + rise, jnp.where(sound, after / jnp.max(after), x), rise, k + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        level, _, rise, k = state
        return (rise > 8 * epsilon * (jnp.abs(level) + unit)) & (k < MOST_STEPS)

    start = (jnp.min(excess) - unit, jnp.ones(n, excess.dtype), unit, jnp.asarray(0))
    return jax.lax.stop_gradient(jax.lax.while_loop(unfinished, improve, start)[0])
