"""T6: the curvature of a potential bounds the rates of relaxation, and bounded changes
of it change them boundedly.

    U'' >= k  ==>  KL(p(t)|pi) <= exp(-2 k t) KL(p(0)|pi),  gap >= k
    U -> U + b  ==>  gap(U + b) >= exp(-(max b - min b)/D) gap(U)

The first is due to Bakry and Emery, the second to Holley and Stroock. Both are
equalities for a normal pi, the first if p(0) is pi moved. Controls: the largest
curvature in the place of the least; half of the oscillation of b.

Reference: Bakry, Gentil and Ledoux, Analysis and Geometry of Markov Diffusion Operators
(2014), sections 4.2, 4.8, 5.7.
"""

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis
from ..operator import Spectral
from ..propagate import Dense
from ..solve.evolve import evolve
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .families import (
    BOX,
    Landscape,
    entropy,
    normals,
    random_convex,
    random_normals,
    random_waves,
)
from .problems import sqrt_gibbs

# positions at which an oscillation and a largest curvature are taken: a free choice
FINE = 4001


@claim(
    "T6",
    "U'' ≥ k ⇒ KL(p(t)|π) ≤ e^(-2kt) KL(p(0)|π), an equality for a moved normal "
    "density",
    kind="inequality",
    # the error of the basis and of rounding in KL: the normal density attains the bound
    allowed=1e-7,
    control=(
        "largest U''",
        "the largest curvature in the place of the least is no rate of decay",
    ),
    hypotheses="one dimension; U'' at least k everywhere; KL(p(0)|pi) is finite",
    source="Bakry, Gentil and Ledoux (2014), theorem 5.2.1 and proposition 5.7.1",
    sweep=("normal", *range(8)),
)
def convexity(
    case: Case,
    *,
    diffusion: float = 0.5,
    axis: Axis = BOX,
    times: tuple[float, ...] = (0.3, 1.0, 3.0),
) -> Measured:
    """KL(t) e^(2kt) at every time, and KL(0), for random convex U and random starts."""
    grid = case.grid(axis)
    x = grid.axes[0].nodes
    random = case.random()
    if case.value == "normal":
        potential = Landscape(0.8)
        start = normals(x, [1.0], [1.2], [diffusion / 0.8])
    else:
        potential = random_convex(random)
        start = random_normals(random, x)
    equation = FokkerPlanck(potential, diffusion)
    run = evolve(
        equation,
        jnp.asarray(start),
        times,
        grid=grid,
        scheme=Spectral(),
        method=Dense(),
        check=False,
    )
    # a log cosh b(x - c) has the curvature a b^2 / cosh^2.
    height, rate, centre = np.asarray(potential.ramps)
    fine = np.linspace(axis.lower, axis.upper, FINE)[:, None]
    curvature = float(potential.stiffness)
    if case.control:
        bends = height * (rate / np.cosh(rate * (fine - centre))) ** 2
        curvature += float(np.max(np.sum(bends, axis=1)))
    weights = grid.axes[0].weights
    gibbs = sqrt_gibbs(equation, grid) ** 2
    growth = np.exp(2 * curvature * np.asarray(times))
    later = entropy(np.asarray(run.values), gibbs, weights) * growth
    return later, np.full(len(times), entropy(start, gibbs, weights))


@claim(
    "T6.bounded",
    "U'' ≥ k, b bounded ⇒ k e^(-(max b - min b)/D) ≤ gap(U + b), an equality for a "
    "normal π",
    kind="inequality",
    allowed=1e-9,  # the error of the gap: the normal density attains the bound
    control=(
        "half of max b - min b",
        "half of the oscillation is not enough behind a high barrier",
    ),
    hypotheses="one dimension; U'' at least k everywhere",
    source=(
        "Holley and Stroock (1987); Bakry, Gentil and Ledoux (2014), propositions "
        "4.2.7 and 4.8.1"
    ),
    sweep=("normal", *range(10), "barrier"),
)
def bounded_change(case: Case, *, diffusion: float = 0.5, axis: Axis = BOX) -> Measured:
    """The bound, and the gap, for random convex potentials and sums of cosines."""
    random = case.random()
    potential = random_convex(random)
    waves = random_waves(random, 0.3)
    if case.value == "normal":
        potential = Landscape(0.8)
        waves = np.zeros_like(waves)
    elif case.value == "barrier":
        # 2.5 cos 1.5 x: a barrier of ten diffusions between two wells.
        potential = Landscape(0.5)
        waves = np.zeros_like(waves)
        waves[:2, 0] = (2.5, 1.5)
    changed = Landscape(float(potential.stiffness), potential.ramps, waves)
    equation = FokkerPlanck(changed, diffusion)
    grid = case.grid(axis)
    gap = float(spectrum(equation, grid, 2, scheme=Spectral(), check=False).gap)
    # max b - min b over the box, beyond which pi has no mass to speak of.
    fine = np.linspace(axis.lower, axis.upper, FINE)[:, None]
    amplitude, frequency, phase = waves
    change = np.sum(amplitude * np.cos(frequency * fine + phase), axis=1)
    oscillation = np.ptp(change)
    share = 0.5 if case.control else 1.0
    bound = float(potential.stiffness) * np.exp(-share * oscillation / diffusion)
    return bound, gap
