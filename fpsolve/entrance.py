"""What every door asks before it computes anything: is the question well posed, and which scheme suits it.

Values are looked at only where they are concrete; under `jit`, `vmap` and `grad` shapes are checked, the run reports.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .core.checks import check_finite_number, check_numbers, is_concrete, refuse
from .equation import FokkerPlanck, Schrodinger, divide_root
from .grid import Gaussian, Grid, Periodic, Reflecting, product_points, sample
from .method.base import Picture
from .scheme import ScharfetterGummel, Scheme, Spectral
from .scheme.base import Equation

UNRESOLVED = (
    1e-5  # the size of H sqrt(pi), or of the wave's shortest tenth, from which finite volumes are the better choice
)
LARGEST_SPECTRAL = 512


class Choice(NamedTuple):
    """A scheme with the reason for it, the picture to run in, and what the methods must know."""

    scheme: Scheme
    why: str
    picture: Picture
    reversible: bool
    wave_fits: bool


def check_equation(equation: Any, grid: Any, t: Any = 0.0) -> Grid:
    """Refuse what is no equation, no grid, or a potential or force that does not fit or is not finite on the grid."""
    if not isinstance(equation, FokkerPlanck | Schrodinger):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), ..."
        refuse("equation", equation, "it must be an equation", cure)
    if not isinstance(grid, Grid):
        refuse("grid", grid, "it must be an fp.Grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    shapes = () if callable(equation.diffusion) else (equation.diffusion.shape, getattr(equation, "given", ()))
    if any(shape not in ((), (grid.ndim,)) for shape in shapes):
        cure = "Give one number, or one an axis."
        refuse("diffusion", equation.diffusion, f"the grid has {_dimensions(grid)}", cure)
    _check_function("potential", equation.energy, grid, t, ())
    _check_function("diffusion", lambda x, t: equation.diffusions(x), grid, t, (grid.ndim,))
    if callable(equation.diffusion) and is_concrete(equation):
        values = np.asarray(grid.sample(equation.diffusions))
        if not np.all(values > 0):
            refuse("diffusion", float(values.min()), "it must be positive everywhere on the grid", "Raise it there.")
    if isinstance(equation, FokkerPlanck) and equation.force is not None:
        _check_function("force", equation.force, grid, t, (grid.ndim,))
    _check_periodic(equation, grid, t)
    return grid


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


def initial_field(equation: Equation, grid: Grid, initial: Any, wick: float) -> Array:
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
    field = _floating("initial", initial if array else grid.sample(initial))
    if field.shape != grid.shape:
        cure = "Give a function of x, or an array of the grid's shape."
        refuse("initial.shape", field.shape, f"it must be the grid's shape, {grid.shape}", cure)
    if is_concrete(field):
        if not bool(jnp.all(jnp.isfinite(field))):
            refuse("initial", "NaN or infinity", "every value must be finite", "Look at the wave near singular points.")
        if not bool(jnp.any(field != 0)):
            refuse("initial", 0.0, "the wave is zero everywhere", "Move the box to where the wave is.")
    return field


def choose_scheme(equation: Equation, grid: Grid, scheme: Any, field: Array, times: Array, tol: float) -> Choice:
    """The scheme asked for, checked, or the one that suits; with the picture it runs in."""
    process = isinstance(equation, FokkerPlanck)
    reversible = process and equation.irreversible_because(grid) is None
    fits = reversible and _wave_fits(equation, grid, field, tol)
    if scheme is not None:
        check_scheme(scheme, equation, grid)
        why = "as asked"
    else:
        scheme, why = _suitable(equation, grid, reversible, fits, field, times)
    why = f"{type(scheme).__name__}, {why}"
    if not process:
        return Choice(scheme, why, "wave", False, True)
    if isinstance(scheme, Spectral):
        if reversible and not fits:
            why += "; the initial density is too wide for its wave, so the density itself is evolved"
        return Choice(scheme, why, "wave" if fits else "density", fits, fits)
    return Choice(scheme, why, "density", reversible, fits)


def check_scheme(scheme: Any, equation: Equation, grid: Grid) -> None:
    """Refuse what is no scheme, or one that cannot take this equation on this grid."""
    if not isinstance(scheme, Scheme):
        refuse(
            "scheme", scheme, "it must be a scheme", "Give fp.Spectral(), fp.ScharfetterGummel() or fp.SquareRoot()."
        )
    scheme.check(equation, grid)


def _suitable(
    equation: Equation, grid: Grid, reversible: bool, fits: bool, field: Array, times: Array
) -> tuple[Scheme, str]:
    volumes = ScharfetterGummel()
    if any(isinstance(axis, Reflecting) for axis in grid.axes):
        return volumes, "because an axis is Reflecting"
    if max(grid.shape) > LARGEST_SPECTRAL:
        return volumes, f"because an axis has more than {LARGEST_SPECTRAL} nodes"
    if not isinstance(equation, FokkerPlanck):
        return Spectral(), "because the grid has a basis on every axis"
    if not reversible:
        return volumes, "because the process is not reversible"
    if not fits:
        return volumes, "because the initial density is too wide for its wave"
    if not is_concrete(equation, field, times):
        return (
            Spectral(),
            "because the grid has a basis on every axis (nothing could be measured under a transformation)",
        )
    moments = np.linspace(0, float(times[-1]), 3) if equation.moves else np.zeros(1)
    size = max(float(_unresolved(equation, grid, field, t)) for t in moments)
    if size < UNRESOLVED:
        return Spectral(), f"because the grid resolves sqrt(pi) and the initial wave to {size:.0e}"
    return volumes, f"because Spectral resolves sqrt(pi) and the initial wave only to {size:.0e} on this grid"


@eqx.filter_jit
def _unresolved(equation: FokkerPlanck, grid: Grid, field: Array, t: Any) -> Array:
    """The worse of two: the rate sqrt(pi) |H sqrt(pi)| at which the Gibbs density would leak, and the share of the
    initial wave in its shortest tenth."""
    dtype = field.dtype
    operator = Spectral().build(equation, grid, t, dtype, True)
    root = jnp.exp(equation.log_root(grid, t)).astype(dtype)
    defect = grid.integrate(root * jnp.abs(operator.hamiltonian(root)))
    wave = divide_root(field, equation.log_root(grid, 0.0).astype(dtype))
    share = jnp.zeros((), dtype)
    for i, axis in enumerate(grid.axes):
        spectrum = jnp.abs(jnp.fft.fft(wave, axis=i))
        high = (jnp.abs(jnp.fft.fftfreq(axis.n)) > 0.45).reshape(-1, *[1] * (grid.ndim - 1 - i))
        uniform = np.ptp(axis.weights) < 1e-9 * axis.length
        share = jnp.maximum(share, jnp.max(jnp.where(high, spectrum, 0)) / jnp.max(spectrum)) if uniform else share
    worst = jnp.maximum(defect, share)
    return jnp.where(jnp.isfinite(worst), worst, jnp.inf)


def _wave_fits(equation: Any, grid: Grid, field: Array, tol: float) -> bool:
    """Whether rounding of p / sqrt(pi) stays below the tolerance; taken for granted where nothing can be looked at."""
    if not is_concrete(equation, field):
        return True
    wave = divide_root(field, equation.log_root(grid, 0.0).astype(field.dtype))
    size = float(jnp.sqrt(grid.integrate(wave**2)))
    return bool(np.isfinite(size)) and 64 * float(jnp.finfo(field.dtype).eps) * size < tol


def _probe(name: str, f: Any, grid: Grid) -> Any:
    """f at one point of the grid, or a refusal. The point is numpy's, where a missing coordinate is an error."""
    point = np.asarray([axis.nodes[0] for axis in grid.axes], dtype=jnp.zeros(()).dtype)
    try:
        with np.errstate(all="ignore"):
            try:
                return f(point)
            except AttributeError:  # what only JAX's arrays have, such as x.at
                return f(jnp.asarray(point))
    except (IndexError, TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        allowed = f"it must take a point of the grid's {_dimensions(grid)}, and fails there ({error})"
        refuse(f"{name} at x", tuple(point.tolist()), allowed, "Use as many coordinates as the grid has axes.")


def _dimensions(grid: Grid) -> str:
    return f"{grid.ndim} dimension{'s' if grid.ndim > 1 else ''}"


def _check_function(name: str, f: Any, grid: Grid, t: Any, shape: tuple[int, ...]) -> None:
    """Call f(x, t) once, which refuses a coordinate that the grid lacks, then look at every value."""
    value = _probe(name, lambda x: f(x, t), grid)
    if jnp.shape(value) != shape:
        what = "a scalar" if shape == () else f"of shape {shape}"
        refuse(name, jnp.shape(value), f"f(x) must be {what}", "Sum over the coordinates: jnp.sum(x**2), say.")
    if jnp.iscomplexobj(value):
        refuse(name, value, "it must be real, not complex", "Take jnp.real or jnp.abs of it.")
    if not is_concrete(value, t):
        return
    values = np.asarray(grid.sample(lambda x: f(x, t)))
    bad = ~np.isfinite(values)
    if bad.any():
        index = np.unravel_index(int(np.argmax(bad)), values.shape)
        where = tuple(float(axis.nodes[i]) for axis, i in zip(grid.axes, index, strict=False))
        cure = "Move the box, or write the function so that it is finite there."
        refuse(name, float(values[index]), f"it must be finite on the grid, and is not at x = {where}, t = {t}", cure)


def _check_periodic(equation: Equation, grid: Grid, t: Any) -> None:
    for i, axis in enumerate(grid.axes):
        if not isinstance(axis, Periodic) or not is_concrete(equation, t):
            continue
        ends = [jnp.asarray([axis.lower, axis.upper], dtype=float) if j == i else x for j, x in enumerate(grid.nodes)]
        values = np.asarray(sample(lambda x: equation.energy(x, t), product_points(tuple(ends))))
        jump = float(np.max(np.abs(np.diff(values, axis=i))))
        if jump > 1e-6 * (1 + float(np.ptp(values))):
            cure = "Give the push round the ring as force=..., or use fp.Line."
            refuse("potential", jump, f"it must be periodic on {axis!r}, and jumps there by this much", cure)


def _floating(name: str, values: Any) -> Array:
    if is_concrete(values):
        check_numbers(name, values, "it must hold numbers", "Give a function of x, or an array of numbers.", waves=True)
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)
