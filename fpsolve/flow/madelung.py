"""The fluid of a wave: Madelung's velocities, and Nelson's diffusion.

    i d_t psi = (-D Lap + V) psi,      psi = sqrt(rho) e^{iS}

    v = 2 D grad S = 2 D Im(grad psi / psi)         current velocity
    u = D grad log rho = 2 D Re(grad psi / psi)     osmotic velocity

    d_t rho = -div(rho v)
    d_t S = -D |grad S|^2 - V + D Lap sqrt(rho) / sqrt(rho)

Particles with dX = (v + (e/D) u) dt + sqrt(2 e) dW have the density |psi|^2 for every
e >= 0: e = 0 is the reading as a flow model, an ordinary differential equation, and
e = D is Nelson's diffusion.

The gradient is that of the basis of the grid. If the wave is known to delta and its
gradient to delta', the velocities are known to 2 D (delta' + |grad psi / psi| delta) /
|psi|, which grows as psi falls. Where |psi| is not above delta, at nodes and in far
tails, there is no velocity: such points are marked.

References: Madelung, Z. Phys. 40 (1927) 322; Nelson, Phys. Rev. 150 (1966) 1079;
theorem T26 of this library.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_numbers,
    check_positive,
    is_concrete,
    raise_value_error,
)
from ..core.program import quick_program
from ..core.types import AnyArray, Numbers, Scalar
from ..grid import Grid
from ..operator.aliasing import short_part
from ..operator.basis import check_axis, evaluate
from .constants import CONSTANTS


class Velocities(NamedTuple):
    """Velocities at points: `current` v, `osmotic` u, and the estimated absolute
    `error` of both, each `(m, d)`.
    """

    current: Array
    osmotic: Array
    error: Array


class Madelung(eqx.Module):
    """The fluid of one wave on a grid.

    - `wave` `(*shape)`, complex; `density` |psi|^2; `phase` S in (-pi, pi]
    - `current` v and `osmotic` u, `(*shape, d)`; finite everywhere
    - `error` `(*shape, d)`: the estimated absolute error of the velocities. Where
      `is_node` it exceeds their size
    - `is_node` `(*shape)`: whether psi is zero there to its own error: a node, or a far
      tail
    - `wave_error`: delta, the absolute error of psi that was assumed
    """

    wave: Array
    current: Array
    osmotic: Array
    error: Array
    is_node: Array
    diffusion: Array
    wave_error: Array
    slope_error: Array
    grid: Grid = eqx.field(static=True)

    @property
    def density(self) -> Array:
        """|psi|^2, `(*shape)`."""
        return jnp.abs(self.wave) ** 2

    @property
    def phase(self) -> Array:
        """S = arg psi in (-pi, pi], `(*shape)`; at a node it is that of rounding."""
        return jnp.angle(self.wave)

    def drift(self, noise: Scalar = 0.0) -> Array:
        """v + (e/D) u, `(*shape, d)`: the drift of particles with the density |psi|^2
        and the noise sqrt(2 e) dW.
        """
        ratio = jnp.asarray(noise, self.current.dtype) / self.diffusion
        return self.current + ratio * self.osmotic

    def at(self, points: Numbers) -> Velocities:
        """The velocities at points `(m, d)` of the box, by the basis.

        **Raises** `ValueError` for a point outside of the box, and for one at which psi
        is zero to its error, a node.
        """
        # On the host, since the points differ at every call and nothing need be
        # compiled.
        positions = _check_points(points, self.grid)
        values, slopes = _evaluate(np.asarray(self.wave), self.grid, positions)
        delta = float(self.wave_error)
        at_node = np.abs(values) <= CONSTANTS.node_factor * delta
        if np.any(at_node):
            place = tuple(positions[int(np.argmax(at_node))].tolist())
            allowed = (
                f"psi is zero there to its error, {delta:.1e}, and has no velocity at "
                "a node or in a far tail"
            )
            raise_value_error(
                "points",
                place,
                allowed,
                "Ask for velocities elsewhere, or see Madelung.is_node.",
            )
        current, osmotic, error, _ = _velocities(
            jnp.asarray(values),
            jnp.asarray(slopes),
            self.diffusion,
            self.wave_error,
            self.slope_error,
        )
        return Velocities(current, osmotic, error)


def madelung(
    wave: AnyArray, grid: Any, *, diffusion: Numbers = 0.5, error: Scalar = 0.0
) -> Madelung:
    """Phase, density, current and osmotic velocity of a wave.

    **Arguments**

    - `wave`: psi `(*shape)`, complex, such as `solution.values[k]` of an
      `fp.Schrodinger` at `wick=pi/2`
    - `grid`: its grid, of axes that have a basis; `diffusion`: D, a positive number or
      one for each axis (1/2 in units hbar = m = 1), that of the equation
    - `error`: the relative error of psi, such as `solution.error[k]`; the error of the
      nodes, seen in the shortest waves, and rounding are added to it

    **Returns** a `Madelung`. **Raises** `ValueError` for a wave of another shape, one
    that is not finite or zero everywhere, and an axis without a basis. **Keeps**: no
    value is NaN or infinite. **Cost**: one derivative an axis. **Reference**: Nelson,
    Phys. Rev. 150 (1966) 1079; theorem T26.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-8.0, 8.0, 64))
    packet = jnp.exp(-(grid.nodes[0] ** 2) / 4 + 1j * grid.nodes[0])
    fluid = fp.flow.madelung(
        packet, grid
    )  # fluid.current is 1, fluid.osmotic is -x / 2
    ```
    """
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid",
            grid,
            "it must be an fp.Grid",
            "Give fp.Grid(fp.Line(-5, 5, 128)), say.",
        )
    for axis in grid.axes:
        check_axis(axis)
    # Arguments, in the order in which they depend on each other.
    psi = _check_wave(wave, grid)
    check_positive(
        "diffusion",
        diffusion,
        "Give D of the equation, a number above zero or one for each axis.",
    )
    coefficients = jnp.asarray(diffusion, psi.real.dtype)
    if coefficients.shape not in ((), (grid.ndim,)):
        allowed = f"it must be a number or ({grid.ndim},)"
        raise_value_error(
            "diffusion", diffusion, allowed, "Give one number, or one an axis."
        )
    if is_concrete(error) and check_finite_number("error", error) < 0:
        raise_value_error(
            "error", error, "it must be at least zero", "Give solution.error[k], say."
        )
    relative = jnp.asarray(error, psi.real.dtype)
    return _fluid(psi, jnp.broadcast_to(coefficients, (grid.ndim,)), relative, grid)


@quick_program
def _fluid(wave: Array, diffusion: Array, error: Array, grid: Grid) -> Madelung:
    of_axes = [_slope(grid, i, wave) for i in range(grid.ndim)]
    slopes = jnp.stack(of_axes, axis=-1)
    delta, slope_error = _errors(wave, slopes, error, grid)
    current, osmotic, velocity_error, is_node = _velocities(
        wave, slopes, diffusion, delta, slope_error
    )
    return Madelung(
        wave=wave,
        current=current,
        osmotic=osmotic,
        error=velocity_error,
        is_node=is_node,
        diffusion=diffusion,
        wave_error=delta,
        slope_error=slope_error,
        grid=grid,
    )


def _slope(grid: Grid, i: int, wave: Array) -> Array:
    """d_i psi at the nodes by the basis."""
    axis = grid.axes[i]
    matrix = jnp.asarray(evaluate(axis, axis.nodes)[0], wave.real.dtype)
    return matmul_along_axis(i, matrix, wave)


def _errors(
    wave: Array, slopes: Array, error: Array, grid: Grid
) -> tuple[Array, Array]:
    """The absolute errors of psi, a scalar, and of its derivatives `(d,)`."""
    # An error in L1 says nothing of one place: it is taken to be spread like psi, at
    # its largest value.
    largest = jnp.max(jnp.abs(wave))
    rounding = CONSTANTS.wave_roundings * jnp.finfo(largest.dtype).eps * largest
    given = error * largest + rounding
    total = given
    of_slopes = []
    norm = jnp.sqrt(jnp.sum(jnp.abs(wave) ** 2))
    for i, axis in enumerate(grid.axes):
        # What the nodes do not show is about as large as the shortest waves that they
        # do show.
        short = jnp.zeros_like(largest)
        if axis.uniform:
            short = jnp.max(jnp.abs(short_part(wave, axis, i)))
        total = total + short
        # An error of the run has the wavenumbers of the wave itself, one of the nodes
        # and rounding the shortest.
        slope_norm = jnp.sqrt(jnp.sum(jnp.abs(slopes[..., i]) ** 2))
        typical = slope_norm / norm
        shortest = np.pi * axis.n / axis.length
        of_slopes.append(error * largest * typical + (short + rounding) * shortest)
    return total, jnp.stack(of_slopes)


def _velocities(
    values: Array, slopes: Array, diffusion: Array, delta: Array, slope_error: Array
) -> tuple[Array, Array, Array, Array]:
    """v, u and their error, `(..., d)`, and where psi is zero to its error, `(...)`, of
    psi `(...)` and grad psi.
    """
    size = jnp.abs(values)
    # Below delta the quotient is divided by delta instead, so that it stays finite: its
    # error is then its size.
    divisor = jnp.maximum(size, delta)[..., None]
    # grad psi / psi without a division by a small psi.
    ratio = jnp.conj(values)[..., None] * slopes / divisor**2
    relative = jnp.abs(slopes) / divisor
    # psi itself may be smaller than its value by delta.
    known = jnp.maximum(size - delta, delta)[..., None]
    error = 2 * diffusion * (slope_error + relative * delta) / known
    is_node = size <= CONSTANTS.node_factor * delta
    return 2 * diffusion * ratio.imag, 2 * diffusion * ratio.real, error, is_node


def _evaluate(
    wave: np.ndarray, grid: Grid, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """psi `(m,)` and grad psi `(m, d)` at points `(m, d)` by the basis, on the host."""
    rows = [evaluate(axis, points[:, i]) for i, axis in enumerate(grid.axes)]

    def contract(matrices: list[np.ndarray]) -> np.ndarray:
        # The first axis makes a field for each point, and the others take one axis each
        # from it.
        total = np.tensordot(matrices[0], wave, axes=(1, 0))
        for matrix in matrices[1:]:
            total = np.einsum("mn,mn...->m...", matrix, total)
        return total

    # Each derivative takes the derivative of its own axis and the values of the others.
    interpolations = [interpolation for _, interpolation in rows]
    slopes = []
    for i, (derivative, _) in enumerate(rows):
        matrices = interpolations.copy()
        matrices[i] = derivative
        slopes.append(contract(matrices))
    return contract(interpolations), np.stack(slopes, axis=-1)


def _check_wave(wave: AnyArray, grid: Grid) -> Array:
    """A complex wave of the grid's shape."""
    if is_concrete(wave):
        cure = "Give solution.values[k] of an fp.Schrodinger."
        array = check_numbers("wave", wave, "it must hold numbers", cure, waves=True)
        if array.shape != grid.shape:
            raise_value_error(
                "wave.shape",
                array.shape,
                f"it must be the grid's shape, {grid.shape}",
                cure,
            )
        if not np.all(np.isfinite(array)):
            raise_value_error(
                "wave", "NaN or infinity", "every value must be finite", cure
            )
        if not np.any(array != 0):
            raise_value_error("wave", 0.0, "the wave is zero everywhere", cure)
    # A real wave has no current, but an osmotic velocity.
    psi = jnp.asarray(wave)
    if jnp.iscomplexobj(psi):
        return psi
    return psi.astype(jnp.result_type(psi, jnp.complex64))


def _check_points(points: Numbers, grid: Grid) -> np.ndarray:
    """Points `(m, d)` inside of the box."""
    cure = f"Give points of the box, shape (m, {grid.ndim})."
    array = check_numbers("points", points, "they must be real numbers", cure)
    if array.ndim != 2 or array.shape[1] != grid.ndim:
        raise_value_error(
            "points.shape", array.shape, f"it must be (m, {grid.ndim})", cure
        )
    for i, axis in enumerate(grid.axes):
        x = array[:, i]
        # Negated, so that NaN is outside as well.
        outside = ~((x >= axis.lower) & (x <= axis.upper))
        if np.any(outside):
            place = tuple(array[int(np.argmax(outside))].tolist())
            raise_value_error("points", place, f"it must lie within {axis!r}", cure)
    return np.asarray(as_array(array), float)
