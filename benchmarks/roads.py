"""The figures of wick rotation, flows and learning dynamics:
`python benchmarks/roads.py`, a line for each.

packet       a free packet in real time on 512 nodes, in the maximum norm
eigenstate   the ground state of an oscillator at complex times, in the maximum norm
continuity   a flow in the plane on 65 x 65 nodes: the norm, and characteristics in L1
sgld         p-values of walkers under stochastic gradients against the solved density
protocol     the work of the protocol that descent finds for a trap that stiffens, above
             the least

Those of bridges are in `bridge.py`, those of samplers in `samplers.py`.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import i0

import fpsolve as fp

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS)]

jax.config.update("jax_enable_x64", True)


def packet() -> None:
    """i d_t psi = -psi'' / 2 from a packet of width 1 and momentum 1.5."""
    grid = fp.Grid(fp.Line(-30.0, 30.0, 512))
    momentum = 1.5
    time = 2.0
    x = np.asarray(grid.nodes[0])

    def exact(t: float) -> np.ndarray:
        a = 1 + 1j * t
        phase = momentum * x - momentum**2 * t / 2
        return (
            np.exp(-((x - momentum * t) ** 2) / (2 * a) + 1j * phase)
            / np.sqrt(a)
            / np.pi**0.25
        )

    equation = fp.Schrodinger(lambda x: 0 * x[0])
    found = fp.evolve(
        equation, jnp.asarray(exact(0.0)), [time], grid=grid, wick=np.pi / 2
    )
    print(f"packet: {np.max(np.abs(np.asarray(found.values[0]) - exact(time))):.1e}")


def eigenstate() -> None:
    """exp(-e^{iw} t / 2) times the ground state, w = 0.3, 1.0 and 1.4."""
    grid = fp.Grid(fp.Line(-8.0, 8.0, 64))
    ground = np.exp(-(np.asarray(grid.nodes[0]) ** 2) / 2) / np.pi**0.25
    equation = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
    errors = []
    for wick in (0.3, 1.0, 1.4):
        found = fp.evolve(equation, jnp.asarray(ground), [1.3], grid=grid, wick=wick)
        exact = np.exp(-0.5 * 1.3 * np.exp(1j * wick)) * ground
        errors.append(np.max(np.abs(np.asarray(found.values[0]) - exact)))
    print(f"eigenstate: {max(errors):.1e}")


def continuity() -> None:
    """A velocity with divergence and shear that moves in time."""
    from flows import by_characteristics

    grid = fp.Grid(*[fp.Periodic(0.0, 2 * np.pi, 65)] * 2)

    def velocity(x: Any, t: Any) -> Any:
        return jnp.stack(
            [
                jnp.sin(x[1] + t) + 0.3 * jnp.cos(x[0]),
                0.4 * jnp.sin(x[0] - x[1]) * jnp.cos(2 * t),
            ]
        )

    def start(x: Any) -> Any:
        return (
            jnp.exp(jnp.cos(x[0]) + jnp.sin(x[1])) / (2 * np.pi * float(i0(1.0))) ** 2
        )

    found = fp.evolve(fp.Continuity(velocity), start, [0.8], grid=grid, tol=1e-7)
    exact = by_characteristics(velocity, start, grid, 0.8)
    wrong = float(grid.integrate(jnp.abs(found.values[0] - exact)))
    print(
        f"continuity: norm {found.stats['mass_drift']:.1e}, characteristics {wrong:.1e}"
    )


def sgld() -> None:
    """Logistic regression, and a network of two weights, on tables of scikit-learn."""
    from test_learning_parameters import (
        breast_cancer,
        classifier_loss,
        diabetes,
        network_loss,
    )

    square = fp.Grid(*[fp.Line(-3.4, 3.4, 56)] * 2)
    oblong = fp.Grid(fp.Line(-5.0, 3.0, 48), fp.Line(-4.0, 3.5, 48))
    cases = {
        "network": (
            network_loss,
            diabetes(),
            fp.Gaussian([0.5, 0.5], 0.05),
            [1.0, 6.0],
            square,
            0.04,
        ),
        "logistic regression": (
            classifier_loss,
            breast_cancer(),
            fp.Gaussian([0.0, 0.0], 0.1),
            [2.0, 10.0],
            oblong,
            0.05,
        ),
    }
    for name, (loss, rows, start, times, grid, temperature) in cases.items():
        # Another key than that of the tests.
        options = {
            "grid": grid,
            "diffusion": temperature,
            "walkers": 4000,
            "scheme": fp.Spectral(),
        }
        found = fp.learning.langevin_density(
            loss,
            rows,
            start,
            times,
            step=0.02,
            batch=64,
            key=jax.random.key(11),
            **options,
        )
        values = ", ".join(f"{float(p):.2f}" for p in found.p_value)
        print(
            f"sgld, {name}: p-values {values}; density and wave differ by "
            f"{float(jnp.max(found.difference)):.1e}"
        )


def protocol() -> None:
    """From stiffness 1 to 3 in a time 0.9, with jumps at both ends."""
    from exact_work import least_stiffened, true_stiffened_work
    from fpsolve.anneal.schedule import learn

    first, last, total = 1.0, 3.0, 0.9
    path = fp.Mix(fp.Harmonic(first), fp.Harmonic(last))
    grid = fp.Grid(fp.Line(-6.5, 6.5, 64))
    found, _ = learn(
        path, total, "work", optax.adam(0.1), grid=grid, steps=80, knots=4, jumps=True
    )
    least = least_stiffened(first, last, total, 1.0)
    print(
        f"protocol: work {true_stiffened_work(found, first, last) / least - 1:.1e} "
        "above the least, relative"
    )


if __name__ == "__main__":
    roads = {
        "packet": packet,
        "eigenstate": eigenstate,
        "continuity": continuity,
        "sgld": sgld,
        "protocol": protocol,
    }
    for name in sys.argv[1:] or roads:
        roads[name]()
