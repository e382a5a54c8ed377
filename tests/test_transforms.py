"""Transforms: jit, vmap, grad and jvp through the public functions, against finite
differences and exact gradients.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import exact
import fpsolve as fp
from measure import check_close

LINE = fp.Grid(fp.Line(-6.0, 6.0, 40))
WALLS = fp.Grid(fp.Reflecting(-1.5, 1.5, 24))
STEP = 1e-4


def differences(f, value):
    """df/dvalue by central differences, extrapolated once: error of order STEP^4."""
    at = lambda h: (f(value + h) - f(value - h)) / (2 * h)
    return (4 * at(STEP / 2) - at(STEP)) / 3


def mean_square(values, grid):
    return grid.integrate(values[-1] * grid.points[..., 0] ** 2)


def run(equation, grid, start=None, times=(0.4,), **options):
    start = grid.density(fp.Gaussian(0.4, 0.3)) if start is None else start
    return fp.evolve(
        equation, start, jnp.asarray(times), grid=grid, throw=False, **options
    ).values


def push(x, f):
    return f * jnp.cos(x)


VOLUMES = fp.ScharfetterGummel()
SPECTRAL = fp.Spectral()
MOVING = lambda a: fp.FokkerPlanck(Partial(swing, a=a), 0.8)


def swing(x, t, a):
    return a * (x[0] - jnp.sin(t)) ** 2 / 2


FORCED = lambda a: fp.FokkerPlanck(fp.Harmonic(1.0), 0.8, Partial(push, f=a))
RUNS = {
    "stiffness, volumes": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic(a), 0.8), WALLS, scheme=VOLUMES
    ),
    "stiffness, spectral": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic(a), 0.8), LINE, scheme=SPECTRAL
    ),
    "stiffness, dense": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic(a), 0.8), LINE, scheme=SPECTRAL, method=fp.Dense()
    ),
    "diffusion, volumes": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic(1.0), a), WALLS, scheme=VOLUMES
    ),
    "force, poisson sum": lambda a: run(
        FORCED(a), WALLS, scheme=VOLUMES, method=fp.Uniformization()
    ),
    "force, dense": lambda a: run(FORCED(a), WALLS, scheme=VOLUMES, method=fp.Dense()),
    "start": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic()), WALLS, WALLS.density(fp.Gaussian(0.2 * a, 0.3))
    ),
    "time": lambda a: run(
        fp.FokkerPlanck(fp.Harmonic()),
        WALLS,
        times=jnp.stack([0.1 * a, 0.3 * a]),
        scheme=VOLUMES,
    ),
    "moving, spectral": lambda a: run(
        MOVING(a), LINE, scheme=SPECTRAL, method=fp.Magnus(steps=8)
    ),
    "moving, volumes": lambda a: run(
        MOVING(a), WALLS, scheme=VOLUMES, method=fp.Magnus(steps=8)
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_evolve_is_differentiated_and_compiled_and_mapped(name):
    grid = LINE if name.endswith(("spectral", "stiffness, dense")) else WALLS
    f = lambda a: mean_square(RUNS[name](a), grid)
    a = jnp.asarray(1.1)
    value, slope = jax.jit(jax.value_and_grad(f))(a)
    check_close(slope, differences(jax.jit(f), a), 1e-6, f"the gradient ({name})")
    check_close(
        jax.jvp(f, (a,), (jnp.ones(()),)),
        (value, slope),
        1e-9,
        f"the forward derivative ({name})",
    )
    many = jax.jit(jax.vmap(f))(jnp.stack([a, 1.2 * a]))
    check_close(many[0], value, 1e-12, f"the first of a batch ({name})")
    assert float(abs(many[1] - many[0])) > 1e-4 * float(abs(many[0]))


@pytest.mark.parametrize("parameter", ["diffusion", "mean", "center"])
def test_the_gradient_of_a_density_is_the_exact_one(parameter):
    system = exact.Oscillator(
        *(jnp.asarray(v) for v in ([[1.3]], [0.2], 0.8, [1.0], [[0.4]]))
    )
    grid = system.grid(56)

    def density(value):
        changed = eqx.tree_at(lambda s: getattr(s, parameter), system, value)
        return run(
            changed.equation,
            grid,
            changed.density(grid, 0.0),
            scheme=SPECTRAL,
            tol=1e-11,
        )[-1]

    value = getattr(system, parameter)
    slope = jax.jvp(density, (value,), (jnp.ones_like(value),))[1]
    check_close(
        slope,
        exact.gradient(system, parameter, grid, 0.4),
        1e-8,
        f"d p / d {parameter}",
    )


def test_a_gradient_with_respect_to_every_value_of_the_start():
    start = WALLS.density(fp.Gaussian(0.4, 0.3))
    f = lambda p: mean_square(
        run(fp.FokkerPlanck(fp.Harmonic()), WALLS, p, scheme=VOLUMES), WALLS
    )
    slope = jax.grad(f)(start)
    direction = jnp.cos(3 * WALLS.nodes[0])
    check_close(
        slope @ direction,
        differences(lambda h: f(start + h * direction), 0.0),
        1e-6,
        "the gradient",
    )


LEVELS = {
    "stiffness, volumes": lambda a: fp.spectrum(
        fp.FokkerPlanck(fp.Harmonic(a)), WALLS, 3, scheme=VOLUMES
    ),
    "barrier, spectral": lambda a: fp.spectrum(
        fp.FokkerPlanck(fp.DoubleWell(a)), LINE, 3, scheme=SPECTRAL
    ),
    "diffusion, volumes": lambda a: fp.spectrum(
        fp.FokkerPlanck(fp.DoubleWell(1.0), a), WALLS, 3, scheme=VOLUMES
    ),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_differentiated_and_compiled_and_mapped(name):
    f = lambda a: LEVELS[name](a).values[1:].sum()
    a = jnp.asarray(0.9)
    value, slope = jax.jit(jax.value_and_grad(f))(a)
    check_close(slope, differences(jax.jit(f), a), 1e-6, f"the gradient ({name})")
    check_close(
        jax.jvp(f, (a,), (jnp.ones(()),)),
        (value, slope),
        1e-9,
        f"the forward derivative ({name})",
    )
    check_close(
        jax.jit(jax.vmap(f))(jnp.stack([a, 1.1]))[0],
        value,
        1e-12,
        f"the first of a batch ({name})",
    )


class Tally(eqx.Module):
    """A harmonic well that reports each call from Python: every trace makes one, a
    compiled run none.
    """

    stiffness: jax.Array
    report: object = eqx.field(static=True)

    def __call__(self, x):
        self.report(1)
        return self.stiffness * jnp.sum(x**2) / 2


@pytest.mark.parametrize("function", ["evolve", "spectrum"])
def test_a_sweep_over_a_parameter_compiles_once(function):
    start = WALLS.density(fp.Gaussian(0.4, 0.3))
    calls = []

    @eqx.filter_jit
    def answer(potential, start):
        if function == "evolve":
            return run(fp.FokkerPlanck(potential), WALLS, start)
        return fp.spectrum(fp.FokkerPlanck(potential), WALLS, 2).values

    sizes, answers = [], []
    for stiffness in np.linspace(1.0, 2.0, 5):
        answers.append(answer(fp.Harmonic(jnp.asarray(stiffness)), start))
        answer(Tally(jnp.asarray(stiffness), calls.append), start)
        sizes.append(len(calls))
    assert sizes[0] > 0 and len(set(sizes)) == 1, (
        f"the potential was traced again: {sizes} calls"
    )
    assert len({float(jnp.sum(values**2)) for values in answers}) == 5


@pytest.mark.parametrize("name", ["static", "moving"])
def test_a_sweep_from_python_compiles_its_programs_once(name, caplog):
    def sweep(values):
        for a in values:
            equation = (
                fp.FokkerPlanck(fp.Harmonic(a), 0.8)
                if name == "static"
                else MOVING(jnp.asarray(a))
            )
            fp.evolve(
                equation,
                WALLS.density(fp.Gaussian(0.4, 0.3)),
                [0.4],
                grid=WALLS,
                scheme=VOLUMES,
                tol=1e-6,
            )

    sweep([1.0])
    with jax.log_compiles(), caplog.at_level("WARNING"):
        sweep([1.1, 1.2, 1.3])
    compiled = [
        record.getMessage()
        for record in caplog.records
        if "Compiling" in record.getMessage()
    ]
    heavy = [
        message
        for message in compiled
        if any(part in message for part in ("_run", "fixed_steps", "conclude"))
    ]
    assert not heavy, heavy
