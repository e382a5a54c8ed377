"""Runs of every method from a batch of starts, in one compiled program a method.

See `test_structure.py`.
"""

from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from fpsolve.operator.constants import CONSTANTS
from fpsolve.step.interval import integrate_interval_evenly
from measure import discretise

# how much a claim says, the most first
EXACT, ROUNDING, ERROR, SHOWN = "exact", "rounding", "error", "shown"
TOLERANCE = "tol"  # in place of an order: no steps, or as many as the tolerance takes
SLOPES = {"1": 0.0, "√t": 0.5, "t": 1.0}


class Claim(NamedTuple):
    """A row of the table: the method with its steps given, and what it keeps."""

    method: Any
    mass: str
    positivity: str
    gibbs: str
    symmetry: str
    order: str
    cost: str


METHODS = {
    "`Chebyshev`": fp.Chebyshev(),
    "`Chebyshev`, spectral": fp.Chebyshev(),
    "`Rational`": fp.Rational(),
    "`Splitting(2)`": fp.Splitting(2, 4),
    "`Splitting(4)`": fp.Splitting(4, 4),
    "`Implicit(1)`": fp.Implicit(1, 4),
    "`Implicit(2)`": fp.Implicit(2, 4),
    "`Implicit(3)`": fp.Implicit(3, 4),
    "`Magnus`, spectral": fp.Magnus(8),
    "`Magnus`": fp.Magnus(4),
    "`Magnus(extrapolate=False)`": fp.Magnus(4, extrapolate=False),
    "`Uniformization`": fp.Uniformization(),
    "`Dense`": fp.Dense(),
}
CLAIMS = {
    name: Claim(method, *method.keeps("spectral" in name))
    for name, method in METHODS.items()
}
COLUMNS = ("mass", "positivity", "Gibbs", "symmetry", "order", "calls against t")


class Landscape(eqx.Module):
    """a (x0^2 - 1)^2 + b x1^2 + c x0 x_last, pulled to and fro by d x0 sin(3 t);
    numbers do not recompile.
    """

    a: jax.Array
    b: jax.Array
    c: jax.Array
    d: jax.Array

    def __call__(self, x: jax.Array, t: Any = 0.0) -> jax.Array:
        """U."""
        plane = jnp.sum(self.b * x[1:] ** 2) + self.c * x[0] * x[-1]
        return self.a * (x[0] ** 2 - 1) ** 2 + plane + self.d * x[0] * jnp.sin(3 * t)


def landscape(a, b, c, d=0.0):
    return Landscape(*(jnp.asarray(float(number)) for number in (a, b, c, d)))


LANDSCAPES = {
    "steep": landscape(30, 8, 4),
    "mild": landscape(1, 1, 0.5),
    "smooth": landscape(3, 2, 0.5),
    "pulled": landscape(3, 2, 0.5, 2),
}
LINE = fp.Grid(fp.Line(-1.8, 1.8, 18))
PLANE = fp.Grid(fp.Line(-1.8, 1.8, 8), fp.Line(-1.5, 1.5, 6))
BASIS = fp.Grid(fp.Line(-2.2, 2.2, 48))
BASIS_PLANE = fp.Grid(fp.Line(-2.2, 2.2, 44), fp.Line(-3.2, 3.2, 28))


class Answers(NamedTuple):
    """Densities `(B, n)` after t, with errors and calls `(B,)`, weights `(n,)` and the
    Gibbs density `(n,)`.

    The last two starts are the Gibbs density and a smooth one; those before are spikes,
    or on a basis narrow bells.
    """

    values: np.ndarray
    errors: np.ndarray
    calls: np.ndarray
    weights: np.ndarray
    gibbs: np.ndarray
    starts: np.ndarray


@eqx.filter_jit
def _compute(method, problem, starts, begin, end, tol):
    """As a run does it, with tails of waves clipped."""
    time_dependent = isinstance(method, fp.Magnus)
    prepared = (
        None
        if time_dependent
        else method.prepare(problem.at(begin, starts.dtype), problem.picture)
    )

    def one(u):
        u = problem.to_state(u, tol * CONSTANTS.clipping_tol_fraction)
        if time_dependent:
            return integrate_interval_evenly(method, problem, u, begin, end, tol)[:3]
        taken = method.apply(prepared, u, (end - begin)[None], tol, 0.0)
        return taken.field[0], taken.calls, taken.error[0]

    states, calls, errors = jax.vmap(one)(starts)
    return problem.to_field(states, end), calls, errors


@cache
def _starts(grid, potential, spectral):
    gibbs = fp.FokkerPlanck(LANDSCAPES[potential]).gibbs(grid)
    smooth = grid.density(fp.Gaussian([-0.7] + [0.2] * (grid.ndim - 1), 0.06))
    if spectral:
        bells = [
            grid.density(fp.Gaussian([x] + [0.0] * (grid.ndim - 1), 0.04))
            for x in (-1.0, 0.0, 0.9)
        ]
        first = bells + [
            grid.density(gibbs * (1 + jnp.sin(k * grid.points[..., 0] + k)))
            for k in (1, 2, 3)
        ]
    else:
        first = list(
            (jnp.eye(grid.size) / grid.weights.ravel()).reshape(-1, *grid.shape)
        )
    return gibbs, jnp.stack([*first, gibbs, smooth])


@cache
def run(name, grid, potential, t, tol=1e-8, begin=0.0, method=None):
    """All starts through the method of a row, or another in its place, from `begin` for
    a time t.
    """
    spectral = "spectral" in name
    equation = fp.FokkerPlanck(LANDSCAPES[potential])
    method = CLAIMS[name].method if method is None else method
    gibbs, starts = _starts(grid, potential, spectral)
    scheme, picture = (
        (fp.Spectral(), "wave") if spectral else (fp.ScharfetterGummel(), "density")
    )
    problem = discretise(equation, scheme, grid, picture)
    begin, end, tol = (jnp.asarray(float(number)) for number in (begin, begin + t, tol))
    values, calls, errors = _compute(method, problem, starts, begin, end, tol)
    flat = lambda u: np.asarray(u).reshape(-1, grid.size)
    weights = np.asarray(grid.weights).ravel()
    return Answers(
        flat(values),
        np.asarray(errors),
        np.asarray(calls),
        weights,
        flat(gibbs)[0],
        flat(starts),
    )


def potentials(name):
    """Where mass and signs are measured, and where the Gibbs density and the balance
    are.
    """
    if "Magnus" in name:
        return "pulled", "smooth"
    return ("smooth", "smooth") if "spectral" in name else ("steep", "steep")
