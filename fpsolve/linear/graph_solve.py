"""The backward equation on the graph of a reversible finite-volume operator, by
multigrid.

    -L* f = load,      (-L* f)_j = sum_k r_jk (f_j - f_k),
    f = values on the clamped nodes,      f = 0 on open walls

Conjugate gradients in the masses, with a V-cycle as preconditioner, find f where mass
is. Their norm does not see nodes that have next to no mass, so cycles alone follow,
which correct the error in the largest norm.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator
from .constants import CONSTANTS
from .graph import graph_of, next_value, previous_value
from .multigrid import Multigrid, value_multigrid


class GraphSolution(NamedTuple):
    """`values` `(*shape)`; `error`, the change that one more cycle would make, largest
    over the nodes and relative to the largest value; `iterations`.
    """

    values: Array
    error: Array
    iterations: Array


class _ConjugateGradients(NamedTuple):
    """The state of preconditioned conjugate gradients."""

    x: Array
    residual: Array
    correction: Array  # the preconditioner times the residual
    direction: Array
    energy: Array  # <residual, correction>: about the squared energy norm of the error
    count: Array


def solve_graph(
    operator: EdgeOperator,
    load: Array,
    clamped: Array,
    values: Array,
    tol: Array,
) -> GraphSolution:
    """f with -L* f = load on the nodes that are not clamped and f = values on those
    that are.

    (-L* f)_j = sum_k r_jk (f_j - f_k) is the backward generator; at an open end f = 0
    on the wall.

    **Arguments**: `operator`, one that balances in detail, without a potential term;
    `load` and `values` `(*shape)`; `clamped` `(*shape)` of booleans, at least one of
    them true unless an axis is absorbing; `tol`, the relative error that is requested.
    **Returns** a `GraphSolution`. **Keeps**: jit and vmap; not differentiated.
    **Cost**: some ten to twenty cycles whatever the size of the grid and the height of
    the barriers.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp
    from fpsolve.linear.graph_solve import solve_graph

    axis = fp.Absorbing(-1.0, 1.0, 64)
    operator = fp.ScharfetterGummel().build(
        fp.FokkerPlanck(fp.Harmonic()), fp.Grid(axis), 0.0, float, True
    )
    times = solve_graph(
        operator, jnp.ones(64), jnp.zeros(64, bool), jnp.zeros(64), jnp.asarray(1e-5)
    ).values
    ```
    """
    # The clamped values move to the load, so that the unknown part is zero on the
    # clamped nodes.
    graph = graph_of(operator, clamped)
    fixed = jnp.where(clamped, values, 0)
    load = jnp.where(clamped, 0, _with_inflow(operator, load, fixed))
    multigrid = value_multigrid(graph)
    tol = jnp.maximum(tol, CONSTANTS.solve_roundings * jnp.finfo(load.dtype).eps)
    masses = graph.sqrt_mass**2
    x, gradient_steps = _by_conjugate_gradients(multigrid, masses, load, tol)
    # x is zero on the clamped nodes, which may hold the largest values.
    x, correction, iterations = _by_cycles(multigrid, load, x, gradient_steps, tol)
    size = jnp.maximum(_largest(x), _largest(fixed))
    return GraphSolution(x + fixed, _quotient(_largest(correction), size), iterations)


def _with_inflow(operator: EdgeOperator, load: Array, fixed: Array) -> Array:
    """The load with what the clamped values contribute to their neighbours."""
    graph = graph_of(operator)  # with the rates to and from the clamped nodes
    for axis in graph.axes:
        periodic = graph.periodic[axis]
        from_above = graph.up[axis] * next_value(fixed, axis, periodic)
        from_below = graph.down[axis] * previous_value(fixed, axis, periodic)
        load = load + (from_above + from_below)
    return load


def _by_conjugate_gradients(
    multigrid: Multigrid,
    masses: Array,
    load: Array,
    tol: Array,
) -> tuple[Array, Array]:
    """x in the norm of the masses, from zero, and the number of steps."""
    apply = multigrid.levels[0].apply
    product = lambda u, v: jnp.sum(masses * u * v)
    correction = multigrid.cycle(load)
    first_energy = product(load, correction)

    def unfinished(state: _ConjugateGradients) -> Array:
        too_far = _is_far(state.x, state.correction, tol)
        # The correction alone may look large on nodes without mass, which this norm
        # cannot improve.
        improvable = state.energy > (tol / CONSTANTS.energy_safety) ** 2 * first_energy
        return too_far & improvable & (state.count < CONSTANTS.max_multigrid_iterations)

    def step(state: _ConjugateGradients) -> _ConjugateGradients:
        image = apply(state.direction)
        length = _quotient(state.energy, product(state.direction, image))
        residual = state.residual - length * image
        correction = multigrid.cycle(residual)
        energy = product(residual, correction)
        ratio = _quotient(energy, state.energy)
        return _ConjugateGradients(
            x=state.x + length * state.direction,
            residual=residual,
            correction=correction,
            direction=correction + ratio * state.direction,
            energy=energy,
            count=state.count + 1,
        )

    start = _ConjugateGradients(
        x=jnp.zeros_like(load),
        residual=load,
        correction=correction,
        direction=correction,
        energy=first_energy,
        count=jnp.zeros((), int),
    )
    end = jax.lax.while_loop(unfinished, step, start)
    return end.x, end.count


def _by_cycles(
    multigrid: Multigrid,
    load: Array,
    x: Array,
    count: Array,
    tol: Array,
) -> tuple[Array, Array, Array]:
    """x after further cycles, the correction of one more, and the number of iterations,
    which goes on from `count`.
    """
    apply = multigrid.levels[0].apply

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        x, correction, count = state
        allowed = count < CONSTANTS.max_multigrid_iterations
        return _is_far(x, correction, tol) & allowed

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, correction, count = state
        x = x + correction
        return x, multigrid.cycle(load - apply(x)), count + 1

    start = (x, multigrid.cycle(load - apply(x)), count)
    return jax.lax.while_loop(unfinished, step, start)


def _is_far(x: Array, correction: Array, tol: Array) -> Array:
    """Whether a correction is more than `tol` of the solution."""
    return _largest(correction) > tol * _largest(x + correction)


def _largest(u: Array) -> Array:
    return jnp.max(jnp.abs(u))


def _quotient(a: Array, b: Array) -> Array:
    """a / b, or zero where b is not positive: at the exact solution both are zero."""
    positive = b > 0
    return jnp.where(positive, a / jnp.where(positive, b, 1), 0)
