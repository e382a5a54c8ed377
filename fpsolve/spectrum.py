"""The door "what are the slow modes".

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P
    -L r_n = lambda_n r_n    complex rates, where the process is not reversible

The values are Rayleigh quotients, so their derivatives are those of Hellmann and Feynman, dE = <psi| dH |psi>.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .plan import LARGEST_SPECTRAL, UNRESOLVED, check_scheme, choose_scheme
from .core.checks import check_integer, is_concrete, refuse
from .core.memory import check_memory
from .core.result import code, raise_failure
from .core.types import Count, Real
from .eigen import (
    DENSE_SIZE,
    SAME,
    WORDS,
    Levels,
    choose_modes,
    lacks_digits,
    levels,
    line_gap,
    partner_mode,
    relaxation_modes,
    slow_waves,
    unresolved,
)
from .entrance import check_equation, check_tolerance
from .equation import FokkerPlanck, ScoreHamiltonian
from .fit import fit
from .grid import Grid, Line, Reflecting
from .modes import Spectrum
from .question import LastQuestions, fingerprint
from .scheme import EdgeOperator, ScharfetterGummel, Scheme, Spectral
from .scheme.base import Equation

TINY = 1e-6  # of the level after it, below which the gap of a line is taken from the kernel of its partner
FINER = {True: 1.5, False: 2.0}  # how many more nodes tell the error in space, on spectral grids and on volumes
WIDER = 1.1
GUARDS = 6  # levels beyond the wanted ones that are computed too, at least
FITTED = 1e-8  # to which a grid is fitted where no tol is given


def spectrum(
    equation: Equation,
    grid: Grid | None = None,
    k: Count = 6,
    *,
    t: Any = 0.0,
    scheme: Scheme | None = None,
    tol: Real | None = None,
    refine: bool = False,
) -> Spectrum:
    """The k slowest modes: the lowest levels of H, or the slowest rates of -L where the process is not reversible.

    **Arguments**: `equation` an `fp.FokkerPlanck`, `fp.Schrodinger` or `fp.ScoreHamiltonian`; `grid` where to solve
    it, fitted to `tol` (or 1e-8) if None, but not for a score; `k` at most the number of points; `t` the time at which
    a moving potential, force or score is frozen; `scheme` as in `fp.evolve`; `tol` the relative error of the values,
    1e-10 (1e-4 without x64); `refine` also solves on a finer and wider grid, for `space_errors`. **Returns** a
    `Spectrum`. **Raises** `ValueError` for bad arguments, `NumericalFailure` if the residuals stay too large.

    **Keeps**: values ascending, real for a reversible process; degenerate levels come complete, and `multiplicities`
    tells when k has cut them. Levels are taken through A, H = A^T A, so that a small gap keeps its digits down to
    eps |H|, and on a line with closed ends at any size. `jit`, `vmap`, `grad` and `jvp` reach the values; the vectors
    are not differentiated. **Cost**: size^3 up to 1024 points or on one spectral axis; beyond that ten to thirty
    products of a block of 3k/2 fields. **Reference**: Risken (1989), sections 5.5 and 6.6.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4)
    ```
    """
    if grid is None:
        fitted = fit(equation, None, FITTED if tol is None else tol, k=k, t=t)
        answer = _ask(equation, fitted.grid, k, t, scheme, tol)
        return dataclasses.replace(
            answer,
            space_errors=fitted.space_error * jnp.abs(answer.values),
            words=(*answer.words, ("grid", fitted.words)),
        )
    answer = _ask(equation, grid, k, t, scheme, tol)
    if not refine:
        return answer
    finer = Grid(*(_finer(axis, "Spectral" in answer.stats["scheme"].split(",")[0]) for axis in grid.axes))
    better = _ask(equation, finer, k, t, scheme, tol)
    return dataclasses.replace(answer, space_errors=jnp.abs(answer.values - better.values))


def spectral_gap(equation: Equation, grid: Grid | None = None, *, t: Any = 0.0) -> Array:
    """The spectral gap E_1 - E_0, a scalar: the slowest rate of relaxation, D / C_P, and the price of annealing.

    **Arguments**: as for `fp.spectrum`. **Returns** the gap, in units 1/time; the real part of the slowest rate where
    the process is not reversible. **Raises** as `fp.spectrum`.

    **Keeps**: relative accuracy, however small the gap of a line (1e-30 and below); `jit`, `vmap`, `grad` and `jvp`
    (Hellmann and Feynman), with a given grid. **Cost**: as `fp.spectrum` of two levels. **Reference**: Bakry, Gentil
    and Ledoux, Analysis and Geometry of Markov Diffusion Operators (2014), chapter 4.

    ```python
    import jax
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-2.5, 2.5, 64))
    slope = jax.grad(lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid))(3.0)
    ```
    """
    return spectrum(equation, grid, 2, t=t).gap


def _ask(equation: Any, grid: Any, k: Any, t: Any, scheme: Any, tol: Any) -> Spectrum:
    question = fingerprint(equation, grid, k, t, scheme, tol)
    if (kept := _questions.recall(question)) is None:
        plan = _examine(equation, grid, k, t, scheme, tol)
        kept = plan.prepare()
        if scheme is None and plan.method == "relaxation" and isinstance(plan.scheme, Spectral):
            size = float(unresolved(grid, kept.program(kept.arrays)[1])) if is_concrete(kept.arrays) else 0.0
            if size > UNRESOLVED:
                why = f"because Spectral resolves the stationary density only to {size:.0e} on this grid"
                plan = _examine(equation, grid, k, t, ScharfetterGummel(), tol, why)
                kept = plan.prepare()
        while is_concrete(kept.arrays):
            cut, small = (bool(flag) for flag in kept.program(kept.arrays)[-2:])
            if not cut and (plan.small or not small):
                break
            plan = dataclasses.replace(plan, size=min(grid.size, 2 * plan.size) if cut else plan.size, small=small)
            kept = plan.prepare()
        if is_concrete(kept.arrays):
            _questions.keep(question, kept)
    *numbers, converged, _, _ = kept.program(kept.arrays)
    answer = jax.tree.unflatten(kept.structure, [*numbers, *kept.rest])
    if is_concrete(converged) and not bool(converged):
        raise_failure(jnp.asarray(code("not_converged")), f"largest residual {float(jnp.max(answer.residuals)):.1e}.")
    return answer


class _Prepared(NamedTuple):
    """A question that was examined: its program, the arrays that this takes, and how to put the answer together."""

    program: Callable[[Any], Any]
    arrays: Any
    structure: Any
    rest: list[Any]


_questions = LastQuestions()


class _Plan(eqx.Module):
    """A question as the door has understood it; `size` levels are computed, of which k are wanted, and `small` says
    whether the gap is too small for H, None where only the running program can tell. Where no scheme was `asked` for,
    a small gap is that of the continuum."""

    equation: Equation
    scheme: Scheme
    t: Array
    tol: np.ndarray
    grid: Grid = eqx.field(static=True)
    k: int = eqx.field(static=True)
    size: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    small: bool | None = eqx.field(static=True)
    asked: bool = eqx.field(static=True)
    words: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def prepare(self) -> _Prepared:
        """The program, compiled once for all questions of one form."""
        wordless = dataclasses.replace(self, words=())  # which differ from question to question
        arrays, static = eqx.partition(wordless, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
        leaves, form = jax.tree.flatten(static)
        none = jnp.zeros(0)
        left = none if self.method == "relaxation" else None
        blank = Spectrum(none, none, none, none, none, left, None, self.equation, self.grid, self.words)
        rest, structure = jax.tree.flatten(blank)
        return _Prepared(_program(form, tuple(leaves)), arrays, structure, rest[5 + (left is not None) :])


def _examine(equation: Any, grid: Any, k: Any, t: Any, scheme: Any, tol: Any, because: str = "as asked") -> _Plan:
    """Refuse what cannot be right, choose what was left open."""
    equation, grid = check_equation(equation, grid, t)
    k = check_integer("k", k, 1, "Ask for at least one level.")
    if k > grid.size:
        refuse(
            "k", k, f"the grid has only {grid.size} points, and as many levels", "Ask for fewer, or refine the grid."
        )
    check_memory("grid", grid.shape, 12 * k + 64, "Take fewer nodes on some axis, or fewer levels.")
    dtype = jnp.zeros(()).dtype
    tol = check_tolerance(tol, dtype, default=1e-10 if dtype == jnp.float64 else 1e-4)
    process = isinstance(equation, FokkerPlanck)
    reversible = not process or equation.irreversible_because(grid, t) is None
    absorbs = any(axis.ends == "open" for axis in grid.axes)
    asked = scheme is not None
    if reversible:
        if scheme is None:
            start = equation.gibbs(grid, t) if process else grid.weights
            chosen = choose_scheme(equation, grid, None, start, jnp.asarray([t], float), tol)
            scheme, why = chosen.scheme, chosen.why
        else:
            check_scheme(scheme, equation, grid)
            why = f"{type(scheme).__name__}, as asked"
        method = choose_modes(scheme, grid, k, process and not absorbs, isinstance(equation, ScoreHamiltonian))
    else:
        scheme, why = _for_rates(equation, grid, scheme, because)
        method = "relaxation"
        if grid.size > DENSE_SIZE:
            check_memory("grid", (grid.size, grid.size // max(grid.shape)), 4, "Take fewer nodes on some axis.")
    words = (("scheme", why), ("method", WORDS[method]))
    size = k if method in ("known", "ground") else min(grid.size, k + max(GUARDS, k // 2))
    small = False if is_concrete(equation, t) else None
    tol = np.asarray(tol, dtype)
    return _Plan(equation, scheme, jnp.asarray(t, float), tol, grid, k, size, method, small, asked, words)


def _for_rates(equation: Equation, grid: Grid, scheme: Any, because: str) -> tuple[Scheme, str]:
    """The scheme for a process that is not reversible: `Spectral` wherever there is a basis, to be judged by what it
    finds."""
    if scheme is not None:
        check_scheme(scheme, equation, grid)
        return scheme, f"{type(scheme).__name__}, {because}"
    if any(isinstance(axis, Reflecting) for axis in grid.axes) or max(grid.shape) > LARGEST_SPECTRAL:
        return ScharfetterGummel(), "ScharfetterGummel, because an axis is Reflecting or long"
    return Spectral(), "Spectral, because the grid has a basis on every axis"


@functools.lru_cache(maxsize=128)
def _program(structure: Any, leaves: tuple[Any, ...]) -> Callable[[Any], Any]:
    rest = jax.tree.unflatten(structure, leaves)
    return jax.jit(lambda arrays: _solve(eqx.combine(arrays, rest)))


def _solve(plan: _Plan) -> tuple[Any, ...]:
    """The arrays of a `Spectrum`; whether they have converged, more levels must be counted, the gap is small."""
    equation, grid, k, tol = plan.equation, plan.grid, plan.k, jnp.asarray(plan.tol)
    process, no = isinstance(equation, FokkerPlanck), jnp.zeros((), bool)
    build = lambda reversible: plan.scheme.build(equation, grid, plan.t, tol.dtype, reversible)
    if plan.method == "relaxation":
        modes = relaxation_modes(build(False), k, tol, tol.dtype)
        values, left, measured = modes.values, modes.observables, (modes.residuals, modes.errors)
        counts = jnp.sum(jnp.abs(values[:, None] - values) <= SAME * jnp.abs(values), axis=1)
        return values, modes.vectors, *measured, counts, left, modes.converged, no, no
    operator = build(process)
    frozen = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)
    waves, converged = slow_waves(plan.method, frozen, k, plan.size, tol)
    # Sines are not exact on the quotient through A: a drift need not vanish where they do.
    sines = isinstance(plan.scheme, Spectral) and any(axis.ends == "open" for axis in grid.axes)
    factored = None
    if isinstance(equation, ScoreHamiltonian):
        factored = operator
    elif process and not sines:
        factored = build(False)
    found = levels(operator, factored, waves, plan.small)
    small = no
    if process and len(found.values) > 2:
        small = lacks_digits(found.values, found.rounding)
        if grid.ndim == 1 and grid.axes[0].ends == "closed":
            tiny = jax.lax.stop_gradient(found.values[1] < TINY * found.values[2])
            small = small | tiny
            if plan.small is not False:
                found = jax.lax.cond(tiny, lambda: _small_gap(plan, operator, found), lambda: found)
    cut = no
    if k < len(found.values) < grid.size:  # the k-th level may be one of more than were computed
        cut = found.values[-1] - found.values[k - 1] <= SAME * jnp.abs(found.values[-1])
    values, vectors, residuals, errors, _, counts = (array[:k] for array in found)
    return values, vectors, residuals, errors, counts, converged, cut, small


def _small_gap(plan: _Plan, operator: Any, found: Levels) -> Levels:
    """The same with a gap that has all its digits."""
    if isinstance(operator, EdgeOperator) and plan.asked:
        gap = partner_mode(operator)
        vectors = found.vectors.at[1].set(jax.lax.stop_gradient(gap.mode))
    else:
        assert isinstance(plan.equation, FokkerPlanck)
        gap, vectors = line_gap(plan.equation, plan.grid.axes[0], plan.t, found.values.dtype), found.vectors
    value = gap.gap.astype(found.values.dtype)
    errors = found.errors.at[1].set(jax.lax.stop_gradient(value * gap.error))
    return found._replace(values=found.values.at[1].set(value), vectors=vectors, errors=errors)


def _finer(axis: Any, spectral: bool) -> Any:
    """More nodes, and on a line a wider box, so that both errors show."""
    finer = axis.refine(FINER[spectral])
    if not isinstance(axis, Line):
        return finer
    reach = (WIDER - 1) / 2 * axis.length
    return Line(axis.lower - reach, axis.upper + reach, round(finer.n * WIDER))
