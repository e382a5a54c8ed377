"""T21: the four costs of a path, their order, and the least cost of a schedule.

With f = sqrt(pi) d_λ log pi and the gap of H, at every λ

    (d) |H^-1 f|  <=  (c) |H^-1/2 f| / sqrt(gap)
                  <=  (a) |f| / gap  <=  (b) |H^1/2 f| / gap^(3/2)

with equality where f is a mode of rate gap, as for a normal density that is moved. A
schedule of time T minimises J = int g λ'^2 dt, g one of the costs squared, with sqrt(g)
λ' constant, and J = (int sqrt(g) dλ)^2 / T.

References: Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602 (c); Halmos and Hanin,
arXiv 2606.05217, eq. 9 (b).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.along import along
from ..anneal.schedule.schedules import linear, optimal
from ..grid import Axis, Line
from ..path import Mix
from ..potential import Harmonic
from .base import Case, Measured, claim
from .constants import CONSTANTS

COSTS = ("bound", "score", "wasserstein", "exact")
NORMALS = Line(-7.0, 7.0, 64)  # holds all normal densities of the paths used here
LAMBDAS = np.asarray([0.1, 0.3, 0.5, 0.7, 0.9])


class Wells(eqx.Module):
    """U = stiffness x^2/2 + bump exp(-(x - center)^2/2) + tilt x, which confines for
    every bump and tilt.
    """

    stiffness: Array
    bump: Array
    center: Array
    tilt: Array

    def __call__(self, x: Array) -> Array:
        """U at the point x `(1,)`."""
        offset = x[0] - self.center
        bump = self.bump * jnp.exp(-(offset**2) / 2)
        harmonic = self.stiffness * x[0] ** 2 / 2
        return harmonic + bump + self.tilt * x[0]


def random_wells(random: np.random.Generator) -> Wells:
    """One well or two."""
    # In the order of the fields: stiffness, bump, center, tilt.
    least = [0.8, 0.0, -0.5, -0.5]
    largest = [2.0, 4.0, 0.5, 0.5]
    numbers = random.uniform(least, largest)
    return Wells(*(jnp.asarray(number) for number in numbers))


def normal_path(stiffness: tuple[float, float], centers: tuple[float, float]) -> Mix:
    """The straight path between two harmonic wells."""
    start = Harmonic(stiffness[0], centers[0])
    end = Harmonic(stiffness[1], centers[1])
    return Mix(start, end)


def normal_costs(
    lam: np.ndarray,
    stiffness: tuple[float, float],
    centers: tuple[float, float],
    diffusion: float,
) -> np.ndarray:
    """The costs, by name in the order of COSTS, `(4, L)` at λ `(L,)` of that path, in
    closed form.

    With k, m and s^2 = D/k, d_λ log pi = (m'/s) h_1 + (sqrt(2) s'/s) h_2, of which the
    Hermite functions h_1 and h_2 are modes of rates k and 2k.
    """
    k0, k1 = stiffness
    m0, m1 = centers
    # U at λ is harmonic as well, with this stiffness and this centre.
    k = (1 - lam) * k0 + lam * k1
    mean = ((1 - lam) * k0 * m0 + lam * k1 * m1) / k
    mean_slope = (k1 * m1 - k0 * m0) / k - mean * (k1 - k0) / k
    first = mean_slope * np.sqrt(k / diffusion)
    second = -np.sqrt(0.5) * (k1 - k0) / k  # s'/s = -k'/(2k)

    def norm(power: int | float) -> np.ndarray:
        """|H^power f|"""
        # The modes h_1 and h_2 are orthogonal.
        by_first = first**2 * k ** (2 * power)
        by_second = second**2 * (2 * k) ** (2 * power)
        return np.sqrt(by_first + by_second)

    # The gap is k. The cost (c) is given without its division by sqrt(gap).
    bound = norm(0) / k
    score = norm(0.5) / k**1.5
    return np.stack([bound, score, norm(-0.5), norm(-1)])


@claim(
    "T21",
    "|H⁻¹f| ≤ |H^(-1/2)f|/√gap ≤ |f|/gap ≤ |H^(1/2)f|/gap^(3/2), f = √π d_λ log π",
    kind="inequality",
    allowed=1e-6,  # of the interpolation along the path: the first path has equalities
    control=(
        "two powers of the gap",
        "|f|/gap², as for quantum annealing, does not bound the lag",
    ),
    hypotheses="a gap at every λ, U differentiable in λ",
    source=(
        "derived in the theory of this library; the last cost: Halmos and Hanin, "
        "arXiv 2606.05217, eq. 9"
    ),
    sweep=("normal", 0, 1, 2, 3, 4, 5),
)
def costs_in_order(
    case: Case, *, diffusion: float = 0.6, stiffness: float = 3.0, axis: Axis = NORMALS
) -> Measured:
    """The first three costs and the last three, at five λ."""
    random = case.random()
    path = Mix(random_wells(random), random_wells(random))
    if case.value == "normal":
        path = normal_path((stiffness, stiffness), (-1.0, 1.0))
    grid = case.grid(axis)
    costs = along(
        path,
        grid=grid,
        diffusion=diffusion,
        tol=1e-6,
        check=False,
    )
    rates = costs.at(LAMBDAS)
    gap = np.asarray(rates.gap)
    bound = np.asarray(rates.bound)
    exact = np.asarray(rates.exact)
    length = np.asarray(rates.wasserstein) / np.sqrt(gap)
    # The order (d), (c), (a), (b); each is compared with the next.
    rising = [exact, length, bound, np.asarray(rates.score)]
    if case.control:
        rising = [exact, bound / gap]
    return np.concatenate(rising[:-1]), np.concatenate(rising[1:])


@claim(
    "T21.normal",
    "the costs of a path between normal densities have their closed form",
    kind="identity",
    # of the interpolation along the path and of the extrapolation to cells of size zero
    allowed=1e-8,
    control=("D to 1.02 D", "those of another diffusion are different"),
    hypotheses="a straight path between harmonic wells",
    source="Hermite functions; derived in the theory of this library",
)
def normal(
    case: Case,
    *,
    diffusion: float = 0.6,
    stiffness: tuple[float, float] = (1.0, 3.0),
    centers: tuple[float, float] = (-0.8, 1.0),
    axis: Axis = NORMALS,
) -> Measured:
    """The four costs at five λ."""
    path = normal_path(stiffness, centers)
    grid = case.grid(axis)
    costs = along(
        path,
        grid=grid,
        diffusion=diffusion,
        tol=1e-7,
        check=False,
    )
    rates = costs.at(LAMBDAS)
    quoted = CONSTANTS.wrong_diffusion * diffusion if case.control else diffusion
    found = np.stack([np.asarray(getattr(rates, cost)) for cost in COSTS])
    return found, normal_costs(LAMBDAS, stiffness, centers, quoted)


@claim(
    "T21.schedule",
    "the optimal schedule costs ∫ g λ'² dt = (∫ √g dλ)²/T",
    kind="identity",
    allowed=1e-8,  # of the quadrature over the pieces of the schedule
    control=("linear", "the linear schedule costs more"),
    hypotheses="as for T21; g is a cost squared",
    source=(
        "Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602; the inequality of "
        "Cauchy and Schwarz"
    ),
    sweep=COSTS,
)
def least_cost(
    case: Case,
    *,
    diffusion: float = 0.6,
    stiffness: tuple[float, float] = (1.0, 3.0),
    centers: tuple[float, float] = (-0.8, 1.0),
    total: float = 7.0,
    axis: Axis = NORMALS,
) -> Measured:
    """J of the schedule, and the least J, both with g in closed form."""
    path = normal_path(stiffness, centers)
    grid = case.grid(axis)
    found = along(
        path,
        grid=grid,
        diffusion=diffusion,
        tol=1e-7,
        check=False,
    )
    schedule = linear(total) if case.control else optimal(found, total, cost=case.value)
    index = COSTS.index(case.value)
    # One rule of Gauss for both integrals, over [0, total] and over [0, 1].
    nodes, weights = np.polynomial.legendre.leggauss(400)
    times = total * (1 + nodes) / 2
    lam = np.asarray(schedule(times))
    speed = np.asarray(schedule.rate(times))
    cost_in_time = normal_costs(lam, stiffness, centers, diffusion)[index]
    action = np.sum(total / 2 * weights * cost_in_time**2 * speed**2)
    cost = normal_costs((1 + nodes) / 2, stiffness, centers, diffusion)[index]
    length = np.sum(weights / 2 * cost)
    return action, length**2 / total
