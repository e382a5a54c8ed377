"""A folder in which a run keeps every saved time, so that the same call resumes, to the same bits.

The folder holds `problem.json`, a fingerprint of everything that shapes the answer (the physics sampled on the grid,
not the source text of its functions), and one `.npz` a saved time.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.files import write_atomically


def check_folder(folder: Any) -> Path:
    """The folder as a path, or a refusal."""
    if not isinstance(folder, str | os.PathLike):
        raise_value_error("checkpoint", folder, "it must be the path of a folder", 'Give "runs/first", say.')
    if Path(folder).exists() and not Path(folder).is_dir():
        raise_value_error("checkpoint", str(folder), "it is a file", "Give a folder, new or of the same call.")
    return Path(folder)


class Checkpoint:
    """The states of one run in one folder. **Raises** `ValueError` if the folder holds another problem."""

    def __init__(self, folder: Path, request: Any, scheme: Any, method: Any, field: Array):
        self.folder = folder
        mine = _fingerprint(request, scheme, method, field)
        header = self.folder / "problem.json"
        if header.exists():
            theirs = json.loads(header.read_text())
            different = sorted(name for name in mine if theirs.get(name) != mine[name])
            if different:
                allowed = f"it holds another problem, which differs in {', '.join(different)}"
                raise_value_error(
                    "checkpoint", str(folder), allowed, "Give an empty folder, or the same call as before."
                )
        else:
            write_atomically(header, lambda file: file.write(json.dumps(mine, indent=2).encode()))

    def load(self, index: int) -> tuple[Array, float, float, int] | None:
        """State, operator calls, error and step guess at saved time `index`, or None."""
        path = self._path(index)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as kept:
            return jnp.asarray(kept["state"]), float(kept["calls"]), float(kept["error"]), int(kept["first"])

    def save(self, index: int, state: Array, calls: float, error: float, first: int) -> None:
        """Keep the state at time `index`, unless it is there already."""
        if not self._path(index).exists():
            arrays = {"state": np.asarray(state), "calls": calls, "error": error, "first": first}
            write_atomically(self._path(index), lambda file: np.savez(file, **arrays))

    def _path(self, index: int) -> Path:
        return self.folder / f"time_{index:06d}.npz"


def _fingerprint(request: Any, scheme: Any, method: Any, field: Array) -> dict[str, str]:
    def digest(*arrays: Any) -> str:
        return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()[:16]

    equation, grid, times = request.equation, request.grid, request.times
    moments = np.asarray(times) if equation.time_dependent else np.zeros(1)
    points = grid.points.reshape(-1, grid.ndim)
    physics = [jax.vmap(equation.diffusions)(points)]
    for t in moments:
        physics.append(jax.vmap(lambda x, t=t: equation.given_at(x, t))(points))
    return {
        "equation": f"{type(equation).__name__} {digest(*physics)}",
        "grid": repr(grid),
        "initial": f"{field.dtype} {digest(field)}",
        "times": digest(times),
        "scheme": repr(scheme),
        "method": repr(method),
        "tol": repr(request.tol),
        "wick": repr(request.wick),
    }
