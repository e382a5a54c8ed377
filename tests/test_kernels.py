"""The kernels as programs: they lower for accelerators, hold few fields, and take as
many products as they should.

Layout, cost and agreement, not truth: `test_exactness` and `test_order` say that what
they compute is right.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.core.apply_along_axis import matmul_along_axis
from fpsolve.eigen import lowest_modes
from fpsolve.operator.basis import basis, wavenumbers
from fpsolve.operator.tensor import FourierKinetic, MatrixKinetic
from fpsolve.propagate import Picture
from fpsolve.propagate.contraction import contract, sample_potential_terms
from fpsolve.step.interval import integrate_interval_evenly
from fpsolve.step.trajectory import run_static
from measure import discretise

PLATFORMS = ("cuda", "tpu")
VOLUMES = fp.ScharfetterGummel()
SMOOTH = fp.Spectral()
LINE = fp.Grid(fp.Line(-3.0, 3.0, 12))
PLANE = fp.Grid(fp.Line(-3.0, 3.0, 10), fp.Periodic(0.0, 1.0, 9))
WELL = fp.FokkerPlanck(fp.Harmonic())
QUANTUM = fp.Schrodinger(lambda x: jnp.sum(x**2) / 2)
PUSHED = fp.FokkerPlanck(fp.Harmonic(), force=lambda x: 0.3 + 0 * x)
MOVING = fp.FokkerPlanck(lambda x, t: jnp.sum((x - t) ** 2) / 2)

STATIC = {  # equation, scheme, grid, picture, method, Wick angle, times
    "Chebyshev, volumes": (WELL, VOLUMES, PLANE, "density", fp.Chebyshev(), 0.0, 1),
    "Chebyshev, wave": (WELL, VOLUMES, PLANE, "wave", fp.Chebyshev(), 0.0, 1),
    "Chebyshev, three times": (WELL, VOLUMES, PLANE, "wave", fp.Chebyshev(), 0.0, 3),
    "Chebyshev, spectral": (WELL, SMOOTH, PLANE, "wave", fp.Chebyshev(()), 0.0, 1),
    "Chebyshev, contracted": (
        WELL,
        SMOOTH,
        PLANE,
        "wave",
        fp.Chebyshev((4, 4)),
        0.0,
        1,
    ),
    "Chebyshev, real time": (
        QUANTUM,
        SMOOTH,
        PLANE,
        "wave",
        fp.Chebyshev(),
        np.pi / 2,
        1,
    ),
    "Uniformization": (PUSHED, VOLUMES, PLANE, "density", fp.Uniformization(), 0.0, 1),
    "Dense, symmetric": (WELL, SMOOTH, LINE, "wave", fp.Dense(), 0.0, 2),
    "Dense, general": (PUSHED, VOLUMES, LINE, "density", fp.Dense(), 0.0, 1),
    "Rational": (WELL, VOLUMES, LINE, "density", fp.Rational(), 0.0, 2),
    "Rational, ring": (
        WELL,
        VOLUMES,
        fp.Grid(fp.Periodic(0.0, 1.0, 9)),
        "density",
        fp.Rational(),
        0.0,
        1,
    ),
    "Splitting": (PUSHED, VOLUMES, PLANE, "density", fp.Splitting(), 0.0, 1),
    "Implicit": (PUSHED, VOLUMES, LINE, "density", fp.Implicit(steps=4), 0.0, 1),
    "Implicit, adaptive": (PUSHED, VOLUMES, LINE, "density", fp.Implicit(), 0.0, 1),
    "Implicit, plane": (
        PUSHED,
        VOLUMES,
        PLANE,
        "density",
        fp.Implicit(steps=4),
        0.0,
        1,
    ),
}


def check_lowers(run: Any, dtype: Any, *arguments: Any) -> None:
    """`run` exports as one program for all accelerators, which is told on which of them
    it runs.
    """
    arguments = tuple(jnp.asarray(a, dtype) for a in arguments)
    exported = jax.export.export(jax.jit(run), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS
    assert "_platform_index" in exported.mlir_module()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", STATIC)
def test_every_method_lowers_for_accelerators(name: str, dtype: str) -> None:
    equation, scheme, grid, picture, method, wick, count = STATIC[name]
    problem = discretise(equation, scheme, grid, picture, dtype, wick)
    if getattr(method, "ranks", None):
        made = contract(
            problem.operator,
            method.ranks,
            grid.nodes,
            lambda places: sample_potential_terms(equation, places),
        )
        problem = eqx.tree_at(
            lambda p: p.operator.contraction,
            problem,
            made,
            is_leaf=lambda leaf: leaf is None,
        )
    state = jnp.result_type(dtype, jnp.complex64) if wick else jnp.dtype(dtype)
    run = lambda field, times, tol: run_static(
        problem, method, field.astype(state), times, tol
    )
    check_lowers(run, dtype, np.ones(grid.shape), 1.0 + np.arange(count), 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scheme", [VOLUMES, SMOOTH], ids=["volumes", "spectral"])
def test_moving_steps_lower_for_accelerators(scheme: Any, dtype: str) -> None:
    problem = discretise(MOVING, scheme, LINE, "wave")
    method = fp.Magnus(steps=8)
    run = lambda field, start, end: integrate_interval_evenly(
        method, problem, field, start, end, 1e-5
    )[:3]
    check_lowers(run, dtype, np.ones(LINE.shape), 0.0, 1.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["dense", "tensor", "multigrid"])
def test_modes_lower_for_accelerators(name: str, dtype: str) -> None:
    scheme = SMOOTH if name == "tensor" else VOLUMES
    run = lambda t, tol: lowest_modes(
        name, scheme.build(WELL, PLANE, t, jnp.dtype(dtype), True), 2, 5, tol
    )
    check_lowers(run, dtype, 0.0, 1e-4)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("kind", [fp.Line, fp.Absorbing])
@pytest.mark.parametrize("n", [16, 17])
def test_transforms_and_matrices_are_the_same_kinetic_energy(
    n: int, kind: Any, dtype: Any
) -> None:
    axis = kind(-1.0, 2.0, n)
    matrix = 0.7 * basis(axis).kinetic(axis)
    largest = 0.7 * basis(axis).derivative_norm ** 2
    plain = MatrixKinetic(jnp.asarray(matrix, dtype), jnp.asarray(largest, dtype))
    fast = FourierKinetic(
        jnp.asarray(0.7 * wavenumbers(axis) ** 2, dtype), n, kind is fp.Absorbing
    )
    field = np.random.default_rng(0).normal(size=(3, n, 4))
    waves = (
        jnp.asarray(field, dtype),
        jnp.asarray(field + 1j * np.sin(field), jnp.result_type(dtype, jnp.complex64)),
    )
    images = jax.jit(
        lambda term: (term.matrix, *(term.hamiltonian(wave, 0, 2) for wave in waves))
    )
    for a, b, wanted in zip(
        images(plain), images(fast), (dtype, dtype, waves[1].dtype), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype == wanted
        assert np.max(np.abs(a - b)) < (
            1e-13 if dtype == jnp.float64 else 1e-5
        ) * np.max(np.abs(a))
    assert abs(float(fast.largest) / largest - 1) < 4 * np.finfo(dtype).eps
    assert abs(np.linalg.eigvalsh(matrix)[-1] / largest - 1) < 1e-12


@pytest.mark.parametrize("kind", [fp.Line, fp.Absorbing])
def test_a_long_axis_builds_no_matrix(kind: Any, monkeypatch: Any) -> None:
    grid = fp.Grid(kind(-12.0, 12.0, 2048))
    monkeypatch.setattr(
        "fpsolve.operator.spectral.basis",
        lambda axis: pytest.fail("the matrices of a long axis"),
    )
    SMOOTH.check(WELL, grid)
    made = jax.jit(lambda t: SMOOTH.build(WELL, grid, t, jnp.float64, True))(0.0)
    assert isinstance(made.terms[0], FourierKinetic)
    assert max(leaf.size for leaf in jax.tree.leaves(made)) <= grid.size + 1
    defect = np.asarray(
        jax.jit(lambda made: made.hamiltonian(jnp.exp(made.log_sqrt_pi)))(made)
    )
    assert np.max(np.abs(defect)) < 1e-9


def test_a_moving_problem_on_axes_that_take_the_transform() -> None:
    """The frames of a moving wave ask such axes for their matrices."""
    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2 + x[1] ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.0, 7.0, 192), fp.Line(-6.0, 6.0, 40))
    assert isinstance(
        fp.Spectral().build(equation, grid, 0.0, jnp.float64, True).terms[0],
        FourierKinetic,
    )
    found = fp.evolve(
        equation, fp.Gaussian([0.0, 0.0], 1.0), [0.5], grid=grid, scheme=fp.Spectral()
    ).values[0]
    mean = 0.5 - 1 + float(jnp.exp(-0.5))
    exact = grid.sample(fp.Gaussian([mean, 0.0], 1.0))
    assert float(grid.integrate(jnp.abs(found - exact))) < 1e-7


def test_a_real_matrix_takes_complex_fields_on_every_axis() -> None:
    draw = np.random.default_rng(0).normal
    matrix = draw(size=(5, 4))
    fields = [
        draw(size=shape) + 1j * draw(size=shape)
        for shape in ((4, 2, 6), (3, 4, 6), (3, 2, 4))
    ]
    images = jax.jit(
        lambda fields: [
            matmul_along_axis(i, jnp.asarray(matrix), u) for i, u in enumerate(fields)
        ]
    )(fields)
    for i, (field, image) in enumerate(zip(fields, images, strict=True)):
        expected = np.moveaxis(np.tensordot(matrix, field, (1, i)), 0, i)
        assert np.max(np.abs(np.asarray(image) - expected)) < 1e-14


@pytest.mark.parametrize("kind", [fp.Line, fp.Periodic, fp.Absorbing, fp.Legendre])
def test_the_energy_is_the_square_of_the_factors(kind: Any) -> None:
    """<psi|H|psi> = sum_i |A_i psi|^2, on every kind of ends; batches one by one."""
    grid = fp.Grid(kind(-1.0, 1.5, 7), fp.Line(-1.0, 1.0, 4))
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2 + x[0] * x[1], 0.8)
    field = np.random.default_rng(0).normal(size=(2, *grid.shape))

    @jax.jit
    def look(field: Any) -> Any:
        made = VOLUMES.build(equation, grid, 0.0, jnp.float64, True)
        return made.hamiltonian(field), made.factor(field[1])

    image, (first, second) = look(field)
    w, v = (axis.weights for axis in grid.axes)
    energy = np.sum(w[:, None] * v * field[1] * np.asarray(image)[1])
    squares = np.sum(v * np.asarray(first) ** 2) + np.sum(
        w[:, None] * np.asarray(second) ** 2
    )
    assert abs(energy / squares - 1) < 1e-13
    assert np.max(np.abs(look(field[::-1])[0][0] - image[1])) == 0


def test_products_grow_as_the_square_root_of_time() -> None:
    grid = fp.Grid(fp.Line(-4.0, 4.0, 96))
    times = np.asarray([2.0, 8.0, 32.0, 128.0])
    problem = discretise(WELL, VOLUMES, grid, "wave")
    run = jax.jit(
        lambda t: (
            run_static(
                problem, fp.Chebyshev(), jnp.ones(grid.shape), t, jnp.asarray(1e-8)
            ).calls
        )
    )
    calls = [float(run(times[i : i + 1])) for i in range(len(times))]
    slope = np.polyfit(np.log(times), np.log(calls), 1)[0]
    assert abs(slope - 0.5) <= 0.05, (slope, calls)


@pytest.mark.parametrize("picture", [Picture.GIBBS_WAVE, Picture.DENSITY])
def test_chebyshev_holds_at_most_eight_fields(picture: Any) -> None:
    """Arguments, results and temporaries of the compiled program, all alive at once at
    worst, less the operator's.
    """
    grid = fp.Grid(fp.Line(-2.2, 2.2, 512), fp.Line(-3.6, 3.6, 512))
    build = lambda t: VOLUMES.build(WELL, grid, t, jnp.float64, True)

    def program(made: Any, field: Any, times: Any, tol: Any) -> Any:
        method = fp.Chebyshev()
        return method.apply(method.prepare(made, picture), field, times, tol, 0.0)

    number = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float64)
    made = jax.eval_shape(build, number())
    compiled = (
        jax.jit(program).lower(made, number(*grid.shape), number(1), number()).compile()
    )
    used = compiled.memory_analysis()
    total = (
        used.argument_size_in_bytes
        + used.output_size_in_bytes
        + used.temp_size_in_bytes
    )
    coefficients = sum(leaf.size for leaf in jax.tree.leaves(made)) / grid.size
    assert total / (8 * grid.size) - coefficients <= 8
