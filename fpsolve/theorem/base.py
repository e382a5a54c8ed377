"""A theorem: a claim whose two sides can be measured, and a control for which the same
claim must fail.

    kind        claim                           departure                  allowed
    identity    lhs = rhs                       max|lhs - rhs| / max|rhs|  `allowed`
    order       |lhs - rhs| ~ size^-claimed     |observed - claimed|       `allowed`
                                                                           (or 0.1)
    inequality  lhs <= rhs, both at least zero  lhs / rhs                  1 + `allowed`

    margin = 1 - departure / allowed

is the fraction of the allowance that is not used: 1 is perfect agreement, 0 the limit.
A claim with a negative margin does not hold. The author of a theorem writes a function
of a `Case` that returns both sides. The sizes of the grids, the sweep, the fit of an
order, margins and verdicts are those of `fpsolve.theorem.measure` and `fp.verify`.
"""

import dataclasses
import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from ..core.checks import nearest, raise_value_error
from ..core.types import Scalar
from ..grid import Axis, Grid
from .constants import CONSTANTS

Kind = Literal["identity", "order", "inequality"]
KINDS: tuple[Kind, ...] = ("identity", "order", "inequality")


@dataclasses.dataclass(frozen=True)
class Case:
    """Where the sides of a theorem are measured.

    - `control`: whether the premise is to be broken
    - `refinement`: the factor by which grids are finer than the theorem's own
    - `size`: of an order, one of the theorem's `sizes` times `refinement`
    - `value`: one of the theorem's `sweep`; its number where the sweep is a count of
      random cases
    - `seed`: of the random cases
    """

    control: bool = False
    refinement: float = 1.0
    size: int = 0
    value: Any = None
    seed: int = 0

    def grid(self, *axes: Axis) -> Grid:
        """The grid of these axes, with `refinement` times as many nodes."""
        return Grid(*axes).refine(self.refinement)

    def random(self, name: str = "") -> np.random.Generator:
        """Random numbers of this case: the same for a claim and for its control, other
        ones for another `name`.
        """
        # A string has another `hash` in each process; its checksum is always the same.
        by_name = zlib.crc32(name.encode())
        by_value = zlib.crc32(repr(self.value).encode())
        return np.random.default_rng([self.seed, by_name, by_value])


# lhs, rhs and, if it is not always the same, what is allowed
Measured: TypeAlias = tuple[Scalar, ...]
Sides = Callable[..., Measured]


@dataclasses.dataclass(frozen=True)
class Theorem:
    """A claim, as `fp.claim` makes it. Its `problem` can be changed, so that it can be
    measured on another one.

    - `name`, `statement` in one line, `kind`; `hypotheses`, `source`: in words
    - `control_name`, `control_statement`: what is false instead
    - `sides`: a function of a `Case` and of the problem; it returns lhs, rhs and, if it
      is not always the same, what is allowed
    - `claimed`: of an order; `allowed`; `sizes`: of an order, at least four; `sweep`:
      values, at each of which the claim is measured, or how many random cases
    - `problem`: the arguments of `sides` with their values
    """

    name: str
    statement: str
    kind: Kind
    hypotheses: str
    source: str
    control_name: str
    control_statement: str
    sides: Sides
    claimed: float = 0.0
    allowed: float = 0.0
    sizes: tuple[int, ...] = ()
    sweep: tuple[Any, ...] | int = ()
    problem: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def on(self, **problem: Any) -> "Theorem":
        """The same claim about another problem; `sizes` and `sweep` can be given as
        well.

        **Raises** `ValueError` for a name that the problem does not have.
        """
        known = (*self.problem, "sizes", "sweep")
        for name in problem:
            if name not in known:
                allowed = f"the problem of {self.name} has {', '.join(known)}"
                cure = f"Did you mean {nearest(name, known)!r}?"
                raise_value_error(name, problem[name], allowed, cure)
        # These two are fields of the theorem itself, and no arguments of its function.
        own = [name for name in ("sizes", "sweep") if name in problem]
        fields = {name: problem.pop(name) for name in own}
        return dataclasses.replace(self, problem={**self.problem, **problem}, **fields)


def claim(
    name: str,
    statement: str,
    *,
    kind: Kind,
    control: tuple[str, str],
    hypotheses: str = "",
    source: str = "",
    claimed: int | float = 0.0,
    allowed: int | float | None = None,
    sizes: Sequence[int] = (),
    sweep: Sequence[Any] | int = (),
) -> Callable[[Sides], Theorem]:
    """Make a theorem of a function that returns the two sides of a claim.

    The function takes a `Case` and, as keywords with defaults, its problem. It returns
    lhs and rhs, numbers or arrays of one shape, with the premise broken where
    `case.control`. A third value replaces `allowed` there.

    **Arguments**: `name`, `statement` of one line; `kind`, "identity" (lhs = rhs to
    `allowed`, relative to the largest rhs), "order" (|lhs - rhs| falls like `case.size`
    to the power -`claimed`, over at least four `sizes`) or "inequality" (lhs <= rhs, at
    every value of the `sweep`); `control`, the name and the statement of what is false
    instead; `hypotheses` and `source`, in words; `sweep`, the values of `case.value`,
    or a number of random cases, which `case.random()` draws. **Raises** `ValueError`
    for a theorem without a control, and for anything else that could not be measured.
    **Returns** a decorator, which gives a `Theorem` for `fp.verify`.

    ```python
    import jax
    import numpy as np
    import fpsolve as fp

    jax.config.update("jax_enable_x64", True)


    @fp.claim(
        "mean",
        "in a harmonic well the mean decays at the rate k",
        kind="identity",
        allowed=1e-6,
        control=("rate 2k", "it does not decay at the rate of the variance"),
    )
    def mean_decay(case, *, k=1.5, mean=0.6, t=0.4):
        grid = case.grid(fp.Line(-5.0, 5.0, 64))
        run = fp.evolve(
            fp.FokkerPlanck(fp.Harmonic(k)),
            fp.Gaussian(mean, 0.3),
            [t],
            grid=grid,
            tol=1e-8,
            check=False,
            observables={"mean": lambda x: x[0]},
        )
        return run.observables["mean"][0], mean * np.exp(
            -(2 * k if case.control else k) * t
        )


    assert fp.verify(mean_decay, refine=False).sound
    ```
    """
    if kind not in KINDS:
        raise_value_error(
            "kind",
            kind,
            f"it must be one of {', '.join(KINDS)}",
            f"Did you mean {nearest(str(kind), KINDS)!r}?",
        )
    # Types are tested as well, since theorems are made by users, too.
    is_pair = isinstance(control, tuple) and len(control) == 2
    if not is_pair or not all(isinstance(word, str) and word for word in control):
        cure = (
            "Give its name and what must be false, and break the premise where "
            "case.control."
        )
        raise_value_error(
            "control", control, "a theorem needs a control, which must be refused", cure
        )
    if kind == "order" and len(sizes) < CONSTANTS.order_sizes_min:
        raise_value_error(
            "sizes",
            sizes,
            "an order needs at least four refinements",
            "Measure on more grids.",
        )
    if kind == "identity" and allowed is None:
        raise_value_error(
            "allowed",
            allowed,
            "an identity needs the relative difference that rounding explains",
            "Give it.",
        )
    # An inequality is allowed nothing if nothing is said.
    default = CONSTANTS.order_allowance if kind == "order" else 0.0

    def decorate(sides: Sides) -> Theorem:
        """The theorem of this function."""
        parameters = inspect.signature(sides).parameters.values()
        # The first parameter is the case; the problem is what has a name and a default.
        problem = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        return Theorem(
            name=name,
            statement=statement,
            kind=kind,
            hypotheses=hypotheses,
            source=source,
            control_name=control[0],
            control_statement=control[1],
            sides=sides,
            claimed=float(claimed),
            allowed=float(default if allowed is None else allowed),
            sizes=tuple(sizes),
            sweep=sweep if isinstance(sweep, int) else tuple(sweep),
            problem=problem,
        )

    return decorate
