"""Potentials that change fast, and the grids on which a drive follows them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from fpsolve.path import Driven

TOTAL = 0.05
LINE = fp.Grid(fp.Line(-3.5, 3.5, 96))
SHORT = fp.Grid(fp.Line(-3.0, 3.0, 40))
RING = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 48))
PLANE = fp.Grid(fp.Line(-3.2, 3.2, 32), fp.Line(-3.0, 3.0, 32))


def split(lam: Any) -> Any:
    """One well becomes a tilted pair, in one dimension or in two."""
    early = lambda x: 2 * (x[0] + 1) ** 2
    late = lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
    return lambda x: (
        (1 - lam) * early(x)
        + lam * late(x)
        + (2 + lam) * jnp.sum((x[1:] + 0.3 * lam * x[0]) ** 2)
    )


SPLIT = fp.FokkerPlanck(Driven(split, lambda t: t / TOTAL))
SWUNG = fp.FokkerPlanck(Driven(split, lambda t: jnp.sin(10 * jnp.pi * t) ** 2))
TURNED = fp.FokkerPlanck(lambda x, t: 2 * jnp.cos(x[0] - 3 * t))
