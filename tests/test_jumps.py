"""Functions that jump or have kinks: on finite volumes, against exact answers.

ring, U and f piecewise linear   p = e^{-phi} (K - int e^phi) / Z,  phi = (U - f x) / D,
                                 in closed form by pieces
Ito, b = 0, between walls        p ~ 1 / D;  in the flux form p is constant
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.operator.subcells import changes
from fpsolve.plan.regularity import why_no_basis
from measure import check_order

VOLUMES = fp.ScharfetterGummel()


class Pieces(eqx.Module):
    """A function of period 1, linear between breaks: at(x) = start + slope (x - break),
    with jumps and kinks.
    """

    breaks: tuple = eqx.field(static=True)
    starts: tuple = eqx.field(static=True)
    slopes: tuple = eqx.field(static=True)

    def __call__(self, x):
        y = jnp.mod(x[0], 1.0)
        value = jnp.zeros_like(y)
        for left, start, slope in zip(
            self.breaks, self.starts, self.slopes, strict=True
        ):
            value = jnp.where(y >= left, start + slope * (y - left), value)
        return value


BARRIER = Pieces((0.0, 0.3, 0.6), (0.0, 2.0, 0.0), (0.0, 0.0, 0.0))
OFF_FACES = Pieces((0.0, 0.3137, 0.6211), (0.0, 2.0, 0.0), (0.0, 0.0, 0.0))
SAWTOOTH = Pieces((0.0, 0.8), (0.0, 1.0), (1.25, -5.0))
BOTH = Pieces((0.0, 0.2371, 0.6877), (0.0, -1.0, 0.4), (1.1, 2.0, -0.4 / (1 - 0.6877)))


def ring_exact(pieces: Pieces, force: float, diffusion: float) -> tuple[complex, float]:
    """The mean of e^{2 pi i x} and the current of a stationary process on a ring, by
    Gauss rules in the pieces.
    """
    nodes, weights = np.polynomial.legendre.leggauss(40)
    ends = [*pieces.breaks, 1.0]
    done, parts = 0.0, []
    for k, (start, slope) in enumerate(zip(pieces.starts, pieces.slopes, strict=True)):
        a, b = ends[k], ends[k + 1]
        phi = lambda x, a=a, start=start, slope=slope: (
            (start + slope * (x - a) - force * x) / diffusion
        )
        integral = lambda c, d, phi=phi: (
            (d - c) / 2 * weights @ np.exp(phi(c + (d - c) * (nodes + 1) / 2))
        )
        x = a + (b - a) * (nodes + 1) / 2
        inner = done + np.asarray([integral(a, c) for c in x])
        parts.append((x, weights * (b - a) / 2, phi(x), inner))
        done += integral(a, b)
    factor = np.exp(force / diffusion)
    whole = factor * done / (factor - 1)
    density = [(x, w, np.exp(-phi) * (whole - inner)) for x, w, phi, inner in parts]
    mass = sum(w @ p for _, w, p in density)
    mean = sum((w * p) @ np.exp(2j * np.pi * x) for x, w, p in density) / mass
    return mean, diffusion / mass


def ring(
    pieces: Pieces, force: float, diffusion: float, n: int
) -> tuple[complex, float]:
    """The same by finite volumes, and the flux through the first face."""
    grid = fp.Grid(fp.Periodic(0.0, 1.0, n))
    equation = fp.FokkerPlanck(pieces, diffusion, lambda x: force + 0 * x)
    density = fp.spectrum(equation, grid, 1, scheme=VOLUMES).stationary
    operator = VOLUMES.build(equation, grid, 0.0, float, False)
    current = operator.up[0][0] * density[0] - operator.down[0][0] * density[1]
    mean = complex(
        grid.integrate(density * jnp.exp(2j * jnp.pi * grid.nodes[0]))
    ) * np.sinc(1 / n)
    return mean, float(current)


def test_a_barrier_with_a_force_on_a_ring() -> None:
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 100))
    modes = fp.spectrum(fp.FokkerPlanck(BARRIER, force=lambda x: 3.0 + 0 * x), grid, 1)
    inside = (grid.nodes[0] > 0.3) & (grid.nodes[0] < 0.6)
    error = abs(float(grid.integrate(jnp.where(inside, modes.stationary, 0))) - 0.0707)
    assert error < 1e-4
    assert "jump" in modes.stats["scheme"]
    assert abs(ring(BARRIER, 3.0, 1.0, 100)[1] - 1.49313) < 3e-5


@pytest.mark.parametrize(
    ("pieces", "force", "diffusion"), [(BARRIER, 3.0, 1.0), (SAWTOOTH, 0.5, 0.2)]
)
def test_order_two_for_jumps_on_faces_and_for_kinks(
    pieces: Pieces, force: float, diffusion: float
) -> None:
    mean, current = ring_exact(pieces, force, diffusion)
    sizes = [40, 80, 160, 320]
    found = [ring(pieces, force, diffusion, n) for n in sizes]
    check_order([abs(m - mean) for m, _ in found], sizes)
    check_order([abs(j - current) for _, j in found], sizes)


@pytest.mark.parametrize(
    ("pieces", "force", "diffusion"), [(OFF_FACES, 3.0, 1.0), (BOTH, -1.3, 0.4)]
)
def test_order_two_wherever_jumps_lie(
    pieces: Pieces, force: float, diffusion: float
) -> None:
    """The constant depends on where in its cell a jump lies, so the error is compared
    with h^2 and not by a slope.

    A jump that is moved to a face, as by differences between nodes alone, has an error
    of order h.
    """
    mean, current = ring_exact(pieces, force, diffusion)
    for n in (50, 100, 200, 400):
        found, flux = ring(pieces, force, diffusion, n)
        assert abs(found - mean) < 4.0 / n**2
        assert abs(flux / current - 1) < 8.0 / n**2


def test_the_sawtooth_at_both_sizes() -> None:
    """With 201 nodes a basis was chosen, which gave 0.4084."""
    for n in (201, 64):
        grid = fp.Grid(fp.Periodic(0.0, 1.0, n))
        modes = fp.spectrum(
            fp.FokkerPlanck(SAWTOOTH, 0.2, lambda x: 0.5 + 0 * x), grid, 1
        )
        assert modes.stats["scheme"].startswith("ScharfetterGummel")
        mean = float(
            grid.integrate(modes.stationary * jnp.cos(2 * jnp.pi * grid.nodes[0]))
        )
        assert abs(mean - 0.40240) < 2.5 / n**2


def test_a_force_that_jumps_has_its_own_line_integral() -> None:
    """A force -2, then 1.5, between walls: a density of two exponentials with a kink at
    0.4321.
    """
    edge = 0.4321
    force = lambda x: jnp.where(x < edge, -2.0, 1.5)
    phi = lambda x: np.where(x < edge, 2 * x, 2 * edge - 1.5 * (x - edge))
    for n in (50, 100, 200):
        grid = fp.Grid(fp.Reflecting(0.0, 1.0, n))
        density = fp.spectrum(fp.FokkerPlanck(force=force), grid, 1).stationary
        log_ratio = (
            np.log(np.asarray(density / density[0]))
            + phi(np.asarray(grid.nodes[0]))
            - phi(0.5 / n)
        )
        assert np.max(np.abs(log_ratio)) < 1e-5


@pytest.mark.parametrize("edge", [1.0, 0.7318])
def test_a_diffusion_that_jumps(edge: float) -> None:
    """In the Ito form p is as 1 / D, in the flux form constant, wherever D jumps."""
    diffusion = lambda x: jnp.where(x[0] < edge, 1.0, 3.0)
    grid = fp.Grid(fp.Line(0.0, 2.0, 100))
    nodes = np.asarray(grid.nodes[0])
    part = np.clip((edge - nodes) / 0.02 + 0.5, 0, 1)  # of each cell on the left
    exact = part + (1 - part) / 3
    density = np.asarray(
        fp.spectrum(fp.FokkerPlanck.ito(lambda x: 0 * x, diffusion), grid, 1).stationary
    )
    np.testing.assert_allclose(density, exact / np.sum(exact) / 0.02, rtol=1e-5)
    density = np.asarray(
        fp.spectrum(fp.FokkerPlanck(None, diffusion), grid, 1).stationary
    )
    np.testing.assert_allclose(density, 0.5, rtol=1e-10)


def test_the_equilibrium_of_a_jump_is_the_average_over_cells() -> None:
    """Without force, on a line: detailed balance, also in the cell with the jump, and
    mass.
    """
    step = lambda x: jnp.where(x[0] < 0.5173, 0.0, 3.0)
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 50))
    operator = VOLUMES.build(fp.FokkerPlanck(step), grid, 0.0, float, True)
    part = np.clip((0.5173 - np.asarray(grid.nodes[0])) * 50 + 0.5, 0, 1)
    exact = part + (1 - part) * np.exp(-3.0)
    np.testing.assert_allclose(
        np.exp(2 * operator.log_sqrt_pi), exact / np.sum(exact) * 50, rtol=1e-5
    )
    assert np.max(np.abs(operator.generator(jnp.exp(2 * operator.log_sqrt_pi)))) < 1e-9


def test_no_basis_for_what_its_derivatives_miss() -> None:
    """Jumps and kinks wherever they lie between nodes are seen, smooth functions are
    not taken for them.
    """
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 40))
    force = lambda x: 1.0 + 0 * x
    for place in np.linspace(0.4, 0.425, 9):
        kink = fp.FokkerPlanck(lambda x, c=place: jnp.abs(x[0] - c), force=force)
        assert why_no_basis(kink, fp.Grid(fp.Line(0.0, 1.0, 40))) is not None
        jump = fp.FokkerPlanck(None, 1.0, lambda x, c=place: jnp.where(x < c, 1.0, 2.0))
        assert why_no_basis(jump, grid) is not None
    for k in (1, 2, 5, 9):
        smooth = fp.FokkerPlanck(
            lambda x, k=k: jnp.cos(2 * jnp.pi * k * x[0]),
            lambda x: 2 + jnp.sin(2 * jnp.pi * x),
            force,
        )
        assert why_no_basis(smooth, grid) is None
    wright_fisher = fp.FokkerPlanck.ito(lambda x: 0 * x, lambda x: x * (1 - x) / 2)
    walls = fp.Grid(fp.Absorbing(0.0, 1.0, 40))
    assert why_no_basis(wright_fisher, walls) == "the diffusion vanishes"


def test_smooth_functions_show_no_changes() -> None:
    """Control: a threshold of one would take parabolas for jumps."""
    x = np.linspace(-1, 1, 41)
    for smooth in (x**2, x**3, np.cos(7 * x), np.exp(-20 * x**2), np.ones(41)):
        assert not np.any(changes(jnp.asarray(smooth), 0))
    assert (
        np.sum(changes(jnp.asarray(np.where(x < 0.312, 0, 1e-3) + x**2 * 1e-3), 0)) == 1
    )


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("as_force", [False, True])
def test_functions_that_are_infinite_at_a_wall(varying: bool, as_force: bool) -> None:
    """The distance from the centre of a trap in three dimensions: levels 0, 2, 4, by
    U = -2 log r or by f = 2 / r.
    """
    diffusion = (lambda x: 1.0 + 0.0 * x[0]) if varying else 1.0
    if as_force:
        equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2, diffusion, lambda x: 2 / x)
    else:
        equation = fp.FokkerPlanck(
            lambda x: x[0] ** 2 / 2 - 2 * jnp.log(x[0]), diffusion
        )
    found = fp.spectrum(equation, fp.Grid(fp.Reflecting(0.0, 9.0, 200)), 3, check=False)
    np.testing.assert_allclose(np.real(found.values), [0, 2, 4], atol=2e-2)


def test_a_node_on_a_wall_has_one_half() -> None:
    """Legendre nodes lie on the walls; where f is zero, e^{-U} stays, whatever D is."""
    grid = fp.Grid(fp.Legendre(-2.0, 2.0, 40))
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2, lambda x: 1 + x[0] ** 2 / 8)
    start = fp.Gaussian(0.5, 0.2)
    found = fp.evolve(equation, start, 40.0, grid=grid, scheme=VOLUMES)
    basis = fp.evolve(equation, start, 40.0, grid=grid, scheme=fp.Spectral())
    np.testing.assert_allclose(
        found.values, basis.values, atol=5e-3 * float(jnp.max(basis.values))
    )


def test_derivatives_and_batches_through_jumps_and_zeros() -> None:
    def gap(height):
        equation = fp.FokkerPlanck(
            lambda x: height * jnp.where((x[0] > 0.31) & (x[0] < 0.6), 1.0, 0.0),
            force=lambda x: 3.0 + 0 * x,
        )
        return (
            fp.spectrum(equation, fp.Grid(fp.Periodic(0.0, 1.0, 30)), 2, scheme=VOLUMES)
            .values[1]
            .real
        )

    def jacobi(theta):
        equation = fp.FokkerPlanck.ito(
            lambda x: theta * (0.3 - x), lambda x: x * (1 - x) / 2
        )
        return (
            fp.spectrum(equation, fp.Grid(fp.Reflecting(0.0, 1.0, 30)), 2)
            .values[1]
            .real
        )

    for function, at in ((gap, 2.0), (jacobi, 0.4)):
        difference = (function(at + 1e-3) - function(at - 1e-3)) / 2e-3
        assert float(jax.jit(jax.grad(function))(at)) == pytest.approx(
            float(difference), rel=1e-5
        )
        batch = jax.vmap(function)(jnp.asarray([at, 1.2 * at]))
        np.testing.assert_allclose(batch, [function(at), function(1.2 * at)], rtol=1e-9)
