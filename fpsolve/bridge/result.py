"""`Bridge`: the result of `fp.bridge`."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.result import CODES
from ..equation import FokkerPlanck
from ..grid import Grid
from ..record import ERROR_PART, Result
from .logarithm import exp_of, is_empty


class Bridge(Result):
    """The process nearest to a reference process that has given densities at given
    times.

    - `times` `(T,)`; `values` `(T, *shape)`: its density p = f f^
    - `forward`, `backward` `(T, *shape)`: the waves f^ and f, scaled alike;
      `log_forward`, `log_backward` their logarithms, below -5e29 where a wave is zero
      or unknown
    - `drift` `(T, *shape, d)`: -grad U + 2 D grad log(f / sqrt(pi)), NaN where f is
      unknown. At a time of `through` the waves and the drift are those of what follows
    - `known` `(T, *shape)`: where both waves are above rounding
    - `cost`: KL(P | R), R the reference process from the same start
    - `iterations`, `residual`: sweeps of Sinkhorn's iteration, the most of one part,
      and int |p_0 - start| after the last, relative to the mass
    - `contraction`: the rate of a sweep near the solution, measured; the largest of all
      parts
    - `error` `(T,)`: the estimated relative L1 error of `values`, NaN where it could
      not be estimated; `errors` its parts, "space", "box" and "iteration"
    - `result`: "successful", or the name of the failure
    """

    times: Array
    values: Array
    log_forward: Array
    log_backward: Array
    drift: Array
    cost: Array
    iterations: Array
    residual: Array
    contraction: Array
    error: Array
    errors: dict[str, Array]
    numbers: dict[str, Array]
    code: Array
    equation: FokkerPlanck
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def forward(self) -> Array:
        """The wave f^ of the start, `(T, *shape)`."""
        return exp_of(self.log_forward)

    @property
    def backward(self) -> Array:
        """The wave f of the end, `(T, *shape)`."""
        return exp_of(self.log_backward)

    @property
    def known(self) -> Array:
        """Where both waves are known, `(T, *shape)`."""
        return ~(is_empty(self.log_forward) | is_empty(self.log_backward))

    @property
    def mass(self) -> Array:
        """The integral of every density, `(T,)`."""
        return self.grid.integrate(self.values)

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]

    @property
    def stats(self) -> dict[str, Array | float | str]:
        """Numbers and reasons."""
        # Under a transformation of JAX a number has no value yet.
        traced = not is_concrete(self.numbers)
        numbers: dict[str, Array | float | str] = {
            name: value if traced else float(value)
            for name, value in self.numbers.items()
        }
        return numbers | {name: str(decision) for name, decision in self.decisions}

    def details(self) -> tuple[dict[str, str | float], dict[str, Array]]:
        """The code and the numbers; logarithms of waves, and parts of the error."""
        entries = {
            "result": self.result,
            "cost": float(self.cost),
            "contraction": float(self.contraction),
            "iterations": int(self.iterations),
            "residual": float(self.residual),
        }
        logs = {"log_forward": self.log_forward, "log_backward": self.log_backward}
        errors = {ERROR_PART + name: part for name, part in self.errors.items()}
        return entries, logs | errors

    def __repr__(self) -> str:
        worst = float(jnp.max(self.error))
        return (
            f"Bridge: {len(self.times)} times on {self.grid!r}\n  cost "
            f"{float(self.cost):.6g}, {int(self.iterations)} sweeps of rate "
            f"{float(self.contraction):.5f}, error {worst:.1e}\n  "
            f"{dict(self.decisions).get('method', '')}"
        )
