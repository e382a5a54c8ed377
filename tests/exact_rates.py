"""Committor and passage time of a double well on a line, by quadrature.

q' = e^{U/D} / int e^{U/D},   tau' = -e^{U/D} int_{-inf}^x e^{-U/D} / D.
"""

import numpy as np

import fpsolve as fp

BOX = (-2.5, 2.5)
LEFT, RIGHT = -0.913, 0.873


def well(diffusion, tilt=0.0):
    """A double well of barrier 1."""
    return fp.FokkerPlanck(fp.DoubleWell(1.0, tilt=tilt), diffusion)


def line(n):
    return fp.Grid(fp.Line(*BOX, n))


def left(x):
    return x[0] < LEFT


def right(x):
    return x[0] > RIGHT


def cumulative(values, h):
    """The integral from the left end, by trapezia."""
    return np.append(0, np.cumsum((values[1:] + values[:-1]) / 2)) * h


def exact_committor(x, diffusion):
    """Truth: the ratio of integrals of exp(U / D)."""
    s = np.linspace(LEFT, RIGHT, 400_001)
    total = cumulative(np.exp((s**2 - 1) ** 2 / diffusion), s[1] - s[0])
    return np.interp(x, s, total / total[-1])


def exact_passage(x, diffusion):
    """Truth: the double integral of exp(U / D) over exp(-U / D), from x to the right
    set.
    """
    s = np.linspace(BOX[0], RIGHT, 400_001)
    h = s[1] - s[0]
    gibbs = np.exp(-((s**2 - 1) ** 2) / diffusion)
    total = cumulative(cumulative(gibbs, h) / np.maximum(gibbs, 1e-300), h) / diffusion
    return np.interp(x, s, total[-1] - total)
