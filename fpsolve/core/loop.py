"""A loop of a length known only at run time, differentiable in both modes.

    u <- body(k, parameters, u),  k = 0 .. count - 1

`jax.lax.fori_loop` with a traced `count` has no reverse mode, and the checkpointed loop
of Equinox has no forward mode. The tangent of the result is a linear map of the
tangents of the inputs, so JAX is given this map once, with both directions: forward it
is the derivative of the plain loop, backward that of the checkpointed loop. Binomial
checkpointing stores `CONSTANTS.loop_checkpoints` states, whatever the count is. `jit`,
`vmap`, `jvp`, `grad` and their compositions all work.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .constants import CONSTANTS

Tree = TypeVar("Tree")


def run_loop(
    count: Array | int,
    body: Callable[[Array, Any, Tree], Tree],
    parameters: PyTree,
    start: Tree,
) -> Tree:
    """Run `body(k, parameters, u)` for k below `count`, starting from `start`.

    **Arguments**: `count` an integer, traced or not; `parameters` any pytree,
    differentiated in its inexact arrays; `start` a pytree of inexact arrays; `body`
    closes over nothing that is differentiated. **Returns** the last `u`. **Cost**:
    `count` calls; a derivative costs two to four times that.
    """
    # Only the inexact arrays are differentiated. The other arrays travel with the
    # count; the rest is static.
    smooth, rest = eqx.partition(parameters, eqx.is_inexact_array)
    other, static = eqx.partition(rest, eqx.is_array)

    def plain(whole: tuple[Array, PyTree], smooth: PyTree, start: Tree) -> Tree:
        count, other = whole
        parameters = eqx.combine(smooth, other, static)
        return jax.lax.fori_loop(0, count, lambda k, u: body(k, parameters, u), start)

    def checkpointed(whole: tuple[Array, PyTree], smooth: PyTree, start: Tree) -> Tree:
        count, other = whole
        parameters = eqx.combine(smooth, other, static)

        def step(state: tuple[Array, Tree]) -> tuple[Array, Tree]:
            k, u = state
            return k + 1, body(k, parameters, u)

        def unfinished(state: tuple[Array, Tree]) -> Array:
            return state[0] < count

        first = jnp.zeros((), count.dtype)
        _, last = eqxi.while_loop(
            unfinished,
            step,
            (first, start),
            kind="checkpointed",
            checkpoints=CONSTANTS.loop_checkpoints,
        )
        return last

    @jax.custom_jvp
    def loop(whole: tuple[Array, PyTree], smooth: PyTree, start: Tree) -> Tree:
        return plain(whole, smooth, start)

    @loop.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        # The map below is linear in the tangents but not in the primals. A second
        # derivative would take it for constant in the primals and be wrong, so it
        # raises an error.
        whole, *fields = eqxi.nondifferentiable(
            primals, name="the second derivative of a run"
        )
        fields = tuple(fields)

        def plain_fields(*fields: PyTree) -> PyTree:
            return plain(whole, *fields)

        def checkpointed_fields(*fields: PyTree) -> PyTree:
            return checkpointed(whole, *fields)

        def forward(tangents: PyTree) -> PyTree:
            _, change = jax.jvp(plain_fields, fields, tangents)
            return change

        def transpose(cotangent: PyTree) -> PyTree:
            _, pull_back = jax.vjp(checkpointed_fields, *fields)
            return pull_back(cotangent)

        last = plain(*primals)
        # The count and the other arrays have no tangents.
        change = linear_map(forward, transpose, tuple(tangents[1:]))
        return last, change

    return loop((jnp.asarray(count), other), smooth, start)


def linear_map(
    forward: Callable[[Any], Any], transpose: Callable[[Any], Any], argument: PyTree
) -> PyTree:
    """`forward(argument)`, a linear map whose transpose JAX takes from `transpose`
    instead of deriving it.

    It is written as the linear system [[1, 0], [-F, 1]] (x, y) = (argument, 0), since
    `jax.lax.custom_linear_solve` is the primitive that keeps a given transpose under
    `jit`, `vmap`, `jvp` and `vjp` alike. The primitive never applies the matrix that it
    receives (here the identity), only the two solves.
    """
    shape = jax.eval_shape(forward, argument)
    # JAX transposes a solve only if every entry of its right-hand side is unknown. The
    # zeros of the second block are therefore made to depend on the argument by adding 0
    # times its sum.
    zero_sums = (0 * jnp.real(leaf).sum() for leaf in jax.tree.leaves(argument))
    tie = sum(zero_sums, start=jnp.zeros(()))

    def tied(leaf: Array) -> Array:
        return leaf + tie.astype(leaf.dtype)

    def tied_zero(leaf: jax.ShapeDtypeStruct) -> Array:
        return tied(jnp.zeros(leaf.shape, leaf.dtype))

    right_side = (jax.tree.map(tied, argument), jax.tree.map(tied_zero, shape))

    def add(a: PyTree, b: PyTree) -> PyTree:
        return jax.tree.map(jnp.add, a, b)

    def identity(x: PyTree) -> PyTree:
        return x

    def solve(
        _: Callable[..., PyTree], b: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, PyTree]:
        return b[0], add(b[1], forward(b[0]))

    def transpose_solve(
        _: Callable[..., PyTree], b: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, PyTree]:
        return add(b[0], transpose(b[1])), b[1]

    _, image = jax.lax.custom_linear_solve(identity, right_side, solve, transpose_solve)
    return image
