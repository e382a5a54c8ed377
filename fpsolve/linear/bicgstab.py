"""BiCGSTAB that is restarted on its true residual.

    x <- x + d,      M d = b - M x approximately, by preconditioned BiCGSTAB

The residual that BiCGSTAB updates by recurrence drifts away from b - M x in rounding.
Each restart computes b - M x anew, so the result has the residual that it reports.

Reference: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

Action: TypeAlias = Callable[[Array], Array]


class Restarts(NamedTuple):
    """When `restarted_bicgstab` goes on."""

    max_restarts: int
    max_iterations: int  # of BiCGSTAB, in each restart
    # the solve ends after a restart that leaves more than this part of the residual
    decrease: float


class _State(NamedTuple):
    """The loop over restarts."""

    x: Array
    residual: Array  # b - M x
    size: Array  # of the residual, relative to that of b
    count: Array
    stalled: Array


def restarted_bicgstab(
    matrix: Action,
    preconditioner: Action,
    load: Array,
    tol: Array,
    norm: Action,
    inner_tol: Callable[[Array], Array],
    restarts: Restarts,
) -> Array:
    """x with `norm(b - M x)` at most `tol` times `norm(b)`, or as close as rounding
    allows.

    A breakdown leaves the last good iterate, so no entry is ever infinite or NaN.

    **Arguments**: `matrix` is M and `preconditioner` is close to its inverse; `load` is
    b; `norm` may return one number for each leading axis of b, and the largest relative
    one counts; `inner_tol` maps the relative size of the residual to the relative
    tolerance of the next inner solve. **Returns** x, of the shape of b.
    """
    load_size = norm(load)

    def relative_size(residual: Array) -> Array:
        return jnp.max(norm(residual) / jnp.where(load_size == 0, 1, load_size))

    def unfinished(state: _State) -> Array:
        allowed = state.count < restarts.max_restarts
        return (state.size > tol) & allowed & ~state.stalled

    def restart(state: _State) -> _State:
        change = jax.scipy.sparse.linalg.bicgstab(
            matrix,
            state.residual,
            tol=inner_tol(state.size),  # pyright: ignore[reportArgumentType]
            M=preconditioner,
            maxiter=restarts.max_iterations,
        )[0]
        residual = load - matrix(state.x + change)
        size = relative_size(residual)
        better = size < state.size  # false for NaN, which a breakdown of BiCGSTAB gives
        choose = lambda new, old: jnp.where(better, new, old)
        return _State(
            x=choose(state.x + change, state.x),
            residual=choose(residual, state.residual),
            size=choose(size, state.size),
            count=state.count + 1,
            stalled=~(size < restarts.decrease * state.size),
        )

    x = preconditioner(load)
    residual = load - matrix(x)
    zero = jnp.zeros((), int)
    start = _State(x, residual, relative_size(residual), zero, zero > 0)
    return jax.lax.while_loop(unfinished, restart, start).x
