"""The density of parameters under Langevin dynamics, solved and sampled; an objective
as V and as U (theorem T30).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.learning.bins import chi_square, equal_bins
from refusals import refused

DIFFUSION = 0.05
START = fp.Gaussian(0.2, 0.04)
ROWS = (jnp.linspace(-1.0, 1.0, 20), 0.7 * jnp.linspace(-1.0, 1.0, 20) + 0.1)
GRID = fp.Grid(fp.Line(-1.6, 2.8, 96))


def slope_loss(theta: Any, rows: Any) -> Any:
    """Least squares through the origin: U = k (theta - c)^2 / 2 + constant, exactly
    solved.
    """
    x, y = rows
    return jnp.mean((theta[0] * x - y) ** 2) / 2


def classifier_loss(theta: Any, rows: Any) -> Any:
    """Logistic regression with a penalty."""
    x, y = rows
    return jnp.mean(jnp.logaddexp(0.0, -y * (x @ theta))) + 0.05 * jnp.sum(theta**2)


def network_loss(theta: Any, rows: Any) -> Any:
    """A network of two weights, v tanh(w x), whose loss has two wells."""
    x, y = rows
    return jnp.mean((theta[1] * jnp.tanh(theta[0] * x) - y) ** 2) + 0.06 * jnp.sum(
        theta**2
    )


def breast_cancer() -> tuple[Any, Any]:
    """Two standardised features of scikit-learn's table, and labels of -1 and 1."""
    datasets = pytest.importorskip("sklearn.datasets")
    table = datasets.load_breast_cancer()
    x = table.data[:, [0, 1]]
    x = (x - x.mean(0)) / x.std(0)
    return jnp.asarray(x), jnp.asarray(2.0 * table.target - 1)


def diabetes() -> tuple[Any, Any]:
    """One standardised feature of scikit-learn's table and the target."""
    datasets = pytest.importorskip("sklearn.datasets")
    table = datasets.load_diabetes()
    x, y = table.data[:, 2], table.target
    return jnp.asarray((x - x.mean()) / x.std()), jnp.asarray((y - y.mean()) / y.std())


def test_a_quadratic_loss_has_the_exact_normal_density() -> None:
    curvature = float(jnp.mean(ROWS[0] ** 2))
    center, time = 0.7, 1.0
    found = fp.learning.langevin_density(
        slope_loss, ROWS, fp.Gaussian(0.2, 0.04), [time], grid=GRID, diffusion=DIFFUSION
    )
    decay = math.exp(-curvature * time)
    mean = center + (0.2 - center) * decay
    variance = 0.04 * decay**2 + DIFFUSION / curvature * (1 - decay**2)
    exact = GRID.density(fp.Gaussian(mean, variance))
    assert float(GRID.integrate(jnp.abs(found.density[0] - exact))) < 2e-3
    assert float(found.difference[0]) < 1e-5
    assert found.positions is None and found.p_value is None


def test_walkers_have_the_density_within_their_sampling_error() -> None:
    options = {"grid": GRID, "diffusion": DIFFUSION, "walkers": 3000}
    start = fp.Gaussian(0.2, 0.04)
    times = [1.0, 4.0]
    found = fp.learning.langevin_density(
        slope_loss,
        ROWS,
        start,
        times,
        step=0.02,
        batch=10,
        key=jax.random.key(0),
        **options,
    )
    assert float(jnp.min(found.p_value)) > 1e-3 and int(found.degrees[0]) > 15
    assert float(found.noise) < 0.02 and float(found.euler) < 0.02
    # Control: with half the noise, which is half the temperature, the density is
    # another one.
    options |= {"diffusion": DIFFUSION / 2}
    colder = fp.learning.langevin_density(
        slope_loss, ROWS, start, times, step=0.02, key=jax.random.key(0), **options
    )
    bins = equal_bins(GRID, np.asarray(found.density[1]), 25)
    assert chi_square(np.asarray(colder.positions[1]), bins).p_value < 1e-12


def test_a_long_step_is_seen_in_the_test_and_in_its_measures() -> None:
    # k h = 1: Euler's variance is D / (k (1 - k h / 2)), twice as large.
    curvature = float(jnp.mean(ROWS[0] ** 2))
    found = fp.learning.langevin_density(
        slope_loss,
        ROWS,
        fp.Gaussian(0.7, 0.1),
        [30.0],
        grid=fp.Grid(fp.Line(-1.6, 3.0, 96)),
        diffusion=DIFFUSION,
        step=1 / curvature,
        walkers=3000,
        key=jax.random.key(1),
    )
    assert float(found.p_value[0]) < 1e-12 and float(found.euler) > 0.4


def test_the_test_of_bins_is_uniform_on_samples_of_the_density() -> None:
    grid = fp.Grid(fp.Reflecting(-1.0, 1.0, 40), fp.Reflecting(-2.0, 1.0, 30))
    density = np.asarray(grid.density(lambda x: jnp.exp(-x[0] + jnp.sin(2 * x[1]))))
    bins = equal_bins(grid, density, 25)
    assert abs(sum(b.mass for b in bins) - 1) < 1e-12 and len(bins) == 25
    generator = np.random.default_rng(0)
    masses = (density * grid.weights_on_host).ravel()
    p_values = []
    for _ in range(40):
        cells = generator.choice(masses.size, 2000, p=masses / masses.sum())
        places = np.asarray(grid.points).reshape(-1, 2)[cells]
        inside = (generator.uniform(size=places.shape) - 0.5) * [
            a.length / a.n for a in grid.axes
        ]
        p_values.append(chi_square(places + inside, bins).p_value)
    # Uniform on [0, 1]: Kolmogorov and Smirnov's distance of 40 values is below 0.25
    # but for one in a hundred times.
    ordered = np.sort(p_values)
    assert np.max(np.abs(ordered - (np.arange(40) + 0.5) / 40)) < 0.26
    assert chi_square(places * 0.8, bins).p_value < 1e-12


@pytest.mark.parametrize("name", ["logistic regression", "network"])
def test_stochastic_gradients_on_real_data(name: str) -> None:
    if name == "network":
        rows = diabetes()
        loss = network_loss
        start = fp.Gaussian([0.5, 0.5], 0.05)
        temperature = 0.04
        grid = fp.Grid(fp.Line(-3.4, 3.4, 56), fp.Line(-3.4, 3.4, 56))
        times = [1.0, 6.0]
    else:
        rows = breast_cancer()
        loss = classifier_loss
        start = fp.Gaussian([0.0, 0.0], 0.1)
        temperature = 0.05
        grid = fp.Grid(fp.Line(-5.0, 3.0, 48), fp.Line(-4.0, 3.5, 48))
        times = [2.0, 10.0]
    options = {
        "grid": grid,
        "diffusion": temperature,
        "walkers": 4000,
        "scheme": fp.Spectral(),
    }
    found = fp.learning.langevin_density(
        loss, rows, start, times, step=0.02, batch=64, key=jax.random.key(3), **options
    )
    assert float(jnp.min(found.p_value)) > 1e-3, found.p_value
    assert float(jnp.max(found.solved.errors["space"])) < 1e-2, found.solved.errors
    # The wave of the Hamiltonian is the same density.
    assert found.difference is not None and float(jnp.max(found.difference)) < 1e-3, (
        found.difference
    )
    assert float(found.noise) < 0.05 and float(found.euler) < 0.1


def test_a_start_without_a_wave_has_none() -> None:
    # U = theta^4: a wide normal density is infinitely above sqrt(pi) in its tails.
    quartic = lambda theta, rows: jnp.mean(rows) * theta[0] ** 4
    grid = fp.Grid(fp.Reflecting(-3.0, 3.0, 96))
    found = fp.learning.langevin_density(
        quartic, jnp.ones(4), fp.Gaussian(0.0, 1.0), [0.1], grid=grid, diffusion=0.1
    )
    assert found.wave is None and found.difference is None
    assert abs(float(grid.integrate(found.density[0])) - 1) < 1e-12


def test_what_is_no_loss_is_refused() -> None:
    ask = lambda loss=slope_loss, rows=ROWS, start=START, **options: (
        fp.learning.langevin_density(
            loss,
            rows,
            start,
            [1.0],
            **({"grid": GRID, "diffusion": DIFFUSION} | options),
        )
    )
    refused(lambda: ask(loss=3.0), "loss", "3.0", "function")
    refused(lambda: ask(loss=lambda theta, rows: theta), "loss", "scalar")
    refused(lambda: ask(rows=(ROWS[0], ROWS[1][:5])), "data", "rows")
    refused(lambda: ask(rows=()), "data", "arrays")
    refused(lambda: ask(start=lambda x: x), "initial", "fp.Gaussian")
    refused(lambda: ask(diffusion=-1.0), "diffusion", "-1.0")
    refused(lambda: ask(step=0.1), "key", "None")
    refused(lambda: ask(step=0.1, batch=21, key=jax.random.key(0)), "batch", "21", "20")
    summed = lambda theta, rows: jnp.sum((theta[0] * rows[0] - rows[1]) ** 2)
    refused(
        lambda: ask(loss=summed, step=0.1, batch=4, key=jax.random.key(0)),
        "loss",
        "mean over the rows",
    )


# The dictionary.


def test_an_objective_is_no_boltzmann_energy() -> None:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 64))
    zeta = lambda x: x[0] ** 2 / 2
    confused = fp.learning.same_state(zeta, zeta, grid, 0.02)
    # Variances sqrt(D / 2) and D.
    assert np.max(np.abs(np.asarray(confused.variances)[:, 0] - [0.1, 0.02])) < 1e-6
    assert not confused.holds and float(confused.total_variation) > 0.3
    translated = fp.learning.boltzmann_energy(zeta, grid, 0.02)
    assert fp.learning.same_state(zeta, translated.potential, grid, 0.02).holds
    # At D = 1/2 alone both are one.
    wide = fp.Grid(fp.Line(-6.0, 6.0, 64))
    assert fp.learning.same_state(zeta, zeta, wide, 0.5).holds


def test_the_boltzmann_energy_of_an_oscillator() -> None:
    # psi_0 = exp(-x^2 / (2 sqrt(2 D))): U = sqrt(D / 2) x^2, E_0 = sqrt(D / 2), gap
    # sqrt(2 D).
    diffusion = 0.1
    grid = fp.Grid(fp.Line(-4.5, 4.5, 64))
    found = fp.learning.boltzmann_energy(lambda x: x[0] ** 2 / 2, grid, diffusion)
    exact = math.sqrt(diffusion / 2) * np.asarray(grid.nodes[0]) ** 2
    # U is zero at the largest value of psi_0 on the grid, beside which the exact one
    # has its least value.
    error = np.abs(np.asarray(found.values) - (exact - exact.min()))[
        np.asarray(found.known)
    ]
    inner = (np.abs(np.asarray(grid.nodes[0])) < 2.5)[np.asarray(found.known)]
    assert np.max(error[inner]) < 1e-7
    assert np.all(error <= 3 * np.asarray(found.error)[np.asarray(found.known)] + 1e-9)
    assert abs(float(found.ground_energy) - math.sqrt(diffusion / 2)) < 1e-10
    assert abs(float(found.gap) - math.sqrt(2 * diffusion)) < 1e-10


def test_the_process_of_a_boltzmann_energy_has_the_gap_of_its_objective() -> None:
    generator = np.random.default_rng(2)
    for _ in range(2):
        a, b = generator.uniform(0.3, 1.0, 2)
        zeta = lambda x, a=a, b=b: (x[0] ** 2 - 1) ** 2 + a * jnp.sin(2 * x[0] + b)
        grid = fp.Grid(fp.Line(-2.6, 2.6, 96))
        found = fp.learning.boltzmann_energy(zeta, grid, 0.2)
        inner = fp.Grid(fp.Reflecting(-2.0, 2.0, 400))
        gap = float(fp.spectral_gap(found.equation, inner))
        assert abs(gap / float(found.gap) - 1) < 1e-2
        # Control: the gap of zeta as an energy is another one.
        assert (
            abs(float(fp.spectral_gap(fp.FokkerPlanck(zeta, 0.2), inner)) / gap - 1)
            > 0.1
        )
