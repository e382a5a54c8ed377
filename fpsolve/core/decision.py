"""The record of a choice: data for the code, and a reason in words for the user."""

from typing import NamedTuple


class Decision(NamedTuple):
    """One choice that a public function made.

    - `choice`: the name of what was chosen, such as "Spectral"; code compares this
      field
    - `because`: the reason, a clause for the user; no code reads it
    - `numbers`: the quantities that were computed for the choice, by name
    """

    choice: str
    because: str = ""
    numbers: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return f"{self.choice}, {self.because}" if self.because else self.choice

    def also(self, more: str) -> "Decision":
        """The same choice with one more clause."""
        because = f"{self.because}; {more}" if self.because else more
        return self._replace(because=because)
