"""The limit that the error of a score sets to a density, over many pairs.

python benchmarks/score_limit.py [--pairs N] [--seed S] [--out FILE.json]

A pair is a density p and a score s that is not that of p. F = (int sqrt(p rho))^2 with
rho the squared ground state of the Score Hamiltonian of s,
eps^2 = E_p |s - grad log p|^2, and theorem T8 says 1 - F <= eps^2 / (4 Gap). The
families:

line       two normal wells, the score of other weights and other places, with a ripple
tight      on a ring with s = 0 and sqrt(p) = 1 + d cos x: the case of equality
torus      random densities on a torus, the score of another one
curl       the same with a field of curl

The figures of every pair are written, with the picture of them beside.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import fpsolve as fp

jax.config.update("jax_enable_x64", True)
RESULTS = Path(__file__).parent / "results"
COLOURS = {"line": "#0b5394", "tight": "#b45f06", "torus": "#14652c", "curl": "#7a3e9d"}
LINE = fp.Grid(fp.Line(-8.0, 8.0, 80))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 40))
TORUS = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 20), fp.Periodic(0.0, 2 * np.pi, 21))


class TwoWells(eqx.Module):
    """log(w N(-a, 1) + (1 - w) N(b, 1)) + a ripple, up to a constant; `numbers` are w,
    a, b and the ripple's size.
    """

    numbers: Array  # (4,)

    def __call__(self, x: Array) -> Array:
        weight, left, right, ripple = self.numbers
        first = jnp.log(weight) - (x[0] + left) ** 2 / 2
        second = jnp.log1p(-weight) - (x[0] - right) ** 2 / 2
        return jnp.logaddexp(first, second) + ripple * jnp.cos(3 * x[0]) * jnp.exp(
            -(x[0] ** 2) / 8
        )


class Waves(eqx.Module):
    """A sum of cosines on the ring or the torus."""

    amplitudes: Array  # (m,)
    numbers: Array  # (m, d)
    phases: Array  # (m,)

    def __call__(self, x: Array) -> Array:
        return jnp.sum(self.amplitudes * jnp.cos(self.numbers @ x + self.phases))


class Field(eqx.Module):
    """grad log of a density, and in two dimensions `curl` times a field of curl beside
    it.
    """

    height: Any
    curl: Array
    stream: Any

    def __call__(self, x: Array) -> Array:
        field = jax.grad(self.height)(x)
        if len(x) == 1:
            return field
        slope = jax.grad(self.stream)(x)
        return field + self.curl * jnp.stack([-slope[1], slope[0]])


class Wave(eqx.Module):
    """(1 + depth cos x)^2."""

    depth: Array

    def __call__(self, x: Array) -> Array:
        return (1 + self.depth * jnp.cos(x[0])) ** 2


class Exponential(eqx.Module):
    """exp of a function."""

    height: Any

    def __call__(self, x: Array) -> Array:
        return jnp.exp(self.height(x))


def waves(random: np.random.Generator, size: float) -> Waves:
    """Six random waves of the torus."""
    numbers = random.integers(-2, 3, size=(6, 2)).astype(float)
    amplitudes = size * random.normal(size=6)
    return Waves(
        jnp.asarray(amplitudes),
        jnp.asarray(numbers),
        jnp.asarray(random.uniform(0, 2 * np.pi, 6)),
    )


def wells(random: np.random.Generator) -> tuple[TwoWells, TwoWells]:
    """Two wells, and the same with another weight, other places and a ripple."""
    numbers = np.asarray(
        [random.uniform(0.15, 0.85), *random.uniform(0.2, 2.6, size=2), 0.0]
    )
    size = 10 ** random.uniform(-3, 0)
    change = np.asarray(
        [random.uniform(-0.14, 0.14), *random.normal(size=2) / 3, random.normal() / 5]
    )
    return TwoWells(jnp.asarray(numbers)), TwoWells(
        jnp.asarray(numbers + size * change)
    )


def pair(family: str, random: np.random.Generator) -> tuple[fp.Grid, Array, Field]:
    """The grid, the density p on it, and the score s."""
    nothing = jnp.asarray(0.0)
    if family == "line":
        data, model = wells(random)
        return LINE, LINE.density(Exponential(data)), Field(model, nothing, data)
    if family == "tight":
        depth = 10 ** random.uniform(-2, np.log10(0.95))
        flat = Waves(jnp.zeros(1), jnp.ones((1, 1)), jnp.zeros(1))
        return RING, RING.density(Wave(jnp.asarray(depth))), Field(flat, nothing, flat)
    data = waves(random, random.uniform(0.2, 0.8))
    size = 10 ** random.uniform(-2.5, -0.3)
    change = jnp.asarray(size * random.normal(size=6))
    model = eqx.tree_at(lambda w: w.amplitudes, data, data.amplitudes + change)
    curl = jnp.asarray(size * random.normal() if family == "curl" else 0.0)
    return (
        TORUS,
        TORUS.density(Exponential(data)),
        Field(model, curl, waves(random, 0.4)),
    )


def measure(family: str, seed: int) -> dict[str, Any]:
    """The figures of one pair."""
    grid, density, score = pair(
        family, np.random.default_rng([seed, list(COLOURS).index(family)])
    )
    found = fp.score.reconstruct(score, grid, k=2, check=False)
    overlap = float(grid.integrate(jnp.sqrt(density * jnp.maximum(found.density, 0))))
    eps2 = float(found.score_error(density))
    return {
        "family": family,
        "seed": seed,
        "infidelity": 1 - overlap**2,
        "eps2": eps2,
        "gap": float(found.gap),
        "lowest": float(found.ground_energy),
        "bound": eps2 / (4 * float(found.gap)),
        "bound_less_lowest": (eps2 / 4 - float(found.ground_energy)) / float(found.gap),
        "total_variation": float(grid.integrate(jnp.abs(density - found.density))) / 2,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """1 - F against the bound, and their quotient against the bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for family, colour in COLOURS.items():
        chosen = [row for row in rows if row["family"] == family]
        bounds, found = (
            np.asarray([row[key] for row in chosen]) for key in ("bound", "infidelity")
        )
        left.loglog(
            bounds,
            found,
            ".",
            color=colour,
            ms=5,
            alpha=0.7,
            label=f"{family} ({len(chosen)})",
        )
        right.semilogx(bounds, found / bounds, ".", color=colour, ms=5, alpha=0.7)
    ends = np.asarray(
        [min(row["bound"] for row in rows), max(row["bound"] for row in rows)]
    )
    left.loglog(ends, ends, color="#444444", lw=1, label="limit, T8")
    right.axhline(1, color="#444444", lw=1)
    left.set(xlabel="ε²/(4 Gap)", ylabel="1 - F")
    right.set(xlabel="ε²/(4 Gap)", ylabel="(1 - F) / (ε²/(4 Gap))", ylim=(0, 1.05))
    left.legend(frameon=False, fontsize="small")
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main(words: list[str] | None = None) -> int:
    """Measure, print one line a family, write rows and picture; 0 if no pair is above
    its limit.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100, help="pairs of each family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "score_limit.json")
    options = parser.parse_args(words)
    rows = [
        measure(family, options.seed + i)
        for family in COLOURS
        for i in range(options.pairs)
    ]
    for family in COLOURS:
        chosen = [row for row in rows if row["family"] == family]
        ratios = np.sort([row["infidelity"] / row["bound"] for row in chosen])
        print(
            f"{family:8} {len(chosen)} pairs, (1 - F)/bound: median "
            f"{np.median(ratios):.3f}, largest {ratios[-1]:.9f}"
        )
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    draw(rows, options.out.with_suffix(".png"))
    # Rounding of an infidelity, which is a difference from 1.
    limit = lambda row: row["bound"] * (1 + 1e-9) + 1e-13
    return 0 if all(row["infidelity"] <= limit(row) for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
