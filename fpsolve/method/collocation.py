"""Collocation of the wave equation in a frame that moves along: high order in time, and no stiffness.

    d_t psi = -e^{iw} (H_t + d_t log sqrt(pi_t)) psi           (theorem T13; a Schrödinger equation has no such term)
            = -e^{iw} (E + W(x, t)) psi,    E = sum_i h_i,  h_i = K_i + v_i(x_i),  W = V + d_t log sqrt(pi) - sum_i v_i

The h_i are diagonal in their own eigenvectors, which a step computes afresh (small matrices, one an axis): v_i is the
well in the middle of the step averaged over the other axes, so that W is only what moves and what couples. With
g_m = W psi at the Gauss points t_m of the step and l_m their Lagrange polynomials,

    psi(t_k) = e^{-t_k E} psi(0) - sum_m Q_km(E) g_m,      Q_km(E) = int_0^{t_k} e^{-(t_k - u) E} l_m(u) du,

a linear system for the psi(t_m), well conditioned because E has been inverted, solved by conjugate residuals. With n
points the error of a step is of order 2n + 1 in its length. Two solutions are carried, with n - 1 points and with
n: their distance is the error reported, the finer one is returned, and steps are as long as keeps the distance
below the tolerance.

References: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, section 2.4; Tal-Ezer, Kosloff and Schaefer, J. Sci.
Comput. 53 (2012) 211; Eisenstat, Elman and Schultz, SIAM J. Numer. Anal. 20 (1983) 345.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

POINTS = {64: 7, 32: 5}  # Gauss points of a step, by the bits of a real number
SERIES, TURN = 24, 3.0  # terms of the series of phi, and where the recurrence takes over from it
ITERATIONS = 100  # of conjugate residuals, a product each
REFUSALS, SHORTEST = 6, 1e-6  # steps refused beyond those taken, and the least part of an interval: then it gives up
SHARE, CLOSER = 0.2, 0.1  # the part of a step's tolerance that the iteration may leave, and of that in the finer
EMPTY = 1e-3  # a wave this much lower than the iteration's goal is none
FAR = 2.0  # a step this much longer than the last one is not foretold from it


class Frame(NamedTuple):
    """The eigenvectors `(n_i, n_i)` of each h_i, the sums of their levels above the lowest, and sum_i v_i."""

    vectors: tuple[Array, ...]
    energies: Array
    lowest: Array
    base: Array


class Crossing(NamedTuple):
    """Where a march stands: the time, the next length, both fields, and what the next step is foretold from."""

    t: Array
    length: Array
    coarse: Array
    fine: Array
    inner: Array
    last: Array
    error: Array
    calls: Array
    steps: Array
    attempts: Array


def cross_adaptively(problem: Any, field: Array, start: Array, end: Array, tol: Array, length: Array) -> Crossing:
    """From `start` to `end` in steps chosen on the way; the error is infinite where the steps became too many."""
    dtype = field.real.dtype
    whole = end - start
    epsilon = jnp.finfo(dtype).eps

    shortest = jnp.maximum(64 * epsilon * jnp.abs(end), SHORTEST * whole)

    def unfinished(now: Crossing) -> Array:
        refused = now.attempts - now.steps
        return (now.t < end) & (now.length > shortest) & (refused < REFUSALS + now.steps)

    def attempt(now: Crossing) -> Crossing:
        left = end - now.t
        count = jnp.maximum(jnp.ceil(left / now.length - 0.01), 1)
        length = left / count
        after = jnp.where(count > 1, now.t + length, end)
        reach = _reach(problem, now.fine, now.t)
        share = tol * length / whole
        goal = jnp.clip(SHARE * share / reach, 2 * epsilon, 1e-3)
        coarse, fine, inner, calls, settled = step(problem, now, length, goal, False)
        error = _distance(problem, fine, coarse, after)
        room = jnp.maximum(tol * (0.4 + 0.6 * (after - start) / whole) - now.error, share / 8)
        added = jnp.maximum(error - now.error, 0)
        taken = settled & jnp.isfinite(error) & (added <= jnp.maximum(room, 16 * epsilon * reach))
        factor = (room / jnp.maximum(added, error / 8 + 1e-6 * share)) ** (0.5 / (POINTS[jnp.finfo(dtype).bits] - 1))
        factor = jnp.where(taken | settled, jnp.clip(0.85 * factor, 0.25, 1.7), 0.4)
        factor = jnp.where(jnp.isfinite(error), factor, 0.25)
        pick = lambda new, old: jnp.where(taken, new, old)
        return Crossing(
            t=pick(after, now.t),
            length=length * factor,
            coarse=pick(coarse, now.coarse),
            fine=pick(fine, now.fine),
            inner=pick(inner, now.inner),
            last=pick(length, now.last),
            error=pick(error, now.error),
            calls=now.calls + calls,
            steps=now.steps + taken,
            attempts=now.attempts + 1,
        )

    done = jax.lax.while_loop(unfinished, attempt, _enter(problem, field, start, length))
    return done._replace(error=jnp.where(done.t < end, jnp.inf, done.error) + _rounding(problem, field, start))


def cross_evenly(problem: Any, field: Array, start: Array, end: Array, count: int, tol: Any) -> Crossing:
    """From `start` to `end` in `count` equal steps: what can be traced, and differentiated in both modes."""
    length = (end - start) / count

    def one(now: Crossing, _: None) -> tuple[Crossing, None]:
        reach = _reach(problem, now.fine, now.t)
        goal = jnp.clip(SHARE * tol / count / reach, 2 * jnp.finfo(length.dtype).eps, 1e-3)
        coarse, fine, inner, calls, settled = step(problem, now, length, goal, True)
        after = now.t + length
        error = jnp.where(settled, _distance(problem, fine, coarse, after), jnp.inf)
        return Crossing(
            after, length, coarse, fine, inner, length, error, now.calls + calls, now.steps + 1, now.attempts + 1
        ), None

    done = jax.lax.scan(one, _enter(problem, field, start, length), None, length=count)[0]
    return done._replace(error=done.error + _rounding(problem, field, start))


def _rounding(problem: Any, field: Array, start: Array) -> Array:
    error = 8 * jnp.finfo(field.real.dtype).eps * _reach(problem, field, start)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def _enter(problem: Any, field: Array, start: Array, length: Array) -> Crossing:
    dtype = field.real.dtype
    inner = jnp.broadcast_to(field, (POINTS[jnp.finfo(dtype).bits], *field.shape))
    zero = jnp.zeros((), dtype)
    return Crossing(start, length, field, field, inner, zero, zero, zero, zero, zero)


def step(
    problem: Any, now: Crossing, length: Array, goal: Array, traced: bool
) -> tuple[Array, Array, Array, Array, Array]:
    """One step of both solutions: the two fields, the inner ones of the finer, products taken, and success."""
    dtype = now.fine.real.dtype
    rules = pair(POINTS[jnp.finfo(dtype).bits])
    count = len(rules.onward)
    offsets = jnp.asarray(np.append(rules.points, 0.5), dtype)
    wells = jax.vmap(lambda t: _well(problem, t, dtype))(now.t + length * offsets)
    kinetic = [term.matrix for term in problem.operator(now.t, dtype).terms]
    # Where there is no wave yet, a well no higher than elsewhere keeps it out as well, and the system is far smaller.
    size = jnp.abs(jax.lax.stop_gradient(now.fine))
    present = size > EMPTY * goal * jnp.max(size)
    wells = jnp.minimum(wells, jnp.max(jnp.where(present, wells, -jnp.inf), tuple(range(1, wells.ndim)), keepdims=True))
    frame = _frame(problem, kinetic, wells[-1], now.fine, now.t + length / 2)
    rotation = jnp.exp(1j * problem.wick).astype(now.fine.dtype) if problem.wick else jnp.ones((), dtype)
    rest = (wells[:-1] - frame.base).reshape(2, count, *now.fine.shape)
    # The levels are constants to a derivative, which then needs what the matrices gain on them.
    gained = [matrix - jax.lax.stop_gradient(matrix) for matrix in kinetic] if traced else []
    ahead = jnp.where(now.last > 0, length / jnp.where(now.last > 0, now.last, 1), 0)
    reach = 1 + rules.points[0] * jnp.where(ahead < FAR, ahead, 0)
    foretold = jnp.tensordot(_lagrange(rules.points[1], reach), now.inner, 1)

    def one(guess: Array, given: Any) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        field, rest, goal, widths, which, powers = given
        decays, weights = tables(frame.energies, rotation * length, widths, which, powers)
        end, inner, calls, settled = _collocate(frame, field, rest, decays, weights, guess, goal, gained)
        return jnp.tensordot(jnp.asarray(rules.onward, dtype), inner, 1), (end, inner, calls, settled)

    goals = jnp.maximum(goal * jnp.asarray([1.0, CLOSER], dtype), 2 * jnp.finfo(dtype).eps)
    widths, powers = jnp.asarray(rules.widths, dtype), jnp.asarray(rules.powers, dtype)
    both = (jnp.stack([now.coarse, now.fine]), rest, goals, widths, jnp.asarray(rules.which), powers)
    _, (ends, inner, calls, settled) = jax.lax.scan(one, foretold, both)
    decay = jnp.exp(-rotation * length * frame.lowest)
    if problem.process:  # back to a Gibbs density of mass 1, by the change of log Z
        cells = jnp.log(problem.grid.weights).astype(dtype)
        norm = lambda t: jax.scipy.special.logsumexp(2 * _log_root(problem, t, dtype) + cells) / 2
        decay = decay * jnp.exp(norm(now.t + length) - norm(now.t))
    return ends[0] * decay, ends[1] * decay, inner[1] * decay, jnp.sum(calls) * count, jnp.all(settled)


def _collocate(
    frame: Frame, field: Array, rest: Array, decays: Array, weights: Array, guess: Array, goal: Array, gained: Any
) -> tuple[Array, Array, Array, Array]:
    """The field after a step, those at its points, the products it took, and whether the iteration settled.

    Inside, the points stand behind the first axis of the grid, where matrix products find them without a transposition.
    """
    inside, outside = lambda u: jnp.moveaxis(u, 0, 1), lambda u: jnp.moveaxis(u, 1, 0)
    state, rest = _to(frame, field), inside(rest)

    def source(states: Array) -> Array:
        fields = _back(frame, states)
        moved = rest * fields
        for i, matrix in enumerate(gained):
            moved = moved + _turn(matrix, fields, i, field.ndim)
        return _to(frame, moved)

    def product(states: Array) -> Array:
        sources = source(states)
        rows = [sum(w * sources[:, m] for m, w in enumerate(row)) for row in weights[:-1]]
        return states + jnp.stack(rows, 1)

    states, (calls, settled) = jax.lax.custom_linear_solve(
        product,
        inside(decays[:-1] * state),
        lambda product, b: residuals(product, b, _to(frame, inside(jax.lax.stop_gradient(guess))), goal),
        lambda product, b: residuals(product, b, b, goal),
        has_aux=True,
    )
    end = decays[-1] * state - jnp.sum(inside(weights[-1]) * source(states), 1)
    return _back(frame, end), outside(_back(frame, states)), calls + 1, settled


def residuals(product: Any, b: Array, guess: Array, goal: Array) -> tuple[Array, tuple[Array, Array]]:
    """x with |b - A x| <= goal |b| by conjugate residuals with one direction kept, the first of them the guess;
    the products taken, and whether it got there."""
    square = lambda u: jnp.sum(jnp.abs(u) ** 2)
    enough = (goal**2) * square(b)
    zero = jnp.zeros_like(b)

    def far(carry: Any) -> Array:
        _, residual, _, _, calls = carry
        return (square(residual) > enough) & (calls < ITERATIONS)

    def iterate(carry: Any) -> Any:
        x, residual, direction, image, calls = carry
        fresh = jnp.where(calls == 0, guess, residual)
        its = product(fresh)
        back = _ratio(jnp.vdot(image, its), square(image))
        direction, image = fresh - back * direction, its - back * image
        ahead = _ratio(jnp.vdot(image, residual), square(image))
        return x + ahead * direction, residual - ahead * image, direction, image, calls + 1

    x, residual, _, _, calls = jax.lax.while_loop(far, iterate, (zero, b, zero, zero, jnp.zeros((), b.real.dtype)))
    return x, (calls, square(residual) <= 16 * enough)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _frame(problem: Any, kinetic: list[Array], well: Array, field: Array, t: Array) -> Frame:
    """Axes by themselves: the well averaged over the others, weighted by the marginals of sqrt(pi), or of |psi|."""
    weight = jnp.exp(problem.log_root(t, well.dtype)) * jnp.ones_like(well) if problem.process else jnp.abs(field)
    d = well.ndim
    marginals = []
    for i in range(d):
        others = tuple(j for j in range(d) if j != i)
        marginal = jnp.sum(weight, others)
        marginals.append(marginal / jnp.sum(marginal))
    levels, vectors, base, energies = [], [], jnp.zeros_like(well), jnp.zeros_like(well)
    mean = functools.reduce(lambda u, marginal: jnp.tensordot(marginal, u, 1), marginals, well)
    for i, matrix in enumerate(kinetic):
        average = jnp.moveaxis(well, i, -1)
        for marginal in marginals[:i] + marginals[i + 1 :]:
            average = jnp.tensordot(marginal, average, 1)
        average = average - mean * (d - 1) / d
        small = (matrix + matrix.T) / 2 + jnp.diag(average)
        values, columns = jnp.linalg.eigh(jax.lax.stop_gradient(small), symmetrize_input=False)
        levels.append(values[0])
        vectors.append(columns)
        shaped = (-1,) + (1,) * (d - 1 - i)
        energies = energies + (values - values[0]).reshape(shaped)
        base = base + average.reshape(shaped)
    return jax.lax.stop_gradient(Frame(tuple(vectors), energies, sum(levels), base))


def _to(frame: Frame, fields: Array) -> Array:
    for i, vectors in enumerate(frame.vectors):
        fields = _turn(vectors.T, fields, i, len(frame.vectors))
    return fields


def _back(frame: Frame, states: Array) -> Array:
    for i, vectors in enumerate(frame.vectors):
        states = _turn(vectors, states, i, len(frame.vectors))
    return states


def _turn(matrix: Array, u: Array, axis: int, ndim: int) -> Array:
    """A matrix along an axis of the grid, of fields `(n_1, ..., n_d)` or `(n_1, points, n_2, ..., n_d)`."""
    position = axis if axis == 0 else axis + u.ndim - ndim
    if position == u.ndim - 1 and position > 0:
        return u @ matrix.T
    return jnp.moveaxis(jnp.tensordot(matrix, u, (1, position)), 0, position)


def tables(energies: Array, length: Array, widths: Array, which: Array, powers: Array) -> tuple[Array, Array]:
    """e^{-t_k E} `(n + 1, *shape)` and Q_km(E) `(n + 1, n, *shape)` at the n points of a step and at its end.

    From point to point: Q_{k+1} = e^{-d E} Q_k + the integral over the interval d between them, which expanding l_m in
    powers makes a sum of phi_j(d E), phi_j(z) = int_0^1 e^{-(1-u)z} u^{j-1} / (j-1)! du.
    """
    n = powers.shape[1]
    phis = _phis(length * widths.reshape(-1, *(1,) * energies.ndim) * energies, n)

    def onward(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], Any]:
        at, powers = given
        phi = phis[:, at]
        carry = phi[0] * carry[0], phi[0] * carry[1] + length * jnp.tensordot(powers, phi[1:], 1)
        return carry, carry

    start = (jnp.ones_like(phis[0, 0]), jnp.zeros((n, *energies.shape), phis.dtype))
    return jax.lax.scan(onward, start, (which, powers.astype(phis.dtype)))[1]


def _phis(z: Array, m: int) -> Array:
    """phi_0 .. phi_m at -z: upwards from the exponential for large z, downwards from a series for small."""
    small = jnp.abs(z) < TURN
    near, far = jnp.where(small, z, 0), jnp.where(small, TURN, z)
    top = jnp.zeros_like(z)
    for i in range(SERIES, 0, -1):
        top = -near / (m + i) * (1 + top)
    top = (1 + top) / math.factorial(m)
    inverse = jnp.asarray([1 / math.factorial(j) for j in range(m)], near.real.dtype)
    twice = lambda step: lambda carry, c: (step(carry, c),) * 2
    below = jax.lax.scan(twice(lambda phi, c: c - near * phi), top, inverse[::-1])[1][::-1]
    first = jnp.exp(-far)
    above = jax.lax.scan(twice(lambda phi, c: (c - phi) / far), first, inverse)[1]
    return jnp.where(small, jnp.concatenate([below, top[None]]), jnp.concatenate([first[None], above]))


class Pair(NamedTuple):
    """Gauss rules on [0, 1] with n - 1 points, the last of them twice, and with n.

    `widths` of the different intervals between 0, the points and 1; `which` of them each interval has; `powers`, the
    width times j! times the coefficient of u^j of l_i on each; `onward`, from coarser points to finer.
    """

    points: np.ndarray
    widths: np.ndarray
    which: np.ndarray
    powers: np.ndarray
    onward: np.ndarray


@functools.lru_cache(maxsize=16)
def pair(n: int) -> Pair:
    """The rules of n - 1 and of n points."""
    coarse, fine = ((np.polynomial.legendre.leggauss(k)[0] + 1) / 2 for k in (n - 1, n))
    points = np.stack([np.append(coarse, coarse[-1]), fine])
    pieces = [_pieces(points[0], n - 1), _pieces(points[1], n)]
    most = max(len(widths) for widths, _, _ in pieces)
    widths = np.stack([np.append(widths, np.zeros(most - len(widths))) for widths, _, _ in pieces])
    onward = np.append(np.asarray(_lagrange(coarse, fine)), np.zeros((n, 1)), 1)
    return Pair(points, widths, np.stack([p[1] for p in pieces]), np.stack([p[2] for p in pieces]), onward)


def _pieces(points: np.ndarray, distinct: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edges, n = np.concatenate([[0.0], points, [1.0]]), len(points)
    powers = np.zeros((n + 1, n, n))
    for k, (left, right) in enumerate(itertools.pairwise(edges)):
        for i in range(distinct):
            row = np.ones(1)
            for other in np.delete(points[:distinct], i):
                row = np.convolve(row, np.array([left - other, right - left]) / (points[i] - other))
            powers[k, i, :distinct] = (right - left) * row * [math.factorial(j) for j in range(distinct)]
    widths, which = np.unique(np.round(np.diff(edges), 14), return_inverse=True)
    return widths, which, powers


def _lagrange(points: np.ndarray, x: Any) -> Any:
    """The Lagrange polynomials of `points` at x `(k,)`: a matrix `(k, m)`."""
    others = [np.delete(points, i) for i in range(len(points))]
    columns = [math.prod((x - a) / (p - a) for a in rest) for p, rest in zip(points, others, strict=True)]
    stack = np.stack if isinstance(x, np.ndarray) else jnp.stack
    return stack(columns, 1).astype(x.dtype)


def _well(problem: Any, t: Array, dtype: Any) -> Array:
    """V + d_t log sqrt(pi) at time t, `(*shape)`."""
    well = problem.operator(t, dtype).well
    if not problem.process:
        return well
    return well + jax.jvp(lambda s: _log_root(problem, s, dtype), (t,), (jnp.ones_like(t),))[1]


def _log_root(problem: Any, t: Array, dtype: Any) -> Array:
    """log sqrt(pi) + constant: what a process's wave is relative to within a step."""
    return problem.equation.log_gibbs(problem.grid.points, t).astype(dtype) / 2


def _reach(problem: Any, field: Array, t: Array) -> Array:
    """|sqrt(pi)| |psi| / |sqrt(pi) psi|_1, by which errors of waves are enlarged; sqrt(1 + chi2) for a density."""
    dtype = field.real.dtype
    weights = problem.grid.weights.astype(dtype)
    root = jnp.exp(problem.log_root(t, dtype)) * jnp.ones_like(weights)
    norm = lambda u: jnp.sqrt(jnp.sum(weights * jnp.abs(u) ** 2))
    return jax.lax.stop_gradient(norm(root) * norm(field) / jnp.sum(weights * root * jnp.abs(field)))


def _distance(problem: Any, a: Array, b: Array, t: Array) -> Array:
    """Relative L1 distance of two densities, or of two waves in the weights that make a density of them."""
    dtype = a.real.dtype
    measure = jnp.exp(problem.log_root(t, dtype)) * problem.grid.weights.astype(dtype)
    return jax.lax.stop_gradient(jnp.sum(measure * jnp.abs(a - b)) / jnp.sum(measure * jnp.abs(a)))
