"""Growth of cost: Chebyshev's calls grow as sqrt(t), the rational method's do not, one
operator call costs like a copy.

Each law is a row: its name, the limit, the measured value, and whether it holds.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import in_words, medians
from suite import P1, P2, box, grid_of

import fpsolve as fp
from fpsolve.propagate import Picture

TIMES = (0.25, 1.0, 4.0, 16.0, 64.0)
SIDE = 1024  # size of the grid on which one operator call is timed


def rows(quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Every law that can be measured, and the reasons for the others; `quick` leaves
    the large grid out.
    """
    found, broken = [], []
    for law in (
        (_calls, _rational) if quick else (_calls, _rational, _operator_call, _memory)
    ):
        try:
            found += [
                {**row, "reached": bool(row["measured"] <= row["limit"])}
                for row in law()
            ]
        except Exception as fault:  # noqa: BLE001 - the other laws are measured all the same
            broken.append(f"laws, {law.__name__.strip('_')}: {in_words(fault)}")
    return found, broken


def _calls() -> Iterator[dict[str, Any]]:
    """The slope of log(operator calls) against log t on finite volumes: one half, a
    little more at short times.
    """
    for problem, bounds, shape in (
        (P1, box(2.2), (256,)),
        (P2, box(2.2, 3.6), (96, 96)),
    ):
        equation = fp.FokkerPlanck(problem.potential)
        grid = grid_of(bounds, shape)
        start = fp.Gaussian([-1.0, 0.0][: problem.d], 0.04)
        calls = []
        for t in TIMES:
            chosen = {"scheme": fp.ScharfetterGummel(), "method": fp.Chebyshev()}
            calls.append(
                fp.evolve(equation, start, [t], grid=grid, **chosen).stats[
                    "operator_calls"
                ]
            )
        slope = float(np.polyfit(np.log(TIMES), np.log(calls), 1)[0])
        what = f"Chebyshev's calls: power of t, {problem.d}-D volumes"
        yield {
            "what": what,
            "limit": 0.55,
            "measured": slope,
            "detail": dict(zip(map(str, TIMES), calls, strict=True)),
        }


def _rational() -> Iterator[dict[str, Any]]:
    """The time of the rational method at t = 1e6 over that at t = 1."""
    equation = fp.FokkerPlanck(P1.potential)
    grid = grid_of(box(2.2), (1024,))
    start = fp.Gaussian(-1.0, 0.04)
    chosen = {"scheme": fp.ScharfetterGummel(), "method": fp.Rational()}
    runs = [
        lambda t=t: fp.evolve(equation, start, [t], grid=grid, **chosen).values
        for t in (1.0, 1e6)
    ]
    early, late = medians(runs, 15)
    yield {
        "what": "Rational: time at t = 1e6 over t = 1",
        "limit": 1.5,
        "measured": late / early,
    }


def _operator() -> tuple[Any, jax.Array]:
    equation = fp.FokkerPlanck(P2.potential)
    grid = grid_of(box(2.2, 3.6), (SIDE, SIDE))
    operator = jax.jit(
        lambda: fp.ScharfetterGummel().build(
            equation, grid, 0.0, jnp.zeros(()).dtype, True
        )
    )()
    return operator, jax.block_until_ready(grid.density(fp.Gaussian([-1.0, 0.0], 0.04)))


def _operator_call() -> Iterator[dict[str, Any]]:
    """One call of L and of H on a large finite-volume grid over a copy of as many bytes
    as it must read and write.

    Either must read the field and write one; L reads 2 d arrays of rates, H d arrays of
    couplings and its diagonal.
    """
    operator, field = _operator()
    copy = jax.jit(lambda u: -u)
    arrays = {"generator": 2 * field.ndim + 2, "hamiltonian": field.ndim + 3}
    acts = [
        jax.jit(lambda operator, u, name=name: getattr(operator, name)(u))
        for name in arrays
    ]
    runs = [
        lambda: copy(field),
        *(lambda act=act: act(operator, field) for act in acts),
    ]
    copied, *times = medians(runs, 21)
    for (name, count), seconds in zip(arrays.items(), times, strict=True):
        detail = {
            "seconds": seconds,
            "fields": count,
            "copy_bytes_per_second": 2 * field.nbytes / copied,
        }
        what = f"one call of the {name}, {SIDE} x {SIDE}, over a copy"
        yield {
            "what": what,
            "limit": 2.0,
            "measured": seconds / (copied * count / 2),
            "detail": detail,
        }


def _memory() -> Iterator[dict[str, Any]]:
    """Arrays of the grid's size alive in the compiled Chebyshev program besides the
    operator's coefficients.
    """
    operator, field = _operator()
    method = fp.Chebyshev()

    def program(operator: Any, u: Any, lengths: Any, tol: Any) -> Any:
        return method.apply(
            method.prepare(operator, Picture.DENSITY), u, lengths, tol, 0.0
        ).field

    compiled = (
        jax.jit(program, keep_unused=True)
        .lower(operator, field, jnp.ones(1), jnp.asarray(1e-8))
        .compile()
    )
    analysis = compiled.memory_analysis()
    coefficients = sum(leaf.nbytes for leaf in jax.tree.leaves(operator)) / field.nbytes
    total = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
    ) / field.nbytes
    detail = {"with_coefficients": total, "coefficients": coefficients}
    yield {
        "what": "Chebyshev: fields alive at once",
        "limit": 8.0,
        "measured": total - coefficients,
        "detail": detail,
    }
