"""A normal density on a grid: its values at the nodes, or its averages over the cells.

    nodes   p(x_i), normalised on the grid: accurate beyond all orders where the nodes
            resolve the density
    cells   (1 / h) int p dx over each cell, then moved by the part of a cell by which
            the mean differs

Averages keep the mass of a density of any width. The second step keeps its mean, which
is the middle of a cell for a density much narrower than the cell: a part a = |m -
m_grid| / h of the mass of each cell goes to the next one, so that no value becomes
negative. Where the cells resolve the density, a is rounding.

On a ring the density is wrapped: it is the sum of its images.
"""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.special
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.types import AnyArray, ArrayModule, Scalar
from .axis import Axis
from .constants import CONSTANTS
from .gaussian import Gaussian
from .sampling import sample_product


def standard_deviations(axes: tuple[Axis, ...], gaussian: Gaussian) -> AnyArray:
    """The standard deviation along each axis, `(d,)`; by numpy where concrete."""
    xp = np if is_concrete(gaussian) else jnp
    return xp.sqrt(gaussian.variances(len(axes), xp))


def check_inside(name: str, axes: tuple[Axis, ...], gaussian: Gaussian) -> None:
    """Raise `ValueError` for a density that lies outside of the box along some axis;
    traced parameters pass.
    """
    if not is_concrete(gaussian):
        return
    means = np.broadcast_to(np.asarray(gaussian.mean), (len(axes),))
    deviations = standard_deviations(axes, gaussian)
    for i, axis in enumerate(axes):
        # A ring has no outside.
        if axis.boundary == "periodic":
            continue
        mean = means[i]
        deviation = deviations[i]
        below_upper = scipy.special.ndtr((axis.upper - mean) / deviation)
        below_lower = scipy.special.ndtr((axis.lower - mean) / deviation)
        share = below_upper - below_lower
        if share < CONSTANTS.least_share:
            raise_value_error(
                name,
                f"Gaussian(mean {mean:g}, deviation {deviation:g})",
                f"{share:.1g} of it lies in the box along axis {i}, from "
                f"{axis.lower:g} to {axis.upper:g}",
                "Move the box, or the density.",
            )


def node_values(axes: tuple[Axis, ...], gaussian: Gaussian) -> Array:
    """The density at the nodes, `(*shape)`, up to a factor.

    Its largest value is about one, so that a density whose mean is outside of the nodes
    does not underflow everywhere.
    """
    nodes = [axis.nodes for axis in axes]
    shifts = _shifts(axes, gaussian)
    images = [_with_mean(gaussian, len(axes), shift) for shift in shifts]
    # Concrete densities are evaluated by numpy, so that nothing is compiled.
    if is_concrete(gaussian):
        logs = [image.log_density_at(nodes) for image in images]
        largest = max(np.max(log) for log in logs)
        return as_array(sum(np.exp(log - largest) for log in logs))
    logs = [_sampled_log(image, nodes) for image in images]
    # The caller divides by the mass, so that the factor cancels and needs no
    # derivative.
    maxima = jnp.stack([jnp.max(log) for log in logs])
    largest = jax.lax.stop_gradient(jnp.max(maxima))
    return sum((jnp.exp(log - largest) for log in logs), jnp.zeros(()))


def _sampled_log(gaussian: Gaussian, nodes: list[np.ndarray]) -> Array:
    """log p at all points of a tensor product of positions, by JAX."""
    positions = tuple(jnp.asarray(x, dtype=float) for x in nodes)
    return sample_product(gaussian.log_density, positions)


def _with_mean(gaussian: Gaussian, d: int, shift: AnyArray) -> Gaussian:
    """The density moved by `shift` `(d,)`."""
    if is_concrete(gaussian):
        # A new `Gaussian` would convert the numbers to arrays of JAX, which inside of
        # `jit` are tracers.
        mean = np.broadcast_to(np.asarray(gaussian.mean), (d,)) + np.asarray(shift)
        return eqx.tree_at(lambda density: density.mean, gaussian, mean)
    mean = jnp.broadcast_to(gaussian.mean, (d,)) + jnp.asarray(shift)
    return Gaussian(mean, gaussian.covariance)


def _shifts(axes: tuple[Axis, ...], gaussian: Gaussian) -> list[AnyArray]:
    """The shifts `(d,)` of the images of a density on a ring; else zero alone."""
    concrete = is_concrete(gaussian)
    xp: ArrayModule = np if concrete else jnp
    means = xp.broadcast_to(xp.asarray(gaussian.mean), (len(axes),))
    deviations = standard_deviations(axes, gaussian)
    options = []
    for i, axis in enumerate(axes):
        if axis.boundary != "periodic":
            options.append([0.0])
            continue
        # The mean is moved into the ring; images further away than the tails reach add
        # nothing.
        home = -axis.length * xp.floor((means[i] - axis.lower) / axis.length)
        # A traced deviation cannot decide how many images there are.
        count = 1
        if concrete:
            reach = CONSTANTS.tail_deviations * deviations[i] / axis.length
            count = min(CONSTANTS.most_images, 1 + int(reach))
        periods = range(-count, count + 1)
        options.append([home + j * axis.length for j in periods])
    shifts = []
    for combination in itertools.product(*options):
        shifts.append(xp.stack([xp.asarray(s, dtype=float) for s in combination]))
    return shifts


def cell_averages(axes: tuple[Axis, ...], gaussian: Gaussian) -> Array:
    """The averages over the cells, `(*shape)`, of mass 1 in the box, with the mean of
    the density.

    A covariance with correlations is integrated by Gauss's rule, otherwise the averages
    are exact.
    """
    # Concrete densities are averaged by numpy, so that nothing is compiled.
    xp: ArrayModule = np if is_concrete(gaussian) else jnp
    d = len(axes)
    average = _by_quadrature if _is_correlated(gaussian, d) else _product_of_axes
    averages = xp.zeros(())
    for shift in _shifts(axes, gaussian):
        image = _with_mean(gaussian, d, shift)
        averages = averages + average(axes, image, xp)
    for i, axis in enumerate(axes):
        if axis.boundary != "periodic":
            averages = _with_mean_of(averages, axes, i, gaussian, xp)
    return as_array(averages / _sum_over(averages, axes))


def _product_of_axes(
    axes: tuple[Axis, ...],
    gaussian: Gaussian,
    xp: ArrayModule,
) -> AnyArray:
    """The averages of a density without correlations, exact."""
    means = xp.broadcast_to(xp.asarray(gaussian.mean), (len(axes),))
    deviations = standard_deviations(axes, gaussian)
    averages = xp.ones(())
    for axis, mean, deviation in zip(axes, means, deviations, strict=True):
        edges = (axis.edges - mean) / deviation
        masses = _normal_masses(edges[:-1], edges[1:], xp)
        averages = averages[..., None] * masses / axis.weights
    return averages


def _normal_masses(lower: AnyArray, upper: AnyArray, xp: ArrayModule) -> AnyArray:
    """The mass of the standard normal density between `lower` and `upper`."""
    # Differences near one lose all digits: above the mean both limits are reflected.
    above = lower > 0
    a = xp.where(above, -upper, lower)
    b = xp.where(above, -lower, upper)
    ndtr = scipy.special.ndtr if xp is np else jax.scipy.special.ndtr
    return ndtr(b) - ndtr(a)


def _is_correlated(gaussian: Gaussian, d: int) -> bool:
    """Whether the covariance has entries beside its diagonal; a traced one may have."""
    if gaussian.covariance.ndim < 2 or d == 1:
        return False
    if not is_concrete(gaussian):
        return True
    covariance = np.asarray(gaussian.covariance)
    return bool(np.any(covariance - np.diag(np.diag(covariance))))


def _by_quadrature(
    axes: tuple[Axis, ...],
    gaussian: Gaussian,
    xp: ArrayModule,
) -> AnyArray:
    """The averages of a density with correlations, by Gauss's rule in the part of each
    cell that the density reaches.

    A density that is narrow beside a cell is so resolved with as many points as one
    that is wide.
    """
    means = xp.broadcast_to(xp.asarray(gaussian.mean), (len(axes),))
    reaches = CONSTANTS.tail_deviations * standard_deviations(axes, gaussian)
    cells = []
    limits = []
    for axis, mean, reach in zip(axes, means, reaches, strict=True):
        cell = _reached_cells(axis, mean, reach)
        edges = xp.clip(axis.edges, mean - reach, mean + reach)
        cells.append(cell)
        limits.append((edges[:-1][cell], edges[1:][cell]))
    abscissae, weights = _composite_rule(_points_per_cell(limits, gaussian))
    points = []
    for a, b in limits:
        doubled = (a + b)[:, None] + (b - a)[:, None] * abscissae
        points.append(doubled.ravel() / 2)
    if xp is np:
        log_density = gaussian.log_density_at(points)
    else:
        log_density = _sampled_log(gaussian, points)
    values = xp.exp(log_density)
    for i, axis in enumerate(axes):
        a, b = limits[i]
        cell = cells[i]
        # The points of each cell become an axis of their own, which is summed.
        shape = (*values.shape[:i], len(a), len(weights), *values.shape[i + 1 :])
        values = xp.tensordot(values.reshape(shape), weights / 2, (i + 1, 0))
        # The integral is over the part of a cell that is reached, the average over all.
        share = (b - a) / axis.weights[cell]
        values = values * share.reshape(-1, *[1] * (values.ndim - 1 - i))
        outside = [(0, 0)] * values.ndim
        outside[i] = (cell.start, axis.n - cell.stop)
        values = xp.pad(values, outside)
    return values


def _reached_cells(axis: Axis, mean: Scalar, reach: Scalar) -> slice:
    """The cells within `reach` of the mean, at least one; all where traced."""
    if not is_concrete((mean, reach)):
        return slice(0, axis.n)
    first = int(np.searchsorted(axis.edges, mean - reach, "right")) - 1
    last = int(np.searchsorted(axis.edges, mean + reach, "left"))
    first = min(max(first, 0), axis.n - 1)
    return slice(first, max(min(last, axis.n), first + 1))


def _composite_rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Abscissae and weights on (-1, 1) of at least `count` points, in panels of a
    moderate number of Gauss points.
    """
    panels = math.ceil(count / CONSTANTS.points_per_panel)
    abscissae, weights = np.polynomial.legendre.leggauss(math.ceil(count / panels))
    centers = (2 * np.arange(panels) + 1) / panels - 1
    all_abscissae = centers[:, None] + abscissae / panels
    return all_abscissae.ravel(), np.tile(weights, panels) / panels


def _points_per_cell(
    limits: list[tuple[AnyArray, AnyArray]], gaussian: Gaussian
) -> int:
    """Points a cell and axis that resolve a density with correlations between limits,
    as far as memory allows.
    """
    n_cells = math.prod(len(a) for a, _ in limits)
    most = int((CONSTANTS.most_points / n_cells) ** (1 / len(limits)))
    if not is_concrete(gaussian):
        return max(1, min(CONSTANTS.default_points, most))
    variances = np.linalg.eigvalsh(np.asarray(gaussian.covariance))
    narrowest = float(np.sqrt(np.min(variances)))
    widest = max(float(np.max(b - a)) for a, b in limits)
    further = math.ceil(CONSTANTS.points_per_deviation * widest / narrowest)
    needed = CONSTANTS.default_points + further
    return max(1, min(needed, most))


def _with_mean_of(
    averages: AnyArray,
    axes: tuple[Axis, ...],
    i: int,
    gaussian: Gaussian,
    xp: ArrayModule,
) -> AnyArray:
    """The averages with the mean of the density along axis i: a part of each cell goes
    to the next one.
    """
    axis = axes[i]
    deviation = standard_deviations(axes, gaussian)[i]
    mean = xp.broadcast_to(xp.asarray(gaussian.mean), (len(axes),))[i]
    lower = (axis.lower - mean) / deviation
    upper = (axis.upper - mean) / deviation
    # What the ends of the box cut off has no part in the mean.
    density = lambda y: xp.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)
    difference = density(lower) - density(upper)
    target = mean + deviation * difference / _normal_masses(lower, upper, xp)

    marginal = xp.moveaxis(averages, i, 0)
    other_axes = axes[:i] + axes[i + 1 :]
    masses = _sum_over(marginal, other_axes) * axis.weights
    mean_on_grid = masses @ axis.nodes / xp.sum(masses)
    part = (target - mean_on_grid) / axis.unit
    # At most the whole mass of a cell can go to the next one.
    weight = xp.minimum(xp.abs(part), 1)
    # What would leave the box stays in its last cell.
    zero = xp.zeros_like(marginal[:1])
    last_two = marginal[-2:-1] + marginal[-1:]
    first_two = marginal[:1] + marginal[1:2]
    up = xp.concatenate([zero, marginal[:-2], last_two])
    down = xp.concatenate([first_two, marginal[2:], zero])
    moved = (1 - weight) * marginal + weight * xp.where(part > 0, up, down)
    return xp.moveaxis(moved, 0, i)


def _sum_over(values: AnyArray, axes: tuple[Axis, ...]) -> AnyArray:
    """The integral over the last axes of `values`, as many as there are in `axes`."""
    for axis in reversed(axes):
        values = values @ axis.weights
    return values
