"""Samplers that know their answer: `python benchmarks/samplers.py [--out FILE] [--only
PART ...]`.

steps       exact KL of few-step samplers from the data, for Gaussian mixtures in one to three dimensions, at equal
            numbers of steps: DDIM in all dimensions, and the ancestral sampler on a
            line. All start from the exact law at λ = 1, and all but the last rules end
            at the same noise level before the last step. Five seeds where samples are
            drawn
protocols   least mean work of a moved and of a stiffened trap, found by descent, over that of Schmiedl and Seifert
weights     effective sample size of the weights of a sampler with γ times the exact drift, and KL of its law

No row for the schedules of arXiv 2605.21911: their closed forms could not be looked up.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

BOX = 5.5  # half of the box of the starts, which are nearly standard normal
SMALLEST = 0.02  # the noise level before the last step, for the rules that have one
BUDGETS = (4, 8, 16)
SEEDS = 5
SAMPLES = 2000
PLACES = np.linspace(0.02, 1.0, 24)  # at which the work is measured on samples
# of KL, relative: its integral over the start has fewer nodes an axis
GOALS = {1: 0.01, 2: 0.05, 3: 0.2}
PIECES = 3  # of the stiffness of a harmonic bridge
STRENGTHS = (0.0, 0.5, 0.9, 1.0)
# Means, variance and weights of the mixtures; nodes an axis at λ = 1, and of the box
# [-4, 4] of the data.
MIXTURES = {
    1: ([[-1.6], [0.4], [1.8]], 0.04, [0.3, 0.2, 0.5], 30000, 160),
    2: ([[-1.5, -0.5], [0.3, 1.4], [1.4, -0.9]], 0.09, [0.3, 0.3, 0.4], 360, 64),
    3: (
        [[-1.2, -0.5, 0.3], [0.3, 1.3, -0.6], [1.2, -0.8, 0.5]],
        0.16,
        [0.3, 0.3, 0.4],
        36,
        20,
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "samplers.json")
    parser.add_argument("--only", nargs="+", choices=("steps", "protocols", "weights"))
    parser.add_argument(
        "--dimensions",
        nargs="+",
        type=int,
        default=sorted(MIXTURES),
        choices=sorted(MIXTURES),
    )
    parser.add_argument(
        "--budgets", nargs="+", type=int, default=BUDGETS, help="numbers of steps"
    )
    chosen = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    from fpsolve.core.files import write_atomically

    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "steps": lambda: [
            row for d in chosen.dimensions for row in steps(d, chosen.budgets)
        ],
        "protocols": protocols,
        "weights": weights,
    }
    rows = [row for name in chosen.only or parts for row in parts[name]()]
    # Rows of another part, dimension or number of steps stay in the file.
    measured_now = {place(row) for row in rows}
    before = json.loads(chosen.out.read_text())["rows"] if chosen.out.exists() else []
    rows = sorted(
        [row for row in before if place(row) not in measured_now] + rows, key=place
    )
    content = {"environment": harness.environment(), "rows": rows}
    write_atomically(chosen.out, lambda file: file.write(harness.as_json(content)))
    drawn = [row for row in rows if row["part"] == "steps"]
    if drawn:
        draw_steps(drawn, chosen.out.with_suffix(".png"))
    return 0 if all(row["reached"] for row in rows) else 1


def place(row: dict[str, Any]) -> tuple[str, int, int]:
    """The part, dimension and number of steps of a row: what one run measures together."""
    return row["part"], row.get("dimension", 0), row.get("steps", 0)


def steps(dimension: int, budgets: tuple[int, ...]) -> list[dict[str, Any]]:
    """KL for every rule and number of steps in one dimension."""
    import fpsolve as fp

    means, variance, masses, nodes, data_nodes = MIXTURES[dimension]
    path = fp.Noising(fp.GaussianMixture(means, variance, masses))
    start = fp.Grid(*[fp.Line(-BOX, BOX, nodes)] * dimension)
    data = fp.Grid(*[fp.Line(-4.0, 4.0, data_nodes)] * dimension)
    rows = []
    for name, rule, seed in rules(path, data, dimension):
        for count in budgets:
            rows += measured(path, start, data, name, seed, rule, count)
    for count in budgets:
        # The stiffness is chosen for each number of steps, by the exact KL itself.
        rule, stiffness = tuned_bridge(path, start, count)
        rows += measured(
            path,
            start,
            data,
            "harmonic, 3 pieces",
            None,
            rule,
            count,
            {"stiffness": stiffness},
        )
    print_table(dimension, rows, budgets)
    return rows


def rules(path: Any, data: Any, dimension: int) -> list[tuple[str, Any, int | None]]:
    """The rules by name; those with a seed are measured on samples."""
    from fpsolve.diffusion.particles import draw
    from fpsolve.diffusion.step_rules import (
        aligned_steps,
        harmonic_steps,
        tangent_steps,
        work_steps,
    )
    from fpsolve.diffusion.steps import edm_steps, linear_steps, log_snr_steps
    from fpsolve.score.samples.costs import sampled_costs

    mixture = path.mixture
    masses = np.asarray(mixture.weights) / np.sum(np.asarray(mixture.weights))
    centre = masses @ np.asarray(mixture.means)
    spread = (
        masses @ np.sum((np.asarray(mixture.means) - centre) ** 2, axis=1) / dimension
    )
    deviation = float(np.sqrt(spread + float(np.asarray(mixture.covariances).mean())))
    found: list[tuple[str, Any, int | None]] = [
        ("linear", linear_steps, None),
        ("log SNR", lambda path, n: log_snr_steps(path, n, SMALLEST), None),
        ("EDM, rho = 7", lambda path, n: edm_steps(path, n, smallest=SMALLEST), None),
        ("tangent (Gaussian AYS)", tangent_steps(deviation), None),
        ("Align Your Steps", aligned_steps(path, data, SMALLEST), None),
        ("score-optimal (work)", work_steps(path, data), None),
        ("harmonic, stiffness 0", harmonic_steps((0.0,)), None),
    ]
    for seed in range(SEEDS):
        first, second = jax.random.split(jax.random.key(seed))
        drawn = draw(mixture, SAMPLES, first)
        costs = sampled_costs(path.score, path, drawn, jnp.asarray(PLACES), key=second)
        found.append(("score-optimal, samples", costs.steps("work"), seed))
    return found


def measured(
    path: Any,
    start: Any,
    data: Any,
    name: str,
    seed: int | None,
    rule: Any,
    count: int,
    more: Any = None,
) -> list[dict[str, Any]]:
    """The rows of one rule and number of steps: DDIM, and on a line the ancestral
    sampler.
    """
    from fpsolve.diffusion.flow_law import sampler_divergence
    from fpsolve.diffusion.steps import sampler_law, shortfall

    lambdas = rule(path, count)
    common = {
        "part": "steps",
        "dimension": start.ndim,
        "rule": name,
        "seed": seed,
        "steps": count,
        **(more or {}),
    }
    found = sampler_divergence(path, lambdas, start)
    kl, error = float(found.kl), float(found.kl_error)
    reached = error <= GOALS[start.ndim] * kl + 1e-6
    rows = [{**common, "sampler": "DDIM", "kl": kl, "error": error, "reached": reached}]
    if start.ndim == 1:
        values = [
            float(
                shortfall(path, sampler_law(path, lambdas, data, noise=1.0, nodes=n)).kl
            )
            for n in (1536, 2048)
        ]
        error = abs(values[1] - values[0])
        reached = error <= 1e-3 * values[1] + 1e-6
        rows.append(
            {
                **common,
                "sampler": "ancestral",
                "kl": values[1],
                "error": error,
                "reached": reached,
            }
        )
    return rows


def tuned_bridge(path: Any, start: Any, count: int) -> tuple[Any, list[float]]:
    """The harmonic bridge with the least KL of DDIM, by Nelder and Mead over its
    stiffness, on a coarser grid.
    """
    from scipy.optimize import minimize

    from fpsolve.diffusion.flow_law import sampler_divergence
    from fpsolve.diffusion.step_rules import harmonic_steps

    coarse = type(start)(
        *(dataclasses.replace(axis, n=min(axis.n // 2, 1500)) for axis in start.axes)
    )

    def kl(stiffness: np.ndarray) -> float:
        stiffness = np.clip(stiffness, -9.0, 99.0)
        return float(
            sampler_divergence(path, harmonic_steps(stiffness)(path, count), coarse).kl
        )

    # The first corner is the Brownian bridge, so that the result is at least as good.
    simplex = np.concatenate([np.zeros((1, PIECES)), -4.0 * np.eye(PIECES)])
    found = minimize(
        kl,
        simplex[0],
        method="Nelder-Mead",
        options={"maxfev": 30, "initial_simplex": simplex},
    )
    stiffness = np.clip(found.x, -9.0, 99.0)
    return harmonic_steps(stiffness), stiffness.tolist()


def protocols() -> list[dict[str, Any]]:
    """The least work of two traps, by descent."""
    import optax

    import fpsolve as fp
    from fpsolve.anneal.schedule import learn

    stiffness, reach, total = 1.0, 2.0, 2.0
    moved = (
        fp.path.Moved(fp.Harmonic(stiffness), reach),
        fp.Grid(fp.Line(-6.5, 8.5, 64)),
        total,
    )
    truth_moved = stiffness * reach**2 / (2 + stiffness * total)
    first, last, total = 1.0, 4.0, 0.8
    stiffened = (
        fp.Mix(fp.Harmonic(first), fp.Harmonic(last)),
        fp.Grid(fp.Line(-6.5, 6.5, 64)),
        total,
    )
    c = max(np.roots([last * total**2 + 2 * total, 2 * last * total + 2, last - first]))
    growth = 1 + c * total
    truth_stiffened = (
        (last * growth**2 / first - 1) / 2 - np.log(growth) + c**2 * total / first
    )
    rows = []
    for name, (path, grid, total), truth in (
        ("moved", moved, truth_moved),
        ("stiffened", stiffened, truth_stiffened),
    ):
        begin = time.perf_counter()
        protocol, history = learn(
            path,
            total,
            "work",
            optax.adam(0.1),
            grid=grid,
            steps=80,
            knots=4,
            jumps=True,
        )
        work, jumps = (
            fine_work(path, protocol, grid, total),
            [float(jump) for jump in protocol.jumps],
        )
        error = abs(work - truth) / truth
        seconds = time.perf_counter() - begin
        rows.append(
            {
                "part": "protocols",
                "trap": name,
                "work": work,
                "on 64 nodes": float(min(history)),
                "truth": float(truth),
                "error": error,
                "jumps": jumps,
            }
            | {"seconds": seconds, "reached": error < 1e-3}
        )
        print(
            f"{name:10s} trap: work {work:.6f}, least {truth:.6f}, relative error "
            f"{error:.1e}, jumps {jumps}"
        )
    return rows


def fine_work(path: Any, protocol: Any, grid: Any, total: float) -> float:
    """The mean work of a protocol, from 128 and 256 nodes extrapolated to cells of no
    width.
    """
    import fpsolve as fp
    from fpsolve.anneal.staircase import mean_work
    from fpsolve.path.mix import Driven, Identity

    by_lambda = fp.FokkerPlanck(Driven(path, Identity()), 1.0)
    found = []
    for factor in (2, 4):
        found.append(
            float(mean_work(by_lambda, grid.refine(factor), protocol, total, 64))
        )
    return found[1] + (found[1] - found[0]) / 3


def weights() -> list[dict[str, Any]]:
    """The weights along a path between mixtures in one and two dimensions, with parts
    of the exact drift.
    """
    import fpsolve as fp
    from fpsolve.anneal import importance_weights

    line = fp.Mix(
        fp.GaussianMixture([[0.0]], 1.0),
        fp.GaussianMixture([[-1.6], [1.6]], 0.25, [0.3, 0.7]),
    )
    plane = fp.Mix(
        fp.GaussianMixture([[0.0, 0.0]], 1.0),
        fp.GaussianMixture([[-1.2, 0.0], [1.2, 0.6]], 0.4, [0.4, 0.6]),
    )
    cases = (
        (line, fp.Grid(fp.Line(-6.0, 6.0, 128)), 1e-4),
        (plane, fp.Grid(fp.Line(-5.0, 5.0, 40), fp.Line(-5.0, 5.0, 40)), 1e-3),
    )
    rows = []
    for path, grid, tol in cases:
        for strength in STRENGTHS:
            schedule = fp.schedule.linear(1.0)
            found = importance_weights(
                path, schedule, drift="exact", strength=strength, grid=grid, tol=tol
            )
            numbers = {
                "variance": float(found.variance),
                "effective": float(found.effective),
                "kl": float(found.kl),
            }
            error = float(found.errors["effective"])
            rows.append(
                {
                    "part": "weights",
                    "dimension": grid.ndim,
                    "strength": strength,
                    **numbers,
                    "error": error,
                }
                | {"mean": float(found.mean), "reached": found.result == "successful"}
            )
            print(
                f"{grid.ndim}-D, {strength:.1f} of the exact drift: {numbers}, E w "
                f"Z_0/Z_T - 1 = {found.mean - 1:.0e}"
            )
    return rows


def spread(values: list[float]) -> str:
    """A number, or the mean and standard deviation over seeds."""
    if len(values) == 1:
        return f"{values[0]:.2e}"
    return f"{np.mean(values):.2e} ± {np.std(values, ddof=1):.0e}"


def print_table(
    dimension: int, rows: list[dict[str, Any]], budgets: tuple[int, ...]
) -> None:
    """KL by rule and number of steps, for each sampler."""
    for sampler in dict.fromkeys(row["sampler"] for row in rows):
        print(f"\nKL, {dimension}-D, {sampler}: steps " + ", ".join(map(str, budgets)))
        for rule in dict.fromkeys(row["rule"] for row in rows):
            cells = []
            for count in budgets:
                key = {"sampler": sampler, "rule": rule, "steps": count}
                cells.append(
                    [
                        row["kl"]
                        for row in rows
                        if all(row[name] == value for name, value in key.items())
                    ]
                )
            print(
                f"  {rule:24s} " + "  ".join(f"{spread(cell):>22s}" for cell in cells)
            )


def draw_steps(rows: list[dict[str, Any]], out: Path) -> None:
    """One panel a dimension and sampler: KL over the number of steps, one line a rule."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((row["dimension"], row["sampler"]) for row in rows))
    names = list(dict.fromkeys(row["rule"] for row in rows))
    figure, axes = pyplot.subplots(
        1,
        len(panels),
        figsize=(3.6 * len(panels), 4.2),
        squeeze=False,
        layout="constrained",
    )
    colours = pyplot.colormaps["tab10"]
    for axis, (dimension, sampler) in zip(axes[0], panels, strict=True):
        for k, name in enumerate(names):
            chosen = [
                row
                for row in rows
                if (row["dimension"], row["sampler"], row["rule"])
                == (dimension, sampler, name)
            ]
            budgets = sorted({row["steps"] for row in chosen})
            means = [
                np.mean([row["kl"] for row in chosen if row["steps"] == n])
                for n in budgets
            ]
            axis.loglog(
                budgets,
                means,
                "os^vD<>*P"[k % 9] + "-",
                color=colours(k % 10),
                label=name,
                lw=1.4,
                ms=5,
            )
        axis.set(title=f"{dimension}-D, {sampler}", xlabel="steps", xticks=BUDGETS)
        axis.set_xticks(BUDGETS, [str(n) for n in BUDGETS])
        axis.minorticks_off()
        axis.grid(color="0.9")
    axes[0, 0].set_ylabel("KL(sampler | data), exact")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    raise SystemExit(main())
