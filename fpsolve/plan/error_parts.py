"""The whole error of a run, in parts."""

from typing import NamedTuple

from jaxtyping import Array

from ..core.arrays import as_array, host_module


class ErrorParts(NamedTuple):
    """Estimated relative L1 errors `(T,)` of the densities or waves at the output
    times.

    - `time`: of the method in time
    - `space`: of the nodes
    - `box`: of what happens beyond the ends of the box
    - `start`: of the initial state on the grid

    A part is NaN where it could not be estimated.
    """

    time: Array
    space: Array
    box: Array
    start: Array

    @property
    def whole(self) -> Array:
        """The sum of the parts, `(T,)`."""
        xp = host_module(self)
        time, space, box, start = (xp.asarray(part) for part in self)
        return as_array(time + space + box + start, self.time.dtype)

    def as_dict(self) -> dict[str, Array]:
        """The parts by name."""
        return dict(self._asdict())
