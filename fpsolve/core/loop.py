"""A loop whose length is known only at run time, differentiable in both modes.

    u <- body(k, parameters, u),  k = 0 .. count - 1

`jax.lax.fori_loop` with a traced `count` has no reverse mode, and Equinox's checkpointed loop has no forward mode. A
tangent is a linear map of the tangents that enter, so we give JAX that map once with both directions: forwards it is
the derivative of the plain loop, backwards that of the checkpointed one (binomial checkpointing: memory for
`CHECKPOINTS` states, whatever the count). `jit`, `vmap`, `jvp`, `grad` and their compositions all work.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp

CHECKPOINTS = 64

Tree = TypeVar("Tree")


def run_loop(count: Any, body: Callable[[Any, Any, Tree], Tree], parameters: Any, start: Tree) -> Tree:
    """Run `body(k, parameters, u)` for k below `count`, starting from `start`.

    **Arguments**: `count` an integer, traced or not; `parameters` any pytree, differentiated in its inexact arrays;
    `start` a pytree of inexact arrays; `body` closes over nothing that is differentiated. **Returns** the last `u`.
    **Cost**: `count` calls; a derivative two to four times that.
    """
    smooth, rest = eqx.partition(parameters, eqx.is_inexact_array)
    whole, static = eqx.partition(rest, eqx.is_array)

    def plain(whole: Any, smooth: Any, start: Tree) -> Tree:
        count, parameters = whole[0], eqx.combine(smooth, whole[1], static)
        return jax.lax.fori_loop(0, count, lambda k, u: body(k, parameters, u), start)

    def checkpointed(whole: Any, smooth: Any, start: Tree) -> Tree:
        count, parameters = whole[0], eqx.combine(smooth, whole[1], static)

        def step(state: tuple[Any, Tree]) -> tuple[Any, Tree]:
            k, u = state
            return k + 1, body(k, parameters, u)

        first = jnp.zeros((), count.dtype)
        return eqxi.while_loop(
            lambda state: state[0] < count, step, (first, start), kind="checkpointed", checkpoints=CHECKPOINTS
        )[1]

    @jax.custom_jvp
    def loop(whole: Any, smooth: Any, start: Tree) -> Tree:
        return plain(whole, smooth, start)

    @loop.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        # The map below is linear in the tangents; JAX must not take it for constant in the point it is taken at.
        whole, *fields = eqxi.nondifferentiable(primals, name="the second derivative of a run")
        fields = tuple(fields)
        return plain(*primals), linear_map(
            lambda tangents: jax.jvp(lambda *fields: plain(whole, *fields), fields, tangents)[1],
            lambda cotangent: jax.vjp(lambda *fields: checkpointed(whole, *fields), *fields)[1](cotangent),
            tuple(tangents[1:]),
        )

    return loop((jnp.asarray(count), whole), smooth, start)


def linear_map(forward: Callable[[Any], Any], transpose: Callable[[Any], Any], argument: Any) -> Any:
    """`forward(argument)`, a linear map whose transpose JAX takes from `transpose` rather than from the code.

    Written as the linear system [[1, 0], [-F, 1]] (x, y) = (argument, 0), since `jax.lax.custom_linear_solve` is the
    primitive that carries a hand-given transpose through `jit`, `vmap`, `jvp` and `vjp` alike. It never applies the
    matrix that it is told (the identity here), only the two solves.
    """
    shape = jax.eval_shape(forward, argument)
    # JAX transposes a solve only if every entry of its right-hand side is unknown: tie the zeros to the argument.
    tie = sum((0 * jnp.real(leaf).sum() for leaf in jax.tree.leaves(argument)), start=jnp.zeros(()))
    tied = jax.tree.map(lambda leaf: leaf + tie.astype(leaf.dtype), argument)
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) + tie.astype(leaf.dtype), shape)
    add = lambda a, b: jax.tree.map(jnp.add, a, b)
    return jax.lax.custom_linear_solve(
        lambda x: x,
        (tied, zero),
        lambda _, b: (b[0], add(b[1], forward(b[0]))),
        lambda _, b: (add(b[0], transpose(b[1])), b[1]),
    )[1]
