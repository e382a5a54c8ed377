"""The continuity Hamiltonian on finite volumes: transport along a velocity,
antisymmetric to rounding.

    d_t psi = -G psi,      G = v.grad + (div v) / 2,
    (G psi)_j = (v_+ psi_{j+1} - v_- psi_{j-1}) / (2 w_j)

summed over the axes, with v on the faces between nodes and w the cell's width. <phi, G
psi> = -<G phi, psi> in the grid's weights, whatever v: |psi|^2 is conserved. For psi =
p / sqrt(pi), with sqrt(pi) G psi - psi d_t sqrt(pi) = div J the flux of p is

    J = v sqrt(pi pi_+) (r + r_+) / 2,      r = p / pi,

which for p = pi is J* = v sqrt(pi pi_+). If d_t pi = -div J*, then d_t sqrt(pi) + G
sqrt(pi) = 0 exactly.

Reference: theorems T20 and T27 of this library.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid


class FlowEdges(eqx.Module):
    """The velocity across the faces of each axis, and log sqrt(pi) `(*shape)`, where
    the wave is p / sqrt(pi).

    `velocity` holds one array an axis, with the faces of `Axis.face_neighbors` in the
    place of the nodes; its units are length / time.

    **Keeps**: |psi|^2 in the grid's weights, mass, to rounding. **Cost**: one pass over
    memory, d + 1 arrays.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp
    from fpsolve.operator.flow_edges import FlowEdges

    flow = FlowEdges(fp.Grid(fp.Periodic(0.0, 1.0, 16)), (jnp.ones(16),))
    slope = flow.wave(jnp.sin(2 * jnp.pi * flow.grid.nodes[0]))
    ```
    """

    grid: Grid = eqx.field(static=True)
    velocity: tuple[Array, ...]
    log_sqrt_pi: Any = None

    def wave(self, wave: Array) -> Array:
        """G psi, `(..., *shape)`."""
        answer = jnp.zeros_like(wave)
        for i, axis in enumerate(self.grid.axes):
            position = i - self.grid.ndim
            below, above = axis.face_neighbors(wave, position)
            # v_+ psi_{j+1} and v_- psi_{j-1}: each node takes from its neighbours and
            # not from itself, which makes G antisymmetric for every v.
            velocity = self.velocity[i]
            from_below, _ = axis.node_faces(velocity * below, position)
            _, from_above = axis.node_faces(velocity * above, position)
            difference = from_above - from_below
            answer = answer + difference * self._inverse_weights(i, wave) / 2
        return answer

    def density(self, density: Array) -> Array:
        """div J of a density `(..., *shape)`; its integral is zero to rounding."""
        answer = jnp.zeros_like(density)
        for i, flux in enumerate(self.flux(density)):
            axis = self.grid.axes[i]
            lower, upper = axis.node_faces(flux, i - self.grid.ndim)
            answer = answer + (upper - lower) * self._inverse_weights(i, density)
        return answer

    def flux(self, density: Array) -> tuple[Array, ...]:
        """J across the faces of each axis, per unit of area and time."""
        assert self.log_sqrt_pi is not None, "the flux of a density needs log sqrt(pi)"
        fluxes = []
        for i, axis in enumerate(self.grid.axes):
            position = i - self.grid.ndim
            below, above = axis.face_neighbors(density, position)
            log_below, log_above = axis.face_neighbors(self.log_sqrt_pi, position)
            # v sqrt(pi pi_+) (p / pi + p_+ / pi_+) / 2 from ratios of neighbours, which
            # neither over- nor underflow.
            from_below = below * jnp.exp(log_above - log_below)
            from_above = above * jnp.exp(log_below - log_above)
            fluxes.append(self.velocity[i] * (from_below + from_above) / 2)
        return tuple(fluxes)

    def _inverse_weights(self, i: int, u: Array) -> Array:
        return 1 / self.grid.axis_weights(i, u.real.dtype)
