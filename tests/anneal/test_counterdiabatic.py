"""Counterdiabatic drive (theorem T20): the velocity, the antisymmetric operator, and
transport at any speed.

Exact: antisymmetry, mass, d_t sqrt(pi) + G sqrt(pi) = 0, a start at Gibbs. Truth:
velocities in closed form. Agreement: the same equation by another integrator. Controls:
N8 (1.1 v) and N13 (sums from one side).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from jaxtyping import Array

import fpsolve as fp
from fpsolve.anneal import counterdiabatic_step
from fpsolve.anneal import velocity as module
from fpsolve.anneal.counterdiabatic import evolve_counterdiabatic
from fpsolve.anneal.velocity import velocity
from fpsolve.operator.base import dense
from fpsolve.operator.flow_edges import FlowEdges
from fpsolve.path import Driven
from measure import check_order
from refusals import GRID, MOVING, OSCILLATOR, PUSHED, refused

TOTAL = 0.05
LINE = fp.Grid(fp.Line(-3.5, 3.5, 96))
SHORT = fp.Grid(fp.Line(-3.0, 3.0, 40))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 48))
MIXED = fp.Grid(
    fp.Line(-4.0, 4.0, 9), fp.Periodic(0.0, 1.0, 6), fp.Reflecting(0.0, 1.0, 5)
)
PLANE = fp.Grid(fp.Line(-3.2, 3.2, 32), fp.Line(-3.0, 3.0, 32))


def split(lam: Any) -> Any:
    """One well becomes a tilted pair, in one dimension or in two."""
    early = lambda x: 2 * (x[0] + 1) ** 2
    late = lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
    return lambda x: (
        (1 - lam) * early(x)
        + lam * late(x)
        + (2 + lam) * jnp.sum((x[1:] + 0.3 * lam * x[0]) ** 2)
    )


SPLIT = fp.FokkerPlanck(Driven(split, lambda t: t / TOTAL))
SWUNG = fp.FokkerPlanck(Driven(split, lambda t: jnp.sin(10 * jnp.pi * t) ** 2))
TURNED = fp.FokkerPlanck(lambda x, t: 2 * jnp.cos(x[0] - 3 * t))


def apart(grid: fp.Grid, p: Any, q: Any) -> float:
    """The total variation distance."""
    return float(grid.integrate(jnp.abs(p - q)) / 2)


def some_flow(grid: fp.Grid, seed: int = 0) -> FlowEdges:
    """Any velocity relative to any density."""
    draw = np.random.default_rng(seed).normal
    faces = []
    for i, axis in enumerate(grid.axes):
        shape = list(grid.shape)
        shape[i] = len(axis.spacings)
        faces.append(jnp.asarray(draw(size=shape)))
    return FlowEdges(grid, tuple(faces), jnp.asarray(draw(size=grid.shape)))


@eqx.filter_jit
def two_pictures(flow: FlowEdges, density: Array) -> tuple[Array, Array]:
    """div J, and sqrt(pi) G psi - psi d_t sqrt(pi) with d_t sqrt(pi) = -G sqrt(pi)."""
    root = jnp.exp(flow.log_sqrt_pi)
    wave = density / root
    return flow.density(density), root * flow.wave(wave) + wave * flow.wave(root)


@pytest.mark.parametrize("grid", [LINE, RING, MIXED], ids=["line", "ring", "mixed"])
def test_any_flow_is_antisymmetric_and_keeps_mass(grid: fp.Grid) -> None:
    """Exact: <phi, G psi> = -<G phi, psi>, div J sums to zero, and the two pictures are
    one operator.
    """
    flow = some_flow(grid)
    whole = np.asarray(eqx.filter_jit(lambda flow: dense(flow.wave, grid, float))(flow))
    assert np.max(np.abs(whole + whole.T)) <= 5e-16 * np.max(np.abs(whole))
    assert np.max(np.abs(whole + whole.T + 0.1 * np.abs(whole))) > 1e-3 * np.max(
        np.abs(whole)
    )
    density = jnp.asarray(np.random.default_rng(1).uniform(size=grid.shape))
    divergence, twin = two_pictures(flow, density)
    assert abs(float(grid.integrate(divergence))) <= 1e-14 * float(
        grid.integrate(jnp.abs(divergence))
    )
    np.testing.assert_allclose(
        divergence, twin, rtol=0, atol=1e-12 * float(jnp.max(jnp.abs(divergence)))
    )


PLACES = [(SPLIT, LINE), (TURNED, RING), pytest.param(SPLIT, PLANE)]


@pytest.mark.parametrize(("equation", "grid"), PLACES, ids=["line", "ring", "plane"])
def test_the_velocity_carries_the_root_of_the_gibbs_density(
    equation: fp.FokkerPlanck, grid: fp.Grid
) -> None:
    """Exact: d_t sqrt(pi) + G sqrt(pi) = 0, and w d_t pi is minus what leaves each
    cell.
    """
    found = velocity(equation, grid, 0.02)
    assert float(found.residual) <= 1e-14
    assert found.nodes.shape == (grid.ndim, *grid.shape)
    gained = grid.weights * found.rate * jnp.exp(2 * found.operator.log_sqrt_pi)
    left = jnp.zeros(grid.shape)
    for i, (axis, flux) in enumerate(zip(grid.axes, found.flux, strict=True)):
        lower, upper = axis.node_faces(flux, i)
        left = left + upper - lower
    assert float(jnp.sum(jnp.abs(gained + left))) <= 1e-13 * float(
        jnp.sum(jnp.abs(gained))
    )


def one_sided(grid: fp.Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """Control N13: the flux summed from the lower end through to the upper."""
    added = grid.axes[0].weights[0] * rate * jnp.exp(2 * log_sqrt_pi)
    return (-jnp.cumsum(added)[:-1] * jnp.exp(-log_sqrt_pi[:-1] - log_sqrt_pi[1:]),)


@pytest.mark.parametrize("driven", [False, True])
def test_sums_from_one_side_are_refused(
    driven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control N13: the rounding of one-sided sums stands where the density has
    vanished, and the residual tells.
    """
    grid = fp.Grid(fp.Line(-3.5, 3.5, 95))
    tilted = fp.FokkerPlanck(lambda x, t: 3 * (x[0] ** 2 - 1) ** 2 - 10 * t * x[0])
    monkeypatch.setattr(module, "face_velocity", one_sided)
    monkeypatch.setattr(counterdiabatic_step, "face_velocity", one_sided)
    found = (
        evolve_counterdiabatic(tilted, grid, tilted.gibbs(grid), [TOTAL], 1e-6)
        if driven
        else velocity(tilted, grid, 0.02)
    )
    assert not float(found.residual) < 0.1


class Shape(eqx.Module):
    """A density that moves with `speed` and widens by l = 1 + `growth` t; or, with
    `mixing` 1, the geometric path from N(-1, 1/2) to N(1, 1), whose precision is 2 - t
    and whose mean is (3 t - 2) / (2 - t).
    """

    speed: Array
    growth: Array
    mixing: Array

    def __call__(self, x: Array, t: Any) -> Array:
        y = (x[0] - self.speed * t) / (1 + self.growth * t)
        path = (1 - t) * (x[0] + 1) ** 2 + t * (x[0] - 1) ** 2 / 2
        return self.mixing * path + (1 - self.mixing) * (y**2 / 2 + y**4 / 40)

    def velocity(self, x: Array, t: float) -> Array:
        """c + (x - c t) l' / l, or m' + (s' / s) (x - m)."""
        if self.mixing:
            return 4 / (2 - t) ** 2 + (x - (3 * t - 2) / (2 - t)) / (2 * (2 - t))
        return self.speed + (x - self.speed * t) * self.growth / (1 + self.growth * t)


@pytest.mark.parametrize(
    "shape",
    [(1.5, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)],
    ids=["moves", "widens", "mixes"],
)
def test_velocities_in_closed_form(shape: tuple[float, ...]) -> None:
    """Truth, of order 2 in the cell width, in the norm of the density."""
    moved = Shape(*map(jnp.asarray, shape))
    equation, sizes, errors, t = fp.FokkerPlanck(moved), [24, 32, 48, 64], [], 0.3
    for n in sizes:
        grid = fp.Grid(fp.Line(-7.0, 7.0, n))
        found = velocity(equation, grid, t)
        error = np.asarray(found.nodes[0] - moved.velocity(grid.nodes[0], t))
        density = np.exp(2 * np.asarray(found.operator.log_sqrt_pi))
        errors.append(
            float(np.sqrt(np.sum(density * error**2) * grid.axes[0].weights[0]))
        )
    check_order(errors, sizes)


def test_round_a_ring_the_velocity_is_a_gradient() -> None:
    """Truth: pi turning at speed c has v = c - C / pi of least energy, whose integral
    round the ring is zero.
    """
    found = velocity(TURNED, RING, 0.1)
    (axis,) = RING.axes
    inverse = np.exp(2 * np.cos(axis.faces - 0.3))
    exact = 3 - 3 * inverse / np.mean(inverse)
    np.testing.assert_allclose(found.faces[0], exact, atol=0.03)
    couplings = (
        fp.ScharfetterGummel().build(TURNED, RING, 0.1, float, True).couplings[0]
    )
    falls = found.faces[0] / couplings
    assert abs(float(jnp.sum(falls))) <= 1e-12 * float(jnp.sum(jnp.abs(falls)))


def plain(equation: fp.FokkerPlanck, grid: fp.Grid, start: Array) -> np.ndarray:
    """Transport without a drive: exponentials of L at the middle of 32 steps."""
    scheme = fp.ScharfetterGummel()
    generator = jax.jit(
        lambda t: dense(
            scheme.build(equation, grid, t, float, True).generator, grid, float
        )
    )
    density = np.asarray(start)
    for k in range(32):
        density = (
            scipy.linalg.expm(
                TOTAL / 32 * np.asarray(generator((k + 0.5) * TOTAL / 32))
            )
            @ density
        )
    return density


def test_a_pair_of_wells_in_no_time() -> None:
    """Truth: TV <= 1e-6 where plain transport has 0.35; control N8: 1.1 v is off by a
    tenth of the displacement.
    """
    start, end = SPLIT.gibbs(LINE), SPLIT.gibbs(LINE, TOTAL)
    carried = evolve_counterdiabatic(SPLIT, LINE, start, [0.0, 0.02, TOTAL])
    assert carried.result == "successful" and float(carried.residual) <= 1e-12
    assert carried.values.shape == (3, 96) and float(carried.error[-1]) <= 1e-12
    assert apart(LINE, carried.values[-1], end) <= 1e-12
    assert apart(LINE, carried.values[1], SPLIT.gibbs(LINE, 0.02)) <= 1e-12
    assert apart(LINE, plain(SPLIT, LINE, start), end) > 0.3
    fast = evolve_counterdiabatic(SPLIT, LINE, start, [TOTAL], 1e-6, strength=1.1)
    assert (
        fast.result == "successful" and 0.03 < apart(LINE, fast.values[-1], end) < 0.1
    )


def instantaneous(equation: fp.FokkerPlanck, grid: fp.Grid) -> Any:
    """t -> H_t + G_t, a matrix, without any step."""
    scheme = fp.ScharfetterGummel()

    @jax.jit
    def both(t: Array) -> Array:
        flow = module._velocity(equation, grid, t).operator
        operator = scheme.build(equation, grid, t, float, True)
        return dense(lambda u: operator.hamiltonian(u) + flow.wave(u), grid, float)

    return lambda t: np.asarray(both(jnp.asarray(float(t))))


def test_the_same_equation_by_another_integrator() -> None:
    """Agreement with an implicit Runge-Kutta method of d_t psi = -(H + G) psi, from
    Gibbs and from elsewhere.
    """
    whole = instantaneous(SWUNG, SHORT)
    start, gibbs = SHORT.density(fp.Gaussian(-1.3, 0.1)), SWUNG.gibbs(SHORT)
    roots = [np.asarray(jnp.exp(SWUNG.log_sqrt_pi(SHORT, t))) for t in (0.0, TOTAL)]
    waves = np.stack([start, gibbs], 1) / roots[0][:, None]

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return -(whole(t) @ y.reshape(waves.shape)).ravel()

    jacobian = lambda t, _: -np.kron(whole(t), np.eye(2))
    options = {"method": "Radau", "jac": jacobian, "rtol": 1e-7, "atol": 1e-10}
    after = (
        scipy.integrate.solve_ivp(slope, (0, TOTAL), waves.ravel(), **options)
        .y[:, -1]
        .reshape(waves.shape)
    )
    values = after * roots[1][:, None]
    end = SWUNG.gibbs(SHORT, TOTAL)
    assert apart(SHORT, values[:, 1], end) <= 1e-6
    carried = evolve_counterdiabatic(SWUNG, SHORT, start, [0.01, TOTAL], 1e-8)
    assert carried.result == "successful"
    assert (
        apart(SHORT, carried.values[-1], values[:, 0])
        <= 1e-6
        < 0.01
        < apart(SHORT, carried.values[-1], end)
    )
    assert abs(float(SHORT.integrate(carried.values[-1])) - 1) <= 1e-11
    assert_no_adiabatic_term(SWUNG, SHORT, start, carried.values[-1])


def assert_no_adiabatic_term(
    equation: fp.FokkerPlanck, grid: fp.Grid, start: Array, end: Array
) -> None:
    """Inequality: chi2(T) <= exp(-2 int gap) chi2(0), with the gap of the same finite
    volumes.
    """
    scheme, times = fp.ScharfetterGummel(), np.linspace(0, TOTAL, 21)

    @jax.jit
    def levels(t: Array) -> Array:
        operator = scheme.build(equation, grid, t, float, True)
        return jnp.linalg.eigvalsh(dense(operator.hamiltonian, grid, float))

    gaps = [float(levels(t)[1]) for t in times]
    chi2 = [
        float(grid.integrate(p**2 / equation.gibbs(grid, t))) - 1
        for p, t in ((start, 0.0), (end, TOTAL))
    ]
    ratio = chi2[1] / (chi2[0] * np.exp(-2 * scipy.integrate.simpson(gaps, x=times)))
    assert 0 < ratio <= 1 + 1e-9


def test_errors_are_those_reported() -> None:
    """Order: the tolerance is met, and the estimate is above the error."""
    start = fp.Gaussian(-1.3, 0.1)
    fine = evolve_counterdiabatic(SWUNG, SHORT, start, [TOTAL], 1e-9).values[-1]
    for tol in (1e-3, 1e-6):
        carried = evolve_counterdiabatic(SWUNG, SHORT, start, [TOTAL], tol)
        assert (
            2 * apart(SHORT, carried.values[-1], fine)
            <= float(carried.error[-1])
            <= tol
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_a_ring_in_either_precision(dtype: str) -> None:
    """Truth: a start at Gibbs stays there to rounding; float32 stays float32."""
    carried = evolve_counterdiabatic(
        TURNED, RING, TURNED.gibbs(RING).astype(dtype), [0.2]
    )
    assert carried.values.dtype == dtype and carried.result == "successful"
    allowed = 1e-12 if dtype == "float64" else 1e-5
    assert apart(RING, carried.values[-1], TURNED.gibbs(RING, 0.2)) <= allowed


def test_two_dimensions() -> None:
    """Truth: TV <= 1e-6 at once on a plane."""
    carried = evolve_counterdiabatic(SPLIT, PLANE, SPLIT.gibbs(PLANE), [TOTAL])
    assert carried.result == "successful" and float(carried.residual) <= 1e-11
    assert apart(PLANE, carried.values[-1], SPLIT.gibbs(PLANE, TOTAL)) <= 1e-12


def test_two_dimensions_finer() -> None:
    """Truth: TV <= 1e-6 on 64 x 64 cells; any other start approaches, within the
    tolerance.
    """
    grid = fp.Grid(fp.Line(-3.2, 3.2, 64), fp.Line(-3.0, 3.0, 64))
    end = SPLIT.gibbs(grid, TOTAL)
    carried = evolve_counterdiabatic(SPLIT, grid, SPLIT.gibbs(grid), [0.02, TOTAL])
    assert (
        carried.result == "successful" and apart(grid, carried.values[-1], end) <= 1e-12
    )
    start = fp.Gaussian([-1.2, 0.0], 0.15)
    rough, near = (
        evolve_counterdiabatic(SPLIT, grid, start, [TOTAL], tol) for tol in (1e-2, 1e-3)
    )
    assert (
        near.result == "successful" and 0.01 < apart(grid, near.values[-1], end) < 0.3
    )
    assert 2 * apart(grid, rough.values[-1], near.values[-1]) <= float(
        rough.error[-1]
    ) + float(near.error[-1])


def test_what_cannot_be_carried_is_refused(nothing_is_computed: None) -> None:
    start = fp.Gaussian(0.0, 1.0)
    refused(lambda: velocity(OSCILLATOR, GRID), "equation", "FokkerPlanck")
    refused(lambda: velocity(PUSHED, GRID), "equation", "force")
    walls = fp.Grid(fp.Absorbing(-1.0, 1.0, 12))
    refused(
        lambda: evolve_counterdiabatic(MOVING, walls, start, [0.1]), "grid", "Absorbing"
    )
    refused(
        lambda: evolve_counterdiabatic(
            MOVING, fp.Grid(fp.Legendre(-1.0, 1.0, 12)), start, [0.1]
        ),
        "grid",
        "Legendre",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, start, [0.2, 0.1]),
        "times",
        "ascending",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, start, [0.1], tol=-1.0),
        "tol",
        "positive",
    )
    refused(
        lambda: evolve_counterdiabatic(
            MOVING, GRID, start, [0.1], strength=float("nan")
        ),
        "strength",
        "finite",
    )
    refused(
        lambda: evolve_counterdiabatic(MOVING, GRID, jnp.ones(7), [0.1]),
        "initial",
        "shape",
    )
