"""The door "what are the slow modes".

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P

The values are Rayleigh quotients, so their derivatives are those of Hellmann and Feynman, dE = <psi| dH |psi>.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .choice import choose_scheme
from .core.checks import check_integer, is_concrete, refuse
from .core.door import report
from .core.memory import check_memory
from .core.result import code, raise_failure
from .core.types import Count, Real
from .eigen import dense_modes, filtered_modes
from .entrance import check_equation, check_tolerance
from .equation import FokkerPlanck
from .grid import Grid
from .scheme import Scheme
from .scheme.base import Equation

DENSE_SIZE = 1024


class Spectrum(eqx.Module):
    """The lowest levels of H, each with its error.

    - `values` `(k,)` ascending, in units 1/time; `vectors` `(k, *shape)`, of unit norm in the grid's weights
    - `residuals` `(k,)`: |H psi - E psi|; `errors` `(k,)`: a bound on the error of each value as a level of this
      discretised H, residual^2 / separation (at most the residual) plus rounding
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
    of a block of 3k/2 fields. **Reference**: Risken (1989), section 5.5.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4)
    ```
    """
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
    small = grid.size <= DENSE_SIZE
    method = f"the whole matrix, because the grid has {'only ' if small else ''}{grid.size} points"
    words = (("scheme", chosen.why), ("method", method if small else f"filtered subspaces ({grid.size} points)"))
    answer, limit = _solve(equation, grid, chosen.scheme, k, t, jnp.asarray(tol, dtype), small, words)
    if is_concrete(answer.residuals) and not bool(jnp.max(answer.residuals) <= limit):
        detail = f"largest residual {float(jnp.max(answer.residuals)):.1e}, allowed {float(limit):.1e}."
        raise_failure(jnp.asarray(code("not_converged")), detail)
    return answer


@eqx.filter_jit
def _solve(
    equation: Equation, grid: Grid, scheme: Scheme, k: int, t: Any, tol: Array, small: bool, words: Any
) -> tuple[Spectrum, Array]:
    dtype = tol.dtype
    operator = scheme.build(equation, grid, t, dtype, isinstance(equation, FokkerPlanck))
    frozen = jax.lax.stop_gradient(operator)
    rounding = 8 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(jnp.stack(frozen.bounds)))
    # A residual r moves a value by r^2 / separation: the square root of tol is enough, and a hundredth of it is kept.
    goal = jnp.maximum(jnp.sqrt(tol) / 100, 8 * rounding)
    vectors = dense_modes(frozen, k, dtype) if small else filtered_modes(frozen, k, goal, dtype)
    vectors = jax.lax.stop_gradient(_signed(vectors))
    images = jax.vmap(operator.hamiltonian)(vectors)
    product = lambda u, v: grid.integrate(u * v)
    values = jax.vmap(product)(vectors, images)
    residuals = jax.lax.stop_gradient(
        jnp.sqrt(jax.vmap(product)(*(2 * [images - values[(..., *[None] * grid.ndim)] * vectors])))
    )
    apart = jnp.abs(values[:, None] - values) + jnp.where(jnp.eye(k, dtype=bool), jnp.inf, 0)
    separation = jnp.min(apart, axis=1) if k > 1 else jnp.full(1, jnp.inf)
    errors = jax.lax.stop_gradient(jnp.minimum(residuals, residuals**2 / separation) + rounding)
    return Spectrum(values, vectors, residuals, errors, equation, grid, words), 4 * goal


def _signed(vectors: Array) -> Array:
    """Each vector with its largest entry positive."""
    flat = vectors.reshape(len(vectors), -1)
    largest = jnp.take_along_axis(flat, jnp.argmax(jnp.abs(flat), axis=1)[:, None], axis=1)
    return (flat * jnp.sign(largest)).reshape(vectors.shape)
