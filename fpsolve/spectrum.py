"""The door "what are the slow modes".

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P

The values are Rayleigh quotients, so their derivatives are those of Hellmann and Feynman, dE = <psi| dH |psi>.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .choice import choose_scheme
from .core.checks import check_integer, is_concrete, refuse
from .core.door import report
from .core.memory import check_memory
from .core.result import code, raise_failure
from .core.types import Count, Real
from .eigen import dense_modes, filtered_modes, ground_mode, separates
from .entrance import check_equation, check_tolerance
from .equation import FokkerPlanck
from .grid import Grid
from .question import LastQuestions, fingerprint
from .scheme import Scheme
from .scheme.base import Equation

DENSE_SIZE = 1024


class Spectrum(eqx.Module):
    """The lowest levels of H, each with its error.

    - `values` `(k,)` ascending, in units 1/time; `vectors` `(k, *shape)`, of unit norm in the grid's weights
    - `residuals` `(k,)`: |H psi - E psi|; `errors` `(k,)`: a bound on the error of each value as a level of this
      discretised H, residual^2 / separation (at most the residual, and the residual where k = 1) plus rounding
    - `gap`: E_1 - E_0; `poincare`: the Poincaré constant D / gap
    """

    values: Array
    vectors: Array
    residuals: Array
    errors: Array
    equation: Equation
    grid: Grid = eqx.field(static=True)
    words: tuple[tuple[str, str], ...] = eqx.field(static=True)

    @property
    def gap(self) -> Array:
        """E_1 - E_0, a scalar. **Raises** `ValueError` if fewer than two levels were asked for."""
        if len(self.values) < 2:
            refuse("k", len(self.values), "a gap needs two levels", "Ask for k=2 or more.")
        return self.values[1] - self.values[0]

    @property
    def poincare(self) -> Array:
        """The Poincaré constant C_P = D / gap: Var_pi f <= C_P E_pi |grad f|^2.

        **Raises** `ValueError` where there is no such constant: a Schrödinger equation, or several diffusions.
        """
        if not isinstance(self.equation, FokkerPlanck) or self.equation.diffusion.ndim:
            refuse("equation", self.equation, "it needs one diffusion and a Gibbs density", "Use .gap.")
        return self.equation.diffusion / self.gap

    @property
    def stats(self) -> dict[str, str]:
        """The scheme and the method, with reasons."""
        return dict(self.words)

    def plot(self) -> Any:
        """A matplotlib figure of levels and modes (with the `plot` extra)."""
        return report().plot_spectrum(self)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with named dimensions (with the `io` extra)."""
        return report().to_xarray(self)

    def save(self, path: Any) -> None:
        """Write to `path`, `.npz` or `.nc`. Atomic."""
        report().save(self, path)


def spectrum(
    equation: Equation,
    grid: Grid | None = None,
    k: Count = 6,
    *,
    t: Any = 0.0,
    scheme: Scheme | None = None,
    tol: Real | None = None,
) -> Spectrum:
    """The k lowest levels and modes of H.

    **Arguments**: `equation` an `fp.FokkerPlanck` without force or an `fp.Schrodinger`; `grid` where to solve it; `k`
    at most the number of points; `t` the time at which a moving potential is frozen; `scheme` as in `fp.evolve`;
    `tol` the relative error of the values, 1e-10 (1e-4 without x64). **Returns** a `Spectrum`. **Raises** `ValueError`
    for bad arguments, `NumericalFailure` if the residuals stay too large.

    **Keeps**: values ascending and real; degenerate levels come complete. `jit`, `vmap`, `grad` and `jvp` reach the
    values; the vectors are not differentiated. **Cost**: size^3 up to 1024 points, beyond that some hundred products
    of a block of 3k/2 fields; k = 1 with a spectral scheme in two dimensions or more takes about ten products.
    **Reference**: Risken (1989), section 5.5.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4)
    ```
    """
    question = fingerprint(equation, grid, k, t, scheme, tol)
    if (kept := _questions.recall(question)) is None:
        kept = _examine(equation, grid, k, t, scheme, tol).prepare()
        if is_concrete(kept.arrays):
            _questions.keep(question, kept)
    *numbers, fits = kept.program(kept.arrays)
    answer = jax.tree.unflatten(kept.structure, [*numbers, *kept.rest])
    if is_concrete(fits) and not bool(fits):
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
    """A question as the door has understood it."""

    equation: Equation
    scheme: Scheme
    t: Array
    tol: np.ndarray
    grid: Grid = eqx.field(static=True)
    k: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    words: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def prepare(self) -> _Prepared:
        """The program, compiled once for all questions of one form."""
        arrays, static = eqx.partition(self, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
        leaves, form = jax.tree.flatten(static)
        blank = jnp.zeros(0)
        rest, structure = jax.tree.flatten(Spectrum(blank, blank, blank, blank, self.equation, self.grid, self.words))
        return _Prepared(_program(form, tuple(leaves)), arrays, structure, rest[4:])


def _examine(equation: Any, grid: Any, k: Any, t: Any, scheme: Any, tol: Any) -> _Plan:
    """Refuse what cannot be right, choose what was left open."""
    equation, grid = check_equation(equation, grid, t)
    k = check_integer("k", k, 1, "Ask for at least one level.")
    if k > grid.size:
        refuse(
            "k", k, f"the grid has only {grid.size} points, and as many levels", "Ask for fewer, or refine the grid."
        )
    check_memory("grid", grid.shape, 3 * k + 24, "Take fewer nodes on some axis, or fewer levels.")
    dtype = jnp.zeros(()).dtype
    tol = check_tolerance(tol, dtype, default=1e-10 if dtype == jnp.float64 else 1e-4)
    if isinstance(equation, FokkerPlanck):
        equation.require_reversible(grid, "a real spectrum", t)
        chosen = choose_scheme(equation, grid, scheme, equation.gibbs(grid, t), jnp.asarray([t], float), tol)
    else:
        chosen = choose_scheme(equation, grid, scheme, grid.weights, jnp.zeros(1), tol)
    method, why = _choose_method(chosen.scheme, grid, k)
    words = (("scheme", chosen.why), ("method", why))
    return _Plan(equation, chosen.scheme, jnp.asarray(t, float), np.asarray(tol, dtype), grid, k, method, words)


def _choose_method(scheme: Scheme, grid: Grid, k: int) -> tuple[str, str]:
    if k == 1 and separates(scheme, grid):
        return "ground", "descent to the ground state, because one level was asked for"
    if grid.size <= DENSE_SIZE:
        return "dense", f"the whole matrix, because the grid has only {grid.size} points"
    return "filtered", f"filtered subspaces ({grid.size} points)"


@functools.lru_cache(maxsize=128)
def _program(structure: Any, leaves: tuple[Any, ...]) -> Callable[[Any], Any]:
    rest = jax.tree.unflatten(structure, leaves)
    return jax.jit(lambda arrays: _solve(eqx.combine(arrays, rest)))


def _solve(plan: _Plan) -> tuple[Array, Array, Array, Array, Array]:
    """Values, vectors, residuals and errors; whether the residuals are small enough."""
    equation, grid, k, tol = plan.equation, plan.grid, plan.k, jnp.asarray(plan.tol)
    dtype = tol.dtype
    operator = plan.scheme.build(equation, grid, plan.t, dtype, isinstance(equation, FokkerPlanck))
    frozen = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)
    rounding = 8 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(jnp.stack(frozen.bounds)))
    # A residual r moves a value by r^2 / separation: the square root of tol is enough, and a hundredth of it is kept.
    goal = jnp.maximum(jnp.sqrt(tol) / 100, 8 * rounding)
    if plan.method == "ground":
        vectors = ground_mode(frozen, tol, 8 * rounding)
    elif plan.method == "dense":
        vectors = dense_modes(frozen, k, dtype)
    else:
        vectors = filtered_modes(frozen, k, goal, dtype)
    vectors = jax.lax.stop_gradient(_signed(vectors))
    images = jax.vmap(operator.hamiltonian)(vectors)
    product = lambda u, v: grid.integrate(u * v)
    values = jax.vmap(product)(vectors, images)
    residuals = jax.lax.stop_gradient(
        jnp.sqrt(jax.vmap(product)(*(2 * [images - values[(..., *[None] * grid.ndim)] * vectors])))
    )
    apart = jnp.abs(values[:, None] - values) + jnp.where(jnp.eye(k, dtype=bool), jnp.inf, 0)
    separation = jnp.min(apart, axis=1) if k > 1 else jnp.zeros(1)  # one level alone knows of none
    errors = jnp.where(residuals < separation, residuals**2 / separation, residuals)
    errors = jax.lax.stop_gradient(errors + rounding)
    return values, vectors, residuals, errors, jnp.max(residuals) <= 4 * goal


def _signed(vectors: Array) -> Array:
    """Each vector with its largest entry positive."""
    flat = vectors.reshape(len(vectors), -1)
    largest = jnp.take_along_axis(flat, jnp.argmax(jnp.abs(flat), axis=1)[:, None], axis=1)
    return (flat * jnp.sign(largest)).reshape(vectors.shape)
