"""The problems of the kernel benchmark: potentials, starts, boxes, and references to
measure errors against.

    d_t p = div(grad p + p grad U),   D = 1
    U = 3 (x^2 - 1)^2 [+ 2 y^2 + x y / 2 [+ 2 z^2 + y z / 2]]
    start N(-1, 0.2^2) in x, N(0, 0.2^2) in y and z
    P5: 4 x^2 (1 - s) + 3 (x^2 - 1)^2 s in place of the quartic, s = t / 10, from the
    Gibbs density at t = 0
    P6: the ground state of -Laplacian / 2 + U

Errors are relative L1 errors of the density, sum |p - q| / sum |q| on the solver's own
nodes, where q is the reference: a spectral solution on a finer grid in a larger box,
interpolated trigonometrically, which is exact to rounding.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

DURATION = 10.0  # of the path of P5
WIDTH = 0.2  # of the start


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem: `d` dimensions, final time `t`, the spectral grid that reaches 1e-8,
    and a finer one.
    """

    name: str
    d: int
    t: float
    box: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]
    fine_box: tuple[tuple[float, float], ...]
    fine_shape: tuple[int, ...]
    kind: str = "static"  # or "moving", "ground"

    @property
    def potential(self) -> Callable[..., Any]:
        """U(x), or U(x, t), for fpsolve: x of shape `(d,)`."""
        if self.kind == "moving":
            return lambda x, t: _moving(x, t / DURATION)
        return _still

    def potential_term(
        self, axes: tuple[np.ndarray, ...], s: float = 1.0
    ) -> np.ndarray:
        """The quantum potential |grad U|^2 / 4 - Laplacian U / 2, by hand."""
        gradient, laplacian = derivatives(axes, s)
        return sum(g * g for g in gradient) / 4 - laplacian / 2

    def start(self, axes: tuple[np.ndarray, ...]) -> np.ndarray:
        """The density at t = 0, normalised on equal cells."""
        if self.kind == "moving":
            density = np.exp(-potential(axes, 0.0))
        else:
            centres = (-1.0, 0.0, 0.0)
            density = np.exp(
                -sum((x - m) ** 2 for x, m in zip(axes, centres, strict=False))
                / (2 * WIDTH**2)
            )
        return density / (density.sum() * cell(axes))

    def error(self, density: np.ndarray, axes: tuple[np.ndarray, ...]) -> float:
        """Relative L1 error of the density on the nodes `axes` (open, one an axis)."""
        truth = self.reference.at(axes)
        return float(np.abs(np.asarray(density) - truth).sum() / np.abs(truth).sum())

    @functools.cached_property
    def reference(self) -> "Reference":
        """The converged solution."""
        from references import converge  # only needed to measure an error

        return Reference(self.fine_box, converge(self, self.fine_box, self.fine_shape))


@dataclasses.dataclass(frozen=True)
class Reference:
    """A density on cell centres of a box, evaluated anywhere inside by its
    trigonometric polynomial.
    """

    box: tuple[tuple[float, float], ...]
    values: np.ndarray

    def at(self, axes: tuple[np.ndarray, ...]) -> np.ndarray:
        """Values at the product of the nodes; zero outside the reference's box."""
        answer = self.values
        for i, (bounds, x) in enumerate(zip(self.box, axes, strict=True)):
            matrix = interpolation(bounds, self.values.shape[i], x.ravel())
            answer = np.moveaxis(np.tensordot(matrix, answer, (1, i)), 0, i)
        return answer


def interpolation(bounds: tuple[float, float], n: int, x: np.ndarray) -> np.ndarray:
    """Trigonometric interpolation from `n` cell centres to x `(m,)`: a matrix `(m, n)`,
    zero outside the bounds.
    """
    lower, upper = bounds
    width = (upper - lower) / n
    u = np.pi * (x[:, None] - (lower + width * (np.arange(n) + 0.5))) / (upper - lower)
    near = np.abs(np.sin(u)) < 1e-14
    safe = np.where(near, 0.5, u)
    kernel = np.where(
        near,
        1.0,
        np.sin(n * safe) / (n * (np.tan(safe) if n % 2 == 0 else np.sin(safe))),
    )
    return np.where(((x >= lower) & (x <= upper))[:, None], kernel, 0.0)


def centres(bounds: tuple[float, float], n: int) -> np.ndarray:
    """Cell centres, `(n,)`."""
    width = (bounds[1] - bounds[0]) / n
    return bounds[0] + width * (np.arange(n) + 0.5)


def open_axes(
    box: tuple[tuple[float, float], ...], shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """Cell centres along each axis, shaped to broadcast."""
    return tuple(
        np.ix_(*(centres(bounds, n) for bounds, n in zip(box, shape, strict=True)))
    )


def cell(axes: tuple[np.ndarray, ...]) -> float:
    """The volume of a cell."""
    return float(np.prod([x.ravel()[1] - x.ravel()[0] for x in axes]))


def potential(axes: tuple[np.ndarray, ...], s: float = 1.0) -> np.ndarray:
    """U on the product of the nodes."""
    x, *rest = axes
    value = (1 - s) * 4 * x**2 + s * 3 * (x**2 - 1) ** 2
    for before, y in zip(axes, rest, strict=False):
        value = value + 2 * y**2 + before * y / 2
    return value


def derivatives(
    axes: tuple[np.ndarray, ...], s: float = 1.0
) -> tuple[list[np.ndarray], np.ndarray]:
    """The gradient of U, one array an axis, and its Laplacian."""
    x = axes[0]
    gradient = [(1 - s) * 8 * x + s * 12 * x * (x**2 - 1)] + [4 * y for y in axes[1:]]
    for i in range(len(axes) - 1):
        gradient[i] = gradient[i] + axes[i + 1] / 2
        gradient[i + 1] = gradient[i + 1] + axes[i] / 2
    return gradient, (1 - s) * 8 + s * (36 * x**2 - 12) + 4.0 * (len(axes) - 1)


def start_moments(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the start, a normal density in every problem: P5's is the
    Gibbs density at s = 0.
    """
    if problem.kind != "moving":
        return np.array([-1.0, 0.0, 0.0][: problem.d]), np.full(problem.d, WIDTH**2)
    curvature = (
        np.diag([8.0, 4.0, 4.0][: problem.d])
        + (np.eye(problem.d, k=1) + np.eye(problem.d, k=-1)) / 2
    )
    return np.zeros(problem.d), np.linalg.inv(curvature)


def speed(axes: tuple[np.ndarray, ...]) -> np.ndarray:
    """dU/dt along the path of P5."""
    return (3 * (axes[0] ** 2 - 1) ** 2 - 4 * axes[0] ** 2) / DURATION


def _still(x: Any) -> Any:
    return _moving(x, 1.0)


def _moving(x: Any, s: Any) -> Any:
    """U at a point x of shape `(d,)`, numpy's or JAX's."""
    value = (1 - s) * 4 * x[0] ** 2 + s * 3 * (x[0] ** 2 - 1) ** 2
    for i in range(1, x.shape[0]):
        value = value + 2 * x[i] ** 2 + x[i - 1] * x[i] / 2
    return value
