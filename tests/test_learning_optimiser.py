"""The ground state of -D Lap + zeta as a global optimiser, beside simulated annealing
at equal cost.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

SEEDS = range(5)


def rastrigin(center: np.ndarray) -> Any:
    """Wells at distance 1 in a bowl; the lowest, 0, at `center`."""
    return lambda x: jnp.sum(
        (x - center) ** 2 + 2 * (1 - jnp.cos(2 * jnp.pi * (x - center)))
    )


def griewank(center: np.ndarray) -> Any:
    """A shallow bowl with product waves; the lowest value, 0, at `center`."""
    return lambda x: (
        jnp.sum((x - center) ** 2) / 40 + 1 - jnp.prod(jnp.cos(2 * (x - center)))
    )


def ackley(center: np.ndarray) -> Any:
    """A funnel in a rippled plain; the lowest value, 0, at `center`."""

    def value(x: Any) -> Any:
        y = x - center
        distance = jnp.sqrt(jnp.mean(y**2) + 1e-12)
        return (
            -8 * jnp.exp(-0.4 * distance)
            - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * y)))
            + 8
            + jnp.e
        )

    return value


def random_waves(seed: int, dim: int) -> tuple[Any, np.ndarray]:
    """Ten waves of random directions in a tilted bowl, which nothing is symmetric
    about; its lowest place by brute force.
    """
    generator = np.random.default_rng(seed)
    waves = generator.normal(size=(10, dim)) * 2.5
    phases = generator.uniform(0, 2 * np.pi, 10)
    center = generator.uniform(-2, 2, dim)

    def value(x: Any) -> Any:
        return jnp.sum((x - center) ** 2) / 8 + jnp.sum(
            jnp.cos(waves @ x + phases)
        ) / np.sqrt(10)

    nodes = np.linspace(-5, 5, {1: 20_001, 2: 801, 3: 121}[dim])
    points = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), -1).reshape(-1, dim)
    values = np.sum((points - center) ** 2, 1) / 8 + np.sum(
        np.cos(points @ waves.T + phases), 1
    ) / np.sqrt(10)
    return value, points[int(np.argmin(values))]


def centers(dim: int) -> list[np.ndarray]:
    return [np.random.default_rng(100 + seed).uniform(-2.5, 2.5, dim) for seed in SEEDS]


def test_a_bowl_and_its_zero_point_energy() -> None:
    # zeta = k y^2 / 2: width (D / 2k)^{1/4} and energy sqrt(D k / 2), in every level.
    stiffness = 3.0
    found = fp.learning.minimise(lambda x: stiffness * (x[0] - 0.3) ** 2 / 2, -2.0, 2.0)
    assert found.result == "successful"
    assert abs(float(found.x[0]) - 0.3) < 2e-3
    assert abs(float(found.x[0]) - 0.3) <= 3 * float(found.error_x[0])
    assert 0 <= float(found.value) <= float(found.error)
    # The walls and the cells are felt by the first levels only.
    later = slice(3, None)
    diffusions, energies, widths = (
        np.asarray(a)[later] for a in (found.diffusions, found.energies, found.widths)
    )
    assert np.max(np.abs(energies / np.sqrt(diffusions * stiffness / 2) - 1)) < 0.1
    assert (
        np.max(np.abs(widths[:, 0] / (diffusions / (2 * stiffness)) ** 0.25 - 1)) < 0.1
    )


def test_a_rugged_line() -> None:
    for center in centers(1):
        found = fp.learning.minimise(rastrigin(center), -5.0, 5.0)
        assert found.result == "successful"
        assert abs(float(found.x[0]) - center[0]) < 0.02


@pytest.mark.parametrize(
    ("function", "dim"), [(rastrigin, 1), (rastrigin, 2), (griewank, 2), (ackley, 3)]
)
def test_beside_simulated_annealing_at_equal_cost(function: Any, dim: int) -> None:
    """In the lowest well from all five places, and not less often than annealing with
    as many evaluations.
    """
    hits, annealed = 0, 0
    for seed, center in zip(SEEDS, centers(dim), strict=True):
        objective = function(center)
        low, high = np.full(dim, -5.0), np.full(dim, 5.0)
        found = fp.learning.minimise(objective, low, high)
        other = fp.learning.simulated_annealing(
            objective,
            low,
            high,
            evaluations=found.evaluations,
            key=jax.random.key(seed),
        )
        assert other.evaluations == found.evaluations
        hits += bool(np.max(np.abs(np.asarray(found.x) - center)) < 0.3)
        annealed += bool(np.max(np.abs(np.asarray(other.x) - center)) < 0.3)
    print(function.__name__, dim, hits, annealed, found.evaluations)
    assert hits == 5


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_random_waves_without_symmetry(dim: int) -> None:
    """The lowest of many wells; where a search ends in another one, its value is nearly
    as low or it says so.
    """
    hits, told, annealed = 0, 0, 0
    for seed in SEEDS:
        objective, lowest = random_waves(seed, dim)
        found = fp.learning.minimise(objective, np.full(dim, -5.0), np.full(dim, 5.0))
        is_hit = bool(np.max(np.abs(np.asarray(found.x) - lowest)) < 0.15)
        hits += is_hit
        told += not is_hit and found.result != "successful"
        options = {"evaluations": found.evaluations, "key": jax.random.key(seed)}
        other = fp.learning.simulated_annealing(
            objective, np.full(dim, -5.0), np.full(dim, 5.0), **options
        )
        annealed += bool(np.max(np.abs(np.asarray(other.x) - lowest)) < 0.15)
        assert float(found.value) <= float(objective(jnp.asarray(lowest))) + float(
            found.error
        )
    print(dim, hits, told, annealed, found.evaluations)
    assert hits >= 4 and hits + told >= 4


def test_two_equal_wells() -> None:
    """One of them is found, to the error; that the other is as deep shows as an energy
    splitting of no size.
    """
    for tilt in (0.0, 1e-9):
        found = fp.learning.minimise(
            lambda x, tilt=tilt: (x[0] ** 2 - 1) ** 2 + tilt * x[0], -2.0, 2.1
        )
        assert abs(abs(float(found.x[0])) - 1) < 2e-3
        assert 0 <= float(found.value) + tilt <= float(found.error) < 1e-2
        same = np.all(np.asarray(found.error_x) < 0.1)
        assert (found.result == "successful") == same


def test_a_search_that_is_not_confirmed_raises_if_asked() -> None:
    # Noise on the scale of the nodes: other nodes, another minimum.
    noise = lambda x: jnp.sin(1e5 * x[0]) + 0.1 * jnp.cos(3.7e4 * x[0])
    found = fp.learning.minimise(noise, -1.0, 1.0)
    if found.result == "successful":
        return
    with pytest.raises(fp.NumericalFailure, match="minimum_not_confirmed"):
        fp.learning.minimise(noise, -1.0, 1.0, throw=True)


def test_what_is_no_objective_is_refused() -> None:
    bowl = lambda x: jnp.sum(x**2)
    refused(
        lambda: fp.learning.minimise(3.0, -1.0, 1.0), "objective", "3.0", "function"
    )
    refused(lambda: fp.learning.minimise(lambda x: x, -1.0, 1.0), "objective", "scalar")
    refused(lambda: fp.learning.minimise(bowl, 1.0, -1.0), "lower", "below")
    refused(lambda: fp.learning.minimise(bowl, [0.0] * 4, [1.0] * 4), "lower", "1 to 3")
    refused(
        lambda: fp.learning.minimise(lambda x: jnp.log(x[0]), -1.0, 1.0),
        "objective",
        "finite",
    )
    refused(
        lambda: fp.learning.minimise(bowl, -1.0, 1.0, ratio=0.5),
        "ratio",
        "0.5",
        "above 1",
    )
    refused(lambda: fp.learning.minimise(bowl, -1.0, 1.0, tol=2.0), "tol", "2.0")
    refused(lambda: fp.learning.minimise(bowl, -1.0, 1.0, nodes=4), "nodes", "4")
    options = {"evaluations": 10, "key": jax.random.key(0)}
    refused(
        lambda: fp.learning.simulated_annealing(bowl, -1.0, 1.0, **options),
        "evaluations",
        "10",
    )
