"""What was chosen and why: data to the code, a sentence to the reader."""

from typing import NamedTuple


class Decision(NamedTuple):
    """One choice that a public function made.

    - `choice`: the name of what was chosen, such as "Spectral"; code compares this
    - `because`: the reason, a clause for the reader; no code reads it
    - `numbers`: what was measured for it, by name
    """

    choice: str
    because: str = ""
    numbers: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return f"{self.choice}, {self.because}" if self.because else self.choice

    def also(self, more: str) -> "Decision":
        """The same choice with one more clause."""
        return self._replace(because=f"{self.because}; {more}" if self.because else more)
