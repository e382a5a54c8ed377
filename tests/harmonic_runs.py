"""Runs in a harmonic potential, and their true error against a normal density."""

import numpy as np

import fpsolve as fp

MEASURES = {"mean": lambda x: x[0], "square": lambda x: x[0] ** 2}


def harmonic(x):
    return x[0] ** 2 / 2


def exact(nodes, t, mean, variance):
    """The density of U = x^2/2, D = 1 from a normal density."""
    mean = mean * np.exp(-t)
    variance = 1 + (variance - 1) * np.exp(-2 * t)
    return np.exp(-((nodes - mean) ** 2) / (2 * variance)) / np.sqrt(
        2 * np.pi * variance
    )


def run(grid, mean, variance, times, **options):
    start = fp.Gaussian(mean, variance)
    return fp.evolve(
        fp.FokkerPlanck(harmonic),
        start,
        times,
        grid=grid,
        observables=MEASURES,
        **options,
    )


def true_error(solution, mean, variance):
    """The relative L1 error, with the mass of the exact density beyond the box."""
    axis = solution.grid.axes[0]
    found = []
    for t, values in zip(solution.times, solution.values, strict=True):
        density = exact(axis.nodes, float(t), mean, variance)
        inside = np.sum(axis.weights * np.abs(np.asarray(values) - density))
        found.append(inside + max(0.0, 1 - np.sum(axis.weights * density)))
    return np.asarray(found)
