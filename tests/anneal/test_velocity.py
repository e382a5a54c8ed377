"""The velocity that carries a moving Gibbs density (theorem T20), and its antisymmetric
operator.

Exact: antisymmetry, mass, d_t sqrt(pi) + G sqrt(pi) = 0. Truth: velocities in closed
form. Control: N13 (sums from one side).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import fpsolve as fp
from driven_wells import LINE, PLANE, RING, SPLIT, TOTAL, TURNED
from fpsolve.anneal import counterdiabatic_step
from fpsolve.anneal import velocity as module
from fpsolve.anneal.counterdiabatic import evolve_counterdiabatic
from fpsolve.anneal.velocity import velocity
from fpsolve.operator.base import dense
from fpsolve.operator.flow_edges import FlowEdges
from measure import check_order

MIXED = fp.Grid(
    fp.Line(-4.0, 4.0, 9), fp.Periodic(0.0, 1.0, 6), fp.Reflecting(0.0, 1.0, 5)
)


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
    equation = fp.FokkerPlanck(moved)
    sizes = [24, 32, 48, 64]
    errors = []
    t = 0.3
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
