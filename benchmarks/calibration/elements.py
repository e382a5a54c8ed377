"""Spectral elements on one axis, in numpy: the references of `effectivity.py` in one
dimension. No code of fpsolve.

    d_t p = d_x (k g' - b g),   p = w g,   g continuous     a density
    -H psi = D psi'' - V psi                                a wave: w = 1, k = D,
                                                            with the rate V

A jump of U/D at a constant D is a jump of w = exp(-U/D), with k = D w and b = f w; a
jump of an Itô diffusion is one of w = 1/D, with k = 1, b = drift / D; smooth problems
may take w = 1. Elements end at the jumps. With the Gauss-Lobatto weights q the masses
m = q p of the nodes obey

    d_t m = -K diag(1 / (w q)) m,     K_ij = sum_s q_s (k l_i' l_j' - b l_i' l_j),

whose columns sum to zero. A start p0 has the masses int l_i p0: those are exact for any
start, however narrow, if the functions l_i resolve the kernel of the process.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

Function = Callable[[np.ndarray], np.ndarray]
# of the rule for the masses of a start, between two of its knots
PANELS, POINTS = 10, 16


def lobatto(order: int) -> tuple[np.ndarray, np.ndarray]:
    """The `order + 1` Gauss-Lobatto nodes in [-1, 1] and their weights."""
    last = np.polynomial.legendre.Legendre.basis(order)
    nodes = np.concatenate([[-1.0], np.sort(np.real(last.deriv().roots())), [1.0]])
    return nodes, 2 / (order * (order + 1) * last(nodes) ** 2)


def lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The Lagrange functions of the nodes at x, `(len(x), len(nodes))`, by products."""
    values = np.ones((len(x), len(nodes)))
    for j, node in enumerate(nodes):
        others = np.delete(nodes, j)
        values[:, j] = np.prod((x[:, None] - others) / (node - others), axis=1)
    return values


def slopes(nodes: np.ndarray) -> np.ndarray:
    """The matrix of derivatives of the Lagrange functions at the nodes."""
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    scale = np.prod(gaps, axis=1)
    matrix = scale[:, None] / (scale * gaps)
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


@dataclasses.dataclass
class Elements:
    """Elements between `ends` `(m + 1,)`, of one `order`; `periodic`, or open with
    `closed` ends where g is zero.
    """

    ends: np.ndarray
    order: int
    periodic: bool = False
    closed: tuple[bool, ...] = (False, False)

    def __post_init__(self) -> None:
        nodes, weights = lobatto(self.order)
        self.reference, self.lengths = nodes, np.diff(self.ends)
        count = len(self.lengths)
        # x `(count, order + 1)`: the places, with both copies of a shared node; the
        # copies lie within their elements, so that a function with a jump at an end of
        # elements has the right value in each
        inner = nodes * (1 - 1e-12)
        self.x = self.ends[:-1, None] + self.lengths[:, None] * (inner + 1) / 2
        self.q = weights * self.lengths[:, None] / 2
        index = np.arange(count)[:, None] * self.order + np.arange(self.order + 1)
        self.size = count * self.order + (0 if self.periodic else 1)
        self.index = index % self.size
        self.free = np.ones(self.size, bool)
        self.free[0] &= not self.closed[0]
        self.free[-1] &= not self.closed[1]

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The sum over elements of `values` `(count, order + 1)` at each node,
        `(size,)`.
        """
        return np.bincount(self.index.ravel(), values.ravel(), self.size)

    def stiffness(self, k: np.ndarray, b: np.ndarray | float = 0.0) -> np.ndarray:
        """K `(size, size)`, from k and b at `x`."""
        derivative = slopes(self.reference)
        matrix = np.zeros((self.size, self.size))
        b = np.broadcast_to(b, self.x.shape)
        for e, length in enumerate(self.lengths):
            d = derivative * 2 / length
            block = d.T @ ((self.q[e] * k[e])[:, None] * d) - d.T * (self.q[e] * b[e])
            matrix[np.ix_(self.index[e], self.index[e])] += block
        return matrix

    def project(self, start: Function, knots: Any = ()) -> np.ndarray:
        """The masses int l_i p0 `(size,)`; `knots` are the places between which p0 is
        smooth and slow.
        """
        inner = [k for k in np.ravel(knots) if self.ends[0] < k < self.ends[-1]]
        cuts = np.unique(np.concatenate([self.ends, inner]))
        s, w = np.polynomial.legendre.leggauss(POINTS)
        fine = np.concatenate(
            [np.linspace(a, c, PANELS + 1)[:-1] for a, c in itertools.pairwise(cuts)]
        )
        fine = np.append(fine, cuts[-1])
        x = (fine[:-1, None] + np.diff(fine)[:, None] * (s + 1) / 2).ravel()
        masses = start(x) * (np.diff(fine)[:, None] * w / 2).ravel()
        where, local = self.locate(x)
        parts = lagrange(self.reference, local) * masses[:, None]
        return np.bincount(self.index[where].ravel(), parts.ravel(), self.size)

    def locate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The element of each place, and the position in it in [-1, 1]."""
        where = np.clip(
            np.searchsorted(self.ends, x, side="right") - 1, 0, len(self.lengths) - 1
        )
        return where, 2 * (x - self.ends[where]) / self.lengths[where] - 1

    def interpolate(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The function with `values` `(size,)` at the nodes, at the places x of any
        shape; zero outside.
        """
        flat = np.ravel(x)
        if self.periodic:
            flat = self.ends[0] + (flat - self.ends[0]) % (self.ends[-1] - self.ends[0])
        where, local = self.locate(flat)
        # by Legendre coefficients of each element, whose sum is quicker than one of
        # Lagrange functions
        series = np.linalg.solve(
            np.polynomial.legendre.legvander(self.reference, self.order),
            values[self.index].T,
        )
        table = np.polynomial.legendre.legvander(np.clip(local, -1, 1), self.order)
        found = np.einsum("ij,ij->i", table, series.T[where])
        outside = (flat < self.ends[0]) | (flat > self.ends[-1])
        return np.where(outside, 0.0, found).reshape(np.shape(x))

    def cumulative(self, values: np.ndarray) -> np.ndarray:
        """The integral from the left of `values` `(count, order + 1)`, at the same
        places.
        """
        s, w = np.polynomial.legendre.leggauss(self.order + 1)
        nodes = self.reference
        # the integrals of the Lagrange functions from -1 to each node, by a Gauss rule
        # in [-1, node]
        rows = [
            lagrange(nodes, -1 + (node + 1) * (s + 1) / 2).T @ w * (node + 1) / 2
            for node in nodes
        ]
        inside = values @ np.array(rows).T * self.lengths[:, None] / 2
        before = np.concatenate([[0.0], np.cumsum(inside[:-1, -1])])
        return inside + before[:, None]


@dataclasses.dataclass
class Process:
    """A density on elements, from functions of x: w, k and b of the module's head."""

    elements: Elements
    w: Function
    k: Function
    b: Function | None = None

    def __post_init__(self) -> None:
        x = self.elements.x
        drift = 0.0 if self.b is None else self.b(x)
        # w q, with both sides of a jump
        self.mass = self.elements.gather(self.w(x) * self.elements.q)
        self.matrix = self.elements.stiffness(self.k(x), drift) / self.mass
        self.keeps = not any(self.elements.closed)

    def evolve(self, start: Function, times: Any, knots: Any = ()) -> list["Density"]:
        """The densities at `times`; without closed ends the start is normalised to mass
        1.
        """
        masses = self.elements.project(start, knots)
        masses = masses / masses.sum()
        free = self.elements.free
        found = []
        power, before = np.eye(0), 0.0
        for t in times:
            doublings = np.log2(t / before) if before else 0.5
            if abs(doublings - round(doublings)) < 1e-9:
                power = squared(power, round(doublings), self.keeps)
            else:
                power = exponential(-t * self.matrix[np.ix_(free, free)], self.keeps)
            before = t
            after = np.zeros_like(masses)
            after[free] = power @ masses[free]
            found.append(Density(self, after))
        return found

    def stationary(self) -> "Density":
        """The density that does not change."""
        if self.b is None:
            return Density(self, self.mass / self.mass.sum())
        matrix = np.vstack(
            [self.matrix / np.abs(self.matrix).max(), np.ones(self.elements.size)]
        )
        masses = np.linalg.lstsq(
            matrix, np.append(np.zeros(self.elements.size), 1.0), rcond=None
        )[0]
        return Density(self, masses)

    def levels(self, count: int) -> np.ndarray:
        """The lowest rates of -L: real where there is no b, else complex and by real
        part.
        """
        free = self.elements.free
        if self.b is not None:
            values = np.linalg.eigvals(self.matrix[np.ix_(free, free)])
            return values[np.lexsort((values.imag, values.real.round(9)))][:count]
        root = np.sqrt(self.mass)
        symmetric = (self.matrix * root / root[:, None])[np.ix_(free, free)]
        return scipy.linalg.eigvalsh(
            (symmetric + symmetric.T) / 2, subset_by_index=[0, count - 1]
        )


def exponential(matrix: np.ndarray, keeps: bool) -> np.ndarray:
    """The exponential of a generator, by scipy for a short time and squarings; `keeps`:
    its columns sum to zero.
    """
    squarings = max(0, int(np.ceil(np.log2(np.abs(matrix).sum(axis=0).max() + 1e-300))))
    return squared(scipy.linalg.expm(matrix / 2**squarings), squarings, keeps)


def squared(power: np.ndarray, times: int, keeps: bool) -> np.ndarray:
    """A matrix squared so many times.

    Each time columns are given their sum 1 again if `keeps`, since a loss by rounding
    would double with every squaring, and what is below 1e-150 becomes zero, since
    subnormal numbers are slow.
    """
    for turn in range(times + 1):
        power = np.where(np.abs(power) < 1e-150, 0.0, power)
        power = power / power.sum(axis=0) if keeps else power
        power = power @ power if turn < times else power
    return power


@dataclasses.dataclass
class Density:
    """A density on elements, from the masses of the nodes: call it at places of any
    shape.
    """

    process: Process
    masses: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        values = self.masses / self.process.mass
        return self.process.elements.interpolate(values, x) * self.process.w(x)

    def mean(self, f: Function) -> float:
        """The expectation of f."""
        e = self.process.elements
        values = (self.masses / self.process.mass)[e.index]
        return float(np.sum(self.process.w(e.x) * e.q * values * f(e.x)))


@dataclasses.dataclass
class Waves:
    """H = -D d_xx + V on elements; V is a function of x."""

    elements: Elements
    diffusion: float
    potential: Function

    def __post_init__(self) -> None:
        e = self.elements
        self.q = e.gather(e.q)
        root = np.sqrt(self.q)
        matrix = e.stiffness(np.full(e.x.shape, self.diffusion)) / root / root[:, None]
        matrix += np.diag(e.gather(self.potential(e.x) * e.q) / self.q)
        self.matrix = matrix[np.ix_(e.free, e.free)]

    def levels(self, count: int) -> np.ndarray:
        """The lowest levels."""
        return scipy.linalg.eigvalsh(self.matrix, subset_by_index=[0, count - 1])

    def evolve(self, start: Function, times: Any, knots: Any = ()) -> list[Function]:
        """exp(-t H) of a wave at `times`, as functions."""
        e = self.elements
        values, vectors = np.linalg.eigh(self.matrix)
        root = np.sqrt(self.q)[e.free]
        wave = vectors.T @ (e.project(start, knots)[e.free] / root)
        found = []
        for t in times:
            nodal = np.zeros(e.size)
            nodal[e.free] = vectors @ (np.exp(-t * values) * wave) / root
            found.append(lambda x, nodal=nodal: e.interpolate(nodal, x))
        return found
