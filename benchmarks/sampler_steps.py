"""Few-step samplers of Gaussian mixtures, measured by their exact KL from the data."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BOX = 5.5  # half of the box of the starts, which are nearly standard normal
SMALLEST = 0.02  # the noise level before the last step, for the rules that have one
BUDGETS = (4, 8, 16)
SEEDS = 5
SAMPLES = 2000
PLACES = np.linspace(0.02, 1.0, 24)  # at which the work is measured on samples
# of KL, relative: its integral over the start has fewer nodes an axis
GOALS = {1: 0.01, 2: 0.05, 3: 0.2}
PIECES = 3  # of the stiffness of a harmonic bridge
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
    from fpsolve.diffusion.line_law import sampler_law, shortfall

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


def spread(values: list[float]) -> str:
    """A number, or the mean and standard deviation over seeds."""
    if len(values) == 1:
        return f"{values[0]:.2e}"
    return f"{np.mean(values):.2e} ± {np.std(values, ddof=1):.0e}"


def matching(rows: list[dict[str, Any]], key: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have every value of `key`."""
    return [row for row in rows if all(row[name] == key[name] for name in key)]


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
                cells.append([row["kl"] for row in matching(rows, key)])
            print(
                f"  {rule:24s} " + "  ".join(f"{spread(cell):>22s}" for cell in cells)
            )


def draw_steps(rows: list[dict[str, Any]], out: Path) -> None:
    """A panel for each dimension and sampler: KL over the steps, one line a rule."""
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
            key = {"dimension": dimension, "sampler": sampler, "rule": name}
            chosen = matching(rows, key)
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
