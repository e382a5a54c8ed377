"""A folder that keeps every saved time, so that the same call resumes to the same bits.

The folder holds `problem.json`, a description of everything that shapes the answer
(functions by their values on the grid, not by their source text), and one `.npz` a
saved time.
"""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.files import write_atomically
from ..core.run_folder import check_folder as check_folder
from ..core.run_folder import open_run_folder
from ..core.types import AnyArray
from ..operator import Scheme
from ..plan import Request
from ..propagate import Propagator
from ..step import Magnus


class Checkpoint:
    """The states of one run in one folder. **Raises** `ValueError` if the folder holds
    another problem.
    """

    def __init__(
        self,
        folder: Path,
        request: Request,
        scheme: Scheme,
        method: Propagator | Magnus,
        field: Array,
    ):
        self.folder = open_run_folder(folder, _describe(request, scheme, method, field))

    def load(self, index: int) -> tuple[Array, float, float, int] | None:
        """State, operator calls, error and step guess at time `index`, or None."""
        path = self._path(index)
        if not path.exists():
            return None
        # Arrays only: a pickle in a foreign folder could execute code.
        with np.load(path, allow_pickle=False) as kept:
            state = jnp.asarray(kept["state"])
            calls = float(kept["calls"])
            error = float(kept["error"])
            first = int(kept["first"])
        return state, calls, error, first

    def save(
        self,
        index: int,
        state: Array,
        calls: float,
        error: float,
        first: int,
    ) -> None:
        """Keep the state at time `index`, unless it is there already."""
        # Written under another name and renamed: a stopped run leaves no half file.
        if not self._path(index).exists():
            arrays = {
                "state": np.asarray(state),
                "calls": calls,
                "error": error,
                "first": first,
            }
            write_atomically(self._path(index), lambda file: np.savez(file, **arrays))

    def _path(self, index: int) -> Path:
        return self.folder / f"time_{index:06d}.npz"


def _describe(
    request: Request,
    scheme: Scheme,
    method: Propagator | Magnus,
    field: Array,
) -> dict[str, str]:
    """Everything that shapes the answer, by name; arrays and functions as digests."""
    equation = request.equation
    grid = request.grid
    times = request.times

    # Functions by their values on the grid, time-dependent ones at the saved times: a
    # change between these is not seen.
    points = grid.points.reshape(-1, grid.ndim)
    sample_times = np.asarray(times) if equation.time_dependent else np.zeros(1)
    values = [jax.vmap(equation.diffusions)(points)]
    for t in sample_times:
        values.append(jax.vmap(lambda x, t=t: equation.given_at(x, t))(points))
    return {
        "equation": f"{type(equation).__name__} {_digest(*values)}",
        "grid": repr(grid),
        "initial": f"{field.dtype} {_digest(field)}",
        "times": _digest(times),
        "scheme": repr(scheme),
        "method": repr(method),
        "tol": repr(request.tol),
        "wick": repr(request.wick),
    }


def _digest(*arrays: AnyArray) -> str:
    """The bits of some arrays as 16 hexadecimal digits: two problems agree by chance
    once in 2^64.
    """
    content = b"".join(np.asarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]
