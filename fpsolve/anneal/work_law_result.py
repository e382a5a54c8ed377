"""The result of `work_law`."""

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ..core.result import CODES
from ..grid import Grid


class WorkLaw(eqx.Module):
    """The law of the work W of a protocol.

    - `work` `(M,)`, evenly spaced; `density` `(M,)` of W, in units 1 / energy
    - `mean`, `variance`; `free_energy` F_1 - F_0 (F_0 - F_1 backward), which `mean`
      exceeds
    - `jarzynski`: E exp(-(W - free_energy) / D), which is 1
    - `joint` `(M, *shape)`: the joint density of W and the last position; None if it
      was not asked for
    - `errors`: parts of the L1 error of `density`, by name: "time", "space" (cells and
      box) and "transform"
    - `number_errors`: the absolute errors of mean, variance and free energy
    - `steps` of the finest staircase; `direction`; `result`: the named code of the run
    """

    work: Array
    density: Array
    mean: Array
    variance: Array
    free_energy: Array
    jarzynski: Array
    joint: Array | None
    errors: dict[str, Array]
    number_errors: dict[str, Array]
    diffusion: Array
    code: Array
    steps: int = eqx.field(static=True)
    direction: str = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)

    @property
    def error(self) -> Array:
        """The estimated L1 error of `density`, a scalar."""
        return self.errors["time"] + self.errors["space"] + self.errors["transform"]

    @property
    def dissipated(self) -> Array:
        """The mean work above the free energy, at least 0."""
        return self.mean - self.free_energy

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """The values of the work below which the mass is `probabilities` `(P,)`."""
        # The density may be negative by its error, and its sums would not ascend.
        density = np.maximum(np.asarray(self.density), 0)
        work = np.asarray(self.work)
        # The mass of a cell is at its upper edge.
        sums = np.cumsum(density) / np.sum(density)
        return np.interp(
            np.asarray(probabilities), sums, work + (work[1] - work[0]) / 2
        )

    def __repr__(self) -> str:
        numbers = (
            f"mean {float(self.mean):.6g}, deviation "
            f"{float(np.sqrt(self.variance)):.6g}"
        )
        return (
            f"WorkLaw({self.direction}: {numbers}, free energy "
            f"{float(self.free_energy):.6g}, on {self.grid!r})"
        )
