"""What every door asks before it computes anything: is the question well posed.

Values are looked at only where they are concrete; under `jit`, `vmap` and `grad` shapes are checked, the run reports.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .core.checks import check_finite_number, check_numbers, is_concrete, refuse
from .equation import FokkerPlanck, ScoreHamiltonian, read_equation
from .grid import Axis, Gaussian, Grid, Periodic, sample_product
from .scheme.base import Equation
from .scheme.basis import evaluate


def check_equation(equation: Any, grid: Any, t: Any = 0.0) -> tuple[Any, Grid]:
    """Refuse what is no equation, no grid, or a potential or force that does not fit or is not finite on the grid.

    **Returns** the equation with its functions as they are now (`read_equation`), and the grid.
    """
    if not isinstance(equation, Equation):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), fp.ScoreHamiltonian(score), ..."
        refuse("equation", equation, "it must be an equation", cure)
    if not isinstance(grid, Grid):
        refuse("grid", grid, "it must be an fp.Grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    shapes = () if callable(equation.diffusion) else (equation.diffusion.shape, getattr(equation, "given", ()))
    if any(shape not in ((), (grid.ndim,)) for shape in shapes):
        cure = "Give one number, or one an axis."
        refuse("diffusion", equation.diffusion, f"the grid has {_dimensions(grid)}", cure)
    if isinstance(equation, ScoreHamiltonian):
        _check_function("score", equation, grid, t, (grid.ndim,))
    else:
        _check_function("potential", equation, grid, t, ())
    if callable(equation.diffusion):
        _check_function("diffusion", equation, grid, t, (grid.ndim,))
    if isinstance(equation, FokkerPlanck) and equation.force is not None:
        _check_function("force", equation, grid, t, (grid.ndim,))
    equation = read_equation(equation, grid.ndim)
    _check_periodic(equation, grid, t)
    return equation, grid


def check_times(times: Any) -> Array:
    """Times `(T,)` as an array: at least one, ascending, at least zero, finite."""
    if is_concrete(times):
        cure, allowed = "Give ascending times, such as [0.5, 1.0].", "they must be a list of real numbers, not empty"
        array = np.atleast_1d(check_numbers("times", times, allowed, cure))
        if array.ndim != 1 or array.size == 0:
            refuse("times", times, allowed, cure)
        if not np.all(np.isfinite(array)):
            refuse("times", times, "they must be finite", cure)
        if np.any(array < 0):
            refuse("times", times, "they must be at least zero", cure)
        if np.any(np.diff(array) <= 0):
            refuse("times", times, "they must be ascending", cure)
    return jnp.atleast_1d(jnp.asarray(times, dtype=float))


def check_tolerance(tol: Any, dtype: Any, name: str = "tol", default: float = 1e-8) -> float:
    """The tolerance, refused if not positive or finer than the precision can hold; None takes the default."""
    single = jnp.finfo(dtype).bits == 32
    if tol is None:
        return max(default, 1e-5) if single else default
    tol = check_finite_number(name, tol)
    floor = 32 * float(jnp.finfo(dtype).eps)
    if tol <= 0:
        refuse(name, tol, "it must be positive", "Give 1e-8, say.")
    if tol < floor:
        cure = f"Raise {name}."
        if single:
            cure = 'Call jax.config.update("jax_enable_x64", True) before anything else, and give float64 arrays.'
        refuse(name, tol, f"{jnp.dtype(dtype).name} holds {floor:.1e} at best", cure)
    return tol


def check_wick(equation: Equation, wick: Any) -> None:
    """Refuse an angle outside [-pi/2, pi/2], or any but zero for a density."""
    angle = check_finite_number("wick", wick, "Give an angle in radians, 0 for imaginary time.")
    if angle != 0 and isinstance(equation, FokkerPlanck):
        cure = "Evolve equation.schrodinger(), whose wave may turn by any angle."
        refuse("wick", wick, "a density lives in imaginary time only, wick = 0", cure)
    if abs(angle) > np.pi / 2 + 1e-12:
        cure = "Give 0 for imaginary time, math.pi / 2 for real time."
        refuse("wick", wick, "beyond pi/2 the wave grows without bound", cure)


def check_observables(observables: Any, grid: Grid) -> None:
    """Refuse what is no mapping from names to functions that can be called on this grid."""
    if observables is None:
        return
    cure = 'Give {"mean": lambda x: x[0]}, say.'
    if not isinstance(observables, Mapping):
        refuse("observables", observables, "they must be a mapping from names to functions of x", cure)
    for name, f in observables.items():
        if not callable(f):
            refuse(f"observables[{name!r}]", f, "it must be a function of x", cure)
        _probe(f"observables[{name!r}]", f, grid)


def initial_field(equation: Equation, grid: Grid, initial: Any) -> Array:
    """The state at t = 0 on the grid, `(*shape)`, in the precision of the run."""
    array = hasattr(initial, "dtype") or isinstance(initial, list | tuple)
    if isinstance(equation, FokkerPlanck):
        if not array:
            if not callable(initial):
                refuse("initial", initial, "it must be a density", "Give a function, fp.Gaussian or an array.")
            if not isinstance(initial, Gaussian):
                _probe("initial", initial, grid)
            return grid.density(initial, "initial")
        field = _floating("initial", initial)
        grid.check_density("initial", field)
        return field
    if not array and not callable(initial):
        refuse("initial", initial, "it must be a wave", "Give a function of x or an array of the grid's shape.")
    if not array:
        _probe("initial", initial, grid)
    field = _floating("initial", grid.sample(initial) if callable(initial) and not array else initial)
    if field.shape != grid.shape:
        cure = "Give a function of x, or an array of the grid's shape."
        refuse("initial.shape", field.shape, f"it must be the grid's shape, {grid.shape}", cure)
    if is_concrete(field):
        if not bool(jnp.all(jnp.isfinite(field))):
            refuse("initial", "NaN or infinity", "every value must be finite", "Look at the wave near singular points.")
        if not bool(jnp.any(field != 0)):
            refuse("initial", 0.0, "the wave is zero everywhere", "Move the box to where the wave is.")
    return field


@functools.lru_cache(maxsize=64)
def mass_weights(axis: Axis) -> np.ndarray:
    """Those of the nodes, `(n,)`; on `fp.Absorbing`, where equal weights integrate sines to second order only, those
    of the basis."""
    if axis.ends != "open":
        return axis.weights
    x, w = np.polynomial.legendre.leggauss(axis.n + 8)
    return w * axis.length / 2 @ evaluate(axis, axis.lower + axis.length * (x + 1) / 2)[1]


def of_mass_one(grid: Grid, field: Array) -> Array:
    """A density of smooth functions, normalised by the basis."""
    mass = field
    for axis in reversed(grid.axes):
        mass = mass @ jnp.asarray(mass_weights(axis), field.dtype)
    return field / mass


def _probe(name: str, f: Any, grid: Grid) -> Any:
    """f at one point of the grid, or a refusal. The point is numpy's, where a missing coordinate is an error."""
    point = np.asarray([axis.nodes[0] for axis in grid.axes], dtype=jnp.zeros(()).dtype)
    try:
        with np.errstate(all="ignore"):
            try:
                return f(point)
            except (AttributeError, TypeError):  # what only JAX's arrays have, such as x.at
                return f(jnp.asarray(point))
    except (IndexError, TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        allowed = f"it must take a point of the grid's {_dimensions(grid)}, and fails there ({error})"
        refuse(f"{name} at x", tuple(point.tolist()), allowed, "Use as many coordinates as the grid has axes.")


def _dimensions(grid: Grid) -> str:
    return f"{grid.ndim} dimension{'s' if grid.ndim > 1 else ''}"


def _check_function(name: str, equation: Equation, grid: Grid, t: Any, shape: tuple[int, ...]) -> None:
    """Call the function once, which refuses a coordinate that the grid lacks, then look at every value."""
    value = _probe(name, lambda x: _FUNCTIONS[name](equation, x, t), grid)
    if jnp.shape(value) != shape:
        what = "a scalar" if shape == () else f"of shape {shape}"
        refuse(name, jnp.shape(value), f"f(x) must be {what}", "Sum over the coordinates: jnp.sum(x**2), say.")
    if jnp.iscomplexobj(value):
        refuse(name, value, "it must be real, not complex", "Take jnp.real or jnp.abs of it.")
    if not is_concrete(equation, value, t):
        return
    found, index, number = _first_bad(equation, name, grid, t)
    if bool(found):
        at = np.unravel_index(int(index) // max(1, math.prod(shape)), grid.shape)
        where = tuple(float(axis.nodes[i]) for axis, i in zip(grid.axes, at, strict=True))
        wanted = "positive and finite" if name == "diffusion" else "finite"
        cure = "Move the box, or change the function there."
        refuse(name, float(number), f"it must be {wanted} on the grid, and is not at x = {where}, t = {t}", cure)


@eqx.filter_jit
def _first_bad(equation: Equation, name: str, grid: Grid, t: Any) -> tuple[Array, Array, Array]:
    """Whether a value on the grid is not finite (a diffusion: not positive), its flat index, and the value."""
    values = grid.sample(lambda x: _FUNCTIONS[name](equation, x, t)).ravel()
    bad = ~jnp.isfinite(values) | (values <= 0 if name == "diffusion" else False)
    index = jnp.argmax(bad)
    return jnp.any(bad), index, values[index]


_FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "potential": lambda equation, x, t: equation.energy(x, t),
    "diffusion": lambda equation, x, t: equation.diffusions(x),
    "force": lambda equation, x, t: equation.force(x, t),
    "score": lambda equation, x, t: equation.score(x, t),
}


def _check_periodic(equation: Equation, grid: Grid, t: Any) -> None:
    for i, axis in enumerate(grid.axes):
        if not isinstance(axis, Periodic) or not is_concrete(equation, t):
            continue
        jump, scale = _jump(equation, grid, i, t)
        if jump > 1e-6 * (1 + scale):
            name, cure = "potential", "Give the push round the ring as force=..., or use fp.Line."
            if isinstance(equation, ScoreHamiltonian):
                name, cure = "score", "Use fp.Line."
            refuse(name, float(jump), f"it must be periodic on {axis!r}, and jumps there by this much", cure)


@eqx.filter_jit
def _jump(equation: Equation, grid: Grid, i: int, t: Any) -> tuple[Array, Array]:
    """The largest jump of the potential (or the score) from one end of axis i to the other, and the range of its
    values there."""
    ends = jnp.asarray([grid.axes[i].lower, grid.axes[i].upper], dtype=float)
    positions = tuple(ends if j == i else x for j, x in enumerate(grid.nodes))
    given = equation.score if isinstance(equation, ScoreHamiltonian) else equation.energy
    values = sample_product(lambda x: given(x, t), positions)
    return jnp.max(jnp.abs(jnp.diff(values, axis=i))), jnp.ptp(values)


def _floating(name: str, values: Any) -> Array:
    if is_concrete(values):
        check_numbers(name, values, "it must hold numbers", "Give a function of x, or an array of numbers.", waves=True)
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)
