"""`evolve` inside `jit`, and in single precision: float32 arrays here, and processes
without double precision.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal, linear_moments
from .drawing import Unit
from .evolving import claim, comparison, evolve_problem, same
from .lines import axis, gaussian, walls
from .problem import Problem
from .shapes import process

PATIENCE = 120  # seconds until such a process is stopped: a free choice


def jitted(seed: int) -> Problem:
    """A parameter of the equation is traced: the error comes out of the compiled
    program.
    """
    import jax
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("jitted", seed)
    shape = draw.confining(rng)
    d = draw.diffusion(rng, shape)
    trait = draw.pick(rng, "right", "right", "small box", "narrow start")
    first = draw.start(rng, shape, d, "narrow" if trait == "narrow start" else "any")
    box = shape.window(d, draw.spread(rng, 1.0, 12.0) if trait == "small box" else 32.0)
    if trait != "small box":
        box = shape.window(d, 32.0, draw.around(first, reach=7.0))
    n = int(draw.pick(rng, 40, 64, 96))
    ts = draw.times(rng)
    grid = fp.Grid(axis("Line", box, n))
    initial = gaussian(first, Unit())
    window = shape.window(d, also=draw.around(first))

    schemes: list[Any] = []

    @jax.jit
    def run(diffusion: Any) -> Any:
        found = fp.evolve(
            fp.FokkerPlanck(lambda x: shape.u(x[0], jnp), diffusion),
            initial,
            ts,
            grid=grid,
        )
        schemes.append(found.scheme)  # static: known when the program is traced
        return found.values, found.error, found.code

    class Found:
        """What the compiled program returns, as a solution shows it."""

        def __init__(self) -> None:
            from fpsolve.core.result import CODES

            values, self.error, code = run(d)
            self.grid, self.scheme = grid, schemes[-1]
            self.values = np.asarray(values)
            self.result = CODES[int(code)]

    def reference(level: int) -> Any:
        return process(
            shape, d, window, level, spike=draw.spike(first, d, ts[0])
        ).evolve(first, ts, draw.knots(first))

    return Problem(
        kind="jitted",
        seed=seed,
        title=f"{trait}, n {n}",
        tol=1e-8,
        ask=Found,
        claim=claim,
        compare=comparison(reference, True),
        show=lambda found: f"error {np.asarray(found.error)}, {found.result}",
    )


def single(seed: int) -> Problem:
    """A start in float32 on a given grid, in a turned harmonic potential or between
    walls.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("single", seed)
    if rng.random() < 0.4:
        return _in_single(
            dataclasses.replace(walls(seed + 7000), kind="single", seed=seed)
        )
    dims = int(draw.pick(rng, 1, 2))
    stiff = draw.spread(rng, 0.3, 3.0) * np.geomspace(
        1.0, draw.spread(rng, 1.0, 8.0), dims
    )
    d = draw.spread(rng, 0.2, 2)
    turn = draw.rotation(rng, dims)
    matrix = turn @ np.diag(stiff) @ turn.T
    width = np.sqrt(d / stiff.min())
    first = Normal(
        rng.uniform(-1, 1, dims) * width,
        draw.spread(rng, 0.05, 1.0) * width**2 * np.eye(dims),
    )
    n = int(draw.pick(rng, *draw.SIZES[dims]))
    ts = [t / stiff.min() for t in draw.times(rng, 0.02, 4.0)]
    reach = draw.pick(rng, 7.0, 7.0, 3.0) * width * 1.3
    grid = fp.Grid(*[axis("Line", (-reach, reach), n)] * dims)
    values = np.array(matrix)
    start = grid.density(gaussian(first, Unit())).astype(jnp.float32)
    return evolve_problem(
        "single",
        seed,
        f"harmonic, {dims}-D, n {n}",
        equation=fp.FokkerPlanck(lambda x: x @ jnp.asarray(values) @ x / 2, d),
        initial=start,
        times=ts,
        reference=same(
            lambda: [linear_moments(matrix, d * np.eye(dims), first, t) for t in ts]
        ),
        grid=grid,
        closed=True,
    )


def _in_single(problem: Problem) -> Problem:
    """The same problem in a process without double precision, whose numbers come back
    by a file.
    """
    return dataclasses.replace(
        problem,
        title=f"{problem.title}, without double precision",
        ask=lambda: _child(problem.seed + 7000),
        tol=1e-5,
    )


class Returned:
    """The numbers of a solution from another process."""

    def __init__(self, row: dict[str, Any], grid: Any):
        self.values, self.error = np.array(row["values"]), np.array(row["error"])
        self.result, self.space_error, self.grid = row["result"], None, grid
        self.scheme = type("Scheme", (), {"spectral": row["spectral"]})


def _child(seed: int) -> Any:
    """Ask the problem of `walls` with this seed in a process without float64."""
    import fpsolve as fp

    here = Path(__file__).resolve().parent.parent
    environment = os.environ | {
        "JAX_ENABLE_X64": "0",
        "PYTHONPATH": f"{Path(fp.__file__).parent.parent}:{here}",
    }
    command = [sys.executable, "-W", "ignore", "-m", "calibration.precision", str(seed)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    row = json.loads(done.stdout.splitlines()[-1])
    if row["raised"] is not None:
        kind = ValueError if row["raised"] == "ValueError" else fp.NumericalFailure
        raise kind(row["message"])
    axes = [getattr(fp, name)(*bounds) for name, *bounds in row["axes"]]
    return Returned(row, fp.Grid(*axes))


def child(seed: int) -> None:
    """In that process: print the answer as JSON."""
    import fpsolve as fp

    try:
        found = walls(seed).ask()
    except (ValueError, fp.NumericalFailure) as error:
        print(json.dumps({"raised": type(error).__name__, "message": str(error)}))
        return
    row = {
        "raised": None,
        "values": np.asarray(found.values).tolist(),
        "error": np.asarray(found.error).tolist(),
    }
    row |= {"result": found.result, "spectral": found.scheme.spectral}
    row |= {
        "axes": [[type(a).__name__, a.lower, a.upper, a.n] for a in found.grid.axes]
    }
    print(json.dumps(row))


KINDS = {"jitted": jitted, "single": single}

if __name__ == "__main__":
    child(int(sys.argv[1]))
