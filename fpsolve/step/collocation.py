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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..propagate.base import Picture
from .gauss_rules import lagrange, pair, tables
from .moving_wave import moving_well, reach_of_wave, relative_to, wave_distance

POINTS = {64: 7, 32: 5}  # Gauss points of a step, by the bits of a real number
ITERATIONS = 100  # of conjugate residuals, a product each
REFUSALS, SHORTEST = 6, 1e-6  # steps refused beyond those taken, and the least part of an interval: then it gives up
ORDER = 7  # that a step's length is chosen by: less than its true one, which stiff and sharp starts do not show
MOST, LEAST = 2**19, 0.1  # products of one field that an interval may take, and the part of them that its start may
SHARE, CLOSER = 0.2, 0.1  # the part of a step's tolerance that the iteration may leave, and of that in the finer
EMPTY = 1e-3  # a wave this much lower than the iteration's goal is none
MARGIN, WORTH = 12.0, 0.6  # what ranks may leave out; how few nodes are worth it
WHEN, LIKELY = (0.0, 0.4, 1.0), 16  # where in an interval sqrt(pi) is looked at, for steps of about this part of it
FAR = 2.0  # a step this much longer than the last one is not foretold from it


class Frame(NamedTuple):
    """The eigenvectors `(n_i, n_i)` of each h_i, the sums of their levels above the lowest, and sum_i v_i."""

    vectors: tuple[Array, ...]
    energies: Array
    lowest: Array
    base: Array


class StepperState(NamedTuple):
    """Where a march stands: the time, the next length, both fields, and what the next step is foretold from."""

    t: Array
    length: Array
    coarse: Array
    fine: Array
    inner: Array
    last: Array
    error: Array
    missed: Array
    calls: Array
    steps: Array
    attempts: Array


def integrate_adaptive(
    problem: Any, field: Array, start: Any, end: Any, tol: Any, length: Any, ranks: tuple[int, ...]
) -> StepperState:
    """From `start` to `end` in steps chosen on the way; the error is infinite where the steps became too many."""
    dtype = field.real.dtype
    whole = end - start
    epsilon = jnp.finfo(dtype).eps

    shortest = jnp.maximum(64 * epsilon * jnp.abs(end), SHORTEST * whole)

    def unfinished(now: StepperState) -> Array:
        refused = now.attempts - now.steps
        affordable = now.calls < MOST * jnp.maximum((now.t - start) / whole, LEAST)
        return (now.t < end) & (now.length > shortest) & (refused < REFUSALS + now.steps) & affordable

    def attempt(now: StepperState) -> StepperState:
        left = end - now.t
        count = jnp.maximum(jnp.ceil(left / now.length - 0.01), 1)
        length = left / count
        after = jnp.where(count > 1, now.t + length, end)
        reach = reach_of_wave(problem, now.fine, now.t)
        share = tol * length / whole
        goal = jnp.clip(SHARE * share / reach, 2 * epsilon, 1e-3)
        coarse, fine, inner, calls, missed, settled = step(problem, now, length, goal, False, ranks)
        error = wave_distance(problem, fine, coarse, after)
        room = jnp.maximum(tol * (0.4 + 0.6 * (after - start) / whole) - now.error - now.missed, share / 8)
        added = jnp.maximum(error - now.error, 0) + missed
        taken = settled & jnp.isfinite(error) & (added <= jnp.maximum(room, 16 * epsilon * reach))
        factor = (room / jnp.maximum(added, error / 8 + 1e-6 * share)) ** (1 / ORDER)
        factor = jnp.where(taken | settled, jnp.clip(0.85 * factor, 0.25, 1.7), 0.4)
        factor = jnp.where(jnp.isfinite(error), factor, 0.25)
        pick = lambda new, old: jnp.where(taken, new, old)
        return StepperState(
            t=pick(after, now.t),
            length=length * factor,
            coarse=pick(coarse, now.coarse),
            fine=pick(fine, now.fine),
            inner=pick(inner, now.inner),
            last=pick(length, now.last),
            error=pick(error, now.error),
            missed=pick(now.missed + missed, now.missed),
            calls=now.calls + calls,
            steps=now.steps + taken,
            attempts=now.attempts + 1,
        )

    done = jax.lax.while_loop(unfinished, attempt, _enter(problem, field, start, length))
    return done._replace(
        error=jnp.where(done.t < end, jnp.inf, done.error + done.missed) + _rounding(problem, field, start)
    )


def integrate_fixed(problem: Any, field: Array, start: Any, end: Any, count: int, tol: Any) -> StepperState:
    """From `start` to `end` in `count` equal steps: what can be traced, and differentiated in both modes."""
    length = (end - start) / count

    def one(now: StepperState, _: None) -> tuple[StepperState, None]:
        reach = reach_of_wave(problem, now.fine, now.t)
        goal = jnp.clip(SHARE * tol / count / reach, 2 * jnp.finfo(length.dtype).eps, 1e-3)
        coarse, fine, inner, calls, missed, settled = step(problem, now, length, goal, True)
        after = now.t + length
        error = jnp.where(settled, wave_distance(problem, fine, coarse, after), jnp.inf)
        calls, missed = now.calls + calls, now.missed + jax.lax.stop_gradient(missed)
        done = now.steps + 1
        return StepperState(after, length, coarse, fine, inner, length, error, missed, calls, done, done), None

    done = jax.lax.scan(one, _enter(problem, field, start, length), None, length=count)[0]
    return done._replace(error=done.error + done.missed + _rounding(problem, field, start))


def _rounding(problem: Any, field: Array, start: Array) -> Array:
    error = 8 * jnp.finfo(field.real.dtype).eps * reach_of_wave(problem, field, start)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def _enter(problem: Any, field: Array, start: Array, length: Array) -> StepperState:
    dtype = field.real.dtype
    inner = jnp.broadcast_to(field, (POINTS[jnp.finfo(dtype).bits], *field.shape))
    zero = jnp.zeros((), dtype)
    return StepperState(start, length, field, field, inner, zero, zero, zero, zero, zero, zero)


def step(
    problem: Any, now: StepperState, length: Array, goal: Array, traced: bool, ranks: tuple[int, ...] = ()
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """One step of both solutions in the lowest functions of each axis: the two fields, the inner ones of the finer,
    products taken, the error that both share, and success."""
    dtype = now.fine.real.dtype
    rules = pair(POINTS[jnp.finfo(dtype).bits])
    count = len(rules.onward)
    offsets = jnp.asarray(np.append(rules.points, 0.5), dtype)
    wells = jax.vmap(lambda t: moving_well(problem, t, dtype))(now.t + length * offsets)
    kinetic = [term.matrix for term in problem.at(now.t, dtype).terms]
    # Where there is no wave yet, a well no higher than elsewhere keeps it out as well, and the system is far smaller.
    size = jnp.abs(jax.lax.stop_gradient(now.fine))
    present = size > EMPTY * goal * jnp.max(size)
    wells = jnp.minimum(wells, jnp.max(jnp.where(present, wells, -jnp.inf), tuple(range(1, wells.ndim)), keepdims=True))
    whole = _frame(problem, kinetic, wells[-1], now.fine, now.t + length / 2)
    frame = _lowest(whole, ranks)
    rotation = jnp.exp(1j * problem.wick).astype(now.fine.dtype) if problem.wick else jnp.ones((), dtype)
    rest = (wells[:-1] - frame.base).reshape(2, count, *now.fine.shape)
    # The levels are constants to a derivative, which then needs what the matrices gain on them.
    gained = [matrix - jax.lax.stop_gradient(matrix) for matrix in kinetic] if traced else []
    ahead = jnp.where(now.last > 0, length / jnp.where(now.last > 0, now.last, 1), 0)
    reach = 1 + jnp.asarray(rules.points[0], dtype) * jnp.where(ahead < FAR, ahead, 0)
    predicted = jnp.tensordot(lagrange(rules.points[1], reach), now.inner, 1)

    def one(guess: Array, given: Any) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        field, rest, goal, widths, which, powers = given
        decays, weights = tables(frame.energies, rotation * length, widths, which, powers)
        end, inner, calls, left = _collocate(frame, field, rest, decays, weights, guess, goal, gained)
        return jnp.tensordot(jnp.asarray(rules.onward, dtype), inner, 1), (end, inner, calls, left)

    goals = jnp.maximum(goal * jnp.asarray([1.0, CLOSER], dtype), 2 * jnp.finfo(dtype).eps)
    widths, powers = jnp.asarray(rules.widths, dtype), jnp.asarray(rules.powers, dtype)
    both = (jnp.stack([now.coarse, now.fine]), rest, goals, widths, jnp.asarray(rules.which), powers)
    _, (ends, inner, calls, left) = jax.lax.scan(one, predicted, both)
    missed = left[1] * reach_of_wave(problem, now.fine, now.t)
    if ranks:
        missed = missed + _dropped(problem, whole, ranks, now, ends[1], rest[1, -1], length)
    decay = jnp.exp(-rotation * length * frame.lowest)
    if problem.picture is Picture.GIBBS_WAVE:  # back to a Gibbs density of mass 1, by the change of log Z
        cells = jnp.log(problem.grid.weights).astype(dtype)
        norm = lambda t: jax.scipy.special.logsumexp(2 * relative_to(problem, t, dtype) + cells) / 2
        decay = decay * jnp.exp(norm(now.t + length) - norm(now.t))
    ends = ends * decay
    if problem.picture is Picture.GIBBS_WAVE and all(axis.boundary != "absorbing" for axis in problem.grid.axes):
        # Mass is kept, and what both solutions lost of it is an error that their distance does not show.
        integrate = problem.grid.integrate
        before, after = (jnp.exp(problem.log_sqrt_pi(t, dtype)) for t in (now.t, now.t + length))
        lost = integrate(before * now.fine) - integrate(after * ends)
        ends = ends + jnp.multiply.outer(lost, after)
        missed = missed + jax.lax.stop_gradient(jnp.abs(lost[1]))
    return (
        ends[0],
        ends[1],
        inner[1] * decay,
        jnp.sum(calls) * count,
        missed,
        jnp.all(left <= 4 * goals),
    )


def _collocate(
    frame: Frame, field: Array, rest: Array, decays: Array, weights: Array, guess: Array, goal: Array, gained: Any
) -> tuple[Array, Array, Array, Array]:
    """The field after a step, those at its points, the products it took, and the residual it left.

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

    states, (calls, left) = jax.lax.custom_linear_solve(
        product,
        inside(decays[:-1] * state),
        lambda product, b: residuals(product, b, _to(frame, inside(jax.lax.stop_gradient(guess))), goal),
        lambda product, b: residuals(product, b, b, goal),
        has_aux=True,
    )
    end = decays[-1] * state - jnp.sum(inside(weights[-1]) * source(states), 1)
    return _back(frame, end), outside(_back(frame, states)), calls + 1, left


def residuals(product: Any, b: Array, guess: Array, goal: Array) -> tuple[Array, tuple[Array, Array]]:
    """x with |b - A x| <= goal |b| by conjugate residuals with one direction kept, the first of them the guess;
    the products taken, and |b - A x| / |b|."""
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
    return x, (calls, jnp.sqrt(_ratio(square(residual), square(b))))


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _frame(problem: Any, kinetic: list[Array], well: Array, field: Array, t: Array) -> Frame:
    """Axes by themselves: the well averaged over the others, weighted by the marginals of sqrt(pi), or of |psi|."""
    weight = (
        jnp.exp(problem.log_sqrt_pi(t, well.dtype)) * jnp.ones_like(well)
        if problem.picture is Picture.GIBBS_WAVE
        else jnp.abs(field)
    )
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
        small = small + 0 * sum(levels)  # in turn: batches of both at once wait for each other on a pool of two threads
        values, columns = jnp.linalg.eigh(jax.lax.stop_gradient(small), symmetrize_input=False)
        levels.append(values[0])
        vectors.append(columns)
        shaped = (-1,) + (1,) * (d - 1 - i)
        energies = energies + (values - values[0]).reshape(shaped)
        base = base + average.reshape(shaped)
    return jax.lax.stop_gradient(Frame(tuple(vectors), energies, sum(levels, jnp.zeros((), well.dtype)), base))


def _lowest(frame: Frame, ranks: tuple[int, ...]) -> Frame:
    """The same with the lowest functions of each axis only."""
    if not ranks:
        return frame
    vectors = tuple(v[:, :k] for v, k in zip(frame.vectors, ranks, strict=True))
    return frame._replace(vectors=vectors, energies=frame.energies[tuple(slice(k) for k in ranks)])


def _dropped(
    problem: Any, frame: Frame, ranks: tuple[int, ...], now: StepperState, end: Array, rest: Array, length: Array
) -> Array:
    """What functions left out would hold at the end of a step: of its start, and of what W then feeds them."""
    dtype = end.real.dtype
    z = length * frame.energies
    out = [_axis(jnp.arange(n) >= k, i, end.ndim) for i, (n, k) in enumerate(zip(end.shape, ranks, strict=True))]
    beyond = functools.reduce(jnp.logical_or, out)
    high = jnp.exp(-z) * _to(frame, now.fine), length / (1 + z) * _to(frame, rest * end)
    measure = jnp.exp(problem.log_sqrt_pi(now.t + length, dtype)) * problem.grid.weights.astype(dtype)
    size = lambda u: jnp.sum(measure * jnp.abs(u))
    return jax.lax.stop_gradient(sum(size(_back(frame, jnp.where(beyond, u, 0))) for u in high) / size(end))


def _axis(u: Array, i: int, d: int) -> Array:
    return u.reshape(-1, *(1,) * (d - 1 - i))


def tails(problem: Any, field: Array, start: Any, end: Any) -> tuple[Array, ...]:
    """For each axis the error `(n_i,)` that the lowest k functions of it would make, judged by the state at `start`
    and sqrt(pi) at a few times."""
    dtype = field.real.dtype
    kinetic = [term.matrix for term in problem.at(start, dtype).terms]
    length = (end - start) / LIKELY

    def at(t: Array, state: Array) -> tuple[Array, ...]:
        well = moving_well(problem, t, dtype)
        frame = _frame(problem, kinetic, well, state, t)
        z = length * frame.energies
        high = (
            jnp.exp(-z) * jnp.abs(_to(frame, state)),
            length / (1 + z) * jnp.abs(_to(frame, (well - frame.base) * state)),
        )
        square = sum(u**2 for u in high) * reach_of_wave(problem, state, t) ** 2 / jnp.sum(jnp.abs(state) ** 2)
        d = field.ndim
        sums = (jnp.sum(square, tuple(j for j in range(d) if j != i)) for i in range(d))
        return tuple(jnp.sqrt(jnp.cumsum(s[::-1])[::-1]) for s in sums)

    roots = [
        (t, jnp.exp(problem.log_sqrt_pi(t, dtype)).astype(field.dtype))
        for t in (start + (end - start) * f for f in WHEN)
    ]
    rows = [at(t, state) for t, state in [(start, field), *roots]]
    return tuple(jnp.max(jnp.stack(column), 0) for column in zip(*rows, strict=True))


def choose_ranks(errors: Any, tol: float, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The least ranks with errors well below `tol`; () where they are no great saving."""
    ranks = []
    for n, row in zip(shape, errors, strict=True):
        fits = np.flatnonzero(np.asarray(row) < tol / MARGIN)
        ranks.append(min(n, _rounded(int(fits[0]))) if len(fits) else n)
    return tuple(ranks) if np.prod(ranks) < WORTH * np.prod(shape) else ()


def _rounded(rank: int) -> int:
    """Up to one of two sizes an octave, and at least 8: every rank is a program of its own."""
    size = max(4, 2 ** max(0, (rank - 1).bit_length() - 2))
    return -(-rank // size) * size


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
