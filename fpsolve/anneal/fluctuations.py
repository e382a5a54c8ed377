"""The fluctuation relations of Jarzynski and Crooks between a protocol and its reverse,
on a grid.

    E exp(-W / D) = Z_1 / Z_0,      E exp(z W) = (Z_1 / Z_0) E_r exp(-(z + 1/D) W_r)

References: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690; Crooks, Phys. Rev. E 60 (1999)
2721.
"""

from typing import NamedTuple

import numpy as np

from ..core.checks import check_integer, raise_value_error
from ..core.program import public_function
from ..core.types import Clock, Count, Numbers, PotentialPath, Scalar
from ..grid import Grid
from .protocol_request import check_protocol
from .staircase import Staircase
from .tilted_work import reweighted_fields, tilted_fields


class FluctuationRelations(NamedTuple):
    """How well the fluctuation relations hold, relative to the larger side.

    - `jarzynski`: |E exp(-W/D) - Z_1/Z_0|
    - `crooks`: the largest |E exp(z W) - (Z_1/Z_0) E_r exp(-(z + 1/D) W_r)| over
      imaginary z
    """

    jarzynski: float
    crooks: float


def relations(
    forward: Staircase, backward: Staircase, frequencies: np.ndarray
) -> FluctuationRelations:
    """The fluctuation relations between a staircase and its reverse, at z = i
    `frequencies` `(M,)`.
    """
    weights = np.asarray(forward.grid.weights)
    shift = float(forward.free_energy)
    z = 1j * np.asarray(frequencies)
    # The first axis is that of the frequencies.
    axes = tuple(range(1, forward.grid.ndim + 1))
    # E exp(z (W - ΔF)), and the same from the reverse, whose work is tilted by -(z +
    # 1/D).
    one = np.sum(tilted_fields(forward, z, shift) * weights, axis=axes)
    ratio = reweighted_fields(backward, -z, -shift)
    # The Gibbs density at the end of the reverse, by which r is relative.
    log_weights = -backward.energies[-1] / backward.diffusion
    last = np.exp(log_weights - backward.log_z[-1])
    other = np.sum(ratio * last * weights, axis=axes)
    larger = np.maximum(np.abs(one), np.abs(other))
    crooks = np.max(np.abs(one - other) / larger)
    # E exp(-(W - ΔF) / D) = 1.
    tilt = np.asarray([-1 / float(forward.diffusion) + 0j])
    weighted = tilted_fields(forward, tilt, shift)
    jarzynski = abs(np.sum(weighted * weights) - 1)
    return FluctuationRelations(float(jarzynski), float(crooks))


@public_function
def fluctuation_relations(
    path: PotentialPath,
    schedule: Clock,
    *,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    steps: Count = 32,
    frequencies: Numbers = (0.25, 1.0, 3.0),
) -> FluctuationRelations:
    """How well the relations of Jarzynski and Crooks hold between a protocol and its
    reverse, on a grid.

    **Arguments**: `path`, `schedule`, `grid` and `diffusion` as for `work_law`; `steps`
    of the protocol; `frequencies` `(M,)` in units of 1 / D, at which both sides of
    Crooks' relation are compared. **Returns** the two relative differences. **Raises**
    `ValueError` as `work_law`.

    **Keeps**: both relations to rounding, for any grid and any number of steps, which
    need not be accurate. **Reference**: Crooks, Phys. Rev. E 60 (1999) 2721.

    ```python
    import fpsolve as fp
    from fpsolve.anneal import fluctuation_relations

    path, grid = fp.Mix(fp.Harmonic(), fp.Quartic()), fp.Grid(fp.Line(-5.0, 5.0, 48))
    fluctuation_relations(path, fp.schedule.linear(1.0), grid=grid, steps=8)
    ```
    """
    request = check_protocol(path, schedule, grid, diffusion, None)
    steps = check_integer(
        "steps", steps, 1, "Give the number of steps of the protocol."
    )
    moments = np.atleast_1d(np.asarray(frequencies, float)) / float(request.diffusion)
    if moments.ndim != 1 or not np.all(np.isfinite(moments)):
        raise_value_error(
            "frequencies",
            frequencies,
            "they must be finite numbers, (M,)",
            "Give (0.25, 1.0), say.",
        )
    return relations(request.stairs(steps, False), request.stairs(steps, True), moments)
