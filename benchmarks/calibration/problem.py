"""A problem of `effectivity.py`, the answer of fpsolve, and the judgement on it."""

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

# an error is understated where the true one is larger than this times the reported one:
# issue 15
FACTOR = 3.0
SLOW = 3.0  # seconds of a first call: a free choice
MESSAGE = 120  # characters of a refusal that are kept


@dataclasses.dataclass(frozen=True)
class Claim:
    """What an answer says of itself: `reported` (m,) errors, in the units of the errors
    that `compare` returns.
    """

    values: Any
    reported: np.ndarray
    code: str = "successful"
    told: bool = True  # whether an error was given at all


@dataclasses.dataclass(frozen=True)
class Problem:
    """`ask()` calls fpsolve and returns what `claim` reads; `compare(answer)` returns
    true errors (m,) and the rounding of the reference (m,), in the same units.
    """

    kind: str
    seed: int
    title: str
    tol: float
    ask: Callable[[], Any]
    claim: Callable[[Any], Claim]
    compare: Callable[[Any], tuple[np.ndarray, np.ndarray]]
    # a smooth confining potential on a fitted grid: it counts for the share answered
    smooth: bool = False
    impossible: bool = False  # no answer is right: a refusal is
    show: Callable[[Any], str] = lambda answer: ""  # for --only


def of_error(answer: Any) -> np.ndarray:
    """The error that a result reports, as an array of at least one number."""
    return np.atleast_1d(np.asarray(answer.error, float))


def named(error: BaseException) -> str:
    """The first word of a message that names a code, or the type of the exception."""
    first = str(error).split(":", 1)[0].strip()
    return (
        first
        if first.replace("_", "").isalpha() and len(first) < 40
        else type(error).__name__
    )


def solve(
    problem: Problem,
    again: bool = True,
    watch: Callable[[Any], Any] = lambda answer: None,
) -> dict[str, Any]:
    """The row of a problem: asked, timed and judged; `watch` is given the answer."""
    row: dict[str, Any] = {
        "kind": problem.kind,
        "seed": problem.seed,
        "title": problem.title,
        "tol": problem.tol,
    }
    row |= {"smooth": problem.smooth, "impossible": problem.impossible}
    begun = time.perf_counter()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            answer = problem.ask()
            claim = problem.claim(answer)
            watch(answer)
        except Exception as error:  # noqa: BLE001 - whatever fpsolve raises is the outcome of this problem
            return row | failure(error) | {"first_seconds": time.perf_counter() - begun}
    row |= {"first_seconds": time.perf_counter() - begun}
    row |= {"warnings": sorted({str(w.message)[:MESSAGE] for w in heard})}
    # a slow problem is asked a second time in one of three cases only
    if again and (row["first_seconds"] < SLOW or problem.seed % 3 == 0):
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.claim(problem.ask())
        row |= {"warm_seconds": time.perf_counter() - begun}
    if not claim.told and row["warnings"]:
        # A number without an error of its own claims nothing where the function has
        # warned.
        claim = dataclasses.replace(
            claim, reported=np.full_like(claim.reported, np.nan)
        )
    true, rounding = problem.compare(answer)
    return row | judge(claim, true, rounding, problem.tol)


def failure(error: BaseException) -> dict[str, Any]:
    """A refusal of the arguments, a run that ended with a named code, or a crash."""
    import fpsolve

    outcome = "refused" if isinstance(error, ValueError) else "crashed"
    code = type(error).__name__
    if isinstance(error, fpsolve.NumericalFailure):
        outcome, code = "failed", named(error)
    return {
        "outcome": outcome,
        "code": code,
        "message": " ".join(str(error).split())[:MESSAGE],
        "silent": False,
    }


def judge(
    claim: Claim, true: np.ndarray, rounding: np.ndarray, tol: float
) -> dict[str, Any]:
    """Compare reported and true errors one by one; the worst pair goes into the row."""
    true, reported, rounding = np.broadcast_arrays(
        np.atleast_1d(true).astype(float),
        np.atleast_1d(claim.reported).astype(float),
        np.atleast_1d(rounding),
    )
    claimed = ~np.isnan(reported)
    # what is not a number is an infinite error
    true = np.where(np.isfinite(true), true, np.inf)
    understated = claimed & (true > FACTOR * np.maximum(reported, rounding))
    # a true error that the rounding of the reference may explain is not known, and has
    # no ratio
    known = claimed & (true > FACTOR * rounding)
    ratio = np.where(
        known, np.maximum(reported, 0.0) / np.maximum(true, 1e-300), np.inf
    )
    worst = int(np.argmin(ratio)) if known.any() else int(np.argmax(true))
    return {
        "outcome": "answered",
        "code": claim.code,
        "true": float(true[worst]),
        "reported": float(reported[worst]),
        "rounding": float(rounding[worst]),
        "ratio": float(ratio[worst]) if known.any() else None,
        "claimed": bool(claimed.any()),
        "told": claim.told,
        "above_tol": bool(np.nanmax(np.append(reported, 0.0)) > tol),
        "silent": bool(understated.any()) and claim.code == "successful",
        "understated": bool(understated.any()),
        "true_all": [float(v) for v in true.ravel()[:12]],
        "reported_all": [float(v) for v in reported.ravel()[:12]],
    }
