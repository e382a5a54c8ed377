"""Plots of scores: the density of a score, and the diagnosis of a trained one."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..record.types import Axes, Figure
from .panels import coordinate, draw_map, grid_of_panels, marginal, new_figure

if TYPE_CHECKING:
    from ..score import Reconstruction
else:  # a package that is not needed to draw other results
    Reconstruction = Any

MOST_SAMPLES = 4000  # points of a scatter plot


def plot_reconstruction(found: Reconstruction) -> Figure:
    """A matplotlib figure of a `Reconstruction`: density and slowest observable, on a
    line, or as maps of two axes; in more dimensions the marginal along the first.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.plot import plot_reconstruction

    figure = plot_reconstruction(
        fp.score.reconstruct(lambda x: x - x**3, fp.Grid(fp.Line(-4.0, 4.0, 48)))
    )
    ```
    """
    figure = new_figure(8.6, 3.4)
    left, right = figure.subplots(1, 2)
    _density(figure, left, found)
    grid = found.grid
    observable = _slowest(found)
    title = f"slowest observable, gap {float(found.gap):.4g}"
    right.set_title(title, fontsize="medium")
    if grid.ndim == 2:
        # Colours symmetric about zero: the bottleneck is white.
        size = float(np.nanmax(np.abs(observable)))
        draw_map(
            figure,
            right,
            grid,
            observable,
            "ψ₁ / ψ₀",
            cmap="RdBu_r",
            vmin=-size,
            vmax=size,
        )
        _zoom(right, found)
    else:
        x = grid.axes[0].nodes
        density = np.asarray(found.density)
        mass = density * grid.weights
        if grid.ndim > 1:
            # The conditional mean of the observable, given the first coordinate.
            mass = marginal(grid, density, 0)
            weighted = np.nan_to_num(observable) * density
            observable = marginal(grid, weighted, 0) / mass
        # Without mass there are no samples; NaN is not drawn.
        shown = np.where(mass > 1e-6 * mass.max(), observable, np.nan)
        right.plot(x, shown, color="C3", lw=1.6)
        right.axhline(0, color="0.8", lw=0.8, zorder=0)
        right.set_xlabel(coordinate(0, grid.ndim))
        right.set_ylabel("ψ₁ / ψ₀")
    return figure


def plot_diagnosis(diagnosis: Any) -> Figure:
    """A matplotlib figure of a `Diagnosis`: the samples coloured by the slowest
    observable, the density of the score (where there is a grid), gap and steps along
    the path (where there is one).
    """
    found = diagnosis.reconstruction
    costs = diagnosis.costs
    # One panel for the samples, one for the density, one for the path.
    figure, panels = grid_of_panels(1 + (found is not None) + (costs is not None))
    _samples(figure, panels[0], diagnosis)
    if found is not None:
        _density(figure, panels[1], found)
    if costs is not None:
        panel = panels[-1]
        lambdas = np.asarray(costs.lambdas)
        gap = np.asarray(costs.gap)
        error = np.asarray(costs.gap_error)
        panel.errorbar(
            lambdas,
            gap,
            yerr=error,
            fmt="o-",
            ms=3.5,
            capsize=2,
        )
        panel.set_yscale("log")
        panel.set_xlabel("place on the path λ (0 data, 1 noise)")
        panel.set_ylabel("gap (1 / time)")
        for lam in np.asarray(diagnosis.lambdas):
            panel.axvline(
                lam,
                color="C3",
                lw=0.8,
                alpha=0.6,
            )
        steps = len(diagnosis.lambdas) - 1
        panel.set_title(f"gap, and {steps} steps (red)", fontsize="medium")
    return figure


def _samples(figure: Figure, panel: Axes, diagnosis: Any) -> None:
    """The samples, coloured by the observable. In more than two dimensions they are
    projected on the line between the two ends and on the direction of largest variance
    across it.
    """
    x = np.asarray(diagnosis.samples)
    f = np.asarray(diagnosis.observable)
    # Evenly chosen: more points hide each other and make the file large.
    chosen = np.linspace(0, len(x) - 1, min(len(x), MOST_SAMPLES)).astype(int)
    # a few extreme values would make all others pale
    size = float(np.quantile(np.abs(f), 0.99))
    if x.shape[1] == 1:
        panel.plot(
            x[chosen, 0],
            f[chosen],
            ".",
            ms=2,
            color="C0",
        )
        panel.set_xlabel("x")
        panel.set_ylabel("slowest observable")
        return
    if x.shape[1] == 2:
        places = x
        names = ("x₀", "x₁")
    else:
        ends = np.asarray(diagnosis.ends)
        between = ends[1] - ends[0]
        along = between / np.linalg.norm(between)
        # The largest variance across the line is the first singular vector of what is
        # orthogonal to it.
        rest = x - x.mean(0)
        rest = rest - np.outer(rest @ along, along)
        across = np.linalg.svd(rest[chosen], full_matrices=False)[2][0]
        places = np.stack([x @ along, x @ across], 1)
        names = ("from end to end", "widest across")
    dots = panel.scatter(
        *places[chosen].T,
        c=f[chosen],
        s=3,
        cmap="RdBu_r",
        vmin=-size,
        vmax=size,
        rasterized=True,
    )
    figure.colorbar(
        dots,
        ax=panel,
        label="slowest observable",
        shrink=0.9,
    )
    panel.set_xlabel(names[0])
    panel.set_ylabel(names[1])
    panel.set_title("the bottleneck: red to blue", fontsize="medium")


def _density(figure: Figure, panel: Axes, found: Reconstruction) -> None:
    """The reconstructed density, as a line or a map."""
    grid = found.grid
    density = np.asarray(found.density)
    title = f"density of the score, λ = {float(found.ground_energy):.2g}"
    panel.set_title(title, fontsize="medium")
    if grid.ndim == 2:
        draw_map(figure, panel, grid, density, "ρ", cmap="viridis")
        _zoom(panel, found)
        return
    x = grid.axes[0].nodes
    line = density if grid.ndim == 1 else marginal(grid, density, 0)
    panel.fill_between(
        x,
        line,
        color="C0",
        alpha=0.5,
        lw=0,
    )
    panel.set_xlabel(coordinate(0, grid.ndim))
    panel.set_ylabel("density ρ" if grid.ndim == 1 else "marginal of ρ")
    panel.set_ylim(bottom=0)


def _zoom(panel: Axes, found: Reconstruction) -> None:
    """Limit a map to the part of the box with visible density."""
    density = np.asarray(found.density)
    visible = density > 1e-7 * density.max()
    for i, limit in enumerate((panel.set_xlim, panel.set_ylim)):
        there = np.flatnonzero(visible.any(axis=1 - i))
        # Cell k lies between the edges k and k + 1.
        ends = [there[0], there[-1] + 1]
        limit(*found.grid.axes[i].edges[ends])


def _slowest(found: Reconstruction) -> np.ndarray:
    """psi_1 / psi_0, NaN where psi_0 is so small that the quotient may be rounding."""
    ground = np.asarray(found.spectrum.vectors[0])
    slow = np.asarray(found.spectrum.vectors[1])
    resolved = np.abs(ground) > 1e-4 * np.max(np.abs(ground))
    return np.where(resolved, slow / np.where(resolved, ground, 1), np.nan)
