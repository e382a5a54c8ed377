"""`Continuation`: imaginary time found from real-time runs, beside the same run in
imaginary time.
"""

import equinox as eqx
from jaxtyping import Array

from ..core.decision import Decision
from ..core.result import CODES
from ..equation import Schrodinger
from ..grid import Grid
from ..record import ERROR_PART, Result


class Continuation(Result):
    """e^{-tau H} psi_0 as an average of real-time states.

    - `times` `(T,)`: imaginary times tau; `values` `(T, *shape)`: the average
    - `reference` `(T, *shape)`: e^{-tau H} psi_0 by `fp.evolve` in imaginary time
    - `difference` `(T,)`: relative L1 distance of the two
    - `error` `(T,)`: the whole estimated relative L1 error of `values`; it does not use
      `reference`. `errors`: its parts, "average" (how few real times were summed),
      "level" (a negative level), "time" (the real-time run), and "space", "box",
      "start", which are those of the run in imaginary time, since both use one matrix
    - `bound` `(T,)`: a proved bound on the part "average", in L2, relative to
      |psi(tau)|
    - `lowest_level`: E_0 - shift, which must not be negative
    - `stats`: the longest real time, the number of real times, operator calls, and the
      choices in words
    - `result`: "successful", or the name of the failure
    """

    times: Array
    values: Array
    reference: Array
    difference: Array
    error: Array
    errors: dict[str, Array]
    bound: Array
    lowest_level: Array
    numbers: dict[str, Array]
    code: Array
    equation: Schrodinger
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def result(self) -> str:
        """The named code of the result."""
        return CODES[int(self.code)]

    @property
    def stats(self) -> dict[str, float | str]:
        """Numbers and sentences about the run."""
        sentences = {name: str(decision) for name, decision in self.decisions}
        return {name: float(value) for name, value in self.numbers.items()} | sentences

    def details(self) -> tuple[dict[str, str | float], dict[str, Array]]:
        """The code and the lowest level; the parts of the error by name."""
        entries = {"result": self.result, "lowest_level": float(self.lowest_level)}
        return entries, {ERROR_PART + name: part for name, part in self.errors.items()}
