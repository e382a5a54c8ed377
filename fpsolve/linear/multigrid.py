"""Multigrid on the graph of a reversible chain: every level is a chain of the same kind, with fewer nodes.

A finite-volume operator that balances in detail is a chain of masses m = w pi and rates r from node to node. It acts on
values f (observables) or, symmetrically, on waves psi = sqrt(m) f,

    F f = leaving f - sum_k r_jk f_k,      A psi = leaving psi - sum_k sqrt(r_jk r_kj) psi_k,      F 1 = A sqrt(m) = 0.

A coarse level merges pairs of nodes, one axis after the other. Where a pair (a, b) becomes J beside (a', b'), now K,

    m_J = m_a + m_b,       s = m_a / m_J, m_b / m_J                       shares
    across the axis        r_J = s_a r_a + s_b r_b                        conductances k = m r in parallel
    along the axis         1 / k_JK = s_a / k_ab + 1 / k_ba' + s_b' / k_a'b'       resistances in series, from
                                                                                   the centre of J's mass to K's
    corrections            f_a = f_b = f_J;   a residual of J is the mean, by shares, of those of a and b

which where pi is constant is half the sum of the edges. With sums alone a barrier that the coarse level does not
resolve is off by orders of magnitude, and the cycle with it. Only ratios of masses occur, from the logarithm of pi, so
that nothing overflows or is lost whatever pi spans. Walls and a well are terms of the diagonal; masses of a Schrödinger
operator are w. The smoother is Chebyshev's polynomial of the fourth kind in the operator over its diagonal, whose
spectrum lies in [0, 2].

References: Trottenberg, Oosterlee and Schüller, Multigrid (2001); Braess, Computing 55 (1995) 379 (aggregation, and why
half the edges); Lottes, Numer. Linear Algebra Appl. 30 (2023) e2518 (the smoother).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.machine import EXACTLY
from ..operator import EdgeOperator

BOTTOM = 100  # points that are solved directly
SHORTEST = 4  # nodes of an axis that is still merged
ISOTROPIC = 1.5  # axes are merged while their cells are at most so much wider than the narrowest
SMOOTHER = ((1 / 5, 6 / 5), (0.0, 0.0))  # z <- a z + b r / leaving, after z = 2 r / (3 leaving); zero: residual only
ITERATIONS = 200


class Chain(eqx.Module):
    """Rates up and down from each node along each axis, what leaves besides (`well`), and the logarithm of the masses,
    -inf where a node takes no part; each array `(*shape)`."""

    up: tuple[Array, ...]
    down: tuple[Array, ...]
    well: Array
    log_mass: Array
    rings: tuple[bool, ...] = eqx.field(static=True)
    widths: tuple[float, ...] = eqx.field(static=True)

    @property
    def root(self) -> Array:
        """sqrt(m), of unit norm: the ground state of A."""
        root = jnp.exp((self.log_mass - jnp.max(self.log_mass)) / 2)
        return root / jnp.linalg.norm(root)


class Level(eqx.Module):
    """F or A on one level: its diagonal `out_rates`, one over it, and the couplings along each axis."""

    out_rates: Array
    inverse: Array
    above: tuple[Array, ...]
    below: tuple[Array, ...]
    rings: tuple[bool, ...] = eqx.field(static=True)

    def apply(self, field: Array) -> Array:
        """F f or A psi, `(..., *shape)`."""
        answer = self.out_rates * field
        for k, ring in enumerate(self.rings):
            i = k - len(self.rings)
            answer = answer - self.above[k] * _above(field, i, ring) - self.below[k] * _below(field, i, ring)
        return answer

    @property
    def matrix(self) -> Array:
        """The whole of it, `(size, size)`."""
        shape, size = self.out_rates.shape, self.out_rates.size
        identity = jnp.eye(size, dtype=self.out_rates.dtype)
        return self.apply(identity.reshape(size, *shape)).reshape(size, size).T

    def smooth(self, load: Array) -> tuple[Array, Array]:
        """From zero towards the solution, and the residual left."""

        def step(state: tuple[Array, Array, Array], numbers: Array) -> tuple[tuple[Array, Array, Array], None]:
            x, residual, z = state  # a loop, since XLA would else compute earlier steps anew for each neighbour
            residual = residual - self.apply(z)
            z = numbers[0] * z + numbers[1] * (self.inverse * residual)
            return (x + z, residual, z), None

        first = 2 / 3 * (self.inverse * load)
        numbers = jnp.asarray(SMOOTHER, load.dtype)
        return jax.lax.scan(step, (first, load, first), numbers)[0][:2]


class Multigrid(eqx.Module):
    """Levels from fine to coarse; between them, weights that corrections are spread with and residuals gathered."""

    chains: tuple[Chain, ...]
    levels: tuple[Level, ...]
    spreads: tuple[Array, ...]
    gathers: tuple[Array, ...]
    bottom: Array

    def cycle(self, load: Array, level: int = 0) -> Array:
        """Close to the inverse of `levels[level]` times `load` `(..., *shape)`: one V-cycle.

        **Keeps**: in the wave picture, symmetric and positive (on the complement of sqrt(m) where nothing leaves).
        **Cost**: about eight applications of the operator.
        """
        now = self.levels[level]
        if level == len(self.levels) - 1:
            flat = load.reshape(*load.shape[: load.ndim - len(now.rings)], -1)
            return jnp.matmul(flat, self.bottom.T, precision=EXACTLY).reshape(load.shape)
        x, residual = now.smooth(load)
        x = x + self.prolong(self.cycle(self.restrict(residual, level), level + 1), level)
        return x + now.smooth(load - now.apply(x))[0]

    def prolong(self, coarse: Array, level: int) -> Array:
        """From the level below `level` to it."""
        spread = self.spreads[level]
        for i, (n, few) in enumerate(zip(spread.shape, coarse.shape[coarse.ndim - spread.ndim :], strict=True)):
            if few < n:
                axis = coarse.ndim - spread.ndim + i
                coarse = jax.lax.slice_in_dim(jnp.repeat(coarse, 2, axis), 0, n, axis=axis)
        return spread * coarse

    def restrict(self, fine: Array, level: int) -> Array:
        """From `level` to the one below it."""
        fine = self.gathers[level] * fine
        d = len(self.levels[level].rings)
        for i, few in enumerate(self.levels[level + 1].out_rates.shape):
            if few < fine.shape[fine.ndim - d + i]:
                fine = sum(_halves(fine, i - d), start=jnp.zeros((), fine.dtype))
        return fine


def wave_multigrid(operator: EdgeOperator) -> Multigrid:
    """Multigrid for H between the roots of the weights, w^(1/2) H w^(-1/2), a well less its lowest value.

    **Arguments**: `operator`, a process that balances in detail or a Schrödinger operator. **Cost**: 2 d + 6 fields.
    """
    chain = chain_of(operator)
    alone = operator.well is None and all(axis.boundary != "absorbing" for axis in operator.grid.axes)
    chains, shares = _coarsened(chain)
    roots = tuple(jnp.sqrt(share) for share in shares)

    def level(chain: Chain) -> Level:
        d, above = len(chain.rings), []
        for k, ring in enumerate(chain.rings):
            above.append(jnp.sqrt(chain.up[k]) * jnp.sqrt(_above(chain.down[k], k - d, ring)))
        below = [
            _below(coupling, k - d, ring) for k, (coupling, ring) in enumerate(zip(above, chain.rings, strict=True))
        ]
        return _level(chain, tuple(above), tuple(below))

    levels = tuple(level(chain) for chain in chains)
    matrix, ground = levels[-1].matrix, chains[-1].root.ravel()
    null = jnp.outer(ground, ground) if alone else jnp.zeros_like(matrix)
    sizes, turn = jnp.linalg.eigh(matrix + jnp.max(levels[-1].out_rates) * null, symmetrize_input=True)
    floor = 8 * len(sizes) * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
    rest = turn - jnp.matmul(null, turn, precision=EXACTLY)
    bottom = jnp.matmul(rest / jnp.maximum(sizes, floor), rest.T, precision=EXACTLY)
    return Multigrid(chains, levels, roots, roots, bottom)


def chain_of(operator: EdgeOperator, clamped: Array | None = None) -> Chain:
    """The chain of an operator; nodes where `clamped` is true are taken out, and what reaches them leaves."""
    grid, d, dtype = operator.grid, operator.grid.ndim, operator.up[0].dtype
    well = jnp.zeros(grid.shape, dtype) if operator.well is None else operator.well - jnp.min(operator.well)
    log_mass = jnp.log(grid.weights.astype(dtype))
    log_mass = log_mass if operator.log_sqrt_pi is None else log_mass + 2 * operator.log_sqrt_pi
    up, down, rings = [], [], tuple(axis.boundary == "periodic" for axis in grid.axes)
    for i, axis in enumerate(grid.axes):
        weights = jnp.asarray(axis.weights, dtype).reshape(-1, *[1] * (d - 1 - i))
        upper, lower = operator.up[i], operator.down[i]
        if axis.boundary == "no_flux":
            upper, lower = _padded(upper, i - d, (0, 1)), _padded(lower, i - d, (1, 0))
        elif axis.boundary == "absorbing":
            upper, lower = (jax.lax.slice_in_dim(u, a, a + axis.n, axis=i) for u, a in ((upper, 1), (lower, 0)))
        else:
            lower = _below(lower, i - d, True)
        upper, lower = upper / weights, lower / weights
        if clamped is not None:
            taken = _above(clamped, i - d, rings[i]), _below(clamped, i - d, rings[i])
            well = well + jnp.where(taken[0], upper, 0) + jnp.where(taken[1], lower, 0)
            upper, lower = jnp.where(clamped | taken[0], 0, upper), jnp.where(clamped | taken[1], 0, lower)
        up.append(upper)
        down.append(lower)
    if clamped is not None:
        well, log_mass = jnp.where(clamped, 0, well), jnp.where(clamped, -jnp.inf, log_mass)
    return Chain(tuple(up), tuple(down), well, log_mass, rings, tuple(axis.length / axis.n for axis in grid.axes))


def _coarsened(chain: Chain) -> tuple[tuple[Chain, ...], tuple[Array, ...]]:
    """All chains from fine to coarse, and the share of each node in the node that it becomes a part of."""
    chains, shares = [chain], []
    while chain.well.size > BOTTOM and (axes := _axes_to_merge(chain)):
        for k in axes:
            chain = _merge(chain, k)
        fine = chains[-1].log_mass
        parents = chain.log_mass
        for k in axes:
            parents = jax.lax.slice_in_dim(jnp.repeat(parents, 2, k), 0, fine.shape[k], axis=k)
        shares.append(jnp.where(fine > -jnp.inf, jnp.exp(fine - parents), 0))
        chains.append(chain)
    return tuple(chains), tuple(shares)


def _axes_to_merge(chain: Chain) -> list[int]:
    long = [k for k, n in enumerate(chain.well.shape) if n >= SHORTEST]
    narrowest = min((chain.widths[k] for k in long), default=0.0)
    return [k for k in long if chain.widths[k] <= ISOTROPIC * narrowest]


def _merge(chain: Chain, k: int) -> Chain:
    """Pairs along axis k; the last node of an odd number stays alone."""
    d, ring, n = len(chain.rings), chain.rings[k], chain.well.shape[k]
    masses = _halves(chain.log_mass, k - d, -jnp.inf)
    apart = jnp.where(masses[0] == masses[1], 0, masses[0] - masses[1])
    shares = jax.nn.sigmoid(apart), jax.nn.sigmoid(-apart)

    def mean(u: Array) -> Array:
        a, b = _halves(u, k - d)
        return shares[0] * a + shares[1] * b

    (up_a, up_b), (down_a, down_b) = _halves(chain.up[k], k - d), _halves(chain.down[k], k - d)
    alone = np.arange(len(range(0, n, 2))).reshape(-1, *[1] * (d - 1 - k)) == n // 2  # the last of an odd number
    upwards, downwards = jnp.where(alone, up_a, shares[1] * up_b), shares[0] * down_a
    # Resistances s_a / k_ab and s_b' / k_a'b' over that of the link between a pair and the next.
    inside_below = jnp.where(alone | (shares[0] == 0), 0, _ratio(upwards, up_a))
    inside_above = jnp.where(shares[1] == 0, 0, _ratio(downwards, down_b))
    up, down = [mean(u) for u in chain.up], [mean(u) for u in chain.down]
    up[k] = upwards / (1 + inside_below + _above(inside_above, k - d, ring))
    down[k] = downwards / (1 + inside_above + _below(inside_below, k - d, ring))
    widths = tuple(2 * width if i == k else width for i, width in enumerate(chain.widths))
    return Chain(tuple(up), tuple(down), mean(chain.well), jnp.logaddexp(*masses), chain.rings, widths)


def _ratio(a: Array, b: Array) -> Array:
    """a / b for numbers >= 0; large where b alone is zero."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.where(a > 0, jnp.finfo(a.dtype).max / 4, 0))


def _level(chain: Chain, above: tuple[Array, ...], below: tuple[Array, ...]) -> Level:
    out_rates = sum((*chain.up, *chain.down), start=chain.well)
    return Level(out_rates, 1 / jnp.where(out_rates > 0, out_rates, 1), above, below, chain.rings)


class GraphSolution(NamedTuple):
    """`values` `(*shape)`; `error`, the change that one more cycle would make, largest over the nodes and relative to
    the largest value; `iterations`."""

    values: Array
    error: Array
    iterations: Array


def solve_graph(operator: EdgeOperator, load: Array, clamped: Array, values: Array, tol: Array) -> GraphSolution:
    """f with -L* f = load on the nodes that are not clamped and f = values on those that are.

    (-L* f)_j = sum_k r_jk (f_j - f_k) is the backward generator; at an open end f = 0 on the wall. Conjugate gradients
    in the masses, preconditioned by a cycle, then cycles alone, which reach the nodes that have next to no mass.

    **Arguments**: `operator`, one that balances in detail, without a well; `load` and `values` `(*shape)`; `clamped`
    `(*shape)` of booleans, at least one of them true unless an axis is open; `tol`, the relative error asked for.
    **Returns** a `GraphSolution`. **Keeps**: jit and vmap; not differentiated. **Cost**: some ten to twenty cycles
    whatever the size of the grid and the height of the barriers.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp
    from fpsolve.linear.multigrid import solve_graph

    axis = fp.Absorbing(-1.0, 1.0, 64)
    operator = fp.ScharfetterGummel().build(fp.FokkerPlanck(fp.Harmonic()), fp.Grid(axis), 0.0, float, True)
    times = solve_graph(operator, jnp.ones(64), jnp.zeros(64, bool), jnp.zeros(64), jnp.asarray(1e-5)).values
    ```
    """
    chain = chain_of(operator, clamped)
    fixed = jnp.where(clamped, values, 0)
    whole = chain_of(operator)
    arrives = sum(
        (
            whole.up[k] * _above(fixed, k - load.ndim, ring) + whole.down[k] * _below(fixed, k - load.ndim, ring)
            for k, ring in enumerate(whole.rings)
        ),
        start=load,
    )
    load = jnp.where(clamped, 0, arrives)
    multigrid = _value_multigrid(chain)
    action, cycle = multigrid.levels[0].apply, multigrid.cycle
    masses = chain.root**2
    product = lambda u, v: jnp.sum(masses * u * v)
    largest = lambda u: jnp.max(jnp.abs(u))
    floor = 16 * jnp.finfo(load.dtype).eps
    tol = jnp.maximum(tol, floor)

    def far(x: Array, z: Array) -> Array:
        return largest(z) > tol * largest(x + z)

    def descend(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, r, z, p, energy, k = state
        image = action(p)
        step = _quotient(energy, product(p, image))
        x, r = x + step * p, r - step * image
        z = cycle(r)
        after = product(r, z)
        return x, r, z, z + _quotient(after, energy) * p, after, k + 1

    def correct(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, z, k = state
        x = x + z
        return x, cycle(load - action(x)), k + 1

    z = cycle(load)
    first = product(load, z)
    zero = jnp.zeros((), int)
    unfinished = lambda s: far(s[0], s[2]) & (s[4] > (tol / 8) ** 2 * first) & (s[5] < ITERATIONS)
    x, *_, k = jax.lax.while_loop(unfinished, descend, (jnp.zeros_like(load), load, z, z, first, zero))
    again = lambda s: far(s[0], s[1]) & (s[2] < ITERATIONS)
    x, z, k = jax.lax.while_loop(again, correct, (x, cycle(load - action(x)), k))
    size = jnp.maximum(largest(x), largest(fixed))
    return GraphSolution(x + fixed, _quotient(largest(z), size), k)


def _value_multigrid(chain: Chain) -> Multigrid:
    """Multigrid for F."""
    chains, shares = _coarsened(chain)
    levels = tuple(_level(one, one.up, one.down) for one in chains)
    matrix = levels[-1].matrix
    lost = levels[-1].out_rates.ravel() == 0
    bottom = jnp.linalg.inv(matrix + jnp.diag(lost.astype(matrix.dtype)))
    spreads = tuple((share > 0).astype(share.dtype) for share in shares)
    return Multigrid(chains, levels, spreads, shares, bottom)


def _quotient(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def _above(u: Array, i: int, ring: bool) -> Array:
    """At each node the value of the next one up along axis i < 0; zero beyond an end."""
    if ring:
        return jnp.roll(u, -1, i)
    return _padded(jax.lax.slice_in_dim(u, 1, u.shape[i], axis=u.ndim + i), i, (0, 1))


def _below(u: Array, i: int, ring: bool) -> Array:
    if ring:
        return jnp.roll(u, 1, i)
    return _padded(jax.lax.slice_in_dim(u, 0, u.shape[i] - 1, axis=u.ndim + i), i, (1, 0))


def _padded(u: Array, i: int, ends: tuple[int, int], fill: float = 0.0) -> Array:
    return jnp.pad(u, [ends if k == u.ndim + i else (0, 0) for k in range(u.ndim)], constant_values=fill)


def _halves(u: Array, i: int, fill: float = 0.0) -> tuple[Array, Array]:
    """The first and the second of each pair along axis i < 0; `fill` where there is no second."""
    n, axis = u.shape[i], u.ndim + i
    first = jax.lax.slice_in_dim(u, 0, n, 2, axis)
    second = jax.lax.slice_in_dim(u, 1, n, 2, axis)
    return first, _padded(second, i, (0, n % 2), fill)
